"""Dropping what a derivative turned out not to need.

In: a graph. Out: the same graph without dead ops, without carried values and results of regions that nothing reads, one
position at a time. Ops with effects stay, once and in order. Reverse mode builds tapes and restored arrays before it
knows who reads them; this sweep makes that free.
"""

from __future__ import annotations

from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.types import ListType

__all__ = ["sweep"]


def sweep(graph: Graph) -> set[Op]:
    """Remove dead code in place and return the ops that stay; linear in the size of the graph."""
    return _Sweep(graph).running


class _Sweep:
    def __init__(self, graph: Graph) -> None:
        self.live: set[Value] = set()
        self.running: set[Op] = set()  # ops that must stay
        self.pending: list[Value] = []
        self.outer: dict[Block, Op] = {}
        self.block_of: dict[Op, Block] = {}
        blocks: list[Block] = [graph]
        for block in blocks:  # grows while it is walked
            for op in block.ops:
                self.block_of[op] = block
                for region in op.regions:
                    self.outer[region] = op
                    blocks.append(region)
        for op in self.block_of:
            if op.primitive.effects:
                self._run(op)
                self._mark_all(op.operands)
        self._mark_all(graph.yields)
        for arg in graph.args:
            self._mark_dims(arg)
        while self.pending:
            self._reach(self.pending.pop())
        for block in blocks:
            block.ops = [op for op in block.ops if op in self.running]
            for op in block.ops:
                if op.regions:
                    self._trim(op)

    def _mark(self, value: Value) -> None:
        if value not in self.live:
            self.live.add(value)
            self.pending.append(value)

    def _mark_all(self, values: list[Value]) -> None:
        live, pending = self.live, self.pending
        for value in values:
            if value not in live:
                live.add(value)
                pending.append(value)

    def _mark_dims(self, value: Value) -> None:
        type = value.type
        for d in type.element.shape if isinstance(type, ListType) else type.shape:
            if not isinstance(d, int):
                self._mark(d)

    def _run(self, op: Op) -> None:
        """Keep an op, and every op around it."""
        at: Op | None = op
        while at is not None and at not in self.running:
            self.running.add(at)
            if at.name in ("if", "for"):
                self._mark(at.operands[0])
            elif at.name == "while":
                self._mark_all(at.regions[0].yields)
            at = self.outer.get(self.block_of[at])

    def _reach(self, value: Value) -> None:
        self._mark_dims(value)
        owner = value.owner
        if isinstance(owner, Op):
            if owner not in self.block_of:
                return  # captured from a block around the graph
            self._run(owner)
            if not owner.regions:
                self._mark_all(owner.operands)
            elif owner.name == "if":
                for region in owner.regions:
                    self._mark(region.yields[value.index])
            else:
                self._mark_position(owner, value.index)
            return
        op = self.outer.get(owner)
        if op is None:
            return  # an argument of the graph
        self._run(op)
        if op.name == "for" and value.index == 0:
            return
        self._mark_position(op, value.index - (op.name == "for"))

    def _mark_position(self, op: Op, i: int) -> None:
        self._mark(op.operands[i + (op.name == "for")])
        self._mark(op.regions[-1].yields[i])

    def _trim(self, op: Op) -> None:
        skip = 1 if op.name == "for" else 0
        if op.name == "if":
            dead = [i for i, r in enumerate(op.results) if r not in self.live]
        else:
            dead = [
                i
                for i, r in enumerate(op.results)
                if r not in self.live and not any(region.args[i + skip] in self.live for region in op.regions)
            ]
        if not dead:
            return
        gone = set(dead)
        op.results = [r for i, r in enumerate(op.results) if i not in gone]
        for i, r in enumerate(op.results):
            r.index = i
        if op.name != "if":
            op.operands = [v for i, v in enumerate(op.operands) if i - skip not in gone]
        for k, region in enumerate(op.regions):
            if op.name != "while" or k == 1:
                region.yields = [y for i, y in enumerate(region.yields) if i not in gone]
            if op.name != "if":
                region.args = [a for i, a in enumerate(region.args) if i - skip not in gone]
                for i, a in enumerate(region.args):
                    a.index = i
