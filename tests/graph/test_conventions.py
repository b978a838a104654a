"""Every row of the convention table, in reverse and in forward mode, through the graph interpreter."""

from __future__ import annotations

import numpy as np
import pytest

from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.adjoint import adjoint
from jitgrad.graph.diff.tangent import tangent
from jitgrad.graph.interpret import interpret
from jitgrad.graph.ir import Graph
from jitgrad.graph.ops.conventions import CONVENTIONS, Convention, apply
from jitgrad.graph.primitive import PRIMITIVES, Masked, Partial, Partials
from jitgrad.graph.types import BOOL, FLOAT64
from tests.graph.registry_elementwise import arity


def graph_of(row: Convention) -> Graph:
    graph = Graph(row.op, [FLOAT64.with_shape(np.shape(p)) for p in row.point])
    graph.yields = [apply(Builder(graph), row.op, *graph.args)]
    return graph


def points(row: Convention) -> list[np.ndarray]:
    return [np.array(p) for p in row.point]


def ids(row: Convention) -> str:
    return f"{row.op}{row.point}"


@pytest.mark.parametrize("row", CONVENTIONS, ids=ids)
def test_reverse_mode(row: Convention) -> None:
    graph = graph_of(row)
    wrt = range(len(row.point))
    out = interpret(graph, points(row))[0]
    ct = np.arange(1.0, out.size + 1.0).reshape(out.shape)
    made = interpret(adjoint(graph, wrt), [*points(row), ct])[1:]
    for ours, wanted in zip(made, row.ours, strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-15)


@pytest.mark.parametrize("row", CONVENTIONS, ids=ids)
def test_forward_mode(row: Convention) -> None:
    """By each operand alone, one element at a time: forward mode takes no sums with infinite or NaN neighbours."""
    graph = graph_of(row)
    for i, wanted in enumerate(row.ours):
        forward = tangent(graph, [i])
        flat = np.atleast_1d(np.asarray(wanted, dtype=float))
        for k, value in enumerate(flat):
            t = np.zeros(flat.size)
            t[k] = 1.0
            moved = interpret(forward, [*points(row), t.reshape(np.shape(row.point[i]))])[1]
            weights = np.arange(1.0, moved.size + 1.0).reshape(moved.shape)
            np.testing.assert_allclose(np.sum(weights * moved), value, rtol=1e-15)


def test_a_square_of_a_root_cancels_in_reverse_mode() -> None:
    """sqrt(x)**2 has derivative 1 at 0, though the root's is infinite there and the square's 0."""
    graph = Graph("square", [FLOAT64])
    g = Builder(graph)
    graph.yields = [g.square(g.sqrt(graph.args[0]))]
    assert interpret(adjoint(graph, [0]), [np.array(0.0), np.array(1.0)])[1] == 1.0


@pytest.mark.parametrize("name", [n for n, p in PRIMITIVES.items() if isinstance(p.derivative, Partials)])
def test_the_table_names_every_op_whose_partial_chooses(name: str) -> None:
    """A primitive whose partials are masked or flat has a row."""
    p = PRIMITIVES[name]
    graph = Graph(name, [FLOAT64] * arity(p))
    if name in ("select", "where_used"):
        graph.args[0].type = BOOL
    out = Builder(graph).emit(name, graph.args).result
    assert isinstance(p.derivative, Partials)
    partials = p.derivative.rule(Builder(graph), out, *graph.args)
    chooses = any(isinstance(x, Masked) for x in partials) or all(x is Partial.ZERO for x in partials)
    chosen = "where(x > 0, sqrt(x), 0)"
    others = {"select": chosen, "where_used": chosen, "ceil": "floor", "trunc": "floor"}
    assert not chooses or others.get(name, name) in {row.op for row in CONVENTIONS}
