"""NumPy's functions that choose elements: `where`, `clip`, `select`, `choose`, `copyto`, `take`, `nonzero`.

In: abstract arrays and arguments. Out: new arrays or NumPy scalars.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.shape import broadcast_to, reshape_to
from jitgrad.trace import arithmetic, arrays, promotion
from jitgrad.trace.abstract import Scalar
from jitgrad.trace.arrays import as_array, broadcast_dims, broadcast_value, cast, dtype_of, kind, shape_of, write
from jitgrad.trace.calls import handles, method
from jitgrad.trace.context import Context
from jitgrad.trace.iteration import sequence_of
from jitgrad.trace.masks import flat_positions, true_positions
from jitgrad.trace.numpy_create import iota
from jitgrad.trace.sizes import axis_argument, known_argument, numeric, promoted, size_of
from jitgrad.trace.subscripts import get_item, set_item
from jitgrad.trace.ufuncs import as_bool, store_result

__all__ = ["clipped", "where_of"]

# --- choice

# The ufunc behind np.clip, which knows the dtypes; NumPy has no public name for it.
_CLIP: np.ufunc = importlib.import_module("numpy._core.umath").clip


def where_of(ctx: Context, condition: Any, x: Any, y: Any) -> Any:
    """Return `np.where(condition, x, y)`."""
    mask = as_bool(ctx, as_array(ctx, numeric(ctx, condition)))
    a, b = promoted(ctx, numeric(ctx, x), numeric(ctx, y))
    broadcast_dims(ctx, mask.shape, a.shape, b.shape)
    made = ctx.g.select(mask, a, b)
    return ctx.fresh(made)


@handles(np.where)
def _where(ctx: Context, condition: Any, *xy: Any) -> Any:
    if not xy:
        return _nonzero(ctx, condition)
    if len(xy) != 2:
        raise ValueError("either both or neither of x and y should be given")
    return where_of(ctx, condition, *xy)


# --- selection by masks


def _truth_of(ctx: Context, a: Any) -> Value:
    return as_bool(ctx, as_array(ctx, numeric(ctx, a)))


@handles(np.nonzero)
@method("array", "nonzero")
def _nonzero(ctx: Context, a: Any) -> Any:
    mask = _truth_of(ctx, a)
    if not mask.array.rank:
        raise ValueError(
            "Calling nonzero on 0d arrays is not allowed. Use np.atleast_1d(scalar).nonzero() instead. If the context "
            "of this error is of the form `arr[nonzero(cond)]`, just use `arr[cond]`."
        )
    return tuple(ctx.fresh(v) for v in true_positions(ctx, mask))


@handles(np.flatnonzero)
def _flatnonzero(ctx: Context, a: Any) -> Any:
    return ctx.fresh(flat_positions(ctx, _truth_of(ctx, a)))


@handles(np.argwhere)
def _argwhere(ctx: Context, a: Any) -> Any:
    mask = _truth_of(ctx, a)
    if not mask.array.rank:
        raise ctx.error("JG237", name="np.argwhere of a number", why="the rank of its result is 0")
    columns = true_positions(ctx, mask)
    columns = [reshape_to(ctx.g, v, (*v.shape, 1)) for v in columns]
    return ctx.fresh(columns[0] if len(columns) == 1 else ctx.g.concatenate(*columns, axis=1))


@handles(np.extract)
def _extract(ctx: Context, condition: Any, arr: Any) -> Any:
    mask, value = _truth_of(ctx, condition), as_array(ctx, numeric(ctx, arr))
    flat = reshape_to(ctx.g, value, (size_of(ctx, value.shape),))
    return get_item(ctx, ctx.fresh(flat), ctx.fresh(flat_positions(ctx, mask)))


@handles(np.compress)
def _compress(ctx: Context, condition: Any, a: Any, axis: Any = None, out: Any = None) -> Any:
    mask, value = _truth_of(ctx, condition), as_array(ctx, numeric(ctx, a))
    if mask.array.rank != 1:
        raise ValueError("condition must be a 1-d array")
    if axis is None:
        value, axis = reshape_to(ctx.g, value, (size_of(ctx, value.shape),)), 0
    at = axis_argument(ctx, axis, value.array.rank)
    key = (*(slice(None),) * at, ctx.fresh(flat_positions(ctx, mask)))
    made = get_item(ctx, ctx.fresh(value), key)
    return made if out is None else store_result(ctx, "compress", as_array(ctx, made), out)


@method("array", "compress")
def _compress_method(ctx: Context, x: Any, condition: Any, axis: Any = None, out: Any = None) -> Any:
    return _compress(ctx, condition, x, axis, out)


@handles(np.select)
def _select(ctx: Context, condlist: Any, choicelist: Any, default: Any = 0) -> Any:
    conditions = [as_array(ctx, numeric(ctx, c)) for c in sequence_of(ctx, condlist)]
    choices = [numeric(ctx, c) for c in sequence_of(ctx, choicelist)]
    if len(conditions) != len(choices):
        raise ValueError("list of cases must be same length as list of conditions")
    if not conditions:
        raise ValueError("select with an empty condition list is not possible")
    if any(c.array.dtype != np.bool_ for c in conditions):
        raise TypeError("invalid entry 0 in condlist: should be boolean ndarray")
    values = promoted(ctx, *choices, numeric(ctx, default))
    shape = broadcast_dims(ctx, *(v.shape for v in (*conditions, *values)))
    made = broadcast_to(ctx.g, values[-1], shape)
    for mask, value in zip(reversed(conditions), reversed(values[:-1]), strict=True):
        made = ctx.g.select(mask, value, made)
    return ctx.result(made)


@handles(np.choose)
def _choose(ctx: Context, a: Any, choices: Any, out: Any = None, mode: str = "raise") -> Any:
    if mode != "raise" or out is not None:
        raise ctx.error("JG235", name="np.choose", argument="mode" if out is None else "out")
    index = as_array(ctx, numeric(ctx, a))
    values = promoted(ctx, *(numeric(ctx, c) for c in sequence_of(ctx, choices)))
    shape = broadcast_dims(ctx, index.shape, *(v.shape for v in values))
    g = ctx.g
    inside = g.logical_and(g.greater_equal(index, 0), g.less(index, len(values)))
    ctx.check(_all_of(ctx, inside), ValueError, "invalid entry in choice array")
    made = broadcast_to(g, values[-1], shape)
    for k, value in reversed(list(enumerate(values[:-1]))):
        made = g.select(g.equal(index, k), value, made)
    return ctx.result(made)


def _all_of(ctx: Context, flags: Value) -> Value:
    if not flags.array.rank:
        return flags
    made: Value = ctx.g.reduce_and(flags, axes=tuple(range(flags.array.rank)))
    return made


@handles(np.clip)
@method("array", "clip")
def clipped(
    ctx: Context, a: Any, a_min: Any = None, a_max: Any = None, out: Any = None, *, min: Any = None, max: Any = None,
    dtype: Any = None, **kwargs: Any,
) -> Any:  # fmt: skip
    """Return `np.clip(a, a_min, a_max)`."""
    if kwargs:
        raise ctx.error("JG235", name="np.clip", argument=next(iter(kwargs)))
    low = min if a_min is None else a_min
    high = max if a_max is None else a_max
    x = numeric(ctx, a)
    if low is None or high is None:
        if low is None and high is None:
            return ctx.result(as_array(ctx, x))
        function = np.minimum if low is None else np.maximum
        bound = numeric(ctx, high if low is None else low)
        made = _one_sided(ctx, function, x, bound)
    else:
        xs = [x, numeric(ctx, low), numeric(ctx, high)]
        dtypes = promotion.resolve(ctx, _CLIP, xs, known_argument(ctx, dtype, "a dtype"))
        values = [arrays.scalar_value(ctx, v, d) for v, d in zip(xs, dtypes, strict=False)]
        broadcast_dims(ctx, *(v.shape for v in values))
        made = ctx.result(ctx.g.clip(*values))
    return made if out is None else store_result(ctx, "clip", as_array(ctx, made), out)


def _one_sided(ctx: Context, function: np.ufunc, x: Any, bound: Any) -> Any:
    """Return np.clip with one bound: x passes at the bound, as with two."""
    dtype = promotion.resolve(ctx, function, [x, bound])[-1]
    value, limit = (arrays.scalar_value(ctx, v, dtype) for v in (x, bound))
    broadcast_dims(ctx, value.shape, limit.shape)
    g = ctx.g
    cut = g.less(value, limit) if function is np.maximum else g.greater(value, limit)
    if dtype.kind == "f":
        cut = g.logical_or(cut, g.isnan(limit))
    return ctx.result(g.select(cut, limit, value))


@handles(np.copyto)
def _copyto(ctx: Context, dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    value = as_array(ctx, numeric(ctx, src))
    wanted = dtype_of(ctx, dst)
    weak = kind(src) in ("int", "float", "complex")
    if not weak and not np.can_cast(value.array.dtype, wanted, casting):  # type: ignore[arg-type]
        raise TypeError(
            f"Cannot cast array data from {value.array.dtype!r} to {wanted!r} according to the rule '{casting}'"
        )
    made = broadcast_value(ctx, cast(ctx, value, wanted), shape_of(ctx, dst))
    if where is not True:
        mask = broadcast_value(ctx, as_bool(ctx, as_array(ctx, numeric(ctx, where))), shape_of(ctx, dst))
        made = ctx.g.select(mask, made, as_array(ctx, dst))
    write(ctx, dst, made)


@handles(np.putmask)
def _putmask(ctx: Context, a: Any, mask: Any, values: Any) -> None:
    value = as_array(ctx, numeric(ctx, values), dtype_of(ctx, a))
    shape = shape_of(ctx, a)
    if value.array.rank and value.shape != shape:
        raise ctx.error("JG235", name="np.putmask", argument="values of another shape")
    chosen = broadcast_value(ctx, as_bool(ctx, as_array(ctx, numeric(ctx, mask))), shape)
    write(ctx, a, ctx.g.select(chosen, broadcast_to(ctx.g, value, shape), as_array(ctx, a)))


# --- by position


@handles(np.take)
@method("array", "take")
def _take(ctx: Context, a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
    value = as_array(ctx, numeric(ctx, a))
    if axis is None:
        value = reshape_to(ctx.g, value, (size_of(ctx, value.shape),))
        axis = 0
    at = axis_argument(ctx, axis, value.array.rank)
    index = numeric(ctx, indices)
    if mode != "raise":
        index = _wrapped(ctx, index, value.shape[at], mode)
    key = (*(slice(None) for _ in range(at)), index)
    made = get_item(ctx, ctx.fresh(value), key)
    value = as_array(ctx, made)
    return ctx.result(value) if out is None else store_result(ctx, "take", value, out)


def _wrapped(ctx: Context, index: Any, size: Any, mode: str) -> Any:
    n = Scalar(ctx.dim(size), "numpy")
    if mode == "wrap":
        return promotion.ufunc(ctx, np.remainder, index, n)
    last = arithmetic.binary(ctx, "-", n, 1)
    return promotion.ufunc(ctx, np.minimum, promotion.ufunc(ctx, np.maximum, index, 0), last)


@handles(np.take_along_axis)
def _take_along_axis(ctx: Context, arr: Any, indices: Any, axis: Any = -1) -> Any:
    value, index = as_array(ctx, numeric(ctx, arr)), as_array(ctx, numeric(ctx, indices))
    if axis is None:
        value = reshape_to(ctx.g, value, (size_of(ctx, value.shape),))
        axis = 0
    if value.array.rank != index.array.rank:
        raise ValueError("`indices` and `arr` must have the same number of dimensions")
    return ctx.fresh(as_array(ctx, get_item(ctx, ctx.fresh(value), _along(ctx, value, index, axis))))


def _along(ctx: Context, value: Value, index: Value, axis: Any) -> tuple[Any, ...]:
    rank = value.array.rank
    at = axis_argument(ctx, axis, rank)
    key = []
    for k, d in enumerate(value.shape):
        if k == at:
            key.append(ctx.fresh(index))
        else:
            key.append(ctx.fresh(reshape_to(ctx.g, iota(ctx, d), [d if j == k else 1 for j in range(rank)])))
    return tuple(key)


@handles(np.put_along_axis)
def _put_along_axis(ctx: Context, arr: Any, indices: Any, values: Any, axis: Any) -> None:
    value, index = as_array(ctx, arr), as_array(ctx, numeric(ctx, indices))
    set_item(ctx, arr, _along(ctx, value, index, axis), values)
