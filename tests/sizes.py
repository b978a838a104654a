"""Arguments of many sizes, and what a call of them comes to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["SIZES", "numbers", "outcome", "vector"]

SIZES = (3, 4, 5, 6, 9, 17)


def vector(r: np.random.Generator, n: int) -> np.ndarray:
    """Return n numbers between 0.5 and 1.5."""
    return r.uniform(0.5, 1.5, n)


def numbers(n: int, m: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return vectors of two sizes, the same at each call."""
    r = np.random.default_rng(10 * n + m)
    return vector(r, n), vector(r, m)


def outcome(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Return the value of a call, or type and text of its exception."""
    try:
        with np.errstate(all="ignore"):
            return function(*args)
    except Exception as exception:
        return type(exception), str(exception)
