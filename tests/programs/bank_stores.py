"""Programs that store: every form of target, through views and aliases, into arguments, attributes and containers."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.programs.harness import program

A = np.array([0.5, -1.25, 2.0, 3.5, -0.75])
B = np.array([1.0, 2.0, 0.25])
C = np.array([-0.4, 1.7, 0.9, 2.6, -1.1, 0.3, 1.9])
M = np.arange(12.0).reshape(3, 4) / 7.0 - 0.6
N = np.array([[1.0, 0.5], [0.25, 2.0]])
CUBE = np.cos(np.arange(24.0)).reshape(2, 3, 4)


@program((A, 2.0), (B, -0.5), (C, -1.5), wrt=(0, 1))
def slices_of_every_step(x: np.ndarray, k: float) -> np.ndarray:
    """Forward, backward and strided slices as targets and sources."""
    y = x.copy()
    y[::2] *= k
    y[::-1] += x
    y[-1::-2] -= 0.5 * x[::2]
    y[1::2] = x[1::2] ** 2
    y[-2:] = y[:2]
    y[:-1] += y[1:] * k
    y[::-2] = y[::2] * 3.0
    if k > 0:
        y[-3:-1] = k
    else:
        y[len(y) :] = 7.0
        y[5:2] = 7.0
    return y


@program((A,), (B,), (C,), wrt=0)
def overlapping_shifts(x: np.ndarray) -> Any:
    """Sources that overlap their targets, as NumPy copies them."""
    a = x.copy()
    a[1:] = a[:-1]
    b = x.copy()
    b[:-1] = b[1:]
    c = x.copy()
    c[1:] += c[:-1]
    d = x.copy()
    d[:-1] *= d[1:]
    e = x.copy()
    e[:] = e[::-1]
    f = x.copy()
    f[::-1] -= 2.0 * f
    g = x.copy()
    g[1:-1] = g[2:] - g[:-2]
    return a, b, c, d, e, f, g


@program((CUBE,), (CUBE[:, :1, ::-1].copy(),), (np.ones((3, 2, 2)),), wrt=0)
def ellipsis_and_new_axes(x: np.ndarray) -> np.ndarray:
    y = x.copy()
    y[..., 0] = 2.0 * x[..., 1]
    y[0, ...] += x[1]
    y[0][...] *= 1.5
    y[..., None] *= 0.5
    y[None, :, 0] = x[None, :, -1]
    y[:, 0, None, :] += 1.0
    y[-1, ..., ::-1] -= x[0]
    return y


@program((M, 1), (M[:2, :2].copy(), 0), (M.T.copy(), -1), wrt=0)
def rows_and_columns(m: np.ndarray, k: int) -> np.ndarray:
    """A row is a view; a column is one too."""
    out = m.copy()
    row = out[k]
    row *= 2.0
    row[0] = 5.0
    column = out[:, -1]
    column += row[0]
    column[k] = m[k, 0]
    # rows change places through a copy
    saved = out[0].copy()
    out[0] = out[-1]
    out[-1] = saved
    out[k] += out[0]
    out[:, 0] = out[:, 1] * column
    first, second = out[0], out[1]
    first += second
    second -= first
    return out


@program((A, 1.0), (C, 0.5), (B, 10.0), wrt=(0, 1))
def numbers_through_masks(x: np.ndarray, limit: float) -> np.ndarray:
    """A number is stored where a condition holds."""
    y = x * 2.0
    y[x > limit] = limit
    y[(x > 0) & (x < limit)] = 0.25 * limit
    y[~(x > -1.0)] = 0.0
    inside = np.abs(x) < limit
    y[inside] = y[0] * limit
    inside[0] = True
    inside[1:] = inside[:-1] & (x[1:] > 0)
    y[inside] = 3.0
    np.copyto(y, x, where=x < -0.5)
    np.putmask(y, x > 2.5, limit * limit)
    return y


@program(
    (A, np.array([0, 2, 2, 4])), (B, np.array([1, 1])), (C, np.array([-1, 0, 3, -1, 6])), (A, np.array([0, 5])), wrt=0
)
def integer_arrays(x: np.ndarray, at: np.ndarray) -> Any:
    """The last of repeated indices wins; np.add.at adds all of them."""
    y = x.copy()
    y[at] = 10.0 * np.cos(x[: len(at)])
    z = x.copy()
    z[at] += 1.0
    w = x.copy()
    np.add.at(w, at, x[: len(at)])
    np.subtract.at(w, at, 0.5)
    y[at] *= 2.0
    return y, z, w


@program((np.array([3, 0, 3, 2, 3]), A, 4), (np.array([0, 0]), B[:2], 1), (np.array([5, 1, 1]), B, 7), wrt=1)
def weighted_histogram(bins: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    """Counts in bins, by a loop and by np.add.at, then normalised."""
    by_loop = np.zeros(8)
    at_once = np.zeros(8)
    for k in range(len(bins)):
        if bins[k] < count:
            by_loop[bins[k]] += weights[k]
    np.add.at(at_once, bins, weights)
    total = 0.0
    for v in by_loop:
        total += v * v
    by_loop /= 1.0 + total
    by_loop[0] = at_once[-1]
    at_once[:count] *= 2.0
    return by_loop + at_once


@program((M,), (N,), (M.T.copy(),), wrt=0)
def views_of_views(m: np.ndarray) -> np.ndarray:
    """Stores reach the array through several views."""
    a = m.copy()
    t = a.T
    t[0] = 1.0
    t[1:, 0] *= 2.0
    part = a[1:][:, ::-1]
    part[0, 0] = 9.0
    back = part.T[::-1]
    back += 0.5
    flat = a.reshape(-1)
    flat[::3] -= 1.0
    ravelled = a.ravel()
    ravelled[-1] = flat[0]
    block = a[:2, :2]
    block.T[0, 1] = 4.0
    block[:] = block * block.T
    return a


@program((N, 3.0), (M[:, :3].copy(), -1.0), (np.array([[2.0]]), 0.5), wrt=(0, 1))
def diagonals(a: np.ndarray, shift: float) -> np.ndarray:
    """The diagonal as a target."""
    n = len(a)
    b = a.copy()
    for i in range(n):
        b[i, i] += shift
    b.reshape(-1)[:: n + 1] *= 2.0
    idx = np.arange(n)
    b[idx, idx] -= a[idx, idx[::-1]]
    d = np.diagonal(b)
    c = b.copy()
    c[idx, -1 - idx] = d
    np.fill_diagonal(c, shift)
    return b @ c


class Tank:
    """State in attributes."""

    def __init__(self, level: np.ndarray) -> None:
        self.level = level
        self.flow = np.zeros_like(level)
        self.time = 0.0

    def exchange(self, rate: float) -> None:
        self.flow[1:] = rate * (self.level[:-1] - self.level[1:])
        self.level[:-1] -= self.flow[1:]
        self.level[1:] += self.flow[1:]
        self.time += 1.0


@program((A, 0.2, 4), (B, 0.3, 1), (C, 0.1, 0), wrt=(0, 1))
def tanks_in_a_row(level: np.ndarray, rate: float, steps: int) -> Any:
    tank = Tank(level.copy())
    peak = 0.0
    for _ in range(steps):
        tank.exchange(rate)
        if tank.level[-1] > peak:
            peak = tank.level[-1]
            tank.level[0] *= 0.9
    tank.flow[0] = tank.time
    return tank.level + tank.flow, float(peak)


@dataclass
class Layer:
    w: np.ndarray
    b: np.ndarray
    seen: list[float] = field(default_factory=list)


@program(
    (Layer(M.copy(), np.zeros(3)), A[:4], 0.1),
    (Layer(N.copy(), B[:2].copy()), A[:2], 0.5),
    (Layer(M[:1].copy(), B[:1].copy()), A[:4], 0.0),
)
def train_in_place(layer: Layer, x: np.ndarray, rate: float) -> float:
    """A step of gradient descent that writes into the caller's object."""
    y = layer.w @ x + layer.b
    error = y - 1.0
    for i in range(len(error)):
        layer.w[i] -= rate * error[i] * x
    layer.b -= rate * error
    layer.b[0] = 0.0
    return float(0.5 * np.sum(error**2))


