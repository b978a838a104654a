"""Roundings in derivatives: which quotients and products may be off in the last place, and that they are as good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad import grad, jit, value_and_grad
from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.adjoint import adjoint
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.types import FLOAT64
from tests.backend.native import Native
from tests.graph.diff_bank import loop, program

FREE = "any_rounding"


def quotients(graph: Graph) -> list[bool]:
    """Return, for the divisions of a graph in order, whether their rounding is ours."""
    return [op.attrs.get(FREE, False) for op in graph.walk() if op.name == "divide"]


def products(graph: Graph) -> list[bool]:
    """Return, for the products of a graph in order, whether their rounding is ours."""
    return [op.attrs.get(FREE, False) for op in graph.walk() if op.name == "multiply"]


def reverse(build: Callable[..., Sequence[Value]], count: int) -> Graph:
    """Return the adjoint of a graph of some scalars by all of them."""
    return adjoint(program([FLOAT64] * count, build), range(count))


def test_the_quotients_of_a_derivative_are_free_and_those_of_the_program_are_not() -> None:
    made = reverse(lambda g, x, y: [g.divide(x, y)], 2)
    first, *rest = quotients(made)
    assert not first
    assert rest and all(rest)


def test_quotients_in_a_reverse_loop_are_free() -> None:
    def build(g: Builder, x: Value, y: Value) -> Sequence[Value]:
        return loop(g, 5, [x], lambda k, s: [g.divide(s, g.add(y, s))])

    marks = quotients(reverse(build, 2))
    assert marks.count(True) >= 2
    assert not marks[0]


def test_a_number_over_a_divisor_is_free() -> None:
    # The slope of sqrt is 0.5 / root: a reciprocal of its own, or one that is there.
    def alone(g: Builder, x: Value) -> Sequence[Value]:
        return [g.sqrt(x)]

    def shared(g: Builder, x: Value) -> Sequence[Value]:
        root = g.sqrt(x)
        return [g.add(g.divide(x, root), root)]

    assert quotients(reverse(alone, 1)) == [True]
    first, *rest = quotients(reverse(shared, 1))
    assert not first and len(rest) > 1 and all(rest)


def test_a_quotient_that_decides_keeps_its_bits() -> None:
    def build(g: Builder, x: Value, y: Value) -> Sequence[Value]:
        inner = adjoint(program([FLOAT64, FLOAT64], lambda g, a, b: [g.divide(a, b)]), [0, 1])
        mapping = dict(zip(inner.args, (x, y, g.constant(1.0)), strict=True))
        for op in inner.ops:
            made = g.emit(op.name, [mapping[v] for v in op.operands], dict(op.attrs))
            mapping[op.result] = made.result
        by_y = mapping[inner.yields[2]]
        return [g.select(g.less(by_y, g.constant(-0.5)), g.multiply(by_y, x), x)]

    marks = [op for op in reverse(build, 2).walk() if op.name == "divide"]
    decisive = [op for op in marks if not op.attrs.get(FREE)]
    assert len(decisive) >= 2, "x / y / y is compared, and all that leads there is exact"


def test_the_products_of_a_derivative_are_free_and_those_of_the_program_are_not() -> None:
    first, *rest = products(reverse(lambda g, x, y: [g.multiply(x, y)], 2))
    assert not first
    assert len(rest) == 2 and all(rest)


def test_what_repeats_the_program_keeps_its_bits() -> None:
    # The way back needs 1 - s * y again.
    def build(g: Builder, x: Value, y: Value) -> Sequence[Value]:
        return loop(g, 5, [x], lambda k, s: [g.sin(g.subtract(1.0, g.multiply(s, y)))])

    def of_loop(marked: bool) -> int:
        _, back = (op for op in made.ops if op.regions)
        return sum(op.name == "multiply" and op.attrs.get(FREE, False) == marked for op in back.regions[0].ops)

    made = reverse(build, 2)
    assert of_loop(marked=False) == 1
    assert of_loop(marked=True) >= 2


def test_free_products_are_rounded_once_with_the_sum_and_the_programs_are_not() -> None:
    def f(x: np.ndarray) -> Any:
        s = 1.0
        for i in range(len(x)):
            s = s * x[i] + x[i] * 0.3
        return s

    x = np.linspace(0.5, 1.5, 20)
    assert "fmul contract" in grad(f).llvm(x)
    assert "fmul contract" not in jit(f).llvm(x)
    assert value_and_grad(f)(x)[0] == f(x) == jit(f)(x)


def test_values_keep_numpys_bits() -> None:
    def f(x: np.ndarray, y: np.ndarray) -> Any:
        s = 0.0
        for i in range(len(x)):
            s = (s + x[i]) / y[i]
        return s

    rng = np.random.default_rng(3)
    x, y = rng.normal(size=50), rng.uniform(0.5, 3.0, 50)
    assert value_and_grad(f)(x, y)[0] == f(x, y) == jit(f)(x, y)


def test_derivatives_are_as_good_as_with_divisions() -> None:
    def f(x: np.ndarray, y: np.ndarray) -> Any:
        q = x / y
        return np.sum(q * q / y)

    rng = np.random.default_rng(4)
    x, y = rng.normal(size=33), rng.uniform(0.5, 3.0, 33)
    by_x, by_y = grad(f, argnums=(0, 1))(x, y)
    np.testing.assert_allclose(by_x, 2 * x / y**3, rtol=2e-15)
    np.testing.assert_allclose(by_y, -3 * x**2 / y**4, rtol=2e-15)


def test_subnormal_divisors_give_no_wrong_finite_derivative() -> None:
    got = grad(lambda x, y: x / y)(1.0, 5e-320)
    assert got == np.inf


def test_a_quotient_that_is_repeated_for_a_root_keeps_its_bits() -> None:
    # Where x / y is 1 but x * (1 / y) is not, the way back would divide by another root than 0.
    def f(x: np.ndarray, y: np.ndarray, n: int) -> Any:
        s, u = 0.0, x.copy()
        for i in range(n):
            u = np.sqrt(1.0 - x / y) * u
            s += np.sum(u * (i + 1))
        return s

    x = np.arange(1.0, 201.0)
    assert not np.isfinite(grad(f)(x, x.copy(), 3)).any()


def test_the_reciprocal_of_a_product_is_one_of_reciprocals() -> None:
    graph = Graph("f", [FLOAT64.with_shape((64,))] * 3, ["a", "x", "y"])
    g = Builder(graph)
    a, x, y = graph.args
    product = g.multiply(x, y)
    graph.yields = [g.divide(a, v, any_rounding=True) for v in (product, x, y)]
    native = Native(graph, ["C"] * 3)
    assert native.body.ir.count("fdiv") == 2
    low, high = np.logspace(-150, 150, 64), np.logspace(120, -100, 64)
    for args in (np.linspace(1, 2, 64), low, high), (np.linspace(1, 2, 64), low, low), (np.ones(64), -high, high):
        for got, divisor in zip(native(*args), (args[1] * args[2], *args[1:]), strict=True):
            np.testing.assert_allclose(got, args[0] / divisor, rtol=1e-15)
    ends = np.array([0.0, np.inf, -np.inf, np.nan] * 16)
    with np.errstate(all="ignore"):
        for one in (ends, np.full(64, 2.0)):
            made, *_ = native(np.ones(64), one, ends)
            np.testing.assert_array_equal(made, 1.0 / (one * ends))


def test_the_reciprocal_of_a_root_is_made_of_that_of_its_square() -> None:
    graph = Graph("f", [FLOAT64.with_shape((64,))] * 2, ["a", "x"])
    g = Builder(graph)
    a, x = graph.args
    root = g.sqrt(x)
    graph.yields = [g.divide(a, v, any_rounding=True) for v in (g.multiply(x, root), root, x)]
    native = Native(graph, ["C"] * 2)
    assert native.body.ir.count("fdiv") == 1

    def divisors(x: np.ndarray) -> tuple[np.ndarray, ...]:
        return x * np.sqrt(x), np.sqrt(x), x

    low = np.logspace(-200, 200, 64)
    for got, divisor in zip(native(low, low), divisors(low), strict=True):
        np.testing.assert_allclose(got, low / divisor, rtol=2e-15)
    ends = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -1.0, 5e-324, 2.0] * 8)
    with np.errstate(all="ignore"):
        made = native(np.ones(64), ends)
        for got, divisor in zip(made[1:], divisors(ends)[1:], strict=True):
            keep = ends != 5e-324  # below 5.6e-309 the reciprocal of x is infinite
            np.testing.assert_allclose(got[keep], 1.0 / divisor[keep], rtol=1e-15)


def test_a_product_that_underflows_is_no_mark_of_what_is_not_used() -> None:
    """Its rounding with a sum would be -0.0, and the infinite slope upstream would be left out."""

    def f(x: np.ndarray, w: np.ndarray, c: float) -> Any:
        s = np.sqrt(x)
        t = 0.0
        for i in range(len(x)):
            t += s[i] * w[i]
        return t * c

    for sign in 1.0, -1.0:
        gradient = grad(f)(np.array([0.0, 1.0, 0.0, 4.0]), np.full(4, sign * 1e-200), 1e-200)
        assert np.isnan(gradient[[0, 2]]).all() and not gradient[[1, 3]].any()
