"""Stores that share a nest: what may be joined is, and what may not gives what the interpreter gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jitgrad.backend.emit as emit
from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.ops.index import Span, add_to, load, store
from jitgrad.graph.types import FLOAT64, INT64
from tests.backend.native import check
from tests.graph.diff_bank import loop

N, PART = 40, 33


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that gets the sizes of all groups."""
    sizes: list[int] = []
    real = emit.join_stores

    def spy(*args: Any) -> Any:
        steps, groups = real(*args)
        sizes.extend(1 + len(stores) for stores in groups.values())
        return steps, groups

    monkeypatch.setattr(emit, "join_stores", spy)
    return sizes


def at(start: int | Value) -> list[Span]:
    return [Span(start, 1, PART)]


def program(body: Any, count: int = 3) -> tuple[Graph, list[np.ndarray]]:
    graph = Graph("f", [FLOAT64.with_shape((N,))] * 3, ["a", "b", "c"])
    g = Builder(graph)
    # Sums, so that the loop owns its arrays.
    inits = [g.multiply(x, 1.5) for x in graph.args]
    graph.yields = loop(g, count, inits, lambda k, *xs: body(g, k, *xs))
    rng = np.random.default_rng(0)
    return graph, [rng.normal(size=N) for _ in range(3)]


def test_a_cotangent_added_to_two_arrays_and_overwritten(joined: list[int]) -> None:
    def body(g: Builder, k: Value, a: Value, b: Value, c: Value) -> list[Value]:
        x = load(g, c, at(2))
        a = add_to(g, a, g.multiply(x, 0.5), at(0))
        b = store(g, b, g.multiply(x, x), at(g.add(k, g.constant(np.int64(1)))))
        return [a, b, store(g, c, g.negative(x), at(2))]

    graph, args = program(body)
    check(graph, *args)
    assert joined == [3]


def test_what_the_first_wrote_is_read_by_a_nest_of_its_own(joined: list[int]) -> None:
    def body(g: Builder, k: Value, a: Value, b: Value, c: Value) -> list[Value]:
        x = load(g, c, at(2))
        a = store(g, a, g.multiply(x, 0.5), at(1))
        return [a, store(g, b, g.add(x, load(g, a, at(2))), at(0)), c]

    graph, args = program(body)
    check(graph, *args)
    assert joined == []


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_what_the_first_reads_is_overwritten_at_the_same_element_only(joined: list[int], shift: int) -> None:
    def body(g: Builder, k: Value, a: Value, b: Value, c: Value) -> list[Value]:
        x, y = load(g, c, at(2 + shift)), load(g, b, at(1))
        a = add_to(g, a, g.multiply(x, y), at(0))
        return [a, b, store(g, c, g.add(y, 1.0), at(2))]

    graph, args = program(body)
    check(graph, *args)
    assert joined == ([2] if shift == 0 else [])


def test_a_part_read_backwards_is_not_read_element_by_element(joined: list[int]) -> None:
    def body(g: Builder, k: Value, a: Value, b: Value, c: Value) -> list[Value]:
        x, y = load(g, load(g, c, at(2)), [Span(PART - 1, -1, PART)]), load(g, b, at(1))
        a = add_to(g, a, g.multiply(x, y), at(0))
        return [a, b, store(g, c, g.add(y, 1.0), at(2))]

    graph, args = program(body)
    check(graph, *args)
    assert joined == []


@pytest.mark.parametrize("change", [add_to, store])
@pytest.mark.parametrize("start", [0, 1])
def test_parts_of_one_array_are_not_joined(joined: list[int], start: int, change: Any) -> None:
    def body(g: Builder, k: Value, a: Value, b: Value, c: Value) -> list[Value]:
        x = load(g, c, at(2))
        a = change(g, a, x, at(start))
        return [change(g, a, g.multiply(x, x), at(1 - start)), b, c]

    graph, args = program(body)
    check(graph, *args)
    assert joined == []


def statements(seed: int) -> Any:
    """Return the body of a random loop: old and new versions are read, arrays change places."""
    rng = np.random.default_rng(seed)

    def body(g: Builder, k: Value, *given: Value) -> list[Value]:
        arrays = list(given)
        starts = [0, 1, 2, 2, 2, g.add(k, g.constant(np.int64(1)))]
        old = [load(g, arrays[i], at(starts[rng.integers(6)])) for i in rng.integers(0, 3, 3)]
        for _ in range(6):
            terms = []
            for _ in range(rng.integers(1, 3)):
                if rng.random() < 0.5:
                    terms.append(old[rng.integers(3)])
                else:
                    terms.append(load(g, arrays[rng.integers(3)], at(starts[rng.integers(6)])))
            value = g.multiply(terms[0], 0.5) if len(terms) == 1 else g.subtract(*terms)
            i = int(rng.integers(3))
            change = add_to if rng.random() < 0.5 else store
            arrays[i] = change(g, arrays[i], value, at(starts[rng.integers(6)]))
        return [arrays[i] for i in rng.permutation(3)]

    return body


