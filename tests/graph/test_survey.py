"""What passes ask of a graph: who shares a survey, and that it is true of the graph as it is."""

from __future__ import annotations

import pytest

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Graph
from jitgrad.graph.passes import optimise
from jitgrad.graph.passes import survey as rooms
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.survey import after_pass, keeping_surveys, surveyed
from jitgrad.graph.types import FLOAT64
from jitgrad.options import OPTIONS
from tests.graph.random_graphs import random_graph


def _graph() -> Graph:
    graph = Graph("f", [FLOAT64], ["x"])
    g = Builder(graph)
    graph.yields = [g.multiply(g.add(graph.args[0], 1.0), graph.args[0])]
    return graph


def test_a_survey_serves_the_next_pass_until_one_changes_something() -> None:
    graph = _graph()
    with keeping_surveys(graph):
        first = surveyed(graph)
        assert surveyed(graph) is not first, "a pass that asks again may have changed the graph"
        after_pass(graph, changed=False)
        second = surveyed(graph)
        after_pass(graph, changed=False)
        after_pass(graph, changed=False)
        assert surveyed(graph) is second, "two passes that did not ask nor change anything"
        after_pass(graph, changed=True)
        assert surveyed(graph) is not second
    assert surveyed(graph) is not surveyed(graph), "nobody says any more what has changed"


def test_a_survey_that_is_no_longer_true_is_found() -> None:
    graph = _graph()
    with keeping_surveys(graph):
        surveyed(graph)
        after_pass(graph, changed=False)
        graph.yields.append(graph.args[0])
        with pytest.raises(AssertionError):
            surveyed(graph)


def test_shared_surveys_are_those_of_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    shared: list[bool] = []
    is_true = rooms._is_true

    def counted(r: Context, graph: Graph) -> bool:
        shared.append(is_true(r, graph))
        return shared[-1]

    monkeypatch.setattr(rooms, "_is_true", counted)
    monkeypatch.setattr(OPTIONS, "verify", "each")
    for seed in range(40):
        optimise(random_graph(3000 + seed, size=40, depth=3))
    assert all(shared)
    assert len(shared) >= 40
