"""Reductions along axes. Attr `axes` is a sorted tuple of axes that the result drops; keepdims is a reshape after it.

In: an array. Out: the declarations and `expand`, which broadcasts a result back. The result has the operand's dtype:
whoever builds the graph casts first where NumPy sums in a wider type, and has emitted a check where a reduction
without identity (max, min, argmax, argmin) meets an empty axis. A NaN is the result of max and min, and the first NaN
that of argmax and argmin.

Where the derivative is many-valued, these choose (the table is `conventions.py`):

`reduce_max`, `reduce_min`   all elements that equal the result share equally; a NaN gets nothing.
`norm2`                      the root of the sum of squares: 0 where it is 0.
`reduce_prod`                exact where factors are 0, to second order (to third with at most one of them).

The standard deviation is norm2(x - mean) / sqrt(n - ddof), and so has derivative 0 for a constant.

This room knows no order of summation: the backend chooses one no worse than pairwise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.ops.shape import broadcast_to, reshape_to
from jitgrad.graph.primitive import Cot, Derivative, Linear, NoGradient, Rules, primitive
from jitgrad.graph.types import Dim, GraphTypeError, Type

__all__ = ["expand", "kept_shape"]


def kept_shape(shape: Sequence[Dim], axes: Sequence[int]) -> tuple[Dim, ...]:
    """Return the shape with the reduced axes kept as 1."""
    return tuple(1 if k in axes else d for k, d in enumerate(shape))


def expand(g: Builder, reduced: Value, shape: Sequence[Dim], axes: Sequence[int]) -> Value:
    """Return a reduction's result, or its cotangent, broadcast back over the reduced axes."""
    return broadcast_to(g, reshape_to(g, reduced, kept_shape(shape, axes)), shape)


def _rule(kinds: str) -> Callable[..., list[Type]]:
    def type_rule(attrs: dict[str, Any], x: Value) -> list[Type]:
        axes = attrs["axes"]
        if list(axes) != sorted(set(axes)) or not all(0 <= k < x.array.rank for k in axes):
            raise GraphTypeError(f"axes {axes} do not fit {x.type}")
        if x.array.dtype.kind not in kinds:
            raise GraphTypeError(f"no reduction of {x.type}")
        return [x.array.with_shape(tuple(d for k, d in enumerate(x.shape) if k not in axes))]

    return type_rule


def _reduction(name: str, function: Callable[..., Any], derivative: Derivative, kinds: str = "biufc") -> None:
    primitive(
        name,
        type_rule=_rule(kinds),
        evaluate=lambda attrs, x: function(np.asarray(x), attrs["axes"]),
        derivative=derivative,
    )


def _zero(g: Builder, x: Value) -> Value:
    return g.constant(0, x.array.dtype)


def _spread(g: Builder, op: Op, ct: Value, mask: Value | None) -> Cot:
    """Return a result's cotangent and its mask, broadcast back over the reduced axes."""
    shape, axes = op.operands[0].shape, op.attrs["axes"]
    return Cot(expand(g, ct, shape, axes), None if mask is None else expand(g, mask, shape, axes))


def _chosen(g: Builder, chosen: Value, ct: Value, mask: Value | None) -> Cot:
    """Return a cotangent that only the chosen elements get."""
    made = g.select(chosen, ct, _zero(g, ct))
    if mask is None:
        return Cot(made, chosen)
    both = g.logical_and(mask, chosen)
    return Cot(g.where_used(mask, made, _zero(g, ct)), both)


# --- sums


_reduction(
    "reduce_sum",
    lambda x, axes: np.add.reduce(x, axis=axes, dtype=x.dtype),
    Linear(lambda g, i, ct, op: expand(g, ct, op.operands[0].shape, op.attrs["axes"]), moves=True),
)

# Of marked cotangents (`diff/marks.py`): -0.0 where all of them are, and where there are none.
_reduction(
    "reduce_marked",
    lambda x, axes: np.add.reduce(x, axis=axes, dtype=x.dtype, initial=x.dtype.type(-0.0)),
    Linear(lambda g, i, ct, op: expand(g, ct, op.operands[0].shape, op.attrs["axes"]), moves=True),
    kinds="f",
)

# --- extrema


def _share(g: Builder, op: Op) -> tuple[Value, Value]:
    """Return which elements equal the result, and how many do; 1 where none does, because the result is NaN."""
    (x,), (out,) = op.operands, op.results
    axes = op.attrs["axes"]
    hit = g.equal(x, expand(g, out, x.shape, axes))
    count = g.reduce_sum(g.cast(hit, dtype=x.array.dtype), axes=axes)
    return hit, g.maximum(count, 1.0)


def _vjp_extremum(g: Builder, op: Op, cts: Sequence[Cot | None], needed: set[int]) -> list[Cot | None]:
    (cot,) = cts
    if cot is None:
        return [None]
    hit, count = _share(g, op)
    return [_chosen(g, hit, *_spread(g, op, g.divide(cot.value, count), cot.mask))]


