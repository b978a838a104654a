"""Loops whose iterations run side by side: programs, against NumPy, differences and themselves one by one."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from tests.graph.with_and_without import check_without, derivatives, times_done
from tests.sampling import sampled
from tests.source import function_of

# Two groups of iterations and some that are left over.
N = 18


def eliminate(a: np.ndarray) -> Any:
    a = a.copy()
    for k in range(len(a)):
        for i in range(k + 1, len(a)):
            a[i, k] /= a[k, k]
            for j in range(k + 1, len(a)):
                a[i, j] -= a[i, k] * a[k, j]
    return np.sum(np.log(np.abs(np.diag(a))))


def apply(a: np.ndarray, x: np.ndarray) -> Any:
    # Of a length that changes: what is always as long becomes rows.
    y = np.zeros(len(a))
    for k in range(1, a.shape[1] + 1):
        for i in range(a.shape[0]):
            for j in range(k):
                y[i] += a[i, j] * x[j]
    return np.sum(y * y)


def slopes(a: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the gradient of `apply` by hand."""
    times = np.arange(a.shape[1], 0, -1)
    y = a @ (times * x)
    return 2 * np.outer(y, times * x), 2 * times * (a.T @ y)


def substitute(a: np.ndarray, x: np.ndarray) -> Any:
    # Each row needs the element before: no two may be taken at once on the way back.
    x = x.copy()
    for i in range(len(x)):
        for j in range(len(x)):
            if j < i:
                x[i] -= 0.1 * a[i, j] * x[j]
    return np.sum(x * x)


