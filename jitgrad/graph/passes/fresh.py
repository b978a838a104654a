"""Sums into zeros that nothing was added to before become stores.

The cotangent of an array that a loop reads row by row begins as zeros, and each row is added to once. Filling it,
reading the zeros and adding are work for nothing: what is added is stored. If the loop stores every row of a range,
only the rows outside of the range are filled before. A row may be stored in pieces, as of a triangular matrix; what
they leave of it is filled along with them, while the row is in the cache.

In: a graph in its final form but for this. Out: the same graph. Only where sums are all that a loop does to the array,
and none reaches what another has added to, in whatever iteration.
"""

from __future__ import annotations

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.index import Entry, Pick, Span, index_of, part_shape, store
from jitgrad.graph.ops.shape import broadcast_to, split_shape
from jitgrad.graph.passes.accesses import Access, Carried, carried_array
from jitgrad.graph.passes.dependence import Dependence
from jitgrad.graph.passes.rewriting import blocks_within
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.ranges import Sum, as_sum, bound, emit_sum, last_of
from jitgrad.graph.passes.survey import surveyed
from jitgrad.graph.primitive import PRIMITIVES
from jitgrad.graph.types import INT64, ArrayType, Dim

__all__ = ["store_into_fresh"]


_MOST = 6  # sums into one array


def store_into_fresh(graph: Graph) -> bool:
    """Turn the first sums into fresh zeros into stores."""
    blocks = blocks_within(graph)
    if not any(op.name == "addto" for block in blocks for op in block.ops):
        return False
    r = surveyed(graph)
    changed = False
    for block in blocks:
        for loop in [op for op in block.ops if op.name == "for"]:
            for k, result in enumerate(loop.results):
                if not isinstance(result.type, ArrayType) or not result.type.shape:
                    continue
                zero = _fill(r, loop.operands[k + 1])
                carried = carried_array(loop, k) if zero is not None else None
                if zero is None or carried is None or not _are_first(r, carried):
                    continue
                for access in carried.stores:
                    _store(access, zero)
                if all(len(access.path) == 1 for access in carried.stores):
                    _fill_less(r, block, loop, k, [access.op for access in carried.stores])
                changed = True
    return changed


def _are_first(r: Context, carried: Carried) -> bool:
    """Whether all that a loop does to an array is to add to elements that nothing was added to before."""
    sums = carried.stores
    if not sums or len(sums) > _MOST or len(sums) != len(carried.loads) or any(x.op.name != "addto" for x in sums):
        return False
    dependence = Dependence(r, carried)
    return not any(dependence.may_reach(x, y) for x in sums for y in sums)


def _fill(r: Context, value: Value) -> Value | None:
    """Return the scalar zero that a value is a broadcast of."""
    op = value.op
    if op is None or op.name != "broadcast" or op.operands[0].shape or not value.type.is_float:
        return None
    number = r.literal(op.operands[0])
    return op.operands[0] if number is not None and number == 0 else None


def _store(access: Access, zero: Value) -> None:
    """Store what was added; adding 0.0 makes -0.0 a 0.0, adding -0.0 changes nothing."""
    op = access.op
    block = access.path[-1][0]
    op.become(PRIMITIVES["store"])
    assert zero.op is not None
    if str(zero.op.attrs["value"][()]) != "-0.0":
        g = Builder(Block(), op.location)
        op.operands[1] = g.add(op.operands[1], zero)
        at = block.ops.index(op)
        block.ops[at:at] = g.block.ops


