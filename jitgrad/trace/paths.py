"""How to find the parts of a state again in another: a variable, a place of the stack, an item of a container."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jitgrad.trace.abstract import UNBOUND
from jitgrad.trace.frame import State

__all__ = ["Get", "Part", "item_of", "local_of", "stack_of", "value_of"]

Get = Callable[[State], Any]


@dataclass(slots=True)
class Part:
    """A place in the header state, and how to find the same place in another state."""

    path: Any
    get: Get
    head: Any
    name: str
    slot: bool


def _item(container: Any, i: int) -> Any:
    return container[i] if isinstance(container, tuple) and i < len(container) else UNBOUND


def local_of(name: str) -> Get:
    """Return how to find a variable."""
    return lambda s: s.locals.get(name, UNBOUND)


def stack_of(i: int) -> Get:
    """Return how to find a value of the stack."""
    return lambda s: s.stack[i]


def item_of(get: Get, i: int) -> Get:
    """Return how to find an item of a container, given how to find that."""
    return lambda s: _item(get(s), i)


def value_of(get: Get, i: int) -> Get:
    """Return how to find the value of a pair, by its place in a dict or an object."""

    def find(s: State) -> Any:
        pair = _item(get(s), i)
        return UNBOUND if pair is UNBOUND else pair[1]

    return find
