"""Functions that go through elements in turn: methods of ufuncs, `piecewise`, `vectorize`, `insert` and others."""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.trace.algorithms.grids import parts

__all__ = [
    "accumulate", "apply_along_axis", "array_equal", "at", "c_", "corrcoef", "fold", "insert", "ix_", "nanstd",
    "nanvar", "piecewise", "put", "r_", "ravel_multi_index", "reduceat", "repeated", "unravel_index", "vectorized",
]  # fmt: skip


def array_equal(x: Any, y: Any, equal_nan: bool) -> bool:
    """Stand for `np.array_equal` of two arrays."""
    if x.ndim != y.ndim or x.shape != y.shape:
        return False
    equal = x == y
    if equal_nan:
        equal = equal | (np.isnan(x) & np.isnan(y))
    return bool(np.all(equal))


def repeated(a: Any, counts: Any, axis: int) -> Any:
    """Stand for `np.repeat(a, counts, axis)`, with a count for each item."""
    n = a.shape[axis]
    if len(counts) != n:
        raise ValueError(f"operands could not be broadcast together with shape ({n},) ({len(counts)},)")
    if np.any(counts < 0):
        raise ValueError("repeats may not contain negative values.")
    ends = np.cumsum(counts)
    return np.take(a, np.searchsorted(ends, np.arange(np.sum(counts)), side="right"), axis)


# --- methods of ufuncs


def fold(function: Any, a: Any) -> Any:
    """Return what a binary ufunc makes of the items of an array in turn."""
    made = a[0].copy()
    for k in range(1, len(a)):
        made = function(made, a[k])
    return made


def accumulate(function: Any, a: Any) -> Any:
    """Return what a binary ufunc makes of the items of an array up to each."""
    made = a.copy()
    for k in range(1, len(a)):
        made[k] = function(made[k - 1], a[k])
    return made


def at(function: Any, a: Any, indices: Any, b: Any) -> None:
    """Stand for `function.at(a, indices, b)`, with one index array of rank 1 for the first axis."""
    for k in range(len(indices)):
        a[indices[k]] = function(a[indices[k]], b[k])


def reduceat(function: Any, a: Any, indices: Any) -> Any:
    """Stand for `function.reduceat(a, indices)`."""
    n = len(a)
    for k in range(len(indices)):
        if indices[k] < 0 or indices[k] >= n:
            raise IndexError(f"index {indices[k]} out-of-bounds in {function.__name__}.reduceat [0, {n})")
    made = a[indices]
    for k in range(len(indices)):
        stop = n if k == len(indices) - 1 else indices[k + 1]
        if stop > indices[k]:
            made[k] = function.reduce(a[indices[k] : stop], axis=0)
    return made


# --- functions of functions


def piecewise(x: Any, condlist: Any, funclist: Any, *args: Any, **kw: Any) -> Any:
    """Stand for `np.piecewise`."""
    x = np.asarray(x)
    single = np.ndim(condlist) == 0 or (np.ndim(condlist[0]) == 0 and x.ndim != 0)
    conditions = [np.asarray(c, np.bool_) for c in ([condlist] if single else condlist)]
    if len(funclist) == len(conditions) + 1:
        conditions.append(~np.any(np.array(conditions), axis=0))
    if len(funclist) != len(conditions):
        n = len(conditions)
        raise ValueError(f"with {n} condition(s), either {n} or {n + 1} functions are expected")
    made = np.zeros_like(x)
    for mask, function in zip(conditions, funclist, strict=True):
        if callable(function):
            part = x[mask]
            if part.size > 0:
                made[mask] = function(part, *args, **kw)
        else:
            made[mask] = function
    return made


def vectorized(function: Any, *args: Any) -> Any:
    """Stand for the call of `np.vectorize(function)`."""
    arrays = np.broadcast_arrays(*args)
    flat = [a.ravel() for a in arrays]
    n = len(flat[0])
    if n == 0:
        raise ValueError("cannot call `vectorize` on size 0 inputs unless `otypes` is set")
    # NumPy takes dtypes from a call with its own numbers, values from calls with Python's.
    first = function(*[p[0] for p in flat])
    several = isinstance(first, tuple)
    made = [np.zeros(n, np.asarray(v).dtype) for v in (first if several else (first,))]
    for k in range(n):
        found = function(*[p[k].item() for p in flat])
        for target, v in zip(made, found if several else (found,), strict=True):
            target[k] = v
    shaped = tuple([m.reshape(arrays[0].shape) for m in made])
    return shaped if several else shaped[0]


def apply_along_axis(func1d: Any, axis: Any, arr: Any, *args: Any, **kwargs: Any) -> Any:
    """Stand for `np.apply_along_axis`."""
    arr = np.asarray(arr)
    if not -arr.ndim <= axis < arr.ndim:
        raise np.exceptions.AxisError(axis, arr.ndim)
    axis = axis % arr.ndim
    rows = np.moveaxis(arr, axis, -1)
    lead = rows.shape[:-1]
    rows = rows.reshape(-1, rows.shape[-1])
    if len(rows) == 0:
        raise ValueError("Cannot apply_along_axis when any iteration dimensions are 0")
    first = np.asarray(func1d(rows[0], *args, **kwargs))
    made = np.zeros((len(rows), *first.shape), first.dtype)
    for k in range(len(rows)):
        made[k] = func1d(rows[k], *args, **kwargs)
    made = made.reshape((*lead, *first.shape))
    # The dimensions of what the function gives stand where the axis stood.
    for k in range(first.ndim):
        made = np.moveaxis(made, len(lead) + k, axis + k)
    return made


