"""Sizes that decide something: an exception, what broadcasts, whether a loop runs, a number that the program needs.

Such programs raise what NumPy raises, with a single compile for all sizes; where the program has to know the number,
each size is compiled for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.api import Transformed
from jitgrad.trace.context import Context
from jitgrad.transform import Transform
from tests.programs import bank_sizes as sizes
from tests.programs.harness import same
from tests.sizes import SIZES, numbers, outcome

# --- sizes that disagree, and sizes that mean something else


def test_sizes_that_disagree_raise_what_numpy_raises() -> None:
    def f(x: np.ndarray, y: np.ndarray) -> Any:
        return (x * y).sum()

    g = jitgrad.value_and_grad(f)
    for n in SIZES:
        g(*numbers(n, n))
    for n, m in ((5, 6), (17, 4), (3, 2), (6, 5)):
        with pytest.raises(ValueError, match="could not be broadcast") as caught:
            g(*numbers(n, m))
        with pytest.raises(ValueError) as theirs:
            f(*numbers(n, m))
        assert str(caught.value) == str(theirs.value)
        assert caught.traceback[-1].path == theirs.traceback[-1].path
        assert caught.traceback[-1].lineno == theirs.traceback[-1].lineno
        same(g(*numbers(n, n)), jitgrad.value_and_grad(f)(*numbers(n, n)), 1e-14)


PRODUCTS: list[Callable[[np.ndarray, np.ndarray], Any]] = [
    lambda x, y: np.dot(x, y),
    lambda x, y: np.outer(x, x) @ y,
    lambda x, y: np.einsum("i,i", x, y),
    lambda x, y: x.reshape(len(y), 1),
    lambda x, y: x[y > 1.0],
    lambda x, y: np.stack([x, y]),
    lambda x, y: np.broadcast_to(x, (2, len(y))),
]


@pytest.mark.parametrize("f", PRODUCTS)
def test_messages_are_those_of_known_sizes(f: Any) -> None:
    compiled = jitgrad.jit(f)
    for n, m in ((3, 3), (3, 4), (4, 4), (5, 5), (6, 5), (6, 6), (9, 9), (9, 6), (17, 17), (2, 9)):
        same(outcome(compiled, numbers(n, m)), outcome(f, numbers(n, m)), 1e-13)
    assert compiled.stats()["compiled"] == 3


def test_a_call_that_raises_says_nothing_of_sizes() -> None:
    def f(x: np.ndarray, y: np.ndarray) -> Any:
        if len(x) != len(y):
            raise ValueError("lengths differ")
        return x @ y

    compiled = jitgrad.jit(f)
    for n, m in ((3, 3), (3, 4), (4, 4), (4, 5), (5, 6), (5, 5), (3, 4), (6, 6), (9, 6), (17, 17), (5, 6)):
        same(outcome(compiled, numbers(n, m)), outcome(f, numbers(n, m)), 1e-13)
    assert compiled.stats()["signatures"][-1]["signature"] == "float64[n], float64[n]"
    count = compiled.stats()["compiled"]
    for n, m in ((3, 4), (4, 5), (5, 6), (9, 6), (12, 12)):
        same(outcome(compiled, numbers(n, m)), outcome(f, numbers(n, m)), 1e-13)
    assert compiled.stats()["compiled"] == count


def test_a_cotangent_of_another_size_is_refused() -> None:
    pull = Transformed(Transform("pull", lambda x: x * x))
    for n in SIZES:
        x = numbers(n)[0]
        same(pull((x,), x), (2 * x * x,), 1e-14)
        with pytest.raises(jitgrad.ArgumentError, match="JG106"):
            pull((x,), numbers(n + 1)[0])
    assert pull.stats()["compiled"] == 3


@pytest.mark.parametrize("n", [0, 1, 2])
def test_small_sizes_are_known(n: int) -> None:
    def f(x: np.ndarray, y: np.ndarray) -> Any:
        z = x[1:] - x[:-1]
        return x + y, x[:, None] * y, z, z.sum(), x[::2], x[2:]

    compiled = jitgrad.jit(f)
    for k in (*SIZES, n, *SIZES, n):
        same(compiled(*numbers(k, k)), f(*numbers(k, k)), 1e-14)
        same(compiled(*numbers(k, 1)), f(*numbers(k, 1)), 1e-14)
        same(compiled(*numbers(1, k)), f(*numbers(1, k)), 1e-14)


def test_a_part_that_may_have_one_element_is_broadcast() -> None:
    """x[2:] of three elements meets y as NumPy broadcasts it: code for all sizes must not refuse that."""

    def f(x: np.ndarray, y: np.ndarray) -> Any:
        return x[2:] + y

    compiled = jitgrad.jit(f)
    for n in (5, 6, 7, 9, 3, 4, 17, 3):
        for m in (n - 2, 1):
            same(compiled(*numbers(n, m)), f(*numbers(n, m)), 1e-14)
    same(compiled(*numbers(3, 8)), f(*numbers(3, 8)), 1e-14)


def test_smaller_sizes_later() -> None:
    compiled = jitgrad.jit(lambda x: x[2:-2].sum() if len(x) > 4 else x[-1] * len(x))
    for n in (20, 30, 40, 50, 7, 3, 2, 8, 4, 5, 6, 1, 0 + 1):
        x = numbers(n)[0]
        same(compiled(x), x[2:-2].sum() if n > 4 else x[-1] * n, 1e-14)


def test_loops_that_may_run_zero_times() -> None:
    def f(x: np.ndarray) -> Any:
        s = 0.0
        for k in range(3, len(x)):
            s = s + x[k]
            last = x[k - 1]
        for v in x[5:]:
            s = s * v
        return s, (last if len(x) > 3 else 1.0)

    compiled = jitgrad.jit(f)
    for n in (6, 7, 8, 9, 3, 4, 5, 2, 17):
        x = numbers(n)[0]
        same(compiled(x), f(x), 1e-14)


def test_index_out_of_range() -> None:
    def f(x: np.ndarray) -> float:
        s = x[3]
        for i in range(len(x)):
            s = s + x[i] * x[i - 1] + x[len(x) - 1 - i]
        return s

    g = jitgrad.value_and_grad(f)
    for n in (9, 8, 7, 6, 4, 3, 2):
        x = numbers(n)[0]
        if n > 3:
            same(g(x)[0], f(x), 1e-14)
            same(g(x)[1], jitgrad.grad(f)(x), 1e-14)
        else:
            with pytest.raises(IndexError) as caught:
                g(x)
            assert str(caught.value) == f"index 3 is out of bounds for axis 0 with size {n}"


# --- programs that need the number


def test_a_program_that_needs_the_number_compiles_for_each() -> None:
    def f(x: np.ndarray) -> Any:
        first, *rest = x
        return first * sum(rest)

    g = jitgrad.value_and_grad(f)
    for count, n in enumerate(SIZES, 1):
        x = numbers(n)[0]
        same(g(x)[0], f(x), 1e-14)
        assert g.stats()["compiled"] == count
    signatures = g.stats()["signatures"]
    assert "the size n is static" in " ".join(signatures[2]["notes"])
    assert [s["signature"] for s in signatures] == [f"float64[{n}]" for n in SIZES]
    assert sum(bool(s["notes"]) for s in signatures[3:]) <= 1, "tried again, but for large sizes"


def test_only_the_size_that_is_needed_is_known() -> None:
    def f(x: np.ndarray, y: np.ndarray) -> Any:
        a, *b = y
        return (x * a).sum() + sum(b)

    g = jitgrad.value_and_grad(f)
    for n, m in ((3, 4), (4, 5), (5, 6), (7, 6), (8, 6), (9, 6), (11, 7), (12, 7)):
        same(g(*numbers(n, m))[0], f(*numbers(n, m)), 1e-14)
    assert [s["signature"] for s in g.stats()["signatures"][2:]] == [
        "float64[n], float64[6]",
        "float64[n], float64[7]",
    ]


def test_what_the_program_raises_for_every_size() -> None:
    def f(x: np.ndarray) -> float:
        if len(x) >= 2:
            raise KeyError("too long")
        return x.sum()

    g = jitgrad.jit(f)
    for n in (*SIZES, 1):
        x = numbers(n)[0]
        if n == 1:
            same(g(x), f(x), 1e-14)
        else:
            with pytest.raises(KeyError, match="too long"):
                g(x)


@pytest.mark.parametrize("kind", ["jit", "pull", "push"])
def test_what_raises_on_every_path_with_a_size_in_it(kind: str) -> None:
    def f(x: np.ndarray) -> Any:
        if len(x) > 0:
            raise ValueError(f"a length of {len(x)}")
        return x

    g = Transformed(Transform(kind, f))
    for n in SIZES:
        x = numbers(n)[0]
        with pytest.raises(ValueError, match=f"a length of {n}"):
            g(x) if kind == "jit" else g((x,), x if kind == "pull" else (x,))


def test_texts_that_show_sizes() -> None:
    def f(x: np.ndarray, y: np.ndarray, how: int) -> Any:
        if how == 0:
            raise ValueError(f"shapes {x.shape} and {y.shape}: {len(x)} is not {len(y):>4}")
        if how == 1:
            raise KeyError("n is %d" % len(x))  # noqa: UP031
        if how == 2:
            raise KeyError(len(x), "items")
        return x.sum()

    compiled = [jitgrad.jit(lambda x, y, k=k: f(x, y, k)) for k in range(3)]
    for n in SIZES:
        for k, g in enumerate(compiled):
            with pytest.raises((ValueError, KeyError)) as caught:
                g(*numbers(n, n + 1))
            with pytest.raises((ValueError, KeyError)) as theirs:
                f(*numbers(n, n + 1), k)
            assert str(caught.value) == str(theirs.value)
            assert caught.value.args == theirs.value.args


def _by_width(x: np.ndarray) -> Any:
    found, width = {}, 1
    while width < len(x):
        found[width] = x[width - 1] * width
        width *= 2
    return sum(found.values())


@pytest.mark.parametrize(("f", "compiled"), [(_by_width, 4), (sizes.merge_sort, 3)])
def test_a_loop_is_written_out_as_often_as_sizes_say_only_where_it_must(f: Callable[..., Any], compiled: int) -> None:
    g = jitgrad.jit(f)
    for n in SIZES[:4]:
        x = numbers(n)[0]
        same(g(x), f(x), 1e-14)
    assert g.stats()["compiled"] == compiled


FEW: list[Callable[[np.ndarray], Any]] = [
    lambda x: x[: len(x) // 8].squeeze(),
    lambda x: x[: len(x) // 8] + np.zeros(len(x) // 4),
]


@pytest.mark.parametrize("f", FEW)
@pytest.mark.parametrize("asks", [True, False])
def test_code_that_refuses_calls_by_their_sizes_serves_none_but_the_size_seen(
    f: Any, asks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where a room that emits such a check does not ask for the sizes."""
    if not asks:
        monkeypatch.setattr(Context, "note_refusal", lambda *args: None)
    compiled = jitgrad.jit(f)
    for n in (17, 18, 24, 33, 9, 8, 15, 16):
        args = numbers(n)[:1]
        same(outcome(compiled, args), outcome(f, args), 1e-13)
