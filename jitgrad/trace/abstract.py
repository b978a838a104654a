"""Abstract values: what the evaluator knows of a Python object while it traces.

A known Python object stands for itself (numbers, strings, functions, classes, modules, tuples of abstract values).
Everything whose contents depend on a run-time value is one of the classes here. Mutable things are *references*: a
`Ref` is a storage cell plus a view of it, and what a cell holds is in the evaluator's heap, never in the reference, so
that every alias sees a store. This room emits no graph ops.
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from jitgrad.graph.ir import Op, Value
from jitgrad.graph.ops.memory import Entry, Pick, Span
from jitgrad.graph.types import ArrayType, Dim

__all__ = [
    "UNBOUND", "Abstract", "AnyOf", "BoundMethod", "Box", "Cell", "Columns", "DictRef", "External", "Formatted", "Func",
    "IndexRange", "IterRange", "IterRows", "IterSequence", "Link", "ListRef", "Maybe", "OneOf", "Poison", "Read",
    "Record", "Ref", "Reshape", "Scalar", "SliceOf", "SuperOf", "TaggedRef", "Text", "View", "Watched", "compose",
    "whole",
]  # fmt: skip


class Abstract:
    """Base of all values that are not known Python objects."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Scalar(Abstract):
    """A number known only at run time.

    Attributes
    ----------
    value : Value
        Rank 0. Python bool, int, float, complex are bool, int64, float64, complex128.
    kind : str
        "bool", "int", "float", "complex": a Python number (weak in promotion); "numpy": a NumPy scalar of its dtype;
        "mixed": a bool or float64 that is NumPy's on some paths and Python's on others.
    low, high : int or None
        Bounds of a Python int, where they are known; they remove overflow and index checks.
    is_numpy : Value or None
        For a mixed kind: the bool that says which it is at run time.
    """

    value: Value
    kind: str
    low: int | None = None
    high: int | None = None
    is_numpy: Value | None = None


@dataclass(frozen=True, slots=True)
class AnyOf(Abstract):
    """One of several numbers of different types; which one is known at run time.

    Attributes
    ----------
    flags : tuple of Value
        For each choice but the last a bool, whether it is that one; at most one of them holds.
    choices : tuple
        Scalars and known numbers, no two of one kind and dtype.
    """

    flags: tuple[Value, ...]
    choices: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class OneOf(Abstract):
    """One of several values that have no common form: None or a number, a number or an array, two texts.

    What uses it is done once for each of them; moving it about is not use.

    Attributes
    ----------
    flags, choices : tuple
        As of `AnyOf`; at most one choice is a number, which may be an `AnyOf`.
    """

    flags: tuple[Value, ...]
    choices: tuple[Any, ...]


@dataclass(eq=False, repr=False, slots=True)
class Cell:
    """Identity of a piece of mutable storage; what it holds is `heap[cell]`.

    Attributes
    ----------
    name : str
    argument, like : int or None
        The leaf of the call that it is, -1 for an array read from outside; that by which what it holds is a derivative.
    options : tuple of Ref
        The arrays of the caller that it may be, for an array that branches or loops have chosen.
    which : Cell or None
        Holds which of the options it is, an int; their number where it is none of them.
    arrays : Cell or None
        For a list that grows, which holds values: stands for the arrays that Python's list holds. That is the list's
        own cell where each item is an array of which nobody else has a copy: a reference to it is a view of the list.
    site : hashable or None
        For a list: what names the place of the program that made it, stably over restarts.
    columns : list of Cell or None
        For a list that may be taken apart: the lists of the parts of its items, as far as there have been any.
    any_length, sure, named : bool
        Whether its options may be of other lengths than it; whether it always is one of them; whether it holds pairs of
        a name or a key and a value.
    pool : ArrayType or None
        For the list in which arrays lie that are items of others (`pools.py`): their type.
    """

    name: str = ""
    argument: int | None = None
    like: int | None = None
    options: tuple[Ref, ...] = ()
    which: Cell | None = None
    arrays: Cell | None = None
    site: Any = None
    columns: list[Cell] | None = None
    any_length: bool = False
    named: bool = False
    sure: bool = False
    pool: ArrayType | None = None

    def __repr__(self) -> str:
        return f"<cell {self.name}>"


