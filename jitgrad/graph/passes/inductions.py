"""Numbers that a loop counts up are sums of its index.

    c = 7; for k in range(n): ...; c = c + 2        c in iteration k is 7 + 2 * k, and 7 + 2 * n behind the loop

The way back through nested loops reads tapes by such cursors. As a sum of the index it is known where the next
iteration reads, and the loop carries one number less.

In: a graph. Out: the same graph, which computes the same bits: integers wrap alike in sums and products.
"""

from __future__ import annotations

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.passes.rewriting import Replacements, blocks_within, drop_positions
from jitgrad.graph.types import INT64

__all__ = ["sums_of_indices"]


def sums_of_indices(graph: Graph) -> bool:
    """Let no `for` carry an integer to which it adds a constant."""
    replaced = Replacements()
    blocks = blocks_within(graph)
    for block in blocks:
        for loop in [op for op in block.ops if op.name == "for"]:
            steps = {k: step for k in range(len(loop.results)) if (step := _step(loop, k)) is not None}
            for k, step in steps.items():
                _replace(block, loop, k, step, replaced)
            if steps:
                drop_positions(loop, set(steps))
    if not replaced:
        return False
    replaced.everywhere(graph)
    return True


def _step(loop: Op, position: int) -> int | None:
    """Return what an iteration adds to the integer that the loop carries at a position."""
    (body,) = loop.regions
    arg, op = body.args[position + 1], body.yields[position].op
    if arg.type != INT64 or op is None or op.name not in ("add", "subtract") or op.operands[0] is not arg:
        return None
    by = op.operands[1].op
    if by is None or by.name != "constant":
        return None
    step = int(by.attrs["value"])
    return step if op.name == "add" else -step


def _replace(block: Block, loop: Op, position: int, step: int, replaced: Replacements) -> None:
    (body,) = loop.regions
    trips, first = loop.operands[0], loop.operands[position + 1]
    g = Builder(Block(), loop.location)
    replaced.add(body.args[position + 1], _sum(g, first, body.args[0], step))
    body.ops[:0] = g.block.ops
    g.block = Block()
    count = trips.op.attrs["value"] if trips.op is not None and trips.op.name == "constant" else None
    if count is None or count < 0:
        trips = g.maximum(trips, g.constant(0, INT64.dtype))
    replaced.add(loop.results[position], _sum(g, first, trips, step))
    at = block.ops.index(loop) + 1
    block.ops[at:at] = g.block.ops


def _sum(g: Builder, first: Value, count: Value, step: int) -> Value:
    made: Value = g.add(first, g.multiply(count, g.constant(step, INT64.dtype)))
    return made
