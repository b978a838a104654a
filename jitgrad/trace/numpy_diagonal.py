"""NumPy's functions of diagonals and triangles: `diag`, `diagonal`, `trace`, `tril`, `triu`, `fill_diagonal`.

In: abstract arrays and arguments. Out: new arrays; the diagonal, which NumPy gives as a read-only view, is a copy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.graph.ops.shape import broadcast_to, reshape_to
from jitgrad.trace.arrays import as_array, broadcast_value, cast, dtype_of, shape_of, write
from jitgrad.trace.calls import handles, method
from jitgrad.trace.context import Context
from jitgrad.trace.extents import difference, extremum, total
from jitgrad.trace.masks import true_positions
from jitgrad.trace.numpy_create import diagonal_mask, iota
from jitgrad.trace.products import offset_diagonal, trace_value
from jitgrad.trace.sizes import axis_argument, dim_argument, dim_scalar, known_argument, numeric, size_of, static_int
from jitgrad.trace.ufuncs import store_result
from jitgrad.trace.views import read_only

__all__ = ["diagonal"]

# --- diagonals and triangles


@handles(np.diagonal)
@method("array", "diagonal")
def diagonal(ctx: Context, a: Any, offset: Any = 0, axis1: Any = 0, axis2: Any = 1) -> Any:
    """Return `np.diagonal(a, offset, axis1, axis2)`."""
    x = numeric(ctx, a)
    value = as_array(ctx, x)
    rank = value.array.rank
    if rank < 2:
        raise ValueError("diag requires an array of at least two dimensions")
    i, j = axis_argument(ctx, axis1, rank), axis_argument(ctx, axis2, rank)
    k = static_int(ctx, offset, "a diagonal")
    return read_only(ctx, x, offset_diagonal(ctx, value, i, j, k))


@handles(np.diag)
def _diag(ctx: Context, v: Any, k: Any = 0) -> Any:
    value = as_array(ctx, numeric(ctx, v))
    if value.array.rank == 2:
        return diagonal(ctx, v, k)
    if value.array.rank != 1:
        raise ValueError("Input must be 1- or 2-d.")
    offset = static_int(ctx, k, "a diagonal")
    n = value.shape[0]
    size = total(ctx, (1, n), (1, abs(offset)))
    g = ctx.g
    at = iota(ctx, n)
    rows = at if offset >= 0 else g.add(at, -offset)
    columns = at if offset <= 0 else g.add(at, offset)
    zero = broadcast_to(g, ctx.constant(0, value.array.dtype), (size, size))
    return ctx.fresh(g.scatter(zero, value, rows, columns))


@handles(np.diagflat)
def _diagflat(ctx: Context, v: Any, k: Any = 0) -> Any:
    value = as_array(ctx, numeric(ctx, v))
    return _diag(ctx, ctx.fresh(reshape_to(ctx.g, value, (size_of(ctx, value.shape),))), k)


@handles(np.fill_diagonal)
def _fill_diagonal(ctx: Context, a: Any, val: Any, wrap: Any = False) -> None:
    shape = shape_of(ctx, a)
    if len(shape) != 2:
        raise ctx.error("JG235", name="np.fill_diagonal", argument="an array that is not a matrix")
    value = as_array(ctx, numeric(ctx, val), dtype_of(ctx, a))
    g = ctx.g
    if value.array.rank:
        count = extremum(ctx, "minimum", *shape)
        at = iota(ctx, count)
        write(ctx, a, g.scatter(as_array(ctx, a), broadcast_value(ctx, value, (count,)), at, at))
        return
    write(ctx, a, g.select(diagonal_mask(ctx, *shape), broadcast_to(g, value, shape), as_array(ctx, a)))


@handles(np.trace)
@method("array", "trace")
def _trace(
    ctx: Context, a: Any, offset: Any = 0, axis1: Any = 0, axis2: Any = 1, dtype: Any = None, out: Any = None
) -> Any:
    value = as_array(ctx, numeric(ctx, a))
    rank = value.array.rank
    i, j = axis_argument(ctx, axis1, rank), axis_argument(ctx, axis2, rank)
    wanted = known_argument(ctx, dtype, "a dtype") or np.add.reduce(np.zeros(1, value.array.dtype)).dtype
    made = trace_value(ctx, cast(ctx, value, wanted), i, j, static_int(ctx, offset, "a diagonal"))
    return ctx.result(made) if out is None else store_result(ctx, "trace", made, out)


def _triangle(ctx: Context, m: Any, k: Any, lower: bool) -> Any:
    value = as_array(ctx, numeric(ctx, m))
    if value.array.rank < 2:
        value = broadcast_to(ctx.g, value, (*value.shape, *value.shape))
    offset = static_int(ctx, k, "a diagonal")
    mask = diagonal_mask(ctx, value.shape[-2], value.shape[-1], offset, "less_equal" if lower else "greater_equal")
    return ctx.fresh(ctx.g.select(mask, value, ctx.constant(0, value.array.dtype)))


@handles(np.tril)
def _tril(ctx: Context, m: Any, k: Any = 0) -> Any:
    return _triangle(ctx, m, k, True)


@handles(np.triu)
def _triu(ctx: Context, m: Any, k: Any = 0) -> Any:
    return _triangle(ctx, m, k, False)


def _triangle_indices(ctx: Context, function: Any, n: Any, k: Any, m: Any) -> Any:
    rows = dim_argument(ctx, n)
    columns = rows if m is None else dim_argument(ctx, m)
    offset = static_int(ctx, k, "a diagonal")
    if isinstance(rows, int) and isinstance(columns, int):
        return tuple(ctx.fresh(ctx.constant(v)) for v in function(rows, offset, columns))
    relation = "less_equal" if function is np.tril_indices else "greater_equal"
    key = ("triangle", relation, rows, columns, offset)
    mask = ctx.shared(key, lambda: diagonal_mask(ctx, rows, columns, offset, relation))
    return tuple(ctx.fresh(v) for v in true_positions(ctx, mask))


@handles(np.tril_indices)
def _tril_indices(ctx: Context, n: Any, k: Any = 0, m: Any = None) -> Any:
    return _triangle_indices(ctx, np.tril_indices, n, k, m)


@handles(np.triu_indices)
def _triu_indices(ctx: Context, n: Any, k: Any = 0, m: Any = None) -> Any:
    return _triangle_indices(ctx, np.triu_indices, n, k, m)


@handles(np.diag_indices)
def _diag_indices(ctx: Context, n: Any, ndim: Any = 2) -> Any:
    at = ctx.fresh(iota(ctx, dim_argument(ctx, n)))
    return tuple(at for _ in range(static_int(ctx, ndim, "a rank")))


@handles(np.tril_indices_from)
def _tril_indices_from(ctx: Context, arr: Any, k: Any = 0) -> Any:
    return _tril_indices(ctx, *_two_lengths(ctx, arr, k))


@handles(np.triu_indices_from)
def _triu_indices_from(ctx: Context, arr: Any, k: Any = 0) -> Any:
    return _triu_indices(ctx, *_two_lengths(ctx, arr, k))


def _two_lengths(ctx: Context, arr: Any, k: Any) -> tuple[Any, Any, Any]:
    shape = shape_of(ctx, arr)
    if len(shape) != 2:
        raise ValueError("input array must be 2-d")
    rows, columns = (dim_scalar(ctx, d) for d in shape)
    return rows, k, columns


@handles(np.diag_indices_from)
def _diag_indices_from(ctx: Context, arr: Any) -> Any:
    shape = shape_of(ctx, arr)
    if len(shape) < 2:
        raise ValueError("input array must be at least 2-d")
    for d in shape[1:]:
        apart, message = difference(ctx, d, shape[0]), "All dimensions of input must be of equal length"
        if not isinstance(apart, int):
            ctx.check(ctx.g.equal(apart, ctx.constant(0, np.int64)), ValueError, message)
        elif apart:
            raise ValueError(message)
    return _diag_indices(ctx, dim_scalar(ctx, shape[0]), len(shape))
