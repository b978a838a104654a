"""Arrays of which each iteration has a part of its own: how much is kept of them, and that the same is computed."""

from __future__ import annotations

import numpy as np
import pytest

from jitgrad.graph.interpret import interpret
from jitgrad.graph.passes import dce, keep_one_part
from jitgrad.graph.verify import verify
from tests.graph.helpers import assert_ir, read

N = 40
X = np.random.default_rng(0).normal(size=(N, 2))


def graph_text(factor: int, constant: int, stored: tuple[int, int], first: int, second: int) -> str:
    """Return a loop that stores two numbers at `factor * k + constant` plus places, and reads two."""
    size = factor * N + 4
    return f"""
    graph f(%x: float64[{N}, 2]) {{
      %n = constant {{value={N}}} : int64[]
      %a = constant {{value={factor}}} : int64[]
      %b = constant {{value={constant + stored[0]}}} : int64[]
      %c = constant {{value={constant + stored[1]}}} : int64[]
      %d = constant {{value={constant + first}}} : int64[]
      %e = constant {{value={constant + second}}} : int64[]
      %zero = constant {{value=0.0}} : float64[]
      %new = undef {{shape=({size},), dtype=float64}} : float64[{size}]
      %kept, %sum = for %n, %new, %zero : float64[{size}], float64[]
      ^(%k: int64[], %t: float64[{size}], %s: float64[]) {{
        %place = multiply %k, %a : int64[]
        %p = add %place, %b : int64[]
        %q = add %place, %c : int64[]
        %v = load %x, %k {{index=(@_, @0)}} : float64[]
        %w = load %x, %k {{index=(@_, @1)}} : float64[]
        %t1 = store %t, %v, %p {{index=(@_,)}} : float64[{size}]
        %t2 = store %t1, %w, %q {{index=(@_,)}} : float64[{size}]
        %f = add %place, %d : int64[]
        %g = add %place, %e : int64[]
        %y = load %t2, %f {{index=(@_,)}} : float64[]
        %z = load %t2, %g {{index=(@_,)}} : float64[]
        %product = multiply %y, %z : float64[]
        %sum1 = add %s, %product : float64[]
        yield %t2, %sum1
      }}
      return %sum
    }}
    """


@pytest.mark.parametrize(
    ("factor", "constant", "stored"),
    [(2, 0, (0, 1)), (2, 1, (0, 1)), (2, 1, (1, 0)), (3, 1, (2, 0)), (3, 0, (0, 2))],
)
def test_one_part_is_kept(factor: int, constant: int, stored: tuple[int, int]) -> None:
    graph = read(graph_text(factor, constant, stored, *stored))
    want = interpret(graph, [X])
    assert keep_one_part(graph)
    dce(graph)
    verify(graph)
    extent = abs(stored[0] - stored[1]) + 1
    assert_ir(graph, has=[f"undef {{shape=({extent},), dtype=float64}}"])
    assert interpret(graph, [X]) == want


@pytest.mark.parametrize(
    ("factor", "constant", "stored"),
    [(1, 0, (0, 1)), (1, 1, (0, -1)), (1, 2, (1, 0)), (2, 0, (0, 2)), (2, 1, (2, 0)), (0, 0, (0, 1))],
)
def test_parts_that_meet_are_kept(factor: int, constant: int, stored: tuple[int, int]) -> None:
    graph = read(graph_text(factor, constant, stored, *stored))
    assert not keep_one_part(graph)


def test_what_the_iteration_before_stored_is_kept() -> None:
    """The place before the two that an iteration stores belongs to the one before."""
    graph = read(graph_text(2, 1, (0, 1), -1, 1))
    assert not keep_one_part(graph)


@pytest.mark.parametrize("storing", [(True, False), (False, True), (True, True)])
def test_arms_of_a_branch_store(storing: tuple[bool, bool]) -> None:
    """What an arm yields is the array too, whichever arm stores: its type follows."""
    first, second = (
        f"""^() {{
          %t{k} = store %t, {"%v" if stores else "%s"}, %p {{index=(@_,)}} : float64[{2 * N}]
          yield {f"%t{k}" if stores else "%t"}
        }}"""
        for k, stores in enumerate(storing)
    )
    graph = read(f"""
    graph f(%x: float64[{N}, 2]) {{
      %n = constant {{value={N}}} : int64[]
      %two = constant {{value=2}} : int64[]
      %zero = constant {{value=0.0}} : float64[]
      %new = undef {{shape=({2 * N},), dtype=float64}} : float64[{2 * N}]
      %kept, %sum = for %n, %new, %zero : float64[{2 * N}], float64[]
      ^(%k: int64[], %a: float64[{2 * N}], %s: float64[]) {{
        %p = multiply %k, %two : int64[]
        %v = load %x, %k {{index=(@_, @0)}} : float64[]
        %t = store %a, %s, %p {{index=(@_,)}} : float64[{2 * N}]
        %c = greater %v, %zero : bool[]
        %b = if %c : float64[{2 * N}]
        {first}
        {second}
        %y = load %b, %p {{index=(@_,)}} : float64[]
        %sum1 = add %v, %y : float64[]
        yield %b, %sum1
      }}
      return %sum
    }}
    """)
    want = interpret(graph, [X])
    assert keep_one_part(graph)
    dce(graph)
    verify(graph)
    assert_ir(graph, has=["undef {shape=(1,), dtype=float64}"])
    assert interpret(graph, [X]) == want
