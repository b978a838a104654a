"""Reading and writing parts of arrays, with value semantics.

`load(a, *ints)`        the part of a that the attribute `index` names: one entry an axis, `Pick(at)` drops the axis,
                        `Span(start, step, length)` keeps it. None in an entry stands for an int64 operand, in order.
`store(a, v, *ints)`    a with that part replaced by v, which has exactly the part's shape.
`addto(a, v, *ints)`    a with v added to that part.
`gather(a, *indices)`   a[indices]: integer arrays index the leading axes.
`scatter(a, v, *indices)`      a with a[indices] = v; of repeated indices the last wins.
`scatter_add(a, v, *indices)`  a with v accumulated, as `np.add.at`.

A store or scatter with the attribute `visible` writes memory that the caller sees: no later store makes it needless,
for a check between the two may end the call.

Indices are in range and not negative: whoever builds the graph has emitted checks and wrapped negative ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.ops.index import (
    Entry,
    Pick,
    Span,
    add_to,
    checked_index,
    index_of,
    load,
    part_shape,
    slices,
    split_index,
    store,
)
from jitgrad.graph.ops.shape import broadcast_to, filled, reshape_to, split_shape, zeros, zeros_like
from jitgrad.graph.primitive import Cot, Linear, Rules, primitive
from jitgrad.graph.types import BOOL, INT64, Dim, GraphTypeError, Type, broadcast_shapes

__all__ = ["Entry", "Pick", "Span", "add_to", "index_of", "load", "part_shape", "split_index", "store"]


def _load_rule(attrs: dict[str, Any], a: Value, *ints: Value) -> list[Type]:
    return [a.array.with_shape(part_shape(checked_index(attrs, a, ints)))]


def _store_rule(attrs: dict[str, Any], a: Value, v: Value, *ints: Value) -> list[Type]:
    part = a.array.with_shape(part_shape(checked_index(attrs, a, ints)))
    if v.type != part:
        raise GraphTypeError(f"a store into {a.type} takes {part}, not {v.type}")
    return [a.type]


def _evaluate_store(attrs: dict[str, Any], a: np.ndarray, v: np.ndarray, *ints: Any) -> np.ndarray:
    out = np.array(a)
    out[slices(attrs["index"], ints)] = v
    return out


def _evaluate_addto(attrs: dict[str, Any], a: np.ndarray, v: np.ndarray, *ints: Any) -> np.ndarray:
    out = np.array(a)
    out[slices(attrs["index"], ints)] += v
    return out


def _transpose_load(g: Builder, i: int, ct: Value, op: Op) -> Value:
    return add_to(g, zeros_like(g, op.operands[0]), ct, index_of(op))


def _transpose_store(g: Builder, i: int, ct: Value, op: Op) -> Value:
    if i == 1:
        return load(g, ct, index_of(op))
    return store(g, ct, zeros_like(g, op.operands[1]), index_of(op))


def _transpose_addto(g: Builder, i: int, ct: Value, op: Op) -> Value:
    return load(g, ct, index_of(op)) if i == 1 else ct


def _gather_shape(a: Value, indices: Sequence[Value]) -> tuple[Dim, ...]:
    if any(v.array.dtype != np.int64 for v in indices) or len(indices) > a.array.rank or not indices:
        raise GraphTypeError(f"{a.type} cannot be indexed by {[str(v.type) for v in indices]}")
    return broadcast_shapes(*(v.shape for v in indices)) + a.shape[len(indices) :]


def _gather_rule(attrs: dict[str, Any], a: Value, *indices: Value) -> list[Type]:
    return [a.array.with_shape(_gather_shape(a, indices))]


def _scatter_rule(attrs: dict[str, Any], a: Value, v: Value, *indices: Value) -> list[Type]:
    part = a.array.with_shape(_gather_shape(a, indices))
    if v.type != part:
        raise GraphTypeError(f"a scatter into {a.type} takes {part}, not {v.type}")
    return [a.type]


def _evaluate_scatter(attrs: dict[str, Any], a: np.ndarray, v: np.ndarray, *indices: np.ndarray) -> np.ndarray:
    out = np.array(a)
    out[indices] = v
    return out


def _evaluate_scatter_add(attrs: dict[str, Any], a: np.ndarray, v: np.ndarray, *indices: np.ndarray) -> np.ndarray:
    out = np.array(a)
    np.add.at(out, indices, v)
    return out


def _winners(g: Builder, op: Op) -> Value:
    """Return, for a scatter, which elements of v are in the result: the last of each repeated index."""
    indices = op.operands[2:]
    shape = broadcast_shapes(*(v.shape for v in indices))
    size: Dim = 1
    for d in shape:
        if isinstance(size, int) and isinstance(d, int):
            size *= d
        else:
            size = g.multiply(*(x if isinstance(x, Value) else g.constant(x, np.int64) for x in (size, d)))
    attr, dims = split_shape((size,))
    order = reshape_to(g, g.iota(*dims, dtype=np.dtype(np.int64), shape=attr), shape)
    rank = len(indices)
    marks = filled(g, INT64.with_shape(op.operands[0].shape[:rank]), -1)
    marks = g.scatter(marks, order, *indices)
    won = g.equal(g.gather(marks, *indices), order)
    v = op.operands[1]
    won = reshape_to(g, won, tuple(shape) + (1,) * (v.array.rank - len(shape)))
    return broadcast_to(g, won, v.shape)


def _vjp_scatter(g: Builder, op: Op, cts: Sequence[Cot | None], needed: set[int]) -> list[Cot | None]:
    (cot,) = cts
    made: list[Cot | None] = [None] * len(op.operands)
    if cot is None:
        return made
    v, indices = op.operands[1], op.operands[2:]
    ct, mask = cot
    if 0 in needed:
        if mask is not None:
            mask = g.scatter(mask, zeros(g, v.array.with_dtype(BOOL.dtype)), *indices)
        made[0] = Cot(g.scatter(ct, zeros_like(g, v), *indices), mask)
    if 1 in needed:
        taken, won = g.gather(ct, *indices), _winners(g, op)
        if cot.mask is not None:
            won = g.logical_and(g.gather(cot.mask, *indices), won)
        made[1] = Cot(g.select(won, taken, zeros_like(g, taken)), won)
    return made


def _jvp_scatter(g: Builder, op: Op, tangents: Sequence[Value | None]) -> list[Value | None]:
    a, v = tangents[:2]
    if a is None and v is None:
        return [None]
    a = zeros_like(g, op.operands[0]) if a is None else a
    v = zeros_like(g, op.operands[1]) if v is None else v
    return [g.scatter(a, v, *op.operands[2:])]


def _transpose_scatter_add(g: Builder, i: int, ct: Value, op: Op) -> Value:
    return g.gather(ct, *op.operands[2:]) if i == 1 else ct


load_ = primitive(
    "load",
    type_rule=_load_rule,
    evaluate=lambda attrs, a, *ints: np.asarray(a)[slices(attrs["index"], ints)],
    derivative=Linear(_transpose_load, operands=(0,), moves=True),
)
store_ = primitive(
    "store", type_rule=_store_rule, evaluate=_evaluate_store, derivative=Linear(_transpose_store, operands=(0, 1))
)
addto = primitive(
    "addto", type_rule=_store_rule, evaluate=_evaluate_addto, derivative=Linear(_transpose_addto, operands=(0, 1))
)
gather = primitive(
    "gather",
    type_rule=_gather_rule,
    evaluate=lambda attrs, a, *indices: np.asarray(a)[tuple(indices)],
    derivative=Linear(
        lambda g, i, ct, op: g.scatter_add(zeros_like(g, op.operands[0]), ct, *op.operands[1:]),
        operands=(0,),
        moves=True,
    ),
)
scatter = primitive(
    "scatter", type_rule=_scatter_rule, evaluate=_evaluate_scatter, derivative=Rules(_vjp_scatter, _jvp_scatter)
)
scatter_add = primitive(
    "scatter_add",
    type_rule=_scatter_rule,
    evaluate=_evaluate_scatter_add,
    derivative=Linear(_transpose_scatter_add, operands=(0, 1)),
)
