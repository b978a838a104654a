"""Programs made of classes: state, inheritance, operators, properties, dataclasses, closures."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, NamedTuple

import numpy as np

from tests.programs.harness import program

rng = np.random.default_rng(5)
X = rng.standard_normal((4, 3))
Y = rng.standard_normal(5)
W = rng.standard_normal(3)
V = np.array([0.4, 1.3, 2.2])


class Vector:
    """A vector in the plane with operators."""

    def __init__(self, x: float, y: float) -> None:
        self.x = x
        self.y = y

    def __add__(self, other: Vector) -> Vector:
        return Vector(self.x + other.x, self.y + other.y)

    def __sub__(self, other: Vector) -> Vector:
        return Vector(self.x - other.x, self.y - other.y)

    def __mul__(self, k: float) -> Vector:
        return Vector(self.x * k, self.y * k)

    __rmul__ = __mul__

    def __neg__(self) -> Vector:
        return Vector(-self.x, -self.y)

    def __matmul__(self, other: Vector) -> float:
        return self.x * other.x + self.y * other.y

    def __abs__(self) -> float:
        return math.hypot(self.x, self.y)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vector) and self.x == other.x and self.y == other.y


@program((1.0, 2.0, 0.5), (0.0, 1.0, -2.0), (3.0, -1.0, 0.0), wrt=(0, 1, 2))
def plane_vectors(x: float, y: float, k: float) -> Any:
    a = Vector(x, y)
    b = Vector(1.0, -0.5)
    c = a + b * k - 0.5 * a
    d = -c
    inner = a @ d
    size = abs(c)
    if c == Vector(0.0, 0.0):
        size = size + 1.0
    if inner > 0:
        direction = c * (1.0 / size)
    else:
        direction = d * (1.0 / size)
    back = direction + Vector(0.0, 1.0)
    total = sum(v.x * v.y for v in (a, b, c, back))
    return inner, size, direction.x, total


class Dual:
    """Forward derivatives by operators: a user's own automatic differentiation, inside ours."""

    def __init__(self, value: Any, slope: Any = 0.0) -> None:
        self.value = value
        self.slope = slope

    @staticmethod
    def lift(x: Any) -> Dual:
        return x if isinstance(x, Dual) else Dual(x)

    def __add__(self, other: Any) -> Dual:
        o = Dual.lift(other)
        return Dual(self.value + o.value, self.slope + o.slope)

    def __mul__(self, other: Any) -> Dual:
        o = Dual.lift(other)
        return Dual(self.value * o.value, self.slope * o.value + self.value * o.slope)

    def __truediv__(self, other: Any) -> Dual:
        o = Dual.lift(other)
        return Dual(self.value / o.value, (self.slope * o.value - self.value * o.slope) / (o.value * o.value))

    def __pow__(self, n: int) -> Dual:
        made = Dual(1.0)
        for _ in range(n):
            made = made * self
        return made

    __radd__ = __add__
    __rmul__ = __mul__


@program((2.0, 3.0), (-1.0, 0.5), (0.3, -2.0), wrt=(0, 1))
def dual_numbers(x: float, y: float) -> Any:
    """The derivative of x^3 y + 2 x / y by x is 3 x^2 y + 2 / y."""
    dx = Dual(x, 1.0)
    f = dx**3 * y + 2.0 * dx / y
    exact = 3.0 * x * x * y + 2.0 / y
    assert abs(f.slope - exact) < 1e-9 * max(1.0, abs(exact))
    if f.value > 10.0:
        f = f / 2.0
    else:
        f = f + 1.0
    g = 1.0 + f * f
    return f.value, f.slope, g.slope


class Shape:
    """Base of shapes."""

    sides = 0

    def __init__(self, scale: float) -> None:
        self.scale = scale

    @property
    def area(self) -> float:
        return self.unit_area() * self.scale**2

    def unit_area(self) -> float:
        raise NotImplementedError("a shape without an area")

    def describe(self) -> str:
        return f"{type(self).__name__} with {self.sides} sides"


class Square(Shape):
    sides = 4

    def unit_area(self) -> float:
        return 1.0


