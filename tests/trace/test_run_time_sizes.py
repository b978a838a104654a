"""Sizes that the program computes: slices with run-time bounds, arrays made of a run-time size, selection by masks.

One compile serves all; values, types and exceptions are Python's; both modes agree with differences to second order.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.errors import UnsupportedError

A = np.random.default_rng(0).normal(size=12)
B = np.random.default_rng(1).normal(size=12)
M = np.random.default_rng(2).normal(size=(4, 5))

Calls = list[tuple[Any, ...]]
CASES: list[tuple[Callable[..., Any], Calls, bool]] = []


def case(*calls: tuple[Any, ...], smooth: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Register a function and calls of it; `smooth` ones are differentiated by the first argument."""

    def enter(f: Callable[..., Any]) -> Callable[..., Any]:
        CASES.append((f, list(calls), smooth))
        return f

    return enter


BOUNDS = list(itertools.product((-14, -3, -1, 0, 2, 11, 12, 20), repeat=2))


@case(*[(A, i, j) for i, j in BOUNDS])
def bounded(a, i, j):
    return np.tanh(a[i:j])


@case(*[(A, i, j) for i, j in BOUNDS])
def with_steps(a, i, j):
    return a[i:j:2] * 2.0, a[i::3] + 1.0, a[:j:5] ** 2


@case(*[(A, i, j) for i, j in BOUNDS])
def backwards(a, i, j):
    return a[j:i:-1] * 2.0, a[i::-2] + 1.0, a[:j:-3] ** 2, a[::-1] * 1.0


@case((A, 3), (A, 0), (A, 11), (A, 12), (A, 13), (A, -2))
def shifted(a, k):
    return a[k:] * a[: len(a) - k]


@case((A, 3, 4), (A, 0, 12), (A, 10, 5), (A, 5, 0))
def window(a, k, m):
    part = a[k : k + m]
    return (part * np.arange(len(part))).sum() + part.size


@case((A, 8), (A, 3), (A, 2), (A, 1), (A, 0))
def stencil_of_a_part(a, n):
    u = a[:n]
    return u[2:] - 2.0 * u[1:-1] + u[:-2], np.diff(u), np.diff(u, 2), u[3:], u[:-3] * u[3:]


@case((A, 1), (A, 6), (A, 0))
def stored_to(a, k):
    b = a.copy()
    b[k:] = 2.0 * a[: len(a) - k]
    b[:k] *= 3.0
    b[k:][1:] += 1.0
    return b


@case((M, 2, 3), (M, 0, 0), (M, 4, 5), (M, 1, 9))
def corner(m, i, j):
    return m[:i, :j] @ m[:i, :j].T, m[i:, j:].sum(axis=0), m[:i].mean(axis=1)


@case((M @ M.T + 5.0 * np.eye(4),), (np.eye(4) * 2.0 + 0.5,))
def cholesky(a):
    a = a.copy()
    for j in range(len(a)):
        a[j, j] = np.sqrt(a[j, j] - a[j, :j] @ a[j, :j])
        a[j + 1 :, j] = (a[j + 1 :, j] - a[j + 1 :, :j] @ a[j, :j]) / a[j, j]
    return np.tril(a)


@case((M[:, :4] + 5.0 * np.eye(4),), (np.eye(4) * 2.0 + 0.5,))
def elimination(a):
    a = a.copy()
    for k in range(len(a) - 1):
        a[k + 1 :, k] /= a[k, k]
        a[k + 1 :, k + 1 :] -= np.outer(a[k + 1 :, k], a[k, k + 1 :])
    return a


@case((0.5, 3), (0.5, 0), (0.5, 1), (0.5, 40))
def made_of_a_size(x, n):
    a = np.zeros(n)
    for i in range(n):
        a[i] = x * i
    return a, np.full((2, n), x), np.arange(n) * x, np.ones(n).sum() * x, np.eye(n) * x


@case((0.5, 3), (0.5, 0), (0.5, 9))
def list_to_array(x, n):
    kept = []
    while len(kept) < n:
        kept.append(x * len(kept))
    return np.array(kept), np.array(kept)[::2] * 2.0


@case((A, 0.5), (-np.abs(A), 0.5), (A, -9.0))
def appended_until(a, limit):
    kept = []
    for i in range(len(a)):
        if a[i] > limit:
            break
        kept.append(a[i] * a[i])
    s = 0.0
    for v in kept:
        s += v * v
    return s


