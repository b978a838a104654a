"""The state at a loop's head: what the loop carries, and whether a trip of the body leaves it so.

In: the state at entry, later the state at the back edge. Out: a header state in which every array that can be reached
and every number that the loop stores is a slot, and for each slot its first and its next value. Where the back edge
does not fit, `widen` grows, and the loop is traced again. This room traces nothing itself and makes no loop op.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.memory import Span
from jitgrad.graph.types import BOOL, INT64, ArrayType, ListType, Type
from jitgrad.trace.abstract import (
    UNBOUND,
    Box,
    Cell,
    DictRef,
    Func,
    IterRange,
    IterRows,
    ListRef,
    Maybe,
    Poison,
    Record,
    Ref,
    Scalar,
    TaggedRef,
)
from jitgrad.trace.arrays import array_type, as_array, dtype_of, is_number, kind, read, scalar_value
from jitgrad.trace.context import kind_of_python
from jitgrad.trace.frame import State
from jitgrad.trace.merge import cells_of, reachable, same, undefined
from jitgrad.trace.python_arithmetic import mixed_dtype, numpy_flag

__all__ = ["Header", "LoopSignal", "NeedPeel", "NeedUnroll", "NotThisForm"]

_FEW_TRIPS = 256
_ORDER = ["bool", "int", "float", "complex"]
Get = Callable[[State], Any]


class LoopSignal(Exception):
    """Control of the tracer itself, never an exception of the user's program."""


class NeedUnroll(LoopSignal):
    """The index of a loop is needed as a known Python object."""

    def __init__(self, key: Any, why: str) -> None:
        super().__init__(why)
        self.key = key
        self.why = why


