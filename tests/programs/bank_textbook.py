"""Textbook algorithms, each with a value that is known: linear algebra, roots, series, quadrature, interpolation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.programs.harness import program
from tests.programs.known import known

SECOND = 2.0 * np.eye(4) - np.eye(4, k=1) - np.eye(4, k=-1)
SPD = np.array([[4.0, 12.0, -16.0], [12.0, 37.0, -43.0], [-16.0, -43.0, 98.0]])
SQUARE = np.array([[12.0, -51.0, 4.0], [6.0, 167.0, -68.0], [-4.0, 24.0, -41.0]])
HILBERT = np.array([[1.0 / (i + j + 1) for j in range(4)] for i in range(4)])
SMALL = np.array([[2.0, 0.5], [0.25, -1.0]])
Y = np.array([0.4, -1.3, 2.2, 0.9, -0.2])


def _ones(n: int, value: float) -> np.ndarray:
    return np.full(n, value)


# --- linear algebra


@known(
    (_ones(4, -1.0), _ones(5, 2.0), _ones(4, -1.0), _ones(5, 1.0 / 36.0)), np.arange(1, 6) * np.arange(5, 0, -1) / 72
)
@program(
    (_ones(4, -1.0), _ones(5, 2.0), _ones(4, -1.0), Y),
    (np.array([0.5, 1.0]), np.array([3.0, -4.0, 2.5]), np.array([1.0, 0.25]), Y[:3]),
    (np.zeros(0), np.array([3.0]), np.zeros(0), Y[:1]),
    wrt=(0, 1, 2, 3),
    rtol=1e-11,
)
def thomas(lower: np.ndarray, diagonal: np.ndarray, upper: np.ndarray, rhs: np.ndarray) -> np.ndarray:
    """Solve a tridiagonal system."""
    n = len(diagonal)
    c = np.zeros(n)
    d = np.zeros(n)

    # forward sweep
    d[0] = rhs[0] / diagonal[0]
    if n > 1:
        c[0] = upper[0] / diagonal[0]
    for i in range(1, n):
        pivot = diagonal[i] - lower[i - 1] * c[i - 1]
        if i < n - 1:
            c[i] = upper[i] / pivot
        d[i] = (rhs[i] - lower[i - 1] * d[i - 1]) / pivot

    # back substitution
    for i in range(n - 2, -1, -1):
        d[i] -= c[i] * d[i + 1]
    return d


@known((SPD,), np.array([[2.0, 0.0, 0.0], [6.0, 1.0, 0.0], [-8.0, 5.0, 3.0]]))
@program((SPD,), (SECOND,), (np.array([[2.25]]),), (-SPD,), wrt=0, rtol=1e-10)
def cholesky_crout(a: np.ndarray) -> np.ndarray:
    """The lower factor, column by column, in a copy; an indefinite matrix is refused."""
    a = a.copy()
    n = a.shape[0]
    for j in range(n):
        for k in range(j):
            a[j, j] -= a[j, k] ** 2
        if a[j, j] <= 0.0:
            raise ValueError("matrix is not positive definite")
        a[j, j] = math.sqrt(a[j, j])
        for i in range(j + 1, n):
            for k in range(j):
                a[i, j] -= a[i, k] * a[j, k]
            a[i, j] /= a[j, j]
            a[j, i] = 0.0
    return a


def _swap_rows(a: np.ndarray, i: int, j: int) -> None:
    for k in range(a.shape[1]):
        t = a[i, k]
        a[i, k] = a[j, k]
        a[j, k] = t


@known((HILBERT,), 1.0 / 6048000.0)
@known((np.array([[0.0, 2.0], [3.0, 1.0]]),), -6.0)
@program((HILBERT,), (SQUARE,), (SMALL[::-1].copy(),), (np.zeros((2, 2)),), wrt=0, rtol=1e-9)
def determinant(a: np.ndarray) -> float:
    """LU decomposition with partial pivoting."""
    lu = a.copy()
    n = len(lu)
    sign = 1.0
    for k in range(n):
        # the largest entry of the column
        pivot = k
        largest = abs(lu[k, k])
        for i in range(k + 1, n):
            if abs(lu[i, k]) > largest:
                largest = abs(lu[i, k])
                pivot = i
        if largest == 0.0:
            raise ZeroDivisionError(f"singular at column {k}")
        if pivot != k:
            _swap_rows(lu, k, pivot)
            sign = -sign
        for i in range(k + 1, n):
            lu[i, k] /= lu[k, k]
            for j in range(k + 1, n):
                lu[i, j] -= lu[i, k] * lu[k, j]
    for k in range(n):
        sign = sign * lu[k, k]
    return float(sign)


@known((SQUARE,), np.array([[14.0, 21.0, -14.0], [0.0, 175.0, -70.0], [0.0, 0.0, 35.0]]))
@program((SQUARE,), (SMALL,), (HILBERT[:, :2].copy(),), wrt=0, rtol=1e-9)
def triangle_by_gram_schmidt(a: np.ndarray) -> np.ndarray:
    """The triangular factor by the classical Gram-Schmidt process."""
    m, n = a.shape
    q = np.empty((m, n))
    r = np.zeros((n, n))
    for j in range(n):
        column = a[:, j].copy()
        for k in range(j):
            r[k, j] = q[:, k] @ a[:, j]
            column -= r[k, j] * q[:, k]
        r[j, j] = np.sqrt(column @ column)
        q[:, j] = column / r[j, j]
    return r


@known((SQUARE,), np.array([[-14.0, -21.0, 14.0], [0.0, -175.0, 70.0], [0.0, 0.0, -35.0]]))
@program((SQUARE,), (SMALL,), (HILBERT[:3, :2].copy(),), wrt=0, rtol=1e-9)
def triangle_by_householder(a: np.ndarray) -> np.ndarray:
    """The triangular factor by reflections."""
    r = a.copy()
    m, n = r.shape
    for k in range(min(m - 1, n)):
        # the vector of the reflection
        size = 0.0
        for i in range(k, m):
            size += r[i, k] ** 2
        size = math.sqrt(size)
        alpha = -size if r[k, k] > 0 else size
        v = np.zeros(m)
        v[k] = r[k, k] - alpha
        for i in range(k + 1, m):
            v[i] = r[i, k]
        scale = 2.0 / (v @ v)
        # all columns are reflected
        for j in range(k, n):
            inner = scale * (v @ r[:, j])
            r[:, j] -= inner * v
    for i in range(m):
        for j in range(min(i, n)):
            r[i, j] = 0.0
    return r


@known((np.array([1.0, 0.5, 0.25, 0.125]), 3), (np.array([0.5, 0.0, 0.0]), 0.75))
@program(
    (np.array([1.0, 0.5, 0.25, 0.125]), 3),
    (np.array([2.0, -0.5, 0.75, 0.1, 0.3]), 4),
    (np.array([3.0, 1.0]), 1),
    (np.array([3.0, 1.0]), 0),
    wrt=0,
)
def levinson(r: np.ndarray, order: int) -> Any:
    """Linear prediction from autocorrelations: the coefficients and the error's variance."""
    a = np.zeros(len(r) - 1)
    previous = np.zeros(len(r) - 1)
    error = r[0]
    for m in range(order):
        reflection = r[m + 1]
        for k in range(m):
            reflection -= a[k] * r[m - k]
        reflection /= error
        for k in range(m):
            previous[k] = a[k]
        for k in range(m):
            a[k] = previous[k] - reflection * previous[m - 1 - k]
        a[m] = reflection
        error *= 1.0 - reflection**2
    return a, error


