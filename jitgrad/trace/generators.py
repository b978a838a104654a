"""Generators: functions that yield, and generator expressions.

In: a function and its arguments, when a generator is made; later, when somebody asks for its items, the iterator over
them. A generator runs to its end when the first item is asked for, where Python runs it between the items. That is the
same for what takes all items at once. For a loop it is if neither changes what the other sees: what the generator reads
by its arguments and its variables from outside is watched, and a generator that changes what can be seen elsewhere
makes an iterator that `acts`, which only what takes all items accepts. A loop may end before the generator does: where
that raises then, the call is refused (`watching.one_by_one`).
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from jitgrad.graph.ir import Op
from jitgrad.trace.abstract import (
    BoundMethod,
    Cell,
    Columns,
    DictRef,
    Func,
    IterRows,
    IterSequence,
    ListRef,
    Poison,
    Read,
    Record,
    Watched,
)
from jitgrad.trace.branches import DeadEnd, is_of_the_program
from jitgrad.trace.calls import bind
from jitgrad.trace.context import Context
from jitgrad.trace.inspection import cells_of, reachable
from jitgrad.trace.iteration import Once, iterate, once
from jitgrad.trace.loop_signals import NeedUnroll
from jitgrad.trace.storage import is_same

__all__ = ["GENERATOR", "generator", "items_of", "refuse_items", "unroll_around", "what_it_reads"]

# What the list of the items that a generator yields is called.
GENERATOR = "generator"
# Methods that nobody calls who has an object.
_MAKING = ("__init__", "__new__", "__post_init__")


def generator(ctx: Context, func: Func, args: Sequence[Any], kwargs: dict[str, Any]) -> Record:
    """Return what a call of a generator function gives: nothing of it runs yet."""
    bind(ctx, func, args, kwargs)  # raises what Python raises
    return once(ctx, (func, tuple(args), tuple(kwargs.items())))


def items_of(ctx: Context, func: Func, args: tuple[Any, ...], kwargs: tuple[tuple[str, Any], ...]) -> Any:
    """Return an iterator over what a generator yields, which runs to its end now."""
    before = dict(ctx.heap)
    read = what_it_reads(ctx, func, (*args, *(v for _, v in kwargs)))
    block, mark = ctx.g.block, len(ctx.g.block.ops)
    try:
        yielded = ctx.run_generator(func, args, dict(kwargs))
    except DeadEnd:
        why = "it does not end, and its items are computed at once"
        raise ctx.error("JG237", name=f"the generator {func.name}", why=why) from None
    except Exception as exception:
        # Python would come to it behind what is done with the items before.
        if is_of_the_program(exception) and any(
            c.name == GENERATOR and c not in before and v for c, v in ctx.heap.items()
        ):
            raise ctx.error("JG249") from None
        raise
    if isinstance(ctx.heap[yielded.cell], Poison):
        refuse_items(ctx, ctx.heap[yielded.cell], f"what {func.name} yields")
    made = iterate(ctx, yielded)
    changed = {c for c, v in before.items() if not is_same(ctx.heap.get(c), v)}
    items = made.items if isinstance(made, IterSequence) else ()
    seen = reachable(ctx.heap, [*ctx.live_values(), *items])
    outside = [Read(c) for c in ctx.heap if c.argument == -1]
    watched = tuple(Watched(r, ctx.heap[r.cell]) for r in (*read, *outside) if r.cell in ctx.heap)
    acts = not changed.isdisjoint(seen)
    checks = tuple(op for op in _within(block.ops[mark:]) if op.name == "check")
    made = replace(made, watched=watched, acts=acts, checks=checks)
    return replace(made, live=False) if isinstance(made, IterSequence) else made


def _within(ops: Iterable[Op]) -> Iterator[Op]:
    for op in ops:
        yield op
        for region in op.regions:
            yield from region.walk()


def refuse_items(ctx: Any, found: Poison, name: str) -> None:
    """Raise for a list of which branches decide the items: unrolled, a loop around may decide the branches.

    Raises
    ------
    NeedUnroll
        For the innermost loop that is traced as one.
    UnsupportedError
        JG240 where there is none.
    """
    unroll_around(ctx, f"the number of trips of a loop in which {name} has other items on each path")
    ctx.refuse(found, name)


def unroll_around(ctx: Any, why: str) -> None:
    """Raise NeedUnroll for the innermost loop around that is traced as one, if there is one."""
    for scope in reversed(ctx.scopes):
        keys = (ctx.counters.get(v) for v in scope.block.args)
        key = next((k for k in keys if k is not None and k not in ctx.unrolled), None)
        if key is not None:
            raise NeedUnroll(key, why)


def what_it_reads(ctx: Context, func: Func, args: tuple[Any, ...]) -> list[Read]:
    """Return what a function may read: its variables from outside, arguments, attributes that it names."""
    found: dict[Read, None] = dict.fromkeys(Read(c) for c in func.closure)
    names = _named(ctx, func, args)
    todo: list[Any] = [*args, *(ctx.heap[c] for c in func.closure if c in ctx.heap)]
    seen: set[Cell] = set()
    while todo:
        x = todo.pop()
        if isinstance(x, Read):
            found[x] = None
        elif isinstance(x, Record):
            if x.cell not in seen:
                seen.add(x.cell)
                # What a loop goes over is watched by its iterator.
                wanted = frozenset({"rest"}) if x.cls is Once else names
                pairs = ctx.heap.get(x.cell, ())
                todo += [v for k, v in pairs if wanted is None or k in wanted]
                if x.cls is not Once:
                    found[Read(x.cell, wanted)] = None
        elif isinstance(x, IterSequence):
            todo += [*(w.container for w in x.watched), *x.items]
        elif isinstance(x, IterRows):
            todo += [*x.over, *(w.container for w in x.watched)]
        elif isinstance(x, BoundMethod):
            todo += [x.self, x.function]
        elif isinstance(x, Columns):
            todo += x.lists if x.rows is None else (*x.lists, x.rows)
        elif isinstance(x, tuple):
            todo += x
        else:
            if isinstance(x, Func):
                todo += [ctx.heap[c] for c in x.closure if c in ctx.heap and Read(c) not in found]
            for cell in cells_of(x):
                found[Read(cell)] = None
                if isinstance(x, ListRef | DictRef) and cell not in seen:
                    seen.add(cell)
                    todo.append(ctx.heap.get(cell, ()))
    return list(found)


def _named(ctx: Context, func: Func, args: tuple[Any, ...]) -> frozenset[str] | None:
    """Return the attributes that a function, or one that it may call, names; None: it may read any."""
    around = reachable(ctx.heap, (func, args))
    held = [part for cell in around for part in _parts(ctx.heap.get(cell))]
    classes = {x.cls for x in (*_parts(args), *held) if isinstance(x, Record)}
    todo = [(f.code, f.globals) for f in (func, *_parts(args), *held) if isinstance(f, Func)]
    # What operators, calls and loops call has no name in the code.
    special = [f for cls in classes for k, f in _methods(cls) if k.startswith("__") and k not in _MAKING]
    todo += [(f.__code__, f.__globals__) for f in special]
    found: set[str] = set()
    while todo:
        code, scope = todo.pop()
        todo += [(inner, scope) for inner in code.co_consts if isinstance(inner, types.CodeType)]
        for name in set(code.co_names) - found:
            found.add(name)
            for f in (scope.get(name), *(inspect.getattr_static(cls, name, None) for cls in classes)):
                f = f.fget if isinstance(f, property) else getattr(f, "__func__", f)
                made = [g for _, g in _methods(f)] if isinstance(f, type) else [f]
                todo += [(g.__code__, g.__globals__) for g in made if isinstance(g, types.FunctionType)]
    return None if found & {"__dict__", "getattr", "vars"} else frozenset(found)


def _methods(cls: type) -> list[tuple[str, types.FunctionType]]:
    return [pair for base in cls.__mro__ for pair in vars(base).items() if isinstance(pair[1], types.FunctionType)]


def _parts(x: Any) -> list[Any]:
    if isinstance(x, BoundMethod):
        return [*_parts(x.self), *_parts(x.function)]
    return [p for v in x for p in _parts(v)] if isinstance(x, tuple) else [x]
