"""One training step's gradient of a network 784-128-10 with softmax cross-entropy, batch 32 and 1024."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import Case, jax_way, jitgrad_way


def loss(w1: np.ndarray, b1: np.ndarray, w2: np.ndarray, b2: np.ndarray, x: np.ndarray, labels: np.ndarray) -> Any:
    h = np.tanh(x @ w1 + b1)
    z = h @ w2 + b2
    z = z - z.max(axis=1, keepdims=True)
    logp = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    return -logp[np.arange(len(labels)), labels].mean()


def loss_jax(xp: Any, w1: Any, b1: Any, w2: Any, b2: Any, x: Any, labels: Any) -> Any:
    h = xp.tanh(x @ w1 + b1)
    z = h @ w2 + b2
    z = z - z.max(axis=1, keepdims=True)
    logp = z - xp.log(xp.exp(z).sum(axis=1, keepdims=True))
    return -logp[xp.arange(len(labels)), labels].mean()


def by_hand(w1: np.ndarray, b1: np.ndarray, w2: np.ndarray, b2: np.ndarray, x: np.ndarray, labels: np.ndarray) -> Any:
    h = np.tanh(x @ w1 + b1)
    z = h @ w2 + b2
    z -= z.max(axis=1, keepdims=True)
    e = np.exp(z)
    e /= e.sum(axis=1, keepdims=True)
    e[np.arange(len(labels)), labels] -= 1.0
    e /= len(labels)
    dh = (e @ w2.T) * (1.0 - h * h)
    return x.T @ dh, dh.sum(axis=0), h.T @ e, e.sum(axis=0)


def _arguments(batch: int, dtype: Any) -> tuple[Any, ...]:
    rng = np.random.default_rng(1)

    def normal(*shape: int) -> np.ndarray:
        return (rng.standard_normal(shape) * 0.1).astype(dtype)

    labels = rng.integers(0, 10, batch)
    return normal(784, 128), normal(128), normal(128, 10), normal(10), normal(batch, 784), labels


def _case(batch: int, dtype: Any) -> Case:
    args = _arguments(batch, dtype)
    return Case(
        f"mlp_{batch}_{np.dtype(dtype).name}",
        {
            "jitgrad": jitgrad_way(loss, args, (0, 1, 2, 3)),
            "jax": jax_way(loss_jax, args, (0, 1, 2, 3)),
            "numpy": lambda: lambda: by_hand(*args),
        },
    )


CASES = [_case(b, d) for b in (32, 1024) for d in (np.float32, np.float64)]
