"""Lists and dicts that change while a loop goes over them: as in Python, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import jitgrad
from jitgrad.errors import UnsupportedError
from tests.trace.calling import check


def shorter(x: float) -> Any:
    xs, t = [x, 2 * x, 3 * x, 4 * x], 0.0
    for v in xs:
        t += v
        xs.pop()
    return t


def longer(x: float) -> Any:
    xs, t = [x, 2 * x], 0.0
    for v in xs:
        t += v
        if len(xs) < 6:
            xs.append(v * 3)
    return t


def without_the_first(x: float) -> Any:
    xs, t = [x, 2 * x, 3 * x], 0.0
    for v in xs:
        t += v
        del xs[0]
    return t


def in_order_of_visits(x: float) -> Any:
    following = {0: [1, 2], 1: [3], 2: [3], 3: []}
    order, t = [0], 0.0
    for node in order:
        t = 2.0 * t + x * node
        for other in following[node]:
            if other not in order:
                order.append(other)
    return t


def next_items(x: float) -> Any:
    xs, t = [x, 2 * x, 3 * x], 0.0
    for k in range(len(xs)):
        xs[k] = xs[k] + 1.0
    for v in xs:
        t += v
        xs[-1] = 10 * v
    return t


def passed_items(x: float) -> Any:
    xs = [x, 2 * x, 3 * x]
    for k, v in enumerate(xs):
        xs[k] = v * v if x > 0 else v
    for k, (v, w) in enumerate(zip(xs, [1.0, x, 2.0], strict=True)):
        xs[k] = v + k * w
    return xs


def passed_backwards(x: float) -> Any:
    xs = [x, 2 * x, 3 * x]
    for k, v in enumerate(reversed(xs)):
        xs[len(xs) - 1 - k] = v * v
    return xs


def a_copy(x: float) -> Any:
    xs, t = [x, 2 * x, 3 * x], 0.0
    for k, v in enumerate(list(xs)):
        t += v * k
        xs.pop()
    return t, xs


def left_at_once(x: float) -> Any:
    xs = [x, 2 * x, 3 * x]
    for k, v in enumerate(xs):
        if k == 1:
            xs.insert(0, v)
            break
    return xs


def kept_iterator(x: float) -> Any:
    xs = [x, 2 * x, 3 * x]
    rest = iter(xs)
    first = next(rest)
    xs[1] = 9 * x
    xs.append(first)
    return [next(rest), *rest]


def values_of_keys(x: float) -> Any:
    d, t = {"a": x, "b": 2 * x}, 0.0
    for k in d:
        t += d[k]
        d["b"] = 7 * x
    return t


def another_key(x: float) -> Any:
    d = {"a": x, "b": 2 * x}
    for k in d:
        d["c"] = d[k]
    return d


def items_of_a_list_that_grew(x: float, n: int) -> Any:
    xs, t = [], 0.0
    for i in range(n):
        xs.append(x * i)
    for k, v in enumerate(xs):
        t = t * 0.5 + v
        if v < 4.0 and k + 1 < len(xs):
            xs[k + 1] = v + 1.0
    return t


@pytest.mark.parametrize(
    "function",
    [
        shorter, longer, without_the_first, in_order_of_visits, next_items, passed_items, passed_backwards, a_copy,
        left_at_once, kept_iterator, values_of_keys, another_key,
    ],
)  # fmt: skip
def test_as_in_python(function: Callable[..., Any]) -> None:
    check(function, (1.5,))


def test_items_of_a_list_that_grew_may_be_replaced() -> None:
    check(items_of_a_list_that_grew, (1.5, 5))


def refused_longer(x: float, n: int) -> Any:
    xs, t = [], 0.0
    for i in range(n):
        xs.append(x * i)
    for v in xs:
        t += v
        if len(xs) < 10:
            xs.append(v)
    return t


def refused_shorter(x: float, n: int) -> Any:
    xs, t = [], 0.0
    for i in range(n):
        xs.append(x * i)
    for v in xs:
        if v > 3.0:
            break
        t += v
        xs.pop()
    return t


def refused_numbered(x: float, n: int) -> Any:
    xs, t = [x, 2 * x, 3 * x], 0.0
    for k, v in enumerate(xs):
        t += v
        if k + 1 < len(xs):
            xs[k + 1] = 10 * x
    return t


def refused_pairs(x: float, n: int) -> Any:
    xs, ys, t = [x, 2 * x, 3 * x], [1.0, 2.0, 3.0], 0.0
    for u, v in zip(xs, ys, strict=True):
        t += u * v
        ys.pop()
    return t


@pytest.mark.parametrize("function", [refused_longer, refused_shorter, refused_numbered, refused_pairs])
def test_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(UnsupportedError) as found:
        jitgrad.jit(function)(1.5, 5)
    assert found.value.code == "JG247"
