"""Quotients, products and powers whose rounding is ours.

A derivative divides again and again by one divisor: a quotient x / y alone by y three times. No user wrote these
divisions, so that they may become products with one reciprocal; nor the products of cotangents, so that one whose
result is added may be rounded once, with the sum; nor the powers with small exponents, which may be products. In: a
graph that holds a derivative, and which of its ops are the program's own or repeat those. Out: the attribute
`any_rounding` at the others, and at none where a comparison, an integer or a jump depends on the result: there its bits
are meant, since a branch that is decided twice, forwards and backwards, must be decided alike. Nor where a root, a
logarithm or a division follows, which what was exactly zero must reach as a zero: sqrt(1 - x / y) has an infinite slope
at x == y, and none where the quotient comes out above 1. Loops of a derivative get the attribute likewise:
`passes/recurrences.py` regroups what they carry.
"""

from __future__ import annotations

from collections.abc import Collection

from jitgrad.graph.diff.activity import derivative_operands, edges_within, reach
from jitgrad.graph.ir import Block, Op, Value

__all__ = ["mark_roundings"]

_FREE = frozenset({"divide", "multiply", "power"})
# The most frequent ops that depend smoothly on all floats they are given.
_SMOOTH = frozenset(
    {"add", "addto", "broadcast", "constant", "cos", "exp", "load", "negative", "sin", "store", "subtract"}
)


def mark_roundings(block: Block, own: Collection[Op], repeated: Collection[Op]) -> None:
    """Mark the quotients, products and powers of a derivative, and unmark those whose bits decide something.

    Parameters
    ----------
    block : Block
    own : collection of Op
        Ops of the block, not of regions in it, that are the program's.
    repeated : collection of Op
        Ops of any region that compute what the program has computed.
    """
    free: list[Op] = []
    loops: list[Op] = []
    roots: list[Value] = []
    pending = [([op for op in block.ops if op in own], True), ([op for op in block.ops if op not in own], False)]
    for ops, is_own in pending:
        for op in ops:
            name = op.primitive.name
            if name in _FREE:
                if "any_rounding" in op.attrs or not (is_own or (name == "multiply" and op in repeated)):
                    free.append(op)
                if name == "divide":
                    roots.append(op.operands[1])
                elif name == "power":
                    roots += op.operands
            elif name not in _SMOOTH:
                roots += _decisive(op)
                if name == "for" and (not is_own or "any_rounding" in op.attrs):
                    loops.append(op)
                pending += [(region.ops, is_own) for region in op.regions]
    if not free and not loops:
        return
    exact = reach(edges_within(block)[1], roots) if roots else set()
    for op in loops:
        op.attrs = {k: v for k, v in op.attrs.items() if k != "any_rounding"}
        if exact.isdisjoint((*op.results, *op.regions[0].yields)):
            op.attrs["any_rounding"] = True
    for op in free:
        result = op.results[0]
        if result in exact:
            op.attrs.pop("any_rounding", None)
        elif result.array.dtype.kind == "f":
            op.attrs["any_rounding"] = True


def _decisive(op: Op) -> list[Value]:
    """Return the floats on which an op depends otherwise than smoothly, or with slopes of any size.

    Whether a cotangent is marked as not used (`marks.py`) is no such thing here: which marks are asked for is known
    only after the passes (`passes/asked.py`).
    """
    if op.regions or op.name == "is_negative_zero":
        return []
    floats = [v for v in op.operands if v.type.is_float]
    if not floats or not any(r.type.is_float for r in op.results):
        return floats
    if op.primitive.is_elementwise and op.name not in ("select", "where_used"):
        return floats
    smooth = {op.operands[i] for i in derivative_operands(op)}
    return [v for v in floats if v not in smooth]
