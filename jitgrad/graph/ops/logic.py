"""Elementwise comparisons, logic, bits, and tests of what kind of number stands there. None has a derivative.

In: operands that have the dtypes of one loop of the ufunc. Out: the declarations. Logical ops take numbers too, whose
truth is that they are not 0. Comparisons of a signed with an unsigned integer are exact, as NumPy's. Shifts by the
width or more give 0, or the sign.

This room refuses to know what the results choose: that is `choice.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.graph.primitive import NoGradient, ScalarBuilder, elementwise

__all__: list[str] = []

_BOOL = np.dtype(np.bool_)
_BOOL_RESULT = NoGradient("a bool result")
_INTEGER_RESULT = NoGradient("an integer result")

# --- comparisons

_MIRRORED = {"<": ">", "<=": ">=", "==": "==", "!=": "!=", ">": "<", ">=": "<="}


def _compare(relation: str) -> Callable[..., Any]:
    def scalar(b: ScalarBuilder, x: Any, y: Any) -> Any:
        kinds = b.dtype(x).kind + b.dtype(y).kind
        if kinds == "iu":
            return _mixed(b, relation, x, y)
        return _mixed(b, _MIRRORED[relation], y, x) if kinds == "ui" else b.compare(relation, x, y)

    return scalar


def _mixed(b: ScalarBuilder, relation: str, x: Any, y: Any) -> Any:
    """Compare a signed x with an unsigned y: a negative x is below every y."""
    below = b.compare("<", x, b.const(0, b.dtype(x)))
    plain = b.compare(relation, b.cast(x, b.dtype(y)), y)
    return b.select(below, b.const(relation in ("<", "<=", "!="), _BOOL), plain)


_RELATIONS: list[tuple[str, np.ufunc, str]] = [
    ("less", np.less, "<"),
    ("less_equal", np.less_equal, "<="),
    ("equal", np.equal, "=="),
    ("not_equal", np.not_equal, "!="),
    ("greater", np.greater, ">"),
    ("greater_equal", np.greater_equal, ">="),
]
for _name, _ufunc, _relation in _RELATIONS:
    elementwise(_name, numpy=_ufunc, derivative=_BOOL_RESULT, scalar=_compare(_relation))

# --- truth


def _logical(name: str) -> Callable[..., Any]:
    return lambda b, *xs: b.logical(name, *(b.cast(x, _BOOL) for x in xs))


_TRUTH: list[tuple[str, np.ufunc, str]] = [
    ("logical_and", np.logical_and, "and"),
    ("logical_or", np.logical_or, "or"),
    ("logical_xor", np.logical_xor, "xor"),
    ("logical_not", np.logical_not, "not"),
]
for _name, _ufunc, _word in _TRUTH:
    elementwise(_name, numpy=_ufunc, derivative=_BOOL_RESULT, scalar=_logical(_word))

# --- bits


def _bits(name: str) -> Callable[..., Any]:
    return lambda b, *xs: b.logical(name, *xs)


_BITS: list[tuple[str, np.ufunc, str]] = [
    ("bitwise_and", np.bitwise_and, "and"),
    ("bitwise_or", np.bitwise_or, "or"),
    ("bitwise_xor", np.bitwise_xor, "xor"),
    ("invert", np.invert, "not"),
]
for _name, _ufunc, _word in _BITS:
    elementwise(_name, numpy=_ufunc, derivative=_INTEGER_RESULT, scalar=_bits(_word))

left_shift = elementwise(
    "left_shift", numpy=np.left_shift, derivative=_INTEGER_RESULT, scalar=lambda b, x, y: b.shift("left", x, y)
)
right_shift = elementwise(
    "right_shift", numpy=np.right_shift, derivative=_INTEGER_RESULT, scalar=lambda b, x, y: b.shift("right", x, y)
)

# --- kinds of numbers


def _isinf(b: ScalarBuilder, x: Any) -> Any:
    if b.dtype(x).kind != "f":
        return b.compare("!=", x, x)
    return b.compare("==", b.math("fabs", x), b.const(np.inf, b.dtype(x)))


def _isfinite(b: ScalarBuilder, x: Any) -> Any:
    if b.dtype(x).kind != "f":
        return b.compare("==", x, x)
    return b.compare("<", b.math("fabs", x), b.const(np.inf, b.dtype(x)))


def _signbit(b: ScalarBuilder, x: Any) -> Any:
    dtype = b.dtype(x)
    return b.compare("<", b.math("copysign", b.const(1.0, dtype), x), b.const(0.0, dtype))


isnan = elementwise("isnan", numpy=np.isnan, derivative=_BOOL_RESULT, scalar=lambda b, x: b.compare("!=", x, x))
isinf = elementwise("isinf", numpy=np.isinf, derivative=_BOOL_RESULT, scalar=_isinf)
isfinite = elementwise("isfinite", numpy=np.isfinite, derivative=_BOOL_RESULT, scalar=_isfinite)
signbit = elementwise("signbit", numpy=np.signbit, derivative=_BOOL_RESULT, scalar=_signbit)
# What marks a cotangent as not used (`diff/marks.py`); NumPy has no such function.
is_negative_zero = elementwise(
    "is_negative_zero",
    numpy=(),
    result=lambda dtype: _BOOL,
    evaluate=lambda x: np.equal(x, 0) & np.signbit(x),
    derivative=_BOOL_RESULT,
    scalar=lambda b, x: b.is_negative_zero(x),
    kinds="f",
)
