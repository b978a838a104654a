"""Arrays with a short last axis that are taken apart: when they are, and that nothing else changes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.graph.passes.components import _Middle
from tests.sampling import sampled
from tests.source import function_of

P = np.random.default_rng(0).standard_normal((20, 3))


def apart(f: Callable[..., Any], *args: Any) -> bool:
    """Return whether the compiled program has arrays of one axis less where it had points."""
    return "relayout" in str(jitgrad.jit(f).graph(*args))


def potential(p: np.ndarray) -> Any:
    d = p[:, None, :] - p[None, :, :]
    r2 = np.sum(d * d, axis=-1) + np.eye(len(p))
    return np.sum(1.0 / r2**3 - 1.0 / r2)


def forces(p: np.ndarray) -> np.ndarray:
    d = p[:, None] - p[None]
    r = np.linalg.norm(d, axis=2) + 1.0
    return np.sum(d / (r * r * r)[:, :, None], axis=1)


def rotated(q: np.ndarray, v: np.ndarray) -> np.ndarray:
    q = q / np.sqrt(np.sum(q * q, axis=-1, keepdims=True))
    u, w = q[:, None, 1:], q[:, None, :1]
    return v[None] + 2.0 * np.cross(u, np.cross(u, v[None]) + w * v[None])


def largest(p: np.ndarray) -> np.ndarray:
    d = np.abs(p[:, None, :] - p[None, :, :])
    return np.max(d, axis=-1) + np.min(d, axis=2) + np.prod(d, axis=2)


def no_points(p: np.ndarray) -> np.ndarray:
    return p * 2.0 + np.sin(p)


def test_points_are_taken_apart_where_pairs_are_made_of_them() -> None:
    assert apart(potential, P)
    assert apart(forces, P)
    assert apart(largest, P)
    assert not apart(no_points, P)
    assert not apart(potential, P[:4])
    assert not apart(potential, np.random.default_rng(1).standard_normal((20, 6)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("f", [potential, forces, largest])
def test_values(f: Callable[..., Any], dtype: type) -> None:
    for n in (20, 17, 12, 31):  # sizes that are known, then sizes that are not
        p = np.random.default_rng(n).standard_normal((n, 3)).astype(dtype)
        got, want = jitgrad.jit(f)(p), f(p)
        np.testing.assert_allclose(got, want, rtol=2e-4 if dtype is np.float32 else 1e-12)
        assert got.dtype == want.dtype and got.shape == want.shape


def test_quaternions() -> None:
    q, v = np.random.default_rng(2).standard_normal((15, 4)), np.random.default_rng(3).standard_normal((8, 3))
    np.testing.assert_allclose(jitgrad.jit(rotated)(q, v), rotated(q, v), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("f", [potential, lambda p: np.sum(forces(p) * P), lambda p: np.sum(largest(p))])
def test_derivatives(f: Callable[..., Any]) -> None:
    t = np.random.default_rng(4).standard_normal(P.shape)
    gradient = jitgrad.grad(f)(P)
    h = 1e-6
    quotient = (f(P + h * t) - f(P - h * t)) / (2 * h)
    assert np.sum(gradient * t) == pytest.approx(quotient, rel=1e-6)
    assert jitgrad.jvp(f, (P,), (t,))[1] == pytest.approx(np.sum(gradient * t), rel=1e-10)


def test_a_point_that_meets_itself_has_no_nan() -> None:
    gradient = jitgrad.grad(lambda p: np.sum(np.linalg.norm(p[:, None] - p[None], axis=-1)))(P)
    assert np.all(np.isfinite(gradient))


# --- random programs


class _Program:
    """Source of a program `f(p, q, w)`: two sets of points, and a number for each pair."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.points = {"p": ["p"], "q": ["q"], "pairs": ["p[:, None, :] - q[None]"], "numbers": ["w"]}
        self.lines = ["def f(p, q, w):", "    s = 0.0"]
        pad = "    "
        if self.random.random() < 0.4:
            self.lines.append("    for k in range(3):")
            pad = "        "
        for k in range(self.random.randint(4, 9)):
            self.statement(pad, f"v{k}")
        if pad == "        ":
            self.lines.append(f"{pad}p = 0.5 * p + np.tanh({self.one('p')})")
            self.lines.append(f"{pad}s = s + np.sum({self.one('numbers')})")
            self.lines.append("    return p, s")
        else:
            self.lines.append(f"    return {self.one('p')} * 1.0, {self.one('q')} + s, {self.one('numbers')} * 2.0")

    def pick(self, *options: str) -> str:
        return self.random.choice(options)

    def one(self, kind: str) -> str:
        return f"({self.random.choice(self.points[kind][-4:])})"

    def statement(self, pad: str, name: str) -> None:
        d, e, w, x, y, z = (self.one(k) for k in ("pairs", "pairs", "numbers", "numbers", "p", "q"))
        kind, text = self.random.choice([
            ("numbers", f"np.sum({d} * {e}, axis=-1)"),
            ("numbers", f"np.linalg.norm({d}, axis=2) + {w}"),
            ("numbers", f"np.max({d}, axis=2) * {w}"),
            ("numbers", f"1.0 / (1.0 + {w} * {x})"),
            ("numbers", f"np.where(np.all({d} > -1.0, axis=-1), {w}, 0.5)"),
            ("numbers", f"{d}[:, :, 1] + {e}[..., 0]"),
            ("pairs", f"{w}[:, :, None] * {d}"),
            ("pairs", f"np.where({d} > 0.1, {e}, {w}[..., None])"),
            ("pairs", f"{y}[:, None] + np.sin({d})"),
            ("pairs", f"{d} - {z}"),
            ("pairs", f"{d} / (1.0 + np.abs({e}))"),
            ("p", f"np.sum({d}, axis=1)"),
            ("p", f"np.mean({w}[:, :, None] * {d}, axis=1) - {y}"),
            ("p", f"np.maximum({y}, 0.3)"),
            ("q", f"np.sum({d}, axis=0) * 0.5"),
            ("q", f"{z} - {y}.sum(axis=0)"),
            ("p", f"{y} * np.mean({d}, axis=(0, 1))"),
            ("numbers", f"{w} + {d}.sum() * 0.01"),
            ("q", f"{z} * np.array([1.0, -0.5, 2.0])"),
        ])  # fmt: skip
        self.points[kind].append(name)
        self.lines.append(f"{pad}{name} = {text}")

    def function(self, name: str) -> Any:
        """Return the program."""
        return function_of(self.lines, name)


