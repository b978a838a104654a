"""GARCH(1, 1): the log likelihood of 10,000 returns, by the three parameters of their variance."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import program_case

rng = np.random.default_rng(19)


def garch(a: float, b: float, c: float, returns: np.ndarray) -> float:
    variance = 1.0
    total = 0.0
    for t in range(1, len(returns)):
        variance = a + b * returns[t - 1] ** 2 + c * variance
        total -= 0.5 * (np.log(variance) + returns[t] ** 2 / variance)
    return float(total)


def garch_jax(a: Any, b: Any, c: Any, returns: Any) -> Any:
    import jax
    import jax.numpy as jnp

    def step(variance: Any, pair: Any) -> Any:
        before, now = pair
        variance = a + b * before**2 + c * variance
        return variance, jnp.log(variance) + now**2 / variance

    _, terms = jax.lax.scan(step, 1.0, (returns[:-1], returns[1:]))
    return -0.5 * jnp.sum(terms)


def garch_by_hand(a: float, b: float, c: float, returns: np.ndarray) -> tuple[float, float, float]:
    n = len(returns)
    variances = np.empty(n)
    v = variances[0] = 1.0
    for t in range(1, n):
        v = a + b * returns[t - 1] ** 2 + c * v
        variances[t] = v
    g = ga = gb = gc = 0.0
    for t in range(n - 1, 0, -1):
        over = 1.0 / variances[t]
        g -= 0.5 * over * (1.0 - returns[t] * returns[t] * over)
        ga += g
        gb += g * returns[t - 1] ** 2
        gc += g * variances[t - 1]
        g *= c
    return ga, gb, gc


CASES = [
    program_case(
        "garch_10000",
        garch,
        (0.1, 0.1, 0.8, rng.standard_normal(10_000)),
        argnums=(0, 1, 2),
        jax=garch_jax,
        by_hand=garch_by_hand,
    )
]