def _jvp_extremum(g: Builder, op: Op, tangents: Sequence[Value | None]) -> list[Value | None]:
    (t,) = tangents
    if t is None:
        return [None]
    hit, count = _share(g, op)
    return [g.divide(g.reduce_sum(g.select(hit, t, _zero(g, t)), axes=op.attrs["axes"]), count)]


_EXTREMUM = Rules(_vjp_extremum, _jvp_extremum)
_reduction("reduce_max", lambda x, axes: np.maximum.reduce(x, axis=axes), _EXTREMUM, "biuf")
_reduction("reduce_min", lambda x, axes: np.minimum.reduce(x, axis=axes), _EXTREMUM, "biuf")

# --- products


def _other_factors(g: Builder, op: Op) -> Value:
    """Return, for a product, the product of all the other factors of each element.

    Of a factor that is not 0, the result divided by it, also where the result is 0 because of another. Of a factor that
    is 0, the product of the others: R, the product of those that are not 0, if no other is 0, and R times the other
    one if there is one. Their sum S gives the other one as S - x, so that its derivative is there though it is 0.
    """
    (x,), (out,) = op.operands, op.results
    axes, dtype = op.attrs["axes"], x.array.dtype
    one = g.constant(1, dtype)
    zero = g.equal(x, 0.0)
    count = expand(g, g.reduce_sum(g.cast(zero, dtype=dtype), axes=axes), x.shape, axes)
    rest = expand(g, g.reduce_prod(g.select(zero, one, x), axes=axes), x.shape, axes)
    total = expand(g, g.reduce_sum(g.select(zero, x, _zero(g, x)), axes=axes), x.shape, axes)
    second = g.select(g.equal(count, 2.0), g.multiply(rest, g.subtract(total, x)), _zero(g, x))
    of_zero = g.select(g.equal(count, 1.0), rest, second)
    made: Value = g.select(zero, of_zero, g.divide(expand(g, out, x.shape, axes), g.select(zero, one, x)))
    return made


def _vjp_prod(g: Builder, op: Op, cts: Sequence[Cot | None], needed: set[int]) -> list[Cot | None]:
    (cot,) = cts
    if cot is None:
        return [None]
    ct, mask = _spread(g, op, *cot)
    made = g.multiply(ct, _other_factors(g, op))
    return [Cot(made) if mask is None else Cot(g.where_used(mask, made, _zero(g, ct)), mask)]


def _jvp_prod(g: Builder, op: Op, tangents: Sequence[Value | None]) -> list[Value | None]:
    (t,) = tangents
    if t is None:
        return [None]
    return [g.reduce_sum(g.multiply(t, _other_factors(g, op)), axes=op.attrs["axes"])]


_reduction("reduce_prod", lambda x, axes: np.multiply.reduce(x, axis=axes, dtype=x.dtype), Rules(_vjp_prod, _jvp_prod))

# --- norms


def _direction(g: Builder, op: Op) -> tuple[Value, Value]:
    """Return x / norm, and where the norm is not 0."""
    (x,), (out,) = op.operands, op.results
    norm = expand(g, out, x.shape, op.attrs["axes"])
    return g.divide(x, norm), g.not_equal(norm, 0.0)


def _vjp_norm2(g: Builder, op: Op, cts: Sequence[Cot | None], needed: set[int]) -> list[Cot | None]:
    (cot,) = cts
    if cot is None:
        return [None]
    direction, away = _direction(g, op)
    ct, mask = _spread(g, op, *cot)
    return [_chosen(g, away, g.multiply(ct, direction), mask)]


def _jvp_norm2(g: Builder, op: Op, tangents: Sequence[Value | None]) -> list[Value | None]:
    (t,) = tangents
    if t is None:
        return [None]
    direction, away = _direction(g, op)
    return [g.reduce_sum(g.select(away, g.multiply(t, direction), _zero(g, t)), axes=op.attrs["axes"])]


_reduction("norm2", lambda x, axes: np.sqrt(np.add.reduce(x * x, axis=axes)), Rules(_vjp_norm2, _jvp_norm2), kinds="f")

# --- truth and positions

_reduction("reduce_and", lambda x, axes: np.logical_and.reduce(x, axis=axes), NoGradient("a bool result"), "b")
_reduction("reduce_or", lambda x, axes: np.logical_or.reduce(x, axis=axes), NoGradient("a bool result"), "b")


def _arg_rule(attrs: dict[str, Any], x: Value) -> list[Type]:
    axis = attrs["axis"]
    if not 0 <= axis < x.array.rank or x.array.dtype.kind not in "biuf":
        raise GraphTypeError(f"no extremum of {x.type} along axis {axis}")
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
