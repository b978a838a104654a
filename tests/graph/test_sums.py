"""Which sums of a reverse program may be taken in any order: those that nobody reads on their way; sums of -0.0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.graph.diff.sums import mark_sums
from tests.graph.helpers import read

_LOOP = """graph f(%x: float64[], %y: float64[], %a: float64[4], %n: int64[]) {{
  %r, %b = for %n, %x, %a : float64[], float64[4]
  ^(%k: int64[], %s: float64[], %c: float64[4]) {{
    %e = load %a {{index=(@1,)}} : float64[]
    %t = add %s, %e : float64[]
    %u = add %t, %y : float64[]
    {more}
    yield %u, %d
  }}
  return %r, %b
}}"""


@pytest.mark.parametrize(
    ("more", "free"),
    [
        ("%d = store %c, %e {index=(@0,)} : float64[4]", True),
        ("%d = store %c, %s {index=(@0,)} : float64[4]", False),
        ("%d = store %c, %t {index=(@0,)} : float64[4]", False),
        ("%d = store %c, %u {index=(@0,)} : float64[4]", False),
    ],
    ids=["unseen", "before", "between", "after"],
)
def test_sums_that_nobody_reads_are_regrouped(more: str, free: bool) -> None:
    graph = read(_LOOP.format(more=more))
    (loop,) = graph.ops
    mark_sums(loop)
    additions = [op for op in loop.regions[0].ops if op.name == "add"]
    assert [op.attrs.get("any_order", False) for op in additions] == [free, free]


def elements_one_by_one(a: np.ndarray, x: float) -> np.ndarray:
    v = np.zeros(4)
    signs = np.zeros(2)
    for i in range(2):
        v[i] *= x
        signs[i] = np.copysign(1.0, a @ v)
    return signs


def components(a: np.ndarray, x: float) -> np.ndarray:
    p = np.zeros((40, 3)) * x
    for _ in range(3):
        p = p * 2.0
    return np.copysign(1.0, np.sum(p, axis=1))


def whole(a: np.ndarray, x: float) -> np.ndarray:
    z = np.zeros(50) * x
    return np.copysign(1.0, np.array([np.sum(z), z @ z, np.sum(np.zeros((5, 30)) * x, axis=0)[3]]))


@pytest.mark.parametrize("program", [elements_one_by_one, components, whole])
@pytest.mark.parametrize("x", [2.0, -2.0])
def test_a_sum_of_negative_zeros_is_zero(program: Callable[..., Any], x: float) -> None:
    a = -np.ones(4)
    np.testing.assert_array_equal(jitgrad.jit(program)(a, x), program(a, x))
