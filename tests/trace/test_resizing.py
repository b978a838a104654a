"""Arrays of which data or trips decide the lengths, along one axis or several: values and derivatives in both modes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad import DifferentiationError
from jitgrad.api import Transformed
from jitgrad.transform import Transform

X = np.array([0.5, 1.5, -0.75, 2.0])


def bordered(x: np.ndarray, n: int) -> Any:
    m = np.zeros((1, 1)) + x[0]
    for _ in range(n):
        m = np.block([[m, np.ones((len(m), 1)) * x[1]], [np.zeros((1, len(m))), np.full((1, 1), x[2])]])
    return (m @ m).sum()


def padded(x: np.ndarray, n: int) -> Any:
    m = np.full((1, 1), x[0])
    for k in range(n):
        m = np.pad(m, ((0, 1), (1, 0)), constant_values=1.0)
        m[0, 0] = x[k % 3]
    return (m * m).sum() + m[-1, 0] + m.trace()


def grown_by_stores(x: np.ndarray, n: int) -> Any:
    low = np.array([[x[0] ** 2 + 1.0]])
    for k in range(1, n):
        new = np.zeros((k + 1, k + 1))
        new[:k, :k] = low
        new[k, :k] = (x[k % 3] * np.ones(k)) @ low
        new[k, k] = 1.0 + x[1]
        low = new
    return np.sum(low * low)


def eliminated(x: np.ndarray, n: int) -> Any:
    m = np.outer(x, x) + n * np.eye(4)
    while m.shape[0] > 1:
        m = m[1:, 1:] - np.outer(m[1:, 0], m[0, 1:]) / (m[0, 0] + 3.0)
    return m[0, 0]


def as_data_decide(x: np.ndarray, n: int) -> Any:
    m = np.ones((1, 2)) * x[0]
    for k in range(n):
        m = np.vstack([m, m[-1:] * x[1]]) if x[k % 4] > 0.0 else np.hstack([m, m[:, :1] * x[2]])
    return (m * m).sum() + 10 * m.shape[0] + m.shape[1]


def kronecker(x: np.ndarray, n: int) -> Any:
    m = np.ones((1, 1)) * x[0]
    for _ in range(n):
        m = np.kron(m, np.array([[1.0, x[1]], [x[2], 1.0]]))
    return (m * m).sum()


def of_three_axes(x: np.ndarray, n: int) -> Any:
    t = np.ones((1, 1, 4)) * x
    for _ in range(n):
        t = np.concatenate([t, t[:, :, ::-1] * 0.5], axis=1)
        t = np.concatenate([t, t[:1]], axis=0)
    return (t * t).sum()


@pytest.mark.parametrize(
    "function", [bordered, padded, grown_by_stores, eliminated, as_data_decide, kronecker, of_three_axes]
)
def test_an_array_that_changes_along_several_axes(function: Callable[..., Any]) -> None:
    compiled, gradient = jitgrad.jit(function), Transformed(Transform("grad", function))
    for n in (0, 1, 2, 4, 5):
        for x in (X, X[::-1].copy()):
            np.testing.assert_allclose(compiled(x, n), function(x, n), rtol=1e-12)
            want = [(function(x + d, n) - function(x - d, n)) / 2e-6 for d in np.eye(4) * 1e-6]
            np.testing.assert_allclose(gradient(x, n), want, rtol=1e-5, atol=1e-5)
    assert compiled.stats()["compiled"] == 1 and gradient.stats()["compiled"] == 1


def shorter(x: np.ndarray) -> Any:
    return x * x if x[0] > 0.0 else (x * 3.0)[1:]


def smaller(x: np.ndarray) -> Any:
    m = np.outer(x, x)
    if x[0] > 0.0:
        return m
    if x[1] > 1.0:
        return m[:2, 1:]
    return m[1:]


def beside(x: np.ndarray) -> Any:
    return (x * 2.0 if x[0] > 0.0 else x[1:] ** 2), x.sum()


def _parts(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def _flat(value: Any) -> np.ndarray:
    return np.concatenate([np.ravel(p) for p in _parts(value)])


@pytest.mark.parametrize("function", [shorter, smaller, beside])
def test_derivatives_of_an_array_of_one_of_several_lengths(function: Callable[..., Any]) -> None:
    t = np.array([0.3, -1.0, 0.7, 0.2])
    for x in (X, X * [-1, 1, 1, 1], -X):
        want = function(x)
        slope = (_flat(function(x + 1e-6 * t)) - _flat(function(x - 1e-6 * t))) / 2e-6
        value, tangent = jitgrad.jvp(function, (x,), (t,))
        assert [np.shape(p) for p in _parts(value)] == [np.shape(p) for p in _parts(want)]
        np.testing.assert_allclose(_flat(value), _flat(want), rtol=1e-13)
        np.testing.assert_allclose(_flat(tangent), slope, rtol=1e-6, atol=1e-8)
        cts = tuple(np.cos(np.arange(np.size(p)) + 1.0).reshape(np.shape(p)) for p in _parts(want))
        cts = tuple(ct if np.ndim(p) else np.float64(ct) for ct, p in zip(cts, _parts(want), strict=True))
        (gradient,) = jitgrad.vjp(function, x)[1](cts if isinstance(want, tuple) else cts[0])
        np.testing.assert_allclose(gradient @ t, _flat(cts) @ slope, rtol=1e-6)


def test_a_hessian_through_an_array_of_one_of_two_lengths() -> None:
    def function(x: np.ndarray) -> Any:
        return (shorter(x) ** 3).sum()

    gradient = jitgrad.grad(function)
    for x in (X, -X):
        steps = np.eye(4)
        got = [jitgrad.jvp(gradient, (x,), (d,))[1] for d in steps]
        want = [(gradient(x + 1e-6 * d) - gradient(x - 1e-6 * d)) / 2e-6 for d in steps]
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_none_instead_of_an_array_has_no_derivative() -> None:
    def function(x: np.ndarray) -> Any:
        if x[0] > 0.0:
            return x[:2] ** 2
        return None if x[1] > 0.0 else x**3

    for x, size in ((X, 2), (-X, 4)):
        assert jitgrad.jvp(function, (x,), (x,))[1].shape == (size,)
    with pytest.raises(DifferentiationError, match="JG116"):
        jitgrad.jvp(function, (X * [-1, 1, 1, 1],), (X,))


@pytest.mark.parametrize(
    "note",
    [
        lambda x: x if x[0] > 0.0 else x[1:],
        lambda x: x * 2.0 if x[0] > 0.0 else None,
        lambda x: ("positive", 1) if x[0] > 0.0 else "negative",
    ],
)
def test_what_is_returned_beside_a_loss_may_be_anything(note: Callable[..., Any]) -> None:
    def function(x: np.ndarray) -> Any:
        return (x**2).sum(), note(x)

    for x in (X, -X):
        gradient, aux = jitgrad.grad(function, has_aux=True)(x)
        np.testing.assert_array_equal(gradient, 2.0 * x)
        (_, second), _ = jitgrad.value_and_grad(function, has_aux=True)(x)
        _, pull, third = jitgrad.vjp(function, x, has_aux=True)
        _, _, fourth = jitgrad.jvp(function, (x,), (x,), has_aux=True)
        assert {repr(a) for a in (aux, second, third, fourth)} == {repr(note(x))}
        np.testing.assert_array_equal(pull(1.0)[0], 2.0 * x)
