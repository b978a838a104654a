"""NumPy's functions that put arrays together and take them apart: `concatenate`, `stack`, `split`, `block`.

In: abstract arrays and arguments. Out: new arrays, and views where NumPy gives views (`split`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.memory import Span
from jitgrad.graph.ops.shape import join, reshape_to
from jitgrad.graph.types import Dim
from jitgrad.trace.abstract import Box, External, Scalar, SliceOf
from jitgrad.trace.arrays import as_array, cast, is_array, shape_of
from jitgrad.trace.calls import handles
from jitgrad.trace.context import Context
from jitgrad.trace.extents import difference, extremum, quotient, total
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


@handles(np.concatenate)
def concatenate(
    ctx: Context, arrays: Any, /, axis: Any = 0, out: Any = None, *, dtype: Any = None, casting: Any = "same_kind"
) -> Any:
    """Return `np.concatenate(arrays, axis)`."""
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


def _join_at_least(ctx: Context, tup: Any, rank: int, axis: int, dtype: Any) -> Any:
    xs = []
    for x in parts_of(ctx, tup):
        value = as_array(ctx, x)
        own = value.array.rank
        if own < rank:
            shape = (*(1 for _ in range(rank - own)), *value.shape)
            if rank == 3 and own:
                shape = (1, *value.shape, 1) if own == 1 else (*value.shape, 1)
            value = reshape_to(ctx.g, value, shape)
        xs.append(ctx.fresh(value))
    if not xs:
        raise ValueError("need at least one array to concatenate")
    at = min(axis, len(shape_of(ctx, xs[0])) - 1)
    return ctx.fresh(joined(ctx, xs, at, known_dtype(ctx, dtype)))


@handles(np.vstack)
def _vstack(ctx: Context, tup: Any, *, dtype: Any = None, casting: Any = "same_kind") -> Any:
    return _join_at_least(ctx, tup, 2, 0, dtype)


@handles(np.hstack)
def _hstack(ctx: Context, tup: Any, *, dtype: Any = None, casting: Any = "same_kind") -> Any:
    xs = parts_of(ctx, tup)
    rank = len(shape_of(ctx, xs[0])) if xs else 1
    return _join_at_least(ctx, tuple(xs), 1, 0 if rank <= 1 else 1, dtype)


@handles(np.dstack)
def _dstack(ctx: Context, tup: Any) -> Any:
    return _join_at_least(ctx, tup, 3, 2, None)


@handles(np.column_stack)
def _column_stack(ctx: Context, tup: Any) -> Any:
    xs = []
    for x in parts_of(ctx, tup):
        value = as_array(ctx, x)
        if value.array.rank < 2:
            value = reshape_to(ctx.g, value, (size_of(ctx, value.shape), 1))
        xs.append(ctx.fresh(value))
    return ctx.fresh(joined(ctx, xs, 1))


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
