"""Elementwise exponentials, logarithms, roots and the error function.

In: floating-point operands. Out: the declarations. Where a partial is singular, these choose (the table is
`conventions.py`):

`sqrt`, `cbrt` at 0      the true infinity; an exact zero under a mask.
`hypot` at (0, 0)        0, as the norm.
`logaddexp`, `logaddexp2`   equal infinities share equally, and one infinity alone takes all: never NaN.

`erf`, `erfc` and `expit` have SciPy's meaning without needing SciPy. This room knows no trigonometry.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Value
from jitgrad.graph.primitive import Masked, Partials, ScalarBuilder, always, by_arrays, elementwise

__all__: list[str] = []

_LN2, _LN10 = math.log(2.0), math.log(10.0)


def _math(name: str) -> Callable[..., Any]:
    return lambda b, *xs: b.math(name, *xs)


# --- exponentials and logarithms

exp = elementwise("exp", numpy=np.exp, derivative=Partials(lambda g, out, x: (out,)), scalar=_math("exp"))
exp2 = elementwise(
    "exp2", numpy=np.exp2, derivative=Partials(lambda g, out, x: (g.multiply(out, _LN2),)), scalar=_math("exp2")
)
expm1 = elementwise(
    "expm1",
    numpy=np.expm1,
    # out + 1 would be 0 for all x below -37.
    derivative=Partials(lambda g, out, x: (g.exp(x),)),
    scalar=_math("expm1"),
)
log = elementwise(
    "log",
    numpy=np.log,
    derivative=Partials(lambda g, out, x: (g.divide(1.0, x),), by_arrays),
    scalar=_math("log"),
    domain=(0.5, 4.0),
)
log1p = elementwise(
    "log1p",
    numpy=np.log1p,
    derivative=Partials(lambda g, out, x: (g.divide(1.0, g.add(x, 1.0)),), by_arrays),
    scalar=_math("log1p"),
    domain=(-0.5, 3.0),
)
log2 = elementwise(
    "log2",
    numpy=np.log2,
    derivative=Partials(lambda g, out, x: (g.divide(1.0 / _LN2, x),), by_arrays),
    scalar=_math("log2"),
    domain=(0.5, 4.0),
)
log10 = elementwise(
    "log10",
    numpy=np.log10,
    derivative=Partials(lambda g, out, x: (g.divide(1.0 / _LN10, x),), by_arrays),
    scalar=_math("log10"),
    domain=(0.5, 4.0),
)

# --- sums of exponentials


def _share_of(g: Builder, x: Value, y: Value, base: str) -> Value:
    """Return base**x / (base**x + base**y)."""
    tied = g.logical_and(g.equal(x, y), g.isinf(x))
    share = g.divide(1.0, g.add(g.emit(base, [g.subtract(y, x)]).result, 1.0))
    made: Value = g.select(tied, g.constant(0.5, x.array.dtype), share)
    return made


def _log_add(base: str, scale: float) -> Callable[..., Any]:
    """max + log(1 + base**-|x - y|) in the base whose logarithm is `scale`; equal infinities give themselves."""

    def scalar(b: ScalarBuilder, x: Any, y: Any) -> Any:
        dtype = b.dtype(x)
        apart = b.neg(b.math("fabs", b.sub(x, y)))
        apart = b.select(b.compare("==", x, y), b.const(0.0, dtype), apart)
        tail = b.math("log1p", b.math(base, apart))
        return b.add(b.math("maximum", x, y), tail if scale == 1.0 else b.mul(tail, b.const(1.0 / scale, dtype)))

    return scalar


logaddexp = elementwise(
    "logaddexp",
    numpy=np.logaddexp,
    derivative=Partials(lambda g, out, x, y: (_share_of(g, x, y, "exp"), _share_of(g, y, x, "exp"))),
    scalar=_log_add("exp", 1.0),
)
logaddexp2 = elementwise(
    "logaddexp2",
    numpy=np.logaddexp2,
    derivative=Partials(lambda g, out, x, y: (_share_of(g, x, y, "exp2"), _share_of(g, y, x, "exp2"))),
    scalar=_log_add("exp2", _LN2),
)

# --- roots

sqrt = elementwise(
    "sqrt",
    numpy=np.sqrt,
    derivative=Partials(lambda g, out, x: (g.divide(0.5, out),), always),
    scalar=_math("sqrt"),
    domain=(0.5, 4.0),
)
cbrt = elementwise(
    "cbrt",
    numpy=np.cbrt,
    derivative=Partials(lambda g, out, x: (g.divide(1.0 / 3.0, g.multiply(out, out)),), always),
    scalar=_math("cbrt"),
    domain=(0.5, 4.0),
)


def _hypot_partials(g: Builder, out: Value, x: Value, y: Value) -> tuple[Masked, Masked]:
    away = g.not_equal(out, 0.0)
    return Masked(away, g.divide(x, out)), Masked(away, g.divide(y, out))


hypot = elementwise("hypot", numpy=np.hypot, derivative=Partials(_hypot_partials), scalar=_math("hypot"))

# --- the error function and the logistic function


def _float(dtype: np.dtype) -> np.dtype:
    return dtype


def _each(function: Callable[[float], float]) -> Callable[[Any], np.ndarray]:
    def evaluate(x: Any) -> np.ndarray:
        x = np.asarray(x)
        made = np.fromiter(map(function, x.ravel().tolist()), np.float64, x.size)
        return made.reshape(x.shape).astype(x.dtype)

    return evaluate


def _bell(g: Builder, x: Value, factor: float) -> Value:
    made: Value = g.multiply(g.exp(g.negative(g.multiply(x, x))), factor)
    return made


def _expit(b: ScalarBuilder, x: Any) -> Any:
    one = b.const(1.0, b.dtype(x))
    return b.div(one, b.add(one, b.math("exp", b.neg(x))))


erf = elementwise(
    "erf",
    numpy=(),
    result=_float,
    evaluate=_each(math.erf),
    derivative=Partials(lambda g, out, x: (_bell(g, x, 2.0 / math.sqrt(math.pi)),)),
    scalar=_math("erf"),
    kinds="f",
)
erfc = elementwise(
    "erfc",
    numpy=(),
    result=_float,
    evaluate=_each(math.erfc),
    derivative=Partials(lambda g, out, x: (_bell(g, x, -2.0 / math.sqrt(math.pi)),)),
    scalar=_math("erfc"),
    kinds="f",
)
expit = elementwise(
    "expit",
    numpy=(),
    result=_float,
    evaluate=lambda x: 1 / (1 + np.exp(-x)),
    # A chain of primitives would give inf * 0 below -709.
    derivative=Partials(lambda g, out, x: (g.multiply(out, g.subtract(1.0, out)),)),
    scalar=_expit,
    kinds="f",
)
