"""Text of the body: what LLVM leaves undefined, exits, partial vectors, sizes known at run time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad.graph.ops
from jitgrad.backend.lower import Target
from jitgrad.graph.builder import Builder
from jitgrad.graph.interpret import interpret
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.types import BOOL, FLOAT64, INT64, ArrayType, Type
from tests.backend.native import Native, check
from tests.graph.helpers import deep_graph


def build(make: Callable[..., Any], *types: Type) -> Graph:
    graph = Graph("f", types)
    made = make(Builder(graph), *graph.args)
    graph.yields = list(made) if isinstance(made, list | tuple) else [made]
    return graph


def row(dtype: Any, n: int) -> ArrayType:
    return ArrayType(np.dtype(dtype), (n,))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("shape", "axes"),
    [((3,), (0,)), ((700,), (0,)), ((9000,), (0,)), ((40, 5), (0,)), ((5, 3000), (1,)), ((70, 90), (0, 1))],
)
def test_a_sum_of_marked_cotangents_says_whether_any_was_used(shape: Any, axes: Any, dtype: str) -> None:
    """It is -0.0 where all of them are, also if it is added up from partial sums."""
    native = Native(build(lambda g, x: g.reduce_marked(x, axes=axes), ArrayType(np.dtype(dtype), shape)), ["C"])
    x = np.full(shape, -0.0, dtype)
    assert np.signbit(native(x)[0]).all()
    x[..., 0] = 0.0
    assert np.array_equal(np.signbit(native(x)[0]), np.signbit(x).all(axis=axes))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("target", ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"])
def test_floats_out_of_range_become_some_integer(dtype: str, target: str) -> None:
    limit = np.iinfo(target)
    values = np.array([np.nan, np.inf, -np.inf, 1e300, -1e300, 1e19, -1e19, 3e9, -3e9, 0.0, 1.5, 100.7], dtype)
    graph = build(lambda g, x: g.cast(x, dtype=np.dtype(target)), row(dtype, len(values)))
    native = Native(graph, ["C"])
    with np.errstate(all="ignore"):
        (found,) = native(values)
    inside = (values >= limit.min) & (values <= limit.max)
    np.testing.assert_array_equal(found[inside], values[inside].astype(target))
    assert found[-1] == 100 and found[-2] == 1


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint64"])
def test_integer_division_by_zero_and_overflow(dtype: str) -> None:
    limits = np.iinfo(dtype)
    values = np.array([limits.min, limits.max, 0, 1, 7, limits.max - 1], dtype)
    x, y = (a.ravel() for a in np.meshgrid(values, np.array([0, 1, 2, limits.max, limits.min, 3], dtype)))
    if limits.min < 0:
        x, y = np.append(x, values), np.append(y, np.full(6, -1, dtype))
    kind = row(dtype, len(x))
    graph = build(
        lambda g, x, y: [g.floor_divide(x, y), g.remainder(x, y), g.negative(x), g.multiply(x, y)], kind, kind
    )
    check(graph, x, y)


@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "uint64"])
def test_shifts_beyond_the_width(dtype: str) -> None:
    bits = np.dtype(dtype).itemsize * 8
    x = np.array([1, 3, np.iinfo(dtype).min, np.iinfo(dtype).max] * 5, dtype)
    y = np.repeat(np.array([0, 1, bits - 1, bits, bits + 5], dtype), 4)
    graph = build(lambda g, x, y: [g.left_shift(x, y), g.right_shift(x, y)], row(dtype, 20), row(dtype, 20))
    check(graph, x, y)


def test_float_remainders_are_numpys() -> None:
    values = np.array([0.0, -0.0, 1.0, -1.0, 2.5, -2.5, np.inf, -np.inf, np.nan, 1e300, 5e-324])
    x, y = (a.ravel() for a in np.meshgrid(values, values))
    graph = build(lambda g, x, y: [g.floor_divide(x, y), g.remainder(x, y)], row(float, len(x)), row(float, len(x)))
    native = check(graph, x, y)
    expected = interpret(graph, [x, y])
    for a, b in zip(native(x, y), expected, strict=True):
        np.testing.assert_array_equal(np.signbit(a[~np.isnan(a)]), np.signbit(b[~np.isnan(b)]))


def test_arithmetic_is_bit_equal() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=5000) * 10.0 ** rng.integers(-200, 200, 5000), rng.normal(size=5000)

    def make(g: Builder, x: Value, y: Value) -> list[Value]:
        fused = g.subtract(g.multiply(x, y), g.multiply(y, 0.3))
        return [fused, g.divide(x, y), g.sqrt(g.absolute(x)), g.cast(x, dtype=np.dtype("float32"))]

    check(build(make, row(float, 5000), row(float, 5000)), x, y, exact=True)


@pytest.mark.parametrize("vector_bytes", [16, 32, 64])
def test_every_vector_width(vector_bytes: int) -> None:
    def make(g: Builder, x: Value) -> list[Value]:
        return [g.exp(x), g.reduce_sum(x, axes=(0,)), g.less(x, 0.0)]

    x = np.random.default_rng(0).normal(size=77)
    graph = build(make, row(float, 77))
    found = Native(graph, ["C"], features=Target(vector_bytes, False))(x)
    for a, b in zip(found, interpret(graph, [x]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)


@pytest.mark.parametrize("n", [0, 1, 3, 8, 17, 64, 100])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int8", "bool"])
def test_sizes_known_at_run_time(n: int, dtype: str) -> None:
    graph = Graph("f", [INT64])
    graph.add_arg(ArrayType(np.dtype(dtype), (graph.args[0],)))
    graph.add_arg(ArrayType(np.dtype(dtype), (graph.args[0], 3)))
    size, x, m = graph.args
    g = Builder(graph)
    same = g.equal(x, x) if dtype == "bool" else g.maximum(x, x)
    total = g.cast(same, dtype=np.dtype(float))
    flat = g.transpose(m, permutation=(1, 0))
    steps = g.load(x, size, index=(jitgrad.graph.ops.index.Span(0, 1, None),))
    graph.yields = [g.reduce_sum(total, axes=(0,)), same, flat, g.cast(steps, dtype=np.dtype(float))]
    rng = np.random.default_rng(n)
    draw = (
        (lambda *s: rng.integers(0, 2, s).astype(dtype)) if dtype in ("int8", "bool") else lambda *s: rng.normal(size=s)
    )
    check(graph, n, draw(n), draw(n, 3))
    check(graph, n, draw(n), draw(n, 3), optimise=False)


def test_error_operands_of_every_dtype() -> None:
    def make(g: Builder, a: Value, b: Value, c: Value) -> Value:
        single = g.cast(a, dtype=np.dtype("float32"))
        g.emit("check", [c, a, b, c, single], {"exception": ValueError, "message": "{} {} {} {}"})
        return a

    native = Native(build(make, FLOAT64, INT64, BOOL), ["C"] * 3)
    assert native(2.5, -7, True)[0] == 2.5
    with pytest.raises(ValueError, match=r"2.5 -7 False 2.5"):
        native(2.5, -7, False)
    assert [s.exception for s in native.body.sites] == [ValueError]


def test_reads_stay_behind_their_check() -> None:
    from_ops = jitgrad.graph.ops.index

    def make(g: Builder, a: Value, i: Value) -> Value:
        g.emit("check", [g.less(i, 10), i], {"exception": IndexError, "message": "{}"})
        return from_ops.load(g, a, [from_ops.Pick(i)])

    native = Native(build(make, row(float, 10), INT64), ["C", "C"])
    assert native(np.arange(10.0), 9)[0] == 9.0
    with pytest.raises(IndexError):
        native(np.arange(10.0), 2**60)


def test_long_chains_do_not_recurse_without_bound() -> None:
    def make(g: Builder, x: Value) -> Value:
        for k in range(3000):
            x = g.add(g.multiply(x, 0.5), float(k % 7))
        return x

    check(build(make, row(float, 9)), np.arange(9.0), exact=True)


def test_deep_nests_of_regions() -> None:
    # The interpreter itself does not go as deep.
    native = Native(deep_graph(500), ["C"] * 3, optimise=False)
    assert native(True, 1, 0.5)[0] == pytest.approx(np.sin(0.5))


def test_many_reductions_do_not_grow_the_stack() -> None:
    def make(g: Builder, x: Value) -> Value:
        for _ in range(60):
            x = g.subtract(x, g.divide(g.reduce_sum(g.square(x), axes=(0,)), 1e4))
        return x

    native = check(build(make, row(float, 1000)), np.linspace(-1, 1, 1000), optimise=False)
    assert native.body.ir.count("[48 x") == 1


@pytest.mark.parametrize("kind", [FLOAT64, row(np.float64, 11)])
def test_sine_and_cosine_of_one_operand_share_a_call(kind: ArrayType) -> None:
    """Whichever comes first, also with several of each; the product of both is right."""

    def make(g: Builder, x: Value) -> list[Value]:
        y = g.multiply(g.cos(x), g.sin(x))
        return [g.add(g.add(y, g.sin(x)), g.cos(g.multiply(x, 2.0)))]

    native = check(build(make, kind), np.linspace(-3.0, 5.0, 11) if kind.shape else 0.7)
    calls = [line for line in native.body.ir.split("\n") if "= call fastcc" in line and "@jg_" in line]
    assert sum("@jg_sincos_" in line for line in calls) == sum("@jg_cos_" in line for line in calls)
    assert not any("@jg_sin_" in line for line in calls)
