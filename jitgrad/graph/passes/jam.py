"""Loops around loops of elements take several iterations side by side.

    for i in range(n):
        for j in range(m): r[i, j] = f(r[i, j]); d[k, j] += g(r[i, j])

The way back through a loop that reads row k for every row i adds to row k for every row i: a store for each element
computed. With rows i and i + 1 in one loop over j, row k is loaded and stored once for both. (Known as unroll and jam:
Callahan, Cocke, Kennedy, Estimating interlock and improving balance for pipelined architectures, 1988.)

    for i in range(n):
        for j in range(m): s[i] -= a[i, j] * b[j]

Each trip of the loop over j waits for the sum of the one before; the sums of several rows wait side by side. So do
recurrences along the rows, each row a few columns behind the one before if it must be (as in `u[i, j] = f(u[i - 1, j],
u[i, j - 1], u[i - 1, j + 1])`).

In: a graph in its final form but for this. Out: the same graph, with sums of derivatives in another order, all others
as they were. A group of iterations is taken so if none of them needs what a later one wrote, or the other way round, in
the order that arises. That may hang on where the group is: `d[k, j]` is one of the rows if i == k, whose group then
runs one by one.
"""

from __future__ import annotations

from collections.abc import Sequence

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value, substitute_attrs, substitute_type
from jitgrad.graph.passes.groups import ROWS, Group, is_candidate
from jitgrad.graph.passes.rewriting import Replacements, blocks_within, some_iterations
from jitgrad.graph.passes.rules.ranges import emit_sum
from jitgrad.graph.passes.survey import surveyed
from jitgrad.graph.types import INT64

__all__ = ["jam_loops"]


def jam_loops(graph: Graph) -> bool:
    """Take the iterations of loops in groups where sums then touch memory less often."""
    loops = [(block, op) for block in blocks_within(graph) for op in block.ops if is_candidate(op)]
    if not loops:
        return False
    r = surveyed(graph)
    replaced = Replacements()
    for block, loop in loops:
        group = Group(r, loop)
        if group.is_possible():
            _jam(block, group, replaced)
    if not replaced:
        return False
    replaced.everywhere(graph)
    return True


def _jam(block: Block, group: Group, replaced: Replacements) -> None:
    """Put a loop over groups where a loop stood."""
    loop, body = group.loop, group.body
    trips, *inits = loop.operands
    types, names = [v.type for v in body.args], [v.name for v in body.args]
    g = Builder(Block(), loop.location)
    made = g.block
    count = g.add(g.floor_divide(g.subtract(trips, 1), ROWS), 1)
    with g.region(types, names) as groups:
        start = g.multiply(groups.args[0], ROWS)
        end = g.add(start, ROWS)
        at_once = g.less_equal(end, trips)
        for m in group.meetings:
            at = emit_sum(g, m)
            at = at if isinstance(at, Value) else g.constant(at, INT64.dtype)
            at_once = g.logical_and(at_once, g.logical_or(g.less(at, start), g.greater_equal(at, end)))
        with g.region() as together:
            rows = [start, *(g.add(start, k) for k in range(1, ROWS))]
            together.yields = _SideBySide(g, group, rows, groups.args[1:]).run()
        with g.region() as singly:
            singly.yields = some_iterations(g, loop, start, ROWS, groups.args[1:]).results
        groups.yields = g.emit("if", [at_once], {}, [together, singly]).results
    results = g.emit("for", [count, *inits], loop.attrs, [groups]).results
    at_op = block.ops.index(loop)
    block.ops[at_op : at_op + 1] = made.ops
    for old, new in zip(loop.results, results, strict=True):
        replaced.add(old, new)


