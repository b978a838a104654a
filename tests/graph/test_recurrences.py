"""What loops of derivatives carry, regrouped and rounded otherwise: against forward mode, which does neither."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

import jitgrad
from tests.sampling import sampled
from tests.source import function_of

X = np.random.default_rng(0).uniform(-0.9, 0.9, 12)
HOST = llvm.get_host_cpu_features().flatten()
W = np.random.default_rng(1).uniform(-0.9, 0.9, 12)


def agree(f: Callable[..., Any], *args: Any) -> None:
    """Check the derivative by each argument of a function against forward mode."""
    gradient = jitgrad.grad(f, argnums=tuple(range(len(args))))(*args)
    for k in range(len(args)):
        direction = np.cos(np.arange(np.size(args[k]), dtype=np.float64)).reshape(np.shape(args[k]))
        tangents = [np.zeros_like(a) if j != k else direction for j, a in enumerate(args)]
        if not np.shape(args[k]):
            tangents = [float(t) for t in tangents]
        want = jitgrad.jvp(f, args, tuple(tangents))[1]
        assert np.sum(gradient[k] * direction) == pytest.approx(want, rel=1e-11, abs=1e-13)


def logistic(x: float, r: float) -> float:
    total = 0.0
    for _ in range(20):
        x = r * x * (1.0 - x)
        total += x * x
    return total


def sweep(x: np.ndarray) -> float:
    for _ in range(3):
        for j in range(1, len(x) - 1):
            x[j] = 0.25 * (x[j - 1] + x[j + 1]) + x[j]
    return float(np.sum(x * x))


def swept(x: np.ndarray) -> float:
    return sweep(x.copy())


def filtered(x: np.ndarray, w: np.ndarray) -> float:
    s = 1.0
    total = 0.0
    for k in range(len(x)):
        s = 0.5 * s - (s - x[k]) * w[k]
        total += s * x[k]
    return total


def falling(x: np.ndarray, w: np.ndarray) -> float:
    s = 1.0
    for k in range(len(x)):
        s = x[k] - s * w[k] - 0.25 * s
    return s


def alternating(x: np.ndarray, w: np.ndarray) -> float:
    s, total = 0.4, 0.0
    for k in range(len(x)):
        v = s * x[k]
        total += v * w[k]
        u = w[k] - v
        total += u * x[k]
        s = x[k] - u
    return total + s


def pair(x: np.ndarray, w: np.ndarray) -> float:
    s, t = 1.0, 0.5
    for k in range(len(x)):
        s, t = s * w[k] + t * x[k], s * x[k] - 0.5 * t * w[k]
    return s * t


def parted(x: np.ndarray, w: np.ndarray) -> float:
    """On the way back, what is added to a multiple of the carried number is multiplied together with it."""
    s = 1.0
    total = 0.0
    for k in range(len(x)):
        part = x[k] * s
        total += part * w[k]
        s = w[k] * s + (part - 0.5 * s) * x[k]
    return total


def quotients(x: np.ndarray, w: np.ndarray) -> float:
    """On the way back, sums are divided, and what they are divided by hangs on other numbers."""
    s, total = 1.0, 0.0
    for k in range(len(x)):
        part = s / (2.0 + x[k])
        total += part * w[k]
        s = part / (3.0 + w[k]) + (s - part) * x[k] + w[k]
    return total + s


def iterated(x: float, r: float) -> float:
    """Nothing is added on the way back."""
    for _ in range(20):
        x = x - 0.1 * (x * x - r) / (2.0 * x)
    return x


@pytest.mark.parametrize("f", [parted, filtered, falling, alternating, pair, quotients])
def test_recurrences_of_two_arrays(f: Callable[..., Any]) -> None:
    agree(f, X, W)


def test_recurrences_of_numbers_and_of_elements() -> None:
    agree(logistic, 0.3, 2.9)
    agree(iterated, 0.3, 2.9)
    agree(swept, X)


def test_the_way_to_the_next_iteration_is_one_product_and_one_sum() -> None:
    lines = jitgrad.grad(logistic, argnums=(0, 1)).adjoint(0.3, 2.9).split("\n")
    start = max(k for k, line in enumerate(lines) if " = for " in line)
    carried = lines[start + 1].split("(")[1].split(",")[1].split(":")[0].strip()
    yields = next(line for line in lines[start:] if line.strip().startswith("yield")).split()[1].strip(",")
    by_name = {line.split(" = ")[0].strip(): line.split(" = ")[1] for line in lines[start + 2 :] if " = " in line}
    assert by_name[yields].startswith("add")
    terms = [by_name.get(v.strip(","), "") for v in by_name[yields].split()[1:3]]
    assert any(term.startswith("multiply") and carried in term and "any_rounding" in term for term in terms)


def test_the_way_to_the_next_iteration_is_one_product_where_nothing_is_added() -> None:
    lines = jitgrad.grad(iterated).adjoint(0.3, 2.9).split("\n")
    start = max(k for k, line in enumerate(lines) if " = for " in line)
    carried = lines[start + 1].split("(")[1].split(",")[1].split(":")[0].strip()
    (end,) = next(line for line in lines[start:] if line.strip().startswith("yield")).split()[1:]
    used = [line.strip() for line in lines[start + 2 :] if carried in line.replace(",", "").split()]
    assert len(used) == 1
    assert used[0].startswith(f"{end} = multiply")


def test_the_product_with_the_carried_number_is_rounded_with_the_sum_though_it_is_used_again() -> None:
    """LLVM would compute it once, and let the next iteration wait for both."""
    lines = jitgrad.grad(swept).llvm(X).split("\n")
    carried = [line.split()[0] for line in lines if "phi double" in line]
    fused = any("call double @llvm.fma" in line and f"double {carried[-1]}," in line for line in lines)
    assert fused == ("+fma" in HOST)
    assert "@llvm.fma" not in jitgrad.jit(swept).llvm(X)


@pytest.mark.parametrize("f", [logistic, lambda x, r: logistic(x, r) * r])
def test_the_program_itself_is_rounded_as_it_is_written(f: Callable[..., Any]) -> None:
    assert "any_rounding" not in jitgrad.jit(f).graph(0.3, 2.9)
    assert jitgrad.jit(f)(0.3, 2.9) == f(0.3, 2.9)
    assert jitgrad.value_and_grad(f)(0.3, 2.9)[0] == f(0.3, 2.9)


def test_a_derivative_that_decides_keeps_the_bits_of_its_parts_where_it_is_differentiated() -> None:
    """The way back asks again which way was taken, and must get the same answer."""

    def decided(x: float, r: float) -> float:
        return x * r if jitgrad.grad(logistic)(x, r) > 0.1 else r

    assert "any_rounding" in jitgrad.grad(logistic).adjoint(0.3, 2.9)
    before, *_ = jitgrad.grad(decided).adjoint(0.3, 2.9).partition(" = greater ")
    assert " = for " in before and "any_rounding" not in before


def test_sides_that_are_not_taken_stay_exact_zeros() -> None:
    def f(x: np.ndarray) -> float:
        s = 0.0
        for k in range(len(x)):
            s = 0.5 * s + float(np.where(x[k] > 0.0, np.sqrt(x[k]), x[k]))
        return s

    x = np.array([0.25, 0.0, 1.0, 0.0])
    np.testing.assert_allclose(jitgrad.grad(f)(x), [0.125, 0.25, 0.25, 1.0], rtol=1e-15)


def test_quotients_by_a_product_and_its_factors() -> None:
    def f(x: np.ndarray, w: np.ndarray) -> float:
        total = 0.0
        for k in range(len(x)):
            r = x[k] * x[k] + 0.1
            d = r * np.sqrt(r)
            total += w[k] / d + 1.0 / r
        return total

    agree(f, X, W)
    agree(lambda x, w: np.sum(w / ((x * x + 0.1) * np.sqrt(x * x + 0.1))), X, W)


class _Program:
    """A loop of one, two or three numbers that are computed from each other and from elements."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        names = ["a", "b", "c"][: rng.randint(1, 3)]

        def term(depth: int) -> str:
            kind = rng.random()
            if depth == 0 or kind < 0.3:
                return rng.choice([*names, *names, "x[k]", "w[k]", f"{rng.uniform(-1, 1):.2f}"])
            if kind < 0.8:
                return f"({term(depth - 1)} {rng.choice('+-**')} {term(depth - 1)})"
            if kind < 0.85:
                return f"({term(depth - 1)} / (2.0 + np.cos({term(depth - 1)})))"
            return rng.choice([f"(-{term(depth - 1)})", f"np.tanh({term(depth - 1)})", f"max({term(depth - 1)}, -0.4)"])

        lines = ["def f(x, w):", f"    {', '.join(names)} = {', '.join(['0.4'] * len(names))}", "    total = 0.0"]
        if len(names) == 1:
            lines[1] = "    a = 0.4"
        lines.append("    for k in range(len(x)):")
        lines += [f"        {name} = 0.7 * np.sin({term(3)}) + 0.3 * {term(2)}" for name in names]
        if rng.random() < 0.8:
            lines.append(f"        total += {term(2)} * {rng.choice(names)}")
        lines += [f"    return total + {' + '.join(names)}"]
        self.text = "\n".join(lines)


@pytest.mark.parametrize("seed", sampled(range(40), 12))
def test_random_recurrences(seed: int) -> None:
    program = _Program(seed)
    f = function_of(program.text, "f")
    x, w = 0.5 * X[:6], 0.5 * W[:6]
    assert jitgrad.value_and_grad(f)(x, w)[0] == pytest.approx(f(x, w), rel=1e-13)
    agree(f, x, w)
