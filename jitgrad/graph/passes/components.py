"""Points are taken apart: arrays whose last axis is short become one array for each position on it.

Positions in space, `p` of shape (n, 3), meet numbers of pairs, `np.sum(d * d, axis=-1)` or `w[:, :, None] * d`, and the
short axis is the innermost of every nest: no vector is filled, and each number of a pair is a nest of its own. As three
arrays of shape (n, n) the same ops run along the long axes and fuse into one nest.

What is taken apart are elementwise ops, changes of shape that keep the last axis, and sums over other axes; a sum over
the short axis adds up components. A value that something else makes is turned (`relayout`) and read row by row;
a result of a sum that something else wants is put together again, and what is wanted whole for other reasons stays so.

In: a graph in its final form but for this. Out: the same graph; sums over the short axis are taken in its order. Only
where the arrays in the middle are larger than those at the edges, and some op mixes components with whole numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.index import Pick, Span, load, store
from jitgrad.graph.ops.shape import broadcast_to, reshape_to, split_shape
from jitgrad.graph.passes.rewriting import blocks_within
from jitgrad.graph.types import ArrayType

__all__ = ["take_apart"]

# The longest axis that is taken apart, and the least number of elements in the middle.
_LONGEST, _LEAST = 4, 256
# The guess of a size.
_UNKNOWN = 64

# How the components of a reduction over the short axis are joined.
_JOINS = {
    "norm2": "add",
    "reduce_and": "logical_and",
    "reduce_marked": "add",
    "reduce_max": "maximum",
    "reduce_min": "minimum",
    "reduce_or": "logical_or",
    "reduce_prod": "multiply",
    "reduce_sum": "add",
}


def take_apart(graph: Graph) -> bool:
    """Take apart the arrays for which it pays."""
    changed = False
    for block in blocks_within(graph):
        for count in {_short(v) for op in block.ops for v in op.results} - {0}:
            middle = _Middle(block, count)
            if middle.pays():
                middle.rewrite()
                changed = True
    return changed


def _short(value: Value) -> int:
    """Return the length of a value's last axis if it is one to take apart, 0 for none."""
    if not isinstance(value.type, ArrayType) or value.type.rank < 2:
        return 0
    last = value.shape[-1]
    return last if isinstance(last, int) and 2 <= last <= _LONGEST else 0


def _size(value: Value) -> float:
    return math.prod(d if isinstance(d, int) else _UNKNOWN for d in value.shape)


def _has_last(value: Value, count: int) -> bool:
    return bool(value.shape) and value.shape[-1] == count


