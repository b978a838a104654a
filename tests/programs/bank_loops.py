"""Programs with loops, branches and stores, as numerical textbooks write them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.programs.harness import program

A = np.array([0.5, -1.25, 2.0, 3.5, -0.75])
B = np.array([1.0, 2.0, 0.25])
SPD = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.25], [0.5, 0.25, 2.0]])
GRID = np.linspace(0.0, 1.0, 30).reshape(5, 6) ** 2


@program((A, 0.1, 3), (B, 0.2, 0), (A, 0.05, 7), wrt=(0, 1))
def heat_equation(u: np.ndarray, k: float, steps: int) -> np.ndarray:
    """Explicit diffusion with fixed ends."""
    v = u.copy()
    for _ in range(steps):
        left = v[:-2]
        middle = v[1:-1]
        right = v[2:]
        new = v.copy()
        new[1:-1] = middle + k * (left - 2.0 * middle + right)
        v = new
    total = v.sum()
    if total > 1.0:
        v = v / total
    else:
        v = v * 1.0
    return v


@program((A, 3), (B, 1), (A, 0), wrt=0)
def wave_equation(u0: np.ndarray, steps: int) -> Any:
    """Leapfrog with three buffers handed round."""
    previous = u0.copy()
    current = u0.copy()
    following = np.zeros_like(u0)
    c2 = 0.25
    for _ in range(steps):
        following[1:-1] = 2.0 * current[1:-1] - previous[1:-1] + c2 * (current[2:] - 2.0 * current[1:-1] + current[:-2])
        following[0] = 0.0
        following[-1] = 0.0
        previous, current, following = current, following, previous
    energy = np.sum(current**2)
    return current * 1.0, energy


@program((SPD,), (SPD[:2, :2].copy(),), wrt=0)
def cholesky(a: np.ndarray) -> np.ndarray:
    """Cholesky-Banachiewicz, element by element."""
    n = a.shape[0]
    low = np.zeros_like(a)
    for i in range(n):
        for j in range(n):
            if j <= i:
                s = a[i, j]
                for k in range(n):
                    if k < j:
                        s = s - low[i, k] * low[j, k]
                if i == j:
                    low[i, j] = np.sqrt(s)
                else:
                    low[i, j] = s / low[j, j]
    return low


@program((A, 0.5), (B, -0.5), (np.array([2.0]), 3.0), wrt=(0, 1))
def recurrence(x: np.ndarray, decay: float) -> np.ndarray:
    """Exponential smoothing in place of a copy."""
    out = np.empty_like(x)
    state = 0.0
    for i in range(len(x)):
        if x[i] > 0:
            state = decay * state + x[i]
        else:
            state = decay * state - 0.5 * x[i]
        out[i] = state
    scale = 1.0
    if abs(decay) < 1.0:
        scale = 1.0 - decay
    if len(x) > 3:
        scale = scale / len(x)
    return out * scale


@program((2.0,), (10.0,), (0.3,), wrt=0, rtol=1e-10)
def newton_sqrt(a: float) -> float:
    """Newton's iteration until it settles."""
    x = a
    if x < 1.0:
        x = 1.0
    n = 0
    error = 1.0
    while error > 1e-13:
        new = 0.5 * (x + a / x)
        error = abs(new - x)
        x = new
        n += 1
        if n > 50:
            break
    return x


@program((0.5, 10), (0.9, 200), (0.1, 0))
def logistic_map(x: float, limit: int) -> Any:
    """Iterate until the orbit leaves an interval."""
    steps = 0
    r = 3.7
    for k in range(limit):
        x = r * x * (1.0 - x)
        steps = k + 1
        if x < 0.3:
            break
    else:
        x = -x
    if steps > 5:
        label = 1
    else:
        label = 0
    return x, steps, label


@program((A, 2), (B, 5), (A, 1))
def bubble_pass(a: np.ndarray, passes: int) -> np.ndarray:
    """Some passes of bubble sort, in the caller's array."""
    n = len(a)
    swapped = 0
    for _ in range(passes):
        for i in range(n - 1):
            if a[i] > a[i + 1]:
                t = a[i]
                a[i] = a[i + 1]
                a[i + 1] = t
                swapped = swapped + 1
    if swapped > 3:
        a[0] = a[0] * 1.0
    elif swapped == 0:
        a[-1] = a[-1] + 0.0
    return a


def _add_into(target: np.ndarray, source: np.ndarray, weight: float) -> None:
    target += weight * source


def _clip(target: np.ndarray, limit: float) -> None:
    for i in range(len(target)):
        if target[i] > limit:
            target[i] = limit


