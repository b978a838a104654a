"""Rules of logic, comparisons, `select` and `cast`.

A negated comparison of floats is none: `not (x < y)` holds for NaN. `==` and `!=` are each other's negation always.
"""

from __future__ import annotations

import numpy as np

from jitgrad.graph.ir import Op, Value
from jitgrad.graph.passes.rules.context import Context, Rule, made_by
from jitgrad.graph.passes.rules.marks import marked

__all__ = ["RULES"]

_NEGATED = {
    "equal": "not_equal",
    "not_equal": "equal",
    "less": "greater_equal",
    "greater_equal": "less",
    "greater": "less_equal",
    "less_equal": "greater",
}


def _are_bools(op: Op) -> bool:
    return all(v.array.dtype == np.bool_ for v in op.operands)


def _not(r: Context, op: Op) -> Value | None:
    (x,) = op.operands
    if not _are_bools(op):
        return None
    inner = x.op
    if inner is None:
        return None
    if inner.name == "logical_not" and _are_bools(inner):
        return inner.operands[0]
    exact = inner.name in ("equal", "not_equal")
    exact |= inner.name in _NEGATED and inner.operands[0].array.dtype.kind in "iub"
    if exact and r.once(x):
        return r.g.emit(_NEGATED[inner.name], inner.operands).result
    return None


def _and_or(r: Context, op: Op) -> Value | None:
    if not _are_bools(op):
        return None
    type = op.results[0].type
    # The number that decides the result alone: False for and, True for or.
    decides = op.name == "logical_or"
    for x, y in (op.operands, op.operands[::-1]):
        number = r.splat(y)
        if number is not None:
            return r.fit(y if bool(number) == decides else x, type)
        negated = made_by(y, "logical_not")
        if negated is not None and negated.operands[0] is x:
            return r.fit(r.g.constant(decides, np.bool_), type)
    x, y = op.operands
    return x if x is y else None


def _compare_with_itself(r: Context, op: Op) -> Value | None:
    x, y = op.operands
    if x is not y or x.array.dtype.kind not in "iub":
        return None
    return r.fit(r.g.constant(op.name in ("equal", "less_equal", "greater_equal"), np.bool_), op.results[0].type)


def _select(r: Context, op: Op) -> Value | None:
    mask, x, y = op.operands
    type = op.results[0].type
    known = r.splat(mask)
    if known is not None:
        return r.fit(x if known else y, type)
    if x is y or r.same_literal(x, y):
        return r.fit(x, type)
    negated = made_by(mask, "logical_not")
    if negated is not None and _are_bools(negated):
        return r.g.select(negated.operands[0], y, x)
    # In an arm, the same mask is known. The arm that goes may have been the one that gave the shape.
    inner = made_by(x, "select")
    if inner is not None and inner.operands[0] is mask:
        return r.fit(r.g.select(mask, inner.operands[1], y), type)
    inner = made_by(y, "select")
    if inner is not None and inner.operands[0] is mask:
        return r.fit(r.g.select(mask, x, inner.operands[2]), type)
    found = marked(r, op)
    if found is not None:
        return r.fit(found, type)
    if x.array.dtype == np.bool_ and mask.type == type:
        arms = r.splat(x), r.splat(y)
        if None not in arms and arms[0] != arms[1]:
            return mask if arms[0] else r.g.logical_not(mask)
    return None


def _cast(r: Context, op: Op) -> Value | None:
    (x,) = op.operands
    if x.type == op.results[0].type:
        return x
    inner = made_by(x, "cast")
    if inner is None:
        return None
    start, middle, end = inner.operands[0].array.dtype, x.array.dtype, op.results[0].array.dtype
    if not _keeps_all(start, middle) or not _defined(start, middle, end):
        return None
    if start == end:
        return inner.operands[0]
    return r.g.cast(inner.operands[0], dtype=end)


def _keeps_all(start: np.dtype, middle: np.dtype) -> bool:
    """Whether a cast keeps every value, so that casting on from it is casting on from the start.

    NumPy calls int64 to float64 safe, which it is not.
    """
    if start.kind in "iu" and middle.kind in "fc":
        digits = np.finfo(middle).nmant + 1
        return start.itemsize * 8 <= digits
    # A bool is asked whether it is 0 at the end, and casting to bool in the middle keeps nothing else.
    return np.can_cast(start, middle, "safe")


def _defined(start: np.dtype, middle: np.dtype, end: np.dtype) -> bool:
    """Whether the last cast gives every value that may come a specified result: a float out of an integer's range
    gives some number, which need not be the same from another dtype."""
    if end.kind not in "iu" or middle.kind not in "fc":
        return True
    return start.kind in "iub" and np.can_cast(start, end, "safe")


RULES: dict[str, Rule] = {
    "cast": _cast,
    "equal": _compare_with_itself,
    "greater": _compare_with_itself,
    "greater_equal": _compare_with_itself,
    "less": _compare_with_itself,
    "less_equal": _compare_with_itself,
    "logical_and": _and_or,
    "logical_not": _not,
    "logical_or": _and_or,
    "not_equal": _compare_with_itself,
    "select": _select,
}
