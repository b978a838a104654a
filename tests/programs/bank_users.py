"""Programs in which users of several fields met something: filters, control, queues, curves, fluids, trees, fits."""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tests.programs.harness import program

OPPOSITE = [0, 2, 1, 4, 3]
SHIFTS = np.array([(0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)])
R = np.random.default_rng(12)
MISSING = -99.0


class State(NamedTuple):
    """Mean and covariance."""

    mean: np.ndarray
    cov: np.ndarray


@program(
    (np.array([0.3, -0.4, 1.2]), 0.1, 0.5),
    (np.array([1.0]), 1.0, 0.5),
    (np.array([1.0, MISSING, 2.0, 0.25]), 0.3, 0.2),
    wrt=(0, 1, 2),
    rtol=1e-9,
)
def smoother(z: np.ndarray, q: float, r: float) -> Any:
    f = np.array([[1.0, 1.0], [0.0, 1.0]])
    h = np.array([[1.0, 0.0]])
    s = State(np.zeros(2), np.eye(2) * 10)
    filtered, predicted = [], []
    for zk in z:
        p = State(f @ s.mean, f @ s.cov @ f.T + q * np.eye(2))
        predicted.append(p)
        if zk > 0.5 * MISSING:
            gain = p.cov @ h.T / ((h @ p.cov @ h.T).item() + r)
            s = State(p.mean + gain @ (zk - h @ p.mean), (np.eye(2) - gain @ h) @ p.cov)
        else:
            s = p
        filtered.append(s)
    last = filtered[-1]
    for s, p in zip(filtered[-2::-1], predicted[:0:-1], strict=True):
        c = s.cov @ f.T @ np.linalg.inv(p.cov)
        last = State(s.mean + c @ (last.mean - p.mean), s.cov + c @ (last.cov - p.cov) @ c.T)
    return last.mean, np.trace(last.cov)


@program(
    (np.array([1.0, 0.0]), 0.1, np.diag([1.0, 0.1]), np.array([[0.1]]), 4),
    (np.array([1.0, -2.0]), 0.3, np.diag([1.0, 1.0]), np.array([[1.0]]), 2),
    wrt=(0, 1, 2, 3),
    rtol=1e-9,
)
def regulator(x: np.ndarray, dt: float, q: np.ndarray, r: np.ndarray, horizon: int) -> Any:
    a = np.eye(2) + dt * np.array([[0, 1], [0, 0]])
    b = np.array([[0], [dt]])
    p = q
    gains = []
    for _ in range(horizon):
        k = np.linalg.solve(r + b.T @ p @ b, b.T @ p @ a)
        p = q + a.T @ p @ (a - b @ k)
        gains.append(k)
    cost = 0.0
    for k in reversed(gains):
        u = -k @ x
        cost += x @ q @ x + u @ r @ u
        x = a @ x + b @ u
    return cost + x @ p @ x


@program(
    (np.array([0.1, 0.5, 0.3, 0.2]), np.array([0.55, 0.2, 0.8, 0.1])),
    (np.array([1.0, 1.5]), np.array([0.5, 0.2])),
    wrt=(0, 1),
)
def waiting_times(between: np.ndarray, service: np.ndarray) -> Any:
    events: list[Any] = []
    t = 0.0
    for k, a in enumerate(between):
        t += a
        heapq.heappush(events, (t, k, "arrive"))
    queue: deque[Any] = deque()
    busy, waits = 0, []
    while events:
        now, k, kind = heapq.heappop(events)
        if kind == "arrive":
            if busy < 1:
                busy += 1
                waits.append(0.0)
                heapq.heappush(events, (now + service[k], k, "leave"))
            else:
                queue.append((now, k))
        elif queue:
            since, j = queue.popleft()
            waits.append(now - since)
            heapq.heappush(events, (now + service[j], j, "leave"))
        else:
            busy -= 1
    return np.mean(waits), max(waits), waits.index(max(waits))


