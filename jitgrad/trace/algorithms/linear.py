"""Linear systems, determinants and factors of one matrix: by LAPACK, or by loops where there is none.

In: arrays of floats, of the sizes that the function takes, checked by the caller. Out: new arrays. Derivatives are
those of LAPACK's factors (`graph/ops/systems.py`), or follow from the loops. What loops overwrite is written once for
each element, so that reverse mode keeps O(n^2) numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.graph.ops.systems import (
    change_of_log_det,
    eigenvectors,
    factorise,
    factorise_positive,
    solve_by_factors,
    substitute,
)

__all__ = [
    "backward", "by_loops", "by_traces", "cholesky", "det", "each", "eigh", "forward", "inv", "lu", "singular_det",
    "slogdet", "solve", "solve_triangular",
]  # fmt: skip

Array = np.ndarray


def by_loops() -> bool:
    """Return whether there is no LAPACK; known when a program is traced."""
    return False


def lu(a: Array) -> Any:
    """Factorise a square matrix in place by rows and columns in turn, with partial pivoting.

    Returns
    -------
    order : int64[n]
        Which rows of the matrix the rows of the factors are.
    sign : float
        Of that permutation.
    """
    n = len(a)
    order = np.arange(n)
    sign = 1.0
    for k in range(n):
        a[k:, k] -= a[k:, :k] @ a[:k, k]
        p = k + np.argmax(np.abs(a[k:, k]))
        if p != k:
            row, place = a[k].copy(), order[k]
            a[k], order[k] = a[p], order[p]
            a[p], order[p] = row, place
            sign = -sign
        a[k, k + 1 :] -= a[k, :k] @ a[:k, k + 1 :]
        if a[k, k] != 0.0:
            a[k + 1 :, k] /= a[k, k]
    return order, sign


def solve(a: Array, b: Array, singular: str = "Singular matrix") -> Array:
    """Return the solution of a x = b, for a vector or the columns of a matrix b."""
    if not by_loops():
        factors, order, _, zero = factorise(a.T)
        if zero:
            raise np.linalg.LinAlgError(singular)
        if b.ndim == 1:
            return solve_by_factors(a.T, factors, order, b[None, :], True)[0]
        return solve_by_factors(a.T, factors, order, b.T, True).T
    a = a.copy()
    order, _ = lu(a)
    for k in range(len(a)):
        if a[k, k] == 0.0:
            raise np.linalg.LinAlgError(singular)
    return backward(a, forward(a, b[order], True), False)


def forward(a: Array, b: Array, unit: bool) -> Array:
    """Return the solution of a x = b for the lower triangle of a, with ones on its diagonal if `unit`."""
    x = b.copy()
    for k in range(len(a)):
        x[k] -= a[k, :k] @ x[:k]
        if not unit:
            x[k] /= a[k, k]
    return x


def backward(a: Array, b: Array, unit: bool) -> Array:
    """Return the solution of a x = b for the upper triangle of a, with ones on its diagonal if `unit`."""
    x = b.copy()
    for k in range(len(a) - 1, -1, -1):
        x[k] -= a[k, k + 1 :] @ x[k + 1 :]
        if not unit:
            x[k] /= a[k, k]
    return x


def inv(a: Array, singular: str = "Singular matrix") -> Array:
    """Return the inverse of a matrix."""
    return solve(a, np.eye(len(a), dtype=a.dtype), singular)


def slogdet(a: Array) -> Any:
    """Return the sign of a determinant and the logarithm of its size."""
    total = change = a.dtype.type(0.0)
    if by_loops():
        factors = a.copy()
        _, sign = lu(factors)
    else:
        factors, order, sign, _ = factorise(a.T)
        change = change_of_log_det(a.T, factors, order)
    sign, pivots = a.dtype.type(sign), np.diagonal(factors)
    for pivot in pivots:
        if pivot < 0.0:
            sign = -sign
        total += np.log(np.abs(pivot))
    if np.any(pivots == 0.0):
        sign = a.dtype.type(0.0)
    return sign, total + change


def det(a: Array) -> Any:
    """Return the determinant of a matrix."""
    if by_loops():
        factors = a.copy()
        order, sign = lu(factors)
        ended = np.any(np.diagonal(factors)[:-1] == 0.0)
    else:
        factors, order, sign, zero = factorise(a.T)
        ended = zero > 0
    if ended:
        # Factors that end early have not the derivatives of the determinant, which need not be 0.
        return singular_det(a) + 0.0  # never -0.0
    pivots = np.diagonal(factors)
    made = a.dtype.type(sign)
    for pivot in pivots:
        made *= pivot
    if made == 0.0 or not np.isfinite(made):
        # A part of the product may be out of range where the whole is not.
        total = a.dtype.type(0.0)
        for pivot in pivots:
            sign = np.copysign(sign, sign * pivot)
            total += np.log(np.abs(pivot))
        made = sign * np.exp(total) if np.isfinite(total) else made + 0.0
    if not by_loops():
        # The product is a number; it changes as its logarithm does.
        made = made * np.exp(change_of_log_det(a.T, factors, order))
    return made


def singular_det(a: Array) -> Any:
    """Return the determinant of a matrix that may lack more than one of its rank.

    Pivots are the largest of all that is left; their rows and columns become those of the identity, permuted. What is
    left in the end is zeros, and the determinant a polynomial of them, of which derivatives need not be 0.
    """
    n = len(a)
    rest, units, made = a.copy(), np.zeros_like(a), a.dtype.type(1.0)
    for _ in range(n):
        place = np.argmax(np.abs(rest))
        p, q = place // n, place % n
        pivot = rest[p, q]
        if pivot != 0.0:
            made *= pivot
            units[p, q] = 1.0
            rest -= np.outer(rest[:, q] / pivot, rest[p])
            rest[p] = 0.0
            rest[:, q] = 0.0
    return made * by_traces(rest + units)


def by_traces(a: Array) -> Any:
    """Return the determinant of a matrix as a polynomial of its elements, by the method of Faddeev and LeVerrier."""
    one = np.eye(len(a), dtype=a.dtype)
    power, made = one, a.dtype.type(1.0)
    for k in range(1, len(a) + 1):
        power = a @ power
        made = -np.trace(power) / k
        power = power + made * one
    return -made if len(a) % 2 else made


def cholesky(a: Array, text: Any = "Matrix is not positive definite") -> Array:
    """Return the lower factor of a positive definite matrix, of which the lower triangle is read.

    `text` is that of the exception where it is not; None stands for SciPy's, which names the row.
    """
    if not by_loops():
        factor, wrong = factorise_positive(a)
        if wrong:
            raise np.linalg.LinAlgError(text or f"{wrong}-th leading minor of the array is not positive definite")
        return factor
    made = np.zeros_like(a)
    for k in range(len(a)):
        pivot = a[k, k] - made[k, :k] @ made[k, :k]
        if pivot <= 0.0:
            raise np.linalg.LinAlgError(text or f"{k + 1}-th leading minor of the array is not positive definite")
        made[k, k] = np.sqrt(pivot)
        made[k + 1 :, k] = (a[k + 1 :, k] - made[k + 1 :, :k] @ made[k, :k]) / made[k, k]
    return made


def eigh(a: Array, lower: bool) -> Any:
    """Return eigenvalues and eigenvectors of a symmetric matrix, of which one triangle is read."""
    values, rows, wrong = eigenvectors(a.T, not lower)
    if wrong:
        raise np.linalg.LinAlgError("Eigenvalues did not converge")
    return values, rows.T


def solve_triangular(a: Array, b: Array, trans: int, lower: bool, unit: bool) -> Array:
    """Stand for `scipy.linalg.solve_triangular`."""
    if not unit:
        for k in range(len(a)):
            if a[k, k] == 0.0:
                raise np.linalg.LinAlgError(f"singular matrix: resolution failed at diagonal {k}")
    if not by_loops():
        if b.ndim == 1:
            return substitute(a, b[None, :], bool(trans), lower, unit)[0]
        return substitute(a, b.T, bool(trans), lower, unit).T
    if trans:
        return backward(a.T, b, unit) if lower else forward(a.T, b, unit)
    return forward(a, b, unit) if lower else backward(a, b, unit)


def each(function: Any, made: Array, *stacks: Array) -> Array:
    """Fill an array with what a function makes of the matrices of some stacks."""
    for k in range(len(made)):
        made[k] = function(*[stack[k] for stack in stacks])
    return made
