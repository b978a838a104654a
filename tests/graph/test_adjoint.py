"""Reverse mode: golden texts, what is kept, masks, cancellation, effects, errors, cost of construction."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from jitgrad.errors import DifferentiationError, InternalError
from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.adjoint import adjoint
from jitgrad.graph.interpret import interpret
from jitgrad.graph.ir import Graph, Op, Value
from jitgrad.graph.ops.shape import broadcast_to
from jitgrad.graph.passes.dce import dce
from jitgrad.graph.printer import print_graph
from jitgrad.graph.types import FLOAT64, INT64, ListType
from jitgrad.graph.verify import verify
from jitgrad.location import Location
from tests.graph.diff_bank import BANK, branch, floats, get, loop, program, put
from tests.graph.diff_check import forward, kept_numbers, reverse


def summed(g: Builder, v: Value) -> Value:
    return g.reduce_sum(v, axes=tuple(range(v.array.rank)))


def gradient(build: Callable[..., Sequence[Value]], x: Any) -> np.ndarray:
    """Return the derivative of a graph of one argument and one scalar result."""
    made = adjoint(program([floats(*np.shape(x))], build, ["x"]), [0])
    verify(made)
    return interpret(made, [x, 1.0])[-1]


def test_what_is_thrown_away_goes_at_once() -> None:
    # The copy that adjoints are made from, and adjoints that keep more than another one.
    def build(g: Builder, a: Value) -> Sequence[Value]:
        def body(k: Value, x: Value) -> Sequence[Value]:
            v = get(g, x, k)
            for _ in range(20):
                v = g.multiply(v, g.sin(v))
            return [put(g, x, v, k)]

        return [summed(g, loop(g, 4, [a], body)[0])]

    block = program([floats(4)], build, ["a"])

    def ops() -> list[Op]:
        return [o for o in gc.get_objects() if type(o) is Op]

    gc.collect()
    gc.disable()
    try:
        before = {id(o) for o in ops()}
        made = adjoint(block, [0])
        found = [o for o in ops() if id(o) not in before]
        kept = list(made.walk())
        assert len(found) < 1.2 * len(kept)  # rules are asked about a few more
    finally:
        gc.enable()
    verify(made)


# --- golden texts


def test_affine_under_a_sum_of_squares() -> None:
    def build(g: Builder, x: Value, w: Value, b: Value) -> Sequence[Value]:
        r = g.add(g.matmul(x, w), b)
        return [summed(g, g.multiply(r, r))]

    made = adjoint(program([floats(3, 2), floats(2, 4), floats(4)], build, ["x", "w", "b"]), [1, 2])
    assert (
        print_graph(made)
        == """\
