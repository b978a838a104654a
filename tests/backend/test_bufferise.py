"""Buffers: in place where nothing needs the old contents, pointers instead of copies, arguments left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad.graph.ops  # noqa: F401  (declares the primitives)
from jitgrad.graph.builder import Builder
from jitgrad.graph.interpret import interpret
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.ops.index import Pick, Span, add_to, load, store
from jitgrad.graph.ops.shape import zeros
from jitgrad.graph.passes import optimise
from jitgrad.graph.types import FLOAT64, INT64, ArrayType, ListType, Type
from tests.backend.native import Native, check
from tests.graph import diff_bank
from tests.graph.diff_check import reverse

ROW = ArrayType(np.dtype(float), (20,))
MATRIX = ArrayType(np.dtype(float), (6, 6))


def build(make: Callable[..., Any], *types: Type) -> Graph:
    graph = Graph("f", types)
    made = make(Builder(graph), *graph.args)
    graph.yields = list(made) if isinstance(made, list | tuple) else [made]
    return graph


def loop(g: Builder, n: Value, inits: list[Value], body: Callable[..., list[Value]]) -> list[Value]:
    with g.region([INT64, *(v.type for v in inits)]) as block:
        block.yields = body(*block.args)
    return g.emit("for", [n, *inits], {}, [block]).results


def loop_copies(native: Native) -> list[str]:
    return [line for line in native.body.notes.splitlines() if line.startswith("loop: copy")]


def copies(native: Native) -> list[str]:
    return [line for line in native.body.notes.splitlines() if "copy" in line]


def draw(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape) + 3.0


def test_recurrence_in_place() -> None:
    def make(g: Builder, a: Value, n: Value) -> Value:
        def body(i: Value, c: Value) -> list[Value]:
            j = g.add(i, 1)
            return [store(g, c, g.multiply(load(g, c, [Pick(i)]), load(g, c, [Pick(j)])), [Pick(j)])]

        return loop(g, n, [a], body)[0]

    native = check(build(make, ROW, INT64), draw(20) / 3.0, 19)
    assert not loop_copies(native)
    assert len(copies(native)) == 1, "the argument itself must be copied once"


def test_swapped_arrays_exchange_pointers() -> None:
    def make(g: Builder, u: Value, v: Value, n: Value) -> list[Value]:
        def body(i: Value, u: Value, v: Value) -> list[Value]:
            return [v, g.add(g.multiply(u, 0.5), g.sin(v))]

        return loop(g, n, [u, v], body)

    for n in (0, 1, 2, 3, 8):
        native = check(build(make, ROW, ROW, INT64), draw(20), draw(20) + 1.0, n)
        assert not loop_copies(native)


@pytest.mark.parametrize("read", ["element by element", "turned round", "later", "by the caller", "by the next loop"])
def test_a_nest_writes_over_what_it_reads_last(read: str) -> None:
    def make(g: Builder, u: Value, v: Value, n: Value) -> list[Value]:
        kept = g.multiply(g.sin(u), 2.0)

        def body(i: Value, u: Value, v: Value) -> list[Value]:
            turned = load(g, u, [Span(19, -1, 20)])
            made = g.add(g.multiply(u, 0.5), g.sin(turned if read == "turned round" else v))
            if read == "by the next loop":
                made = g.add(g.sin(kept), made)
            return [v, g.add(made, u)] if read != "later" else [g.multiply(u, made), made]

        first = g.multiply(u, 3.0)
        ends = loop(g, n, [first, g.multiply(v, 3.0)], body)
        return [*ends, first, kept] if read == "by the caller" else ends

    graph = build(make, ROW, ROW, INT64)
    native = check(graph, draw(20), draw(20) + 1.0, 5)
    rows = native.body.arena_bytes / 192
    assert rows == {"element by element": 2, "turned round": 3}.get(read, rows)


def test_memory_of_a_run_time_size_is_written_over_in_one_arm() -> None:
    def make(g: Builder, a: Value, n: Value) -> list[Value]:
        rows = load(g, a, [Span(0, 1, n)])
        kept = g.sin(rows)
        turned = load(g, kept, [Span(g.subtract(n, g.constant(np.int64(1))), -1, n)])
        total = g.reduce_sum(g.multiply(kept, turned), axes=(0,))
        with g.region([]) as scaled:
            scaled.yields = [g.divide(kept, total)]
        with g.region([]) as same:
            same.yields = [kept]
        made = g.emit("if", [g.less(total, g.constant(0.0))], {}, [scaled, same]).result
        return [g.add(made, rows), g.multiply(made, 2.0)]

    graph = build(make, ROW, INT64)
    for values in (draw(20), np.linspace(-3.0, 3.0, 20)):
        for n in (0, 1, 7, 20):
            check(graph, values, n)


def test_store_in_one_arm() -> None:
    def make(g: Builder, a: Value, n: Value) -> Value:
        def body(i: Value, c: Value) -> list[Value]:
            v = load(g, c, [Pick(i)])
            with g.region() as then:
                then.yields = [store(g, c, g.negative(v), [Pick(i)])]
            with g.region() as other:
                other.yields = [c]
            return [g.emit("if", [g.less(v, 3.0)], {}, [then, other]).result]

        return loop(g, n, [a], body)[0]

    assert not loop_copies(check(build(make, ROW, INT64), draw(20), 20))


def test_arms_that_swap() -> None:
    def make(g: Builder, u: Value, v: Value, n: Value) -> list[Value]:
        def body(i: Value, u: Value, v: Value) -> list[Value]:
            with g.region() as then:
                then.yields = [v, u]
            with g.region() as other:
                other.yields = [u, store(g, v, load(g, u, [Pick(i)]), [Pick(i)])]
            return g.emit("if", [g.less(load(g, u, [Pick(i)]), 3.0)], {}, [then, other]).results

        return loop(g, n, [u, v], body)

    check(build(make, ROW, ROW, INT64), draw(20), draw(20) + 1.0, 19)


def test_slice_reads_come_before_the_store_that_takes_the_buffer() -> None:
    """A cotangent is read and then zeroed; the read is used after the zeroing."""

    def make(g: Builder, a: Value, n: Value) -> list[Value]:
        def body(i: Value, a: Value, s: Value) -> list[Value]:
            part = load(g, a, [Pick(i), Span(0, 1, 6)])
            cleared = store(g, a, zeros(g, part.type), [Pick(i), Span(0, 1, 6)])
            more = add_to(g, cleared, g.multiply(part, 0.5), [Pick(0), Span(0, 1, 6)])
            return [more, g.add(s, g.reduce_sum(part, axes=(0,)))]

        return loop(g, n, [a, g.constant(0.0)], body)

    assert not loop_copies(check(build(make, MATRIX, INT64), draw(6, 6), 6))


def test_overlapping_parts() -> None:
    def make(g: Builder, a: Value) -> list[Value]:
        moved = store(g, g.add(a, 0.0), load(g, a, [Span(0, 1, 19)]), [Span(1, 1, 19)])
        back = store(g, moved, load(g, moved, [Span(19, -1, 20)]), [Span(0, 1, 20)])
        twice = add_to(g, back, load(g, back, [Span(0, 1, 10)]), [Span(0, 1, 10)])
        return [moved, back, twice]

    check(build(make, ROW), draw(20))


@pytest.mark.parametrize("apart", [True, False])
def test_parts_of_one_array(apart: bool) -> None:
    """An update by a product of a row and a column of the array itself is one nest where these lie outside of it."""

    def make(g: Builder, a: Value, n: Value) -> Value:
        def body(k: Value, c: Value) -> list[Value]:
            first = g.add(k, 1) if apart else k
            left = g.subtract(6, first)
            scaled = g.divide(load(g, c, [Span(first, 1, left), Pick(k)]), load(g, c, [Pick(k), Pick(k)]))
            c = store(g, c, scaled, [Span(first, 1, left), Pick(k)])
            row = load(g, c, [Pick(k), Span(first, 1, left)])
            column = g.emit("reshape", [scaled, left], {"shape": (None, 1)}).result
            row = g.emit("reshape", [row, left], {"shape": (1, None)}).result
            part = [Span(first, 1, left), Span(first, 1, left)]
            return [store(g, c, g.subtract(load(g, c, part), g.multiply(column, row)), part)]

        return loop(g, n, [a], body)[0]

    native = check(build(make, MATRIX, INT64), draw(6, 6) + 5.0 * np.eye(6), 5)
    # The column has memory of its own; so has what is put back where the row might be written too soon.
    nests = [line for line in native.body.notes.splitlines() if "nest:" in line]
    assert len(nests) == (1 if apart else 2), nests


def test_old_version_kept() -> None:
    def make(g: Builder, a: Value, n: Value) -> list[Value]:
        def body(i: Value, c: Value, s: Value) -> list[Value]:
            changed = store(g, c, 0.0, [Pick(i)])
            both = g.add(g.reduce_sum(changed, axes=(0,)), g.reduce_sum(c, axes=(0,)))
            return [changed, g.add(s, both)]

        return loop(g, n, [a, g.constant(0.0)], body)

    # The sum of the old version can be had before the store: no copy at all.
    assert not loop_copies(check(build(make, ROW, INT64), draw(20), 20))


def test_result_that_is_also_changed() -> None:
    def make(g: Builder, a: Value) -> list[Value]:
        b = g.multiply(a, 2.0)
        c = store(g, b, 7.0, [Pick(3)])
        d = store(g, c, 8.0, [Pick(4)])
        return [b, c, d, b, a]

    check(build(make, ROW), draw(20))


@pytest.mark.parametrize("computed", [False, True])
def test_same_array_carried_twice(computed: bool) -> None:
    """Its memory may be taken only once, also if it is nobody else's."""

    def make(g: Builder, a: Value, n: Value) -> list[Value]:
        a, b = (store(g, g.exp(a), 1.0, [Pick(0)]) if computed else a for _ in range(2))

        def body(i: Value, u: Value, v: Value) -> list[Value]:
            return [store(g, u, 1.0, [Pick(i)]), u]

        def apart(i: Value, u: Value, v: Value) -> list[Value]:
            return [store(g, u, 1.0, [Pick(i)]), store(g, v, 2.0, [Pick(i)])]

        return [*loop(g, n, [a, a], body), *loop(g, n, [b, b], apart)]

    for n in (0, 1, 5):
        check(build(make, ROW, INT64), draw(20), n)


