"""Orthogonal factors and least squares of one matrix: by LAPACK, or by reflections where there is none.

In: arrays of floats. Out: new arrays. A column is turned by all earlier reflections before its own is made, so that
each element is written once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.graph.ops.systems import factorise_orthogonal, substitute
from jitgrad.trace.algorithms.linear import backward, by_loops

__all__ = ["lstsq", "polyfit", "qr", "reflections"]

Array = np.ndarray


def reflections(a: Array, size: int) -> Any:
    """Factorise a matrix of which `size` is the smaller size.

    Returns
    -------
    vectors : float[m, k]
        Those of the reflections, k the smaller size.
    weights : float[k]
    upper : float[k, n]
        The triangular factor.
    signs : float[k]
        -1 for a reflection that LAPACK leaves out, since the column has nothing to be turned: without it the factors
        would not show how they depend on what is 0 there.
    """
    m, n = a.shape
    vectors = np.zeros((m, size), a.dtype)
    weights = np.zeros(size, a.dtype)
    upper = np.zeros((size, n), a.dtype)
    signs = np.ones(size, a.dtype)
    for j in range(n):
        column = a[:, j].copy()
        for i in range(min(j, size)):
            column[i:] -= vectors[i:, i] * (weights[i] * (vectors[i:, i] @ column[i:]))
        upper[:j, j] = column[: min(j, size)]
        if j < size:
            head = column[j]
            below = column[j + 1 :] @ column[j + 1 :]
            upper[j, j] = head
            if head * head + below > 0.0:
                if below == 0.0:
                    signs[j] = -1.0
                last = -np.copysign(np.sqrt(head * head + below), head)
                vectors[j, j] = 1.0
                vectors[j + 1 :, j] = column[j + 1 :] / (head - last)
                weights[j] = (last - head) / last
                upper[j, j] = last
    return vectors, weights, upper, signs


def qr(a: Array) -> Any:
    """Return the orthogonal and the triangular factor of a matrix."""
    if not by_loops():
        n = min(a.shape)
        low, rows = factorise_orthogonal(a[:, :n].T)
        return rows.T, np.concatenate([low.T, rows @ a[:, n:]], axis=1)
    vectors, weights, upper, signs = reflections(a, min(a.shape))
    m, size = vectors.shape
    made = np.eye(m, size, dtype=a.dtype)
    for i in range(size - 1, -1, -1):
        made[i:] -= np.outer(vectors[i:, i], weights[i] * (vectors[i:, i] @ made[i:]))
    return made * signs, upper * signs[:, None]


def lstsq(a: Array, b: Array) -> Any:
    """Return the solution of least squares for the columns of b, which are no shorter than rows of a.

    Returns
    -------
    x : float[n, k]
    residuals : float[k]
        Sums of squares.
    smallest, largest : float
        Elements of the diagonal of the triangular factor, in size.
    """
    n = a.shape[1]
    if not by_loops():
        low, rows = factorise_orthogonal(a.T)
        diagonal = np.abs(np.diagonal(low))
        x = substitute(low, (rows @ b).T, True, True, False).T
        return x, ((b - a @ x) ** 2).sum(axis=0), diagonal.min(), diagonal.max()
    vectors, weights, upper, _ = reflections(a, n)
    rest = b.copy()
    for i in range(n):
        rest[i:] -= np.outer(vectors[i:, i], weights[i] * (vectors[i:, i] @ rest[i:]))
    diagonal = np.abs(np.diagonal(upper))
    top = np.empty((n, b.shape[1]), b.dtype)
    top[:] = rest[:n]
    return backward(upper, top, False), (rest[n:] ** 2).sum(axis=0), diagonal.min(), diagonal.max()


def polyfit(x: Any, y: Any, deg: Any, w: Any = None) -> Any:
    """Stand for `np.polyfit`."""
    x, y = np.asarray(x) + 0.0, np.asarray(y) + 0.0
    if deg < 0:
        raise ValueError("expected deg >= 0")
    if x.ndim != 1:
        raise TypeError("expected 1D vector for x")
    if x.size == 0:
        raise TypeError("expected non-empty vector for x")
    if y.ndim < 1 or y.ndim > 2:
        raise TypeError("expected 1D or 2D array for y")
    if x.shape[0] != y.shape[0]:
        raise TypeError("expected x and y to have same length")
    powers = np.vander(x, int(deg) + 1)
    if w is not None:
        w = np.asarray(w) + 0.0
        if w.ndim != 1:
            raise TypeError("expected a 1-d array for weights")
        if w.shape[0] != y.shape[0]:
            raise TypeError("expected w and y to have the same length")
        powers = powers * w[:, None]
        y = y * (w[:, None] if y.ndim == 2 else w)
    scale = np.sqrt((powers * powers).sum(axis=0))
    found = np.linalg.lstsq(powers / scale, y, rcond=None)[0]
    return (found.T / scale).T
