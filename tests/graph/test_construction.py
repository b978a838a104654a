"""What it costs to build an adjoint: linear in the number of ops, and some calls for each. Nothing is timed here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.adjoint import adjoint
from jitgrad.graph.diff.tangent import tangent
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.types import FLOAT64
from tests.graph.diff_bank import floats, loop, program


def summed(g: Builder, v: Value) -> Value:
    return g.reduce_sum(v, axes=tuple(range(v.array.rank)))


def calls(run: Callable[[], object]) -> int:
    """Return how many calls of Python functions and built-ins a run makes: its cost, on any machine."""
    count = 0

    def see(frame: object, event: str, arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    run()  # what is looked up once
    sys.setprofile(see)
    try:
        run()
    finally:
        sys.setprofile(None)
    return count


def chain(n: int) -> Graph:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        y = x
        for _ in range(n // 3):
            y = g.sin(g.multiply(g.add(y, x), x))
        return [summed(g, y)]

    return program([floats(3)], build)


def test_construction_is_linear() -> None:
    small, large = (calls(partial(adjoint, chain(n), [0])) for n in (300, 2400))
    assert large < 10 * small


@pytest.mark.parametrize("derive", [adjoint, tangent])
def test_straight_lines_take_few_calls_an_op(derive: Callable[..., Graph]) -> None:
    """A call takes some 50 ns: 180 are the nine microseconds that an op may cost."""
    assert calls(partial(derive, chain(999), [0])) < 180 * 999


def test_long_loop_bodies_are_linear_too() -> None:
    def build(n: int) -> Graph:
        def step(g: Builder, y: Value) -> Sequence[Value]:
            for _ in range(n // 2):
                y = g.sin(g.multiply(y, 1.1))
            return [y]

        return program([FLOAT64], lambda g, x: loop(g, 3, [x], lambda k, y: step(g, y)))

    small, large = (calls(partial(adjoint, build(n), [0])) for n in (300, 2400))
    assert large < 10 * small
