"""Which values need a derivative: those that depend on an input (varied) and reach an output (useful).

In: a block, the values to differentiate by, the values whose derivative is asked for. Out: the set of active values,
nested regions included. Found by reachability along value-to-value edges, so that loops need no iteration and the cost
is linear. This room knows which operands a derivative depends on, not what the derivative is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jitgrad.graph.ir import Block, Op, Value
from jitgrad.graph.primitive import Linear, Partials

__all__ = ["active_values", "derivative_operands", "edges_within", "reach", "region_edges"]

# List ops: positions of the operands on which their result depends differentiably.
_LIST_OPERANDS: dict[str, tuple[int, ...]] = {
    "list_addto": (0, 2),
    "list_empty": (),
    "list_from_array": (0,),
    "list_get": (0,),
    "list_length": (),
    "list_pop": (0,),
    "list_push": (0, 1),
    "list_set": (0, 2),
    "list_to_array": (0,),
    "list_zeros": (),
}


def derivative_operands(op: Op) -> list[int]:
    """Return the positions of the operands of an op without regions through which a derivative may flow."""
    positions: Iterable[int] = range(len(op.operands))
    if op.name in _LIST_OPERANDS:
        positions = _LIST_OPERANDS[op.name]
    elif isinstance(op.primitive.derivative, Linear) and op.primitive.derivative.operands is not None:
        positions = op.primitive.derivative.operands
    return [i for i in positions if op.operands[i].type.is_float]


def active_values(block: Block, inputs: Iterable[Value], outputs: Iterable[Value]) -> set[Value]:
    """Return the values within `block` that depend on an input and reach an output.

    Parameters
    ----------
    block : Block
    inputs, outputs : iterable of Value
        Floating-point values; an output that is an input is active.
    """
    if not any(op.regions for op in block.ops):
        return _straight_line(block, set(inputs), set(outputs))
    after, before = edges_within(block)
    return reach(after, inputs) & reach(before, outputs)


def edges_within(block: Block) -> tuple[dict[Value, list[Value]], dict[Value, list[Value]]]:
    """Return, for each value, those that depend on it directly and differentiably, and those on which it depends."""
    after: dict[Value, list[Value]] = {}
    before: dict[Value, list[Value]] = {}
    pending = [block]
    while pending:
        for op in pending.pop().ops:
            if op.regions:
                pending.extend(op.regions)
                for source, target in region_edges(op):
                    after.setdefault(source, []).append(target)
                    before.setdefault(target, []).append(source)
                continue
            results = [r for r in op.results if r.type.is_float]
            sources = [op.operands[i] for i in derivative_operands(op)] if results else []
            if not sources:
                continue
            for result in results:
                before[result] = sources
            for source in sources:
                after.setdefault(source, []).extend(results)
    return after, before


def _straight_line(block: Block, varied: set[Value], useful: set[Value]) -> set[Value]:
    """Do the same where the order of the ops is the order of the edges, at a third of the cost."""
    flows = []
    for op in block.ops:
        if varied.isdisjoint(op.operands):
            continue
        if isinstance(op.primitive.derivative, Partials):
            sources = op.operands
        else:
            sources = [op.operands[i] for i in derivative_operands(op)]
            if varied.isdisjoint(sources):
                continue
        results = [r for r in op.results if r.type.is_float]
        varied.update(results)
        flows.append((sources, results))
    for sources, results in reversed(flows):
        if not useful.isdisjoint(results):
            useful.update(sources)
    return varied & useful


def reach(edges: dict[Value, list[Value]], roots: Iterable[Value]) -> set[Value]:
    """Return what can be reached along edges, the roots included."""
    found = set(roots)
    pending = list(found)
    while pending:
        for value in edges.get(pending.pop(), ()):
            if value not in found:
                found.add(value)
                pending.append(value)
    return found


def region_edges(op: Op) -> Iterator[tuple[Value, Value]]:
    """Yield pairs of floating-point values of which an op with regions hands the first on as the second."""
    if op.name == "if":
        for region in op.regions:
            for source, result in zip(region.yields, op.results, strict=True):
                if result.type.is_float:
                    yield source, result
        return
    body = op.regions[-1]
    skip = 1 if op.name == "for" else 0  # the trip count among the operands, the index among the arguments
    for init, arg, last, result in zip(op.operands[skip:], body.args[skip:], body.yields, op.results, strict=True):
        if result.type.is_float:
            yield init, arg
            yield init, result
            yield last, arg
            yield last, result