# --- shapes and places


def insert(arr: Any, obj: Any, values: Any, axis: Any = None) -> Any:
    """Stand for `np.insert` at one place."""
    arr = np.asarray(arr)
    if axis is None:
        arr, axis = arr.ravel(), 0
    if not -arr.ndim <= axis < arr.ndim:
        raise np.exceptions.AxisError(axis, arr.ndim)
    axis = axis % arr.ndim
    n = arr.shape[axis]
    if obj < -n or obj > n:
        raise IndexError(f"index {obj} is out of bounds for axis {axis} with size {n}")
    if obj < 0:
        obj = obj + n
    new = np.moveaxis(np.array(values, ndmin=arr.ndim, dtype=arr.dtype), 0, axis)
    shape = list(arr.shape)
    shape[axis] = new.shape[axis]
    turned = np.moveaxis(arr, axis, 0)
    rows = (turned[:obj], np.moveaxis(np.broadcast_to(new, tuple(shape)), axis, 0), turned[obj:])
    return np.moveaxis(np.concatenate(rows), 0, axis)


def ix_(*args: Any) -> Any:
    """Stand for `np.ix_`."""
    made = []
    for k in range(len(args)):
        places = np.asarray(args[k])
        if places.ndim != 1:
            raise ValueError("Cross index must be 1 dimensional")
        if places.size == 0:
            places = places.astype(np.int64)
        if places.dtype == np.bool_:
            places = np.flatnonzero(places)
        made.append(places.reshape((1,) * k + (-1,) + (1,) * (len(args) - k - 1)))
    return tuple(made)


def unravel_index(indices: Any, shape: Any) -> Any:
    """Stand for `np.unravel_index`."""
    dims = shape if isinstance(shape, tuple | list) else (shape,)
    rest = np.asarray(indices)
    if rest.dtype.kind not in "iu":
        raise TypeError("only int indices permitted")
    rest = rest.astype(np.int64)
    size = 1
    for d in dims:
        size *= d
    outside = (rest < 0) | (rest >= size)
    if np.any(outside):
        wrong = rest.ravel()[np.argmax(outside)]
        raise ValueError(f"index {wrong} is out of bounds for array with size {size}")
    made = []
    for d in dims[::-1]:
        made.append(rest % d)
        rest = rest // d
    return tuple(made[::-1])


def ravel_multi_index(multi_index: Any, dims: Any) -> Any:
    """Stand for `np.ravel_multi_index`."""
    dims = dims if isinstance(dims, tuple | list) else (dims,)
    if len(multi_index) != len(dims):
        raise ValueError(f"parameter multi_index must be a sequence of length {len(dims)}")
    total: Any = 0
    for at, d in zip(multi_index, dims, strict=True):
        at = np.asarray(at)
        if at.dtype.kind not in "iu":
            raise TypeError("only int indices permitted")
        if np.any((at < 0) | (at >= d)):
            raise ValueError("invalid entry in coordinates array")
        total = total * d + at
    return total


def put(a: Any, ind: Any, v: Any) -> None:
    """Stand for `np.put`."""
    places, values = np.ravel(ind), np.ravel(v)
    if len(values):
        for k in range(len(places)):
            a.flat[places[k]] = values[k % len(values)]


def r_(key: Any) -> Any:
    """Stand for `np.r_[key]`."""
    items = parts(key)
    dtype = np.result_type(*items)
    return np.concatenate([np.atleast_1d(np.asarray(x, dtype)) for x in items])


def c_(key: Any) -> Any:
    """Stand for `np.c_[key]`."""
    items = parts(key)
    dtype = np.result_type(*items)
    arrays = [np.asarray(x, dtype) for x in items]
    return np.concatenate([a.reshape(-1, 1) if a.ndim < 2 else a for a in arrays], axis=-1)


# --- statistics


def corrcoef(x: Any, y: Any = None, rowvar: bool = True) -> Any:
    """Stand for `np.corrcoef`."""
    c = np.cov(x, y, rowvar)
    if c.ndim == 0:
        return c / c
    deviations = np.sqrt(np.diag(c))
    return np.clip(c / deviations[:, None] / deviations[None, :], -1.0, 1.0)


def nanvar(a: Any, axis: Any = None, ddof: Any = 0, keepdims: bool = False) -> Any:
    """Stand for `np.nanvar`."""
    a = np.asarray(a)
    dtype = a.dtype if a.dtype.kind == "f" else np.dtype(np.float64)
    good = ~np.isnan(a)
    count = good.sum(axis=axis, keepdims=True).astype(dtype)
    mean = np.where(good, a, 0.0).sum(axis=axis, keepdims=True) / count
    squares = np.where(good, a - mean, 0.0) ** 2
    free = (good.sum(axis=axis, keepdims=keepdims) - ddof).astype(dtype)
    return squares.sum(axis=axis, keepdims=keepdims) / np.where(free > 0, free, np.nan)


def nanstd(a: Any, axis: Any = None, ddof: Any = 0, keepdims: bool = False) -> Any:
    """Stand for `np.nanstd`."""
    return np.sqrt(nanvar(a, axis, ddof, keepdims))
