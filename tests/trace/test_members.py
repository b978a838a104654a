"""Members of Enums as values and as numbers; classes that decide themselves what a call of them makes."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, IntEnum, IntFlag
from typing import Any

import numpy as np
import pytest

import jitgrad
from tests.trace.calling import check_compiled


class Side(Enum):
    LEFT = 1
    RIGHT = 2


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Constant(float, Enum):
    G = 9.81


class Flag(IntFlag):
    P = 1
    Q = 2


def by_value(x: Any, k: int) -> Any:
    return x * 2.0 if Side(k) is Side.LEFT else x


def as_key(x: Any, k: int) -> Any:
    return {Side.LEFT: x, Side.RIGHT: 3.0 * x}[Side(k)]


def compared(x: Any, k: int) -> Any:
    s = x if k == Level.LOW else 5.0 * x
    for i in range(4):
        if i >= Level.HIGH or i < Level.LOW:
            s = s * 1.5
    return s


def computed(x: Any, k: int) -> Any:
    return (
        x * Level.HIGH + k // Level.HIGH,
        Constant.G * x,
        sum(x**m for m in Level),
        int(Level.HIGH),
        float(Constant.G),
    )


def beside_numpy(x: Any, k: int) -> Any:
    a = np.array([1.0, 2.0], np.float32)
    return a * Level.HIGH, a * Constant.G, np.int8(k) + Level.LOW, a == Level.LOW, a[Level.LOW], np.float32(x) * 2


FUNCTIONS = [by_value, as_key, compared, computed, beside_numpy]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("k", [1, 2, 7])
def test_members(function: Callable[..., Any], k: int) -> None:
    check_compiled(function, (1.5, k), 1e-12)


class Angle(float):
    def degrees(self) -> float:
        return self * 57.0


class Row(list):
    pass


REFUSED: list[tuple[Callable[..., Any], str]] = [
    (lambda x: Angle(x).degrees(), "Angle.*derived from float"),
    (lambda x: Row([x])[0], "Row.*derived from list"),
    (lambda x: int(x) | Flag.P, "__or__ of Flag"),
]


@pytest.mark.parametrize(("function", "words"), REFUSED)
def test_what_is_not_made_by_init_is_refused(function: Callable[..., Any], words: str) -> None:
    with pytest.raises(jitgrad.UnsupportedError, match=words):
        jitgrad.jit(function)(2.0)
