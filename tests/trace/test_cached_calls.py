"""Functions under `functools.cache` and `lru_cache`: as Python's, or refused where a cache would show."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad import UnsupportedError
from tests.trace.calling import check, check_derivatives

X = np.array([0.5, 1.5, -0.75])
INPUTS = [(X, 3), (-X, 1), (2.0 * X, 0), (X, 5)]


@functools.cache
def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


@functools.cache
def square(v: float) -> float:
    return v * v + 1.0


@functools.lru_cache(maxsize=32)
def nodes(k: int) -> np.ndarray:
    return np.cos(np.pi * (np.arange(k) + 0.5) / k)


@functools.cache
def neighbours(i: int) -> list[int]:
    return [i - 1, i + 1]


class Model:
    def __init__(self, scale: float) -> None:
        self.scale = scale

    @functools.lru_cache  # noqa: B019
    def weight(self, k: int) -> float:
        return self.scale / (k + 1)


OUTSIDE = Model(2.0)


class Loose:
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


def deep_recursion(x: np.ndarray, n: int) -> Any:
    return x.sum() * fibonacci(80) / 1e15 + fibonacci(n + 1)


def of_run_time_floats(x: np.ndarray, n: int) -> Any:
    return square(float(x[0])) + square(float(x[1])) * square(float(n))


def table_by_recursion(x: np.ndarray, n: int) -> Any:
    @functools.cache
    def best(i: int, j: int) -> Any:
        if i == 0 or j == 0:
            return 0.0
        return max(best(i - 1, j), best(i, j - 1)) + x[i % 3] * j

    return best(9, 7)


def recursion_over_an_argument(x: np.ndarray, n: int) -> Any:
    @functools.lru_cache(maxsize=64)
    def go(i: int) -> Any:
        return x[0] if i <= 0 else go(i - 1) * x[1] + 1.0

    return go(n)


def arrays_in_a_loop(x: np.ndarray, n: int) -> Any:
    s = nodes(3) @ x
    for t in range(n):
        s += (nodes(4) * x[0]).sum() * t
    return s


def one_object(x: np.ndarray, n: int) -> Any:
    return (nodes(3) is nodes(3)) * x[0], nodes(3) is nodes(4)


def lists(x: np.ndarray, n: int) -> Any:
    return sum(x[j] * k for k in (1, 2) for j in neighbours(1)) + len(neighbours(1))


def methods(x: np.ndarray, n: int) -> Any:
    made = Model(x[0])
    return made.weight(2) * x[1] + OUTSIDE.weight(3) * made.weight(2)


def stored_before(x: np.ndarray, n: int) -> Any:
    y = x * 1.0
    y[0] = x[1] * n

    @functools.cache
    def item(k: int) -> Any:
        return y[k] * 2.0

    return item(0) + item(1) * item(0)


@pytest.mark.parametrize(
    "function",
    [
        deep_recursion, of_run_time_floats, table_by_recursion, recursion_over_an_argument, arrays_in_a_loop,
        one_object, lists, methods, stored_before,
    ],
)  # fmt: skip
def test_as_in_python(function: Callable[..., Any]) -> None:
    for x, n in INPUTS:
        fibonacci.cache_clear()
        check(function, (x.copy(), n))
    check_derivatives(lambda x: function(x, 3), X, 2, 1e-5)


def _stored_into(x: np.ndarray, n: int) -> Any:
    made = nodes(3)
    made[0] = x[0]
    return made @ x


def _read_then_stored(x: np.ndarray, n: int) -> Any:
    y = x * 1.0

    @functools.cache
    def item(k: int) -> Any:
        return y[k] * 2.0

    s = 0.0
    for _ in range(n):
        y[0] += 1.0
        s += item(0)
    return s


def _counts_its_calls(x: np.ndarray, n: int) -> Any:
    calls = []

    @functools.cache
    def counted(k: int) -> Any:
        calls.append(k)
        return x[k]

    return counted(1) + counted(1) + len(calls)


def _one_and_one_point_zero(x: np.ndarray, n: int) -> Any:
    return square(1) + square(1.0) * x[0]  # type: ignore[arg-type]


def _compared_by_themselves(x: np.ndarray, n: int) -> Any:
    @functools.cache
    def same(v: Any) -> Any:
        return x[0]

    return same(Loose()) + same(Loose())


@pytest.mark.parametrize(
    ("function", "code"),
    [
        (_stored_into, "JG241"), (_read_then_stored, "JG241"), (_counts_its_calls, "JG237"),
        (_one_and_one_point_zero, "JG237"), (_compared_by_themselves, "JG237"),
    ],
)  # fmt: skip
def test_where_a_cache_would_show(function: Callable[..., Any], code: str) -> None:
    with pytest.raises(UnsupportedError, match=code):
        jitgrad.jit(function)(X, 3)


def test_arguments_without_a_hash() -> None:
    for x, n in [(X, 1), (-X, 2), (2.0 * X, 3)]:
        check(lambda x, n: square(x) * n, (x, n))
