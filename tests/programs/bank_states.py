"""Textbook algorithms with a value that is known: dynamic programming, graphs, filters, chains of states."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tests.programs.harness import program
from tests.programs.known import known

INF = math.inf
ROADS = np.array([[0.0, INF, -2.0, INF], [4.0, 0.0, 3.0, INF], [INF, INF, 0.0, 2.0], [INF, -1.0, INF, 0.0]])
SHORT = np.array([[0.0, -1.0, -2.0, 0.0], [4.0, 0.0, 2.0, 4.0], [5.0, 1.0, 0.0, 2.0], [3.0, -1.0, 1.0, 0.0]])
DENSE = np.array([[0.0, 2.5, 9.0], [1.25, 0.0, 4.0], [0.5, 7.0, 0.0]])
Y = np.array([0.4, -1.3, 2.2, 0.9, -0.2])

# --- graphs and dynamic programming


@known((ROADS,), SHORT)
@program((DENSE,), (ROADS,), (DENSE[:2, :2].copy(),), (np.zeros((1, 1)),))
def floyd_warshall(weights: np.ndarray) -> np.ndarray:
    """All shortest paths."""
    d = weights.copy()
    n = len(d)
    for k in range(n):
        for i in range(n):
            for j in range(n):
                through = d[i, k] + d[k, j]
                if through < d[i, j]:
                    d[i, j] = through
    return d


@known((ROADS,), SHORT)
@program((DENSE + 0.3 * np.eye(3),), (DENSE * 3.0 + 1.0,), (DENSE[:2, :2] + 0.1,), wrt=0)
def floyd_warshall_by_rows(weights: np.ndarray) -> np.ndarray:
    """All shortest paths, a row at a time."""
    d = weights.copy()
    n = d.shape[0]
    for k in range(n):
        for i in range(n):
            d[i, :] = np.minimum(d[i, :], d[i, k] + d[k, :])
    return d


@known((np.array([[0.0, 4.0, 1.0], [4.0, 0.0, 2.0], [1.0, 2.0, 0.0]]), 0), np.array([0.0, 3.0, 1.0]))
@program((DENSE, 0), (DENSE, 2), (DENSE[:2, :2].copy(), 1), (DENSE, 5), wrt=0)
def dijkstra(weights: np.ndarray, source: int) -> np.ndarray:
    """Shortest paths from one node, without a heap."""
    n = weights.shape[0]
    distance = np.full(n, np.inf)
    done = np.zeros(n, dtype=bool)
    distance[source] = 0.0
    for _ in range(n):
        # the nearest node that is not done
        nearest = -1
        best = np.inf
        for k in range(n):
            if not done[k] and distance[k] < best:
                nearest, best = k, distance[k]
        if nearest < 0:
            break
        done[nearest] = True
        for k in range(n):
            if done[k]:
                continue
            candidate = distance[nearest] + weights[nearest, k]
            if candidate < distance[k]:
                distance[k] = candidate
    return distance


@known((np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0, 3.0, 4.0])), 2.0)
@program((Y, 0.7 * Y[:3]), (Y[:2], Y), (Y[:1], Y[1:2]), wrt=(0, 1))
def dynamic_time_warping(x: np.ndarray, y: np.ndarray) -> float:
    """The distance of two series when time may be stretched."""
    n, m = len(x), len(y)
    cost = np.full((n + 1, m + 1), np.inf)
    cost[0, 0] = 0.0
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            d = abs(x[i - 1] - y[j - 1])
            before = cost[i - 1, j - 1]
            if cost[i - 1, j] < before:
                before = cost[i - 1, j]
            if cost[i, j - 1] < before:
                before = cost[i, j - 1]
            cost[i, j] = d + before
    return float(cost[n, m])


@known((np.array([10, 8, 19, 19, 4, 13]), np.array([18, 8, 19, 19, 8, 13, 6])), 3)  # kitten and sitting
@program((np.array([3, 1, 4, 1]), np.array([1, 4])), (np.arange(5), np.arange(3)), (np.array([7]), np.array([2])))
def edit_distance(a: np.ndarray, b: np.ndarray) -> int:
    """Levenshtein's distance, in two rows that change places."""
    previous = np.arange(len(b) + 1)
    current = np.zeros(len(b) + 1, dtype=np.int64)
    for i in range(len(a)):
        current[0] = i + 1
        for j in range(len(b)):
            cost = previous[j] if a[i] == b[j] else previous[j] + 1
            if previous[j + 1] + 1 < cost:
                cost = previous[j + 1] + 1
            if current[j] + 1 < cost:
                cost = current[j] + 1
            current[j + 1] = cost
        previous, current = current, previous
    return int(previous[len(b)])


