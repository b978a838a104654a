"""Structure recovery: a flow graph to a tree of nested regions in which every block stands once.

In: a code object. Out: a `CodeTree`, cached by the identity of the code object. The tree knows no types and no values.

The loop nest comes from back edges; with loops contracted, each level is a DAG. A node's successor with one
predecessor is its arm; one with several is a *join*, and stands, in reverse postorder, behind the node that dominates
it. What simply follows (a jump, the one exit of a loop, a merge to which all arms lead) is a join of the same list, so
that a long function is a long list and not a deep tree. So

    if a: B              BlockNode(test a, arms=[BlockNode(B, arms=[Goto(C)]), Goto(C)],
    for x in y: D                  joins=[(C, BlockNode(C: iter y, arms=[Goto(L)])),
    E                                     (L, LoopNode(L, body=BlockNode(for, arms=[D → Goto(Continue(L)), Goto(E)]),
                                                       exits={E: Goto(E)})),
                                          (E, BlockNode(E))])

A piece of the tree, evaluated, goes to one of a static set of targets (`targets`): the number of a block (a join
further out, or an exit of the loop it is in), `Continue(header)` of the loop it is in, or `RETURN`. A piece that can
only raise has none. An evaluator walks so:

    walk(Goto t)         arrive at t
    walk(BlockNode n)    run n.block.instrs, then by n.block.end
                           "jump"    outcome = walk(n.arms[0])
                           "branch"  pop; outcome = walk(arms[0] or arms[1]): n.block.arg says when the first is taken;
                                     or both, merged, if that is known at run time only
                           "for"     push the next value and walk(arms[0]), or pop the iterator and walk(arms[1])
                           "return"  arrive at RETURN with the value on the stack;   "raise"  nowhere
                         then the joins
    walk(LoopNode n)     outcome = walk(n.body), again while that arrives at Continue(n.header); then for each target
                         of n.exits at which it can arrive, walk that arm from there; then the joins
    the joins            for each (target, join) of n.joins, in order: if the outcome can be `target`, walk the join
                         from that state; under a selector, if the outcome can be something else as well

Doomed blocks (from which no `return` is reached) stand inside the loops that alone lead to them, as arms without a
target, so that a failing `assert` is neither an exit nor a merge input.
"""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from jitgrad.trace.blocks import BasicBlock, Flow, dominators, flow_of

__all__ = [
    "RETURN",
    "BlockNode",
    "CodeTree",
    "Continue",
    "Goto",
    "LoopNode",
    "Node",
    "structure",
    "targets_of",
    "tree_of",
]

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
    """A basic block; one arm a successor. `targets`: where it can go in the end, its joins included."""

    block: BasicBlock
    arms: list[Any] = field(default_factory=list)
    joins: list[tuple[Any, Any]] = field(default_factory=list)
    targets: frozenset[Any] = frozenset()


@dataclass(slots=True)
class LoopNode:
    """A loop; `exits` maps each target that leaves it to the arm that follows."""

    header: int
    body: Any
    exits: dict[Any, Any] = field(default_factory=dict)
    joins: list[tuple[Any, Any]] = field(default_factory=list)
    targets: frozenset[Any] = frozenset()


Node: TypeAlias = BlockNode | LoopNode


@dataclass(slots=True)
class CodeTree:
    """The tree of a code object, with its flow graph for liveness.

    Attributes
    ----------
    code : CodeType
        Has the names: `co_varnames` (arguments first), `co_cellvars`, `co_freevars`.
    flow : Flow
    body : Node
    """

    code: types.CodeType
    flow: Flow
    body: Any

    def live_in(self, block: int) -> frozenset[str]:
        """Return the variables that may be read at or behind a block before they are set."""
        return self.flow.live_in[block]

    def live_after(self, block: int, index: int) -> frozenset[str]:
        """Return the variables that are live behind an instruction; behind the last, those of the terminator."""
        points = self.flow.live_after[block]
        if index < len(points):
            return points[index]
        return frozenset[str]().union(*(self.flow.live_in[s] for s in self.flow.blocks[block].successors))

    def protection(self, block: int, index: int) -> str:
        """Return what would happen to an exception at an instruction (the terminator's index is the last).

        Returns
        -------
        str
            "" nothing; "finally": code runs and the exception goes on; "effects": the same, and the code may change
            something; "with": a context manager sees it, and may swallow it; "except": a handler may catch it. The
            strongest of those around the instruction.
        """
        kinds = self.flow.protection.get(block)
        return kinds[min(index, len(kinds) - 1)] if kinds else ""


_TREES: dict[int, tuple[Any, CodeTree]] = {}


def structure(code: types.CodeType) -> CodeTree:
    """Return the tree of a code object.

    Raises
    ------
    UnsupportedError
        JG204 where the flow has no structure.
    """
    key = id(code)
    found = _TREES.get(key)
    if found is not None and found[0]() is code:
        return found[1]
    tree = tree_of(code, flow_of(code))
    _TREES[key] = (weakref.ref(code, _forgetter(key)), tree)
    return tree


