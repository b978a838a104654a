"""Loops over elements become operations on rows.

    for k in range(n): t = c * d[k + 1]; ct[k] += t; ct[k + 2] += t        t = c * d[1:n + 1]; ct[0:n] += t; ...

The adjoint of a loop that reads an array at several offsets adds to it at several offsets: each iteration needs what
the one before has stored, and they run one after another. Sums may be taken in another order, though: all that is added
at one offset first, then all at the next. These are sums of shifted rows, which `gather_sums` takes in one sweep.
Functions are faster for rows, and what is long needs no analysis by LLVM.

In: a graph after differentiation. Out: the same graph, with sums of derivatives in another order. Only for loops of
elementwise ops, loads, stores and sums at places that move by one element an iteration, in which no iteration needs
what an earlier one wrote, sums aside. Short branches are taken both ways, and what is not meant is not stored: -0.0 is
added for it. A loop within goes around the rows, with a row for each number that it carries. The loop around a loop
that became a row may become an operation of rows of rows in its turn.
"""

from __future__ import annotations

from collections.abc import Sequence

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.index import Entry, Pick, Span, index_of, load, split_index
from jitgrad.graph.ops.shape import broadcast_to, reshape_to, split_shape
from jitgrad.graph.passes.dce import dce
from jitgrad.graph.passes.parallel import FUNCTIONS, PLACED, Guards, ParallelLoop, Step
from jitgrad.graph.passes.rewriting import Replacements, blocks_within, some_iterations
from jitgrad.graph.passes.rules.ranges import Sum, bound, emit_sum
from jitgrad.graph.passes.survey import surveyed
from jitgrad.graph.types import INT64, ArrayType, Dim

__all__ = ["loops_to_rows"]

# Ops of the largest loop.
_LARGEST = 120
# Iterations of rows that stay in the cache while loops go around them.
_BLOCK = 512


def loops_to_rows(graph: Graph) -> bool:
    """Write loops as operations on rows where that pays."""
    changed = False
    rows: set[Op] = set()
    blocks: set[Op] = set()
    while True:
        found = [
            (block, op)
            for block in reversed(blocks_within(graph))
            for op in block.ops
            if op.name == "for" and _is_candidate(op)
        ]
        if not found:
            return changed
        r = surveyed(graph)
        regions = [b for op in graph.ops for region in op.regions for b in blocks_within(region)]
        repeated = {v for b in regions for values in (b.args, *(op.results for op in b.ops)) for v in values}
        for block, op in found:
            loop = ParallelLoop(r, op)
            if not loop.is_possible() or not loop.is_lean():
                continue
            # Rows of rows only of what the program has not written as rows itself.
            if not rows.isdisjoint(loop.body.ops) if loop.is_of_rows else loop.pays(repeated):
                if loop.within and op not in blocks and bound(r, loop.trips, 1) > 2 * _BLOCK:
                    blocks.add(_in_blocks(graph, block, op))
                else:
                    rows.update(_rewrite(graph, block, loop))
                dce(graph)
                changed = True
                break
        else:
            return changed


def _is_candidate(loop: Op) -> bool:
    """Whether a loop, with loops over numbers within at most, writes to arrays or computes what takes long."""
    ops = [op for block in blocks_within(loop.regions[0]) for op in block.ops]
    if len(ops) > _LARGEST or any(op.name == "while" for op in ops):
        return False
    inner = [op for op in loop.regions[0].ops if op.name == "for"]
    if len(inner) != sum(op.name == "for" for op in ops):
        return False
    if not all(isinstance(v.type, ArrayType) for op in (loop, *ops) for v in op.results):
        return False
    return any(op.name in ("addto", "divide", "sqrt", "store") or op.name in FUNCTIONS for op in ops)


def _in_blocks(graph: Graph, block: Block, loop: Op) -> Op:
    """Put a loop over blocks of iterations where a loop stood, and return that of a block."""
    (body,) = loop.regions
    trips, *inits = loop.operands
    types, names = [v.type for v in body.args], [v.name for v in body.args]
    g = Builder(Block(), loop.location)
    made = g.block
    count = g.add(g.floor_divide(g.subtract(trips, 1), _BLOCK), 1)
    with g.region(types, names) as region:
        start = g.multiply(region.args[0], _BLOCK)
        within = some_iterations(g, loop, start, _BLOCK, region.args[1:])
        region.yields = within.results
    results = g.emit("for", [count, *inits], loop.attrs, [region]).results
    at = block.ops.index(loop)
    block.ops[at : at + 1] = made.ops
    replaced = Replacements()
    for old, new in zip(loop.results, results, strict=True):
        replaced.add(old, new)
    replaced.everywhere(graph)
    return within


