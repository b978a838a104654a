"""Python's builtins, methods of containers, operators of containers and objects: as CPython."""

# The rows are written as users write them.
# ruff: noqa: B009, B010, B905, C406, C408, C416, E711, E741, RUF005, RUF017, UP031

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import itertools
import operator
import random
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import jitgrad
from jitgrad.errors import UnsupportedError
from tests.trace.calling import check, traced_call

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


# --- statements


def _list_methods(x: float) -> Any:
    xs = [x]
    xs.append(2.0)
    xs.extend((3.0, x))
    xs += [5.0]
    xs.insert(0, -x)
    last = xs.pop()
    first = xs.pop(0)
    ys = xs.copy()
    ys.reverse()
    ys.remove(ys[0])
    zs = xs
    zs[0] = 7.0
    return xs, ys, last, first


def _dict_methods(x: float) -> Any:
    d = {"a": x}
    d["b"] = 2 * x
    d.update(c=3.0)
    d.update({"a": 1.0})
    e = d.copy()
    f = d.setdefault("z", x), d.setdefault("a", x), d.pop("b"), d.pop("q", None)
    del d["c"]
    return d, e, f, [k for k in d], d.popitem()


def _unpacking(x: float) -> Any:
    a, b = (x, 1.0)
    c, *d = [x, 2.0, 3.0]
    (e, f), g = (a, b), c
    return a, b, c, d, e, f, g


def _swap(x: Any) -> Any:
    x[0], x[1] = x[1], x[0]
    return x


def _held_iterator(x: float) -> Any:
    it = iter([x, 2.0, 3.0, 4.0])
    first = next(it)
    second = next(it)
    return first, second, list(it), next(it, None)


def _with_errstate(x: Any) -> Any:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(x)


def _rows_store(x: Any) -> Any:
    for row in x:
        row *= 2.0
        row[0] = 1.0
    return x


def _zip_store(x: Any, y: Any) -> Any:
    for k, (a, b) in enumerate(zip(x, y)):
        x[k] = a * b + k
    return x


def _set_attribute(x: float) -> Any:
    p = Point(x, 1.0)
    object.__setattr__(p, "y", 3.0)
    setattr(p, "x", p.x + 1)
    return p.x, p.y


def _sum_of_run_time_length(x: Any, n: int) -> Any:
    total = 0.0
    for k in range(n):
        total += x[k] * k
    return total


@pytest.mark.parametrize(
    ("function", "args"),
    [
        (_list_methods, (0.5,)),
        (_dict_methods, (0.5,)),
        (_unpacking, (0.5,)),
        (_swap, (V,)),
        (_held_iterator, (0.5,)),
        (_with_errstate, (V,)),
        (_rows_store, (M,)),
        (_zip_store, (V, V + 1)),
        (_set_attribute, (0.5,)),
        (_sum_of_run_time_length, (V, 4)),
        (_sum_of_run_time_length, (V, 7)),
    ],
)
def test_statements(function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    check(function, args)


def test_messages_with_run_time_parts() -> None:
    def f(x: float) -> float:
        if x < 0:
            raise ValueError(f"x is {x:.2f}, not {x!r}" + " or " + str(x) + "; %s" % "so")
        return x

    check(f, (0.5,))
    check(f, (-0.5,))


def _raises(function: Callable[..., Any], *args: Any) -> Any:
    with pytest.raises(UnsupportedError) as found:
        traced_call(function, *args)
    return found.value


@pytest.mark.parametrize(
    ("function", "code", "words"),
    [
        (lambda x: print(x), "JG238", "printing"),
        (lambda x: time.time() + x, "JG237", "time.time"),
        (lambda x: random.random() * x, "JG237", "random.random"),
        (lambda x: np.random.default_rng(0).normal() * x, "JG237", "np.random.default_rng"),
        (lambda x: id(x), "JG237", "id"),
        (lambda x: hash(x), "JG237", "hash"),
        (lambda x: round(x, 2), "JG237", "round"),
        (lambda x: sorted([(x, 1), (2 * x, 0)]), "JG236", "sorted"),
        (lambda x: eval("x"), "JG237", "eval"),
        (lambda x: max([x], [1], key=sum), "JG239", "choice"),
    ],
)
def test_refused_by_name(function: Callable[..., Any], code: str, words: str) -> None:
    found = _raises(function, 0.5)
    assert found.code == code
    assert words in str(found)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: [x, 2.0] * np.int64(2),
        lambda x: np.int64(2) * (x, 2.0),
        lambda x: np.float64(2.0) * [x],
        lambda x: (x, 1.0) * np.sum(np.ones(2)),
        lambda x: [x, 1.0] * np.bool_(True),
        lambda x: np.array([x, 2.0]) * [1.0, x] + np.float64(1.0) + [x, 2.0],
    ],
)
def test_numpy_scalars_repeat_sequences(function: Callable[..., Any]) -> None:
    """A whole one does, another raises; other operators make arrays of them."""
    check(function, (0.5,))


def test_the_first_item_of_a_list_that_grew_in_a_loop_can_be_taken_out() -> None:
    def moving(x: np.ndarray, width: int) -> Any:
        window: list[Any] = []
        means = []
        for v in x:
            window.append(v * v)
            if len(window) > width:
                window.pop(0)
            means.append(sum(window) / len(window))
        return np.array(means) @ x

    def emptied(x: np.ndarray, width: int) -> Any:
        rest = []
        for row in x:
            rest.append(row)
        total = 0.0
        for k in range(width):
            total = total + (k + 1.0) * rest.pop(0)
        return total

    x = np.array([1.0, -2.0, 3.0, 0.5, -1.5])
    compiled = [jitgrad.value_and_grad(f) for f in (moving, emptied)]
    for width in (1, 2, 3, 5):
        for f, both in zip((moving, emptied), compiled, strict=True):
            value, gradient = both(x, width)
            np.testing.assert_allclose(value, f(x, width), rtol=1e-14)
            step = np.array([0.5, 1.0, -0.3, 0.7, 0.2]) * 1e-6
            slope = (f(x + step, width) - f(x - step, width)) / 2.0
            np.testing.assert_allclose(gradient @ step, slope, rtol=1e-6)
    with pytest.raises(IndexError, match="pop from empty list"):
        compiled[1](x, 6)
    assert [both.stats()["compiled"] for both in compiled] == [1, 1]
