"""Looking into abstract values: what cells and graph values they hold, whether two are surely one.

In: abstract values, heaps. Out: cells, graph values, answers. This room changes nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from types import NoneType
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.index import Span
from jitgrad.graph.ops.shape import split_shape
from jitgrad.graph.types import ListType, Type
from jitgrad.trace.abstract import (
    Abstract,
    AnyOf,
    BoundMethod,
    Box,
    Cell,
    Columns,
    DictRef,
    Func,
    IterRows,
    ListRef,
    Maybe,
    OneOf,
    Record,
    Ref,
    Reshape,
    Scalar,
    TaggedRef,
)
from jitgrad.trace.context import Context

__all__ = ["cells_of", "form_of", "pool_of", "reachable", "same", "undefined", "values_in"]

# Most of what is looked into, of which there is nothing to be asked.
_PLAIN = frozenset({NoneType, bool, bytes, float, int, str})


def undefined(ctx: Context, t: Type) -> Value:
    """Return a value of a type that nobody reads."""
    if isinstance(t, ListType):
        made: Value = ctx.g.list_empty(type=t)
        return made
    attr, dims = split_shape(t.shape)
    made = ctx.g.undef(*dims, shape=attr, dtype=t.dtype)
    return made


def same(a: Any, b: Any) -> bool:
    """Whether two abstract values are surely one: identical, or known objects equal in type and bits."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return struct.pack("d", a) == struct.pack("d", b)
    if isinstance(a, np.generic):
        return a.dtype == b.dtype and a.tobytes() == b.tobytes()
    if isinstance(a, Scalar):
        return a.value is b.value and a.kind == b.kind and a.is_numpy is b.is_numpy
    if isinstance(a, AnyOf | OneOf):
        return same(a.flags, b.flags) and same(a.choices, b.choices)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, slice):
        return same((a.start, a.stop, a.step), (b.start, b.stop, b.step))
    if isinstance(a, Abstract | int | str | bytes | range | frozenset | np.dtype | complex):
        return bool(a == b)
    return False


def cells_of(value: Any) -> list[Cell]:
    """Return the cells that an abstract value refers to directly."""
    if type(value) in _PLAIN or type(value) is Scalar:
        return []
    if isinstance(value, Ref | ListRef | DictRef | Record):
        return [value.cell]
    if isinstance(value, TaggedRef):
        return [r.cell for r in value.choices]
    if isinstance(value, OneOf):
        return cells_of(value.choices)
    if isinstance(value, Columns):
        pools = [n for n in value.names if isinstance(n, Cell)]
        return pools + cells_of(value.lists if value.rows is None else (*value.lists, value.rows))
    if isinstance(value, tuple):
        return [c for v in value for c in cells_of(v)]
    if isinstance(value, Func):
        return [*value.closure, *cells_of(value.defaults), *(c for _, v in value.kwdefaults for c in cells_of(v))]
    if isinstance(value, BoundMethod):
        return cells_of(value.self) + cells_of(value.function)
    if isinstance(value, Maybe):
        return cells_of(value.value)
    if isinstance(value, IterRows):
        return [c for v in value.over for c in cells_of(v)]
    items = getattr(value, "items", None)
    return cells_of(items) if isinstance(items, tuple) else []


def pool_of(held: Any) -> Cell | None:
    """Return the pool in which the items of a list lie (`pools.py`), given what it holds; None if they lie in none."""
    return held.names[0] if isinstance(held, Columns) and isinstance(held.names[0], Cell) else None


def reachable(heap: dict[Cell, Any], roots: Iterable[Any]) -> list[Cell]:
    """Return the cells that can be reached from abstract values, in order of discovery."""
    found: dict[Cell, None] = {}
    todo = [c for r in roots for c in cells_of(r)]
    while todo:
        cell = todo.pop()
        if cell in found:
            continue
        found[cell] = None
        if cell in heap:
            todo.extend(cells_of(heap[cell]))
        todo.extend(c for c in (cell.which, cell.arrays) if c is not None)
    return list(found)


def values_in(value: Any) -> list[Value]:
    """Return the graph values inside an abstract value."""
    if type(value) in _PLAIN:
        return []
    if isinstance(value, Value):
        return [value]
    if isinstance(value, Scalar):
        return [value.value] if value.is_numpy is None else [value.value, value.is_numpy]
    if isinstance(value, tuple):
        return [v for x in value for v in values_in(x)]
    if isinstance(value, Ref):
        return values_in(value.view)
    if isinstance(value, Box):
        return [x for e in value.entries for x in e if isinstance(x, Value)]
    if isinstance(value, Reshape):
        return [d for d in value.to if isinstance(d, Value)]
    if isinstance(value, TaggedRef):
        return [value.tag, *values_in(value.choices)]
    if isinstance(value, Maybe):
        return [value.flag, *values_in(value.value)]
    if isinstance(value, BoundMethod):
        return values_in(value.self)
    if isinstance(value, Func):
        return values_in(value.defaults) + [v for _, x in value.kwdefaults for v in values_in(x)]
    if isinstance(value, Abstract):
        names = [n for c in type(value).__mro__ for n in getattr(c, "__slots__", ())]
        parts = [getattr(value, n) for n in names if n not in ("cell", "thing", "source", "cls", "make", "globals")]
        return [v for p in parts for v in values_in(p)]
    return []


def form_of(view: Any) -> Any:
    """Return a view without its numbers: two views of one form differ in integers only."""
    made: list[Any] = []
    for link in view:
        if isinstance(link, Reshape):
            made.append(link)
        else:
            made.append((tuple((type(e), e[2] if isinstance(e, Span) else None) for e in link.entries), link.order))
    return tuple(made)
