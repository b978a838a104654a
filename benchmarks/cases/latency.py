"""What a call costs: the gradient of x*x on a float, of sum(sin(x)*x) on 4 doubles."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import Case, autograd_way, jax_way, jitgrad_way


def square(x: float) -> float:
    return x * x


def sine_sum(x: np.ndarray) -> Any:
    return np.sum(np.sin(x) * x)


def sine_sum_any(xp: Any, x: Any) -> Any:
    return xp.sum(xp.sin(x) * x)


X = np.array([0.1, 0.2, 0.3, 0.4])
CASES = [
    Case(
        "latency_square",
        {
            "jitgrad": jitgrad_way(square, (3.0,)),
            "jax": jax_way(lambda xp, x: x * x, (3.0,)),
            "autograd": autograd_way(lambda xp, x: x * x, (3.0,)),
        },
    ),
    Case(
        "latency_sine4",
        {
            "jitgrad": jitgrad_way(sine_sum, (X,)),
            "jax": jax_way(sine_sum_any, (X,)),
            "autograd": autograd_way(sine_sum_any, (X,)),
            "numpy": lambda: lambda: np.cos(X) * X + np.sin(X),
        },
    ),
]
