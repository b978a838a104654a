"""Elementwise primitives: NumPy's ufuncs, `select` (np.where) and `cast`.

Operands already have the dtypes of a loop of the ufunc; shapes broadcast. Subgradients follow the table of
conventions in the README: an untaken side contributes an exact zero, ties share equally, abs'(0) = 0.
"""

from __future__ import annotations

import numpy as np

from jitgrad.graph.primitive import MINUS_ONE, ONE, ZERO, Linear, Masked, NoGradient, Partials, elementwise, primitive
from jitgrad.graph.types import ArrayType

__all__: list[str] = []

_BOOL_RESULT = NoGradient("a bool result")
_FLAT = Partials(lambda g, out, *xs: tuple(ZERO for _ in xs))

# --- arithmetic

add = elementwise(
    "add", numpy=np.add, derivative=Partials(lambda g, out, x, y: (ONE, ONE)), scalar=lambda b, x, y: b.add(x, y)
)
subtract = elementwise(
    "subtract",
    numpy=np.subtract,
    derivative=Partials(lambda g, out, x, y: (ONE, MINUS_ONE)),
    scalar=lambda b, x, y: b.sub(x, y),
)
multiply = elementwise(
    "multiply",
    numpy=np.multiply,
    derivative=Partials(lambda g, out, x, y: (y, x)),
    scalar=lambda b, x, y: b.mul(x, y),
)
divide = elementwise(
    "divide",
    numpy=np.true_divide,
    derivative=Partials(lambda g, out, x, y: (g.divide(1.0, y), g.negative(g.divide(out, y)))),
    scalar=lambda b, x, y: b.div(x, y),
    domain=(0.5, 2.0),
)
negative = elementwise(
    "negative", numpy=np.negative, derivative=Partials(lambda g, out, x: (MINUS_ONE,)), scalar=lambda b, x: b.neg(x)
)

# --- comparisons and logic

for _name, _ufunc, _relation in [
    ("less", np.less, "<"),
    ("less_equal", np.less_equal, "<="),
    ("equal", np.equal, "=="),
    ("not_equal", np.not_equal, "!="),
    ("greater", np.greater, ">"),
    ("greater_equal", np.greater_equal, ">="),
]:
    elementwise(
        _name,
        numpy=_ufunc,
        derivative=_BOOL_RESULT,
        scalar=lambda b, x, y, relation=_relation: b.compare(relation, x, y),
    )
logical_and = elementwise(
    "logical_and", numpy=np.logical_and, derivative=_BOOL_RESULT, scalar=lambda b, x, y: b.logical("and", x, y)
)
logical_or = elementwise(
    "logical_or", numpy=np.logical_or, derivative=_BOOL_RESULT, scalar=lambda b, x, y: b.logical("or", x, y)
)
logical_not = elementwise(
    "logical_not", numpy=np.logical_not, derivative=_BOOL_RESULT, scalar=lambda b, x: b.logical("not", x)
)

# --- choice

select = elementwise(
    "select",
    numpy=(np.where,),
    result=lambda mask, x, y: x,
    derivative=Partials(lambda g, out, mask, x, y: (ZERO, Masked(mask), Masked(g.logical_not(mask)))),
    scalar=lambda b, mask, x, y: b.select(mask, x, y),
)
cast = primitive(
    "cast",
    type_rule=lambda attrs, x: [ArrayType(np.dtype(attrs["dtype"]), x.shape)],
    evaluate=lambda attrs, x: np.asarray(x).astype(attrs["dtype"]),
    derivative=Linear(lambda g, i, ct, op: g.cast(ct, dtype=op.operands[0].array.dtype), moves=True),
    scalar=lambda b, x: b.cast(x, b.result),
)

# --- exponentials and trigonometry

exp = elementwise(
    "exp", numpy=np.exp, derivative=Partials(lambda g, out, x: (out,)), scalar=lambda b, x: b.math("exp", x)
)
sin = elementwise(
    "sin", numpy=np.sin, derivative=Partials(lambda g, out, x: (g.cos(x),)), scalar=lambda b, x: b.math("sin", x)
)
cos = elementwise(
    "cos",
    numpy=np.cos,
    derivative=Partials(lambda g, out, x: (g.negative(g.sin(x)),)),
    scalar=lambda b, x: b.math("cos", x),
)
sqrt = elementwise(
    "sqrt",
    numpy=np.sqrt,
    derivative=Partials(lambda g, out, x: (g.divide(0.5, out),)),
    scalar=lambda b, x: b.math("sqrt", x),
    domain=(0.5, 4.0),
)
