"""Cholesky factorisation in place, with products of slices and element by element: the logarithm of a determinant."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import program_case

rng = np.random.default_rng(12)


def by_slices(a: np.ndarray) -> float:
    a = a.copy()
    for j in range(len(a)):
        a[j, j] = np.sqrt(a[j, j] - a[j, :j] @ a[j, :j])
        for i in range(j + 1, len(a)):
            a[i, j] = (a[i, j] - a[i, :j] @ a[j, :j]) / a[j, j]
    return float(2.0 * np.log(np.diag(a)).sum())


def by_elements(a: np.ndarray) -> float:
    a = a.copy()
    n = len(a)
    for j in range(n):
        for k in range(j):
            a[j, j] -= a[j, k] * a[j, k]
        a[j, j] = np.sqrt(a[j, j])
        for i in range(j + 1, n):
            for k in range(j):
                a[i, j] -= a[i, k] * a[j, k]
            a[i, j] /= a[j, j]
    return float(2.0 * np.log(np.diag(a)).sum())


def cholesky_jax(a: Any) -> Any:
    import jax
    import jax.numpy as jnp

    n = len(a)
    rows = jnp.arange(n)

    def column(factor: Any, given: Any) -> Any:
        # Columns from j on are still zero, so that whole rows may be multiplied.
        j, a_j = given
        c = a_j - factor @ factor[j]
        factor = factor.at[:, j].set(jnp.where(rows >= j, c / jnp.sqrt(c[j]), 0.0))
        return factor, None

    factor, _ = jax.lax.scan(column, jnp.zeros_like(a), (rows, a.T))
    return 2.0 * jnp.sum(jnp.log(jnp.diag(factor)))


def cholesky_jax_loops(a: Any) -> Any:
    import jax
    import jax.numpy as jnp

    n = len(a)

    def column(j: Any, a: Any) -> Any:
        # A reverse pass needs loops of known lengths.
        def dot(i: Any, a: Any) -> Any:
            return jax.lax.fori_loop(0, n, lambda k, s: jnp.where(k < j, s - a[i, k] * a[j, k], s), a[i, j])

        def row(i: Any, a: Any) -> Any:
            return a.at[i, j].set(jnp.where(i > j, dot(i, a) / a[j, j], a[i, j]))

        a = a.at[j, j].set(jnp.sqrt(dot(j, a)))
        return jax.lax.fori_loop(0, n, row, a)

    a = jax.lax.fori_loop(0, n, column, a)
    return 2.0 * jnp.sum(jnp.log(jnp.diag(a)))


def cholesky_by_hand(a: np.ndarray) -> np.ndarray:
    n = len(a)
    f = a.copy()
    for j in range(n):
        for k in range(j):
            f[j, j] -= f[j, k] * f[j, k]
        f[j, j] = np.sqrt(f[j, j])
        for i in range(j + 1, n):
            s = f[i, j]
            for k in range(j):
                s -= f[i, k] * f[j, k]
            f[i, j] = s / f[j, j]
    g = np.zeros((n, n))
    for j in range(n):
        g[j, j] = 2.0 / f[j, j]
    for j in range(n - 1, -1, -1):
        for i in range(n - 1, j, -1):
            t = g[i, j] / f[j, j]
            g[i, j] = t
            g[j, j] -= t * f[i, j]
            for k in range(j):
                g[i, k] -= t * f[j, k]
                g[j, k] -= t * f[i, k]
        t = 0.5 * g[j, j] / f[j, j]
        g[j, j] = t
        for k in range(j):
            g[j, k] -= 2.0 * t * f[j, k]
    return g


def cholesky_limit(a: np.ndarray) -> np.ndarray:
    n = len(a)
    f = a.copy()
    for j in range(n):
        row = f[j]
        s = 0.0
        for k in range(j):
            s += row[k] * row[k]
        row[j] = np.sqrt(row[j] - s)
        inverse = 1.0 / row[j]
        i = j + 1
        while i + 4 <= n:  # four rows share the loads of row j
            r0, r1, r2, r3 = f[i], f[i + 1], f[i + 2], f[i + 3]
            s0 = s1 = s2 = s3 = 0.0
            for k in range(j):
                v = row[k]
                s0 += r0[k] * v
                s1 += r1[k] * v
                s2 += r2[k] * v
                s3 += r3[k] * v
            r0[j] = (r0[j] - s0) * inverse
            r1[j] = (r1[j] - s1) * inverse
            r2[j] = (r2[j] - s2) * inverse
            r3[j] = (r3[j] - s3) * inverse
            i += 4
        for rest in range(i, n):
            s = 0.0
            for k in range(j):
                s += f[rest, k] * row[k]
            f[rest, j] = (f[rest, j] - s) * inverse
    # An adjoint of a factor's element sums products of factors with the gradient g found so far. With g symmetric and
    # its diagonal doubled, column j is -g[j + 1 :, j + 1 :] @ f[j + 1 :, j] / f[j, j]; nothing else is read.
    g = np.empty((n, n))
    u = np.empty(n)
    t = np.empty(n)
    for j in range(n - 1, -1, -1):
        inverse = 1.0 / f[j, j]
        m = n - j - 1
        c = f[j + 1 :, j]
        for k in range(m):
            u[k] = c[k]
        i = 0
        while i + 4 <= m:
            r0, r1 = g[j + 1 + i, j + 1 :], g[j + 2 + i, j + 1 :]
            r2, r3 = g[j + 3 + i, j + 1 :], g[j + 4 + i, j + 1 :]
            s0 = s1 = s2 = s3 = 0.0
            for k in range(m):
                v = u[k]
                s0 += r0[k] * v
                s1 += r1[k] * v
                s2 += r2[k] * v
                s3 += r3[k] * v
            t[i] = -s0 * inverse
            t[i + 1] = -s1 * inverse
            t[i + 2] = -s2 * inverse
            t[i + 3] = -s3 * inverse
            i += 4
        for rest in range(i, m):
            row = g[j + 1 + rest, j + 1 :]
            s = 0.0
            for k in range(m):
                s += row[k] * u[k]
            t[rest] = -s * inverse
        d = 2.0 * inverse  # of the logarithm
        row = g[j, j + 1 :]
        column = g[j + 1 :, j]
        for i in range(m):
            row[i] = t[i]
            column[i] = t[i]
            d -= t[i] * u[i]
        g[j, j] = d * inverse
    for j in range(n):
        g[j, j] *= 0.5
        g[j, j + 1 :] = 0.0
    return g


n = 100
square = rng.standard_normal((n, n))
matrix = square @ square.T / n + np.eye(n)

CASES = [
    program_case(
        f"cholesky_{name}_{n}",
        function,
        (matrix,),
        jax=cholesky_jax,
        jax_loops=loops,
        by_hand=cholesky_by_hand,
        limit=cholesky_limit,
    )
    for name, function, loops in (("slices", by_slices, None), ("elements", by_elements, cholesky_jax_loops))
]
