"""Cotangents of arrays: products with partials, sums, and the masks that they carry.

In: a builder and values. Out: graph code for one step of the chain rule. A mask says where a cotangent may differ from
zero; where it is false the cotangent is an exact zero, and stays one whatever the partial is. So `where(x > 0, sqrt(x),
0)` has derivative 0 at 0, while `sqrt(x)**2`, whose cotangent is 0 there without a mask, does not get 0 by accident.

Cancellation. A product `(q * b) * (a / b)` is built as `q * a`, and `(q / b) * b` as `q`: equal wherever both are
defined, and right also where b is 0 or infinite, as in the derivative of `sqrt(u)**3` at 0 or `log(exp(x))` at 800. The
factor b is looked for in products, sums and powers of the cotangent, a few ops deep and within one region.

This room knows neither ops with regions nor where primal values come from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.ops.shape import broadcast_to, filled, unbroadcast, zeros
from jitgrad.graph.primitive import PRIMITIVES, Cot, Masked, Partial
from jitgrad.graph.types import BOOL, ArrayType, Dim

__all__ = ["Cot", "add_cots", "all_masks", "apply_partial", "constant_of", "down", "joined_mask", "mask_of", "scale"]

# How many ops deep a factor is looked for.
_DEPTH = 4


def _arithmetic(g: Builder, name: str, x: Value, y: Value) -> Value:
    """Emit add, subtract, multiply or divide; the type rule is spared where the result type is an operand's."""
    a, b = x.array, y.array
    if a is b or (a.dtype is b.dtype and (a.shape == b.shape or not b.shape)):
        made = a
    elif a.dtype is b.dtype and not a.shape:
        made = b
    else:
        return g.emit(name, [x, y]).result
    op = Op(PRIMITIVES[name], (x, y), {}, (), (made,), g.location)
    g.block.ops.append(op)
    return op.results[0]


def constant_of(value: Value) -> float | None:
    """Return the number that a scalar constant holds, None for anything else."""
    op = value.op
    if op is None or op.name != "constant" or op.attrs["value"].ndim or op.attrs["value"].dtype.kind not in "iuf":
        return None
    return op.attrs["value"].item()


def _unspread(ct: Value, other: Value) -> Value:
    """Return what `ct` is a broadcast of, where elementwise arithmetic with `other` broadcasts it again."""
    op = ct.op
    if op is None or op.name != "broadcast" or other.shape != ct.shape:
        return ct
    source = op.operands[0]
    inner = source.op
    if inner is not None and inner.name == "reshape" and not inner.operands[0].shape:
        return inner.operands[0]
    return source


def _quotient(g: Builder, ct: Value, factor: Value, depth: int = _DEPTH) -> tuple[float, Value | None] | None:
    """Return a number and a value (None for 1) such that ct was built as number * value * factor, or None."""
    if ct is factor:
        return 1.0, None
    op = ct.op
    if op is None or depth == 0:
        return None
    if op.name == "multiply":
        for q, w in (op.operands, op.operands[::-1]):
            number, found = constant_of(w), _quotient(g, q, factor, depth - 1)
            if found is not None:
                if number is not None:
                    return found[0] * number, found[1]
                return found[0], w if found[1] is None else _arithmetic(g, "multiply", w, found[1])
    elif op.name == "add":
        x, y = (_quotient(g, v, factor, depth - 1) for v in op.operands)
        if x is not None and y is not None:
            if x[1] is y[1]:
                return x[0] + y[0], x[1]
            terms = [g.constant(n, ct.array.dtype) if v is None else _times(g, v, n) for n, v in (x, y)]
            return 1.0, _arithmetic(g, "add", *terms)
    elif op.name == "negative":
        found = _quotient(g, op.operands[0], factor, depth - 1)
        return None if found is None else (-found[0], found[1])
    elif op.name == "divide":
        above, below = op.operands
        found = _quotient(g, above, factor, depth - 1)
        if found is not None:
            number = constant_of(below)
            if number is not None and found[1] is None:
                return found[0] / number, None
            one = g.constant(1, ct.array.dtype) if found[1] is None else found[1]
            return found[0], _arithmetic(g, "divide", one, below)
    elif op.name == "power" and op.operands[0] is factor:
        exponent = constant_of(op.operands[1])
        if exponent is not None and exponent >= 2:
            return 1.0, factor if exponent == 2 else g.power(factor, exponent - 1)
    return None


def _denominator(ct: Value) -> tuple[Value, float, list[Value], Value] | None:
    """Return q, a number, more factors and b such that ct was built as the product of all those, over b."""
    number, factors = 1.0, list[Value]()
    for _ in range(_DEPTH):
        op = ct.owner
        if not isinstance(op, Op):
            return None
        name = op.primitive.name
        if name == "divide":
            ct, below = op.operands
            by = constant_of(below)
            if not by:
                return ct, number, factors, below
            number /= by
            continue
        if name == "negative":
            number, ct = -number, op.operands[0]
            continue
        if name != "multiply":
            return None
        ct, other = op.operands
        inner = other.owner
        if isinstance(inner, Op) and inner.primitive.name == "divide":
            return ct, number, [inner.operands[0], *factors], inner.operands[1]
        factors.append(other)
    return None


