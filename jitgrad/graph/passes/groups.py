"""Loops around loops of elements: whether several iterations may be taken side by side, and whether it pays.

In: a `for` of a graph in its final form. Out: whether a group of consecutive iterations may run so that each trip of
the loops within is done for all of them at once, which iterations must not be in it, and how far each is behind the
one before. This room rewrites nothing: `jam.py` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from jitgrad.graph.ir import Block, Op, Value
from jitgrad.graph.ops.index import Pick, index_of
from jitgrad.graph.passes.accesses import Access, Carried, carried_array
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.places import move_alike
from jitgrad.graph.passes.rules.ranges import Sum, another, as_sum, bound, range_of
from jitgrad.graph.types import INT64, ArrayType

__all__ = ["ROWS", "Group", "is_candidate"]

# So many iterations at once.
ROWS = 4
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
# Where each trip waits for the one before: cycles of what it waits for, in all and as a multiple of what it does.
_WAITS = {"add": 4, "divide": 14, "maximum": 4, "minimum": 4, "multiply": 4, "select": 2, "sqrt": 18, "subtract": 4}
_PER_CYCLE = 3
# The farthest that a row is behind the one before.
_BEHIND = 2


def is_candidate(loop: Op) -> bool:
    """Whether a loop holds scalars, accesses to elements and loops over such."""
    if loop.name != "for":
        return False
    (body,) = loop.regions
    inner = [op for op in body.ops if op.regions]
    if not all(isinstance(v.type, ArrayType) for op in (loop, *inner) for v in op.results):
        return False
    if not inner or any(op.name != "for" or any(o.regions for o in op.regions[0].ops) for op in inner):
        return False
    ops = [op for block in (body, *(op.regions[0] for op in inner)) for op in block.ops]
    if len(ops) > _LARGEST or not any(_has_sums(op.regions[0]) or _is_serial(op) for op in inner):
        return False
    return all(op.regions or _is_of_scalars(op) for op in ops)


def _has_sums(body: Block) -> bool:
    return any(op.name == "addto" for op in body.ops)


def _is_serial(loop: Op) -> bool:
    """Whether each trip waits for a number of the one before longer than it works."""
    (body,) = loop.regions
    numbers = [arg for arg in body.args[1:] if isinstance(arg.type, ArrayType) and not arg.shape]
    carried = {arg: arg.index - 1 for arg in numbers if arg.type.is_float}
    # How long after a number was handed on there is what follows from it.
    after: dict[Value, int] = dict.fromkeys(carried, 0)
    for op in body.ops:
        known = [after[v] for v in op.operands if v in after]
        if known and op.name in _WAITS and "any_order" not in op.attrs:
            after[op.result] = max(known) + _WAITS[op.name]
        elif op.name not in _QUICK | _PLACED:
            return False
    return any(after.get(body.yields[k], 0) * _PER_CYCLE > 2 * len(body.ops) for k in carried.values())


def _is_of_scalars(op: Op) -> bool:
    if op.primitive.effects:
        return False
    if op.name in _PLACED:
        return all(isinstance(e, Pick) for e in op.attrs["index"])
    return all(isinstance(v.type, ArrayType) and not v.type.shape for v in (*op.operands, *op.results))


@dataclass
class Group:
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
    behind : int
        How many trips of the loops within an iteration is behind the one before.
    """

    r: Context
    loop: Op
    meetings: list[Sum] = field(default_factory=list)
    position: dict[Value, int] = field(default_factory=dict)
    delayed: set[Op] = field(default_factory=set)
    behind: int = 0
    _swapped: set[object] = field(default_factory=set)

    @property
    def body(self) -> Block:
        """Of the loop."""
        return self.loop.regions[0]

    def is_possible(self) -> bool:
        """Whether a group may run side by side, and it pays."""
        body, r = self.body, self.r
        if range_of(r, self.loop.operands[0])[1] < 2 * ROWS:
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
        if self.delayed:
            return self._may_run(carried)
        while any(map(_is_serial, inner)) and self.behind <= _BEHIND:
            if self._may_run(carried):
                return True
            self.behind += 1
        return False

    def _may_run(self, carried: Sequence[Carried]) -> bool:
        self.meetings.clear()
        self._swapped.clear()
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

    def _elsewhere(self, op: Op) -> list[Sum]:
        """Return the place of an access, what the iteration computes as unknowns: in another it is something else."""
        places = self._place(op)
        for k, at in enumerate(places):
            for v in self.inside & at.terms.keys():
                unknown = Value(INT64, Block(), 0)
                self.inside.add(unknown)
                at = at.plus(Sum({v: -1, unknown: 1}), at.terms[v])
            places[k] = at
        return places

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
        if {x.op, y.op} & self.delayed and not self._are_apart(self._place(x.op), self._place(y.op), [0]):
            return False
        one, other = self._elsewhere(x.op), self._elsewhere(y.op)
        if {x.op, y.op} & self.delayed and not self._are_apart(one, other, range(1, ROWS)):
            return False
        if x.path[0][1] < y.path[0][1]:
            # What comes first is done in later iterations too, before what comes then is done in this one.
            return self._are_apart(one, other, range(1, ROWS))
        if len(x.path) == 1:
            return True
        # The same loop: in later iterations it is as far as in this one, or a little behind.
        index = x.path[1][0].args[0]
        return move_alike(index, one, other) or (
            self._come_in_order(index, one, other) and self._come_in_order(index, other, one)
        )

    def _come_in_order(self, index: Value, later: Sequence[Sum], earlier: Sequence[Sum]) -> bool:
        """Whether what an iteration does in a loop within comes before what a later one does at the same place."""
        moved = Sum({index: -1, another(self.r, index): 1})
        there = [at.plus(moved, at.terms.get(index, 0)) for at in earlier]
        mine = self.body.args[0]
        after = [(d, [x.plus(Sum({}, x.terms.get(mine, 0) * d)) for x in later]) for d in range(1, ROWS)]
        if all(self._surely(at, there) or self._is_behind(index, at, earlier, d) for d, at in after):
            return True
        return self._but_for_meetings(later, there)

    def _is_behind(self, index: Value, later: Sequence[Sum], earlier: Sequence[Sum], distance: int) -> bool:
        """Whether the later of two accesses of a loop within is at one place with the other in no earlier trip."""
        for x, y in zip(later, earlier, strict=True):
            factor = x.terms.get(index, 0)
            if factor and factor == y.terms.get(index, 0):
                # So many times the factor later the other is there.
                gap = x.plus(y, -1)
                trips = distance * self.behind * abs(factor)
                if bound(self.r, gap, 1) <= trips if factor > 0 else bound(self.r, gap, -1) >= -trips:
                    return True
        return False

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
