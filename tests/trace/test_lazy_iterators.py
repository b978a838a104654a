"""`filter`, `map`, `zip` and `itertools` ask for an item when it is asked of them: as Python, or refused.

What they go over, or what their functions read, changes before or between the items.
"""

# Written as users write them.
# ruff: noqa: C417

from __future__ import annotations

import collections
import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.errors import UnsupportedError
from tests.trace.calling import assert_same, check, outcome

WAYS: dict[str, Callable[[Any], Any]] = {
    "iter": iter,
    "enumerate": enumerate,
    "zip": lambda xs: zip(range(9), xs, strict=False),
    "zip_of_known": lambda xs: zip([1, 2, 3], xs, strict=False),
    "map": lambda xs: map(lambda v: v, xs),
    "map_of_two": lambda xs: map(lambda k, v: v * k, [1, 2, 3], xs),
    "filter": lambda xs: filter(lambda v: True, xs),
    "filterfalse": lambda xs: itertools.filterfalse(lambda v: False, xs),
    "takewhile": lambda xs: itertools.takewhile(lambda v: True, xs),
    "dropwhile": lambda xs: itertools.dropwhile(lambda v: False, xs),
    "chain": lambda xs: itertools.chain(xs, [1.0]),
    "from_iterable": lambda xs: itertools.chain.from_iterable([xs]),
    "islice": lambda xs: itertools.islice(xs, 2),
    "accumulate": lambda xs: itertools.accumulate(xs),
    "pairwise": lambda xs: itertools.pairwise(xs),
    "starmap": lambda xs: itertools.starmap(lambda k, v: v, zip(range(9), xs, strict=False)),
    "zip_longest": lambda xs: itertools.zip_longest(range(2), xs),
    "compress": lambda xs: itertools.compress(xs, [1, 1, 0, 1]),
    "product": lambda xs: itertools.product(xs),
    "generator": lambda xs: (v for v in xs),
    "generator_of_generators": lambda xs: (v for q in (xs,) for v in q),
    "map_of_enumerate": lambda xs: map(lambda p: p[1], enumerate(xs)),
    "sorted": lambda xs: sorted(xs),
}


def last(v: Any) -> Any:
    while isinstance(v, tuple):
        v = v[-1]
    return v


def changed_between(x: Any, way: Any) -> Any:
    xs, t = [x, 2.0, 3.0, 4.0], 0.0
    for v in way(xs):
        t += 1.0 + last(v)
        xs[2], xs[3] = t, t * t
    return t


def changed_before(x: Any, way: Any) -> Any:
    xs, t = [x, 2.0, 3.0, 4.0], 0.0
    it = way(xs)
    xs[2], xs[0] = 7 * x, 9.0
    for v in it:
        t += last(v) ** 2
    return t


def grown_before(x: Any, way: Any) -> Any:
    xs, t = [x, 2.0, 3.0, 4.0], 0.0
    it = way(xs)
    xs.append(7 * x)
    for v in it:
        t += last(v) ** 2
    return t


def grown_between(x: Any, way: Any) -> Any:
    xs, t = [x, 2.0, 3.0, 4.0], 0.0
    for v in way(xs):
        t += last(v)
        if len(xs) < 6:
            xs.append(t)
    return t


def array_changed_between(x: Any, way: Any) -> Any:
    xs, t = np.array([x, 2.0, 3.0, 4.0]), 0.0
    for v in way(xs):
        t += last(v)
        xs[2], xs[3] = t, t * t
    return t


def array_changed_before(x: Any, way: Any) -> Any:
    xs, t = np.array([x, 2.0, 3.0, 4.0]), 0.0
    it = way(xs)
    xs *= 2.0
    for v in it:
        t += last(v) ** 2
    return t


def acting(x: Any, way: Any) -> Any:
    log: list[int] = []

    def items() -> Iterator[Any]:
        for k in range(3):
            log.append(k)
            yield k * x

    t = 0.0
    for v in way(items()):
        t += last(v) * len(log)
    return t


def function_of_what_changes(x: Any, way: Any) -> Any:
    factor, t = [1.0], 0.0
    for v in map(lambda v: last(v) * factor[0], way([x, 2.0, 3.0])):
        t += v
        factor[0] += 1.0
    return t


PROGRAMS = [
    changed_between,
    changed_before,
    grown_before,
    grown_between,
    array_changed_between,
    array_changed_before,
    acting,
    function_of_what_changes,
]


@pytest.mark.parametrize("program", PROGRAMS)
def test_as_in_python_or_refused(program: Callable[..., Any]) -> None:
    right = 0
    for way in WAYS.values():

        def f(x: float, way: Any = way) -> Any:
            return program(x, way)

        try:
            got = outcome(jitgrad.jit(lambda x: f(x)), (1.5,))
        except UnsupportedError as refused:
            assert refused.code in ("JG240", "JG247", "JG249", "JG237")
            continue
        want = outcome(f, (1.5,))
        assert got[0] == want[0]
        if want[0] == "value":
            assert_same(got[1], want[1], 1e-14)
            right += 1
    assert right or program is function_of_what_changes


