"""Textbook algorithms with a value that is known: quadrature, interpolation, transforms, time stepping."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.programs.harness import program
from tests.programs.known import known

Y = np.array([0.4, -1.3, 2.2, 0.9, -0.2])
KNOTS = np.array([0.0, 0.5, 1.25, 2.0, 3.5])
SINE = np.sin(np.pi * np.linspace(0.0, 1.0, 9))

# --- quadrature


def _bell(x: float, width: float) -> float:
    return math.exp(-x * x / (2.0 * width * width))


@known((0.0, 1.0, 1e9, 2), 1.0)
@program((0.0, 2.0, 0.7, 4), (-1.0, 1.5, 1.2, 10), (0.5, 0.5, 1.0, 2), (0.0, 1.0, 1.0, 3), wrt=(0, 1, 2))
def simpson(a: float, b: float, width: float, n: int) -> float:
    """Simpson's rule with n intervals."""
    if n % 2 != 0:
        raise ValueError(f"{n} intervals: an even number is needed")
    h = (b - a) / n
    odd = 0.0
    even = 0.0
    for k in range(1, n):
        if k % 2 == 1:
            odd += _bell(a + k * h, width)
        else:
            even += _bell(a + k * h, width)
    return h / 3.0 * (_bell(a, width) + 4.0 * odd + 2.0 * even + _bell(b, width))


@known((1.0, 6), math.pi / 4.0, 1e-9)
@program((1.0, 5), (2.5, 3), (0.3, 1), wrt=0)
def romberg(upper: float, rows: int) -> float:
    """The integral of 1 / (1 + x^2) from 0 by Richardson's extrapolation of the trapezoidal rule."""
    table = np.zeros((8, 8))
    h = upper
    table[0, 0] = 0.5 * h * (1.0 + 1.0 / (1.0 + upper**2))
    pieces = 1
    for i in range(1, rows):
        h *= 0.5
        # the new points lie between the old ones
        total = 0.0
        for k in range(pieces):
            x = (2 * k + 1) * h
            total += 1.0 / (1.0 + x * x)
        pieces *= 2
        table[i, 0] = 0.5 * table[i - 1, 0] + h * total
        factor = 1.0
        for j in range(1, i + 1):
            factor *= 4.0
            table[i, j] = table[i, j - 1] + (table[i, j - 1] - table[i - 1, j - 1]) / (factor - 1.0)
    return table[rows - 1, rows - 1]


