"""Bounds that values keep, and how fast they leave them.

In: the ops of a block and the values that move. Out: for each float, an interval that it is in wherever it is a number,
and orders: x - low = O(h**order) where x is low and the inputs move by h. Squares have order 2 at 0, and so has at a
bound what has two derivatives and does not pass it; a sum of what is not negative is 0 where all terms are. A bound
that is never met is left infinitely fast. The intervals are a fixed point over loops, branches and memory.

What comes of infinite slopes leaves its bounds faster than is said here, unless the order follows from the bounds of
operands: whoever asks must know (`minima.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np

from jitgrad.graph.diff.activity import reach, region_edges
from jitgrad.graph.diff.cancellation import constant_of, same
from jitgrad.graph.diff.signs import is_tame
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.primitive import Linear
from jitgrad.graph.types import ArrayType, Type

__all__ = ["ANY", "MOVES", "Bounds", "bounds_of"]

INF = math.inf

# How often loops are walked over; a bound falls a few times at most.
_ROUNDS = 12

# Functions of floats with two derivatives wherever they are finite.
_SMOOTH = frozenset(
    {
        "add", "arcsinh", "arctan", "cos", "cosh", "cumprod", "divide", "erf", "erfc", "exp", "exp2", "expit", "expm1",
        "logaddexp", "logaddexp2", "multiply", "negative", "reciprocal", "reduce_prod", "sin", "sinh", "square",
        "subtract", "tan", "tanh",
    }
)  # fmt: skip

# Ops whose result holds elements of their float operands, and nothing else.
MOVES = frozenset(
    {
        "broadcast", "concatenate", "gather", "list_from_array", "list_get", "list_pop", "list_push", "list_set",
        "list_to_array", "load", "reduce_max", "reduce_min", "relayout", "reshape", "scatter", "select", "sort",
        "store", "transpose", "where_used",
    }
)  # fmt: skip

# Ops whose result has no elements that anything is made of.
_NOTHING = frozenset({"list_empty", "undef"})

# Functions that have the sign of their operand and are so steep at most as it, and the bounds of their results.
_ODD = {
    "arcsinh": (-INF, INF), "arctan": (-INF, INF), "erf": (-1, 1), "expm1": (-1, INF), "log1p": (-INF, INF),
    "sinh": (-INF, INF), "tanh": (-1, 1),
}  # fmt: skip


class Bounds(NamedTuple):
    """The interval of a value, and the orders at which it leaves its ends."""

    low: float = -INF
    high: float = INF
    low_order: float = INF
    high_order: float = INF

    @property
    def order(self) -> float:
        """How fast it leaves a bound at least."""
        return min(self.low_order, self.high_order)

    @property
    def order_at_zero(self) -> float:
        """How fast it leaves 0."""
        if self.low == 0:
            return self.low_order
        return self.high_order if self.high == 0 else 1.0

    @property
    def negative(self) -> Bounds:
        """Those of the value with the other sign."""
        return Bounds(-self.high, -self.low, self.high_order, self.low_order)

    def signed(self, factor: float = 1.0, low: float = -INF, high: float = INF) -> Bounds:
        """Return those of what has the same sign and leaves 0 so much faster, and has bounds of its own."""
        found = Bounds(low, high)
        if self.low >= 0:
            found = found._replace(low=0, low_order=self.low_order * factor if self.low == 0 else INF)
        if self.high <= 0:
            found = found._replace(high=0, high_order=self.high_order * factor if self.high == 0 else INF)
        return found


ANY = Bounds()


def bounds_of(ops: Sequence[Op], edges: dict[Value, list[Value]], moving: set[Value]) -> dict[Value, Bounds]:
    """Return the bounds of the floats of some ops; what is not found may be anything.

    Parameters
    ----------
    ops : sequence of Op
    edges : dict of Value to list of Value
        What depends on a value in any way.
    moving : set of Value
    """
    return _Search(ops, edges, moving).found


class _Search:
    def __init__(self, ops: Sequence[Op], edges: dict[Value, list[Value]], moving: set[Value]) -> None:
        bends = [op for op in ops if not (op.regions or moving.isdisjoint(op.operands) or _is_smooth(op))]
        self._bent = reach(edges, [r for op in bends for r in op.results])
        self._own = {r for op in ops for r in op.results} | {
            a for op in ops for region in op.regions for a in region.args
        }
        sizes = {d for op in ops for v in op.operands for d in v.type.run_time}
        self.found: dict[Value, Bounds] = dict.fromkeys(sizes, Bounds(0))
        for _ in range(_ROUNDS):
            if not self._round(ops):
                return
        self.found.clear()

    def _round(self, ops: Sequence[Op]) -> bool:
        """Walk over all ops once; return whether a bound fell."""
        fell = False
        for op in ops:
            if op.regions:
                for source, target in region_edges(op):
                    known = self._of(source)
                    fell |= known is not None and self._join(target, known)
                continue
            made = None if op.name in _NOTHING else self._made(op)
            if made is not None:
                for r in op.results:
                    fell |= r.type.is_float and self._join(r, _rounded(made, r.type))
        return fell

    def _made(self, op: Op) -> Bounds | None:
        """Return the bounds of the results of an op; None as long as nothing is known to flow there."""
        if op.name in MOVES:
            moved = [self._of(v) for v in op.operands if v.type.is_float]
            return reduce(_joined, [x for x in moved if x is not None]) if any(moved) else None
        operands = [self._of(v) for v in op.operands]
        return None if None in operands else _bounds_of_result(op, [x for x in operands if x is not None])

    def _of(self, value: Value) -> Bounds | None:
        """Return the bounds of a value; None if nothing is known to flow there."""
        return self.found.get(value) if value in self._own and value.type.is_float else self.found.get(value, ANY)

    def _join(self, value: Value, made: Bounds) -> bool:
        """Add to what flows into a value; return whether a bound fell."""
        if not (made.low < INF and made.high > -INF):  # bounds may overflow, or be no numbers
            made = ANY
        if value not in self._bent:
            made = made._replace(low_order=max(made.low_order, 2.0), high_order=max(made.high_order, 2.0))
        before = self.found.get(value)
        after = made if before is None else _joined(before, made)
        if before is not None and after != before:
            after = _widened(after)
        self.found[value] = after
        return after != before


def _rounded(x: Bounds, type: Type) -> Bounds:
    """Return bounds as numbers of a type: what is computed from numbers is rounded, and is so from their bounds."""
    if not (isinstance(type, ArrayType) and type.dtype == np.float32):
        return x
    with np.errstate(over="ignore", invalid="ignore"):
        return x._replace(low=float(np.float32(x.low)), high=float(np.float32(x.high)))


def _joined(x: Bounds, y: Bounds) -> Bounds:
    low, high = min(x.low, y.low), max(x.high, y.high)
    return Bounds(
        low,
        high,
        min(r.low_order for r in (x, y) if r.low == low),
        min(r.high_order for r in (x, y) if r.high == high),
    )


def _widened(x: Bounds) -> Bounds:
    """Return bounds that include others, and are among a few, so that loops come to an end."""
    low = max(b for b in (-INF, -1.0, 0.0, 1.0) if b <= x.low)
    high = min(b for b in (-1.0, 0.0, 1.0, INF) if b >= x.high)
    return Bounds(low, high, x.low_order if low == x.low else INF, x.high_order if high == x.high else INF)


def _is_smooth(op: Op) -> bool:
    derivative, name = op.primitive.derivative, op.name
    if not all(r.type.is_float for r in op.results):
        return not any(v.type.is_float for v in op.operands)
    if isinstance(derivative, Linear) or name in _SMOOTH or is_tame(op):
        return True
    if name != "power":
        return False
    number = constant_of(op.operands[1])
    return number is not None and number >= 0 and float(number).is_integer()


# --- bounds of results


def _bounds_of_result(op: Op, of: list[Bounds]) -> Bounds:
    """Return the bounds of the result of an op, given those of its operands."""
    name = op.name
    if name in _ODD:
        return of[0].signed(1.0, *_ODD[name])
    found = _RULES.get(name)
    return ANY if found is None else found(op, *of)


def _constant(op: Op) -> Bounds:
    value = np.asarray(op.attrs["value"])
    if value.dtype.kind != "f" or not value.size or np.isnan(value).any():
        return ANY
    return Bounds(float(value.min()), float(value.max()))


def _sum(op: Op, x: Bounds, y: Bounds, *_: Bounds) -> Bounds:
    low_order, high_order = min(x.low_order, y.low_order), min(x.high_order, y.high_order)
    return Bounds(x.low + y.low, x.high + y.high, low_order, high_order)


def _stored_sum(op: Op, x: Bounds, y: Bounds, *_: Bounds) -> Bounds:
    return _joined(x, _sum(op, x, y))


def _scattered_sum(op: Op, x: Bounds, y: Bounds, *_: Bounds) -> Bounds:
    # An index may be repeated, and then its element gets any number of terms.
    return _joined(x, _sum(op, x, y.signed()))


def _many(op: Op, x: Bounds, *_: Bounds) -> Bounds:
    """Return the bounds of a sum of any number of terms."""
    return x.signed()


def _many_factors(op: Op, x: Bounds, *_: Bounds) -> Bounds:
    if x.low < 0:
        return ANY
    # Of no factors it is 1.
    low, high = 1.0 if x.low >= 1 else 0.0, 1.0 if x.high <= 1 else INF
    return Bounds(low, high, x.low_order if low == x.low else INF, x.high_order if high == x.high else INF)


def _product(op: Op, x: Bounds, y: Bounds) -> Bounds:
    if same(op.operands[0], op.operands[1]):
        return _to_the(x, 2.0)
    corners = [0.0 if 0.0 in (a, b) else a * b for a in (x.low, x.high) for b in (y.low, y.high)]
    order = min(x.order, y.order)
    return Bounds(min(corners), max(corners), order, order)


def _quotient(op: Op, x: Bounds, y: Bounds) -> Bounds:
    # Large divisors come near 0 as well, who knows how fast.
    slow = x._replace(low_order=min(x.low_order, 1.0), high_order=min(x.high_order, 1.0)) if y.high == INF else x
    number = constant_of(op.operands[1])
    if number is None:
        return slow.signed() if y.low >= 0 else ANY
    if number == 0:
        return ANY
    x = x if number > 0 else x.negative
    return x._replace(low=x.low / abs(number), high=x.high / abs(number))


def _to_the(x: Bounds, number: float) -> Bounds:
    if number.is_integer() and number > 0:
        if number % 2:
            return x.signed(number)
        high = 1.0 if x.low >= -1 and x.high <= 1 else INF
        low = 1.0 if x.low >= 1 or x.high <= -1 else 0.0
        return Bounds(low, high, x.order if low else number * x.order_at_zero, x.order)
    if x.low < 0 or number < 0:
        return ANY
    return x.signed(number, high=1.0 if x.high <= 1 else INF)._replace(high_order=x.high_order)


def _power(op: Op, x: Bounds, y: Bounds) -> Bounds:
    number = constant_of(op.operands[1])
    if number is not None:
        return _to_the(x, float(number))
    return Bounds(0, low_order=0) if x.low >= 0 else ANY


def _absolute(op: Op, x: Bounds) -> Bounds:
    if x.low >= 0 or x.high <= 0:
        return x if x.low >= 0 else x.negative
    return Bounds(0.0, max(-x.low, x.high), 1.0, x.order)


def _larger(x: Bounds, y: Bounds) -> Bounds:
    if x.low == y.low:
        low_order = min(x.low_order, y.low_order)
    else:
        low_order = min(1.0, x.low_order if x.low > y.low else y.low_order)
    high = max(x.high, y.high)
    return Bounds(max(x.low, y.low), high, low_order, min(r.high_order for r in (x, y) if r.high == high))


def _smaller(x: Bounds, y: Bounds) -> Bounds:
    return _larger(x.negative, y.negative).negative


def _larger_number(op: Op, x: Bounds, y: Bounds) -> Bounds:
    """Return the bounds of the larger operand, or of the other one where one is no number, as a constant is."""
    constants = [constant_of(v) is not None for v in op.operands]
    if not any(constants):
        return _joined(x, y)
    x, y = (b if is_constant else b._replace(low=-INF) for b, is_constant in zip((x, y), constants, strict=True))
    return _larger(x, y)


def _smaller_number(op: Op, x: Bounds, y: Bounds) -> Bounds:
    return _larger_number(op, x.negative, y.negative).negative


def _exponential(op: Op, x: Bounds) -> Bounds:
    low = 1.0 if x.low >= 0 else 0.0
    low_order, high_order = x.low_order if x.low == 0 else INF, x.high_order if x.high == 0 else INF
    return Bounds(low, 1.0 if x.high <= 0 else INF, low_order, high_order)


def _cosh(op: Op, x: Bounds) -> Bounds:
    return Bounds(1.0, INF, 2.0 * x.order_at_zero)


def _length(op: Op, *of: Bounds) -> Bounds:
    return Bounds(0.0, INF, min(x.order_at_zero for x in of))


def _cast(op: Op, x: Bounds) -> Bounds:
    kind = op.operands[0].array.dtype.kind
    return Bounds(0, 1) if kind == "b" else x


def _wave(op: Op, x: Bounds) -> Bounds:
    return Bounds(-1.0, 1.0, 2.0, 2.0)


_RULES: dict[str, Callable[..., Bounds]] = {
    "absolute": _absolute,
    "add": _sum,
    "addto": _stored_sum,
    "cast": _cast,
    "cbrt": lambda op, x: x.signed(1 / 3),
    "clip": lambda op, x, low, high: _smaller(_larger(x, low), high),
    "constant": _constant,
    "cos": _wave,
    "cosh": _cosh,
    "cumprod": _many_factors,
    "cumsum": _many,
    "divide": _quotient,
    "exp": _exponential,
    "exp2": _exponential,
    "expit": lambda op, x: Bounds(0, 1),
    "fmax": _larger_number,
    "fmin": _smaller_number,
    "hypot": _length,
    "list_addto": lambda op, x, _, y: _stored_sum(op, x, y),
    "matmul": lambda op, x, y: Bounds(0, INF, min(x.order, y.order)) if x.low >= 0 and y.low >= 0 else ANY,
    "maximum": lambda op, x, y: _larger(x, y),
    "minimum": lambda op, x, y: _smaller(x, y),
    "multiply": _product,
    "negative": lambda op, x: x.negative,
    "norm2": _length,
    "power": _power,
    "reduce_prod": _many_factors,
    "reduce_sum": _many,
    "scatter_add": _scattered_sum,
    "sin": _wave,
    "sqrt": lambda op, x: _to_the(x, 0.5),
    "square": lambda op, x: _to_the(x, 2.0),
    "subtract": lambda op, x, y: _sum(op, x, y.negative),
}