@known((np.array([30, 35, 15, 5, 10, 20, 25]),), 15125)
@program((np.array([4, 10, 3, 12, 20, 7]),), (np.array([5, 6, 7]),), (np.array([2, 3]),))
def matrix_chain(sizes: np.ndarray) -> int:
    """The fewest multiplications for a chain of matrix products."""
    n = len(sizes) - 1
    best = np.zeros((n, n), dtype=np.int64)
    for length in range(2, n + 1):
        for i in range(n - length + 1):
            j = i + length - 1
            least = -1
            for k in range(i, j):
                cost = int(best[i, k] + best[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1])
                if least < 0 or cost < least:
                    least = cost
            best[i, j] = least
    return int(best[0, n - 1])


@known((np.array([60.0, 100.0, 120.0]), np.array([10, 20, 30]), 50), 220.0)
@program(
    (np.array([60.0, 100.0, 120.0]), np.array([1, 2, 3]), 5),
    (np.array([4.0, 2.5]), np.array([3, 3]), 4),
    (np.array([4.0, 2.5]), np.array([3, 3]), 2),
    wrt=0,
)
def knapsack(values: np.ndarray, weights: np.ndarray, capacity: int) -> float:
    """The most that fits into a knapsack."""
    best = np.zeros(64)
    for k in range(len(values)):
        # downwards, so that a thing is taken once
        for room in range(capacity, weights[k] - 1, -1):
            taken = best[room - weights[k]] + values[k]
            if taken > best[room]:
                best[room] = taken
    return float(best[capacity])


# --- chains of hidden states

START = np.array([0.6, 0.4])
MOVE = np.array([[0.7, 0.3], [0.4, 0.6]])
EMIT = np.array([[0.5, 0.4, 0.1], [0.1, 0.3, 0.6]])


@known((START, MOVE, EMIT, np.array([0, 1, 2])), (0.01512, np.array([0, 0, 1])))
@program(
    (START, MOVE, EMIT, np.array([0, 1, 2, 2, 0])),
    (START, MOVE[::-1].copy(), EMIT, np.array([2, 2])),
    (START, MOVE, EMIT, np.array([1])),
    (START, MOVE, EMIT, np.array([1, 3])),
    wrt=(0, 1, 2),
)
def viterbi(start: np.ndarray, move: np.ndarray, emit: np.ndarray, seen: np.ndarray) -> Any:
    """The most probable path of a hidden Markov model."""
    length, states = len(seen), len(start)
    score = np.zeros((length, states))
    back = np.zeros((length, states), dtype=np.int64)
    score[0] = start * emit[:, seen[0]]
    for t in range(1, length):
        for j in range(states):
            best, origin = -1.0, 0
            for i in range(states):
                p = score[t - 1, i] * move[i, j]
                if p > best:
                    best, origin = p, i
            score[t, j] = best * emit[j, seen[t]]
            back[t, j] = origin
    path = np.zeros(length, dtype=np.int64)
    path[-1] = np.argmax(score[-1])
    for t in range(length - 2, -1, -1):
        path[t] = back[t + 1, path[t + 1]]
    return score[-1].max(), path


RAIN = np.array([[0.7, 0.3], [0.3, 0.7]])
UMBRELLA = np.array([[0.9, 0.1], [0.2, 0.8]])
EVEN = np.array([0.5, 0.5])


