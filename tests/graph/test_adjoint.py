"""Reverse mode: golden texts, what is kept, masks, cancellation, effects, errors, cost of construction."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from jitgrad.errors import DifferentiationError, InternalError
from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.adjoint import adjoint
from jitgrad.graph.interpret import interpret
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.ops.memory import Span, load
from jitgrad.graph.ops.shape import broadcast_to, zeros
from jitgrad.graph.passes.dce import dce
from jitgrad.graph.printer import print_graph
from jitgrad.graph.types import FLOAT64, INT64, ListType
from jitgrad.graph.verify import verify
from jitgrad.location import Location
from tests.graph.diff_bank import BANK, branch, floats, get, loop, loop_while, program, put
from tests.graph.diff_check import forward, kept_numbers, reverse


def summed(g: Builder, v: Value) -> Value:
    return g.reduce_sum(v, axes=tuple(range(v.array.rank)))


def gradient(build: Callable[..., Sequence[Value]], x: Any) -> np.ndarray:
    """Return the derivative of a graph of one argument and one scalar result."""
    made = adjoint(program([floats(*np.shape(x))], build, ["x"]), [0])
    verify(made)
    return interpret(made, [x, 1.0])[-1]


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
  %5 = multiply %ct, %4 : float64[3, 4]
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
        "  %0 = multiply %ct, %out : float64[3, 4]",
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


# --- zeros, masks, cancellation


def test_zeros_where_nothing_depends() -> None:
    made = adjoint(program([floats(2), floats(3)], lambda g, x, y: [summed(g, x)]), [1, 0])
    assert [v.tolist() for v in interpret(made, [np.ones(2), np.ones(3), 2.0])[1:]] == [[0, 0, 0], [2, 2]]


def test_seeded_chooses_the_yields() -> None:
    graph = program([FLOAT64], lambda g, x: [g.sin(x), g.multiply(x, x)])
    made = adjoint(graph, [0], seeded=[1])
    assert len(made.args) == 2
    assert interpret(made, [3.0, 1.0])[-1] == 6.0


def where_positive(g: Builder, x: Value, v: Value) -> Value:
    return summed(g, g.select(g.greater(x, 0.0), v, g.constant(0.0)))


def _straight(g: Builder, x: Value) -> Value:
    return g.sqrt(x)


def _in_loop(g: Builder, x: Value) -> Value:
    return loop(g, 2, [x], lambda k, y: [g.multiply(g.sqrt(y), g.sqrt(x))])[0]


def _captured_by_loop(g: Builder, x: Value) -> Value:
    return loop(g, 2, [zeros(g, x.type)], lambda k, y: [g.add(y, g.sqrt(x))])[0]


def _stored_in_loop(g: Builder, x: Value) -> Value:
    return loop(g, 3, [zeros(g, x.type)], lambda k, a: [put(g, a, g.sqrt(get(g, x, k)), k)])[0]


def _in_branch(g: Builder, x: Value) -> Value:
    positive = g.greater(get(g, x, g.constant(np.int64(1))), 0.5)
    return branch(g, positive, lambda: [g.sqrt(x)], lambda: [x])[0]


def _in_while(g: Builder, x: Value) -> Value:
    return loop_while(g, [x, g.constant(0.0)], lambda y, s: g.less(s, 1.5), lambda y, s: [g.sqrt(y), g.add(s, 1.0)])[0]


def _reshaped(g: Builder, x: Value) -> Value:
    return g.reshape(g.sqrt(g.reshape(x, shape=(3, 1))), shape=(3,))


def _summed(g: Builder, x: Value) -> Value:
    return g.reduce_sum(broadcast_to(g, g.sqrt(x), (2, 3)), axes=(0,))


def _sliced(g: Builder, x: Value) -> Value:
    y = g.sqrt(x)
    return g.concatenate(load(g, y, [Span(0, 1, 2)]), load(g, y, [Span(2, 1, 1)]), axis=0)


def _gathered(g: Builder, x: Value) -> Value:
    return g.gather(g.sqrt(x), g.constant(np.array([0, 1, 2])))


@pytest.mark.parametrize(
    "way",
    [
        _straight,
        _in_loop,
        _captured_by_loop,
        _stored_in_loop,
        _in_branch,
        _in_while,
        _reshaped,
        _summed,
        _sliced,
        _gathered,
    ],
)
def test_an_untaken_side_is_an_exact_zero(way: Callable[[Builder, Value], Value]) -> None:
    made = gradient(lambda g, x: [where_positive(g, x, way(g, x))], np.array([0.0, 1.0, 4.0]))
    assert made[0] == 0
    assert np.all(made[1:] > 0)
    assert np.all(np.isfinite(made))


def test_a_product_with_a_bool_array_makes_a_mask() -> None:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        return [summed(g, g.multiply(g.sqrt(x), g.cast(g.greater(x, 0.0), dtype="float64")))]

    np.testing.assert_array_equal(gradient(build, np.array([0.0, 4.0])), [0.0, 0.25])


def test_a_choice_inside_a_loop() -> None:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        def step(k: Value, s: Value) -> Sequence[Value]:
            v = get(g, x, k)
            return [g.add(s, g.select(g.greater(v, 0.0), g.sqrt(v), g.constant(0.0)))]

        return loop(g, 3, [g.constant(0.0)], step)

    np.testing.assert_array_equal(gradient(build, np.array([0.0, 1.0, 4.0])), [0.0, 0.5, 0.25])


def test_the_square_of_a_root_is_finite_at_zero() -> None:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        s = g.sqrt(x)
        return [summed(g, g.multiply(s, s))]

    def in_loop(g: Builder, x: Value) -> Sequence[Value]:
        def step(k: Value, t: Value) -> Sequence[Value]:
            s = g.sqrt(get(g, x, k))
            return [g.add(t, g.multiply(g.multiply(s, s), 3.0))]

        return loop(g, 3, [g.constant(0.0)], step)

    x = np.array([0.0, 1.0, 4.0])
    np.testing.assert_array_equal(gradient(build, x), [1.0, 1.0, 1.0])
    np.testing.assert_array_equal(gradient(in_loop, x), [3.0, 3.0, 3.0])


def _cube(g: Builder, s: Value) -> Value:
    return g.multiply(g.multiply(s, s), s)


def _fourth_power(g: Builder, s: Value) -> Value:
    return g.power(s, 4.0)


def _polynomial(g: Builder, s: Value) -> Value:
    square = g.multiply(s, s)
    return g.add(g.multiply(square, 3.0), g.negative(g.multiply(square, square)))


@pytest.mark.parametrize(
    ("of_root", "expected"), [(_cube, [0.0, 1.5]), (_fourth_power, [0.0, 2.0]), (_polynomial, [3.0, 1.0])]
)
def test_functions_of_a_root_that_are_smooth(of_root: Callable[[Builder, Value], Value], expected: list[float]) -> None:
    made = gradient(lambda g, x: [summed(g, of_root(g, g.sqrt(x)))], np.array([0.0, 1.0]))
    np.testing.assert_allclose(made, expected)


def test_the_logarithm_of_an_exponential_far_out() -> None:
    made = gradient(lambda g, x: [summed(g, g.log(g.exp(x)))], np.array([0.5, 800.0]))
    np.testing.assert_array_equal(made, [1.0, 1.0])


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


def chain(n: int) -> Graph:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        y = x
        for _ in range(n // 3):
            y = g.sin(g.multiply(g.add(y, x), x))
        return [summed(g, y)]

    return program([floats(3)], build)


def test_construction_is_linear() -> None:
    def seconds(graph: Graph) -> float:
        best = np.inf
        for _ in range(3):
            start = time.process_time()
            adjoint(graph, [0])
            best = min(best, time.process_time() - start)
        return best

    small, large = seconds(chain(300)), seconds(chain(2400))
    assert large < 32 * small  # quadratic would be 64


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
