"""Arrays that are kept turned: when they are, and that nothing else changes.

The random programs walk over rows, columns and blocks of arrays of two and three axes, with branches, `while` loops,
exchanged arrays and arithmetic of whole arrays. Which arrays are turned is decided by lot, so that every rewriting is
met, not only those that pay.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.graph.interpret import interpret
from jitgrad.graph.passes import layout, turn_arrays
from jitgrad.graph.verify import verify
from tests.graph.helpers import read
from tests.sampling import sampled
from tests.source import function_of


def turned(f: Callable[..., Any], *args: Any) -> int:
    """Return how many arrays the compiled program copies to another order."""
    return str(jitgrad.jit(f).graph(*args)).count("relayout")


# --- when


def paths(x: np.ndarray, a: float) -> np.ndarray:
    s = np.zeros_like(x)
    s[:, 0] = 1.0
    for t in range(1, x.shape[1]):
        s[:, t] = s[:, t - 1] * np.exp(a * x[:, t])
    return s


def walk_over_rows(x: np.ndarray, a: float) -> np.ndarray:
    s = np.zeros_like(x)
    s[0] = 1.0
    for t in range(1, len(x)):
        s[t] = s[t - 1] * np.exp(a * x[t])
    return s


def columns_by_elements(x: np.ndarray) -> float:
    s = 0.0
    for _ in range(4):
        for j in range(x.shape[1]):
            for i in range(x.shape[0]):
                s += x[i, j] * s
    return s


def last_of_three(x: np.ndarray) -> np.ndarray:
    s = np.zeros_like(x)
    for t in range(1, x.shape[2]):
        s[:, :, t] = 0.5 * s[:, :, t - 1] + x[:, :, t]
    return s


def stores_that_the_caller_sees(x: np.ndarray) -> None:
    for t in range(1, x.shape[1]):
        x[:, t] += x[:, t - 1] / x[0, 0]


def a_block_a_step(x: np.ndarray) -> float:
    y = x.copy()
    for k in range(len(y) - 1):
        y[k + 1 :, k] /= y[k, k]
        y[k + 1 :, k + 1 :] -= np.outer(y[k + 1 :, k], y[k, k + 1 :])
    return y.sum()


X = np.random.default_rng(0).uniform(0.5, 1.5, (40, 50))


def test_walks_over_columns_are_turned() -> None:
    assert turned(paths, X, 0.1) >= 2
    assert turned(last_of_three, np.random.default_rng(1).random((10, 6, 20))) >= 2
    assert turned(columns_by_elements, X) == 1


def test_what_lies_well_or_is_small_stays() -> None:
    assert turned(walk_over_rows, X, 0.1) == 0
    assert turned(a_block_a_step, X[:, :40].copy()) == 0
    assert turned(paths, X[:4, :5].copy(), 0.1) == 0


def test_values_are_numpys() -> None:
    for x in (X, X.T.copy(), X[:, :1].copy(), X[:1].copy(), X.astype(np.float32)):
        got, want = jitgrad.jit(paths)(x, 0.1), paths(x, 0.1)
        np.testing.assert_allclose(got, want, rtol=1e-5 if x.dtype == np.float32 else 1e-13)
        assert got.dtype == want.dtype and got.flags.c_contiguous
    x = np.random.default_rng(1).random((10, 6, 20))
    np.testing.assert_array_equal(jitgrad.jit(last_of_three)(x), last_of_three(x))


def test_stores_into_arguments_arrive() -> None:
    got, want = X.copy(), X.copy()
    jitgrad.jit(stores_that_the_caller_sees)(got)
    stores_that_the_caller_sees(want)
    np.testing.assert_array_equal(got, want)


def test_gradients_of_turned_arrays() -> None:
    def f(x: np.ndarray) -> Any:
        s = paths(x, 0.1)
        return np.sum(s[:, -1] * s[:, 3])

    def by_rows(x: np.ndarray) -> Any:
        s = walk_over_rows(x, 0.1)
        return np.sum(s[-1] * s[3])

    np.testing.assert_allclose(jitgrad.grad(f)(X), jitgrad.grad(by_rows)(X.T.copy()).T, rtol=1e-12)


def test_a_graph_that_is_turned_verifies_and_means_the_same() -> None:
    graph = read("""
        graph f(%x: float64[30, 20], %n: int64[]) {
          %zero = constant {value=0.0} : float64[]
          %z = broadcast %zero {shape=(30, 20)} : float64[30, 20]
          %one = constant {value=1} : int64[]
          %s = for %n, %z : float64[30, 20]
          ^(%k: int64[], %c: float64[30, 20]) {
            %a = load %x, %k {index=(0:1:30, @_)} : float64[30]
            %b = load %c, %k {index=(0:1:30, @_)} : float64[30]
            %p = multiply %a, %b : float64[30]
            %q = add %p, %a : float64[30]
            %k1 = add %k, %one : int64[]
            %d = store %c, %q, %k1 {index=(0:1:30, @_)} : float64[30, 20]
            yield %d
          }
          %r = multiply %s, %s : float64[30, 20]
          return %r
        }""")
    x = np.random.default_rng(2).random((30, 20))
    want = interpret(graph, [x, np.int64(19)])
    assert turn_arrays(graph)
    verify(graph)
    np.testing.assert_array_equal(interpret(graph, [x, np.int64(19)])[0], want[0])


# --- random programs

_SHAPES = ((5, 4), (3, 7), (4, 4), (3, 2, 4))


class _Program:
    """Source of a program `f(a, b, n)` on two arrays of one shape."""

    def __init__(self, seed: int, rank: int) -> None:
        self.random = random.Random(seed)
        self.rank = rank
        self.lines = ["def f(a, b, n):", "    c = np.zeros_like(a)", "    d = a * b", "    a = a.copy()", "    s = 0.0"]
        self.indices: list[str] = []
        for _ in range(self.random.randint(2, 4)):
            self.statement(1, 2)
        self.lines.append(
            self.pick("    return a * c + s, d", "    return c, np.sum(d * a) + s", "    return a, s * d")
        )

    def pick(self, *options: str) -> str:
        return self.random.choice(options)

    def part(self) -> tuple[str, tuple[str, ...]]:
        """Return an index and which axes it keeps."""
        entries, kept = [], []
        for axis in range(self.rank):
            size = f"a.shape[{axis}]"
            if self.random.random() < 0.45:
                entries.append(":")
                kept.append(str(axis))
            elif self.indices and self.random.random() < 0.85:
                k = self.pick(*self.indices)
                entries.append(self.pick(f"{k} % {size}", f"({k} + 1) % {size}", f"-1 - {k} % {size}"))
            else:
                entries.append(self.pick("0", "-1"))
        return f"[{', '.join(entries)}]", tuple(kept)

    def same(self, kept: tuple[str, ...]) -> str:
        for _ in range(60):
            index, other = self.part()
            if other == kept:
                return index
        return f"[{', '.join(':' if str(k) in kept else '0' for k in range(self.rank))}]"

    def statement(self, depth: int, deeper: int) -> None:
        pad = "    " * depth
        lines = self.lines
        kind = self.random.random()
        if deeper and kind < 0.5:
            k = "kij"[len(self.indices)] if len(self.indices) < 3 else ""
            if not k:
                return
            lines.append(f"{pad}for {k} in range({self.pick('n', '3', 'a.shape[1]', 'a.shape[0]')}):")
            self.indices.append(k)
            for _ in range(self.random.randint(1, 3)):
                self.statement(depth + 1, deeper - 1)
            self.indices.pop()
            return
        if deeper and kind < 0.6:
            lines.append(f"{pad}if np.sum({self.pick('a', 'c', 'd')}) > {self.pick('0.0', '1.0')}:")
            self.statement(depth + 1, 0)
            lines.append(f"{pad}else:")
            self.statement(depth + 1, 0)
            return
        x, y, z = (self.pick("a", "c", "d") for _ in range(3))
        if kind < 0.72:
            lines.append(pad + self.pick(
                f"{x}, {y} = {y}, {x}",
                f"{x} = 0.5 * {y} + np.sin({z})",
                f"{x} = np.where({y} > 0.1, {z}, 0.3 * {y})",
                f"s = s + 0.1 * np.sum({x} * {y})",
                f"{x} = {y} * b.sum(axis=0)",
                f"{x} = {y}.copy()",
                f"s = s + np.max({x})",
            ))  # fmt: skip
            return
        index, kept = self.part()
        lines.append(pad + self.pick(
            f"{x}{index} = 0.5 * {y}{self.same(kept)} + b{self.same(kept)}",
            f"{x}{index} += np.cos({y}{self.same(kept)})",
            f"{x}{index} *= 0.7",
            f"s = s + 0.1 * np.sum({x}{index} * {y}{self.same(kept)})",
            f"{x}{index} = np.tanh(s)",
        ))  # fmt: skip

    def function(self, name: str) -> Any:
        """Return the program."""
        return function_of(self.lines, name)


def _accepted(seed: int, args: tuple[Any, ...]) -> tuple[_Program, Any]:
    """Return the first program of a seed that is not refused, as arrays exchanged in branches may be."""
    for k in range(20):
        program = _Program(20 * seed + k, args[0].ndim)
        f = program.function(f"<layout {seed}.{k}>")
        try:
            jitgrad.jit(f)(*args)
        except jitgrad.UnsupportedError as refused:
            assert refused.code in ("JG240", "JG241", "JG243"), "\n".join(program.lines)
            continue
        return program, f
    raise AssertionError(f"seed {seed} makes no program that is taken")


@pytest.mark.parametrize("seed", sampled(range(90), 6, newest=2))
def test_random_programs_with_arrays_turned_by_lot(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lot = random.Random(seed)
    count = 0

    def by_lot(web: Any) -> int:
        nonlocal count
        rank = web.members[0].array.rank
        split = 0 if web.fixed else lot.randrange(rank)
        count += split > 0
        return split

    shape = _SHAPES[seed % len(_SHAPES)]
    rng = np.random.default_rng(seed)
    a, b, t = (rng.uniform(-1.0, 1.0, shape) for _ in range(3))
    program, f = _accepted(seed, (a, b, 3))
    text = "\n".join(program.lines)

    def g(a: np.ndarray) -> Any:
        x, y = f(a, b, 3)
        return np.sum(x * b) + np.sum(y)

    plain = jitgrad.jit(f)(a, b, 3), jitgrad.grad(g)(a), jitgrad.jvp(g, (a,), (t,))[1]
    monkeypatch.setattr(layout, "_best_split", by_lot)
    again = program.function(f"<layout {seed} turned>")

    def h(a: np.ndarray) -> Any:
        x, y = again(a, b, 3)
        return np.sum(x * b) + np.sum(y)

    for got, want, numpys in zip(jitgrad.jit(again)(a, b, 3), plain[0], f(a, b, 3), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12, err_msg=text)
        np.testing.assert_allclose(got, numpys, rtol=1e-9, atol=1e-9, err_msg=text)
    gradient, slope = jitgrad.grad(h)(a), jitgrad.jvp(h, (a,), (t,))[1]
    np.testing.assert_allclose(gradient, plain[1], rtol=1e-10, atol=1e-10, err_msg=text)
    np.testing.assert_allclose(slope, np.sum(gradient * t), rtol=1e-8, atol=1e-8, err_msg=text)


def test_many_of_the_random_programs_are_turned(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[int] = []

    def all_of_them(web: Any) -> int:
        split = 0 if web.fixed else 1
        found[-1] += split
        return split

    monkeypatch.setattr(layout, "_best_split", all_of_them)
    for seed in range(24):
        found.append(0)
        shape = _SHAPES[seed % len(_SHAPES)]
        found[-1] = 0
        _accepted(seed, (np.ones(shape), np.ones(shape), 2))
    assert sum(n > 0 for n in found) >= 12
