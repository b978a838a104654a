"""Loops that meet an element once on their way are split there.

    for j in range(n): d[i, j] = min(d[i, j], d[i, k] + d[k, j])

reads `d[i, k]` in every iteration and overwrites it in one, that with j == k. Split into the iterations before it, that
one, and those after, the element stays the same in both long parts: `promote` reads it once, and LLVM makes vectors.
The same holds of an element that is added to, as in the adjoint of this loop.

In: a graph in its final form but for this. Out: the same graph; the order of iterations is kept. Only for innermost
loops of element by element code in which all conflicts with fixed elements are in one and the same iteration, one that
surely takes place: its number is a sum of outer values that `rules/ranges.py` puts between 0 and the trip count.
"""

from __future__ import annotations

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value, clone_block
from jitgrad.graph.ops.index import Entry, Pick, index_of
from jitgrad.graph.passes.accesses import Access, carried_array
from jitgrad.graph.passes.rewriting import Replacements, blocks_within
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.places import apart, is_element
from jitgrad.graph.passes.rules.ranges import Sum, bound, sum_of
from jitgrad.graph.passes.survey import surveyed
from jitgrad.graph.types import INT64, ArrayType

__all__ = ["split_loops"]

# Ops of the largest body that is written three times.
_LARGEST = 40


def split_loops(graph: Graph) -> bool:
    """Split the loops for which it pays."""
    loops = [(block, op) for block in blocks_within(graph) for op in block.ops if _is_candidate(op)]
    if not loops:
        return False
    r = surveyed(graph)
    replaced = Replacements()
    for block, loop in loops:
        place = _meeting(r, loop)
        if place is not None:
            _split(block, loop, place, replaced)
    if not replaced:
        return False
    replaced.everywhere(graph)
    return True


def _is_candidate(loop: Op) -> bool:
    """Whether a loop holds nothing but arithmetic of scalars, loads, stores and sums of elements."""
    if loop.name != "for" or len(loop.regions[0].ops) > _LARGEST:
        return False
    for op in loop.regions[0].ops:
        element = op.operands[1:2] if op.name in ("store", "addto") else op.results
        types = [v.type for v in element]
        if op.regions or op.primitive.effects or any(not isinstance(t, ArrayType) or t.shape for t in types):
            return False
    return True


def _meeting(r: Context, loop: Op) -> Sum | None:
    """Return the number of the only iteration that touches a fixed element by another name, None for none or more."""
    (body,) = loop.regions
    index = body.args[0]
    found: list[Sum] = []
    for k, result in enumerate(loop.results):
        is_array = isinstance(result.type, ArrayType) and result.type.shape
        carried = carried_array(loop, k) if is_array else None
        if carried is None:
            continue
        accesses = [*carried.loads, *(s for s in carried.stores if s.op.name == "store")]
        for fixed in accesses:
            place = index_of(fixed.op)
            if not _is_fixed(body, place) or not is_element(r, place, result.shape):
                continue
            for other in accesses:
                if _conflict(r, fixed, other):
                    at = _where(r, place, index_of(other.op), index)
                    if at is None or any(at.plus(x, -1) != Sum({}) for x in found):
                        return None
                    found.append(at)
    if not found:
        return None
    trips = sum_of(r, loop.operands[0])
    inside = bound(r, found[0], -1) >= 0 and bound(r, trips.plus(found[0], -1), -1) >= 1
    return found[0] if inside and not any(v in body.args for v in found[0].terms) else None


def _is_fixed(body: Block, place: tuple[Entry, ...]) -> bool:
    values = [e.at for e in place if isinstance(e, Pick) and isinstance(e.at, Value)]
    return not any(v in body.args or v.op in body.ops for v in values)


def _conflict(r: Context, x: Access, y: Access) -> bool:
    """Whether two accesses may touch one element, and their order matters: reads commute, and so do sums."""
    a, b = index_of(x.op), index_of(y.op)
    return {x.op.name, y.op.name} not in ({"load"}, {"addto"}) and a != b and not apart(r, a, b)


def _where(r: Context, fixed: tuple[Entry, ...], moving: tuple[Entry, ...], index: Value) -> Sum | None:
    """Return the index at which a moving place may be the fixed one."""
    for x, y in zip(fixed, moving, strict=True):
        assert isinstance(x, Pick)
        if not isinstance(y, Pick):
            return None
        gap = _sum(r, x.at).plus(_sum(r, y.at), -1)  # 0 where they meet
        factor = gap.terms.get(index, 0)
        if abs(factor) == 1:
            return Sum({}).plus(gap.plus(Sum({index: factor}), -1), -factor)
    return None


def _sum(r: Context, at: int | Value | None) -> Sum:
    assert at is not None
    return Sum({}, at) if isinstance(at, int) else sum_of(r, at)


def _split(block: Block, loop: Op, place: Sum, replaced: Replacements) -> None:
    """Put two loops and what is between them where a loop stood."""
    made = Block()
    g = Builder(made, loop.location)
    at = _value(g, place)
    trips, *inits = loop.operands
    (body,) = loop.regions
    first = _loop(g, loop, at, inits, None)
    mapping = dict(zip(body.args, (at, *first), strict=True))
    middle = clone_block(body, made, mapping)
    behind = g.add(at, g.constant(1, INT64.dtype))
    last = _loop(g, loop, g.subtract(trips, behind), middle, behind)
    place_of = block.ops.index(loop)
    block.ops[place_of : place_of + 1] = made.ops
    for old, new in zip(loop.results, last, strict=True):
        new.name = old.name
        replaced.add(old, new)


def _loop(g: Builder, loop: Op, trips: Value, inits: list[Value], start: Value | None) -> list[Value]:
    """Emit a copy of a loop that counts from a start."""
    (body,) = loop.regions
    with g.region([v.type for v in body.args], [v.name for v in body.args]) as region:
        mapping = dict(zip(body.args, region.args, strict=True))
        if start is not None:
            mapping[body.args[0]] = g.add(region.args[0], start)
        region.yields = clone_block(body, region, mapping)
    return g.emit("for", [trips, *inits], regions=[region]).results


def _value(g: Builder, given: Sum) -> Value:
    """Emit a sum."""
    total: Value | None = None
    for v, factor in given.terms.items():
        term: Value = v if factor == 1 else g.multiply(v, g.constant(factor, INT64.dtype))
        total = term if total is None else g.add(total, term)
    if total is None or given.constant:
        constant = g.constant(given.constant, INT64.dtype)
        total = constant if total is None else g.add(total, constant)
    return total