@program(
    (np.array([0.3, -1.0, 2.0, 0.7, 0.1]), np.array([[0, 1, 2, 3, 4], [4, 4, 0, 1, 2], [2, 3, 3, 1, 0]]), 0.1),
    (np.array([1.0, 2.0, -0.5]), np.array([[0, 1, 2], [1, 1, 0], [2, 0, 0], [2, 2, 1]]), 0.3),
    wrt=(0, 2),
)
def value_at_risk(x: np.ndarray, drawn: np.ndarray, alpha: float) -> Any:
    means = np.array([np.mean(x[k]) + 0.1 * np.median(x[k]) for k in drawn])
    low, high = np.quantile(means, [alpha / 2, 1 - alpha / 2])
    limit = np.percentile(means, 100 * alpha)
    return low, high, means[means <= limit].mean()


@program((1 + 0.1 * R.random((3, 4)), 0.7, 2), (1 + 0.1 * R.random((3, 3)), 1.2, 3), wrt=(0, 1))
def lattice(rho: np.ndarray, tau: float, steps: int) -> Any:
    f = np.stack([rho / 5] * 5)
    solid = np.zeros(rho.shape, dtype=bool)
    solid[1, 1] = True
    for _ in range(steps):
        rho = f.sum(axis=0)
        f = f - (f - rho / 5) / tau
        bounced = f[:, solid].copy()
        for q, (cx, cy) in enumerate(SHIFTS):
            f[q] = np.roll(f[q], [cx, cy], axis=[0, 1])
        f[:, solid] = bounced[OPPOSITE]
    return f.sum(axis=0), f[1] - f[OPPOSITE[1]]


@program(
    (np.array([1.0, np.nan, 2.0, 4.0, np.nan, 3.0]), 0.3),
    (np.array([1.0, 3.0, 2.0]), 0.9),
    (np.array([np.nan, 3.0, 2.5, np.nan, 2.0]), 0.5),
    wrt=1,
)
def gaps_filled(x: np.ndarray, alpha: float) -> Any:
    ok = ~np.isnan(x)
    t = np.arange(x.size)
    filled = np.where(ok, x, np.interp(t, t[ok], x[ok]))
    level = filled[0]
    out = []
    for v in filled[1:]:
        level = alpha * v + (1 - alpha) * level
        out.append(level)
    error = np.diff(np.array(out), prepend=filled[0])
    return np.nanmean(x), np.sqrt(np.mean(error**2)), np.cumsum(out)[-1]


