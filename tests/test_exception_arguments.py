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
