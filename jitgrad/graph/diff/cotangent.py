"""Cotangents of arrays: products with partials, sums, and the masks that they carry.

In: a builder and values. Out: graph code for one step of the chain rule. A mask says where a cotangent may differ from
zero; where it is false the cotangent is an exact zero, and stays one whatever the partial is. So `where(x > 0, sqrt(x),
0)` has derivative 0 at 0, while `sqrt(x)**2`, whose cotangent is 0 there without a mask, does not get 0 by accident.

Factors of such products cancel where they can (`cancellation.py`).

This room knows neither ops with regions nor where primal values come from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.cancellation import arithmetic, scale, times, unspread
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.ops.shape import broadcast_to, filled, unbroadcast, zeros
from jitgrad.graph.primitive import PRIMITIVES, Cot, Masked, Partial
from jitgrad.graph.types import BOOL, ArrayType, Dim

__all__ = ["Cot", "add_cots", "all_masks", "apply_partial", "down", "joined_mask", "mask_of", "masked"]


@cache
def _zero(dtype: np.dtype) -> tuple[np.ndarray, ArrayType]:
    return np.zeros((), dtype), ArrayType(dtype)


def _select(g: Builder, mask: Value, value: Value, moving: bool = False) -> Value:
    """Return a value that is 0 outside of a mask; `moving` says that it may be a zero with a derivative there."""
    value = unspread(value, mask)
    number, type = _zero(value.array.dtype)
    zero = Op(PRIMITIVES["constant"], (), {"value": number}, (), (type,), g.location)
    g.block.ops.append(zero)
    name, operands = "where_used" if moving else "select", (mask, value, zero.results[0])
    if value.shape != mask.shape:
        return g.emit(name, operands).result
    op = Op(PRIMITIVES[name], operands, {}, (), (value.type,), g.location)
    g.block.ops.append(op)
    return op.results[0]


def _mask_behind(partial: Value) -> Value | None:
    """Return the bool array that a partial is the cast of: the partial of a product with a mask."""
    op = partial.op
    if op is not None and op.name == "cast" and op.operands[0].array.dtype == BOOL.dtype:
        return op.operands[0]
    return None


def apply_partial(g: Builder, cot: Cot, partial: Value | Masked | Partial, moving: bool = False) -> Cot | None:
    """Return cot times a partial (elementwise, before unbroadcasting), None where it is zero.

    `moving` says that where the mask of the cotangent is false its zero may have a derivative.
    """
    if isinstance(partial, Value):
        behind = _mask_behind(partial)
        if behind is not None:
            partial = Masked(behind)
    if isinstance(partial, Masked):
        if partial.partial is Partial.ZERO:
            return None
        return _apply_masked(g, cot, partial, moving)
    if partial is Partial.ZERO:
        return None
    if partial is Partial.ONE:
        return cot
    if partial is Partial.MINUS_ONE:
        return Cot(g.negative(cot.value), cot.mask)
    if cot.mask is None:
        return Cot(scale(g, cot.value, partial))
    ct = _within_mask(g, cot, moving)
    return Cot(_select(g, cot.mask, scale(g, ct, partial), moving), cot.mask)


def _apply_masked(g: Builder, cot: Cot, partial: Masked, moving: bool) -> Cot:
    inner, ct = partial.partial, cot.value
    mask: Value | None = None
    for m in (cot.mask, partial.mask, partial.matters):
        if m is not None:
            mask = m if mask is None else g.logical_and(mask, m)
    assert mask is not None
    moving |= partial.matters is not None
    if isinstance(inner, Value) and not moving:
        return Cot(_select(g, mask, scale(g, ct, inner)), mask)
    if partial.mask is not None:
        ct = _select(g, partial.mask, ct)  # what was not chosen does not move
    if isinstance(inner, Value):
        return Cot(_select(g, mask, scale(g, ct, inner), moving), mask)
    return Cot(g.negative(ct) if inner is Partial.MINUS_ONE else ct, mask)


def _within_mask(g: Builder, cot: Cot, moving: bool) -> Value:
    """Return the value of a cotangent to which its mask will be applied again, without the mask where that can be."""
    op = cot.value.op
    if op is not None and op.name == ("where_used" if moving else "select") and op.operands[0] is cot.mask:
        return broadcast_to(g, op.operands[1], cot.value.shape)
    return cot.value


def masked(g: Builder, cot: Cot, mask: Value) -> Cot:
    """Return a cotangent that is a zero, which may be moving, where a mask is false as well."""
    if cot.mask is not None:
        mask = g.logical_and(mask, cot.mask)
    return Cot(_select(g, mask, cot.value, moving=True), mask)


def down(g: Builder, cot: Cot, shape: tuple[Dim, ...]) -> Cot:
    """Return a cotangent summed down to the shape of an operand that was broadcast; its mask is or-ed."""
    value, mask = cot
    if value.shape == shape:
        return cot
    if mask is not None and mask.shape:
        mask = unbroadcast(g, broadcast_to(g, mask, value.shape), shape, "reduce_or")
    source = value.op
    if source is not None and source.name == "broadcast" and not source.operands[0].shape and not shape:
        sizes = [d for d in value.shape if isinstance(d, int)]
        if len(sizes) == len(value.shape):
            return Cot(times(g, source.operands[0], float(math.prod(sizes))), mask)
    return Cot(unbroadcast(g, value, shape), mask)


def _sum(g: Builder, x: Value, y: Value) -> Value:
    op = y.op
    if op is not None and op.name == "negative":
        return arithmetic(g, "subtract", unspread(x, op.operands[0]), op.operands[0])
    if x.op is not None and x.op.name == "broadcast":
        return arithmetic(g, "add", unspread(x, y), y)
    return arithmetic(g, "add", x, unspread(y, x))


def add_cots(g: Builder, x: Cot, y: Cot) -> Cot:
    """Return the sum of two array cotangents; it has a mask only where both have."""
    mask = None
    if x.mask is not None and y.mask is not None:
        mask = x.mask if x.mask is y.mask else g.logical_or(x.mask, y.mask)
    return Cot(_sum(g, x.value, y.value), mask)


def joined_mask(cots: Sequence[Cot | None], type: ArrayType) -> tuple[Dim, ...] | None:
    """Return the shape of the mask that one of several cotangents has, as flow decides; None if it has none.

    A bool for the whole array costs nothing: it says whether the path was taken that uses the array at all.
    """
    masks = [c.mask for c in cots if c is not None]
    if all(m is None or not m.shape for m in masks):
        some_zero = 0 < len(masks) < len(cots)
        return () if some_zero or any(m is not None for m in masks) else None
    return type.shape if all(m is not None for m in masks) else None


def mask_of(g: Builder, cot: Cot | None, shape: Sequence[Dim]) -> Value:
    """Return the mask of a cotangent at a shape, its full one or (): true where it has none, false for zero."""
    bools = BOOL.with_shape(tuple(shape))
    if cot is None:
        return zeros(g, bools)
    if cot.mask is None or (cot.mask.shape and not shape):
        return filled(g, bools, True)
    return broadcast_to(g, cot.mask, tuple(shape))


def all_masks(cots: list[Cot | None]) -> bool:
    """Return whether there are cotangents and each of them has a mask."""
    known = [c for c in cots if c is not None]
    return bool(known) and all(c.mask is not None for c in known)
