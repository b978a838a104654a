"""What run-time checks cost: gradients compiled with them, and with every `check` taken out of the graph.

    python benchmarks/checks.py [--case NAME] [--seconds S]

Most checks of indices are proved away before (`graph/passes/rules/ranges.py`), or stand before a loop; the number left
is shown. Calls are interleaved on one core.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
from collections.abc import Callable
from typing import Any

from cases import Case
from run import repeat, single_thread, warm_up

import jitgrad.execute
from jitgrad.graph.ir import Graph

NAMES = ("cholesky", "csr", "durbin", "gauss_seidel", "heat", "lu", "scatter", "thomas", "trisolve", "wave")
ROUNDS = 9


def without_checks(graph: Graph) -> int:
    """Take all checks out of a graph; return how many there were."""
    count = 0
    blocks = [graph, *(region for op in graph.walk() for region in op.regions)]
    for block in blocks:
        count += sum(op.name == "check" for op in block.ops)
        block.ops = [op for op in block.ops if op.name != "check"]
    return count


def compiled(case: Case, checked: bool) -> tuple[Callable[[], Any], int]:
    """Return the call of a case's gradient, and the number of checks in its graph."""
    lower = jitgrad.execute.lower
    found = 0

    def lowered(graph: Graph, *args: Any, **kwargs: Any) -> Any:
        nonlocal found
        found = sum(op.name == "check" for op in graph.walk()) if checked else without_checks(graph)
        return lower(graph, *args, **kwargs)

    jitgrad.execute.lower = lowered
    try:
        call = case.ways["jitgrad"]()
        call()
    finally:
        jitgrad.execute.lower = lower
    return call, found


def main() -> None:
    """Time the cases that the command line asks for."""

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", help="title of a case (prefix); may be given several times")
    parser.add_argument("--seconds", type=float, default=0.5, help="time for each way of each case")
    options = parser.parse_args()
    single_thread()
    warm_up(())
    for name in NAMES:
        for case in importlib.import_module(f"cases.{name}").CASES:
            if options.case and not any(case.title.startswith(c) for c in options.case):
                continue
            (checked, found), (bare, _) = compiled(case, True), compiled(case, False)
            times: dict[bool, list[float]] = {True: [], False: []}
            for _ in range(ROUNDS):
                for which, call in ((True, checked), (False, bare)):
                    times[which].append(repeat(call, options.seconds / ROUNDS))
            ratio = statistics.median(times[True]) / statistics.median(times[False])
            print(
                f"{case.title:26} {found:3} checks  {statistics.median(times[True]) * 1e6:12.2f} us  {ratio:.3f}x",
                flush=True,
            )


if __name__ == "__main__":
    main()
