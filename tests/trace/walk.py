"""Walks over flow graphs and trees by made-up decisions, and checks of their shape.

In: code objects. Out: traces of what would be executed, to be compared with each other, and findings as text. Nothing
is evaluated here; `concrete.py` does that.
"""

from __future__ import annotations

import ast
import contextlib
import random
import types
from collections import Counter
from collections.abc import Iterator
from typing import Any

from jitgrad.trace.blocks import BasicBlock, split, stack_depths
from jitgrad.trace.bytecode import decode
from jitgrad.trace.regions import RETURN, BlockNode, CodeTree, Continue, Goto, LoopNode, structure, targets_of

__all__ = [
    "Decisions",
    "block_numbers",
    "codes_in",
    "faults",
    "nodes_in",
    "selectors",
    "source_loops",
    "walk_flow",
    "walk_tree",
]

_ASYNC = 0x80 | 0x200


class Enough(Exception):
    """The walk is long enough."""


class Decisions:
    """An endless row of coin flips, and the trace that they led to."""

    def __init__(self, seed: int, limit: int = 400) -> None:
        self.random = random.Random(seed)
        self.limit = limit
        self.trace: list[Any] = []

    def run(self, block: BasicBlock) -> int:
        """Record a block; return which successor comes next."""
        if len(self.trace) > self.limit:
            raise Enough
        self.trace.extend((i.op, repr(i.arg) if i.op == "const" else i.arg) for i in block.instrs)
        if block.end == "jump":
            return 0
        if block.end in ("return", "raise"):
            self.trace.append((block.end, block.arg))
            return 0
        # A branch is recorded as the value that it asks for, whichever way round it was compiled.
        hit = self.random.random() < 0.5
        kind = {"false": "true", "notnone": "none"}.get(block.arg, block.arg)
        self.trace.append((block.end, kind, hit))
        return int(not hit) if block.arg == kind else int(hit)


def walk_flow(blocks: dict[int, BasicBlock], entry: int, seed: int) -> list[Any]:
    """Return the trace of a walk over a flow graph."""
    decisions = Decisions(seed)
    at = entry
    try:
        for _ in range(10_000):
            block = blocks[at]
            way = decisions.run(block)
            if block.end in ("return", "raise"):
                break
            at = block.successors[way]
    except Enough:
        pass
    return decisions.trace[: decisions.limit]


def walk_tree(tree: CodeTree, seed: int) -> list[Any]:
    """Return the trace of a walk over a tree; asserts that no target is missed."""
    decisions = Decisions(seed)
    trips = 0

    def walk(node: Any) -> Any:
        nonlocal trips
        if isinstance(node, Goto):
            return node.target
        if isinstance(node, LoopNode):
            while (at := walk(node.body)) == Continue(node.header):
                trips += 1
                if trips > 5_000:
                    raise Enough
            if at in node.exits:
                at = walk(node.exits[at])
        else:
            way = decisions.run(node.block)
            if node.block.end == "return":
                at = RETURN
            elif node.block.end == "raise":
                at = None
            else:
                at = walk(node.arms[way])
        for target, join in node.joins:
            if at == target:
                at = walk(join)
        assert at is None or at in node.targets, (at, node.targets)
        return at

    with contextlib.suppress(Enough):
        assert walk(tree.body) in (RETURN, None)
    return decisions.trace[: decisions.limit]


def nodes_in(node: Any) -> Iterator[Any]:
    """Yield every node of a tree."""
    todo = [node]
    while todo:
        at = todo.pop()
        if isinstance(at, Goto):
            continue
        yield at
        todo.extend([at.body, *at.exits.values()] if isinstance(at, LoopNode) else at.arms)
        todo.extend(join for _, join in at.joins)


def block_numbers(tree: CodeTree) -> Counter[int]:
    """Return how often each block stands in a tree."""
    return Counter(n.block.number for n in nodes_in(tree.body) if isinstance(n, BlockNode))


def selectors(tree: CodeTree) -> int:
    """Return how many joins need a selector."""
    count = 0
    for node in nodes_in(tree.body):
        out: frozenset[Any] = frozenset()
        arms = list(node.exits.values()) if isinstance(node, LoopNode) else node.arms
        out = out.union(*(targets_of(a) for a in arms))
        for target, join in node.joins:
            count += len(out) > 1
            out = (out - {target}) | join.targets
    return count


def codes_in(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield a code object and those inside it, functions only, without coroutines."""
    if code.co_flags & 2 and not code.co_flags & _ASYNC:
        yield code
    for const in code.co_consts:
        if isinstance(const, types.CodeType):
            yield from codes_in(const)


def faults(code: types.CodeType, walks: int = 3) -> list[str]:
    """Return what is wrong with the structure of a code object."""
    found: list[str] = []
    tree = structure(code)
    flow = tree.flow
    if block_numbers(tree) != Counter(list(flow.blocks)):
        found.append("a block is lost or stands twice")
    if tree.body.targets - {RETURN}:
        found.append(f"the tree leads to {tree.body.targets}")
    raw, _ = split(decode(code))
    for seed in range(walks):
        one = walk_flow(flow.blocks, flow.entry, seed)
        if walk_flow(raw, 0, seed) != one:
            found.append(f"walk {seed}: the flow graph differs from the code")
        if walk_tree(tree, seed) != one:
            found.append(f"walk {seed}: the tree differs from the flow graph")
    for blocks, entry in ((raw, 0), (flow.blocks, flow.entry)):
        try:
            depths = stack_depths(blocks, entry)
        except ValueError as exception:
            if not str(exception).startswith("unsupported"):
                found.append(str(exception))
        else:
            if max(depths.values()) > code.co_stacksize:
                found.append("the stack is deeper than CPython says")
    return found


def source_loops(source: str, name: str = "<source>") -> dict[tuple[str, int], int]:
    """Return how many loops each function has in the source, by name and first line.

    Comprehensions are not counted: whether they are loops of the function depends on the version.
    """
    found: dict[tuple[str, int], int] = {}

    def count(body: list[ast.stmt]) -> int:
        total = 0
        todo: list[ast.AST] = [*body]
        while todo:
            node = todo.pop()
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
                continue
            total += isinstance(node, ast.For | ast.While)
            todo.extend(ast.iter_child_nodes(node))
        return total

    for node in ast.walk(ast.parse(source, name)):
        if isinstance(node, ast.FunctionDef):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            found[node.name, first] = count(node.body)
    return found
