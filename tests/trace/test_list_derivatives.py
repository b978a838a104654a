"""Derivatives by and of lists that grew: results of vjp and jvp, arguments of transforms inside a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.api import Transformed
from jitgrad.transform import Transform
from tests.programs.harness import Program, check_derivatives


def squares(x: np.ndarray) -> Any:
    out = []
    for v in x:
        if v > 0:
            out.append(v * v)
    return out


def floats_beside(x: np.ndarray) -> Any:
    out = []
    for v in x:
        if v > 0:
            out.append(float(v) ** 3)
    return out, x.sum()


def pairs_in_a_dict(x: np.ndarray) -> Any:
    out = []
    for v in x:
        if v > 0:
            out.append((v * v, np.sin(v)))
    return {"pairs": out}


def rows(x: np.ndarray) -> Any:
    out = []
    for v in x:
        if v > 0:
            out.append(x * v)
    return out


def rows_stored_to(x: np.ndarray) -> Any:
    out = []
    for v in x:
        if v > 0:
            r = x * v
            out.append(r)
            r[0] = 2 * v
    out[0][1] = x[0] * x[1]
    return out


def ints_beside(x: np.ndarray) -> Any:
    places, values = [], []
    for k, v in enumerate(x):
        if v > 0:
            places.append(k)
            values.append(v * 2)
    return places, values


def history(x: np.ndarray) -> Any:
    h: dict[str, list[Any]] = {"cost": [], "step": []}
    k = 0
    while k < len(x) and x[k] < 2.5:
        h["cost"].append(x[k] ** 2)
        h["step"].append(0.5 * x[k])
        k += 1
    return x.sum(), h


def of_both_kinds(x: np.ndarray) -> Any:
    out = []
    for v in x:
        if v > 0:
            out.append(0.0)
        else:
            out.append(v * 2)
    return out


def numbers_and_rows(x: np.ndarray) -> Any:
    out = []
    for v in x:
        if v > 0:
            out.append((v, x * v))
    return out, [v for v in x if v < 0]


def zipped(x: np.ndarray) -> Any:
    a, b = zip(*[(v, v * v) for v in x if v > 0], strict=True)
    return a, b


FUNCTIONS = [
    squares, floats_beside, pairs_in_a_dict, rows, rows_stored_to, ints_beside, history, of_both_kinds,
    numbers_and_rows, zipped,
]  # fmt: skip
INPUTS = [[1.0, -2.0, 2.0, 0.5], [1.0, 2.0, 0.3], [3.0, 2.0, -0.3, 0.7]]


@pytest.mark.parametrize("f", FUNCTIONS)
def test_both_modes(f: Callable[..., Any]) -> None:
    pull, push = Transformed(Transform("pull", f)), Transformed(Transform("push", f))
    for k, numbers in enumerate(INPUTS):
        args = (np.array(numbers),)
        check_derivatives(Program(f, [args], (0,)), args, pull, push, np.random.default_rng(k))


def test_the_cotangent_has_as_many_items() -> None:
    x = np.array([1.0, -2.0, 2.0])
    value, pull = jitgrad.vjp(squares, x)
    assert repr(value) == repr(squares(x))
    np.testing.assert_array_equal(pull([1.0, np.float64(0.5)])[0], [2.0, 0.0, 2.0])
    for wrong in ([1.0], [1.0, 2.0, 3.0], []):
        with pytest.raises((ValueError, jitgrad.ArgumentError)):
            pull(wrong)
    with pytest.raises(jitgrad.ArgumentError, match="JG106"):
        pull(1.0)


def test_the_tangent_is_of_the_same_kinds() -> None:
    value, slope = jitgrad.jvp(of_both_kinds, (np.array([1.0, -2.0, 2.0]),), (np.ones(3),))
    assert repr(value) == repr(of_both_kinds(np.array([1.0, -2.0, 2.0])))
    assert list(map(type, slope)) == list(map(type, value))
    assert slope == [0.0, 2.0, 0.0]


def test_gradients_by_lists_inside_a_function() -> None:
    def f(x: np.ndarray) -> Any:
        return jitgrad.grad(lambda xs: sum(v**3 for v in xs))(squares(x))

    def g(x: np.ndarray) -> Any:
        return sum(jitgrad.grad(lambda xs: np.sum(np.array(xs) ** 2))(squares(x)))

    def h(x: np.ndarray) -> Any:
        first = jitgrad.grad(lambda xs: sum((r * r).sum() for r in xs))(rows(x))
        return sum(r.sum() for r in first)

    x = np.array([1.0, -2.0, 2.0])
    assert repr(jitgrad.jit(f)(x)) == repr([np.float64(3.0), np.float64(48.0)])
    assert jitgrad.jit(g)(x) == 2 * (1.0 + 4.0)
    np.testing.assert_allclose(jitgrad.grad(g)(x), [4.0, 0.0, 8.0])
    assert jitgrad.jit(h)(x) == pytest.approx(2 * sum(r.sum() for r in rows(x)))


def test_lists_made_inside_are_not_changed_by_the_transform() -> None:
    def f(x: np.ndarray) -> Any:
        made = squares(x)

        def loss(xs: list[Any]) -> Any:
            xs[0] = x[0] * 3
            xs.append(x[1])
            return sum(v * v for v in xs)

        return made, jitgrad.grad(loss)(made)

    x = np.array([1.0, -2.0, 2.0])
    made, gradient = jitgrad.jit(f)(x)
    assert repr(made) == repr(squares(x))
    assert repr(gradient) == repr([np.float64(0.0), np.float64(8.0)])
