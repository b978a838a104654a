"""A call that fails under `jit` leaves the caller's arrays as the program, run by Python, leaves them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.options import OPTIONS

CASES: list[tuple[Callable[..., Any], list[tuple[Any, ...]]]] = []
SHARED = np.arange(1.0, 5.0)


def case(*calls: tuple[Any, ...]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def enter(f: Callable[..., Any]) -> Callable[..., Any]:
        CASES.append((f, list(calls)))
        return f

    return enter


def ramp(*shape: int) -> np.ndarray:
    return np.arange(1.0, 1.0 + np.prod(shape)).reshape(shape)


@case((ramp(3), ramp(4, 3), 2), (ramp(3), ramp(4, 3), 9))
def whole_array(a, m, k):
    a += 1.0
    m[k] = a
    return 1.0


@case((ramp(4), 1), (ramp(4), 3), (ramp(4), 4))
def between_two_updates(a, k):
    a += 1.0
    b = a[k]
    a *= 2.0
    c = a[k + 1]
    return b + c


@case((ramp(4), 1.0), (ramp(4), -1.0))
def after_a_branch_gave_a_copy_of_it_a_name(a, x):
    u = a.copy()
    if x > 0:
        u = np.sin(u)
    w = u if x > -2 else np.cos(u)
    a[1] *= 3.0
    if w[1] > -1.0:
        raise RuntimeError("decided by data")
    return w.copy()


@case((ramp(4), 1.0, 0), (ramp(4), 1.0, 1), (ramp(4), -1.0, 1))
def after_a_loop_gave_it_another_name(a, x, n):
    v = np.zeros(4)
    c = 0
    while c < 3 and n > 0:
        c += 1
        v[1] = a[0]
        v = a
    a *= 2.0
    if x > 0:
        raise RuntimeError("too large")
    return v.copy()


@case((ramp(3), 1), (ramp(3), 3))
def one_element_twice(a, k):
    a[0] = 1.0
    b = a[k]
    a[0] = 2.0
    return b


@case((ramp(3), 1.0), (ramp(3), -1.0))
def in_the_branch_that_raises(a, x):
    a[0] = 5.0
    if x > 0:
        a[1] = 7.0
        raise ValueError("too large")
    a[2] = 1
    return a.sum()


@case((ramp(4), 3, 1), (ramp(4), 3, 2), (ramp(4), 0, 9))
def in_a_loop(a, n, k):
    for i in range(n):
        a *= 2.0
        a[k + i] += 1
    return 0.0


@case((ramp(5), 5, 2), (ramp(5), 7, 0), (ramp(5), 5, 9))
def in_a_loop_with_a_branch(a, n, k):
    for i in range(n):
        a[i] = 3.0
        if a[k] > 5:
            a[0] = -1.0
            raise RuntimeError("stop")
    return 0.0


@case((ramp(3, 3), 2), (ramp(3, 3), 11))
def through_views(a, k):
    a.T[:] = a + 1
    a.reshape(-1)[k] = 5
    return 1.0


@case((ramp(5), 2), (ramp(5), 8))
def by_masks_and_integers(a, k):
    a[np.array([0, 1])] = 9.0
    a[a > 8.5] = 4.0
    return a[k]


@case((ramp(5), ramp(5)[::-1].copy(), 1.0, 2), (ramp(5), ramp(5), 1.0, 8), (ramp(5), ramp(5), -1.0, 8))
def of_one_of_two(a, b, c, k):
    t = a if c > 0 else b
    t += 1
    t[0] = 9
    t.sort()
    return a[k]


@case((ramp(3), 1))
def always(a, k):
    a += k
    raise ValueError("always")


@case((ramp(5), 0, 1.0), (ramp(5), 1, 1.0), (ramp(5), 1, -1.0))
def on_every_way_out_of_a_branch(a, k, x):
    if x < 0.0:
        raise RuntimeError("zero")
    a[2:4] *= 3.0
    if x < 2.0:
        a[1] = x
        if k == 0:
            raise RuntimeError("one")
        raise RuntimeError("two")
    raise RuntimeError("three")


@case((ramp(3), 1), (ramp(3), 5))
def always_but_something_else_first(a, k):
    a[k] += 1
    raise ValueError("always")


@case((ramp(3), np.array(2.0), 1), (ramp(3), np.array(2.0), 7))
def of_rank_0(a, z, k):
    z += 1
    z[...] = z * 2
    return a[k]


@case((ramp(3), 1), (ramp(3), 7))
def by_functions(a, k):
    np.sqrt(a * a, out=a)
    a.fill(3)
    np.add.at(a, [0, 0], 1.0)
    np.copyto(a, a + 1)
    return a[k]


@case((ramp(3), 1), (ramp(3), 7))
def while_the_old_values_are_needed(a, k):
    old = a.copy()
    a += 1
    a[1:] = old[:-1]
    b = a[k]
    return b, old * 2, old


@case((ramp(6), 3, 2), (ramp(6), 4, 4), (ramp(6), 0, 2))
def while_the_old_values_are_needed_in_a_loop(a, n, k):
    before = a.copy()
    for i in range(n):
        previous = a.copy()
        a[1:-1] += 0.5 * (previous[2:] - previous[:-2]) + before[0]
        a[i + k] += before[i]
    return a[0] - before[0]


@case((ramp(4), 20.0), (ramp(4), 1.0))
def before_a_loop_that_only_reads(a, x):
    a -= 1.0
    k = 0
    while k < 3 and a[3] < 0.5:
        k += 1
    if a[2] < x:
        raise ValueError("after a loop")
    return k


@case((ramp(4), 20.0, 0.0), (ramp(4), 20.0, 3.0), (ramp(4), 1.0, 3.0), (ramp(4), 20.0, 9.0))
def in_loops_that_are_left(a, x, y):
    for i in range(3):
        for j in range(4):
            if a[j] > y:
                a[i] = y
                break
            a[j] += 1.0
        else:
            a[i] -= 0.5
        if a[0] > 1e3:
            return a[0]
    if a[2] < x:
        raise ValueError("after loops")
    return a[1]


@case((ramp(4), 0.0), (ramp(4), 2.0))
def after_a_loop_that_always_fails(a, x):
    items = []
    k = 0
    while k < 3 and x < len(items):
        k += 1
    a[1] = a[2] - items[-1]


@case((ramp(4), ramp(4) * 2, 3, 0), (ramp(4), ramp(4) * 2, 3, 2))
def of_exchanged_arrays(u, v, n, k):
    for i in range(n):
        v[1:] = u[1:] + 0.5 * u[:-1]
        v[k + i] += 1.0
        w = v.copy()
        v[:] = u
        u[:] = w
    return u.sum()


def _double(a, k):
    a *= 2.0
    return a[k]


@case((ramp(3), 2), (ramp(3), 3))
def in_a_helper(a, k):
    a[0] = 4.0
    return _double(a, k) + 1.0


@case((ramp(3), 2, 0.5), (ramp(3), 2, 0.0), (ramp(3), 3, 0.0))
def before_a_division(a, k, x):
    a[0] = k
    y = 1.0 / x
    a[1] = y
    return a[k]


@case((ramp(4), 1.0), (ramp(4), -1.0))
def by_an_assertion_that_is_certain(a, x):
    a[2] = 7.0
    if not (x > 0 and len(a) == 3):
        raise AssertionError("a condition")  # pytest rewrites `assert`
    return x


@case((ramp(4), 1.0), (ramp(4), 9.0), (ramp(4), -1.0))
def on_a_path_that_always_fails(a, x):
    a[0:2] = x
    if a[3] > x:
        a[1] = 4.0
    else:
        a[3] *= 2.0
        if a[2] < x - 5.0:
            raise ValueError("y")
        raise RuntimeError("x")
    return a[1] / math.sqrt(x)


@case((ramp(4)[::-1], 9.0, 2), (ramp(4)[::-1], -9.0, 4), (ramp(4), 3.5, 4), (ramp(4), 3.5, 1))
def on_a_path_in_a_loop_that_always_fails(a, x, n):
    v = a[::-1]
    for i in range(n):
        v[i] += x
        if a[i] > 4.0 + i:
            for j in range(n):
                v[j] -= 1.0
                if a[j] < i:
                    a[0] = 3.0
                    if i > 1:
                        raise ValueError("A")
                    raise RuntimeError("B")
        elif a[1] < -3.0:
            v[1:] = a[0]
            raise ValueError(int(a[9 - n]))
        else:
            a[1] += 1.0
    return n


@case((2,), (7,))
def of_an_array_read_from_outside(k):
    SHARED[0] += 1.0
    x = SHARED[k]
    SHARED[1] = x
    return x


def outcome(f: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, list[np.ndarray]]:
    """Return what a call gives or raises, and its arrays afterwards."""
    SHARED[:] = ramp(4)
    given = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
    try:
        made = f(*given)
    except (ArithmeticError, AssertionError, IndexError, RuntimeError, ValueError) as e:
        made = (type(e), str(e).split(" with")[0])
    return made, [a for a in (*given, SHARED.copy()) if isinstance(a, np.ndarray)]


@pytest.mark.parametrize("interpreted", [False, True])
@pytest.mark.parametrize(("f", "calls"), CASES, ids=[f.__name__ for f, _ in CASES])
def test_arrays_after_a_failure(
    f: Callable[..., Any], calls: list[tuple[Any, ...]], interpreted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OPTIONS, "interpret", interpreted)
    compiled = jitgrad.jit(f)
    for args in calls:
        (want, arrays), (got, changed) = outcome(f, args), outcome(compiled, args)
        assert str(got) == str(want)
        for before, after in zip(arrays, changed, strict=True):
            assert np.array_equal(before, after)


def test_a_failing_path_alone_makes_an_array_an_output() -> None:
    """A store on a path that raises needs a writeable array as any other."""

    def f(a, x):
        if x > 0:
            a[0] = 1.0
            raise ValueError("no")
        return a.sum()

    a, b = ramp(3), ramp(3)
    a.flags.writeable = False
    compiled = jitgrad.jit(f)
    for _ in range(2):
        assert compiled(a, -1.0) == 6.0
        assert compiled(b, -1.0) == 6.0
        with pytest.raises(ValueError, match="assignment destination is read-only"):
            compiled(a, 1.0)
        with pytest.raises(ValueError, match="no"):
            compiled(b, 1.0)
    assert a[0] == 1.0 and compiled.stats()["compiled"] == 2


def test_one_of_two_arrays_is_read_only() -> None:
    def f(a, b, x):
        t = a if x > 0 else b
        t *= 2.0
        return a.sum() + b.sum()

    a, b = ramp(3), ramp(3)
    b.flags.writeable = False
    compiled = jitgrad.jit(f)
    assert compiled(a, b, 1.0) == 18.0
    with pytest.raises(ValueError, match="output array is read-only"):
        compiled(a, b, -1.0)
    assert a.sum() == 12.0


def certain_after_one_that_data_decide(a, x):
    b = a * math.log(x)
    return b[len(a)] * b


def certain_in_a_loop(a, x):
    found = []
    for _ in range(2):
        a = a * math.sqrt(x)
        a = a * found[-1]
    return a


def raised(run: Callable[[], Any]) -> tuple[type, str]:
    with pytest.raises(Exception) as found:
        run()
    return found.type, str(found.value)


@pytest.mark.parametrize("f", [certain_after_one_that_data_decide, certain_in_a_loop])
def test_derivatives_raise_the_first_exception_though_a_later_one_is_certain(f: Callable[..., Any]) -> None:
    def total(a: Any, x: Any) -> Any:
        return f(a, x).sum()

    a = ramp(3)
    for x in (2.0, -2.0):
        want = raised(lambda x=x: f(a, x))
        assert want == raised(lambda x=x: jitgrad.jvp(f, (a, x), (a, 1.0)))
        assert want == raised(lambda x=x: jitgrad.grad(total)(a, x))
        assert want == raised(lambda x=x: jitgrad.value_and_grad(total, argnums=1)(a, x))
        assert want == raised(lambda x=x: jitgrad.jit(lambda a, x: 2.0 * jitgrad.grad(total)(a, x))(a, x))
        assert want == raised(lambda x=x: jitgrad.grad(lambda a, x: jitgrad.grad(total)(a, x).sum())(a, x))
