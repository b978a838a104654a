"""NumPy's ufuncs as callables: `np.add(x, y, out=z)`, `np.add.reduce(x)`, `np.add.at(a, i, v)`.

In: a ufunc, abstract arguments. Out: abstract values. Which primitive implements a ufunc is known to
`promotion.UFUNCS`; ufuncs composed of others are declared here. Casting rules and dtypes are NumPy's own
(`ufunc.resolve_dtypes`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.shape import broadcast_to, reshape_to
from jitgrad.graph.types import GraphTypeError, broadcast_shapes
from jitgrad.trace import arithmetic, arrays, promotion
from jitgrad.trace.algorithms import elements
from jitgrad.trace.arrays import as_array, cast, dtype_of, is_array, scalar_value, shape_of, write
from jitgrad.trace.calls import HANDLERS
from jitgrad.trace.context import Context
from jitgrad.trace.extents import shapes_text
from jitgrad.trace.promotion import COMPOSITES
from jitgrad.trace.sizes import known_argument, numeric, promoted
from jitgrad.trace.subscripts import add_at

__all__ = ["as_bool", "call_ufunc", "cast_output", "composite", "store_result", "ufunc_method"]


# --- calls


def call_ufunc(
    ctx: Context,
    function: np.ufunc,
    *args: Any,
    out: Any = None,
    where: Any = True,
    dtype: Any = None,
    casting: str = "same_kind",
    order: str = "K",
    subok: bool = True,
) -> Any:
    """Return what calling a ufunc gives.

    Raises
    ------
    TypeError, ValueError
        As NumPy.
    UnsupportedError
        JG228 for arguments that have no meaning here.
    """
    name = function.__name__
    if len(args) < function.nin or len(args) > function.nin + function.nout:
        low, high = function.nin, function.nin + function.nout
        raise TypeError(
            f"{name}() takes from {low} to {high} positional arguments but {len(args)} "
            f"{'was' if len(args) == 1 else 'were'} given"
        )
    if casting != "same_kind":
        raise ctx.error("JG235", name=f"np.{name}", argument="casting")
    operands = [numeric(ctx, x) for x in args[: function.nin]]
    outs = args[function.nin :] or (out if isinstance(out, tuple) else () if out is None else (out,))
    made = promotion.ufunc(ctx, function, *operands, dtype=known_argument(ctx, dtype, "a dtype"))
    if not outs or outs[0] is None:
        if where is not True:
            raise ctx.error("JG235", name=f"np.{name}", argument="where without out")
        return made
    if len(outs) != 1:
        raise ctx.error("JG235", name=f"np.{name}", argument="out with several arrays")
    value = as_array(ctx, made)
    if where is not True:
        mask = as_array(ctx, numeric(ctx, where))
        old = as_array(ctx, outs[0])
        shape = arrays.broadcast_dims(ctx, value.shape, mask.shape)
        value = cast_output(ctx, name, value, old.array.dtype)
        value = ctx.g.select(mask, value, broadcast_to(ctx.g, old, arrays.broadcast_dims(ctx, shape, old.shape)))
    return store_result(ctx, name, value, outs[0])


def cast_output(ctx: Context, name: str, value: Value, dtype: np.dtype) -> Value:
    """Return a ufunc's result as the dtype of its output array, if NumPy's rule allows."""
    if not np.can_cast(value.array.dtype, dtype, "same_kind"):
        raise TypeError(
            f"Cannot cast ufunc '{name}' output from {value.array.dtype!r} to {dtype!r} with casting rule 'same_kind'"
        )
    return cast(ctx, value, dtype)


def store_result(ctx: Context, name: str, value: Value, target: Any) -> Any:
    """Write a ufunc's result into the array that `out=` or an in-place operator names, and return that array.

    Raises
    ------
    TypeError, ValueError
        As NumPy: the dtype cannot be cast, the shape does not fit.
    """
    if not is_array(target):
        raise TypeError("return arrays must be of ArrayType")
    value = cast_output(ctx, name, value, dtype_of(ctx, target))
    shape = shape_of(ctx, target)
    try:
        fits = broadcast_shapes(value.shape, shape) == shape
    except GraphTypeError:
        fits = False
        if not (value.array.is_static and all(isinstance(d, int) for d in shape)):
            arrays.broadcast_dims(ctx, shape, value.shape)
    if not fits:
        (given, wanted), sizes = shapes_text([shape, value.shape])
        if len(shape) == value.array.rank and not any(d == 1 for d in shape):
            raise ValueError(f"operands could not be broadcast together with shapes {wanted} {given} ")
        message = f"non-broadcastable output operand with shape {given} doesn't match the broadcast shape {wanted}"
        arrays.refuse_to_grow(ctx, value.shape, shape, message, sizes)
    write(ctx, target, broadcast_to(ctx.g, value, shape), "output array")
    return target


def _handler(function: np.ufunc) -> Callable[..., Any]:
    def call(ctx: Context, *args: Any, **kwargs: Any) -> Any:
        return call_ufunc(ctx, function, *args, **kwargs)

    return call


for _function in list(vars(np).values()):
    if isinstance(_function, np.ufunc) and _function.signature is None and _function not in HANDLERS:
        HANDLERS[_function] = _handler(_function)


# --- ufuncs composed of others


def composite(function: np.ufunc) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register how a ufunc without a primitive of its own is composed."""

    def register(rule: Callable[..., Any]) -> Callable[..., Any]:
        COMPOSITES[function] = rule
        return rule

    return register


