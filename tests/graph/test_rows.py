"""Loops over elements that become operations on rows: programs, against NumPy, differences and themselves as loops."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.graph import passes
from tests.sampling import sampled
from tests.source import function_of

N = 70


def loops(f: Callable[..., Any], *args: Any) -> int:
    """Return how many loops the gradient of a program has."""
    return str(jitgrad.grad(f, argnums=(0, 1)).adjoint(*args)).count(" = for ")


def heat(u: np.ndarray, c: float) -> Any:
    u = u.copy()
    for _ in range(4):
        before = u.copy()
        for i in range(1, len(u) - 1):
            u[i] = before[i] + c * (before[i + 1] - 2 * before[i] + before[i - 1])
    return np.sum(u * u)


def heat_of_a_plate(u: np.ndarray, c: float) -> Any:
    n = len(u)
    for _ in range(3):
        v = u.copy()
        for i in range(1, n - 1):
            for j in range(1, n - 1):
                v[i, j] = u[i, j] + c * (u[i + 1, j] + u[i - 1, j] + u[i, j + 1] + u[i, j - 1] - 4 * u[i, j])
        u = v
    return np.sum(u * u)


def upwind(u: np.ndarray, c: float) -> Any:
    u = u.copy()
    for _ in range(3):
        before = u.copy()
        for i in range(1, len(u) - 1):
            slope = before[i] - before[i - 1] if before[i] > 0 else before[i + 1] - before[i]
            u[i] = before[i] - c * before[i] * slope
    return np.sum(u * u)


def limited(u: np.ndarray, c: float) -> Any:
    f = np.zeros(len(u))
    for _ in range(3):
        for i in range(1, len(u) - 1):
            a = u[i] - u[i - 1]
            b = u[i + 1] - u[i]
            if a * b <= 0:
                s = 0.0
            elif abs(a) < abs(b):
                s = a
            else:
                s = b
            f[i] = u[i] + c * s
        u = u - 0.1 * f
    return np.sum(u * u)


def table(x: np.ndarray, c: float) -> Any:
    y = np.zeros(len(x))
    for i in range(len(x)):
        y[i] = np.exp(c * x[i]) + i
    return np.sum(y)


def check(f: Callable[..., Any], *args: Any) -> tuple[Any, ...]:
    """Compare value and derivatives with plain Python and differences; return the gradient."""
    gradient = jitgrad.grad(f, argnums=(0, 1))(*args)
    assert jitgrad.jit(f)(*args) == pytest.approx(f(*args), rel=1e-13)
    rng, h = np.random.default_rng(3), 1e-6
    t = tuple(rng.normal(size=np.shape(a)) for a in args)
    ends = [f(*(a + s * h * d for a, d in zip(args, t, strict=True))) for s in (1, -1)]
    product = sum(np.sum(g * d) for g, d in zip(gradient, t, strict=True))
    assert product == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-6)
    assert product == pytest.approx(float(jitgrad.jvp(f, args, t)[1]), rel=1e-10)
    return gradient


@pytest.mark.parametrize(("f", "left"), [(heat, 2), (upwind, 2), (limited, 2), (table, 0)])
def test_rows(f: Callable[..., Any], left: int) -> None:
    x = np.sin(np.linspace(0.3, 6.0, N)) + 0.01 * np.arange(N)
    check(f, x, 0.2)
    # The time loops alone, there and back.
    assert loops(f, x, 0.2) == left


def test_rows_of_rows() -> None:
    u = np.random.default_rng(0).normal(size=(N, N))
    check(heat_of_a_plate, u, 0.1)
    assert loops(heat_of_a_plate, u, 0.1) == 2


@pytest.mark.parametrize("f", [heat, upwind, limited, table])
def test_sizes_that_are_not_known(f: Callable[..., Any]) -> None:
    both = jitgrad.value_and_grad(f)
    for n in (40, 41, 0, 1, 2, 3, 9, 130):
        x = np.sin(np.linspace(0.3, 6.0, n)) + 0.01 * np.arange(n)
        value, gradient = both(x, 0.2)
        assert value == pytest.approx(f(x, 0.2), rel=1e-13)
        np.testing.assert_allclose(gradient, jitgrad.grad(lambda x, f=f: f(x, 0.2))(x), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_kinds_of_numbers(dtype: str) -> None:
    def f(a: np.ndarray, b: np.ndarray) -> None:
        for i in range(1, len(a)):
            b[i] = a[i - 1] * 2 + b[i] if a[i] > a[i - 1] else a[i] - i

    a, b = (np.random.default_rng(s).uniform(-9, 9, N).astype(dtype) for s in (0, 1))
    mine, its = b.copy(), b.copy()
    jitgrad.jit(f)(a, mine)
    f(a, its)
    np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize(
    "line",
    [
        "a[i] = 0.5 * a[i - 1] + b[i]",
        "a[i] = 0.5 * a[i + 1] + b[i]",
        "a[i] += b[i] * s; s = 0.9 * s + a[i]",
        "a[n - 1 - i] = a[i] + b[i]",
        "a[i // 2] = b[i]",
        "a[0] = b[i] + a[0]",
        "a[i] = b[i]; b[i + 1] = a[i] * 0.5",
        "a[i + 1] = b[i]; b[i] = a[i] * 0.5",
    ],
)
def test_order_that_matters(line: str) -> None:
    source = f"""
def f(a, b):
    n, s = len(a), 0.1
    for i in range(1, n - 1):
        {line}
    return s
