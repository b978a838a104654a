"""A bank of programs as users write them, and how each is checked.

A program is a plain function with several argument tuples that change values, sizes and the course of its branches. One
compiled callable runs them all; values, types, dtypes, exceptions, what happens to the arguments and which results are
arguments are compared with plain Python. Warm calls must enter no Python frame, and compile nothing. The graph run by
the NumPy interpreter must agree with the machine code. Derivatives are compared with central differences of plain
Python along random directions, and reverse with forward mode by the dot-product identity.
"""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

import jitgrad
from jitgrad.execute import Interpreted
from jitgrad.trace.guards import look_up

PROGRAMS: list[Program] = []
Args = tuple[Any, ...]


@dataclass
class Program:
    """A function and the arguments to try it with.

    Attributes
    ----------
    function : callable
    inputs : list of tuple
    wrt : tuple of int
        The arguments to differentiate by.
    rtol : float
    builds : bool
        Whether its result is built through Python (a view, a NamedTuple): only then may a warm call enter frames.
    """

    function: Callable[..., Any]
    inputs: list[Args]
    wrt: tuple[int, ...] = ()
    rtol: float = 1e-12
    builds: bool = False

    @property
    def name(self) -> str:
        """Name for pytest."""
        return self.function.__name__


def program(
    *inputs: Args, wrt: int | tuple[int, ...] = (), rtol: float = 1e-12, builds: bool = False
) -> Callable[[Any], Any]:
    """Register a function with its argument tuples."""

    def register(function: Any) -> Any:
        positions = (wrt,) if isinstance(wrt, int) else wrt
        PROGRAMS.append(Program(function, list(inputs), positions, rtol, builds))
        return function

    return register


# Read by what calls a program; one while nobody is testing another value.
GAIN: Any = 1.0


@contextmanager
def rebound(gain: Any) -> Iterator[None]:
    """Give the global that callers of programs read another value."""
    globals()["GAIN"] = gain
    try:
        yield
    finally:
        globals()["GAIN"] = 1.0


def under_a_global(p: Program) -> Callable[..., Any]:
    """Return a caller of a program that reads a global, which scales an argument where that cannot be told apart.

    A Python float is scaled if all inputs have one in the same place, else an array that the program neither stores to
    nor returns; where there is none, the global goes beside the result.
    """
    function = p.function
    for k, kind in ((k, kind) for kind in (float, np.ndarray) for k in range(min(map(len, p.inputs)))):
        if all(type(args[k]) is kind for args in p.inputs) and (kind is float or _only_read(p, k)):

            def scaling(*args: Any) -> Any:
                return function(*args[:k], args[k] * GAIN, *args[k + 1 :])  # noqa: B023

            return scaling

    def beside(*args: Any) -> Any:
        return function(*args), GAIN * 2

    return beside


def _only_read(p: Program, k: int) -> bool:
    """Whether an argument is a floating-point array that Python's own run leaves alone and does not return."""
    for args in p.inputs:
        given = copy.deepcopy(args)
        if given[k].dtype.kind != "f":
            return False
        _, value = outcome(p.function, given)
        if any(np.shares_memory(given[k], r) for r in arrays(value)) or given[k].tobytes() != args[k].tobytes():
            return False
    return True


def scaled(x: Any, factor: float) -> Any:
    """Return an argument with its floats multiplied: another input of the same structure."""
    return with_floats(x, lambda v: v * factor)


def zeros(x: Any) -> Any:
    """Return an argument with zeros for its floats, also for those that are not finite."""
    return with_floats(x, np.zeros_like)


def with_floats(x: Any, change: Callable[[Any], Any]) -> Any:
    """Return a copy of an argument with `change` applied to its floating-point numbers and arrays, types kept."""
    if isinstance(x, float | np.floating):
        return type(x)(change(x))
    if isinstance(x, np.ndarray):
        return change(x).astype(x.dtype) if x.dtype.kind == "f" else x.copy()
    if isinstance(x, tuple):
        items = [with_floats(v, change) for v in x]
        return tuple(items) if type(x) is tuple else type(x)(*items)
    if isinstance(x, list):
        return [with_floats(v, change) for v in x]
    if isinstance(x, dict):
        return {k: with_floats(v, change) for k, v in x.items()}
    if is_object(x):
        made = copy.copy(x)
        for k, v in vars(x).items():
            object.__setattr__(made, k, with_floats(v, change))
        return made
    return x


def is_object(x: Any) -> bool:
    """Whether a value is an object with attributes of its own, as users make them."""
    return hasattr(x, "__dict__") and not isinstance(x, Enum | type) and not callable_only(x)


