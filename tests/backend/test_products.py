"""Products in their place: what may be computed where it is added or stored is, and gives what it gave before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.backend import blas
from jitgrad.backend.products import multiply_in_place
from jitgrad.graph.builder import Builder
from jitgrad.graph.interpret import interpret
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.ops.index import Entry, Pick, Span, add_to, load, store
from jitgrad.graph.ops.shape import move_axes
from jitgrad.graph.types import FLOAT64, INT64
from jitgrad.graph.verify import verify
from tests.backend.native import Native, layout_of
from tests.graph.diff_bank import branch, integer, loop

N, ROWS = 12, 3
MATRIX, STACK = FLOAT64.with_shape((N, N)), FLOAT64.with_shape((ROWS, N, N))
ARGUMENTS = {"a": MATRIX, "b": MATRIX, "c": MATRIX, "s": STACK, "n": INT64}


def row(k: Value | int) -> list[Entry]:
    return [Pick(k), Span(0, 1, N), Span(0, 1, N)]


def graph_of(body: Callable[..., Sequence[Value]]) -> Graph:
    graph = Graph("f", list(ARGUMENTS.values()), list(ARGUMENTS))
    g = Builder(graph)
    graph.yields = list(body(g, *graph.args))
    return graph


def arguments(seed: int = 0) -> list[Any]:
    rng = np.random.default_rng(seed)
    made: list[Any] = [0.25 * rng.normal(size=t.shape) for t in ARGUMENTS.values() if t.shape]
    return [*made, np.int64(seed % 4)]


def names(graph: Graph) -> list[str]:
    return [op.name for op in graph.walk() if op.name.startswith("matmul")]


def check(graph: Graph, orders: Sequence[str] = "CCCC") -> None:
    """Compare what a graph meant before it was lowered with what the machine gives."""
    args = [np.asarray(a, order=o) for a, o in zip(arguments(), [*orders, "C"], strict=True)]  # type: ignore[call-overload]
    copies = [np.array(a) for a in args]
    wanted = interpret(graph, args)
    native = Native(graph, [layout_of(a) for a in args])
    verify(graph)
    for got, want in zip(native(*args), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-11)
    for got, want in zip(interpret(graph, args), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-11)
    for a, copy in zip(args, copies, strict=True):
        np.testing.assert_array_equal(a, copy)


def doubled(g: Builder, x: Value) -> Value:
    return g.add(x, x)


def two_products(g: Builder, a: Value, b: Value, c: Value, s: Value, n: Value) -> list[Value]:
    return [g.add(g.matmul(a, b), g.matmul(b, move_axes(g, c, (1, 0))))]


def taken_off(g: Builder, a: Value, b: Value, c: Value, s: Value, n: Value) -> list[Value]:
    return [g.subtract(g.matmul(a, b), g.matmul(b, c))]


def accumulated(g: Builder, a: Value, b: Value, c: Value, s: Value, n: Value) -> list[Value]:
    return loop(g, n, [doubled(g, c)], lambda k, acc: [g.add(g.matmul(load(g, s, row(1)), b), acc)])


def a_row(g: Builder, a: Value, b: Value, c: Value, s: Value, n: Value) -> list[Value]:
    def body(k: Value, t: Value) -> list[Value]:
        z = g.add(g.matmul(a, b), g.matmul(load(g, s, row(k)), c))
        return [store(g, t, z, row(k))]

    return loop(g, ROWS, [doubled(g, s)], body)


def a_row_read_again(g: Builder, a: Value, b: Value, c: Value, s: Value, n: Value) -> list[Value]:
    def body(k: Value, t: Value, h: Value) -> list[Value]:
        z = g.add(g.matmul(a, b), g.matmul(h, c))
        t = store(g, t, z, row(k))
        return [t, g.tanh(g.add(z, a))]

    return loop(g, ROWS, [doubled(g, s), doubled(g, a)], body)


def a_row_read_before(g: Builder, a: Value, b: Value, c: Value, s: Value, n: Value) -> list[Value]:
    def body(k: Value, t: Value, h: Value) -> list[Value]:
        z = g.matmul(h, c)
        y = g.tanh(g.add(z, a))
        old = load(g, t, row(k))
        return [store(g, t, z, row(k)), g.add(y, g.sin(old))]

    return loop(g, ROWS, [doubled(g, s), doubled(g, a)], body)


def onto_a_part(g: Builder, a: Value, b: Value, c: Value, s: Value, n: Value) -> list[Value]:
    return loop(g, ROWS, [doubled(g, s)], lambda k, t: [add_to(g, t, g.matmul(a, b), row(k))])


def off_a_part(g: Builder, a: Value, b: Value, c: Value, s: Value, n: Value) -> list[Value]:
    place: list[Entry] = [Span(2, 1, 10), Span(1, 1, 11)]
    x, y = load(g, a, [Span(0, 1, 10), Span(0, 1, N)]), load(g, b, [Span(0, 1, N), Span(1, 1, 11)])
    first = doubled(g, c)
    return [store(g, first, g.subtract(load(g, first, place), g.matmul(x, y)), place)]


IN_PLACE = [two_products, taken_off, accumulated, a_row, a_row_read_again, a_row_read_before, onto_a_part, off_a_part]


@pytest.mark.parametrize("body", IN_PLACE)
def test_in_place(body: Callable[..., Sequence[Value]]) -> None:
    graph = graph_of(body)
    before = names(graph)
    check(graph)
    assert "matmul_into" in names(graph) and len(names(graph)) == len(before), names(graph)
    assert names(graph).count("matmul") <= (0 if body.__name__ in ("a_row", "onto_a_part") else 1)


@pytest.mark.parametrize("body", IN_PLACE)
def test_without_blas(body: Callable[..., Sequence[Value]]) -> None:
    with blas.hidden():
        check(graph_of(body))


@pytest.mark.parametrize("negative", [False, True])
@pytest.mark.parametrize("onto", [False, True])
def test_the_op_itself_without_blas(onto: bool, negative: bool) -> None:
    def body(g: Builder, a: Value, b: Value, c: Value, s: Value, n: Value) -> list[Value]:
        attrs = {"index": tuple(row(1)), "onto": onto, "negative": negative}
        return [g.emit("matmul_into", [doubled(g, s), a, move_axes(g, b, (1, 0))], attrs).result]

    with blas.hidden():
        check(graph_of(body))


# --- what must stay as it is


def read_elsewhere(g: Builder, a: Value, b: Value, c: Value, s: Value, n: Value) -> list[Value]:
    product = g.matmul(a, b)
    return [g.add(doubled(g, c), product), g.sin(product)]


def a_sum_that_a_nest_makes(g: Builder, a: Value, b: Value, c: Value, s: Value, n: Value) -> list[Value]:
    return [g.tanh(g.add(g.matmul(a, b), g.sin(c)))]


def an_argument(g: Builder, a: Value, b: Value, c: Value, s: Value, n: Value) -> list[Value]:
    return [g.add(c, g.matmul(a, b))]


def by_itself(g: Builder, a: Value, b: Value, c: Value, s: Value, n: Value) -> list[Value]:
    return loop(g, n, [doubled(g, a)], lambda k, x: [g.add(x, g.matmul(x, b))])


def by_a_part_of_itself(g: Builder, a: Value, b: Value, c: Value, s: Value, n: Value) -> list[Value]:
    def body(k: Value, t: Value) -> list[Value]:
        return [store(g, t, g.matmul(load(g, t, row(1)), b), row(k))]

    return loop(g, ROWS, [doubled(g, s)], body)


def overwritten_before(g: Builder, a: Value, b: Value, c: Value, s: Value, n: Value) -> list[Value]:
    def body(k: Value, t: Value, acc: Value) -> list[Value]:
        product = g.matmul(load(g, t, row(0)), b)
        t = store(g, t, a, row(0))
        return [t, g.add(acc, product)]

    return loop(g, n, [doubled(g, s), doubled(g, c)], body)


def a_column(g: Builder, a: Value, b: Value, c: Value, s: Value, n: Value) -> list[Value]:
    place: list[Entry] = [Span(0, 1, ROWS), Span(0, 1, N), Pick(2)]
    part = load(g, a, [Span(0, 1, ROWS), Span(0, 1, N)])
    return [store(g, doubled(g, s), g.matmul(part, b), place)]


def every_other_row(g: Builder, a: Value, b: Value, c: Value, s: Value, n: Value) -> list[Value]:
    part = load(g, a, [Span(0, 1, N // 2), Span(0, 1, N)])
    return [store(g, doubled(g, c), g.matmul(part, b), [Span(0, 2, N // 2), Span(0, 1, N)])]


def stored_again(g: Builder, a: Value, b: Value, c: Value, s: Value, n: Value) -> list[Value]:
    z = g.matmul(a, b)
    t = store(g, doubled(g, s), z, row(0))
    return [store(g, t, c, row(0)), g.sin(z)]


def small(g: Builder, a: Value, b: Value, c: Value, s: Value, n: Value) -> list[Value]:
    x = load(g, a, [Span(0, 1, 3), Span(0, 1, N)])
    y = load(g, b, [Span(0, 1, N), Span(0, 1, 4)])
    return [g.add(g.matmul(x, y), g.matmul(load(g, c, [Span(0, 1, 3), Span(0, 1, N)]), y))]


AS_IT_IS = [
    read_elsewhere, a_sum_that_a_nest_makes, an_argument, by_itself, by_a_part_of_itself, overwritten_before, a_column,
    every_other_row, stored_again, small,
]  # fmt: skip


@pytest.mark.parametrize("body", AS_IT_IS)
def test_as_it_is(body: Callable[..., Sequence[Value]]) -> None:
    graph = graph_of(body)
    check(graph)
    assert "matmul_into" not in names(graph)


def test_a_version_of_an_argument_in_the_order_of_fortran() -> None:
    def body(g: Builder, a: Value, b: Value, c: Value, s: Value, n: Value) -> list[Value]:
        return [store(g, a, g.matmul(b, c), [Span(0, 1, N), Span(0, 1, N)])]

    graph = graph_of(body)
    check(graph, "FFCC")
    assert names(graph) == ["matmul"]


def test_an_array_that_a_branch_chose() -> None:
    def body(g: Builder, a: Value, b: Value, c: Value, s: Value, n: Value) -> list[Value]:
        t, u = doubled(g, s), doubled(g, a)
        which = g.less(n, integer(g, 2))
        (x,) = branch(g, which, lambda: [load(g, t, row(1))], lambda: [u])
        return [store(g, t, g.matmul(x, b), row(1))]

    check(graph_of(body))


# --- programs


def test_programs_with_gradients() -> None:
    rng = np.random.default_rng(0)

    def recurrent(w: Any, u: Any, xs: Any) -> Any:
        h = np.zeros((16, 24))
        hs = np.zeros((len(xs), 16, 24))
        for t in range(len(xs)):
            z = xs[t] @ u + h @ w
            hs[t] = z
            h = np.tanh(z) + 0.1 * h
        return np.sum(hs * hs) + np.sum(h)

    args = rng.normal(size=(24, 24)) * 0.1, rng.normal(size=(8, 24)), rng.normal(size=(5, 16, 8))
    np.testing.assert_allclose(jitgrad.jit(recurrent)(*args), recurrent(*args), rtol=1e-12)
    gradient = jitgrad.grad(recurrent, argnums=(0, 1, 2))
    made = gradient(*args)
    for k, g in enumerate(made):
        direction = rng.normal(size=g.shape)
        ends = []
        for step in (1e-5, -1e-5):
            moved = list(args)
            moved[k] = args[k] + step * direction
            ends.append(recurrent(*moved))
        np.testing.assert_allclose(np.sum(g * direction), (ends[0] - ends[1]) / 2e-5, rtol=1e-6)


def test_run_time_sizes_down_to_zero() -> None:
    def f(a: Any, x: Any, y: Any) -> Any:
        a = a * 1.0
        for _ in range(3):
            a += x @ y
        return a

    run = jitgrad.jit(f)
    rng = np.random.default_rng(0)
    for m, k, n in [(5, 9, 30), (6, 10, 31), (7, 11, 32), (8, 2, 3), (0, 3, 4), (3, 0, 4), (3, 4, 0), (1, 40, 1)]:
        args = rng.normal(size=(m, n)), rng.normal(size=(m, k)), rng.normal(size=(k, n))
        np.testing.assert_allclose(run(*args), f(*args), rtol=1e-12, atol=1e-12)


def random_graph(seed: int) -> Graph:
    """Return a loop over matrices and rows of a stack: products, sums, stores and reads in any order."""
    rng = np.random.default_rng(seed)

    def body(g: Builder, a: Value, b: Value, c: Value, s: Value, n: Value) -> list[Value]:
        def inner(k: Value, t: Value, p: Value, q: Value) -> list[Value]:
            held = [a, b, p, q]

            def pick() -> Value:
                return held[rng.integers(len(held))]

            for _ in range(rng.integers(3, 9)):
                place = row([k, 0, 2][rng.integers(3)])
                match rng.integers(8):
                    case 0:
                        held.append(g.matmul(pick(), move_axes(g, pick(), (1, 0)) if rng.integers(2) else pick()))
                    case 1 | 7:
                        product = g.matmul(pick(), pick())
                        held.append(g.add(product, g.matmul(pick(), a)) if rng.integers(2) else g.subtract(q, product))
                    case 2:
                        held.append(g.multiply(g.add(pick(), pick()), 0.1))
                    case 3:
                        held.append(g.add(pick(), pick()) if rng.integers(2) else g.subtract(held[-1], pick()))
                    case 4:
                        held.append(load(g, t, place))
                    case 5:
                        t = store(g, t, held[-1], place)
                    case 6:
                        t = add_to(g, t, held[-1], place)
            return [t, g.sin(held[-1]), g.sin(held[-2]) if rng.integers(2) else g.add(q, g.matmul(a, g.sin(p)))]

        return loop(g, ROWS, [doubled(g, s), doubled(g, a), doubled(g, b)], inner)

    return graph_of(body)


@pytest.mark.parametrize("seed", range(60))
def test_random_graphs(seed: int) -> None:
    check(random_graph(seed))


def test_random_graphs_have_products_in_place() -> None:
    found = 0
    for seed in range(60):
        graph = random_graph(seed)
        multiply_in_place(graph, lambda v: False)
        found += "matmul_into" in names(graph)
    assert found > 20


def _added(a: Any, b: Any, i: Any) -> Any:
    a += b @ b
    return a.sum()


def _by_itself(a: Any, b: Any, i: Any) -> Any:
    a[:] = a @ b
    a -= a @ b
    return a.sum()


def _parts_of_itself(a: Any, b: Any, i: Any) -> Any:
    a[:10] += a[10:] @ b
    a[10:, :] = a[:10] @ b - b[:10] @ a
    a[:, 3:15] -= a @ b[:, 3:15]
    return a.sum()


def _turned(a: Any, b: Any, i: Any) -> Any:
    a.T[:10] += b[:10] @ b
    a[::-1] = b @ a
    return a.sum()


def _with_an_error(a: Any, b: Any, i: Any) -> Any:
    total = 0.0
    for k in range(5):
        a[4 * k : 4 * k + 4] = b[4 * k : 4 * k + 4] @ b
        a[k] += b[i[k]]
        total += a[k, 0]
    return total


def _chosen(a: Any, b: Any, i: Any) -> Any:
    c = a if b[0, 0] > 0 else b
    a[:] = c @ b
    a[5:15] += c[5:15] @ b
    return a.sum()


_WRITING = [_added, _by_itself, _parts_of_itself, _turned, _chosen]


@pytest.mark.parametrize(
    ("body", "order"), [(f, order) for f in _WRITING for order in ("C", "F")] + [(_with_an_error, "C")]
)
def test_programs_that_write_into_arguments(body: Callable[..., Any], order: Any) -> None:
    rng = np.random.default_rng(0)
    run = jitgrad.jit(body)
    for last in (3, 20):
        a, b = (np.array(0.2 * rng.normal(size=(20, 20)), order=order) for _ in range(2))
        i = np.array([0, 19, 5, last, 2])
        a2, b2, outcomes = a.copy(order="K"), b.copy(order="K"), []
        for f, x, y in ((body, a, b), (run, a2, b2)):
            try:
                outcomes.append(f(x, y, i))
            except IndexError as raised:
                outcomes.append(str(raised))
        if isinstance(outcomes[0], str):
            assert outcomes[0] == outcomes[1]
        else:
            np.testing.assert_allclose(outcomes[1], outcomes[0], rtol=1e-11)
        np.testing.assert_allclose(a2, a, rtol=1e-11, atol=1e-13)
        np.testing.assert_array_equal(b2, b)


H = np.array([[1.0, 0.5]])


def kalman_gain(c: np.ndarray) -> Any:
    return c @ H.T / (H @ c @ H.T).item()


OF_ONE_ELEMENT: list[Callable[..., Any]] = [
    kalman_gain,
    lambda c: c.sum().reshape(1, 1) @ H,
    lambda c: np.full((1, 1), c.sum()) @ H @ c,
    lambda c: np.array([[c[0, 0]]]) @ H,
    lambda c: np.linalg.solve(c, np.full((2, 1), c.max())),
    lambda c: np.linalg.solve(c.sum().reshape(1, 1), H @ c),
    lambda c: np.linalg.inv(np.reshape((H @ c @ H.T).sum(), (1, 1))) @ H,
    lambda c: np.linalg.det(c.max().reshape(1, 1)) * c,
    lambda c: c.min().reshape(1) @ H,
]


@pytest.mark.parametrize("in_a_loop", [False, True])
@pytest.mark.parametrize("function", OF_ONE_ELEMENT)
def test_matrices_of_one_number(function: Callable[..., Any], in_a_loop: bool) -> None:
    def f(c: np.ndarray, steps: int) -> Any:
        total = 0.0
        for _ in range(steps):
            total += (function(c) ** 2).sum()
            c = c * 0.9
        return total if in_a_loop else (function(c) ** 2).sum()

    c, h = np.array([[2.0, 0.3], [0.4, 1.0]]), 1e-6
    assert jitgrad.jit(f)(c, 2) == pytest.approx(f(c, 2))
    steps = h * np.eye(4).reshape(4, 2, 2)
    want = [(f(c + s, 2) - f(c - s, 2)) / (2 * h) for s in steps]
    np.testing.assert_allclose(jitgrad.grad(f)(c, 2).ravel(), want, rtol=1e-7, atol=1e-7)
