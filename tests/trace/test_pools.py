"""Arrays that lists hold in several places, stored into: items and names are one array exactly where Python's are.

First programs of the kinds that people write, then random ones, each compared in values, in which results are one
array, and in gradients.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad import UnsupportedError
from tests.trace.calling import assert_same, outcome

X = np.array([0.55, 1.5, -0.75])
INPUTS = [(X, 3), (-X, 1), (X, 0), (2.0 * X[::-1].copy(), 4)]


def the_same_in_each_trip(x: np.ndarray, n: int) -> Any:
    u, out = x * 1.0, []
    for _ in range(n):
        out.append(u)
        u += 1.0
    return out


def another_in_some_trips(x: np.ndarray, n: int) -> Any:
    u, out = x * 1.0, []
    for t in range(n):
        if x[t % 3] > 0.0:
            u = u * 1.1
        out.append(u)
        u[0] += x[1]
    return u, out


def in_two_lists(x: np.ndarray, n: int) -> Any:
    everyone, some = [], []
    for t in range(n):
        u = x * t
        everyone.append(u)
        if u[0] > 0.4:
            some.append(u)
        u[1] += 0.5
    for u in some:
        u *= 2.0
    return everyone, some


def those_that_are_left(x: np.ndarray, n: int) -> Any:
    everyone, active = [], []
    for t in range(n):
        p = x + t
        everyone.append(p)
        active.append(p)
    for _ in range(3):
        rest = []
        for p in active:
            p -= 0.5
            if p[0] > 0.01:
                rest.append(p)
        active = rest
    return everyone, active


def the_best_of_them(x: np.ndarray, n: int) -> Any:
    rows, best = [], None
    for t in range(n):
        u = np.sin(x * t)
        rows.append(u)
        if best is None or u.sum() > best.sum():
            best = u
    if best is not None:
        best[0] = 5.0 * x[0]
    return np.array(rows).sum() if rows else 0.0


def through_copies_of_the_list(x: np.ndarray, n: int) -> Any:
    a = []
    for t in range(n):
        a.append(x * t)
    for row in a[1:]:
        row += 1.0
    for row in [row for row in a if row[0] > 0.6]:
        row[0] = x[1]
    ordered = sorted(a, key=lambda row: -row[1])
    for k in range(len(ordered)):
        ordered[k][2] = x[2] * k
    both = a + a[::-1]
    if both:
        both[-1][0] *= 3.0
    return a, ordered, both


def one_in_all_places(x: np.ndarray, n: int) -> Any:
    a = []
    for t in range(n):
        a.append(x * t)
    for t in range(1, n):
        a[t] = a[0]
    if a:
        a[-1][1] += x[0]
    return a


def of_tuples(x: np.ndarray, n: int) -> Any:
    u, events = x * 1.0, []
    for t in range(n):
        events.append((t, u))
        u += 0.5
    return events


class Walker:
    """Something that remembers the array it has at each step."""

    def __init__(self, at: np.ndarray) -> None:
        self.at = at
        self.path: list[np.ndarray] = []

    def step(self, t: int) -> None:
        self.path.append(self.at)
        if t % 2 == 1:
            self.at = self.at * 1.5
        self.at += 0.25


def of_attributes(x: np.ndarray, n: int) -> Any:
    walker = Walker(x * 1.0)
    for t in range(n):
        walker.step(t)
    return walker.path, walker.at


def compared(x: np.ndarray, n: int) -> Any:
    u, v, out, count = x * 1.0, x * 2.0, [], 0.0
    for t in range(n):
        out.append(u if x[t % 3] > 0.0 else v)
        u[0] += 1.0
        count += out[0] is out[-1]
    return count, (np.array(out) if out else x).sum()


def a_queue_that_breeds(x: np.ndarray, n: int) -> Any:
    queue, seen = [x * 1.0], []
    while queue and len(seen) < n + 2:
        u = queue.pop(0)
        seen.append(u)
        u *= 0.9
        if u[0] > 0.2:
            queue.append(u)
            queue.append(u * 0.5)
    return seen, queue


def of_two_types(x: np.ndarray, n: int) -> Any:
    a, b = [], []
    u, m = x * 1.0, np.outer(x, x)
    for t in range(n):
        a.append(u)
        b.append(m)
        u += m[t % 3]
        m *= 0.5
        a.append(u)
    return a, b


def put_in_and_taken_out(x: np.ndarray, n: int) -> Any:
    a = []
    for t in range(n + 1):
        u = x * t
        a.insert(0, u)
        a.append(u)
        u[0] = t
    del a[0]
    a[0][1] = 9.0 * x[0]
    b = []
    b.extend(a)
    b += a
    b[-1][2] += x[1]
    return a, b


def beside_a_number(x: np.ndarray, n: int) -> Any:
    best, log = (0.0, x * 1.0), []
    for _ in range(n):
        c = best[1] * 1.1
        f = (c * c).sum()
        log.append((f, c))
        if f > 1.0:
            best = (f, c)
        c[0] *= 0.5
    return log, best[0] + best[1].sum()


PROGRAMS = [
    a_queue_that_breeds, of_two_types, put_in_and_taken_out, beside_a_number,
    the_same_in_each_trip, another_in_some_trips, in_two_lists, those_that_are_left, the_best_of_them,
    through_copies_of_the_list, one_in_all_places, of_tuples, of_attributes, compared,
]  # fmt: skip


def _leaves(v: Any) -> list[Any]:
    return [leaf for item in v for leaf in _leaves(item)] if isinstance(v, list | tuple) else [v]


def _same_arrays(v: Any) -> list[list[bool]]:
    arrays = [leaf for leaf in _leaves(v) if isinstance(leaf, np.ndarray)]
    return [[a is b for b in arrays] for a in arrays]


def _total(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that gives the sum of what a function gives, weighted by places in lists."""

    def total(x: np.ndarray, n: int) -> Any:
        s = 0.0 * x[0]
        made = function(x, n)
        for part in made if isinstance(made, tuple) else (made,):
            k = 1.0
            for item in part if isinstance(part, list) else [part]:
                s += k * np.sum(item[1] if isinstance(item, tuple) else item)
                k *= 1.25
        return s

    return total


