"""Loops: run-time ones become `for` and `while` ops, loops over known items unroll.

What a loop carries is found by tracing its body: a header state is built from the state at entry, with a block argument
for every array that can be reached and every number that the loop stores; the body is traced; where the state at the
back edge does not fit the header, the header is widened and the body traced again, until it fits. Three forms:

    counted      `for` over a range or rows, with no way out but exhaustion
    tested       `while` whose condition is the head's test and whose only way out is that test
    general      `while` that carries a code: 0 goes on, k has left through exit k
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from jitgrad.graph.ir import Block, Op, Value
from jitgrad.graph.ops.memory import Span
from jitgrad.graph.types import BOOL, INT64, ArrayType, ListType, Type
from jitgrad.trace.abstract import (
    UNBOUND,
    Abstract,
    Cell,
    DictRef,
    Func,
    IterRange,
    IterRows,
    IterSequence,
    ListRef,
    Maybe,
    Poison,
    Record,
    Ref,
    Scalar,
    TaggedRef,
)
from jitgrad.trace.arrays import (
    array_type,
    as_array,
    dtype_of,
    is_number,
    kind,
    mixed_dtype,
    numpy_flag,
    read,
    scalar_value,
)
from jitgrad.trace.context import kind_of_python
from jitgrad.trace.frame import Frame, Outcome, State
from jitgrad.trace.merge import Edge, Merger, cells_of, reachable, same, undefined
from jitgrad.trace.regions import BlockNode, Continue, Goto, LoopNode

__all__ = ["LoopSignal", "NeedUnroll", "next_of", "run_loop"]

_UNROLL_LIMIT = 10_000
_ORDER = ["bool", "int", "float", "complex"]


class LoopSignal(Exception):
    """Control of the tracer itself, never an exception of the user's program."""


class NeedUnroll(LoopSignal):
    """The index of a loop is needed as a known Python object."""

    def __init__(self, key: Any, why: str) -> None:
        super().__init__(why)
        self.key = key
        self.why = why


