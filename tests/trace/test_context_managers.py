"""Functions under `contextlib.contextmanager`: entered, left on every way, refused where an exception may meet them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

import jitgrad


@contextmanager
def doubled(x: np.ndarray) -> Iterator[np.ndarray]:
    y = x * 2
    yield y


@contextmanager
def temporarily(a: np.ndarray, k: int, v: float) -> Iterator[np.ndarray]:
    old = a[k]
    a[k] = v
    try:
        yield a
    finally:
        a[k] = old


@contextmanager
def with_branches(x: np.ndarray, up: bool) -> Iterator[np.ndarray]:
    y = x * 2 if up else x * 3
    for _ in range(2):
        y = y + 1
    if x[0] > 2:
        y = y * 10
    yield y
    if x[0] > 2:
        y[0] = 7.0
    for k in range(len(x)):
        x[k] += y[k]


@contextmanager
def yields_twice(x: np.ndarray) -> Iterator[np.ndarray]:
    yield x
    yield x


class Simulation:
    """With methods that are context managers."""

    def __init__(self) -> None:
        self.level: Any = 0
        self.log: list[str] = []
        self.stack: list[Any] = []

    @contextmanager
    def section(self, name: str) -> Iterator[Simulation]:
        """Count and log."""
        self.level += 1
        self.log.append(name)
        yield self
        self.level -= 1

    @contextmanager
    def at_level(self, v: Any) -> Iterator[Any]:
        """Restore in a `finally`."""
        old = self.level
        self.level = v
        try:
            yield v * 2
        finally:
            self.level = old

    @contextmanager
    def pushed(self, v: Any) -> Iterator[int]:
        """Hold an item of a list."""
        self.stack.append(v)
        yield len(self.stack)
        self.stack.pop()


def plain(x: np.ndarray) -> Any:
    with doubled(x) as y:
        return (y**2).sum()


def nested_sections(x: np.ndarray) -> Any:
    s = Simulation()
    with s.section("a") as t:
        r = x.sum() * t.level
        with s.section("b"):
            r = r * s.level
    return r, s.level, s.log


def restored(x: np.ndarray) -> Any:
    s = Simulation()
    with s.at_level(3) as v:
        r = x * v + s.level
    return r, s.level


def stored_for_a_time(x: np.ndarray) -> Any:
    with temporarily(x, 0, 9.0) as a:
        t = a.sum()
    return t + x[0]


def in_a_loop(x: np.ndarray) -> Any:
    t = 0.0
    for k in range(3):
        with doubled(x) as y:
            t += y[k]
    return t


def on_either_path(x: np.ndarray) -> Any:
    s = Simulation()
    if x[0] > 0:
        with s.section("p"):
            r = x[0] * s.level
    else:
        with s.section("q"):
            r = x[1]
    return r, s.level


def left_by_break_and_return(x: np.ndarray) -> Any:
    for k in range(len(x)):
        with doubled(x) as y:
            if y[k] > 3:
                return y[k]
            if y[k] < 0:
                break
    return 0.0


def left_by_return(x: np.ndarray) -> Any:
    s = Simulation()
    for k in range(len(x)):
        with s.at_level(k) as v:
            if x[k] > 2:
                return v, s.level
    return -1, s.level


def left_by_continue(x: np.ndarray) -> Any:
    t, k = 0.0, 0
    while t < 30 and k < 10:
        with with_branches(x, True) as y:
            t += abs(y).sum()
            k += 1
            if k == 3:
                continue
            t += 1
    return t, k, x


def two_at_once(x: np.ndarray) -> Any:
    with np.errstate(all="ignore"), doubled(x) as y, doubled(y) as z:
        return np.sqrt(abs(z))


def what_is_yielded_is_stored_to(x: np.ndarray) -> Any:
    with doubled(x) as y:
        y[0] = 5.0
        r = y.sum()
    return r, y


def with_a_loop_inside(x: np.ndarray) -> Any:
    with doubled(x) as y:
        for k in range(len(x)):
            y[k] += k
            if y[k] > 3:
                break
        else:
            y = y * 2
    return y


def branches_in_the_manager(x: np.ndarray) -> Any:
    with with_branches(x, False) as y:
        if x[1] > 0:
            return y.sum()
        t = y[0]
    return t


def nested_stores(x: np.ndarray) -> Any:
    with doubled(x) as y:
        with with_branches(y, True) as z:
            z[0] = 1.0
            r = z.sum() + y.sum()
        r += y.sum()
    return r


def stores_to_the_argument(x: np.ndarray) -> Any:
    s = Simulation()
    with s.section("a"):
        with s.at_level(5):
            x *= s.level
        x += s.level
    return s.level, len(s.log)


def items_of_a_list(x: np.ndarray) -> Any:
    s = Simulation()
    out = []
    with s.pushed(1.0) as a:
        for v in x:
            if v > 0:
                with s.pushed(v) as b:
                    out.append(sum(s.stack) * b)
            else:
                out.append(a * 1.0)
    return out, len(s.stack)


def never_left(x: np.ndarray) -> Any:
    return doubled(x).__enter__()


def two_yields(x: np.ndarray) -> Any:
    with yields_twice(x) as y:
        return y * 2


def made_inside(x: np.ndarray) -> Any:
    @contextmanager
    def tripled(x: np.ndarray) -> Iterator[np.ndarray]:
        yield x * 3

    with tripled(x) as y:
        return y.sum()


FUNCTIONS = [
    plain, nested_sections, restored, stored_for_a_time, in_a_loop, on_either_path, left_by_break_and_return,
    left_by_return, left_by_continue, two_at_once, what_is_yielded_is_stored_to, with_a_loop_inside,
    branches_in_the_manager, nested_stores, stores_to_the_argument, items_of_a_list, never_left, two_yields,
    made_inside,
]  # fmt: skip
INPUTS = [np.array([1.0, -2.0, 3.0]), np.array([3.0, -6.0, 9.0]), np.array([-1.0, 2.0, -3.0])]


def outcome(f: Callable[..., Any], *args: Any) -> Any:
    try:
        return f(*args)
    except jitgrad.JitgradError:
        raise
    except Exception as exception:
        return exception


@pytest.mark.parametrize("f", FUNCTIONS)
def test_as_in_python(f: Callable[..., Any]) -> None:
    compiled = jitgrad.jit(f)
    for x in INPUTS:
        ours, theirs = copy.deepcopy(x), copy.deepcopy(x)
        assert repr(outcome(compiled, ours)) == repr(outcome(f, theirs))
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("f", [f for f in FUNCTIONS if f not in (left_by_return, two_yields, stores_to_the_argument)])
def test_derivatives(f: Callable[..., Any]) -> None:
    def first(x: np.ndarray) -> Any:
        made = f(x)
        made = made[0] if isinstance(made, tuple) else made
        return sum(made) if isinstance(made, list) else np.sum(made * 1.0)

    h = 1e-6
    for x in [x + 0.1 for x in INPUTS]:
        steps = h * np.eye(3)
        want = [(first(x + s) - first(x - s)) / (2 * h) for s in steps]
        np.testing.assert_allclose(jitgrad.grad(first)(x), want, rtol=1e-6, atol=1e-6)


def raising(x: np.ndarray) -> Any:
    with doubled(x) as y:
        if x[0] > 2:
            raise ValueError("too large")
    return y


def yielding_in_a_branch(x: np.ndarray) -> Any:
    @contextmanager
    def either(x: np.ndarray) -> Iterator[np.ndarray]:
        if x[0] > 0:
            yield x
        else:
            yield x * 2

    with either(x) as y:
        return y.sum()


def yielding_in_a_loop(x: np.ndarray) -> Any:
    @contextmanager
    def looping(x: np.ndarray) -> Iterator[np.ndarray]:
        for v in x:
            yield v * 2

    with looping(x) as y:
        return y


def sharing_variables(x: np.ndarray) -> Any:
    @contextmanager
    def counting(x: np.ndarray) -> Iterator[int]:
        n = 0

        def more() -> None:
            nonlocal n
            n += 1

        more()
        yield n

    with counting(x) as n:
        return x * n


def entered_twice(x: np.ndarray) -> Any:
    manager = doubled(x)
    with manager as y:
        a = y.sum()
    with manager as y:
        a += y.sum()
    return a


@pytest.mark.parametrize(
    "f, code",
    [
        (yielding_in_a_branch, "JG203"),
        (yielding_in_a_loop, "JG203"),
        (sharing_variables, "JG203"),
        (entered_twice, "JG248"),
    ],
)
def test_refused(f: Callable[..., Any], code: str) -> None:
    with pytest.raises(jitgrad.UnsupportedError, match=code):
        jitgrad.jit(f)(INPUTS[0])


def test_an_exception_that_the_manager_would_see_is_refused_then() -> None:
    compiled = jitgrad.jit(raising)
    np.testing.assert_array_equal(compiled(INPUTS[0]), raising(INPUTS[0]))
    with pytest.raises(jitgrad.UnsupportedError, match="JG245"):
        compiled(INPUTS[1])
