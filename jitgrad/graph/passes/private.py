"""Arrays of which each iteration of a loop has a part of its own keep one part.

    t = undef(n, m)                                            t = undef(1, m)
    for i in range(n):                                         for i in range(n):
        for j in range(m): t[i, j] = ...; ... t[i, j] ...          for j in range(m): t[0, j] = ...; ... t[0, j] ...

In: a graph in its final form but for layouts. Out: the same graph, with smaller arrays. Only for arrays that hold
nothing before the loop and that nobody asks for behind it: what an iteration reads, it has stored.
"""

from __future__ import annotations

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.index import Entry, Span, index_of, split_index
from jitgrad.graph.ops.shape import split_shape
from jitgrad.graph.passes.accesses import Carried, carried_array
from jitgrad.graph.passes.rewriting import blocks_within, defined_in
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.ranges import Sum, as_sum, bound, emit_sum
from jitgrad.graph.passes.survey import surveyed
from jitgrad.graph.types import ArrayType

__all__ = ["keep_one_part"]

# Parts are not worth it where they are a large share of the array.
_SHARE = 4


def keep_one_part(graph: Graph) -> bool:
    """Shrink arrays that loops carry and that are used anew in each iteration."""
    blocks = blocks_within(graph)
    loops = [(b, op) for b in blocks for op in b.ops if op.name == "for" and any(map(_is_new, op.operands[1:]))]
    if not loops:
        return False
    used = {v for b in blocks for values in (b.yields, *(op.operands for op in b.ops)) for v in values}
    r = surveyed(graph)
    changed = False
    for block, loop in loops:
        for k, init in enumerate(loop.operands[1:]):
            if _is_new(init) and loop.results[k] not in used:
                carried = carried_array(loop, k)
                if carried is not None and carried.stores and _shrink(r, block, carried):
                    changed = True
    return changed


def _is_new(value: Value) -> bool:
    return value.op is not None and value.op.name == "undef" and bool(value.shape)


def _shrink(r: Context, block: Block, carried: Carried) -> bool:
    loop, k = carried.loop, carried.position
    type = loop.results[k].type
    assert isinstance(type, ArrayType)
    ops = list(dict.fromkeys(a.op for a in (*carried.loads, *carried.stores)))
    for axis, size in enumerate(type.shape):
        part = _part(r, loop, ops, axis)
        if part is None or (isinstance(size, int) and part[1] * _SHARE > size):
            continue
        base, extent = part
        g = Builder(Block(), loop.location)
        shape = tuple(extent if a == axis else d for a, d in enumerate(type.shape))
        attr, dims = split_shape(shape)
        new = g.undef(*dims, shape=attr, dtype=type.dtype.name)
        at = block.ops.index(loop)
        block.ops[at:at] = g.block.ops
        loop.operands[k + 1] = new
        for value in _versions(loop, k):
            value.type = new.type
        for inner in blocks_within(loop.regions[0]):
            for op in [op for op in inner.ops if op in ops]:
                _move(inner, op, axis, as_sum(r, index_of(op)[axis][0]).plus(base, -1))
        return True
    return False


def _move(block: Block, op: Op, axis: int, place: Sum) -> None:
    """Let an access begin at another place along an axis."""
    g = Builder(Block(), op.location)
    entries: list[Entry] = list(index_of(op))
    entry = entries[axis]
    entries[axis] = type(entry)(emit_sum(g, place), *entry[1:])
    attr, numbers = split_index(entries)
    at = block.ops.index(op)
    block.ops[at:at] = g.block.ops
    op.operands = [*op.operands[: 1 if op.name == "load" else 2], *numbers]
    op.attrs = {**op.attrs, "index": attr}


def _part(r: Context, loop: Op, ops: list[Op], axis: int) -> tuple[Sum, int] | None:
    """Return where along an axis the part of an iteration begins, and how long it is; None if it has none."""
    index = loop.regions[0].args[0]
    inside = defined_in(loop.regions[0])
    base: Sum | None = None
    lows, highs = list[int](), list[int]()
    for op in ops:
        entry = index_of(op)[axis]
        place = as_sum(r, entry[0])
        if not place.terms.get(index):
            return None
        own = Sum({v: factor for v, factor in place.terms.items() if v is index or v not in inside})
        base = own if base is None else base
        if own != base:
            return None
        rest = place.plus(own, -1)
        last = rest
        if isinstance(entry, Span):
            if entry.step != 1:
                return None
            last = rest.plus(as_sum(r, entry.length)).plus(Sum({}, 1), -1)
        lows.append(bound(r, rest, -1))
        highs.append(bound(r, last, 1))
    if base is None:
        return None
    extent = max(highs) - min(lows) + 1
    # What one iteration stores another must not read.
    return None if abs(base.terms[index]) < extent else (base.plus(Sum({}, min(lows))), extent)


def _versions(loop: Op, k: int) -> list[Value]:
    """Return all that the array is called that a loop carries at a position."""
    known = dict.fromkeys([loop.results[k], loop.regions[0].args[k + 1]])
    count = 0
    # Until nothing is new: what an arm of a branch stores is met behind the branch that yields it.
    while count < len(known):
        count = len(known)
        for op in (op for block in blocks_within(loop.regions[0]) for op in block.ops):
            if op.name in ("addto", "store") and op.operands[0] in known:
                known[op.result] = None
            elif op.name == "for":
                at = [i for i, v in enumerate(op.operands[1:]) if v in known]
                known |= dict.fromkeys(v for i in at for v in (op.results[i], op.regions[0].args[i + 1]))
            elif op.name == "if":
                arms = list(zip(*(region.yields for region in op.regions), strict=True))
                known |= dict.fromkeys(v for i, v in enumerate(op.results) if any(y in known for y in arms[i]))
    return list(known)
