"""Canonical flow graphs: no empty jumps, no chains, and the test of a `while` once, at its head.

In: blocks. Out: the same blocks, changed in place. CPython 3.10 to 3.13 compile the test of a `while` twice: a guard
before the loop and a second copy behind the body, so that `continue` makes two loops out of one. Both copies have the
same source positions, and lead to the same places: their common part becomes a block of its own, the head, to which
both jump. A test made of `and`/`or` is merged piece by piece, the last one first. A step after which a loop would have
two entries is undone, and tried again one test at a time. Comparison chains are left alone: their arms differ in what
they take off the stack.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from jitgrad.trace.bytecode import Instr
from jitgrad.trace.shape import BasicBlock, dominators, natural_loops, reverse_postorder

__all__ = ["simplify", "uninvert"]

Blocks = dict[int, BasicBlock]
_OPPOSITE = {"true": "false", "false": "true", "none": "notnone", "notnone": "none"}


def simplify(blocks: Blocks, entry: int) -> int:
    """Thread empty jumps and merge chains; drop what becomes unreachable. Return the entry."""
    final: dict[int, int] = {}
    for n in blocks:
        path = [n]
        while (b := blocks[path[-1]]).end == "jump" and not b.instrs and b.successors[0] not in path:
            path.append(b.successors[0])
        final[n] = path[-1]
    entry = final[entry]
    for block in blocks.values():
        block.successors = [final[s] for s in block.successors]
    order, preds = reverse_postorder(blocks, entry)
    for n in order:
        if n not in blocks:
            continue
        block = blocks[n]
        while block.end == "jump":
            s = block.successors[0]
            following = blocks[s]
            if len(preds[s]) > 1 or s in (entry, n) or following.end == "for":
                break
            block.instrs = [*block.instrs, *following.instrs]
            block.handlers = [*block.handlers[:-1], *following.handlers]
            block.end, block.arg, block.successors = following.end, following.arg, following.successors
            block.location = following.location
            for after in following.successors:
                preds[after] = [n if p == s else p for p in preds[after]]
            del blocks[s]
    for n in set(blocks) - set(order):
        del blocks[n]
    return entry


def uninvert(blocks: Blocks, entry: int) -> int:
    """Merge the two copies of each loop test. Return the entry."""
    refused: set[tuple[int, int]] = set()
    one_by_one = False
    while True:
        pairs = [p for p in _look_alikes(blocks) if p not in refused]
        if not pairs:
            return entry
        order, preds = reverse_postorder(blocks, entry)
        loops = natural_loops(blocks, order, preds, dominators(order, preds))
        if not loops:
            return entry
        chosen: list[tuple[int, int]] = []
        for guard, latch in pairs:
            if not _is_guard(blocks, loops, guard, latch):
                continue
            if not any({guard, latch} & {*other} for other in chosen):
                chosen.append((guard, latch))
            if one_by_one:
                break
        if not chosen:
            return entry
        merged = _merge(blocks, entry, chosen)
        if merged is not None:
            entry = merged
        elif len(chosen) == 1:
            refused.add(chosen[0])
        else:
            one_by_one = True


def _test(block: BasicBlock) -> tuple[str, int, int]:
    """Return what a branch asks, and where it goes if so and if not."""
    first, second = block.successors
    if block.arg in ("false", "notnone"):
        return _OPPOSITE[block.arg], second, first
    return block.arg, first, second


def _same_place(blocks: Blocks, a: int, b: int) -> bool:
    """Whether two targets are one, or copies of one `return` of a constant."""
    if a == b:
        return True
    x, y = blocks[a], blocks[b]
    return (
        x.end == y.end == "return"
        and len(x.instrs) == len(y.instrs) == 1
        and x.instrs[0].op == y.instrs[0].op == "const"
        and _identical(x.instrs[0].arg, y.instrs[0].arg)
    )


def _identical(x: Any, y: Any) -> bool:
    return x is y or (type(x) is type(y) and repr(x) == repr(y))


def _look_alikes(blocks: Blocks) -> list[tuple[int, int]]:
    """Return the pairs of tests at one place in the source with common instructions before them, the last first."""
    groups: dict[Any, list[int]] = {}
    for n, block in blocks.items():
        if block.end == "branch" and block.instrs and block.location is not None:
            groups.setdefault((_test(block)[0], block.location), []).append(n)
    found = []
    for group in groups.values():
        for a in group:
            for b in group:
                if a != b and _suffix(blocks[a], blocks[b]):
                    found.append((a, b))
    return found[::-1]


def _is_guard(blocks: Blocks, loops: dict[int, set[int]], guard: int, latch: int) -> bool:
    """Whether two tests lead to the same places, one of them the head of a loop with the latch only."""
    _, yes, no = _test(blocks[guard])
    _, yes_again, no_again = _test(blocks[latch])
    heads = yes if yes == yes_again else no if no == no_again else None
    if heads is None or not _same_place(blocks, yes, yes_again) or not _same_place(blocks, no, no_again):
        return False
    return any(h in loops and latch in loops[h] and guard not in loops[h] for h in {yes, no} & {yes_again, no_again})


def _alike(x: Instr, y: Instr) -> bool:
    if x.op != y.op or not (x.location == y.location or not x.exact or not y.exact):
        return False
    return _identical(x.arg, y.arg) if x.op == "const" else bool(x.arg == y.arg)


def _suffix(a: BasicBlock, b: BasicBlock) -> int:
    """Return how many instructions two blocks have in common at their ends."""
    count = 0
    for x, y in zip(reversed(a.instrs), reversed(b.instrs), strict=False):
        if not _alike(x, y):
            break
        count += 1
    return count


def _merge(blocks: Blocks, entry: int, pairs: list[tuple[int, int]]) -> int | None:
    """Move the common part of two tests each to a block of its own. Return the entry; None if that cannot be."""
    before = {n: replace(x, handlers=list(x.handlers)) for n, x in blocks.items()}
    for guard, latch in pairs:
        a, b = blocks[guard], blocks[latch]
        count = _suffix(a, b)
        at = len(a.instrs) - count
        instrs = [x if x.exact else y for x, y in zip(a.instrs[at:], b.instrs[len(b.instrs) - count :], strict=True)]
        head = BasicBlock(max(blocks) + 1, instrs, a.end, a.arg, a.successors, a.location, a.handlers[at:])
        blocks[head.number] = head
        for block in (a, b):
            kept = len(block.instrs) - count
            block.instrs = block.instrs[:kept]
            block.handlers = [*block.handlers[:kept], head.handlers[-1]]
            block.end, block.arg, block.successors = "jump", None, [head.number]
    new_entry = simplify(blocks, entry)
    order, preds = reverse_postorder(blocks, new_entry)
    if natural_loops(blocks, order, preds, dominators(order, preds)) is not None:
        return new_entry
    blocks.clear()
    blocks.update(before)
    return None
