"""Rows at computed places: read, written and added to with whole vectors, in order where places repeat."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jitgrad

N = 9
AT = np.array([3, 0, 3, 8, 3, 5])
OTHER = np.array([1, 1, 2, 1, 1, 0])


def taken(x: np.ndarray, at: np.ndarray, other: np.ndarray) -> Any:
    return x[at], x[at[::-1]], x[at][:, ::-1], x.T[:, at], x[at, other], x[:, other[:2]], x[at[0]], x[at] * x[at[0]]


def written(x: np.ndarray, at: np.ndarray, other: np.ndarray) -> Any:
    y, z = x.copy(), x.copy()
    y[at] = x[other] + np.arange(len(at))[:, None].astype(x.dtype)
    z[at, other] = x[other, 0]
    np.add.at(z, other, x[at])
    return y, z


def deep(x: np.ndarray, at: np.ndarray, other: np.ndarray) -> Any:
    cube = np.stack([x, x + x, x])
    made = cube[other, at]
    cube[other[:, None], at] = x[:1]
    return made, cube, cube[:, at]


@pytest.mark.parametrize("dtype", ["f8", "f4", "i8", "i2", "?"])
@pytest.mark.parametrize("m", [3, 8, 17, 40, 130])
@pytest.mark.parametrize("f", [taken, written, deep])
def test_as_numpy(f: Any, m: int, dtype: str) -> None:
    x = (np.random.default_rng(m).normal(size=(N, m)) * 9).astype(dtype)
    compiled = jitgrad.jit(f)
    for given in (x, np.asfortranarray(x), x[:, ::-1]):
        for got, want in zip(compiled(given, AT, OTHER), f(given, AT, OTHER), strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("m", [3, 17, 40])
def test_derivatives(m: int) -> None:
    rng = np.random.default_rng(m)
    x, t = rng.normal(size=(2, N, m))

    def f(x: np.ndarray) -> Any:
        return sum(np.sum(np.sin(y) * y) for some in (taken, written, deep) for y in some(x, AT, OTHER))

    g, (_, tangent) = jitgrad.grad(f)(x), jitgrad.jvp(f, (x,), (t,))
    assert np.sum(g * t) == pytest.approx(tangent, rel=1e-11)
    assert tangent == pytest.approx((f(x + 1e-6 * t) - f(x - 1e-6 * t)) / 2e-6, rel=1e-6)
