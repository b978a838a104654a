"""Elementwise trigonometric and hyperbolic functions and their inverses.

In: floating-point operands. Out: the declarations. `arctan2` at (0, 0) has derivative 0 by both operands, as `hypot`
has: there is no angle to change. At the ends of their domains the inverses have their true infinite slope.

This room knows no exponentials and no complex branch cuts beyond writing the partials so that they hold on both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Value
from jitgrad.graph.primitive import Masked, Partials, always, by_arrays, elementwise

__all__: list[str] = []


def _math(name: str) -> Callable[..., Any]:
    return lambda b, *xs: b.math(name, *xs)


def _square_plus_one(g: Builder, x: Value) -> Value:
    made: Value = g.add(g.multiply(x, x), 1.0)
    return made


def _one_minus_square(g: Builder, x: Value) -> Value:
    """(1 - x) * (1 + x), which keeps its digits near x = 1."""
    made: Value = g.multiply(g.subtract(1.0, x), g.add(x, 1.0))
    return made


# --- circular

sin = elementwise("sin", numpy=np.sin, derivative=Partials(lambda g, out, x: (g.cos(x),)), scalar=_math("sin"))
cos = elementwise(
    "cos", numpy=np.cos, derivative=Partials(lambda g, out, x: (g.negative(g.sin(x)),)), scalar=_math("cos")
)
tan = elementwise(
    "tan",
    numpy=np.tan,
    derivative=Partials(lambda g, out, x: (_square_plus_one(g, out),)),
    scalar=_math("tan"),
    domain=(-1.2, 1.2),
)
arcsin = elementwise(
    "arcsin",
    numpy=np.arcsin,
    derivative=Partials(lambda g, out, x: (g.divide(1.0, g.sqrt(_one_minus_square(g, x))),), always),
    scalar=_math("arcsin"),
    domain=(-0.8, 0.8),
)
arccos = elementwise(
    "arccos",
    numpy=np.arccos,
    derivative=Partials(lambda g, out, x: (g.divide(-1.0, g.sqrt(_one_minus_square(g, x))),), always),
    scalar=_math("arccos"),
    domain=(-0.8, 0.8),
)
arctan = elementwise(
    "arctan",
    numpy=np.arctan,
    derivative=Partials(lambda g, out, x: (g.divide(1.0, _square_plus_one(g, x)),)),
    scalar=_math("arctan"),
)


def _arctan2_partials(g: Builder, out: Value, y: Value, x: Value) -> tuple[Masked, Masked]:
    # Divided twice by the radius, for the squares of large and small numbers leave the range of floats.
    radius = g.hypot(y, x)
    away = g.not_equal(radius, 0.0)
    by_y = g.divide(g.divide(x, radius), radius)
    by_x = g.divide(g.divide(y, radius), radius)
    return Masked(away, by_y), Masked(away, g.negative(by_x))


arctan2 = elementwise("arctan2", numpy=np.arctan2, derivative=Partials(_arctan2_partials), scalar=_math("arctan2"))

# --- hyperbolic

sinh = elementwise("sinh", numpy=np.sinh, derivative=Partials(lambda g, out, x: (g.cosh(x),)), scalar=_math("sinh"))
cosh = elementwise("cosh", numpy=np.cosh, derivative=Partials(lambda g, out, x: (g.sinh(x),)), scalar=_math("cosh"))
tanh = elementwise(
    "tanh",
    numpy=np.tanh,
    derivative=Partials(lambda g, out, x: (g.subtract(1.0, g.multiply(out, out)),)),
    scalar=_math("tanh"),
)
arcsinh = elementwise(
    "arcsinh",
    numpy=np.arcsinh,
    derivative=Partials(lambda g, out, x: (g.divide(1.0, g.sqrt(_square_plus_one(g, x))),)),
    scalar=_math("arcsinh"),
)
arccosh = elementwise(
    "arccosh",
    numpy=np.arccosh,
    # Two roots, not the root of a product: right also left of the cut of complex operands.
    derivative=Partials(
        lambda g, out, x: (g.divide(1.0, g.multiply(g.sqrt(g.subtract(x, 1.0)), g.sqrt(g.add(x, 1.0)))),), always
    ),
    scalar=_math("arccosh"),
    domain=(1.2, 4.0),
)
arctanh = elementwise(
    "arctanh",
    numpy=np.arctanh,
    derivative=Partials(lambda g, out, x: (g.divide(1.0, _one_minus_square(g, x)),), by_arrays),
    scalar=_math("arctanh"),
    domain=(-0.8, 0.8),
)
