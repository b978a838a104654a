"""NumPy's functions of what a mask selects: the number of elements is known when it runs, none and one among them.

One compile serves all masks; values, exceptions and gradients are compared with NumPy and with differences.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad

# Three, four, two, one and no elements above zero.
INPUTS = [
    np.array(x)
    for x in (
        [1.0, -1.0, 2.5, 3.0, -2.0],
        [1.0, 2.0, 4.0, -1.0, 5.0],
        [1.0, -1.0, -1.0, 2.0, -1.0],
        [-1.0, 1.5, -1.0, -1.0, -1.0],
        [-1.0, -1.0, -1.0, -1.0, -1.0],
    )
]
AT = np.array([-1.0, 0.9, 1.2, 1.6, 2.1, 2.9, 5.1, 7.0])  # beside the points: those are kinks

FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "interp": lambda s: np.interp(AT, s, s**2),
    "interp beyond": lambda s: np.interp(AT + 0.1 * np.sum(s), s, np.sin(s), left=-1.0, right=9.0),
    "cov": np.cov,
    "cov of rows": lambda s: np.cov(np.stack([s, s**2]), ddof=0),
    "corrcoef": lambda s: np.corrcoef(s, s**3),
    "gradient": lambda s: np.gradient(s**2, 0.5),
    "gradient over points": lambda s: np.gradient(s**3, s),
    "gradient of second order": lambda s: np.gradient(s**3, edge_order=2),
    "gradient of second order over points": lambda s: np.gradient(s**3, s, edge_order=2),
    "convolve": lambda s: np.convolve(s, [1.0, 2.0, 0.5]),
    "convolve with it": lambda s: np.convolve([1.0, 2.0], s),
    "sorted": lambda s: sorted(-s),
    "sorted by a key": lambda s: sorted(s, key=lambda v: (v - 2.2) ** 2)[:2],
    "trapezoid": lambda s: np.trapezoid(s**2, s) if hasattr(np, "trapezoid") else np.trapz(s**2, s),
    "diff": lambda s: np.diff(s**2),
    "std": lambda s: np.std(s, ddof=1),
}


def outcome(f: Callable[..., Any], x: np.ndarray) -> Any:
    try:
        with np.errstate(all="ignore"):
            return f(x)
    except (IndexError, TypeError, ValueError) as exception:
        return exception


@pytest.mark.filterwarnings("ignore:Degrees of freedom", "ignore:Mean of empty slice")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_exceptions_and_gradients(name: str) -> None:
    function = FUNCTIONS[name]

    def selected(x: Any) -> Any:
        return function(x[x > 0])

    def number(x: Any) -> Any:
        return np.sum(np.sin(np.array(selected(x))))

    compiled, gradient = jitgrad.jit(selected), jitgrad.grad(number)
    for x in INPUTS:
        got, want = outcome(compiled, x), outcome(selected, x)
        assert type(got) is type(want)
        if isinstance(want, Exception):
            assert str(got) == str(want)
            continue
        assert np.shape(got) == np.shape(want)
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)
        if np.size(want) and np.isfinite(want).all():
            slopes = [(number(x + d) - number(x - d)) / 2e-6 for d in np.eye(x.size) * 1e-6]
            np.testing.assert_allclose(gradient(x), slopes, rtol=1e-5, atol=1e-5)
    assert compiled.stats()["compiled"] == 1


def test_interpolation_of_nan_by_one_point() -> None:
    def f(x: np.ndarray, at: np.ndarray) -> Any:
        return np.interp(at, x[x > 0], x[x > 0] + 1.0)

    compiled = jitgrad.jit(f)
    at = np.array([np.nan, 0.0, 2.0])
    for x in INPUTS[:4]:
        np.testing.assert_array_equal(compiled(x, at), f(x, at))


X = np.array([1.0, 2.0, 3.0])
M = np.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize(
    ("function", "calls"),
    [
        (lambda x, n: np.repeat(x, n), [(X, 2), (X, 0), (X, 5), (X, -1)]),
        (lambda x, n: np.repeat(x[:2] * x[2], n), [(X, np.array(n)) for n in ([1, 2], [0, 0], [4, 0], [3, -1])]),
        (lambda x, n: np.repeat(x, n), [(X, np.array(n)) for n in ([1, 2], [2, 2])]),
        (lambda x, n: np.repeat(x, n), [(X, np.array([3])), (X, np.array([1]))]),
        (lambda x, n: np.repeat(x, n), [(X, np.array([1.0, 2.0, 3.0]))]),
        (lambda x, n: np.repeat(x, n, axis=1), [(M, np.array([1, 0, 2])), (M, np.array([0, 3, 1]))]),
        (lambda x, n: np.repeat(x, n, axis=0), [(M, 2), (M, 1), (M, 0)]),
        (lambda x, n: np.repeat(x, [n, 1, n]), [(X, 3), (X, 0)]),
        (lambda x, n: x[x > n].repeat(2), [(X, 0.5), (X, 1.5), (X, 3.5)]),
        (lambda x, n: np.repeat(x[x > n], np.arange(len(x[x > n]))), [(X, 0.5), (X, 1.5), (X, 2.5), (X, 3.5)]),
    ],
)
def test_counts_of_repeat_are_run_time_numbers(function: Callable[..., Any], calls: Any) -> None:
    compiled, pulled = jitgrad.jit(function), jitgrad.grad(lambda x, n: np.sum(np.sin(function(x, n))))
    for x, n in calls:
        got, want = (outcome(lambda x, f=f, n=n: f(x, n), x) for f in (compiled, function))
        if isinstance(want, Exception):
            assert (type(got), str(got)) == (type(want), str(want))
            continue
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)
        if want.size:
            step = 1e-6 * np.cos(np.arange(x.size)).reshape(x.shape)
            slope = (np.sin(function(x + step, n)) - np.sin(function(x - step, n))).sum() / 2.0
            assert (pulled(x, n) * step).sum() == pytest.approx(slope, rel=1e-5, abs=1e-12)
    assert compiled.stats()["compiled"] <= 1


def test_counts_of_repeat_that_are_no_integers_are_refused() -> None:
    for counts in ([1.5, 1.0, 2.0], 2.0):
        with pytest.raises(jitgrad.UnsupportedError, match="JG236"):
            jitgrad.jit(lambda x, counts=counts: np.repeat(x, counts))(X)
