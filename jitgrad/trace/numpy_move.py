"""NumPy's functions that move and repeat elements along axes: `tile`, `repeat`, `flip`, `roll`, `diff`, `pad`.

In: abstract arrays and arguments. Out: new arrays, and views where NumPy gives views (`flip`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.memory import Span, load
from jitgrad.graph.ops.shape import broadcast_to, move_axes, reshape_to
from jitgrad.graph.types import Dim
from jitgrad.trace.abstract import DictRef, ListRef, Ref, Scalar
from jitgrad.trace.algorithms import elements
from jitgrad.trace.arrays import as_array, dtype_of, shape_of
from jitgrad.trace.calls import handles, method
from jitgrad.trace.columns import content_of
from jitgrad.trace.context import Context
from jitgrad.trace.extents import clipped_span, surely, total
from jitgrad.trace.numpy_create import iota
from jitgrad.trace.numpy_join import joined, joined_values
from jitgrad.trace.numpy_shape import array_of
from jitgrad.trace.sizes import (
    axis_argument,
    dim_argument,
    is_list,
    items_of,
    known_argument,
    normal_axes,
    numeric,
    one_or_items,
    size_of,
    static_dim,
    static_int,
)
from jitgrad.trace.subscripts import get_item

__all__ = ["take_positions"]

# --- repeating


@handles(np.tile)
def _tile(ctx: Context, A: Any, reps: Any) -> Any:
    value = as_array(ctx, numeric(ctx, A))
    times = [static_int(ctx, r, "the counts of np.tile") for r in one_or_items(ctx, reps, "the counts of np.tile")]
    rank = max(value.array.rank, len(times))
    shape = (*(1 for _ in range(rank - value.array.rank)), *value.shape)
    times = [1] * (rank - len(times)) + times
    wide = [x for d, t in zip(shape, times, strict=True) for x in (t, d)]
    made = reshape_to(ctx.g, value, [x for d in shape for x in (1, d)])
    made = broadcast_to(ctx.g, made, wide)
    dims = [total(ctx, (t, d)) for d, t in zip(shape, times, strict=True)]
    return ctx.fresh(reshape_to(ctx.g, made, dims))


@handles(np.repeat)
@method("array", "repeat")
def _repeat(ctx: Context, a: Any, repeats: Any, axis: Any = None) -> Any:
    value = as_array(ctx, numeric(ctx, a))
    if axis is None:
        value = reshape_to(ctx.g, value, (size_of(ctx, value.shape),))
        axis = 0
    at = axis_argument(ctx, axis, value.array.rank)
    size = value.shape[at]
    dtype = dtype_of(ctx, array_of(ctx, repeats))
    if not np.can_cast(dtype, np.int64, "safe"):
        if not isinstance(repeats, Ref):
            # NumPy cuts off what is behind the point of Python's own.
            raise ctx.error("JG236", what="counts of np.repeat that are no integers")
        raise TypeError(f"Cannot cast array data from {dtype!r} to {np.dtype(np.int64)!r} according to the rule 'safe'")
    if is_list(ctx, repeats) or isinstance(repeats, tuple):
        counts = array_of(ctx, repeats)
        known = _known_counts(ctx, repeats)
        if known is None and shape_of(ctx, counts) != (1,):
            return ctx.call(elements.repeated, [ctx.fresh(value), counts, at])
        if known is not None and len(known) != 1:
            size = static_dim(ctx, size, "a size of np.repeat")
            if len(known) != size:
                raise ValueError(f"operands could not be broadcast together with shape ({size},) ({len(known)},)")
            return ctx.fresh(take_positions(ctx, value, np.repeat(np.arange(size), known), at))
        repeats = get_item(ctx, counts, 0) if known is None else known[0]
    n = dim_argument(ctx, repeats)
    lead, rest = value.shape[:at], value.shape[at + 1 :]
    made = reshape_to(ctx.g, value, (*lead, size, 1, *rest))
    made = broadcast_to(ctx.g, made, (*lead, size, n, *rest))
    return ctx.fresh(reshape_to(ctx.g, made, (*lead, size_of(ctx, (size, n)), *rest)))


def _known_counts(ctx: Context, x: Any) -> list[int] | None:
    """Return counts that are known one by one, None if they are run-time numbers."""
    items = content_of(ctx, x.cell) if isinstance(x, ListRef) else x
    return list(items) if isinstance(items, tuple | range) and all(isinstance(v, int) for v in items) else None


def take_positions(ctx: Context, value: Value, positions: Any, axis: int) -> Value:
    """Return elements at positions (known, or an int64 value) along an axis; positions are in range."""
    at = positions if isinstance(positions, Value) else ctx.constant(np.asarray(positions, np.int64))
    order = [axis, *(k for k in range(value.array.rank) if k != axis)]
    made = ctx.g.gather(move_axes(ctx.g, value, order), at)
    depth = at.array.rank
    rest = list(range(depth, made.array.rank))
    return move_axes(ctx.g, made, [*rest[:axis], *range(depth), *rest[axis:]])


# --- order along an axis


@handles(np.flip)
def _flip(ctx: Context, m: Any, axis: Any = None) -> Any:
    x = array_of(ctx, m)
    rank = len(shape_of(ctx, x))
    if axis is None:
        axes: tuple[int, ...] = tuple(range(rank))
    else:
        axes = normal_axes([static_int(ctx, a, "an axis") for a in one_or_items(ctx, axis, "axes")], rank)
    return get_item(ctx, x, tuple(slice(None, None, -1) if k in axes else slice(None) for k in range(rank)))


@handles(np.fliplr)
def _fliplr(ctx: Context, m: Any) -> Any:
    if len(shape_of(ctx, array_of(ctx, m))) < 2:
        raise ValueError("Input must be >= 2-d.")
    return _flip(ctx, m, 1)


@handles(np.flipud)
def _flipud(ctx: Context, m: Any) -> Any:
    return _flip(ctx, m, 0)


@handles(np.rot90)
def _rot90(ctx: Context, m: Any, k: Any = 1, axes: Any = (0, 1)) -> Any:
    turns = static_int(ctx, k, "the number of turns") % 4
    first, second = (static_int(ctx, a, "an axis") for a in items_of(ctx, axes, "axes"))
    x = array_of(ctx, m)
    if turns == 0:
        return x
    if turns == 2:
        return _flip(ctx, _flip(ctx, x, first), second)
    swapped = ctx.call(np.swapaxes, [x if turns == 3 else _flip(ctx, x, second), first, second])
    return _flip(ctx, swapped, second) if turns == 3 else swapped


@handles(np.roll)
def _roll(ctx: Context, a: Any, shift: Any, axis: Any = None) -> Any:
    value = as_array(ctx, numeric(ctx, a))
    shape = value.shape
    if axis is None:
        value = reshape_to(ctx.g, value, (size_of(ctx, shape),))
        for s in one_or_items(ctx, shift, "shifts"):
            value = _roll_axis(ctx, value, s, 0)
        return ctx.fresh(reshape_to(ctx.g, value, shape))
    axes = one_or_items(ctx, axis, "axes")
    shifts = one_or_items(ctx, shift, "shifts")
    shifts = shifts * len(axes) if len(shifts) == 1 else shifts
    axes = axes * len(shifts) if len(axes) == 1 else axes
    for s, k in zip(shifts, axes, strict=True):
        value = _roll_axis(ctx, value, s, axis_argument(ctx, k, value.array.rank))
    return ctx.fresh(value)


def _roll_axis(ctx: Context, value: Value, shift: Any, axis: int) -> Value:
    g = ctx.g
    size = value.shape[axis]
    if isinstance(shift, Scalar) or not isinstance(size, int):
        n = ctx.dim(size)
        moved = g.subtract(iota(ctx, size), as_array(ctx, shift, np.int64))
        return take_positions(ctx, value, g.remainder(moved, n), axis)
    if size == 0 or int(shift) % size == 0:
        return value
    cut = size - int(shift) % size
    head, tail = (_piece(ctx, value, axis, *p) for p in ((cut, size - cut), (0, cut)))
    made: Value = g.concatenate(head, tail, axis=axis)
    return made


def _piece(ctx: Context, value: Value, axis: int, start: Dim, length: Any, step: int = 1) -> Value:
    index = [Span(0, 1, d) for d in value.shape]
    index[axis] = Span(start, step, length)
    return load(ctx.g, value, index)


@handles(np.diff)
def _diff(
    ctx: Context, a: Any, n: Any = 1, axis: Any = -1, prepend: Any = np._NoValue, append: Any = np._NoValue
) -> Any:
    x = array_of(ctx, a)
    at = axis_argument(ctx, axis, len(shape_of(ctx, x)))
    times = static_int(ctx, n, "the order of np.diff")
    if times < 0:
        raise ValueError(f"order must be non-negative but got {times}")
    ends: list[list[Any]] = []
    for end in (prepend, append):
        if end is np._NoValue:
            ends.append([])
            continue
        value = as_array(ctx, numeric(ctx, end))
        if not value.array.rank:
            value = broadcast_to(ctx.g, value, [1 if k == at else d for k, d in enumerate(shape_of(ctx, x))])
        ends.append([ctx.fresh(value)])
    if any(ends):
        x = ctx.fresh(joined(ctx, [*ends[0], x, *ends[1]], at))
    value = as_array(ctx, x)
    for _ in range(times):
        size = value.shape[at]
        if isinstance(size, int) and size == 0:
            break
        less = clipped_span(ctx, (1, None, None), size).length
        high, low = _piece(ctx, value, at, 1, less), _piece(ctx, value, at, 0, less)
        value = ctx.g.emit("not_equal" if value.array.dtype == np.bool_ else "subtract", [high, low]).result
    return ctx.fresh(value)


@handles(np.ediff1d)
def _ediff1d(ctx: Context, ary: Any) -> Any:
    return _diff(ctx, ctx.call(np.ravel, [ary]))


# --- padding


@handles(np.pad)
def _pad(ctx: Context, array: Any, pad_width: Any, mode: Any = "constant", **kwargs: Any) -> Any:
    value = as_array(ctx, numeric(ctx, array))
    widths = np.broadcast_to(np.asarray(_pad_widths(ctx, pad_width, value.array.rank)), (value.array.rank, 2)).tolist()
    if min((w for pair in widths for w in pair), default=0) < 0:
        raise ValueError("index can't contain negative values")
    fill = kwargs.pop("constant_values", 0) if mode == "constant" else 0
    if mode in ("reflect", "symmetric") and kwargs.get("reflect_type") == "even":
        del kwargs["reflect_type"]
    if kwargs:
        raise ctx.error("JG235", name="np.pad", argument=next(iter(kwargs)))
    if mode in ("edge", "reflect", "symmetric", "wrap"):
        for axis, (before, after) in enumerate(widths):
            if before or after:
                at = _outside(ctx, value.shape[axis], axis, before, after, mode)
                value = take_positions(ctx, value, at, axis)
        return ctx.fresh(value)
    if mode != "constant":
        raise ctx.error("JG235", name="np.pad", argument=f"mode={mode!r}")
    fills = _pad_values(ctx, fill, value.array.rank)
    for axis, (before, after) in enumerate(widths):
        parts = [value]
        for count, number, first in ((before, fills[axis][0], True), (after, fills[axis][1], False)):
            if count:
                dims = [count if k == axis else d for k, d in enumerate(value.shape)]
                part = broadcast_to(ctx.g, as_array(ctx, number, value.array.dtype), dims)
                parts = [part, *parts] if first else [*parts, part]
        value = joined_values(ctx, parts, axis)
    return ctx.fresh(value)


def _pad_widths(ctx: Context, given: Any, rank: int) -> Any:
    """Return the widths of `np.pad` as known numbers: one, a pair, pairs, or those of a dict by axis."""
    why = "the widths of np.pad"
    if not isinstance(given, DictRef):
        return known_argument(ctx, given, why)
    pairs = [(0, 0)] * rank
    for axis, width in ctx.heap[given.cell]:
        both = known_argument(ctx, width, why)
        pairs[axis] = both if isinstance(both, tuple) else (both, both)
    return pairs


def _outside(ctx: Context, size: Dim, axis: int, before: int, after: int, mode: str) -> Any:
    """Return the positions in an axis of which the elements stand in the padded axis."""
    if isinstance(size, int):
        return np.pad(np.arange(size), (before, after), mode)  # type: ignore[call-overload]
    g, n = ctx.g, ctx.dim(size)
    if not surely(ctx, 1, (1, size)):
        message = f"can't extend empty axis {axis} using modes other than 'constant' or 'empty'"
        ctx.check(g.greater(n, 0), ValueError, message)
    at = g.subtract(iota(ctx, total(ctx, (1, size), (1, before + after))), before)
    last = g.subtract(n, 1)
    if mode == "edge":
        return g.minimum(g.maximum(at, 0), last)
    if mode == "wrap":
        return g.remainder(at, n)
    # There and back: once round is twice as long, but for the ends that a reflection does not repeat.
    back = g.multiply(n, 2) if mode == "symmetric" else g.maximum(g.multiply(last, 2), 1)
    at = g.remainder(at, back)
    return g.minimum(at, g.subtract(g.subtract(back, 1) if mode == "symmetric" else g.multiply(last, 2), at))


def _pad_values(ctx: Context, fill: Any, rank: int) -> list[tuple[Any, Any]]:
    def pair(x: Any) -> tuple[Any, Any]:
        items = items_of(ctx, x, "constant_values")
        return (items[0], items[0]) if len(items) == 1 else (items[0], items[1])

    if not isinstance(fill, tuple) and not is_list(ctx, fill):
        return [(fill, fill)] * rank
    items = items_of(ctx, fill, "constant_values")
    if any(isinstance(v, tuple) or is_list(ctx, v) for v in items):
        pairs = [pair(v) for v in items]
        return pairs * rank if len(pairs) == 1 else pairs
    return [pair(fill)] * rank


@handles(np.delete)
def _delete(ctx: Context, arr: Any, obj: Any, axis: Any = None) -> Any:
    value = as_array(ctx, numeric(ctx, arr))
    if axis is None:
        value = reshape_to(ctx.g, value, (size_of(ctx, value.shape),))
        axis = 0
    at = axis_argument(ctx, axis, value.array.rank)
    where = known_argument(ctx, obj, "the positions of np.delete")
    size = value.shape[at]
    single = isinstance(where, int | np.integer) and not isinstance(where, bool)
    if not isinstance(size, int) and single and surely(ctx, _above(int(where)), (1, size)):
        first = int(where) if where >= 0 else total(ctx, (1, size), (1, int(where)))
        after = total(ctx, (1, first), (1, 1))
        rest = total(ctx, (1, size), (-1, after))
        parts = [_piece(ctx, value, at, 0, first), _piece(ctx, value, at, after, rest)]
        return ctx.fresh(joined_values(ctx, parts, at))
    size = static_dim(ctx, size, "a size of np.delete")
    left = np.delete(np.arange(size), where)
    return ctx.fresh(take_positions(ctx, value, left, at))


def _above(position: int) -> int:
    """Return the least size of an axis in which there is a position, counted from either end."""
    return position + 1 if position >= 0 else -position
