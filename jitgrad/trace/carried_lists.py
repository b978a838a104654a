"""What a loop carries of lists: those that grow in it, are taken apart, or are another list in each trip.

In: what a list holds at entry and after a trip. Out: slots for the values of lists, and whether a trip leaves a list as
the head has it. A list of tuples that grows is taken apart at entry: its parts are lists that grow.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.types import ArrayType, ListType, Type
from jitgrad.trace.abstract import Cell, Columns, IterRange, IterRows, ListRef, Ref, TaggedRef
from jitgrad.trace.alternatives import as_item, joined_form
from jitgrad.trace.arrays import array_type
from jitgrad.trace.columns import ROWS, Structure, column_cells, pool_position, split, structure_of
from jitgrad.trace.context import PACKED
from jitgrad.trace.frame import State, looking_at
from jitgrad.trace.grown_lists import Form, Forms, common_form, holds_arrays, value_of_list
from jitgrad.trace.inspection import cells_of, reachable
from jitgrad.trace.loop_signals import NeedUnroll
from jitgrad.trace.paths import Get, Part
from jitgrad.trace.places import give_up, wants_places, with_a_pool

__all__ = ["CarriedLists"]


class CarriedLists:
    """The part of a header that carries lists; see `header.Header` for what the names mean."""

    ev: Any
    key: Any
    entry: State
    heap: dict[Cell, Any]
    parts: list[Part]
    widen: dict[Any, Any]
    phis: dict[Any, Cell]
    kinds: dict[Any, Any]
    live: list[Cell]
    apart: dict[Cell, tuple[Structure, Any]]
    entry_value: Callable[[Part], Any]
    _roots: Callable[[State], list[Any]]
    _slot: Callable[[Type, Callable[[], Value], Get, str], Value]
    _relate: Callable[..., bool]
    _inside: Callable[[Any], bool]

    # --- building

    def _grown(self, path: Any, content: tuple[Any, ...], get: Get, name: str) -> Value:
        ev = self.ev
        element = self.element[path]
        t = ListType(element)
        if wants_places(ev, path[1]) and element not in ev.pools:
            if content:
                raise give_up(ev, path[1], element)
            path[1].arrays = path[1]

        def init() -> Value:
            made: Value = ev.g.list_empty(type=t)
            for item in content:
                held = as_item(ev, item, ev.list_kinds.get(path[1], "array"), element)
                if held is None:
                    raise ev.error("JG221", what="items of different kinds in a list that grows in a loop")
                ev.obligations.hold(path[1], cells_of(item))
                made = ev.g.list_push(made, held)
            return made

        def value(s: State) -> Value:
            found: Value = get(s)
            return found

        made = self._slot(t, init, value, name)
        self.parts.append(Part(path, get, made, name, True))
        return made

    @property
    def element(self) -> dict[Any, ArrayType]:
        """Element types of the lists that grow."""
        found: dict[Any, ArrayType] = self.widen.setdefault("elements", {})
        return found

    def _numbers_of_list(self, path: Any, v: ListRef, get: Get, name: str, form: Form) -> ListRef:
        """Return a list of numbers, or of tuples of such, that is another one, of another length, in each trip."""
        cell = self.phis.setdefault(path, Cell(name))
        self.heap[cell] = self._listed(cell, form, lambda s: (s.heap[get(s).cell], s.heap), name)
        self._relate(cell, v)
        self.parts.append(Part(path, get, ListRef(cell), name, True))
        return ListRef(cell)

    def _listed(self, cell: Cell, form: Form, held: Callable[[State], tuple[Any, dict[Cell, Any]]], name: str) -> Any:
        """Return what a list holds at the head, given what to find in a state, and the heap that knows it."""
        if isinstance(form, Forms):
            cells = column_cells(cell, len(form.parts))
            for k, (part, own) in enumerate(zip(cells, form.parts, strict=True)):
                self.heap[part] = self._listed(part, own, partial(self._column, held, k), name)
            return Columns(*form.structure, tuple(map(ListRef, cells)))
        ev = self.ev
        ev.list_kinds[cell] = form[0]

        def value(s: State) -> Value:
            return value_of_list(ev, held(s)[0], form)

        return self._slot(ListType(form[1]), lambda: value(self.entry), value, name)

    @staticmethod
    def _column(held: Callable[[State], tuple[Any, dict[Cell, Any]]], k: int, s: State) -> tuple[Any, dict[Cell, Any]]:
        """Return what the k-th parts are of a list of tuples in a state."""
        items, heap = held(s)
        if isinstance(items, Columns):
            return heap[items.lists[k].cell], heap
        return tuple(pool_position(v) if isinstance(v, Ref) else v[k] for v in items), heap

    # --- comparing with the back edge

    def _same_kinds(self, path: Any) -> bool:
        """Whether the body was traced knowing of which kinds the items of a growing list are."""
        ev, known = self.ev, self.kinds.get(path)
        name = ev.list_kinds.get(path[1])
        self.kinds[path] = (name, len(ev.objects) if name == "object" else 0)
        return bool(known == self.kinds[path])

    def _items_fit(self, part: Part, head: tuple[Any, ...], found: Any, back: State) -> bool:
        if isinstance(found, tuple) and len(found) == len(head):
            if part.path[1].named and [n for n, _ in found] != [n for n, _ in self.entry.heap[part.path[1]]]:
                raise NeedUnroll(self.key, "the number of trips of a loop in which a dict or object gets other keys")
            return True
        if self._split(part.path[1], found, back):
            return False
        ev = self.ev
        form: tuple[str, ArrayType] | None = None
        if isinstance(found, tuple) and len(found) > len(head):
            with looking_at(ev, back.heap):
                form = joined_form(ev, found, cell=part.path[1])
        if isinstance(found, Value) and isinstance(found.type, ListType):
            with looking_at(ev, self.heap):
                known = ev.list_kinds.get(part.path[1], "array"), found.type.element
                form = joined_form(ev, head, known, cell=part.path[1])
        if form is not None and form[0] == "object" and isinstance(found, tuple) and self._counts(part.path[1]):
            form = None
        if form is not None:
            if form[0] in PACKED or form[0] == "object":
                self._note_choice()
            ev.list_kinds[part.path[1]], self.element[part.path] = form
            self.widen[part.path] = "grow"
            return False
        raise NeedUnroll(self.key, "the number of trips of a loop in which a list or dict changes its length")

    def _split(self, cell: Cell, found: Any, back: State) -> bool:
        """Take a list apart at entry whose length changes in the loop; whether that can be."""
        ev, entry = self.ev, self.entry
        with looking_at(ev, back.heap):
            arrays = self._of_arrays(found)
            structure = structure_of(ev, found) or arrays
        with looking_at(ev, entry.heap):
            alike = arrays or entry.heap[cell] == () or structure_of(ev, entry.heap[cell]) == structure
        if cell.columns is None or structure is None or not alike:
            return False
        self.apart[cell] = structure, entry.heap[cell]
        self._note_choice()
        with looking_at(ev, back.heap):
            made = split(ev, cell, structure)
        if structure[1] != ROWS or entry.heap[cell] == ():
            # That computes nothing.
            with looking_at(ev, entry.heap):
                split(ev, cell, structure)
        for part in cells_of(made):
            self._grow_part(part, back)
        return True

    def _grow_part(self, cell: Cell, back: State) -> None:
        """Let the head carry a part of a list that was taken apart as what it is after a trip: all parts at once."""
        ev, held, known = self.ev, back.heap[cell], self.entry.heap.setdefault(cell, ())
        if not isinstance(known, tuple) or self._split(cell, held, back):
            return
        form: tuple[str, ArrayType] | None = None
        if isinstance(held, Value) and isinstance(held.type, ListType):
            with looking_at(ev, self.entry.heap):
                form = joined_form(ev, known, (ev.list_kinds.get(cell, "array"), held.type.element), cell=cell)
        elif isinstance(held, tuple) and held:
            with looking_at(ev, back.heap):
                form = joined_form(ev, held, cell=cell)
        if form is not None:
            ev.list_kinds[cell], self.element["H", cell] = form
            self.widen["H", cell] = "grow"

    def take_apart(self) -> None:
        """Take lists apart at entry, before each attempt: what that computes is forgotten with the attempt."""
        with looking_at(self.ev, self.entry.heap):
            for cell, (structure, items) in self.apart.items():
                self.entry.heap[cell] = items
                split(self.ev, cell, structure)
        self.live = reachable(self.entry.heap, self._roots(self.entry))

    def _of_arrays(self, found: Any) -> Structure | None:
        """Return the structure of arrays of rank 1 that have other lengths in each trip, None for others."""
        if not isinstance(found, tuple) or not found or not all(isinstance(v, Ref | TaggedRef) for v in found):
            return None
        types = {array_type(self.ev, v) for v in found}
        apart = len(types) > 1 or any(self._inside(t.shape) for t in types)
        one = len({t.dtype for t in types}) == 1 and {t.rank for t in types} == {1}
        return (np.ndarray, ROWS) if apart and one else None

    def _note_choice(self) -> None:
        """Note that a list was taken apart, or has items of several kinds, which it need not if the loop unrolls."""
        if self._counts():
            self.ev.taken_apart.add(self.key)

    def _counts(self, cell: Cell | None = None) -> bool:
        """Whether the loop goes over a range or rows, and a cell, if there is one, is no part of another list."""
        part = any(cell in c.columns for c in self.live if c.columns)
        return not part and bool(self.entry.stack) and isinstance(self.entry.stack[-1], IterRange | IterRows)

    def split_alike(self, back: State) -> None:
        """Take those lists apart again, at the end of a trip, that are at its beginning."""
        for cell, held in self.heap.items():
            if isinstance(held, Columns) and isinstance(back.heap.get(cell), tuple):
                with looking_at(self.ev, back.heap):
                    if back.heap[cell] == () or structure_of(self.ev, back.heap[cell]) == (held.cls, held.names):
                        split(self.ev, cell, (held.cls, held.names))

    def _numbers(self, part: Part, found: Any, back: State) -> Any:
        """Return the decision that a variable is another list of numbers in each trip, with the form of its items."""
        form = common_form(self.ev, (self.entry_value(part), self.entry.heap), (found, back.heap))
        if isinstance(form, tuple) and form[0] == "array" and (again := with_a_pool(self.ev, form[1])) is not None:
            raise again
        return None if form is None or holds_arrays(form) else ("numbers", form)

    def _relate_early(self, part: Part, found: Any, back: State) -> None:
        """Record what else the slot may be that an array gets in the next trace.

        To find it out there, `u, v = v, u` would be traced once more.
        """
        if (self.key, None) not in self.ev.obligations.tagged:
            given = tuple(Ref(c) for c in cells_of(found) if c in self.entry.heap)
            self._relate(self.phis.setdefault(part.path, Cell(part.name)), given, back)
