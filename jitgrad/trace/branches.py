"""Branches on run-time conditions: both arms traced, their states joined, an `if` op made.

In: a condition and what to trace in each arm. Out: an `Outcome`. An arm that only fails becomes a check. `Branches` is
the part of the evaluator that does this; it knows neither instructions nor loops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from jitgrad.errors import JitgradError, UnsupportedError, check_text
from jitgrad.graph.ir import Block, Graph, Value, clone_block
from jitgrad.graph.types import GraphTypeError
from jitgrad.trace.abstract import AnyOf, Cell, Func, ListRef, OneOf, Poison, SliceOf
from jitgrad.trace.context import Context, NeedStatic, Unified
from jitgrad.trace.frame import Frame, Outcome, State
from jitgrad.trace.inspection import cells_of, reachable, undefined
from jitgrad.trace.joining import Edge
from jitgrad.trace.loop_signals import LoopSignal
from jitgrad.trace.merge import Merger
from jitgrad.trace.obligations import Obligations, Restart
from jitgrad.trace.pools import meet_in_pools
from jitgrad.trace.texts import message_of
from jitgrad.trace.ways import narrow, narrowed, occurs, packed_ways, put

_UNIFIED_LIMIT = 64  # pairs of sizes that one operation compares

__all__ = ["Branches", "DeadEnd", "is_of_the_program", "shared_variables"]


class DeadEnd(Exception):
    """Every path of an inlined call raises; what follows the call is not reached."""


def shared_variables(frame: Frame) -> Func:
    """Return the variables that a frame shares with closures, as a root of reachability."""
    return Func(frame.func.code, frame.func.globals, frame.func.name, closure=tuple(frame.cells.values()))


def is_of_the_program(exception: BaseException) -> bool:
    """Whether an exception is the user's program's own, not the tracer's or a defect."""
    ours = (
        JitgradError, GraphTypeError, Restart, NeedStatic, DeadEnd, LoopSignal, Unified, RecursionError, AssertionError,
    )  # fmt: skip
    # What the tracer does not find in its heap is no key of the program's.
    missing = isinstance(exception, KeyError) and any(isinstance(a, Cell) for a in exception.args)
    return not isinstance(exception, ours) and not missing


@dataclass(slots=True)
class _Hand:
    """Stands in for a frame where a branch is made in the middle of an operation."""

    locals: dict[str, Any] = field(default_factory=dict)
    stack: list[Any] = field(default_factory=list)
    place: Any = None
    scope: int = 0


def _parts(x: Any) -> tuple[Any, ...]:
    return (x.start, x.stop, x.step) if isinstance(x, SliceOf) else (x,)


def _decided(arg: Any, x: AnyOf | OneOf, number: Any) -> Any:
    """Return an argument with a number of several types replaced by one that it may be."""
    made = [number if p is x else p for p in _parts(arg)]
    return SliceOf(*made) if isinstance(arg, SliceOf) else made[0]


