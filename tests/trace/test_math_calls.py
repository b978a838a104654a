"""The `math` module: results, kinds and exceptions of the running version, over ordinary and extreme numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.errors import UnsupportedError
from tests.trace.calling import check, traced_call

NUMBERS = [0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 2.5, -2.5, 1e3, -1e3, 1e308, -1e308, math.inf, -math.inf, math.nan]

ONE: list[Callable[[Any], Any]] = [
    lambda x: math.sin(x),
    lambda x: math.cos(x),
    lambda x: math.tan(x),
    lambda x: math.asin(x),
    lambda x: math.acos(x),
    lambda x: math.atan(x),
    lambda x: math.sinh(x),
    lambda x: math.cosh(x),
    lambda x: math.tanh(x),
    lambda x: math.asinh(x),
    lambda x: math.acosh(x),
    lambda x: math.atanh(x),
    lambda x: math.exp(x),
    lambda x: math.exp2(x),
    lambda x: math.expm1(x),
    lambda x: math.log(x),
    lambda x: math.log(x, 2.0),
    lambda x: math.log2(x),
    lambda x: math.log10(x),
    lambda x: math.log1p(x),
    lambda x: math.sqrt(x),
    lambda x: math.cbrt(x),
    lambda x: math.fabs(x),
    lambda x: math.erf(x),
    lambda x: math.erfc(x),
    lambda x: math.degrees(x),
    lambda x: math.radians(x),
    lambda x: math.isnan(x),
    lambda x: math.isinf(x),
    lambda x: math.isfinite(x),
    lambda x: math.modf(x),
    lambda x: math.pow(x, 2.0),
    lambda x: math.pow(x, 0.5),
    lambda x: math.pow(2.0, x),
    lambda x: math.pow(x, -1.0),
    lambda x: math.fmod(x, 0.7),
    lambda x: math.fmod(1.0, x),
    lambda x: math.atan2(x, 1.0),
    lambda x: math.atan2(-1.0, x),
    lambda x: math.copysign(3.0, x),
    lambda x: math.hypot(x, 2.0),
    lambda x: math.hypot(x),
    lambda x: math.hypot(x, 1.0, 2.0),
    lambda x: math.dist([x, 1.0], [2.0, 3.0]),
    lambda x: math.ldexp(x, 3),
    lambda x: math.isclose(x, 0.5),
    lambda x: math.isclose(x, 2.5, rel_tol=0.3),
    lambda x: math.prod([x, 2.0, x]),
]
TO_INT: list[Callable[[Any], Any]] = [math.floor, math.ceil, math.trunc, int]


@pytest.mark.parametrize("x", NUMBERS)
@pytest.mark.parametrize("k", range(len(ONE)))
def test_functions_of_one_float(k: int, x: float) -> None:
    check(ONE[k], (x,), rtol=1e-15)


@pytest.mark.parametrize("x", [np.float64(0.5), np.float32(0.25), np.array(0.75), 3, True, np.int64(2)])
@pytest.mark.parametrize("k", range(0, len(ONE), 3))
def test_arguments_of_other_kinds(k: int, x: Any) -> None:
    check(ONE[k], (x,), rtol=1e-15)


@pytest.mark.parametrize("function", TO_INT)
@pytest.mark.parametrize("x", [0.0, 2.5, -2.5, 1e15, -0.3, 7, True, math.nan, math.inf, -math.inf, np.float64(3.7)])
def test_to_int(function: Callable[[Any], Any], x: Any) -> None:
    check(lambda v: function(v), (x,))


def test_wrong_arguments() -> None:
    check(lambda x: math.sin([x]), (0.5,))
    check(lambda x: math.sin(x), (np.ones(3),))
    check(lambda x: math.sqrt("a"), (0.5,))


def test_constants_are_known() -> None:
    check(lambda x: x * math.pi + math.e + math.tau, (0.5,))
    check(lambda x: math.sqrt(2.0) * x + math.factorial(5) + math.comb(5, 2) + math.gcd(12, 18), (0.5,))


@pytest.mark.parametrize("name", ["remainder", "fsum"])
def test_refused_by_name(name: str) -> None:
    function = getattr(math, name)
    arguments: Any = (lambda x: ([x, 1.0],)) if name == "fsum" else (lambda x: (x, 1.0))
    with pytest.raises(UnsupportedError, match=f"math.{name}"):
        traced_call(lambda x: function(*arguments(x)), 0.5)


@pytest.mark.parametrize("function", [math.gamma, math.lgamma])
def test_gamma(function: Any) -> None:
    for x in (0.3, 1.0, 1.7, 2.0, 5.0, 30.5, 170.0, -0.5, -7.3, 0.0, -3.0, 200.0, math.inf, -math.inf, math.nan, 3):
        check(lambda x: function(x), (x,), 1e-13)
    check(lambda x: function(np.float64(x)) + function(x), (2.5,), 1e-13)
    for x in (0.3, 1.7, 5.0, -0.5, 12.0):
        slope = (function(x + 1e-6) - function(x - 1e-6)) / 2e-6
        np.testing.assert_allclose(jitgrad.grad(lambda x: function(x))(x), slope, rtol=1e-6)
