"""Python's functions of one or two numbers: `abs`, `round`, `divmod`, `pow`, `float`, `int`, `bool`, `len`.

In: abstract values. Out: abstract numbers of the kind that Python gives, with Python's exceptions as checks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from jitgrad.trace import arithmetic, arrays, promotion
from jitgrad.trace.abstract import AnyOf, DictRef, External, IndexRange, ListRef, OneOf, Record, Scalar, Text
from jitgrad.trace.alternatives import apart
from jitgrad.trace.arrays import (
    as_array,
    as_float,
    as_int,
    cast,
    dtype_of,
    float_to_int,
    is_array,
    is_numeric,
    kind,
    scalar_value,
    truth,
)
from jitgrad.trace.attributes import opened
from jitgrad.trace.calls import class_of, handles, method
from jitgrad.trace.columns import grown_length, is_grown
from jitgrad.trace.context import Context, kind_of_python
from jitgrad.trace.iteration import range_count
from jitgrad.trace.objects import is_object, special_method, type_name
from jitgrad.trace.operators import binary_op
from jitgrad.trace.sizes import dim_scalar, static_int

__all__ = ["length", "truth_value"]


# --- truth and length


@handles(bool)
def truth_value(ctx: Context, x: Any = False) -> Any:
    """Return `bool(x)`: a bool if known, else a bool Scalar."""
    if isinstance(x, External) and isinstance(x.thing, list | dict):
        x = opened(ctx, x)
    if isinstance(x, np.ndarray):
        x = ctx.fresh(as_array(ctx, x))
    if isinstance(x, AnyOf | OneOf):
        return ctx.by_choice(partial(truth_value, ctx), x)
    if is_numeric(x):
        return truth(ctx, x)
    if isinstance(x, Record | External) or is_object(x):
        found = special_method(ctx, x, "__bool__")
        if found is not None:
            return ctx.call(found, [])
        found = special_method(ctx, x, "__len__")
        return True if found is None else truth_value(ctx, ctx.call(found, []))
    if isinstance(x, ListRef | DictRef | IndexRange):
        count = length(ctx, x)
        return count > 0 if isinstance(count, int) else arithmetic.binary(ctx, ">", count, 0)
    if isinstance(x, Text):
        if any(isinstance(p, str) and p for p in x.parts):
            return True
        raise ctx.error("JG220", what="the truth of a text with parts known only at run time")
    if isinstance(x, tuple):
        return len(x) > 0
    return bool(x)


@handles(len)
def length(ctx: Context, x: Any) -> Any:
    """Return `len(x)`: an int, or an int Scalar."""
    if isinstance(x, External) and isinstance(x.thing, list | dict):
        x = opened(ctx, x)
    if is_array(x):
        shape = arrays.shape_of(ctx, x)
        if not shape:
            raise TypeError("len() of unsized object")
        return dim_scalar(ctx, shape[0])
    if isinstance(x, ListRef) and is_grown(ctx, x):
        return Scalar(grown_length(ctx, x), "int", 0, None)
    if isinstance(x, ListRef | DictRef):
        return len(ctx.heap[x.cell])
    if isinstance(x, IndexRange):
        return range_count(ctx, x)
    if isinstance(x, Record | External):
        found = special_method(ctx, x, "__len__")
        if found is not None:
            return ctx.call(found, [])
    if isinstance(x, Scalar) or not hasattr(x, "__len__"):
        raise TypeError(f"object of type '{type_name(ctx, x)}' has no len()")
    return len(x)


# --- conversions


def _object_conversion(ctx: Context, x: Any, names: Sequence[str]) -> Any:
    """Return what the first of some special methods of an object gives, `...` where it has none."""
    if isinstance(x, Record | External):
        for name in names:
            found = special_method(ctx, x, name)
            if found is not None:
                return ctx.call(found, [])
    return ...


@handles(float)
def _float(ctx: Context, x: Any = 0.0) -> Any:
    made = _object_conversion(ctx, x, ["__float__", "__index__"])
    if made is not ...:
        return as_float(ctx, made)
    if isinstance(x, np.ndarray):
        x = ctx.fresh(as_array(ctx, x))
    if is_numeric(x):
        return as_float(ctx, x)
    if isinstance(x, str | int | float):
        return float(x)
    if isinstance(x, Text):
        raise ctx.error("JG220", what="reading a number from a text with parts known only at run time")
    raise TypeError(f"float() argument must be a string or a real number, not '{type_name(ctx, x)}'")


@handles(int)
def _int(ctx: Context, x: Any = 0, base: Any = None) -> Any:
    if base is not None:
        return int(x, static_int(ctx, base, "a base"))
    made = _object_conversion(ctx, x, ["__int__", "__index__", "__trunc__"])
    if made is not ...:
        return as_int(ctx, made)
    if isinstance(x, np.ndarray):
        x = ctx.fresh(as_array(ctx, x))
    if is_numeric(x):
        return as_int(ctx, x)
    if isinstance(x, str | bytes | int | float):
        return int(x)
    if isinstance(x, Text):
        raise ctx.error("JG220", what="reading a number from a text with parts known only at run time")
    raise TypeError(f"int() argument must be a string, a bytes-like object or a real number, not '{type_name(ctx, x)}'")


@handles(complex)
def _complex(ctx: Context, real: Any = 0, imag: Any = 0) -> Any:
    if (kind_of_python(real) is not None and kind_of_python(imag) is not None) or isinstance(real, str):
        return complex(real, imag) if imag != 0 or not isinstance(real, str) else complex(real)
    if not is_numeric(real) or not is_numeric(imag):
        raise TypeError(f"complex() first argument must be a string or a number, not '{type_name(ctx, real)}'")
    dtype = np.dtype(np.complex128)
    made = scalar_value(ctx, real, dtype)
    if isinstance(imag, Scalar) or imag != 0:
        made = ctx.g.add(made, ctx.g.multiply(ctx.constant(1j, dtype), scalar_value(ctx, imag, dtype)))
    return Scalar(made, "complex")


# --- abs, round, divmod, pow


@handles(abs)
def _abs(ctx: Context, x: Any) -> Any:
    if kind_of_python(x) is not None:
        return abs(x)
    if not is_numeric(x):
        found = _object_conversion(ctx, x, ["__abs__"])
        if found is ...:
            raise TypeError(f"bad operand type for abs(): '{type_name(ctx, x)}'")
        return found
    if kind(x) == "int":
        negative = arithmetic.binary(ctx, "<", x, 0)
        if isinstance(negative, bool):
            return arithmetic.unary(ctx, "-", x) if negative else x
        minus = arithmetic.unary(ctx, "-", x)
        bounds = [abs(b) for b in (x.low, x.high) if b is not None]
        value = ctx.g.select(negative.value, minus.value, x.value)
        return Scalar(value, "int", 0, max(bounds) if len(bounds) == 2 else None)
    if kind(x) == "mixed":
        return ctx.by_choice(partial(_abs, ctx), apart(x))
    if kind(x) == "bool":
        return as_int(ctx, x)
    if kind(x) == "complex":
        raise ctx.error("JG216", name="abs", dtypes="complex")
    if kind(x) == "float":
        return Scalar(ctx.g.absolute(x.value), "float")
    return promotion.ufunc(ctx, np.absolute, x)


@handles(round)
def _round(ctx: Context, x: Any, ndigits: Any = None) -> Any:
    if ndigits is not None:
        ndigits = static_int(ctx, ndigits, "the digits of round()")
    if kind_of_python(x) is not None:
        return round(x) if ndigits is None else round(x, ndigits)
    if not is_numeric(x):
        found = special_method(ctx, x, "__round__") if isinstance(x, Record | External) else None
        if found is None:
            raise TypeError(f"type {type_name(ctx, x)} doesn't define __round__ method")
        return ctx.call(found, [] if ndigits is None else [ndigits])
    if is_array(x):
        raise TypeError("type numpy.ndarray doesn't define __round__ method")
    if dtype_of(ctx, x).kind in "iub":
        return (
            as_int(ctx, x) if ndigits is None or (ndigits >= 0 and kind(x) != "numpy") else _round_more(ctx, x, ndigits)
        )
    if ndigits is None:
        return float_to_int(ctx, ctx.g.rint(cast(ctx, x.value, np.float64)))
    return _round_more(ctx, x, ndigits)


def _round_more(ctx: Context, x: Any, ndigits: int) -> Any:
    if kind(x) == "numpy":
        return ctx.call(np.round, [x, ndigits])
    raise ctx.error("JG237", name="round(x, n)", why="Python rounds to decimal digits by way of the decimal text")


@handles(divmod)
def _divmod(ctx: Context, x: Any, y: Any) -> Any:
    return binary_op(ctx, "//", x, y), binary_op(ctx, "%", x, y)


@handles(pow)
def _pow(ctx: Context, base: Any, exp: Any, mod: Any = None) -> Any:
    if mod is not None:
        if all(kind_of_python(v) is not None for v in (base, exp, mod)):
            return pow(base, exp, mod)
        return binary_op(ctx, "%", binary_op(ctx, "**", base, exp), mod)
    return binary_op(ctx, "**", base, exp)


# --- methods of Python numbers


@method("scalar", "conjugate")
def _conjugate(ctx: Context, x: Any) -> Any:
    if kind(x) == "complex":
        return Scalar(ctx.g.conjugate(x.value), "complex")
    return as_int(ctx, x) if kind(x) == "bool" else x


@method("scalar", "is_integer")
def _is_integer(ctx: Context, x: Any) -> Any:
    if kind(x) != "float":
        return True
    g = ctx.g
    whole = g.equal(g.floor(x.value), x.value)
    return Scalar(g.logical_and(whole, g.less(g.absolute(x.value), math.inf)), "bool")


@method("scalar", "item")
def _item(ctx: Context, x: Any) -> Any:
    raise AttributeError(f"'{class_of(ctx, x).__name__}' object has no attribute 'item'")
