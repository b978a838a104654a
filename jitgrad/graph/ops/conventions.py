"""The convention table: what a derivative is where the mathematics leaves a choice, or none.

In: nothing. Out: `CONVENTIONS`, one row an op and point, with our value, JAX's (measured with JAX 0.12 in float64) and
the reason. The rules in the other files of this package implement it and a test walks it, in reverse and in forward
mode. The principles behind the rows:

1. An operand that is not chosen contributes an exact zero, whatever its own derivative is.
2. Where several operands are chosen equally, they share equally.
3. At a minimum with a kink or cusp (abs, norms, deviations, their roots) the derivative is 0, the smallest
   subgradient.
4. Where the true derivative is infinite it is infinite: a finite number would be an invention.
5. A NaN that is handed on gets no derivative.

This room knows what is promised, not how it is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Value

__all__ = ["CONVENTIONS", "Convention", "Numbers", "apply"]

Numbers: TypeAlias = float | tuple[float, ...]

INF, NAN = math.inf, math.nan


class Convention(NamedTuple):
    """One row of the table.

    Attributes
    ----------
    op : str
        A primitive, or an expression named in `apply`.
    point : tuple
        Its operands: numbers or vectors.
    ours : tuple
        The derivative by each operand; of a result with several elements, of the sum of k * result[k], k from 1.
    jax : tuple
        The same in JAX.
    why : str
    """

    op: str
    point: tuple[Numbers, ...]
    ours: tuple[Numbers, ...]
    jax: tuple[Numbers, ...]
    why: str


def _std(g: Builder, x: Value) -> Value:
    size = x.shape[0]
    assert isinstance(size, int)
    mean = g.divide(g.reduce_sum(x, axes=(0,)), float(size))
    made: Value = g.divide(g.norm2(g.subtract(x, mean), axes=(0,)), math.sqrt(size))
    return made


_EXPRESSIONS: dict[str, Callable[..., Any]] = {
    "reduce_max": lambda g, x: g.reduce_max(x, axes=(0,)),
    "reduce_min": lambda g, x: g.reduce_min(x, axes=(0,)),
    "reduce_prod": lambda g, x: g.reduce_prod(x, axes=(0,)),
    "norm2": lambda g, x: g.norm2(x, axes=(0,)),
    "cumprod": lambda g, x: g.cumprod(x, axis=0),
    "sort": lambda g, x: g.sort(x, axis=0),
    "std": _std,
    "where(x > 0, sqrt(x), 0)": lambda g, x: g.select(g.greater(x, 0.0), g.sqrt(x), g.constant(0.0, x.array.dtype)),
    "sqrt(absolute(x))": lambda g, x: g.sqrt(g.absolute(x)),
    "maximum(sqrt(x), y)": lambda g, x, y: g.maximum(g.sqrt(x), y),
    "sqrt(x) ** y": lambda g, x, y: g.power(g.sqrt(x), y),
}


def apply(g: Builder, op: str, *operands: Value) -> Value:
    """Return the result of a row's op."""
    made: Value = _EXPRESSIONS[op](g, *operands) if op in _EXPRESSIONS else g.emit(op, operands).result
    return made


_KINK = "the kink of a minimum: the smallest subgradient"
_TIE = "a tie is shared equally"
_FLAT = "flat wherever it has a derivative"
_STEEP = "the true slope is infinite"
_NAN = "a NaN is handed on without a derivative"
_LAST_ZERO = "the product of the other factors, also where a factor is 0"

