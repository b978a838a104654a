"""`index`, `count` and `remove` where data decide which item it is; lists of Python's numbers and NumPy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad


def of_known_length(x: np.ndarray) -> Any:
    items = [x[0], x[1], x[2]]
    return (
        items.index(max(items)),
        items.count(x[0]),
        items.index(x[1], 1),
        items.index(x[2], -2),
        items.index(x[0], 0, 2),
    )


def of_a_tuple(x: np.ndarray) -> Any:
    return tuple(x).index(x[1]), (1, 2, 3).index(2), tuple(x).count(1.0)


def of_a_list_that_grows(x: np.ndarray) -> Any:
    items = []
    for v in x:
        if v > 0:
            items.append(float(v))
    k = items.index(max(items))
    items.remove(max(items))
    return k, items, items.count(1.0)


def of_pairs(x: np.ndarray) -> Any:
    items = []
    for v in x:
        if v > 0:
            items.append((v, 1))
    return items.index((3.0, 1)), items.count((3.0, 1))


def of_ints(x: np.ndarray) -> Any:
    items = []
    for k, v in enumerate(x):
        if v > 0:
            items.append(k)
    if 2 in items:
        items.remove(2)
    return items


def missing(x: np.ndarray) -> Any:
    items = []
    for v in x:
        if v > 0:
            items.append(v)
    return items.index(x[1])


def missing_of_known_length(x: np.ndarray) -> Any:
    return [1.0, 2.0].index(x[0])


def removed_but_missing(x: np.ndarray) -> Any:
    items = []
    for v in x:
        if v > 0:
            items.append(v)
    items.remove(x[1])
    return items


def no_number(x: np.ndarray) -> Any:
    n = float(x[0] * np.nan)
    items = [1.0, n]
    return items.index(n), items.count(n)


def arrays(x: np.ndarray) -> Any:
    return [np.ones(2), np.zeros(2)].index(x[0])


# --- numbers of several kinds in one list: each branch appends of its own


def waits(x: np.ndarray) -> Any:
    items = []
    busy = 0
    for v in x:
        if v > 0:
            if busy < 1:
                busy += 1
                items.append(0.0)
        elif busy > 0:
            items.append(v * 2)
        else:
            busy -= 1
    return items, max(items, default=7.0), sum(items), np.mean(items) if items else 0.0


def stored(x: np.ndarray) -> Any:
    items = [0.0] * 3
    for k in range(len(x)):
        if x[k] > 0:
            items.append(1.0)
        else:
            items[k] = x[k]
    return items, min(items)


def with_ints(x: np.ndarray) -> Any:
    items = [0]
    for k in range(len(x)):
        if x[k] > 0:
            if x[k] < 4:
                items.append(1)
        elif x[k] < -1:
            items.append(x[k])
        else:
            items.append(0.5)
    return items, max(items)


class Account:
    """Two methods that append to one list."""

    def __init__(self) -> None:
        self.items: list[Any] = []

    def plain(self, v: Any) -> None:
        """Append Python's float."""
        if v > 0:
            self.items.append(float(v))

    def array_item(self, v: Any) -> None:
        """Append NumPy's."""
        if v < 0:
            self.items.append(v)


def of_an_object(x: np.ndarray) -> Any:
    account = Account()
    for v in x:
        account.plain(v)
        account.array_item(v)
    return account.items, max(account.items) - min(account.items)


def of_a_dict(x: np.ndarray) -> Any:
    lists: dict[str, list[Any]] = {"a": [], "b": []}
    for v in x:
        if v > 0:
            if v > 2:
                lists["a"].append(1.0)
        else:
            lists["b"].append(v)
            if v < -1:
                lists["a"].append(v)
    return lists["a"], sum(lists["b"]), max(lists["a"], default=0.0)


FUNCTIONS = [
    of_known_length, of_a_tuple, of_a_list_that_grows, of_pairs, of_ints, missing, missing_of_known_length,
    removed_but_missing, no_number, arrays, waits, stored, with_ints, of_an_object, of_a_dict,
]  # fmt: skip
INPUTS = [[1.0, -2.0, 3.0, -0.5], [-1.0, 2.0, 3.0, 5.0], [5.0, 5.0, 1.5], [0.25, -3.0, -1.0]]


def outcome(f: Callable[[Any], Any], x: np.ndarray) -> Any:
    try:
        return f(x)
    except Exception as exception:
        return exception


@pytest.mark.parametrize("f", FUNCTIONS)
def test_as_in_python(f: Callable[[Any], Any]) -> None:
    compiled = jitgrad.jit(f)
    for numbers in INPUTS:
        x = np.array(numbers)
        # Types too: 1, 1.0 and np.float64(1.0) are written in three ways.
        assert repr(outcome(compiled, x)) == repr(outcome(f, x))


@pytest.mark.parametrize("f", [waits, stored, of_an_object, of_a_dict])
def test_derivatives_of_their_greatest(f: Callable[[Any], Any]) -> None:
    def last(x: np.ndarray) -> Any:
        return f(x)[-1] * 1.0

    gradient = jitgrad.grad(last)
    for numbers in INPUTS[:2]:
        x, h = np.array(numbers), 1e-6
        want = [(last(x + h * e) - last(x - h * e)) / (2 * h) for e in np.eye(len(x))]
        np.testing.assert_allclose(gradient(x), want, atol=1e-8)


# --- the best of items of which there may be none, and numbers of a masked array


WITH_DEFAULT: list[Callable[[Any], Any]] = [
    lambda x: max((v for v in x if v > 4), default=7.0),
    lambda x: min([v for v in x if v > 2], default=None),
    lambda x: max([v for v in x if v > 1], key=lambda v: -v, default=0),
    lambda x: max(x[x > 4].tolist(), default=x[0]),
    lambda x: min(x[x > 4].tolist(), default="none"),
    lambda x: x[x > 0].tolist(),
    lambda x: [2 * v for v in x[x > 0].tolist()],
    lambda x: sorted(x[x > 0].tolist(), reverse=True),
    lambda x: np.flatnonzero(x > 0).tolist(),
    lambda x: (x > 0)[x > 0].tolist(),
]


@pytest.mark.parametrize("f", WITH_DEFAULT)
def test_default_and_tolist(f: Callable[[Any], Any]) -> None:
    compiled = jitgrad.jit(f)
    for numbers in INPUTS:
        x = np.array(numbers)
        assert repr(compiled(x)) == repr(f(x))


# --- which NaN it is


def found_in(x: np.ndarray) -> Any:
    items = []
    for v in x:
        if v > 0:
            items.append(float(v))
    return x[0] in items, x[0] * 0.0 in items, (3.0 in items) + items.count(x[1])


def test_in_a_list_of_floats_that_grows() -> None:
    compiled = jitgrad.jit(found_in)
    for numbers in INPUTS:
        x = np.array(numbers)
        assert repr(compiled(x)) == repr(found_in(x))


@pytest.mark.parametrize(
    "look", [lambda items, v: v in items, lambda items, v: items.index(v), lambda items, v: items.count(v)]
)
def test_a_nan_is_not_looked_for(look: Callable[[list[Any], Any], Any]) -> None:
    def f(x: np.ndarray) -> Any:
        items = []
        for v in x:
            if not v > 0:
                items.append(v)
        return look(items, items[-1])

    compiled = jitgrad.jit(f)
    assert compiled(np.array([1.0, -2.0, 3.0])) == f(np.array([1.0, -2.0, 3.0]))
    with pytest.raises(jitgrad.UnsupportedError, match="JG237"):
        compiled(np.array([1.0, np.nan, 3.0]))
