"""All that is checked of one program of the bank; what is compiled for it is shared by the checks.

Beside values and derivatives (`harness`): the size of the graph does not grow with a trip count, and one compile serves
all counts. Results share memory with each other and with the arguments exactly as Python's do. At zeros, at ones, and
where all numbers are equal, a derivative is right wherever differences converge, and no NaN.
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

import jitgrad
from jitgrad.api import Transformed
from jitgrad.transform import Transform
from tests.programs.harness import (
    Args,
    Program,
    arrays,
    check_derivatives,
    check_frames,
    check_interpreted,
    compare_calls,
    cotangent_of,
    floats,
    inner,
    moved,
    outcome,
    rebound,
    scaled,
    under_a_global,
    with_floats,
    zeros,
)

# An argument of one of these names counts trips of a loop.
COUNTS = {"days", "limit", "most", "passes", "periods", "rounds", "steps", "sweeps"}

# Known defects, with why. A program that has lost its defect must be taken off.
SHARES_LESS = {"wrapped_tensors": "views of an array made inside, returned beside it, are copies"}


def check(p: Program) -> None:
    """Check everything about a program; what is compiled is shared between the checks."""
    function = under_a_global(p)
    compiled = jitgrad.jit(function)
    # First, while nothing is compiled that may serve several counts by chance.
    check_trip_counts(p, [("jit", compiled)])
    inputs = [*p.inputs, scaled(p.inputs[0], 0.75), scaled(p.inputs[-1], 1.25)]
    compare_calls(p, function, inputs, compiled)
    count = compiled.stats()["compiled"]
    compare_calls(p, function, inputs, compiled)
    with rebound(1.25):
        compare_calls(p, function, inputs, compiled)
    compare_calls(p, function, inputs, compiled)
    assert compiled.stats()["compiled"] == count, "the same inputs, or another number in a global, compiled again"
    for args in inputs:
        check_frames(p, function, compiled, args)
        check_interpreted(p, compiled, args)
    check_sharing(p, function, compiled)
    if p.wrt:
        pull = Transformed(Transform("pull", p.function))
        push = Transformed(Transform("push", p.function))
        check_trip_counts(p, [("pull", pull), ("push", push)])
        check_hard_points(p, pull, push)
        for k, args in enumerate(p.inputs):
            check_derivatives(p, args, pull, push, np.random.default_rng(k))


def check_rebound_global(p: Program) -> None:
    """Change the type of a global between calls."""
    function = under_a_global(p)
    compiled = jitgrad.jit(function)
    for gain in (2.0, 3, np.float64(1.5), 0.5):
        with rebound(gain):
            compare_calls(p, function, p.inputs[:1], compiled)


# --- size


def count_of(p: Program) -> int | None:
    """Return which argument of a program is a trip count, None if none is."""
    for k, name in enumerate(inspect.signature(p.function).parameters):
        if name in COUNTS and all(type(args[k]) is int for args in p.inputs if k < len(args)):
            return k
    return None


def check_trip_counts(p: Program, compiled: list[tuple[str, Any]]) -> None:
    """Assert that the same code serves 3, 10 and a million trips, and is short; none is run here."""
    position = count_of(p)
    if position is None:
        return
    args = next(a for a in p.inputs if outcome(p.function, copy.deepcopy(a))[0] == "value")
    value = p.function(*copy.deepcopy(args))
    for kind, transformed in compiled:
        used = []
        for n in (3, 10, 1_000_000):
            given = (*args[:position], n, *args[position + 1 :])
            call = {"jit": given, "pull": (given, value), "push": (given, tuple(zeros(a) for a in given))}[kind]
            used.append(transformed.cache.find_for(call, {})[0])
        assert all(u is used[0] for u in used), (kind, transformed.stats())
        assert sum(1 for _ in used[0].traced.graph.walk()) < 4000


# --- ownership


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


def check_sharing(p: Program, function: Any, compiled: Any) -> None:
    """Assert that results share memory as in Python."""
    alike = True
    for args in p.inputs:
        ours, theirs = copy.deepcopy(args), copy.deepcopy(args)
        kind, want = outcome(function, theirs)
        alike &= kind == "raises" or sharing(compiled(*ours), ours) == sharing(want, theirs)
    assert alike == (p.name not in SHARES_LESS)


# --- hard points


def hard_points(args: Args) -> Iterator[Args]:
    """Yield arguments with every float zero, every float one, and the numbers of each array equal."""
    yield tuple(map(zeros, args))
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


def check_hard_points(p: Program, pull: Any, push: Any) -> None:
    """Compare both modes with differences, where those converge, at zeros, at ones and where numbers are equal."""
    rng = np.random.default_rng(3)
    for args in hard_points(p.inputs[0]):
        try:
            value, _ = followed(p.function, args)
            t, other = (
                tuple(cotangent_of(a, rng) if k in p.wrt else zeros(a) for k, a in enumerate(args)) for _ in range(2)
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
