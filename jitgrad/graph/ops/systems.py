"""Linear systems: factors of matrices, and solutions by them, as LAPACK computes them.

`lu(a)`                              factors, pivots, the sign of the permutation, and which pivot is 0 (the first,
                                     counted from 1; 0 if none is): opaque but for the last two.
`lu_solve(a, factors, pivots, b)`    x with `a @ x[i] = b[i]` for each row of b; with a transposed if the attribute
                                     `transposed` says so. The factors do the work, a has the derivative.
`log_det_change(a, factors, pivots)` 0, the change of log |det a| between a and itself; it has the derivative.
`cholesky(a)`                        the lower factor of a, of which the lower triangle is read, and the size of the
                                     first minor that is not positive (0 if all are).
`triangular_solve(a, b)`             as `lu_solve`, for the triangle of a that the attributes `lower` and `unit` name.
`lq(a)`                              a lower triangle and rows that are orthonormal, whose product is a, which has no
                                     fewer columns than rows: the factors of QR, turned.

`eigh(a)`                            eigenvalues of a symmetric matrix, its eigenvectors as rows, and a number that is
                                     not 0 if they were not found. The triangle below the diagonal is read, or that
                                     above, as the attribute `lower` says.

What is computed from factors alone is a constant to derivatives; `det a` is `d * exp(log_det_change(...))`, where d is
the product of pivots, to every order. When nothing is differentiated any more, `passes/slopes.py` lets go of what only
derivatives need.

Derivatives: Giles, Collected matrix derivative results for forward and reverse mode (2008); of Cholesky factors:
Murray, Differentiation of the Cholesky decomposition (2016).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.ops.linalg import swap_last
from jitgrad.graph.ops.shape import reshape_to, split_shape
from jitgrad.graph.primitive import Cot, Rules, primitive
from jitgrad.graph.types import INT64, ArrayType, Dim, GraphTypeError, Type

__all__ = [
    "change_of_log_det",
    "eigenvectors",
    "factorise",
    "factorise_orthogonal",
    "factorise_positive",
    "identity_matrix",
    "solve_by_factors",
    "substitute",
    "triangle",
]


def _square(name: str, a: Value) -> ArrayType:
    type = a.array
    sizes = {d for d in type.shape if isinstance(d, int)}
    if type.rank != 2 or not type.is_float or len(sizes) > 1:
        raise GraphTypeError(f"{name} of {type}")
    return type


def _rows(name: str, a: Value, b: Value) -> list[Type]:
    if b.array.rank != 2 or b.array.dtype != _square(name, a).dtype:
        raise GraphTypeError(f"{name} of {a.type} and {b.type}")
    return [b.type]


def _positions(g: Builder, shape: Sequence[Dim]) -> tuple[Value, Value]:
    """Return the row and the column of the elements of a matrix, as a column and a row."""
    made = []
    for k, d in enumerate(shape):
        attr, dims = split_shape((d,))
        line = g.iota(*dims, dtype=INT64.dtype, shape=attr)
        made.append(reshape_to(g, line, [d, 1] if k == 0 else [1, d]))
    return made[0], made[1]


def identity_matrix(g: Builder, like: Value) -> Value:
    """Return the identity of the size and dtype of a square matrix."""
    row, column = _positions(g, like.shape)
    one, zero = (g.constant(v, like.array.dtype) for v in (1, 0))
    return g.select(g.equal(row, column), one, zero)


def triangle(g: Builder, a: Value, lower: bool = True, diagonal: float = 1.0) -> Value:
    """Return a matrix with zeros outside of a triangle, and its diagonal multiplied by a number."""
    row, column = _positions(g, a.shape)
    zero = g.constant(0, a.array.dtype)
    if diagonal not in (0.0, 1.0):
        a = g.select(g.equal(row, column), g.multiply(a, g.constant(diagonal, a.array.dtype)), a)
    compare = (g.greater if lower else g.less) if diagonal == 0.0 else (g.greater_equal if lower else g.less_equal)
    return g.select(compare(row, column), a, zero)


def _whole(g: Builder, cots: Sequence[Cot | None], value: Value) -> Cot:
    """Return a cotangent that is zero where all of those of the results are.

    Where nothing of a solution is used, its matrix may be one that has no inverse.
    """
    used: Value | None = None
    for mask in [cot.mask for cot in cots if cot is not None]:
        if mask is None:
            return Cot(value)
        any = g.reduce_or(mask, axes=tuple(range(mask.array.rank))) if mask.array.rank else mask
        used = any if used is None else g.logical_or(used, any)
    assert used is not None
    return Cot(g.where_used(used, value, g.constant(0, value.array.dtype)), used)


# --- systems by general factors


def factorise(a: np.ndarray) -> tuple[Any, ...]:
    """Return factors, pivots, sign and zero: what `lu` means."""
    # LAPACK takes rows for columns: the factors are those of the transposed matrix, transposed.
    f = np.array(a)
    n, sign, zero = len(f), 1.0, 0
    pivots = np.arange(1, n + 1)
    for k in range(n):
        p = k + int(np.argmax(np.abs(f[k, k:])))
        if p != k:
            pivots[k], sign = p + 1, -sign
            f[:, [k, p]] = f[:, [p, k]]
        if f[k, k] != 0.0:
            f[k, k + 1 :] /= f[k, k]
        elif not zero:
            zero = k + 1
        f[k + 1 :, k + 1 :] -= np.outer(f[k + 1 :, k], f[k, k + 1 :])
    return f, pivots, f.dtype.type(sign), np.int64(zero)


def _lu_rule(attrs: dict[str, Any], a: Value) -> list[Type]:
    type = _square("lu", a)
    return [type, INT64.with_shape(type.shape[:1]), type.with_shape(()), INT64]


lu = primitive(
    "lu",
    type_rule=_lu_rule,
    evaluate=lambda attrs, a: factorise(a),
    # Of what is made from factors the slope is given by `lu_solve` and `log_det_change`.
    derivative=Rules(lambda g, op, cts, needed: [None], lambda g, op, tangents: [None] * 4),
)


def solve_by_factors(
    a: np.ndarray, factors: np.ndarray, pivots: np.ndarray, b: np.ndarray, transposed: bool
) -> np.ndarray:
    """Return the solutions for the rows of b: what `lu_solve` means."""
    n = len(factors)
    low, high = np.tril(factors.T, -1) + np.eye(n, dtype=factors.dtype), np.triu(factors.T)
    x = np.array(b.T)
    swaps = [(k, p - 1) for k, p in enumerate(pivots)]
    if transposed:
        for k, p in swaps:
            x[[k, p]] = x[[p, k]]
        return np.ascontiguousarray(np.linalg.solve(high, np.linalg.solve(low, x)).T)
    x = np.linalg.solve(low.T, np.linalg.solve(high.T, x))
    for k, p in reversed(swaps):
        x[[k, p]] = x[[p, k]]
    return np.ascontiguousarray(x.T)


def _vjp_lu_solve(g: Builder, op: Op, cts: Sequence[Cot | None], needed: set[int]) -> list[Cot | None]:
    (cot,), (a, factors, pivots, _) = cts, op.operands
    if cot is None:
        return [None] * 4
    turned = op.attrs["transposed"]
    down = g.lu_solve(a, factors, pivots, cot.value, transposed=not turned)
    of_b = _whole(g, cts, down)
    if 0 not in needed:
        return [None, None, None, of_b]
    left, right = (op.result, down) if turned else (down, op.result)
    return [_whole(g, cts, g.negative(g.matmul(swap_last(g, left), right))), None, None, of_b]


def _jvp_lu_solve(g: Builder, op: Op, tangents: Sequence[Value | None]) -> list[Value | None]:
    a, factors, pivots, _ = op.operands
    of_a, *_, of_b = tangents
    change = of_b
    if of_a is not None:
        moved = g.matmul(op.result, of_a if op.attrs["transposed"] else swap_last(g, of_a))
        change = g.negative(moved) if of_b is None else g.subtract(of_b, moved)
    if change is None:
        return [None]
    return [g.lu_solve(a, factors, pivots, change, transposed=op.attrs["transposed"])]


lu_solve = primitive(
    "lu_solve",
    type_rule=lambda attrs, a, factors, pivots, b: _rows("lu_solve", a, b),
    evaluate=lambda attrs, a, factors, pivots, b: solve_by_factors(a, factors, pivots, b, attrs["transposed"]),
    derivative=Rules(_vjp_lu_solve, _jvp_lu_solve),
)


def _inverse_transposed(g: Builder, op: Op) -> Value:
    a, factors, pivots = op.operands
    made: Value = g.lu_solve(a, factors, pivots, identity_matrix(g, a), transposed=False)
    return made


def _vjp_log_det(g: Builder, op: Op, cts: Sequence[Cot | None], needed: set[int]) -> list[Cot | None]:
    (cot,) = cts
    if cot is None or 0 not in needed:
        return [None] * 3
    zero, inverse = g.constant(0, cot.value.array.dtype), _inverse_transposed(g, op)
    # Where the logarithm is not used, the matrix may be singular. Elsewhere a 0 may be moving.
    nothing = g.logical_and(g.equal(cot.value, zero), g.logical_not(g.isfinite(inverse)))
    slope = g.select(nothing, zero, g.multiply(cot.value, inverse))
    return [_whole(g, cts, slope), None, None]


def _jvp_log_det(g: Builder, op: Op, tangents: Sequence[Value | None]) -> list[Value | None]:
    if tangents[0] is None:
        return [None]
    return [g.reduce_sum(g.multiply(_inverse_transposed(g, op), tangents[0]), axes=(0, 1))]


def change_of_log_det(a: np.ndarray, factors: np.ndarray, pivots: np.ndarray) -> Any:
    """Return 0: what `log_det_change` means."""
    return factors.dtype.type(0)


log_det_change = primitive(
    "log_det_change",
    type_rule=lambda attrs, a, factors, pivots: [_square("log_det_change", a).with_shape(())],
    evaluate=lambda attrs, *operands: change_of_log_det(*operands),
    derivative=Rules(_vjp_log_det, _jvp_log_det),
)


# --- triangular systems


def substitute(a: np.ndarray, b: np.ndarray, transposed: bool, lower: bool, unit: bool) -> np.ndarray:
    """Return the solutions for the rows of b by a triangle: what `triangular_solve` means."""
    a, x = a.T if transposed else a, np.array(b)
    order = range(len(a)) if lower != transposed else range(len(a) - 1, -1, -1)
    for k in order:
        done = slice(None, k) if lower != transposed else slice(k + 1, None)
        x[:, k] -= x[:, done] @ a[k, done]
        if not unit:
            with np.errstate(all="ignore"):
                x[:, k] /= a[k, k]
    return x


def _vjp_triangular(g: Builder, op: Op, cts: Sequence[Cot | None], needed: set[int]) -> list[Cot | None]:
    (cot,), (a, _) = cts, op.operands
    if cot is None:
        return [None, None]
    turned, lower, unit = (op.attrs[name] for name in ("transposed", "lower", "unit"))
    down = g.triangular_solve(a, cot.value, transposed=not turned, lower=lower, unit=unit)
    of_b = _whole(g, cts, down)
    if 0 not in needed:
        return [None, of_b]
    left, right = (op.result, down) if turned else (down, op.result)
    product = triangle(g, g.negative(g.matmul(swap_last(g, left), right)), lower, 0.0 if unit else 1.0)
    return [_whole(g, cts, product), of_b]


def _jvp_triangular(g: Builder, op: Op, tangents: Sequence[Value | None]) -> list[Value | None]:
    of_a, change = tangents
    turned, lower, unit = (op.attrs[name] for name in ("transposed", "lower", "unit"))
    if of_a is not None:
        kept = triangle(g, of_a, lower, 0.0 if unit else 1.0)
        moved = g.matmul(op.result, kept if turned else swap_last(g, kept))
        change = g.negative(moved) if change is None else g.subtract(change, moved)
    if change is None:
        return [None]
    return [g.triangular_solve(op.operands[0], change, transposed=turned, lower=lower, unit=unit)]


triangular_solve = primitive(
    "triangular_solve",
    type_rule=lambda attrs, a, b: _rows("triangular_solve", a, b),
    evaluate=lambda attrs, a, b: substitute(a, b, attrs["transposed"], attrs["lower"], attrs["unit"]),
    derivative=Rules(_vjp_triangular, _jvp_triangular),
)


# --- Cholesky factors


def factorise_positive(a: np.ndarray) -> tuple[Any, ...]:
    """Return the factor, and the size of the first minor that is not positive: what `cholesky` means."""
    wrong = 0
    for n in range(len(a), 0, -1):
        try:
            made = np.linalg.cholesky(a[:n, :n])
        except np.linalg.LinAlgError:
            wrong = n
            continue
        if not wrong:
            return made, np.int64(0)
        break
    return np.array(a), np.int64(wrong)


def _vjp_cholesky(g: Builder, op: Op, cts: Sequence[Cot | None], needed: set[int]) -> list[Cot | None]:
    cot, factor = cts[0], op.results[0]
    if cot is None:
        return [None]
    half = triangle(g, g.matmul(swap_last(g, factor), cot.value), diagonal=0.5)
    made = _divided(g, factor, half, transposed=True)
    return [_whole(g, cts, triangle(g, g.add(made, swap_last(g, made)), diagonal=0.5))]


def _jvp_cholesky(g: Builder, op: Op, tangents: Sequence[Value | None]) -> list[Value | None]:
    (of_a,), factor = tangents, op.results[0]
    if of_a is None:
        return [None, None]
    both = g.add(triangle(g, of_a), swap_last(g, triangle(g, of_a, diagonal=0.0)))
    inner = _divided(g, factor, both, transposed=False)
    return [g.matmul(factor, triangle(g, inner, diagonal=0.5)), None]


def _divided(g: Builder, factor: Value, b: Value, transposed: bool) -> Value:
    """Return the inverse of a lower factor times b times that inverse transposed, or with `transposed` each turned."""
    for _ in range(2):
        # Rows are divided, then columns.
        b = swap_last(g, g.triangular_solve(factor, b, transposed=transposed, lower=True, unit=False))
    return b


cholesky = primitive(
    "cholesky",
    type_rule=lambda attrs, a: [_square("cholesky", a), INT64],
    evaluate=lambda attrs, a: factorise_positive(a),
    derivative=Rules(_vjp_cholesky, _jvp_cholesky),
)


# --- orthogonal factors


def factorise_orthogonal(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a lower triangle and orthonormal rows: what `lq` means."""
    q, r = np.linalg.qr(a.T)
    return np.ascontiguousarray(r.T), np.ascontiguousarray(q.T)


