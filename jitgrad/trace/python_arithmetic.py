"""Python's own arithmetic on its numbers, with its exceptions as checks.

In: numbers known at run time only, of Python kinds or mixed (Python's on some paths, NumPy's on others). Out: numbers
of the kind that Python gives. An int keeps bounds, which remove overflow and index checks; what needs more than 64 bits
leaves through OverflowError. This room knows no arrays.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.trace.abstract import Scalar
from jitgrad.trace.arrays import dtype_of, kind, scalar_value
from jitgrad.trace.context import PYTHON_DTYPES, Context

__all__ = ["INT64_LIMITS", "ORDER", "bounds_of", "mixed_binary", "mixed_dtype", "numpy_flag", "python_binary"]


INT64_LIMITS = np.iinfo(np.int64)
ORDER = ["bool", "int", "float", "complex"]


def _texts_of_division_by_zero() -> dict[tuple[str, str], str]:
    """Return what the running version says when a number of a kind is divided by zero."""
    texts = {}
    for op, divide in (("/", operator.truediv), ("//", operator.floordiv), ("%", operator.mod)):
        for number in (1, 1.0):
            try:
                divide(number, 0)
            except ZeroDivisionError as error:
                texts[op, type(number).__name__] = str(error)
    return texts


def _overflow() -> OverflowError:
    """Return what the running version raises for a power that is too large."""
    try:
        raise AssertionError(operator.pow(10.0, 1000.0))
    except OverflowError as error:
        return error


_BY_ZERO = _texts_of_division_by_zero()
_OVERFLOW = _overflow()


def _check_power(ctx: Context, fine: Value) -> None:
    """Raise what Python does for a power that is too large."""
    arguments = tuple((x,) for x in _OVERFLOW.args)
    ctx.check(fine, OverflowError, str(_OVERFLOW), arguments=arguments)


def mixed_dtype(kinds: Iterable[tuple[str, np.dtype]]) -> np.dtype | None:
    """Return the dtype of a number that is Python's on some paths and NumPy's on others; None if there is none.

    Python's and NumPy's bools and 64-bit floats have the same values; where they behave otherwise (division by zero,
    promotion with narrower arrays) the operators below look at which it is.
    """
    found = set(kinds)
    dtypes = {d for _, d in found}
    names = {n for n, _ in found}
    if len(dtypes) != 1 or not names <= {"bool", "float", "numpy", "mixed"}:
        return None
    (dtype,) = dtypes
    if dtype not in (np.float64, np.bool_) or names in ({"bool"}, {"float"}, {"numpy"}):
        return None
    return dtype


def numpy_flag(ctx: Context, x: Any) -> Value:
    """Return, as a bool value, whether a number is NumPy's."""
    if isinstance(x, Scalar) and x.is_numpy is not None:
        return x.is_numpy
    return ctx.constant(kind(x) == "numpy", np.bool_)


def python_binary(ctx: Context, op: str, x: Any, y: Any) -> Any:
    """Python's own arithmetic on its numbers, with its exceptions as checks."""
    g = ctx.g
    common = max(kind(x), kind(y), key=ORDER.index)
    if op in ("<", "<=", "==", "!=", ">", ">="):
        dtype = PYTHON_DTYPES[common if common != "bool" else "int"]
        names = {
            "<": "less",
            "<=": "less_equal",
            "==": "equal",
            "!=": "not_equal",
            ">": "greater",
            ">=": "greater_equal",
        }
        known = _compare_bounds(op, x, y) if common in ("int", "bool") else None
        if known is not None:
            return known
        return Scalar(g.emit(names[op], [scalar_value(ctx, x, dtype), scalar_value(ctx, y, dtype)]).result, "bool")
    if op in ("&", "|", "^") and common == "bool":
        name = {"&": "logical_and", "|": "logical_or", "^": "not_equal"}[op]
        return Scalar(g.emit(name, [scalar_value(ctx, x), scalar_value(ctx, y)]).result, "bool")
    if common == "bool":
        common = "int"
    by_zero = _BY_ZERO.get((op, common))
    if op == "/" and common == "int":
        common = "float"
    if common == "int" and op == "**" and (isinstance(y, Scalar) or y < 0):
        # The sign of the exponent decides between an int and a float: it must be known.
        exponent = ctx.note_static(y, "the exponent of an int")
        if isinstance(y, Scalar):
            return python_binary(ctx, op, x, exponent)
        common = "float"
    dtype = PYTHON_DTYPES[common]
    a, b = scalar_value(ctx, x, dtype), scalar_value(ctx, y, dtype)
    if common == "complex":
        complex_names = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "**": "power"}
        if op not in complex_names:
            raise ctx.error("JG217", what=f"complex {op}")
        return Scalar(g.emit(complex_names[op], [a, b]).result, "complex")
    if op in ("/", "//", "%"):
        known_nonzero = not isinstance(y, Scalar) and y != 0
        if not known_nonzero:
            assert by_zero is not None
            ctx.check(g.not_equal(b, ctx.constant(0, dtype)), ZeroDivisionError, by_zero)
    if common == "int":
        return _python_int(ctx, op, x, y, a, b)
    if op == "**":
        return _python_power(ctx, x, y, a, b)
    names = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "//": "floor_divide", "%": "remainder"}
    return Scalar(g.emit(names[op], [a, b]).result, "float")


