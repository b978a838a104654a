"""Methods of lists, dicts, tuples and strings.

In: abstract containers, whose contents are in the heap. Out: abstract values; stores replace what a cell holds. A list
that grew in a loop supports only what the growable list of the graph does: `append`, `pop` of the last item, `copy`.
"""

from __future__ import annotations

from collections.abc import Callable
from string import Formatter
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.memory import Span, load
from jitgrad.graph.ops.shape import join
from jitgrad.graph.types import Dim
from jitgrad.trace.abstract import DictRef, External, Formatted, ListRef, Text
from jitgrad.trace.algorithms.containers import Items, Keys, Values
from jitgrad.trace.alternatives import packed_item
from jitgrad.trace.arrays import as_array, kind
from jitgrad.trace.attributes import opened
from jitgrad.trace.builtins import new_dict, pairs_of
from jitgrad.trace.calls import OWNERS, handles, is_known, method
from jitgrad.trace.comparisons import equal_objects
from jitgrad.trace.context import PACKED, Context
from jitgrad.trace.extents import total
from jitgrad.trace.grown_lists import backwards, copied_list, joined_lists
from jitgrad.trace.iteration import sequence_of
from jitgrad.trace.keys import index_int
from jitgrad.trace.places import has_places, move_in, require_alone
from jitgrad.trace.python_iterators import sorted_list
from jitgrad.trace.sizes import static_int
from jitgrad.trace.subscripts import dict_key, new_list
from jitgrad.trace.texts import join_texts

__all__ = ["list_items", "set_items", "take_out"]

_MISSING = object()


def list_items(ctx: Context, x: ListRef, what: str) -> tuple[Any, ...]:
    """Return the items of a list of known length."""
    items = ctx.heap[x.cell]
    if isinstance(items, Value):
        raise ctx.error("JG221", what=f"{what} of a list that grew in a loop")
    found: tuple[Any, ...] = items
    return found


def set_items(ctx: Context, x: Any, items: Any) -> None:
    """Replace what a list or dict holds."""
    ctx.conflict(x.cell)
    ctx.heap[x.cell] = tuple(items)


# --- lists


@method("list", "append")
def _append(ctx: Context, x: ListRef, item: Any) -> None:
    items = ctx.heap[x.cell]
    if not isinstance(items, Value):
        set_items(ctx, x, (*items, item))
        return
    element = items.type.element  # type: ignore[union-attr]
    of = ctx.list_kinds.get(x.cell, "array")
    if of in PACKED:
        ctx.conflict(x.cell)
        ctx.heap[x.cell] = ctx.g.list_push(items, packed_item(ctx, x.cell, item))
        return
    made = as_array(ctx, item)
    if made.type != element or ("array" in (of, kind(item)) and kind(item) != of):
        raise ctx.error("JG221", what=f"appending {made.type} ({kind(item)}) to a list of {element} ({of})")
    if kind(item) != of:
        # Python's and NumPy's numbers together: one array can be made of them, but no item can be taken.
        ctx.list_kinds[x.cell] = "mixed"
    if has_places(x.cell):
        move_in(ctx, x.cell, item)
        return
    ctx.conflict(x.cell)
    ctx.hold(x.cell, item)
    ctx.heap[x.cell] = ctx.g.list_push(items, made)


@method("list", "extend")
def _extend(ctx: Context, x: ListRef, iterable: Any) -> None:
    other = iterable if isinstance(iterable, ListRef) and isinstance(ctx.heap[iterable.cell], Value) else None
    made = None if other is None or has_places(x.cell) else joined_lists(ctx, x.cell, other.cell)
    if made is not None:
        ctx.conflict(x.cell)
        ctx.heap[x.cell], ctx.list_kinds[x.cell] = ctx.heap[made.cell], ctx.list_kinds[made.cell]
        if made.cell.arrays is not None:
            ctx.hold(x.cell, ListRef(made.cell.arrays))
        return
    items = sequence_of(ctx, iterable)
    if isinstance(ctx.heap[x.cell], Value):
        for item in items:
            _append(ctx, x, item)
        return
    set_items(ctx, x, (*ctx.heap[x.cell], *items))


def _rows(ctx: Context, array: Value, start: Dim, count: Dim) -> Value:
    """Return consecutive rows of an array."""
    return load(ctx.g, array, [Span(start, 1, count), *(Span(0, 1, d) for d in array.shape[1:])])


@method("list", "insert")
def _insert(ctx: Context, x: ListRef, index: Any, item: Any) -> None:
    items, at = ctx.heap[x.cell], static_int(ctx, index, "the index of a list")
    if isinstance(items, Value) and at == 0:
        # Pushed behind, which checks it, and moved to the front.
        g = ctx.g
        _append(ctx, x, item)
        if has_places(x.cell):
            require_alone(ctx, x.cell)
        rows = g.list_to_array(ctx.heap[x.cell], g.add(g.list_length(items), 1))
        rest = g.list_length(items)
        parts = [_rows(ctx, rows, rest, 1), _rows(ctx, rows, 0, rest)]
        ctx.heap[x.cell] = g.list_from_array(as_array(ctx, ctx.call(np.concatenate, [tuple(map(ctx.fresh, parts))])))
        return
    known = list(list_items(ctx, x, "insert"))
    known.insert(at, item)
    set_items(ctx, x, known)