class _NeedPeel(LoopSignal):
    """A carried variable has another type after the first trip."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name = name
        self.why = why


class _NotThisForm(LoopSignal):
    """The loop has not the form that was tried."""


# --- iterators


def next_of(ev: Any, iterator: Any) -> tuple[Any, Callable[[], tuple[Any, Any]]]:
    """Return whether an iterator has a next item (known, or a bool value), and how to take it."""
    if isinstance(iterator, IterSequence):
        at = iterator.position
        more: Any = at < len(iterator.items)
        return more, lambda: (replace(iterator, position=at + 1), iterator.items[at])
    if not isinstance(iterator, IterRange | IterRows):
        raise ev.error("JG203", what=f"iterating over {type(iterator).__name__}")
    position, count = iterator.position, iterator.count
    if isinstance(position, int) and isinstance(count, int):
        more = position < count
    else:
        more = ev.g.less(scalar_value(ev, position, np.int64), scalar_value(ev, count, np.int64))

    def advance() -> tuple[Any, Any]:
        if isinstance(position, int):
            after: Any = position + 1
        else:
            after = Scalar(ev.g.add(position.value, ev.constant(1, np.int64)), "int")
        return replace(iterator, position=after), item_of(ev, iterator, position)

    return more, advance


def item_of(ev: Any, iterator: Any, position: Any) -> Any:
    """Return the item of a range or of rows at a position."""
    if isinstance(iterator, IterRows):
        return iterator.make(ev, position)
    start, step, count = iterator.start, iterator.step, iterator.count
    if all(isinstance(x, int) for x in (start, step, position)):
        return start + position * step
    g = ev.g
    value = scalar_value(ev, position, np.int64)
    if step != 1 or not isinstance(step, int):
        value = g.multiply(value, scalar_value(ev, step, np.int64))
    if start != 0 or not isinstance(start, int):
        value = g.add(value, scalar_value(ev, start, np.int64))
    low: int | None = None
    high: int | None = None
    if isinstance(step, int) and isinstance(start, int):
        if isinstance(count, int):
            ends = (start, start + max(count - 1, 0) * step)
            low, high = min(ends), max(ends)
        elif step > 0:
            low, high = start, 2**63 - 2
        else:
            low, high = -(2**63) + 2, start
    if (step != 1 or start != 0) and isinstance(position, Scalar) and position.value in ev.counters:
        ev.counters.setdefault(value, ev.counters[position.value])
    return Scalar(value, "int", low, high)


# --- the header of a loop


@dataclass(slots=True)
class _Part:
    """A place in the header state, and how to find the same place in another state."""

    path: Any
    get: Callable[[State], Any]
    head: Any
    name: str
    slot: bool


class Header:
    """The state at a loop's head, with what it carries.

    Attributes
    ----------
    widen : dict
        Path to a decision found by earlier traces: ("number", kind, dtype), "phi", "ints", "maybe", "grow", or a Poison.
    inits : list of Value
        What each slot holds at entry.
    getters : list
        How to find each slot's next value in the state at the back edge; called inside the body.
    """

    def __init__(self, ev: Any, key: Any, entry: State, forced: frozenset[str]) -> None:
        self.ev = ev
        self.key = key
        self.entry = entry
        self.forced = forced
        self.widen: dict[Any, Any] = {}
        self.converted: dict[Any, str] = {}
        self.phis: dict[Any, Cell] = {}
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
            state.locals[name] = self._value(
                ("L", name), value, lambda s, n=name: s.locals.get(n, UNBOUND), name, name in self.forced
            )
        for i, value in enumerate(self.entry.stack):
            state.stack.append(self._value(("S", i), value, lambda s, i=i: s.stack[i], "", False))
        for cell in self.live:
            if cell in self.entry.heap:
                content = self.entry.heap[cell]
                state.heap[cell] = self._content(("H", cell), content, lambda s, c=cell: s.heap[c], cell.name)
        return state

    def _slot(self, t: Type, init: Callable[[], Value], get: Callable[[State], Value], name: str) -> Value:
        if self.first:
            self.inits.append(init())
        self.getters.append(get)
        return self.make(t, name)

    def _content(self, path: Any, content: Any, get: Callable[[State], Any], name: str) -> Any:
        ev = self.ev
        if isinstance(content, Value):
            made = self._slot(content.type, lambda: content, get, name)
            self.parts.append(_Part(path, get, made, name, True))
            return made
        if self.widen.get(path) == "grow":
            return self._grown(path, content, get, name)
        if isinstance(content, tuple) and path[0] == "H" and len(path) == 2:
            made = tuple(
                self._value((*path, i), v, lambda s, i=i: _item(get(s), i), name, False) for i, v in enumerate(content)
            )
            self.parts.append(_Part(path, get, made, name, False))
            return made
        assert ev is not None
        return self._value((*path, "v"), content, get, name, True)

    def _grown(self, path: Any, content: tuple[Any, ...], get: Callable[[State], Any], name: str) -> Value:
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

    def _value(self, path: Any, v: Any, get: Callable[[State], Any], name: str, force: bool) -> Any:
        ev = self.ev
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
        if isinstance(v, tuple) and v:
            items = [self._value((*path, i), x, lambda s, i=i: _item(get(s), i), name, force) for i, x in enumerate(v)]
            return tuple(items) if type(v) is tuple else type(v)(*items)
        if isinstance(v, IterRange | IterRows) and decision == "number":
            position = self._number((*path, "position"), v.position, lambda s: get(s).position, "", None)
            return replace(v, position=position)
        self.parts.append(_Part(path, get, v, name, False))
        assert ev is not None
        return v

    def _number(self, path: Any, v: Any, get: Callable[[State], Any], name: str, decision: Any) -> Scalar:
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

    def _maybe(self, path: Any, v: Any, get: Callable[[State], Any], name: str) -> Any:
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

    def _phi(self, path: Any, v: Any, get: Callable[[State], Any], name: str) -> Ref:
        ev = self.ev
        group = (v, path[0] == "L" and self.twins.get(path, path))
        cell = self.phis.setdefault(path, Cell(name))
        assert group is not None
        with _heap(ev, self.entry.heap):
            t = array_type(ev, v)

        def init() -> Value:
            with _heap(ev, self.entry.heap):
                found: Value = read(ev, v)
                return found

        made = self._slot(t, init, lambda s: read(ev, get(s)), name)
        self.heap[cell] = made
        for old in cells_of(v):
            ev.obligations.relate(cell, old, [(self.key, path)])
        self.parts.append(_Part(path, get, Ref(cell), name, True))
        return Ref(cell)

    @property
    def twins(self) -> dict[Any, Any]:
        """Paths that hold the same array at every edge."""
        found: dict[Any, Any] = self.widen.setdefault("twins", {})
        return found

    def _moving_view(self, path: Any, v: Ref, get: Callable[[State], Any], name: str) -> Ref:
        ev = self.ev
        links: list[Any] = []
        for i, link in enumerate(v.view):
            entries = getattr(link, "entries", None)
            if entries is None:
                links.append(link)
                continue
            made = []
            for j, e in enumerate(entries):
                numbers: list[Any] = []
                for field_, number in enumerate(e):
                    if isinstance(e, Span) and field_ == 2:
                        numbers.append(number)
                        continue
                    numbers.append(
                        self._slot(
                            INT64,
                            lambda number=number: ev.dim(number),
                            lambda s, i=i, j=j, f=field_: ev.dim(get(s).view[i].entries[j][f]),
                            "",
                        )
                    )
                made.append(type(e)(*numbers))
            links.append(replace(link, entries=tuple(made)))
        head = Ref(v.cell, tuple(links))
        self.parts.append(_Part(path, get, head, name, True))
        return head

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
            with _heap(self.ev, back.heap):
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
            with_type = found.type if isinstance(found, Value) else type(found).__name__
            raise self.ev.error("JG242", name=part.name or "an array", before=str(head.type), after=str(with_type))
        if isinstance(found, Maybe) and not isinstance(head, Maybe):
            self.widen[path] = Poison("it may be unbound after a trip of the loop")
            return False
        if part.slot and isinstance(head, Scalar):
            return self._number_fits(part, head, found)
        if part.slot and isinstance(head, Ref):
            return self._array_fits(part, head, found, back)
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
            with _heap(self.ev, back.heap):
                after = array_type(self.ev, found)
            with _heap(self.ev, self.entry.heap):
                before = array_type(self.ev, head)
            if before != after:
                raise _NeedPeel(part.name, f"it is {before}, and {after} after a trip")
            self.widen[path] = "phi"
        elif is_number(head) and isinstance(found, Ref | TaggedRef):
            raise _NeedPeel(part.name, "it is a number, and an array after a trip")
        else:
            self.widen[path] = Poison("it is another object after a trip of the loop")
        return False

    def _number_fits(self, part: _Part, head: Scalar, found: Any) -> bool:
        if not is_number(found):
            if isinstance(found, Ref | TaggedRef):
                raise _NeedPeel(part.name, "it is a number, and an array after a trip")
            self.widen[part.path] = Poison("it is another object after a trip of the loop")
            return False
        ev = self.ev
        before, after = (head.kind, head.value.array.dtype), (kind(found), dtype_of(ev, found))
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
            raise _NeedPeel(part.name, f"it is {before[1]} ({before[0]}), and {after[1]} ({after[0]}) after a trip")
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
        with _heap(ev, back.heap):
            after = array_type(ev, found)
        before = self.heap[head.cell].array
        if after != before:
            raise _NeedPeel(part.name, f"it is {before}, and {after} after a trip")
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


def _item(container: Any, i: int) -> Any:
    return container[i] if isinstance(container, tuple) and i < len(container) else UNBOUND


class _heap:
    """Look at arrays as another state's heap has them."""

    def __init__(self, ev: Any, heap: dict[Cell, Any]) -> None:
        self.ev = ev
        self.heap = heap

    def __enter__(self) -> None:
        self.kept = self.ev.heap
        self.ev.heap = self.heap

    def __exit__(self, *_: object) -> None:
        self.ev.heap = self.kept


