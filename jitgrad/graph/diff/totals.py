"""How many numbers a nest of loops will compute, as code that runs before the nest.

In: a chain of loops of the primal and the sizes of what is computed in the innermost. Out: the sum of the sizes over
all iterations, if the sizes and the trip counts follow from the loops' indices and from what is known before: then
tapes are arrays, and their room is asked for once. Triangular loops and slices (`a[i, :i]`) are the common case. Where
an inner sum does not depend on an index, the loop over that index is a product; the others run, on integers alone.
"""

from __future__ import annotations

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.frames import Nest
from jitgrad.graph.ir import Block, Op, Value
from jitgrad.graph.types import INT64, ArrayType, Dim

__all__ = ["Total"]

# More than any memory holds, and the sum of two is still an int64: a total that would wrap stays here.
_MOST = 2**60


class Total:
    """The number of elements that a chain of loops computes.

    Parameters
    ----------
    nest : Nest
    chain : list of (Op, Block)
        The ops around a region with their region on the way to it, outermost first.
    sizes : sequence of Dim
        Their product is what one iteration of the innermost loop computes.

    Attributes
    ----------
    is_known : bool
        Whether all that decides the total is known before the outermost loop starts.
    """

    def __init__(self, nest: Nest, chain: list[tuple[Op, Block]], sizes: tuple[Dim, ...]) -> None:
        self._nest = nest
        self._chain = chain
        self._sizes = sizes
        self._bodies = [region for _, region in chain]
        # For each value behind the counts and sizes, the depths of the loops whose indices it depends on.
        self._depths: dict[Value, frozenset[int]] = {}
        self.is_known = all(op.name == "for" for op, _ in chain) and all(
            self._follow(v) for v in (*(op.operands[0] for op, _ in chain), *sizes) if isinstance(v, Value)
        )

    def emit(self, g: Builder) -> Value:
        """Return the total, as an int64 of the code of `g`."""
        return self._level(g, 0, {})

    # --- what it depends on

    def _follow(self, value: Value) -> bool:
        """Note on which indices an integer depends; return whether it depends on nothing else of the loops."""
        stack = [value]
        while stack:
            v = stack[-1]
            if v in self._depths or v not in self._nest.home:
                stack.pop()
                continue
            parts = self._parts(v)
            if parts is None:
                return False
            missing = [p for p in parts if p in self._nest.home and p not in self._depths]
            if missing:
                stack += missing
                continue
            own = frozenset((self._bodies.index(v.owner),)) if isinstance(v.owner, Block) and not parts else frozenset()
            self._depths[v] = own.union(*(self._depths.get(p, frozenset()) for p in parts))
            stack.pop()
        return True

    def _parts(self, value: Value) -> list[Value] | None:
        """Return what a value of the loops is computed from, nothing for an index; None if it has to be run for."""
        op = value.op
        if op is not None:
            plain = all(
                isinstance(v.type, ArrayType) and not v.shape and v.type.dtype.kind in "bi" for v in op.operands
            )
            integer = plain and isinstance(value.type, ArrayType) and not value.shape and value.type.dtype.kind in "bi"
            return op.operands if integer and (op.primitive.is_elementwise or op.name == "constant") else None
        if value.owner not in self._bodies:
            return None
        if value.index == 0:
            return []
        # A carried value that the loop hands on unchanged.
        loop, body = self._chain[self._bodies.index(value.owner)]
        return [loop.operands[value.index]] if body.yields[value.index - 1] is value else None

    def _uses(self, depth: int, values: list[Dim]) -> bool:
        return any(isinstance(v, Value) and depth in self._depths.get(v, ()) for v in values)

    # --- the code

    def _level(self, g: Builder, depth: int, known: dict[Value, Value]) -> Value:
        """Return the sum over the loops from a depth on, for one iteration of those around."""
        if depth == len(self._chain):
            total = g.constant(np.int64(1))
            for d in self._sizes:
                total = self._times(g, self._clipped(g, self._again(g, d, known)), total)
            return total
        count = self._clipped(g, self._again(g, self._chain[depth][0].operands[0], known))
        inner: list[Dim] = [*(op.operands[0] for op, _ in self._chain[depth + 1 :]), *self._sizes]
        if not self._uses(depth, inner):
            return self._times(g, count, self._level(g, depth + 1, known))
        with g.region([INT64, INT64], ["k", "total"]) as body:
            k, so_far = body.args
            # What was made again outside is at hand inside, but not the other way round.
            more = self._level(g, depth + 1, {**known, self._bodies[depth].args[0]: k})
            body.yields = [g.minimum(g.add(so_far, more), g.constant(np.int64(_MOST)))]
        made: Value = g.emit("for", [count, g.constant(np.int64(0))], regions=[body]).result
        return made

    def _clipped(self, g: Builder, size: Value) -> Value:
        made: Value = g.minimum(g.maximum(size, g.constant(np.int64(0))), g.constant(np.int64(_MOST)))
        return made

    def _times(self, g: Builder, x: Value, y: Value) -> Value:
        """Return a product of numbers that are not negative; if it is too large, what no memory holds."""
        most = g.constant(np.int64(_MOST))
        fits = g.less_equal(x, g.floor_divide(most, g.maximum(y, g.constant(np.int64(1)))))
        made: Value = g.select(fits, g.multiply(x, y), most)
        return made

    def _again(self, g: Builder, value: Dim, known: dict[Value, Value]) -> Value:
        if isinstance(value, int):
            return g.constant(np.int64(value))
        stack = [value]
        while stack:
            v = stack[-1]
            if v in known or v not in self._nest.home:
                stack.pop()
                continue
            parts = self._parts(v)
            assert parts is not None
            missing = [p for p in parts if p in self._nest.home and p not in known]
            if missing:
                stack += missing
                continue
            operands = [known.get(p, p) for p in parts]
            known[v] = operands[0] if v.op is None else g.emit(v.op.name, operands, v.op.attrs).result
            stack.pop()
        return known.get(value, value)
