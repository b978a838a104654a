"""What every program of the bank must keep to beside its values: size of code, ownership, exceptions, hard points.

The size of the graph does not grow with a trip count, and one compile serves all counts. Results share memory with each
other and with the arguments exactly as Python's do, gradients with nothing. Both derivative modes raise what Python
raises, at its line. At zeros, at ones, and where all numbers are equal, a derivative is right wherever differences
converge, and no NaN.
"""

from __future__ import annotations

import copy
import inspect
import itertools
import math
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.api import Transformed
from jitgrad.transform import Transform
from tests.programs import (
    bank_aliases,
    bank_choices,
    bank_classes,
    bank_control,
    bank_finance,
    bank_loops,
    bank_models,
    bank_numerics,
    bank_science,
    bank_short,
    bank_sizes,
    bank_states,
    bank_stores,
    bank_textbook,
)
from tests.programs.harness import (
    PROGRAMS,
    Args,
    Program,
    cotangent_of,
    floats,
    inner,
    last_line,
    outcome,
    same,
    scaled,
    with_floats,
)
from tests.test_second_order import weighted

assert (
    bank_aliases
    and bank_choices
    and bank_classes
    and bank_control
    and bank_finance
    and bank_loops
    and bank_models
    and bank_numerics
)
assert bank_science and bank_short and bank_sizes and bank_states and bank_stores and bank_textbook

# An argument of one of these names counts trips of a loop.
COUNTS = {"days", "limit", "most", "passes", "periods", "rounds", "steps", "sweeps"}

# Known defects, with why. A program that has lost its defect must be taken off.
SHARES_LESS = {"wrapped_tensors": "views of an array made inside, returned beside it, are copies"}

each_program = pytest.mark.parametrize("p", PROGRAMS, ids=lambda p: p.name)
each_differentiable = pytest.mark.parametrize("p", [p for p in PROGRAMS if p.wrt], ids=lambda p: p.name)


def counted() -> Iterator[tuple[Program, int]]:
    """Yield the programs that have a trip count among their arguments, and its position."""
    for p in PROGRAMS:
        for k, name in enumerate(inspect.signature(p.function).parameters):
            if name in COUNTS and all(type(args[k]) is int for args in p.inputs if k < len(args)):
                yield p, k


# --- size


@pytest.mark.parametrize(("p", "position"), list(counted()), ids=lambda v: getattr(v, "name", ""))
def test_code_does_not_grow_with_a_trip_count(p: Program, position: int) -> None:
    """The same code serves 3, 10 and a million trips, forwards and in both derivative modes; none is run here."""
    args = next(a for a in p.inputs if outcome(p.function, copy.deepcopy(a))[0] == "value")
    value = p.function(*copy.deepcopy(args))
    for kind in ("jit", "pull", "push") if p.wrt else ("jit",):
        transformed = Transformed(Transform(kind, p.function))
        used = []
        for n in (3, 10, 1_000_000):
            given = (*args[:position], n, *args[position + 1 :])
            call = {"jit": given, "pull": (given, value), "push": (given, tuple(scaled(a, 0.0) for a in given))}[kind]
            used.append(transformed.cache.find_for(call, {})[0])
        assert all(u is used[0] for u in used), (kind, transformed.stats())
        assert sum(1 for _ in used[0].traced.graph.walk()) < 4000


# --- ownership


def arrays(value: Any) -> list[np.ndarray]:
    """Return the arrays of a result or an argument, in order."""
    found: list[np.ndarray] = []

    def look(v: Any) -> None:
        if isinstance(v, np.ndarray):
            found.append(v)
        elif isinstance(v, list | tuple):
            for item in v:
                look(item)
        elif isinstance(v, dict):
            for item in v.values():
                look(item)
        elif hasattr(v, "__dict__") and not callable(v):
            for item in vars(v).values():
                look(item)

    look(value)
    return found


def sharing(result: Any, args: Any) -> tuple[list[bool], list[bool], list[bool]]:
    """Return which arrays of a result are one object or share memory, among themselves and with the arguments'."""
    ours, theirs = arrays(result), arrays(list(args))
    pairs = list(itertools.combinations(ours, 2))
    with_arguments = list(itertools.product(ours, theirs))
    return (
        [a is b for a, b in pairs],
        [np.shares_memory(a, b) for a, b in pairs],
        [np.shares_memory(a, b) for a, b in with_arguments],
    )


@each_program
def test_results_share_memory_as_in_python(p: Program) -> None:
    compiled = jitgrad.jit(p.function)
    alike = True
    for args in p.inputs:
        ours, theirs = copy.deepcopy(args), copy.deepcopy(args)
        kind, want = outcome(p.function, theirs)
        alike &= kind == "raises" or sharing(compiled(*ours), ours) == sharing(want, theirs)
    assert alike == (p.name not in SHARES_LESS)


@each_differentiable
def test_gradients_own_their_memory(p: Program) -> None:
    pull = Transformed(Transform("pull", p.function))
    for args in p.inputs:
        kind, value = outcome(p.function, copy.deepcopy(args))
        if kind == "raises":
            continue
        ones = with_floats(value, np.ones_like)
        given = copy.deepcopy(args)
        gradients = arrays(pull(given, ones))
        assert all(g.flags.writeable and g.flags.owndata for g in gradients)
        others = arrays(list(given)) + arrays(ones)
        assert not any(np.shares_memory(a, b) for a, b in itertools.combinations(gradients, 2))
        assert not any(np.shares_memory(a, b) for a in gradients for b in others)
        same(list(given), list(args), 0.0, "arguments")