def _u(ctx: Context, function: np.ufunc, *xs: Any) -> Any:
    return promotion.ufunc(ctx, function, *xs)


def _choose(ctx: Context, mask: Any, x: Any, y: Any) -> Any:
    a, b = promoted(ctx, x, y)
    return ctx.result(ctx.g.select(scalar_value(ctx, mask), a, b))


def _as_float_loop(ctx: Context, function: np.ufunc, x: Any) -> Any:
    """Return x cast to the dtype in which NumPy computes a float ufunc of it."""
    (dtype, _) = promotion.resolve(ctx, function, [x])
    return ctx.result(cast(ctx, as_array(ctx, x), dtype))


@composite(np.divmod)
def _divmod(ctx: Context, x: Any, y: Any) -> Any:
    return _u(ctx, np.floor_divide, x, y), _u(ctx, np.remainder, x, y)


@composite(np.modf)
def _modf(ctx: Context, x: Any) -> Any:
    x = _as_float_loop(ctx, np.sqrt, x)  # of the same loops; `trunc` has some for ints
    whole = _u(ctx, np.trunc, x)
    part = _u(ctx, np.subtract, x, whole)
    part = _choose(ctx, _u(ctx, np.isinf, x), 0.0, part)
    return _u(ctx, np.copysign, part, x), whole


@composite(np.heaviside)
def _heaviside(ctx: Context, x: Any, at_zero: Any) -> Any:
    dtype = promotion.resolve(ctx, np.heaviside, [x, at_zero])[-1]
    a, h = (ctx.result(cast(ctx, as_array(ctx, v), dtype)) for v in (x, at_zero))
    made = _choose(ctx, _u(ctx, np.greater, a, dtype.type(0)), dtype.type(1), dtype.type(0))
    made = _choose(ctx, _u(ctx, np.equal, a, dtype.type(0)), h, made)
    return _choose(ctx, _u(ctx, np.isnan, a), a, made)


@composite(np.float_power)
def _float_power(ctx: Context, x: Any, y: Any) -> Any:
    dtype = promotion.resolve(ctx, np.float_power, [x, y])[-1]
    return _u(ctx, np.power, *(ctx.result(cast(ctx, as_array(ctx, v), dtype)) for v in (x, y)))


