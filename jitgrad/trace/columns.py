"""Lists of tuples, or of other things of one structure, held as a list for each part: what grows is numbers and arrays.

In: lists and their items. Out: the same lists taken apart, items put together again. To take a list apart computes
nothing, so that it is done wherever it is found that the length depends on data. A list, dict or object in a list that
was taken apart is a copy of what the program has: nobody may store into either while the other is alive.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from jitgrad.graph.ir import Value
from jitgrad.trace.abstract import Cell, Columns, DictRef, ListRef, Poison, Record
from jitgrad.trace.arrays import describe
from jitgrad.trace.context import Context
from jitgrad.trace.storage import length_of

__all__ = [
    "Structure", "assembled", "column_cells", "content_of", "grown_length", "is_grown", "leaves_of_list",
    "made_of", "parts_for", "split", "structure_of",
]  # fmt: skip

# What items are and the names of their parts.
Structure: TypeAlias = tuple[type, tuple[Any, ...]]


def _parts(ctx: Context, x: Any) -> tuple[Structure, tuple[Any, ...]] | None:
    """Return the structure of a thing that can be taken apart and its parts, None for others."""
    if isinstance(x, tuple):
        return ((type(x), tuple(range(len(x)))), tuple(x)) if x else None
    held = ctx.heap.get(x.cell) if isinstance(x, ListRef | DictRef | Record) else None
    if not isinstance(held, tuple) or not held:
        return None
    if isinstance(x, ListRef):
        return (list, tuple(range(len(held)))), held
    names, parts = zip(*held, strict=True)
    return (x.cls if isinstance(x, Record) else dict, names), parts


def structure_of(ctx: Context, held: Any) -> Structure | None:
    """Return the structure of the items of a list, given what it holds; None if they have not one, or no parts."""
    if isinstance(held, Columns):
        return held.cls, held.names
    found = {None if (own := _parts(ctx, x)) is None else own[0] for x in held} if isinstance(held, tuple) else set()
    return found.pop() if len(found) == 1 else None


def split(ctx: Context, cell: Cell, structure: Structure) -> Columns:
    """Take a list apart whose items have a structure, or that has no items."""
    held = ctx.heap[cell]
    if isinstance(held, Columns):
        return held
    cls, names = structure
    rows = []
    for item in held:
        own = _parts(ctx, item)
        assert own is not None
        rows.append(own[1])
        _hold(ctx, cell, item)
    made = Columns(cls, names, tuple(ListRef(c) for c in column_cells(cell, len(names))))
    for k, x in enumerate(made.lists):
        ctx.heap[x.cell] = tuple(row[k] for row in rows)
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


def made_of(ctx: Context, like: Columns, lists: Sequence[ListRef]) -> ListRef:
    """Return a new list of items like those of another, given new lists of their parts."""
    made = ListRef(Cell("list"))
    made.cell.columns = [x.cell for x in lists]
    ctx.heap[made.cell] = Columns(like.cls, like.names, tuple(lists))
    return made


def content_of(ctx: Context, cell: Cell) -> Any:
    """Return what a list holds: its items if they are known one by one, else a value, or columns."""
    held = ctx.heap[cell]
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
    made: ListRef | DictRef | Record
    if like.cls is list:
        made = ListRef(Cell("list"))
        ctx.heap[made.cell] = tuple(parts)
    else:
        made = DictRef(Cell("dict")) if like.cls is dict else Record(Cell(like.cls.__name__), like.cls)
        ctx.heap[made.cell] = tuple(zip(like.names, parts, strict=True))
    ctx.take(cell, made.cell)
    return made


def parts_for(ctx: Context, cell: Cell, item: Any, doing: Callable[[str, str], str]) -> tuple[Any, ...]:
    """Return the parts of a thing that becomes an item of a list that was taken apart.

    Raises
    ------
    UnsupportedError
        JG221 if it is of another structure.
    """
    like, own = ctx.heap[cell], _parts(ctx, item)
    if own is None or own[0] != (like.cls, like.names):
        raise ctx.error("JG221", what=doing(describe(item), f"{like.cls.__name__}s of {len(like.names)} parts"))
    _hold(ctx, cell, item)
    return own[1]


def _hold(ctx: Context, cell: Cell, item: Any) -> None:
    if not isinstance(item, tuple):
        ctx.hold(cell, item)
