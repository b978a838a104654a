"""Loops that are split where they meet a fixed element: programs, against NumPy and against themselves unsplit."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.graph import passes
from jitgrad.graph.passes import split_loops
from tests.sampling import sampled
from tests.source import function_of


def floyd(d: np.ndarray) -> np.ndarray:
    d = d.copy()
    n = len(d)
    for k in range(n):
        for i in range(n):
            for j in range(n):
                s = d[i, k] + d[k, j]
                if s < d[i, j]:
                    d[i, j] = s
    return d


def loops(f: Callable[..., Any], *args: Any) -> int:
    """Return how many loops the compiled program has."""
    return str(jitgrad.jit(f).graph(*args)).count(" = for ")


# Cycles of negative length, so that d[i, k] changes while row i is gone through.
COSTS = np.random.default_rng(0).uniform(-0.2, 1.0, (7, 7))


def test_shortest_paths() -> None:
    assert loops(floyd, COSTS) == 4
    np.testing.assert_array_equal(jitgrad.jit(floyd)(COSTS), floyd(COSTS))
    for n in (1, 2, 3, 4, 5):  # a size that is known, then one that is not
        np.testing.assert_array_equal(jitgrad.jit(floyd)(COSTS[:n, :n].copy()), floyd(COSTS[:n, :n]))


def test_the_derivative_of_shortest_paths() -> None:
    w, t = (np.random.default_rng(s).standard_normal((7, 7)) for s in (1, 2))

    def f(d: np.ndarray) -> Any:
        return np.sum(w * floyd(d))

    gradient = jitgrad.grad(f)(COSTS)
    h = 1e-6
    quotient = (f(COSTS + h * t) - f(COSTS - h * t)) / (2 * h)
    assert abs(np.sum(gradient * t) - quotient) < 1e-6 * np.sum(np.abs(gradient * t))
    assert jitgrad.jvp(f, (COSTS,), (t,))[1] == pytest.approx(np.sum(gradient * t), rel=1e-10)


class _Program:
    """Source of a program `f(a)` with a sweep over rows or columns that meets the elements it uses."""

    def __init__(self, seed: int) -> None:
        pick = random.Random(seed).choice
        i, j = pick(["ij", "ji"])
        fixed = pick(["k", "n - 1 - k", "0", "n - 1", "min(k + 1, n - 1)"])
        moving = pick([j, f"n - 1 - {j}"])
        x, y, z = f"a[{i}, {moving}]", f"a[{i}, {fixed}]", f"a[{fixed}, {moving}]"
        if pick([False, True]):
            x, y, z = f"a[{moving}, {i}]", f"a[{fixed}, {i}]", f"a[{moving}, {fixed}]"
        statement = pick([
            [f"{x} = 0.4 * {x} + 0.3 * {y} * {z}"],
            [f"{x} -= 0.2 * np.sin({y}) * {z}"],
            [f"t = {y} + {z}", f"if t < {x}:", f"    {x} = t"],
            [f"{x} *= 0.5", f"{y} += 0.1 * {x}"],
            [f"{x} += 0.3 * {y}", f"s += {z} * {y}"],
        ])  # fmt: skip
        inner = pick([f"range({pick(['n', 'k', 'k + 1'])})", f"range({pick(['k', 'k + 1', '1'])}, n)"])
        self.text = "\n".join([
            "def f(a):",
            "    n = len(a)",
            "    a = a.copy()",
            "    s = 0.0",
            "    for k in range(n):",
            f"        for {i} in range(n):",
            f"            for {j} in {inner}:",
            *(f"                {line}" for line in statement),
            "    return a, s",
            "",
        ])  # fmt: skip

    def function(self, name: str) -> Any:
        """Return the program."""
        return function_of(self.text, name)


@pytest.mark.parametrize("seed", sampled(range(60), 3))
def test_random_sweeps(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    n = 5
    rng = np.random.default_rng(seed)
    a, w, t = (rng.uniform(-1.0, 1.0, (n, n)) for _ in range(3))
    program = _Program(seed)

    def results(name: str) -> tuple[Any, ...]:
        f = program.function(name)

        def g(a: np.ndarray) -> Any:
            b, s = f(a)
            return np.sum(w * b) + s

        value, gradient = jitgrad.value_and_grad(g)(a)
        np.testing.assert_allclose(jitgrad.jvp(g, (a,), (t,))[1], np.sum(gradient * t), rtol=1e-9, err_msg=program.text)
        return *jitgrad.jit(f)(a), value, gradient

    split = results(f"<sweep {seed}>")
    for got, want in zip(split[:2], program.function(f"<sweep {seed} in Python>")(a), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-13, atol=1e-15, err_msg=program.text)
    monkeypatch.setattr(passes, "split_loops", lambda graph: False)
    for got, want in zip(split, results(f"<sweep {seed} unsplit>"), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-12, err_msg=program.text)


def test_many_of_the_random_sweeps_are_split(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[bool] = []
    monkeypatch.setattr(passes, "split_loops", lambda graph: found.append(split_loops(graph)) or found[-1])
    for seed in range(30):
        jitgrad.jit(_Program(seed).function(f"<sweep count {seed}>"))(np.ones((5, 5)))
    assert sum(found) >= 8
