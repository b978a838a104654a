"""Sums into zeros that nothing was added to before become stores.

The cotangent of an array that a loop reads row by row begins as zeros, and each row is added to once. Filling it,
reading the zeros and adding are work for nothing: what is added is stored. If the loop stores every row of a range,
only the rows outside of the range are filled before.

In: a graph in its final form but for this. Out: the same graph. Only where one `addto` is all that a loop does to the
array, at another place in every iteration.
"""

from __future__ import annotations

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.index import Pick, Span, index_of, store
from jitgrad.graph.ops.shape import broadcast_to, split_shape
from jitgrad.graph.passes.accesses import Access, carried_array
from jitgrad.graph.passes.dependence import Dependence
from jitgrad.graph.passes.rewriting import blocks_within
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.ranges import Sum, bound, last_of, sum_of
from jitgrad.graph.passes.survey import surveyed
from jitgrad.graph.primitive import PRIMITIVES
from jitgrad.graph.types import INT64, ArrayType, Dim

__all__ = ["store_into_fresh"]


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
                if zero is None or carried is None or len(carried.loads) != 1 or len(carried.stores) != 1:
                    continue
                (access,) = carried.stores
                if access.op.name == "addto" and not Dependence(r, carried).may_reach(access, access):
                    _store(access, zero)
                    if len(access.path) == 1:
                        _fill_less(r, block, loop, k, access)
                    changed = True
    return changed


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
    op.primitive = PRIMITIVES["store"]
    assert zero.op is not None
    if str(zero.op.attrs["value"][()]) != "-0.0":
        g = Builder(Block(), op.location)
        op.operands[1] = g.add(op.operands[1], zero)
        at = block.ops.index(op)
        block.ops[at:at] = g.block.ops


def _fill_less(r: Context, block: Block, loop: Op, position: int, access: Access) -> None:
    """Fill only what the loop does not store, if that is known."""
    array = loop.operands[position + 1]
    axis = _rows(array, access)
    if axis is None:
        return
    (body,) = loop.regions
    pick = index_of(access.op)[axis]
    assert isinstance(pick, Pick)
    row = sum_of(r, pick.at) if isinstance(pick.at, Value) else Sum({}, pick.at or 0)
    factor = row.terms.get(body.args[0], 0)
    start = row.plus(Sum({body.args[0]: factor}), -1)
    end = start.plus(last_of(r, body.args[0]), factor)
    first, last = (start, end) if factor == 1 else (end, start)
    size = array.shape[axis]
    rows = Sum({}, size) if isinstance(size, int) else sum_of(r, size)
    behind = rows.plus(last, -1).plus(Sum({}, -1))
    if abs(factor) != 1 or first.terms or behind.terms or first.constant < 0 or behind.constant < 0:
        return
    if bound(r, rows, -1) < first.constant + behind.constant:  # else the loop might have no trip, and these no room
        return
    g = Builder(Block(), loop.location)
    attr, dims = split_shape(array.shape)
    total = g.emit("undef", dims, {"shape": attr, "dtype": array.array.dtype}).result
    assert array.op is not None
    for count, at in ((first.constant, 0), (behind.constant, None)):
        if count:
            begin: Dim = at if at is not None else _less(g, size, count)
            index = [Span(0, 1, d) for d in array.shape]
            index[axis] = Span(begin, 1, count)
            part = (*array.shape[:axis], count, *array.shape[axis + 1 :])
            total = store(g, total, broadcast_to(g, array.op.operands[0], part), index)
    at_loop = block.ops.index(loop)
    block.ops[at_loop:at_loop] = g.block.ops
    loop.operands[position + 1] = total


def _less(g: Builder, size: Dim, count: int) -> Dim:
    return size - count if isinstance(size, int) else g.subtract(size, g.constant(count, INT64.dtype))


def _rows(array: Value, access: Access) -> int | None:
    """Return the only axis on which an access picks a position, all of the others being taken whole."""
    found = None
    for axis, (e, d) in enumerate(zip(index_of(access.op), array.shape, strict=True)):
        if isinstance(e, Pick):
            if found is not None:
                return None
            found = axis
        elif (e.start, e.step) != (0, 1) or (e.length is not d and e.length != d):
            return None
    return found
