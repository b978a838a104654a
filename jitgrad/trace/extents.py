"""Dimensions known only at run time: their arithmetic, the bounds of slices, which of them are one.

In: ints and int64 values of the graph. Out: dimensions. Equal arithmetic gives one and the same value as long as it is
in scope, so that arrays of one size have one type. Where two dimensions must be equal and are not one value, a check
compares them, and from there on one stands for the other (`Context.canonical`): what was being evaluated is begun again
(`Unified`) and finds arrays of one type. This room knows no Python kinds beyond ints and no arrays but their shapes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.memory import Span, load
from jitgrad.graph.types import Dim
from jitgrad.trace.abstract import Scalar
from jitgrad.trace.context import Context, Unified

__all__ = [
    "canonical_shape", "clipped_span", "difference", "extremum", "least", "product", "quotient", "renamed",
    "shapes_text", "surely", "total", "unify",
]  # fmt: skip

_DEPTH = 8  # of sums that are looked into
_STEPS = 32  # of terms that are replaced by what bounds them


# --- arithmetic


def _linear(v: Dim, factor: int, terms: dict[Value, int], depth: int = 0) -> int:
    """Add a multiple of a dimension to a sum of values; return the constant part."""
    if isinstance(v, int):
        return factor * v
    op = v.op
    if op is not None and depth < _DEPTH:
        if op.name == "constant":
            return factor * int(op.attrs["value"])
        if op.name == "negative":
            return _linear(op.operands[0], -factor, terms, depth + 1)
        if op.name in ("add", "subtract"):
            x, y = op.operands
            rest = factor if op.name == "add" else -factor
            return _linear(x, factor, terms, depth + 1) + _linear(y, rest, terms, depth + 1)
        if op.name == "multiply":
            for x, y in (op.operands, op.operands[::-1]):
                if x.op is not None and x.op.name == "constant":
                    return _linear(y, factor * int(x.op.attrs["value"]), terms, depth + 1)
    terms[v] = terms.get(v, 0) + factor
    return 0


def total(ctx: Context, *parts: tuple[int, Dim]) -> Dim:
    """Return a sum of multiples of dimensions, none of which overflows."""
    terms: dict[Value, int] = {}
    known = sum(_linear(d if isinstance(d, int) else ctx.canonical(d), factor, terms) for factor, d in parts)
    terms = {v: n for v, n in terms.items() if n}
    if not terms:
        return known
    key = ("sum", frozenset(terms.items()), known)
    if len(parts) == 1 and parts[0][0] == 1 and isinstance(parts[0][1], Value):
        # A size that was computed stands for what else is found to be the same sum.
        own = ctx.canonical(parts[0][1])
        return own if isinstance(own, int) else ctx.shared(key, lambda: own)

    def make() -> Value:
        g = ctx.g
        made: Value | None = None
        # What is added comes first, so that an index like n - 1 - i begins with n.
        for v, n in sorted(terms.items(), key=lambda item: item[1] < 0):
            part = v if abs(n) == 1 else g.multiply(v, ctx.constant(abs(n), np.int64))
            if made is None:
                made = part if n > 0 else g.negative(part)
            else:
                made = g.add(made, part) if n > 0 else g.subtract(made, part)
        assert made is not None
        if known:
            made = g.add(made, ctx.constant(known, np.int64))
        return made

    if not known and len(terms) == 1 and 1 in terms.values():
        return next(iter(terms))
    return ctx.shared(key, make)


def difference(ctx: Context, x: Dim, y: Dim) -> Dim:
    """Return x - y."""
    return total(ctx, (1, x), (-1, y))


def product(ctx: Context, shape: Sequence[Dim]) -> Dim:
    """Return the number of elements of a shape."""
    made: Dim = math.prod(d for d in shape if isinstance(d, int))
    for d in shape:
        if isinstance(d, int):
            continue
        if isinstance(made, int) and made == 1:
            made = d
            continue
        x, y = made, d
        made = ctx.shared(("product", x, y), lambda x=x, y=y: ctx.g.multiply(ctx.dim(x), y))  # type: ignore[misc]
    return made


def quotient(ctx: Context, x: Dim, y: Dim) -> Dim:
    """Return x // y, for a divisor that is not 0."""
    x, y = total(ctx, (1, x)), total(ctx, (1, y))
    if isinstance(y, int) and (y == 1 or isinstance(x, int)):
        return x if isinstance(x, Value) else x // y
    if x is y:
        return 1
    return ctx.shared(("quotient", x, y), lambda: ctx.g.floor_divide(ctx.dim(x), ctx.dim(y)))


