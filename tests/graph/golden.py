"""Golden cases: a source, the stage that it goes through, and the graph that must come out.

A case is a file `tests/golden/NAME.case`:

    # One sentence: what the case shows.
    stage: graph-text
    --- source
    graph f(%x: float64[]) {
      ...
    --- expect
    graph f(%x: float64[]) {
      ...

A stage makes a graph of the source text, and checks by running that the graph means what the source means. What is
expected has at most 25 lines: for larger graphs use `assert_ir`, which names the salient thing.

`JITGRAD_BLESS=1` writes what came out into the file and prints the difference; where the variable `CI` is set, that is
refused.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from jitgrad.graph.equality import structurally_equal
from jitgrad.graph.ir import Graph
from jitgrad.graph.parser import parse
from jitgrad.graph.passes import optimise
from jitgrad.graph.printer import print_graph
from jitgrad.graph.verify import verify
from tests.graph.golden_python import grad_graph, grad_is_right, jit_graph, jit_is_right
from tests.graph.helpers import outcome
from tests.graph.random_graphs import random_args

__all__ = ["FOLDER", "STAGES", "Case", "Stage", "check_case", "read_case"]

FOLDER = Path(__file__).parent.parent / "golden"
_LONGEST = 25


@dataclass(frozen=True)
class Stage:
    """What turns a source into a graph, and what shows that the graph is right."""

    make: Callable[[str], Graph]
    check: Callable[[str, Graph], None]


@dataclass(frozen=True)
class Case:
    """The parts of a case file."""

    path: Path
    about: str
    stage: str
    source: str
    expect: str

    def text(self) -> str:
        """Return the file that holds this case."""
        return f"{self.about}stage: {self.stage}\n--- source\n{self.source}--- expect\n{self.expect}"


def read_case(path: Path) -> Case:
    """Return the case in a file.

    Raises
    ------
    ValueError
        If the file does not have the parts of a case, or does not say what it shows.
    """
    head, found, rest = path.read_text().partition("--- source\n")
    source, found_too, expect = rest.partition("--- expect\n")
    about, stage_mark, stage = head.partition("stage: ")
    if not (found and found_too and stage_mark) or not about.startswith("# "):
        raise ValueError(f"{path.name}: a case has `# what it shows`, `stage: ...`, `--- source` and `--- expect`")
    return Case(path, about, stage.strip(), source, expect)


def check_case(case: Case) -> None:
    """Run a case: compare its graph with the text expected, or bless what came out; check what it computes."""
    stage = STAGES[case.stage]
    graph = stage.make(case.source)
    verify(graph)
    text = print_graph(graph) + "\n"
    assert structurally_equal(graph, parse(text)), text
    stage.check(case.source, graph)
    assert text.count("\n") <= _LONGEST, f"{case.path.name}: {text.count(chr(10))} lines are too many for a golden case"
    if text == case.expect:
        return
    diff = "".join(difflib.unified_diff(case.expect.splitlines(True), text.splitlines(True), "expected", "came out"))
    blessed = os.environ.get("JITGRAD_BLESS") == "1"
    assert blessed, f"{case.path.name} ({case.about.strip('# ').strip()}); JITGRAD_BLESS=1 accepts:\n{diff}"
    assert not os.environ.get("CI"), "nothing is blessed where CI is set"
    print(f"{case.path.name} is blessed:\n{diff}")
    case.path.write_text(Case(case.path, case.about, case.stage, case.source, text).text())


def _optimised(source: str) -> Graph:
    graph = parse(source)
    verify(graph)
    optimise(graph)
    return graph


def _runs_alike(source: str, graph: Graph) -> None:
    """Check that a graph does what the graph in the source does, on arguments with special values."""
    given = parse(source)
    for seed in range(6):
        args = random_args(given, seed)
        assert outcome(graph, args) == outcome(given, args)


STAGES: dict[str, Stage] = {
    # A graph as text, optimised.
    "graph-text": Stage(_optimised, _runs_alike),
    # Python, traced and optimised.
    "jit": Stage(jit_graph, jit_is_right),
    # Python, traced, differentiated and optimised.
    "grad": Stage(grad_graph, grad_is_right),
}
