"""Elements that one iteration of a loop stores and the next one reads are carried.

    for k in range(n): x[k + 1] = f(x[k])

passes through memory from one iteration to the next, and a store that is read again at once takes longer than all of a
short `f`. What was stored is handed on as a number as well (Callahan, Carr, Kennedy: Improving register allocation for
subscripted variables, PLDI 1990). An `addto` becomes a load of what was there, a sum and a store. Of a part that is
put back as it was elsewhere, one element is handed on; then often nothing reads the array any more.

In: a graph in its final form: before differentiation the load is better, it need not be kept for the way back. Out: the
same graph, which computes the same bits. Only where nothing else that is written can be that element in between. The
element that the first iteration reads is read before the loop if it is there: where sizes are known at run time only,
the loop may not run, or the first iteration find that it is out of range.
"""

from __future__ import annotations

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.index import Entry, Pick, index_of, load
from jitgrad.graph.passes.accesses import Access, Carried, carried_array
from jitgrad.graph.passes.rewriting import Replacements, blocks_within
from jitgrad.graph.passes.rules.context import Context, made_by
from jitgrad.graph.passes.rules.places import apart
from jitgrad.graph.passes.rules.ranges import Sum, as_sum, bound, emit_sum
from jitgrad.graph.passes.survey import surveyed
from jitgrad.graph.primitive import PRIMITIVES
from jitgrad.graph.types import ArrayType

__all__ = ["carry_elements"]

# Arrays with more pairs of a load and a store are left alone.
_PAIRS = 100


def carry_elements(graph: Graph) -> bool:
    """Carry elements from the iteration that stores them to the next one."""
    loops = [(block, op) for block in blocks_within(graph) for op in block.ops if op.name == "for"]
    if not loops:
        return False
    r: Context | None = None  # found out when it is first asked for: most loops have no candidates
    changed = False
    for block, loop in loops:
        for k in range(len(loop.results)):
            type = loop.results[k].type
            carried = carried_array(loop, k) if isinstance(type, ArrayType) and type.shape else None
            if carried is None or not 0 < len(carried.loads) * len(carried.stores) <= _PAIRS:
                continue
            r = surveyed(graph) if r is None else r
            pair = _pair(r, carried)
            if pair is not None:
                read, write, first, within = pair
                element = _element(carried, write, within)
                _carry(r, block, carried, read, element, first)
                changed = True
    return changed


def _pair(r: Context, carried: Carried) -> tuple[Op, Op, list[Sum], list[Sum]] | None:
    """Return a load, what stores the element one iteration before, and two places.

    That of the element in the first iteration, and that in the part that is stored, one for each of its axes.
    """
    (body,) = carried.loop.regions
    inside = {v for b in blocks_within(body) for op in b.ops for v in op.results}
    inside |= {v for b in blocks_within(body) for v in b.args}
    for read in carried.loads:
        place = _sums(r, read, body, inside)
        if place is None or read.op.name != "load":
            continue
        moves = [at.terms.get(body.args[0], 0) for at in place]
        first = [at.plus(Sum({body.args[0]: 1}), -move) for at, move in zip(place, moves, strict=True)]
        if not any(moves):
            continue
        following = [at.plus(Sum({}, move)) for at, move in zip(place, moves, strict=True)]
        for write in carried.stores:
            within = _within(r, write, following)
            if within is not None and _is_next(r, carried, write, read):
                return read.op, write.op, first, within
    return None


def _within(r: Context, write: Access, place: list[Sum]) -> list[Sum] | None:
    """Return where in the part that a write is about an element surely is, None if it may be outside."""
    found = []
    for e, at in zip(index_of(write.op), place, strict=True):
        if isinstance(e, Pick):
            if as_sum(r, e.at) != at:
                return None
            continue
        offset = at.plus(as_sum(r, e.start), -1)
        behind = as_sum(r, e.length).plus(offset, -1)
        if e.step != 1 or bound(r, offset, -1) < 0 or bound(r, behind, -1) < 1:
            return None
        found.append(offset)
    # Of a part that is a view of another array, an element is at hand.
    view = write.op.name == "store" and made_by(write.op.operands[1], "load") is not None
    return None if len(write.path) > 1 or (found and not view) else found


def _sums(r: Context, access: Access, body: Block, inside: set[Value]) -> list[Sum] | None:
    """Return the place of an access to an element as sums of a loop's index and what is known before the loop."""
    found = []
    for e in index_of(access.op):
        if len(access.path) > 1 or not isinstance(e, Pick):
            return None
        at = as_sum(r, e.at)
        if any(v in inside and v is not body.args[0] for v in at.terms):
            return None
        found.append(at)
    return found


def _is_next(r: Context, carried: Carried, write: Access, read: Access) -> bool:
    """Whether nothing else writes the element after the write in its iteration, or before the read in the next."""

    def is_clear(other: Access) -> bool:
        place: tuple[Entry, ...] = index_of(other.op)
        at = other.path[0][1]
        behind = at > write.path[0][1] and not apart(r, place, index_of(write.op))
        before = at < read.path[0][1] and not apart(r, place, index_of(read.op))
        return not behind and not before

    return all(is_clear(other) for other in carried.stores if other is not write)


def _element(carried: Carried, write: Op, within: list[Sum]) -> Value:
    """Return the element that a write leaves, of a part that at a place in it."""
    (body,) = carried.loop.regions
    g = Builder(Block(), write.location)
    at = body.ops.index(write)
    if write.name == "addto":
        before = g.emit("load", [write.operands[0], *write.operands[2:]], {"index": write.attrs["index"]}).result
        write.operands[1] = g.add(before, write.operands[1])
        write.become(PRIMITIVES["store"])
    element = load(g, write.operands[1], [Pick(emit_sum(g, offset)) for offset in within])
    body.ops[at:at] = g.block.ops
    return element


def _first_element(r: Context, g: Builder, array: Value, place: list[Sum]) -> Value:
    """Return the element at a place, 0 if that is out of range: then nobody uses it."""
    where = [Pick(emit_sum(g, at)) for at in place]
    there: Value | None = None
    for at, pick, size in zip(place, where, array.shape, strict=True):
        length = as_sum(r, size)
        tests = [] if bound(r, at, -1) >= 0 else [g.greater_equal(pick.at, 0)]
        tests += [] if bound(r, length.plus(at, -1), -1) > 0 else [g.less(pick.at, size)]
        for test in tests:
            there = test if there is None else g.logical_and(there, test)
    if there is None:
        return load(g, array, where)
    with g.region() as found:
        found.yields = [load(g, array, where)]
    with g.region() as nothing:
        nothing.yields = [g.constant(0, array.array.dtype)]
    return g.emit("if", [there], regions=[found, nothing]).result


def _carry(r: Context, block: Block, carried: Carried, read: Op, element: Value, first: list[Sum]) -> None:
    """Let a loop carry what a load reads: at first the element at a place, then what the iteration before has left."""
    loop = carried.loop
    (body,) = loop.regions
    g = Builder(Block(), read.location)
    init = _first_element(r, g, loop.operands[carried.position + 1], first)
    at = block.ops.index(loop)
    block.ops[at:at] = g.block.ops
    loop.operands.append(init)
    loop.results.append(Value(init.type, loop, len(loop.results)))
    replaced = Replacements()
    replaced.add(read.result, body.add_arg(init.type, read.result.name))
    body.ops.remove(read)
    body.yields.append(element)
    for inner in blocks_within(body):
        replaced.in_block(inner)
        for op in inner.ops:
            replaced.in_op(op)
        inner.yields = replaced.in_values(inner.yields)
