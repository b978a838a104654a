"""Exceptions that a program raises where data decide hold what Python's hold: numbers as numbers, of their kinds.

PYTEST_DONT_REWRITE: the assertions of the programs are to stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.options import OPTIONS


def one(x, k):
    if x[0] > 0:
        raise ValueError(k)
    return x.sum()


def several(x, k):
    if x[0] > 0:
        raise KeyError("{braces}", k, x[0], float(x[0]), x[0] > 0, None, True, 2.5)
    return x.sum()


def formatted(x, k):
    if x[0] > 0:
        raise RuntimeError(f"{x[0]:.3f} {k:d} {k:>5} {x[0]} {k / 3:8.2e}", k)
    return x.sum()


def a_pair(x, k):
    assert x[0] < 0, (k, "abc", (x[0],), f"{k}")
    return x.sum()


def an_assertion(x, k):
    assert x[0] < 0, k
    return x.sum()


def known(x, k):
    def inner():
        if x[0] > 0:
            raise KeyError("abc", 3, np.float32(0.1))
        return x.sum()

    return inner() + k


def by_a_mask(x, k):
    y = x[: int(k)]
    return y[x > 0].sum()


def stored_by_a_mask(x, k):
    y = np.ones((3, int(k)))
    y[:, x > 0] = 2.0
    return y.sum()


PROGRAMS = [one, several, formatted, a_pair, an_assertion, known, by_a_mask, stored_by_a_mask]


def outcome(f: Callable[..., Any], x: np.ndarray, k: Any) -> Any:
    """Return what a call gives, or the exception and what it holds, with kinds."""
    try:
        return float(f(x, k))
    except Exception as e:
        return type(e), repr(e.args), str(e)


@pytest.mark.parametrize("interpreted", [False, True])
@pytest.mark.parametrize("f", PROGRAMS, ids=lambda f: f.__name__)
def test_what_exceptions_hold(f: Callable[..., Any], interpreted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OPTIONS, "interpret", interpreted)
    compiled = jitgrad.jit(f)
    for first in (-1.0, 2.0):
        x = np.array([first, 0.5, -3.0])
        for k in (3, 2, np.int32(2), np.int64(3)):
            assert outcome(compiled, x, k) == outcome(f, x, k)


FORMS: list[Callable[[Any, Any], str]] = [
    lambda x, k: f"{x[0]!r} {x[0]} {x[0]!s:>9}|{x[0]!r:>30}|{x[0] > 1!r}",
    lambda x, k: "%s %r" % (x[0], x[1]),  # noqa: UP031
    lambda x, k: "{!r} {}".format(x[0], x[1]),  # noqa: UP032
    lambda x, k: str(x[0]) + repr(x[1]) + f"{(x[0], k)}",
    lambda x, k: f"{np.argmax(x)!r} {k!r} {len(x)!r} {float(x[0])!r}",
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.int8, np.bool_])
def test_numbers_of_numpy_are_shown_as_numpy_shows_them(form: Callable[[Any, Any], str], dtype: type) -> None:
    def f(x: np.ndarray, k: float) -> Any:
        if k > 0.0:
            raise ValueError(form(x, k))
        return 1.0

    x = (np.array([5.0, 1.0]) / 3).astype(dtype)
    assert outcome(jitgrad.jit(f), x, 0.1) == outcome(f, x, 0.1)
