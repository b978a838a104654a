"""Quotients whose rounding is ours.

A derivative divides again and again by one divisor: a quotient x / y alone by y three times. No user wrote these
divisions, so that they may become products with one reciprocal. In: a graph that holds a derivative, and which of its
ops are the program's own. Out: the attribute `any_rounding` at the divisions that may be off by some units in the last
place, and at no other: where a comparison, an integer or a jump depends on a quotient, its bits are meant, since a
branch that is decided twice, forwards and backwards, must be decided alike.
"""

from __future__ import annotations

from collections.abc import Collection

from jitgrad.graph.diff.activity import derivative_operands, edges_within, reach
from jitgrad.graph.diff.cancellation import constant_of
from jitgrad.graph.ir import Block, Op, Value

__all__ = ["mark_quotients"]

# Float functions of floats that jump.
_JUMPS = frozenset({"ceil", "copysign", "floor", "floor_divide", "fmod", "remainder", "rint", "sign", "trunc"})


def mark_quotients(block: Block, own: Collection[Op]) -> None:
    """Mark the divisions of a derivative, and unmark those whose bits decide something.

    Parameters
    ----------
    block : Block
    own : collection of Op
        Ops of the block, not of regions in it, that are the program's.
    """
    free: list[Op] = []
    for op in block.ops:
        for inner in (op, *(o for region in op.regions for o in region.walk())):
            if inner.name == "divide" and (op not in own or "any_rounding" in inner.attrs):
                free.append(inner)
    if not free:
        return
    roots = [v for op in block.walk() for v in _decisive(op)]
    exact = reach(edges_within(block)[1], roots) if roots else set()
    # A number over y stays one division where nothing else is divided by y.
    shared = {op.operands[1] for op in free if op.result not in exact and constant_of(op.operands[0]) in (None, 1.0)}
    for op in free:
        alone = constant_of(op.operands[0]) not in (None, 1.0) and op.operands[1] not in shared
        if op.result in exact or alone:
            op.attrs.pop("any_rounding", None)
        elif op.result.type.is_float:
            op.attrs["any_rounding"] = True


def _decisive(op: Op) -> list[Value]:
    """Return the floats on which an op depends otherwise than smoothly.

    Whether a cotangent is marked as not used (`marks.py`) is no such thing: no other rounding makes it -0.0.
    """
    if op.regions or op.name == "is_negative_zero":
        return []
    floats = [v for v in op.operands if v.type.is_float]
    if not floats or op.name in _JUMPS or not any(r.type.is_float for r in op.results):
        return floats
    smooth = {op.operands[i] for i in derivative_operands(op)}
    return [v for v in floats if v not in smooth]
