"""What a path that is not taken would contribute is an exact zero, whatever the partials on it are.

Each program computes a square root whose slope at the point is infinite, and does not use it there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad


def in_an_arm(x):
    s = math.sqrt(x)
    y = 3.0 * x
    if x > 1:
        y = s
    return y


def clipped(x):
    norm = np.sqrt(np.sum(x**2))
    y = 3.0 * x
    if norm > 1:
        y /= norm
    return y.sum()


def in_a_loop(x):
    t, s = 0.0, math.sqrt(x)
    for _ in range(3):
        if x > 1:
            t += s
        else:
            t += x
    return t


def in_a_loop_that_does_not_run(x, n):
    s, t = math.sqrt(x), 2.0 * x
    for _ in range(n):
        t += s * t
    return t


def in_a_while(x):
    s, t = math.sqrt(x), 2.0 * x + 0.5
    while t > 1:
        t = t * 0.5 + s
    return t


def array_in_a_loop(x, n):
    s, t = np.sqrt(x), 2.0 * x
    for _ in range(n):
        if t[0] > 1:
            t = t + s
    return t.sum()


def element_in_a_loop(x, n):
    s, t = np.sqrt(x), x[0] * 2
    for i in range(n):
        v = s[i]
        if x[i] > 0.5:
            t += v
        else:
            t += x[i]
    return t


def in_nested_loops(x):
    s, t = math.sqrt(x), x
    for i in range(3):
        for j in range(i):
            if x > 1:
                t += s * j
            elif x > 0.5:
                t += 1
            else:
                t += x
    return t


def both_ways(x):
    s, y = math.sqrt(x), x
    for k in range(2):
        if k > x + 5:
            y = y + s
    if y > 3.0:
        y = y * s
    return y


# --- parts of arrays: what is not read, or is stored over


def a_slice(x):
    return np.sqrt(x)[1:].sum()


def a_slice_and_an_element(x):
    s = np.sqrt(x)
    return s[1:].sum() + s[2]


def elements_in_a_loop(x):
    s, t = np.sqrt(x), 0.0
    for i in range(1, len(x)):
        t += s[i]
    return t


def elements_in_a_while(x):
    s, t, i = np.sqrt(x), 0.0, 1
    while i < len(x):
        t += s[i]
        i += 1
    return t


def slices_in_nested_loops(x):
    s, t = np.sqrt(x), 0.0
    for k in range(2):
        for i in range(1, len(x)):
            t += s[i:].sum() * k
    return t


def rows_of_a_table(x):
    a, t = np.sqrt(np.outer(x, x)), 0.0
    for i in range(1, 3):
        t += a[i, i] + a[i, 1:].sum()
    return t


def stored_in_a_loop(x):
    s, t = np.zeros(len(x)), 0.0
    for i in range(len(x)):
        s[i] = math.sqrt(x[i])
    for i in range(len(x)):
        if x[i] > 0:
            t += s[i]
    return t


def stored_over(x):
    s = np.sqrt(x)
    s[0] = 5.0
    return s.sum()


def stored_over_by_a_mask(x):
    s = np.sqrt(x)
    s[x == 0] = 5.0
    return s.sum()


def stored_over_by_positions(x):
    s = np.sqrt(x)
    s[np.array([0, 0])] = 5.0
    return s.sum()


def stored_over_in_a_loop(x):
    y = x
    for _ in range(2):
        y = np.sqrt(y)
        y[0] = 1.0
    return y.sum()


def replaced_in_a_loop(x):
    s = np.sqrt(x[0])
    for k in range(1, 3):
        s = np.sqrt(x[k])
    return s


def replaced_in_a_branch(x):
    s = np.sqrt(x[0])
    for k in range(1, 3):
        if x[k] > 0:
            s = np.sqrt(x[k])
            continue
        s = s * 0.5
    return s


def gathered(x):
    return np.sqrt(x)[np.array([1, 2, 2])].sum()


def chosen_by_a_mask(x):
    return np.sqrt(x)[x > 0].sum()


def entropy(x):
    return (x * np.log(x))[x > 0].sum()


def quotients(x):
    return (1.0 / x)[1:].sum()


def cumulated_from_the_end(x):
    return np.cumsum(np.sqrt(x)[::-1])[1]


def a_row_of_a_product(x):
    return (np.sqrt(x[:, None]) @ np.array([[3.0]]))[1, 0]


def a_column_of_a_product(x):
    return (np.ones((1, 3)) @ np.sqrt(np.outer(x[1:].sum() * np.ones(3), x)))[0, 2]


def an_item_of_a_list(x):
    items = [math.sqrt(v) for v in x]
    return items[1] + items[2]


def the_last_item(x):
    items = [math.sqrt(v) for v in x]
    return items.pop()


def an_array_of_items(x):
    return np.array([math.sqrt(v) for v in x])[1:].sum()


def items_of_an_array(x):
    rows = []
    for k in range(3):
        rows.append(np.sqrt(x) * k)
    return rows[1][1] + rows[2][2]


PARTS: list[tuple[Callable[..., Any], Any]] = [
    # at [0, 1, 4]
    (a_slice, [0.0, 0.5, 0.25]),
    (a_slice_and_an_element, [0.0, 0.5, 0.5]),
    (elements_in_a_loop, [0.0, 0.5, 0.25]),
    (elements_in_a_while, [0.0, 0.5, 0.25]),
    (slices_in_nested_loops, [0.0, 0.5, 0.5]),
    (rows_of_a_table, [0.0, 4.0, 2.5]),
    (stored_in_a_loop, [0.0, 0.5, 0.25]),
    (stored_over, [0.0, 0.5, 0.25]),
    (stored_over_by_a_mask, [0.0, 0.5, 0.25]),
    (stored_over_by_positions, [0.0, 0.5, 0.25]),
    (stored_over_in_a_loop, [0.0, 0.25, 0.25 / math.sqrt(8.0)]),
    (replaced_in_a_loop, [0.0, 0.0, 0.25]),
    (replaced_in_a_branch, [0.0, 0.0, 0.25]),
    (gathered, [0.0, 0.5, 0.5]),
    (chosen_by_a_mask, [0.0, 0.5, 0.25]),
    (entropy, [0.0, 1.0, 1.0 + math.log(4.0)]),
    (quotients, [0.0, -1.0, -1 / 16]),
    (cumulated_from_the_end, [0.0, 0.5, 0.25]),
    (a_row_of_a_product, [0.0, 1.5, 0.0]),
    (a_column_of_a_product, [0.0, 3.0 / math.sqrt(5.0), 3.0 * (math.sqrt(5.0) / 4.0 + 1.0 / math.sqrt(5.0))]),
    (an_item_of_a_list, [0.0, 0.5, 0.25]),
    (the_last_item, [0.0, 0.0, 0.25]),
    (an_array_of_items, [0.0, 0.5, 0.25]),
    (items_of_an_array, [0.0, 0.5, 0.5]),
]


@pytest.mark.parametrize(("f", "want"), PARTS, ids=lambda v: getattr(v, "__name__", None))
def test_parts_of_arrays(f: Callable[..., Any], want: Any) -> None:
    x, h = np.array([0.0, 1.0, 4.0]), 1e-5
    gradient = jitgrad.grad(f)
    assert np.allclose(gradient(x), want, rtol=1e-12)
    assert not np.signbit(gradient(x)).any() or np.any(np.array(want) < 0)
    assert np.isclose(jitgrad.jvp(f, (x,), (np.ones(3),))[1], np.sum(want), rtol=1e-12)
    # Second order, reverse over reverse, against differences in the elements that move.
    d = np.array([0.0, 1.0, 0.5])
    second = jitgrad.grad(lambda x: jitgrad.grad(f)(x) @ d)(x)
    differences = (gradient(x + h * d) - gradient(x - h * d)) / (2 * h)
    assert np.allclose(second[1:], differences[1:], rtol=1e-6, atol=1e-6)


def test_a_cotangent_that_is_minus_zero_is_a_cotangent() -> None:
    """Marks are told from zeros that a program makes: 0 * inf is no exact zero where the path is taken."""

    def f(x):
        s, r, t = np.sqrt(x), -np.log1p(np.sqrt(x)), 0.0
        for i in range(len(x)):
            t += s[i] * r[i]
        return t

    gradient = jitgrad.grad(f)(np.array([0.0, 0.0, 4.0]))
    assert np.isnan(gradient[:2]).all()
    assert np.isclose(gradient[2], -np.log(3.0) / 4.0 - 1.0 / 6.0)


CASES: list[tuple[Callable[..., Any], tuple[Any, ...], Any]] = [
    (in_an_arm, (0.0,), 3.0),
    (in_an_arm, (4.0,), 0.25),
    (clipped, (np.zeros(2),), [3.0, 3.0]),
    (in_a_loop, (0.0,), 3.0),
    (in_a_loop, (4.0,), 0.75),
    (in_a_loop_that_does_not_run, (0.0, 0), 2.0),
    (in_a_while, (0.0,), 2.0),
    (array_in_a_loop, (np.zeros(2), 3), [2.0, 2.0]),
    (array_in_a_loop, (np.zeros(2), 0), [2.0, 2.0]),
    (element_in_a_loop, (np.zeros(3), 3), [3.0, 1.0, 1.0]),
    (in_nested_loops, (0.0,), 4.0),
    (both_ways, (0.0,), 1.0),
]


@pytest.mark.parametrize(("f", "args", "want"), CASES, ids=lambda v: getattr(v, "__name__", None))
def test_gradient(f: Callable[..., Any], args: tuple[Any, ...], want: Any) -> None:
    assert np.array_equal(jitgrad.grad(f)(*args), want)
    x, rest = args[0], args[1:]
    direction = np.ones_like(x) if isinstance(x, np.ndarray) else 1.0
    _, slope = jitgrad.jvp(lambda x: f(x, *rest), (x,), (direction,))
    assert np.isclose(slope, np.sum(want))


def test_a_square_of_the_root_keeps_its_slope() -> None:
    """No mask is made where the path is taken: a cotangent that happens to be 0 is no exact zero."""

    def f(x: float, flag: bool) -> float:
        s = math.sqrt(x)
        return s * s if flag else x

    assert jitgrad.grad(f)(4.0, True) == 1.0
    assert jitgrad.grad(f)(0.0, True) != 0.0


def variance_by_an_array(v, xi, n):
    for _ in range(n):
        v = v - 1.0 - xi * np.sqrt(np.maximum(v, 0.0) * 0.2)
    return np.sum(v)


def variance_by_a_branch(v, xi, n):
    for _ in range(n):
        if v < 0:
            v = 0.0
        v = v - 1.0 - xi * np.sqrt(v)
    return v


@pytest.mark.parametrize(("f", "v"), [(variance_by_an_array, np.array([1.0, -1.0, 3.0])), (variance_by_a_branch, 1.5)])
def test_forward_mode_within_a_loop(f: Callable[..., Any], v: Any) -> None:
    # What the variance is cut off to does not move, though its own past is computed with roots.
    dv, dxi = jitgrad.grad(f, argnums=(0, 1))(v, 0.3, 3)
    _, slope = jitgrad.jvp(lambda v, xi: f(v, xi, 3), (v, 0.3), (v, 1.0))
    np.testing.assert_allclose(slope, np.sum(dv * v) + dxi, rtol=1e-12)
    assert np.isfinite(slope)
