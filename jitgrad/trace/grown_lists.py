"""Lists that grow, as wholes: from items known one by one, slices, concatenation.

In: lists, whose items are a value of the graph or are known one by one. Out: new lists of the first kind. A new list of
the same arrays has copies of them: nobody may store into those while it is alive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.memory import Span, load
from jitgrad.graph.ops.shape import join
from jitgrad.graph.types import ArrayType, Dim, ListType
from jitgrad.trace.abstract import Cell, ListRef
from jitgrad.trace.alternatives import as_item, joined_form
from jitgrad.trace.context import Context
from jitgrad.trace.extents import total
from jitgrad.trace.frame import looking_at
from jitgrad.trace.keys import basic_box

__all__ = [
    "as_grown", "backwards", "common_form", "copied_list", "form_of_list", "grown_from", "joined_lists",
    "part_of_list", "value_of_list",
]  # fmt: skip

Form = tuple[str, ArrayType]


def form_of_list(ctx: Context, items: Any, cell: Cell | None = None) -> Form | None:
    """Return the form of the items of a list, given what it holds; None if they have not one, or there are none."""
    if isinstance(items, Value):
        assert isinstance(items.type, ListType)
        return ctx.list_kinds.get(cell, "array"), items.type.element  # type: ignore[arg-type]
    form = joined_form(ctx, items) if items else None
    return None if form is None or form[0] == "mixed" else form


def common_form(ctx: Context, *lists: tuple[Any, dict[Cell, Any]]) -> Form | None:
    """Return the form of the items of lists, each with the heap that knows it; None if they have not one."""
    forms: set[Form | None] = set()
    for x, heap in lists:
        if not isinstance(x, ListRef):
            return None
        with looking_at(ctx, heap):
            items = heap[x.cell]
            forms |= {form_of_list(ctx, items, x.cell)} if isinstance(items, Value) or items else set()
    form = forms.pop() if len(forms) == 1 else None
    return None if form is None or form[0] == "mixed" else form


def value_of_list(ctx: Context, items: Any, form: Form) -> Value:
    """Return what a list holds, whose items have a form, as a value."""
    if isinstance(items, Value):
        return items
    made: Value = ctx.g.list_empty(type=ListType(form[1]))
    for item in items:
        held = as_item(ctx, item, *form)
        assert held is not None
        made = ctx.g.list_push(made, held)
    return made


def grown_from(ctx: Context, items: Value, kind: str, *sources: Any) -> ListRef:
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


def copied_list(ctx: Context, x: ListRef) -> ListRef:
    """Return another list of the same items, of a list that grows."""
    return grown_from(ctx, ctx.heap[x.cell], ctx.list_kinds.get(x.cell, "array"), x.cell)


def as_grown(ctx: Context, items: Sequence[Any]) -> ListRef | None:
    """Return a list of items known one by one as one that grows, None where they have not one form."""
    form = form_of_list(ctx, tuple(items))
    return None if form is None else grown_from(ctx, value_of_list(ctx, items, form), form[0], tuple(items))


def _rows(ctx: Context, array: Value, along: Span) -> Value:
    return load(ctx.g, array, [along, *(Span(0, 1, d) for d in array.shape[1:])])


def _array(ctx: Context, items: Value) -> Value:
    made: Value = ctx.g.list_to_array(items, ctx.g.list_length(items))
    return made


def part_of_list(ctx: Context, cell: Cell, key: Any) -> ListRef:
    """Return a slice of a list that grows."""
    rows = _array(ctx, ctx.heap[cell])
    along = basic_box(ctx, [key], (rows.shape[0],)).entries[0]
    assert isinstance(along, Span)
    return grown_from(ctx, ctx.g.list_from_array(_rows(ctx, rows, along)), ctx.list_kinds.get(cell, "array"), cell)


def backwards(ctx: Context, items: Value) -> Value:
    """Return what a list holds in the opposite order."""
    rows = _array(ctx, items)
    last: Dim = total(ctx, (1, rows.shape[0]), (1, -1))
    made: Value = ctx.g.list_from_array(_rows(ctx, rows, Span(last, -1, rows.shape[0])))
    return made


def joined_lists(ctx: Context, x: Cell, y: Cell) -> ListRef | None:
    """Return the items of one list and then those of another as a new list, None where they have not one form."""
    contents = [(ctx.heap[c], c) for c in (x, y)]
    forms = {form_of_list(ctx, items, c) for items, c in contents if isinstance(items, Value) or items}
    form = forms.pop() if len(forms) == 1 else None
    if form is None or form[0] == "mixed":
        return None
    first, second = (_array(ctx, value_of_list(ctx, items, form)) for items, _ in contents)
    length = total(ctx, (1, first.shape[0]), (1, second.shape[0]))
    return grown_from(ctx, ctx.g.list_from_array(join(ctx.g, [first, second], 0, length)), form[0], x, y)
