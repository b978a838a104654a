"""Python's builtins, methods of containers, operators of containers and objects: as CPython."""

# The rows are written as users write them.
# ruff: noqa: B009, B905, C406, C408, C416, E711, E741, RUF005, RUF017, UP031

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import itertools
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import jitgrad
from tests.trace.calling import check

V = np.array([0.3, -1.2, 2.5, 0.7, -0.4])
M = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])
F = V.astype(np.float32)
I = np.array([3, -1, 4, 1, -5])


@dataclasses.dataclass
class Point:
    x: float
    y: float

    def __add__(self, other: Any) -> Point:
        return Point(self.x + other.x, self.y + other.y)

    def __radd__(self, other: Any) -> Point:
        return Point(self.x + other, self.y + other)

    def __mul__(self, k: Any) -> Point:
        return Point(self.x * k, self.y * k)

    def __neg__(self) -> Point:
        return Point(-self.x, -self.y)

    def __getitem__(self, k: int) -> float:
        return self.x if k == 0 else self.y

    def __len__(self) -> int:
        return 2

    def __contains__(self, v: Any) -> Any:
        return v == self.x

    def __lt__(self, other: Any) -> Any:
        return self.x < other.x

    def __abs__(self) -> Any:
        return (self.x * self.x + self.y * self.y) ** 0.5

    def __float__(self) -> Any:
        return float(self.x)


class Bag:
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __iter__(self) -> Any:
        return iter(self.items)

    def __bool__(self) -> bool:
        return len(self.items) > 0


class Pair(NamedTuple):
    a: Any
    b: Any


def _sum_pow(x: float, y: float) -> float:
    return x + y**2