@pytest.mark.parametrize("n", [0, 1, 30])
def test_tape_in_a_loop(n: int) -> None:
    def make(g: Builder, x: Value, a: Value, n: Value) -> list[Value]:
        rows = g.list_empty(type=ListType(ROW))
        numbers = g.list_empty(type=ListType(FLOAT64))

        def forward(i: Value, x: Value, a: Value, rows: Value, numbers: Value) -> list[Value]:
            return [g.sin(x), g.multiply(a, x), g.list_push(rows, a), g.list_push(numbers, x)]

        _, _, rows, numbers = loop(g, n, [x, a, rows, numbers], forward)

        def reverse(i: Value, s: Value, t: Value, rows: Value, numbers: Value) -> list[Value]:
            last = g.subtract(g.list_length(rows), 1)
            s = g.add(s, g.multiply(g.list_get(rows, last), g.list_get(numbers, last)))
            return [s, g.add(t, g.list_get(numbers, last)), g.list_pop(rows), g.list_pop(numbers)]

        count = g.list_length(numbers)
        s, t, _, _ = loop(g, count, [zeros(g, ROW), g.constant(0.0), rows, numbers], reverse)
        return [s, t, count]

    native = check(build(make, FLOAT64, ROW, INT64), 0.7, draw(20), n)
    assert not [line for line in copies(native) if "list" in line]


