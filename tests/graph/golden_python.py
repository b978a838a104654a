"""Golden stages whose source is Python: a function `f` and its arguments `args`.

`jit` gives the optimised graph of the call, `grad` that of the gradient by `argnums` (0 unless the source says).
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

import jitgrad
from jitgrad.cache import Cache
from jitgrad.graph.ir import Graph
from jitgrad.transform import Transform

__all__ = ["grad_graph", "grad_is_right", "jit_graph", "jit_is_right"]


def _scope(source: str) -> dict[str, Any]:
    scope: dict[str, Any] = {"np": np}
    exec(source, scope)
    return scope


def _graph(transform: Transform, scope: dict[str, Any]) -> Graph:
    return Cache(transform).find(copy.deepcopy(scope["args"]), {}).traced.graph


def jit_graph(source: str) -> Graph:
    """Return the graph of a plain call."""
    scope = _scope(source)
    return _graph(Transform("jit", scope["f"]), scope)


def jit_is_right(source: str, graph: Graph) -> None:
    """Check that machine code returns what Python returns, and leaves the arguments as it does."""
    scope = _scope(source)
    ours, theirs = copy.deepcopy(scope["args"]), copy.deepcopy(scope["args"])
    np.testing.assert_allclose(jitgrad.jit(scope["f"])(*ours), scope["f"](*theirs), rtol=1e-14)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


def grad_graph(source: str) -> Graph:
    """Return the graph of the gradient."""
    scope = _scope(source)
    return _graph(Transform("grad", scope["f"], scope.get("argnums", 0)), scope)


def grad_is_right(source: str, graph: Graph) -> None:
    """Compare the compiled gradient with central differences."""
    scope = _scope(source)
    f, args = scope["f"], scope["args"]
    wanted = scope.get("argnums", 0)
    made = jitgrad.grad(f, argnums=wanted)(*args)
    if isinstance(wanted, int):
        wanted, made = (wanted,), (made,)
    for position, gradient in zip(wanted, made, strict=True):
        x = np.asarray(args[position], float)
        for index in np.ndindex(x.shape):
            values = []
            for step in (1e-6, -1e-6):
                moved = x.copy()
                moved[index] += step
                given = list(copy.deepcopy(args))
                given[position] = moved if x.ndim else float(moved)
                values.append(f(*given))
            want = (values[0] - values[1]) / 2e-6
            np.testing.assert_allclose(np.asarray(gradient)[index], want, rtol=1e-5, atol=1e-6)
