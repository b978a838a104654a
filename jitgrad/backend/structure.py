"""Structural facts about ops that scheduling, bufferisation and emission share.

In: graph ops and values. Out: which ops can be evaluated where they are used, which only address memory, which consume
the buffer of an operand, what a region captures. This room decides nothing and knows no LLVM.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set

import numpy as np

from jitgrad.graph.ir import Block, Op, Value
from jitgrad.graph.ops.index import Entry, Pick, Span, index_of
from jitgrad.graph.types import ArrayType, Dim

__all__ = [
    "CONSUMERS", "OF_ROUTINES", "SHORT", "Captures", "constant_number", "consumed", "dims_of", "dynamic", "extent",
    "fusable", "in_step", "is_scalar", "overlaps", "same_map", "touches", "unit_reshape",
]  # fmt: skip

# Ops that take over the buffer of their first operand where nothing else needs it any more.
CONSUMERS = frozenset(
    {
        "store", "addto", "scatter", "scatter_add", "matmul_into", "list_push", "list_pop", "list_set", "list_addto",
    }
)  # fmt: skip

# Operands that routines of BLAS and LAPACK read, which must lie in memory as they can.
OF_ROUTINES = {"lu_solve": (1, 2), "matmul": (0, 1), "matmul_into": (1, 2), "triangular_solve": (0,)}

# Extrema of lines as short as this are found one by one, without memory.
SHORT = 8

# Ops on a part of an array, with the number of operands before those that say where it is.
_PARTS = {"load": 1, "store": 2, "addto": 2, "matmul_into": 3}
_SHAPE_OPS = frozenset({"broadcast", "reshape", "transpose", "load", "iota", "gather", "surround"})


def is_scalar(value: Value) -> bool:
    """Whether a value lives in a register."""
    return isinstance(value.type, ArrayType) and not value.type.shape


def fusable(op: Op) -> bool:
    """Whether an element of the result can be computed from the indices wherever it is used."""
    if op.primitive.scalar is not None or op.name in _SHAPE_OPS:
        return True
    return op.name == "constant" and constant_number(op) is not None


def constant_number(op: Op) -> np.generic | None:
    """Return the number that every element of a constant is, None where they differ."""
    value: np.ndarray = op.attrs["value"]
    if value.size == 0:
        return value.dtype.type(0)
    first = value.flat[0]
    if value.size == 1:
        return first
    # Compare bits, so that NaN equals itself and -0.0 differs from 0.0.
    raw = np.ascontiguousarray(value).view(np.uint8).reshape(value.size, -1)
    return first if bool((raw == raw[0]).all()) else None


def _squeezed(shape: Sequence[Dim]) -> list[Dim]:
    """Return a shape without its ones."""
    return [d for d in shape if not (isinstance(d, int) and d == 1)]


def extent(value: Value) -> int:
    """Return the number of dimensions of an array that are not known to be one."""
    return len(_squeezed(value.shape))


def unit_reshape(op: Op) -> bool:
    """Whether a reshape only adds or drops dimensions of one."""
    return _squeezed(op.operands[0].shape) == _squeezed(op.result.shape)


def dims_of(value: Value) -> tuple[Value, ...]:
    """Return the run-time dimensions in the type of a value."""
    return value.type.run_time


def same_map(op: Op, operand: Value) -> bool:
    """Whether element i of the result needs exactly element i of the operand."""
    if op.primitive.scalar is not None:
        return operand.shape == op.result.shape
    return False


class Captures:
    """What regions use from outside and what they do, found once for all blocks.

    Attributes
    ----------
    effects : set of Op
        Ops with an effect, in their regions too.
    """

    def __init__(self, block: Block) -> None:
        self._of: dict[Block, dict[Value, None]] = {}
        self.effects: set[Op] = set()
        self._visit(block)

    def of(self, op: Op) -> list[Value]:
        """Return the values that the regions of an op use and do not define, in order of first use."""
        found: dict[Value, None] = {}
        for region in op.regions:
            found |= self._of[region]
        return list(found)

    def _visit(self, block: Block) -> dict[Value, None]:
        used: dict[Value, None] = {}
        defined: set[Value] = set(block.args)
        for arg in block.args:
            used.update(dict.fromkeys(dims_of(arg)))
        for op in block.ops:
            used.update(dict.fromkeys(op.operands))
            active = bool(op.primitive.effects)
            for region in op.regions:
                used.update(self._visit(region))
                active = active or any(inner in self.effects for inner in region.ops)
            if active:
                self.effects.add(op)
            defined.update(op.results)
            for result in op.results:
                if dims := dims_of(result):
                    used.update(dict.fromkeys(dims))
        used.update(dict.fromkeys(block.yields))
        self._of[block] = {v: None for v in used if v not in defined}
        return self._of[block]


def dynamic(op: Op) -> bool:
    """Whether an op touches memory at a run-time position or of a run-time size."""
    if op.name in _PARTS:
        return len(op.operands) > _PARTS[op.name]
    if op.name in ("gather", "scatter", "scatter_add") or op.name.startswith("list_") or op.regions:
        return True
    return any(dims_of(r) for r in op.results)


def touches(v: Value, base: Value, stored: Set[Value]) -> bool:
    """Whether evaluating v where it is used could read base."""
    stack = [v]
    while stack:
        x = stack.pop()
        if x is base:
            return True
        if x.op is not None and fusable(x.op) and not is_scalar(x) and x not in stored:
            stack.extend(x.op.operands)
    return False


def in_step(one: Sequence[Entry], other: Sequence[Entry]) -> bool:
    """Whether element i of a part of an array can be no element of another part but its element i.

    Rows of a matrix are in step, of the same columns: they are one row, or have no element in common.
    """
    return all(x == y or (isinstance(x, Pick) and isinstance(y, Pick)) for x, y in zip(one, other, strict=True))


def _is_whole(index: Sequence[Entry], array: Value) -> bool:
    """Whether an index names all elements of an array, in their order."""
    return all(isinstance(e, Span) and e == Span(0, 1, n) for e, n in zip(index, array.shape, strict=True))


def overlaps(store: Op, v: Value, apart: Callable[[Op, Op], bool]) -> bool:
    """Whether evaluating v while it is stored may read an element that has been written already.

    Parameters
    ----------
    store : Op
    v : Value
    apart : callable
        Whether a store and a load of one array are known to have no element in common.
    """
    base = store.operands[0]
    here = index_of(store)
    stack = [(v, True)]
    while stack:
        x, straight = stack.pop()
        if x is base:
            if not (straight and _is_whole(here, base)):
                return True
            continue
        if x.op is None or not fusable(x.op) or is_scalar(x):
            continue
        if x.op.name == "load" and x.op.operands[0] is base:
            if not (straight and in_step(index_of(x.op), here)) and not apart(store, x.op):
                return True
            continue
        stack.extend((o, straight and same_map(x.op, o)) for o in x.op.operands)
    return False


def consumed(op: Op, captures: Captures) -> list[Value]:
    """Return the values whose buffers an op takes over where it may."""
    if op.name in CONSUMERS:
        return [op.operands[0]]
    if op.name in ("for", "while"):
        return [v for v in op.operands if not is_scalar(v)]
    if op.name == "if":
        found: dict[Value, None] = {}
        outside = set(captures.of(op))
        for region in op.regions:
            for inner in region.ops:
                found |= {v: None for v in consumed(inner, captures) if v in outside}
        return list(found)
    return []
