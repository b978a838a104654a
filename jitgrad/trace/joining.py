"""Joining arrays where control flow meets, and what all joins need: edges, and the slots that they give values for.

The rules for references are those of a ladder: the same cell stays itself; views that differ in numbers only are one
view of slots; different cells are copied by value into a new cell, with the obligation that nobody stores to it while
another name of what was copied is alive; where somebody does, the merge is traced again as a tagged choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from jitgrad.graph.ir import Block, Value
from jitgrad.graph.types import INT64, ArrayType, Type
from jitgrad.location import Location
from jitgrad.trace.abstract import Box, Cell, Poison, Ref, Reshape, TaggedRef
from jitgrad.trace.arrays import array_type, boxed, read
from jitgrad.trace.context import Context
from jitgrad.trace.frame import State
from jitgrad.trace.identity import identify, joined_options, may_be_new, option_of, options_of
from jitgrad.trace.inspection import cells_of, form_of, same, values_in
from jitgrad.trace.obligations import Obligations
from jitgrad.trace.resizing import Resized

__all__ = ["Edge", "Joining", "Slot", "name_of"]


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


class Joining:
    """The part of a `Merger` that makes slots, and joins arrays."""

    def __init__(self, ctx: Context, edges: Sequence[Edge], key: Any, obligations: Obligations) -> None:
        self.ctx = ctx
        self.edges = list(edges)
        self.key = key
        self.obligations = obligations
        self.slots: list[Slot] = []
        # What is computed from the slots behind the op that has them.
        self.behind = Block()
        self.order: dict[Cell, int] = {}  # of the cells that have been joined
        self._phis: dict[Any, Any] = {}

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

    @property
    def new_contents(self) -> dict[Cell, Any]:
        """What cells hold that the merge makes."""
        made: dict[Cell, Any] = self._phis.setdefault("contents", {})
        return made

    def one_of(self, path: Any, values: list[Any], ks: list[int]) -> Any:
        """Join values that have no common form."""
        raise NotImplementedError

    def poison(self, path: Any, why: str, values: list[Any], ks: list[int]) -> Poison:
        """Return what stands for values that cannot be joined."""
        raise NotImplementedError

    def named(self, path: Any) -> Any:
        """Return what a merge is known by in the next trace, which has other cells: they have their order."""
        return self.key, tuple((p.name, self.order.get(p)) if isinstance(p, Cell) else p for p in path)

    # --- arrays

    def array(self, path: Any, values: list[Any], ks: list[int]) -> Any:
        """Join arrays."""
        types = set()
        computed = False
        for v, k in zip(values, ks, strict=True):
            with self.on(k):
                types.add(array_type(self.ctx, v))
                computed |= any(self._sized_inside({k: self.ctx.heap[c]}) for c in cells_of(v))
        measured = any(isinstance(d, Value) for t in types for d in t.shape)
        if (computed or (len(types) > 1 and measured)) and (view := self._one_view(path, values, ks)) is not None:
            return view
        if len(types) > 1:
            made = self._phi(path, values, ks) if computed else None
            return self.one_of(path, values, ks) if made is None else made
        if all(isinstance(v, Ref) for v in values):
            forms = {(v.cell, form_of(v.view)) for v in values}
            if len(forms) == 1 and values[0].view:
                return self._one_of_views(path, values, values, ks)
        key = (tuple(values), tuple(ks))
        if key not in self._phis:
            if self.named(path) in self.obligations.tagged:
                self._phis[key] = self._tag(values, ks)
            else:
                made = self._phi(path, values, ks)
                return self.poison(path, "an array of computed size", values, ks) if made is None else made
        return self._phis[key]

    def _one_view(self, path: Any, values: list[Any], ks: list[int]) -> Ref | None:
        """Return views of one array that differ in numbers, lengths among them, as one view; None for others."""
        if not all(isinstance(v, Ref) for v in values) or len({v.cell for v in values}) > 1:
            return None
        if self.ctx.observe_arguments and any(not v.view for v in values):
            # The very array is another object than a view of it, which the caller sees.
            return None
        boxes = []
        for v, k in zip(values, ks, strict=True):
            with self.on(k):
                boxes.append(boxed(self.ctx, v))
        if any(not isinstance(link, Box) for b in boxes for link in b.view):
            return None
        if len({tuple((link.order, *map(type, link.entries)) for link in b.view) for b in boxes}) > 1:  # type: ignore[union-attr]
            return None
        return self._one_of_views(path, values, boxes, ks)

    def _one_of_views(self, path: Any, values: list[Any], boxes: list[Ref], ks: list[int]) -> Ref:
        made = Ref(boxes[0].cell, self._joined_view(path, [b.view for b in boxes], ks))
        if any(not v.view or v in self.ctx.unsure for v in values):
            self.ctx.unsure.add(made)
        return made

    def _phi(self, path: Any, values: list[Any], ks: list[int]) -> Ref | None:
        key = (tuple(values), tuple(ks))
        if key in self._phis:
            found: Ref = self._phis[key]
            return found
        cell = Cell(name_of(path))
        given = {}
        for k, v in zip(ks, values, strict=True):
            with self.on(k):
                given[k] = read(self.ctx, v)
        held = self.array_slot(given, name_of(path))
        if held is None:
            return None
        for v in values:
            for old in cells_of(v):
                self.obligations.relate_all(cell, old, [self.named(path)])
        self.new_contents[cell] = held
        self._identify(cell, values, ks)
        self._phis[key] = Ref(cell)
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
        self.new_contents.update(identify(cell, options, self.slot(INT64, given), not any(map(may_be_new, values))))

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

    def array_slot(self, given: dict[int, Value], name: str) -> Value | None:
        """Return what stands for the arrays or lists that edges give, None where they have no common type.

        An array whose length an edge computes leaves that by way of a list, whose type does not name its length.
        """
        key = ("array", *given.items())
        if key not in self._phis:
            types = {v.type for v in given.values()}
            alike = len(types) == 1 and not self._sized_inside(given)
            self._phis[key] = self.slot(types.pop(), given, name) if alike else self._by_rows(given, name)
        found: Value | None = self._phis[key]
        return found

    def _by_rows(self, given: dict[int, Value], name: str) -> Value | None:
        types = [v.type for v in given.values()]
        if not all(isinstance(t, ArrayType) and t.shape for t in types) or len({(t.rank, t.dtype) for t in types}) > 1:  # type: ignore[union-attr]
            return None
        first: ArrayType = types[0]  # type: ignore[assignment]
        ctx, g = self.ctx, self.ctx.g
        axes = [axis for axis in range(first.rank) if not self._one_length(axis, given)]
        along = Resized(tuple(axes or [0]), first.rank)
        lists: dict[int, Value] = {}
        sizes: list[dict[int, Value]] = [{} for _ in along.lengths(first.shape)]
        for k, v in given.items():
            with self.on(k):
                lists[k] = along.rows(g, v)
                for own, d in zip(sizes, along.lengths(v.shape), strict=True):
                    own[k] = ctx.dim(d)
        items = self.slot(along.carried(first), lists, name)
        lengths = [self.slot(INT64, own) for own in sizes]
        block, g.block = g.block, self.behind
        made = along.array(g, items, lengths)
        g.block = block
        return made

    def _one_length(self, axis: int, given: dict[int, Value]) -> bool:
        """Whether arrays have one length along an axis, known outside of their edges."""
        lengths = {v.shape[axis] for v in given.values()}
        return len(lengths) == 1 and all(self.outer(d, k) for d in lengths if isinstance(d, Value) for k in given)

    def _sized_inside(self, given: dict[int, Value]) -> bool:
        """Whether arrays have a size that nobody knows outside of their edges."""
        dims = [
            (d, k) for k, v in given.items() if isinstance(v, Value) and isinstance(v.type, ArrayType) for d in v.shape
        ]
        return not all(self.outer(d, k) for d, k in dims if isinstance(d, Value))


def name_of(path: Any) -> str:
    """Return the name of the variable that a path of a state leads to, if it is one."""
    return path[1] if len(path) == 2 and isinstance(path[1], str) else ""