def test_tape_is_freed_when_a_check_fails() -> None:
    def make(g: Builder, n: Value) -> Value:
        def body(i: Value, numbers: Value) -> list[Value]:
            g.emit("check", [g.less(i, 5000), i], {"exception": IndexError, "message": "{} is too far"})
            return [g.list_push(numbers, g.cast(i, dtype=np.dtype(float)))]

        return g.list_length(loop(g, n, [g.list_empty(type=ListType(FLOAT64))], body)[0])

    native = Native(build(make, INT64), ["C"])
    for _ in range(2000):
        with pytest.raises(IndexError, match="5000 is too far"):
            native(9000)


@pytest.mark.parametrize("order", ["C", "F", "steps"])
def test_argument_changed_in_place(order: str) -> None:
    def make(g: Builder, a: Value, n: Value) -> Value:
        a = store(g, a, 1.0, [Pick(2), Pick(3)])
        a = add_to(g, a, load(g, a, [Pick(1), Span(0, 1, 6)]), [Pick(2), Span(0, 1, 6)])
        return store(g, a, g.multiply(load(g, a, [Pick(n), Span(0, 1, 6)]), 2.0), [Pick(n), Span(0, 1, 6)])

    graph = build(make, MATRIX, INT64)
    a = {"C": draw(6, 6), "F": np.asfortranarray(draw(6, 6)), "steps": draw(12, 12)[::2, 1::2]}[order]
    layout = {"C": "C", "F": "F", "steps": (24, 2)}[order]
    expected = interpret(graph, [a, 3])[0]
    native = Native(graph, [layout, "C"], writes=[(0, 0)])
    native(a, 3)
    np.testing.assert_array_equal(a, expected)
    assert not copies(native)


