"""Marks that are not there: random loops over marked cotangents give the same bits, and programs lose their masks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.ops.index import Pick, Span, add_to, load, store
from jitgrad.graph.passes import drop_marks, optimise
from jitgrad.graph.types import BOOL, FLOAT64, INT64
from jitgrad.graph.verify import verify
from tests.graph.diff_bank import branch, integer, loop
from tests.graph.helpers import outcome

ROWS, N = 3, 4
ROW, MATRIX = FLOAT64.with_shape((N,)), FLOAT64.with_shape((ROWS, N))


class Maker:
    """Makes ops at random from values at hand."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = Graph("f", [ROW, ROW, MATRIX, FLOAT64, INT64, BOOL], ["a", "b", "m", "x", "n", "p"])
        self.g = Builder(self.graph)

    def zero(self, negative: bool = False) -> Value:
        return self.g.constant(-0.0 if negative else 0.0)

    def steps(self, floats: list[Value], bools: list[Value], matrix: Value, at: Value, count: int) -> Value:
        """Extend what is at hand; return the matrix as it is then."""
        g, rng = self.g, self.rng

        def pick(held: list[Value]) -> Value:
            return held[rng.integers(len(held))]

        for _ in range(count):
            place = [Pick(at if rng.integers(2) else int(rng.integers(ROWS))), Span(0, 1, N)]
            match rng.integers(12):
                case 0 | 1:
                    floats.append(g.add(pick(floats), self.zero()))
                case 2:
                    floats.append(g.multiply(pick(floats), self.graph.args[3]))
                case 3:
                    floats.append(g.add(pick(floats), pick(floats)))
                case 4 | 5:
                    bools.append(g.is_negative_zero(pick(floats)))
                    number = g.add(pick(floats), self.zero())
                    floats.append(g.select(bools[-1], self.zero(negative=True), number))
                case 6:
                    floats.append(g.select(pick(bools), pick(floats), pick(floats)))
                case 7:
                    name = ["logical_or", "logical_and"][rng.integers(2)]
                    bools.append(g.emit(name, [g.logical_not(pick(bools)), pick(bools)]).result)
                case 8:
                    name = ["reduce_or", "reduce_and"][rng.integers(2)]
                    bools.append(g.broadcast(g.emit(name, [pick(bools)], {"axes": (0,)}).result, shape=(N,)))
                case 9:
                    floats.append(load(g, matrix, place))
                case 10:
                    matrix = (store if rng.integers(2) else add_to)(g, matrix, pick(floats), place)
                case 11:
                    part = [Span(int(rng.integers(2)), 1, 3)]
                    floats.append(add_to(g, pick(floats), load(g, pick(floats), part), part))
        return matrix

    def make(self) -> Graph:
        g, rng = self.g, self.rng
        a, b, m, _, n, p = self.graph.args

        def first(v: Value) -> Value:
            begun = [g.add(v, self.zero()), g.broadcast(self.zero(negative=True), shape=v.shape), v]
            return begun[rng.choice(3, p=[0.7, 0.2, 0.1])]

        def outer(k: Value, t: Value, c: Value, d: Value) -> list[Value]:
            floats, bools = [a, c, d], [g.is_negative_zero(c)]
            t = self.steps(floats, bools, t, k, rng.integers(1, 6))

            def inner(i: Value, u: Value, e: Value) -> list[Value]:
                within, truths = [*floats, e], list(bools)
                u = self.steps(within, truths, u, i, rng.integers(1, 6))
                return [u, within[-1]]

            t, e = loop(g, ROWS, [t, floats[-1]], inner)
            arms = [floats[rng.integers(len(floats))] for _ in range(2)]
            (chosen,) = branch(g, p, lambda: [g.add(arms[0], self.zero())], lambda: [g.add(arms[1], e)])
            floats += [e, chosen]
            t = self.steps(floats, bools, t, k, rng.integers(1, 4))
            return [t, floats[-1], floats[rng.integers(len(floats))]]

        count = n if rng.integers(2) else integer(g, ROWS)
        count = g.minimum(g.maximum(count, integer(g, 0)), integer(g, ROWS))
        t, c, d = loop(g, count, [first(m), first(a), first(b)], outer)
        self.graph.yields = [t, c, d, g.is_negative_zero(t), g.is_negative_zero(c)]
        return self.graph

    def arguments(self, seed: int) -> list[Any]:
        rng = np.random.default_rng(seed)
        some = np.array([0.0, -0.0, 1.5, -2.0, np.inf, np.nan])
        a, b, m = (rng.choice(some, size=v.shape) for v in self.graph.args[:3])
        return [a, b, m, rng.choice(some), np.int64(rng.integers(4)), np.bool_(rng.integers(2))]


