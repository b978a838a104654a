"""Examples of linear systems: what their ops are made for, by NumPy's own functions."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Value
from jitgrad.graph.ops.index import Pick
from tests.graph.registry_base import FLOATS, Example, draw

__all__ = ["SYSTEMS"]

SIZES = (0, 1, 3, 4)


def matrix(dtype: str, n: int) -> np.ndarray:
    """Return a matrix whose rows must be exchanged."""
    return np.asarray(np.roll(np.cos(np.arange(n * n)).reshape(n, n) + 3 * np.eye(n), 1, axis=0), dtype)


def positive(dtype: str, n: int) -> np.ndarray:
    """Return a positive definite matrix, and other numbers above its diagonal, which are not read."""
    a = np.cos(np.arange(n * n)).reshape(n, n)
    return np.asarray(np.tril(a @ a.T + n * np.eye(n)) + np.triu(a, 1), dtype)


def symmetric(a: np.ndarray) -> np.ndarray:
    return np.tril(a) + np.tril(a, -1).T


def solved(g: Builder, a: Value, b: Value, transposed: bool) -> Value:
    factors, pivots, _, _ = g.lu(a)
    made: Value = g.lu_solve(a, factors, pivots, b, transposed=transposed)
    return made


def solution(a: np.ndarray, b: np.ndarray, transposed: bool) -> np.ndarray:
    return np.linalg.solve(a.T if transposed else a, b.T).T


def facts(g: Builder, a: Value) -> Any:
    _, pivots, sign, zero = g.lu(a)
    return pivots, sign, zero


def meant_facts(a: np.ndarray) -> tuple[Any, ...]:
    n = len(a)
    order, pivots, rest = np.arange(n), np.arange(1, n + 1), a.T.copy()
    for k in range(n):  # by the largest of each column
        p = k + int(np.argmax(np.abs(rest[k:, k])))
        pivots[k] = p + 1
        rest[[k, p]], order[[k, p]] = rest[[p, k]], order[[p, k]]
        rest[k + 1 :] -= np.outer(rest[k + 1 :, k] / rest[k, k], rest[k])
    return pivots, a.dtype.type(np.linalg.det(np.eye(n)[order]).round()), np.int64(0)


def determinant(g: Builder, a: Value) -> Value:
    """Return a determinant by its definition in terms of the ops."""
    factors, pivots, sign, _ = g.lu(a)
    product = sign
    for k in range(a.shape[0] if isinstance(a.shape[0], int) else 0):
        product = g.multiply(product, g.load(factors, index=(Pick(k), Pick(k))))
    made: Value = g.multiply(product, g.exp(g.log_det_change(a, factors, pivots)))
    return made


def triangular(g: Builder, a: Value, b: Value, **attrs: bool) -> Value:
    made: Value = g.triangular_solve(a, b, **attrs)
    return made


def divided(a: np.ndarray, b: np.ndarray, transposed: bool, lower: bool, unit: bool) -> np.ndarray:
    kept = np.tril(a) if lower else np.triu(a)
    if unit:
        np.fill_diagonal(kept, 1.0)
    return np.linalg.solve(kept.T if transposed else kept, b.T).T


def factor(g: Builder, a: Value) -> Value:
    made: Value = g.cholesky(a)[0]
    return made


def of_symmetric(a: np.ndarray, k: int, low: bool) -> np.ndarray:
    """Return eigenvalues, or eigenvectors as rows, by one triangle."""
    whole = symmetric(a) if low else symmetric(a.T)
    return np.linalg.eigh(whole, UPLO="U" if low else "L")[k].T


def wide(dtype: str, n: int, m: int) -> np.ndarray:
    """Return a matrix of independent rows."""
    return np.asarray(np.cos(np.arange(n * m)).reshape(n, m) + 2 * np.eye(n, m), dtype)


def part(a: np.ndarray, k: int) -> np.ndarray:
    """Return one of the factors that NumPy makes."""
    q, r = np.linalg.qr(a.T)
    return (r if k == 0 else q).T


FLAGS = [(t, low, u) for t in (False, True) for low in (False, True) for u in (False, True)]

SYSTEMS = {
    "lu": [Example([matrix(d, n)], facts, meant_facts, smooth=False) for d in FLOATS for n in SIZES]
    + [
        Example([np.ones((3, 3))], lambda g, a: g.lu(a)[3], lambda a: np.int64(2)),
        Example([np.full((2, 2), np.nan)], lambda g, a: g.lu(a)[2], lambda a: np.float64(1.0), smooth=False),
    ],
    "lu_solve": [
        Example([turned(matrix(d, n)), draw(d, m, n)], partial(solved, transposed=t), partial(solution, transposed=t))
        for d in FLOATS
        for n in SIZES
        for m in (1, 2)
        for t in (False, True)
        for turned in (np.asarray, np.asfortranarray)
    ],
    "log_det_change": [Example([matrix(d, n)], determinant, np.linalg.det) for d in FLOATS for n in SIZES],
    "cholesky": [
        Example([positive(d, n)], factor, lambda a: np.linalg.cholesky(symmetric(a))) for d in FLOATS for n in SIZES
    ],
    "eigh": [
        Example(
            [turned(positive(d, n) + np.diag(np.arange(n, dtype=d) * 3))],
            lambda g, a, k=k, low=low: g.eigh(a, lower=low)[k],
            partial(of_symmetric, k=k, low=low),
        )
        for d in FLOATS
        for n in (0, 1, 2, 4)
        for k in (0, 1)
        for low in (True, False)
        for turned in (np.asarray, np.asfortranarray)
    ],
    "lq": [
        Example([turned(wide(d, n, m))], lambda g, a, k=k: g.lq(a)[k], partial(part, k=k))
        for d in FLOATS
        for n, m in [(0, 0), (0, 2), (1, 1), (1, 3), (3, 3), (2, 5)]
        for k in (0, 1)
        for turned in (np.asarray, np.asfortranarray)
    ],
    "triangular_solve": [
        Example(
            [turned(matrix(d, n) + 4 * np.eye(n, dtype=d)), draw(d, m, n)],
            partial(triangular, transposed=t, lower=low, unit=u),
            partial(divided, transposed=t, lower=low, unit=u),
        )
        for d in FLOATS
        for n in SIZES
        for m in (1, 2)
        for t, low, u in FLAGS
        for turned in (np.asarray, np.asfortranarray)
    ],
}
