"""Random programs compared with Python: `python -m tests.fuzz --minutes 5 [--seed 0]`.

A program of `tests/random_programs.py` is compiled and compared with Python, values, types, exceptions and changed
arguments included; reverse and forward mode must agree by the dot-product identity, and with differences where these
converge; for some programs so must the derivatives of the gradient. A refusal is counted by its code; a wrong value, a
wrong exception or a defect is printed with its source.
"""

from __future__ import annotations

import argparse
import collections
import copy
import math
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import jitgrad
from tests.programs.harness import cotangent_of, floats, inner, same
from tests.random_programs import write
from tests.source import function_of

Args = tuple[Any, ...]

# Derivatives of the gradient are checked of every so manieth program, with its first arguments: they are large.
_SECOND = 10


def inputs(seed: int) -> Iterator[Args]:
    """Yield three argument tuples."""
    rng = np.random.default_rng(seed)
    for n, flag in ((2, True), (0, False), (3, False)):
        m = rng.uniform(-1, 1, (2, 4))
        yield rng.uniform(-2, 2, 4), np.asfortranarray(m) if seed % 7 == 0 else m, float(rng.uniform(-2, 2)), n, flag


def compile_source(source: str, seed: int) -> Callable[..., Any]:
    """Return the function of a source text, with its lines known to tracebacks."""
    found: Callable[..., Any] = function_of(source, f"<fuzz {seed}>", math=math)
    return found


def run(function: Callable[..., Any], args: Any) -> tuple[str, Any]:
    """Return the value or the exception of a call."""
    try:
        with np.errstate(all="ignore"):
            return "value", function(*args)
    except jitgrad.JitgradError:
        raise
    except Exception as exception:
        return "raises", exception


def check_source(source: str, seed: int, derivatives: bool = True) -> str:
    """Check one program; return "ok" or the code of a refusal.

    Raises
    ------
    Exception
        Whatever shows a defect.
    """
    rtol = 1e-5 if "float32" in source else 1e-9
    return check_function(compile_source(source, seed), seed, derivatives, rtol)


def check_function(f: Callable[..., Any], seed: int, derivatives: bool = True, rtol: float = 1e-9) -> str:
    """Check a function `f(a, m, x, n, flag)`; see `check_source`."""
    compiled = jitgrad.jit(f)
    smooth = with_floats_only(f)  # one function, whose derivatives are compiled once
    verdict = "ok"
    for number, args in enumerate(inputs(seed)):
        ours, theirs = copy.deepcopy(args), copy.deepcopy(args)
        want = run(f, theirs)
        try:
            got = run(compiled, ours)
        except jitgrad.UnsupportedError as refusal:
            verdict = refusal.code
            continue
        if got[0] == "raises" and isinstance(got[1], NotImplementedError):
            verdict = "late refusal"
            continue
        compare(got, want, rtol)
        same(list(ours), list(theirs), rtol, "arguments")
        if derivatives and verdict == "ok":
            verdict = check_derivatives(smooth, args, seed, rtol, seed % _SECOND == 0 and number == 0)
    return verdict


def compare(got: tuple[str, Any], want: tuple[str, Any], rtol: float) -> None:
    """Compare values, or exceptions."""
    assert got[0] == want[0], f"{got} for {want}"
    if want[0] == "raises":
        assert type(got[1]) is type(want[1]), f"{got[1]!r} for {want[1]!r}"
        assert str(got[1]) == str(want[1]), f"{got[1]!r} for {want[1]!r}"
    else:
        same(got[1], want[1], rtol)


