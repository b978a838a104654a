"""Rules of marked cotangents, in which -0.0 stands for what was not used (`diff/marks.py`).

In: a `select` that marks. Out: the same bits from fewer ops, or nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.graph.ir import Op, Value
from jitgrad.graph.passes.rules.context import Context, made_by

__all__ = ["marked"]


def marked(r: Context, op: Op) -> Value | None:
    """Return what `-0.0 where something is not used, else a number` is."""
    mask, x, y = op.operands
    if _is_zero(r.splat(x), negative=True):
        return _put_back(r, mask, y)
    if _is_zero(r.splat(y), negative=True):
        return _sum_of_used(r, mask, x)
    return None


def _is_zero(number: Any, negative: bool) -> bool:
    return number is not None and number == 0 and bool(np.signbit(number)) == negative


def _put_back(r: Context, mask: Value, y: Value) -> Value | None:
    """`-0.0 if v is -0.0 else v + 0.0`: a cotangent read and put back where nothing was done to it is v, bit by bit."""
    asked = made_by(mask, "is_negative_zero")
    if asked is None:
        return None
    (v,) = asked.operands
    if y is v:
        return v
    added = made_by(y, "add")
    if added is not None:
        for u, number in zip(added.operands, map(r.splat, added.operands[::-1]), strict=True):
            if u is v and number is not None and number == 0:
                return v
    return None


def _sum_of_used(r: Context, mask: Value, x: Value) -> Value | None:
    """`sum(v where m) + 0.0 if any(m) else -0.0`: the sum, from -0.0 on, of `v + 0.0 where m else -0.0`.

    A sum of which one term is not -0.0 is not -0.0 either.
    """
    any_used, added = made_by(mask, "reduce_or"), made_by(x, "add")
    if any_used is None or added is None or not r.once(x) or not _is_zero(r.splat(added.operands[1]), negative=False):
        return None
    summed = made_by(added.operands[0], "reduce_sum")
    if summed is None or summed.attrs["axes"] != any_used.attrs["axes"] or not r.once(added.operands[0]):
        return None
    chosen = made_by(summed.operands[0], "select")
    used = any_used.operands[0]
    if chosen is None or chosen.result.shape != used.shape:
        return None
    unused = made_by(used, "logical_not")
    mask, x, y = chosen.operands
    if mask is used and _is_zero(r.splat(y), negative=False):
        term = r.g.select(mask, *_told_apart(r, x))
    elif unused is not None and mask is unused.operands[0] and _is_zero(r.splat(x), negative=False):
        term = r.g.select(mask, *_told_apart(r, y)[::-1])
    else:
        return None
    made: Value = r.g.reduce_marked(term, axes=summed.attrs["axes"])
    return made


def _told_apart(r: Context, x: Value) -> tuple[Value, Value]:
    """Return a number as what is used, and what is not."""
    dtype = x.array.dtype
    return r.g.add(x, r.g.constant(0.0, dtype)), r.g.constant(-0.0, dtype)