# --- running


def run_loop(ev: Any, node: LoopNode, frame: Frame) -> Outcome:
    """Trace a loop from its head and go on behind its exits."""
    key = ("loop", frame.path, frame.tree.code.co_name, node.header)
    outcome = _loop(ev, node, frame, key, 0)
    for target, arm in node.exits.items():
        if isinstance(arm, Goto) and arm.target == target:
            continue
        outcome = ev.dispatch(outcome, target, frame, lambda arm=arm: ev.walk(arm, frame))
    return outcome


def _loop(ev: Any, node: LoopNode, frame: Frame, key: Any, peeled: int) -> Outcome:
    start = ev.state(frame)
    live = frame.tree.flow.live_in[node.header]
    start.locals = {k: v for k, v in start.locals.items() if k in live}
    head = node.body
    is_for = isinstance(head, BlockNode) and head.block.end == "for" and not head.block.instrs
    unroll = key in ev.unrolled or (is_for and isinstance(start.stack[-1], IterSequence))
    block, mark, location, depth = ev.g.block, len(ev.g.block.ops), ev.location, ev.depth
    frames, place = list(ev.frames), frame.place
    if not unroll:
        try:
            return _symbolic(ev, node, frame, key, start)
        except NeedUnroll as need:
            if need.key != key:
                raise
            ev.unrolled.add(key)
        except _NeedPeel as need:
            if not is_for or peeled > 1 or not _runs(start.stack[-1]):
                raise ev.error("JG243", name=need.name, why=need.why) from None
            _reset(ev, block, mark, location, depth, frames)
            return _peel(ev, node, frame, key, start, peeled)
        _reset(ev, block, mark, location, depth, frames)
    frame.place = place
    ev.enter(frame, start)
    return _unrolled(ev, node, frame)


