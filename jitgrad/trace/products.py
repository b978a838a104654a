"""Matrix products of every rank: `@`, `np.dot`, `inner`, `outer`, `tensordot`, `einsum`.

In: numbers and arrays. Out: numbers and arrays. All go to the primitive `matmul`, whose operands have rank 2 or more,
through reshapes and transposes, or to a product and a sum where nothing is contracted with it. Errors are NumPy's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.shape import move_axes, reshape_to
from jitgrad.graph.types import Dim
from jitgrad.trace import arrays, promotion
from jitgrad.trace.arrays import broadcast_dims
from jitgrad.trace.context import Context
from jitgrad.trace.extents import extremum, total
from jitgrad.trace.sizes import axis_argument, items_of, normal_axes, numeric, promoted, rehearse, same_dim, size_of

__all__ = [
    "contract", "dot", "einsum", "inner", "matmul_values", "matrix_product", "offset_diagonal", "outer", "tensordot",
    "trace_value", "vdot",
]  # fmt: skip

_SIZES = "sizes of a product differ: {0} and {1}"


def _reduce(ctx: Context, value: Value, axes: Sequence[int]) -> Value:
    if not axes:
        return value
    if value.array.dtype == np.bool_:
        made: Value = ctx.g.reduce_or(value, axes=tuple(axes))
    else:
        made = ctx.g.reduce_sum(value, axes=tuple(axes))
    return made


def _multiply(ctx: Context, a: Value, b: Value) -> Value:
    made: Value = ctx.g.emit("logical_and" if a.array.dtype == np.bool_ else "multiply", [a, b]).result
    return made


def matrix_product(ctx: Context, x: Any, y: Any) -> Any:
    """Return `x @ y` of arrays.

    Raises
    ------
    ValueError
        As `np.matmul`, where sizes do not fit.
    """
    a, b = promoted(ctx, numeric(ctx, x), numeric(ctx, y))
    return ctx.result(matmul_values(ctx, a, b))


def matmul_values(ctx: Context, a: Value, b: Value) -> Value:
    """Return the matrix product of two values of one dtype."""
    if not a.array.rank or not b.array.rank:
        rehearse(np.matmul, [a, b])
    inner = b.shape[0] if b.array.rank == 1 else b.shape[-2]
    message = (
        f"matmul: Input operand 1 has a mismatch in its core dimension 0, with gufunc signature {np.matmul.signature} "
        "(size {1} is different from {0})"
    )
    if not same_dim(ctx, a.shape[-1], inner, message):
        rehearse(np.matmul, [a, b])
    g = ctx.g
    if a.array.rank == 1 and b.array.rank == 1:
        return _reduce(ctx, _multiply(ctx, a, b), (0,))
    if a.array.rank == 1:
        made: Value = g.matmul(reshape_to(g, a, (1, *a.shape)), b)
        return reshape_to(g, made, (*made.shape[:-2], made.shape[-1]))
    if b.array.rank == 1:
        made = g.matmul(a, reshape_to(g, b, (*b.shape, 1)))
        return reshape_to(g, made, made.shape[:-1])
    broadcast_dims(ctx, a.shape[:-2], b.shape[:-2])
    made = g.matmul(a, b)
    return made


def dot(ctx: Context, x: Any, y: Any) -> Any:
    """Return `np.dot(x, y)`: a product with a number, else a sum over the last axis of x and the last but one of y."""
    x, y = numeric(ctx, x), numeric(ctx, y)
    if not arrays.shape_of(ctx, x) or not arrays.shape_of(ctx, y):
        return promotion.ufunc(ctx, np.multiply, x, y)
    a, b = promoted(ctx, x, y)
    axis = max(b.array.rank - 2, 0)
    if not same_dim(ctx, a.shape[-1], b.shape[axis], _SIZES):
        rehearse(np.dot, [a, b])
    if b.array.rank <= 2:
        return ctx.result(matmul_values(ctx, a, b))
    return ctx.result(contract(ctx, a, b, [a.array.rank - 1], [axis]))


def vdot(ctx: Context, x: Any, y: Any) -> Any:
    """Return `np.vdot(x, y)` of real numbers."""
    a, b = promoted(ctx, numeric(ctx, x), numeric(ctx, y))
    if a.array.dtype.kind == "c":
        raise ctx.error("JG216", name="np.vdot", dtypes="complex")
    a, b = (reshape_to(ctx.g, v, (size_of(ctx, v.shape),)) for v in (a, b))
    if not same_dim(ctx, a.shape[0], b.shape[0], _SIZES):
        rehearse(np.vdot, [a, b])
    return ctx.result(matmul_values(ctx, a, b))


def inner(ctx: Context, x: Any, y: Any) -> Any:
    """Return `np.inner(x, y)`: a sum over the last axes."""
    x, y = numeric(ctx, x), numeric(ctx, y)
    if not arrays.shape_of(ctx, x) or not arrays.shape_of(ctx, y):
        return promotion.ufunc(ctx, np.multiply, x, y)
    a, b = promoted(ctx, x, y)
    if not same_dim(ctx, a.shape[-1], b.shape[-1], _SIZES):
        rehearse(np.inner, [a, b])
    return ctx.result(contract(ctx, a, b, [a.array.rank - 1], [b.array.rank - 1]))


def outer(ctx: Context, x: Any, y: Any) -> Any:
    """Return `np.outer(x, y)`."""
    a, b = promoted(ctx, numeric(ctx, x), numeric(ctx, y))
    a = reshape_to(ctx.g, a, (size_of(ctx, a.shape), 1))
    b = reshape_to(ctx.g, b, (1, size_of(ctx, b.shape)))
    return ctx.result(_multiply(ctx, a, b))


def contract(ctx: Context, a: Value, b: Value, axes_a: Sequence[int], axes_b: Sequence[int]) -> Value:
    """Return the product of a and b summed over pairs of axes: the other axes of a, then those of b."""
    g = ctx.g
    free_a = [k for k in range(a.array.rank) if k not in axes_a]
    free_b = [k for k in range(b.array.rank) if k not in axes_b]
    shape = (*(a.shape[k] for k in free_a), *(b.shape[k] for k in free_b))
    count = size_of(ctx, [a.shape[k] for k in axes_a])
    left = size_of(ctx, [a.shape[k] for k in free_a])
    right = size_of(ctx, [b.shape[k] for k in free_b])
    a = reshape_to(g, move_axes(g, a, [*free_a, *axes_a]), (left, count))
    b = reshape_to(g, move_axes(g, b, [*axes_b, *free_b]), (count, right))
    if isinstance(count, int) and count == 1:
        return reshape_to(g, _multiply(ctx, a, b), shape)
    if isinstance(left, int) and isinstance(right, int) and left == right == 1:
        return reshape_to(g, _reduce(ctx, _multiply(ctx, a, reshape_to(g, b, (1, count))), (0, 1)), shape)
    return reshape_to(g, g.matmul(a, b), shape)


def tensordot(ctx: Context, x: Any, y: Any, axes: Any = 2) -> Any:
    """Return `np.tensordot(x, y, axes)`."""
    a, b = promoted(ctx, numeric(ctx, x), numeric(ctx, y))
    if isinstance(axes, int):
        first = list(range(a.array.rank - axes, a.array.rank))
        second = list(range(axes))
    else:
        pair = items_of(ctx, axes, "the axes of np.tensordot")
        first, second = (
            [axis_argument(ctx, k, v.array.rank) for k in ([p] if isinstance(p, int) else items_of(ctx, p, "axes"))]
            for p, v in zip(pair, (a, b), strict=True)
        )
    if len(first) != len(second) or not all(
        same_dim(ctx, a.shape[i], b.shape[j], _SIZES) for i, j in zip(first, second, strict=True)
    ):
        raise ValueError("shape-mismatch for sum")
    normal_axes(first, a.array.rank)
    return ctx.fresh(contract(ctx, a, b, first, second))  # NumPy reshapes: rank 0 stays an array


# --- einsum


def einsum(ctx: Context, subscripts: str, operands: Sequence[Any]) -> Any:
    """Return `np.einsum(subscripts, *operands)`.

    Pairs of operands are contracted one after the other, in the order that `np.einsum_path` finds for more than two.
    """
    values = promoted(ctx, *(numeric(ctx, x) for x in operands))
    terms, result = _parse(subscripts, [v.array.rank for v in values])
    sizes: dict[str, Dim] = {}
    for term, value in zip(terms, values, strict=True):
        for letter, d in zip(term, value.shape, strict=True):
            if letter not in sizes or (isinstance(sizes[letter], int) and sizes[letter] == 1):
                sizes[letter] = d
            elif not (isinstance(d, int) and d == 1) and not same_dim(ctx, d, sizes[letter], _SIZES):
                rehearse(lambda *dummies: np.einsum(subscripts, *dummies), values)
    parts = [_single(ctx, t, v, sizes) for t, v in zip(terms, values, strict=True)]
    for pair in _path(subscripts, values):
        if len(parts) == 1:
            break
        (ta, a), (tb, b) = (parts[k] for k in pair)
        parts = [p for k, p in enumerate(parts) if k not in pair]
        needed = set(result).union(*(t for t, _ in parts))
        parts.append(_pair(ctx, ta, a, tb, b, needed, sizes))
    term, value = parts[0]
    value = _reduce(ctx, value, [k for k, c in enumerate(term) if c not in result])
    term = "".join(c for c in term if c in result)
    missing = [c for c in result if c not in term]
    assert not missing, missing
    return ctx.result(move_axes(ctx.g, value, [term.index(c) for c in result]))


def _parse(subscripts: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """Return the letters of each operand and of the result, an ellipsis written out."""
    text = subscripts.replace(" ", "")
    left, arrow, right = text.partition("->")
    terms = left.split(",")
    if len(terms) != len(ranks):
        few = len(terms) < len(ranks)
        raise ValueError(
            "more operands provided to einstein sum function than specified in the subscripts string"
            if few
            else "fewer operands provided to einstein sum function than specified in the subscripts string"
        )
    unused = [c for c in "ZYXWVUTSRQPONMLKJIHGFEDCBA" if c not in text]
    depth = 0
    made: list[str] = []
    for term, rank in zip(terms, ranks, strict=True):
        if "..." in term:
            count = rank - len(term.replace("...", ""))
            depth = max(depth, count)
            term = term.replace("...", "".join(reversed(unused[:count])))
        if len(term) != rank:
            raise ValueError(
                "operand has more dimensions than subscripts given in einstein sum, but no '...' ellipsis provided to "
                "broadcast the extra dimensions."
                if len(term) < rank
                else f"einstein sum subscripts string contains too many subscripts for operand {len(made)}"
            )
        made.append(term)
    dots = "".join(reversed(unused[:depth]))
    if arrow:
        right = right.replace("...", dots)
    else:
        flat = "".join(terms).replace("...", "")
        right = dots + "".join(sorted(c for c in set(flat) if flat.count(c) == 1))
    for c in right:
        if not any(c in t for t in made):
            raise ValueError(
                f"einstein sum subscripts string included output subscript '{c}' which never appeared in an input"
            )
    return made, right


def _path(subscripts: str, values: Sequence[Value]) -> list[tuple[int, int]]:
    count = len(values)
    if count > 2 and all(v.array.is_static for v in values):
        dummies = [np.broadcast_to(np.zeros(()), v.shape) for v in values]  # type: ignore[arg-type]
        found = np.einsum_path(subscripts, *dummies, optimize="greedy")[0][1:]
        if all(len(p) == 2 for p in found):
            return [(min(p), max(p)) for p in found]
    return [(0, 1), *[(0, count - 2 - k) for k in range(count - 2)]]


def _single(ctx: Context, term: str, value: Value, sizes: dict[str, Dim]) -> tuple[str, Value]:
    """Return an operand with letters that it has once each, taking diagonals; axes of length 1 that broadcast go."""
    g = ctx.g
    drop = [
        k
        for k, (c, d) in enumerate(zip(term, value.shape, strict=True))
        if isinstance(d, int) and d == 1 and sizes[c] != 1
    ]
    if drop:
        value = reshape_to(g, value, [d for k, d in enumerate(value.shape) if k not in drop])
        term = "".join(c for k, c in enumerate(term) if k not in drop)
    for letter in dict.fromkeys(term):
        while term.count(letter) > 1:
            i = term.index(letter)
            j = term.index(letter, i + 1)
            value = _diagonal(ctx, value, i, j, sizes[letter])
            term = term[:i] + term[i + 1 : j] + term[j + 1 :] + letter
    return term, value


def _diagonal(ctx: Context, value: Value, i: int, j: int, count: Dim, rows: int = 0, columns: int = 0) -> Value:
    """Return the diagonal of two axes, as a last axis of a given length that begins at (rows, columns)."""
    g = ctx.g
    rest = [k for k in range(value.array.rank) if k not in (i, j)]
    value = move_axes(g, value, [i, j, *rest])
    dims = () if isinstance(count, int) else (count,)
    at: Value = g.iota(*dims, dtype=np.dtype(np.int64), shape=(count if isinstance(count, int) else None,))
    first = g.add(at, ctx.constant(rows, np.int64)) if rows else at
    second = g.add(at, ctx.constant(columns, np.int64)) if columns else at
    value = g.gather(value, first, second)
    return move_axes(g, value, [*range(1, value.array.rank), 0])


def _pair(
    ctx: Context, ta: str, a: Value, tb: str, b: Value, needed: set[str], sizes: dict[str, Dim]
) -> tuple[str, Value]:
    """Contract two operands over the letters that nothing else needs."""
    a = _reduce(ctx, a, [k for k, c in enumerate(ta) if c not in tb and c not in needed])
    b = _reduce(ctx, b, [k for k, c in enumerate(tb) if c not in ta and c not in needed])
    ta = "".join(c for c in ta if c in tb or c in needed)
    tb = "".join(c for c in tb if c in ta or c in needed)
    batch = [c for c in ta if c in tb and c in needed]
    summed = [c for c in ta if c in tb and c not in needed]
    left, right = [c for c in ta if c not in tb], [c for c in tb if c not in ta]
    term = "".join([*batch, *left, *right])
    g = ctx.g
    a = move_axes(g, a, [ta.index(c) for c in [*batch, *left, *summed]])
    b = move_axes(g, b, [tb.index(c) for c in [*batch, *summed, *right]])

    def dims(letters: Sequence[str]) -> tuple[Dim, ...]:
        return tuple(sizes[c] for c in letters)

    if not summed:
        a = reshape_to(g, a, (*dims(batch), *dims(left), *(1 for _ in right)))
        b = reshape_to(g, b, (*dims(batch), *(1 for _ in left), *dims(right)))
        return term, _multiply(ctx, a, b)
    if not left and not right:
        return term, _reduce(ctx, _multiply(ctx, a, b), range(len(batch), len(batch) + len(summed)))
    m, k, n = (size_of(ctx, dims(c)) for c in (left, summed, right))
    a = reshape_to(g, a, (*dims(batch), m, k))
    b = reshape_to(g, b, (*dims(batch), k, n))
    return term, reshape_to(g, g.matmul(a, b), (*dims(batch), *dims(left), *dims(right)))


def offset_diagonal(ctx: Context, value: Value, i: int, j: int, offset: int) -> Value:
    """Return the diagonal of two axes that is `offset` above the main one, as a last axis."""
    rows, columns = (
        total(ctx, (1, value.shape[k]), (1, -skip)) for k, skip in ((i, max(-offset, 0)), (j, max(offset, 0)))
    )
    count = extremum(ctx, "maximum", extremum(ctx, "minimum", rows, columns), 0)
    return _diagonal(ctx, value, i, j, count, max(-offset, 0), max(offset, 0))


def trace_value(ctx: Context, value: Value, axis1: int, axis2: int, offset: int = 0) -> Value:
    """Return `np.trace` of a value: the sum along a diagonal."""
    made = offset_diagonal(ctx, value, axis1, axis2, offset)
    return _reduce(ctx, made, (made.array.rank - 1,))