def _scaled(function: np.ufunc, factor: float) -> None:
    @composite(function)
    def scaled(ctx: Context, x: Any) -> Any:
        x = _as_float_loop(ctx, function, x)
        return _u(ctx, np.multiply, x, dtype_of(ctx, x).type(factor))


for _function, _factor in [
    (np.deg2rad, math.pi / 180.0),
    (np.radians, math.pi / 180.0),
    (np.rad2deg, 180.0 / math.pi),
    (np.degrees, 180.0 / math.pi),
]:
    _scaled(_function, _factor)


@composite(np.positive)
def _positive(ctx: Context, x: Any) -> Any:
    return ctx.result(as_array(ctx, x))


def as_bool(ctx: Context, value: Value) -> Value:
    """Return the truth of each element."""
    if value.array.dtype == np.bool_:
        return value
    made: Value = ctx.g.not_equal(value, ctx.constant(0, value.array.dtype))
    return made


def _logical(function: np.ufunc, name: str) -> None:
    """The logical ufuncs take any dtype in NumPy; their primitives take bools."""

    def rule(ctx: Context, *args: Any, **kwargs: Any) -> Any:
        xs = [as_bool(ctx, as_array(ctx, numeric(ctx, x))) for x in args[: function.nin]]
        if kwargs or len(args) > function.nin:
            return call_ufunc(ctx, function, *map(ctx.result, xs), *args[function.nin :], **kwargs)
        arrays.broadcast_dims(ctx, *(x.shape for x in xs))
        return ctx.result(ctx.g.emit(name, xs).result)

    HANDLERS[function] = rule


for _function in (np.logical_and, np.logical_or, np.logical_not, np.logical_xor):
    _logical(_function, _function.__name__)

# --- methods of ufuncs


def ufunc_method(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the meaning of a method of all ufuncs; the handler gets the context, the ufunc, the arguments."""

    def register(handler: Callable[..., Any]) -> Callable[..., Any]:
        for function in {f for f in vars(np).values() if isinstance(f, np.ufunc) and f.signature is None}:
            HANDLERS[getattr(function, name)] = _method(function, handler)
        return handler

    return register


def _method(function: np.ufunc, handler: Callable[..., Any]) -> Callable[..., Any]:
    def call(ctx: Context, *args: Any, **kwargs: Any) -> Any:
        return handler(ctx, function, *args, **kwargs)

    return call


@ufunc_method("outer")
def _outer(ctx: Context, function: np.ufunc, x: Any, y: Any, **kwargs: Any) -> Any:
    a, b = numeric(ctx, x), numeric(ctx, y)
    lead, rank = shape_of(ctx, a), len(shape_of(ctx, b))
    if lead and rank:
        a = ctx.fresh(reshape_to(ctx.g, as_array(ctx, a), (*lead, *(1,) * rank)))
    return call_ufunc(ctx, function, a, b, **kwargs)


@ufunc_method("at")
def _at(ctx: Context, function: np.ufunc, a: Any, indices: Any, b: Any = None) -> None:
    """Do `function.at(a, indices, b)`: repeated indices accumulate."""
    if function is np.add:
        add_at(ctx, a, indices, b)
    elif function is np.subtract:
        add_at(ctx, a, indices, arithmetic.unary(ctx, "-", numeric(ctx, b)))
    else:
        places = numeric(ctx, indices)
        if len(shape_of(ctx, places)) != 1 or dtype_of(ctx, places).kind not in "iu" or function.nin != 2:
            raise ctx.error("JG232", name="at", what=f"np.{function.__name__}")
        rest = shape_of(ctx, a)[1:]
        given = as_array(ctx, numeric(ctx, b))
        values = broadcast_to(ctx.g, given, arrays.broadcast_dims(ctx, given.shape, (*shape_of(ctx, places), *rest)))
        ctx.call(elements.at, [function, a, places, ctx.fresh(values)])
