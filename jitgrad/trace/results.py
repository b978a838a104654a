"""What a traced call returns, as a tree: its leaves are yields of the graph, arguments, views of them, known objects.

The tracer makes it; `execute` describes it to the native entry, or builds the object itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from jitgrad.trace.abstract import Link, Reshape, View

__all__ = [
    "ArgumentResult", "ChoiceResult", "DictResult", "GrownResult", "LeafResult", "ListResult", "Nth", "ObjectResult",
    "ResultTree", "StaticResult", "TupleResult", "ViewResult", "with_numbers",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class LeafResult:
    """A new array or number: yield `index` of the graph; `kind` is "array", "numpy" or a Python kind.

    `late`: the program computes the size of the array, which the next yields are.
    """

    index: int
    kind: str
    late: bool = False


@dataclass(frozen=True, slots=True)
class ChoiceResult:
    """One of several results: yield `index` of the graph, an int64, says which; their own yields follow."""

    index: int
    children: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ArgumentResult:
    """The very array that leaf `leaf` of the arguments is."""

    leaf: int


@dataclass(frozen=True, slots=True)
class Nth:
    """Stands for a number that is known only at run time: the k-th of some numbers."""

    k: int


@dataclass(frozen=True, slots=True)
class ViewResult:
    """A view of an argument, or of a new array of which several views are returned.

    Attributes
    ----------
    base : int or LeafResult
        A leaf of the arguments, or the array.
    view : tuple of Box or Reshape
        Numbers known only at run time are `Nth` of `numbers`.
    numbers : tuple of LeafResult
        What those are.
    """

    base: int | LeafResult
    view: View
    numbers: tuple[LeafResult, ...]


@dataclass(frozen=True, slots=True)
class StaticResult:
    """An object known at trace time."""

    value: Any


@dataclass(frozen=True, slots=True)
class TupleResult:
    """A tuple or NamedTuple, or what else a function makes of its parts."""

    cls: Any
    children: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ListResult:
    """A list."""

    children: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class GrownResult:
    """A list of a length known only at run time.

    Attributes
    ----------
    of : str or tuple or type
        The kind of its numbers or arrays, as of lists that grow, which are the rows of one array; "pooled" for the rows
        of one array at the positions of another, each one array however often it is an item, and "pool item" for one
        such row itself; or the known things
        among which the array has the places of its items; or the class of the tuples that are its items, each made of
        one item of each child.
    children : tuple of LeafResult or GrownResult
    """

    of: str | tuple[Any, ...] | type
    children: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class DictResult:
    """A dict."""

    keys: tuple[Any, ...]
    children: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ObjectResult:
    """An object of a class with attributes."""

    cls: type
    names: tuple[str, ...]
    children: tuple[Any, ...]


ResultTree: TypeAlias = (
    LeafResult | ChoiceResult | ArgumentResult | ViewResult | StaticResult
    | TupleResult | ListResult | GrownResult | DictResult | ObjectResult
)  # fmt: skip


def with_numbers(link: Link, change: Callable[[Any], Any]) -> Link:
    """Return one link of a view with `change` applied to each of its numbers."""
    if isinstance(link, Reshape):
        return Reshape(tuple(change(d) for d in link.to))
    return replace(link, entries=tuple(type(e)(*(change(n) for n in e)) for e in link.entries))
