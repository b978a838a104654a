"""Checking derivatives of graphs against the interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.graph.diff.adjoint import adjoint
from jitgrad.graph.diff.tangent import tangent
from jitgrad.graph.interpret import interpret
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.types import ArrayType

__all__ = ["Args", "check_derivatives", "float_args", "forward", "kept_numbers", "reverse", "shapes_like", "with_sizes"]

Args = list[Any]


def float_args(graph: Graph) -> list[int]:
    """Return the positions of the floating-point arrays among the arguments."""
    return [i for i, a in enumerate(graph.args) if isinstance(a.type, ArrayType) and a.type.is_float]


def shapes_like(values: Sequence[Any], rng: np.random.Generator) -> Args:
    """Return random arrays of the shapes of `values`."""
    return [rng.normal(size=np.shape(v)) for v in values]


def reverse(graph: Graph, args: Args, rng: np.random.Generator) -> tuple[Graph, Args]:
    """Return the adjoint of a graph and arguments for it."""
    out = interpret(graph, args)
    seeds = shapes_like([v for v, y in zip(out, graph.yields, strict=True) if y.type.is_float], rng)
    made = adjoint(graph, float_args(graph))
    return made, [*args, *with_sizes(made.args[len(args) :], seeds)]


def with_sizes(extra: Sequence[Value], seeds: Sequence[Any]) -> Args:
    """Return the arguments of an adjoint after the primal's: cotangents, and the sizes of those that have their own."""
    values: dict[Value, Any] = {}
    for arg, seed in zip((a for a in extra if a.type.is_float), seeds, strict=True):
        values[arg] = seed
        values |= {d: np.int64(k) for d, k in zip(arg.shape, np.shape(seed), strict=True) if isinstance(d, Value)}
    return [values[a] for a in extra]


def forward(graph: Graph, args: Args, rng: np.random.Generator) -> tuple[Graph, Args]:
    """Return the tangent of a graph and arguments for it."""
    wrt = float_args(graph)
    return tangent(graph, wrt), [*args, *shapes_like([args[i] for i in wrt], rng)]


def _difference(graph: Graph, args: Args, directions: dict[int, np.ndarray], step: float) -> list[np.ndarray]:
    def at(h: float) -> list[np.ndarray]:
        moved = [a + h * directions[i] if i in directions else a for i, a in enumerate(args)]
        out = interpret(graph, moved)
        return [v for v, y in zip(out, graph.yields, strict=True) if y.type.is_float]

    # Fourth order: the error is about step**4 and 1e-16 / step.
    values = [at(k * step) for k in (-2, -1, 1, 2)]
    return [(a - 8 * b + 8 * c - d) / (12 * step) for a, b, c, d in zip(*values, strict=True)]


def _error(x: Sequence[Any], y: Sequence[Any]) -> float:
    scale = max([1e-3, *(float(np.max(np.abs(v))) for v in [*x, *y] if np.size(v))])
    worst = 0.0
    for a, b in zip(x, y, strict=True):
        assert np.shape(a) == np.shape(b), (np.shape(a), np.shape(b))
        if np.size(a):
            worst = max(worst, float(np.max(np.abs(np.asarray(a) - b))) / scale)
    return worst if worst == worst else np.inf


def check_derivatives(graph: Graph, args: Args, rng: np.random.Generator, *, numeric: bool = True) -> float:
    """Return the worst relative error of a graph's tangent and adjoint.

    The tangent is compared with finite differences (if `numeric`, allowing for their own error), the adjoint with the
    tangent, and the primal results of both with the primal.
    """
    wrt = float_args(graph)
    out = interpret(graph, args)
    is_float = [y.type.is_float for y in graph.yields]
    rev, rev_args = reverse(graph, args, rng)
    fwd, fwd_args = forward(graph, args, rng)
    tangents = fwd_args[len(args) :]
    seeds = [v for v, a in zip(rev_args, rev.args, strict=True) if a.type.is_float and a.index >= len(args)]
    rev_out, fwd_out = interpret(rev, rev_args), interpret(fwd, fwd_args)
    n = len(out)
    # A derivative's own sums may be taken in any order when it is differentiated again; a program's are not touched.
    tolerance = 1e-14 if any(op.name == "addto" for op in graph.walk()) else 0.0
    for one in (rev_out, fwd_out):
        for a, b in zip(out, one[:n], strict=True):
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)
    moved = fwd_out[n:]
    assert len(moved) == sum(is_float)
    if numeric:
        directions = dict(zip(wrt, tangents, strict=True))
        by_difference = _difference(graph, args, directions, 1e-4)
        assert _error(moved, by_difference) < 2e-6, (moved, by_difference)
    left = [np.sum(w * t) for w, t in zip(seeds, moved, strict=True)]
    right = [np.sum(c * t) for c, t in zip(rev_out[n:], tangents, strict=True)]
    size = sum(float(np.sum(np.abs(c * t))) for c, t in zip(rev_out[n:], tangents, strict=True))
    size += sum(float(np.sum(np.abs(w * t))) for w, t in zip(seeds, moved, strict=True))
    error = abs(sum(left) - sum(right)) / max(size, 1e-3)
    return float(error) if error == error else float(np.inf)


def kept_numbers(graph: Graph, args: Args) -> int:
    """Return how many numbers the tapes of an adjoint hold, bools and integers included."""
    tapes = list({r: None for op in graph.ops if op.regions for r in op.results if "tape" in r.name})
    yields, graph.yields = graph.yields, tapes
    try:
        values = interpret(graph, args)
    finally:
        graph.yields = yields
    return sum(sum(np.size(x) for x in v) if isinstance(v, list) else np.size(v) for v in values)