ROWS: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    # --- numbers
    (lambda x: abs(x), (-0.5,)),
    (lambda x: abs(x), (-3,)),
    (lambda x: abs(x), (True,)),
    (lambda x: abs(x), (np.float32(-2),)),
    (lambda x: round(x), (2.5,)),
    (lambda x: round(x), (-3.5,)),
    (lambda x: round(x), (7,)),
    (lambda x: round(x), (np.float64(2.5),)),
    (lambda x: round(x), (float("nan"),)),
    (lambda x: round(x), (float("inf"),)),
    (lambda x: round(x, 1), (np.float64(2.56),)),
    (lambda x: float(x), (3,)),
    (lambda x: float(x), (np.float32(0.1),)),
    (lambda x: float(x[0]), (V,)),
    (lambda x: float(x), (np.array(2),)),
    (lambda x: float(x), (V,)),
    (lambda x: float("1.5") * x, (0.5,)),
    (lambda x: float(None), (0.5,)),
    (lambda x: float([x]), (0.5,)),
    (lambda x: int(x), (2.7,)),
    (lambda x: int(x), (-2.7,)),
    (lambda x: int(x), (float("nan"),)),
    (lambda x: int(x), (float("inf"),)),
    (lambda x: int(x), (np.int32(4),)),
    (lambda x: int("12") + x, (1,)),
    (lambda x: int("ff", 16) + x, (1,)),
    (lambda x: bool(x), (0.0,)),
    (lambda x: bool(x), (3,)),
    (lambda x: bool(x), (np.zeros(2),)),
    (lambda x: bool([x]) and not bool([]), (0.0,)),
    (lambda x: divmod(x, 3), (7,)),
    (lambda x: divmod(x, 0.7), (2.5,)),
    (lambda x: pow(x, 2), (1.5,)),
    (lambda x: pow(x, 2, 5), (7,)),
    (lambda x: x.is_integer(), (2.0,)),
    (lambda x: x.conjugate(), (2.0,)),
    (lambda x: x.real + x.imag, (2.0,)),
    (lambda x: x.real, (True,)),
    # --- min and max
    (lambda x, y: max(x, y), (1.0, 2.0)),
    (lambda x, y: max(x, y), (2.0, 1.0)),
    (lambda x, y: max(x, y), (float("nan"), 1.0)),
    (lambda x, y: max(x, y), (1.0, float("nan"))),
    (lambda x, y: min(x, y), (1.0, float("nan"))),
    (lambda x, y: min(x, y), (0.0, -0.0)),
    (lambda x, y: max(x, y, 0.5), (1, 2.5)),
    (lambda x: max(x, 0.0), (-1.5,)),
    (lambda x: max(0.0, x), (np.float64(1.5),)),
    (lambda x: max(x), (V,)),
    (lambda x: min(x), (V,)),
    (lambda x: max(x), ([3, 1, 2],)),
    (lambda x: max([x, 2 * x, -x]), (0.5,)),
    (lambda x: max([x, -x], key=abs), (0.5,)),
    (lambda x: min((x, 2.0), (x, 1.0)), (0.5,)),
    (lambda x: max(["a", "bb"], key=len), (0.5,)),
    (lambda x: max([], default=x), (0.5,)),
    (lambda x: max([]), (0.5,)),
    (lambda x: max(x), (np.zeros(0),)),
    (lambda x: max(x, 1.0), (np.ones(3),)),
    # --- sum
    (lambda x: sum([x, 0.1, 0.2, 0.3, 1e16, -1e16]), (0.1,)),
    (lambda x: sum((x, 1, 2)), (0.5,)),
    (lambda x: sum([x, 2], 10), (5,)),
    (lambda x: sum([x, x], 0.5), (np.float32(0.25),)),
    (lambda x: sum(x), (V,)),
    (lambda x: sum(x), (F,)),
    (lambda x: sum(x), (I,)),
    (lambda x: sum(x), (M,)),
    (lambda x: sum(x, 1.0), (V,)),
    (lambda x: sum([]), (0.5,)),
    (lambda x: sum(x), (np.zeros(0),)),
    (lambda x: sum(v * v for v in x), (V,)),
    (lambda x: sum([x, True, 2.5, np.float64(1)]), (0.5,)),
    (lambda x: sum([[x], [1.0]], []), (0.5,)),
    (lambda x: sum(range(x)), (6,)),
    (lambda x: sum(["a"], ""), (0.5,)),
    # --- length, types
    (lambda x: (len(x), len([x, x]), len({"a": x}), len("abc"), len(range(4))), (V,)),
    (lambda x: len(x), (2.0,)),
    (lambda x: len(x), (np.float64(2),)),
    (lambda x: len(x), (np.array(2.0),)),
    (lambda x: len(None), (2.0,)),
    (lambda n: len(range(n)), (7,)),
    (lambda n: len(range(2, n, 3)), (9,)),
    (lambda x: isinstance(x, float), (2.0,)),
    (lambda x: isinstance(x, (int, np.ndarray)), (V,)),
    (lambda x: isinstance(x, float), (np.float64(2),)),
    (lambda x: isinstance(x, int), (True,)),
    (lambda x: isinstance([x], list) and isinstance((x,), tuple) and not isinstance({}, list), (2.0,)),
    (lambda x: type(x) is float, (2.0,)),
    (lambda x: type(x).__name__, (V,)),
    (lambda x: issubclass(type(x), float), (np.float64(1),)),
    (lambda x: callable(x) or callable(abs), (2.0,)),
    (lambda x: hasattr(x, "shape") and not hasattr(x, "foo"), (V,)),
    (lambda x: getattr(x, "foo", 3.0), (V,)),
    (lambda x: getattr(x, "T").shape, (M,)),
    (lambda x: x.foo, (V,)),
    (lambda x: x.foo, (2.0,)),
    # --- iteration
    (lambda x: np.array([v * 2 for v in x]), (V,)),
    (lambda x: np.array([r.sum() for r in x]), (M,)),
    (lambda x: [(i, v) for i, v in enumerate(x)], (V,)),
    (lambda x: [(i, v) for i, v in enumerate([x, 2 * x], 1)], (0.5,)),
    (lambda x: np.array([a * b for a, b in zip(x, range(5))]), (V,)),
    (lambda x: list(zip([1.0, 2.0], x)), (V,)),
    (lambda x: list(zip(x, [1.0], strict=True)), (V,)),
    (lambda x: list(reversed(x)), (V,)),
    (lambda x: list(reversed([x, 1.0])), (0.5,)),
    (lambda x: list(reversed(range(4))), (0.5,)),
    (lambda x: list(map(abs, x)), (V,)),
    (lambda x: list(map(lambda a, b: a * b, [x, 1.0], [2.0, x])), (0.5,)),
    (lambda x: list(filter(lambda v: v > 1, [0, 1, 2, 3])) + [x], (0.5,)),
    (lambda x: tuple(x), (V,)),
    (lambda x: list(range(3)) + [x], (0.5,)),
    (lambda x: tuple({"a": x, "b": 1}), (0.5,)),
    (lambda x: [c for c in "abc"] + [x], (0.5,)),
    (lambda x: next(iter([x, 2.0])), (0.5,)),
    (lambda x: next(iter([]), x), (0.5,)),
    (lambda x: [v for v in 3.0], (0.5,)),
    (lambda x: [v for v in x], (np.array(1.0),)),
    (lambda x: any([x > 0, x > 1]), (0.5,)),
    (lambda x: all([x > 0, x > 1]), (0.5,)),
    (lambda x: any(v > 2 for v in x), (V,)),
    (lambda x: any(x > 2), (V,)),
    (lambda x: all(x), (V,)),
    (lambda x, n: all(x * k < 5 for k in range(n)), (0.5, 10)),
    (lambda x, n: any(x * k > 5 for k in range(n)), (0.5, 10)),
    (lambda x, n: sum(x * k for k in range(n)), (0.1, 10)),
    (lambda x, n: sum(x * k for k in range(n)) / 2, (0.1, 0)),
    (lambda x, n: max(x * k for k in range(n)), (0.1, 10)),
    (lambda x, n: min(x * k for k in range(n)), (0.1, 0)),
    (lambda x, n: np.mean([x * k for k in range(n)]), (0.1, 10)),
    (lambda x: any([]) or all([]), (0.5,)),
    (lambda x: sorted([3, 1, 2]) + [x], (0.5,)),
    (lambda x: sorted([(2, x), (1, 2 * x)], key=lambda p: p[0], reverse=True), (0.5,)),
    (lambda x: sorted([x, 0.1, 2.0]), (0.5,)),
    (lambda x: sorted(x, reverse=True), (V,)),
    (lambda x: sorted(x, key=lambda v: -abs(v)), (V,)),
    (lambda x: sorted(x, key=lambda v: v > 0), (V,)),
    (lambda x: sorted(x, key=lambda v: v > 0, reverse=True), (V,)),
    (lambda x: sorted(zip(x > 0, -x, range(len(x)))), (V,)),
    (lambda x: sorted([("a", (x, 1)), ("a", (-x, 2))], key=lambda p: p[1][0]), (0.5,)),
    (lambda x: sorted([(x, 1), (2 * x, 0), (x, -1)], reverse=True), (0.5,)),
    (lambda x: sorted([(x, 1), (2 * x, 0), (x, -1)], key=lambda p: p[0], reverse=True), (0.5,)),
    (lambda x: sorted(range(len(x)), key=x.__getitem__), (V,)),
    (lambda x: sorted([], key=lambda v: v * x), (0.5,)),
    (lambda x: {v for v in (1, 2, 1)} == {1, 2}, (0.5,)),
    # --- containers
    (lambda x: [x] + [1.0] * 2, (0.5,)),
    (lambda x: (x,) * 3 + (1,), (0.5,)),
    (lambda x: [x] + (1,), (0.5,)),
    (lambda x: dict(a=x, b=1), (0.5,)),
    (lambda x: dict([("a", x), ("b", 2)]), (0.5,)),
    (lambda x: {"a": x} | {"b": 2 * x}, (0.5,)),
    (lambda x: list({"a": x, "b": 1.0}.items()), (0.5,)),
    (lambda x: sum({"a": x, "b": 1.0}.values()), (0.5,)),
    (lambda x: list({"a": x}.keys()), (0.5,)),
    (lambda x: {"a": x}.get("b", 2.0), (0.5,)),
    (lambda x: {"a": x}["b"], (0.5,)),
    (lambda x: "a" in {"a": x} and "b" not in {"a": x}, (0.5,)),
    (lambda x: x in [0.5, 1.0], (0.5,)),
    (lambda x: 2 in (1, 2), (0.5,)),
    (lambda n: n in range(0, 10, 2), (4,)),
    (lambda n: n in range(0, 10, 2), (5,)),
    (lambda x: [x, 1.0] == [0.5, 1.0], (0.5,)),
    (lambda x: (x, 1) != (x, 2), (0.5,)),
    (lambda x: (1, x) < (1, 0.7), (0.5,)),
    (lambda x: (x, 1.0) < (0.5, 0.7), (0.5,)),
    (lambda x: {"a": x} == {"a": 0.5}, (0.5,)),
    (lambda x: x == None, (0.5,)),
    (lambda x: x != "a", (0.5,)),
    (lambda x: x < "a", (0.5,)),
    (lambda x: x is None, (0.5,)),
    (lambda x: None is None and x is not None, (V,)),
    (lambda b: b is True, (True,)),
    (lambda b: b is True, (False,)),
    (lambda x: [x] < [1.0, 2.0], (0.5,)),
    (lambda x: ("a" + "b" + str(3), x), (0.5,)),
    (lambda x: ("a" * 3, x), (0.5,)),
    (lambda x: ("%d-%s" % (3, "a"), x), (0.5,)),
    (lambda x: (f"{3}-{2.0:.1f}", x), (0.5,)),
    (lambda x: (",".join(["a", "b"]).upper(), x), (0.5,)),
    (lambda x: [1, 2, 3].index(2) + (5, 6).index(6) + [1, 1].count(1), (0.5,)),
    (lambda x: [1, 2].index(7), (0.5,)),
    (lambda x: [x, x][2], (0.5,)),
    (lambda x: None + x, (0.5,)),
    (lambda x: [x] * x, (0.5,)),
    (lambda x: -[x], (0.5,)),
    (lambda x: (lambda *a, **k: (a, k))(*[x, 1], b=x), (0.5,)),
    # --- operator, functools, itertools, copy
    (lambda x: operator.add(x, 2) + operator.mul(x, x) + operator.neg(x), (0.5,)),
    (lambda x: operator.itemgetter(1)([x, 2 * x]), (0.5,)),
    (lambda x: operator.attrgetter("shape")(x), (M,)),
    (lambda x: operator.lt(x, 1.0), (0.5,)),
    (lambda x: functools.partial(_sum_pow, x)(3.0), (0.5,)),
    (lambda x: functools.partial(_sum_pow, y=x)(3.0), (0.5,)),
    (lambda x: functools.reduce(lambda a, b: a * b, [x, 2.0, x]), (0.5,)),
    (lambda x: functools.reduce(operator.add, x), (V,)),
    (lambda x: sum(a * b for a, b in itertools.product([x, 1.0], [x, 2.0])), (0.5,)),
    (lambda x: list(itertools.chain([x], (1.0,))), (0.5,)),
    (lambda x: list(itertools.accumulate([x, x, 1.0])), (0.5,)),
    (lambda x: list(itertools.combinations([x, 1.0, 2.0], 2)), (0.5,)),
    (lambda x: copy.copy(x) * 2, (V,)),
    (lambda x: copy.deepcopy([x, {"a": x}]), (V,)),
    # --- objects
    (lambda x: (Point(x, 1.0) + Point(2.0, x)).y, (0.5,)),
    (lambda x: (x + Point(1.0, 2.0)).x, (0.5,)),
    (lambda x: (Point(x, 2.0) * 3.0)[1], (0.5,)),
    (lambda x: (-Point(x, 2.0)).x, (0.5,)),
    (lambda x: abs(Point(x, 2.0)) + float(Point(x, 2.0)), (0.5,)),
    (lambda x: len(Point(x, 2.0)), (0.5,)),
    (lambda x: x in Point(x, 2.0), (0.5,)),
    (lambda x: Point(x, 1.0) < Point(1.0, 0.0), (0.5,)),
    (lambda x: Point(x, 1.0) == Point(0.5, 1.0), (0.5,)),
    (lambda x: Point(x, 1.0) == Point(0.7, 1.0), (0.5,)),
    (lambda x: Point(x, 1.0) - 2.0, (0.5,)),
    (lambda x: [v * x for v in Bag([x, 2.0])], (0.5,)),
    (lambda x: 1 if Bag([]) else 2, (0.5,)),
    (lambda x: dataclasses.replace(Point(x, 1.0), y=2 * x).y, (0.5,)),
    (lambda x: [f.name for f in dataclasses.fields(Point(x, 1.0))], (0.5,)),
    (lambda x: dataclasses.asdict(Point(x, 1.0)), (0.5,)),
    (lambda x: Pair(x, 1.0) + (2,), (0.5,)),
    (lambda x: Pair(a=x, b=1.0).a, (0.5,)),
    (lambda x: Pair(x, 1.0)._replace(b=x), (0.5,)),
    (lambda x: setattr(Point(x, 1.0), "x", 3.0), (0.5,)),
    (lambda p: p.x * 2, (Point(0.5, 1.0),)),
]


