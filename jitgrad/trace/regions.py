"""Structure recovery: a flow graph to a tree of nested regions in which every block stands once.

The loop nest comes from back edges; with loops contracted, each level is a DAG. A node's successor with one
predecessor is its arm; one with several is a *join*, and stands, in reverse postorder, behind the node that dominates
it. So

    if a: B              BlockNode(test a, arms=(BlockNode(B, arms=(Goto(C),)), Goto(C)),
    C                              joins=[(C, BlockNode(C))])

A piece of the tree, evaluated, goes to one of a static set of targets: a block (of a join further out, or of an exit of
the loop), `CONTINUE` of the loop it is in, or `RETURN`. An evaluator walks so:

    walk(node):   run the block, or the loop; walk the arm taken (both, if that is known at run time only), or go to
                  a Goto's target; then for each (target, join) behind the node: if the outcome can be `target`, walk
                  the join from that state (under a selector, if the outcome can be something else as well)

The tree is per code object and knows no types; it is cached by the identity of the code object.
"""

from __future__ import annotations

import types
import weakref
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from jitgrad.trace.blocks import BasicBlock, Flow, dominators, flow_of

__all__ = ["RETURN", "BlockNode", "CodeTree", "Continue", "Goto", "LoopNode", "Node", "structure"]

RETURN = "return"


@dataclass(frozen=True, slots=True)
class Continue:
    """The target that begins the next trip of a loop."""

    header: int


@dataclass(frozen=True, slots=True)
class Goto:
    """An arm without code of its own."""

    target: Any


@dataclass(slots=True)
class BlockNode:
    """A basic block; one arm a successor."""

    block: BasicBlock
    arms: list[Any] = field(default_factory=list)
    joins: list[tuple[Any, Any]] = field(default_factory=list)


@dataclass(slots=True)
class LoopNode:
    """A loop; `exits` maps each target that leaves it to the arm that follows."""

    header: int
    body: Any
    exits: dict[Any, Any] = field(default_factory=dict)
    joins: list[tuple[Any, Any]] = field(default_factory=list)


Node: TypeAlias = BlockNode | LoopNode


@dataclass(slots=True)
class CodeTree:
    """The tree of a code object, with its flow graph for liveness."""

    code: types.CodeType
    flow: Flow
    body: Any


_TREES: dict[int, tuple[Any, CodeTree]] = {}


def structure(code: types.CodeType) -> CodeTree:
    """Return the tree of a code object.

    Raises
    ------
    UnsupportedError
        JG204 where the flow has no structure.
    """
    found = _TREES.get(id(code))
    if found is not None and found[0]() is code:
        return found[1]
    key = id(code)
    flow = flow_of(code)
    tree = CodeTree(code, flow, _Builder(flow).level(None))
    _TREES[key] = (weakref.ref(code, lambda _, trees=_TREES: trees.pop(key, None)), tree)
    return tree


class _Builder:
    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        headers = sorted(flow.loops, key=lambda h: len(flow.loops[h]))
        # The innermost loop of each block, and the parent of each loop.
        self.inner: dict[int, int | None] = {}
        self.parent: dict[int, int | None] = {}
        for n in flow.order:
            self.inner[n] = next((h for h in headers if n in flow.loops[h]), None)
        for h in headers:
            self.parent[h] = next((o for o in headers if o != h and h in flow.loops[o]), None)

    def node_of(self, block: int, level: int | None) -> Any:
        """Return what a block is in the DAG of a level: itself, or the child loop that contains it."""
        at = self.inner[block]
        last: int | None = None
        while at != level:
            if at is None:
                return None
            last, at = at, self.parent[at]
        return block if last is None else ("loop", last)

    def level(self, loop: int | None) -> Any:
        flow = self.flow
        inside = flow.loops[loop] if loop is not None else set(flow.order)
        entry_block = flow.entry if loop is None else loop
        order: list[Any] = []
        for b in flow.order:
            if b in inside:
                n = self.node_of(b, loop)
                if n not in order:
                    order.append(n)
        edges: dict[Any, list[tuple[int, Any]]] = {}
        preds: dict[Any, list[Any]] = {n: [] for n in order}
        for n in order:
            outs = self._outs(n, loop, inside)
            edges[n] = outs
            for _, target in outs:
                if target in preds:
                    preds[target].append(n)
        entry = self.node_of(entry_block, loop)
        idom = dominators(order, preds)
        children: dict[Any, list[Any]] = {n: [] for n in order}
        for n in order:
            if n != entry:
                children[idom[n]].append(n)
        return self._emit(entry, loop, edges, preds, children)

    def _outs(self, n: Any, loop: int | None, inside: set[int]) -> list[tuple[int, Any]]:
        """Return the successors of a DAG node: (block, node or None where it leaves the level)."""
        flow = self.flow
        if not isinstance(n, tuple):
            blocks = flow.blocks[n].successors
        else:
            body = flow.loops[n[1]]
            blocks = list(
                dict.fromkeys(s for b in flow.order if b in body for s in flow.blocks[b].successors if s not in body)
            )
        outs: list[tuple[int, Any]] = []
        for s in blocks:
            if s == loop or s not in inside:
                outs.append((s, None))
            else:
                outs.append((s, self.node_of(s, loop)))
        return outs

    def _emit(
        self,
        n: Any,
        loop: int | None,
        edges: dict[Any, list[tuple[int, Any]]],
        preds: dict[Any, list[Any]],
        children: dict[Any, list[Any]],
    ) -> Any:
        def arm(block: int, target: Any) -> Any:
            if target is None:
                return Goto(Continue(block) if block == loop else block)
            if len(preds[target]) == 1:
                return self._emit(target, loop, edges, preds, children)
            return Goto(block)

        made: Any
        if isinstance(n, tuple):
            made = LoopNode(n[1], self.level(n[1]))
            made.exits = {block: arm(block, target) for block, target in edges[n]}
        else:
            made = BlockNode(self.flow.blocks[n])
            made.arms = [arm(block, target) for block, target in edges[n]]
        for child in children[n]:
            if len(preds[child]) > 1:
                key = child[1] if isinstance(child, tuple) else child
                made.joins.append((key, self._emit(child, loop, edges, preds, children)))
        return made
