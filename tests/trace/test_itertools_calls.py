"""`yield from`, `next` of a generator, iterators of `itertools` without an end, `functools.singledispatch`."""

from __future__ import annotations

import functools
import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad import UnsupportedError
from tests.trace.calling import check, check_derivatives

X = np.array([0.5, 1.5, -0.75])
INPUTS = [(X, 3), (-X, 1), (2.0 * X, 0), (X[::-1].copy(), 4)]


def _doubled(x: Any) -> Iterator[Any]:
    for v in x:
        yield v * 2.0


def _parts(x: np.ndarray, n: int) -> Iterator[Any]:
    for t in range(n):
        yield from (x[0] * t, x[1])
        if x[2] * t > -1.0:
            yield x[2]
    yield from _doubled(x)


def _leaves(tree: Any) -> Iterator[Any]:
    if isinstance(tree, tuple):
        for part in tree:
            yield from _leaves(part)
    else:
        yield tree


class Node:
    def __init__(self, value: Any, *children: Node) -> None:
        self.value = value
        self.children = children

    def __iter__(self) -> Iterator[Any]:
        yield self.value
        for child in self.children:
            yield from child


def all_parts(x: np.ndarray, n: int) -> Any:
    return sum(v * v for v in _parts(x, n))


def until_it_is_enough(x: np.ndarray, n: int) -> Any:
    s = 0.0
    for v in _parts(x, n):
        if v > 1.2:
            break
        s = s * 0.5 + v
    return s


def leaves_of_a_tree(x: np.ndarray, n: int) -> Any:
    return sum(v * v for v in _leaves((x[0], (x[1], (x[2], x[0])))))


def nodes_of_a_tree(x: np.ndarray, n: int) -> Any:
    return sum(v * k for k, v in enumerate(Node(x[0], Node(x[1], Node(x[2])), Node(x[0] * x[1]))))


def the_first_of_some(x: np.ndarray, n: int) -> Any:
    k = next((i for i, v in enumerate(x) if v > 0.6), None)
    return -x[0] if k is None else x[k] ** 2


def the_first_there_must_be(x: np.ndarray, n: int) -> Any:
    return next(v * 2.0 for v in x if v > 0.4 * n)


def counted_on(x: np.ndarray, n: int) -> Any:
    s = x[1]
    for k in itertools.count(1):
        s = s * 0.5 + x[0] * k
        if k > n:
            break
    return s


def counted_beside(x: np.ndarray, n: int) -> Any:
    return sum(k * v for k, v in zip(itertools.count(2, 3), x, strict=False))


def by_groups(x: np.ndarray, n: int) -> Any:
    s = 0.0
    for key, group in itertools.groupby(range(7), key=lambda i: i // 3):
        s += sum(x[i % 3] * (key + 1) for i in group)
    return s


def twice(x: np.ndarray, n: int) -> Any:
    a, b = itertools.tee(x)
    next(b)
    return sum(p * q for p, q in zip(a, b, strict=False))


def batches(x: np.ndarray, n: int) -> Any:
    if sys.version_info < (3, 12) or sys.version_info.major != 3:
        return x.sum()
    return sum(sum(batch) ** 2 for batch in itertools.batched(x, 2))


@dataclass
class Square:
    side: Any


@dataclass
class Circle:
    radius: Any


@functools.singledispatch
def area(shape: Any) -> Any:
    return 0.5


@area.register
def _(shape: Square) -> Any:
    return shape.side**2


@area.register(Circle)
def _(shape: Any) -> Any:
    return 3.0 * shape.radius**2


def dispatched(x: np.ndarray, n: int) -> Any:
    return area(Square(x[0])) + area(Circle(x[1])) * area(n) + area(x)


PROGRAMS = [
    all_parts, until_it_is_enough, leaves_of_a_tree, nodes_of_a_tree, the_first_of_some, the_first_there_must_be,
    counted_on, counted_beside, by_groups, twice, batches, dispatched,
]  # fmt: skip


@pytest.mark.parametrize("function", PROGRAMS)
def test_as_in_python(function: Callable[..., Any]) -> None:
    for x, n in INPUTS:
        check(function, (x.copy(), n))
    check_derivatives(lambda x: function(x, 3), X, 2, 1e-5)


def test_the_value_of_yield_from_is_refused() -> None:
    def returns(x: np.ndarray) -> Any:
        yield x[0]
        return x[1]

    def outer(x: np.ndarray) -> Any:
        last = yield from returns(x)
        yield last

    with pytest.raises(UnsupportedError, match="the value of a `yield from`"):
        jitgrad.jit(lambda x: sum(outer(x)))(X)


def test_a_class_that_is_registered_later() -> None:
    class Plain:
        pass

    class Special(Plain):
        pass

    @functools.singledispatch
    def weight(thing: Any) -> float:
        return 1.0

    compiled = jitgrad.jit(lambda x: x[0] * weight(thing))
    thing = Special()
    assert compiled(X) == X[0]
    weight.register(Plain, lambda thing: 3.0)
    assert compiled(X) == 3.0 * X[0]
    weight.register(Special, lambda thing: 5.0)
    assert compiled(X) == 5.0 * X[0]


def test_the_keys_of_groups_are_known() -> None:
    def function(x: np.ndarray) -> Any:
        return sum(sum(group) * 2.0 for _, group in itertools.groupby(x, key=lambda v: v > 0.0))

    with pytest.raises(UnsupportedError, match="JG236"):
        jitgrad.jit(function)(X)
