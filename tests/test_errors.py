"""Every row of the error table: a program or a call that raises it, and what its text says.

A case is a function that a transform refuses. `at` is the source text under the caret; the checks of the text are the
same for all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad import JitgradError
from jitgrad.errors import TABLE

X = np.array([1.0, 2.0, 3.0])
MATRIX = np.array([[4.0, 1.0], [1.0, 3.0]])
STEPS: list[float] = []
MASKED = np.ma.masked_array([1.0, 2.0], [True, False])
COUNTED = 0


@dataclass
class Case:
    """A function that cannot be compiled: the code, the arguments of the call, and what the caret points at."""

    code: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    at: tuple[str, ...]
    transform: Callable[..., Any]


CASES: list[Case] = []


def refused(
    code: str, *args: Any, at: str | tuple[str, ...], by: Callable[..., Any] = jitgrad.jit
) -> Callable[[Any], Any]:
    """Register a function that a transform refuses when it is called with these arguments.

    Where versions of Python give different spans, `at` has all of them.
    """

    def register(function: Any) -> Any:
        CASES.append(Case(code, function, args, (at,) if isinstance(at, str) else at, by))
        return function

    return register


@dataclass
class Point:
    x: float
    y: float


class WithDescriptor:
    value = int.__dict__["real"]

    def __init__(self) -> None:
        self.x = 1.0


class OwnError(Exception):
    def __init__(self, value: float) -> None:
        super().__init__("no")
        self.value = value


class Opaque:
    """Holds nothing that could be a leaf."""

    __slots__ = ()


OPAQUE = Opaque()
POINT = Point(1.0, 2.0)


# --- JG2xx: programs that cannot be compiled


@refused("JG203", 1.0, at="raise")
def bare_raise(x):
    if x > 0.0:
        raise
    return x


@refused("JG228", X, at="{x[0], 2.0}")
def set_of_data(x):
    return len({x[0], 2.0})


@refused("JG210", X, at="np.exp(None)")
def none_as_array(x):
    return x + np.exp(None)


@refused("JG211", X, at="np.array([x, x[:2]])")
def ragged(x):
    return np.array([x, x[:2]])


@refused("JG212", X, at="float(z)")
def float_of_complex(x):
    z = (x * 1j)[0]
    return float(z)


@refused("JG215", X, at="np.spacing(x)")
def uncompiled_ufunc(x):
    return np.spacing(x)


@refused("JG216", X, at='np.zeros(3, "U3")')
def array_of_texts(x):
    return np.zeros(3, "U3")


@refused("JG217", 2.0, at="(x * 1j) // 2.0")
def floor_of_complex(x):
    return (x * 1j) // 2.0


@refused("JG218", X, 1, at="x[:n] + x")
def size_that_turns_out_to_be_1(x, n):
    return x[:n] + x


@refused("JG219", X, at="x[x[0] > 1.0]")
def indexed_by_a_bool(x):
    return x[x[0] > 1.0].sum()


@refused("JG220", 1.0, at='f"{x}" == "1.0"')
def text_of_data(x):
    return f"{x}" == "1.0"


@refused("JG221", X, 3, at="xs[1:]")
def slice_of_grown_list(x, n):
    xs = []
    for k in range(n):
        xs.append(x[k])
    xs[1:] = [x[0]]
    return len(xs)


@refused("JG222", 1.0, at="STEPS.append(x)")
def append_outside(x):
    STEPS.append(x)
    return x


@refused("JG222", 1.0, at="POINT.x")
def attribute_outside(x):
    POINT.x = x
    return x


@refused("JG223", X, at="np.busday_count(x, x)")
def unknown_function(x):
    return np.busday_count(x, x)


@refused("JG224", 1.0, at="COUNTED")
def global_store(x):
    global COUNTED
    COUNTED = x
    return x


@refused("JG225", X, 3, at="return xs")
def grown_list_returned(x, n):
    xs = []
    for _ in range(n):
        xs.append(x)
    return xs


def descend(x, n):
    return x if x > n else descend(x, n)


@refused("JG226", 1.0, 3, at="descend(x, n)")
def deep_recursion(x, n):
    return descend(x, n)


@refused("JG227", 1.0, OwnError(2.0), at="raise e")
def own_exception(x, e):
    if x > 0.0:
        raise e
    return x


@refused("JG228", X, at="np.sum(x, axis=int(x[0]))")
def axis_of_data(x):
    return np.sum(x, axis=int(x[0]))


@refused("JG229", {"a": 1.0, "b": 2.0}, 10**3, at=("for k in range(n):", "range(n)"))
def long_unrolled_loop(xs, n):
    total = 0.0
    for k in range(n):
        total += xs["ab"[k % 2]]
    return total


@refused("JG230", X, at="MASKED")
def subclass(x):
    return x[:2] + MASKED


@refused("JG231", WithDescriptor(), at="p.value")
def descriptor(p):
    return p.x * p.value


@refused("JG232", X, at="x.tobytes")
def unknown_method(x):
    return x.tobytes()


@refused("JG232", X, at="np.arctan2.reduce(x, keepdims=True)")
def unknown_reduction(x):
    return np.arctan2.reduce(x, keepdims=True)


@refused("JG233", 1.0, at="np.array([OPAQUE, x])")
def opaque_object(x):
    return np.array([OPAQUE, x])


@refused("JG234", X, at="x.shape")
def shape_store(x):
    x.shape = (3, 1)
    return x


@refused("JG235", 1.0, at='np.errstate(all="raise")')
def warnings_as_errors(x):
    with np.errstate(all="raise"):
        return np.log(x)


@refused("JG236", 1.0, at="sorted([x, 2], key=lambda v: -v)")
def order_of_data(x):
    return sorted([x, 2], key=lambda v: -v)


@refused("JG237", 1.0, at="np.random.rand()")
def random_number(x):
    return x + np.random.rand()


@refused("JG237", 1.0, at="np.random.default_rng()")
def random_generator(x):
    return x + np.random.default_rng().normal()


@refused("JG238", 1.0, at="print(x)")
def printing(x):
    print(x)
    return x


@refused("JG239", 1.0, at="jitgrad.grad(lambda y: y * y)(max(0, x))")
def derivative_by_an_int_or_a_float(x):
    return jitgrad.grad(lambda y: y * y)(max(0, x))


@refused("JG240", 1.0, at="y")
def used_with_two_lengths(x):
    y = ["a"]
    if x > 0.0:
        y.append(2)
    return len(y)


@refused("JG245", 1.0, at="x / 0.0")
def certain_exception_caught(x):
    try:
        return x / 0.0
    except ZeroDivisionError:
        return 0.0


@refused("JG245", -1.0, at="math.log(x)")
def possible_exception_caught(x):
    try:
        y = math.log(x)
    except ValueError:
        y = 0.0
    return y


@refused("JG243", X, 3, at=("y", "range(n)"))
def shape_changes(x, n):
    y = x
    for _ in range(n):
        y = y[None]
    return y


@refused("JG116", X, 0, at="return best", by=jitgrad.grad)
def nothing_found(x, n):
    best = None
    for k in range(n):
        if best is None or x[k] > best:
            best = x[k]
    return best


@refused("JG244", 1.0, X.astype(np.float32), at="y * x32")
def mixed_kind(x, x32):
    y = 0.5 if x > 0.0 else np.float64(2.0)
    return y * x32


@refused("JG250", X, at="x.astype(np.float16)")
def half_precision(x):
    return x.astype(np.float16)


@refused("JG250", X, at="x * 1j")
def complex_numbers(x):
    return (x * 1j).real.sum()


@refused("JG251", X, at="np.array(pairs)")
def no_pairs(x):
    pairs = [(v, 2.0 * v) for v in x if v > 1e9]
    return np.array(pairs)[:, 1].sum()


@refused("JG252", X, at="zip(*pairs)")
def zipped_pairs_of_none(x):
    pairs = []
    for v in x:
        if v > 1e9:
            pairs.append((v, 2 * v))
    a, b = zip(*pairs)  # noqa: B905
    return sum(a) + sum(b)


# --- JG1xx with a line: what a derivative asks of arguments and results


@refused("JG113", X, 3, at="jitgrad.grad(total)(xs)")
def gradient_by_rows_of_other_lengths(x, n):
    xs = []
    for k in range(n):
        xs.append(x[:k])

    def total(rows):
        return sum(row.sum() for row in rows)

    return jitgrad.grad(total)(xs)


def _longer_tuple(x):
    r = (1.0,)
    for v in x[x > 0]:
        r = (*r, v)
    return sum(r)


def _list_of_functions(x):
    found = []
    for v in x[x > 0]:
        found.append(lambda y, v=v: y * v)
    return found[-1](x[0])


def _counted_for_a_copy(x):
    n = 0
    for _ in x[x > 0]:
        n += 1
    return np.tile(x, n)


def _arrays_of_many_sizes(x):
    found = []
    for k in range(10 * len(x)):
        if x[k % 3] > 0:
            found.append(np.full(k, x[0]))
    return np.concatenate(found)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (_longer_tuple, "JG228: the number of trips of a loop in which r changes its length must be known"),
        (_list_of_functions, "JG228: the number of trips of a loop in which a list or dict changes its length must be"),
        (_counted_for_a_copy, "JG228: the counts of np.tile must be known"),
        (_arrays_of_many_sizes, "JG221: appending an array of another size to a list of arrays, which have one size"),
    ],
)
def test_where_a_loop_cannot_be_unrolled_the_reason_is_told(function: Callable[..., Any], why: str) -> None:
    with pytest.raises(JitgradError) as caught:
        jitgrad.jit(function)(X)
    assert str(caught.value).startswith(why)


def sections(text: str) -> tuple[str, list[str], str]:
    """Return the three parts of an error's text: what, where, do."""
    lines = text.split("\n")
    assert lines[-1].startswith("  do: "), text
    return lines[0], lines[1:-1], lines[-1]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.code}-{case.function.__name__}")
def test_refused_programs(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The class, the code, the line and the caret are right, and the text says what to do."""
    monkeypatch.setattr("jitgrad.trace.loops._UNROLL_LIMIT", 100)
    with pytest.raises(JitgradError) as caught:
        case.transform(case.function)(*case.args)
    found, text = caught.value, str(caught.value)
    assert found.code == case.code, text
    assert type(found) is TABLE[case.code].kind
    what, where, do = sections(text)
    assert what.startswith(f"{case.code}: ")
    assert len(do) > len("  do: ")
    assert len(text.split("\n")) <= 8
    location = found.location
    assert location is not None
    assert location.file == __file__
    assert where[0].startswith(f"  {__file__}:{location.line} in ")
    source, caret = where[1], where[2]
    assert source[caret.index("^") : len(caret)] in case.at
