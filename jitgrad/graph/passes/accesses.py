"""What a loop does to an array that it carries.

In: a `for` and one of its carried arrays. Out: the loads and stores in the loop and in loops and branches within, with
the way to each; or nothing, where anything else is done to the array. This room rewrites nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from jitgrad.graph.ir import Block, Op, Value
from jitgrad.graph.passes.rewriting import blocks_within

__all__ = ["Access", "Carried", "Loads", "carried_array", "loads_of"]


@dataclass(eq=False)
class Access:
    """A load or store.

    Attributes
    ----------
    op : Op
    path : list of (Block, int)
        The regions around it with the position in each, from the body of the outermost loop inwards.
    """

    op: Op
    path: list[tuple[Block, int]]


@dataclass(eq=False)
class Carried:
    """An array that a loop carries, and all that is done to it in there.

    Attributes
    ----------
    loop : Op
    position : int
    loads, stores : list of Access
        An `addto` is both.
    versions : set of Value
        What the array is called in the loop's body, outside of inner regions.
    bodies : set of Block
        Bodies of the loops.
    """

    loop: Op
    position: int
    loads: list[Access] = field(default_factory=list)
    stores: list[Access] = field(default_factory=list)
    versions: set[Value] = field(default_factory=set)
    bodies: set[Block] = field(default_factory=set)


# Of arrays, with the regions they are in.
Loads: TypeAlias = dict[Value, list[tuple[Block, Op]] | None]


def loads_of(blocks: list[Block]) -> Loads:
    """Return the loads of each array, None for one that is used in another way."""
    found: Loads = {}
    for block in blocks:
        for op in block.ops:
            for n, v in enumerate(op.operands):
                known = found.setdefault(v, [])
                if op.name != "load" or n:
                    found[v] = None
                elif known is not None:
                    known.append((block, op))
        for v in block.yields:
            found[v] = None
    return found


def carried_array(loop: Op, position: int) -> Carried | None:
    """Return what a `for` does to the array that it carries at a position, None for more than loads and stores."""
    found = Carried(loop, position)
    return found if _Walk(found).run() else None


class _Walk:
    def __init__(self, found: Carried) -> None:
        self.found = found

    def run(self) -> bool:
        found = self.found
        return self.in_loop(found.loop, [found.position], found.versions, [])

    def in_loop(self, loop: Op, positions: Sequence[int], seen: set[Value], path: list[tuple[Block, int]]) -> bool:
        """Note the accesses in a loop that carries the array at some positions, or only reads versions `seen` outside.

        Returns whether nothing but loads and stores is done to it.
        """
        (body,) = loop.regions
        self.found.bodies.add(body)
        # The outermost loop's own set is filled: it is part of what is found.
        versions = set(seen) if path else seen
        versions.update(body.args[k + 1] for k in positions)
        if not self.in_block(body, versions, path):
            return False
        return all((y in versions) == (k in positions) for k, y in enumerate(body.yields))

    def in_block(self, block: Block, versions: set[Value], path: list[tuple[Block, int]]) -> bool:
        for n, op in enumerate(block.ops):
            if not op.regions and versions.isdisjoint(op.operands):
                continue
            here = [*path, (block, n)]
            mine = [k for k, v in enumerate(op.operands) if v in versions]
            if op.name == "if":
                if not all(self.in_block(region, versions, here) for region in op.regions):
                    return False
                for k, result in enumerate(op.results):
                    ends = [region.yields[k] in versions for region in op.regions]
                    if any(ends) and not all(ends):
                        return False
                    if all(ends):
                        versions.add(result)
            elif op.name == "for":
                if not self.in_loop(op, [k - 1 for k in mine], versions, here):
                    return False
                versions.update(op.results[k - 1] for k in mine)
            elif op.regions:
                if mine or any(v in versions for b in op.regions for o in b.walk() for v in o.operands):
                    return False
                if any(y in versions for region in op.regions for b in blocks_within(region) for y in b.yields):
                    return False
            elif mine:
                if mine != [0] or op.name not in ("load", "store", "addto"):
                    return False
                access = Access(op, here)
                if op.name != "store":
                    self.found.loads.append(access)
                if op.name != "load":
                    self.found.stores.append(access)
                    versions.add(op.result)
        return True
