"""Matrix products.

`matmul(x, y)`                   takes operands of rank >= 2; batch dimensions broadcast as in `np.matmul`.
`matmul_into(a, x, y, *ints)`    a with the part that the attribute `index` names, as that of a `store`, replaced by the
                                 product of two matrices; `onto` says that the product is added to what is there,
                                 `negative` that its sign is turned. The backend makes it: BLAS adds as it multiplies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.ops.index import Entry, checked_index, part_shape, slices, split_index
from jitgrad.graph.ops.shape import move_axes, unbroadcast
from jitgrad.graph.primitive import Linear, NoGradient, primitive
from jitgrad.graph.types import GraphTypeError, Type, broadcast_shapes

__all__ = ["matmul_into", "swap_last"]


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


def matmul_into(
    g: Builder, a: Value, x: Value, y: Value, index: Sequence[Entry], onto: bool = False, negative: bool = False
) -> Value:
    """Return a with the product of two matrices stored into a part, or added to it."""
    attr, ints = split_index(index)
    return g.emit("matmul_into", [a, x, y, *ints], {"index": attr, "onto": onto, "negative": negative}).result


def _into_rule(attrs: dict[str, Any], a: Value, x: Value, y: Value, *ints: Value) -> list[Type]:
    (product,) = _matmul_rule({}, x, y)
    part = a.array.with_shape(part_shape(checked_index(attrs, a, ints)))
    if part != product or part.rank != 2 or not part.is_float:
        raise GraphTypeError(f"a product {product} into {part}")
    return [a.type]


def _evaluate_into(attrs: dict[str, Any], a: np.ndarray, x: np.ndarray, y: np.ndarray, *ints: Any) -> np.ndarray:
    out, product = np.array(a), np.matmul(x, y)
    place = slices(attrs["index"], ints)
    product = -product if attrs["negative"] else product
    out[place] = out[place] + product if attrs["onto"] else product
    return out


into = primitive(
    "matmul_into",
    type_rule=_into_rule,
    evaluate=_evaluate_into,
    derivative=NoGradient("a product in its place is made when nothing is differentiated any more"),
)
