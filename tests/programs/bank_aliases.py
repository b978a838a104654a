"""Programs in which branches and trips decide which array a name means, or how long an array is."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.programs.harness import program

A = np.array([0.5, -1.25, 2.0])
B = np.array([1.5, 0.25, -0.75])
C = np.array([-0.4, 1.7, 0.9])
M = np.arange(12.0).reshape(3, 4) / 7.0 - 0.6


@program((A, 0), (B, 1), (C, 6), wrt=0)
def buffers_exchanged_if(x: np.ndarray, n: int) -> Any:
    """Two buffers change places in some trips only, and both are stored into."""
    u, v = x.copy(), 2.0 * x
    for _ in range(n):
        if u[0] > v[0]:
            u, v = v, u
        u += 0.5 * v
        v[0] -= 0.1
    return u, v


@program((A, B, 0), (B, C, 1), (C, A, 5), wrt=(0, 1))
def arguments_exchanged_if(x: np.ndarray, y: np.ndarray, n: int) -> Any:
    """The caller's own arrays change places under a condition: it sees the stores in both."""
    for i in range(n):
        if x[i % 3] > y[1]:
            x, y = y, x
        x[i % 3] *= 0.9
        y += 0.1 * x[0]
    return (x * y).sum()


@program((A, 0), (B, 2), (C, 6), wrt=0)
def three_buffers_in_turn(x: np.ndarray, n: int) -> Any:
    """Three buffers go round in odd trips, one may be another's second name, a break leaves in the middle."""
    a, b, c = x.copy(), 2.0 * x, 3.0 * x
    k = 0
    while k < n:
        k += 1
        if k % 2:
            a, b, c = b, c, a
        if a[0] > 1.0:
            c = a
        a[1] += c[0]
        c[2] = a[1] * b[0]
        b[0] *= 0.9
        if b[2] > 20.0:
            break
    return a.copy(), b.copy(), c.copy()


@program((A, 0), (B, 3), (C, 5), wrt=0)
def best_is_shared(x: np.ndarray, n: int) -> Any:
    """The best array so far is the current one, which the next statement changes."""
    best = x
    now = x.copy()
    for _ in range(n):
        now = now * 0.9 + 0.1 * np.sin(now)
        if now.sum() < best.sum():
            best = now
        now[0] += 0.2
        best[1] *= 1.05
    return best.sum() + now[0]


@program((A, 0), (B, 1), (C, 6), wrt=0)
def copied_at_times(x: np.ndarray, n: int) -> Any:
    """A second name is the array or its copy."""
    a = x.copy()
    b = a
    for i in range(n):
        if b[0] > 1.0:
            b = a.copy()
        b[i % 3] += x[1] * a[2]
        a[0] *= 1.1
    return a.copy(), b.copy()


@program((M, 0), (M[::-1].copy(), 1), (-M, 5), wrt=0)
def row_or_column(m: np.ndarray, n: int) -> Any:
    """A name is a row or another as data decide, its position moves from trip to trip, and it is stored into."""
    m = m.copy()
    r = m[0]
    for i in range(n):
        r[0] += m[1, 1]
        r = m[i % 3] if r[1] > 0.0 else m[-1 - i % 3]
        r *= 1.01
    return (m * m).sum() + r[0]


@program((A, 0), (B, 1), (C, 5), wrt=0)
def appended(x: np.ndarray, n: int) -> Any:
    """Two arrays grow together by `np.append`, and meet."""
    a = x.copy()
    b = np.array([0.5, 1.0, x[0]])
    for _ in range(n):
        a = np.append(a, a[-1] * x[0])
        b = np.append(0.25, b)
        b = b * a + 0.1
    return (a * b).sum(), a


@program((A, 0), (B, 3), (C, 5), wrt=0)
def polynomial_from_roots(x: np.ndarray, n: int) -> Any:
    """Coefficients, one more with each root."""
    p = np.array([1.0])
    for k in range(n):
        p = np.append(p, 0.0) - x[k % 3] * np.append(0.0, p)
    return p


@program((A, 2), (B, 3), (C, 7), wrt=0)
def queue(x: np.ndarray, n: int) -> Any:
    """Take from the front, give to the back, until little is left."""
    r = np.concatenate([x] * 2)
    s = 0.0
    while len(r) > n:
        s += r[0] * r[1]
        r = r[1:] * 1.1
    return s + r.sum()


@program((A,), (B,), (C,), wrt=0)
def pairs_to_one(x: np.ndarray) -> Any:
    """A triangle of differences."""
    a = np.concatenate([x, x * x, x + 0.5])
    while len(a) > 1:
        a = a[1:] * a[:-1] + 0.5
    return a[0]


@program((A, 0), (B, 2), (C, 5), wrt=0)
def stacked_rows(x: np.ndarray, n: int) -> Any:
    """Rows are stacked one by one, columns put beside."""
    h = np.zeros((0, 3))
    w = x.reshape(3, 1)
    for i in range(n):
        h = np.vstack([h, x * i])
        w = np.concatenate([w, w[:, -1:] * x[:, None]], axis=1)
    return h, w.sum(axis=1)


@program((A, 0), (B, 2), (C, 6), wrt=0)
def kept_if(x: np.ndarray, n: int) -> Any:
    """An array grows in some trips, and loses what is far from its mean in others."""
    a = np.concatenate([x, 2.0 * x])
    for i in range(n):
        if a[0] > 0.1 * i:
            a = np.append(a, x[i % 3])
        else:
            a = a[np.abs(a - a.mean()) < 2.5]
        a = a * 0.95
    return (a * a).sum(), len(a)


@program((A, 0), (-np.abs(B), 3), (np.abs(C), 3), (C, 5), wrt=0)
def clipped_items(x: np.ndarray, n: int) -> Any:
    """A list of ints and floats, as data decide, becomes an array of one dtype or the other."""
    xs = []
    for k in range(n):
        xs.append(max(0, x[k % 3]))
    a = np.array(xs)
    return (a * a / 2.0).sum() + 0.5 * np.sum(xs)
