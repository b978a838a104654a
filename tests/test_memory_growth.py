"""What gradients of loops keep: bytes at the peak of a call, as `tracemalloc` counts them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np

import jitgrad


def peak(call: Callable[[], Any]) -> int:
    """Return the most bytes that a call holds at one time, after one that compiles."""
    call()
    tracemalloc.start(1)
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def log_det(a: np.ndarray) -> Any:
    a = a.copy()
    for j in range(len(a)):
        a[j, j] = np.sqrt(a[j, j] - a[j, :j] @ a[j, :j])
        for i in range(j + 1, len(a)):
            a[i, j] = (a[i, j] - a[i, :j] @ a[j, :j]) / a[j, j]
    return 2.0 * np.log(np.diag(a)).sum()


def log_det_by_elements(a: np.ndarray) -> Any:
    a = a.copy()
    for j in range(len(a)):
        for k in range(j):
            a[j, j] -= a[j, k] * a[j, k]
        a[j, j] = np.sqrt(a[j, j])
        for i in range(j + 1, len(a)):
            for k in range(j):
                a[i, j] -= a[i, k] * a[j, k]
            a[i, j] /= a[j, j]
    return 2.0 * np.log(np.diag(a)).sum()


def heat(u: np.ndarray, steps: int) -> Any:
    u = u.copy()
    for _ in range(steps):
        u[1:-1] = u[1:-1] + 0.2 * (u[2:] - 2.0 * u[1:-1] + u[:-2])
    return np.sum(u * u)


def sweeps(u: np.ndarray, steps: int) -> Any:
    u = u.copy()
    for _ in range(steps):
        for i in range(1, len(u) - 1):
            u[i] = 0.25 * (u[i - 1] + 2.0 * u[i] + u[i + 1])
    return np.sum(u * u)


def test_cholesky_keeps_a_few_matrices() -> None:
    for f in (log_det, log_det_by_elements):
        for n in (100, 200, 400):
            g = jitgrad.grad(f)
            a = np.eye(n) * 2.0 + np.full((n, n), 1.0 / n)
            # The factor, the gradient and what is made on the way: no tape of n^3 / 6 numbers, nor of n^2 more.
            assert peak(lambda g=g, a=a: g(a)) < 5 * 8 * n * n + 50_000


def test_linear_time_loops_keep_nothing_a_step() -> None:
    for f in (heat, sweeps):
        g = jitgrad.grad(f)
        u = np.linspace(0.0, 1.0, 500)
        bytes = [peak(lambda g=g, u=u, n=n: g(u, n)) for n in (10, 100, 5_000)]
        assert max(bytes) < 20 * u.nbytes
        assert max(bytes) - min(bytes) < u.nbytes
