"""Products that a loop adds up are one product behind it.

The way back through `h = f(h @ w)` adds `h_t.T @ z_t` to the cotangent of w in each iteration: as many small products
as iterations, each of which reads and writes all of the sum. The sum of products is the product of all rows,

    for t: acc += a_t.T @ b_t        acc + a.T @ b,   a = concatenate(a_t), b = concatenate(b_t)

where the rows of a are often there already, as those of an array that the loop reads one after another; the others are
recorded in an array of one entry an iteration. Only for products of few rows, which cost BLAS more to add than to
multiply, where the rows are less to move than the sum, and where no record needs more memory than an array that the
loop reads likewise, such as the residuals of a reverse sweep.

In: a graph in its final form. Out: the same graph, with sums in another order. A loop may have any number of trips, one
that is known at run time only among them: it ends early only with an error, and then nobody sees the sum.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.index import Entry, Pick, Span, index_of, load, store
from jitgrad.graph.ops.linalg import swap_last
from jitgrad.graph.ops.shape import reshape_to, split_shape
from jitgrad.graph.passes.rewriting import blocks_within
from jitgrad.graph.passes.rules.context import Context, made_by
from jitgrad.graph.passes.rules.ranges import Sum, as_sum, emit_sum, last_of
from jitgrad.graph.passes.survey import surveyed
from jitgrad.graph.types import INT64, ArrayType, Dim

__all__ = ["batch_products"]

# Elements of the smallest sum that is worth it: smaller ones stay in registers.
_LEAST = 256
# Rows of a product that are few. Recurrent networks of 64 and 256 units gain 1.2 to 1.7 times for one row, 1.1 for
# four, nothing for eight; from sixteen on, recording them takes longer.
_FEW = 4


class _Rows(NamedTuple):
    """One side of a product: in each iteration `rows` rows of a matrix, which a value of any shape holds in C order."""

    value: Value
    rows: int
    columns: int

    @property
    def size(self) -> int:
        return self.rows * self.columns


class _Entries(NamedTuple):
    """An array of which each iteration reads an entry of the first axis: the next one (`step` 1), or that before."""

    array: Value
    lowest: Sum
    step: int


def batch_products(graph: Graph) -> bool:
    """Take the products out of sums that loops carry."""
    blocks = blocks_within(graph)
    loops = [(block, op) for block in blocks for op in block.ops if op.name == "for"]
    if not any(op.name == "matmul" for _, loop in loops for op in loop.regions[0].ops):
        return False
    r = surveyed(graph)
    changed = False
    for block, loop in loops:
        changed |= _Loop(r, block, loop).run()
    return changed


class _Loop:
    """A loop that may get records of what its products are made of."""

    def __init__(self, r: Context, block: Block, loop: Op) -> None:
        self.r = r
        self.block = block
        self.loop = loop
        (self.body,) = loop.regions
        self.records: dict[tuple[Value, int], Value] = {}
        self.products: dict[tuple[Value, int], Value] = {}
        self.behind = Builder(Block(), loop.location)

    def run(self) -> bool:
        """Take out those products for which it pays; return whether there are any."""
        found = [(k, made) for k in range(len(self.loop.results)) if (made := self._product(k)) is not None]
        if not found:
            return False
        inside = blocks_within(self.body)
        self.inside = {v for b in inside for v in b.args} | {v for b in inside for op in b.ops for v in op.results}
        known = {op.result: entry for op in self.body.ops if (entry := self._entries(op)) is not None}
        room = max((_elements(v) for v in known), default=0)
        chosen: list[tuple[int, list[_Rows], int]] = []
        for k, sides in found:
            step = next((known[side.value].step for side in sides if side.value in known), 1)
            others = [s for s in sides if s.value not in known or known[s.value].step != step]
            size = sides[0].columns * sides[1].columns
            local = all(side.value.op in self.body.ops or side.value.owner is self.body for side in others)
            few = sides[0].rows <= _FEW and all(s.size <= room for s in others)
            if few and local and size >= max(_LEAST, 2 * sum(s.size for s in others)):
                chosen.append((k, sides, step))
        for k, sides, step in chosen:
            left, right = (self._all(side, known.get(side.value), step) for side in sides)
            self._replace(k, self.behind.matmul(swap_last(self.behind, left), right))
        at = self.block.ops.index(self.loop) + 1
        self.block.ops[at:at] = self.behind.block.ops
        return bool(chosen)

    def _product(self, position: int) -> list[_Rows] | None:
        """Return the sides of the product that an iteration adds to what the loop carries, if that is all it does."""
        arg, total = self.body.args[position + 1], self.body.yields[position].op
        if total is None or total not in self.body.ops or total.name != "add" or arg not in total.operands:
            return None
        (value, *more) = [v for v in total.operands if v is not arg] or [arg]
        product = made_by(value, "matmul")
        if product is None or product not in self.body.ops or value.type != arg.type:
            return None
        if more or any(self.r.uses.get(v) != 1 for v in (arg, value, total.result)):
            return None
        left, right = _rows(product.operands[0], turned=True), _rows(product.operands[1])
        return None if left is None or right is None else [left, right]

    def _entries(self, op: Op) -> _Entries | None:
        """Return of which array a load reads one entry after another."""
        if op.name != "load" or op.operands[0] in self.inside or not op.result.array.is_static:
            return None
        pick, *rest = index_of(op)
        array, k = op.operands[0], self.body.args[0]
        whole = all(
            isinstance(e, Span) and (e.start, e.step, e.length) == (0, 1, d)
            for e, d in zip(rest, array.shape[1:], strict=True)
        )
        if not whole or not isinstance(pick, Pick):
            return None
        at = as_sum(self.r, pick.at)
        step = at.terms.get(k, 0)
        first = at.plus(Sum({k: 1}), -step)
        if abs(step) != 1 or any(v in self.inside for v in first.terms):
            return None
        return _Entries(array, first if step == 1 else first.plus(last_of(self.r, k), -1), step)

    # rewriting

    def _all(self, side: _Rows, entries: _Entries | None, step: int) -> Value:
        """Return the rows of all iterations, from the lowest entry on."""
        g, count = self.behind, self._count()
        if entries is None or entries.step != step:
            array, lowest = self._record(side.value, step), Sum({})
        else:
            array, lowest = entries.array, entries.lowest
        # Rows first: a part of a matrix is a view of it.
        matrix = reshape_to(g, array, (self._times(array.shape[0], side.rows), side.columns))
        first = emit_sum(g, Sum({}).plus(lowest, side.rows))
        return load(g, matrix, [Span(first, 1, self._times(count, side.rows)), Span(0, 1, side.columns)])

    def _times(self, count: Dim, rows: int) -> Dim:
        if isinstance(count, int) or rows == 1:
            return count * rows if isinstance(count, int) else count
        # One value: sizes that must be equal are.
        if (count, rows) not in self.products:
            self.products[count, rows] = self.behind.multiply(count, self.behind.constant(rows, INT64.dtype))
        return self.products[count, rows]

    def _count(self) -> Dim:
        trips = self.r.literal(self.loop.operands[0])
        return self.loop.operands[0] if trips is None else int(trips)

    def _record(self, value: Value, step: int) -> Value:
        """Return an array of a value in all iterations."""
        if (value, step) in self.records:
            return self.records[value, step]
        loop, body = self.loop, self.body
        assert isinstance(value.type, ArrayType)
        g = Builder(Block(), loop.location)
        attr, dims = split_shape((self._count(), *value.shape))
        init = g.emit("undef", dims, {"shape": attr, "dtype": value.type.dtype}).result
        at = self.block.ops.index(loop)
        self.block.ops[at:at] = g.block.ops
        array = body.add_arg(init.type)
        g = Builder(body, loop.location)
        k = Sum({body.args[0]: 1})
        place = emit_sum(g, k if step == 1 else last_of(self.r, body.args[0]).plus(k, -1))
        whole: list[Entry] = [Span(0, 1, d) for d in value.shape]
        body.yields.append(store(g, array, value, [Pick(place), *whole]))
        loop.operands.append(init)
        loop.results.append(Value(init.type, loop, len(loop.results)))
        self.records[value, step] = loop.results[-1]
        return loop.results[-1]

    def _replace(self, position: int, product: Value) -> None:
        """Let the loop hand on what it was given at a position, and add a product behind it."""
        (body,) = self.loop.regions
        body.yields[position] = body.args[position + 1]
        old = self.loop.results[position]
        kept = Value(old.type, self.loop, position)
        self.loop.results[position] = kept
        self.behind.add(kept, product)
        op = self.behind.block.ops[-1]
        op.results, old.owner, old.index = [old], op, 0


def _rows(value: Value, turned: bool = False) -> _Rows | None:
    """Return a matrix, or one that is turned, as rows that lie in C order."""
    if value.array.rank != 2 or not value.array.is_static or not value.type.is_float:
        return None
    rows, columns = _shape(value)[:: -1 if turned else 1]
    op = value.op
    if turned and op is not None and op.name == "transpose":
        value = op.operands[0]
    elif turned and rows != 1:
        return None
    while (op := made_by(value, "reshape")) is not None and op.operands[0].array.is_static:
        value = op.operands[0]
    return _Rows(value, rows, columns)


def _shape(value: Value) -> list[int]:
    return [d for d in value.shape if isinstance(d, int)]


def _elements(value: Value) -> int:
    return prod(_shape(value))