@known((SECOND, _ones(4, 1.0), 200), np.array([2.0, 3.0, 3.0, 2.0]))
@program((SECOND, Y[:4], 8), (SPD + 50.0 * np.eye(3), Y[:3], 3), (SECOND, Y[:4], 0), wrt=(0, 1))
def gauss_seidel_solve(a: np.ndarray, b: np.ndarray, sweeps: int) -> np.ndarray:
    """Sweeps of Gauss-Seidel over a linear system."""
    n = len(b)
    x = np.zeros(n)
    for _ in range(sweeps):
        for i in range(n):
            total = 0.0
            for j in range(n):
                if j != i:
                    total += a[i, j] * x[j]
            x[i] = (b[i] - total) / a[i, i]
    return x


@known((SECOND, _ones(4, 1.0), 1.2, 500), np.array([2.0, 3.0, 3.0, 2.0]))
@program((SECOND, Y[:4], 1.2, 9), (SECOND[:2, :2], Y[:2], 0.8, 40), (SECOND, Y[:4], 1.9, 0), wrt=(0, 1, 2), rtol=1e-11)
def successive_over_relaxation(a: np.ndarray, b: np.ndarray, omega: float, limit: int) -> np.ndarray:
    """Over-relaxed sweeps until the largest change is small."""
    x = np.zeros_like(b)
    for sweep in range(limit):
        change = 0.0
        for i in range(len(b)):
            residual = b[i] - a[i] @ x
            step = omega * residual / a[i, i]
            x[i] += step
            change = max(change, abs(step))
        if sweep > 0 and change < 1e-14:
            break
    return x


