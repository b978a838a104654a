"""Whether two indices of one array name the same elements, or surely none in common.

Two positions are apart if they are different numbers, the same value plus different numbers, or sums of loop indices
whose difference cannot be 0: `i` and `j` where `j` counts from `i + 1`. In: indices as `ops/index.py` has them. Out:
yes, or not known. This room rewrites nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.index import Entry, Pick, Span
from jitgrad.graph.passes.rules.arithmetic import affine
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.ranges import Sum, bounds_of
from jitgrad.graph.types import Dim

__all__ = ["apart", "is_element", "known", "move_alike", "same", "turned"]


def known(r: Context, index: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return an index with constants among its numbers put in, except lengths: those make the type."""

    def number(x: Any) -> Any:
        literal = r.literal(x) if isinstance(x, Value) else None
        return x if literal is None else int(literal)

    return tuple(
        Pick(number(e.at)) if isinstance(e, Pick) else Span(number(e.start), number(e.step), e.length) for e in index
    )


def same(a: Sequence[Entry], b: Sequence[Entry]) -> bool:
    """Whether two indices, as `known` gives them, are one."""
    return len(a) == len(b) and all(
        type(x) is type(y) and all(p is q or (isinstance(p, int) and p == q) for p, q in zip(x, y, strict=True))
        for x, y in zip(a, b, strict=True)
    )


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
    if isinstance(x, Pick) and isinstance(y, Pick):
        return _different(r, x.at, y.at)
    p, q = _range(x), _range(y)
    if p is not None and q is not None:
        if not p or not q:
            return True
        if len(p) == 1 or len(q) == 1:
            return p[0] not in q if len(p) == 1 else q[0] not in p
        return max(min(p), min(q)) > min(max(p), max(q))
    mine, others = _ends(x), _ends(y)
    if mine is None or others is None:
        return False
    return _not_before(r, mine[0], others[1]) or _not_before(r, others[0], mine[1])


def _different(r: Context, x: Any, y: Any) -> bool:
    if isinstance(x, int) and isinstance(y, int):
        return x != y
    if isinstance(x, Value) and isinstance(y, Value):
        (p, i, _), (q, j, _) = affine(r, x), affine(r, y)
        if p is q:
            return (i - j) % 2**64 != 0
    low, high = bounds_of(r, x, y)
    return low > 0 or high < 0


def _ends(e: Entry) -> tuple[Any, list[Any]] | None:
    """Return the first position of an entry, and what sums up to the first one behind it."""
    if isinstance(e, Pick):
        return e.at, [e.at, 1]
    return (e.start, [e.start, e.length]) if isinstance(e.step, int) and e.step == 1 else None


def _not_before(r: Context, first: Any, behind: list[Any]) -> bool:
    return bounds_of(r, first, *behind)[0] >= 0


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
