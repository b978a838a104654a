"""Arrays whose length along one axis is another in each trip of a loop: how a loop carries them.

In: the types that an array has. Out: along which axis they differ, and the type of the list of rows that the loop
carries, which names no length.
"""

from __future__ import annotations

from dataclasses import dataclass

from jitgrad.graph.types import ArrayType, ListType

__all__ = ["Resized", "resized"]


@dataclass(frozen=True, slots=True)
class Resized:
    """The decision that an array has another length in each trip, along one axis: it is carried as a list of rows."""

    axis: int
    rank: int

    @property
    def order(self) -> tuple[int, ...]:
        """The axes, that along which the length changes first."""
        return (self.axis, *(k for k in range(self.rank) if k != self.axis))

    @property
    def back(self) -> tuple[int, ...]:
        """The permutation that undoes `order`."""
        return tuple(self.order.index(k) for k in range(self.rank))

    def carried(self, t: ArrayType) -> ListType:
        """Return the type of the list that is carried for an array."""
        return ListType(ArrayType(t.dtype, tuple(t.shape[k] for k in self.order[1:])))


def resized(before: ArrayType, after: ArrayType) -> Resized | None:
    """Return how one array changes to another, None unless it is in its length along one axis."""
    if before.dtype != after.dtype or before.rank != after.rank:
        return None
    axes = [k for k, (d, e) in enumerate(zip(before.shape, after.shape, strict=True)) if d != e]
    return Resized(axes[0], before.rank) if len(axes) == 1 else None
