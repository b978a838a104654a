"""Lists of rows that data may leave without items, given to NumPy's functions: as NumPy, or refused (JG251)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad

X = np.array([[1.0, 2.0], [3.0, -4.0], [0.5, 1.0]])
Rows = list[Any]

# NumPy gives one axis: the result would have another shape, or raise.
BY_AXES: list[Callable[[Rows, np.ndarray], Any]] = [
    lambda r, x: np.sum(r, axis=0),
    lambda r, x: np.mean(r, axis=0),
    lambda r, x: np.std(r, axis=0),
    lambda r, x: np.sum(r, keepdims=True),
    lambda r, x: np.std(r, keepdims=True),
    lambda r, x: np.any(r, axis=0),
    lambda r, x: np.average(r, axis=0),
    lambda r, x: np.nansum(r, axis=0),
    lambda r, x: np.cumsum(r, axis=0),
    lambda r, x: np.linalg.norm(r, axis=0),
    lambda r, x: np.asarray(r),
    lambda r, x: np.array(r).sum(axis=0),
    lambda r, x: np.shape(r),
    lambda r, x: np.ndim(r),
    lambda r, x: np.exp(r),
    lambda r, x: np.add(r, 1.0),
    lambda r, x: np.ones(2) * r,
    lambda r, x: x[0] == r,
    lambda r, x: x @ np.transpose(r),
    lambda r, x: np.dot(r, x[0]),
    lambda r, x: np.einsum("ij->j", r),
    lambda r, x: np.sort(r, axis=0),
    lambda r, x: np.append(x, r, axis=0),
    lambda r, x: np.nonzero(r),
    lambda r, x: np.array_equal(r, x),
]
# All elements are alike, or the exception is the same.
BY_ELEMENTS: list[Callable[[Rows, np.ndarray], Any]] = [
    lambda r, x: np.sum(r),
    lambda r, x: np.prod(r),
    lambda r, x: np.mean(r),
    lambda r, x: np.std(r),
    lambda r, x: np.max(r),
    lambda r, x: np.any(r),
    lambda r, x: np.count_nonzero(r),
    lambda r, x: np.linalg.norm(r),
    lambda r, x: np.size(r),
    lambda r, x: np.ravel(r),
    lambda r, x: np.reshape(r, (-1, 2)),
    lambda r, x: np.concatenate(r),
    lambda r, x: np.stack(r),
    lambda r, x: np.vstack(r),
    lambda r, x: np.hstack(r),
    lambda r, x: np.column_stack(r),
]
MAKE: list[Callable[[np.ndarray], Any]] = [
    lambda row: row * 2,
    lambda row: [row[0], row[1]],
    lambda row: (row[0], row[1]),
]


def outcome(f: Callable[..., Any], *args: Any) -> Any:
    try:
        with np.errstate(all="ignore"):
            return f(*args)
    except jitgrad.JitgradError:
        raise
    except Exception as exception:
        return exception


def same(got: Any, want: Any) -> None:
    assert type(got) is type(want)
    if isinstance(want, Exception):
        assert str(got) == str(want)
    else:
        np.testing.assert_allclose(got, want, rtol=1e-14, strict=isinstance(want, np.ndarray))


def over(function: Callable[[Rows, np.ndarray], Any], make: Callable[[np.ndarray], Any]) -> Callable[..., Any]:
    def f(x: np.ndarray, least: float) -> Any:
        rows = []
        for row in x:
            if row[0] > least:
                rows.append(make(row))
        return function(rows, x)

    return f


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("empty_first", [False, True])
@pytest.mark.parametrize("function", [*BY_AXES, *BY_ELEMENTS])
def test_with_and_without_items(function: Callable[..., Any], empty_first: bool) -> None:
    for make in MAKE:
        f = over(function, make)
        compiled = jitgrad.jit(f)
        for least in (9.0, 0.75) if empty_first else (0.75, 9.0):
            if least == 9.0 and function in BY_AXES:
                with pytest.raises(jitgrad.UnsupportedError, match="JG251"):
                    compiled(X, least)
            else:
                same(outcome(compiled, X, least), outcome(f, X, least))


@pytest.mark.parametrize("function", BY_AXES[:2])
def test_derivatives(function: Callable[..., Any]) -> None:
    f = over(function, MAKE[0])
    gradient = jitgrad.grad(lambda x, least: (f(x, least) ** 2).sum())
    h = 1e-6
    want = [
        ((f(X + h * e, 0.75) ** 2).sum() - (f(X - h * e, 0.75) ** 2).sum()) / (2 * h)
        for e in np.eye(6).reshape(6, 3, 2)
    ]
    np.testing.assert_allclose(gradient(X, 0.75).ravel(), want, rtol=1e-7, atol=1e-7)
    with pytest.raises(jitgrad.UnsupportedError, match="JG251"):
        gradient(X, 9.0)


def test_stores_of_lists_without_items() -> None:
    def f(x: np.ndarray, least: float) -> Any:
        rows = []
        for row in x:
            if row[0] > least:
                rows.append(row * 2)
        x[: len(rows)] = rows
        return x

    compiled = jitgrad.jit(f)
    np.testing.assert_array_equal(compiled(X.copy(), 0.75), f(X.copy(), 0.75))
    with pytest.raises(jitgrad.UnsupportedError, match="JG251"):
        compiled(X.copy(), 9.0)


# --- sizes that are known only at run time, compared


@pytest.mark.parametrize(
    "f",
    [
        lambda x, least: np.array_equal(x[x > least], [2.0, 3.0]),
        lambda x, least: np.array_equal([v for v in x.ravel() if v > least], x[x > least]),
        lambda x, least: np.array_equal(x[x > least], x.ravel()),
        lambda x, least: np.array_equal(np.where(x > least, np.nan, x), np.where(x > least, np.nan, x), equal_nan=True),
        lambda x, least: np.array_equal(x, x[0]),
        lambda x, least: np.average([v for v in x.ravel() if v > least], weights=x[x > least]),
        lambda x, least: np.average(x[x > least], weights=[v for v in x.ravel() if v > 0.75]),
    ],
)
def test_run_time_sizes_are_compared(f: Callable[..., Any]) -> None:
    compiled = jitgrad.jit(f)
    for least in (1.5, 0.75, -9.0):
        same(outcome(compiled, X, least), outcome(f, X, least))