def with_floats_only(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return f with the numbers among its results as floats: 0 for an int, which data may choose and has no derivative.

    A large int follows what it was rounded from so closely that its steps look like a slope in differences.
    """

    def g(a: Any, m: Any, x: Any, n: Any, flag: Any) -> Any:
        made = []
        for v in f(a, m, x, n, flag):
            if isinstance(v, int | np.integer):
                made.append(0.0)
            else:
                made.append(float(v) if isinstance(v, float | np.floating) else v)
        return tuple(made)

    return g


def check_derivatives(f: Callable[..., Any], args: Args, seed: int, rtol: float, second: bool) -> str:
    """Check derivatives of a program, and those of its gradient if asked to."""
    try:
        value = check_identity(f, args, seed, rtol)
        if value is None or not second or rtol > 1e-9:
            return "ok"
        w = cotangent_of(value, np.random.default_rng(seed))
        n, flag = args[3:]

        def energy(a: Any, m: Any, x: Any) -> Any:
            total = 0.0
            for weights, part in zip(w, f(a, m, x, n, flag), strict=True):
                total = total + np.sum(weights * part * part)
            return total

        # Compiled code is what moves: the first derivatives were checked above.
        check_identity(jitgrad.grad(energy, argnums=(0, 1, 2)), args[:3], seed, rtol)
    except jitgrad.UnsupportedError as refusal:
        return refusal.code
    except NotImplementedError:
        return "late refusal"
    return "ok"


def check_identity(f: Callable[..., Any], args: Args, seed: int, rtol: float) -> Any:
    """Check the dot-product identity of reverse and forward mode, and the direction by differences where smooth.

    Returns the value of f, None if it raises: then its derivatives must raise that too.
    """
    rng = np.random.default_rng(seed)
    kind, value = run(f, copy.deepcopy(args))
    t = tuple(cotangent_of(a, rng) for a in args)
    if kind == "raises":
        compare(run(lambda *xs: jitgrad.jvp(f, xs, t), copy.deepcopy(args)), (kind, value), rtol)
        compare(run(lambda *xs: jitgrad.vjp(f, *xs), copy.deepcopy(args)), (kind, value), rtol)
        return None
    w = cotangent_of(value, rng)
    _, slope = jitgrad.jvp(f, copy.deepcopy(args), t)
    _, pull = jitgrad.vjp(f, *copy.deepcopy(args))
    cts = pull(w)
    forward, reverse = inner(w, slope), inner(cts, t)
    size = max(1.0, abs(forward)) + sum(float(np.sum(np.abs(v))) for v in floats(cts))
    if not math.isfinite(size):
        return value
    assert abs(forward - reverse) <= 10 * rtol * size, f"<w, Jt> = {forward}, <J'w, t> = {reverse}"
    if rtol > 1e-9:
        return value
    slopes = []
    for h in (1e-6, -1e-6, 2e-6, -2e-6):
        moved = [a + h * d if isinstance(a, float | np.ndarray) else a for a, d in zip(args, t, strict=True)]
        kind, at = run(f, moved)
        if kind == "raises" or shapes_of(at) != shapes_of(value):
            return value
        slopes.append((inner(w, at) - inner(w, value)) / h)
    # Where one-sided differences agree there is no kink between them, and they must give the derivative.
    if max(slopes) - min(slopes) < 1e-3 * max(1.0, abs(slopes[0])):
        assert abs(forward - slopes[0]) < 1e-2 * max(1.0, abs(forward)), f"{forward}, differences {slopes}"
    return value


def shapes_of(values: Any) -> list[Any]:
    """Return type and shape of each of some results."""
    return [(type(v), np.shape(v)) for v in values]


def fuzz(first: int, seconds: float, out: Any = sys.stdout, count: int | None = None) -> list[tuple[int, str]]:
    """Check programs from a first seed on; return the seeds that show defects, with why."""
    end = time.monotonic() + seconds
    verdicts: collections.Counter[str] = collections.Counter()
    found: list[tuple[int, str]] = []
    seed = first
    while time.monotonic() < end and (count is None or seed < first + count):
        source = write(seed)
        try:
            verdicts[check_source(source, seed)] += 1
        except Exception as defect:
            verdicts["DEFECT"] += 1
            found.append((seed, f"{type(defect).__name__}: {str(defect)[:400]}"))
            print(
                f"--- seed {seed}: {traceback.format_exception_only(defect)[-1][:600]}\n{source}", file=out, flush=True
            )
        seed += 1
    print(f"{seed - first} programs from seed {first}: {dict(verdicts.most_common())}", file=out)
    return found


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    sys.exit(bool(fuzz(given.seed, given.minutes * 60)))


if __name__ == "__main__":
    main()
