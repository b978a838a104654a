"""What is known of an integer: `0 <= k < n` of a loop's index, that sizes are not negative, remainders, small sums.

In: an int64 scalar. Out: bounds that hold whenever it is computed. Comparisons that they decide become constants, so
that the wrapping of negative indices and most index checks of nested loops over parts of arrays vanish. Sums that might
leave int64 have no bounds: they wrap.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Op, Value
from jitgrad.graph.passes.rewriting import blocks_within
from jitgrad.graph.passes.rules.context import Context, Rule
from jitgrad.graph.types import INT64, Dim

__all__ = [
    "OF_INTEGERS", "RULES", "Sum", "another", "as_sum", "bound", "bounds_of", "emit_sum", "is_below", "last_of",
    "range_of", "sum_of", "survey_sums",
]  # fmt: skip

_LEAST, _MOST = -(2**63), 2**63 - 1
_DEPTH = 4
_SUMS = frozenset({"add", "subtract", "multiply", "negative"})
# A sum of more terms than this is one number of which nothing is known.
_TERMS = 8

_Range = tuple[int, int]


class Sum(NamedTuple):
    """`constant + sum(factor * value)`, over the integers."""

    terms: dict[Value, int]
    constant: int = 0

    def plus(self, other: Sum, factor: int = 1) -> Sum:
        """Return this sum plus `factor` times another."""
        if not other.terms:
            return Sum(self.terms, self.constant + factor * other.constant)
        terms = dict(self.terms)
        _add(terms, other.terms, factor)
        return Sum(terms, self.constant + factor * other.constant)


def _add(terms: dict[Value, int], other: dict[Value, int], factor: int) -> None:
    """Add so many times other terms to terms."""
    for v, k in other.items():
        total = terms.get(v, 0) + factor * k
        if total:
            terms[v] = total
        else:
            terms.pop(v, None)


def range_of(r: Context, value: Value, depth: int = _DEPTH) -> _Range:
    """Return the least and the largest number that an integer scalar may be."""
    literal = r.literal(value)
    if literal is not None:
        return int(literal), int(literal)
    found = sum_of(r, value, depth)
    if value not in found.terms:
        return bound(r, found, -1, depth), bound(r, found, 1, depth)
    return _range_of_term(r, value, depth)


def _range_of_term(r: Context, value: Value, depth: int) -> _Range:
    """Return the bounds of a value that is no sum of others."""
    if value in r.sizes:
        return 0, _MOST
    loop = r.loops.get(value)
    if loop is not None:
        return 0, max(range_of(r, loop.operands[0], depth - 1)[1] - 1, 0) if depth else _MOST - 1
    op = value.op
    bounds = None if op is None or depth == 0 else _BOUNDS.get(op.name)
    return (_LEAST, _MOST) if op is None or bounds is None else bounds(r, op, depth - 1)


def bounds_of(r: Context, x: Dim, *less: Dim) -> _Range:
    """Return bounds of `x` minus all of `less`: int64 scalars or Python's ints."""
    found = as_sum(r, x)
    for y in less:
        found = found.plus(as_sum(r, y), -1)
    return bound(r, found, -1), bound(r, found, 1)


def as_sum(r: Context, x: Dim | None) -> Sum:
    """Return a position or a length as a sum."""
    assert x is not None
    return Sum({}, x) if isinstance(x, int) else sum_of(r, x)


def emit_sum(g: Builder, given: Sum) -> Dim:
    """Return a sum as a number, or as the value that it is computed as."""
    total: Dim = given.constant
    for v, factor in given.terms.items():
        term = v if factor == 1 else g.multiply(v, g.constant(factor, INT64.dtype))
        total = term if isinstance(total, int) and total == 0 else g.add(term, total)
    return total


def sum_of(r: Context, value: Value, depth: int = _DEPTH) -> Sum:
    """Return an int64 scalar as a sum of values that are no sums, as far as none of the additions can wrap."""
    known = r.sums.get(value)
    if known is not None:
        return known
    literal = r.literal(value)
    if literal is not None:
        return Sum({}, int(literal))
    alone = Sum({value: 1})
    op = value.op
    if op is None or value.type != INT64 or op.name not in _SUMS:
        return alone
    if depth == 0:
        return alone  # not remembered: asked for itself, it may be known
    x, *rest = (sum_of(r, v, depth - 1) for v in op.operands)
    if op.name == "negative":
        made = Sum({}).plus(x, -1)
    elif op.name == "multiply":
        (y,) = rest
        if x.terms and y.terms:
            return alone
        made = Sum({}).plus(x, y.constant) if x.terms else Sum({}).plus(y, x.constant)
    else:
        made = x.plus(rest[0], 1 if op.name == "add" else -1)
    fits = len(made.terms) <= _TERMS
    fits = fits and bound(r, made, -1, depth - 1) >= _LEAST and bound(r, made, 1, depth - 1) <= _MOST
    found = made if fits else alone
    if fits or depth == _DEPTH:
        r.sums[value] = found
    return found


