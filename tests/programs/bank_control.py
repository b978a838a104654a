"""Programs of branches and loops: every form, nested, left early, entered never."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.programs.harness import program

A = np.array([0.5, -1.25, 2.0, 3.5, -0.75])
B = np.array([1.0, 2.0, 0.25])
C = np.array([-0.4, 1.7, 0.9, 2.6, -1.1, 0.3, 1.9])
M = np.arange(12.0).reshape(3, 4) / 7.0 - 0.6
N = np.array([[1.0, 0.5], [0.25, 2.0]])


# --- branches


@program((0.5, 2.0), (-0.9, 0.31), (3.0, 3.5), (1.5, -2.0), wrt=(0, 1))
def ladders_and_chains(x: float, y: float) -> Any:
    """elif ladders, ternaries, comparison chains, `and`, `or`, `not`."""
    if x < 0:
        z = x * y
    elif 0 <= x < 1 < y:
        z = x + y
    elif not (x > 2 and y > 3):
        z = x - y
    else:
        z = math.sqrt(x * y)
    w = z if z > 0 else -2.0 * z
    if x > y or (w < 1.0 and y != 0.3):
        w += x
    low, high = (x, y) if x <= y else (y, x)
    both = -1.0 < x < y < 4.0
    w = w * 3.0 if both else w + (1.0 if not both and x > 1 else 2.0)
    return z, w, high - low, both


@program((2.0, 1), (0.3, 2), (-1.5, 3), (9.0, 0), wrt=0)
def early_returns(x: float, kind: int) -> float:
    """Guard clauses, as many write functions."""
    if kind == 0:
        return x * 2.0
    if x < 0.0:
        if kind > 2:
            return math.exp(x)
        return 0.0 * x
    if kind == 1:
        y = math.log(1.0 + x)
        if y > 1.0:
            return y
        x = x + y
    for k in range(kind):
        if x > 1.5:
            return x - k
        x = x * 2.0
    return x * x


@program((1.0, -2.0, 3.0), (2.0, 1.0, 0.5), (0.3, 0.2, 5.0), wrt=(0, 1, 2))
def quadratic_roots(a: float, b: float, c: float) -> Any:
    """Both real roots without cancellation, or the complex pair's parts."""
    discriminant = b * b - 4.0 * a * c
    if discriminant >= 0:
        root = math.sqrt(discriminant)
        q = -0.5 * (b + (root if b >= 0 else -root))
        first = q / a
        second = c / q if q != 0.0 else 0.0
        real = True
    else:
        first = -b / (2.0 * a)
        second = math.sqrt(-discriminant) / (2.0 * a)
        real = False
    return first, second, real


def _minmod(a: float, b: float) -> float:
    if a * b <= 0.0:
        return 0.0
    return a if abs(a) < abs(b) else b


@program((C, 0.4, 3), (A, 0.2, 1), (B, -0.3, 2), (A, 0.5, 0), wrt=(0, 1))
def limited_advection(u: np.ndarray, courant: float, steps: int) -> np.ndarray:
    """Upwind differences with a slope limiter; the wind decides the side."""
    q = u.copy()
    n = len(q)
    for _ in range(steps):
        flux = np.zeros(n + 1)
        for i in range(1, n):
            if courant > 0:
                slope = _minmod(q[i - 1] - q[i - 2], q[i] - q[i - 1]) if i > 1 else 0.0
                flux[i] = q[i - 1] + 0.5 * (1.0 - courant) * slope
            else:
                slope = _minmod(q[i] - q[i - 1], q[i + 1] - q[i]) if i + 1 < n else 0.0
                flux[i] = q[i] - 0.5 * (1.0 + courant) * slope
        for i in range(1, n - 1):
            q[i] -= courant * (flux[i + 1] - flux[i])
    return q


# --- for


