"""`np.linalg.solve`, `inv`, `det`, `slogdet`, `cholesky`: values, dtypes, exceptions, derivatives to second order."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.backend import blas
from jitgrad.backend.blas import hidden
from tests.trace.calling import assert_same, outcome

L = np.linalg
R = np.random.default_rng(11)
A = R.normal(size=(4, 4))
B = R.normal(size=(4, 3))
S = R.normal(size=(2, 3, 4, 4))
P = A @ A.T + np.eye(4)
STACK = S @ np.swapaxes(S, -1, -2) + np.eye(4)
ONES = np.ones((3, 3))
EMPTY = np.zeros((0, 0))


def upper(a: np.ndarray) -> Any:
    return L.cholesky(a, upper=True)


VALUES: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (L.solve, (A, B[:, 0])),
    (L.solve, (A, B)),
    (L.solve, (A[::-1], B[::-1, ::2])),
    (L.solve, (np.asfortranarray(A), B)),
    (L.solve, (S, B)),
    (L.solve, (S, B[:, 0])),
    (L.solve, (A, S[0, :, :, :2])),
    (L.solve, (S[:, :1], S[1])),
    (L.solve, (np.array([[0, 1], [1, 3]]), [1, 2])),
    (L.solve, (A.astype(np.float32), B.astype(np.float32))),
    (L.solve, (A.astype(np.float32), B)),
    (L.solve, (EMPTY, np.zeros(0))),
    (L.inv, (A,)),
    (L.inv, (S,)),
    (L.inv, (A.astype(np.float32),)),
    (L.inv, (EMPTY,)),
    (L.inv, (np.zeros((0, 3, 3)),)),
    (L.inv, (np.full((2, 2), np.nan),)),
    (L.det, (A,)),
    (L.det, (S,)),
    (L.det, (A.astype(np.float32),)),
    (L.det, (np.array([[2, 1], [1, 3]]),)),
    (L.det, (ONES,)),
    (L.det, (EMPTY,)),
    (L.det, (np.diag([1e200, -1e200, 1e-200, 1e-200]),)),
    (L.det, (np.diag([1e-200, 1e-200, 1e200, -1e200]),)),
    (L.det, (np.diag([1e200, 1e200]),)),
    (L.det, (np.full((2, 2), np.nan),)),
    (L.det, (np.full((30, 30), 3.7),)),
    (L.slogdet, (A,)),
    (L.slogdet, (S,)),
    (L.slogdet, (A.astype(np.float32),)),
    (L.slogdet, (ONES,)),
    (L.cholesky, (P,)),
    (L.cholesky, (P + np.triu(ONES[0, 0] * A, 1),)),
    (L.cholesky, (STACK,)),
    (L.cholesky, (P.astype(np.float32),)),
    (upper, (P,)),
    (upper, (STACK + np.tril(A, -1),)),
    (L.matrix_power, (A, -2)),
    (L.eigh, (P,)),
    (L.eigh, (P + A, "U")),
    (L.eigh, (P.astype(np.float32), "l")),
    (L.eigh, (EMPTY,)),
    (L.eigvalsh, (A,)),
    (L.eigvalsh, (np.array([[2, 1], [1, 3]]),)),
    # what raises
    (L.solve, (ONES, np.ones(3))),
    (L.solve, (A[:3], B)),
    (L.solve, (A, B[:3])),
    (L.solve, (A, B[:3, 0])),
    (L.solve, (A, 2.0)),
    (L.inv, (np.stack([A, 0.0 * A]),)),
    (L.inv, (A[:3],)),
    (L.inv, (B[:, 0],)),
    (L.eigh, (B,)),
    (L.eigh, (P, "x")),
    (L.det, (B,)),
    (L.cholesky, (-P,)),
    (L.cholesky, (np.full((2, 2), np.nan),)),
    (L.cholesky, (2.0,)),
]


@pytest.mark.parametrize("function, args", VALUES)
def test_values_and_exceptions(function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    got, want = outcome(jitgrad.jit(function), args), outcome(function, args)
    assert got[0] == want[0], (got, want)
    if want[0] == "value":
        assert_same(got[1], want[1], 1e-5 if np.asarray(args[0]).dtype == np.float32 else 1e-11)
    else:
        assert (type(got[1]), str(got[1])) == (type(want[1]), str(want[1]))


LOOPS = [
    case for case in VALUES if np.ndim(case[1][0]) == 2 and case[0] in (L.solve, L.inv, L.det, L.slogdet, L.cholesky)
]


@pytest.mark.parametrize("function, args", LOOPS)
def test_loops_where_there_is_no_lapack(function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    with hidden():
        got = outcome(jitgrad.jit(function), args)
    want = outcome(function, args)
    assert got[0] == want[0] or np.isnan(args[0]).any(), (got, want)  # without a test of its own for NaN
    if got[0] == want[0] == "value":
        assert_same(got[1], want[1], 1e-5 if np.asarray(args[0]).dtype == np.float32 else 1e-11)
    elif got[0] == want[0]:
        assert (type(got[1]), str(got[1])) == (type(want[1]), str(want[1]))


def test_lapack_with_integers_of_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.import_module("scipy.linalg.cython_lapack")
    found = {name: blas._from_scipy(name) for name in ("dgetrf", "dgetrs", "dpotrf")}
    assert all(routine is not None and routine.integer_bits == 32 for routine in found.values())
    search = blas._search
    monkeypatch.setattr(blas, "_found", {})
    monkeypatch.setattr(blas, "_search", lambda name, fortran: found.get(name) or search(name, fortran))

    def f(a: np.ndarray, b: np.ndarray) -> Any:
        return (L.solve(a, b) ** 2).sum() + L.det(a) + L.slogdet(a @ a.T)[1] + L.cholesky(a @ a.T).sum()

    a, b = R.normal(size=(7, 7)), R.normal(size=7)
    by_a, by_b = jitgrad.grad(f, argnums=(0, 1))(a, b)
    want = differences(lambda a: f(a, b), a, 1e-6)
    np.testing.assert_allclose(by_a, want, rtol=0, atol=1e-5 * np.abs(want).max())
    np.testing.assert_allclose(by_b, 2 * L.solve(a.T, L.solve(a, b)), rtol=1e-8)


def test_what_is_not_used_of_a_singular_matrix_has_no_slope() -> None:
    def f(a: np.ndarray) -> Any:
        sign, log = L.slogdet(a)
        return log if sign > 0 else 3.0 * a[0, 0]

    np.testing.assert_array_equal(jitgrad.grad(f)(ONES), 3.0 * np.eye(1, 9).reshape(3, 3))
    np.testing.assert_allclose(jitgrad.grad(f)(P), L.inv(P), rtol=1e-10)


def test_a_singular_matrix_whose_logarithm_is_multiplied_by_zero_has_no_slope() -> None:
    """The product has one where the factor moves, by which its derivative is the inverse."""

    def f(a: np.ndarray, w: float) -> Any:
        return w * L.slogdet(a)[1] + a[0, 0]

    by_a = jitgrad.grad(f)
    np.testing.assert_array_equal(by_a(ONES, 0.0), np.eye(1, 9).reshape(3, 3))
    _, moved = jitgrad.jvp(lambda w: by_a(A, w), (0.0,), (1.0,))
    np.testing.assert_allclose(moved, L.inv(A).T, rtol=1e-10)


@pytest.mark.parametrize("lapack", [True, False])
@pytest.mark.parametrize("a", [ONES, ONES[:2, :2], np.array([[1.0, 2.0], [2.0, 4.0]]), np.diag([-1.0, 0.0, -2.0])])
def test_the_zeros_of_singular_matrices_have_no_sign(a: np.ndarray, lapack: bool) -> None:
    with nullcontext() if lapack else hidden():
        sign, log = jitgrad.jit(L.slogdet)(a)
        made = jitgrad.jit(L.det)(a)
    want = L.slogdet(a)
    assert (sign, log, made) == (*want, L.det(a)) == (0.0, -np.inf, 0.0)
    assert not np.signbit([sign, made, want[0]]).any()


IN_LOOPS: list[Callable[[np.ndarray], Any]] = [
    lambda a: L.solve(a, a @ a),
    L.inv,
    L.det,
    lambda a: L.slogdet(a)[1],
    lambda a: L.cholesky(a @ a.T),
    lambda a: L.eigh(a + a.T)[0],
    lambda a: L.qr(a)[1],
    lambda a: L.lstsq(a, np.cos(a[:, 0]))[0],
]


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("function", IN_LOOPS)
def test_systems_of_any_size_in_a_loop(function: Callable[[np.ndarray], Any], n: int) -> None:
    def f(a: np.ndarray, steps: int) -> Any:
        total = 0.0
        kept = []
        for _ in range(steps):
            made = function(a)
            total += (made * made).sum()
            kept.append(made)
            a = a * 0.9 + 0.1 * np.cos(a)
        return total + sum((x * x).sum() for x in kept[1:])

    a = np.random.default_rng(n).normal(size=(n, n)) + 3 * np.eye(n)
    want = differences(lambda x: f(x, 3), a, 1e-6)
    np.testing.assert_allclose(jitgrad.grad(f)(a, 3), want, rtol=1e-6, atol=1e-6 * max(1.0, np.abs(want).max()))


def test_systems_in_a_loop_keep_their_factors() -> None:
    def f(a: np.ndarray, x: np.ndarray) -> Any:
        total = 0.0
        for k in range(len(x)):
            if x[k, 0] > 0.0:
                x[k] = L.solve(a, x[k])
                total += L.slogdet(a)[1]
            a = a + 0.1 * np.outer(x[k], x[k])
        return total + (x * x).sum()

    a, x = R.normal(size=(6, 6)) + 4 * np.eye(6), R.normal(size=(9, 6))
    by_a, by_x = jitgrad.grad(f, argnums=(0, 1))(a, x)
    t, u, h = R.normal(size=a.shape), R.normal(size=x.shape), 1e-6
    want = (f(a + h * t, x + h * u) - f(a - h * t, x - h * u)) / (2 * h)
    assert np.sum(by_a * t) + np.sum(by_x * u) == pytest.approx(want, rel=1e-6)


def test_the_determinant_of_a_large_singular_matrix() -> None:
    """Its value is 0, and its derivatives are cofactors to all their digits, if elimination ends early too."""
    a = R.normal(size=(12, 12)) * 10.0
    a[:, 3] = 0.0
    value, found = jitgrad.value_and_grad(L.det)(a)
    want = np.zeros_like(a)
    for i in range(12):
        want[i, 3] = (-1.0) ** (i + 3) * L.det(np.delete(np.delete(a, i, 0), 3, 1))
    assert value == 0.0
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-12 * np.abs(want).max())


def test_an_exception_is_raised_at_the_line_of_the_program() -> None:
    def f(a: np.ndarray) -> Any:
        b = 2.0 * a
        return L.inv(b)

    with pytest.raises(L.LinAlgError, match="Singular matrix") as found:
        jitgrad.jit(f)(ONES)
    last = found.traceback[-1]
    assert (last.path, last.lineno) == (found.traceback[0].path, f.__code__.co_firstlineno + 1)


def test_one_compile_serves_all_sizes() -> None:
    compiled = jitgrad.value_and_grad(lambda a, b: (L.solve(a, b) ** 2).sum(), argnums=(0, 1))
    for n in (3, 4, 5, 2, 8, 20):
        a, b = R.normal(size=(n, n)), R.normal(size=n)
        value, (by_a, by_b) = compiled(a, b)
        x = L.solve(a, b)
        ct = L.solve(a.T, 2.0 * x)
        np.testing.assert_allclose(value, x @ x, rtol=1e-8)
        np.testing.assert_allclose(by_b, ct, rtol=1e-7, atol=1e-9 * np.abs(ct).max())
        np.testing.assert_allclose(by_a, -np.outer(ct, x), rtol=1e-7, atol=1e-9 * np.abs(np.outer(ct, x)).max())
    assert compiled.stats()["compiled"] <= 4


def total(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a smooth function of all that a function gives."""

    def f(*args: Any) -> Any:
        made = function(*args)
        found = 0.0
        for part in made if isinstance(made, tuple) else (made,):
            weights = np.cos(np.arange(np.size(part))).reshape(np.shape(part))
            found = found + (weights * part).sum() + (part * part).sum()
        return found

    return f