def _times(g: Builder, x: Value, number: float) -> Value:
    return x if number == 1.0 else g.multiply(x, number)


def scale(g: Builder, ct: Value, partial: Value) -> Value:
    """Return ct * partial, with divisions folded and factors cancelled as the module docstring says."""
    op = partial.op
    if op is not None and op.name == "negative":
        return g.negative(_scale(g, ct, op.operands[0]))
    return _scale(g, ct, partial)


def _scale(g: Builder, ct: Value, partial: Value) -> Value:
    op = partial.op
    split = _denominator(ct)
    found = None if split is None else _quotient(g, partial, split[3])
    if split is not None and found is not None:
        made = _times(g, split[0], split[1] * found[0])
        for factor in (*found[1:], *split[2]):
            if factor is not None:
                made = _arithmetic(g, "multiply", made, factor)
        return broadcast_to(g, made, ct.shape)
    if op is not None and op.name == "divide":
        above, below = op.operands
        number = constant_of(above)
        found = _quotient(g, ct, below)
        if found is not None:
            rest, value = found
            if number is None:
                made = _times(g, above if value is None else _arithmetic(g, "multiply", value, above), rest)
            elif value is None:
                made = g.constant(rest * number, ct.array.dtype)
            else:
                made = _times(g, value, rest * number)
            return broadcast_to(g, made, ct.shape)
        if number == 1.0:
            return _arithmetic(g, "divide", _unspread(ct, below), below)
    return _arithmetic(g, "multiply", _unspread(ct, partial), partial)


@cache
def _zero(dtype: np.dtype) -> tuple[np.ndarray, ArrayType]:
    return np.zeros((), dtype), ArrayType(dtype)


def _select(g: Builder, mask: Value, value: Value) -> Value:
    value = _unspread(value, mask)
    number, type = _zero(value.array.dtype)
    zero = Op(PRIMITIVES["constant"], (), {"value": number}, (), (type,), g.location)
    g.block.ops.append(zero)
    if value.shape != mask.shape:
        return g.select(mask, value, zero.results[0])
    op = Op(PRIMITIVES["select"], (mask, value, zero.results[0]), {}, (), (value.type,), g.location)
    g.block.ops.append(op)
    return op.results[0]


def _mask_behind(partial: Value) -> Value | None:
    """Return the bool array that a partial is the cast of: the partial of a product with a mask."""
    op = partial.op
    if op is not None and op.name == "cast" and op.operands[0].array.dtype == BOOL.dtype:
        return op.operands[0]
    return None


def apply_partial(g: Builder, cot: Cot, partial: Value | Masked | Partial) -> Cot | None:
    """Return cot times a partial (elementwise, before unbroadcasting), None where it is zero."""
    if isinstance(partial, Value):
        behind = _mask_behind(partial)
        if behind is not None:
            partial = Masked(behind)
    if isinstance(partial, Masked):
        if partial.partial is Partial.ZERO:
            return None
        mask = partial.mask if cot.mask is None else g.logical_and(cot.mask, partial.mask)
        if isinstance(partial.partial, Value):
            value = _select(g, mask, scale(g, cot.value, partial.partial))
        else:
            value = _select(g, partial.mask, cot.value)
            if partial.partial is Partial.MINUS_ONE:
                value = g.negative(value)
        return Cot(value, mask)
    if partial is Partial.ZERO:
        return None
    if partial is Partial.ONE:
        return cot
    if partial is Partial.MINUS_ONE:
        return Cot(g.negative(cot.value), cot.mask)
    if cot.mask is None:
        return Cot(scale(g, cot.value, partial))
    ct, source = cot.value, cot.value.op
    if source is not None and source.name == "select" and source.operands[0] is cot.mask:
        ct = broadcast_to(g, source.operands[1], ct.shape)  # the same mask is applied again below
    return Cot(_select(g, cot.mask, scale(g, ct, partial)), cot.mask)


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
            return Cot(_times(g, source.operands[0], float(math.prod(sizes))), mask)
    return Cot(unbroadcast(g, value, shape), mask)


def _sum(g: Builder, x: Value, y: Value) -> Value:
    op = y.op
    if op is not None and op.name == "negative":
        return _arithmetic(g, "subtract", _unspread(x, op.operands[0]), op.operands[0])
    if x.op is not None and x.op.name == "broadcast":
        return _arithmetic(g, "add", _unspread(x, y), y)
    return _arithmetic(g, "add", x, _unspread(y, x))


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
