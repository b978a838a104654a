"""Python's builtins that are about objects: types, attributes, ranges, iterators, containers, texts, printing.

In: abstract values. Out: abstract values. Builtins of numbers are in `python_numbers.py`, methods of containers in
`containers.py`. What would read or write the world outside is refused by name.
"""

from __future__ import annotations

import types
from functools import partial
from typing import Any

from jitgrad.errors import JitgradError
from jitgrad.trace.abstract import (
    Abstract,
    BoundMethod,
    Cell,
    DictRef,
    External,
    Func,
    IterSequence,
    ListRef,
    Record,
    Ref,
    Scalar,
    SliceOf,
    TaggedRef,
)
from jitgrad.trace.algorithms import ordering
from jitgrad.trace.algorithms.containers import STANDS_FOR, Set, in_set_order
from jitgrad.trace.alternatives import apart
from jitgrad.trace.arrays import shape_of
from jitgrad.trace.attributes import attribute, delete_attribute, opened, put_attribute, set_attribute
from jitgrad.trace.calls import PURE, Native, class_of, handles, is_known
from jitgrad.trace.columns import is_grown
from jitgrad.trace.context import Context
from jitgrad.trace.grown_lists import copied_list
from jitgrad.trace.iteration import Held, Once, count_of, in_any_order, iterate, sequence_of
from jitgrad.trace.objects import is_object, special_method
from jitgrad.trace.operators import get_item_op
from jitgrad.trace.subscripts import dict_key, new_list
from jitgrad.trace.texts import format_value, known_text
from jitgrad.trace.watching import acts

__all__ = ["mapping_of", "new_dict", "pairs_of"]

PURE.update([ord, chr, hex, oct, bin, ascii, frozenset, property, staticmethod, bytes])


# --- types and attributes


@handles(type)
def _type(ctx: Context, x: Any, *rest: Any) -> Any:
    if rest:
        raise ctx.error("JG237", name="type(name, bases, namespace)", why="classes are made outside of compiled code")
    return ctx.by_choice(partial(_shown_class, ctx), apart(x))


@handles(isinstance)
def _isinstance(ctx: Context, x: Any, classes: Any) -> Any:
    if not isinstance(x, Abstract):
        return isinstance(x, classes)
    if isinstance(x, External):
        return isinstance(x.thing, classes)
    isinstance(None, classes)  # raises for what is no class
    return ctx.by_choice(lambda v: issubclass(_shown_class(ctx, v), classes), apart(x))


def _shown_class(ctx: Context, x: Any) -> type:
    """Return the class that a program sees."""
    cls = class_of(ctx, x)
    return STANDS_FOR.get(cls, cls)


@handles(issubclass)
def _issubclass(ctx: Context, cls: Any, classes: Any) -> bool:
    return issubclass(cls, classes)


@handles(callable)
def _callable(ctx: Context, x: Any) -> bool:
    if isinstance(x, Func | BoundMethod | Native):
        return True
    if isinstance(x, Record):
        return any("__call__" in vars(base) for base in x.cls.__mro__)
    return callable(x.thing if isinstance(x, External) else x) and not (
        isinstance(x, Abstract) and not isinstance(x, External)
    )


_NAME = "the name of an attribute"


@handles(getattr)
def _getattr(ctx: Context, x: Any, name: str, *default: Any) -> Any:
    name = known_text(ctx, name, _NAME)
    try:
        return attribute(ctx, x, name)
    except AttributeError:
        if default:
            return default[0]
        raise


@handles(hasattr)
def _hasattr(ctx: Context, x: Any, name: str) -> bool:
    try:
        attribute(ctx, x, known_text(ctx, name, _NAME))
    except AttributeError:
        return False
    except JitgradError as found:
        if found.code != "JG232":
            raise
    return True


@handles(setattr)
def _setattr(ctx: Context, x: Any, name: str, value: Any) -> None:
    set_attribute(ctx, x, known_text(ctx, name, _NAME), value)


@handles(object.__setattr__)
def _object_setattr(ctx: Context, x: Any, name: str, value: Any) -> None:
    if isinstance(x, Record):
        put_attribute(ctx, x, name, value)
    else:
        set_attribute(ctx, x, name, value)


@handles(object.__getattribute__)
def _object_getattribute(ctx: Context, x: Any, name: str) -> Any:
    return attribute(ctx, x, name)


@handles(object.__eq__)
def _object_eq(ctx: Context, x: Any, y: Any) -> Any:
    same = x is y or (isinstance(x, Record) and x == y)
    return True if same else NotImplemented


@handles(delattr)
def _delattr(ctx: Context, x: Any, name: str) -> None:
    delete_attribute(ctx, x, name)


@handles(vars)
def _vars(ctx: Context, x: Any) -> Any:
    if isinstance(x, Record) and not x.cls.__dictoffset__:
        raise TypeError("vars() argument must have __dict__ attribute")
    return attribute(ctx, x, "__dict__")


