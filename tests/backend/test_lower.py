"""Lowered graphs give what the interpreter gives: every kind of op, dtypes, layouts, sizes, random graphs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad.graph.ops  # noqa: F401  (declares the primitives)
from jitgrad.errors import UnsupportedError
from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.ops.index import Pick, Span, add_to, load, store
from jitgrad.graph.types import ArrayType, Type
from tests.backend.fuzz_lower import try_seed
from tests.backend.native import Native, check
from tests.sampling import sampled

SIZES = [0, 1, 2, 3, 5, 8, 9, 17, 33, 100, 1023]


def typ(dtype: Any, *shape: int) -> ArrayType:
    return ArrayType(np.dtype(dtype), shape)


def build(make: Callable[..., Any], *types: Type) -> Graph:
    """Return the graph of a function of a builder and the arguments."""
    graph = Graph("f", types)
    made = make(Builder(graph), *graph.args)
    graph.yields = list(made) if isinstance(made, list | tuple) else [made]
    return graph


def draw(rng: np.random.Generator, dtype: Any, *shape: int) -> np.ndarray:
    kind = np.dtype(dtype).kind
    if kind == "f":
        return rng.normal(size=shape).astype(dtype)
    if kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    return rng.integers(0 if kind == "u" else -9, 10, shape).astype(dtype)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_chain_with_several_outputs_is_one_nest(n: int, dtype: str) -> None:
    def make(g: Builder, x: Value, a: Value) -> list[Value]:
        s = g.sin(x)
        return [g.multiply(g.add(s, x), a), g.reduce_sum(g.multiply(s, x), axes=(0,)), g.less(x, a)]

    graph = build(make, typ(dtype, n), typ(dtype))
    native = check(graph, draw(np.random.default_rng(n), dtype, n), 0.5)
    assert native.body.notes.count("nest") == 1
    assert native.body.arena_bytes == 0


@pytest.mark.parametrize("first", ["rows", "columns"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int32"])
@pytest.mark.parametrize(("n", "m"), [(1, 40), (40, 16), (33, 100), (70, 33), (0, 20), (200, 17)])
def test_sums_along_rows_and_columns_are_one_nest(n: int, m: int, dtype: str, first: str) -> None:
    def make(g: Builder, x: Value) -> list[Value]:
        y = g.multiply(x, x)
        rows, columns, total = ((1,), (0,), (0, 1)) if first == "rows" else ((0,), (1,), (0,))
        return [g.reduce_sum(y, axes=rows), g.reduce_sum(y, axes=columns), g.add(y, x), g.reduce_sum(x, axes=total)]

    native = check(build(make, typ(dtype, n, m)), draw(np.random.default_rng(n), dtype, n, m))
    # A third set of axes is another nest.
    assert native.body.notes.count("nest") == (2 if first == "rows" else 1)


@pytest.mark.parametrize("order", ["C", "F"])
def test_reductions_kept_in_memory(order: str) -> None:
    def make(g: Builder, x: Value, p: Value) -> list[Value]:
        marks = g.select(p, g.add(x, 0.0), g.constant(-0.0))
        return [
            g.reduce_marked(marks, axes=(0,)), g.reduce_or(p, axes=(0,)), g.reduce_marked(marks, axes=(1,)),
            g.reduce_max(x, axes=(1,)), g.negative(x),
        ]  # fmt: skip

    rng = np.random.default_rng(3)
    used = draw(rng, "bool", 30, 37)
    used[:, 5] = used[4] = False
    native = check(build(make, typ("float64", 30, 37), typ("bool", 30, 37)), draw(rng, "float64", 30, 37), used)
    assert native.body.notes.count("nest") == 1
    x = np.asarray(rng.normal(size=(30, 37)), order=order)
    native = check(build(make, typ("float64", 30, 37), typ("bool", 30, 37)), x, used)
    found = native(x, used, shapes=[(37,), (37,), (30,), (30,), (30, 37)])
    assert np.signbit(found[0][5]) and np.signbit(found[2][4]), "nothing was used"


def test_short_rows_are_not_kept_in_memory() -> None:
    def make(g: Builder, x: Value) -> list[Value]:
        return [g.reduce_sum(x, axes=(0,)), g.reduce_sum(x, axes=(1,))]

    native = check(build(make, typ("float64", 50, 4)), draw(np.random.default_rng(0), "float64", 50, 4))
    assert native.body.notes.count("nest") == 2


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64", "bool", "float32"])
@pytest.mark.parametrize("n", [1, 7, 40])
def test_arithmetic_and_casts_of_every_dtype(dtype: str, n: int) -> None:
    targets = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64", "bool"]

    def make(g: Builder, x: Value, y: Value) -> list[Value]:
        made = [g.cast(x, dtype=np.dtype(t)) for t in targets]
        made += [g.add(x, y), g.multiply(x, y), g.equal(x, y), g.less(x, y), g.maximum(x, y)]
        if dtype != "bool":
            made += [g.reduce_sum(x, axes=(0,)), g.reduce_prod(y, axes=(0,)), g.subtract(x, y)]
        return [*made, g.reduce_max(x, axes=(0,)), g.reduce_min(x, axes=(0,)), g.argmax(x, axis=0), g.argmin(x, axis=0)]

    graph = build(make, typ(dtype, n), typ(dtype, n))
    rng = np.random.default_rng(n)
    x, y = draw(rng, dtype, n), draw(rng, dtype, n)
    if dtype == "float32":
        x, y = np.abs(x), np.abs(y)
    check(graph, x, y)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 4), (17, 33), (0, 5), (5, 0), (64, 2), (2, 64)])
@pytest.mark.parametrize("order", ["C", "F", "steps", "reversed"])
def test_views_broadcasts_and_layouts(n: int, m: int, order: str) -> None:
    def make(g: Builder, x: Value, b: Value) -> list[Value]:
        t = g.transpose(x, permutation=(1, 0))
        y = g.add(g.multiply(t, 2.0), g.reshape(b, shape=(m, 1)))
        flat = g.reshape(g.add(x, b), shape=(n * m,))
        rows = g.reduce_sum(x, axes=(1,))
        return [y, flat, g.add(flat, 1.0), rows, g.reduce_sum(x, axes=(0,)), g.reduce_sum(y, axes=(0, 1)), t]

    graph = build(make, typ("float64", n, m), typ("float64", m))
    base = np.random.default_rng(1).normal(size=(2 * n, 3 * m))
    views = {
        "C": lambda: np.ascontiguousarray(base[:n, :m]),
        "F": lambda: np.asfortranarray(base[:n, :m]),
        "steps": lambda: base[::2, ::3],
        "reversed": lambda: base[:n, :m][::-1, ::-1],
    }
    check(graph, views[order](), np.random.default_rng(2).normal(size=m))
    check(graph, views[order](), np.random.default_rng(2).normal(size=2 * m)[::2], orders=["F"] * 7)


def test_zero_strides() -> None:
    graph = build(lambda g, x: [g.add(x, x), g.reduce_sum(x, axes=(0,))], typ("float64", 5, 4))
    check(graph, np.broadcast_to(np.arange(4.0), (5, 4)))


@pytest.mark.parametrize("n", [3, 20])
def test_parts_with_static_and_run_time_positions(n: int) -> None:
    def make(g: Builder, x: Value, i: Value) -> list[Value]:
        row = load(g, x, [Pick(i), Span(0, 1, n)])
        back = load(g, g.multiply(x, 2.0), [Span(n - 1, -1, n), Span(0, 2, (n + 1) // 2)])
        return [g.exp(row), back, load(g, x, [Pick(1), Pick(i)]), g.reduce_sum(row, axes=(0,))]

    graph = build(make, typ("float64", n, n), typ("int64"))
    check(graph, np.random.default_rng(0).normal(size=(n, n)), 2)


@pytest.mark.parametrize("n", sampled([1, 2, 3, 7, 8, 9, 15, 16, 17, 33, 40], 3))
@pytest.mark.parametrize("dtype", ["float64", "float32", "int32", "int16", "uint8", "bool"])
def test_parts_that_run_backwards(n: int, dtype: str) -> None:
    def known(g: Builder, x: Value, y: Value) -> list[Value]:
        back = [Span(n - 1, -1, n)]
        turned = load(g, x, back)
        made = [turned, store(g, y, turned, [Span(n, -1, n)]), g.equal(turned, load(g, y, [Span(0, 1, n)]))]
        return [*made, g.reduce_max(turned, axes=(0,)), add_to(g, y, x, [Span(n + 1, -1, n)])]

    def run_time(g: Builder, x: Value, y: Value, size: Value, last: Value) -> list[Value]:
        one = g.constant(np.int64(1))
        straight = load(g, y, [Span(one, 1, size)])
        turned = load(g, x, [Span(last, -1, size)])
        made = [store(g, y, turned, [Span(1, 1, size)]), store(g, y, straight, [Span(size, -1, size)])]
        made += [store(g, y, turned, [Span(last, -1, size)]), add_to(g, y, turned, [Span(size, -1, size)])]
        return [
            *made,
            g.reduce_max(turned, axes=(0,)),
            g.reduce_sum(g.cast(turned, dtype=np.dtype("int64")), axes=(0,)),
        ]

    rng = np.random.default_rng(n)
    x, y = draw(rng, dtype, n), draw(rng, dtype, n + 3)
    if dtype == "bool":
        run_time_types = typ(dtype, n), typ(dtype, n + 3), typ("int64"), typ("int64")
        graph = build(lambda g, *args: run_time(g, *args)[:3], *run_time_types)
        check(graph, x, y, n, n - 1)
        return
    check(build(known, typ(dtype, n), typ(dtype, n + 3)), x, y)
    graph = build(run_time, typ(dtype, n), typ(dtype, n + 3), typ("int64"), typ("int64"))
    for size in {1, n // 2 + 1, n}:
        check(graph, x, y, size, size - 1)


@pytest.mark.parametrize(
    ("m", "k", "n"), [(3, 4, 5), (1, 7, 1), (40, 50, 60), (1, 50, 30), (30, 50, 1), (5, 0, 3), (0, 3, 2), (33, 9, 17)]
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_matrix_products_take_transposed_operands(m: int, k: int, n: int, dtype: str) -> None:
    def make(g: Builder, x: Value, w: Value) -> list[Value]:
        y = g.matmul(x, g.transpose(w, permutation=(1, 0)))
        return [
            y,
            g.matmul(g.transpose(y, permutation=(1, 0)), x),
            g.matmul(g.add(x, x), g.transpose(w, permutation=(1, 0))),
        ]

    graph = build(make, typ(dtype, m, k), typ(dtype, n, k))
    rng = np.random.default_rng(3)
    x, w = draw(rng, dtype, m, k), draw(rng, dtype, n, k)
    native = check(graph, x, w, rtol=1e-4 if dtype == "float32" else 1e-11)
    assert "copy" not in native.body.notes
    check(
        graph, np.asfortranarray(x), np.asfortranarray(w), orders=["F"] * 3, rtol=1e-4 if dtype == "float32" else 1e-11
    )
    check(graph, np.repeat(x, 2, 1)[:, ::2], np.repeat(w, 2, 0)[::2], rtol=1e-4 if dtype == "float32" else 1e-11)


def test_batched_products() -> None:
    graph = build(lambda g, x, y: g.matmul(x, y), typ("float64", 4, 1, 12, 15), typ("float64", 3, 15, 11))
    rng = np.random.default_rng(0)
    check(graph, rng.normal(size=(4, 1, 12, 15)), rng.normal(size=(3, 15, 11)), rtol=1e-11)


def test_products_of_integers() -> None:
    graph = build(lambda g, x, y: g.matmul(x, y), typ("int64", 20, 30), typ("int64", 30, 9))
    rng = np.random.default_rng(0)
    check(graph, rng.integers(-9, 9, (20, 30)), rng.integers(-9, 9, (30, 9)))


@pytest.mark.parametrize("n", [1, 5, 30])
def test_structured_ops(n: int) -> None:
    def make(g: Builder, x: Value, i: Value) -> list[Value]:
        taken = g.gather(x, i)
        spread = g.scatter_add(x, g.multiply(taken, 2.0), i)
        joined = g.concatenate(x, g.negative(taken), axis=0)
        steps = g.cast(g.iota(dtype="int64", shape=(n,)), dtype=np.dtype("float64"))
        put = g.scatter(x, g.add(taken, 1.0), i)
        scans = [g.cumsum(x, axis=0), g.cumsum(x, axis=1), g.cumprod(x, axis=1)]
        orders = [g.sort(x, axis=0), g.sort(x, axis=1), g.argsort(x, axis=1, stable=True)]
        found = [g.argmax(x, axis=1), g.argmin(x, axis=0), g.norm2(x, axes=(1,)), g.norm2(x, axes=(0, 1))]
        return [taken, spread, joined, steps, put, *scans, *orders, *found]

    graph = build(make, typ("float64", n, 3), typ("int64", 7))
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, 3))
    x[0, 1] = np.nan
    check(graph, x, rng.integers(0, n, 7))
    check(graph, np.asfortranarray(x), rng.integers(0, n, 14)[::2])


def test_nan_wins_extrema_and_arguments() -> None:
    def make(g: Builder, x: Value) -> list[Value]:
        return [
            g.reduce_max(x, axes=(1,)), g.reduce_min(x, axes=(1,)), g.reduce_max(x, axes=(0,)), g.argmax(x, axis=1),
            g.argmin(x, axis=1), g.maximum(x, 0.0), g.minimum(0.0, x),
        ]  # fmt: skip

    x = np.random.default_rng(0).normal(size=(20, 20))
    for k in range(20):
        x[k, k] = np.nan
    check(build(make, typ("float64", 20, 20)), x)


@pytest.mark.parametrize("n", [1, 100, 1000, 4097, 100_003, 1_000_000])
@pytest.mark.parametrize("shape", ["whole", "columns", "strided"])
def test_sums_are_as_accurate_as_pairwise(n: int, shape: str) -> None:
    rng = np.random.default_rng(n)
    if shape == "columns":
        x = (rng.random((n, 3)) * 10.0 ** rng.integers(-8, 8, (n, 3))).astype(np.float64)
        native = Native(build(lambda g, v: g.reduce_sum(v, axes=(0,)), typ("float64", n, 3)), ["C"])
        (found,) = native(x)
    else:
        wide = rng.random((n, 2)) * 10.0 ** rng.integers(-8, 8, (n, 2))
        x = wide[:, :1] if shape == "strided" else np.ascontiguousarray(wide[:, :1])
        layout = (2,) if shape == "strided" else "C"
        native = Native(build(lambda g, v: g.reduce_sum(v, axes=(0,)), typ("float64", n)), [layout])
        found = np.array([native(x[:, 0])[0]])
    for column in range(x.shape[1]):
        true = math.fsum(x[:, column])
        bound = (math.log2(n) + 20) * 1.2e-16 * math.fsum(np.abs(x[:, column]))
        assert abs(found[column] - true) <= bound


def test_sum_of_many_ones_in_single_precision() -> None:
    n = 20_000_000
    native = Native(build(lambda g, v: g.reduce_sum(v, axes=(0,)), typ("float32", n)), ["C"])
    assert native(np.full(n, 1.1, np.float32))[0] == pytest.approx(1.1 * n, rel=1e-6)


def test_softmax_keeps_one_temporary() -> None:
    def make(g: Builder, x: Value) -> Value:
        top = g.reshape(g.reduce_max(x, axes=(1,)), shape=(50, 1))
        e = g.exp(g.subtract(x, top))
        return g.divide(e, g.reshape(g.reduce_sum(e, axes=(1,)), shape=(50, 1)))

    check(build(make, typ("float64", 50, 70)), np.random.default_rng(0).normal(size=(50, 70)))


@pytest.mark.parametrize("seed", sampled(range(60), 3))
def test_random_graphs(seed: int) -> None:
    try_seed(seed, 25)


def test_same_text_for_the_same_graph() -> None:
    def make(g: Builder, x: Value) -> list[Value]:
        y = g.exp(x)
        return [g.reduce_sum(y, axes=(0,)), g.multiply(y, x)]

    texts = {Native(build(make, typ("float64", 33)), ["C"]).body.ir for _ in range(2)}
    assert len(texts) == 1


def test_what_has_no_code_is_refused_by_name() -> None:
    graph = build(lambda g, x: g.add(x, x), typ("complex128", 3))
    with pytest.raises(UnsupportedError, match=r"JG250.*complex128"):
        Native(graph, ["C"])


def test_an_array_is_read_by_a_late_nest_before_its_memory_is_taken() -> None:
    """A nest that reads a version of an array must come before the op that takes its memory, whatever else waits."""

    def make(g: Builder, m0: Value, m1: Value, x0: Value, x1: Value, x2: Value) -> list[Value]:
        back, middle = [Span(3, -1, 4)], [Span(1, 1, 2)]
        nothing = g.constant(0.0)
        rows = g.broadcast(nothing, shape=(3, 4))
        ones = g.broadcast(nothing, shape=(4,))
        w = g.add(store(g, ones, g.broadcast(m1, shape=(2,)), middle), g.constant(2.0))
        ct = add_to(g, rows, x1, [Pick(0), *back])
        sums = add_to(g, x2, g.multiply(x0, g.cos(load(g, w, back))), back)
        total = g.add(sums, load(g, ct, [Pick(0), Span(0, 1, 4)]))
        last = store(g, ct, ones, [Pick(0), Span(0, 1, 4)])
        return [last, g.reduce_sum(load(g, total, middle), axes=(0,))]

    graph = build(make, typ("float64", 3, 4), typ("float64"), *[typ("float64", 4)] * 3)
    rng = np.random.default_rng(0)
    check(graph, rng.normal(size=(3, 4)), 0.5, *rng.normal(size=(3, 4)))


@pytest.mark.parametrize(
    ("m", "k", "n"), [(2, 0, 1), (0, 2, 3), (3, 0, 2), (1, 2, 0), (2, 3, 1), (1, 30, 25), (30, 20, 25)]
)
def test_products_of_sizes_known_at_run_time(m: int, k: int, n: int) -> None:
    """Empty products are zeros, whatever BLAS makes of them and the memory held before."""

    def make(g: Builder, x: Value, y: Value, m: Value, k: Value, n: Value) -> Value:
        a = load(g, x, [Span(0, 1, m), Span(0, 1, k)])
        made: Value = g.matmul(a, load(g, y, [Span(0, 1, k), Span(0, 1, n)]))
        return made

    graph = build(make, typ("float64", 30, 30), typ("float64", 30, 30), *[typ("int64")] * 3)
    rng = np.random.default_rng(m + k + n)
    x, y = rng.normal(size=(2, 30, 30))
    for _ in range(3):
        native = check(graph, x, y, m, k, n)
        junk = [np.full(size, np.nan) for size in range(1, 40)]  # what is freed here, malloc gives again
        del junk
        (found,) = native(x, y, *(np.int64(s) for s in (m, k, n)), shapes=[(m, n)])
        np.testing.assert_allclose(found, x[:m, :k] @ y[:k, :n], rtol=1e-12, atol=1e-12)