"""
    f = function_of(source, f"<order of {line}>")
    a, b = (np.random.default_rng(s).normal(size=N) for s in (0, 1))
    mine, its = (a.copy(), b.copy()), (a.copy(), b.copy())
    assert jitgrad.jit(f)(*mine) == f(*its)
    for x, y in zip(mine, its, strict=True):
        np.testing.assert_array_equal(x, y)


def _once_seen(a: np.ndarray, b: np.ndarray) -> Any:
    seen, c = False, np.zeros(len(a))
    for i in range(1, len(a) - 1):
        if seen:
            if b[i] > 0.0:
                c[i] = a[i + 1] * a[i]
            else:
                c[i] = -a[i - 1] * a[i]
        seen = seen | bool(b[i] > 1.0)
    return c


def _until_seen(a: np.ndarray, b: np.ndarray) -> Any:
    seen, c = False, np.zeros(len(a))
    for i in range(1, len(a) - 1):
        seen = seen or b[i] > 1.0
        if not seen:
            c[i - 1] += a[i] / (2.0 + b[i] ** 2)
            c[i + 1] -= a[i]
    return c


@pytest.mark.parametrize("f", [_once_seen, _until_seen])
def test_branches_that_iterations_before_decide(f: Callable[..., Any]) -> None:
    a, b = (np.random.default_rng(s).normal(size=N) for s in (0, 1))
    for given in (b, -b, 0.1 * b):
        np.testing.assert_array_equal(jitgrad.jit(f)(a, given), f(a, given))
        check(lambda a, b: np.sum(np.tanh(f(a, b))), a, given)


class _Program:
    """Source of a program `f(a, b)` with a loop over elements at several offsets, and branches."""

    def __init__(self, seed: int) -> None:
        pick = random.Random(seed).choice
        places = ["i", "i + 1", "i - 1", "i + 2", "n - 1 - i", "i - 2", "3", "n // 2"]

        def element(array: str) -> str:
            return f"{array}[{pick(places)}]"

        def number() -> str:
            x, y = element(pick("ab")), element(pick("ab"))
            return pick(
                [f"{x} * {y}", f"0.5 * {x} - {y}", f"np.tanh({x})", f"{x} / (2.0 + {y} * {y})", f"max({x}, {y})"]
            )

        def statement() -> str:
            target = pick([element("c"), element("c"), element("c"), element("c"), element("a"), "s", "t", "t", "seen"])
            if target == "seen":
                return f"seen = seen {pick(['or', '|'])} bool({element('b')} > 0.5)"
            if target == "s":
                return f"s += 0.1 * ({number()})"
            return f"{target} {pick(['=', '=', '+='])} {number()}" if target != "t" else f"t = {number()}"

        lines = ["t = 0.3"]
        for _ in range(pick([1, 2, 3])):
            if pick([True, False]):
                cond = pick([f"{element('a')} > {element('b')}"] * 3 + ["seen", "not seen"])
                lines += [f"if {cond}:", f"    {statement()}"]
                lines += pick([[], ["else:", f"    {statement()}"]])
            else:
                lines.append(statement())
        lines.append(f"{element('c')} += t * {element('b')}")
        if pick([True, False, False]):
            lines = ["for j in range(2):", *(f"    {line}" for line in lines)]
        loop = pick(["range(2, n - 2)", "range(n - 3, 1, -1)"])
        self.text = "\n".join([
            "def f(a, b):",
            "    a, n, s = a.copy(), len(a), 0.0",
            "    c = np.zeros(n)",
            "    seen = False",
            f"    for k in range({pick([1, 3])}):",
            f"        for i in {loop}:",
            *(f"            {line}" for line in lines),
            "        a = 0.9 * a + 0.1 * np.tanh(c)",
            "    return a, c, s",
            "",
        ])  # fmt: skip

    def function(self, name: str) -> Any:
        """Return the program."""
        return function_of(self.text, name)


@pytest.mark.parametrize("seed", sampled(range(30), 3))
def test_random_loops(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    args, w, v, t = rng.normal(size=(2, N)), rng.normal(size=N), rng.normal(size=N), rng.normal(size=(2, N))
    program = _Program(seed)

    def results(name: str) -> tuple[Any, ...]:
        f = program.function(name)

        def g(both: np.ndarray) -> Any:
            a, c, s = f(both[0], both[1])
            return np.sum(w * a) + np.sum(v * np.tanh(c)) + s

        value, gradient = jitgrad.value_and_grad(g)(args)
        tangent = jitgrad.jvp(g, (args,), (t,))[1]
        scale = float(np.sum(np.abs(gradient * t)))
        assert abs(np.sum(gradient * t) - tangent) <= 1e-9 * (1.0 + scale), program.text
        return *jitgrad.jit(f)(*args), value, gradient

    rows = results(f"<rows {seed}>")
    for got, want in zip(rows[:3], program.function(f"<rows {seed} in Python>")(*args), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-13, err_msg=program.text)
    monkeypatch.setattr(passes, "loops_to_rows", lambda graph: False)
    for got, want in zip(rows, results(f"<rows {seed} as loops>"), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11, err_msg=program.text)


def test_many_of_the_random_programs_have_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[bool] = []
    real = passes.loops_to_rows
    monkeypatch.setattr(passes, "loops_to_rows", lambda graph: found.append(real(graph)) or found[-1])
    for seed in range(40):
        f = _Program(seed).function(f"<rows count {seed}>")
        jitgrad.grad(lambda a, f=f: np.sum(f(a, a)[1]))(np.ones(N))
    assert sum(found) >= 6
