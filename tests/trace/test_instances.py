"""Objects of a user's classes: how they are made, what their attributes mean, what NumPy's operands do to them."""

from __future__ import annotations

import abc
import enum
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

import jitgrad
from tests.trace.calling import assert_same, check, outcome


class Point:
    def __init__(self, x: Any) -> None:
        self.x = x


class ByNew:
    x: Any

    def __new__(cls, x: Any) -> Any:
        made = super().__new__(cls)
        made.x = 3.0 * x
        return made


class Other:
    def __new__(cls, x: Any) -> Any:
        return 3.0 * x

    def __init__(self, x: Any) -> None:
        raise RuntimeError("not for what is no instance")


class Both:
    def __new__(cls, *args: Any) -> Any:
        return object.__new__(cls)

    def __init__(self, x: Any) -> None:
        self.x = 2.0 * x


class Meta(type):
    def __call__(cls, *args: Any) -> Any:
        made = super().__call__(*args)
        made.x *= 5.0
        return made


class OfMeta(metaclass=Meta):
    def __init__(self, x: Any) -> None:
        self.x = x


class Returning:
    def __init__(self, x: Any) -> Any:
        return x


class Mode(enum.Enum):
    LINEAR = 1
    SQUARE = 2

    def of(self, x: Any) -> Any:
        return x**self.value


class Abstract(abc.ABC):
    @abc.abstractmethod
    def f(self, x: Any) -> Any: ...


class Shifted:
    """A descriptor that is written in Python."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = "_" + name

    def __get__(self, x: Any, owner: type | None = None) -> Any:
        return 7.0 if x is None else getattr(x, self.name) * 2.0

    def __set__(self, x: Any, value: Any) -> None:
        setattr(x, self.name, value + 1.0)

    def __delete__(self, x: Any) -> None:
        setattr(x, self.name, -1.0)


class WithShifted:
    v = Shifted()

    def __init__(self, x: Any) -> None:
        self.v = x


class Slots:
    __slots__ = ("a",)


class MoreThanSlots(Slots):
    pass


class Named(NamedTuple):
    a: Any
    b: float = 2.0


class Scaled:
    """What NumPy's numbers hand on to."""

    def __init__(self, x: Any) -> None:
        self.x = x

    def __rmul__(self, k: Any) -> Any:
        return self.x * k

    def __gt__(self, k: Any) -> Any:
        return k < self.x, k


class Sized(Scaled):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, k: int) -> Any:
        return (self.x, 1.0)[k]


