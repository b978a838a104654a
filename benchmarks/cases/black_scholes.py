"""Vega and delta of 1e6 European calls: the gradient of the sum of Black-Scholes prices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import ndtr

from cases import Case, jax_way, jitgrad_way, numba_way

N = 1_000_000
rng = np.random.default_rng(0)
S = rng.uniform(80.0, 120.0, N)
K = rng.uniform(80.0, 120.0, N)
V = rng.uniform(0.1, 0.4, N)
T = rng.uniform(0.2, 2.0, N)
R = 0.02


def price(s: np.ndarray, v: np.ndarray, k: np.ndarray, t: np.ndarray, r: float) -> Any:
    root = v * np.sqrt(t)
    d1 = (np.log(s / k) + (r + 0.5 * v * v) * t) / root
    d2 = d1 - root
    return np.sum(s * ndtr(d1) - k * np.exp(-r * t) * ndtr(d2))


def price_jax(xp: Any, s: Any, v: Any, k: Any, t: Any, r: float) -> Any:
    from jax.scipy.special import ndtr as jndtr

    root = v * xp.sqrt(t)
    d1 = (xp.log(s / k) + (r + 0.5 * v * v) * t) / root
    d2 = d1 - root
    return xp.sum(s * jndtr(d1) - k * xp.exp(-r * t) * jndtr(d2))


def by_hand(s: np.ndarray, v: np.ndarray, k: np.ndarray, t: np.ndarray, r: float) -> Any:
    root = v * np.sqrt(t)
    d1 = (np.log(s / k) + (r + 0.5 * v * v) * t) / root
    density = np.exp(-0.5 * d1 * d1) / math.sqrt(2 * math.pi)
    return ndtr(d1), s * density * np.sqrt(t)


def by_loop(s: np.ndarray, v: np.ndarray, k: np.ndarray, t: np.ndarray, r: float) -> Any:
    delta = np.empty_like(s)
    vega = np.empty_like(s)
    for i in range(s.size):
        st = math.sqrt(t[i])
        root = v[i] * st
        d1 = (math.log(s[i] / k[i]) + (r + 0.5 * v[i] * v[i]) * t[i]) / root
        delta[i] = 0.5 * math.erfc(-d1 * 0.7071067811865476)
        vega[i] = s[i] * math.exp(-0.5 * d1 * d1) * 0.3989422804014327 * st
    return delta, vega


ARGS = (S, V, K, T, R)
CASES = [
    Case(
        "black_scholes_1e6",
        {
            "jitgrad": jitgrad_way(price, ARGS, (0, 1)),
            "jax": jax_way(price_jax, ARGS, (0, 1)),
            "numpy": lambda: lambda: by_hand(*ARGS),
            "numba": numba_way(by_loop, ARGS),
        },
    )
]
