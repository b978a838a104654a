"""The boxes of an array that loads and stores touch: whether two have no element in common, one makes up most of it.

In: loads and stores of parts. Out: of each axis the first position and the one behind the last, as sums of integers;
bounds of their differences tell boxes apart whatever the numbers are at run time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

from jitgrad.graph.ir import Op
from jitgrad.graph.ops.index import Entry, Pick, index_of
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.ranges import Sum, bound, bounds_of
from jitgrad.graph.types import Dim

__all__ = ["Box", "are_apart", "box_of", "is_most"]

# A part that is most of an array: this much of it, of at least so many elements; of sizes that are not known, shorter
# by at most so much along an axis.
_MOST, _LEAST, _MARGIN = 0.6, 32, 16

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


def is_most(r: Context, whole: Sequence[Dim], part: Sequence[Dim]) -> bool:
    """Whether a part of the shape `part` makes up most of an array, so that a sweep over all of it is little more."""
    if len(part) != len(whole):
        return False
    known = [(n, m) for n, m in zip(whole, part, strict=True) if isinstance(n, int) and isinstance(m, int)]
    size, of = math.prod(m for _, m in known), math.prod(n for n, _ in known)
    if size < _MOST * of or (len(known) == len(whole) and size < _LEAST):
        return False
    rest = [(n, m) for n, m in zip(whole, part, strict=True) if not (isinstance(n, int) and isinstance(m, int))]
    return all(bounds_of(r, n, m)[1] <= _MARGIN for n, m in rest)
