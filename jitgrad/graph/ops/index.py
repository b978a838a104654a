"""How a part of an array is named, and the builders of the ops that read and write one.

In: one entry an axis, `Pick(at)` (drops the axis) or `Span(start, step, length)` (keeps it), whose numbers are Python
ints or int64 values. Out: the attribute `index` of `load`, `store` and `addto` (None in an entry stands for an int64
operand, in order), or those ops, built. The primitives themselves are declared in `memory.py`; this room lies below all
that move elements, and knows neither types nor derivatives.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.types import INT64, Dim, GraphTypeError

__all__ = [
    "Entry", "Pick", "Span", "add_to", "checked_index", "flip", "index_of", "join_index", "load", "part_shape",
    "slices", "split_index", "store",
]  # fmt: skip


class Pick(NamedTuple):
    """Take one position of an axis and drop the axis."""

    at: int | Value | None


class Span(NamedTuple):
    """Take `length` positions start, start + step, ... of an axis."""

    start: int | Value | None
    step: int | Value | None
    length: int | Value | None


Entry: TypeAlias = Pick | Span

# Where the numbers of an index begin among the operands of an op.
_FIRST = {"load": 1, "store": 2, "addto": 2, "matmul_into": 3}


def split_index(index: Sequence[Entry]) -> tuple[tuple[Entry, ...], list[Value]]:
    """Return an index as an attribute (None for run-time numbers) and the operands that fill it."""
    attr = tuple([type(e)(*[None if isinstance(x, Value) else x for x in e]) for e in index])
    return attr, [x for e in index for x in e if isinstance(x, Value)]


def join_index(attr: Sequence[Entry], operands: Sequence[Any]) -> tuple[Any, ...]:
    """Return the index that `split_index` split; also serves the interpreter, whose operands are NumPy integers."""
    if not operands:
        return tuple(attr)
    rest: Iterator[Any] = iter(operands)
    made: list[Any] = []
    for e in attr:
        if type(e) is Pick:
            made.append(Pick(next(rest)) if e.at is None else e)
        elif None in e:
            made.append(type(e)(*[next(rest) if x is None else x for x in e]))
        else:
            made.append(e)
    return tuple(made)


def index_of(op: Op) -> tuple[Entry, ...]:
    """Return the index of a load, store, addto or matmul_into with its operands in place."""
    return join_index(op.attrs["index"], op.operands[_FIRST[op.name] :])


def slices(attr: Sequence[Entry], ints: Sequence[Any]) -> tuple[Any, ...]:
    """Return an index as NumPy takes it."""
    made: list[Any] = []
    for e in join_index(attr, ints):
        if isinstance(e, Pick):
            made.append(int(e.at))  # type: ignore[arg-type]
            continue
        start, step, length = (int(x) for x in e)
        stop = start + step * length
        made.append(slice(0, 0) if length == 0 else slice(start, stop if stop >= 0 else None, step))
    return tuple(made)


def checked_index(attrs: dict[str, Any], a: Value, ints: Sequence[Value]) -> tuple[Entry, ...]:
    """Return the index that an op on an array is made with, if it fits."""
    if len(attrs["index"]) != a.array.rank or any(v.type != INT64 for v in ints):
        raise GraphTypeError(f"index {attrs['index']} does not fit {a.type}")
    return join_index(attrs["index"], ints)


def part_shape(index: Sequence[Entry]) -> tuple[Dim, ...]:
    """Return the shape of the part that an index names."""
    return tuple(e.length for e in index if isinstance(e, Span) and e.length is not None)


def load(g: Builder, a: Value, index: Sequence[Entry]) -> Value:
    """Return the part of a that an index (with values in place) names; a itself for the whole."""
    if all(
        isinstance(e, Span) and e.start == 0 and e.step == 1 and e.length == d
        for e, d in zip(index, a.shape, strict=True)
    ):
        return a
    attr, ints = split_index(index)
    return g.emit("load", [a, *ints], {"index": attr}).result


def store(g: Builder, a: Value, v: Value, index: Sequence[Entry]) -> Value:
    """Return a with the part that an index names replaced by v."""
    attr, ints = split_index(index)
    return g.emit("store", [a, v, *ints], {"index": attr}).result


def add_to(g: Builder, a: Value, v: Value, index: Sequence[Entry]) -> Value:
    """Return a with v added to the part that an index names."""
    attr, ints = split_index(index)
    return g.emit("addto", [a, v, *ints], {"index": attr}).result


def flip(g: Builder, x: Value, axis: int) -> Value:
    """Return x with an axis reversed."""
    index: list[Entry] = [Span(0, 1, d) for d in x.shape]
    size = x.shape[axis]
    last = max(size - 1, 0) if isinstance(size, int) else g.subtract(size, g.constant(1, np.int64))
    index[axis] = Span(last, -1, size)
    return load(g, x, index)
