"""Keys of arrays: which positions ints, slices, an ellipsis and None name, and the views that they give.

In: the items of a key and the shape of an array. Out: boxes and views. Out-of-range known indices raise IndexError as
NumPy does; run-time ones get a check with NumPy's message. This room reads and writes no elements.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.memory import Entry, Pick, Span
from jitgrad.graph.types import Dim
from jitgrad.trace.abstract import Box, External, IndexRange, ListRef, Record, Ref, Scalar, SliceOf, TaggedRef, compose
from jitgrad.trace.algorithms.containers import Deque
from jitgrad.trace.algorithms.tuples import LongTuple
from jitgrad.trace.arrays import another, cast, dtype_of, is_array, read, shape_of
from jitgrad.trace.context import Context
from jitgrad.trace.extents import clipped_span, surely
from jitgrad.trace.sizes import numeric

__all__ = [
    "basic_box", "box_view", "expand_ellipsis", "index_int", "is_advanced", "is_bool_index", "key_items", "view_of",
]  # fmt: skip


def view_of(ctx: Context, x: Any, link: Any) -> Any:
    """Return the array x seen through one more link."""
    if isinstance(x, TaggedRef):
        choices = [view_of(ctx, r, link) for r in x.choices]
        return TaggedRef(x.tag, tuple(choices))
    if isinstance(link, Box) and link.is_identity(shape_of(ctx, x)):
        return another(ctx, x)
    if isinstance(link, Box) and x.view and isinstance(x.view[-1], Box):
        last = x.view[-1]
        entries: list[Entry | None] = []
        kept = [e for e in link.entries if isinstance(e, Span)]
        if link.order == tuple(range(len(kept))) and len(kept) == len(link.entries):
            entries = list(link.entries)
            made = compose(last, entries, lambda s, a, t: _position(ctx, s, a, t))
            if made is not None:
                return Ref(x.cell, (*x.view[:-1], made))
    return Ref(x.cell, (*x.view, link))


def _position(ctx: Context, span: Span, start: Any, step: Any) -> tuple[Any, Any]:
    """Return where position `start` and stride `step` of a span's own axis lie in the axis it spans."""
    at = _plus(ctx, span.start, _times(ctx, start, span.step))
    return at, None if step is None else _times(ctx, step, span.step)


def _plus(ctx: Context, x: Any, y: Any) -> Any:
    if isinstance(x, int) and isinstance(y, int):
        return x + y
    if isinstance(x, int) and x == 0:
        return y
    if isinstance(y, int) and y == 0:
        return x
    return ctx.g.add(ctx.dim(x), ctx.dim(y))


def _times(ctx: Context, x: Any, y: Any) -> Any:
    if isinstance(x, int) and isinstance(y, int):
        return x * y
    if isinstance(x, int) and x == 1:
        return y
    if isinstance(y, int) and y == 1:
        return x
    return ctx.g.multiply(ctx.dim(x), ctx.dim(y))


# --- reading keys


def key_items(ctx: Context, key: Any) -> list[Any]:
    """Return the items of a key, sequences turned into arrays."""
    items = list(key) if isinstance(key, tuple) else [key]
    if isinstance(key, Record) and key.cls is LongTuple:
        raise ctx.error("JG236", what="the number of axes that a key names")
    return [numeric(ctx, k) if _is_sequence(k) else k for k in items]


def _is_sequence(item: Any) -> bool:
    """Whether an item of a key is what NumPy makes an array of: a list (of outside too), a range, a deque."""
    if isinstance(item, External):
        return isinstance(item.thing, list | deque)
    return isinstance(item, ListRef | tuple | range | IndexRange) or (
        isinstance(item, Record) and item.cls in (Deque, LongTuple)
    )


def is_advanced(ctx: Context, item: Any) -> bool:
    """Whether an item of a key selects by an array or a bool."""
    return isinstance(item, np.ndarray) or (is_array(item) and len(shape_of(ctx, item)) > 0) or is_bool_index(ctx, item)


def is_bool_index(ctx: Context, item: Any) -> bool:
    """Whether an item of a key is a bool or an array of bools."""
    return isinstance(item, bool | np.bool_) or (
        (isinstance(item, Scalar) or is_array(item)) and dtype_of(ctx, item) == np.bool_
    )


def expand_ellipsis(ctx: Context, items: list[Any], rank: int) -> list[Any]:
    """Return the items of a key, an ellipsis replaced by the slices that it stands for, as many as the rank wants."""
    used = 0
    for item in items:
        if item is None or item is Ellipsis:
            continue
        used += len(shape_of(ctx, item)) if is_array(item) and is_bool_index(ctx, item) else 1
    count = sum(item is Ellipsis for item in items)
    if count > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    if used > rank:
        raise IndexError(f"too many indices for array: array is {rank}-dimensional, but {used} were indexed")
    fill = [slice(None)] * (rank - used)
    if not count:
        return items + fill
    at = next(k for k, item in enumerate(items) if item is Ellipsis)
    return items[:at] + fill + items[at + 1 :]


