"""The bookkeeping of reverse mode: where primal values live, and what each reverse region holds while it is built.

In: the primal, as a graph that will be extended. Out: `Nest`, which knows the region of every nested value and collects
ops to insert into the forward program, and `Frame`, one for each region of the primal whose reverse is under
construction. No derivative is written here.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any, TypeAlias

from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.cotangent import Cot
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.types import INT64, Type

__all__ = ["Frame", "Nest", "Step", "run"]

Step: TypeAlias = Generator["Step", None, None]


def run(step: Step) -> None:
    """Run a generator that yields generators, depth first: recursion over regions without Python's recursion limit."""
    stack = [step]
    while stack:
        try:
            stack.append(next(stack[-1]))
        except StopIteration:
            stack.pop()


class Nest:
    """The regions of a primal, and the ops to be inserted into them.

    Attributes
    ----------
    graph : Graph
        The primal; its own values have no home, nor have values captured from outside of it: they are at hand
        everywhere.
    home : dict of Value to Block
        The region that defines each nested value.
    enclosing : dict of Block to (Op, Block)
        The op that a region belongs to, and the block of that op.
    anchors : dict of Value to (Op, bool)
        For values of inserted ops: next to which op they were inserted, and whether after it.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.home: dict[Value, Block] = {}
        self.enclosing: dict[Block, tuple[Op, Block]] = {}
        self.anchors: dict[Value, tuple[Op | None, bool]] = {}
        self._inserted: dict[Block, dict[Op | None, tuple[list[Op], list[Op]]]] = {}
        pending: list[Block] = [graph]
        while pending:
            block = pending.pop()
            for op in block.ops:
                for region in op.regions:
                    self.enclosing[region] = op, block
                    for arg in region.args:
                        self.home[arg] = region
                    for inner in region.ops:
                        for result in inner.results:
                            self.home[result] = region
                    pending.append(region)

    def chain(self, block: Block) -> list[tuple[Op, Block]]:
        """Return the ops around a region with their region on the way to it, outermost first."""
        found = []
        at = block
        while at in self.enclosing:
            op, outer = self.enclosing[at]
            found.append((op, at))
            at = outer
        found.reverse()
        return found

    def outermost(self, block: Block) -> Op:
        """Return the op around a region that lies in no region itself."""
        while True:
            op, outer = self.enclosing[block]
            if outer not in self.enclosing:
                return op
            block = outer

    def insert(self, block: Block, op: Op | None, after: bool, location: Any = None) -> _Insertion:
        """Return a context whose builder adds ops before or after `op` of the forward program.

        With op None they come at the start of the block, or with `after` at its end.
        """
        lists = self._inserted.setdefault(block, {}).setdefault(op, ([], []))
        return _Insertion(self, block, lists[after], (op, after), location)

    def insert_after(self, value: Value) -> _Insertion:
        """Return a context whose builder adds ops to the forward program where `value` has just been defined."""
        block = self.home.get(value, self.graph)
        op = value.op
        anchor, after = self.anchors.get(value, (op, op is not None))
        return self.insert(block, anchor, after, None if op is None else op.location)

    def add_result(self, op: Op, value_type: Type) -> Value:
        """Append a result to an op with regions and return it."""
        result = Value(value_type, op, len(op.results))
        op.results.append(result)
        outer = self.enclosing[op.regions[0]][1]
        if outer is not self.graph:
            self.home[result] = outer
        return result

    def add_arg(self, region: Block, value_type: Type) -> Value:
        """Append an argument to a region and return it."""
        arg = region.add_arg(value_type)
        self.home[arg] = region
        return arg

    def finish(self) -> None:
        """Put the inserted ops in their places."""
        for block, table in self._inserted.items():
            start, end = table.get(None, ([], []))
            ops = list(start)
            for op in block.ops:
                before, after = table.get(op, ((), ()))
                ops.extend(before)
                ops.append(op)
                ops.extend(after)
            ops.extend(end)
            block.ops = ops


class _Insertion:
    """Builds into a list of inserted ops; values made belong to the block that they go to."""

    def __init__(self, nest: Nest, block: Block, ops: list[Op], anchor: tuple[Op | None, bool], location: Any) -> None:
        self._nest, self._block, self._ops, self._anchor = nest, block, ops, anchor
        self._scratch = Block()
        self._builder = Builder(self._scratch, location)

    def __enter__(self) -> Builder:
        return self._builder

    def __exit__(self, *_: object) -> None:
        self._ops.extend(self._scratch.ops)
        nest = self._nest
        for op in self._scratch.ops:
            for result in op.results:
                nest.anchors[result] = self._anchor
                if self._block is not nest.graph:
                    nest.home[result] = self._block


class Frame:
    """The reverse of one region, under construction.

    Attributes
    ----------
    forward : Block
        The region of the primal (the graph itself for the outermost frame).
    block : Block
        Where the reverse code goes.
    parent : Frame or None
    count : Value or None
        For the body of a loop, the trip count; the first argument of `block` counts iterations of the reverse loop.
    leaves : dict of Value to Value or None
        For values of this region: the one value that must be saved so that it can be recomputed; None for nothing.
    held : set of Value
        Values of this region that were found to be read again where they were stored, rather than saved.
    memo : dict of Value to Value
        Primal values that are at hand here; of an array that stores replaced, only the version not yet undone.
    cots : dict of Value to Cot
        Cotangents so far; one of an outer value replaces the parent's when the region is done.
    cursors : dict of Cursor to Value
        For each cursor of tapes read here, how many entries have not been read yet.
    carried : list of (key, Value, Value or None)
        For the body of a loop: accumulators and cursors threaded through it, as (primal value or cursor, argument,
        argument that holds the mask).
    masked : {'', 'one', 'array'}
        For the body of a loop: whether the cotangents that enter it all have masks, a bool each or whole arrays.
    sure : bool
        For the body of a loop: whether it runs, and without branches or inner loops, so that what it uses is used.
    """

    def __init__(self, forward: Block, parent: Frame | None, block: Block, *, count: Value | None = None) -> None:
        self.forward = forward
        self.ops = list(forward.ops)
        self.parent = parent
        self.block = block
        self.count = count
        self.is_loop = count is not None
        self.memo: dict[Value, Value] = {}
        self.leaves: dict[Value, Value | None] = {}
        self.held: set[Value] = set()
        self.cots: dict[Value, Cot] = {}
        self.cursors: dict[Any, Value] = {}
        self.carried: list[tuple[Any, Value, Value | None]] = []
        self.masked = ""
        self.sure = False
        if self.is_loop:
            block.add_arg(INT64, "k")

    def outward(self) -> Iterator[Frame]:
        """Yield this frame and those around it."""
        at: Frame | None = self
        while at is not None:
            yield at
            at = at.parent
