"""Selection by masks: how many elements are true, and where.

In: bool values. Out: int64 positions, as many as the data say. The same mask gives the same values as long as they are
in scope, so that what two selections by it give has one type. This room knows no references and no index.
"""

from __future__ import annotations

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.shape import reshape_to, split_shape
from jitgrad.trace.context import Context
from jitgrad.trace.extents import canonical_shape, product, renamed

__all__ = ["flat_positions", "true_positions"]


def flat_positions(ctx: Context, mask: Value) -> Value:
    """Return where a mask is true, in C order."""
    g = ctx.g
    if mask.op is not None and mask.op.name == "constant":
        return ctx.constant(np.flatnonzero(mask.op.attrs["value"]))
    flat = reshape_to(g, mask, (product(ctx, mask.shape),))
    ones = ctx.shared(("count", mask), lambda: g.reduce_sum(g.cast(flat, dtype=np.dtype(np.int64)), axes=(0,)))
    attr, dims = split_shape((ones,))
    made = ctx.shared(("positions", mask), lambda: g.positions(flat, *dims, shape=attr))
    return renamed(ctx, made, canonical_shape(ctx, made.shape))


def true_positions(ctx: Context, mask: Value) -> list[Value]:
    """Return where a mask is true, as `np.nonzero`: one value of rank 1 an axis."""
    g = ctx.g
    rest = flat_positions(ctx, mask)
    made: list[Value] = []
    for d in reversed(mask.shape[1:]):
        size = ctx.dim(d)
        made.append(g.remainder(rest, size))
        rest = g.floor_divide(rest, size)
    return [rest, *reversed(made)]
