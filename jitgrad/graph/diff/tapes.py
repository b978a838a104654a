"""Tapes: what keeps a primal value from the forward program to the reverse program.

In: a primal value inside regions. Out: a `Site`, the container that holds it for each time it was computed, and the
code that writes, carries and reads containers. Which values are kept is decided in `residuals.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.frames import Nest
from jitgrad.graph.ir import Block, Op, Value
from jitgrad.graph.ops.memory import Entry, Pick, Span, load, part_shape, store
from jitgrad.graph.ops.shape import reshape_to, split_shape, zeros
from jitgrad.graph.types import INT64, ArrayType, Dim, ListType, Type

__all__ = [
    "Cursor",
    "Site",
    "anything",
    "bytes_of",
    "load_part",
    "push_all",
    "read_all",
    "size_of",
    "store_part",
    "thread",
    "thread_plain",
    "undefined",
]


@dataclass(eq=False)
class Cursor:
    """A place in tapes that are read backwards; tapes whose entries are of one size share it.

    Attributes
    ----------
    end : Value
        Where it starts: at the end of a list, or at a number of entries.
    inner : Value or None
        For a number of entries, how many there are before an iteration: an argument of the forward region.
    sizes : tuple of Dim
        Their product is the number of entries that an iteration fills.
    """

    end: Value
    inner: Value | None = None
    sizes: tuple[Dim, ...] = ()


@dataclass(eq=False)
class Site:
    """One saved value: where the forward program keeps it, and what that costs.

    Attributes
    ----------
    value : Value
    final : Value
        The container after the forward program: an array, a list, or the value itself.
    kind : str
        "plain", "indexed", "room" (an array that is filled one part after another), "list", or "numbers" (a list of
        the elements of arrays).
    loops : list of Block
        Bodies of the loops around the value, outermost first.
    counted : bool
        Whether a list is read by the iteration's index instead of a cursor.
    outermost : Op
        The op without home inside which the value lies; costs are compared for each of these.
    cost : float
        Static estimate of the bytes kept.
    cursor : Cursor or None
        What says where the tape is read, unless the iterations' indices do.
    """

    value: Value
    final: Value
    kind: str
    loops: list[Block]
    counted: bool
    outermost: Op
    cost: float
    cursor: Cursor | None = None


# What is assumed of sizes and trip counts that are not known.
_GUESS = 10.0


def bytes_of(type: Type, trips: Sequence[Dim | None]) -> float:
    """Return a static guess of the bytes of the values of a type that loops of some trip counts compute."""
    if isinstance(type, ListType):
        return _GUESS * bytes_of(type.element, trips)
    return type.dtype.itemsize * math.prod(float(d) if isinstance(d, int) else _GUESS for d in (*type.shape, *trips))


def thread(
    nest: Nest,
    chain: list[tuple[Op, Block]],
    first: Value,
    place: AbstractContextManager[Builder],
    update: Callable[[Builder, Value], Value],
) -> tuple[Value, Value]:
    """Carry a container through the forward regions of `chain`, updated at a place in the innermost.

    Return what it is there before the update, and what it is in the end.
    """
    incoming = [first]
    for op, region in chain:
        container = incoming[-1]
        if op.name != "if":
            op.operands.append(container)
            args = {r: nest.add_arg(r, first.type) for r in op.regions}
            container = args[region]
        incoming.append(container)
    with place as g:
        container = update(g, incoming[-1])
    for (op, region), outer in zip(reversed(chain), reversed(incoming[:-1]), strict=True):
        if op.name == "if":
            for r in op.regions:
                r.yields.append(container if r is region else outer)
        else:
            region.yields.append(container)
        container = nest.add_result(op, first.type)
    return incoming[-1], container


def thread_plain(nest: Nest, chain: list[tuple[Op, Block]], value: Value) -> Value:
    """Hand a value of a branch outside of loops on as results; other branches give no particular value."""
    current = value
    for op, region in reversed(chain):
        for r in op.regions:
            if r is region:
                r.yields.append(current)
                continue
            with nest.insert(r, None, True, op.location) as g:
                r.yields.append(anything(g, value.type))
        current = nest.add_result(op, value.type)
    return current


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


def _part(g: Builder, at: Value, shape: tuple[Dim, ...], flat: int) -> list[Entry]:
    first: Entry = Span(at, 1, _dim(g, shape[:flat])) if flat else Pick(at)
    return [first, *(Span(0, 1, d) for d in shape[flat:])]


def _dim(g: Builder, shape: tuple[Dim, ...]) -> Dim:
    return shape[0] if len(shape) == 1 else size_of(g, shape)


def store_part(g: Builder, tape: Value, cursor: Cursor, array: Value) -> Value:
    """Write an array to where a cursor is in a tape, its leading dimensions as one."""
    assert cursor.inner is not None
    flat = len(cursor.sizes)
    index = _part(g, cursor.inner, array.shape, flat)
    return store(g, tape, reshape_to(g, array, part_shape(index)), index)


def load_part(g: Builder, tape: Value, at: Value, shape: tuple[Dim, ...], flat: int) -> Value:
    """Read an array that `store_part` wrote with `flat` leading dimensions as one."""
    return reshape_to(g, load(g, tape, _part(g, at, shape, flat)), shape)


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
