"""Lists of tuples, or of other things of one structure, held as a list for each part: what grows is numbers and arrays.

In: lists and their items. Out: the same lists taken apart, items put together again. To take a list apart computes
nothing, so that it is done wherever it is found that the length depends on data. A list, dict or object in a list that
was taken apart is a copy of what the program has: nobody may store into either while the other is alive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.memory import Pick, load
from jitgrad.graph.types import ArrayType, ListType
from jitgrad.trace.abstract import Box, Cell, Columns, DictRef, ListRef, Poison, Record, Ref, Scalar, TaggedRef
from jitgrad.trace.alternatives import as_item, is_any_number, joined_form
from jitgrad.trace.arrays import array_type, read
from jitgrad.trace.context import PACKED, Context
from jitgrad.trace.storage import held_type, item_box, length_of

__all__ = [
    "ROWS", "Pooled", "Structure", "assembled", "column_cells", "content_of", "grown_length", "hold_item",
    "is_grown", "leaves_of_list", "made_of", "parts_for", "pool_item", "pool_position", "split", "structure_of",
]  # fmt: skip


class Pooled:
    """What items of a list are that lie in a pool (`pools.py`), which is the name of their one part: a position."""


# What items are and the names of their parts.
Structure: TypeAlias = tuple[type, tuple[Any, ...]]
# The parts of lists and arrays of any length.
ROWS = ("first", "behind")


def _parts(ctx: Context, x: Any) -> tuple[Structure, tuple[Any, ...]] | None:
    """Return the structure of a thing that can be taken apart and its parts, None for others."""
    if isinstance(x, tuple):
        return ((type(x), tuple(range(len(x)))), tuple(x)) if x else None
    if isinstance(x, Ref) and (pool := pool_item(x)) is not None:
        return (Pooled, (pool,)), (pool_position(x),)
    held = ctx.heap.get(x.cell) if isinstance(x, ListRef | DictRef | Record) else None
    if not isinstance(held, tuple) or not held:
        return None
    if isinstance(x, ListRef):
        return (list, tuple(range(len(held)))), held
    names, parts = zip(*held, strict=True)
    return (x.cls if isinstance(x, Record) else dict, names), parts


def pool_item(x: Any) -> Cell | None:
    """Return the pool of which x is an array, None for others."""
    if not isinstance(x, Ref) or x.cell.pool is None or len(x.view) != 1 or not isinstance(box := x.view[0], Box):
        return None
    return x.cell if box == item_box(box.entries[0][0], x.cell.pool) else None  # type: ignore[arg-type]


def pool_position(x: Ref) -> Any:
    """Return where in its pool an array lies, as an int of the program."""
    at: Any = x.view[0].entries[0][0]  # type: ignore[union-attr]
    return Scalar(at, "int", 0) if isinstance(at, Value) else at


def structure_of(ctx: Context, held: Any) -> Structure | None:
    """Return the structure of the items of a list, given what it holds; None if they have not one, or no parts."""
    if isinstance(held, Columns):
        return held.cls, held.names
    found = {None if (own := _parts(ctx, x)) is None else own[0] for x in held} if isinstance(held, tuple) else set()
    if len(found) == 1 and None not in found:
        return found.pop()
    lists = bool(found) and all(isinstance(x, ListRef) and _is_row(ctx.heap.get(x.cell)) for x in held)
    return (list, ROWS) if lists and any(ctx.heap[x.cell] != () for x in held) else None


def _is_row(held: Any) -> bool:
    """Whether what a list holds are numbers or known things, as many as there are."""
    if isinstance(held, Value):
        return isinstance(held.type, ListType) and held.type.element.rank == 0
    return isinstance(held, tuple) and all(is_any_number(v) for v in held)


def split(ctx: Context, cell: Cell, structure: Structure) -> Columns:
    """Take a list apart whose items have a structure, or that has no items."""
    held = ctx.heap[cell]
    if isinstance(held, Columns):
        return held
    cls, names = structure
    cells = column_cells(cell, len(names) + (names == ROWS))
    lists, others = cells[: len(names)], cells[len(names) :]
    ctx.heap.update(dict.fromkeys(cells, ()))
    made = Columns(cls, names, tuple(map(ListRef, lists)), ListRef(others[0]) if others else None)
    for item in held:
        parts = parts_for(ctx, made, item)
        if parts is None:
            raise ctx.error("JG221", what="a list of lists of different things, of which data decide how many,")
        for x, part in zip(made.lists, parts, strict=True):
            ctx.heap[x.cell] = (*ctx.heap[x.cell], part)
        hold_item(ctx, cell, item)
    ctx.heap[cell] = made
    return made


def column_cells(cell: Cell, count: int) -> list[Cell]:
    """Return the cells of the parts of a list: the same ones wherever it is taken apart."""
    known = cell.columns = [] if cell.columns is None else cell.columns
    for k in range(len(known), count):
        made = Cell(cell.name)
        made.site = None if cell.site is None else (cell.site, k)
        made.columns = []
        known.append(made)
    return known[:count]


def made_of(ctx: Context, like: Columns, lists: Sequence[ListRef], rows: ListRef | None = None) -> ListRef:
    """Return a new list of items like those of another, given new lists of their parts."""
    made = ListRef(Cell("list"))
    made.cell.columns = [x.cell for x in lists] + ([] if rows is None else [rows.cell])
    ctx.heap[made.cell] = Columns(like.cls, like.names, tuple(lists), rows)
    return made


def content_of(ctx: Context, cell: Cell) -> Any:
    """Return what a list holds: its items if they are known one by one, else a value, or columns."""
    held = ctx.heap[cell]
    if isinstance(held, Poison):
        ctx.refuse(held, cell.name or "a list")
    if not isinstance(held, Columns):
        return held
    inner = [content_of(ctx, x.cell) for x in held.lists]
    if not all(isinstance(v, tuple) for v in inner):
        poison = next((v for v in inner if isinstance(v, Poison)), None)
        if poison is not None:
            ctx.refuse(poison, cell.name or "a list")
        return held
    ctx.heap[cell] = tuple(assembled(ctx, cell, held, list(parts)) for parts in zip(*inner, strict=True))
    return ctx.heap[cell]


def is_grown(ctx: Context, x: Any) -> bool:
    """Whether x is a list whose items are not known one by one."""
    return isinstance(x, ListRef) and not isinstance(content_of(ctx, x.cell), tuple)


def leaves_of_list(ctx: Context, x: ListRef) -> list[ListRef]:
    """Return the lists of numbers and arrays of which a list is made: itself, if it is one."""
    held = ctx.heap[x.cell]
    return [leaf for part in held.lists for leaf in leaves_of_list(ctx, part)] if isinstance(held, Columns) else [x]


def grown_length(ctx: Context, x: ListRef) -> Value:
    """Return the length of a list that grows."""
    return length_of(ctx, ctx.heap[leaves_of_list(ctx, x)[0].cell])


# --- items


def assembled(ctx: Context, cell: Cell, like: Columns, parts: Sequence[Any]) -> Any:
    """Return the item of a list that some parts are."""
    if issubclass(like.cls, tuple):
        return tuple.__new__(like.cls, parts)
    if like.cls is Pooled:
        ((pool,), (at,)) = like.names, parts
        return Ref(pool, (item_box(at.value if isinstance(at, Scalar) else at, held_type(ctx.heap[pool])),))
    if like.rows is not None:
        row = _row(ctx, like, *parts)
        ctx.take(cell, row.cell)
        return row
    made: ListRef | DictRef | Record
    if like.cls is list:
        made = ListRef(Cell("list"))
        ctx.heap[made.cell] = tuple(parts)
    else:
        made = DictRef(Cell("dict")) if like.cls is dict else Record(Cell(like.cls.__name__), like.cls)
        ctx.heap[made.cell] = tuple(zip(like.names, parts, strict=True))
    ctx.take(cell, made.cell)
    return made


def parts_for(ctx: Context, like: Columns, item: Any) -> tuple[Any, ...] | None:
    """Return the parts of a thing that becomes an item of a list that was taken apart; None if it is of another kind.

    Of a list or array of any length, those are its bounds in `rows`, behind which its items are put.
    """
    if like.rows is None:
        own = _parts(ctx, item)
        return None if own is None or own[0] != (like.cls, like.names) else own[1]
    if like.cls is list and isinstance(item, ListRef) and _is_row(ctx.heap[item.cell]):
        return _put_behind(ctx, like.rows.cell, ctx.heap[item.cell], ctx.list_kinds.get(item.cell, ""))
    if like.cls is np.ndarray and isinstance(item, Ref | TaggedRef) and array_type(ctx, item).rank == 1:
        return _put_behind(ctx, like.rows.cell, read(ctx, item), "numpy")
    return None


def _put_behind(ctx: Context, rows: Cell, items: Any, kind: str) -> tuple[Any, ...] | None:
    """Put the items of a list or array behind those of others; return their bounds, None if they are of other types."""
    g, held = ctx.g, ctx.heap[rows]
    if isinstance(held, tuple) and isinstance(items, tuple):
        ctx.heap[rows] = (*held, *items)
        return len(held), len(held) + len(items)
    known = [v for part in (held, items) if isinstance(part, tuple) for v in part]
    forms = [(ctx.list_kinds[rows], held.type.element)] if isinstance(held, Value) else []  # type: ignore[union-attr]
    if isinstance(items, Value):
        forms.append((kind, items.type.element if isinstance(items.type, ListType) else ArrayType(items.array.dtype)))
    form = joined_form(ctx, known, *forms)
    if form is None or form[0] in PACKED or form[0] == "mixed":
        return None
    ctx.list_kinds[rows] = form[0]
    made = held if isinstance(held, Value) else _pushed(ctx, g.list_empty(type=ListType(form[1])), held, form)
    first = g.list_length(made)
    ctx.heap[rows] = made = _pushed(ctx, made, items, form)
    return Scalar(first, "int", 0), Scalar(g.list_length(made), "int", 0)


def _pushed(ctx: Context, made: Value, items: Any, form: tuple[str, ArrayType]) -> Value:
    """Return a list with items behind: some known one by one, those of a list, those of an array."""
    g = ctx.g
    if isinstance(items, tuple):
        for item in items:
            made = g.list_push(made, as_item(ctx, item, *form))
        return made
    grown = isinstance(items.type, ListType)
    count = g.list_length(items) if grown else ctx.dim(items.shape[0])
    with g.region([count.type, made.type]) as body:
        k, list_ = body.args
        body.yields = [g.list_push(list_, g.list_get(items, k) if grown else load(g, items, [Pick(k)]))]
    found: Value = g.emit("for", [count, made], {}, [body]).result
    return found


def _between(ctx: Context, items: Value, first: Value, behind: Value) -> Value:
    """Return the part of a list between two bounds, one item after another: a slice of an array would take them all."""
    g = ctx.g
    with g.region([first.type, items.type]) as body:
        k, made = body.args
        body.yields = [g.list_push(made, g.list_get(items, g.add(first, k)))]
    found: Value = g.emit("for", [g.subtract(behind, first), g.list_empty(type=items.type)], {}, [body]).result
    return found


def _row(ctx: Context, like: Columns, first: Any, behind: Any) -> Any:
    """Return the list or array between two bounds."""
    assert like.rows is not None
    held = ctx.heap[like.rows.cell]
    if isinstance(held, tuple) and isinstance(first, int) and isinstance(behind, int):
        held = held[first:behind]
    elif isinstance(held, tuple) and held:
        form = joined_form(ctx, held)
        if form is None:
            raise ctx.error("JG221", what="an item of a list of lists of different things")
        ctx.list_kinds[like.rows.cell] = form[0]
        held = _pushed(ctx, ctx.g.list_empty(type=ListType(form[1])), held, form)
    if isinstance(held, Value):
        held = _between(ctx, held, *(ctx.dim(b) if isinstance(b, int) else b.value for b in (first, behind)))
        if like.cls is np.ndarray:
            return ctx.fresh(ctx.g.list_to_array(held, ctx.g.list_length(held)))
    made = ListRef(Cell("list"))
    ctx.heap[made.cell], ctx.list_kinds[made.cell] = held, ctx.list_kinds.get(like.rows.cell, "")
    return made


def hold_item(ctx: Context, cell: Cell, item: Any) -> None:
    """Note that a list that was taken apart has a copy of a thing that it holds."""
    if not isinstance(item, tuple) and pool_item(item) is None:
        ctx.hold(cell, item)
