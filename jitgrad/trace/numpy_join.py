"""NumPy's functions that put arrays together and take them apart: `concatenate`, `stack`, `split`, `block`.

In: abstract arrays and arguments. Out: new arrays, and views where NumPy gives views (`split`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.memory import Span
from jitgrad.graph.ops.shape import join, move_axes, reshape_to
from jitgrad.graph.types import Dim
from jitgrad.trace.abstract import Box, External, ListRef, Scalar, SliceOf
from jitgrad.trace.arrays import as_array, cast, is_array, shape_of
from jitgrad.trace.calls import handles
from jitgrad.trace.columns import is_grown
from jitgrad.trace.context import Context
from jitgrad.trace.extents import difference, extremum, quotient, surely, total
from jitgrad.trace.iteration import sequence_of
from jitgrad.trace.keys import view_of
from jitgrad.trace.numpy_create import known_dtype
from jitgrad.trace.numpy_shape import array_of, expand_dims
from jitgrad.trace.sizes import (
    axis_argument,
    items_of,
    numeric,
    rehearse,
    result_dtype,
    same_dim,
    size_of,
    static_dim,
    static_int,
)
from jitgrad.trace.storage import as_sequence
from jitgrad.trace.subscripts import get_item, new_list
from jitgrad.trace.ufuncs import store_result

__all__ = ["concatenate", "joined", "joined_values", "parts_of", "stacked"]


def parts_of(ctx: Context, arrays: Any) -> list[Any]:
    """Return a sequence of arrays; an array is the sequence of its rows."""
    return [numeric(ctx, x) for x in sequence_of(ctx, arrays)]


def joined(ctx: Context, xs: Sequence[Any], axis: int, dtype: Any = None, function: Any = None) -> Value:
    """Return arrays joined along an axis, in their common dtype."""
    wanted = result_dtype(ctx, *xs) if dtype is None else dtype
    raw = [as_array(ctx, x) for x in xs]
    first = raw[0]
    for at, v in enumerate(raw[1:], 1):
        if v.array.rank != first.array.rank:
            rehearse(lambda *d: np.concatenate(d, axis), raw)
        for k, (a, b) in enumerate(zip(first.shape, v.shape, strict=True)):
            message = (
                "all the input array dimensions except for the concatenation axis must match exactly, but along "
                f"dimension {k}, the array at index 0 has size {{0}} and the array at index {at} has size {{1}}"
            )
            if k != axis and not same_dim(ctx, a, b, message):
                rehearse(lambda *d: np.concatenate(d, axis), raw)
    values = [cast(ctx, v, wanted) for v in raw]
    return joined_values(ctx, values, axis)


def joined_values(ctx: Context, values: Sequence[Value], axis: int) -> Value:
    """Return values of one dtype that differ in the size of an axis only, joined along it."""
    return join(ctx.g, values, axis, total(ctx, *((1, v.shape[axis]) for v in values)))


def _rows(ctx: Context, arrays: Any, verb: str) -> Value | None:
    """Return a sequence whose length is known only at run time as one array, its items in order; None for others."""
    arrays = as_sequence(ctx, arrays)
    if isinstance(arrays, ListRef):
        if not is_grown(ctx, arrays):
            return None
    elif not is_array(arrays) or isinstance((*shape_of(ctx, arrays), 0)[0], int):
        return None
    value = as_array(ctx, arrays)
    if not surely(ctx, 1, (1, value.shape[0])):
        some = ctx.g.greater(ctx.dim(value.shape[0]), 0)
        ctx.check(some, ValueError, f"need at least one array to {verb}")
    return value


def _rows_joined(ctx: Context, rows: Value, axis: int) -> Value:
    """Return the items of `_rows`, of rank 1 or more, joined along an axis of theirs."""
    count, *shape = rows.shape
    shape[axis] = size_of(ctx, (count, shape[axis]))
    return reshape_to(ctx.g, _rows_stacked(ctx, rows, axis), shape)


def _rows_stacked(ctx: Context, rows: Value, axis: int) -> Value:
    """Return the items of `_rows` along a new axis."""
    return move_axes(ctx.g, rows, [*range(1, axis + 1), 0, *range(axis + 1, rows.array.rank)])


@handles(np.concatenate)
def concatenate(
    ctx: Context, arrays: Any, /, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: Any = "same_kind"
) -> Any:
    """Return `np.concatenate(arrays, axis)`."""
    rows = _rows(ctx, arrays, "concatenate")
    if rows is not None:
        if rows.array.rank == 1:
            raise ValueError("zero-dimensional arrays cannot be concatenated")
        rows = cast(ctx, rows, known_dtype(ctx, dtype, rows.array.dtype))
        if axis is None:
            value = reshape_to(ctx.g, rows, (size_of(ctx, rows.shape),))
        else:
            value = _rows_joined(ctx, rows, axis_argument(ctx, axis, rows.array.rank - 1))
        return ctx.fresh(value) if out is None else store_result(ctx, "concatenate", value, out)
    xs = parts_of(ctx, arrays)
    if not xs:
        raise ValueError("need at least one array to concatenate")
    if axis is None:
        xs = [ctx.fresh(reshape_to(ctx.g, as_array(ctx, x), (size_of(ctx, shape_of(ctx, x)),))) for x in xs]
        axis = 0
    if not shape_of(ctx, xs[0]):
        raise ValueError("zero-dimensional arrays cannot be concatenated")
    at = axis_argument(ctx, axis, len(shape_of(ctx, xs[0])))
    made = joined(ctx, xs, at, known_dtype(ctx, dtype))
    return ctx.fresh(made) if out is None else store_result(ctx, "concatenate", made, out)


if hasattr(np, "concat") and np.concat is not np.concatenate:
    handles(np.concat)(concatenate)


@handles(np.stack)
def stacked(
    ctx: Context, arrays: Any, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: Any = "same_kind"
) -> Any:
    """Return `np.stack(arrays, axis)`."""
    rows = _rows(ctx, arrays, "stack")
    if rows is not None:
        value = _rows_stacked(ctx, rows, axis_argument(ctx, axis, rows.array.rank))
        value = cast(ctx, value, known_dtype(ctx, dtype, rows.array.dtype))
        return ctx.fresh(value) if out is None else store_result(ctx, "stack", value, out)
    xs = parts_of(ctx, arrays)
    if not xs:
        raise ValueError("need at least one array to stack")
    shapes = [shape_of(ctx, x) for x in xs]
    if any(len(s) != len(shapes[0]) for s in shapes):
        raise ValueError("all input arrays must have the same shape")
    message = "all input arrays must have the same shape"
    for s in shapes[1:]:
        if not all(same_dim(ctx, a, b, message) for a, b in zip(shapes[0], s, strict=True)):
            raise ValueError(message)
    at = axis_argument(ctx, axis, len(shapes[0]) + 1)
    made = joined(ctx, [expand_dims(ctx, x, at) for x in xs], at, known_dtype(ctx, dtype))
    return ctx.fresh(made) if out is None else store_result(ctx, "stack", made, out)


def _raised(shape: Sequence[Dim], rank: int) -> tuple[Dim, ...]:
    """Return the shape that `np.atleast_1d` and its like make of one."""
    if rank == 3 and 0 < len(shape) < 3:
        return (1, *shape, 1) if len(shape) == 1 else (*shape, 1)
    return (*(1 for _ in range(rank - len(shape))), *shape)


def _join_raised(
    ctx: Context, tup: Any, raised: Callable[[Sequence[Dim]], tuple[Dim, ...]], axis: int, dtype: Any
) -> Any:
    """Join arrays that are given another shape before, along an axis or the last that there is."""
    rows = _rows(ctx, tup, "concatenate")
    if rows is not None:
        rows = reshape_to(ctx.g, rows, (rows.shape[0], *raised(rows.shape[1:])))
        rows = cast(ctx, rows, known_dtype(ctx, dtype, rows.array.dtype))
        return ctx.fresh(_rows_joined(ctx, rows, min(axis, rows.array.rank - 2)))
    values = [as_array(ctx, x) for x in parts_of(ctx, tup)]
    if not values:
        raise ValueError("need at least one array to concatenate")
    xs = [ctx.fresh(reshape_to(ctx.g, v, raised(v.shape))) for v in values]
    return ctx.fresh(joined(ctx, xs, min(axis, len(shape_of(ctx, xs[0])) - 1), known_dtype(ctx, dtype)))


@handles(np.vstack)
def _vstack(ctx: Context, tup: Any, *, dtype: Any = None, casting: Any = "same_kind") -> Any:
    return _join_raised(ctx, tup, lambda shape: _raised(shape, 2), 0, dtype)


@handles(np.hstack)
def _hstack(ctx: Context, tup: Any, *, dtype: Any = None, casting: Any = "same_kind") -> Any:
    return _join_raised(ctx, tup, lambda shape: _raised(shape, 1), 1, dtype)


@handles(np.dstack)
def _dstack(ctx: Context, tup: Any) -> Any:
    return _join_raised(ctx, tup, lambda shape: _raised(shape, 3), 2, None)


@handles(np.column_stack)
def _column_stack(ctx: Context, tup: Any) -> Any:
    return _join_raised(ctx, tup, lambda s: tuple(s) if len(s) > 1 else (size_of(ctx, s), 1), 1, None)


@handles(np.append)
def _append(ctx: Context, arr: Any, values: Any, axis: Any = None) -> Any:
    return concatenate(ctx, (array_of(ctx, arr), array_of(ctx, values)), axis)


@handles(np.block)
def _block(ctx: Context, arrays: Any) -> Any:
    def depth(x: Any) -> int:
        return (
            0 if is_array(x) or isinstance(x, Scalar) or not hasattr(x, "cell") else 1 + depth(sequence_of(ctx, x)[0])
        )

    levels = depth(arrays)

    def build(x: Any, level: int) -> Any:
        if level == 0:
            value = as_array(ctx, numeric(ctx, x))
            lead = max(levels - value.array.rank, 0)
            return ctx.fresh(reshape_to(ctx.g, value, (*(1 for _ in range(lead)), *value.shape)))
        return concatenate(ctx, tuple(build(v, level - 1) for v in sequence_of(ctx, x)), -level)

    return build(arrays, levels)


# --- taking apart


def _split(ctx: Context, ary: Any, sections: Any, axis: Any, even: bool) -> Any:
    x = array_of(ctx, ary)
    rank = len(shape_of(ctx, x))
    at = axis_argument(ctx, axis, rank)
    size = shape_of(ctx, x)[at]
    if hasattr(sections, "cell") or isinstance(sections, tuple | External):
        inner = items_of(ctx, sections, "the places to split")
        bounds = [0, *(k if isinstance(k, Scalar) else static_int(ctx, k, "a place to split") for k in inner), None]
        full = [slice(None)] * rank
        keys = [SliceOf(start, stop, None) for start, stop in itertools.pairwise(bounds)]
        return new_list(ctx, [get_item(ctx, x, (*full[:at], key, *full[at + 1 :])) for key in keys])
    count = static_int(ctx, sections, "the number of parts of a split")
    if count <= 0:
        raise ValueError("number sections must be larger than 0.")
    small = quotient(ctx, size, count)
    extra = difference(ctx, size, total(ctx, (count, small)))
    if even and extra != 0:
        message = "array split does not result in an equal division"
        if isinstance(extra, int):
            raise ValueError(message)
        ctx.check(ctx.g.equal(extra, 0), ValueError, message)
        extra = 0
    made = []
    start: Dim = 0
    for k in range(count):
        longer = extremum(ctx, "minimum", extremum(ctx, "maximum", difference(ctx, extra, k), 0), 1)
        length = total(ctx, (1, small), (1, longer))
        entries = [Span(0, 1, d) for d in shape_of(ctx, x)]
        entries[at] = Span(start, 1, length)
        made.append(view_of(ctx, x, Box(tuple(entries), tuple(range(rank)))))
        start = total(ctx, (1, start), (1, length))
    return new_list(ctx, made)


@handles(np.split)
def _np_split(ctx: Context, ary: Any, indices_or_sections: Any, axis: Any = 0) -> Any:
    return _split(ctx, ary, indices_or_sections, axis, True)


@handles(np.array_split)
def _array_split(ctx: Context, ary: Any, indices_or_sections: Any, axis: Any = 0) -> Any:
    return _split(ctx, ary, indices_or_sections, axis, False)


@handles(np.hsplit)
def _hsplit(ctx: Context, ary: Any, indices_or_sections: Any) -> Any:
    rank = len(shape_of(ctx, array_of(ctx, ary)))
    return _split(ctx, ary, indices_or_sections, 1 if rank > 1 else 0, True)


@handles(np.vsplit)
def _vsplit(ctx: Context, ary: Any, indices_or_sections: Any) -> Any:
    return _split(ctx, ary, indices_or_sections, 0, True)


@handles(np.unstack) if hasattr(np, "unstack") else (lambda f: f)
def _unstack(ctx: Context, x: Any, /, *, axis: Any = 0) -> Any:
    x = array_of(ctx, x)
    rank = len(shape_of(ctx, x))
    at = axis_argument(ctx, axis, rank)
    count = static_dim(ctx, shape_of(ctx, x)[at], "the size of an axis that is unstacked")
    rows = [
        get_item(ctx, x, (*(slice(None) for _ in range(at)), k, *(slice(None) for _ in range(at + 1, rank))))
        for k in range(count)
    ]
    return tuple(r if is_array(r) else ctx.fresh(as_array(ctx, r)) for r in rows)
