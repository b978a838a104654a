"""Loops over samples whose way back follows on each of them: what is joined, what is kept, and that it is right."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.graph import passes
from jitgrad.graph.ir import Graph
from tests.graph.with_and_without import check_without, derivatives, times_done
from tests.sampling import sampled
from tests.source import function_of

N, M = 40, 9
P = np.array([0.8, -0.3, 0.5])
Z = np.random.default_rng(0).normal(size=(N, M))
AT = np.random.default_rng(1).integers(0, M, N)


def paths(p: np.ndarray, z: np.ndarray, at: np.ndarray) -> Any:
    total = 0.0
    for i in range(len(z)):
        s, mean = p[0], 0.0
        for t in range(z.shape[1]):
            s *= np.exp(p[1] * 0.1 + 0.2 * p[2] * z[i, t])
            mean += s
        if mean > 0.7 * z.shape[1]:
            total += mean / z.shape[1]
    return total / len(z)


def sparse(p: np.ndarray, z: np.ndarray, at: np.ndarray) -> Any:
    y = np.zeros(len(z))
    for i in range(len(z)):
        s = 0.0
        for j in range(z.shape[1]):
            s += z[i, j] * z[at[i], j] * p[at[i] % 3]
        y[i] = s * s
    return np.sum(np.sin(y) * y)


def early(p: np.ndarray, z: np.ndarray, at: np.ndarray) -> Any:
    total = 0.0
    for i in range(len(z)):
        x = p[0]
        for j in range(z.shape[1]):
            if x > 1.5:
                break
            x = x * (1.0 + 0.2 * np.tanh(z[i, j])) + 0.1 * p[1]
        total += x * x
    return total


def in_place(p: np.ndarray, z: np.ndarray, at: np.ndarray) -> Any:
    total, z = 0.0, z.copy()
    for i in range(len(z)):
        for j in range(1, z.shape[1]):
            z[i, j] = z[i, j - 1] * p[2] + np.sin(z[i, j])
        total += z[i, -1] * p[0]
    return total


def handed_on(p: np.ndarray, z: np.ndarray, at: np.ndarray) -> Any:
    # Each sample begins with what the one before came to.
    s, total = p[0], 0.0
    for i in range(len(z)):
        for j in range(z.shape[1]):
            s = np.sin(s) + p[1] * z[i, j]
        total += s * p[2]
    return total


def of_all(p: np.ndarray, z: np.ndarray, at: np.ndarray) -> Any:
    # How much each sample counts hangs on all of them.
    total = 0.0
    for i in range(len(z)):
        s = p[0]
        for j in range(z.shape[1]):
            s = np.sin(s) + p[1] * z[i, j]
        total += s * s
    return np.log(total)


def neighbours(p: np.ndarray, z: np.ndarray, at: np.ndarray) -> Any:
    y = np.zeros(len(z))
    for i in range(len(z)):
        s = p[0]
        for j in range(z.shape[1]):
            s = np.sin(s) + p[1] * z[i, j]
        y[i] = s
    return np.sum(y[1:] * y[:-1])


def meeting(p: np.ndarray, z: np.ndarray, at: np.ndarray) -> Any:
    # Samples overwrite what others stored: the last one counts.
    y = np.zeros(z.shape[1])
    for i in range(len(z)):
        s = p[0]
        for j in range(z.shape[1]):
            s = np.sin(s) + p[1] * z[i, j]
        y[at[i]] = s
    return np.sum(y * y)


def ahead(p: np.ndarray, z: np.ndarray, at: np.ndarray) -> Any:
    # Each sample reads what the one behind it has stored, or not yet.
    y = np.zeros(len(z) + 1)
    for i in range(len(z)):
        s = p[0]
        for j in range(z.shape[1]):
            s = np.sin(s) + p[1] * z[i, j]
        y[i] = s + 0.5 * y[i + 1]
    return np.sum(y[1:] * y[:-1])


def blended(p: np.ndarray, z: np.ndarray, at: np.ndarray) -> Any:
    # All samples scale what the ones before left.
    y = np.zeros(z.shape[1])
    for i in range(len(z)):
        for j in range(z.shape[1]):
            y[j] = p[0] * y[j] + np.sin(p[1] * z[i, j])
    return np.sum(y * np.arange(z.shape[1]))


def one_after_another(p: np.ndarray, z: np.ndarray, at: np.ndarray) -> Any:
    # Of two loops each goes with its own way back, not with the next loop or the first way back that comes.
    total = 0.0
    for i in range(len(z)):
        s = p[0]
        for j in range(z.shape[1]):
            s = np.sin(s) + p[1] * z[i, j]
        total += s * s
    for i in range(len(z)):
        s = p[2]
        for j in range(z.shape[1]):
            s = np.cos(s) * z[i, j] + p[1]
        total += s * p[0]
    return total


_JOINED = [paths, sparse, in_place, one_after_another]
_APART = [early, handed_on, of_all, neighbours, meeting, ahead, blended]


@pytest.mark.parametrize(("f", "joined"), [(f, True) for f in _JOINED] + [(f, False) for f in _APART])
def test_samples(f: Callable[..., Any], joined: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    gradient = jitgrad.value_and_grad(f, argnums=(0, 1))
    assert bool(times_done(monkeypatch, "join_ways", lambda: gradient(P, Z, AT))) == joined
    rng = np.random.default_rng(2)
    tp, tz = rng.normal(size=3), rng.normal(size=Z.shape)
    value, (gp, gz) = gradient(P, Z, AT)
    _, tangent = jitgrad.jvp(lambda p, z: f(p, z, AT), (P, Z), (tp, tz))
    h = 1e-6
    quotient = (f(P + h * tp, Z + h * tz, AT) - f(P - h * tp, Z - h * tz, AT)) / (2 * h)
    assert value == pytest.approx(f(P, Z, AT), rel=1e-14)
    assert gp @ tp + np.sum(gz * tz) == pytest.approx(tangent, rel=1e-10)
    assert tangent == pytest.approx(quotient, rel=1e-6)


@pytest.mark.parametrize("at", ["i", "n - 1 - i", "(i + 1) % n"])
def test_a_loop_that_reads_what_the_first_made_at_any_place(at: str) -> None:
    """The way there and the second loop go through rows in one order, in opposite ones, or neither."""
    text = f"""
