"""Kinks made of smooth functions: the root of a sum of squares.

In: an op of the primal. Out: its partials; they are masked where it is the root of what cannot be negative and whose
slope is 0 where it is 0. At 0 the root then has a minimum with a kink, and the derivative is 0 as that of a norm, not
0 * infinity. What is squared must have a finite slope: the root of sqrt(x)**4 is x.
"""

from __future__ import annotations

from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.cancellation import constant_of, same
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.primitive import Masked, Partial, Partials

__all__ = ["partials_of"]

# Ops that move or sum elements.
_SUMS = frozenset({"broadcast", "gather", "load", "reduce_sum", "reshape", "transpose"})


# How many ops are looked at behind what is squared.
_MOST = 200


def partials_of(
    g: Builder, derivative: Partials, op: Op, made: Op, steep: set[Value]
) -> list[Value | Masked | Partial]:
    """Return the partials of an op.

    Parameters
    ----------
    g : Builder
    derivative : Partials
    op : Op
        Of the primal.
    made : Op
        The same op as it is called where the code goes.
    steep : set of Value
        Values of the primal whose slope may be infinite (`steep.py`).
    """
    partials = list(derivative.rule(g, made.result, *made.operands))
    slope = partials[0]
    if isinstance(slope, Value) and _is_norm(op, steep):
        partials[0] = Masked(g.not_equal(made.result, 0.0), slope)
    return partials


def _is_norm(op: Op, steep: set[Value]) -> bool:
    name = op.primitive.name
    if name != "sqrt" and not (name == "power" and constant_of(op.operands[1]) == 0.5):
        return False
    squared = None if op.operands[0] in steep else _squared(op.operands[0])
    return squared is not None and not _may_be_steep(squared)


def _may_be_steep(values: list[Value]) -> bool:
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
        if isinstance(derivative, Partials) and derivative.steep is not None and derivative.steep(op):
            return True
        values.extend(op.operands)
    return False


def _squared(value: Value) -> list[Value] | None:
    """Return what is squared in a sum of squares, with positive numbers as factors; None for anything else."""
    pending, squared = [value], list[Value]()
    for _ in range(32):
        if not pending:
            return squared
        op = pending.pop().op
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
