"""The class that stands for tuples of which data decide how many items they have."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jitgrad.trace.algorithms import listing

__all__ = ["LongTuple", "as_tuple", "column"]


class LongTuple:
    """Stands for a tuple of which data decide how many items it has: nobody can change it."""

    def __init__(self, items: list[Any]) -> None:
        self._items = items

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __reversed__(self) -> Iterator[Any]:
        return reversed(self._items)

    def __contains__(self, x: Any) -> bool:
        return x in self._items

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return LongTuple(self._items[index])
        if not -len(self._items) <= index < len(self._items):
            raise IndexError("tuple index out of range")
        return self._items[index]

    def index(self, x: Any, start: int = 0, stop: Any = None, /) -> int:
        """Return where an item is that equals another."""
        return listing.index(self, x, start, stop)

    def count(self, x: Any, /) -> int:
        """Return how many items equal another."""
        return self._items.count(x)

    def __add__(self, other: Any) -> Any:
        if not isinstance(other, tuple):
            return NotImplemented
        made = list(self._items)
        made.extend(other)
        return LongTuple(made)

    def __hash__(self) -> int:
        return id(self)  # never called: a key of a dict with a hash of its own is refused


def as_tuple(items: list[Any]) -> tuple[Any, ...]:
    """Return the tuple that a result is, made of its items."""
    return tuple(items)


def column(items: Any, k: int) -> Any:
    """Return the items at one position of some sequences, as a tuple."""
    return LongTuple([item[k] for item in items])
