"""Which values are saved together for the way back: those of the fewest bytes from which all others can be made."""

from __future__ import annotations

from jitgrad.graph.diff.cut import choose
from jitgrad.graph.diff.frames import Nest
from jitgrad.graph.ir import Graph, Value
from tests.graph.helpers import read

_DIFFERENCES = """graph f(%a: float64[4], %n: int64[]) {
  %r = for %n, %a : float64[4]
  ^(%k: int64[], %c: float64[4]) {
    %x0 = load %c {index=(@0,)} : float64[]
    %y0 = load %c {index=(@1,)} : float64[]
    %z0 = load %c {index=(@2,)} : float64[]
    %x = sin %x0 : float64[]
    %y = sin %y0 : float64[]
    %z = sin %z0 : float64[]
    %xy = subtract %x, %y : float64[]
    %yz = subtract %y, %z : float64[]
    %xz = subtract %x, %z : float64[]
    %both = multiply %xy, %yz : float64[]
    %d = store %c, %both {index=(@3,)} : float64[4]
    yield %d
  }
  return %r
}"""

_NESTED = """graph f(%x: float64[]) {
  %three = constant {value=3} : int64[]
  %ten = constant {value=10} : int64[]
  %r = for %three, %x : float64[]
  ^(%k: int64[], %s: float64[]) {
    %p = sin %s : float64[]
    %w = for %ten, %s : float64[]
    ^(%j: int64[], %t: float64[]) {
      %q = sin %t : float64[]
      %u = multiply %p, %q : float64[]
      %v = add %p, %q : float64[]
      %z = divide %u, %v : float64[]
      yield %z
    }
    yield %w
  }
  return %r
}"""


def values_of(graph: Graph) -> dict[str, Value]:
    return {r.name: r for op in graph.walk() for r in op.results}


def test_differences_need_their_points() -> None:
    graph = read(_DIFFERENCES)
    v = values_of(graph)
    asked = [v["xy"], v["yz"], v["xz"], v["both"]]
    plan = choose(Nest(graph), asked, asked, set(), set())
    assert plan is not None
    assert plan.saved == {v["x"], v["y"], v["z"]}
    assert plan.again == {v["xy"], v["yz"], v["xz"], v["both"]}


def test_a_value_of_an_outer_loop_is_saved_less_often() -> None:
    graph = read(_NESTED)
    v = values_of(graph)
    plan = choose(Nest(graph), [v["u"], v["v"]], [v["u"], v["v"]], set(), set())
    assert plan is not None
    assert plan.saved == {v["p"], v["q"]}


def test_a_plan_must_save_much() -> None:
    graph = read(_DIFFERENCES)
    v = values_of(graph)
    asked = [v["xy"], v["yz"], v["z"]]
    assert choose(Nest(graph), asked, asked, set(), set()) is None
