"""Elementwise arithmetic: sums, products, powers, remainders, signs and rounding.

In: operands that have the dtypes of one loop of the ufunc already. Out: the declarations. Where a partial is singular
or many-valued, these choose (the table is `conventions.py`):

`absolute`    the derivative is the sign, so 0 at 0; `sign` is flat everywhere. `copysign` follows both.
`power`       x**y by x is an exact zero wherever y == 0, also at x == 0; by y it is an exact zero where x == 0 and
              y >= 0. Negative bases have no derivative by y: NaN.
`remainder`, `fmod`   by x 1, by y minus the whole quotient, also where they jump.
`floor_divide`, `floor`, `ceil`, `trunc`, `rint`   flat.

Integers: sums and products wrap, division by zero gives 0, and an exponent is not negative (whoever builds the graph
has emitted the check; the result is then some value, not an error, so that the op can be moved and speculated).

This room knows neither Python's numbers nor which code a host emits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.primitive import (
    MINUS_ONE,
    ONE,
    ZERO,
    Masked,
    Partial,
    Partials,
    ScalarBuilder,
    by_arrays,
    elementwise,
)

__all__: list[str] = []

REAL = "biuf"

_FLAT = Partials(lambda g, out, *xs: tuple(ZERO for _ in xs))


def _constant(value: Value) -> float | None:
    """Return the number that a scalar constant holds, None for anything else."""
    op = value.op
    if op is None or op.name != "constant" or op.attrs["value"].ndim or op.attrs["value"].dtype.kind != "f":
        return None
    return float(op.attrs["value"])


# --- sums and products

add = elementwise(
    "add", numpy=np.add, derivative=Partials(lambda g, out, x, y: (ONE, ONE)), scalar=lambda b, x, y: b.add(x, y)
)
subtract = elementwise(
    "subtract",
    numpy=np.subtract,
    derivative=Partials(lambda g, out, x, y: (ONE, MINUS_ONE)),
    scalar=lambda b, x, y: b.sub(x, y),
)
multiply = elementwise(
    "multiply",
    numpy=np.multiply,
    derivative=Partials(lambda g, out, x, y: (y, x)),
    scalar=lambda b, x, y: b.mul(x, y),
)


def _divide(b: ScalarBuilder, x: Any, y: Any) -> Any:
    # NumPy divides the smallest integers in loops of their own, without a cast before.
    return b.div(b.cast(x, b.result), b.cast(y, b.result))


def _reciprocal(b: ScalarBuilder, x: Any) -> Any:
    dtype = b.dtype(x)
    if dtype.kind == "f":
        return b.div(b.const(1.0, dtype), x)
    real = np.dtype(np.float64)
    return b.cast(b.div(b.const(1.0, real), b.cast(x, real)), dtype)


def _by_unknown(op: Op) -> bool:
    return by_arrays(op) and _constant(op.operands[-1]) is None


divide = elementwise(
    "divide",
    numpy=np.true_divide,
    derivative=Partials(lambda g, out, x, y: (g.divide(1.0, y), g.negative(g.divide(out, y))), _by_unknown),
    scalar=_divide,
    domain=(0.5, 2.0),
)
negative = elementwise(
    "negative", numpy=np.negative, derivative=Partials(lambda g, out, x: (MINUS_ONE,)), scalar=lambda b, x: b.neg(x)
)
square = elementwise(
    "square",
    numpy=np.square,
    derivative=Partials(lambda g, out, x: (g.multiply(x, 2.0),)),
    scalar=lambda b, x: b.mul(x, x),
)
reciprocal = elementwise(
    "reciprocal",
    numpy=np.reciprocal,
    derivative=Partials(lambda g, out, x: (g.negative(g.multiply(out, out)),), by_arrays),
    scalar=_reciprocal,
    domain=(0.5, 2.0),
)

# --- powers


def _power_by_base(g: Builder, out: Value, x: Value, y: Value) -> Value | Masked | Partial:
    number = _constant(y)
    if number is None:
        steep = g.power(x, g.subtract(y, 1.0))
        # Only where 0 * inf (or 0 * nan) would come: elsewhere the mixed second derivative, 1 / x at y == 0, is wanted.
        singular = g.logical_and(g.equal(y, 0.0), g.logical_not(g.isfinite(steep)))
        return Masked(g.logical_not(singular), g.multiply(y, steep))
    if number == 0.0:
        return ZERO
    if number == 1.0:
        return ONE
    if 0.0 < number < 1.0:  # a division, so that it cancels against powers of x or of the result
        made: Value = g.divide(number, out if number == 0.5 else g.power(x, 1.0 - number))
        return made
    made = g.multiply(x if number == 2.0 else g.power(x, number - 1.0), number)
    return made


def _power_partials(g: Builder, out: Value, x: Value, y: Value) -> tuple[Value | Masked | Partial, ...]:
    by_exponent: Value | Masked | Partial = ZERO
    if _constant(y) is None:
        nothing = g.logical_and(g.equal(x, 0.0), g.greater_equal(y, 0.0))
        by_exponent = Masked(g.logical_not(nothing), g.multiply(out, g.log(x)))
    return _power_by_base(g, out, x, y), by_exponent


def _steep_power(op: Op) -> bool:
    number = _constant(op.operands[1])
    if number is None or number < 0:
        return by_arrays(op)
    return 0 < number < 1


def _is_root(op: Op) -> bool:
    number = _constant(op.operands[1])
    return number is None or 0 < number < 1


def _power(b: ScalarBuilder, x: Any, y: Any) -> Any:
    dtype = b.result
    if dtype.kind == "f":
        return b.math("pow", x, y)
    one, zero = b.const(1, dtype), b.const(0, dtype)
    bits = dtype.itemsize * 8
    if dtype.kind == "i":
        y = b.select(b.compare("<", y, zero), zero, y)
        bits -= 1
    made = one
    for k in range(bits):  # by squaring; the bits of the exponent from the lowest
        taken = b.compare("!=", b.logical("and", y, b.const(1 << k, dtype)), zero)
        made = b.mul(made, b.select(taken, x, one))
        if k + 1 < bits:
            x = b.mul(x, x)
    return made


def _evaluate_power(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    made: np.ndarray = np.power(x, np.maximum(y, 0) if np.asarray(y).dtype.kind == "i" else y)
    return made


power = elementwise(
    "power",
    numpy=np.power,
    derivative=Partials(_power_partials, _steep_power, _is_root),
    scalar=_power,
    domain=(0.5, 2.0),
    evaluate=_evaluate_power,
)

# --- quotients and remainders


def _fmod(b: ScalarBuilder, x: Any, y: Any) -> Any:
    dtype = b.dtype(x)
    if dtype.kind == "f":
        return b.math("copysign", b.mod(b.math("fabs", x), b.math("fabs", y)), x)
    rest = b.mod(x, y)
    if dtype.kind == "u":
        return rest
    zero = b.const(0, dtype)
    crossed = b.logical("xor", b.compare("<", rest, zero), b.compare("<", x, zero))
    return b.select(b.logical("and", b.compare("!=", rest, zero), crossed), b.sub(rest, y), rest)


floor_divide = elementwise(
    "floor_divide", numpy=np.floor_divide, derivative=_FLAT, scalar=lambda b, x, y: b.floordiv(x, y), domain=(0.5, 2.0)
)
remainder = elementwise(
    "remainder",
    numpy=np.remainder,
    derivative=Partials(lambda g, out, x, y: (ONE, g.negative(g.floor_divide(x, y)))),
    scalar=lambda b, x, y: b.mod(x, y),
    domain=(0.5, 2.0),
)
fmod = elementwise(
    "fmod",
    numpy=np.fmod,
    derivative=Partials(lambda g, out, x, y: (ONE, g.rint(g.divide(g.subtract(out, x), y)))),
    scalar=_fmod,
    domain=(0.5, 2.0),
)

# --- signs


def _absolute(b: ScalarBuilder, x: Any) -> Any:
    kind = b.dtype(x).kind
    if kind == "f":
        return b.math("fabs", x)
    return b.select(b.compare("<", x, b.const(0, b.dtype(x))), b.neg(x), x) if kind == "i" else x


def _sign(b: ScalarBuilder, x: Any) -> Any:
    dtype = b.dtype(x)
    zero, one = b.const(0, dtype), b.const(1, dtype)
    # NaN is none of the three and comes back as it is.
    made = b.select(b.compare("==", x, zero), zero, x)
    if dtype.kind != "u":
        made = b.select(b.compare("<", x, zero), b.const(-1, dtype), made)
    return b.select(b.compare(">", x, zero), one, made)


absolute = elementwise(
    "absolute",
    numpy=(np.absolute, np.fabs),
    derivative=Partials(lambda g, out, x: (g.sign(x),)),
    scalar=_absolute,
    kinds=REAL,
)
sign = elementwise("sign", numpy=np.sign, derivative=_FLAT, scalar=_sign, kinds=REAL)
copysign = elementwise(
    "copysign",
    numpy=np.copysign,
    derivative=Partials(lambda g, out, x, y: (g.multiply(g.sign(x), g.copysign(1.0, y)), ZERO)),
    scalar=lambda b, x, y: b.math("copysign", x, y),
)

# --- rounding


def _round(name: str, ufunc: np.ufunc) -> None:
    def scalar(b: ScalarBuilder, x: Any) -> Any:
        return b.math(name, x) if b.dtype(x).kind == "f" else x

    elementwise(name, numpy=ufunc, derivative=_FLAT, scalar=scalar)


_round("floor", np.floor)
_round("ceil", np.ceil)
_round("trunc", np.trunc)
_round("rint", np.rint)
