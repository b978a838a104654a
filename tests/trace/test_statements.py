"""Statements on lists, dicts, objects and loops, refusals by name, and messages with run-time parts: as CPython."""

# The rows are written as users write them.
# ruff: noqa: B010, B905, C416, UP031

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.errors import UnsupportedError
from tests.trace.calling import check, traced_call
from tests.trace.test_builtins import Point

V = np.array([0.3, -1.2, 2.5, 0.7, -0.4])
M = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])


def _list_methods(x: float) -> Any:
    xs = [x]
    xs.append(2.0)
    xs.extend((3.0, x))
    xs += [5.0]
    xs.insert(0, -x)
    last = xs.pop()
    first = xs.pop(0)
    ys = xs.copy()
    ys.reverse()
    ys.remove(ys[0])
    zs = xs
    zs[0] = 7.0
    return xs, ys, last, first


def _dict_methods(x: float) -> Any:
    d = {"a": x}
    d["b"] = 2 * x
    d.update(c=3.0)
    d.update({"a": 1.0})
    e = d.copy()
    f = d.setdefault("z", x), d.setdefault("a", x), d.pop("b"), d.pop("q", None)
    del d["c"]
    return d, e, f, [k for k in d], d.popitem()


def _unpacking(x: float) -> Any:
    a, b = (x, 1.0)
    c, *d = [x, 2.0, 3.0]
    (e, f), g = (a, b), c
    return a, b, c, d, e, f, g


def _swap(x: Any) -> Any:
    x[0], x[1] = x[1], x[0]
    return x


def _held_iterator(x: float) -> Any:
    it = iter([x, 2.0, 3.0, 4.0])
    first = next(it)
    second = next(it)
    return first, second, list(it), next(it, None)


def _with_errstate(x: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(x)


def _rows_store(x: Any) -> Any:
    for row in x:
        row *= 2.0
        row[0] = 1.0
    return x


def _zip_store(x: Any, y: Any) -> Any:
    for k, (a, b) in enumerate(zip(x, y)):
        x[k] = a * b + k
    return x


def _set_attribute(x: float) -> Any:
    p = Point(x, 1.0)
    object.__setattr__(p, "y", 3.0)
    setattr(p, "x", p.x + 1)
    return p.x, p.y


def _sum_of_run_time_length(x: Any, n: int) -> Any:
    total = 0.0
    for k in range(n):
        total += x[k] * k
    return total


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (_list_methods, (0.5,)),
        (_dict_methods, (0.5,)),
        (_unpacking, (0.5,)),
        (_swap, (V,)),
        (_held_iterator, (0.5,)),
        (_with_errstate, (V,)),
        (_rows_store, (M,)),
        (_zip_store, (V, V + 1)),
        (_set_attribute, (0.5,)),
        (_sum_of_run_time_length, (V, 4)),
        (_sum_of_run_time_length, (V, 7)),
    ],
)
def test_statements(function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    check(function, args)


def test_messages_with_run_time_parts() -> None:
    def f(x: float) -> float:
        if x < 0:
            raise ValueError(f"x is {x:.2f}, not {x!r}" + " or " + str(x) + "; %s" % "so")
        return x

    check(f, (0.5,))
    check(f, (-0.5,))


def _raises(function: Callable[..., Any], *args: Any) -> Any:
    with pytest.raises(UnsupportedError) as found:
        traced_call(function, *args)
    return found.value


@pytest.mark.parametrize(
    ("function", "code", "words"),
    [
        (lambda x: print(x), "JG238", "printing"),
        (lambda x: time.time() + x, "JG237", "time.time"),
        (lambda x: random.random() * x, "JG237", "random.random"),
        (lambda x: np.random.default_rng(0).normal() * x, "JG237", "np.random.default_rng"),
        (lambda x: id(x), "JG237", "id"),
        (lambda x: hash(x), "JG237", "hash"),
        (lambda x: round(x, 2), "JG237", "round"),
        (lambda x: sorted([x, np.float64(1.0)]), "JG236", "sorted"),
        (lambda x: sorted(["a", "b"], key=lambda name: x if name == "a" else 1.0), "JG236", "sorted"),
        (lambda x: sorted([np.ones(2) * x, np.zeros(2)]), "JG236", "sorted"),
        (lambda x: eval("x"), "JG237", "eval"),
    ],
)
def test_refused_by_name(function: Callable[..., Any], code: str, words: str) -> None:
    found = _raises(function, 0.5)
    assert found.code == code
    assert words in str(found)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: [x, 2.0] * np.int64(2),
        lambda x: np.int64(2) * (x, 2.0),
        lambda x: np.float64(2.0) * [x],
        lambda x: (x, 1.0) * np.sum(np.ones(2)),
        lambda x: [x, 1.0] * np.bool_(True),
        lambda x: np.array([x, 2.0]) * [1.0, x] + np.float64(1.0) + [x, 2.0],
    ],
)
def test_numpy_scalars_repeat_sequences(function: Callable[..., Any]) -> None:
    """A whole one does, another raises; other operators make arrays of them."""
    check(function, (0.5,))


