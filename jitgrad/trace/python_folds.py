"""Python's functions that fold many numbers into one: `min`, `max`, `sum`.

In: iterables. Out: abstract numbers. `min` and `max` follow Python's comparison rule (the first of equals; NaN as
Python), `sum` the algorithm of the running version, which compensates for rounding from 3.12 on. Over the rows of an
array, or a list that grew in a loop, the fold is a loop of the graph.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.trace.abstract import Columns, IterRows, IterSequence, ListRef, Ref, Scalar, TaggedRef
from jitgrad.trace.algorithms import ordering
from jitgrad.trace.alternatives import (
    NumberPart,
    NumberType,
    chosen,
    given_part,
    is_any_number,
    joined_type,
    number_of,
    number_parts,
    number_type,
)
from jitgrad.trace.arrays import array_type, describe, is_array, is_numeric, kind, scalar_value
from jitgrad.trace.calls import HANDLERS, Native, handles
from jitgrad.trace.comparisons import compare_op
from jitgrad.trace.context import Context, kind_of_python
from jitgrad.trace.extents import surely
from jitgrad.trace.inspection import undefined
from jitgrad.trace.iteration import count_of, item_at, iterate, mapped
from jitgrad.trace.operators import binary_op
from jitgrad.trace.python_numbers import truth_value
from jitgrad.trace.sizes import static_int
from jitgrad.trace.watching import is_plain

__all__ = ["choose", "folded", "kind_or_none", "python_sum", "type_is"]

# Known trips from which a sum of arrays is a loop.
_FEW = 8
_COMPENSATED = sys.version_info >= (3, 12)
_EMPTY = "iterable argument is empty" if sys.version_info >= (3, 12) else "arg is an empty sequence"


# --- choosing one of several


def choose(ctx: Context, cond: Any, x: Any, y: Any) -> Any:
    """Return `x if cond else y`."""
    if isinstance(cond, bool | np.bool_):
        return x if cond else y
    if is_any_number(x) and is_any_number(y):
        return chosen(ctx, cond.value, x, y)
    if not (is_array(x) and is_array(y)) or array_type(ctx, x) != array_type(ctx, y):
        return ctx.call(ordering.either, [cond, x, y])
    g = ctx.g
    choices = [v.choices if isinstance(v, TaggedRef) else (v,) for v in (x, y)]
    tags = [v.tag if isinstance(v, TaggedRef) else ctx.constant(0, np.int64) for v in (x, y)]
    behind = g.add(tags[1], ctx.constant(len(choices[0]), np.int64))
    return TaggedRef(g.select(cond.value, tags[0], behind), (*choices[0], *choices[1]))


def _flag(ctx: Context, x: Any) -> Any:
    return x if isinstance(x, bool) else truth_value(ctx, x)


def _extremum(op: str, name: str, program: Callable[..., Any]) -> Callable[..., Any]:
    def better(ctx: Context, a: Any, b: Any) -> Any:
        return _flag(ctx, compare_op(ctx, op, a, b))

    def of(ctx: Context, key: Any, item: Any) -> Any:
        return item if key is None else ctx.call(key, [item])

    def run(ctx: Context, *args: Any, key: Any = None, default: Any = ...) -> Any:
        if not args:
            raise TypeError(f"{name} expected at least 1 argument, got 0")
        if len(args) > 1 and default is not ...:
            raise TypeError(f"Cannot specify a default for {name}() with multiple positional arguments")
        it = IterSequence(args) if len(args) > 1 else iterate(ctx, args[0])
        count = count_of(ctx, it)
        if isinstance(count, int) and count == 0:
            if default is ...:
                raise ValueError(f"{name}() {_EMPTY}")
            return default
        if isinstance(it, IterSequence):
            best, *items = it.items[it.position :]
            top = of(ctx, key, best)
            for k, item in enumerate(items):
                found = of(ctx, key, item)
                flag = better(ctx, found, top)
                best = choose(ctx, flag, item, best)
                if k < len(items) - 1:
                    top = best if key is None else choose(ctx, flag, found, top)
            return best
        if isinstance(count, Scalar):
            if default is not ...:
                return ctx.call(ordering.best_or, [_BEST[name], it, key, default])
            positive = ctx.g.greater(count.value, ctx.constant(0, np.int64))
            ctx.check(positive, ValueError, f"{name}() {_EMPTY}")
        if isinstance(args[0], ListRef) and isinstance(ctx.heap[args[0].cell], Columns):
            return ctx.call(program, [args[0], key])
        it = _taken(ctx, it)
        if key is not None and _acts(ctx, mapped(it, key, lambda c, f, item: c.call(f, [item]))):
            return ctx.call(_extreme, [it, key, Native(better)])

        def step(best: Any, x: Any) -> Any:
            return choose(ctx, better(ctx, of(ctx, key, x), of(ctx, key, best)), x, best)

        return folded(ctx, it, count, 1, item_at(ctx, it, 0), step)

    return run


def _extreme(items: Any, key: Any, better: Any) -> Any:
    """Be traced where to compute a key changes what the program sees: it is computed once of each item."""
    best = top = None
    first = True
    for item in items:
        found = key(item)
        if first or better(found, top):
            best, top = item, found
        first = False
    return best


_BEST = {"max": max, "min": min}
HANDLERS[max] = _extremum(">", "max", ordering.greatest)
HANDLERS[min] = _extremum("<", "min", ordering.least)


# --- folds


def _take_back(ctx: Context, mark: int) -> None:
    """Remove the ops of a trial from the block under construction."""
    del ctx.g.block.ops[mark:]
    ctx.forget(ctx.g.block)


def _acts(ctx: Context, it: IterRows) -> bool:
    """Whether to make an item changes what the program may see."""
    before = dict(ctx.heap)
    with ctx.g.region():
        # The ops are dropped with the block.
        item_at(ctx, it, 0)
    changed = any(ctx.heap.get(c) is not v for c, v in before.items())
    ctx.heap = before
    return changed


def _listed(items: Any) -> Any:
    made = []
    for item in items:
        made.append(item)
    return made


def _taken(ctx: Context, it: Any) -> Any:
    """Return an iterator for what takes all items in a loop of its own, which must change nothing besides."""
    if not isinstance(it, IterRows) or is_plain(it) or not _acts(ctx, it):
        return it
    return iterate(ctx, ctx.call(_listed, [it]))


def folded(ctx: Context, it: Any, count: Any, first: int, start: Any, step: Callable[[Any, Any], Any]) -> Any:
    """Return `step(... step(step(start, item), next item) ..., last item)` for the items from position `first` on.

    The fold becomes a loop of the graph; `start` must be a number of the kind and dtype that `step` gives, and is
    brought there by taking up to two trips out of the loop.
    """
    acc = start
    for _ in range(2):
        if isinstance(count, int) and first >= count:
            return acc
        mark = len(ctx.g.block.ops)
        after = step(acc, item_at(ctx, it, first))
        known = is_any_number(acc) and is_any_number(after)
        if isinstance(count, Scalar) or (known and number_type(ctx, acc) == number_type(ctx, after)):
            # Where the sequence may be empty the start is a result, too.
            _take_back(ctx, mark)
            break
        acc, first = after, first + 1
    if isinstance(count, int) and first >= count:
        return acc
    if not is_any_number(acc):
        for place in range(first, static_int(ctx, count, "the number of items of a sequence")):
            acc = step(acc, item_at(ctx, it, place))
        return acc
    g = ctx.g
    trips = ctx.constant(count - first, np.int64) if isinstance(count, int) else count.value
    if isinstance(count, Scalar) and first:
        trips = g.subtract(trips, ctx.constant(first, np.int64))
    index_type = ctx.constant(0, np.int64).type
    t = number_type(ctx, acc)
    while True:
        parts = number_parts(t)
        with g.region([index_type, *(p.type for p in parts)]) as body:
            k: Any = Scalar(body.args[0], "int", 0, None)
            if first:
                k = Scalar(g.add(body.args[0], ctx.constant(first, np.int64)), "int", first, None)
            made = step(number_of(t, body.args[1:]), item_at(ctx, it, k))
            if not is_any_number(made):
                raise ctx.error(
                    "JG243",
                    name="the result of a fold",
                    why=f"it is {describe(made)} after an item",
                    where=ctx.location,
                )
            joined = joined_type([t, number_type(ctx, made)])
            if joined == t:
                body.yields = [_part(ctx, made, t, p) for p in parts]
                break
        t = joined
    inits = [_part(ctx, acc, t, p) for p in parts]
    return number_of(t, g.emit("for", [trips, *inits], {}, [body]).results)


def _part(ctx: Context, x: Any, t: NumberType, part: NumberPart) -> Value:
    found = given_part(ctx, x, t, part)
    return undefined(ctx, part.type) if found is None else found


@handles(sum)
def python_sum(ctx: Context, iterable: Any, start: Any = 0) -> Any:
    """Return `sum(iterable, start)`, adding in order with the running version's algorithm."""
    if isinstance(start, str):
        raise TypeError("sum() can't sum strings [use ''.join(seq) instead]")
    it = iterate(ctx, iterable)
    if isinstance(it, IterSequence):
        return _sum_items(ctx, it.items[it.position :], start)
    it = _taken(ctx, it)
    count = count_of(ctx, it)
    if isinstance(count, int) and count == 0:
        return start
    with ctx.g.region():
        # Only to see what the items are: the ops are dropped with the block.
        first = item_at(ctx, it, 0)
    if isinstance(first, Ref) and (isinstance(count, Scalar) or count > _FEW):
        return ctx.call(_added, [it, start])
    if not is_any_number(first):
        return _sum_items(
            ctx, tuple(item_at(ctx, it, k) for k in range(static_int(ctx, count, "the items of sum()"))), start
        )
    if _COMPENSATED and type_is(first, "float") and kind(start) in ("int", "float", "bool"):
        return _sum_float_rows(ctx, it, count, start)
    return folded(ctx, it, count, 0, start, lambda acc, x: binary_op(ctx, "+", acc, x))


