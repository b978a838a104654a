"""`match` statements: sequences, mappings, classes, literals and guards take the branch that Python takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

import jitgrad
from tests.trace.calling import assert_same, outcome

V = np.array([1.0, 2.0, 3.0])


@dataclass
class Point:
    x: float
    y: float


class Pair(NamedTuple):
    a: float
    b: float


def chosen(s: Any, x: np.ndarray) -> Any:
    match s:
        case "a":
            return x.sum()
        case ("b", n):
            return x.sum() * n
        case [a, b]:
            return x.sum() * a * b
        case [a, *r, c] if len(r) == 1:
            return x.sum() * a * r[0] * c
        case [a, *r]:
            return x.sum() * a * len(r)
        case {"k": v, **rest}:
            return x.sum() * v * (1 + len(rest))
        case Point(x=0.0, y=y):
            return x.sum() * y
        case Point(u, v):
            return x.sum() * u * v
        case float(v) if v > 1.0:
            return x.sum() * v
        case int(v) | (float() as v):
            return x.mean() * v
        case None:
            return x.max()
    return x.min()


SUBJECTS = [
    "a", "c", ("b", 2.0), [2.0, 3.0], (2.0, 3.0, 4.0), [1.0, 2.0, 3.0, 4.0], (), {"k": 2.0}, {"k": 2.0, "z": 3.0},
    {"q": 1.0}, Point(0.0, 5.0), Point(2.0, 3.0), Pair(1.0, 2.0), 2.5, 0.5, 3, True, None, V, np.float64(2.0),
]  # fmt: skip


@pytest.mark.parametrize("subject", SUBJECTS, ids=repr)
def test_branches(subject: Any) -> None:
    got, want = outcome(jitgrad.jit(chosen), (subject, V)), outcome(chosen, (subject, V))
    assert got[0] == want[0], (got, want)
    if want[0] == "raises":
        assert (type(got[1]), str(got[1])) == (type(want[1]), str(want[1]))
        return
    assert_same(got[1], want[1], 1e-14)
    step = np.array([0.5, -1.0, 0.25]) * 1e-6
    slope = (chosen(subject, V + step) - chosen(subject, V - step)) / 2.0
    np.testing.assert_allclose(jitgrad.grad(chosen, argnums=1)(subject, V) @ step, slope, rtol=1e-6)


def too_many(s: Any) -> Any:
    match s:
        case Point(_, _, _):
            return 1.0
    return 2.0


def no_class(s: Any) -> Any:
    kind = 3
    match s:
        case kind():
            return 1.0
    return 2.0


def too_many_of_a_number(p: Point) -> Any:
    match p.x:
        case float(a, b):
            return a * b
    return 0.0


def one_attribute_twice(p: Point) -> Any:
    match p:
        case Point(a, x=b):
            return a * b
    return 0.0


def deque_of_two(p: Point) -> Any:
    match deque([p.x, p.y]):
        case [a, b]:
            return a * b
    return 0.0


def test_a_deque_is_a_sequence() -> None:
    assert jitgrad.jit(deque_of_two)(Point(3.0, 2.0)) == deque_of_two(Point(3.0, 2.0)) == 6.0


@pytest.mark.parametrize("function", [too_many, no_class, too_many_of_a_number, one_attribute_twice])
def test_exceptions(function: Callable[..., Any]) -> None:
    got, want = outcome(jitgrad.jit(function), (Point(1.0, 2.0),)), outcome(function, (Point(1.0, 2.0),))
    assert (type(got[1]), str(got[1])) == (type(want[1]), str(want[1]))


def test_numbers_that_change_take_other_branches_of_one_compile() -> None:
    def f(k: int, p: tuple[float, float], x: np.ndarray) -> Any:
        match p, k:
            case (u, v), 0:
                return (u * x).sum() + v
            case (u, _), 1 | 2:
                return (u * x * x).sum()
        return x.sum()

    compiled = jitgrad.jit(f)
    for k in (0, 1, 2, 3):
        assert_same(compiled(k, (2.0, 3.0), V), f(k, (2.0, 3.0), V), 1e-14)
    assert compiled.stats()["compiled"] == 1
