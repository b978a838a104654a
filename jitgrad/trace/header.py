"""The state at a loop's head: what the loop carries, and whether a trip of the body leaves it so.

In: the state at entry, later the state at the back edge. Out: a header state in which every array that can be reached
and every number that the loop stores is a slot, and for each slot its first and its next value. Where the back edge
does not fit, `widen` grows, and the loop is traced again. This room traces nothing itself and makes no loop op.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from jitgrad.graph.ir import Block, Value
from jitgrad.graph.ops.memory import Span
from jitgrad.graph.types import BOOL, INT64, ArrayType, Type
from jitgrad.location import Location
from jitgrad.trace.abstract import (
    UNBOUND,
    AnyOf,
    Box,
    Cell,
    DictRef,
    Func,
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
from jitgrad.trace.alternatives import (
    NumberPart,
    NumberType,
    given_part,
    is_any_number,
    number_of,
    number_parts,
    number_type,
)
from jitgrad.trace.arrays import array_type, boxed, read, scalar_value, shape_of
from jitgrad.trace.carried import Carried
from jitgrad.trace.context import kind_of_python
from jitgrad.trace.fitting import Ways
from jitgrad.trace.frame import State, looking_at
from jitgrad.trace.identity import identify, joined_options, may_be_new, option_of, options_of
from jitgrad.trace.inspection import reachable, undefined
from jitgrad.trace.moving import Window
from jitgrad.trace.paths import Get, Part, item_of, local_of, stack_of, value_of
from jitgrad.trace.resizing import Resized
from jitgrad.trace.ways import choices_of, each_choice, flag_of, way_of

__all__ = ["Header"]


class Header(Carried):
    """The state at a loop's head, with what it carries.

    Attributes
    ----------
    widen : dict
        Path to a decision of earlier traces: ("number", its type), "phi", "ints", "item", "maybe", "grow", or a Poison.
    inits : list of Value
        What each slot holds at entry.
    getters : list
        How to find each slot's next value in the state at the back edge; called inside the body.
    after : dict
        Path of each number to its type after a trip.
    options : dict
        Path of each array to the caller's arrays that it may be after a trip.
    which_after : dict of Cell to int
        Which of them it surely is after a trip, where it is one.
    may_be_new : set
        Paths of the arrays that may be none of them.
    """

    def __init__(self, ev: Any, key: Any, entry: State, forced: frozenset[str], location: Location | None) -> None:
        self.ev = ev
        self.key = key
        self.entry = entry
        self.forced = forced
        self.location = location
        self.widen: dict[Any, Any] = {}
        self.converted: dict[Any, str] = {}
        self.phis: dict[Any, Cell] = {}
        self.after: dict[Any, NumberType] = {}
        self.kinds: dict[Any, Any] = {}
        # Lists that are taken apart at entry, with what they hold there.
        self.apart = {}
        self.options: dict[Any, tuple[Ref, ...]] = {}
        self.which_after: dict[Cell, int] = {}
        self.may_be_new: set[Any] = set()
        # Arrays at entry that nobody reads, for variables that are arrays only after a trip.
        self.made_up: dict[Cell, ArrayType] = {}
        self.body = Block()
        self.choices = {}
        self.homes = {}
        self.live = reachable(entry.heap, self._roots(entry))

    def _roots(self, state: State) -> list[Any]:
        ev = self.ev
        roots: list[Any] = [v for k, v in state.locals.items() if state is self.entry or k in self.wanted]
        roots += state.stack
        for frame in ev.frames[:-1]:
            roots += [*frame.locals.values(), *frame.stack]
        for frame in ev.frames:
            roots.append(Func(frame.func.code, frame.func.globals, "", closure=tuple(frame.cells.values())))
            if frame.yielded is not None:
                roots.append(ListRef(frame.yielded))
        roots += ev.kept
        roots += [ListRef(c) for c in state.heap if c.name == "closure" or c.argument == -1]
        return roots

    # --- building

    def build(self, make: Callable[[Type, str], Value], behind: Block, first: bool = False) -> State:
        """Return the header state; `make` gives the value of each slot, in one fixed order.

        Parameters
        ----------
        make : callable
        behind : Block
            Where to compute what follows from the slots.
        first : bool
            Whether to emit what the slots hold at entry, into the current block.
        """
        self.make = make
        self.behind = behind
        self.first = first
        self.pairs = self.related_pairs(self.entry.heap)
        self.inits: list[Value] = []
        self.getters: list[Callable[[State], Value]] = []
        self.parts: list[Part] = []
        # Numbers of the slots that hold the caller's arrays.
        self.callers: set[int] = set()
        self.chosen = {}
        if first:
            self.entry.heap.update((cell, undefined(self.ev, t)) for cell, t in self.made_up.items())
        state = State({}, [], {})
        self.heap = state.heap
        names = list(self.entry.locals)
        names += [p[1] for p, d in self.widen.items() if p[0] == "L" and d == "maybe" and p[1] not in names]
        for name in names:
            value = self.entry.locals.get(name, UNBOUND)
            state.locals[name] = self._value(("L", name), value, local_of(name), name, name in self.forced)
        for i, value in enumerate(self.entry.stack):
            state.stack.append(self._value(("S", i), value, stack_of(i), "", False))
        for cell in self.live:
            if cell in self.entry.heap:
                content = self.entry.heap[cell]
                before = len(self.getters)
                state.heap[cell] = self._content(("H", cell), content, self._content_of(cell), cell.name)
                if cell.argument is not None:
                    self.callers.update(range(before, len(self.getters)))
        return state

    def _content_of(self, cell: Cell) -> Get:
        heap = self.heap
        # A cell that no name can reach any more at the end of a trip may have been dropped there: it stays as it was.
        return lambda s: s.heap[cell] if cell in s.heap else heap[cell]

    def _slot(self, t: Type, init: Callable[[], Value], get: Callable[[State], Value], name: str) -> Value:
        if self.first:
            self.inits.append(init())
        self.getters.append(get)
        return self.make(t, name)

    def _content(self, path: Any, content: Any, get: Get, name: str) -> Any:
        if isinstance(content, Value):
            made = self._slot(content.type, lambda: content, get, name)
            self.parts.append(Part(path, get, made, name, True))
            return made
        if self.widen.get(path) == "grow":
            return self._grown(path, content, get, name)
        if isinstance(content, tuple) and path[0] == "H" and len(path) == 2:
            items = tuple(self._value((*path, i), v, item_of(get, i), name, False) for i, v in enumerate(content))
            self.parts.append(Part(path, get, items, name, False))
            return items
        return self._value((*path, "v"), content, get, name, False)

    def _value(self, path: Any, v: Any, get: Get, name: str, force: bool) -> Any:
        decision = self.widen.get(path)
        if isinstance(decision, Poison):
            return decision
        if isinstance(decision, Ways):
            return self._one_of(path, v, get, name, decision.sorts)
        if decision == "maybe" or isinstance(v, Maybe):
            return self._maybe(path, v, get, name)
        if is_any_number(v) and (force or decision is not None):
            return self._number(path, v, get, name, decision)
        if isinstance(decision, Resized):
            return self._phi(path, v, get, name, decision)
        if isinstance(v, Ref | TaggedRef) and (decision == "phi" or self._is_made_up(v)):
            return self._carried(path, v, get, name) if self.by_choice else self._phi(path, v, get, name)
        if isinstance(v, Ref) and decision in ("item", "ints"):
            return self._moving_view(path, v, get, name, frozenset(), decision == "item")
        if isinstance(v, Ref) and isinstance(decision, Window):
            return self._moving_view(path, v, get, name, decision.lengths)
        known = isinstance(v, ListRef | DictRef | Record) and isinstance(self.entry.heap[v.cell], tuple)
        if known and decision == "object":
            return self._object(path, v, get, name)
        if isinstance(v, ListRef) and isinstance(decision, tuple) and decision[0] == "numbers":
            return self._numbers_of_list(path, v, get, name, decision[1])
        if isinstance(v, tuple) and v:
            # For its length: what its items are is said by parts of their own.
            self.parts.append(Part(path, get, v, name, False))
            items = [self._value((*path, i), x, item_of(get, i), name, force) for i, x in enumerate(v)]
            return tuple(items) if type(v) is tuple else type(v)(*items)
        if isinstance(v, IterRange | IterRows) and decision == "number":
            position = self._number((*path, "position"), v.position, lambda s: get(s).position, "", None)
            return replace(v, position=position)
        self.parts.append(Part(path, get, v, name, False))
        return v

    def _is_made_up(self, v: Any) -> bool:
        return isinstance(v, Ref) and v.cell in self.made_up

    def _number(self, path: Any, v: Any, get: Get, name: str, decision: Any) -> Any:
        ev = self.ev
        t: NumberType = decision[1] if isinstance(decision, tuple) else number_type(ev, v)

        def given(x: Any, part: NumberPart) -> Value:
            if len(t) == 1 and part.role == "value":
                return scalar_value(ev, x, part.type.dtype)
            found = given_part(ev, x, t, part)
            return undefined(ev, part.type) if found is None else found

        def slot(part: NumberPart) -> Value:
            called = name if part.role == "value" else ""
            return self._slot(part.type, lambda: given(v, part), lambda s: given(get(s), part), called)

        head = number_of(t, [slot(part) for part in number_parts(t)])
        counts = kind_of_python(v) is not None or (isinstance(v, Scalar) and v.value in ev.counters)
        if isinstance(head, Scalar) and head.kind == "int" and counts:
            ev.counters.setdefault(head.value, self.key)
        self.parts.append(Part(path, get, head, name, True))
        return head

    def _one_of(self, path: Any, v: Any, get: Get, name: str, sorts: list[Any]) -> Any:
        """Return a variable that has one of several sorts: a flag for each but the last, and what each carries."""
        ev = self.ev

        def flag(x: Any, heap: dict[Cell, Any], sort: Any) -> Value:
            with looking_at(ev, heap):
                return flag_of(ev, x, way_of(ev, x, sort))

        def slot_of_flag(sort: Any) -> Value:
            return self._slot(BOOL, lambda: flag(v, self.entry.heap, sort), lambda s: flag(get(s), s.heap, sort), "")

        flags = tuple(slot_of_flag(sort) for sort in sorts[:-1])
        part = Part(path, get, None, name, True)
        self.parts.append(part)
        choices: list[Any] = []
        for i, sort in enumerate(sorts):
            if isinstance(sort, tuple) and sort[0] == "known":
                choices.append(sort[1].thing)
                continue
            with looking_at(ev, self.entry.heap):
                at = way_of(ev, v, sort)
            inner = self.stand_ins[(*path, "way", i)] if at is None else choices_of(v)[at]
            find = self._way_in(get, sort, partial(choices.__getitem__, i))
            choices.append(self._value((*path, "way", i), inner, find, name, True))
        poison = next((c for c in choices if isinstance(c, Poison)), None)
        if poison is not None:
            return poison
        part.head = OneOf(flags, tuple(choices))
        return part.head

    def _way_in(self, get: Get, sort: Any, head: Callable[[], Any]) -> Get:
        """Return how to find the value of one sort in a state; where it is of another, one that nobody reads."""
        ev = self.ev

        def find(s: State) -> Any:
            found = get(s)
            with looking_at(ev, s.heap):
                at = way_of(ev, found, sort)
            return self._nothing(head(), s) if at is None else choices_of(found)[at]

        return find

    def _nothing(self, head: Any, s: State) -> Any:
        """Return a value of the type that a variable has at the head, of no particular contents."""
        ev = self.ev
        if isinstance(head, tuple):
            items = [self._nothing(v, s) for v in head]
            return tuple(items) if type(head) is tuple else type(head)(*items)
        if isinstance(head, AnyOf):
            head = head.choices[0]
        if isinstance(head, Scalar):
            zero = np.zeros((), head.value.array.dtype)[()]
            return zero if head.kind == "numpy" else zero.item()
        if not isinstance(head, Ref):
            return head
        cell = Cell("undefined")
        ev.heap[cell] = s.heap[cell] = undefined(ev, self.heap[head.cell].type)
        return Ref(cell)

    def _maybe(self, path: Any, v: Any, get: Get, name: str) -> Any:
        ev = self.ev

        def flag_at_entry() -> Value:
            if isinstance(v, Maybe):
                return v.flag
            return ev.constant(v is not UNBOUND, np.bool_)

        def flag_of(s: State) -> Value:
            found = get(s)
            if isinstance(found, Maybe):
                return found.flag
            made: Value = ev.constant(found is not UNBOUND, np.bool_)
            return made

        flag = self._slot(BOOL, flag_at_entry, flag_of, "")
        inner = v.value if isinstance(v, Maybe) else v
        if inner is UNBOUND:
            inner = self.stand_ins[path]

        def inside(s: State) -> Any:
            found = get(s)
            if isinstance(found, Maybe):
                return found.value
            return inner if found is UNBOUND else found

        value = self._value((*path, "bound"), inner, inside, name, True)
        return value if isinstance(value, Poison) else Maybe(flag, value)

    @property
    def stand_ins(self) -> dict[Any, Any]:
        """For variables first bound in the loop: a value of the type that they get there."""
        found: dict[Any, Any] = self.widen.setdefault("stand-ins", {})
        return found

    def _phi(self, path: Any, v: Any, get: Get, name: str, resized: Resized | None = None) -> Ref:
        ev = self.ev
        cell = self.phis.setdefault(path, Cell(name))
        with looking_at(ev, self.entry.heap):
            t = array_type(ev, choices_of(v)[0])

        def content(x: Any) -> Value:
            found: Value = read(ev, x)
            return found if resized is None else resized.rows(ev.g, found)

        def init() -> Value:
            with looking_at(ev, self.entry.heap):
                return each_choice(ev, v, content)

        carried = t if resized is None else resized.carried(t)
        made = self._slot(carried, init, lambda s: each_choice(ev, get(s), content), name)
        cell.any_length = resized is not None
        self.heap[cell] = made if resized is None else self._of_rows(made, resized, v, get)
        with looking_at(ev, self.entry.heap):
            options = joined_options([*(options_of(ev, c) for c in choices_of(v)), self.options.get(path, ())])
        which = None
        if options:

            def option(x: Any) -> Value:
                return each_choice(ev, x, lambda c: option_of(ev, c, options))

            def which_at_entry() -> Value:
                with looking_at(ev, self.entry.heap):
                    return option(v)

            which = self._slot(INT64, which_at_entry, lambda s: option(get(s)), "")
        sure = path not in self.may_be_new and not any(map(may_be_new, choices_of(v)))
        self.heap.update(identify(cell, options, which, sure))
        self._relate(cell, v)
        self.parts.append(Part(path, get, Ref(cell), name, True))
        return Ref(cell)

    def _of_rows(self, rows: Value, resized: Resized, v: Any, get: Get) -> Value:
        """Return an array of which the loop carries the rows, as a list of any length."""
        ev = self.ev
        sizes: list[Value] = []
        for k in range(len(resized.axes) if len(resized.axes) > 1 else 0):

            def size(x: Any, k: int = k) -> Value:
                return each_choice(ev, x, lambda c: ev.dim(resized.lengths(shape_of(ev, c))[k]))

            def at_entry(size: Callable[[Any], Value] = size) -> Value:
                with looking_at(ev, self.entry.heap):
                    return size(v)

            sizes.append(self._slot(INT64, at_entry, lambda s, size=size: size(get(s)), ""))  # type: ignore[misc]
        with ev.scope(self.behind):
            return resized.array(ev.g, rows, sizes)

    def _object(self, path: Any, v: Any, get: Get, name: str) -> Any:
        """Return a list, dict or object that is another one in each trip, of the same structure."""
        cell = self.phis.setdefault(path, Cell(name))
        content = self.entry.heap[v.cell]
        head = replace(v, cell=cell)
        self.parts.append(Part(path, get, head, name, True))

        def items_of(s: State) -> Any:
            found = get(s)
            return s.heap.get(found.cell, ()) if hasattr(found, "cell") else ()

        if isinstance(v, ListRef):
            made = [self._value((*path, i), x, item_of(items_of, i), name, True) for i, x in enumerate(content)]
        else:
            made = [
                (k, self._value((*path, i), x, value_of(items_of, i), str(k), True)) for i, (k, x) in enumerate(content)
            ]
        self.heap[cell] = tuple(made)
        self._relate(cell, v)
        return head

    def _moving_view(
        self, path: Any, v: Ref, get: Get, name: str, lengths: frozenset[tuple[int, int]], item: bool = False
    ) -> Ref:
        """Return a view whose numbers are others in each trip; of its lengths, those that are named.

        Of an item of a pool, which stays such, the position alone.
        """
        links: list[Any] = []
        unsure = not v.view or v in self.ev.unsure
        with looking_at(self.ev, self.entry.heap):
            v = boxed(self.ev, v) if lengths else v
        for i, link in enumerate(v.view):
            if not isinstance(link, Box):
                links.append(link)
                continue
            made: list[Any] = []
            for j, e in enumerate(link.entries):
                numbers: list[Any] = []
                for field_, number in enumerate(e):
                    if isinstance(e, Span) and (item or (field_ == 2 and (i, j) not in lengths)):
                        numbers.append(number)
                        continue
                    numbers.append(self._view_number(number, get, (i, j, field_)))
                made.append(type(e)(*numbers))
            links.append(replace(link, entries=tuple(made)))
        head = Ref(v.cell, tuple(links))
        if unsure and links:
            self.ev.unsure.add(head)
        self.parts.append(Part(path, get, head, name, True))
        return head

    def _view_number(self, number: Any, get: Get, place: tuple[int, int, int]) -> Value:
        """Return the slot of one number of a view: link, entry, field."""
        ev = self.ev
        link, entry, field_ = place

        def following(s: State) -> Value:
            with looking_at(ev, s.heap):
                found = boxed(ev, get(s))
            box: Any = found.view[link]
            return ev.dim(box.entries[entry][field_])

        return self._slot(INT64, lambda: ev.dim(number), following, "")
