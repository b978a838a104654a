"""Operands that only derivatives need are let go of.

`lu_solve` solves by factors and has the derivative of its matrix; `log_det_change` is a zero with a derivative;
`where_used` is a `select` of which zeros move. When a graph is optimised nothing is differentiated any more: the matrix
need not be kept, nor the zero computed.

In: a graph of which no derivative will be taken. Out: the same graph, which computes the same bits.
"""

from __future__ import annotations

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph
from jitgrad.graph.passes.rewriting import Replacements, blocks_within
from jitgrad.graph.primitive import PRIMITIVES

__all__ = ["drop_slopes"]


def drop_slopes(graph: Graph) -> bool:
    """Let ops take the factors of a matrix for the matrix itself, and zeros for what is 0."""
    replaced = Replacements()
    changed = False
    for block in blocks_within(graph):
        for op in list(block.ops):
            if op.name == "lu_solve" and op.operands[0] is not op.operands[1]:
                op.operands[0] = op.operands[1]
                changed = True
            elif op.name == "where_used":
                op.become(PRIMITIVES["select"])
                changed = True
            elif op.name == "log_det_change":
                g = Builder(Block(), op.location)
                replaced.add(op.result, g.constant(0, op.result.array.dtype))
                at = block.ops.index(op)
                block.ops[at : at + 1] = g.block.ops
    if replaced:
        replaced.everywhere(graph)
    return changed or bool(replaced)
