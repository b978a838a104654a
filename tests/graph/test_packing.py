"""Bools that loops record together are bits of one byte: how many bytes are kept, and that the right bit is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.graph import passes
from jitgrad.graph.ir import Graph
from jitgrad.graph.passes import pack_bools
from jitgrad.graph.verify import verify
from tests.source import function_of


def tapes(monkeypatch: pytest.MonkeyPatch, call: Callable[[], Any]) -> list[str]:
    """Return the types of the arrays of bools and bytes that the graphs of a call keep, as `pack_bools` leaves them."""
    found: list[str] = []

    def watched(graph: Graph) -> bool:
        changed = pack_bools(graph)
        passes.dce(graph)
        verify(graph)
        kept = [op.result.type for op in graph.walk() if op.name == "undef"]
        found.extend(str(type) for type in kept if type.dtype.itemsize == 1)
        return changed

    monkeypatch.setattr(passes, "pack_bools", watched)
    call()
    monkeypatch.undo()
    return found


def minima(x: np.ndarray, a: np.ndarray) -> Any:
    for row in a:
        x = np.minimum(x, row * x + 0.2)
    return np.sum(x * x)


def limiter(x: np.ndarray, a: np.ndarray) -> Any:
    for row in a:
        left, right = x - row, row * x
        slope = np.where(left * right > 0, np.where(np.abs(left) < np.abs(right), left, right), 0.0)
        x = x - 0.3 * np.clip(slope, -0.5, 0.5) + 0.1 * np.maximum(x, 0.0)
    return np.sum(x * x)


def elements(x: np.ndarray, a: np.ndarray) -> Any:
    s = 0.0
    for i in range(len(a)):
        for j in range(len(x)):
            s = max(s * a[i, j], x[j]) - min(0.1 * s, a[i, j] * x[j])
    return s * s


def in_branches(x: np.ndarray, a: np.ndarray) -> Any:
    s = 0.0
    for i in range(len(a)):
        if a[i, 0] > 0:
            for j in range(i):
                s = max(s * a[i, j], x[j]) + min(0.1 * s, a[i, j])
        else:
            s = max(s, x[i]) - min(0.3 * s, a[i, i])
    return s * s + np.sum(x)


def in_two_loops(x: np.ndarray, a: np.ndarray) -> Any:
    for i in range(len(a)):
        x = np.minimum(x, a[i] * x + 0.2)
        for j in range(len(a)):
            x = np.maximum(x, 0.5 * a[j] * x - 0.1)
    return np.sum(x * x)


PROGRAMS = {minima: 1, limiter: 1, elements: 1, in_branches: 1, in_two_loops: 2}


@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_bools_of_one_place_are_one_byte(f: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x, a, t, h = rng.normal(size=9), rng.normal(size=(7, 9)), rng.normal(size=9), 1e-7
        gradient = jitgrad.grad(f)
        kept = tapes(monkeypatch, lambda gradient=gradient, x=x, a=a: gradient(x, a))
        assert len(kept) == PROGRAMS[f] and all(type.startswith("uint8") for type in kept)
        quotient = (f(x + h * t, a) - f(x - h * t, a)) / (2 * h)
        assert np.sum(gradient(x, a) * t) == pytest.approx(quotient, rel=1e-6, abs=1e-7)
        # The derivative of what reads bytes.
        second = jitgrad.jvp(lambda x, gradient=gradient, a=a: gradient(x, a), (x,), (t,))[1]
        differences = (gradient(x + h * t, a) - gradient(x - h * t, a)) / (2 * h)
        np.testing.assert_allclose(second, differences, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("step", "count", "kept"),
    [
        ("np.where(x > {c}, 0.9 * x, x + a[i])", 1, "bool"),
        ("np.where(x > {c}, 0.9 * x, x + a[i])", 2, "uint8"),
        ("np.where(x > {c}, 0.9 * x, x + a[i])", 17, ""),  # a number is less than its bools
        # Two bools each.
        ("np.maximum(x, {c} * x + a[i])", 1, "uint8"),
        ("np.maximum(x, {c} * x + a[i])", 4, "uint8"),
        ("np.maximum(x, {c} * x + a[i])", 5, "uint8 uint8"),
        ("np.maximum(x, {c} * x + a[i])", 9, "uint8 uint8 uint8"),
    ],
)
def test_a_byte_has_eight_bits(step: str, count: int, kept: str, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"        x = {step.format(c=k / count)}" for k in range(count)]
    text = ["def f(x, a):", "    for i in range(len(a)):", *lines, "    return np.sum(x)"]
    f = function_of(text, f"<{count} steps {step}>")
    rng = np.random.default_rng(count)
    x, a, t, h = rng.uniform(0.0, 1.0, 9), rng.uniform(-0.3, 0.3, (3, 9)), rng.normal(size=9), 1e-7
    gradient = jitgrad.grad(f)
    assert tapes(monkeypatch, lambda: gradient(x, a)) == [f"{name}[3, 9]" for name in kept.split()]
    assert np.sum(gradient(x, a) * t) == pytest.approx((f(x + h * t, a) - f(x - h * t, a)) / (2 * h), rel=1e-6)
