"""Programs of scientists: simulation, statistics, signal and image processing, textbook algorithms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tests.programs.harness import program

rng = np.random.default_rng(11)
X = rng.standard_normal((6, 3))
Y = rng.standard_normal(6)
V = np.array([0.4, 1.3, 2.2, 0.9])
SPD = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.25], [0.5, 0.25, 2.0]])
IMAGE = np.abs(rng.standard_normal((5, 6)))


class Epidemic(NamedTuple):
    """Rates of an SIR model."""

    contact: float
    recovery: float


@program(
    (Epidemic(0.5, 0.1), np.array([0.99, 0.01, 0.0]), 5),
    (Epidemic(0.2, 0.3), np.array([0.8, 0.2, 0.0]), 0),
    (Epidemic(1.5, 0.1), np.array([0.9, 0.1, 0.0]), 12),
    wrt=(0, 1),
)
def sir_model(rates: Epidemic, start: np.ndarray, days: int) -> Any:
    """Susceptible, infected, recovered; stops when nearly nobody is infected."""
    s, i, r = start
    contact, recovery = rates
    peak = i
    for _ in range(days):
        new = contact * s * i
        healed = recovery * i
        s = s - new
        i = i + new - healed
        r = r + healed
        if i > peak:
            peak = i
        if i < 1e-3:
            break
    if not math.isfinite(s):
        raise ValueError("diverged")
    return np.array([s, i, r]), peak


@program((Y, 0.1, 0.5), (Y[:3], 1.0, 0.2), (Y[::-1], 0.01, 2.0), wrt=(0, 1, 2))
def kalman_filter(z: np.ndarray, q: float, r: float) -> Any:
    """A filter of position and velocity: the log likelihood and the filtered positions."""
    f = np.array([[1.0, 1.0], [0.0, 1.0]])
    h = np.array([[1.0, 0.0]])
    x = np.zeros(2)
    p = np.eye(2)
    noise = q * np.eye(2)
    likelihood = 0.0
    track = np.zeros(len(z))
    for t in range(len(z)):
        x = f @ x
        p = f @ p @ f.T + noise
        innovation = z[t] - h @ x
        s = h @ p @ h.T + r
        gain = (p @ h.T) / s[0, 0]
        x = x + gain @ innovation
        p = (np.eye(2) - gain @ h) @ p
        likelihood -= 0.5 * (np.log(2 * np.pi * s[0, 0]) + innovation[0] ** 2 / s[0, 0])
        track[t] = x[0]
    return likelihood, track


@program((SPD, 12), (SPD[:2, :2].copy(), 5), (SPD + 2 * np.eye(3), 1), wrt=0, rtol=1e-10)
def power_iteration(a: np.ndarray, steps: int) -> Any:
    """The largest eigenvalue."""
    n = a.shape[0]
    v = np.ones(n) / np.sqrt(n)
    value = 0.0
    for _ in range(steps):
        w = a @ v
        size = np.linalg.norm(w)
        if size == 0.0:
            raise ZeroDivisionError("a null vector")
        v = w / size
        value = v @ a @ v
    if v[0] < 0:
        v = -v
    return value, v


@program((SPD, V[:3]), (SPD[:2, :2].copy(), V[:2]), (np.array([[2.0]]), np.array([3.0])), wrt=(0, 1), rtol=1e-9)
def conjugate_gradients(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Solve a symmetric positive definite system by a fixed number of steps."""
    x = np.zeros_like(b)
    r = b - a @ x
    p = r.copy()
    old = r @ r
    for _ in range(len(b)):
        ap = a @ p
        step = old / (p @ ap)
        x += step * p
        r -= step * ap
        new = r @ r
        if math.sqrt(new) < 1e-12:
            break
        p = r + (new / old) * p
        old = new
    return x