@known((SECOND, _ones(4, 1.0), 1e-12), np.array([2.0, 3.0, 3.0, 2.0]))
@program((SECOND, Y[:4], 0.1), (SPD, Y[:3], 1e-3), (SECOND[:1, :1], Y[:1], 1e-9), wrt=(0, 1), rtol=1e-8)
def conjugate_gradient_until(a: np.ndarray, b: np.ndarray, tolerance: float) -> np.ndarray:
    """Conjugate gradients until the residual is small."""
    x = np.zeros(len(b))
    r = b.copy()
    p = r.copy()
    rr = r @ r
    iterations = 0
    while math.sqrt(rr) > tolerance and iterations < 2 * len(b):
        q = a @ p
        alpha = rr / (p @ q)
        x += alpha * p
        r -= alpha * q
        beta = (r @ r) / rr
        rr = r @ r
        p *= beta
        p += r
        iterations += 1
    return x


@known((np.array([[1.0, 1.0], [1.0, 0.0]]), 80), (1.0 + math.sqrt(5.0)) / 2.0)
@program((SPD, 15), (SMALL @ SMALL.T, 4), (SECOND, 1), (SECOND, 0), wrt=0, rtol=1e-10)
def dominant_eigenvalue(a: np.ndarray, steps: int) -> Any:
    """Power iteration with the Rayleigh quotient."""
    v = np.ones(a.shape[0])
    v[0] = 1.5
    quotient: Any = 0.0
    for _ in range(steps):
        v = a @ v
        v /= np.sqrt(np.sum(v**2))
        quotient = v @ (a @ v)
    return quotient


@known((SECOND[:3, :3], 10), np.array([2.0 - math.sqrt(2.0), 2.0, 2.0 + math.sqrt(2.0)]))
@program((SPD, 6), (SMALL + SMALL.T, 3), (SPD[::-1, ::-1].copy(), 1), (SPD, 0), wrt=0, rtol=1e-9)
def jacobi_eigenvalues(a: np.ndarray, sweeps: int) -> np.ndarray:
    """Cyclic Jacobi rotations; the eigenvalues in ascending order."""
    a = a.copy()
    n = a.shape[0]
    for _ in range(sweeps):
        off = 0.0
        for p in range(n):
            for q in range(p + 1, n):
                off += a[p, q] ** 2
        if off < 1e-22:
            break
        for p in range(n - 1):
            for q in range(p + 1, n):
                if abs(a[p, q]) < 1e-15:
                    continue
                theta = (a[q, q] - a[p, p]) / (2.0 * a[p, q])
                sign = 1.0 if theta >= 0 else -1.0
                t = sign / (abs(theta) + math.sqrt(theta * theta + 1.0))
                c = 1.0 / math.sqrt(t * t + 1.0)
                s = t * c
                for k in range(n):
                    akp, akq = a[k, p], a[k, q]
                    a[k, p] = c * akp - s * akq
                    a[k, q] = s * akp + c * akq
                for k in range(n):
                    apk, aqk = a[p, k], a[q, k]
                    a[p, k] = c * apk - s * aqk
                    a[q, k] = s * apk + c * aqk
    return np.sort(np.diag(a))


