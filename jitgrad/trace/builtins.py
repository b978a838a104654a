"""Python's builtins that are about objects: types, attributes, ranges, iterators, containers, texts, printing.

In: abstract values. Out: abstract values. Builtins of numbers are in `python_numbers.py`, methods of containers in
`containers.py`. What would read or write the world outside is refused by name.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.errors import JitgradError
from jitgrad.graph.ir import Value
from jitgrad.trace import python_numbers
from jitgrad.trace.abstract import (
    UNBOUND,
    Abstract,
    BoundMethod,
    Cell,
    DictRef,
    External,
    Func,
    IndexRange,
    IterRange,
    IterRows,
    IterSequence,
    ListRef,
    Record,
    Ref,
    Scalar,
    SliceOf,
    TaggedRef,
)
from jitgrad.trace.arrays import is_numeric, shape_of
from jitgrad.trace.calls import (
    HANDLERS,
    PURE,
    Native,
    attribute,
    class_of,
    handles,
    is_known,
    opened,
    put_attribute,
    set_attribute,
)
from jitgrad.trace.context import Context
from jitgrad.trace.iteration import (
    count_of,
    held,
    item_at,
    iterate,
    mapped,
    next_held,
    row,
    sequence_of,
    zipped,
)
from jitgrad.trace.operators import (
    binary_op,
    both,
    compare_op,
    either,
    get_item_op,
    is_object,
    special_method,
    type_name,
)
from jitgrad.trace.python_numbers import folded, truth_value
from jitgrad.trace.sizes import static_int
from jitgrad.trace.subscripts import new_list, static_key, view_of
from jitgrad.trace.texts import Text, format_value

__all__ = ["format_value", "iterate", "new_dict", "sequence_of"]

PURE.update([ord, chr, hex, oct, bin, ascii, frozenset, property, staticmethod, bytes])


# --- types and attributes


@handles(type)
def _type(ctx: Context, x: Any, *rest: Any) -> Any:
    if rest:
        raise ctx.error("JG237", name="type(name, bases, namespace)", why="classes are made outside of compiled code")
    return class_of(ctx, x)


@handles(isinstance)
def _isinstance(ctx: Context, x: Any, classes: Any) -> bool:
    if isinstance(classes, tuple):
        return any(_isinstance(ctx, x, c) for c in classes)
    if not isinstance(x, Abstract):
        return isinstance(x, classes)
    if isinstance(x, External):
        return isinstance(x.thing, classes)
    return issubclass(class_of(ctx, x), classes)


@handles(issubclass)
def _issubclass(ctx: Context, cls: Any, classes: Any) -> bool:
    return issubclass(cls, classes)


@handles(callable)
def _callable(ctx: Context, x: Any) -> bool:
    if isinstance(x, Func | BoundMethod | Native):
        return True
    if isinstance(x, Record):
        return callable(getattr(x.cls, "__call__", None))
    return callable(x.thing if isinstance(x, External) else x) and not (
        isinstance(x, Abstract) and not isinstance(x, External)
    )


@handles(getattr)
def _getattr(ctx: Context, x: Any, name: str, *default: Any) -> Any:
    try:
        return attribute(ctx, x, name)
    except AttributeError:
        if default:
            return default[0]
        raise


@handles(hasattr)
def _hasattr(ctx: Context, x: Any, name: str) -> bool:
    try:
        attribute(ctx, x, name)
    except AttributeError:
        return False
    except JitgradError as found:
        if found.code != "JG232":
            raise
    return True


@handles(setattr)
def _setattr(ctx: Context, x: Any, name: str, value: Any) -> None:
    set_attribute(ctx, x, name, value)


@handles(object.__setattr__)
def _object_setattr(ctx: Context, x: Any, name: str, value: Any) -> None:
    if isinstance(x, Record):
        put_attribute(ctx, x, name, value)
    else:
        set_attribute(ctx, x, name, value)


@handles(object.__getattribute__)
def _object_getattribute(ctx: Context, x: Any, name: str) -> Any:
    return attribute(ctx, x, name)


@handles(object.__new__)
def _object_new(ctx: Context, cls: type, *args: Any, **kwargs: Any) -> Record:
    made = Record(Cell(cls.__name__), cls)
    ctx.heap[made.cell] = ()
    return made


@handles(object.__init__)
def _object_init(ctx: Context, x: Any, *args: Any, **kwargs: Any) -> None:
    if args or kwargs:
        raise TypeError("object.__init__() takes exactly one argument (the instance to initialize)")


@handles(object.__eq__)
def _object_eq(ctx: Context, x: Any, y: Any) -> Any:
    same = x is y or (isinstance(x, Record) and x == y)
    return True if same else NotImplemented


@handles(vars)
def _vars(ctx: Context, x: Any) -> Any:
    return attribute(ctx, x, "__dict__")


@handles(id)
def _id(ctx: Context, x: Any) -> Any:
    raise ctx.error("JG237", name="id", why="an address is not a value that compiled code can depend on")


@handles(hash)
def _hash(ctx: Context, x: Any) -> Any:
    if is_known(x):
        return hash(x)
    raise ctx.error("JG237", name="hash", why="it is asked of a value known only at run time")


# --- ranges and iterators


@handles(range)
def _range(ctx: Context, *args: Any) -> Any:
    if not 1 <= len(args) <= 3:
        raise TypeError(
            f"range expected {'at least 1 argument' if not args else 'at most 3 arguments'}, got {len(args)}"
        )
    start, stop, step = (0, args[0], 1) if len(args) == 1 else (*args, 1)[:3]
    parts = []
    for x in (start, stop, step):
        if isinstance(x, Ref | TaggedRef) and not shape_of(ctx, x):
            x = ctx.call(int, [x])
        if isinstance(x, Scalar):
            if x.value.array.dtype.kind not in "iub":
                raise TypeError(f"'{type_name(ctx, x)}' object cannot be interpreted as an integer")
            parts.append(x if x.kind == "int" else ctx.call(int, [x]))
        else:
            parts.append(static_int(ctx, x, "a bound of a range"))
    known = [p for p in parts if not isinstance(p, Scalar)]
    if len(known) < 3:
        if parts[2] == 0 and not isinstance(parts[2], Scalar):
            raise ValueError("range() arg 3 must not be zero")
        return IndexRange(*parts)
    return range(*known)


@handles(iter)
def _iter(ctx: Context, x: Any, *sentinel: Any) -> Any:
    if sentinel:
        raise ctx.error("JG235", name="iter", argument="a sentinel")
    it = iterate(ctx, x)
    return held(ctx, it) if isinstance(it, IterSequence) else it


@handles(next)
def _next(ctx: Context, x: Any, default: Any = ...) -> Any:
    return next_held(ctx, x, default)


@handles(enumerate)
def _enumerate(ctx: Context, iterable: Any, start: Any = 0) -> Any:
    it = iterate(ctx, iterable)
    if isinstance(it, IterSequence):
        numbers = [binary_op(ctx, "+", start, k) for k in range(len(it.items) - it.position)]
        return IterSequence(tuple(zip(numbers, it.items[it.position :], strict=True)))
    return zipped(ctx, [IterRange(start, 1, count_of(ctx, it)), it])


@handles(zip)
def _zip(ctx: Context, *parts: Any, strict: bool = False) -> Any:
    return zipped(ctx, parts, strict)


@handles(reversed)
def _reversed(ctx: Context, x: Any) -> Any:
    if is_object(x):
        found = special_method(ctx, x, "__reversed__")
        if found is not None:
            return ctx.call(found, [])
    if isinstance(x, range):
        return iterate(ctx, x[::-1])
    it = iterate(ctx, x)
    if isinstance(it, IterSequence):
        return IterSequence(tuple(reversed(it.items[it.position :])))
    last = binary_op(ctx, "-", it.count, 1)
    if isinstance(it, IterRange):
        return IterRange(item_at(ctx, it, last), binary_op(ctx, "*", it.step, -1), it.count)
    if isinstance(x, Ref | TaggedRef):
        return IterRows(_backwards(it, last), it.over, it.count)
    raise TypeError(f"'{type_name(ctx, x)}' object is not reversible")


def _backwards(it: IterRows, last: Any) -> Any:
    def make(ctx: Context, k: Any) -> Any:
        return it.make(ctx, binary_op(ctx, "-", last, k))

    return make


@handles(map)
def _map(ctx: Context, function: Any, *iterables: Any) -> Any:
    def call(ctx: Context, f: Any, item: Any) -> Any:
        return ctx.call(f, list(item))

    it = zipped(ctx, iterables)
    if isinstance(it, IterSequence):
        return IterSequence(tuple(ctx.call(function, list(item)) for item in it.items))
    return mapped(it, function, call)


@handles(filter)
def _filter(ctx: Context, function: Any, iterable: Any) -> Any:
    kept = []
    for item in sequence_of(ctx, iterable):
        flag = truth_value(ctx, item if function is None else ctx.call(function, [item]))
        if not isinstance(flag, bool):
            raise ctx.error("JG236", what="what filter() keeps")
        if flag:
            kept.append(item)
    return IterSequence(tuple(kept))


@handles(any)
def _any(ctx: Context, iterable: Any) -> Any:
    return _truth_of_all(ctx, iterable, either, False)


@handles(all)
def _all(ctx: Context, iterable: Any) -> Any:
    return _truth_of_all(ctx, iterable, both, True)


def _truth_of_all(ctx: Context, iterable: Any, join: Callable[..., Any], start: bool) -> Any:
    it = iterate(ctx, iterable)
    if not isinstance(it, IterSequence):
        return folded(ctx, it, count_of(ctx, it), 0, start, lambda flag, x: join(ctx, flag, truth_value(ctx, x)))
    flag: Any = start
    for item in it.items[it.position :]:
        if flag is (not start):
            break
        flag = join(ctx, flag, truth_value(ctx, item))
    return flag


@handles(sorted)
def sorted_list(ctx: Context, iterable: Any, *, key: Any = None, reverse: Any = False) -> Any:
    """Return `sorted(iterable)`: by known keys, or of run-time numbers of one kind."""
    items = sequence_of(ctx, iterable)
    keys = [item if key is None else ctx.call(key, [item]) for item in items]
    backwards = truth_value(ctx, reverse)
    if not isinstance(backwards, bool):
        raise ctx.error("JG236", what="the argument reverse of sorted()")
    if all(is_known(k) for k in keys):
        order = sorted(range(len(items)), key=keys.__getitem__, reverse=backwards)
        return new_list(ctx, [items[k] for k in order])
    kinds = {class_of(ctx, item) for item in items}
    if key is not None or len(kinds) != 1 or not is_numeric(items[0]):
        raise ctx.error("JG236", what="the keys of sorted()")
    array = ctx.call(np.sort, [new_list(ctx, items)])
    rows = [row(ctx, array, k) for k in range(len(items))]
    made = [
        Scalar(r.value, items[0].kind if isinstance(items[0], Scalar) else class_of(ctx, items[0]).__name__)
        for r in rows
    ]
    return new_list(ctx, made[::-1] if backwards else made)


# --- containers


@handles(tuple)
def _tuple(ctx: Context, iterable: Any = ()) -> tuple[Any, ...]:
    return tuple(sequence_of(ctx, iterable))


@handles(list)
def _list(ctx: Context, iterable: Any = ()) -> ListRef:
    if isinstance(iterable, ListRef) and isinstance(ctx.heap[iterable.cell], Value):
        made = ListRef(Cell("list"))
        ctx.heap[made.cell] = ctx.heap[iterable.cell]
        return made
    return new_list(ctx, sequence_of(ctx, iterable))


def new_dict(ctx: Context, pairs: dict[Any, Any]) -> DictRef:
    """Return a new dict."""
    made = DictRef(Cell("dict"))
    ctx.heap[made.cell] = tuple(pairs.items())
    return made


@handles(dict)
def _dict(ctx: Context, source: Any = (), **kwargs: Any) -> DictRef:
    return new_dict(ctx, pairs_of(ctx, source) | kwargs)


def pairs_of(ctx: Context, source: Any) -> dict[Any, Any]:
    """Return the items of what `dict()` takes, a mapping or an iterable of pairs, with known keys."""
    if isinstance(source, External):
        source = opened(ctx, source)
    if isinstance(source, DictRef):
        return dict(ctx.heap[source.cell])
    if isinstance(source, dict | types.MappingProxyType):
        return dict(source)
    pairs = {}
    for item in sequence_of(ctx, source):
        key, value = sequence_of(ctx, item)
        pairs[static_key(ctx, key, "the key of a dict")] = value
    return pairs


@handles(set, frozenset)
def _set(ctx: Context, iterable: Any = ()) -> frozenset[Any]:
    items = sequence_of(ctx, iterable)
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


__all__ += [
    "HANDLERS",
    "UNBOUND",
    "Text",
    "compare_op",
    "get_item_op",
    "pairs_of",
    "python_numbers",
    "sorted_list",
    "view_of",
]
