"""Basic blocks of normal flow, their order, dominators, loops, and the liveness of variables.

In: instructions. Out: a `Flow`. Exception edges are not followed, so handlers are unreachable and vanish. This room
knows the stack effect of nothing and the meaning of variable instructions only.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from jitgrad.errors import UnsupportedError, error
from jitgrad.location import Location
from jitgrad.trace.bytecode import Instr, Mark, decode

__all__ = ["BasicBlock", "Flow", "flow_of"]

_ENDS = ("jump", "branch", "for", "return", "raise")


@dataclass(slots=True)
class BasicBlock:
    """Straight-line instructions and how they end.

    Attributes
    ----------
    number : int
    instrs : list of Instr
        Without the terminator.
    end : str
        "jump", "branch", "for", "return" or "raise".
    arg : object
        Of the terminator: the kind of a branch ("true", "false", "none", "notnone": when the first successor is taken),
        the count of a raise.
    successors : list of int
        branch: taken, not taken; for: next, exhausted.
    """

    number: int
    instrs: list[Instr]
    end: str = "jump"
    arg: Any = None
    successors: list[int] = field(default_factory=list)
    location: Location | None = None


@dataclass(slots=True)
class Flow:
    """The reachable blocks of a code object.

    Attributes
    ----------
    blocks : dict of int to BasicBlock
    entry : int
    order : list of int
        Reverse postorder.
    preds : dict of int to list of int
    loops : dict of int to set of int
        Header to the blocks of its natural loop, the header included.
    live_in : dict of int to frozenset of str
    live_after : dict of int to list of frozenset of str
        For each instruction of a block, the variables that are live after it.
    """

    blocks: dict[int, BasicBlock]
    entry: int
    order: list[int]
    preds: dict[int, list[int]]
    idom: dict[int, int]
    loops: dict[int, set[int]]
    live_in: dict[int, frozenset[str]]
    live_after: dict[int, list[frozenset[str]]]
    stored: dict[int, frozenset[str]]


def flow_of(code: types.CodeType) -> Flow:
    """Return the flow graph of a code object.

    Raises
    ------
    UnsupportedError
        JG204 if a loop has two entries, which CPython does not make.
    """
    blocks = _split(decode(code))
    _thread(blocks)
    order, preds = _reachable(blocks, 0)
    blocks = {n: blocks[n] for n in order}
    loops, order, preds = _uninverted(code, blocks, order, preds)
    blocks = {n: blocks[n] for n in order}
    idom = dominators(order, preds)
    live_in, live_after = _liveness(blocks, order)
    stored = {h: frozenset(n for b in body for n in _stores(blocks[b])) for h, body in loops.items()}
    return Flow(blocks, 0, order, preds, idom, loops, live_in, live_after, stored)


def _split(items: list[Instr | Mark]) -> dict[int, BasicBlock]:
    """Cut at jump targets and after terminators; a `for` stands in a block of its own."""
    blocks: dict[int, BasicBlock] = {0: BasicBlock(0, [])}
    marks: dict[Mark, int] = {}
    pending: list[tuple[BasicBlock, list[Any]]] = []
    current: BasicBlock | None = blocks[0]

    def new() -> BasicBlock:
        made = BasicBlock(len(blocks), [])
        blocks[made.number] = made
        return made

    for item in items:
        if isinstance(item, Mark):
            if current is not None and not current.instrs and current.number not in marks.values():
                marks[item] = current.number
                continue
            if current is not None and not current.instrs:
                marks[item] = current.number
                continue
            fresh = new()
            if current is not None:
                pending.append((current, [fresh.number]))
            marks[item] = fresh.number
            current = fresh
            continue
        if current is None:
            current = new()
        if item.op == "for" and current.instrs:
            fresh = new()
            pending.append((current, [fresh.number]))
            current = fresh
        if item.op not in _ENDS:
            current.instrs.append(item)
            current.location = item.location
            continue
        current.end, current.location = item.op, item.location
        if item.op in ("return", "raise"):
            current.arg = item.arg
            current = None
        elif item.op == "jump":
            pending.append((current, [item.arg]))
            current = None
        else:
            follow = new()
            if item.op == "branch":
                current.arg, target = item.arg
                pending.append((current, [target, follow.number]))
            else:
                pending.append((current, [follow.number, item.arg]))
            current = follow
    for block, targets in pending:
        block.successors = [marks[t] if isinstance(t, Mark) else t for t in targets]
    return blocks


def _thread(blocks: dict[int, BasicBlock]) -> None:
    """Lead jumps past blocks that do nothing but jump."""

    def final(n: int) -> int:
        seen = {n}
        while blocks[n].end == "jump" and not blocks[n].instrs and blocks[n].successors[0] not in seen:
            n = blocks[n].successors[0]
            seen.add(n)
        return n

    for block in blocks.values():
        block.successors = [final(s) for s in block.successors]


def _reachable(blocks: dict[int, BasicBlock], entry: int) -> tuple[list[int], dict[int, list[int]]]:
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


def _natural_loops(
    code: types.CodeType,
    blocks: dict[int, BasicBlock],
    order: list[int],
    preds: dict[int, list[int]],
    idom: dict[int, int],
) -> dict[int, set[int]]:
    position = {n: i for i, n in enumerate(order)}
    loops: dict[int, set[int]] = {}
    for n in order:
        for s in blocks[n].successors:
            if position[s] > position[n]:
                continue
            at = n
            while at != s and at != order[0]:
                at = idom[at]
            if at != s:
                raise error("JG204", blocks[n].location, name=code.co_qualname)
            body = loops.setdefault(s, {s})
            todo = [n]
            while todo:
                b = todo.pop()
                if b not in body:
                    body.add(b)
                    todo.extend(preds[b])
    return loops


def _uninverted(
    code: types.CodeType, blocks: dict[int, BasicBlock], order: list[int], preds: dict[int, list[int]]
) -> tuple[dict[int, set[int]], list[int], dict[int, list[int]]]:
    """Give a `while` its single test back where the compiler made two copies, above the loop and below it.

    The common end of the guard and the latch becomes a block of its own, the head of the loop. A step that would make
    the flow irreducible is taken back.
    """
    loops = _natural_loops(code, blocks, order, preds, dominators(order, preds))
    tried: set[tuple[int, int]] = set()
    while True:
        pair = next((p for p in _copies(blocks, order, loops) if p not in tried), None)
        if pair is None:
            return loops, order, preds
        tried.add(pair)
        guard, latch = (blocks[n] for n in pair)
        kept = [(b, list(b.instrs), b.end, b.arg, list(b.successors), b.location) for b in blocks.values()]
        count = _common_end(guard, latch)
        test = BasicBlock(
            max(blocks) + 1, guard.instrs[-count:], guard.end, guard.arg, list(guard.successors), guard.location
        )
        for b in (guard, latch):
            del b.instrs[-count:]
            b.end, b.arg, b.successors = "jump", None, [test.number]
        blocks[test.number] = test
        _thread(blocks)
        new_order, new_preds = _reachable(blocks, order[0])
        try:
            found = _natural_loops(code, blocks, new_order, new_preds, dominators(new_order, new_preds))
        except UnsupportedError:
            del blocks[test.number]
            for b, instrs, end, arg, successors, location in kept:
                b.instrs, b.end, b.arg, b.successors, b.location = instrs, end, arg, successors, location
            continue
        loops, order, preds = found, new_order, new_preds


_OPPOSITE = {"true": "false", "false": "true", "none": "notnone", "notnone": "none"}


def _branch_key(block: BasicBlock) -> tuple[str, int, int]:
    first, second = block.successors
    if block.arg in ("true", "none"):
        return block.arg, first, second
    return _OPPOSITE[block.arg], second, first


def _copies(blocks: dict[int, BasicBlock], order: list[int], loops: dict[int, set[int]]) -> Iterator[tuple[int, int]]:
    """Yield (guard, latch) pairs that end in the same test, the last of a chain of tests first."""
    groups: dict[tuple[str, int, int], list[int]] = {}
    for n in reversed(order):
        if blocks[n].end == "branch" and len(set(blocks[n].successors)) == 2:
            groups.setdefault(_branch_key(blocks[n]), []).append(n)
    for (_, a, b), members in groups.items():
        for latch in members:
            for guard in members:
                if guard == latch:
                    continue
                if any(h in loops and latch in loops[h] and guard not in loops[h] for h in (a, b)) and _common_end(
                    blocks[guard], blocks[latch]
                ):
                    yield guard, latch


def _common_end(a: BasicBlock, b: BasicBlock) -> int:
    """Return how many instructions at the end of two blocks are copies of one source text."""
    count = matched = 0
    for x, y in zip(reversed(a.instrs), reversed(b.instrs), strict=False):
        if x.op != y.op or (x.arg is not y.arg and x.arg != y.arg):
            break
        if x.location != y.location:
            # The second half of a fused store-and-load has the position of the store.
            if x.op != "local":
                break
            count += 1
            continue
        count += 1
        matched = count
    return matched if matched == count else (count if matched and count == matched + 1 else matched)


def _uses(instr: Instr) -> tuple[str | None, str | None]:
    """Return the variable that an instruction reads and the one it sets or unbinds."""
    if instr.op == "local":
        return instr.arg, None
    if instr.op in ("setlocal", "dellocal"):
        return None, instr.arg
    if instr.op in ("localclear", "mkcell"):
        return instr.arg, instr.arg
    return None, None


def _stores(block: BasicBlock) -> list[str]:
    return [i.arg for i in block.instrs if i.op in ("setlocal", "localclear")]


def _liveness(
    blocks: dict[int, BasicBlock], order: list[int]
) -> tuple[dict[int, frozenset[str]], dict[int, list[frozenset[str]]]]:
    live_in: dict[int, frozenset[str]] = {n: frozenset() for n in order}
    after: dict[int, list[frozenset[str]]] = {}
    changed = True
    while changed:
        changed = False
        for n in reversed(order):
            block = blocks[n]
            live = frozenset().union(*(live_in[s] for s in block.successors))
            points: list[frozenset[str]] = []
            for instr in reversed(block.instrs):
                points.append(live)
                read, written = _uses(instr)
                if written is not None:
                    live = live - {written}
                if read is not None:
                    live = live | {read}
            after[n] = points[::-1]
            if live != live_in[n]:
                live_in[n] = live
                changed = True
    return live_in, after
