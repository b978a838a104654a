"""Models as scientists write them: statistics, networks, physics, finance."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tests.programs.harness import program

rng = np.random.default_rng(7)
X = rng.standard_normal((6, 3))
Y = rng.standard_normal(6)
LABELS = np.array([0, 1, 2, 1, 0, 2])
W = rng.standard_normal(3)


@program((W, X, Y, 0.1), (W[:2], X[:, :2], Y, 0.0), wrt=(0, 1))
def ridge(w: np.ndarray, x: np.ndarray, y: np.ndarray, strength: float) -> Any:
    residual = y - x @ w
    fit = 0.5 * np.dot(residual, residual) / len(y)
    penalty = strength * np.sum(w**2)
    return fit + penalty


@program((W, X, (Y > 0).astype(float)), (W, -X, (Y > 0.5).astype(float)), wrt=0)
def logistic_regression(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> Any:
    z = x @ w
    p = 1.0 / (1.0 + np.exp(-z))
    likelihood = y * np.log(p) + (1.0 - y) * np.log(1.0 - p)
    prior = -0.5 * np.sum(w * w)
    return -(np.mean(likelihood) + prior / len(y))


@program((X @ rng.standard_normal((3, 4)), LABELS), (X, LABELS[::-1].copy()), wrt=0)
def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> Any:
    shifted = logits - logits.max(axis=1, keepdims=True)
    norm = np.log(np.exp(shifted).sum(axis=1))
    picked = shifted[np.arange(len(labels)), labels]
    return np.mean(norm - picked)


@dataclass
class Dense:
    w: np.ndarray
    b: np.ndarray | None = None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        y = x @ self.w
        if self.b is not None:
            y = y + self.b
        return y


@dataclass
class Norm:
    gain: np.ndarray
    eps: float = 1e-5

    def __call__(self, x: np.ndarray) -> np.ndarray:
        m = x.mean(axis=-1, keepdims=True)
        v = ((x - m) ** 2).mean(axis=-1, keepdims=True)
        return self.gain * (x - m) / np.sqrt(v + self.eps)


@dataclass
class Block:
    first: Dense
    norm: Norm
    second: Dense
    residual: bool = True

    def __call__(self, x: np.ndarray) -> np.ndarray:
        h = np.tanh(self.first(x))
        h = self.norm(h)
        h = self.second(h)
        return x + h if self.residual else h


@dataclass
class Net:
    blocks: list[Block]
    head: Dense
    name: str = "net"
    history: list[str] = field(default_factory=list)

    @property
    def depth(self) -> int:
        return len(self.blocks)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        for k, block in enumerate(self.blocks):
            x = block(x)
            if k == self.depth - 1:
                x = x * 0.5
        return self.head(x)


def _net(residual: bool) -> Net:
    r = np.random.default_rng(3)

    def dense(a: int, b: int, bias: bool = False) -> Dense:
        return Dense(r.standard_normal((a, b)), np.ones(b) if bias else None)

    first = Block(dense(3, 4, True), Norm(np.ones(4)), dense(4, 3), residual)
    second = Block(dense(3, 2), Norm(np.ones(2)), dense(2, 3), True)
    return Net([first, second], dense(3, 1, True))


@program((_net(True), X), (_net(False), X[:2]), wrt=(0, 1))
def residual_network(net: Net, x: np.ndarray) -> np.ndarray:
    return net(x)


@program((Y, 0.3, 1.2), (Y[:3], -1.0, 0.5), wrt=(0, 1, 2))
def gaussian_likelihood(y: np.ndarray, mean: float, sigma: float) -> Any:
    z = (y - mean) / sigma
    n = y.shape[0]
    constant = -0.5 * n * math.log(2.0 * math.pi)
    return constant - n * np.log(sigma) - 0.5 * np.sum(z * z)


@program((X,), (X[:2],), wrt=0)
def pairwise_energy(x: np.ndarray) -> Any:
    difference = x[:, None, :] - x[None, :, :]
    squared = (difference**2).sum(axis=-1)
    mask = 1.0 - np.eye(len(x))
    energy = mask / (squared + 0.1)
    return 0.5 * energy.sum()


class State(NamedTuple):
    position: np.ndarray
    velocity: np.ndarray
    time: float


@program((State(X[:2], X[2:4], 0.0), 0.1, 3), (State(X[:1], X[1:2], 1.0), 0.05, 0), builds=True)
def oscillator(state: State, h: float, steps: int) -> State:
    position, velocity, t = state
    for _ in range(steps):
        force = -position - 0.1 * velocity
        velocity = velocity + h * force
        position = position + h * velocity
        t = t + h
    return State(position, velocity, t)


@program((100.0, 95.0, 0.2, 1.0), (80.0, 100.0, 0.4, 0.5), (100.0, 100.0, 0.1, 2.0), wrt=(0, 2, 3))
def black_scholes(s: float, k: float, v: float, t: float) -> float:
    r = 0.03
    root = v * math.sqrt(t)
    d1 = (math.log(s / k) + (r + 0.5 * v * v) * t) / root
    d2 = d1 - root

    def phi(x: float) -> float:
        return 0.5 * (1.0 + math.erf(x / math.sqrt(2.0)))

    call = s * phi(d1) - k * math.exp(-r * t) * phi(d2)
    if call < 0.0:
        raise ValueError("negative price")
    return call


@program((Y, W), (Y[:4], W[:2]), wrt=(0, 1))
def convolution(signal: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    n = len(signal) - len(kernel) + 1
    out = np.zeros(n)
    for i in range(len(kernel)):
        out += kernel[i] * signal[i : i + n]
    return out


@program((Y, LABELS, 3), (Y[:4], LABELS[:4], 4), wrt=0)
def group_means(values: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    totals = np.zeros(count)
    sizes = np.zeros(count)
    for i in range(len(values)):
        totals[groups[i]] += values[i]
        sizes[groups[i]] += 1.0
    return totals / np.maximum(sizes, 1.0)


@program((X, W), (X[:2], W), wrt=(0, 1))
def attention(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    q = x * w
    k = x * w[::-1]
    scores = q @ k.T / math.sqrt(x.shape[-1])
    scores = scores - scores.max(axis=-1, keepdims=True)
    weights = np.exp(scores)
    weights = weights / weights.sum(axis=-1, keepdims=True)
    return weights @ x


class Adam:
    """A class with plain attributes and a method that keeps state."""

    def __init__(self, rate: float, size: int) -> None:
        self.rate = rate
        self.m = np.zeros(size)
        self.v = np.zeros(size)
        self.t = 0

    def step(self, w: np.ndarray, g: np.ndarray) -> np.ndarray:
        self.t += 1
        self.m = 0.9 * self.m + 0.1 * g
        self.v = 0.999 * self.v + 0.001 * g * g
        mhat = self.m / (1.0 - 0.9**self.t)
        vhat = self.v / (1.0 - 0.999**self.t)
        return w - self.rate * mhat / (np.sqrt(vhat) + 1e-8)


@program((W, 0.1), (W[:2], 0.01), wrt=(0, 1))
def adam_steps(w: np.ndarray, rate: float) -> np.ndarray:
    optimiser = Adam(rate, len(w))
    for _ in [0, 1, 2]:
        g = 2.0 * w + np.cos(w)
        w = optimiser.step(w, g)
    return w


@program((np.array([0.2, 0.3, 0.5]), 4), (np.array([0.9, 0.1, 0.0]), 1), wrt=0)
def markov_chain(p: np.ndarray, steps: int) -> np.ndarray:
    t = np.array([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.0, 0.3, 0.7]])
    for _ in range(steps):
        p = p @ t
    entropy = 0.0
    for i in range(3):
        q = p[i]
        if q > 0.0:
            entropy = entropy - q * np.log(q)
    return p * entropy


@program((Y, 2), (Y, 3), wrt=0)
def polynomial_features(x: np.ndarray, degree: int) -> np.ndarray:
    columns = [np.ones_like(x)]
    for _ in range(3):
        columns.append(columns[-1] * x)
    features = np.stack(columns, axis=1)
    weights = np.array([1.0, 0.5, 0.25, 0.125])
    if degree > 2:
        return features @ weights
    return features[:, :3] @ weights[:3]


@program((X, 1.0), (X * 3.0, 0.25), wrt=(0, 1))
def huber(x: np.ndarray, delta: float) -> Any:
    a = np.abs(x)
    small = 0.5 * a**2
    large = delta * (a - 0.5 * delta)
    loss = np.where(a <= delta, small, large)
    per_row = loss.sum(axis=1)
    return per_row.mean() + per_row.max()


@program(
    ({"layers": [{"w": X[:3], "b": W}, {"w": X[3:], "b": None}]}, Y[:3]),
)
def nested_parameters(params: dict[str, Any], x: np.ndarray) -> np.ndarray:
    h = x
    for layer in params["layers"]:
        h = h @ layer["w"]
        if layer["b"] is not None:
            h = h + layer["b"]
        h = np.maximum(h, 0.1 * h)
    return h


@program((X, 0.5), (X[:2], 2.0), wrt=(0, 1))
def kernel_matrix(x: np.ndarray, length: float) -> np.ndarray:
    n = x.shape[0]
    k = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            d = 0.0
            for m in range(x.shape[1]):
                d += (x[i, m] - x[j, m]) ** 2
            k[i, j] = np.exp(-0.5 * d / length**2)
        k[i, i] += 1e-3
    return k
