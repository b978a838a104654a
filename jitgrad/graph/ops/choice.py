"""Elementwise ops that hand on one of their operands (`select`, `maximum`, `clip`, ...), and `cast`.

In: operands of one dtype (and a bool mask). Out: the declarations. An operand that is not chosen gets an exact zero:
its partial is `Masked`, so that an infinite or NaN partial further up cannot leak in. Where the choice is not unique:

`maximum`, `minimum`, `fmax`, `fmin`   a tie is shared equally, half to each.
`clip`                                 x passes at its bounds; a bound gets the cotangent only where it cuts x off.

A NaN that `maximum` or `minimum` hands on gets no derivative; `fmax` and `fmin` ignore it and choose the other.

This room knows no arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Value
from jitgrad.graph.primitive import ZERO, Linear, Masked, Partials, ScalarBuilder, elementwise, primitive
from jitgrad.graph.types import ArrayType, GraphTypeError

__all__: list[str] = []

REAL = "biuf"


def _same(*dtypes: np.dtype) -> np.dtype:
    if len(set(dtypes)) != 1:
        raise GraphTypeError(f"operands of one dtype, not {', '.join(map(str, dtypes))}")
    return dtypes[0]


# --- select


def _select_dtype(mask: np.dtype, x: np.dtype, y: np.dtype) -> np.dtype:
    if mask != np.bool_:
        raise GraphTypeError(f"select takes a bool mask, not {mask}")
    return _same(x, y)


select = elementwise(
    "select",
    numpy=(np.where,),
    result=_select_dtype,
    derivative=Partials(lambda g, out, mask, x, y: (ZERO, Masked(mask), Masked(g.logical_not(mask)))),
    scalar=lambda b, mask, x, y: b.select(mask, x, y),
)

# `where_used(mask, x, zero)`: x, which is 0 where the mask is false, or would be, were not another factor infinite. So
# it is a zero that may be moving: the derivative is that of x, as long as x is a number.
where_used = elementwise(
    "where_used",
    numpy=(),
    evaluate=np.where,
    result=_select_dtype,
    derivative=Partials(lambda g, out, mask, x, zero: (ZERO, Masked(g.logical_or(mask, g.isfinite(x))), ZERO)),
    scalar=lambda b, mask, x, zero: b.select(mask, x, zero),
)

# --- extrema


def _share(g: Builder, tied: Value, dtype: np.dtype) -> Value:
    made: Value = g.select(tied, g.constant(0.5, dtype), g.constant(1.0, dtype))
    return made


def _extremum(relation: str) -> Partials:
    def partials(g: Builder, out: Value, x: Value, y: Value) -> tuple[Masked, Masked]:
        first, second = g.emit(relation, [x, y]).result, g.emit(relation, [y, x]).result
        share = _share(g, g.logical_and(first, second), x.array.dtype)
        return Masked(first, share), Masked(second, share)

    return Partials(partials)


def _without_nan(relation: str) -> Partials:
    def chosen(g: Builder, x: Value, y: Value) -> Value:
        made: Value = g.logical_or(g.emit(relation, [x, y]).result, g.isnan(y))
        return made

    def partials(g: Builder, out: Value, x: Value, y: Value) -> tuple[Masked, Masked]:
        share = _share(g, g.equal(x, y), x.array.dtype)
        return Masked(chosen(g, x, y), share), Masked(chosen(g, y, x), share)

    return Partials(partials)


def _ignoring_nan(name: str) -> Callable[..., Any]:
    def scalar(b: ScalarBuilder, x: Any, y: Any) -> Any:
        made = b.math(name, x, y)
        if b.dtype(x).kind != "f":
            return made
        made = b.select(b.compare("!=", x, x), y, made)
        return b.select(b.compare("!=", y, y), x, made)

    return scalar


maximum = elementwise(
    "maximum",
    numpy=np.maximum,
    derivative=_extremum("greater_equal"),
    scalar=lambda b, x, y: b.math("maximum", x, y),
    kinds=REAL,
)
minimum = elementwise(
    "minimum",
    numpy=np.minimum,
    derivative=_extremum("less_equal"),
    scalar=lambda b, x, y: b.math("minimum", x, y),
    kinds=REAL,
)
fmax = elementwise(
    "fmax", numpy=np.fmax, derivative=_without_nan("greater_equal"), scalar=_ignoring_nan("maximum"), kinds=REAL
)
fmin = elementwise(
    "fmin", numpy=np.fmin, derivative=_without_nan("less_equal"), scalar=_ignoring_nan("minimum"), kinds=REAL
)

# --- clip


def _clip_partials(g: Builder, out: Value, x: Value, low: Value, high: Value) -> tuple[Masked, Masked, Masked]:
    # NumPy's order where low > high: the upper bound has the last word.
    crossed = g.greater(low, high)
    above = g.logical_or(g.greater(x, high), crossed)
    below = g.logical_and(g.less(x, low), g.logical_not(crossed))
    inside = g.logical_and(g.greater_equal(x, low), g.less_equal(x, high))
    return Masked(inside), Masked(below), Masked(above)


clip = elementwise(
    "clip",
    numpy=(np.clip,),
    result=_same,
    evaluate=lambda x, low, high: np.minimum(np.maximum(x, low), high),
    derivative=Partials(_clip_partials),
    scalar=lambda b, x, low, high: b.math("minimum", b.math("maximum", x, low), high),
    kinds=REAL,
)

# --- conversion


def _evaluate_cast(attrs: dict[str, Any], x: Any) -> np.ndarray:
    array, dtype = np.asarray(x), np.dtype(attrs["dtype"])
    if array.dtype.kind == "c" and dtype.kind not in "cb":
        array = array.real  # NumPy does the same, with a warning
    return array.astype(dtype)


cast = primitive(
    "cast",
    type_rule=lambda attrs, x: [ArrayType(np.dtype(attrs["dtype"]), x.shape)],
    evaluate=_evaluate_cast,
    derivative=Linear(lambda g, i, ct, op: g.cast(ct, dtype=op.operands[0].array.dtype), moves=True),
    scalar=lambda b, x: b.cast(x, b.result),
)
