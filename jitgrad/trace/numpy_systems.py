"""`np.linalg.solve`, `inv`, `det`, `slogdet`, `cholesky` as callables, of one matrix or of stacks of them.

In: abstract arrays and arguments. Out: new arrays or NumPy scalars. Dtypes, shapes and exceptions are settled here; the
numbers are made by the plain programs of `algorithms`, which are traced.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.shape import broadcast_to, reshape_to
from jitgrad.graph.types import Dim
from jitgrad.trace import arrays
from jitgrad.trace.algorithms import linear
from jitgrad.trace.arrays import as_array, cast
from jitgrad.trace.calls import handles
from jitgrad.trace.context import Context
from jitgrad.trace.numpy_shape import swapaxes
from jitgrad.trace.sizes import known_argument, numeric, same_dim, size_of

__all__ = ["square_matrices"]

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
    return _floats(ctx, name, value)


def _floats(ctx: Context, name: str, value: Value) -> Value:
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


@handles(np.linalg.solve)
def _solve(ctx: Context, a: Any, b: Any) -> Any:
    x = square_matrices(ctx, "solve", a)
    y = _floats(ctx, "solve", as_array(ctx, numeric(ctx, b)))
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