@program(
    ([A.copy(), B.copy()], {"gain": 2.0, "w": B.copy()}),
    ([B.copy(), A.copy()], {"gain": -1.0, "w": B.copy()}),
    ([A[:2].copy(), A[2:].copy()], {"gain": 0.5, "w": A[:3].copy()}),
)
def items_of_containers(parts: list[np.ndarray], params: dict[str, Any]) -> float:
    """Items of the caller's lists and dicts are stored into."""
    parts[0][0] = params["gain"]
    parts[1] *= 2.0
    parts[0][1:] += params["w"][0]
    params["w"][-1] = parts[1][0]
    params["w"] += 1.0
    first, second = parts
    n = min(len(first), len(second))
    first[:n] += second[:n]
    return float(first.sum() + params["w"].sum())


@program((A, np.sin(A)), (B, 2.0 * B), (C, np.cos(C)), wrt=(0, 1))
def results_into_given_arrays(x: np.ndarray, y: np.ndarray) -> Any:
    """out= of elementwise functions, products and reductions."""
    buffer = np.empty_like(x)
    other = np.zeros(len(x))
    np.multiply(x, y, out=buffer)
    np.add(buffer, 1.0, out=buffer)
    np.exp(-x, out=other)
    np.subtract(other, buffer, out=other)
    np.sin(buffer[::-1], out=buffer)
    np.maximum(x, y, out=other[:])
    total = np.zeros(())
    np.sum(other * buffer, out=total)
    np.copyto(buffer[1:], other[:-1])
    np.copyto(other, 0.5, where=x > y)
    return buffer, other, float(total)


