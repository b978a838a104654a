"""Graphs that ask whether cotangents are -0.0 round their products before they add them.

-0.0 says that a cotangent is not used (`diff/marks.py`), and what is too small for a float must not become that: an
infinite slope upstream would be taken for one that nobody asks for. A product that underflows is added as a zero, and
0.0 plus a zero is 0.0; but rounded once with the sum, what is below zero rounds to -0.0.

In: a graph of which the marks that are not needed have been dropped. Out: the same graph; where a mark is left, no
product may be rounded with its sum, nor a loop of a derivative regroup what it carries.
"""

from __future__ import annotations

from jitgrad.graph.ir import Graph

__all__ = ["round_for_marks"]


def round_for_marks(graph: Graph) -> bool:
    """Take away the freedoms of products and loops where marks are asked for."""
    ops = list(graph.walk())
    if not any(op.name == "is_negative_zero" for op in ops):
        return False
    free = [op for op in ops if op.name in ("multiply", "for") and "any_rounding" in op.attrs]
    for op in free:
        op.attrs = {k: v for k, v in op.attrs.items() if k != "any_rounding"}
    return bool(free)
