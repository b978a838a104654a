"""Loops around loops over numbers that become operations on rows: exactly what they computed, in another order."""

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

N, M = 21, 13
X = np.linspace(-1.0, 2.0, N)
W = np.cos(np.arange(M))


def pulls(x: np.ndarray, w: np.ndarray) -> Any:
    y = np.zeros(len(x))
    for i in range(len(x)):
        s = t = 0.0
        for j in range(len(w)):
            d = w[j] - x[i]
            r = d * d + 0.1
            s += d / (r * np.sqrt(r))
            t = max(t, r)
        y[i] = s - t
    return y


def mixture(x: np.ndarray, w: np.ndarray) -> Any:
    total = 0.0
    for i in range(len(x)):
        p = 0.0
        for j in range(len(w)):
            p += np.exp(-0.5 * (x[i] - w[j]) ** 2)
        total += np.log(p)
    return np.array([total])


def first_of_all(x: np.ndarray, w: np.ndarray) -> Any:
    y = np.full(len(x), -1.0)
    for i in range(len(x)):
        found = np.inf
        at = 0.0
        for j in range(len(w)):
            d = abs(x[i] - w[j])
            if d < found:
                found, at = d, float(j)
        y[i] += found + at
    return y


def by_turns(x: np.ndarray, w: np.ndarray) -> Any:
    y = x.copy()
    for i in range(len(x)):
        c = x[i]
        for j in range(len(w) - 1, -1, -1):
            c = 0.5 * c + w[j] / 3.0
        for j in range(3):
            y[i] += c * w[j + i % 2] / 7.0
    return y


def columns(x: np.ndarray, w: np.ndarray) -> Any:
    b = np.zeros((len(w), len(x)))
    for i in range(len(x)):
        c = 1.0
        for j in range(len(w)):
            c = c * 0.5 + np.sqrt(x[i] * x[i] + w[j] * w[j])
            b[j, i] = c
    return b


def one_of_few(x: np.ndarray, w: np.ndarray) -> Any:
    y = np.zeros(len(x))
    for i in range(len(x)):
        k = 1
        s = 0.0
        for j in range(len(w)):
            k = k % 11 * 5 % 7
            s += x[k] / (1.0 + w[j] * w[j]) * x[i]
        y[i] = s
    return y


def never(x: np.ndarray, w: np.ndarray) -> Any:
    y = np.zeros(len(x))
    for i in range(len(x)):
        s = 0.25
        for j in range(len(w) - 50):
            s += w[j] / x[i]
        y[i] = s
    return y


def of_others(x: np.ndarray, w: np.ndarray) -> Any:
    y = x.copy()
    for i in range(len(x)):
        s = 0.0
        for j in range(len(w)):
            s += y[j] / (2.0 + w[j])
        y[i] = s
    return y


