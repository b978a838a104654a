"""Sums of shifted arrays in one sweep: the adjoint of a stencil.

A stencil reads an array at several offsets, so its adjoint adds one array, or a few, to another at several offsets:

    ct = addto ct, t [0:n]; ct = addto ct, t [2:n + 2]; ct = addto ct, s [1:n + 1]

and each `addto` is a sweep over memory. Instead, t and s are stored into arrays with margins of zeros, as wide as the
offsets need, and one sweep adds all of them to the whole of ct. The margins are filled once, before the loop, which
carries these arrays; their zeros are -0.0, for to add that changes nothing, not even the sign of a zero.

What is added to a part that was just filled with zeros is stored there instead.

In: a graph in its final form but for this (after differentiation). Out: the same graph; the order of these sums is
ours. Only for parts that make up most of the array; shapes must be known numbers, steps 1.
"""

from __future__ import annotations

import math

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.index import Span, index_of, load, store
from jitgrad.graph.passes.rewriting import blocks_within

__all__ = ["gather_sums"]

# The part that is added to must be this much of the array: the sweep covers all of it.
_MOST = 0.7


def gather_sums(graph: Graph) -> bool:
    """Turn chains of `addto` with shifted parts into one sum."""
    uses: dict[Value, int] = {}
    blocks = blocks_within(graph)
    if not any(op.name == "addto" for block in blocks for op in block.ops):
        return False
    owners = {region: op for block in blocks for op in block.ops for region in op.regions}
    for block in blocks:
        for v in (*(v for op in block.ops for v in op.operands), *block.yields):
            uses[v] = uses.get(v, 0) + 1
    changed = False
    for block in blocks:
        owner = owners.get(block)
        if owner is not None and owner.name != "for":
            continue
        outer = graph if owner is None else next(b for b in blocks if owner in b.ops)
        for chain in _chains(block, uses):
            changed |= _fill(block, chain, uses)
            if len(chain) > len({op.operands[1] for op in chain}):
                _rewrite(block, owner, outer, chain)
                changed = True
    return changed


def _fill(block: Block, chain: list[Op], uses: dict[Value, int]) -> bool:
    """Store what is added to a part that was filled with zeros before the chain; shorten the chain by that."""
    first = chain[0]
    base = first.operands[0]
    zeros = base.op
    if zeros is None or zeros not in block.ops or zeros.name != "store" or uses.get(base) != 1 or not _are_zeros(zeros):
        return False
    place = index_of(zeros)
    op = next((op for op in chain if index_of(op) == place), None)
    if op is None or len(chain) < 2:
        return False
    # The others follow in their order; the store takes the place of the first, where all that is added is known.
    values = [o for o in chain if o is not op]
    g = Builder(Block(), op.location)
    filled = store(g, zeros.operands[0], op.operands[1], place)
    ops = [*g.block.ops]
    total = filled
    for o in values:
        moved = Op(o.primitive, [total, *o.operands[1:]], o.attrs, (), [o.result.type], o.location)
        ops.append(moved)
        total = moved.result
    last = chain[-1]
    ops[-1].results = [last.result]
    at = block.ops.index(last)
    last.result.owner = ops[-1]
    block.ops[at:at] = ops
    dead = {zeros, *chain}
    block.ops = [o for o in block.ops if o not in dead]
    chain[:] = ops[1:]
    return True


def _are_zeros(op: Op) -> bool:
    value = op.operands[1]
    while value.op is not None and value.op.name in ("broadcast", "reshape"):
        value = value.op.operands[0]
    return value.op is not None and value.op.name == "constant" and not np.any(value.op.attrs["value"])


def _chains(block: Block, uses: dict[Value, int]) -> list[list[Op]]:
    """Return the runs of shifted sums that are worth one sweep."""
    found: list[list[Op]] = []
    ends: dict[Value, list[Op]] = {}
    for op in block.ops:
        if op.name != "addto" or not _is_shifted(op):
            continue
        chain = ends.pop(op.operands[0], None) if uses.get(op.operands[0]) == 1 else None
        if chain is None:
            chain = []
            found.append(chain)
        chain.append(op)
        ends[op.result] = chain
    return [chain for chain in found if len(chain) > 1]


def _is_shifted(op: Op) -> bool:
    """Whether most of an array of known shape is added to, in one piece."""
    shape = op.operands[0].shape
    if len(op.operands) > 2 or not shape or not all(isinstance(d, int) for d in shape):
        return False
    index = index_of(op)
    if not all(isinstance(e, Span) and e.step == 1 for e in index):
        return False
    part = math.prod(op.operands[1].shape)  # type: ignore[arg-type]
    return part >= _MOST * math.prod(shape) and part > 64  # type: ignore[arg-type]


def _start(op: Op) -> tuple[int, ...]:
    return tuple(e.start for e in index_of(op))  # type: ignore[union-attr, misc]


def _rewrite(block: Block, owner: Op | None, outer: Block, chain: list[Op]) -> None:
    last = chain[-1]
    shape: tuple[int, ...] = last.result.shape  # type: ignore[assignment]
    offsets: dict[Value, list[tuple[int, ...]]] = {}
    for op in chain:
        offsets.setdefault(op.operands[1], []).append(_start(op))
    made = Block()
    g = Builder(made, last.location)
    padded: dict[Value, tuple[Value, list[int]]] = {}
    for value, at in offsets.items():
        low = [min(o[d] for o in at) for d in range(len(shape))]
        high = [max(o[d] for o in at) for d in range(len(shape))]
        whole = tuple(n + b - a for n, a, b in zip(shape, low, high, strict=True))
        zeros = _zeros(block, owner, outer, value, whole, last)
        part = [Span(b, 1, n) for b, n in zip(high, value.shape, strict=True)]
        filled = store(g, zeros, value, part)
        if owner is not None:
            owner.regions[0].yields.append(filled)
        padded[value] = filled, high
    total = chain[0].operands[0]
    for op in chain:
        filled, high = padded[op.operands[1]]
        start = [b - a for b, a in zip(high, _start(op), strict=True)]
        total = g.add(total, load(g, filled, [Span(s, 1, n) for s, n in zip(start, shape, strict=True)]))
    # The sum takes over the value that the rest of the program uses.
    assert total.op is not None
    total.op.results = [last.result]
    last.result.owner = total.op
    dead = set(chain)
    place = block.ops.index(last)
    block.ops[place:place] = made.ops
    block.ops = [op for op in block.ops if op not in dead]


def _zeros(block: Block, owner: Op | None, outer: Block, like: Value, shape: tuple[int, ...], last: Op) -> Value:
    """Return an array of zeros in a block: made there, or made before the loop and carried by it."""
    before = Block()
    g = Builder(before, last.location)
    zeros: Value = g.broadcast(g.constant(-0.0, like.array.dtype), shape=shape)
    if owner is None:
        at = block.ops.index(last)
        block.ops[at:at] = before.ops
        return zeros
    at = outer.ops.index(owner)
    outer.ops[at:at] = before.ops
    owner.operands.append(zeros)
    owner.results.append(Value(zeros.type, owner, len(owner.results)))
    return block.add_arg(zeros.type)