class _Middle:
    """The values of a block that are taken apart.

    Attributes
    ----------
    apart : set of Value
    whole : set of Value
        Those of them that are put together again, for other users.
    """

    def __init__(self, block: Block, count: int) -> None:
        self.block = block
        self.count = count
        found = {op.results[0] for op in block.ops if self._keeps_last(op)}
        needed = self._needed_whole(found)
        self.whole = {v for v in needed if _is_reduction(v)}
        self.apart = found - (needed - self.whole)

    def _keeps_last(self, op: Op) -> bool:
        """Whether components of the result come from those of the operands."""
        if len(op.results) != 1 or _short(op.results[0]) != self.count:
            return False
        if op.primitive.scalar is not None or op.name == "broadcast":
            return True
        x = op.operands[0] if op.operands else None
        if x is None or not isinstance(x.type, ArrayType) or not _has_last(x, self.count):
            return False
        if op.name == "transpose":
            return bool(op.attrs["permutation"][-1] == x.type.rank - 1)
        return op.name == "reshape" or (op.name in _JOINS and op.attrs["axes"][-1:] != (x.type.rank - 1,))

    def _joins(self, op: Op, values: set[Value]) -> bool:
        """Whether an op reduces over the short axis of one of some values."""
        return op.name in _JOINS and op.operands[0] in values and op.operands[0].array.rank - 1 in op.attrs["axes"]

    def _needed_whole(self, found: set[Value]) -> set[Value]:
        """Return the values that something else uses, and those of which they are computed element by element."""
        needed = {v for v in self.block.yields if v in found}
        for op in self.block.ops:
            inner = [v for r in op.regions for b in blocks_within(r) for v in _used(b)]
            if not (op.results and op.results[0] in found) and not self._joins(op, found):
                needed.update(v for v in op.operands if v in found)
            needed.update(v for v in inner if v in found)
        for op in reversed(self.block.ops):
            if op.results and op.results[0] in needed and not _is_reduction(op.results[0]):
                needed.update(v for v in op.operands if v in found)
        return needed

    def pays(self) -> bool:
        """Whether the arrays in the middle outweigh those at the edges, and components meet whole numbers."""
        if not self.apart:
            return False
        mixed = False
        edges = {v: _size(v) for v in self.whole}
        for op in self.block.ops:
            if self._joins(op, self.apart):
                mixed = True
            elif op.results and op.results[0] in self.apart:
                for v in op.operands:
                    if _has_last(v, self.count):
                        if v not in self.apart:
                            edges[v] = _size(v)
                    elif v.shape and op.name != "reshape":
                        mixed = True
        middle = sum(map(_size, self.apart))
        return mixed and middle >= max(_LEAST, sum(edges.values()))

    # --- rewriting

    def rewrite(self) -> None:
        """Put components in the place of what is taken apart."""
        self.parts: dict[Value, list[Value]] = {}
        old, self.block.ops = self.block.ops, []
        g = self.g = Builder(self.block)
        for op in old:
            g.location = op.location
            if op.results and op.results[0] in self.apart:
                result = op.results[0]
                self.parts[result] = [self._component(op, c) for c in range(self.count)]
                if result in self.whole:
                    self._put_together(result)
            elif self._joins(op, self.apart):
                self._join(op)
            else:
                self.block.ops.append(op)

    def _part(self, value: Value, c: int) -> Value:
        """Return a component of an operand, which may have one number for all components."""
        if not value.shape:
            return value
        if not _has_last(value, self.count):
            return reshape_to(self.g, value, value.shape[:-1])
        if value not in self.parts:
            g = self.g
            if value.array.rank == 1:
                self.parts[value] = [load(g, value, [Pick(k)]) for k in range(self.count)]
            else:
                turned = g.relayout(value, split=value.array.rank - 1)
                rest = [Span(0, 1, d) for d in turned.shape[1:]]
                self.parts[value] = [load(g, turned, [Pick(k), *rest]) for k in range(self.count)]
        return self.parts[value][c]

    def _component(self, op: Op, c: int) -> Value:
        g = self.g
        shape = op.result.shape[:-1]
        if op.primitive.scalar is not None:
            made = g.emit(op.name, [self._part(v, c) for v in op.operands], dict(op.attrs)).result
            return broadcast_to(g, made, shape)
        x = self._part(op.operands[0], c)
        if op.name == "broadcast":
            return broadcast_to(g, x, shape)
        if op.name == "reshape":
            return reshape_to(g, x, shape)
        if op.name == "transpose":
            return g.emit("transpose", [x], {"permutation": op.attrs["permutation"][:-1]}).result
        return g.emit(op.name, [x], dict(op.attrs)).result

    def _join(self, op: Op) -> None:
        """Emit a reduction over the short axis, and perhaps others, as one of the components."""
        g = self.g
        x = op.operands[0]
        axes = tuple(a for a in op.attrs["axes"] if a != x.array.rank - 1)
        name = op.name
        parts = [self._part(x, c) for c in range(self.count)]
        if name == "norm2":
            parts, name = [g.multiply(p, p) for p in parts], "reduce_sum"
        if name == "reduce_sum" and not axes and x.type.is_float:
            parts[0] = g.add(parts[0], g.constant(0.0, x.array.dtype))  # a sum of -0.0 is 0.0
        if axes:
            parts = [g.emit(name, [p], {"axes": axes}).result for p in parts]
        joined: Callable[[Value, Value], Value] = lambda a, b: g.emit(_JOINS[op.name], [a, b]).result  # noqa: E731
        total = reduce(joined, parts)
        if op.name == "norm2":
            total = g.sqrt(total)
        self._becomes(op.result, total)

    def _put_together(self, value: Value) -> None:
        g = self.g
        attr, dims = split_shape(value.shape)
        total = g.emit("undef", dims, {"shape": attr, "dtype": value.array.dtype}).result
        rest: Sequence[Span] = [Span(0, 1, d) for d in value.shape[:-1]]
        for c, part in enumerate(self.parts[value]):
            total = store(g, total, part, [*rest, Pick(c)])
        self._becomes(value, total)

    def _becomes(self, old: Value, new: Value) -> None:
        """Let the op that made a new value make the old one instead."""
        op = new.op
        assert op is not None and op.results == [new]
        op.results = [old]
        old.owner, old.index = op, 0


def _is_reduction(value: Value) -> bool:
    return value.op is not None and value.op.name in _JOINS


def _used(block: Block) -> list[Value]:
    return [*(v for op in block.ops for v in op.operands), *block.yields]
