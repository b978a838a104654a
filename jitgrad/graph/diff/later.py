"""Later versions of an array that still hold what a load reads.

In: a region, a version of an array, a load. Out: the version behind the store or sum that follows, if that writes
elsewhere. A recurrence stores element i and reads element i - 1: what it read is still there when it has ended.
"""

from __future__ import annotations

from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.places import apart, place_of
from jitgrad.graph.passes.survey import surveyed

__all__ = ["Later"]


class Later:
    """Knows of each version of an array the next one in its region.

    Parameters
    ----------
    graph : Graph
        The primal.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._stores: dict[Block, dict[Value, Op]] = {}
        self._context: Context | None = None

    def past(self, block: Block, version: Value, read: Op) -> Value | None:
        """Return the version behind the store into one, both of a block, if it leaves what a load reads; else None."""
        if block not in self._stores:
            stores = [op for op in block.ops if op.name in ("addto", "store")]
            self._stores[block] = {op.operands[0]: op for op in reversed(stores)}
        write = self._stores[block].get(version)
        if write is None:
            return None
        if self._context is None:
            self._context = surveyed(self._graph)
        r = self._context
        return write.result if apart(r, place_of(r, write), place_of(r, read)) else None
