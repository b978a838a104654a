"""Matrix products. `matmul` takes operands of rank >= 2; batch dimensions broadcast as in `np.matmul`."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.ops.shape import move_axes, unbroadcast
from jitgrad.graph.primitive import Linear, primitive
from jitgrad.graph.types import GraphTypeError, Type, broadcast_shapes

__all__ = ["swap_last"]


def swap_last(g: Builder, x: Value) -> Value:
    """Return x with its last two axes exchanged."""
    rank = x.array.rank
    return move_axes(g, x, (*range(rank - 2), rank - 1, rank - 2))


def _matmul_rule(attrs: dict[str, Any], x: Value, y: Value) -> list[Type]:
    a, b = x.array, y.array
    if a.rank < 2 or b.rank < 2 or a.dtype != b.dtype or a.shape[-1] != b.shape[-2]:
        raise GraphTypeError(f"matmul of {a} and {b}")
    return [a.with_shape((*broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1]))]


def _transpose_matmul(g: Builder, i: int, ct: Value, op: Op) -> Value:
    x, y = op.operands
    made = g.matmul(ct, swap_last(g, y)) if i == 0 else g.matmul(swap_last(g, x), ct)
    return unbroadcast(g, made, op.operands[i].shape)


matmul = primitive(
    "matmul",
    type_rule=_matmul_rule,
    evaluate=lambda attrs, x, y: np.matmul(x, y),
    derivative=Linear(_transpose_matmul),
)
