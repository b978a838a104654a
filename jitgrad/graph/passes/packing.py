"""Bools that a loop records together share a byte.

The way back through `np.minimum(a, b)` needs two bools of each element, that through a limiter four; each is recorded
in an array of its own, a byte an element. Those that are stored at one place of arrays of one size become bits of one
byte.

In: a graph whose loops record bools in arrays that are read behind them alone. Out: the same graph, with fewer and
smaller stores. Which bools are needed is decided elsewhere (`graph/diff/predicates.py`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.index import index_of, load
from jitgrad.graph.ops.shape import split_shape
from jitgrad.graph.passes.accesses import Loads, carried_array, loads_of
from jitgrad.graph.passes.rewriting import Replacements, blocks_within
from jitgrad.graph.types import BOOL, ArrayType

__all__ = ["pack_bools"]

_BYTE = np.dtype(np.uint8)
_BITS = 8


def pack_bools(graph: Graph) -> bool:
    """Let arrays of bools that a loop fills side by side be one array of bytes."""
    blocks = blocks_within(graph)
    reads: Loads | None = None
    replaced = Replacements()
    for home in blocks:
        for loop in [op for op in home.ops if op.name == "for"]:
            groups = [group for group in _alike(loop) if len(group) > 1]
            if not groups:
                continue
            reads = reads or loads_of(blocks)
            for group in groups:
                read = [record for record in group if reads.get(loop.results[record.position])]
                for first in range(0, len(read) - 1, _BITS):
                    _pack(home, loop, read[first : first + _BITS], reads, replaced)
    if not replaced:
        return False
    replaced.everywhere(graph)
    return True


class _Record(NamedTuple):
    """The one store that is all that a loop does to an array, the array's position among those it carries.

    Besides, the region of the store and the loops and branches around it.
    """

    position: int
    store: Op
    block: Block
    around: list[Op]


def _alike(loop: Op) -> Iterable[list[_Record]]:
    """Return the records of bools that a loop makes, those together that have the same place and size."""
    found: dict[object, list[_Record]] = defaultdict(list)
    for k, result in enumerate(loop.results):
        first = loop.operands[k + 1].op
        if _is_bool(result) and first is not None and first.name == "undef":
            carried = carried_array(loop, k)
            if carried is None or carried.loads or len(carried.stores) != 1:
                continue
            op, path = carried.stores[0].op, carried.stores[0].path
            block = path[-1][0]
            if op.name == "store" and not op.attrs.get("visible") and _is_bool(op.operands[1]):
                place = op.attrs["index"], tuple(op.operands[2:])
                found[block, place, result.type, op.operands[1].type].append(
                    _Record(k, op, block, [outer.ops[n] for outer, n in path[:-1]])
                )
    return found.values()


def _is_bool(value: Value) -> bool:
    return isinstance(value.type, ArrayType) and value.type.dtype == BOOL.dtype


def _pack(home: Block, loop: Op, group: list[_Record], reads: Loads, replaced: Replacements) -> None:
    """Store the bools of a group with the last one of them, and read them from there."""
    block = group[0].block
    last = max(group, key=lambda record: block.ops.index(record.store))
    store, position = last.store, last.position
    g = Builder(Block(), store.location)
    zero = g.constant(0, _BYTE)
    byte: Value | None = None
    for k, record in enumerate(group):
        bit = g.select(record.store.operands[1], g.constant(1 << k, _BYTE), zero)
        byte = bit if byte is None else g.bitwise_or(byte, bit)
    assert byte is not None
    store.operands[1] = byte
    at = block.ops.index(store)
    block.ops[at:at] = g.block.ops
    g = Builder(Block(), loop.location)
    bools = loop.results[position].type
    assert isinstance(bools, ArrayType)
    attr, dims = split_shape(bools.shape)
    loop.operands[position + 1] = first = g.undef(*dims, shape=attr, dtype=_BYTE.name)
    at = home.ops.index(loop)
    home.ops[at:at] = g.block.ops
    for version in _versions(loop, last):
        version.type = first.type
    for k, record in enumerate(group):
        for where, op in reads[loop.results[record.position]] or ():
            g = Builder(Block(), op.location)
            made = load(g, loop.results[position], index_of(op))
            bit = g.bitwise_and(made, g.constant(1 << k, _BYTE))
            replaced.add(op.result, g.not_equal(bit, g.constant(0, _BYTE)))
            at = where.ops.index(op)
            where.ops[at : at + 1] = g.block.ops


def _versions(loop: Op, record: _Record) -> set[Value]:
    """Return all that an array is called which a loop hands to a store and back."""
    ops = [loop, *record.around]
    known = {loop.operands[record.position + 1]}
    for op in ops:
        if op.name == "for":
            known.update(arg for arg, v in zip(op.regions[0].args[1:], op.operands[1:], strict=True) if v in known)
    known.add(record.store.result)
    for op in reversed(ops):
        for region in op.regions:
            known.update(result for result, v in zip(op.results, region.yields, strict=True) if v in known)
    return known - {loop.operands[record.position + 1]}