def test_elimination(monkeypatch: pytest.MonkeyPatch) -> None:
    a = np.random.default_rng(0).normal(size=(N, N)) + 8.0 * np.eye(N)
    assert times_done(monkeypatch, "jam_loops", lambda: jitgrad.grad(eliminate)(a)) == 1
    # log |det A|, whose gradient is the transposed inverse.
    np.testing.assert_allclose(jitgrad.grad(eliminate)(a), np.linalg.inv(a).T, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("rows", [8, 9, 10, 11, 12])
def test_every_number_of_rows(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(rows)
    a, x = rng.normal(size=(rows, N)), rng.normal(size=N)
    gradient = jitgrad.grad(apply, argnums=(0, 1))
    assert times_done(monkeypatch, "jam_loops", lambda: gradient(a, x)) == 1
    for got, want in zip(gradient(a, x), slopes(a, x), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11)


@pytest.mark.parametrize("rows", range(10))
def test_sizes_that_are_not_known(rows: int) -> None:
    gradient = jitgrad.grad(apply, argnums=(0, 1))
    rng = np.random.default_rng(rows)
    for n in (20, 23, rows):  # the third size is any
        a, x = rng.normal(size=(n, N)), rng.normal(size=N)
        for got, want in zip(gradient(a, x), slopes(a, x), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-12)


def test_a_loop_around_one_in_which_a_list_grows_stays_as_it_is() -> None:
    def f(x: np.ndarray, n: int) -> Any:
        total = 0.0
        for _ in range(3):
            several = [total, 0.5, x[0]]
            total = several[n] + sum(v for v in x)
        return total

    x = np.array([0.3, -0.2, 0.5])
    for n in range(3):
        assert jitgrad.jit(f)(x, n) == pytest.approx(f(x, n), rel=1e-14)


def test_rows_that_need_each_other_stay_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    a, x, t = rng.normal(size=(N, N)), rng.normal(size=N), rng.normal(size=N)
    gradient = jitgrad.grad(substitute, argnums=1)
    assert times_done(monkeypatch, "jam_loops", lambda: gradient(a, x)) == 0
    h = 1e-6
    quotient = (substitute(a, x + h * t) - substitute(a, x - h * t)) / (2 * h)
    assert np.sum(gradient(a, x) * t) == pytest.approx(quotient, rel=1e-7)


def blend(a: np.ndarray) -> Any:
    # Row k is among the rows that it is added to.
    a, s = a.copy(), 0.0
    for k in range(0, len(a), 3):
        for i in range(len(a)):
            for j in range(len(a)):
                a[i, j] -= 0.14 * a[k, len(a) - 1 - j]
            s += a[i, -1]
    return np.sum(a * a) + s


def hand_on(a: np.ndarray) -> Any:
    # Each row begins with what one of the three before ended with.
    a = a.copy()
    for k in range(3):
        for i in range(3, len(a)):
            c = 0.1 * a[i - 1 - i % 3, 0]
            for j in range(k + 1, len(a)):
                a[i, j] -= c * a[0, len(a) - j]
            a[i, 0] += c
    return np.sum(a * a)


@pytest.mark.parametrize(("f", "jammed"), [(blend, 1), (hand_on, 0)])
def test_rows_that_others_need_are_done_before_or_after_them(
    f: Callable[[np.ndarray], Any], jammed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(2)
    a, t, h = rng.normal(size=(N, N)), rng.normal(size=(N, N)), 1e-6
    gradient = jitgrad.grad(f)
    assert times_done(monkeypatch, "jam_loops", lambda: gradient(a)) == jammed
    quotient = (f(a + h * t) - f(a - h * t)) / (2 * h)
    assert np.sum(gradient(a) * t) == pytest.approx(quotient, rel=1e-7)


class _Program:
    """Source of a program `f(a)` with loops over elements of rows, some of which are read by all rows."""

    def __init__(self, seed: int) -> None:
        pick = random.Random(seed).choice
        row = pick(["k", "n - 1 - k", "0", "n - 1", "min(k + 1, n - 1)", "i - 1", "max(i - 2, 0)", "k // 2"])
        rows = pick(["range(n)", "range(n - 1, -1, -1)", "range(1, n)", "range(k + 1, n)", "range(k)"])
        columns = pick(["range(n)", "range(k, n)", "range(n - k)", "range(k + 1, n)"])
        other = pick(["j", "j", "n - 1 - j", "min(j + 1, n - 1)"])
        x, z = "a[i, j]", f"a[{row}, {other}]"
        element = pick([f"a[i, {row}]", "a[i, i]", "0.7", "a[i, k]"])
        statement = pick([
            [f"{x} = 0.9 * {x} + 0.2 * {element} * {z}"],
            [f"{x} -= 0.2 * {element} * {z}"],
            [f"t = {element} + {z}", f"if t < {x}:", f"    {x} = t"],
            [f"s += 0.05 * {z} * {x}"],
            [f"b[i, j] += {z} * {element}"],
            [f"b[j, i] = {x} * {z}", f"s += 0.05 * {element} * {z}"],
        ])  # fmt: skip
        before = pick([[], ["a[i, k] *= 0.5"], ["a[i, 0] += 0.1 * s"], ["c = 0.3 * a[i, k]", "a[i, k] = c * c"]])
        after = pick([[], ["s *= 0.9"], ["a[i, k] += 0.01 * s"], ["a[k, i] += 0.1 * a[i, k]"], ["s += a[i, n - 1]"]])
        self.text = "\n".join([
            "def f(a):",
            "    n = len(a)",
            "    a = a.copy()",
            "    b = np.zeros((n, n))",
            "    s = 0.0",
            "    for k in range(0, n, 3):",
            f"        for i in {rows}:",
            *(f"            {line}" for line in before),
            f"            for j in {columns}:",
            *(f"                {line}" for line in statement),
            *(f"            {line}" for line in after),
            "    return a + 0.3 * b, s",
            "",
        ])  # fmt: skip

    def function(self, name: str) -> Any:
        """Return the program."""
        return function_of(self.text, name)


@pytest.mark.parametrize("seed", sampled(range(24), 3))
def test_random_rows(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    a, w, t = (rng.uniform(-1.0, 1.0, (N, N)) for _ in range(3))
    program = _Program(seed)

    def results(name: str) -> tuple[Any, ...]:
        f = program.function(f"{name} rows {seed}")

        def g(a: np.ndarray) -> Any:
            b, s = f(a)
            return np.sum(w * b) + s

        return *jitgrad.jit(f)(a), *derivatives(g, (a,), (t,), program.text)

    jammed = check_without(monkeypatch, ["jam_loops"], results, program.text)
    for got, want in zip(jammed[:2], program.function(f"<rows {seed} in Python>")(a), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13, err_msg=program.text)


def test_many_of_the_random_programs_are_jammed(monkeypatch: pytest.MonkeyPatch) -> None:
    def gradient(seed: int) -> Any:
        f = _Program(seed).function(f"<rows count {seed}>")
        return jitgrad.grad(lambda a: np.sum(f(a)[0]))(np.ones((N, N)))

    assert sum(times_done(monkeypatch, "jam_loops", lambda seed=seed: gradient(seed)) for seed in range(24)) >= 3


class _Recurrence:
    """Source of a program `f(a, b, at)` in which each element of a row needs what was stored before it."""

    def __init__(self, seed: int) -> None:
        pick = random.Random(seed).choice

        def near(column: bool) -> str:
            offset = pick([-2, -1, -1, 0, 0, 1, 1, 2])
            return ("j" if column else "i") + (f" {'-+'[offset > 0]} {abs(offset)}" if offset else "")

        def element() -> str:
            row = pick([near(False)] * 5 + ["at[i]", "at[i] + 1", "2", "n - 1 - i"])
            return f"{pick(['a', 'a', 'b'])}[{row}, {near(True)}]"

        rows = pick(["range(2, n - 2)", "range(n - 3, 1, -1)", "range(2, n - 2, 2)", "range(2, n - 2 - k)"])
        columns = pick(["range(2, m - 2)", "range(m - 3, 1, -1)", "range(2, m - 2, 2)", "range(2, m - k)"])
        columns = columns.replace("m - k", "m - 2 - k")
        last = {"range(m - 3, 1, -1)": "j + 1", "range(2, m - 2, 2)": "j - 2"}.get(columns, "j - 1")
        x = pick(["a", "a", "b"])
        statement = pick([
            [f"{x}[i, j] = 0.4 * {x}[i, {last}] + 0.2 * {element()} - 0.1 * {element()}"],
            [f"{x}[i, j] = 0.25 * ({element()} + {element()} + {element()} + {x}[i, {last}])"],
            [f"{x}[i, j] = min({x}[i, {last}], {element()}) + 0.1 * {element()}"],
            [f"c = 0.5 * c + {element()}", f"{x}[i, j] += 0.2 * c"],
            [f"c -= 0.1 * {element()} * {element()}"],
            [f"c = 0.3 * c + {element()}", f"s += 0.01 * c * {element()}"],
        ])  # fmt: skip
        before = pick([[], [f"c = {element().replace('j', '2')}"], ["c = s"], [f"{x}[i, 1] += 0.1"]])
        after = pick([[], [f"{x}[i, 0] = c"], ["s += 0.1 * c"], [f"{x}[i, m - 2] = 0.5 * {x}[i, m - 3]"]])
        self.text = "\n".join([
            "def f(a, b, at):",
            "    n, m = a.shape",
            "    a, b, s = a.copy(), b.copy(), 0.0",
            "    for k in range(3):",
            f"        for i in {rows}:",
            *(f"            {line}" for line in ["c = 0.5", *before]),
            f"            for j in {columns}:",
            *(f"                {line}" for line in statement),
            *(f"            {line}" for line in after),
            "    return a, b, s",
            "",
        ])  # fmt: skip

    def function(self, name: str) -> Any:
        """Return the program."""
        return function_of(self.text, name)


@pytest.mark.parametrize("seed", sampled(range(60), 12, 4))
def test_random_recurrences(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but derivatives to the last bit, whatever rows run side by side."""
    rng = np.random.default_rng(seed)
    a, b, w, v, t, u = (rng.uniform(-1.0, 1.0, (N + 5, N + 3)) for _ in range(6))
    at = rng.integers(0, 6, N + 5)
    program = _Recurrence(seed)

    def results(name: str) -> tuple[Any, ...]:
        f = program.function(f"{name} recurrence {seed}")

        def g(a: np.ndarray, b: np.ndarray) -> Any:
            x, y, s = f(a, b, at)
            return np.sum(w * x) + np.sum(v * y) + s

        return *jitgrad.jit(f)(a, b, at), *derivatives(g, (a, b), (t, u), program.text)

    jammed = check_without(monkeypatch, ["jam_loops"], results, program.text)
    for got, want in zip(jammed[:3], program.function(f"<recurrence {seed} in Python>")(a, b, at), strict=True):
        np.testing.assert_array_equal(got, want, err_msg=program.text)


def test_many_of_the_random_recurrences_are_jammed(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(seed: int) -> Any:
        f = _Recurrence(seed).function(f"<recurrence count {seed}>")
        return jitgrad.jit(f)(np.ones((N + 5, N + 3)), np.ones((N + 5, N + 3)), np.zeros(N + 5, int))

    assert sum(times_done(monkeypatch, "jam_loops", lambda seed=seed: compiled(seed)) for seed in range(20)) >= 6