@pytest.mark.parametrize("seed", sampled(range(80), 3))
def test_random_programs_taken_apart_or_not(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(seed)
    p, q, w, t = (rng.standard_normal(shape) for shape in ((4, 3), (5, 3), (4, 5), (4, 3)))
    program = _Program(seed)
    text = "\n".join(program.lines)

    def results(name: str) -> tuple[Any, ...]:
        f = program.function(name)

        def g(p: np.ndarray) -> Any:
            return sum(np.sum(np.tanh(0.1 * x)) for x in f(p, q, w))

        value, gradient = jitgrad.value_and_grad(g)(p)
        slope = jitgrad.jvp(g, (p,), (t,))[1]
        np.testing.assert_allclose(slope, np.sum(gradient * t), rtol=1e-8, atol=1e-10, err_msg=text)
        return *jitgrad.jit(f)(p, q, w), value, gradient

    monkeypatch.setattr(_Middle, "pays", lambda self: False)
    plain = results(f"<points {seed}>")
    monkeypatch.setattr(_Middle, "pays", lambda self: bool(self.apart))
    for got, want in zip(results(f"<points {seed} apart>"), plain, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11, err_msg=text)
    for got, want in zip(plain, program.function(f"<points {seed} in Python>")(p, q, w), strict=False):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11, err_msg=text)
