"""NumPy's functions that choose elements: `where`, `clip`, `select`, `take`, `sort`, `argsort`, `diag`, `tril`, ...

In: abstract arrays and arguments. Out: new arrays or NumPy scalars. What would make an array whose size depends on data
is refused by name.
"""

from __future__ import annotations

import importlib
import math
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.memory import Span, load
from jitgrad.graph.ops.shape import broadcast_to, reshape_to
from jitgrad.trace import arrays
from jitgrad.trace.abstract import Scalar
from jitgrad.trace.arrays import (
    as_array,
    broadcast_dims,
    broadcast_value,
    cast,
    dtype_of,
    kind,
    shape_of,
    write,
)
from jitgrad.trace.calls import handles, method
from jitgrad.trace.context import Context
from jitgrad.trace.iteration import sequence_of
from jitgrad.trace.numpy_create import diagonal_mask, iota
from jitgrad.trace.products import diagonal_value, trace_value
from jitgrad.trace.sizes import (
    axis_argument,
    known_argument,
    numeric,
    promoted,
    size_of,
    static_dim,
    static_int,
)
from jitgrad.trace.subscripts import get_item, set_item
from jitgrad.trace.ufuncs import as_bool, store_result

__all__ = ["clipped", "sort_value", "where_of"]

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
        raise ctx.error("JG237", name="np.where of one argument", why="the size of its result depends on data")
    if len(xy) != 2:
        raise ValueError("either both or neither of x and y should be given")
    return where_of(ctx, condition, *xy)


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
        dtypes = arrays.resolve(ctx, _CLIP, xs, known_argument(ctx, dtype, "a dtype"))
        values = [arrays.scalar_value(ctx, v, d) for v, d in zip(xs, dtypes, strict=False)]
        broadcast_dims(ctx, *(v.shape for v in values))
        made = ctx.result(ctx.g.clip(*values))
    return made if out is None else store_result(ctx, "clip", as_array(ctx, made), out)


def _one_sided(ctx: Context, function: np.ufunc, x: Any, bound: Any) -> Any:
    """Return np.clip with one bound: x passes at the bound, as with two."""
    dtype = arrays.resolve(ctx, function, [x, bound])[-1]
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
        return arrays.ufunc(ctx, np.remainder, index, n)
    last = arrays.binary(ctx, "-", n, 1)
    return arrays.ufunc(ctx, np.minimum, arrays.ufunc(ctx, np.maximum, index, 0), last)


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


# --- order


def sort_value(ctx: Context, value: Value, axis: int) -> Value:
    """Return a value sorted along an axis."""
    made: Value = ctx.g.sort(value, axis=axis)
    return made