def take_out(ctx: Context, x: ListRef, index: Any, empty: str, outside: str) -> Any:
    """Take an item out of a list that grows and return it; the texts are those of Python's IndexErrors."""
    g, items = ctx.g, ctx.heap[x.cell]
    count = g.list_length(items)
    ctx.check(g.greater(count, 0), IndexError, empty)
    rest = g.subtract(count, 1)
    last = type(index) is int and index == -1
    at = rest if last else ctx.dim(index_int(ctx, index, count, 0, outside))
    taken = g.list_get(items, at)
    if has_places(x.cell):
        require_alone(ctx, x.cell)
        item: Any = ctx.fresh(taken)
    else:
        item = ctx.list_item(x.cell, taken)
    ctx.conflict(x.cell)
    if last:
        ctx.heap[x.cell] = g.list_pop(items)
        return item
    rows = g.list_to_array(items, count)
    if type(index) is int and index == 0:
        ctx.heap[x.cell] = g.list_from_array(_rows(ctx, rows, 1, rest))
        return item
    behind = total(ctx, (1, rest), (-1, at))
    parts = [_rows(ctx, rows, 0, at), _rows(ctx, rows, total(ctx, (1, at), (1, 1)), behind)]
    ctx.heap[x.cell] = g.list_from_array(join(g, parts, 0, rest))
    return item


@method("list", "pop")
def _pop(ctx: Context, x: ListRef, index: Any = -1) -> Any:
    items = ctx.heap[x.cell]
    if isinstance(items, Value):
        return take_out(ctx, x, index, "pop from empty list", "pop index out of range")
    at = static_int(ctx, index, "the index of a list")
    left = list(items)
    found = left.pop(at)
    set_items(ctx, x, left)
    return found


def _position(ctx: Context, items: tuple[Any, ...], item: Any, start: int = 0, stop: int | None = None) -> int | None:
    for k in range(*slice(start, stop).indices(len(items))):
        equal = equal_objects(ctx, items[k], item)
        if not isinstance(equal, bool):
            raise ctx.error("JG236", what="the position of a value in a list")
        if equal:
            return k
    return None


@method("list", "remove")
def _remove(ctx: Context, x: ListRef, item: Any) -> None:
    items = list_items(ctx, x, "remove")
    at = _position(ctx, items, item)
    if at is None:
        raise ValueError("list.remove(x): x not in list")
    set_items(ctx, x, items[:at] + items[at + 1 :])


@method("list", "index")
def _index(ctx: Context, x: ListRef, item: Any, start: Any = 0, stop: Any = None) -> int:
    at = _position(ctx, list_items(ctx, x, "index"), item, start, stop)
    if at is None:
        raise ValueError(f"{item!r} is not in list" if is_known(item) else "list.index(x): x not in list")
    return at


@method("list", "count")
def _count(ctx: Context, x: ListRef, item: Any) -> int:
    return _count_items(ctx, list_items(ctx, x, "count"), item)


def _count_items(ctx: Context, items: tuple[Any, ...], item: Any) -> int:
    flags = [equal_objects(ctx, v, item) for v in items]
    if not all(isinstance(f, bool) for f in flags):
        raise ctx.error("JG236", what="how often a value is in a sequence")
    return sum(flags)


@method("list", "copy", "__copy__")
def _copy(ctx: Context, x: ListRef) -> ListRef:
    return copied_list(ctx, x) if isinstance(ctx.heap[x.cell], Value) else new_list(ctx, ctx.heap[x.cell])


@method("list", "clear")
def _clear(ctx: Context, x: ListRef) -> None:
    items = ctx.heap[x.cell]
    if not isinstance(items, Value):
        set_items(ctx, x, ())
        return
    if has_places(x.cell):
        require_alone(ctx, x.cell)
    ctx.conflict(x.cell)
    ctx.heap[x.cell] = ctx.g.list_empty(type=items.type)


@method("list", "reverse")
def _reverse(ctx: Context, x: ListRef) -> None:
    items = ctx.heap[x.cell]
    if not isinstance(items, Value):
        set_items(ctx, x, items[::-1])
        return
    if has_places(x.cell):
        require_alone(ctx, x.cell)
    ctx.conflict(x.cell)
    ctx.heap[x.cell] = backwards(ctx, items)


@method("list", "sort")
def _sort(ctx: Context, x: ListRef, *, key: Any = None, reverse: Any = False) -> None:
    made = sorted_list(ctx, x, key=key, reverse=reverse)
    set_items(ctx, x, ctx.heap[made.cell])


