"""Leaves of abstract values: the numbers and arrays in a structure, which derivatives are by and of.

In: arguments and results. Out: their floating-point leaves in order, the same structure with other leaves, and a
result of which data decide what it is as that which has a derivative.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import is_dataclass, replace
from typing import Any

import numpy as np

from jitgrad.errors import DifferentiationError, check_text
from jitgrad.graph.ir import Value
from jitgrad.trace.abstract import (
    AnyOf,
    Cell,
    Columns,
    DictRef,
    External,
    ListRef,
    OneOf,
    Record,
    Ref,
    Scalar,
    TaggedRef,
)
from jitgrad.trace.algorithms.tuples import LongTuple
from jitgrad.trace.alternatives import is_any_number, number_type, repacked_as
from jitgrad.trace.arrays import (
    array_type,
    describe,
    dtype_of,
    is_array,
    is_number,
    kind,
    read,
    scalar_value,
    shape_of,
)
from jitgrad.trace.attributes import attribute, opened
from jitgrad.trace.columns import content_of, grown_length, is_grown, made_of
from jitgrad.trace.context import PACKED, Context, kind_of_python
from jitgrad.trace.grown_items import item_in_range
from jitgrad.trace.grown_lists import copied_list
from jitgrad.trace.inspection import pool_of
from jitgrad.trace.resizing import Resized, resized
from jitgrad.trace.storage import as_sequence
from jitgrad.trace.subscripts import new_list
from jitgrad.trace.views import laid_as
from jitgrad.trace.ways import each_choice, flag_of

__all__ = ["AUX", "all_leaves", "float_leaves", "map_leaves", "number_like", "settled", "with_floats_as", "with_leaves"]


def _is_float_leaf(ctx: Context, x: Any) -> bool:
    if isinstance(x, AnyOf):
        return any(_is_float_leaf(ctx, c) for c in x.choices)
    if isinstance(x, ListRef):
        return ctx.heap[x.cell].type.element.dtype.kind in "fc"
    if isinstance(x, Scalar | Ref | TaggedRef) or kind_of_python(x) is not None:
        return dtype_of(ctx, x).kind in "fc"
    return False


def _decided(ctx: Context, x: Any) -> Any:
    """Return a float leaf as a number of one type: one that may be an int is differentiated as the float it may be."""
    if not isinstance(x, AnyOf):
        return x
    dtype = np.result_type(*(d for _, d in number_type(ctx, x)))
    return number_like(ctx, x, scalar_value(ctx, x, dtype))


# Tells `settled` that a part of a result has no derivative, whatever it is.
AUX = object()


def map_leaves(ctx: Context, x: Any, function: Callable[[Any], Any], ways: bool = False) -> Any:
    """Return an abstract value of the same structure with `function` applied to every number and array.

    Containers are made anew, so that the result shares no storage with x. With `ways`, one of several values, as data
    decide, is mapped as all of them and the flags that say which it is, and so are lists that grew, as such; else they
    are refused.
    """
    if isinstance(x, Ref | TaggedRef | np.ndarray) or is_any_number(x):
        return function(x)
    if isinstance(x, tuple):
        items = [map_leaves(ctx, v, function, ways) for v in x]
        return tuple(items) if type(x) is tuple else type(x)(*items)
    if isinstance(x, OneOf) and ways:
        flags = tuple(function(Scalar(f, "bool")).value for f in x.flags)
        return OneOf(flags, map_leaves(ctx, x.choices, function, ways))
    if isinstance(x, OneOf):
        if all(c is None or isinstance(c, str) for c in x.choices):
            return x
        raise ctx.error("JG240", name="a part of a result", why=f"it is {describe(x)}, as data decide")
    if isinstance(x, External):
        x = _as_record(ctx, x)
        if isinstance(x, External):
            return x
    if isinstance(x, ListRef | DictRef | Record):
        content = ctx.heap[x.cell]
        if isinstance(content, Value | Columns) and not ways:
            return _map_grown(ctx, x, content, function)
        if isinstance(content, Columns) and content.rows is not None:
            raise ctx.error("JG113", what="a list that grew in a loop")
        if isinstance(content, Value):
            return function(x)
        if (pool := pool_of(content)) is not None:
            # The arrays go with the list.
            own = function(ListRef(pool)).cell
            own.pool, own.arrays = pool.pool, own
            content = replace(content, names=(own,))
        if isinstance(content, Columns):
            return made_of(ctx, content, [map_leaves(ctx, part, function, ways) for part in content.lists])
        made = replace(x, cell=Cell(x.cell.name))
        if isinstance(x, ListRef):
            ctx.heap[made.cell] = tuple(map_leaves(ctx, v, function, ways) for v in content)
        else:
            ctx.heap[made.cell] = tuple((k, map_leaves(ctx, v, function, ways)) for k, v in content)
        return made
    return x


def _map_grown(ctx: Context, x: Any, content: Any, function: Callable[[Any], Any]) -> Any:
    """Return a list that grew with a function applied to each list of floats of which it consists, as a leaf.

    Raises
    ------
    DifferentiationError
        JG113 for lists of which the items are not of one kind, or may be one array.
    """
    if isinstance(content, Columns) and content.rows is None and content.cls in (tuple, list):
        return made_of(ctx, content, [_map_grown(ctx, p, ctx.heap[p.cell], function) for p in content.lists])
    if isinstance(content, tuple):
        return map_leaves(ctx, x, function)
    if isinstance(content, Columns) or ctx.list_kinds.get(x.cell) == "number":
        raise ctx.error("JG113", what="a list that grew in a loop")
    return function(x) if _is_float_leaf(ctx, x) else copied_list(ctx, x.cell)


def settled(ctx: Context, x: Any, like: Any) -> Any:
    """Return a result as what has a derivative, where data decide whether it is that; else it is refused, then.

    Where several choices have one, `like` (a cotangent) tells which is meant, if there is one; else it is an array.
    Arrays that differ in their lengths are one of computed lengths.
    """
    if like is AUX:
        return x
    if isinstance(x, tuple):
        models = like if isinstance(like, tuple) and len(like) == len(x) else [None] * len(x)
        items = [settled(ctx, v, m) for v, m in zip(x, models, strict=True)]
        return tuple(items) if type(x) is tuple else type(x)(*items)
    if isinstance(x, ListRef) and isinstance(like, ListRef):
        return _settled_list(ctx, x, like)
    if isinstance(x, Record) and x.cls is LongTuple and isinstance(like, tuple):
        return tuple(ctx.heap[_settled_list(ctx, as_sequence(ctx, x), new_list(ctx, like)).cell])
    if isinstance(x, DictRef) and isinstance(like, DictRef):
        named = dict(ctx.heap[like.cell])
        made = DictRef(Cell("dict"))
        ctx.heap[made.cell] = tuple((k, settled(ctx, v, named.get(k))) for k, v in ctx.heap[x.cell])
        return made
    if not isinstance(x, OneOf):
        return x
    floats = [k for k, c in enumerate(x.choices) if float_leaves(ctx, c)]
    if len(floats) > 1:
        floats = [k for k in floats if is_array(x.choices[k]) == (like is None or is_array(like))]
    if len(floats) > 1 and is_array(like):
        floats = [k for k in floats if len(shape_of(ctx, x.choices[k])) == len(shape_of(ctx, like))]
    if not floats:
        return x
    found = _of_one_length(ctx, x, floats) if len(floats) > 1 else x.choices[floats[0]]
    if found is None:
        return x
    rest = [c for k, c in enumerate(x.choices) if k not in floats]
    if rest:
        others = " or ".join(map(describe, rest))
        message = check_text(ctx.error("JG116", what=others, wanted=describe(x.choices[floats[0]])))
        flags = [flag_of(ctx, x, k) for k in floats]
        ctx.check(functools.reduce(ctx.g.logical_or, flags), DifferentiationError, message)
    return found


def _settled_list(ctx: Context, x: ListRef, like: ListRef) -> ListRef:
    """Return a list that grew as one of as many items as its cotangent has; that is checked."""
    wanted = content_of(ctx, like.cell)
    if not isinstance(wanted, tuple):
        return x
    made = ListRef(Cell("list"))
    if is_grown(ctx, x):
        length = grown_length(ctx, x)
        message = f"a list of {len(wanted)} items where {{0}} are needed"
        ctx.check(ctx.g.equal(length, ctx.dim(len(wanted))), ValueError, message, length)
        items = tuple(item_in_range(ctx, x.cell, ctx.dim(k)) for k in range(len(wanted)))
    elif len(items := content_of(ctx, x.cell)) != len(wanted):
        return x
    ctx.heap[made.cell] = tuple(settled(ctx, v, m) for v, m in zip(items, wanted, strict=True))
    return made


def _of_one_length(ctx: Context, x: OneOf, floats: Sequence[int]) -> Any:
    """Return some choices, arrays that differ in their lengths, as one array of which data decide those; else None."""
    choices = tuple(x.choices[k] for k in floats)
    if not all(map(is_array, choices)):
        return None
    first, *others = (array_type(ctx, c) for c in choices)
    ways = [w for t in others if (w := resized(first, t)) is not None]
    if len(ways) < len(others):
        return None
    way = functools.reduce(Resized.with_axes, ways)
    either = OneOf(tuple(flag_of(ctx, x, k) for k in floats[:-1]), choices)
    rows = each_choice(ctx, either, lambda c: way.rows(ctx.g, read(ctx, c)))
    lengths = [
        each_choice(ctx, either, lambda c, k=k: ctx.dim(way.lengths(shape_of(ctx, c))[k]))  # type: ignore[misc]
        for k in range(len(way.lengths(first.shape)))
    ]
    return ctx.fresh(way.array(ctx.g, rows, lengths))


def _as_record(ctx: Context, x: External) -> Any:
    if isinstance(x.thing, list | dict):
        return opened(ctx, x)
    names = getattr(x.thing, "__dict__", None)
    if names is None or (callable(x.thing) and not is_dataclass(x.thing)):
        return x
    made = Record(Cell(type(x.thing).__name__), type(x.thing))
    ctx.heap[made.cell] = tuple((n, attribute(ctx, x, n)) for n in names)
    return made


def float_leaves(ctx: Context, x: Any) -> list[Any]:
    """Return the floating-point numbers and arrays in an abstract value, in order."""
    return [_decided(ctx, leaf) for leaf in all_leaves(ctx, x) if _is_float_leaf(ctx, leaf)]


def with_floats_as(ctx: Context, x: Any, leaves: Sequence[Any]) -> Any:
    """Return a cotangent with floats for its ints where the result, of which the leaves are given, may be a float.

    In a call in which such a number is an int, so is what belongs to it; it has no derivative then.
    """
    if len(all_leaves(ctx, x)) != len(leaves):
        return x
    supply = iter(leaves)

    def as_float(leaf: Any) -> Any:
        wanted = next(supply)
        if not isinstance(wanted, AnyOf) or not is_number(leaf) or _is_float_leaf(ctx, leaf):
            return leaf
        return number_like(ctx, wanted, scalar_value(ctx, leaf, np.float64)) if _is_float_leaf(ctx, wanted) else leaf

    return map_leaves(ctx, x, as_float)


def all_leaves(ctx: Context, x: Any) -> list[Any]:
    """Return the numbers and arrays in an abstract value, in order."""
    found: list[Any] = []

    def visit(leaf: Any) -> Any:
        found.append(leaf)
        return leaf

    heap = ctx.heap
    ctx.heap = dict(heap)
    try:
        map_leaves(ctx, x, visit)
    finally:
        ctx.heap = heap
    return found


def with_leaves(ctx: Context, x: Any, leaves: Iterator[Value]) -> Any:
    """Return the structure of x with its float leaves replaced by values, of the leaf's kind; other leaves stay."""

    def swap(leaf: Any) -> Any:
        if not _is_float_leaf(ctx, leaf):
            return leaf
        value = next(leaves)
        if isinstance(leaf, ListRef):
            return _list_like(ctx, leaf, value)
        if not is_array(leaf):
            return number_like(ctx, leaf, value)
        made = laid_as(ctx, ctx.fresh(value), leaf)
        made.cell.like = leaf.cell.argument if isinstance(leaf, Ref) and not leaf.view else None
        return made

    return map_leaves(ctx, x, swap)


def _list_like(ctx: Context, x: ListRef, value: Value) -> ListRef:
    """Return a list that grew of the items of an array, which are of the kinds of another's."""
    made = ListRef(Cell(x.cell.name))
    ctx.list_kinds[made.cell] = ctx.list_kinds.get(x.cell, "array")
    if ctx.list_kinds[made.cell] in PACKED:
        value = repacked_as(ctx, value, ctx.heap[x.cell])
    ctx.heap[made.cell] = ctx.g.list_from_array(value)
    if x.cell.arrays is x.cell:
        made.cell.arrays = made.cell
    return made


def number_like(ctx: Context, leaf: Any, value: Value) -> Scalar:
    """Return a value as a number of a leaf's kind."""
    if isinstance(leaf, AnyOf):
        leaf = next(c for c in leaf.choices if _is_float_leaf(ctx, c))
        return Scalar(value, "float" if kind(leaf) == "mixed" else kind(leaf))
    return Scalar(value, kind(leaf), is_numpy=getattr(leaf, "is_numpy", None))