def _added(items: Any, total: Any) -> Any:
    """Be traced like a function of the program: the first trip may change the type."""
    for item in items:
        total = total + item
    return total


def _sum_items(ctx: Context, items: Sequence[Any], start: Any) -> Any:
    acc = start
    k = 0
    while k < len(items):
        if _COMPENSATED and type_is(acc, "float"):
            # CPython's inner loop for exact floats: it ends at the first item that is neither float nor int.
            run = 0
            while k + run < len(items) and kind_or_none(items[k + run]) in ("float", "int", "bool"):
                run += 1
            if run:
                acc = _neumaier(ctx, acc, items[k : k + run])
                k += run
                continue
        acc = binary_op(ctx, "+", acc, items[k])
        k += 1
    return acc


def kind_or_none(x: Any) -> str | None:
    """Return the kind of a number, None for anything else."""
    return kind(x) if is_numeric(x) and not is_array(x) else None


def type_is(x: Any, name: str) -> bool:
    """Whether x is a Python number of a kind."""
    return kind_or_none(x) == name


def _neumaier(ctx: Context, start: Any, items: Sequence[Any]) -> Any:
    """Add floats with Neumaier's compensation; ints are added plainly, as CPython does."""
    if all(kind_of_python(x) is not None for x in (start, *items)):
        return sum(items, start)
    f64 = np.dtype(np.float64)
    total = scalar_value(ctx, start, f64)
    low: Value | None = None
    for item in items:
        x = scalar_value(ctx, item, f64)
        if kind(item) != "float":
            total = ctx.g.add(total, x)
            continue
        total, rest = _two_sum(ctx, total, x)
        low = rest if low is None else ctx.g.add(low, rest)
    return Scalar(total if low is None else _compensated(ctx, total, low), "float")