@program((A,), (C,), (B,), wrt=0)
def fill_sort_and_clip(x: np.ndarray) -> Any:
    a = x.copy()
    a[1:].sort()
    b = x.copy()
    b.sort()
    c = np.empty(3)
    c.fill(x[0])
    c[1:].fill(2.0)
    d = x * 3.0
    np.clip(d, -1.0, 2.0, out=d)
    e = -x
    e[::-1].sort()
    return a, b, c, d, e


@program((A,), (C,), (B,), wrt=0, builds=True)
def alias_or_copy(x: np.ndarray) -> Any:
    """A second name changes with the first; a copy does not."""
    b = x * 2.0
    c = b
    c += 1.0
    d = b.copy()
    d -= 5.0
    e = b[:]
    e *= 0.5
    f = b + 0.0
    f[0] = 100.0
    g = np.asarray(b)
    g[-1] = b[0]
    h = np.array(b)
    h[-1] = 77.0
    b = b * 2.0
    b[0] = 3.0
    return b, c, d, e, f, g, h


@program((A, C, 0.5), (A, C, -0.5), (B, 3.0 * B, -2.0), wrt=(0, 1, 2))
def chosen_target(x: np.ndarray, y: np.ndarray, c: float) -> Any:
    """Which array is stored into is decided by data."""
    u = x.copy()
    v = y[: len(x)].copy()
    b = u if c > 0 else v
    b[0] = 1.0
    b[1:] *= c
    if c < -1.0:
        b = x + y[: len(x)]
    b += u[-1]
    other = v if b is u else u
    other[1] = b[0] * 2.0
    return u, v, b * 1.0


@program((A, 3), (B, 2), (C, 0), (A, 1), wrt=0)
def three_buffers(x: np.ndarray, steps: int) -> Any:
    old = x.copy()
    now = x * 0.5
    new = np.zeros_like(x)
    for k in range(steps):
        new[:] = 2.0 * now - old
        new[0] += 0.1 * k
        old, now, new = now, new, old
        if now[0] > 1.5:
            now *= 0.5
            break
    old[0] = 9.0
    return old, now, new


def _axpy(alpha: float, x: np.ndarray, y: np.ndarray) -> None:
    y += alpha * x


def _swap(a: np.ndarray, i: int, j: int) -> None:
    a[i], a[j] = a[j], a[i]


def _rotate(a: np.ndarray) -> np.ndarray:
    last = a[-1]
    a[1:] = a[:-1].copy()
    a[0] = last
    return a


@program((A, 0.5), (C, -2.0), (B, 0.0))
def helpers_on_arguments(x: np.ndarray, alpha: float) -> float:
    """Helpers write into the caller's array, whole, in part and element by element."""
    _axpy(alpha, x[::-1].copy(), x)
    _swap(x, 0, -1)
    _axpy(2.0, x[:-1], x[1:])
    y = _rotate(x)
    y[0] *= 2.0
    _rotate(y[1:])
    z = _rotate(x.copy())
    z[:] = 0.0
    return float(x[0] + z[0])


