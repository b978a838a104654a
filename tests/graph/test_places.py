"""Which parts of an array are surely apart, or one backwards, against their positions."""

from __future__ import annotations

import itertools

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.ops.index import Pick, Span
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.places import apart, turned
from jitgrad.graph.passes.survey import surveyed
from jitgrad.graph.types import INT64

_SIZE = 5
# Of the outer index, the inner one, and 1.
_FACTORS = ((0, 0, 7), (1, 0, 4), (0, 1, 4), (1, 1, 3), (1, -1, 6), (0, -1, 9), (2, 0, 8), (0, 3, 3))


def in_order(e: Span) -> list[int]:
    start, step, length = e
    return list(range(start, start + step * length, step))  # type: ignore[operator, arg-type]


def positions(e: Pick | Span) -> set[int]:
    return {int(e.at)} if isinstance(e, Pick) else set(in_order(e))  # type: ignore[arg-type]


def spans() -> list[Span]:
    found = [Span(a, s, n) for a, s, n in itertools.product(range(_SIZE), (-2, -1, 1, 2), range(4))]
    return [s for s in found if positions(s) <= set(range(_SIZE))]


def test_parts_that_are_apart_share_no_element() -> None:
    parts = [Pick(k) for k in range(_SIZE)] + spans()
    r = Context(Builder(Graph("f", [])))
    found = 0
    for a, b in itertools.product(parts, parts):
        if apart(r, [a], [b]):
            assert not positions(a) & positions(b), (a, b)
            found += 1
    assert found > len(parts) ** 2 / 3


def test_parts_at_run_time_positions_that_are_apart_share_no_element() -> None:
    """Positions are sums of the indices of two loops; they are tried in all iterations."""
    graph = Graph("f", [])
    g = Builder(graph)
    with g.region([INT64]) as outer:
        with g.region([INT64]) as inner:
            inner.yields = []
        g.emit("for", [g.constant(3)], regions=[inner])
        outer.yields = []
    g.emit("for", [g.constant(2)], regions=[outer])
    r = surveyed(graph)
    i, j = outer.args[0], inner.args[0]
    h = Builder(inner)
    sums = [h.add(h.multiply(i, a), h.add(h.multiply(j, b), c)) for a, b, c in _FACTORS]
    parts = list(itertools.product(range(len(sums)), (None, (1, 2), (2, 2), (-1, 3), (-3, 2), (1, 0))))
    trips = list(itertools.product(range(2), range(3)))

    def part(at: int | Value, ends: tuple[int, int] | None) -> Pick | Span:
        return Pick(at) if ends is None else Span(at, *ends)

    found = 0
    for (p, ends), (q, others) in itertools.product(parts, parts):
        if apart(r, [part(sums[p], ends)], [part(sums[q], others)]):
            for x, y in trips:
                here, there = (a * x + b * y + c for a, b, c in (_FACTORS[p], _FACTORS[q]))
                assert not positions(part(here, ends)) & positions(part(there, others)), (p, ends, q, others)
            found += 1
    assert found > len(parts) ** 2 / 5


def test_a_part_backwards_is_the_other_one_turned_round() -> None:
    r = Context(Builder(Graph("f", [])))
    found = 0
    for a, b in itertools.product(spans(), spans()):
        axes = turned(r, [Pick(0), a], [Pick(0), b])
        if axes is not None:
            assert in_order(a) == (in_order(b)[::-1] if axes else in_order(b)), (a, b)
            found += bool(axes)
        else:
            assert abs(a[1]) != 1 or in_order(a) != in_order(b)[::-1] or len(in_order(a)) < 2, (a, b)  # type: ignore[arg-type]
    assert found > 10
    assert turned(r, [Pick(0), Span(0, 1, 2)], [Pick(1), Span(0, 1, 2)]) is None
