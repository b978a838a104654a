"""Masks and cancellation: exact zeros on sides not taken, and finite slopes where factors cancel, in both modes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.adjoint import adjoint
from jitgrad.graph.diff.tangent import tangent
from jitgrad.graph.interpret import interpret
from jitgrad.graph.ir import Value
from jitgrad.graph.ops.memory import Span, load
from jitgrad.graph.ops.shape import broadcast_to, zeros
from jitgrad.graph.types import FLOAT64, ListType
from jitgrad.graph.verify import verify
from tests.graph.diff_bank import branch, floats, get, loop, loop_while, program, put


def summed(g: Builder, v: Value) -> Value:
    return g.reduce_sum(v, axes=tuple(range(v.array.rank)))


def gradient(build: Callable[..., Sequence[Value]], x: np.ndarray) -> np.ndarray:
    """Return the derivative of a graph of one argument and one scalar result; the modes must agree."""
    graph = program([floats(*x.shape)], build, ["x"])
    made, forward = adjoint(graph, [0]), tangent(graph, [0])
    verify(made)
    verify(forward)
    reverse = interpret(made, [x, 1.0])[-1]
    for k in range(x.size):
        t = np.zeros(x.size)
        t[k] = 1.0
        moved = interpret(forward, [x, t.reshape(x.shape)])[-1]
        np.testing.assert_allclose(moved, reverse.flat[k], rtol=1e-12, atol=0, err_msg=f"by element {k}")
    return reverse


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


SMOOTH: dict[str, tuple[Callable[[Builder, Value], Value], list[float]]] = {
    # Functions that are smooth at 0, where a factor of their derivative is infinite; at [0, 1].
    "product": (lambda g, x: _square(g, g.sqrt(x)), [1.0, 1.0]),
    "square": (lambda g, x: g.square(g.sqrt(x)), [1.0, 1.0]),
    "power 2": (lambda g, x: g.power(g.sqrt(x), 2.0), [1.0, 1.0]),
    "power 3": (lambda g, x: g.power(g.sqrt(x), 3.0), [0.0, 1.5]),
    "of the negative": (lambda g, x: g.negative(g.square(g.negative(g.sqrt(x)))), [-1.0, -1.0]),
    "of twice": (lambda g, x: g.square(g.multiply(g.sqrt(x), 2.0)), [4.0, 4.0]),
    "of half": (lambda g, x: g.square(g.divide(g.sqrt(x), 2.0)), [0.25, 0.25]),
    "three times": (lambda g, x: g.multiply(g.square(g.sqrt(x)), 3.0), [3.0, 3.0]),
    "root of twice": (lambda g, x: g.square(g.sqrt(g.multiply(x, 2.0))), [2.0, 2.0]),
    "logarithm": (lambda g, x: g.log(g.exp(g.multiply(x, 800.0))), [800.0, 800.0]),
    "binary logarithm": (lambda g, x: g.log2(g.exp2(g.multiply(x, 2000.0))), [2000.0, 2000.0]),
}


def _square(g: Builder, s: Value) -> Value:
    made: Value = g.multiply(s, s)
    return made


@pytest.mark.parametrize("name", list(SMOOTH))
def test_factors_cancel_in_both_modes(name: str) -> None:
    function, want = SMOOTH[name]
    x = np.array([0.0, 1.0])
    np.testing.assert_allclose(gradient(lambda g, x: [summed(g, function(g, x))], x), want, rtol=1e-14)

    def in_loop(g: Builder, x: Value) -> Sequence[Value]:
        return loop(g, 2, [g.constant(0.0)], lambda k, t: [g.add(t, function(g, get(g, x, k)))])

    np.testing.assert_allclose(gradient(in_loop, x), want, rtol=1e-14)


def test_a_constant_exponent_is_known_inside_loops() -> None:
    """x**3.0 takes the short rule there too: no test whether the base or a logarithm is finite."""

    def build(g: Builder, x: Value) -> Sequence[Value]:
        three = g.constant(3.0)

        def step(k: Value, y: Value) -> Sequence[Value]:
            return branch(g, g.less(y, 9.0), lambda: [g.power(y, three)], lambda: [g.power(y, g.constant(3.0))])

        return loop(g, 2, [x], step)

    made = adjoint(program([FLOAT64], build), [0])
    verify(made)
    assert {"select", "isfinite", "log"}.isdisjoint(op.name for op in made.walk())
    assert interpret(made, [1.1, 1.0])[-1] == pytest.approx(9 * 1.1**8)


# --- masks through ops with rules of their own


def _at(g: Builder, k: int) -> Value:
    return g.constant(np.array([k]))


RULES: dict[str, tuple[Callable[[Builder, Value], Value], list[float]]] = {
    # Functions of sqrt(x) at [0, 1, 4], whose slope is infinite at 0, and their derivatives.
    "reduce_max": (lambda g, s: g.reduce_max(s, axes=(0,)), [0.0, 0.0, 0.25]),
    "reduce_min of others": (lambda g, s: g.reduce_min(g.add(s, g.constant([9.0, 0.0, 0.0])), axes=(0,)), [0, 0.5, 0]),
    "masked reduce_max": (
        lambda g, s: where_rows(g, s, lambda rows: g.reduce_max(rows, axes=(1,))),
        [0.0, 0.5, 0.25],
    ),
    "masked norm2": (lambda g, s: where_rows(g, s, lambda rows: g.norm2(rows, axes=(1,))), [0.0, 0.5, 0.25]),
    "masked reduce_prod": (
        lambda g, s: where_rows(g, s, lambda rows: g.reduce_prod(rows, axes=(1,))),
        [0.0, 0.5, 0.25],
    ),
    "masked sort": (lambda g, s: where_positive(g, g.sort(s, axis=0), g.sort(s, axis=0)), [0.0, 0.5, 0.25]),
    "masked sort, reversed": (
        lambda g, s: where_positive(g, g.sort(g.negative(s), axis=0), g.constant(0.0)),
        [0.0, 0.0, 0.0],
    ),
    "scatter over": (
        lambda g, s: where_positive(g, s, g.scatter(s, g.reshape(g.constant(3.0), shape=(1,)), _at(g, 1))),
        [0.0, 0.0, 0.25],
    ),
    "scattered": (
        lambda g, s: where_positive(g, s, g.scatter(g.constant([0.0, 0.0, 0.0]), s, g.constant(np.array([0, 1, 2])))),
        [0.0, 0.5, 0.25],
    ),
    "scattered twice to one place": (
        lambda g, s: summed(g, g.scatter(g.constant([0.0, 0.0, 0.0]), s, g.constant(np.array([1, 1, 2])))),
        [0.0, 0.5, 0.25],
    ),
}


def where_rows(g: Builder, s: Value, reduced: Callable[[Value], Value]) -> Value:
    """Return the sum of reductions of the rows [s[k]], where they are not 0."""
    made = reduced(g.reshape(s, shape=(3, 1)))
    return where_positive(g, made, made)


@pytest.mark.parametrize("name", list(RULES))
def test_masks_travel_through_rules(name: str) -> None:
    of_root, want = RULES[name]
    made = gradient(lambda g, x: [of_root(g, g.sqrt(x))], np.array([0.0, 1.0, 4.0]))
    np.testing.assert_array_equal(made, want)


@pytest.mark.parametrize("name", list(RULES))
def test_masks_travel_through_rules_in_loops(name: str) -> None:
    of_root, want = RULES[name]

    def build(g: Builder, x: Value) -> Sequence[Value]:
        return loop(g, 2, [g.constant(0.0)], lambda k, t: [g.add(t, of_root(g, g.sqrt(x)))])

    np.testing.assert_array_equal(gradient(build, np.array([0.0, 1.0, 4.0])), 2 * np.array(want))


# --- ops that mix elements get exact zeros


def _matmul_of_log(g: Builder, x: Value) -> Value:
    return g.log(g.reshape(g.matmul(g.constant(np.eye(3)), g.reshape(x, shape=(3, 1))), shape=(3,)))


def _log_of_cumsum(g: Builder, x: Value) -> Value:
    return g.log(g.cumsum(x, axis=0))


def _log_of_cumprod(g: Builder, x: Value) -> Value:
    return g.log(g.cumprod(x, axis=0))


def _log_of_pushed(g: Builder, x: Value) -> Value:
    (items,) = loop(g, 3, [g.list_empty(type=ListType(FLOAT64))], lambda k, items: [g.list_push(items, get(g, x, k))])
    return g.log(g.reshape(g.list_to_array(items, g.constant(np.int64(3))), shape=(3,)))


@pytest.mark.parametrize("of", [_matmul_of_log, _log_of_cumsum, _log_of_cumprod, _log_of_pushed])
def test_masks_are_exact_zeros_where_elements_mix(of: Callable[[Builder, Value], Value]) -> None:
    """The first logarithm is that of 0, and masked: nothing of its slope may reach the other elements."""
    x = np.array([0.0, 1.0, 4.0])

    def build(g: Builder, x: Value) -> Sequence[Value]:
        made = of(g, x)
        return [summed(g, g.select(g.isfinite(made), made, g.constant(0.0)))]

    made = gradient(build, x)
    assert np.all(np.isfinite(made))


def test_a_masked_product_too_large_for_a_float() -> None:
    """cumprod's rule multiplies by products that overflow; a masked cotangent stays an exact zero."""

    def build(g: Builder, x: Value) -> Sequence[Value]:
        made = g.cumprod(x, axis=0)
        return [summed(g, g.select(g.isfinite(made), made, g.constant(0.0)))]

    graph = program([floats(3)], build)
    made = interpret(adjoint(graph, [0]), [np.array([1e200, 2.0, 1e200]), 1.0])[-1]
    np.testing.assert_allclose(made, [3.0, 1e200, 0.0])
