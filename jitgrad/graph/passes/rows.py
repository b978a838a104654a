"""Loops over elements whose iterations meet nowhere work on rows.

    for j in range(n): d[i, j] = min(d[i, j], c + d[k, j])          d[i, :n] = minimum(d[i, :n], c + d[k, :n])

Both are one; but of rows the backend makes vectors itself, while loops over elements need LLVM's vectorisers, which
take longer than all else that is done to a program. Derivatives of loops are full of them: they add to each element of
an array what an iteration of the loop has read.

In: a graph in its final form but for this. Out: the same graph, with sums in another order where they may be. Only for
innermost loops of arithmetic on scalars, of a length that no other loop changes, in which what an iteration stores is
touched by no other iteration, and that carry nothing else but sums whose order is ours. Each op of the body becomes one
on rows, in the order of the body: no iteration can tell. A place that moves with the index along one axis is a part of
that axis; one that data give is gathered.
"""

from __future__ import annotations

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.index import Entry, Pick, Span, index_of, split_index
from jitgrad.graph.ops.shape import broadcast_to, split_shape
from jitgrad.graph.passes.accesses import carried_array
from jitgrad.graph.passes.rewriting import Replacements, blocks_within
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.places import is_element, move_alike, never_meet
from jitgrad.graph.passes.rules.ranges import Sum, another, as_sum, bound, emit_sum, sum_of
from jitgrad.graph.passes.survey import surveyed
from jitgrad.graph.types import INT64, ArrayType, Dim

__all__ = ["work_on_rows"]

_PLACED = frozenset({"addto", "load", "store"})
_STORES = frozenset({"addto", "store"})
_COSTLY = frozenset({"divide", "sqrt"})
# Loops of fewer iterations are no longer than what goes before and after a row.
_SHORT = 8
# Ops on rows that one nest does from registers.
_WEIGHT = 40


def work_on_rows(graph: Graph) -> bool:
    """Make array ops of the loops for which it can be done."""
    loops = [(block, op) for block in blocks_within(graph) for op in block.ops if _is_candidate(op)]
    if loops:
        repeated = _repeated(graph)
        loops = [(block, op) for block, op in loops if op.operands[0] not in repeated]
    if not loops:
        return False
    r = surveyed(graph)
    replaced = Replacements()
    for block, loop in loops:
        rows = _Rows(r, loop)
        if rows.are_free():
            at = block.ops.index(loop)
            results = rows.write()
            block.ops[at : at + 1] = rows.g.block.ops
            for old, new in zip(loop.results, results, strict=True):
                replaced.add(old, new)
    if not replaced:
        return False
    for block in blocks_within(graph):
        replaced.in_block(block)
        for op in block.ops:
            replaced.in_op(op)
        block.yields = replaced.in_values(block.yields)
    return True


def _repeated(graph: Graph) -> set[Value]:
    """Return what is made inside of loops and branches.

    Rows of another length each time are short ones too, and their ends take longer than all before.
    """
    regions = [b for op in graph.ops for region in op.regions for b in blocks_within(region)]
    return {v for b in regions for values in (b.args, *(op.results for op in b.ops)) for v in values}


def _is_candidate(loop: Op) -> bool:
    """Whether a loop holds nothing but arithmetic of scalars and what reads and writes elements, and is worth it."""
    if loop.name != "for":
        return False
    (body,) = loop.regions
    if len(body.ops) > _WEIGHT:
        return False
    worth = False
    for op in body.ops:
        if op.regions or op.primitive.effects:
            return False
        if op.name in _PLACED:
            if not all(isinstance(e, Pick) for e in op.attrs["index"]):
                return False
            worth |= op.name in _STORES
        elif op.name != "constant" and not op.primitive.is_elementwise:
            return False
        element = op.operands[1:2] if op.name in _STORES else op.results
        if any(not isinstance(v.type, ArrayType) or v.type.shape for v in element):
            return False
        worth |= op.name in _COSTLY
    return worth


