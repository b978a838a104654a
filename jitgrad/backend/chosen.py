"""Stores of what may lie in the very array that is stored into, as earlier branches chose.

In: a graph. Out: the same graph, in which such a value is copied before the store: `a[1:] = (a if c else b)[:-1]` must
read all of it before it writes any. A branch that hands on an array from outside copies nothing, so that its result may
be that array's memory; who asks whether a store reads what it writes asks for the array alone (`structure.overlaps`).
This room knows no buffer.
"""

from __future__ import annotations

from jitgrad.backend.structure import fusable, is_scalar
from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.memory import Span, store
from jitgrad.graph.ops.shape import split_shape

__all__ = ["copied", "save_chosen"]

# Which operands are read while the array is written.
_STORED = {"addto": (1,), "matmul_into": (1, 2), "scatter": (1,), "scatter_add": (1,), "store": (1,)}


def save_chosen(graph: Graph) -> None:
    """Copy what a store reads if that may be what it writes."""
    if not any(op.name == "if" for op in graph.walk()):
        return
    pending: list[Block] = [graph]
    while pending:
        block = pending.pop()
        for op in list(block.ops):
            pending += op.regions
            for k in _STORED.get(op.name, ()):
                if not is_scalar(op.operands[k]) and _reads_chosen(op.operands[k]):
                    g = Builder(Block(), op.location)
                    op.operands[k] = copied(g, op.operands[k])
                    at = block.ops.index(op)
                    block.ops[at:at] = g.block.ops


def copied(g: Builder, value: Value) -> Value:
    """Return a copy of an array, in memory of its own."""
    shape, dims = split_shape(value.shape)
    memory = g.undef(*dims, shape=shape, dtype=value.array.dtype)
    return store(g, memory, value, [Span(0, 1, d) for d in value.shape])


def _reads_chosen(value: Value) -> bool:
    """Whether computing a value where it is stored may read an array that a branch handed on."""
    stack, seen = [value], set()
    while stack:
        v = stack.pop()
        if v.op is None or is_scalar(v) or v in seen:
            continue
        seen.add(v)
        if v.op.name == "if":
            if _is_from_outside(v.op, v.index):
                return True
        elif fusable(v.op):
            stack += v.op.operands
    return False


def _is_from_outside(op: Op, position: int) -> bool:
    """Whether an arm of a branch hands on an array that it has not made."""
    for region in op.regions:
        made = region.yields[position]
        if made.op is None or made.op not in region.ops:
            return True
        if made.op.name == "if" and _is_from_outside(made.op, made.index):
            return True
    return False