@known((0.0, 1.0, 8), math.e - 1.0)
@program((0.0, 1.0, 5), (-2.0, 0.5, 2), (1.0, 3.0, 9), wrt=(0, 1), rtol=1e-11)
def gauss_legendre(a: float, b: float, n: int) -> float:
    """The integral of exp; nodes and weights by Newton's method on the Legendre polynomial."""
    total = 0.0
    for i in range((n + 1) // 2):
        z = math.cos(math.pi * (i + 0.75) / (n + 0.5))
        slope = 1.0
        change = 1.0
        while abs(change) > 1e-14:
            p1, p2 = 1.0, 0.0
            for j in range(n):
                p1, p2 = ((2.0 * j + 1.0) * z * p1 - j * p2) / (j + 1), p1
            slope = n * (z * p1 - p2) / (z * z - 1.0)
            change = p1 / slope
            z -= change
        weight = 2.0 / ((1.0 - z * z) * slope * slope)
        middle, half = 0.5 * (a + b), 0.5 * (b - a)
        if n % 2 == 1 and i == n // 2:
            total += weight * half * math.exp(middle)
        else:
            total += weight * half * (math.exp(middle + half * z) + math.exp(middle - half * z))
    return total


# --- interpolation


@known((np.array([0.0, 1.0, 3.0]), np.array([1.0, 2.0, 10.0]), 2.0), 5.0)
@program((KNOTS, Y, 0.8), (KNOTS[:3], Y[:3], -1.0), (KNOTS[2:4], Y[2:4], 1.5), wrt=(0, 1, 2), rtol=1e-11)
def neville(x: np.ndarray, y: np.ndarray, at: float) -> float:
    """Polynomial interpolation by Neville's scheme, in one array."""
    p = y.copy()
    n = len(x)
    for m in range(1, n):
        for i in range(n - m):
            top = (at - x[i + m]) * p[i] + (x[i] - at) * p[i + 1]
            p[i] = top / (x[i] - x[i + m])
    return float(p[0])


@known((KNOTS, 2.0 * KNOTS - 1.0, 2.7), 4.4)
@program((KNOTS, Y, 0.8), (KNOTS, Y[::-1].copy(), 3.2), (KNOTS[:4], Y[:4], 0.3), wrt=(0, 1, 2), rtol=1e-11)
def natural_spline(x: np.ndarray, y: np.ndarray, at: float) -> float:
    """A natural cubic spline at one place: second derivatives by a tridiagonal solve, then bisection."""
    n = len(x)
    second = np.zeros(n)
    u = np.zeros(n)
    for i in range(1, n - 1):
        s = (x[i] - x[i - 1]) / (x[i + 1] - x[i - 1])
        p = s * second[i - 1] + 2.0
        second[i] = (s - 1.0) / p
        jump = (y[i + 1] - y[i]) / (x[i + 1] - x[i]) - (y[i] - y[i - 1]) / (x[i] - x[i - 1])
        u[i] = (6.0 * jump / (x[i + 1] - x[i - 1]) - s * u[i - 1]) / p
    second[n - 1] = 0.0
    for k in range(n - 2, -1, -1):
        second[k] = second[k] * second[k + 1] + u[k]

    low, high = 0, n - 1
    while high - low > 1:
        k = (high + low) // 2
        if x[k] > at:
            high = k
        else:
            low = k
    h = x[high] - x[low]
    a = (x[high] - at) / h
    b = (at - x[low]) / h
    cubic = ((a**3 - a) * second[low] + (b**3 - b) * second[high]) * h * h / 6.0
    return a * y[low] + b * y[high] + cubic


@known((np.array([1.0, 4.0, 9.0, 16.0]), 2.5), 12.25)
@program((Y, 1.5), (Y[:2], 0.25), (Y[:1], 3.0), wrt=(0, 1))
def newton_forward(values: np.ndarray, t: float) -> float:
    """Newton's interpolation from a table of forward differences."""
    table = values.copy()
    n = len(table)
    result = table[0]
    term = 1.0
    for k in range(1, n):
        for i in range(n - k):
            table[i] = table[i + 1] - table[i]
        term *= (t - k + 1) / k
        result = result + term * table[0]
    return float(result)


# --- transforms


@known((np.array([1.0, 0.0, 0.0, 0.0]), np.zeros(4)), (np.ones(4), np.zeros(4)))
@known((np.ones(8), np.zeros(8)), (8.0 * np.eye(8)[0], np.zeros(8)))
@program((Y[:4], Y[1:]), (np.arange(8.0), np.cos(np.arange(8.0))), (Y[:1], Y[:1]), (Y[:2], Y[2:4]), wrt=(0, 1))
def fast_fourier(real: np.ndarray, imaginary: np.ndarray) -> Any:
    """Cooley and Tukey, in place of copies: bit reversal, then butterflies."""
    re = real.copy()
    im = imaginary.copy()
    n = len(re)
    j = 0
    for i in range(1, n):
        bit = n // 2
        while j >= bit:
            j -= bit
            bit //= 2
        j += bit
        if i < j:
            re[i], re[j] = re[j], re[i]
            im[i], im[j] = im[j], im[i]
    size = 2
    while size <= n:
        angle = -2.0 * math.pi / size
        for start in range(0, n, size):
            for k in range(size // 2):
                c, s = math.cos(angle * k), math.sin(angle * k)
                a, b = start + k, start + k + size // 2
                tr = c * re[b] - s * im[b]
                ti = c * im[b] + s * re[b]
                re[b], im[b] = re[a] - tr, im[a] - ti
                re[a] += tr
                im[a] += ti
        size *= 2
    return re, im


@known((np.array([9.0, 7.0, 3.0, 5.0]),), np.array([6.0, 2.0, 1.0, -1.0]))
@program((Y[:4],), (np.arange(8.0) ** 2,), (Y[:2],), (Y[:1],), wrt=0)
def haar(signal: np.ndarray) -> np.ndarray:
    """The Haar transform: means in front, half differences behind, again on the front half."""
    out = signal.copy()
    work = np.zeros_like(out)
    length = len(out)
    while length > 1:
        half = length // 2
        for k in range(half):
            work[k] = 0.5 * (out[2 * k] + out[2 * k + 1])
            work[half + k] = 0.5 * (out[2 * k] - out[2 * k + 1])
        for k in range(length):
            out[k] = work[k]
        length = half
    return out


# --- differential equations


def _lorenz(s: np.ndarray, sigma: float, rho: float, beta: float) -> np.ndarray:
    x, y, z = s
    return np.array([sigma * (y - x), x * (rho - z) - y, x * y - beta * z])


REST = np.array([math.sqrt(72.0), math.sqrt(72.0), 27.0])


@known((REST, 28.0, 0.01, 20), REST)
@program(
    (np.array([1.0, 1.0, 1.0]), 28.0, 0.01, 20),
    (REST, 24.0, 0.02, 5),
    (np.array([0.0, 1.0, 0.0]), 28.0, 0.01, 0),
    wrt=(0, 1),
)
def lorenz_rk4(start: np.ndarray, rho: float, h: float, steps: int) -> np.ndarray:
    """The Lorenz system by the classical Runge-Kutta method."""
    sigma, beta = 10.0, 8.0 / 3.0
    y = start.copy()
    for _ in range(steps):
        k1 = _lorenz(y, sigma, rho, beta)
        k2 = _lorenz(y + 0.5 * h * k1, sigma, rho, beta)
        k3 = _lorenz(y + 0.5 * h * k2, sigma, rho, beta)
        k4 = _lorenz(y + h * k3, sigma, rho, beta)
        y += h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    return y


@known((1.0, 1.0, 1e-9), math.exp(-1.0), 1e-8)
@program((1.0, 2.0, 1e-4), (0.3, 0.5, 1e-6), (2.0, 0.1, 1e-3), wrt=0, rtol=1e-9)
def adaptive_heun(y: float, end: float, tolerance: float) -> float:
    """y' = -y by embedded Euler and Heun, steps that may be rejected."""
    t = 0.0
    h = 0.1
    while t < end:
        if t + h > end:
            h = end - t
        k1 = -y
        k2 = -(y + h * k1)
        euler = y + h * k1
        heun = y + 0.5 * h * (k1 + k2)
        error = abs(heun - euler)
        if error <= tolerance or h < 1e-4:
            t += h
            y = heun
            if error < 0.1 * tolerance:
                h *= 2.0
        else:
            h *= 0.5
    return y


def _forces(x: np.ndarray, mass: np.ndarray, out: np.ndarray) -> None:
    """Write the accelerations of gravity into out."""
    out.fill(0.0)
    n = len(mass)
    for i in range(n):
        for j in range(n):
            if i == j:
                continue
            d = x[j] - x[i]
            r2 = d @ d
            out[i] += mass[j] * d / (r2 * np.sqrt(r2))


PAIR = np.array([[0.5, 0.0], [-0.5, 0.0]])
SPEED = np.array([[0.0, 0.5], [0.0, -0.5]])


@known((PAIR, math.sqrt(2.0) * SPEED, np.array([1.0, 1.0]), math.pi / math.sqrt(2.0) / 400, 800), PAIR, 1e-4)
@program(
    (PAIR, SPEED, np.array([1.0, 0.5]), 0.05, 4),
    (np.array([[0.0, 1.0], [1.0, 0.0], [-1.0, -0.5]]), np.zeros((3, 2)), np.array([1.0, 2.0, 0.5]), 0.02, 6),
    (PAIR, SPEED, np.array([1.0, 0.5]), 0.05, 0),
    wrt=(0, 1, 2),
)
def verlet_bodies(x: np.ndarray, v: np.ndarray, mass: np.ndarray, h: float, steps: int) -> np.ndarray:
    """Bodies under gravity by the velocity form of Verlet's method."""
    x = x.copy()
    v = v.copy()
    a = np.zeros_like(x)
    _forces(x, mass, a)
    for _ in range(steps):
        v += 0.5 * h * a
        x += h * v
        _forces(x, mass, a)
        v += 0.5 * h * a
    return x


DECAY = 1.0 - 4.0 * 0.4 * math.sin(math.pi / 16.0) ** 2


@known((SINE, 0.4, 30), SINE * DECAY**30)
@program((SINE, 0.4, 7), (Y, 0.25, 1), (Y, 0.1, 0), wrt=(0, 1))
def heat_two_buffers(start: np.ndarray, c: float, steps: int) -> np.ndarray:
    """Explicit heat equation, fixed ends, two buffers that change places."""
    u = start.copy()
    v = start.copy()
    for _ in range(steps):
        v[1:-1] = u[1:-1] + c * (u[2:] - 2.0 * u[1:-1] + u[:-2])
        u, v = v, u
    return u


@known((SINE, 1.0, 16), SINE)
@known((SINE, 1.0, 8), -SINE)
@program((SINE, 0.5, 6), (Y, 0.8, 2), (Y, 0.25, 0), (Y, 1.5, 3), wrt=(0, 1))
def wave_leapfrog(start: np.ndarray, courant: float, steps: int) -> np.ndarray:
    """The wave equation from rest, by leapfrog; exact at the Courant number 1."""
    if courant > 1.0:
        raise ValueError(f"unstable: Courant number {courant}")
    c2 = courant**2
    old = start.copy()
    now = start.copy()
    new = np.zeros_like(start)
    for step in range(steps):
        for i in range(1, len(now) - 1):
            curvature = now[i + 1] - 2.0 * now[i] + now[i - 1]
            if step == 0:
                new[i] = now[i] + 0.5 * c2 * curvature
            else:
                new[i] = 2.0 * now[i] - old[i] + c2 * curvature
        old, now, new = now, new, old
    return now


CURVE = 2.0 * 0.8 * math.sin(math.pi / 16.0) ** 2
CRANK = (1.0 - CURVE) / (1.0 + CURVE)


@known((SINE, 0.8, 5), SINE * CRANK**5)
@program((SINE, 0.8, 4), (Y, 2.0, 2), (Y[:3], 0.1, 7), wrt=(0, 1), rtol=1e-11)
def crank_nicolson(start: np.ndarray, r: float, steps: int) -> np.ndarray:
    """Implicit heat equation: a tridiagonal solve in every step."""
    u = start.copy()
    n = len(u) - 2  # unknowns inside
    c = np.zeros(n)
    d = np.zeros(n)
    for _ in range(steps):
        for i in range(n):
            rhs = 0.5 * r * u[i] + (1.0 - r) * u[i + 1] + 0.5 * r * u[i + 2]
            below = -0.5 * r if i > 0 else 0.0
            pivot = 1.0 + r
            if i > 0:
                pivot -= below * c[i - 1]
                rhs -= below * d[i - 1]
            c[i] = -0.5 * r / pivot
            d[i] = rhs / pivot
        u[n] = d[n - 1]
        for i in range(n - 2, -1, -1):
            u[i + 1] = d[i] - c[i] * u[i + 2]
    return u


@known((np.zeros((5, 5)), 1.0, 400), np.ones((5, 5)))
@program((np.arange(20.0).reshape(4, 5) / 10.0, 1.5, 3), (np.eye(3), 0.2, 5), (np.eye(4), 1.0, 0), wrt=(0, 1))
def laplace_relaxation(grid: np.ndarray, edge: float, sweeps: int) -> np.ndarray:
    """Relaxation of Laplace's equation with one value on all edges."""
    u = grid.copy()
    u[0, :] = edge
    u[-1, :] = edge
    u[:, 0] = edge
    u[:, -1] = edge
    rows, columns = u.shape
    for _ in range(sweeps):
        for i in range(1, rows - 1):
            for j in range(1, columns - 1):
                u[i, j] = 0.25 * (u[i - 1, j] + u[i + 1, j] + u[i, j - 1] + u[i, j + 1])
    return u
