"""Products behind loops: what a loop only adds up is one product, whatever the trip count, and what it reads is not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.graph.builder import Builder
from jitgrad.graph.interpret import interpret
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.ops.index import Entry, Pick, Span, load
from jitgrad.graph.ops.linalg import swap_last
from jitgrad.graph.ops.shape import reshape_to
from jitgrad.graph.passes import batch_products, cse, dce, simplify
from jitgrad.graph.types import FLOAT64, INT64
from jitgrad.graph.verify import verify
from tests.backend.native import Native
from tests.graph.diff_bank import integer, loop

STEPS, ROWS, M, N = 6, 2, 20, 24
TYPES = {
    "a": FLOAT64.with_shape((STEPS + 2, ROWS, M)),
    "b": FLOAT64.with_shape((STEPS + 2, ROWS, N)),
    "c": FLOAT64.with_shape((M, N)),
    "d": FLOAT64.with_shape((ROWS, M)),
    "n": INT64,
}
Body = Callable[..., Sequence[Value]]


def graph_of(body: Body) -> Graph:
    graph = Graph("f", list(TYPES.values()), list(TYPES))
    g = Builder(graph)
    graph.yields = list(body(g, *graph.args))
    return graph


def entry(g: Builder, array: Value, at: Value | int) -> Value:
    index: list[Entry] = [Pick(at), *(Span(0, 1, d) for d in array.shape[1:])]
    return load(g, array, index)


def trips(g: Builder, n: Value) -> Value:
    """A count that is known at run time only, and fits."""
    return g.minimum(g.maximum(n, integer(g, 0)), integer(g, STEPS))


def products_in_loops(graph: Graph) -> int:
    return sum(op.name == "matmul" for f in graph.walk() if f.name == "for" for op in f.regions[0].walk())


def check(graph: Graph, taken: int) -> None:
    """Compare a graph with itself before the pass, and count the products that left its loops."""
    rng = np.random.default_rng(0)
    given = [[rng.normal(size=t.shape) for t in TYPES.values() if t.shape] + [np.int64(n)] for n in (0, 1, STEPS - 1)]
    wanted = [interpret(graph, args) for args in given]
    before = products_in_loops(graph)
    simplify(graph)
    assert batch_products(graph) == (taken > 0)
    verify(graph)
    assert not batch_products(graph)
    dce(graph)
    assert before - products_in_loops(graph) == taken
    for run in (simplify, cse, dce):
        run(graph)
    native = Native(graph, ["C"] * len(TYPES))
    # Rows of all iterations are a view of the array that has them.
    assert "nest: reshape" not in native.body.notes and "for BLAS" not in native.body.notes, native.body.notes
    for args, want in zip(given, wanted, strict=True):
        for got in (interpret(graph, args), native(*args)):
            for x, y in zip(got, want, strict=True):
                np.testing.assert_allclose(x, y, rtol=1e-12, atol=1e-12)


def both_recorded(g: Builder, a: Value, b: Value, c: Value, d: Value, n: Value) -> list[Value]:
    def body(k: Value, acc: Value) -> list[Value]:
        return [g.add(acc, g.matmul(swap_last(g, entry(g, a, k)), entry(g, b, g.add(k, integer(g, 2)))))]

    return loop(g, trips(g, n), [c], body)


def backwards(g: Builder, a: Value, b: Value, c: Value, d: Value, n: Value) -> list[Value]:
    count = trips(g, n)

    def body(k: Value, acc: Value) -> list[Value]:
        at = g.subtract(g.subtract(count, integer(g, 1)), k)
        return [g.add(g.matmul(swap_last(g, entry(g, a, g.add(at, integer(g, 1)))), entry(g, b, at)), acc)]

    return loop(g, count, [c], body)


def one_recorded(g: Builder, a: Value, b: Value, c: Value, d: Value, n: Value) -> list[Value]:
    """As in a reverse sweep: two sums of one cotangent, which the loop carries on."""

    def body(k: Value, h: Value, acc: Value, more: Value) -> list[Value]:
        at = g.subtract(integer(g, STEPS - 1), k)
        z = g.tanh(g.add(entry(g, b, at), g.matmul(h, c)))
        acc = g.add(acc, g.matmul(swap_last(g, entry(g, a, at)), z))
        more = g.add(more, g.matmul(swap_last(g, entry(g, a, g.add(at, integer(g, 1)))), z))
        return [g.matmul(z, swap_last(g, c)), acc, more]

    return loop(g, STEPS, [d, c, g.add(c, c)], body)


def against_each_other(g: Builder, a: Value, b: Value, c: Value, d: Value, n: Value) -> list[Value]:
    """One array is read forwards, the other backwards: one of them is recorded."""

    def body(k: Value, acc: Value) -> list[Value]:
        at = g.subtract(integer(g, STEPS - 1), k)
        return [g.add(acc, g.matmul(swap_last(g, entry(g, a, k)), entry(g, b, at)))]

    return loop(g, STEPS, [c], body)


def of_vectors(g: Builder, a: Value, b: Value, c: Value, d: Value, n: Value) -> list[Value]:
    def body(k: Value, acc: Value) -> list[Value]:
        x = g.tanh(load(g, a, [Pick(k), Pick(0), Span(0, 1, M)]))
        y = load(g, entry(g, b, k), [Pick(1), Span(0, 1, N)])
        return [g.add(acc, g.matmul(reshape_to(g, x, (M, 1)), reshape_to(g, g.sin(y), (1, N))))]

    return loop(g, trips(g, n), [c], body)


def in_a_loop(g: Builder, a: Value, b: Value, c: Value, d: Value, n: Value) -> list[Value]:
    return loop(g, 3, [c], lambda k, acc: [g.multiply(both_recorded(g, a, b, acc, d, n)[0], 0.5)])


@pytest.mark.parametrize(
    ("body", "taken"),
    [
        (both_recorded, 1),
        (backwards, 1),
        (one_recorded, 2),
        (against_each_other, 1),
        (of_vectors, 1),
        (in_a_loop, 1),
    ],
)
def test_taken_out(body: Body, taken: int) -> None:
    check(graph_of(body), taken)


# --- what stays


def read_in_the_loop(g: Builder, a: Value, b: Value, c: Value, d: Value, n: Value) -> list[Value]:
    def body(k: Value, acc: Value, s: Value) -> list[Value]:
        total = g.add(acc, g.matmul(swap_last(g, entry(g, a, k)), entry(g, b, k)))
        return [total, g.add(s, g.reduce_sum(acc, axes=(0, 1)))]

    return loop(g, trips(g, n), [c, g.constant(0.0)], body)


def handed_on_twice(g: Builder, a: Value, b: Value, c: Value, d: Value, n: Value) -> list[Value]:
    def body(k: Value, acc: Value, other: Value) -> list[Value]:
        total = g.add(acc, g.matmul(swap_last(g, entry(g, a, k)), entry(g, b, k)))
        return [total, total]

    return loop(g, trips(g, n), [c, c], body)


def exchanged(g: Builder, a: Value, b: Value, c: Value, d: Value, n: Value) -> list[Value]:
    def body(k: Value, acc: Value, other: Value) -> list[Value]:
        return [other, g.add(acc, g.matmul(swap_last(g, entry(g, a, k)), entry(g, b, k)))]

    return loop(g, trips(g, n), [c, g.sin(c)], body)


def added_to_itself(g: Builder, a: Value, b: Value, c: Value, d: Value, n: Value) -> list[Value]:
    return loop(g, trips(g, n), [c], lambda k, acc: [g.add(acc, acc)])


def of_an_array_in_the_loop(g: Builder, a: Value, b: Value, c: Value, d: Value, n: Value) -> list[Value]:
    """No array from outside says that there is room for a record."""

    def body(k: Value, acc: Value) -> list[Value]:
        x = g.multiply(d, g.cast(k, dtype=np.dtype(np.float64)))
        return [g.add(acc, g.matmul(swap_last(g, x), g.matmul(x, c)))]

    return loop(g, trips(g, n), [c], body)


def every_other_entry(g: Builder, a: Value, b: Value, c: Value, d: Value, n: Value) -> list[Value]:
    def body(k: Value, acc: Value) -> list[Value]:
        at = g.multiply(k, 2)
        return [g.add(acc, g.matmul(swap_last(g, entry(g, a, at)), entry(g, b, at)))]

    return loop(g, 3, [c], body)


@pytest.mark.parametrize(
    "body",
    [read_in_the_loop, handed_on_twice, exchanged, added_to_itself, of_an_array_in_the_loop, every_other_entry],
)
def test_what_stays(body: Body) -> None:
    check(graph_of(body), 0)


def test_many_rows_stay() -> None:
    for rows, taken in ((1, True), (4, True), (5, False), (16, False)):
        graph = Graph("f", [FLOAT64.with_shape((STEPS, rows, n)) for n in (30, 40)], ["a", "b"])
        g = Builder(graph)
        a, b = graph.args
        acc = g.broadcast(g.constant(0.0), shape=(30, 40))

        def body(k: Value, s: Value, g: Builder = g, a: Value = a, b: Value = b) -> list[Value]:
            return [g.add(s, g.matmul(swap_last(g, entry(g, a, k)), entry(g, b, k)))]

        graph.yields = loop(g, STEPS, [acc], body)
        assert batch_products(graph) == taken


# --- programs


def recurrent(wx: Any, wh: Any, b: Any, xs: Any) -> Any:
    h = np.zeros(len(wh))
    loss = 0.0
    for t in range(len(xs)):
        h = np.tanh(xs[t] @ wx + h @ wh + b)
        if loss > 50.0:
            break
        loss += np.sum(h * h)
    return loss


def test_gradients_of_recurrent_networks() -> None:
    rng = np.random.default_rng(0)
    gradient = jitgrad.grad(recurrent, argnums=(0, 1, 2, 3))
    for steps in (7, 1, 9, 40):
        args = [0.3 * rng.normal(size=s) for s in ((18, 24), (24, 24), (24,), (steps, 18))]
        made = gradient(*args)
        for k, g in enumerate(made):
            direction = rng.normal(size=g.shape)
            ends = []
            for step in (1e-6, -1e-6):
                moved = list(args)
                moved[k] = args[k] + step * direction
                ends.append(recurrent(*moved))
            np.testing.assert_allclose(np.sum(g * direction), (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-7)


def plain(wx: Any, wh: Any, xs: Any) -> Any:
    h = np.zeros((2, len(wh)))
    loss = 0.0
    for x in xs:
        h = np.tanh(x @ wx + h @ wh)
        loss += np.sum(h * h)
    return loss


def test_the_reverse_sweep_of_a_network_adds_up_no_products() -> None:
    rng = np.random.default_rng(0)
    args = [0.3 * rng.normal(size=s) for s in ((18, 24), (24, 24), (9, 2, 18))]
    text = str(jitgrad.grad(plain, argnums=(0, 1)).adjoint(*args))
    assert "matmul_into" in text
    (*_, behind) = text.split("yield")
    assert behind.count("matmul") == 2, text


def random_loop(seed: int) -> Body:
    rng = np.random.default_rng(seed)

    def made(g: Builder, a: Value, b: Value, c: Value, d: Value, n: Value) -> list[Value]:
        count = trips(g, n) if rng.integers(2) else integer(g, STEPS)
        inits = [c, g.sin(c), d]

        def body(k: Value, p: Value, q: Value, h: Value) -> list[Value]:
            last = g.subtract(count, integer(g, 1))
            places = [k, g.add(k, integer(g, 1)), g.subtract(last, k), g.subtract(g.add(last, integer(g, 2)), k)]

            def left() -> Value:
                row = entry(g, a, places[rng.integers(4)])
                return [row, row, g.tanh(row), h][rng.integers(4)]

            def right() -> Value:
                row = entry(g, b, places[rng.integers(4)])
                return [row, row, g.sin(row), g.matmul(h, c)][rng.integers(4)]

            def total(acc: Value) -> Value:
                terms = [acc, g.matmul(swap_last(g, left()), right())]
                if rng.integers(8) == 0:
                    terms[0] = g.add(terms[0], g.matmul(swap_last(g, left()), right()))
                return g.add(*terms[:: 1 if rng.integers(2) else -1])

            new = [total(p), total(q)]
            if rng.integers(5) == 0:
                new.reverse()
            return [*new, g.tanh(g.add(h, left()))]

        return loop(g, count, inits, body)

    return made


def test_random_loops() -> None:
    found = 0
    for seed in range(60):
        graph = graph_of(random_loop(seed))
        rng = np.random.default_rng(seed)
        args: list[Any] = [0.3 * rng.normal(size=t.shape) for t in TYPES.values() if t.shape]
        given = [[*args, np.int64(n)] for n in (0, 1, STEPS)]
        wanted = [interpret(graph, x) for x in given]
        simplify(graph)
        found += batch_products(graph)
        verify(graph)
        for x, want in zip(given, wanted, strict=True):
            for got, w in zip(interpret(graph, x), want, strict=True):
                np.testing.assert_allclose(got, w, rtol=1e-12, atol=1e-12)
    assert found > 30