class Branches(Context):
    """A trace that can branch.

    Attributes
    ----------
    obligations : Obligations
        What merges by value rely on.
    frames : list of Frame
        The calls being traced, outermost first.
    depth : int
        How many run-time branches and loops surround the current point.
    roots : list
        Abstract arguments of the traced call, alive throughout.
    held : list of (int, tuple)
        What the handlers at work were given, each with the number of frames when it was called: functions of the user's
        that one calls know nothing of it.
    """

    def __init__(self, graph: Graph, obligations: Obligations) -> None:
        super().__init__(graph)
        self.obligations = obligations
        obligations.where = lambda: self.location
        self.frames: list[Frame] = []
        self.depth = 0
        self.roots: list[Any] = []
        self.held: list[tuple[int, tuple[Any, ...]]] = []

    @property
    def kept(self) -> list[Any]:
        """What is alive throughout the current call, whatever its variables are."""
        return [*self.memories(), *self.roots, *(values for _, values in self.held)]

    def memories(self) -> list[ListRef]:
        """What is alive throughout the trace: pools, caches."""
        cells = [*self.pools.values(), *([] if self.memory is None else [self.memory])]
        return [ListRef(cell) for cell in cells]

    def state(self, frame: Any) -> State:
        """Return a copy of the current state."""
        return State(dict(frame.locals), list(frame.stack), dict(self.heap))

    def enter(self, frame: Any, state: State) -> None:
        """Go on from a state."""
        frame.locals, frame.stack, self.heap = dict(state.locals), list(state.stack), dict(state.heap)

    @contextmanager
    def inside(self, block: Block) -> Iterator[None]:
        """Emit into a region."""
        self.depth += 1
        try:
            with self.scope(block):
                yield
        finally:
            self.depth -= 1

    def arm(self, block: Block, frame: Any, start: State, run: Callable[[], Outcome]) -> Outcome:
        """Trace one arm into a region; a Python exception that is certain there becomes a failing check."""
        self.enter(frame, start)
        frames = len(self.frames)
        location, before = self.location, self.arm_start
        scope = frame.scope
        with self.inside(block):
            self.arm_start = start.heap
            frame.scope = len(self.scopes)
            try:
                return run()
            except DeadEnd:
                del self.frames[frames:]
                return Outcome({})
            except Exception as exception:
                if not is_of_the_program(exception):
                    raise
                del self.frames[frames:]
                self.fail_with(exception)
                self.location = location
                return Outcome({})
            finally:
                self.arm_start = before
                frame.scope = scope

    def fail_with(self, exception: Exception) -> None:
        """Raise an exception of the program, which is certain here, when what comes before has run."""
        message, operands, arguments = message_of(self, exception)
        with self.g.at(getattr(exception, "raised_at", self.location)):
            self.fail(type(exception), message, *operands, arguments=arguments)

    def indexes_at_run_time(self, loop: Any) -> bool:
        """Whether lists are indexed at run time by what a loop counts; if not, note that it is unrolled for that."""
        tagged = self.obligations.tagged
        found = (("listed",), loop) in tagged
        if not found:
            tagged.add((("index",), loop))
        return found

    def tell_apart(self, a: Cell, b: Cell) -> None:
        """Begin again, in tagged mode, if two cells may stand for one object of the program."""
        keys = self.obligations.near(a).get(b)
        if keys is None:
            return
        fresh = keys - self.obligations.tagged
        if fresh:
            raise Restart(fresh, "the program asks whether two names are one object")
        raise self.error("JG236", what="whether two names are one object")

    def hold(self, cell: Cell, value: Any) -> None:
        """Note that a list that grows holds an array: a store to that while the list is alive is refused."""
        self.obligations.hold(cell, cells_of(value))

    def take(self, cell: Cell, item: Cell) -> None:
        """Note that an array was taken from a list that grows, which has a copy: it may be any that the list holds."""
        self.obligations.take(cell, item)

    def by_choice(self, run: Callable[..., Any], *args: Any) -> Any:
        """Return `run(*args)`, done once for each value that an `AnyOf` or `OneOf` among the arguments may be."""
        x = next((v for a in args for v in _parts(a) if isinstance(v, AnyOf | OneOf)), None)
        if x is None:
            return run(*args)
        return self._decide(x, 0, lambda number: self.by_choice(run, *(_decided(a, x, number) for a in args)))

    def handled(self, handler: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Call a handler; it sees no number that may be of several types, but as an item of a list or tuple.

        Where the type of such an item must be known, the call is done once for each type that it may have.
        """
        block, mark, heap = self.g.block, len(self.g.block.ops), dict(self.heap)
        count = len(self.held)
        self.held.append((len(self.frames), (*args, *kwargs.values())))
        try:
            return self._by_choice_of_arguments(handler, args, kwargs)
        except UnsupportedError as refused:
            x = refused.undecided
            roots = (*args, *kwargs.values())
            known = [self.heap[c] for c in reachable(self.heap, roots) if c in self.heap]
            if x is None or not any(occurs(x, v) for v in (*roots, *known)):
                raise
        finally:
            del self.held[count:]
        del block.ops[mark:]
        self.forget(block)
        self.heap = heap

        def run(number: Any) -> Any:
            own = [put(v, x, number) for v in args]
            named = {k: put(v, x, number) for k, v in kwargs.items()}
            before = dict(self.heap)
            decided = {c: put(v, x, number) for c, v in before.items() if isinstance(v, tuple)}
            self.heap.update(decided)
            made = self.handled(handler, own, named)
            self.heap.update((c, before[c]) for c, v in decided.items() if self.heap.get(c) is v)
            return made

        return self.by_choice(run, packed_ways(self, x) if isinstance(x, ListRef) else x)

    def _by_choice_of_arguments(self, handler: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        count = len(args)

        def run(*values: Any) -> Any:
            return handler(self, *values[:count], **dict(zip(kwargs, values[count:], strict=True)))

        return self.by_choice(run, *args, *kwargs.values())

    def _decide(self, x: AnyOf | OneOf, k: int, run: Callable[[Any], Any]) -> Any:
        """Branch over whether a number is its choice k, a later one or the last."""
        if k == len(x.flags):
            return run(x.choices[k])
        hand = _Hand()
        above = self.frames[-1] if self.frames else None
        key = ("choice", above and above.path, above and above.place, k)

        def of(number: Callable[[], Any]) -> Outcome:
            # Sizes that are found to be one are so in this branch: what comes before it need not be evaluated again.
            hand.stack.append(self.with_sizes_known(number))
            return Outcome({0: self.state(hand)})

        then, other = partial(run, x.choices[k]), partial(self._decide, x, k + 1, run)
        outcome = self.branch(x.flags[k], key, hand, partial(of, then), partial(of, other))
        if not outcome.states:
            raise DeadEnd()
        self.heap = outcome.states[0].heap
        made = outcome.states[0].stack[-1]
        if isinstance(made, Poison):
            self.refuse(made, "this value")
        return made

    def with_sizes_known(self, run: Callable[[], Any], frame: Frame | None = None) -> Any:
        """Return `run()`, done again as long as it finds sizes to be one; a frame in which it goes on is put back."""
        heap, above = dict(self.heap), frame or (self.frames[-1] if self.frames else None)
        stack, calls = list(frame.stack) if frame else [], above.calls if above else 0
        for _ in range(_UNIFIED_LIMIT):
            try:
                return run()
            except Unified:
                self.heap = dict(heap)
                if frame:
                    frame.stack[:] = stack
                if above:
                    above.calls = calls
        raise self.error("JG900", what="sizes are compared without end")

    def each_way(self, frame: Frame, x: OneOf, run: Callable[[], None]) -> None:
        """Do `run()`, which goes on in a frame, once for each value that x may be, known as such in the frame."""
        refusals: list[UnsupportedError] = []
        outcome = self._way(frame, x, run, refusals)
        if not outcome.states:
            raise refusals[0] if refusals else DeadEnd()
        self.enter(frame, outcome.states[0])

    def _way(self, frame: Frame, x: Any, run: Callable[[], None], refusals: list[UnsupportedError]) -> Outcome:
        """Branch over whether a value is its first choice, which the arms know, or another.

        A choice with which the program cannot be compiled is refused where it is made, at run time.
        """
        frames = len(self.frames)

        def go(known: Any) -> Outcome:
            if isinstance(known, OneOf):
                return self._way(frame, known, run, refusals)
            try:
                run()
            except UnsupportedError as refused:
                del self.frames[frames:]
                refusals.append(refused)
                with self.g.at(refused.location or self.location):
                    self.fail(UnsupportedError, check_text(refused).replace("{", "{{").replace("}", "}}"))
                return Outcome({})
            return Outcome({0: self.state(frame)})

        first, rest = (narrowed(x, 0, holds) for holds in (True, False))
        key = ("way", frame.path, frame.tree.code.co_name, frame.place, len(x.choices))
        return self.branch(x.flags[0], key, frame, partial(go, first), partial(go, rest))

    def branch(
        self, cond: Value, key: Any, frame: Any, then: Callable[[], Outcome], other: Callable[[], Outcome]
    ) -> Outcome:
        """Trace both arms of a run-time condition and join what they lead to."""
        start = self.state(frame)
        place, location = frame.place, self.location
        blocks = [Block(), Block()]
        outcomes = []
        for block, run, holds in zip(blocks, (then, other), (True, False), strict=True):
            frame.place, self.location = place, location
            own = start.copy()
            narrow(own, cond, holds)
            outcomes.append(self.arm(block, frame, own, run))
        self.enter(frame, start)
        frame.place, self.location = place, location
        alive = [k for k in (0, 1) if outcomes[k].states]
        if not alive:
            self.commit()
        if len(alive) == 1 and self._splice_check(cond, blocks[1 - alive[0]], alive[0] == 0):
            # Only one way goes on, and the other did nothing but fail: a check, then straight on.
            k = alive[0]
            mapping: dict[Value, Value] = {}
            self.g.block.ops.extend(blocks[k].ops)
            assert not mapping
            return outcomes[k]
        return self.join(cond, key, frame, blocks, outcomes, start)

    def _splice_check(self, cond: Value, block: Block, holds: bool) -> bool:
        """Turn an arm that only fails into a check before the branch; whether that was possible."""
        if not block.ops or block.ops[-1].name != "check" or any(not op.primitive.is_pure for op in block.ops[:-1]):
            return False
        if any(op.regions for op in block.ops[:-1]):
            return False
        fail = block.ops.pop()
        clone: dict[Value, Value] = {}
        clone_block(block, self.g.block, clone)
        flag = cond if holds else self.g.logical_not(cond)
        with self.g.at(fail.location):
            self.g.emit("check", [flag, *(clone.get(v, v) for v in fail.operands[1:])], fail.attrs)
        return True

    def join(
        self, cond: Value, key: Any, frame: Any, blocks: list[Block], outcomes: list[Outcome], start: State
    ) -> Outcome:
        """Make the `if` op of two traced arms."""
        targets = list(dict.fromkeys(t for o in outcomes for t in o.states))
        made = [{r for op in b.ops for r in op.results} for b in blocks]
        edges = [
            Edge(b, start, m, self.location, tuple(o.states.values()))
            for b, m, o in zip(blocks, made, outcomes, strict=True)
        ]
        merger = Merger(self, edges, key, self.obligations)
        states: dict[Any, State] = {}
        # In the middle of an operation, nobody knows what it still holds.
        base = dict(start.heap) if isinstance(frame, _Hand) else self.alive_cells(frame, start, outcomes)
        for target in targets:
            reaching = {k: o.states[target] for k, o in enumerate(outcomes) if target in o.states}
            meet_in_pools(self, frame, blocks, reaching)
            states[target] = merger.merge(reaching, base)
        selector = None
        if len(targets) > 1:
            given = {}
            for k, outcome in enumerate(outcomes):
                with self.inside(blocks[k]):
                    given[k] = self.selector_of(outcome, targets)
            selector = merger.slot(given[0].type, given, "selector")
        if not merger.slots and all(not o.primitive.effects for b in blocks for o in b.walk()):
            return Outcome(states, selector)
        for k, block in enumerate(blocks):
            with self.inside(block):
                block.yields = [s.given[k] if k in s.given else undefined(self, s.value.type) for s in merger.slots]
        op = self.g.emit("if", [cond], {}, blocks)
        for i, slot in enumerate(merger.slots):
            slot.value.owner, slot.value.index = op, i
        op.results = [s.value for s in merger.slots]
        self.g.block.ops.extend(merger.behind.ops)
        return Outcome(states, selector)

    def selector_of(self, outcome: Outcome, targets: list[Any]) -> Value:
        """Return which of the targets an outcome takes, as a value of the current block."""
        own = list(outcome.states)
        if len(own) <= 1:
            return self.constant(targets.index(own[0]) if own else 0, np.int64)
        assert outcome.selector is not None
        value = self.constant(targets.index(own[-1]), np.int64)
        for i, target in enumerate(own[:-1]):
            hit = self.g.equal(outcome.selector, self.constant(i, np.int64))
            value = self.g.select(hit, self.constant(targets.index(target), np.int64), value)
        return value

    def alive_cells(self, frame: Frame, start: State, outcomes: Sequence[Outcome]) -> dict[Cell, Any]:
        """Return the cells that existed before a branch and can still be reached after it."""
        roots: list[Any] = [r for f in self.frames[:-1] for r in (*f.locals.values(), *f.stack)]
        roots += [shared_variables(f) for f in self.frames]
        roots += [ListRef(f.yielded) for f in self.frames if f.yielded is not None]
        roots += self.kept
        for outcome in outcomes:
            for state in outcome.states.values():
                roots += [*state.locals.values(), *state.stack]
        cells = set(reachable(start.heap, roots))
        cells |= {c for c in start.heap if c.name == "closure" or c.argument == -1}
        return {c: v for c, v in start.heap.items() if c in cells}

    def put_back(self, before: dict[Cell, Any], given: Sequence[Any]) -> None:
        """Have again what loops dropped since no variable of a function leads to it: who called that may hold it."""
        if self.heap.keys() >= before.keys():
            return
        roots = [v for f in self.frames[:-1] for v in (*f.locals.values(), *f.stack, shared_variables(f))]
        seen = set(reachable(before, [*roots, *given, self.frames[-1].func, *self.kept]))
        self.heap = {c: v for c, v in before.items() if c not in seen} | self.heap

    def dispatch(self, outcome: Outcome, target: Any, frame: Frame, run: Callable[[], Outcome]) -> Outcome:
        """Go on from one of an outcome's targets; the others stay as they are."""
        if target not in outcome.states:
            return outcome
        if len(outcome.states) == 1:
            self.enter(frame, outcome.states[target])
            return run()
        others = {t: s for t, s in outcome.states.items() if t != target}
        position = list(outcome.states).index(target)
        assert outcome.selector is not None
        cond = self.g.equal(outcome.selector, self.constant(position, np.int64))
        selector = outcome.selector

        def rest() -> Outcome:
            own = list(outcome.states)
            chosen = None
            if len(others) > 1:
                chosen = self.constant(len(others) - 1, np.int64)
                for i, t in enumerate(list(others)[:-1]):
                    hit = self.g.equal(selector, self.constant(own.index(t), np.int64))
                    chosen = self.g.select(hit, self.constant(i, np.int64), chosen)
            return Outcome({t: s.copy() for t, s in others.items()}, chosen)

        def this() -> Outcome:
            self.enter(frame, outcome.states[target])
            return run()

        key = (frame.path, frame.tree.code.co_name, "on", str(target))
        # Both arms start from states of the outcome; what was before is every cell that these know.
        start = outcome.states[target]
        keep = State({}, [], {**{c: v for s in outcome.states.values() for c, v in s.heap.items()}, **start.heap})
        self.enter(frame, keep)
        return self.branch(cond, key, frame, this, rest)
