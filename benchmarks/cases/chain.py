"""A chain of elementwise functions at 1e3 .. 1e7 elements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from cases import Case, jax_way, jitgrad_way, numba_way


def chain(x: np.ndarray) -> Any:
    y = np.tanh(x * 0.5) + np.sin(x)
    return np.sum(y * np.exp(-y * y) * x)


def chain_any(xp: Any, x: Any) -> Any:
    y = xp.tanh(x * 0.5) + xp.sin(x)
    return xp.sum(y * xp.exp(-y * y) * x)


def by_hand(x: np.ndarray) -> np.ndarray:
    t = np.tanh(x * 0.5)
    y = t + np.sin(x)
    e = np.exp(-y * y)
    dy = (e - 2.0 * y * y * e) * x
    return y * e + dy * (0.5 * (1.0 - t * t) + np.cos(x))


def by_loop(x: np.ndarray) -> np.ndarray:
    out = np.empty_like(x)
    for i in range(x.size):
        t = math.tanh(x[i] * 0.5)
        y = t + math.sin(x[i])
        e = math.exp(-y * y)
        dy = (e - 2.0 * y * y * e) * x[i]
        out[i] = y * e + dy * (0.5 * (1.0 - t * t) + math.cos(x[i]))
    return out


def _case(n: int) -> Case:
    x = np.random.default_rng(3).standard_normal(n)
    return Case(
        f"chain_1e{round(math.log10(n))}",
        {
            "jitgrad": jitgrad_way(chain, (x,)),
            "jax": jax_way(chain_any, (x,)),
            "numpy": lambda: lambda: by_hand(x),
            "numba": numba_way(by_loop, (x,)),
        },
    )


CASES = [_case(10**k) for k in (3, 4, 5, 6, 7)]