class Polygon(Shape):
    def __init__(self, scale: float, sides: int) -> None:
        super().__init__(scale)
        self.sides = sides

    def unit_area(self) -> float:
        return 0.5 * self.sides * math.sin(2.0 * math.pi / self.sides)


class Ring(Polygon):
    def __init__(self, outer: float, inner: float) -> None:
        super().__init__(outer, 64)
        self.inner = inner

    @property
    def area(self) -> float:
        return super().area - self.unit_area() * self.inner**2


@program((1.0, 0.5), (2.0, 0.25), (0.5, 3.0), wrt=(0, 1))
def shapes_with_areas(scale: float, hole: float) -> Any:
    shapes = [Square(scale), Polygon(scale, 6), Ring(2.0 * scale, hole)]
    total = 0.0
    names = []
    for shape in shapes:
        total += shape.area
        names.append(shape.describe())
        if isinstance(shape, Ring):
            if shape.inner > shape.scale:
                raise ValueError(f"a hole of {shape.inner} in a ring of {shape.scale}")
            total *= 2.0
        elif type(shape) is Square:
            total += shape.sides
    ratio = shapes[-1].area / shapes[0].area
    hexagon = shapes[1]
    assert hexagon.sides == 6
    return total, ratio, names[1], max(s.sides for s in shapes)


class Account:
    """State that changes, with limits that raise."""

    fee = 0.5

    def __init__(self, balance: float, limit: float = -10.0) -> None:
        self.balance = balance
        self.limit = limit
        self.count = 0
        self.log: list[float] = []

    def book(self, amount: float) -> None:
        after = self.balance + amount - (self.fee if amount < 0 else 0.0)
        if after < self.limit:
            raise ValueError(f"overdrawn by {self.limit - after}")
        self.balance = after
        self.count += 1
        self.log.append(amount)

    def interest(self, rate: float, *, years: int = 1) -> Account:
        for _ in range(years):
            self.balance *= 1.0 + rate
        return self


@program((5.0, 2.0, 0.1), (5.0, -12.5, 0.1), (50.0, -50.0, 0.02), (0.0, -100.0, 0.0), wrt=(0, 1, 2))
def bank_account(start: float, amount: float, rate: float) -> Any:
    account = Account(start)
    account.book(amount)
    account.book(-0.5 * amount)
    account.interest(rate, years=3)
    if account.balance > 10.0:
        account.book(-1.0)
        label = 2
    else:
        label = 1
    account.interest(rate)
    mean = sum(account.log) / account.count - Account.fee
    scaled = {k: v * 2.0 for k, v in {"balance": account.balance, "mean": mean}.items()}
    assert account.count >= 2, "two bookings at least"
    return account.balance, mean, scaled, label


