"""NumPy's functions of order and position: `sort`, `argsort`, `median`, `quantile`, `searchsorted`.

In: abstract arrays and arguments. Out: new arrays or NumPy scalars. What would make an array whose size depends on data
is refused by name.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.memory import Pick, Span, load
from jitgrad.graph.ops.shape import reshape_to
from jitgrad.graph.types import Dim
from jitgrad.trace.abstract import ListRef, Scalar
from jitgrad.trace.arrays import as_array, cast, is_array, kind, write
from jitgrad.trace.calls import handles, method
from jitgrad.trace.columns import content_of
from jitgrad.trace.context import Context
from jitgrad.trace.extents import total
from jitgrad.trace.sizes import axis_argument, known_argument, numeric, promoted, refuse_empty, size_of
from jitgrad.trace.storage import as_sequence

__all__ = ["positions_in", "sort_value"]

_F64, _I64 = np.dtype(np.float64), np.dtype(np.int64)

# --- order


def sort_value(ctx: Context, value: Value, axis: int) -> Value:
    """Return a value sorted along an axis."""
    made: Value = ctx.g.sort(value, axis=axis)
    return made


def _is_stable(ctx: Context, kind: Any, order: Any, stable: Any) -> bool:
    """Whether equal elements are to stay as they were; raises what NumPy does if no sort is named."""
    kind, order, stable = (known_argument(ctx, v, "a kind of sort") for v in (kind, order, stable))
    np.argsort(np.zeros(1), kind=kind, order=order, stable=stable)
    return bool(stable) or kind not in (None, "quicksort")


@handles(np.sort)
def _sort(ctx: Context, a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    value = as_array(ctx, numeric(ctx, a))
    if axis is None:
        value = reshape_to(ctx.g, value, (size_of(ctx, value.shape),))
        axis = 0
    _is_stable(ctx, kind, order, stable)
    return ctx.fresh(sort_value(ctx, value, axis_argument(ctx, axis, value.array.rank)))


@method("array", "sort")
def _sort_in_place(
    ctx: Context, x: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> None:
    value = as_array(ctx, x)
    _is_stable(ctx, kind, order, stable)
    write(ctx, x, sort_value(ctx, value, axis_argument(ctx, axis, value.array.rank)), "sort array")


@handles(np.argsort)
@method("array", "argsort")
def _argsort(ctx: Context, a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    value = as_array(ctx, numeric(ctx, a))
    if axis is None:
        value = reshape_to(ctx.g, value, (size_of(ctx, value.shape),))
        axis = 0
    stably = _is_stable(ctx, kind, order, stable)
    return ctx.fresh(ctx.g.argsort(value, axis=axis_argument(ctx, axis, value.array.rank), stable=stably))


def _quantiles(ctx: Context, name: str, a: Any, q: Any, axis: Any, keepdims: Any, scale: float) -> Any:
    """Quantiles by linear interpolation between the sorted elements."""
    value = as_array(ctx, numeric(ctx, a))
    rank = value.array.rank
    if axis is None:
        shape = tuple(1 for _ in range(rank))
        value, at = reshape_to(ctx.g, value, (size_of(ctx, value.shape),)), 0
    else:
        at = axis_argument(ctx, axis, rank)
        shape = tuple(1 if k == at else d for k, d in enumerate(value.shape))  # type: ignore[misc]
    size = value.shape[at]
    refuse_empty(ctx, size, name)
    fractions, own, ends = _fractions(ctx, name, q, scale)
    if value.array.dtype.kind not in "f" and not ends:
        value = cast(ctx, value, np.float64)
    if own is not None and not ends:
        # All but Python's own numbers take part in the choice of the dtype.
        value = cast(ctx, value, np.result_type(value.array.dtype, own))
    ordered = sort_value(ctx, value, at)
    last = _pick_row(ctx, ordered, at, total(ctx, (1, size), (1, -1)))
    rows = []
    for fraction in fractions.ravel():
        if ends:
            row = last if fraction else _pick_row(ctx, ordered, at, 0)
        else:
            row = _at_fraction(ctx, ordered, at, fraction if isinstance(fraction, Value) else float(fraction))
        if value.type.is_float:
            # A NaN sorts last, and makes every quantile NaN.
            row = ctx.g.select(ctx.g.isnan(last), last, row)
        rows.append(reshape_to(ctx.g, row, shape) if keepdims else row)
    if fractions.ndim == 0:
        return ctx.result(rows[0])
    stack = [reshape_to(ctx.g, r, (1, *r.shape)) for r in rows]
    made = stack[0] if len(stack) == 1 else ctx.g.concatenate(*stack, axis=0)
    return ctx.fresh(reshape_to(ctx.g, made, (*fractions.shape, *rows[0].shape)))


def _fractions(ctx: Context, name: str, q: Any, scale: float) -> tuple[np.ndarray, np.dtype | None, bool]:
    """Return the fractions of quantiles, their dtype unless it is weak, and whether they are ints: the ends.

    Those that data decide are values in an array of objects.
    """
    message = "Percentiles must be in the range [0, 100]" if scale != 1 else "Quantiles must be in the range [0, 1]"
    q = as_sequence(ctx, q)
    if not _are_data(ctx, q):
        known = known_argument(ctx, q, f"the fractions of {name}")
        exact = np.asarray(known, np.float64) / scale
        if not ((exact >= 0) & (exact <= 1)).all():
            raise ValueError(message)
        own = None if type(known) in (float, int) else np.asarray(known).dtype
        # Elements as they are, between which nothing lies.
        return exact, own, scale == 1 and np.asarray(known).dtype.kind in "biu"
    g, given = ctx.g, as_array(ctx, q)
    if given.array.dtype != np.float64 or not given.array.is_static:
        raise ctx.error("JG236", what=f"the fractions of {name}")
    made: Any = np.empty(tuple(int(d) for d in given.shape), np.dtype(object))  # type: ignore[arg-type]
    for at in np.ndindex(made.shape):
        part = load(g, given, [Pick(k) for k in at])
        part = part if scale == 1 else g.divide(part, scale)
        ctx.check(g.logical_and(g.greater_equal(part, 0.0), g.less_equal(part, 1.0)), ValueError, message)
        made[at] = part
    return made, None if kind(q) == "float" else given.array.dtype, False


def _are_data(ctx: Context, x: Any) -> bool:
    """Whether data decide an argument, or what is in it."""
    if isinstance(x, ListRef):
        x = content_of(ctx, x.cell)
    if isinstance(x, tuple):
        return any(_are_data(ctx, v) for v in x)
    return is_array(x) or (isinstance(x, Scalar) and x.value.array.dtype.kind == "f")


def _at_fraction(ctx: Context, ordered: Value, axis: int, fraction: float | Value) -> Value:
    """Return what lies at a fraction of the way along sorted elements."""
    g = ctx.g
    size = ordered.shape[axis]
    if isinstance(size, int) and isinstance(fraction, float):
        place = fraction * (size - 1)
        low = min(math.floor(place), size - 1)
        row = _pick_row(ctx, ordered, axis, low)
        return row if place == low else _between(ctx, row, _pick_row(ctx, ordered, axis, low + 1), place - low)
    last = ctx.dim(total(ctx, (1, size), (1, -1)))
    exact = g.multiply(g.cast(last, dtype=_F64), fraction)
    below = g.minimum(g.cast(g.floor(exact), dtype=_I64), last)
    t = g.cast(g.subtract(exact, g.cast(below, dtype=_F64)), dtype=ordered.array.dtype)
    row, high = (_pick_row(ctx, ordered, axis, at) for at in (below, g.minimum(g.add(below, 1), last)))
    made = g.select(g.greater_equal(t, 0.5), _between(ctx, row, high, t, True), _between(ctx, row, high, t, False))
    # A fraction that data decide has a slope at an element too.
    return g.select(g.equal(t, 0.0), row, made) if isinstance(fraction, float) else made


def _pick_row(ctx: Context, value: Value, axis: int, k: Dim) -> Value:
    return load(ctx.g, value, [Pick(k) if j == axis else Span(0, 1, d) for j, d in enumerate(value.shape)])


def _between(ctx: Context, low: Value, high: Value, t: float | Value, from_above: bool | None = None) -> Value:
    """Return low + t * (high - low), counted from the nearer end as NumPy does."""
    g = ctx.g
    gap = g.subtract(high, low)
    if t >= 0.5 if isinstance(t, float) else from_above:
        made: Value = g.subtract(high, g.multiply(gap, g.subtract(1.0, t) if isinstance(t, Value) else 1.0 - t))
    else:
        made = g.add(low, g.multiply(gap, t))
    return made


@handles(np.median)
def _median(
    ctx: Context, a: Any, axis: Any = None, out: Any = None, overwrite_input: Any = False, keepdims: Any = False
) -> Any:
    if isinstance(axis, tuple) or out is not None:
        raise ctx.error("JG235", name="np.median", argument="axis as a tuple" if out is None else "out")
    return _quantiles(ctx, "np.median", a, 0.5, axis, keepdims, 1)


@handles(np.quantile)
def _quantile(ctx: Context, a: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: Any = False) -> Any:
    if method != "linear":
        raise ctx.error("JG235", name="np.quantile", argument=f"method={method!r}")
    return _quantiles(ctx, "np.quantile", a, q, axis, keepdims, 1)


@handles(np.percentile)
def _percentile(
    ctx: Context, a: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: Any = False
) -> Any:
    if method != "linear":
        raise ctx.error("JG235", name="np.percentile", argument=f"method={method!r}")
    return _quantiles(ctx, "np.percentile", a, q, axis, keepdims, 100)


# --- searching


@handles(np.searchsorted)
@method("array", "searchsorted")
def _searchsorted(ctx: Context, a: Any, v: Any, side: str = "left", sorter: Any = None) -> Any:
    if sorter is not None:
        raise ctx.error("JG235", name="np.searchsorted", argument="sorter")
    xs, values = promoted(ctx, numeric(ctx, a), numeric(ctx, v))
    return ctx.result(positions_in(ctx, xs, values, side))


def positions_in(ctx: Context, xs: Value, values: Value, side: str) -> Value:
    """Return where values go into a sorted 1-D value, by counting what lies below each."""
    g = ctx.g
    wide = reshape_to(g, values, (*values.shape, 1))
    below = g.less(xs, wide) if side == "left" else g.less_equal(xs, wide)
    return g.reduce_sum(g.cast(below, dtype=np.dtype(np.int64)), axes=(values.array.rank,))
