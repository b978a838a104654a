"""Quantiles at fractions that data decide: values, exceptions, and derivatives by the fractions too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad

X = np.array([3.0, 1.0, 2.0, 5.0, -1.0, 0.5])
TAILS = [0.05, 0.95]

FUNCTIONS: list[Callable[[np.ndarray, float], Any]] = [
    lambda x, a: np.quantile(x, a),
    lambda x, a: np.percentile(x, 100 * a),
    lambda x, a: np.quantile(x, [a / 2, 1 - a / 2]),
    lambda x, a: np.quantile(x, (a, 0.5, 1.0)),
    lambda x, a: np.quantile(x, np.array([a, 0.9])),
    lambda x, a: np.quantile(x, np.array([[0.1, 0.9]])) * a,
    lambda x, a: np.quantile(x, TAILS) * a,
    lambda x, a: np.quantile(x.reshape(2, 3), a, axis=1),
    lambda x, a: np.quantile(x.reshape(2, 3), [a, 0.25], axis=0, keepdims=True),
    lambda x, a: np.quantile(x[x > 0], a),
    lambda x, a: np.quantile(x[x > 0], 0.3) * a,
    lambda x, a: np.quantile(x.astype(np.float32), a),
    lambda x, a: np.quantile(x.astype(np.float32), [a]),
    lambda x, a: np.quantile(x[x > 0].astype(np.float32), a),
    lambda x, a: np.quantile(x[x > 0].astype(np.float32), 0.3) * a,
    lambda x, a: np.quantile(x, x[5]) * a,
    lambda x, a: np.quantile(np.where(x > 4, np.inf, x), a),
]


def outcome(f: Callable[..., Any], *args: Any) -> Any:
    try:
        return f(*args)
    except ValueError as exception:
        return str(exception)


@pytest.mark.parametrize("f", FUNCTIONS)
def test_values(f: Callable[..., Any]) -> None:
    compiled = jitgrad.jit(f)
    for a in (0.3, 0.5, 0.0, 1.0, 0.05, 0.8, 1.5, -0.25, float("nan")):
        got, want = outcome(compiled, X, a), outcome(f, X, a)
        assert type(got) is type(want)
        if isinstance(want, str):
            assert got == want
        else:
            assert got.dtype == want.dtype
            tol = 1e-6 if want.dtype == np.float32 else 1e-13
            np.testing.assert_allclose(got, want, rtol=tol, atol=tol)


@pytest.mark.parametrize("f", FUNCTIONS[:11])
def test_derivatives(f: Callable[..., Any]) -> None:
    def total(x: np.ndarray, a: float) -> Any:
        return (np.cos(f(x, a)) * 1.5).sum()

    a, h = 0.33, 1e-6
    by_x, by_a = jitgrad.grad(total, argnums=(0, 1))(X, a)
    assert by_a == pytest.approx((total(X, a + h) - total(X, a - h)) / (2 * h), abs=1e-7)
    want = [(total(X + h * e, a) - total(X - h * e, a)) / (2 * h) for e in np.eye(len(X))]
    np.testing.assert_allclose(by_x, want, atol=1e-8)
    slope = jitgrad.jvp(total, (X, a), (by_x, by_a))[1]
    assert slope == pytest.approx(by_x @ by_x + by_a**2)


def test_slope_at_an_element() -> None:
    # Of the elements on either side, the one above.
    assert jitgrad.grad(lambda a: np.quantile(np.array([1.0, 2.0, 4.0]), a))(0.5) == 4.0