class _SideBySide:
    """Writes the iterations of a group side by side."""

    def __init__(self, g: Builder, group: Group, rows: Sequence[Value], given: Sequence[Value]) -> None:
        self.g = g
        self.group = group
        index, *args = group.body.args
        # What became of the numbers of each iteration; arrays are one for all.
        self.maps: list[dict[Value, Value]] = [{index: row} for row in rows]
        self.maps[0].update(zip(args, given, strict=True))
        self.arrays = list(given)

    def run(self) -> list[Value]:
        """Return what the group hands on."""
        for op in self.group.body.ops:
            if op.regions:
                self._loop(op)
            else:
                for k in range(len(self.maps)):
                    self._copy(op, self._given(k))
        last = self._given(-1)
        return [self.arrays[k] if v.shape else last.get(v, v) for k, v in enumerate(self.group.body.yields)]

    def _given(self, k: int) -> dict[Value, Value]:
        """Return what became of the numbers of an iteration, with what the one before has handed on by now."""
        mapping = self.maps[k]
        if k:
            before = self.maps[k - 1]
            for arg, given in zip(self.group.body.args[1:], self.group.body.yields, strict=True):
                if not arg.shape and (made := before.get(given)) is not None:
                    mapping[arg] = made
        return mapping

    def _loop(self, loop: Op) -> None:
        """Write one loop for those of all iterations."""
        g, position = self.g, self.group.position
        trips, *inits = loop.operands
        (body,) = loop.regions
        # Arrays once, numbers for each iteration.
        arrays = [k for k, arg in enumerate(body.args[1:]) if arg in position]
        numbers = [k for k, arg in enumerate(body.args[1:]) if arg not in position]
        carried = [position[body.args[k + 1]] for k in arrays]
        given = [self.arrays[at] for at in carried]
        maps = [self._given(k) for k in range(len(self.maps))]
        given += [m.get(inits[k], inits[k]) for m in maps for k in numbers]
        args = [body.args[k + 1] for k in arrays] + [body.args[k + 1] for _ in self.maps for k in numbers]
        types = [INT64, *(substitute_type(arg.type, self.maps[0]) for arg in args)]
        with g.region(types, [body.args[0].name, *(arg.name for arg in args)]) as region:
            index, *rest = region.args
            for at, arg in zip(carried, rest, strict=False):
                self.arrays[at] = arg
            each = iter(rest[len(carried) :])
            for mapping in self.maps:
                mapping[body.args[0]] = index
                mapping.update({body.args[k + 1]: next(each) for k in numbers})
            count = self.maps[0].get(trips, trips)
            ends = self._staggered(body, count, numbers) if self.group.behind else self._at_once(body, numbers)
            region.yields = [*(self.arrays[at] for at in carried), *(v for end in ends for v in end)]
        if self.group.behind:
            count = g.add(count, (len(self.maps) - 1) * self.group.behind)
        results = g.emit("for", [count, *given], loop.attrs, [region]).results
        for at, result in zip(carried, results, strict=False):
            self.arrays[at] = result
        each = iter(results[len(carried) :])
        for mapping in self.maps:
            mapping.update({loop.results[k]: next(each) for k in numbers})

    def _at_once(self, body: Block, numbers: Sequence[int]) -> list[list[Value]]:
        """Write one trip of a loop for all iterations, and return the numbers that each hands on."""
        waiting: dict[Op, list[Value]] = {op: [] for op in body.ops if op in self.group.delayed}
        for mapping in self.maps:
            for op in body.ops:
                if op in waiting:
                    waiting[op].append(mapping.get(op.operands[1], op.operands[1]))
                else:
                    self._copy(op, mapping)
        for op, terms in waiting.items():
            total = terms[0]
            for term in terms[1:]:
                total = self.g.add(total, term)
            self._copy(op, self.maps[-1] | {op.operands[1]: total})
        return [self._handed_on(body, numbers, mapping) for mapping in self.maps]

    @staticmethod
    def _handed_on(body: Block, numbers: Sequence[int], mapping: dict[Value, Value]) -> list[Value]:
        return [mapping.get(body.yields[k], body.yields[k]) for k in numbers]

    def _staggered(self, body: Block, trips: Value, numbers: Sequence[int]) -> list[list[Value]]:
        """Write a trip of each iteration that is at one by then, each some trips behind the one before."""
        g, position = self.g, self.group.position
        stored = list(dict.fromkeys(position[op.result] for op in body.ops if op.name in ("addto", "store")))
        ends = []
        for k, mapping in enumerate(self.maps):
            at = g.subtract(mapping[body.args[0]], k * self.group.behind)
            is_there = g.logical_and(g.greater_equal(at, 0), g.less(at, trips))
            before = [self.arrays[i] for i in stored]
            given = [mapping[body.args[i + 1]] for i in numbers]
            with g.region() as then:
                inner = mapping | {body.args[0]: at}
                for op in body.ops:
                    self._copy(op, inner)
                then.yields = [*(self.arrays[i] for i in stored), *self._handed_on(body, numbers, inner)]
            with g.region() as other:
                other.yields = [*before, *given]
            results = g.emit("if", [is_there], {}, [then, other]).results
            for i, result in zip(stored, results, strict=False):
                self.arrays[i] = result
            ends.append(list(results[len(stored) :]))
        return ends

    def _copy(self, op: Op, mapping: dict[Value, Value]) -> None:
        position = self.group.position
        operands = [self.arrays[position[v]] if v in position else mapping.get(v, v) for v in op.operands]
        attrs = substitute_attrs(op.attrs, mapping) if op.attrs else op.attrs
        types = [substitute_type(v.type, mapping) for v in op.results]
        new = Op(op.primitive, operands, attrs, [], types, op.location)
        for old, made in zip(op.results, new.results, strict=True):
            made.name = old.name
            if old in position:
                self.arrays[position[old]] = made
            else:
                mapping[old] = made
        self.g.block.ops.append(new)