def _reset(ev: Any, block: Block, mark: int, location: Any, depth: int, frames: list[Frame]) -> None:
    """Forget what an abandoned attempt emitted."""
    ev.g.block = block
    del block.ops[mark:]
    ev.location, ev.depth = location, depth
    ev.frames[:] = frames


def _runs(iterator: Any) -> bool:
    return isinstance(iterator.position, int) and isinstance(iterator.count, int) and iterator.position < iterator.count


def _peel(ev: Any, node: LoopNode, frame: Frame, key: Any, start: State, peeled: int) -> Outcome:
    ev.enter(frame, start)
    outcome = ev.walk(node.body, frame)
    again = Continue(node.header)
    return ev.dispatch(outcome, again, frame, lambda: _loop(ev, node, frame, key, peeled + 1))


def _unrolled(ev: Any, node: LoopNode, frame: Frame) -> Outcome:
    again = Continue(node.header)
    outcome = ev.walk(node.body, frame)
    trips = 1
    while again in outcome.states:
        trips += 1
        if trips > _UNROLL_LIMIT:
            raise ev.error("JG229", limit=_UNROLL_LIMIT)
        outcome = ev.dispatch(outcome, again, frame, lambda: ev.walk(node.body, frame))
    return outcome


def _symbolic(ev: Any, node: LoopNode, frame: Frame, key: Any, start: State) -> Outcome:
    flow = frame.tree.flow
    head = node.body
    header = Header(ev, key, start, flow.stored[node.header])
    header.wanted = flow.live_in[node.header]
    forms = [_general]
    if isinstance(head, BlockNode):
        if head.block.end == "for" and not head.block.instrs and isinstance(head.arms[1], Goto):
            forms.insert(0, _counted)
        elif head.block.end == "branch" and any(_leaves(a) for a in head.arms):
            forms.insert(0, _tested)
    block, mark, location, depth = ev.g.block, len(ev.g.block.ops), ev.location, ev.depth
    frames, place = list(ev.frames), frame.place
    for form in forms:
        for _ in range(25):
            frame.place = place
            ev.enter(frame, start)
            try:
                made = form(ev, node, frame, key, header)
            except _NotThisForm:
                _reset(ev, block, mark, location, depth, frames)
                break
            if made is not None:
                return made
            _reset(ev, block, mark, location, depth, frames)
        else:
            raise ev.error("JG900", what="a loop's state does not settle")
    raise ev.error("JG900", what="no form fits a loop")


