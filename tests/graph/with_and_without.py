"""Programs with and without a pass: in how many graphs it does something, and that both ways compute the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.graph import passes

__all__ = ["check_without", "derivatives", "times_done"]


def times_done(monkeypatch: pytest.MonkeyPatch, name: str, call: Callable[[], Any]) -> int:
    """Return in how many graphs a pass changes something while something is called."""
    run, found = getattr(passes, name), list[bool]()
    monkeypatch.setattr(passes, name, lambda graph: found.append(run(graph)) or found[-1])
    call()
    monkeypatch.undo()
    return sum(found)


def derivatives(f: Callable[..., Any], args: Sequence[Any], along: Sequence[Any], text: str) -> tuple[Any, ...]:
    """Return the value and the gradients of a program by all of its arguments, once forward mode agrees."""
    value, gradients = jitgrad.value_and_grad(f, argnums=tuple(range(len(args))))(*args)
    tangent = jitgrad.jvp(f, tuple(args), tuple(along))[1]
    total = sum(np.sum(g * t) for g, t in zip(gradients, along, strict=True))
    np.testing.assert_allclose(total, tangent, rtol=1e-7, atol=1e-9, err_msg=text)
    return value, *gradients


def check_without(
    monkeypatch: pytest.MonkeyPatch, names: Sequence[str], results: Callable[[str], tuple[Any, ...]], text: str
) -> tuple[Any, ...]:
    """Return what is computed with all passes, once it is what is computed without some.

    Parameters
    ----------
    monkeypatch : pytest.MonkeyPatch
    names : sequence of str
        The passes to leave out.
    results : callable
        Compiles the program anew, under the name it is given, and returns numbers and arrays.
    text : str
        The program, for whoever reads the failure.
    """
    made = results("<with>")
    for name in names:
        monkeypatch.setattr(passes, name, lambda graph: False)
    for got, want in zip(made, results("<without>"), strict=True):
        scale = np.max(np.abs(want))
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11 * scale, err_msg=text)
    return made
