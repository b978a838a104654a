"""Weighted histogram: scattered sums in a loop, and by `np.add.at`, which Numba has not."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import program_case

rng = np.random.default_rng(16)


def scatter_loop(w: np.ndarray, x: np.ndarray, idx: np.ndarray, bins: int) -> float:
    h = np.zeros(bins)
    for i in range(len(idx)):
        h[idx[i]] += w[i] * x[i] * x[i]
    return float(np.sum(h * h))


def scatter_add_at(w: np.ndarray, x: np.ndarray, idx: np.ndarray, bins: int) -> float:
    h = np.zeros(bins)
    np.add.at(h, idx, w * x * x)
    return float(np.sum(h * h))


def scatter_jax(w: Any, x: Any, idx: Any, bins: int) -> Any:
    import jax.numpy as jnp

    h = jnp.zeros(bins).at[idx].add(w * x * x, mode="promise_in_bounds")
    return jnp.sum(h * h)


def scatter_by_hand(w: np.ndarray, x: np.ndarray, idx: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    # Nothing is kept; unsigned indices need no test for negative ones.
    n = len(idx)
    h = np.zeros(bins)
    places = idx.view(np.uint64)
    for i in range(n):
        h[places[i]] += w[i] * x[i] * x[i]
    for j in range(bins):
        h[j] *= 2.0
    gw = np.empty(n)
    gx = np.empty(n)
    for i in range(n):
        g = h[places[i]] * x[i]
        gw[i] = g * x[i]
        gx[i] = 2.0 * g * w[i]
    return gw, gx


ARGS = (rng.standard_normal(100_000), rng.standard_normal(100_000), rng.integers(0, 1000, 100_000), 1000)

CASES = [
    program_case("scatter_loop_1e5", scatter_loop, ARGS, argnums=(0, 1), jax=scatter_jax, by_hand=scatter_by_hand),
    program_case(
        "scatter_add_at_1e5",
        scatter_add_at,
        ARGS,
        argnums=(0, 1),
        jax=scatter_jax,
        by_hand=scatter_by_hand,
        njit=scatter_loop,
    ),
]
