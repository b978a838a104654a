"""Which arrays may be one in the program, though the trace holds them apart: what merges and lists by value rely on.

A merge by value, and a list that grows, have copies of arrays. That is right as long as nobody stores to an array that
has a copy alive, which `Branches` and the evaluator ask here before each store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from jitgrad.location import Location
from jitgrad.trace.abstract import Cell

__all__ = ["Obligations", "Restart"]


class Restart(Exception):
    """The trace must begin again with these merges as tagged choices."""

    def __init__(self, keys: set[Any], why: str) -> None:
        super().__init__(why)
        self.keys = keys
        self.why = why


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
    where : callable
        Returns the line being traced.
    places : dict of frozenset of Cell to Location
        The line that made two cells perhaps one array; of one that stands for a list's arrays, where it got the first.
    early : list of (array, source)
        Arrays from outside that are to be read before all else, since branches or loops store to them.
    """

    related: dict[Cell, dict[Cell, set[Any]]] = field(default_factory=dict)
    tagged: set[Any] = field(default_factory=set)
    twins: dict[Cell, set[Cell]] = field(default_factory=dict)
    where: Callable[[], Location | None] = lambda: None
    places: dict[frozenset[Cell], Location | None] = field(default_factory=dict)
    early: list[tuple[Any, Any]] = field(default_factory=list)

    def forget(self) -> None:
        """Forget what is said of cells: a trace begins again."""
        self.related.clear()
        self.twins.clear()
        self.places.clear()

    def unite(self, a: Cell, b: Cell) -> None:
        """Record that two cells are one array, each with a copy of its own."""
        self.relate(a, b, [])
        both = self.twins.get(a, {a}) | self.twins.get(b, {b})
        self.twins |= dict.fromkeys(both, both)

    def relate(self, a: Cell, b: Cell, keys: Iterable[Any], at: Location | None = None) -> bool:
        """Record that two cells may be one array, as a line decides; return whether that is new."""
        if a is b:
            return False
        self.places.setdefault(frozenset((a, b)), at or self.where())
        new = b not in self.related.get(a, {})
        self.related.setdefault(a, {}).setdefault(b, set()).update(keys)
        self.related.setdefault(b, {}).setdefault(a, set()).update(keys)
        return new

    def relate_all(self, a: Cell, b: Cell, keys: Iterable[Any], at: Location | None = None) -> None:
        """Record that a cell may be the same array as another, and as all that that one may be."""
        self.relate(a, b, keys, at)
        for other, its in list(self.near(b).items()):
            self.relate(a, other, {*its, *keys}, self.places.get(frozenset((b, other))))

    def hold(self, holder: Cell, cells: Iterable[Cell]) -> None:
        """Record that a list that grows holds arrays: it has copies, which must not come to differ from them."""
        if holder.arrays is None:
            holder.arrays = Cell(holder.name)
        first = self.places.setdefault(frozenset((holder.arrays,)), self.where())
        for cell in cells:
            self.relate_all(holder.arrays, cell, self._keys(holder), first)

    def take(self, holder: Cell, item: Cell) -> None:
        """Record that an array is one of those that a list holds, which may be gone when it is stored to."""
        self.hold(holder, [item])
        assert holder.arrays is not None
        self.relate_all(item, holder.arrays, self._keys(holder), self.where())

    @staticmethod
    def _keys(holder: Cell) -> list[Any]:
        """Return what a store would need that meets a list's copies: its arrays at home in it, see `places`."""
        return [] if holder.site is None else [(("places",), holder.site)]

    def lines(self, cell: Cell, others: Iterable[Cell]) -> str:
        """Return the lines that made a cell perhaps one array with others, for people."""
        found = (self.places.get(frozenset((c, o))) for c in self.twins.get(cell, {cell}) for o in others)
        return " and ".join(dict.fromkeys(str(p) for p in found if p is not None))

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