def _leaves(arm: Any) -> bool:
    return isinstance(arm, Goto) and not isinstance(arm.target, Continue)


def _body(ev: Any, header: Header, block: Block, frame: Frame, run: Callable[[], Outcome]) -> tuple[State, Outcome]:
    """Build the header on a body block's arguments and trace the body."""
    state = header.build(block.add_arg, True)
    return state, ev.arm(block, frame, state.copy(), run)


def _yields(ev: Any, header: Header, block: Block, frame: Frame, back: State) -> list[Value]:
    """Return the next values of the header's slots, computed at the end of the body."""
    with ev.inside(block):
        ev.enter(frame, back)
        return [get(back) for get in header.getters]


def _finish(op: Op, header: Header, skip: int = 0) -> State:
    """Return the header state with a loop op's results in its slots."""
    results = iter(op.results[skip:])
    return header.build(lambda t, name: next(results), False)


def _check_conversions(ev: Any, header: Header, runs: bool, trips: Value | None) -> None:
    """A number that changes its type in the first trip has another type if there is none: refuse that at run time."""
    if not header.converted or runs:
        return
    names = ", ".join(sorted(set(header.converted.values())))
    message = f"a loop that changes the type of {names} ran zero times"
    if trips is not None:
        ev.check(ev.g.greater(trips, ev.constant(0, np.int64)), NotImplementedError, message)


def _counted(ev: Any, node: LoopNode, frame: Frame, key: Any, header: Header) -> Outcome | None:
    head = node.body
    iterator = frame.stack[-1]
    if not isinstance(iterator, IterRange | IterRows):
        raise _NotThisForm
    first = scalar_value(ev, iterator.position, np.int64)
    total = scalar_value(ev, iterator.count, np.int64)
    trips = total if iterator.position == 0 and isinstance(iterator.position, int) else ev.g.subtract(total, first)
    block = Block()
    index = block.add_arg(INT64, "k")
    ev.counters[index] = key
    at = header.entry.stack
    at[-1] = replace(iterator, position=0)

    def run() -> Outcome:
        position: Any = Scalar(index, "int", 0, None)
        if not (isinstance(iterator.position, int) and iterator.position == 0):
            position = Scalar(ev.g.add(index, first), "int")
            ev.counters[position.value] = key
        frame.stack[-1] = iterator
        frame.push(item_of(ev, iterator, position))
        outcome: Outcome = ev.walk(head.arms[0], frame)
        for target, join in head.joins:
            outcome = ev.dispatch(outcome, target, frame, lambda join=join: ev.walk(join, frame))
        if any(t != Continue(node.header) for t in outcome.states):
            raise _NotThisForm
        return outcome

    at[-1] = iterator
    _, outcome = _body(ev, header, block, frame, run)
    if not outcome.states:
        raise _NotThisForm
    back = outcome.states[Continue(node.header)]
    if not header.fits(back):
        return None
    block.yields = _yields(ev, header, block, frame, back)
    op = ev.g.emit("for", [trips, *header.inits], {}, [block])
    if isinstance(iterator.count, int) and isinstance(iterator.position, int):
        ev.counted_loops[op] = key
    _check_conversions(ev, header, _runs_value(iterator), trips)
    state = _finish(op, header)
    if _runs_value(iterator):
        state.locals = {k: v.value if isinstance(v, Maybe) else v for k, v in state.locals.items()}
    ev.enter(frame, state)
    frame.pop()
    return ev._arrive(head.arms[1].target, frame)


def _runs_value(iterator: Any) -> bool:
    return isinstance(iterator.count, int) and isinstance(iterator.position, int) and iterator.count > iterator.position