def _lq_rule(attrs: dict[str, Any], a: Value) -> list[Type]:
    type = a.array
    if type.rank != 2 or not type.is_float:
        raise GraphTypeError(f"lq of {type}")
    return [type.with_shape((type.shape[0], type.shape[0])), type]


def _vjp_lq(g: Builder, op: Op, cts: Sequence[Cot | None], needed: set[int]) -> list[Cot | None]:
    (of_low, of_rows), (low, rows) = cts, op.results
    if of_low is None and of_rows is None:
        return [None]
    # With q = rows.T and r = low.T: r_ct @ r.T - q.T @ q_ct, whose upper triangle counts for both.
    moved = None if of_low is None else g.matmul(swap_last(g, of_low.value), low)
    if of_rows is not None:
        turned = g.matmul(rows, swap_last(g, of_rows.value))
        moved = g.negative(turned) if moved is None else g.subtract(moved, turned)
    assert moved is not None
    above = triangle(g, moved, lower=False)
    both = g.add(above, swap_last(g, triangle(g, moved, lower=False, diagonal=0.0)))
    made = g.matmul(both, rows)
    if of_rows is not None:
        made = g.add(of_rows.value, made)
    columns = g.triangular_solve(low, swap_last(g, made), transposed=True, lower=True, unit=False)
    return [_whole(g, cts, swap_last(g, columns))]


