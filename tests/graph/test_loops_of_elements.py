"""Loops of elements that keep to themselves: which become ops on rows, and that they compute what they did."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.graph import passes
from jitgrad.graph.passes import loops_to_rows
from tests.sampling import sampled
from tests.source import function_of

X = np.linspace(-1.0, 2.0, 24)
A = np.linspace(-1.0, 2.0, 96).reshape(12, 8) % 0.7


def loops(f: Callable[..., Any], *args: Any) -> int:
    """Return how many loops the compiled program has."""
    return str(jitgrad.jit(f).graph(*args)).count(" = for ")


def arithmetic(x: np.ndarray) -> Any:
    y = np.zeros(len(x))
    for i in range(len(x)):
        y[i] = np.sqrt(x[i] * x[i] + 1.0) - 3.0 * x[len(x) - 1 - i]
    return y


def numbers(x: np.ndarray) -> Any:
    y = np.zeros(len(x))
    for i in range(len(x)):
        y[i] = i * x[i] if i % 3 > 0 else -0.0
    return y


def own_element(x: np.ndarray) -> Any:
    y = x.copy()
    z = np.zeros(len(x))
    for i in range(len(x)):
        y[i] = 2.0 * y[i] + z[i]
        z[i] = y[i] - x[i]
        y[i] += z[i]
    return y + z


def every_other(x: np.ndarray) -> Any:
    y = x.copy()
    for i in range(len(x) // 2):
        y[2 * i] = x[2 * i + 1] + y[2 * i]
    return y


def gathered(x: np.ndarray) -> Any:
    y = np.zeros(len(x))
    for i in range(len(x) - 1):
        y[i + 1] = x[i * i % 5] + x[3]
    return y


def before(x: np.ndarray) -> Any:
    y = x.copy()
    for i in range(1, len(x)):
        y[i] = y[i - 1] + x[i]
    return y


def behind(x: np.ndarray) -> Any:
    y = x.copy()
    for i in range(len(x) - 1):
        y[i] = 0.5 * y[i + 1]
    return y


def one_place(x: np.ndarray) -> Any:
    y = x.copy()
    for i in range(1, len(x)):
        y[i] += y[0]
        y[0] = x[i]
    return y


def mirrored(x: np.ndarray) -> Any:
    y = x.copy()
    for i in range(len(x)):
        y[i] = y[len(x) - 1 - i] + 1.0
    return y


def scattered(x: np.ndarray) -> Any:
    y = np.zeros(len(x))
    k = (np.abs(x) * 7.0).astype(np.int64)
    for i in range(len(x)):
        y[k[i]] = x[i]
    return y


def checked(x: np.ndarray) -> Any:
    y = np.zeros(len(x))
    for i in range(len(x)):
        if x[i] < -2.0:
            raise ValueError
        y[i] = x[i]
    return y


@pytest.mark.parametrize("function", [arithmetic, numbers, own_element, every_other, gathered, behind])
def test_loops_become_rows(function: Callable[..., Any]) -> None:
    np.testing.assert_array_equal(jitgrad.jit(function)(X), function(X))
    assert loops(function, X) == 0


@pytest.mark.parametrize("function", [before, one_place, mirrored, scattered, checked])
def test_loops_whose_iterations_meet_stay(function: Callable[..., Any]) -> None:
    np.testing.assert_array_equal(jitgrad.jit(function)(X), function(X))
    assert loops(function, X) == 1


def test_rows_of_matrices_may_be_one_row() -> None:
    def f(a: np.ndarray, w: np.ndarray) -> Any:
        a = a.copy()
        for k in range(len(a)):
            for i in range(len(a)):
                for j in range(a.shape[1]):
                    a[i, j] = min(a[i, j], 0.3 * w[i] + a[k, j]) * 0.9
        return a

    w = np.sin(np.arange(12.0))
    assert loops(f, A, w) == 2
    np.testing.assert_array_equal(jitgrad.jit(f)(A, w), f(A, w))


@pytest.mark.parametrize("shift", [0, 1, 17])
def test_rows_that_may_be_one_are_read_before_they_are_stored(shift: int) -> None:
    def f(a: np.ndarray) -> Any:
        a = a.copy()
        for k in range(len(a)):
            for i in range(len(a)):
                a[i, shift:] = 0.5 * a[k, : a.shape[1] - shift] - a[i, shift:]
        return a

    a = np.random.default_rng(0).uniform(-1.0, 1.0, (4, 70))
    np.testing.assert_array_equal(jitgrad.jit(f)(a), f(a))


def test_a_loop_that_does_not_run_reads_and_changes_nothing() -> None:
    def f(s: float, x: np.ndarray, n: int, k: int) -> Any:
        y = np.full(64, 1.5)
        for i in range(n):
            y[i] = x[k] * s
        return np.sum(y * y)

    # On the way back nothing checks k any more.
    compiled: Any = jitgrad.value_and_grad(f)
    for n, k in ((40, 2), (0, 10**12), (-5, 10**12)):
        value, slope = compiled(2.0, X, n, k)
        assert value == pytest.approx(f(2.0, X, n, k))
        assert slope == pytest.approx(2.0 * 2.0 * X[2] ** 2 * n if n > 0 else 0.0)


class _Program:
    """Source of a program `f(a, b, s)` with a loop over elements of two arrays, most of which may be done as rows."""

    def __init__(self, seed: int) -> None:
        source = random.Random(seed)
        pick = source.choice
        places = ["i", "i", "i", "n - 1 - i", "i + n", "2 * i", "2 * i + 1", "0", "i // 2"]
        # Most arrays are touched at one place, which makes their iterations independent.
        first, second = ([pick(places) for _ in range(pick([1, 1, 2]))] for _ in range(2))
        summed = pick([False, False, True])

        def term() -> str:
            return pick([
                f"a[{pick(first)}]", f"b[{pick(second)}]", "c[i]", "c[i * i % 7]", "s", "0.5 * i",
                f"np.maximum(a[{pick(first)}], b[{pick(second)}])", "t",
            ])  # fmt: skip

        def store() -> str:
            target = pick([f"a[{pick(first)}]", f"b[{pick(second)}]"])
            return f"{target} {pick(['=', '=', '+=', '-=', '*='])} {term()} * {term()} - 0.25 * {term()}"

        body = [f"t = {term()}".replace("t = t", "t = s")]
        body += [pick([store(), store(), f"t = {term()} + {term()}"]) for _ in range(4)]
        body += [f"total += {term()} * c[i]"] * summed
        self.text = "\n".join([
            "def f(a, b, c, s):",
            "    n = len(c)",
            "    a, b, total, t = a.copy(), b.copy(), 0.0, 0.0",
            f"    for i in {pick(['range(n)', 'range(n)', 'range(n - 1, -1, -1)'])}:",
            *(f"        {line}" for line in body),
            "    return a, b, total",
            "",
        ])  # fmt: skip

    def function(self, name: str) -> Any:
        """Return the program."""
        return function_of(self.text, name)


@pytest.mark.parametrize("seed", sampled(range(120), 4))
def test_random_loops(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    n = 9
    rng = np.random.default_rng(seed)
    a, b, u, v = (rng.uniform(-1.0, 1.0, 2 * n) for _ in range(4))
    c = rng.uniform(-1.0, 1.0, n)
    program = _Program(seed)

    def results(name: str) -> tuple[Any, ...]:
        f = program.function(name)

        def g(a: np.ndarray, b: np.ndarray, c: np.ndarray, s: float) -> Any:
            x, y, total = f(a, b, c, s)
            return np.sum(u * x) + np.sum(v * y) + total

        value, gradient = jitgrad.value_and_grad(g, argnums=(0, 1, 2, 3))(a, b, c, 0.7)
        return *jitgrad.jit(f)(a, b, c, 0.7), value, *gradient

    rows = results(f"<loop {seed}>")
    for got, want in zip(rows[:3], program.function(f"<loop {seed} in Python>")(a, b, c, 0.7), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14, err_msg=program.text)
    monkeypatch.setattr(passes, "loops_to_rows", lambda graph: False)
    for got, want in zip(rows, results(f"<loop {seed} of elements>"), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12, err_msg=program.text)


def test_many_of_the_random_loops_become_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[bool] = []
    monkeypatch.setattr(passes, "loops_to_rows", lambda graph: found.append(loops_to_rows(graph)) or found[-1])
    for seed in range(30):
        jitgrad.jit(_Program(seed).function(f"<loop count {seed}>"))(np.ones(18), np.ones(18), np.ones(9), 1.0)
    assert sum(found) >= 6
