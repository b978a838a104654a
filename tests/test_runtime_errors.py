"""Exceptions of the user's program under every transform: type, message and the lines of the traceback are Python's.

PYTEST_DONT_REWRITE: the programs assert, and their messages are to be their own.
"""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad

CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], tuple[Any, ...]]] = {}


def case(fine: tuple[Any, ...], bad: tuple[Any, ...]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Enter a function of a float x and more, with arguments for which it returns and others for which it raises."""

    def enter(f: Callable[..., Any]) -> Callable[..., Any]:
        CASES[f.__name__] = (f, fine, bad)
        return f

    return enter


def ramp(n: int) -> np.ndarray:
    return np.arange(1.0, n + 1.0)


# --- raised by the program


@case((-1.0,), (2.0,))
def raise_in_a_branch(x):
    y = x * x
    if y > 1.0 and x > 0.0:
        raise ValueError("x is too large")
    return y


@case((-1.0,), (2.5,))
def raise_with_a_number(x):
    if x > 0.0:
        raise ValueError(f"x is {x}, which is too large")
    return x * x


@case((-1.0, 3), (2.5, 3))
def raise_numbers(x, n):
    if x > 0.0:
        raise ValueError(n)
    return x * x


@case((-1.0, ramp(4), 2), (2.5, ramp(4), 2))
def raise_numbers_of_several_kinds(x, a, k):
    for i in range(k + 1):
        if x > 0.0 and i == k:
            raise KeyError(k, a[k], (i, "item"), f"{k} of", True, "of", x)
    return x * x


@case((-1.0, 3), (2.5, 3))
def raise_a_known_number(x, n):
    if x > 0.0:
        raise KeyError(7)
    return x * x


@case((1.0, 2), (-2.0, 2))
def assert_with_a_number(x, n):
    assert x > 0.0, n
    return x * x


@case((-1.0, ramp(4), 3), (2.5, ramp(4), 3))
def raise_with_formats(x, a, k):
    if x > 0.0:
        text = "%d and %5.1f|%-8.2e|%+d %% %05d %r %s %i"
        raise ValueError(text % (a[k], a[k], a[0], k, k, k, a[1], k))
    return x * x


@case((-1.0, ramp(4), 3), (2.5, ramp(4), 3))
def raise_with_format_specs(x, a, k):
    if x > 0.0:
        text, other = "item %s", "{} {:e} {:d}"
        raise ValueError(text % k + f" {a[k]:.3f} at {k:03d} {k!r:>4} " + other.format(k, a[0], k))
    return x * x


@case((1.0,), (-2.0,))
def assert_with_a_message(x):
    assert x > 0.0, "x must be positive"
    return x * x


@case((1.0,), (-2.0,))
def assert_without_a_message(x):
    y = x * 2.0
    assert y > 0.0
    return y * x


@case((0.5, 4), (2.0, 30))
def raise_in_a_loop(x, n):
    s = 1.0
    for i in range(n):
        s = s * x + i
        if s > 1e4:
            raise OverflowError("diverges")
    return s


@case((0.5,), (4.0,))
def raise_in_a_while_loop(x):
    s, k = 1.0, 0
    while abs(s) > 1e-3:
        s = s * x
        k += 1
        if k > 50:
            raise RuntimeError("no convergence")
    return s


def checked(y):
    if y < 0.0:
        raise ValueError("negative")
    return y * y


@case((2.0,), (-2.0,))
def raise_in_a_helper(x):
    return checked(x) + checked(x - 1.0)


@case((5.0, 4), (2.0, 4))
def raise_in_a_helper_in_a_loop(x, n):
    s = 0.0
    for i in range(n):
        s += checked(x - i)
    return s


@case((1.0, ramp(4)), (1.0, -ramp(4)))
def assert_over_an_array(x, a):
    assert np.all(a > 0.0), "not positive"
    return x * a.sum()


class Refused(Exception):
    """An exception of the user's own."""


@case((1.0,), (-1.0,))
def raise_a_class_of_ones_own(x):
    if x < 0:
        raise Refused("no", 3)
    return x * 3.0


@case((1.0,), (-1.0,))
def raise_a_class(x):
    if x < 0:
        raise ArithmeticError
    return x * 3.0


# --- indices and shapes


@case((2.0, ramp(3), 2), (2.0, ramp(3), 3))
def index_of_an_element(x, a, k):
    y = x * 2.0
    return y * a[k]


@case((2.0, ramp(3), -3), (2.0, ramp(3), -4))
def negative_index(x, a, k):
    return x * a[k] * x


@case((2.0, ramp(12).reshape(4, 3), 1, 2), (2.0, ramp(12).reshape(4, 3), 1, 3))
def index_along_the_second_axis(x, a, i, j):
    return x * a[i, j]


@case((2.0, ramp(5), 4), (2.0, ramp(5), 7))
def index_in_a_loop(x, a, n):
    s = 1.0
    for i in range(n):
        s = s * x + a[i + 1] * s
    return s


@case((2.0, ramp(5), 4), (2.0, ramp(5), 7))
def store_in_a_loop(x, a, n):
    b = a * x
    for i in range(n):
        b[i] = b[i] * b[0]
    return b.sum()


@case((2.0, ramp(5), 4), (2.0, ramp(5), 7))
def index_in_a_while_loop(x, a, n):
    s, i = x, 0
    while i < n:
        s = s * a[i]
        i += 1
    return s


@case((2.0, ramp(5), np.array([0, 4])), (2.0, ramp(5), np.array([0, 5])))
def index_array(x, a, k):
    return x * a[k].sum()


@case((2.0, ramp(6), 3), (2.0, ramp(6), 4))
def shapes_known_only_now(x, a, k):
    y = x * 2.0
    return (y * a[:k] + a[3:]).sum()


@case((2.0, ramp(6), 3), (2.0, ramp(6), 4))
def product_of_shapes_known_only_now(x, a, k):
    return x * (a[:k] @ a[3:])


@case((2.0, ramp(12).reshape(4, 3), 3), (2.0, ramp(12).reshape(4, 3), 2))
def matrix_product_of_shapes_known_only_now(x, a, k):
    return x * (a @ a[:k]).sum()


@case((2.0, ramp(12).reshape(4, 3), 2), (2.0, ramp(12).reshape(4, 3), 3))
def stack_of_shapes_known_only_now(x, a, k):
    return x * np.stack([a[:k], a[2:]]).sum()


@case((2.0, ramp(6), 3), (2.0, ramp(6), 5))
def store_of_a_shape_known_only_now(x, a, k):
    b = a * x
    b[:3] = a[:k]
    return b.sum()


@case((2.0, ramp(6), ramp(6), 6), (2.0, ramp(6), ramp(6), 4))
def mask_of_a_size_known_only_now(x, a, b, k):
    return x * a[b[:k] > 2.0].sum()


@case((2.0, ramp(6), ramp(6), 6), (2.0, ramp(6), ramp(6), 4))
def store_by_a_mask_of_a_size_known_only_now(x, a, b, k):
    c = a * x
    c[b[:k] > 2.0] += x
    return c.sum()


@case((2.0, 4), (2.0, 0))
def item_of_a_list(x, n):
    ys = []
    for i in range(n):
        ys.append(x * i)
    return ys[-1] * ys[0] + x


@case((2.0, 4), (2.0, 1))
def pop_of_a_list(x, n):
    ys = []
    for i in range(n):
        ys.append(x * i)
    return ys.pop() * ys.pop() + x


# --- arithmetic


@case((2.0,), (0.0,))
def float_division(x):
    y = x + 0.0
    return 1.0 / y


@case((2.0, 3), (2.0, 0))
def division_by_an_int(x, k):
    return x * (7 // k)


@case((2.0, 3), (2.0, 0))
def remainder_by_an_int(x, k):
    return x * (7 % k)


@case((2.0, 3), (2.0, 0))
def true_division_of_ints(x, k):
    return x * (7 / k)


@case((2.0,), (0.0,))
def float_remainder(x):
    return 7.5 % x + x


@case((2.0,), (0.0,))
def float_floor_division(x):
    return (7.5 // x) * x


@case((2.0, 3), (2.0, 6))
def division_in_a_loop(x, n):
    s = 0.0
    for i in range(n):
        s += x / (5 - i)
    return s


@case((2.0, 4), (0.0, 4))
def power_of_zero(x, n):
    return x**-2 + n


@case((2.0,), (1e200,))
def float_power(x):
    return x**3


@case((2.0,), (-1e200,))
def float_square(x):
    return x**2 + 1.0


@case((2.0, 2.5), (1e200, 2.5))
def float_power_of_a_float(x, y):
    return x**y


@case((0.5, 4), (20.0, 10))
def float_square_in_a_loop(x, n):
    for i in range(n):
        x = x**2 + i
    return x


@case((2.0,), (1000.0,))
def math_exp(x):
    return math.exp(x)


@case((2.0,), (-1.0,))
def math_log(x):
    return math.log(x)


@case((2.0,), (0.0,))
def math_log_of_zero(x):
    return math.log(x)


@case((2.0,), (-1.0,))
def math_sqrt(x):
    return math.sqrt(x) * x


@case((0.5,), (2.0,))
def math_asin(x):
    return math.asin(x)


@case((0.5, 3), (2.0, 3))
def domain_in_a_loop(x, n):
    s = 0.0
    for i in range(n):
        s += math.sqrt(3.5 - x - i)
    return s


@case((2.0,), (math.nan,))
def int_of_a_nan(x):
    return x * int(x)


@case((2.0,), (math.inf,))
def int_of_infinity(x):
    return x * int(x)


# --- names


@case((2.0,), (-2.0,))
def unbound_after_a_branch(x):
    if x > 0:
        y = x * x
    return y * 2.0


@case((2.0, 3), (2.0, 0))
def unbound_after_a_loop(x, n):
    for i in range(n):
        y = x * i
    return y * x


@case((2.0, 3), (2.0, 0))
def unbound_index(x, n):
    for i in range(n):  # noqa: B007
        x = x * 1.5
    return x * i


# --- where Python has no such limit


def int_product_in_a_loop(x, n):
    k = 1
    for _ in range(n):
        k = k * 7
    return x * k


def int_sum_in_a_loop(x, n):
    k = n
    for _ in range(3):
        k = k + 2**61
    return x * k


def lines(exception: BaseException) -> list[tuple[str, int]]:
    """Return function and line of the entries of a traceback that stand in this file, but for those of the tests."""
    found = [(e.name, e.lineno or 0) for e in traceback.extract_tb(exception.__traceback__) if e.filename == __file__]
    return [(name, line) for name, line in found if name not in ("outcome", "<lambda>", "TRANSFORMS")]


def _typed(args: tuple[Any, ...]) -> list[Any]:
    return [(type(x), _typed(x) if isinstance(x, tuple) else x) for x in args]


def outcome(run: Callable[[], Any]) -> tuple[Any, ...]:
    try:
        run()
    except Exception as exception:
        return type(exception), str(exception), _typed(exception.args), lines(exception)
    return ("no exception",)


TRANSFORMS: dict[str, Callable[..., Callable[..., Any]]] = {
    "jit": jitgrad.jit,
    "grad": jitgrad.grad,
    "vjp": lambda f: lambda x, *rest: jitgrad.vjp(lambda v: f(v, *rest), x)[1](1.0),
    "jvp": lambda f: lambda x, *rest: jitgrad.jvp(lambda v: f(v, *rest), (x,), (1.0,)),
    "grad of grad": lambda f: jitgrad.grad(jitgrad.grad(f)),
}


# To second order those with loops, to keep the time short.
@pytest.mark.parametrize(
    ("name", "transform"), [(n, t) for n in CASES for t in TRANSFORMS if t != "grad of grad" or "loop" in n]
)
def test_exception_is_pythons(name: str, transform: str) -> None:
    f, fine, bad = CASES[name]
    compiled = TRANSFORMS[transform](f)
    compiled(*fine)
    got = outcome(lambda: compiled(*bad))
    assert got == outcome(lambda: f(*bad))
    assert got != ("no exception",)
    compiled(*fine)


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize(("f", "n"), [(int_product_in_a_loop, 40), (int_sum_in_a_loop, 2**61)])
def test_ints_beyond_64_bits(f: Callable[..., Any], n: int, transform: str) -> None:
    compiled = TRANSFORMS[transform](f)
    compiled(2.0, 0)
    kind, text, _, where = outcome(lambda: compiled(2.0, n))
    assert (kind, text) == (OverflowError, "a Python int of more than 64 bits")
    assert [name for name, _ in where] == [f.__name__]


def always(x: float) -> float:
    raise ValueError(f"x is {x}")


def in_both_arms(x: float) -> float:
    if x > 0.0:
        raise ValueError(f"{x} is too large")
    raise KeyError(f"{x} is too small")


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_a_function_that_always_raises(transform: str) -> None:
    with pytest.raises(ValueError, match=r"x is 2\.5"):
        TRANSFORMS[transform](always)(2.5)
    with pytest.raises(ValueError, match=r"2\.5 is too large"):
        TRANSFORMS[transform](in_both_arms)(2.5)
    with pytest.raises(KeyError, match=r"-2\.5 is too small"):
        TRANSFORMS[transform](in_both_arms)(-2.5)


class Unfit(AssertionError):
    """Of the user's own, of a class that the tracer raises too."""


def of_a_wrong_shape(x: np.ndarray) -> Any:
    if x.shape != (3,):
        raise AssertionError(f"a shape of {x.shape}")  # pytest rewrites `assert`
    return x.sum()


def of_a_wrong_rank(x: np.ndarray) -> Any:
    y = 2.0 * x
    if y.ndim != 2:
        raise Unfit("a rank", y.ndim)
    return y.sum()


def too_deep(x: np.ndarray) -> Any:
    raise RecursionError(len(x))


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("f", [of_a_wrong_shape, of_a_wrong_rank, too_deep])
def test_what_the_tracer_raises_too_is_raised_at_the_users_line(f: Callable[..., Any], transform: str) -> None:
    x = np.ones(4)
    want, got = outcome(lambda: f(x)), outcome(lambda: TRANSFORMS[transform](f)(x))
    assert got[:2] == want[:2]
    assert got[3][-1:] == want[3][-1:]


def test_a_program_that_always_raises_raises_what_python_does() -> None:
    def either(x, flag):
        if x > 0 or flag:
            raise RuntimeError("a")
        raise ValueError("b")

    def both(x, flag):
        if x > 0 and flag:
            raise RuntimeError("a")
        raise ValueError("b")

    for f in (either, both):
        compiled, gradient = jitgrad.jit(f), jitgrad.grad(f)
        for x in (-1.0, 1.0):
            for flag in (True, False):
                with pytest.raises((RuntimeError, ValueError)) as want:
                    f(x, flag)
                for call in (compiled, gradient):
                    with pytest.raises(type(want.value), match=str(want.value)):
                        call(x, flag)
