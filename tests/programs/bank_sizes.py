"""Programs whose sizes are known at run time: slices with moving bounds, arrays of computed length, selections."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.programs.harness import program

A = np.array([0.5, -1.25, 2.0, 3.5, -0.75])
B = np.array([1.0, 2.0, 0.25])
C = np.array([-0.4, 1.7, 0.9, 2.6, -1.1, 0.3, 1.9])
SPD = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.25], [0.5, 0.25, 2.0]])
SECOND = 2.0 * np.eye(5) - np.eye(5, k=1) - np.eye(5, k=-1)
M = np.arange(12.0).reshape(3, 4) / 7.0 - 0.6


@program((SPD,), (SECOND,), (np.array([[2.25]]),), (-SPD,), wrt=0, rtol=1e-11)
def cholesky_by_slices(a: np.ndarray) -> np.ndarray:
    """Cholesky in place of a copy; dot products of the parts of rows that are done."""
    low = a.copy()
    n = len(low)
    for j in range(n):
        pivot = low[j, j] - low[j, :j] @ low[j, :j]
        if not pivot > 0.0:
            raise ValueError("not positive definite")
        low[j, j] = np.sqrt(pivot)
        for i in range(j + 1, n):
            low[i, j] = (low[i, j] - low[i, :j] @ low[j, :j]) / low[j, j]
        low[j, j + 1 :] = 0.0
    return low


@program((SPD, B), (SECOND, A), (SPD[:1, :1].copy(), B[:1]), wrt=(0, 1), rtol=1e-11)
def triangular_solves(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """LU without pivoting by slices, then both substitutions."""
    lu = a.copy()
    n = len(b)
    for k in range(n - 1):
        lu[k + 1 :, k] /= lu[k, k]
        for i in range(k + 1, n):
            lu[i, k + 1 :] -= lu[i, k] * lu[k, k + 1 :]
    x = b.copy()
    # forward, with ones on the diagonal
    for i in range(1, n):
        x[i] -= lu[i, :i] @ x[:i]
    # backward
    for i in range(n - 1, -1, -1):
        x[i] = (x[i] - lu[i, i + 1 :] @ x[i + 1 :]) / lu[i, i]
    return x


@program((C, 1, 4), (C, 0, 7), (C, 3, 2), (C, 5, 9), (C, -2, 1), wrt=0)
def window(x: np.ndarray, k: int, m: int) -> Any:
    """A part that integers choose, at times empty or cut off at the end."""
    part = x[k : k + m]
    n = len(part)
    total = part.sum() if n > 0 else 0.0
    y = x.copy()
    y[k : k + m] *= 2.0
    y[k + m :] += 1.0
    y[:k] = total
    y[-m:] -= 0.5
    return y, float(total), n, x[k : k + m].shape[0]


@program((C, 3), (A, 2), (C, 7), (B, 1), wrt=0)
def moving_average(x: np.ndarray, width: int) -> np.ndarray:
    """Means of the last values, of fewer at the start."""
    out = np.empty_like(x)
    for i in range(len(x)):
        start = max(0, i - width + 1)
        part = x[start : i + 1]
        out[i] = part.sum() / len(part)
    spread = 0.0
    for i in range(width, len(x) + 1):
        piece = x[i - width : i]
        spread += piece.max() - piece.min()
    return out * (1.0 + spread)


@program((A, 3), (C, 7), (B, 1), (A, 0), wrt=0)
def growing_parts(x: np.ndarray, n: int) -> float:
    """Index ranges and prefixes that grow with the loop."""
    total = 0.0
    for i in range(n):
        weights = 1.0 / (1.0 + np.arange(i))
        total += np.sum(weights * x[:i])
        total += np.dot(x[: i + 1], x[i::-1])
        if i > 1:
            total += np.mean(x[1:i]) * x[i - 1]
    return float(total)


@program((C, 4), (A, 1), (C, 6), (B, 2), wrt=0)
def autocorrelation(x: np.ndarray, lags: int) -> np.ndarray:
    """Products of a series with itself, shifted by a run-time lag."""
    n = len(x)
    centred = x - x.mean()
    r = np.zeros(lags + 1)
    for k in range(lags + 1):
        r[k] = np.sum(centred[: n - k] * centred[k:]) / n
    return r / r[0]


@program((C, 3), (A, 2), (C, 1), wrt=0)
def batches(x: np.ndarray, size: int) -> Any:
    """Batches of a run-time size; the last may be shorter."""
    total = 0.0
    count = 0
    longest = 0
    for start in range(0, len(x), size):
        batch = x[start : start + size]
        total += np.tanh(batch).sum() ** 2
        total += 0.1 * batch[0] * batch[-1]
        longest = max(longest, len(batch))
        count += 1
    return total / count, count, longest


@program((A, 2), (C, 3), (B, 0), wrt=0)
def split_and_join(x: np.ndarray, at: int) -> np.ndarray:
    """Two parts of run-time sizes, put together the other way round."""
    left = x[:at]
    right = x[at:]
    joined = np.concatenate([2.0 * right, left])
    rolled = np.zeros_like(x)
    rolled[: len(x) - at] = x[at:]
    rolled[len(x) - at :] = x[:at]
    return joined * rolled


@program((3, 0.5), (1, 2.0), (6, -1.0), wrt=1)
def matrix_of_run_time_size(n: int, h: float) -> float:
    """A matrix is made, filled and solved inside; its size is an argument."""
    a = np.zeros((n, n))
    b = np.ones(n)
    for i in range(n):
        a[i, i] = 2.0 + h * h
        if i > 0:
            a[i, i - 1] = -1.0
        if i < n - 1:
            a[i, i + 1] = -1.0
    for k in range(n):
        for i in range(k + 1, n):
            factor = a[i, k] / a[k, k]
            a[i, k:] -= factor * a[k, k:]
            b[i] -= factor * b[k]
    x = np.empty(n)
    for i in reversed(range(n)):
        x[i] = (b[i] - np.sum(a[i, i + 1 :] * x[i + 1 :])) / a[i, i]
    return float(x.sum() * h)


def _simpson(y: np.ndarray, h: float) -> Any:
    """Composite rule over an array; the last interval by the trapezoid if their number is odd."""
    n = len(y)
    if n < 2:
        return 0.0 * h
    last = n if n % 2 == 1 else n - 1
    total = 0.0
    if last >= 3:
        total = y[0] + 4.0 * y[1:last:2].sum() + 2.0 * y[2 : last - 1 : 2].sum() + y[last - 1]
    total = total * h / 3.0
    if last < n:
        total += 0.5 * h * (y[n - 2] + y[n - 1])
    return total


@program((C, 0.1, 7), (C, 0.2, 4), (C, 0.2, 2), (A, 1.0, 3), wrt=(0, 1))
def integral_of_a_part(y: np.ndarray, h: float, n: int) -> float:
    return float(_simpson(y[:n], h) + _simpson(y, h))


@program((C,), (A,), (B,), (B[:1],), wrt=0)
def merge_sort(x: np.ndarray) -> np.ndarray:
    """Bottom-up merge sort: runs of doubling length between two buffers."""
    source = x.copy()
    target = np.empty_like(source)
    n = len(x)
    width = 1
    while width < n:
        for start in range(0, n, 2 * width):
            middle = min(start + width, n)
            end = min(start + 2 * width, n)
            i, j = start, middle
            for k in range(start, end):
                if i < middle and (j >= end or source[i] <= source[j]):
                    target[k] = source[i]
                    i += 1
                else:
                    target[k] = source[j]
                    j += 1
        source, target = target, source
        width *= 2
    return source * (1.0 + np.arange(n))


@program((C, 2), (A, 3), (B, 1), wrt=0)
def convolve_valid(x: np.ndarray, width: int) -> np.ndarray:
    """A kernel of run-time length slides over a signal."""
    kernel = np.exp(-0.5 * np.arange(width) ** 2)
    kernel /= kernel.sum()
    out = np.zeros(len(x) - width + 1)
    for i in range(len(out)):
        out[i] = kernel @ x[i : i + width]
    return out


@program((M, 1), (SPD, 2), (M, 0), (M, 3), wrt=0)
def blocks_of_a_matrix(m: np.ndarray, k: int) -> float:
    """Four blocks at a run-time place."""
    rows, columns = m.shape
    top = m[:k, :k]
    right = m[:k, k:]
    below = m[k:, :k]
    rest = m[k:, k:]
    total = np.sum(top**2) + np.sum(right) - np.sum(below) * np.sum(rest)
    total += np.sum(m[max(0, k - 1) : k + 1, 1:])
    column = m[k:, 0]
    if len(column) > 1:
        total += column[1:] @ column[:-1]
    out = np.zeros((rows, columns))
    out[:k, :k] = top
    out[k:, k:] += 2.0 * rest
    return float(total + np.sum(out * m) + math.sqrt(k))


@program((C,), (A,), (B,), wrt=0)
def weighted_suffixes(x: np.ndarray) -> Any:
    """Suffix maxima, prefix sums, and a list made into an array."""
    n = len(x)
    best = []
    sums = np.zeros(n + 1)
    for i in range(n):
        best.append(x[i:].max())
        sums[i + 1] = sums[i] + x[i]
    peaks = np.array(best)
    ranges = np.zeros(n)
    for i in range(n):
        ranges[i] = sums[n] - sums[i]
    return peaks, ranges @ peaks, len(best)


@program((4,), (0,), (9,), (1,))
def pascal(n: int) -> Any:
    """Rows of Pascal's triangle in one array of integers."""
    row = np.zeros(n + 1, dtype=np.int64)
    row[0] = 1
    for i in range(1, n + 1):
        row[1 : i + 1] = row[1 : i + 1] + row[:i]
    ones = np.ones(n, dtype=bool)
    ones[: n // 2] = False
    return row, int(row.sum()), int(ones.sum()), row.dtype == np.int64


@program((0.5, 4), (1.5, 1), (-0.3, 9), (2.0, 0), wrt=0)
def powers(x: float, n: int) -> Any:
    """An array whose length is an argument."""
    out = np.zeros(n)
    p = 1.0
    for i in range(n):
        out[i] = p
        p *= x
    doubled = np.concatenate((out, out[::-1]))
    size = out.size + len(doubled) + doubled.shape[0]
    return out.sum() + doubled @ doubled, size


@program((A,), (C,), (-B,), (np.array([1.0, 2.0]),), wrt=0)
def selected_by_sign(x: np.ndarray) -> Any:
    """Boolean selection: sums, sizes and a store back."""
    positive = x[x > 0]
    negative = x[x < 0]
    n = len(positive)
    y = x.copy()
    y[x > 0] = np.sqrt(positive)
    y[x < 0] = negative**2
    mean = positive.sum() / n if n > 0 else 0.0
    return y, float(mean), n, negative.size


@program(
    (np.array([0, 2, 3, 5]), np.array([0, 2, 1, 0, 2]), A, B),
    (np.array([0, 0, 1]), np.array([1]), A[:1], B),
    (np.array([0, 1, 2, 3, 3]), np.array([2, 1, 0]), B, B),
    wrt=(2, 3),
)
def sparse_rows(start: np.ndarray, column: np.ndarray, value: np.ndarray, x: np.ndarray) -> np.ndarray:
    """A sparse matrix times a vector: each row is a slice of run-time bounds."""
    rows = len(start) - 1
    y = np.zeros(rows)
    for i in range(rows):
        first, last = start[i], start[i + 1]
        if first == last:
            continue
        y[i] = value[first:last] @ x[column[first:last]]
    return y


@program((C, 0.5), (A, -1.0), (B, 9.0), (B, 0.3), wrt=0)
def leading_run(x: np.ndarray, limit: float) -> Any:
    """A prefix whose end a while loop finds."""
    end = 0
    while end < len(x) and x[end] < limit:
        end += 1
    head = x[:end]
    tail = x[end:]
    score = np.sum(head**2) - np.sum(np.abs(tail))
    if len(head) > len(tail):
        score += head[-1]
    elif len(tail) > 0:
        score *= tail[0]
    return float(score), end


@program((C, 4), (A, 2), (B, 9), wrt=0)
def list_appended_in_while(x: np.ndarray, most: int) -> Any:
    """Values appended as data decides, then gone through again."""
    kept = []
    skipped = 0.0
    i = 0
    while i < len(x) and len(kept) < most:
        v = x[i] * 2.0
        if v > 0:
            kept.append(v)
        else:
            skipped += v
        i += 1
    kept.append(x[0] + skipped)
    total = 0.0
    for k, v in enumerate(kept):
        total += v / (k + 1)
    return np.sum(np.array(kept) ** 2), total, len(kept), kept[0]


@program((C, 4.0), (A, 2.0), (B, 9.0), wrt=0)
def list_appended_in_a_loop_left_early(x: np.ndarray, most: float) -> Any:
    """Values appended as data decides, then gone through again."""
    kept = []
    load = 0.0
    i = 0
    while i < len(x) and load < most:
        v = x[i] * 2.0
        if v > 0:
            kept.append(v)
            load += 1.5
        i += 1
    kept.append(x[0])
    total = 0.0
    for k, v in enumerate(kept):
        total += v / (k + 1)
    return np.sum(np.array(kept) ** 2), total, len(kept), kept[0]
