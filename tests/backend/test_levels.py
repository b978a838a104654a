"""Which passes of LLVM a body gets, and what is not written twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.backend.blas import hidden
from jitgrad.backend.levels import level_of, vectorises
from jitgrad.backend.text import FunctionText
from jitgrad.cache import specialise
from jitgrad.graph.ir import Graph

X = np.linspace(0.1, 1.0, 8)
K = np.array([3, 1, 3, 0, 2, 2, 7, 1])


def straight(x: np.ndarray, k: np.ndarray) -> Any:
    return np.sin(x) * x


def elements(x: np.ndarray, k: np.ndarray) -> Any:
    y = np.zeros(len(x))
    for i in range(len(x)):
        y[i] = x[i] * x[i] + 1.0
    return y


def triangle(x: np.ndarray, k: np.ndarray) -> Any:
    y = np.zeros((len(x), len(x)))
    for i in range(len(x)):
        for j in range(i):
            y[i, j] = x[i] * x[j] + 1.0
    return y


def products(x: np.ndarray, k: np.ndarray) -> Any:
    s = 0.0
    for i in range(len(x)):
        s = s * x[i] + 1.0
    return s


def quotients(x: np.ndarray, k: np.ndarray) -> Any:
    s = 0.0
    for i in range(len(x)):
        s += x[i] / (x[i] + 2.0)
    return s


def twice(x: np.ndarray, k: np.ndarray) -> Any:
    s = 0.0
    for i in range(len(x)):
        s += x[i] / (s + 2.0)
    return s


def recurrence(x: np.ndarray, k: np.ndarray) -> Any:
    y = np.zeros(len(x))
    s = 0.0
    for i in range(len(x)):
        s = s * x[i] + 1.0
        y[i] = s
    return y


def neighbours(x: np.ndarray, k: np.ndarray) -> Any:
    y = np.zeros(len(x))
    for i in range(1, len(x)):
        y[i] = y[i - 1] * x[i] + 1.0
    return y


def places(x: np.ndarray, k: np.ndarray) -> Any:
    y = np.zeros(len(x))
    for i in range(len(x)):
        y[k[i]] += x[i]
    return y


def handed_on(x: np.ndarray, k: np.ndarray) -> Any:
    y = x.copy()
    for i in range(1, len(x)):
        y[i] = y[i] - 0.5 * y[i - 1]
    return y


def quotients_handed_on(x: np.ndarray, k: np.ndarray) -> Any:
    y = x.copy()
    for i in range(1, len(x)):
        y[i] = y[i] / (2.0 + y[i - 1])
    return y


def rows(x: np.ndarray, k: np.ndarray) -> Any:
    y = np.zeros((4, len(x)))
    for i in range(4):
        y[i] = x * i
    return y


@pytest.mark.parametrize(
    ("function", "level"),
    [
        (straight, "minimal"),
        (elements, "minimal"),
        (triangle, "short"),
        (quotients, "full"),
        (twice, "loops"),
        (products, "loops"),
        (recurrence, "loops"),
        (neighbours, "loops"),
        (places, "loops"),
        (handed_on, "unrolled"),
        (quotients_handed_on, "loops"),
        (rows, "loops"),
    ],
)
def test_vectorisers_run_where_llvm_can_find_vectors(
    function: Callable[..., Any], level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs = _compiled(monkeypatch)
    np.testing.assert_allclose(jitgrad.jit(function)(X, K), function(X, K), rtol=1e-14)
    assert [level_of(g) for g in graphs] == [level]


def _compiled(monkeypatch: pytest.MonkeyPatch) -> list[Graph]:
    """Return the list to which the graphs of what is compiled will be added."""
    graphs: list[Graph] = []

    def seen(*args: Any) -> Any:
        made = specialise(*args)
        graphs.append(made.traced.graph)
        return made

    monkeypatch.setattr("jitgrad.cache.specialise", seen)
    return graphs


def test_vectorisers_do_not_run_for_a_small_part_of_a_program(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs = _compiled(monkeypatch)
    with hidden():  # elimination by loops
        jitgrad.grad(lambda a: np.sum(np.linalg.solve(a, X)))(np.diag(X) + 0.1)
    (graph,) = graphs
    assert any(vectorises(op) for op in graph.walk() if op.name == "for")
    assert level_of(graph) == "loops"


def test_llvm_says_nothing_of_loops_that_it_leaves_as_they_are(capfd: pytest.CaptureFixture[str]) -> None:
    for f in (triangle, quotients, twice, recurrence, places):
        jitgrad.grad(lambda x, k, f=f: np.sum(f(x, k)))(X, K)
    assert capfd.readouterr().err == ""


def test_an_instruction_is_written_once_a_block() -> None:
    text = FunctionText()
    first = text.emit("mul i64 %n, 8")
    assert text.emit("mul i64 %n, 8") == first
    assert text.emit("load i64, ptr %p") != text.emit("load i64, ptr %p")
    text.start("next")
    assert text.emit("mul i64 %n, 8") != first


def test_a_block_that_is_gone_on_with_knows_nothing_of_what_was_written_elsewhere() -> None:
    text = FunctionText()
    text.start("here")
    held, text.lines = text.lines, []
    text.start("failure")
    elsewhere = text.emit("mul i64 %n, 8")
    text.lines = held
    text.start("here.fine")
    assert text.emit("mul i64 %n, 8") != elsewhere


def test_what_surely_ran_before_is_not_written_again() -> None:
    text = FunctionText()
    before = text.emit("mul i64 %n, 8")
    within = []

    def body(*_: str) -> None:
        assert text.emit("mul i64 %n, 8") == before
        within.append(text.emit("mul i64 %n, 16"))

    text.counted("%n", body)
    text.when("%c", body)
    assert text.emit("mul i64 %n, 8") == before
    # A loop may run no time, and a condition not hold: what is within may not be there.
    within.append(text.emit("mul i64 %n, 16"))
    assert len(set(within)) == 3
