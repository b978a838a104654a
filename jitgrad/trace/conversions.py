"""Numbers that a loop carries as what its first trip makes of them: whether that trip computes the same with them.

`s = 0.0` is a float32 after `s = s + a[i]`. It may be one from the start, as Python's number is rounded where it meets
the array; but in `s = (s + 0.1) * 3.0 + a[i]` Python computes with 64 bits before that. In: what such numbers are at
the head of a loop, and its body. Out: yes, or perhaps not.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from jitgrad.graph.ir import Block, Op, Value
from jitgrad.graph.passes.rewriting import blocks_within

__all__ = ["are_rounded_first"]

# What hands a number on as it is, or but for its sign.
_ALIKE = frozenset({"absolute", "broadcast", "negative", "select"})
# What rounds Python's numbers to the type of the other operand.
_MEETINGS = frozenset(
    {"add", "divide", "equal", "greater", "greater_equal", "less", "less_equal", "maximum", "minimum", "multiply",
     "not_equal", "power", "subtract"}
)  # fmt: skip


def are_rounded_first(numbers: Iterable[Value], body: Block) -> bool:
    """Whether Python's numbers, which the head has in another type, meet numbers of that type before all else."""
    uses: dict[Value, list[Op]] = {}
    ends: dict[Value, list[tuple[Block, int]]] = {}
    around: dict[Block, Op] = {}
    for block in blocks_within(body):
        for op in block.ops:
            around.update(dict.fromkeys(op.regions, op))
            for v in op.operands:
                uses.setdefault(v, []).append(op)
        for k, v in enumerate(block.yields):
            ends.setdefault(v, []).append((block, k))
    alike = list(dict.fromkeys(numbers))
    meetings: list[tuple[Op, Value]] = []
    for v in alike:  # grows meanwhile
        found: list[Value] = []
        for op in uses.get(v, ()):
            if op.name in _ALIKE:
                found.append(op.result)
            elif op.name in ("for", "while"):
                skip = op.name == "for"
                for k in [k - skip for k, x in enumerate(op.operands) if x is v]:
                    found += [op.results[k], *(r.args[k + skip] for r in op.regions)]
            elif op.name in _MEETINGS:
                meetings.append((op, v))
            elif not _keeps(op, v):
                return False
        for block, k in ends.get(v, ()):
            if block is body:
                return False
            if around[block].name == "if":
                found.append(around[block].results[k])
        alike += [x for x in found if x not in alike]
    return all(_is_rounding(op, v, alike) for op, v in meetings)


def _keeps(op: Op, v: Value) -> bool:
    """Whether an op takes the very number."""
    if op.name == "cast":
        return bool(np.can_cast(v.array.dtype, op.result.array.dtype))
    return op.name in ("addto", "store") and op.operands[1] is v


def _is_rounding(op: Op, v: Value, alike: list[Value]) -> bool:
    """Whether what a number meets has its type, and is none of Python's."""
    for other in op.operands:
        while other.op is not None and other.op.name == "broadcast":
            other = other.op.operands[0]
        ours = other in alike or (other.op is not None and other.op.name in ("cast", "constant"))
        if other is not v and ours:
            return False
    return op.operands.count(v) == 1
