"""The boxes of an array that loads and stores touch, and whether two of them have no element in common.

In: loads and stores of parts. Out: of each axis the first position and the one behind the last, as sums of integers;
bounds of their differences tell boxes apart whatever the numbers are at run time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from jitgrad.graph.ir import Op
from jitgrad.graph.ops.index import Entry, Pick, index_of
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.ranges import Sum, bound
from jitgrad.graph.types import Dim

__all__ = ["Box", "are_apart", "box_of"]

# Of each axis, the first position and the one behind the last; None where they are not known.
Box: TypeAlias = list[tuple[Sum, Sum] | None]


def box_of(op: Op, number: Callable[[Dim], Sum]) -> Box:
    """Return the box that a load, store or addto touches.

    Parameters
    ----------
    op : Op
    number : callable
        The sum that a position or a length is.
    """

    def ends(e: Entry) -> tuple[Sum, Sum] | None:
        if isinstance(e, Pick):
            assert e.at is not None
            at = number(e.at)
            return at, at.plus(Sum({}, 1))
        if not isinstance(e.step, int):
            return None
        assert e.start is not None and e.length is not None
        start = number(e.start)
        last = start.plus(number(e.length), e.step).plus(Sum({}, -e.step))
        return (start, last.plus(Sum({}, 1))) if e.step > 0 else (last, start.plus(Sum({}, 1)))

    return [ends(e) for e in index_of(op)]


def are_apart(r: Context, one: Box, other: Box) -> bool:
    """Whether two boxes of one array are known to have no element in common."""
    return any(
        x is not None
        and y is not None
        and (bound(r, x[0].plus(y[1], -1), -1) >= 0 or bound(r, y[0].plus(x[1], -1), -1) >= 0)
        for x, y in zip(one, other, strict=True)
    )
