"""One compile serves all sizes: what NumPy programs commonly do with arrays of any size.

Each function is called with many sizes: the third compile is the last, values are NumPy's and gradients those of a
callable that has seen no other size.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.errors import UnsupportedError
from tests.programs.harness import same

SIZES = (5, 6, 7, 12, 33)
Make = Callable[[np.random.Generator, int], tuple[Any, ...]]


def vector(r: np.random.Generator, n: int) -> tuple[Any, ...]:
    return (r.uniform(0.2, 2.0, n),)


def two(r: np.random.Generator, n: int) -> tuple[Any, ...]:
    return r.uniform(0.2, 2.0, n), r.uniform(0.2, 2.0, n)


def even(r: np.random.Generator, n: int) -> tuple[Any, ...]:
    return (r.uniform(0.2, 2.0, 2 * n),)


def rows(r: np.random.Generator, n: int) -> tuple[Any, ...]:
    return (r.uniform(0.2, 2.0, (n, 3)),)


def square(r: np.random.Generator, n: int) -> tuple[Any, ...]:
    return (r.uniform(0.2, 2.0, (n, n)),)


def matrix(r: np.random.Generator, n: int) -> tuple[Any, ...]:
    return (r.uniform(0.2, 2.0, (n, n + 2)),)


def halves(x):
    a, b = x[: len(x) // 2], x[len(x) // 2 :]
    return a * b


def grown(a):
    kept = []
    for row in a:
        kept.append(row * row.sum())
    return np.stack(kept, axis=1) @ np.concatenate(kept)[: len(a)]


def scheme(u):
    """One step of a scheme with ghost cells."""
    v = np.concatenate(([2 * u[0] - u[1]], u, [u[-2]]))
    return u + 0.1 * (v[2:] - 2 * v[1:-1] + v[:-2])


JOINS = {
    "two": (lambda x: np.concatenate([x, x * 2]), vector),
    "pieces": (lambda x: np.concatenate((x[2:], x[:2])) * x, vector),
    "scalars": (lambda x: np.concatenate(([x[0]], (x[2:] - x[:-2]) / 2, [x[-1]])), vector),
    "columns": (lambda a: np.concatenate([a, a[:, ::-1] ** 2, np.ones((len(a), 1))], axis=1), rows),
    "rows": (lambda a: np.concatenate([a[1:], a, a.sum(axis=0)[None]]), matrix),
    "flat": (lambda a: np.concatenate([a, a.T], axis=None), matrix),
    "append": (lambda x: np.append(x, x[:2]), vector),
    "hstack": (lambda x: np.hstack([1.0, x, x]), vector),
    "hstack of matrices": (lambda a: np.hstack([a, a]), matrix),
    "vstack": (lambda a: np.vstack([a, np.ones(3)]), rows),
    "column_stack": (lambda x: np.column_stack([np.ones(len(x)), x, x**2]), vector),
    "block": (lambda a: np.block([[a, a.T], [a, np.eye(len(a))]]), square),
    "selected": (lambda x: np.concatenate([x[x > 1], x[x <= 1]]) * x, vector),
    "diff": (lambda x: np.diff(x, prepend=0.0, append=[1.0, 2.0]), vector),
    "grown": (grown, rows),
    "comprehension": (lambda a: np.vstack([r * r.sum() for r in a]) + np.array([r**2 for r in a]), rows),
    "of rows": (lambda a: np.concatenate([r[:2] for r in a]), rows),
    "array of rows": (lambda a: np.concatenate(a) + np.hstack(a * 2), rows),
    "stacked columns": (lambda a: np.column_stack([r * 2 for r in a]), rows),
    "scheme": (scheme, vector),
}

SHAPES = {
    "pairs": (lambda x: x.reshape(-1, 2)[:, 0] * x.reshape(-1, 2)[:, 1], even),
    "two rows": (lambda x: x.reshape(2, -1)[0] - x.reshape(2, -1)[1], even),
    "half": (lambda x: x.reshape(len(x) // 2, 2).sum(axis=1), even),
    "computed": (lambda x: x.reshape(len(x) // 2, -1).sum(axis=1), even),
    "split": (lambda x: np.split(x, 2)[0] * np.split(x, 2)[1], even),
    "split at": (lambda x: np.concatenate(np.split(x, [2, 4])[::-1]), vector),
    "array_split": (lambda x: np.array([p.sum() ** 2 for p in np.array_split(x, 4)]), vector),
    "halves": (halves, even),
    "tile": (lambda x: np.tile(x, 3) * np.tile(x, (2, 3))[1], vector),
    "repeat": (lambda a: np.repeat(a, 2, axis=0) + np.repeat(a, 2).reshape(-1, 3), rows),
    "roll": (lambda a: np.roll(a, 1, axis=0) + np.roll(a, -1, axis=1) * a, matrix),
    "delete": (lambda x: np.delete(x, 1) * np.delete(x, -2), vector),
    "pad": (lambda a: np.pad(a, ((1, 0), (2, 1)), constant_values=0.5), matrix),
    "pad edge": (lambda x: np.pad(x, (2, 3), mode="edge"), vector),
    "pad wrap": (lambda x: np.pad(x, (7, 3), mode="wrap"), vector),
    "pad reflect": (lambda x: np.pad(x, (9, 3), mode="reflect"), vector),
    "pad symmetric": (lambda x: np.pad(x, (11, 3), mode="symmetric"), vector),
    "trace": (lambda a: np.trace(a) * np.trace(a, 1) * np.ones(2), matrix),
    "diagonal": (lambda a: np.diagonal(a, -1) * np.diagonal(a)[1:], matrix),
    "tridiagonal": (lambda x: (np.diag(x) + np.diag(x[1:], -1) + np.diag(x[1:], 1)) @ x, vector),
    "triu_indices": (lambda a: a[np.triu_indices(len(a), 1)] * a.T[np.triu_indices(len(a), 1)], square),
    "diag_indices": (lambda a: a[np.diag_indices(len(a))], square),
}

NUMBERS = {
    "median": (lambda x: np.median(x) * x, vector),
    "median of columns": (lambda a: np.median(a, axis=0), matrix),
    "quantiles": (lambda a: np.quantile(a, [0.0, 0.3, 0.5, 0.9, 1.0], axis=1, keepdims=True), rows),
    "percentile": (lambda x: x / np.percentile(x, 83.0), vector),
    "median of some": (lambda x: np.median(x[x > np.min(x)]) * x, vector),
    "gradient": (lambda a: np.gradient(a)[0] * np.gradient(a, 0.5)[1], matrix),
    "convolve": (lambda x: np.convolve(x, [1.0, 2.0, 0.5])[1:-1] * np.convolve([3.0, 1.0], x)[1:], vector),
    "convolve modes": (lambda x: np.convolve(x, [1, 2, 3], "same")[1:-1] * np.convolve(x, [3, 2, 1], "valid"), vector),
    "correlate": (lambda x: np.correlate(x, [1.0, 2.0]) * np.correlate([1.0, 2.0], x), vector),
    "interp": (lambda x, y: np.interp([0.3, 0.7, 3.0, -1.0], np.cumsum(x) / 3, y), two),
    "searchsorted": (lambda x, y: y[np.minimum(np.searchsorted(np.sort(x), y), len(x) - 1)], two),
}  # fmt: skip

CASES = JOINS | SHAPES | NUMBERS


def waves(v: Any) -> Any:
    return np.cos(np.arange(1.0, 1.0 + np.size(v))).reshape(np.shape(v))


def scalar(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose gradient tells all of f's elements apart."""

    def g(*args: Any) -> Any:
        y = f(*args)
        return (y * y * np.cos(np.arange(y.size)).reshape(y.shape)).sum()

    return g


