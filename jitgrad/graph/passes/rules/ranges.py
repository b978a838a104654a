"""What is known of an integer: `0 <= k < n` of a loop's index, that sizes are not negative, remainders, small sums.

In: an int64 scalar. Out: bounds that hold whenever it is computed. Comparisons that they decide become constants, so
that the wrapping of negative indices and most index checks of `for i in range(len(a))` vanish. Sums that might leave
int64 have no bounds: they wrap.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jitgrad.graph.ir import Op, Value
from jitgrad.graph.passes.rules.context import Context, Rule
from jitgrad.graph.types import INT64

__all__ = ["RULES", "is_below", "range_of"]

_LEAST, _MOST = -(2**63), 2**63 - 1
_DEPTH = 4

_Range = tuple[int, int]


def range_of(r: Context, value: Value, depth: int = _DEPTH) -> _Range:
    """Return the least and the largest number that an integer scalar may be."""
    literal = r.literal(value)
    if literal is not None:
        return int(literal), int(literal)
    if value in r.sizes:
        return 0, _MOST
    loop = r.loops.get(value)
    if loop is not None:
        return 0, max(range_of(r, loop.operands[0], depth - 1)[1] - 1, 0) if depth else _MOST - 1
    op = value.op
    bounds = None if op is None or depth == 0 else _BOUNDS.get(op.primitive.name)
    return (_LEAST, _MOST) if op is None or bounds is None else bounds(r, op, depth - 1)


def _within(low: int, high: int) -> _Range:
    return (low, high) if low >= _LEAST and high <= _MOST else (_LEAST, _MOST)


def _are_int64(op: Op) -> bool:
    return all(v.type == INT64 for v in op.operands)


def _add(r: Context, op: Op, depth: int) -> _Range:
    if not _are_int64(op):
        return _LEAST, _MOST
    (a, b), (c, d) = (range_of(r, v, depth) for v in op.operands)
    return _within(a + c, b + d)


def _subtract(r: Context, op: Op, depth: int) -> _Range:
    if not _are_int64(op):
        return _LEAST, _MOST
    (a, b), (c, d) = (range_of(r, v, depth) for v in op.operands)
    return _within(a - d, b - c)


def _remainder(r: Context, op: Op, depth: int) -> _Range:
    """The remainder has the sign of the divisor."""
    divisor = r.literal(op.operands[1])
    if divisor is None or not _are_int64(op) or divisor <= 0:
        return _LEAST, _MOST
    return 0, int(divisor) - 1


def _maximum(r: Context, op: Op, depth: int) -> _Range:
    if not _are_int64(op):
        return _LEAST, _MOST
    (a, b), (c, d) = (range_of(r, v, depth) for v in op.operands)
    return max(a, c), max(b, d)


def _minimum(r: Context, op: Op, depth: int) -> _Range:
    if not _are_int64(op):
        return _LEAST, _MOST
    (a, b), (c, d) = (range_of(r, v, depth) for v in op.operands)
    return min(a, c), min(b, d)


def _select(r: Context, op: Op, depth: int) -> _Range:
    if op.results[0].type != INT64:
        return _LEAST, _MOST
    (a, b), (c, d) = (range_of(r, v, depth) for v in op.operands[1:])
    return min(a, c), max(b, d)


def _cast(r: Context, op: Op, depth: int) -> _Range:
    dtype = op.operands[0].array.dtype
    if dtype.kind == "b":
        return 0, 1
    if dtype.kind not in "iu":
        return _LEAST, _MOST
    limits = np.iinfo(dtype)
    return _within(int(limits.min), int(limits.max))


_BOUNDS: dict[str, Callable[[Context, Op, int], _Range]] = {
    "add": _add,
    "cast": _cast,
    "list_length": lambda r, op, depth: (0, _MOST),
    "maximum": _maximum,
    "minimum": _minimum,
    "remainder": _remainder,
    "select": _select,
    "subtract": _subtract,
}


def is_below(r: Context, x: Value, y: Value) -> bool | None:
    """Whether x < y always (True), never (False), or that is not known (None)."""
    loop = r.loops.get(x)
    if loop is not None and loop.operands[0] is y:
        return True
    (a, b), (c, d) = range_of(r, x), range_of(r, y)
    if b < c:
        return True
    return False if a >= d else None


def _compare(r: Context, op: Op) -> Value | None:
    if not _are_int64(op):
        return None
    x, y = op.operands
    name = op.primitive.name
    known: bool | None
    if name in ("less", "greater_equal"):
        known = is_below(r, x, y)
    elif name in ("greater", "less_equal"):
        known = is_below(r, y, x)
    else:
        known = True if is_below(r, x, y) or is_below(r, y, x) else None
    if known is None:
        return None
    return r.g.constant(known if name in ("less", "greater", "not_equal") else not known, np.bool_)


def _extremum(r: Context, op: Op) -> Value | None:
    """`max(n, 0)` of a size, `min(k, n)` of an index below n."""
    if not _are_int64(op):
        return None
    x, y = op.operands
    for a, b in ((x, y), (y, x)):
        if is_below(r, a, b) or range_of(r, a)[1] <= range_of(r, b)[0]:
            return b if op.primitive.name == "maximum" else a
    return None


def _absolute(r: Context, op: Op) -> Value | None:
    (x,) = op.operands
    return x if x.type == INT64 and range_of(r, x)[0] >= 0 else None


def _remainder_of_small(r: Context, op: Op) -> Value | None:
    """`k % n` of an index below n."""
    x, y = op.operands
    if not _are_int64(op) or range_of(r, x)[0] < 0:
        return None
    return x if is_below(r, x, y) else None


RULES: dict[str, Rule] = {
    "absolute": _absolute,
    "equal": _compare,
    "greater": _compare,
    "greater_equal": _compare,
    "less": _compare,
    "less_equal": _compare,
    "maximum": _extremum,
    "minimum": _extremum,
    "not_equal": _compare,
    "remainder": _remainder_of_small,
}
