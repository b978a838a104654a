"""`collections.deque` as the state of a program: values and exceptions are Python's, derivatives follow."""

from __future__ import annotations

import collections
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from tests.trace.calling import assert_same, check, outcome

V = np.array([0.5, -1.0, 2.0, 0.25, 1.5, -0.75, 3.0, 1.0])


def both_ends(x: np.ndarray, n: int) -> Any:
    d = deque(x[:3])
    for k in range(n):
        d.appendleft(x[k] * d[-1])
        d.pop()
    return sum(d) * d[0]


def moving_mean(x: np.ndarray, n: int) -> Any:
    d: deque[Any] = deque(maxlen=n)
    total = 0.0
    for v in x:
        d.append(v * v)
        total = total + sum(d) / len(d) * v
    return total


def bounded_to_the_left(x: np.ndarray, n: int) -> Any:
    d = deque([0.0] * 4, maxlen=4)
    total = 0.0
    for k in range(n):
        d.appendleft(x[k])
        total += d[0] * d[-1]
    return total


def breadth_first(x: np.ndarray, n: int) -> Any:
    queue = deque([(x, 0)])
    total = 0.0
    while queue:
        v, depth = queue.popleft()
        total = total + v.sum() * depth
        if depth < 3:
            queue.append((v * x[depth], depth + 1))
    return total


def turned(x: np.ndarray, n: int) -> Any:
    empty: Any = deque()
    empty.rotate(1)
    d = deque(x)
    d.rotate(2)
    d.rotate(-1)
    d.extend([x[0], 7.0])
    d.extendleft((x[1], x[2]))
    d[3] = x[0] * x[0]
    return np.array(d) @ np.arange(1.0, 13.0)


def as_a_sequence(x: np.ndarray, n: int) -> Any:
    d = deque(x, maxlen=5)
    pairs = sum(i * v for i, v in enumerate(d)) + sum(v * w for v, w in zip(d, x[:5], strict=True))
    return np.mean(d) + max(d) + len(d) + (2.0 in d) + [v * 2.0 for v in d][1] + pairs + bool(d)


SMOOTH = [both_ends, moving_mean, bounded_to_the_left, breadth_first, turned, as_a_sequence]


@pytest.mark.parametrize("f", SMOOTH)
def test_programs(f: Callable[..., Any]) -> None:
    compiled, gradient = jitgrad.jit(f), jitgrad.grad(f)
    t = np.array([0.3, -0.2, 0.7, 1.0, -0.4, 0.6, 0.1, -1.0]) * 1e-6
    for n in (1, 3, 6):
        assert_same(compiled(V, n), f(V, n), 1e-12)
        np.testing.assert_allclose(gradient(V, n) @ t, (f(V + t, n) - f(V - t, n)) / 2.0, rtol=1e-6)


WRONG: list[Callable[[Any], Any]] = [
    lambda x: deque().pop(),
    lambda x: deque().popleft(),
    lambda x: deque([x])[3],
    lambda x: deque([x], -1),
]


@pytest.mark.parametrize("f", WRONG)
def test_exceptions(f: Callable[[Any], Any]) -> None:
    got, want = outcome(jitgrad.jit(f), (2.0,)), outcome(f, (2.0,))
    assert (type(got[1]), str(got[1])) == (type(want[1]), str(want[1]))


def test_what_a_program_sees_is_a_deque() -> None:
    def f(x: float) -> Any:
        d = collections.deque([x])
        return isinstance(d, deque), isinstance(d, list), d.maxlen, deque([x], 3).maxlen

    assert jitgrad.jit(f)(2.0) == f(2.0)


def test_a_deque_is_not_returned() -> None:
    with pytest.raises(jitgrad.UnsupportedError, match="JG225: a deque"):
        jitgrad.jit(lambda x: deque([x]))(2.0)


def every_method(x: float) -> Any:
    d = collections.deque([1.0, 4.0, 3.0], maxlen=5)
    d.insert(1, 9.0)
    d += [5.0, 6.0]
    d.reverse()
    a, b = list(d), [*reversed(d)]
    del d[1]
    d.remove(9.0)
    other = d.copy()
    other.append(x)
    same = d == other, d != other, d == collections.deque(d), d == list(d), d in [other, d]
    return a, b, list(d), list(other), other.maxlen, d.count(1.0), same


def full(x: float) -> Any:
    collections.deque([x], 1).insert(0, x)


def lacking(x: float) -> Any:
    collections.deque([1, 2]).remove(3)


def test_every_method() -> None:
    for function in (every_method, full, lacking):
        check(function, (1.5,))
