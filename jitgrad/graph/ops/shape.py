"""Ops that move or copy elements without computing: broadcast, reshape, transpose, surround, concatenate, iota.

Shapes in attributes are tuples in which None stands for an int64 operand, taken in order: `split_shape` makes both.
A `concatenate` of parts with run-time sizes has the size of its result, along the axis, as such a shape.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.ops.index import Entry, Span, load
from jitgrad.graph.primitive import Linear, NoGradient, primitive
from jitgrad.graph.types import ArrayType, Dim, GraphTypeError, Type, broadcast_shapes

__all__ = [
    "broadcast_to", "filled", "join", "join_shape", "move_axes", "reshape_to", "split_shape", "surround_by",
    "unbroadcast", "zeros", "zeros_like",
]  # fmt: skip


def split_shape(shape: Sequence[Dim]) -> tuple[tuple[int | None, ...], list[Value]]:
    """Return a shape as an attribute (None for run-time dimensions) and the operands that fill it."""
    return tuple(d if isinstance(d, int) else None for d in shape), [d for d in shape if not isinstance(d, int)]


def join_shape(attr: Sequence[int | None], operands: Sequence[Any]) -> tuple[Any, ...]:
    """Return the shape that `split_shape` split; also serves the interpreter, whose operands are NumPy integers."""
    rest = iter(operands)
    return tuple(next(rest) if d is None else d for d in attr)


def broadcast_to(g: Builder, x: Value, shape: Sequence[Dim]) -> Value:
    """Return x broadcast to a shape; x itself where it has it."""
    if x.shape == tuple(shape):
        return x
    attr, dims = split_shape(shape)
    return g.broadcast(x, *dims, shape=attr)


def reshape_to(g: Builder, x: Value, shape: Sequence[Dim]) -> Value:
    """Return x with another shape of the same size, in C order; x itself where it has it."""
    if x.shape == tuple(shape):
        return x
    attr, dims = split_shape(shape)
    return g.reshape(x, *dims, shape=attr)


def move_axes(g: Builder, x: Value, permutation: Sequence[int]) -> Value:
    """Return x transposed so that axis k of the result is axis permutation[k] of x."""
    if tuple(permutation) == tuple(range(len(permutation))):
        return x
    return g.transpose(x, permutation=tuple(permutation))


def surround_by(g: Builder, x: Value, start: Sequence[int], shape: Sequence[Dim]) -> Value:
    """Return an array of a shape that is x from `start` on and -0.0 elsewhere: to add it there changes nothing."""
    attr, dims = split_shape(shape)
    return g.surround(x, *dims, start=tuple(start), shape=attr)


def filled(g: Builder, type: Type, value: float | int | bool) -> Value:
    """Return an array of a type with every element equal."""
    assert isinstance(type, ArrayType)
    return broadcast_to(g, g.constant(value, type.dtype), type.shape)


def zeros(g: Builder, type: Type) -> Value:
    """Return zeros of an array type, or of a list type of length 0."""
    if not isinstance(type, ArrayType):
        return g.list_empty(type=type)
    return filled(g, type, 0)


def zeros_like(g: Builder, x: Value) -> Value:
    """Return zeros with the shape and dtype of x; its contents are not used."""
    return zeros(g, x.type)


def unbroadcast(g: Builder, ct: Value, shape: Sequence[Dim], reduction: str = "reduce_sum") -> Value:
    """Return the transpose of broadcasting to `ct`'s shape: ct summed (or reduced otherwise) down to `shape`."""
    lead = len(ct.shape) - len(shape)
    axes = list(range(lead))
    for axis, dim in enumerate(shape):
        if isinstance(dim, int) and dim == 1 and ct.shape[lead + axis] != 1:
            axes.append(lead + axis)
    if axes:
        ct = g.emit(reduction, [ct], {"axes": tuple(axes)}).result
    return reshape_to(g, ct, shape)


def _broadcast_rule(attrs: dict[str, Any], x: Value, *dims: Value) -> list[Type]:
    shape = join_shape(attrs["shape"], dims)
    if broadcast_shapes(x.shape, shape) != shape:
        raise GraphTypeError(f"cannot broadcast {x.type} to {shape}")
    return [x.array.with_shape(shape)]


def _reshape_rule(attrs: dict[str, Any], x: Value, *dims: Value) -> list[Type]:
    shape = join_shape(attrs["shape"], dims)
    made = x.array.with_shape(shape)
    if made.is_static and x.array.is_static and math.prod(shape) != math.prod(x.shape):  # type: ignore[arg-type]
        raise GraphTypeError(f"cannot reshape {x.type} to {shape}")
    return [made]


def _transpose_rule(attrs: dict[str, Any], x: Value) -> list[Type]:
    permutation = attrs["permutation"]
    if sorted(permutation) != list(range(x.array.rank)):
        raise GraphTypeError(f"{permutation} does not permute the axes of {x.type}")
    return [x.array.with_shape(tuple(x.shape[p] for p in permutation))]


def _concatenate_rule(attrs: dict[str, Any], *operands: Value) -> list[Type]:
    axis: int = attrs["axis"]
    xs, dims = _parts(attrs, operands)
    first = xs[0].array
    known = 0
    for x in xs:
        other = x.array.shape[:axis] + x.array.shape[axis + 1 :]
        if x.array.dtype != first.dtype or other != first.shape[:axis] + first.shape[axis + 1 :]:
            raise GraphTypeError(f"cannot concatenate {first} and {x.type} along axis {axis}")
        dim = x.shape[axis]
        if isinstance(dim, int):
            known += dim
        elif "shape" not in attrs:
            raise GraphTypeError("concatenate along a run-time dimension needs the size of its result")
    (length,) = join_shape(attrs["shape"], dims) if "shape" in attrs else (known,)
    return [first.with_shape((*first.shape[:axis], length, *first.shape[axis + 1 :]))]


