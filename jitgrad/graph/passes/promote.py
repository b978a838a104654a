"""Elements that a loop stores again and again become scalars that it carries.

    for k in range(n): c[i, j] += a[i, k] * b[k, j]

reads and writes one element of `c` in every iteration. Here it is read once before the loop, carried, and written once
behind it. Before differentiation that is worth most: an element that is overwritten must be kept for the way back, a
sum need not. It is done where nothing else in the loop can touch the element: other parts of the same array that are
read or written must lie elsewhere, which `rules/ranges.py` decides for places that are sums of loop indices.

An `addto`, which only derivatives have, may also be summed on its own where other names may lead to the same element,
if all that is done to it is to add: the order of these sums is ours (attribute `any_order`; LLVM makes vectors then).

In: a graph. Out: the same graph, which computes the same bits but for that. The element's place must be in range
whether the loop runs or not. Stores that the caller sees (`visible`) are left alone: a long loop may be interrupted.
"""

from __future__ import annotations

from collections.abc import Callable

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.index import Entry, index_of
from jitgrad.graph.passes.accesses import Carried, carried_array
from jitgrad.graph.passes.rewriting import Replacements, blocks_within
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.places import apart, is_element
from jitgrad.graph.passes.survey import surveyed
from jitgrad.graph.primitive import PRIMITIVES

__all__ = ["promote"]

_PLACED = frozenset({"addto", "load", "store"})


def promote(graph: Graph) -> bool:
    """Carry elements in registers; about linear in the number of ops."""
    loops = [(block, op) for block in blocks_within(graph) for op in block.ops if op.name == "for"]
    if not loops:
        return False
    found: list[Context] = []

    def context() -> Context:
        """Return what is known of places, found out when it is first asked for: most loops have no candidates."""
        if not found:
            found.append(surveyed(graph))
        return found[0]

    changed = False
    # Inner loops first: what they read before them and write behind them, an outer loop may carry in its turn.
    for block, loop in reversed(loops):
        changed |= _Loop(context, block, loop).run()
    return changed


def _is_of_one(op: Op) -> bool:
    """Whether an op reads or writes one element."""
    return not (op.result if op.name == "load" else op.operands[1]).shape


