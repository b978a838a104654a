"""Dead code elimination, down to single carried values of loops and single results of ifs.

In: a graph. Out: the same graph without what nothing reads. Alive are what the graph yields, ops that may raise or do
input and output, and what these use; everything else goes, dead pure ops together with their loops and lists. A carried
position of a loop lives only if its result does or something alive uses its argument: so "build every residual, undo
every store, then delete what nobody reads" costs nothing in the end. Ops of effect "rng" alone go when unused.

Not removed: the graph's own arguments (the signature's) and stores whose array is read elsewhere.
"""

from __future__ import annotations

from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.passes.rewriting import KEPT_EFFECTS, blocks_within, drop_positions

__all__ = ["dce"]


def dce(graph: Graph) -> bool:
    """Remove dead ops, dead carried values and dead results; linear in the number of ops."""
    if any(op.regions for op in graph.ops):
        kept, live = _mark(graph)
        return _sweep(graph, kept, live)
    ops = _straight_line(graph)
    changed = len(ops) != len(graph.ops)
    graph.ops = ops
    return changed


def _straight_line(graph: Graph) -> list[Op]:
    """Return the ops that stay where none has regions: their order is enough."""
    kept = []
    live = set(graph.yields)
    for op in reversed(graph.ops):
        if live.isdisjoint(op.results) and not op.primitive.effects & KEPT_EFFECTS:
            continue
        kept.append(op)
        live.update(op.operands)
        for result in op.results:
            live.update(result.type.run_time)
    kept.reverse()
    return kept


def _mark(graph: Graph) -> tuple[set[Op], set[Value]]:
    parent: dict[Block, Op] = {}
    home: dict[Op, Block] = {}
    effects: list[tuple[Op, Block]] = []
    for block in blocks_within(graph):
        for op in block.ops:
            if op.regions:
                home[op] = block
                for region in op.regions:
                    parent[region] = op
            if op.primitive.effects and op.primitive.effects & KEPT_EFFECTS:
                effects.append((op, block))

    kept: set[Op] = set()
    live: set[Value] = set()
    work: list[Value] = list(graph.yields)

    def keep(op: Op) -> None:
        """Keep an op with what it needs whichever of its results are used."""
        if op in kept:
            return
        kept.add(op)
        if not op.regions:
            work.extend(op.operands)
            for result in op.results:
                work.extend(result.type.run_time)
        elif op.name == "while":
            work.append(op.regions[0].yields[0])
        else:
            work.append(op.operands[0])

    for op, block in effects:
        keep(op)
        while block in parent and parent[block] not in kept:
            keep(parent[block])
            block = home[parent[block]]
    while work:
        value = work.pop()
        if value in live:
            continue
        live.add(value)
        if value.type.run_time:
            work.extend(value.type.run_time)
        owner, index = value.owner, value.index
        if type(owner) is not Op:
            loop = parent.get(owner)  # type: ignore[arg-type]
            if loop is not None and (loop.name == "while" or index > 0):
                work.append(loop.results[index - (loop.name == "for")])
            continue
        if owner not in kept:
            keep(owner)
        if not owner.regions:
            continue
        if owner.name == "if":
            work.extend(region.yields[index] for region in owner.regions)
        elif owner.name == "for":
            (body,) = owner.regions
            work += (owner.operands[index + 1], body.args[index + 1], body.yields[index])
        elif owner.name == "while":
            cond, body = owner.regions
            work += (owner.operands[index], cond.args[index], body.args[index], body.yields[index])
    return kept, live


def _sweep(graph: Graph, kept: set[Op], live: set[Value]) -> bool:
    changed = False
    work: list[Block] = [graph]
    while work:
        block = work.pop()
        ops = [op for op in block.ops if op in kept]
        if len(ops) != len(block.ops):
            block.ops = ops
            changed = True
        for op in ops:
            if op.regions:
                dead = [i for i, result in enumerate(op.results) if result not in live]
                if dead:
                    drop_positions(op, set(dead))
                    changed = True
                work.extend(op.regions)
    return changed