graph adjoint(%x: float64[3, 2], %w: float64[2, 4], %b: float64[4], %ct: float64[]) {
  %0 = matmul %x, %w : float64[3, 4]
  %1 = add %0, %b : float64[3, 4]
  %2 = multiply %1, %1 : float64[3, 4]
  %3 = reduce_sum %2 {axes=(0, 1)} : float64[]
  %4 = add %1, %1 : float64[3, 4]
  %5 = multiply %ct, %4 {any_rounding} : float64[3, 4]
  %b.ct = reduce_sum %5 {axes=(0,)} : float64[4]
  %6 = transpose %x {permutation=(1, 0)} : float64[2, 3]
  %w.ct = matmul %6, %5 : float64[2, 4]
  return %3, %w.ct, %b.ct
}"""
    )


def test_products_that_only_the_primal_needs_go_with_it() -> None:
    def build(g: Builder, x: Value, w: Value, b: Value, out: Value) -> Sequence[Value]:
        return [summed(g, g.multiply(out, g.add(g.matmul(x, w), b)))]

    types = [floats(3, 2), floats(2, 4), floats(4), floats(3, 4)]
    made = adjoint(program(types, build, ["x", "w", "b", "out"]), [1, 2])
    del made.yields[0]
    dce(made)
    assert print_graph(made).split("\n")[1:] == [
        "  %0 = multiply %ct, %out {any_rounding} : float64[3, 4]",
        "  %b.ct = reduce_sum %0 {axes=(0,)} : float64[4]",
        "  %1 = transpose %x {permutation=(1, 0)} : float64[2, 3]",
        "  %w.ct = matmul %1, %0 : float64[2, 4]",
        "  return %w.ct, %b.ct",
        "}",
    ]


def test_a_counted_loop_keeps_an_indexed_tape() -> None:
    made = adjoint(BANK["horner"]()[0], [0, 1])
    text = print_graph(made)
    assert "list_" not in text
    assert "undef {shape=(5,), dtype=float64} : float64[5]" in text
    assert text.count(" = for ") == 2


# --- what is kept


def test_linear_loops_keep_nothing() -> None:
    graph, args = reverse(*BANK["linear_loop"](), np.random.default_rng(0))
    assert kept_numbers(graph, args) == 0


def test_linear_recurrence_with_inactive_coefficients_keeps_nothing() -> None:
    def build(g: Builder, x: Value, c: Value) -> Sequence[Value]:
        return loop(g, 6, [x], lambda k, y: [g.multiply(y, g.sin(get(g, c, k)))])

    made = adjoint(program([FLOAT64, floats(6)], build), [0])
    assert kept_numbers(made, [1.0, np.ones(6), 1.0]) == 0


@pytest.mark.parametrize("n", [4, 8, 12])
def test_in_place_cholesky_keeps_its_triangle(n: int) -> None:
    def build(g: Builder, a: Value) -> Sequence[Value]:
        return [summed(g, cholesky(g, a, n))]

    m = np.random.default_rng(n).normal(size=(n, n))
    graph, args = reverse(program([floats(n, n)], build), [m @ m.T + n * np.eye(n)], np.random.default_rng(0))
    assert kept_numbers(graph, args) <= n * (n + 1) // 2
    graph, args = reverse(graph, args, np.random.default_rng(1))
    assert kept_numbers(graph, args) <= 4 * n * n


def cholesky(g: Builder, a: Value, n: int) -> Value:
    """Return the lower triangle of the Cholesky factor, written over a."""

    def column(j: Value, a: Value) -> Sequence[Value]:
        def minus(i: Value) -> Callable[[Value, Value], Sequence[Value]]:
            return lambda k, s: [g.subtract(s, g.multiply(get(g, a, i, k), get(g, a, j, k)))]

        (s,) = loop(g, j, [get(g, a, j, j)], minus(j))
        a = put(g, a, g.sqrt(s), j, j)
        below = g.add(j, g.constant(np.int64(1)))

        def row(m: Value, a: Value) -> Sequence[Value]:
            i = g.add(below, m)

            def step(k: Value, s: Value) -> Sequence[Value]:
                return [g.subtract(s, g.multiply(get(g, a, i, k), get(g, a, j, k)))]

            (s,) = loop(g, j, [get(g, a, i, j)], step)
            return [put(g, a, g.divide(s, get(g, a, j, j)), i, j)]

        return loop(g, g.subtract(g.constant(np.int64(n)), below), [a], row)

    return loop(g, n, [a], column)[0]


def test_a_tape_is_kept_where_undoing_would_keep_more() -> None:
    def build(g: Builder, a: Value) -> Sequence[Value]:
        def step(k: Value, a: Value) -> Sequence[Value]:
            c = get(g, a, g.constant(np.int64(0)), g.constant(np.int64(0)))
            wave = g.sin(c)
            return [put(g, a, broadcast_to(g, wave, (50,)), k)]

        return [summed(g, loop(g, 3, [a], step)[0])]

    graph, args = reverse(program([floats(3, 50)], build), [np.ones((3, 50))], np.random.default_rng(0))
    assert kept_numbers(graph, args) == 3


def test_only_the_wanted_partials_are_built() -> None:
    def build(g: Builder, x: Value, c: Value) -> Sequence[Value]:
        return [g.divide(g.multiply(x, g.exp(c)), g.sin(c))]

    made = adjoint(program([FLOAT64, FLOAT64], build), [0])
    assert [op.name for op in made.ops[4:]] == ["divide", "multiply"]


# --- zeros


def test_zeros_where_nothing_depends() -> None:
    made = adjoint(program([floats(2), floats(3)], lambda g, x, y: [summed(g, x)]), [1, 0])
    assert [v.tolist() for v in interpret(made, [np.ones(2), np.ones(3), 2.0])[1:]] == [[0, 0, 0], [2, 2]]


def test_seeded_chooses_the_yields() -> None:
    graph = program([FLOAT64], lambda g, x: [g.sin(x), g.multiply(x, x)])
    made = adjoint(graph, [0], seeded=[1])
    assert len(made.args) == 2
    assert interpret(made, [3.0, 1.0])[-1] == 6.0


# --- lists and other types


def test_the_cotangent_of_a_list_is_a_list() -> None:
    def build(g: Builder, items: Value) -> Sequence[Value]:
        first = g.list_get(items, g.constant(np.int64(0)))
        return [g.list_push(items, g.multiply(first, first)), g.list_get(items, g.constant(np.int64(1)))]

    made = adjoint(program([ListType(FLOAT64)], build), [0])
    verify(made)
    one, two, three = np.float64(2.0), np.float64(3.0), np.float64(5.0)
    seeds = [np.float64(10.0), np.float64(20.0), np.float64(30.0), np.float64(1.0)]
    cts = interpret(made, [[one, two, three], seeds, np.float64(7.0)])[-1]
    assert cts == [10.0 + 4.0, 27.0, 30.0]


def test_float32_stays_float32() -> None:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        wide = g.cast(g.multiply(x, x), dtype="float64")
        positive = g.select(g.greater(wide, 0.0), g.sqrt(wide), g.constant(0.0))
        (y,) = loop(g, 2, [x], lambda k, y: [g.multiply(g.sin(y), x)])
        return [g.reduce_sum(positive, axes=(0,)), g.reduce_sum(y, axes=(0,))]

    made = adjoint(program([floats(3).with_dtype("float32")], build), [0])
    verify(made)
    x = np.array([0.0, 0.5, 2.0], np.float32)
    ct = interpret(made, [x, np.float64(1.0), np.float32(0.0)])[-1]
    assert ct.dtype == np.float32
    np.testing.assert_allclose(ct, [0.0, 1.0, 1.0])


def test_complex_values_are_not_conjugated() -> None:
    def build(g: Builder, z: Value) -> Sequence[Value]:
        return [g.multiply(z, g.multiply(z, z))]

    made = adjoint(program([FLOAT64.with_dtype("complex128")], build), [0])
    assert interpret(made, [1.0 + 2.0j, 1.0 + 0.0j])[-1] == 3 * (1 + 2j) ** 2


# --- effects, captured values, locations, errors


def test_checks_stay_once_and_in_order() -> None:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        def step(k: Value, y: Value) -> Sequence[Value]:
            g.check(g.less(y, 1e3), exception=ValueError, message="large {}")
            return [g.multiply(y, y)]

        g.check(g.greater(x, 0.0), exception=KeyError, message="first")
        (y,) = loop(g, 2, [x], step)
        g.check(g.greater(y, 2.0), exception=IndexError, message="last")
        return [y]

    for graph in (program([FLOAT64], build), adjoint(program([FLOAT64], build), [0])):
        messages = [op.attrs["message"] for op in graph.walk() if op.name == "check"]
        assert messages == ["first", "large {}", "last"]
    with pytest.raises(KeyError):
        interpret(graph, [-1.0, 1.0])
    with pytest.raises(IndexError):
        interpret(graph, [0.5, 1.0])


def test_captured_values_are_constants() -> None:
    graph = Graph("outer", [floats(3), FLOAT64], ["a", "x"])
    g = Builder(graph)
    a, x = graph.args
    doubled = g.multiply(a, 2.0)
    with g.region([FLOAT64], ["y"]) as body:
        (y,) = body.args

        def step(k: Value, z: Value) -> Sequence[Value]:
            return [g.multiply(z, get(g, doubled, k))]

        body.yields = loop(g, 3, [y], step)
    inner = adjoint(body, [0])
    # Inlined where the block stood: its captured values are at hand.
    from_inner = dict(zip(inner.args, [x, g.constant(1.0)], strict=True))
    graph.ops.extend(inner.ops)
    graph.yields = [inner.yields[1]]
    graph.replace_uses(from_inner)
    assert interpret(graph, [np.array([1.0, 2.0, 3.0]), 5.0]) == [48.0]


def test_locations_are_copied() -> None:
    here = Location("model.py", 7)
    graph = Graph("f", [FLOAT64], ["x"])
    g = Builder(graph, here)
    graph.yields = [g.sin(g.exp(graph.args[0]))]
    assert all(op.location is here for op in adjoint(graph, [0]).ops)


def test_no_derivative_names_the_line() -> None:
    graph = Graph("f", [FLOAT64], ["x"])
    g = Builder(graph, Location("model.py", 41, function="step"))
    made = g.emit("call_back", [graph.args[0]], {"function": np.sin, "types": (FLOAT64,)}).result
    graph.yields = [made]
    with pytest.raises(DifferentiationError, match=r"(?s)JG301: `call_back`.*model\.py:41 in step"):
        adjoint(graph, [0])


def test_an_integer_argument_is_a_defect_of_the_caller() -> None:
    graph = program([INT64, FLOAT64], lambda g, n, x: [x])
    with pytest.raises(InternalError, match="JG900"):
        adjoint(graph, [0])


# --- cost of construction


def test_deep_nesting() -> None:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        def level(depth: int, y: Value) -> Sequence[Value]:
            if depth == 0:
                return [g.sin(y)]
            low = g.less(y, float(depth))
            return branch(g, low, lambda: level(depth - 1, g.multiply(y, 1.01)), lambda: [y])

        return level(60, x)

    graph = program([FLOAT64], build)
    made = interpret(adjoint(graph, [0]), [0.3, 1.0])
    assert made[1] == pytest.approx(np.cos(0.3 * 1.01**60) * 1.01**60)


def test_forward_over_reverse_keeps_no_more_than_twice() -> None:
    rng = np.random.default_rng(0)
    graph, args = reverse(*BANK["gauss_seidel"](), rng)
    before = kept_numbers(graph, args)
    graph, args = forward(graph, args, rng)
    assert kept_numbers(graph, args) <= 2 * before
