"""Lists, ranges and members of enumerations that a program reads from outside, in the place of arrays and of keys."""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import jitgrad

PLACES = [0, 2, 1]
WEIGHTS = [0.5, 1.5, 0.25]
CHOSEN = [True, False, True]
AXES = [0, 1]
ROWS = [[1.0, 2.0], [3.0, 4.0]]
BOTH = [[0, 1], [1, 2]]
PARTS = {"places": [0, 1], "weights": [0.1, 0.2]}
OBJECT = SimpleNamespace(places=[0, 2], weights=[1.0, 2.0])
PAIR = ([0, 1], [1.0, 2.0])


class Side(enum.Enum):
    """A member with a list."""

    LEFT = [0, 2]  # noqa: RUF012


READS: list[Callable[[Any], Any]] = [
    lambda x: x[PLACES],
    lambda x: x[PLACES, PLACES],
    lambda x: x[:, PLACES],
    lambda x: x[PLACES][:, CHOSEN],
    lambda x: x[..., PLACES],
    lambda x: x[range(2)],
    lambda x: x[:, range(1, 3)],
    lambda x: x[deque([0, 2])],
    lambda x: x[PARTS["places"]],
    lambda x: x[OBJECT.places, 1],
    lambda x: x[PAIR[0], PAIR[0]],
    lambda x: x[BOTH],
    lambda x: x[BOTH[0]],
    lambda x: x[Side.LEFT.value],
    lambda x: [x[k] for k in BOTH],
    lambda x: x[:2, :2] @ ROWS,
    lambda x: np.piecewise(x[0], [CHOSEN], [1.0, 2.0]),
    lambda x: np.repeat(x, PLACES, axis=0),
    lambda x: np.pad(x, AXES),
    lambda x: np.roll(x, AXES, axis=AXES),
    lambda x: np.roll(x, [1, 2]),
    lambda x: np.roll(x, [1], axis=[0, 1]),
    lambda x: np.expand_dims(x, AXES),
    lambda x: np.expand_dims(x, [0, 1]),
    lambda x: np.moveaxis(x, AXES, [1, 0]),
    lambda x: np.tile(x, AXES[1:]),
    lambda x: np.flip(x, AXES),
    lambda x: np.rot90(x, 1, AXES),
    lambda x: x.sum(axis=AXES),
    lambda x: x.sum(axis=[0, 1]),
]


def _stores() -> list[Callable[[Any], Any]]:
    def at_places(x: Any) -> Any:
        x[PLACES] = 1.0
        x[PLACES, PLACES] += WEIGHTS
        return x

    def in_columns(x: Any) -> Any:
        x[:, PLACES] = WEIGHTS
        return x

    def by_mask(x: Any) -> Any:
        x[CHOSEN] *= 2
        return x

    def of_rows(x: Any) -> Any:
        x[:2, :2] = ROWS
        x[2] = range(3)
        return x

    def of_all(x: Any) -> Any:
        x[...] = WEIGHTS
        x[BOTH] -= 1.0
        return x

    return [at_places, in_columns, by_mask, of_rows, of_all]


def _outcome(function: Callable[[Any], Any], x: np.ndarray) -> Any:
    try:
        return function(x)
    except Exception as exception:
        return exception


@pytest.mark.parametrize("f", [*READS, *_stores()])
def test_as_in_python(f: Callable[[Any], Any]) -> None:
    x = np.arange(9.0).reshape(3, 3) + 0.5
    ours, theirs = _outcome(jitgrad.jit(f), x.copy()), _outcome(f, x.copy())
    if isinstance(theirs, Exception):
        assert type(ours) is type(theirs) and str(ours) == str(theirs)
    else:
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b, strict=True)


def test_derivative_through_a_list_of_places() -> None:
    x = np.arange(3.0)
    np.testing.assert_array_equal(jitgrad.grad(lambda x: x[PLACES] @ WEIGHTS)(x), [0.5, 0.25, 1.5])


def test_another_length_or_another_place() -> None:
    places = [0, 1]
    f = jitgrad.jit(lambda x: x[places])
    x = np.arange(4.0)
    np.testing.assert_array_equal(f(x), x[:2])
    places[1] = 3
    np.testing.assert_array_equal(f(x), x[[0, 3]])
    places.append(2)
    np.testing.assert_array_equal(f(x), x[[0, 3, 2]])
    places[:] = [4]
    with pytest.raises(IndexError, match="index 4 is out of bounds for axis 0 with size 4"):
        f(x)
