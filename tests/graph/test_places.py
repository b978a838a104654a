"""Which parts of an array are surely apart, against the sets of their positions."""

from __future__ import annotations

import itertools

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Graph
from jitgrad.graph.ops.index import Pick, Span
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.places import apart

_SIZE = 5


def positions(e: Pick | Span) -> set[int]:
    if isinstance(e, Pick):
        return {int(e.at)}  # type: ignore[arg-type]
    start, step, length = e
    return set(range(start, start + step * length, step))  # type: ignore[operator, arg-type]


def test_parts_that_are_apart_share_no_element() -> None:
    spans = [Span(a, s, n) for a, s, n in itertools.product(range(_SIZE), (-2, -1, 1, 2), range(4))]
    parts = [Pick(k) for k in range(_SIZE)] + [s for s in spans if positions(s) <= set(range(_SIZE))]
    r = Context(Builder(Graph("f", [])))
    found = 0
    for a, b in itertools.product(parts, parts):
        if apart(r, [a], [b]):
            assert not positions(a) & positions(b), (a, b)
            found += 1
    assert found > len(parts) ** 2 / 3
