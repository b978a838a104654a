"""A loop and the way back through it become one where iterations keep to themselves.

    for i in range(n): for j in range(m): t[i, j] = ...             for i in range(n): for j in range(m): t[i, j] = ...
    for i in range(n)[::-1]: for j in range(m)[::-1]: ct += t[i, j]                    for j in range(m)[::-1]: ...

The gradient of a sum over samples, paths or rows goes through all of them, keeps what each computed, and comes back
through all of them. Where the way back from one adds to sums and to places of its own alone, it may follow at once:
what was kept is still in the cache, and `private.py` keeps it for one iteration where it was kept for all.

In: a graph after differentiation. Out: the same graph, with sums of derivatives in another order. Only for loops with
loops within, of which the second asks for what the first made at the place of the same iteration, as it is or through
elementwise ops.
"""

from __future__ import annotations

from collections.abc import Sequence

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value, clone_block
from jitgrad.graph.ops.index import Pick, index_of
from jitgrad.graph.passes.accesses import carried_array
from jitgrad.graph.passes.rewriting import KEPT_EFFECTS, Replacements, blocks_within, defined_in, may_act, used_by
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.ranges import Sum, as_sum
from jitgrad.graph.passes.survey import surveyed
from jitgrad.graph.types import INT64, ArrayType

__all__ = ["join_ways"]

# How many elementwise ops there may be between what a loop stores and what the way back reads.
_BETWEEN = 6


def join_ways(graph: Graph) -> bool:
    """Let the way back through an iteration follow on it."""
    changed = False
    while True:
        found = [(b, op) for b in blocks_within(graph) for op in b.ops if op.name == "for" and _has_loops(op)]
        if len(found) < 2:
            return changed
        r = surveyed(graph)
        for block, there in found:
            behind = (op for b, op in found if b is block and _follows(block, there, op))
            pairs = (_Pair(r, block, there, back) for back in behind)
            pair = next((pair for pair in pairs if pair.may_join()), None)
            if pair is not None:
                pair.join(graph)
                changed = True
                break
        else:
            return changed


def _has_loops(loop: Op) -> bool:
    return any(op.name in ("for", "while") for op in loop.regions[0].ops)


def _follows(block: Block, loop: Op, other: Op) -> bool:
    """Whether a loop of as many iterations comes behind another, in the order of a block."""
    return other is not loop and loop.operands[0] is other.operands[0] and _place(block, loop) < _place(block, other)


def _place(block: Block, op: Op) -> int:
    return block.ops.index(op)


