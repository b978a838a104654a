"""What rules and analyses ask about values, found in one walk over a graph.

In: a graph. Out: a `Context`, which stays true for as long as the graph is not changed. Decides nothing. While a graph
is optimised, most passes find nothing to do: the survey that one of them was given serves the next.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.passes.rewriting import blocks_within
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.ranges import survey_sums
from jitgrad.options import OPTIONS

__all__ = ["after_pass", "keeping_surveys", "note_survey", "survey", "surveyed"]

_WRITES = frozenset({"store", "addto", "scatter", "scatter_add", "list_push", "list_pop", "list_set", "list_addto"})


@dataclass(slots=True)
class _Kept:
    """The survey that is true of a graph as it is, if there is one, and the one that the pass at hand works with."""

    ready: Context | None = None
    given: Context | None = None


# Of the graphs that are being optimised.
_kept: dict[Graph, _Kept] = {}


@contextmanager
def keeping_surveys(graph: Graph) -> Iterator[None]:
    """Let passes share the survey of a graph within the block, after each of which `after_pass` is called."""
    _kept[graph] = _Kept()
    try:
        yield
    finally:
        del _kept[graph]


def after_pass(graph: Graph, changed: bool) -> None:
    """Note that a pass has run, and whether it has changed anything."""
    kept = _kept[graph]
    kept.ready = None if changed else kept.given or kept.ready
    kept.given = None


def note_survey(graph: Graph, r: Context) -> None:
    """Note a survey, with its sums, that is true of a graph unless the pass at hand turns out to have changed it."""
    kept = _kept.get(graph)
    if kept is not None:
        kept.given = r


def surveyed(graph: Graph) -> Context:
    """Return what is known of a graph, of its sums of integers too."""
    kept = _kept.get(graph)
    r = None if kept is None else kept.ready
    if r is not None:
        assert OPTIONS.verify != "each" or _is_true(r, graph)
        r.g = Builder(graph)
    else:
        r = Context(Builder(graph))
        survey(graph, r)
        survey_sums(r, graph)
    if kept is not None:
        # Once for each pass: it may ask again when it has changed something.
        kept.ready, kept.given = None, r
    return r


def _is_true(r: Context, graph: Graph) -> bool:
    """Whether a survey says of a graph what a new one would."""
    new = Context(Builder(graph))
    survey(graph, new)
    return (r.uses, r.written, r.sizes, r.loops) == (new.uses, new.written, new.sizes, new.loops)


def survey(graph: Graph, r: Context) -> None:
    """Note what the rules ask about values."""
    used: list[Value] = []
    written = r.written
    for arg in graph.args:
        r.sizes.update(arg.type.run_time)
    for block in blocks_within(graph):
        for op in block.ops:
            used += op.operands
            if op.regions:
                written.update(op.operands)
                if op.name == "for":
                    index = op.regions[0].args[0]
                    r.order[index] = len(r.loops)
                    r.loops[index] = op
            elif op.name in _WRITES:
                written.add(op.operands[0])
        used += block.yields
        if block is not graph:
            written.update(block.yields)
            written.update(block.args)
    r.uses = Counter(used)
