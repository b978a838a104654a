"""Wave equation, two buffers exchanged: 1-D by initial state and squared speeds, 2-D by initial state."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import program_case

rng = np.random.default_rng(18)


def wave_1d(u0: np.ndarray, c: np.ndarray, steps: int) -> float:
    before = u0.copy()
    now = u0.copy()
    for _ in range(steps):
        before[1:-1] = 2.0 * now[1:-1] - before[1:-1] + c[1:-1] * (now[2:] - 2.0 * now[1:-1] + now[:-2])
        before, now = now, before
    return float(np.sum(now * now))


def wave_1d_jax(u0: Any, c: Any, steps: int) -> Any:
    import jax
    import jax.numpy as jnp

    def step(_: Any, pair: Any) -> Any:
        before, now = pair
        inner = 2.0 * now[1:-1] - before[1:-1] + c[1:-1] * (now[2:] - 2.0 * now[1:-1] + now[:-2])
        return now, before.at[1:-1].set(inner)

    _, now = jax.lax.fori_loop(0, steps, step, (u0, u0))
    return jnp.sum(now * now)


def wave_1d_autograd(anp: Any, u0: Any, c: Any, steps: int) -> Any:
    before = now = u0
    for _ in range(steps):
        inner = 2.0 * now[1:-1] - before[1:-1] + c[1:-1] * (now[2:] - 2.0 * now[1:-1] + now[:-2])
        before, now = now, anp.concatenate((before[:1], inner, before[-1:]))
    return anp.sum(now * now)


def wave_1d_by_hand(u0: np.ndarray, c: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    n = len(u0)
    w, v, dc = np.zeros(n), np.zeros(n), np.zeros(n)

    def step(before: np.ndarray, now: np.ndarray) -> None:
        for i in range(1, n - 1):
            before[i] = 2.0 * now[i] - before[i] + c[i] * (now[i + 1] - 2.0 * now[i] + now[i - 1])

    def back(before: np.ndarray, now: np.ndarray, w: np.ndarray, v: np.ndarray) -> None:
        for i in range(1, n - 1):
            curvature = now[i + 1] - 2.0 * now[i] + now[i - 1]
            dc[i] += w[i] * curvature
            before[i] = 2.0 * now[i] - before[i] + c[i] * curvature
            v[i] = 2.0 * w[i] - v[i] + c[i] * (w[i + 1] - 2.0 * w[i] + w[i - 1])

    # Two steps at a time: LLVM does not vectorise a loop over buffers that are exchanged.
    before, now = u0.copy(), u0.copy()
    for _ in range(steps // 2):
        step(before, now)
        step(now, before)
    if steps % 2 == 1:
        step(before, now)
        for i in range(1, n - 1):
            before[i], now[i] = now[i], before[i]
    # No tape: the equation runs backwards as it runs forwards, and so does its adjoint times c, which is positive. w is
    # that of `now`, v minus that of `before`; their borders stay zero, and what flows to the border is summed apart.
    left, right = 2.0 * now[0], 2.0 * now[n - 1]
    for i in range(1, n - 1):
        w[i] = 2.0 * now[i] * c[i]
    for _ in range(steps // 2):
        left += w[1]
        right += w[n - 2]
        back(now, before, w, v)
        left += v[1]
        right += v[n - 2]
        back(before, now, v, w)
    if steps % 2 == 1:
        left += w[1]
        right += w[n - 2]
        back(now, before, w, v)
        for i in range(1, n - 1):
            w[i], v[i] = v[i], w[i]
    for i in range(1, n - 1):
        w[i] = (w[i] - v[i]) / c[i]
        dc[i] /= c[i]
    w[0], w[n - 1] = left, right
    return w, dc


def wave_2d(u0: np.ndarray, c: float, steps: int) -> float:
    before = u0.copy()
    now = u0.copy()
    for _ in range(steps):
        around = now[2:, 1:-1] + now[:-2, 1:-1] + now[1:-1, 2:] + now[1:-1, :-2]
        inner = now[1:-1, 1:-1]
        before[1:-1, 1:-1] = 2.0 * inner - before[1:-1, 1:-1] + c * (around - 4.0 * inner)
        before, now = now, before
    return float(np.sum(now * now))


def wave_2d_jax(u0: Any, c: Any, steps: int) -> Any:
    import jax
    import jax.numpy as jnp

    def step(_: Any, pair: Any) -> Any:
        before, now = pair
        around = now[2:, 1:-1] + now[:-2, 1:-1] + now[1:-1, 2:] + now[1:-1, :-2]
        inner = now[1:-1, 1:-1]
        inner = 2.0 * inner - before[1:-1, 1:-1] + c * (around - 4.0 * inner)
        return now, before.at[1:-1, 1:-1].set(inner)

    _, now = jax.lax.fori_loop(0, steps, step, (u0, u0))
    return jnp.sum(now * now)


def wave_2d_autograd(anp: Any, u0: Any, c: Any, steps: int) -> Any:
    mask = np.zeros(u0.shape)
    mask[1:-1, 1:-1] = 1.0
    before = now = u0
    for _ in range(steps):
        around = anp.roll(now, 1, 0) + anp.roll(now, -1, 0) + anp.roll(now, 1, 1) + anp.roll(now, -1, 1)
        new = 2.0 * now - before + c * (around - 4.0 * now)
        before, now = now, before + mask * (new - before)
    return anp.sum(now * now)


def wave_2d_by_hand(u0: np.ndarray, c: float, steps: int) -> np.ndarray:
    n, m = u0.shape
    middle = 2.0 - 4.0 * c

    def step(x: np.ndarray, u: np.ndarray) -> None:
        for i in range(1, n - 1):
            for j in range(1, m - 1):
                x[i, j] = middle * u[i, j] - x[i, j] + c * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1])

    def to_border(total: np.ndarray, g: np.ndarray) -> None:
        for i in range(1, n - 1):
            total[i, 0] += c * g[i, 1]
            total[i, m - 1] += c * g[i, m - 2]
        for j in range(1, m - 1):
            total[0, j] += c * g[1, j]
            total[n - 1, j] += c * g[n - 2, j]

    before, now = u0.copy(), u0.copy()
    for _ in range(steps // 2):
        step(before, now)
        step(now, before)
    if steps % 2 == 1:
        step(before, now)
        now[:] = before
    # As in one dimension, but linear in the state: only the final one is needed.
    g, h, total = np.zeros((n, m)), np.zeros((n, m)), 2.0 * now
    g[1 : n - 1, 1 : m - 1] = total[1 : n - 1, 1 : m - 1]
    for _ in range(steps // 2):
        to_border(total, g)
        step(h, g)
        to_border(total, h)
        step(g, h)
    if steps % 2 == 1:
        to_border(total, g)
        step(h, g)
        for i in range(1, n - 1):
            for j in range(1, m - 1):
                g[i, j], h[i, j] = h[i, j], g[i, j]
    for i in range(1, n - 1):
        for j in range(1, m - 1):
            total[i, j] = g[i, j] - h[i, j]
    return total


CASES = [
    program_case(
        "wave_1d_1000x500",
        wave_1d,
        (rng.standard_normal(1000), 0.1 + 0.5 * rng.random(1000), 500),
        argnums=(0, 1),
        jax=wave_1d_jax,
        autograd=wave_1d_autograd,
        by_hand=wave_1d_by_hand,
    ),
    program_case(
        "wave_2d_100x100x500",
        wave_2d,
        (rng.standard_normal((100, 100)), 0.2, 500),
        jax=wave_2d_jax,
        autograd=wave_2d_autograd,
        by_hand=wave_2d_by_hand,
    ),
]
