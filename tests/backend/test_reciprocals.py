"""Reciprocals of derivatives: shared, of roots, by estimates; right to the last digits, and exactly at all ends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.backend.engine import host
from jitgrad.backend.lower import Target
from jitgrad.graph.builder import Builder
from jitgrad.graph.interpret import interpret
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.types import ArrayType
from tests.backend.native import Native

WIDE = "+avx512f" in host().features


def made(build: Callable[[Builder, Value, Value], list[Value]], n: int, dtype: type) -> Graph:
    row = ArrayType(np.dtype(dtype), (n,))
    graph = Graph("f", [row, row])
    graph.yields = build(Builder(graph), *graph.args)
    return graph


def quotients(g: Builder, x: Value, y: Value) -> list[Value]:
    root, other = g.sqrt(x), g.sqrt(y)
    return [
        g.divide(y, x, any_rounding=True),
        g.divide(y, root, any_rounding=True),
        g.divide(x, g.multiply(other, y, any_rounding=True), any_rounding=True),
        g.divide(x, other, any_rounding=True),
    ]


def with_the_root(g: Builder, x: Value, y: Value) -> list[Value]:
    root = g.sqrt(x)
    return [root, g.divide(y, root, any_rounding=True), g.divide(x, g.multiply(root, y), any_rounding=True)]


def only_the_product(g: Builder, x: Value, y: Value) -> list[Value]:
    return [g.divide(g.constant(1.0, x.array.dtype), g.multiply(g.sqrt(x), y), any_rounding=True)]


def of_products(g: Builder, x: Value, y: Value) -> list[Value]:
    product = g.multiply(x, y)
    return [g.divide(y, v, any_rounding=True) for v in (x, y, product)]


def bound(dtype: type) -> float:
    return 12 * float(np.finfo(dtype).eps)


@pytest.mark.parametrize("build", [quotients, with_the_root, only_the_product, of_products])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [5, 16, 77, 200])
@pytest.mark.parametrize("wide", [False, True] if WIDE else [False])
def test_values(build: Any, dtype: type, n: int, wide: bool) -> None:
    rng = np.random.default_rng(n)
    x, y = np.exp(rng.normal(size=(2, n)) * 9).astype(dtype)
    graph = made(build, n, dtype)
    native = Native(graph, ["C", "C"], features=Target(64 if wide else 32, True, wide))
    for got, want in zip(native(x, y), interpret(graph, [x, y]), strict=True):
        np.testing.assert_allclose(got, want, rtol=bound(dtype))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("of_root", [False, True])
def test_ends(of_root: bool, dtype: type) -> None:
    info = np.finfo(dtype)
    ends = [0.0, -0.0, np.inf, -np.inf, np.nan, -1.0, 1.0, info.smallest_subnormal, -info.smallest_subnormal, info.tiny]
    ends += [info.tiny / 16, -info.tiny / 3, info.max, -info.max, info.max / 3, info.max / 16]
    x = np.array(ends * 3, dtype)

    def f(x: np.ndarray, y: np.ndarray) -> Any:
        return np.sum(np.sqrt(x)) if of_root else np.sum(y / x)

    with np.errstate(all="ignore"):
        got = jitgrad.grad(f, argnums=0 if of_root else 1)(x, x)
        want = 0.5 / np.sqrt(x) if of_root else 1 / x
    np.testing.assert_allclose(got, want, rtol=bound(dtype))
    known = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got[known]), np.signbit(want[known]))


def test_a_quotient_that_is_not_used_may_be_anything() -> None:
    """Where a mask does not ask for it, a reciprocal of 0 or of a negative number must not spoil what is asked for."""
    x = np.array([4.0, -1.0, 0.0, 9.0, -3.0] * 13)

    def f(x: np.ndarray) -> Any:
        positive = x > 0
        return np.sum(np.where(positive, 1.0 / np.sqrt(np.where(positive, x, 1.0)), 1.0 / (np.abs(x) + 1.0)))

    positive = x > 0
    want = np.where(positive, -0.5 * np.where(positive, x, 1.0) ** -1.5, -np.sign(x) / (np.abs(x) + 1.0) ** 2)
    np.testing.assert_allclose(jitgrad.grad(f)(x), want, rtol=1e-14)


def test_estimates_take_the_place_of_roots_and_divisions() -> None:
    def f(x: np.ndarray, y: np.ndarray) -> Any:
        return np.sum(y / (x * np.sqrt(x)))

    text = jitgrad.grad(f, argnums=1).llvm(np.ones(64), np.ones(64))
    assert ("rsqrt14" in text, "fdiv" in text, "llvm.sqrt.v" in text) == (WIDE, not WIDE, not WIDE)
