"""Programs as graphs, for tests of derivatives: small, with in-place, nested, captured and swapped state.

Each entry of `BANK` is a function without arguments that returns (graph, arguments); every floating-point argument is
differentiated. What reverse mode gets wrong shows in state that is overwritten, permuted, captured or never entered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad.graph import ops  # noqa: F401
from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.ops.memory import Pick, Span, add_to, load, store
from jitgrad.graph.ops.shape import broadcast_to, zeros
from jitgrad.graph.types import BOOL, FLOAT64, INT64, ArrayType, ListType, Type

__all__ = ["BANK", "F", "branch", "floats", "get", "integer", "loop", "loop_while", "program", "put"]

Case = tuple[Graph, list[Any]]
BANK: dict[str, Callable[[], Case]] = {}
F = np.dtype(np.float64)


def floats(*shape: Any) -> ArrayType:
    """Return the type float64[shape]."""
    return ArrayType(F, shape)


def integer(g: Builder, k: int) -> Value:
    """Emit an int64 constant."""
    return g.constant(np.int64(k))


def get(g: Builder, a: Value, *where: Value | int) -> Value:
    """Emit a load of one element, or of one row of a matrix."""
    index: list[Any] = [Pick(w) for w in where]
    index += [Span(0, 1, d) for d in a.shape[len(where) :]]
    return load(g, a, index)


def put(g: Builder, a: Value, v: Value, *where: Value | int) -> Value:
    """Emit a store of one element, or of one row of a matrix."""
    index: list[Any] = [Pick(w) for w in where]
    index += [Span(0, 1, d) for d in a.shape[len(where) :]]
    return store(g, a, v, index)


def loop(g: Builder, n: Value | int, inits: Sequence[Value], body: Callable[..., Sequence[Value]]) -> list[Value]:
    """Emit a `for`; `body(k, *carried)` returns the next carried values."""
    count = integer(g, n) if isinstance(n, int) else n
    with g.region([INT64, *(v.type for v in inits)], ["k", *(v.name for v in inits)]) as region:
        region.yields = list(body(*region.args))
    return g.emit("for", [count, *inits], regions=[region]).results


def loop_while(
    g: Builder, inits: Sequence[Value], cond: Callable[..., Value], body: Callable[..., Sequence[Value]]
) -> list[Value]:
    """Emit a `while`."""
    types = [v.type for v in inits]
    with g.region(types) as first:
        first.yields = [cond(*first.args)]
    with g.region(types) as second:
        second.yields = list(body(*second.args))
    return g.emit("while", list(inits), regions=[first, second]).results


def branch(
    g: Builder, cond: Value, then: Callable[[], Sequence[Value]], other: Callable[[], Sequence[Value]]
) -> list[Value]:
    """Emit an `if`."""
    regions = []
    for arm in (then, other):
        with g.region() as region:
            region.yields = list(arm())
        regions.append(region)
    return g.emit("if", [cond], regions=regions).results


def program(types: Sequence[Type], build: Callable[..., Sequence[Value]], names: Sequence[str] = ()) -> Graph:
    """Return the graph whose body `build(g, *args)` emits."""
    graph = Graph("f", types, names)
    graph.yields = list(build(Builder(graph), *graph.args))
    return graph


def bank(make: Callable[[], Case]) -> Callable[[], Case]:
    """Add a program to the bank."""
    BANK[make.__name__] = make
    return make


def draw(*shape: int, low: float = 0.5, high: float = 1.5) -> np.ndarray:
    """Return reproducible numbers."""
    return np.random.default_rng(sum(shape) + 7).uniform(low, high, shape)


def total(g: Builder, a: Value) -> Value:
    """Emit sum(sin(a) * a), which weighs every element differently."""
    return g.reduce_sum(g.multiply(g.sin(a), a), axes=tuple(range(a.array.rank)))


@bank
def cholesky() -> Case:
    n = 4

    def build(g: Builder, a: Value) -> Sequence[Value]:
        def column(j: Value, a: Value) -> Sequence[Value]:
            def inner(k: Value, s: Value) -> Sequence[Value]:
                x = get(g, a, j, k)
                return [g.subtract(s, g.multiply(x, x))]

            (s,) = loop(g, j, [get(g, a, j, j)], inner)
            d = g.sqrt(s)
            a = put(g, a, d, j, j)
            j1 = g.add(j, integer(g, 1))

            def row(m: Value, a: Value) -> Sequence[Value]:
                i = g.add(j1, m)

                def dot(k: Value, s: Value) -> Sequence[Value]:
                    return [g.subtract(s, g.multiply(get(g, a, i, k), get(g, a, j, k)))]

                (s,) = loop(g, j, [get(g, a, i, j)], dot)
                return [put(g, a, g.divide(s, get(g, a, j, j)), i, j)]

            return loop(g, g.subtract(integer(g, n - 1), j), [a], row)

        return [total(g, loop(g, n, [a], column)[0])]

    m = draw(n, n)
    return program([floats(n, n)], build, ["a"]), [m @ m.T + n * np.eye(n)]


@bank
def gauss_seidel() -> Case:
    def build(g: Builder, x: Value, b: Value) -> Sequence[Value]:
        def sweep(k: Value, x: Value) -> Sequence[Value]:
            def cell(i: Value, x: Value) -> Sequence[Value]:
                at = g.add(i, integer(g, 1))
                left, right = get(g, x, i), get(g, x, g.add(i, integer(g, 2)))
                v = g.multiply(0.5, g.add(get(g, b, at), g.sin(g.multiply(left, right))))
                return [put(g, x, v, at)]

            return loop(g, 4, [x], cell)

        return [total(g, loop(g, 3, [x], sweep)[0])]

    return program([floats(6), floats(6)], build, ["x", "b"]), [draw(6), draw(6)]


@bank
def gram_schmidt() -> Case:
    n, m = 3, 4

    def build(g: Builder, q: Value) -> Sequence[Value]:
        def outer(i: Value, q: Value) -> Sequence[Value]:
            def inner(j: Value, q: Value) -> Sequence[Value]:
                u, v = get(g, q, j), get(g, q, i)
                c = g.reduce_sum(g.multiply(u, v), axes=(0,))
                return [put(g, q, g.subtract(v, g.multiply(c, u)), i)]

            (q,) = loop(g, i, [q], inner)
            v = get(g, q, i)
            return [put(g, q, g.divide(v, g.sqrt(g.reduce_sum(g.multiply(v, v), axes=(0,)))), i)]

        return [total(g, loop(g, n, [q], outer)[0])]

    return program([floats(n, m)], build, ["q"]), [draw(n, m)]


@bank
def newton_while() -> Case:
    def build(g: Builder, a: Value) -> Sequence[Value]:
        def cond(x: Value) -> Value:
            r = g.subtract(g.multiply(x, g.multiply(x, x)), a)
            return g.greater(g.multiply(r, r), 1e-20)

        def body(x: Value) -> Sequence[Value]:
            square = g.multiply(x, x)
            step = g.divide(g.subtract(g.multiply(x, square), a), g.multiply(3.0, square))
            return [g.subtract(x, step)]

        return loop_while(g, [g.add(a, 1.0)], cond, body)

    return program([FLOAT64], build, ["a"]), [2.5]


@bank
def logistic() -> Case:
    def build(g: Builder, r: Value, x: Value) -> Sequence[Value]:
        return loop(g, 7, [x], lambda k, x: [g.multiply(g.multiply(r, x), g.subtract(1.0, x))])

    return program([FLOAT64, FLOAT64], build, ["r", "x"]), [2.9, 0.3]


@bank
def horner() -> Case:
    def build(g: Builder, c: Value, x: Value) -> Sequence[Value]:
        return loop(g, 5, [g.multiply(x, 0.0)], lambda k, s: [g.add(g.multiply(s, x), get(g, c, k))])

    return program([floats(5), FLOAT64], build, ["c", "x"]), [draw(5), 0.8]


@bank
def leapfrog_swap() -> Case:
    n = 5

    def build(g: Builder, u: Value, v: Value) -> Sequence[Value]:
        def step(t: Value, u: Value, v: Value) -> Sequence[Value]:
            def cell(i: Value, v: Value) -> Sequence[Value]:
                at = g.add(i, integer(g, 1))
                around = g.add(get(g, u, i), get(g, u, g.add(i, integer(g, 2))))
                new = g.subtract(g.multiply(0.7, around), g.multiply(get(g, u, at), get(g, v, at)))
                return [put(g, v, new, at)]

            (v,) = loop(g, n - 2, [v], cell)
            return [v, u]

        u, v = loop(g, 4, [u, v], step)
        return [total(g, u), total(g, v)]

    return program([floats(n), floats(n)], build, ["u", "v"]), [draw(n), draw(n) * 0.6]


@bank
def break_flag() -> Case:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        def step(k: Value, y: Value, going: Value) -> Sequence[Value]:
            (y,) = branch(g, going, lambda: [g.multiply(y, g.add(1.0, g.multiply(0.3, y)))], lambda: [y])
            return [y, g.logical_and(going, g.less(y, 2.5))]

        return loop(g, 9, [x, g.constant(True)], step)[:1]

    return program([FLOAT64], build, ["x"]), [0.7]


@bank
def if_store_one_arm() -> Case:
    def build(g: Builder, a: Value) -> Sequence[Value]:
        def step(k: Value, a: Value) -> Sequence[Value]:
            x = get(g, a, k)
            at = g.add(k, integer(g, 1))
            return branch(g, g.less(x, 1.0), lambda: [put(g, a, g.multiply(g.sin(x), get(g, a, at)), at)], lambda: [a])

        return [total(g, loop(g, 5, [a], step)[0])]

    return program([floats(6)], build, ["a"]), [np.array([0.5, 1.4, 1.6, 0.8, 0.7, 2.0])]


@bank
def floyd_warshall() -> Case:
    n = 3

    def build(g: Builder, d: Value) -> Sequence[Value]:
        def over_k(k: Value, d: Value) -> Sequence[Value]:
            def over_i(i: Value, d: Value) -> Sequence[Value]:
                def over_j(j: Value, d: Value) -> Sequence[Value]:
                    through = g.add(get(g, d, i, k), get(g, d, k, j))
                    now = get(g, d, i, j)
                    return [put(g, d, g.select(g.less(through, now), through, now), i, j)]

                return loop(g, n, [d], over_j)

            return loop(g, n, [d], over_i)

        return [total(g, loop(g, n, [d], over_k)[0])]

    return program([floats(n, n)], build, ["d"]), [np.array([[0.1, 5.0, 0.7], [0.9, 0.2, 4.0], [3.0, 0.8, 0.3]])]


@bank
def prefix_prod() -> Case:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        def step(k: Value, p: Value, y: Value) -> Sequence[Value]:
            p = g.multiply(p, get(g, x, k))
            return [p, put(g, y, p, k)]

        return [total(g, loop(g, 6, [g.constant(1.0), zeros(g, x.type)], step)[1])]

    return program([floats(6)], build, ["x"]), [draw(6)]


@bank
def scatter_repeat() -> Case:
    where = np.array([0, 2, 1, 2, 0, 2, 3, 1, 0])

    def build(g: Builder, h: Value, x: Value) -> Sequence[Value]:
        at = g.constant(where)

        def step(k: Value, h: Value) -> Sequence[Value]:
            i = get(g, at, k)
            return [put(g, h, g.multiply(get(g, h, i), get(g, x, k)), i)]

        return [total(g, loop(g, 9, [h], step)[0])]

    return program([floats(4), floats(9)], build, ["h", "x"]), [draw(4), draw(9)]


@bank
def square_overwrite() -> Case:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        def step(k: Value, x: Value) -> Sequence[Value]:
            def cell(i: Value, x: Value) -> Sequence[Value]:
                v = get(g, x, i)
                return [put(g, x, g.multiply(v, v), i)]

            return loop(g, 5, [x], cell)

        return [total(g, loop(g, 3, [x], step)[0])]

    return program([floats(5)], build, ["x"]), [draw(5, high=1.1)]


@bank
def while_in_for() -> Case:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        def step(i: Value, s: Value, x: Value) -> Sequence[Value]:
            y, x = loop_while(
                g,
                [g.add(get(g, x, i), s), x],
                lambda y, x: g.less(y, 4.0),
                lambda y, x: [g.multiply(g.multiply(y, get(g, x, i)), 1.3), put(g, x, g.add(get(g, x, i), 0.5), i)],
            )
            return [g.sin(y), x]

        s, x = loop(g, 4, [g.constant(0.3), x], step)
        return [s, total(g, x)]

    return program([floats(4)], build, ["x"]), [np.array([0.9, 1.1, 12.0, 1.4])]


@bank
def triangular() -> Case:
    n = 5

    def build(g: Builder, x: Value) -> Sequence[Value]:
        def outer(i: Value, s: Value) -> Sequence[Value]:
            return loop(g, i, [s], lambda j, s: [g.multiply(g.sin(s), g.add(get(g, x, i), get(g, x, j)))])

        return loop(g, n, [g.constant(0.4)], outer)

    return program([floats(n)], build, ["x"]), [draw(n)]


@bank
def old_version_kept() -> Case:
    def build(g: Builder, a: Value) -> Sequence[Value]:
        def step(k: Value, a: Value, s: Value) -> Sequence[Value]:
            old = a
            a = put(g, a, g.multiply(get(g, a, k), get(g, a, g.add(k, integer(g, 1)))), k)
            s = g.add(s, g.multiply(get(g, old, k), get(g, a, k)))
            return [a, s]

        a, s = loop(g, 4, [a, g.constant(0.0)], step)
        return [total(g, a), s]

    return program([floats(5)], build, ["a"]), [draw(5)]


@bank
def local_array() -> Case:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        def outer(i: Value, s: Value) -> Sequence[Value]:
            def fill(j: Value, t: Value) -> Sequence[Value]:
                at = g.add(j, integer(g, 1))
                return [put(g, t, g.multiply(get(g, t, j), g.sin(g.add(get(g, x, j), s))), at)]

            t = put(g, zeros(g, floats(5)), get(g, x, i), integer(g, 0))
            (t,) = loop(g, 4, [t], fill)
            return [g.add(s, g.reduce_sum(g.multiply(t, t), axes=(0,)))]

        return loop(g, 4, [g.constant(0.1)], outer)

    return program([floats(4)], build, ["x"]), [draw(4)]


@bank
def store_then_slice() -> Case:
    def build(g: Builder, a: Value) -> Sequence[Value]:
        def step(k: Value, a: Value) -> Sequence[Value]:
            a = put(g, a, g.sin(get(g, a, k)), k)
            part = load(g, a, [Span(k, 1, 3)])
            part = g.multiply(part, part)
            return [store(g, a, part, [Span(k, 1, 3)])]

        return [total(g, loop(g, 4, [a], step)[0])]

    return program([floats(6)], build, ["a"]), [draw(6)]


@bank
def captured_stored() -> Case:
    def build(g: Builder, a: Value) -> Sequence[Value]:
        def outer(i: Value, a: Value, s: Value) -> Sequence[Value]:
            def inner(j: Value, s: Value) -> Sequence[Value]:
                return [g.add(g.sin(g.multiply(s, get(g, a, j))), get(g, a, i))]

            (s,) = loop(g, 4, [s], inner)
            return [put(g, a, g.multiply(s, get(g, a, i)), i), s]

        a, s = loop(g, 4, [a, g.constant(0.2)], outer)
        return [total(g, a), s]

    return program([floats(4)], build, ["a"]), [draw(4)]


@bank
def pivot_perm() -> Case:
    n = 4

    def build(g: Builder, x: Value) -> Sequence[Value]:
        p = g.constant(np.arange(n))

        def step(k: Value, x: Value, p: Value) -> Sequence[Value]:
            def search(m: Value, best: Value) -> Sequence[Value]:
                i = g.add(k, m)
                return [g.select(g.greater(get(g, x, get(g, p, i)), get(g, x, get(g, p, best))), i, best)]

            (best,) = loop(g, g.subtract(integer(g, n), k), [k], search)
            here, there = get(g, p, k), get(g, p, best)
            p = put(g, put(g, p, there, k), here, best)
            at = get(g, p, k)
            v = get(g, x, at)
            x = put(g, x, g.multiply(v, g.sin(g.multiply(v, get(g, x, get(g, p, integer(g, n - 1)))))), at)
            return [x, p]

        return [total(g, loop(g, n, [x, p], step)[0])]

    return program([floats(n)], build, ["x"]), [np.array([0.7, 1.3, 0.9, 1.1])]


@bank
def tape_wins() -> Case:
    def build(g: Builder, a: Value) -> Sequence[Value]:
        def step(k: Value, a: Value) -> Sequence[Value]:
            c = get(g, a, integer(g, 0), integer(g, 0))
            row = get(g, a, g.add(k, integer(g, 1)))
            return [put(g, a, g.multiply(g.add(row, 0.1), g.multiply(c, 1.1)), integer(g, 0))]

        return [total(g, loop(g, 3, [a], step)[0])]

    return program([floats(4, 5)], build, ["a"]), [draw(4, 5)]


@bank
def if_loop() -> Case:
    def build(g: Builder, a: Value, b: Value) -> Sequence[Value]:
        def step(k: Value, a: Value, b: Value) -> Sequence[Value]:
            x = get(g, a, k)

            def forward() -> Sequence[Value]:
                def cell(i: Value, b: Value) -> Sequence[Value]:
                    return [put(g, b, g.multiply(get(g, b, i), g.sin(g.multiply(x, get(g, a, i)))), i)]

                (c,) = loop(g, 4, [b], cell)
                return [a, c]

            def other() -> Sequence[Value]:
                return [put(g, a, g.multiply(x, get(g, b, k)), k), b]

            return branch(g, g.less(x, 1.0), forward, other)

        a, b = loop(g, 4, [a, b], step)
        return [total(g, a), total(g, b)]

    return program([floats(4), floats(4)], build, ["a", "b"]), [np.array([0.6, 1.2, 0.9, 1.5]), draw(4)]


# --- beyond the 22 of the prototype


@bank
def linear_loop() -> Case:
    def build(g: Builder, x: Value, a: Value) -> Sequence[Value]:
        return loop(g, 5, [x], lambda k, y: [g.add(g.multiply(0.9, y), get(g, a, k))])

    return program([FLOAT64, floats(5)], build, ["x", "a"]), [1.2, draw(5)]


@bank
def runtime_count() -> Case:
    def build(g: Builder, n: Value, x: Value) -> Sequence[Value]:
        return loop(g, n, [x], lambda k, y: [g.multiply(y, g.sin(y))])

    return program([INT64, FLOAT64], build, ["n", "x"]), [np.int64(4), 1.7]


@bank
def never_entered() -> Case:
    def build(g: Builder, n: Value, x: Value, a: Value) -> Sequence[Value]:
        y, b = loop(g, n, [x, a], lambda k, y, b: [g.multiply(y, g.sin(get(g, b, k))), put(g, b, g.multiply(y, y), k)])
        (z,) = loop_while(g, [y], lambda z: g.constant(False), lambda z: [g.multiply(z, z)])
        return [g.multiply(z, x), total(g, b)]

    return program([INT64, FLOAT64, floats(3)], build, ["n", "x", "a"]), [np.int64(-2), 1.7, draw(3)]


@bank
def once() -> Case:
    def build(g: Builder, x: Value, a: Value) -> Sequence[Value]:
        y, b = loop(g, 1, [x, a], lambda k, y, b: [g.multiply(y, g.sin(get(g, b, k))), put(g, b, g.multiply(y, y), k)])
        return [g.multiply(y, x), total(g, b)]

    return program([FLOAT64, floats(3)], build, ["x", "a"]), [1.7, draw(3)]


@bank
def empty_arrays() -> Case:
    def build(g: Builder, a: Value, b: Value) -> Sequence[Value]:
        n = integer(g, 0)
        (c,) = loop(g, n, [a], lambda k, c: [put(g, c, g.sin(get(g, c, k)), k)])
        return [total(g, c), g.reduce_sum(g.matmul(b, g.transpose(b, permutation=(1, 0))), axes=(0, 1))]

    return program([floats(0), floats(3, 0)], build, ["a", "b"]), [np.zeros(0), np.zeros((3, 0))]


@bank
def branch_at_top() -> Case:
    def build(g: Builder, x: Value, y: Value) -> Sequence[Value]:
        def then() -> Sequence[Value]:
            u = g.reduce_sum(g.multiply(x, y), axes=(0,))
            return branch(g, g.less(u, 100.0), lambda: [g.multiply(g.sin(u), u), g.multiply(x, u)], lambda: [u, x])

        s, z = branch(g, g.greater(get(g, x, integer(g, 0)), 0.0), then, lambda: [g.constant(0.0), x])
        return [s, total(g, z)]

    return program([floats(3), floats(3)], build, ["x", "y"]), [draw(3), draw(3) * 2]


@bank
def array_state() -> Case:
    def build(g: Builder, m: Value, x: Value) -> Sequence[Value]:
        def step(k: Value, x: Value) -> Sequence[Value]:
            y = g.reshape(g.matmul(m, g.reshape(x, shape=(3, 1))), shape=(3,))
            return [g.sin(g.add(y, x))]

        return [total(g, loop(g, 4, [x], step)[0])]

    return program([floats(3, 3), floats(3)], build, ["m", "x"]), [draw(3, 3), draw(3)]


@bank
def ragged_slices() -> Case:
    def build(g: Builder, a: Value, x: Value) -> Sequence[Value]:
        def step(i: Value, s: Value, x: Value) -> Sequence[Value]:
            row = load(g, a, [Pick(i), Span(0, 1, i)])
            part = load(g, x, [Span(0, 1, i)])
            wave = g.sin(g.multiply(g.multiply(row, part), s))
            x = store(g, x, g.multiply(wave, part), [Span(0, 1, i)])
            return [g.add(s, g.reduce_sum(g.multiply(wave, wave), axes=(0,))), x]

        s, x = loop(g, 4, [g.constant(0.6), x], step)
        return [s, total(g, x)]

    return program([floats(4, 4), floats(4)], build, ["a", "x"]), [draw(4, 4), draw(4)]


@bank
def ragged_tape() -> Case:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        def step(i: Value, s: Value) -> Sequence[Value]:
            def inner(k: Value, v: Value) -> Sequence[Value]:
                return [g.multiply(g.sin(v), g.add(v, s))]

            (v,) = loop(g, 2, [load(g, x, [Span(0, 1, i)])], inner)
            return [g.add(s, g.reduce_sum(v, axes=(0,)))]

        return loop(g, 4, [g.constant(0.3)], step)

    return program([floats(4)], build, ["x"]), [draw(4)]


@bank
def runtime_shape() -> Case:
    def build(g: Builder, n: Value, x: Value) -> Sequence[Value]:
        first = load(g, x, [Span(0, 1, n)])
        (y,) = loop(g, n, [g.multiply(first, 2.0)], lambda k, y: [g.sin(g.multiply(y, get(g, x, k)))])
        return [total(g, y)]

    return program([INT64, floats(5)], build, ["n", "x"]), [np.int64(3), draw(5)]


@bank
def append() -> Case:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        items = g.list_push(g.list_empty(type=ListType(FLOAT64)), x)

        def more(y: Value, items: Value) -> Sequence[Value]:
            last = g.list_get(items, g.subtract(g.list_length(items), integer(g, 1)))
            y = g.multiply(g.add(y, g.sin(last)), 2.0)
            return [y, g.list_push(items, y)]

        _, items = loop_while(g, [x, items], lambda y, items: g.less(y, 20.0), more)
        return [total(g, g.list_to_array(items, g.list_length(items)))]

    return program([FLOAT64], build, ["x"]), [1.1]


@bank
def list_changes() -> Case:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        items = g.list_from_array(x)

        def step(k: Value, items: Value) -> Sequence[Value]:
            v = g.multiply(g.list_get(items, k), g.list_get(items, g.add(k, integer(g, 1))))
            items = g.list_set(items, k, g.sin(v))
            return [g.list_addto(items, integer(g, 0), v)]

        (items,) = loop(g, 4, [items], step)
        items = g.list_pop(items)
        first = g.list_get(items, integer(g, 1))
        return [first, total(g, g.list_to_array(items, g.list_length(items)))]

    return program([floats(5)], build, ["x"]), [draw(5)]


@bank
def list_of_rows() -> Case:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        def step(k: Value, row: Value, items: Value) -> Sequence[Value]:
            row = g.sin(g.multiply(row, 1.5))
            return [row, g.list_push(items, row)]

        row = load(g, x, [Pick(0), Span(0, 1, 3)])
        _, items = loop(g, 4, [row, g.list_empty(type=ListType(floats(3)))], step)
        (s,) = loop(
            g,
            g.list_length(items),
            [g.constant(0.0)],
            lambda k, s: [g.add(g.sin(s), g.reduce_sum(g.list_get(items, k), axes=(0,)))],
        )
        return [s]

    return program([floats(2, 3)], build, ["x"]), [draw(2, 3)]


@bank
def list_within_loop() -> Case:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        def outer(i: Value, s: Value) -> Sequence[Value]:
            (items,) = loop(
                g,
                i,
                [g.list_empty(type=ListType(FLOAT64))],
                lambda j, items: [g.list_push(items, g.multiply(get(g, x, j), s))],
            )
            return loop(g, g.list_length(items), [s], lambda k, s: [g.sin(g.add(s, g.list_get(items, k)))])

        return loop(g, 4, [g.constant(0.5)], outer)

    return program([floats(4)], build, ["x"]), [draw(4)]


@bank
def gathered() -> Case:
    def build(g: Builder, x: Value, y: Value) -> Sequence[Value]:
        at = g.constant(np.array([2, 0, 2, 3]))
        taken = g.gather(x, at)
        x = g.scatter(x, g.multiply(taken, y), at)
        x = g.scatter_add(x, g.sin(y), at)
        return [total(g, x), g.reduce_sum(g.cumsum(taken, axis=0), axes=(0,))]

    return program([floats(4), floats(4)], build, ["x", "y"]), [draw(4), draw(4)]


@bank
def accumulate_rows() -> Case:
    def build(g: Builder, x: Value, w: Value) -> Sequence[Value]:
        def step(k: Value, h: Value) -> Sequence[Value]:
            row = get(g, x, k)
            return [add_to(g, h, g.multiply(g.sin(row), get(g, h, g.constant(np.int64(0)))), [Pick(0), Span(0, 1, 3)])]

        (h,) = loop(g, 4, [broadcast_to(g, w, (2, 3))], step)
        return [total(g, h)]

    return program([floats(4, 3), floats(3)], build, ["x", "w"]), [draw(4, 3), draw(3)]


@bank
def where_loop() -> Case:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        (y,) = loop(g, 2, [x], lambda k, y: [g.sqrt(g.multiply(y, x))])
        return [g.reduce_sum(g.select(g.greater(x, 0.0), y, g.constant(0.0)), axes=(0,))]

    return program([floats(3)], build, ["x"]), [draw(3)]


@bank
def dead_inside() -> Case:
    def build(g: Builder, x: Value, flag: Value) -> Sequence[Value]:
        def step(k: Value, y: Value, unused: Value) -> Sequence[Value]:
            g.check(g.less(y, 1e6), exception=ValueError, message="too large")
            return [g.sin(y), g.multiply(unused, x)]

        y, _ = loop(g, 3, [x, x], step)
        return [y, flag]

    return program([FLOAT64, BOOL], build, ["x", "flag"]), [1.3, np.bool_(True)]


@bank
def rules_in_loop() -> Case:
    def build(g: Builder, x: Value) -> Sequence[Value]:
        def step(k: Value, x: Value, s: Value) -> Sequence[Value]:
            top = g.reduce_max(x, axes=(1,))
            product = g.reduce_prod(g.add(x, s), axes=(0,))
            x = g.add(g.cumsum(x, axis=1), g.sin(product))
            s = g.add(s, g.reduce_sum(g.multiply(top, top), axes=(0,)))
            return [g.multiply(x, 0.4), g.sin(s)]

        x, s = loop(g, 3, [x, g.constant(0.2)], step)
        return [total(g, x), s]

    return program([floats(2, 3)], build, ["x"]), [draw(2, 3)]


@bank
def matrices_in_loops() -> Case:
    def build(g: Builder, a: Value, b: Value) -> Sequence[Value]:
        def step(k: Value, a: Value) -> Sequence[Value]:
            left = g.matmul(a, b)

            def inner(j: Value, c: Value) -> Sequence[Value]:
                wide = broadcast_to(g, g.reshape(get(g, left, j), shape=(3, 1)), (3, 3))
                return [g.add(g.sin(g.matmul(c, wide)), g.transpose(wide, permutation=(1, 0)))]

            (c,) = loop(g, 2, [a], inner)
            return [
                g.concatenate(
                    load(g, c, [Span(0, 1, 2), Span(0, 1, 3)]), load(g, a, [Span(2, 1, 1), Span(2, -1, 3)]), axis=0
                )
            ]

        return [total(g, loop(g, 2, [a], step)[0])]

    return program([floats(3, 3), floats(3, 3)], build, ["a", "b"]), [draw(3, 3) * 0.5, draw(3, 3) * 0.4]


@bank
def scatter_in_while() -> Case:
    def build(g: Builder, x: Value, y: Value) -> Sequence[Value]:
        at = g.constant(np.array([3, 1, 3]))

        def body(x: Value, t: Value) -> Sequence[Value]:
            taken = g.gather(x, at)
            x = g.scatter(x, g.sin(g.multiply(taken, y)), at)
            x = g.scatter_add(x, g.multiply(taken, t), at)
            return [x, g.add(t, g.multiply(0.3, get(g, x, 3)))]

        x, t = loop_while(g, [x, g.constant(0.1)], lambda x, t: g.less(t, 0.9), body)
        return [total(g, x), t]

    return program([floats(4), floats(3)], build, ["x", "y"]), [draw(4), draw(3)]
