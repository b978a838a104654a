"""Slopes that are finite because of a sign.

In: an op whose slope may be infinite at some point. Out: whether its operand is seen to stay away from there: the root
of 1 + x**2, a quotient by exp(x) + 1. What is asked is the shape of the code that makes the operand, no ranges.
"""

from __future__ import annotations

from jitgrad.graph.diff.cancellation import constant_of
from jitgrad.graph.ir import Op, Value

__all__ = ["is_tame"]

# How many ops deep, and from which number on a value is far enough from 0 for its reciprocal to have a finite square.
_DEPTH = 6
_AWAY = 1e-15

# Ops that are infinite, or whose slope is, at 0 of the operand at that position.
_AT_ZERO = {
    "cbrt": 0, "divide": 1, "log": 0, "log10": 0, "log2": 0, "power": 0, "reciprocal": 0, "sqrt": 0,
}  # fmt: skip


def is_tame(op: Op) -> bool:
    """Return whether an op whose slope is infinite at 0 has an operand that is positive wherever it is a number."""
    at = _AT_ZERO.get(op.primitive.name)
    return at is not None and _is_positive(op.operands[at], _DEPTH)


def _is_positive(value: Value, depth: int) -> bool:
    op = value.op
    if op is None or not depth:
        return False
    number = constant_of(value)
    if number is not None:
        return number >= _AWAY
    match op.primitive.name:
        case "add":
            x, y = op.operands
            if _is_positive(x, depth - 1):
                return _is_no_less(y, depth - 1)
            return _is_positive(y, depth - 1) and _is_no_less(x, depth - 1)
        case "maximum":
            return any(_is_positive(v, depth - 1) for v in op.operands)
        case "cosh":
            return True
        case "broadcast" | "reshape" | "sqrt" | "transpose":
            return _is_positive(op.operands[0], depth - 1)
    return False


def _is_no_less(value: Value, depth: int) -> bool:
    """Return whether a value is not negative."""
    op = value.op
    if op is None or not depth:
        return False
    number = constant_of(value)
    if number is not None:
        return number >= 0
    match op.primitive.name:
        case "absolute" | "cosh" | "exp" | "exp2" | "norm2" | "sqrt" | "square":
            return True
        case "add":
            return all(_is_no_less(v, depth - 1) for v in op.operands)
        case "broadcast" | "reduce_sum" | "reshape" | "transpose":
            return _is_no_less(op.operands[0], depth - 1)
        case "divide" | "multiply":
            x, y = op.operands
            return x is y or (_is_no_less(x, depth - 1) and _is_no_less(y, depth - 1))
        case "maximum":
            return any(_is_no_less(v, depth - 1) for v in op.operands)
        case "power":
            exponent = constant_of(op.operands[1])
            return exponent is not None and exponent % 2 == 0
    return False