def _fill_less(r: Context, block: Block, loop: Op, position: int, stores: list[Op]) -> None:
    """Fill only what the loop does not store, if that is known."""
    array = loop.operands[position + 1]
    axis = _rows(array, stores)
    if axis is None:
        return
    (body,) = loop.regions
    pick = index_of(stores[0])[axis]
    assert isinstance(pick, Pick)
    row = as_sum(r, pick.at)
    factor = row.terms.get(body.args[0], 0)
    start = row.plus(Sum({body.args[0]: factor}), -1)
    end = start.plus(last_of(r, body.args[0]), factor)
    first, last = (start, end) if factor == 1 else (end, start)
    size = array.shape[axis]
    rows = as_sum(r, size)
    behind = rows.plus(last, -1).plus(Sum({}, -1))
    if abs(factor) != 1 or first.terms or behind.terms or first.constant < 0 or behind.constant < 0:
        return
    if bound(r, rows, -1) < first.constant + behind.constant:  # else the loop might have no trip, and these no room
        return
    hole = _hole(r, array.shape, axis, stores)
    if hole is None:
        return
    assert array.op is not None
    zero = array.op.operands[0]
    for k, (low, high) in hole.items():
        g = Builder(body, stores[-1].location)
        within: list[Entry] = [pick if n == axis else Span(0, 1, d) for n, d in enumerate(array.shape)]
        within[k] = Span(emit_sum(g, low), 1, emit_sum(g, high.plus(low, -1)))
        left = broadcast_to(g, zero, part_shape(within))
        body.yields[position] = store(g, body.yields[position], left, within)
    g = Builder(Block(), loop.location)
    attr, dims = split_shape(array.shape)
    total = g.emit("undef", dims, {"shape": attr, "dtype": array.array.dtype}).result
    for count, at in ((first.constant, 0), (behind.constant, None)):
        if count:
            begin: Dim = at if at is not None else _less(g, size, count)
            index = [Span(0, 1, d) for d in array.shape]
            index[axis] = Span(begin, 1, count)
            part = (*array.shape[:axis], count, *array.shape[axis + 1 :])
            total = store(g, total, broadcast_to(g, zero, part), index)
    at_loop = block.ops.index(loop)
    block.ops[at_loop:at_loop] = g.block.ops
    loop.operands[position + 1] = total


def _less(g: Builder, size: Dim, count: int) -> Dim:
    return size - count if isinstance(size, int) else g.subtract(size, g.constant(count, INT64.dtype))


def _rows(array: Value, stores: list[Op]) -> int | None:
    """Return the only axis on which all stores pick a position, and the same."""
    indices = [index_of(op) for op in stores]
    found = [
        axis
        for axis, entries in enumerate(zip(*indices, strict=True))
        if all(isinstance(e, Pick) and e == entries[0] for e in entries)
    ]
    return found[0] if len(found) == 1 else None


def _hole(r: Context, shape: tuple[Dim, ...], axis: int, stores: list[Op]) -> dict[int, tuple[Sum, Sum]] | None:
    """Return what the stores leave of a row: by axis, the first position and the one behind the last.

    Empty if they store all of it; None if that is not known.
    """
    indices = [index_of(op) for op in stores]
    along = [k for k, d in enumerate(shape) if k != axis and not all(_is_whole(index[k], d) for index in indices)]
    if not along:
        return {}
    (k, *more) = along
    left = [ends for index in indices if (ends := _ends(r, index[k])) is not None]
    low, high = Sum({}), as_sum(r, shape[k])
    if more or len(left) < len(indices):
        return None
    while left:
        # Of the parts that are stored, one joins those at the left end or those at the right.
        part = next((p for p in left if p[0] == low or p[1] == high), None)
        if part is None:
            return None
        left.remove(part)
        low, high = (part[1], high) if part[0] == low else (low, part[0])
    size = high.plus(low, -1)
    if bound(r, size, -1) < 0:
        return None
    return {k: (low, high)} if size != Sum({}) else {}


def _is_whole(e: Entry, size: Dim) -> bool:
    return isinstance(e, Span) and (e.start, e.step) == (0, 1) and (e.length is size or e.length == size)


def _ends(r: Context, e: Entry) -> tuple[Sum, Sum] | None:
    """Return the first position of an entry and the one behind the last, None if it leaves some out."""
    if isinstance(e, Pick):
        at = as_sum(r, e.at)
        return at, at.plus(Sum({}, 1))
    if e.step not in (1, -1):
        return None
    start, length = as_sum(r, e.start), as_sum(r, e.length)
    if e.step == 1:
        return start, start.plus(length)
    return start.plus(length, -1).plus(Sum({}, 1)), start.plus(Sum({}, 1))
