"""The passes: a golden and a run test for each rule, properties on random graphs, deep nests and long graphs.

A rule's case stands in `rules/*.txt`: the body of a graph, what the pass must leave (`has:`) and what it must take away
(`lacks:`). The first line of a file names the passes to run; in the files called `*_off` nothing may change. Before
and after, the graph gives the same bits, or raises the same error, on arguments with NaN, infinities and zeros of both
signs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from jitgrad.graph.builder import Builder
from jitgrad.graph.equality import structurally_equal
from jitgrad.graph.ir import Graph, Op
from jitgrad.graph.parser import parse
from jitgrad.graph.passes import (
    PASSES,
    carry_elements,
    dce,
    drop_marks,
    exchange_buffers,
    gather_sums,
    optimise,
    record_states_once,
    run_upwards,
    split_loops,
    store_into_fresh,
)
from jitgrad.graph.passes.dead_stores import dead_stores
from jitgrad.graph.passes.scalars import small_arrays_to_scalars
from jitgrad.graph.passes.simplify import _Sweep
from jitgrad.graph.printer import print_graph
from jitgrad.graph.types import FLOAT64, INT64
from jitgrad.graph.verify import verify
from tests.graph.helpers import assert_ir, deep_graph, outcome, read
from tests.graph.random_graphs import random_args, random_graph

_HEAD = (
    "graph f(%x: float64[], %y: float64[], %a: float64[4], %m: float64[2, 3], %i: int64[], %j: int64[], %n: int64[], "
    "%p: bool[], %q: bool[], %v: float64[%n], %b: bool[4], %z: complex128[], %h: float32[], %u: int8[]) {\n"
)
_BY_NAME = {
    run.__name__: run
    for run in (
        *PASSES,
        carry_elements,
        dead_stores,
        drop_marks,
        exchange_buffers,
        gather_sums,
        record_states_once,
        run_upwards,
        small_arrays_to_scalars,
        split_loops,
        store_into_fresh,
    )
}


@dataclass(frozen=True)
class Case:
    """A graph's body, and what its print holds or lacks after the passes."""

    file: str
    name: str
    passes: tuple[str, ...]
    body: str
    has: tuple[str, ...]
    lacks: tuple[str, ...]


def cases_of(path: Path) -> list[Case]:
    """Return the cases in a file."""
    head, *parts = path.read_text().split("\n# ")
    passes = tuple(head.split(":")[0].split(", "))
    found = []
    for part in parts:
        name, *lines = part.rstrip().splitlines()
        said: dict[str, list[str]] = {"has": [], "lacks": []}
        for line in lines:
            if not line.startswith(" "):
                key, _, piece = line.partition(": ")
                said[key].append(piece.replace("\\n", "\n"))
        body = "\n".join(line for line in lines if line.startswith(" "))
        found.append(Case(path.stem, name, passes, body, tuple(said["has"]), tuple(said["lacks"])))
    return found


_CASES = [case for path in sorted((Path(__file__).parent / "rules").glob("*.txt")) for case in cases_of(path)]


@pytest.mark.parametrize("case", _CASES, ids=lambda case: f"{case.file}: {case.name}")
def test_rule(case: Case) -> None:
    graph = read(_HEAD + case.body + "\n}")
    passes = [_BY_NAME[name] for name in case.passes]
    arguments = [random_args(graph, seed) for seed in range(6)]
    before = [outcome(graph, args) for args in arguments]
    text = print_graph(graph)
    changed = [run(graph) for run in passes]
    verify(graph)
    if case.file.endswith("_off"):
        assert not any(changed) and print_graph(graph) == text, print_graph(graph)
    else:
        assert any(changed) and (case.has or case.lacks), print_graph(graph)
    assert [outcome(graph, args) for args in arguments] == before
    assert_ir(graph, case.has, case.lacks)
    # A second run finds nothing: the rules go one way.
    assert not any(run(graph) for run in passes), print_graph(graph)


def test_there_is_a_case_for_each_pass() -> None:
    assert {name for case in _CASES for name in case.passes} == set(_BY_NAME)
    assert len(_CASES) > 100


def test_dce_keeps_input_and_output() -> None:
    graph = Graph("f", [FLOAT64])
    g = Builder(graph)
    g.call_back(graph.args[0], function=np.sin, types=(FLOAT64,))
    assert not dce(graph)
    assert len(graph.ops) == 1


def test_passes_keep_locations() -> None:
    for seed in range(10):
        graph = random_graph(seed, size=30)
        known = {id(op.location) for op in graph.walk()}
        optimise(graph)
        assert {id(op.location) for op in graph.walk()} <= known


# --- properties


@pytest.mark.parametrize("seed", range(80))
def test_every_pass_keeps_every_bit(seed: int) -> None:
    graph = random_graph(seed, size=5 + seed % 35, depth=1 + seed % 3, tame=seed % 5 == 0)
    arguments = [random_args(graph, seed + k) for k in range(3)]
    before = [outcome(graph, args) for args in arguments]
    for run in PASSES * 2:
        text = print_graph(graph)
        changed = run(graph)
        verify(graph)
        assert changed or print_graph(graph) == text, f"{run.__name__} changed the graph and did not say so"
        assert [outcome(graph, args) for args in arguments] == before, run.__name__
    back = parse(print_graph(graph))
    assert structurally_equal(graph, back)


@pytest.mark.parametrize("seed", range(60))
def test_optimise_settles_and_keeps_every_bit(seed: int) -> None:
    graph = random_graph(1000 + seed, size=40, depth=3)
    arguments = [random_args(graph, seed + k) for k in range(3)]
    before = [outcome(graph, args) for args in arguments]
    optimise(graph)
    verify(graph)
    assert [outcome(graph, args) for args in arguments] == before
    assert not any(run(graph) for run in PASSES), "there was more to do"
    text = print_graph(graph)
    other = random_graph(1000 + seed, size=40, depth=3)
    optimise(other)
    assert print_graph(other) == text, "two runs differ"
    # Ops that are passed over, as all that they see is as it was, are those that no rule applies to.
    another = random_graph(1000 + seed, size=40, depth=3)
    _optimise_looking_at_everything(another)
    assert print_graph(another) == text, "an op was passed over that had something to be done"


def _optimise_looking_at_everything(graph: Graph) -> None:
    """Optimise a graph as if nothing was known of the last time."""

    def forgetful(self: _Sweep, op: Op) -> bool:
        return False

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Sweep, "is_settled", forgetful)
        optimise(graph)


# --- size


def test_deep_nests_need_no_recursion() -> None:
    graph = deep_graph(500)
    for run in PASSES:
        run(graph)
    verify(graph)
    optimise(graph)
    verify(graph)


def test_long_graphs() -> None:
    graph = Graph("long", [FLOAT64, INT64], ["x", "n"])
    g = Builder(graph)
    x, y = graph.args[0], graph.args[0]
    for k in range(5000):
        y = g.add(g.multiply(g.sin(y), float(k % 7)), x)
    graph.yields = [y]
    optimise(graph)
    verify(graph)
    assert 10_000 < len(graph.ops) < 15_010
