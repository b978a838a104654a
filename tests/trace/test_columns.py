"""Lists that are taken apart, one for each part of the items: what is compiled once, what is refused, what unrolls.

Programs that use such lists are in `tests/programs/bank_records.py`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad import UnsupportedError
from tests.trace.calling import assert_same, outcome

X = np.array([0.53, 1.5, -0.75, 2.25])


def _pairs(x: np.ndarray, n: int) -> list[Any]:
    found = []
    for i in range(n):
        if x[i % 4] > 0.0:
            found.append((i, x[i % 4]))
    return found


def weighted(x: np.ndarray, n: int) -> Any:
    s = x[0] * 0.0
    for i, v in sorted(_pairs(x, n), key=lambda p: -p[1]):
        s = 0.9 * s + i * v
    return s


def always(x: np.ndarray, n: int) -> Any:
    """The length is known with n: there is no need to unroll."""
    found = [(0, 1.0)]
    for i in range(n):
        found.append((i, x[i % 4] * 2.0))
    return sum(i * v for i, v in found) + found[-1][1] * x[0]


def _count_ops(compiled: Any, *args: Any) -> int:
    text = compiled.graph(*args)
    return len([line for line in text.splitlines() if "=" in line])


def near(x: np.ndarray, n: int) -> Any:
    """Lists of any length in a list."""
    found = [[j for j in range(i) if x[j % 4] > x[i % 4]] for i in range(n)]
    return sum(x[j % 4] * (i + 1) for i, own in enumerate(found) for j in own) + x[0]


@pytest.mark.parametrize("function", [weighted, always, near])
def test_one_compile_serves_all_lengths(function: Callable[..., Any]) -> None:
    compiled, gradient = jitgrad.jit(function), jitgrad.grad(function)
    for n in (6, 0, 1, 200):
        assert_same(compiled(X, n), function(X, n), 1e-12)
        slope = [(function(X + d, n) - function(X - d, n)) / 2e-6 for d in np.eye(4) * 1e-6]
        np.testing.assert_allclose(gradient(X, n), slope, rtol=1e-5, atol=1e-5)
    assert compiled.stats()["compiled"] == gradient.stats()["compiled"] == 1
    assert _count_ops(compiled, X, 3) == _count_ops(compiled, X, 10**6)


def _taken(x: np.ndarray, n: int, way: int) -> Any:
    found = _pairs(x, n)
    if way == 0:
        return found[-2][1]
    if way == 1:
        return found.pop()[0] * x[0]
    if way == 2:
        del found[3]
        return len(found)
    if way == 3:
        found[1] = (7, x[0])
        return found[1][1]
    if way == 4:
        return min(found)[1]
    i, v = found[2]
    return i * v


def test_what_python_raises() -> None:
    compiled = jitgrad.jit(_taken)
    for way in range(6):
        for n in (0, 1, 2, 3, 5, 8):
            got, want = outcome(compiled, (X, n, way)), outcome(_taken, (X, n, way))
            assert got[0] == want[0], (got, want)
            if want[0] == "raises":
                assert type(got[1]) is type(want[1]) and str(got[1]) == str(want[1])
            else:
                assert_same(got[1], want[1], 1e-13)


@dataclass
class Body:
    mass: Any
    place: Any


def _stored_in_a_loop(x: np.ndarray, n: int) -> Any:
    bodies = []
    for i in range(n):
        if x[i % 4] > 0.0:
            bodies.append(Body(i, x[i % 4]))
    for b in bodies:
        b.place = b.place * 2.0
    return sum(b.place for b in bodies)


def _stored_by_name(x: np.ndarray, n: int) -> Any:
    rows = []
    for i in range(n):
        row = [i, x[i % 4]]
        if x[i % 4] > 0.0:
            rows.append(row)
        row[1] = 3.0
    return sum(b for a, b in rows)


def _stored_into_a_dict(x: np.ndarray, n: int) -> Any:
    rows = []
    for i in range(n):
        if x[i % 4] > 0.0:
            rows.append({"v": x[i % 4]})
    if n > 2:
        rows[0]["v"] = 5.0
    return sum(r["v"] for r in rows)


def _stored_into_a_part(x: np.ndarray, n: int) -> Any:
    rows = []
    y = x * 2.0
    for i in range(n):
        if y[i % 4] > 0.0:
            rows.append((y, i))
    y[0] = 5.0
    return sum(a.sum() * i for a, i in rows)


def _a_row_that_grows_on(x: np.ndarray, n: int) -> Any:
    rows, t = [], 0.0
    while t < n:
        t += 0.3 + x[0] ** 2
        row = [v for v in x if v > t * 0.1]
        rows.append(row)
        row.append(t)
    return sum(len(row) * t for row in rows)


def _an_array_of_a_list_of_parts(x: np.ndarray, n: int) -> Any:
    parts, y = [], x * 2.0
    for i in range(n):
        parts.append(y[i:])
    y[0] = 3.0
    if x[0] > 0.0:
        parts.append(x[1:] * 1.0)
    return sum(part.sum() for part in parts)


STORES = [
    _stored_in_a_loop, _stored_by_name, _stored_into_a_dict, _a_row_that_grows_on, _an_array_of_a_list_of_parts,
]  # fmt: skip


@pytest.mark.parametrize("function", STORES)
def test_what_the_list_has_copies_of_is_not_stored_to(function: Callable[..., Any]) -> None:
    for compiled in (jitgrad.jit(function), jitgrad.grad(function)):
        with pytest.raises(UnsupportedError, match=r"JG24[01]"):
            compiled(X, 4)


def test_an_array_in_tuples_of_a_list_is_one_array() -> None:
    compiled = jitgrad.jit(_stored_into_a_part)
    for x, n in [(X, 4), (-X, 3), (2.0 * X, 1)]:
        np.testing.assert_allclose(compiled(x, n), _stored_into_a_part(x, n), rtol=1e-13)


def _arrays_of_their_own(x: np.ndarray, n: int) -> Any:
    rows = []
    for i in range(n):
        u = x * i
        if x[i % 4] > 0.0:
            rows.append((u, i))
    for a, i in rows:
        a *= 2.0 + i
    for k in range(len(rows)):
        rows[k][0][1] += x[0]
    return sum(a.sum() * i for a, i in rows)


def _matrix(x: np.ndarray, n: int) -> Any:
    """Lists that are stored into: the loop unrolls."""
    m = [[0.0] * 3 for _ in range(n)]
    for i in range(n):
        for j in range(3):
            m[i][j] = x[j] * i
    return sum(sum(row) for row in m) + x[0]


def _views(x: np.ndarray, n: int) -> Any:
    """Arrays of other lengths in each trip: the loop unrolls."""
    parts = []
    for i in range(n):
        parts.append((x[: i + 1] * 2.0, i))
    return sum(a.sum() * (i + 1) for a, i in parts) + x[0]


@pytest.mark.parametrize("function", [_arrays_of_their_own, _matrix, _views])
def test_stores_where_each_item_is_known(function: Callable[..., Any]) -> None:
    compiled, gradient = jitgrad.jit(function), jitgrad.grad(function)
    for n in (1, 3, 4):
        assert_same(compiled(X, n), function(X, n), 1e-12)
        slope = [(function(X + d, n) - function(X - d, n)) / 2e-6 for d in np.eye(4) * 1e-6]
        np.testing.assert_allclose(gradient(X, n), slope, rtol=1e-5, atol=1e-5)


def _of_two_structures(x: np.ndarray, n: int) -> Any:
    found = []
    i = 0
    while i < x[0] * n:
        found.append((i, x[1]) if x[i % 4] > 0.0 else (x[2], i, 1))
        i += 1
    return len(found)


def _texts_or_ints(x: np.ndarray, n: int) -> Any:
    """Each path has a list that grows, of another kind."""
    found = []
    if x[0] > 0.0:
        for i in range(n):
            if x[i % 4] > 0.0:
                found.append(i)
    else:
        for i in range(n):
            if x[i % 4] > 0.0:
                found.append("a")
    count = 0
    for v in found:
        count += v == "a"
    return count


def _lists_that_are_still_empty(x: np.ndarray, n: int) -> Any:
    found = []
    for i in range(n):
        row = []
        if x[(i + 1) % 4] > -1.0:
            found.append((x[0], row))
        row.append(1)
    s = x[0] * 1.0
    for a, row in found:
        for v in row:
            s = s * 0.8 + v * a
    return s


def _changed_by_its_loop(x: np.ndarray, n: int) -> Any:
    found = _pairs(x, n)
    for i, v in found:
        if i > 100:
            found.append((i, v))
    return len(found)


REFUSED = [_of_two_structures, _texts_or_ints, _lists_that_are_still_empty, _changed_by_its_loop]


@pytest.mark.parametrize("function", REFUSED)
def test_what_cannot_be_taken_apart_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(UnsupportedError, match=r"JG2[2-4]"):
        jitgrad.jit(function)(X, 9)


def test_an_empty_list_of_tuples_is_no_table() -> None:
    def f(x: np.ndarray) -> Any:
        pairs = [(v, 2.0 * v) for v in x if v > 0.0]
        table = np.array(pairs) if len(pairs) > 0 else np.zeros((0, 2))
        return table.sum(axis=0), len(table), np.array([p[0] for p in pairs]).shape

    compiled = jitgrad.jit(f)
    for x in (np.array([1.0, -1.0, 2.0]), np.array([-1.0, -1.0, -2.0])):
        assert_same(compiled(x), f(x), 1e-13)
    for empty in (lambda x: [[v] for v in x if v > 3.0], lambda x: deque((v, v) for v in x if v > 3.0)):
        with pytest.raises(UnsupportedError, match="JG251"):
            jitgrad.jit(lambda x, empty=empty: np.array(empty(x)).ndim * x[0])(np.ones(3))


def test_lists_are_compared_by_their_items() -> None:
    def compared(x: np.ndarray, n: int) -> Any:
        a, b, c = [], [], []
        for i in range(n):
            a.append((i, "a"))
            b.append((i, "a"))
            c.append(x[0] * i)
        if x[0] > 0.0:
            b.append((3, "b"))
        pairs = [(0, "a"), (1, "a")]
        return a == b, a != b, a == pairs, a == [], a == (0, 1), c == [], (1, "a") in a, (3, "b") not in b

    compiled = jitgrad.jit(compared)
    for n in (2, 0, 3):
        for x in (X, -X):
            assert compiled(x, n) == compared(x, n)


def test_lists_of_floats_are_not_compared() -> None:
    """Python looks whether items are one object, which may be NaN."""

    def compared(x: np.ndarray, n: int) -> Any:
        a, b = [], []
        for i in range(n):
            a.append(x[i])
            b.append(x[i])
        return a == b

    with pytest.raises(UnsupportedError, match="JG220"):
        jitgrad.jit(compared)(X, 3)


def test_parts_of_which_one_is_taken_apart_later_than_others() -> None:
    """All parts grow from one attempt to trace the loop on: what is done with the whole list finds them alike."""

    def function(x: np.ndarray, n: int) -> Any:
        found, s = [], x[0] * 1.0
        for i in range(n):
            row = [j for j in range(i) if x[j % 4] > 0.0]
            found.append((x[0], row, (i, (x[1], row))))
            rest = found[1:]
            s += len(rest) + len(rest.copy())
        for a, row, (i, (b, other)) in found:
            for v in row:
                s = s * 0.8 + v * a + i * b + len(other)
        return s

    compiled = jitgrad.jit(function)
    for n in (4, 0, 6):
        assert_same(compiled(X, n), function(X, n), 1e-12)
    assert compiled.stats()["compiled"] == 1


def test_another_list_in_each_trip_and_one_more_before_the_loop_ends() -> None:
    """What is found of a list in the first trip no longer holds once it is taken apart."""

    def function(x: np.ndarray, n: int) -> Any:
        p, q, s = [], [], x[0] * 1.0
        for i in range(n):
            q.append((i + 1, s * 0.5))
            if i == 3:
                break
            q = [(a + 1, b) for a, b in p if a < 5]
            if x[1] > 0.0:
                p.append((i, x[2]))
        return s + sum(a * b for a, b in q) - len(p)

    compiled = jitgrad.jit(function)
    for n in (2, 0, 6):
        for x in (X, -X):
            assert_same(compiled(x, n), function(x, n), 1e-13)


# --- results


def _returned(x: np.ndarray, n: int) -> Any:
    rows, y = [], x.copy()
    for i in range(n):
        y *= 0.9
        if x[i % 4] > 0.0:
            rows.append((0.1 * i, y.copy()))
    return y, rows


def test_arrays_of_returned_lists_are_their_own() -> None:
    compiled = jitgrad.jit(_returned)
    for n in (5, 0, 9):
        got, want = compiled(X, n), _returned(X, n)
        assert_same(got, want, 1e-13)
        assert all(a.base is None and a.flags.owndata for _, a in got[1])
    loss = jitgrad.value_and_grad(lambda x, n: ((y := _returned(x, n))[0].sum(), y[1]), has_aux=True)
    (value, rows), gradient = loss(X, 5)
    assert_same((value, rows), (_returned(X, 5)[0].sum(), _returned(X, 5)[1]), 1e-13)
    np.testing.assert_allclose(gradient, np.full(4, 0.9**5))


def _one_array(x: np.ndarray, n: int) -> Any:
    rows, y = [], x * 2.0
    for i in range(n):
        if x[i % 4] > 0.0:
            rows.append(y)
    return rows


def _an_argument(x: np.ndarray, n: int) -> Any:
    rows = []
    for i in range(n):
        if x[i % 4] > 0.0:
            rows.append((x, i))
    return rows


def _an_item_beside(x: np.ndarray, n: int) -> Any:
    rows = []
    for i in range(n):
        rows.append(x * i)
    return rows, rows[-1] if rows else None


def _objects(x: np.ndarray, n: int) -> Any:
    rows = []
    for i in range(n):
        if x[i % 4] > 0.0:
            rows.append(Body(i, x[0]))
    return rows


@pytest.mark.parametrize("function", [_an_argument, _an_item_beside, _objects])
def test_returned_lists_of_what_may_be_one_thing(function: Callable[..., Any]) -> None:
    with pytest.raises(UnsupportedError, match="JG225"):
        jitgrad.jit(function)(X, 4)


def test_a_returned_list_of_one_array() -> None:
    compiled = jitgrad.jit(_one_array)
    for x in (X, -X, 0.0 * X):
        made = compiled(x, 4)
        assert_same(made, _one_array(x, 4), 0.0)
        assert all(row is made[0] for row in made)


def test_an_item_that_there_may_be() -> None:
    """The last item of a list is read only where there is one."""

    def last(x: np.ndarray, n: int) -> Any:
        rows = []
        for i in range(n):
            rows.append(x * i)
        for i in range(n):
            rows[i][0] = 1.0
        return rows[-1] if rows else None

    compiled = jitgrad.jit(last)
    for n in (3, 0, 1):
        assert_same(compiled(X, n), last(X, n), 1e-13)
