"""Functions of `scipy.special` and their meaning, without importing SciPy.

In: a callable of a program that has imported SciPy itself. Out: its handler. SciPy's ufuncs do not say where they come
from, so that they are known by identity once `scipy.special` is among the loaded modules; its Python functions by
module and name.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.shape import reshape_to
from jitgrad.trace import arrays, promotion
from jitgrad.trace.algorithms import special as programs
from jitgrad.trace.arrays import as_array, cast, dtype_of
from jitgrad.trace.context import Context
from jitgrad.trace.numpy_select import where_of
from jitgrad.trace.sizes import axes_argument, numeric, promoted

__all__ = ["SPECIAL", "scipy_handler", "special"]

SPECIAL: dict[str, Callable[..., Any]] = {}
_found: dict[int, Callable[..., Any]] = {}


def special(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the meaning of `scipy.special.NAME`."""

    def register(handler: Callable[..., Any]) -> Callable[..., Any]:
        SPECIAL[name] = handler
        return handler

    return register


def scipy_handler(function: Any) -> Callable[..., Any] | None:
    """Return the handler of a function of SciPy, None if there is none."""
    module = sys.modules.get("scipy.special")
    if module is None:
        return None
    if not _found:
        _found.update(
            {id(getattr(module, name)): handler for name, handler in SPECIAL.items() if hasattr(module, name)}
        )
    return _found.get(id(function))


def _float_values(ctx: Context, *xs: Any) -> list[Value]:
    """Return operands in the dtype in which SciPy computes: float32 stays, everything else is float64."""
    values = promoted(ctx, *(numeric(ctx, x) for x in xs))
    wanted = np.float32 if values[0].array.dtype in (np.float32, np.float16) else np.float64
    arrays.broadcast_dims(ctx, *(v.shape for v in values))
    return [cast(ctx, v, wanted) for v in values]


def _primitive(name: str) -> Callable[..., Any]:
    def call(ctx: Context, x: Any) -> Any:
        return ctx.result(ctx.g.emit(name, _float_values(ctx, x)).result)

    return call


for _name in ("erf", "erfc", "expit", "exp2", "cbrt", "expm1", "log1p"):
    SPECIAL[_name] = _primitive(_name)


@special("ndtr")
def _ndtr(ctx: Context, x: Any) -> Any:
    (value,) = _float_values(ctx, x)
    g = ctx.g
    return ctx.result(g.multiply(g.erfc(g.multiply(value, -math.sqrt(0.5))), 0.5))


@special("logit")
def _logit(ctx: Context, x: Any) -> Any:
    (value,) = _float_values(ctx, x)
    g = ctx.g
    return ctx.result(g.subtract(g.log(value), g.log1p(g.negative(value))))


@special("log_expit")
def _log_expit(ctx: Context, x: Any) -> Any:
    (value,) = _float_values(ctx, x)
    g = ctx.g
    tail = g.log1p(g.exp(g.negative(g.absolute(value))))
    return ctx.result(g.subtract(g.minimum(value, 0.0), tail))


def _x_log(ctx: Context, x: Any, y: Any, function: str) -> Any:
    """x * log(y), which is 0 where x is 0 unless y is NaN."""
    a, b = _float_values(ctx, x, y)
    g = ctx.g
    log = g.emit(function, [b]).result
    # Where the logarithm is finite the product is 0 by itself, and has its derivative.
    skip = g.logical_and(g.equal(a, 0.0), g.logical_not(g.logical_or(g.isnan(b), g.isfinite(log))))
    product = g.multiply(a, log)
    return ctx.result(g.select(skip, g.constant(0.0, a.array.dtype), product))


@special("xlogy")
def _xlogy(ctx: Context, x: Any, y: Any) -> Any:
    return _x_log(ctx, x, y, "log")


@special("xlog1py")
def _xlog1py(ctx: Context, x: Any, y: Any) -> Any:
    return _x_log(ctx, x, y, "log1p")


@special("entr")
def _entr(ctx: Context, x: Any) -> Any:
    (value,) = _float_values(ctx, x)
    g = ctx.g
    dtype = value.array.dtype
    made = g.negative(g.multiply(value, g.log(value)))
    made = g.select(g.equal(value, 0.0), g.constant(0.0, dtype), made)
    return ctx.result(g.select(g.less(value, 0.0), g.constant(-math.inf, dtype), made))


def _program(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(ctx: Context, x: Any) -> Any:
        (value,) = _float_values(ctx, x)
        made = ctx.call(function, [ctx.result(cast(ctx, value, np.float64))])
        return ctx.result(cast(ctx, as_array(ctx, made), value.array.dtype))

    return call


for _names, _function in (
    (("gammaln",), programs.gammaln), (("digamma", "psi"), programs.digamma), (("gamma",), programs.gamma)
):  # fmt: skip
    for _name in _names:
        SPECIAL[_name] = _program(_function)


# --- functions over axes


def _shifted(ctx: Context, a: Any, axis: Any) -> tuple[Any, Any, Any]:
    """Return an array less its greatest element along axes, and that element; an infinite one is taken as 0."""
    x = numeric(ctx, a)
    if dtype_of(ctx, x).kind not in "f":
        x = ctx.result(cast(ctx, as_array(ctx, x), np.float64))
    axes = axes_argument(ctx, axis, len(arrays.shape_of(ctx, x)))
    top = ctx.call(np.max, [x], {"axis": axes, "keepdims": True})
    dtype = dtype_of(ctx, top)
    top = where_of(ctx, promotion.ufunc(ctx, np.isfinite, top), top, dtype.type(0))
    return x, promotion.ufunc(ctx, np.subtract, x, top), (top, axes)


@special("logsumexp")
def _logsumexp(
    ctx: Context, a: Any, axis: Any = None, b: Any = None, keepdims: Any = False, return_sign: Any = False
) -> Any:
    if return_sign:
        raise ctx.error("JG235", name="scipy.special.logsumexp", argument="return_sign")
    _, shifted, (top, axes) = _shifted(ctx, a, axis)
    weights = promotion.ufunc(ctx, np.exp, shifted)
    if b is not None:
        weights = promotion.ufunc(ctx, np.multiply, numeric(ctx, b), weights)
    total = ctx.call(np.sum, [weights], {"axis": axes, "keepdims": True})
    made = promotion.ufunc(ctx, np.add, promotion.ufunc(ctx, np.log, total), top)
    if not keepdims:
        shape = [d for k, d in enumerate(arrays.shape_of(ctx, made)) if k not in axes]
        return ctx.result(reshape_to(ctx.g, as_array(ctx, made), shape))
    return made


@special("softmax")
def _softmax(ctx: Context, x: Any, axis: Any = None) -> Any:
    _, shifted, (_, axes) = _shifted(ctx, x, axis)
    weights = promotion.ufunc(ctx, np.exp, shifted)
    total = ctx.call(np.sum, [weights], {"axis": axes, "keepdims": True})
    return promotion.ufunc(ctx, np.divide, weights, total)


@special("log_softmax")
def _log_softmax(ctx: Context, x: Any, axis: Any = None) -> Any:
    _, shifted, (_, axes) = _shifted(ctx, x, axis)
    total = ctx.call(np.sum, [promotion.ufunc(ctx, np.exp, shifted)], {"axis": axes, "keepdims": True})
    return promotion.ufunc(ctx, np.subtract, shifted, promotion.ufunc(ctx, np.log, total))