def mixtures(seed: int) -> Any:
    """Return the body of a random loop of stores and of nests, which may write over what nobody reads later."""
    rng = np.random.default_rng(seed)

    def body(g: Builder, k: Value, *given: Value) -> list[Value]:
        arrays = list(given)
        for _ in range(7):
            i, j = (int(n) for n in rng.integers(0, 3, 2))
            if rng.random() < 0.5:
                value = g.multiply(load(g, arrays[j], at(int(rng.integers(3)))), 0.5)
                change = add_to if rng.random() < 0.5 else store
                arrays[i] = change(g, arrays[i], value, at(int(rng.integers(3))))
                continue
            other = arrays[j] if rng.random() < 0.6 else load(g, arrays[j], [Span(N - 1, -1, N)])
            arrays[i] = g.subtract(g.multiply(arrays[i], 0.5), other)
        return [arrays[i] for i in rng.permutation(3)]

    return body


@pytest.mark.parametrize("bodies", [statements, mixtures])
def test_random_stores(bodies: Any, joined: list[int]) -> None:
    for seed in range(60):
        check(*_flat(program(bodies(seed))), optimise=seed % 2 == 0)
    assert len(joined) > 10


@pytest.mark.parametrize("between", ["apart", "reads what was stored", "makes an array", "writes over what was read"])
def test_a_nest_between_two_stores_runs_before_them(joined: list[int], between: str) -> None:
    def body(g: Builder, k: Value, a: Value, b: Value, c: Value) -> list[Value]:
        x = load(g, c, at(2))
        y = load(g, b, at(1)) if between == "writes over what was read" else x
        stored = add_to(g, a, g.multiply(x, y), at(0))
        other = stored if between == "reads what was stored" else c
        made = g.add(b, load(g, other, [Span(N - 1, -1, N)]))
        if between == "makes an array":
            made = g.add(made, load(g, made, [Span(N - 1, -1, N)]))
        return [stored, made, store(g, c, g.negative(x), at(2))]

    graph, args = program(body)
    check(graph, *args)
    assert joined == ([2] if between == "apart" else [])


def _flat(made: tuple[Graph, list[np.ndarray]]) -> list[Any]:
    return [made[0], *made[1]]


def test_run_time_sizes(joined: list[int]) -> None:
    graph = Graph("f", [INT64], ["n"])
    n = graph.args[0]
    graph.add_arg(FLOAT64.with_shape((n,)), "x")
    g = Builder(graph)
    first = [g.multiply(graph.args[1], f) for f in (1.5, 2.5, 0.5)]

    def body(k: Value, a: Value, b: Value, c: Value) -> list[Value]:
        part = [Span(k, 1, k)]
        x = load(g, c, part)
        return [add_to(g, a, x, part), store(g, b, g.multiply(x, x), part), store(g, c, g.sin(x), part)]

    graph.yields = loop(g, 5, first, body)
    check(graph, 20, np.linspace(-1.0, 2.0, 20))
    assert joined == [2]


def test_a_tape_of_a_new_state_is_written_with_it(joined: list[int]) -> None:
    def body(g: Builder, k: Value, a: Value, b: Value, c: Value) -> list[Value]:
        new = g.add(g.multiply(a, 0.5), c)
        return [new, store(g, b, new, [Span(0, 1, N)]), c]

    graph, args = program(body)
    check(graph, *args)
    assert joined == [2]


def test_a_part_of_another_shape_is_written_apart(joined: list[int]) -> None:
    def body(g: Builder, k: Value, a: Value, b: Value, c: Value) -> list[Value]:
        new = g.add(g.multiply(a, 0.5), c)
        return [new, store(g, b, load(g, new, at(3)), at(2)), c]

    graph, args = program(body)
    check(graph, *args)
    assert joined == []


def test_what_a_nest_reads_at_other_places_is_not_written_in_it(joined: list[int]) -> None:
    def body(g: Builder, k: Value, a: Value, b: Value, c: Value) -> list[Value]:
        turned = load(g, b, [Span(N - 1, -1, N)])
        new = g.add(g.multiply(a, 0.5), turned)
        return [new, store(g, b, g.add(a, c), [Span(0, 1, N)]), c]

    graph, args = program(body)
    check(graph, *args)
    assert joined == []
