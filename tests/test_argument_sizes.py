"""One compile serves all sizes of an argument: programs of the bank and small ones, called with many sizes.

A callable that has seen three sizes is compared with plain Python, with differences, and with a callable that has seen
a single size, whose code knows it.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.api import Transformed
from jitgrad.families import Family, family_of
from jitgrad.graph.parser import parse
from jitgrad.graph.printer import print_graph
from jitgrad.options import OPTIONS
from jitgrad.pytree import Size, leaves_of, spec_of
from jitgrad.transform import Transform
from tests.programs import bank_numerics as numerics
from tests.programs import bank_science as science
from tests.programs import bank_short as short
from tests.programs import bank_sizes as sizes
from tests.programs import bank_textbook as textbook
from tests.programs.harness import floats, same, with_floats
from tests.sizes import SIZES, numbers, outcome, vector

Make = Callable[[np.random.Generator, int], tuple[Any, ...]]


def dominant(r: np.random.Generator, n: int) -> np.ndarray:
    """A symmetric matrix whose diagonal dominates."""
    a = r.uniform(0.1, 0.9, (n, n))
    return (a + a.T) / 2 + n * np.eye(n)


BANK: list[tuple[Callable[..., Any], Make]] = [
    (numerics.neville, lambda r, n: (np.sort(vector(r, n)) + np.arange(n), vector(r, n), 0.7)),
    (numerics.newton_forward, lambda r, n: (vector(r, n), 0.4)),
    (numerics.verlet_bodies, lambda r, n: (r.random((n, 2)), r.random((n, 2)), vector(r, n), 0.01, 3)),
    (numerics.heat_two_buffers, lambda r, n: (vector(r, n), 0.2, 4)),
    (numerics.wave_leapfrog, lambda r, n: (vector(r, n), 0.5, 4)),
    (sizes.cholesky_by_slices, lambda r, n: (dominant(r, n),)),
    (sizes.triangular_solves, lambda r, n: (dominant(r, n), vector(r, n))),
    (sizes.moving_average, lambda r, n: (vector(r, n), 2)),
    (sizes.autocorrelation, lambda r, n: (vector(r, n), 2)),
    (sizes.weighted_suffixes, lambda r, n: (vector(r, n),)),
    (sizes.selected_by_sign, lambda r, n: (vector(r, n) - 1.0,)),
    (science.kalman_filter, lambda r, n: (vector(r, n), 0.1, 0.2)),
    (science.power_iteration, lambda r, n: (dominant(r, n), 4)),
    (science.conjugate_gradients, lambda r, n: (dominant(r, n), vector(r, n))),
    (science.soft_dtw, lambda r, n: (vector(r, n), vector(r, n + 2), 0.3)),
    (science.lagrange_interpolation, lambda r, n: (vector(r, n), 0.3)),
    (science.n_body, lambda r, n: (r.random((n, 3)), 2)),
    (short.log_sum_exp, lambda r, n: (vector(r, n),)),
    (short.shifted, lambda r, n: (vector(r, n),)),
    (short.in_place, lambda r, n: (vector(r, n),)),
    (textbook.thomas, lambda r, n: (vector(r, n), 4 + vector(r, n), vector(r, n), vector(r, n))),
    (textbook.determinant, lambda r, n: (dominant(r, n),)),
    (textbook.gauss_seidel_solve, lambda r, n: (dominant(r, n), vector(r, n), 3)),
    (textbook.horner_with_slope, lambda r, n: (vector(r, n), 0.6)),
    (textbook.clenshaw, lambda r, n: (vector(r, n), 0.6)),
]


def given(make: Make, n: int) -> tuple[Any, ...]:
    return make(np.random.default_rng(n), n)


def waves(v: Any) -> Any:
    """Return numbers of the shape of v, all different."""
    return np.cos(np.arange(1.0, 1.0 + np.size(v))).reshape(np.shape(v))[()]


def contracted(x: Any, y: Any) -> float:
    return sum(float(np.sum(a * b)) for a, b in zip(floats(x), floats(y), strict=True))


def check_slope(function: Any, args: Any, ct: Any, cts: Any) -> None:
    """Compare cotangents with central differences of plain Python along one direction."""
    h = 1e-6
    ends = []
    for sign in (1.0, -1.0):
        moved = with_floats(args, lambda v: v + sign * h * waves(v))  # noqa: B023
        ends.append(contracted(function(*moved), ct))
    want = (ends[0] - ends[1]) / (2 * h)
    assert contracted(cts, with_floats(args, waves)) == pytest.approx(want, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("function, make", BANK, ids=[f.__name__ for f, _ in BANK])
def test_programs_of_the_bank(function: Any, make: Make) -> None:
    compiled = jitgrad.jit(function)
    pull = Transformed(Transform("pull", function))
    for count, n in enumerate(SIZES, 1):
        ours, theirs = given(make, n), given(make, n)
        want = outcome(function, theirs)
        same(outcome(compiled, ours), want, 1e-11)
        same(ours, theirs, 1e-11, "the arguments")
        ct = with_floats(want, waves)
        cts = pull(given(make, n), ct)
        if n == 5:
            same(cts, Transformed(Transform("pull", function))(given(make, n), ct), 1e-9)
        check_slope(function, given(make, n), ct, cts)
        for f in (compiled, pull):
            assert f.stats()["compiled"] == min(count, 3), f.stats()["signatures"][-1]
    assert "[n" in compiled.stats()["signatures"][2]["signature"]
    assert "[n" in pull.stats()["signatures"][2]["signature"]


def test_enough_programs() -> None:
    assert len(BANK) >= 15
    assert all(list(floats(given(make, 4))) for _, make in BANK)


# --- every transform


def wave(x: np.ndarray, w: np.ndarray) -> float:
    y = np.tanh(w * x[:, None]) @ w
    return float((y[1:] * x[:-1]).sum() + x.mean() * len(x))


def kinds() -> dict[str, Callable[[Any], Any]]:
    return {
        "jit": lambda f: jitgrad.jit(f),
        "grad": lambda f: jitgrad.grad(f, argnums=(0, 1)),
        "value_and_grad": lambda f: jitgrad.value_and_grad(f),
        "hessian": lambda f: jitgrad.jit(lambda x, w: jitgrad.grad(lambda v: (jitgrad.grad(f)(v, w) ** 2).sum())(x)),
        "jvp": lambda f: jitgrad.jit(lambda x, w: jitgrad.jvp(f, (x, w), (x * x, w))),
        "vjp": lambda f: jitgrad.jit(lambda x, w: jitgrad.vjp(f, x, w)[1](2.0)),
    }


@pytest.mark.parametrize("interpreted", [False, True])
@pytest.mark.parametrize("kind", kinds())
def test_transforms(kind: str, interpreted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(OPTIONS, "verify", "each")
    compiled = kinds()[kind](wave)
    for n in SIZES:
        monkeypatch.setattr(OPTIONS, "interpret", False)
        fresh = kinds()[kind](wave)
        want = fresh(*numbers(n))
        monkeypatch.setattr(OPTIONS, "interpret", interpreted)
        same(compiled(*numbers(n)), want, 1e-12)
    assert compiled.stats()["compiled"] == 3
    assert compiled.stats()["signatures"][2]["signature"] == "float64[n], float64[3]"
    assert "keeps changing" in compiled.stats()["signatures"][2]["reason"]


def test_public_vjp_and_jvp() -> None:
    def f(x: np.ndarray) -> np.ndarray:
        return np.sin(x) * x[0]

    for n in SIZES:
        x, t = numbers(n, n)
        value, pull = jitgrad.vjp(f, x)
        moved = jitgrad.jvp(f, (x,), (t,))
        same(value, f(x), 1e-14)
        same(moved[0], f(x), 1e-14)
        want = np.cos(x) * x[0] * t
        want[0] += (np.sin(x) * t).sum()
        same(pull(t)[0], want, 1e-13)
        same(moved[1], np.cos(x) * x[0] * t + np.sin(x) * t[0], 1e-13)


def test_gradient_of_an_unused_argument() -> None:
    g = jitgrad.grad(lambda x, y: (y * y).sum(), argnums=(0, 1))
    for n in SIZES:
        x, y = numbers(n, n)
        same(g(x, y), (np.zeros(n), 2 * y), 1e-14)
    assert g.stats()["compiled"] == 3


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dtypes_and_kinds(dtype: type) -> None:
    def f(x: np.ndarray, k: np.ndarray) -> Any:
        return x * 2, x.sum(), k.sum(), len(x), x.shape, k[x > 1], float(x[0]), x.size * 0.5, x.max() > 1

    compiled = jitgrad.jit(f)
    for n in SIZES:
        x, k = vector(np.random.default_rng(n), n).astype(dtype), np.arange(n, dtype=np.int32)
        same(compiled(x, k), f(x, k), 1e-6)
    assert compiled.stats()["compiled"] == 3


# --- memory


def test_stores_into_arguments() -> None:
    def f(x: np.ndarray, y: np.ndarray) -> Any:
        x += y
        x[1:] *= x[:-1].copy()
        y[-1] = x[0]
        return x

    compiled = jitgrad.jit(f)
    for n in SIZES:
        ours, theirs = numbers(n, n), numbers(n, n)
        assert compiled(*ours) is ours[0]
        f(*theirs)
        same(ours, theirs, 1e-14)
    assert compiled.stats()["compiled"] == 3
    x = numbers(17)[0]
    with pytest.raises(jitgrad.JitgradError, match="JG108"):
        compiled(x[:9], x[4:13])


def test_stores_into_a_copy_do_not_show() -> None:
    def f(x: np.ndarray) -> float:
        x[0] = 2.0
        x *= x
        return x.sum()

    g = jitgrad.value_and_grad(f)
    for n in SIZES:
        x, before = numbers(n)[0], numbers(n)[0]
        value, gradient = g(x)
        same(x, before, 0.0)
        want = 2 * before
        want[0] = 0.0
        same((value, gradient), (f(before), want), 1e-14)


def test_results_that_are_arguments_or_views() -> None:
    def f(x: np.ndarray) -> Any:
        y = x * 2
        return x, x[1:], x[::-1], x.reshape(-1, 1), x.T, y, y[1:], y

    compiled = jitgrad.jit(f)
    for n in SIZES:
        x = numbers(n)[0]
        got = compiled(x)
        same(got, f(x), 1e-14)
        assert got[0] is x and all(np.shares_memory(v, x) for v in got[1:5])
        assert got[5] is got[7] and np.shares_memory(got[5], got[6]) and not np.shares_memory(got[5], x)
    assert compiled.stats()["compiled"] == 3


def test_results_are_new_arrays() -> None:
    g = jitgrad.grad(lambda x: (x * x).sum())
    made = [g(numbers(n)[0]) for n in (*SIZES, 9, 9)]
    assert all(not np.shares_memory(a, b) for k, a in enumerate(made) for b in made[:k])
    assert all(a.flags.owndata and a.flags.writeable and a.flags.c_contiguous for a in made)


def test_arrays_in_other_layouts() -> None:
    def f(x: np.ndarray) -> Any:
        return (x * np.arange(x.shape[1])).sum(axis=0)

    g = jitgrad.jit(f)
    for n in SIZES:
        x = np.asfortranarray(np.random.default_rng(n).random((n, n + 1)))
        same(g(x), f(x), 1e-14)
        y = np.random.default_rng(n).random((2 * n, n))[::2]
        same(g(y), f(y), 1e-14)
    assert g.stats()["compiled"] == 6
    for n in SIZES:
        x = np.random.default_rng(n).random((n, n + 1))
        same(g(x), f(x), 1e-14)
        unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape)
        same(g(unaligned), f(x), 1e-14)
        same(g(x.astype(">f8")), f(x), 1e-14)
    assert g.stats()["signatures"][-1]["signature"] == "float64[n, m]"


# --- trees of arguments


@dataclass
class Layer:
    w: np.ndarray
    b: np.ndarray
    scale: float


def test_trees() -> None:
    def f(layers: list[Layer], data: dict[str, np.ndarray], pair: tuple[np.ndarray, float] = (np.ones(1), 1.0)) -> Any:
        h = data["x"]
        for layer in layers:
            h = np.tanh(h @ layer.w + layer.b) * layer.scale
        return (h * data["y"]).sum() * pair[1]

    g = jitgrad.value_and_grad(f)
    for n in SIZES:
        r = np.random.default_rng(n)
        layers = [
            Layer(r.random((2, n)), r.random(n), 0.5),
            Layer(r.random((n, n + 1)), r.random(n + 1), 1.5),
        ]
        data = {"x": r.random((2 * n, 2)), "y": r.random((2 * n, n + 1))}
        same(g(layers, data), jitgrad.value_and_grad(f)(layers, data), 1e-13)
        same(g(layers, data)[0], f(layers, data), 1e-13)
    stats = g.stats()
    assert stats["compiled"] == 3
    assert "float64[2, n], float64[n], float64, float64[n, m], float64[m], float64, float64[p, 2], float64[p, m]" in (
        stats["signatures"][2]["signature"].replace("float64[]", "float64").replace("float,", "float64,")
    )


def test_keywords_and_hidden_arrays() -> None:
    weights = np.array([0.5, 1.5, 2.5])

    def f(x: np.ndarray, *, scale: np.ndarray) -> Any:
        return (x @ weights) * scale

    compiled = jitgrad.jit(f)
    for n in SIZES:
        x, scale = np.random.default_rng(n).random((n, 3)), numbers(n)[0]
        same(compiled(x, scale=scale), f(x, scale=scale), 1e-14)
    assert compiled.stats()["compiled"] == 3


def test_ints_that_are_compiled_in() -> None:
    def f(x: np.ndarray, k: int) -> Any:
        return x * x, *([x.sum()] * k)

    compiled = jitgrad.jit(f)
    for n in SIZES:
        for k in (1, 2):
            same(compiled(numbers(n)[0], k), f(numbers(n)[0], k), 1e-14)
    assert compiled.stats()["compiled"] <= 6


def test_threads() -> None:
    g = jitgrad.value_and_grad(lambda x: (x * np.sin(x)).sum())
    wrong: list[Any] = []

    def work(first: int) -> None:
        for k in range(60):
            x = numbers(3 + (first * 7 + k) % 40)[0]
            value, gradient = g(x)
            if not (np.isclose(value, (x * np.sin(x)).sum()) and np.allclose(gradient, np.sin(x) + x * np.cos(x))):
                wrong.append((len(x), value, gradient))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong
    assert g.stats()["compiled"] <= 9


# --- the parts


def test_families() -> None:
    def ask(family: Family, *shapes: tuple[int, ...]) -> list[Any]:
        spec = spec_of(tuple(np.zeros(s) for s in shapes))
        wanted = family.see(spec, family_of(spec)[1])
        family.compiled(spec, wanted, set())
        return [leaf.shape for leaf in leaves_of(wanted)]

    family = Family()
    assert ask(family, (3, 2), (3,)) == [(3, 2), (3,)]
    assert ask(family, (4, 2), (4,)) == [(4, 2), (4,)]
    assert ask(family, (5, 2), (5,)) == [(Size(0, 3), 2), (Size(0, 3),)]
    assert family.fitting((9, 2, 9)) and not family.fitting((9, 2, 8)) and not family.fitting((9, 3, 9))
    assert not family.fitting((2, 2, 2))
    assert ask(family, (6, 2), (7,)) == [(Size(0, 3), 2), (Size(1, 3),)]
    assert ask(family, (1, 2), (1,)) == [(1, 2), (1,)]
    assert family.fitting((9, 2, 9)) and len(family.fitting((9, 2, 8))) == 1


def test_graph_text_of_general_code() -> None:
    g = jitgrad.grad(wave)
    for n in SIZES:
        g(*numbers(n))
    text = g.adjoint(*numbers(8))
    assert text.startswith("graph wave(%x: float64[%n], %w: float64[3], %n: int64[])")
    assert print_graph(parse(text)) == text
    assert "define" in g.llvm(*numbers(8)) and g.stats()["compiled"] == 3


def test_copies_of_arguments_are_left_alone() -> None:
    compiled = jitgrad.jit(lambda xs: [x * 2 for x in xs])
    for n in SIZES:
        xs = [*numbers(n, n + 1)]
        before = copy.deepcopy(xs)
        same(compiled(xs), [x * 2 for x in before], 1e-14)
        same(xs, before, 0.0)
    assert compiled.stats()["compiled"] == 3
