"""Whether what a variable is after a trip of a loop has the form of what it was: views of one array, containers.

In: views at entry and after a trip. Out: whether they differ in numbers only, and which of those are lengths: a view
that moves, or gets shorter, stays one of the same array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jitgrad.graph.ops.memory import Span
from jitgrad.trace.abstract import Cell, ListRef, Ref
from jitgrad.trace.arrays import boxed
from jitgrad.trace.frame import looking_at

__all__ = ["Window", "alike", "same_structure", "window_of"]


@dataclass(frozen=True, slots=True)
class Window:
    """The decision that an array is a view of one and the same array, of another length in each trip.

    Attributes
    ----------
    lengths : frozenset of (int, int)
        Link and entry of the view for each length that changes.
    """

    lengths: frozenset[tuple[int, int]]


def window_of(
    ev: Any, entry: Ref, before: dict[Cell, Any], choices: Sequence[Any], after: dict[Cell, Any], decision: Any
) -> Window | None:
    """Return the lengths that change from a view at entry to those after a trip, with those known to.

    None where one of them is of another array or of another form.
    """
    changed = decision.lengths if isinstance(decision, Window) else frozenset()
    with looking_at(ev, before):
        first = boxed(ev, entry)
    for choice in choices:
        if not isinstance(choice, Ref) or choice.cell is not entry.cell:
            return None
        with looking_at(ev, after):
            second = boxed(ev, choice)
        if not alike(first, second, lengths=False):
            return None
        for i, (x, y) in enumerate(zip(first.view, second.view, strict=True)):
            pairs = zip(getattr(x, "entries", ()), getattr(y, "entries", ()), strict=True)
            changed |= {(i, j) for j, (p, q) in enumerate(pairs) if isinstance(p, Span) and p.length != q.length}
    return Window(changed)


def alike(a: Ref, b: Ref, lengths: bool = True) -> bool:
    """Whether two views differ in numbers only, which are no lengths unless those are left out."""
    if len(a.view) != len(b.view):
        return False
    for x, y in zip(a.view, b.view, strict=True):
        if type(x) is not type(y) or getattr(x, "order", None) != getattr(y, "order", None):
            return False
        ex, ey = getattr(x, "entries", ()), getattr(y, "entries", ())
        if len(ex) != len(ey) or any(type(p) is not type(q) for p, q in zip(ex, ey, strict=True)):
            return False
        if lengths and any(isinstance(p, Span) and p.length != q.length for p, q in zip(ex, ey, strict=True)):
            return False
        if not ex and x != y:
            return False
    return True


def same_structure(a: Any, b: Any, held: Any, after: Any) -> bool:
    """Whether two containers have the same class and keys, given what they hold."""
    if not isinstance(held, tuple) or not isinstance(after, tuple) or len(held) != len(after):
        return False
    if isinstance(a, ListRef):
        return True
    return getattr(a, "cls", None) is getattr(b, "cls", None) and all(
        k == n for (k, _), (n, _) in zip(held, after, strict=True)
    )
