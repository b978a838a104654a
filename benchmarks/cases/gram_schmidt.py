"""Modified Gram-Schmidt by columns, in place: a weighted sum of the orthonormal columns."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import program_case

rng = np.random.default_rng(14)


def orthonormal(a: np.ndarray, w: np.ndarray) -> float:
    q = a.copy()
    n = q.shape[1]
    r = np.zeros((n, n))
    for j in range(n):
        r[j, j] = np.sqrt(q[:, j] @ q[:, j])
        q[:, j] /= r[j, j]
        for k in range(j + 1, n):
            r[j, k] = q[:, j] @ q[:, k]
            q[:, k] -= r[j, k] * q[:, j]
    return float(np.sum(w * q))


def orthonormal_jax(a: Any, w: Any) -> Any:
    import jax
    import jax.numpy as jnp

    columns = jnp.arange(a.shape[1])

    def column(j: Any, q: Any) -> Any:
        # All columns to the right at once; those to the left keep what they are.
        q_j = q[:, j] / jnp.sqrt(q[:, j] @ q[:, j])
        r = jnp.where(columns > j, q_j @ q, 0.0)
        return (q - jnp.outer(q_j, r)).at[:, j].set(q_j)

    return jnp.sum(w * jax.lax.fori_loop(0, a.shape[1], column, a))


def orthonormal_by_hand(a: np.ndarray, w: np.ndarray) -> np.ndarray:
    m, n = a.shape
    v = np.empty((n, m))  # columns as rows
    g = np.empty((n, m))
    for i in range(m):
        for j in range(n):
            v[j, i] = a[i, j]
            g[j, i] = w[i, j]
    r = np.empty((n, n))
    for j in range(n):
        q = v[j]
        s = 0.0
        for i in range(m):
            s += q[i] * q[i]
        s = np.sqrt(s)
        r[j, j] = s
        s = 1.0 / s
        for i in range(m):
            q[i] *= s
        for k in range(j + 1, n):
            x = v[k]
            s = 0.0
            for i in range(m):
                s += q[i] * x[i]
            for i in range(m):
                x[i] -= s * q[i]
            r[j, k] = s
    # No tape: a column is brought back by adding what was subtracted from it. What flows to q along q itself is dropped
    # by the normalisation, so that the column may be used before it is brought back.
    for j in range(n - 1, -1, -1):
        q, dq = v[j], g[j]
        for k in range(j + 1, n):
            x, dx = v[k], g[k]
            s = 0.0
            for i in range(m):
                s += dx[i] * q[i]
            t = r[j, k]
            for i in range(m):
                dq[i] -= s * x[i] + t * dx[i]
                x[i] += t * q[i]
                dx[i] -= s * q[i]
        s = 0.0
        for i in range(m):
            s += dq[i] * q[i]
        t = 1.0 / r[j, j]
        for i in range(m):
            dq[i] = (dq[i] - s * q[i]) * t
            q[i] *= r[j, j]
    return g.T.copy()


CASES = [
    program_case(
        "gram_schmidt_100x60",
        orthonormal,
        (rng.standard_normal((100, 60)), rng.standard_normal((100, 60))),
        jax=orthonormal_jax,
        by_hand=orthonormal_by_hand,
    )
]
