"""NumPy's ufuncs on abstract values: which loop runs, and the op that is emitted.

In: a ufunc and numbers, arrays or sequences. Out: what NumPy gives, with dtypes from `ufunc.resolve_dtypes`, Python's
numbers weak. This room knows no operators of Python.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.primitive import PRIMITIVES
from jitgrad.graph.types import GraphTypeError
from jitgrad.trace.abstract import Scalar
from jitgrad.trace.arrays import as_array, broadcast_dims, dtype_of, is_numeric, kind, scalar_value
from jitgrad.trace.context import Context, kind_of_python
from jitgrad.trace.python_arithmetic import INT64_LIMITS, ORDER, bounds_of

__all__ = ["COMPOSITES", "UFUNCS", "python_kind", "resolve", "ufunc"]


def _primitives_by_ufunc() -> dict[Any, str]:
    return {f: p.name for p in PRIMITIVES.values() for f in p.numpy if p.is_elementwise}


UFUNCS: dict[Any, str] = _primitives_by_ufunc()


def resolve(ctx: Context, function: np.ufunc, xs: Sequence[Any], dtype: Any = None) -> tuple[np.dtype, ...]:
    """Return the dtypes of the loop that NumPy chooses, results last; `dtype` asks for a loop with this result."""
    weak = {"int": int, "float": float, "complex": complex}
    kinds = [kind(x) for x in xs]
    if "mixed" in kinds:
        ways = [[Scalar(x.value, k) if kind(x) == "mixed" else x for x in xs] for k in ("numpy", python_kind(xs))]
        found, other = (resolve(ctx, function, way, dtype) for way in ways)
        if found != other and not all(k in (*ORDER, "mixed") for k in kinds):
            raise ctx.error("JG244", what=f"np.{function.__name__} of a number and an array of {other[0]}")
        return found
    if all(k in weak or k == "bool" for k in kinds):
        spec: list[Any] = [dtype_of(ctx, x) for x in xs]
    else:
        spec = [weak.get(k) or dtype_of(ctx, x) for k, x in zip(kinds, xs, strict=True)]
    if (
        function in _COMPARISONS
        and "int" in kinds
        and all(d.kind in "iub" and d != np.uint64 for d in _dtypes(ctx, xs))
    ):
        # A Python int need not fit the dtype that it is compared with.
        return np.dtype(np.int64), np.dtype(np.int64), np.dtype(np.bool_)
    results = (None,) * function.nout
    if dtype is None:
        found = function.resolve_dtypes((*spec, *results))
    else:
        signature = (None,) * function.nin + (np.dtype(dtype),) * function.nout
        found = function.resolve_dtypes((*spec, *results), signature=signature)
    for k, x, chosen in zip(kinds, xs, found, strict=False):
        if k == "int" and chosen.kind in "iu" and not isinstance(x, Scalar) and not _fits(x, chosen):
            raise OverflowError(f"Python integer {x} out of bounds for {chosen.name}")
    return found


_COMPARISONS = (np.less, np.less_equal, np.equal, np.not_equal, np.greater, np.greater_equal)


def _dtypes(ctx: Context, xs: Sequence[Any]) -> list[np.dtype]:
    return [dtype_of(ctx, x) for x in xs]


def _check_weak_ints(ctx: Context, xs: Sequence[Any], dtypes: Sequence[np.dtype]) -> None:
    """Check that Python ints known only at run time fit the dtype that NumPy gives them."""
    for x, dtype in zip(xs, dtypes, strict=False):
        if kind(x) != "int" or not isinstance(x, Scalar) or dtype.kind not in "iu" or dtype == np.int64:
            continue
        info = np.iinfo(dtype)
        low, high = bounds_of(x)
        if low < info.min or high > info.max:
            g = ctx.g
            inside = g.greater_equal(x.value, ctx.constant(info.min, np.int64))
            if info.max < INT64_LIMITS.max:
                inside = g.logical_and(inside, g.less_equal(x.value, ctx.constant(info.max, np.int64)))
            ctx.check(inside, OverflowError, f"Python integer {{0}} out of bounds for {dtype.name}", x.value)


def _check_exponents(ctx: Context, exponents: Value) -> None:
    """NumPy does not raise integers to negative powers."""
    message = "Integers to negative integer powers are not allowed."
    op = exponents.op
    if op is not None and op.name == "constant":
        if (op.attrs["value"] < 0).any():
            raise ValueError(message)
        return
    if exponents.array.dtype.kind == "i":
        g = ctx.g
        fine = g.greater_equal(exponents, ctx.constant(0, exponents.array.dtype))
        if exponents.array.rank:
            fine = g.reduce_and(fine, axes=tuple(range(exponents.array.rank)))
        ctx.check(fine, ValueError, message)


def _fits(x: int, dtype: np.dtype) -> bool:
    info = np.iinfo(dtype)
    return bool(info.min <= x <= info.max)


COMPOSITES: dict[np.ufunc, Callable[..., Any]] = {}


def ufunc(ctx: Context, function: np.ufunc, *xs: Any, dtype: Any = None) -> Any:
    """Return what a NumPy ufunc gives for numbers, arrays and sequences.

    Parameters
    ----------
    function : ufunc
        One that a primitive implements (`UFUNCS`) or that is composed of others (`COMPOSITES`).
    dtype : dtype, optional
        As the argument of the ufunc: the dtype of the result decides the loop.

    Raises
    ------
    UnsupportedError
        JG215 for a ufunc that no primitive implements.
    TypeError, ValueError
        As NumPy: no loop for these dtypes, shapes that do not broadcast.
    """
    operands = [x if is_numeric(x) else ctx.fresh(as_array(ctx, x)) for x in xs]
    if all(kind_of_python(x) is not None for x in operands):
        with np.errstate(all="ignore"):
            return function(*operands, dtype=dtype)
    if function not in UFUNCS:
        if function not in COMPOSITES or dtype is not None:
            raise ctx.error("JG215", name=f"np.{function.__name__}")
        return COMPOSITES[function](ctx, *operands)
    dtypes = resolve(ctx, function, operands, dtype)
    if any(d.kind not in "biufc" for d in dtypes):
        raise ctx.error("JG216", name=f"np.{function.__name__}", dtypes=", ".join(map(str, dtypes)))
    _check_weak_ints(ctx, operands, dtypes)
    values = [scalar_value(ctx, x, d) for x, d in zip(operands, dtypes, strict=False)]
    if function is np.power and dtypes[-1].kind in "iu":
        _check_exponents(ctx, values[1])
    broadcast_dims(ctx, *(v.shape for v in values))
    try:
        return ctx.result(ctx.g.emit(UFUNCS[function], values).result)
    except GraphTypeError:
        # NumPy has a loop for these dtypes that the primitive does not.
        raise ctx.error("JG216", name=f"np.{function.__name__}", dtypes=", ".join(map(str, dtypes))) from None


def python_kind(xs: Sequence[Any]) -> str:
    """Return the Python kind of the mixed number among some values."""
    return "bool" if any(kind(x) == "mixed" and x.value.array.dtype == np.bool_ for x in xs) else "float"
