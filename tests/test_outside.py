"""What a program changes outside itself, and what it handles itself, `jit` does as Python does, or refuses to do.

Objects come in as an argument or through a closure.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad import UnsupportedError


@dataclass
class Point:
    x: float
    y: float


def append_to(x, outside):
    outside["list"].append(x)
    return x


def replace_item(x, outside):
    outside["list"][0] = x
    return x


def replace_attribute(x, outside):
    outside["point"].x = x
    return x


def store_into_array(x, outside):
    outside["array"][0] = x
    return x


def handled(x, outside):
    try:
        return 1.0 / (x - x)
    except ZeroDivisionError:
        return -1.0


def mentioned(x, outside):
    return x if outside["list"] else -x


@pytest.mark.parametrize("by_argument", [True, False], ids=["argument", "closure"])
@pytest.mark.parametrize(
    "function",
    [append_to, replace_item, replace_attribute, store_into_array, handled, mentioned],
    ids=lambda f: f.__name__,
)
def test_changes_outside_are_made_or_refused(function: Callable[..., Any], by_argument: bool) -> None:
    """Never dropped in silence."""

    def world() -> dict[str, Any]:
        return {"list": [1.0], "array": np.array([1.0, 2.0]), "point": Point(1.0, 2.0)}

    ours, theirs = world(), world()
    expected = function(5.0, theirs)
    try:
        got = jitgrad.jit(function)(5.0, ours) if by_argument else jitgrad.jit(lambda x: function(x, ours))(5.0)
    except UnsupportedError:
        assert repr(ours) == repr(world())
    else:
        assert got == expected
        assert repr(ours) == repr(theirs)
