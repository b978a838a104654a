"""Random graphs, compiled and interpreted: `python -m tests.backend.fuzz_lower FIRST LAST [SIZE]`.

Prints the seeds that differ. Run-time sizes are switched on for every second seed.
"""

from __future__ import annotations

import faulthandler
import sys

from jitgrad.graph.types import ListType
from tests.backend.native import check
from tests.graph.random_graphs import random_args, random_graph

__all__ = ["try_seed"]


def try_seed(seed: int, size: int) -> None:
    """Compare one random graph."""
    graph = random_graph(seed, size=size, dynamic=seed % 2 == 1)
    if any(isinstance(v.type, ListType) for v in (*graph.args, *graph.yields)):
        return
    single = any("float32" in str(v.type) for op in graph.walk() for v in op.results)
    check(graph, *random_args(graph, seed), rtol=1e-4 if single else 1e-9, optimise=seed % 3 != 0)


def main(first: int, last: int, size: int = 25) -> int:
    """Try a range of seeds and return how many differ."""
    faulthandler.enable()
    bad = 0
    for seed in range(first, last):
        try:
            try_seed(seed, size)
        except Exception as e:
            bad += 1
            print(f"seed {seed}: {type(e).__name__}: {str(e)[:200]}")
    print(f"{bad} of {last - first} differ")
    return bad


if __name__ == "__main__":
    sys.exit(bool(main(*map(int, sys.argv[1:]))))
