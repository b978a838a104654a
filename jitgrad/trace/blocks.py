"""Basic blocks of normal flow, their order, dominators, loops, and the liveness of variables.

In: instructions. Out: a `Flow`. Exception edges are not followed, so handlers are unreachable and vanish; what is kept
of them is which instructions they guard (`protection`). Empty jumps are threaded, chains merged and the tests of
`while` loops put back at their heads (`uninvert.py`), so that the graphs of all CPython versions look alike. This room
knows the meaning of jumps and of variable instructions only; `regions.py` makes the tree out of what it returns.
"""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import Any

from jitgrad.errors import error
from jitgrad.trace.bytecode import Guard, Instr, Mark, decode, effect
from jitgrad.trace.shape import BasicBlock, dominators, natural_loops, reverse_postorder
from jitgrad.trace.uninvert import simplify, uninvert

__all__ = ["BasicBlock", "Flow", "dominators", "flow_of", "flow_of_items", "split", "stack_depths"]

_ENDS = ("jump", "branch", "for", "return", "raise")


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
    idom : dict of int to int
        Immediate dominators; the entry's is itself.
    loops : dict of int to set of int
        Header to the blocks of its natural loop, the header included.
    regions : dict of int to set of int
        The same with the doomed blocks that only the loop leads to.
    doomed : frozenset of int
        Blocks from which no `return` can be reached: they raise, or repeat for ever.
    live_in : dict of int to frozenset of str
    live_after : dict of int to list of frozenset of str
        For each instruction of a block, the variables that are live after it.
    stored : dict of int to frozenset of str
        Header to the variables that its loop stores.
    protection : dict of int to list of str
        For each instruction of a guarded block, and its terminator, what handlers do: "except" may catch, "with" is
        the exit of a context manager, "effects" runs code that may change something and raises again, "finally" runs
        other code, "" is none. Other blocks have no entry.
    """

    blocks: dict[int, BasicBlock]
    entry: int
    order: list[int]
    preds: dict[int, list[int]]
    idom: dict[int, int]
    loops: dict[int, set[int]]
    regions: dict[int, set[int]]
    doomed: frozenset[int]
    live_in: dict[int, frozenset[str]]
    live_after: dict[int, list[frozenset[str]]]
    stored: dict[int, frozenset[str]]
    protection: dict[int, list[str]]


def flow_of(code: types.CodeType) -> Flow:
    """Return the flow graph of a code object.

    Raises
    ------
    UnsupportedError
        JG204 if a loop has two entries, which CPython does not make.
    """
    return flow_of_items(decode(code), code.co_qualname)


def flow_of_items(items: list[Instr | Mark | Guard], name: str) -> Flow:
    """Return the flow graph of a list of instructions."""
    blocks, marks = split(items)
    entry = 0
    order, _ = reverse_postorder(blocks, entry)
    kinds = _handler_kinds(blocks, marks, set(order))
    blocks = {n: blocks[n] for n in order}
    entry = simplify(blocks, entry)
    entry = uninvert(blocks, entry)
    order, preds = reverse_postorder(blocks, entry)
    idom = dominators(order, preds)
    loops = natural_loops(blocks, order, preds, idom)
    if loops is None:
        raise error("JG204", blocks[entry].location, name=name)
    doomed = _doomed(order, blocks, preds)
    regions = _with_doomed(order, preds, loops, doomed) if doomed and loops else loops
    live_in, live_after = _liveness(blocks, order)
    stored = {h: frozenset(n for b in body for n in _stores(blocks[b])) for h, body in loops.items()}
    protection = {
        n: [kinds[h] if h is not None else "" for h in block.handlers]
        for n, block in blocks.items()
        if kinds and any(h is not None for h in block.handlers)
    }
    return Flow(blocks, entry, order, preds, idom, loops, regions, doomed, live_in, live_after, stored, protection)


def split(items: list[Instr | Mark | Guard]) -> tuple[dict[int, BasicBlock], dict[Mark, int]]:
    """Cut at jump targets and behind terminators; a `for` stands in a block of its own.

    Returns
    -------
    blocks : dict of int to BasicBlock
        With those that are unreachable; the entry is 0.
    marks : dict of Mark to int
        The block that begins at each mark.
    """
    blocks: dict[int, BasicBlock] = {0: BasicBlock(0, [])}
    marks: dict[Mark, int] = {}
    pending: list[tuple[BasicBlock, list[Any]]] = []
    current: BasicBlock | None = blocks[0]
    handler: Mark | None = None

    def new() -> BasicBlock:
        made = BasicBlock(len(blocks), [])
        blocks[made.number] = made
        return made

    def close(block: BasicBlock, targets: list[Any]) -> None:
        block.handlers.append(handler)
        pending.append((block, targets))

    for item in items:
        if isinstance(item, Guard):
            handler = item.handler
            continue
        if isinstance(item, Mark):
            if current is None or current.instrs:
                fresh = new()
                if current is not None:
                    close(current, [fresh.number])
                current = fresh
            marks[item] = current.number
            continue
        if current is None:
            current = new()
        if item.op == "for" and current.instrs:
            fresh = new()
            close(current, [fresh.number])
            current = fresh
        current.location = item.location
        if item.op not in _ENDS:
            current.instrs.append(item)
            current.handlers.append(handler)
            continue
        current.end = item.op
        if item.op in ("return", "raise"):
            current.arg = item.arg
            close(current, [])
            current = None
        elif item.op == "jump":
            close(current, [item.arg])
            current = None
        else:
            follow = new()
            if item.op == "branch":
                current.arg, target = item.arg
                close(current, [target, follow.number])
            else:
                close(current, [follow.number, item.arg])
            current = follow
    for block, targets in pending:
        block.successors = [marks[t] if isinstance(t, Mark) else t for t in targets]
    return blocks, marks


# Instructions that may change what is seen elsewhere.
_EFFECTS = frozenset(
    {"call", "callex", "callkw", "delattr", "delitem", "inplace", "setattr", "setglobal", "setitem", "with_enter"}
)


def _handler_kinds(blocks: dict[int, BasicBlock], marks: dict[Mark, int], normal: set[int]) -> dict[Mark, str]:
    """Return what each handler does with an exception: "except", "with", "effects" or "finally".

    A handler that raises the exception again is followed to the handler in charge of that place.
    """
    kinds: dict[Mark, str] = {}
    rank = ["finally", "with", "effects", "except"]

    def kind(mark: Mark, seen: frozenset[Mark]) -> str:
        if mark in kinds or mark in seen:
            return kinds.get(mark, "finally")
        reached = {marks[mark]}
        todo = [marks[mark]]
        goes_on = matches = has_exit = has_effects = False
        outer = "finally"
        while todo:
            block = blocks[todo.pop()]
            ops = {(i.op, i.arg) for i in block.instrs if i.op == "handler"}
            matches = matches or ("handler", "match") in ops or (block.end == "raise" and block.arg > 0)
            has_exit = has_exit or ("handler", "with") in ops
            has_effects = has_effects or any(i.op in _EFFECTS for i in block.instrs)
            goes_on = goes_on or block.end == "return"
            again = block.handlers[-1] if block.end == "raise" and block.handlers else None
            if again is not None:
                outer = max(outer, kind(again, seen | {mark}), key=rank.index)
            for s in block.successors:
                if s in normal:
                    goes_on = True
                elif s not in reached:
                    reached.add(s)
                    todo.append(s)
        own = "with" if has_exit else "except" if matches or goes_on else "effects" if has_effects else "finally"
        kinds[mark] = max(own, outer, key=rank.index)
        return kinds[mark]

    for n in normal:
        for mark in blocks[n].handlers:
            if mark is not None:
                kind(mark, frozenset())
    return kinds


def _doomed(order: list[int], blocks: dict[int, BasicBlock], preds: dict[int, list[int]]) -> frozenset[int]:
    """Return the blocks from which no `return` can be reached."""
    saved = {n for n in order if blocks[n].end == "return"}
    todo = list(saved)
    while todo:
        for p in preds[todo.pop()]:
            if p not in saved:
                saved.add(p)
                todo.append(p)
    return frozenset(n for n in order if n not in saved)


def _with_doomed(
    order: list[int], preds: dict[int, list[int]], loops: dict[int, set[int]], doomed: frozenset[int]
) -> dict[int, set[int]]:
    """Give each loop the doomed blocks that only it leads to, so that they are no exits of it."""
    position = {n: i for i, n in enumerate(order)}
    regions: dict[int, set[int]] = {}
    for header, body in loops.items():
        region = set(body)
        for n in order[position[header] + 1 :]:
            if n in doomed and n not in region:
                # Edges from behind are those of a loop that is doomed as a whole.
                before = [p for p in preds[n] if position[p] < position[n]]
                if all(p in region for p in before):
                    region.add(n)
        regions[header] = region
    return regions


def _uses(instr: Instr) -> tuple[str | None, str | None]:
    """Return the variable that an instruction reads and the one it sets or unbinds."""
    if instr.op == "local":
        return instr.arg, None
    if instr.op == "setlocal":
        return None, instr.arg
    if instr.op in ("dellocal", "localclear", "mkcell"):
        return instr.arg, instr.arg
    return None, None


def _stores(block: BasicBlock) -> list[str]:
    return [i.arg for i in block.instrs if i.op in ("setlocal", "localclear", "dellocal")]


def _liveness(
    blocks: dict[int, BasicBlock], order: list[int]
) -> tuple[dict[int, frozenset[str]], dict[int, list[frozenset[str]]]]:
    """Solve by blocks first: what is read before it is set, and what is set."""
    reads: dict[int, set[str]] = {}
    writes: dict[int, set[str]] = {}
    for n in order:
        reads[n], writes[n] = set(), set()
        for instr in blocks[n].instrs:
            read, written = _uses(instr)
            if read is not None and read not in writes[n]:
                reads[n].add(read)
            if written is not None:
                writes[n].add(written)
    live_in: dict[int, frozenset[str]] = {n: frozenset() for n in order}
    changed = True
    while changed:
        changed = False
        for n in reversed(order):
            out = frozenset[str]().union(*(live_in[s] for s in blocks[n].successors))
            live = (out - writes[n]) | reads[n]
            if live != live_in[n]:
                live_in[n] = live
                changed = True
    after: dict[int, list[frozenset[str]]] = {}
    for n in order:
        live = frozenset[str]().union(*(live_in[s] for s in blocks[n].successors))
        points: list[frozenset[str]] = []
        for instr in reversed(blocks[n].instrs):
            points.append(live)
            read, written = _uses(instr)
            if written is not None:
                live = live - {written}
            if read is not None:
                live = live | {read}
        after[n] = points[::-1]
    return live_in, after


def stack_depths(blocks: dict[int, BasicBlock], entry: int) -> dict[int, int]:
    """Return the depth of the operand stack at the start of each block.

    Raises
    ------
    ValueError
        If two edges into a block differ, the stack runs empty, a `return` leaves something on it, or an unsupported
        instruction is reached.
    """
    depths = {entry: 0}
    todo = [entry]
    while todo:
        n = todo.pop()
        block = blocks[n]
        depth = depths[n]
        steps = [(i.op, i.arg) for i in block.instrs]
        if block.end != "for":
            steps.append((block.end, block.arg))
        for op, arg in steps:
            found = effect(op, arg)
            if found is None:
                raise ValueError(f"unsupported: {arg}")
            if depth < found[0]:
                raise ValueError(f"block {n}: {op} pops {found[0]} of {depth} values")
            depth += found[1] - found[0]
        if block.end == "return" and depth:
            raise ValueError(f"block {n}: a return leaves {depth} values")
        for k, s in enumerate(block.successors):
            into = depth + (1, -1)[k] if block.end == "for" else depth
            if s not in depths:
                depths[s] = into
                todo.append(s)
            elif depths[s] != into:
                raise ValueError(f"block {s}: entered with {depths[s]} and with {into} values")
    return depths