class Scaled:
    def __init__(self) -> None:
        self.k = 1.0

    def __call__(self, v: Any) -> Any:
        return v * self.k

    def __add__(self, v: Any) -> Any:
        return v * self.k

    def __getitem__(self, v: Any) -> Any:
        return v * self.k

    def times(self, v: Any) -> Any:
        return v * self.k


USES: list[Callable[..., Any]] = [lambda f, v: f(v), lambda f, v: f + v, lambda f, v: f[v], lambda f, v: f.times(v)]


@pytest.mark.parametrize("use", USES, ids=["call", "add", "item", "method"])
def test_objects_that_change_between_items_of_a_generator(use: Any) -> None:
    def items(f: Any, xs: Any) -> Iterator[Any]:
        for v in xs:
            yield use(f, v)

    def program(x: float, changes: bool) -> Any:
        f, t = Scaled(), 0.0
        for v in items(f, [x, 2.0, 3.0]):
            t += v
            if changes:
                f.k += 1.0
        return t

    check(lambda x: program(x, False), (1.5,))
    with pytest.raises(UnsupportedError, match="JG247"):
        jitgrad.jit(lambda x: program(x, True))(1.5)


def sizes(kind: Any) -> Callable[[Any], Any]:
    def f(x: Any) -> Any:
        s, t = kind([1.0, 2.0]), 0.0
        for v in s:
            t += v * x
            s.add(t) if isinstance(s, set) else s.append(t)
        return t

    return f


@pytest.mark.parametrize("kind", [set, collections.deque])
def test_containers_that_change_their_size_raise(kind: Any) -> None:
    got, want = outcome(jitgrad.jit(sizes(kind)), (1.5,))[1], outcome(sizes(kind), (1.5,))[1]
    assert (type(got), str(got)) == (type(want), str(want)) == (RuntimeError, str(want))


def by_data(x: float) -> Any:
    a = np.array([x, -1.0, 3.0, 2.0])
    return (
        sum(filter(lambda v: v > 0, a)),
        sum(itertools.takewhile(lambda v: v > 0, a)),
        sum(itertools.dropwhile(lambda v: v > 0, a)),
        sum(1.0 for _ in itertools.filterfalse(lambda v: v > 1, a)),
        sum(v * k for k, v in enumerate(filter(None, [x, 0.0, 2.0]))),
        max(itertools.accumulate(a)),
        list(itertools.chain.from_iterable([[x], (2.0,)])),
    )


def when_asked(x: float) -> Any:
    log: list[Any] = []
    noted, kept = map(log.append, [1, 2, 3]), filter(lambda v: log.append(v) or v > 1, [1, 2, 3])
    counts = [len(log)]
    for it in (noted, kept):
        counts.append(len(list(it)))
        counts.append(len(log))
    return counts, x


@pytest.mark.parametrize("function", [by_data, when_asked])
def test_values(function: Callable[..., Any]) -> None:
    check(function, (1.5,))


# --- what a function of Python's holds, while it calls one of the user's that has loops


def total(a: Any) -> Any:
    s = 0.0
    for i in range(len(a)):
        s += a[i]
    return s


def added(a: Any, b: Any) -> Any:
    c = a.copy()
    for i in range(len(a)):
        c[i] += b[i]
    return c


def doubled(a: Any) -> Any:
    a *= 2.0
    top = a[0]
    for i in range(len(a)):  # the array is not used any more
        top += 0.0 * i
    return top


def totals(x: Any) -> Iterator[Any]:
    a = x * np.ones(3)
    for k in range(3):
        yield total(a) * k


class Row:
    def __init__(self, a: Any) -> None:
        self.a = a

    def __add__(self, other: Row) -> Row:
        return Row(added(self.a, other.a))

    def __radd__(self, other: Any) -> Row:
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Row) and len(self.a) == len(other.a) and total(self.a) is not None

    __hash__ = None  # type: ignore[assignment]


def held(x: float) -> Any:
    one = np.ones(3)
    rows = Row(x * one), Row(np.ones(2))
    return (
        functools.reduce(added, [x * np.ones(3), np.ones(3), np.zeros(3)]).sum(),
        max([x * np.ones(3), np.ones(3), np.zeros(3)], key=total)[0],
        max([x * np.ones(3), np.ones(3), np.zeros(3)], key=doubled)[0],
        sum(a * b.sum() for a, b in zip(totals(x), [x * np.ones(2), np.ones(2), np.ones(2)], strict=True)),
        sum(a * b.sum() for a, b in itertools.product(totals(x), [x * np.ones(2), np.ones(2), np.ones(2)])),
        sum(a * b.sum() for a, b in zip(map(total, [x * np.ones(3), one]), [x * np.ones(2), one], strict=True)),
        sum(v.sum() for v in itertools.accumulate([x * np.ones(3), np.ones(3), np.zeros(3)], added)),
        sum([Row(x * np.ones(3)), Row(np.ones(3)), Row(np.ones(3))]).a.sum(),
        (Row(x * np.ones(3)), Row(x * np.ones(2))) == rows,
        Row(x * np.ones(3)) in [Row(np.ones(2)), Row(np.ones(3))],
        sum(itertools.chain(totals(x), [x, 1.0], totals(x))),
    )


