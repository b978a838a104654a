"""A recurrence runs ahead of the functions of what it makes.

    for t in range(n):                     for t in range(n): v = c * v + r[t]; s[t] = v
        v = c * v + r[t]                   for t in range(n): total += np.log(s[t])
        total += np.log(v)

What iterations carry is computed one after another; what is computed from it need not be. Kept for a block of
iterations, it is a row, and `rows.py` makes the second loop operations on rows, in which a function takes a fraction
of the time; sums of the program itself are added up in their turn behind them.

In: a graph in its final form but for this. Out: the same graph, which computes the same bits. Only for loops of which
the second part may be rows, and in which the functions that are won take longer than an iteration waits for the one
before: else they were computed meanwhile. What may raise goes first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value, clone_block
from jitgrad.graph.ops.index import Pick, index_of, load, store
from jitgrad.graph.passes.parallel import FUNCTIONS, ParallelLoop
from jitgrad.graph.passes.rewriting import Replacements, blocks_within, may_act, used_by
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.ranges import survey_sums
from jitgrad.graph.passes.survey import survey
from jitgrad.graph.types import INT64, ArrayType

__all__ = ["run_ahead"]

# Ops of the largest loop, and how many numbers of an iteration are kept.
_LARGEST, _KEPT = 120, 6
# Iterations of which they are.
_BLOCK = 512
# Cycles that an iteration waits for the result of an op, of most others and of a function; what a function takes that
# nothing waits for.
_WAITS = {"add": 4, "divide": 14, "multiply": 4, "sqrt": 18, "subtract": 4}
_WAIT, _FUNCTION_WAIT, _FUNCTION = 2, 45, 20


def run_ahead(graph: Graph) -> bool:
    """Let recurrences run ahead where that pays."""
    changed = False
    seen: set[Op] = set()
    while True:
        found = ((block, op) for block in blocks_within(graph) for op in block.ops if op not in seen)
        parts = next((p for block, op in found if _is_candidate(op) and (p := _Parts(block, op)).pay()), None)
        if parts is None:
            return changed
        seen.add(parts.loop)
        made = parts.separate(graph)
        seen.update(made)
        changed |= bool(made)


def _is_candidate(loop: Op) -> bool:
    """Whether a loop computes functions, carries several numbers or arrays, and does nothing else but raise errors."""
    if loop.name != "for" or len(loop.results) < 2:
        return False
    (body,) = loop.regions
    if len(body.ops) > _LARGEST or not any(op.name in FUNCTIONS for op in body.ops):
        return False
    ops = [loop, *body.walk()]
    return all(op.primitive.effects <= {"may_raise"} for op in ops) and all(
        isinstance(v.type, ArrayType) for op in ops for v in op.results
    )


# Arrays in which values are, and whether at the place of the iteration in the whole loop or among those at hand.
_Rows: TypeAlias = dict[Value, tuple[Value, bool]]


class _Some(NamedTuple):
    """Some iterations of a loop: the number of the first if that is not 0, how many, and at most how many."""

    g: Builder
    start: Value | None
    trips: Value
    most: int


class _Parts:
    """The two parts of a loop: what it carries from one iteration to the next, and the rest.

    Attributes
    ----------
    ahead : set of int
        The positions of what the first part carries.
    first : set of Op
        What it does.
    early : list of Value
        Functions that it uses and that wait for nothing: they are computed before it.
    kept : list of Value
        What of it the second part uses, and cannot compute again from the rest of it or from what is recorded.
    records : dict of Value to int
        What of it the loop stores anyway, at the place of each iteration, and the position of the array.
    checks : list of Op
        What may raise.
    """

    def __init__(self, block: Block, loop: Op) -> None:
        self.block = block
        self.loop = loop
        (self.body,) = loop.regions
        self.index, *self.args = self.body.args
        self.inside = {v: op for op in self.body.ops for v in op.results}
        self.needs = self._needs()
        self.ahead: set[int] = set()
        self.first: set[Op] = set()
        self.early: list[Value] = []
        self.kept: list[Value] = []
        self.records: dict[Value, int] = {}
        self.checks = [op for op in self.body.ops if op.primitive.effects or any(map(may_act, op.regions))]

    def _needs(self) -> dict[Value, set[int]]:
        """Return on which carried values each value depends within an iteration."""
        needs = {arg: {k} for k, arg in enumerate(self.args)}
        for op in self.body.ops:
            found = set[int]().union(*(needs.get(v, ()) for v in used_by(op)))
            needs.update((v, found) for v in op.results)
        return needs

    def _all_needs(self, positions: Iterable[int]) -> set[int]:
        """Return all that the next states of some depend on, in later iterations too."""
        found: set[int] = set()
        more = set(positions)
        while more:
            found |= more
            more = set[int]().union(*(self.needs.get(self.body.yields[k], ()) for k in more)) - found
        return found

    def _makers(self, values: Iterable[Value], given: Collection[Value] = ()) -> set[Op]:
        """Return the ops of the body that values need, but for what only makes those that are given."""
        found: set[Op] = set()
        more = list(values)
        while more:
            v = more.pop()
            op = self.inside.get(v)
            if op is not None and op not in found and v not in given:
                found.add(op)
                more += used_by(op)
        return found

    def _grow(self, positions: Iterable[int]) -> None:
        """Let the first part carry some positions, and with them what these need."""
        checked = [v for op in self.checks for v in used_by(op)]
        needed = (self.needs.get(v, ()) for v in checked)
        self.ahead = self._all_needs(self.ahead.union(positions, *needed))
        self.first = self._makers([*checked, *(self.body.yields[k] for k in self.ahead)]).union(self.checks)

    def pay(self) -> bool:
        """Whether functions are won that take longer than an iteration waits for the one before."""
        self._grow(())
        for op in self.body.ops:
            if op.name in FUNCTIONS and op not in self.first:
                needed = self._all_needs(self.needs.get(op.result, ()))
                if op not in self._makers(self.body.yields[k] for k in needed):
                    self._grow(needed)
        won = [op for op in self.body.ops if op.name in FUNCTIONS and op not in self.first and self._waits(op.result)]
        if not won or any(op.regions for op in self.first) or _FUNCTION * len(won) <= self._wait():
            return False
        if not self.checks:
            # What is loaded may be there only when a check has been passed.
            self.early = [op.result for op in self.body.ops if self._is_early(op)]
        self._note_records()
        return self._note_kept()

    def _is_early(self, op: Op) -> bool:
        return op in self.first and op.name in FUNCTIONS and not self.needs.get(op.result)

    def _waits(self, value: Value) -> bool:
        """Whether a value is known only when the first part has come to it."""
        return not self.ahead.isdisjoint(self.needs.get(value, ()))

    def _wait(self) -> int:
        """Return how many cycles an iteration of the first part waits for the one before."""
        ready = {self.args[k]: 0 for k in self.ahead}
        for op in self.body.ops:
            waits = [ready[v] for v in op.operands if v in ready]
            if op in self.first and waits:
                own = _FUNCTION_WAIT if op.name in FUNCTIONS else _WAITS.get(op.name, _WAIT)
                ready.update((v, max(waits) + own) for v in op.results)
        return max((ready.get(self.body.yields[k], 0) for k in self.ahead), default=0)

    def _note_records(self) -> None:
        """Let the first part store what the loop only stores of it, where each iteration has a place of its own."""
        for k, arg in enumerate(self.args):
            end = self.body.yields[k].op
            if k in self.ahead or not arg.shape or end is None or end.name != "store" or end.operands[0] is not arg:
                continue
            uses = sum(used_by(op).count(arg) for op in self.body.ops) + self.body.yields.count(arg)
            ends = sum(used_by(op).count(end.result) for op in self.body.ops) + self.body.yields.count(end.result)
            value = end.operands[1]
            is_there = self._waits(value) and self.inside.get(value) in {*self.first, None}
            if uses == ends == 1 and is_there and not value.shape and index_of(end) == (Pick(self.index),):
                self.ahead.add(k)
                self.first.add(end)
                self.records[value] = k

    def _note_kept(self) -> bool:
        """Note what the second part takes of the first; return whether that is a few numbers."""
        rest = [y for k, y in enumerate(self.body.yields) if k not in self.ahead]
        behind = self._makers(rest, [v for op in self.first for v in op.results])
        wanted = {v for op in behind for v in used_by(op)} | set(rest)
        have = set(self.records)
        for v in (*self.args, *(v for op in self.body.ops if op in self.first for v in op.results)):
            if v in wanted and v not in have and self._waits(v) and not self._is_had(v, have):
                have.add(v)
                self.kept.append(v)
        return len(self.kept) <= _KEPT and not any(v.shape for v in self.kept)

    def _is_had(self, value: Value, have: Collection[Value]) -> bool:
        """Whether a value follows quickly from others."""
        op = self.inside.get(value)
        if value in have or not self._waits(value):
            return True
        if op is None or op.name in FUNCTIONS or not op.primitive.is_elementwise or value.shape:
            return False
        return all(self._is_had(v, have) for v in op.operands)

    # --- the two loops

    def separate(self, graph: Graph) -> list[Op]:
        """Put two loops where one stood, if the second may be rows, and return the ops made."""
        before = list(self.block.ops)
        g = Builder(Block(), self.loop.location)
        trips, *inits = self.loop.operands
        literal = trips.op.attrs["value"].item() if trips.op is not None and trips.op.name == "constant" else None
        if literal is not None and literal <= 2 * _BLOCK:
            second, results = self._write(g, None, trips, literal, inits)
        else:
            count = g.add(g.floor_divide(g.subtract(trips, 1), _BLOCK), 1)
            types, names = [v.type for v in self.body.args], [v.name for v in self.body.args]
            with g.region(types, names) as region:
                start = g.multiply(region.args[0], _BLOCK)
                size = g.minimum(g.subtract(trips, start), _BLOCK)
                second, region.yields = self._write(g, start, size, _BLOCK, region.args[1:])
            results = g.emit("for", [count, *inits], {}, [region]).results
        at = self.block.ops.index(self.loop)
        self.block.ops[at:at] = g.block.ops
        r = Context(Builder(graph))
        survey(graph, r)
        survey_sums(r, graph)
        rows = ParallelLoop(r, second)
        if not rows.is_possible() or not rows.is_lean():
            self.block.ops[:] = before
            return []
        replaced = Replacements()
        for old, new in zip(self.loop.results, results, strict=True):
            replaced.add(old, new)
        replaced.everywhere(graph)
        self.block.ops.remove(self.loop)
        return list(g.block.walk())

    def _write(
        self, g: Builder, start: Value | None, trips: Value, most: int, given: Sequence[Value]
    ) -> tuple[Op, list[Value]]:
        """Emit the loops for some iterations; return the last, and what becomes of what is carried."""
        some = _Some(g, start, trips, max(most, 0))
        behind = [k for k in range(len(given)) if k not in self.ahead]
        early: _Rows = {}
        if self.early:
            _, early = self._write_part(some, (), given, {}, self.early)
        first, kept = self._write_part(some, sorted(self.ahead), given, early, self.kept, self.checks)
        became = dict(zip(sorted(self.ahead), first.results, strict=False))
        recorded = {v: (became[k], True) for v, k in self.records.items()}
        second, _ = self._write_part(some, behind, given, early | kept | recorded, ())
        became |= zip(behind, second.results, strict=True)
        return second, [became[k] for k in range(len(given))]

    def _write_part(
        self,
        some: _Some,
        positions: Sequence[int],
        given: Sequence[Value],
        have: _Rows,
        kept: Sequence[Value],
        checks: Sequence[Op] = (),
    ) -> tuple[Op, _Rows]:
        """Emit the loop that carries some positions and keeps some values; return it and the rows of these."""
        g = some.g
        rows = [g.emit("undef", [], {"shape": (some.most,), "dtype": v.array.dtype}).result for v in kept]
        now = [*(given[k] for k in positions), *rows]
        names = [self.index.name, *(self.args[k].name for k in positions), *("" for _ in rows)]
        with g.region([INT64, *(v.type for v in now)], names) as region:
            place, *carried = region.args
            index = place if some.start is None else g.add(place, some.start)
            mapping = {self.index: index} | dict(zip((self.args[k] for k in positions), carried, strict=False))
            for v, (row, is_record) in have.items():
                mapping[v] = load(g, row, [Pick(index if is_record else place)])
            ends = [self.body.yields[k] for k in positions]
            ops = self._makers([*ends, *kept, *(v for op in checks for v in used_by(op))], mapping).union(checks)
            source = Block()
            source.ops = [op for op in self.body.ops if op in ops]
            clone_block(source, region, mapping)
            region.yields = [mapping.get(y, y) for y in ends]
            region.yields += [
                store(g, row, mapping[v], [Pick(place)]) for v, row in zip(kept, carried[len(positions) :], strict=True)
            ]
        made = g.emit("for", [some.trips, *now], self.loop.attrs, [region])
        return made, {v: (row, False) for v, row in zip(kept, made.results[len(positions) :], strict=True)}
