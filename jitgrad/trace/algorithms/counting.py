"""Functions that count and sort into groups: `digitize`, `bincount`, `histogram`, `unique` and their kin."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["bincount", "digitize", "histogram", "in_range", "intersect1d", "isin", "setdiff1d", "union1d", "unique"]


def _line(a: Any, dtype: Any = None) -> Any:
    """Return an argument that must be an array of rank 1."""
    made = np.asarray(a, dtype)
    if made.ndim != 1:
        depth = "too deep" if made.ndim else "of too small depth"
        raise ValueError(f"object {depth} for desired array")
    return made


def digitize(x: Any, bins: Any, right: bool = False) -> Any:
    """Stand for `np.digitize`."""
    points = _line(bins)
    side: Any = "left" if right else "right"
    if np.all(points[:-1] <= points[1:]):
        return np.searchsorted(points, x, side=side)
    if not np.all(points[:-1] >= points[1:]):
        raise ValueError("bins must be monotonically increasing or decreasing")
    return len(points) - np.searchsorted(points[::-1], x, side=side)


def bincount(x: Any, /, weights: Any = None, minlength: Any = 0) -> Any:
    """Stand for `np.bincount`."""
    places = _line(x)
    if places.dtype.kind not in "iub":
        raise TypeError(
            f"Cannot cast array data from {places.dtype!r} to {np.dtype(np.int64)!r} according to the rule 'safe'"
        )
    if minlength is None:
        raise TypeError("use 0 instead of None for minlength")
    if minlength < 0:
        raise ValueError("'minlength' must not be negative")
    places = places.astype(np.int64)
    size = minlength
    if len(places) > 0:
        if np.min(places) < 0:
            raise ValueError("'list' argument must have no negative elements")
        size = max(int(np.max(places)) + 1, minlength)
    if weights is None:
        made = np.zeros(size, np.int64)
        np.add.at(made, places, 1)
        return made
    given = _line(weights, np.float64)
    if len(given) != len(places):
        raise ValueError("The weights and list don't have the same length.")
    made = np.zeros(size)
    np.add.at(made, places, given)
    return made


def in_range(x: Any, start: int, stop: int, step: int) -> bool:
    """Stand for `x in range(start, stop, step)`."""
    inside = start <= x < stop if step > 0 else stop < x <= start
    return inside and (x - start) % step == 0


def _edges(a: Any, bins: Any, range: Any) -> Any:
    """Return the borders of the groups of `histogram`: those given, or so many in equal steps."""
    if np.ndim(bins):
        if np.ndim(bins) > 1:
            raise ValueError("`bins` must be 1d, when an array")
        edges = np.asarray(bins)
        if np.any(edges[:-1] > edges[1:]):
            raise ValueError("`bins` must increase monotonically, when an array")
        return edges
    if not isinstance(bins, int | np.integer):
        raise TypeError("`bins` must be an integer, a string, or an array")
    if bins < 1:
        raise ValueError("`bins` must be positive, when an integer")
    if range is not None:
        first, last = range
        if first > last:
            raise ValueError("max must be larger than min in range parameter.")
        if not (np.isfinite(first) and np.isfinite(last)):
            raise ValueError(f"supplied range of [{first}, {last}] is not finite")
    elif a.size == 0:
        first, last = 0.0, 1.0
    else:
        first, last = a.min(), a.max()
        if not (np.isfinite(first) and np.isfinite(last)):
            raise ValueError(f"autodetected range of [{first}, {last}] is not finite")
    dtype = np.result_type(first, last, a)
    half = 0.5 * (first == last)
    return np.linspace(first - half, last + half, bins + 1, dtype=dtype if dtype.kind == "f" else np.float64)


def histogram(a: Any, bins: Any = 10, range: Any = None, density: Any = None, weights: Any = None) -> Any:
    """Stand for `np.histogram`."""
    values = np.asarray(a)
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    if weights is not None:
        weights = np.asarray(weights)
        if weights.shape != values.shape:
            raise ValueError("weights should have the same shape as a.")
        weights = weights.ravel()
    values = values.ravel()
    edges = _edges(values, bins, range)
    last = len(edges) - 2
    inside = (values >= edges[0]) & (values <= edges[-1])
    places = np.minimum(np.searchsorted(edges, values[inside], side="right") - 1, last)
    if weights is None:
        counts = np.zeros(last + 1, np.int64)
        np.add.at(counts, places, 1)
    else:
        counts = np.zeros(last + 1, weights.dtype)
        np.add.at(counts, places, weights[inside])
    if density:
        return counts / np.diff(edges).astype(np.float64) / counts.sum(), edges
    return counts, edges


def _starts(ordered: Any, equal_nan: bool = True) -> Any:
    """Return where a sorted array has another value than before."""
    made = np.ones(len(ordered), np.bool_)
    made[1:] = ordered[1:] != ordered[:-1]
    if equal_nan and ordered.dtype.kind == "f":
        made[1:] &= ~(np.isnan(ordered[1:]) & np.isnan(ordered[:-1]))
    return made


def unique(
    ar: Any,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    *,
    equal_nan: bool = True,
    sorted: bool = True,
) -> Any:
    """Stand for `np.unique` of all elements."""
    given = np.asarray(ar)
    values = given.ravel()
    if not (return_index or return_inverse or return_counts):
        ordered = np.sort(values)
        return ordered[_starts(ordered, equal_nan)]
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = _starts(ordered, equal_nan)
    made: tuple[Any, ...] = (ordered[starts],)
    if return_index:
        made += (order[starts],)
    if return_inverse:
        inverse = np.zeros(len(values), np.int64)
        inverse[order] = np.cumsum(starts) - 1
        made += (inverse.reshape(given.shape),)
    if return_counts:
        made += (np.diff(np.append(np.flatnonzero(starts), len(values))),)
    return made


def isin(element: Any, test_elements: Any, assume_unique: bool = False, invert: bool = False) -> Any:
    """Stand for `np.isin`."""
    found = np.any(np.asarray(element)[..., None] == np.asarray(test_elements).ravel(), axis=-1)
    return np.asarray(~found if invert else found)


def union1d(ar1: Any, ar2: Any) -> Any:
    """Stand for `np.union1d`."""
    return unique(np.concatenate((np.asarray(ar1).ravel(), np.asarray(ar2).ravel())))


def intersect1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Any:
    """Stand for `np.intersect1d`."""
    if assume_unique:
        both = np.concatenate((np.asarray(ar1).ravel(), np.asarray(ar2).ravel()))
    else:
        both = np.concatenate((unique(ar1), unique(ar2)))
    both = np.sort(both)
    return both[:-1][both[1:] == both[:-1]]


def setdiff1d(ar1: Any, ar2: Any, assume_unique: bool = False) -> Any:
    """Stand for `np.setdiff1d`."""
    kept = np.asarray(ar1).ravel() if assume_unique else unique(ar1)
    return kept[isin(kept, ar2, invert=True)]
