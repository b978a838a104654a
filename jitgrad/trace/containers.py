"""Methods of lists, dicts, tuples and strings.

In: abstract containers, whose contents are in the heap. Out: abstract values; stores replace what a cell holds. A list
that grew in a loop supports only what the growable list of the graph does: `append`, `pop` of the last item, `copy`.
"""

from __future__ import annotations

from collections.abc import Callable
from string import Formatter
from typing import Any

from jitgrad.trace.abstract import DictRef, External, Formatted, ListRef, Text
from jitgrad.trace.algorithms import listing
from jitgrad.trace.algorithms.containers import Items, Keys, Values
from jitgrad.trace.attributes import opened
from jitgrad.trace.builtins import new_dict, pairs_of
from jitgrad.trace.calls import OWNERS, handles, is_known, method
from jitgrad.trace.columns import content_of, is_grown, leaves_of_list
from jitgrad.trace.comparisons import equal_objects, is_no_nan
from jitgrad.trace.context import Context
from jitgrad.trace.grown_items import append_item, insert_first, take_out
from jitgrad.trace.grown_lists import clear_list, copied_list, extend_list, reverse_list, take_over
from jitgrad.trace.iteration import sequence_of
from jitgrad.trace.places import has_places, require_alone
from jitgrad.trace.python_iterators import sorted_list
from jitgrad.trace.sizes import static_int
from jitgrad.trace.subscripts import dict_key, new_list
from jitgrad.trace.texts import join_texts

__all__ = ["list_items", "set_items"]

_MISSING = object()


def list_items(ctx: Context, x: ListRef, what: str) -> tuple[Any, ...]:
    """Return the items of a list of known length."""
    items = content_of(ctx, x.cell)
    if not isinstance(items, tuple):
        raise ctx.error("JG221", what=f"{what} of a list that grew in a loop")
    return items


def set_items(ctx: Context, x: Any, items: Any) -> None:
    """Replace what a list or dict holds."""
    ctx.conflict(x.cell)
    ctx.heap[x.cell] = tuple(items)


# --- lists


@method("list", "append")
def _append(ctx: Context, x: ListRef, item: Any) -> None:
    append_item(ctx, x.cell, item)


@method("list", "extend")
def _extend(ctx: Context, x: ListRef, iterable: Any) -> None:
    if is_grown(ctx, iterable) and not _any_places(ctx, x) and extend_list(ctx, x.cell, iterable.cell):
        return
    items = sequence_of(ctx, iterable)
    if is_grown(ctx, x):
        for item in items:
            append_item(ctx, x.cell, item)
        return
    set_items(ctx, x, (*ctx.heap[x.cell], *items))


def _any_places(ctx: Context, x: ListRef) -> bool:
    return any(has_places(leaf.cell) for leaf in leaves_of_list(ctx, x))


@method("list", "insert")
def _insert(ctx: Context, x: ListRef, index: Any, item: Any) -> None:
    at = static_int(ctx, index, "the index of a list")
    if is_grown(ctx, x) and at == 0:
        insert_first(ctx, x.cell, item)
        return
    known = list(list_items(ctx, x, "insert"))
    known.insert(at, item)
    set_items(ctx, x, known)


@method("list", "pop")
def _pop(ctx: Context, x: ListRef, index: Any = -1) -> Any:
    if is_grown(ctx, x):
        return take_out(ctx, x, index, "pop from empty list", "pop index out of range")
    at = static_int(ctx, index, "the index of a list")
    left = list(ctx.heap[x.cell])
    found = left.pop(at)
    set_items(ctx, x, left)
    return found


@method("list", "remove")
def _remove(ctx: Context, x: ListRef, item: Any) -> None:
    if is_grown(ctx, x):
        is_no_nan(ctx, item)
        ctx.call(listing.remove, [x, item])
        return
    items = list_items(ctx, x, "remove")
    for k, other in enumerate(items):
        equal = equal_objects(ctx, other, item)
        if not isinstance(equal, bool):
            raise ctx.error("JG236", what="the position of a value in a list")
        if equal:
            set_items(ctx, x, items[:k] + items[k + 1 :])
            return
    raise ValueError("list.remove(x): x not in list")


@method("list", "index")
def _index(ctx: Context, x: ListRef, item: Any, start: Any = 0, stop: Any = None, /) -> Any:
    if is_grown(ctx, x):
        is_no_nan(ctx, item)
    return ctx.call(listing.index, [x, item, start, stop])


@method("list", "count")
def _count(ctx: Context, x: ListRef, item: Any, /) -> Any:
    if is_grown(ctx, x):
        is_no_nan(ctx, item)
    return ctx.call(listing.count, [x, item])


@method("list", "copy", "__copy__")
def _copy(ctx: Context, x: ListRef) -> ListRef:
    return copied_list(ctx, x.cell) if is_grown(ctx, x) else new_list(ctx, ctx.heap[x.cell])


@method("list", "clear")
def _clear(ctx: Context, x: ListRef) -> None:
    if is_grown(ctx, x):
        clear_list(ctx, x.cell)
    else:
        set_items(ctx, x, ())


@method("list", "reverse")
def _reverse(ctx: Context, x: ListRef) -> None:
    if is_grown(ctx, x):
        reverse_list(ctx, x.cell)
    else:
        set_items(ctx, x, ctx.heap[x.cell][::-1])


@method("list", "sort")
def _sort(ctx: Context, x: ListRef, *, key: Any = None, reverse: Any = False) -> None:
    made = sorted_list(ctx, x, key=key, reverse=reverse)
    if not is_grown(ctx, x):
        set_items(ctx, x, ctx.heap[made.cell])
        return
    for leaf in leaves_of_list(ctx, x):
        if has_places(leaf.cell):
            require_alone(ctx, leaf.cell)
    ctx.conflict(x.cell)
    take_over(ctx, x.cell, made.cell)


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
    if name not in ("count", "index"):
        return NotImplemented
    return ctx.call(listing.count if name == "count" else listing.index, [x, *args])


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