def _jvp_lq(g: Builder, op: Op, tangents: Sequence[Value | None]) -> list[Value | None]:
    (of_a,), (low, rows) = tangents, op.results
    if of_a is None:
        return [None, None]
    x = g.triangular_solve(low, swap_last(g, of_a), transposed=False, lower=True, unit=False)
    s = g.matmul(rows, x)
    below = triangle(g, s, diagonal=0.0)
    kept = swap_last(g, g.add(g.subtract(s, below), swap_last(g, below)))
    return [g.matmul(low, kept), g.subtract(swap_last(g, x), g.matmul(kept, rows))]


lq = primitive(
    "lq",
    type_rule=_lq_rule,
    evaluate=lambda attrs, a: factorise_orthogonal(a),
    derivative=Rules(_vjp_lq, _jvp_lq),
)


# --- symmetric matrices


def eigenvectors(a: np.ndarray, lower: bool) -> tuple[Any, ...]:
    """Return eigenvalues, eigenvectors as rows, and 0: what `eigh` means."""
    try:
        values, vectors = np.linalg.eigh(a.T, UPLO="U" if lower else "L")
    except np.linalg.LinAlgError:
        return np.full(len(a), np.nan, a.dtype), np.full(a.shape, np.nan, a.dtype), np.int64(1)
    return values, np.ascontiguousarray(vectors.T), np.int64(0)