def test_the_first_item_of_a_list_that_grew_in_a_loop_can_be_taken_out() -> None:
    def moving(x: np.ndarray, width: int) -> Any:
        window: list[Any] = []
        means = []
        for v in x:
            window.append(v * v)
            if len(window) > width:
                window.pop(0)
            means.append(sum(window) / len(window))
        return np.array(means) @ x

    def emptied(x: np.ndarray, width: int) -> Any:
        rest = []
        for row in x:
            rest.append(row)
        total = 0.0
        for k in range(width):
            total = total + (k + 1.0) * rest.pop(0)
        return total

    x = np.array([1.0, -2.0, 3.0, 0.5, -1.5])
    compiled = [jitgrad.value_and_grad(f) for f in (moving, emptied)]
    for width in (1, 2, 3, 5):
        for f, both in zip((moving, emptied), compiled, strict=True):
            value, gradient = both(x, width)
            np.testing.assert_allclose(value, f(x, width), rtol=1e-14)
            step = np.array([0.5, 1.0, -0.3, 0.7, 0.2]) * 1e-6
            slope = (f(x + step, width) - f(x - step, width)) / 2.0
            np.testing.assert_allclose(gradient @ step, slope, rtol=1e-6)
    with pytest.raises(IndexError, match="pop from empty list"):
        compiled[1](x, 6)
    assert [both.stats()["compiled"] for both in compiled] == [1, 1]


def _strides(x: np.ndarray, low: int, high: int) -> Any:
    s, last = 0.0, -7
    for i in range(low, high, int(x[0])):
        s += x[i] * i
        last = i
    for i in reversed(range(low, high, int(x[0]))):
        s += x[i] ** 2
    return s, last, len(range(high, low, int(x[0])))


@pytest.mark.parametrize("bounds", [(0, 9), (8, -1), (3, 3), (1, 8), (7, 0)])
def test_the_step_of_a_range_may_be_data(bounds: tuple[int, int]) -> None:
    compiled = jitgrad.jit(_strides)
    for step in (1.0, 2.5, 3.0, 20.0, -1.0, -2.0, -9.0):
        x = np.linspace(0.1, 0.9, 9)
        x[0] = step
        assert compiled(x, *bounds) == _strides(x, *bounds)
    for run in (_strides, compiled):
        with pytest.raises(ValueError, match=r"range\(\) arg 3 must not be zero"):
            run(np.zeros(9), *bounds)
    assert len(compiled.stats()["signatures"]) == 1


def _sieve(w: np.ndarray) -> Any:
    s = 0.0
    for k in range(1, 6):
        for i in range(k, len(w), k):
            s += w[i] * k
    return s


def test_no_loop_is_unrolled_for_the_step_of_another() -> None:
    w = np.linspace(0.0, 1.0, 30)
    compiled = jitgrad.jit(_sieve)
    assert compiled(w) == _sieve(w)
    assert compiled.graph(w).count(" = for ") == 2
    np.testing.assert_array_equal(
        jitgrad.grad(_sieve)(w), [sum(k for k in range(1, 6) if i and i % k == 0) for i in range(30)]
    )
