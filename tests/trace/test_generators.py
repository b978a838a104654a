"""Generators run when their items are asked for; views of a dict show what it holds: as Python, or refused."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import jitgrad
from tests.trace.calling import assert_same, outcome


def steps(u: Any, n: int) -> Iterator[Any]:
    for _ in range(n):
        u *= 0.5
        yield u


def elements(a: Any) -> Iterator[Any]:
    for k in range(len(a)):
        yield a[k]


class Pairs:
    def __init__(self, x: Any) -> None:
        self.x, self.n, self.force = x, 3, np.zeros(3)

    def others(self, i: int) -> Iterator[int]:
        for j in range(self.n):
            if j != i:
                yield j

    def run(self) -> Any:
        for i in range(self.n):
            for j in self.others(i):
                self.force[i] += self.x[j] * (j + 1)
        return self.force.sum()


def of_a_state(x: Any) -> Any:
    u, total = x * np.ones(3), 0.0
    for v in steps(u, 4):
        total += v.sum()
    return total


def variables_of_its_caller(x: Any) -> Any:
    k = 2.0
    made = (v * k for v in (x, 2.0 * x))
    k = 5.0
    return sum(made)


def effects_before_all_items(x: Any) -> Any:
    log = []

    def noted() -> Iterator[Any]:
        for k in range(3):
            log.append(k)
            yield k * x

    made = noted()
    before = len(log)
    return sum(made), list(noted()), before, len(log)


def of_an_array_that_is_read(x: Any) -> Any:
    a, total = x * np.ones(3), 0.0
    for v in elements(a):
        total += v * a[0]
    return total


def views(x: Any) -> Any:
    d = {"a": x, "b": 2.0 * x}
    keys, values = d.keys(), d.values()
    a, b = values
    (p, q), *rest = d.items()
    total = 0.0
    for _, v in d.items():
        d["b"] = 7.0
        total += v
    for k in d:
        d[k] = d[k] * 2.0
    d["c"] = 1.0
    facts = len(keys), "c" in keys, x in values, ("c", 1.0) in d.items(), keys == {"a", "b", "c"}, keys & {"a"} == {"a"}
    return (
        a,
        b,
        p,
        q,
        rest,
        total,
        sum(values),
        facts,
        sorted(d.items()),
        next(iter(values)),
        [*zip(d, values, strict=True)],
    )


def map_of_a_variable_that_changes(x: Any) -> Any:
    k = 2.0
    made = map(lambda v: v * k, [x, 2.0 * x])  # noqa: C417
    k = 3.0
    return sum(made)


def one_by_one(x: Any) -> Any:
    return Pairs(np.array([x, 2.0, 3.0])).run()


class Neighbours:
    def __init__(self, x: Any) -> None:
        self.x, self.n = x, 3

    def of(self, i: int) -> Iterator[Any]:
        for j in range(self.n):
            if j != i:
                yield j, self.x[j] - self.x[i]


def pairs_but_one(x: Any) -> Any:
    near, force = Neighbours(np.array([x, 2.0, 4.0])), np.zeros(3)
    for i in range(3):
        for j, d in near.of(i):
            force[i] += d
            force[j] -= d * 0.5
        for j, d in [(j, x) for j in range(3) if j != i]:
            force[j] += d * i
    return force


SAME: list[Callable[[Any], Any]] = [
    of_a_state,
    variables_of_its_caller,
    effects_before_all_items,
    of_an_array_that_is_read,
    one_by_one,
    views,
    map_of_a_variable_that_changes,
    pairs_but_one,
]


@pytest.mark.parametrize("function", SAME)
def test_values(function: Callable[[Any], Any]) -> None:
    assert_same(jitgrad.jit(function)(1.5), function(1.5), 1e-15)


def test_a_derivative_through_a_generator() -> None:
    def f(x: float) -> Any:
        return of_a_state(x) * one_by_one(x)

    assert jitgrad.grad(f)(1.5) == pytest.approx((f(1.5 + 1e-6) - f(1.5 - 1e-6)) / 2e-6, rel=1e-8)


def state_read_between(x: Any) -> Any:
    u, total = x * np.ones(3), 0.0
    for _ in steps(u, 3):
        total += u.sum()
    return total


def array_changed_between(x: Any) -> Any:
    a, total = x * np.ones(3), 0.0
    for v in elements(a):
        a += 1.0
        total += v
    return total


def effects_under_any(x: Any) -> Any:
    log = []

    def noted() -> Iterator[Any]:
        for k in range(3):
            log.append(k)
            yield k * x

    return any(v > 1.0 for v in noted()), len(log)


def values_changed_ahead(x: Any) -> Any:
    d, total = {"a": x, "b": 2.0 * x}, 0.0
    for i, (_, v) in enumerate(d.items()):
        d["b"] = 7.0
        total += v * i
    return total


class Field:
    def __init__(self, x: Any) -> None:
        self.x, self.f = x, np.zeros(3)

    def value(self, k: int) -> Any:
        return self.f[k]

    def by_a_method(self) -> Iterator[Any]:
        for k in range(3):
            yield self.value(k)

    def by_a_function(self) -> Iterator[Any]:
        for k in range(3):
            yield value_of(self, k)

    def filled(self, items: Iterator[Any]) -> Any:
        total = 0.0
        for v in items:
            total += v
            self.f += self.x
        return total


def value_of(field: Field, k: int) -> Any:
    return field.f[k]


def read_by_a_method(x: Any) -> Any:
    field = Field(x)
    return field.filled(field.by_a_method())


def read_by_a_function(x: Any) -> Any:
    field = Field(x)
    return field.filled(field.by_a_function())


def read_by_a_closure(x: Any) -> Any:
    f, total = np.zeros(3), 0.0

    def value(k: int) -> Any:
        return f[k]

    for v in (value(k) for k in range(3)):
        total += v
        f[:] = f + x
    return total


def noted(x: Any, log: list[int]) -> Iterator[Any]:
    for k in range(3):
        log.append(k)
        yield k * x


def fewer_are_zipped(x: Any) -> Any:
    log: list[int] = []
    return list(zip(range(2), noted(x, log), strict=False)), len(log)


def fewer_are_sliced(x: Any) -> Any:
    log: list[int] = []
    return list(itertools.islice(noted(x, log), 1)), len(log)


def the_rest_is_sliced(x: Any) -> Any:
    items = elements([x, 2.0 * x, 3.0 * x])
    return list(itertools.islice(items, 2)), list(items)


@pytest.mark.parametrize(
    ("function", "code"),
    [
        (read_by_a_method, "JG247"),
        (read_by_a_function, "JG247"),
        (read_by_a_closure, "JG247"),
        (fewer_are_zipped, "JG249"),
        (fewer_are_sliced, "JG249"),
        (the_rest_is_sliced, "JG248"),
        (state_read_between, "JG249"),
        (array_changed_between, "JG247"),
        (effects_under_any, "JG249"),
        (values_changed_ahead, "JG247"),
        (lambda x: {"a": x}.items(), "JG225: a dict_items"),
    ],
)
def test_what_would_be_seen_in_another_order_is_refused(function: Callable[[Any], Any], code: str) -> None:
    with pytest.raises(jitgrad.UnsupportedError, match=code):
        jitgrad.jit(function)(1.5)


def grown(x: Any) -> None:
    d = {"a": x, "b": 2.0}
    for _ in d.items():
        d["z"] = 1.0


@pytest.mark.parametrize("function", [grown, lambda x: elements(), lambda x: elements(x, x)])  # type: ignore[call-arg]
def test_exceptions(function: Callable[[Any], Any]) -> None:
    got, want = outcome(jitgrad.jit(function), (1.5,))[1], outcome(function, (1.5,))[1]
    assert (type(got), str(got)) == (type(want), str(want))