@program((SPD, V[:3]), (SPD[::-1].copy(), V[:3]), (np.array([[0.0, 1.0], [2.0, 1.0]]), V[:2]), wrt=(0, 1))
def gaussian_elimination(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Elimination with partial pivoting, in copies."""
    a = a.copy()
    b = b.copy()
    n = len(b)
    for k in range(n):
        pivot = k
        for i in range(k + 1, n):
            if abs(a[i, k]) > abs(a[pivot, k]):
                pivot = i
        if pivot != k:
            row = a[k].copy()
            a[k] = a[pivot]
            a[pivot] = row
            b[k], b[pivot] = b[pivot], b[k]
        for i in range(k + 1, n):
            factor = a[i, k] / a[k, k]
            a[i, k:] -= factor * a[k, k:]
            b[i] -= factor * b[k]
    x = np.zeros(n)
    for i in range(n - 1, -1, -1):
        x[i] = (b[i] - a[i, i + 1 :] @ x[i + 1 :]) / a[i, i]
    return x


@program((X,), (X[:4, :2],), (np.array([[2.0, 1.0], [0.0, 3.0]]),), wrt=0, rtol=1e-11)
def gram_schmidt(a: np.ndarray) -> Any:
    """QR by the modified Gram-Schmidt process."""
    m, n = a.shape
    q = np.zeros((m, n))
    r = np.zeros((n, n))
    v = a.copy()
    for j in range(n):
        r[j, j] = np.sqrt(np.sum(v[:, j] ** 2))
        if r[j, j] < 1e-14:
            raise ValueError(f"column {j} depends on the others")
        q[:, j] = v[:, j] / r[j, j]
        for k in range(j + 1, n):
            r[j, k] = q[:, j] @ v[:, k]
            v[:, k] = v[:, k] - r[j, k] * q[:, j]
    return q, r


@program((V, V[::-1].copy(), 1.0), (V[:2], V, 0.5), (V[:1], V[:3], 2.0), wrt=(0, 1, 2))
def soft_dtw(x: np.ndarray, y: np.ndarray, gamma: float) -> Any:
    """Dynamic time warping with a soft minimum."""
    n = len(x)
    m = len(y)
    table = np.full((n + 1, m + 1), 1e10)
    table[0, 0] = 0.0
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            cost = (x[i - 1] - y[j - 1]) ** 2
            a = -table[i - 1, j] / gamma
            b = -table[i, j - 1] / gamma
            c = -table[i - 1, j - 1] / gamma
            top = max(a, b, c)
            total = math.exp(a - top) + math.exp(b - top) + math.exp(c - top)
            table[i, j] = cost - gamma * (top + math.log(total))
    return table[n, m]


@program(("kitten", "sitting"), ("", "abc"), ("flaw", "lawn"))
def edit_distance(a: str, b: str) -> int:
    """Levenshtein's distance of two words: 3, 3 and 2."""
    known = {("kitten", "sitting"): 3, ("", "abc"): 3, ("flaw", "lawn"): 2}
    previous = list(range(len(b) + 1))
    for i, ca in enumerate(a):
        current = [i + 1]
        for j, cb in enumerate(b):
            if ca == cb:
                cost = previous[j]
            else:
                cost = 1 + min(previous[j], previous[j + 1], current[j])
            current.append(cost)
        previous = current
    assert previous[-1] == known[a, b]
    return previous[-1]


@program(
    (np.array([[0.7, 0.3], [0.4, 0.6]]), np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1, 0, 0])),
    (np.array([[0.5, 0.5], [0.1, 0.9]]), np.array([[0.6, 0.4], [0.3, 0.7]]), np.array([1])),
    (np.array([[0.2, 0.8], [0.5, 0.5]]), np.array([[0.6, 0.4], [0.3, 0.7]]), np.array([1, 1, 0, 1, 0])),
    wrt=(0, 1),
)
def hidden_markov(a: np.ndarray, b: np.ndarray, seen: np.ndarray) -> Any:
    """The forward algorithm with scaling, and the last state's most likely value."""
    states = a.shape[0]
    alpha = b[:, seen[0]] / states
    scale = alpha.sum()
    alpha /= scale
    likelihood = np.log(scale)
    for symbol in seen[1:]:
        following = np.zeros(states)
        for j in range(states):
            for i in range(states):
                following[j] += alpha[i] * a[i, j]
            following[j] *= b[j, symbol]
        scale = following.sum()
        alpha = following / scale
        likelihood += np.log(scale)
    return likelihood, int(np.argmax(alpha))


@program(
    (np.array([3.0, 1.0, 2.0, 5.0]), 2), (np.array([9.0, 7.0]), 1), (np.array([4.0, 1.0, 8.0, 6.0, 2.0]), 3), wrt=0
)
def selection(a: np.ndarray, k: int) -> Any:
    """The k largest numbers by selection sort, and their weighted sum."""
    b = a.copy()
    n = len(b)
    for i in range(k):
        best = i
        for j in range(i + 1, n):
            if b[j] > b[best]:
                best = j
        b[i], b[best] = b[best], b[i]
    total = 0.0
    weight = 1.0
    for i in range(k):
        total += weight * b[i]
        weight *= 0.5
    return total, b[:k].copy()


