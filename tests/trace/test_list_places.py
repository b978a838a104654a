"""Arrays in lists that grow, stored into: the item of the list and the name are one array, or the store is refused."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad import UnsupportedError

X = np.array([0.5, 1.5, -0.75])


def by_index(x: np.ndarray, n: int) -> Any:
    out = []
    for t in range(n):
        out.append(x * t)
    for k in range(n):
        out[k] += x[0]
    out[-1][0] = x[1]
    return (np.array(out) ** 2).sum()


def a_row_by_name(x: np.ndarray, n: int) -> Any:
    out = []
    for t in range(n):
        out.append(x * t)
    row = out[n // 2]
    for j in range(3):
        row[j] += x[j]
    return (np.array(out) ** 2).sum()


def each_row(x: np.ndarray, n: int) -> Any:
    out = [np.outer(x, x)]
    for t in range(n):
        out.append(np.outer(x, x) * t)
    for m in out:
        m.T[2] += 1.0
        m[0] = m[1] * 2.0
    return sum((m**2).sum() for m in out)


def named_before(x: np.ndarray, n: int) -> Any:
    rows = []
    for t in range(n):
        u = x + t
        half = u[1:]
        rows.append(u)
        u[0] = x[1] * 5.0
        half *= 2.0
    return (np.array(rows) ** 2).sum()


def appended_in_a_branch(x: np.ndarray, n: int) -> Any:
    rows = []
    for t in range(n):
        u = x + t
        if x[0] * t > 0.6:
            rows.append(u)
        u[0] = 7.0 * x[1]
    s = 0.0
    for r in rows:
        s += (r**2).sum()
    return s


def carried(x: np.ndarray, n: int) -> Any:
    rows = [x * 1.0]
    first = prev = rows[0]
    for _ in range(n):
        cur = prev * 1.5
        rows.append(cur)
        prev[0] = cur[1]
        first[2] += 0.5
        prev = cur
    return (np.array(rows) ** 2).sum() + first.sum()


def taken_out(x: np.ndarray, n: int) -> Any:
    stack, s = [], 0.0
    for t in range(n):
        stack.append(x * t)
    while len(stack) > 0:
        v = stack.pop()
        v[0] += 1.0
        s += (v**2).sum()
        if s > 20 and len(stack) > 1:
            stack[0][1] += 0.5 * x[2]
    return s


def replaced(x: np.ndarray, n: int) -> Any:
    rows = []
    for t in range(n):
        rows.append(x * t)
    for k in range(n - 1):
        rows[k] = rows[k + 1] * 2.0
        rows[k][0] = x[1]
    return (np.array(rows) ** 2).sum()


def _push(rows: list[Any], u: np.ndarray) -> None:
    rows.append(u)
    u[2] += 1.0


def by_a_helper(x: np.ndarray, n: int) -> Any:
    rows = []
    for t in range(n):
        u = x * t
        _push(rows, u)
        u[1] = x[0] * 2.0
    return (np.array(rows) ** 2).sum()


def first_or_second(x: np.ndarray, n: int) -> Any:
    rows = []
    for t in range(n + 2):
        rows.append(x + t)
    a = rows[0]
    if x[0] > 0.3:
        a = rows[1]
    a[0] = 10.0 * x[0]
    return (np.array(rows) ** 2).sum()


def window(x: np.ndarray, n: int) -> Any:
    d: deque[Any] = deque(maxlen=3)
    rows, s = [], 0.0
    for t in range(n):
        d.append(x * t)
        d[0][1] += x[0]
        rows.insert(0, x * t)
        rows[-1][1] += 2.0 * x[0]
        if len(rows) > 3:
            rows.pop(0)
        s += d[0][1] * d[-1][0] + rows[0][1]
    return s


def pivoted(x: np.ndarray, n: int) -> Any:
    a = np.array([[x[0], 2.0, 1.0], [3.0, x[1], 0.5], [1.0, 4.0, x[2]]])
    rows = []
    for i in range(3):
        rows.append(np.append(a[i], float(i + n)))
    for k in range(3):
        p = k
        for i in range(k + 1, 3):
            if abs(rows[i][k]) > abs(rows[p][k]):
                p = i
        rows[k], rows[p] = rows[p], rows[k]
        for i in range(k + 1, 3):
            rows[i] -= rows[k] * (rows[i][k] / rows[k][k])
    z = np.zeros(3)
    for k in range(2, -1, -1):
        z[k] = (rows[k][3] - rows[k][k + 1 : 3] @ z[k + 1 :]) / rows[k][k]
    return z @ np.array([1.0, 2.0, 3.0])


def exchanged_with_their_names(x: np.ndarray, n: int) -> Any:
    rows = []
    for t in range(n):
        rows.append(x * (t + 1))
    first, last, middle = rows[0], rows[n - 1], rows[n // 2]
    i, j = n - 1, 0
    rows[i], rows[j] = rows[j], rows[i]
    first[0] += 10.0 * x[1]
    last[1] -= x[0]
    middle[2] *= 2.0
    return (np.array(rows).T @ np.arange(n)).sum() + first[0] * last[1]


PROGRAMS = [
    by_index, a_row_by_name, each_row, named_before, appended_in_a_branch, carried, taken_out, replaced, by_a_helper,
    first_or_second, window, pivoted, exchanged_with_their_names,
]  # fmt: skip


@pytest.mark.parametrize("function", PROGRAMS)
def test_an_item_and_its_names_are_one_array(function: Callable[..., Any]) -> None:
    compiled, gradient = jitgrad.jit(function), jitgrad.grad(function)
    for n in (2, 3, 6):
        for x in (X, 0.5 * X[::-1]):
            np.testing.assert_allclose(compiled(x.copy(), n), function(x.copy(), n), rtol=1e-12)
            want = [(function(x + d, n) - function(x - d, n)) / 2e-6 for d in np.eye(3) * 1e-6]
            np.testing.assert_allclose(gradient(x, n), want, rtol=1e-5, atol=1e-6)


def test_the_object_of_an_item() -> None:
    def function(x: np.ndarray, n: int) -> Any:
        rows = []
        for t in range(n):
            u = x * t
            rows.append(u)
        rows[n - 1][0] += 1.0
        return u is rows[-1], rows[0] is rows[n - 2], rows[0][1:] is rows[0], rows[0] is u

    compiled = jitgrad.jit(function)
    for n in (2, 3):
        assert tuple(map(bool, compiled(X, n))) == function(X, n)


def twice(x: np.ndarray, n: int) -> Any:
    rows = []
    for t in range(n):
        u = x * t
        rows.append(u)
        rows.append(u)
    rows[0][0] += 1.0
    return (np.array(rows) ** 2).sum()


def always_the_same(x: np.ndarray, n: int) -> Any:
    rows, u = [], np.zeros(3)
    for t in range(n):
        u[0] = t * x[0]
        rows.append(u)
    return (np.array(rows) ** 2).sum()


def in_two_lists(x: np.ndarray, n: int) -> Any:
    rows, others = [], []
    for t in range(n):
        u = x * t
        rows.append(u)
        others.append(u)
    rows[0][0] += 1.0
    return (np.array(others) ** 2).sum()


def in_a_copy_of_the_list(x: np.ndarray, n: int) -> Any:
    rows = []
    for t in range(n):
        rows.append(x * t)
    others, item = list(rows), rows[0]
    rows = None
    item[0] += 1.0
    return (np.array(others) ** 2).sum()


def views_of_a_matrix(x: np.ndarray, n: int) -> Any:
    m, rows = np.outer(x, x), []
    for i in range(n):
        rows.append(m[i])
    rows[0] += 1.0
    return (m**2).sum()


def written_out_first(x: np.ndarray, n: int) -> Any:
    u = x * 1.0
    rows = [u, x + 1.0]
    for k in range(n):
        rows.append(u)
        u = rows[k % len(rows)]
    for _ in range(n):
        rows.append(x * 2.0)
        for w in rows:
            w *= 0.5
    return sum((w**2).sum() for w in rows)


@pytest.mark.parametrize("function", [twice, always_the_same, in_two_lists, in_a_copy_of_the_list, written_out_first])
def test_an_array_in_two_places_is_one_array(function: Callable[..., Any]) -> None:
    compiled = jitgrad.jit(function)
    for x, n in [(X, 3), (-X, 2), (2.0 * X, 1)]:
        np.testing.assert_allclose(compiled(x.copy(), n), function(x.copy(), n), rtol=1e-13)


def test_views_of_a_matrix_are_not_stored_to() -> None:
    with pytest.raises(UnsupportedError, match="JG241"):
        jitgrad.jit(views_of_a_matrix)(X, 3)


def test_an_item_taken_from_a_list_that_is_gone() -> None:
    """It may be an array that has a name: that sees the store, or the store is refused."""

    def function(x: np.ndarray, n: int) -> Any:
        rows = []
        for t in range(n):
            u = x * t
            rows.append(u)
        item = rows[-1]
        rows = None
        item[0] = 5.0
        return u.sum() + item.sum()

    np.testing.assert_allclose(jitgrad.jit(function)(X, 3), function(X, 3), rtol=1e-14)
