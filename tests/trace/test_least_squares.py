"""`np.linalg.lstsq`, `qr`, `np.polyfit` and `scipy.linalg`: values, exceptions, refusals, derivatives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import jitgrad
from tests.trace.calling import check_compiled, check_derivatives

L, S = np.linalg, scipy.linalg
R = np.random.default_rng(3)
X = R.normal(size=(6, 3))
Y = R.normal(size=(6, 2))
A = R.normal(size=(4, 4))
B = R.normal(size=(4, 2))
P = A @ A.T + np.eye(4)
U = np.triu(A) + 2.0 * np.eye(4)
UNIT = np.eye(5, 3)
T = np.linspace(0.0, 1.0, 6)

Row = tuple[Callable[..., Any], tuple[Any, ...]]


def by_names(x: np.ndarray) -> Any:
    """What is not computed may have a name."""
    found, rest, rank, _singular_values = L.lstsq(x, Y, rcond=None)
    return rank * found, rest


SMOOTH: list[Row] = [
    (by_names, (X,)),
    (lambda x: L.lstsq(x, Y[:, 0], rcond=None)[0], (X,)),
    (lambda x: L.lstsq(x, Y, rcond=None)[:3], (X,)),
    (lambda y: L.lstsq(X, y, rcond=None)[:2], (Y,)),
    (lambda x: L.lstsq(x, B[:, 0])[:3], (A,)),
    # Columns that are 0 below the diagonal depend on those zeros.
    (lambda x: L.lstsq(x, Y[:5], rcond=None)[:2], (UNIT,)),
    # Rows that data choose.
    (lambda x: L.lstsq(x[x[:, 0] > -1.0], Y[x[:, 0] > -1.0], rcond=None)[:3], (X,)),
    (lambda x: L.lstsq(x[T < 0.5], Y[T < 0.5], rcond=None)[:3], (X,)),
    (lambda y: np.polyfit(T[Y[:, 0] > -1.0], y[Y[:, 0] > -1.0], 1), (Y,)),
    (lambda x: L.qr(x), (X,)),
    (lambda x: L.qr(x.T), (X,)),
    (lambda x: L.qr(x, mode="r"), (A,)),
    (lambda y: np.polyfit(T, y, 2), (Y,)),
    (lambda t: np.polyfit(t, Y[:, 0], 1), (T,)),
    (lambda w: np.polyfit(T, Y[:, 0], 2, w=w), (T + 1.0,)),
    (lambda a: S.solve(a, B), (A,)),
    (lambda b: S.solve(A, b), (B,)),
    (lambda a: S.inv(a), (A,)),
    (lambda a: S.det(a), (A,)),
    (lambda a: S.cholesky(a), (P,)),
    (lambda a: S.cholesky(a, lower=True), (P,)),
    (lambda a: S.cho_solve(S.cho_factor(a), B), (P,)),
    (lambda a: S.cho_solve(S.cho_factor(a, lower=True), B[:, 0]), (P,)),
    # The other triangle holds whatever the version of SciPy leaves there.
    (lambda a: np.triu(S.cho_factor(a)[0]), (P + np.tril(A, -1),)),
    (lambda a: S.solve_triangular(a, B), (U,)),
    (lambda a: S.solve_triangular(a.T, B[:, 0], lower=True), (U,)),
    (lambda a: S.solve_triangular(a, B, trans="T"), (U,)),
    (lambda a: S.solve_triangular(a, B, trans=1, lower=True, unit_diagonal=True), (A,)),
]
VALUES: list[Row] = [
    (lambda x: L.qr(x), (U,)),
    (lambda x: L.qr(x), (UNIT,)),
    (lambda x: L.qr(x), (np.zeros((3, 2)),)),
    (lambda x: L.qr(x), (X.astype(np.float32),)),
    (lambda x: L.lstsq(x, [1, 2, 3], rcond=None)[:3], (np.array([[1, 0], [1, 1], [1, 3]]),)),
    (lambda x: L.lstsq(x, Y[:4, 0], rcond=None)[0], (X,)),
    (lambda x: L.lstsq(x[0], Y, rcond=None)[0], (X,)),
    (lambda t: np.polyfit(t, t[:3], 2), (T,)),
    (lambda t: np.polyfit(t, t, -1), (T,)),
    (lambda a: S.solve(a, np.ones(3)), (np.ones((3, 3)),)),
    (lambda a: S.inv(a), (np.zeros((3, 3)),)),
    (lambda a: S.det(a), (np.ones((3, 3)),)),
    (lambda a: S.cholesky(a), (np.diag([1.0, -1.0, 1.0]),)),
    (lambda a: S.cho_factor(a)[0], (np.diag([1.0, 1.0, 0.0]),)),
    (lambda a: S.solve_triangular(a, np.ones(3)), (np.diag([1.0, 0.0, 1.0]),)),
    (lambda a: S.solve(a, B[:, 0]), (A.astype(np.float32),)),
]


@pytest.mark.parametrize("function, args", SMOOTH + VALUES)
def test_values_and_exceptions(function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    check_compiled(function, args, 1e-5 if args[0].dtype == np.float32 else 1e-11)


@pytest.mark.parametrize("function, args", SMOOTH)
def test_derivatives(function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    check_derivatives(function, args[0], 3, 1e-5)


REFUSED: list[tuple[Callable[..., Any], Any, str]] = [
    (lambda x: L.lstsq(x, Y, rcond=None), X, "singular values"),
    (lambda x: (lambda found, rest, rank, s: s)(*L.lstsq(x, Y, rcond=None)), X, "singular values"),
    (lambda x: L.lstsq(x.T, x[0], rcond=None)[0], X, "fewer rows"),
    (lambda x: L.lstsq(x[x[:, 0] > 9.0], x[x[:, 0] > 9.0], rcond=None)[0], X, "fewer rows"),
    (lambda x: L.lstsq(x, Y, rcond=1e-3)[0], X, "rcond"),
    (lambda x: L.lstsq(x, np.ones(3), rcond=None)[0], np.ones((3, 2)), "dependent"),
    (lambda x: L.qr(x, mode="complete"), X, "mode"),
    (lambda x: S.solve(x, B, assume_a="pos"), P, "assume_a"),
    (lambda x: S.inv(x), np.stack([A, A]), "stack"),
]


@pytest.mark.parametrize("function, x, words", REFUSED)
def test_what_is_not_done_is_refused(function: Callable[..., Any], x: Any, words: str) -> None:
    with pytest.raises(jitgrad.UnsupportedError, match=words):
        jitgrad.jit(function)(x)
