"""What tapes are made of: one array for nests whose iterations compute different amounts, bools for comparisons."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

import jitgrad
from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.adjoint import adjoint
from jitgrad.graph.diff.frames import Nest
from jitgrad.graph.diff.totals import Total
from jitgrad.graph.interpret import interpret
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.ops.memory import Span, load
from jitgrad.graph.passes.dce import dce
from jitgrad.graph.printer import print_graph
from jitgrad.graph.types import FLOAT64, INT64
from jitgrad.graph.verify import verify
from tests.graph.diff_bank import floats, get, loop, loop_while, program, put
from tests.graph.diff_check import check_derivatives, kept_numbers, reverse
from tests.source import function_of

Sizes = Callable[..., Sequence[Value]]


def ragged(shape: tuple[int, ...], part: Callable[[Value], Sequence[Value | int]], n: int = 5) -> Graph:
    """Return a program that keeps an array in each of the inner iterations, of a size that the outer index decides."""

    def build(g: Builder, x: Value) -> Sequence[Value]:
        def step(i: Value, s: Value) -> Sequence[Value]:
            sizes = part(i)
            first = load(g, x, [Span(0, 1, d) for d in sizes])
            (v,) = loop(g, 2, [first], lambda k, v: [g.multiply(g.sin(v), g.add(v, s))])
            return [g.add(s, g.reduce_sum(v, axes=tuple(range(len(sizes)))))]

        return loop(g, n, [g.constant(0.3)], step)

    return program([floats(*shape)], build, ["x"])


PARTS: dict[str, tuple[tuple[int, ...], Callable[[Value], Sequence[Value | int]]]] = {
    "vector": ((5,), lambda i: (i,)),
    "rows": ((5, 3), lambda i: (i, 3)),
    "columns": ((3, 5), lambda i: (3, i)),
    "corner": ((5, 5, 2), lambda i: (i, i, 2)),
}


@pytest.mark.parametrize("name", PARTS)
def test_slices_of_growing_size_fill_one_array(name: str) -> None:
    shape, part = PARTS[name]
    graph = ragged(shape, part)
    text = print_graph(adjoint(graph, [0]))
    assert "list_" not in text
    x = np.random.default_rng(0).normal(size=shape)
    check_derivatives(graph, [x], np.random.default_rng(1))
    made, args = reverse(graph, [x], np.random.default_rng(0))
    whole = {"vector": 10, "rows": 30, "columns": 30, "corner": 60}[name]
    assert kept_numbers(made, args) - 2 * whole in (5, 10)  # besides a scalar or two in each iteration


def test_numbers_of_a_triangular_nest_fill_one_array() -> None:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        def outer(i: Value, s: Value) -> Sequence[Value]:
            return loop(g, i, [s], lambda k, s: [g.multiply(g.sin(s), g.add(s, get(g, x, k)))])

        return loop(g, 6, [g.constant(0.7)], outer)

    graph = program([floats(6)], build, ["x"])
    made = adjoint(graph, [0])
    assert "list_" not in print_graph(made)
    assert kept_numbers(made, [np.ones(6), 1.0]) == 15
    check_derivatives(graph, [np.linspace(0.1, 0.9, 6)], np.random.default_rng(1))


@pytest.mark.parametrize(("distance", "kept"), [(1, 0), (0, 5)])
def test_elements_that_stay_are_read_again(distance: int, kept: int) -> None:
    def build(g: Builder, x: Value, a: Value) -> Sequence[Value]:
        def step(k: Value, c: Value, d: Value) -> Sequence[Value]:
            pivot = g.subtract(get(g, a, k), g.multiply(get(g, x, k), get(g, c, k)))
            at = g.add(k, distance)
            return [put(g, c, g.divide(1.0, pivot), at), put(g, d, g.divide(get(g, d, k), pivot), at)]

        (c, d) = loop(g, 5, [g.multiply(a, 0.1), g.multiply(a, 0.2)], step)
        return [g.reduce_sum(g.multiply(c, d), axes=(0,))]

    graph = program([floats(6), floats(6)], build, ["x", "a"])
    assert kept_numbers(adjoint(graph, [0]), [np.ones(6), np.full(6, 2.0), 1.0]) == kept
    check_derivatives(graph, [np.linspace(0.1, 0.5, 6), np.linspace(2.0, 3.0, 6)], np.random.default_rng(1))


def test_a_row_that_was_stored_is_read_again_and_not_computed() -> None:
    def f(x: np.ndarray, d: np.ndarray) -> float:
        y = np.zeros_like(x)
        for i in range(1, len(y)):
            y[i] = x[i] / (d[i] - y[i - 1])
        return float(np.sum(y * y))

    text = jitgrad.grad(f, argnums=(0, 1)).adjoint(np.full((6, 40), 0.5), np.full((6, 40), 4.0))
    # The program's, and on the way back that of what was stored and that of the cotangent.
    assert text.count(" = divide ") == 3


@pytest.mark.parametrize("then", ["pass", "a[k + 1:, k] *= 0.5", "a[k, 0] += 1.0"])
def test_factors_are_read_where_they_were_stored(then: str) -> None:
    source = f"""
