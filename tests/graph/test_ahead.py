"""Recurrences that run ahead of the functions of what they make: the same bits, and the same errors."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.graph import passes
from tests.graph.with_and_without import check_without, derivatives, times_done
from tests.sampling import sampled
from tests.source import function_of

# More than a block of iterations and some, and fewer.
LONG, SHORT = 1300, 37
RNG = np.random.default_rng(5)
X, W = RNG.uniform(0.1, 1.0, LONG), RNG.uniform(-1.0, 1.0, LONG)


def volatility(x: np.ndarray, w: np.ndarray) -> Any:
    v, total = 1.0, 0.0
    for t in range(1, len(x)):
        v = 0.1 + 0.2 * w[t - 1] ** 2 + 0.7 * v
        total += np.log(v) + x[t] / v
    return total, v


def in_an_array(x: np.ndarray, w: np.ndarray) -> Any:
    v = np.empty(len(x))
    v[0] = 1.0
    total = 0.0
    for t in range(1, len(x)):
        v[t] = 0.1 + 0.2 * w[t - 1] ** 2 + 0.7 * v[t - 1]
        total += np.log(v[t]) + x[t] / v[t]
    return total, v


def recorded(x: np.ndarray, w: np.ndarray) -> Any:
    """What is stored before it becomes the next state; both parts store."""
    states, y = np.zeros(len(x)), np.zeros(len(x))
    s = 0.3
    for t in range(len(x)):
        states[t] = s
        y[len(x) - 1 - t] = np.exp(s) * w[t]
        s = 0.5 * s + x[t]
    return states, y, s


def of_noise(x: np.ndarray, w: np.ndarray) -> Any:
    """A function that waits for nothing in the recurrence, and used behind it as well."""
    s, total = 1.0, 0.0
    for t in range(len(x)):
        growth = np.exp(0.1 * w[t])
        s = s * growth
        total += np.log(1.0 + s) * growth
    return total, s


def several(x: np.ndarray, w: np.ndarray) -> Any:
    a, b, total, most = 0.5, 0.2, 0.0, 0.0
    for t in range(len(x)):
        a, b = 0.5 * a + w[t], 0.3 * b + x[t]
        d = a - b
        total += np.sin(a) * np.cos(b) + d * d
        most = max(most, d)
    return total, most, a, b


def both_ways(x: np.ndarray, w: np.ndarray) -> Any:
    s, total = 1.0, 0.0
    for t in range(len(x)):
        s = 0.5 * s + x[t]
        h = np.log(s)
        if w[t] > 0.0:
            total += h
    return total, s


def in_a_branch(x: np.ndarray, w: np.ndarray) -> Any:
    s, total = 1.0, 0.0
    for t in range(len(x)):
        s = 0.5 * s + x[t]
        total += np.log(s) if w[t] > 0.0 else w[t]
    return total, s


def with_checks(x: np.ndarray, w: np.ndarray) -> Any:
    v, total = 1.0, 0.0
    for t in range(len(x)):
        v = 0.3 + 0.6 * v - 0.1 * float(x[t])
        total += math.log(v)
    return total, v


def fed_back(x: np.ndarray, w: np.ndarray) -> Any:
    s, total = 1.0, 0.0
    for t in range(len(x)):
        h = np.sin(s)
        s = 0.5 * h + x[t]
        total += h
    return total, s


def fed_back_at_length(x: np.ndarray, w: np.ndarray) -> Any:
    s, total = 1.0, 0.0
    for t in range(len(x)):
        s = s + x[t] - 0.01 * total
        total += np.log(1.0 + s * s)
    return total, s


def in_the_shadow(x: np.ndarray, w: np.ndarray) -> Any:
    """Each state waits for the one before longer than a logarithm takes."""
    s, total = 1.0, 0.0
    for t in range(len(x)):
        s = x[t] / (1.0 + np.sin(s) ** 2)
        total += np.log(s)
    return total, s


_AHEAD = [volatility, in_an_array, recorded, of_noise, several, both_ways, with_checks]
_TOGETHER = [in_a_branch, fed_back, fed_back_at_length, in_the_shadow]


def compiled_without(function: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, *args: Any) -> Any:
    """Return what a function gives without the pass."""
    monkeypatch.setattr(passes, "run_ahead", lambda graph: False)
    made = jitgrad.jit(lambda *xs: function(*xs))(*args)
    monkeypatch.undo()
    return made


def same_bits(some: Any, others: Any) -> None:
    """Check that two results are equal."""
    for a, b in zip(some, others, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("size", [LONG, 1024, 1025, SHORT, 9])
@pytest.mark.parametrize("function", _AHEAD)
def test_the_same_bits(function: Callable[..., Any], size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x, w = X[:size], W[:size]
    compiled = jitgrad.jit(function)
    assert times_done(monkeypatch, "run_ahead", lambda: compiled(x, w))
    made = compiled(x, w)
    same_bits(made, compiled_without(function, monkeypatch, x, w))
    for a, b in zip(made, function(x, w), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("function", _AHEAD)
def test_sizes_that_are_not_known(function: Callable[..., Any]) -> None:
    compiled = jitgrad.jit(function)
    for n in (40, 7, 512, 513, 1, 2, 514, 1100):
        for a, b in zip(compiled(X[:n], W[:n]), function(X[:n], W[:n]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("function", _TOGETHER)
def test_not_where_a_function_is_fed_back_or_computed_meanwhile(
    function: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = jitgrad.jit(function)
    assert not times_done(monkeypatch, "run_ahead", lambda: compiled(X, W))
    for a, b in zip(compiled(X, W), function(X, W), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10)


def test_the_second_part_is_operations_on_rows_of_a_block() -> None:
    text = jitgrad.jit(volatility).graph(X, W)
    assert " = log " in text
    (line,) = (line for line in text.split("\n") if " = log " in line)
    assert line.split(": float64")[1].startswith("[%")
    assert "undef {shape=(512,)" in text
    assert f"[{LONG}]" not in text.split("\n", 1)[1]


def test_what_is_recorded_for_the_way_back_is_not_kept_twice() -> None:
    def total(x: np.ndarray, w: np.ndarray) -> Any:
        return volatility(x, w)[0]

    text, other = jitgrad.value_and_grad(total).adjoint(X, W), jitgrad.grad(total).adjoint(X, W)
    assert " = log " in text
    assert text.count(" = store ") == other.count(" = store ")


@pytest.mark.parametrize("at", [0, 600, LONG - 1])
def test_errors_come_in_their_turn(at: int) -> None:
    def dated(x: np.ndarray, w: np.ndarray) -> Any:
        v, total = 1.0, 0.0
        for t in range(len(x)):
            v = 0.5 * v + float(x[t])
            total += math.log(v)
            if total > 1e6:
                raise ValueError("too much")
            w[int(w[t])] += 0.0
        return total, v

    x, w = X.copy(), np.zeros(LONG)
    x[at] = -5.0
    w[at] = 9.0 * LONG  # comes later
    for call in (dated, jitgrad.jit(dated)):
        with pytest.raises(ValueError, match=r"math domain error|expected a positive"):
            call(x.copy(), w.copy())
    x[at] = 5.0
    for call in (dated, jitgrad.jit(dated)):
        with pytest.raises(IndexError):
            call(x.copy(), w.copy())


def test_an_error_of_the_first_part_is_raised_once_it_comes() -> None:
    x = X.copy()
    x[700] = 50.0
    for call in (with_checks, jitgrad.jit(with_checks)):
        with pytest.raises(ValueError, match=r"math domain error|expected a positive"):
            call(x, W)


@pytest.mark.parametrize("function", [*_AHEAD, *_TOGETHER])
def test_derivatives(function: Callable[..., Any]) -> None:
    x, w = X[:SHORT], W[:SHORT] + 0.01
    tx, tw = RNG.normal(size=SHORT), RNG.normal(size=SHORT)
    weights = [RNG.normal(size=np.shape(v)) for v in function(x, w)]

    def f(x: np.ndarray, w: np.ndarray) -> Any:
        total = 0.0
        for u, v in zip(weights, function(x, w), strict=True):
            total += np.sum(u * v)
        return total

    _, gx, gw = derivatives(f, (x, w), (tx, tw), function.__name__)
    quotient = (f(x + 1e-6 * tx, w + 1e-6 * tw) - f(x - 1e-6 * tx, w - 1e-6 * tw)) / 2e-6
    assert gx @ tx + gw @ tw == pytest.approx(quotient, rel=1e-5, abs=1e-6)


class _Program:
    """A loop of a few states, of functions of these and of elements, sums, stores and branches."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        states = ["a", "b", "c"][: rng.randint(1, 3)]
        found = list(states)

        def read() -> str:
            return rng.choice([*found, *found, "x[t]", "w[t]", "0.4", "float(t)"])

        def term() -> str:
            form = rng.choice(["{} * {}", "({} - {})", "{} / (2.0 + abs({}))", "max({}, {})", "{} * {} * 0.5"])
            return form.format(read(), read())

        def function() -> str:
            return rng.choice(["np.sin({})", "np.log(1.0 + ({}) ** 2)", "np.exp(-abs({}))", "np.tanh({})"]).format(
                term()
            )

        lines = []
        for k in range(rng.randint(2, 5)):
            kind = rng.random()
            if kind < 0.4:
                lines.append(f"d{k} = {function()}")
                found.append(f"d{k}")
            elif kind < 0.6:
                lines.append(f"total += {function()}")
            elif kind < 0.75:
                lines.append(f"y[t] = {term()}")
            elif kind < 0.85:
                lines.append(f"y[n - 1 - t] += {function()}")
            else:
                lines += [f"if {read()} < {read()}:", f"    total += {term()}"]
        lines += [
            f"{s} = 0.5 * {s} + {rng.choice(['0.1', '0.3'])} * {rng.choice([read, read, term])()}" for s in states
        ]
        rng.shuffle(states)
        lines += [f"total += {function()}", f"y[t] += {term()}"][: rng.randint(0, 2)]
        self.text = "\n".join([
            "def f(x, w):",
            "    n, total, y = len(x), 0.0, x.copy()",
            *(f"    {s} = 0.3" for s in states),
            f"    for t in {rng.choice(['range(n)', 'range(n)', 'range(1, n)', 'range(n - 1, -1, -1)'])}:",
            *(f"        {line}" for line in lines),
            f"    return y, total, {', '.join(states)}",
            "",
        ])  # fmt: skip

    def function(self, name: str) -> Any:
        """Return the program."""
        return function_of(self.text, name)


