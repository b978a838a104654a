"""Functions with every construct that the tracer reads, and arguments to run them with.

`PROBES` maps each function to its runs. None of them needs NumPy, so that they run on every CPython; arrays are the
business of `tests/programs`.
"""

# The odd spellings are the point of this file.
# ruff: noqa: B007, B009, B023, C400, C416, E731, E741, F821, I001, PIE804, RUF005, RUF021, SIM108, SIM905
# mypy: ignore-errors
from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

__all__ = ["LOOPS_THAT_DIFFER", "PROBES"]

PROBES: dict[Callable[..., Any], list[tuple[Any, ...]]] = {}
# Functions whose loops are not those of the source, and how many there are: a loop that never repeats is none, two that
# share a head are one, and a comparison chain as a test stays a guarded loop (one, as in the source).
LOOPS_THAT_DIFFER = {"finally_return": 0, "for_returns_at_once": 0, "shared_head": 1}


def runs(*args: tuple[Any, ...]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        PROBES[function] = list(args)
        return function

    return add


STEP = 3
TABLE = {"a": 1, "b": 2}


# --- straight lines and branches


@runs((1, 2.5), (3, 4))
def arithmetic(x, y):
    z = -x + +y * 2 - x / y
    z += x // y
    z -= x % y
    z **= 2
    return z, ~int(x) << 2 | 5 & 3 ^ 1, not x, x >> 1 if isinstance(x, int) else 0


@runs((0,), (1,), (-1,))
def branches(x):
    if x > 0:
        y = 1
    elif x < 0:
        y = -1
    else:
        y = 0
    return y


@runs((0, 1), (1, 0), (1, 1), (0, 0))
def ternary(a, b):
    return (a if b else -b) + (b if a else -a) * (1 if a and b else 2)


@runs((0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 1, 0), (1, 1, 1), (0, 0, 1))
def and_or(a, b, c):
    if (a and b) or (c and not a):
        r = 1
    else:
        r = 2
    return r, a and b or c, (a or b) and c, a or b or c


@runs((0, 0), (1, 0), (0, 1), (1, 1))
def or_condition(a, b):
    if a or b:
        return "some"
    return "none"


@runs((1, 2, 3), (3, 2, 1), (1, 3, 2))
def chains(a, b, c):
    if a < b < c:
        return "up"
    if not a > b > c:
        return "neither"
    return 0 <= a < 5 <= b


@runs((None, 1), (1, None), (None, None), (2, 3))
def none_tests(a, b=None):
    if a is None:
        a = 10
    if b is not None and a:
        return a + b
    return a if b is None else b


@runs((1,), (5,))
def assertions(x):
    assert x > 0, f"bad {x}"
    assert x < 10
    return x


@runs((1,), (-1,), (0,))
def raising(x):
    if x < 0:
        raise ValueError("negative", x)
    if x == 0:
        raise ZeroDivisionError from KeyError("k")
    return x


@runs((True,), (False,))
def unbound(flag):
    if flag:
        y = 1
    return y


@runs((3,))
def deletes(x):
    d = {"a": x, "b": 2}
    del d["b"]
    y = x
    del x
    a = [1, 2, 3]
    del a[0], a[-1]
    return d, y, a


@runs((3,))
def deleted_twice(x):
    del x
    del x


# --- loops


@runs((0,), (1,), (5,))
def for_range(n):
    s = 0
    for i in range(n):
        s += i * i
    return s


@runs(([],), ([1, 2, 3],))
def for_else(xs):
    for x in xs:
        if x == 2:
            break
    else:
        return "none"
    return x


@runs((0,), (3,), (10,))
def for_break_continue(n):
    s = 0
    for i in range(n):
        if i % 2:
            continue
        if i > 6:
            break
        s += i
    return s, n


@runs((0,), (4,), (20,))
def early_return(n):
    for i in range(n):
        if i * i > 50:
            return i
    return -1


@runs((0,), (4,))
def nested(n):
    s = 0
    for i in range(n):
        for j in range(i):
            for k in range(j):
                s += i * j - k
        s *= 2
    return s


@runs((3, 4), (0, 1), (9, 9))
def nested_break(n, m):
    for i in range(n):
        for j in range(m):
            if i * j == 6:
                return i, j
            if i + j > 12:
                break
        else:
            continue
        return "broke", i
    return None


@runs((0,), (7,), (27,))
def while_simple(n):
    steps = 0
    while n > 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps


@runs((0,), (7,), (20,))
def while_continue(n):
    s = 0
    while n > 0:
        n -= 1
        if n % 3 == 0:
            continue
        s += n
    return s


@runs((0, 5), (5, 0), (5, 5), (3, 9))
def while_and(a, b):
    while a > 0 and b > 0:
        a -= 1
        if b == 2:
            continue
        b -= 2
    return a, b


@runs((0, 5), (5, 0), (5, 5))
def while_or(a, b):
    n = 0
    while a > 0 or b > 0:
        a -= 1
        b -= 1
        n += 1
    return n


@runs((0, 9, 9), (4, 2, 3), (9, 0, 0))
def while_and_or(a, b, c):
    n = 0
    while (a > 0 and b > 0) or c > 5:
        a, b, c = a - 1, b - 1, c - 1
        n += a
        if n > 20:
            break
    return n, a, b, c


@runs((0,), (3,), (30,))
def while_true(n):
    i = 0
    while True:
        if i >= n:
            break
        i += 2
        if i == 10:
            return "ten"
    return i


@runs((0,), (3,), (30,))
def while_else(n):
    while n > 0:
        n -= 3
        if n == 12:
            break
    else:
        n = -100
    return n


@runs(((1, (2, (3, None))),), (None,))
def while_not_none(node):
    s = 0
    while node is not None:
        s += node[0]
        node = node[1]
    return s


@runs((1, 5), (9, 5), (3, 4))
def while_chain(lo, hi):
    x = lo
    while lo <= x < hi:
        x += 1
    return x


@runs(([3, 1, 2],), ([],), ([1],), ([5, 4, 3, 2, 1],))
def insertion_sort(xs):
    xs = list(xs)
    for i in range(1, len(xs)):
        key = xs[i]
        j = i - 1
        while j >= 0 and xs[j] > key:
            xs[j + 1] = xs[j]
            j -= 1
        xs[j + 1] = key
    return xs


@runs((10.0,), (0.0,))
def newton(a):
    x = a
    for _ in range(50):
        if x == 0:
            break
        new = 0.5 * (x + a / x)
        if abs(new - x) < 1e-12:
            return new
        x = new
    else:
        raise ArithmeticError("no convergence")
    return x


@runs((3,), (40,))
def loop_that_must_return(n):
    for i in range(30):
        if i == n:
            return i
    raise LookupError(f"{n} not found")


@runs((4,), (0,))
def for_assert(n):
    s = 0
    for i in range(n):
        assert i < 3, (i, "too far")
        s += i
    return s


@runs(([1],), ([],))
def for_returns_at_once(xs):
    for x in xs:
        return x
    return None


@runs((5,))
def shared_head(n):
    s = 0
    while True:
        while n > 3:
            n -= 1
            s += 1
        if s > 1:
            break
        s += 1
    return s, n


@runs((7,))
def two_whiles(n):
    a = n
    while a > 0:
        a -= 2
    while a < n:
        a += 1
        while a % 3:
            a += 1
    return a


@runs((4,))
def same_test_twice(n):
    s = 0
    if n > 2:
        s += 1
    while n > 2:
        n -= 1
    if n > 2:
        s += 10
    return s, n


@runs(([(1, 2), (3, 4)],))
def for_unpacking(pairs):
    s = 0
    for i, (a, b) in enumerate(pairs):
        s += i * a - b
    for (a, *rest), c in zip([(1, 2, 3)], "x", strict=False):
        s += a + sum(rest)
    return s, c


@runs((3,))
def loop_with_locals_after(n):
    last = None
    for i in range(n):
        last = i
        t = i * 2
    return last, i, t


# --- containers, subscripts, strings


@runs((1, 2))
def displays(a, b):
    t = (a, b, *[1, 2], 3)
    l = [a, *t, b]
    s = {a, b, *t}
    d = {"x": a, **TABLE, "y": b}
    return t, l, s, d, [1, 2, 3, 4], {1, 2, 3}, {"p": 1, "q": 2, "r": 3}


@runs(([1, 2, 3, 4, 5],))
def subscripts(xs):
    xs = list(xs)
    xs[0] = xs[-1]
    xs[1:3] = [9]
    m = xs[1:], xs[:2], xs[::2], xs[-1:0:-1]
    xs[0] += 5
    d = {}
    d[1, 2] = 3
    d[1, 2] *= 7
    return xs, m, d


@runs((1, 2, 3), (3, 1, 2))
def swaps(a, b, c):
    a, b = b, a
    a, b, c = c, a, b
    (a, b), c = (b, c), a
    x = y = a
    return a, b, c, x, y


@runs(([1, 2, 3],), ((1, 2, 3, 4),), ([1],))
def unpacking(xs):
    first, *middle, last = xs
    a, b, *_ = middle + [0, 0]
    return first, middle, last, a, b


@runs(([1, 2],), ([1, 2, 3],), ([1],))
def unpack_two(xs):
    a, b = xs
    return a - b


@runs((3.14159, "s"), (2, None))
def texts(x, y):
    return f"{x} {y!r:>6} {x:.{2}f} {y!s}" + f"{x=}" + "ab"


# --- comprehensions, walrus


@runs((0,), (4,))
def comprehensions(n):
    a = [i * i for i in range(n) if i % 2]
    b = {i: j for i in range(n) for j in range(i)}
    c = {i % 3 for i in range(n)}
    d = [[i * j for j in range(i)] for i in range(n)]
    return a, b, c, d


@runs((4,))
def comprehension_shadows(n):
    i = "outer"
    a = [i for i in range(n)]
    return a, i


@runs((4,))
def comprehension_closure(n):
    x = n
    g = lambda: x
    fs = [(lambda: x) for x in range(n)]
    h = lambda: x + 1
    return [f() for f in fs], g(), h(), x


@runs((4,))
def comprehension_beside_cell(n):
    x = n

    def g():
        return x

    a = [x * 2 for x in range(n)]
    b = [x + y for y in range(2)]
    return a, b, g(), (lambda: x)()


@runs((4,))
def comprehension_cell_of_its_own(n):
    i = n
    fs = [lambda: i for i in range(n)]
    i += 1
    return [f() for f in fs], i


@runs((5,))
def generator_expressions(n):
    a = sum(i * i for i in range(n))
    b = max((i % 3, i) for i in range(n))
    c = any(i > 3 for i in range(n)), all(i < 3 for i in range(n))
    return a, b, c, tuple(i for i in range(n)), list(j for j in range(2))


@runs(([1, 5, 2, 8],))
def walrus(xs):
    if (n := len(xs)) > 3:
        n += 1
    big = [y for x in xs if (y := x * 2) > 5]
    i = 0
    while (i := i + 1) < n:
        pass
    return n, big, i


# --- functions, closures, classes


def helper(a, b=2, *args, c=3, **kwargs):
    return a, b, args, c, sorted(kwargs.items())


@runs((1,))
def calls(x):
    args = (x, 2)
    kwargs = {"c": 5, "d": 6}
    return (
        helper(x),
        helper(x, 3, 4, 5),
        helper(x, c=1),
        helper(*args),
        helper(*args, **kwargs),
        helper(0, *args, 9, e=1, **kwargs),
        helper(b=x, a=2),
        "a,b".split(","),
        "abc".replace("b", "x").upper(),
        sorted([3, 1, 2], key=lambda v: -v),
        math.sqrt(x),
        max(x, 2, key=abs),
    )


@runs((1,), (2,))
def keyword_calls(x):
    args = (x, 2)
    kwargs = {"c": 5, "d": 6}
    return helper(x, c=1, e=x), helper(*args), helper(0, *args, 9, e=1, **kwargs), "abc".replace("b", "x").upper()


@runs((1,))
def doubled_keyword(x):
    return helper(x, **{"c": 1}, **{"c": 2})


@runs((3,))
def closures(n):
    total = 0

    def add(k, scale=n, *, shift=1):
        nonlocal total
        total += k * scale + shift
        return total

    for i in range(n):
        add(i)
    add(1, shift=n)
    return total, [f(2) for f in (lambda z: z + n, lambda z, w=n: z * w)]


@runs((3,))
def free_before_bound(n):
    def g():
        return late

    if n < 0:
        late = 1
    return g()


@runs((5,))
def recursion(n):
    return 1 if n < 2 else n * recursion(n - 1)


@runs((2,))
def reads_globals(x):
    return x * STEP + TABLE["a"] + len(TABLE)


@runs((2,))
def imports(x):
    import math as m
    import os.path
    from operator import add, mul as times

    return add(x, 1), times(x, 3), m.pi, os.path.basename("a/b")


@dataclass
class Point:
    x: float
    y: float = 1.0

    def norm(self):
        return math.hypot(self.x, self.y)

    @property
    def flipped(self):
        return Point(self.y, self.x)

    def __add__(self, other):
        return Point(self.x + other.x, self.y + other.y)


class Weighted(Point):
    weight = 2.0

    def norm(self):
        return super().norm() * self.weight

    def scaled(self):
        f = lambda: super(Weighted, self).norm()
        return f() * Weighted.weight + super().flipped.x


@runs((3.0, 4.0))
def objects(x, y):
    p = Point(x, y)
    q = Weighted(x, y)
    q.weight = 3
    q.weight += 1
    p.x, p.y = p.y, p.x
    del q.weight
    return p.norm(), q.norm(), p + q.flipped, q.scaled(), p.x


@runs((3.0, 4.0))
def methods(x, y):
    return Weighted.norm(Weighted(x, y)), Weighted(x, y).scaled(), getattr(Point(x), "norm")()


# --- generators


@runs((0,), (5,))
def generator(n):
    i = 0
    while i < n:
        yield i
        i += 1
        if i == 3:
            continue
        yield -i


@runs((5,))
def generator_with_return(n):
    for i in range(n):
        if i == 3:
            return
        yield i, n


@runs((4,))
def consumes(n):
    return sum(generator(n)), [x for x in generator_with_return(n)]


# --- with, try, match


LOG: list[str] = []


@contextmanager
def noted(name: str) -> Iterator[str]:
    LOG.append(f"+{name}")
    yield name
    LOG.append(f"-{name}")


@runs((1,), (5,))
def with_blocks(x):
    LOG.clear()
    with noted("a") as a, noted("b"):
        if x > 2:
            return a, list(LOG)
        x += 1
    with noted("c"):
        for i in range(x):
            with noted(f"d{i}"):
                if i == 1:
                    break
    return x, list(LOG)


@runs((1,), (0,))
def try_normal(x):
    try:
        y = x + 1
    except TypeError:
        y = -1
    except (ValueError, KeyError) as exception:
        y = str(exception)
    else:
        y *= 2
    finally:
        x = y
    return x, y


@runs((3,))
def try_in_loop(n):
    s = 0
    for i in range(n):
        try:
            if i == 1:
                continue
            s += i
        finally:
            s += 100
    return s


@runs((3,), (0,))
def finally_return(n):
    while True:
        try:
            if n > 1:
                return n
            break
        finally:
            n -= 1
    return "out", n


@runs((0,), (1,), ([1, 2],), ([1, 2, 3],), ({"k": 5},), (Point(1, 2),), ("text",), (None,), (2.5,), ((0, (9,)),))
def matching(x):
    match x:
        case 0 | 1:
            return "small"
        case [a, b]:
            return a, b
        case [a, *rest]:
            return a, rest
        case {"k": v, **others}:
            return v, others
        case Point(x=px, y=py) if px < py:
            return px, py
        case str() as s:
            return s
        case None:
            return "none"
        case float(f):
            return f
    return "other"


@runs((Point(0, 1),), (Point(1, 0),), ((1, Point(2, 3)),))
def matching_positional(p):
    match p:
        case Point(0, y):
            r = y
        case Point(x, 0):
            r = x * 10
        case (n, Point() as q):
            r = n + q.x
        case _:
            r = None
    return r


# --- all together


@runs((0, 0), (5, 3), (12, 7))
def tangled(n, m):
    out = []
    for i in range(n):
        if i % 2 == 0 and (m > 3 or i > 2):
            j = 0
            while True:
                j += 1
                if j > m:
                    break
                if j == i:
                    continue
                out.append(i if j % 2 else -j)
                if len(out) > 9:
                    return out, "full"
        elif i == 7:
            break
        else:
            out += [k for k in range(i) if k % 3 == m % 3]
    else:
        out.append("end")
    return out, i if n else None


@runs(("1+2*3",), ("(1+2)*3-4",), ("((2))",), ("1+",), ("2*(3",))
def parser(text):
    at = 0

    def expect(c):
        nonlocal at
        if at < len(text) and text[at] == c:
            at += 1
            return True
        return False

    def atom():
        nonlocal at
        if expect("("):
            v = total()
            if not expect(")"):
                raise SyntaxError(f"expected ) at {at}")
            return v
        start = at
        while at < len(text) and text[at].isdigit():
            at += 1
        if at == start:
            raise SyntaxError(f"expected a number at {at}")
        return int(text[start:at])

    def product():
        v = atom()
        while expect("*"):
            v *= atom()
        return v

    def total():
        v = product()
        while True:
            if expect("+"):
                v += product()
            elif expect("-"):
                v -= product()
            else:
                return v

    return total()


@runs(([[2.0, 1.0], [1.0, 3.0]],), ([[0.0, 1.0], [1.0, 0.0]],), ([[1.0, 1.0], [1.0, 1.0]],))
def elimination(a):
    a = [row[:] for row in a]
    n = len(a)
    det = 1.0
    for k in range(n):
        p = max(range(k, n), key=lambda i: abs(a[i][k]))
        if a[p][k] == 0:
            return 0.0
        if p != k:
            a[k], a[p] = a[p], a[k]
            det = -det
        det *= a[k][k]
        for i in range(k + 1, n):
            f = a[i][k] / a[k][k]
            for j in range(k, n):
                a[i][j] -= f * a[k][j]
    return det
