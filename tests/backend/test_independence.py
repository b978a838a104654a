"""Loops whose iterations do not meet in memory: which are known to be, and that they compute the same.

Those of known lengths work on rows (`passes/rows.py`) before the backend sees them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad

A = np.linspace(-1.0, 2.0, 108).reshape(9, 12) % 0.7


def rows(a: np.ndarray) -> np.ndarray:
    d = a.copy()
    for k in range(len(d)):
        for i in range(len(d)):
            for j in range(i + 3):
                d[i, j] = min(d[i, j], 0.5 + d[k, j])
    return d


def backwards(a: np.ndarray) -> np.ndarray:
    d = a.copy()
    for i in range(len(d)):
        for j in range(i + 3):
            d[0, d.shape[1] - 1 - j] += 2.0 * d[i, d.shape[1] - 1 - j]
    return d


def reversed_row(a: np.ndarray) -> np.ndarray:
    d = a.copy()
    for i in range(len(d)):
        for j in range(d.shape[1]):
            d[i, j] = d[i, j] + 2.0 * d[i, d.shape[1] - 1 - j]
    return d


def halves(a: np.ndarray) -> np.ndarray:
    d = a.copy()
    for i in range(len(d)):
        for j in range(6):
            d[i, j] = d[i, j] + 2.0 * d[i, 6 + j]
    return d


def overlapping(a: np.ndarray) -> np.ndarray:
    d = a.copy()
    for i in range(len(d)):
        for j in range(7):
            d[i, j + 5] = d[i, j + 5] + 2.0 * d[i, j]
    return d


def neighbour(a: np.ndarray) -> np.ndarray:
    d = a.copy()
    for i in range(1, len(d)):
        for j in range(d.shape[1] - 1):
            d[i, j] = d[i - 1, j + 1] + d[i, j + 1]
    return d


def diagonal(a: np.ndarray) -> np.ndarray:
    d = a.copy()
    for i in range(len(d)):
        for j in range(9):
            d[j, j] += 3.0 * d[i, j]
    return d


def points(a: np.ndarray) -> np.ndarray:
    d = a.reshape(36, 3).copy()
    for k in range(4):
        for i in range(9 * k):
            d[i, 1] = 2.0 * d[i, 1] + d[i, 0]
            d[i, 2] = 3.0 - d[i, 2]
    return d.reshape(9, 12)


def twice(a: np.ndarray) -> np.ndarray:
    d = a.reshape(36, 3).copy()
    for i in range(len(d)):
        d[i, 0] = 2.0 * d[i, 2]
        d[i, 2] = d[i, 1]
        d[i, 1] = d[i, 2] + d[i, 0]
        d[i, 2] = d[i, 0] * a[0, 0]
    return d.reshape(9, 12)


def places(a: np.ndarray) -> np.ndarray:
    d = np.zeros(12)
    k = (np.abs(a) * 17.0).astype(np.int64)
    for i in range(len(a)):
        for j in range(a.shape[1]):
            d[k[i, j]] = a[i, j]
    return d


def branch(a: np.ndarray) -> np.ndarray:
    d = a.copy()
    for i in range(len(d)):
        for j in range(d.shape[1]):
            if d[i, j] > 0.0:
                d[i, j] = np.sqrt(a[i, 11 - j] * a[i, 11 - j])
    return d


@pytest.mark.parametrize(
    ("function", "known"),
    [
        (rows, True),
        (backwards, True),
        (halves, True),
        (points, True),
        (reversed_row, False),
        (overlapping, False),
        (neighbour, False),
        (diagonal, False),
        (places, False),
    ],
)
def test_iterations_that_keep_to_their_elements_are_known(
    function: Callable[[np.ndarray], np.ndarray], known: bool
) -> None:
    compiled: Any = jitgrad.jit(function)
    np.testing.assert_array_equal(compiled(A), function(A))
    assert ("llvm.loop.parallel_accesses" in compiled.llvm(A)) == known


@pytest.mark.parametrize(
    "function",
    [rows, backwards, halves, points, twice, reversed_row, overlapping, neighbour, diagonal, branch],
)
def test_gradients_are_those_of_the_program(function: Callable[[np.ndarray], np.ndarray]) -> None:
    weights = np.cos(np.arange(108.0)).reshape(9, 12)

    def total(a: np.ndarray) -> float:
        return float(np.sum(weights * function(a)))

    direction = np.sin(np.arange(108.0)).reshape(9, 12)
    step = 1e-6
    slope = (total(A + step * direction) - total(A - step * direction)) / (2 * step)
    np.testing.assert_allclose(np.sum(jitgrad.grad(total)(A) * direction), slope, rtol=1e-5)


def test_rows_that_are_one_row_are_worked_on_element_by_element() -> None:
    """The row that is read may be the one that is written: the same element in the same iteration, and no other."""
    costs = np.random.default_rng(1).normal(size=(13, 13))

    def shortest(d: np.ndarray) -> np.ndarray:
        d = d.copy()
        for k in range(len(d)):
            for i in range(len(d)):
                for j in range(len(d)):
                    s = d[i, k] + d[k, j]
                    if s < d[i, j]:
                        d[i, j] = s
        return d

    # Negative costs: the element that a row is read with changes on the way.
    np.testing.assert_array_equal(jitgrad.jit(shortest)(costs), shortest(costs))


def test_trip_counts_that_are_small_at_run_time() -> None:
    def triangle(a: np.ndarray) -> np.ndarray:
        d = a.copy()
        for i in range(len(d)):
            for j in range(i):
                d[i, j] = 2.0 * d[i, j] + d[j, i]
        return d

    square = A[:, :9]
    np.testing.assert_array_equal(jitgrad.jit(triangle)(square), triangle(square))