@dataclass(frozen=True, slots=True)
class Box:
    """A view by basic indexing: one entry an axis of what is viewed, then the order of the kept axes.

    Attributes
    ----------
    entries : tuple of Pick or Span
    order : tuple of int or None
        For each axis of the view, which of the kept axes it is; None is a new axis of length 1.
    """

    entries: tuple[Entry, ...]
    order: tuple[int | None, ...]

    def kept(self) -> list[Span]:
        """Return the spans, in the order of the viewed axes."""
        return [e for e in self.entries if isinstance(e, Span)]

    def shape(self) -> tuple[Dim, ...]:
        """Return the shape of the view."""
        kept = self.kept()
        return tuple(1 if k is None else kept[k].length for k in self.order)  # type: ignore[misc]

    def is_identity(self, shape: Sequence[Dim]) -> bool:
        """Whether the view is all of an array of this shape, unmoved."""
        return self.order == tuple(range(len(shape))) and all(
            isinstance(e, Span) and e.start == 0 and e.step == 1 and e.length == d
            for e, d in zip(self.entries, shape, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Reshape:
    """A view with another shape of the same elements in C order."""

    to: tuple[Dim, ...]

    def shape(self) -> tuple[Dim, ...]:
        """Return the shape of the view."""
        return self.to


Link: TypeAlias = Box | Reshape
View: TypeAlias = tuple[Link, ...]


@dataclass(frozen=True, slots=True)
class Ref(Abstract):
    """An array: a cell and the chain of views through which it is seen; no links is the whole cell."""

    cell: Cell
    view: View = ()


@dataclass(frozen=True, slots=True)
class TaggedRef(Abstract):
    """One of several arrays of one dtype and shape; which one is known at run time by an int64 tag."""

    tag: Value
    choices: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class ListRef(Abstract):
    """A Python list; its items, a tuple of abstract values, are in the heap. A `Value` there is a growable list."""

    cell: Cell


@dataclass(frozen=True, slots=True)
class Columns(Abstract):
    """What a list of tuples, or of other things of one structure, holds: a list for each part of the items.

    Attributes
    ----------
    cls : type
        What the items are: tuples, lists, dicts, objects, arrays.
    names : tuple
        Keys or attributes; of tuples and lists the positions.
    lists : tuple of ListRef
        They have one length.
    rows : ListRef or None
        For lists and arrays of any length: the items of all of them, of which `lists` have the first position of each
        and the one behind its last.
    """

    cls: type
    names: tuple[Any, ...]
    lists: tuple[ListRef, ...]
    rows: ListRef | None = None


@dataclass(frozen=True, slots=True)
class DictRef(Abstract):
    """A Python dict with known keys; its items, a tuple of (key, value), are in the heap."""

    cell: Cell

    def __post_init__(self) -> None:
        self.cell.named = True


@dataclass(frozen=True, slots=True)
class Record(Abstract):
    """An object of a known class; its attributes, a tuple of (name, value), are in the heap."""

    cell: Cell
    cls: type

    def __post_init__(self) -> None:
        self.cell.named = True


@dataclass(frozen=True, slots=True)
class External(Abstract):
    """A mutable object read from outside (a global, a closure cell): walked only where it is read.

    Attributes
    ----------
    thing, source : object, tuple
        The object as it was at trace time; the steps that lead to it, for guards.
    """

    thing: Any
    source: tuple[Any, ...]

    def __hash__(self) -> int:
        return id(self.thing)


@dataclass(frozen=True, slots=True)
class Func(Abstract):
    """A function made while tracing, or any Python function with what it closes over.

    Attributes
    ----------
    code : code object
    globals : dict
    defaults, kwdefaults
        Abstract values.
    closure : tuple of Cell
        One a free variable, in the order of `co_freevars`; what they hold is in the heap.
    """

    code: types.CodeType
    globals: dict[str, Any] = field(hash=False, compare=False)
    name: str
    defaults: tuple[Any, ...] = ()
    kwdefaults: tuple[tuple[str, Any], ...] = ()
    closure: tuple[Cell, ...] = ()

    @property
    def is_ours(self) -> bool:
        """Whether it stands for a function written in C: what it reads is no part of the program, nor are its lines."""
        return str(self.globals.get("__name__")).startswith("jitgrad.trace.algorithms.")


@dataclass(frozen=True, slots=True)
class BoundMethod(Abstract):
    """A callable with its first argument."""

    function: Any
    self: Any


@dataclass(frozen=True, slots=True)
class SuperOf(Abstract):
    """What `super()` gives: the attributes of an object behind a class in its order of classes."""

    cls: type
    self: Any


@dataclass(frozen=True, slots=True)
class SliceOf(Abstract):
    """A slice with a bound that is known only at run time."""

    start: Any
    stop: Any
    step: Any


@dataclass(frozen=True, slots=True)
class IndexRange(Abstract):
    """A `range` with a bound that is known only at run time."""

    start: Any
    stop: Any
    step: Any


@dataclass(frozen=True, slots=True)
class IterRange(Abstract):
    """An iterator over a range: the next index k of `start + k * step`, and how many there are in all."""

    start: Any
    step: Any
    count: Any
    position: Any = 0


class Read(NamedTuple):
    """A cell that a generator may have read before Python would; of an object, the attributes that are named."""

    cell: Cell
    names: frozenset[str] | None = None

    def of(self, content: Any) -> Any:
        """Return what may have been read of the content of the cell."""
        return content if self.names is None else tuple(pair for pair in content if pair[0] in self.names)


class Watched(NamedTuple):
    """A list or dict that an iterator goes over, or what its items are computed from.

    Attributes
    ----------
    container : ListRef or DictRef or Read
    held : tuple
        What it held when the items were taken.
    first, step : int
        The k-th item comes from the place `first + step * k`.
    kind : {'keys', 'values', 'items'}
        What the items of a dict are.
    """

    container: Any
    held: tuple[Any, ...]
    first: int = 0
    step: int = 1
    kind: str = "keys"


@dataclass(frozen=True, slots=True)
class IterRows(Abstract):
    """An iterator over the leading axis of arrays, zipped and enumerated as `shape` of the loop variable says.

    `make(ctx, k)` returns the k-th item; `over` are the things iterated; the rest is as of `IterSequence`.
    """

    make: Any
    over: tuple[Any, ...]
    count: Any
    position: Any = 0
    watched: tuple[Watched, ...] = ()
    acts: bool = False
    checks: tuple[Op, ...] = ()


@dataclass(frozen=True, slots=True)
class IterSequence(Abstract):
    """An iterator over items that are known one by one; loops over it unroll.

    Attributes
    ----------
    items : tuple
    position : int
        Of the next one.
    watched : tuple of Watched
        Lists and dicts that it goes over.
    live : bool
        Whether it is that of one list alone: its items are those that the list has when they are asked for.
    acts : bool
        Whether to compute the items has changed what the program sees elsewhere (`generators.py`).
    checks : tuple of Op
        Those that computing the items has made, which may raise.
    """

    items: tuple[Any, ...]
    position: int = 0
    watched: tuple[Watched, ...] = ()
    live: bool = False
    acts: bool = False
    checks: tuple[Op, ...] = ()


@dataclass(frozen=True, slots=True)
class Formatted(Abstract):
    """One replacement field: a value, its conversion ("s", "r", "a" or None) and its format specification."""

    value: Any
    conversion: str | None = None
    spec: Any = ""


@dataclass(frozen=True, slots=True)
class Text(Abstract):
    """A string of known pieces and `Formatted` ones."""

    parts: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Maybe(Abstract):
    """A variable that is bound only where a run-time flag holds."""

    flag: Value
    value: Any


@dataclass(frozen=True, slots=True)
class Poison(Abstract):
    """A variable whose values on two paths cannot be one; an error only if it is used.

    Attributes
    ----------
    why : str
    loop : loop key or None
        The loop that would not have made it if it were unrolled, where that can be done.
    """

    why: str
    loop: Any = None


class _Unbound:
    """The variable is not bound."""

    def __repr__(self) -> str:
        return "UNBOUND"


UNBOUND = _Unbound()


def whole(shape: Sequence[Dim]) -> Box:
    """Return the view of all of an array."""
    return Box(tuple(Span(0, 1, d) for d in shape), tuple(range(len(shape))))


def compose(outer: Box, entries: Sequence[Entry | None], position: Any) -> Box | None:
    """Return the view that indexes the view `outer`, None if it is no view of the same kind: part of a new axis.

    Parameters
    ----------
    outer : Box
    entries : sequence of Pick, Span or None
        One an axis of the outer view, with None for each new axis put before the next.
    position : callable
        `position(span, number)` returns where `number` of the inner axis lies in the outer one:
        start + number * step, as int or Value.
    """
    made: list[Entry] = list(outer.entries)
    places = [k for k, e in enumerate(outer.entries) if isinstance(e, Span)]
    order: list[Any] = []
    axes = iter(outer.order)
    for entry in entries:
        if entry is None:
            order.append(None)
            continue
        axis = next(axes)
        if axis is None:
            if isinstance(entry, Span):
                if entry.length != 1:
                    return None
                order.append(None)
            continue
        span = outer.entries[places[axis]]
        assert isinstance(span, Span)
        if isinstance(entry, Pick):
            made[places[axis]] = Pick(position(span, entry.at, None)[0])
        else:
            start, step = position(span, entry.start, entry.step)
            made[places[axis]] = Span(start, step, entry.length)
            order.append(("axis", places[axis]))
    kept = [k for k, e in enumerate(made) if isinstance(e, Span)]
    return Box(tuple(made), tuple(None if o is None else kept.index(o[1]) for o in order))
