"""Which arrays may be one in the program, though the trace holds them apart: what merges and lists by value rely on.

A merge by value, and a list that grows, have copies of arrays. That is right as long as nobody stores to an array that
has a copy alive, which `Branches` and the evaluator ask here before each store.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from jitgrad.trace.abstract import Cell

__all__ = ["Obligations"]


@dataclass(slots=True)
class Obligations:
    """What merges by value rely on.

    Attributes
    ----------
    related : dict of Cell to dict of Cell to set
        Cells that may be one array in the program, with the keys of the merges that say so.
    tagged : set
        Keys of merges that must be traced as tagged choices.
    twins : dict of Cell to set of Cell
        For those of which NumPy has one array where there are several here: all of them.
    """

    related: dict[Cell, dict[Cell, set[Any]]] = field(default_factory=dict)
    tagged: set[Any] = field(default_factory=set)
    twins: dict[Cell, set[Cell]] = field(default_factory=dict)

    def forget(self) -> None:
        """Forget what is said of cells: a trace begins again."""
        self.related.clear()
        self.twins.clear()

    def unite(self, a: Cell, b: Cell) -> None:
        """Record that two cells are one array, each with a copy of its own."""
        self.relate(a, b, [])
        both = self.twins.get(a, {a}) | self.twins.get(b, {b})
        self.twins |= dict.fromkeys(both, both)

    def relate(self, a: Cell, b: Cell, keys: Iterable[Any]) -> bool:
        """Record that two cells may be one array; return whether that is new."""
        if a is b:
            return False
        new = b not in self.related.get(a, {})
        self.related.setdefault(a, {}).setdefault(b, set()).update(keys)
        self.related.setdefault(b, {}).setdefault(a, set()).update(keys)
        return new

    def relate_all(self, a: Cell, b: Cell, keys: Iterable[Any]) -> None:
        """Record that a cell may be the same array as another, and as all that that one may be."""
        self.relate(a, b, keys)
        for other, its in list(self.near(b).items()):
            self.relate(a, other, {*its, *keys})

    def hold(self, holder: Cell, cells: Iterable[Cell]) -> None:
        """Record that a list that grows holds arrays: it has copies, which must not come to differ from them."""
        if holder.arrays is None:
            holder.arrays = Cell(holder.name)
        for cell in cells:
            self.relate_all(holder.arrays, cell, [])

    def near(self, cell: Cell) -> dict[Cell, set[Any]]:
        """Return the cells that may be the same array as this one."""
        twins = self.twins.get(cell)
        if twins is None:
            return self.related.get(cell, {})
        found: dict[Cell, set[Any]] = {}
        for twin in twins:
            for c, keys in self.related[twin].items():
                found.setdefault(c, set()).update(keys)
        return found
