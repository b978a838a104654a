"""The passes over graphs, and the order they run in.

    _run(drop_slopes, graph)
    _run(dce, graph)

In: a graph that verifies. Out: the same graph object, which computes the same bits and raises the same errors with
fewer ops; the passes from `join_ways` on may take sums in another order. A pass is a function `name(graph) -> bool`
(whether it changed something) in a file of its own; each is iterative and about linear. This room knows neither where
graphs come from nor how they are run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from jitgrad.graph.ir import Graph
from jitgrad.graph.passes.ahead import run_ahead
from jitgrad.graph.passes.asked import round_for_marks
from jitgrad.graph.passes.batch import batch_products
from jitgrad.graph.passes.components import take_apart
from jitgrad.graph.passes.cse import cse
from jitgrad.graph.passes.dce import dce
from jitgrad.graph.passes.exchange import exchange_buffers
from jitgrad.graph.passes.fresh import store_into_fresh
from jitgrad.graph.passes.gather import gather_sums
from jitgrad.graph.passes.inductions import sums_of_indices
from jitgrad.graph.passes.jam import jam_loops
from jitgrad.graph.passes.layout import turn_arrays
from jitgrad.graph.passes.licm import licm, licm_integers
from jitgrad.graph.passes.packing import pack_bools
from jitgrad.graph.passes.private import keep_one_part
from jitgrad.graph.passes.promote import promote
from jitgrad.graph.passes.recurrences import shorten_recurrences
from jitgrad.graph.passes.rotate import carry_elements
from jitgrad.graph.passes.round_trips import join_ways
from jitgrad.graph.passes.rows import loops_to_rows
from jitgrad.graph.passes.scalars import small_arrays_to_scalars
from jitgrad.graph.passes.simplify import simplify, simplify_integers
from jitgrad.graph.passes.slopes import drop_slopes
from jitgrad.graph.passes.split import split_loops
from jitgrad.graph.passes.states import record_states_once
from jitgrad.graph.passes.survey import after_pass, keeping_surveys
from jitgrad.graph.passes.unmarked import drop_marks
from jitgrad.graph.passes.upward import run_upwards

__all__ = [
    "PASSES",
    "batch_products",
    "carry_elements",
    "cse",
    "dce",
    "drop_marks",
    "drop_slopes",
    "exchange_buffers",
    "gather_sums",
    "jam_loops",
    "join_ways",
    "keep_one_part",
    "licm",
    "loops_to_rows",
    "optimise",
    "pack_bools",
    "prepare",
    "promote",
    "record_states_once",
    "round_for_marks",
    "run_ahead",
    "run_upwards",
    "shorten_recurrences",
    "simplify",
    "split_loops",
    "store_into_fresh",
    "sums_of_indices",
    "take_apart",
    "turn_arrays",
]

Pass: TypeAlias = Callable[[Graph], bool]

PASSES: tuple[Pass, ...] = (
    # Facts about constants and decided branches first: they make ops equal, invariant and dead.
    simplify,
    # After simplify has brought equal things into one form; gives it conditions that are known in arms.
    cse,
    # After cse, so that one copy moves out of a loop and not each.
    licm,
    # After cse and licm: an element's place must be the same value wherever it is used, and come from outside the loop.
    promote,
    # Last in each round: what the others replaced is still there, and would be counted as used by the next simplify.
    dce,
)
# Those that find nothing in what they have just changed.
_AT_ONCE = (cse, dce)
# Those that find nothing more where dead ops have been taken out.
_BLIND = (cse, licm)
# Those behind which there must be a round for the next one to find anything: conditions are decided in the parts of a
# loop, and elements stay the same.
_TIDIED = (split_loops,)
# Each round finds what the last one uncovered; programs settle in two to four. The bound is for those that would
# go on winning an op a round: stopping early is right at any time.
_ROUNDS = 8


def optimise(graph: Graph) -> None:
    """Run the passes to a fixpoint."""
    with keeping_surveys(graph):
        _optimise(graph)


def _optimise(graph: Graph) -> None:
    # First of all: front ends and derivatives build far more than the results need.
    _run(drop_slopes, graph)
    _run(dce, graph)
    _until_quiet(graph)
    # After what loops only hand on has been taken out: an array that is an argument must stay that very value.
    if _run(small_arrays_to_scalars, graph):
        _run(dce, graph)
        _until_quiet(graph)
    # After what is not marked has been simplified; whole sums and choices go with the marks.
    if _run(drop_marks, graph):
        _until_quiet(graph)
    if _run(record_states_once, graph):
        _until_quiet(graph)
    if _run(sums_of_indices, graph):
        _until_quiet(graph)
    # Before loops are turned into rows or split: a loop and the way back through it are still one each.
    if _run(join_ways, graph):
        _until_quiet(graph)
    if _run(loops_to_rows, graph):
        _until_quiet(graph)
    changed = _one_by_one(
        graph,
        gather_sums,
        take_apart,
        batch_products,
        # After the sums of loops have been taken together.
        store_into_fresh,
        # After conditions have become selects and invariant things have left; promote then finds elements that stay.
        split_loops,
        carry_elements,
    )
    # When it is settled which marks are left.
    _run(round_for_marks, graph)
    changed |= _one_by_one(
        graph,
        # After elements have become numbers that loops carry.
        shorten_recurrences,
        run_upwards,
        # After elements have become numbers that loops carry, and before loops_to_rows, which takes the second parts.
        run_ahead,
        # Of what has been split or turned round.
        loops_to_rows,
        # After loops_to_rows: what was kept for all iterations is kept for a block of them.
        keep_one_part,
        pack_bools,
        # Last: it makes larger loops.
        jam_loops,
    )
    if changed:
        _until_quiet(graph)
    # After all that: it counts how often what is left touches memory.
    if _run(turn_arrays, graph):
        _until_quiet(graph)
    # Last: for the passes before, an array that a loop carries is one array.
    exchange_buffers(graph)


def _run(run: Pass, graph: Graph) -> bool:
    changed = run(graph)
    after_pass(graph, changed)
    return changed


def _one_by_one(graph: Graph, *passes: Pass) -> bool:
    """Run passes one after another, without a round behind those that do not prepare what others look for."""
    changed = False
    for run in passes:
        if _run(run, graph):
            changed = True
            for follow in PASSES if run in _TIDIED else (dce,):
                _run(follow, graph)
    return changed


def _until_quiet(graph: Graph) -> None:
    changes = removals = 0
    # How many changes a pass had seen when it last had nothing left to do.
    seen: dict[Pass, int] = {}

    def to_see(run: Pass) -> int:
        return changes - removals if run in _BLIND else changes

    for k in range(_ROUNDS * len(PASSES)):
        run = PASSES[k % len(PASSES)]
        if seen.get(run) != to_see(run):
            changed = _run(run, graph)
            changes += changed
            removals += changed and run is dce
            if not changed or run in _AT_ONCE:
                seen[run] = to_see(run)
        elif all(seen.get(other) == to_see(other) for other in PASSES):
            return


def prepare(graph: Graph) -> None:
    """Make a graph that will be differentiated store less: what is overwritten must be kept for the way back.

    Nothing is rewritten that a derivative could notice: places become comparable, elements are carried in registers.
    """
    names = {op.name for op in graph.walk()}
    if "for" not in names:
        if "store" in names:
            simplify_integers(graph)  # what is read as it was stored is a value, whose factors cancel
        return
    simplify_integers(graph)
    small_arrays_to_scalars(graph)
    cse(graph)
    licm_integers(graph)
    while promote(graph):
        cse(graph)