def differences(f: Callable[..., Any], a: np.ndarray, h: float) -> np.ndarray:
    made = np.zeros_like(a)
    for at in np.ndindex(a.shape):
        step = np.zeros_like(a)
        step[at] = h
        made[at] = (f(a + step) - f(a - step)) / (2 * h)
    return made


SMOOTH: list[tuple[Callable[..., Any], np.ndarray]] = [
    (lambda a: L.solve(a, B), A),
    (lambda b: L.solve(A, b), B),
    (lambda a: L.solve(a, B), S[0]),
    (L.inv, A),
    (L.det, A),
    (L.slogdet, A),
    (L.slogdet, S[0]),
    (L.cholesky, P),
    (upper, P),
    (L.eigvalsh, P),
    (lambda a: L.eigh(a)[1], P),
    (lambda a: L.eigh(a, "U"), P),
    # A function of a matrix.
    (lambda a: (lambda w, v: (v * np.exp(-w)) @ v.T)(*L.eigh(a)), P),
    # A determinant is smooth where a matrix is singular too.
    (L.det, ONES),
    (L.det, np.zeros((2, 2))),
    (L.det, np.array([[0.0, 1.0, 2.0], [0.0, 3.0, 4.0], [0.0, 5.0, 7.0]])),
    (L.det, np.diag([1.0, 0.0, 0.0, 2.0])),
]


