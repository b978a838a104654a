"""Norms whose operand may be infinitely steep, and roots of sums of squares that have terms which do not move.

In: an op of the primal. Out: whether it is such a one, and for `norm2` its cotangent or tangent. A norm has a kink
where it is 0, and the derivative 0; but the square of the norm of sqrt(x) is the sum of x. What else is flat at a kink
is proved in `minima.py`.
"""

from __future__ import annotations

from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.cancellation import constant_of, divided, same, scale
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.ops.reduce import expand
from jitgrad.graph.ops.shape import broadcast_to
from jitgrad.graph.primitive import Cot, Partials

__all__ = ["is_norm", "is_steep_norm", "jvp_norm", "vjp_norm"]

# Ops that move or sum elements.
_SUMS = frozenset({"broadcast", "gather", "load", "reduce_sum", "reshape", "transpose"})


# How many ops are looked at behind what is squared.
_MOST = 200


def is_norm(op: Op, moving: set[Value]) -> bool:
    """Return whether an op is the root of a sum of squares of what has a finite slope, and of terms that do not move.

    It is infinitely steep only at chosen points.
    """
    name = op.primitive.name
    if name != "sqrt" and not (name == "power" and constant_of(op.operands[1]) == 0.5):
        return False
    squared = _squared(op.operands[0], moving)
    return squared is not None and not _may_be_steep(squared, set())


def is_steep_norm(op: Op, steep: set[Value], flat: set[Op]) -> bool:
    """Return whether an op is the norm of what may have an infinite slope."""
    if op.primitive.name != "norm2":
        return False
    return op.operands[0] in steep or _may_be_steep([op.operands[0]], flat)


def vjp_norm(g: Builder, op: Op, cot: Cot) -> Cot:
    """Return the cotangent of what a steep norm is of; no exact zero where the norm is 0."""
    (x,), (out,) = op.operands, op.results
    axes = op.attrs["axes"]
    mask = None if cot.mask is None else expand(g, cot.mask, x.shape, axes)
    over = divided(g, cot.value, out)
    if over is not None:
        return Cot(g.multiply(x, expand(g, over, x.shape, axes)), mask)
    ct, norm = expand(g, cot.value, x.shape, axes), expand(g, out, x.shape, axes)
    away = g.not_equal(norm, 0.0)
    zero = g.constant(0, ct.array.dtype)
    made = g.select(away, g.multiply(ct, g.divide(x, norm)), zero)
    return Cot(made if mask is None else g.where_used(mask, made, zero), mask)


def jvp_norm(g: Builder, op: Op, t: Value) -> Value:
    """Return the tangent of a steep norm.

    Where the norm is 0 the sum of the products with tangents is 0 unless factors cancelled with infinite ones.
    """
    (x,), (out,) = op.operands, op.results
    total = g.reduce_sum(broadcast_to(g, scale(g, t, x), x.shape), axes=op.attrs["axes"])
    meant = g.logical_or(g.not_equal(out, 0.0), g.not_equal(total, 0.0))
    made: Value = g.select(meant, g.divide(total, out), g.constant(0, out.array.dtype))
    return made


def _may_be_steep(values: list[Value], flat: set[Op]) -> bool:
    """Return whether a slope that may be infinite is found among the ops of this block that make values."""
    seen: set[Value] = set()
    while values:
        value = values.pop()
        op = value.op
        if op is None or value in seen:
            continue
        if len(seen) > _MOST:
            return True
        seen.add(value)
        derivative = op.primitive.derivative
        if (
            isinstance(derivative, Partials)
            and derivative.steep is not None
            and derivative.steep(op)
            and op not in flat
        ):
            return True
        values.extend(op.operands)
    return False


def _squared(value: Value, moving: set[Value]) -> list[Value] | None:
    """Return what is squared in a sum of squares, with positive numbers as factors; None for anything else."""
    pending, squared = [value], list[Value]()
    for _ in range(32):
        if not pending:
            return squared
        term = pending.pop()
        if term not in moving:
            continue
        op = term.op
        if op is None:
            return None
        name = op.primitive.name
        if name == "add":
            pending += op.operands
        elif name in _SUMS:
            pending.append(op.operands[0])
        elif name == "multiply":
            x, y = op.operands
            numbers = [constant_of(v) for v in (x, y)]
            if any(n is not None and n > 0 for n in numbers):
                pending.append(y if numbers[0] is not None else x)
            elif same(x, y):
                squared.append(x)
            else:
                return None
        elif name == "divide":
            number = constant_of(op.operands[1])
            if number is None or number <= 0:
                return None
            pending.append(op.operands[0])
        elif name == "power":
            exponent = constant_of(op.operands[1])
            if exponent is None or exponent < 2 or exponent % 2:
                return None
            squared.append(op.operands[0])
        elif name == "square":
            squared.append(op.operands[0])
        else:
            return None
    return None
