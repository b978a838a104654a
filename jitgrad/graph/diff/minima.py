"""Roots whose operand does not pass the border of their domain: minima, and no infinite slopes.

In: the ops of a block and the values that move. Out: the ops among them, such as sqrt, of which it is proved that their
operand touches the border of their domain at most: the root of a sum of squares, of 1 - cos(x), of what a loop has
stored of such. Their result is then at a minimum (or maximum): where it has a derivative that is 0, and elsewhere 0 is
the convention. What is made of it, if that has a derivative, has the one that the other operands give; but for products
with jumps: sign(x) * sqrt(abs(x)) is infinitely steep. So cusps, which are steeper than a magnitude, must not meet any.

The proof are the bounds of the operand (`bounds.py`). There is none where a border lies behind it: sqrt(sqrt(x)**4) is
x, and ends at 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.activity import reach
from jitgrad.graph.diff.bounds import ANY, MOVES, Bounds, bounds_of
from jitgrad.graph.diff.cancellation import constant_of
from jitgrad.graph.diff.signs import is_tame
from jitgrad.graph.ir import Op, Value

__all__ = ["JUMPS", "NO_MINIMA", "Minima", "is_inside", "minima_of"]

# In place of orders: the operand passes a border, or a point where the slope is infinite.
_PASSED, _CROSSED = -2.0, -1.0

# Float functions of floats that jump, some in the slope that they declare.
JUMPS = frozenset(
    {"arctan2", "ceil", "copysign", "floor", "floor_divide", "fmod", "remainder", "rint", "sign", "trunc"}
)

# Functions with a border in their domain, or an infinite slope.
_ENDING = frozenset(
    {"arccos", "arccosh", "arcsin", "arctanh", "cbrt", "log", "log10", "log1p", "log2", "power", "sqrt"}
)

# Those of them that are infinite at the border, and functions that are finite at infinity.
_INFINITE = frozenset({"arctanh", "log", "log10", "log1p", "log2"})
_SWALLOWING = frozenset(
    {
        "arctan", "arctan2", "clip", "divide", "erf", "erfc", "exp", "exp2", "expit", "expm1", "fmax", "fmin",
        "logaddexp", "logaddexp2", "maximum", "minimum", "power", "reciprocal", "reduce_max", "reduce_min", "tanh",
    }
)  # fmt: skip

# Ops that add or move elements.
_ADDING = (MOVES - {"reduce_max", "reduce_min", "select", "sort", "where_used"}) | {
    "add", "addto", "cumsum", "list_addto", "negative", "reduce_sum", "scatter_add", "subtract",
}  # fmt: skip


class Minima(NamedTuple):
    """Which roots are at minima or maxima.

    Attributes
    ----------
    borders : dict of Op to list of float
        Borders of the domains of ops that their operands do not pass.
    whole : set of Op
        Those ops that have no other borders.
    gentle : set of Op
        Those of them that have no cusps.
    """

    borders: dict[Op, list[float]]
    whole: set[Op]
    gentle: set[Op]


NO_MINIMA = Minima({}, set(), set())


def minima_of(
    ops: Sequence[Op], roots: Iterable[Op], edges: dict[Value, list[Value]], moving: set[Value], active: set[Value]
) -> Minima:
    """Return which of some ops are at minima where their slope is infinite.

    Parameters
    ----------
    ops : sequence of Op
        All that may be behind the roots.
    roots : iterable of Op
        Ops with infinite slopes.
    edges : dict of Value to list of Value
        What depends on a value in any way.
    moving, active : set of Value
    """
    bounds = bounds_of(ops, edges, moving)
    at = {op: _borders(op, bounds) for op in ops if op.name in _ENDING and not moving.isdisjoint(op.operands)}
    infinite = reach(edges, [op.result for op, found in at.items() if op.name in _INFINITE and found])
    swallowed = [r for op in ops if _swallows(op, infinite) for r in op.results]
    finite = [(op.result, [order for _, order in found]) for op, found in at.items() if op.name not in _INFINITE]
    ended = reach(edges, [*swallowed, *(v for v, orders in finite if _PASSED in orders)])
    steep = reach(edges, [*swallowed, *(v for v, orders in finite if any(order < 1 for order in orders))])
    kinks, cusps = dict[Op, list[float]](), dict[Op, list[float]]()
    for op in roots:
        if op.operands[0] in ended:
            continue
        for border, order in at.get(op, ()):
            if order >= 0:
                kind = kinks if order >= 1 and op.operands[0] not in steep else cusps
                kind.setdefault(op, []).append(border)
    borders = kinks
    steeper = reach(edges, [op.result for op in cusps]) & active
    if cusps and not _meets_jumps(ops, steeper, reach(edges, _jumps(ops, bounds, moving))):
        borders = {op: kinks.get(op, []) + cusps.get(op, []) for op in (*kinks, *cusps)}
    whole = {op for op in roots if op in at and len(borders.get(op, ())) == len(at[op])}
    return Minima(borders, whole, whole - set(cusps))


def is_inside(g: Builder, made: Op, borders: list[float]) -> Value:
    """Return where the operand of a root is not at some borders of its domain."""
    if made.name not in ("arccos", "arcsin"):
        inside: Value = g.not_equal(made.result, 0.0)
        return inside
    x = made.operands[0]
    inside = g.not_equal(x, borders[0]) if len(borders) == 1 else g.not_equal(g.absolute(x), 1.0)
    return inside


def _borders(op: Op, bounds: dict[Value, Bounds]) -> list[tuple[float, float]]:
    """Return the borders of the domain of an op which its operand may reach, and the order at which the result leaves.

    Also the points where its slope is infinite. The order is less than 0 if the operand may pass there.
    """
    if is_tame(op):
        return []
    x = bounds.get(op.operands[0], ANY)
    match op.name:
        case "sqrt":
            return _border(x, 0.0, 0.5)
        case "power":
            number = constant_of(op.operands[1])
            if number is None:
                return _border(x, 0.0, 0.0) if bounds.get(op.operands[1], ANY).low < 1 or x.low < 0 else []
            if float(number).is_integer():
                return []
            return _border(x, 0.0, number) if number < 1 or x.low < 0 else []
        case "cbrt":
            if x.low < 0 and x.high <= 0:
                x = x.negative
            return [(0.0, _CROSSED)] if x.low < 0 else _border(x, 0.0, 1 / 3)
        case "arccos" | "arcsin":
            return _border(x.negative, -1.0, 0.5, 1.0) + _border(x, -1.0, 0.5)
        case "arccosh":
            return _border(x, 1.0, 0.5)
        case "log" | "log2" | "log10":
            return _border(x, 0.0, _CROSSED)
        case "log1p":
            return _border(x, -1.0, _CROSSED)
    return [(1.0, _CROSSED)]


def _border(x: Bounds, low: float, factor: float, name: float | None = None) -> list[tuple[float, float]]:
    if x.low > low:
        return []
    at = low if name is None else name
    return [(at, _PASSED if x.low < low else factor if factor < 0 else x.low_order * factor)]


def _swallows(op: Op, infinite: set[Value]) -> bool:
    """Return whether an op may be finite where an operand is infinite."""
    if op.name not in _SWALLOWING or infinite.isdisjoint(op.operands):
        return False
    if op.name == "divide":
        return op.operands[1] in infinite
    number = constant_of(op.operands[1]) if op.name == "power" else None
    return number is None or number < 0


def _meets_jumps(ops: Sequence[Op], cusps: set[Value], jumps: set[Value]) -> bool:
    """Return whether what comes of cusps may be multiplied by a jump, or chosen by one."""
    if jumps.isdisjoint(cusps):
        return False
    for op in ops:
        if op.regions:
            deciding = op.operands[0] if op.name != "while" else op.regions[0].yields[0]
            if deciding in jumps and not cusps.isdisjoint((*op.results, *op.regions[-1].args)):
                return True
        elif op.name in _ADDING and not any(v in jumps and not v.type.is_float for v in op.operands):
            continue
        elif not (jumps.isdisjoint(op.operands) or cusps.isdisjoint(op.operands)):
            return True
    return False


def _jumps(ops: Sequence[Op], bounds: dict[Value, Bounds], moving: set[Value]) -> Iterator[Value]:
    """Yield the results of ops that jump, or decide, as floats move."""
    for op in ops:
        if op.regions or moving.isdisjoint(op.operands) or op.name == "list_length":
            continue
        if op.name == "arctan2" and bounds.get(op.operands[1], ANY).low > 0:
            continue
        if op.name in JUMPS or not all(r.type.is_float for r in op.results):
            yield from op.results