class Layer:
    """Base of layers."""

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.forward(x)

    def forward(self, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    @property
    def size(self) -> int:
        return 0


class Linear(Layer):
    def __init__(self, w: np.ndarray, b: np.ndarray) -> None:
        self.w = w
        self.b = b

    def forward(self, x: np.ndarray) -> np.ndarray:
        return x @ self.w + self.b

    @property
    def size(self) -> int:
        return self.w.size + self.b.size


class Activation(Layer):
    def __init__(self, name: str) -> None:
        self.name = name

    def forward(self, x: np.ndarray) -> np.ndarray:
        if self.name == "tanh":
            return np.tanh(x)
        if self.name == "leaky":
            return np.where(x > 0, x, 0.1 * x)
        raise ValueError(f"unknown activation {self.name!r}")


class Sequential(Layer):
    def __init__(self, *layers: Layer) -> None:
        self.layers = list(layers)

    def forward(self, x: np.ndarray) -> np.ndarray:
        for layer in self.layers:
            x = layer(x)
        return x

    @property
    def size(self) -> int:
        return sum(layer.size for layer in self.layers)


@program((X, W, "tanh"), (X[:2], W, "leaky"), (X, -W, "relu"), (X[:1], W * 2, "tanh"), wrt=(0, 1))
def perceptron(x: np.ndarray, w: np.ndarray, name: str) -> Any:
    hidden = np.outer(w, np.array([1.0, -0.5]))
    net = Sequential(
        Linear(hidden, np.array([0.1, -0.1])),
        Activation(name),
        Sequential(Linear(hidden.T, np.zeros(3)), Activation("tanh")),
    )
    out = net(x)
    penalty = 0.01 * sum(np.sum(layer.w**2) for layer in net.layers if isinstance(layer, Linear))
    loss = np.mean((out - x) ** 2) + penalty
    if net.size > 100:
        loss = loss * 2.0
    return loss, net.size


@dataclass(frozen=True)
class Gate:
    """Weights of a gate of a recurrent cell."""

    w: np.ndarray
    u: np.ndarray
    b: np.ndarray

    def __call__(self, x: np.ndarray, h: np.ndarray) -> np.ndarray:
        return 1.0 / (1.0 + np.exp(-(self.w @ x + self.u @ h + self.b)))


@dataclass(frozen=True)
class Gru:
    update: Gate
    reset: Gate
    w: np.ndarray
    u: np.ndarray

    @property
    def width(self) -> int:
        return self.u.shape[0]

    def step(self, x: np.ndarray, h: np.ndarray) -> np.ndarray:
        z = self.update(x, h)
        r = self.reset(x, h)
        candidate = np.tanh(self.w @ x + self.u @ (r * h))
        return (1.0 - z) * h + z * candidate


def _gru(seed: int) -> Gru:
    r = np.random.default_rng(seed)

    def gate() -> Gate:
        return Gate(r.standard_normal((2, 3)), r.standard_normal((2, 2)), r.standard_normal(2))

    return Gru(gate(), gate(), r.standard_normal((2, 3)), r.standard_normal((2, 2)))


@program((_gru(1), X, True), (_gru(2), X[:1], False), (_gru(3), X[::2], False), wrt=(0, 1))
def recurrent_network(cell: Gru, xs: np.ndarray, average: bool) -> np.ndarray:
    """A gated recurrent unit over a sequence."""
    h = np.zeros(cell.width)
    total = np.zeros(cell.width)
    for x in xs:
        h = cell.step(x, h)
        total += h
    if average:
        out = total / len(xs)
    else:
        out = h
    norm = np.sqrt(np.sum(out**2))
    if norm > 0.5:
        out = out / norm
    return out


@dataclass
class Particle:
    """A particle; `mass` has a default, `trail` a factory."""

    position: np.ndarray
    velocity: np.ndarray
    mass: float = 1.0
    trail: list[Any] = field(default_factory=list)

    def kick(self, force: np.ndarray, h: float) -> None:
        self.velocity = self.velocity + h * force / self.mass

    def drift(self, h: float) -> None:
        self.position += h * self.velocity
        self.trail.append(self.position.copy())

    def energy(self) -> Any:
        return 0.5 * self.mass * np.dot(self.velocity, self.velocity)


@program((X, 0.1, 2.0), (X * 2.0, 0.01, 0.5), (X[::-1], 0.2, 1.0), wrt=(0, 1, 2))
def particles(x: np.ndarray, h: float, mass: float) -> Any:
    ps = [Particle(x[0].copy(), x[1].copy(), mass), Particle(position=x[2].copy(), velocity=x[3].copy())]
    for _ in (0, 1):
        for i, p in enumerate(ps):
            other = ps[1 - i]
            d = other.position - p.position
            r = np.sqrt(np.sum(d * d)) + 0.1
            p.kick(d / r**3, h)
        for p in ps:
            p.drift(h)
    energy = sum(p.energy() for p in ps)
    if energy > 5.0:
        energy = energy / 5.0
    start, *_ = ps[0].trail
    light = replace(ps[0], mass=1.0)
    return energy, start, len(ps[1].trail), light.energy()


class Kind(Enum):
    """What a cell of a grid is."""

    WALL = 0
    OPEN = 1
    SOURCE = 2


class Rule(NamedTuple):
    """How a kind of boundary acts."""

    kind: Kind
    gain: float = 1.0
    offset: float = 0.0

    def apply(self, v: Any) -> Any:
        if self.kind is Kind.WALL:
            return 0.0 * v
        if self.kind is Kind.SOURCE:
            return v * self.gain + self.offset
        return v


@program(
    (Y, Rule(Kind.WALL), 2), (Y, Rule(Kind.SOURCE, 0.5, 1.0), 3), (Y[:3], Rule(Kind.OPEN, offset=9.0), 0), wrt=(0, 1)
)
def boundary_rules(u: np.ndarray, rule: Rule, steps: int) -> Any:
    """Advection with a boundary that depends on an enum inside a NamedTuple."""
    v = u.copy()
    mass = v.sum()
    for _ in range(steps):
        inflow = rule.apply(v[-1])
        v[1:] = 0.5 * (v[1:] + v[:-1])
        v[0] = inflow
    change = v.sum() - mass
    other = rule._replace(kind=Kind.SOURCE)
    if rule.kind != Kind.OPEN:
        change = other.apply(change)
    kinds = {Kind.WALL: -1.0, Kind.OPEN: 0.0}
    change = change + kinds.get(rule.kind, 1.0)
    return v, change


def _adam(rate: float = 0.1, b1: float = 0.9, b2: float = 0.999) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def init(w: dict[str, Any]) -> dict[str, Any]:
        return {k: (np.zeros_like(v), np.zeros_like(v)) for k, v in w.items()}

    def update(w: dict[str, Any], g: dict[str, Any], state: dict[str, Any], t: int) -> Any:
        after, kept = {}, {}
        for k in w:
            m, v = state[k]
            m = b1 * m + (1.0 - b1) * g[k]
            v = b2 * v + (1.0 - b2) * g[k] ** 2
            after[k] = w[k] - rate * (m / (1.0 - b1**t)) / (np.sqrt(v / (1.0 - b2**t)) + 1e-8)
            kept[k] = (m, v)
        return after, kept

    return init, update


@program(({"w": V, "b": W}, 2), ({"w": V[:2], "b": W}, 1), ({"b": W, "w": V[:2], "c": Y}, 3), wrt=0)
def optimiser_of_closures(params: dict[str, np.ndarray], steps: int) -> Any:
    """Adam as a pair of closures over a dictionary of parameters."""
    init, update = _adam(rate=0.05)
    state = init(params)
    losses = []
    for t in range(1, 4):
        if t > steps:
            continue
        g = {k: 2.0 * v + np.cos(v) for k, v in params.items()}
        params, state = update(params, g, state, t)
        losses.append(sum(np.sum(v**2 + np.sin(v)) for v in params.values()))
    best = min(losses)
    return params, best, len(losses)


class Interpolator:
    """Piecewise linear interpolation with `__len__`, `__getitem__` and `__contains__`."""

    def __init__(self, xs: np.ndarray, ys: np.ndarray) -> None:
        if len(xs) != len(ys):
            raise ValueError(f"{len(xs)} abscissae for {len(ys)} ordinates")
        self.xs = xs
        self.ys = ys

    def __len__(self) -> int:
        return len(self.xs)

    def __getitem__(self, i: int) -> Any:
        return self.xs[i], self.ys[i]

    def __contains__(self, x: float) -> bool:
        return bool(self.xs[0] <= x) and bool(x <= self.xs[-1])

    def __call__(self, x: float) -> Any:
        if x not in self:
            raise ValueError("outside of the table")
        k = 0
        while k < len(self) - 2 and self.xs[k + 1] < x:
            k += 1
        (x0, y0), (x1, y1) = self[k], self[k + 1]
        return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


@program((V, W, 1.0), (V, W, 2.0), (V, W, 9.0), (V, Y, 1.0), (V[:2], Y[:2], 0.5), wrt=(0, 1, 2))
def interpolation(xs: np.ndarray, ys: np.ndarray, at: float) -> Any:
    table = Interpolator(xs, ys)
    value = table(at)
    middle = 0.375 * xs[0] + 0.625 * xs[-1]
    other = table(middle)
    if value > other:
        return value - other, len(table)
    return other - value, -len(table)


class Stack:
    """Operators of a small stack machine, dispatched by name."""

    def __init__(self) -> None:
        self.items: list[float] = []

    def push(self, x: float) -> None:
        self.items.append(x)

    def pop(self) -> float:
        if not self.items:
            raise IndexError("pop from an empty stack")
        return self.items.pop()

    def add(self) -> None:
        self.push(self.pop() + self.pop())

    def mul(self) -> None:
        self.push(self.pop() * self.pop())

    def neg(self) -> None:
        self.push(-self.pop())


@program(("x y add", 2.0, 3.0), ("x y mul x add neg", 2.0, 3.0), ("x add", 1.0, 1.0), ("2 x mul", 4.0, 0.0), wrt=(1, 2))
def stack_machine(text: str, x: float, y: float) -> float:
    """Evaluate an expression in reverse Polish notation: 5, -8, an error, 8."""
    known = {"x y add": 5.0, "x y mul x add neg": -8.0, "2 x mul": 8.0}
    variables = {"x": x, "y": y}
    machine = Stack()
    for word in text.split():
        if word in variables:
            machine.push(variables[word])
        elif hasattr(machine, word):
            getattr(machine, word)()
        else:
            machine.push(float(word))
    result = machine.pop()
    if x == 2.0 and y == 3.0:
        assert result == known[text]
    assert not machine.items
    return result


class Tensor:
    """A wrapper of an array with operators that check shapes."""

    __slots__ = ("data",)

    def __init__(self, data: np.ndarray) -> None:
        self.data = data

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @classmethod
    def zeros(cls, *shape: int) -> Tensor:
        return cls(np.zeros(shape))

    def __matmul__(self, other: Tensor) -> Tensor:
        if self.shape[-1] != other.shape[0]:
            raise ValueError(f"shapes {self.shape} and {other.shape} do not fit")
        return Tensor(self.data @ other.data)

    def __add__(self, other: Tensor | float) -> Tensor:
        return Tensor(self.data + (other.data if isinstance(other, Tensor) else other))

    def __iadd__(self, other: Tensor) -> Tensor:
        self.data += other.data
        return self

    def __getitem__(self, key: Any) -> Tensor:
        return Tensor(self.data[key])

    def __setitem__(self, key: Any, value: float) -> None:
        self.data[key] = value

    def relu(self) -> Tensor:
        return Tensor(np.maximum(self.data, 0.0))


@program((X, X.T.copy()), (X[:, :2].copy(), X[:2].copy()), (X, X), (X[:1], X[0][:, None].copy()), wrt=(0, 1))
def wrapped_tensors(a: np.ndarray, b: np.ndarray) -> Any:
    x = Tensor(a * 1.0)
    y = Tensor(b * 2.0)
    z = x @ y
    total = Tensor.zeros(*z.shape)
    total += z
    total += z.relu() + 1.0
    total[0, 0] = 7.0
    row = total[-1]
    if row.data.sum() > 0:
        row = row + 2.0
    assert total.shape == z.shape
    return total.data, row.data, x.shape


@dataclass
class Config:
    """Settings of a solver; `extra` may switch things on."""

    h: float = 0.1
    order: int = 2
    damping: float | None = None
    extra: dict[str, Any] | None = None


def _rate(y: np.ndarray, *, damping: float = 0.0, **forces: float) -> np.ndarray:
    total = -y - damping * y * np.abs(y)
    for name, size in forces.items():
        total = total + (size if name == "gravity" else size * np.sin(y))
    return total


@program(
    (V, Config(), 3),
    (V, Config(0.05, 4, 0.3), 2),
    (W, Config(order=4, extra={"gravity": -0.5, "spring": 0.2}), 0),
    (V, Config(order=3), 1),
    wrt=(0, 1),
)
def configured_solver(y: np.ndarray, config: Config, steps: int) -> np.ndarray:
    """A solver with settings in a dataclass and keyword arguments passed through."""
    options: dict[str, Any] = {}
    if config.damping is not None:
        options["damping"] = config.damping
    options.update(config.extra or {})
    h = config.h
    for _ in range(steps):
        k1 = _rate(y, **options)
        if config.order == 2:
            y = y + h * _rate(y + 0.5 * h * k1, **options)
        elif config.order == 4:
            k2 = _rate(y + 0.5 * h * k1, **options)
            k3 = _rate(y + 0.5 * h * k2, **options)
            k4 = _rate(y + h * k3, **options)
            y = y + h / 6.0 * (k1 + 2.0 * (k2 + k3) + k4)
        else:
            raise NotImplementedError(f"order {config.order}")
    return y * 1.0