def _tested(ev: Any, node: LoopNode, frame: Frame, key: Any, header: Header) -> Outcome | None:
    head = node.body
    leaving = next(i for i, a in enumerate(head.arms) if _leaves(a))
    again = Continue(node.header)
    test = Block()
    state = header.build(test.add_arg, False)

    def stays() -> Any:
        """Evaluate the head's test: whether the loop goes on."""
        ev.run_instructions(head.block, frame)
        ev.at(frame, head.block.location)
        flag = ev.condition(head.block, frame)
        if isinstance(flag, bool):
            raise _NotThisForm
        return flag if leaving == 1 else ev.g.logical_not(flag)

    def run_test() -> Outcome:
        before = dict(ev.heap)
        test.yields = [stays()]
        if any(ev.heap.get(c) is not v for c, v in before.items()):
            raise _NotThisForm
        return Outcome({again: ev.state(frame)})

    if not ev.arm(test, frame, state.copy(), run_test).states:
        raise _NotThisForm
    block = Block()

    def run() -> Outcome:
        stays()
        outcome: Outcome = ev.walk(head.arms[1 - leaving], frame)
        for target, join in head.joins:
            outcome = ev.dispatch(outcome, target, frame, lambda join=join: ev.walk(join, frame))
        if any(t != again for t in outcome.states):
            raise _NotThisForm
        return outcome

    _, outcome = _body(ev, header, block, frame, run)
    if not outcome.states:
        raise _NotThisForm
    back = outcome.states[again]
    if not header.fits(back):
        return None
    if header.converted:
        raise _NotThisForm
    block.yields = _yields(ev, header, block, frame, back)
    op = ev.g.emit("while", header.inits, {}, [test, block])
    ev.enter(frame, _finish(op, header))
    ev.run_instructions(head.block, frame)
    ev.condition(head.block, frame)
    return ev._arrive(head.arms[leaving].target, frame)


def _general(ev: Any, node: LoopNode, frame: Frame, key: Any, header: Header) -> Outcome | None:
    again = Continue(node.header)
    block = Block()
    block.add_arg(INT64, "code")
    start, outcome = _body(ev, header, block, frame, lambda: ev.walk(node.body, frame))
    if again not in outcome.states:
        raise ev.error("JG900", what="a loop that never repeats")
    back = outcome.states[again]
    if not header.fits(back):
        return None
    exits = [t for t in outcome.states if t != again]
    order = [again, *exits]
    made = {*block.args, *(r for op in block.ops for r in op.results)}
    merger = Merger(ev, [Edge(block, start, made, ev.location)], key, ev.obligations)
    base = {c: v for c, v in start.heap.items()}
    states = {t: merger.merge({0: outcome.states[t]}, base) for t in exits}
    with ev.inside(block):
        code = ev.selector_of(outcome, order)
    following = _yields(ev, header, block, frame, back)
    extra = [s.given[0] for s in merger.slots]
    inits = [ev.constant(0, np.int64), *header.inits, *(undefined(ev, v.type) for v in extra)]
    for v in extra:
        block.add_arg(v.type)
    block.yields = [code, *following, *extra]
    test = Block([v.type for v in block.args])
    with ev.inside(test):
        test.yields = [ev.g.equal(test.args[0], ev.constant(0, np.int64))]
    op = ev.g.emit("while", inits, {}, [test, block])
    skip = 1 + len(following)
    for slot, result in zip(merger.slots, op.results[skip:], strict=True):
        result.name = slot.value.name
    for i, slot in enumerate(merger.slots):
        slot.value.owner, slot.value.index = op, skip + i
    op.results[skip:] = [s.value for s in merger.slots]
    if header.converted:
        _refuse_early_exit(ev, header, states)
    if not exits:
        return Outcome({})
    selector = ev.g.subtract(op.results[0], ev.constant(1, np.int64)) if len(exits) > 1 else None
    return Outcome(states, selector)


def _refuse_early_exit(ev: Any, header: Header, states: dict[Any, State]) -> None:
    """Where a loop that changes a variable's type can be left before that, it has no single type behind it."""
    for path, name in header.converted.items():
        for state in states.values():
            if path[0] == "L" and name in state.locals:
                state.locals[name] = Poison("its type changes in the first trip of a loop that may be left before")


__all__ += ["Abstract", "DictRef", "Header", "Record"]
