"""The products of cotangents with partials, with factors cancelled where one divides and the other multiplies.

In: a builder, a cotangent and a partial. Out: graph code for their product. A product `(q * b) * (a / b)` is built as
`q * a`, and `(q / b) * b` as `q`: equal wherever both are defined, and right also where b is 0 or infinite, as in the
derivative of `sqrt(u)**3` at 0 or `log(exp(x))` at 800. The factor b is looked for in products, sums and powers of the
cotangent, a few ops deep and within one region. Powers of one base cancel by their exponents, a product factor by
factor, and `exp(y * log(b))` counts as `b**y`.

This room knows no masks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial, reduce

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.equality import attrs_key
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.ops.shape import broadcast_to
from jitgrad.graph.primitive import PRIMITIVES
from jitgrad.graph.types import broadcast_shapes

__all__ = ["arithmetic", "constant_of", "divided", "same", "scale", "times", "unspread"]

# How many ops deep a factor is looked for.
_DEPTH = 4

# Exponentials, and the logarithm that each undoes.
_LOGARITHMS = {"exp": "log", "exp2": "log2", "2.0": "log2", "10.0": "log10"}


def arithmetic(g: Builder, name: str, x: Value, y: Value) -> Value:
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


def unspread(ct: Value, other: Value) -> Value:
    """Return what `ct` is a broadcast of, where elementwise arithmetic with `other` broadcasts it again."""
    op = ct.op
    if op is None or op.name != "broadcast" or other.shape != ct.shape:
        return ct
    source = op.operands[0]
    inner = source.op
    if inner is not None and inner.name == "reshape" and not inner.operands[0].shape:
        return inner.operands[0]
    return source


def times(g: Builder, x: Value, number: float) -> Value:
    """Return x * number; x itself for 1."""
    return x if number == 1.0 else g.multiply(x, number)


def scale(g: Builder, ct: Value, slope: Value) -> Value:
    """Return ct * slope, with divisions folded and factors cancelled as the module docstring says."""
    op = slope.op
    if op is not None and op.name == "negative":
        return g.negative(_scale(g, ct, op.operands[0]))
    return _scale(g, ct, slope)


def _scale(g: Builder, ct: Value, slope: Value) -> Value:
    op = slope.op
    split = _denominator(ct)
    found = None if split is None else _cancelled(g, slope, split[3])
    if split is not None and found is not None:
        made = times(g, split[0], split[1] * found[0])
        for factor in (found[1], *split[2]):
            if factor is not None:
                made = arithmetic(g, "multiply", made, factor)
        if found[2] is not None:
            made = arithmetic(g, "divide", made, found[2])
        for name, mask in split[4]:
            made = g.emit(name, [mask, made, g.constant(0, made.array.dtype)]).result
        return broadcast_to(g, made, broadcast_shapes(ct.shape, slope.shape))
    if op is not None and op.name == "divide":
        above, below = op.operands
        number = constant_of(above)
        found = _cancelled(g, ct, below)
        if found is not None:
            rest, value, left = found
            if number is None:
                made = times(g, above if value is None else arithmetic(g, "multiply", value, above), rest)
            elif value is None:
                made = g.constant(rest * number, ct.array.dtype)
            else:
                made = times(g, value, rest * number)
            if left is not None:
                made = arithmetic(g, "divide", made, left)
            return broadcast_to(g, made, broadcast_shapes(ct.shape, slope.shape))
    termwise = _termwise(g, ct, slope)
    if termwise is not None:
        return termwise
    if op is not None and op.name == "divide" and constant_of(op.operands[0]) == 1.0:
        return arithmetic(g, "divide", unspread(ct, op.operands[1]), op.operands[1])
    return arithmetic(g, "multiply", unspread(ct, slope), slope)


def _termwise(g: Builder, ct: Value, slope: Value) -> Value | None:
    """Return the product of a sum with a slope term by term if that cancels a divisor of one of them."""
    op = ct.op
    if op is None or op.name not in ("add", "subtract"):
        return None
    for term in op.operands:
        split = _denominator(term)
        if split is not None and _cancelled(g, slope, split[3]) is not None:
            x, y = (scale(g, broadcast_to(g, v, ct.shape), slope) for v in op.operands)
            return arithmetic(g, op.name, x, y)
    return None


# --- factors

# A number and a value (None for 1) whose product, times the factor looked for, a cotangent was built as.
_Found = tuple[float, Value | None]


def _cancelled(g: Builder, ct: Value, factor: Value) -> tuple[float, Value | None, Value | None] | None:
    """Return a number, a value and a divisor (None for 1) such that ct / factor is number * value / divisor, or None.

    None if no factor of the factor cancels.
    """
    number, left, some = 1.0, list[Value](), False
    at: Value | None = ct
    for part in _factors(factor):
        found = None if at is None else _quotient(g, at, part)
        if found is None:
            left.append(part)
            continue
        some, number, at = True, number * found[0], found[1]
    if not some:
        return None
    return number, at, reduce(partial(arithmetic, g, "multiply"), left) if left else None


def same(x: Value, y: Value, depth: int = _DEPTH) -> bool:
    """Return whether two values are equal, made by equal ops: a program may compute one root twice."""
    if x is y:
        return True
    a, b = x.op, y.op
    if a is None or b is None or a.primitive is not b.primitive or not depth or a.regions or not a.primitive.is_pure:
        return False
    if x.type != y.type or x.index != y.index or len(a.operands) != len(b.operands):
        return False
    if a.name == "constant":
        return bool(np.array_equal(a.attrs["value"], b.attrs["value"]))
    if a.name == "undef" or attrs_key(a.attrs) != attrs_key(b.attrs):
        return False
    return all(same(v, w, depth - 1) for v, w in zip(a.operands, b.operands, strict=True))


def _factors(value: Value, depth: int = _DEPTH) -> list[Value]:
    """Return the factors of a product, a few ops deep."""
    op = value.op
    if op is None or op.name != "multiply" or not depth:
        return [value]
    return [f for v in op.operands for f in _factors(v, depth - 1)]


def _quotient(g: Builder, ct: Value, factor: Value, depth: int = _DEPTH) -> _Found | None:
    """Return a number and a value (None for 1) such that ct was built as number * value * factor, or None."""
    if same(ct, factor):
        return 1.0, None
    op = ct.op
    if op is not None and depth and op.name in _QUOTIENTS:
        found = _QUOTIENTS[op.name](g, op, factor, depth)
        if found is not None:
            return found
    return _power_quotient(g, ct, factor)


def _of_product(g: Builder, op: Op, factor: Value, depth: int) -> _Found | None:
    for q, w in (op.operands, op.operands[::-1]):
        found = _quotient(g, q, factor, depth - 1)
        if found is not None:
            number = constant_of(w)
            if number is not None:
                return found[0] * number, found[1]
            return found[0], w if found[1] is None else arithmetic(g, "multiply", w, found[1])
    return None


def _of_sum(g: Builder, op: Op, factor: Value, depth: int) -> _Found | None:
    dtype = op.result.array.dtype
    x = _quotient(g, op.operands[0], factor, depth - 1)
    y = None if x is None else _quotient(g, op.operands[1], factor, depth - 1)
    if x is None or y is None:
        return None
    sign = 1.0 if op.name == "add" else -1.0
    if x[1] is y[1]:
        return x[0] + sign * y[0], x[1]
    terms = [g.constant(n, dtype) if v is None else times(g, v, n) for n, v in (x, y)]
    return 1.0, arithmetic(g, op.name, *terms)


def _of_negative(g: Builder, op: Op, factor: Value, depth: int) -> _Found | None:
    found = _quotient(g, op.operands[0], factor, depth - 1)
    return None if found is None else (-found[0], found[1])


def _of_division(g: Builder, op: Op, factor: Value, depth: int) -> _Found | None:
    above, below = op.operands
    found = _quotient(g, above, factor, depth - 1)
    if found is None:
        return None
    number = constant_of(below)
    if number is not None and found[1] is None:
        return found[0] / number, None
    one = g.constant(1, op.result.array.dtype) if found[1] is None else found[1]
    return found[0], arithmetic(g, "divide", one, below)


def _of_choice(g: Builder, op: Op, factor: Value, depth: int) -> _Found | None:
    """Divide what a mask was applied to: select(mask, x, 0)."""
    mask, x, y = op.operands
    found = _quotient(g, x, factor, depth) if constant_of(y) == 0 else None  # masks come between any two factors
    if found is None:
        return None
    one = g.constant(1, x.array.dtype) if found[1] is None else found[1]
    return found[0], g.emit(op.name, [mask, one, y]).result


def _of_exponential(g: Builder, op: Op, factor: Value, depth: int) -> _Found | None:
    """Divide exp(y * log(factor) + rest) by the factor: factor**(y - 1) * exp(rest)."""
    rest: list[tuple[str, Value]] = []
    at = op.operands[-1]
    logarithm = _LOGARITHMS.get(op.name) or _LOGARITHMS.get(str(constant_of(op.operands[0])))
    if logarithm is None:
        return None
    for _ in range(depth):
        exponent = _exponent(at, factor, logarithm)
        if exponent is not None:
            break
        inner = at.op
        if inner is None or inner.name not in ("add", "subtract"):
            return None
        first, second = inner.operands
        if inner.name == "add" and _mentions(second, factor, logarithm):
            first, second = second, first
        rest.append((inner.name, second))
        at = first
    else:
        return None
    made: Value | None = None
    if isinstance(exponent, Value):
        made = g.power(factor, g.subtract(exponent, 1.0))
    elif exponent != 1.0:
        made = g.power(factor, exponent - 1.0)
    for name, value in rest:
        part = g.emit(op.name, [*op.operands[:-1], value if name == "add" else g.negative(value)]).result
        made = part if made is None else arithmetic(g, "multiply", made, part)
    return 1.0, made


def _exponent(at: Value, factor: Value, logarithm: str) -> float | Value | None:
    """Return y if a value is y * log(factor)."""
    op = at.op
    if op is None:
        return None
    if op.name == logarithm:
        return 1.0 if same(op.operands[0], factor) else None
    if op.name == "multiply":
        for y, log in (op.operands, op.operands[::-1]):
            if log.op is not None and log.op.name == logarithm and same(log.op.operands[0], factor):
                number = constant_of(y)
                return y if number is None else float(number)
    return None


def _mentions(at: Value, factor: Value, logarithm: str) -> bool:
    """Return whether the logarithm of a factor is a term of a sum, a few ops deep."""
    pending = [at]
    for _ in range(2 * _DEPTH):
        if not pending:
            return False
        value = pending.pop()
        if _exponent(value, factor, logarithm) is not None:
            return True
        if value.op is not None and value.op.name in ("add", "subtract"):
            pending.append(value.op.operands[0])
            if value.op.name == "add":
                pending.append(value.op.operands[1])
    return False


_QUOTIENTS = {
    "add": _of_sum,
    "divide": _of_division,
    "exp": _of_exponential,
    "exp2": _of_exponential,
    "multiply": _of_product,
    "negative": _of_negative,
    "power": _of_exponential,
    "select": _of_choice,
    "where_used": _of_choice,
    "subtract": _of_sum,
}

_EXPONENTS = {"sqrt": 0.5, "square": 2.0}

# Ops that apply a mask.
_MASKS = ("select", "where_used")


def _powers(value: Value, depth: int = _DEPTH) -> Iterator[tuple[Value, float]]:
    """Yield bases and exponents of which a value is the power."""
    yield value, 1.0
    op = value.op
    if op is None or not depth:
        return
    if op.name == "multiply":
        x, y = op.operands
        if x.op is None or y.op is None:
            return  # an argument has no roots
        for base, first in _powers(x, depth - 1):
            for other, second in _powers(y, depth - 1):
                if same(base, other):
                    yield base, first + second
        return
    if op.name == "power":
        exponent = constant_of(op.operands[1])
        if exponent is None or not math.isfinite(exponent):
            return
        base, outer = op.operands[0], float(exponent)
    elif op.name == "cbrt":
        for inner, exponent in _powers(op.operands[0], depth - 1):
            if exponent % 3.0 == 0.0:  # with its sign: the cube root of b**3 is b
                yield inner, exponent / 3.0
        return
    elif op.name in _EXPONENTS:
        base, outer = op.operands[0], _EXPONENTS[op.name]
    else:
        return
    for inner, exponent in _powers(base, depth - 1):
        # (b**2)**0.5 is |b|, no power of b; where b must be positive, or no sign is left, exponents multiply.
        if exponent == 1.0 or exponent % 1.0 or not (exponent * outer) % 2.0:
            yield inner, exponent * outer


def _power_quotient(g: Builder, ct: Value, factor: Value) -> _Found | None:
    """Divide one power of a base by another."""
    for base, above in _powers(ct):
        for other, below in _powers(factor):
            if same(base, other):
                return 1.0, _power(g, base, above - below)
        if factor.op is not None and factor.op.name == "cbrt" and same(factor.op.operands[0], base):
            root = arithmetic(g, "multiply", factor, factor)
            rest = _power(g, base, above - 1.0)
            return 1.0, root if rest is None else arithmetic(g, "multiply", rest, root)
    return None


def _power(g: Builder, base: Value, exponent: float) -> Value | None:
    if abs(exponent - round(exponent)) < 1e-14:  # 3 * (1/3) - 1
        exponent = float(round(exponent))
    if exponent == 0.0:
        return None
    if exponent == 1.0:
        return base
    if exponent == -1.0:
        made: Value = g.divide(g.constant(1, base.array.dtype), base)  # a power takes ten times as long
    else:
        made = g.sqrt(base) if exponent == 0.5 else g.power(base, exponent)
    return made


def _denominator(ct: Value) -> tuple[Value, float, list[Value], Value, list[tuple[str, Value]]] | None:
    """Return q, a number, more factors and b such that ct was built as the product of all those, over b.

    Last come masks, with the ops that apply them: where one is false, ct is an exact zero.
    """
    number, factors, masks = 1.0, list[Value](), list[tuple[str, Value]]()
    for _ in range(2 * _DEPTH):  # masks come between any two factors
        op = ct.owner
        if not isinstance(op, Op):
            return None
        name = op.primitive.name
        if name in _MASKS and constant_of(op.operands[2]) == 0:
            mask, ct, _ = op.operands
            masks.append((name, mask))
            continue
        if name == "divide":
            ct, below = op.operands
            by = constant_of(below)
            if not by:
                return ct, number, factors, below, masks
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
            return ct, number, [inner.operands[0], *factors], inner.operands[1], masks
        factors.append(other)
    return None


def divided(g: Builder, ct: Value, factor: Value) -> Value | None:
    """Return ct / factor where the factor cancels as a whole; None where it does not."""
    found = _cancelled(g, ct, factor)
    if found is None or found[2] is not None:
        return None
    number, value, _ = found
    return g.constant(number, ct.array.dtype) if value is None else times(g, value, number)