@case((A, 3), (A, 0), (A, 99))
def appended_while(a, n):
    kept = []
    i = 0
    while i < len(a) and len(kept) < n:
        kept.append(np.sin(a[i]))
        i += 1
    return np.sum(np.array(kept) ** 2)


@case((A,), (-np.abs(A),), (np.abs(A),), (A[::-1].copy(),))
def selected(a):
    return a[a > 0], a[a > 0.5] * 2.0, (a[a > 0] ** 2).sum(), a[~(a > 0)]


@case((A, B), (B, A), (A, A))
def selected_by_another(a, b):
    k = b > 0
    a = a.copy()
    a[k] = b[k] * a[k]
    a[~k] += 1.0
    return a


@case((M,), (-M,), (-np.abs(M),))
def selected_rows(m):
    return m[m > 0], m[m[:, 0] > 0], m[m[:, 0] > 0, 1] * 2.0, np.tanh(m[:, m[0] > 0])


@case((A,), (B,))
def selected_in_a_loop(a):
    t = 0.0
    for i in range(4):
        s = a[a > 0.2 * i]
        t += (s * s).sum() * i + len(s)
    return t


@case((A, np.arange(12.0)), (np.abs(A), np.arange(12.0)), (A, A[A > 0] * 3.0))
def stored_by_a_mask(a, v):
    b = a.copy()
    b[a > 0] = v
    return b


def along_one_axis(store):
    def stored(m, a, v):
        b = m.copy()
        store(b, a > 0, v)
        return b

    stored.__name__ = store.__name__
    some, none = np.array([1.0, 2.0, -1.0]), -np.ones(3)
    return case(*((M[:3, :3].copy(), a, v) for a in (some, none) for v in (2.5, -1.0)))(stored)


@along_one_axis
def stored_after_an_ellipsis(b, m, v):
    b[..., m] = v
    b[m, ...] += 2.0 * v


@along_one_axis
def stored_after_a_slice(b, m, v):
    b[:, m] = v
    b[1:, m] *= 3.0


@along_one_axis
def stored_before_a_slice(b, m, v):
    b[m, :] = v
    b[m, 1:] -= b[m, 0][:, None]


@along_one_axis
def stored_after_a_new_axis(b, m, v):
    b[None, :, m] = v
    b[m] *= b[0]


@case((A, B), (A, -B), (A, A))
def two_selections(a, b):
    return a[a > 0] + b[b > 0]


@case((A,), (A * 0.0,), (-A,), smooth=False)
def positions(a):
    return np.nonzero(a > 0), np.flatnonzero(a), np.argwhere(a > 0), np.where(a > 0)[0], (a > 0).nonzero()


@case((M,), (M > 0,), smooth=False)
def positions_in_a_matrix(m):
    return np.nonzero(m), np.argwhere(m)


@case((A,), (-A,))
def extracted(a):
    return np.extract(a > 0, a), np.compress(a > 0, a), a.compress(a[:3] > 0)


@case((A, B, 3), (A, B, 0), (A, B, 12), (A, B, 99))
def joined(a, b, k):
    kept = np.concatenate([a[a > 0], b[:k], [a[0]], a[a <= 0]])
    return kept, np.append(a[:k], b), np.stack([a[:k], b[:k]], axis=1), np.hstack([a[k:], b[k:]]) * 2.0


@case((A[:4], 3), (A[:4], 0), (A[:4], 9), (A[:3], 5))
def rotated_in_a_loop(a, n):
    s = a.copy()
    for i in range(n):
        k = i % 3
        s = np.concatenate([s[k:], s[:k]]) * 1.1  # of the size that it had
    return s


@case((A, 3), (A, 0), (A, 12))
def repeated(a, k):
    part = a[:k]
    return (
        np.tile(part, 2),
        np.repeat(part, 3),
        np.pad(part, (2, 1)),
        np.array_split(part, 5)[1] * 2.0,
        np.diag(part, 1),
    )


@case((A, 5), (A, 1), (A, 2), (A, 0), (A, 12))
def padded(a, k):
    part = a[:k]
    both = np.pad(part, (3, 2), mode="edge") * np.pad(part, (3, 2), mode="wrap")
    return both, np.pad(part, 7, mode="reflect") * np.pad(part, 7, mode="symmetric")


