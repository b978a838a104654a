"""What the passes share: walking regions without recursion, and replacing values in one forward sweep.

In: blocks and mappings of values. Out: lists of blocks, substituted operands, types and attributes. This room decides
nothing about what is worth rewriting.
"""

from __future__ import annotations

from collections.abc import Sequence

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value, clone_block, substitute_attrs, substitute_type

__all__ = [
    "FREEDOMS",
    "KEPT_EFFECTS",
    "Replacements",
    "blocks_within",
    "defined_in",
    "drop_positions",
    "may_act",
    "some_iterations",
    "used_by",
]

# Attributes that let the backend round otherwise than the op alone would; they mean nothing to the graph.
FREEDOMS = frozenset({"any_order", "any_rounding"})

# An op with one of these stays although nothing uses its results, and nothing may pass over it that it guards.
KEPT_EFFECTS = frozenset({"may_raise", "io"})


def blocks_within(block: Block) -> list[Block]:
    """Return a block and every region within, outer before inner; deep nests need no Python recursion."""
    found = [block]
    for block in found:
        for op in block.ops:
            if op.regions:
                found.extend(op.regions)
    return found


def defined_in(block: Block) -> set[Value]:
    """Return the arguments and results of a block and of all regions within."""
    return {v for b in blocks_within(block) for values in (b.args, *(op.results for op in b.ops)) for v in values}


def may_act(block: Block) -> bool:
    """Whether a block holds an op, however deep, that may raise or do input and output."""
    return any(op.primitive.effects & KEPT_EFFECTS for inner in blocks_within(block) for op in inner.ops)


def used_by(op: Op) -> list[Value]:
    """Return all that an op uses, in its regions too."""
    found = list(op.operands)
    for region in op.regions:
        for block in blocks_within(region):
            found += [v for o in block.ops for v in o.operands]
            found += block.yields
    return found


def some_iterations(g: Builder, loop: Op, start: Value, size: int, given: Sequence[Value]) -> Op:
    """Emit a loop for the iterations of a `for` from one on, as many as there are but no more than a size.

    Parameters
    ----------
    g : Builder
    loop : Op
    start : Value
        The number of the first.
    size : int
    given : sequence of Value
        What the loop carries by then.
    """
    (body,) = loop.regions
    left = g.minimum(g.subtract(loop.operands[0], start), g.constant(size, start.array.dtype))
    with g.region([v.type for v in body.args], [v.name for v in body.args]) as region:
        mapping = dict(zip(body.args, (g.add(region.args[0], start), *region.args[1:]), strict=True))
        region.yields = clone_block(body, region, mapping)
    g.emit("for", [left, *given], loop.attrs, [region])
    return g.block.ops[-1]


class Replacements:
    """Values that stand for others from now on.

    A pass that walks a graph in order asks for each op as it comes: definitions dominate uses, so whatever is to be
    replaced is known by then, and one sweep is enough.
    """

    __slots__ = ("mapping",)

    def __init__(self) -> None:
        self.mapping: dict[Value, Value] = {}

    def __bool__(self) -> bool:
        return bool(self.mapping)

    def add(self, old: Value, new: Value) -> None:
        """Let `new` stand for `old`; the printed name moves on if the new value has none."""
        new = self.find(new)
        assert new is not old
        self.mapping[old] = new
        if not new.name and old.name and new.op is not None:
            new.name = old.name

    def find(self, value: Value) -> Value:
        """Return what stands for a value."""
        mapping = self.mapping
        while value in mapping:
            value = mapping[value]
        return value

    def in_values(self, values: list[Value]) -> list[Value]:
        """Return values replaced; the same list where nothing changes."""
        mapping = self.mapping
        for v in values:
            if v in mapping:
                return [self.find(v) for v in values]
        return values

    def in_block(self, block: Block) -> None:
        """Replace in the types of a block's arguments, when the walk enters it."""
        if self.mapping:
            for arg in block.args:
                arg.type = substitute_type(arg.type, self.mapping)

    def in_op(self, op: Op) -> None:
        """Replace in the operands, result types and attributes of an op, when the walk meets it."""
        mapping = self.mapping
        if not mapping:
            return
        for v in op.operands:
            if v in mapping:
                op.operands = [self.find(v) for v in op.operands]
                break
        for result in op.results:
            if result.type.run_time:
                result.type = substitute_type(result.type, mapping)
                op.attrs = substitute_attrs(op.attrs, mapping)

    def everywhere(self, graph: Graph) -> None:
        """Replace in all of a graph."""
        for block in blocks_within(graph):
            self.in_block(block)
            for op in block.ops:
                self.in_op(op)
            block.yields = self.in_values(block.yields)


def drop_positions(op: Op, dead: set[int]) -> None:
    """Remove results of an `if`, `for` or `while`, which nothing uses, with all that belongs to them."""
    op.results = [v for i, v in enumerate(op.results) if i not in dead]
    for i, result in enumerate(op.results):
        result.index = i
    if op.name != "if":
        skip = 1 if op.name == "for" else 0
        op.operands = [v for i, v in enumerate(op.operands) if i - skip not in dead]
        for region in op.regions:
            region.args = [v for i, v in enumerate(region.args) if i - skip not in dead]
            for i, arg in enumerate(region.args):
                arg.index = i
    for region in op.regions[1:] if op.name == "while" else op.regions:
        region.yields = [v for i, v in enumerate(region.yields) if i not in dead]