def _two_sum(ctx: Context, total: Value, x: Value) -> tuple[Value, Value]:
    """Return total + x, and what rounding lost."""
    g = ctx.g
    t = g.add(total, x)
    bigger = g.greater_equal(g.absolute(total), g.absolute(x))
    large, small = g.select(bigger, total, x), g.select(bigger, x, total)
    return t, g.add(g.subtract(large, t), small)


def _compensated(ctx: Context, total: Value, low: Value) -> Value:
    g = ctx.g
    use = g.logical_and(g.not_equal(low, 0.0), g.less(g.absolute(low), math.inf))
    made: Value = g.select(use, g.add(total, low), total)
    return made


def _sum_float_rows(ctx: Context, it: Any, count: Any, start: Any) -> Any:
    g = ctx.g
    f64 = np.dtype(np.float64)
    inits = [scalar_value(ctx, start, f64), ctx.constant(0.0, f64)]
    trips = ctx.constant(count, np.int64) if isinstance(count, int) else count.value
    with g.region([ctx.constant(0, np.int64).type, *(v.type for v in inits)]) as body:
        k, total, low = body.args
        x = scalar_value(ctx, item_at(ctx, it, Scalar(k, "int", 0, None)), f64)
        total, rest = _two_sum(ctx, total, x)
        body.yields = [total, g.add(low, rest)]
    total, low = g.emit("for", [trips, *inits], {}, [body]).results
    made = Scalar(_compensated(ctx, total, low), "float")
    if isinstance(count, int) or kind(start) == "float" or surely(ctx, 1, (1, count.value)):
        return made
    return chosen(ctx, g.greater(count.value, ctx.constant(0, np.int64)), made, start)
