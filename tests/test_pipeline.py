"""The list of stages: what is timed, verified, dumped, and how a wrong pass is found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad import pipeline
from jitgrad.graph.ir import Graph
from jitgrad.options import OPTIONS

X = np.array([0.5, 1.0, 2.0])


def program(x: np.ndarray, n: int) -> Any:
    total = 0.0
    for i in range(n):
        total = total + np.sum(np.sin(x) * i)
    if total > 1.0:
        total = total * 2.0
    return total


@pytest.mark.parametrize("transform", [jitgrad.jit, jitgrad.grad])
def test_values_are_kept_by_every_pass(transform: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    want = transform(program)(X, 3)
    monkeypatch.setattr(OPTIONS, "verify", "values")
    np.testing.assert_array_equal(transform(program)(X, 3), want)


@pytest.mark.parametrize("stage", ["optimise", "make_executable"])
def test_a_fault_of_a_stage_is_ours(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any) -> None:
        raise TypeError("unhashable")

    monkeypatch.setattr(pipeline, stage, broken)
    with pytest.raises(jitgrad.InternalError, match=r"JG900.*TypeError after the trace: unhashable"):
        jitgrad.jit(program)(X, 3)


def test_a_wrong_pass_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def swap_operands(graph: Graph) -> bool:
        changed = False
        for op in graph.ops:
            if op.name == "subtract" and "swapped" not in op.attrs:
                op.operands.reverse()
                op.attrs["swapped"] = changed = True
        return changed

    monkeypatch.setattr(OPTIONS, "verify", "values")
    monkeypatch.setattr(pipeline, "verify", lambda graph: None)
    monkeypatch.setattr(pipeline, "PASSES", (*pipeline.PASSES, swap_operands))
    with pytest.raises(jitgrad.InternalError, match="JG902: the pass swap_operands"):
        jitgrad.jit(lambda x, y: x - y)(3.0, 1.0)


def test_dump(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(OPTIONS, "dump", "all")
    jitgrad.jit(lambda x: x + 1.0)(2.0)
    text = capsys.readouterr().err
    assert "--- after trace" in text and "--- after optimise" in text and "add %x" in text


def test_the_interpreter_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    want = jitgrad.grad(program)(X, 4)
    monkeypatch.setattr(OPTIONS, "interpret", True)
    np.testing.assert_allclose(jitgrad.grad(program)(X, 4), want, rtol=1e-14)