class _Pair:
    """A loop and one behind it of as many iterations.

    Attributes
    ----------
    between : list of Op
        What comes between the two.
    late : set of Value
        What depends on the first one's results, those among them.
    """

    def __init__(self, r: Context, block: Block, there: Op, back: Op) -> None:
        self.r = r
        self.block = block
        self.there = there
        self.back = back
        self.between = block.ops[_place(block, there) + 1 : _place(block, back)]
        self.late = set(there.results)
        for op in self.between:
            if not self.late.isdisjoint(used_by(op)):
                self.late.update(op.results)

    def may_join(self) -> bool:
        """Whether the second loop's iterations may come each at once behind that of the first."""
        if not self.late.isdisjoint(self.back.operands) or may_act(self.back.regions[0]):
            return False
        if any(op.primitive.effects & KEPT_EFFECTS or any(map(may_act, op.regions)) for op in self.between):
            return False
        asked = self.late.intersection(used_by(self.back))
        return bool(asked) and all(map(self._is_read_in_step, asked)) and self._is_of_sums()

    # --- what the way back reads

    def _is_read_in_step(self, value: Value) -> bool:
        """Whether the second loop loads from an array what the same iteration of the first has made it."""
        places = set()
        for block in blocks_within(self.back.regions[0]):
            if value in block.yields:
                return False
            for op in block.ops:
                if value in op.operands:
                    if op.name != "load" or value in op.operands[1:]:
                        return False
                    places.add(op)
        bases = self._bases(value, _BETWEEN)
        return bases is not None and all(self._is_made_in_step(base, list(places)) for base in bases)

    def _bases(self, value: Value, depth: int) -> list[Value] | None:
        """Return the first loop's arrays of which an array is made element by element; None if of others."""
        if value in self.there.results:
            return [value]
        op = value.op
        if value not in self.late:
            return []
        if op is None or not op.primitive.is_elementwise or not depth:
            return None
        found: list[Value] = []
        for v in op.operands:
            if v.shape not in ((), value.shape):
                return None
            more = self._bases(v, depth - 1)
            if more is None or (more and not v.shape):
                return None
            found += more
        return found

    def _is_made_in_step(self, array: Value, loads: Sequence[Op]) -> bool:
        """Whether all that the first loop stores is at the place where the same iteration of the second reads."""
        if not isinstance(array.type, ArrayType) or not array.shape:
            return False
        carried = carried_array(self.there, array.index)
        if carried is None:
            return False
        made = [s.op for s in carried.stores]
        for axis in range(len(array.shape)):
            here = self._places(made, axis, self.there.regions[0].args[0])
            then = self._places(loads, axis, self.back.regions[0].args[0])
            if here is not None and then is not None and here == self._mirrored(then):
                return True
        return False

    def _places(self, ops: Sequence[Op], axis: int, index: Value) -> Sum | None:
        """Return where accesses are along an axis, if it is one place that moves with a loop; None else."""
        places = []
        for op in ops:
            entry = index_of(op)[axis]
            if not isinstance(entry, Pick):
                return None
            places.append(as_sum(self.r, entry.at))
        if not places or any(p != places[0] for p in places) or abs(places[0].terms.get(index, 0)) != 1:
            return None
        # All else must be the same in all iterations.
        inside = defined_in(self._body_of(index))
        return None if any(v in inside and v is not index for v in places[0].terms) else places[0]

    def _body_of(self, index: Value) -> Block:
        return next(op.regions[0] for op in (self.there, self.back) if op.regions[0].args[0] is index)

    def _mirrored(self, place: Sum) -> Sum:
        """Return a place in terms of the first loop's index, of which the second is the mirror image."""
        mine, other = self.back.regions[0].args[0], self.there.regions[0].args[0]
        factor = place.terms[mine]
        last = as_sum(self.r, self.there.operands[0]).plus(Sum({}, 1), -1)
        return place.plus(Sum({mine: 1}), -factor).plus(last.plus(Sum({other: 1}), -1), factor)

    # --- what the way back writes

    def _is_of_sums(self) -> bool:
        """Whether it does not matter in which order the second loop's iterations come."""
        (body,) = self.back.regions
        inside = defined_in(body)
        for k, arg in enumerate(body.args[1:]):
            if body.yields[k] not in inside and not _count(body, arg):
                continue  # it is the same whichever iteration comes last
            if not isinstance(arg.type, ArrayType):
                return False
            if not arg.shape:
                if not _is_added_to(body, arg, body.yields[k]) or _count(body, body.yields[k]) != 1:
                    return False
                continue
            carried = carried_array(self.back, k)
            if carried is None:
                return False
            ops = list(dict.fromkeys(a.op for a in (*carried.loads, *carried.stores)))
            if _adds_up(ops, blocks_within(body)):
                continue
            if not any(self._places(ops, axis, body.args[0]) is not None for axis in range(len(arg.shape))):
                return False
        return True

    # --- the loop for both

    def join(self, graph: Graph) -> None:
        """Put one loop where the second stood, and what depends on the first behind it."""
        there, back = self.there, self.back
        trips, *inits = there.operands
        self._load_from_bases()
        g = Builder(Block(), there.location)
        args = [there.regions[0].args[1:], back.regions[0].args[1:]]
        types, names = [INT64, *(v.type for a in args for v in a)], ["", *(v.name for a in args for v in a)]
        with g.region(types, names) as region:
            index, *given = region.args
            n = len(inits)
            first = clone_block(
                there.regions[0], region, dict(zip(there.regions[0].args, (index, *given[:n]), strict=True))
            )
            mirror = g.subtract(g.subtract(trips, 1), index)
            mapping = dict(zip(back.regions[0].args, (mirror, *given[n:]), strict=True))
            mapping |= zip(there.results, first, strict=True)
            region.yields = [*first, *clone_block(back.regions[0], region, mapping)]
        results = g.emit("for", [trips, *inits, *back.operands[1:]], there.attrs, [region]).results
        ops, start, end = self.block.ops, _place(self.block, there), _place(self.block, back)
        early = [op for op in self.between if self.late.isdisjoint(op.results)]
        behind = [op for op in self.between if not self.late.isdisjoint(op.results)]
        ops[start : end + 1] = [*early, *g.block.ops, *behind]
        replaced = Replacements()
        for old, new in zip((*there.results, *back.results), results, strict=True):
            replaced.add(old, new)
        replaced.everywhere(graph)

    def _load_from_bases(self) -> None:
        """Let the second loop load from the first one's arrays, and do there what was done between."""
        for block in blocks_within(self.back.regions[0]):
            for op in list(block.ops):
                if op.name == "load" and op.operands[0] in self.late - set(self.there.results):
                    g = Builder(Block(), op.location)
                    made = self._part_of(g, op, op.operands[0])
                    at = block.ops.index(op)
                    block.ops[at : at + 1] = g.block.ops
                    replaced = Replacements()
                    replaced.add(op.result, made)
                    for inner in blocks_within(block):
                        for o in inner.ops:
                            replaced.in_op(o)
                        inner.yields = replaced.in_values(inner.yields)

    def _part_of(self, g: Builder, load: Op, value: Value) -> Value:
        """Emit what a load takes from an array that is made of others element by element."""
        if not value.shape:
            return value
        if value in self.there.results or value not in self.late:
            return g.emit("load", [value, *load.operands[1:]], load.attrs).result
        op = value.op
        assert op is not None
        return g.emit(op.name, [self._part_of(g, load, v) for v in op.operands], op.attrs).result