@program((C,), (A,), (B,), (C[:1],), wrt=0)
def insertion_sort(x: np.ndarray) -> np.ndarray:
    """Sorting moves elements; the gradient goes back to where they were."""
    a = x.copy()
    weights = 1.0 + np.arange(len(a))
    for i in range(1, len(a)):
        key = a[i]
        j = i - 1
        while j >= 0 and a[j] > key:
            a[j + 1] = a[j]
            j -= 1
        a[j + 1] = key
    a *= weights
    return a


@program((C, 0.3), (A, 2.0), (B, -1.0), wrt=(0, 1))
def overwritten_squares(x: np.ndarray, k: float) -> np.ndarray:
    """The adjoint needs values that are overwritten at once."""
    b = x.copy()
    for i in range(len(b)):
        b[i] = b[i] * b[i] + k * b[i - 1]
    b[:] = b * b
    for i in range(len(b) - 1, -1, -1):
        b[i] *= np.sin(b[i]) + k
    b **= 2
    b[0] = b[0] * b[-1]
    return b


@program((M, 3), (N, 4), (M, 0), wrt=0)
def rows_in_a_loop(m: np.ndarray, sweeps: int) -> np.ndarray:
    """Whole rows are read and stored, neighbours of each other."""
    g = m.copy()
    n = len(g)
    for s in range(sweeps):
        for i in range(n):
            row = g[i]
            above = g[i - 1]
            row += 0.1 * above
            if s % 2 == 1:
                row[:] = row[::-1]
            row[-1] = above[0] * row[0]
    return g


@program((A,), (C,), (B,), builds=True)
def returned_views(x: np.ndarray) -> np.ndarray:
    """The result is part of the caller's array."""
    x[0] = 2.0
    tail = x[1:]
    tail *= 3.0
    tail[0] = x[-1]
    return tail


@program((A, 1), (C, 0), (B, 2))
def the_argument_itself(x: np.ndarray, k: int) -> np.ndarray:
    y = x
    y[k] += 1.0
    z = y[::-1]
    z[0] -= y[k]
    return y


@program((np.arange(6), 2), (np.array([5, -3, 2]), -1), (np.array([7], dtype=np.int32), 3))
def integers_in_place(k: np.ndarray, by: int) -> Any:
    """Stores cast to the array's own type."""
    k += by
    k[0] *= 3
    k[::2] //= 2
    k[-1] = 7.9
    flags = k > 0
    flags[0] = not flags[0]
    flags &= k < 5
    small = np.zeros(len(k), dtype=np.int8)
    small[:] = k % 100
    return flags, small, int(k.sum())


@program((A.astype(np.float32), 0.1), (B.astype(np.float32), 2.0), (C.astype(np.float32), -1.0), wrt=(0, 1))
def single_precision_stores(x: np.ndarray, k: float) -> Any:
    """A float32 array keeps its type, whatever is stored."""
    y = x.copy()
    y += k
    y[0] = math.pi * k
    y[1:] = np.float64(0.1) * x[:-1]
    y *= np.arange(len(x)) + 1.0
    z = np.zeros(len(x))
    z[:] = y
    return y, z


@program((A, 1.0), (C, 0.5), (B, 10.0), wrt=(0, 1))
def masked_stores(x: np.ndarray, limit: float) -> np.ndarray:
    y = x * 2.0
    y[x > limit] = limit
    y[x < 0] *= -1.0
    y[(x > 0) & (x < limit)] += 0.25
    y[~(x > 0)] -= limit
    inside = np.abs(x) < limit
    y[inside] = 3.0 * limit
    inside[0] = True
    y[inside] /= 2.0
    return y


@program((A, C[:5].copy(), 3), (B, B[::-1].copy(), 4), (A, C[:5].copy(), 0))
def swap_the_callers_buffers(u: np.ndarray, v: np.ndarray, steps: int) -> np.ndarray:
    """Time steps between two arrays of the caller, both left changed."""
    for step in range(steps):
        v[1:-1] = 0.5 * (u[:-2] + u[2:])
        v[0] = float(step)
        v[-1] = -v[1]
        u, v = v, u
    return u
