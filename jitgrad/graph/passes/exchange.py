"""Time steps that read what they overwrite write into a second array: two buffers that are exchanged.

    u[1:-1] = u[1:-1] + k * (u[2:] - 2 * u[1:-1] + u[:-2])

in a loop cannot be computed in place element by element; what is stored would be computed into other memory first and
then be copied: two sweeps. Instead the loop carries two arrays that are equal wherever the loop never stores. Each
iteration stores into the one while it reads the other, and hands them on exchanged. Boundary values that are stored
after the step are stored as before; those that are stored before it, into both arrays.

In: a graph in its final form but for this. Out: the same graph, which computes the same bits. Only for parts that make
up most of an array and stay where they are from iteration to iteration; an array whose stores the caller sees stays as
it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.index import index_of
from jitgrad.graph.passes.rewriting import blocks_within
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.places import apart, is_most
from jitgrad.graph.passes.survey import surveyed
from jitgrad.graph.types import ArrayType

__all__ = ["exchange_buffers"]

# Loops of fewer trips are not worth a second array, which is copied once before the loop.
_TRIPS = 4

_MOVES = frozenset({"broadcast", "load", "reshape", "transpose"})


@dataclass
class _Step:
    """The stores that an iteration does to a carried array.

    Attributes
    ----------
    before : list of Op
        Boundary values.
    store : Op
        That which reads at other places what it overwrites.
    """

    before: list[Op]
    store: Op


def exchange_buffers(graph: Graph) -> bool:
    """Give the loops for which it pays a second array."""
    loops = [op for block in blocks_within(graph) for op in block.ops if op.name in ("for", "while")]
    found = [(loop, k) for loop in loops for k, v in enumerate(loop.regions[-1].yields) if _is_stored(v)]
    if not found:
        return False
    r = surveyed(graph)
    changed = False
    for loop, k in found:
        step = _Body(r, loop).step(k)
        if step is not None:
            _exchange(loop, k, step)
            changed = True
    return changed


def _is_stored(value: Value) -> bool:
    return value.op is not None and value.op.name == "store" and bool(value.shape)


def _carried(loop: Op, position: int) -> Value:
    return loop.regions[-1].args[position + (loop.name == "for")]


class _Body:
    """Looks at what a loop's body does to its arrays."""

    def __init__(self, r: Context, loop: Op) -> None:
        self.r = r
        self.loop = loop
        self.body = loop.regions[-1]
        self.mine = {v for op in self.body.ops for v in op.results}
        self.users: dict[Value, list[Op]] = {}
        for block in blocks_within(self.body):
            for op in block.ops:
                for v in op.operands:
                    self.users.setdefault(v, []).append(op)
        self.yielded = [v for block in blocks_within(self.body) for v in block.yields]

    def step(self, position: int) -> _Step | None:
        """Return the step that an iteration does to a carried array, None where it cannot or need not be exchanged."""
        trips = self.r.literal(self.loop.operands[0]) if self.loop.name == "for" else None
        if trips is not None and trips < _TRIPS:
            return None
        array, last = _carried(self.loop, position), self.body.yields[position]
        chain = self._chain(array, last)
        if chain is None or array in self.yielded or self.yielded.count(last) > 1:
            return None
        at = next((k for k, op in enumerate(chain) if self._reads_elsewhere(op)), None)
        if at is None or not self._is_most(chain[at]):
            return None
        before, step, after = chain[:at], chain[at], chain[at + 1 :]
        if any(self._is_most(op) for op in before):
            return None
        # What is stored later is stale until then.
        for k, op in enumerate([step, *after[:-1]][: len(after)]):
            if op.result in self.yielded:
                return None
            for user in self.users[op.result]:
                if user is not after[k] and not (user.name == "load" and self._is_apart(user, after[k:])):
                    return None
        return _Step(before, step)

    def _chain(self, array: Value, last: Value) -> list[Op] | None:
        """Return the stores from an array to its last version, all of them into fixed parts."""
        chain: list[Op] = []
        value = last
        while value is not array:
            op = value.op
            if op is None or value not in self.mine or op.name != "store" or op.attrs.get("visible"):
                return None
            if any(v in self.mine or v in self.body.args for v in op.operands[2:]):
                return None
            chain.append(op)
            value = op.operands[0]
        return chain[::-1]

    def _is_apart(self, op: Op, others: list[Op]) -> bool:
        return all(apart(self.r, index_of(op), index_of(other)) for other in others)

    def _reads_elsewhere(self, store: Op) -> bool:
        """Whether what is stored is computed, element by element, from other elements of the array."""
        base, value = store.operands[:2]
        here = store.attrs["index"], store.operands[2:]
        stack, seen = [(value, True)], set()
        while stack:
            v, straight = stack.pop()
            op = v.op
            if v is base:
                return True
            if op is None or v not in self.mine or not v.shape or (v, straight) in seen:
                continue
            seen.add((v, straight))
            if op.name == "load" and op.operands[0] is base:
                same = straight and (op.attrs["index"], op.operands[1:]) == here
                if not same and not self._is_apart(op, [store]):
                    return True
            elif op.primitive.scalar is not None:
                stack += [(u, straight and u.shape == v.shape) for u in op.operands]
            elif op.name in _MOVES:
                stack += [(u, False) for u in op.operands]
        return False

    def _is_most(self, store: Op) -> bool:
        return is_most(self.r, store.operands[0].shape, store.operands[1].shape)


def _exchange(loop: Op, position: int, step: _Step) -> None:
    body: Block = loop.regions[-1]
    init = loop.operands[position + (loop.name == "for")]
    assert isinstance(init.type, ArrayType)
    loop.operands.append(init)
    loop.results.append(Value(init.type, loop, len(loop.results)))
    other = [region.add_arg(init.type) for region in loop.regions][-1]
    # The array that is read is handed on as the one to write into.
    body.yields.append(step.store.operands[0])
    g = Builder(Block(), step.store.location)
    for op in step.before:
        other = g.emit("store", [other, *op.operands[1:]], op.attrs).result
    at = body.ops.index(step.store)
    body.ops[at:at] = g.block.ops
    step.store.operands[0] = other