@pytest.mark.parametrize("seed", range(60))
def test_random_loops_keep_every_bit(seed: int) -> None:
    maker = Maker(seed)
    graph = maker.make()
    arguments = [maker.arguments(k) for k in range(8)]
    before = [outcome(graph, args) for args in arguments]
    drop_marks(graph)
    verify(graph)
    assert [outcome(graph, args) for args in arguments] == before
    assert not drop_marks(graph)
    optimise(graph)
    assert [outcome(graph, args) for args in arguments] == before


def test_random_loops_lose_marks() -> None:
    assert sum(drop_marks(Maker(seed).make()) for seed in range(60)) > 30


def orthonormal(a: Any, w: Any) -> Any:
    q = a.copy()
    for j in range(q.shape[1]):
        q[:, j] /= np.sqrt(q[:, j] @ q[:, j])
        for k in range(j + 1, q.shape[1]):
            q[:, k] -= (q[:, j] @ q[:, k]) * q[:, j]
    return np.sum(w * q)


def filtered(f: Any, ys: Any) -> Any:
    p, loss = np.eye(2), 0.0
    for y in ys:
        p = f @ p @ f.T + np.eye(2)
        inv = np.array([[p[1, 1], -p[0, 1]], [-p[1, 0], p[0, 0]]]) / (p[0, 0] * p[1, 1] - p[0, 1] * p[1, 0])
        p = p - 0.1 * inv @ p
        loss += y @ inv @ y
    return loss + np.sum(p)


def log_det(a: Any) -> Any:
    """Cholesky's factor in place, of which the diagonal alone is asked for."""
    a = a.copy()
    for j in range(len(a)):
        a[j, j] = np.sqrt(a[j, j] - a[j, :j] @ a[j, :j])
        a[j + 1 :, j] = (a[j + 1 :, j] - a[j + 1 :, :j] @ a[j, :j]) / a[j, j]
    return 2 * np.log(np.diag(a)).sum()


def test_loops_over_used_cotangents_have_no_masks() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(5, 4))
    for f, args in [(orthonormal, (a, a[::-1])), (filtered, (a[:2, :2], a[:, :2]))]:
        text = str(jitgrad.grad(f).adjoint(*args))
        assert "is_negative_zero" not in text and "reduce_or" not in text, text


def test_marks_that_are_there_stay() -> None:
    a = np.eye(4) + 0.1
    gradient = jitgrad.grad(log_det)
    assert "is_negative_zero" in str(gradient.adjoint(a))
    np.testing.assert_allclose(np.diag(gradient(a)), np.diag(np.linalg.inv(a)), rtol=1e-12)


@pytest.mark.parametrize("f", [orthonormal, filtered])
def test_gradients_without_masks(f: Any) -> None:
    rng = np.random.default_rng(1)
    args = (rng.normal(size=(5, 4)), rng.normal(size=(5, 4))) if f is orthonormal else (
        rng.normal(size=(2, 2)), rng.normal(size=(6, 2))
    )  # fmt: skip
    gradient = jitgrad.grad(f)(*args)
    direction = rng.normal(size=args[0].shape)
    ends = [f(args[0] + step * direction, args[1]) for step in (1e-6, -1e-6)]
    np.testing.assert_allclose(np.sum(gradient * direction), (ends[0] - ends[1]) / 2e-6, rtol=1e-6)
