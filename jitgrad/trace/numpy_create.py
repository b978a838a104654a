"""NumPy's functions that make arrays: `array`, `zeros`, `arange`, `linspace`, `eye`, `astype`, `copy`, ...

In: abstract arguments. Out: new arrays (or the array itself, where `asarray` gives it back). Sizes may be known only at
run time. What `np.empty` holds is not defined; here it is zeros.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from jitgrad.errors import UnsupportedError
from jitgrad.graph.ir import Value
from jitgrad.graph.ops.shape import broadcast_to, reshape_to
from jitgrad.graph.types import Dim
from jitgrad.trace import arrays, promotion
from jitgrad.trace.abstract import External, IndexRange, ListRef, Ref, Scalar
from jitgrad.trace.algorithms import grids
from jitgrad.trace.alternatives import chosen
from jitgrad.trace.arrays import as_array, broadcast_value, cast, dtype_of, is_array, new_array, shape_of, write
from jitgrad.trace.calls import HANDLERS, handles, method
from jitgrad.trace.columns import is_grown
from jitgrad.trace.context import PYTHON_DTYPES, Context, kind_of_python
from jitgrad.trace.extents import extremum, total
from jitgrad.trace.iteration import range_count, row
from jitgrad.trace.loop_signals import NeedUnroll
from jitgrad.trace.sizes import (
    axis_argument,
    dim_argument,
    known_argument,
    numeric,
    refuse_without_items,
    result_dtype,
    shape_argument,
    size_of,
    static_dim,
    static_int,
)
from jitgrad.trace.subscripts import get_item, new_list
from jitgrad.trace.views import is_contiguous, permuted, read_only, reordered

__all__ = ["arange_value", "diagonal_mask", "iota", "known_dtype", "python_number"]


def known_dtype(ctx: Context, dtype: Any, default: Any = None) -> Any:
    """Return a dtype argument as a dtype, or the default for None."""
    dtype = known_argument(ctx, dtype, "a dtype")
    if dtype is None:
        return default
    made = np.dtype(dtype)
    if made.kind not in "biufc":
        raise ctx.error("JG216", name="an array", dtypes=str(made))
    return made


def _only_c(ctx: Context, name: str, **arguments: Any) -> None:
    for argument, value in arguments.items():
        if value not in (None, "C", "K", "A", "F", False, "cpu"):
            raise ctx.error("JG235", name=name, argument=argument)


# --- filled arrays


def _filled(name: str, fill: Any) -> Callable[..., Any]:
    def run(
        ctx: Context, shape: Any, dtype: Any = None, order: Any = "C", *, device: Any = None, like: Any = None
    ) -> Any:
        _only_c(ctx, f"np.{name}", order=order, device=device, like=like)
        made = new_array(ctx, known_dtype(ctx, dtype, np.dtype(np.float64)), shape_argument(ctx, shape), fill)
        if order == "F":
            ctx.layouts[made.cell] = "F" if len(shape_of(ctx, made)) > 1 else "C"
        return made

    return run


def _filled_like(name: str, fill: Any) -> Callable[..., Any]:
    def run(
        ctx: Context,
        a: Any,
        dtype: Any = None,
        order: Any = "K",
        subok: Any = True,
        shape: Any = None,
        *,
        device: Any = None,
    ) -> Any:
        x = numeric(ctx, a)
        dims = shape_of(ctx, x) if shape is None else shape_argument(ctx, shape)
        return _like(ctx, new_array(ctx, known_dtype(ctx, dtype, dtype_of(ctx, x)), dims, fill), x)

    return run


for _name, _fill in [("zeros", 0), ("ones", 1), ("empty", 0)]:
    HANDLERS[getattr(np, _name)] = _filled(_name, _fill)
    HANDLERS[getattr(np, f"{_name}_like")] = _filled_like(f"{_name}_like", _fill)


@handles(np.full)
def _full(ctx: Context, shape: Any, fill_value: Any, dtype: Any = None, order: Any = "C", *, device: Any = None) -> Any:
    value = as_array(ctx, numeric(ctx, fill_value))
    dims = shape_argument(ctx, shape)
    return ctx.fresh(broadcast_value(ctx, cast(ctx, value, known_dtype(ctx, dtype, value.array.dtype)), dims))


@handles(np.full_like)
def _full_like(
    ctx: Context, a: Any, fill_value: Any, dtype: Any = None, order: Any = "K", subok: Any = True, shape: Any = None, *,
    device: Any = None,
) -> Any:  # fmt: skip
    x = numeric(ctx, a)
    dims = shape_of(ctx, x) if shape is None else shape_argument(ctx, shape)
    value = as_array(ctx, numeric(ctx, fill_value), known_dtype(ctx, dtype, dtype_of(ctx, x)))
    return _like(ctx, ctx.fresh(broadcast_value(ctx, value, dims)), x)


def _like(ctx: Context, made: Any, x: Any) -> Any:
    """Return a new array of which NumPy chooses the order by another."""
    if isinstance(made, Ref) and not (isinstance(x, Ref) and is_contiguous(ctx, x)):
        ctx.layouts[made.cell] = None
    return made


@handles(np.eye)
def _eye(
    ctx: Context, N: Any, M: Any = None, k: Any = 0, dtype: Any = float, order: Any = "C", *, device: Any = None
) -> Any:
    rows = dim_argument(ctx, N)
    columns = rows if M is None else dim_argument(ctx, M)
    return ctx.fresh(
        cast(ctx, diagonal_mask(ctx, rows, columns, static_int(ctx, k, "a diagonal")), known_dtype(ctx, dtype))
    )


@handles(np.identity)
def _identity(ctx: Context, n: Any, dtype: Any = None) -> Any:
    return _eye(ctx, n, dtype=np.dtype(np.float64) if dtype is None else dtype)


def diagonal_mask(ctx: Context, rows: Dim, columns: Dim, k: int = 0, relation: str = "equal") -> Value:
    """Return the mask of a matrix whose column index is (`equal`, `less_equal`, ... to) its row index plus k."""
    g = ctx.g
    i = reshape_to(g, iota(ctx, rows), (rows, 1))
    if k:
        i = g.add(i, ctx.constant(k, np.int64))
    j = reshape_to(g, iota(ctx, columns), (1, columns))
    return g.emit(relation, [j, i]).result


@handles(np.tri)
def _tri(ctx: Context, N: Any, M: Any = None, k: Any = 0, dtype: Any = float) -> Any:
    rows = dim_argument(ctx, N)
    columns = rows if M is None else dim_argument(ctx, M)
    mask = diagonal_mask(ctx, rows, columns, static_int(ctx, k, "a diagonal"), "less_equal")
    return ctx.fresh(cast(ctx, mask, known_dtype(ctx, dtype)))


# --- from other things


@handles(np.array)
def _array(
    ctx: Context, object: Any, dtype: Any = None, *, copy: Any = True, order: Any = "K", subok: Any = False,
    ndmin: Any = 0, like: Any = None,
) -> Any:  # fmt: skip
    value = as_array(ctx, _sequence(ctx, object))
    refuse_without_items(ctx, value, object)
    value = cast(ctx, value, known_dtype(ctx, dtype, value.array.dtype))
    lead = max(static_int(ctx, ndmin, "ndmin") - value.array.rank, 0)
    if copy is False or copy is None:
        return _asarray(ctx, object, dtype, order)
    made = ctx.fresh(reshape_to(ctx.g, value, (*(1 for _ in range(lead)), *value.shape)))
    if order == "F" and value.array.rank > 1:
        ctx.layouts[made.cell] = "F"
    return made


def _sequence(ctx: Context, x: Any) -> Any:
    """Return the argument of `np.array`; outside lists are opened, nested ones too."""
    x = _opened(ctx, x)
    if isinstance(x, tuple):
        return tuple(_sequence(ctx, v) for v in x)
    if isinstance(x, ListRef) and not is_grown(ctx, x):
        return new_list(ctx, [_sequence(ctx, v) for v in ctx.heap[x.cell]])
    return x


def _opened(ctx: Context, x: Any) -> Any:
    return numeric(ctx, x) if isinstance(x, External | range | IndexRange) else x


@handles(np.asarray)
def _asarray(
    ctx: Context, a: Any, dtype: Any = None, order: Any = None, *, device: Any = None, copy: Any = None
) -> Any:
    x = numeric(ctx, _sequence(ctx, a))
    wanted = known_dtype(ctx, dtype, dtype_of(ctx, x))
    if order in ("C", "F"):
        return _in_order(ctx, x, wanted, order)
    if is_array(x) and dtype_of(ctx, x) == wanted and not copy:
        return x
    return ctx.fresh(as_array(ctx, x, wanted))


HANDLERS[np.asanyarray] = HANDLERS[np.require] = _asarray


def _in_order(ctx: Context, a: Any, dtype: np.dtype, order: str) -> Any:
    """Return an array in an order: the same if it is in that order, else a copy."""
    x = _asarray(ctx, a, dtype)
    if not isinstance(x, Ref) or not shape_of(ctx, x):
        return x
    rank = len(shape_of(ctx, x))
    there = is_contiguous(ctx, x if order == "C" else permuted(ctx, x, range(rank)[::-1]))
    if there:
        return x
    value = as_array(ctx, x)
    made = ctx.fresh(value) if there is False else read_only(ctx, x, value)
    ctx.layouts[made.cell] = order if rank > 1 else "C"
    return made


@handles(np.ascontiguousarray)
def _ascontiguousarray(ctx: Context, a: Any, dtype: Any = None, *, like: Any = None) -> Any:
    return _asarray(ctx, a, dtype, "C")


@handles(np.asfortranarray)
def _asfortranarray(ctx: Context, a: Any, dtype: Any = None, *, like: Any = None) -> Any:
    return _asarray(ctx, a, dtype, "F")


@handles(np.asarray_chkfinite)
def _asarray_chkfinite(ctx: Context, a: Any, dtype: Any = None, order: Any = None) -> Any:
    made = _asarray(ctx, a, dtype)
    value = as_array(ctx, made)
    if value.array.dtype.kind == "f":
        g = ctx.g
        finite = g.less(g.absolute(value), math.inf)
        good = g.reduce_and(finite, axes=tuple(range(value.array.rank)))
        ctx.check(good, ValueError, "array must not contain infs or NaNs")
    return made


@handles(np.copy)
def _copy(ctx: Context, a: Any, order: Any = "K", subok: Any = False) -> Any:
    return ctx.fresh(as_array(ctx, numeric(ctx, a)))


@method("array", "copy", "__copy__", "__deepcopy__")
def _copy_method(ctx: Context, x: Any, *args: Any, **kwargs: Any) -> Any:
    value = as_array(ctx, x)
    if not is_array(x):
        return Scalar(value, "numpy")
    made = ctx.fresh(value)
    ctx.layouts[made.cell] = None if args or kwargs else "C"
    return made


@method("array", "astype")
def _astype(
    ctx: Context, x: Any, dtype: Any, order: Any = "K", casting: Any = "unsafe", subok: Any = True, copy: Any = True
) -> Any:
    wanted = known_dtype(ctx, dtype, np.dtype(np.float64))
    old = dtype_of(ctx, x)
    if not np.can_cast(old, wanted, casting):
        raise TypeError(f"Cannot cast array data from {old!r} to {wanted!r} according to the rule '{casting}'")
    if copy is False and is_array(x) and old == wanted:
        return x
    value = as_array(ctx, x, wanted)
    return ctx.fresh(value) if is_array(x) else Scalar(value, "numpy")


@handles(np.astype)
def _np_astype(ctx: Context, x: Any, dtype: Any, /, *, copy: Any = True, device: Any = None) -> Any:
    return _astype(ctx, x, dtype, copy=copy)


@method("array", "fill")
def _fill_method(ctx: Context, x: Any, value: Any) -> None:
    write(ctx, x, broadcast_value(ctx, as_array(ctx, numeric(ctx, value), dtype_of(ctx, x)), shape_of(ctx, x)))


@method("array", "item")
def _item(ctx: Context, x: Any, *args: Any) -> Any:
    value = as_array(ctx, x)
    if args:
        index = args[0] if len(args) == 1 else args
        if not isinstance(index, tuple) and value.array.rank != 1:
            value = reshape_to(ctx.g, value, (size_of(ctx, value.shape),))
        value = as_array(ctx, get_item(ctx, ctx.fresh(value), index))
    elif value.array.rank:
        if any(d != 1 for d in value.shape):
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        value = reshape_to(ctx.g, value, ())
    return python_number(value, ctx)


def python_number(value: Value, ctx: Context) -> Scalar:
    """Return a rank-0 value as the Python number that `.item()` gives."""
    name = {"b": "bool", "i": "int", "u": "int", "f": "float", "c": "complex"}[value.array.dtype.kind]
    return Scalar(cast(ctx, value, PYTHON_DTYPES[name]), name)


@method("array", "tolist")
def _tolist(ctx: Context, x: Any) -> Any:
    value = as_array(ctx, x)
    if not value.array.rank:
        return python_number(value, ctx)
    ref = ctx.fresh(value)
    if not isinstance(value.shape[0], int) and value.array.rank == 1:
        return ctx.call(_numbers_of, [ref])
    count = static_dim(ctx, value.shape[0], "the length of tolist()")
    return new_list(ctx, [_tolist(ctx, row(ctx, ref, k)) for k in range(count)])


def _numbers_of(a: Any) -> list[Any]:
    """Return the elements of an array of a length known only at run time, as a list that grows."""
    made = []
    for x in a:
        made.append(x.item())
    return made


# --- sequences of numbers


def iota(ctx: Context, count: Dim, dtype: Any = np.int64) -> Value:
    """Return 0, 1, ..., count - 1."""
    dims = () if isinstance(count, int) else (count,)
    made: Value = ctx.g.iota(*dims, dtype=np.dtype(dtype), shape=(count if isinstance(count, int) else None,))
    return made


def arange_value(ctx: Context, start: Any, count: Dim, step: Any, dtype: np.dtype) -> Value:
    """Return start + k * step for k = 0 .. count - 1, in a dtype."""
    g = ctx.g
    at = iota(ctx, count, dtype if dtype.kind in "iuf" else np.int64)
    if isinstance(step, Scalar) or step != 1:
        at = g.multiply(at, arrays.scalar_value(ctx, step, at.array.dtype))
    if isinstance(start, Scalar) or start != 0:
        at = g.add(at, arrays.scalar_value(ctx, start, at.array.dtype))
    return cast(ctx, at, dtype)


@handles(np.arange)
def _arange(ctx: Context, *args: Any, dtype: Any = None, device: Any = None, like: Any = None, **named: Any) -> Any:
    start, stop, step = 0, None, 1
    if len(args) == 1:
        stop = args[0]
    elif args:
        start, stop, step, dtype = (*args, *(step, dtype)[len(args) - 2 :])[:4]
    if named:
        start, stop, step = named.get("start", start), named.get("stop", stop), named.get("step", step)
        if stop is None:
            start, stop = 0, start
    step = 1 if step is None else step
    parts = [numeric(ctx, v) for v in (start, stop, step)]
    parts = [Scalar(as_array(ctx, v), "numpy") if is_array(v) else v for v in parts]
    if all(kind_of_python(v) is not None for v in parts):
        return _known_arange(ctx, np.arange(*parts, dtype=known_dtype(ctx, dtype)))
    own = result_dtype(ctx, *parts)
    if own == np.float64 == known_dtype(ctx, dtype, own):
        return ctx.call(grids.arange, parts)
    if own.kind not in "iub":
        raise ctx.error("JG236", what="the number of elements of np.arange with bounds that are floats")
    ints = [ctx.call(int, [v]) if isinstance(v, Scalar) else int(v) for v in parts]
    if isinstance(ints[2], Scalar):
        with suppress(NeedUnroll, UnsupportedError):
            ints[2] = ctx.note_static(ints[2], "a step")
    if isinstance(ints[2], Scalar):
        ctx.check(ctx.g.not_equal(ints[2].value, 0), ZeroDivisionError, "division by zero")
    count = range_count(ctx, IndexRange(*ints))
    dims = count.value if isinstance(count, Scalar) else count
    return ctx.fresh(arange_value(ctx, ints[0], dims, ints[2], known_dtype(ctx, dtype, own)))


def _known_arange(ctx: Context, made: np.ndarray) -> Any:
    """Return a known range: a constant if it is short, else made at run time where that gives the same bits."""
    if made.size > 64 and made.dtype.kind in "iu":
        return ctx.fresh(arange_value(ctx, int(made[0]), made.size, int(made[1]) - int(made[0]), made.dtype))
    if made.size > 64 and made.dtype == np.float64:
        step = float(made[1] - made[0])
        if np.array_equal(made, np.arange(made.size) * step + made[0]):
            return ctx.fresh(arange_value(ctx, float(made[0]), made.size, step, made.dtype))
    return ctx.fresh(ctx.constant(made))


@handles(np.linspace)
def _linspace(
    ctx: Context, start: Any, stop: Any, num: Any = 50, endpoint: Any = True, retstep: Any = False, dtype: Any = None,
    axis: Any = 0, *, device: Any = None,
) -> Any:  # fmt: skip
    first, last = numeric(ctx, start), numeric(ctx, stop)
    if isinstance(num, int | np.integer) and num < 0:
        raise ValueError(f"Number of samples, {num}, must be non-negative.")
    count = dim_argument(ctx, num)
    own = result_dtype(ctx, first, last)
    own = own if own.kind in "fc" else np.dtype(np.float64)
    wanted = known_dtype(ctx, dtype, own)
    g = ctx.g
    a, b = (as_array(ctx, v, own) for v in (first, last))
    gap = g.subtract(b, a)
    parts = total(ctx, (1, count), (1, -1 if endpoint else 0))
    several: Any = parts > 0 if isinstance(parts, int) else g.greater(parts, ctx.constant(0, np.int64))
    # One point alone is the start: it has no step, and none is needed.
    div = max(parts, 1) if isinstance(parts, int) else extremum(ctx, "maximum", parts, 1)
    step = g.divide(gap, ctx.constant(div, own) if isinstance(div, int) else cast(ctx, div, own))
    at = reshape_to(g, iota(ctx, count, own), (count, *(1 for _ in gap.shape)))
    made = g.add(g.multiply(at, step), a)
    if endpoint and (not isinstance(count, int) or count > 1):
        # NumPy puts the end in exactly; it is not what rounding of the formula gives.
        is_last = g.equal(iota(ctx, count), ctx.dim(parts))
        if isinstance(several, Value):
            is_last = g.logical_and(is_last, broadcast_to(g, several, is_last.shape))
        is_last = reshape_to(g, is_last, (count, *(1 for _ in gap.shape)))
        made = g.select(is_last, broadcast_to(g, b, made.shape), made)
    if wanted.kind in "iu":
        made = g.floor(made)
    made = cast(ctx, made, wanted)
    result = ctx.fresh(made)
    at_axis = axis_argument(ctx, axis, made.array.rank)
    if at_axis:
        order = [k for k in range(made.array.rank) if k]
        order.insert(at_axis, 0)
        result = reordered(ctx, result, order)
    if not retstep:
        return result
    if isinstance(several, bool):
        return result, ctx.result(step) if several else math.nan
    if gap.array.rank:
        fields = {"name": "np.linspace of one point between arrays", "argument": "retstep"}
        ctx.refuse_unless(several, "JG235", parts, **fields)
        return result, ctx.result(step)
    return result, chosen(ctx, several, ctx.result(step), math.nan)


@handles(np.logspace)
def _logspace(
    ctx: Context,
    start: Any,
    stop: Any,
    num: Any = 50,
    endpoint: Any = True,
    base: Any = 10.0,
    dtype: Any = None,
    axis: Any = 0,
) -> Any:
    made = promotion.ufunc(ctx, np.power, numeric(ctx, base), _linspace(ctx, start, stop, num, endpoint, axis=axis))
    return made if dtype is None else _astype(ctx, made, dtype)


@handles(np.meshgrid)
def _meshgrid(ctx: Context, *xi: Any, copy: Any = True, sparse: Any = False, indexing: str = "xy") -> Any:
    if indexing not in ("xy", "ij"):
        raise ValueError("Valid values for `indexing` are 'xy' and 'ij'.")
    values = [as_array(ctx, numeric(ctx, x)) for x in xi]
    values = [reshape_to(ctx.g, v, (size_of(ctx, v.shape),)) for v in values]
    rank = len(values)
    axes = list(range(rank))
    if indexing == "xy" and rank > 1:
        axes[:2] = [1, 0]
    shape: list[Dim] = [1] * rank
    for axis, v in zip(axes, values, strict=True):
        shape[axis] = v.shape[0]
    made = []
    for axis, v in zip(axes, values, strict=True):
        part = reshape_to(ctx.g, v, [v.shape[0] if k == axis else 1 for k in range(rank)])
        made.append(ctx.fresh(part if sparse else broadcast_to(ctx.g, part, shape)))
    return tuple(made)


@handles(np.indices)
def _indices(ctx: Context, dimensions: Any, dtype: Any = int, sparse: Any = False) -> Any:
    shape = shape_argument(ctx, dimensions)
    rank = len(shape)
    parts = []
    for axis, d in enumerate(shape):
        at = reshape_to(
            ctx.g, cast(ctx, iota(ctx, d), known_dtype(ctx, dtype)), [d if k == axis else 1 for k in range(rank)]
        )
        parts.append(at)
    if sparse:
        return tuple(ctx.fresh(p) for p in parts)
    rows = [reshape_to(ctx.g, broadcast_to(ctx.g, p, shape), (1, *shape)) for p in parts]
    return ctx.fresh(rows[0] if rank == 1 else ctx.g.concatenate(*rows, axis=0))
