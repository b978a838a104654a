"""`zip(*pairs)` of a list that grows: tuples of which data decide how long they are."""

# ruff: noqa: B905, RUF005

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad

X = np.array([1.0, -2.0, 3.0, 0.5])


def above(x: np.ndarray, least: float) -> list[Any]:
    return [(k, v) for k, v in enumerate(x) if v > least]


def unpacked(x: np.ndarray, least: float) -> Any:
    places, values = zip(*above(x, least))
    return sum(values), len(places), places[0], max(values) * places[-1]


def as_arrays(x: np.ndarray, least: float) -> Any:
    places, values = (np.array(t) for t in zip(*above(x, least)))
    return values[places > 0] * 2


def as_lists(x: np.ndarray, least: float) -> Any:
    places, values = map(list, zip(*above(x, least)))
    values.append(7.0)
    return places, values, list(zip(*above(x, least), strict=True))


def guarded(x: np.ndarray, least: float) -> Any:
    found = above(x, least)
    if not found:
        return 0.0
    places, values = zip(*found)
    return max(values) * places[-1]


def returned(x: np.ndarray, least: float) -> Any:
    return list(zip(*above(x, least)))


def arrays(x: np.ndarray, least: float) -> Any:
    pairs = []
    for v in x:
        if v > least:
            pairs.append((v, np.array([v, 2 * v])))
    values, rows = zip(*pairs)
    return np.stack(rows), values, np.sum(values)


def ordered(x: np.ndarray, least: float) -> Any:
    places, _ = zip(*sorted(above(x, least), key=lambda t: t[1]))
    return places


def of_lists(x: np.ndarray, least: float) -> Any:
    _, values = zip(*[[k, v] for k, v in above(x, least)])
    return values


def gone_over(x: np.ndarray, least: float) -> Any:
    total = 0.0
    for column in zip(*above(x, least)):
        total += sum(column)
    return total


def used(x: np.ndarray, least: float) -> Any:
    a, b = zip(*above(x, least))
    found = isinstance(b, tuple), type(a).__name__, b[:2][0], a.index(3), b.count(3.0), 3.0 in b, bool(b), len(b)
    joined = sorted(b)[0], sum(b + (x[0],)), len(b + (x[1],))
    return found, joined, [v * 2 for v in b], [p * q for p, q in zip(a, b)], x[list(a)], x[np.array(a)]


def as_operands(x: np.ndarray, least: float) -> Any:
    a, b = zip(*above(x, least))
    return np.sum(b), np.array([a, b]), np.mean(a), np.dot(b, b), np.concatenate([b, b])


def too_many(x: np.ndarray, least: float) -> Any:
    a, _, _ = zip(*above(x, least))
    return a


def changed(x: np.ndarray, least: float) -> Any:
    a, _ = zip(*above(x, least))
    a[0] = 1.0  # type: ignore[index]
    return a


def appended(x: np.ndarray, least: float) -> Any:
    a, _ = zip(*above(x, least))
    a.append(1)  # type: ignore[attr-defined]
    return a


def out_of_range(x: np.ndarray, least: float) -> Any:
    _, b = zip(*above(x, least))
    return b[3]


def outcome(f: Callable[..., Any], *args: Any) -> Any:
    try:
        return f(*args)
    except jitgrad.JitgradError:
        raise
    except Exception as exception:
        return exception


def sought(x: np.ndarray, least: float) -> Any:
    _, b = zip(*above(x, least))
    return b.index(3.0), b.index(x[3], 1), b.index(x[3], -1, 9), b.index(x[2], 0, -1)


def not_found(x: np.ndarray, least: float) -> Any:
    _, b = zip(*above(x, least))
    return b.index(3.0, 0, -2)


FUNCTIONS = [
    unpacked, as_arrays, as_lists, returned, arrays, ordered, of_lists, gone_over, used, as_operands, too_many, changed,
    appended, out_of_range, sought, not_found,
]  # fmt: skip


@pytest.mark.parametrize("f", FUNCTIONS)
def test_as_in_python(f: Callable[..., Any]) -> None:
    compiled = jitgrad.jit(f)
    for least in (-0.5, 0.0, -5.0) if f is used else (0.0, -5.0, 2.0):
        assert repr(outcome(compiled, X, least)) == repr(outcome(f, X, least))


@pytest.mark.parametrize("f", FUNCTIONS)
def test_without_items_it_is_refused(f: Callable[..., Any]) -> None:
    with pytest.raises(jitgrad.UnsupportedError, match=r"JG252|JG228"):
        jitgrad.jit(f)(X, 9.0)


def test_a_test_for_items_comes_first() -> None:
    compiled = jitgrad.jit(guarded)
    for least in (0.0, 9.0, 2.0):
        assert repr(compiled(X, least)) == repr(guarded(X, least))


@pytest.mark.parametrize("f", [unpacked, guarded, gone_over, arrays])
def test_derivatives(f: Callable[..., Any]) -> None:
    def last(x: np.ndarray, least: float) -> Any:
        made = f(x, least)
        return made[-1] if isinstance(made, tuple) else made

    h = 1e-6
    want = [(last(X + h * e, 0.0) - last(X - h * e, 0.0)) / (2 * h) for e in np.eye(4)]
    np.testing.assert_allclose(jitgrad.grad(last)(X, 0.0), want, atol=1e-8)


@pytest.mark.parametrize(
    "use",
    [
        lambda a, b, x: x[a],
        lambda a, b, x: {b: 1}[b],
        lambda a, b, x: np.zeros(a),
        lambda a, b, x: np.reshape(x, a),
        lambda a, b, x: a == b,
        lambda a, b, x: a < b,
        lambda a, b, x: max(*b),
    ],
)
def test_what_needs_the_number_of_items_is_refused(use: Callable[..., Any]) -> None:
    def f(x: np.ndarray, least: float) -> Any:
        a, b = zip(*above(x, least))
        return use(a, b, x)

    with pytest.raises(jitgrad.UnsupportedError):
        jitgrad.jit(f)(X, 0.0)


def test_arrays_that_are_stored_to_are_those_of_the_list() -> None:
    def f(x: np.ndarray, least: float) -> Any:
        pairs = []
        for v in x:
            if v > least:
                pairs.append((v, np.array([v, 2 * v])))
        _, rows = zip(*pairs)
        rows[0][0] = 9.0
        return pairs[0][1][0], rows[0].sum()

    try:
        got = jitgrad.jit(f)(X, 0.0)
    except jitgrad.UnsupportedError as refused:
        assert refused.code == "JG241"
    else:
        assert repr(got) == repr(f(X, 0.0))
