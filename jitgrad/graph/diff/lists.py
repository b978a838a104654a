"""Derivatives of list ops, in both modes; the cotangent (tangent) of a list is a list of the same length.

In: a list op with cotangents or tangents. Out: those of its operands or results. The rules are closed: they use list
ops only, so tapes can be differentiated again. Push and pop are each other's adjoints, as are get and addto.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.ops.shape import filled, reshape_to, zeros
from jitgrad.graph.types import INT64, ArrayType, ListType

__all__ = ["LIST_OPS", "add_lists", "jvp_list", "reshape_elements", "vjp_list", "zero_list"]

LIST_OPS = frozenset({
    "list_addto", "list_empty", "list_from_array", "list_get", "list_length", "list_pop", "list_push", "list_set",
    "list_to_array", "list_zeros",
})  # fmt: skip


def _element(items: Value) -> ArrayType:
    assert isinstance(items.type, ListType)
    return items.type.element


def zero_list(g: Builder, type: ListType, length: Value, zero: float = 0.0) -> Value:
    """Return a list of `length` zeros of the element type, with the sign of `zero`."""
    first = g.list_empty(type=type)
    with g.region([INT64, type], ["k", "zeros"]) as body:
        body.yields = [g.list_push(body.args[1], filled(g, type.element, zero))]
    return g.emit("for", [length, first], regions=[body]).result


def add_lists(g: Builder, x: Value, y: Value) -> Value:
    """Return the list of sums of two lists of one length."""
    with g.region([INT64, x.type], ["k", "sum"]) as body:
        k, total = body.args
        body.yields = [g.list_addto(total, k, g.list_get(y, k))]
    return g.emit("for", [g.list_length(x), x], regions=[body]).result


def reshape_elements(g: Builder, items: Value, element: ArrayType) -> Value:
    """Return a list of the same elements with another shape."""
    first = g.list_empty(type=ListType(element))
    with g.region([INT64, first.type], ["k", "reshaped"]) as body:
        k, made = body.args
        body.yields = [g.list_push(made, reshape_to(g, g.list_get(items, k), element.shape))]
    return g.emit("for", [g.list_length(items), first], regions=[body]).result


def vjp_list(
    g: Builder,
    op: Op,
    ct: Value,
    i: int,
    get: Callable[[Value], Value],
    zeros_for: Callable[[Value], Value],
    zero: float = 0.0,
) -> Value:
    """Return the cotangent of operand i of a list op.

    Parameters
    ----------
    g : Builder
    op : Op
        An op of the primal.
    ct : Value
        Cotangent of its result.
    i : int
    get : callable
        Makes a primal value available.
    zeros_for : callable
        Returns zeros of the type (and the length) of a primal value.
    zero : float
        What elements get that did not reach the result: -0.0 in marked cotangents.
    """
    operand = op.operands[i]
    if op.name == "list_push":
        last = g.subtract(g.list_length(ct), g.constant(np.int64(1)))
        return g.list_get(ct, last) if i == 1 else g.list_pop(ct)
    if op.name == "list_pop":
        # The last element did not reach the result; the operand tells its shape alone.
        return g.list_push(ct, filled(g, _element(ct), zero))
    if op.name == "list_get":
        return g.list_addto(zeros_for(operand), get(op.operands[1]), ct)
    if op.name == "list_set":
        position = get(op.operands[1])
        return g.list_get(ct, position) if i == 2 else g.list_set(ct, position, filled(g, _element(ct), zero))
    if op.name == "list_addto":
        return g.list_get(ct, get(op.operands[1])) if i == 2 else ct
    if op.name == "list_to_array":
        return g.list_from_array(ct)
    assert op.name == "list_from_array", op
    shape = operand.shape
    length = g.constant(np.int64(shape[0])) if isinstance(shape[0], int) else get(shape[0])
    made = g.list_to_array(ct, length)
    return reshape_to(g, made, tuple(d if isinstance(d, int) else get(d) for d in shape))


def jvp_list(g: Builder, op: Op, tangents: Sequence[Value | None], operands: Sequence[Value]) -> Value | None:
    """Return the tangent of the result of a list op, None where it is zero.

    Parameters
    ----------
    g : Builder
    op : Op
    tangents : sequence of Value or None
        One an operand; None for zero.
    operands : sequence of Value
        The operands, as they are called where the tangent is built.
    """
    if all(t is None for t in tangents) or not op.result.type.is_float:
        return None
    items = tangents[0]
    if op.name in ("list_push", "list_set", "list_addto"):
        v = tangents[-1]
        if items is None:
            items = g.list_zeros(operands[0])
        if v is None:
            if op.name == "list_addto":
                return items
            v = zeros(g, operands[-1].type)
        return g.emit(op.name, [items, *operands[1:-1], v]).result
    assert items is not None
    if op.name == "list_zeros":
        return None
    return g.emit(op.name, [items, *operands[1:]], op.attrs).result
