"""Numbers whose type depends on data: `max(0, x)`, `0 if c else x`, carried through branches, loops and results.

Every program is compiled once and run on inputs that take each alternative; kinds, values and exceptions are Python's.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from tests.trace.calling import assert_same, check, outcome

NUMBERS = [2.5, -2.5, 0.0, -0.0, math.nan]
ARRAY = np.array([1.5, -2.0, 0.5, -0.1])
ARRAYS = [ARRAY, -np.abs(ARRAY), np.abs(ARRAY)]


def compare(function: Callable[..., Any], *calls: tuple[Any, ...]) -> None:
    """Compare one compiled callable, and the traced graph, with Python on each call."""
    compiled = jitgrad.jit(function)
    for args in calls:
        check(function, args)
        got, want = outcome(compiled, copy.deepcopy(args)), outcome(function, copy.deepcopy(args))
        assert got[0] == want[0], (got, want)
        if want[0] == "value":
            assert_same(got[1], want[1], 1e-13)
        else:
            assert (type(got[1]), str(got[1])) == (type(want[1]), str(want[1]))
    # An int may decide a size.
    kinds = {tuple(a if isinstance(a, int) else np.shape(a) for a in args) for args in calls}
    assert compiled.stats()["compiled"] <= len(kinds)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: max(0, x),
        lambda x: max(x, 0),
        lambda x: min(0, x),
        lambda x: max(0.0, x),
        lambda x: max(0, x, 1.5),
        lambda x: max(True, x),
        lambda x: max(0, x) * 2.0,
        lambda x: max(0, x) * 2,
        lambda x: max(x, 0) ** 2,
        lambda x: 2.0 ** max(0, x),
        lambda x: max(0, x) / 2,
        lambda x: max(0, x) // 2,
        lambda x: max(0, x) % 3,
        lambda x: -max(0, x),
        lambda x: abs(min(0, x)),
        lambda x: max(0, x) + max(x, 0),
        lambda x: math.sqrt(max(0, x)),
        lambda x: np.exp(min(0, x)),
        lambda x: float(max(0, x)),
        lambda x: max(0, x) > 1,
        lambda x: 1.0 if max(0, x) else 2.0,
        lambda x: [max(0, x), min(x, 3)],
        lambda x: (sum([max(0, x), 1]), max(0, x) in (0, 1)),
        lambda x: np.array([max(0, x), 1.0]),
        lambda x: np.ones(3) * max(0, x),
        lambda x: np.maximum(max(0, x), 1.0),
        lambda x: isinstance(max(0, x), float),
        lambda x: isinstance(max(0, x), (int, str)),
        lambda x: 0 if x < 1 else x,
        lambda x: (0 if x < 1 else x) * x,
        lambda x: {"a": max(0, x), "b": (1, max(1, x))},
        lambda x: np.array([max(0, x)]),
        lambda x: np.array([max(0, x), 1]) * 2,
        lambda x: np.full(2, max(0, x)),
    ],
)  # fmt: skip
def test_of_an_int_and_a_float(function: Callable[..., Any]) -> None:
    compare(function, *[(x,) for x in NUMBERS])


@pytest.mark.parametrize(
    "function",
    [
        lambda x: 1 / max(0, x),
        lambda x: 1.0 / max(0, x),
        lambda x: 1 // max(0, x),
        lambda x: x % max(0, x),
        lambda x: 0.0 ** min(0, x),
        lambda x: math.log(max(0, x)),
        lambda x: int(max(0, x)),
        lambda x: round(max(0, x)),
    ],
)  # fmt: skip
def test_exceptions_are_those_of_the_number_that_was_chosen(function: Callable[..., Any]) -> None:
    compare(function, (2.5,), (0.5,), (-2.5,))


@pytest.mark.parametrize(
    "function",
    [
        lambda a: max(0, a[0]),
        lambda a: max(0.0, a[0]),
        lambda a: 1.0 / max(0.5, a[1]),
        lambda a: a * max(0, a[0]),
        lambda a: isinstance(max(0.0, a[0]), np.float64),
        lambda a: max([0, *a]),
        lambda a: max(0, a.astype(np.float32)[0]),
        lambda a: abs(max(-0.5, a[0])),
        lambda a: a.astype(np.float32) * max(0.0, float(a[0])),
        lambda a: max(1, np.argmax(a)),
        lambda a: a[max(1, np.argmax(a))],
    ],
)  # fmt: skip
def test_of_python_and_numpy(function: Callable[..., Any]) -> None:
    compare(function, *[(a,) for a in ARRAYS])


def test_only_an_int_leaves_64_bits() -> None:
    def fourfold(n: int, x: float) -> Any:
        return 4 * max(n, x)

    compiled = jitgrad.jit(fourfold)
    assert_same(compiled(2**60, 1e200), 4e200, 0.0)
    assert_same(compiled(2**53 + 1, 0.5), 4 * (2**53 + 1), 0.0)
    with pytest.raises(OverflowError, match="64 bits"):
        compiled(2**62, 0.5)


def hinge(w: float, x: np.ndarray, y: np.ndarray) -> Any:
    loss = 0.0
    for i in range(len(y)):
        loss += max(0, 1 - y[i] * w * x[i])
    return loss / len(y)


def hinge_from_an_int(w: float, x: np.ndarray, y: np.ndarray) -> Any:
    loss = 0
    for i in range(len(y)):
        loss += max(0, 1 - y[i] * w * x[i])
    return loss


def best_so_far(w: float, x: np.ndarray, y: np.ndarray) -> Any:
    best = 0
    for v in w * x:
        if v > best:
            best = v
    return best


def until_large(w: float, x: np.ndarray, y: np.ndarray) -> Any:
    s, trips = 0, 0
    while s < 3 and trips < 50:
        s = s + max(0, w)
        trips += 1
    return s, trips


def rectified(w: float, x: np.ndarray, y: np.ndarray) -> Any:
    out = np.zeros(len(x))
    for i in range(len(x)):
        out[i] = max(0, w * x[i])
    return out


def last_of_two_kinds(w: float, x: np.ndarray, y: np.ndarray) -> Any:
    for v in x:
        h = max(0, w * v)
    return h


def left_early(w: float, x: np.ndarray, y: np.ndarray) -> Any:
    found = -1
    for k in range(len(x)):
        if w * x[k] > 1.0:
            found = w * float(x[k])
            break
    return found


@pytest.mark.parametrize(
    "function",
    [hinge, hinge_from_an_int, best_so_far, until_large, rectified, last_of_two_kinds, left_early],
)
def test_carried_by_a_loop(function: Callable[..., Any]) -> None:
    y = np.sign(ARRAY)
    compare(function, (1.0, ARRAY, y), (10.0, ARRAY, y), (-1.0, ARRAY, y), (10.0, ARRAY[:2], y[:2]))


@pytest.mark.parametrize(
    "function",
    [
        lambda a, n: sum(max(0, a[k]) for k in range(n)),
        lambda a, n: sum(max(0.0, a[k]) for k in range(n)),
        lambda a, n: sum(a[k] for k in range(n)),
        lambda a, n: sum([a[k] if a[k] > 0.0 else 0 for k in range(n)]),
        lambda a, n: [any(max(0, a[k]) > 1 for k in range(n)), all(max(0, v) for v in a)],
    ],
)
def test_sum_of_a_generator(function: Callable[..., Any]) -> None:
    compare(function, *[(a, n) for a in ARRAYS for n in (0, 2, 4)])


def test_list_that_grows() -> None:
    def clipped(a: np.ndarray, n: int) -> Any:
        low, out = [0.0], []
        for k in range(n):
            low.append(max(0.0, a[k]))
            out.append(min(0, a[k]))
        return np.array(low).sum(), max(low), low[-1], sum(out), len(out)

    compare(clipped, *[(a, n) for a in ARRAYS for n in (0, 2, 4)])


@pytest.mark.parametrize("bad", [False, True])
def test_sizes_that_meet_where_a_type_is_chosen(bad: bool) -> None:
    """A sum of items that data count may be an int: the call is done for either, and finds its sizes to be one."""

    def f(a: np.ndarray, u: np.ndarray) -> Any:
        v = a * 1.0
        for i in range(3):
            if a[i] > 0.0:
                v = np.where(u > 0.0, sum([e + 1.0 for e in v]), np.array([e * 2.0 for e in v]))
        return v

    a, u = np.array([0.5, -1.0, 2.0, 0.3]), np.array([1.0, -1.0, 2.0, -2.0])[: 3 if bad else 4]
    if bad:
        with pytest.raises(ValueError, match="could not be broadcast together with shapes"):
            jitgrad.jit(f)(a, u)
    else:
        np.testing.assert_array_equal(jitgrad.jit(f)(a, u), f(a, u))
        np.testing.assert_array_equal(jitgrad.jit(f)(-a, u), f(-a, u))


def test_no_loop_is_unrolled_for_it() -> None:
    def total(a: np.ndarray) -> Any:
        return sum(max(0, v) for v in a)

    assert len(jitgrad.jit(total).graph(np.ones(5)).splitlines()) == len(
        jitgrad.jit(total).graph(np.ones(500)).splitlines()
    )
    np.testing.assert_array_equal(jitgrad.grad(total)(ARRAY), (ARRAY > 0.0).astype(float))


@pytest.mark.parametrize(
    ("function", "slope"),
    [
        (lambda x: max(0, x), lambda x: float(x > 0)),
        (lambda x: max(x, 0) ** 2, lambda x: 2 * x * (x > 0)),
        (lambda x: 3 * max(0, x) + 1, lambda x: 3.0 * (x > 0)),
        (lambda x: 0 if x < 1 else x * x, lambda x: 2 * x * (x >= 1)),
        (lambda x: max(0, x) * math.exp(max(x, 0)), lambda x: (1 + x) * math.exp(x) * (x > 0)),
    ],
)
def test_derivatives_are_those_of_the_float(function: Callable[..., Any], slope: Callable[[float], float]) -> None:
    both = jitgrad.value_and_grad(function)
    for x in (2.0, -2.0):
        value, gradient = both(x)
        assert_same(value, function(x), 1e-13)
        assert_same(gradient, slope(x), 1e-13)
        assert_same(jitgrad.jvp(function, (x,), (1.0,)), (function(x), slope(x)), 1e-13)
        value, pull = jitgrad.vjp(function, x)
        assert_same(value, function(x), 1e-13)
        assert_same(pull(1.0), (slope(x),), 1e-13)
    assert jitgrad.grad(jitgrad.grad(function))(-2.0) == 0.0


@pytest.mark.parametrize("w", [1.0, 10.0])
def test_gradient_of_a_sum_that_may_stay_an_int(w: float) -> None:
    y = np.sign(ARRAY)
    for function in (hinge, hinge_from_an_int):
        value, gradient = jitgrad.value_and_grad(function)(w, ARRAY, y)
        assert_same(value, function(w, ARRAY, y), 1e-13)
        inside = 1 - y * w * ARRAY > 0
        want = -np.sum((y * ARRAY)[inside]) / (len(y) if function is hinge else 1)
        np.testing.assert_allclose(gradient, want, rtol=1e-13)


@pytest.mark.parametrize(
    ("function", "code"),
    [
        (lambda x: f"{max(0, x)}", "JG240"),
        (lambda x: max(0, x).is_integer(), "JG232"),
        (lambda x: max(0.0, np.float64(x)).item(), "JG244"),
        (lambda x: jitgrad.grad(lambda y: y * y)(max(0, x)), "JG239"),
    ],
)
def test_refused_where_the_type_itself_is_needed(function: Callable[..., Any], code: str) -> None:
    with pytest.raises(jitgrad.UnsupportedError) as caught:
        jitgrad.jit(function)(1.0)
    assert caught.value.code == code


@pytest.mark.parametrize("whole", [3, np.int64(3), True])
def test_a_cotangent_may_be_an_int_where_data_decide_that_its_result_is_one(whole: Any) -> None:
    def f(x: np.ndarray, n: int) -> Any:
        s = 2.0 * x[0]
        if n > 1:
            s = whole
        return 3.0 * x, {"s": s}

    x = np.array([1.0, -2.0])
    for n, slope in ((0, 4.0), (2, 0.0)):
        value, pull = jitgrad.vjp(f, x, n)
        ct = value[1]["s"] if n else 2.0
        np.testing.assert_array_equal(pull((np.ones(2), {"s": ct}))[0], [3.0 + slope, 3.0])