@program(
    (np.array([1.0, 3.0, 2.0, 2.5, 5.0, 4.0]), np.array([1.0, 2.0, 1.0, 0.5, 1.0, 1.5])),
    (np.array([5.0, 4.0, 3.0]), np.array([1.0, 2.0, 3.0])),
    (np.array([1.0, 2.0, 3.5, 3.0]), np.array([1.0, 2.0, 3.0, 1.0])),
    wrt=(0, 1),
)
def isotonic(y: np.ndarray, w: np.ndarray) -> Any:
    blocks: list[Any] = []
    for value, weight in zip(y, w, strict=True):
        blocks.append((value, weight, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            v2, w2, n2 = blocks.pop()
            v1, w1, n1 = blocks.pop()
            blocks.append(((v1 * w1 + v2 * w2) / (w1 + w2), w1 + w2, n1 + n2))
    fitted = np.repeat(np.array([b[0] for b in blocks]), [b[2] for b in blocks])
    return fitted, (w * (y - fitted) ** 2).sum(), len(blocks)


@dataclass
class Node:
    """A tree of species: the time to the one above, those below, the letter of what has none."""

    length: float
    left: Node | None = None
    right: Node | None = None
    letter: int = -1


def _tree(t: list[float]) -> Node:
    rest = Node(t[5], Node(t[6], letter=1), Node(t[7], letter=3))
    return Node(0.0, Node(t[0], Node(t[1], letter=0), Node(t[2], letter=2)), Node(t[3], Node(t[4], letter=0), rest))


@program(
    (_tree([0.1, 0.2, 0.3, 0.1, 0.5, 0.2, 0.1, 0.4]), np.array([0.25, 0.25, 0.3, 0.2])),
    (Node(0.0, Node(0.4, letter=1), Node(0.3, letter=1)), np.array([0.1, 0.2, 0.3, 0.4])),
    wrt=(0, 1),
    rtol=1e-10,
)
def likelihood_of_a_tree(root: Node, frequencies: np.ndarray) -> Any:
    rate = 1 / (1 - np.sum(frequencies**2))

    def transition(t: float) -> np.ndarray:
        stays = np.exp(-rate * t)
        return stays * np.eye(4) + (1 - stays) * frequencies

    def below(node: Node) -> np.ndarray:
        if node.left is None or node.right is None:
            v = np.zeros(4)
            v[node.letter] = 1.0
            return v
        sides = [transition(side.length) @ below(side) for side in (node.left, node.right)]
        return sides[0] * sides[1]

    return np.log(frequencies @ below(root))


class Controller:
    """Proportional, integral and differential, with a bound for the output and none for what cannot act."""

    limits = (-1.0, 1.0)

    def __init__(self, kp: float, ki: float, kd: float) -> None:
        self.gains = {"kp": kp, "ki": ki, "kd": kd}
        self._sum = 0.0
        self._last: Any = None

    @property
    def integral(self) -> float:
        return self._sum

    @integral.setter
    def integral(self, value: float) -> None:
        self._sum = min(max(value, -5.0), 5.0)

    @staticmethod
    def clamp(value: float, low: float, high: float) -> float:
        return low if value < low else high if value > high else value

    def __call__(self, error: float, dt: float) -> float:
        slope = 0.0 if self._last is None else (error - self._last) / dt
        self._last = error
        raw = self.gains["kp"] * error + self.gains["ki"] * self.integral + self.gains["kd"] * slope
        out = self.clamp(raw, *self.limits)
        if out == raw or error * raw < 0:
            self.integral += error * dt
        return out


@program(
    ([1.2, 0.4, 0.05], 1.0, 0.1, 12),
    ([3.2, 0.1, 0.0], 2.0, 0.2, 7),
    ([0.2, 0.9, 0.15], 0.5, 0.05, 20),
    wrt=(0, 1),
)
def controlled(gains: list[float], target: float, dt: float, steps: int) -> Any:
    act = Controller(*gains)
    x, v, cost, beyond = 0.0, 0.0, 0.0, 0
    for _ in range(steps):
        u = act(target - x, dt)
        v += dt * (2 * u - 0.5 * v * abs(v))
        x += dt * v
        cost += (target - x) ** 2 * dt + 0.01 * u * u
        beyond += x > target
    return cost, act.integral, beyond


@program(
    (np.array([3.0, 5.0]), np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 2.0]]), np.array([4.0, 12.0, 18.0])),
    (np.array([2.0, 1.0, 0.5]), np.array([[1.0, 1.0, 1.0], [2.0, 0.1, 0.5]]), np.array([4.0, 5.0])),
    (np.array([-1.0, -0.5]), np.array([[1.0, 1.0]]), np.array([4.0])),
    wrt=(0, 1, 2),
    rtol=1e-9,
)
def simplex_tableau(c: np.ndarray, a: np.ndarray, b: np.ndarray) -> Any:
    m, n = a.shape
    t = np.zeros((m + 1, n + m + 1))
    t[:m, :n], t[:m, n : n + m], t[:m, -1] = a, np.eye(m), b
    t[-1, :n] = -c
    basis = list(range(n, n + m))
    for _ in range(50):
        j = int(np.argmin(t[-1, :-1]))
        if t[-1, j] >= -1e-12:
            break
        ratios = [t[i, -1] / t[i, j] if t[i, j] > 1e-12 else np.inf for i in range(m)]
        i = min(range(m), key=lambda k: ratios[k])
        if ratios[i] == np.inf:
            raise ValueError("unbounded")
        t[i] /= t[i, j]
        for k in range(m + 1):
            if k != i:
                t[k] -= t[k, j] * t[i]
        basis[i] = j
    x = np.zeros(n + m)
    x[basis] = t[:m, -1]
    return t[-1, -1], x[:n]