class NeedPeel(LoopSignal):
    """A carried variable has another type after the first trip."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name = name
        self.why = why


class NotThisForm(LoopSignal):
    """The loop has not the form that was tried."""


@dataclass(slots=True)
class _Part:
    """A place in the header state, and how to find the same place in another state."""

    path: Any
    get: Get
    head: Any
    name: str
    slot: bool


class Header:
    """The state at a loop's head, with what it carries.

    Attributes
    ----------
    widen : dict
        Path to a decision of earlier traces: ("number", kind, dtype), "phi", "ints", "maybe", "grow", or a Poison.
    inits : list of Value
        What each slot holds at entry.
    getters : list
        How to find each slot's next value in the state at the back edge; called inside the body.
    after : dict
        Path of each number to its kind after a trip.
    """

    def __init__(self, ev: Any, key: Any, entry: State, forced: frozenset[str]) -> None:
        self.ev = ev
        self.key = key
        self.entry = entry
        self.forced = forced
        self.widen: dict[Any, Any] = {}
        self.converted: dict[Any, str] = {}
        self.phis: dict[Any, Cell] = {}
        self.after: dict[Any, str] = {}
        self.live = reachable(entry.heap, self._roots())

    def _roots(self) -> list[Any]:
        ev = self.ev
        roots: list[Any] = [*self.entry.locals.values(), *self.entry.stack]
        for frame in ev.frames[:-1]:
            roots += [*frame.locals.values(), *frame.stack]
        for frame in ev.frames:
            roots.append(Func(frame.func.code, frame.func.globals, "", closure=tuple(frame.cells.values())))
            if frame.yielded is not None:
                roots.append(ListRef(frame.yielded))
        roots += ev.roots
        roots += [ListRef(c) for c in self.entry.heap if c.name == "closure" or c.argument == -1]
        return roots

    # --- building

    def build(self, make: Callable[[Type, str], Value], first: bool) -> State:
        """Return the header state; `make` gives the value of each slot, in one fixed order.

        Parameters
        ----------
        make : callable
        first : bool
            Whether to emit what the slots hold at entry, into the current block.
        """
        self.make = make
        self.first = first
        self.inits: list[Value] = []
        self.getters: list[Callable[[State], Value]] = []
        self.parts: list[_Part] = []
        state = State({}, [], {})
        self.heap = state.heap
        names = list(self.entry.locals)
        names += [p[1] for p, d in self.widen.items() if p[0] == "L" and d == "maybe" and p[1] not in names]
        for name in names:
            value = self.entry.locals.get(name, UNBOUND)
            state.locals[name] = self._value(("L", name), value, _local(name), name, name in self.forced)
        for i, value in enumerate(self.entry.stack):
            state.stack.append(self._value(("S", i), value, _slot_of_stack(i), "", False))
        for cell in self.live:
            if cell in self.entry.heap:
                content = self.entry.heap[cell]
                state.heap[cell] = self._content(("H", cell), content, self._content_of(cell), cell.name)
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
            self.parts.append(_Part(path, get, made, name, True))
            return made
        if self.widen.get(path) == "grow":
            return self._grown(path, content, get, name)
        if isinstance(content, tuple) and path[0] == "H" and len(path) == 2:
            items = tuple(self._value((*path, i), v, _item_of(get, i), name, False) for i, v in enumerate(content))
            self.parts.append(_Part(path, get, items, name, False))
            return items
        return self._value((*path, "v"), content, get, name, True)

    def _grown(self, path: Any, content: tuple[Any, ...], get: Get, name: str) -> Value:
        ev = self.ev
        element = self.element[path]
        t = ListType(element)

        def init() -> Value:
            made: Value = ev.g.list_empty(type=t)
            for item in content:
                made = ev.g.list_push(made, as_array(ev, item, element.dtype))
            return made

        def value(s: State) -> Value:
            found: Value = get(s)
            return found

        made = self._slot(t, init, value, name)
        self.parts.append(_Part(path, get, made, name, True))
        return made

    @property
    def element(self) -> dict[Any, ArrayType]:
        """Element types of the lists that grow."""
        found: dict[Any, ArrayType] = self.widen.setdefault("elements", {})
        return found

    def _value(self, path: Any, v: Any, get: Get, name: str, force: bool) -> Any:
        decision = self.widen.get(path)
        if isinstance(decision, Poison):
            return decision
        if decision == "maybe" or isinstance(v, Maybe):
            return self._maybe(path, v, get, name)
        if is_number(v) and (force or decision is not None):
            return self._number(path, v, get, name, decision)
        if isinstance(v, Ref | TaggedRef) and decision == "phi":
            return self._phi(path, v, get, name)
        if isinstance(v, Ref) and decision == "ints":
            return self._moving_view(path, v, get, name)
        if isinstance(v, ListRef | DictRef | Record) and decision == "object":
            return self._object(path, v, get, name)
        if isinstance(v, tuple) and v:
            items = [self._value((*path, i), x, _item_of(get, i), name, force) for i, x in enumerate(v)]
            return tuple(items) if type(v) is tuple else type(v)(*items)
        if isinstance(v, IterRange | IterRows) and decision == "number":
            position = self._number((*path, "position"), v.position, lambda s: get(s).position, "", None)
            return replace(v, position=position)
        self.parts.append(_Part(path, get, v, name, False))
        return v

    def _number(self, path: Any, v: Any, get: Get, name: str, decision: Any) -> Scalar:
        ev = self.ev
        name_of_kind, dtype = kind(v), dtype_of(ev, v)
        if isinstance(decision, tuple):
            _, name_of_kind, dtype = decision
        made = self._slot(
            ArrayType(np.dtype(dtype)),
            lambda: scalar_value(ev, v, dtype),
            lambda s: scalar_value(ev, get(s), dtype),
            name,
        )
        is_numpy = None
        if name_of_kind == "mixed":
            is_numpy = self._slot(BOOL, lambda: numpy_flag(ev, v), lambda s: numpy_flag(ev, get(s)), "")
        head = Scalar(made, name_of_kind, is_numpy=is_numpy)
        if name_of_kind == "int" and (kind_of_python(v) is not None or v.value in ev.counters):
            ev.counters.setdefault(made, self.key)
        self.parts.append(_Part(path, get, head, name, True))
        return head

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

    def _phi(self, path: Any, v: Any, get: Get, name: str) -> Ref:
        ev = self.ev
        cell = self.phis.setdefault(path, Cell(name))
        with _looking_at(ev, self.entry.heap):
            t = array_type(ev, v)

        def init() -> Value:
            with _looking_at(ev, self.entry.heap):
                found: Value = read(ev, v)
                return found

        made = self._slot(t, init, lambda s: read(ev, get(s)), name)
        self.heap[cell] = made
        for old in cells_of(v):
            ev.obligations.relate(cell, old, [(self.key, path)])
        self.parts.append(_Part(path, get, Ref(cell), name, True))
        return Ref(cell)

    def _object(self, path: Any, v: Any, get: Get, name: str) -> Any:
        """Return a list, dict or object that is another one in each trip, of the same structure."""
        cell = self.phis.setdefault(path, Cell(name))
        content = self.entry.heap[v.cell]
        head = replace(v, cell=cell)
        self.parts.append(_Part(path, get, head, name, True))

        def items_of(s: State) -> Any:
            return s.heap.get(getattr(get(s), "cell", None), ())

        if isinstance(v, ListRef):
            made = [self._value((*path, i), x, _item_of(items_of, i), name, True) for i, x in enumerate(content)]
        else:
            made = [
                (k, self._value((*path, i), x, _value_of(items_of, i), str(k), True))
                for i, (k, x) in enumerate(content)
            ]
        self.heap[cell] = tuple(made)
        self.ev.obligations.relate(cell, v.cell, [(self.key, path)])
        return head

    def _object_fits(self, part: _Part, head: Any, found: Any, back: State) -> bool:
        if type(found) is type(head) and _same_structure(head, found, self.heap[head.cell], back.heap.get(found.cell)):
            self.ev.obligations.relate(head.cell, found.cell, [(self.key, part.path)])
            return True
        self.widen[part.path] = self._other_object()
        return False

    def _other_object(self) -> Poison:
        """Return what stands for a variable that is another object after a trip."""
        iterator = self.entry.stack[-1] if self.entry.stack else None
        count = getattr(iterator, "count", None)
        can = isinstance(iterator, IterRange | IterRows) and isinstance(count, int) and count <= _FEW_TRIPS
        return Poison("it is another object after a trip of the loop", self.key if can else None)

    def _moving_view(self, path: Any, v: Ref, get: Get, name: str) -> Ref:
        links: list[Any] = []
        for i, link in enumerate(v.view):
            if not isinstance(link, Box):
                links.append(link)
                continue
            made: list[Any] = []
            for j, e in enumerate(link.entries):
                numbers: list[Any] = []
                for field_, number in enumerate(e):
                    if isinstance(e, Span) and field_ == 2:
                        numbers.append(number)
                        continue
                    numbers.append(self._view_number(number, get, (i, j, field_)))
                made.append(type(e)(*numbers))
            links.append(replace(link, entries=tuple(made)))
        head = Ref(v.cell, tuple(links))
        self.parts.append(_Part(path, get, head, name, True))
        return head

    def _view_number(self, number: Any, get: Get, place: tuple[int, int, int]) -> Value:
        """Return the slot of one number of a view: link, entry, field."""
        ev = self.ev
        link, entry, field_ = place

        def following(s: State) -> Value:
            found: Value = ev.dim(get(s).view[link].entries[entry][field_])
            return found

        return self._slot(INT64, lambda: ev.dim(number), following, "")

    # --- comparing with the back edge

    def fits(self, back: State) -> bool:
        """Whether the state at the back edge fits the header; if not, `widen` has grown."""
        changed = False
        for part in list(self.parts):
            found = part.get(back)
            if not self._fits(part, found, back):
                changed = True
        for name in back.locals:
            path = ("L", name)
            if name not in self.entry.locals and path not in self.widen and name in self.wanted:
                self._first_bound(path, back.locals[name], back)
                changed = True
        return not changed

    wanted: frozenset[str] = frozenset()

    def _first_bound(self, path: Any, value: Any, back: State) -> None:
        if isinstance(value, Maybe):
            value = value.value
        if is_number(value):
            dtype = dtype_of(self.ev, value)
            zero = np.zeros((), dtype)[()]
            name = kind(value)
            self.stand_ins[path] = zero if name == "numpy" else zero.item()
            self.widen[path] = "maybe"
        elif isinstance(value, Ref | TaggedRef):
            with _looking_at(self.ev, back.heap):
                t = array_type(self.ev, value)
            cell = Cell(str(path[1]))
            self.entry.heap[cell] = undefined(self.ev, t)
            self.stand_ins[path] = Ref(cell)
            self.widen[path] = "maybe"
            self.widen[(*path, "bound")] = "phi"
        else:
            self.widen[path] = Poison("it is first bound in the loop, to something that cannot be carried")

    def _fits(self, part: _Part, found: Any, back: State) -> bool:
        head, path = part.head, part.path
        if isinstance(head, Value):
            if isinstance(found, Value) and found.type == head.type:
                return True
            raise self.ev.error("JG900", what=f"what {part.name or 'an array'} holds changes its type in a loop")
        if isinstance(found, Maybe) and not isinstance(head, Maybe):
            self.widen[path] = Poison("it may be unbound after a trip of the loop")
            return False
        if part.slot and isinstance(head, Scalar):
            return self._number_fits(part, head, found)
        if part.slot and isinstance(head, Ref):
            return self._array_fits(part, head, found, back)
        if part.slot and isinstance(head, ListRef | DictRef | Record):
            return self._object_fits(part, head, found, back)
        if path[0] == "H" and len(path) == 2 and isinstance(head, tuple):
            return self._items_fit(part, head, found)
        if same(head, found):
            return True
        return self._widen(part, found, back)

    def _widen(self, part: _Part, found: Any, back: State) -> bool:
        head, path = part.head, part.path
        if is_number(head) and is_number(found):
            self.widen[path] = ("number", kind(head), dtype_of(self.ev, head))
        elif isinstance(head, IterRange | IterRows) and type(found) is type(head):
            self.widen[path] = "number"
        elif isinstance(head, Ref) and isinstance(found, Ref) and head.cell is found.cell and _alike(head, found):
            self.widen[path] = "ints"
        elif isinstance(head, Ref | TaggedRef) and isinstance(found, Ref | TaggedRef):
            with _looking_at(self.ev, back.heap):
                after = array_type(self.ev, found)
            with _looking_at(self.ev, self.entry.heap):
                before = array_type(self.ev, head)
            if before != after:
                raise NeedPeel(part.name, f"it is {before}, and {after} after a trip")
            self.widen[path] = "phi"
        elif is_number(head) and isinstance(found, Ref | TaggedRef):
            raise NeedPeel(part.name, "it is a number, and an array after a trip")
        elif isinstance(head, ListRef | DictRef | Record) and type(found) is type(head):
            alike = _same_structure(head, found, self.entry.heap.get(head.cell), back.heap.get(found.cell))
            self.widen[path] = "object" if alike else self._other_object()
        else:
            self.widen[path] = self._other_object()
        return False

    def _number_fits(self, part: _Part, head: Scalar, found: Any) -> bool:
        if not is_number(found):
            if isinstance(found, Ref | TaggedRef):
                raise NeedPeel(part.name, "it is a number, and an array after a trip")
            self.widen[part.path] = self._other_object()
            return False
        ev = self.ev
        before, after = (head.kind, head.value.array.dtype), (kind(found), dtype_of(ev, found))
        self.after[part.path] = after[0]
        if before == after:
            return True
        mixed = mixed_dtype([before, after])
        if mixed is not None:
            if before[0] == "mixed":
                return True
            self.widen[part.path] = ("number", "mixed", mixed)
            return False
        entry = self.entry.locals.get(part.name) if part.path[0] == "L" else None
        if part.path in self.converted or not _convertible(entry, before, after):
            raise NeedPeel(part.name, f"it is {before[1]} ({before[0]}), and {after[1]} ({after[0]}) after a trip")
        self.converted[part.path] = part.name
        self.widen[part.path] = ("number", *after)
        return False

    def _array_fits(self, part: _Part, head: Ref, found: Any, back: State) -> bool:
        ev = self.ev
        if not isinstance(found, Ref | TaggedRef):
            self.widen[part.path] = Poison("it is an array, and not one after a trip of the loop")
            return False
        if self.widen.get(part.path) == "ints":
            if isinstance(found, Ref) and found.cell is head.cell and _alike(head, found):
                return True
            self.widen[part.path] = "phi"
            return False
        with _looking_at(ev, back.heap):
            after = array_type(ev, found)
        before = self.heap[head.cell].array
        if after != before:
            raise NeedPeel(part.name, f"it is {before}, and {after} after a trip")
        for cell in cells_of(found):
            ev.obligations.relate(head.cell, cell, [(self.key, part.path)])
        return True

    def _items_fit(self, part: _Part, head: tuple[Any, ...], found: Any) -> bool:
        if isinstance(found, tuple) and len(found) == len(head):
            return True
        if isinstance(found, tuple) and len(found) > len(head) and all(_is_value(v) for v in found):
            types = {(kind(v), self.ev.type_of_item(v)) for v in found}
            if len(types) == 1:
                name, element = types.pop()
                self.widen[part.path] = "grow"
                self.element[part.path] = element
                self.ev.list_kinds[part.path[1]] = name
                return False
        if isinstance(found, Value) and isinstance(found.type, ListType):
            of = self.ev.list_kinds.get(part.path[1], "array")
            if {(kind(v), self.ev.type_of_item(v)) if _is_value(v) else None for v in head} <= {
                (of, found.type.element)
            }:
                self.widen[part.path] = "grow"
                self.element[part.path] = found.type.element
                return False
        raise NeedUnroll(self.key, "a list or dict changes its length in the loop")


def _is_value(v: Any) -> bool:
    return is_number(v) or isinstance(v, Ref | TaggedRef)


def _convertible(entry: Any, before: tuple[str, Any], after: tuple[str, Any]) -> bool:
    """Whether a number at entry can stand as the type of later trips without another value."""
    if before[0] not in _ORDER:
        return False
    if after[0] in _ORDER and _ORDER.index(after[0]) < _ORDER.index(before[0]):
        return False
    if after[0] == "mixed":
        return False
    if kind_of_python(entry) is not None:
        with np.errstate(all="ignore"):
            return bool(np.asarray(entry).astype(after[1]) == entry)
    return before[1].kind in "bi" and after[1] == np.float64


def _alike(a: Ref, b: Ref) -> bool:
    if len(a.view) != len(b.view):
        return False
    for x, y in zip(a.view, b.view, strict=True):
        if type(x) is not type(y) or getattr(x, "order", None) != getattr(y, "order", None):
            return False
        ex, ey = getattr(x, "entries", ()), getattr(y, "entries", ())
        if len(ex) != len(ey) or any(type(p) is not type(q) for p, q in zip(ex, ey, strict=True)):
            return False
        if any(isinstance(p, Span) and p.length != q.length for p, q in zip(ex, ey, strict=True)):
            return False
        if not ex and x != y:
            return False
    return True


def _same_structure(a: Any, b: Any, held: Any, after: Any) -> bool:
    """Whether two containers have the same class and keys, given what they hold."""
    if not isinstance(held, tuple) or not isinstance(after, tuple) or len(held) != len(after):
        return False
    if isinstance(a, ListRef):
        return True
    return getattr(a, "cls", None) is getattr(b, "cls", None) and all(
        k == n for (k, _), (n, _) in zip(held, after, strict=True)
    )


def _item(container: Any, i: int) -> Any:
    return container[i] if isinstance(container, tuple) and i < len(container) else UNBOUND


@contextmanager
def _looking_at(ev: Any, heap: dict[Cell, Any]) -> Iterator[None]:
    """See arrays as another state's heap has them."""
    kept = ev.heap
    ev.heap = heap
    try:
        yield
    finally:
        ev.heap = kept


def _local(name: str) -> Get:
    return lambda s: s.locals.get(name, UNBOUND)


def _slot_of_stack(i: int) -> Get:
    return lambda s: s.stack[i]


def _item_of(get: Get, i: int) -> Get:
    return lambda s: _item(get(s), i)


def _value_of(get: Get, i: int) -> Get:
    def find(s: State) -> Any:
        pair = _item(get(s), i)
        return UNBOUND if pair is UNBOUND else pair[1]

    return find