# --- exceptions


def failing() -> list[Program]:
    return [p for p in PROGRAMS if any(outcome(p.function, copy.deepcopy(a))[0] == "raises" for a in p.inputs)]


@pytest.mark.parametrize("p", failing(), ids=lambda p: p.name)
def test_exceptions_of_derivatives(p: Program) -> None:
    """Type, message and line, in both modes; the arguments are left alone."""

    def scalar(*args: Any) -> Any:
        return weighted(p.function(*args))

    for args in p.inputs:
        kind, want = outcome(p.function, copy.deepcopy(args))
        if kind == "value" or next(floats(list(args)), None) is None:
            continue
        calls: list[tuple[Any, Args]] = []
        given = copy.deepcopy(args)
        push = Transformed(Transform("push", p.function))
        calls.append((push, (given, tuple(scaled(a, 0.0) for a in args))))
        if p.wrt:
            calls.append((jitgrad.grad(scalar, argnums=p.wrt), given))
        for function, passed in calls:
            found, got = outcome(function, passed)
            assert found == "raises" and type(got) is type(want), (function, got, want)
            assert str(got) == str(want)
            assert last_line(got) == last_line(want)
            same(list(given), list(args), 0.0, "arguments")


# --- hard points


def hard_points(args: Args) -> Iterator[Args]:
    """Yield arguments with every float zero, every float one, and the numbers of each array equal."""
    yield tuple(with_floats(a, np.zeros_like) for a in args)
    yield tuple(with_floats(a, np.ones_like) for a in args)
    yield tuple(with_floats(a, lambda v: np.full_like(v, np.ravel(v)[0] if np.size(v) else 0.0)) for a in args)


class TooLong(Exception):
    """A hard point at which a program runs on and on."""


def followed(f: Any, args: Args) -> tuple[Any, int]:
    """Call a program for at most some thousands of its lines; return its value and a hash of the lines it ran."""
    left, path = 50_000, 0

    def count(frame: types.FrameType, event: str, arg: Any) -> Any:
        nonlocal left, path
        left -= 1
        path = hash((path, frame.f_lineno))
        if left < 0:
            raise TooLong
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        with np.errstate(all="ignore"):
            return f(*copy.deepcopy(args)), path
    finally:
        sys.settrace(before)


def moved(x: Any, direction: Any, h: float) -> Any:
    """Return x + h * direction."""
    steps = iter(list(floats(direction)))
    return with_floats(copy.deepcopy(x), lambda v: v + h * next(steps))


def slope(f: Any, args: Args, t: Args, w: Any) -> float | None:
    """Return the slope along t if one-sided differences of two steps agree on both sides, on one path of lines."""
    at, path = followed(f, args)
    slopes = []
    for h in (1e-5, -1e-5, 2e-6, -2e-6):
        beside, other = followed(f, tuple(moved(a, d, h) for a, d in zip(args, t, strict=True)))
        if other != path:
            return None
        slopes.append((inner(w, beside) - inner(w, at)) / h)
    centre = 0.5 * (slopes[2] + slopes[3])
    if not all(map(math.isfinite, slopes)) or max(slopes) - min(slopes) > 1e-3 * max(1.0, abs(centre)):
        return None
    return centre


def linear_slope(f: Any, args: Args, t: Args, other: Args, w: Any) -> float | None:
    """Return the slope along t where slopes converge and add up, as they do where there is a derivative."""
    both = tuple(moved(a, b, 1.0) for a, b in zip(t, other, strict=True))
    found = [slope(f, args, d, w) for d in (t, other, both)]
    if any(v is None for v in found):
        return None
    one, two, total = (float(v) for v in found if v is not None)
    return one if abs(one + two - total) <= 1e-3 * max(1.0, abs(one), abs(two)) else None


@each_differentiable
def test_hard_points(p: Program) -> None:
    pull = Transformed(Transform("pull", p.function))
    push = Transformed(Transform("push", p.function))
    rng = np.random.default_rng(3)
    for args in hard_points(p.inputs[0]):
        try:
            value, _ = followed(p.function, args)
            t, other = (
                tuple(cotangent_of(a, rng) if k in p.wrt else scaled(a, 0.0) for k, a in enumerate(args))
                for _ in range(2)
            )
            w = cotangent_of(value, rng)
            want = linear_slope(p.function, args, t, other, w)
        except (ArithmeticError, AssertionError, LookupError, NameError, RuntimeError, TooLong, ValueError):
            continue
        single = any(getattr(v, "dtype", None) == np.float32 for v in (*floats(list(args)), *floats(value)))
        if want is None or single:
            continue
        reverse = inner(pull(copy.deepcopy(args), w), t)
        forward = inner(w, push(copy.deepcopy(args), t)[1])
        tolerance = 1e-3 * max(1.0, abs(want))
        assert abs(forward - want) <= tolerance, f"forward {forward}, differences {want} at {args}"
        assert abs(reverse - want) <= tolerance, f"reverse {reverse}, differences {want} at {args}"
