"""Arguments of every memory layout: what `reshape` and `ravel` share is stored into, what they copy is not."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest

import jitgrad

SHAPE = (2, 4)


def laid_out(layout: str) -> np.ndarray:
    """Return the same numbers, laid out in one way or another."""
    values = np.arange(1.0, 9.0).reshape(SHAPE)
    memory = np.zeros((4, 8))
    made = {
        "C": np.zeros(SHAPE),
        "F": np.zeros(SHAPE, order="F"),
        "columns": memory[:2, ::2],
        "rows": memory[::2, :4],
        "reversed": memory[1::-1, :4],
        "transposed": memory[:, ::4].T,
        "repeated shape": memory[:2, 3:7],
    }[layout]
    made[:] = values
    return made


LAYOUTS = ("C", "F", "columns", "rows", "reversed", "transposed", "repeated shape")


def reshaped(m: np.ndarray) -> float:
    m.reshape(-1)[3:6] *= 3.0
    return (m * m).sum()


def raveled(m: np.ndarray) -> float:
    m.ravel()[3:6] *= 3.0
    return (m * m).sum()


def transposed(m: np.ndarray) -> float:
    m.T.reshape(-1)[3:6] *= 3.0
    m.T.ravel()[:2] += m[0, 3]
    return (m * m).sum()


def halves(m: np.ndarray) -> float:
    m.reshape(4, 2)[1] *= 3.0
    m.reshape(2, 2, 2)[:, 1] *= m[0, 0]
    return (m * m).sum()


def parts(m: np.ndarray) -> float:
    m[:, :1].ravel()[0] = 5.0
    m[0, ::2].ravel()[0] = 6.0
    m[:, 1:3].T.reshape(-1)[1] = m[1, 1] * 7.0
    m[:1].reshape(2, -1)[0] *= 2.0
    return (m * m).sum()


def read(m: np.ndarray) -> float:
    return (m.reshape(-1) * m.T.ravel() * np.arange(8)).sum()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("f", [reshaped, raveled, transposed, halves, parts, read])
def test_reshapes_share_what_they_share_in_numpy(f: Callable[[np.ndarray], float], layout: str) -> None:
    ours, theirs = laid_out(layout), laid_out(layout)
    want = f(theirs)
    assert jitgrad.jit(f)(ours) == pytest.approx(want, rel=1e-14)
    np.testing.assert_array_equal(ours, theirs)
    slopes = np.zeros(SHAPE)
    for place in np.ndindex(SHAPE):
        ends = []
        for h in (1e-5, -1e-5):
            moved = laid_out(layout)
            moved[place] += h
            ends.append(f(moved))
        slopes[place] = (ends[0] - ends[1]) / 2e-5
    given = laid_out(layout)
    np.testing.assert_allclose(jitgrad.grad(f)(given), slopes, atol=1e-4, rtol=1e-6)
    np.testing.assert_array_equal(given, laid_out("C"))
    # Under a transform it is a copy that the program stores into, and lies in memory as the argument.
    np.testing.assert_allclose(jitgrad.jit(lambda m: jitgrad.grad(f)(m))(given), slopes, atol=1e-4, rtol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_pullback_keeps_the_layout_of_its_primal(layout: str) -> None:
    def f(m: np.ndarray, x: float) -> np.ndarray:
        m.reshape(-1)[3:6] *= x
        return m * 2.0

    given, w = laid_out(layout), np.arange(8.0).reshape(SHAPE)
    value, pull = jitgrad.vjp(f, given, 3.0)
    np.testing.assert_array_equal(given, laid_out(layout))
    np.testing.assert_array_equal(value, f(laid_out(layout), 3.0))
    by_x = np.sum(w * (f(laid_out(layout), 4.0) - value))
    assert pull(w)[1] == pytest.approx(by_x)
    _, slope = jitgrad.jvp(f, (given, 3.0), (np.zeros(SHAPE), 1.0))
    assert np.sum(w * slope) == pytest.approx(by_x)


# --- elements moved within one array


def add_at(u: np.ndarray) -> np.ndarray:
    for _ in range(3):
        np.add.at(u, np.array([0, 2, 2, 1]), 1.0 * u)
    return u


def permuted(u: np.ndarray) -> np.ndarray:
    for _ in range(3):
        u[np.array([3, 0, 1, 2])] = 1.0 * u
    return u


def reversed_in_place(u: np.ndarray) -> np.ndarray:
    for _ in range(3):
        u[::-1] = 1.0 * u
        u[1:] = u[:-1]
    return u


def added_reversed(u: np.ndarray) -> np.ndarray:
    np.add.at(u, np.array([0, 2, 2, 1]), u[::-1])
    return u


@pytest.mark.parametrize("f", [add_at, permuted, reversed_in_place, added_reversed])
def test_elements_are_read_before_they_are_written(f: Callable[[np.ndarray], np.ndarray]) -> None:
    x = np.array([1.0, 2.0, 3.0, 5.0])
    np.testing.assert_array_equal(jitgrad.jit(f)(x.copy()), f(x.copy()))
    np.testing.assert_array_equal(jitgrad.jit(lambda v: f(v.copy()))(x), f(x.copy()))
    t, w = np.array([1.0, -2.0, 0.5, 3.0]), np.array([0.3, 1.0, -1.0, 2.0])
    gradient = jitgrad.grad(lambda v: np.sum(w * f(v.copy())))(x)
    assert np.sum(gradient * t) == pytest.approx(np.sum(w * f(t.copy())))  # f is linear


def test_a_pullback_by_a_column_holds_no_matrix() -> None:
    matrix = np.ones((300, 20_000))  # 48 MB, of which one column is 2.4 KB
    tracemalloc.start()
    _, pull = jitgrad.vjp(lambda v: np.sum(v * v), matrix[:, 7])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000_000
    np.testing.assert_array_equal(pull(1.0)[0], np.full(300, 2.0))
