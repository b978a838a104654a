"""Views of one array that move or get shorter in each trip of a loop, stored through: the array sees the stores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad import UnsupportedError
from jitgrad.api import Transformed
from jitgrad.transform import Transform

X = np.array([0.5, 1.5, -0.75, 2.0, 1.25])


def from_the_left(x: np.ndarray, n: int) -> Any:
    a = x * 1.0
    v = a
    while len(v) > 1:
        v[0] += v[1] * x[0]
        v = v[1:]
    return (a * a).sum() + v[0]


def from_both_ends(x: np.ndarray, n: int) -> Any:
    a = x * 1.0
    v = a
    while len(v) >= 2:
        v[0], v[-1] = v[-1] * 2.0, v[0]
        v = v[1:-1]
    return (a * np.arange(5.0)).sum()


def of_an_argument(x: np.ndarray, n: int) -> Any:
    v = x
    for k in range(n):
        v = v[1:]
        v[:1] = 7.0 * k
    return x.sum()


def halved(x: np.ndarray, n: int) -> Any:
    a = x * 1.0
    v = a
    while len(v) > 1:
        m = len(v) // 2
        v[:m] += v[-m:]
        v = v[: len(v) - m]
    return a[0] * a[1]


def trailing_matrix(x: np.ndarray, n: int) -> Any:
    a = np.outer(x, x) + (n + 1) * np.eye(5)
    s = a
    while s.shape[0] > 1:
        s[1:, 0] /= s[0, 0]
        s[1:, 1:] -= np.outer(s[1:, 0], s[0, 1:])
        s = s[1:, 1:]
    return np.log(np.diag(a)).sum()


def bisected(x: np.ndarray, n: int) -> Any:
    a = np.sort(x * x)
    v = a
    while len(v) > 1:
        m = len(v) // 2
        v = v[:m] if v[m] > x[1] else v[m:]
        v[0] += 0.1 * x[0]
    return (a * a).sum() + v[0]


def begun_again(x: np.ndarray, n: int) -> Any:
    a = x * 1.0
    v = a
    for k in range(n):
        if len(v) < 2:
            v = a
        v[0] += x[k % 5]
        v = v[1:]
    return (a * a).sum() + v.sum()


PROGRAMS = [from_the_left, from_both_ends, of_an_argument, halved, trailing_matrix, bisected, begun_again]


@pytest.mark.parametrize("function", PROGRAMS)
def test_a_store_through_a_view_that_gets_shorter(function: Callable[..., Any]) -> None:
    compiled, gradient = jitgrad.jit(function), Transformed(Transform("grad", function))
    for n in (0, 1, 3, 7):
        for x in (X, X[::-1].copy()):
            given, taken = x.copy(), x.copy()
            np.testing.assert_allclose(compiled(given, n), function(taken, n), rtol=1e-12)
            np.testing.assert_array_equal(given, taken)
            steps = np.eye(5) * 1e-6
            want = [(function(x + d, n) - function(x - d, n)) / 2e-6 for d in steps]
            np.testing.assert_allclose(gradient(x, n), want, rtol=1e-5, atol=1e-6)


def test_a_view_of_an_argument_comes_back_as_one() -> None:
    def function(x: np.ndarray, n: int) -> Any:
        v = x[:]
        for _ in range(n):
            v = v[1:]
        return v

    compiled = jitgrad.jit(function)
    for n in (0, 2, 4):
        made = compiled(X, n)
        assert np.shares_memory(made, X) and made is not X
        np.testing.assert_array_equal(made, function(X, n))


def test_an_array_or_a_view_of_it_is_not_mistaken() -> None:
    """Whether it is the very array depends on whether there was a trip."""

    def function(x: np.ndarray, n: int) -> Any:
        v = x
        for _ in range(n):
            v = v[1:]
        return v, v is x

    compiled = jitgrad.jit(function)
    for n in range(5):
        made, same = compiled(X, n)
        assert np.shares_memory(made, X) and (made is X) == bool(same) == (n == 0)
        np.testing.assert_array_equal(made, X[n:])


def test_a_view_that_may_be_the_array_where_trips_are_not_told_apart() -> None:
    def function(x: np.ndarray, n: int) -> Any:
        v = x
        while x[n] > 0.0 and len(v) > n:
            v = v[1:]
            x[n] -= 0.5
        return v

    for x in (X, -X):
        given, taken = x.copy(), x.copy()
        try:
            made = jitgrad.jit(function)(given, 3)
        except UnsupportedError as refused:
            assert refused.code == "JG225"
            continue
        want = function(taken, 3)
        assert (made is given) == (want is taken)
        np.testing.assert_array_equal(made, want)
