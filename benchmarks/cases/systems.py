"""Linear systems by `np.linalg`: a Gaussian process, regression, and a Kalman filter whose gains are solved for."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import Case, autograd_way, jax_way, jit_way, jitgrad_way

rng = np.random.default_rng(21)


def gaussian_process(theta: np.ndarray, x: np.ndarray, y: np.ndarray) -> Any:
    """Return the negative log likelihood of 200 observations."""
    distance = x[:, None] - x[None, :]
    k = np.exp(theta[0] - distance**2 * np.exp(theta[1])) + np.exp(theta[2]) * np.eye(len(x))
    return 0.5 * y @ np.linalg.solve(k, y) + 0.5 * np.linalg.slogdet(k)[1]


def gaussian_process_any(xp: Any, theta: Any, x: Any, y: Any) -> Any:
    distance = x[:, None] - x[None, :]
    k = xp.exp(theta[0] - distance**2 * xp.exp(theta[1])) + xp.exp(theta[2]) * xp.eye(len(x))
    return 0.5 * xp.dot(y, xp.linalg.solve(k, y)) + 0.5 * xp.linalg.slogdet(k)[1]


def gaussian_process_by_hand(theta: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    square = (x[:, None] - x[None, :]) ** 2 * np.exp(theta[1])
    kernel = np.exp(theta[0] - square)
    inverse = np.linalg.inv(kernel + np.exp(theta[2]) * np.eye(len(x)))
    alpha = inverse @ y
    slope = 0.5 * (inverse - np.outer(alpha, alpha))
    return np.array([np.sum(slope * kernel), -np.sum(slope * kernel * square), np.exp(theta[2]) * np.trace(slope)])


def regression(lam: np.ndarray, x: np.ndarray, y: np.ndarray) -> Any:
    """Return the loss of ridge regression on held-out rows, a penalty for each of 30 features."""
    half = len(x) // 2
    beta = np.linalg.solve(x[:half].T @ x[:half] + np.diag(np.exp(lam)), x[:half].T @ y[:half])
    return np.mean((y[half:] - x[half:] @ beta) ** 2)


def regression_any(xp: Any, lam: Any, x: Any, y: Any) -> Any:
    half = len(x) // 2
    beta = xp.linalg.solve(xp.dot(x[:half].T, x[:half]) + xp.diag(xp.exp(lam)), xp.dot(x[:half].T, y[:half]))
    return xp.mean((y[half:] - xp.dot(x[half:], beta)) ** 2)


def kalman(f: np.ndarray, q: np.ndarray, r: np.ndarray, ys: np.ndarray) -> Any:
    """Return the log likelihood of 200 observations of 4 states."""
    x, p, total = np.zeros(len(f)), np.eye(len(f)), 0.0
    for y in ys:
        x, p = f @ x, f @ p @ f.T + q
        s, v = p + r, y - x
        total -= 0.5 * (v @ np.linalg.solve(s, v) + np.linalg.slogdet(s)[1])
        gain = np.linalg.solve(s, p).T
        x, p = x + gain @ v, p - gain @ p
    return total


def kalman_jax(jnp: Any, f: Any, q: Any, r: Any, ys: Any) -> Any:
    import jax

    def step(state: Any, y: Any) -> Any:
        x, p = f @ state[0], f @ state[1] @ f.T + q
        s, v = p + r, y - x
        term = 0.5 * (v @ jnp.linalg.solve(s, v) + jnp.linalg.slogdet(s)[1])
        gain = jnp.linalg.solve(s, p).T
        return (x + gain @ v, p - gain @ p), term

    _, terms = jax.lax.scan(step, (jnp.zeros(len(f)), jnp.eye(len(f))), ys)
    return -jnp.sum(terms)


X = np.sort(rng.uniform(0.0, 10.0, 200))
PROCESS = (np.array([0.1, 0.3, -2.0]), X, np.sin(X) + 0.1 * rng.normal(size=200))
FEATURES = rng.normal(size=(400, 30))
RIDGE = (np.zeros(30), FEATURES, FEATURES @ rng.normal(size=30) + rng.normal(size=400))
STATES = (
    0.9 * np.eye(4) + 0.05 * rng.normal(size=(4, 4)),
    0.1 * np.eye(4),
    0.2 * np.eye(4),
    rng.normal(size=(200, 4)),
)
CASES = [
    Case(
        "gaussian_process_200",
        {
            "jitgrad": jitgrad_way(gaussian_process, PROCESS),
            "jit": jit_way(gaussian_process, PROCESS),
            "jax": jax_way(gaussian_process_any, PROCESS),
            "autograd": autograd_way(gaussian_process_any, PROCESS),
            "numpy": lambda: lambda: gaussian_process_by_hand(*PROCESS),
        },
    ),
    Case(
        "ridge_400x30",
        {
            "jitgrad": jitgrad_way(regression, RIDGE),
            "jit": jit_way(regression, RIDGE),
            "jax": jax_way(regression_any, RIDGE),
            "autograd": autograd_way(regression_any, RIDGE),
        },
    ),
    Case(
        "kalman_by_systems",
        {
            "jitgrad": jitgrad_way(kalman, STATES),
            "jit": jit_way(kalman, STATES),
            "jax": jax_way(kalman_jax, STATES),
        },
    ),
]