class _Rows:
    """A loop on its way to be ops on rows.

    Parameters
    ----------
    r : Context
    loop : Op

    Attributes
    ----------
    g : Builder
        Writes the ops that take the place of the loop.
    """

    def __init__(self, r: Context, loop: Op) -> None:
        self.r = r
        self.loop = loop
        (self.body,) = loop.regions
        self.index = self.body.args[0]
        self.inside = {v for op in self.body.ops for v in op.results} | set(self.body.args)
        self.places = {op: self._place(op) for op in self.body.ops if op.name in _PLACED}
        self.g = Builder(Block(), loop.location)
        self.now: dict[Value, Value] = {}

    def _place(self, op: Op) -> list[Sum]:
        return [as_sum(self.r, e.at) for e in index_of(op) if isinstance(e, Pick)]

    def _is_data(self, op: Op) -> bool:
        """Whether a place is more than a sum of the index and numbers from outside."""
        return any(v in self.inside and v is not self.index for at in self.places[op] for v in at.terms)

    # --- whether it can be done

    def are_free(self) -> bool:
        """Whether the iterations may run side by side."""
        trips = sum_of(self.r, self.loop.operands[0])
        if bound(self.r, trips, 1) < _SHORT:
            return False
        self.runs = bound(self.r, trips, -1) >= 1
        if not all(self._is_free(k) for k in range(len(self.loop.results))):
            return False
        return all(self._is_row(op) for op in self.places)

    def _is_free(self, position: int) -> bool:
        """Whether no iteration needs what another one leaves at a position."""
        arg, end = self.body.args[position + 1], self.body.yields[position]
        if not isinstance(arg.type, ArrayType):
            return False
        if not arg.type.shape:
            return self._is_sum(arg, end)
        carried = carried_array(self.loop, position)
        if carried is None:
            return False
        stores = [access.op for access in carried.stores]
        accesses = {access.op: None for access in (*carried.loads, *carried.stores)}
        if any(map(self._is_data, accesses)):
            return False
        other = another(self.r, self.index)
        return all(
            move_alike(self.index, self.places[store], self.places[op])
            or never_meet(self.r, self.index, other, self.places[store], self.places[op])
            for store in stores
            for op in accesses
        )

    def _is_sum(self, arg: Value, end: Value) -> bool:
        """Whether iterations add to a number, in whatever order."""
        op = end.op
        if op is None or op.name != "add" or not op.attrs.get("any_order") or arg.array.dtype.kind != "f":
            return False
        return self.r.uses.get(arg) == self.r.uses.get(end) == 1 and arg in op.operands

    def _is_row(self, op: Op) -> bool:
        """Whether the elements that an op touches are a row, one element, or gathered from an array as it was."""
        place = self.places[op]
        if self._is_data(op):
            return op.name == "load" and op.operands[0] not in self.inside
        moving = sum(self.index in at.terms for at in place)
        if moving == 1:
            return True
        # An element that is not in range may be read in a loop that does not run.
        return (
            not moving and op.name == "load" and (self.runs or is_element(self.r, index_of(op), op.operands[0].shape))
        )

    # --- doing it

    def write(self) -> list[Value]:
        """Write the ops and return what stands for the results of the loop."""
        g = self.g
        trips, *inits = self.loop.operands
        literal = self.r.literal(trips)
        self.size: Dim = trips if literal is None else int(literal)
        if literal is None and bound(self.r, sum_of(self.r, trips), -1) < 0:
            self.size = g.maximum(trips, g.constant(0, INT64.dtype))
        attr, dims = split_shape((self.size,))
        self.now[self.index] = g.iota(*dims, dtype=INT64.dtype, shape=attr)
        self.now.update(zip(self.body.args[1:], inits, strict=True))
        ends = zip(self.body.args[1:], self.body.yields, strict=True)
        sums = {end.op: arg for arg, end in ends if not arg.array.shape}
        for op in self.body.ops:
            g.location = op.location
            if op in sums:
                self._add_up(op, sums[op])
            elif op.name in _STORES:
                self._store(op)
            elif op.name == "load":
                self.now[op.result] = self._load(op)
            else:
                self.now[op.result] = g.emit(op.name, [self._now(v) for v in op.operands], op.attrs).result
        return [self._now(y) for y in self.body.yields]

    def _now(self, value: Value) -> Value:
        """Return what a value of the body is, of all iterations."""
        return self.now.get(value, value)

    def _entries(self, op: Op) -> list[Entry]:
        entries: list[Entry] = []
        for at in self.places[op]:
            step = at.terms.get(self.index, 0)
            start = emit_sum(self.g, at.plus(Sum({self.index: step}), -1))
            entries.append(Span(start, step, self.size) if step else Pick(start))
        return entries

    def _load(self, op: Op) -> Value:
        array = self._now(op.operands[0])
        if self._is_data(op):
            return self._gather(array, [e.at for e in index_of(op) if isinstance(e, Pick)])
        attr, ints = split_index(self._entries(op))
        return self.g.emit("load", [array, *ints], {"index": attr}).result

    def _gather(self, array: Value, place: list[int | Value | None]) -> Value:
        at = [self._now(x) if isinstance(x, Value) else self.g.constant(x, INT64.dtype) for x in place]
        made: Value = self.g.gather(array, *at)
        return made

    def _store(self, op: Op) -> None:
        row = broadcast_to(self.g, self._now(op.operands[1]), (self.size,))
        attr, ints = split_index(self._entries(op))
        made = self.g.emit(op.name, [self._now(op.operands[0]), row, *ints], op.attrs | {"index": attr})
        made.result.name = op.result.name
        self.now[op.result] = made.result

    def _add_up(self, op: Op, arg: Value) -> None:
        (term,) = (v for v in op.operands if v is not arg)
        # What there is no term of stays what it is, -0.0 too.
        row = broadcast_to(self.g, self._now(term), (self.size,))
        self.now[op.result] = self.g.add(self._now(arg), self.g.reduce_marked(row, axes=(0,)), any_order=True)
