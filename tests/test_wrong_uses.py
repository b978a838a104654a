"""What a newcomer gets wrong inside a program raises what Python and NumPy raise, with their texts."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad

V = np.array([1.0, 2.0, 3.0])
M = np.ones((2, 3))

WRONG: list[tuple[Callable[..., Any], Any]] = [
    (lambda x: x + np.ones(4), V),
    (lambda m: m @ m, M),
    (lambda x: x @ np.ones(4), V),
    (lambda x: x[7], V),
    (lambda m: m[0, 9], M),
    (lambda x: x[np.array([0, 5])], V),
    (lambda x: x[0, 0], V),
    (lambda x: x["a"], V),
    (lambda x: x[1.5], V),
    (lambda x: x[None, "a"], V),
    (lambda x: x + None, V),
    (lambda x: None ** x.sum(), V),
    (lambda x: (x > 0) & None, V),
    (lambda x: np.linspace(0, 1, -1) + x, 2.0),
    (lambda x: np.eye(-1) + x, 2.0),
    (lambda x: np.eye(2, -1) + x, 2.0),
    (lambda x: np.identity(-2) + x, 2.0),
    (lambda x: np.sum(x, out=np.zeros(2)), V),
    (lambda m: np.max(m, axis=0, out=np.zeros((1, 3))), M),
    (lambda x: x.reshape(2, 2), V),
    (lambda m: np.concatenate([m, V]), M),
    (lambda m: np.stack([m, V]), M),
    (lambda x: np.vstack([x, np.ones(2)]), V),
    (lambda x: x.sum(axis=2), V),
    (lambda m: np.max(m, axis=5), M),
    (lambda x: float(x), V),
    (lambda x: 1.0 if x > 0 else 2.0, V),
    (lambda x: len(x), 2.0),
    (lambda x: x.foo, V),
    (lambda x: x(1), V),
    (lambda x: x(1), 2.0),
    (lambda x: "a" + x, 2.0),
    (lambda x: "a" * x, 2.0),
    (lambda x: [1.0] + x, 2.0),  # noqa: RUF005
    (lambda x: (1.0,) + x, 2.0),  # noqa: RUF005
    (lambda x: x + "a", 2.0),
    (lambda x: None + x, 2.0),
    (lambda x: undefined * x, 2.0),  # type: ignore[name-defined]  # noqa: F821
    (lambda d: d["z"], {"a": 1.0}),
    (lambda x: (lambda a, b: a)(*x), V),
    (lambda x: [a for a, b in [x]], V),
    (lambda x: list(zip(x, [1, 2], strict=True)), V),
    (lambda x: math.sqrt(-x), 2.0),
    (lambda x: math.log(x - 2.0), 2.0),
    (lambda x: 1.0 / (x - 2.0), 2.0),
    (lambda x: x % 0.0, 2.0),
    (lambda x: int(math.nan * x), 2.0),
    (lambda n: np.zeros(n), -1),
    (lambda x: np.arange(3)[x], 1.5),
    (lambda m: np.einsum("ij,jk->ik", m, m), M),
    (lambda m: np.einsum("ijk->i", m), M),
    (lambda x: np.where(x > 0, x, np.ones(2)), V),
    (lambda x: np.sum(x, foo=1), V),
    (lambda x: np.sin(), V),
    (lambda x: x[:0].max(), V),
    (lambda x: np.argmax(x[:0]), V),
    (lambda x: np.split(x, 2), V),
    (lambda x: np.take(x, 5), V),
    (lambda x: isinstance(x, 3), V),  # type: ignore[arg-type]
    (lambda x: np.linalg.norm(x, axis=3), V),
    (lambda x: [].pop(), V),
    (lambda x: min([]), V),
    (lambda x: round(x, "a"), 2.0),
    (lambda x: 0.0 ** (-x), 2.0),
    (lambda x: math.factorial(-3) * x, 2.0),
    (lambda x: np.interp(x, V, M[0, :2]), V),
    (lambda m: np.r_[m, V], M),
    (lambda x: np.multiply.at(x, [0, 9], 2.0), V),
    (lambda x: np.maximum.accumulate(x, axis=2), V),
    (lambda x: np.add.accumulate(x[0]), V),
    (lambda x: np.vectorize(lambda a, b: a)(x), V),
    (lambda x: np.unique(x, foo=1), V),
    (lambda x: np.corrcoef(x, np.ones(2)), V),
]


@pytest.mark.parametrize("function, argument", WRONG)
def test_mistakes_raise_what_python_raises(function: Callable[..., Any], argument: Any) -> None:
    with pytest.raises(Exception) as want, np.errstate(all="ignore"):
        function(copy.deepcopy(argument))
    with pytest.raises(Exception) as found:
        jitgrad.jit(function)(copy.deepcopy(argument))
    assert (found.type, str(found.value)) == (want.type, str(want.value))


@pytest.mark.parametrize(
    "function", [lambda x: x.sum(keepdim=True), lambda x: np.sum(x, axs=0), lambda x: x.dot(), lambda x: sum(x, 1, 2)]
)
def test_wrong_arguments_are_said_of_the_function_that_was_called(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match=r"^(sum|dot)\(\) (got an unexpected|missing|too many)"):
        jitgrad.jit(function)(V)


def test_tracebacks_show_the_call_and_the_users_lines() -> None:
    def part(x: np.ndarray, k: int) -> Any:
        return x[k]

    def f(x: np.ndarray, k: int) -> Any:
        return part(2.0 * x, k)

    for call in (lambda: jitgrad.grad(f)(V, 9), lambda: jitgrad.jit(lambda x: part(x, len(x)))(V)):
        with pytest.raises(IndexError) as found:
            call()
        names = [entry.name for entry in found.traceback]
        assert names[-1] == "part" and len(names) <= 5
    with pytest.raises(TypeError, match=r"missing 1 required positional argument: 'k'") as wrong:
        jitgrad.grad(f)(V)
    assert len(wrong.traceback) <= 2


def test_the_primals_of_jvp_are_a_tuple() -> None:
    for primals, tangents in ((V, V), ((V,), V), (2.0, 1.0)):
        with pytest.raises(jitgrad.JitgradError, match=r"JG109.*one for each argument"):
            jitgrad.jvp(lambda x: x * 2.0, primals, tangents)


def test_a_reshape_of_a_size_that_data_decide_names_the_shape() -> None:
    def f(x: np.ndarray, n: int) -> Any:
        return x[:n].reshape(2, n - 1)

    compiled = jitgrad.jit(f)
    assert compiled(V, 2).shape == f(V, 2).shape
    with pytest.raises(ValueError) as want:
        f(V, 3)
    with pytest.raises(ValueError) as found:
        compiled(V, 3)
    assert str(found.value) == str(want.value)
