"""Functions of elements, operators, choices, one row a call form: values, dtypes, kinds and exceptions are NumPy's."""

# The rows are written as users write them.
# ruff: noqa: E711, RUF005

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from tests.trace.calling import check, check_row
from tests.trace.operands import B, F, I, M, S, U, V, W, X

ROWS: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    # --- ufuncs
    (lambda x: np.exp(x), (V,)),
    (lambda x: np.exp(x), (F,)),
    (lambda x: np.exp(x), (I,)),
    (lambda x: np.exp(x), (0.5,)),
    (lambda x: np.exp(x), (X,)),
    (lambda x: np.sin(x) + np.cos(x) * np.tan(x), (V,)),
    (lambda x: np.tanh(x), (M,)),
    (lambda x: np.log(np.abs(x)), (V,)),
    (lambda x: np.log(x), (V,)),
    (lambda x: np.sqrt(x), (V,)),
    (lambda x: np.arctan2(x, 2.0), (V,)),
    (lambda x, y: np.add(x, y), (V, W)),
    (lambda x, y: np.add(x, y), (F, 2)),
    (lambda x, y: np.add(x, y), (F, np.float64(2))),
    (lambda x, y: np.add(x, y), (U, 3)),
    (lambda x, y: np.add(x, y), (I, 0.5)),
    (lambda x, y: np.add(x, y), (M, W)),
    (lambda x, y: np.multiply(x, y), (B, 3)),
    (lambda x, y: np.multiply(x, y, dtype=np.float32), (V, W)),
    (lambda x: np.maximum(x, 0.5), (V,)),
    (lambda x: np.maximum(x, 0), (F,)),
    (lambda x: np.minimum(x, [1, 0, 1, 0, 1]), (V,)),
    (lambda x, y: np.hypot(x, y), (V, W)),
    (lambda x, y: np.logaddexp(x, y), (V, W)),
    (lambda x, y: np.power(x, y), (np.abs(V), W)),
    (lambda x: np.power(x, 2), (I,)),
    (lambda x: np.float_power(x, 2), (I,)),
    (lambda x: np.square(x), (V,)),
    (lambda x: np.reciprocal(x), (W,)),
    (lambda x: np.absolute(x), (I,)),
    (lambda x: np.fabs(x), (V,)),
    (lambda x: np.sign(x), (V,)),
    (lambda x: np.floor(x), (V,)),
    (lambda x: np.ceil(x), (V,)),
    (lambda x: np.trunc(x), (V,)),
    (lambda x: np.rint(x), (V,)),
    (lambda x: np.isnan(x), (np.array([1.0, np.nan]),)),
    (lambda x: np.isfinite(x), (np.array([1.0, np.inf]),)),
    (lambda x: np.isinf(x), (np.array([1.0, np.inf]),)),
    (lambda x: np.signbit(x), (V,)),
    (lambda x, y: np.copysign(x, y), (V, W)),
    (lambda x: np.deg2rad(x), (V,)),
    (lambda x: np.rad2deg(x), (F,)),
    (lambda x: np.degrees(x), (I,)),
    (lambda x: np.expm1(x), (V,)),
    (lambda x: np.log1p(np.abs(x)), (V,)),
    (lambda x: np.exp2(x), (V,)),
    (lambda x: np.log2(np.abs(x)), (V,)),
    (lambda x: np.log10(np.abs(x)), (V,)),
    (lambda x: np.cbrt(x), (V,)),
    (lambda x: np.arcsinh(x), (V,)),
    (lambda x: np.sinh(x), (V,)),
    (lambda x: np.positive(x), (V,)),
    (lambda x: np.heaviside(x, 0.5), (np.array([-1.0, 0.0, 2.0, np.nan]),)),
    (lambda x, y: np.fmax(x, y), (V, np.array([1, np.nan, 1, 1, 1]))),
    (lambda x, y: np.fmin(x, y), (V, np.array([1, np.nan, 1, 1, 1]))),
    (lambda x, y: np.fmod(x, y), (V, W)),
    (lambda x, y: np.fmod(x, y), (I, 3)),
    (lambda x, y: np.divmod(x, y), (V, W)),
    (lambda x, y: np.remainder(x, y), (I, 3)),
    (lambda x, y: np.floor_divide(x, y), (V, W)),
    (lambda x: np.modf(x), (V,)),
    (lambda x: np.logical_and(x, [1, 1, 0, 1, 0]), (V,)),
    (lambda x: np.logical_or(x > 0, x < -1), (V,)),
    (lambda x: np.logical_not(x), (V,)),
    (lambda x, y: np.logical_xor(x, y), (B, I)),
    (lambda x, y: np.bitwise_and(x, y), (I, 6)),
    (lambda x: np.invert(x), (B,)),
    (lambda x: ~x, (I,)),
    (lambda x, y: np.less(x, y), (V, W)),
    (lambda x, y: np.equal(x, y), (I, 1)),
    (lambda x, y: np.add(x, y, out=x), (V, W)),
    (lambda x, y, z: np.multiply(x, y, z), (V, W, V + 0)),
    (lambda x, y: np.exp(x, out=y), (I, W)),
    (lambda x, y: np.add(x, 1, out=y, where=y > 0), (V, W)),
    (lambda x, y: np.add(x, 0.5, out=y), (V, I)),
    (lambda x, y: np.add(x, y, out=y), (M, np.zeros(3))),
    (lambda x, y: np.add(x, y), (V, np.zeros(3))),
    (lambda x: np.subtract(x, x), (B,)),
    (lambda x: np.negative(x), (B,)),
    (lambda x: np.add(x), (V,)),
    # --- methods of ufuncs
    (lambda x: np.add.reduce(x), (M,)),
    (lambda x: np.add.reduce(x, axis=None), (M,)),
    (lambda x: np.multiply.reduce(x, axis=1), (M,)),
    (lambda x: np.maximum.reduce(x, axis=(0, 1)), (M,)),
    (lambda x: np.minimum.reduce([1.0, x, 3.0]), (X,)),
    (lambda x: np.logical_and.reduce(x), (B,)),
    (lambda x: np.add.accumulate(x), (V,)),
    (lambda x: np.multiply.accumulate(x, axis=1), (M,)),
    (lambda x, y: np.multiply.outer(x, y), (V, W)),
    (lambda x, y: np.subtract.outer(x, y), (M, W)),
    (lambda a, i, v: np.add.at(a, i, v), (V, np.array([0, 0, 3]), np.array([1.0, 2.0, 3.0]))),
    (lambda a, i: np.subtract.at(a, i, 1.0), (V, np.array([1, 1]))),
    # --- operators
    (lambda x: x + [1, 2, 3, 4, 5], (V,)),
    (lambda x: 2**x, (V,)),
    (lambda x: x**2, (V,)),
    (lambda x: x**0.5, (W,)),
    (lambda x: x**-1, (W,)),
    (lambda x: x**3, (I,)),
    (lambda x: x**-1, (I,)),
    (lambda x: x // 2, (V,)),
    (lambda x: x % 0.4, (V,)),
    (lambda x: -x, (V,)),
    (lambda x: abs(x), (V,)),
    (lambda x: (x > 0) & (x < 1), (V,)),
    (lambda x: x == None, (V,)),
    (lambda x: 0.7 in x, (V,)),
    (lambda x: x[0] if x.any() else x[1], (V,)),
    (lambda x, y: x < y, (U, 300)),
    (lambda x: x >= -1, (U,)),
    (lambda x, y: x**y, (np.abs(I), I)),
    (lambda x, y: x - y, (U, 5)),
    (lambda x, y: x + y, (U, 300)),
    # --- choosing
    (lambda x: np.where(x > 0, x, 0.0), (V,)),
    (lambda x: np.where(x > 0, x, 0), (F,)),
    (lambda x: np.where(x > 0, 1, 2), (V,)),
    (lambda x, y: np.where([True, False, True, False, True], x, y), (V, W)),
    (lambda x: np.where(x > 0.1, x, 1.0), (0.5,)),
    (lambda x: np.select([x < 0, x < 1], [-x, x * x], 7.0), (V,)),
    (lambda x: np.clip(x, -1.0, 1.0), (V,)),
    (lambda x: np.clip(x, -1, 1), (F,)),
    (lambda x: np.clip(x, 0, None), (I,)),
    (lambda x: x.clip(-0.5, 0.5), (V,)),
    (lambda x: np.clip(x, 0.0, 1.0), (1.5,)),
    (lambda x, o: np.clip(x, 0, 1, out=o), (V, W)),
    (lambda x: np.clip(x, None, 0.5), (np.array([1.0, np.nan, 0.1]),)),
    (lambda x, y: np.copyto(x, y), (V, W)),
    (lambda x, y: np.copyto(x, 0.0, where=y > 0), (V, W)),
    (lambda x: np.take(x, [0, 2, -1]), (V,)),
    (lambda x: np.take(x, [0, 2], axis=1), (M,)),
    (lambda x: np.take(x, 1), (M,)),
    (lambda x, i: np.take(x, i, axis=0), (V, np.array([7]))),
    (lambda x, i: np.take(x, i, mode="clip"), (V, np.array([7, -3]))),
    (lambda x, i: np.take_along_axis(x, i, axis=1), (M, np.array([[0, 2], [1, 1]]))),
    (lambda x: np.sort(x), (V,)),
    (lambda x: np.sort(x, axis=0), (M,)),
    (lambda x: x.sort(), (V,)),
    (lambda x: np.argsort(x), (V,)),
    (lambda x: x[np.argsort(x)], (V,)),
    (lambda x: np.diag(x), (V,)),
    (lambda x: np.diag(x, 1), (V,)),
    (lambda x: np.diag(x), (S,)),
    (lambda x: np.diagonal(x, 1), (M,)),
    (lambda x: np.fill_diagonal(x, 9.0), (S,)),
    (lambda x: np.tril(x), (S,)),
    (lambda x: np.triu(x, 1), (S,)),
    (lambda x: x[np.triu_indices(3)], (S,)),
    (lambda x, v: np.searchsorted(x, v), (np.sort(V), W)),
]


