"""Python's sets of known items: what is in them, what their operators give, in which order they are gone through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from tests.trace.calling import assert_same, outcome

GRAPH = {0: (1, 2), 1: (3,), 2: (3, 4), 3: (0,), 4: ()}


def visited(x: np.ndarray) -> Any:
    """Return what is met on a way through a graph, each node once."""
    seen: set[int] = set()
    todo, total = [0], 0.0
    while todo:
        k = todo.pop()
        if k in seen:
            continue
        seen.add(k)
        total += x[k] ** 2 * len(seen)
        todo += GRAPH[k]
    return total


def recursive(x: np.ndarray) -> Any:
    seen = set()

    def go(k: int) -> Any:
        if k in seen or k >= len(x):
            return 0.0
        seen.add(k)
        return x[k] * (k + 1) + go(k + 1) * go(k + 2)

    return go(0)


def counted(x: np.ndarray) -> Any:
    s = set()
    for k in range(len(x)):
        s.add(k % 3)
    total = 0.0
    for k in s:
        total = total * 0.5 + k * x[k]
    return total + len(s) * x[0] + (2 in s)


def in_a_branch(x: np.ndarray) -> Any:
    s = {1, 2}
    s.discard(2)
    return x[0] * (1 in s) + x[1] * (2 in s)


@pytest.mark.parametrize("function", [visited, recursive, counted, in_a_branch])
def test_programs(function: Callable[[np.ndarray], Any]) -> None:
    x = np.array([0.5, -1.0, 2.0, 0.25, 1.5])
    assert_same(jitgrad.jit(function)(x), function(x), 1e-14)
    h = 1e-6
    quotients = [(function(x + h * e) - function(x - h * e)) / (2 * h) for e in np.eye(len(x))]
    np.testing.assert_allclose(jitgrad.grad(function)(x), quotients, rtol=1e-7, atol=1e-8)


def operators(x: float) -> Any:
    s, t, u = {3, 1}, set("ab"), {1, 2, 3} & {2, 3, 4}
    v, w = u ^ {9}, u - {2}
    a = s
    a |= {8}
    a &= {8, 3}
    a -= {8}
    a ^= {5}
    order = u <= {2, 3, 5}, u < {2, 3}, {1} != {2}, s > {3}, s >= {3, 5}, s.issuperset([3]), {1}.issubset([1, 2])
    kinds = type(s) is set, isinstance(s, set), isinstance(s, frozenset), isinstance(frozenset(s), frozenset)
    same = s == {3, 5}, s.isdisjoint({7}), frozenset(s) == {3, 5}, {1} | frozenset([2]) == {1, 2}, s is a
    return sorted(u), sorted(v), len(w), order, kinds, same, sorted(t.union("c")), max({4, 2}), sum({1, 2}) * x


SAME: list[Callable[[float], Any]] = [
    operators,
    lambda x: [k * x for k in set((5, 30, 9)[:2])],
    lambda x: [k * x for k in {k * 7 for k in range(4)}],
    lambda x: list({30, 2, 17}),
    lambda x: {k * k for k in (3, 1)} == {1, 9},
    lambda x: sorted({1, 5, 3}.difference([5]), reverse=True),
    lambda x: len(set()) + bool(set()) + bool({0}),
]

WRONG: list[Callable[[float], Any]] = [
    lambda x: {1, 2}.remove(5),
    lambda x: {1}.add([x]),
    lambda x: {1} < 3,
    lambda x: {1} + {2},
]


@pytest.mark.parametrize("function", SAME)
def test_values(function: Callable[[float], Any]) -> None:
    assert_same(jitgrad.jit(function)(1.5), function(1.5), 0.0)


@pytest.mark.parametrize("function", WRONG)
def test_exceptions(function: Callable[[float], Any]) -> None:
    got, want = outcome(jitgrad.jit(function), (1.5,)), outcome(function, (1.5,))
    assert (type(got[1]), str(got[1])) == (type(want[1]), str(want[1]))


def shrunk(x: float) -> Any:
    s = {1, 2, 3}
    s.discard(2)
    return [k * x for k in s]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: {1, 2}, "JG225: a set"),
        (shrunk, "JG237: iterating over a set"),
        (lambda x: {np.sin(x), 2.0}, "JG228: the key of a dict or an item of a set"),
    ],
)
def test_refusals(function: Callable[[float], Any], words: str) -> None:
    with pytest.raises(jitgrad.UnsupportedError, match=words):
        jitgrad.jit(function)(1.5)