class _Loop:
    def __init__(self, context: Callable[[], Context], block: Block, loop: Op) -> None:
        self.context = context
        self.block = block
        self.loop = loop
        (self.body,) = loop.regions

    def run(self) -> bool:
        # Most loops have no candidates: that costs a look at each op, and no more.
        elements = [op for op in self.body.ops if op.name in _PLACED and _is_of_one(op)]
        if not elements:
            return False
        blocks = blocks_within(self.body)
        self.inside = {v for b in blocks for values in (b.args, *(op.results for op in b.ops)) for v in values}
        changed = False
        for k in sorted({self.position(op.operands[0]) for op in elements if not self.moves(op)} - {-1}):
            carried = carried_array(self.loop, k)
            if carried is None or any(s.op.attrs.get("visible") for s in carried.stores):
                continue
            if any(v in carried.versions for op in self.body.ops if op.name == "if" for v in op.results):
                continue  # what the element is would have to be chosen too
            tried: set[tuple[Entry, ...]] = set()
            for access in (*carried.stores, *carried.loads):
                op = access.op
                place = index_of(op)
                element = op.result if op.name == "load" else op.operands[1]
                if len(access.path) > 1 or element.shape or place in tried:
                    continue
                tried.add(place)
                # One element, the same in every iteration, and surely of the array.
                if self.moves(op) or not is_element(self.context(), place, op.operands[0].shape):
                    continue
                if op.name == "load":  # nothing is stored there
                    if self.is_alone(carried, place):
                        self.read_before(carried, place)
                        changed = True
                        break
                    continue
                alone = self.is_alone(carried, place)
                if alone or (op.name == "addto" and self.only_adds(carried, place)):
                    self.rewrite(carried, place, from_zero=not alone)
                    changed = True
                    break  # the accesses have changed: another element waits for the next round
        return changed

    def moves(self, op: Op) -> bool:
        """Whether the element that an op touches need not be the same in every iteration."""
        return not self.inside.isdisjoint(op.operands[1 if op.name == "load" else 2 :])

    def position(self, array: Value) -> int:
        """Return where the loop carries an array that an op of its body reads or writes, -1 if it does not."""
        while array.op is not None:
            op = array.op
            if op.name not in ("addto", "store", "for"):
                return -1
            array = op.operands[array.index + 1 if op.name == "for" else 0]
        return array.index - 1 if array.owner is self.body else -1

    def is_alone(self, carried: Carried, place: tuple[Entry, ...]) -> bool:
        """Whether every other access is surely to other elements; those to this very element stand in the body."""
        return all(
            (other == place and len(access.path) == 1) or apart(self.context(), place, other)
            for access in (*carried.loads, *carried.stores)
            for other in (index_of(access.op),)
        )

    def only_adds(self, carried: Carried, place: tuple[Entry, ...]) -> bool:
        """Whether nothing in the loop reads the element or replaces it, by whatever name; things are added to it.

        Sums into cotangents may be taken in any order, so that those to this place can be added up on their own.
        """
        return all(
            access.op.name == "addto" or apart(self.context(), place, index_of(access.op))
            for access in (*carried.loads, *carried.stores)
        )

    def read_before(self, carried: Carried, place: tuple[Entry, ...]) -> None:
        """Read an element that stays the same before the loop."""
        like = next(x.op for x in carried.loads if index_of(x.op) == place)
        at = self.block.ops.index(self.loop)
        init = self.loop.operands[carried.position + 1]
        g = Builder(Block(), like.location)
        before = g.emit("load", [init, *like.operands[1:]], {"index": like.attrs["index"]}).result
        self.block.ops[at:at] = g.block.ops
        replaced = Replacements()
        kept = []
        for op in self.body.ops:
            if op.name == "load" and op.operands[0] in carried.versions and index_of(op) == place:
                replaced.add(op.result, before)
            else:
                kept.append(op)
        self.body.ops = kept
        _replace_within(self.body, replaced)

    def rewrite(self, carried: Carried, place: tuple[Entry, ...], from_zero: bool) -> None:
        """Carry the element at a place, or what is added to it."""
        loop, body, k = self.loop, self.body, carried.position
        like = next(s.op for s in carried.stores if index_of(s.op) == place)
        attrs, ints = {"index": like.attrs["index"]}, like.operands[2:]
        at = self.block.ops.index(loop)
        g = Builder(Block(), like.location)
        if from_zero:
            before = g.constant(-0.0, loop.operands[k + 1].array.dtype)  # adding it changes nothing, not even a sign
        else:
            before = g.emit("load", [loop.operands[k + 1], *ints], attrs).result
        self.block.ops[at:at] = g.block.ops

        element = body.add_arg(before.type, like.operands[1].name)
        # What the element is, by the version of the array.
        now = {body.args[k + 1]: element}
        last = body.yields[k]
        replaced = Replacements()
        old, body.ops = body.ops, []
        for op in old:
            array = op.operands[0] if op.operands else None
            mine = array in now and op.name in ("load", "store", "addto")
            same = mine and index_of(op) == place
            # A loop within leaves the element alone.
            handed_on = {
                r: now[v] for r, v in zip(op.results, op.operands[1:], strict=False) if op.regions and v in now
            }
            replaced.in_op(op)
            for region in op.regions:
                _replace_within(region, replaced)
            now |= handed_on
            if mine and op.name != "load":
                assert array is not None
                value = now[array]
                if same and op.name == "addto":
                    g.block, g.location = body, op.location
                    value = g.add(value, op.operands[1], any_order=True)
                now[op.result] = op.operands[1] if same and op.name == "store" else value
            if not same:
                body.ops.append(op)
            else:
                assert array is not None
                replaced.add(op.result, now[array] if op.name == "load" else array)
        body.yields = [*replaced.in_values(body.yields), replaced.find(now[last])]

        loop.operands.append(before)
        after = Value(before.type, loop, len(loop.results), element.name)
        loop.results.append(after)
        # The store behind the loop takes over the value that the rest of the program uses.
        result = loop.results[k]
        loop.results[k] = Value(result.type, loop, k, result.name)
        write = Op(
            PRIMITIVES["addto" if from_zero else "store"], [loop.results[k], after, *ints], attrs, (), (), like.location
        )
        write.results = [result]
        result.owner, result.index = write, 0
        self.block.ops.insert(self.block.ops.index(loop) + 1, write)


def _replace_within(block: Block, replaced: Replacements) -> None:
    for inner in blocks_within(block):
        replaced.in_block(inner)
        for op in inner.ops:
            replaced.in_op(op)
        inner.yields = replaced.in_values(inner.yields)
