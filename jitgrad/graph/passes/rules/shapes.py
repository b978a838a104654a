"""Rules of ops that only move elements: each chain becomes one op, and what does nothing goes.

A scalar broadcast to any shape is the canonical form of an array of equal elements, which other rules look for.
"""

from __future__ import annotations

from jitgrad.graph.ir import Op, Value
from jitgrad.graph.ops.shape import broadcast_to, move_axes, reshape_to
from jitgrad.graph.passes.rules.context import Context, Rule, made_by

__all__ = ["RULES", "scalar_within"]

# Numbers of the largest matrix that is put together at once.
_SMALL = 16


def scalar_within(value: Value) -> Value | None:
    """Return the scalar that was broadcast to make a value."""
    op = made_by(value, "broadcast")
    if op is None or op.operands[0].array.rank:
        return None
    return op.operands[0]


def _transpose(r: Context, op: Op) -> Value | None:
    (x,) = op.operands
    permutation = op.attrs["permutation"]
    if tuple(permutation) == tuple(range(len(permutation))):
        return x
    inner = made_by(x, "transpose")
    if inner is not None:
        first = inner.attrs["permutation"]
        return move_axes(r.g, inner.operands[0], tuple(first[p] for p in permutation))
    scalar = scalar_within(x)
    return None if scalar is None else broadcast_to(r.g, scalar, op.results[0].shape)


def _reshape(r: Context, op: Op) -> Value | None:
    x = op.operands[0]
    result = op.results[0]
    if x.type == result.type:
        return x
    inner = made_by(x, "reshape")
    if inner is not None:
        return reshape_to(r.g, inner.operands[0], result.shape)
    scalar = scalar_within(x)
    return None if scalar is None else broadcast_to(r.g, scalar, result.shape)


def _broadcast(r: Context, op: Op) -> Value | None:
    x = op.operands[0]
    result = op.results[0]
    if x.type == result.type:
        return x
    inner = made_by(x, "broadcast")
    if inner is None:
        inner = made_by(x, "reshape")
        if inner is None or inner.operands[0].array.rank:
            return None
    return broadcast_to(r.g, inner.operands[0], result.shape)


def _concatenate(r: Context, op: Op) -> Value | None:
    if "shape" in op.attrs:
        return None
    if len(op.operands) == 1:
        return op.operands[0]
    axis = op.attrs["axis"]
    full = [v for v in op.operands if v.shape[axis] != 0]
    if full and len(full) < len(op.operands):
        return r.g.emit("concatenate", full, op.attrs).result
    numbers = _numbers_of_rows(op)
    if numbers:
        return reshape_to(r.g, r.g.emit("concatenate", numbers, op.attrs).result, op.results[0].shape)
    return None


def _numbers_of_rows(op: Op) -> list[Value]:
    """Return the numbers that the rows of a small matrix are put together from, which is one row of them all."""
    found: list[Value] = []
    for v in op.operands:
        row = made_by(v, "reshape")
        inner = None if row is None else made_by(row.operands[0], "concatenate")
        if op.attrs["axis"] or inner is None or v.shape[0] != 1 or any(x.shape != (1,) for x in inner.operands):
            return []
        found += inner.operands
    return found if len(found) <= _SMALL else []


def _reduce(r: Context, op: Op) -> Value | None:
    """A reduction over no axes."""
    x = op.operands[0]
    return x if not op.attrs["axes"] and x.type == op.results[0].type else None


RULES: dict[str, Rule] = {
    "broadcast": _broadcast,
    "concatenate": _concatenate,
    "reduce_max": _reduce,
    "reduce_min": _reduce,
    "reduce_prod": _reduce,
    "reduce_sum": _reduce,
    "reshape": _reshape,
    "transpose": _transpose,
}
