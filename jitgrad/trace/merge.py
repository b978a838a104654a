"""Joining states where control flow meets: the arms of a branch, the edges into a loop.

In: the states of several edges, each with the block in which its values were computed. Out: one state whose parts that
differ are *slots*: a new graph value, and what each edge yields for it. Values that have no common form become a
`OneOf`. How arrays are joined is in `joining.py`; the ops with regions are made by `branches.py` and `loops.py`.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.types import BOOL, ArrayType, ListType
from jitgrad.trace.abstract import (
    UNBOUND,
    BoundMethod,
    Cell,
    Columns,
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
    SliceOf,
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
    repacked,
    wants_packing,
)
from jitgrad.trace.arrays import kind
from jitgrad.trace.columns import Structure, split, structure_of
from jitgrad.trace.frame import State
from jitgrad.trace.inspection import cells_of, same
from jitgrad.trace.joining import Joining, name_of
from jitgrad.trace.places import give_up, has_places, remember_items
from jitgrad.trace.ways import MANY_WAYS, choices_of, flag_of, sort_of

__all__ = ["Merger"]


class Merger(Joining):
    """Joins the states of edges; one for an `if` or for the exits of a loop.

    After `merge` has been called for each target, `slots` says what the edges must yield, and `behind` what follows.
    """

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
                if cell in self.new_contents:
                    merged.heap[cell] = self.new_contents[cell]
                    todo.extend(cells_of(merged.heap[cell]))
                continue
            self.order.setdefault(cell, len(self.order))
            content = self.content(("H", cell), [states[k].heap[cell] for k in having], having)
            merged.heap[cell] = content
            todo.extend(cells_of(content))
        return merged

    def content(self, path: Any, contents: list[Any], ks: list[int]) -> Any:
        """Join what a cell holds on several edges."""
        if any(isinstance(c, Poison) for c in contents):
            return next(c for c in contents if isinstance(c, Poison))
        if any(isinstance(c, Columns) for c in contents):
            return self._columns(path, contents, ks)
        lengths = {len(c) if isinstance(c, tuple) else -1 for c in contents}
        named = path[0] == "H" and len(path) == 2 and path[1].named
        if named and len(lengths) == 1 and len({tuple(n for n, _ in c) for c in contents}) > 1:
            return Poison("a dict or object with other keys, or in another order, on each path")
        if path[0] == "H" and len(path) == 2 and len(lengths) > 1:
            return self._grown_list(path, contents, ks)
        if any(isinstance(c, Value) for c in contents):
            if not all(isinstance(c, Value) for c in contents):
                return Poison("a list that grows on one path only")
            contents, ks = self._everywhere(path, contents, ks)
            if self.known(contents, ks):
                return contents[0]
            held = self.array_slot(dict(zip(ks, contents, strict=True)), contents[0].name)
            types = sorted({str(c.type) for c in contents})
            return self.poison(path, " or ".join(types), contents, ks) if held is None else held
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
        if has_places(cell):
            raise give_up(ctx, cell)
        if cell.columns is not None and any(self._structure(c, k) for k, c in zip(ks, contents, strict=True)):
            return self._columns(path, contents, ks)
        known: list[Any] = []
        types: set[Any] = set()
        before = ctx.list_kinds.get(cell, "array")
        for k, content in zip(ks, contents, strict=True):
            if isinstance(content, Value):
                if not isinstance(content.type, ListType):
                    return Poison("an array, or something else")
                types.add((before, content.type.element))
                continue
            known += content
            with self.on(k):
                types |= {joined_form(ctx, content, cell=cell)} if content else set()
        if len(types) > 1 and all(map(is_any_number, known)):
            lists = [c.type for c in contents if isinstance(c, Value)]
            forms = [(before, t.element) for t in lists if isinstance(t, ListType)]
            types = {joined_form(ctx, known, *forms, cell=cell)}
            for item, held in itertools.product(known, lists) if None in types else ():
                if isinstance(held, ListType) and (again := wants_packing(ctx, cell, (before, held.element), item)):
                    raise again
        if len(types) != 1 or None in types or any(name == "mixed" for name, _ in types):
            return Poison("a list or dict of another length on each path, whose items are not numbers of one type")
        ((name, element),) = types
        if name == "array":
            remember_items(ctx, cell, element)
        ctx.list_kinds[cell] = name
        given = {}
        for k, content in zip(ks, contents, strict=True):
            with self.on(k):
                if isinstance(content, Value):
                    given[k] = repacked(ctx, content, before, name)
                else:
                    given[k] = self._listed(cell, content, name, element)
        return self.slot(ListType(element), given, cell.name)

    def _structure(self, held: Any, k: int) -> Structure | None:
        with self.on(k):
            return structure_of(self.ctx, held)

    def _columns(self, path: Any, contents: list[Any], ks: list[int]) -> Any:
        """Join lists that were taken apart, or whose lengths differ: column by column."""
        structures = {self._structure(c, k) for k, c in zip(ks, contents, strict=True) if c != ()}
        structure = structures.pop() if len(structures) == 1 else None
        if structure is None:
            return Poison("a list or dict of another length on each path, whose items are of different structures")
        if len(path) > 2 or path[0] != "H":
            if not all(isinstance(c, Columns) for c in contents):
                return Poison("a list that grows on one path only")
            columns = zip(*(c.lists for c in contents), strict=True)
            lists = [self.value((*path, i), list(parts), ks) for i, parts in enumerate(columns)]
            rows = None
            if contents[0].rows is not None:
                rows = self.value((*path, "rows"), [c.rows for c in contents], ks)
                lists.append(rows)
            poison = next((x for x in lists if not isinstance(x, ListRef)), None)
            return Columns(*structure, tuple(lists[: len(structure[1])]), rows) if poison is None else poison
        for k in ks:
            with self.on(k):
                made = split(self.ctx, path[1], structure)
        return made

    def _listed(self, cell: Cell, items: tuple[Any, ...], name: str, element: ArrayType) -> Value:
        made: Value = self.ctx.g.list_empty(type=ListType(element))
        for item in items:
            held = as_item(self.ctx, item, name, element)
            assert held is not None
            self.obligations.hold(cell, cells_of(item))
            made = self.ctx.g.list_push(made, held)
        return made

    # --- values

    def value(self, path: Any, values: list[Any], ks: list[int]) -> Any:
        """Join an abstract value."""
        first = values[0]
        if self.known(values, ks):
            return first
        held = [self.edges[k].state.heap.get(c) for v, k in zip(values, ks, strict=True) for c in _arrays_of(v)]
        poison = next((v for v in (*values, *held) if isinstance(v, Poison)), None)
        if poison is not None:
            return poison
        if any(v is UNBOUND or isinstance(v, Maybe) for v in values):
            return self._maybe(path, values, ks)
        if all(is_any_number(v) for v in values):
            return self._number(path, values, ks)
        if all(isinstance(v, Ref | TaggedRef) for v in values):
            return self.array(path, values, ks)
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
                count = self.value((*path, "count"), [v.count for v in values], ks)
                return replace(first, count=count, position=self.value((*path, "k"), [v.position for v in values], ks))
            if isinstance(first, ListRef | DictRef | Record):
                return self._container(path, values, ks)
            if isinstance(first, BoundMethod) and len({id(v.function) for v in values}) == 1:
                return BoundMethod(first.function, self.value((*path, "self"), [v.self for v in values], ks))
            if isinstance(first, SliceOf):
                return self._slice(path, values, ks)
        return self.one_of(path, values, ks)

    def _slice(self, path: Any, values: list[Any], ks: list[int]) -> Any:
        parts = [self.value((*path, n), [getattr(v, n) for v in values], ks) for n in ("start", "stop", "step")]
        return next((p for p in parts if isinstance(p, Poison)), SliceOf(*parts))

    def one_of(self, path: Any, values: list[Any], ks: list[int]) -> Any:
        """Join values that have no common form: each sort by itself, and flags that say which it is."""
        ctx = self.ctx
        if len(values) == 1 and not isinstance(values[0], OneOf):
            return self.poison(path, "made on one path", values, ks)
        sorts: list[Any] = []
        # For each sort, by edge: the position of its value among the choices there, and the value.
        given: list[dict[int, tuple[int, Any]]] = []
        for k, v in zip(ks, values, strict=True):
            for position, choice in enumerate(choices_of(v)):
                with self.on(k):
                    sort = sort_of(ctx, choice)
                at = sorts.index(sort) if sort is not None and sort in sorts else None
                if sort is None:
                    at = next((i for i, g in enumerate(given) if same(next(iter(g.values()))[1], choice)), None)
                if at is None:
                    at = len(sorts)
                    sorts.append(sort)
                    given.append({})
                if k in given[at]:
                    return self.poison(path, "one of two values of one type", values, ks)
                given[at][k] = position, choice
        if not 1 < len(sorts) <= MANY_WAYS:
            return self.poison(path, "values of different types", values, ks)
        choices = []
        for i, own in enumerate(given):
            made = self.value((*path, "way", i), [c for _, c in own.values()], list(own))
            if isinstance(made, Poison):
                return made
            choices.append(made)
        flags = []
        for own in given[:-1]:
            held = {}
            for k, v in zip(ks, values, strict=True):
                with self.on(k):
                    held[k] = flag_of(ctx, v, own[k][0] if k in own else None)
            flags.append(self.slot(BOOL, held))
        return OneOf(tuple(flags), tuple(choices))

    def poison(self, path: Any, why: str, values: list[Any], ks: list[int]) -> Poison:
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
            made.append(self.slot(part.type, given, name_of(path) if part.role == "value" else ""))
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
        kinds = {self.ctx.list_kinds.get(v.cell) for v, c in zip(values, contents, strict=True) if isinstance(c, Value)}
        alike = all(len(found) == 1 for found in (shapes, names, classes)) and len(kinds) < 2
        if not alike or self.named(path) in self.obligations.tagged:
            return self.one_of(path, values, ks)
        cell = Cell(first.cell.name)
        self.ctx.list_kinds.update((cell, kind) for kind in kinds if kind is not None)
        made = replace(first, cell=cell)
        self._phis[key] = made
        for v in values:
            self.obligations.relate(cell, v.cell, [self.named(path)])
            if v.cell.arrays is not None:
                self.obligations.hold(cell, [v.cell.arrays])
        self.new_contents[cell] = self.content((*path, "items"), contents, ks)
        return made


def _arrays_of(v: Any) -> list[Cell]:
    return cells_of(v) if isinstance(v, Ref | TaggedRef | OneOf) else []


def _describe(v: Any) -> str:
    if v is UNBOUND:
        return "unbound"
    if isinstance(v, Scalar):
        return v.kind if v.kind != "numpy" else v.value.array.dtype.name
    if isinstance(v, Record):
        return v.cls.__name__
    if isinstance(v, Ref | TaggedRef | Value):
        return "array"
    if isinstance(v, OneOf):
        return " or ".join(dict.fromkeys(_describe(c) for c in v.choices))
    table = {ListRef: "list", DictRef: "dict", Func: "function"}
    return table.get(type(v), type(v).__name__)
