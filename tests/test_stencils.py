"""Random time loops over stencils: interior and boundary values, one and two axes, sums and histories on the way.

Each program is compared with NumPy, at sizes that are known and at run-time sizes; its gradient with differences along
a random direction, and reverse mode with forward mode.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from tests.source import function_of

_LOWS, _HIGHS = (0, 1, 2), (0, 1, 2)


class _Program:
    """Writes the statements of one program."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(f"stencil {seed}")
        self.rank = self.rng.choice((1, 1, 2))
        self.arrays = ["u", "v"][: self.rng.choice((1, 2))]

    def number(self) -> str:
        return str(self.rng.choice((0.25, 0.5, -0.125, 1.0, 0.0625, -0.5)))

    def part(self, low: list[int], high: list[int], shift: list[int]) -> str:
        """Return the subscript of a part `low` and `high` away from the ends, shifted."""
        spans = []
        for a, b, s in zip(low, high, shift, strict=True):
            stop = "" if b == s else f"{s - b}"
            spans.append(f"{a + s or ''}:{stop}")
        return f"[{', '.join(spans)}]"

    def stencil(self) -> str:
        target = self.rng.choice(self.arrays)
        low = [self.rng.choice(_LOWS) for _ in range(self.rank)]
        high = [self.rng.choice(_HIGHS) for _ in range(self.rank)]
        terms = []
        for _ in range(self.rng.randint(1, 4)):
            source = target if self.rng.random() < 0.7 else self.rng.choice(self.arrays)
            shift = [self.rng.randint(-a, b) for a, b in zip(low, high, strict=True)]
            term = f"{source}{self.part(low, high, shift)}"
            if self.rng.random() < 0.2:
                term = f"np.sin({term})"
            elif self.rng.random() < 0.15:
                term = f"{term} * {target}{self.part(low, high, [0] * self.rank)}"
            terms.append(f"{self.number()} * {term}")
        form = self.rng.choice(("=", "=", "+=", "-="))
        return f"{target}{self.part(low, high, [0] * self.rank)} {form} {' + '.join(terms)}"

    def boundary(self) -> str:
        a = self.rng.choice(self.arrays)
        row = self.rng.choice(("0", "1", "-1", "-2"))
        rest = ", :" if self.rank == 2 and self.rng.random() < 0.7 else ""
        if self.rank == 2 and not rest and self.rng.random() < 0.5:
            row, rest = f":, {row}", ""
        value = self.rng.choice(
            (self.number(), f"{a}[{self.rng.choice(('1', '-2', '2'))}]", f"{self.number()} * {a}[{row}{rest}]", "c")
        )
        if row.startswith(":") and value.startswith(f"{a}["):
            value = f"{a}[:, 1]"
        return f"{a}[{row}{rest}] = {value}"

    def other(self) -> str:
        a = self.rng.choice(self.arrays)
        choices = [
            f"s += np.sum({a} * {a})",
            f"s = s + {a}[1{', 2' if self.rank == 2 else ''}]",
            f"h.append({a}.sum())",
        ]
        if len(self.arrays) == 2:
            choices += ["u, v = v, u", "u, v = v, u"]
        return self.rng.choice(choices)

    def lines(self) -> list[str]:
        body = []
        for _ in range(self.rng.randint(1, 5)):
            kind = self.rng.random()
            body.append(self.stencil() if kind < 0.5 else self.boundary() if kind < 0.8 else self.other())
        if not any(":" in line for line in body):
            body.append(self.stencil())
        head = "for k in range(steps):" if self.rng.random() < 0.8 else "while k < steps:"
        body = [f"    {line}" for line in body]
        if head.startswith("while"):
            body.append("    k += 1")
        # An array that is exchanged under one of two names is another matter.
        exchanged = any("u, v = v, u" in line for line in body)
        copy = self.rng.choice(("a.copy()", "a * 1.0", "a.copy()" if exchanged else "a"))
        lines = [f"u = {copy}", "v = 0.5 * b", "s = 0.0", "h = []", "k = 0", head, *body]
        lines.append("return np.sum(u * u) + np.sum(v * a) + 0.1 * s + 0.01 * sum(h)")
        return ["def f(a, b, c, steps):", *(f"    {line}" for line in lines)]


def _arguments(rank: int, size: int, steps: int) -> tuple[Any, ...]:
    rng = np.random.default_rng(size)
    shape = (size,) if rank == 1 else (size, size + 3)
    return rng.uniform(-1, 1, shape), rng.uniform(-1, 1, shape), 0.3, steps


def _check(f: Callable[..., Any], calls: list[tuple[Any, ...]]) -> None:
    compiled, graded = jitgrad.jit(f), jitgrad.value_and_grad(f, argnums=(0, 1, 2))
    for a, b, c, steps in calls:
        theirs, ours = a.copy(), a.copy()
        want = f(theirs, b, c, steps)
        assert compiled(ours, b, c, steps) == pytest.approx(want, rel=1e-11, abs=1e-11)
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)
        value, slopes = graded(a, b, c, steps)
        assert value == pytest.approx(want, rel=1e-11, abs=1e-11)
        rng = np.random.default_rng(1)
        ways = [rng.uniform(-1, 1, np.shape(x)) for x in (a, b, c)]
        forward = jitgrad.jvp(lambda a, b, c, n=steps: f(a, b, c, n), (a, b, c), tuple(map(np.asarray, ways)))[1]
        reverse = sum(np.sum(s * w) for s, w in zip(slopes, ways, strict=True))
        assert reverse == pytest.approx(float(forward), rel=1e-9, abs=1e-9)
        h = 1e-6
        ends = [f(a + s * ways[0], b + s * ways[1], c + s * float(ways[2]), steps) for s in (h, -h)]
        assert reverse == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=2e-5, abs=2e-6)


@pytest.mark.parametrize("seed", range(32))
def test_random_stencils(seed: int) -> None:
    program = _Program(seed)
    f = function_of(program.lines(), f"<stencil {seed}>")
    sizes = (12, 40) if program.rank == 1 else (9, 13)
    _check(f, [_arguments(program.rank, size, steps) for size, steps in ((sizes[0], 0), (sizes[0], 1), (sizes[1], 5))])


@pytest.mark.parametrize("seed", range(60, 68))
def test_random_stencils_of_sizes_at_run_time(seed: int) -> None:
    program = _Program(seed)
    f = function_of(program.lines(), f"<stencil {seed}>")
    _check(f, [_arguments(program.rank, size, 3 + size % 2) for size in (10, 11, 14, 19)])
