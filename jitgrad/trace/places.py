"""Arrays that a list which grows holds, where the program stores into them: each is at home in its place of the list.

A list that grows has copies of what is appended, which is right as long as nobody stores into either. Where somebody
does, the trace begins again with the list as storage: an array that is appended moves in, and its names become views
of the list, as are the items that are taken from it. That needs arrays which nobody else has a copy of, in one place
only; else the list gives its places up, and the store is refused. In: lists, arrays. Out: references.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.memory import Pick
from jitgrad.graph.types import ArrayType, Dim, ListType
from jitgrad.trace.abstract import BoundMethod, Cell, IterRows, ListRef, Maybe, OneOf, Ref, Scalar, TaggedRef
from jitgrad.trace.alternatives import joined_form
from jitgrad.trace.inspection import form_of, reachable
from jitgrad.trace.keys import index_int, view_of
from jitgrad.trace.obligations import Restart
from jitgrad.trace.storage import item_box, length_of

__all__ = [
    "can_move", "give_up", "has_places", "item_at", "item_in_range", "item_of_list", "let_names_follow", "move_in",
    "pool_key", "remember_items", "replace_item", "require_alone", "rewritten", "same_item", "settle", "wants_places",
    "with_a_pool",
]  # fmt: skip


def has_places(cell: Cell) -> bool:
    """Whether the arrays of a list that grows are at home in it."""
    return cell.arrays is cell


def wants_places(ctx: Any, cell: Cell) -> bool:
    """Whether a store was met that needs to know where the arrays of a list are."""
    tagged = ctx.obligations.tagged
    return cell.site is not None and (("places",), cell.site) in tagged and (("copies",), cell.site) not in tagged


def give_up(ctx: Any, cell: Cell, element: ArrayType | None = None) -> Exception:
    """Return what begins the trace again with the arrays of a list in a pool; with copies where there is none.

    Where both have been tried that is a refusal: of the pools, at first.
    """
    held = ctx.heap.get(cell)
    if element is None and isinstance(held, Value) and isinstance(held.type, ListType):
        element = held.type.element
    again = None if element is None else with_a_pool(ctx, element)
    if again is not None:
        return again
    key = ("copies",), cell.site
    if key in ctx.obligations.tagged:
        made: Exception = ctx.error("JG241", names="arrays that lists hold", where=str(ctx.location))
        return made
    return Restart({key}, "an array of a list may have another name or place")


def pool_key(element: ArrayType) -> Any:
    """Return what a pool for arrays of a type is asked for by, over restarts."""
    return ("pool",), element


def with_a_pool(ctx: Any, element: ArrayType) -> Restart | None:
    """Return what begins the trace again with a pool for arrays of a type; None where that cannot help."""
    key = pool_key(element)
    if not element.rank or not element.is_static or key in ctx.obligations.tagged:
        return None
    return Restart({key}, "arrays are in several places of lists")


def settle(ctx: Any) -> None:
    """Let the arrays of lists that are known item by item move in, before a loop in which these may grow."""
    if not any(key[0] == ("places",) for key in ctx.obligations.tagged):
        return
    for cell in reachable(ctx.heap, ctx.live_values()):
        items = ctx.heap.get(cell)
        if not isinstance(items, tuple) or not wants_places(ctx, cell):
            continue
        form = joined_form(ctx, items) if items else next(_known_forms(ctx, cell), None)
        if form is None or form[0] != "array" or form[1] in ctx.pools:
            continue
        ctx.list_kinds[cell] = "array"
        ctx.heap[cell] = ctx.g.list_empty(type=ListType(form[1]))
        cell.arrays = cell
        for item in items:
            move_in(ctx, cell, item)


def _known_forms(ctx: Any, cell: Cell) -> Iterator[tuple[str, ArrayType]]:
    for key in ctx.obligations.tagged:
        if key[0] == ("items",) and key[1] == cell.site:
            yield "array", key[2]


def remember_items(ctx: Any, cell: Cell, element: ArrayType) -> None:
    """Begin again knowing what a list will hold that is empty before a loop and gets its first item in a branch."""
    if wants_places(ctx, cell) and element.is_static and not any(_known_forms(ctx, cell)):
        raise Restart({(("items",), cell.site, element)}, "what a list will hold is known")


# --- items


def _position(ctx: Any, cell: Cell, key: Any, message: str) -> Value:
    """Return a position in a list, counted from 0 and checked: one value for one key."""
    length = length_of(ctx, ctx.heap[cell])
    known = key.value if isinstance(key, Scalar) else key
    made: Value = ctx.shared(("position", known, length), lambda: ctx.dim(index_int(ctx, key, length, 0, message)))
    return made


def item_at(ctx: Any, cell: Cell, position: Dim) -> Ref:
    """Return the array at home in a place of a list."""
    return Ref(cell, (item_box(position, ctx.heap[cell].type.element),))


def item_of_list(ctx: Any, cell: Cell, key: Any) -> Any:
    """Return an item of a list of numbers or arrays that grows, of which the key is no slice.

    Raises
    ------
    IndexError
        As a check.
    """
    message = "list index out of range"
    if has_places(cell):
        return item_at(ctx, cell, _position(ctx, cell, key, message))
    items = ctx.heap[cell]
    at = index_int(ctx, key, ctx.g.list_length(items), 0, message)
    return ctx.list_item(cell, ctx.g.list_get(items, ctx.dim(at)))


def item_in_range(ctx: Any, cell: Cell, position: Dim) -> Any:
    """Return an item of a list that grows, at a position counted from 0 that is in range."""
    if has_places(cell):
        return item_at(ctx, cell, position)
    return ctx.list_item(cell, ctx.g.list_get(ctx.heap[cell], ctx.dim(position)))


def same_item(ctx: Any, x: Ref, y: Ref) -> Any:
    """Return whether two views of a list are one object: items in one place; a bool, or a bool Scalar."""
    item = item_at(ctx, x.cell, 0)
    if not form_of(item.view) == form_of(x.view) == form_of(y.view):
        return False
    boxes: list[Any] = [x.view[0], y.view[0]]
    pairs = list(zip(*(box.entries[0] for box in boxes), strict=True))
    for box in boxes:
        pairs += [(start, 0) for start, _, _ in box.entries[1:]] + [(step, 1) for _, step, _ in box.entries[1:]]
    found: Value | None = None
    for a, b in pairs:
        if isinstance(a, int) and isinstance(b, int):
            if a != b:
                return False
        elif a is not b:
            equal = ctx.g.equal(ctx.dim(a), ctx.dim(b))
            found = equal if found is None else ctx.g.logical_and(found, equal)
    return found is None or Scalar(found, "bool")


def move_in(ctx: Any, cell: Cell, item: Any) -> None:
    """Append an array to a list in which arrays are at home."""
    items = ctx.heap[cell]
    value = _own(ctx, cell, item)
    ctx.conflict(cell)
    at = length_of(ctx, items)
    ctx.heap[cell] = ctx.g.list_push(items, value)
    let_names_follow(ctx, cell, item.cell, at)


def replace_item(ctx: Any, cell: Cell, key: Any, item: Any) -> None:
    """Put an array into a place of a list in which arrays are at home."""
    at = _position(ctx, cell, key, "list assignment index out of range")
    if item == item_at(ctx, cell, at):
        return
    if isinstance(item, Ref) and item.cell is cell and _exchanges(ctx, cell, at, item):
        box: Any = item.view[0]
        _exchange(ctx, cell, at, ctx.dim(box.entries[0][0]))
        return
    value = _own(ctx, cell, item)
    require_alone(ctx, cell)
    ctx.conflict(cell)
    ctx.heap[cell] = ctx.g.list_set(ctx.heap[cell], at, value)
    let_names_follow(ctx, cell, item.cell, at)


# --- two items change their places


def _exchanges(ctx: Any, cell: Cell, at: Value, item: Ref) -> bool:
    """Whether a store of an item into another place is the first half of `xs[i], xs[j] = xs[j], xs[i]`."""
    frame = ctx.frames[-1]
    block, i = frame.place
    rest = frame.tree.flow.blocks[block].instrs[i + 1 : i + 4]
    if [instr.op for instr in rest] not in (["local", "local", "setitem"], ["local", "const", "setitem"]):
        return False
    target = frame.locals.get(rest[0].arg)
    key = frame.locals.get(rest[1].arg) if rest[1].op == "local" else rest[1].arg
    if not isinstance(target, ListRef) or target.cell is not cell or not isinstance(key, Scalar | int):
        return False
    other = _position(ctx, cell, key, "list assignment index out of range")
    return item == item_at(ctx, cell, other) and bool(frame.stack) and frame.stack[-1] == item_at(ctx, cell, at)


def _exchange(ctx: Any, cell: Cell, first: Value, second: Value) -> None:
    """Exchange two items of a list; their names go with them."""
    g, items = ctx.g, ctx.heap[cell]
    a, b = g.list_get(items, first), g.list_get(items, second)

    def moved(r: Ref) -> Ref:
        box: Any = r.view[0]
        at = ctx.dim(box.entries[0][0])
        if at is first or at is second:
            now = second if at is first else first
        else:
            now = g.select(g.equal(at, first), second, g.select(g.equal(at, second), first, at))
        return replace(r, view=(replace(box, entries=(Pick(now), *box.entries[1:])), *r.view[1:]))

    _rename(ctx, cell, moved)
    ctx.conflict(cell)
    ctx.heap[cell] = g.list_set(g.list_set(items, first, b), second, a)


def _rename(ctx: Any, cell: Cell, moved: Callable[[Ref], Ref]) -> None:
    """Let the references to a cell be others, in what is seen on this path only; where others are, give up."""
    found: list[Ref] = []

    def note(r: Ref) -> Ref:
        found.append(r)
        return r

    for v in ctx.live_values():
        if isinstance(v, IterRows):
            rewritten(v, cell, note)
    for frame in ctx.frames:
        for v in (*frame.locals.values(), *frame.stack) if frame.scope != len(ctx.scopes) else ():
            rewritten(v, cell, note)
    if found:
        raise give_up(ctx, cell)
    _change(ctx, cell, moved)


def _change(ctx: Any, cell: Cell, moved: Callable[[Ref], Ref]) -> None:
    for frame in ctx.frames:
        if frame.scope == len(ctx.scopes):
            frame.locals.update((k, rewritten(v, cell, moved)) for k, v in list(frame.locals.items()))
            frame.stack[:] = [rewritten(v, cell, moved) for v in frame.stack]
    for other, content in list(ctx.heap.items()):
        if not isinstance(content, Value):
            ctx.heap[other] = rewritten(content, cell, moved)


# --- who else has an array


def _own(ctx: Any, cell: Cell, item: Any) -> Value:
    """Return the value of an array of which nobody has a copy, and that is no part of another; else give up."""
    given = isinstance(item, Ref) and _is_given(ctx, item.cell)
    if not isinstance(item, Ref) or item.view or given or item.cell.options:
        raise give_up(ctx, cell)
    value = ctx.heap.get(item.cell)
    strange = not isinstance(value, Value) or value.type != ctx.heap[cell].type.element
    if strange or item.cell in ctx.visible or item.cell in ctx.read_only:
        raise give_up(ctx, cell)
    alive = set(reachable(ctx.heap, ctx.live_values()))
    if not alive.isdisjoint(ctx.obligations.near(item.cell)):
        raise give_up(ctx, cell)
    found: Value = value
    return found


def can_move(ctx: Any, cell: Cell, item: Ref) -> bool:
    """Whether an array can move into a list without anybody being left behind."""
    try:
        _own(ctx, cell, item)
    except Restart:
        return False
    outside = [v for f in ctx.frames if f.scope != len(ctx.scopes) for v in (*f.locals.values(), *f.stack)]
    outside += [v for frames, values in ctx.held if frames < len(ctx.frames) for v in values]
    return item.cell not in reachable({}, outside + (ctx.roots if ctx.observe_arguments else []))


def let_names_follow(ctx: Any, cell: Cell, old: Cell, position: Dim) -> None:
    """Let all names of an array that moved into a list be views of that."""

    def moved(r: Ref) -> Ref:
        made = item_at(ctx, cell, position)
        for link in r.view:
            made = view_of(ctx, made, link)
        return made

    _change(ctx, old, moved)
    if old in reachable(ctx.heap, ctx.live_values()):
        # Something holds it that is not seen through, or that other paths see, too.
        raise give_up(ctx, cell)
    del ctx.heap[old]


def require_alone(ctx: Any, cell: Cell) -> None:
    """Give up the places of a list of which a name still shows an item: the items are about to move."""
    found: list[Ref] = []

    def note(r: Ref) -> Ref:
        found.append(r)
        return r

    roots = ctx.live_values()
    for v in (*roots, *(ctx.heap.get(c) for c in reachable(ctx.heap, roots))):
        rewritten(v, cell, note)
    if found:
        raise give_up(ctx, cell)


def rewritten(v: Any, cell: Cell, change: Callable[[Ref], Ref]) -> Any:
    """Return an abstract value with `change` applied to the references to a cell; those of an iterator stay."""
    if isinstance(v, Ref):
        return change(v) if v.cell is cell else v
    if isinstance(v, tuple):
        items = [rewritten(x, cell, change) for x in v]
        if all(a is b for a, b in zip(items, v, strict=True)):
            return v
        return tuple(items) if type(v) is tuple else type(v)(*items)
    if isinstance(v, TaggedRef | OneOf):
        return replace(v, choices=rewritten(v.choices, cell, change))
    if isinstance(v, Maybe):
        return replace(v, value=rewritten(v.value, cell, change))
    if isinstance(v, BoundMethod):
        return replace(v, self=rewritten(v.self, cell, change))
    if isinstance(v, IterRows):
        rewritten(v.over, cell, change)
    return v


def _is_given(ctx: Any, cell: Cell) -> bool:
    """Whether an array comes from outside of the call, or the caller sees what happens to it."""
    return cell.argument is not None and (ctx.observe_arguments or cell.argument == -1)
