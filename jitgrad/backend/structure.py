"""Structural facts about ops that scheduling, bufferisation and emission share.

In: graph ops and values. Out: which ops can be evaluated where they are used, which only address memory, which consume
the buffer of an operand, what a region captures. This room decides nothing and knows no LLVM.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jitgrad.graph.ir import Block, Op, Value
from jitgrad.graph.types import ArrayType, Dim, ListType

__all__ = [
    "CONSUMERS", "REGIONS", "Captures", "constant_number", "dims_of", "fusable", "is_scalar", "same_map", "squeezed",
    "unit_reshape",
]  # fmt: skip

REGIONS = frozenset({"if", "for", "while"})

# Ops that take over the buffer of their first operand where nothing else needs it any more.
CONSUMERS = frozenset(
    {"store", "addto", "scatter", "scatter_add", "list_push", "list_pop", "list_set", "list_addto"}
)  # fmt: skip

_SHAPE_OPS = frozenset({"broadcast", "reshape", "transpose", "load", "iota", "gather"})


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


def squeezed(shape: Sequence[Dim]) -> list[Dim]:
    """Return a shape without its ones."""
    return [d for d in shape if not (isinstance(d, int) and d == 1)]


def unit_reshape(op: Op) -> bool:
    """Whether a reshape only adds or drops dimensions of one."""
    return squeezed(op.operands[0].shape) == squeezed(op.result.shape)


def dims_of(value: Value) -> list[Value]:
    """Return the run-time dimensions in the type of a value."""
    array = value.type.element if isinstance(value.type, ListType) else value.type
    return [d for d in array.shape if not isinstance(d, int)]


def same_map(op: Op, operand: Value) -> bool:
    """Whether element i of the result needs exactly element i of the operand."""
    if op.primitive.scalar is not None:
        return operand.shape == op.result.shape
    return False


class Captures:
    """What regions use from outside, found once for all blocks."""

    def __init__(self, block: Block) -> None:
        self._of: dict[Block, dict[Value, None]] = {}
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
            used |= dict.fromkeys(dims_of(arg))
        for op in block.ops:
            used |= dict.fromkeys(op.operands)
            for region in op.regions:
                used |= self._visit(region)
            for result in op.results:
                defined.add(result)
                used |= dict.fromkeys(dims_of(result))
        used |= dict.fromkeys(block.yields)
        self._of[block] = {v: None for v in used if v not in defined}
        return self._of[block]
