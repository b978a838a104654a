"""Heat equation in 1-D and 2-D: explicit steps with slices over one time loop, differentiated by the initial state."""

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

    def step(new: np.ndarray, u: np.ndarray) -> None:
        for i in range(1, n - 1):
            new[i] = u[i] + k * (u[i + 1] - 2.0 * u[i] + u[i - 1])

    # Two steps at a time: LLVM does not vectorise a loop over buffers that are exchanged.
    u, new = u0.copy(), u0.copy()
    for _ in range(steps // 2):
        step(new, u)
        step(u, new)
    if steps % 2 == 1:
        step(new, u)
        u[:] = new
    # The adjoint steps are the same with a border of zeros; what flows to the border is summed apart.
    left, right = 2.0 * u[0], 2.0 * u[n - 1]
    g, back = 2.0 * u, np.zeros(n)
    g[0] = g[n - 1] = 0.0
    for _ in range(steps // 2):
        step(back, g)
        left += k * (g[1] + back[1])
        right += k * (g[n - 2] + back[n - 2])
        step(g, back)
    if steps % 2 == 1:
        left += k * g[1]
        right += k * g[n - 2]
        step(back, g)
        g[:] = back
    g[0], g[n - 1] = left, right
    return g


def heat_2d(u0: np.ndarray, k: float, steps: int) -> float:
    u = u0.copy()
    for _ in range(steps):
        around = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2]
        u[1:-1, 1:-1] = u[1:-1, 1:-1] + k * (around - 4.0 * u[1:-1, 1:-1])
    return float(np.sum(u * u))


def heat_2d_jax(u0: Any, k: Any, steps: int) -> Any:
    import jax
    import jax.numpy as jnp

    def step(_: Any, u: Any) -> Any:
        around = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2]
        return u.at[1:-1, 1:-1].add(k * (around - 4.0 * u[1:-1, 1:-1]))

    u = jax.lax.fori_loop(0, steps, step, u0)
    return jnp.sum(u * u)


def heat_2d_autograd(anp: Any, u0: Any, k: Any, steps: int) -> Any:
    inner = np.zeros(u0.shape)
    inner[1:-1, 1:-1] = k
    u = u0
    for _ in range(steps):
        around = anp.roll(u, 1, 0) + anp.roll(u, -1, 0) + anp.roll(u, 1, 1) + anp.roll(u, -1, 1)
        u = u + inner * (around - 4.0 * u)
    return anp.sum(u * u)


def heat_2d_by_hand(u0: np.ndarray, k: float, steps: int) -> np.ndarray:
    n, m = u0.shape
    here = 1.0 - 4.0 * k

    def step(new: np.ndarray, u: np.ndarray) -> None:
        for i in range(1, n - 1):
            for j in range(1, m - 1):
                new[i, j] = here * u[i, j] + k * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1])

    def to_border(total: np.ndarray, g: np.ndarray) -> None:
        for i in range(1, n - 1):
            total[i, 0] += k * g[i, 1]
            total[i, m - 1] += k * g[i, m - 2]
        for j in range(1, m - 1):
            total[0, j] += k * g[1, j]
            total[n - 1, j] += k * g[n - 2, j]

    u, new = u0.copy(), u0.copy()
    for _ in range(steps // 2):
        step(new, u)
        step(u, new)
    if steps % 2 == 1:
        step(new, u)
        u[:] = new
    total = 2.0 * u
    g, back = np.zeros((n, m)), np.zeros((n, m))
    g[1 : n - 1, 1 : m - 1] = total[1 : n - 1, 1 : m - 1]
    for _ in range(steps // 2):
        to_border(total, g)
        step(back, g)
        to_border(total, back)
        step(g, back)
    if steps % 2 == 1:
        to_border(total, g)
        step(back, g)
        g[:] = back
    total[1 : n - 1, 1 : m - 1] = g[1 : n - 1, 1 : m - 1]
    return total


CASES = [
    program_case(
        "heat_1000x1000",
        heat,
        (rng.standard_normal(1000), 0.2, 1000),
        jax=heat_jax,
        by_hand=heat_by_hand,
    ),
    program_case(
        "heat_2d_100x100x200",
        heat_2d,
        (rng.standard_normal((100, 100)), 0.2, 200),
        jax=heat_2d_jax,
        autograd=heat_2d_autograd,
        by_hand=heat_2d_by_hand,
    ),
]
