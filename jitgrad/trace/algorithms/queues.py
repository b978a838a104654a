"""A class that stands for `collections.deque`: a list, and how many items it holds at most."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSequence
from typing import Any

__all__ = ["Deque"]


class Deque:
    """Stands for `collections.deque`."""

    def __init__(self, iterable: Iterable[Any] = (), maxlen: int | None = None) -> None:
        if maxlen is not None and maxlen < 0:
            raise ValueError("maxlen must be non-negative")
        self.maxlen = maxlen
        items = list(iterable)
        self._items = items if maxlen is None else items[max(len(items) - maxlen, 0) :]

    def append(self, x: Any, /) -> None:
        """Add an item at the end."""
        self._items.append(x)
        if self.maxlen is not None and len(self._items) > self.maxlen:
            self._items.pop(0)

    def appendleft(self, x: Any, /) -> None:
        """Add an item at the beginning."""
        self._items.insert(0, x)
        if self.maxlen is not None and len(self._items) > self.maxlen:
            self._items.pop()

    def extend(self, iterable: Iterable[Any], /) -> None:
        """Add items at the end."""
        for item in iterable:
            self.append(item)

    def extendleft(self, iterable: Iterable[Any], /) -> None:
        """Add items at the beginning, each before the last."""
        for item in iterable:
            self.appendleft(item)

    def pop(self) -> Any:
        """Take out the last item."""
        if not self._items:
            raise IndexError("pop from an empty deque")
        return self._items.pop()

    def popleft(self) -> Any:
        """Take out the first item."""
        if not self._items:
            raise IndexError("pop from an empty deque")
        return self._items.pop(0)

    def rotate(self, n: int = 1, /) -> None:
        """Move items from the end to the beginning."""
        if not self._items:
            return
        for _ in range(n):
            self._items.insert(0, self._items.pop())
        for _ in range(-n):
            self._items.append(self._items.pop(0))

    def clear(self) -> None:
        """Take out all items."""
        self._items.clear()

    def __len__(self) -> int:
        return len(self._items)

    def __bool__(self) -> bool:
        return len(self._items) > 0

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __getitem__(self, index: int) -> Any:
        if not -len(self._items) <= index < len(self._items):
            raise IndexError("deque index out of range")
        return self._items[index]

    def __setitem__(self, index: int, x: Any) -> None:
        if not -len(self._items) <= index < len(self._items):
            raise IndexError("deque index out of range")
        self._items[index] = x

    def __contains__(self, x: Any) -> bool:
        return x in self._items


# As Python's own: so that sequence patterns take it, and `isinstance` says so.
MutableSequence.register(Deque)