def callable_only(x: Any) -> bool:
    """Whether a value is a plain function."""
    return isinstance(x, types.FunctionType | types.BuiltinFunctionType)


def floats(x: Any) -> Iterator[Any]:
    """Yield the floating-point numbers and arrays of an argument or a result, in order."""
    found: list[Any] = []

    def keep(v: Any) -> Any:
        found.append(v)
        return v

    with_floats(x, keep)
    yield from found


def same(got: Any, want: Any, rtol: float, path: str = "result") -> None:
    """Assert that two objects are equal in structure, type, dtype and value."""
    assert type(got) is type(want), f"{path}: {type(got).__name__} for {type(want).__name__}"
    if isinstance(want, np.ndarray | np.generic):
        assert got.dtype == want.dtype, f"{path}: {got.dtype} for {want.dtype}"
        assert got.shape == want.shape, f"{path}: {got.shape} for {want.shape}"
        tol = max(rtol, 2e-6) if want.dtype == np.float32 else rtol
        np.testing.assert_allclose(got, want, rtol=tol, atol=tol, err_msg=path)
    elif isinstance(want, float | complex):
        np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol, err_msg=path)
    elif isinstance(want, tuple | list):
        assert len(got) == len(want), path
        for k, (g, w) in enumerate(zip(got, want, strict=True)):
            same(g, w, rtol, f"{path}[{k}]")
    elif isinstance(want, dict):
        assert list(got) == list(want), path
        for k in want:
            same(got[k], want[k], rtol, f"{path}[{k!r}]")
    elif (is_object(want) and not callable(want)) or dataclasses.is_dataclass(want):
        same(vars(got), vars(want), rtol, path)
    else:
        assert got == want, f"{path}: {got!r} for {want!r}"


# --- one program


def outcome(function: Callable[..., Any], args: Sequence[Any]) -> tuple[str, Any]:
    """Return what a call gives: ("value", v) or ("raises", exception)."""
    try:
        with np.errstate(all="ignore"):
            return "value", function(*args)
    except Exception as exception:
        if isinstance(exception, jitgrad.JitgradError):
            raise
        return "raises", exception


def last_line(exception: BaseException) -> tuple[str, int]:
    """Return the innermost line of a traceback that is of a program, not of a library."""
    found = ("", 0)
    tb = exception.__traceback__
    while tb is not None:
        file = tb.tb_frame.f_code.co_filename
        if "site-packages" not in file and not file.endswith("harness.py"):
            found = (file, tb.tb_lineno)
        tb = tb.tb_next
    return found


def compare_calls(p: Program, function: Any, inputs: Sequence[Args], compiled: Any) -> None:
    """Run inputs through one compiled callable and through Python, and compare all that can be seen."""
    for args in inputs:
        ours, theirs = copy.deepcopy(args), copy.deepcopy(args)
        got, want = outcome(compiled, ours), outcome(function, theirs)
        assert got[0] == want[0], (got, want)
        if want[0] == "raises":
            assert type(got[1]) is type(want[1]), (got[1], want[1])
            assert str(got[1]) == str(want[1])
            assert last_line(got[1]) == last_line(want[1])
        else:
            same(got[1], want[1], p.rtol)
            assert relations(got[1], ours) == relations(want[1], theirs), "which results are which arguments"
        same(list(ours), list(theirs), p.rtol, "arguments")


def arrays(x: Any) -> list[np.ndarray]:
    """Return the arrays in an argument or a result, in order."""
    if isinstance(x, np.ndarray):
        return [x]
    if is_object(x) and not isinstance(x, BaseException):
        x = vars(x)
    if isinstance(x, dict):
        x = list(x.values())
    return [a for v in x for a in arrays(v)] if isinstance(x, tuple | list) else []


def relations(result: Any, args: Args) -> Any:
    """Return which arrays of the arguments those of a result are, view and share."""
    given = arrays(args)
    return [[(r is a, r.base is a, np.shares_memory(r, a)) for a in given] for r in arrays(result)]


def check_frames(p: Program, function: Callable[..., Any], compiled: Any, args: Args) -> None:
    """Assert that a warm call which returns runs no Python frame."""
    if p.builds or outcome(function, copy.deepcopy(args))[0] == "raises":
        return
    compiled(*copy.deepcopy(args))
    given = copy.deepcopy(args)
    entered: list[str] = []

    def hook(frame: types.FrameType, event: str, arg: Any) -> None:
        if event == "call":
            entered.append(f"{frame.f_code.co_filename}:{frame.f_code.co_name}")

    before = sys.getprofile()
    sys.setprofile(hook)
    try:
        compiled(*given)
    finally:
        sys.setprofile(before)
    assert not entered, entered


