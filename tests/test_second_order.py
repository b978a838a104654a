"""Second derivatives of every program of the bank, through the public API and machine code.

For each program and argument: f is the result made a number by fixed weights, H its second derivative. jvp of grad is
compared with central differences of grad, and the two ways of having u H v, <jvp of grad, u> and the gradient of
<grad f, v>, with each other. Complete on the newest supported Python: the graphs are those of every other.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from tests.programs import test_programs, test_textbook  # they import all banks
from tests.programs.harness import PROGRAMS, Program, outcome
from tests.sampling import sampled

assert test_programs and test_textbook


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


def _has_fields(x: Any) -> bool:
    return hasattr(x, "__dict__") and not (inspect.isroutine(x) or isinstance(x, type))


def places(x: Any) -> list[tuple[Any, ...]]:
    """Return where the floating-point leaves of an argument are, as keys and names of attributes."""
    if isinstance(x, float | np.floating) or (isinstance(x, np.ndarray) and x.dtype.kind == "f"):
        return [()]
    if isinstance(x, list | tuple):
        parts: Any = enumerate(x)
    elif isinstance(x, dict):
        parts = x.items()
    elif _has_fields(x):
        return [(("of", name), *rest) for name, v in vars(x).items() for rest in places(v)]
    else:
        return []
    return [(key, *rest) for key, v in parts for rest in places(v)]


def leaf(x: Any, place: tuple[Any, ...]) -> Any:
    """Return the leaf at a place; also inside a trace."""
    for key in place:
        x = getattr(x, key[1]) if isinstance(key, tuple) else x[key]
    return x


def floats(x: Any) -> list[Any]:
    """Return the floating-point leaves of an argument, in a fixed order."""
    return [leaf(x, place) for place in places(x)]


def rebuilt(x: Any, put: Callable[[Any], Any]) -> Any:
    """Return an argument with each floating-point leaf replaced, in the order of `floats`."""
    if isinstance(x, float | np.floating) or (isinstance(x, np.ndarray) and x.dtype.kind == "f"):
        return put(x)
    if isinstance(x, list):
        return [rebuilt(v, put) for v in x]
    if isinstance(x, tuple):
        items = [rebuilt(v, put) for v in x]
        return tuple(items) if type(x) is tuple else type(x)(*items)
    if isinstance(x, dict):
        return {k: rebuilt(v, put) for k, v in x.items()}
    if _has_fields(x):
        made = copy.copy(x)
        vars(made).update({k: rebuilt(v, put) for k, v in vars(x).items()})
        return made
    return x


def direction(x: Any, seed: int) -> Any:
    """Return a random argument of the same structure."""
    rng = np.random.default_rng(seed)

    def drawn(v: Any) -> Any:
        if isinstance(v, np.ndarray):
            return np.asarray(rng.normal(size=v.shape), v.dtype)
        return type(v)(rng.normal())

    return rebuilt(x, drawn)


def moved(x: Any, v: Any, step: float) -> Any:
    """Return x + step * v."""
    steps = iter(floats(v))

    def put(a: Any) -> Any:
        made = a + step * next(steps)
        return np.asarray(made, a.dtype) if isinstance(a, np.ndarray) else type(a)(made)

    return rebuilt(x, put)


def close(got: Any, want: Any, rtol: float) -> None:
    """Assert that the leaves of two gradients agree, relative to the largest of all."""
    pairs = list(zip(floats(got), floats(want), strict=True))
    scale = max([1.0, *(float(np.max(np.abs(w))) for _, w in pairs if np.size(w))])
    for g, w in pairs:
        np.testing.assert_allclose(g, w, rtol=rtol, atol=rtol * scale)


@pytest.mark.parametrize(
    ("p", "position"),
    sampled([(p, k) for p in PROGRAMS for k in p.wrt], 8, newest=2),
    ids=lambda v: getattr(v, "name", str(v)),
)
def test_second_derivatives(p: Program, position: int) -> None:
    args = next(a for a in p.inputs if outcome(p.function, copy.deepcopy(a))[0] == "value")
    x = moved(args[position], direction(args[position], 1), 1e-3)  # away from kinks
    v, where = direction(x, 2), places(x)

    def scalar(*given: Any) -> Any:
        return weighted(p.function(*given))

    gradient = jitgrad.grad(scalar, argnums=position)

    def along(t: Any) -> Any:
        return gradient(*args[:position], t, *args[position + 1 :])

    def slope(t: Any) -> Any:
        total = 0.0
        made = along(t)
        for place in where:
            total = total + np.sum(leaf(made, place) * leaf(v, place))
        return total

    single = any(np.asarray(a).dtype == np.float32 for a in floats(x))
    step = 1e-2 if single else 1e-5
    _, product = jitgrad.jvp(along, (x,), (v,))
    after, before = along(moved(x, v, step)), along(moved(x, v, -step))
    by_difference = rebuilt(moved(after, before, -1.0), lambda d: d / (2 * step))
    close(product, by_difference, 2e-2 if single else 1e-4)
    close(jitgrad.grad(slope)(x), product, 1e-4 if single else 1e-9)
