"""Second derivatives of every program of the bank, through the public API and machine code.

For each program and argument: f is the result made a number by fixed weights, H its second derivative. jvp of grad is
compared with central differences of grad, and the two ways of having u H v, <jvp of grad, u> and the gradient of
<grad f, v>, with each other.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import jitgrad
from tests.programs import bank_classes, bank_loops, bank_models, bank_science, bank_short
from tests.programs.harness import PROGRAMS, Program, outcome

assert bank_classes and bank_loops and bank_models and bank_science and bank_short


def weighted(value: Any, factor: float = 1.0) -> Any:
    """Return one number that depends on every float of a result; also inside a trace."""
    if isinstance(value, float | np.floating):
        return value * factor
    if isinstance(value, np.ndarray):
        if value.dtype.kind != "f":
            return 0.0
        return np.sum(value * np.cos(np.arange(value.size)).reshape(value.shape)) * factor
    total = 0.0
    if isinstance(value, list | tuple):
        for k, v in enumerate(value):
            total = total + weighted(v, factor * (k + 1.0))
    return total


def floats(x: Any) -> Iterator[Any]:
    """Yield the floating-point leaves of an argument, in a fixed order."""
    if isinstance(x, float | np.floating) or (isinstance(x, np.ndarray) and x.dtype.kind == "f"):
        yield x
    elif isinstance(x, list | tuple):
        for v in x:
            yield from floats(v)
    elif isinstance(x, dict):
        for v in x.values():
            yield from floats(v)
    elif hasattr(x, "__dict__"):
        for v in vars(x).values():
            yield from floats(v)


def rebuilt(x: Any, leaf: Callable[[Any], Any]) -> Any:
    """Return an argument with each floating-point leaf replaced, in the order of `floats`."""
    if isinstance(x, float | np.floating) or (isinstance(x, np.ndarray) and x.dtype.kind == "f"):
        return leaf(x)
    if isinstance(x, list):
        return [rebuilt(v, leaf) for v in x]
    if isinstance(x, tuple):
        items = [rebuilt(v, leaf) for v in x]
        return tuple(items) if type(x) is tuple else type(x)(*items)
    if isinstance(x, dict):
        return {k: rebuilt(v, leaf) for k, v in x.items()}
    if hasattr(x, "__dict__"):
        made = copy.copy(x)
        vars(made).update({k: rebuilt(v, leaf) for k, v in vars(x).items()})
        return made
    return x


def direction(x: Any, seed: int) -> Any:
    """Return a random argument of the same structure."""
    rng = np.random.default_rng(seed)
    return rebuilt(x, lambda v: type(v)(rng.normal()) if np.ndim(v) == 0 and not isinstance(v, np.ndarray)
                   else np.asarray(rng.normal(size=v.shape), dtype=v.dtype))


def moved(x: Any, v: Any, step: float) -> Any:
    """Return x + step * v."""
    steps = floats(v)
    return rebuilt(x, lambda a: type(a)(a + step * next(steps)) if not isinstance(a, np.ndarray)
                   else (a + step * next(steps)).astype(a.dtype))


def dot(x: Any, y: Any) -> float:
    return float(sum(np.sum(np.float64(a) * b) for a, b in zip(floats(x), floats(y), strict=True)))
