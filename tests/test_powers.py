"""Powers with exponents that are known: products where they are few, within the bounds of elementary functions."""

from __future__ import annotations

import numpy as np
import pytest

import jitgrad

X = np.concatenate([np.linspace(-3.0, 3.0, 4001), np.linspace(1.0, 1.001, 999)])
ENDS = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e200, -1e200, 1e-200, -1e-105, 5e-324, 1e103, 1.3e154])
EXPONENTS = [-3, -2, -1, 1, 2, 3, 4, 5, 7, 8, 9, 10, 12]


def units(got: np.ndarray, want: np.ndarray) -> float:
    """Return the largest distance in units in the last place."""
    return float(np.max(np.abs(got - want) / np.spacing(np.abs(want)), initial=0.0, where=np.isfinite(want)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", EXPONENTS)
def test_values(n: int, dtype: type) -> None:
    x = X.astype(dtype)
    with np.errstate(all="ignore"):
        for given in (x, ENDS.astype(dtype)):
            got, want = jitgrad.jit(lambda x: x**n)(given), given**n
            assert units(got, want) <= 2.0
            np.testing.assert_array_equal(got[~np.isfinite(want)], want[~np.isfinite(want)])
            np.testing.assert_array_equal(np.signbit(got), np.signbit(want))
            assert got.dtype == want.dtype


@pytest.mark.parametrize("n", EXPONENTS)
def test_derivatives(n: int) -> None:
    x = X[X != 0.0]
    slope = jitgrad.grad(lambda x: np.sum(x**n))
    assert units(slope(x), n * x ** (n - 1.0)) <= 8.0
    curvature = jitgrad.grad(lambda x: np.sum(slope(x)))(x)
    np.testing.assert_allclose(curvature, n * (n - 1.0) * x ** (n - 2.0), rtol=1e-14)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 9])
def test_at_zero_and_beyond(n: int) -> None:
    ends = np.array([0.0, -0.0, 1e200, -1e200])
    with np.errstate(all="ignore"):
        want = n * ends ** (n - 1.0)
        np.testing.assert_allclose(jitgrad.grad(lambda x: np.sum(x**n))(ends), want, rtol=1e-14)
        assert jitgrad.grad(lambda x: x**n)(0.0) == want[0]
