"""Grids, slopes on them, and windows: `mgrid`, `geomspace`, `np.gradient` over coordinates, `hanning` and others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = [
    "arange",
    "blackman",
    "even_slopes",
    "geomspace",
    "hamming",
    "hanning",
    "mgrid",
    "ogrid",
    "parts",
    "uneven_slopes",
    "windows",
]


def parts(key: Any) -> Any:
    """Return the items of a subscript, with slices as ranges: a complex step is a number of points."""
    made = []
    for part in key if isinstance(key, tuple) else (key,):
        if not isinstance(part, slice):
            made.append(np.asarray(part) if np.ndim(part) else part)
        elif isinstance(part.step, complex):
            made.append(np.linspace(0 if part.start is None else part.start, part.stop, int(abs(part.step))))
        else:
            start, step = 0 if part.start is None else part.start, 1 if part.step is None else part.step
            made.append(np.arange(start, part.stop, step))
    return made


def mgrid(key: Any) -> Any:
    """Stand for `np.mgrid[key]`."""
    found = parts(key)
    return np.array(np.meshgrid(*found, indexing="ij")) if isinstance(key, tuple) else found[0]


def ogrid(key: Any) -> Any:
    """Stand for `np.ogrid[key]`."""
    found = parts(key)
    if not isinstance(key, tuple):
        return found[0]
    n = len(found)
    dtype = np.result_type(*found)
    return tuple([found[k].astype(dtype).reshape((1,) * k + (-1,) + (1,) * (n - k - 1)) for k in range(n)])


def arange(start: Any, stop: Any, step: Any) -> Any:
    """Stand for `np.arange` of float64, which counts in steps of what the second element is beyond the first."""
    ratio = (stop - start) / step
    if ratio != ratio:
        raise ValueError("arange: cannot compute length")
    if abs(ratio) >= 2.0**63:
        raise ValueError("Maximum allowed size exceeded")
    first, second = start * 1.0, (start + step) * 1.0
    made = first + np.arange(max(math.ceil(ratio), 0)) * (second - first)
    made[1:2] = second
    return made


def geomspace(start: Any, stop: Any, num: Any = 50, endpoint: Any = True) -> Any:
    """Stand for `np.geomspace`."""
    first, last = np.asarray(start, np.float64), np.asarray(stop, np.float64)
    if np.any(first == 0.0) or np.any(last == 0.0):
        raise ValueError("Geometric sequence cannot include zero")
    sign = np.sign(first)
    made = sign * np.logspace(np.log10(first / sign), np.log10(last / sign), num, endpoint)
    # The ends are exact.
    if num > 0:
        made[0] = first
    if num > 1 and endpoint:
        made[-1] = last
    return made


# --- slopes along the first axis


def _edges(made: Any, f: Any, first: Any, last: Any) -> None:
    """Fill in the ends of slopes, weights of the three values there being given."""
    a, b, c = first
    made[0] = a * f[0] + b * f[1] + c * f[2]
    a, b, c = last
    made[-1] = a * f[-3] + b * f[-2] + c * f[-1]


def even_slopes(f: Any, step: Any) -> Any:
    """Return slopes over points in equal steps, to second order at the ends too."""
    made = np.zeros_like(f)
    made[1:-1] = (f[2:] - f[:-2]) / (2.0 * step)
    _edges(made, f, (-1.5 / step, 2.0 / step, -0.5 / step), (0.5 / step, -2.0 / step, 1.5 / step))
    return made


def uneven_slopes(f: Any, x: Any, edge_order: int) -> Any:
    """Return slopes over coordinates."""
    steps = np.diff(x)
    shape = (-1,) + (1,) * (f.ndim - 1)
    d, e = steps[:-1].reshape(shape), steps[1:].reshape(shape)
    made = np.zeros_like(f)
    made[1:-1] = -e / (d * (d + e)) * f[:-2] + (e - d) / (d * e) * f[1:-1] + d / (e * (d + e)) * f[2:]
    if edge_order == 1:
        made[0] = (f[1] - f[0]) / steps[0]
        made[-1] = (f[-1] - f[-2]) / steps[-1]
    else:
        d, e = steps[0], steps[1]
        first = (-(2.0 * d + e) / (d * (d + e)), (d + e) / (d * e), -d / (e * (d + e)))
        d, e = steps[-2], steps[-1]
        _edges(made, f, first, (e / (d * (d + e)), -(e + d) / (d * e), (2.0 * e + d) / (e * (d + e))))
    return made


# --- windows


def _angles(m: Any) -> Any:
    return math.pi * np.arange(1 - m, m, 2) / (m - 1)


def hanning(M: Any) -> Any:
    """Stand for `np.hanning`."""
    if M < 1:
        return np.zeros(0)
    if M == 1:
        return np.ones(1)
    return 0.5 + 0.5 * np.cos(_angles(M))


def hamming(M: Any) -> Any:
    """Stand for `np.hamming`."""
    if M < 1:
        return np.zeros(0)
    if M == 1:
        return np.ones(1)
    return 0.54 + 0.46 * np.cos(_angles(M))


def blackman(M: Any) -> Any:
    """Stand for `np.blackman`."""
    if M < 1:
        return np.zeros(0)
    if M == 1:
        return np.ones(1)
    angles = _angles(M)
    return 0.42 + 0.5 * np.cos(angles) + 0.08 * np.cos(2.0 * angles)


def windows(a: Any, v: Any) -> Any:
    """Return the sums of the parts of an array, as long as another, times that one."""
    n = len(a) - len(v) + 1
    made = v[0] * a[:n]
    for k in range(1, len(v)):
        made += v[k] * a[k : k + n]
    return made
