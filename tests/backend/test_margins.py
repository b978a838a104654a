"""Arrays with margins: the vectors within, the borders, the tails, and memory that must not be touched."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import jitgrad.graph.ops  # noqa: F401  (declares the primitives)
from jitgrad.backend.loops import Coord, Node
from jitgrad.backend.margins import inside_of
from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.ops.index import Pick, Span, load
from jitgrad.graph.ops.shape import broadcast_to, move_axes, surround_by
from jitgrad.graph.types import FLOAT64, INT64, ArrayType
from tests.backend.native import Native, check


def draw(*shape: int, dtype: str = "float64") -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(dtype)


def nests(native: Native) -> list[str]:
    return [line for line in native.body.notes.splitlines() if "nest:" in line]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("n", [1, 3, 8, 31, 64, 100, 257])
def test_shifted_sums_of_a_row(n: int, dtype: str) -> None:
    kind = np.dtype(dtype)
    graph = Graph("f", [ArrayType(kind, (n + 4,)), ArrayType(kind, (n,)), ArrayType(kind, ())])
    total, x, k = graph.args
    g = Builder(graph)
    scaled = g.multiply(x, k)
    for start in (0, 1, 4):
        total = g.add(total, surround_by(g, scaled, (start,), (n + 4,)))
    graph.yields = [total]
    native = check(graph, draw(n + 4, dtype=dtype), draw(n, dtype=dtype), 0.75)
    assert len(nests(native)) == 1


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (2, 40), (40, 2), (17, 33), (40, 100)])
def test_shifted_sums_of_a_matrix(n: int, m: int, order: str) -> None:
    graph = Graph("f", [FLOAT64.with_shape((n + 2, m + 2)), FLOAT64.with_shape((n, m))])
    total, x = graph.args
    g = Builder(graph)
    for start in ((0, 1), (1, 0), (1, 1), (1, 2), (2, 1)):
        total = g.add(total, surround_by(g, g.multiply(x, x), start, (n + 2, m + 2)))
    graph.yields = [total]
    check(graph, np.asarray(draw(n + 2, m + 2), order=order), np.asarray(draw(n, m), order=order))


def test_every_margin_of_every_size() -> None:
    for n, low, high in itertools.product((0, 1, 7, 24, 25), (0, 1, 9), (0, 2, 17)):
        graph = Graph("f", [FLOAT64.with_shape((n,))])
        g = Builder(graph)
        graph.yields = [surround_by(g, g.add(graph.args[0], 1.0), (low,), (low + n + high,))]
        native = check(graph, draw(n), exact=True)
        (found,) = native(draw(n), shapes=[(low + n + high,)])
        assert np.signbit(found[:low]).all() and np.signbit(found[low + n :]).all(), "zeros that change nothing"


@pytest.mark.parametrize("n", [5, 40])
def test_within_margins_of_margins_and_through_other_ops(n: int) -> None:
    graph = Graph("f", [FLOAT64.with_shape((n,)), FLOAT64.with_shape((n, 3)), INT64])
    x, y, k = graph.args
    g = Builder(graph)
    twice = surround_by(g, surround_by(g, g.sin(x), (1,), (n + 3,)), (2,), (n + 9,))
    column = surround_by(g, load(g, y, [Span(n - 1, -1, n), Pick(k)]), (4,), (n + 9,))
    turned = surround_by(g, move_axes(g, y, (1, 0)), (1, 3), (5, n + 9))
    wide = surround_by(g, broadcast_to(g, x, (3, n)), (2, 0), (5, n + 9))
    graph.yields = [g.add(g.add(twice, column), g.add(turned, wide)), g.reduce_sum(turned, axes=(1,))]
    for at in range(3):
        check(graph, draw(n), draw(n, 3), at)


def test_what_is_expensive_is_computed_once() -> None:
    graph = Graph("f", [FLOAT64.with_shape((100,))])
    g = Builder(graph)
    s = g.sin(graph.args[0])
    graph.yields = [g.subtract(load(g, s, [Span(2, 1, 98)]), load(g, s, [Span(0, 1, 98)]))]
    assert len(nests(check(graph, draw(100)))) == 2


def test_an_index_outside_is_not_used() -> None:
    graph = Graph("f", [FLOAT64.with_shape((5,)), INT64.with_shape((40,))])
    g = Builder(graph)
    graph.yields = [surround_by(g, g.gather(*graph.args), (3,), (50,))]
    check(graph, draw(5), np.arange(40) % 5, exact=True)


@pytest.mark.parametrize("n", [0, 1, 30])
def test_a_size_at_run_time(n: int) -> None:
    graph = Graph("f", [INT64])
    size = graph.args[0]
    x = graph.add_arg(FLOAT64.with_shape((size,)))
    g = Builder(graph)
    whole = g.add(size, 2)
    total: Value = g.cast(g.iota(whole, dtype=np.dtype(np.int64), shape=(None,)), dtype=np.dtype(float))
    for start in (0, 1, 2):
        total = g.add(total, surround_by(g, x, (start,), (whole,)))
    graph.yields = [total]
    check(graph, n, draw(n))


def test_which_vectors_are_inside() -> None:
    def asks(offset: int, size: int, dims: int) -> Node:
        return Node("inside", np.dtype(bool), payload=(Coord(offset, dims.bit_length() - 1, 1), size), dims=dims)

    row, left, right = asks(0, 5, 0b01), asks(-3, 50, 0b10), asks(4, 50, 0b10)
    assert inside_of([row, left, right], 1, 8) == (1, [(50, -3), (50, 4)], [row])
    assert inside_of([left, asks(-9, 48, 0b10)], 1, 8) == (2, [(50, -3), (48, -9)], [])
    assert inside_of([], 1, 8) is None
