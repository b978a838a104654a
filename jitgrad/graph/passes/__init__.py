"""Passes over graphs, in the order in which `optimise` runs them."""

from jitgrad.graph.ir import Graph
from jitgrad.graph.passes.cse import cse
from jitgrad.graph.passes.dce import dce

__all__ = ["optimise"]


def optimise(graph: Graph) -> None:
    """Run all passes."""
    dce(graph)
    while cse(graph):
        dce(graph)
