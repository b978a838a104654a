"""Heat equation: explicit steps with slices over one time loop, differentiated by the initial state."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import program_case

rng = np.random.default_rng(3)


def heat(u0: np.ndarray, k: float, steps: int) -> float:
    u = u0.copy()
    for _ in range(steps):
        u[1:-1] = u[1:-1] + k * (u[2:] - 2.0 * u[1:-1] + u[:-2])
    return float(np.sum(u * u))


def heat_jax(u0: Any, k: Any, steps: int) -> Any:
    import jax
    import jax.numpy as jnp

    def step(_: Any, u: Any) -> Any:
        return u.at[1:-1].add(k * (u[2:] - 2.0 * u[1:-1] + u[:-2]))

    u = jax.lax.fori_loop(0, steps, step, u0)
    return jnp.sum(u * u)


def heat_by_hand(u0: np.ndarray, k: float, steps: int) -> np.ndarray:
    n = len(u0)
    u = u0.copy()
    new = u0.copy()
    for _ in range(steps):
        for i in range(1, n - 1):
            new[i] = u[i] + k * (u[i + 1] - 2.0 * u[i] + u[i - 1])
        u, new = new, u
    g = 2.0 * u
    back = np.empty(n)
    for _ in range(steps):
        # The adjoint of the step: what flows to u[i] from the cells i - 1, i and i + 1.
        for i in range(2, n - 2):
            back[i] = g[i] + k * (g[i - 1] - 2.0 * g[i] + g[i + 1])
        back[1] = (1.0 - 2.0 * k) * g[1] + k * g[2]
        back[n - 2] = (1.0 - 2.0 * k) * g[n - 2] + k * g[n - 3]
        back[0] = g[0] + k * g[1]
        back[n - 1] = g[n - 1] + k * g[n - 2]
        g, back = back, g
    return g


CASES = [
    program_case(
        "heat_1000x1000",
        heat,
        (rng.standard_normal(1000), 0.2, 1000),
        jax=heat_jax,
        by_hand=heat_by_hand,
    )
]