@program((IMAGE, 1), (IMAGE[:3, :3].copy(), 2), (IMAGE[:, ::2], 0), wrt=0)
def box_blur(image: np.ndarray, passes: int) -> np.ndarray:
    """Mean of the three by three neighbourhood, edges repeated."""
    rows, columns = image.shape
    current = image.copy()
    for _ in range(passes):
        padded = np.zeros((rows + 2, columns + 2))
        padded[1:-1, 1:-1] = current
        padded[0, 1:-1] = current[0]
        padded[-1, 1:-1] = current[-1]
        padded[:, 0] = padded[:, 1]
        padded[:, -1] = padded[:, -2]
        blurred = np.zeros((rows, columns))
        for di in range(3):
            for dj in range(3):
                blurred += padded[di : di + rows, dj : dj + columns]
        current = blurred / 9.0
    return current


@program((V, 0.0), (V[:3], 1.5), (V[::-1], -2.0), wrt=(0, 1))
def lagrange_interpolation(y: np.ndarray, at: float) -> float:
    """The interpolating polynomial through equally spaced points."""
    n = len(y)
    total = 0.0
    for i in range(n):
        term = y[i]
        for j in range(n):
            if i == j:
                continue
            term *= (at - j) / (i - j)
        total += term
    if at == 0.0:
        assert abs(total - y[0]) < 1e-12
    return float(total)


def _simpson(f: Callable[[float], float], a: float, b: float, n: int) -> float:
    if n % 2:
        raise ValueError(f"n must be even, not {n}")
    h = (b - a) / n
    total = f(a) + f(b)
    for k in range(1, n):
        total += (4.0 if k % 2 else 2.0) * f(a + k * h)
    return total * h / 3.0


@program((0.0, math.pi, 100), (0.5, 1.0, 4), (0.0, 1.0, 3), wrt=(0, 1), rtol=1e-11)
def simpson(a: float, b: float, n: int) -> float:
    """The integral of sin from 0 to pi is 2."""
    value = _simpson(math.sin, a, b, n)
    squares = _simpson(lambda t: t * t, a, b, n)
    if a == 0.0 and b == math.pi:
        assert abs(value - 2.0) < 1e-6
        assert abs(squares - math.pi**3 / 3) < 1e-9
    return value + 0.5 * squares


@program((48, 36), (17, 5), (0, 9))
def number_theory(a: int, b: int) -> Any:
    """Euclid, binary powers and a sieve: gcd(48, 36) = 12, gcd(17, 5) = 1, gcd(0, 9) = 9; 10 primes below 30."""
    want = {48: 12, 17: 1, 0: 9}[a]
    x, y = a, b
    while y:
        x, y = y, x % y
    assert x == want
    result = 1
    base = 3
    exponent = 13
    while exponent > 0:
        if exponent & 1:
            result = result * base % 1000
        base = base * base % 1000
        exponent >>= 1
    sieve = np.ones(30, dtype=bool)
    sieve[:2] = False
    for k in range(2, 6):
        if sieve[k]:
            sieve[k * k :: k] = False
    assert result == 3**13 % 1000
    return x, result, int(sieve.sum())


@program((np.array([1.0, 0.0]), 0.1, 40), (np.array([0.5, 0.2]), 0.05, 10), (np.array([1.0, 0.0]), 0.2, 0), wrt=(0, 1))
def pendulum(start: np.ndarray, h: float, steps: int) -> Any:
    """Velocity Verlet for a pendulum; the energy drifts little."""
    angle, speed = start[0], start[1]
    energy0 = 0.5 * speed**2 - np.cos(angle)
    worst = 0.0
    force = -np.sin(angle)
    for _ in range(steps):
        half = speed + 0.5 * h * force
        angle = angle + h * half
        force = -np.sin(angle)
        speed = half + 0.5 * h * force
        drift = abs(0.5 * speed**2 - np.cos(angle) - energy0)
        worst = max(worst, float(drift))
    assert worst < 0.01, f"drift of {worst}"
    return angle, speed


