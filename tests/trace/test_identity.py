"""Results under `jit` are the objects that Python returns: an argument, a view of one, or a new array, as data decide.

Each program is compiled once and run on inputs that take every way through it; which results are which arguments, whose
views they are and which are one object is compared with Python, in machine code and in the interpreted graph.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.execute import Interpreted
from jitgrad.options import OPTIONS
from jitgrad.trace.guards import look_up
from tests.trace.calling import assert_same

A = np.array([1.5, -2.0, 0.5, -0.1])
M = np.arange(6.0).reshape(3, 2) - 3.0


def arrays(x: Any) -> list[np.ndarray]:
    """Return the arrays in a result, in order."""
    if isinstance(x, dict):
        x = list(x.values())
    return [a for v in x for a in arrays(v)] if isinstance(x, tuple | list) else [x]


def relations(result: Any, args: tuple[Any, ...]) -> Any:
    """Return which arguments the arrays of a result are, view and share, and which of them are one object."""
    found = arrays(result)
    given = [a for a in args if isinstance(a, np.ndarray)]
    to_arguments = [[(r is a, r.base is a, np.shares_memory(r, a)) for a in given] for r in found]
    return to_arguments, [[r is s for s in found] for r in found]


def same_objects(function: Callable[..., Any], *calls: tuple[Any, ...]) -> Any:
    """Compare one compiled callable with Python on each call; return it."""
    compiled = jitgrad.jit(function)
    for args in calls:
        theirs = copy.deepcopy(args)
        want = function(*theirs)
        ours = copy.deepcopy(args)
        runs = [(ours, compiled(*ours))]
        ours = copy.deepcopy(args)
        found, leaves = compiled.cache.find_for(ours, {})
        inputs = [leaves[k] for k in found.traced.leaves] + [look_up(h.source) for h in found.traced.hidden]
        runs.append((ours, Interpreted(found.traced).run(inputs, leaves)))
        for ours, got in runs:
            assert_same(got, want, 1e-13)
            assert_same(list(ours), list(theirs), 1e-13, "arguments")
            assert relations(got, ours) == relations(want, theirs)
    return compiled


# --- loops


def scaled_by_for(a: np.ndarray, n: int) -> Any:
    v = a
    for _ in range(n):
        v = v * 2.0
    return v


def scaled_by_while(a: np.ndarray, n: int) -> Any:
    v = a
    while n > 0:
        v = v * 2.0
        n -= 1
    return v


def left_by_break(a: np.ndarray, n: int) -> Any:
    v = a
    for i in range(n):
        if i == 2:
            break
        if v[0] > 2:
            continue
        v = v * 2.0
    return v


def view_at_first(a: np.ndarray, n: int) -> Any:
    v = a[1:]
    for _ in range(n):
        v = v + 1.0
    return v


def turned_round(a: np.ndarray, n: int) -> Any:
    v = a[::-1]
    for _ in range(n):
        v = v[::-1]
    return v


def argument_in_the_loop(a: np.ndarray, n: int) -> Any:
    v = np.zeros(4)
    for _ in range(n):
        v = a
    return v


def nested(a: np.ndarray, n: int) -> Any:
    v = a
    for i in range(n):
        w = v
        for _ in range(i):
            w = w + 1.0
        v = w
    return v


def in_a_dict(a: np.ndarray, n: int) -> Any:
    d = {"w": a}
    for _ in range(n):
        d = {"w": d["w"] * 0.5}
    return d


def returned_twice(a: np.ndarray, n: int) -> Any:
    v = a
    for _ in range(n):
        v = v * 2.0
    return v, a, {"k": v, "l": [v[1:], v]}


# --- branches


def argument_or_new(a: np.ndarray, n: int) -> Any:
    return a if n > 1 else a * 2.0


def view_or_new(a: np.ndarray, n: int) -> Any:
    return a[1:] if n > 1 else a[:-1] * 2.0


def one_of_two_views(a: np.ndarray, n: int) -> Any:
    return a[1:] if n > 1 else a[:-1]


def argument_or_its_view(a: np.ndarray, n: int) -> Any:
    v = a if n > 1 else a[::-1]
    return v


def early_return(a: np.ndarray, n: int) -> Any:
    if n > 1:
        return a
    return a + 1.0


def of_a_helper(a: np.ndarray, n: int) -> Any:
    return early_return(early_return(a, n + 1), n)


def larger_of_two(a: np.ndarray, n: int) -> Any:
    b = a * 2.0
    return max((a, b), key=lambda z: z[0] * (n - 1))


# --- views


def at_a_place(a: np.ndarray, n: int) -> Any:
    return a[n : n + 1]


def reshaped(a: np.ndarray, n: int) -> Any:
    return a.reshape(2, 2), a.reshape(2, 2).T, a.ravel(), a.T, a.T.T, a[None], a[n, ...], a.reshape(4), a[:], a[...]


# --- stores


def stored_after_a_branch(a: np.ndarray, n: int) -> Any:
    v = a if n > 1 else a * 2.0
    v[0] = 7.0
    return v


def argument_stored_after_a_branch(a: np.ndarray, n: int) -> Any:
    v = a if n > 1 else a * 2.0
    a[1] = 9.0
    return v


def stored_after_a_loop(a: np.ndarray, n: int) -> Any:
    v = a
    for _ in range(n):
        v = v * 2.0
    v[0] = 7.0
    return v


def added_in_place_after_a_loop(a: np.ndarray, n: int) -> Any:
    v = a[::-1]
    while n > 0:
        v = v * 2.0
        n -= 1
    v += 1.0
    return v, a[0]


def argument_stored_after_a_loop(a: np.ndarray, n: int) -> Any:
    v = a
    for _ in range(n):
        v = v * 2.0
    a[1:] *= 9.0
    v[0] += a[1]
    return v


def stored_in_the_loop(a: np.ndarray, n: int) -> Any:
    v = a
    for i in range(n):
        v[i] = v[i] + 1.0
        if i == 1:
            v = v + 10.0
    return v


def exchanged_twice_then_stored(a: np.ndarray, n: int) -> Any:
    u, w = a, a + 1.0
    for _ in range(2):
        u, w = w, u
    a *= 0.5
    if n > 1:
        u[2] += -1.5
    else:
        w, u = u, w
    return u, w


PROGRAMS = [
    scaled_by_for, scaled_by_while, left_by_break, view_at_first, turned_round, argument_in_the_loop, nested, in_a_dict,
    returned_twice, argument_or_new, view_or_new, one_of_two_views, argument_or_its_view, early_return, of_a_helper,
    larger_of_two, at_a_place, reshaped, stored_after_a_branch, argument_stored_after_a_branch, stored_after_a_loop,
    added_in_place_after_a_loop, argument_stored_after_a_loop, stored_in_the_loop, exchanged_twice_then_stored,
]  # fmt: skip


@pytest.mark.parametrize("function", PROGRAMS, ids=lambda f: f.__name__)
def test_results_are_the_objects_that_python_returns(function: Callable[..., Any]) -> None:
    compiled = same_objects(function, (A, 0), (A, 1), (A, 2), (A, 3))
    assert compiled.stats()["compiled"] == 1


def test_exchanged_arguments() -> None:
    def exchange(a: np.ndarray, b: np.ndarray, n: int) -> Any:
        c = a * 2.0
        for _ in range(n):
            a, b, c = b, c, a
        return a, b, c

    same_objects(exchange, *[(A, A + 1.0, n) for n in range(4)])


def test_row_of_a_matrix() -> None:
    def smallest(m: np.ndarray) -> Any:
        best = m[0]
        for row in m:
            if row[0] < best[0]:
                best = row
        return best

    def first_negative(m: np.ndarray) -> Any:
        for row in m:
            if row[0] < 0.0:
                return row
        return m[0] * 1.0

    for function in (smallest, first_negative):
        same_objects(function, (M,), (-M,), (M + 9.0,))


def test_a_store_into_a_row_or_an_array_of_computed_length() -> None:
    def f(m: Any, n: int) -> Any:
        u = m[0]
        if n > 1:
            u = np.array([e * 2.0 for e in u])
        u[1] += 1.0
        v = u[1:]
        v[-1] = 7.0
        return u, m

    same_objects(f, (M, 2), (M, 0), (np.ones((2, 3)), 5))


def test_a_loop_that_surely_runs_gives_a_new_array_without_a_choice() -> None:
    def three_times(a: np.ndarray) -> Any:
        v = a
        for _ in range(3):
            v = v * 2.0
        return v

    compiled = same_objects(three_times, (A,))
    assert "select" not in compiled.graph(A)


def test_nothing_is_carried_where_nobody_sees_arguments() -> None:
    text = jitgrad.grad(lambda a, n: scaled_by_for(a, n).sum()).graph(A, 2)
    assert "int64[])" not in text.split("yield")[0].split("for")[-1].replace("%k: int64[]", "")
    np.testing.assert_array_equal(jitgrad.grad(lambda a, n: scaled_by_for(a, n).sum())(A, 0), np.ones(4))


# --- results that share memory with each other


def new_and_its_view(x: np.ndarray, k: int) -> Any:
    b = x * 2.0
    return b, b[::-1]


def views_alone(x: np.ndarray, k: int) -> Any:
    b = x * 2.0
    return b[k:], [b[:k], b.T], {"all": b[:]}


def of_a_computed_size(x: np.ndarray, k: int) -> Any:
    b = np.zeros(k + 2)
    b[1] = x[0]
    return b, b[1:], b[::2], b


def reshaped_views(x: np.ndarray, k: int) -> Any:
    b = x * 2.0
    return b.reshape(2, 2), b, b.reshape(2, 2).T


def parts(x: Any) -> list[Any]:
    children = x.values() if isinstance(x, dict) else x if isinstance(x, tuple | list) else None
    return [x] if children is None else [p for c in children for p in parts(c)]


@pytest.mark.parametrize("interpreted", [False, True])
@pytest.mark.parametrize("function", [new_and_its_view, views_alone, of_a_computed_size, reshaped_views])
def test_results_share_memory_as_in_python(
    function: Callable[..., Any], interpreted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OPTIONS, "interpret", interpreted)
    compiled = jitgrad.jit(function)
    for k in (1, 2, 1):
        want, got = parts(function(A, k)), parts(compiled(A, k))
        assert all(np.array_equal(x, y) for x, y in zip(want, got, strict=True))
        for relation in (np.shares_memory, lambda x, y: x is y):
            assert [[relation(x, y) for x in want] for y in want] == [[relation(x, y) for x in got] for y in got]


def _chosen(x: np.ndarray, n: int) -> Any:
    y = x * 2.0
    z = x * 3.0
    b, c = (x, z) if x[0] > 0 else (y, y)
    return b is x, b is y, c is z, c is not y


def _exchanged_names(x: np.ndarray, n: int) -> Any:
    y = x * 2.0
    z = x * 3.0
    for _ in range(n):
        y, z = (z, z) if y[0] > 4.0 else (z, y)
    return y is z


def _items(x: np.ndarray, n: int) -> Any:
    rows = []
    for k in range(n):
        rows.append(x * k)
    return rows[0] is rows[n - 3], rows[0] is rows[-1]


@pytest.mark.parametrize("function", [_chosen, _exchanged_names, _items])
def test_whether_two_names_are_one_object(function: Callable[..., Any]) -> None:
    """Where data decide, the answer is Python's: arrays joined by value are told apart."""
    compiled = jitgrad.jit(function)
    for n in (3, 4):
        for x in (np.array([0.5, -1.25, 2.0]), np.array([-0.5, 1.25, 2.0]), np.array([1.5, 1.0, 2.0])):
            assert compiled(x, n) == function(x, n)
