"""Which stores of a nest go one behind the other into memory that is not near, and which lines they will need.

A store waits until its line is in the nearest cache, and those behind it wait for their turn, so that to record what a
loop computed took three times as long as to compute it. Loads are fetched ahead by the processor, stores are not.

In: arrays, and the accesses of a planned nest. Out: how far ahead lines are to be fetched. Knows no LLVM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from jitgrad.backend.loops import Access
from jitgrad.graph.ir import Value

__all__ = ["is_large", "lines_ahead"]

_NEAR = 16384  # bytes of an array that stays in the nearest cache, with others beside it

_LINE = 64  # bytes
_AHEAD = 1024  # bytes from a store to what is fetched for one that will come


def is_large(array: Value, most: Callable[[Value], int | None]) -> bool:
    """Whether an array may be too large to stay near.

    Parameters
    ----------
    array : Value
    most : callable
        The largest number that a size may be; None if that is not known.
    """
    bytes = array.array.dtype.itemsize
    for d in array.shape:
        n = d if isinstance(d, int) else most(d)
        if n is None:
            return True
        bytes *= n
    return bytes > _NEAR


def lines_ahead(access: Access, lanes: int, width: int, reads: Iterable[Access]) -> list[int]:
    """Return where lines begin that later stores of whole vectors will need, in elements from the store.

    Parameters
    ----------
    access : Access
        Of the store.
    lanes : int
        The loop dimension that runs along vectors.
    width : int
        Elements of a vector.
    reads : iterable of Access
        What the nest loads; it brings its lines itself.
    """
    if not access.large or access.steps[lanes] != 1 or width == 1 or any(_are_near(access, read) for read in reads):
        return []
    size = access.dtype.itemsize
    return [(_AHEAD + k) // size for k in range(0, width * size, _LINE)]


def _are_near(one: Access, other: Access) -> bool:
    """Whether two accesses may touch the same lines at about the same time."""
    if one.pointer != other.pointer:
        return False
    if isinstance(one.base, int) and isinstance(other.base, int) and one.steps == other.steps:
        return abs(one.base - other.base) * one.dtype.itemsize < _AHEAD
    return True
