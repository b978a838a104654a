"""Loops over elements become operations on rows.

    for k in range(n): t = c * d[k + 1]; ct[k] += t; ct[k + 2] += t        t = c * d[1:n + 1]; ct[0:n] += t; ...

The adjoint of a loop that reads an array at several offsets adds to it at several offsets: each iteration needs what
the one before has stored, and they run one after another. Sums may be taken in another order, though: all that is added
at one offset first, then all at the next. These are sums of shifted rows, which `gather_sums` takes in one sweep.
Functions are faster for rows, and what is long needs no analysis by LLVM.

In: a graph after differentiation. Out: the same graph, with sums of derivatives in another order. Only for loops of
elementwise ops, loads, stores and sums at places that move by one element an iteration, in which no iteration needs
what an earlier one wrote, sums aside. Short branches are taken both ways, and what is not meant is not stored: -0.0 is
added for it. The loop around such a loop may become an operation of rows of rows in its turn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.index import Entry, Pick, Span, index_of, load, split_index
from jitgrad.graph.ops.shape import broadcast_to, reshape_to, split_shape
from jitgrad.graph.passes.dce import dce
from jitgrad.graph.passes.rewriting import Replacements, blocks_within
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.places import box_of, boxes_apart, is_element
from jitgrad.graph.passes.rules.ranges import Sum, another, as_sum, bound, emit_sum
from jitgrad.graph.passes.survey import surveyed
from jitgrad.graph.types import INT64, ArrayType, Dim

__all__ = ["loops_to_rows"]

_PLACED = frozenset({"addto", "load", "store"})
# What may be computed for iterations that have no use for it, besides divisions.
_QUICK = frozenset(
    {"absolute", "add", "cast", "constant", "divide", "equal", "greater", "greater_equal", "less", "less_equal", "load",
     "logical_and", "logical_not", "logical_or", "maximum", "minimum", "multiply", "negative", "not_equal", "select",
     "sqrt", "subtract"}
)  # fmt: skip
# Ops of the largest loop, and of all its branches together.
_LARGEST, _BRANCHES = 120, 40
# Iterations below which a row is not worth it, and from which on it is for whatever is done.
_SHORT, _LONG = 8, 64
# What is computed several times faster for many numbers at once.
_FUNCTIONS = frozenset(
    {"arccos", "arcsin", "arctan", "arctan2", "cos", "cosh", "erf", "erfc", "exp", "exp2", "expm1", "log", "log10",
     "log1p", "log2", "power", "sin", "sinh", "tan", "tanh"}
)  # fmt: skip

# Conditions under which an op runs, each with the side of the branch.
_Guards = tuple[tuple[Value, bool], ...]


class _Step(NamedTuple):
    """An op of an iteration; a branch comes behind what its sides do, and stands for its results."""

    op: Op
    guards: _Guards


def loops_to_rows(graph: Graph) -> bool:
    """Write loops as operations on rows where that pays."""
    changed = False
    rows: set[Op] = set()
    while True:
        found = [
            (block, op)
            for block in reversed(blocks_within(graph))
            for op in block.ops
            if op.name == "for" and _is_candidate(op)
        ]
        r = surveyed(graph) if found else None
        for block, op in found:
            assert r is not None
            loop = _Loop(r, op)
            if loop.is_possible() and (loop.pays() or not rows.isdisjoint(loop.body.ops)):
                rows.update(_rewrite(graph, block, loop))
                dce(graph)
                changed = True
                break
        else:
            return changed


def _is_candidate(loop: Op) -> bool:
    """Whether a loop has no loops within, and writes to arrays."""
    ops = [op for block in blocks_within(loop.regions[0]) for op in block.ops]
    if len(ops) > _LARGEST or any(op.name in ("for", "while") for op in ops):
        return False
    return any(op.name in ("addto", "store") for op in ops)


def _rewrite(graph: Graph, block: Block, loop: _Loop) -> list[Op]:
    """Put operations on rows where a loop stood, and return them."""
    op = loop.loop
    g = Builder(Block(), op.location)
    results = _Writer(g, loop).run()
    at = block.ops.index(op)
    block.ops[at : at + 1] = g.block.ops
    replaced = Replacements()
    for old, new in zip(op.results, results, strict=True):
        replaced.add(old, new)
    for inner in blocks_within(graph):
        replaced.in_block(inner)
        for o in inner.ops:
            replaced.in_op(o)
        inner.yields = replaced.in_values(inner.yields)
    return [o for o in g.block.ops if o.name in ("store", "addto") and any(isinstance(e, Span) for e in index_of(o))]


class _Loop:
    """A loop of which the iterations may run side by side.

    Attributes
    ----------
    steps : list of _Step
        What an iteration does, one after another.
    sums : dict of Op to int
        Sums that add something to a number that the loop carries, and its position.
    position, totals : dict of Value to int
        The versions of the arrays and of the numbers that the loop carries.
    newest : set of Op
        Loads from what an array is when they come, not from what it was before.
    now : list of Value
        What became of what the loop carries, up to the step at hand.
    """

    def __init__(self, r: Context, loop: Op) -> None:
        self.r = r
        self.loop = loop
        self.body: Block = loop.regions[0]
        self.index = self.body.args[0]
        self.steps: list[_Step] = []
        self.sums: dict[Op, int] = {}
        self.newest: set[Op] = set()
        self.now = list(self.body.args[1:])
        self.inside: set[Value] = set(self.now)
        self.position = {v: k for k, v in enumerate(self.now) if v.shape}
        # How many steps come before each version of an array.
        self._before = dict.fromkeys(self.position, -1)
        self.totals = {v: k for k, v in enumerate(self.now) if not v.shape}

    @property
    def trips(self) -> Sum:
        """How many iterations there are."""
        return as_sum(self.r, self.loop.operands[0])

    def is_possible(self) -> bool:
        """Whether the iterations may run side by side."""
        if not all(isinstance(v.type, ArrayType) for v in self.loop.results) or bound(self.r, self.trips, 1) < _SHORT:
            return False
        if not self._follow(self.body, ()) or sum(bool(s.guards) for s in self.steps) > _BRANCHES:
            return False
        if any(x is not y for x, y in zip(self.now, self.body.yields, strict=True)):
            return False
        return all(self._is_plain(step) for step in self.steps) and self._commute()

    def pays(self) -> bool:
        """Whether rows are faster: for stencils, functions, and what is long.

        Of rows of any length the last elements are few, and take longer than one by one.
        """
        if self._is_stencil() or any(op.name in _FUNCTIONS for op, _ in self.steps):
            return True
        return bound(self.r, self.trips, -1) >= _LONG

    def _is_stencil(self) -> bool:
        """Whether it adds to elements to which other iterations add as well."""
        sums = [op for op, _ in self.steps if op.name == "addto" and self.axis(op) is not None]
        return any(
            self.position[x.result] == self.position[y.result] and (self._may_meet(x, y) or self._may_meet(y, x))
            for k, x in enumerate(sums)
            for y in sums[k + 1 :]
        )

    def axis(self, op: Op) -> int | None:
        """Return the axis along which an access moves from iteration to iteration, None if it does not."""
        entries = index_of(op)
        axes = [k for k, e in enumerate(entries) if isinstance(e, Pick) and self.index in as_sum(self.r, e.at).terms]
        return axes[0] if axes else None

    def _follow(self, block: Block, guards: _Guards) -> bool:
        """Note the steps of a block; return whether they are such as rows have."""
        for op in block.ops:
            if op.name == "if":
                if not self._follow_branch(op, guards):
                    return False
            elif op.regions or op.primitive.effects:
                return False
            elif op.name in ("addto", "store"):
                array = op.operands[0]
                if array not in self.now or any(v in self.totals for v in op.operands):
                    return False
                k = self.position[op.result] = self.position[array]
                self.now[k] = op.result
                self._before[op.result] = len(self.steps)
            elif any(v in self.totals for v in op.operands):
                if not self._is_sum(op):
                    return False
                (k,) = (self.totals[v] for v in op.operands if v in self.totals)
                self.sums[op] = self.totals[op.result] = k
                self.now[k] = op.result
            elif op.name == "load":
                if op.operands[0] in self.now:
                    self.newest.add(op)
            elif any(v in self.position for v in op.operands):
                return False
            self.steps.append(_Step(op, guards))
            self.inside.update(op.results)
        return True

    def _is_sum(self, op: Op) -> bool:
        """Whether an op adds to what the loop carries, in any order."""
        added = [v for v in op.operands if v in self.totals]
        if len(added) != 1 or added[0] not in self.now or op.result.shape:
            return False
        if op.name == "logical_or":
            return True
        first = op.operands[0] is added[0]
        return "any_order" in op.attrs and (op.name == "add" or (op.name == "subtract" and first))

    def _follow_branch(self, op: Op, guards: _Guards) -> bool:
        start, ends = list(self.now), []
        for region, side in zip(op.regions, (True, False), strict=True):
            self.now = list(start)
            if not self._follow(region, (*guards, (op.operands[0], side))):
                return False
            ends.append(self.now)
        carried = [k for k, (x, y) in enumerate(zip(*ends, strict=True)) if x is not y]
        self.now = start
        for result, *given in zip(op.results, *(region.yields for region in op.regions), strict=True):
            k = next((k for k in carried if ends[0][k] is given[0] and ends[1][k] is given[1]), None)
            if k is None:
                if any(v in self.position or v in self.totals for v in given):
                    return False
                continue
            carried.remove(k)
            self.now[k] = result
            if result.shape:
                self.position[result] = k
                self._before[result] = len(self.steps)
            else:
                self.totals[result] = k
        return not carried

    def _is_plain(self, step: _Step) -> bool:
        """Whether an op may be one on rows."""
        op, guards = step
        if op.name == "if":
            return True
        if guards and op.name not in _QUICK | _PLACED:
            return False
        if any(v in self.inside for result in op.results for v in result.type.run_time):
            return False
        if op.name not in _PLACED:
            return op.primitive.is_elementwise or op.name in ("broadcast", "constant", "iota", "reduce_sum")
        entries = index_of(op)
        moving = []
        for k, e in enumerate(entries):
            for x in e:
                terms = {} if x is None else as_sum(self.r, x).terms
                if any(v in self.inside for v in terms):
                    return False
                if self.index in terms:
                    if not isinstance(e, Pick) or abs(terms[self.index]) != 1:
                        return False
                    moving.append(k)
        if len(moving) > 1 or (op.name == "store" and not moving):
            return False
        # Rows lie along the last axis, and the axis of iterations comes first.
        if moving and isinstance(entries[-1], Pick) and moving[0] != len(entries) - 1:
            return False
        if moving and any(isinstance(e, Span) for e in entries[: moving[0]]):
            return False
        return not guards or is_element(self.r, entries, op.operands[0].shape)

    # --- whether no iteration needs what an earlier one wrote

    def _commute(self) -> bool:
        accesses: dict[int, list[Op]] = {}
        for op, _ in self.steps:
            if op.name in _PLACED and op.operands[0] in self.position:
                accesses.setdefault(self.position[op.operands[0]], []).append(op)
        for ops in accesses.values():
            for k, x in enumerate(ops):
                for y in ops[k + 1 :]:
                    if {x.name, y.name} in ({"load"}, {"addto"}):
                        continue
                    # A load comes where the version is made that it reads, whatever has been written since.
                    first, then = (x, y) if self._time(x) <= self._time(y) else (y, x)
                    if self._may_meet(first, then):
                        return False
        return True

    def _time(self, op: Op) -> float:
        return self._before[op.operands[0]] + 0.5 if op.name == "load" else self._before[op.result]

    def _may_meet(self, op: Op, later: Op) -> bool:
        """Whether an op may touch what a later one of an iteration touched in an earlier iteration."""
        r, index = self.r, self.index
        for e, f in zip(index_of(op), index_of(later), strict=True):
            if isinstance(e, Pick) and isinstance(f, Pick):
                x, y = as_sum(r, e.at), as_sum(r, f.at)
                factor = x.terms.get(index, 0)
                if factor and factor == y.terms.get(index, 0):
                    # So many iterations later, the one is where the other has been.
                    distance = Sum({}).plus(y.plus(x, -1), factor)
                    if bound(r, distance, 1) <= 0 or bound(r, distance.plus(self.trips, -1), -1) >= 0:
                        return False
        anew = another(r, index)

        def number(x: Dim) -> Sum:
            found = as_sum(r, x)
            return found.plus(Sum({index: -1, anew: 1}), found.terms.get(index, 0))

        return not boxes_apart(r, box_of(op, lambda x: as_sum(r, x)), box_of(later, number))


class _Writer:
    """Writes a loop as operations on rows."""

    def __init__(self, g: Builder, loop: _Loop) -> None:
        self.g = g
        self.loop = loop
        r, (count, *inits) = loop.r, loop.loop.operands
        # What the loop carries, as it is now.
        self.now = list(inits)
        # What became of values; those that are another in each iteration have a first axis more.
        self.made: dict[Value, Value] = dict(zip(loop.body.args[1:], inits, strict=True))
        self.moving: set[Value] = {loop.index}
        literal = r.literal(count)
        self.length: Dim = max(int(literal), 0) if literal is not None else count
        if literal is None and bound(r, loop.trips, -1) < 0:
            self.length = g.maximum(count, g.constant(0, INT64.dtype))
        # Rows of which most run backwards are taken from the other end: the first iteration, and the way from there.
        placed = [op for op, _ in loop.steps if op.name in _PLACED]
        ways = [as_sum(r, e.at).terms.get(loop.index, 0) for op in placed for e in index_of(op) if isinstance(e, Pick)]
        self.first, self.way = (loop.trips.plus(Sum({}, 1), -1), -1) if sum(ways) < 0 else (Sum({}), 1)

    def run(self) -> list[Value]:
        """Return what becomes of what the loop carries."""
        for op, guards in self.loop.steps:
            self.g.location = op.location
            if op.name == "if":
                self._merge(op)
            elif op in self.loop.sums:
                self._sum(op, guards)
            elif op.name in _PLACED:
                self._access(op, guards)
            else:
                self._compute(op)
        return self.now

    def _value(self, v: Value) -> Value:
        """Return what a value is now, with a first axis more if it moves."""
        if v is self.loop.index and v not in self.made:
            numbers = self._iota()
            self.made[v] = numbers
        return self.made.get(v, v)

    def _iota(self) -> Value:
        g = self.g
        attr, dims = split_shape((self.length,))
        numbers = g.iota(*dims, dtype=INT64.dtype, shape=attr)
        if self.way > 0:
            return numbers
        first = emit_sum(g, self.first)
        return g.subtract(first if isinstance(first, Value) else g.constant(first, INT64.dtype), numbers)

    def _row(self, v: Value, shape: Sequence[Dim]) -> Value:
        """Return a value as one of each iteration, of a shape."""
        return broadcast_to(self.g, self._aligned(v, len(shape)), (self.length, *shape))

    def _aligned(self, v: Value, rank: int) -> Value:
        """Return what a value is now, so that it broadcasts with those of a rank."""
        made = self._value(v)
        if v not in self.moving or len(v.shape) == rank:
            return made
        return reshape_to(self.g, made, (self.length, *(1 for _ in range(rank - len(v.shape))), *v.shape))

    def _mask(self, guards: _Guards, shape: Sequence[Dim]) -> Value:
        """Return in which iterations some conditions hold."""
        g = self.g
        found: Value | None = None
        for cond, side in guards:
            given = self._value(cond)
            given = given if side else g.logical_not(given)
            moves = cond in self.moving
            given = given if moves else broadcast_to(g, given, (self.length,))
            found = given if found is None else g.logical_and(found, given)
        assert found is not None
        made = reshape_to(g, found, (self.length, *(1 for _ in shape)))
        return broadcast_to(g, made, (self.length, *shape))

    def _compute(self, op: Op) -> None:
        g = self.g
        result = op.result
        if self.moving.isdisjoint(op.operands):
            operands = [self._value(v) for v in op.operands]
            again = Op(op.primitive, operands, op.attrs, (), [result.type], op.location)
            g.block.ops.append(again)
            self.made[result] = again.result
            return
        self.moving.add(result)
        if op.name == "broadcast":
            self.made[result] = self._row(op.operands[0], result.shape)
        elif op.name == "reduce_sum":
            axes = tuple(axis + 1 for axis in op.attrs["axes"])
            self.made[result] = g.reduce_sum(self._value(op.operands[0]), **(op.attrs | {"axes": axes}))
        else:
            operands = [self._aligned(v, len(result.shape)) for v in op.operands]
            self.made[result] = g.emit(op.name, operands, op.attrs).result

    def _merge(self, op: Op) -> None:
        """Choose between what the sides of a branch give."""
        g, loop = self.g, self.loop
        for result, *ends in zip(op.results, *(region.yields for region in op.regions), strict=True):
            if result in loop.position or result in loop.totals:
                self.made[result] = self.now[(loop.position | loop.totals)[result]]
                continue
            cond = op.operands[0]
            if self.moving.isdisjoint((cond, *ends)):
                mask = broadcast_to(g, self._value(cond), result.shape)
                self.made[result] = g.select(mask, *(self._value(v) for v in ends))
                continue
            self.moving.add(result)
            mask = self._mask(((cond, True),), result.shape)
            self.made[result] = g.select(mask, *(self._row(v, result.shape) for v in ends))

    def _sum(self, op: Op, guards: _Guards) -> None:
        """Add what all iterations add to a number."""
        g, k = self.g, self.loop.sums[op]
        (added,) = (v for v in op.operands if v not in self.loop.totals)
        row = self._row(added, ())
        if op.name == "logical_or":
            row = g.logical_and(row, self._mask(guards, ())) if guards else row
            self.now[k] = g.logical_or(self.now[k], g.reduce_or(row, axes=(0,)))
        else:
            row = self._if(guards, row, (), None)
            self.now[k] = g.emit(op.name, [self.now[k], g.reduce_sum(row, axes=(0,))], op.attrs).result

    def _if(self, guards: _Guards, row: Value, shape: Sequence[Dim], other: Value | None) -> Value:
        """Return a row where conditions hold, and elsewhere another, or what changes no sum."""
        if not guards:
            return row
        if other is None:
            other = self._nothing(row)
        return self.g.select(self._mask(guards, shape), row, other)

    def _nothing(self, like: Value) -> Value:
        return broadcast_to(self.g, self.g.constant(-0.0, like.array.dtype), like.shape)

    def _access(self, op: Op, guards: _Guards) -> None:
        g, loop = self.g, self.loop
        axis, index = loop.axis(op), self._index(op)
        array = op.operands[0]
        if op.name == "load":
            known = loop.position.get(array)
            base = self.now[known] if known is not None and op in loop.newest else self._value(array)
            self.made[op.result] = load(g, base, index)
            if axis is not None:
                self.moving.add(op.result)
            return
        k = loop.position[array]
        value, shape = op.operands[1], op.operands[1].shape
        row = self._row(value, shape)
        attr, ints = split_index(index)
        if op.name == "store":
            row = self._if(guards, row, shape, load(g, self.now[k], index) if guards else None)
        else:
            row = self._if(guards, row, shape, None)
            row = g.reduce_sum(row, axes=(0,)) if axis is None else row
        self.now[k] = g.emit(op.name, [self.now[k], row, *ints], op.attrs | {"index": attr}).result
        self.made[op.result] = self.now[k]

    def _number(self, x: Value) -> Dim:
        """Return an integer that is the same in all iterations."""
        return emit_sum(self.g, as_sum(self.loop.r, x)) if x in self.moving else self._value(x)

    def _index(self, op: Op) -> list[Entry]:
        """Return the place of an access in all iterations."""
        loop = self.loop
        made: list[Entry] = []
        for e in index_of(op):
            sums = [None if x is None else as_sum(loop.r, x) for x in e]
            at = sums[0]
            factor = 0 if at is None else at.terms.get(loop.index, 0)
            if at is not None and factor:
                start = at.plus(Sum({loop.index: 1}), -factor).plus(self.first, factor)
                made.append(Span(emit_sum(self.g, start), factor * self.way, self.length))
            else:
                # The very values: lengths are part of types.
                made.append(type(e)(*(self._number(x) if isinstance(x, Value) else x for x in e)))
        return made
