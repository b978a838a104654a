"""NumPy's functions that plain programs stand for (`algorithms`), and methods of ufuncs that fold in turn.

In: abstract arguments. Out: what the programs give. Arguments that those do not take are refused by name here.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.trace.abstract import External
from jitgrad.trace.algorithms import counting, elements, grids, squares
from jitgrad.trace.arrays import as_array, cast, dtype_of, is_number, shape_of
from jitgrad.trace.calls import CALLS, HANDLERS, ITEMS, Native, handles, outside_of
from jitgrad.trace.context import Context
from jitgrad.trace.extents import surely
from jitgrad.trace.sizes import axis_argument, known_argument, numeric, refuse_empty
from jitgrad.trace.ufuncs import as_bool, ufunc_method

__all__ = ["accumulated", "reduced"]


def _stands_for(function: Any, program: Callable[..., Any], *refused: str) -> None:
    """Let a program stand for a function, without the arguments that are named."""
    parameters = inspect.signature(function).parameters
    names = list(parameters)
    first = min((k for k, name in enumerate(names) if name in refused), default=len(names))

    def call(ctx: Context, *args: Any, **kwargs: Any) -> Any:
        if refused:
            if len(args) > len(names):
                raise TypeError(f"{function.__name__}() takes {len(names)} arguments but {len(args)} were given")
            # The program has other parameters: from the first that it lacks on, arguments go by name.
            kwargs = dict(zip(names[first:], args[first:], strict=False)) | kwargs
            args = args[:first]
        for name in refused:
            given = kwargs.get(name)
            if given is not None and given is not False and given is not parameters[name].default:
                raise ctx.error("JG235", name=f"np.{function.__name__}", argument=name)
        return ctx.call(program, args, {k: v for k, v in kwargs.items() if k not in refused})

    HANDLERS[function] = call


_stands_for(np.digitize, counting.digitize)
_stands_for(np.union1d, counting.union1d)
_stands_for(np.intersect1d, counting.intersect1d, "return_indices")
_stands_for(np.setdiff1d, counting.setdiff1d)
_stands_for(np.isin, counting.isin, "kind")
_stands_for(np.piecewise, elements.piecewise)
_stands_for(np.apply_along_axis, elements.apply_along_axis)
_stands_for(np.ix_, elements.ix_)
_stands_for(np.unravel_index, elements.unravel_index, "order")
_stands_for(np.ravel_multi_index, elements.ravel_multi_index, "mode", "order")
_stands_for(np.put, elements.put, "mode")
_stands_for(np.corrcoef, elements.corrcoef, "bias", "ddof", "dtype")
_stands_for(np.nanvar, elements.nanvar, "dtype", "out", "where", "mean", "correction")
_stands_for(np.nanstd, elements.nanstd, "dtype", "out", "where", "mean", "correction")
_stands_for(np.unique, counting.unique, "axis")
_stands_for(np.geomspace, grids.geomspace, "dtype", "axis")
_stands_for(np.hanning, grids.hanning)
_stands_for(np.hamming, grids.hamming)
_stands_for(np.blackman, grids.blackman)
_stands_for(np.polyfit, squares.polyfit, "rcond", "full", "cov")


@handles(np.bincount)
def _bincount(ctx: Context, x: Any, /, weights: Any = None, minlength: Any = 0) -> Any:
    # NumPy counts no weights where there are none.
    empty = shape_of(ctx, numeric(ctx, x)) == (0,)
    return ctx.call(counting.bincount, [x, None if empty else weights, minlength])


@handles(np.histogram)
def _histogram(ctx: Context, a: Any, bins: Any = 10, *args: Any, **kwargs: Any) -> Any:
    if isinstance(bins, str):
        raise ctx.error("JG235", name="np.histogram", argument=f"bins={bins!r}")
    return ctx.call(counting.histogram, [a, bins, *args], kwargs)


@handles(np.insert)
def _insert(ctx: Context, arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    if not is_number(obj) or dtype_of(ctx, obj).kind not in "iu":
        raise ctx.error("JG235", name="np.insert", argument="several places")
    return ctx.call(elements.insert, [arr, obj, values, axis])


# --- objects that are called or subscripted


@handles(np.vectorize)
def _vectorize(ctx: Context, pyfunc: Any, otypes: Any = None, *rest: Any, **kwargs: Any) -> Any:
    if otypes is not None or any(x not in (None, False) for x in (*rest[1:], *kwargs.values())):
        raise ctx.error("JG235", name="np.vectorize", argument="options")
    return Native(lambda c, *args: c.call(elements.vectorized, [pyfunc, *args]))


def _call_vectorize(ctx: Context, x: External, *args: Any, **kwargs: Any) -> Any:
    given = x.thing
    if given.otypes is not None or given.excluded or given.signature is not None or kwargs:
        raise ctx.error("JG235", name="np.vectorize", argument="options")
    outside = outside_of(ctx)
    pyfunc = outside.read(given.pyfunc, (*x.source, ("attr", "pyfunc")))
    return ctx.call(elements.vectorized, [pyfunc, *args])


CALLS[np.vectorize] = _call_vectorize


def _subscripted(thing: Any, program: Callable[..., Any]) -> None:
    def item(ctx: Context, key: Any) -> Any:
        if any(isinstance(part, str) for part in (key if isinstance(key, tuple) else (key,))):
            raise ctx.error("JG235", name=f"np.{program.__name__}", argument="a directive in a text")
        return ctx.call(program, [key])

    ITEMS[type(thing)] = item


_subscripted(np.r_, elements.r_)
_subscripted(np.c_, elements.c_)
_subscripted(np.mgrid, grids.mgrid)
_subscripted(np.ogrid, grids.ogrid)


# --- methods of ufuncs


def _folded(ctx: Context, function: np.ufunc, a: Any, dtype: Any) -> Any:
    """Return an array in the dtype in which a binary ufunc folds it.

    Raises
    ------
    UnsupportedError
        JG232 where the ufunc gives another dtype than it takes.
    """
    value = as_array(ctx, numeric(ctx, a))
    own = known_argument(ctx, dtype, "a dtype")
    wanted = value.array.dtype if own is None else np.dtype(own)
    if function in (np.logical_and, np.logical_or, np.logical_xor):
        return ctx.fresh(as_bool(ctx, value))
    if function in (np.add, np.multiply) and own is None and value.array.dtype.kind in "biu":
        # NumPy sums and multiplies ints in 64 bits.
        wanted = np.dtype(np.uint64 if value.array.dtype.kind == "u" else np.int64)
    if function.nin != 2 or function.nout != 1 or function.resolve_dtypes((wanted, wanted, None))[-1] != wanted:
        raise ctx.error("JG232", name="accumulate or reduce", what=f"np.{function.__name__} of {wanted}")
    return ctx.fresh(cast(ctx, value, wanted))


def reduced(ctx: Context, function: np.ufunc, a: Any, axis: Any, dtype: Any) -> Any:
    """Return `function.reduce(a, axis, dtype)` of a ufunc without a reduction of its own."""
    x = _folded(ctx, function, a, dtype)
    if not shape_of(ctx, x) and axis in (0, -1):
        return ctx.result(as_array(ctx, x))  # NumPy lets a number pass for a line of one
    at = axis_argument(ctx, axis, len(shape_of(ctx, x)))
    size = shape_of(ctx, x)[at]
    if not surely(ctx, 1, (1, size)):
        refuse_empty(ctx, size, f"np.{function.__name__}.reduce")
    return ctx.call(elements.fold, [function, ctx.call(np.moveaxis, [x, at, 0])])


def accumulated(ctx: Context, function: np.ufunc, a: Any, axis: Any, dtype: Any) -> Any:
    """Return `function.accumulate(a, axis, dtype)` of a ufunc without a scan of its own."""
    x = _folded(ctx, function, a, dtype)
    at = axis_argument(ctx, axis, len(shape_of(ctx, x)))
    made = ctx.call(elements.accumulate, [function, ctx.call(np.moveaxis, [x, at, 0])])
    return ctx.call(np.moveaxis, [made, 0, at]) if at else made


@ufunc_method("reduceat")
def _reduceat(ctx: Context, function: np.ufunc, array: Any, indices: Any, axis: Any = 0, dtype: Any = None) -> Any:
    x = _folded(ctx, function, array, dtype)
    at = axis_argument(ctx, axis, len(shape_of(ctx, x)))
    made = ctx.call(elements.reduceat, [function, ctx.call(np.moveaxis, [x, at, 0]), numeric(ctx, indices)])
    return ctx.call(np.moveaxis, [made, 0, at]) if at else made
