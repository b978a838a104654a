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
from jitgrad.trace.abstract import Scalar
from jitgrad.trace.arrays import as_array, shape_of
from jitgrad.trace.calls import handles, method
from jitgrad.trace.context import Context
from jitgrad.trace.extents import clipped_span
from jitgrad.trace.numpy_create import iota
from jitgrad.trace.numpy_join import joined
from jitgrad.trace.numpy_shape import array_of
from jitgrad.trace.sizes import (
    axis_argument,
    items_of,
    known_argument,
    normal_axes,
    numeric,
    size_of,
    static_dim,
    static_int,
    static_shape,
)
from jitgrad.trace.subscripts import get_item

__all__ = ["take_positions"]

# --- repeating


@handles(np.tile)
def _tile(ctx: Context, A: Any, reps: Any) -> Any:
    value = as_array(ctx, numeric(ctx, A))
    single = not isinstance(reps, tuple) and not hasattr(reps, "cell")
    times = [
        static_int(ctx, r, "the counts of np.tile")
        for r in ((reps,) if single else items_of(ctx, reps, "the counts of np.tile"))
    ]
    rank = max(value.array.rank, len(times))
    shape = (*(1 for _ in range(rank - value.array.rank)), *value.shape)
    times = [1] * (rank - len(times)) + times
    wide = [x for d, t in zip(shape, times, strict=True) for x in (t, d)]
    made = reshape_to(ctx.g, value, [x for d in shape for x in (1, d)])
    made = broadcast_to(ctx.g, made, wide)
    dims: list[Dim] = [
        d if t == 1 else t * static_dim(ctx, d, "a size of np.tile") for d, t in zip(shape, times, strict=True)
    ]
    return ctx.fresh(reshape_to(ctx.g, made, dims))


@handles(np.repeat)
@method("array", "repeat")
def _repeat(ctx: Context, a: Any, repeats: Any, axis: Any = None) -> Any:
    value = as_array(ctx, numeric(ctx, a))
    if axis is None:
        value = reshape_to(ctx.g, value, (size_of(ctx, value.shape),))
        axis = 0
    at = axis_argument(ctx, axis, value.array.rank)
    size = static_dim(ctx, value.shape[at], "a size of np.repeat")
    counts = known_argument(ctx, repeats, "the counts of np.repeat")
    if isinstance(counts, int | np.integer) or len(counts) == 1:
        n = int(counts if isinstance(counts, int | np.integer) else counts[0])
        lead, rest = value.shape[:at], value.shape[at + 1 :]
        made = reshape_to(ctx.g, value, (*lead, size, 1, *rest))
        made = broadcast_to(ctx.g, made, (*lead, size, n, *rest))
        return ctx.fresh(reshape_to(ctx.g, made, (*lead, size * n, *rest)))
    if len(counts) != size:
        raise ValueError(f"operands could not be broadcast together with shape ({size},) ({len(counts)},)")
    return ctx.fresh(take_positions(ctx, value, np.repeat(np.arange(size), counts), at))


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
        axes = normal_axes(
            [static_int(ctx, a, "an axis") for a in (axis if isinstance(axis, tuple) else (axis,))], rank
        )
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
        made = _roll_axis(ctx, value, shift, 0)
        return ctx.fresh(reshape_to(ctx.g, made, shape))
    axes = axis if isinstance(axis, tuple) else (axis,)
    shifts = shift if isinstance(shift, tuple) else (shift,) * len(axes)
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


def _piece(ctx: Context, value: Value, axis: int, start: int, length: Any, step: int = 1) -> Value:
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
    shape = static_shape(ctx, value.shape, "a size of np.pad")
    widths = np.broadcast_to(
        np.asarray(known_argument(ctx, pad_width, "the widths of np.pad")), (value.array.rank, 2)
    ).tolist()
    if mode in ("edge", "reflect", "symmetric", "wrap"):
        for axis, (before, after) in enumerate(widths):
            if before or after:
                positions = np.pad(np.arange(shape[axis]), (before, after), mode, **kwargs)
                value = take_positions(ctx, value, positions, axis)
        return ctx.fresh(value)
    if mode != "constant":
        raise ctx.error("JG235", name="np.pad", argument=f"mode={mode!r}")
    fill = kwargs.pop("constant_values", 0)
    if kwargs:
        raise ctx.error("JG235", name="np.pad", argument=next(iter(kwargs)))
    fills = _pad_values(ctx, fill, value.array.rank)
    for axis, (before, after) in enumerate(widths):
        parts = [value]
        for count, number, first in ((before, fills[axis][0], True), (after, fills[axis][1], False)):
            if count:
                dims = [count if k == axis else d for k, d in enumerate(value.shape)]
                part = broadcast_to(ctx.g, as_array(ctx, number, value.array.dtype), dims)
                parts = [part, *parts] if first else [*parts, part]
        if len(parts) > 1:
            value = ctx.g.concatenate(*parts, axis=axis)
    return ctx.fresh(value)


def _pad_values(ctx: Context, fill: Any, rank: int) -> list[tuple[Any, Any]]:
    def pair(x: Any) -> tuple[Any, Any]:
        items = items_of(ctx, x, "constant_values")
        return (items[0], items[0]) if len(items) == 1 else (items[0], items[1])

    if not isinstance(fill, tuple) and not hasattr(fill, "cell"):
        return [(fill, fill)] * rank
    items = items_of(ctx, fill, "constant_values")
    if any(isinstance(v, tuple) or hasattr(v, "cell") for v in items):
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
    size = static_dim(ctx, value.shape[at], "a size of np.delete")
    left = np.delete(np.arange(size), known_argument(ctx, obj, "the positions of np.delete"))
    return ctx.fresh(take_positions(ctx, value, left, at))
