"""Tapes: what keeps a primal value from the forward program to the reverse program.

In: a primal value inside regions. Out: a `Site`, the container that holds it for each time it was computed, and the
code that writes and reads containers. Which values are kept is decided in `residuals.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Op, Value
from jitgrad.graph.ops.memory import Pick, load, store
from jitgrad.graph.ops.shape import reshape_to, split_shape, zeros
from jitgrad.graph.types import INT64, ArrayType, Dim, ListType, Type

__all__ = ["Site", "anything", "bytes_of", "push_all", "read_all", "size_of", "undefined"]


@dataclass(eq=False)
class Site:
    """One saved value: where the forward program keeps it, and what that costs.

    Attributes
    ----------
    value : Value
    final : Value
        The container after the forward program: an array, a list, or the value itself.
    kind : str
        "plain", "indexed", "list", or "numbers" (a list of the elements of arrays).
    loops : list of Block
        Bodies of the loops around the value, outermost first.
    counted : bool
        Whether a list is read by the iteration's index instead of a cursor.
    outermost : Op
        The op without home inside which the value lies; costs are compared for each of these.
    cost : float
        Static estimate of the bytes kept.
    """

    value: Value
    final: Value
    kind: str
    loops: list[Block]
    counted: bool
    outermost: Op
    cost: float


# What is assumed of sizes and trip counts that are not known.
_GUESS = 10.0


def bytes_of(type: Type, trips: Sequence[Dim | None]) -> float:
    """Return a static guess of the bytes of the values of a type that loops of some trip counts compute."""
    if isinstance(type, ListType):
        return _GUESS * bytes_of(type.element, trips)
    return type.dtype.itemsize * math.prod(float(d) if isinstance(d, int) else _GUESS for d in (*type.shape, *trips))


def undefined(g: Builder, type: ArrayType) -> Value:
    """Return an array that nobody reads before it is written."""
    attr, dims = split_shape(type.shape)
    return g.undef(*dims, shape=attr, dtype=type.dtype.name)


def anything(g: Builder, type: Type) -> Value:
    """Return some value of a type."""
    if not isinstance(type, ArrayType):
        return g.list_empty(type=type)
    return undefined(g, type) if type.shape else zeros(g, type)


def size_of(g: Builder, shape: tuple[Dim, ...]) -> Value:
    """Return the product of dimensions as an int64 value."""
    static = 1
    product: Value | None = None
    for d in shape:
        if isinstance(d, int):
            static *= d
        else:
            product = d if product is None else g.multiply(product, d)
    if product is None:
        return g.constant(np.int64(static))
    return product if static == 1 else g.multiply(product, g.constant(np.int64(static)))


def push_all(g: Builder, tape: Value, array: Value) -> Value:
    """Push the elements of an array one by one, in C order."""
    size = size_of(g, array.shape)
    flat = reshape_to(g, array, (size,))
    with g.region([INT64, tape.type], ["k", "tape"]) as body:
        k, inner = body.args
        body.yields = [g.list_push(inner, load(g, flat, [Pick(k)]))]
    return g.emit("for", [size, tape], regions=[body]).result


def read_all(g: Builder, tape: Value, start: Value, type: ArrayType) -> Value:
    """Read an array back that `push_all` pushed."""
    size = size_of(g, type.shape)
    buffer = undefined(g, type.with_shape((size,)))
    with g.region([INT64, buffer.type], ["k", "buffer"]) as body:
        k, inner = body.args
        body.yields = [store(g, inner, g.list_get(tape, g.add(start, k)), [Pick(k)])]
    filled = g.emit("for", [size, buffer], regions=[body]).result
    return reshape_to(g, filled, type.shape)
