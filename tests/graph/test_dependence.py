"""Loops over elements and parts whose places overlap or do not: the passes that decide so, on random programs.

Each program is plain Python over a small array, made from a seed: nests of up to three loops whose bounds hang on outer
loops, with loads and stores at sums of the indices. `dead_stores` and `promote` must take away what they may and no
more; the gradient is compared with that of the program written without them, and with a difference quotient.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

import jitgrad
from tests.sampling import sampled
from tests.source import function_of

N = 5
_BOUNDS = ("range(n)", "range(1, n)", "range({0})", "range({0} + 1, n)", "range(n - 1, -1, -1)", "range({0}, n)")


class _Program:
    """Source of a program `f(a)` on an array of shape (N, N), all of whose places are in range."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lines = ["def f(a):", "    a = a.copy()", "    n = len(a)", "    s = 0.0"]
        for _ in range(self.random.randint(1, 2)):
            self.nest([], 1)
        self.lines.append("    return np.sum(a * W) + s")

    def pick(self, *options: str) -> str:
        return self.random.choice(options)

    def nest(self, indices: list[str], depth: int) -> None:
        pad = "    " * depth
        name = "ijk"[len(indices)]
        bound = self.pick(*(_BOUNDS if indices else _BOUNDS[:2] + _BOUNDS[4:5]))
        self.lines.append(f"{pad}for {name} in {bound.format(*(self.random.sample(indices, 1) if indices else ()))}:")
        inner = [*indices, name]
        for _ in range(self.random.randint(1, 2)):
            self.statement(inner, pad + "    ")
        if len(inner) < 3 and self.random.random() < 0.8:
            self.nest(inner, depth + 1)
            if self.random.random() < 0.4:
                self.statement(inner, pad + "    ")

    def at(self, indices: list[str]) -> str:
        name = self.pick(*indices)
        return self.pick(name, name, name, f"n - 1 - {name}", f"{name} - 1", "0", "n - 1")

    def element(self, indices: list[str]) -> str:
        return f"a[{self.at(indices)}, {self.at(indices)}]"

    def statement(self, indices: list[str], pad: str) -> None:
        target, x, y = (self.element(indices) for _ in range(3))
        i, j = self.pick(*indices), self.pick(*indices)
        self.lines.append(pad + self.pick(
            f"{target} -= 0.3 * {x} * {y}",
            f"{target} = np.sin({x}) + {y}",
            f"{target} = {target} * {x}",
            f"{target} += 0.5 * {x}",
            f"s += {x} * {y}",
            f"s += a[{i}, :{j}] @ a[{j}, :{j}]",
            f"a[{i}, {j}:] *= np.cos({x})",
            f"a[{i}, :{j}] -= 0.2 * a[{j}, :{j}] * {x}",
            f"a[{j} + 1:, {i}] = np.tanh(a[{j} + 1:, {j}]) + {x}",
        ))  # fmt: skip

    def function(self, name: str) -> Any:
        """Return the program."""
        return function_of(self.lines, name, W=np.random.default_rng(1).standard_normal((N, N)))


def _tame(seed: int, x: np.ndarray) -> tuple[_Program, Any, float]:
    """Return the first program of a seed whose value can be compared: others grow beyond all bounds."""
    for k in range(20):
        program = _Program(20 * seed + k)
        f = program.function(f"<element loops {seed}.{k}>")
        with np.errstate(all="ignore"):
            value = f(x)
        if abs(value) < 1e3:
            return program, f, value
    raise AssertionError(f"seed {seed} makes no program that stays small")


@pytest.mark.parametrize("seed", sampled(range(120), 3))
def test_gradients_of_random_element_loops(seed: int) -> None:
    x = np.random.default_rng(seed).uniform(-1.0, 1.0, (N, N))
    t = np.random.default_rng(seed + 1).standard_normal((N, N))
    program, f, want = _tame(seed, x)
    value, gradient = jitgrad.value_and_grad(f)(x)
    text = "\n".join(program.lines)
    np.testing.assert_allclose(value, want, rtol=1e-10, atol=1e-10, err_msg=text)
    _, slope = jitgrad.jvp(f, (x,), (t,))
    scale = max(1.0, float(np.sum(np.abs(gradient * t))))
    assert abs(slope - np.sum(gradient * t)) <= 1e-9 * scale, text
    h = 1e-5
    quotient = (8 * (f(x + h * t) - f(x - h * t)) - (f(x + 2 * h * t) - f(x - 2 * h * t))) / (12 * h)
    assert abs(quotient - slope) <= 1e-5 * max(scale, abs(want)), text
