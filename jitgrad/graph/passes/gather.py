"""Sums of shifted arrays in one sweep: the adjoint of a stencil.

A stencil reads an array at several offsets, so its adjoint adds one array, or a few, to another at several offsets:

    ct = addto ct, t [0:n]; ct = addto ct, t [2:n + 2]; ct = addto ct, s [1:n + 1]

and each `addto` is a sweep over memory. Instead, one sweep adds all of them to the whole of ct, each with margins of
-0.0 around it (`surround`), for to add that changes nothing, not even the sign of a zero. What was stored into ct just
before, itself with something added, is one of them.

What is added to a part that was just filled with zeros is stored there instead.

In: a graph in its final form but for this (after differentiation). Out: the same graph; the order of these sums is
ours. Only for parts that make up most of the array and whose place is known.
"""

from __future__ import annotations

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.index import Span, index_of, store
from jitgrad.graph.ops.shape import surround_by
from jitgrad.graph.passes.rewriting import blocks_within
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.places import is_most
from jitgrad.graph.passes.survey import surveyed

__all__ = ["gather_sums"]


def gather_sums(graph: Graph) -> bool:
    """Turn chains of `addto` with shifted parts into one sum."""
    blocks = blocks_within(graph)
    if not any(op.name == "addto" for block in blocks for op in block.ops):
        return False
    r = surveyed(graph)
    changed = False
    for block in blocks:
        for chain in _chains(r, block):
            changed |= _fill(block, chain, r.uses)
            if len(chain) > 1:
                _rewrite(r, block, chain)
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
    uses[filled] = 1
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


def _chains(r: Context, block: Block) -> list[list[Op]]:
    """Return the runs of shifted sums that are worth one sweep."""
    found: list[list[Op]] = []
    ends: dict[Value, list[Op]] = {}
    for op in block.ops:
        if op.name != "addto" or not _is_shifted(r, op):
            continue
        chain = ends.pop(op.operands[0], None) if r.uses.get(op.operands[0]) == 1 else None
        if chain is None:
            chain = []
            found.append(chain)
        chain.append(op)
        ends[op.result] = chain
    return [chain for chain in found if len(chain) > 1]


def _is_shifted(r: Context, op: Op) -> bool:
    """Whether most of an array is stored or added to, in one piece."""
    if not op.result.shape or not op.result.type.is_float:
        return False
    plain = all(isinstance(e, Span) and e.step == 1 and isinstance(e.start, int) for e in index_of(op))
    return plain and is_most(r, op.operands[0].shape, op.operands[1].shape)


def _rewrite(r: Context, block: Block, chain: list[Op]) -> None:
    last = chain[-1]
    g = Builder(Block(), last.location)
    dead = set(chain)
    total = chain[0].operands[0]
    terms = [(op.operands[1], index_of(op)) for op in chain]
    first = _own_sum(r, total)
    if first is not None:
        assert total.op is not None
        dead.add(total.op)
        terms.insert(0, (first, index_of(total.op)))
        total = total.op.operands[0]
    for value, index in terms:
        start: list[int] = [e.start for e in index]  # type: ignore[union-attr, misc]
        total = g.add(total, surround_by(g, value, start, last.result.shape))
    # The sum takes over the value that the rest of the program uses.
    assert total.op is not None
    total.op.results = [last.result]
    last.result.owner = total.op
    place = block.ops.index(last)
    block.ops[place:place] = g.block.ops
    block.ops = [op for op in block.ops if op not in dead]


def _own_sum(r: Context, total: Value) -> Value | None:
    """Return what a store adds to the part that it stores into."""
    op = total.op
    if op is None or op.name != "store" or r.uses.get(total) != 1 or not _is_shifted(r, op):
        return None
    added = op.operands[1].op
    if added is None or added.name != "add":
        return None
    for x, y in (added.operands, added.operands[::-1]):
        part = x.op
        if part is None or part.name != "load" or part.operands[0] is not op.operands[0] or y.shape != x.shape:
            continue
        if index_of(part) == index_of(op):
            return y
    return None