def test_arguments_changed_in_a_loop_and_exchanged() -> None:
    def make(g: Builder, a: Value, b: Value, n: Value) -> list[Value]:
        def body(i: Value, c: Value) -> list[Value]:
            return [store(g, c, g.multiply(load(g, c, [Pick(i)]), 2.0), [Pick(i)])]

        (changed,) = loop(g, n, [a], body)
        return [g.reduce_sum(changed, axes=(0,)), b, changed]

    graph = build(make, ROW, ROW, INT64)
    a, b = draw(20), draw(20) + 9.0
    expected = [np.array(x) for x in interpret(graph, [a, b, 20])]
    native = Native(graph, ["C"] * 3, writes=[(0, 1), (1, 2)])
    found = native(a, b, 20)
    np.testing.assert_array_equal(a, expected[1])
    np.testing.assert_array_equal(b, expected[2])
    assert found[0] == pytest.approx(float(expected[0]))


def test_stores_before_a_failed_check_stay() -> None:
    def make(g: Builder, a: Value, n: Value) -> Value:
        def body(i: Value, c: Value) -> list[Value]:
            c = store(g, c, 0.0, [Pick(i)])
            g.emit("check", [g.less(i, 3)], {"exception": IndexError, "message": "too far"})
            return [c]

        return loop(g, n, [a], body)[0]

    native = Native(build(make, ROW, INT64), ["C"] * 2, writes=[(0, 0)])
    a = draw(20)
    with pytest.raises(IndexError):
        native(a, 10)
    assert (a[:4] == 0.0).all() and (a[4:] != 0.0).all()


TWICE = ("cholesky", "leapfrog_swap", "if_store_one_arm", "captured_stored")  # the others take longer


@pytest.mark.parametrize(("name", "order"), [(n, k) for n in diff_bank.BANK for k in (0, 1, 2) if k < 2 or n in TWICE])
def test_no_copy_in_the_loops_of_programs_and_their_adjoints(name: str, order: int) -> None:
    graph, args, *_ = diff_bank.BANK[name]()
    for _ in range(order):
        graph, args = reverse(graph, args, np.random.default_rng(0))
    optimise(graph)
    assert not loop_copies(check(graph, *args, rtol=1e-8))


def test_arena_is_shared() -> None:
    def make(g: Builder, a: Value) -> Value:
        for _ in range(10):
            a = g.matmul(a, a)
        return a

    graph = build(make, ArrayType(np.dtype(float), (32, 32)))
    native = check(graph, draw(32, 32) / 100.0)
    assert native.body.arena_bytes == 2 * 32 * 32 * 8
