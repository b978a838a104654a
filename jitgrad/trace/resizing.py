"""Arrays whose lengths along some axes are not one number: in each trip of a loop another, or as data decide.

In: the types that such an array has. Out: along which axes they differ, and how to carry it: as a list of rows, which
names no length, with the lengths as numbers beside it where there is more than one such axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Value
from jitgrad.graph.ops.shape import move_axes, reshape_to
from jitgrad.graph.types import ArrayType, Dim, ListType

__all__ = ["Resized", "resized"]


@dataclass(frozen=True, slots=True)
class Resized:
    """The decision that an array has other lengths along some axes, in order: it is carried as a list of rows."""

    axes: tuple[int, ...]
    rank: int

    @property
    def order(self) -> tuple[int, ...]:
        """The axes, those along which the length changes first."""
        return (*self.axes, *(k for k in range(self.rank) if k not in self.axes))

    @property
    def back(self) -> tuple[int, ...]:
        """The permutation that undoes `order`."""
        return tuple(self.order.index(k) for k in range(self.rank))

    def covers(self, other: Resized) -> bool:
        """Whether what changes along the axes of another is carried too."""
        return self.rank == other.rank and set(other.axes) <= set(self.axes)

    def with_axes(self, other: Resized) -> Resized:
        """Return the decision that there are the axes of both."""
        return Resized(tuple(sorted({*self.axes, *other.axes})), self.rank)

    def carried(self, t: ArrayType) -> ListType:
        """Return the type of the list that is carried for an array."""
        return ListType(ArrayType(t.dtype, tuple(t.shape[k] for k in self.order[len(self.axes) :])))

    def lengths(self, shape: Sequence[Dim]) -> tuple[Dim, ...]:
        """Return the numbers that are carried beside the list: the length along a single axis is that of the list."""
        return tuple(shape[k] for k in self.axes) if len(self.axes) > 1 else ()

    def rows(self, g: Builder, array: Value) -> Value:
        """Return the list that is carried for an array."""
        made = move_axes(g, array, self.order)
        if len(self.axes) > 1:
            count = array.shape[self.axes[0]]
            for k in self.axes[1:]:
                d = array.shape[k]
                if isinstance(count, int) and isinstance(d, int):
                    count *= d
                else:
                    count = g.multiply(*(g.constant(n) if isinstance(n, int) else n for n in (count, d)))
            made = reshape_to(g, made, (count, *made.shape[len(self.axes) :]))
        found: Value = g.list_from_array(made)
        return found

    def array(self, g: Builder, rows: Value, lengths: Sequence[Dim]) -> Value:
        """Return the array that is carried as a list and numbers."""
        made = g.list_to_array(rows, g.list_length(rows))
        if lengths:
            made = reshape_to(g, made, (*lengths, *made.shape[1:]))
        return move_axes(g, made, self.back)


def resized(before: ArrayType, after: ArrayType) -> Resized | None:
    """Return how one array changes to another, None unless it is in its lengths only."""
    if before.dtype != after.dtype or before.rank != after.rank:
        return None
    axes = [k for k, (d, e) in enumerate(zip(before.shape, after.shape, strict=True)) if d != e]
    return Resized(tuple(axes), before.rank) if axes else None
