"""Stores in loops that nobody reads any more.

A reverse program puts arrays back to earlier contents before it repeats their loads, and zeros into cotangents whose
values it has taken. Often it reads other parts only: after column j of a factorisation has been put back, it works on
the columns before j. Such stores, and with them the tapes that feed them, are not needed.

An array that a nest of `for` loops carries is looked at as a whole, if behind the nest parts of it are read at most. A
store is dead if every load that may follow it (`dependence.py`) reads elsewhere on some axis.

In: a graph. Out: the same graph with fewer stores; `dce` must follow.
"""

from __future__ import annotations

from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.passes.accesses import Carried, carried_array
from jitgrad.graph.passes.dependence import Dependence
from jitgrad.graph.passes.rewriting import Replacements, blocks_within
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.survey import surveyed
from jitgrad.graph.types import ArrayType

__all__ = ["dead_stores"]

# Arrays with more pairs of a store and a load are left alone.
_PAIRS = 400


def dead_stores(graph: Graph) -> bool:
    """Drop stores in loops whose elements are not read again."""
    blocks = blocks_within(graph)
    if not any(op.name == "for" for block in blocks for op in block.ops):
        return False
    r: Context | None = None
    replaced = Replacements()
    for block in blocks:
        behind: dict[Value, list[Op]] | None = None
        for loop in block.ops:
            if loop.name != "for" or not any(isinstance(v.type, ArrayType) and v.type.shape for v in loop.results):
                continue
            if behind is None:
                behind = _reads(block)
            for k, result in enumerate(loop.results):
                carried = carried_array(loop, k) if result in behind and result.shape else None
                if carried is not None and any(s.op.name == "store" for s in carried.stores):
                    r = r or surveyed(graph)
                    _drop(Dependence(r, carried), carried, behind[result], replaced)
    if not replaced:
        return False
    replaced.everywhere(graph)
    return True


def _reads(block: Block) -> dict[Value, list[Op]]:
    """Return, for each array that loops of a block hand on, the loads of its parts, if nothing else is done to it."""
    found: dict[Value, list[Op]] = {
        v: [] for op in block.ops if op.name == "for" for v in op.results if isinstance(v.type, ArrayType)
    }
    for op in block.ops:
        for k, v in enumerate(op.operands):
            if v in found:
                if op.name == "load" and k == 0:
                    found[v].append(op)
                else:
                    del found[v]
        for inner in (b for region in op.regions for b in blocks_within(region)):
            for v in (*(v for o in inner.ops for v in o.operands), *inner.yields):
                found.pop(v, None)
    for v in block.yields:
        found.pop(v, None)
    return found


def _drop(dependence: Dependence, carried: Carried, behind: list[Op], replaced: Replacements) -> None:
    """Let the version before a dead store stand for the one behind it."""
    loads, stores = carried.loads, carried.stores
    if (len(loads) + len(behind)) * len(stores) > _PAIRS:
        return
    for s in stores:
        if s.op.name != "store" or s.op.attrs.get("visible"):
            continue
        if any(dependence.may_reach(s, x) for x in loads) or any(dependence.may_touch(s, op) for op in behind):
            continue
        replaced.add(s.op.result, s.op.operands[0])
