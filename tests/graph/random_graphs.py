"""Random graphs, typed and seeded, for properties of passes, derivatives and the backend.

    graph = random_graph(7, size=30)             # a Graph that verifies
    args = random_args(graph, 7)                 # NumPy arrays that fit its arguments, run-time sizes included
    results = interpret(graph, args)

The graphs hold elementwise ops on float64, float32, int64 and bool, reductions, shape ops, `load`/`store`/`addto` with
static and run-time indices (always in range), `matmul`, nested `if`/`for`/`while` with carried arrays and lists, trip
counts 0 and 1 included, lists that grow in loops, and checks. Every loop ends; every graph runs in NumPy in
milliseconds. The same seed and options always give the same graph.

Options: `tame=True` keeps to smooth, bounded functions of float64 (for derivatives: no NaN, no kinks except where
branches depend on values), `lists`, `checks`, `dynamic` (run-time sizes) and `floats32` switch features off.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

import jitgrad.graph.ops  # noqa: F401  (declares the primitives)
from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Value
from jitgrad.graph.ops.index import Pick, Span, add_to, load, store
from jitgrad.graph.ops.shape import broadcast_to, move_axes, reshape_to, surround_by
from jitgrad.graph.types import BOOL, FLOAT64, INT64, ArrayType, ListType, Type
from jitgrad.location import Location

__all__ = ["random_args", "random_graph"]

_SPECIAL = (0.0, -0.0, 1.0, -1.0, float("inf"), float("nan"), 2.5, 0.5)
_TAME = (0.5, -1.0, 1.0, 0.25, 2.0, 0.0)
_UNARY = ("negative", "sin", "cos", "exp", "sqrt", "absolute", "tanh", "square", "floor", "sign")
_UNARY_TAME = ("negative", "sin", "cos", "tanh", "expit")
_BINARY = ("add", "subtract", "multiply", "divide", "maximum", "minimum")
_BINARY_TAME = ("add", "subtract", "multiply")


def random_graph(
    seed: int,
    *,
    size: int = 20,
    depth: int = 2,
    tame: bool = False,
    lists: bool = True,
    checks: bool = True,
    dynamic: bool = True,
    floats32: bool = True,
) -> Graph:
    """Return a random graph of about `size` statements at the top, with regions nested up to `depth` deep."""
    graph = Graph(f"{'tame' if tame else 'random'}_{seed}")
    maker = _Maker(random.Random(f"{seed}"), Builder(graph), tame, lists, checks, dynamic and not tame, floats32)
    maker.arguments(graph)
    maker.statements(size, depth)
    maker.results(graph)
    return graph


def random_args(graph: Graph, seed: int) -> list[np.ndarray]:
    """Return arguments that fit a graph: sizes 0 to 3, floats with special values unless the graph is a tame one."""
    rng = np.random.default_rng(seed)
    sizes = {d: int(rng.integers(0, 4)) for arg in graph.args for d in arg.shape if isinstance(d, Value)}
    tame = graph.name.startswith("tame_")
    made = []
    for arg in graph.args:
        shape = tuple(sizes[d] if isinstance(d, Value) else d for d in arg.shape)
        if arg in sizes:
            made.append(np.array(sizes[arg]))
        elif arg.array.dtype.kind in "iu":
            made.append(rng.integers(0, 4, shape).astype(arg.array.dtype))
        elif arg.array.dtype == np.bool_:
            made.append(rng.integers(0, 2, shape).astype(bool))
        else:
            a = rng.uniform(-2, 2, shape) + (1j * rng.uniform(-2, 2, shape) if arg.array.dtype.kind == "c" else 0)
            if not tame:
                a = np.where(rng.random(shape) < 0.15, rng.choice(_SPECIAL, shape), a)
            made.append(np.asarray(a, arg.array.dtype))
    return made


@dataclass
class _Maker:
    """Appends random statements; `pool` holds the values visible where the builder stands."""

    rng: random.Random
    g: Builder
    tame: bool
    lists: bool
    checks: bool
    dynamic: bool
    floats32: bool
    pool: list[Value] = field(default_factory=list)

    # --- the frame

    def arguments(self, graph: Graph) -> None:
        types: list[tuple[Type, str]] = [(FLOAT64, "x"), (FLOAT64, "y"), (INT64, "i"), (BOOL, "p")]
        types += [(FLOAT64.with_shape((3,)), "a"), (FLOAT64.with_shape((2, 3)), "m")]
        if self.floats32 and not self.tame:
            types.append((ArrayType(np.dtype(np.float32), (3,)), "h"))
        for t, name in types:
            self.pool.append(graph.add_arg(t, name))
        if self.dynamic:
            n = graph.add_arg(INT64, "n")
            self.pool += [n, graph.add_arg(FLOAT64.with_shape((n,)), "v")]

    def results(self, graph: Graph) -> None:
        floats = [v for v in self.pool if v.type.is_float and (not self.tame or isinstance(v.type, ArrayType))]
        graph.yields = [self.rng.choice(floats[-12:]) for _ in range(self.rng.randint(1, 3))]

    def statements(self, count: int, depth: int) -> None:
        kinds: list[tuple[Callable[..., Value | None], int]] = [
            (self.unary, 5), (self.binary, 8), (self.integer, 3), (self.compare, 3), (self.logic, 2), (self.choose, 3),
            (self.constant, 2), (self.convert, 1), (self.reduce, 2), (self.reshape, 2), (self.read, 4), (self.write, 4),
            (self.product, 1),
        ]  # fmt: skip
        if self.lists:
            kinds += [(self.list_op, 4)]
        if self.checks:
            kinds += [(self.check, 1)]
        if depth:
            kinds += [(lambda: self.branch(depth - 1), 3), (lambda: self.count(depth - 1), 4)]
            kinds += [(lambda: self.repeat(depth - 1), 2)]
        makers, weights = zip(*kinds, strict=True)
        for k in range(count):
            with self.g.at(Location("random.py", k + 1) if self.rng.random() < 0.9 else None):
                made = self.rng.choices(makers, weights)[0]()
            if made is not None:
                self.pool.append(made)

    def pick(self, holds: Callable[[Value], bool]) -> Value | None:
        found = [v for v in self.pool if holds(v)]
        if not found:
            return None
        # Recent values more often, so that graphs are deep and not only wide.
        return found[-1 - min(int(self.rng.expovariate(0.25)), len(found) - 1)]

    def array(self, dtype: str = "f", rank: int | None = None) -> Value | None:
        return self.pick(
            lambda v: (
                isinstance(v.type, ArrayType) and v.array.dtype.kind in dtype and (rank is None or v.array.rank == rank)
            )
        )

    def scalar(self, type: ArrayType) -> Value:
        found = self.pick(lambda v: v.type == type)
        return found if found is not None else self.g.constant(1, type.dtype)

    def fits(self, x: Value) -> Value:
        """Return a value of the same dtype and the same shape as x, or a scalar."""
        found = self.pick(lambda v: isinstance(v.type, ArrayType) and v.type in (x.type, x.array.with_shape(())))
        return found if found is not None else x

    # --- elementwise

    def unary(self) -> Value | None:
        x = self.array()
        return None if x is None else self.emit(self.rng.choice(_UNARY_TAME if self.tame else _UNARY), x)

    def binary(self) -> Value | None:
        x = self.array()
        if x is None:
            return None
        y = self.fits(x)
        pair = (x, y) if self.rng.random() < 0.5 else (y, x)
        made = self.emit(self.rng.choice(_BINARY_TAME if self.tame else _BINARY), *pair)
        return self.g.tanh(made) if self.tame and self.rng.random() < 0.5 else made

    def integer(self) -> Value | None:
        return self.emit(self.rng.choice(("add", "subtract", "multiply")), self.scalar(INT64), self.small_int())

    def compare(self) -> Value | None:
        x = self.array("fi")
        name = self.rng.choice(("less", "less_equal", "greater", "equal", "not_equal"))
        return None if x is None else self.emit(name, x, self.fits(x))

    def logic(self) -> Value | None:
        if self.rng.random() < 0.3:
            x = self.array("b")
            return None if x is None else self.g.logical_not(x)
        return self.emit(self.rng.choice(("logical_and", "logical_or")), self.scalar(BOOL), self.scalar(BOOL))

    def choose(self) -> Value | None:
        x = self.array("fi")
        if x is None:
            return None
        mask_type = x.array.with_dtype(np.bool_)
        mask = self.pick(lambda v: v.type in (BOOL, mask_type))
        return None if mask is None else self.g.select(mask, x, self.fits(x))

    def constant(self) -> Value | None:
        kind = self.rng.random()
        numbers = _TAME if self.tame else _SPECIAL
        if kind < 0.2:
            return self.g.constant([self.rng.choice(numbers) for _ in range(3)])
        if kind < 0.4:
            return self.g.constant(self.rng.random() < 0.5)
        return self.small_int() if kind < 0.6 else self.g.constant(self.rng.choice(numbers))

    def convert(self) -> Value | None:
        x = self.array("fib")
        narrow = self.floats32 and not self.tame and self.rng.random() < 0.4
        return None if x is None else self.g.cast(x, dtype=np.float32 if narrow else np.float64)

    def emit(self, name: str, *operands: Value) -> Value:
        return self.g.emit(name, operands).result

    def small_int(self) -> Value:
        return self.g.constant(self.rng.randint(-1, 3), np.int64)

    # --- arrays

    def static(self, rank: int | None = None) -> Value | None:
        return self.pick(
            lambda v: (
                isinstance(v.type, ArrayType)
                and v.array.dtype.kind == "f"
                and v.array.is_static
                and (v.array.rank == rank if rank is not None else v.array.rank > 0)
            )
        )

    def reduce(self) -> Value | None:
        x = self.static()
        if x is None or 0 in x.shape:
            return None
        axes = tuple(sorted(self.rng.sample(range(x.array.rank), self.rng.randint(1, x.array.rank))))
        name = "reduce_sum" if self.tame else self.rng.choice(("reduce_sum", "reduce_sum", "reduce_max", "reduce_prod"))
        return self.g.emit(name, [x], {"axes": axes}).result

    def reshape(self) -> Value | None:
        kind = self.rng.random()
        if kind < 0.3:
            x = self.scalar(FLOAT64)
            like = self.array()
            return broadcast_to(self.g, x, (3,) if like is None else like.shape)
        if kind < 0.5:
            x1 = self.static(1)
            return None if x1 is None else broadcast_to(self.g, x1, (2, *x1.shape))
        if kind < 0.6:
            inner = self.static()
            return None if inner is None else self.surround(inner)
        x2 = self.static(2)
        if x2 is None:
            return None
        if kind < 0.75:
            return move_axes(self.g, x2, (1, 0))
        n, m = x2.shape
        assert isinstance(n, int) and isinstance(m, int)
        return reshape_to(self.g, x2, self.rng.choice([(m, n), (n * m,), (n, 1, m)]))

    def surround(self, x: Value) -> Value:
        """Return x with margins."""
        start = [self.rng.randint(0, 2) for _ in x.shape]
        shape = [a + int(d) + self.rng.randint(0, 2) for a, d in zip(start, x.shape, strict=True)]  # type: ignore[call-overload]
        return surround_by(self.g, x, start, shape)

    def product(self) -> Value | None:
        x = self.static(2)
        if x is None:
            return None
        made = self.g.matmul(x, move_axes(self.g, x, (1, 0)))
        return self.g.tanh(made) if self.tame else made

    def position(self, size: int) -> int | Value:
        """Return an index of an axis, in range."""
        if self.rng.random() < 0.5:
            return self.rng.randrange(size)
        return self.g.remainder(self.scalar(INT64), self.g.constant(size, np.int64))

    def index(self, x: Value) -> list[Pick | Span] | None:
        entries: list[Pick | Span] = []
        for d in x.shape:
            if not isinstance(d, int) or d == 0 or self.rng.random() < 0.25:
                entries.append(Span(0, 1, d))
            elif self.rng.random() < 0.7:
                entries.append(Pick(self.position(d)))
            else:
                step = self.rng.choice((1, 1, 2, -1))
                length = self.rng.randint(0, 1 + (d - 1) // abs(step))
                start = self.rng.randrange(d - max(length - 1, 0) * abs(step))
                entries.append(Span(start + (length - 1) * -step if step < 0 and length else start, step, length))
        return entries

    def read(self) -> Value | None:
        x = self.pick(lambda v: isinstance(v.type, ArrayType) and v.type.is_float and v.array.rank > 0)
        if x is None:
            return None
        return load(self.g, x, self.index(x) or [])

    def write(self) -> Value | None:
        x = self.pick(lambda v: isinstance(v.type, ArrayType) and v.type.is_float and v.array.rank > 0)
        if x is None:
            return None
        index = self.index(x) or []
        part = x.array.with_shape(tuple(e.length for e in index if isinstance(e, Span) and e.length is not None))
        v = self.pick(lambda v: v.type == part)
        if v is None:
            v = broadcast_to(self.g, self.scalar(x.array.with_shape(())), part.shape)
        return (store if self.rng.random() < 0.7 else add_to)(self.g, x, v, index)

    # --- lists

    def list_op(self) -> Value | None:
        items = self.pick(lambda v: isinstance(v.type, ListType))
        kind = self.rng.random()
        if items is None or kind < 0.1:
            element = self.rng.choice((FLOAT64, FLOAT64, FLOAT64.with_shape((3,))))
            return self.g.list_empty(type=ListType(element))
        assert isinstance(items.type, ListType)
        element = items.type.element
        v = self.pick(lambda v: v.type == element)
        if kind < 0.5:
            return None if v is None else self.g.list_push(items, v)
        if kind < 0.6:
            return self.g.list_length(items)
        if kind < 0.75 or v is None:
            length = self.g.list_length(items)
            return None if self.tame else self.g.list_to_array(items, length)
        return self.fold(items, v, pop=kind < 0.9)

    def fold(self, items: Value, start: Value, pop: bool) -> Value:
        """Return the sum of a list's elements on top of `start`, read from the front or popped from the end."""
        length = self.g.list_length(items)
        carried = [start, items] if pop else [start]
        with self.g.region([INT64, *(v.type for v in carried)], ["k"]) as body:
            k, total, *rest = body.args
            one = self.g.constant(1, np.int64)
            taken = self.g.list_get(rest[0], self.g.subtract(self.g.list_length(rest[0]), one)) if pop else (
                self.g.list_get(items, k)
            )  # fmt: skip
            total = self.g.add(total, taken)
            body.yields = [self.g.tanh(total) if self.tame else total, *([self.g.list_pop(rest[0])] if pop else [])]
        return self.g.emit("for", [length, *carried], regions=[body]).results[0]

    # --- control

    def check(self) -> Value | None:
        x = self.scalar(INT64)
        bound = self.g.constant(4 if self.rng.random() < 0.8 else 3, np.int64)
        cond = self.g.less(self.g.remainder(x, self.g.constant(4, np.int64)), bound)
        self.g.emit("check", [cond, x], {"exception": IndexError, "message": "{0} is out of range"})
        return None

    def carried(self) -> list[Value]:
        chosen = {self.rng.choice(self.pool) for _ in range(self.rng.randint(1, 4))}
        return [v for v in self.pool if v in chosen]

    def inside(self, block: Block, args: list[Value], count: int, depth: int, types: list[Type]) -> list[Value]:
        """Fill a region and return values of the types to yield."""
        outer, self.pool = self.pool, [*self.pool, *args]
        self.statements(count, depth)
        made = []
        for t in types:
            found = self.pick(lambda v, t=t: v.type == t)  # type: ignore[misc]
            assert found is not None
            made.append(found)
        self.pool = outer
        return made

    def branch(self, depth: int) -> Value | None:
        cond = self.scalar(BOOL)
        types = [v.type for v in self.carried()]
        arms = []
        for _ in range(2):
            with self.g.region() as block:
                block.yields = self.inside(block, [], self.rng.randint(0, 5), depth, types)
            arms.append(block)
        self.pool += self.g.emit("if", [cond], regions=arms).results
        return None

    def count(self, depth: int) -> Value | None:
        trips = self.g.constant(self.rng.randint(0, 3), np.int64)
        if self.rng.random() < 0.6:
            trips = self.g.remainder(self.scalar(INT64), self.g.constant(4, np.int64))
        carried = self.carried()
        types = [v.type for v in carried]
        with self.g.region([INT64, *types], ["k"]) as body:
            body.yields = self.inside(body, list(body.args), self.rng.randint(1, 6), depth, types)
        self.pool += self.g.emit("for", [trips, *carried], regions=[body]).results
        return None

    def repeat(self, depth: int) -> Value | None:
        carried = [self.g.constant(self.rng.randint(0, 3), np.int64), *self.carried()]
        types = [v.type for v in carried]
        with self.g.region(types) as cond:
            goes = self.g.less(cond.args[0], self.g.constant(3, np.int64))
            flags = [v for v in cond.args if v.type == BOOL]
            cond.yields = [self.g.logical_and(goes, flags[0]) if flags else goes]
        with self.g.region(types) as body:
            rest = self.inside(body, list(body.args[1:]), self.rng.randint(1, 6), depth, types[1:])
            body.yields = [self.g.add(body.args[0], 1), *rest]
        self.pool += self.g.emit("while", carried, regions=[cond, body]).results
        return None
