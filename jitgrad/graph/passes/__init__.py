"""The passes over graphs, and the order they run in.

    graph -> dce -> (simplify -> cse -> licm -> dce) until nothing changes -> graph

In: a graph that verifies. Out: the same graph object, which computes the same bits and raises the same errors with
fewer ops. A pass is a function `name(graph) -> bool` (whether it changed something) in a file of its own; each is
iterative and about linear. This room knows neither where graphs come from nor how they are run.
"""

from __future__ import annotations

from collections.abc import Callable

from jitgrad.graph.ir import Graph
from jitgrad.graph.passes.cse import cse
from jitgrad.graph.passes.dce import dce
from jitgrad.graph.passes.licm import licm
from jitgrad.graph.passes.simplify import simplify

__all__ = ["PASSES", "cse", "dce", "licm", "optimise", "simplify"]

PASSES: tuple[Callable[[Graph], bool], ...] = (
    # Facts about constants and decided branches first: they make ops equal, invariant and dead.
    simplify,
    # After simplify has brought equal things into one form; gives it conditions that are known in arms.
    cse,
    # After cse, so that one copy moves out of a loop and not each.
    licm,
    # Last in each round: what the others replaced is still there, and would be counted as used by the next simplify.
    dce,
)
# Each round finds what the last one uncovered; programs settle in two to four. The bound is for those that would
# go on winning an op a round: stopping early is right at any time.
_ROUNDS = 8


def optimise(graph: Graph) -> None:
    """Run the passes to a fixpoint."""
    # First of all: front ends and derivatives build far more than the results need.
    dce(graph)
    quiet = 0
    for k in range(_ROUNDS * len(PASSES)):
        quiet = 0 if PASSES[k % len(PASSES)](graph) else quiet + 1
        if quiet == len(PASSES):
            return