@handles(np.sort)
def _sort(ctx: Context, a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    value = as_array(ctx, numeric(ctx, a))
    if axis is None:
        value = reshape_to(ctx.g, value, (size_of(ctx, value.shape),))
        axis = 0
    return ctx.fresh(sort_value(ctx, value, axis_argument(ctx, axis, value.array.rank)))


@method("array", "sort")
def _sort_in_place(
    ctx: Context, x: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None
) -> None:
    value = as_array(ctx, x)
    write(ctx, x, sort_value(ctx, value, axis_argument(ctx, axis, value.array.rank)))


@handles(np.argsort)
@method("array", "argsort")
def _argsort(ctx: Context, a: Any, axis: Any = -1, kind: Any = None, order: Any = None, *, stable: Any = None) -> Any:
    value = as_array(ctx, numeric(ctx, a))
    if axis is None:
        value = reshape_to(ctx.g, value, (size_of(ctx, value.shape),))
        axis = 0
    return ctx.fresh(ctx.g.argsort(value, axis=axis_argument(ctx, axis, value.array.rank)))


def _quantiles(ctx: Context, name: str, a: Any, q: Any, axis: Any, keepdims: Any, scale: float) -> Any:
    """Quantiles by linear interpolation between the sorted elements, for fractions that are known."""
    value = as_array(ctx, numeric(ctx, a))
    if value.array.dtype.kind not in "f":
        value = cast(ctx, value, np.float64)
    rank = value.array.rank
    if axis is None:
        shape = tuple(1 for _ in range(rank))
        value, at = reshape_to(ctx.g, value, (size_of(ctx, value.shape),)), 0
    else:
        at = axis_argument(ctx, axis, rank)
        shape = tuple(1 if k == at else d for k, d in enumerate(value.shape))  # type: ignore[misc]
    size = static_dim(ctx, value.shape[at], f"a size of {name}")
    if size == 0:
        raise ctx.error("JG235", name=name, argument="an empty array")
    fractions = np.asarray(known_argument(ctx, q, f"the fractions of {name}"), np.float64) / scale
    if ((fractions < 0) | (fractions > 1)).any():
        raise ValueError(
            "Percentiles must be in the range [0, 100]" if scale != 1 else "Quantiles must be in the range [0, 1]"
        )
    ordered = sort_value(ctx, value, at)
    rows = []
    for fraction in fractions.ravel():
        place = float(fraction) * (size - 1)
        low = min(math.floor(place), size - 1)
        row = _pick_row(ctx, ordered, at, low)
        if place != low:
            high = _pick_row(ctx, ordered, at, low + 1)
            row = _between(ctx, row, high, place - low)
        # A NaN sorts last, and makes every quantile NaN.
        last = _pick_row(ctx, ordered, at, size - 1)
        row = ctx.g.select(ctx.g.isnan(last), last, row)
        rows.append(reshape_to(ctx.g, row, shape) if keepdims else row)
    if fractions.ndim == 0:
        return ctx.result(rows[0])
    stack = [reshape_to(ctx.g, r, (1, *r.shape)) for r in rows]
    made = stack[0] if len(stack) == 1 else ctx.g.concatenate(*stack, axis=0)
    return ctx.fresh(reshape_to(ctx.g, made, (*fractions.shape, *rows[0].shape)))


def _pick_row(ctx: Context, value: Value, axis: int, k: int) -> Value:
    index = [Span(0, 1, d) for d in value.shape]
    index[axis] = Span(k, 1, 1)
    part = load(ctx.g, value, index)
    return reshape_to(ctx.g, part, value.shape[:axis] + value.shape[axis + 1 :])


def _between(ctx: Context, low: Value, high: Value, t: float) -> Value:
    g = ctx.g
    gap = g.subtract(high, low)
    if t >= 0.5:
        made: Value = g.subtract(high, g.multiply(gap, 1.0 - t))
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


# --- diagonals and triangles


@handles(np.diagonal)
@method("array", "diagonal")
def diagonal(ctx: Context, a: Any, offset: Any = 0, axis1: Any = 0, axis2: Any = 1) -> Any:
    """Return `np.diagonal(a, offset, axis1, axis2)`."""
    value = as_array(ctx, numeric(ctx, a))
    rank = value.array.rank
    if rank < 2:
        raise ValueError("diag requires an array of at least two dimensions")
    i, j = axis_argument(ctx, axis1, rank), axis_argument(ctx, axis2, rank)
    k = static_int(ctx, offset, "a diagonal")
    if value.shape[i] is value.shape[j] and k == 0:
        return ctx.fresh(diagonal_value(ctx, value, i, j, value.shape[i]))
    rows, columns = static_dim(ctx, value.shape[i], "a diagonal"), static_dim(ctx, value.shape[j], "a diagonal")
    count = max(min(rows + min(k, 0), columns - max(k, 0)), 0)
    return ctx.fresh(diagonal_value(ctx, value, i, j, count, max(-k, 0), max(k, 0)))


@handles(np.diag)
def _diag(ctx: Context, v: Any, k: Any = 0) -> Any:
    value = as_array(ctx, numeric(ctx, v))
    if value.array.rank == 2:
        return diagonal(ctx, v, k)
    if value.array.rank != 1:
        raise ValueError("Input must be 1- or 2-d.")
    offset = static_int(ctx, k, "a diagonal")
    n = value.shape[0]
    size = n if not offset else static_dim(ctx, n, "a diagonal") + abs(offset)
    g = ctx.g
    at = iota(ctx, n)
    rows = at if offset >= 0 else g.add(at, -offset)
    columns = at if offset <= 0 else g.add(at, offset)
    zero = broadcast_to(g, ctx.constant(0, value.array.dtype), (size, size))
    return ctx.fresh(g.scatter(zero, value, rows, columns))


@handles(np.diagflat)
def _diagflat(ctx: Context, v: Any, k: Any = 0) -> Any:
    value = as_array(ctx, numeric(ctx, v))
    return _diag(ctx, ctx.fresh(reshape_to(ctx.g, value, (size_of(ctx, value.shape),))), k)


@handles(np.fill_diagonal)
def _fill_diagonal(ctx: Context, a: Any, val: Any, wrap: Any = False) -> None:
    shape = shape_of(ctx, a)
    if len(shape) != 2:
        raise ctx.error("JG235", name="np.fill_diagonal", argument="an array that is not a matrix")
    value = as_array(ctx, numeric(ctx, val), dtype_of(ctx, a))
    g = ctx.g
    if value.array.rank:
        count = min(static_dim(ctx, d, "a diagonal") for d in shape)
        at = iota(ctx, count)
        write(ctx, a, g.scatter(as_array(ctx, a), broadcast_value(ctx, value, (count,)), at, at))
        return
    write(ctx, a, g.select(diagonal_mask(ctx, *shape), broadcast_to(g, value, shape), as_array(ctx, a)))


@handles(np.trace)
@method("array", "trace")
def _trace(
    ctx: Context, a: Any, offset: Any = 0, axis1: Any = 0, axis2: Any = 1, dtype: Any = None, out: Any = None
) -> Any:
    value = as_array(ctx, numeric(ctx, a))
    rank = value.array.rank
    i, j = axis_argument(ctx, axis1, rank), axis_argument(ctx, axis2, rank)
    wanted = known_argument(ctx, dtype, "a dtype") or np.add.reduce(np.zeros(1, value.array.dtype)).dtype
    made = trace_value(ctx, cast(ctx, value, wanted), i, j, static_int(ctx, offset, "a diagonal"))
    return ctx.result(made) if out is None else store_result(ctx, "trace", made, out)


def _triangle(ctx: Context, m: Any, k: Any, lower: bool) -> Any:
    value = as_array(ctx, numeric(ctx, m))
    if value.array.rank < 2:
        value = broadcast_to(ctx.g, value, (*value.shape, *value.shape))
    offset = static_int(ctx, k, "a diagonal")
    mask = diagonal_mask(ctx, value.shape[-2], value.shape[-1], offset, "less_equal" if lower else "greater_equal")
    return ctx.fresh(ctx.g.select(mask, value, ctx.constant(0, value.array.dtype)))


@handles(np.tril)
def _tril(ctx: Context, m: Any, k: Any = 0) -> Any:
    return _triangle(ctx, m, k, True)


@handles(np.triu)
def _triu(ctx: Context, m: Any, k: Any = 0) -> Any:
    return _triangle(ctx, m, k, False)


def _triangle_indices(ctx: Context, function: Any, n: Any, k: Any, m: Any) -> Any:
    rows = static_int(ctx, n, "the size of a triangle")
    columns = None if m is None else static_int(ctx, m, "the size of a triangle")
    made = function(rows, static_int(ctx, k, "a diagonal"), columns)
    return tuple(ctx.fresh(ctx.constant(v)) for v in made)


@handles(np.tril_indices)
def _tril_indices(ctx: Context, n: Any, k: Any = 0, m: Any = None) -> Any:
    return _triangle_indices(ctx, np.tril_indices, n, k, m)


@handles(np.triu_indices)
def _triu_indices(ctx: Context, n: Any, k: Any = 0, m: Any = None) -> Any:
    return _triangle_indices(ctx, np.triu_indices, n, k, m)


@handles(np.diag_indices)
def _diag_indices(ctx: Context, n: Any, ndim: Any = 2) -> Any:
    at = ctx.fresh(ctx.constant(np.arange(static_int(ctx, n, "the size of a diagonal"))))
    return tuple(at for _ in range(static_int(ctx, ndim, "a rank")))


# --- searching


@handles(np.searchsorted)
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


def _size_depends_on_data(name: str) -> Any:
    def refuse(ctx: Context, *args: Any, **kwargs: Any) -> Any:
        raise ctx.error("JG237", name=f"np.{name}", why="the size of its result depends on data")

    return refuse


for _name in (
    "nonzero",
    "flatnonzero",
    "argwhere",
    "unique",
    "extract",
    "compress",
    "union1d",
    "intersect1d",
    "setdiff1d",
):
    handles(getattr(np, _name))(_size_depends_on_data(_name))
method("array", "nonzero")(_size_depends_on_data("nonzero"))
method("array", "compress")(_size_depends_on_data("compress"))

__all__ += ["diagonal", "positions_in"]
