"""Rules of arithmetic, exact to the bit for floats and modulo 2**n for integers.

Which zero is neutral matters: `x + 0.0` is not x for x = -0.0, `x + -0.0` and `x - 0.0` are. `x * 0.0` is not 0.
Signs move outwards through products of real numbers, where they are exact, and vanish in sums. Complex products take
no part: their zeros have signs that depend on the order of operations.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from jitgrad.graph.ir import Op, Value
from jitgrad.graph.passes.rules.context import Context, Rule, made_by
from jitgrad.graph.types import INT64

__all__ = ["RULES", "affine"]

_INT_KINDS = "iu"


def _kind(op: Op) -> str:
    return op.results[0].array.dtype.kind


def _is_zero(number: Any, negative: bool) -> bool:
    """Whether adding a number changes nothing (`negative`), or subtracting it."""
    if number is None or number != 0:
        return False
    if number.dtype.kind == "c":
        return bool(np.signbit(number.real) == negative and np.signbit(number.imag) == negative)
    return number.dtype.kind != "f" or bool(np.signbit(number) == negative)


def affine(r: Context, value: Value) -> tuple[Value, int, int]:
    """Return an int64 scalar as `base + offset`, and the number of additions on the way there."""
    offset, steps = 0, 0
    while value.type == INT64:
        op = value.owner
        if not isinstance(op, Op) or op.primitive.name not in ("add", "subtract"):
            break
        x, y = op.operands
        number = r.literal(y)
        if number is None and op.primitive.name == "add":
            x, number = y, r.literal(x)
        if number is None:
            break
        offset += int(number) if op.primitive.name == "add" else -int(number)
        value, steps = x, steps + 1
    return value, offset, steps


def _wrapped(offset: int) -> int:
    return (offset + 2**63) % 2**64 - 2**63


def _sum_of_offsets(r: Context, op: Op) -> Value | None:
    """`(i + 2) - 1` is `i + 1`, which indices are full of."""
    if op.results[0].type != INT64:
        return None
    base, offset, steps = affine(r, op.results[0])
    if steps < 2:
        return None
    offset = _wrapped(offset)
    if offset == 0:
        return base
    if offset < 0 and offset != -(2**63):
        return r.g.subtract(base, r.g.constant(-offset, np.int64))
    return r.g.add(base, r.g.constant(offset, np.int64))


def _add(r: Context, op: Op) -> Value | None:
    type = op.results[0].type
    for x, y in (op.operands, op.operands[::-1]):
        if _is_zero(r.splat(y), negative=True):
            return r.fit(x, type)
        minus = made_by(y, "negative")
        if minus is not None:
            return r.g.subtract(x, minus.operands[0])
        difference = made_by(y, "subtract")
        if difference is not None and difference.operands[1] is x and _kind(op) in _INT_KINDS:
            return r.fit(difference.operands[0], type)
    return _sum_of_offsets(r, op)


def _subtract(r: Context, op: Op) -> Value | None:
    x, y = op.operands
    type = op.results[0].type
    if _is_zero(r.splat(y), negative=False):
        return r.fit(x, type)
    minus = made_by(y, "negative")
    if minus is not None:
        return r.g.add(x, minus.operands[0])
    if _kind(op) in _INT_KINDS:
        if x is y:
            return r.fit(r.g.constant(0, x.array.dtype), type)
        total = made_by(x, "add")
        if total is not None and y in total.operands:
            return r.fit(total.operands[1 if total.operands[0] is y else 0], type)
        difference = made_by(y, "subtract")
        if difference is not None and difference.operands[0] is x:
            return r.fit(difference.operands[1], type)
    return _sum_of_offsets(r, op)


def _multiply(r: Context, op: Op) -> Value | None:
    kind = _kind(op)
    if kind == "c":
        return None
    type = op.results[0].type
    for x, y in (op.operands, op.operands[::-1]):
        number = r.splat(y)
        if number is not None:
            if number == 1:
                return r.fit(x, type)
            if number == -1 and kind in "if":
                return r.fit(r.g.negative(x), type)
            if number == 0 and kind in "iub":
                return r.fit(r.g.constant(0, x.array.dtype), type)
            minus = made_by(x, "negative")
            if minus is not None and kind in "if":
                return r.g.multiply(minus.operands[0], _negated(r, y))
    return _signs_outwards(r, op)


def _divide(r: Context, op: Op) -> Value | None:
    x, y = op.operands
    if _kind(op) != "f":
        return None
    number = r.splat(y)
    if number is not None:
        if number == 1:
            return r.fit(x, op.results[0].type)
        if number == -1:
            return r.fit(r.g.negative(x), op.results[0].type)
        # A power of two has an exact reciprocal, and rounding the same number gives the same result.
        with np.errstate(all="ignore"):
            inverse = np.divide(number.dtype.type(1), number)
        if math.frexp(float(abs(number)))[0] == 0.5 and np.isfinite(inverse) and inverse != 0:
            return r.g.multiply(x, _like(r, y, inverse))
    return _signs_outwards(r, op)


def _signs_outwards(r: Context, op: Op) -> Value | None:
    """`a * -b` is `-(a * b)` for real numbers, and `-a * -b` is `a * b`; where the negation has no other use."""
    if _kind(op) not in "if":
        return None
    a, b = (made_by(v, "negative") for v in op.operands)
    x, y = op.operands
    if a is not None and b is not None:
        return r.g.emit(op.name, [a.operands[0], b.operands[0]], dict(op.attrs)).result
    if b is not None and r.once(y):
        return r.g.negative(r.g.emit(op.name, [x, b.operands[0]], dict(op.attrs)).result)
    if a is not None and r.once(x):
        return r.g.negative(r.g.emit(op.name, [a.operands[0], y], dict(op.attrs)).result)
    return None


def _like(r: Context, value: Value, number: np.generic) -> Value:
    """Return a constant of the shape of another one."""
    return r.fit(r.g.constant(number, value.array.dtype), value.type)


def _negated(r: Context, value: Value) -> Value:
    number = r.splat(value)
    assert number is not None
    with np.errstate(all="ignore"):
        return _like(r, value, np.negative(number))


def _negative(r: Context, op: Op) -> Value | None:
    (x,) = op.operands
    minus = made_by(x, "negative")
    if minus is not None:
        return minus.operands[0]
    product = made_by(x, "multiply")
    if product is not None and _kind(op) in "if" and r.once(x):
        for a, b in (product.operands, product.operands[::-1]):
            if r.splat(b) is not None:
                return r.g.multiply(a, _negated(r, b))
    difference = made_by(x, "subtract")
    if difference is not None and _kind(op) in _INT_KINDS and r.once(x):
        return r.g.subtract(*reversed(difference.operands))
    return None


def _idempotent(r: Context, op: Op) -> Value | None:
    """`floor(floor(x))` and its like."""
    (x,) = op.operands
    return x if made_by(x, op.name) else None


def _even(r: Context, op: Op) -> Value | None:
    """`absolute(-x)` and `square(-x)` for real x."""
    (x,) = op.operands
    minus = made_by(x, "negative")
    if minus is not None and x.array.dtype.kind in "if":
        return r.g.emit(op.name, [minus.operands[0]]).result
    return _idempotent(r, op) if op.name == "absolute" else None


def _same(r: Context, op: Op) -> Value | None:
    """`maximum(x, x)` and its like."""
    x, y = op.operands
    return x if x is y else None


def _conjugate(r: Context, op: Op) -> Value | None:
    (x,) = op.operands
    if x.array.dtype.kind != "c":
        return x
    inner = made_by(x, "conjugate")
    return None if inner is None else inner.operands[0]


RULES: dict[str, Rule] = {
    "absolute": _even,
    "add": _add,
    "ceil": _idempotent,
    "conjugate": _conjugate,
    "divide": _divide,
    "floor": _idempotent,
    "fmax": _same,
    "fmin": _same,
    "maximum": _same,
    "minimum": _same,
    "multiply": _multiply,
    "negative": _negative,
    "rint": _idempotent,
    "square": _even,
    "subtract": _subtract,
    "trunc": _idempotent,
}
