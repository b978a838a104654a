"""Functions of `scipy.special` and `scipy.linalg` and their meaning, without importing SciPy.

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
from jitgrad.trace.algorithms import linear
from jitgrad.trace.algorithms import special as programs
from jitgrad.trace.arrays import as_array, cast, dtype_of
from jitgrad.trace.context import Context
from jitgrad.trace.iteration import sequence_of
from jitgrad.trace.numpy_select import where_of
from jitgrad.trace.numpy_shape import swapaxes
from jitgrad.trace.numpy_systems import float_matrix, square_matrices
from jitgrad.trace.sizes import axes_argument, known_argument, numeric, promoted, same_dim

__all__ = ["LINALG", "SPECIAL", "linalg", "scipy_handler", "special"]

SPECIAL: dict[str, Callable[..., Any]] = {}
LINALG: dict[str, Callable[..., Any]] = {}
_found: dict[int, Callable[..., Any]] = {}
_loaded: set[str] = set()


def special(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the meaning of `scipy.special.NAME`."""

    def register(handler: Callable[..., Any]) -> Callable[..., Any]:
        SPECIAL[name] = handler
        return handler

    return register


def scipy_handler(function: Any) -> Callable[..., Any] | None:
    """Return the handler of a function of SciPy, None if there is none."""
    for name, handlers in (("scipy.special", SPECIAL), ("scipy.linalg", LINALG)):
        module = sys.modules.get(name)
        if module is not None and name not in _loaded:
            _loaded.add(name)
            _found.update({id(getattr(module, k)): handler for k, handler in handlers.items() if hasattr(module, k)})
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


# --- linear systems


def linalg(name: str, **plain: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register the meaning of `scipy.linalg.NAME`; what else than the handler's arguments must be as in `plain`."""

    def register(handler: Callable[..., Any]) -> Callable[..., Any]:
        def call(ctx: Context, *args: Any, **kwargs: Any) -> Any:
            for key in ("overwrite_a", "overwrite_b", "check_finite"):
                kwargs.pop(key, None)
            for key, allowed in plain.items():
                if key in kwargs and kwargs.pop(key) not in allowed:
                    raise ctx.error("JG235", name=f"scipy.linalg.{name}", argument=key)
            return handler(ctx, *args, **kwargs)

        LINALG[name] = call
        return handler

    return register


def _matrix(ctx: Context, name: str, a: Any) -> Any:
    value = square_matrices(ctx, name, a)
    if value.array.rank > 2:
        raise ctx.error("JG235", name=f"scipy.linalg.{name}", argument="a stack of matrices")
    return ctx.result(value)


def _system(ctx: Context, name: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Return a matrix and a right-hand side of one dtype, whose sizes fit."""
    x = as_array(ctx, _matrix(ctx, name, a))
    y = float_matrix(ctx, name, as_array(ctx, numeric(ctx, b)))
    wrong = f"the shapes of the arguments of scipy.linalg.{name} do not fit"
    if y.array.rank not in (1, 2) or not same_dim(ctx, y.shape[0], x.shape[0], wrong):
        raise ValueError(wrong)
    dtype = np.result_type(x.array.dtype, y.array.dtype)
    return ctx.result(cast(ctx, x, dtype)), ctx.result(cast(ctx, y, dtype))


def _text_for_singular(name: str, *args: Any) -> str:
    """Return what this version of SciPy says of a singular matrix."""
    try:
        getattr(sys.modules["scipy.linalg"], name)(np.ones((2, 2)), *args)
    except np.linalg.LinAlgError as singular:
        return str(singular)
    return "Singular matrix"


_GENERAL = {"assume_a": (None, "gen", "general"), "lower": (False,), "transposed": (False,)}


@linalg("solve", **_GENERAL)
def _solve(ctx: Context, a: Any, b: Any) -> Any:
    return ctx.call(linear.solve, [*_system(ctx, "solve", a, b), _text_for_singular("solve", np.ones(2))])


@linalg("inv", **_GENERAL)
def _inv(ctx: Context, a: Any) -> Any:
    return ctx.call(linear.inv, [_matrix(ctx, "inv", a), _text_for_singular("inv")])


@linalg("det")
def _det(ctx: Context, a: Any) -> Any:
    return ctx.call(linear.det, [_matrix(ctx, "det", a)])


def _factor(ctx: Context, name: str, a: Any, lower: Any) -> tuple[Any, Any, bool]:
    """Return a matrix, its lower or upper factor, and which of them that is."""
    low = bool(known_argument(ctx, lower, "which triangle is read"))
    x = _matrix(ctx, name, a)
    made = ctx.call(linear.cholesky, [x if low else swapaxes(ctx, x, 0, 1), None])
    return x, made if low else swapaxes(ctx, made, 0, 1), low


@linalg("cholesky")
def _cholesky(ctx: Context, a: Any, lower: Any = False) -> Any:
    return _factor(ctx, "cholesky", a, lower)[1]


@linalg("cho_factor")
def _cho_factor(ctx: Context, a: Any, lower: Any = False) -> Any:
    x, made, low = _factor(ctx, "cho_factor", a, lower)
    # The other triangle is that of the matrix.
    rest = ctx.call(np.triu, [x, 1]) if low else ctx.call(np.tril, [x, -1])
    return promotion.ufunc(ctx, np.add, made, rest), low


@linalg("cho_solve")
def _cho_solve(ctx: Context, c_and_lower: Any, b: Any) -> Any:
    c, lower = sequence_of(ctx, c_and_lower)
    low = bool(known_argument(ctx, lower, "which triangle is read"))
    x, y = _system(ctx, "cho_solve", c, b)
    half = ctx.call(linear.solve_triangular, [x, y, 0 if low else 1, low, False])
    return ctx.call(linear.solve_triangular, [x, half, 1 if low else 0, low, False])


@linalg("solve_triangular")
def _solve_triangular(
    ctx: Context, a: Any, b: Any, trans: Any = 0, lower: Any = False, unit_diagonal: Any = False
) -> Any:
    turned = {"N": 0, "T": 1, "C": 1}.get(trans, trans)
    if turned not in (0, 1, 2):
        raise ctx.error("JG235", name="scipy.linalg.solve_triangular", argument=f"trans={trans!r}")
    flags = [bool(known_argument(ctx, x, "a triangle")) for x in (lower, unit_diagonal)]
    return ctx.call(linear.solve_triangular, [*_system(ctx, "solve_triangular", a, b), int(turned), *flags])