@pytest.mark.parametrize("name", CASES)
def test_one_compile_serves_all_sizes(name: str) -> None:
    f, make = CASES[name]
    compiled, gradient = jitgrad.jit(f), jitgrad.grad(scalar(f))
    for n in SIZES:
        args = make(np.random.default_rng(n), n)
        same(compiled(*args), f(*args), 1e-12)
        found = gradient(*args)
        if n == 12:
            same(found, jitgrad.grad(scalar(f))(*args), 1e-11)
            step = 1e-6 * waves(args[0])
            high, low = (scalar(f)(args[0] + sign * step, *args[1:]) for sign in (1, -1))
            assert (found * waves(args[0])).sum() == pytest.approx((high - low) / 2e-6, rel=1e-4, abs=1e-5)
    for g in (compiled, gradient):
        assert g.stats()["compiled"] == 3, [(s["signature"], s["notes"]) for s in g.stats()["signatures"]]


def outcome(f: Callable[..., Any], *args: Any) -> Any:
    try:
        return f(*args)
    except Exception as exception:
        return type(exception), str(exception)


RAISING = {
    "an odd number of pairs": (lambda x: x.reshape(-1, 2) * 2, (6, 8, 10, 7, 12)),
    "an odd number in two rows": (lambda x: x.reshape(2, -1) * 2, (6, 8, 10, 7, 12)),
    "thirds": (lambda x: x.reshape(-1, 3, 1, 2), (6, 12, 18, 20, 24)),
    "an uneven split": (lambda x: np.split(x, 3)[1] * 2, (6, 9, 12, 10, 15)),
    "parts that do not add up": (lambda x: np.concatenate([x[2:], x[:3]]) * x, (6, 8, 10, 12)),
    "columns of other heights": (lambda x: np.column_stack([x, x[1:]]), (6, 8, 10, 12)),
}


@pytest.mark.parametrize("name", RAISING)
def test_what_does_not_fit_raises_as_numpy(name: str) -> None:
    f, counts = RAISING[name]
    g = jitgrad.jit(f)
    for n in counts:
        x = np.arange(1.0, n + 1)
        want, found = outcome(f, x), outcome(g, x)
        if isinstance(want, tuple):
            assert found[0] is want[0]
            if "reshape" in want[1] or "split" in want[1]:
                assert found[1] == want[1]
        else:
            same(found, want, 1e-14)


