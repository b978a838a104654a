"""Classes that stand for those of `collections`: what a list or a dict holds, and what is done with it besides."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator, MutableSequence
from typing import Any

__all__ = ["STANDS_FOR", "DefaultDict", "Deque"]


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


class DefaultDict:
    """Stands for `collections.defaultdict`."""

    def __init__(self, default_factory: Callable[[], Any] | None = None, /, *args: Any, **kwargs: Any) -> None:
        if default_factory is not None and not callable(default_factory):
            raise TypeError("first argument must be callable or None")
        self.default_factory = default_factory
        self._items = dict(*args, **kwargs)

    def __getitem__(self, key: Any) -> Any:
        if key not in self._items and self.default_factory is not None:
            self._items[key] = self.default_factory()
        return self._items[key]

    def __setitem__(self, key: Any, x: Any) -> None:
        self._items[key] = x

    def __delitem__(self, key: Any) -> None:
        del self._items[key]

    def __len__(self) -> int:
        return len(self._items)

    def __bool__(self) -> bool:
        return len(self._items) > 0

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __contains__(self, key: Any) -> bool:
        return key in self._items

    def __eq__(self, other: Any) -> Any:
        return self._items == (other._items if isinstance(other, DefaultDict) else other)

    def keys(self) -> Any:
        """Return the keys."""
        return self._items.keys()

    def values(self) -> Any:
        """Return the values."""
        return self._items.values()

    def items(self) -> Any:
        """Return the pairs of keys and values."""
        return self._items.items()

    def get(self, key: Any, default: Any = None, /) -> Any:
        """Return a value, or a default that is not kept."""
        return self._items.get(key, default)

    def setdefault(self, key: Any, default: Any = None, /) -> Any:
        """Return a value, or a default that is kept."""
        return self._items.setdefault(key, default)

    def pop(self, key: Any, *default: Any) -> Any:
        """Take out a value."""
        return self._items.pop(key, *default)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Take over other items."""
        self._items.update(*args, **kwargs)

    def clear(self) -> None:
        """Take out all items."""
        self._items.clear()

    def copy(self) -> Any:
        """Return another one of the same items."""
        return collections.defaultdict(self.default_factory, self._items)


# What a program sees.
STANDS_FOR: dict[type, type] = {DefaultDict: collections.defaultdict, Deque: collections.deque}