def least(ctx: Context, *parts: tuple[int, Dim]) -> int | None:
    """Return what a sum of multiples of dimensions is not smaller than, by what is known of the sizes of arguments.

    An index of a loop that is being traced is at least 0 and less than the number of trips.
    """
    if not ctx.least_sizes:
        return parts[0][1] if len(parts) == 1 and parts[0][0] == 1 and isinstance(parts[0][1], int) else None
    terms: dict[Value, int] = {}
    low = sum(_linear(d if isinstance(d, int) else ctx.canonical(d), factor, terms) for factor, d in parts)
    found = _least(ctx, {v: Fraction(n) for v, n in terms.items() if n}, Fraction(low), [_STEPS])
    return None if found is None else math.ceil(found)


def _least(ctx: Context, terms: dict[Value, Fraction], low: Fraction, steps: list[int]) -> Fraction | None:
    """Return a bound of a sum: what bounds a term takes its place, until only sizes of arguments are left."""
    steps[0] -= 1
    open_ = next((v for v in terms if v not in ctx.least_sizes), None)
    if open_ is None:
        if any(factor < 0 for factor in terms.values()):
            return None
        return low + sum(factor * ctx.least_sizes[v] for v, factor in terms.items())
    factor = terms[open_]
    rest = {v: n for v, n in terms.items() if v is not open_}
    if steps[0] <= 0:
        return None

    def instead(x: Dim, scale: Fraction, more: Fraction | int = 0) -> Fraction | None:
        """Put scale * (x + more) in place of the term."""
        inner: dict[Value, int] = {}
        known = _linear(x if isinstance(x, int) else ctx.canonical(x), 1, inner)
        made = dict(rest)
        for v, n in inner.items():
            made[v] = made.get(v, Fraction(0)) + scale * n
        return _least(ctx, {v: n for v, n in made.items() if n}, low + scale * (known + more), steps)

    if open_ in ctx.trips:
        return instead(0, factor) if factor > 0 else instead(ctx.trips[open_], factor, -1)
    op = open_.op
    if op is None or op.name not in ("maximum", "minimum", "multiply", "floor_divide"):
        return None
    x, y = op.operands
    if op.name == "floor_divide":
        divisor = int(y.op.attrs["value"]) if y.op is not None and y.op.name == "constant" else 0
        if divisor <= 0:
            return None
        return instead(x, factor / divisor, 1 - divisor if factor > 0 else 0)
    if op.name == "multiply":
        a, b = (least(ctx, (1, v)) for v in (x, y))
        return None if factor < 0 or a is None or b is None or min(a, b) < 0 else instead(a * b, factor)
    found = [instead(v, factor) for v in (x, y)]
    real = [f for f in found if f is not None]
    if (op.name == "maximum") == (factor > 0):
        return max(real, default=None)
    return min(real) if len(real) == len(found) else None


def surely(ctx: Context, bound: int, *parts: tuple[int, Dim]) -> bool:
    """Whether a sum of multiples of dimensions is known to be `bound` or more."""
    low = least(ctx, *parts)
    return low is not None and low >= bound


def extremum(ctx: Context, name: str, x: Dim, y: Dim) -> Dim:
    """Return the `maximum` or the `minimum` of two dimensions."""
    apart = difference(ctx, x, y)
    if isinstance(apart, int):
        return x if (apart <= 0) == (name == "minimum") else y
    if ctx.least_sizes:
        for greater, smaller in ((x, y), (y, x)):
            if surely(ctx, 0, (1, greater), (-1, smaller)):
                return greater if name == "maximum" else smaller
    key = frozenset([x, y])
    return ctx.shared((name, key), lambda: ctx.g.emit(name, [ctx.dim(x), ctx.dim(y)]).result)


# --- slices


class _Bound:
    """A bound of a slice: where it is, and what is known of that.

    Attributes
    ----------
    at : int or Value
    low, high : int or None
    """

    def __init__(self, at: Dim, low: int | None, high: int | None) -> None:
        self.at = at
        self.low = at if isinstance(at, int) else low
        self.high = at if isinstance(at, int) else high


def _bound(ctx: Context, given: Any, size: Dim, first: int, last: int) -> _Bound:
    """Return a bound, counted from the end if negative and clipped to `first .. size + last`, as Python does."""
    end = total(ctx, (1, size), (1, last))
    if not isinstance(given, Scalar):
        at = given.__index__()
        if isinstance(size, int):
            return _Bound(max(first, min(at + size if at < 0 else at, size + last)), None, None)
        made = extremum(ctx, "maximum", total(ctx, (1, size), (1, at)), first) if at < 0 else at
        made = extremum(ctx, "minimum", made, end) if at >= 0 and at > first else made
        return _Bound(made, first, None)
    v: Dim = ctx.canonical(given.value)
    low, high = given.low, given.high
    if low is None or low < 0:
        w = v

        def from_end() -> Value:
            g = ctx.g
            back = g.add(ctx.dim(w), ctx.dim(size))
            return g.maximum(g.select(g.less(w, ctx.constant(0, np.int64)), back, w), ctx.constant(first, np.int64))

        v = ctx.shared(("from the end", v, size, first), from_end)
        low, high = first, None if high is None or not isinstance(size, int) else max(high, size)
    if not (isinstance(end, int) and high is not None and high <= end):
        v = extremum(ctx, "minimum", v, end)
        high = end if isinstance(end, int) else None
    return _Bound(v, low, high)


