"""Values of which data decide what they are, where that ends: what is refused, when, and with which lines.

What works is in `tests/programs/bank_choices.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad import DifferentiationError, JitgradError, UnsupportedError

X = np.array([0.5, 1.5, 2.5])


# --- a choice with which the program cannot be compiled is refused where it is made


def _sum_or_none(x: np.ndarray) -> Any:
    y = x if x[0] > 0.0 else None
    return np.sum(y)


def test_refused_at_run_time() -> None:
    compiled = jitgrad.jit(_sum_or_none)
    assert compiled(X) == 4.5
    with pytest.raises(UnsupportedError, match=r"(?s)JG210: None is used as an array.*return np.sum\(y\)"):
        compiled(-X)
    np.testing.assert_array_equal(jitgrad.grad(_sum_or_none)(X), np.ones(3))


def test_exceptions_of_one_choice_are_those_of_python() -> None:
    def length(x: np.ndarray) -> Any:
        y = x if x[0] > 0.0 else None
        return len(y)  # type: ignore[arg-type]

    compiled = jitgrad.jit(length)
    assert compiled(X) == 3
    with pytest.raises(TypeError, match="object of type 'NoneType' has no len"):
        compiled(-X)


def test_refused_when_compiled_where_no_choice_can_be() -> None:
    def inverse(x: np.ndarray) -> Any:
        y = np.eye(2) if x[0] > 0.0 else np.eye(3)
        return np.linalg.eig(y)

    with pytest.raises(JitgradError, match="eig"):
        jitgrad.jit(inverse)(X)


# --- derivatives


def _largest(x: np.ndarray, n: int) -> Any:
    best = None
    for k in range(n):
        if best is None or x[k] > best:
            best = x[k]
    return best


@pytest.mark.parametrize(
    "call",
    [
        lambda n: jitgrad.grad(_largest)(X, n),
        lambda n: jitgrad.value_and_grad(_largest)(X, n)[1],
        lambda n: jitgrad.grad(jitgrad.jit(_largest))(X, n),
        lambda n: jitgrad.vjp(_largest, X, n)[1](1.0)[0],
    ],
)
def test_no_derivative_in_calls_that_return_none(call: Callable[[int], Any]) -> None:
    np.testing.assert_array_equal(call(3), [0.0, 0.0, 1.0])
    with pytest.raises(JitgradError):
        call(0)


def _rows(x: np.ndarray, n: int) -> Any:
    s = 0.0
    for k in range(n):
        s = s + x * k
    return s


def test_number_or_array_is_told_by_what_is_asked() -> None:
    """0.0 has a derivative as well as an array: the cotangent says which is meant, `grad` takes the number."""
    np.testing.assert_array_equal(jitgrad.vjp(_rows, X, 3)[1](X)[0], 3.0 * X)
    np.testing.assert_array_equal(jitgrad.grad(_rows)(X, 0), np.zeros(3))
    with pytest.raises(DifferentiationError, match="JG116: the result is an array in this call"):
        jitgrad.grad(_rows)(X, 3)
    value, slope = jitgrad.jvp(lambda x: _rows(x, 3), (X,), (X,))
    np.testing.assert_array_equal(value, slope)


def test_second_order_through_a_choice() -> None:
    def loss(x: np.ndarray, n: int) -> Any:
        s, best = 0, None
        for k in range(n):
            s = s + x * x[k]
            if best is None or x[k] > best:
                best = x[k] ** 3
        return np.sum(s * s) + (0.0 if best is None else best)

    def slope(x: np.ndarray, n: int) -> Any:
        return np.sum(jitgrad.grad(loss)(x, n) * np.array([1.0, -2.0, 0.5]))

    for n in (0, 1, 3):
        got = jitgrad.grad(slope)(X, n)
        want = np.zeros(3)
        for k in range(3):
            step = np.zeros(3)
            step[k] = 1e-6
            want[k] = (slope(X + step, n) - slope(X - step, n)) / 2e-6
        np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-6)


def test_one_compile_for_all_choices() -> None:
    compiled = jitgrad.jit(_rows)
    for n in (3, 0, 1, -2, 5):
        got, want = compiled(X, n), _rows(X, n)
        assert type(got) is type(want)
        np.testing.assert_allclose(got, want)
    assert compiled.stats()["compiled"] == 1


# --- arrays in lists that grow: the list holds values, so nobody may store to what it was given


def _given_to_the_list(x: np.ndarray, n: int) -> Any:
    out, row = [], np.zeros(2)
    for k in range(n):
        row[0] = x[k]
        out.append(row)
    return np.array(out)


def _stored_behind_the_loop(x: np.ndarray, n: int) -> Any:
    out, row = [], x * 1.0
    for _ in range(n):
        out.append(row)
    row[0] = 7.0
    return np.array(out)


def _taken_from_the_list(x: np.ndarray, n: int) -> Any:
    out = []
    for k in range(n):
        out.append(x * k)
    row = out[1]
    row[0] = 5.0
    return np.array(out)


def _item_of_an_item(x: np.ndarray, n: int) -> Any:
    out = []
    for k in range(n):
        out.append(x * k)
    out[1][0] = 5.0
    return np.array(out)


def _walked(x: np.ndarray, n: int) -> Any:
    out = []
    for k in range(n):
        out.append(x * k)
    for row in out:
        row += 1.0
    return np.array(out)


def _by_a_branch(x: np.ndarray, n: int) -> Any:
    out, row = [np.zeros(3)], x * 1.0
    if x[0] > 0.0:
        for _ in range(n):
            out.append(row)
    row[0] = 3.0
    return np.array(out)


def _stored_into_the_list(x: np.ndarray, n: int) -> Any:
    out, row = [], x * 1.0
    for k in range(n):
        out.append(x * k)
    out[0] = row
    row[1] = 9.0
    return np.array(out)


@pytest.mark.parametrize(
    "function",
    [
        _given_to_the_list,
        _stored_behind_the_loop,
        _taken_from_the_list,
        _item_of_an_item,
        _walked,
        _by_a_branch,
        _stored_into_the_list,
    ],
)
def test_a_store_into_an_array_that_a_list_holds_is_seen(function: Callable[..., Any]) -> None:
    compiled = jitgrad.jit(function)
    for x in (X, -X):
        np.testing.assert_array_equal(compiled(x.copy(), 3), function(x.copy(), 3))


def test_a_list_that_is_gone_binds_nobody() -> None:
    def function(x: np.ndarray, n: int) -> Any:
        out, row = [], x * 1.0
        for _ in range(n):
            row = row * 2.0
            out.append(row)
        made = np.array(out)
        row[0] = 7.0
        return made, row

    for got, want in zip(jitgrad.jit(function)(X, 3), function(X, 3), strict=True):
        np.testing.assert_array_equal(got, want)


def test_an_int_among_floats_stays_one() -> None:
    def function(x: np.ndarray, n: int) -> Any:
        out = []
        for k in range(n):
            out.append(x[k])
        out[0] = 0
        return np.array(out), out

    compiled = jitgrad.jit(function)
    for n in (3, 2, 1):  # the last is an array of ints
        (got, items), (want, originals) = compiled(X, n), function(X, n)
        np.testing.assert_array_equal(got, want)
        assert got.dtype == want.dtype
        assert [(type(v), v) for v in items] == [(type(v), v) for v in originals]
    with pytest.raises(IndexError, match="list assignment index out of range"):
        compiled(X, 0)


@pytest.mark.parametrize("value", ["text", np.zeros(2)])
def test_stores_of_another_type_into_a_list(value: Any) -> None:
    def function(x: np.ndarray, n: int) -> Any:
        out = []
        for k in range(n):
            out.append(x[k])
        out[0] = value
        return np.array(out)

    with pytest.raises(UnsupportedError, match="JG221"):
        jitgrad.jit(function)(X, 3)


def test_one_point_of_linspace() -> None:
    """It is the start, also where their number is known only at run time."""
    compiled = jitgrad.jit(lambda x, n: np.linspace(0.0, x, n + 1))
    for n in (3, 1, 0):
        np.testing.assert_array_equal(compiled(1.5, n), np.linspace(0.0, 1.5, n + 1))
    compiled = jitgrad.jit(lambda x, n: np.linspace(0.0, x, n, retstep=True))
    for n in (5, 4, 3, 2, 1, 0):
        (points, step), (want, wanted) = compiled(1.5, n), np.linspace(0.0, 1.5, n, retstep=True)
        np.testing.assert_array_equal(points, want)
        np.testing.assert_array_equal(step, wanted)
        assert type(step) is type(wanted)
    ends = np.array([1.5, 2.0])
    compiled = jitgrad.jit(lambda x, y: np.linspace(0.0, y, len(x) - 1, retstep=True)[1])
    for n in (5, 4, 3, 6, 2, 1):
        found, wanted = compiled(np.ones(n), ends), np.linspace(0.0, ends, n - 1, retstep=True)[1]
        np.testing.assert_array_equal(found, wanted)
        assert type(found) is type(wanted)


def test_the_count_of_a_finished_loop_may_be_needed() -> None:
    """The loop is traced again with the trips written out."""

    def repeated(x: float, n: int) -> Any:
        k = 0
        for k in range(n):
            x = x + 1.0 * k
        return (x, 2.0) * k

    compiled = jitgrad.jit(repeated)
    for n in (3, 1, 0):
        assert compiled(1.0, n) == repeated(1.0, n)


def test_one_choice_returned_twice() -> None:
    def twice(x: np.ndarray) -> Any:
        y = x * 2.0 if x[0] > 0.0 else 3
        return y, (y, x), y

    compiled = jitgrad.jit(twice)
    first, (second, given), third = compiled(X)
    assert first is second and second is third and given is X
    np.testing.assert_array_equal(first, X * 2.0)
    assert compiled(-X)[0] == 3 and compiled(-X)[2] == 3


def test_a_chain_of_pairs_has_no_end() -> None:
    def chain(x: np.ndarray, n: int) -> Any:
        p: Any = x[0]
        for _ in range(n):
            p = (p, x)
        return p

    with pytest.raises(UnsupportedError, match="JG240"):
        jitgrad.jit(chain)(X, 3)


def test_one_small_array_committed_before_an_exception() -> None:
    """A function that always raises has the caller's arrays as they were then, also where small arrays are scalars."""

    def always(x: np.ndarray) -> Any:
        x[0] = 2.0
        y = x * 1.0
        y[1] = x[0]
        raise ValueError("always")

    given = X.copy()
    with pytest.raises(ValueError, match="always"):
        jitgrad.jit(always)(given)
    assert given[0] == 2.0