def test_nothing_to_join() -> None:
    def f(a: np.ndarray, k: int) -> Any:
        return np.concatenate([r * 2 for r in a[:k]])

    g = jitgrad.jit(f)
    a = np.arange(12.0).reshape(4, 3)
    for k in (1, 3, 4):
        same(g(a, k), f(a, k), 0)
    with pytest.raises(ValueError, match="need at least one array to concatenate"):
        g(a, 0)


def test_a_median_of_nothing_is_refused() -> None:
    g = jitgrad.jit(lambda x: np.median(x[x > 0]))
    assert g(np.array([1.0, -1.0, 3.0])) == 2.0
    with pytest.raises(UnsupportedError, match="JG235"):
        g(-np.ones(3))


def test_a_size_that_only_small_calls_need() -> None:
    def f(x: np.ndarray) -> Any:
        return np.convolve(x, [1.0, 2.0, 3.0, 5.0], "same")

    g = jitgrad.jit(f)
    for count, n in enumerate((2, 3, 4, 5, 8, 9, 10, 30, 4), 1):
        x = np.arange(n) ** 2.0
        same(g(x), f(x), 1e-14)
        assert g.stats()["compiled"] == min(count, 5)


# --- memory


def test_elements_that_loops_hand_on_where_there_may_be_none() -> None:
    """The element that the first iteration reads is read before the loop, unless it is not there."""

    def shifted(x: np.ndarray, first: int, trips: int) -> np.ndarray:
        y = x.copy()
        for k in range(trips):
            y[first + k + 1] = 0.5 * y[first + k] + x[k]
        return y

    compiled = jitgrad.jit(shifted)
    for n in (5, 6, 7, 3, 2):
        x = np.arange(1.0, n + 1.0)
        for first, trips in ((0, n - 1), (1, n - 2), (n, 0), (n + 7, 0), (0, 0), (-n, 1), (n - 2, 1)):
            np.testing.assert_array_equal(compiled(x, first, trips), shifted(x, first, trips))
            ct = np.sin(x)
            slope = jitgrad.vjp(lambda v, a=first, t=trips: shifted(v, a, t), x)[1](ct)
            want = [np.dot(ct, shifted(e, first, trips)) for e in np.eye(n)]  # it is linear
            np.testing.assert_allclose(slope[0], want, rtol=1e-14, atol=1e-15)
        for first, trips in ((n, 1), (n + 3, 2), (-n - 1, 1), (0, n)):
            with pytest.raises(IndexError):
                shifted(x, first, trips)
            with pytest.raises(IndexError):
                compiled(x, first, trips)


def test_temporaries_stay_warm() -> None:
    """What a call of a run-time size needs is kept for the next, as much as the largest took."""

    def f(x: np.ndarray) -> Any:
        y = np.sort(x)
        for i in range(1, len(x)):
            y[i] += 0.5 * y[i - 1]
        return (y * y).sum()

    g = jitgrad.grad(f)
    sizes = (3000, 4000, 5000, 6000, 50_000, 6000)
    for n in sizes:
        g(np.linspace(1.0, 0.0, n))
    assert g.stats()["compiled"] == 3
    for n in (6000, 50_000):
        x = np.linspace(1.0, 0.0, n)
        tracemalloc.start()
        try:
            found = g(x)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < found.nbytes + 10_000, "more than the result was allocated"
        same(found, jitgrad.grad(f)(x), 1e-12)


def test_temporaries_that_grow_in_a_loop() -> None:
    def f(x: np.ndarray) -> Any:
        s = 0.0
        for i in range(1, len(x)):
            part = np.sort(x[:i])
            part[0] = x[i]
            s += (part[::-1] * part).sum()
        return s

    g = jitgrad.value_and_grad(f)
    for n in (3, 4, 5, 6, 80, 300, 7):
        x = np.random.default_rng(n).random(n)
        for _ in range(2):
            value, slope = g(x)
            assert value == pytest.approx(f(x))
        if n in (7, 80):
            same(slope, jitgrad.grad(f)(x), 1e-11)


def test_a_call_that_raises_keeps_its_memory() -> None:
    def f(x: np.ndarray, k: int) -> Any:
        y = np.sort(x)
        y[k] = 0.0
        return (np.sort(y * 2) * x).sum()

    g = jitgrad.grad(f)
    for n in (100, 200, 300, 50_000, 400, 60_000):
        x = np.random.default_rng(n).random(n)
        found = g(x, 1)
        for _ in range(3):
            with pytest.raises(IndexError):
                g(x, n)
            same(g(x, 1), found, 0)


def test_threads_have_memory_of_their_own() -> None:
    def f(x: np.ndarray) -> Any:
        y = np.sort(x)
        for i in range(1, len(x)):
            y[i] += 0.5 * y[i - 1]
        return (y * y).sum()

    g = jitgrad.grad(f)
    given = [np.random.default_rng(n).random(n) for n in (3, 4, 5, 3000, 40_000, 200_000, 7000)]
    want = [g(x) for x in given]
    with ThreadPoolExecutor(4) as pool:
        for k, found in enumerate(pool.map(g, given * 8)):
            same(found, want[k % len(given)], 0)
