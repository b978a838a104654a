"""`np.arange` and `range` of which data decide the bounds and the step."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jitgrad
from tests.programs.harness import outcome, same


def check(function: Any, *calls: tuple[Any, ...]) -> None:
    compiled = jitgrad.jit(function)
    for args in calls:
        (kind, want), (found, got) = outcome(function, args), outcome(compiled, args)
        assert found == kind, (args, got, want)
        if kind == "raises":
            assert (type(got), str(got)) == (type(want), str(want)), args
        else:
            same(got, want, 0.0)


def test_steps_of_floats() -> None:
    rng = np.random.default_rng(0)
    calls: list[tuple[Any, ...]] = [(a, a + s * 7, s) for a, s in rng.normal(size=(30, 2)).tolist()]
    calls += [(0.1, 1.0, 0.1), (0.1, -1.0, -0.3), (1.0, 0.0, 0.5), (-0.0, 1.0, 0.25), (0.0, 1.0, 0.0)]
    calls += [(0.0, np.nan, 0.5), (0.0, np.inf, 0.5)]
    check(lambda a, b, h: np.arange(a, b, h), *calls)
    check(lambda n, h: np.arange(0, n, h), (3, 0.5), (4, 0.3), (0, 0.1))
    check(lambda b: np.arange(b), (3.5,), (4.0,), (-1.0,))


def test_a_time_grid_moves_with_its_step() -> None:
    def loss(y: float, end: float, dt: float) -> Any:
        t = np.arange(0, end, dt)
        for k in range(len(t) - 1):
            y = y - dt * y * np.cos(t[k])
        return y + t.sum()

    gradient = jitgrad.grad(loss, argnums=(0, 1, 2))
    for args in ((1.0, 1.0, 0.3), (1.5, 2.1, 0.17)):
        step = np.eye(3) * 1e-6
        want = [(loss(*(args + d)) - loss(*(args - d))) / 2e-6 for d in step]
        np.testing.assert_allclose(gradient(*args), want, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("step", [3.0, -2.0, 0.0])
def test_steps_of_ints_that_data_decide(step: float) -> None:
    v = np.array([step])
    check(lambda x, v: np.arange(0, 9, int(v[0])) * x, (2.0, v), (2.0, v + 5.0))
    check(lambda x, v: x in range(0, 9, int(v[0])), (6, v), (4, v), (9, v), (0, -v), (6.0, v), (-4, v))