@program((A, 2, 1), (C, 0, 3), (C, 6, -2), (B, 1, 5), wrt=0)
def ranges(x: np.ndarray, start: int, step: int) -> Any:
    """Ranges of every step, also run-time, empty and reversed."""
    n = len(x)
    total = 0.0
    for i in range(n - 1, -1, -1):
        total = 0.5 * total + x[i]
    for i in range(start, n, 2):
        total += x[i] * i
    for i in reversed(range(1, n)):
        total -= x[i] * x[i - 1]
    for i in range(start, n if step > 0 else -1, step):
        total *= 1.0 + 0.1 * x[i]
    count = 0
    last = -1
    for i in range(5, start):
        count += 1
        last = i
    return total, count, last


@program((M, A), (N, B), (M[:1].copy(), A), wrt=(0, 1))
def iteration_over_arrays(m: np.ndarray, x: np.ndarray) -> Any:
    """Rows, rows with their index, two arrays side by side, backwards."""
    total = 0.0
    for row in m:
        for v in row:
            total += math.tanh(v)
    for k, row in enumerate(m):
        total += (k + 1) * row[0] * row[-1]
    for row, column in zip(m, m.T, strict=False):
        total += row[0] * column.sum()
    for a, b in zip(x, x[::-1], strict=True):
        total += a * b * b
    for k, (a, b) in enumerate(zip(x[1:], x, strict=False)):
        total -= k * a / (1.0 + b * b)
    for v in reversed(x):
        total = total * 0.5 + v
    return float(total)


@program((C, 2.0), (A, 0.6), (B, 5.0), (C, -9.0), wrt=0)
def for_else(x: np.ndarray, limit: float) -> Any:
    """The first value above a limit, else the mean; the second loop is left by return."""
    total = 0.0
    for k in range(len(x)):
        if x[k] < 0:
            continue
        if x[k] > limit:
            found = x[k]
            break
        total += x[k]
    else:
        found = total / len(x)
        k = -1
    for j in range(len(x)):
        if x[j] < limit - 10.0:
            return found, k, j
        total *= 1.1
    return found * total, k, -1


@program((3, 0.5), (0, 1.0), (6, -0.3), (1, 2.0), wrt=1)
def nested_to_depth_four(n: int, x: float) -> Any:
    """Four loops, bounds of each set by the one outside."""
    s = 0.0
    trips = 0
    for i in range(n):
        for j in range(i, n):
            if (i + j) % 3 == 0:
                continue
            for k in range(j - i):
                s += x * k
                m = 0
                while m < k:
                    s = 0.9 * s + x / (1.0 + m)
                    trips += 1
                    if s > 4.0:
                        break
                    m += 1
                if trips > 12:
                    break
            else:
                s -= x
        if trips > 20:
            return s, -trips
    return s, trips


# --- while


@program((0.2, 50), (1.3, 3), (-0.5, 20), (0.9, 0), wrt=0)
def orbit(x: float, limit: int) -> Any:
    """A while loop with a compound test, `else`, and an orbit that may escape."""
    n = 0
    while n < limit and abs(x) < 2.0:
        x = x * x - 1.1
        n += 1
        if n % 7 == 0 and x > 0.5:
            x *= 0.5
    else:
        x = x + 0.125
    return x, n


@program((27,), (1,), (97,), (6,))
def collatz(n: int) -> Any:
    """Steps until 1, and the peak on the way."""
    steps = 0
    peak = n
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
        peak = n if n > peak else peak
        if steps >= 1000:
            raise RuntimeError("no end in sight")
    return steps, peak


@program((A, 1.0), (C, 2.5), (B, 50.0), wrt=0)
def two_pointers(x: np.ndarray, target: float) -> Any:
    """Indices from both ends move towards each other."""
    i, j = 0, len(x) - 1
    best = math.inf
    where = (0, 0)
    while i < j:
        s = x[i] + x[j]
        if abs(s - target) < best:
            best = abs(s - target)
            where = (i, j)
        if s < target:
            i += 1
        elif s > target:
            j -= 1
        else:
            break
    return best + 0.0, where


# --- exceptions


