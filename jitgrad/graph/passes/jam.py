"""Loops around loops of elements take several iterations side by side.

    for i in range(n):
        for j in range(m): r[i, j] = f(r[i, j]); d[k, j] += g(r[i, j])

The way back through a loop that reads row k for every row i adds to row k for every row i: a store for each element
computed. With rows i and i + 1 in one loop over j, row k is loaded and stored once for both. (Known as unroll and jam:
Callahan, Cocke, Kennedy, Estimating interlock and improving balance for pipelined architectures, 1988.)

In: a graph in its final form but for this. Out: the same graph, with sums of derivatives in another order. A group of
iterations is taken so if none of them needs what a later one wrote, or the other way round, in the order that arises.
That may hang on where the group is: `d[k, j]` is one of the rows if i == k, whose group then runs one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value, clone_block, substitute_attrs, substitute_type
from jitgrad.graph.ops.index import Pick, index_of
from jitgrad.graph.passes.accesses import Access, Carried, carried_array
from jitgrad.graph.passes.rewriting import Replacements, blocks_within
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.places import move_alike
from jitgrad.graph.passes.rules.ranges import Sum, another, as_sum, bound, emit_sum, range_of
from jitgrad.graph.passes.survey import surveyed
from jitgrad.graph.types import INT64, ArrayType

__all__ = ["jam_loops"]

# So many iterations at once.
_ROWS = 4
# Ops of the largest body, with the loops in it.
_LARGEST = 60
# Groups that some iteration keeps from being taken at once: a test each.
_MEETINGS = 2

_PLACED = frozenset({"addto", "load", "store"})
# What takes no longer than memory does; beside a division or a logarithm a store is for nothing.
_QUICK = frozenset(
    {"absolute", "add", "bitwise_and", "bitwise_or", "cast", "constant", "equal", "greater", "greater_equal", "less",
     "less_equal", "logical_and", "logical_not", "logical_or", "maximum", "minimum", "multiply", "negative",
     "not_equal", "select", "subtract"}
)  # fmt: skip
# A sum is a read, an addition and a store; it must be so much of all.
_SUM, _SHARE = 3, 0.25
# Loops that are surely shorter than this are not worth it.
_SHORT = 16


def jam_loops(graph: Graph) -> bool:
    """Take the iterations of loops in groups where sums then touch memory less often."""
    loops = [(block, op) for block in blocks_within(graph) for op in block.ops if _is_candidate(op)]
    if not loops:
        return False
    r = surveyed(graph)
    replaced = Replacements()
    for block, loop in loops:
        group = _Group(r, loop)
        if group.is_possible():
            _jam(block, group, replaced)
    if not replaced:
        return False
    replaced.everywhere(graph)
    return True


def _is_candidate(loop: Op) -> bool:
    """Whether a loop holds scalars, accesses to elements and loops over such."""
    if loop.name != "for" or not all(isinstance(v.type, ArrayType) for v in loop.results):
        return False
    (body,) = loop.regions
    inner = [op for op in body.ops if op.regions]
    if not inner or any(op.name != "for" or any(o.regions for o in op.regions[0].ops) for op in inner):
        return False
    ops = [op for block in (body, *(op.regions[0] for op in inner)) for op in block.ops]
    if len(ops) > _LARGEST or not any(op.name == "addto" for loop in inner for op in loop.regions[0].ops):
        return False
    return all(op.regions or _is_of_scalars(op) for op in ops)


def _is_of_scalars(op: Op) -> bool:
    if op.primitive.effects:
        return False
    if op.name in _PLACED:
        return all(isinstance(e, Pick) for e in op.attrs["index"])
    return all(isinstance(v.type, ArrayType) and not v.type.shape for v in (*op.operands, *op.results))


@dataclass
class _Group:
    """Some iterations of a loop, one after another.

    Attributes
    ----------
    r : Context
    loop : Op
    meetings : list of Sum
        Numbers of iterations that must not be in the group.
    position : dict of Value to int
        The versions of the arrays that the loop carries, in loops within too.
    delayed : set of Op
        Sums that all iterations add to one place, which wait for the last of them.
    """

    r: Context
    loop: Op
    meetings: list[Sum] = field(default_factory=list)
    position: dict[Value, int] = field(default_factory=dict)
    delayed: set[Op] = field(default_factory=set)
    _swapped: set[object] = field(default_factory=set)

    @property
    def body(self) -> Block:
        """Of the loop."""
        return self.loop.regions[0]

    def is_possible(self) -> bool:
        """Whether a group may run side by side, and it pays."""
        body, r = self.body, self.r
        if range_of(r, self.loop.operands[0])[1] < 2 * _ROWS:
            return False
        inner = [op for op in body.ops if op.regions]
        self.inside = {v for block in (body, *(op.regions[0] for op in inner)) for op in block.ops for v in op.results}
        self.inside.update(v for op in inner for v in op.regions[0].args[1:])
        carried: list[Carried] = []
        for k, result in enumerate(self.loop.results):
            if not result.shape:
                if not self._is_handed_on(k):
                    return False
                continue
            found = carried_array(self.loop, k)
            if found is None:
                return False
            carried.append(found)
            self.position.update(dict.fromkeys(found.versions, k))
        if not all(self._enter(op) for op in inner):
            return False
        self.delayed = {op for loop in inner if self._pays(loop.regions[0]) for op in self._sums(loop.regions[0])}
        if not self.delayed:
            return False
        return all(self._commute([*c.loads, *(s for s in c.stores if s.op.name == "store")]) for c in carried)

    def _is_handed_on(self, k: int) -> bool:
        """Whether an iteration has made the number that it carries on before the next one asks for it in a group."""
        arg, given = self.body.args[k + 1], self.body.yields[k]
        if given is arg:
            return True
        if given.op not in self.body.ops:
            return False
        made = self.body.ops.index(given.op)
        for n, op in enumerate(self.body.ops[: made + 1]):
            used = [*op.operands, *(v for region in op.regions for o in region.ops for v in o.operands)]
            used += [v for region in op.regions for v in region.yields]
            if arg in used and (n < made or op.regions):
                return False
        return True

    def _enter(self, inner: Op) -> bool:
        """Note which arrays a loop within carries; whether they are those of the loop, and it is as long for all."""
        trips, *inits = inner.operands
        if trips in self.inside or trips is self.body.args[0] or range_of(self.r, trips)[1] < _SHORT:
            return False
        (body,) = inner.regions
        for arg, init in zip(body.args[1:], inits, strict=True):
            if isinstance(arg.type, ArrayType) and not arg.type.shape:
                continue
            if init not in self.position:
                return False
            self.position[arg] = self.position[init]
        for op in body.ops:
            if op.name in ("store", "addto"):
                self.position[op.result] = self.position[op.operands[0]]
        return True

    def _sums(self, body: Block) -> list[Op]:
        """Return what all iterations add to one place."""
        index = self.body.args[0]
        sums = [op for op in body.ops if op.name == "addto"]
        return [
            op for op in sums if not any(v is index or v in self.inside for at in self._place(op) for v in at.terms)
        ]

    def _pays(self, body: Block) -> bool:
        """Whether such sums are a good part of what a loop does."""
        if not all(op.name in _QUICK | _PLACED for op in body.ops):
            return False
        work = sum(_SUM if op.name == "addto" else op.result.type != INT64 for op in body.ops)
        return _SUM * len(self._sums(body)) >= _SHARE * work

    def _place(self, op: Op) -> list[Sum]:
        return [as_sum(self.r, e.at) for e in index_of(op) if isinstance(e, Pick)]

    def _commute(self, accesses: list[Access]) -> bool:
        """Whether all that is done to an array may be done in the order of a group."""
        return all(
            {x.op.name, y.op.name} in ({"load"}, {"addto"}) or self._may_swap(x, y)
            for k, x in enumerate(accesses)
            for y in accesses[k:]
        )

    def _may_swap(self, x: Access, y: Access) -> bool:
        """Whether what two accesses touch in different iterations may come in the order of a group."""
        if x.path[0][1] > y.path[0][1]:
            x, y = y, x
        # Many accesses are to one place: all that matters here is where, in which loop and which comes first.
        asked = (index_of(x.op), index_of(y.op), x.path[0][1], y.path[0][1], bool({x.op, y.op} & self.delayed))
        if asked not in self._swapped:
            if not self._are_swapped(x, y):
                return False
            self._swapped.add(asked)
        return True

    def _are_swapped(self, x: Access, y: Access) -> bool:
        """Whether what two accesses touch, of which the first does not come later, may come in the order of a group."""
        one, other = self._place(x.op), self._place(y.op)
        if {x.op, y.op} & self.delayed and not self._are_apart(one, other, range(_ROWS)):
            return False
        if x.path[0][1] < y.path[0][1]:
            # What comes first is done in later iterations too, before what comes then is done in this one.
            return self._are_apart(one, other, range(1, _ROWS))
        if len(x.path) == 1:
            return True
        # The same loop: in later iterations it is as far as in this one.
        index = x.path[1][0].args[0]
        if move_alike(index, one, other):
            return True
        moved = Sum({index: -1, another(self.r, index): 1})
        there = [at.plus(moved, at.terms.get(index, 0)) for at in other]
        return self._are_apart(one, there, range(1, _ROWS)) and self._are_apart(there, one, range(1, _ROWS))

    def _are_apart(self, later: Sequence[Sum], earlier: Sequence[Sum], distances: Iterable[int]) -> bool:
        """Whether two places are never one, the first of an iteration so much later, but where iterations meet."""
        index = self.body.args[0]
        return all(
            self._surely([x.plus(Sum({}, x.terms.get(index, 0) * d)) for x in later], earlier) for d in distances
        ) or self._but_for_meetings(later, earlier)

    def _surely(self, one: Sequence[Sum], other: Sequence[Sum]) -> bool:
        for x, y in zip(one, other, strict=True):
            gap = x.plus(y, -1)
            if bound(self.r, gap, -1) > 0 or bound(self.r, gap, 1) < 0:
                return True
        return False

    def _but_for_meetings(self, one: Sequence[Sum], other: Sequence[Sum]) -> bool:
        """Whether two places are one only if one of a few iterations is in the group."""
        index = self.body.args[0]
        found: list[Sum] = []
        for x, y in zip(one, other, strict=True):
            factors = x.terms.get(index, 0), y.terms.get(index, 0)
            if sorted(map(abs, factors)) == [0, 1]:
                gap, factor = x.plus(y, -1), factors[0] - factors[1]
                at = Sum({}).plus(gap.plus(Sum({index: factor}), -1), -factor)
                if not any(v in self.inside or self._is_within(v) for v in at.terms):
                    found.append(at)
        for at in found:
            if any(at.plus(m, -1) == Sum({}) for m in self.meetings):
                return True
        if not found or len(self.meetings) == _MEETINGS:
            return False
        self.meetings.append(found[0])
        return True

    def _is_within(self, index: Value) -> bool:
        return any(op.regions and op.regions[0].args[0] is index for op in self.body.ops)


def _jam(block: Block, group: _Group, replaced: Replacements) -> None:
    """Put a loop over groups where a loop stood."""
    loop, body = group.loop, group.body
    trips, *inits = loop.operands
    types, names = [v.type for v in body.args], [v.name for v in body.args]
    g = Builder(Block(), loop.location)
    made = g.block
    count = g.add(g.floor_divide(g.subtract(trips, 1), _ROWS), 1)
    with g.region(types, names) as groups:
        start = g.multiply(groups.args[0], _ROWS)
        end = g.add(start, _ROWS)
        at_once = g.less_equal(end, trips)
        for m in group.meetings:
            at = emit_sum(g, m)
            at = at if isinstance(at, Value) else g.constant(at, INT64.dtype)
            at_once = g.logical_and(at_once, g.logical_or(g.less(at, start), g.greater_equal(at, end)))
        with g.region() as together:
            rows = [start, *(g.add(start, k) for k in range(1, _ROWS))]
            together.yields = _SideBySide(g, group, rows, groups.args[1:]).run()
        with g.region() as singly:
            left = g.minimum(g.subtract(trips, start), g.constant(_ROWS, INT64.dtype))
            with g.region(types, names) as single:
                mapping = dict(zip(body.args, (g.add(single.args[0], start), *single.args[1:]), strict=True))
                single.yields = clone_block(body, single, mapping)
            singly.yields = g.emit("for", [left, *groups.args[1:]], loop.attrs, [single]).results
        groups.yields = g.emit("if", [at_once], {}, [together, singly]).results
    results = g.emit("for", [count, *inits], loop.attrs, [groups]).results
    at_op = block.ops.index(loop)
    block.ops[at_op : at_op + 1] = made.ops
    for old, new in zip(loop.results, results, strict=True):
        replaced.add(old, new)


class _SideBySide:
    """Writes the iterations of a group side by side."""

    def __init__(self, g: Builder, group: _Group, rows: Sequence[Value], given: Sequence[Value]) -> None:
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
            waiting: dict[Op, list[Value]] = {op: [] for op in body.ops if op in self.group.delayed}
            for mapping in self.maps:
                mapping[body.args[0]] = index
                mapping.update({body.args[k + 1]: next(each) for k in numbers})
                for op in body.ops:
                    if op in waiting:
                        waiting[op].append(mapping.get(op.operands[1], op.operands[1]))
                    else:
                        self._copy(op, mapping)
            for op, terms in waiting.items():
                total = terms[0]
                for term in terms[1:]:
                    total = g.add(total, term)
                self._copy(op, self.maps[-1] | {op.operands[1]: total})
            region.yields = [self.arrays[at] for at in carried]
            region.yields += [m.get(body.yields[k], body.yields[k]) for m in self.maps for k in numbers]
        results = g.emit("for", [self.maps[0].get(trips, trips), *given], loop.attrs, [region]).results
        for at, result in zip(carried, results, strict=False):
            self.arrays[at] = result
        each = iter(results[len(carried) :])
        for mapping in self.maps:
            mapping.update({loop.results[k]: next(each) for k in numbers})

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
