"""No derivative is NaN where differences converge: infinite slopes and kinks, combined with factors that are 0.

A table of functions with an infinite slope or a kink, and of ways to combine them with data. Both modes are compared
with one-sided differences wherever these converge: where both sides do, the derivative lies between them. Where the
mathematics give no proof (two factors that vanish together and do not cancel) NaN is allowed; that list is at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad

Function = Callable[..., Any]

# Functions, and where they are singular.
SINGULAR: dict[str, tuple[Function, float]] = {
    "sqrt": (np.sqrt, 0.0),
    "cbrt": (np.cbrt, 0.0),
    "power": (lambda x: x**0.7, 0.0),
    "arccos": (np.arccos, 1.0),
    "root of a root": (lambda x: np.sqrt(np.sqrt(x)), 0.0),
    "root of a magnitude": (lambda x: np.sqrt(np.abs(x)), 0.0),
    "norm": (lambda x: np.sqrt(x * x), 0.0),
}


def element(s: Function) -> Function:
    def f(x, w):
        a = np.zeros(2)
        a[0] = s(x[0])
        a[1] = w[0]
        return a[0] * a[1]

    return f


def loop(s: Function) -> Function:
    def f(x, w):
        t = 0.0
        for i in range(len(x)):
            t += w[i] * s(x[i])
        return t

    return f


def loop_over_an_array(s: Function) -> Function:
    def f(x, w):
        a, t = np.zeros(2), 0.0
        for i in range(len(x)):
            a[i] = s(x[i])
        for i in range(len(x)):
            t += w[i] * a[i]
        return t

    return f


def carried(s: Function) -> Function:
    def f(x, w):
        a = s(x)
        for _ in range(3):
            a = a * w
        return a.sum()

    return f


def carried_number(s: Function) -> Function:
    def f(x, w):
        a = s(x[0])
        for i in range(2):
            a = a * w[i]
        return a

    return f


def carried_elements(s: Function) -> Function:
    def f(x, w):
        a = s(x)
        for i in range(2):
            a[i] *= w[i]
        return a.sum()

    return f


def branch(s: Function) -> Function:
    def f(x, w):
        y = w[0] * s(x[0]) if w[1] > 0.5 else s(x[0])
        return y * w[0]

    return f


WAYS: dict[str, Callable[[Function], Function]] = {
    "sum of products": lambda s: lambda x, w: (w * s(x)).sum(),
    "inside": lambda s: lambda x, w: s(w * x).sum(),
    "numbers": lambda s: lambda x, w: w[0] * s(x[0]),
    "dot": lambda s: lambda x, w: w @ s(x),
    "matrix": lambda s: lambda x, w: (np.outer(w, w) @ s(x)).sum(),
    "tanh of a matrix product": lambda s: lambda x, w: np.tanh((w * np.ones((3, 2))) @ s(x)).sum(),
    "row by a matrix": lambda s: lambda x, w: np.exp(s(x) @ (w[:, None] * np.ones((2, 3)))).sum(),
    "norm": lambda s: lambda x, w: np.linalg.norm(w * s(x)),
    "exp": lambda s: lambda x, w: np.exp(w * s(x)).sum(),
    "square": lambda s: lambda x, w: ((w * s(x)) ** 2).sum(),
    "quotient": lambda s: lambda x, w: (w / (s(x) + 1.0)).sum(),
    "logistic": lambda s: lambda x, w: (w / (1.0 + np.exp(-s(x)))).sum(),
    "mean and variance": lambda s: lambda x, w: np.mean(w * s(x)) + np.var(w * s(x)),
    "cumsum": lambda s: lambda x, w: np.cumsum(w * s(x)).sum(),
    "chosen": lambda s: lambda x, w: (np.where(w > 0.5, s(x), 1.0) * w).sum(),
    "sine": lambda s: lambda x, w: (np.sin(x - x[1]) * s(x)).sum() * w[0],
    "element": element,
    "loop": loop,
    "loop over an array": loop_over_an_array,
    "carried": carried,
    "carried number": carried_number,
    "carried elements": carried_elements,
    "branch": branch,
}


def slope_on_one_side(f: Function, x: np.ndarray, step: np.ndarray) -> float | None:
    """Return what the difference quotients in a direction converge to, None if they do not."""
    sizes = (1e-6, 1e-8, 1e-10, 1e-12)
    with np.errstate(all="ignore"):
        found = np.array([(f(x + h * step) - f(x)) / h for h in sizes])
    if not np.isfinite(found).all() or abs(found[-1]) > 1e4:
        return None
    gaps = np.abs(np.diff(found))
    if gaps[1] > 0.3 * gaps[0] + 1e-4 or gaps[2] > 0.3 * gaps[1] + 1e-6:
        return None
    return float(found[-1])


@pytest.mark.parametrize("way", list(WAYS))
@pytest.mark.parametrize("name", list(SINGULAR))
def test_no_nan_where_differences_converge(name: str, way: str) -> None:
    s, at = SINGULAR[name]
    f = WAYS[way](s)
    gradient, both = jitgrad.grad(f), jitgrad.grad(f, argnums=(0, 1))
    for x, w in (([at, at], [0.0, 0.0]), ([at, at], [0.0, 1.0]), ([at, 0.9], [0.0, 1.0])):
        x, w = np.array(x), np.array(w)
        made = gradient(x, w), both(x, w)[0]
        for k, e in enumerate(np.eye(2)):
            right = slope_on_one_side(lambda x: f(x, w), x, e)  # noqa: B023
            left = slope_on_one_side(lambda x: f(x, w), x, -e)  # noqa: B023
            known = [v for v in (right, None if left is None else -left) if v is not None]
            if not known:
                continue
            forward = jitgrad.jvp(lambda x: f(x, w), (x,), (e,))[1]  # noqa: B023
            for v in (made[0][k], made[1][k], forward):
                assert min(known) - 1e-3 <= v <= max(known) + 1e-3, (x, w, k, v, known)


@pytest.mark.parametrize("way", ["sum of products", "dot", "loop over an array", "carried elements", "exp"])
def test_second_order(way: str) -> None:
    """A weight that is 0 stays without effect in every order, and the other elements keep theirs."""
    f = WAYS[way](np.sqrt)
    x, w, d, h = np.array([0.0, 0.9]), np.array([0.0, 1.0]), np.array([0.0, 1.0]), 1e-5
    gradient = jitgrad.grad(f)
    differences = (gradient(x + h * d, w) - gradient(x - h * d, w)) / (2 * h)
    assert np.allclose(jitgrad.jvp(lambda x: gradient(x, w), (x,), (d,))[1], differences, rtol=1e-6, atol=1e-6)
    second = jitgrad.grad(lambda x: gradient(x, w)[1])(x)
    assert np.isclose(second[1], differences[1], rtol=1e-6)
    assert second[0] == 0.0


@pytest.mark.parametrize("way", [way for way in WAYS if way != "inside"])
def test_a_factor_that_is_0_moves(way: str) -> None:
    """Where no slope is infinite, derivatives of derivatives are those of differences, however modes nest."""
    f = WAYS[way](np.sqrt)
    x, w, t, u, h = np.array([0.3, 0.9]), np.array([0.0, 1.0]), np.array([0.7, -0.4]), np.array([1.3, 0.6]), 1e-5
    gradient = jitgrad.grad(f, argnums=(0, 1))
    high, low = gradient(x + h * t, w + h * u), gradient(x - h * t, w - h * u)
    wanted = [(a - b) / (2 * h) for a, b in zip(high, low, strict=True)]

    def slope(x, w):
        return jitgrad.jvp(f, (x, w), (t, u))[1]

    def slope_by_reverse(x, w):
        by_x, by_w = gradient(x, w)
        return by_x @ t + by_w @ u

    made = [jitgrad.jvp(gradient, (x, w), (t, u))[1]]
    made += [jitgrad.grad(g, argnums=(0, 1))(x, w) for g in (slope, slope_by_reverse)]
    for found in made:
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-7)
    twice = jitgrad.jvp(slope, (x, w), (t, u))[1]
    np.testing.assert_allclose(twice, wanted[0] @ t + wanted[1] @ u, rtol=1e-6, atol=1e-7)


# --- factors that cancel by way of memory and norms


def test_what_is_stored_and_read_cancels() -> None:
    def f(x):
        s = np.zeros(2)
        s[0] = np.sqrt(x)
        return s[0] ** 2

    assert jitgrad.grad(f)(0.0) == 1.0
    assert jitgrad.jvp(f, (0.0,), (1.0,))[1] == 1.0


def test_the_square_of_a_norm_of_roots() -> None:
    def f(x):
        return np.linalg.norm(np.sqrt(x)) ** 2

    assert np.array_equal(jitgrad.grad(f)(np.zeros(2)), [1.0, 1.0])
    assert jitgrad.jvp(f, (np.zeros(2),), (np.ones(2),))[1] == 2.0
    assert jitgrad.jvp(f, (np.zeros(2),), (np.array([1.0, 0.0]),))[1] == 1.0


def test_what_does_not_move_has_no_tangent() -> None:
    x = np.array([0.0, 4.0])
    assert jitgrad.jvp(lambda x: np.sqrt(x).sum(), (x,), (np.array([0.0, 1.0]),))[1] == 0.25
    assert jitgrad.jvp(lambda x: np.sqrt(np.exp(x) - 1.0).sum(), (np.zeros(2),), (np.zeros(2),))[1] == 0.0


# --- where a 0 proves nothing


@pytest.mark.parametrize(
    "f",
    [
        lambda x: (np.sqrt(x) * np.log1p(np.sqrt(x))).sum(),  # x to first order
        lambda x: np.log1p(np.sqrt(x[0])) ** 2,
        lambda x: (np.sign(x) * np.sqrt(np.abs(x))).sum(),  # infinitely steep
        lambda x: np.cbrt(x * x * np.log1p(x)).sum(),  # x to first order
        lambda x: (np.sqrt(x) / np.log(x + 0.0 * x)).sum(),
    ],
)
def test_a_zero_that_proves_nothing_is_not_taken_for_one(f: Function) -> None:
    """Factors that vanish with the root itself, or that jump: the true derivative is not 0, nor must ours be."""
    x = np.zeros(2)
    with np.errstate(all="ignore"):
        assert jitgrad.grad(f)(x)[0] != 0.0
        assert jitgrad.jvp(f, (x,), (np.array([1.0, 0.0]),))[1] != 0.0


def test_a_primal_that_is_no_number_keeps_its_nan() -> None:
    gradient = jitgrad.grad(lambda x, w: w * np.sqrt(x))
    assert np.isnan(gradient(-1.0, 0.0))
    assert np.isnan(jitgrad.grad(lambda x, w: w * np.log(x))(0.0, 0.0))


def test_arguments_move_together_in_forward_mode() -> None:
    """sqrt(x) * sqrt(y) is 0 along each axis, though not between them."""

    def f(x, y):
        return np.sqrt(x) * np.sqrt(y)

    assert jitgrad.grad(f, argnums=(0, 1))(0.0, 0.0) == (0.0, 0.0)
    assert jitgrad.jvp(f, (0.0, 0.0), (1.0, 1.0))[1] != 0.0