def check_interpreted(p: Program, compiled: Any, args: Args) -> None:
    """Assert that the graph interpreter gives what machine code gives, an exception included."""
    ours, theirs = copy.deepcopy(args), copy.deepcopy(args)
    want = outcome(compiled, ours)
    try:
        found, leaves = compiled.cache.find_for(theirs, {})
    except type(want[1]):
        # It raises whatever its numbers are: there is no graph.
        return
    inputs = [leaves[k] for k in found.traced.leaves] + [look_up(h.source) for h in found.traced.hidden]
    got = outcome(lambda: Interpreted(found.traced).run(inputs, leaves), ())
    assert got[0] == want[0], (got, want)
    if want[0] == "raises":
        assert type(got[1]) is type(want[1]) and str(got[1]) == str(want[1])
    else:
        same(got[1], want[1], max(p.rtol, 1e-11))
    same(list(theirs), list(ours), max(p.rtol, 1e-11), "arguments")


# --- derivatives


def check_owned(gradients: list[np.ndarray], others: list[np.ndarray]) -> None:
    """Assert that gradients are writable, own their memory, and share none with each other or with other arrays."""
    assert all(g.flags.writeable and g.flags.owndata for g in gradients)
    assert not any(np.shares_memory(a, b) for a, b in itertools.combinations(gradients, 2))
    assert not any(np.shares_memory(a, b) for a in gradients for b in others)


def cotangent_of(value: Any, rng: np.random.Generator) -> Any:
    """Return random numbers of the structure of a value."""
    return with_floats(value, lambda v: rng.uniform(-1.0, 1.0, np.shape(v)))


def inner(a: Any, b: Any) -> float:
    """Return the inner product of two values of one structure, over their floats."""
    pairs = zip(floats(a), floats(b), strict=True)
    parts = [float(np.sum(np.asarray(x, float) * np.asarray(y, float))) for x, y in pairs]
    return math.fsum(parts) if np.isfinite(parts).all() else sum(parts)  # fsum raises for infinities of both signs


def check_derivatives(p: Program, args: Args, pull: Any, push: Any, rng: np.random.Generator) -> None:
    """Compare reverse mode, forward mode and central differences along a random direction."""
    kind, value = outcome(p.function, copy.deepcopy(args))
    t = tuple(cotangent_of(a, rng) if k in p.wrt else zeros(a) for k, a in enumerate(args))
    given = copy.deepcopy(args)
    if kind == "raises":
        got = outcome(push, (given, t))[1]
        assert type(got) is type(value) and str(got) == str(value), (got, value)
        return
    w = cotangent_of(value, rng)
    cts = pull(given, w)
    same(list(given), list(args), 0.0, "arguments")
    check_owned(arrays(cts), arrays(given) + arrays(w))
    at_value, slope = push(given, t)
    same(list(given), list(args), 0.0, "arguments")
    same(at_value, value, p.rtol, "value beside the tangent")
    for a, ct in zip(floats(args), floats(cts), strict=True):
        assert type(ct) is type(a), f"a cotangent of {type(ct).__name__} for {type(a).__name__}"
        assert np.shape(ct) == np.shape(a) and getattr(ct, "dtype", None) == getattr(a, "dtype", None)
    single = any(getattr(v, "dtype", None) == np.float32 for v in (*floats(args), *floats(value)))
    step, tol = (1e-2, 2e-2) if single else (1e-6, 2e-6)

    def along(h: float) -> float:
        there = tuple(moved(a, d, h) for a, d in zip(args, t, strict=True))
        with np.errstate(all="ignore"):
            return inner(w, p.function(*there))

    want = (along(step) - along(-step)) / (2 * step)
    assert math.isfinite(want), "choose inputs at which the differences converge"
    reverse, forward = inner(cts, t), inner(w, slope)
    sizes = [abs(float(v)) for pair in (floats(cts), floats(t)) for x in pair for v in np.ravel(x)]
    scale = max([1.0, abs(want), *sizes])
    np.testing.assert_allclose(
        reverse, forward, rtol=1e-4 if single else 1e-9, atol=scale * (1e-4 if single else 1e-11)
    )
    np.testing.assert_allclose(reverse, want, rtol=tol, atol=tol * scale, err_msg="reverse mode and differences")


def moved(x: Any, direction: Any, h: float) -> Any:
    """Return x + h * direction, with new storage."""
    steps = iter(list(floats(direction)))
    return with_floats(copy.deepcopy(x), lambda v: v + h * next(steps))
