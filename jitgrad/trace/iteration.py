"""Iterating: what `for x in y` and everything that takes an iterable does with an abstract value.

In: any abstract value. Out: an `IterSequence` of items known one by one, over which loops unroll; an `IterRange`; or an
`IterRows`, whose k-th item is made at need: rows of arrays, items of lists that grew in a loop, and `zip` and
`enumerate` of such. `IterRange` and `IterRows` keep loops loops.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from jitgrad.errors import UnsupportedError
from jitgrad.graph.ops.memory import Entry, Pick, Span
from jitgrad.trace.abstract import (
    Box,
    Cell,
    DictRef,
    External,
    IndexRange,
    IterRange,
    IterRows,
    IterSequence,
    ListRef,
    OneOf,
    Read,
    Record,
    Ref,
    Scalar,
    TaggedRef,
    Watched,
)
from jitgrad.trace.algorithms.containers import Items, Keys, Set, Values
from jitgrad.trace.algorithms.iterators import each, first_of
from jitgrad.trace.arithmetic import binary
from jitgrad.trace.arrays import as_array, read, scalar_value, shape_of
from jitgrad.trace.attributes import opened
from jitgrad.trace.calls import class_of, handles
from jitgrad.trace.columns import grown_length, is_grown, leaves_of_list
from jitgrad.trace.context import Context
from jitgrad.trace.extents import surely
from jitgrad.trace.grown_items import item_in_range
from jitgrad.trace.keys import view_of
from jitgrad.trace.loop_signals import NeedUnroll
from jitgrad.trace.objects import special_method, type_name
from jitgrad.trace.sizes import dim_scalar, static_int
from jitgrad.trace.watching import CHANGED, acts, of_pairs, one_by_one, up_to_date, watched_from

__all__ = [
    "Held", "Once", "asked", "count_of", "held", "in_any_order", "item_at", "iterate", "least", "mapped", "next_held",
    "once", "range_count", "row", "sequence_of", "zipped",
]  # fmt: skip


class Held:
    """Class of the iterators that a program keeps in a variable and asks for items with `next`."""


class Once:
    """Class of what has its items for one loop: generators, `zip`, `map` and their like."""


# Rows that are taken one by one by what stands for `filter` and its like.
_FEW = 100

# As errors name them.
Held.__name__ = Once.__name__ = "iterator"


_VIEWS = {Items: "items", Keys: "keys", Values: "values"}


def iterate(ctx: Context, x: Any) -> Any:
    """Return an iterator over any iterable value.

    Raises
    ------
    TypeError
        As Python, for what cannot be iterated.
    """
    if isinstance(x, IterSequence | IterRange | IterRows):
        return x
    if isinstance(x, External):
        thing = x.thing
        if isinstance(thing, list | dict):
            return iterate(ctx, opened(ctx, x))
    if isinstance(x, tuple):
        return IterSequence(x)
    if isinstance(x, ListRef):
        if is_grown(ctx, x):
            return IterRows(_list_item(x), (x, *leaves_of_list(ctx, x)), Scalar(grown_length(ctx, x), "int", 0, None))
        items = ctx.heap[x.cell]
        return IterSequence(items, watched=(Watched(x, items),), live=True)
    if isinstance(x, DictRef):
        pairs = ctx.heap[x.cell]
        return IterSequence(tuple(k for k, _ in pairs), watched=(Watched(x, pairs),))
    if isinstance(x, range):
        return IterRange(x.start, x.step, len(x))
    if isinstance(x, IndexRange):
        return IterRange(x.start, x.step, range_count(ctx, x))
    if isinstance(x, Ref | TaggedRef | np.ndarray):
        return _rows(ctx, x)
    if isinstance(x, Record) and x.cls in _VIEWS:
        of = dict(ctx.heap[x.cell])["_of"]
        pairs = ctx.heap[of.cell]
        kind = _VIEWS[x.cls]
        return IterSequence(of_pairs(pairs, kind), watched=(Watched(of, pairs, kind=kind),), live=True)
    if isinstance(x, Record | External):
        return _iterate_object(ctx, x)
    if isinstance(x, Scalar | OneOf):
        raise TypeError(f"'{type_name(ctx, x)}' object is not iterable")
    if isinstance(x, str | bytes | frozenset | set | dict | list | enum.EnumType):
        return IterSequence(tuple(x))
    if hasattr(type(x), "__next__"):
        raise ctx.error(
            "JG237", name=f"iterating over a {type(x).__name__}", why="its state is kept outside the program"
        )
    if not hasattr(type(x), "__iter__"):
        raise TypeError(f"'{type_name(ctx, x)}' object is not iterable")
    return IterSequence(tuple(x))


def in_any_order(ctx: Context, x: Any) -> tuple[Any, ...]:
    """Return the items of an iterable for what does not depend on their order: of a set that need not be known."""
    if isinstance(x, Record) and x.cls is Set:
        return tuple(item for item, _ in ctx.heap[dict(ctx.heap[x.cell])["_items"].cell])
    return sequence_of(ctx, x)


def _iterate_object(ctx: Context, x: Any) -> Any:
    if isinstance(x, Record) and x.cls in (Held, Once):
        rest = dict(ctx.heap[x.cell])["rest"]
        if isinstance(rest, tuple):
            rest = ctx.generate(*rest)
        if not isinstance(rest, IterSequence | IterRange | IterRows):
            raise ctx.error("JG248")
        # A loop may leave some of them, which are not known from here on.
        ctx.conflict(x.cell)
        ctx.heap[x.cell] = (("rest", None),)
        return rest if isinstance(rest, IterRange) else up_to_date(ctx, rest)
    found = special_method(ctx, x, "__iter__")
    if found is not None:
        made = ctx.call(found, [])
        if isinstance(made, Record) and made.cls not in (Held, Once):
            raise ctx.error("JG237", name=f"iterating over a {made.cls.__name__}", why="its __next__ is Python code")
        made = iterate(ctx, made)
        of = CHANGED.get(x.cls) if isinstance(x, Record) and isinstance(made, IterSequence) else None
        if of is not None:
            items = dict(ctx.heap[x.cell])["_items"]
            made = replace(made, watched=(Watched(items, ctx.heap[items.cell], kind=of),))
        return made
    length, item = special_method(ctx, x, "__len__"), special_method(ctx, x, "__getitem__")
    if item is None:
        raise TypeError(f"'{class_of(ctx, x).__name__}' object is not iterable")
    if length is None:
        raise ctx.error("JG237", name=f"iterating over a {class_of(ctx, x).__name__}", why="it ends by an IndexError")
    count = static_int(ctx, ctx.call(length, []), "the length of what is iterated")
    items = []
    # Python asks until there is an IndexError, wherever that is.
    with suppress(IndexError):
        for k in range(count + 1):
            items.append(ctx.call(item, [k]))
        why = "it does not end where its __len__ says"
        raise ctx.error("JG237", name=f"iterating over a {class_of(ctx, x).__name__}", why=why)
    return IterSequence(tuple(items))


# --- rows


def row(ctx: Context, x: Any, k: Any) -> Any:
    """Return `x[k]` of an array along its leading axis, for a position that is in range: a NumPy scalar or a view."""
    shape = shape_of(ctx, x)
    at = k.value if isinstance(k, Scalar) else k
    entries: tuple[Entry, ...] = (Pick(at), *(Span(0, 1, d) for d in shape[1:]))
    ref = view_of(ctx, x, Box(entries, tuple(range(len(shape) - 1))))
    return Scalar(read(ctx, ref), "numpy") if len(shape) == 1 else ref


def _rows(ctx: Context, x: Any) -> IterRows:
    if isinstance(x, np.ndarray):
        x = ctx.fresh(as_array(ctx, x))
    shape = shape_of(ctx, x)
    if not shape:
        raise TypeError("iteration over a 0-d array")
    return IterRows(_row_of(x), (x,), dim_scalar(ctx, shape[0]))


def _row_of(x: Any) -> Callable[[Context, Any], Any]:
    def make(ctx: Context, k: Any) -> Any:
        return row(ctx, x, k)

    return make


def _list_item(x: ListRef) -> Callable[[Context, Any], Any]:
    def make(ctx: Context, k: Any) -> Any:
        if not is_grown(ctx, x):
            return ctx.heap[x.cell][static_int(ctx, k, "the index of a list")]
        return item_in_range(ctx, x.cell, k.value if isinstance(k, Scalar) else k)

    return make


# --- counting


def range_count(ctx: Context, x: IndexRange) -> Any:
    """Return how many items a range has: an int, or an int Scalar that is not negative."""
    start, stop, step = x.start, x.stop, x.step
    if isinstance(step, Scalar):
        try:
            step = ctx.note_static(step, "the step of a range")
        except (NeedUnroll, UnsupportedError):
            return _at_least_zero(ctx, _span_either_way(ctx, start, stop, step))
    if step == 0:
        raise ValueError("range() arg 3 must not be zero")
    if not any(isinstance(v, Scalar) for v in (start, stop)):
        return len(range(start, stop, step))
    first, last = (start, stop) if step > 0 else (stop, start)
    span = binary(ctx, "-", last, first)
    if abs(step) != 1:
        span = binary(ctx, "//", binary(ctx, "+", span, abs(step) - 1), abs(step))
    return _at_least_zero(ctx, span)


def _span_either_way(ctx: Context, start: Any, stop: Any, step: Scalar) -> Any:
    """Return how many items a range has whose step data decide, a number below 0 for none."""
    g = ctx.g
    up = g.greater(step.value, ctx.constant(0, np.int64))

    def chosen(x: Any, y: Any, low: int | None = None) -> Scalar:
        return Scalar(g.select(up, scalar_value(ctx, x, np.int64), scalar_value(ctx, y, np.int64)), "int", low, None)

    length = chosen(step, binary(ctx, "*", step, -1), 1)
    span = binary(ctx, "-", chosen(stop, start), chosen(start, stop))
    return binary(ctx, "//", binary(ctx, "+", span, binary(ctx, "-", length, 1)), length)


def _at_least_zero(ctx: Context, span: Any) -> Any:
    if not isinstance(span, Scalar):
        return max(span, 0)
    if span.low is not None and span.low >= 0:
        return span
    if surely(ctx, 0, (1, span.value)):
        return Scalar(span.value, "int", 0, span.high)
    zero = ctx.constant(0, np.int64)
    value = ctx.g.select(ctx.g.greater(span.value, zero), span.value, zero)
    ctx.spans[value] = span.value
    return Scalar(value, "int", 0, None if span.high is None else max(span.high, 0))


def count_of(ctx: Context, it: Any) -> Any:
    """Return how many items an iterator still has: an int, or an int Scalar."""
    if isinstance(it, IterSequence):
        return len(it.items) - it.position
    if isinstance(it.position, int) and it.position == 0:
        return it.count
    return binary(ctx, "-", it.count, it.position)


def least(ctx: Context, counts: Sequence[Any]) -> Any:
    """Return the smallest of some counts."""
    known = [c for c in counts if isinstance(c, int)]
    result: Any = min(known) if known else None
    for c in counts:
        if isinstance(c, int) or (isinstance(result, Scalar) and c.value is result.value):
            continue
        if result is None:
            result = c
            continue
        a, b = scalar_value(ctx, result), scalar_value(ctx, c)
        result = Scalar(ctx.g.select(ctx.g.less(b, a), b, a), "int", 0, None)
    return 0 if result is None else result


# --- items


def item_at(ctx: Context, it: Any, k: Any) -> Any:
    """Return the k-th of the items that an iterator still has; k is an int or an int Scalar, and in range."""
    if isinstance(it, IterSequence):
        return it.items[it.position + static_int(ctx, k, "the position in a sequence of Python objects")]
    at = k if isinstance(it.position, int) and it.position == 0 else _plain(ctx, "add", it.position, k)
    if isinstance(it, IterRows):
        return it.make(ctx, at)
    made = _plain(ctx, "add", it.start, _plain(ctx, "multiply", at, it.step))
    if (
        isinstance(made, Scalar)
        and isinstance(it.start, int)
        and isinstance(it.step, int)
        and isinstance(it.count, int)
    ):
        ends = (it.start, it.start + max(it.count - 1, 0) * it.step)
        made = Scalar(made.value, "int", min(ends), max(ends))
    return made


def _plain(ctx: Context, name: str, x: Any, y: Any) -> Any:
    """Return x + y or x * y of positions, which cannot overflow."""
    if isinstance(x, int) and isinstance(y, int):
        return x + y if name == "add" else x * y
    unit = 0 if name == "add" else 1
    if isinstance(x, int) and x == unit:
        return y
    if isinstance(y, int) and y == unit:
        return x
    a, b = (scalar_value(ctx, v, np.int64) for v in (x, y))
    return Scalar(ctx.g.emit(name, [a, b]).result, "int")


@handles(each)
def _each(ctx: Context, items: Any) -> Any:
    """Return an iterator over items, known by themselves if their number is known and small."""
    it = iterate(ctx, items)
    count = count_of(ctx, it)
    if isinstance(it, IterSequence) or not isinstance(count, int) or count > _FEW:
        return it
    made = tuple(item_at(ctx, it, k) for k in range(count))
    return IterSequence(
        made, watched=watched_from(ctx, it), acts=acts(it), checks=() if isinstance(it, IterRange) else it.checks
    )


@handles(first_of)
def _first_of(ctx: Context, items: Any, most: Any) -> Any:
    """Return an iterator over the first items; what would raise behind them refuses the call."""
    it = iterate(ctx, items)
    if most is None:
        return it
    it = one_by_one(ctx, it, ends=True)
    count = least(ctx, [count_of(ctx, it), most])
    if isinstance(it, IterSequence):
        return replace(it, items=it.items[: it.position + count])
    return replace(it, count=_plain(ctx, "add", it.position, count))


def sequence_of(ctx: Context, x: Any) -> tuple[Any, ...]:
    """Return the items of an iterable one by one; a run-time count must become known.

    Raises
    ------
    TypeError
        As Python, for what cannot be iterated.
    """
    it = iterate(ctx, x)
    if isinstance(x, Record) and x.cls in (Held, Once):
        ctx.heap[x.cell] = (("rest", IterSequence(())),)  # all are taken
    if isinstance(it, IterSequence):
        return it.items[it.position :]
    count = static_int(ctx, count_of(ctx, it), "the number of items of a sequence")
    return tuple(item_at(ctx, it, k) for k in range(count))


def zipped(ctx: Context, parts: Sequence[Any], strict: bool = False) -> Any:
    """Return an iterator over tuples of one item of each part."""
    its = [iterate(ctx, p) for p in parts]
    if not its:
        return IterSequence(())
    counts = [count_of(ctx, it) for it in its]
    if len(its) > 1:
        # The shortest part decides how far the others are asked.
        first, *rest = (c.value if isinstance(c, Scalar) else c for c in counts)
        its = [one_by_one(ctx, it, ends=any(c is not first and c != first for c in rest)) for it in its]
    checks = tuple(check for it in its if not isinstance(it, IterRange) for check in it.checks)
    if strict and all(isinstance(c, int) for c in counts) and len(set(counts)) > 1:
        k = next(k for k, c in enumerate(counts) if c != counts[0])
        others = "argument 1" if k == 1 else f"arguments 1-{k}"
        raise ValueError(f"zip() argument {k + 1} is {'shorter' if counts[k] < counts[0] else 'longer'} than {others}")
    count = least(ctx, counts)
    unrolls = any(isinstance(it, IterSequence) for it in its)
    if unrolls and isinstance(count, int):
        watched = tuple(w for it in its for w in watched_from(ctx, it))
        items = tuple(tuple(item_at(ctx, it, k) for it in its) for k in range(count))
        return IterSequence(items, watched=watched, acts=acts(its[0]), checks=checks)
    all_watched = [w for it in its if not isinstance(it, IterRange) for w in it.watched]
    over = tuple(v for it in its for v in _over(it))
    watched = tuple(
        w if isinstance(w.container, Read) else Watched(Read(w.container.cell), w.held) for w in all_watched
    )
    return IterRows(_tuple_of(its), over, count, watched=watched, acts=acts(its[0]), checks=checks)


def _over(it: Any) -> tuple[Any, ...]:
    if isinstance(it, IterRows):
        return (*it.over, it.count, it.position)
    if isinstance(it, IterRange):
        return (it.start, it.step, it.count, it.position)
    return tuple(it.items)


def _tuple_of(its: Sequence[Any]) -> Callable[[Context, Any], Any]:
    def make(ctx: Context, k: Any) -> Any:
        return tuple(item_at(ctx, it, k) for it in its)

    return make


def mapped(it: Any, function: Any, call: Callable[[Context, Any, Any], Any]) -> IterRows:
    """Return an iterator whose items are `call(ctx, function, item)` of those of another."""

    def make(ctx: Context, k: Any) -> Any:
        return call(ctx, function, item_at(ctx, it, k))

    count = len(it.items) - it.position if isinstance(it, IterSequence) else it.count
    watched, checks = (it.watched, it.checks) if isinstance(it, IterRows) else ((), ())
    return IterRows(make, (function, *_over(it)), count, watched=watched, acts=acts(it), checks=checks)


# --- iterators in variables


def once(ctx: Context, it: Any) -> Record:
    """Return what a program gets for an iterator that has each item once."""
    made = Record(Cell("iterator"), Once)
    ctx.heap[made.cell] = (("rest", it),)
    return made


def asked(ctx: Context, x: Any) -> Record:
    """Return an iterator over an iterable of which nothing is taken yet."""
    return x if isinstance(x, Record) and x.cls in (Held, Once) else once(ctx, iterate(ctx, x))


def held(ctx: Context, x: Any) -> Record:
    """Return an iterator over items known one by one, which `next` advances."""
    if isinstance(x, Record) and x.cls is Held:
        return x
    made = Record(Cell("iterator"), Held)
    it = one_by_one(ctx, iterate(ctx, x))
    ctx.heap[made.cell] = (("rest", it if isinstance(it, IterSequence) else IterSequence(sequence_of(ctx, it))),)
    return made


def next_held(ctx: Context, x: Any, default: Any = ...) -> Any:
    """Do `next(x)`."""
    if not isinstance(x, Record) or x.cls is not Held:
        if isinstance(x, Record | External):
            found = special_method(ctx, x, "__next__")
            if found is not None:
                return ctx.call(found, [])
        raise ctx.error(
            "JG237", name="next", why="only what iter() of a sequence of known length gives has a next item"
        )
    rest = dict(ctx.heap[x.cell])["rest"]
    if not isinstance(rest, IterSequence):
        raise ctx.error("JG248")
    rest = up_to_date(ctx, rest)
    if rest.position >= len(rest.items):
        if default is ...:
            raise StopIteration
        return default
    ctx.conflict(x.cell)
    ctx.heap[x.cell] = (("rest", replace(rest, position=rest.position + 1)),)
    return rest.items[rest.position]
