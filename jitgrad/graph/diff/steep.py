"""Which cotangents need a mask because a program uses only a part of an array.

In: a block and its active values. Out: two sets. A value is steep if it was computed from one whose slope may be
infinite (`Partials.steep`): a cotangent that is an exact zero must say so on its way there, lest it be multiplied by
infinity. Of the steep ones, those are parted whose cotangent may be zero in places: what is read in parts, or stored
over, and all that flows there. Both sets are empty for programs without such slopes, which pay nothing.
"""

from __future__ import annotations

from jitgrad.graph.diff.activity import edges_within, reach
from jitgrad.graph.ir import Block, Value
from jitgrad.graph.primitive import Partials

__all__ = ["steep_values"]

# Ops that use a part of their first operand.
_PARTS = frozenset({"gather", "load", "scatter", "store"})


def steep_values(block: Block, active: set[Value]) -> tuple[set[Value], set[Value]]:
    """Return the steep values among the active ones, and those of them that are parted."""
    roots: list[Value] = []
    parts: list[Value] = []
    nested = False
    for op in block.walk():
        derivative = op.primitive.derivative
        if isinstance(derivative, Partials):
            if derivative.steep is not None and op.result in active and derivative.steep(op):
                roots.append(op.result)
        elif op.regions:
            nested = True
        elif op.primitive.name in _PARTS and op.operands[0] in active:
            parts.append(op.operands[0])
    if not roots or not (parts or nested):
        return set(), set()
    after, before = edges_within(block)
    steep = reach(after, roots) & active
    return steep, reach(before, parts) & steep