def f(a):
    a = a.copy()
    for k in range(len(a)):
        for i in range(k + 1, len(a)):
            a[i, k] /= a[k, k]
            for j in range(k + 1, len(a)):
                a[i, j] -= a[i, k] * a[k, j]
        {then}
    return np.sum(a[0] * np.diag(a))
"""
    f = function_of(source, f"<factors, then {then}>")
    a = np.random.default_rng(0).normal(size=(6, 6)) + 5.0 * np.eye(6)
    text = jitgrad.grad(f).adjoint(a)
    # Where the factors end up in the array, pivots and rows too, nothing is saved, and nothing put back.
    assert ("undef" not in text and "list_" not in text) == (then == "pass")
    t, h = np.random.default_rng(1).normal(size=(6, 6)), 1e-6
    quotient = (f(a + h * t) - f(a - h * t)) / (2 * h)
    assert np.sum(jitgrad.grad(f)(a) * t) == pytest.approx(quotient, rel=1e-7)


@pytest.mark.parametrize("first", [1, 0])
def test_a_number_is_read_where_it_was_stored_unless_a_loop_overwrites_it(first: int) -> None:
    source = f"""
def f(x):
    a, b = np.zeros((len(x), len(x))), x.copy()
    for i in range(len(x)):
        for k in range(len(x) - 1):
            t = b[k]
            a[i, k] = t
            for j in range(k + {first}, len(x)):
                a[i, j] = 0.5 * a[i, j] + t * x[j]
            b[k] = a[i, -1]
    return np.sum(a * a)
