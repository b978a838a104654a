"""Classes that stand for those of `collections`: what a list or a dict holds, and what is done with it besides."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Iterator, MutableSequence
from typing import Any

from jitgrad.trace.algorithms.tuples import LongTuple

__all__ = [
    "STANDS_FOR",
    "DefaultDict",
    "Deque",
    "Items",
    "Keys",
    "Ordered",
    "Set",
    "Values",
    "in_set_order",
]


class _Holder:
    """What holds items in a list or a dict."""

    _items: Any

    def clear(self) -> None:
        """Take out all items."""
        self._items.clear()

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __contains__(self, x: Any) -> bool:
        return x in self._items


class Deque(_Holder):
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

    def insert(self, index: int, x: Any, /) -> None:
        """Add an item before another."""
        if self.maxlen is not None and len(self._items) >= self.maxlen:
            raise IndexError("deque already at its maximum size")
        self._items.insert(index, x)

    def remove(self, x: Any, /) -> None:
        """Take out the first item that equals another."""
        if x not in self._items:
            raise ValueError(f"{x!r} is not in deque")
        self._items.remove(x)

    def reverse(self) -> None:
        """Turn the items round."""
        self._items.reverse()

    def count(self, x: Any, /) -> int:
        """Return how many items equal another."""
        return self._items.count(x)

    def copy(self) -> Any:
        """Return another one of the same items."""
        return collections.deque(self._items, self.maxlen)

    def __reversed__(self) -> Iterator[Any]:
        return reversed(self._items)

    def __iadd__(self, items: Iterable[Any]) -> Any:
        self.extend(items)
        return self

    def __eq__(self, other: Any) -> Any:
        return self._items == other._items if isinstance(other, collections.deque) else NotImplemented  # type: ignore[attr-defined]

    __hash__ = None  # type: ignore[assignment]

    def __getitem__(self, index: int) -> Any:
        if not -len(self._items) <= index < len(self._items):
            raise IndexError("deque index out of range")
        return self._items[index]

    def __delitem__(self, index: int) -> None:
        if not -len(self._items) <= index < len(self._items):
            raise IndexError("deque index out of range")
        del self._items[index]

    def __setitem__(self, index: int, x: Any) -> None:
        if not -len(self._items) <= index < len(self._items):
            raise IndexError("deque index out of range")
        self._items[index] = x


# As Python's own: so that sequence patterns take it, and `isinstance` says so.
MutableSequence.register(Deque)


class _Mapping(_Holder):
    """What has its items in a dict."""

    def __setitem__(self, key: Any, x: Any) -> None:
        self._items[key] = x

    def __delitem__(self, key: Any) -> None:
        del self._items[key]

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


class DefaultDict(_Mapping):
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

    def __eq__(self, other: Any) -> Any:
        return self._items == _plain_dict(other)

    __hash__ = None  # type: ignore[assignment]

    def copy(self) -> Any:
        """Return another one of the same items."""
        return collections.defaultdict(self.default_factory, self._items)


class Ordered(_Mapping):
    """Stands for `collections.OrderedDict`."""

    def __init__(self, /, *args: Any, **kwargs: Any) -> None:
        self._items = dict(*args, **kwargs)

    def __getitem__(self, key: Any) -> Any:
        return self._items[key]

    def __eq__(self, other: Any) -> Any:
        if isinstance(other, collections.OrderedDict) and list(self._items) != list(other):
            return False
        return self._items == _plain_dict(other)

    __hash__ = None  # type: ignore[assignment]

    def __reversed__(self) -> Iterator[Any]:
        return reversed(list(self._items))

    def copy(self) -> Any:
        """Return another one of the same items."""
        return collections.OrderedDict(self._items)

    def move_to_end(self, key: Any, last: bool = True) -> None:
        """Put an item at either end."""
        x = self._items.pop(key)
        if last:
            self._items[key] = x
            return
        rest = dict(self._items)
        self._items.clear()
        self._items[key] = x
        self._items.update(rest)

    def popitem(self, last: bool = True) -> tuple[Any, Any]:
        """Take out an item at either end."""
        if not self._items:
            raise KeyError("dictionary is empty")
        key = list(self._items)[-1 if last else 0]
        return key, self._items.pop(key)


def _plain_dict(x: Any) -> Any:
    # What a program sees of those above.
    return x._items if isinstance(x, collections.defaultdict | collections.OrderedDict) else x  # type: ignore[union-attr]


def _in_any_order(items: Any) -> Any:
    return items._items if isinstance(items, set) else items  # type: ignore[attr-defined]


def in_set_order(items: tuple[Any, ...], *, sure: bool) -> tuple[Any, ...]:
    """Return known items in the order of a set to which they were added one by one; the tracer has its meaning."""
    raise NotImplementedError


class Set(_Holder):
    """Stands for `set`: of items that are known when it is compiled, in the order in which they came."""

    def __init__(self, iterable: Iterable[Any] = (), /) -> None:
        self._items = dict.fromkeys(_in_any_order(iterable))
        # Whether a set to which the items are added one by one has the same order.
        self._plain = not isinstance(iterable, frozenset | set | dict)

    def add(self, x: Any, /) -> None:
        """Add an item."""
        self._items[x] = None

    def discard(self, x: Any, /) -> None:
        """Take out an item if it is there."""
        self._plain = False
        self._items.pop(x, None)

    def remove(self, x: Any, /) -> None:
        """Take out an item."""
        self._plain = False
        del self._items[x]

    def clear(self) -> None:
        """Take out all items."""
        self._plain = False
        self._items.clear()

    def update(self, *others: Iterable[Any]) -> None:
        """Add the items of others."""
        for other in others:
            if isinstance(other, frozenset | set | dict):
                self._plain = False
            for x in _in_any_order(other):
                self._items[x] = None

    def copy(self) -> Any:
        """Return another one of the same items."""
        return set(self)

    def union(self, *others: Iterable[Any]) -> Any:
        """Return a set of the items of this and of others."""
        made: Any = set(self)
        made.update(*others)
        made._plain = False
        return made

    def intersection(self, *others: Iterable[Any]) -> Any:
        """Return a set of the items that others have too."""
        kept = self._items
        for other in others:
            theirs = dict.fromkeys(_in_any_order(other))
            kept = {x: None for x in kept if x in theirs}
        return set(kept)

    def difference(self, *others: Iterable[Any]) -> Any:
        """Return a set of the items that no other has."""
        kept = self._items
        for other in others:
            theirs = dict.fromkeys(_in_any_order(other))
            kept = {x: None for x in kept if x not in theirs}
        return set(kept)

    def symmetric_difference(self, other: Iterable[Any], /) -> Any:
        """Return a set of the items that only one of two has."""
        return self.difference(other).union(set(other).difference(self))

    def issubset(self, other: Iterable[Any], /) -> bool:
        """Return whether another has all items."""
        return len(self.difference(other)) == 0

    def issuperset(self, other: Iterable[Any], /) -> bool:
        """Return whether this has all items of another."""
        return all(x in self._items for x in _in_any_order(other))

    def isdisjoint(self, other: Iterable[Any], /) -> bool:
        """Return whether two have no item in common."""
        return not any(x in self._items for x in _in_any_order(other))

    def __or__(self, other: Any) -> Any:
        return self.union(other) if isinstance(other, frozenset | set) else NotImplemented

    def __and__(self, other: Any) -> Any:
        return self.intersection(other) if isinstance(other, frozenset | set) else NotImplemented

    def __sub__(self, other: Any) -> Any:
        return self.difference(other) if isinstance(other, frozenset | set) else NotImplemented

    def __xor__(self, other: Any) -> Any:
        return self.symmetric_difference(other) if isinstance(other, frozenset | set) else NotImplemented

    def __ior__(self, other: Any) -> Any:
        if not isinstance(other, frozenset | set):
            return NotImplemented
        self.update(other)
        return self

    def __iand__(self, other: Any) -> Any:
        return self._changed(self.intersection(other)) if isinstance(other, frozenset | set) else NotImplemented

    def __isub__(self, other: Any) -> Any:
        return self._changed(self.difference(other)) if isinstance(other, frozenset | set) else NotImplemented

    def __ixor__(self, other: Any) -> Any:
        return self._changed(self ^ other) if isinstance(other, frozenset | set) else NotImplemented

    def _changed(self, other: Any) -> Any:
        self._items = dict.fromkeys(other._items)
        self._plain = False
        return self

    def __eq__(self, other: Any) -> Any:
        if not isinstance(other, frozenset | set):
            return NotImplemented
        return len(self) == len(other) and self.issuperset(other)

    def __le__(self, other: Any) -> Any:
        return self.issubset(other) if isinstance(other, frozenset | set) else NotImplemented

    def __ge__(self, other: Any) -> Any:
        return self.issuperset(other) if isinstance(other, frozenset | set) else NotImplemented

    def __lt__(self, other: Any) -> Any:
        if not isinstance(other, frozenset | set):
            return NotImplemented
        return len(self) < len(other) and self.issubset(other)

    def __gt__(self, other: Any) -> Any:
        if not isinstance(other, frozenset | set):
            return NotImplemented
        return len(self) > len(other) and self.issuperset(other)

    def __iter__(self) -> Iterator[Any]:
        return iter(in_set_order(tuple(self._items), sure=self._plain))


class _View:
    """What `dict.keys`, `values` and `items` give; the tracer knows its items."""

    def __init__(self, of: dict[Any, Any]) -> None:
        self._of = of

    def __len__(self) -> int:
        return len(self._of)


class Keys(_View):
    """Stands for what `dict.keys` gives."""

    def __contains__(self, x: Any) -> bool:
        return x in self._of

    def __eq__(self, other: Any) -> Any:
        return set(self._of) == set(other)

    def __and__(self, other: Any) -> Any:
        return set(self._of).intersection(other)

    def __or__(self, other: Any) -> Any:
        return set(self._of).union(other)

    def __sub__(self, other: Any) -> Any:
        return set(self._of).difference(other)

    def __xor__(self, other: Any) -> Any:
        return set(self._of).symmetric_difference(other)

    def isdisjoint(self, other: Iterable[Any], /) -> bool:
        """Return whether two have no key in common."""
        return set(self._of).isdisjoint(other)


class Values(_View):
    """Stands for what `dict.values` gives."""

    def __contains__(self, x: Any) -> bool:
        return x in [self._of[key] for key in self._of]


class Items(_View):
    """Stands for what `dict.items` gives."""

    def __contains__(self, x: Any) -> bool:
        return x in [(key, self._of[key]) for key in self._of]

    def __eq__(self, other: Any) -> Any:
        return len(self) == len(other) and all(pair in other for pair in [(key, self._of[key]) for key in self._of])


# What a program sees.
STANDS_FOR: dict[type, type] = {
    DefaultDict: collections.defaultdict,
    Deque: collections.deque,
    Items: type({}.items()),
    Keys: type({}.keys()),
    LongTuple: tuple,
    Ordered: collections.OrderedDict,
    Set: set,
    Values: type({}.values()),
}