@program((A, 3), (A, 5), (B, -4), (C, 1), wrt=0)
def checked_steps(x: np.ndarray, k: int) -> float:
    """Assertions, raises in branches, an index that may leave the array, inside loops."""
    assert k > -4, f"k is {k}"
    total = 0.0
    for i in range(k + 1):
        if total > 100.0:
            raise OverflowError("total is too large")
        v = x[i]
        if v == 0.0:
            raise ZeroDivisionError(f"element {i} is zero")
        total += 1.0 / v
        assert math.isfinite(total), "not finite"
    return total


@program((4.0, 2.0), (1.0, 0.0), (-1.0, 3.0), (800.0, 1.0), wrt=0)
def exceptions_of_python(x: float, y: float) -> float:
    """Division by zero, a root and a logarithm out of their domain, an overflow."""
    z = x / y
    if z > 100.0:
        z = math.exp(z)
    for _ in range(3):
        z = math.sqrt(z) + math.log(z + 0.5)
    return z


@program((2, 0.5), (0, 0.5), (-1, 1.5), wrt=1)
def unbound_if_no_trip(n: int, x: float) -> float:
    """A variable that a loop without trips leaves unbound."""
    for k in range(n):
        value = x * (k + 1)
    return value * 2.0


# --- as scientists write them


class Schedule:
    """A step size that halves when there is no progress."""

    def __init__(self, rate: float, patience: int) -> None:
        self.rate = rate
        self.patience = patience
        self.best = math.inf
        self.waited = 0

    def update(self, loss: float) -> bool:
        """Return whether to go on."""
        if loss < self.best - 1e-3:
            self.best = loss
            self.waited = 0
            return True
        self.waited += 1
        if self.waited >= self.patience:
            self.rate *= 0.5
            self.waited = 0
        return self.rate > 1e-3


@program((A, 0.4, 12), (B, 1.05, 30), (C, 0.1, 0), wrt=(0, 1))
def descent_with_a_schedule(start: np.ndarray, rate: float, most: int) -> Any:
    """Gradient descent on a quartic until nothing improves."""
    schedule = Schedule(rate, 2)
    x = start.copy()
    used = 0
    for step in range(most):
        loss = 0.25 * float(np.sum((x**2 - 1.0) ** 2)) / len(x)
        if not schedule.update(loss):
            break
        gradient = x * (x**2 - 1.0)
        size = math.sqrt(float(gradient @ gradient))
        if size > 1.0:
            gradient /= size
        x -= schedule.rate * gradient
        used = step + 1
    return x, used, schedule.rate


def _fizz(n: int) -> Iterator[float]:
    for k in range(n):
        if k % 3 == 0:
            yield 0.5
        elif k % 3 == 1:
            yield 1.5
        else:
            yield -1.0


@program((A, 3), (B, 1), (C, 5), wrt=0)
def generated_weights(x: np.ndarray, n: int) -> float:
    """A generator with branches drives a loop."""
    total = 0.0
    for w in _fizz(5):
        total = total * 0.5 + w * x[0]
    total += sum(v * v for v in x if v > 0)
    total += sum(i * x[i] for i in range(len(x)) if i % 2 == 0)
    if any(v > 2.5 for v in x):
        total *= 2.0
    if all(v > 0 for v in x):
        total += 1.0
    for k in range(n):
        total += math.sin(total + k)
    return float(total)


@program((0.1, 3), (0.7, 8), (-0.2, 0), wrt=0)
def integer_states(x: float, n: int) -> Any:
    """A small machine of states kept in an int."""
    state = 0
    value = x
    log = 0
    for _ in range(n):
        if state == 0:
            value = value + 1.0
            state = 1 if value < 2.0 else 2
        elif state == 1:
            value = value * 1.5
            state = 2
        elif state == 2:
            value = math.cos(value)
            state = 0 if value > 0.0 else 3
        else:
            log += 10
            state = 0
        log += state
    return value, state, log