@pytest.mark.parametrize("k", range(len(ROWS)))
def test_call_form(k: int) -> None:
    function, args = ROWS[k]
    try:
        check(function, args, rtol=0.0 if k < 90 else 1e-15)
    except Exception as found:
        found.add_note(inspect.getsource(function).strip()[:100])
        raise


def shifted(x: float, n: int) -> Any:
    t, k, m = 0.0, 0, 0
    while 1 << k < n:
        for i in range(0, n, 1 << k):
            t += x * i
        k += 1
    for j in range(n):
        m |= 1 << (j % 8)
        m ^= j >> 1
    return t, k, m, n << 2, (n << k) >> 3


def test_shifts() -> None:
    for n in (1, 5, 16):
        check(shifted, (1.5, n))
    left, right = jitgrad.jit(lambda a, b: a << b), jitgrad.jit(lambda a, b: a >> b)
    for a in (0, 1, -1, 5, -7, 2**62, -(2**63), 2**63 - 1):
        for b in (0, 1, 31, 62, 63, 64, 200):
            assert right(a, b) == a >> b
            if -(2**63) <= a << b < 2**63:
                assert left(a, b) == a << b
            else:
                with pytest.raises(OverflowError):
                    left(a, b)
    for call in (left, right):
        with pytest.raises(ValueError, match="negative shift count"):
            call(5, -1)


class Parts:
    def __init__(self, a: Any) -> None:
        self.a = self.b = a
        self.me = self


def shared(x: float) -> Any:
    a = x * np.arange(3.0)
    v = a[1:]
    b = copy.deepcopy([a, a, {"a": a}, (a, [a]), v, v, a[:2], a[:2]])
    b[0][0] = 9.0
    b[4][0] = 7.0
    b[6][0] = 5.0
    p = copy.deepcopy(Parts(a))
    p.a[1] = 8.0
    q = copy.copy([a, [a]])
    q[0][2] = 6.0
    return a, b[1], b[2]["a"], b[3][0], b[3][1][0], b[4:], p.b, p.me is p, q[1][0]


def test_what_is_shared_stays_so_in_a_deep_copy() -> None:
    check(shared, (1.5,))
