"""Floyd-Warshall's shortest paths between 60 nodes: a triple loop, and an `np.minimum` of whole matrices a step.

The distance of a node to itself is zero, so that `np.minimum` has ties in row and column k; they share the cotangent.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import program_case

rng = np.random.default_rng(15)


def floyd_loops(cost: np.ndarray) -> float:
    n = len(cost)
    d = cost.copy()
    for k in range(n):
        for i in range(n):
            for j in range(n):
                s = d[i, k] + d[k, j]
                if s < d[i, j]:
                    d[i, j] = s
    return float(np.sum(d * d))


def floyd_rows(cost: np.ndarray) -> float:
    d = cost
    for k in range(len(cost)):
        d = np.minimum(d, d[:, k : k + 1] + d[k : k + 1, :])
    return float(np.sum(d * d))


def floyd_rows_autograd(anp: Any, cost: Any) -> Any:
    d = cost
    for k in range(len(cost)):
        d = anp.minimum(d, d[:, k : k + 1] + d[k : k + 1, :])
    return anp.sum(d * d)


def floyd_loops_jax(cost: Any) -> Any:
    import jax
    import jax.numpy as jnp

    def step(d: Any, k: Any) -> Any:
        s = d[:, k][:, None] + d[k][None, :]
        return jnp.where(s < d, s, d), None

    d, _ = jax.lax.scan(step, cost, jnp.arange(len(cost)))
    return jnp.sum(d * d)


def floyd_loops_jax_loops(cost: Any) -> Any:
    import jax
    import jax.numpy as jnp

    n = len(cost)

    def step(k: Any, d: Any) -> Any:
        def row(i: Any, d: Any) -> Any:
            def element(j: Any, d: Any) -> Any:
                s = d[i, k] + d[k, j]
                return d.at[i, j].set(jnp.where(s < d[i, j], s, d[i, j]))

            return jax.lax.fori_loop(0, n, element, d)

        return jax.lax.fori_loop(0, n, row, d)

    d = jax.lax.fori_loop(0, n, step, cost)
    return jnp.sum(d * d)


def floyd_rows_jax(cost: Any) -> Any:
    import jax
    import jax.numpy as jnp

    def step(d: Any, k: Any) -> Any:
        return jnp.minimum(d, d[:, k][:, None] + d[k][None, :]), None

    d, _ = jax.lax.scan(step, cost, jnp.arange(len(cost)))
    return jnp.sum(d * d)


def floyd_loops_by_hand(cost: np.ndarray) -> np.ndarray:
    # Kept: one byte for each comparison.
    n = len(cost)
    d = cost.copy()
    taken = np.empty((n, n, n), np.uint8)
    row = np.empty(n)
    for k in range(n):
        row[:] = d[k]
        for i in range(n):
            first = d[i, k]
            di, ti = d[i], taken[k, i]
            for j in range(n):
                s = first + row[j]
                ti[j] = s < di[j]
                di[j] = min(s, di[j])
    g = 2.0 * d
    for k in range(n - 1, -1, -1):
        row[:] = 0.0
        for i in range(n):
            gi, ti = g[i], taken[k, i]
            total = 0.0
            for j in range(n):
                moved = gi[j] if ti[j] else 0.0
                gi[j] -= moved
                row[j] += moved
                total += moved
            gi[k] += total
        for j in range(n):
            g[k, j] += row[j]
    return g


def floyd_rows_by_hand(cost: np.ndarray) -> np.ndarray:
    # Kept: for each comparison the part of the cotangent that goes to the sum, in halves.
    n = len(cost)
    d = cost.copy()
    taken = np.empty((n, n, n), np.uint8)
    row = np.empty(n)
    col = np.empty(n)
    for k in range(n):
        row[:] = d[k]
        for i in range(n):
            first = d[i, k]
            di, ti = d[i], taken[k, i]
            for j in range(n):
                s = first + row[j]
                ti[j] = np.uint8(s < di[j]) + np.uint8(s <= di[j])
                di[j] = min(s, di[j])
    g = 2.0 * d
    for k in range(n - 1, -1, -1):
        row[:] = 0.0
        for i in range(n):
            gi, ti = g[i], taken[k, i]
            total = 0.0
            for j in range(n):
                moved = gi[j] * (0.5 * ti[j])
                gi[j] -= moved
                row[j] += moved
                total += moved
            col[i] = total
        for j in range(n):
            g[j, k] += col[j]
        for j in range(n):
            g[k, j] += row[j]
    return g


def network(n: int) -> np.ndarray:
    """Return random costs, zero on the diagonal."""
    cost = rng.uniform(0.1, 10.0, (n, n)) ** 2
    np.fill_diagonal(cost, 0.0)
    return cost


COST = network(60)

CASES = [
    program_case(
        "floyd_loops_60",
        floyd_loops,
        (COST,),
        jax=floyd_loops_jax,
        jax_loops=floyd_loops_jax_loops,
        by_hand=floyd_loops_by_hand,
    ),
    program_case(
        "floyd_rows_60",
        floyd_rows,
        (COST,),
        jax=floyd_rows_jax,
        autograd=floyd_rows_autograd,
        by_hand=floyd_rows_by_hand,
    ),
]
