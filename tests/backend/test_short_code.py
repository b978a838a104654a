"""What is known of sizes saves code: no chunks and no cascades where little can happen, memory moved as a whole.

Values are NumPy's whatever the sizes: tails of every length, elements side by side and apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.backend.schedule import Schedule
from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Value
from jitgrad.graph.types import INT64


def triangle(a: np.ndarray) -> Any:
    s = 0.0
    for i in range(len(a)):
        for j in range(i):
            s = s + a[i, :j] @ a[j, :j]
    return s


@pytest.mark.parametrize(("size", "long"), [(100, False), (2000, True)])
def test_sums_of_few_terms_have_no_cascade(size: int, long: bool) -> None:
    text = jitgrad.jit(triangle).llvm(np.zeros((size, size)))
    assert ("_push(" in text) is long


def test_parts_of_small_arrays_are_summed_as_others() -> None:
    a = np.random.default_rng(0).normal(size=(40, 40))
    np.testing.assert_allclose(jitgrad.jit(triangle)(a), triangle(a), rtol=1e-12)


def rows(a: np.ndarray) -> Any:
    for i in range(len(a)):
        for j in range(i):
            a[j] = a[j] + a[i]


def chunks(f: Callable[..., Any], *args: Any) -> int:
    return jitgrad.jit(f).llvm(*args).count(".limit = ")


def test_loops_that_cannot_run_long_have_no_chunks() -> None:
    # The inner loop has at most 100 iterations of some 20 ns, or 5,000 of some 2,000.
    assert chunks(rows, np.zeros((100, 20))) == 0
    assert chunks(rows, np.zeros((5000, 2000))) > 0


def in_a_loop(trips: int) -> tuple[Builder, Value, Value, Schedule]:
    """Return a builder in a loop, a number of which nothing is known, the index of the loop, and the schedule."""
    graph = Graph("f")
    n = graph.add_arg(INT64, "n")
    body = Block([INT64], ["k"])
    g = Builder(graph)
    g.emit("for", [g.constant(trips)], regions=[body])
    return Builder(body), n, body.args[0], Schedule(graph, lambda _: None, set(), set())


def test_bounds_of_integers() -> None:
    g, n, index, schedule = in_a_loop(60)
    assert schedule.most(index) == 59
    assert schedule.most(g.subtract(59, index)) == 59
    assert schedule.most(g.subtract(index, 100)) == 0  # of a size, which is never negative
    assert schedule.most(g.add(g.multiply(index, -2), 7)) == 7
    assert schedule.most(g.multiply(index, index)) == 59 * 59
    assert schedule.most(g.multiply(g.subtract(index, 70), g.subtract(index, 5))) == 70 * 5
    assert schedule.most(g.minimum(n, index)) == 59
    assert schedule.most(n) is None
    assert schedule.most(g.multiply(index, 2**60)) is None  # it may wrap
    assert schedule.most(g.multiply(g.multiply(index, 2**30), g.multiply(index, 2**30))) is None
    assert schedule.most(g.cast(g.cast(n, dtype=np.dtype("int32")), dtype=np.dtype("int64"))) is None  # not small


def test_long_sums_of_indices_are_known() -> None:
    g, _, index, schedule = in_a_loop(2)
    sums = [index]
    for _ in range(12):
        sums.append(g.add(sums[-1], 1))
    assert [schedule.most(s) for s in sums] == list(range(1, 14))
    g, _, index, schedule = in_a_loop(2)
    total = index
    for _ in range(12):
        total = g.add(total, 1)
    assert schedule.most(total) == 13


def copied(x: np.ndarray) -> Any:
    return x.copy()


def cleared(x: np.ndarray) -> Any:
    return np.zeros_like(x)


def negative(x: np.ndarray) -> Any:
    return np.full_like(x, -0.0)


@pytest.mark.parametrize(("function", "call"), [(copied, "memmove"), (cleared, "memset"), (negative, "none")])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.bool_])
def test_memory_is_moved_and_cleared_as_a_whole(function: Callable[..., Any], call: str, dtype: Any) -> None:
    x = (np.linspace(0.0, 9.0, 5000) > 4.0).astype(dtype)
    f = jitgrad.jit(function)
    assert f(x).tobytes() == function(x).tobytes()
    expected = "memset" if call == "none" and dtype in (np.int64, np.bool_) else call
    for name in ("memmove", "memset"):
        assert f.llvm(x).count(f"call void @llvm.{name}") == (name == expected)


def overlapping(x: np.ndarray) -> None:
    x[1:] = x[:-1]
    x[:-2] = x[2:]


def test_a_move_within_an_array_reads_before_it_writes() -> None:
    x = np.linspace(0.0, 1.0, 2000)
    want = x.copy()
    overlapping(want)
    jitgrad.jit(overlapping)(x)
    np.testing.assert_array_equal(x, want)


def side_by_side(a: np.ndarray, k: np.ndarray) -> Any:
    b = 2.0 * a
    return b + a, b.sum(axis=0), b.sum(axis=1), b[0] * 3.0 + 1.0, np.exp(a[0])


def apart(a: np.ndarray, k: np.ndarray) -> Any:
    b = a.copy()
    b[:, 1] = a[:, 0] * 2.0 + a[::-1, 1]
    b[::-1, 0] = a[:, 1]
    return b, b[:, 0] / (1.0 + b[:, 1] ** 2), a[k, 0] + a[k, 1], np.exp(a[:, 0]), a[:, 0].sum(), a[::-1, 1].max()


@pytest.mark.parametrize("function", [side_by_side, apart])
@pytest.mark.parametrize("general", [False, True])
def test_tails_of_every_length(function: Callable[..., Any], general: bool) -> None:
    f = jitgrad.jit(function)
    rng = np.random.default_rng(1)
    for n in [*range(2, 20), 31, 33, 63, 64, 65] if general else (2, 3, 5, 6, 7, 9, 12, 17, 25, 31, 33, 47):
        shape = (3, n) if function is side_by_side else (n, 3)
        a, k = rng.normal(size=shape), rng.integers(0, n, n)
        got = f(a, k) if general else jitgrad.jit(function)(a, k)
        for x, y in zip(got, function(a, k), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-13, atol=1e-14, err_msg=str(n))


def total(a: np.ndarray, k: np.ndarray) -> Any:
    return sum(np.sum(np.asarray(x) * (i + 1.0)) for i, x in enumerate(apart(a, k)))


def test_gradients_of_tails_of_every_length() -> None:
    g = jitgrad.grad(total)
    rng = np.random.default_rng(2)
    for n in [*range(2, 12), 17]:
        a, k, d = rng.normal(size=(n, 3)), rng.integers(0, n, n), rng.normal(size=(n, 3))
        slope = (total(a + 1e-6 * d, k) - total(a - 1e-6 * d, k)) / 2e-6
        np.testing.assert_allclose(np.sum(g(a, k) * d), slope, rtol=1e-6, atol=1e-7, err_msg=str(n))


@pytest.mark.parametrize(("size", "masked"), [(6, True), (11, True), (8, False), (12, False), (4, False)])
def test_tails_that_would_be_put_together_are_masked(size: int, masked: bool) -> None:
    text = jitgrad.jit(lambda x, y: x * y + 1.0).llvm(np.ones(32 + size), np.ones(32 + size))
    assert ("@llvm.masked.load" in text) is masked


@pytest.mark.parametrize("size", [1, 2, 7, 8, 31, 32, 33, 100, 257])
def test_any_and_all_of_every_length(size: int) -> None:
    def f(x: np.ndarray, y: np.ndarray) -> Any:
        return np.any(x > 0.5), np.all(y < 0.5), np.any(x.astype(np.float32) > 0.5), np.all(y)

    g = jitgrad.jit(f)
    for k in range(size):
        x, y = np.zeros(size), np.full(size, 0.25)
        assert g(x, y) == (False, True, False, True)
        x[k], y[-1 - k] = 1.0, 0.75
        assert g(x, y) == (True, False, True, True)
        y[k] = 0.0
        assert bool(g(x, y)[3]) is False


def test_helpers_of_memory_are_not_in_bodies() -> None:
    def f(x: np.ndarray, n: int) -> Any:
        y = np.zeros(n)
        out = []
        for i in range(n):
            y[i] = x[i] * x[i]
            if y[i] > 0.5:
                out.append(y[i])
        return np.sum(y), np.array(out)

    x = np.linspace(0.0, 1.0, 12)
    g = jitgrad.jit(f)
    np.testing.assert_allclose(g(x, 12)[1], f(x, 12)[1])
    text = g.llvm(x, 12)
    defined = [line for line in text.split("\n") if line.startswith("define")]
    for name in ("jg_grow", "jg_reserve", "jg_release"):
        assert f"call ptr @{name}(" in text or f"call i1 @{name}(" in text or f"call void @{name}(" in text
        assert not any(name in line for line in defined)
