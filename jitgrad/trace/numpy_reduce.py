"""NumPy's reductions and scans: `sum`, `mean`, `max`, `any`, `var`, `argmax`, `cumsum`, ... as functions and methods.

In: abstract arrays and arguments. Out: NumPy scalars or new arrays, in NumPy's result dtypes. `out=` is written through
the reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.reduce import expand, kept_shape
from jitgrad.graph.ops.shape import broadcast_to, reshape_to
from jitgrad.trace import arrays, promotion
from jitgrad.trace.arrays import as_array, broadcast_dims, cast, scalar_value, shape_of
from jitgrad.trace.calls import HANDLERS, handles, method
from jitgrad.trace.context import Context
from jitgrad.trace.extents import surely
from jitgrad.trace.numpy_programs import accumulated, reduced
from jitgrad.trace.sizes import axes_argument, axis_argument, known_argument, numeric, operand_of, same_dim, size_of
from jitgrad.trace.ufuncs import as_bool, store_result, ufunc_method

__all__ = ["finished", "mean_value", "reduce_value", "sum_dtype"]


def sum_dtype(dtype: np.dtype) -> np.dtype:
    """Return the dtype in which NumPy sums: small integers and bools widen."""
    made: np.dtype = np.add.reduce(np.zeros(1, dtype)).dtype
    return made


def finished(
    ctx: Context, value: Value, shape: Sequence[Any], axes: Sequence[int], keepdims: Any, out: Any, name: str
) -> Any:
    """Return a reduced value as its caller wants it: with kept axes, written into `out`, or as a scalar or array."""
    if keepdims not in (False, None, np._NoValue):
        value = reshape_to(ctx.g, value, kept_shape(shape, axes))
    if out is not None:
        target = out[0] if isinstance(out, tuple) else out
        found, rank = len(shape_of(ctx, target)), value.array.rank
        if found != rank:
            raise ValueError(
                f"output parameter for reduction operation {name} has the wrong number of dimensions: Found {found} "
                f"but expected {rank}"
            )
        return store_result(ctx, name, value, target)
    return ctx.result(value)


def reduce_value(ctx: Context, name: str, value: Value, axes: Sequence[int]) -> Value:
    """Return a value reduced by a primitive along sorted axes; the value itself for none."""
    if not axes:
        return value
    made: Value = ctx.g.emit(name, [value], {"axes": tuple(axes)}).result
    return made


def _masked(ctx: Context, value: Value, where: Any, neutral: Any) -> Value:
    if where is True or where is np._NoValue:
        return value
    mask = as_bool(ctx, as_array(ctx, numeric(ctx, where)))
    shape = broadcast_dims(ctx, mask.shape, value.shape)
    value = broadcast_to(ctx.g, value, shape)
    made: Value = ctx.g.select(mask, value, ctx.constant(neutral, value.array.dtype))
    return made


_NO = (None, np._NoValue)
# The primitive of a reduction, and its ufunc.
_KINDS: dict[str, tuple[str, np.ufunc]] = {
    "sum": ("reduce_sum", np.add),
    "prod": ("reduce_prod", np.multiply),
    "max": ("reduce_max", np.maximum),
    "min": ("reduce_min", np.minimum),
}


def _fold(
    ctx: Context, name: str, a: Any, axis: Any, dtype: Any, out: Any, keepdims: Any, initial: Any, where: Any
) -> Any:
    primitive, function = _KINDS[name]
    value = operand_of(ctx, a, axis, keepdims)
    dtype = known_argument(ctx, dtype, "a dtype")
    if dtype is not None:
        value = cast(ctx, value, dtype)
    elif name in ("sum", "prod"):
        value = cast(ctx, value, sum_dtype(value.array.dtype))
    shape = value.shape
    axes = axes_argument(ctx, axis, len(shape))
    if name in ("sum", "prod"):
        value = _masked(ctx, value, where, 0 if name == "sum" else 1)
        if value.array.dtype == np.bool_:
            made = reduce_value(ctx, "reduce_or" if name == "sum" else "reduce_and", value, axes)
        else:
            made = reduce_value(ctx, primitive, value, axes)
    else:
        made = _extremum(ctx, function, primitive, value, axes, initial, where)
    if initial not in _NO:
        made = as_array(
            ctx,
            promotion.ufunc(ctx, function, ctx.result(made), ctx.result(scalar_value(ctx, initial, made.array.dtype))),
        )
    return finished(ctx, made, shape, axes, keepdims, out, function.__name__)


def _extremum(
    ctx: Context, function: np.ufunc, primitive: str, value: Value, axes: Sequence[int], initial: Any, where: Any
) -> Value:
    if where is not True and where not in _NO and initial in _NO:
        raise ValueError(
            f"reduction operation '{function.__name__}' does not have an identity, so to use a where mask one has to "
            "specify 'initial'"
        )
    count = size_of(ctx, [value.shape[k] for k in axes])
    total = size_of(ctx, value.shape)
    if (
        isinstance(count, int)
        and count == 0
        and (not isinstance(total, int) or 0 not in [d for k, d in enumerate(value.shape) if k not in axes])
    ):
        if initial in _NO:
            raise ValueError(f"zero-size array to reduction operation {function.__name__} which has no identity")
        rest = tuple(d for k, d in enumerate(value.shape) if k not in axes)
        return broadcast_to(ctx.g, scalar_value(ctx, initial, value.array.dtype), rest)
    if not isinstance(count, int) and initial in _NO:
        positive = ctx.g.greater(count, ctx.constant(0, np.int64))
        message = f"zero-size array to reduction operation {function.__name__} which has no identity"
        ctx.check(positive, ValueError, message)
    if where is not True and where not in _NO:
        shape = broadcast_dims(ctx, value.shape, as_array(ctx, numeric(ctx, where)).shape)
        start = broadcast_to(ctx.g, scalar_value(ctx, initial, value.array.dtype), shape)
        value = ctx.g.select(as_bool(ctx, as_array(ctx, numeric(ctx, where))), value, start)
    if value.array.dtype == np.bool_:
        primitive = "reduce_or" if primitive == "reduce_max" else "reduce_and"
    return reduce_value(ctx, primitive, value, axes)


def _fold_function(name: str, has_dtype: bool) -> Callable[..., Any]:
    def with_dtype(
        ctx: Context, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False,
        initial: Any = None, where: Any = True,
    ) -> Any:  # fmt: skip
        return _fold(ctx, name, a, axis, dtype, out, keepdims, initial, where)

    def without(
        ctx: Context,
        a: Any,
        axis: Any = None,
        out: Any = None,
        keepdims: Any = False,
        initial: Any = None,
        where: Any = True,
    ) -> Any:
        return _fold(ctx, name, a, axis, None, out, keepdims, initial, where)

    return with_dtype if has_dtype else without


for _functions, _name in [
    ((np.sum,), "sum"),
    ((np.prod,), "prod"),
    ((np.max, np.amax), "max"),
    ((np.min, np.amin), "min"),
]:
    _made = _fold_function(_name, _name in ("sum", "prod"))
    for _function in dict.fromkeys(_functions):
        HANDLERS[_function] = _made
    method("array", _name)(_made)


@ufunc_method("reduce")
def _reduce(
    ctx: Context, function: np.ufunc, a: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: Any = False,
    initial: Any = None, where: Any = True,
) -> Any:  # fmt: skip
    name = next((n for n, (_, f) in _KINDS.items() if f is function), None)
    if name is not None:
        return _fold(ctx, name, a, axis, dtype, out, keepdims, initial, where)
    if function in (np.logical_and, np.logical_or):
        return (_all if function is np.logical_and else _any)(ctx, a, axis, out, keepdims, where=where)
    if out is None and keepdims is False and initial is None and where is True and axis is not None:
        return reduced(ctx, function, a, axis, dtype)
    raise ctx.error("JG232", name="reduce", what=f"np.{function.__name__}")


# --- logic


@handles(np.any)
@method("array", "any")
def _any(ctx: Context, a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True) -> Any:
    return _logic(ctx, "reduce_or", a, axis, out, keepdims, where, False)


@handles(np.all)
@method("array", "all")
def _all(ctx: Context, a: Any, axis: Any = None, out: Any = None, keepdims: Any = False, *, where: Any = True) -> Any:
    return _logic(ctx, "reduce_and", a, axis, out, keepdims, where, True)


def _logic(ctx: Context, name: str, a: Any, axis: Any, out: Any, keepdims: Any, where: Any, neutral: bool) -> Any:
    value = _masked(ctx, as_bool(ctx, operand_of(ctx, a, axis, keepdims)), where, neutral)
    axes = axes_argument(ctx, axis, value.array.rank)
    return finished(ctx, reduce_value(ctx, name, value, axes), value.shape, axes, keepdims, out, name)


@handles(np.count_nonzero)
def _count_nonzero(ctx: Context, a: Any, axis: Any = None, *, keepdims: Any = False) -> Any:
    value = cast(ctx, as_bool(ctx, operand_of(ctx, a, axis, keepdims)), np.int64)
    axes = axes_argument(ctx, axis, value.array.rank)
    return finished(ctx, reduce_value(ctx, "reduce_sum", value, axes), value.shape, axes, keepdims, None, "add")


# --- means


def _float_of(ctx: Context, a: Any, dtype: Any, axis: Any, keepdims: Any) -> Value:
    value = operand_of(ctx, a, axis, keepdims)
    dtype = known_argument(ctx, dtype, "a dtype")
    if dtype is not None:
        return cast(ctx, value, dtype)
    return value if value.array.dtype.kind in "fc" else cast(ctx, value, np.float64)


def _count(ctx: Context, shape: Sequence[Any], axes: Sequence[int], dtype: np.dtype, less: Any = 0) -> Value:
    """Return how many elements go into one result, minus `less` but not below 0, as a number of a dtype."""
    count = size_of(ctx, [shape[k] for k in axes])
    if isinstance(count, int) and not isinstance(less, arrays.Scalar):
        return ctx.constant(max(count - less, 0), dtype)
    g = ctx.g
    left = g.subtract(g.cast(ctx.dim(count), dtype=np.dtype(np.float64)), scalar_value(ctx, less, np.float64))
    return cast(ctx, g.maximum(left, 0.0), dtype)


def mean_value(ctx: Context, value: Value, axes: Sequence[int]) -> Value:
    """Return the mean of a floating-point value along axes."""
    total = reduce_value(ctx, "reduce_sum", value, axes)
    made: Value = ctx.g.divide(total, _count(ctx, value.shape, axes, value.array.dtype))
    return made


@handles(np.mean)
@method("array", "mean")
def _mean(
    ctx: Context,
    a: Any,
    axis: Any = None,
    dtype: Any = None,
    out: Any = None,
    keepdims: Any = False,
    *,
    where: Any = True,
) -> Any:
    value = _float_of(ctx, a, dtype, axis, keepdims)
    axes = axes_argument(ctx, axis, value.array.rank)
    if where is True or where in _NO:
        return finished(ctx, mean_value(ctx, value, axes), value.shape, axes, keepdims, out, "divide")
    mask = as_bool(ctx, as_array(ctx, numeric(ctx, where)))
    count = cast(ctx, broadcast_to(ctx.g, mask, value.shape), value.array.dtype)
    total = reduce_value(ctx, "reduce_sum", _masked(ctx, value, where, 0), axes)
    made = ctx.g.divide(total, reduce_value(ctx, "reduce_sum", count, axes))
    return finished(ctx, made, value.shape, axes, keepdims, out, "divide")


def _deviations(
    ctx: Context, a: Any, axis: Any, dtype: Any, where: Any, mean: Any, keepdims: Any
) -> tuple[Value, tuple[int, ...]]:
    if where is not True and where not in _NO:
        raise ctx.error("JG235", name="np.var and np.std", argument="where")
    value = _float_of(ctx, a, dtype, axis, keepdims)
    axes = axes_argument(ctx, axis, value.array.rank)
    if mean in _NO:
        middle = expand(ctx.g, mean_value(ctx, value, axes), value.shape, axes)
    else:
        middle = cast(ctx, as_array(ctx, numeric(ctx, mean)), value.array.dtype)
    made: Value = ctx.g.subtract(value, middle)
    return made, axes


@handles(np.var)
@method("array", "var")
def _var(
    ctx: Context, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, *,
    where: Any = True, mean: Any = np._NoValue, correction: Any = np._NoValue,
) -> Any:  # fmt: skip
    ddof = ddof if correction in _NO else correction
    x, axes = _deviations(ctx, a, axis, dtype, where, mean, keepdims)
    total = reduce_value(ctx, "reduce_sum", ctx.g.multiply(x, x), axes)
    made = ctx.g.divide(total, _count(ctx, x.shape, axes, x.array.dtype, ddof))
    return finished(ctx, made, x.shape, axes, keepdims, out, "divide")


@handles(np.std)
@method("array", "std")
def _std(
    ctx: Context, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, ddof: Any = 0, keepdims: Any = False, *,
    where: Any = True, mean: Any = np._NoValue, correction: Any = np._NoValue,
) -> Any:  # fmt: skip
    ddof = ddof if correction in _NO else correction
    x, axes = _deviations(ctx, a, axis, dtype, where, mean, keepdims)
    # The norm has a derivative of its own, 0 where all elements are equal.
    length = ctx.g.norm2(x, axes=axes) if axes else ctx.g.absolute(x)
    made = ctx.g.divide(length, ctx.g.sqrt(_count(ctx, x.shape, axes, x.array.dtype, ddof)))
    return finished(ctx, made, x.shape, axes, keepdims, out, "sqrt")


@handles(np.average)
def _average(
    ctx: Context, a: Any, axis: Any = None, weights: Any = None, returned: Any = False, *, keepdims: Any = False
) -> Any:
    if weights is None:
        mean = _mean(ctx, a, axis, keepdims=keepdims)
        if not returned:
            return mean
        value = as_array(ctx, numeric(ctx, a))
        axes = axes_argument(ctx, axis, value.array.rank)
        made = as_array(ctx, mean)
        count = broadcast_to(ctx.g, _count(ctx, value.shape, axes, made.array.dtype), made.shape)
        return mean, ctx.result(count)
    x, w = numeric(ctx, a), numeric(ctx, weights)
    kinds = [arrays.dtype_of(ctx, v) for v in (x, w)]
    dtype = np.result_type(*kinds) if kinds[0].kind in "fc" else np.result_type(*kinds, np.float64)
    value, weight = cast(ctx, as_array(ctx, x), dtype), cast(ctx, as_array(ctx, w), dtype)
    axes = axes_argument(ctx, axis, value.array.rank)
    differ = "Axis must be specified when shapes of a and weights differ."
    if value.array.rank != weight.array.rank or not all(
        same_dim(ctx, d, e, differ, TypeError) for d, e in zip(weight.shape, value.shape, strict=True)
    ):
        if axis is None:
            raise TypeError(differ)
        if weight.shape != tuple(value.shape[k] for k in axes):
            raise ValueError("Shape of weights must be consistent with shape of a along specified axis.")
        shape = [d if k in axes else 1 for k, d in enumerate(value.shape)]
        weight = broadcast_to(ctx.g, reshape_to(ctx.g, weight, shape), value.shape)
    scale = reduce_value(ctx, "reduce_sum", weight, axes)
    total = reduce_value(ctx, "reduce_sum", ctx.g.multiply(value, weight), axes)
    rank_0 = scale.array.rank == 0
    if rank_0:
        ctx.check(ctx.g.not_equal(scale, 0.0), ZeroDivisionError, "Weights sum to zero, can't be normalized")
    made = finished(ctx, ctx.g.divide(total, scale), value.shape, axes, keepdims, None, "divide")
    return (made, ctx.result(scale)) if returned else made


# --- without NaN


def _nan_free(ctx: Context, a: Any, fill: Any) -> Any:
    value = as_array(ctx, numeric(ctx, a))
    if value.array.dtype.kind not in "fc":
        return ctx.result(value)
    return ctx.result(ctx.g.select(ctx.g.equal(value, value), value, ctx.constant(fill, value.array.dtype)))


@handles(np.nansum)
def _nansum(ctx: Context, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    return _fold(ctx, "sum", _nan_free(ctx, a, 0), axis, dtype, out, keepdims, None, True)


@handles(np.nanprod)
def _nanprod(ctx: Context, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    return _fold(ctx, "prod", _nan_free(ctx, a, 1), axis, dtype, out, keepdims, None, True)


@handles(np.nanmax)
def _nanmax(ctx: Context, a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    return _nan_extremum(ctx, "max", a, axis, out, keepdims, -math.inf)


@handles(np.nanmin)
def _nanmin(ctx: Context, a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    return _nan_extremum(ctx, "min", a, axis, out, keepdims, math.inf)


def _nan_extremum(ctx: Context, name: str, a: Any, axis: Any, out: Any, keepdims: Any, fill: float) -> Any:
    value = as_array(ctx, numeric(ctx, a))
    made = _fold(ctx, name, _nan_free(ctx, a, fill), axis, None, None, keepdims, None, True)
    if value.array.dtype.kind == "f":
        # A slice of nothing but NaN gives NaN.
        some = _any(ctx, ctx.result(ctx.g.equal(value, value)), axis, None, keepdims)
        result = as_array(ctx, made)
        made = ctx.result(ctx.g.select(as_array(ctx, some), result, ctx.constant(math.nan, result.array.dtype)))
    return made if out is None else store_result(ctx, name, as_array(ctx, made), out)


@handles(np.nanmean)
def _nanmean(ctx: Context, a: Any, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    value = as_array(ctx, numeric(ctx, a))
    if value.array.dtype.kind not in "fc":
        return _mean(ctx, a, axis, dtype, out, keepdims)
    return _mean(ctx, a, axis, dtype, out, keepdims, where=ctx.result(ctx.g.equal(value, value)))


# --- positions


def _arg(name: str) -> Callable[..., Any]:
    def run(ctx: Context, a: Any, axis: Any = None, out: Any = None, *, keepdims: Any = False) -> Any:
        value = as_array(ctx, numeric(ctx, a))
        shape = value.shape
        axes = tuple(range(len(shape)))
        if axis is None:
            value = reshape_to(ctx.g, value, (size_of(ctx, shape),))
            at = 0
        else:
            at = axis_argument(ctx, axis, len(shape))
            axes = (at,)
        message = f"attempt to get {name} of an empty sequence"
        if value.shape[at] == 0:
            raise ValueError(message)
        if not surely(ctx, 1, (1, value.shape[at])):
            ctx.check(ctx.g.greater(ctx.dim(value.shape[at]), 0), ValueError, message)
        made = ctx.g.emit(name, [value], {"axis": at}).result
        return finished(ctx, made, shape, axes, keepdims, out, name)

    return run


for _name, _function in [("argmax", np.argmax), ("argmin", np.argmin)]:
    HANDLERS[_function] = _arg(_name)
    method("array", _name)(HANDLERS[_function])


@handles(np.ptp)
def _ptp(ctx: Context, a: Any, axis: Any = None, out: Any = None, keepdims: Any = False) -> Any:
    top = _fold(ctx, "max", a, axis, None, None, keepdims, None, True)
    low = _fold(ctx, "min", a, axis, None, None, keepdims, None, True)
    made = promotion.ufunc(ctx, np.subtract, top, low)
    return made if out is None else store_result(ctx, "subtract", as_array(ctx, made), out)


# --- scans


def _scan(ctx: Context, name: str, a: Any, axis: Any, dtype: Any, out: Any) -> Any:
    value = as_array(ctx, numeric(ctx, a))
    dtype = known_argument(ctx, dtype, "a dtype")
    value = cast(ctx, value, sum_dtype(value.array.dtype) if dtype is None else dtype)
    if axis is None:
        value = reshape_to(ctx.g, value, (size_of(ctx, value.shape),))
        axis = 0
    at = axis_argument(ctx, axis, value.array.rank)
    made = ctx.g.emit(name, [value], {"axis": at}).result
    return ctx.fresh(made) if out is None else store_result(ctx, name, made, out)


@handles(np.cumsum)
@method("array", "cumsum")
def _cumsum(ctx: Context, a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    return _scan(ctx, "cumsum", a, axis, dtype, out)


@handles(np.cumprod)
@method("array", "cumprod")
def _cumprod(ctx: Context, a: Any, axis: Any = None, dtype: Any = None, out: Any = None) -> Any:
    return _scan(ctx, "cumprod", a, axis, dtype, out)


@ufunc_method("accumulate")
def _accumulate(ctx: Context, function: np.ufunc, a: Any, axis: Any = 0, dtype: Any = None, out: Any = None) -> Any:
    if not shape_of(ctx, numeric(ctx, a)):
        raise TypeError("cannot accumulate on a scalar")
    name = "cumsum" if function is np.add else "cumprod" if function is np.multiply else None
    if name is None and out is None:
        return accumulated(ctx, function, a, axis, dtype)
    if name is None:
        raise ctx.error("JG235", name=f"np.{function.__name__}.accumulate", argument="out")
    return _scan(ctx, name, a, axis, dtype, out)
