"""Functions under `contextlib.contextmanager`: generators that stop at their `yield`, and go on from there.

In: the manager that a call of such a function gives. Out: what entering gives; leaving runs the rest. Between the two
the variables of the generator are in the heap like those of any object, so that every way out of a `with` can run the
rest of its own. A generator stops only where no branch and no loop is around that is in the graph.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, NoReturn

from jitgrad.graph.ir import Block
from jitgrad.trace.abstract import Cell, Func, Record
from jitgrad.trace.attributes import attribute, set_attribute
from jitgrad.trace.calls import handles
from jitgrad.trace.frame import Frame, Outcome
from jitgrad.trace.iteration import Once
from jitgrad.trace.regions import BlockNode

__all__ = ["Part", "Paused", "Stopped"]


class Stopped:
    """Class of what has the variables of a generator that has stopped."""


class Paused(BaseException):
    """A generator has come to a `yield`: what it yields, and how it goes on from there."""

    def __init__(self, value: Any, frame: Frame) -> None:
        super().__init__("a generator has stopped")
        self.value = value
        self.frame = frame
        self.at = frame.place[1]
        self.node: BlockNode | None = None
        self.joins: list[Sequence[Any]] = []

    def leave(self, ctx: Any, node: Any, joins: Sequence[Any]) -> None:
        """Note what is left to do behind a piece of the tree, or behind a way that met others."""
        if node is not None and not isinstance(node, BlockNode):
            raise ctx.error("JG203", what="a `yield` in a loop of a context manager") from None
        self.node = self.node or node
        self.joins.append(joins)


class Part:
    """The part of a generator up to its `yield`, or from there on, with its variables then."""

    def __init__(self, after: Paused | None = None, kept: Sequence[tuple[str, Any]] = ()) -> None:
        self.after = after
        self.kept = kept
        self.block: Block | None = None

    def walk(self, ctx: Any, frame: Frame) -> Outcome:
        """Evaluate it."""
        self.block = ctx.g.block
        frame.part = self
        if self.after is None:
            made: Outcome = ctx.walk(frame.tree.body, frame)
            return made
        frame.locals = {k: v for k, v in self.kept if not k.startswith(_STACK)}
        # The last is what `yield` gives.
        frame.stack = [*(v for k, v in self.kept if k.startswith(_STACK)), None]
        outcome: Outcome = ctx.walk_block(self.after.node, frame, self.after.at + 1)
        for joins in self.after.joins:
            outcome = ctx.go_on(outcome, joins, frame)
        return outcome

    def pause(self, ctx: Any, frame: Frame, value: Any) -> NoReturn:
        """Stop at a `yield`."""
        if self.after is not None:
            raise RuntimeError("generator didn't stop")
        if ctx.g.block is not self.block:
            raise ctx.error("JG203", what="a `yield` in a branch of a context manager")
        raise Paused(value, frame)


# Of the names of what is on the stack, which no variable has.
_STACK = "on the stack "


def _maker(function: Any) -> Any:
    def make(*args: Any, **kwargs: Any) -> Any:
        return contextlib._GeneratorContextManager(function, args, kwargs)

    return make


@handles(contextlib.contextmanager)
def _contextmanager(ctx: Any, func: Any) -> Any:
    return ctx.call(_maker, [func])


@handles(contextlib._GeneratorContextManager.__enter__)
def _enter(ctx: Any, manager: Record) -> Any:
    made = attribute(ctx, manager, "gen")
    rest = dict(ctx.heap[made.cell]).get("rest") if isinstance(made, Record) and made.cls is Once else None
    if not isinstance(rest, tuple) or not isinstance(rest[0], Func):
        raise ctx.error("JG248")
    func, args, kwargs = rest
    if func.code.co_cellvars:
        raise ctx.error("JG203", what="a context manager that shares variables with functions inside")
    try:
        ctx.inline(func, args, dict(kwargs), running=True, part=Part())
    except Paused as paused:
        stopped = Record(Cell("generator"), Stopped)
        frame = paused.frame
        stack = [(f"{_STACK}{k}", v) for k, v in enumerate(frame.stack)]
        ctx.heap[stopped.cell] = (("of", func), ("at", paused), *frame.locals.items(), *stack)
        set_attribute(ctx, manager, "gen", stopped)
        return paused.value
    raise RuntimeError("generator didn't yield")


@handles(contextlib._GeneratorContextManager.__exit__)
def _exit(ctx: Any, manager: Record, kind: Any, value: Any, traceback: Any) -> bool:
    stopped = attribute(ctx, manager, "gen")
    if not isinstance(stopped, Record) or stopped.cls is not Stopped or kind is not None:
        raise ctx.error("JG248")
    (_, func), (_, paused), *kept = ctx.heap[stopped.cell]
    ctx.inline(func, [], {}, running=True, part=Part(paused, kept))
    return False