def _eigh_rule(attrs: dict[str, Any], a: Value) -> list[Type]:
    type = _square("eigh", a)
    return [type.with_shape(type.shape[:1]), type, INT64]


def _gaps(g: Builder, values: Value) -> Value:
    """Return the reciprocals of the differences between eigenvalues, infinite where two are one, 0 on the diagonal."""
    n = values.shape[0]
    across, down = reshape_to(g, values, [1, n]), reshape_to(g, values, [n, 1])
    row, column = _positions(g, [n, n])
    gaps = g.select(g.equal(row, column), g.constant(np.inf, values.array.dtype), g.subtract(across, down))
    return g.divide(g.constant(1, values.array.dtype), gaps)


def _vjp_eigh(g: Builder, op: Op, cts: Sequence[Cot | None], needed: set[int]) -> list[Cot | None]:
    of_values, of_rows, _ = cts
    values, rows, _ = op.results
    if of_values is None and of_rows is None:
        return [None]
    inner: Value | None = None
    if of_rows is not None:
        mixed = g.matmul(of_rows.value, swap_last(g, rows))
        inner = g.negative(g.multiply(_gaps(g, values), mixed))
    if of_values is not None:
        n = values.shape[0]
        row, column = _positions(g, [n, n])
        zero = g.constant(0, values.array.dtype)
        diagonal = g.select(g.equal(row, column), reshape_to(g, of_values.value, [1, n]), zero)
        inner = diagonal if inner is None else g.add(inner, diagonal)
    assert inner is not None
    made = g.matmul(swap_last(g, rows), g.matmul(inner, rows))
    return [_whole(g, cts, triangle(g, g.add(made, swap_last(g, made)), op.attrs["lower"], 0.5))]


def _jvp_eigh(g: Builder, op: Op, tangents: Sequence[Value | None]) -> list[Value | None]:
    (of_a,), (values, rows, _) = tangents, op.results
    if of_a is None:
        return [None] * 3
    lower = op.attrs["lower"]
    both = g.add(triangle(g, of_a, lower), swap_last(g, triangle(g, of_a, lower, 0.0)))
    inner = g.matmul(rows, g.matmul(both, swap_last(g, rows)))
    row, column = _positions(g, rows.shape)
    zero = g.constant(0, values.array.dtype)
    moved = g.reduce_sum(g.select(g.equal(row, column), inner, zero), axes=(1,))
    return [moved, g.negative(g.matmul(g.multiply(_gaps(g, values), inner), rows)), None]


eigh = primitive(
    "eigh",
    type_rule=_eigh_rule,
    evaluate=lambda attrs, a: eigenvectors(a, attrs["lower"]),
    derivative=Rules(_vjp_eigh, _jvp_eigh),
)
