"""Order in lists that grow: `sorted`, `list.sort`, the best item of a list, heaps.

In: lists, or other iterables, of a length known only at run time. Out: new lists, items. Keys are computed by a loop of
the graph, and items put in order by their positions.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from jitgrad.errors import UnsupportedError, check_text
from jitgrad.graph.ir import Value
from jitgrad.trace.abstract import Cell, Columns, IndexRange, ListRef, Ref
from jitgrad.trace.algorithms import ordering
from jitgrad.trace.arrays import as_array, shape_of
from jitgrad.trace.calls import HANDLERS, handles
from jitgrad.trace.columns import is_grown, leaves_of_list
from jitgrad.trace.context import Context
from jitgrad.trace.grown_lists import part_of_list, rearranged
from jitgrad.trace.sizes import static_int
from jitgrad.trace.subscripts import get_item

__all__ = ["as_grown_list", "require_numbers", "sorted_grown"]


def as_grown_list(ctx: Context, x: Any) -> ListRef | None:
    """Return an iterable of a length known only at run time as a list, None for others."""
    if is_grown(ctx, x):
        found: ListRef = x
        return found
    sizes = shape_of(ctx, x) if isinstance(x, Ref) else ()
    unknown = isinstance(x, IndexRange) or (len(sizes) == 1 and isinstance(sizes[0], Value))
    made = ctx.call(ordering.listed, [x]) if unknown else None
    return made if is_grown(ctx, made) else None


def require_numbers(ctx: Context, keys: Value) -> None:
    """Refuse the call if a key is NaN: of what is less than nothing Python's order hangs on how it sorts."""
    if keys.array.dtype.kind == "f":
        g = ctx.g
        unordered = g.reduce_or(g.not_equal(keys, keys), axes=tuple(range(keys.array.rank)))
        refused = ctx.error("JG236", what="the place of NaN in what sorted() puts in order")
        ctx.check(g.logical_not(unordered), UnsupportedError, check_text(refused))


def sorted_grown(ctx: Context, x: ListRef, key: Any, backwards: bool) -> ListRef:
    """Return a new list of the items of a list that grows, in order.

    Raises
    ------
    UnsupportedError
        JG236 if what is compared are no numbers, or tuples of numbers; when it is called, if one is NaN.
    """
    keys = x if key is None else ctx.call(ordering.keys_of, [x, key])
    if backwards:
        # Of equal keys the first stays the first.
        x, keys = (part_of_list(ctx, v.cell, slice(None, None, -1)) for v in (x, keys))
    last, *others = reversed(_compared(ctx, keys))
    order = ctx.g.argsort(last, axis=0, stable=True)
    for column in others:
        order = ctx.g.gather(order, ctx.g.argsort(ctx.g.gather(column, order), axis=0, stable=True))
    made = rearranged(ctx, x.cell, order)
    return part_of_list(ctx, made.cell, slice(None, None, -1)) if backwards else made


def _compared(ctx: Context, keys: Any) -> list[Value]:
    """Return the numbers that decide an order, those that decide first in front."""
    if not is_grown(ctx, keys) or not _of_tuples(ctx, keys.cell):
        raise ctx.error("JG236", what="the keys of sorted()")
    found = []
    for leaf in leaves_of_list(ctx, keys):
        packed = ctx.list_kinds.get(leaf.cell) == "number"
        value = as_array(ctx, leaf, np.float64 if packed else None)
        if value.array.rank > 1 or value.array.dtype.kind == "c":
            raise ctx.error("JG236", what="the keys of sorted()")
        require_numbers(ctx, value)
        found.append(value)
    return found


def _of_tuples(ctx: Context, cell: Cell) -> bool:
    held = ctx.heap[cell]
    if not isinstance(held, Columns):
        return True
    return issubclass(held.cls, tuple | list) and held.rows is None and all(_of_tuples(ctx, x.cell) for x in held.lists)


# --- heaps

_HEAPS: dict[Callable[..., Any], Callable[..., Any]] = {
    heapq.heapify: ordering.heapify,
    heapq.heappop: ordering.heappop,
    heapq.heappush: ordering.heappush,
    heapq.heappushpop: ordering.heappushpop,
    heapq.heapreplace: ordering.heapreplace,
}


def _heap(program: Callable[..., Any], ctx: Context, heap: Any, *item: Any) -> Any:
    return ctx.call(program, [heap, *item])


for _function, _program in _HEAPS.items():
    HANDLERS[_function] = partial(_heap, _program)


def _first_of(ctx: Context, n: Any, iterable: Any, key: Any, reverse: bool) -> Any:
    count = max(static_int(ctx, n, "how many items are wanted"), 0)
    made = ctx.call(sorted, [iterable], {"key": key, "reverse": reverse})
    return get_item(ctx, made, slice(count))


@handles(heapq.nsmallest)
def _nsmallest(ctx: Context, n: Any, iterable: Any, key: Any = None) -> Any:
    return _first_of(ctx, n, iterable, key, False)


@handles(heapq.nlargest)
def _nlargest(ctx: Context, n: Any, iterable: Any, key: Any = None) -> Any:
    return _first_of(ctx, n, iterable, key, True)
