"""Reading and replacing what a view shows: of an array, or of an item of a list that grows.

In: the value that a cell holds and the links of a view. Out: values. The first link of a view of a list picks an item,
as if the list were an array with one more axis in front.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.memory import Pick, Span, load, store
from jitgrad.graph.ops.shape import move_axes, reshape_to
from jitgrad.graph.types import ArrayType, Dim, ListType
from jitgrad.trace.abstract import Abstract, Box, External, Link, Record, Reshape
from jitgrad.trace.algorithms.tuples import LongTuple
from jitgrad.trace.context import Context
from jitgrad.trace.extents import renamed

__all__ = [
    "all_items",
    "as_sequence",
    "base_shape",
    "held_type",
    "is_same",
    "item_box",
    "keeps_length",
    "length_of",
    "put_back",
    "seen",
]


def held_type(value: Value) -> ArrayType:
    """Return the type of the arrays that a cell's value is storage of: its own, or that of a list's items."""
    return value.type.element if isinstance(value.type, ListType) else value.array


def base_shape(value: Value) -> tuple[Dim, ...]:
    """Return the shape of which the first link of a view shows a part; of a list, as if it had one item."""
    return (1, *value.type.element.shape) if isinstance(value.type, ListType) else value.shape


def length_of(ctx: Context, items: Value) -> Value:
    """Return the length of a list: one value as long as items are only replaced."""
    while items.op is not None and items.op.name == "list_set":
        items = items.op.operands[0]
    found: Value = ctx.shared(("length", items), lambda: ctx.g.list_length(items))
    return found


def all_items(ctx: Context, items: Value) -> Value:
    """Return the items of a list as the rows of an array."""
    made: Value = ctx.g.list_to_array(items, length_of(ctx, items))
    return made


def _keeps(now: Value, before: Value, through: Collection[str] = ()) -> bool:
    """Whether a value is another that branches and loops hand on, or is made of it by some ops."""
    while now is not before and now.op is not None and now.op.name in through:
        now = now.op.operands[0]
    op, k = now.op, now.index
    if now is before or op is None:
        return now is before
    if op.name == "if":
        return all(_keeps(region.yields[k], before, through) for region in op.regions)
    if op.name not in ("for", "while"):
        return False
    body, skip = op.regions[-1], op.name == "for"
    within = _keeps(body.yields[k], body.args[k + skip], through)
    return within and _keeps(op.operands[k + skip], before, through)


def is_same(now: Any, before: Any) -> bool:
    """Whether what a cell holds is what it held before."""
    if now is before:
        return True
    if isinstance(now, tuple) and type(now) is type(before):
        return len(now) == len(before) and all(map(is_same, now, before))
    if isinstance(now, Value) and isinstance(before, Value):
        return _keeps(now, before)
    return type(now) is type(before) and isinstance(now, Abstract | int | float | str) and bool(now == before)


def keeps_length(now: Value, before: Value) -> bool:
    """Whether a list that was made of another surely has as many items."""
    return _keeps(now, before, ("list_set", "list_addto"))


def item_box(position: Dim, element: ArrayType) -> Box:
    """Return the view of a list that shows the item at a position."""
    return Box((Pick(position), *(Span(0, 1, d) for d in element.shape)), tuple(range(element.rank)))


def seen(ctx: Context, value: Value, view: tuple[Link, ...]) -> Value:
    """Return a value seen through a view."""
    for link in view:
        if isinstance(link, Reshape):
            value = reshape_to(ctx.g, value, link.to)
            continue
        if isinstance(value.type, ListType):
            value, link = _item(ctx, value, link)
            if link.is_identity(value.shape):
                continue
        part = move_axes(ctx.g, load(ctx.g, value, link.entries), [k for k in link.order if k is not None])
        value = reshape_to(ctx.g, part, link.shape())
    return value


def _item(ctx: Context, items: Value, link: Box) -> tuple[Value, Box]:
    """Return the item of a list that a link picks, and what the link shows of that."""
    return ctx.g.list_get(items, _position(ctx, link)), replace(link, entries=link.entries[1:])


def _position(ctx: Context, link: Box) -> Value:
    at = link.entries[0][0]
    assert at is not None
    return ctx.dim(at)


def put_back(ctx: Context, base: Value, link: Link, part: Value) -> Value:
    """Return base with what one link sees replaced by part."""
    g = ctx.g
    if isinstance(link, Reshape):
        return reshape_to(g, part, base.shape)
    if isinstance(base.type, ListType):
        item, rest = _item(ctx, base, link)
        made: Value = g.list_set(base, _position(ctx, link), put_back(ctx, item, rest, part))
        return made
    axes = [k for k in link.order if k is not None]
    part = renamed(ctx, part, link.shape())
    kept = tuple(d for d, k in zip(part.shape, link.order, strict=True) if k is not None)
    part = reshape_to(g, part, kept)
    part = move_axes(g, part, [axes.index(k) for k in range(len(axes))])
    if link.is_identity(base.shape):
        return part
    return store(g, base, part, link.entries)


def as_sequence(ctx: Context, x: Any) -> Any:
    """Return x; a list that is read from outside, a range, a tuple of computed length as what has items here."""
    if isinstance(x, External) and isinstance(x.thing, list):
        return ctx.call(list, [x])
    if isinstance(x, Record) and x.cls is LongTuple:
        return ctx.call(getattr, [x, "_items"])
    return ctx.fresh(ctx.constant(np.array(x))) if isinstance(x, range) else x
