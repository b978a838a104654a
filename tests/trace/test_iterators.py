"""Iterators have each item once: what a loop or a function has gone over is not gone over again, or it is refused."""

# Written as users write them.
# ruff: noqa: C417, RUF007

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.errors import UnsupportedError
from tests.trace.calling import check


def generated(x: float) -> Iterator[Any]:
    yield x
    yield 2 * x


def each_once(x: float) -> Any:
    t = 0.0
    for k, (u, v) in enumerate(zip([x, 2 * x], generated(x), strict=True)):
        t += u * v * k
    return t + sum(map(lambda v: v * x, reversed([x, 1.0]))) + max(v for v in generated(x))


def made_in_each_trip(x: float, n: int) -> Any:
    t = 0.0
    for k in range(n):
        for u, v in zip(generated(x), [1.0, 2.0], strict=True):
            t += u * v + k
    return t


def ended(x: float) -> Any:
    rest = iter([x, 2 * x])
    pairs = zip([x, 1.0], [2.0, x], strict=True)
    return next(rest), next(rest), next(rest, 7.0), list(rest), list(pairs), list(pairs)


def rows_in_a_variable(x: float, n: int) -> Any:
    values, numbers = iter(x * np.ones(4)), iter(range(n))
    t = 0.0
    for v in values:
        t += v
    for k in numbers:
        t += k * x
    return t, list(zip(iter(x * np.ones(n)), iter(range(n)), strict=True))[1][0]


def rows_that_grew(x: float, n: int) -> Any:
    xs = [x * k for k in range(n)]
    pairs = zip(xs, xs[1:], strict=False)
    t = 0.0
    for u, v in pairs:
        t += u * v
    return t


@pytest.mark.parametrize("function", [each_once, ended])
def test_as_in_python(function: Callable[..., Any]) -> None:
    check(function, (1.5,))


@pytest.mark.parametrize("function", [made_in_each_trip, rows_in_a_variable, rows_that_grew])
def test_in_loops(function: Callable[..., Any]) -> None:
    check(function, (1.5, 4))


def twice(make: Callable[[Any], Any]) -> Callable[..., Any]:
    def f(x: float) -> Any:
        values = make(x)
        return sum(values) + 10.0 * sum(values)

    return f


def pairs(x: float) -> Any:
    rest = iter([x, 2 * x, 3 * x, 4 * x])
    return sum(u * v for u, v in zip(rest, rest, strict=False))


def left_by_a_loop(x: float) -> Any:
    rest = iter([x, 2 * x, 3 * x])
    for _ in rest:
        break
    return next(rest)


def pairs_of_rows(x: float) -> Any:
    rest = iter(np.array([x, 2 * x, 3 * x, 4 * x]))
    return sum(u * v for u, v in zip(rest, rest, strict=False))


def rows_left_by_a_loop(x: float) -> Any:
    rest = iter(x * np.ones(5))
    t = 0.0
    for v in rest:
        t += v
        if t > 2.0:
            break
    return t, [2 * v for v in rest]


@pytest.mark.parametrize(
    "function",
    [
        twice(generated),
        twice(lambda x: (v * x for v in (1.0, 2.0))),
        twice(lambda x: map(lambda v: v * x, (1.0, 2.0))),
        twice(lambda x: filter(None, (1.0, 2.0))),
        twice(lambda x: reversed([x, 1.0])),
        twice(lambda x: itertools.chain([x], [1.0])),
        twice(lambda x: itertools.accumulate([x, 1.0])),
        twice(lambda x: iter([x, 1.0])),
        twice(lambda x: iter(np.array([x, 1.0]))),
        twice(lambda x: iter(iter(np.array([x, 1.0])))),
        twice(lambda x: iter(range(3))),
        twice(lambda x: iter(range(int(x)))),
        pairs,
        pairs_of_rows,
        left_by_a_loop,
        rows_left_by_a_loop,
    ],
)
def test_used_again(function: Callable[..., Any]) -> None:
    with pytest.raises(UnsupportedError) as found:
        jitgrad.jit(function)(1.5)
    assert found.value.code == "JG248"


def test_a_list_that_changes_before_an_iterator_over_it_is_used() -> None:
    def mapped(x: float) -> Any:
        xs = [x, 2 * x]
        scaled = map(lambda v: v * 3, xs)
        xs.append(5 * x)
        return sum(scaled)

    def f(x: float) -> Any:
        xs = [x, 2 * x]
        scaled = zip(xs, [1.0, 2.0], strict=False)
        xs[0] = 5 * x
        return sum(u * v for u, v in scaled)

    check(mapped, (1.5,))
    with pytest.raises(UnsupportedError) as found:
        jitgrad.jit(f)(1.5)
    assert found.value.code == "JG247"
