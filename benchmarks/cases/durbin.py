"""Durbin's recursion for a symmetric Toeplitz system, with slices of growing length read backwards."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import program_case

rng = np.random.default_rng(15)


def durbin(r: np.ndarray) -> float:
    n = len(r)
    y = np.zeros(n)
    y[0] = -r[0]
    alpha = -r[0]
    beta = 1.0
    for k in range(1, n):
        beta = (1.0 - alpha * alpha) * beta
        alpha = -(r[k] + r[:k][::-1] @ y[:k]) / beta
        y[:k] += alpha * y[:k][::-1]
        y[k] = alpha
    return float(np.sum(y * y))


def durbin_jax(r: Any) -> Any:
    import jax
    import jax.numpy as jnp

    # The reversed vector z is carried along, as in a lattice filter: every slice is then a whole array.
    def step(carry: Any, given: Any) -> Any:
        y, z, alpha, beta = carry
        k, r_k = given
        beta = (1.0 - alpha * alpha) * beta
        alpha = -(r_k + r @ z) / beta
        new = (y + alpha * z).at[k].set(alpha)
        z = jnp.concatenate([alpha[None], (z + alpha * y)[:-1]])
        return (new, z, alpha, beta), None

    first = jnp.zeros_like(r).at[0].set(-r[0])
    carry = (first, first, -r[0], jnp.ones_like(r[0]))
    (y, _, _, _), _ = jax.lax.scan(step, carry, (jnp.arange(1, len(r)), r[1:]))
    return jnp.sum(y * y)


def durbin_by_hand(r: np.ndarray) -> np.ndarray:
    # What is read backwards is kept a second time in reverse, at the right end of an array: all loops run forwards.
    n = len(r)
    tape = np.empty((n, n))
    alphas = np.empty(n)
    betas = np.empty(n)
    reverse_y = np.empty(n)
    tape[0, 0] = reverse_y[n - 1] = alphas[0] = -r[0]
    betas[0] = 1.0
    for k in range(1, n):
        y, new, z = tape[k - 1], tape[k], reverse_y[n - k :]
        s = r[k]
        for i in range(k):
            s += r[i] * z[i]
        beta = (1.0 - alphas[k - 1] * alphas[k - 1]) * betas[k - 1]
        alpha = -s / beta
        for i in range(k):
            u, v = y[i], z[i]
            new[i] = u + alpha * v
            z[i] = v + alpha * u
        new[k] = reverse_y[n - k - 1] = alphas[k] = alpha
        betas[k] = beta
    g = 2.0 * tape[n - 1]
    reverse_g = g[::-1].copy()
    reverse_r = r[::-1].copy()
    reverse_dr = np.zeros(n)
    d_alpha = d_beta = 0.0
    for k in range(n - 1, 0, -1):
        y, h = tape[k - 1], reverse_g[n - k :]
        back_r, back_dr = reverse_r[n - k :], reverse_dr[n - k :]
        alpha = alphas[k]
        d_alpha += g[k]
        for i in range(k):
            d_alpha += h[i] * y[i]
        s = -d_alpha / betas[k]
        for i in range(k):
            u, v = g[i], h[i]
            g[i] = u + alpha * v + s * back_r[i]
            h[i] = v + alpha * u + s * r[i]
            back_dr[i] += s * y[i]
        reverse_dr[n - 1 - k] += s
        d_beta += s * alpha
        d_alpha = -2.0 * alphas[k - 1] * betas[k - 1] * d_beta
        d_beta *= 1.0 - alphas[k - 1] * alphas[k - 1]
    reverse_dr[n - 1] -= d_alpha + g[0]
    return reverse_dr[::-1].copy()


n = 300
lags = np.arange(1, n + 1)
autocovariance = 0.5**lags + 0.02 * rng.standard_normal(n) / np.sqrt(lags)

CASES = [program_case(f"durbin_{n}", durbin, (autocovariance,), jax=durbin_jax, by_hand=durbin_by_hand)]
