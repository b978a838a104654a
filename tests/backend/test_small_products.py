"""Products of small matrices that are written out: of all sizes and layouts, on hosts of all widths."""

from __future__ import annotations

import itertools
import random
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.backend.lower import Target
from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Graph
from jitgrad.graph.types import ArrayType
from tests.backend.native import Native, layout_of
from tests.sampling import sampled

HOSTS = [Target(64, True), Target(32, True), Target(16, False)]
SIZES = list(itertools.product((1, 2, 3, 4, 5, 7, 8, 9), repeat=3))
LAYOUTS = ("C", "F", "every second", "backwards", "one row")


def matrix(rows: int, columns: int, layout: str, dtype: Any, seed: int) -> np.ndarray:
    """Return a matrix of small whole numbers, of which all sums are exact."""
    whole = np.random.default_rng(seed).integers(-8, 9, (2 * rows, 2 * columns)).astype(dtype)
    if layout == "every second":
        return whole[::2, ::2]
    if layout == "backwards":
        return whole[:rows, columns - 1 :: -1]
    if layout == "one row":
        return np.broadcast_to(whole[0, :columns], (rows, columns))
    return np.asarray(whole[:rows, :columns], order=layout)  # type: ignore[call-overload]


def product(x: np.ndarray, y: np.ndarray, host: Target, order: str, in_loop: bool) -> Any:
    """Return a product from machine code, and the text of that."""
    graph = Graph("f", [ArrayType(a.dtype, a.shape) for a in (x, y)], ["x", "y"])
    g = Builder(graph)
    if in_loop:
        start = g.matmul(*graph.args)
        with g.region([ArrayType(np.dtype(np.int64)), start.type]) as body:
            body.yields = [g.matmul(*graph.args)]
        graph.yields = list(g.emit("for", [g.constant(2), start], {}, [body]).results)
    else:
        graph.yields = [g.matmul(*graph.args)]
    native = Native(graph, [layout_of(x), layout_of(y)], [order], features=host)
    return native(x, y)[0], native.body.ir


@pytest.mark.parametrize("sizes", sampled(SIZES, 60, 11))
def test_all_sizes_and_layouts(sizes: tuple[int, int, int]) -> None:
    m, n, k = sizes
    rng = random.Random(str(sizes))
    for host, dtype, order in zip(HOSTS, ("float64", "float32", "float64"), "CFC", strict=True):
        x = matrix(m, k, rng.choice(LAYOUTS), dtype, 1)
        y = matrix(k, n, rng.choice(LAYOUTS), dtype, 2)
        for in_loop in (False, True):
            got, _ = product(x, y, host, order, in_loop)
            np.testing.assert_array_equal(got, np.ascontiguousarray(x) @ np.ascontiguousarray(y))


@pytest.mark.parametrize("layouts", list(itertools.product(LAYOUTS, repeat=2)))
@pytest.mark.parametrize("sizes", [(4, 4, 4), (3, 3, 3), (2, 4, 4), (4, 1, 3), (1, 4, 3), (7, 2, 5), (3, 2, 2)])
def test_each_layout(sizes: tuple[int, int, int], layouts: tuple[str, str]) -> None:
    m, n, k = sizes
    x, y = matrix(m, k, layouts[0], "float64", 3), matrix(k, n, layouts[1], "float64", 4)
    for order in "CF":
        got, _ = product(x, y, HOSTS[0], order, in_loop=order == "F")
        np.testing.assert_array_equal(got, np.ascontiguousarray(x) @ np.ascontiguousarray(y))


def test_no_loop_is_left() -> None:
    """But where it runs once and is not short, or is long."""
    x, y = matrix(4, 4, "C", "float64", 1), matrix(4, 4, "F", "float64", 2)
    _, text = product(x, y, HOSTS[1], "C", in_loop=False)
    assert "phi" not in text
    assert text.count("call <4 x double> @llvm.fma.v4f64") == 16
    x, y = matrix(8, 8, "C", "float64", 1), matrix(8, 8, "F", "float64", 2)
    _, text = product(x, y, HOSTS[0], "C", in_loop=False)
    assert "phi" in text
    _, text = product(x, y, HOSTS[0], "C", in_loop=True)
    assert text.count("call <8 x double> @llvm.fma.v8f64") == 64


def test_into_a_part_of_an_array() -> None:
    """Nothing beside the part is written."""

    def f(a: np.ndarray, x: np.ndarray, y: np.ndarray) -> Any:
        for k in range(3):
            a[k, 1:4, 1:4] = x @ y[k]
            a[k, 0, :3] = x @ y[k, 0]
        return a

    a, x, y = np.full((3, 5, 5), 7.0), matrix(3, 3, "C", "float64", 1), np.arange(27.0).reshape(3, 3, 3)
    np.testing.assert_array_equal(jitgrad.jit(f)(a.copy(), x, y), f(a.copy(), x, y))


def test_of_a_matrix_put_together_from_numbers() -> None:
    """It is in a register before it is in memory."""

    def f(w: np.ndarray, x: np.ndarray) -> Any:
        for k in range(len(w)):
            c, s = w[k], 1.0 - w[k]
            x = np.array([[c, -s, 2.0], [s, c, w[k - 1]]]) @ np.array([x[0], x[1], c])
        return x

    w, x = np.arange(4.0), np.array([1.0, -2.0])
    compiled = jitgrad.jit(f)
    np.testing.assert_array_equal(compiled(w, x), f(w, x))
    text = compiled.llvm(w, x)
    assert text.count("store <6 x double>") == text.count("store <3 x double>") == 1


def test_sums_begin_with_zero() -> None:
    x, y = np.full((2, 1), -0.0), np.ones((1, 2))
    assert not np.signbit(x @ y).any()
    assert not np.signbit(jitgrad.jit(lambda x, y: x @ y)(x, y)).any()


def test_filter() -> None:
    """A Kalman filter's products with transposed matrices, and their derivatives."""

    def f(a: np.ndarray, h: np.ndarray, p: np.ndarray) -> Any:
        total, p = 0.0, p @ p.T
        for _ in range(5):
            p = a @ p @ a.T + np.eye(3)
            s = h @ p @ h.T
            gain = p @ h.T / (1.0 + s[0, 0])
            p = p - gain @ h @ p
            total += np.log(1.0 + s[0, 0]) + np.sum(p * p)
        return total

    rng = np.random.default_rng(8)
    args = tuple(rng.normal(size=s) for s in ((3, 3), (1, 3), (3, 3)))
    along = tuple(rng.normal(size=np.shape(a)) for a in args)
    value, gradients = jitgrad.value_and_grad(f, argnums=(0, 1, 2))(*args)
    assert value == pytest.approx(f(*args), rel=1e-12)
    ahead, behind = (f(*(a + s * t for a, t in zip(args, along, strict=True))) for s in (1e-6, -1e-6))
    slope = sum(np.sum(g * t) for g, t in zip(gradients, along, strict=True))
    assert slope == pytest.approx((ahead - behind) / 2e-6, rel=1e-6)