@case((A, 8), (A, 6), (A, 5), (A, 0))
def reshaped(a, k):
    part = a[:k]
    return part.reshape(-1, 2)[:, 1] * 2.0, np.split(part, 2)[1] + part.reshape(2, -1)[0]


@case((M, 3), (M, 1), (M, 2), (M, 4))
def quantiles(m, k):
    rows = m[:k]
    return np.median(rows, axis=0), np.quantile(rows, [0.2, 0.9]), np.percentile(rows.T, 70.0, axis=1), np.trace(rows)


@case((M, 3), (M, 1), (M, 4), (M, 0))
def stacked_rows(m, k):
    rows = [row * row.sum() for row in m[:k]]
    return np.stack(rows, axis=1), np.vstack(rows), np.concatenate(rows), np.hstack(rows), np.column_stack(m[:k])


@case((0.5, 3), (0.5, 0), (0.5, 1), (0.5, 2), (0.5, 40))
def spaced(x, n):
    return np.linspace(x, 1.0, n), np.linspace(0.0, x, n, endpoint=False), np.linspace(x, 2.0, n + 1)


@case((A, 3), (A, 1), (A, 0), (A, -13), smooth=False)
def extremes(a, k):
    return np.argmax(a[:k]), a[:k].argmin()


@case((A, 3), (A, 1), (A, 0))
def extremes_with_a_start(a, k):
    return np.max(a[:k], initial=0.0), np.min(a[:k] * 2.0, initial=9.0)


@case((A, 1), (A, 2), (A, 0))
def squeezed(a, k):
    return np.squeeze(a[:k], axis=0) * 2.0, np.squeeze(a[: k + 3, None], axis=1) * 3.0


def same(got: Any, want: Any) -> bool:
    if isinstance(want, tuple):
        return isinstance(got, tuple) and len(got) == len(want) and all(map(same, got, want))
    a, b = np.asarray(got), np.asarray(want)
    alike = type(got) is type(want) and a.shape == b.shape and a.dtype == b.dtype
    return alike and np.allclose(got, want, rtol=1e-12, atol=1e-12)


