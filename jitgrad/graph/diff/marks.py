"""Marked zeros: masks of cotangents that are kept in the arrays themselves.

In: a builder and a cotangent. Out: the cotangent in the other of its two forms. An array that a program uses in parts
gets its cotangent part by part, and which parts were never used must be known where a slope upstream is infinite. A
mask beside the array would cost a second store for each; in the marked form -0.0 stands for what was not used and is no
other element's value: -0.0 is neutral in sums, x + 0.0 is never -0.0, nor is a sum of such numbers.
"""

from __future__ import annotations

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Value
from jitgrad.graph.ops.shape import broadcast_to, filled
from jitgrad.graph.primitive import Cot
from jitgrad.graph.types import Type

__all__ = ["mark", "unmark", "unused"]


def unused(g: Builder, type: Type) -> Value:
    """Return the marked cotangent of what is not used at all."""
    return filled(g, type, -0.0)


def mark(g: Builder, cot: Cot, moving: bool = False) -> Value:
    """Return a cotangent in the marked form; `moving` says that where its mask is false it may have a derivative."""
    value, mask = cot
    op, name = value.op, "where_used" if moving else "select"
    if op is not None and op.name == name and op.operands[0] is mask and op.operands[1].shape == value.shape:
        value = op.operands[1]  # the same mask is applied again below
    made: Value = g.add(value, 0.0)
    if mask is None:
        return made
    return g.emit(name, [broadcast_to(g, mask, value.shape), made, g.constant(-0.0, value.array.dtype)]).result


def unmark(g: Builder, value: Value) -> Cot:
    """Return a marked cotangent with a mask beside it."""
    return Cot(value, g.logical_not(g.is_negative_zero(value)))
