"""Loops over elements whose iterations meet nowhere in memory.

    for j in range(k): d[i, j] = min(d[i, j], d[i, k] + d[k, j])

Before LLVM works on several iterations at once, it compares the addresses of all that they touch, and if rows i and k
are one, it runs element by element. Both is for nothing here: whatever the rows are, each iteration keeps to its own
column. In: a loop of elements and its buffers. Out: yes, or not known; `text.FunctionText.parallel` tells LLVM.

Places are sums of integers, as the passes of the graph see them (`rules/ranges.py`). Two of one buffer are known never
to be one element in two iterations if along some axis both move alike with the index from the same start; or if the
difference of their coordinates is never 0 whatever the two iterations are. Where the index does not walk along rows,
LLVM may make one access of several that lie side by side, in another order: then an iteration must not touch an element
twice either.
"""

from __future__ import annotations

from jitgrad.backend.buffers import Plan
from jitgrad.backend.schedule import Schedule
from jitgrad.backend.structure import is_scalar
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.ops.index import Pick, index_of
from jitgrad.graph.passes.rules.places import move_alike, never_meet
from jitgrad.graph.passes.rules.ranges import Sum, another, as_sum

__all__ = ["are_independent"]

_STORES = frozenset({"store", "addto"})


def are_independent(schedule: Schedule, plan: Plan, loop: Op) -> bool:
    """Whether no iteration of a loop touches an element that another one stores, nor any other memory of its own."""
    (body,) = loop.regions
    if any(plan.loops[loop].moves(k) for k in range(len(body.yields))):
        return False
    accesses: dict[int, list[Op]] = {}
    for op in body.ops:
        if op.regions or op.primitive.effects or op in plan.copied or not all(map(is_scalar, op.operands[1:])):
            return False
        if op.name != "load" and op.name not in _STORES:
            if not all(map(is_scalar, op.operands)):
                return False
        elif not is_scalar(op.operands[0]):
            base = schedule.views.base(op.operands[0])
            if base not in plan.place:
                return False
            for atom in plan.place[base].atoms:
                accesses.setdefault(atom, []).append(op)
    inside = {v for op in body.ops for v in op.results} | set(body.args)
    return all(_are_apart(schedule, plan, body.args[0], inside, ops) for ops in accesses.values())


def _are_apart(schedule: Schedule, plan: Plan, index: Value, inside: set[Value], accesses: list[Op]) -> bool:
    """Whether what is stored to one buffer is touched by its own iteration alone."""
    stores = [op for op in accesses if op.name in _STORES]
    if not stores:
        return True
    for op in accesses:
        # A view has places of its own; of an argument that lies otherwise two places may be one.
        buffer = plan.place.get(op.operands[0])
        if buffer is None or buffer.order != "C" or not schedule.views.c_order(op.operands[0]):
            return False
        if buffer.kind == "argument" and schedule.layout(schedule.graph.args[buffer.index]) is not None:
            return False
    r = schedule.known
    places = {op: [as_sum(r, e.at) for e in index_of(op) if isinstance(e, Pick)] for op in accesses}
    if any(v in inside and v is not index for place in places.values() for at in place for v in at.terms):
        return False
    if not all(_is_along_rows(index, place) for place in places.values()):
        for store in stores:
            at = accesses.index(store)
            for k, op in enumerate(accesses):
                read_before = k < at and op.name == "load" and places[op] == places[store]
                if k != at and not read_before and not schedule.apart(store, op):
                    return False
    other_index = another(r, index)
    return all(
        move_alike(index, places[store], places[op]) or never_meet(r, index, other_index, places[store], places[op])
        for store in stores
        for op in accesses
    )


def _is_along_rows(index: Value, place: list[Sum]) -> bool:
    *outer, last = place
    return not any(index in at.terms for at in outer) and abs(last.terms.get(index, 0)) <= 1
