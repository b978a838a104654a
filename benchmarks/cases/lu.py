"""LU factorisation in place without pivoting, a rank-one update a column: the logarithm of a determinant."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import program_case

rng = np.random.default_rng(13)


def log_det(a: np.ndarray) -> float:
    a = a.copy()
    for k in range(len(a) - 1):
        a[k + 1 :, k] /= a[k, k]
        a[k + 1 :, k + 1 :] -= np.outer(a[k + 1 :, k], a[k, k + 1 :])
    return float(np.sum(np.log(np.abs(np.diag(a)))))


def log_det_jax(a: Any) -> Any:
    import jax
    import jax.numpy as jnp

    rows = jnp.arange(len(a))

    def column(k: Any, a: Any) -> Any:
        below = jnp.where(rows > k, a[:, k] / a[k, k], 0.0)
        a = a - jnp.outer(below, jnp.where(rows > k, a[k], 0.0))
        return a.at[:, k].set(jnp.where(rows > k, below, a[:, k]))

    a = jax.lax.fori_loop(0, len(a) - 1, column, a)
    return jnp.sum(jnp.log(jnp.abs(jnp.diag(a))))


def log_det_by_hand(a: np.ndarray) -> np.ndarray:
    n = len(a)
    f = a.copy()
    for k in range(n - 1):
        for i in range(k + 1, n):
            t = f[i, k] / f[k, k]
            f[i, k] = t
            for j in range(k + 1, n):
                f[i, j] -= t * f[k, j]
    g = np.zeros((n, n))
    for k in range(n):
        g[k, k] = 1.0 / f[k, k]
    # No tape: the operands of a rank-one update are the factors themselves.
    for k in range(n - 2, -1, -1):
        for i in range(k + 1, n):
            t = f[i, k]
            s = g[i, k]
            for j in range(k + 1, n):
                s -= g[i, j] * f[k, j]
                g[k, j] -= t * g[i, j]
            s /= f[k, k]
            g[i, k] = s
            g[k, k] -= s * t
    return g


def log_det_limit(a: np.ndarray) -> np.ndarray:
    n = len(a)
    f = a.copy()
    v = np.empty((4, n))
    k = 0
    while k + 4 <= n:  # four columns at once: the rest of the matrix is loaded and stored once for four updates
        for p in range(k, k + 3):
            inverse = 1.0 / f[p, p]
            u = f[p, p + 1 :]
            for i in range(p + 1, k + 4):
                t = f[i, p] * inverse
                f[i, p] = t
                row = f[i, p + 1 :]
                for j in range(len(u)):
                    row[j] -= t * u[j]
        p0, p1, p2, p3 = 1.0 / f[k, k], 1.0 / f[k + 1, k + 1], 1.0 / f[k + 2, k + 2], 1.0 / f[k + 3, k + 3]
        c01, c02, c03 = f[k, k + 1], f[k, k + 2], f[k, k + 3]
        c12, c13, c23 = f[k + 1, k + 2], f[k + 1, k + 3], f[k + 2, k + 3]
        m = n - k - 4
        v[:, :m] = f[k : k + 4, k + 4 :]
        v0, v1, v2, v3 = v[0], v[1], v[2], v[3]
        for i in range(k + 4, n):
            row = f[i, k:]
            t0 = row[0] * p0
            t1 = (row[1] - t0 * c01) * p1
            t2 = (row[2] - t0 * c02 - t1 * c12) * p2
            t3 = (row[3] - t0 * c03 - t1 * c13 - t2 * c23) * p3
            row[0], row[1], row[2], row[3] = t0, t1, t2, t3
            row = f[i, k + 4 :]
            for j in range(m):
                row[j] -= t0 * v0[j] + t1 * v1[j] + t2 * v2[j] + t3 * v3[j]
        k += 4
    for p in range(k, n - 1):
        inverse = 1.0 / f[p, p]
        for i in range(p + 1, n):
            f[i, p] *= inverse
            for j in range(p + 1, n):
                f[i, j] -= f[i, p] * f[p, j]
    # No tape: the operands of a rank-one update are the factors themselves.
    g = np.zeros((n, n))
    g[n - 1, n - 1] = 1.0 / f[n - 1, n - 1]
    du = np.empty(n)
    for k in range(n - 2, -1, -1):
        m = n - k - 1
        u = f[k, k + 1 :]
        top = g[k, k + 1 :]
        inverse = 1.0 / f[k, k]
        d = inverse
        for j in range(m):
            du[j] = top[j]
        i = k + 1
        while i + 4 <= n:  # four rows share the loads of u and du
            r0, r1, r2, r3 = g[i, k + 1 :], g[i + 1, k + 1 :], g[i + 2, k + 1 :], g[i + 3, k + 1 :]
            t0, t1, t2, t3 = f[i, k], f[i + 1, k], f[i + 2, k], f[i + 3, k]
            s0 = s1 = s2 = s3 = 0.0
            for j in range(m):
                x = u[j]
                a0, a1, a2, a3 = r0[j], r1[j], r2[j], r3[j]
                s0 += a0 * x
                s1 += a1 * x
                s2 += a2 * x
                s3 += a3 * x
                du[j] -= t0 * a0 + t1 * a1 + t2 * a2 + t3 * a3
            g[i, k] = (g[i, k] - s0) * inverse
            g[i + 1, k] = (g[i + 1, k] - s1) * inverse
            g[i + 2, k] = (g[i + 2, k] - s2) * inverse
            g[i + 3, k] = (g[i + 3, k] - s3) * inverse
            i += 4
        for rest in range(i, n):
            row = g[rest, k + 1 :]
            t = f[rest, k]
            s = 0.0
            for j in range(m):
                s += row[j] * u[j]
                du[j] -= t * row[j]
            g[rest, k] = (g[rest, k] - s) * inverse
        for i in range(k + 1, n):
            d -= g[i, k] * f[i, k]
        for j in range(m):
            top[j] = du[j]
        g[k, k] = d
    return g


n = 100
matrix = rng.standard_normal((n, n)) / n + np.diag(1.0 + rng.random(n))

CASES = [
    program_case(f"lu_rank_one_{n}", log_det, (matrix,), jax=log_det_jax, by_hand=log_det_by_hand, limit=log_det_limit)
]
