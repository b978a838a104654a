"""A few programs that pass through every room, for a new machine or an old library: `pytest -m smoke`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.special import erf

import jitgrad

pytestmark = pytest.mark.smoke

X = np.linspace(0.1, 0.9, 23)

FUNCTIONS: list[Callable[..., Any]] = [
    np.exp, np.expm1, np.log, np.log1p, np.log2, np.sin, np.cos, np.tan, np.arcsin, np.arctan, np.sinh, np.tanh,
    np.sqrt, np.cbrt, np.reciprocal, np.absolute, np.square,
]  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_functions(function: Callable[..., Any], dtype: type) -> None:
    x = X.astype(dtype)
    value, gradient = jitgrad.value_and_grad(lambda x: function(x).sum())(x)
    assert value.dtype == gradient.dtype == dtype
    np.testing.assert_allclose(value, function(X).sum(), rtol=1e-14 if dtype is np.float64 else 1e-5)
    expected = (function(X + 1e-6) - function(X - 1e-6)) / 2e-6
    np.testing.assert_allclose(gradient, expected, rtol=1e-7 if dtype is np.float64 else 1e-5)


def newton(a: float) -> float:
    r = a
    while abs(r * r - a) > 1e-13:
        r = 0.5 * (r + a / r)
    return r


def test_while_and_second_order() -> None:
    assert jitgrad.grad(newton)(2.0) == pytest.approx(0.5 / math.sqrt(2.0), rel=1e-12)
    assert jitgrad.grad(jitgrad.grad(newton))(2.0) == pytest.approx(-0.25 * 2.0**-1.5, rel=1e-9)
    assert jitgrad.jvp(newton, (2.0,), (1.0,))[1] == pytest.approx(0.5 / math.sqrt(2.0), rel=1e-12)


def walk(x: np.ndarray, n: int) -> Any:
    y = x.copy()
    for k in range(n):
        y[k % len(y)] *= np.sin(y[(k + 1) % len(y)])
        if y[0] < -10.0:
            break
    return y.sum()


def test_stores_in_a_loop() -> None:
    gradient = jitgrad.grad(walk)
    for n in (0, 5, 40):
        for k in range(len(X)):
            step = np.zeros_like(X)
            step[k] = 1e-6
            expected = (walk(X + step, n) - walk(X - step, n)) / 2e-6
            assert gradient(X, n)[k] == pytest.approx(expected, abs=1e-7)
    assert gradient.stats()["compiled"] == 1


def test_products() -> None:
    a = X[:20].reshape(4, 5)
    value, pullback = jitgrad.vjp(lambda a: np.tanh(a @ a.T), a)
    ct = np.ones((4, 4))
    inner = ct * (1.0 - value**2)
    np.testing.assert_allclose(pullback(ct)[0], (inner + inner.T) @ a, rtol=1e-12)


def test_a_mutated_argument() -> None:
    def f(x: np.ndarray) -> Any:
        x[1:] += x[:-1]
        return x

    mine, theirs = X.copy(), X.copy()
    returned = jitgrad.jit(f)(mine)
    assert returned is mine
    np.testing.assert_array_equal(mine, f(theirs))
    np.testing.assert_array_equal(jitgrad.grad(lambda x: f(x).sum())(mine)[-2:], [2.0, 1.0])
    np.testing.assert_array_equal(mine, theirs)


def test_exceptions_are_those_of_python() -> None:
    f = jitgrad.jit(lambda x, k: x[k] / 2.0)
    assert f(X, 2) == X[2] / 2.0
    with pytest.raises(IndexError, match="index 50 is out of bounds for axis 0 with size 23"):
        f(X, 50)
    with pytest.raises(ZeroDivisionError):
        jitgrad.jit(lambda x: 1.0 / x)(0.0)


def test_a_list_that_grows_and_a_special_function() -> None:
    def f(x: np.ndarray) -> Any:
        found = []
        for v in x:
            found.append(erf(v))
        return np.array(found).sum()

    np.testing.assert_allclose(jitgrad.grad(f)(X), 2.0 / math.sqrt(math.pi) * np.exp(-(X**2)), rtol=1e-12)
