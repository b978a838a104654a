"""Logistic map: iterate until the state settles, a `while` whose number of trips depends on the data.

JAX's reverse mode refuses a `while_loop`; autograd's tape of all operations takes minutes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import program_case


def logistic_map(x: float, r: float, tolerance: float) -> float:
    old = x + 1.0
    total = 0.0
    while abs(x - old) > tolerance:
        old = x
        x = r * x * (1.0 - x)
        total += x * x
    return total


def logistic_map_jax(x: Any, r: Any, tolerance: Any) -> Any:
    import jax
    import jax.numpy as jnp

    def go_on(state: Any) -> Any:
        return jnp.abs(state[0] - state[1]) > tolerance

    def body(state: Any) -> Any:
        x, _, total = state
        new = r * x * (1.0 - x)
        return new, x, total + new * new

    return jax.lax.while_loop(go_on, body, (x, x + 1.0, jnp.zeros_like(x)))[2]


def logistic_map_by_hand(x: float, r: float, tolerance: float) -> tuple[float, float]:
    # Kept: the states, in an array that grows. It is replaced outside the inner loop, which so holds only its address.
    size = 8192
    tape = np.empty(size)
    n = 0
    old = x + 1.0
    going = abs(x - old) > tolerance
    while going:
        stop = size
        while going and n < stop:
            tape[n] = x
            n += 1
            old = x
            x = r * x * (1.0 - x)
            going = abs(x - old) > tolerance
        if going:
            size *= 4
            longer = np.empty(size)
            longer[:n] = tape
            tape = longer
    # The chain of cotangents is one fused operation a step; what else there is does not wait for it.
    g = 0.0
    gr = 0.0
    for t in range(n - 1, -1, -1):
        old = tape[t]
        s = old * (1.0 - old)
        slope = r * (1.0 - 2.0 * old)
        own = 2.0 * r * s
        gr += (g + own) * s
        g = g * slope + own * slope
    return g, gr


# Close to r = 3 the map settles slowly: 77,000 trips.
CASES = [
    program_case(
        "logistic_map_while",
        logistic_map,
        (0.3, 2.9997, 1e-12),
        argnums=(0, 1),
        jax=logistic_map_jax,
        by_hand=logistic_map_by_hand,
    )
]