def _check(function: Callable[..., Any], inputs: list[Any]) -> None:
    compiled, total = jitgrad.jit(function), _total(function)
    gradient = jitgrad.grad(total)
    for x, n in inputs:
        want, got = outcome(function, (x.copy(), n)), outcome(compiled, (x.copy(), n))
        assert got[0] == want[0], (got, want)
        if want[0] == "raises":
            assert type(got[1]) is type(want[1])
            continue
        assert_same(got[1], want[1], 1e-12)
        assert _same_arrays(got[1]) == _same_arrays(want[1])
        slopes = [[(total(x + h * e, n) - total(x - h * e, n)) / (2.0 * h) for e in np.eye(3)] for h in (1e-6, 3e-7)]
        if np.allclose(*slopes, rtol=1e-4, atol=1e-5):
            np.testing.assert_allclose(gradient(x, n), slopes[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("function", PROGRAMS)
def test_as_in_python(function: Callable[..., Any]) -> None:
    _check(function, INPUTS)


def test_the_length_is_no_part_of_the_code() -> None:
    compiled = jitgrad.jit(in_two_lists)
    for n in (3, 7, 12, 25):
        assert_same(compiled(X, n), in_two_lists(X, n), 1e-12)
    assert compiled.stats()["compiled"] == 1


def test_kinds_of_numbers_in_one_of_two_lists() -> None:
    def function(x: np.ndarray, n: int) -> Any:
        a, b = [], []
        for t in range(n):
            a.append(t)
            b.append(2 * t)
        chosen = a if x[0] > 0.0 else b
        return chosen[-1], chosen

    compiled = jitgrad.jit(function)
    for x, n in [(X, 3), (-X, 3), (X, 1)]:
        assert_same(compiled(x, n), function(x, n), 0.0)


def _views_of_a_matrix(x: np.ndarray, n: int) -> Any:
    m, rows = np.outer(x, x), []
    for i in range(n):
        rows.append(m[i % 3])
    m *= 2.0
    return sum(row.sum() for row in rows)


def _the_callers_own(x: np.ndarray, n: int) -> Any:
    out = []
    for _ in range(n):
        out.append(x)
    x[0] = 3.0
    return sum(row.sum() for row in out)


def _views_of_items(x: np.ndarray, n: int) -> Any:
    rows, heads = [], []
    for t in range(n):
        u = x * (t + 1.0)
        rows.append(u)
        rows.append(u)
        heads.append(u[:2])
    rows[0][0] += 2.0
    return sum(h.sum() for h in heads) + sum(r.sum() for r in rows)


def _turned_items(x: np.ndarray, n: int) -> Any:
    rows = []
    for t in range(n):
        u = x * (t + 1.0)
        rows.append(u)
        rows.append(u[::-1])
        u[0] += 1.0
    return sum(r[0] for r in rows)


def _another_array_in_some_trips(x: np.ndarray, n: int) -> Any:
    u, rows = x * 1.0, [x * 2.0]
    for _ in range(3):
        for k in range(n):
            if x[k] > 0.0:
                if x[k] > 1.0:
                    u = u * 2.0
                for _ in u:
                    rows.append(u)
        for r in rows:
            r *= 0.5
            r[-2] *= np.stack(rows)[-1, 2]
    return u, rows[-1]


_MOVELESS = [_views_of_a_matrix, _the_callers_own, _views_of_items, _turned_items, _another_array_in_some_trips]


@pytest.mark.parametrize("function", _MOVELESS)
def test_what_cannot_move_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(UnsupportedError, match="JG241"):
        jitgrad.jit(function)(X.copy(), 3)


# --- random programs


class _Writer:
    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def one(self, *choices: str) -> str:
        return self.random.choice(choices)

    def name(self) -> str:
        return self.one("u", "v")

    def item(self) -> str:
        items = self.one("a", "b")
        return f"{items}[{self.one('-1', '0', f't % len({items})')}]"

    def new(self) -> str:
        return self.one(f"{self.name()} * 1.1", "x + t", f"np.sin({self.item()})", f"{self.name()}.copy()")

    def array(self) -> str:
        return self.one(self.name(), self.item(), self.new())

    def statement(self, deep: int = 0) -> list[str]:
        items = self.one("a", "b")
        kinds: list[list[str]] = [
            [f"{items}.append({self.array()})"],
            [f"{items}.append({self.array()})"],
            [f"{self.name()}[{self.one('0', '1', '2')}] += {self.one('x[1]', '0.5')}"],
            [f"{self.item()}[{self.one('0', '1', '2')}] {self.one('=', '*=')} {self.one('x[1]', '0.5', 't + 1.0')}"],
            [f"{self.name()} += {self.one('0.5', self.item(), 'x')}"],
            [f"{self.name()} = {self.array()}"],
            ["u, v = v, u"],
            [f"{self.item()} = {self.array()}"],
            [f"for w in {items}:", f"    w[{self.one('0', '1', '2')}] += 0.25"],
            [f"if len({items}) > 1:", f"    {self.name()} = {items}.pop({self.one('', '0')})"],
            [f"b = {self.one('list(a)', 'a[1:] + b', '[w for w in a if w[0] > 0.3] + b', 'b')}"],
            [f"s += 1.0 if {self.name()} is {self.item()} else 0.5"],
            [f"s += {self.name()}.sum() + {self.item()}[1]"],
        ]
        if deep < 2:
            test = self.one("x[0] > t", "u[0] > v[1]", "t % 2 == 0", "a[-1][0] < 1.0")
            kinds.append([f"if {test}:", *(f"    {line}" for line in self.statement(deep + 1))])
        return self.random.choice(kinds)

    def program(self) -> str:
        lines = ["u, v, s, t = x * 1.0, x + 1.0, 0.0, 0"]
        lines.append(f"a, b = [{self.one('u', 'x * 2.0')}], [{self.one('u', 'v', 'x * 3.0')}]")
        lines.append("for t in range(n):")
        for _ in range(self.random.randint(2, 5)):
            lines += [f"    {line}" for line in self.statement()]
        for _ in range(self.random.randint(0, 2)):
            lines += self.statement()
        lines.append("for w in a:")
        lines.append("    s += (w * w).sum()")
        lines.append(f"return {self.one('s', 's', 's, a, b', 's + (np.array(a) * 0.5).sum() + np.array(b).sum()')}")
        return "def program(x, n):\n" + "\n".join(f"    {line}" for line in lines)


def test_random_programs() -> None:
    done = 0
    for seed in range(24):
        text = _Writer(seed).program()
        scope: dict[str, Any] = {"np": np}
        exec(compile(text, f"<program {seed}>", "exec"), scope)
        try:
            _check(scope["program"], INPUTS)
        except UnsupportedError as refused:
            assert refused.code in ("JG225", "JG236", "JG240", "JG241"), text
        except AssertionError as found:
            found.add_note(text)
            raise
        else:
            done += 1
    assert done >= 16
