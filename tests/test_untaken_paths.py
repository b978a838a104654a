"""What a path that is not taken would contribute is an exact zero, whatever the partials on it are.

Each program computes a square root whose slope at the point is infinite, and does not use it there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad


def in_an_arm(x):
    s = math.sqrt(x)
    y = 3.0 * x
    if x > 1:
        y = s
    return y


def clipped(x):
    norm = np.sqrt(np.sum(x**2))
    y = 3.0 * x
    if norm > 1:
        y /= norm
    return y.sum()


def in_a_loop(x):
    t, s = 0.0, math.sqrt(x)
    for _ in range(3):
        if x > 1:
            t += s
        else:
            t += x
    return t


def in_a_loop_that_does_not_run(x, n):
    s, t = math.sqrt(x), 2.0 * x
    for _ in range(n):
        t += s * t
    return t


def in_a_while(x):
    s, t = math.sqrt(x), 2.0 * x + 0.5
    while t > 1:
        t = t * 0.5 + s
    return t


def array_in_a_loop(x, n):
    s, t = np.sqrt(x), 2.0 * x
    for _ in range(n):
        if t[0] > 1:
            t = t + s
    return t.sum()


def element_in_a_loop(x, n):
    s, t = np.sqrt(x), x[0] * 2
    for i in range(n):
        v = s[i]
        if x[i] > 0.5:
            t += v
        else:
            t += x[i]
    return t


def in_nested_loops(x):
    s, t = math.sqrt(x), x
    for i in range(3):
        for j in range(i):
            if x > 1:
                t += s * j
            elif x > 0.5:
                t += 1
            else:
                t += x
    return t


def both_ways(x):
    s, y = math.sqrt(x), x
    for k in range(2):
        if k > x + 5:
            y = y + s
    if y > 3.0:
        y = y * s
    return y


CASES: list[tuple[Callable[..., Any], tuple[Any, ...], Any]] = [
    (in_an_arm, (0.0,), 3.0),
    (in_an_arm, (4.0,), 0.25),
    (clipped, (np.zeros(2),), [3.0, 3.0]),
    (in_a_loop, (0.0,), 3.0),
    (in_a_loop, (4.0,), 0.75),
    (in_a_loop_that_does_not_run, (0.0, 0), 2.0),
    (in_a_while, (0.0,), 2.0),
    (array_in_a_loop, (np.zeros(2), 3), [2.0, 2.0]),
    (array_in_a_loop, (np.zeros(2), 0), [2.0, 2.0]),
    (element_in_a_loop, (np.zeros(3), 3), [3.0, 1.0, 1.0]),
    (in_nested_loops, (0.0,), 4.0),
    (both_ways, (0.0,), 1.0),
]


@pytest.mark.parametrize(("f", "args", "want"), CASES, ids=lambda v: getattr(v, "__name__", None))
def test_gradient(f: Callable[..., Any], args: tuple[Any, ...], want: Any) -> None:
    assert np.array_equal(jitgrad.grad(f)(*args), want)
    x, rest = args[0], args[1:]
    direction = np.ones_like(x) if isinstance(x, np.ndarray) else 1.0
    _, slope = jitgrad.jvp(lambda x: f(x, *rest), (x,), (direction,))
    assert np.isclose(slope, np.sum(want))


def test_a_square_of_the_root_keeps_its_slope() -> None:
    """No mask is made where the path is taken: a cotangent that happens to be 0 is no exact zero."""

    def f(x: float, flag: bool) -> float:
        s = math.sqrt(x)
        return s * s if flag else x

    assert jitgrad.grad(f)(4.0, True) == 1.0
    assert jitgrad.grad(f)(0.0, True) != 0.0