def _parts(attrs: dict[str, Any], operands: Sequence[Any]) -> tuple[Sequence[Any], Sequence[Any]]:
    """Return what a concatenate joins, and the run-time size of its result if that has one."""
    count = len(operands) - sum(d is None for d in attrs.get("shape", ()))
    return operands[:count], operands[count:]


def join(g: Builder, xs: Sequence[Value], axis: int, length: Dim) -> Value:
    """Return arrays joined along an axis, on which their sizes add up to `length`."""
    if len(xs) == 1:
        return xs[0]
    if all(isinstance(x.shape[axis], int) for x in xs):
        return g.concatenate(*xs, axis=axis)
    attr, dims = split_shape((length,))
    return g.concatenate(*xs, *dims, axis=axis, shape=attr)


def _transpose_concatenate(g: Builder, i: int, ct: Value, op: Op) -> Value:
    axis = op.attrs["axis"]
    start: Dim = 0
    for v in op.operands[:i]:
        d = v.shape[axis]
        if isinstance(start, int) and isinstance(d, int):
            start += d
        else:
            start = g.add(*(x if isinstance(x, Value) else g.constant(x, np.int64) for x in (start, d)))
    index: list[Entry] = [Span(0, 1, d) for d in ct.shape]
    index[axis] = Span(start, 1, op.operands[i].shape[axis])
    return load(g, ct, index)


def _inside(op: Op) -> list[Entry]:
    return [Span(s, 1, d) for s, d in zip(op.attrs["start"], op.operands[0].shape, strict=True)]


def _surround_rule(attrs: dict[str, Any], x: Value, *dims: Value) -> list[Type]:
    made = x.array.with_shape(join_shape(attrs["shape"], dims))
    if not made.is_float or made.rank != x.array.rank:
        raise GraphTypeError("surround: floats of a shape of the same rank")
    for start, n, whole in zip(attrs["start"], x.shape, made.shape, strict=True):
        if start < 0 or (isinstance(n, int) and isinstance(whole, int) and start + n > whole):
            raise GraphTypeError("surround: the array leaves the shape")
    return [made]


def _surround(attrs: dict[str, Any], x: np.ndarray, *dims: Any) -> np.ndarray:
    made = np.full(join_shape(attrs["shape"], dims), -0.0, x.dtype)
    made[tuple(slice(s, s + n) for s, n in zip(attrs["start"], x.shape, strict=True))] = x
    return made


def _inverse(permutation: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(k) for k in np.argsort(permutation))


broadcast = primitive(
    "broadcast",
    type_rule=_broadcast_rule,
    evaluate=lambda attrs, x, *dims: np.broadcast_to(x, join_shape(attrs["shape"], dims)),
    derivative=Linear(lambda g, i, ct, op: unbroadcast(g, ct, op.operands[0].shape), operands=(0,), moves=True),
)
reshape = primitive(
    "reshape",
    type_rule=_reshape_rule,
    evaluate=lambda attrs, x, *dims: np.reshape(x, join_shape(attrs["shape"], dims)),
    derivative=Linear(lambda g, i, ct, op: reshape_to(g, ct, op.operands[0].shape), operands=(0,), moves=True),
)
transpose = primitive(
    "transpose",
    type_rule=_transpose_rule,
    evaluate=lambda attrs, x: np.transpose(x, attrs["permutation"]),
    derivative=Linear(lambda g, i, ct, op: g.transpose(ct, permutation=_inverse(op.attrs["permutation"])), moves=True),
)
relayout = primitive(
    "relayout",
    type_rule=lambda attrs, x: [x.array.with_shape((*x.shape[attrs["split"] :], *x.shape[: attrs["split"]]))],
    evaluate=lambda attrs, x: np.ascontiguousarray(np.moveaxis(x, range(attrs["split"]), range(-attrs["split"], 0))),
    derivative=Linear(lambda g, i, ct, op: g.relayout(ct, split=op.result.array.rank - op.attrs["split"]), moves=True),
)
surround = primitive(
    "surround",
    type_rule=_surround_rule,
    evaluate=_surround,
    derivative=Linear(lambda g, i, ct, op: load(g, ct, _inside(op)), operands=(0,), moves=True),
)
concatenate = primitive(
    "concatenate",
    type_rule=_concatenate_rule,
    evaluate=lambda attrs, *xs: np.concatenate(_parts(attrs, xs)[0], axis=attrs["axis"]),
    derivative=Linear(_transpose_concatenate, moves=True),
)
iota = primitive(
    "iota",
    type_rule=lambda attrs, *dims: [ArrayType(np.dtype(attrs["dtype"]), join_shape(attrs["shape"], dims))],
    evaluate=lambda attrs, *dims: np.arange(*join_shape(attrs["shape"], dims), dtype=attrs["dtype"]),
    derivative=NoGradient("iota depends on no value"),
)
undef = primitive(
    "undef",
    type_rule=lambda attrs, *dims: [ArrayType(np.dtype(attrs["dtype"]), join_shape(attrs["shape"], dims))],
    evaluate=lambda attrs, *dims: np.zeros(join_shape(attrs["shape"], dims), attrs["dtype"]),
    derivative=NoGradient("an undefined value"),
)
