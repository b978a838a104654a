"""Programs in which users of several fields met something: filters, control, queues, curves, fluids."""

from __future__ import annotations

import heapq
from collections import deque
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
