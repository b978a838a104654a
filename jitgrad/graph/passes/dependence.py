"""Whether what one access to an array wrote may be read by another, in the same iteration of their loops or later.

Places are sums of loop indices (`rules/ranges.py`); the index of a later iteration is the earlier one plus one plus an
unknown that is not negative. In: an array that a nest of `for` loops carries, with all that is done to it. Out: no, or
perhaps. This is dependence analysis of the textbook kind (Allen and Kennedy, Optimizing Compilers for Modern
Architectures, chapter 3), by bounds of differences.
"""

from __future__ import annotations

from jitgrad.graph.ir import Block, Op, Value
from jitgrad.graph.passes.accesses import Access, Carried
from jitgrad.graph.passes.rewriting import blocks_within
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.places import Box, box_of, boxes_apart
from jitgrad.graph.passes.rules.ranges import Sum, as_sum, last_of
from jitgrad.graph.types import INT64, Dim

__all__ = ["Dependence"]


class Dependence:
    """An array that a loop carries.

    Attributes
    ----------
    inside : set of Value
        What the loop computes anew in each iteration.
    indices : set of Value
        Numbers of its iterations, and of those of loops within.
    """

    def __init__(self, r: Context, carried: Carried) -> None:
        self.r = r
        self.carried = carried
        (body,) = carried.loop.regions
        blocks = blocks_within(body)
        self.inside = {v for b in blocks for op in b.ops for v in op.results}
        # What loops carry changes too; their indices are dealt with one by one.
        self.inside |= {v for b in blocks for v in b.args if v not in r.order}
        self.indices = {v for b in blocks for v in b.args if v in r.order}

    def may_reach(self, store: Access, load: Access) -> bool:
        """Whether a load may read what a store wrote, if no other store comes between."""
        common = 0
        for (a, _), (b, _) in zip(store.path, load.path, strict=False):
            if a is not b:
                break
            common += 1
        box = self._box(store.op, {}, anew=False)
        # Later in the same iteration? Loops around only one of the two have indices of their own.
        later = store.path[common - 1][1] < load.path[common - 1][1]
        if later and not boxes_apart(self.r, box, self._box(load.op, {}, anew=False)):
            return True
        loops = [level for level in range(common) if load.path[level][0] in self.carried.bodies]
        return not all(boxes_apart(self.r, box, self._box(load.op, self._later(load, n), anew=True)) for n in loops)

    def may_touch(self, store: Access, load: Op) -> bool:
        """Whether a load behind the loop may read what a store wrote."""
        return not boxes_apart(self.r, self._box(store.op, {}, anew=False), self._box(load, {}, anew=False))

    def _later(self, load: Access, level: int) -> dict[Value, Sum]:
        """Return what stands for loop indices in a later iteration of the loop at a level of a load's path."""
        r = self.r
        index = load.path[level][0].args[0]
        last = last_of(r, index)
        more = self._unknown(last.plus(Sum({index: 1}, 1), -1))
        moved = {index: Sum({index: 1, more: 1}, 1)}
        for block, _ in load.path[level + 1 :]:
            if block in self.carried.bodies:
                inner = block.args[0]
                moved[inner] = Sum({self._unknown(self._renamed(last_of(r, inner), moved)): 1})
        return moved

    def _unknown(self, last: Sum) -> Value:
        """Return a new number between 0 and a sum."""
        made = Value(INT64, Block(), 0)
        self.r.lasts[made] = last
        self.r.order[made] = len(self.r.order)
        return made

    def _renamed(self, given: Sum, moved: dict[Value, Sum]) -> Sum:
        """Return a sum as it is in a later iteration; of what is computed anew there nothing is known."""
        made = Sum({}, given.constant)
        for v, factor in given.terms.items():
            anew = Sum({Value(INT64, Block(), 0): 1}) if v in self.inside else Sum({v: 1})
            made = made.plus(moved.get(v, anew), factor)
        return made

    def _box(self, op: Op, moved: dict[Value, Sum], anew: bool) -> Box:
        def number(x: Dim) -> Sum:
            found = as_sum(self.r, x)
            return self._renamed(found, moved) if anew and found.terms else found

        return box_of(op, number)
