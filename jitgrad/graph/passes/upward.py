"""Loops that may run in any order run up the rows of arrays.

The way back through a loop takes its iterations from the last to the first. Where none needs another, it may as well
take them from the first on: a processor then finds the elements of a row as they lie, and works on several at once
without turning each group of them round.

In: a graph in its final form but for this. Out: the same graph, with sums in another order where they may be. Only for
loops of elements, whose stores to an array keep to places that no other iteration touches.
"""

from __future__ import annotations

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.index import Pick, index_of
from jitgrad.graph.passes.accesses import carried_array
from jitgrad.graph.passes.rewriting import Replacements, blocks_within
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.places import move_alike
from jitgrad.graph.passes.rules.ranges import Sum, as_sum, emit_sum, last_of
from jitgrad.graph.passes.survey import surveyed
from jitgrad.graph.types import INT64, ListType

__all__ = ["run_upwards"]

_PLACED = frozenset({"addto", "load", "store"})
_INTEGERS = frozenset({"add", "multiply", "negative", "subtract"})


def run_upwards(graph: Graph) -> bool:
    """Turn loops round that run down the rows of arrays for no reason."""
    loops = [op for block in blocks_within(graph) for op in block.ops if op.name == "for"]
    loops = [op for op in loops if not any(o.regions or o.primitive.effects for o in op.regions[0].ops)]
    if not loops:
        return False
    r = surveyed(graph)
    changed = False
    for loop in loops:
        if _runs_down(r, loop) and all(_is_free(r, loop, k) for k in range(len(loop.results))):
            _turn(r, loop)
            changed = True
    return changed


def _runs_down(r: Context, loop: Op) -> bool:
    """Whether a loop walks rows of arrays backwards, and none forwards."""
    (body,) = loop.regions
    ways = {
        as_sum(r, last.at).terms.get(body.args[0], 0)
        for op in body.ops
        if op.name in _PLACED and op.attrs["index"] and isinstance(last := index_of(op)[-1], Pick)
    }
    return min(ways, default=0) < 0 and max(ways) <= 0


def _is_free(r: Context, loop: Op, position: int) -> bool:
    """Whether what a loop carries at a position is the same in whatever order the iterations come."""
    (body,) = loop.regions
    arg, end = body.args[position + 1], body.yields[position]
    if end is arg:
        return True
    if isinstance(arg.type, ListType):
        return False
    if arg.type.is_float and not arg.type.shape:
        return _is_sum(arg, end.op) and r.uses.get(arg) == r.uses.get(end) == 1
    carried = carried_array(loop, position)
    if carried is None:
        return False
    index, inside = body.args[0], {v for op in body.ops for v in op.results}
    places: dict[Op, list[Sum]] = {}
    for access in (*carried.loads, *carried.stores):
        entries = index_of(access.op)
        if not all(isinstance(e, Pick) for e in entries):
            return False
        places[access.op] = [as_sum(r, e.at) for e in entries if isinstance(e, Pick)]
    if any(v in inside for place in places.values() for at in place for v in at.terms):
        return False
    stores = [access.op for access in carried.stores]
    return all(move_alike(index, places[store], place) for store in stores for place in places.values())


def _is_sum(arg: Value, total: Op | None) -> bool:
    """Whether an op adds something to a number, in whatever order."""
    if total is None or "any_order" not in total.attrs:
        return False
    return arg is total.operands[0] or (arg is total.operands[1] and total.name == "add")


def _turn(r: Context, loop: Op) -> None:
    """Let a loop's index count from the other end."""
    (body,) = loop.regions
    index, last = body.args[0], last_of(r, body.args[0])
    inside = {v for op in body.ops for v in op.results}
    # Another value: what stands for the old index is computed from the new one.
    body.args[0] = Value(index.type, body, 0)
    body.args[0].name = index.name
    way = last.plus(Sum({body.args[0]: 1}), -1)
    g = Builder(Block(), loop.location)
    turned = emit_sum(g, way)
    assert isinstance(turned, Value)
    replaced = Replacements()
    replaced.add(index, turned)
    for op in body.ops:
        given = as_sum(r, op.result) if op.name in _INTEGERS and op.result.type == INT64 else Sum({})
        factor = given.terms.get(index, 0)
        if factor and inside.isdisjoint(given.terms):
            g.location = op.location
            made = emit_sum(g, given.plus(Sum({index: 1}), -factor).plus(way, factor))
            assert isinstance(made, Value)
            replaced.add(op.result, made)
        else:
            replaced.in_op(op)
            g.block.ops.append(op)
    body.yields = replaced.in_values(body.yields)
    body.ops = g.block.ops
