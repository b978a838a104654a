"""What an iterator goes over, or its items were computed from: whether that is still so when an item is asked for.

In: an iterator whose items were taken, or computed, before the program asks for them. Out: the iterator with the items
that Python would give now; a refusal where that is not known, and the errors that Python raises.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from jitgrad.errors import UnsupportedError, check_text
from jitgrad.trace.abstract import (
    DictRef,
    IterRange,
    IterRows,
    IterSequence,
    ListRef,
    Read,
    Ref,
    Scalar,
    TaggedRef,
    Watched,
)
from jitgrad.trace.algorithms.containers import Deque, Set
from jitgrad.trace.arrays import shape_of
from jitgrad.trace.context import Context
from jitgrad.trace.inspection import reachable
from jitgrad.trace.storage import is_same

__all__ = ["CHANGED", "acts", "at_all", "is_plain", "of_pairs", "one_by_one", "up_to_date", "watched_from"]

# What Python says of containers that change their size while a loop goes over them.
CHANGED = {Deque: "deque mutated during iteration", Set: "Set changed size during iteration"}


def of_pairs(pairs: tuple[Any, ...], kind: str) -> tuple[Any, ...]:
    """Return what a view of a dict shows of its pairs."""
    return pairs if kind == "items" else tuple(pair[kind == "values"] for pair in pairs)


def up_to_date(ctx: Context, it: Any) -> Any:
    """Return an iterator with the items that a list has now, where nothing else is between.

    Raises
    ------
    UnsupportedError
        JG247 if what it goes over has changed and that may matter.
    RuntimeError
        As Python, if a dict has another size.
    """
    rest = it.position != (len(it.items) if isinstance(it, IterSequence) else it.count)
    for container, before, first, step, kind in it.watched:
        now = ctx.heap.get(container.cell, before)
        if is_same(now, before):
            continue
        if isinstance(container, Read):
            if rest and not is_same(container.of(now), container.of(before)):
                raise ctx.error("JG247")
            continue
        if kind in CHANGED.values() and not (isinstance(now, tuple) and len(now) == len(before)):
            raise RuntimeError(kind)
        if it.live and isinstance(container, ListRef) and isinstance(now, tuple):
            return replace(it, items=now)
        if isinstance(container, DictRef):
            if len(now) != len(before):
                raise RuntimeError("dictionary changed size during iteration")
            alike = all(k == other for (k, _), (other, _) in zip(now, before, strict=True))
            if alike and it.live:
                return replace(it, items=of_pairs(now, kind))
            if alike and kind != "keys":
                ahead = [first + step * k for k in range(it.position, len(it.items))]
                alike = all(is_same(now[k][1], before[k][1]) for k in ahead)
        else:
            ahead = [first + step * k for k in range(it.position, len(it.items))]
            alike = (
                isinstance(now, tuple) and len(now) == len(before) and all(is_same(now[k], before[k]) for k in ahead)
            )
        if not alike:
            raise ctx.error("JG247")
    return it


def is_plain(it: IterRows) -> bool:
    """Whether rows are taken from arrays and lists by no function."""
    return all(isinstance(v, Ref | TaggedRef | ListRef | Scalar | int) for v in it.over)


def at_all(w: Watched) -> Watched:
    """Watch for any change."""
    return w if isinstance(w.container, Read) else Watched(Read(w.container.cell), w.held)


def acts(it: Any) -> bool:
    """Whether to compute the items of an iterator has changed what the program sees elsewhere."""
    return isinstance(it, IterSequence | IterRows) and it.acts


def one_by_one(ctx: Context, it: Any, *, ends: bool = False) -> Any:
    """Return an iterator whose items are asked for one by one, with something done between.

    `ends` says that perhaps not all of them are: where a generator raises that ran to its end, Python might not.

    Raises
    ------
    UnsupportedError
        JG249 if that may be seen.
    """
    if acts(it):
        raise ctx.error("JG249")
    if ends and isinstance(it, IterSequence | IterRows):
        for check in it.checks:
            check.attrs |= {"exception": UnsupportedError, "message": check_text(ctx.error("JG249"))}
            check.attrs.pop("arguments", None)
    return it


def watched_from(ctx: Context, it: Any, *, backwards: bool = False) -> tuple[Watched, ...]:
    """Return what an iterator goes over, for another one of the items that it still has, all taken now."""
    if isinstance(it, IterRange):
        return ()
    if isinstance(it, IterRows):
        # Rows that are arrays are views, which show what the array holds when they are looked at; but not of functions.
        views = [v for v in it.over if is_plain(it) and isinstance(v, Ref | TaggedRef) and len(shape_of(ctx, v)) > 1]
        cells = reachable(ctx.heap, [v for v in it.over if v not in views])
        return (*it.watched, *(Watched(Read(c), ctx.heap[c]) for c in cells if c in ctx.heap))
    last = len(it.items) - 1
    if backwards:
        return tuple(w._replace(first=w.first + w.step * last, step=-w.step) for w in it.watched)
    return tuple(w._replace(first=w.first + w.step * it.position) for w in it.watched)
