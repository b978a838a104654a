"""Divisions in derivatives: which may become products with a reciprocal, and that these are as good."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad import grad, jit, value_and_grad
from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.adjoint import adjoint
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.types import FLOAT64
from tests.graph.diff_bank import loop, program

FREE = "any_rounding"


def quotients(graph: Graph) -> list[bool]:
    """Return, for the divisions of a graph in order, whether their rounding is ours."""
    return [op.attrs.get(FREE, False) for op in graph.walk() if op.name == "divide"]


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


def test_a_number_over_a_divisor_is_free_where_the_reciprocal_is_shared() -> None:
    # The slope of sqrt is 0.5 / root, and the cotangent of 1 / root is divided by the root too.
    def alone(g: Builder, x: Value) -> Sequence[Value]:
        return [g.sqrt(x)]

    def shared(g: Builder, x: Value) -> Sequence[Value]:
        root = g.sqrt(x)
        return [g.add(g.divide(x, root), root)]

    assert quotients(reverse(alone, 1)) == [False]
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