def test_what_is_held_while_a_loop_runs() -> None:
    check(held, (1.5,))


# --- functions of items that change what the program sees, and exceptions of items that nobody may ask for


def folds(x: float, a: Any) -> Any:
    log, c = np.zeros(1), 0

    def counted(v: Any) -> Any:
        nonlocal c
        c += 1
        log[0] += x
        return v * log[0]

    made = (
        sum(map(counted, a)),
        max(map(counted, a)),
        max(a, key=counted),
        min([x, 2.0, 3.0], key=counted),
        any(map(lambda v: counted(v) > 2, a)),
        all(map(lambda v: counted(v) < 2, a)),
    )
    return made, log[0], c


def test_folds_of_functions_that_change_something() -> None:
    for n in (3, 4, 5):
        check(folds, (1.5, np.arange(float(n))))


def elements(a: Any) -> Iterator[Any]:
    k = 0
    while k < 9:
        yield a[k]
        k += 1


def left_before(x: float, a: Any) -> Any:
    t = 0.0
    for v in elements(a):
        t += v * x
        if t > 3:
            break
    return t


def endless(x: float) -> Iterator[Any]:
    while True:
        yield x
        x = x / 2


ENDS: list[Callable[..., Any]] = [
    lambda x: any(1.0 / v > 0.4 for v in [x, 0.0]),
    lambda x: any(1.0 / v > 0.4 for v in np.array([x, 0.0]).tolist()),
    lambda x: left_before(x, [x, 2.0, 3.0]),
    lambda x: left_before(x, np.array([x, 2.0, 3.0])),
    lambda x: [v for v, _ in zip(endless(x), range(3), strict=False)],
    lambda x: next(v for v in endless(x) if v < 0.1),
]


@pytest.mark.parametrize("function", ENDS)
def test_a_generator_that_python_would_not_have_run_to_its_end(function: Callable[..., Any]) -> None:
    with pytest.raises(UnsupportedError):
        jitgrad.jit(function)(1.5)


def test_exceptions_where_all_items_are_taken() -> None:
    def f(x: float, a: Any) -> Any:
        return sum(v * x for v in elements(a)), 1.0

    got, want = outcome(jitgrad.jit(f), (1.5, np.ones(3)))[1], outcome(f, (1.5, np.ones(3)))[1]
    assert (type(got), str(got)) == (type(want), str(want))
    check(f, (1.5, np.ones(9)))
    check(lambda x: any(v > 2 for v in [x, 3.0]), (1.5,))
    check(lambda x: any(map(lambda v: 1.0 / float(v) > 0.4, np.array([x, 0.0]))), (1.5,))


def failing(x: float) -> Iterator[Any]:
    yield x
    yield 2 * x
    yield math.sqrt(1.0 - x)


def first_by_a_return(x: float) -> Any:
    for v in failing(x):
        return v
    return 0.0


def first_by_a_break(x: float) -> Any:
    for u, v in itertools.pairwise(failing(x)):
        t = u * v
        break
    return t


def first_two(x: float) -> Any:
    return sum(itertools.islice(failing(x), 2))


def first_of_a_branch(x: float) -> Any:
    if x > 0.0:
        for v in failing(x):
            return v
    return -1.0


@pytest.mark.parametrize("function", [first_by_a_return, first_by_a_break, first_two, first_of_a_branch])
def test_a_generator_that_raises_behind_what_is_asked_for(function: Callable[..., Any]) -> None:
    compiled = jitgrad.jit(function)
    assert compiled(0.5) == function(0.5)
    with pytest.raises(UnsupportedError) as found:
        compiled(1.5)
    assert found.value.code == "JG249"


def test_no_more_items_are_made_than_are_asked_for() -> None:
    def f(a: np.ndarray, n: int) -> Any:
        few = sum(itertools.islice(map(lambda v: math.sqrt(v), a), 2))
        return few + sum(itertools.islice(a[:n], 1, 3)) + sum(itertools.islice(range(n), 1, None, 2))

    compiled = jitgrad.jit(f)
    a = np.array([1.0, 2.0, -1.0, 3.0])
    for n in (4, 2, 1, 0):
        assert compiled(a, n) == f(a, n)
