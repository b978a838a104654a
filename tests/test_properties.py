"""Properties that hold for any program: compiled code is NumPy, reverse mode is the transpose of forward mode.

Expressions, reductions and indices are drawn by hypothesis over arrays of all layouts, sizes 0 and 1 included; whole
programs are written by `tests.fuzz` from fixed seeds. What these found once is kept at the end, each with its name.
"""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jitgrad
from tests.fuzz import check_function, fuzz
from tests.programs.harness import cotangent_of, inner, same

BUDGET = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], database=None
)
DTYPES = ("float64", "float32", "int64", "int32", "bool")
LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "C": lambda a: a.copy(),
    "F": np.asfortranarray,
    "strided": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
    "transposed": lambda a: a.T.copy().T,
}


@st.composite
def arrays(draw: Any, dtypes: tuple[str, ...] = DTYPES, sizes: tuple[int, ...] = (0, 1, 2, 3)) -> np.ndarray:
    """Return a small array of any layout."""
    shape = tuple(draw(st.lists(st.sampled_from(sizes), min_size=1, max_size=2)))
    dtype = np.dtype(draw(st.sampled_from(dtypes)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    values = rng.uniform(-3, 3, shape)
    data = values > 0 if dtype.kind == "b" else values.astype(dtype)
    return LAYOUTS[draw(st.sampled_from(list(LAYOUTS)))](data)


ELEMENTWISE = (
    "{0} + {1}", "{0} * {1}", "{0} - 1.5 * {1}", "np.where({0} > {1}, {0}, {1})", "np.maximum({0}, {1})",
    "({0} < {1})", "np.hypot({0}, {1})", "np.minimum({0}, 1)", "{0} / (2 + np.abs({1}))",
)  # fmt: skip
UNARY = ("np.sin({0})", "np.tanh({0})", "np.exp({0})", "np.abs({0} * 1)", "{0} * {0}", "np.sqrt(np.abs({0} * 1.0))")
REDUCTIONS = (
    "{0}.sum()", "{0}.sum(axis=0)", "np.mean({0} * 1.0)", "np.cumsum({0})", "{0}.T", "{0}.reshape(-1)", "np.prod({0})",
    "np.linalg.norm({0} * 1.0)", "{0}[..., None] * 2",
)  # fmt: skip
INDICES = ("{0}[::-1]", "{0}[1:]", "{0}[..., :1]", "{0}[-1]", "{0}[0]", "{0}[::2] * 1", "{0}[:0]")


@st.composite
def expressions(draw: Any) -> str:
    """Return an expression over `x` and `y`, arrays of one shape."""
    text = "x"
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from([ELEMENTWISE, UNARY]))
        text = "(" + draw(st.sampled_from(kind)).format(text, "y") + ")"
    return str(draw(st.sampled_from((*REDUCTIONS, *INDICES, "{0}"))).format(text))


def function_of(text: str) -> Any:
    """Return the function of x and y that an expression is."""
    return eval(f"lambda x, y: {text}", {"np": np})


def outcome(f: Any, *args: Any) -> Any:
    """Return the value of a call, or the exception."""
    try:
        with np.errstate(all="ignore"):
            return f(*args)
    except (ValueError, IndexError, TypeError) as exception:
        if isinstance(exception, jitgrad.JitgradError):
            raise
        return exception


@BUDGET
@given(expressions(), arrays(), st.sampled_from(DTYPES))
def test_expressions_are_numpy(text: str, x: np.ndarray, dtype: str) -> None:
    y = (x * 2).astype(dtype)
    f = function_of(text)
    before = x.copy()
    want = outcome(f, x, y)
    got = outcome(jitgrad.jit(f), x, y)
    if isinstance(want, Exception):
        assert type(got) is type(want) and str(got) == str(want), (text, got, want)
    else:
        same(got, want, 1e-6 if "32" in str(want.dtype) or "32" in str(x.dtype) else 1e-11, text)
    np.testing.assert_array_equal(x, before)


@BUDGET
@given(expressions(), arrays(("float64",)))
def test_reverse_is_the_transpose_of_forward(text: str, x: np.ndarray) -> None:
    f = function_of(text)
    y = np.cos(x)
    value = outcome(f, x, y)
    if isinstance(value, Exception) or value.dtype.kind != "f":
        return
    rng = np.random.default_rng(len(text))
    t = (cotangent_of(x, rng), cotangent_of(y, rng))
    w = cotangent_of(value, rng)
    kept = (x.tobytes(), y.tobytes())
    _, slope = jitgrad.jvp(f, (x, y), t)
    _, pull = jitgrad.vjp(f, x, y)
    cts = pull(w)
    assert (x.tobytes(), y.tobytes()) == kept
    for a, ct in zip((x, y), cts, strict=True):
        assert ct.shape == a.shape and ct.dtype == a.dtype and ct.flags.owndata and not np.shares_memory(ct, a)
    forward, reverse = inner(w, slope), inner(cts, t)
    assert math.isclose(forward, reverse, rel_tol=1e-9, abs_tol=1e-9), (text, forward, reverse)
    h = 1e-6
    with np.errstate(all="ignore"):
        ahead, behind = (inner(w, f(x + s * h * t[0], y + s * h * t[1])) for s in (1, -1))
    want = (ahead - behind) / (2 * h)
    assert math.isclose(forward, want, rel_tol=1e-4, abs_tol=1e-4), (text, forward, want)


@pytest.mark.parametrize("first", [0, 1000, 2000])
def test_random_programs_are_python(first: int) -> None:
    out = io.StringIO()
    assert not fuzz(first, 60.0, out, count=12), out.getvalue()


# --- what random programs found


def views_exchanged(a: np.ndarray, n: int) -> Any:
    """A view of an argument and a buffer of its own change names, and are stored into."""
    u = a[:2]
    v = a[2:] * 1.0
    for _ in range(n):
        u, v = v, u
        u *= u
    return u.sum() + v.sum()


def never_repeats(x: float, n: int) -> float:
    """Loops whose bodies always leave."""
    for _ in range(n):
        for j in range(1, 3):
            x = x + j
            break
        break
    while x < 100.0:
        x = x * 2.0
        break
    for _ in range(0):
        if x > 0.0:
            break
        x = x - 1.0
    return x


class Power:
    """A number that makes new objects."""

    def __init__(self, v: float) -> None:
        self.v = v

    def __mul__(self, other: Power) -> Power:
        return Power(self.v * other.v)


def objects_in_a_loop(x: float, n: int) -> float:
    """A variable that is another object after each trip."""
    made, factor = Power(1.0), Power(x)
    for _ in range(n):
        made = made * factor
    return made.v


def objects_exchanged(x: float, n: int) -> Any:
    """Two objects that change names, and are stored into."""
    a, b = Power(x), Power(2.0 * x)
    for _ in range(n):
        a, b = b, a
        a.v += 1.0
    return a.v, b.v


def list_of_some(x: float, more: bool) -> Any:
    """A list that is longer on some paths."""
    xs = []
    if x > 0.0:
        xs.append(x)
    xs.append(2.0 * x)
    if more:
        xs.append(1.0)
    return sum(xs), len(xs)


def list_of_some_trips(x: float, n: int) -> float:
    """A list that grows in some trips, and loses its last item, which may not exist."""
    xs = []
    for i in range(n):
        if i % 2 == 0:
            xs.append(x * i)
    return xs.pop()


def object_of_either(x: float, first: bool) -> float:
    """A store into one of two objects."""
    a, b = Power(x), Power(2.0 * x)
    c = a if first else b
    c.v = 7.0
    return a.v + b.v


def buffer_left_behind(b: np.ndarray) -> np.ndarray:
    """The array that a name had before the loop can be reached no more after a trip with a way out."""
    x = np.zeros_like(b)
    p = b.copy()
    for _ in range(len(b)):
        x += p
        size = x @ x
        if size > 100.0:
            break
        p = p + size * p
    return x


def chosen_twice(a: np.ndarray, m: np.ndarray, x: float, n: int, flag: bool) -> Any:
    """A branch hands on one of two buffers, a branch inside another one that buffer again."""
    u = a
    v = np.zeros(4)
    w = v
    if x < a[0]:
        w = a
    else:
        v[2:3] += w[:1]
    if m[-1, 1] < 0.5:
        if m[-1, 3] <= 1.0:
            v[1:3] = u[:2]
        else:
            n = n + 1
        u = w[::-1]
    v[1] = x
    return n, u.copy(), v.copy(), w.copy()


def vectors_joined(a: np.ndarray, m: np.ndarray, x: float, n: int, flag: bool) -> Any:
    """A program of whose adjoint LLVM 22 makes code that uses a value before it is there."""
    s = x
    t = 1.0
    k = 0
    u = a.copy()
    v = u
    w = a + 1.0
    if u[2] <= 1.0:
        t = -1.5
    t = w[3]
    v[2:4] = a[:2]
    for _ in range(2):
        w = u[:]
    return s, t, k, u.copy(), v.copy(), w.copy()


def row_left_or_replaced(a: np.ndarray, m: np.ndarray, x: float, n: int, flag: bool) -> Any:
    """The arm of a branch copies two values into buffers of its own, the second from where the first may go."""
    u = m[0]
    v = m[1] * 1.0
    m[1] = u
    for _ in range(1, 2):
        if 2 > 0 and flag:
            u = a
    return x, 1.0, n, u.copy(), v.copy()


def step_of_a_view_found_in_an_arm(a: np.ndarray, m: np.ndarray, x: float, n: int, flag: bool) -> Any:
    """A view of which data decide where it begins and how it steps, in an arm of a branch that chooses arrays."""
    v = a[::-1]
    if n % 2 == 0:
        v = m.T @ m[:, 0]
    elif x > 0 or flag:
        v = a[:]
    v[a > x] = 1.0
    return v.sum(), v.copy()


def part_that_begins_where_an_arm_says(a: np.ndarray, m: np.ndarray, x: float, n: int, flag: bool) -> Any:
    """A part of one of two arrays, beginning at a number that the arm computes."""
    v = m[0][:2]
    if flag or x > 0:
        k = n % 2 + 1
        v = a[k : k + 2]
    v[0] = x
    v *= 2.0
    return v.sum(), v.copy()


def array_in_a_list_exchanged_in_a_branch(a: np.ndarray, x: float) -> Any:
    """A list holds one of two arrays, as data decide, and an array that it held is stored into."""
    u = a.copy()
    xs = [u, a * 2.0]
    if x > 0:
        xs[0] = xs[1]
    u[0] = 9.0
    return xs[0].sum(), xs[1].sum()


def closure_rebound_in_a_branch(a: np.ndarray, x: float) -> Any:
    """A variable of a closure is rebound in a branch, the array that it was is stored into by another name."""
    u = a.copy()
    d = {"q": u}

    def inner(z: float) -> float:
        return z * u[1] + x

    if x > 0:
        u = np.maximum(u, 1.0)
    d["q"][1] = 7.0
    return inner(2.0), u.sum(), d["q"].sum()


def depth_of_recursion(x: float, n: int) -> float:
    """A recursion whose depth an argument decides."""
    return x if n == 0 else depth_of_recursion(x, n - 1) * x + depth_of_recursion(x, n - 1)


V = np.array([0.5, -1.0, 1.5, 2.0])


@pytest.mark.parametrize(
    ("f", "calls", "refusal"),
    [
        (views_exchanged, [(V, 0), (V, 1), (V, 2), (V, 3)], "JG241"),
        (never_repeats, [(1.0, 0), (-1.0, 2), (200.0, 1)], ""),
        (objects_in_a_loop, [(1.5, 0), (1.5, 3)], ""),
        (objects_exchanged, [(1.5, 0), (1.5, 3), (1.0, 4)], ""),
        (list_of_some, [(1.5, True), (-1.5, True), (-1.0, False)], ""),
        (list_of_some_trips, [(2.0, 3), (2.0, 0), (2.0, 4)], ""),
        (object_of_either, [(1.0, True), (1.0, False)], "JG241"),
        (depth_of_recursion, [(1.1, 3), (0.5, 0), (0.5, 5)], ""),
        (array_in_a_list_exchanged_in_a_branch, [(V, 1.0), (V, -1.0)], ""),
        (closure_rebound_in_a_branch, [(V, 1.0), (V, -1.0)], ""),
        (buffer_left_behind, [(V,), (V[:1],), (3.0 * V,)], ""),
    ],
)
def test_found_by_random_programs(f: Any, calls: list[Any], refusal: str) -> None:
    compiled = jitgrad.jit(f)
    for args in calls:
        ours, theirs = copy.deepcopy(args), copy.deepcopy(args)
        want = outcome(f, *theirs)
        try:
            got = outcome(compiled, *ours)
        except jitgrad.UnsupportedError as refused:
            # Right or refused: a later jitgrad may do it, never wrongly.
            assert refused.code == refusal
            continue
        if isinstance(want, Exception):
            assert type(got) is type(want) and str(got) == str(want)
        else:
            same(got, want, 1e-12)
        same(list(ours), list(theirs), 1e-12, "arguments")


@pytest.mark.parametrize(
    "f",
    [
        chosen_twice,
        vectors_joined,
        row_left_or_replaced,
        step_of_a_view_found_in_an_arm,
        part_that_begins_where_an_arm_says,
    ],
)
@pytest.mark.parametrize("seed", [50003, 60539, 1])
def test_derivatives_of_what_was_found(f: Any, seed: int) -> None:
    assert check_function(f, seed) == "ok"