# --- dicts


def _pairs(ctx: Context, x: DictRef) -> dict[Any, Any]:
    return dict(ctx.heap[x.cell])


def _key(ctx: Context, key: Any) -> Any:
    return dict_key(ctx, key)


@method("dict", "keys")
def _keys(ctx: Context, x: DictRef) -> Any:
    return ctx.call(Keys, [x])


@method("dict", "values")
def _values(ctx: Context, x: DictRef) -> Any:
    return ctx.call(Values, [x])


@method("dict", "items")
def _items(ctx: Context, x: DictRef) -> Any:
    return ctx.call(Items, [x])


@method("dict", "get")
def _get(ctx: Context, x: DictRef, key: Any, default: Any = None) -> Any:
    return _pairs(ctx, x).get(_key(ctx, key), default)


@method("dict", "copy", "__copy__")
def _dict_copy(ctx: Context, x: DictRef) -> DictRef:
    return new_dict(ctx, _pairs(ctx, x))


@method("dict", "update")
def _update(ctx: Context, x: DictRef, source: Any = (), **kwargs: Any) -> None:
    set_items(ctx, x, (_pairs(ctx, x) | pairs_of(ctx, source) | kwargs).items())


@method("dict", "setdefault")
def _setdefault(ctx: Context, x: DictRef, key: Any, default: Any = None) -> Any:
    pairs = _pairs(ctx, x)
    key = _key(ctx, key)
    if key not in pairs:
        pairs[key] = default
        set_items(ctx, x, pairs.items())
    return pairs[key]


@method("dict", "pop")
def _dict_pop(ctx: Context, x: DictRef, key: Any, default: Any = _MISSING) -> Any:
    pairs = _pairs(ctx, x)
    key = _key(ctx, key)
    if key not in pairs:
        if default is _MISSING:
            raise KeyError(key)
        return default
    found = pairs.pop(key)
    set_items(ctx, x, pairs.items())
    return found


@method("dict", "popitem")
def _popitem(ctx: Context, x: DictRef) -> Any:
    pairs = _pairs(ctx, x)
    if not pairs:
        raise KeyError("popitem(): dictionary is empty")
    found = pairs.popitem()
    set_items(ctx, x, pairs.items())
    return found


@method("dict", "clear")
def _dict_clear(ctx: Context, x: DictRef) -> None:
    set_items(ctx, x, ())


@handles(dict.fromkeys)
def _fromkeys(ctx: Context, iterable: Any, value: Any = None) -> DictRef:
    return new_dict(ctx, {_key(ctx, k): value for k in sequence_of(ctx, iterable)})


# --- the same methods through the class: list.append(xs, x)


def _through_class(kind: str, name: str) -> Callable[..., Any]:
    def call(ctx: Context, x: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(x, External):
            x = opened(ctx, x)
        return _METHODS[kind, name](ctx, x, *args, **kwargs)

    return call


_METHODS: dict[tuple[str, str], Callable[..., Any]] = {
    ("list", "append"): _append,
    ("list", "extend"): _extend,
    ("dict", "update"): _update,
}
handles(list.append)(_through_class("list", "append"))
handles(list.extend)(_through_class("list", "extend"))
handles(dict.update)(_through_class("dict", "update"))

# --- tuples and strings with items known only at run time


def _method_of_tuple(ctx: Context, x: tuple[Any, ...], name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if is_known((x, *args)):
        return NotImplemented
    if name == "count":
        return _count_items(ctx, x, args[0])
    if name != "index":
        return NotImplemented
    at = _position(ctx, x, *args)
    if at is None:
        raise ValueError("tuple.index(x): x not in tuple")
    return at


def _method_of_str(ctx: Context, x: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Methods whose arguments are not all known: `join` and `format` give texts."""
    if is_known((args, tuple(kwargs.values()))):
        return NotImplemented
    if name == "join":
        parts: list[Any] = []
        for k, item in enumerate(sequence_of(ctx, args[0])):
            parts += [x, item] if k else [item]
        return join_texts(*parts)
    if name == "format":
        return _formatted(x, args, kwargs)
    return NotImplemented


def _formatted(x: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    parts: list[Any] = []
    automatic = iter(range(len(args)))
    for literal, field, spec, conversion in Formatter().parse(x):
        parts.append(literal)
        if field is None:
            continue
        if field == "":
            value = args[next(automatic)]
        elif field.isdigit():
            value = args[int(field)]
        elif field in kwargs:
            value = kwargs[field]
        else:
            return Text((x, *args, *kwargs.values()))
        parts.append(format(value, spec or "") if is_known(value) else Formatted(value, conversion, spec or ""))
    return join_texts(*parts)


OWNERS[str] = _method_of_str
OWNERS[tuple] = _method_of_tuple
