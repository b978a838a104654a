"""Reductions along axes. Attr `axes` is a sorted tuple of axes that the result drops; keepdims is a reshape after it.

The result has the operand's dtype: whoever builds the graph casts first where NumPy sums in a wider type.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.ops.shape import broadcast_to, reshape_to
from jitgrad.graph.primitive import Derivative, Linear, NoGradient, Rules, primitive
from jitgrad.graph.types import Dim, GraphTypeError, Type

__all__ = ["expand", "kept_shape"]


def kept_shape(shape: Sequence[Dim], axes: Sequence[int]) -> tuple[Dim, ...]:
    """Return the shape with the reduced axes kept as 1."""
    return tuple(1 if k in axes else d for k, d in enumerate(shape))


def expand(g: Builder, reduced: Value, shape: Sequence[Dim], axes: Sequence[int]) -> Value:
    """Return a reduction's result, or its cotangent, broadcast back over the reduced axes."""
    return broadcast_to(g, reshape_to(g, reduced, kept_shape(shape, axes)), shape)


def _axes_rule(attrs: dict[str, Any], x: Value) -> list[Type]:
    axes = attrs["axes"]
    if list(axes) != sorted(set(axes)) or not all(0 <= k < x.array.rank for k in axes):
        raise GraphTypeError(f"axes {axes} do not fit {x.type}")
    return [x.array.with_shape(tuple(d for k, d in enumerate(x.shape) if k not in axes))]


def _vjp_extremum(g: Builder, op: Op, cts: Sequence[Value | None], needed: set[int]) -> list[Value | None]:
    (ct,), (x,), (out,) = cts, op.operands, op.results
    if ct is None:
        return [None]
    axes = op.attrs["axes"]
    hit = g.equal(x, expand(g, out, x.shape, axes))
    count = g.reduce_sum(g.cast(hit, dtype=x.array.dtype), axes=axes)
    return [g.select(hit, expand(g, g.divide(ct, count), x.shape, axes), 0.0)]


def _jvp_extremum(g: Builder, op: Op, tangents: Sequence[Value | None]) -> list[Value | None]:
    (t,), (x,), (out,) = tangents, op.operands, op.results
    if t is None:
        return [None]
    axes = op.attrs["axes"]
    hit = g.equal(x, expand(g, out, x.shape, axes))
    count = g.reduce_sum(g.cast(hit, dtype=x.array.dtype), axes=axes)
    return [g.divide(g.reduce_sum(g.select(hit, t, 0.0), axes=axes), count)]


def _other_factors(g: Builder, op: Op) -> Value:
    """Return, for a product, the product of all the other factors of each element (right also where some are 0)."""
    (x,) = op.operands
    axes = op.attrs["axes"]
    zero = g.equal(x, 0.0)
    count = g.reduce_sum(g.cast(zero, dtype=x.array.dtype), axes=axes)
    rest = g.reduce_prod(g.select(zero, 1.0, x), axes=axes)
    count, rest = expand(g, count, x.shape, axes), expand(g, rest, x.shape, axes)
    none, one = g.equal(count, 0.0), g.equal(count, 1.0)
    safe = g.select(zero, 1.0, x)
    return g.select(none, g.divide(rest, safe), g.select(g.logical_and(one, zero), rest, 0.0))


def _vjp_prod(g: Builder, op: Op, cts: Sequence[Value | None], needed: set[int]) -> list[Value | None]:
    (ct,) = cts
    if ct is None:
        return [None]
    return [g.multiply(expand(g, ct, op.operands[0].shape, op.attrs["axes"]), _other_factors(g, op))]


def _jvp_prod(g: Builder, op: Op, tangents: Sequence[Value | None]) -> list[Value | None]:
    (t,) = tangents
    if t is None:
        return [None]
    return [g.reduce_sum(g.multiply(t, _other_factors(g, op)), axes=op.attrs["axes"])]


def _reduction(name: str, function: Callable[..., Any], derivative: Derivative) -> None:
    primitive(
        name,
        type_rule=_axes_rule,
        evaluate=lambda attrs, x: function(x, axis=attrs["axes"], dtype=np.asarray(x).dtype),
        derivative=derivative,
    )


_reduction(
    "reduce_sum",
    np.add.reduce,
    Linear(lambda g, i, ct, op: expand(g, ct, op.operands[0].shape, op.attrs["axes"]), moves=True),
)
_reduction("reduce_prod", np.multiply.reduce, Rules(_vjp_prod, _jvp_prod))
_reduction("reduce_max", lambda x, axis, dtype: np.maximum.reduce(x, axis=axis), Rules(_vjp_extremum, _jvp_extremum))
_reduction("reduce_min", lambda x, axis, dtype: np.minimum.reduce(x, axis=axis), Rules(_vjp_extremum, _jvp_extremum))
_reduction("reduce_and", lambda x, axis, dtype: np.logical_and.reduce(x, axis=axis), NoGradient("a bool result"))
_reduction("reduce_or", lambda x, axis, dtype: np.logical_or.reduce(x, axis=axis), NoGradient("a bool result"))


def _arg_rule(attrs: dict[str, Any], x: Value) -> list[Type]:
    axis = attrs["axis"]
    return [x.array.with_shape(x.shape[:axis] + x.shape[axis + 1 :]).with_dtype(np.int64)]


argmax = primitive(
    "argmax",
    type_rule=_arg_rule,
    evaluate=lambda attrs, x: np.argmax(x, axis=attrs["axis"]),
    derivative=NoGradient("an integer result"),
)
argmin = primitive(
    "argmin",
    type_rule=_arg_rule,
    evaluate=lambda attrs, x: np.argmin(x, axis=attrs["axis"]),
    derivative=NoGradient("an integer result"),
)


def _flip(g: Builder, x: Value, axis: int) -> Value:
    from jitgrad.graph.ops.memory import Span, load  # memory imports shape; reduce is above both

    index = [Span(0, 1, d) for d in x.shape]
    last = x.shape[axis]
    if not isinstance(last, int):
        last_index: Any = g.subtract(last, g.constant(1, np.int64))
    else:
        last_index = max(last - 1, 0)
    index[axis] = Span(last_index, -1, x.shape[axis])
    return load(g, x, index)


def _transpose_cumsum(g: Builder, i: int, ct: Value, op: Op) -> Value:
    axis = op.attrs["axis"]
    return _flip(g, g.cumsum(_flip(g, ct, axis), axis=axis), axis)


cumsum = primitive(
    "cumsum",
    type_rule=lambda attrs, x: [x.array],
    evaluate=lambda attrs, x: np.cumsum(x, axis=attrs["axis"], dtype=np.asarray(x).dtype),
    derivative=Linear(_transpose_cumsum),
)