def test_steps_of_views_that_data_decide() -> None:
    def both_ways(x: np.ndarray, t: float) -> Any:
        y = x if t > 0.0 else x[::-1]
        s = np.zeros(3)
        for k in range(3):
            s = s * 0.5 + y * k
        return s

    compiled = jitgrad.jit(both_ways)
    for t in (1.0, -1.0):
        np.testing.assert_allclose(compiled(X, t), both_ways(X, t))
        slope = jitgrad.grad(lambda x, t: both_ways(x, t) @ np.array([1.0, 2.0, 3.0]))(X, t)
        np.testing.assert_allclose(slope, 2.5 * np.array([1.0, 2.0, 3.0])[:: 1 if t > 0.0 else -1])


def named(u: float, x: Any) -> Any:
    state, last = ("idle", 0.0), None
    for v in x:
        if v > 0:
            state, last = ("run", state[1] + v * u), "up"
        else:
            state = ("down", state[1] * 0.5)
    return state[1], state[0], last


def test_texts_beside_numbers_have_no_derivative() -> None:
    for x in (np.array([1.0, -2.0, 3.0]), -np.ones(3), np.zeros(0)):
        (value, *texts), tangent = jitgrad.jvp(named, (1.5, x), (1.0, np.zeros_like(x)))
        assert (value, *texts) == named(1.5, x)
        assert tangent[1:] == tuple(texts)
        _, pull = jitgrad.vjp(named, 1.5, x)
        assert pull((1.0, *texts))[0] == pytest.approx(tangent[0], rel=1e-14)