@program((M, 0.45), (N, 1.9), (-M, 0.0), wrt=0)
def flood(m: np.ndarray, level: float) -> Any:
    """Cells joined to the corner below a level, by sweeps until nothing changes."""
    rows, columns = m.shape
    wet = np.zeros((rows, columns), dtype=bool)
    wet[0, 0] = m[0, 0] < level
    changed = True
    sweeps = 0
    while changed:
        changed = False
        sweeps += 1
        for i in range(rows):
            for j in range(columns):
                if wet[i, j] or m[i, j] >= level:
                    continue
                if (i > 0 and wet[i - 1, j]) or (j > 0 and wet[i, j - 1]) or (j + 1 < columns and wet[i, j + 1]):
                    wet[i, j] = True
                    changed = True
    volume = 0.0
    for i in range(rows):
        for j in range(columns):
            if wet[i, j]:
                volume += level - m[i, j]
    return volume * 1.0, sweeps, int(wet.sum())


@program((A, 0.3), (C, -1.0), (B, 1.5), wrt=(0, 1))
def match_and_walrus(x: np.ndarray, t: float) -> Any:
    """An assignment inside a test, `match` on a number's sign, nested ternaries."""
    total = 0.0
    i = 0
    while i < len(x) and (v := x[i] - t) > -2.5:
        match (v > 0) + (v > 1):
            case 0:
                total -= v
            case 1:
                total += v * v
            case _:
                total += 2.0 * v
        i += 1
    sign = 1 if total > 0 else -1 if total < 0 else 0
    return total * sign, i


@program((4, 0.5), (1, 2.0), (7, -1.0), wrt=1)
def recursion_by_hand(n: int, x: float) -> float:
    """A helper that returns from a loop inside branches, called in a loop."""

    def first_above(limit: float) -> float:
        v = x
        for k in range(10):
            if v * k > limit:
                return v * k
            if v < 0 and k > 2:
                return -v
            v = v + 0.1
        return limit

    total = 0.0
    for i in range(n):
        step = first_above(0.55 * i)
        if step == 0.0:
            continue
        total += step
    return total


@program((2.0, 10), (0.5, 3), (30.0, 1), (7.0, 0), wrt=0, rtol=1e-11)
def cube_root_or_limit(a: float, most: int) -> Any:
    """while True with two ways out and a flag for which was taken."""
    x = a if a > 1.0 else 1.0
    count = 0
    while True:
        if count == most:
            converged = False
            break
        new = (2.0 * x + a / (x * x)) / 3.0
        if abs(new - x) < 1e-13 * abs(x):
            converged = True
            break
        x = new
        count += 1
    return x, count if converged else -count


@program((C, 0.5), (A, 3.0), (B, 1.5), wrt=0)
def values_bound_in_loops(x: np.ndarray, limit: float) -> Any:
    """Variables first bound in a loop and used after it."""
    for i in range(len(x)):
        square = x[i] ** 2
        if square > limit:
            break
    else:
        square = -1.0 * square
    for j, v in enumerate(x):
        if j == 0:
            biggest = v
        elif v > biggest:
            biggest = v + 0.1
    for a, b in itertools.pairwise(x):
        product = a * b
    return square, i, j, biggest * 1.0, product


@program((A, 3), (B, 7), (C, 1), wrt=0)
def numbers_that_change_type(x: np.ndarray, n: int) -> Any:
    """An integer becomes a float, a float a NumPy number, in the first trip."""
    s: Any = 0
    t: Any = 1
    peak = 0
    for i in range(n):
        s += x[i % len(x)]
        t = t * 1.5
        if i > 0:
            peak = max(peak, i)
    total: Any = 0
    for row in (x, 2.0 * x, x[::-1]):
        total = total + row * s
    return s + 0.0, t * 1.0, total, peak


@program((C, 4.0), (A, 2.0), (B, 9.0), wrt=0)
def list_appended_by_data(x: np.ndarray, most: float) -> Any:
    """Values appended as data decides, then gone through again."""
    kept = []
    load = 0.0
    for i in range(len(x)):
        v = x[i] * 2.0
        if v > 0 and load < most:
            kept.append(v)
            load += 1.5
    kept.append(x[0])
    total = 0.0
    for k, v in enumerate(kept):
        total += v / (k + 1)
    return np.sum(np.array(kept) ** 2), total, len(kept), kept[0]