CONVENTIONS: list[Convention] = [
    # kinks
    Convention("absolute", (0.0,), (0.0,), (1.0,), _KINK),
    Convention("sqrt(absolute(x))", (0.0,), (0.0,), (INF,), "the cusp of a minimum: the smallest subgradient"),
    Convention("sign", (0.0,), (0.0,), (0.0,), _FLAT),
    Convention("copysign", (0.0, -1.0), (0.0, 0.0), (-1.0, 0.0), "as absolute"),
    Convention("copysign", (2.0, -0.0), (-1.0, 0.0), (-1.0, 0.0), "the sign bit decides, also of -0.0"),
    Convention("hypot", (0.0, 0.0), (0.0, 0.0), (NAN, NAN), _KINK),
    Convention("norm2", ((0.0, 0.0),), ((0.0, 0.0),), ((NAN, NAN),), _KINK),
    Convention("std", ((2.0, 2.0, 2.0),), ((0.0, 0.0, 0.0),), ((NAN, NAN, NAN),), _KINK),
    Convention("arctan2", (0.0, 0.0), (0.0, 0.0), (NAN, NAN), "there is no angle to change"),
    # ties and choices
    Convention("maximum", (1.0, 1.0), (0.5, 0.5), (0.5, 0.5), _TIE),
    Convention("minimum", (1.0, 1.0), (0.5, 0.5), (0.5, 0.5), _TIE),
    Convention("fmax", (1.0, 1.0), (0.5, 0.5), (0.0, 1.0), _TIE),
    Convention("fmin", (1.0, 1.0), (0.5, 0.5), (0.0, 1.0), _TIE),
    Convention("reduce_max", ((1.0, 1.0, 0.0),), ((0.5, 0.5, 0.0),), ((0.5, 0.5, 0.0),), _TIE),
    Convention("reduce_min", ((1.0, 1.0, 2.0),), ((0.5, 0.5, 0.0),), ((0.5, 0.5, 0.0),), _TIE),
    Convention("maximum", (NAN, 1.0), (0.0, 0.0), (0.0, 0.0), _NAN),
    Convention("minimum", (1.0, NAN), (0.0, 0.0), (0.0, 0.0), _NAN),
    Convention("reduce_max", ((NAN, 1.0),), ((0.0, 0.0),), ((NAN, NAN),), _NAN),
    Convention("fmax", (NAN, 1.0), (0.0, 1.0), (0.0, 1.0), "a NaN is ignored"),
    Convention("fmin", (1.0, NAN), (1.0, 0.0), (1.0, 0.0), "a NaN is ignored"),
    Convention("clip", (0.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.5, 0.5, 0.0), "passes at its bounds"),
    Convention("clip", (1.0, 0.0, 1.0), (1.0, 0.0, 0.0), (0.5, 0.0, 0.5), "passes at its bounds"),
    Convention(
        "clip", (0.5, 1.0, 0.0), (0.0, 0.0, 1.0), (0.0, 0.0, 1.0), "crossed bounds: the upper one is the result"
    ),
    Convention("sort", ((1.0, 1.0, 0.0),), ((2.0, 3.0, 1.0),), ((2.0, 3.0, 1.0),), "stable: each gets what it became"),
    # jumps
    Convention("floor", (1.0,), (0.0,), (0.0,), _FLAT),
    Convention("rint", (0.5,), (0.0,), (0.0,), _FLAT),
    Convention("floor_divide", (4.0, 2.0), (0.0, 0.0), (0.0, 0.0), _FLAT),
    Convention("remainder", (4.0, 2.0), (1.0, -2.0), (1.0, -2.0), "the slope on the side of the value"),
    Convention("remainder", (-3.0, 2.0), (1.0, 2.0), (1.0, 2.0), "minus the floored quotient"),
    Convention("fmod", (-3.0, 2.0), (1.0, 1.0), (1.0, 1.0), "minus the truncated quotient"),
    # powers
    Convention("power", (0.0, 0.0), (0.0, 0.0), (NAN, 0.0), "x**0 is constant; 0**y is taken as such"),
    Convention("power", (0.0, 2.0), (0.0, 0.0), (0.0, 0.0), "0**y is 0 for all y > 0"),
    Convention("power", (0.0, 1.0), (1.0, 0.0), (1.0, 0.0), "0**y is 0 for all y > 0"),
    Convention("power", (0.0, 0.5), (INF, 0.0), (INF, 0.0), _STEEP),
    Convention("power", (2.0, 0.0), (0.0, math.log(2.0)), (0.0, math.log(2.0)), "x**0 is constant in x only"),
    Convention("power", (0.0, -1.0), (-INF, -INF), (-INF, NAN), _STEEP),
    Convention("power", (-2.0, 2.0), (-4.0, NAN), (-4.0, NAN), "(-2)**y is no number next to y = 2"),
    # infinite slopes, and masks against them
    Convention("sqrt", (0.0,), (INF,), (INF,), _STEEP),
    Convention("cbrt", (0.0,), (INF,), (INF,), _STEEP),
    Convention("log", (0.0,), (INF,), (INF,), _STEEP),
    Convention("arcsin", (1.0,), (INF,), (INF,), _STEEP),
    Convention("arccosh", (1.0,), (INF,), (INF,), _STEEP),
    Convention("where(x > 0, sqrt(x), 0)", (0.0,), (0.0,), (NAN,), "the side not taken is an exact zero"),
    Convention("maximum(sqrt(x), y)", (0.0, 1.0), (0.0, 1.0), (NAN, 1.0), "the side not taken is an exact zero"),
    Convention("sqrt(x) ** y", (0.0, 0.0), (0.0, 0.0), (NAN, 0.0), "x**0 is constant, whatever x is"),
    # sums of exponentials
    Convention("logaddexp", (-INF, -INF), (0.5, 0.5), (NAN, NAN), _TIE),
    Convention("logaddexp", (INF, INF), (0.5, 0.5), (1.0, 1.0), _TIE),
    Convention("logaddexp", (INF, 0.0), (1.0, 0.0), (1.0, 1.0), "the infinite one is all of the sum"),
    Convention("logaddexp2", (-INF, -INF), (0.5, 0.5), (NAN, NAN), _TIE),
    Convention("expit", (-800.0,), (0.0,), (0.0,), "no inf * 0 on the way"),
    # products
    Convention("reduce_prod", ((0.0, 2.0, 3.0),), ((6.0, 0.0, 0.0),), ((6.0, 0.0, 0.0),), _LAST_ZERO),
    Convention("reduce_prod", ((0.0, 0.0, 3.0),), ((0.0, 0.0, 0.0),), ((0.0, 0.0, 0.0),), _LAST_ZERO),
    Convention("cumprod", ((2.0, 0.0, 3.0),), ((1.0, 22.0, 0.0),), ((1.0, 22.0, 0.0),), _LAST_ZERO),
]
