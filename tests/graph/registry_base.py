"""What an example of a primitive is, and arrays for examples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["DTYPES", "FLOATS", "Example", "draw", "layouts"]


class Example(NamedTuple):
    """One use of a primitive.

    Attributes
    ----------
    operands : list of ndarray
        Arguments of the graph.
    build : callable
        `build(g, *args) -> Value or list of Value`, the results of the graph.
    meaning : callable
        `meaning(*operands)` in NumPy: one array or a tuple.
    smooth : bool
        Whether the derivative can be had from finite differences.
    """

    operands: Sequence[Any]
    build: Callable[..., Any]
    meaning: Callable[..., Any]
    smooth: bool = True


DTYPES = ["bool", "int8", "int64", "uint8", "uint64", "float32", "float64"]
FLOATS = ["float32", "float64"]
RNG = np.random.default_rng(7)


def draw(dtype: str, *shape: int) -> np.ndarray:
    """Return numbers that are distinct where the dtype allows, of both signs where it has them."""
    size = int(np.prod(shape))
    if dtype == "bool":
        return np.asarray(RNG.random(shape) < 0.5)
    if dtype.startswith("complex"):
        return np.asarray(RNG.normal(size=shape) + 1j * RNG.normal(size=shape), dtype)
    numbers = RNG.permutation(np.arange(size) - (size // 3 if dtype[0] != "u" else 0)).reshape(shape)
    return np.asarray(numbers if dtype[0] in "iu" else numbers * 0.37 + 0.11, dtype)


def layouts(dtype: str) -> list[np.ndarray]:
    """Return arrays of many shapes and memory orders."""
    return [
        draw(dtype),
        draw(dtype, 0),
        draw(dtype, 1),
        draw(dtype, 5),
        draw(dtype, 10)[::2],
        draw(dtype, 5)[::-1],
        draw(dtype, 3, 4),
        np.asfortranarray(draw(dtype, 3, 4)),
        draw(dtype, 4, 6)[1:, ::3],
        draw(dtype, 2, 0),
        draw(dtype, 1, 3),
        draw(dtype, 2, 3, 4),
        draw(dtype, 4, 3, 2).T,
    ]
