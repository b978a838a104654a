"""Gauss-Seidel sweeps over a grid, element by element in place, differentiated by the initial state and the source."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import program_case

rng = np.random.default_rng(17)


def gauss_seidel(u0: np.ndarray, f: np.ndarray, sweeps: int) -> float:
    u = u0.copy()
    n, m = u.shape
    for _ in range(sweeps):
        for i in range(1, n - 1):
            for j in range(1, m - 1):
                u[i, j] = 0.25 * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1] + f[i, j])
    return float(np.sum(u * u))


def gauss_seidel_jax(u0: Any, f: Any, sweeps: int) -> Any:
    import jax
    import jax.numpy as jnp

    # Cells with the same i + j do not depend on each other: the grid is sheared, so that they are a row, and rows are
    # scanned over. Row d holds the cell (i, d - i) at i.
    n, m = u0.shape
    i = np.arange(n)
    d = np.arange(n + m - 1)[:, None]
    j = d - i
    inside = (i > 0) & (i < n - 1) & (j > 0) & (j < m - 1)
    j = np.clip(j, 0, m - 1)
    source = f[i, j]

    def diagonal(before: Any, row: Any) -> Any:
        here, after, b, mask = row
        up = jnp.concatenate([before[:1], before[:-1]])
        down = jnp.concatenate([after[1:], after[-1:]])
        new = jnp.where(mask, 0.25 * (up + down + before + after + b), here)
        return new, new

    def sweep(u: Any, _: Any) -> Any:
        _, new = jax.lax.scan(diagonal, u[0], (u[1:-1], u[2:], source[1:-1], inside[1:-1]))
        return jnp.concatenate([u[:1], new, u[-1:]]), None

    u, _ = jax.lax.scan(sweep, u0[i, j], None, length=sweeps)
    u = u[np.arange(n)[:, None] + np.arange(m), np.arange(n)[:, None]]
    return jnp.sum(u * u)


def gauss_seidel_jax_loops(u0: Any, f: Any, sweeps: int) -> Any:
    import jax
    import jax.numpy as jnp

    n, m = u0.shape

    def sweep(_: Any, u: Any) -> Any:
        def row(i: Any, u: Any) -> Any:
            def element(j: Any, u: Any) -> Any:
                return u.at[i, j].set(0.25 * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1] + f[i, j]))

            return jax.lax.fori_loop(1, m - 1, element, u)

        return jax.lax.fori_loop(1, n - 1, row, u)

    u = jax.lax.fori_loop(0, sweeps, sweep, u0)
    return jnp.sum(u * u)


def gauss_seidel_by_hand(u0: np.ndarray, f: np.ndarray, sweeps: int) -> tuple[np.ndarray, np.ndarray]:
    u = u0.copy()
    n, m = u.shape
    for _ in range(sweeps):
        for i in range(1, n - 1):
            for j in range(1, m - 1):
                u[i, j] = 0.25 * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1] + f[i, j])
    du, df = 2.0 * u, np.zeros((n, m))
    for _ in range(sweeps):
        for i in range(n - 2, 0, -1):
            for j in range(m - 2, 0, -1):
                w = 0.25 * du[i, j]
                du[i, j] = 0.0
                du[i - 1, j] += w
                du[i + 1, j] += w
                du[i, j - 1] += w
                du[i, j + 1] += w
                df[i, j] += w
    return du, df


def gauss_seidel_limit(u0: np.ndarray, f: np.ndarray, sweeps: int) -> tuple[np.ndarray, np.ndarray]:
    # Sheared as for JAX, so that the inner loop is a vector; twice as fast as rows with their chain of sums.
    n, m = u0.shape
    rows = n + m - 1
    u, source = np.zeros((rows, n)), np.zeros((rows, n))
    for i in range(n):
        for j in range(m):
            u[i + j, i] = u0[i, j]
            source[i + j, i] = 0.25 * f[i, j]
    for _ in range(sweeps):
        for d in range(2, rows - 2):
            low, high = max(1, d - (m - 2)), min(n - 1, d)
            x, before, after, b = (
                u[d, low:high],
                u[d - 1, low - 1 : high],
                u[d + 1, low : high + 1],
                source[d, low:high],
            )
            for i in range(high - low):
                x[i] = 0.25 * (before[i] + before[i + 1] + after[i] + after[i + 1]) + b[i]
    # w is a quarter of the adjoint of a cell as a sweep wrote it: again a Gauss-Seidel sweep, from the last cell to the
    # first. Nothing is kept; the source sees the sum over all sweeps, and so do the cells of the border.
    w, total = np.zeros((rows, n)), np.zeros((rows, n))
    for s in range(sweeps):
        for d in range(rows - 3, 1, -1):
            low, high = max(1, d - (m - 2)), min(n - 1, d)
            x, before, after, t = w[d, low:high], w[d - 1, low - 1 : high], w[d + 1, low : high + 1], total[d, low:high]
            if s == 0:
                final = u[d, low:high]
                for i in range(high - low):
                    v = 0.25 * (before[i] + before[i + 1] + after[i] + after[i + 1]) + 0.5 * final[i]
                    x[i] = v
                    t[i] = v
            else:
                for i in range(high - low):
                    v = 0.25 * (before[i] + before[i + 1] + after[i] + after[i + 1])
                    x[i] = v
                    t[i] += v
    du, df = np.empty((n, m)), np.empty((n, m))
    for i in range(n):
        for j in range(m):
            df[i, j] = total[i + j, i]
            if i == 0 or j == 0 or i == n - 1 or j == m - 1:
                du[i, j] = 2.0 * u[i + j, i]
            else:
                du[i, j] = w[i + j - 1, i - 1] + w[i + j - 1, i]
    for i in range(1, n - 1):
        du[i, 0] += df[i, 1]
        du[i, m - 1] += df[i, m - 2]
    for j in range(1, m - 1):
        du[0, j] += df[1, j]
        du[n - 1, j] += df[n - 2, j]
    return du, df


CASES = [
    program_case(
        "gauss_seidel_128x128x20",
        gauss_seidel,
        (rng.standard_normal((128, 128)), 0.1 * rng.standard_normal((128, 128)), 20),
        argnums=(0, 1),
        jax=gauss_seidel_jax,
        jax_loops=gauss_seidel_jax_loops,
        by_hand=gauss_seidel_by_hand,
        limit=gauss_seidel_limit,
    )
]
