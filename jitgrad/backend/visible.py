"""Stores that the caller sees: which they are, and what must be saved before them.

In: a graph, and which of its yields go back into the memory of arguments. Out: the ops that write that memory, in the
user's order; the graph, in which no value is read after a store that takes its memory. A check that fails later finds
the caller's arrays as the user's program would have left them, so such a store never works in a copy: it is what the
program still needs of the old contents that is copied. This room knows no buffer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jitgrad.backend.chosen import copied
from jitgrad.backend.structure import CONSUMERS, is_scalar
from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value

__all__ = ["visible_stores"]


def visible_stores(graph: Graph, writes: Sequence[tuple[int, int]]) -> set[Op]:
    """Return the ops that write into memory of the caller; copy what is read after them.

    Parameters
    ----------
    graph : Graph
        Gets the copies.
    writes : sequence of (argument, yield)
    """
    found: set[Op] = set()
    taken: list[tuple[Value, Op]] = []
    versions: set[Value] = set()
    for _, k in writes:
        versions |= _follow(graph.yields[k], found, taken)
    if taken:
        for block in list(graph.blocks()):
            _copy_own_elements(block, found)
        for op in found:
            if op.name == "if":
                _part(op, versions)
        _Places(graph, versions).save(taken)
    return found


def _copy_own_elements(block: Block, found: set[Op]) -> None:
    """Let no array be stored into itself: its elements would be moved while they are read."""
    for op in [op for op in block.ops if op in found and op.name in CONSUMERS]:
        base = op.operands[0]
        if base not in op.operands[1:]:
            continue
        at = block.ops.index(op)
        rest = block.ops[at:]
        del block.ops[at:]
        copy = copied(Builder(block, op.location), base)
        block.ops += rest
        op.operands[1:] = [copy if v is base else v for v in op.operands[1:]]


def _part(branch: Op, versions: set[Value]) -> None:
    """Let nothing else that a branch hands on be the array that the caller sees: what is stored would show in it."""
    for region in branch.regions:
        seen = {v for v, result in zip(region.yields, branch.results, strict=True) if result in versions}
        for k, value in enumerate(region.yields):
            if value in seen and branch.results[k] not in versions:
                region.yields[k] = copied(Builder(region, branch.location), value)


def _follow(last: Value, found: set[Op], taken: list[tuple[Value, Op]]) -> set[Value]:
    """Collect the ops that lead to a version of an array, and the older versions whose memory they take.

    Returns all versions.
    """
    stack, seen = [last], set()
    while stack:
        value = stack.pop()
        op = value.op
        if op is None or value in seen or is_scalar(value):
            continue
        seen.add(value)
        if op.name in CONSUMERS:
            found.add(op)
            taken.append((op.operands[0], op))
            stack.append(op.operands[0])
        elif op.name == "if":
            found.add(op)
            stack += [region.yields[value.index] for region in op.regions]
        elif op.regions:
            found.add(op)
            before = op.operands[value.index + (op.name == "for")]
            taken.append((before, op))
            stack += [before, op.regions[-1].yields[value.index]]
    return seen


class _Places:
    """Where every op is, and where every value is used."""

    def __init__(self, graph: Graph, versions: set[Value]) -> None:
        self.versions = versions
        self.owner: dict[Block, Op] = {}
        self.block: dict[Op, Block] = {}
        self.position: dict[Op, int] = {}
        self.uses: dict[Value, list[tuple[Block, int, Op | None]]] = {}
        pending: list[Block] = [graph]
        while pending:
            block = pending.pop()
            for k, op in enumerate(block.ops):
                self.block[op], self.position[op] = block, k
                for v in op.operands:
                    self.uses.setdefault(v, []).append((block, k, op))
                for region in op.regions:
                    self.owner[region] = op
                    pending.append(region)
            for v in block.yields:
                self.uses.setdefault(v, []).append((block, len(block.ops), None))

    def _path(self, block: Block, position: int) -> Iterator[tuple[Block, int]]:
        """Yield a place, then those of the ops that it lies within."""
        yield block, position
        while block in self.owner:
            op = self.owner[block]
            block, position = self.block[op], self.position[op]
            yield block, position

    def _follows(self, place: tuple[Block, int], taker: Op) -> bool:
        """Whether a place comes after an op in the program; the other arm of an `if` does not, a loop's body does."""
        taken_at = dict(self._path(self.block[taker], self.position[taker]))
        for block, position in self._path(*place):
            if block in taken_at:
                return position > taken_at[block] or (position == taken_at[block] and block is self.block[taker])
        return False

    def _views(self, value: Value, taker: Op) -> Iterator[Value]:
        """Yield a value and what may lie in its memory, made before an op.

        That are views of it, which regions evaluate where they use them, and what branches hand it on as.
        """
        stack, seen = [value], set()
        within = {place[0] for place in self._path(self.block[taker], self.position[taker])}
        while stack:
            v = stack.pop()
            if v in seen:
                continue
            seen.add(v)
            yield v
            for block, position, user in self.uses.get(v, ()):
                view = user is not None and user.name in ("load", "reshape", "transpose") and not is_scalar(user.result)
                if view and user is not None and not self._follows((block, position), taker):
                    stack.append(user.result)
                branch = self.owner.get(block) if user is None else None
                if branch is not None and branch.name == "if" and within.isdisjoint(branch.regions):
                    named = [r for y, r in zip(block.yields, branch.results, strict=True) if y is v]
                    if not self._follows((self.block[branch], self.position[branch]), taker):
                        stack += [r for r in named if r not in self.versions]

    def save(self, taken: Sequence[tuple[Value, Op]]) -> None:
        """Copy each value that is used after its memory was taken, and let those uses have the copy."""
        copies: list[tuple[Block, int, Value, list[tuple[Block, int, Op | None]]]] = []
        for value, op in [(v, taker) for base, taker in taken for v in self._views(base, taker)]:
            path = dict(self._path(self.block[op], self.position[op]))
            later = [use for use in self.uses.get(value, ()) if use[2] is not op and self._follows(use[:2], op)]
            home = value.owner if isinstance(value.owner, Block) else self.block[value.owner]
            if later and home in path:
                copies.append((home, path[home], value, later))
        for block, position, value, later in sorted(copies, key=lambda c: c[1], reverse=True):
            rest = block.ops[position:]
            del block.ops[position:]
            copy = copied(Builder(block, rest[0].location if rest else None), value)
            block.ops += rest
            for where, _, user in later:
                values = where.yields if user is None else user.operands
                values[:] = [copy if v is value else v for v in values]