@known((EVEN, RAIN, UMBRELLA, np.array([0, 0])), np.array([[0.8834, 0.1166], [0.8834, 0.1166]]), 1e-4)
@program(
    (EVEN, RAIN, UMBRELLA, np.array([0, 0, 1, 0])),
    (START, MOVE, EMIT, np.array([2, 0, 1])),
    (START, MOVE, EMIT, np.array([1])),
    wrt=(0, 1, 2),
)
def forward_backward(prior: np.ndarray, move: np.ndarray, emit: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Smoothed probabilities of the states of a hidden Markov model."""
    n, states = len(seen), len(prior)
    forward = np.zeros((n, states))
    belief = prior
    for t in range(n):
        belief = (belief @ move) * emit[:, seen[t]]
        belief = belief / belief.sum()
        forward[t] = belief
    backward = np.ones(states)
    smoothed = np.empty_like(forward)
    for t in reversed(range(n)):
        both = forward[t] * backward
        smoothed[t] = both / both.sum()
        backward = move @ (emit[:, seen[t]] * backward)
        backward /= backward.sum()
    return smoothed


# --- filters and estimators

GOLDEN = (math.sqrt(5.0) - 1.0) / 2.0


@known((np.zeros(60), 1.0, 1.0, 0.0), (0.0, GOLDEN))
@program((Y, 0.5, 1.0, 0.3), (Y[:2], 0.1, 2.0, -1.0), (Y[:0], 1.0, 1.0, 0.5), wrt=(0, 1, 2, 3))
def scalar_kalman(z: np.ndarray, q: float, r: float, start: float) -> Any:
    """A random walk observed with noise: the estimate and its gain, golden in the steady state."""
    x = start
    p = 1.0
    gain = 0.0
    for observed in z:
        p += q
        gain = p / (p + r)
        x += gain * (observed - x)
        p *= 1.0 - gain
    return float(x), float(gain)


@known((np.array([1.0, 0.0, 0.0, 0.0]), np.array([0.5, 0.25]), np.array([-0.5])), np.array([0.5, 0.5, 0.25, 0.125]))
@program((Y, Y[:2], Y[2:3]), (Y, Y[:1], np.array([0.3, -0.2])), (Y[:2], Y[:3], np.zeros(0)), wrt=(0, 1, 2))
def recursive_filter(x: np.ndarray, b: np.ndarray, a: np.ndarray) -> np.ndarray:
    """y[n] = sum b[k] x[n - k] - sum a[k] y[n - 1 - k]."""
    y = np.zeros_like(x)
    for n in range(len(x)):
        for k in range(len(b)):
            if n - k < 0:
                break
            y[n] += b[k] * x[n - k]
        for k in range(len(a)):
            if n - 1 - k >= 0:
                y[n] -= a[k] * y[n - 1 - k]
    return y


@known((np.cos(2.0 * math.pi * 3.0 * np.arange(16.0) / 16.0), 3), 64.0)
@program((Y, 1), (np.arange(8.0) ** 2, 3), (Y[:1], 0), wrt=0)
def goertzel(x: np.ndarray, k: int) -> float:
    """The power of one frequency."""
    w = 2.0 * math.pi * k / len(x)
    factor = 2.0 * math.cos(w)
    s1 = 0.0
    s2 = 0.0
    for v in x:
        s0 = v + factor * s1 - s2
        s2 = s1
        s1 = s0
    return float(s1 * s1 + s2 * s2 - factor * s1 * s2)


@known((np.array([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]),), (5.0, 4.0))
@program((Y,), (Y[:3],), (Y[:1],), wrt=0)
def welford(x: np.ndarray) -> Any:
    """Mean and variance in one pass."""
    mean = 0.0
    m2 = 0.0
    count = 0
    for v in x:
        count += 1
        delta = v - mean
        mean += delta / count
        m2 += delta * (v - mean)
    return float(mean), float(m2 / count)


@known((100.0, 100.0, 0.05, 0.2, 1.0, 400), 5.5735260222569, 2e-3)
@program(
    (101.0, 100.0, 0.05, 0.2, 1.0, 6), (36.0, 40.5, 0.06, 0.3, 0.5, 3), (10.0, 50.0, 0.1, 0.2, 2.0, 1), wrt=(0, 1, 2, 3)
)
def european_put(s: float, strike: float, rate: float, vol: float, years: float, n: int) -> float:
    """The binomial tree of Cox, Ross and Rubinstein, backwards in one array."""
    dt = years / n
    up = math.exp(vol * math.sqrt(dt))
    down = 1.0 / up
    p = (math.exp(rate * dt) - down) / (up - down)
    discount = math.exp(-rate * dt)
    value = np.zeros(401)
    for k in range(n + 1):
        price = s * up**k * down ** (n - k)
        value[k] = max(strike - price, 0.0)
    for step in range(n - 1, -1, -1):
        for k in range(step + 1):
            value[k] = discount * (p * value[k + 1] + (1.0 - p) * value[k])
    return float(value[0])


@known((np.array([[0.0, 1.0], [1.0, 0.0]]), 0.85, 1e-12), np.array([0.5, 0.5]))
@program(
    (np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.0, 2.0, 0.0]]), 0.85, 1e-3),
    (np.array([[0.0, 1.0], [0.0, 0.0]]), 0.5, 1e-2),
    (np.array([[1.0, 2.0, 0.5], [1.0, 1.0, 1.0], [2.0, 0.0, 1.0]]), 0.9, 10.0),
    wrt=1,
)
def page_rank(links: np.ndarray, damping: float, tolerance: float) -> np.ndarray:
    """The rank of pages; a page without links leads everywhere."""
    n = len(links)
    rank = np.ones(n) / n
    change = 1e300
    while change > tolerance:
        new = np.full(n, (1.0 - damping) / n)
        for i in range(n):
            out = links[i].sum()
            if out > 0.0:
                new += damping * rank[i] * links[i] / out
            else:
                new += damping * rank[i] / n
        change = float(np.abs(new - rank).sum())
        rank = new
    return rank


@known((np.array([-1.0, 1.0]), np.array([[1.0, 0.0], [0.0, 1.0]]), 0.5, 60), np.array([-2.0, 2.0]))
@program(
    (np.array([0.3, 1.0]), np.array([[0.2, 0.8], [0.6, 0.4]]), 0.9, 5),
    (Y[:3], np.full((3, 3), 1.0 / 3.0), 0.5, 12),
    (Y[:3], np.eye(3), 0.5, 0),
    wrt=(0, 1, 2),
)
def policy_value(reward: np.ndarray, move: np.ndarray, discount: float, sweeps: int) -> np.ndarray:
    """The value of the states of a Markov reward process, state by state."""
    value = np.zeros_like(reward)
    for _ in range(sweeps):
        largest = 0.0
        for s in range(len(reward)):
            new = reward[s] + discount * np.dot(move[s], value)
            largest = max(largest, abs(new - value[s]))
            value[s] = new
        if largest < 1e-16:
            break
    return value
