"""Joining states where control flow meets: the arms of a branch, the edges into a loop.

In: the states of several edges, each with the block in which its values were computed. Out: one state whose parts that
differ are *slots*: a new graph value, and what each edge yields for it. The rules for references are those of a ladder:
the same cell stays itself; different cells are copied by value into a new cell, with the obligation that nobody stores
to it while another name of what was copied is alive; where somebody does, the merge is traced again as a tagged choice.
This room decides what is joined and how; the ops with regions are made by `control.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from jitgrad.graph.ir import Block, Value
from jitgrad.graph.types import BOOL, INT64, ArrayType, ListType, Type
from jitgrad.location import Location
from jitgrad.trace.abstract import (
    UNBOUND,
    BoundMethod,
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
    Reshape,
    Scalar,
    TaggedRef,
)
from jitgrad.trace.alternatives import (
    as_item,
    given_part,
    is_any_number,
    joined_bounds,
    joined_form,
    joined_type,
    number_of,
    number_parts,
    number_type,
)
from jitgrad.trace.arrays import dtype_of, kind, read, shape_of
from jitgrad.trace.context import Context
from jitgrad.trace.frame import State
from jitgrad.trace.identity import identify, joined_options, option_of, options_of
from jitgrad.trace.inspection import cells_of, form_of, reachable, same, undefined, values_in

__all__ = ["Edge", "Merger", "Obligations", "Slot", "cells_of", "reachable", "same", "undefined", "values_in"]


@dataclass(slots=True)
class Edge:
    """One way into a merge: the block that computes its values, the values made there, the state at its end.

    `states` are those for all targets that it may lead to.
    """

    block: Block
    state: State
    made: set[Value]
    location: Location | None = None
    states: Sequence[State] = ()


@dataclass(slots=True)
class Slot:
    """A value of the merged state: what stands for it, and what each edge gives (missing: undefined there)."""

    value: Value
    given: dict[int, Value]


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


class Merger:
    """Joins the states of edges; one for an `if` or for the exits of a loop.

    After `merge` has been called for each target, `slots` says what the edges must yield.
    """

    def __init__(self, ctx: Context, edges: Sequence[Edge], key: Any, obligations: Obligations) -> None:
        self.ctx = ctx
        self.edges = list(edges)
        self.key = key
        self.obligations = obligations
        self.slots: list[Slot] = []
        self._phis: dict[Any, Any] = {}
        self._order: dict[Cell, int] = {}

    @contextmanager
    def on(self, k: int) -> Any:
        """Emit at the end of an edge's block, with its heap."""
        ctx, edge = self.ctx, self.edges[k]
        block, heap = ctx.g.block, ctx.heap
        ctx.g.block, ctx.heap = edge.block, edge.state.heap
        try:
            yield
        finally:
            ctx.g.block, ctx.heap = block, heap

    def slot(self, t: Type, given: dict[int, Value], name: str = "") -> Value:
        """Return the value that stands for what the edges give."""
        for slot in self.slots:
            if slot.given == given and slot.value.type == t:
                return slot.value
        value = Value(t, Block(), 0, name)
        self.slots.append(Slot(value, given))
        return value

    def outer(self, value: Value, k: int) -> bool:
        """Whether a value that edge k gives is defined outside of it."""
        return value not in self.edges[k].made

    def known(self, values: Sequence[Any], ks: Sequence[int]) -> bool:
        """Whether a value is one and the same on all edges, and known outside of them."""
        return all(same(values[0], v) for v in values[1:]) and all(
            self.outer(v, k) for value, k in zip(values, ks, strict=True) for v in values_in(value)
        )

    # --- states

    def merge(self, states: dict[int, State], base: dict[Cell, Any]) -> State:
        """Return the state of a target that some edges reach.

        Parameters
        ----------
        states : dict
            Edge to its state for this target.
        base : dict
            The heap before the edges parted: its cells stay in the merged heap.
        """
        ks = list(states)
        for k in ks:
            self.edges[k].state = states[k]
        names: dict[str, None] = {}
        for s in states.values():
            names.update(dict.fromkeys(s.locals))
        merged = State({}, [], {})
        for name in names:
            value = self.value(("L", name), [states[k].locals.get(name, UNBOUND) for k in ks], ks)
            if value is not UNBOUND:
                merged.locals[name] = value
        for i, items in enumerate(zip(*(states[k].stack for k in ks), strict=True)):
            merged.stack.append(self.value(("S", i), list(items), ks))
        todo = [*base, *cells_of(tuple(merged.locals.values())), *cells_of(tuple(merged.stack))]
        todo += [c for s in states.values() for c in base if c in s.heap]
        while todo:
            cell = todo.pop(0)
            if cell in merged.heap:
                continue
            if cell.which is not None:
                todo.append(cell.which)
            having = [k for k in ks if cell in states[k].heap]
            if not having:
                if cell in self._new_contents:
                    merged.heap[cell] = self._new_contents[cell]
                    todo.extend(cells_of(merged.heap[cell]))
                continue
            self._order.setdefault(cell, len(self._order))
            content = self.content(("H", cell), [states[k].heap[cell] for k in having], having)
            merged.heap[cell] = content
            todo.extend(cells_of(content))
        return merged

    @property
    def _new_contents(self) -> dict[Cell, Any]:
        made: dict[Cell, Any] = self._phis.setdefault("contents", {})
        return made

    def content(self, path: Any, contents: list[Any], ks: list[int]) -> Any:
        """Join what a cell holds on several edges."""
        if any(isinstance(c, Poison) for c in contents):
            return next(c for c in contents if isinstance(c, Poison))
        lengths = {len(c) if isinstance(c, tuple) else -1 for c in contents}
        if path[0] == "H" and len(path) == 2 and len(lengths) > 1:
            return self._grown_list(path, contents, ks)
        if any(isinstance(c, Value) for c in contents):
            if not all(isinstance(c, Value) for c in contents):
                return Poison("a list that grows on one path only")
            contents, ks = self._everywhere(path, contents, ks)
            if self.known(contents, ks):
                return contents[0]
            types = {c.type for c in contents}
            if len(types) > 1:
                return Poison(f"an array is {' or '.join(sorted(map(str, types)))}")
            return self.slot(contents[0].type, dict(zip(ks, contents, strict=True)), contents[0].name)
        return self.value(path, contents, ks)

    def _everywhere(self, path: Any, contents: list[Any], ks: list[int]) -> tuple[list[Any], list[int]]:
        """Return what a cell holds at the end of every edge, whatever its target, where that is one thing an edge.

        So that it is one value for all targets: a `break` then leaves an array in the memory where the next iteration
        would find it, and a store before it works in place.
        """
        held: dict[int, Any] = {}
        for k, edge in enumerate(self.edges):
            for state in edge.states:
                if len(path) == 2 and path[1] in state.heap:
                    content = state.heap[path[1]]
                    if held.setdefault(k, content) is not content:
                        return contents, ks
        alike = all(isinstance(c, Value) and c.type == contents[0].type for c in held.values())
        return (list(held.values()), list(held)) if alike and set(ks) <= set(held) else (contents, ks)

    def _grown_list(self, path: Any, contents: list[Any], ks: list[int]) -> Any:
        """Join a list that has another length on each edge: one that grows, if its items are of one type."""
        ctx, cell = self.ctx, path[1]
        types: set[Any] = set()
        for k, content in zip(ks, contents, strict=True):
            if isinstance(content, Value):
                if not isinstance(content.type, ListType):
                    return Poison("an array, or something else")
                types.add((ctx.list_kinds.get(cell, "array"), content.type.element))
                continue
            with self.on(k):
                types |= {joined_form(ctx, content)} if content else set()
        if len(types) != 1 or None in types or any(name == "mixed" for name, _ in types):
            return Poison("a list or dict of another length on each path, whose items are not numbers of one type")
        ((name, element),) = types
        ctx.list_kinds[cell] = name
        given = {}
        for k, content in zip(ks, contents, strict=True):
            with self.on(k):
                given[k] = content if isinstance(content, Value) else self._listed(content, name, element)
        return self.slot(ListType(element), given, cell.name)

    def _listed(self, items: tuple[Any, ...], name: str, element: ArrayType) -> Value:
        made: Value = self.ctx.g.list_empty(type=ListType(element))
        for item in items:
            held = as_item(self.ctx, item, name, element)
            assert held is not None
            made = self.ctx.g.list_push(made, held)
        return made

    # --- values

    def value(self, path: Any, values: list[Any], ks: list[int]) -> Any:
        """Join an abstract value."""
        first = values[0]
        if self.known(values, ks):
            return first
        if any(isinstance(v, Poison) for v in values):
            return next(v for v in values if isinstance(v, Poison))
        if any(v is UNBOUND or isinstance(v, Maybe) for v in values):
            return self._maybe(path, values, ks)
        if all(is_any_number(v) for v in values):
            return self._number(path, values, ks)
        if all(isinstance(v, Ref | TaggedRef) for v in values):
            return self._array(path, values, ks)
        if all(isinstance(v, tuple) for v in values) and len({(type(v), len(v)) for v in values}) == 1:
            items = [self.value((*path, i), list(part), ks) for i, part in enumerate(zip(*values, strict=True))]
            return tuple(items) if type(first) is tuple else type(first)(*items)
        if all(type(v) is type(first) for v in values):
            if isinstance(first, IterRange):
                return IterRange(
                    *(
                        self.value((*path, n), [getattr(v, n) for v in values], ks)
                        for n in ("start", "step", "count", "position")
                    )
                )
            if isinstance(first, IterRows) and len({id(v.make) for v in values}) == 1:
                return replace(first, position=self.value((*path, "k"), [v.position for v in values], ks))
            if isinstance(first, ListRef | DictRef | Record):
                return self._container(path, values, ks)
            if isinstance(first, BoundMethod) and len({id(v.function) for v in values}) == 1:
                return BoundMethod(first.function, self.value((*path, "self"), [v.self for v in values], ks))
        return self._poison(path, "values of different types", values, ks)

    def _poison(self, path: Any, why: str, values: list[Any], ks: list[int]) -> Poison:
        places = [self.edges[k].location for k in ks]
        lines = " and ".join(dict.fromkeys(str(p) for p in places if p is not None))
        texts = " or ".join(dict.fromkeys(_describe(v) for v in values))
        return Poison(f"{why}: {texts}{f' ({lines})' if lines else ''}")

    def _number(self, path: Any, values: list[Any], ks: list[int]) -> Any:
        t = joined_type([number_type(self.ctx, v) for v in values])
        made = []
        for part in number_parts(t):
            given = {}
            for k, v in zip(ks, values, strict=True):
                with self.on(k):
                    found = given_part(self.ctx, v, t, part)
                if found is not None:
                    given[k] = found
            made.append(self.slot(part.type, given, _name(path) if part.role == "value" else ""))
        return number_of(t, made, *joined_bounds([v for v in values if kind(v) == "int"] if len(t) == 1 else []))

    def _maybe(self, path: Any, values: list[Any], ks: list[int]) -> Any:
        bound = [(v, k) for v, k in zip(values, ks, strict=True) if v is not UNBOUND]
        flags = {}
        inner = []
        for v, k in zip(values, ks, strict=True):
            with self.on(k):
                flags[k] = v.flag if isinstance(v, Maybe) else self.ctx.constant(v is not UNBOUND, np.bool_)
        for v, _ in bound:
            inner.append(v.value if isinstance(v, Maybe) else v)
        value = self.value((*path, "value"), inner, [k for _, k in bound])
        if isinstance(value, Poison):
            return value
        return Maybe(self.slot(BOOL, flags), value)

    def _container(self, path: Any, values: list[Any], ks: list[int]) -> Any:
        first = values[0]
        key = (type(first), tuple(v.cell for v in values), tuple(ks))
        if key in self._phis:
            return self._phis[key]
        contents = [self.edges[k].state.heap[v.cell] for v, k in zip(values, ks, strict=True)]
        shapes = {len(c) if isinstance(c, tuple) else None for c in contents}
        names = {tuple(n for n, _ in c) for c in contents} if not isinstance(first, ListRef) else {()}
        classes = {v.cls for v in values} if isinstance(first, Record) else {None}
        if len(shapes) > 1 or len(names) > 1 or len(classes) > 1:
            return self._poison(path, "different objects", values, ks)
        cell = Cell(first.cell.name)
        made = replace(first, cell=cell)
        self._phis[key] = made
        for v in values:
            self.obligations.relate(cell, v.cell, [self._named(path)])
        self._new_contents[cell] = self.content((*path, "items"), contents, ks)
        return made

    # --- arrays

    def _named(self, path: Any) -> Any:
        """Return what a merge is known by in the next trace, which has other cells: they have their order."""
        return self.key, tuple((p.name, self._order.get(p)) if isinstance(p, Cell) else p for p in path)

    def _array(self, path: Any, values: list[Any], ks: list[int]) -> Any:
        types = set()
        for v, k in zip(values, ks, strict=True):
            with self.on(k):
                types.add(ArrayType(dtype_of(self.ctx, v), shape_of(self.ctx, v)))
        if len(types) > 1:
            return self._poison(path, f"an array that is {' or '.join(sorted(map(str, types)))}", values, ks)
        if all(isinstance(v, Ref) for v in values):
            forms = {(v.cell, form_of(v.view)) for v in values}
            if len(forms) == 1 and values[0].view:
                return Ref(values[0].cell, self._joined_view(path, [v.view for v in values], ks))
        key = (tuple(values), tuple(ks))
        if key not in self._phis:
            if self._named(path) in self.obligations.tagged:
                self._phis[key] = self._tag(values, ks)
            else:
                self._phis[key] = self._phi(path, values, ks, types.pop())
        return self._phis[key]

    def _phi(self, path: Any, values: list[Any], ks: list[int], t: ArrayType) -> Ref:
        cell = Cell(_name(path))
        given = {}
        for k, v in zip(ks, values, strict=True):
            with self.on(k):
                given[k] = read(self.ctx, v)
            for old in cells_of(v):
                self.obligations.relate(cell, old, [self._named(path)])
                for other, keys in list(self.obligations.near(old).items()):
                    self.obligations.relate(cell, other, {*keys, self._named(path)})
        self._new_contents[cell] = self.slot(t, given, _name(path))
        self._identify(cell, values, ks)
        return Ref(cell)

    def _identify(self, cell: Cell, values: list[Any], ks: list[int]) -> None:
        """Carry which of the caller's arrays a merged array is, if it may be one."""
        ctx = self.ctx
        options = joined_options(options_of(ctx, v, partial(self.outer, k=k)) for k, v in zip(ks, values, strict=True))
        if not options:
            return
        given = {}
        for k, v in zip(ks, values, strict=True):
            with self.on(k):
                given[k] = option_of(ctx, v, options)
        self._new_contents.update(identify(cell, options, self.slot(INT64, given)))

    def _tag(self, values: list[Any], ks: list[int]) -> TaggedRef:
        own = {
            k: [self._seen_outside(r, k) for r in (v.choices if isinstance(v, TaggedRef) else (v,))]
            for k, v in zip(ks, values, strict=True)
        }
        choices = list(dict.fromkeys(r for refs in own.values() for r in refs))
        given = {}
        g = self.ctx.g
        for k, v in zip(ks, values, strict=True):
            with self.on(k):
                *rest, last = (self.ctx.constant(choices.index(r), np.int64) for r in own[k])
                tag = last
                for i, number in enumerate(rest):
                    tag = g.select(g.equal(v.tag, self.ctx.constant(i, np.int64)), number, tag)
                given[k] = tag
        return TaggedRef(self.slot(INT64, given, "tag"), tuple(choices))

    def _seen_outside(self, r: Ref, k: int) -> Ref:
        """Return an array that edge k hands on, with a view whose numbers are known outside of the edge."""

        def seen(n: Any) -> Any:
            return self.slot(INT64, {k: n}) if isinstance(n, Value) and not self.outer(n, k) else n

        links = [
            Box(tuple(type(e)(*map(seen, e)) for e in link.entries), link.order)
            if isinstance(link, Box)
            else Reshape(tuple(map(seen, link.to)))
            for link in r.view
        ]
        return Ref(r.cell, tuple(links))

    def _joined_view(self, path: Any, views: list[Any], ks: list[int]) -> Any:
        links: list[Any] = []
        for parts in zip(*views, strict=True):
            if isinstance(parts[0], Reshape):
                links.append(parts[0])
                continue
            entries = []
            for es in zip(*(p.entries for p in parts), strict=True):
                numbers = [self._joined_int([e[i] for e in es], ks) for i in range(len(es[0]))]
                entries.append(type(es[0])(*numbers))
            links.append(Box(tuple(entries), parts[0].order))
        return tuple(links)

    def _joined_int(self, numbers: list[Any], ks: list[int]) -> Any:
        if self.known(numbers, ks):
            return numbers[0]
        given = {}
        for k, n in zip(ks, numbers, strict=True):
            with self.on(k):
                given[k] = self.ctx.dim(n)
        return self.slot(INT64, given)


def _name(path: Any) -> str:
    return path[1] if len(path) == 2 and isinstance(path[1], str) else ""


def _describe(v: Any) -> str:
    if v is UNBOUND:
        return "unbound"
    if isinstance(v, Scalar):
        return v.kind if v.kind != "numpy" else v.value.array.dtype.name
    if isinstance(v, Record):
        return v.cls.__name__
    if isinstance(v, Ref | TaggedRef):
        return "array"
    table = {ListRef: "list", DictRef: "dict", Func: "function"}
    return table.get(type(v), type(v).__name__)
