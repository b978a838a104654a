"""`np.linalg.solve`, `inv`, `det`, `slogdet`, `cholesky` as callables, of one matrix or of stacks of them.

In: abstract arrays and arguments. Out: new arrays or NumPy scalars. Dtypes, shapes and exceptions are settled here; the
numbers are made by the plain programs of `algorithms`, which are traced, and the ops that they call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops import systems
from jitgrad.graph.ops.memory import Span, load
from jitgrad.graph.ops.shape import broadcast_to, reshape_to
from jitgrad.graph.types import Dim
from jitgrad.trace import arrays
from jitgrad.trace.abstract import Poison
from jitgrad.trace.algorithms import linear, squares
from jitgrad.trace.arrays import as_array, cast
from jitgrad.trace.calls import handles
from jitgrad.trace.context import Context
from jitgrad.trace.numpy_shape import swapaxes
from jitgrad.trace.sizes import known_argument, numeric, same_dim, size_of, static_dim

__all__ = ["float_matrix", "square_matrices"]

_LinAlgError = np.linalg.LinAlgError


def square_matrices(ctx: Context, name: str, a: Any) -> Value:
    """Return an argument as one or more square matrices of floats.

    Raises
    ------
    LinAlgError
        As NumPy.
    UnsupportedError
        JG216 for complex numbers.
    """
    value = as_array(ctx, numeric(ctx, a))
    if value.array.rank < 2:
        raise _LinAlgError(f"{value.array.rank}-dimensional array given. Array must be at least two-dimensional")
    rows, columns = value.shape[-2:]
    wrong = "Last 2 dimensions of the array must be square"
    if not same_dim(ctx, rows, columns, wrong, _LinAlgError):
        raise _LinAlgError(wrong)
    return float_matrix(ctx, name, value)


def float_matrix(ctx: Context, name: str, value: Value) -> Value:
    """Return a value in the dtype in which linear systems are solved: float32 stays, everything else is float64."""
    dtype = value.array.dtype
    if dtype == np.float16:
        raise TypeError("array type float16 is unsupported in linalg")
    if dtype.kind == "c":
        raise ctx.error("JG216", name=f"np.linalg.{name}", dtypes="complex")
    return value if dtype == np.float32 else cast(ctx, value, np.float64)


def _made(ctx: Context, function: Callable[..., Any], shape: tuple[Dim, ...], *parts: tuple[Value, int]) -> Value:
    """Return what a function makes of some arrays, done for each item of stacks of them.

    Parameters
    ----------
    shape : tuple
        Of the result.
    *parts : (Value, int)
        An array, and how many of its last dimensions the function takes; those before are one number for all.
    """
    first, own = parts[0]
    lead = first.shape[: first.array.rank - own]
    if not lead:
        return as_array(ctx, ctx.call(function, [ctx.result(v) for v, _ in parts]))
    count = size_of(ctx, lead)
    stacks = [reshape_to(ctx.g, v, (count, *v.shape[v.array.rank - k :])) for v, k in parts]
    rest = shape[len(lead) :]
    target = ctx.fresh(broadcast_to(ctx.g, ctx.constant(0, first.array.dtype), (count, *rest)))
    made = ctx.call(linear.each, [function, target, *(ctx.fresh(s) for s in stacks)])
    return reshape_to(ctx.g, as_array(ctx, made), (*lead, *rest))


# --- what the programs call


@handles(linear.by_loops)
def _by_loops(ctx: Context) -> bool:
    return not ctx.lapack


@handles(systems.factorise)
def _factorise(ctx: Context, a: Any) -> Any:
    factors, *rest = ctx.g.lu(as_array(ctx, a))
    return (ctx.fresh(factors), *(ctx.result(v) for v in rest))


@handles(systems.solve_by_factors)
def _solve_by_factors(ctx: Context, a: Any, factors: Any, pivots: Any, b: Any, transposed: bool) -> Any:
    operands = [as_array(ctx, v) for v in (a, factors, pivots, b)]
    return ctx.fresh(ctx.g.lu_solve(*operands, transposed=transposed))


@handles(systems.change_of_log_det)
def _change_of_log_det(ctx: Context, *operands: Any) -> Any:
    return ctx.result(ctx.g.log_det_change(*(as_array(ctx, v) for v in operands)))


@handles(systems.factorise_positive)
def _factorise_positive(ctx: Context, a: Any) -> Any:
    factor, wrong = ctx.g.cholesky(as_array(ctx, a))
    return ctx.fresh(factor), ctx.result(wrong)


@handles(systems.factorise_orthogonal)
def _factorise_orthogonal(ctx: Context, a: Any) -> Any:
    return tuple(ctx.fresh(v) for v in ctx.g.lq(as_array(ctx, a)))


@handles(systems.eigenvectors)
def _eigenvectors(ctx: Context, a: Any, lower: bool) -> Any:
    values, rows, wrong = ctx.g.eigh(as_array(ctx, a), lower=lower)
    return ctx.fresh(values), ctx.fresh(rows), ctx.result(wrong)


@handles(systems.substitute)
def _substitute(ctx: Context, a: Any, b: Any, transposed: bool, lower: bool, unit: bool) -> Any:
    operands = [as_array(ctx, v) for v in (a, b)]
    return ctx.fresh(ctx.g.triangular_solve(*operands, transposed=transposed, lower=lower, unit=unit))


# --- NumPy's functions


@handles(np.linalg.solve)
def _solve(ctx: Context, a: Any, b: Any) -> Any:
    x = square_matrices(ctx, "solve", a)
    y = float_matrix(ctx, "solve", as_array(ctx, numeric(ctx, b)))
    dtype = np.result_type(x.array.dtype, y.array.dtype)
    x, y = cast(ctx, x, dtype), cast(ctx, y, dtype)
    own = 1 if y.array.rank == 1 else 2
    if not y.array.rank:
        raise ValueError(
            "solve: Input operand 1 does not have enough dimensions (has 0, gufunc core with signature "
            "(m,m),(m,n)->(m,n) requires 2)"
        )
    signature = "(m,m),(m)->(m)" if own == 1 else "(m,m),(m,n)->(m,n)"
    n, size = x.shape[-1], y.shape[-own]
    name = "solve1" if own == 1 else "solve"
    wrong = (
        f"{name}: Input operand 1 has a mismatch in its core dimension 0, with gufunc signature {signature} "
        "(size {0} is different from {1})"
    )
    if not same_dim(ctx, size, n, wrong):
        raise ValueError(wrong.format(size, n))
    lead = arrays.broadcast_dims(ctx, x.shape[:-2], y.shape[:-own])
    x = broadcast_to(ctx.g, x, (*lead, *x.shape[-2:]))
    y = broadcast_to(ctx.g, y, (*lead, *y.shape[-own:]))
    return ctx.fresh(_made(ctx, linear.solve, y.shape, (x, 2), (y, own)))


@handles(np.linalg.inv)
def _inv(ctx: Context, a: Any) -> Any:
    x = square_matrices(ctx, "inv", a)
    return ctx.fresh(_made(ctx, linear.inv, x.shape, (x, 2)))


@handles(np.linalg.det)
def _det(ctx: Context, a: Any) -> Any:
    x = square_matrices(ctx, "det", a)
    return ctx.result(_made(ctx, linear.det, x.shape[:-2], (x, 2)))


@handles(np.linalg.slogdet)
def _slogdet(ctx: Context, a: Any) -> Any:
    x = square_matrices(ctx, "slogdet", a)
    made = _made(ctx, linear.slogdet, (*x.shape[:-2], 2), (x, 2))
    parts = [ctx.call(np.take, [ctx.result(made), k, -1]) for k in range(2)]
    return type(np.linalg.slogdet(np.eye(1)))(*parts)


@handles(np.linalg.cholesky)
def _cholesky(ctx: Context, a: Any, /, *, upper: Any = False) -> Any:
    x = square_matrices(ctx, "cholesky", a)
    if not known_argument(ctx, upper, "which triangle is read"):
        return ctx.fresh(_made(ctx, linear.cholesky, x.shape, (x, 2)))
    transposed = as_array(ctx, swapaxes(ctx, ctx.result(x), -1, -2))
    return swapaxes(ctx, ctx.fresh(_made(ctx, linear.cholesky, x.shape, (transposed, 2))), -1, -2)


@handles(np.linalg.eigh)
def _eigh(ctx: Context, a: Any, UPLO: Any = "L") -> Any:
    return type(np.linalg.eigh(np.eye(1)))(*_of_symmetric(ctx, "eigh", a, UPLO))


@handles(np.linalg.eigvalsh)
def _eigvalsh(ctx: Context, a: Any, UPLO: Any = "L") -> Any:
    return _of_symmetric(ctx, "eigvalsh", a, UPLO)[0]


def _of_symmetric(ctx: Context, name: str, a: Any, triangle: Any) -> Any:
    x = square_matrices(ctx, name, a)
    known = known_argument(ctx, triangle, "which triangle is read")
    which = known.upper() if isinstance(known, str) else known
    if which not in ("L", "U"):
        raise ValueError("UPLO argument must be 'L' or 'U'")
    if x.array.rank != 2:
        raise ctx.error("JG235", name=f"np.linalg.{name}", argument="a stack of matrices")
    if not ctx.lapack:
        raise ctx.error("JG237", name=f"np.linalg.{name}", why="there is no LAPACK")
    return ctx.call(linear.eigh, [ctx.result(x), which == "L"])


# --- orthogonal factors

# Diagonals of a triangular factor smaller than this, relative to the largest, are refused: the rank may be less.
_FULL_RANK = 1e-10


@handles(np.linalg.qr)
def _qr(ctx: Context, a: Any, mode: Any = "reduced") -> Any:
    x = float_matrix(ctx, "qr", as_array(ctx, numeric(ctx, a)))
    if x.array.rank != 2 or mode not in ("reduced", "r"):
        raise ctx.error("JG235", name="np.linalg.qr", argument="a stack of matrices" if x.array.rank != 2 else "mode")
    q, r = ctx.call(squares.qr, [ctx.result(x)])
    return r if mode == "r" else type(np.linalg.qr(np.eye(1)))(q, r)


@handles(np.linalg.lstsq)
def _lstsq(ctx: Context, a: Any, b: Any, rcond: Any = None) -> Any:
    x, y = (float_matrix(ctx, "lstsq", as_array(ctx, numeric(ctx, v))) for v in (a, b))
    if x.array.rank != 2:
        raise _LinAlgError(f"{x.array.rank}-dimensional array given. Array must be two-dimensional")
    single = y.array.rank == 1
    if not single and y.array.rank != 2:
        raise _LinAlgError(f"{y.array.rank}-dimensional array given. Array must be two-dimensional")
    (m, n), wrong = x.shape, "Incompatible dimensions"
    if not same_dim(ctx, m, y.shape[0], wrong, _LinAlgError):
        raise _LinAlgError(wrong)
    n = static_dim(ctx, n, "the number of columns of np.linalg.lstsq")
    if rcond not in (None, -1) or not n:
        raise ctx.error("JG235", name="np.linalg.lstsq", argument="rcond" if rcond else "no columns")
    wide = "fewer rows than columns"
    if isinstance(m, int) and m < n:
        raise ctx.error("JG235", name="np.linalg.lstsq", argument=wide)
    if not isinstance(m, int):
        ctx.refuse_unless(ctx.g.greater_equal(m, ctx.dim(n)), "JG235", m, name="np.linalg.lstsq", argument=wide)
    dtype = np.result_type(x.array.dtype, y.array.dtype)
    x, y = cast(ctx, x, dtype), cast(ctx, y, dtype)
    columns = reshape_to(ctx.g, y, (m, 1)) if single else y
    found, rest, smallest, largest = ctx.call(squares.lstsq, [ctx.result(x), ctx.fresh(columns)])
    low, high = as_array(ctx, smallest), as_array(ctx, largest)
    full = ctx.g.greater(low, ctx.g.multiply(high, ctx.constant(_FULL_RANK, dtype)))
    ctx.refuse_unless(full, "JG235", name="np.linalg.lstsq", argument="a matrix of columns that may be dependent")
    if single:
        found = ctx.result(reshape_to(ctx.g, as_array(ctx, found), (n,)))
    # As many rows as columns leave nothing, which NumPy does not report as zeros.
    count = columns.shape[1]
    if not isinstance(m, int):
        count = ctx.g.select(ctx.g.greater(m, ctx.dim(n)), ctx.dim(count), ctx.dim(0))
    elif m == n:
        count = 0
    rest = ctx.fresh(load(ctx.g, as_array(ctx, rest), [Span(0, 1, count)]))
    return found, rest, np.int32(n), Poison("singular values are not computed")
