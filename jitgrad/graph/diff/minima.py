"""Roots whose operand does not pass the border of their domain: kinks at a minimum, and no infinite slopes.

In: the ops of a block and the values that move. Out: the ops among them, such as sqrt, of which it is proved that their
operand touches the border of their domain at most, and slowly enough: the root of a sum of squares, of 1 - cos(x), of
what a loop has stored of such. Their result is then at a minimum (or maximum), no steeper than a magnitude: where it
has a derivative that is 0, and at a kink 0 is the convention. So must be the derivative of what is made of it.

Proved is of each value which bounds it keeps, and how fast it leaves them: x - low = O(h**order) as the inputs move by
h. Squares have order 2 at 0, and so has at a bound what is smooth and does not pass it. The bounds are a fixed point
over loops, branches and memory. Nothing is proved where there is a border behind the operand: sqrt(sqrt(x)**4) is x,
and ends at 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.activity import reach, region_edges
from jitgrad.graph.diff.cancellation import constant_of, same
from jitgrad.graph.diff.signs import is_tame
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.passes.rewriting import dims_of
from jitgrad.graph.primitive import Linear

__all__ = ["flat_roots", "is_inside"]

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

# Functions with a border in their domain, or an infinite slope.
_ENDING = frozenset(
    {"arccos", "arccosh", "arcsin", "arctanh", "cbrt", "log", "log10", "log1p", "log2", "power", "sqrt"}
)

# Ops whose result holds elements of their float operands, and nothing else.
_MOVES = frozenset(
    {
        "broadcast", "concatenate", "gather", "list_from_array", "list_get", "list_pop", "list_push", "list_set",
        "list_to_array", "load", "reduce_max", "reduce_min", "relayout", "reshape", "scatter", "select", "sort",
        "store", "transpose",
    }
)  # fmt: skip

# Ops whose result has no elements that anything is made of.
_NOTHING = frozenset({"list_empty", "undef"})

# Functions that have the sign of their operand and are so steep at most as it, and the bounds of their results.
_ODD = {
    "arcsinh": (-INF, INF), "arctan": (-INF, INF), "erf": (-1, 1), "expm1": (-1, INF), "log1p": (-INF, INF),
    "sinh": (-INF, INF), "tanh": (-1, 1),
}  # fmt: skip


class _Range(NamedTuple):
    """Bounds of a value, each of them -1, 0, 1 or infinite, and how fast it leaves them.

    One that it never meets it leaves infinitely fast.
    """

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
    def negative(self) -> _Range:
        """Those of the negative value."""
        return _Range(-self.high, -self.low, self.high_order, self.low_order)

    def signed(self, factor: float = 1.0, low: float = -INF, high: float = INF) -> _Range:
        """Return those of what has the same sign and leaves 0 so much faster, and has bounds of its own."""
        found = _Range(low, high)
        if self.low >= 0:
            found = found._replace(low=0, low_order=self.low_order * factor if self.low == 0 else INF)
        if self.high <= 0:
            found = found._replace(high=0, high_order=self.high_order * factor if self.high == 0 else INF)
        return found


ANY = _Range()


def flat_roots(ops: Sequence[Op], roots: Iterable[Op], edges: dict[Value, list[Value]], moving: set[Value]) -> set[Op]:
    """Return those of some ops with infinite slopes that are kinks or flat there.

    Parameters
    ----------
    ops : sequence of Op
        All that may be behind the roots.
    roots : iterable of Op
    edges : dict of Value to list of Value
        What depends on a value in any way.
    moving : set of Value
    """
    ranges = _Ranges(ops, edges, moving).found
    ending = [op for op in ops if op.name in _ENDING and _ends(op, ranges, moving)]
    ended = reach(edges, [op.result for op in ending])
    left = set(ending)
    return {op for op in roots if op not in left and op.name in _ENDING and op.operands[0] not in ended}


def is_inside(g: Builder, made: Op) -> Value:
    """Return where the operand of a root is not at the border of its domain."""
    if made.name in ("arccos", "arcsin"):
        inside: Value = g.not_equal(g.absolute(made.operands[0]), 1.0)
    else:
        inside = g.not_equal(made.result, 0.0)
    return inside


def _ends(op: Op, ranges: dict[Value, _Range], moving: set[Value]) -> bool:
    """Return whether the domain of an op may end where its moving operand is, or its slope be infinite."""
    if moving.isdisjoint(op.operands) or is_tame(op):
        return False
    x = ranges.get(op.operands[0], ANY)
    match op.name:
        case "sqrt":
            return x.low < 0 or (x.low == 0 and x.low_order < 2)
        case "power":
            return _power_ends(op, x, ranges.get(op.operands[1], ANY))
        case "cbrt":
            return not (x.low > 0 or x.high < 0) and not ((x.low == 0 or x.high == 0) and x.order_at_zero >= 3)
        case "arccos" | "arcsin":
            return x.low < -1 or x.high > 1 or (x.low == -1 and x.low_order < 2) or (x.high == 1 and x.high_order < 2)
        case "arccosh":
            return x.low < 1 or x.low_order < 2
        case "log" | "log2" | "log10":
            return x.low <= 0
        case "log1p":
            return x.low < 0
    return True


def _power_ends(op: Op, x: _Range, y: _Range) -> bool:
    number = constant_of(op.operands[1])
    if number is None:
        return x.low < 0 or (x.low == 0 and y.low < 1)
    if number == int(number):
        return False
    return x.low < 0 or (x.low == 0 and 0 < number < 1 and x.low_order * number < 1)


class _Ranges:
    """The bounds of the values of some ops; what is not among them may be anything."""

    def __init__(self, ops: Sequence[Op], edges: dict[Value, list[Value]], moving: set[Value]) -> None:
        bends = [op for op in ops if not (op.regions or moving.isdisjoint(op.operands) or _is_smooth(op))]
        self._bent = reach(edges, [r for op in bends for r in op.results])
        self._own = {r for op in ops for r in op.results} | {
            a for op in ops for region in op.regions for a in region.args
        }
        sizes = {d for op in ops for v in op.operands for d in dims_of(v.type) if isinstance(d, Value)}
        self.found: dict[Value, _Range] = dict.fromkeys(sizes, _Range(0))
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
            operands = [self._of(v) for v in op.operands]
            if op.name not in _NOTHING and None not in operands:
                made = _range_of(op, [r for r in operands if r is not None])
                for r in op.results:
                    fell |= r.type.is_float and self._join(r, made)
        return fell

    def _of(self, value: Value) -> _Range | None:
        """Return the bounds of a value; None if nothing is known to flow there."""
        return self.found.get(value) if value in self._own and value.type.is_float else self.found.get(value, ANY)

    def _join(self, value: Value, made: _Range) -> bool:
        if value not in self._bent:
            made = made._replace(low_order=max(made.low_order, 2.0), high_order=max(made.high_order, 2.0))
        before = self.found.get(value)
        after = made if before is None else _joined(before, made)
        self.found[value] = after
        return after != before


def _joined(x: _Range, y: _Range) -> _Range:
    low, high = min(x.low, y.low), max(x.high, y.high)
    return _Range(
        low,
        high,
        min(r.low_order for r in (x, y) if r.low == low),
        min(r.high_order for r in (x, y) if r.high == high),
    )


def _is_smooth(op: Op) -> bool:
    derivative, name = op.primitive.derivative, op.name
    if not all(r.type.is_float for r in op.results):
        return not any(v.type.is_float for v in op.operands)
    if isinstance(derivative, Linear) or name in _SMOOTH or is_tame(op):
        return True
    if name != "power":
        return False
    number = constant_of(op.operands[1])
    return number is not None and number >= 0 and number == int(number)


# --- bounds of results


def _range_of(op: Op, of: list[_Range]) -> _Range:
    """Return the bounds of the result of an op, given those of its operands."""
    name = op.name
    if name in _MOVES:
        floats = [r for v, r in zip(op.operands, of, strict=True) if v.type.is_float]
        return reduce(_joined, floats) if floats else ANY
    if name in _ODD:
        return of[0].signed(1.0, *_ODD[name])
    found = _RULES.get(name)
    return ANY if found is None else found(op, *of)


def _rounded(low: float, high: float, low_order: float = INF, high_order: float = INF) -> _Range:
    """Return bounds that are among those told apart: one that is not is never met."""
    down = max(b for b in (-INF, -1.0, 0.0, 1.0) if b <= low) if low == low else -INF
    up = min(b for b in (-1.0, 0.0, 1.0, INF) if b >= high) if high == high else INF
    return _Range(down, up, low_order if down == low else INF, high_order if up == high else INF)


def _constant(op: Op) -> _Range:
    value = np.asarray(op.attrs["value"])
    if value.dtype.kind != "f" or not value.size or np.isnan(value).any():
        return ANY
    return _rounded(float(value.min()), float(value.max()))


def _sum(op: Op, x: _Range, y: _Range, *_: _Range) -> _Range:
    return _rounded(x.low + y.low, x.high + y.high, min(x.low_order, y.low_order), min(x.high_order, y.high_order))


def _stored_sum(op: Op, x: _Range, y: _Range, *_: _Range) -> _Range:
    return _joined(x, _sum(op, x, y))


def _many(op: Op, x: _Range, *_: _Range) -> _Range:
    """Sums of any number of terms."""
    return x.signed()


def _product(op: Op, x: _Range, y: _Range) -> _Range:
    if same(op.operands[0], op.operands[1]):
        return _to_the(x, 2.0)
    corners = [0.0 if 0.0 in (a, b) else a * b for a in (x.low, x.high) for b in (y.low, y.high)]
    order = min(x.order, y.order)
    return _rounded(min(corners), max(corners), order, order)


def _quotient(op: Op, x: _Range, y: _Range) -> _Range:
    # Large divisors come near 0 as well, who knows how fast.
    slow = x._replace(low_order=min(x.low_order, 1.0), high_order=min(x.high_order, 1.0)) if y.high == INF else x
    number = constant_of(op.operands[1])
    if number is None:
        return slow.signed() if y.low >= 0 else ANY
    return x.signed() if number > 0 else x.negative.signed()


def _to_the(x: _Range, number: float) -> _Range:
    if number == int(number) and number > 0:
        if number % 2:
            return x.signed(number)
        high = 1.0 if x.low >= -1 and x.high <= 1 else INF
        low = 1.0 if x.low >= 1 or x.high <= -1 else 0.0
        return _Range(low, high, x.order if low else number * x.order_at_zero, x.order)
    if x.low < 0 or number < 0:
        return ANY
    return x.signed(number, high=1.0 if x.high <= 1 else INF)._replace(high_order=x.high_order)


def _power(op: Op, x: _Range, y: _Range) -> _Range:
    number = constant_of(op.operands[1])
    if number is not None:
        return _to_the(x, float(number))
    return _Range(0, low_order=0) if x.low >= 0 else ANY


def _absolute(op: Op, x: _Range) -> _Range:
    if x.low >= 0 or x.high <= 0:
        return x if x.low >= 0 else x.negative
    return _rounded(0.0, max(-x.low, x.high), 1.0, x.order)


def _larger(x: _Range, y: _Range) -> _Range:
    if x.low == y.low:
        low_order = min(x.low_order, y.low_order)
    else:
        low_order = min(1.0, x.low_order if x.low > y.low else y.low_order)
    high = max(x.high, y.high)
    return _Range(max(x.low, y.low), high, low_order, min(r.high_order for r in (x, y) if r.high == high))


def _smaller(x: _Range, y: _Range) -> _Range:
    return _larger(x.negative, y.negative).negative


def _exponential(op: Op, x: _Range) -> _Range:
    low = 1.0 if x.low >= 0 else 0.0
    low_order, high_order = x.low_order if x.low == 0 else INF, x.high_order if x.high == 0 else INF
    return _Range(low, 1.0 if x.high <= 0 else INF, low_order, high_order)


def _cosh(op: Op, x: _Range) -> _Range:
    return _Range(1.0, INF, 2.0 * x.order_at_zero)


def _length(op: Op, *of: _Range) -> _Range:
    return _Range(0.0, INF, min(x.order_at_zero for x in of))


def _cast(op: Op, x: _Range) -> _Range:
    kind = op.operands[0].array.dtype.kind
    return _Range(0, 1) if kind == "b" else x


_RULES: dict[str, Callable[..., _Range]] = {
    "absolute": _absolute,
    "add": _sum,
    "addto": _stored_sum,
    "cast": _cast,
    "cbrt": lambda op, x: x.signed(1 / 3),
    "clip": lambda op, x, low, high: _smaller(_larger(x, low), high),
    "constant": _constant,
    "cos": lambda op, x: _Range(-1, 1, 2.0, 2.0),
    "cosh": _cosh,
    "cumprod": lambda op, x: x if x.low >= 0 and x.high <= 1 else x.signed() if x.low >= 0 else ANY,
    "cumsum": _many,
    "divide": _quotient,
    "exp": _exponential,
    "exp2": _exponential,
    "expit": lambda op, x: _Range(0, 1),
    "fmax": lambda op, x, y: _larger(x, y),
    "fmin": lambda op, x, y: _smaller(x, y),
    "hypot": _length,
    "list_addto": lambda op, x, _, y: _stored_sum(op, x, y),
    "matmul": lambda op, x, y: _Range(0, INF, min(x.order, y.order)) if x.low >= 0 and y.low >= 0 else ANY,
    "maximum": lambda op, x, y: _larger(x, y),
    "minimum": lambda op, x, y: _smaller(x, y),
    "multiply": _product,
    "negative": lambda op, x: x.negative,
    "norm2": _length,
    "power": _power,
    "reduce_prod": lambda op, x: x if x.low >= 0 and x.high <= 1 else x.signed() if x.low >= 0 else ANY,
    "reduce_sum": _many,
    "scatter_add": _stored_sum,
    "sin": lambda op, x: _Range(-1, 1, 2.0, 2.0),
    "sqrt": lambda op, x: _to_the(x, 0.5),
    "square": lambda op, x: _to_the(x, 2.0),
    "subtract": lambda op, x, y: _sum(op, x, y.negative),
}