@program((X, 3), (X[:2], 1), (X[1:4] * 2.0, 0), wrt=0)
def n_body(x: np.ndarray, steps: int) -> Any:
    """Bodies that attract each other, pair by pair; momentum is kept."""
    position = x.copy()
    velocity = np.zeros_like(x)
    n = x.shape[0]
    h = 0.01
    for _ in range(steps):
        force = np.zeros((n, 3))
        for i in range(n):
            for j in range(i + 1, n):
                d = position[j] - position[i]
                pull = d / (np.dot(d, d) + 0.5) ** 1.5
                force[i] += pull
                force[j] -= pull
        velocity += h * force
        position += h * velocity
    momentum = velocity.sum(axis=0)
    assert np.all(np.abs(momentum) < 1e-12)
    return position, 0.5 * np.sum(velocity**2)


@program((X, 2, 3), (X[:4, :2], 2, 5), (X[:, :1], 3, 0), wrt=0)
def k_means(points: np.ndarray, clusters: int, rounds: int) -> Any:
    """Lloyd's algorithm from the first points; the assignment decides sums."""
    centres = points[:clusters].copy()
    n = points.shape[0]
    label = np.zeros(n, dtype=np.int64)
    for _ in range(rounds):
        for i in range(n):
            distance = ((centres - points[i]) ** 2).sum(axis=1)
            label[i] = np.argmin(distance)
        for c in range(clusters):
            members = (label == c).astype(float)
            count = members.sum()
            if count > 0:
                centres[c] = members @ points / count
    spread = 0.0
    for i in range(n):
        spread += np.sum((points[i] - centres[label[i]]) ** 2)
    return centres, spread


