"""Methods of lists and tuples that look for an item which data decide."""

from __future__ import annotations

from typing import Any

__all__ = ["count", "index", "remove"]


def index(items: Any, x: Any, start: Any = 0, stop: Any = None, /) -> int:
    """Stand for `items.index(x, start, stop)`."""
    n = len(items)
    first = start if start >= 0 else max(start + n, 0)
    behind = n if stop is None else min(stop if stop >= 0 else stop + n, n)
    for k in range(first, behind):
        if x in (items[k],):
            return k
    if isinstance(items, tuple):
        raise ValueError("tuple.index(x): x not in tuple")
    raise ValueError(f"{x!r} is not in list")


def count(items: Any, x: Any, /) -> int:
    """Stand for `items.count(x)`."""
    found = 0
    for item in items:
        if x in (item,):
            found += 1
    return found


def remove(items: Any, x: Any, /) -> None:
    """Stand for `items.remove(x)` of a list that grows."""
    for k in range(len(items)):
        if x in (items[k],):
            items.pop(k)
            return
    raise ValueError("list.remove(x): x not in list")