@program((A, A[::-1].copy()), (1.1 * B, 2.0 * B), wrt=(0, 1))
def helpers_that_write(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Helper functions change what they are given."""
    z = x.copy()
    _add_into(z, y, 0.5)
    tail = z[1:]
    _add_into(tail, z[:-1], 0.25)
    view = z[::-1]
    view[0] = view[0] * 2.0
    _clip(z, 3.0)
    if z.sum() > 2.0:
        _add_into(z, x, -1.0)
    return z


@program((0.1, 1.0, 5), (0.05, -2.0, 12), (0.1, 0.5, 0), wrt=(0, 1))
def runge_kutta(h: float, y0: float, steps: int) -> float:
    """RK4 for y' = -y + sin(t)."""

    def slope(t: float, y: float) -> float:
        return -y + math.sin(t)

    t = 0.0
    y = y0
    for _ in range(steps):
        k1 = slope(t, y)
        k2 = slope(t + 0.5 * h, y + 0.5 * h * k1)
        k3 = slope(t + 0.5 * h, y + 0.5 * h * k2)
        k4 = slope(t + h, y + h * k3)
        y = y + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
        t = t + h
    return y


@program((np.array([1.0, 1.0, 1.0]), 4), (np.array([0.1, 0.0, 2.0]), 1), wrt=0)
def lorenz(state: np.ndarray, steps: int) -> np.ndarray:
    """Euler steps of the Lorenz system."""
    sigma, rho, beta = 10.0, 28.0, 8.0 / 3.0
    h = 0.01

    def rate(s: np.ndarray) -> np.ndarray:
        x = s[0]
        y = s[1]
        z = s[2]
        return np.array([sigma * (y - x), x * (rho - z) - y, x * y - beta * z])

    path = state
    for _ in range(steps):
        k = rate(path)
        path = path + h * k
    return path


@program((A, 3.0), (B, -10.0), (A, 100.0))
def search(a: np.ndarray, limit: float) -> Any:
    """Early return out of nested loops."""
    n = len(a)
    best = a[0]
    for i in range(n):
        for j in range(n):
            s = a[i] + a[j]
            if s > best:
                best = s
            if s > limit:
                return i, j, best
    if best > 0.0:
        return -1, 0, best
    if best < -100.0:
        raise ValueError(f"nothing in {n} numbers")
    return -1, -1, best


@program((GRID, 2), (GRID[:3, :3].copy(), 5), wrt=0)
def gauss_seidel(u: np.ndarray, sweeps: int) -> np.ndarray:
    """Gauss-Seidel sweeps on a grid, element by element."""
    v = u.copy()
    rows = v.shape[0]
    columns = v.shape[1]
    for _ in range(sweeps):
        for i in range(1, rows - 1):
            for j in range(1, columns - 1):
                total = v[i - 1, j] + v[i + 1, j]
                total = total + v[i, j - 1]
                total = total + v[i, j + 1]
                v[i, j] = 0.25 * total
    residual = 0.0
    for i in range(rows):
        residual = residual + v[i, 0] * v[i, 0]
    return v * (1.0 + residual)


@program((A,), (B,), wrt=0)
def prefix_products(x: np.ndarray) -> Any:
    """A list that grows, then an array of it."""
    products = []
    running = 1.0
    for i in range(len(x)):
        running = running * x[i]
        products.append(running)
    out = np.zeros(len(x))
    for i in range(len(x)):
        out[i] = products[i]
    total = 0.0
    for p in products:
        total = total + p
    if len(products) > 3:
        total = total / len(products)
    return out, total


@program((A, True), (A, False), (B, True), wrt=0)
def either_view(a: np.ndarray, front: bool) -> Any:
    """A name for one part or the other, then a store through it."""
    b = a * 2.0
    if front:
        part = b[: len(a) // 2]
    else:
        part = b[len(a) // 2 + len(a) % 2 :]
    part *= 3.0
    part += 1.0
    if front:
        other = b
    else:
        other = a * 1.0
    other[0] = 5.0
    return b, part.sum()


@program((SPD, B), (SPD[:2, :2].copy(), B[:2].copy()), wrt=(0, 1))
def forward_substitution(low: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    """Solve a lower triangular system."""
    n = len(rhs)
    x = np.zeros(n)
    for i in range(n):
        s = rhs[i]
        for j in range(i):
            s -= low[i, j] * x[j]
        x[i] = s / low[i, i]
    check = 0.0
    for i in range(n):
        check += x[i]
    if check < -100.0:
        raise ValueError("diverged")
    return x


@program((A, 4), (A, 9), (B, 0))
def checked_access(a: np.ndarray, n: int) -> float:
    """An index that may leave the array."""
    total = 0.0
    count = 0
    for i in range(n):
        if count > 100:
            raise RuntimeError("too many")
        total = total + a[i] * a[-1 - i]
        count = count + 1
    if n == 0:
        return -1.0
    elif total > 100.0:
        raise ValueError("too large")
    elif total > 0:
        return total / count
    return total


@program((5,), (0,), (20,))
def fibonacci(n: int) -> Any:
    """Integers only."""
    a = 0
    b = 1
    even = 0
    for _ in range(n):
        a, b = b, a + b
        if a % 2 == 0:
            even = even + 1
    k = 0
    while k * k < a:
        k = k + 1
    if even > k:
        k = even
    return a, even, k
