"""What it costs to build an adjoint: linear in the number of ops, and a few microseconds for each."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pytest

from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.adjoint import adjoint
from jitgrad.graph.diff.tangent import tangent
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.types import FLOAT64
from tests.graph.diff_bank import floats, loop, program


def summed(g: Builder, v: Value) -> Value:
    return g.reduce_sum(v, axes=tuple(range(v.array.rank)))


def least(run: Callable[[], object], repeats: int) -> float:
    """Return the least processor time of some runs."""
    best = np.inf
    for _ in range(repeats):
        start = time.process_time()
        run()
        best = min(best, time.process_time() - start)
    return best


def ordinary(run: Callable[[], object], repeats: int) -> float:
    """Return the processor time of a run on a machine that makes 25 million additions a second; without collections."""

    def count() -> None:
        x = 0
        for i in range(250_000):
            x += i

    gc.disable()
    try:
        return min(least(run, 1) / least(count, 1) for _ in range(repeats)) * 0.01
    finally:
        gc.enable()


def chain(n: int) -> Graph:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        y = x
        for _ in range(n // 3):
            y = g.sin(g.multiply(g.add(y, x), x))
        return [summed(g, y)]

    return program([floats(3)], build)


def test_construction_is_linear() -> None:
    graphs = chain(300), chain(2400)
    small, large = (least(partial(adjoint, graph, [0]), 3) for graph in graphs)
    assert large < 32 * small  # quadratic would be 64


@pytest.mark.parametrize(("size", "limit"), [(30, 1.5e-3), (1000, 30e-3)])
@pytest.mark.parametrize("derive", [adjoint, tangent])
def test_straight_lines_take_microseconds_an_op(derive: Callable[..., Graph], size: int, limit: float) -> None:
    graph = chain(size)
    assert ordinary(partial(derive, graph, [0]), 20) < limit


def test_long_loop_bodies_are_linear_too() -> None:
    def build(n: int) -> Graph:
        def step(g: Builder, y: Value) -> Sequence[Value]:
            for _ in range(n // 2):
                y = g.sin(g.multiply(y, 1.1))
            return [y]

        return program([FLOAT64], lambda g, x: loop(g, 3, [x], lambda k, y: step(g, y)))

    def seconds(graph: Graph) -> float:
        start = time.process_time()
        adjoint(graph, [0])
        return time.process_time() - start

    graphs = [build(300), build(2400)]
    assert seconds(graphs[1]) < 32 * min(seconds(graphs[0]) for _ in range(3))