def _cut(parts: Sequence[Any]) -> tuple[int, int] | None:
    """Return how many elements a slice with known bounds leaves out at either end, None if it counts otherwise."""
    if any(isinstance(p, Scalar) for p in parts[:2]):
        return None
    start, stop = (None if p is None else p.__index__() for p in parts[:2])
    if (start is not None and start < 0) or (stop is not None and stop >= 0):
        return None
    return start or 0, -(stop or 0)


def clipped_span(ctx: Context, parts: Sequence[Any], size: Dim) -> Span:
    """Return the positions that a slice names in an axis; see `slice.indices`.

    Parameters
    ----------
    parts : (start, stop, step)
        None, ints, or int Scalars; the step is known.
    size : int or Value
    """
    size = total(ctx, (1, size))
    step = 1 if parts[2] is None else parts[2].__index__()
    if step == 0:
        raise ValueError("slice step cannot be zero")
    cut = _cut(parts) if step == 1 else None
    if cut is not None and not isinstance(size, int):
        # x[a:-b] has n - a - b elements or none: the same size wherever as many are cut off.
        return Span(cut[0], 1, extremum(ctx, "maximum", total(ctx, (1, size), (1, -sum(cut))), 0))
    if step > 0:
        start = _Bound(0, None, None) if parts[0] is None else _bound(ctx, parts[0], size, 0, 0)
        stop = _Bound(size, 0, None) if parts[1] is None else _bound(ctx, parts[1], size, 0, 0)
    else:
        back = total(ctx, (1, size), (1, -1))
        start = _Bound(back, -1, None) if parts[0] is None else _bound(ctx, parts[0], size, -1, -1)
        stop = _Bound(-1, None, None) if parts[1] is None else _bound(ctx, parts[1], size, -1, -1)
        start, stop = stop, start
    span = difference(ctx, stop.at, start.at)
    sure = start.high is not None and stop.low is not None and stop.low >= start.high
    if not sure:
        span = extremum(ctx, "maximum", span, 0)
    if abs(step) > 1:
        width = total(ctx, (1, span), (1, abs(step) - 1))
        span = quotient(ctx, width, abs(step))
    first = start.at if step > 0 else stop.at
    return Span(first, step, span)


# --- equality


def canonical_shape(ctx: Context, shape: Sequence[Dim]) -> tuple[Dim, ...]:
    """Return a shape in which every dimension is the one that stands for it."""
    return tuple(d if isinstance(d, int) else ctx.canonical(d) for d in shape)


def renamed(ctx: Context, value: Value, shape: Sequence[Dim]) -> Value:
    """Return a value with dimensions that are known to be equal to its own; the same value as long as it is in scope.

    A mask under its new name is still the same mask.
    """
    named = tuple(shape)
    return ctx.shared(("renamed", value, named), lambda: load(ctx.g, value, [Span(0, 1, d) for d in named]))


def unify(
    ctx: Context,
    x: Dim,
    y: Dim,
    message: str,
    *operands: Value,
    broadcast: bool = False,
    exception: type[BaseException] = ValueError,
) -> None:
    """Check that two dimensions are equal, let one stand for the other, and begin the evaluation again.

    Parameters
    ----------
    message : str
        Of the exception if they are not, over `operands`.
    broadcast : bool
        Whether NumPy would accept a 1 that meets another size: that is refused.
    exception : type

    Raises
    ------
    Unified
        Always.
    """
    g = ctx.g
    a, b = ctx.dim(x), ctx.dim(y)
    equal = g.equal(a, b)
    ones = [v for v, d in ((a, x), (b, y)) if not surely(ctx, 2, (1, d)) or not ctx.least_sizes] if broadcast else []
    if ones:
        one = ctx.constant(1, np.int64)
        what = "a size computed by the program turned out to be 1 and is broadcast"
        neither = g.not_equal(ones[0], one)
        for v in ones[1:]:
            neither = g.logical_and(neither, g.not_equal(v, one))
        ctx.refuse_unless(g.logical_or(equal, neither), "JG218", *ones, what=what)
    ctx.check(equal, exception, message, *operands)
    ctx.identify(x, y)
    raise Unified


def shapes_text(shapes: Sequence[Sequence[Dim]]) -> tuple[list[str], list[Value]]:
    """Return shapes as NumPy's errors write them, as format strings over the values that are returned too."""
    sizes: list[Value] = []
    texts = []
    for shape in shapes:
        parts = []
        for d in shape:
            if not isinstance(d, int):
                sizes.append(d)
            parts.append(str(d) if isinstance(d, int) else f"{{{len(sizes) - 1}}}")
        texts.append(f"({','.join(parts)}{',' * (len(parts) == 1)})")
    return texts, sizes