@handles(id)
def _id(ctx: Context, x: Any) -> Any:
    raise ctx.error("JG237", name="id", why="an address is not a value that compiled code can depend on")


@handles(hash)
def _hash(ctx: Context, x: Any) -> Any:
    if is_known(x):
        return hash(x)
    raise ctx.error("JG237", name="hash", why="it is asked of a value known only at run time")


# --- containers


@handles(tuple)
def _tuple(ctx: Context, iterable: Any = ()) -> tuple[Any, ...]:
    return tuple(sequence_of(ctx, iterable))


@handles(list)
def _list(ctx: Context, iterable: Any = ()) -> ListRef:
    if is_grown(ctx, iterable):
        return copied_list(ctx, iterable.cell)
    it = iterate(ctx, iterable)
    if isinstance(iterable, Record) and iterable.cls in (Held, Once):
        ctx.heap[iterable.cell] = (("rest", IterSequence(())),)  # all are taken
    rows = [x for x in getattr(it, "over", ()) if isinstance(x, Ref | TaggedRef) and len(shape_of(ctx, x)) > 1]
    # What a generator does is done before there is a list: then its items are had one by one.
    if isinstance(count_of(ctx, it), Scalar) and not rows and not acts(it):
        return ctx.call(ordering.listed, [it])
    return new_list(ctx, sequence_of(ctx, it))


def new_dict(ctx: Context, pairs: dict[Any, Any]) -> DictRef:
    """Return a new dict."""
    made = DictRef(Cell("dict"))
    ctx.heap[made.cell] = tuple(pairs.items())
    return made


@handles(dict)
def _dict(ctx: Context, source: Any = (), **kwargs: Any) -> DictRef:
    return new_dict(ctx, pairs_of(ctx, source) | kwargs)


def mapping_of(ctx: Context, x: Any) -> dict[Any, Any] | None:
    """Return the items of a mapping, whose keys must be known; None for what is none."""
    if isinstance(x, External):
        x = opened(ctx, x)
    if isinstance(x, DictRef):
        return dict(ctx.heap[x.cell])
    if isinstance(x, dict | types.MappingProxyType):
        return dict(x)
    keys = special_method(ctx, x, "keys") if is_object(x) else None
    if keys is None:
        return None
    names = [dict_key(ctx, key) for key in sequence_of(ctx, ctx.call(keys, []))]
    return {key: get_item_op(ctx, x, key) for key in names}


def pairs_of(ctx: Context, source: Any) -> dict[Any, Any]:
    """Return the items of what `dict()` takes, a mapping or an iterable of pairs, with known keys."""
    mapping = mapping_of(ctx, source)
    if mapping is not None:
        return mapping
    pairs = {}
    for item in sequence_of(ctx, source):
        key, value = sequence_of(ctx, item)
        pairs[dict_key(ctx, key)] = value
    return pairs


@handles(set)
def _set(ctx: Context, iterable: Any = ()) -> Any:
    return ctx.call(Set, [iterable])


@handles(in_set_order)
def _in_set_order(ctx: Context, items: tuple[Any, ...], *, sure: bool) -> tuple[Any, ...]:
    made = tuple(set(items))
    if not sure and len(items) > 1:
        raise ctx.error(
            "JG237", name="iterating over a set", why="its order depends on more than its items; use sorted"
        )
    return made


@handles(frozenset)
def _frozenset(ctx: Context, iterable: Any = ()) -> frozenset[Any]:
    items = in_any_order(ctx, iterable)
    if not is_known(tuple(items)):
        raise ctx.error("JG236", what="a set")
    return frozenset(items)


@handles(slice)
def _slice(ctx: Context, *args: Any) -> Any:
    parts = (None, args[0], None) if len(args) == 1 else (*args, None)[:3]
    return slice(*parts) if is_known(parts) else SliceOf(*parts)


# --- texts and the world outside


@handles(str)
def _str(ctx: Context, x: Any = "", *more: Any) -> Any:
    if isinstance(x, Record | External):
        found = special_method(ctx, x, "__str__") or special_method(ctx, x, "__repr__")
        if found is not None:
            return ctx.call(found, [])
    return str(x, *more) if more else format_value(ctx, x, "s")


@handles(repr)
def _repr(ctx: Context, x: Any) -> Any:
    if isinstance(x, Record | External):
        found = special_method(ctx, x, "__repr__")
        if found is not None:
            return ctx.call(found, [])
    return format_value(ctx, x, "r")


@handles(format)
def _format(ctx: Context, x: Any, spec: Any = "") -> Any:
    return format_value(ctx, x, None, spec)


@handles(print, input, open)
def _world(ctx: Context, *args: Any, **kwargs: Any) -> Any:
    raise ctx.error("JG238")


@handles(globals, locals, eval, exec)
def _names(ctx: Context, *args: Any, **kwargs: Any) -> Any:
    raise ctx.error("JG237", name="globals, locals, eval or exec", why="it depends on the names of running code")