@known((HILBERT[:3, :3],), np.array([[9.0, -36.0, 30.0], [-36.0, 192.0, -180.0], [30.0, -180.0, 180.0]]))
@program((SQUARE,), (HILBERT[:3, :3],), (np.array([[0.0, 2.0], [-1.0, 0.5]]),), wrt=0, rtol=1e-8)
def gauss_jordan_inverse(a: np.ndarray) -> np.ndarray:
    """The inverse, by elimination in a table of twice the width."""
    n = len(a)
    table = np.zeros((n, 2 * n))
    table[:, :n] = a
    for i in range(n):
        table[i, n + i] = 1.0
    for k in range(n):
        pivot = k
        for i in range(k + 1, n):
            if abs(table[i, k]) > abs(table[pivot, k]):
                pivot = i
        if pivot != k:
            _swap_rows(table, k, pivot)
        table[k] /= table[k, k]
        for i in range(n):
            if i != k:
                table[i] -= table[i, k] * table[k]
    return table[:, n:].copy()


# --- roots and minima


@known((1.0, 1.0), 0.7390851332151607)
@program((1.0, 0.5), (0.3, 2.0), (2.5, 0.1), wrt=0, rtol=1e-10)
def newton_cosine(scale: float, start: float) -> float:
    """The fixed point of cos(scale x), by Newton's method."""
    x = start
    for _ in range(60):
        value = x - math.cos(scale * x)
        slope = 1.0 + scale * math.sin(scale * x)
        step = value / slope
        x -= step
        if abs(step) < 1e-14:
            break
    return x


@known((1.0, 2.0, 2.0, 1e-13), math.sqrt(2.0))
@program((1.0, 2.5, 3.0, 0.1), (0.0, 4.0, 0.7, 0.01), (1.0, 1.5, 9.0, 0.1), wrt=(0, 1))
def bisection(low: float, high: float, target: float, tolerance: float) -> float:
    """The square root by halving an interval."""
    f_low = low * low - target
    if f_low * (high * high - target) > 0.0:
        raise ValueError(f"no change of sign between {low} and {high}")
    while high - low > tolerance:
        middle = 0.5 * (low + high)
        f_middle = middle * middle - target
        if f_middle == 0.0:
            return middle
        if f_low * f_middle < 0.0:
            high = middle
        else:
            low = middle
            f_low = f_middle
    return 0.5 * (low + high)


@known((1.0, 2.0, 2.0), 1.5213797068045676)
@program((1.0, 2.0, 2.0), (0.5, 1.5, 0.3), (2.0, 2.0, 1.0), wrt=2, rtol=1e-10)
def secant(x0: float, x1: float, c: float) -> float:
    """The root of x^3 - x = c by secants."""

    def f(x: float) -> float:
        return x**3 - x - c

    f0, f1 = f(x0), f(x1)
    count = 0
    while abs(f1) > 1e-13:
        if f1 == f0:
            raise ZeroDivisionError("a flat secant")
        x0, x1 = x1, x1 - f1 * (x1 - x0) / (f1 - f0)
        f0, f1 = f1, f(x1)
        count += 1
        assert count < 100, "no convergence"
    return x1


@known((0.0, 3.0, 2.0, 1e-6), 2.0, 1e-6)
@program((0.0, 3.0, 1.3, 0.1), (-1.0, 2.0, 0.2, 0.02), (-4.0, 4.0, -1.0, 10.0), wrt=(0, 1))
def golden_section(low: float, high: float, centre: float, tolerance: float) -> float:
    """The minimum of a unimodal function."""
    ratio = (math.sqrt(5.0) - 1.0) / 2.0
    c = high - ratio * (high - low)
    d = low + ratio * (high - low)
    fc = math.cosh(c - centre)
    fd = math.cosh(d - centre)
    while high - low > tolerance:
        if fc < fd:
            high, d, fd = d, c, fc
            c = high - ratio * (high - low)
            fc = math.cosh(c - centre)
        else:
            low, c, fc = c, d, fd
            d = low + ratio * (high - low)
            fd = math.cosh(d - centre)
    return 0.5 * (low + high)


# --- series, continued fractions, recurrences


@known((np.array([2.0, -6.0, 2.0, -1.0]), 3.0), (5.0, 20.0))
@program((np.array([2.0, -6.0, 2.0, -1.0]), 3.0), (Y, -0.5), (np.array([4.0]), 2.0), wrt=(0, 1))
def horner_with_slope(coefficients: np.ndarray, x: float) -> Any:
    """A polynomial and its derivative."""
    value = 0.0
    slope = 0.0
    for c in coefficients:
        slope = slope * x + value
        value = value * x + c
    return value, slope


