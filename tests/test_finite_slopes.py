"""Where a function is differentiable its derivative is finite, though a factor of the chain rule is infinite there.

Factors cancel (`cbrt(x)**3`), in both modes, on whole arrays and one by one in a loop; the root of a sum of squares has
a kink at 0, where its derivative is 0 as that of a norm.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad

Function = Callable[[Any], Any]

# At 0: functions of an array, each element on its own, and the derivative.
AT_ZERO: dict[str, tuple[Function, float]] = {
    "power 3 of cbrt": (lambda x: np.cbrt(x) ** 3, 1.0),
    "product of three cbrt": (lambda x: np.cbrt(x) * np.cbrt(x) * np.cbrt(x), 1.0),
    "power 4 of cbrt": (lambda x: np.cbrt(x) ** 4, 0.0),
    "square of cbrt": (lambda x: np.cbrt(x) ** 2, math.inf),
    "square of power 0.5": (lambda x: (x**0.5) ** 2, 1.0),
    "power 3 of power 1/3": (lambda x: (x ** (1 / 3)) ** 3, 1.0),
    "square of power 0.7": (lambda x: (x**0.7) ** 2, 0.0),
    "square of power 0.3": (lambda x: (x**0.3) ** 2, math.inf),
    "square of sqrt": (lambda x: np.sqrt(x) ** 2, 1.0),
    "power 3 of sqrt": (lambda x: np.sqrt(x) ** 3, 0.0),
    "product of roots": (lambda x: np.sqrt(x) * (x + 1.0) * np.sqrt(x), 1.0),
    "product of halves": (lambda x: np.sqrt(x) / 2.0 * (np.sqrt(x) / 3.0), 1 / 6),
    "difference of powers": (lambda x: np.sqrt(x) ** 2 - 2.0 * np.sqrt(x) ** 4, 1.0),
    "x sqrt(x)": (lambda x: x * np.sqrt(x), 0.0),
    "x**2 sqrt(x)": (lambda x: x**2 * np.sqrt(x), 0.0),
    "x cbrt(x)": (lambda x: x * np.cbrt(x), 0.0),
    "x x cbrt(x)": (lambda x: x * x * np.cbrt(x), 0.0),
    "sqrt(x**4)": (lambda x: np.sqrt(x**4), 0.0),
    "cbrt(x**3)": (lambda x: np.cbrt(x**3), 1.0),
    "cbrt(x**6)": (lambda x: np.cbrt(x**6), 0.0),
    "exp(log)": (lambda x: np.exp(np.log(x)), 1.0),
    "exp2(log2)": (lambda x: np.exp2(np.log2(x)), 1.0),
    "10**log10": (lambda x: 10.0 ** np.log10(x), 1.0),
    "exp(2 log)": (lambda x: np.exp(2.0 * np.log(x)), 0.0),
    "exp(log / 2)": (lambda x: np.exp(0.5 * np.log(x)), math.inf),
    "exp(sum of logs)": (lambda x: np.exp(np.log(x) + np.log(3.0 + x)), 3.0),
    "log of exp(log) + 1": (lambda x: np.log(np.exp(np.log(x) - 1.0) + 1.0), math.exp(-1)),
}


def whole(f: Function) -> Function:
    return lambda x: f(x).sum()


def one_by_one(f: Function) -> Function:
    def g(x):
        total = 0.0
        for i in range(len(x)):
            total += f(x[i])
        return total

    return g


@pytest.mark.parametrize("way", [whole, one_by_one])
@pytest.mark.parametrize("name", list(AT_ZERO))
def test_factors_cancel(name: str, way: Callable[[Function], Function]) -> None:
    f, want = AT_ZERO[name]
    g = way(f)
    x = np.array([0.0, 0.7])
    gradient = jitgrad.grad(g)(x)
    assert np.isclose(gradient[0], want, rtol=1e-12)
    _, slope = jitgrad.jvp(g, (x,), (np.array([1.0, 0.5]),))
    assert np.isclose(slope, want + 0.5 * gradient[1], rtol=1e-12)


@pytest.mark.parametrize("way", [whole, one_by_one])
@pytest.mark.parametrize("name", list(AT_ZERO))
def test_derivatives_away_from_zero(name: str, way: Callable[[Function], Function]) -> None:
    """Cancelling changes no derivative elsewhere, of first or second order."""
    g, h = way(AT_ZERO[name][0]), 1e-5
    first = jitgrad.grad(g)
    second = jitgrad.grad(lambda x: jitgrad.grad(g)(x).sum())
    for at in (0.3, 1.7):
        x = np.array([at])
        assert np.isclose(first(x)[0], (g(x + h) - g(x - h)) / (2 * h), rtol=1e-7, atol=1e-7)
        assert np.isclose(second(x)[0], (first(x + h) - first(x - h))[0] / (2 * h), rtol=1e-7, atol=1e-7)


EVEN: list[tuple[Function, float]] = [
    (lambda x: np.sqrt(x**2), -1.0),
    (lambda x: np.sqrt(x**4), -3.0),
    (lambda x: np.sqrt(x**6), -6.75),
    (lambda x: np.sqrt(np.square(x)), -1.0),
    (lambda x: x * np.sqrt(x**2), 3.0),
    (lambda x: x * np.sqrt(x**4), 6.75),
    (lambda x: x**3 * np.sqrt(x**6), 45.5625),
    (lambda x: np.cbrt(x**3), 1.0),
    (lambda x: np.cbrt(x**6), -3.0),
    (lambda x: np.cbrt(x**9), 6.75),
]


@pytest.mark.parametrize(("f", "want"), EVEN)
def test_an_even_root_of_an_even_power_has_a_sign(f: Function, want: float) -> None:
    """sqrt(x**2) is |x| and no power of x; sqrt(x**6) is |x|**3."""
    assert np.isclose(jitgrad.grad(f)(-1.5), want, rtol=1e-12)
    assert np.isclose(jitgrad.jvp(f, (-1.5,), (1.0,))[1], want, rtol=1e-12)


# --- roots of sums of squares


def length(x):
    return np.sqrt((x**2).sum())


def length_by_a_product(x):
    return (x @ x) ** 0.5


def length_by_numbers(x):
    return math.sqrt(x[0] * x[0] + 2.0 * x[1] ** 4 + np.square(x[2]) / 3.0)


def magnitudes(x):
    return np.sqrt(x**2).sum()


def deviation(x):
    return np.sqrt(np.mean((x - x.mean()) ** 2))


def distances(x):
    d = x[:, None] - x[None, :]
    return np.sqrt((d[..., None] ** 2).sum(-1)).sum()


def distances_in_loops(x):
    t = 0.0
    for i in range(len(x)):
        for j in range(len(x)):
            d = x[i] - x[j]
            t += np.sqrt(d * d)
    return t


@pytest.mark.parametrize(
    "f",
    [length, length_by_a_product, length_by_numbers, magnitudes, deviation, distances, distances_in_loops],
)
def test_the_root_of_a_sum_of_squares_is_flat_at_its_kink(f: Function) -> None:
    zero, x, h = np.zeros(3), np.array([1.0, -2.0, 0.5]), 1e-6
    assert np.array_equal(jitgrad.grad(f)(zero), zero)
    assert jitgrad.jvp(f, (zero,), (x,))[1] == 0.0
    gradient = jitgrad.grad(f)(x)
    assert np.allclose(gradient, [(f(x + h * e) - f(x - h * e)) / (2 * h) for e in np.eye(3)], atol=1e-7)
    assert np.isclose(jitgrad.jvp(f, (x,), (x,))[1], gradient @ x)


@pytest.mark.parametrize("way", [whole, one_by_one])
def test_the_root_of_the_square_of_a_root_is_no_kink(way: Callable[[Function], Function]) -> None:
    """sqrt(sqrt(x)**4) is x: what is squared is steep itself."""
    f = way(lambda x: np.sqrt(np.sqrt(x) ** 4))
    assert np.array_equal(jitgrad.grad(f)(np.zeros(2)), [1.0, 1.0])
    assert jitgrad.jvp(f, (np.zeros(2),), (np.ones(2),))[1] == 2.0


def test_a_number_and_an_array_share_a_factor() -> None:
    """The tangent of a number is multiplied by an array, and factors cancel: the product has the array's shape."""

    def f(x):
        r = np.sqrt(np.sum(x * x)) + 0.1
        return x / r**3

    x, t, h = np.array([1.0, -2.0, 0.5]), np.array([0.3, 1.0, -0.7]), 1e-6
    differences = (f(x + h * t) - f(x - h * t)) / (2 * h)
    assert np.allclose(jitgrad.jvp(f, (x,), (t,))[1], differences, rtol=1e-6)