def mixed_binary(ctx: Context, op: str, x: Any, y: Any) -> Any:
    """Arithmetic of numbers that may be Python's or NumPy's: equal values, but for what Python refuses."""
    g = ctx.g
    flags = [numpy_flag(ctx, v) for v in (x, y) if kind(v) == "mixed"]
    flag: Value = flags[0] if len(flags) == 1 else g.logical_or(*flags)
    dtypes = {dtype_of(ctx, v).kind for v in (x, y)}
    names = {"<": "less", "<=": "less_equal", "==": "equal", "!=": "not_equal", ">": "greater", ">=": "greater_equal"}
    if op in names and "c" not in dtypes:
        values = [scalar_value(ctx, v, np.float64) for v in (x, y)]
        return Scalar(g.emit(names[op], values).result, "mixed", is_numpy=flag)
    if op in ("&", "|", "^") and dtypes == {"b"}:
        name = {"&": "logical_and", "|": "logical_or", "^": "not_equal"}[op]
        return Scalar(g.emit(name, [scalar_value(ctx, x), scalar_value(ctx, y)]).result, "mixed", is_numpy=flag)
    if not dtypes <= {"f", "i", "b"} or any(kind(v) == "mixed" and dtype_of(ctx, v) == np.bool_ for v in (x, y)):
        raise ctx.error("JG244", what=f"the operator {op}")
    a, b = scalar_value(ctx, x, np.float64), scalar_value(ctx, y, np.float64)
    if op in ("/", "//", "%"):
        if isinstance(y, Scalar) or y == 0:
            ctx.check(g.logical_or(flag, g.not_equal(b, 0.0)), ZeroDivisionError, _BY_ZERO[op, "float"])
        name = {"/": "divide", "//": "floor_divide", "%": "remainder"}[op]
    elif op == "**":
        if not isinstance(y, Scalar) and y == 2:
            made = g.multiply(a, a)
            _check_power(ctx, g.logical_or(flag, _no_overflow(g, made, a)))
            return Scalar(made, "mixed", is_numpy=flag)
        zero = g.logical_and(g.equal(a, 0.0), g.less(b, 0.0))
        text = "0.0 cannot be raised to a negative power"
        ctx.check(g.logical_or(flag, g.logical_not(zero)), ZeroDivisionError, text)
        odd = g.logical_and(g.less(a, 0.0), g.not_equal(g.floor(b), b))
        text = "a negative number to a fractional power is complex in Python"
        ctx.check(g.logical_or(flag, g.logical_not(odd)), NotImplementedError, text)
        made = g.power(a, b)
        _check_power(ctx, g.logical_or(flag, _no_overflow(g, made, a, b)))
        return Scalar(made, "mixed", is_numpy=flag)
    else:
        name = {"+": "add", "-": "subtract", "*": "multiply"}[op]
    return Scalar(g.emit(name, [a, b]).result, "mixed", is_numpy=flag)


def _no_overflow(g: Any, made: Value, *operands: Value) -> Value:
    """Return whether a power is finite, or comes of operands that are not."""
    fine = g.logical_not(g.isinf(made))
    for x in operands:
        fine = g.logical_or(fine, g.isinf(x))
    return fine


def _python_power(ctx: Context, x: Any, y: Any, a: Value, b: Value) -> Any:
    g = ctx.g
    if not isinstance(y, Scalar):
        if y == 2:
            made = g.multiply(a, a)
            _check_power(ctx, _no_overflow(g, made, a))
            return Scalar(made, "float")
        if y < 0:
            ctx.check(g.not_equal(a, 0.0), ZeroDivisionError, "0.0 cannot be raised to a negative power")
        if float(y) != math.floor(y):
            message = "a negative number to a fractional power is complex in Python"
            ctx.check(g.logical_not(g.less(a, 0.0)), NotImplementedError, message)
    else:
        zero = g.logical_and(g.equal(a, 0.0), g.less(b, 0.0))
        ctx.check(g.logical_not(zero), ZeroDivisionError, "0.0 cannot be raised to a negative power")
        odd = g.logical_and(g.less(a, 0.0), g.not_equal(g.floor(b), b))
        message = "a negative number to a fractional power is complex in Python"
        ctx.check(g.logical_not(odd), NotImplementedError, message)
    made = g.power(a, b)
    _check_power(ctx, _no_overflow(g, made, a, b))
    return Scalar(made, "float")


