"""Tridiagonal systems by Thomas's algorithm: many at once along either axis, and a long one element by element."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import program_case

rng = np.random.default_rng(16)


def thomas(lower: np.ndarray, diagonal: np.ndarray, upper: np.ndarray, rhs: np.ndarray) -> float:
    n = len(rhs)
    c = np.zeros_like(upper)
    x = np.zeros_like(rhs)
    c[0] = upper[0] / diagonal[0]
    x[0] = rhs[0] / diagonal[0]
    for i in range(1, n):
        pivot = diagonal[i] - lower[i] * c[i - 1]
        c[i] = upper[i] / pivot
        x[i] = (rhs[i] - lower[i] * x[i - 1]) / pivot
    for i in range(n - 2, -1, -1):
        x[i] -= c[i] * x[i + 1]
    return float(np.sum(x * x))


def thomas_last(lower: np.ndarray, diagonal: np.ndarray, upper: np.ndarray, rhs: np.ndarray) -> float:
    n = rhs.shape[1]
    c = np.zeros_like(upper)
    x = np.zeros_like(rhs)
    c[:, 0] = upper[:, 0] / diagonal[:, 0]
    x[:, 0] = rhs[:, 0] / diagonal[:, 0]
    for i in range(1, n):
        pivot = diagonal[:, i] - lower[:, i] * c[:, i - 1]
        c[:, i] = upper[:, i] / pivot
        x[:, i] = (rhs[:, i] - lower[:, i] * x[:, i - 1]) / pivot
    for i in range(n - 2, -1, -1):
        x[:, i] -= c[:, i] * x[:, i + 1]
    return float(np.sum(x * x))


def thomas_jax(lower: Any, diagonal: Any, upper: Any, rhs: Any) -> Any:
    import jax
    import jax.numpy as jnp

    def eliminate(before: Any, row: Any) -> Any:
        c, x = before
        below, middle, above, b = row
        pivot = middle - below * c
        now = above / pivot, (b - below * x) / pivot
        return now, now

    def substitute(after: Any, row: Any) -> Any:
        c, x = row
        x = x - c * after
        return x, x

    zero = jnp.zeros_like(rhs[0])
    _, rows = jax.lax.scan(eliminate, (zero, zero), (lower, diagonal, upper, rhs))
    _, x = jax.lax.scan(substitute, zero, rows, reverse=True)
    return jnp.sum(x * x)


def thomas_last_jax(lower: Any, diagonal: Any, upper: Any, rhs: Any) -> Any:
    return thomas_jax(lower.T, diagonal.T, upper.T, rhs.T)


# By hand: the adjoint z solves the transposed systems with the same factors; the matrix's gradient is minus the product
# of z and x at its elements. Only the reciprocal pivots are kept besides c and x.


def many_by_hand(
    lower: np.ndarray, diagonal: np.ndarray, upper: np.ndarray, rhs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    n, m = rhs.shape
    c, p, x, z = np.empty((n, m)), np.empty((n, m)), np.empty((n, m)), np.empty((n, m))
    for j in range(m):
        t = 1.0 / diagonal[0, j]
        p[0, j] = t
        c[0, j] = upper[0, j] * t
        x[0, j] = rhs[0, j] * t
    for i in range(1, n):
        for j in range(m):
            below = lower[i, j]
            t = 1.0 / (diagonal[i, j] - below * c[i - 1, j])
            p[i, j] = t
            c[i, j] = upper[i, j] * t
            x[i, j] = (rhs[i, j] - below * x[i - 1, j]) * t
    for i in range(n - 2, -1, -1):
        for j in range(m):
            x[i, j] -= c[i, j] * x[i + 1, j]
    for j in range(m):
        z[0, j] = 2.0 * x[0, j]
    for i in range(1, n):
        for j in range(m):
            z[i, j] = 2.0 * x[i, j] - c[i - 1, j] * z[i - 1, j]
    dl, dd, du = np.empty((n, m)), np.empty((n, m)), np.empty((n, m))
    for j in range(m):
        t = z[n - 1, j] * p[n - 1, j]
        z[n - 1, j] = t
        dd[n - 1, j] = -t * x[n - 1, j]
        dl[n - 1, j] = -t * x[n - 2, j]
        du[n - 1, j] = 0.0
    for i in range(n - 2, -1, -1):
        before = x[max(i - 1, 0)]
        for j in range(m):
            t = (z[i, j] - lower[i + 1, j] * z[i + 1, j]) * p[i, j]
            z[i, j] = t
            dd[i, j] = -t * x[i, j]
            du[i, j] = -t * x[i + 1, j]
        for j in range(m):
            dl[i, j] = -z[i, j] * before[j]
    dl[0] = 0.0
    return dl, dd, du, z


def last_by_hand(
    lower: np.ndarray, diagonal: np.ndarray, upper: np.ndarray, rhs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    m, n = rhs.shape
    width = 16  # systems at a time, transposed into a block that stays in the cache
    shape = (n, width)
    low, c, p, x, z = np.empty(shape), np.zeros(shape), np.ones(shape), np.empty(shape), np.empty(shape)
    dl, dd, du, db = np.empty((m, n)), np.empty((m, n)), np.empty((m, n)), np.empty((m, n))
    for first in range(0, m, width):
        count = min(width, m - first)
        for j in range(count):
            for i in range(n):
                low[i, j] = lower[first + j, i]
                p[i, j] = diagonal[first + j, i]
                c[i, j] = upper[first + j, i]
                x[i, j] = rhs[first + j, i]
        for j in range(width):
            p[0, j] = 1.0 / p[0, j]
            c[0, j] *= p[0, j]
            x[0, j] *= p[0, j]
        for i in range(1, n):
            for j in range(width):
                below = low[i, j]
                t = 1.0 / (p[i, j] - below * c[i - 1, j])
                p[i, j] = t
                c[i, j] *= t
                x[i, j] = (x[i, j] - below * x[i - 1, j]) * t
        for i in range(n - 2, -1, -1):
            for j in range(width):
                x[i, j] -= c[i, j] * x[i + 1, j]
        for j in range(width):
            z[0, j] = 2.0 * x[0, j]
        for i in range(1, n):
            for j in range(width):
                z[i, j] = 2.0 * x[i, j] - c[i - 1, j] * z[i - 1, j]
        for j in range(width):
            z[n - 1, j] *= p[n - 1, j]
        for i in range(n - 2, -1, -1):
            for j in range(width):
                z[i, j] = (z[i, j] - low[i + 1, j] * z[i + 1, j]) * p[i, j]
        for j in range(count):
            row_l, row_d, row_u, row_b = dl[first + j], dd[first + j], du[first + j], db[first + j]
            row_l[0] = row_u[n - 1] = 0.0
            for i in range(n):
                row_b[i] = z[i, j]
                row_d[i] = -z[i, j] * x[i, j]
            for i in range(n - 1):
                row_l[i + 1] = -row_b[i + 1] * x[i, j]
                row_u[i] = -row_b[i] * x[i + 1, j]
    return dl, dd, du, db


def one_by_hand(
    lower: np.ndarray, diagonal: np.ndarray, upper: np.ndarray, rhs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    n = len(rhs)
    c, p, x, z = np.empty(n), np.empty(n), np.empty(n), np.empty(n)
    t = 1.0 / diagonal[0]
    p[0] = t
    c[0] = a = upper[0] * t
    x[0] = b = rhs[0] * t
    for i in range(1, n):
        t = 1.0 / (diagonal[i] - lower[i] * a)
        a = upper[i] * t
        b = (rhs[i] - lower[i] * b) * t
        p[i] = t
        c[i] = a
        x[i] = b
    for i in range(n - 2, -1, -1):
        b = x[i] - c[i] * b
        x[i] = b
    b = 2.0 * x[0]
    z[0] = b
    for i in range(1, n):
        b = 2.0 * x[i] - c[i - 1] * b
        z[i] = b
    t = below = 0.0
    for i in range(n - 1, -1, -1):
        t = (z[i] - below * t) * p[i]
        below = lower[i]
        z[i] = t
    dl, dd, du = np.empty(n), np.empty(n), np.empty(n)
    for i in range(n):
        dd[i] = -z[i] * x[i]
    for i in range(n - 1):
        dl[i + 1] = -z[i + 1] * x[i]
        du[i] = -z[i] * x[i + 1]
    dl[0] = du[n - 1] = 0.0
    return dl, dd, du, z


def _system(*shape: int) -> tuple[np.ndarray, ...]:
    return -rng.random(shape), 2.5 + rng.random(shape), -rng.random(shape), rng.standard_normal(shape)


CASES = [
    program_case(title, program, system, argnums=(0, 1, 2, 3), jax=jax, by_hand=by_hand)
    for title, program, system, jax, by_hand in (
        ("thomas_256_of_128", thomas, _system(128, 256), thomas_jax, many_by_hand),
        ("thomas_last_256_of_128", thomas_last, _system(256, 128), thomas_last_jax, last_by_hand),
        ("thomas_10000", thomas, _system(10_000), thomas_jax, one_by_hand),
    )
]
