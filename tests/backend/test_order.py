"""Sorts, arguments of extrema and places of masks: NumPy's kernels, and our own code where there are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.backend import kernels

DTYPES = ["f8", "f4", "i8", "i4", "i2", "i1", "u8", "u1", "?"]
PLACES = [((1000,), 0), ((7, 50), 1), ((50, 7), 0), ((3, 20, 4), 1), ((0,), 0), ((1,), 0), ((5, 0), 1)]


def numbers(shape: tuple[int, ...], dtype: str) -> np.ndarray:
    x = (np.random.default_rng(0).normal(size=shape) * 20).astype(dtype)
    if x.dtype.kind == "f" and x.size > 10:
        x.flat[2:9] = [np.inf, np.nan, 1.0, 1.0, -np.nan, -0.0, 0.0]
    return x


@pytest.fixture(params=["kernels", "none"])
def with_kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param == "none":
        monkeypatch.setattr(kernels, "find", lambda name, dtype: None)
    return bool(request.param == "kernels")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axis"), PLACES)
def test_sorted_as_numpy_sorts(shape: tuple[int, ...], axis: int, dtype: str, with_kernels: bool) -> None:
    x = numbers(shape, dtype)
    behind = len(shape) - 1 - axis

    def sorts(x: np.ndarray) -> Any:
        return np.sort(x, axis=axis), np.sort(x.T, axis=behind), np.sort(x[::-1] != x, axis=axis)

    def stable(x: np.ndarray) -> Any:
        return np.argsort(x, axis=axis, kind="stable"), np.argsort(x[::-1], axis=axis, stable=True)

    def positions(x: np.ndarray) -> Any:
        return np.argsort(x, axis=axis), np.argsort(x[::-1].T, axis=behind), np.argsort(x + x, axis=axis)

    for f in (sorts, stable, positions) if with_kernels else (sorts, stable):
        for got, want in zip(jitgrad.jit(f)(x), f(x), strict=True):
            np.testing.assert_array_equal(got, want)
            assert got.dtype == want.dtype


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axis"), [p for p in PLACES if 0 not in p[0]])
def test_places_as_numpy_finds_them(shape: tuple[int, ...], axis: int, dtype: str, with_kernels: bool) -> None:
    x = numbers(shape, dtype)
    behind = len(shape) - 1 - axis

    def extrema(x: np.ndarray) -> Any:
        lines = np.argmax(x, axis=axis), np.argmin(x, axis=axis), np.argmin(x[::-1].T, axis=behind)
        return (*lines, np.argmax(x), np.argmin(x), np.argmax(x == x), np.argmax(x.ravel()[:5]))

    def masks(x: np.ndarray) -> Any:
        return (*np.nonzero(x), np.flatnonzero(x > 100), np.flatnonzero(x <= 100), x[x == x], x[x != x])

    for f in (extrema, masks):
        for got, want in zip(jitgrad.jit(f)(x), f(x), strict=True):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("n", [5, 40, 1000])
def test_derivatives_of_equal_elements_go_one_way(n: int) -> None:
    """Forward and reverse mode must agree which of some equal elements comes first."""
    x = np.random.default_rng(1).integers(0, 4, n).astype(float)
    w, t = np.random.default_rng(2).normal(size=(2, n))

    def f(x: np.ndarray) -> Any:
        return np.sum(np.sort(x) * w) + np.sum(x[np.argsort(x)] * w)

    g = jitgrad.grad(f)(x)
    assert g @ t == pytest.approx(jitgrad.jvp(f, (x,), (t,))[1], rel=1e-12)
    np.testing.assert_allclose(np.sort(g), np.sort(2 * w), rtol=1e-15)
    np.testing.assert_array_equal(np.sort(x)[np.argsort(np.argsort(x))], x)


def test_sizes_of_all_calls_are_served() -> None:
    def f(x: np.ndarray) -> Any:
        return np.sort(x), np.argsort(x), np.argmax(x) if len(x) else -1, np.median(x) if len(x) else 0.0

    compiled = jitgrad.jit(f)
    for n in (9, 30, 100, 5000, 12, 1, 0):
        x = np.random.default_rng(n).normal(size=n)
        for got, want in zip(compiled(x), f(x), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-15)
        assert compiled.stats()["compiled"] <= (3 if n > 1 else 5)


@pytest.mark.parametrize("kind", ["quicksort", "mergesort", "stable", "heapsort"])
def test_kinds(kind: str) -> None:
    def f(x: np.ndarray) -> Any:
        return np.argsort(x, kind=kind), np.sort(x, kind=kind)

    x = np.random.default_rng(3).permutation(50).astype(float)
    for got, want in zip(jitgrad.jit(f)(x), f(x), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("given", [{"kind": "bubble"}, {"kind": "stable", "stable": True}, {"order": "x"}])
@pytest.mark.parametrize("function", [np.sort, np.argsort, np.ndarray.sort])
def test_no_kind_at_all(function: Any, given: dict[str, Any]) -> None:
    def f(x: np.ndarray) -> Any:
        return x.sort(**given) if function is np.ndarray.sort else function(x, **given)

    def raised(f: Callable[..., Any]) -> str:
        with pytest.raises(ValueError) as caught:
            f(np.ones(3))
        return str(caught.value)

    assert raised(jitgrad.jit(f)) == raised(f)


def test_a_kernel_that_does_something_else_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert kernels._search("argmax", np.dtype("f8"))
    monkeypatch.setitem(kernels._PLACES, "argmax", kernels._PLACES["argmin"])
    assert not kernels._search("argmax", np.dtype("f8"))


def test_no_kernel_where_numpy_is_not_as_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "supported", lambda: False)
    assert not kernels._search("sort", np.dtype("f8"))