"""
    f = function_of(source, f"<factors, then from {first}>")
    x, t, h = np.linspace(0.5, 1.5, 5), np.cos(np.arange(5.0)), 1e-6
    assert ("undef" in jitgrad.grad(f).adjoint(x)) == (first == 0)
    quotient = (f(x + h * t) - f(x - h * t)) / (2 * h)
    assert np.sum(jitgrad.grad(f)(x) * t) == pytest.approx(quotient, rel=1e-7)


def test_the_state_before_a_step_is_not_read_from_that_behind_it() -> None:
    def f(u: np.ndarray) -> float:
        u = u.copy()
        for _ in range(3):
            before = u.copy()
            for i in range(1, len(u) - 1):
                u[i] = before[i] - 0.1 * before[i] * (before[i] - before[i - 1]) + 0.2 * before[i + 1] ** 2
        return float(np.sum(u * u))

    u, t, h = np.linspace(0.5, 1.5, 9), np.cos(np.arange(9.0)), 1e-6
    quotient = (f(u + h * t) - f(u - h * t)) / (2 * h)
    assert np.sum(jitgrad.grad(f)(u) * t) == pytest.approx(quotient, rel=1e-8)


def test_numbers_that_take_long_are_computed_once() -> None:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        def step(k: Value, s: Value) -> Sequence[Value]:
            return [g.subtract(s, g.multiply(g.sin(s), g.divide(g.exp(s), g.add(g.cos(s), 3.0))))]

        return loop(g, 5, [x], step)

    graph = program([FLOAT64], build)
    made = adjoint(graph, [0])
    names = [op.name for op in made.walk()]
    assert [names.count(name) for name in ("sin", "cos", "exp")] == [1, 1, 1]
    check_derivatives(graph, [0.4], np.random.default_rng(0))


def test_what_data_decides_is_a_list() -> None:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        def outer(i: Value, s: Value) -> Sequence[Value]:
            return loop_while(
                g, [s], lambda s: g.less(s, 0.9), lambda s: [g.add(g.multiply(s, s), g.multiply(g.exp(s), 0.3))]
            )

        return loop(g, 3, [x], outer)

    graph = program([FLOAT64], build, ["x"])
    assert "list_push" in print_graph(adjoint(graph, [0]))


def total(counts: Callable[[Builder, list[Value]], Sequence[Value | int]], depth: int, *args: int) -> int | None:
    """Return the total of a nest of loops with an int argument; the last of the counts is a size."""
    graph = Graph("f", [INT64], ["n"])
    g = Builder(graph)
    chain = []
    size: list[Value | int] = []

    def level(indices: list[Value]) -> Value:
        found = counts(g, [graph.args[0], *indices])
        zero = g.constant(np.int64(0))
        if len(indices) == depth:
            size.append(found[depth])
            return zero
        n = found[len(indices)]
        count = g.constant(np.int64(n)) if isinstance(n, int) else n
        with g.region([INT64, INT64], ["k", "s"]) as body:
            body.yields = [level([*indices, body.args[0]])]
        op = g.emit("for", [count, zero], regions=[body])
        chain.append((op, body))
        return op.result

    level([])
    chain.reverse()
    found = Total(Nest(graph), chain, tuple(size))
    if not found.is_known:
        return None
    graph.yields = [found.emit(g)]
    dce(graph)  # the nest itself
    verify(graph)
    return int(interpret(graph, [np.int64(a) for a in args])[0])


def _at(g: Builder, values: list[Value], k: int) -> Value:
    return values[k] if k < len(values) else g.constant(np.int64(0))


@pytest.mark.parametrize("n", [-3, 0, 1, 7])
def test_totals(n: int) -> None:
    def triangle(g: Builder, v: list[Value]) -> Sequence[Value | int]:
        n, i, j = (_at(g, v, k) for k in range(3))
        return n, g.subtract(i, g.constant(np.int64(2))), g.add(i, j)

    want = sum(max(i + j, 0) for i in range(n) for j in range(i - 2))
    assert total(triangle, 2, n) == want
    assert total(lambda g, v: (v[0], v[0], 3), 2, n) == max(n, 0) ** 2 * 3
    assert total(lambda g, v: (v[0], 4, _at(g, v, 1)), 2, n) == sum(4 * i for i in range(n))
    assert total(lambda g, v: (v[0], 4, _at(g, v, 2)), 2, n) == max(n, 0) * 6


def test_a_total_that_would_wrap_is_more_than_memory_holds() -> None:
    assert total(lambda g, v: (v[0], v[0], 1), 2, 2**32) == 2**60
    assert total(lambda g, v: (v[0], v[0], v[0]), 2, 2**22) == 2**60
    assert total(lambda g, v: (3, g.add(v[0], _at(g, v, 1)), 1), 2, 2**62) == 2**60


def test_a_total_that_the_loop_computes_is_not_known() -> None:
    def drawn(g: Builder, v: list[Value]) -> Sequence[Value | int]:
        return v[0], g.cast(g.cast(_at(g, v, 1), dtype="float64"), dtype="int64")

    assert total(drawn, 1, 3) is None


# --- comparisons


def test_a_minimum_of_arrays_keeps_bools() -> None:
    def build(g: Builder, d: Value) -> Sequence[Value]:
        def step(k: Value, d: Value) -> Sequence[Value]:
            s = g.add(load(g, d, [Span(0, 1, 4), Span(k, 1, 1)]), load(g, d, [Span(k, 1, 1), Span(0, 1, 4)]))
            return [g.minimum(d, s)]

        return loop(g, 4, [d], step)

    graph = program([floats(4, 4)], build, ["d"])
    text = print_graph(adjoint(graph, [0]))
    assert text.count("undef") == text.count("dtype=bool") == 2
    check_derivatives(graph, [np.random.default_rng(0).uniform(0.1, 9.0, (4, 4))], np.random.default_rng(1))


def test_numbers_that_a_rule_needs_besides_are_compared_again() -> None:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        return loop(g, 4, [x], lambda k, x: [g.power(x, g.maximum(x, g.multiply(x, x)))])

    text = print_graph(adjoint(program([floats(40)], build, ["x"]), [0]))
    assert "bool" not in text[: text.index(" = for ")]


def test_a_clipped_value_keeps_one_bool() -> None:
    def build(g: Builder, x: Value, y: Value) -> Sequence[Value]:
        return loop(g, 4, [x], lambda k, x: [g.clip(g.add(x, g.sin(y)), -1.0, 1.0)])

    graph = program([floats(40), floats(40)], build, ["x", "y"])
    text = print_graph(adjoint(graph, [0, 1]))
    assert "undef {shape=(4, 40), dtype=bool}" in text and "undef {shape=(4, 40), dtype=float64}" not in text
    check_derivatives(graph, [np.linspace(-2.0, 2.0, 40), np.ones(40)], np.random.default_rng(1))
