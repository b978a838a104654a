"""Later versions of an array that still hold what a load reads.

In: a region, a version of an array, a load. Out: the version behind the store, sum or loop that follows, if that writes
elsewhere. A recurrence stores element i and reads element i - 1: what it read is still there when it has ended.
"""

from __future__ import annotations

from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.index import index_of, part_shape
from jitgrad.graph.passes.accesses import Carried, carried_array
from jitgrad.graph.passes.dependence import Dependence
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.places import apart, place_of
from jitgrad.graph.passes.rules.ranges import as_sum
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
        self._writes: dict[Block, dict[Value, Op]] = {}
        self._stored: dict[Block, dict[Value, Op]] = {}
        self._carried: dict[tuple[Op, Value], Carried | None] = {}
        self._context: Context | None = None

    def past(self, block: Block, version: Value, place: Op) -> Value | None:
        """Return the version behind the op that writes into one, both of a block, if it leaves what is at a place.

        Parameters
        ----------
        block : Block
        version : Value
        place : Op
            A load or store, for the sake of its index.
        """
        if block not in self._writes:
            stores = [(op.operands[0], op) for op in block.ops if op.name in ("addto", "store")]
            loops = [(v, op) for op in block.ops if op.name == "for" for v in op.operands[1:]]
            self._writes[block] = dict(reversed(stores + loops))
        write = self._writes[block].get(version)
        if write is None:
            return None
        if self._context is None:
            self._context = surveyed(self._graph)
        r = self._context
        if write.name == "for":
            return self._past_loop(r, write, version, place)
        return write.result if apart(r, place_of(r, write), place_of(r, place)) else None

    def store_of(self, block: Block, value: Value) -> Op | None:
        """Return an op of a block that stores a value of it into a part of an array."""
        if block not in self._stored:
            stores = [op for op in block.ops if op.name == "store"]
            stores = [op for op in stores if op.operands[1].shape == part_shape(index_of(op))]
            self._stored[block] = {op.operands[1]: op for op in stores}
        return self._stored[block].get(value)

    def _past_loop(self, r: Context, loop: Op, version: Value, place: Op) -> Value | None:
        if loop.operands.count(version) > 1:
            return None
        position = loop.operands.index(version) - 1
        if (loop, version) not in self._carried:
            self._carried[loop, version] = carried_array(loop, position)
        carried = self._carried[loop, version]
        if carried is None:
            return None
        dependence = Dependence(r, carried)
        # A place that the loop itself computes is another one in each iteration.
        numbers = [x for entry in index_of(place) for x in entry if isinstance(x, Value)]
        if any(v in dependence.inside or v in dependence.indices for x in numbers for v in as_sum(r, x).terms):
            return None
        if any(dependence.may_touch(store, place) for store in carried.stores):
            return None
        return loop.results[position]