def f(p, z):
    n, m = z.shape
    t, total = np.empty((n, m)), 0.0
    for i in range(n):
        for j in range(m):
            t[i, j] = np.sin(p[0] * z[i, j])
    for i in range(n):
        s = 0.0
        for j in range(m):
            s += t[{at}, j] * p[1]
        total += (i + 1) * s * s
    return total
"""
    f = function_of(text, f"<rows at {at}>")
    slopes = [(f(P + d, Z) - f(P - d, Z)) / 2e-6 for d in np.eye(P.size) * 1e-6]
    np.testing.assert_allclose(jitgrad.grad(f)(P, Z), slopes, rtol=1e-5, atol=1e-6)


def test_of_two_loops_each_is_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    loops = list[int]()
    join_ways = passes.join_ways

    def counted(graph: Graph) -> bool:
        changed = join_ways(graph)
        if changed:
            loops.append(sum(op.name == "for" for op in graph.ops))
        return changed

    monkeypatch.setattr(passes, "join_ways", counted)
    jitgrad.grad(one_after_another, argnums=(0, 1))(P, Z, AT)
    assert loops == [2]


@pytest.mark.parametrize("f", _JOINED)
def test_second_derivatives(f: Callable[..., Any]) -> None:
    t = np.random.default_rng(3).normal(size=3)

    def slope(p: np.ndarray) -> Any:
        return jitgrad.grad(f)(p, Z, AT)

    _, along = jitgrad.jvp(slope, (P,), (t,))
    h = 1e-6
    np.testing.assert_allclose(along, (slope(P + h * t) - slope(P - h * t)) / (2 * h), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n", [0, 1, 3, 600, 1500])
def test_numbers_of_samples(n: int) -> None:
    """Blocks, and what is left over, of a number of samples that is not known."""
    gradient = jitgrad.grad(paths)
    z = np.random.default_rng(n).normal(size=(n, M))
    for k in (5, 11, n):
        part = np.resize(Z, (k, M)) if k < 12 else z
        got = gradient(P, part, AT) if k else None
        if got is not None:
            t = np.array([0.3, -0.2, 0.7])
            want = (paths(P + 1e-6 * t, part, AT) - paths(P - 1e-6 * t, part, AT)) / 2e-6
            assert got @ t == pytest.approx(want, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("f", [paths, sparse, in_place])
def test_what_is_kept_does_not_grow_with_the_samples(f: Callable[..., Any]) -> None:
    z, at = np.resize(Z, (5000, M)), np.resize(AT, 5000)
    gradient = jitgrad.grad(f)
    gradient(P, z, at)
    text = gradient.adjoint(P, z, at)
    kept = [np.prod([int(d) for d in shape.split(", ")]) for shape in re.findall(r"undef \{shape=\((\d+, \d+)\)", text)]
    assert all(size <= 512 * M for size in kept)


class _Program:
    """Source of a program `f(p, z, at)` that goes through samples."""

    def __init__(self, seed: int) -> None:
        pick = random.Random(seed).choice

        def read() -> str:
            return pick(["s", "s", "c", "z[i, j]", "z[i, j]", "p[0]", "p[k]", "z[at[i], j]", "w[i]", "y[i]", "w[j]"])

        def term() -> str:
            form = pick(["np.sin({}) * {}", "{} * {}", "np.exp(-abs({})) * {}", "{} / (2.0 + abs({}))"])
            return form.format(read(), read())

        statement = pick([
            [f"s = 0.5 * {term()} + 0.1 * {term()}"],
            [f"c = {term()}", "s += 0.1 * c"],
            [f"if {read()} > 0.2:", f"    s = 0.6 * {term()}", "else:", f"    c = {term()}"],
            [f"w[i] += 0.1 * {term()}", f"s = {term()}"],
            [f"z[i, j] = {term()}", "s += 0.2 * z[i, j - 1]"],
            [f"v[j] += 0.1 * {term()}", f"s = {term()}"],
            ["if s > 0.8:", "    break", f"s += abs({term()})"],
        ])  # fmt: skip
        after = pick([["y[i] = s"], ["y[i] = s * c", "total += s"], ["total += s * s"], ["total += s", "p[0] *= 0.99"],
                      ["y[at[i]] = s"], ["total += s * w[i]"], ["c = s", "total += c"]])  # fmt: skip
        rows = pick(["range(n)", "range(n)", "range(n - 1, -1, -1)", "range(1, n)"])
        start = pick(["s, c = p[0], 0.5", "s = w[i]", "s, c = 0.3, z[i, 0]", "s = c"])
        self.text = "\n".join([
            "def f(p, z, at):",
            "    n, m = z.shape",
            "    p, z, total, c = p.copy(), z.copy(), 0.0, 0.2",
            "    y, w, v = np.zeros(n), np.cos(np.arange(n)) * p[1], np.zeros(m)",
            f"    for k in range({pick([1, 1, 2])}):",
            f"        for i in {rows}:",
            f"            {start}",
            "            for j in range(1, m):",
            *(f"                {line}" for line in statement),
            *(f"            {line}" for line in after),
            "    return total + np.sum(y * y) + np.sum(v) + np.sum(w * w) + np.sum(z[:, 1:] * z[:, :-1])",
            "",
        ])  # fmt: skip

    def function(self, name: str) -> Any:
        """Return the program."""
        return function_of(self.text, name)


@pytest.mark.parametrize("seed", sampled(range(60), 12, 4))
def test_random_samples(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    p, tp = rng.uniform(-1.0, 1.0, 3), rng.normal(size=3)
    z, tz, at = rng.uniform(-1.0, 1.0, (12, M)), rng.normal(size=(12, M)), rng.integers(0, 12, 12) % M
    program = _Program(seed)

    def results(name: str) -> tuple[Any, ...]:
        f = program.function(f"{name} samples {seed}")
        return derivatives(lambda p, z: f(p, z, at), (p, z), (tp, tz), program.text)

    joined = check_without(monkeypatch, ["join_ways", "keep_one_part"], results, program.text)
    np.testing.assert_allclose(joined[0], program.function(f"<samples {seed} in Python>")(p, z, at), rtol=1e-13)


def test_many_of_the_random_samples_are_joined(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(seed: int) -> Any:
        f = _Program(seed).function(f"<samples count {seed}>")
        return jitgrad.grad(f)(P.copy(), Z.copy(), AT)

    assert sum(times_done(monkeypatch, "join_ways", lambda seed=seed: compiled(seed)) for seed in range(20)) >= 2
