"""Small programs that planted bugs (`tests/mutants`) got past the banks with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jitgrad

X = np.array([0.5, -1.25, 2.0])


def read_beside_a_store(x: np.ndarray, i: int, j: int) -> Any:
    a = x.copy()
    a[i] = 5.0
    return a[j] * x[i]


@pytest.mark.parametrize(("i", "j"), [(0, 1), (1, 1), (2, 0), (0, 0)])
def test_a_read_beside_a_store(i: int, j: int) -> None:
    """Whether the two places are one is known at run time only."""
    assert jitgrad.jit(read_beside_a_store)(X, i, j) == read_beside_a_store(X, i, j)
    want = np.zeros(3)
    want[j] += X[i] if i != j else 0.0
    want[i] += 5.0 if i == j else X[j]
    np.testing.assert_array_equal(jitgrad.grad(read_beside_a_store)(X, i, j), want)


def read_beside_a_store_into_zeros(x: np.ndarray, i: int, j: int) -> Any:
    a = np.zeros(3)
    a[i] = x[0]
    return a[j]


@pytest.mark.parametrize(("i", "j"), [(0, 1), (1, 1), (2, 0), (0, 0)])
def test_a_read_beside_a_store_into_zeros(i: int, j: int) -> None:
    assert jitgrad.jit(read_beside_a_store_into_zeros)(X, i, j) == read_beside_a_store_into_zeros(X, i, j)


def choice_within_a_choice(x: np.ndarray, outer: np.ndarray, inner: np.ndarray) -> Any:
    return np.where(outer, np.where(inner, np.sqrt(x), 0.0), 0.0).sum()


def test_a_choice_within_a_choice() -> None:
    """The outer choice keeps an infinite slope away that the inner one would let through."""
    outer, inner = np.array([False, True, True]), np.array([True, False, True])
    got = jitgrad.grad(choice_within_a_choice)(np.array([0.0, 0.0, 4.0]), outer, inner)
    np.testing.assert_array_equal(got, [0.0, 0.0, 0.25])


def one_array_for_two_names(x: np.ndarray, n: int) -> Any:
    a, b, c = x * 1.0, x * 2.0, x + 1.0
    for k in range(n):
        new = a + 0.5 * b + c * k
        a, b, c = c, c, new
    return a + 0.0, b * 2.0, c


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_one_array_for_two_names(n: int) -> None:
    """Two carried names get one array in each iteration."""
    for got, want in zip(jitgrad.jit(one_array_for_two_names)(X, n), one_array_for_two_names(X, n), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-14)