def index_int(ctx: Context, item: Any, size: Dim, axis: int, message: str = "") -> int | Value:
    """Return an integer index of an axis as a position counted from 0, checked; NumPy's message is the default."""
    no_index = (
        "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and integer or boolean arrays are "
        "valid indices"
    )
    if not isinstance(item, Scalar | Ref | TaggedRef):
        if not hasattr(item, "__index__"):
            raise IndexError(no_index)
        at = item.__index__()
        if isinstance(size, int):
            if not -size <= at < size:
                raise IndexError(f"index {at} is out of bounds for axis {axis} with size {size}")
            return at % size
        item = Scalar(ctx.constant(at, np.int64), "int", at, at)
    if dtype_of(ctx, item).kind not in "iu":
        raise IndexError(no_index)
    value = cast(ctx, item.value if isinstance(item, Scalar) else read(ctx, item), np.int64)
    low = item.low if isinstance(item, Scalar) else None
    high = item.high if isinstance(item, Scalar) else None
    g = ctx.g
    n = ctx.dim(size)
    where = value
    if (low is None or low < 0) and surely(ctx, 0, (1, value)):
        low = 0
    if low is None or low < 0:
        where = g.select(g.less(value, ctx.constant(0, np.int64)), g.add(value, n), value)
    proved = isinstance(size, int) and low is not None and high is not None and low >= -size and high < size
    proved = proved or (low is not None and low >= 0 and surely(ctx, 1, (1, size), (-1, value)))
    if not proved:
        inside = g.less(where, n)
        if low is None or low < 0:
            inside = g.logical_and(g.greater_equal(where, ctx.constant(0, np.int64)), inside)
        message = message or f"index {{0}} is out of bounds for axis {axis} with size {{1}}"
        ctx.check(inside, IndexError, message, value, n)
    return where


def _span(ctx: Context, item: Any, size: Dim) -> Span:
    parts: tuple[Any, ...] = (item.start, item.stop, item.step)
    if all(p is None for p in parts):
        return Span(0, 1, size)
    parts = tuple(_slice_bound(ctx, p) for p in parts)
    if isinstance(parts[2], Scalar):
        parts = (*parts[:2], ctx.note_static(parts[2], "the step of a slice"))
    if isinstance(size, int) and not any(isinstance(p, Scalar) for p in parts):
        start, stop, step = slice(*(None if p is None else p.__index__() for p in parts)).indices(size)
        return Span(start, step, len(range(start, stop, step)))
    return clipped_span(ctx, parts, size)


def _slice_bound(ctx: Context, x: Any) -> Any:
    """Return a bound of a slice as None, a known int, or an int Scalar of 64 bits."""
    if isinstance(x, Ref | TaggedRef) and not shape_of(ctx, x):
        x = Scalar(read(ctx, x), "numpy")
    if isinstance(x, Scalar):
        if x.value.array.dtype.kind not in "iu" and x.kind != "bool":
            raise TypeError("slice indices must be integers or None or have an __index__ method")
        return Scalar(cast(ctx, x.value, np.int64), "int", x.low, x.high)
    if x is not None and not hasattr(x, "__index__"):
        raise TypeError("slice indices must be integers or None or have an __index__ method")
    return x


def basic_box(ctx: Context, items: Sequence[Any], shape: tuple[Dim, ...]) -> Box:
    """Return the part of an array of a shape that ints, slices and None name."""
    entries: list[Entry] = []
    order: list[int | None] = []
    kept = 0
    axis = 0
    for item in items:
        if item is None:
            order.append(None)
            continue
        if isinstance(item, slice | SliceOf):
            entries.append(_span(ctx, item, shape[axis]))
            order.append(kept)
            kept += 1
        else:
            entries.append(Pick(index_int(ctx, item, shape[axis], axis)))
        axis += 1
    return Box(tuple(entries), tuple(order))


def box_view(ctx: Context, x: Any, items: Sequence[Any]) -> Any:
    """Return the view of x that basic items name."""
    shape = shape_of(ctx, x)
    box = basic_box(ctx, items, shape)
    if isinstance(x, Ref) and x.view and isinstance(x.view[-1], Box):
        names: list[Entry | None] = []
        entries = iter(box.entries)
        for item in items:
            names.append(None if item is None else next(entries))
        made = compose(x.view[-1], names, lambda s, a, t: _position(ctx, s, a, t))
        if made is not None:
            return Ref(x.cell, (*x.view[:-1], made))
    return view_of(ctx, x, box)
