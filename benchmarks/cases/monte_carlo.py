"""Asian option by Monte Carlo: a loop over paths around a loop over time steps, by the model's parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import program_case

rng = np.random.default_rng(29)


def asian(model: np.ndarray, shocks: np.ndarray, strike: float) -> float:
    spot, drift, vol = model[0], model[1], model[2]
    paths, steps = shocks.shape
    total = 0.0
    for i in range(paths):
        s = spot
        mean = 0.0
        for t in range(steps):
            s *= np.exp(drift + vol * shocks[i, t])
            mean += s
        mean /= steps
        if mean > strike:
            total += mean - strike
    return total / paths


def asian_jax(model: Any, shocks: Any, strike: Any) -> Any:
    import jax
    import jax.numpy as jnp

    # All paths at once, time steps in a row: as one writes it for JAX.
    logs = jnp.log(model[0]) + jnp.cumsum(model[1] + model[2] * shocks, axis=1)
    mean = jnp.mean(jnp.exp(logs), axis=1)
    return jnp.mean(jax.nn.relu(mean - strike))


def asian_by_hand(model: np.ndarray, shocks: np.ndarray, strike: float) -> np.ndarray:
    # The states of one path are kept; each is a product with the spot, so that no factor is computed again.
    spot, drift, vol = model[0], model[1], model[2]
    paths, steps = shocks.shape
    states = np.empty(steps)
    total, by_drift, by_vol = 0.0, 0.0, 0.0
    for i in range(paths):
        s, mean = spot, 0.0
        for t in range(steps):
            s *= np.exp(drift + vol * shocks[i, t])
            states[t] = s
            mean += s
        mean /= steps
        if mean > strike:
            total += mean
            ct = 0.0
            for t in range(steps - 1, -1, -1):
                ct += states[t]
                by_drift += ct
                by_vol += ct * shocks[i, t]
    scale = 1.0 / (paths * steps)
    return np.array([total / (spot * paths), by_drift * scale, by_vol * scale])


CASES = [
    program_case(
        "monte_carlo_20000x50",
        asian,
        (np.array([1.0, 0.0005, 0.03]), rng.standard_normal((20_000, 50)), 1.02),
        jax=asian_jax,
        by_hand=asian_by_hand,
    )
]
