"""NumPy's functions that plain programs stand for: values, dtypes, exceptions and derivatives are NumPy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from tests.trace.calling import assert_same, check_compiled, check_derivatives

R = np.random.default_rng(5)
V = R.normal(size=7)
W = np.sort(R.normal(size=6))
M = R.normal(size=(3, 4))
P = np.abs(V) + 0.1
I = np.array([0, 2, 2, 5, 1, 3, 2])  # noqa: E741
F = V.astype(np.float32)
NANS = np.array([1.0, np.nan, 3.0, np.nan, 2.0, 1.0])
EMPTY = np.zeros(0)
squares = np.vectorize(lambda t, k=2.0: t * t * k if t > 0 else 0.0)


def stored(a: np.ndarray, change: Callable[[np.ndarray], None]) -> np.ndarray:
    change(a)
    return a


Row = tuple[Callable[..., Any], tuple[Any, ...]]
SMOOTH: list[Row] = [
    (lambda x: np.maximum.accumulate(x), (V,)),
    (lambda x: np.minimum.accumulate(x, axis=1), (M,)),
    (lambda x: np.subtract.accumulate(x), (M,)),
    (lambda x: np.logaddexp.accumulate(x), (V,)),
    (lambda x: np.logaddexp.reduce(x, axis=1), (M,)),
    (lambda x: np.hypot.reduce(x), (V,)),
    (lambda x: np.subtract.reduce(x, axis=-1), (M,)),
    (lambda x: np.add.reduceat(x, [0, 2, 2, 5]), (V,)),
    (lambda x: np.maximum.reduceat(x, np.array([1, 4, 0])), (V,)),
    (lambda x: stored(np.ones(7), lambda y: np.multiply.at(y, I, x)), (V,)),
    (lambda x: stored(np.zeros(7), lambda y: np.maximum.at(y, I, x)), (V,)),
    (lambda x: stored(np.ones((7, 2)), lambda y: np.divide.at(y, I, x[:, None])), (P,)),
    (lambda x: np.bincount(I, weights=x), (V,)),
    (lambda x: np.bincount(I, x, 9), (V,)),
    (lambda x: np.bincount(I[:0], x[:0], minlength=3), (V,)),
    (lambda x: np.histogram(W, bins=3, weights=x[:6]), (V,)),
    (lambda x: np.histogram(W, 4, (-1.0, 1.0), weights=x[:6], density=True), (P,)),
    (lambda x: stored(np.zeros(7), lambda y: np.put(y, [1, -1, 1], x)), (V,)),
    (lambda x: stored(np.zeros((3, 4)), lambda y: np.put(y, [[0, 11], [5, 0]], x[:3])), (V,)),
    (lambda x: x.ravel()[np.ravel_multi_index(([0, 2, 1], [3, 0, 1]), (3, 4))], (M,)),
    (lambda x: x[np.triu_indices_from(x, 1)] * x[np.tril_indices_from(x, -1)], (M[:, :3],)),
    (lambda x: x[np.diag_indices_from(x)], (M[:, :3],)),
    (lambda x: x * W.searchsorted(x), (V,)),
    (lambda x: x[np.ix_([0, 2], [1, 3])], (M,)),
    (lambda x: x[np.ix_(np.array([True, False, True]), [1, -1])], (M,)),
    (lambda x: np.r_[0.0, x, x[:2], 1:4], (V,)),
    (lambda x: np.r_[x, x], (M,)),
    (lambda x: np.c_[x, x * x, np.ones(7)], (V,)),
    (lambda x: np.c_[x, x[:, :1]], (M,)),
    (lambda x: np.piecewise(x, [x < 0, x >= 0.5], [lambda t: -t, lambda t: t * t]), (V,)),
    (lambda x: np.piecewise(x, [x < 0], [0.5, lambda t: t * t]), (V,)),
    (lambda x: np.piecewise(x, [x > 0], [lambda t, k: k * t, 0.0], 3.0), (M,)),
    (lambda x: np.piecewise(x, x > 0, [lambda t: t * t, -1.0]), (V,)),
    (lambda x: np.vectorize(lambda t: t * t if t > 0 else -t)(x), (M,)),
    (lambda x: squares(x), (V,)),
    (lambda x: squares(x, x[0]), (V,)),
    (lambda x: squares(x[:, None], W), (V,)),
    (lambda x: np.apply_along_axis(lambda r: r * r.sum(), 0, x), (M,)),
    (lambda x: np.apply_along_axis(np.sum, 1, x), (M,)),
    (lambda x: np.apply_along_axis(lambda r: r[:2] * r[0], -1, x), (M,)),
    (lambda x: np.corrcoef(x), (M,)),
    (lambda x: np.corrcoef(x[:6], W)[0, 1], (V,)),
    (lambda x: np.corrcoef(x, rowvar=False), (M,)),
    (lambda x: np.insert(x, 2, x[0] * 2.0), (V,)),
    (lambda x: np.insert(x, -1, [5.0, 6.0]), (V,)),
    (lambda x: np.insert(x, 1, x[:, 0], axis=1), (M,)),
    (lambda x: np.insert(x, 3, 7.0, axis=0), (M,)),
    (lambda x: np.insert(x, 1, 0.0), (M,)),
    (lambda x: np.gradient(x, np.cumsum(P)), (V,)),
    (lambda x: np.gradient(V, x), (np.cumsum(P),)),
    (lambda x: np.gradient(x, [0, 1, 3], [0.0, 0.5, 0.75, 2.0]), (M,)),
    (lambda x: np.gradient(x, 0.5, [0.0, 0.5, 0.75, 2.0], edge_order=2), (M,)),
    (lambda x: np.gradient(x, edge_order=2), (M,)),
    (lambda x: np.gradient(V, x[0], edge_order=2), (P,)),
    (lambda x: np.gradient(x, np.arange(4.0) ** 2, axis=-1), (M,)),
    (lambda x: np.hanning(7) * x, (V,)),
    (lambda x: np.hamming(len(x)) * x + np.blackman(len(x)), (V,)),
    (lambda x: np.mgrid[0:3, 0:4][1] * x, (M,)),
    (lambda x: np.ogrid[0:3, 0.0:1.0:4j][1] * x + np.ogrid[0:4], (M,)),
    (lambda x: np.unique(x), (V,)),
    (lambda x: np.unique(np.round(x)), (M,)),
    (lambda x: np.union1d(x, x[:3] + 1.0), (V,)),
    (lambda x: np.setdiff1d(x, x[:3]), (V,)),
    (lambda x: np.intersect1d(x, x[2:5]), (V,)),
    (lambda x: np.add.reduceat(x, [0, 2], axis=-1), (M,)),
    (lambda x: np.apply_along_axis(lambda r: np.outer(r, r[:2]), -2, x), (M,)),
    (lambda x: np.geomspace(x, 8.0, 4), (P,)),
    (lambda x: np.nanstd(x), (V,)),
    (lambda x: np.nanvar(np.where(x > 1.0, np.nan, x), axis=1, ddof=1, keepdims=True), (M,)),
]
VALUES: list[Row] = [
    (lambda x: np.logical_or.accumulate(x > 0), (V,)),
    (lambda x: np.logical_xor.reduce(x > 0), (V,)),
    (lambda x: np.bitwise_or.reduce(x), (I,)),
    (lambda x: np.maximum.accumulate(x), (F,)),
    (lambda x: np.maximum.accumulate(x), (I,)),
    (lambda x: np.maximum.accumulate(x), (NANS,)),
    (lambda x: np.maximum.accumulate(x), (EMPTY,)),
    (lambda x, w: np.digitize(x, w), (V, W)),
    (lambda x, w: np.digitize(x, w, right=True), (M, W)),
    (lambda x, w: np.digitize(x, w[::-1]), (V, W)),
    (lambda x, w: np.digitize(x, w[::-1], True), (W, W)),
    (lambda x, w: np.digitize(x[0], w), (V, W)),
    (lambda x: np.digitize(x, np.array([0.0, 1.0, 0.5])), (V,)),
    (lambda x: np.histogram(x), (V,)),
    (lambda x: np.histogram(x, 4, range=(0, 1)), (M,)),
    (lambda x: np.histogram(x, [-1.0, 0.0, 0.5, 1.0], density=True), (V,)),
    (lambda x: np.histogram(x, 3), (I,)),
    (lambda x: np.histogram(x, 3), (np.ones(4),)),
    (lambda x: np.histogram(x, 3), (EMPTY,)),
    (lambda x: np.histogram(x, [0, 2, 4, 5]), (I,)),
    (lambda x: np.histogram(x, [0.0, 2.0, 1.0]), (V,)),
    (lambda x: np.histogram(x, 0), (V,)),
    (lambda x: np.histogram(x, 3, (2.0, 1.0)), (V,)),
    (lambda x: np.histogram(x, 3, weights=x[1:]), (V,)),
    (lambda x: np.gradient(x, [0.0, 1.0]), (V,)),
    (lambda x: np.gradient(x, M), (V,)),
    (lambda x: np.gradient(x, 1.0, 2.0), (V,)),
    (lambda x: np.gradient(x[:2], edge_order=2), (V,)),
    (lambda x: np.gradient(x, edge_order=3), (V,)),
    (lambda n: (np.hanning(n), np.hamming(n), np.blackman(n)), (1,)),
    (lambda n: (np.hanning(n), np.hamming(n), np.blackman(n)), (0,)),
    (lambda x: (np.mgrid[0:3, 0:4], np.mgrid[1:7:2], np.mgrid[0:1:3j, 0:2]), (V,)),
    (lambda x: np.ogrid[0:3, 0:4, 5:7], (V,)),
    (lambda i: np.bincount(i), (I,)),
    (lambda i: np.bincount(i, minlength=8), (I,)),
    (lambda i: np.bincount(i), (I[:0],)),
    (lambda i: np.bincount(i - 1), (I,)),
    (lambda i: np.bincount(i, V[:3]), (I,)),
    (lambda x: np.bincount(x), (V,)),
    (lambda i: np.unique(i), (I,)),
    (lambda i: np.unique(i, return_inverse=True), (I,)),
    (lambda i: np.unique(i, return_index=True, return_counts=True), (I,)),
    (lambda x: np.unique(x, return_inverse=True)[1], (np.round(M),)),
    (lambda x: np.unique(x, return_counts=True), (NANS,)),
    (lambda x: np.unique(x, equal_nan=False), (NANS,)),
    (lambda x: np.unique(x), (EMPTY,)),
    (lambda i: np.isin(i, [2, 3]), (I,)),
    (lambda i: np.isin(i.reshape(7, 1), i[:2], invert=True), (I,)),
    (lambda i: np.setdiff1d(np.arange(7), i), (I,)),
    (lambda i: np.r_[i, 2], (I,)),
    (lambda x: np.r_[x, 1.5], (F,)),
    (lambda x: np.r_[0:1:3j], (V,)),
    (lambda x: np.r_[x, M], (V,)),
    (lambda x: np.c_[x, x[:2]], (V,)),
    (lambda x: np.unravel_index(np.argmax(x), x.shape), (M,)),
    (lambda i: np.unravel_index(i, (2, 3)), (I,)),
    (lambda i: np.unravel_index(i + 4, (2, 3)), (I,)),
    (lambda x: np.piecewise(x, [x < 0, x > 0], [1.0]), (V,)),
    (lambda x: np.insert(x, 9, 1.0), (V,)),
    (lambda x: np.insert(x, 1, 2.7), (I,)),
    (lambda x: squares(x), (EMPTY,)),
    (lambda x: np.ix_(x), (M,)),
    (lambda x: np.nanstd(x, ddof=0), (NANS,)),
    (lambda x: np.corrcoef(x), (V,)),
    (lambda x: (np.linspace(x, 1.0, 3), np.linspace(x[0], x[1], 4), np.linspace(I, x, 2), np.logspace(x, 1, 3)), (F,)),
    (lambda x: (np.quantile(x, [0.25, 0.5]), np.quantile(x, 0.25), np.percentile(x, np.float64(50.0))), (F,)),
    (lambda i: np.modf(i), (I,)),
    (lambda x: (np.geomspace(x, 8.0, 4), np.geomspace(-1, -8, 4, False), np.geomspace(1, x[0], 1)), (F + 3,)),
    (lambda x: np.geomspace(x, 0.0, 4), (V,)),
    (lambda x, w: np.digitize(x, w.reshape(2, 3)), (V, W)),
    (lambda i: (np.quantile(i, 1), np.quantile(i, [0, 1]), np.quantile(i > 1, 0), np.percentile(i, 100)), (I,)),
    (lambda x: (np.quantile(x, np.int64(1)), np.quantile(x, 0, axis=0), np.fmod.reduce(x[0])), (F,)),
    (lambda i: (np.subtract.reduce(3), np.bitwise_xor.reduce(i[0], axis=-1)), (I,)),
    (lambda i: np.subtract.reduce(i[0], axis=1), (I,)),
    (lambda b: (np.bincount(b), np.histogram(b, 3)), (V > 0,)),
    (lambda i: np.bincount(i, M), (I,)),
    (lambda i: np.bincount(i, minlength=None), (I,)),
    (lambda x: (np.histogram(x, 3), np.histogram(x, 3, (0.0, 1.0)), np.histogram(x, W[:3], density=True)), (F,)),
    (lambda x: np.histogram(x, 3), (NANS,)),
    (lambda x: np.histogram(x, 3, (0.0, np.inf)), (V,)),
    (lambda x: np.histogram(x, 3.0), (V,)),
    (lambda x: np.histogram(x, x), (M,)),
    (lambda i: (np.isin(i[1], i), np.intersect1d(i, i[:2], assume_unique=True)), (I,)),
    (lambda x: np.add.reduceat(x, [0, -3]), (V,)),
    (lambda x: np.add.reduceat(x, [0, 9]), (V,)),
    (lambda i: (np.add.reduceat(i.astype(np.int32), [0, 2]), np.multiply.reduceat(i > 1, [0, 2])), (I,)),
    (lambda x: np.vectorize(lambda t: (t * 2, t > 0))(x), (F,)),
    (lambda x: np.apply_along_axis(lambda r: r, 2, x), (M,)),
    (lambda x: np.insert(x, 9, 1.0, axis=-1), (M,)),
    (lambda x: (np.insert(x, 0, 1.0), np.ix_([], [1])), (np.array(2.0),)),
    (lambda x: np.unravel_index(x, (2, 3)), (1.5,)),
    (lambda i: np.unravel_index(indices=i, shape=(2, 3)), (I.astype(np.int32),)),
    (lambda n: (np.r_[[1, 2], 0:n], np.mgrid[0:n, 0:3], np.ogrid[0:n:3j, 0:n]), (4,)),
    (lambda x: (np.nanvar(x, 0, None, None, 1), np.nanstd(x, axis=1)), (M.astype(np.float32),)),
]


@pytest.mark.parametrize("function, args", SMOOTH + VALUES)
def test_values_and_exceptions(function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    check_compiled(function, args, 1e-12)


@pytest.mark.parametrize("function, args", SMOOTH)
def test_derivatives(function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    check_derivatives(function, args[0], 1, 1e-6)


REFUSED: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
    (lambda x: np.polyfit(x, x, 2, None, True), (V,), "np.polyfit with full"),
    (lambda x: np.cov(x, fweights=[1, 2, 1, 3]), (M,), "cov with fweights"),
    (lambda x: np.ediff1d(x, 0.0, 1.0), (V,), "ediff1d with to_end"),
    (lambda x: np.nanvar(x, 0, np.float32), (M,), "np.nanvar with dtype"),
    (lambda i: np.unravel_index(i, (2, 3), "F"), (I,), "np.unravel_index with order"),
    (lambda x: np.unique(x, axis=0), (M,), "np.unique with axis"),
    (lambda x: np.histogram(x, "auto"), (V,), "np.histogram with bins"),
    (lambda x: np.insert(x, [1, 2], 0.0), (V,), "np.insert with several places"),
    (lambda x: np.r_["0,2", x], (V,), "np.r_ with a directive"),
    (lambda x: np.vectorize(lambda t: t, otypes=[float])(x), (V,), "np.vectorize with options"),
    (lambda x: np.arctan2.accumulate(x, dtype=int), (V,), "accumulate or reduce"),
]


@pytest.mark.parametrize("function, args, words", REFUSED)
def test_arguments_without_a_program_are_refused(function: Any, args: Any, words: str) -> None:
    with pytest.raises(jitgrad.UnsupportedError, match=words):
        jitgrad.jit(function)(*args)


def test_one_compile_serves_all_sizes() -> None:
    compiled = jitgrad.jit(lambda x: (np.histogram(x, 3), np.maximum.accumulate(x), np.unique(x), squares(x)))
    for n in (4, 5, 6, 9, 20):
        x = R.normal(size=n)
        assert_same(compiled(x), (np.histogram(x, 3), np.maximum.accumulate(x), np.unique(x), squares(x)), 1e-12)
    assert compiled.stats()["compiled"] == 3