@pytest.mark.parametrize("k", range(len(ROWS)))
def test_call_form(k: int) -> None:
    check_row(*ROWS[k])


def _inplace(op: str) -> Callable[..., Any]:
    scope: dict[str, Any] = {}
    exec(f"def f(x, y):\n    z = x\n    x {op}= y\n    return x, z", scope)
    return scope["f"]


@pytest.mark.parametrize("op", ["+", "-", "*", "/", "//", "%", "**"])
@pytest.mark.parametrize(
    "args", [(np.abs(V), W), (V, 2), (I, 3), (I, 2.5), (F, W), (M, np.ones(3)), (np.ones(3), M), (0.5, 2.0), (0.5, V)]
)
def test_inplace_operators(op: str, args: tuple[Any, ...]) -> None:
    function = _inplace(op)
    scope_check = list(args)
    check(function, scope_check)


@pytest.mark.parametrize("x", [0.0, 1e-9, -1e-5, 0.01, 0.031, 0.032])
def test_the_derivatives_of_sinc_about_0(x: float) -> None:
    """They are those of the series, to their last digits, where those of the quotient cancel."""
    slope = jitgrad.grad(lambda x: np.sinc(x))
    y, k = np.pi * x, np.arange(1, 8)
    of_series = (-1.0) ** k * 2 * k / np.array([math.factorial(2 * n + 1) for n in k])
    np.testing.assert_allclose(slope(x), np.pi * (of_series * y ** (2 * k - 1)).sum(), rtol=1e-13)
    second = np.pi**2 * (of_series * (2 * k - 1) * y ** (2 * k - 2)).sum()
    np.testing.assert_allclose(jitgrad.grad(slope)(x), second, rtol=1e-11)
