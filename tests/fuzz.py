"""Random programs compared with Python: `python -m tests.fuzz --minutes 5 [--seed 0]`.

A program is a list of statements over numbers, vectors and a matrix: stores, views, aliases, exchanged buffers,
branches, loops with no trips, `break`, `continue`, early returns. It is compiled and compared with Python, values,
types, exceptions and changed arguments included; reverse and forward mode must agree by the dot-product identity. A
refusal is counted by its code; a wrong value, a wrong exception or a defect is printed with its source.
"""

from __future__ import annotations

import argparse
import collections
import copy
import math
import random
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import jitgrad
from tests.programs.harness import cotangent_of, inner, same

Args = tuple[Any, ...]

NUMBERS = ("s", "t", "x")
VECTORS = ("u", "v", "w", "a")
LENGTH = 4


@dataclass
class Writer:
    """Writes one random program."""

    rng: random.Random
    lines: list[str] = field(default_factory=list)
    depth: int = 1
    loops: int = 0
    budget: int = 12
    index: list[str] = field(default_factory=list)

    def put(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def pick(self, *choices: str) -> str:
        return self.rng.choice(choices)

    # --- expressions

    def number(self, deep: int = 2) -> str:
        kind = self.rng.random()
        if deep == 0 or kind < 0.25:
            return self.pick(*NUMBERS, "0.5", "1.0", "-1.5", "2")
        if kind < 0.5:
            return f"({self.number(deep - 1)} {self.pick('+', '-', '*')} {self.number(deep - 1)})"
        if kind < 0.6:
            return f"{self.pick('np.sin', 'math.tanh', 'abs', 'np.cos', 'float')}({self.number(deep - 1)})"
        if kind < 0.85:
            return f"{self.pick(*VECTORS)}[{self.place()}]"
        if kind < 0.9:
            return f"m[{self.place(2)}, {self.place()}]"
        if kind < 0.97:
            return f"{self.pick(*VECTORS)}.{self.pick('sum', 'max', 'mean')}()"
        return f"{self.pick('max', 'min')}({self.number(deep - 1)}, {self.number(deep - 1)})"

    def place(self, size: int = LENGTH) -> str:
        fixed = [str(k) for k in range(size)] + ["-1"]
        if self.rng.random() < 0.03:
            return "k"
        if self.index and self.rng.random() < 0.5:
            i = self.pick(*self.index)
            return self.pick(i, f"{i} - 1", f"-1 - {i}") if size == LENGTH else f"{i} % {size}"
        return self.pick(*fixed)

    def vector(self, deep: int = 2) -> str:
        kind = self.rng.random()
        if deep == 0 or kind < 0.2:
            return self.pick(*VECTORS)
        if kind < 0.45:
            return f"({self.vector(deep - 1)} {self.pick('+', '-', '*')} {self.vector(deep - 1)})"
        if kind < 0.6:
            return f"({self.vector(deep - 1)} {self.pick('+', '*')} {self.number(1)})"
        if kind < 0.7:
            return f"{self.pick('np.sin', 'np.tanh', 'np.abs')}({self.vector(deep - 1)})"
        if kind < 0.78:
            return f"np.where({self.vector(0)} > {self.number(0)}, {self.vector(deep - 1)}, {self.vector(0)})"
        if kind < 0.84:
            return f"m[{self.place(2)}]"
        if kind < 0.9:
            return f"{self.pick(*VECTORS)}[::-1]"
        if kind < 0.94:
            return f"np.maximum({self.vector(0)}, {self.vector(0)})"
        return self.pick("u.copy()", "np.zeros(4)", "m.sum(axis=0)", "np.cumsum(v)", "m.T @ m[:, 0]")

    def part(self) -> tuple[str, int]:
        low = self.rng.randrange(0, 3)
        high = self.rng.randrange(low + 1, LENGTH + 1)
        return f"{low}:{high}", high - low

    def condition(self) -> str:
        kind = self.rng.random()
        if kind < 0.6:
            return f"{self.number(1)} {self.pick('<', '>', '<=')} {self.number(0)}"
        if kind < 0.75:
            return self.pick("k > 1", "n % 2 == 0", "k == n", "flag")
        if kind < 0.85 and self.index:
            return f"{self.index[-1]} {self.pick('==', '>', '!=')} {self.rng.randrange(3)}"
        return f"{self.number(0)} > 0 {self.pick('and', 'or')} {self.condition()}"

    # --- statements

    def block(self, count: int) -> None:
        before = len(self.lines)
        for _ in range(count):
            if self.budget <= 0:
                break
            self.statement()
        if len(self.lines) == before:
            self.put("pass")

    def nested(self, count: int) -> None:
        self.depth += 1
        self.block(count)
        self.depth -= 1

    def statement(self) -> None:
        self.budget -= 1
        kind = self.rng.random()
        if kind < 0.16:
            self.put(f"{self.pick('s', 't')} = {self.number()}")
        elif kind < 0.22:
            self.put(f"{self.pick('s', 't')} {self.pick('+=', '*=', '-=')} {self.number(1)}")
        elif kind < 0.34:
            self.put(f"{self.pick('u', 'v', 'w')} = {self.vector()}")
        elif kind < 0.39:
            self.put(f"{self.pick('u', 'v', 'w')} = {self.pick(*VECTORS)}{self.pick('', '', '[:]', '[::-1]')}")
        elif kind < 0.43:
            a, b = self.rng.sample(["u", "v", "w"], 2)
            self.put(f"{a}, {b} = {b}, {a}")
        elif kind < 0.53:
            self.put(f"{self.pick(*VECTORS)}[{self.place()}] {self.pick('=', '=', '+=', '*=')} {self.number(1)}")
        elif kind < 0.6:
            part, size = self.part()
            value = self.number(1) if self.rng.random() < 0.4 else f"{self.pick(*VECTORS)}[:{size}]"
            self.put(f"{self.pick(*VECTORS)}[{part}] {self.pick('=', '+=')} {value}")
        elif kind < 0.64:
            self.put(f"m[{self.place(2)}] {self.pick('=', '+=')} {self.vector(1)}")
        elif kind < 0.68:
            self.put(f"{self.pick(*VECTORS)} {self.pick('+=', '*=')} {self.pick(self.number(0), self.vector(0))}")
        elif kind < 0.71:
            self.put(f"k = k + {self.pick('1', 'n', '-1')}")
        elif kind < 0.84 and self.depth < 5:
            self.choice()
        elif kind < 0.97 and self.depth < 4:
            self.loop()
        elif self.loops:
            self.leave()

    def choice(self) -> None:
        self.put(f"if {self.condition()}:")
        self.nested(self.rng.randrange(1, 4))
        if self.rng.random() < 0.5:
            self.put("else:")
            self.nested(self.rng.randrange(1, 3))

    def loop(self) -> None:
        if self.rng.random() < 0.7:
            name = "ijl"[self.loops] if self.loops < 3 else "z"
            bound = self.pick("n", "3", "4", "len(a)", "n + 1", "0", "2")
            self.put(f"for {name} in range({self.pick('', '1, ') if bound != '0' else ''}{bound}):")
            self.index.append(name)
        else:
            # A counter of its own ends it whatever the body does.
            counter = f"c{self.loops}"
            self.put(f"{counter} = 0")
            self.put(f"while {counter} < {self.pick('n', '3')} and {self.pick('k < 4', 's < 5', 'abs(s) < 2')}:")
            self.index.append("")
            self.put(f"    {counter} += 1")
        self.loops += 1
        if not self.index[-1]:
            self.index.pop()
            self.nested(self.rng.randrange(1, 4))
        else:
            self.nested(self.rng.randrange(1, 5))
            self.index.pop()
        self.loops -= 1

    def leave(self) -> None:
        self.put(f"if {self.condition()}:")
        if self.rng.random() < 0.75:
            self.put(f"    {self.pick('break', 'continue')}")
        else:
            self.put(f"    return {RESULT}")


RESULT = "s, t, k, u.copy(), v.copy(), w.copy()"


def write(seed: int) -> str:
    """Return the source of a random function `f(a, m, x, n, flag)`."""
    w = Writer(random.Random(seed))
    w.lines.append("def f(a, m, x, n, flag):")
    w.put(f"s = {w.pick('x', '0.5', 'x * 2.0', 'a[0]')}")
    w.put("t = 1.0")
    w.put("k = 0")
    w.put(f"u = {w.pick('a', 'a.copy()', 'a * 2.0', 'm[0]')}")
    w.put(f"v = {w.pick('u', 'a[::-1]', 'np.zeros(4)', 'm[1] * 1.0')}")
    w.put(f"w = {w.pick('np.ones(4)', 'a + 1.0', 'v')}")
    w.budget = w.rng.randrange(3, 16)
    while w.budget > 0:
        w.block(3)
    w.put(f"return {RESULT}")
    return "\n".join(w.lines) + "\n"


def inputs(seed: int) -> Iterator[Args]:
    """Yield three argument tuples."""
    rng = np.random.default_rng(seed)
    for n, flag in ((2, True), (0, False), (3, False)):
        yield rng.uniform(-2, 2, LENGTH), rng.uniform(-1, 1, (2, LENGTH)), float(rng.uniform(-2, 2)), n, flag


def compile_source(source: str, seed: int) -> Callable[..., Any]:
    """Return the function of a source text, with its lines known to tracebacks."""
    import linecache

    name = f"<fuzz {seed}>"
    linecache.cache[name] = (len(source), None, source.splitlines(True), name)
    scope: dict[str, Any] = {"np": np, "math": math}
    exec(compile(source, name, "exec"), scope)
    found: Callable[..., Any] = scope["f"]
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
    return check_function(compile_source(source, seed), seed, derivatives)


def check_function(f: Callable[..., Any], seed: int, derivatives: bool = True) -> str:
    """Check a function `f(a, m, x, n, flag)`; see `check_source`."""
    compiled = jitgrad.jit(f)
    verdict = "ok"
    for args in inputs(seed):
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
        assert got[0] == want[0], f"{got} for {want}"
        if want[0] == "raises":
            assert type(got[1]) is type(want[1]), f"{got[1]!r} for {want[1]!r}"
            assert str(got[1]) == str(want[1]), f"{got[1]!r} for {want[1]!r}"
            same(list(ours), list(theirs), 1e-9, "arguments")
            continue
        same(got[1], want[1], 1e-9)
        same(list(ours), list(theirs), 1e-9, "arguments")
        if derivatives and verdict == "ok":
            verdict = check_identity(with_floats_only(f), args, seed)
    return verdict


def with_floats_only(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return f with the numbers among its results as floats: an int, which data may choose, has no derivative."""

    def g(a: Any, m: Any, x: Any, n: Any, flag: Any) -> Any:
        return tuple(float(v) if isinstance(v, int | float) else v for v in f(a, m, x, n, flag))

    return g


def check_identity(f: Callable[..., Any], args: Args, seed: int) -> str:
    """Check the dot-product identity of reverse and forward mode, and the direction by differences where smooth."""
    rng = np.random.default_rng(seed)
    value = run(f, copy.deepcopy(args))[1]
    t = tuple(cotangent_of(a, rng) for a in args)
    w = cotangent_of(value, rng)
    try:
        _, slope = jitgrad.jvp(f, copy.deepcopy(args), t)
        _, pull = jitgrad.vjp(f, *copy.deepcopy(args))
        cts = pull(w)
    except jitgrad.UnsupportedError as refusal:
        return refusal.code
    except NotImplementedError:
        return "late refusal"
    forward, reverse = inner(w, slope), inner(cts, t)
    size = max(1.0, abs(forward)) + sum(float(np.sum(np.abs(v))) for v in (*cts[:2], np.array(cts[2])))
    if math.isfinite(size):
        assert abs(forward - reverse) <= 1e-8 * size, f"<w, Jt> = {forward}, <J'w, t> = {reverse}"
        slopes = []
        for h in (1e-6, -1e-6, 2e-6, -2e-6):
            moved = [a + h * d if isinstance(a, float | np.ndarray) else a for a, d in zip(args, t, strict=True)]
            kind, at = run(f, moved)
            if kind == "raises" or [type(v) for v in at] != [type(v) for v in value]:
                return "ok"
            slopes.append((inner(w, at) - inner(w, value)) / h)
        # Where one-sided differences agree there is no kink between them, and they must give the derivative.
        if max(slopes) - min(slopes) < 1e-3 * max(1.0, abs(forward)):
            assert abs(forward - slopes[0]) < 1e-2 * max(1.0, abs(forward)), f"{forward}, differences {slopes}"
    return "ok"


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
