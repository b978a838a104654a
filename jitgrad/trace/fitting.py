"""Whether a trip of a loop's body leaves the state as the head has it, and if not, how the head must widen.

In: the parts of a header state, the state at the back edge. Out: whether they fit; `widen` grows where they do not. A
loop that cannot be carried as it stands says so by a signal: its first trip must be peeled, or it must unroll.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitgrad.graph.ir import Block, Value
from jitgrad.graph.types import ArrayType, ListType
from jitgrad.location import Location
from jitgrad.trace.abstract import (
    UNBOUND,
    Abstract,
    AnyOf,
    Cell,
    DictRef,
    IterRange,
    IterRows,
    ListRef,
    Maybe,
    OneOf,
    Poison,
    Record,
    Ref,
    Scalar,
    TaggedRef,
)
from jitgrad.trace.alternatives import NumberType, convertible, is_any_number, joined_type, number_type
from jitgrad.trace.arrays import array_type, describe, dtype_of, is_number, kind
from jitgrad.trace.carried_lists import CarriedLists
from jitgrad.trace.columns import pool_item
from jitgrad.trace.conversions import are_rounded_first
from jitgrad.trace.frame import State, looking_at
from jitgrad.trace.identity import joined_options, known_option, may_be_new, options_of
from jitgrad.trace.inspection import cells_of, same, undefined, values_in
from jitgrad.trace.loop_signals import NeedPeel, NeedUnroll
from jitgrad.trace.moving import Window, alike, same_structure, window_of
from jitgrad.trace.paths import Part
from jitgrad.trace.resizing import Resized, resized
from jitgrad.trace.ways import MANY_WAYS, choices_of, sort_of

__all__ = ["PEELS", "Fitting", "Ways"]

# First trips that are traced by themselves, where they change the types of what is carried.
PEELS = 2
_FEW_TRIPS = 256
_UNBOUND = "it may be unbound after a trip of the loop"
# Length of the path to a tuple inside tuples that change their types: a chain of pairs has no end.
_DEEP = 5


@dataclass(slots=True)
class Ways:
    """The decision that a variable is one of several values: their sorts."""

    sorts: list[Any]


class Fitting(CarriedLists):
    """The part of a header that compares it with the back edge; see `header.Header` for what the names mean."""

    ev: Any
    key: Any
    body: Block
    entry: State
    heap: dict[Cell, Any]
    parts: list[Part]
    widen: dict[Any, Any]
    converted: dict[Any, str]
    element: Any
    phis: dict[Any, Cell]
    stand_ins: Any
    after: dict[Any, NumberType]
    kinds: dict[Any, Any]
    options: dict[Any, tuple[Ref, ...]]
    which_after: dict[Cell, int]
    may_be_new: set[Any]
    made_up: dict[Cell, ArrayType]
    pairs: set[tuple[Cell, Cell]]
    live: list[Cell]
    chosen: dict[Any, Part]
    homes: dict[Any, Cell]
    location: Location | None

    def _choices_fit(self, part: Part, found: Any, back: State) -> bool:
        raise NotImplementedError

    def _inside(self, numbers: Iterable[Any]) -> bool:
        raise NotImplementedError

    def _after_trip(self, cell: Cell, back: State) -> list[Cell]:
        raise NotImplementedError

    def _forget_homes(self, path: Any) -> None:
        raise NotImplementedError

    # --- comparing with the back edge

    def _stays_an_array(self, part: Part, found: Any) -> bool:
        return isinstance(found, Ref | TaggedRef) and not isinstance(self.widen.get(part.path), Poison)

    def fits(self, back: State) -> bool:
        """Whether the state at the back edge fits the header; if not, `widen` has grown."""
        changed = False
        others: list[Any] = []
        # What no name can reach any more at the end of a trip may have been dropped there: it stays as it was.
        back.heap = {**self.heap, **back.heap}
        self.split_alike(back)
        for part in list(self.parts):
            found = part.get(back)
            if not self._fits(part, found, back):
                changed = True
                if part.path in self.chosen and not self._stays_an_array(part, found):
                    others.append(part.path)
        for path in others:
            self._forget_homes(path)
        # The stores of the body were traced without knowing it.
        changed = changed or self._tell_apart(back) or self.related_pairs(self.entry.heap) != self.pairs
        for name in back.locals:
            path = ("L", name)
            if name not in self.entry.locals and path not in self.widen and name in self.wanted:
                self._first_bound(path, back.locals[name], back)
                changed = True
        if not changed:
            self._require_same_first_trip()
        return not changed

    def _require_same_first_trip(self) -> None:
        """Have the first trip traced by itself if it computes with more digits than the others."""
        heads = {part.name: part.head.value for part in self.parts if part.path in self.converted}
        short = {k: v for k, v in heads.items() if v.array.dtype.itemsize < 8}
        if short and not are_rounded_first(short.values(), self.body):
            raise NeedPeel(next(iter(short)), "it is a number of Python's, computed with as such, and another after it")

    wanted: frozenset[str] = frozenset()
    may_peel = False

    @property
    def whole(self) -> Any:
        """What a loop is known by as a merge: its variables are carried by value, or all of them as choices."""
        return self.key, None

    def related_pairs(self, heap: dict[Cell, Any]) -> set[tuple[Cell, Cell]]:
        """Return which cells of a heap, with the arrays that lists hold, may be one array as far as is known."""
        cells = {*heap, *(c.arrays for c in heap if c.arrays is not None)}
        return {(a, b) for a in cells for b in self.ev.obligations.near(a) if b in cells}

    def _length_fits(self, part: Part, head: tuple[Any, ...], found: Any) -> bool:
        """Whether a tuple has as many items after a trip; the items are compared one by one."""
        if not isinstance(found, tuple) or (len(found) == len(head) and type(found) is type(head)):
            return True
        if self.may_peel:
            raise NeedPeel(part.name, f"it is a tuple of {len(head)}, and one of {len(found)} after a trip")
        name = part.name or "a tuple"
        raise NeedUnroll(self.key, f"the number of trips of a loop in which {name} changes its length")

    def _first_bound(self, path: Any, value: Any, back: State) -> None:
        if isinstance(value, Maybe):
            value = value.value
        made = self._stand_in((*path, "bound"), value, back)
        if made is not None:
            self.widen[path] = "maybe"
            self.stand_ins[path] = made
        else:
            self.widen[path] = Poison("it is first bound in the loop, to something that cannot be carried")

    def _stand_in(self, place: Any, value: Any, back: State) -> Any:
        """Return a value of the type of one that exists only after a trip, for where it does not; None: there is none.

        `place` is the path at which the head will have it.
        """
        if isinstance(value, AnyOf):
            value = value.choices[0]
        if is_number(value):
            zero = np.zeros((), dtype_of(self.ev, value))[()]
            return zero if kind(value) == "numpy" else zero.item()
        if isinstance(value, tuple):
            if len(place) > _DEEP:
                return None
            items = [self._stand_in((*place, i), v, back) for i, v in enumerate(value)]
            made = tuple(items) if type(value) is tuple else type(value)(*items)
            return None if any(v is None for v in items) else made
        if not isinstance(value, Ref | TaggedRef):
            return None if isinstance(value, Abstract) else value
        with looking_at(self.ev, back.heap):
            t = array_type(self.ev, value)
        cell = Cell(str(place[1]))
        self.entry.heap[cell] = undefined(self.ev, t)
        self.made_up[cell] = t
        self.widen[place] = "phi"
        return Ref(cell)

    def _fits(self, part: Part, found: Any, back: State) -> bool:
        head, path = part.head, part.path
        if isinstance(head, Value):
            if isinstance(found, Value) and found.type == head.type:
                return not isinstance(head.type, ListType) or self._same_kinds(path)
            if isinstance(found, Poison):
                self.ev.refuse(found, part.name or "an array")
            raise self.ev.error("JG900", what=f"what {part.name or 'an array'} holds changes its type in a loop")
        if isinstance(found, Maybe) and not isinstance(head, Maybe):
            self.widen[path] = Poison(_UNBOUND)
            return False
        held = cells_of(found) if isinstance(found, Ref | TaggedRef | OneOf) else []
        unknown = next((p for c in held if isinstance(p := back.heap.get(c), Poison)), None)
        if unknown is not None:
            self.widen[path] = unknown
            return False
        if path in self.chosen:
            return self._choices_fit(part, found, back)
        if part.slot and isinstance(head, OneOf):
            return self._ways_fit(part, found, back)
        if part.slot and isinstance(head, Scalar | AnyOf):
            return self._number_fits(part, head, found, back)
        if part.slot and isinstance(head, Ref):
            return self._array_fits(part, head, found, back)
        if part.slot and isinstance(head, ListRef | DictRef | Record):
            return self._object_fits(part, head, found, back)
        if path[0] == "H" and len(path) == 2 and isinstance(head, tuple):
            return self._items_fit(part, head, found, back)
        if isinstance(head, tuple) and head:
            return self._length_fits(part, head, found)
        if same(head, found):
            return True
        return self._widen(part, found, back)

    def _ways_fit(self, part: Part, found: Any, back: State) -> bool:
        """Whether what a variable is after a trip is among what the head knows that it may be."""
        if isinstance(found, Poison | Maybe) or found is UNBOUND:
            self.widen[part.path] = found if isinstance(found, Poison) else Poison(_UNBOUND)
            return False
        return not self._new_ways(part.path, found, back)

    def _new_ways(self, path: Any, found: Any, back: State) -> bool:
        """Add the sorts of what a variable is after a trip to those that the head knows; whether any is new.

        Where it is of no sort that can be carried, the decision is a `Poison`.
        """
        known = self.widen[path].sorts
        new = False
        for choice in choices_of(found):
            with looking_at(self.ev, back.heap):
                sort = sort_of(self.ev, choice)
            if sort is not None and sort in known:
                continue
            new = True
            if sort is None or len(known) >= MANY_WAYS:
                self.widen[path] = self._other_object()
                break
            inner = (*path, "way", len(known))
            known.append(sort)
            self.stand_ins[inner] = self._stand_in(inner, choice, back)
            if self.stand_ins[inner] is None and choice is not None:
                self.widen[path] = self._other_object()
                break
        return new

    def _to_ways(self, path: Any, head: Any, found: Any, back: State) -> bool:
        """Let the head carry a variable as one of several values; whether that can be."""
        if isinstance(found, Poison | Maybe) or found is UNBOUND:
            return False
        with looking_at(self.ev, self.entry.heap):
            sorts = [sort_of(self.ev, c) for c in choices_of(head)]
        if None in sorts:
            return False
        for i, sort in enumerate(sorts):
            if isinstance(sort, tuple) and sort[0] == "array":
                self.widen[(*path, "way", i)] = "phi"
        self.widen[path] = Ways(sorts)
        self._new_ways(path, found, back)
        return isinstance(self.widen[path], Ways)

    def _widen(self, part: Part, found: Any, back: State) -> bool:
        head, path = part.head, part.path
        if is_any_number(head) and is_any_number(found):
            self.widen[path] = ("number", number_type(self.ev, head))
        elif isinstance(head, IterRange | IterRows) and type(found) is type(head):
            self.widen[path] = "number"
        elif isinstance(head, Ref) and isinstance(found, Ref) and head.cell is found.cell and alike(head, found):
            self.widen[path] = "ints" if pool_item(head) is None or pool_item(found) is None else "item"
        elif isinstance(head, Ref | TaggedRef) and isinstance(found, Ref | TaggedRef):
            with looking_at(self.ev, back.heap):
                after = array_type(self.ev, found)
            with looking_at(self.ev, self.entry.heap):
                before = array_type(self.ev, head)
            if before == after:
                self.widen[path] = "phi"
                self._relate_early(part, found, back)
            else:
                self._resize(part, before, after, found, back)
        elif isinstance(head, ListRef | DictRef | Record) and type(found) is type(head):
            same_kind = same_structure(head, found, self.entry.heap.get(head.cell), back.heap.get(found.cell))
            self.widen[path] = "object" if same_kind else self._numbers(part, found, back) or self._other_object()
        else:
            self._other_sort(part, self.entry_value(part), found, back)
        return False

    def _resize(self, part: Part, before: ArrayType, after: ArrayType, found: Any, back: State) -> None:
        """Let the head carry an array of any length along some axes, or have the first trip peeled.

        A view of one and the same array stays that.
        """
        made = resized(before, after)
        decision = self.widen.get(part.path)
        if made is not None and isinstance(decision, Resized):
            made = made.with_axes(decision)
        # Sizes that the first trips settle stay known.
        why = f"it is {before}, and {after} after a trip"
        if before.rank != after.rank:
            why += "; the rank must be known when the function is compiled"
        if made is None or made == decision or (self.may_peel and not self._inside(after.shape)):
            raise NeedPeel(part.name, why)
        window = None if isinstance(decision, Resized) else self._window(part, self.entry_value(part), found, back)
        if window is not None and window != decision:
            self.widen[part.path] = window
            return
        if self._inside(made.carried(after).element.shape):
            raise NeedPeel(part.name, why)
        self.widen[part.path] = made

    def _window(self, part: Part, entry: Any, found: Any, back: State) -> Window | None:
        """Return how a view changes its lengths in a trip, None where it is one of another array or of another form."""
        if not isinstance(entry, Ref) or entry.cell not in self.live or entry.cell not in back.heap:
            return None
        return window_of(self.ev, entry, self.entry.heap, choices_of(found), back.heap, self.widen.get(part.path))

    def _one_resized(self, entry: Any, found: Any, back: State) -> Resized | None:
        """Return how all arrays that data may decide for differ, None unless it is in their lengths only."""
        types: list[ArrayType] = []
        for x, heap in ((entry, self.entry.heap), (found, back.heap)):
            for choice in choices_of(x):
                if not isinstance(choice, Ref | TaggedRef):
                    return None
                with looking_at(self.ev, heap):
                    types.append(array_type(self.ev, choice))
        ways = [resized(types[0], t) for t in types[1:] if t != types[0]]
        made = ways[0] if ways else None
        for way in ways[1:]:
            made = None if made is None or way is None else made.with_axes(way)
        fixed = made is not None and not self._inside(made.carried(types[0]).element.shape)
        return made if fixed else None

    def entry_value(self, part: Part) -> Any:
        """Return what a part is at entry."""
        return part.get(self.entry)

    def _other_sort(self, part: Part, entry: Any, found: Any, back: State) -> None:
        """Decide for a variable that is of another sort after a trip: always (peel), or perhaps."""
        window = self._window(part, entry, found, back)
        if window is not None and window != self.widen.get(part.path):
            self.widen[part.path] = window
            return
        made = self._one_resized(entry, found, back)
        if made is not None:
            self.widen[part.path] = made
            return
        always = is_any_number(found) or isinstance(found, Ref | TaggedRef | tuple)
        if always and self.may_peel and not isinstance(entry, OneOf):
            raise NeedPeel(part.name, f"it is {describe(entry)}, and {describe(found)} after a trip")
        if not self._to_ways(part.path, entry, found, back):
            self.widen[part.path] = self._other_object()

    def _number_fits(self, part: Part, head: Scalar | AnyOf, found: Any, back: State) -> bool:
        if not is_any_number(found):
            self._other_sort(part, self.entry_value(part), found, back)
            return False
        ev = self.ev
        before, after = number_type(ev, head), number_type(ev, found)
        self.after[part.path] = after
        joined = joined_type([before, after])
        if joined == before:
            return True
        if len(joined) == 1 or len(after) > 1 or len(before) > 1 or "way" in part.path:
            self.widen[part.path] = ("number", joined)
            return False
        entry = self.entry.locals.get(part.name) if part.path[0] == "L" else None
        if part.path in self.converted or not convertible(entry, before[0], after[0]):
            (name, dtype), (then, later) = before[0], after[0]
            raise NeedPeel(part.name, f"it is {dtype} ({name}), and {later} ({then}) after a trip")
        self.converted[part.path] = part.name
        self.widen[part.path] = ("number", after)
        return False

    def _array_fits(self, part: Part, head: Ref, found: Any, back: State) -> bool:
        ev = self.ev
        decision = self.widen.get(part.path)
        choices = choices_of(found) if isinstance(decision, Resized) else (found,)
        if not all(isinstance(c, Ref | TaggedRef) for c in choices):
            self._other_sort(part, self.entry_value(part), found, back)
            return False
        if decision in ("item", "ints"):
            if isinstance(found, Ref) and found.cell is head.cell and alike(head, found):
                if decision == "ints" or pool_item(found) is not None:
                    return True
                self.widen[part.path] = "ints"
                return False
            self.widen[part.path] = "phi"
            return False
        if isinstance(decision, Window):
            made = self._window(part, head, found, back)
            if made is not None and self._window(part, self.entry_value(part), found, back) == decision:
                return True
            self._widen(part, found, back)
            return False
        before = self.heap[head.cell].array
        for choice in choices:
            with looking_at(ev, back.heap):
                after = array_type(ev, choice)
            way = resized(before, after)
            fits = isinstance(decision, Resized) and way is not None and decision.covers(way)
            if after != before and not fits:
                self._resize(part, before, after, choice, back)
                return False
        return self._identified(part, head, choices, back) and not self._relate(head.cell, found, back)

    def _identified(self, part: Part, head: Ref, choices: Sequence[Any], back: State) -> bool:
        """Whether the head knows all arrays of the caller that an array may be after a trip."""
        ev = self.ev
        with looking_at(ev, back.heap):
            # What the body computes is gone behind it.
            own = [options_of(ev, c, lambda v: v in self.lasting) for c in choices]
            after = joined_options([head.cell.options, *own])
            if after != head.cell.options:
                self.options[part.path] = after
                return False
            if head.cell.sure and any(map(may_be_new, choices)):
                self.may_be_new.add(part.path)
                return False
            known = known_option(ev, choices[0], after) if len(choices) == 1 else None
            self.which_after.pop(head.cell, None)
            if known is not None:
                self.which_after[head.cell] = known
        return True

    @property
    def lasting(self) -> set[Value]:
        """The values in views that are known to exist outside of the loop."""
        return {v for p in self.parts if isinstance(p.head, Ref) for o in p.head.cell.options for v in values_in(o)}

    def _object_fits(self, part: Part, head: Any, found: Any, back: State) -> bool:
        if type(found) is type(head) and same_structure(head, found, self.heap[head.cell], back.heap.get(found.cell)):
            return not self._relate(head.cell, found, back)
        decision = self._numbers(part, found, back)
        if decision is not None and decision == self.widen.get(part.path):
            return not self._relate(head.cell, found, back)
        self.widen[part.path] = decision or self._other_object()
        return False

    def _other_object(self) -> Poison:
        """Return what stands for a variable that is another object after a trip."""
        iterator = self.entry.stack[-1] if self.entry.stack else None
        count = getattr(iterator, "count", None)
        can = isinstance(iterator, IterRange | IterRows) and isinstance(count, int) and count <= _FEW_TRIPS
        return Poison("it is another object after a trip of the loop", self.key if can else None)

    # --- which slots may be one array

    def _relate(self, head: Cell, given: Any, back: State | None = None) -> bool:
        """Record what else the array or object of a slot may be; return whether that is new for the body's stores.

        A slot that gets another slot's array gets what that may be outside of the loop, not the slot itself: in the
        next trip that one holds another array. Which slots hold one array together is found by `_tell_apart`.
        """
        obligations = self.ev.obligations
        slots = set(self.phis.values())
        new = False
        cells = [c for old in cells_of(given) for c in ([old] if back is None else self._after_trip(old, back))]
        for old in cells:
            near = {c: keys for c, keys in obligations.near(old).items() if c not in slots}
            if old not in slots:
                near.setdefault(old, set())
            for other, keys in near.items():
                # What the body made itself is another array in the next trip.
                known = other in self.entry.heap or other in self.homes.values()
                new |= obligations.relate(head, other, {*keys, self.whole}, self.location) and known
        return new

    def _tell_apart(self, back: State) -> bool:
        """Record which slots hold one array, at entry or after a trip; return whether any of it is new."""
        obligations = self.ev.obligations
        slots = [p for p in self.parts if p.slot and isinstance(p.head, Ref | ListRef | DictRef | Record)]
        slots = [p for p in slots if p.path not in self.chosen]
        new = False
        for state in (self.entry, back):
            given = [(p, cell) for p in slots if p.head.cell in self.heap for cell in cells_of(p.get(state))]
            for i, (part, cell) in enumerate(given):
                for other, its in given[:i]:
                    if cell is its or its in obligations.near(cell):
                        new |= obligations.relate(part.head.cell, other.head.cell, [self.whole], self.location)
        return new