@known((np.array([0.0, 0.0, 0.0, 0.0, 1.0]), math.cos(0.3)), math.cos(1.2))
@program((Y, 0.3), (Y[:2], -0.9), (Y[::-1].copy(), 0.0), wrt=(0, 1))
def clenshaw(c: np.ndarray, x: float) -> float:
    """A Chebyshev series."""
    b1 = 0.0
    b2 = 0.0
    for k in range(len(c) - 1, 0, -1):
        b1, b2 = 2.0 * x * b1 - b2 + c[k], b1
    return x * b1 - b2 + c[0]


@known((1.0, math.sqrt(2.0)), math.pi / 2.0 / 1.3110287771460600)
@program((1.0, 2.0), (24.0, 6.0), (0.5, 0.75), wrt=(0, 1))
def arithmetic_geometric_mean(a: float, g: float) -> float:
    """Gauss's mean."""
    while abs(a - g) > 1e-15 * a:
        middle = 0.5 * (a + g)
        g = math.sqrt(a * g)
        if middle == a:
            break
        a = middle
    return a


@known((1.0,), math.tan(1.0))
@program((1.0,), (-0.4,), (1.5,), (0.0,), wrt=0, rtol=1e-11)
def tangent_by_lentz(x: float) -> float:
    """tan x as a continued fraction, by the modified method of Lentz."""
    tiny = 1e-30
    f = tiny
    c = f
    d = 0.0
    n = 0
    delta = 0.0
    while n < 100:
        b = 2.0 * n + 1.0
        a = x if n == 0 else -x * x
        d = b + a * d
        if d == 0.0:
            d = tiny
        c = b + a / c
        if c == 0.0:
            c = tiny
        d = 1.0 / d
        delta = c * d
        f = f * delta
        n += 1
        if abs(delta - 1.0) < 1e-15:
            break
    return f


@known((5.0,), 24.0)
@known((0.5,), math.sqrt(math.pi))
@program((5.0,), (0.5,), (-1.3,), (12.25,), wrt=0, rtol=1e-11)
def gamma_by_lanczos(x: float) -> float:
    """The gamma function; reflected below one half."""
    table = [676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059]
    table += [12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7]
    reflect = x < 0.5
    z = 1.0 - x if reflect else x
    z -= 1.0
    total = 0.99999999999980993
    for k, c in enumerate(table):
        total += c / (z + k + 1)
    t = z + len(table) - 0.5
    value = math.sqrt(2.0 * math.pi) * t ** (z + 0.5) * math.exp(-t) * total
    if reflect:
        return math.pi / (math.sin(math.pi * x) * value)
    return value


@known((3, 0.5), -0.4375)
@program((3, 0.5), (0, 0.2), (1, -0.7), (12, 0.9), wrt=1)
def legendre(n: int, x: float) -> float:
    """A Legendre polynomial by its recurrence."""
    if n == 0:
        return x * 0.0 + 1.0
    p, q = 1.0, x
    for k in range(2, n + 1):
        p, q = q, ((2 * k - 1) * x * q - (k - 1) * p) / k
    return q


@known((100,), 25)
@known((1000,), 168)
@program((100,), (2,), (30,), (1,))
def count_primes(n: int) -> int:
    """The sieve of Eratosthenes."""
    composite = np.zeros(1001, dtype=bool)
    count = 0
    for i in range(2, n + 1):
        if composite[i]:
            continue
        count += 1
        j = i * i
        while j <= n:
            composite[j] = True
            j += i
    return count


@known((1071, 462), (21, -3, 7))
@program((1071, 462), (240, 46), (0, 5), (17, 0))
def extended_euclid(a: int, b: int) -> Any:
    """The greatest common divisor and the coefficients of Bezout."""
    x0, x1 = 1, 0
    y0, y1 = 0, 1
    while b != 0:
        q, r = divmod(a, b)
        a, b = b, r
        x0, x1 = x1, x0 - q * x1
        y0, y1 = y1, y0 - q * y1
    return a, x0, y0
