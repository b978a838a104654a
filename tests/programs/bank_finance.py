"""Programs of quants, engineers and machine learners: prices, risk, networks, signals, tables of results."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.programs.harness import program

rng = np.random.default_rng(23)
PRICES = np.exp(np.cumsum(0.1 * rng.standard_normal(8)))
RETURNS = 0.1 * rng.standard_normal((6, 3))
WEIGHTS = np.array([0.5, 0.3, 0.2])
NOISE = rng.standard_normal((3, 4))


@program(
    (100.0, 95.0, 0.2, 4, "put"),
    (100.0, 105.5, 0.3, 3, "call"),
    (80.0, 95.0, 0.2, 1, "put"),
    (1.0, 1.0, 0.2, 2, "swap"),
    wrt=(0, 1, 2),
)  # fmt: skip
def option_tree(s: float, strike: float, sigma: float, steps: int, kind: str) -> Any:
    """An American option on a binomial tree, early exercise included."""
    if kind not in ("put", "call"):
        raise ValueError(f"unknown kind of option: {kind!r}")
    sign = 1.0 if kind == "call" else -1.0
    dt = 0.5 / steps
    up = math.exp(sigma * math.sqrt(dt))
    down = 1.0 / up
    growth = math.exp(0.03 * dt)
    p = (growth - down) / (up - down)
    values = np.zeros(steps + 1)
    for i in range(steps + 1):
        values[i] = max(sign * (s * up**i * down ** (steps - i) - strike), 0.0)
    for level in range(steps - 1, -1, -1):
        for i in range(level + 1):
            held = (p * values[i + 1] + (1.0 - p) * values[i]) / growth
            now = sign * (s * up**i * down ** (level - i) - strike)
            if now > held:
                values[i] = now
            else:
                values[i] = held
    return values[0]


@program((NOISE, 1.0, 0.2, 1.1), (NOISE[:, :2], 1.5, 0.1, 1.0), (-NOISE, 0.5, 0.4, 0.9), wrt=(1, 2))
def monte_carlo(noise: np.ndarray, s0: float, sigma: float, barrier: float) -> Any:
    """A path-dependent payoff over given normal numbers; knocked-out paths pay nothing."""
    paths, steps = noise.shape
    dt = 1.0 / steps
    payoff = np.zeros(paths)
    knocked = 0
    for i in range(paths):
        s = s0
        total = 0.0
        for k in range(steps):
            s *= math.exp((0.02 - 0.5 * sigma**2) * dt + sigma * math.sqrt(dt) * noise[i, k])
            if s > 3.0 * barrier:
                knocked += 1
                break
            total += s
        else:
            payoff[i] = max(total / steps - 0.5 * barrier, 0.0)
    mean = payoff.mean()
    error = payoff.std() / math.sqrt(paths)
    return mean, error, knocked


@program(
    (RETURNS, WEIGHTS, 2.0), (RETURNS[:4], WEIGHTS[::-1].copy(), 0.5), (RETURNS[:, :2], WEIGHTS[:2], 1.0), wrt=(0, 2)
)
def portfolio(returns: np.ndarray, weights: np.ndarray, aversion: float) -> dict[str, Any]:
    """Mean, risk, utility and contributions of a portfolio, as a dictionary."""
    total = weights.sum()
    if abs(total - 1.0) > 1e-9:
        weights = weights / total
    mean = returns.mean(axis=0)
    centred = returns - mean
    covariance = centred.T @ centred / (len(returns) - 1)
    variance = weights @ covariance @ weights
    risk = np.sqrt(variance)
    marginal = covariance @ weights / risk
    contributions = weights * marginal
    assert abs(contributions.sum() - risk) < 1e-12
    utility = weights @ mean - 0.5 * aversion * variance
    result = {"risk": risk, "utility": utility}
    result["contributions"] = contributions
    result.update(worst=np.min(returns @ weights), count=len(weights))
    return result


@program((PRICES, 3, 0.5), (PRICES[:5], 2, 0.3), (PRICES[::-1], 4, 0.9), wrt=(0, 2))
def moving_averages(prices: np.ndarray, window: int, alpha: float) -> Any:
    """Simple and exponential moving averages, crossings, and the largest fall."""
    n = len(prices)
    simple = np.zeros(n)
    smooth = np.empty_like(prices)
    smooth[0] = prices[0]
    peak = prices[0]
    fall = 0.0
    crossings = 0
    for t in range(1, n):
        smooth[t] = alpha * prices[t] + (1.0 - alpha) * smooth[t - 1]
        if t >= window:
            simple[t] = prices[t - window : t].sum() / window
            if (smooth[t] - simple[t]) * (smooth[t - 1] - simple[t - 1]) < 0:
                crossings += 1
        peak = max(peak, prices[t])
        drop = 1.0 - prices[t] / peak
        if drop > fall:
            fall = drop
    return simple, smooth, fall * 1.0, crossings


@dataclass
class Bond:
    """A bond that pays a coupon each period."""

    coupon: float
    periods: int
    face: float = 100.0

    def price(self, rate: float) -> float:
        total = 0.0
        for k in range(1, self.periods + 1):
            total += self.coupon * self.face / (1.0 + rate) ** k
        return total + self.face / (1.0 + rate) ** self.periods

    def duration(self, rate: float) -> float:
        h = 1e-4
        return -(self.price(rate + h) - self.price(rate - h)) / (2.0 * h * self.price(rate))


@program((0.05, 0.05, 4), (0.03, 0.06, 10), (0.08, 0.01, 1), wrt=(0, 1), rtol=1e-10)
def bond_yield(coupon: float, rate: float, periods: int) -> Any:
    """The price of a par bond is its face; the yield of a price is found again by the secant method."""
    bond = Bond(coupon, periods)
    price = bond.price(rate)
    if coupon == rate:
        assert abs(price - 100.0) < 1e-9
    low, high = 0.0, 0.5
    for _ in range(60):
        middle = 0.5 * (low + high)
        if bond.price(middle) > price:
            low = middle
        else:
            high = middle
    assert abs(low - rate) < 1e-8
    convexity = (bond.price(rate + 0.01) + bond.price(rate - 0.01) - 2.0 * price) / price
    return price, bond.duration(rate), convexity


@program(
    (RETURNS[:, 0], 1e-3, 0.1, 0.8),
    (RETURNS[:3, 1], 1e-2, 0.3, 0.5),
    (RETURNS[:1, 0], 1e-3, 0.05, 0.9),
    wrt=(0, 1, 2, 3),
)
def garch(returns: np.ndarray, omega: float, alpha: float, beta: float) -> Any:
    """The likelihood of a GARCH(1, 1) model; its parameters must be stationary."""
    if alpha + beta >= 1.0:
        raise ValueError(f"not stationary: {alpha} + {beta}")
    n = len(returns)
    variance = np.float64(omega / (1.0 - alpha - beta))
    likelihood = 0.0
    path = []
    for r in returns:
        likelihood += -0.5 * (math.log(2.0 * math.pi) + np.log(variance) + r * r / variance)
        path.append(variance)
        variance = omega + alpha * r * r + beta * variance
    trace = np.array(path)
    if n > 2:
        likelihood = likelihood / n
    return likelihood * 1.0, trace.sum(), np.sqrt(variance)


def _window(kind: str, n: int) -> np.ndarray:
    k = np.arange(n)
    if kind == "hann":
        return 0.5 - 0.5 * np.cos(2.0 * np.pi * k / (n - 1))
    if kind == "triangle":
        return 1.0 - np.abs(2.0 * k / (n - 1) - 1.0)
    return np.ones(n)


@program((PRICES, "hann", 3), (PRICES[:5], "triangle", 2), (PRICES, "none", 1), wrt=0)
def autocorrelation(x: np.ndarray, window: str, lags: int) -> Any:
    """Windowed autocorrelations; the first one is 1."""
    n = len(x)
    centred = x - x.mean()
    weighted = centred * _window(window, n)
    power = weighted @ weighted
    found = np.ones(lags + 1)
    for lag in range(1, lags + 1):
        head = weighted[: n - lag]
        tail = weighted[lag:]
        found[lag] = head @ tail / power
    assert found[0] == 1.0 and np.all(np.abs(found) <= 1.0 + 1e-12)
    durbin = np.sum(np.diff(centred) ** 2) / np.sum(centred**2)
    if lags > 2:
        found = found[::-1]
    return found * 2.0, durbin


@program((NOISE, NOISE[:, 0], 0.1, 3), (NOISE[:2], NOISE[:2, 1], 0.01, 5), (NOISE, NOISE[:, 1], 0.5, 0), wrt=(0, 1, 2))
def lasso(x: np.ndarray, y: np.ndarray, strength: float, sweeps: int) -> Any:
    """Coordinate descent with soft thresholds."""
    n, d = x.shape
    w = np.zeros(d)
    residual = y.copy()
    scale = (x**2).sum(axis=0) / n
    for _ in range(sweeps):
        for j in range(d):
            column = x[:, j]
            rho = column @ residual / n + scale[j] * w[j]
            if rho > strength:
                new = (rho - strength) / scale[j]
            elif rho < -strength:
                new = (rho + strength) / scale[j]
            else:
                new = 0.0
            residual -= (new - w[j]) * column
            w[j] = new
    loss = 0.5 * np.mean(residual**2) + strength * np.abs(w).sum()
    return loss, w, int((np.abs(w) > 0).sum())


@program(
    (NOISE, np.array([1, 0, 3]), 2.0), (NOISE[:2], np.array([2, 2]), 0.5), (NOISE[:1], np.array([0]), 1.0), wrt=(0, 2)
)
def label_smoothing(logits: np.ndarray, labels: np.ndarray, temperature: float) -> Any:
    """Cross entropy with smoothed labels, the accuracy, and a confusion matrix."""
    n, classes = logits.shape
    z = logits / temperature
    z = z - z.max(axis=-1, keepdims=True)
    logp = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
    target = np.full((n, classes), 0.1 / classes)
    target[np.arange(n), labels] += 0.9
    loss = -np.einsum("ij,ij->", target, logp) / n
    guess = np.argmax(logits, axis=1)
    accuracy = np.mean(guess == labels)
    confusion = np.zeros((classes, classes), dtype=np.int64)
    for i in range(n):
        confusion[labels[i], guess[i]] += 1
    assert confusion.sum() == n
    if accuracy > 0.99:
        loss = loss * 0.5
    return loss, accuracy, confusion


@program((NOISE, 2), (NOISE[:2, :3], 1), (NOISE[:, :2], 3), wrt=0)
def matrix_exponential(a: np.ndarray, power: int) -> Any:
    """Scaling and squaring of a Taylor series; the exponential of a rotation's generator is a rotation."""
    n = min(a.shape)
    m = a[:n, :n] * 0.1
    skew = m - m.T
    results = []
    for b in (m, skew):
        scaled = b / 2.0**power
        term = np.eye(n)
        total = np.eye(n)
        for k in range(1, 12):
            term = term @ scaled / k
            total = total + term
        for _ in range(power):
            total = total @ total
        results.append(total)
    first, rotation = results
    assert np.allclose(rotation @ rotation.T, np.eye(n))
    return first, np.trace(rotation), np.tensordot(first, rotation, axes=2), np.outer(first[0], rotation[-1])