@pytest.mark.parametrize("seed", sampled(range(60), 12, 4))
def test_random_programs(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.choice([LONG, SHORT, SHORT]))
    x, tx, u = (rng.uniform(-1.0, 1.0, n) for _ in range(3))
    w, tw = (rng.uniform(-1.0, 1.0, n) for _ in range(2))
    program = _Program(seed)
    f = program.function(f"<ahead {seed}>")
    made = jitgrad.jit(f)(x, w)
    for got, want in zip(made, f(x, w), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9, err_msg=program.text)
    same_bits(made, compiled_without(f, monkeypatch, x, w))

    def results(name: str) -> tuple[Any, ...]:
        f = program.function(f"{name} ahead {seed}")

        def g(x: np.ndarray, w: np.ndarray) -> Any:
            y, *others = f(x, w)
            return np.sum(u * y) + sum(others)

        return derivatives(g, (x, w), (tx, tw), program.text)

    check_without(monkeypatch, ["run_ahead"], results, program.text)


def test_many_of_the_random_programs_are_parted(monkeypatch: pytest.MonkeyPatch) -> None:
    def compiled(seed: int) -> Any:
        return jitgrad.jit(_Program(seed).function(f"<ahead count {seed}>"))(X[:SHORT], W[:SHORT])

    assert sum(times_done(monkeypatch, "run_ahead", lambda seed=seed: compiled(seed)) for seed in range(16)) >= 5