def of_the_next(x: np.ndarray, w: np.ndarray) -> Any:
    # What an iteration reads in its last trip the next one overwrites in its first.
    b = np.stack([x, 0.5 * x])
    for i in range(len(x) - 1):
        s = 0.0
        for j in range(len(w)):
            s += w[j] / (2.0 + b[j % 2, i + 1])
            b[j // 2 % 2, i] = s
    return b


def longer_and_longer(x: np.ndarray, w: np.ndarray) -> Any:
    y = np.zeros(len(x))
    for i in range(len(w)):
        s = 0.0
        for j in range(i):
            s += w[j] / (2.0 + x[i])
        y[i] = s
    return y


def told_by_all(x: np.ndarray, w: np.ndarray) -> Any:
    y, last = np.zeros(len(x)), 0.0
    for i in range(len(x)):
        for j in range(len(w)):
            last = 0.5 * last + w[j] / (2.0 + x[i])
        y[i] = last
    return y


_ROWS = [pulls, mixture, first_of_all, by_turns, columns, one_of_few, never]
_ONE_BY_ONE = [of_others, of_the_next, longer_and_longer, told_by_all]


@pytest.mark.parametrize(("function", "rows"), [(f, True) for f in _ROWS] + [(f, False) for f in _ONE_BY_ONE])
def test_loops_around_loops(function: Callable[..., Any], rows: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = jitgrad.jit(function)
    assert bool(times_done(monkeypatch, "loops_to_rows", lambda: compiled(X, W))) == rows
    if function is not mixture:  # a function of NumPy's is compiled anew
        np.testing.assert_array_equal(compiled(X, W), function(X, W))
    for n in (4, 5, 8, 30):  # sizes that are not known
        x, w = np.resize(X, max(n, 12)), np.resize(W, min(n, 12))
        np.testing.assert_allclose(compiled(x, w), function(x, w), rtol=1e-14)


@pytest.mark.parametrize("function", [*_ROWS, *_ONE_BY_ONE])
def test_derivatives(function: Callable[..., Any]) -> None:
    rng = np.random.default_rng(3)
    tx, tw = rng.normal(size=N), rng.normal(size=M)
    weights = rng.normal(size=np.shape(function(X, W)))

    def f(x: np.ndarray, w: np.ndarray) -> Any:
        return np.sum(weights * function(x, w))

    x, w = X + 0.01, W + 0.02
    gx, gw = jitgrad.grad(f, argnums=(0, 1))(x, w)
    tangent = jitgrad.jvp(f, (x, w), (tx, tw))[1]
    quotient = (f(x + 1e-6 * tx, w + 1e-6 * tw) - f(x - 1e-6 * tx, w - 1e-6 * tw)) / 2e-6
    assert gx @ tx + gw @ tw == pytest.approx(tangent, rel=1e-9)
    assert tangent == pytest.approx(quotient, rel=1e-5, abs=1e-6)


class _Program:
    """Source of a program `f(x, w, a, at)` with loops within a loop over elements."""

    def __init__(self, seed: int) -> None:
        pick = random.Random(seed).choice

        apart = ["x[i]", "x[n - 1 - i]", "w[j]", "w[m - 1 - j]", "a[j, i]", "w[at[j]]", "c", "float(i)"]
        meeting = ["a[i % m, j]", "x[at[i]]", "a[j, at[i]]", "y[i]", "b[j, i]", "y[j]", "b[j - 1, i]", "b[j, i - 1]"]
        sources = pick([apart, apart, apart + meeting])

        def read() -> str:
            return pick(sources)

        def term() -> str:
            return pick(["{} * {}", "{} / (4.0 + {})", "np.sqrt(1.0 + abs({} * {}))", "({} - {})"]).format(
                read(), read()
            )

        statements = [pick([
            [f"c = 0.5 * c + {term()}"],
            [f"s += 0.1 * {term()}"],
            [f"if {read()} < {read()}:", f"    c = {term()}", "else:", f"    s -= 0.1 * {read()}"],
            [f"b[j, i] = {term()}"],
            [f"b[j, i] += 0.1 * {term()}"],
            [f"y[i] += 0.1 * {term()}"],
            [f"s = max(s, {read()})"],
            [f"{pick(['total', 'y[j]'])} += 0.01 * {term()}"],
        ]) for _ in range(pick([1, 2, 3]))]  # fmt: skip
        within = pick(["range(m)", "range(m)", "range(1, m)", "range(m - 1, -1, -1)", "range(k)", "range(i % 3)"])
        rows = pick(["range(n)", "range(1, n - 1)", "range(n - 1, -1, -1)", "range(m)"])
        after = pick([[], ["y[i] = s"], ["y[i] = s / (2.0 + c * c)"], ["total += s"], ["b[0, i] = c"]])
        self.text = "\n".join([
            "def f(x, w, a, at):",
            "    n, m = len(x), len(w)",
            "    y, b, total = x.copy(), a.copy(), 0.0",
            "    for k in range(3):",
            f"        for i in {rows}:",
            f"            s, c = 0.0, {pick(['0.5', 'x[i]', 'y[i]', 'w[0]'])}",
            f"            for j in {within}:",
            *(f"                {line}" for lines in statements for line in lines),
            *(f"            {line}" for line in after),
            "    return y, b, total",
            "",
        ])  # fmt: skip

    def function(self, name: str) -> Any:
        """Return the program."""
        return function_of(self.text, name)


@pytest.mark.parametrize("seed", sampled(range(60), 12, 4))
def test_random_loops(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    x, tx, u = (rng.uniform(-1.0, 1.0, N) for _ in range(3))
    w, tw = (rng.uniform(-1.0, 1.0, M) for _ in range(2))
    a, ta, v = (rng.uniform(-1.0, 1.0, (M, N)) for _ in range(3))
    at = rng.integers(0, M, N)
    program = _Program(seed)

    def results(name: str) -> tuple[Any, ...]:
        f = program.function(f"{name} around {seed}")

        def g(x: np.ndarray, w: np.ndarray, a: np.ndarray) -> Any:
            y, b, total = f(x, w, a, at)
            return np.sum(u * y) + np.sum(v * b) + total

        return *jitgrad.jit(f)(x, w, a, at), *derivatives(g, (x, w, a), (tx, tw, ta), program.text)

    rows = check_without(monkeypatch, ["loops_to_rows"], results, program.text)
    for got, want in zip(rows[:3], program.function(f"<around {seed} in Python>")(x, w, a, at), strict=True):
        np.testing.assert_array_equal(got, want, err_msg=program.text)


def test_many_of_the_random_loops_become_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(seed: int) -> Any:
        f = _Program(seed).function(f"<around count {seed}>")
        return jitgrad.jit(f)(X, W, np.ones((M, N)), np.zeros(N, int))

    assert sum(times_done(monkeypatch, "loops_to_rows", lambda seed=seed: compiled(seed)) for seed in range(16)) >= 5