def outcome(f: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    try:
        return f(*args)
    except (ValueError, IndexError) as e:
        return type(e)


@case((A, B), (B, A))
def masks_that_are_rows(a, b):
    y = np.zeros_like(a)
    masks = np.array([a < b, a >= b])
    for mask, make in zip(masks, (lambda t: -t, lambda t: t * t), strict=True):
        y[mask] = make(a[mask])
    y[::2][masks[0, ::2]] += b[::2][masks[0, ::2]]
    return y


@case((A, B), (B, A))
def masks_that_change(a, b):
    y = np.zeros_like(a)
    masks = np.array([a < b, a >= b])
    first = a[masks[0]].sum()
    masks[0, 1:3] = masks[1, 1:3]
    y[masks[0]] = b[masks[0]] * first
    return y


ONE_FITS = [(np.array([1.0, 2.0, 3.0]), x) for x in (2.5, 0.5, 1.5, 9.0)]


@case(*ONE_FITS, smooth=False)
def into_one_place(a, x):
    r = a[:1] * 1.0
    r += a[a > x]
    return r


@case(*ONE_FITS, smooth=False)
def into_a_column(a, x):
    r = np.ones((3, 1))
    r *= a[a > x]
    return r


@case(*ONE_FITS, smooth=False)
def stored_in_one_place(a, x):
    r = a * 1.0
    r[:1] = a[a > x]
    return r


@case(*ONE_FITS, smooth=False)
def written_out(a, x):
    return np.multiply(a[:1], a[a > x], out=np.zeros(1))


@case((A, 3), (A, 12), (A, 5), smooth=False)
def three_shapes(a, k):
    r = a[:5] * 1.0
    r += a[:k]
    return r


@pytest.mark.parametrize(("f", "calls", "smooth"), CASES, ids=[f.__name__ for f, _, _ in CASES])
def test_values(f: Callable[..., Any], calls: Calls, smooth: bool) -> None:
    compiled = jitgrad.jit(f)
    for args in calls:
        got, want = outcome(compiled, args), outcome(f, args)
        assert got is want if isinstance(want, type) else same(got, want), (args, got, want)
    # An argument of another size or kind is another signature; a computed size is none.
    assert compiled.stats()["compiled"] <= len(
        {tuple((type(a), getattr(a, "dtype", 0), np.shape(a)) for a in args) for args in calls}
    )


def total(made: Any) -> Any:
    """Return the sum of all that is in a result, weighted so that places matter."""
    parts = made if isinstance(made, tuple) else (made,)
    found = 0.0
    for p in parts:
        found = found + (np.sin(1.0 + np.arange(np.size(p))) * np.reshape(p, np.size(p)) ** 2).sum()
    return found


@pytest.mark.parametrize(("f", "calls"), [c[:2] for c in CASES if c[2]], ids=[c[0].__name__ for c in CASES if c[2]])
def test_derivatives(f: Callable[..., Any], calls: Calls) -> None:
    def loss(*args: Any) -> Any:
        return total(f(*args))

    gradient = jitgrad.grad(loss)
    rng = np.random.default_rng(3)
    for args in calls[:: max(len(calls) // 4, 1)]:
        if isinstance(outcome(f, args), type):
            continue
        x, rest = args[0], args[1:]
        d = rng.normal(size=np.shape(x)) if np.ndim(x) else 1.0
        e = 1e-6
        slope = (loss(x + e * d, *rest) - loss(x - e * d, *rest)) / (2 * e)
        got = np.sum(gradient(x, *rest) * d)
        assert np.isclose(got, slope, rtol=1e-6, atol=1e-7)
        zeros = tuple(v * 0.0 if isinstance(v, np.ndarray | float) else v for v in rest)
        floats = tuple(k for k, v in enumerate(args) if isinstance(v, np.ndarray | float))

        def along(*given: Any, rest: Any = args, floats: Any = floats) -> Any:
            full = list(rest)
            for k, v in zip(floats, given, strict=True):
                full[k] = v
            return loss(*full)

        tangents = tuple(d if k == 0 else zeros[k - 1] for k in floats)
        _, forward = jitgrad.jvp(along, tuple(args[k] for k in floats), tangents)
        assert np.isclose(forward, got, rtol=1e-9, atol=1e-9)
        second = jitgrad.grad(lambda x, d, *rest: np.sum(gradient(x, *rest) * d))(x, d, *rest)
        change = (gradient(x + e * d, *rest) - gradient(x - e * d, *rest)) / (2 * e)
        assert np.allclose(second, change, rtol=1e-5, atol=1e-5)


def test_a_squeeze_of_what_may_be_one_is_refused() -> None:
    f = jitgrad.jit(lambda a, k: np.squeeze(a[:k]))
    assert np.array_equal(f(A, 3), A[:3])
    with pytest.raises(UnsupportedError, match=r"JG218: np.squeeze of a size"):
        f(A, 1)


def test_the_sizes_in_errors_are_those_of_the_call() -> None:
    def f(a: np.ndarray, k: int) -> np.ndarray:
        return a[k:] + a[: k + 1]

    compiled = jitgrad.jit(f)
    assert np.array_equal(compiled(A[:5], 2), f(A[:5], 2))
    with pytest.raises(ValueError, match=r"operands could not be broadcast together with shapes \(2,\) \(4,\)"):
        compiled(A[:5], 3)


def test_a_loop_over_slices_is_not_written_out() -> None:
    sizes = []
    for n in (10, 100):
        a = np.eye(n) + 1.0
        sizes.append(len(jitgrad.grad(lambda a: total(cholesky(a))).graph(a).splitlines()))
    assert sizes[0] == sizes[1]


def test_parts_of_one_size_need_no_check() -> None:
    def f(a: np.ndarray, n: int) -> np.ndarray:
        u = a[:n]
        return u[2:] - 2.0 * u[1:-1] + u[:-2]

    assert "check" not in jitgrad.jit(f).graph(A, 8)


def test_truth_of_an_array_whose_size_is_known_at_run_time() -> None:
    """One element has one; none and several raise NumPy's exceptions."""

    def function(a: np.ndarray, x: float) -> float:
        return 1.0 if a[a > x] > 0.0 else 2.0

    compiled = jitgrad.jit(function)
    a = np.array([0.4, 0.9, -0.3])
    assert compiled(a, 0.5) == 1.0
    for x, text in ((0.3, "with more than one element"), (5.0, "an empty array")):
        with pytest.raises(ValueError, match=text):
            compiled(a, x)
