"""Forward substitution, with a product of slices a row and element by element, differentiated by matrix and vector."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import program_case

rng = np.random.default_rng(11)


def by_slices(L: np.ndarray, b: np.ndarray) -> float:
    n = len(b)
    x = np.zeros(n)
    for i in range(n):
        x[i] = (b[i] - L[i, :i] @ x[:i]) / L[i, i]
    return float(np.sum(x * x))


def by_elements(L: np.ndarray, b: np.ndarray) -> float:
    n = len(b)
    x = np.zeros(n)
    for i in range(n):
        s = b[i]
        for j in range(i):
            s -= L[i, j] * x[j]
        x[i] = s / L[i, i]
    return float(np.sum(x * x))


def solve_jax(L: Any, b: Any) -> Any:
    import jax
    import jax.numpy as jnp

    def row(x: Any, given: Any) -> Any:
        # Rows are scanned over, so that the gradient of L is written once; x is zero from i on.
        i, row_i, b_i = given
        return x.at[i].set((b_i - row_i @ x) / row_i[i]), None

    x, _ = jax.lax.scan(row, jnp.zeros_like(b), (jnp.arange(len(b)), L, b))
    return jnp.sum(x * x)


def solve_jax_loops(L: Any, b: Any) -> Any:
    import jax
    import jax.numpy as jnp

    n = len(b)

    def row(i: Any, x: Any) -> Any:
        # A reverse pass needs loops of known lengths.
        s = jax.lax.fori_loop(0, n, lambda j, s: jnp.where(j < i, s - L[i, j] * x[j], s), b[i])
        return x.at[i].set(s / L[i, i])

    x = jax.lax.fori_loop(0, n, row, jnp.zeros_like(b))
    return jnp.sum(x * x)


def solve_by_hand(L: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    n = len(b)
    x = np.empty(n)
    for i in range(n):
        s = 0.0
        for j in range(i):
            s += L[i, j] * x[j]
        x[i] = (b[i] - s) / L[i, i]
    # The transposed system backwards, by rows of L; each row of its gradient is written when its multiplier is known.
    g = 2.0 * x
    dL = np.empty((n, n))
    for i in range(n - 1, -1, -1):
        g[i] /= L[i, i]
        t = g[i]
        for j in range(i):
            g[j] -= t * L[i, j]
            dL[i, j] = -t * x[j]
        dL[i, i] = -t * x[i]
        dL[i, i + 1 :] = 0.0
    return dL, g


n = 300
matrix = np.tril(rng.standard_normal((n, n)) / n) + np.diag(1.0 + rng.random(n))
vector = rng.standard_normal(n)

CASES = [
    program_case(
        f"trisolve_{name}_{n}",
        function,
        (matrix, vector),
        argnums=(0, 1),
        jax=solve_jax,
        jax_loops=loops,
        by_hand=solve_by_hand,
    )
    for name, function, loops in (("slices", by_slices, None), ("elements", by_elements, solve_jax_loops))
]
