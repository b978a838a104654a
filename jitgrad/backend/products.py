"""Matrix products that are added to an array, or stored into a part of one, are computed there.

BLAS adds as it multiplies, so that `c + x @ y` costs no memory for the product and no sweep over it, and a product that
is stored is not copied:

    c + x @ y, c - x @ y              in the memory of c, which is a product or an array that nothing else reads
    store a, x @ y + u @ v [part]     in the part, the second added to the first
    addto a, x @ y [part]             added to the part, and so is `store a, (load a [part]) - x @ y [part]`

In: an optimised graph. Out: the same graph, with `matmul_into` for what may be so. Only where the sum could not be
computed by the nest that reads it without any memory, and where nothing that the product reads is written before its
new place. This room knows no buffer; memory that cannot be taken over is copied, as the sum would have done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import prod

from jitgrad.backend.emit_matmul import blas_for, is_small
from jitgrad.backend.structure import CONSUMERS, touches
from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.index import Entry, Span, index_of, load
from jitgrad.graph.ops.linalg import matmul_into
from jitgrad.graph.passes.rewriting import blocks_within

__all__ = ["multiply_in_place"]

_SUMS = ("add", "subtract")
# Of each value the ops that use it; None for a yield.
_Users = dict[Value, list[Op | None]]
# What is in memory, and may be in that of its own.


_MADE = frozenset({"addto", "for", "if", "matmul", "matmul_into", "scatter", "scatter_add", "store", "while"})


@dataclass
class _Terms:
    """What a value is a sum of: products with whether they are taken off, other terms, and the ops in between."""

    products: list[tuple[Op, bool]] = field(default_factory=list)
    rest: list[Value] = field(default_factory=list)
    ops: set[Op] = field(default_factory=set)


def multiply_in_place(graph: Graph, is_odd: Callable[[Value], bool]) -> None:
    """Compute products where they are added or stored.

    Parameters
    ----------
    graph : Graph
    is_odd : callable
        Whether an argument of the graph lies in memory in another order than C's.
    """
    blocks = [block for block in blocks_within(graph) if any(op.name == "matmul" for op in block.ops)]
    if not blocks:
        return
    users: _Users = {}
    for block in blocks_within(graph):
        for op in block.ops:
            for v in op.operands:
                users.setdefault(v, []).append(op)
        for v in block.yields:
            users.setdefault(v, []).append(None)
    for block in blocks:
        _Products(block, set(graph.args), users, is_odd).run()


class _Products:
    """Finds places for the products of one block."""

    def __init__(self, block: Block, arguments: set[Value], users: _Users, is_odd: Callable[[Value], bool]) -> None:
        self.block = block
        self.arguments = arguments
        self.users = users
        self.is_odd = is_odd
        self.place = {op: k for k, op in enumerate(block.ops)}

    def run(self) -> None:
        """Rewrite the block."""
        for op in list(self.block.ops):
            if op.name in ("addto", "store"):
                self._stored(op)
        for op in list(self.block.ops):
            if op.name in _SUMS:
                self._added(op)

    def _stored(self, op: Op) -> None:
        """Compute the products that a value is the sum of in the part where it is stored."""
        base, value, index = op.operands[0], op.operands[1], index_of(op)
        if op.attrs.get("visible") or not _is_matrix(index):
            return
        terms = self._terms(value)
        if not terms.products:
            return
        onto = op.name == "addto"
        if terms.rest:
            (read, *more) = (v.op for v in terms.rest)
            if onto or more or read is None or not self._reads(read, base, index):
                return
            terms.ops.add(read)
            onto = True
        # Where sizes may be 0, products are only added.
        if not onto and (terms.products[0][1] or not all(isinstance(d, int) for d in value.shape)):
            return
        assert value.op is not None
        others = [user for user in self.users[value] if user is not op]
        goal = value.op if others else op
        if others and (onto or not self._may_read_back(op, others)):
            return
        if not all(self._may_move(product, goal, base) for product, _ in terms.products):
            return
        g = Builder(Block(), op.location)
        made = base
        for product, negative in terms.products:
            x, y = product.operands
            made = matmul_into(g, made, x, y, index, onto, negative)
            onto = True
        _take_over(op.result, g)
        if others:
            again = load(g, op.result, index)
            for user in others:
                assert user is not None
                user.operands = [again if v is value else v for v in user.operands]
        self._put(g, goal, {op, *terms.ops})

    def _added(self, op: Op) -> None:
        """Add a product to an array that nothing else reads."""
        x, y = op.operands
        negative = op.name == "subtract"
        for total, value in ((x, y),) if negative else ((x, y), (y, x)):
            product = value.op
            if product is None or not self._is_product(value) or not self._is_free(total):
                continue
            if total.shape == value.shape and self._may_move(product, op, total):
                g = Builder(Block(), op.location)
                whole = [Span(0, 1, d) for d in total.shape]
                matmul_into(g, total, product.operands[0], product.operands[1], whole, True, negative)
                _take_over(op.result, g)
                self._put(g, op, {op, product})
                return

    # questions

    def _terms(self, value: Value) -> _Terms:
        """Take a sum apart, as far as nothing else uses the parts."""
        terms = _Terms()
        stack = [(value, False)]
        while stack:
            v, negative = stack.pop()
            op = v.op
            alone = v is value or len(self.users[v]) == 1
            if op is None or op not in self.place or not alone:
                terms.rest.append(v)
            elif op.name == "matmul" and _suits(op) and (v is value or self._is_product(v)):
                terms.products.append((op, negative))
                terms.ops.add(op)
            elif op.name in _SUMS and all(u.shape == v.shape for u in op.operands) and not negative:
                terms.ops.add(op)
                x, y = op.operands
                stack += [(y, op.name == "subtract"), (x, False)]
            else:
                terms.rest.append(v)
        return terms

    def _is_product(self, value: Value) -> bool:
        """Whether a value is a product of matrices, used once."""
        op = value.op
        return op is not None and op in self.place and _suits(op) and len(self.users[value]) == 1

    def _is_free(self, value: Value) -> bool:
        """Whether an array is in memory for one op alone."""
        if len(self.users[value]) != 1:
            return False
        if value.op is None:
            return value.owner is self.block and value not in self.arguments
        return value.op in self.place and value.op.name in _MADE

    def _reads(self, op: Op, base: Value, index: Sequence[Entry]) -> bool:
        """Whether an op only reads a part of an array for a sum."""
        same = op.name == "load" and op.operands[0] is base and op in self.place
        return same and len(self.users[op.result]) == 1 and index_of(op) == tuple(index)

    def _may_read_back(self, op: Op, others: Sequence[Op | None]) -> bool:
        """Whether what is stored may be read where it was stored, and be stored as early as it is made."""
        goal = op.operands[1].op
        assert goal is not None
        given = [v.op for v in (op.operands[0], *op.operands[2:])]
        known = all(o is None or o not in self.place or self.place[o] < self.place[goal] for o in given)
        # A later store would have to keep what is read.
        kept = all(user is None for user in self.users.get(op.result, ()))
        return known and kept and None not in others

    def _may_move(self, product: Op, goal: Op, base: Value) -> bool:
        """Whether a product may be computed in the memory of an array, at the place of another op.

        Nothing that it reads is written before, nor is it that memory, which is in C order.
        """
        root = base
        while root.op is not None and root.op.name in CONSUMERS:
            root = root.op.operands[0]
        if self.is_odd(root) or any(touches(v, base, frozenset()) for v in product.operands):
            return False
        between = self.block.ops[self.place[product] + 1 : self.place[goal]]
        return not any(
            op.regions
            or (op.name in CONSUMERS and any(touches(v, op.operands[0], frozenset()) for v in product.operands))
            for op in between
        )

    def _put(self, g: Builder, goal: Op, dead: set[Op]) -> None:
        """Put ops at the place of another, and drop those that they stand for."""
        at = self.place[goal]
        self.block.ops[at:at] = g.block.ops
        self.block.ops = [op for op in self.block.ops if op not in dead]
        self.place = {op: k for k, op in enumerate(self.block.ops)}


def _suits(op: Op) -> bool:
    """Whether an op is a product of matrices that BLAS computes."""
    if op.name != "matmul" or op.result.array.rank != 2 or blas_for(op.result.array.dtype) is None:
        return False
    dims = (*op.result.shape, op.operands[0].shape[-1])
    known = [d for d in dims if isinstance(d, int)]
    return len(known) < len(dims) or not is_small(prod(known))


def _is_matrix(index: Sequence[Entry]) -> bool:
    """Whether a part is a matrix whose rows lie in one piece."""
    spans = [e for e in index if isinstance(e, Span)]
    return len(spans) == 2 and spans[-1] is index[-1] and all(e.step == 1 for e in spans)


def _take_over(result: Value, g: Builder) -> None:
    """Let the last op of a builder make a value that another op made."""
    op = g.block.ops[-1]
    op.results = [result]
    result.owner = op
