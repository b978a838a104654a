"""Sums whose order is ours.

A loop of a reverse program adds contributions to the cotangents that it carries. No user wrote these sums, so that they
may be regrouped, where those of the program keep their order; only so LLVM makes vectors of them. In: an op of the
reverse program. Out: the attribute `any_order` at the additions of such sums.
"""

from __future__ import annotations

from jitgrad.graph.ir import Block, Op, Value
from jitgrad.graph.passes.rewriting import blocks_within
from jitgrad.graph.types import ArrayType

__all__ = ["mark_sums"]


def mark_sums(op: Op) -> None:
    """Mark the sums of scalars that loops in an op carry, and of the op itself if it is a loop."""
    blocks = [block for region in op.regions for block in blocks_within(region)]
    uses: dict[Value, int] = {}
    for block in blocks:
        for v in (*(v for inner in block.ops for v in inner.operands), *block.yields):
            uses[v] = uses.get(v, 0) + 1
    for loop in (op, *(inner for block in blocks for inner in block.ops)):
        if loop.name == "for":
            (body,) = loop.regions
            for arg, end in zip(body.args[1:], body.yields, strict=True):
                for addition in _chain(body, arg, end, uses):
                    addition.attrs["any_order"] = True


def _chain(body: Block, arg: Value, end: Value, uses: dict[Value, int]) -> list[Op]:
    """Return the additions that lead from a carried scalar to what is handed on, if nothing else sees them."""
    if not isinstance(arg.type, ArrayType) or arg.shape or arg.type.dtype.kind != "f" or uses.get(arg) != 1:
        return []
    here = set(body.ops)
    found: list[Op] = []
    at = end
    while at is not arg:
        op = at.op
        if op is None or op not in here or op.name not in ("add", "subtract") or uses.get(at) != 1:
            return []
        found.append(op)
        # The sum so far is the operand that comes from the carried scalar; sums of new terms stand on the other side.
        first = op.name == "subtract" or _leads_to(op.operands[0], arg, here)
        at = op.operands[0] if first else op.operands[1]
    return found


def _leads_to(value: Value, arg: Value, here: set[Op]) -> bool:
    stack, seen = [value], {value}
    while stack:
        v = stack.pop()
        if v is arg:
            return True
        if v.op in here and v.op is not None and v.op.name in ("add", "subtract"):
            added = v.op.operands if v.op.name == "add" else v.op.operands[:1]
            new = [o for o in added if o not in seen]
            seen.update(new)
            stack += new
    return False
