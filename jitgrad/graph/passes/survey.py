"""What rules and analyses ask about values, found in one walk over a graph.

In: a graph. Out: a `Context`, which stays true for as long as the graph is not changed. Decides nothing.
"""

from __future__ import annotations

from collections import Counter

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.passes.rewriting import blocks_within
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.ranges import survey_sums

__all__ = ["survey", "surveyed"]

_WRITES = frozenset({"store", "addto", "scatter", "scatter_add", "list_push", "list_pop", "list_set", "list_addto"})


def surveyed(graph: Graph) -> Context:
    """Return what is known of a graph, of its sums of integers too."""
    r = Context(Builder(graph))
    survey(graph, r)
    survey_sums(r, graph)
    return r


def survey(graph: Graph, r: Context) -> None:
    """Note what the rules ask about values."""
    used: list[Value] = []
    for arg in graph.args:
        r.sizes.update(arg.type.run_time)
    for block in blocks_within(graph):
        for op in block.ops:
            used += op.operands
            if op.regions:
                r.written.update(op.operands)
                if op.primitive.name == "for":
                    index = op.regions[0].args[0]
                    r.order[index] = len(r.loops)
                    r.loops[index] = op
            elif op.primitive.name in _WRITES:
                r.written.add(op.operands[0])
        used += block.yields
        if block is not graph:
            r.written.update(block.yields)
            r.written.update(block.args)
    r.uses.update(Counter(used))
