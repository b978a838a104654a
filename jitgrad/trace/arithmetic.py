"""The arithmetic operators on numbers and arrays: Python's rules among Python's numbers, else NumPy's ufuncs.

In: an operator and abstract values. Out: an abstract value. User classes and containers are not known here.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.trace.abstract import Scalar
from jitgrad.trace.arrays import dtype_of, is_array, kind, scalar_value
from jitgrad.trace.context import Context, kind_of_python
from jitgrad.trace.promotion import ufunc
from jitgrad.trace.python_arithmetic import ORDER, mixed_binary, python_binary

__all__ = ["NUMPY_BINARY", "PYTHON_BINARY", "binary", "compare", "unary"]


NUMPY_BINARY: dict[str, np.ufunc] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.true_divide, "//": np.floor_divide, "%": np.remainder,
    "**": np.power, "&": np.bitwise_and, "|": np.bitwise_or, "^": np.bitwise_xor, "<<": np.left_shift,
    ">>": np.right_shift, "<": np.less, "<=": np.less_equal, "==": np.equal, "!=": np.not_equal, ">": np.greater,
    ">=": np.greater_equal,
}  # fmt: skip


PYTHON_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
    "%": operator.mod, "**": operator.pow, "&": operator.and_, "|": operator.or_, "^": operator.xor,
    "<<": operator.lshift, ">>": operator.rshift, "<": operator.lt, "<=": operator.le, "==": operator.eq,
    "!=": operator.ne, ">": operator.gt, ">=": operator.ge, "@": operator.matmul,
}  # fmt: skip


_PYTHON_UNARY: dict[str, Callable[[Any], Any]] = {"-": operator.neg, "+": operator.pos, "~": operator.invert}


_NUMPY_UNARY: dict[str, np.ufunc] = {"-": np.negative, "+": np.positive, "~": np.invert}


def binary(ctx: Context, op: str, x: Any, y: Any) -> Any:
    """Return `x op y` of two numbers or arrays, for every operator but `@`."""
    known = kind_of_python(x) is not None and kind_of_python(y) is not None
    if known:
        with np.errstate(all="ignore"):
            return PYTHON_BINARY[op](x, y)
    kinds = (kind(x), kind(y))
    if all(k in ORDER for k in kinds):
        return python_binary(ctx, op, x, y)
    if all(k in ORDER or k == "mixed" for k in kinds):
        return mixed_binary(ctx, op, x, y)
    if op == "**" and kind(y) in ("int", "float") and not isinstance(y, Scalar):
        fast = _fast_power(ctx, x, y)
        if fast is not None:
            return fast
    return ufunc(ctx, NUMPY_BINARY[op], x, y)


def _fast_power(ctx: Context, x: Any, y: float) -> Any:
    """Return x ** y where NumPy's own operator takes a shortcut (square, sqrt, reciprocal), else None."""
    dtype = dtype_of(ctx, x)
    if y == 2 and dtype.kind != "b":
        return ufunc(ctx, np.multiply, x, x)
    if dtype.kind == "f" and is_array(x):
        if y == 0.5:
            return ufunc(ctx, np.sqrt, x)
        if y == 1:
            return ufunc(ctx, np.positive, x)
        if y == -1:
            return ufunc(ctx, np.reciprocal, x)
    return None


def compare(ctx: Context, op: str, x: Any, y: Any) -> Any:
    """Return `x op y` for a comparison of numbers or arrays."""
    return binary(ctx, op, x, y)


def unary(ctx: Context, op: str, x: Any) -> Any:
    """Return `-x`, `+x` or `~x` of a number or array."""
    if kind_of_python(x) is not None:
        return _PYTHON_UNARY[op](x)
    if kind(x) == "mixed" and dtype_of(ctx, x).kind == "f":
        return x if op == "+" else Scalar(ctx.g.negative(x.value), "mixed", is_numpy=x.is_numpy)
    if kind(x) in ORDER:
        if op == "+" and x.kind != "bool":
            return x
        if op == "-":
            if x.kind in ("int", "bool"):
                return python_binary(ctx, "-", 0, x)
            return Scalar(ctx.g.negative(x.value), x.kind)
        return Scalar(ctx.g.invert(scalar_value(ctx, x, np.int64)), "int")
    return ufunc(ctx, _NUMPY_UNARY[op], x)
