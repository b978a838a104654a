"""Single items of lists that grow: appended, taken, replaced, taken out.

In: lists whose items are a value of the graph, or were taken apart into such lists. Out: items; what the cells hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.memory import Span, load
from jitgrad.graph.ops.shape import join
from jitgrad.graph.types import Dim
from jitgrad.trace import places
from jitgrad.trace.abstract import Cell, Columns, ListRef
from jitgrad.trace.alternatives import as_item, item_form, packed_item, wants_packing
from jitgrad.trace.arrays import as_array, describe, kind
from jitgrad.trace.columns import assembled, content_of, grown_length, hold_item, parts_for
from jitgrad.trace.context import PACKED, Context
from jitgrad.trace.extents import total
from jitgrad.trace.keys import index_int
from jitgrad.trace.places import has_places, move_in, replace_item, require_alone
from jitgrad.trace.pools import at_home

__all__ = ["append_item", "insert_first", "item_in_range", "item_of_list", "set_item_of_list", "take_out"]


def append_item(ctx: Context, cell: Cell, item: Any) -> None:
    """Append to a list: of known length, or one that grows."""
    item = at_home(ctx, item)
    items = content_of(ctx, cell)
    if isinstance(items, tuple):
        ctx.conflict(cell)
        ctx.heap[cell] = (*items, item)
    elif isinstance(items, Columns):
        parts = _parts(ctx, cell, items, item, "appending {} to a list of {}".format)
        ctx.conflict(cell)
        for x, part in zip(items.lists, parts, strict=True):
            append_item(ctx, x.cell, part)
    else:
        _push(ctx, cell, items, item)


def _parts(ctx: Context, cell: Cell, like: Columns, item: Any, doing: Callable[[str, str], str]) -> tuple[Any, ...]:
    """Return the parts of a thing that becomes an item of a list that was taken apart.

    Raises
    ------
    UnsupportedError
        JG221 if it is of another structure.
    """
    found = parts_for(ctx, like, item)
    if found is None:
        name = like.cls.__name__
        raise ctx.error(
            "JG221", what=doing(describe(item), f"{name}s" + f" of {len(like.names)} parts" * (not like.rows))
        )
    hold_item(ctx, cell, item)
    return found


def _push(ctx: Context, cell: Cell, items: Value, item: Any) -> None:
    element = items.type.element  # type: ignore[union-attr]
    of = ctx.list_kinds.get(cell, "array")
    if of in PACKED or of == "object":
        ctx.conflict(cell)
        ctx.heap[cell] = ctx.g.list_push(items, packed_item(ctx, cell, item))
        return
    again = wants_packing(ctx, cell, (of, element), item) if item_form(ctx, item) != (of, element) else None
    if again is not None:
        raise again
    made = as_array(ctx, item)
    if made.type != element or ("array" in (of, kind(item)) and kind(item) != of):
        if kind(item) == of == "array" and made.array.dtype == element.dtype and made.array.rank == element.rank:
            raise ctx.error("JG221", what="appending an array of another size to a list of arrays, which have one size")
        raise ctx.error("JG221", what=f"appending {made.type} ({kind(item)}) to a list of {element} ({of})")
    if kind(item) != of:
        # Python's and NumPy's numbers together: one array can be made of them, but no item can be taken.
        ctx.list_kinds[cell] = "mixed"
    if has_places(cell):
        move_in(ctx, cell, item)
        return
    ctx.conflict(cell)
    ctx.hold(cell, item)
    ctx.heap[cell] = ctx.g.list_push(items, made)


def _place(ctx: Context, cell: Cell, key: Any, message: str) -> Any:
    """Return a position in a list that was taken apart, counted from 0 and checked."""
    return ctx.dim(index_int(ctx, key, grown_length(ctx, ListRef(cell)), 0, message))


def item_of_list(ctx: Context, cell: Cell, key: Any) -> Any:
    """Return an item of a list that grows, of which the key is no slice.

    Raises
    ------
    IndexError
        As a check.
    """
    if isinstance(ctx.heap[cell], Columns):
        return item_in_range(ctx, cell, _place(ctx, cell, key, "list index out of range"))
    return places.item_of_list(ctx, cell, key)


def item_in_range(ctx: Context, cell: Cell, position: Dim) -> Any:
    """Return an item of a list that grows, at a position counted from 0 that is in range."""
    items = ctx.heap[cell]
    if isinstance(items, Columns):
        return assembled(ctx, cell, items, [item_in_range(ctx, x.cell, position) for x in items.lists])
    if isinstance(items, tuple):
        raise ctx.error("JG221", what="an item of a list of tuples some parts of which are known one by one")
    return places.item_in_range(ctx, cell, position)


def set_item_of_list(ctx: Context, cell: Cell, key: Any, v: Any) -> None:
    """Replace an item of a list that grows, of which the key is no slice."""
    v = at_home(ctx, v)
    items = ctx.heap[cell]
    if not isinstance(items, Columns):
        _replace(ctx, cell, items, key, v)
        return
    parts = _parts(ctx, cell, items, v, "a store of {} into a list of {}".format)
    at = _place(ctx, cell, key, "list assignment index out of range")
    ctx.conflict(cell)
    for x, part in zip(items.lists, parts, strict=True):
        set_item_of_list(ctx, x.cell, ctx.python_scalar(at, "int", 0), part)


def _replace(ctx: Context, cell: Cell, items: Value, key: Any, v: Any) -> None:
    name, element = ctx.list_kinds.get(cell, "array"), items.type.element  # type: ignore[union-attr]
    made, form = as_item(ctx, v, name, element), item_form(ctx, v)
    again = wants_packing(ctx, cell, (name, element), v) if name not in PACKED and form != (name, element) else None
    if again is not None:
        raise again
    alike = made is not None and made.type == element and form is not None
    if name not in PACKED and alike and form is not None and form[0] != name:
        # Python's and NumPy's numbers together: one array can be made of them, but no item can be taken.
        alike = "array" not in (name, form[0]) and form[1] == element
        ctx.list_kinds[cell] = "mixed" if alike else name
    if not alike:
        raise ctx.error("JG221", what=f"a store of {describe(v)} into a list of {element} ({name})")
    if has_places(cell):
        replace_item(ctx, cell, key, v)
        return
    at = index_int(ctx, key, ctx.g.list_length(items), 0, "list assignment index out of range")
    ctx.conflict(cell)
    ctx.hold(cell, v)
    ctx.heap[cell] = ctx.g.list_set(items, ctx.dim(at), made)


def _rows(ctx: Context, array: Value, start: Dim, count: Dim) -> Value:
    """Return consecutive rows of an array."""
    return load(ctx.g, array, [Span(start, 1, count), *(Span(0, 1, d) for d in array.shape[1:])])


def insert_first(ctx: Context, cell: Cell, item: Any) -> None:
    """Insert an item in front of a list that grows."""
    item = at_home(ctx, item)
    g, items = ctx.g, ctx.heap[cell]
    if isinstance(items, Columns):
        parts = _parts(ctx, cell, items, item, "inserting {} into a list of {}".format)
        ctx.conflict(cell)
        for x, part in zip(items.lists, parts, strict=True):
            insert_first(ctx, x.cell, part)
        return
    # Pushed behind, which checks it, and moved to the front.
    append_item(ctx, cell, item)
    if has_places(cell):
        require_alone(ctx, cell)
    rows = g.list_to_array(ctx.heap[cell], g.add(g.list_length(items), 1))
    rest = g.list_length(items)
    moved = [_rows(ctx, rows, rest, 1), _rows(ctx, rows, 0, rest)]
    ctx.heap[cell] = g.list_from_array(as_array(ctx, ctx.call(np.concatenate, [tuple(map(ctx.fresh, moved))])))


def take_out(ctx: Context, x: ListRef, index: Any, empty: str, outside: str) -> Any:
    """Take an item out of a list that grows and return it; the texts are those of Python's IndexErrors."""
    g = ctx.g
    count = grown_length(ctx, x)
    ctx.check(g.greater(count, 0), IndexError, empty)
    last = type(index) is int and index == -1
    at = g.subtract(count, 1) if last else ctx.dim(index_int(ctx, index, count, 0, outside))
    return _taken(ctx, x.cell, at, last, type(index) is int and index == 0)