BY_LOOPS = (SMOOTH[0][0], L.inv, L.det, L.slogdet, L.cholesky)


@pytest.mark.parametrize(
    "function, a, lapack",
    [(f, a, True) for f, a in SMOOTH] + [(f, a, False) for f, a in SMOOTH if f in BY_LOOPS and (a is A or a is P)],
)
def test_derivatives(function: Callable[..., Any], a: np.ndarray, lapack: bool) -> None:
    with nullcontext() if lapack else hidden():
        _check_derivatives(function, a)


def _check_derivatives(function: Callable[..., Any], a: np.ndarray) -> None:
    f = total(function)
    gradient = jitgrad.grad(f)
    want = differences(f, a, 1e-6)
    found = gradient(a)
    size = max(1.0, np.abs(want).max())
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-6 * size)
    t = R.normal(size=a.shape)
    slope = jitgrad.jvp(f, (a,), (t,))[1]
    np.testing.assert_allclose(slope, (found * t).sum(), rtol=1e-6, atol=1e-9 * size)
    if a.ndim == 2 and function is not upper:
        second = jitgrad.grad(lambda a: (gradient(a) * t).sum())(a)
        want = differences(lambda a: (gradient(a) * t).sum(), a, 1e-5)
        np.testing.assert_allclose(second, want, rtol=0, atol=1e-5 * max(1.0, np.abs(want).max()))
