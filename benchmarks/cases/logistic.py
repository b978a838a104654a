"""Logistic regression: 10,000 rows of 50 features."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import Case, autograd_way, jax_way, jitgrad_way

rng = np.random.default_rng(2)
X = rng.standard_normal((10_000, 50))
Y = (rng.uniform(size=10_000) < 0.5).astype(float)
W = rng.standard_normal(50) * 0.1


def loss(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> Any:
    z = x @ w
    return np.mean(np.logaddexp(0.0, z) - y * z) + 0.01 * np.sum(w * w)


def loss_any(xp: Any, w: Any, x: Any, y: Any) -> Any:
    z = x @ w
    return xp.mean(xp.logaddexp(0.0, z) - y * z) + 0.01 * xp.sum(w * w)


def by_hand(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    z = x @ w
    return x.T @ ((1.0 / (1.0 + np.exp(-z)) - y) / len(y)) + 0.02 * w


ARGS = (W, X, Y)
CASES = [
    Case(
        "logistic_10000x50",
        {
            "jitgrad": jitgrad_way(loss, ARGS),
            "jax": jax_way(loss_any, ARGS),
            "autograd": autograd_way(loss_any, ARGS),
            "numpy": lambda: lambda: by_hand(*ARGS),
        },
    )
]
