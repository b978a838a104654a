"""Short programs: one idea each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tests.programs.harness import program

A = np.array([0.5, -1.25, 2.0, 3.5])
B = np.array([1.0, 2.0, 0.25])
M = np.arange(12.0).reshape(3, 4) / 7.0 - 0.6
N = np.array([[1.0, 0.5], [0.25, 2.0]])


@program((1.0, 2.0), (3.0, 2.0), (2, 3), (2.5, 1), wrt=())
def arithmetic(x: Any, y: Any) -> Any:
    return x + y, x - y, x * y, x / y, x**2, -x, abs(x - y)


@program((7, 2), (-7, 2), (7, -3), (5, 0))
def integers(a: int, b: int) -> Any:
    return a // b, a % b, a + b, a * b, a - b, a < b, a == b


@program((A.astype(np.float32), 2.0), (A, np.float32(2.0)), (np.arange(3), 2.0), (np.arange(3), 2), (A > 0, 1.5))
def promotion(x: np.ndarray, s: Any) -> Any:
    return x * s, x + 1, x / 2


@program((A,), (B,), (M,), wrt=0)
def log_sum_exp(x: np.ndarray) -> Any:
    m = np.max(x)
    return m + np.log(np.sum(np.exp(x - m)))


@program((np.array([0.0, 1.0, 4.0]),), (np.array([-1.0, 0.25]),))
def safe_sqrt(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, np.sqrt(x), 0.0)


@program((1.0, 2.0), (2.0, 1.0), (1.5, 1.0), wrt=0)
def branch(x: float, y: float) -> float:
    if x > y:
        z = x * x
    elif x == y:
        z = x * 3.0
    else:
        z = y - x
    return z + 1.0


@program((0.5, 3), (1.5, 0), (-1.0, 6), wrt=0)
def horner(x: float, n: int) -> float:
    s = 1.0
    for _ in range(n):
        s = s * x + 1.0
    return s


@program((3.0,), (0.75,), (101.0,), wrt=0)
def doubling(x: float) -> float:
    while x < 100.0:
        x = x * 2.0
    return x


@program((A,), (B,), (M[0],), wrt=0)
def shifted(a: np.ndarray) -> np.ndarray:
    b = a.copy()
    b[1:] += a[:-1] * a[1:]
    return b


@program((A,), (B,))
def in_place(a: np.ndarray) -> np.ndarray:
    a[1:] *= 2.0
    a[0] = a[-1]
    return a


@program((A, True), (A, False), (B, True))
def conditional_alias(a: np.ndarray, flag: bool) -> Any:
    b = a * 2.0
    c = a if flag else b
    c[0] = 7.0
    return a[0] + b[0], b


@program((A, 0), (A, 3), (B, 2), wrt=0)
def swapping(a: np.ndarray, n: int) -> Any:
    u = a * 1.0
    v = a * 2.0
    for _ in range(n):
        u, v = v, u
        u[0] = u[0] * u[1]
    return u, v


@program((A, 2.5), (B, 100.0), (M[1], -1.0))
def first_above(a: np.ndarray, limit: float) -> int:
    for i in range(len(a)):
        if a[i] > limit:
            return i
    return -1


@program((1.0,), (-1.0,), (0.0,))
def checked_log(x: float) -> float:
    if x <= 0:
        raise ValueError(f"need a positive number, got {x}")
    return math.log(x)


@program((A, 2), (A, -1), (A, 4), (B, -3), (B, -4))
def indexed(a: np.ndarray, i: int) -> Any:
    return a[i]


class Point(NamedTuple):
    x: Any
    y: Any


@program((Point(1.0, 2.0),), (Point(A, B[0]),), builds=True)
def named(p: Point) -> Point:
    return Point(p.x * p.y, p.y)


@dataclass
class Linear:
    w: np.ndarray
    b: np.ndarray | None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        y = x @ self.w
        return y if self.b is None else y + self.b


@dataclass
class Model:
    layers: list[Linear]
    scale: float = 1.0
    name: str = "m"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        for layer in self.layers[:-1]:
            x = np.tanh(layer(x))
        return self.layers[-1](x) * self.scale


_MODEL = Model([Linear(M.T @ M / 3, np.ones(4)), Linear(M.T, None)])


@program((_MODEL, M), (Model([Linear(N, None)], 2.0), N), wrt=(0, 1))
def network(model: Model, x: np.ndarray) -> np.ndarray:
    return model(x)


@program(({"w": A, "b": 0.5},), ({"w": B, "b": -1.0},))
def dictionary(p: dict[str, Any]) -> dict[str, Any]:
    return {"sum": (p["w"] * p["b"]).sum(), **{k: v * 2.0 for k, v in p.items()}}


@program(([A, A * 2.0],), ([B],), wrt=0)
def listed(xs: list[np.ndarray]) -> Any:
    return sum(float((x**2).sum()) for x in xs), [x.sum() for x in xs]


@program((M,), (N,), wrt=0, builds=True)
def shapes(x: np.ndarray) -> Any:
    return x.T, x.reshape(-1), x.ravel()[1:], x[None], x[..., 0], x[::-1, 1:]


@program((M, np.array([0, 2, 1, 1])), (N, np.array([1, -1])), (N, np.array([0, 2])), wrt=0)
def gathered(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return x[rows]


@program((2.0, 3), (1.5, 5), wrt=0)
def closures(x: float, n: int) -> float:
    def power(k: int) -> Any:
        return lambda t: t**k

    fs = [power(k) for k in (1, 2, 3)]
    return sum([f(x) for f in fs]) * n


@program((3.0,), (1.0,), (0.5,))
def generator_sum(x: float) -> float:
    return sum(x * k for k in range(4)) + max(x, 1.0) + min(2, 3)


@program((1.0, 2.0, 3.0), (0.0, 0.0, 1.0))
def star(*xs: float) -> float:
    first, *rest = xs
    return first + 10.0 * sum(rest)


@program((0.3,), (2.0,), wrt=0)
def scalars(x: float) -> Any:
    return math.sin(x), math.exp(-x), math.sqrt(x), math.atan2(x, 2.0), x**0.5, math.floor(x), round(x * 10)
