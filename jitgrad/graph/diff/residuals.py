"""Primal values in the reverse program: at hand, reloaded, recomputed, or saved.

In: a frame and a primal value. Out: the value that equals it in the frame's reverse code; if need be the forward
program is extended so that it saves the value. The first of these that holds is taken:

1. the value belongs to no region: it is at hand everywhere; a value of an outer region is made there;
2. it is at hand already: made before, or an array put back to this version by undoing stores;
3. it is the index of the iteration, or comes from other values by cheap ops (elementwise, shapes) that need at most
   one new saved value; none, if it is a number that takes long (`is_dear`);
4. it is a load from an array, or a get from a list, that is at hand in the right version at this moment, or in a later
   one that differs elsewhere only; or it was stored into such an array;
5. it is saved: one container a saved value. In loops whose trip counts are known before the outermost one starts, an
   array indexed by the iterations; where the sum of what their iterations compute is known, as in triangular loops and
   of slices that grow, an array that is filled part after part and read backwards by a cursor; elsewhere a list that
   grows; in branches outside of loops, a further result of the branch.

The reverse sweep runs backwards, so at any moment the newest version not yet undone is at hand and older ones are not:
"reload if at hand at the moment of demand" is sound without dependence analysis. This room knows no derivative.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import overload

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.cut import CHEAP, NO_PLAN, Plan, is_cheap, is_dear
from jitgrad.graph.diff.frames import Frame, Nest
from jitgrad.graph.diff.later import Later
from jitgrad.graph.diff.tapes import (
    Cursor,
    Site,
    bytes_of,
    load_part,
    push_all,
    read_all,
    size_of,
    store_part,
    thread,
    thread_plain,
    undefined,
)
from jitgrad.graph.diff.totals import Total
from jitgrad.graph.ir import Block, Op, Value, substitute_type
from jitgrad.graph.ops.index import Entry, Pick, Span, load, store
from jitgrad.graph.types import INT64, ArrayType, Dim, ListType, Type

__all__ = ["Residuals"]

# Read again where the container is at hand.
_READS = frozenset({"list_get", "list_length", "load"})
# Versions of arrays that change: only what is at hand counts, they are never made again for the sake of a read.
_VERSIONS = frozenset({"addto", "for", "if", "scatter", "scatter_add", "store", "while"})
# So many versions of an array are looked at for one that still holds what a load reads.
_LATER = 8


class Residuals:
    """Makes primal values available in reverse code.

    Parameters
    ----------
    nest : Nest
    g : Builder
        The builder of the reverse code; its block is switched here while a value is made in another frame.
    plan : Plan
        What has been decided for all values together (`cut.py`): it comes before rules 3 to 5.

    Attributes
    ----------
    sites : list of Site
        What is saved.
    kept : set of Value
        What is to be saved itself if it is asked for (`predicates.py`).
    reread : set of Value
        Loads that were repeated, or could have been instead of saving what was computed from them: their arrays were at
        hand when the value was asked for.
    held : set of Value
        What was read where it had been stored.
    repeated : set of Op
        Ops of the reverse code that compute again what the primal has computed.
    primal : dict of Value to Value
        For what has been made in the reverse code, the value of the primal that it equals.
    """

    def __init__(self, nest: Nest, g: Builder, plan: Plan = NO_PLAN) -> None:
        self.nest = nest
        self.g = g
        self.plan = plan
        self.kept: set[Value] = set()
        self.reread: set[Value] = set()
        self.frames: dict[Block, Frame] = {}
        self.sites: list[Site] = []
        self.held: set[Value] = set()
        self.repeated: set[Op] = set()
        self.primal: dict[Value, Value] = {}
        self._later = Later(nest.graph)
        self._dear: dict[Block, dict[tuple[str, tuple[Value, ...]], Op]] = {}
        self._counts: dict[Op, Dim | None] = {}
        # For a region and the sizes of what its iterations fill.
        self._totals: dict[tuple[Block, tuple[Dim, ...]], Value] = {}
        self._cursors: dict[tuple[Block, tuple[Dim, ...]], Cursor] = {}

    def get(self, frame: Frame, value: Value) -> Value:
        """Return what equals a primal value in the code of `frame`."""
        if value not in self.nest.home:
            return value
        found = self.at_hand(frame, value)
        return self._make(value) if found is None else found

    def at_hand(self, frame: Frame, value: Value) -> Value | None:
        """Return what equals a primal value if it needs no code, None otherwise."""
        home = self.nest.home.get(value)
        if home is None:
            return value
        for f in frame.outward():
            found = f.memo.get(value)
            if found is not None:
                return found
            if f.forward is home:
                break
        return None

    @overload
    def type_of(self, frame: Frame, type: ArrayType) -> ArrayType: ...

    @overload
    def type_of(self, frame: Frame, type: Type) -> Type: ...

    def type_of(self, frame: Frame, type: Type) -> Type:
        """Return a primal type with its run-time dimensions as they are called in the code of `frame`."""
        dims = type.element.shape if isinstance(type, ListType) else type.shape
        mapping = {d: self.get(frame, d) for d in dims if isinstance(d, Value) and d in self.nest.home}
        return substitute_type(type, mapping) if mapping else type

    def iteration(self, frame: Frame) -> Value:
        """Return the number of the forward iteration that the body of a reverse loop undoes."""
        key = frame.block.args[0]
        found = frame.memo.get(key)
        if found is None:
            assert frame.parent is not None and frame.count is not None
            one = np.int64(1)
            last = self._emit_in(frame.parent, lambda g: g.subtract(frame.count, g.constant(one)))
            found = frame.memo[key] = self._emit_in(frame, lambda g: g.subtract(last, key))
        return found

    def cursor(self, frame: Frame, cursor: Cursor) -> Value:
        """Return how many entries of tapes are left to be read; new loops around carry it."""
        path = []
        current: Value | None = None
        for f in frame.outward():
            current = f.cursors.get(cursor)
            if current is not None:
                break
            path.append(f)
        for f in reversed(path):
            if f.parent is None:
                current = cursor.end
                if isinstance(current.type, ListType):
                    current = self._emit_in(f, lambda g: g.list_length(cursor.end))
                f.cursors[cursor] = current
            elif f.is_loop:
                current = f.cursors[cursor] = f.block.add_arg(INT64, "cursor")
                f.carried.append((cursor, current, None))
        assert current is not None
        return current

    def dear(self, block: Block) -> dict[tuple[str, tuple[Value, ...]], Op]:
        """Return the ops of a region of the primal whose results are dear, by name and operands."""
        found = self._dear.get(block)
        if found is None:
            found = self._dear[block] = {(op.name, tuple(op.operands)): op for op in block.ops if is_dear(op)}
        return found

    # --- making a value

    def _emit_in(self, frame: Frame, emit: Callable[[Builder], Value]) -> Value:
        outer, self.g.block = self.g.block, frame.block
        try:
            return emit(self.g)
        finally:
            self.g.block = outer

    def _make(self, value: Value) -> Value:
        home = self.nest.home
        stack = [value]
        while stack:
            x = stack[-1]
            frame = self.frames[home[x]]
            if self.at_hand(frame, x) is not None:
                stack.pop()
                continue
            source = self._invariant(frame, x)
            if source is not None:
                found = self.at_hand(frame, source)
                if found is None:
                    stack.append(source)
                else:
                    frame.memo[x] = found
                continue
            if self._is_index(frame, x):
                frame.memo[x] = self.iteration(frame)
                continue
            op = x.op
            saved = x in self.plan.saved or x in self.kept
            if op is None or saved or (x not in self.plan.again and self._is_leaf(frame, x, op)):
                held = None if saved else self._held(frame, x)
                if held is None:
                    made = frame.memo[x] = self._save(frame, x)
                    self.primal[made] = x
                    continue
                missing = [v for v in held[1].operands[2:] if self.at_hand(frame, v) is None]
                stack.extend(missing)
                if not missing:
                    made = frame.memo[x] = self._read_where_stored(frame, x, *held)
                    self.primal[made] = x
                    self.held.add(x)
                continue
            base = self._readable(frame, op) if op.name in _READS else None
            if base is not None:
                self.reread.add(x)
            inputs = op.operands if base is None else [base, *op.operands[1:]]
            needs = [*inputs, *(d for d in x.shape if isinstance(d, Value))]
            missing = [v for v in needs if self.at_hand(frame, v) is None]
            if missing:
                stack.extend(missing)
                continue
            operands = [self.get(frame, v) for v in inputs]
            again = Op(
                op.primitive, operands, op.attrs, (), [self.type_of(frame, r.type) for r in op.results], op.location
            )
            again.results[x.index].name = x.name
            self.repeated.add(again)
            frame.block.ops.append(again)
            for old, new in zip(op.results, again.results, strict=True):
                frame.memo[old] = new
                self.primal[new] = old
        found = self.at_hand(self.frames[home[value]], value)
        assert found is not None
        return found

    def _is_leaf(self, frame: Frame, value: Value, op: Op) -> bool:
        """Whether a value is not to be computed again, but saved or read where it was stored."""
        leaf = self.leaf(frame, value)
        if value in frame.held:
            return True
        if leaf is not value and self._parts(frame, op) is not None:
            return False
        self._note_reads(frame, value)
        return True

    def _note_reads(self, frame: Frame, value: Value) -> None:
        """Note the loads behind a value that can be repeated now."""
        stack, seen = [value], {value}
        while stack:
            op = stack.pop().op
            if op is None or not (is_cheap(op) or op.name == "load"):
                continue
            parts = op.operands
            if op.name == "load" and self._readable(frame, op) is not None:
                self.reread.add(op.result)
                parts = op.operands[1:]
            new = [p for p in parts if p not in seen and p in self.nest.home]
            seen.update(new)
            stack += new

    def _is_index(self, frame: Frame, value: Value) -> bool:
        if value.owner is not frame.forward or value.index != 0 or not frame.is_loop:
            return False
        return self.nest.enclosing[frame.forward][0].name == "for"

    def _invariant(self, frame: Frame, value: Value) -> Value | None:
        """Return the initial value of a carried value that the loop hands on unchanged."""
        if value.owner is not frame.forward or not frame.is_loop:
            return None
        op = self.nest.enclosing[frame.forward][0]
        position = value.index - (1 if op.name == "for" else 0)
        if position < 0 or frame.forward.yields[position] is not value:
            return None
        return op.operands[value.index]

    def _parts(self, frame: Frame, op: Op) -> list[Value] | None:
        """Return the operands that must be had for making an op's result again, None if it cannot be made."""
        if op.primitive.is_elementwise or op.name in CHEAP:
            return op.operands
        if op.name not in _READS:
            return None
        base = op.operands[0]
        if self._readable(frame, op) is not None:
            return op.operands[1:]
        maker = base.op
        if maker is None or maker.name in _VERSIONS or isinstance(base.type, ListType):
            return None
        if self.nest.home[base] is not frame.forward or maker.primitive.is_elementwise or maker.name in CHEAP:
            return op.operands
        return None

    def _readable(self, frame: Frame, op: Op) -> Value | None:
        """Return the version at hand of the container that an op reads, or a later one that is the same there."""
        version = op.operands[0]
        if op.name != "load":
            return None if self.at_hand(frame, version) is None else version
        return self._unchanged(frame, version, op)

    def _unchanged(self, frame: Frame, version: Value, place: Op) -> Value | None:
        """Return a version at hand of an array that is the same as another at the place of a load or store."""
        for _ in range(_LATER):
            if self.at_hand(frame, version) is not None:
                return version
            following = self._later.past(self.nest.home[version], version, place)
            if following is None:
                break
            version = following
        return None

    def _held(self, frame: Frame, value: Value) -> tuple[Value, Op] | None:
        """Return a version at hand of an array into which a value was stored, and the store."""
        op = self._later.store_of(frame.forward, value)
        version = None if op is None else self._unchanged(frame, op.result, op)
        return None if op is None or version is None else (version, op)

    def _note_held(self, frame: Frame, value: Value) -> bool:
        """Whether a value need not be saved, as it was stored into an array at hand."""
        if value not in frame.held and self._held(frame, value) is not None:
            frame.held.add(value)
        return value in frame.held

    def _read_where_stored(self, frame: Frame, value: Value, version: Value, op: Op) -> Value:
        array, where = self.get(frame, version), [self.get(frame, v) for v in op.operands[2:]]
        made = self._emit_in(frame, lambda g: g.load(array, *where, index=op.attrs["index"]))
        if not made.name:
            made.name = value.name
        return made

    def leaf(self, frame: Frame, value: Value) -> Value | None:
        """Return the one value to save so that `value` can be made again (itself if two were needed), None for none."""
        leaves, home = frame.leaves, self.nest.home
        stack = [value]
        while stack:
            x = stack[-1]
            if x in leaves:
                stack.pop()
                continue
            if home.get(x) is not frame.forward or x in frame.memo:
                stack.pop()
                if x is value:
                    return None
                continue
            op = x.op
            parts = None if op is None else self._parts(frame, op)
            if parts is None:
                free = op is None and (self._is_index(frame, x) or self._invariant(frame, x) is not None)
                leaves[x] = None if free or self._note_held(frame, x) else x
                continue
            unknown = [p for p in parts if p not in leaves and home.get(p) is frame.forward and p not in frame.memo]
            if unknown:
                stack.extend(unknown)
                continue
            found: Value | None = None
            for p in parts:
                leaf = leaves.get(p)
                if leaf is None or leaf is found or leaf in frame.memo or p in frame.memo:
                    continue
                found = leaf if found is None else x
                if found is x:
                    break
            if found is not None and op is not None and is_dear(op):
                found = x  # as many bytes as what it comes from
            leaves[x] = None if found is x and self._note_held(frame, x) else found
        return leaves.get(value)

    # --- saving a value

    def _save(self, frame: Frame, value: Value) -> Value:
        chain = self.nest.chain(frame.forward)
        loops = [region for op, region in chain if op.name != "if"]
        dims = value.type.element.shape if isinstance(value.type, ListType) else value.shape
        known = not any(d in self.nest.home for d in dims if isinstance(d, Value))
        counts = [self._count_before(op, chain[0][0]) for op, _ in chain if op.name != "if"]
        after = self.nest.insert_after(value)
        cursor: Cursor | None = None
        if known and not loops:
            kind, final = "plain", thread_plain(self.nest, chain, value)
        elif known and all(n is not None for n in counts):
            assert isinstance(value.type, ArrayType)
            shape = (*(n for n in counts if n is not None), *value.shape)
            with self._before(chain, value) as g:
                first = undefined(g, value.type.with_shape(shape))
            index: list[Entry] = [*(Pick(region.args[0]) for region in loops), *(Span(0, 1, d) for d in value.shape)]
            kind = "indexed"
            _, final = thread(self.nest, chain, first, after, lambda g, tape: store(g, tape, value, index))
        elif (room := self._room(chain, value)) is not None:
            first, cursor = room
            kind = "room"
            _, final = thread(self.nest, chain, first, after, lambda g, tape: store_part(g, tape, room[1], value))
        else:
            assert isinstance(value.type, ArrayType), "a list cannot be saved in each iteration of a loop"
            element = value.type if known else value.type.with_shape(())
            with self._before(chain, value) as g:
                first = g.list_empty(type=ListType(element))
            kind = "list" if known else "numbers"
            push = (lambda g, tape: g.list_push(tape, value)) if known else (lambda g, tape: push_all(g, tape, value))
            _, final = thread(self.nest, chain, first, after, push)
            cursor = Cursor(final)
        counted = kind == "list" and len(chain) == 1
        final.name = final.name or (f"{value.name}.tape" if value.name else "tape")
        site = Site(value, final, kind, loops, counted, chain[0][0], bytes_of(value.type, counts), cursor)
        self.sites.append(site)
        return self._read(frame, site)

    def _before(self, chain: list[tuple[Op, Block]], value: Value) -> AbstractContextManager[Builder]:
        """Return a context whose builder adds ops before all regions around a value."""
        return self.nest.insert(self.nest.graph, chain[0][0], False, None if value.op is None else value.op.location)

    def _room(self, chain: list[tuple[Op, Block]], value: Value) -> tuple[Value, Cursor] | None:
        """Return an array for all that is computed of a value, and its cursor; None if the total is not known."""
        if not isinstance(value.type, ArrayType):
            return None
        nested = [k for k, d in enumerate(value.shape) if d in self.nest.home]
        sizes = value.shape[: nested[-1] + 1] if nested else ()
        key = chain[-1][1], sizes
        if key not in self._totals:
            total = Total(self.nest, chain, sizes)
            if not total.is_known:
                return None
            with self._before(chain, value) as g:
                self._totals[key] = total.emit(g)
        with self._before(chain, value) as g:
            first = undefined(g, value.type.with_shape((self._totals[key], *value.shape[len(sizes) :])))
            zero = g.constant(np.int64(0))
        if key not in self._cursors:
            end = self.nest.insert(chain[-1][1], None, True, None if value.op is None else value.op.location)
            inner, final = thread(self.nest, chain, zero, end, lambda g, at: g.add(at, size_of(g, sizes)))
            self._cursors[key] = Cursor(final, inner, sizes)
        return first, self._cursors[key]

    def _count_before(self, op: Op, outermost: Op) -> Dim | None:
        """Return the trip count of a loop if it is known before the outermost op around it, None otherwise."""
        if op.name != "for":
            return None
        if op not in self._counts:
            n = op.operands[0]
            found: Dim | None = None
            if n.op is not None and n.op.name == "constant":
                found = max(int(n.op.attrs["value"]), 0)
            elif n not in self.nest.home:
                # A negative count means no iterations, but is no dimension.
                with self.nest.insert(self.nest.graph, outermost, False, op.location) as g:
                    zero = g.constant(np.int64(0))
                    found = g.select(g.less(n, zero), zero, n)
            self._counts[op] = found
        return self._counts[op]

    def _read(self, frame: Frame, site: Site) -> Value:
        value, final = site.value, site.final
        if site.kind == "plain":
            return final
        if site.kind == "indexed":
            picks = [Pick(self.iteration(self.frames[region])) for region in site.loops]
            index: list[Entry] = [*picks, *(Span(0, 1, d) for d in value.shape)]
            made = self._emit_in(frame, lambda g: load(g, final, index))
        elif site.counted:
            made = self._emit_in(frame, lambda g: g.list_get(final, self.iteration(frame)))
        elif site.kind == "room":
            assert site.cursor is not None
            at, flat = self._part(frame, site.cursor), len(site.cursor.sizes)
            shape = self.type_of(frame, value.array).shape
            made = self._emit_in(frame, lambda g: load_part(g, final, at, shape, flat))
        else:
            assert site.cursor is not None
            cursor = self.cursor(frame, site.cursor)
            if site.kind == "list":
                at = self._emit_in(frame, lambda g: g.subtract(cursor, g.constant(np.int64(1))))
                made = self._emit_in(frame, lambda g: g.list_get(final, at))
            else:
                type = self.type_of(frame, value.type)
                assert isinstance(type, ArrayType)
                at = self._emit_in(frame, lambda g: g.subtract(cursor, size_of(g, type.shape)))
                made = self._emit_in(frame, lambda g: read_all(g, final, at, type))
            frame.cursors[site.cursor] = at
        if not made.name:
            made.name = value.name
        return made

    def _part(self, frame: Frame, cursor: Cursor) -> Value:
        """Return where in a room the part of an iteration begins."""
        assert cursor.inner is not None
        found = frame.memo.get(cursor.inner)
        if found is None:
            left = self.cursor(frame, cursor)
            sizes = self.type_of(frame, INT64.with_shape(cursor.sizes)).shape
            found = self._emit_in(frame, lambda g: g.subtract(left, size_of(g, sizes)))
            frame.memo[cursor.inner] = frame.cursors[cursor] = found
        return found
