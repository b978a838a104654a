"""Generators that stand for `filter`, `map` and the iterators of `itertools`: they ask for an item when they need it.

Each is what Python's documentation says of it. The tracer treats them as any generator (`generators.py`): nothing of
them runs before somebody asks, and what they read is watched.
"""

# Items are asked for one by one, as `tuple(items)` does not.
# ruff: noqa: UP028

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any

__all__ = [
    "accumulated", "all_of", "any_of", "chained", "compressed", "dropped_while", "each", "filtered", "filtered_out",
    "first_of", "mapped", "next_of", "pairs", "pieces", "put_each", "spread", "taken_while", "zipped_longest",
]  # fmt: skip


def any_of(items: Iterable[Any]) -> bool:
    """Stand for `any`."""
    for item in items:  # noqa: SIM110
        if item:
            return True
    return False


def all_of(items: Iterable[Any]) -> bool:
    """Stand for `all`."""
    for item in items:  # noqa: SIM110
        if not item:
            return False
    return True


def each(items: Iterable[Any]) -> Iterable[Any]:
    """Return items that are gone over one by one, each known by itself where there are few; the tracer's meaning."""
    return items


def first_of(items: Iterable[Any], most: int | None) -> Iterable[Any]:
    """Return the first of some items, of which no more are asked for; the tracer's meaning."""
    return items if most is None else list(items)[:most]


def next_of(items: Iterable[Any], *default: Any) -> Any:
    """Stand for `next` of a generator."""
    for item in each(items):
        return item
    if default:
        return default[0]
    raise StopIteration


def put_each(put: Callable[[Any], Any], items: Iterable[Any]) -> None:
    """Hand each item to a function."""
    for item in each(items):
        put(item)


def mapped(function: Callable[..., Any], items: Iterable[Any]) -> Iterator[Any]:
    """Stand for `map` with one iterable."""
    for item in each(items):
        yield function(item)


def spread(function: Callable[..., Any], items: Iterable[Iterable[Any]]) -> Iterator[Any]:
    """Stand for `itertools.starmap`."""
    for item in each(items):
        yield function(*item)


def filtered(function: Callable[[Any], Any] | None, items: Iterable[Any]) -> Iterator[Any]:
    """Stand for `filter`."""
    for item in each(items):
        if item if function is None else function(item):
            yield item


def filtered_out(function: Callable[[Any], Any] | None, items: Iterable[Any]) -> Iterator[Any]:
    """Stand for `itertools.filterfalse`."""
    for item in each(items):
        if not (item if function is None else function(item)):
            yield item


def taken_while(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """Stand for `itertools.takewhile`."""
    for item in each(items):
        if not function(item):
            break
        yield item


def dropped_while(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
    """Stand for `itertools.dropwhile`."""
    dropping = True
    for item in each(items):
        if dropping and function(item):
            continue
        dropping = False
        yield item


def compressed(pairs: Iterable[tuple[Any, Any]]) -> Iterator[Any]:
    """Stand for `itertools.compress` of pairs of an item and whether it is taken."""
    for item, wanted in each(pairs):
        if wanted:
            yield item


def accumulated(
    items: Iterable[Any], function: Callable[[Any, Any], Any] | None = None, initial: Any = None
) -> Iterator[Any]:
    """Stand for `itertools.accumulate`."""
    function = operator.add if function is None else function
    first = initial is None
    total = initial
    if not first:
        yield total
    for item in each(items):
        total = item if first else function(total, item)
        first = False
        yield total


def chained(parts: Iterable[Iterable[Any]]) -> Iterator[Any]:
    """Stand for `itertools.chain.from_iterable`."""
    for part in each(parts):
        for item in each(part):
            yield item


def pairs(items: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
    """Stand for `itertools.pairwise`."""
    first = True
    before = None
    for item in each(items):
        if not first:
            yield before, item
        before = item
        first = False


def pieces(items: Iterable[Any], bounds: slice) -> Iterator[Any]:
    """Stand for `itertools.islice`."""
    kept = []
    for item in each(first_of(items, bounds.stop)):
        kept.append(item)
    for item in kept[bounds]:
        yield item


def zipped_longest(parts: tuple[Iterable[Any], ...], fillvalue: Any) -> Iterator[tuple[Any, ...]]:
    """Stand for `itertools.zip_longest`."""
    lists = [tuple(each(part)) for part in parts]
    for k in range(max((len(items) for items in lists), default=0)):
        yield tuple(items[k] if k < len(items) else fillvalue for items in lists)
