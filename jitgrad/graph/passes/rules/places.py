"""Which elements of an array an index names: whether two name the same, surely none in common, one or most of them.

Two positions are apart if they are different numbers, the same value plus different numbers, or sums of loop indices
whose difference cannot be 0: `i` and `j` where `j` counts from `i + 1`. Two parts are apart if along some axis one ends
before the other begins: the box of a part is, of each axis, its first position and the one behind its last, as sums of
integers. In: indices as `ops/index.py` has them. Out: yes, or not known. This room rewrites nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

from jitgrad.graph.ir import Op, Value
from jitgrad.graph.ops.index import Entry, Pick, Span, index_of
from jitgrad.graph.passes.rules.arithmetic import affine
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.ranges import Sum, as_sum, bound, bounds_of
from jitgrad.graph.types import Dim

__all__ = [
    "Box", "apart", "box_of", "boxes_apart", "is_element", "is_most", "known", "move_alike", "never_meet", "place_of",
    "same", "turned",
]  # fmt: skip

# A part that is most of an array: this much of it, of at least so many elements; of sizes that are not known, shorter
# by at most so much along an axis.
_MOST, _LEAST, _MARGIN = 0.6, 32, 16

_Ends: TypeAlias = tuple[Sum, Sum] | None
# Of each axis, the first position and the one behind the last; None where they are not known.
Box: TypeAlias = list[_Ends]


def known(r: Context, index: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return an index with constants among its numbers put in, except lengths: those make the type."""

    if not any(isinstance(x, Value) for e in index for x in e):
        return tuple(index)

    def number(x: Any) -> Any:
        literal = r.literal(x) if isinstance(x, Value) else None
        return x if literal is None else int(literal)

    return tuple(
        [Pick(number(e.at)) if isinstance(e, Pick) else Span(number(e.start), number(e.step), e.length) for e in index]
    )


def place_of(r: Context, op: Op) -> tuple[Entry, ...]:
    """Return the index of a load, store or addto, as `known` gives it."""
    index = index_of(op)
    for v in op.operands[1 if op.name == "load" else 2 :]:
        if r.literal(v) is not None:
            return known(r, index)
    return index


def same(a: Sequence[Entry], b: Sequence[Entry]) -> bool:
    """Whether two indices, as `known` gives them, are one."""
    # Entries are tuples of ints and of values, which are equal only to themselves.
    return tuple(a) == tuple(b)


def turned(r: Context, a: Sequence[Entry], b: Sequence[Entry]) -> list[int] | None:
    """Return along which axes of the part one index runs backwards through what the other names; None if they differ.

    An empty list means that the two are one index.
    """
    axes: list[int] = []
    axis = 0
    for x, y in zip(a, b, strict=True):
        if not same([x], [y]):
            if not (isinstance(x, Span) and isinstance(y, Span) and _is_turned(r, x, y)):
                return None
            axes.append(axis)
        axis += isinstance(x, Span)
    return axes


def _is_turned(r: Context, x: Span, y: Span) -> bool:
    if not isinstance(x.step, int) or not isinstance(y.step, int) or {x.step, y.step} != {1, -1}:
        return False
    if x.length is not y.length and not (isinstance(x.length, int) and x.length == y.length):
        return False
    up, down = (x, y) if x.step == 1 else (y, x)
    assert down.start is not None and up.start is not None and up.length is not None
    return bounds_of(r, down.start, up.start, up.length) == (-1, -1)


def is_element(r: Context, index: Sequence[Entry], shape: Sequence[Dim]) -> bool:
    """Whether an index names one element, surely of an array of this shape."""
    for e, size in zip(index, shape, strict=True):
        if not isinstance(e, Pick) or e.at is None:
            return False
        if bounds_of(r, e.at)[0] < 0 or bounds_of(r, size, e.at)[0] < 1:
            return False
    return True


def apart(r: Context, a: Sequence[Entry], b: Sequence[Entry]) -> bool:
    """Whether two indices of one array surely name no common element."""
    return any(_entries_apart(r, x, y) for x, y in zip(a, b, strict=True))


def _entries_apart(r: Context, x: Entry, y: Entry) -> bool:
    p = _range(x)
    q = None if p is None else _range(y)
    if p is not None and q is not None:
        if not p or not q:
            return True
        if len(p) == 1 or len(q) == 1:
            return p[0] not in q if len(p) == 1 else q[0] not in p
        return max(min(p), min(q)) > min(max(p), max(q))
    if isinstance(x, Pick) and isinstance(y, Pick) and isinstance(x.at, Value) and isinstance(y.at, Value):
        # Sums that wrap have no bounds, but the same value plus different numbers never is one number.
        if x.at is y.at:
            return False
        (u, i, _), (v, j, _) = affine(r, x.at), affine(r, y.at)
        if u is v:
            return (i - j) % 2**64 != 0
    number = partial(as_sum, r)
    return _ends_apart(r, _ends(x, number), _ends(y, number))


def box_of(op: Op, number: Callable[[Dim], Sum]) -> Box:
    """Return the box that a load, store or addto touches.

    Parameters
    ----------
    op : Op
    number : callable
        The sum that a position or a length is.
    """
    return [_ends(e, number) for e in index_of(op)]


def boxes_apart(r: Context, one: Box, other: Box) -> bool:
    """Whether two boxes of one array surely have no common element."""
    return any(_ends_apart(r, x, y) for x, y in zip(one, other, strict=True))


def _ends(e: Entry, number: Callable[[Dim], Sum]) -> _Ends:
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


def _ends_apart(r: Context, one: _Ends, other: _Ends) -> bool:
    if one is None or other is None:
        return False
    return bound(r, one[0].plus(other[1], -1), -1) >= 0 or bound(r, other[0].plus(one[1], -1), -1) >= 0


def _range(e: Entry) -> range | None:
    if isinstance(e, Pick):
        return range(e.at, e.at + 1) if isinstance(e.at, int) else None
    if not all(isinstance(x, int) for x in e) or e.step == 0:
        return None
    start, step, length = e
    return range(start, start + step * length, step)  # type: ignore[arg-type, operator]


def move_alike(index: Value, one: Sequence[Sum], other: Sequence[Sum]) -> bool:
    """Whether two places have a coordinate in common that a loop's index moves: in no two iterations are they one."""
    return any(index in x.terms and x.plus(y, -1) == Sum({}) for x, y in zip(one, other, strict=True))


def never_meet(r: Context, index: Value, other: Value, one: Sequence[Sum], two: Sequence[Sum]) -> bool:
    """Whether two places are never one element, each in an iteration of its own.

    Parameters
    ----------
    r : Context
    index, other : Value
        Of a loop, and of another iteration of it (`ranges.another`).
    one, two : sequence of Sum
        In terms of `index`.
    """
    for x, y in zip(one, two, strict=True):
        factor = y.terms.get(index, 0)
        gap = x.plus(y.plus(Sum({index: -factor, other: factor}), 1), -1)
        if bound(r, gap, -1) > 0 or bound(r, gap, 1) < 0:
            return True
    return False


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