def bound(r: Context, given: Sum, side: int, depth: int = _DEPTH) -> int:
    """Return an upper (`side` 1) or lower (-1) bound of a sum.

    The index of a loop is replaced by its own bound, which is a sum as well, innermost first: of `i + j` with `j` below
    `n - i` that gives `n - 1`, where bounds that are numbers would give twice as much.
    """
    terms, found = given.terms, given.constant
    order = r.order
    while depth > 0 and terms:
        inner, place = None, -1
        for v in terms:
            at = order.get(v, -1)
            if at > place:
                inner, place = v, at
        if inner is None:
            break
        terms = dict(terms)
        factor = terms.pop(inner)
        if factor * side > 0:
            last = last_of(r, inner, depth - 1)
            _add(terms, last.terms, factor)
            found += factor * last.constant
    for v, factor in terms.items():
        low, high = _range_of_term(r, v, max(depth - 1, 0))
        found += factor * (high if factor * side > 0 else low)
    return found


def last_of(r: Context, index: Value, depth: int = _DEPTH) -> Sum:
    """Return the index of a loop's last iteration."""
    known = r.lasts.get(index)
    return sum_of(r, r.loops[index].operands[0], depth).plus(Sum({}, -1)) if known is None else known


def another(r: Context, index: Value) -> Value:
    """Return the index of another iteration of a loop, whichever."""
    made = Value(INT64, Block(), 0)
    r.lasts[made] = last_of(r, index)
    r.order[made] = len(r.order)
    return made


def _within(low: int, high: int) -> _Range:
    return (low, high) if low >= _LEAST and high <= _MOST else (_LEAST, _MOST)


def _are_int64(op: Op) -> bool:
    return all(v.type == INT64 for v in op.operands)


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


def _multiply(r: Context, op: Op, depth: int) -> _Range:
    if not _are_int64(op):
        return _LEAST, _MOST
    one, other = (range_of(r, v, depth) for v in op.operands)
    corners = [a * b for a in one for b in other]
    return _within(min(corners), max(corners))


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
    "cast": _cast,
    "list_length": lambda r, op, depth: (0, _MOST),
    "maximum": _maximum,
    "minimum": _minimum,
    "multiply": _multiply,
    "remainder": _remainder,
    "select": _select,
}


def is_below(r: Context, x: Value, y: Value) -> bool | None:
    """Whether x < y always (True), never (False), or that is not known (None)."""
    if x.type != INT64 or y.type != INT64:
        (a, b), (c, d) = range_of(r, x), range_of(r, y)
        return True if b < c else False if a >= d else None
    gap = sum_of(r, y).plus(sum_of(r, x), -1)
    if bound(r, gap, -1) > 0:
        return True
    return False if bound(r, gap, 1) <= 0 else None


def survey_sums(r: Context, block: Block) -> None:
    """Find out all sums of a block in order, so that later questions need not look far."""
    for inner in blocks_within(block):
        for op in inner.ops:
            if op.name in _SUMS and op.results[0].type == INT64:
                sum_of(r, op.results[0])


def _note(r: Context, op: Op) -> Value | None:
    """Find out what an op sums where it stands, so that those that use it need not look far."""
    sum_of(r, op.results[0])
    return None


def _compare(r: Context, op: Op) -> Value | None:
    if not _are_int64(op):
        return None
    x, y = op.operands
    name = op.name
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
            return b if op.name == "maximum" else a
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
    "add": _note,
    "equal": _compare,
    "greater": _compare,
    "greater_equal": _compare,
    "less": _compare,
    "less_equal": _compare,
    "maximum": _extremum,
    "minimum": _extremum,
    "multiply": _note,
    "negative": _note,
    "not_equal": _compare,
    "remainder": _remainder_of_small,
    "subtract": _note,
}
# Those that look at int64 results only.
OF_INTEGERS = frozenset({_note})