def tree_of(code: types.CodeType, flow: Flow) -> CodeTree:
    """Return the tree of a flow graph."""
    return CodeTree(code, flow, _Builder(flow).level(None))


def _forgetter(key: int) -> Callable[[Any], None]:
    trees = _TREES  # the module may be gone when a code object goes

    def forget(_: Any) -> None:
        trees.pop(key, None)

    return forget


def targets_of(arm: Any) -> frozenset[Any]:
    """Return where an arm or node can go."""
    if isinstance(arm, Goto):
        return frozenset([arm.target])
    found: frozenset[Any] = arm.targets
    return found


@dataclass(slots=True)
class _Level:
    """The DAG of a loop's body, or of the function: nodes are blocks and, by ("loop", header), child loops."""

    loop: int | None
    edges: dict[Any, list[tuple[int, Any]]]
    preds: dict[Any, list[Any]]
    joins: dict[Any, list[Any]]


class _Builder:
    def __init__(self, flow: Flow) -> None:
        self.flow = flow
        headers = sorted(flow.regions, key=lambda h: len(flow.regions[h]))
        # The innermost loop of each block, and the parent of each loop.
        self.inner: dict[int, int | None] = dict.fromkeys(flow.order)
        self.parent: dict[int, int | None] = {}
        for h in reversed(headers):
            self.parent[h] = self.inner[h]
            for n in flow.regions[h]:
                self.inner[n] = h

    def node_of(self, block: int, level: int | None) -> Any:
        """Return what a block is in the DAG of a level: itself, or the child loop that contains it."""
        at = self.inner[block]
        last: int | None = None
        while at != level:
            assert at is not None
            last, at = at, self.parent[at]
        return block if last is None else ("loop", last)

    def level(self, loop: int | None) -> Any:
        """Return the tree of a loop's body, or of the function."""
        flow = self.flow
        inside = flow.regions[loop] if loop is not None else set(flow.order)
        order = list(dict.fromkeys(self.node_of(b, loop) for b in flow.order if b in inside))
        entry = self.node_of(flow.entry if loop is None else loop, loop)
        edges = {n: self._outs(n, loop, inside) for n in order}
        preds: dict[Any, list[Any]] = {n: [] for n in order}
        for n in order:
            for _, target in edges[n]:
                if target is not None:
                    preds[target].append(n)
        idom = dominators(order, preds)
        joins: dict[Any, list[Any]] = {n: [] for n in order}
        for n in order:
            if n != entry and (len(preds[n]) > 1 or len(edges[idom[n]]) == 1):
                joins[idom[n]].append(n)
        return self._emit(entry, _Level(loop, edges, preds, joins))

    def _outs(self, n: Any, loop: int | None, inside: set[int]) -> list[tuple[int, Any]]:
        """Return the successors of a DAG node: (block, node or None where it leaves the level)."""
        flow = self.flow
        if isinstance(n, tuple):
            body = flow.regions[n[1]]
            ways = (s for b in flow.order if b in body for s in flow.blocks[b].successors if s not in body)
            successors = list(dict.fromkeys(ways))
        else:
            successors = flow.blocks[n].successors
        return [(s, self.node_of(s, loop) if s != loop and s in inside else None) for s in successors]

    def _emit(self, n: Any, level: _Level) -> Any:
        """Return the node, with its joins; those to which all ways lead extend the list, the others nest."""
        node, out = self._core(n, level)
        todo = level.joins[n]
        while todo:
            child, *rest = todo
            key = child[1] if isinstance(child, tuple) else child
            if out == {key}:
                following, out = self._core(child, level)
                todo = [*level.joins[child], *rest]
            else:
                following = self._emit(child, level)
                out = (out - {key}) | following.targets
                todo = rest
            node.joins.append((key, following))
        node.targets = out
        return node

    def _core(self, n: Any, level: _Level) -> tuple[Any, frozenset[Any]]:
        """Return the node without its joins, and where it goes before them."""

        def arm(block: int, target: Any) -> Any:
            if target is None:
                return Goto(Continue(block) if block == level.loop else block)
            if len(level.preds[target]) > 1 or len(level.edges[n]) == 1:
                return Goto(block)
            return self._emit(target, level)

        node: Node
        out: frozenset[Any] = frozenset()
        if isinstance(n, tuple):
            node = LoopNode(n[1], self.level(n[1]))
            node.exits = {block: arm(block, target) for block, target in level.edges[n]}
            out = out.union(*(targets_of(a) for a in node.exits.values()))
        else:
            node = BlockNode(self.flow.blocks[n])
            node.arms = [arm(block, target) for block, target in level.edges[n]]
            out = out.union(*(targets_of(a) for a in node.arms))
            if node.block.end == "return":
                out = frozenset([RETURN])
        node.targets = out
        return node, out
