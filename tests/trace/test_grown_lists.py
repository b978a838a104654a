"""Lists whose length data decide: slices, concatenation, indices at run time, other lists in each trip."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.errors import UnsupportedError
from tests.trace.calling import assert_same

X = np.array([0.5, 1.5, -0.75, 2.25])


def next_events(x: np.ndarray, n: int) -> Any:
    times = [x[0] ** 2, x[1] ** 2, x[3]]
    log = []
    for _ in range(n):
        k = int(np.argmin(np.array(times)))
        log.append(times[k])
        times[k] = times[k] + 0.3 * (k + 1) * abs(x[2])
    return sum(log)


def de_casteljau(x: np.ndarray, n: int) -> Any:
    points = [x[k] for k in range(4)]
    t = 0.3 * n / (n + 1.0)
    while len(points) > 1:
        points = [(1.0 - t) * a + t * b for a, b in zip(points[:-1], points[1:], strict=True)]  # noqa: RUF007
    return points[0]


def breadth_first(x: np.ndarray, n: int) -> Any:
    queue, i, s = [x[0]], 0, 0.0
    while i < len(queue) and i < 3 * n:
        v = queue[i]
        i += 1
        s += v * v
        if v < 1.9:
            queue.append(v * 1.4 + 0.1)
        if v < 0.9:
            queue.append(v + x[1])
    return s + len(queue)


def by_key(x: np.ndarray, n: int) -> Any:
    d: dict[str, list[Any]] = {"even": [], "odd": []}
    for k in range(n):
        d["even" if k % 2 == 0 else "odd"].append(x[k % 4] * k)
    return sum(d["even"]) + 2.0 * sum(d["odd"])


def table(x: np.ndarray, n: int) -> Any:
    rows = []
    for i in range(n):
        row = []
        for j in range(3):
            row.append(x[j] * (i + j))
        rows.append(row)
    return np.array(rows).sum() + rows[0][1]


def pascal(x: np.ndarray, n: int) -> Any:
    row = [1.0 * x[0]]
    for _ in range(n):
        row = [row[0]] + [row[i] * x[1] + row[i + 1] for i in range(len(row) - 1)] + [row[-1]]
    return sum(r * (i + 1) for i, r in enumerate(row))


def merged(x: np.ndarray, n: int) -> Any:
    a, b = [x[0], x[1] + 1.0], [x[2], x[3]]
    out: list[Any] = []
    i = j = 0
    while i < len(a) and j < len(b):
        if a[i] <= b[j]:
            out.append(a[i])
            i += 1
        else:
            out.append(b[j])
            j += 1
    out += a[i:]
    out += b[j:]
    return sum((k + n) * v for k, v in enumerate(out))


def parts_of_paths(x: np.ndarray, n: int) -> Any:
    path = []
    for k in range(n + 2):
        path.append(x * k)
    late, early = path[n // 2 :], path[: n // 2]
    both = late + early
    both.reverse()
    s = 0.0
    for k, p in enumerate(reversed(both)):
        s += (p**2).sum() * k
    return s + (path[1:-1][0] @ path[-1]) + len(path[::2])


def binned(x: np.ndarray, n: int) -> Any:
    bins: list[Any] = [[] for _ in range(3)]
    for v in x:
        bins[0 if v < 0.0 else 1 if v < 1.0 else 2].append(v * v)
    return sum(sum(b) * (i + n) for i, b in enumerate(bins))


def buffers(x: np.ndarray, n: int) -> Any:
    rows = [np.zeros(2), np.ones(2), x[:2] * 1.0]
    for k in range(n):
        j = int(abs(x[k % 4])) % 3
        rows[j][k % 2] += x[k % 4]
        rows[j] *= 1.5
    return sum((r**2).sum() for r in rows)


def rebound_buffer(x: np.ndarray, n: int) -> Any:
    rows = [x[:2] * 1.0, x[2:] * 1.0]
    j = 1 if x[0] > 0.505 else 0
    rows[j] = rows[1 - j]
    rows[0][0] = 5.0 * x[1]
    return (rows[1] ** 2).sum() + n * rows[0].sum()


def functions(x: np.ndarray, n: int) -> Any:
    fs = [np.sin, np.exp, lambda v: v * v]
    s = 0.0
    for k in range(n):
        s += fs[int(abs(x[k % 4])) % 3](x[(k + 1) % 4])
    return s


def taken_out(x: np.ndarray, n: int) -> Any:
    queue, rows = [], []
    for t in range(n + 2):
        queue.append(x[0] * t + 1.0)
        rows.append(x * t)
    v = queue.pop(int(abs(x[1])))
    del queue[0]
    w = queue.pop(-2)
    if n > 4:
        queue.clear()
    queue.append(w)
    rows[0][0] = 3.0
    a = rows.pop(1)
    a[1] = 7.0 * x[0]
    rows[1][2] = 1.0
    del rows[-1]
    return sum(queue) + v * len(queue) + (np.array(rows) ** 2).sum() + a.sum()


def accepted_steps(x: np.ndarray, n: int) -> Any:
    t, y = 0.0, x * 1.0
    kept = [y]
    while t < n:
        t += 0.5
        z = y + 0.1 * np.sin(y) * x[0]
        if abs(z[1] - y[1]) < 0.02 * t:
            y = z
            kept.append(y)
    return (np.array(kept) ** 2).sum()


def stored_as_rows(x: np.ndarray, n: int) -> Any:
    points = np.stack([x, x * x, np.sin(x)])
    costs = np.array([p @ p for p in points])
    for _ in range(n):
        order = np.argsort(costs)
        points, costs = points[order], costs[order]
        points[1:] = points[0] + 0.5 * (points[1:] - points[0])
        # As many numbers as places, which only the loops show.
        costs[1:] = [p @ p for p in points[1:]]
    return costs.sum()


PROGRAMS = [
    accepted_steps, binned, buffers, rebound_buffer, functions, next_events, de_casteljau, breadth_first, by_key, table,
    pascal, merged, parts_of_paths, stored_as_rows, taken_out,
]  # fmt: skip


@pytest.mark.parametrize("function", PROGRAMS)
def test_lists_of_which_data_decide_the_length(function: Callable[..., Any]) -> None:
    compiled, gradient = jitgrad.jit(function), jitgrad.grad(function)
    for n in (2, 3, 5):
        for x in (X, 0.8 * X + 0.11):
            np.testing.assert_allclose(compiled(x, n), function(x, n), rtol=1e-12)
            want = [(function(x + d, n) - function(x - d, n)) / 2e-6 for d in np.eye(4) * 1e-6]
            np.testing.assert_allclose(gradient(x, n), want, rtol=1e-5, atol=1e-6)


def _slice(x: np.ndarray, n: int) -> Any:
    rows = []
    for k in range(n):
        rows.append(x * k)
    part = rows[1:]
    part[0][0] += 1.0
    return np.array(rows)


def _sum_of_lists(x: np.ndarray, n: int) -> Any:
    rows = []
    for k in range(n):
        rows.append(x * k)
    both = rows + rows[:1]
    rows[0][0] += 1.0
    return np.array(both)


def _copy(x: np.ndarray, n: int) -> Any:
    rows = []
    for k in range(n):
        rows.append(x * k)
    other = rows.copy()
    item = rows[0]
    rows = None
    item[0] += 1.0
    return np.array(other)


@pytest.mark.parametrize("function", [_slice, _sum_of_lists, _copy])
def test_arrays_that_two_lists_hold_are_one(function: Callable[..., Any]) -> None:
    compiled = jitgrad.jit(function)
    for x, n in [(X, 3), (-X, 2), (2.0 * X, 4)]:
        np.testing.assert_allclose(compiled(x, n), function(x, n), rtol=1e-13)


def test_a_copy_of_a_list_of_numbers_holds_numbers() -> None:
    def function(x: np.ndarray, n: int) -> Any:
        xs = []
        for k in range(n):
            xs.append(float(x[k]))
        ys = xs.copy()
        return ys[0], xs[1:][0], (ys + xs)[-1], list(xs)[1] / 2

    made = jitgrad.jit(function)(X, 3)
    assert made == function(X, 3) and all(type(v) is float for v in made)


def test_the_sum_of_a_list_that_data_emptied_is_an_int() -> None:
    def function(x: np.ndarray, n: int) -> Any:
        xs = []
        for k in range(4):
            xs.append(float(x[k]))
        for _ in range(n):
            if x[0] > 0.0:
                xs.pop()
        return sum(xs), sum(xs) - x[0], sum(xs) / 2

    compiled = jitgrad.jit(function)
    for n in (2, 4):
        got, want = compiled(X, n), function(X, n)
        assert got == want and [type(v) for v in got] == [type(v) for v in want]


def test_taking_out_of_a_list_raises_what_python_raises() -> None:
    def function(x: np.ndarray, n: int, way: int) -> Any:
        xs = []
        for k in range(n):
            xs.append(x[k])
        if way == 0:
            del xs[3 - n]
        elif way == 1:
            xs.pop(n)
        else:
            xs.pop()
        return len(xs)

    compiled = jitgrad.jit(function)
    for n in (0, 1, 2, 4):
        for way in (0, 1, 2):
            outcomes = []
            for f in (function, compiled):
                try:
                    outcomes.append((int(f(X, n, way)), ""))
                except IndexError as error:
                    outcomes.append((-1, str(error)))
            assert outcomes[0] == outcomes[1]


def test_lists_that_exchange_their_names_in_a_branch() -> None:
    """A loop over one of two lists counts the items of that: the count is made where it is decided which."""

    def function(x: np.ndarray, n: int) -> Any:
        v = x + 1.0
        p, q = [], [x * 1.0]
        for _ in range(n):
            v *= 0.5
            q.append(v - x)
            p.append(np.ones(4) + 1.0)
        if x[0] > 0.2:
            p[-1] *= 0.5
            p, q = q, p
        q[-1][-1] += v[1]
        s = 0.0
        for w in p:
            s += (w * w).sum()
        for w in q:
            s += (w * w).sum()
        return s + len(p)

    compiled = jitgrad.jit(function)
    for x in (X, -X):
        np.testing.assert_allclose(compiled(x.copy(), 3), function(x.copy(), 3), rtol=1e-12)


SORTED: list[Callable[..., Any]] = [
    lambda x: sorted(x),
    lambda x: sorted([x[0], x[1], x[2]], key=lambda v: -v),
    lambda x: [k for _, k in sorted([(x[0], 1), (x[1], 2)])],
    lambda x: sorted([v for v in x if v > 0.0 or v != v]),
    lambda x: [p[1] for p in sorted([(v, 2.0 * v) for v in x if v != 1.5], key=lambda p: p[0], reverse=True)],
    lambda x: heapq.nsmallest(2, x),
]


@pytest.mark.parametrize("function", SORTED)
def test_nan_has_no_place_in_an_order(function: Callable[..., Any]) -> None:
    """Where Python puts what is less than nothing hangs on how it sorts."""
    compiled = jitgrad.jit(function)
    assert compiled(X) == function(X)
    with pytest.raises(UnsupportedError) as found:
        compiled(np.array([0.5, np.nan, -0.75, 2.25]))
    assert found.value.code == "JG236"


def _zipped(x: np.ndarray, n: int) -> Any:
    a, b = [], []
    for v in x:
        if v > 0.0:
            a.append(v)
            b.append(v * n)
    pairs = list(zip(a, b, strict=True))
    return pairs, sum(u * w for u, w in pairs), len(pairs)


def _numbered_backwards(x: np.ndarray, n: int) -> Any:
    a = [v for v in x if v > 0.0]
    return list(enumerate(a, n)), list(reversed(a)), list(map(np.square, a))


def _ranges(x: np.ndarray, n: int) -> Any:
    left = list(range(n))
    left.append(7)
    left.reverse()
    return left, [k * x[0] for k in left[1:]]


def _yielded(x: np.ndarray, n: int) -> Any:
    squares = (v * v for v in x if v > 0.0)
    return list(squares), list(squares)


@pytest.mark.parametrize("function", [_zipped, _numbered_backwards, _ranges, _yielded])
def test_lists_of_iterators_of_any_length(function: Callable[..., Any]) -> None:
    compiled = jitgrad.jit(function)
    for x, n in [(X, 3), (-X, 2), (0.0 * X, 1), (X, 5), (2.0 * X, 4)]:
        assert_same(compiled(x, n), function(x, n), 1e-13)
    assert compiled.stats()["compiled"] == 1
