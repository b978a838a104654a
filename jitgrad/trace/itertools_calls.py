"""Functions of `itertools`: what needs all items takes them at once, the rest asks when it is asked.

In: abstract arguments. Out: iterators as `iteration.py` knows them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from jitgrad.trace.abstract import IterRange, IterSequence
from jitgrad.trace.algorithms import iterators
from jitgrad.trace.arrays import kind
from jitgrad.trace.calls import HANDLERS, handles
from jitgrad.trace.comparisons import equal_objects
from jitgrad.trace.context import Context
from jitgrad.trace.iteration import asked, held, once, sequence_of, zipped
from jitgrad.trace.sizes import static_int

__all__: list[str] = []

# More trips than a loop makes.
_ENDLESS = 2**62


def _by_items(function: Callable[..., Any]) -> Callable[..., Any]:
    def call(ctx: Context, *args: Any, **kwargs: Any) -> Any:
        given = [
            static_int(ctx, a, "a count of itertools") if isinstance(a, int) else sequence_of(ctx, a) for a in args
        ]
        return once(ctx, IterSequence(tuple(function(*given, **kwargs))))

    return call


for _name in ("product", "permutations", "combinations", "combinations_with_replacement"):
    HANDLERS[getattr(itertools, _name)] = _by_items(getattr(itertools, _name))


def _by_function(program: Callable[..., Any]) -> Callable[..., Any]:
    def call(ctx: Context, function: Any, iterable: Any, /) -> Any:
        return ctx.call(program, [function, asked(ctx, iterable)])

    return call


HANDLERS[itertools.starmap] = _by_function(iterators.spread)
HANDLERS[itertools.filterfalse] = _by_function(iterators.filtered_out)
HANDLERS[itertools.takewhile] = _by_function(iterators.taken_while)
HANDLERS[itertools.dropwhile] = _by_function(iterators.dropped_while)


@handles(itertools.chain)
def _chain(ctx: Context, *iterables: Any) -> Any:
    return ctx.call(iterators.chained, [iterables])


@handles(itertools.chain.from_iterable)
def _from_iterable(ctx: Context, iterable: Any, /) -> Any:
    return ctx.call(iterators.chained, [asked(ctx, iterable)])


@handles(itertools.compress)
def _compress(ctx: Context, data: Any, selectors: Any) -> Any:
    return ctx.call(iterators.compressed, [once(ctx, zipped(ctx, [data, selectors]))])


@handles(itertools.pairwise)
def _pairwise(ctx: Context, iterable: Any, /) -> Any:
    return ctx.call(iterators.pairs, [asked(ctx, iterable)])


@handles(itertools.zip_longest)
def _zip_longest(ctx: Context, *iterables: Any, fillvalue: Any = None) -> Any:
    return ctx.call(iterators.zipped_longest, [tuple(asked(ctx, x) for x in iterables), fillvalue])


@handles(itertools.islice)
def _islice(ctx: Context, iterable: Any, *bounds: Any) -> Any:
    known = slice(*(None if b is None else static_int(ctx, b, "a bound of islice") for b in bounds))
    # An iterator keeps what is not asked for: it may not be used again.
    return ctx.call(iterators.pieces, [asked(ctx, iterable), known])


@handles(itertools.repeat)
def _repeat(ctx: Context, item: Any, times: Any = None) -> Any:
    if times is None:
        raise ctx.error("JG235", name="itertools.repeat", argument="no number of times")
    return once(ctx, IterSequence((item,) * static_int(ctx, times, "how often an item is repeated")))


@handles(itertools.accumulate)
def _accumulate(ctx: Context, iterable: Any, func: Any = None, *, initial: Any = None) -> Any:
    return ctx.call(iterators.accumulated, [asked(ctx, iterable), func, initial])


@handles(itertools.count)
def _count(ctx: Context, start: Any = 0, step: Any = 1) -> Any:
    if kind(start) != "int" or type(step) is not int:
        # Floats are added one after the other.
        raise ctx.error(
            "JG235", name="itertools.count", argument="other numbers than ints, or a step that is not known"
        )
    return once(ctx, IterRange(start, step, _ENDLESS))


@handles(itertools.tee)
def _tee(ctx: Context, iterable: Any, n: Any = 2, /) -> Any:
    items = tuple(sequence_of(ctx, iterable))
    return tuple(held(ctx, IterSequence(items)) for _ in range(static_int(ctx, n, "how many iterators there are")))


@handles(itertools.groupby)
def _groupby(ctx: Context, iterable: Any, key: Any = None) -> Any:
    groups: list[tuple[Any, list[Any]]] = []
    for item in sequence_of(ctx, iterable):
        own = item if key is None else ctx.call(key, [item])
        found = equal_objects(ctx, groups[-1][0], own) if groups else False
        if not isinstance(found, bool):
            raise ctx.error("JG236", what="the keys of itertools.groupby()")
        if found:
            groups[-1][1].append(item)
        else:
            groups.append((own, [item]))
    return once(ctx, IterSequence(tuple((own, once(ctx, IterSequence(tuple(items)))) for own, items in groups)))


def _batched(ctx: Context, iterable: Any, n: Any, *, strict: bool = False) -> Any:
    items, count = tuple(sequence_of(ctx, iterable)), static_int(ctx, n, "the number of items of a batch")
    if count < 1:
        raise ValueError("n must be at least one")
    if strict and len(items) % count:
        raise ValueError("batched(): incomplete batch")
    return once(ctx, IterSequence(tuple(items[k : k + count] for k in range(0, len(items), count))))


if hasattr(itertools, "batched"):
    HANDLERS[itertools.batched] = _batched
