"""Arrays that a function reads from its module and stores to, wherever it first meets them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.errors import UnsupportedError

TABLE = np.arange(4.0)


class Held:
    table = TABLE


def first_in_a_loop(x: float) -> Any:
    t = 0.0
    for k in range(4):
        t += TABLE[k] * x
        TABLE[3] += 1.0
    return t


def first_in_a_branch(x: float) -> Any:
    t = 0.0
    if x > 1:
        TABLE[2] = 5.0
    return t + TABLE[2]


def on_one_path_read_on_the_other_stored(x: float) -> Any:
    t = 0.0
    while t < 3:
        if x > 1:
            t += TABLE[2]
            TABLE[2] += 1.0
        else:
            TABLE[0] = 1.0
            t += 1.0
    return t


def through_a_class(x: float) -> Any:
    for k in range(3):
        Held.table[k] *= x
    return TABLE.sum()


FUNCTIONS = [first_in_a_loop, first_in_a_branch, on_one_path_read_on_the_other_stored, through_a_class]


@pytest.mark.parametrize("x", [0.5, 2.0])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_stores(function: Callable[[float], Any], x: float) -> None:
    def run(call: Callable[[float], Any]) -> tuple[Any, Any]:
        TABLE[:] = np.arange(4.0)
        return call(x), TABLE.copy()

    got, want = run(jitgrad.jit(function)), run(function)
    assert got[0] == want[0]
    assert (got[1] == want[1]).all()
    TABLE[:] = np.arange(4.0)
    slope = jitgrad.grad(function)(x)
    assert (np.arange(4.0) == TABLE).all()
    differences = [run(lambda x, h=h: function(x + h))[0] for h in (1e-6, -1e-6)]
    assert slope == pytest.approx((differences[0] - differences[1]) / 2e-6, abs=1e-6)


def test_what_a_generator_reads_before_it_is_stored_to() -> None:
    def items() -> Iterator[Any]:
        for k in range(4):
            yield TABLE[k]

    def f(x: float) -> Any:
        t = 0.0
        for v in items():
            t += v * x
            TABLE[3] += 1.0
        return t

    with pytest.raises(UnsupportedError, match="JG247"):
        jitgrad.jit(f)(1.0)


@pytest.mark.parametrize("transform", ["jit", "vjp"])
def test_an_argument_is_stored_to_beside_an_array_from_outside(transform: str) -> None:
    outside = np.arange(4.0)

    def f(x: np.ndarray, y: np.ndarray) -> Any:
        x[0] = 2.0
        y += outside * x
        return x @ outside

    call = jitgrad.jit(f) if transform == "jit" else lambda x, y: jitgrad.vjp(f, x, y)[0]
    for change in (0.0, 1.0, 5.0):
        outside += change
        mine, its = (np.ones(4), np.full(4, 3.0)), (np.ones(4), np.full(4, 3.0))
        assert call(*mine) == f(*its)
        if transform == "jit":
            np.testing.assert_array_equal(mine, its)
            with pytest.raises(jitgrad.JitgradError, match=r"JG108.*shares memory"):
                call(np.ones(4), outside)
            with pytest.raises(jitgrad.JitgradError, match=r"JG108.*shares memory"):
                call(outside[::-1], np.ones(4))
