"""Lists that grow, as wholes: from items known one by one, slices, concatenation.

In: lists, whose items are known one by one, are a value of the graph, or were taken apart into such lists. Out: new
lists of the last two kinds. A new list of the same arrays has copies of them: nobody may store into those while it is
alive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.memory import Span, load
from jitgrad.graph.ops.shape import join
from jitgrad.graph.types import ArrayType, Dim, ListType
from jitgrad.trace.abstract import Cell, Columns, ListRef
from jitgrad.trace.alternatives import as_item, joined_form
from jitgrad.trace.columns import (
    ROWS,
    Pooled,
    Structure,
    content_of,
    leaves_of_list,
    made_of,
    pool_position,
    split,
    structure_of,
)
from jitgrad.trace.context import Context
from jitgrad.trace.extents import total
from jitgrad.trace.frame import looking_at
from jitgrad.trace.inspection import cells_of
from jitgrad.trace.keys import basic_box
from jitgrad.trace.places import has_places, require_alone

__all__ = [
    "Form", "Forms", "as_grown", "clear_list", "common_form", "copied_list", "extend_list", "form_of_list",
    "grow", "holds_arrays", "joined_lists", "part_of_list", "rearranged", "reverse_list", "take_over",
    "value_of_list",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Forms:
    """The form of items of one structure: the forms of their parts."""

    structure: Structure
    parts: tuple[Any, ...]


# Of numbers and arrays: their kind and their type.
Form: TypeAlias = tuple[str, ArrayType] | Forms


def form_of_list(ctx: Context, items: Any, cell: Cell | None = None) -> Form | None:
    """Return the form of the items of a list, given what it holds; None if they have not one, or there are none."""
    if isinstance(items, Value):
        assert isinstance(items.type, ListType)
        return ctx.list_kinds.get(cell, "array"), items.type.element  # type: ignore[arg-type]
    structure = structure_of(ctx, items)
    if structure is not None and structure[1] == ROWS:
        return None
    if structure is None:
        form = joined_form(ctx, items, cell=cell) if items and isinstance(items, tuple) else None
        return None if form is None or form[0] == "mixed" else form
    if isinstance(items, Columns):
        parts = [form_of_list(ctx, ctx.heap[x.cell], x.cell) for x in items.lists]
    else:
        parts = [form_of_list(ctx, column) for column in zip(*_rows_of(ctx, items, structure), strict=True)]
    return None if None in parts else Forms(structure, tuple(parts))


def _rows_of(ctx: Context, items: Sequence[Any], structure: Structure) -> list[tuple[Any, ...]]:
    """Return the parts of items that have a structure."""
    if issubclass(structure[0], tuple):
        return list(items)
    if structure[0] is Pooled:
        return [(pool_position(x),) for x in items]
    held = [ctx.heap[x.cell] for x in items]
    return held if structure[0] is list else [tuple(v for _, v in pairs) for pairs in held]


def holds_arrays(form: Form) -> bool:
    """Whether a list of items of a form has copies of what the program may store into."""
    if isinstance(form, Forms):
        return (form.structure[0] is not Pooled and not issubclass(form.structure[0], tuple)) or any(
            map(holds_arrays, form.parts)
        )
    return form[0] == "array"


def _one_form(forms: Iterable[Form | None]) -> Form | None:
    """Return the one form that there is, None if there are several or items cannot be taken of a list of that form."""
    found = set(forms)
    form = found.pop() if len(found) == 1 else None
    return None if form is None or _mixed(form) else form


def _mixed(form: Form) -> bool:
    return any(map(_mixed, form.parts)) if isinstance(form, Forms) else form[0] == "mixed"


def common_form(ctx: Context, *lists: tuple[Any, dict[Cell, Any]]) -> Form | None:
    """Return the form of the items of lists, each with the heap that knows it; None if they have not one."""
    forms: list[Form | None] = []
    for x, heap in lists:
        if not isinstance(x, ListRef):
            return None
        with looking_at(ctx, heap):
            items = heap[x.cell]
            forms += [form_of_list(ctx, items, x.cell)] if items != () else []
    return _one_form(forms)


def value_of_list(ctx: Context, items: Any, form: tuple[str, ArrayType]) -> Value:
    """Return what a list of numbers or arrays holds, whose items have a form, as a value."""
    if isinstance(items, Value):
        return items
    made: Value = ctx.g.list_empty(type=ListType(form[1]))
    for item in items:
        held = as_item(ctx, item, *form)
        assert held is not None
        made = ctx.g.list_push(made, held)
    return made


def _grown_from(ctx: Context, items: Value, kind: str, *sources: Any) -> ListRef:
    """Return a new list of a value, whose items come from what other lists hold."""
    made = ListRef(Cell("list"))
    ctx.heap[made.cell], ctx.list_kinds[made.cell] = items, kind
    if kind == "array":
        for source in sources:
            if not isinstance(source, Cell):
                ctx.hold(made.cell, source)
            elif source.arrays is not None:
                ctx.hold(made.cell, ListRef(source.arrays))
            elif not isinstance(ctx.heap[source], Value):
                ctx.hold(made.cell, ctx.heap[source])
    return made


def _each_column(ctx: Context, make: Callable[..., ListRef], *cells: Cell) -> ListRef:
    """Return a new list, made column by column of lists that were taken apart alike."""
    like = ctx.heap[cells[0]]
    columns = zip(*([x.cell for x in ctx.heap[c].lists] for c in cells), strict=True)
    rows = None if like.rows is None else copied_list(ctx, like.rows.cell)
    made = made_of(ctx, like, [make(*own) for own in columns], rows)
    for source in cells:
        if source.arrays is not None:
            ctx.hold(made.cell, ListRef(source.arrays))
    return made


def copied_list(ctx: Context, cell: Cell) -> ListRef:
    """Return another list of the same items, of a list that grows."""
    if isinstance(ctx.heap[cell], Columns):
        return _each_column(ctx, partial(copied_list, ctx), cell)
    if isinstance(ctx.heap[cell], tuple):
        made = ListRef(Cell("list"))
        ctx.heap[made.cell] = ctx.heap[cell]
        return made
    return _grown_from(ctx, ctx.heap[cell], ctx.list_kinds.get(cell, "array"), cell)


def as_grown(ctx: Context, items: Sequence[Any], form: Form) -> ListRef:
    """Return a list of items known one by one, which have a form, as one that grows."""
    made = ListRef(Cell("list"))
    ctx.heap[made.cell] = tuple(items)
    grow(ctx, made.cell, form)
    return made


def grow(ctx: Context, cell: Cell, form: Form) -> None:
    """Let a list whose items have a form, or that has none, be one that grows."""
    if isinstance(form, Forms):
        for x, own in zip(split(ctx, cell, form.structure).lists, form.parts, strict=True):
            grow(ctx, x.cell, own)
    elif not isinstance(ctx.heap[cell], Value):
        if form[0] == "array":
            ctx.hold(cell, ctx.heap[cell])
        ctx.heap[cell], ctx.list_kinds[cell] = value_of_list(ctx, ctx.heap[cell], form), form[0]


def _rows(ctx: Context, array: Value, along: Span) -> Value:
    return load(ctx.g, array, [along, *(Span(0, 1, d) for d in array.shape[1:])])


def _array(ctx: Context, items: Value) -> Value:
    if isinstance(items, tuple):
        raise ctx.error("JG221", what="a list of tuples some parts of which are known one by one")
    made: Value = ctx.g.list_to_array(items, ctx.g.list_length(items))
    return made


def part_of_list(ctx: Context, cell: Cell, key: Any) -> ListRef:
    """Return a slice of a list that grows."""
    if isinstance(ctx.heap[cell], Columns):
        return _each_column(ctx, lambda c: part_of_list(ctx, c, key), cell)
    rows = _array(ctx, ctx.heap[cell])
    along = basic_box(ctx, [key], (rows.shape[0],)).entries[0]
    assert isinstance(along, Span)
    return _grown_from(ctx, ctx.g.list_from_array(_rows(ctx, rows, along)), ctx.list_kinds.get(cell, "array"), cell)


def joined_lists(ctx: Context, x: Cell, y: Cell) -> ListRef | None:
    """Return the items of one list and then those of another as a new list, None where they have not one form."""
    form = _one_form(form_of_list(ctx, items, c) for c in (x, y) if (items := content_of(ctx, c)) != ())
    return None if form is None else _joined(ctx, _as_form(ctx, x, form), _as_form(ctx, y, form))


def rearranged(ctx: Context, cell: Cell, order: Value) -> ListRef:
    """Return a new list of the items of one that grows, at the positions of an array in turn."""
    if isinstance(ctx.heap[cell], Columns):
        return _each_column(ctx, lambda c: rearranged(ctx, c, order), cell)
    rows = ctx.g.gather(_array(ctx, ctx.heap[cell]), order)
    return _grown_from(ctx, ctx.g.list_from_array(rows), ctx.list_kinds.get(cell, "array"), cell)


def _as_form(ctx: Context, cell: Cell, form: Form) -> Cell:
    """Return a list that grows of the items of one that may be known one by one."""
    if not isinstance(ctx.heap[cell], tuple):
        return cell
    return as_grown(ctx, ctx.heap[cell], form).cell


def _joined(ctx: Context, x: Cell, y: Cell) -> ListRef:
    if isinstance(ctx.heap[x], Columns):
        return _each_column(ctx, partial(_joined, ctx), x, y)
    first, second = _array(ctx, ctx.heap[x]), _array(ctx, ctx.heap[y])
    length = total(ctx, (1, first.shape[0]), (1, second.shape[0]))
    kind = ctx.list_kinds.get(x, "array")
    return _grown_from(ctx, ctx.g.list_from_array(join(ctx.g, [first, second], 0, length)), kind, x, y)


def extend_list(ctx: Context, x: Cell, y: Cell) -> bool:
    """Append the items of a list that grows to another list; whether they have one form."""
    made = joined_lists(ctx, x, y)
    if made is None:
        return False
    ctx.conflict(x)
    take_over(ctx, x, made.cell)
    return True


def take_over(ctx: Context, x: Cell, new: Cell) -> None:
    """Let a list hold what a new one does."""
    held = ctx.heap[new]
    if isinstance(held, Columns):
        if not isinstance(ctx.heap[x], Columns):
            ctx.heap[x] = ()
        for mine, part in zip(cells_of(split(ctx, x, (held.cls, held.names))), cells_of(held), strict=True):
            take_over(ctx, mine, part)
    else:
        ctx.heap[x], ctx.list_kinds[x] = held, ctx.list_kinds.get(new, "array")
    if new.arrays is not None:
        ctx.hold(x, ListRef(new.arrays))


def reverse_list(ctx: Context, cell: Cell) -> None:
    """Put the items of a list that grows in the opposite order."""
    ctx.conflict(cell)
    for x in leaves_of_list(ctx, ListRef(cell)):
        if has_places(x.cell):
            require_alone(ctx, x.cell)
        rows = _array(ctx, ctx.heap[x.cell])
        last: Dim = total(ctx, (1, rows.shape[0]), (1, -1))
        ctx.heap[x.cell] = ctx.g.list_from_array(_rows(ctx, rows, Span(last, -1, rows.shape[0])))


def clear_list(ctx: Context, cell: Cell) -> None:
    """Take all items out of a list that grows."""
    ctx.conflict(cell)
    for x in leaves_of_list(ctx, ListRef(cell)):
        if has_places(x.cell):
            require_alone(ctx, x.cell)
        ctx.heap[x.cell] = ctx.g.list_empty(type=ctx.heap[x.cell].type)
