"""Newton's iteration to a tolerance: one scalar, and 1000 independent ones in a loop over elements.

The derivative is that of the iteration, not of the implicit function. JAX's reverse mode refuses a `while_loop`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import program_case

rng = np.random.default_rng(14)


def newton(e: float, m: float, tolerance: float) -> float:
    x = m
    step = 1.0
    while abs(step) > tolerance:
        step = (x - e * np.sin(x) - m) / (1.0 - e * np.cos(x))
        x = x - step
    return x * x


def newton_jax(e: Any, m: Any, tolerance: Any) -> Any:
    import jax
    import jax.numpy as jnp

    def body(state: Any) -> Any:
        x, _ = state
        step = (x - e * jnp.sin(x) - m) / (1.0 - e * jnp.cos(x))
        return x - step, step

    x, _ = jax.lax.while_loop(lambda state: jnp.abs(state[1]) > tolerance, body, (m, jnp.ones_like(m)))
    return x * x


def newton_autograd(anp: Any, e: Any, m: Any, tolerance: float) -> Any:
    x = m
    step = 1.0
    while abs(step) > tolerance:
        step = (x - e * anp.sin(x) - m) / (1.0 - e * anp.cos(x))
        x = x - step
    return x * x


def newton_by_hand(e: float, m: float, tolerance: float) -> tuple[float, float]:
    # Kept: sine, cosine, the denominator's inverse, the step; there are far fewer trips than rows.
    tape = np.empty((100, 4))
    x = m
    step = 1.0
    n = 0
    while abs(step) > tolerance:
        s, c = np.sin(x), np.cos(x)
        over = 1.0 / (1.0 - e * c)
        step = (x - e * s - m) * over
        tape[n, 0], tape[n, 1], tape[n, 2], tape[n, 3] = s, c, over, step
        n += 1
        x -= step
    g = 2.0 * x
    ge = 0.0
    gm = 0.0
    for t in range(n - 1, -1, -1):
        # The numerator has the denominator as its derivative by x, so that only the step times its slope stays.
        w = g * tape[t, 2]
        ge += w * (tape[t, 0] - tape[t, 3] * tape[t, 1])
        gm += w
        g = w * e * tape[t, 3] * tape[t, 0]
    return ge, gm + g


def newton_elements(e: np.ndarray, m: np.ndarray, tolerance: float) -> float:
    total = 0.0
    for i in range(len(m)):
        x = m[i]
        step = 1.0
        while abs(step) > tolerance:
            step = (x - e[i] * np.sin(x) - m[i]) / (1.0 - e[i] * np.cos(x))
            x = x - step
        total += x * x
    return float(total)


def newton_elements_jax(e: Any, m: Any, tolerance: Any) -> Any:
    import jax
    import jax.numpy as jnp

    return jnp.sum(jax.vmap(newton_jax, in_axes=(0, 0, None))(e, m, tolerance))


def newton_elements_by_hand(e: np.ndarray, m: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    ge = np.empty(len(m))
    gm = np.empty(len(m))
    tape = np.empty((100, 4))
    for i in range(len(m)):
        ei, mi = e[i], m[i]
        x = mi
        step = 1.0
        n = 0
        while abs(step) > tolerance:
            s, c = np.sin(x), np.cos(x)
            over = 1.0 / (1.0 - ei * c)
            step = (x - ei * s - mi) * over
            tape[n, 0], tape[n, 1], tape[n, 2], tape[n, 3] = s, c, over, step
            n += 1
            x -= step
        g = 2.0 * x
        dei = 0.0
        dmi = 0.0
        for t in range(n - 1, -1, -1):
            w = g * tape[t, 2]
            dei += w * (tape[t, 0] - tape[t, 3] * tape[t, 1])
            dmi += w
            g = w * ei * tape[t, 3] * tape[t, 0]
        ge[i] = dei
        gm[i] = dmi + g
    return ge, gm


CASES = [
    program_case(
        "newton_scalar",
        newton,
        (0.6, 1.3, 1e-12),
        argnums=(0, 1),
        jax=newton_jax,
        autograd=newton_autograd,
        by_hand=newton_by_hand,
    ),
    program_case(
        "newton_elements_1000",
        newton_elements,
        (rng.uniform(0.1, 0.8, 1000), rng.uniform(0.1, 3.0, 1000), 1e-12),
        argnums=(0, 1),
        jax=newton_elements_jax,
        by_hand=newton_elements_by_hand,
    ),
]