def bounds_of(x: Any) -> tuple[int, int]:
    """Return the least and the greatest value that an int can have."""
    if isinstance(x, Scalar):
        if x.kind == "bool":
            return 0, 1
        low = INT64_LIMITS.min if x.low is None else x.low
        return low, INT64_LIMITS.max if x.high is None else x.high
    return int(x), int(x)


def _compare_bounds(op: str, x: Any, y: Any) -> bool | None:
    (a, b), (c, d) = bounds_of(x), bounds_of(y)
    if op in (">", ">="):
        return _compare_bounds({">": "<", ">=": "<="}[op], y, x)
    if op == "<":
        return True if b < c else False if a >= d else None
    if op == "<=":
        return True if b <= c else False if a > d else None
    if op == "==":
        return False if b < c or d < a else None
    return True if b < c or d < a else None


def _python_int(ctx: Context, op: str, x: Any, y: Any, a: Value, b: Value) -> Any:
    g = ctx.g
    (la, ha), (lb, hb) = bounds_of(x), bounds_of(y)
    if op in ("&", "|", "^"):
        names = {"&": "bitwise_and", "|": "bitwise_or", "^": "bitwise_xor"}
        return Scalar(g.emit(names[op], [a, b]).result, "int")
    if op in ("<<", ">>"):
        if lb < 0:
            ctx.check(g.greater_equal(b, ctx.constant(0, np.int64)), ValueError, "negative shift count")
        if op == ">>":
            return Scalar(g.right_shift(a, b), "int", min(la, 0), max(ha, -1))
        moved = g.left_shift(a, b)
        ends = (la << hb, ha << hb) if lb >= 0 and hb < 64 else (INT64_LIMITS.min - 1, 0)
        if min(la, ends[0]) >= INT64_LIMITS.min and max(ha, ends[1]) <= INT64_LIMITS.max:
            return Scalar(moved, "int", int(min(la, ends[0])), int(max(ha, ends[1])))
        # What falls out does not come back.
        ctx.check(g.equal(g.right_shift(moved, b), a), OverflowError, "a Python int of more than 64 bits")
        return Scalar(moved, "int")
    if op in ("//", "%"):
        if op == "%":
            bounds = (0, hb - 1) if lb > 0 else (lb + 1, 0) if hb < 0 else (None, None)
            return Scalar(g.remainder(a, b), "int", *bounds)
        limits = (
            (min(la, -ha), max(ha, -la))
            if lb <= 0
            else (min(la, 0) if la < 0 else la // hb, ha // lb if ha >= 0 else 0)
        )
        return Scalar(g.floor_divide(a, b), "int", *(limits if INT64_LIMITS.min < limits[0] else (None, None)))
    if op == "**":
        result = ctx.constant(1, np.int64)
        bounds = (0, 0)
        exact = max(abs(la), abs(ha)) ** int(y)
        if exact > INT64_LIMITS.max:
            limit = int(INT64_LIMITS.max ** (1.0 / int(y)))
            inside = g.logical_and(
                g.greater_equal(a, ctx.constant(-limit, np.int64)), g.less_equal(a, ctx.constant(limit, np.int64))
            )
            ctx.check(inside, OverflowError, "a Python int of more than 64 bits")
        for _ in range(int(y)):
            result = g.multiply(result, a)
        bounds = (0 if int(y) % 2 == 0 else -exact, exact)
        return Scalar(result, "int", *(bounds if exact <= INT64_LIMITS.max else (None, None)))
    corners = {
        "+": (la + lb, ha + hb),
        "-": (la - hb, ha - lb),
        "*": (min(la * lb, la * hb, ha * lb, ha * hb), max(la * lb, la * hb, ha * lb, ha * hb)),
    }[op]
    made: Value = g.emit({"+": "add", "-": "subtract", "*": "multiply"}[op], [a, b]).result
    if corners[0] < INT64_LIMITS.min or corners[1] > INT64_LIMITS.max:
        _check_overflow(ctx, op, a, b, made)
    return Scalar(made, "int", max(corners[0], int(INT64_LIMITS.min)), min(corners[1], int(INT64_LIMITS.max)))


def _check_overflow(ctx: Context, op: str, a: Value, b: Value, made: Value) -> None:
    """A Python int does not wrap: refuse, with the line, what needs more than 64 bits."""
    g = ctx.g
    zero = ctx.constant(0, np.int64)
    if op == "+":
        bad = g.less(g.bitwise_and(g.bitwise_xor(a, made), g.bitwise_xor(b, made)), zero)
    elif op == "-":
        bad = g.less(g.bitwise_and(g.bitwise_xor(a, b), g.bitwise_xor(a, made)), zero)
    else:
        # The float product is within 2**-52 of the true one, so it tells overflow from the wrapped product.
        near = g.multiply(g.cast(a, dtype=np.float64), g.cast(b, dtype=np.float64))
        bad = g.greater_equal(g.absolute(g.subtract(near, g.cast(made, dtype=np.float64))), 2.0**62)
    ctx.check(g.logical_not(bad), OverflowError, "a Python int of more than 64 bits")
