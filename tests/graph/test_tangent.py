"""Forward mode: texts, zeros, effects, errors. `test_diff_programs.py` compares it with finite differences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from jitgrad.errors import DifferentiationError, InternalError
from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.tangent import tangent
from jitgrad.graph.interpret import interpret
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.printer import print_graph
from jitgrad.graph.types import FLOAT64, INT64
from jitgrad.graph.verify import verify
from jitgrad.location import Location
from tests.graph.diff_bank import floats, get, loop, program, put


def test_straight_line() -> None:
    def build(g: Builder, x: Value, w: Value) -> Sequence[Value]:
        return [g.reduce_sum(g.sin(g.matmul(x, w)), axes=(0, 1))]

    made = tangent(program([floats(2, 3), floats(3, 1)], build, ["x", "w"]), [0, 1])
    verify(made)
    assert (
        print_graph(made)
        == """\
graph tangent(%x: float64[2, 3], %w: float64[3, 1], %x.t: float64[2, 3], %w.t: float64[3, 1]) {
  %0 = matmul %x, %w : float64[2, 1]
  %1 = matmul %x.t, %w : float64[2, 1]
  %2 = matmul %x, %w.t : float64[2, 1]
  %3 = add %1, %2 : float64[2, 1]
  %4 = sin %0 : float64[2, 1]
  %5 = cos %0 : float64[2, 1]
  %6 = multiply %3, %5 : float64[2, 1]
  %7 = reduce_sum %4 {axes=(0, 1)} : float64[]
  %8 = reduce_sum %6 {axes=(0, 1)} : float64[]
  return %7, %8
}"""
    )


def test_loops_carry_tangents_beside_values() -> None:
    def build(g: Builder, x: Value, c: Value) -> Sequence[Value]:
        return loop(g, 3, [x, c], lambda k, y, c: [g.multiply(y, get(g, c, k)), put(g, c, g.constant(2.0), k)])

    graph = program([FLOAT64, floats(3)], build)
    made = tangent(graph, [0])
    (op,) = (op for op in made.ops if op.name == "for")
    assert len(op.results) == 3  # the inactive array has no tangent
    assert interpret(made, [3.0, np.array([1.0, 2.0, 5.0]), 1.0])[2:] == [10.0, pytest.approx(np.zeros(3))]


def test_independent_yields_have_zero_tangents() -> None:
    graph = program([floats(2), floats(3), INT64], lambda g, x, y, n: [g.sin(y), x, n])
    made = tangent(graph, [0])
    values = interpret(made, [np.ones(2), np.ones(3), np.int64(1), np.array([3.0, 4.0])])
    assert [v.tolist() for v in values[3:]] == [[0, 0, 0], [3, 4]]


def test_an_untaken_side_has_no_tangent() -> None:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        return [g.select(g.greater(x, 0.0), g.sqrt(x), g.constant(0.0))]

    made = tangent(program([floats(2)], build), [0])
    np.testing.assert_array_equal(interpret(made, [np.array([0.0, 4.0]), np.ones(2)])[1], [0.0, 0.25])


def test_the_square_of_a_root_is_finite_at_zero() -> None:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        s = g.sqrt(x)
        return [g.multiply(s, s), g.log(g.exp(x))]

    made = tangent(program([floats(3)], build), [0])
    root, line = interpret(made, [np.array([0.0, 4.0, 800.0]), np.ones(3)])[2:]
    np.testing.assert_array_equal(root, [1.0, 1.0, 1.0])
    np.testing.assert_array_equal(line, [1.0, 1.0, 1.0])


def test_only_what_is_varied_and_useful() -> None:
    def build(g: Builder, x: Value, c: Value) -> Sequence[Value]:
        g.exp(g.multiply(x, x))
        return [g.add(x, g.sin(c))]

    made = tangent(program([FLOAT64, FLOAT64], build), [0])
    assert [op.name for op in made.ops] == ["sin", "add"]


def test_checks_stay_once() -> None:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        g.check(g.less(x, 5.0), exception=ValueError, message="large")
        return [g.sin(x)]

    made = tangent(program([FLOAT64], build), [0])
    assert sum(op.name == "check" for op in made.walk()) == 1
    with pytest.raises(ValueError, match="large"):
        interpret(made, [6.0, 1.0])


def test_no_derivative_names_the_line() -> None:
    graph = Graph("f", [FLOAT64], ["x"])
    g = Builder(graph, Location("model.py", 12, function="loss"))
    graph.yields = [g.emit("call_back", [graph.args[0]], {"function": np.sin, "types": (FLOAT64,)}).result]
    with pytest.raises(DifferentiationError, match=r"(?s)JG301.*model\.py:12 in loss"):
        tangent(graph, [0])


def test_an_integer_argument_is_a_defect_of_the_caller() -> None:
    with pytest.raises(InternalError, match="JG900"):
        tangent(program([INT64], lambda g, n: [n]), [0])
