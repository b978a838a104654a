"""Which sums of a reverse program may be taken in any order: those that nobody reads on their way."""

from __future__ import annotations

import pytest

from jitgrad.graph.diff.sums import mark_sums
from tests.graph.helpers import read

_LOOP = """graph f(%x: float64[], %y: float64[], %a: float64[4], %n: int64[]) {{
  %r, %b = for %n, %x, %a : float64[], float64[4]
  ^(%k: int64[], %s: float64[], %c: float64[4]) {{
    %e = load %a {{index=(@1,)}} : float64[]
    %t = add %s, %e : float64[]
    %u = add %t, %y : float64[]
    {more}
    yield %u, %d
  }}
  return %r, %b
}}"""


@pytest.mark.parametrize(
    ("more", "free"),
    [
        ("%d = store %c, %e {index=(@0,)} : float64[4]", True),
        ("%d = store %c, %s {index=(@0,)} : float64[4]", False),
        ("%d = store %c, %t {index=(@0,)} : float64[4]", False),
        ("%d = store %c, %u {index=(@0,)} : float64[4]", False),
    ],
    ids=["unseen", "before", "between", "after"],
)
def test_sums_that_nobody_reads_are_regrouped(more: str, free: bool) -> None:
    graph = read(_LOOP.format(more=more))
    (loop,) = graph.ops
    mark_sums(loop)
    additions = [op for op in loop.regions[0].ops if op.name == "add"]
    assert [op.attrs.get("any_order", False) for op in additions] == [free, free]
