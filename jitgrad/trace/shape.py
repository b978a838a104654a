"""Graphs of basic blocks: reverse postorder, dominators, natural loops.

In: blocks with successors. Out: orders and sets of block numbers. This room knows no instruction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jitgrad.location import Location
from jitgrad.trace.bytecode import Instr, Mark

__all__ = ["BasicBlock", "dominators", "natural_loops", "reverse_postorder"]


@dataclass(slots=True)
class BasicBlock:
    """Straight-line instructions and how they end.

    Attributes
    ----------
    number : int
    instrs : list of Instr
        Without the terminator; empty before a `for`.
    end : str
        "jump", "branch", "for", "return" or "raise".
    arg : object
        Of the terminator: the kind of a branch ("true", "false", "none", "notnone": when the first successor is taken),
        the count of a raise.
    successors : list of int
        branch: taken, not taken; for: next, exhausted.
    location : Location or None
        Of the terminator, or of the last instruction.
    handlers : list of Mark or None
        Where an exception goes from each instruction, and from the terminator.
    """

    number: int
    instrs: list[Instr]
    end: str = "jump"
    arg: Any = None
    successors: list[int] = field(default_factory=list)
    location: Location | None = None
    handlers: list[Mark | None] = field(default_factory=list)


def reverse_postorder(blocks: dict[int, BasicBlock], entry: int) -> tuple[list[int], dict[int, list[int]]]:
    """Return the reachable blocks in reverse postorder, and the predecessors of each."""
    seen = {entry}
    post: list[int] = []
    stack = [(entry, iter(blocks[entry].successors))]
    while stack:
        node, rest = stack[-1]
        for s in rest:
            if s not in seen:
                seen.add(s)
                stack.append((s, iter(blocks[s].successors)))
                break
        else:
            post.append(node)
            stack.pop()
    order = post[::-1]
    preds: dict[int, list[int]] = {n: [] for n in order}
    for n in order:
        for s in blocks[n].successors:
            preds[s].append(n)
    return order, preds


def dominators(order: list[Any], preds: dict[Any, list[Any]]) -> dict[Any, Any]:
    """Return immediate dominators (Cooper, Harvey, Kennedy: A Simple, Fast Dominance Algorithm)."""
    position = {n: i for i, n in enumerate(order)}
    idom: dict[Any, Any] = {order[0]: order[0]}
    changed = True
    while changed:
        changed = False
        for n in order[1:]:
            known = [p for p in preds[n] if p in idom]
            found = known[0]
            for p in known[1:]:
                a, b = p, found
                while a != b:
                    while position[a] > position[b]:
                        a = idom[a]
                    while position[b] > position[a]:
                        b = idom[b]
                found = a
            if idom.get(n) != found:
                idom[n] = found
                changed = True
    return idom


def natural_loops(
    blocks: dict[int, BasicBlock], order: list[int], preds: dict[int, list[int]], idom: dict[int, int]
) -> dict[int, set[int]] | None:
    """Return the blocks of each loop by header, loops of one header as one; None if a loop has two entries."""
    position = {n: i for i, n in enumerate(order)}
    loops: dict[int, set[int]] = {}
    for n in order:
        for s in blocks[n].successors:
            if position[s] > position[n]:
                continue
            at = n
            while position[at] > position[s]:
                at = idom[at]
            if at != s:
                return None
            body = loops.setdefault(s, {s})
            todo = [n]
            while todo:
                b = todo.pop()
                if b not in body:
                    body.add(b)
                    todo.extend(preds[b])
    return loops