def _is_added_to(block: Block, start: Value, end: Value) -> bool:
    """Whether a number is only added to, in any order, until it is what is asked for."""
    now, before = start, set[Value]()
    for op in block.ops:
        used = used_by(op)
        if not before.isdisjoint(used):
            return False
        if now not in used or now is end:
            continue
        if used.count(now) != 1 or now not in op.operands:
            return False
        k = op.operands.index(now)
        before.add(now)
        if op.name == "for" and k:
            (body,) = op.regions
            inner = body.args[k], body.yields[k - 1]
            if not _is_added_to(body, *inner) or _count(body, inner[1]) != 1:
                return False
            now = op.results[k - 1]
        elif op.name == "logical_or" or ("any_order" in op.attrs and (op.name == "add" or not k)):
            now = op.result
        else:
            return False
    return now is end and before.isdisjoint(block.yields)


def _count(block: Block, value: Value) -> int:
    """Return how often a value is used in a block."""
    return block.yields.count(value) + sum(used_by(op).count(value) for op in block.ops)


def _adds_up(ops: Sequence[Op], blocks: Sequence[Block]) -> bool:
    """Whether all that is done to an array is to add to it: at once, or as load, sum and store of an element."""
    loads = [op for op in ops if op.name == "load"]
    stores = [op for op in ops if op.name == "store"]
    if len(loads) != len(stores):
        return False
    for load in loads:
        block = next(b for b in blocks if load in b.ops)
        store = next((op for op in stores if op.operands[0] is load.operands[0] and op in block.ops), None)
        if store is None or load.operands[1:] != store.operands[2:] or load.attrs["index"] != store.attrs["index"]:
            return False
        value = store.operands[1]
        if not _is_added_to(block, load.result, value) or _count(block, value) != 1:
            return False
    return True
