"""Views of views: which elements they show, also where one names a part of an axis that another made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from tests.trace.calling import assert_same, check

V, M = np.arange(3.0), np.arange(6.0).reshape(2, 3)
PARTS: list[tuple[Callable[..., Any], np.ndarray]] = [
    (lambda x, k: x[None][k:], V),
    (lambda x, k: x[None][:k], V),
    (lambda x, k: x[:, None][:, k:] * 2.0, V),
    (lambda x, k: x[:, None][1:][:, k:][::-1].T, M),
    (lambda x, k: x.ravel()[:k], np.array(3.0)),
    (lambda x, k: np.expand_dims(x, 0)[k:, :][:, 1:].reshape(-1), V),
    (lambda x, k: np.atleast_2d(x)[k:].shape, V),
]


@pytest.mark.parametrize("place", [0, 1, -1])
@pytest.mark.parametrize("function, x", PARTS)
def test_a_new_axis_has_parts(function: Callable[..., Any], x: np.ndarray, place: int) -> None:
    check(function, (x, place))
    assert_same(jitgrad.jit(lambda v: function(v, place))(x), function(x, place), 1e-13)


@pytest.mark.parametrize("place", [0, 1])
def test_stores_into_a_part_of_a_new_axis(place: int) -> None:
    def stored(x: np.ndarray, k: int) -> np.ndarray:
        part = x[None, :, None][k:, 1:]
        part += 7.0
        return x

    check(stored, (V, place))

    def summed(x: np.ndarray, k: int) -> float:
        return np.sum(x[:, None][:, k:] ** 2)

    np.testing.assert_array_equal(jitgrad.grad(summed)(V, place), 2.0 * V * (place == 0))