class Shorter:
    """Python goes over all three items."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, k: int) -> float:
        if k == 3:
            raise IndexError(k)
        return float(k)


class Deferring(Scaled):
    __array_ufunc__ = None


class Keyed:
    def __init__(self, k: int) -> None:
        self.k = k

    def __hash__(self) -> int:
        return self.k

    def __eq__(self, other: Any) -> bool:
        return bool(self.k == other.k)


@dataclass
class NoKey:
    k: int


def shifted(x: Any) -> Any:
    h = WithShifted(x)
    h.v += 1.0
    first = h.v
    del h.v
    return first, h.v, WithShifted.v


def settings(x: Any) -> Any:
    p = Point(x)
    p.__dict__.update(y=3.0 * x)
    vars(p)["z"] = p.y + 1.0
    for _ in range(3):
        p.__dict__["x"] = p.x * 2.0
    if x > 1.0:
        p.__dict__["z"] = 0.5
    return p.x, p.y, p.z, vars(p), p.__dict__ == {"x": p.x, "y": p.y, "z": p.z}


def without(x: Any) -> Any:
    p = Point(x)
    p.y = x  # type: ignore[attr-defined]
    del p.x
    delattr(p, "y")
    return hasattr(p, "x"), vars(p)


def slots(x: Any) -> Any:
    s = MoreThanSlots()
    s.a, s.b = x, 2.0  # type: ignore[attr-defined]
    return s.a * s.b  # type: ignore[attr-defined]


def members(x: Any) -> Any:
    return Mode(2).of(x), Mode["LINEAR"].value, [m.name for m in Mode], Mode.LINEAR is Mode(1), len(Mode)


def scaled(x: Any) -> Any:
    one, half = np.float64(x), np.float32(0.5)
    return one * Scaled(x), one < Scaled(x), half * Scaled(x), one * Deferring(x), np.int64(2) * Scaled(x), 2 * Sized(x)


def namespace(x: Any) -> Any:
    n = SimpleNamespace(t=0.0, x=x)
    for _ in range(5):
        n.t += n.x
        n.x *= 0.5
    vars(n)["d"] = n.t + 1.0
    return n.d, vars(n)


SAME: list[Callable[[Any], Any]] = [
    lambda x: ByNew(x).x,
    lambda x: Other(x),
    lambda x: Both(x).x,
    lambda x: OfMeta(x).x,
    lambda x: Named(b=x, a=1.0),
    shifted,
    settings,
    without,
    slots,
    members,
    namespace,
    scaled,
]


@pytest.mark.parametrize("function", SAME)
def test_values(function: Callable[[Any], Any]) -> None:
    for x in (1.5, 0.5):
        assert_same(jitgrad.jit(function)(x), function(x), 1e-15)


def set_attribute(x: Any, name: str) -> None:
    setattr(x, name, 1.0)


def delete_attribute(x: Any, name: str) -> None:
    delattr(x, name)


WRONG: list[Callable[[Any], Any]] = [
    lambda x: Point(),  # type: ignore[call-arg]
    lambda x: Slots(x),  # type: ignore[call-arg]
    lambda x: Both(),
    lambda x: Returning(x),
    lambda x: Abstract(),  # type: ignore[abstract]
    lambda x: Mode(3),
    lambda x: SimpleNamespace(1, 2),  # type: ignore[call-arg]
    lambda x: SimpleNamespace({"a": x}).a,  # type: ignore[call-arg]
    lambda x: Slots().a,
    lambda x: set_attribute(Slots(), "b"),
    lambda x: vars(Slots()),
    lambda x: delete_attribute(Point(x), "y"),
    lambda x: {}[[x]],  # type: ignore[index]
    lambda x: {NoKey(1): x},
    lambda x: {(1, [x]): x},
    lambda x: {np.ones(2) * x: 1},
]


@pytest.mark.parametrize("function", WRONG)
def test_exceptions_of_one_version_or_all(function: Callable[[Any], Any]) -> None:
    got, want = outcome(jitgrad.jit(function), (1.5,)), outcome(function, (1.5,))
    assert got[0] == want[0]
    assert (type(got[1]), str(got[1])) == (type(want[1]), str(want[1]))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: np.ones(2) * Scaled(x), "JG216"),
        (lambda x: np.ones(2) < Scaled(x), "JG216"),
        (lambda x: np.float64(2.0) * Sized(x), "JG216"),
        (lambda x: {Keyed(1): x}[Keyed(1)], "JG237: Keyed"),
        (lambda x: vars(slotted(x)), "JG232"),
        (lambda x: [v * x for v in Shorter()], "JG237: iterating over a Shorter"),
    ],
)
def test_refusals(function: Callable[[Any], Any], words: str) -> None:
    with pytest.raises(jitgrad.UnsupportedError, match=words):
        jitgrad.jit(function)(1.5)


def slotted(x: Any) -> Any:
    s = MoreThanSlots()
    s.a = x
    return s


@pytest.mark.parametrize("base", [float, int, list, dict, str, tuple, np.ndarray])
def test_classes_that_are_more_than_attributes(base: type) -> None:
    derived = type("Derived", (base,), {})
    with pytest.raises(jitgrad.UnsupportedError, match=f"JG237: Derived: a class derived from {base.__name__}"):
        jitgrad.jit(lambda x: derived(x))(2.0)


def test_keys_that_are_pairs_of_run_time_numbers() -> None:
    def f(x: float, n: int) -> Any:
        memo = {(0, 0): x}
        memo[n, 0] = 2.0 * x
        return memo[0, 0], (n, 1) in memo, memo.get((n, 0)), len(memo)

    call = jitgrad.jit(f)
    for n in (0, 1, 0, 2):
        assert call(1.5, n) == f(1.5, n)


class Watching:
    def __init__(self, swallow: bool) -> None:
        self.swallow = swallow

    def __enter__(self) -> Watching:
        return self

    def __exit__(self, *args: Any) -> bool:
        return self.swallow


def watched(a: np.ndarray, k: int) -> Any:
    with Watching(True):
        a[k] = 1.0
    return a[0]


def finished(a: np.ndarray, k: int) -> Any:
    try:
        a[k] = 1.0
    finally:
        a[0] = -1.0
    return a[0]


@pytest.mark.parametrize("function", [watched, finished])
def test_what_a_program_does_at_an_exception_is_not_left_out(function: Callable[[np.ndarray, int], Any]) -> None:
    call = jitgrad.jit(function)
    for k in (0, 2):
        a, b = np.zeros(3), np.zeros(3)
        assert call(a, k) == function(b, k)
        np.testing.assert_array_equal(a, b)
    with pytest.raises(jitgrad.UnsupportedError, match="JG245: IndexError"):
        call(np.zeros(3), 5)


class Cell:
    def __init__(self, x: Any) -> None:
        self.x = x
        self.hits = 0


def _the_greatest_of_cells(x: np.ndarray, n: int) -> Any:
    cells = [Cell(v) for v in x]
    best = max(cells, key=lambda c: c.x)
    best.x = 0.5 * x[0]
    return sum(c.x**2 for c in cells), cells.index(best) if n == 0 else best is cells[0]


def _the_least_again_and_again(x: np.ndarray, n: int) -> Any:
    cells = [Cell(x[0]), Cell(x[1]), Cell(x[2])]
    for _ in range(n):
        worst = min(cells, key=lambda c: c.x)
        worst.x += 1.0
        worst.hits += 1
    return [(c.x, c.hits) for c in cells]


def _the_best_of_other_things(x: np.ndarray, n: int) -> Any:
    table = {"a": x[0], "b": x[1], "c": x[2]}
    name = max(table, key=table.get)  # type: ignore[arg-type]
    table[min(table, key=lambda k: table[k])] += 1.0
    rows = [[x[0], 1.0], [x[1], 2.0], [x[2], 3.0]]
    max(rows, key=lambda row: row[0])[1] *= x[0]
    shape = min([np.sin, np.cos, np.exp], key=lambda f: f(x[1]))
    return table[name] ** 2, list(table.values()), rows, max((v, k) for k, v in enumerate(x)), shape(x[0])


@pytest.mark.parametrize("function", [_the_greatest_of_cells, _the_least_again_and_again, _the_best_of_other_things])
def test_what_data_choose_by_a_key(function: Any) -> None:
    for x in ([0.5, 1.5, -0.75], [2.5, -1.0, 0.25], [-2.0, -1.0, 3.0], [1.0, 1.0, 0.5]):
        check(function, (np.array(x), 3))
