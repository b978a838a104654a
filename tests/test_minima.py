"""A root of what does not pass the border of its domain is at a minimum there: its derivative is 0, not 0 * infinity.

A table of functions that have a derivative on both sides though a factor of the chain rule is infinite, by way of
memory, loops, branches and lists; both modes are compared with differences. Where the mathematics give no such proof
the derivative must not be an invented 0: that list is at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad

Function = Callable[..., Any]


def squares_in_memory(x):
    s = np.zeros(2)
    for i in range(2):
        s[i] = x[i] ** 4
    t = 0.0
    for i in range(2):
        t += np.sqrt(s[i])
    return t


def a_sum_of_stored_squares(x):
    s = np.zeros(2)
    for i in range(2):
        s[i] += x[i] * x[i]
    return np.sqrt(s[0] + s[1]) ** 3


def roots_in_memory(x):
    s = np.zeros(2)
    for i in range(2):
        s[i] = (1.0 - np.cos(x[i])) ** (1 / 3)
    t = 0.0
    for i in range(2):
        t += s[i] ** 2
    return t * t


def roots_in_a_list(x):
    s = []
    for v in x:
        s.append(np.sqrt(np.abs(v)))
    t = 0.0
    for v in s:
        t += np.log1p(v) ** 4
    return t


def carried(x):
    p = np.sqrt(np.sqrt(x[0] ** 2 + x[1] ** 4))
    t = p
    for _ in range(3):
        t = t * p
    return t


def a_branch_beside(x):
    y = x[1] ** 2 if x[1] > 0.5 else x[1] ** 4
    return np.sqrt(y + x[0] ** 4)


def grown_in_a_while(x):
    s, k = x[0] ** 2, 0
    while k < 3:
        s += x[1] ** 2 * s
        k += 1
    return np.sqrt(s) ** 3


def mean_of_squares(x):
    y = x[: len(x)] ** 2
    return np.sqrt(np.mean(y) + np.max(y)) ** 3


TWO_SIDED: list[Function] = [
    squares_in_memory,
    a_sum_of_stored_squares,
    roots_in_memory,
    roots_in_a_list,
    carried,
    a_branch_beside,
    grown_in_a_while,
    mean_of_squares,
    lambda x: np.sqrt(x[0] ** 2 * x[1] ** 2) ** 2,
    lambda x: np.sqrt(1.0 - np.cos(x[0])) ** 3,
    lambda x: np.sqrt(np.cosh(x[0]) - 1.0) * x[1] ** 2,
    lambda x: np.log1p(np.arccosh(1.0 + x[0] ** 4)),
    lambda x: np.arccos(1.0 - x[0] ** 4) + np.arcsin(1.0 - x[1] ** 4),
    lambda x: np.arccos(np.minimum(1.0, np.cos(x[0]))) ** 3,
    lambda x: np.sqrt(np.hypot(x[0], x[1]) ** 3) ** 2,
    lambda x: np.cbrt(np.expm1(x[0] ** 2)) ** 2,
    lambda x: (np.abs(x[0]) + np.abs(x[1])) ** 0.3 * x[0] ** 2,
    lambda x: np.linalg.norm(np.array([np.sqrt(np.abs(x[0])), x[1], 0.0])) ** 4,
    lambda x: np.log(1.0 + x[1] ** 2) + np.sqrt(np.log(2.0 + x[0]) ** 2 + x[1] ** 4),
    lambda x: np.sqrt(np.maximum(x[0] - 3.0, 0.0)) + x[1],
    lambda x: np.arctan2(np.sqrt(np.abs(x[0])) ** 3, 1.0 + x[1] ** 2),
    lambda x: np.hypot(np.cbrt(x[0] ** 3), x[1]) ** 2,
]


@pytest.mark.parametrize("f", TWO_SIDED)
def test_the_derivative_is_that_of_differences(f: Function) -> None:
    gradient = jitgrad.grad(f)
    for x in ([0.0, 0.0], [0.0, 0.7], [-0.7, 0.0], [0.6, -0.4]):
        x, h = np.array(x), 1e-6
        made = gradient(x)
        for k, e in enumerate(np.eye(2)):
            sides = (f(x + h * e) - f(x)) / h, (f(x) - f(x - h * e)) / h
            if abs(sides[0] - sides[1]) > 1e-2:
                assert min(sides) <= made[k] <= max(sides)  # a kink
                continue
            forward = jitgrad.jvp(f, (x,), (e,))[1]
            assert np.allclose([made[k], forward], sum(sides) / 2, rtol=1e-4, atol=1e-4), (x, k, made, forward)


@pytest.mark.parametrize("f", TWO_SIDED[:4])
def test_second_order(f: Function) -> None:
    gradient, x, d, h = jitgrad.grad(f), np.array([0.6, -0.4]), np.array([0.3, 1.0]), 1e-6
    differences = (gradient(x + h * d) - gradient(x - h * d)) / (2 * h)
    assert np.allclose(jitgrad.jvp(gradient, (x,), (d,))[1], differences, rtol=1e-5)
    assert np.isfinite(jitgrad.jvp(gradient, (np.zeros(2),), (d,))[1]).all()


@pytest.mark.parametrize(
    "f",
    [
        lambda x: np.sign(x) * np.sqrt(np.abs(x)),  # infinitely steep
        lambda x: np.where(x > 0, 1.0, -1.0) * np.sqrt(np.abs(x)),
        lambda x: np.sqrt(np.abs(x)) if x > 0 else -np.sqrt(np.abs(x)),
        lambda x: np.cbrt(x) * np.sqrt(np.abs(x)),
        lambda x: np.log1p(np.sqrt(np.sqrt(x) ** 4)),  # x to first order, and ends at 0
        lambda x: np.sqrt(np.exp(np.log(x)) ** 2),
        lambda x: np.hypot(np.sqrt(x), 0.0) ** 2,
        lambda x: np.sqrt(np.expm1(x)),
        lambda x: np.sqrt(x * x if x > 1.0 else x),
        lambda x: np.sqrt(np.where(x > 1.0, x * x, x)),
        lambda x: np.arccos(1.0 - x),
    ],
)
def test_what_is_not_at_a_minimum_gets_no_zero(f: Function) -> None:
    with np.errstate(all="ignore"):
        assert jitgrad.grad(f)(0.0) != 0.0
        assert jitgrad.jvp(f, (0.0,), (1.0,))[1] != 0.0


def test_an_element_that_is_added_to_twice_passes_the_bound_of_one_term() -> None:
    def f(x: np.ndarray) -> Any:
        a = np.ones(2)
        np.add.at(a, np.array([0, 0]), np.clip(x, -1.0, 1.0))
        return np.sqrt(a[0])

    x = np.array([-0.5, -0.5])  # 1 + x[0] + x[1] is 0, and less beside it
    assert not np.isfinite(jitgrad.grad(f)(x)).any()
    assert not np.isfinite(jitgrad.jvp(f, (x,), (np.ones(2),))[1])


def crossing(y: Any) -> Any:
    """Return what is infinitely steep where y is 0, and no minimum if y is less beside it."""
    return np.log1p(np.cbrt(y))


@pytest.mark.parametrize("product", [np.prod, lambda y: np.cumprod(y)[-1]])
def test_a_product_of_factors_is_less_than_the_least_of_them(product: Function) -> None:
    def f(x: np.ndarray) -> Any:
        return crossing(product(np.clip(x, 0.5, 1.0)) - 0.5)

    x = np.array([0.8, 0.625])
    assert f(x) == 0.0
    assert np.isinf(jitgrad.grad(f)(x)).all()
    assert np.isinf(jitgrad.jvp(f, (x,), (np.ones(2),))[1])


@pytest.mark.parametrize("f", [lambda x, v: np.fmax(np.abs(v), x), lambda x, v: -np.fmin(-np.abs(v), -x)])
def test_what_is_no_number_has_no_bounds(f: Function) -> None:
    assert jitgrad.grad(lambda x, v: crossing(f(x, v)))(0.0, np.nan) == np.inf


def test_a_constant_is_a_number() -> None:
    assert jitgrad.grad(lambda x: crossing(np.fmax(x, 0.0)) ** 3)(0.0) == 0.0
    assert jitgrad.grad(lambda x: crossing(-np.fmin(0.0, x)) ** 3)(0.0) == 0.0


def test_bounds_are_rounded_as_numbers_are() -> None:
    """0.1 + 0.2 - 0.3 is 0 of float32, and less with more digits."""

    def f(x: Any) -> Any:
        return crossing(np.abs(x) + np.float32(0.1) + np.float32(0.2) - np.float32(0.3)) ** 3

    def g(x: Any) -> Any:
        return np.arccosh((x * x + (1.0 + 1e-12)).astype(np.float32)) ** 2

    assert jitgrad.grad(f)(np.float32(0.0)) == 0.0
    assert jitgrad.grad(lambda x: np.sum(g(x)))(np.zeros(2)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("exponent", [np.inf, -np.inf, np.nan])
def test_exponents_that_are_no_finite_numbers_make_no_bounds(exponent: float) -> None:
    with np.errstate(all="ignore"):
        assert not np.isfinite(jitgrad.grad(lambda x: np.sqrt(x) * np.power(x, exponent))(4.0))
        made = jitgrad.grad(lambda x: np.cbrt(np.abs(x) ** exponent) ** 2)(1.5)
    assert made == 0.0 if exponent < 0 else not np.isfinite(made)