@program((V, 4), (np.array([1.0, 2.0]), 2), (np.array([5.0]), 1), wrt=0, rtol=1e-11)
def fourier(x: np.ndarray, n: int) -> Any:
    """A real discrete Fourier transform by definition; Parseval's theorem holds."""
    real = np.zeros(n)
    imaginary = np.zeros(n)
    for k in range(n):
        for t in range(n):
            angle = -2.0 * math.pi * k * t / n
            real[k] += x[t] * math.cos(angle)
            imaginary[k] += x[t] * math.sin(angle)
    power = (real**2 + imaginary**2) / n
    total = power.sum()
    assert abs(total - (x**2).sum()) < 1e-9
    return real, imaginary, power[n // 2]


@program((Y, "mean"), (Y, "rms"), (Y[:3], "range"), (Y, "mode"), wrt=0)
def summary(x: np.ndarray, what: str) -> Any:
    """A statistic chosen by name."""
    n = len(x)
    if what == "mean":
        value = x.sum() / n
    elif what == "rms":
        value = np.sqrt((x * x).sum() / n)
    elif what in ("range", "spread"):
        value = x.max() - x.min()
    else:
        raise KeyError(what)
    centred = x - value
    scale = np.sqrt(np.mean(centred**2))
    if scale > 0:
        centred = centred / scale
    third = np.mean(centred**3)
    return value + 0.1 * third


@program((np.array([2.0, 1.0]), 1e-10), (np.array([-1.5, 2.0]), 1e-8), (np.array([1.0, 1.0]), 1e-12), wrt=(), rtol=1e-9)
def newton_minimum(start: np.ndarray, tolerance: float) -> Any:
    """Rosenbrock's function by Newton's method: its minimum is at (1, 1)."""
    x = start.copy()
    steps = 0
    while True:
        a, b = x[0], x[1]
        g = np.array([-400.0 * a * (b - a * a) - 2.0 * (1.0 - a), 200.0 * (b - a * a)])
        if np.sqrt(g @ g) < tolerance:
            break
        h = np.array([[1200.0 * a * a - 400.0 * b + 2.0, -400.0 * a], [-400.0 * a, 200.0]])
        det = h[0, 0] * h[1, 1] - h[0, 1] * h[1, 0]
        if abs(det) < 1e-14:
            raise ArithmeticError("a singular Hessian")
        x[0] -= (h[1, 1] * g[0] - h[0, 1] * g[1]) / det
        x[1] -= (h[0, 0] * g[1] - h[1, 0] * g[0]) / det
        steps += 1
        if steps > 50:
            raise RuntimeError(f"no convergence after {steps} steps")
    assert abs(x[0] - 1.0) < 1e-6 and abs(x[1] - 1.0) < 1e-6
    return x


@program((1.0, 2.0), (0.0, 2.0), (3.0, 4.0), wrt=(), rtol=1e-12)
def bisection(low: float, high: float) -> float:
    """The root of x^2 - 2 is the square root of 2; there is none between 3 and 4."""

    def f(x: float) -> float:
        return x * x - 2.0

    if f(low) * f(high) > 0.0:
        raise ValueError("f(low) and f(high) must have different signs")
    count = 0
    while high - low > 1e-12:
        middle = (low + high) / 2.0
        if f(low) * f(middle) <= 0.0:
            high = middle
        else:
            low = middle
        count += 1
        assert count < 200
    assert abs(low - 1.4142135623730951) < 1e-11
    return low


@program((Y, X), (Y[:5], X[:5]), (Y[::-1], X[:, ::-1]), wrt=(0, 1), rtol=1e-9)
def least_squares(y: np.ndarray, x: np.ndarray) -> Any:
    """Ordinary least squares with standard errors and R squared."""
    n, k = x.shape
    design = np.column_stack([np.ones(n), x])
    gram = design.T @ design
    beta = gaussian_elimination(gram, design.T @ y)
    fitted = design @ beta
    residual = y - fitted
    degrees = n - k - 1
    if degrees > 0:
        sigma2 = residual @ residual / degrees
    else:
        sigma2 = residual @ residual
    inverse = np.stack([gaussian_elimination(gram, column) for column in np.eye(k + 1)])
    errors = np.sqrt(sigma2 * np.diag(inverse))
    total = np.sum((y - y.mean()) ** 2)
    r2 = 1.0 - np.sum(residual**2) / total
    return beta, errors, r2


@program((V, 0.7), (V[:1], 0.7), (np.array([1.1, -2.0, 0.5]), 0.3), wrt=(0, 1))
def quantile_loss(x: np.ndarray, tau: float) -> Any:
    """Pinball loss, with weights by position and a running mean."""
    centre = 1.0
    weights = np.linspace(1.0, 0.5, len(x))
    losses = []
    for v, w in zip(x, weights, strict=True):
        d = v - centre
        if d >= 0:
            losses.append(w * tau * d)
        else:
            losses.append(w * (tau - 1.0) * d)
    total = np.array(losses).sum()
    cumulative = np.cumsum(np.clip(x, 0.0, 2.0)) / np.arange(1, len(x) + 1)
    return total / weights.sum(), cumulative


@program((IMAGE.astype(np.float32), 0.5), (IMAGE, 0.25), (IMAGE[:2].astype(np.float32), 2.0), wrt=0, rtol=1e-6)
def mixed_precision(a: np.ndarray, s: float) -> Any:
    """Single and double precision side by side."""
    single = a * s + 1.0
    double = a.astype(np.float64) * s
    rows = single.sum(axis=1)
    columns = double.mean(axis=0)
    peak = single.max()
    if peak > 2.0:
        rows = rows / peak
    mixed = rows[0] + columns[0]
    counts = (a > 0.5).sum(axis=1)
    weighted = rows * counts
    return single, rows, columns, mixed, counts, weighted


@program((np.array([[0, 1], [1, 2], [2, 0]]), V[:3]), (np.array([[0, 1]]), V), (np.zeros((0, 2), dtype=int), V), wrt=1)
def graph_laplacian(edges: np.ndarray, f: np.ndarray) -> Any:
    """Degrees, the Laplacian of a list of edges, and the energy of a function on the nodes."""
    n = len(f)
    adjacency = np.zeros((n, n))
    for u, v in edges:
        adjacency[u, v] = 1.0
        adjacency[v, u] = 1.0
    degree = adjacency.sum(axis=1)
    laplacian = np.diag(degree) - adjacency
    energy = f @ laplacian @ f
    direct = 0.0
    for u, v in edges:
        direct += (f[u] - f[v]) ** 2
    assert abs(energy - direct) < 1e-9
    return laplacian, energy


@program((V, V[::-1].copy()), (V[:2], V[2:]), (np.array([1.0]), np.array([2.0])), wrt=(0, 1))
def polynomial_product(a: np.ndarray, b: np.ndarray) -> Any:
    """Coefficients of a product, of its derivative, and its value at one half by Horner's rule."""
    n = len(a) + len(b) - 1
    c = np.zeros(n)
    for i in range(len(a)):
        for j in range(len(b)):
            c[i + j] += a[i] * b[j]
    d = np.zeros(max(n - 1, 1))
    for k in range(1, n):
        d[k - 1] = k * c[k]
    value = 0.0
    for k in range(n - 1, -1, -1):
        value = value * 0.5 + c[k]
    assert abs(value - np.polyval(a[::-1], 0.5) * np.polyval(b[::-1], 0.5)) < 1e-10
    return c, d, value
