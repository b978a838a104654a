"""Python's builtins of ranges and iterators: `range`, `enumerate`, `zip`, `map`, `filter`, `sorted`, `any`, `all`, ...

In: abstract values. Out: iterators as `iteration.py` knows them, lists, bools. A function given to `map` is called when
the items are known one by one, else when the loop asks for its item.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad.trace.abstract import (
    IndexRange,
    IterRange,
    IterRows,
    IterSequence,
    ListRef,
    Record,
    Ref,
    Scalar,
    TaggedRef,
)
from jitgrad.trace.algorithms import iterators
from jitgrad.trace.arrays import as_array, is_numeric, shape_of
from jitgrad.trace.calls import (
    class_of,
    handles,
    is_known,
)
from jitgrad.trace.comparisons import both, either
from jitgrad.trace.context import Context
from jitgrad.trace.grown_order import as_grown_list, require_numbers, sorted_grown
from jitgrad.trace.iteration import (
    Held,
    Once,
    asked,
    count_of,
    held,
    in_any_order,
    item_at,
    iterate,
    mapped,
    next_held,
    once,
    row,
    sequence_of,
    zipped,
)
from jitgrad.trace.objects import is_object, special_method, type_name
from jitgrad.trace.operators import binary_op
from jitgrad.trace.python_folds import folded
from jitgrad.trace.python_numbers import truth_value
from jitgrad.trace.sizes import static_int
from jitgrad.trace.storage import as_sequence
from jitgrad.trace.subscripts import new_list
from jitgrad.trace.watching import is_plain, one_by_one, watched_from

__all__ = ["sorted_list"]

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
        message = "range() arg 3 must not be zero"
        if isinstance(parts[2], Scalar):
            ctx.check(ctx.g.not_equal(parts[2].value, ctx.constant(0, np.int64)), ValueError, message)
        elif parts[2] == 0:
            raise ValueError(message)
        return IndexRange(*parts)
    return range(*known)


@handles(iter)
def _iter(ctx: Context, x: Any, *sentinel: Any) -> Any:
    if sentinel:
        raise ctx.error("JG235", name="iter", argument="a sentinel")
    it = iterate(ctx, x)
    return held(ctx, it) if isinstance(it, IterSequence) else once(ctx, it)


@handles(next)
def _next(ctx: Context, x: Any, default: Any = ...) -> Any:
    if isinstance(x, Record) and x.cls is Once:
        # It may not be used again.
        return ctx.call(iterators.next_of, [x] if default is ... else [x, default])
    return next_held(ctx, x, default)


@handles(enumerate)
def _enumerate(ctx: Context, iterable: Any, start: Any = 0) -> Any:
    it = iterate(ctx, iterable)
    if isinstance(it, IterSequence):
        numbers = [binary_op(ctx, "+", start, k) for k in range(len(it.items) - it.position)]
        items = tuple(zip(numbers, it.items[it.position :], strict=True))
        return once(ctx, IterSequence(items, watched=watched_from(ctx, it), acts=it.acts, checks=it.checks))
    return once(ctx, zipped(ctx, [IterRange(start, 1, count_of(ctx, it)), it]))


@handles(zip)
def _zip(ctx: Context, *parts: Any, strict: bool = False) -> Any:
    return once(ctx, zipped(ctx, parts, strict))


@handles(reversed)
def _reversed(ctx: Context, x: Any) -> Any:
    if is_object(x):
        found = special_method(ctx, x, "__reversed__")
        if found is not None:
            return ctx.call(found, [])
    if isinstance(x, range):
        return once(ctx, iterate(ctx, x[::-1]))
    it = iterate(ctx, x)
    if isinstance(it, IterSequence):
        items = tuple(reversed(it.items[it.position :]))
        return once(ctx, IterSequence(items, watched=watched_from(ctx, it, backwards=True)))
    last = binary_op(ctx, "-", it.count, 1)
    if isinstance(it, IterRange):
        return once(ctx, IterRange(item_at(ctx, it, last), binary_op(ctx, "*", it.step, -1), it.count))
    if isinstance(x, Ref | TaggedRef | ListRef):
        return once(ctx, IterRows(_backwards(it, last), it.over, it.count))
    raise TypeError(f"'{type_name(ctx, x)}' object is not reversible")


def _backwards(it: IterRows, last: Any) -> Any:
    def make(ctx: Context, k: Any) -> Any:
        return it.make(ctx, binary_op(ctx, "-", last, k))

    return make


@handles(map)
def _map(ctx: Context, function: Any, *iterables: Any) -> Any:
    def call(ctx: Context, f: Any, item: Any) -> Any:
        return ctx.call(f, list(item))

    if not iterables:
        raise TypeError("map() must have at least two arguments.")
    if len(iterables) == 1 and isinstance(iterables[0], Record) and iterables[0].cls in (Held, Once):
        return ctx.call(iterators.mapped, [function, iterables[0]])
    its = [iterate(ctx, x) for x in iterables]
    it = zipped(ctx, its)
    if not isinstance(it, IterSequence):
        return once(ctx, mapped(it, function, call))
    if len(its) == 1:
        return ctx.call(iterators.mapped, [function, once(ctx, its[0])])
    return ctx.call(iterators.spread, [function, once(ctx, it)])


@handles(filter)
def _filter(ctx: Context, function: Any, iterable: Any, /) -> Any:
    return ctx.call(iterators.filtered, [function, asked(ctx, iterable)])


@handles(any)
def _any(ctx: Context, iterable: Any) -> Any:
    return _truth_of_all(ctx, iterable, either, False, iterators.any_of)


@handles(all)
def _all(ctx: Context, iterable: Any) -> Any:
    return _truth_of_all(ctx, iterable, both, True, iterators.all_of)


def _truth_of_all(
    ctx: Context, iterable: Any, join: Callable[..., Any], start: bool, program: Callable[..., Any]
) -> Any:
    it = one_by_one(ctx, iterate(ctx, iterable), ends=True)
    if isinstance(it, IterRows) and not is_plain(it):
        # No function is called of an item behind that which decides.
        return ctx.call(program, [it])
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
    """Return `sorted(iterable)`: by known keys, or by run-time numbers, or tuples of such."""
    backwards = truth_value(ctx, reverse)
    if not isinstance(backwards, bool):
        raise ctx.error("JG236", what="the argument reverse of sorted()")
    grown = as_grown_list(ctx, as_sequence(ctx, iterable))
    if grown is not None:
        return sorted_grown(ctx, grown, key, backwards)
    items = in_any_order(ctx, iterable) if key is None else sequence_of(ctx, iterable)
    keys = [item if key is None else ctx.call(key, [item]) for item in items]
    names = [k[0] for k in keys if isinstance(k, tuple) and k and is_known(k[0])]
    if len(names) == len(keys) and all(a != b for k, a in enumerate(names) for b in names[:k]):
        keys = names  # what decides
    if all(is_known(k) for k in keys):
        order = sorted(range(len(items)), key=keys.__getitem__, reverse=backwards)
        return new_list(ctx, [items[k] for k in order])
    if key is None and _is_column(ctx, items):
        made = _column(ctx, ctx.call(np.sort, [_numbers(ctx, items)]), items)
        return new_list(ctx, made[::-1] if backwards else made)
    # Of equal keys the first stays the first, also backwards.
    turn = -1 if backwards else 1
    order = _order(ctx, keys[::turn])
    return new_list(ctx, _permuted(ctx, items[::turn], order)[::turn])


def _is_column(ctx: Context, items: Sequence[Any]) -> bool:
    """Whether items are numbers of one class."""
    kinds = {class_of(ctx, item) for item in items}
    return len(kinds) == 1 and is_numeric(items[0]) and not any(shape_of(ctx, item) for item in items)


def _numbers(ctx: Context, column: Sequence[Any]) -> Any:
    """Return numbers that decide an order as an array."""
    made = ctx.call(np.array, [new_list(ctx, list(column))])
    if len(column) > 1:
        require_numbers(ctx, as_array(ctx, made))
    return made


def _column(ctx: Context, array: Any, like: Sequence[Any]) -> list[Any]:
    """Return the elements of an array as numbers of the class that some numbers have."""
    first = like[0]
    kind = first.kind if isinstance(first, Scalar) else class_of(ctx, first).__name__
    return [Scalar(row(ctx, array, k).value, kind) for k in range(len(like))]


def _order(ctx: Context, keys: Sequence[Any]) -> Any:
    """Return positions that put keys in order: numbers, or tuples of as many numbers each."""
    rows = [key if isinstance(key, tuple) else (key,) for key in keys]
    columns = list(zip(*rows, strict=False))
    alike = len({(isinstance(key, tuple), len(parts)) for key, parts in zip(keys, rows, strict=True)}) == 1
    if not alike or not columns or not all(_is_column(ctx, column) for column in columns):
        raise ctx.error("JG236", what="the keys of sorted()")
    order: Any = None
    for column in reversed(columns):
        numbers = _numbers(ctx, column)
        if order is None:
            order = _stably(ctx, numbers)
        else:
            order = ctx.call(np.take, [order, _stably(ctx, ctx.call(np.take, [numbers, order]))])
    return order


def _stably(ctx: Context, numbers: Any) -> Any:
    return ctx.call(np.argsort, [numbers], {"stable": True})


def _permuted(ctx: Context, items: Sequence[Any], order: Any) -> list[Any]:
    """Return items in an order that data decide: numbers, tuples of such, or one and the same thing."""
    first = items[0]
    if _is_column(ctx, items):
        return _column(ctx, ctx.call(np.take, [new_list(ctx, list(items)), order]), items)
    if all(item is first for item in items):
        return list(items)
    if all(type(item) is type(first) and isinstance(item, tuple) and len(item) == len(first) for item in items):
        columns = [_permuted(ctx, column, order) for column in zip(*items, strict=True)]
        make = getattr(first, "_make", tuple)
        return [make(parts) for parts in zip(*columns, strict=True)]
    raise ctx.error("JG236", what="what sorted() puts in order by such keys")
