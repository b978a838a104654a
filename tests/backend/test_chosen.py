"""Stores that read an array which earlier branches may have chosen to be the one that is stored into."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad

Program = Callable[[np.ndarray, np.ndarray, float], float]


def shifted(a: np.ndarray, b: np.ndarray, c: float) -> float:
    a[1:] = (a if c > 0 else b)[:-1] * 2.0
    return (a * a).sum()


def turned(a: np.ndarray, b: np.ndarray, c: float) -> float:
    x = a if c > 0 else b
    a[:] = x[::-1]
    return (a * np.arange(len(a))).sum()


def scattered(a: np.ndarray, b: np.ndarray, c: float) -> float:
    at = (np.arange(len(a)) + 3) % len(a)
    np.add.at(a, at, 1.0 * (a if c > 0 else b))
    return (a * a).sum()


def nested(a: np.ndarray, b: np.ndarray, c: float) -> float:
    x = (a if c < 2 else b * 2.0) if c > 0 else b
    a[:-1] += x[1:] * x[:-1]
    return a.sum()


def local(a: np.ndarray, b: np.ndarray, c: float) -> float:
    w = a * 1.0
    for k in range(3):
        x = w if c > k else b
        w[1:] = x[:-1] + 0.5
    return (w * b).sum()


@pytest.mark.parametrize("program", [shifted, turned, scattered, nested, local])
@pytest.mark.parametrize("c", [-1.0, 0.5, 1.5, 2.5])
def test_all_is_read_before_any_is_written(program: Program, c: float) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=100), rng.normal(size=100)
    ours, theirs = a.copy(), a.copy()
    want = program(theirs, b, c)
    assert jitgrad.jit(program)(ours, b, c) == pytest.approx(want, rel=1e-12)
    np.testing.assert_array_equal(ours, theirs)
    slopes = jitgrad.grad(program, argnums=(0, 1))(a, b, c)
    for k, slope in enumerate(slopes):
        way = rng.normal(size=100)
        ends = [program(*(x + h * way if n == k else x.copy() for n, x in enumerate((a, b))), c) for h in (1e-6, -1e-6)]
        assert slope @ way == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-5)


def failing(a: np.ndarray, x: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    u = a
    if x > 1.0:
        if a[3] > x:
            a[-1] *= 3.0
            u = a.copy()
        a[:2] -= u[:2]
        if n > 2:
            raise ValueError(n)
    return u.copy(), a.copy()


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("x", [0.5, 1.5, 3.0])
def test_stores_are_seen_at_an_exception_though_another_array_may_be_the_same(x: float, n: int) -> None:
    ours, theirs = np.array([1.5, 0.5, 1.75, 2.0]), np.array([1.5, 0.5, 1.75, 2.0])
    if x > 1.0 and n > 2:
        with pytest.raises(ValueError, match="3"):
            jitgrad.jit(failing)(ours, x, n)
        with pytest.raises(ValueError, match="3"):
            failing(theirs, x, n)
    else:
        for got, want in zip(jitgrad.jit(failing)(ours, x, n), failing(theirs, x, n), strict=True):
            np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(ours, theirs)


def through_a_view(m: np.ndarray, c: float, n: int) -> tuple[np.ndarray, ...]:
    v = m[1] * 1.0
    w = m[0][::-1] if c > 0 else v
    w[np.array([0, 2, 2, 1])] -= 0.5
    m[0] -= m[1]
    w[:2] -= np.maximum(w, v)[2:]
    if n > 2:
        raise ValueError(n)
    return m.copy(), v.copy(), w.copy()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("c", [-1.0, 1.0])
def test_stores_through_what_may_be_a_view_are_seen_at_an_exception(c: float, n: int, order: str) -> None:
    ours, theirs = (np.asarray(np.arange(1.0, 9.0).reshape(2, 4), order=order).copy(order="K") for _ in range(2))
    if n > 2:
        with pytest.raises(ValueError, match="3"):
            jitgrad.jit(through_a_view)(ours, c, n)
        with pytest.raises(ValueError, match="3"):
            through_a_view(theirs, c, n)
    else:
        for got, want in zip(jitgrad.jit(through_a_view)(ours, c, n), through_a_view(theirs, c, n), strict=True):
            np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(ours, theirs)


def taken_apart(m: np.ndarray, x: float, n: int) -> tuple[np.ndarray, ...]:
    """The array is small, and a loop beside the store makes its elements numbers."""
    a, w, k = m[0], np.ones(4), 0
    v = a[::-1]
    if x > 5.0:
        while True:
            k += 1
            if k > n:
                break
            w[2] *= v[-1]
    elif x > 3.0:
        v = v * 3.0
    else:
        a += v
    if n > 2:
        raise ValueError(n)
    return v.copy(), w


def taken_apart_alone(m: np.ndarray, x: float, n: int) -> tuple[np.ndarray, ...]:
    return taken_apart(m[:1].reshape(1, 4), x, n)


def into_itself(m: np.ndarray, x: float, n: int) -> np.ndarray:
    m[:, ::-1] = m
    m.reshape(-1)[3:6] -= x
    m[:] = m
    m[0, 1] = x
    if n > 2:
        raise ValueError(n)
    m[0, 0] -= x
    return m.copy()


@pytest.mark.parametrize("f", [taken_apart_alone, into_itself])
@pytest.mark.parametrize("x", [2.0, 4.0, 7.0])
@pytest.mark.parametrize("rows", [1, 2])
def test_no_store_that_the_caller_sees_is_lost_at_an_exception(f: Any, x: float, rows: int) -> None:
    for n in (1, 3):
        ours, theirs = np.arange(0.5, 4.0 * rows).reshape(rows, 4), np.arange(0.5, 4.0 * rows).reshape(rows, 4)
        if n > 2:
            with pytest.raises(ValueError, match="3"):
                jitgrad.jit(f)(ours, x, n)
            with pytest.raises(ValueError, match="3"):
                f(theirs, x, n)
        else:
            assert all(map(np.array_equal, jitgrad.jit(f)(ours, x, n), f(theirs, x, n)))
        np.testing.assert_array_equal(ours, theirs)


def elements_in_a_loop(m: np.ndarray, x: float, n: int) -> float:
    for i in range(n):
        m[0, i] = m[1, i - 1] * x
        if i > 1 and x > 0:
            raise ValueError(n)
    return m.sum()


def rows_and_all_in_a_loop(m: np.ndarray, x: float, n: int) -> float:
    v = m
    for i in range(n):
        m[:] = m + x
        v[0, i] += 1.0
        if m[0, i] > 0:
            m[:, i] *= x
    if x > 0:
        raise ValueError(n)
    return m.sum()


def exchanged_in_a_loop(m: np.ndarray, x: float, n: int) -> float:
    u = m.copy()
    for i in range(n):
        m[0, i] += 1.0
        m, u = u, m
    if x > 0:
        raise ValueError(n)
    return m.sum()


LAYOUTS: dict[str, Callable[[], np.ndarray]] = {
    "C": lambda: np.arange(0.5, 8.0).reshape(2, 4),
    "F": lambda: np.asfortranarray(np.arange(0.5, 8.0).reshape(2, 4)),
    "apart": lambda: np.arange(0.5, 32.0).reshape(4, 8)[::2, ::2],
    "backwards": lambda: np.arange(0.5, 8.0).reshape(2, 4)[::-1],
}


@pytest.mark.parametrize("layout", list(LAYOUTS))
@pytest.mark.parametrize("f", [elements_in_a_loop, rows_and_all_in_a_loop, exchanged_in_a_loop])
def test_stores_of_loops_are_seen_at_an_exception_in_every_layout(f: Any, layout: str) -> None:
    compiled = jitgrad.jit(f)
    for x in (3.0, -3.0):
        ours, theirs = LAYOUTS[layout](), LAYOUTS[layout]()
        if x > 0:
            with pytest.raises(ValueError, match="3"):
                compiled(ours, x, 3)
            with pytest.raises(ValueError, match="3"):
                f(theirs, x, 3)
        else:
            np.testing.assert_allclose(compiled(ours, x, 3), f(theirs, x, 3))
        np.testing.assert_array_equal(ours, theirs)
