"""Functions of order over lists of any length: the best of some items, their keys, heaps as the standard library's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

__all__ = [
    "best_or",
    "contains",
    "either",
    "equal",
    "greatest",
    "heapify",
    "heappop",
    "heappush",
    "heappushpop",
    "heapreplace",
    "keys_of",
    "least",
    "listed",
]


def best_or(best: Any, items: Iterable[Any], key: Any, default: Any) -> Any:
    """Return the best of some items, `default` where there are none."""
    found = listed(items)
    if len(found) == 0:
        return default
    return best(found, key=key)


def listed(items: Iterable[Any]) -> list[Any]:
    """Return items as a list that grows."""
    made = []
    for item in items:
        made.append(item)
    return made


def keys_of(items: Iterable[Any], key: Callable[[Any], Any]) -> list[Any]:
    """Return what is compared of items."""
    return [key(item) for item in items]


def contains(items: Iterable[Any], x: Any) -> bool:
    """Return whether one of some items is equal to another thing."""
    for item in items:  # noqa: SIM110
        if item == x:
            return True
    return False


def equal(a: list[Any], b: list[Any]) -> bool:
    """Return whether two lists are equal."""
    if len(a) != len(b):
        return False
    for k in range(len(a)):  # noqa: SIM110
        if a[k] != b[k]:
            return False
    return True


def either(first: bool, x: Any, y: Any) -> Any:
    """Return one of two things."""
    return x if first else y


def least(items: Iterable[Any], key: Callable[[Any], Any] | None) -> Any:
    """Return the first of the least items, of which there is one."""
    found, mark = False, None
    for item in items:
        own = item if key is None else key(item)
        if not found or own < mark:
            best, mark, found = item, own, True
    return best


def greatest(items: Iterable[Any], key: Callable[[Any], Any] | None) -> Any:
    """Return the first of the greatest items, of which there is one."""
    found, mark = False, None
    for item in items:
        own = item if key is None else key(item)
        if not found or own > mark:
            best, mark, found = item, own, True
    return best


# --- heaps: each item is at most as great as the two at twice its position, and one and two behind that


def _rise(heap: list[Any], top: int, at: int) -> None:
    """Put an item at its place between a position and one above."""
    item = heap[at]
    while at > top:
        above = (at - 1) // 2
        if not item < heap[above]:
            break
        heap[at] = heap[above]
        at = above
    heap[at] = item


def _sink(heap: list[Any], at: int) -> None:
    """Put an item at its place below a position: down to the end along the lesser items, then up."""
    top, item, count = at, heap[at], len(heap)
    below = 2 * at + 1
    while below < count:
        if below + 1 < count and not heap[below] < heap[below + 1]:
            below += 1
        heap[at] = heap[below]
        at, below = below, 2 * below + 1
    heap[at] = item
    _rise(heap, top, at)


def heappush(heap: list[Any], item: Any, /) -> None:
    """Put an item into a heap."""
    heap.append(item)
    _rise(heap, 0, len(heap) - 1)


def heappop(heap: list[Any], /) -> Any:
    """Take the least item out of a heap."""
    if not heap:
        raise IndexError("index out of range")
    last = heap.pop()
    if not heap:
        return last
    found = heap[0]
    heap[0] = last
    _sink(heap, 0)
    return found


def heapreplace(heap: list[Any], item: Any, /) -> Any:
    """Take the least item out of a heap and put another in."""
    if not heap:
        raise IndexError("index out of range")
    found = heap[0]
    heap[0] = item
    _sink(heap, 0)
    return found


def heappushpop(heap: list[Any], item: Any, /) -> Any:
    """Put an item into a heap and take the least out."""
    if heap and heap[0] < item:
        found = heap[0]
        heap[0] = item
        _sink(heap, 0)
        return found
    return item


def heapify(heap: list[Any], /) -> None:
    """Make a heap of a list."""
    for at in range(len(heap) // 2 - 1, -1, -1):
        _sink(heap, at)
