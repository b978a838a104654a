"""Whole arrays that are changed in place: in the memory they are in, without a copy, and right where they overlap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad


def scaled(x: np.ndarray) -> None:
    x *= 2.0


def added(x: np.ndarray) -> None:
    x += np.sin(x) * x


def through_out(x: np.ndarray) -> None:
    np.multiply(x, x, out=x)


def named(x: np.ndarray) -> None:
    x[:] = np.sqrt(abs(x))


def again_and_again(x: np.ndarray) -> None:
    for k in range(5):
        x *= 0.5 + k


def by_columns(x: np.ndarray) -> None:
    x[:, :] = x * x[0, 1]


def turned(x: np.ndarray) -> None:
    x[:] = x[::-1] + x


def transposed(x: np.ndarray) -> None:
    x += x.T


def of_the_first(x: np.ndarray) -> None:
    x -= x[0]


def shifted(x: np.ndarray) -> None:
    x += np.roll(x, 1, axis=1)


def of_sums(x: np.ndarray) -> None:
    x /= x.sum(axis=1)[:, None]


def read_later(x: np.ndarray) -> Any:
    y = x + 1.0
    x *= 2.0
    return y * x


IN_PLACE = [scaled, added, through_out, named, again_and_again, by_columns]
OVERLAPPING = [turned, transposed, of_the_first, shifted, of_sums, read_later]


@pytest.mark.parametrize("f", [*IN_PLACE, *OVERLAPPING])
@pytest.mark.parametrize("n", [3, 40])
def test_as_numpy(f: Callable[..., Any], n: int) -> None:
    mine, numpys = np.random.default_rng(n).uniform(0.5, 1.5, (2, n, n))
    numpys[:] = mine
    got, want = jitgrad.jit(f)(mine), f(numpys)
    np.testing.assert_allclose(mine, numpys, rtol=1e-15)
    if want is not None:
        np.testing.assert_allclose(got, want, rtol=1e-15)


@pytest.mark.parametrize("f", IN_PLACE)
def test_nothing_is_copied(f: Callable[..., Any]) -> None:
    text = jitgrad.jit(f).llvm(np.ones((90, 90)))
    body = text[text.index("@body") :]
    body = body[: body.index("\n}")]
    assert "call void @llvm.mem" not in body
    assert "getelementptr i8, ptr %arena" not in body
