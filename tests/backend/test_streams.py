"""Stores into memory that is not near: their lines are fetched ahead, and only theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad

FETCH = "call void @llvm.prefetch"


def doubled(x: np.ndarray) -> Any:
    return 2.0 * x


def in_place(x: np.ndarray) -> Any:
    x *= 2.0
    return None


def halves(x: np.ndarray) -> Any:
    n = 50_000
    x[:n] = 2.0 * x[n:]
    return None


def strided(x: np.ndarray) -> Any:
    y = np.zeros((len(x), 2))
    y[:, 1] = 2.0 * x
    return y


def steps(x: np.ndarray, n: int) -> Any:
    for _ in range(n):
        x = np.sin(x[:100])
    return np.sum(x)


@pytest.mark.parametrize(
    ("f", "size", "fetched"),
    [
        (doubled, 100_000, True),
        (doubled, 1000, False),
        (in_place, 100_000, False),
        (halves, 100_000, True),
        (strided, 100_000, False),
    ],
)
def test_stores_into_large_arrays_are_fetched(f: Callable[..., Any], size: int, fetched: bool) -> None:
    x = np.linspace(0.0, 1.0, size)
    compiled = jitgrad.jit(f)
    assert (FETCH in compiled.llvm(x.copy())) == fetched
    mine, numpys = x.copy(), x.copy()
    got, want = compiled(mine), f(numpys)
    np.testing.assert_array_equal(mine, numpys)
    if want is not None:
        np.testing.assert_array_equal(got, want)


def test_what_a_loop_records_is_fetched() -> None:
    """The row of a step is small; all of them are not."""
    x = np.linspace(0.0, 1.0, 100)
    gradient = jitgrad.grad(steps)
    assert FETCH in gradient.llvm(x, 50)
    assert FETCH not in jitgrad.jit(steps).llvm(x, 50)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int8, np.bool_])
def test_the_end_of_memory_is_no_end_for_fetches(dtype: type) -> None:
    """Lines beyond an array are asked for too, and must not be touched otherwise."""
    x = np.arange(70_001).astype(dtype)

    def copied(x: np.ndarray) -> Any:
        return x | x if dtype is np.bool_ else x + x

    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(jitgrad.jit(copied)(x), copied(x))
