"""What of a nest takes less code than vectors and a tail: whole memory, and tails that are narrow or run one by one.

In: a planned nest. Out: how it, or its tail, had better be written. Knows no LLVM.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jitgrad.backend.loops import Access, Node, Output, Sym
from jitgrad.backend.nesting import NestShape
from jitgrad.backend.steps import EXPENSIVE

__all__ = ["AS_BYTES", "moves", "runs_apart", "tail_width"]

# Bytes from which on a call of the C library is as fast as a loop.
AS_BYTES = 4096

# What the math library computes, in functions for each width that is asked for.
_CALLED = EXPENSIVE - {"divide", "sqrt", "gather"}


def moves(shape: NestShape, outputs: Sequence[Output]) -> tuple[Access, Access | None, int] | None:
    """Return target, source and number of bytes where all that a nest does is to copy, or to clear (no source)."""
    if len(shape.order) != 1 or len(outputs) != 1:
        return None
    (size,), (output,) = shape.sizes, outputs
    node, target = output.node, output.access
    if not isinstance(size, int) or target is None or output.reduction or target.dtype != node.dtype:
        return None
    bytes = size * target.dtype.itemsize
    if bytes < AS_BYTES or target.steps != [1]:
        return None
    if node.kind == "load" and not node.operands and node.access is not None and node.access.steps == [1]:
        return target, node.access, bytes
    if node.kind == "constant" and not np.asarray(node.payload).astype(node.dtype).tobytes().strip(b"\0"):
        return target, None, bytes
    return None


def tail_width(rest: Sym, width: int, nodes: Sequence[Sequence[Node]]) -> int:
    """Return how wide the vectors of a tail are: no wider than it takes, if nothing else must be that wide."""
    return width if not isinstance(rest, int) or _calls(nodes) else 1 << (rest - 1).bit_length()


def runs_apart(shape: NestShape, level: int, nodes: Sequence[Sequence[Node]], outputs: Sequence[Output]) -> bool:
    """Whether the loop at a level is innermost and touches elements that lie apart, and could run one by one.

    Lanes of a run-time tail that lie apart take a test each, so that one by one they are shorter.
    """
    if level < len(shape.order) or any(o.reduction for o in outputs) or _calls(nodes):
        return False
    dim = shape.order[level - 1]
    accesses = [n.access for some in nodes for n in some] + [o.access for o in outputs]
    gathers = any(n.kind == "gather" for n in nodes[level])
    return gathers or any(a is not None and a.steps[dim] not in (0, 1) for a in accesses)


def _calls(nodes: Sequence[Sequence[Node]]) -> bool:
    return any(n.kind == "apply" and n.payload.name in _CALLED for some in nodes for n in some)
