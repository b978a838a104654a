"""Derivatives, to third order, of programs whose results have sizes that they compute themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.adjoint import adjoint
from jitgrad.graph.interpret import interpret
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.ops.shape import broadcast_to
from jitgrad.graph.types import FLOAT64, INT64, ListType
from jitgrad.graph.verify import verify
from tests.graph.diff_bank import loop, program, put
from tests.graph.diff_check import check_derivatives, forward, reverse

# Functions of n and x, in the terms of a graph.
Build = Callable[[Builder, Value, Value], Value]


def _more(g: Builder, n: Value) -> Value:
    made: Value = g.add(n, g.constant(np.int64(1)))
    return made


def appended(g: Builder, n: Value, x: Value) -> Value:
    """Return np.array of a list to which a loop appends."""

    def step(k: Value, items: Value, y: Value) -> Sequence[Value]:
        return [g.list_push(items, g.multiply(g.sin(y), x)), g.multiply(y, y)]

    items, _ = loop(g, n, [g.list_empty(type=ListType(FLOAT64)), x], step)
    made = g.list_to_array(items, g.list_length(items))
    return g.multiply(made, made)


def filled_in(g: Builder, n: Value, x: Value) -> Value:
    """Return np.zeros(n + 1) filled by a loop, from both ends of the loop's index."""
    size = _more(g, n)

    def step(k: Value, a: Value) -> Sequence[Value]:
        return [put(g, a, g.sin(g.multiply(x, g.cast(k, dtype="float64"))), k)]

    (a,) = loop(g, size, [broadcast_to(g, g.constant(0.0), (size,))], step)
    return g.multiply(a, g.multiply(a, x))


def square_matrix(g: Builder, n: Value, x: Value) -> Value:
    """Return a matrix both of whose sizes are one computed number."""
    size = _more(g, n)
    (a,) = loop(g, size, [broadcast_to(g, x, (size, size))], lambda k, a: [put(g, a, g.sin(x), k, k)])
    made: Value = g.matmul(a, a)
    return made


def listed(g: Builder, n: Value, x: Value) -> Value:
    """Return a list of arrays of a computed size."""
    size = _more(g, n)
    first = g.list_empty(type=ListType(FLOAT64.with_shape((size,))))

    def step(k: Value, items: Value, y: Value) -> Sequence[Value]:
        return [g.list_push(items, broadcast_to(g, g.multiply(g.sin(y), x), (size,))), g.multiply(y, y)]

    return loop(g, n, [first, x], step)[0]


def summed(build: Build) -> Build:
    def total(g: Builder, n: Value, x: Value) -> Value:
        made: Value = g.reduce_sum(build(g, n, x), axes=(0,))
        return made

    total.__name__ = f"sum of {build.__name__}"
    return total


PROGRAMS: list[Build] = [summed(appended), summed(filled_in), appended, filled_in, square_matrix]
STEPS = {"r": reverse, "f": forward}


def graph_of(build: Build) -> Graph:
    return program([INT64, FLOAT64], lambda g, n, x: [build(g, n, x)], ["n", "x"])


@pytest.mark.parametrize("n", [0, 1, 4])
@pytest.mark.parametrize("derived", ["", "r", "f", "rr", "rf", "fr", "ff"])
@pytest.mark.parametrize("build", PROGRAMS, ids=lambda b: b.__name__)
def test_both_modes_of_derivatives(build: Build, derived: str, n: int) -> None:
    rng = np.random.default_rng(0)
    graph, args = graph_of(build), [np.int64(n), np.float64(0.7)]
    for step in derived:
        graph, args = STEPS[step](graph, args, rng)
        verify(graph)
    assert check_derivatives(graph, args, rng, numeric=len(derived) < 2) < 1e-12


def test_lists_of_arrays_of_computed_sizes() -> None:
    graph = graph_of(listed)
    made = adjoint(graph, [1])
    verify(made)
    again = adjoint(made, [1], seeded=[1])
    verify(again)
    x, seeds = 0.7, [np.ones(4), np.full(4, 2.0), np.full(4, 3.0)]
    ys = [x, x**2, x**4]
    slopes = [1.0, 2 * x, 4 * x**3]
    want = sum(4 * w * (np.sin(y) + x * np.cos(y) * d) for w, y, d in zip((1, 2, 3), ys, slopes, strict=True))
    args = [np.int64(3), x, np.int64(4), seeds]
    assert interpret(made, args)[-1] == pytest.approx(want)
    h = 1e-6
    above, below = (interpret(made, [np.int64(3), x + s * h, np.int64(4), seeds])[-1] for s in (1, -1))
    assert interpret(again, [*args, 1.0])[-1] == pytest.approx((above - below) / (2 * h), rel=1e-6)


@pytest.mark.parametrize("build", [appended, filled_in, square_matrix])
def test_a_cotangent_has_a_size_of_its_own(build: Build) -> None:
    """The sizes come before the cotangent, and a wrong one is an error, not a wrong number."""
    made = adjoint(graph_of(build), [1])
    rank = made.args[-1].array.rank
    assert [a.type for a in made.args[2:-1]] == [INT64] * rank
    assert list(made.args[-1].shape) == made.args[2:-1]
    with pytest.raises(ValueError, match="a cotangent has the size 7 where"):
        interpret(made, [np.int64(4), 0.7, *[np.int64(7)] * rank, np.ones((7,) * rank)])


def test_sizes_that_are_arguments_need_no_others() -> None:
    graph = Graph("scaled", [INT64, FLOAT64], ["n", "x"])
    g = Builder(graph)
    graph.yields = [g.multiply(broadcast_to(g, graph.args[1], (graph.args[0],)), 2.0)]
    assert len(adjoint(graph, [1]).args) == 3