def _taken(ctx: Context, cell: Cell, at: Value, last: bool, first: bool) -> Any:
    g, items = ctx.g, ctx.heap[cell]
    if isinstance(items, Columns):
        ctx.conflict(cell)
        return assembled(ctx, cell, items, [_taken(ctx, x.cell, at, last, first) for x in items.lists])
    if isinstance(items, tuple):
        raise ctx.error("JG221", what="an item of a list of tuples some parts of which are known one by one")
    taken = g.list_get(items, at)
    if has_places(cell):
        require_alone(ctx, cell)
        item: Any = ctx.fresh(taken)
    else:
        item = ctx.list_item(cell, taken)
    ctx.conflict(cell)
    if last:
        ctx.heap[cell] = g.list_pop(items)
        return item
    count = g.list_length(items)
    rest = g.subtract(count, 1)
    rows = g.list_to_array(items, count)
    if first:
        ctx.heap[cell] = g.list_from_array(_rows(ctx, rows, 1, rest))
        return item
    behind = total(ctx, (1, rest), (-1, at))
    parts = [_rows(ctx, rows, 0, at), _rows(ctx, rows, total(ctx, (1, at), (1, 1)), behind)]
    ctx.heap[cell] = g.list_from_array(join(g, parts, 0, rest))
    return item