def _rewrite(graph: Graph, block: Block, loop: ParallelLoop) -> list[Op]:
    """Put operations on rows where a loop stood, and return them."""
    op = loop.loop
    g = Builder(Block(), op.location)
    results = _Writer(g, loop).run()
    at = block.ops.index(op)
    block.ops[at : at + 1] = g.block.ops
    replaced = Replacements()
    for old, new in zip(op.results, results, strict=True):
        replaced.add(old, new)
    replaced.everywhere(graph)
    return [o for o in g.block.ops if o.name in ("store", "addto") and any(isinstance(e, Span) for e in index_of(o))]


class _Writer:
    """Writes a loop as operations on rows."""

    def __init__(self, g: Builder, loop: ParallelLoop) -> None:
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
        placed = [op for op, _ in loop.steps if op.name in PLACED]
        ways = sum(loop.pace(e.at) or 0 for op in placed for e in index_of(op) if isinstance(e, Pick))
        self.way = -1 if ways < 0 else 1
        last = emit_sum(g, loop.trips.plus(Sum({}, 1), -1)) if ways < 0 else 0
        self.first: Value = last if isinstance(last, Value) else g.constant(last, INT64.dtype)
        # What integers are in the first iteration.
        self.begins: dict[Value, Value] = {loop.index: self.first}

    def run(self) -> list[Value]:
        """Return what becomes of what the loop carries."""
        inside = {s.op for steps in self.loop.within.values() for s in steps}
        self._write([s for s in self.loop.steps if s.op not in inside])
        if self.loop.in_turn:
            self._write_in_turn()
        return self.now

    def _write_in_turn(self) -> None:
        """Write the loop of what waits for the iterations before, which finds all else in rows."""
        g, loop = self.g, self.loop
        made = {v for op in loop.serial for v in op.results}
        ends = [loop.body.yields[k] for k in loop.in_turn]
        asked = dict.fromkeys(v for v in (*(v for op in loop.serial for v in op.operands), *ends) if v not in made)
        rows = {v: self._row(v, ()) for v in asked if v in self.moving and v is not loop.index}
        args = [loop.body.args[k + 1] for k in loop.in_turn]
        types, names = [INT64, *(v.type for v in args)], [loop.index.name, *(v.name for v in args)]
        with g.region(types, names) as region:
            index = region.args[0]
            mapping = {v: self._value(v) for v in asked if v not in self.moving}
            mapping |= zip((loop.index, *args), region.args, strict=True)
            place = index if self.way > 0 else g.subtract(self.first, index)
            mapping |= {v: load(g, row, [Pick(place)]) for v, row in rows.items()}
            for op in loop.serial:
                again = Op(op.primitive, [mapping[v] for v in op.operands], op.attrs, (), [op.result.type], op.location)
                g.block.ops.append(again)
                mapping[op.result] = again.result
            region.yields = [mapping[v] for v in ends]
        results = g.emit("for", [loop.loop.operands[0], *(self.now[k] for k in loop.in_turn)], {}, [region]).results
        for k, result in zip(loop.in_turn, results, strict=True):
            self.now[k] = result

    def _write(self, steps: Sequence[Step]) -> None:
        for op, guards in steps:
            self.g.location = op.location
            if op.name == "if":
                self._merge(op)
            elif op.name == "for":
                self._loop(op)
            elif op in self.loop.sums:
                self._sum(op, guards)
            elif op.name in PLACED:
                self._access(op, guards)
            else:
                self._compute(op)

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
        return g.subtract(self.first, numbers)

    def _row(self, v: Value, shape: Sequence[Dim]) -> Value:
        """Return a value as one of each iteration, of a shape."""
        return broadcast_to(self.g, self._aligned(v, len(shape)), (self.length, *shape))

    def _aligned(self, v: Value, rank: int) -> Value:
        """Return what a value is now, so that it broadcasts with those of a rank."""
        made = self._value(v)
        if v not in self.moving or len(v.shape) == rank:
            return made
        return reshape_to(self.g, made, (self.length, *(1 for _ in range(rank - len(v.shape))), *v.shape))

    def _mask(self, guards: Guards, shape: Sequence[Dim]) -> Value:
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
        elif op.name in ("reduce_marked", "reduce_sum"):
            axes = tuple(axis + 1 for axis in op.attrs["axes"])
            self.made[result] = g.emit(op.name, [self._value(op.operands[0])], op.attrs | {"axes": axes}).result
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

    def _loop(self, op: Op) -> None:
        """Write a loop within, which carries a row where each iteration has a number of its own."""
        g, loop = self.g, self.loop
        (body,) = op.regions
        trips, *inits = op.operands
        args = body.args[1:]
        known = [(loop.position | loop.totals).get(arg) for arg in args]
        moving = self._moving_in(op)
        given = [
            self.now[k] if k is not None else self._row(init, ()) if arg in moving else self._value(init)
            for k, init, arg in zip(known, inits, args, strict=True)
        ]
        # What is computed in the loop is not known behind it.
        before = self.made, self.begins, set(self.moving)
        self.made, self.begins = dict(self.made), dict(self.begins)
        self.moving |= moving
        with g.region([INT64, *(v.type for v in given)], [v.name for v in body.args]) as region:
            self.made |= zip(body.args, region.args, strict=True)
            for k, arg in zip(known, region.args[1:], strict=True):
                if k is not None:
                    self.now[k] = arg
            self._write(loop.within[op])
            region.yields = [
                self.now[k] if k is not None else self._row(y, ()) if arg in moving else self._value(y)
                for k, y, arg in zip(known, body.yields, args, strict=True)
            ]
        self.made, self.begins, self.moving = before
        results = g.emit("for", [self._value(trips), *given], op.attrs, [region]).results
        self.made |= zip(op.results, results, strict=True)
        for k, arg, old, new in zip(known, args, op.results, results, strict=True):
            if k is not None:
                self.now[k] = new
            elif arg in moving:
                self.moving.add(old)

    def _moving_in(self, op: Op) -> set[Value]:
        """Return what a loop carries that is another number in each iteration."""
        loop = self.loop
        _, *args = op.regions[0].args
        moving = {arg for init, arg in zip(op.operands[1:], args, strict=True) if init in self.moving}
        while True:
            found = self.moving | moving
            for step, _ in loop.within[op]:
                used = [*step.operands, *(v for region in step.regions for v in region.yields)]
                placed = step.name in PLACED and (loop.axis(step) is not None or loop.is_gathered(step))
                if placed or not found.isdisjoint(used):
                    found.update(step.results)
            more = {arg for arg, y in zip(args, op.regions[0].yields, strict=True) if y in found and not arg.shape}
            if more <= moving:
                return moving
            moving |= more

    def _sum(self, op: Op, guards: Guards) -> None:
        """Add what all iterations add to a number."""
        g, k = self.g, self.loop.sums[op]
        (added,) = (v for v in op.operands if v not in self.loop.totals)
        row = self._row(added, ())
        if op.name == "logical_or":
            row = g.logical_and(row, self._mask(guards, ())) if guards else row
            self.now[k] = g.logical_or(self.now[k], g.reduce_or(row, axes=(0,)))
        else:
            row = self._if(guards, row, (), None)
            self.now[k] = g.emit(op.name, [self.now[k], g.reduce_marked(row, axes=(0,))], op.attrs).result

    def _if(self, guards: Guards, row: Value, shape: Sequence[Dim], other: Value | None) -> Value:
        """Return a row where conditions hold, and elsewhere another, or what changes no sum."""
        if not guards:
            return row
        if other is None:
            other = self._nothing(row)
        return self.g.select(self._mask(guards, shape), row, other)

    def _nothing(self, like: Value) -> Value:
        return broadcast_to(self.g, self.g.constant(-0.0, like.array.dtype), like.shape)

    def _access(self, op: Op, guards: Guards) -> None:
        g, loop = self.g, self.loop
        array = op.operands[0]
        if loop.is_gathered(op):
            self.made[op.result] = g.gather(self._value(array), *(self._place(e[0]) for e in index_of(op)))
            self.moving.add(op.result)
            return
        axis, index = loop.axis(op), self._index(op)
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
            row = g.reduce_marked(row, axes=(0,)) if axis is None else row
        self.now[k] = g.emit(op.name, [self.now[k], row, *ints], op.attrs | {"index": attr}).result
        self.made[op.result] = self.now[k]

    def _begin(self, x: Dim) -> Dim:
        """Return what an integer is in the iteration that a row begins with."""
        if not isinstance(x, Value):
            return x
        if x not in self.loop.inside and x is not self.loop.index:
            return self.made.get(x, x)
        if x not in self.begins:
            op = x.op
            assert op is not None
            operands = [v for v in map(self._begin, op.operands) if isinstance(v, Value)]
            again = Op(op.primitive, operands, op.attrs, (), [INT64], op.location)
            self.g.block.ops.append(again)
            self.begins[x] = again.result
        return self.begins[x]

    def _place(self, x: Dim | None) -> Value:
        """Return the place of an element in each iteration."""
        return self._row(x if isinstance(x, Value) else self.g.constant(x, INT64.dtype), ())

    def _index(self, op: Op) -> list[Entry]:
        """Return the place of an access in all iterations."""
        made: list[Entry] = []
        for e in index_of(op):
            numbers = [None if x is None else self._begin(x) for x in e]
            pace = self.loop.pace(e[0])
            made.append(Span(numbers[0], pace * self.way, self.length) if pace else type(e)(*numbers))
        return made
