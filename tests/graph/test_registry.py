"""The registry walk: every declared primitive against NumPy, executed and differentiated.

A new primitive is tested by being declared (elementwise ones) or by an example in `registry_examples.py`; without one
the walk fails. On the newest supported Python it is complete, on the others a seeded tenth of it runs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from jitgrad.errors import UnsupportedError
from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.adjoint import adjoint
from jitgrad.graph.diff.tangent import tangent
from jitgrad.graph.interpret import interpret
from jitgrad.graph.ir import Graph, Value
from jitgrad.graph.primitive import PRIMITIVES, Linear, NoGradient, Partials, Primitive, Rules
from jitgrad.graph.types import ArrayType, GraphTypeError
from tests.backend.native import Native, layout_of
from tests.graph.registry_elementwise import DTYPES, accepts, arity, examples, loops, meaning, smooth_points
from tests.graph.registry_examples import EXAMPLES, Example
from tests.sampling import sampled

STEP = 1e-6

# What diff knows by name, in place of a declared derivative.
STRUCTURED = {"if", "for", "while", "check"} | {name for name in PRIMITIVES if name.startswith("list_")}

ELEMENTWISE = [name for name, p in PRIMITIVES.items() if p.is_elementwise and name not in EXAMPLES]

# Results that agree with NumPy to the last bit, not within rounding.
EXACT = {
    "add", "subtract", "multiply", "divide", "negative", "square", "reciprocal", "sqrt", "absolute", "sign", "copysign",
    "floor", "ceil", "trunc", "rint", "select", "maximum", "minimum", "fmax", "fmin", "clip", "cast", "floor_divide",
    "remainder", "fmod", "real", "imag", "conjugate", "load", "store", "gather", "scatter", "broadcast", "reshape",
    "transpose", "concatenate", "reduce_max", "reduce_min", "sort", "where_used",
}  # fmt: skip

# Each element of the result is a sum over elements of operands, in which they may cancel.
MIXING = {"matmul", "lu_solve", "triangular_solve", "cholesky", "log_det_change", "lq", "eigh"}

Executor = Callable[[Graph, Sequence[Any]], Sequence[Any]]


# Ops that the backend refuses so far, and kinds of numbers that it has.
REFUSED = {"call_back"}
COMPILED_KINDS = "biuf"


def compiled(graph: Graph, args: Sequence[Any]) -> Sequence[Any]:
    """Run a graph as machine code."""
    native = Native(graph, [layout_of(np.asarray(a)) for a in args], optimise=False)
    return native(*args, shapes=[np.shape(x) for x in interpret(graph, args)])


def executors() -> dict[str, Executor]:
    """Return everything that runs a graph; each must agree with NumPy."""
    return {"interpreted": interpret, "compiled": compiled}


def walk(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return executors and primitives, as many as this Python runs."""
    return sampled([(e, n) for e in executors() for n in names if e != "compiled" or n not in REFUSED])


def runs(executor: str, e: Example) -> bool:
    """Return whether an executor has the dtypes of an example."""
    if executor == "interpreted":
        return True
    with np.errstate(all="ignore"):
        made = e.meaning(*e.operands)
        numbers = [*e.operands, *(made if isinstance(made, tuple) else (made,))]
    return all(np.asarray(x).dtype.kind in COMPILED_KINDS for x in numbers)


def rng_of(name: str) -> np.random.Generator:
    return np.random.default_rng(list(name.encode()))


def examples_of(name: str) -> list[Example]:
    return EXAMPLES[name] if name in EXAMPLES else examples(PRIMITIVES[name], rng_of(name))


def build(name: str, each: Sequence[Example]) -> tuple[Graph, list[Any], list[int]]:
    """Return one graph of all examples, its arguments, and how many results each example has."""
    operands = [np.asarray(x) for e in each for x in e.operands]
    graph = Graph(name, [ArrayType(x.dtype, x.shape) for x in operands])
    g, args, counts = Builder(graph), list(graph.args), []
    for e in each:
        taken, args = args[: len(e.operands)], args[len(e.operands) :]
        made = e.build(g, *taken)
        results = [made] if isinstance(made, Value) else list(made)
        graph.yields += results
        counts.append(len(results))
    return graph, operands, counts


def same(name: str, got: Any, wanted: Any) -> None:
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.dtype == wanted.dtype and got.shape == wanted.shape, (name, got.dtype, wanted.dtype, got.shape)
    if got.dtype.kind not in "fc" or name in EXACT:
        np.testing.assert_array_equal(got, wanted)
        return
    eps = float(np.finfo(got.dtype).eps)
    np.testing.assert_allclose(
        got, wanted, rtol=16 * eps, atol=16 * eps * scale_of(wanted, 0 if name in MIXING else 64)
    )


def scale_of(x: np.ndarray, few: int) -> float:
    """Return a typical size of the numbers of a reduction; elementwise results of few numbers have none."""
    finite = x[np.isfinite(x)] if x.ndim else x[...]
    return float(np.max(np.abs(finite), initial=0.0)) if x.ndim and finite.size > few else 0.0


# --- the registry itself


def test_every_primitive_is_walked() -> None:
    for name, p in PRIMITIVES.items():
        assert examples_of(name), f"{name} has no example"
        assert (name in EXAMPLES) != (name in ELEMENTWISE), name
        if p.derivative is None:
            assert name in STRUCTURED, f"{name} declares no derivative"


def test_a_numpy_callable_belongs_to_one_primitive() -> None:
    seen: dict[Any, str] = {}
    for name, p in PRIMITIVES.items():
        for function in p.numpy:
            assert function not in seen, f"{function} is {name} and {seen[function]}"
            seen[function] = name


def test_the_declared_callable_is_the_one_of_that_name() -> None:
    for name in ELEMENTWISE:
        if PRIMITIVES[name].numpy:
            assert PRIMITIVES[name].numpy[0] is meaning(PRIMITIVES[name]), name


@pytest.mark.parametrize("name", sampled(ELEMENTWISE))
def test_dtypes_are_those_of_numpy(name: str) -> None:
    """The type rule accepts exactly the loops of the ufunc, and gives their result."""
    p = PRIMITIVES[name]
    known = {dtypes: result for dtypes, result in loops(p) if accepts(p, dtypes)}
    for dtypes in itertools.product(DTYPES, repeat=arity(p)):
        graph = Graph(name, [ArrayType(d) for d in dtypes])
        if dtypes in known:
            assert p.type_rule({}, *graph.args) == [ArrayType(known[dtypes])]
        else:
            with pytest.raises(GraphTypeError):
                p.type_rule({}, *graph.args)


# --- values


@pytest.mark.parametrize(("executor", "name"), walk(list(PRIMITIVES)))
def test_values_are_those_of_numpy(executor: str, name: str) -> None:
    each = [e for e in examples_of(name) if runs(executor, e)]
    graph, operands, counts = build(name, each)
    before = [x.copy() for x in operands]
    results = list(executors()[executor](graph, operands))
    for x, old in zip(operands, before, strict=True):
        np.testing.assert_array_equal(x, old)
    with np.errstate(all="ignore"):
        for e, count in zip(each, counts, strict=True):
            wanted = e.meaning(*e.operands)
            taken, results = results[:count], results[count:]
            for got, want in zip(taken, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
                same(name, got, want)


# --- derivatives


def differentiable(e: Example) -> bool:
    """Return whether finite differences in float64 tell the derivative."""
    if not e.smooth or not any(x.dtype == np.float64 for x in e.operands):
        return False
    return np.asarray(e.meaning(*e.operands)).dtype == np.float64


def distinct(each: Sequence[Example]) -> list[Example]:
    """Return the examples in float64, one for each of their shapes."""
    found: dict[Any, Example] = {}
    for e in filter(differentiable, each):
        floats = [x.dtype for x in e.operands if x.dtype.kind in "fc"]
        if set(floats) == {np.dtype(np.float64)} and sum(x.size for x in e.operands) <= 16:
            key = (tuple(x.shape for x in e.operands), np.shape(e.meaning(*e.operands)))
            found[key] = e
    return list(found.values())


def smooth_examples(name: str) -> list[Example]:
    p = PRIMITIVES[name]
    if name in EXAMPLES:
        return distinct(EXAMPLES[name])
    if not isinstance(p.derivative, Partials):
        return []
    return [
        Example(xs, lambda g, *xs: g.emit(name, xs).result, meaning(p))
        for xs in smooth_points(p, rng_of(name), "float64")
    ]


DIFFERENTIABLE = [name for name in PRIMITIVES if smooth_examples(name)]


def positions(graph: Graph) -> list[int]:
    return [i for i, a in enumerate(graph.args) if a.type.is_float]


def is_analytic(p: Primitive) -> bool:
    """Return whether NumPy's function of complex operands has the same derivative."""
    if not p.is_elementwise or p.name in EXAMPLES or p.name == "select":
        return False
    return ((np.dtype(np.complex128),) * arity(p), np.dtype(np.complex128)) in loops(p) and accepts(
        p, [np.dtype(np.complex128)]
    )


def directional(p: Primitive, e: Example, ts: dict[int, np.ndarray]) -> np.ndarray:
    """Return the derivative in a direction, in NumPy alone."""
    if is_analytic(p):
        moved = [np.asarray(x) + 1e-30j * ts[i] if i in ts else x for i, x in enumerate(e.operands)]
        return np.asarray(e.meaning(*moved)).imag / 1e-30

    def at(h: float) -> np.ndarray:
        moved = [np.asarray(x + h * ts[i]) if i in ts else x for i, x in enumerate(e.operands)]
        return np.asarray(e.meaning(*moved))

    return (at(STEP) - at(-STEP)) / (2 * STEP)


def close(got: Any, wanted: Any, tolerance: float) -> None:
    scale = max(1.0, float(np.max(np.abs(wanted), initial=0.0)))
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance * scale)


def inner(xs: Sequence[Any], ys: Sequence[Any]) -> float:
    return float(sum(np.sum(np.asarray(x) * np.asarray(y)) for x, y in zip(xs, ys, strict=True)))


@pytest.mark.parametrize("name", sampled(sorted(REFUSED)))
def test_the_backend_refuses_by_name(name: str) -> None:
    graph, operands, _ = build(name, examples_of(name)[-1:])
    with pytest.raises(UnsupportedError, match=name):
        compiled(graph, operands)


@pytest.mark.parametrize(("executor", "name"), walk(DIFFERENTIABLE))
def test_both_modes_against_numpy_and_each_other(executor: str, name: str) -> None:
    """The tangent is NumPy's finite difference (or complex step), and <J^T w, t> = <w, J t>."""
    p, rng, run = PRIMITIVES[name], rng_of(name + "'"), executors()[executor]
    for e in smooth_examples(name)[: 3 if executor == "compiled" else None]:
        graph, operands, _ = build(name, [e])
        wrt = positions(graph)
        ts = {i: rng.normal(size=operands[i].shape) for i in wrt}
        primal, moved = run(tangent(graph, wrt), [*operands, *ts.values()])
        same(name, primal, e.meaning(*operands))
        close(moved, directional(p, e, ts), 1e-13 if is_analytic(p) else 1e-7)
        w = rng.normal(size=np.shape(primal))
        cts = run(adjoint(graph, wrt), [*operands, w])[1:]
        assert [c.dtype for c in cts] == [operands[i].dtype for i in wrt]
        assert [c.shape for c in cts] == [operands[i].shape for i in wrt]
        close(inner(cts, list(ts.values())), inner([w], [moved]), 1e-12)


@pytest.mark.parametrize(("executor", "name"), walk(DIFFERENTIABLE))
def test_second_order(executor: str, name: str) -> None:
    """Forward over reverse is the finite difference of reverse, and reverse over reverse its transpose."""
    rng, run = rng_of(name + "''"), executors()[executor]
    for e in smooth_examples(name)[: 1 if executor == "compiled" else 3]:
        graph, operands, _ = build(name, [e])
        wrt = positions(graph)
        gradient = adjoint(graph, wrt)
        args = [*operands, rng.normal(size=np.shape(e.meaning(*e.operands)))]
        inputs = positions(gradient)
        ts = {i: rng.normal(size=np.shape(args[i])) for i in inputs}

        def at(h: float, gradient: Graph = gradient, args: list[Any] = args, ts: dict[int, Any] = ts) -> list[Any]:
            return interpret(gradient, [x + h * ts[i] if i in ts else x for i, x in enumerate(args)])[1:]

        outputs = len(gradient.yields)
        moved = run(tangent(gradient, inputs), [*args, *ts.values()])[outputs:][-len(wrt) :]
        for got, high, low in zip(moved, at(STEP), at(-STEP), strict=True):
            close(got, (high - low) / (2 * STEP), 2e-6)
        ws = [rng.normal(size=y.shape) for y in moved]
        seeded = list(range(outputs - len(wrt), outputs))
        cts = run(adjoint(gradient, inputs, seeded=seeded), [*args, *ws])[outputs:]
        close(inner(cts, list(ts.values())), inner(ws, moved), 1e-11)


@pytest.mark.parametrize("name", sampled(DIFFERENTIABLE))
def test_both_modes_are_linear_at_zero_too(name: str) -> None:
    """Where a cotangent or tangent is 0 it may be moving: its own derivative is that of the mode, linear in it."""
    rng = rng_of(name + "0")
    for e in smooth_examples(name)[:3]:
        graph, operands, _ = build(name, [e])
        wrt = positions(graph)
        pull = adjoint(graph, wrt)
        w = rng.normal(size=np.shape(e.meaning(*e.operands)))
        pulled = interpret(pull, [*operands, w])[1:]
        moved = interpret(tangent(pull, [len(operands)]), [*operands, 0.0 * w, w])[-len(wrt) :]
        push = tangent(graph, wrt)
        ts = [rng.normal(size=operands[i].shape) for i in wrt]
        start, zeros = list(range(len(operands), len(operands) + len(wrt))), [0.0 * t for t in ts]
        pushed = interpret(push, [*operands, *ts])[1:]
        again = interpret(tangent(push, start), [*operands, *zeros, *ts])[-1:]
        back = interpret(adjoint(push, start, seeded=[1]), [*operands, *zeros, w])[-len(wrt) :]
        for got, wanted in zip([*moved, *again, *back], [*pulled, *pushed, *pulled], strict=True):
            close(got, wanted, 1e-12)


@pytest.mark.parametrize("name", sampled([n for n in ELEMENTWISE if isinstance(PRIMITIVES[n].derivative, Partials)]))
def test_single_precision_derivatives(name: str) -> None:
    """In float32 the gradient has that dtype and is the one of float64, rounded."""
    p = PRIMITIVES[name]
    for xs in smooth_points(p, rng_of(name), "float32")[:2]:
        found = []
        for dtype in (np.float32, np.float64):
            operands = [x.astype(dtype) if x.dtype.kind == "f" else x for x in xs]
            e = Example(operands, lambda g, *xs: g.emit(name, xs).result, meaning(p))
            graph, _, _ = build(name, [e])
            ct = np.ones(np.shape(meaning(p)(*operands)), dtype)
            found.append(interpret(adjoint(graph, positions(graph)), [*operands, ct])[1:])
        for single, double in zip(*found, strict=True):
            assert single.dtype == np.float32
            close(single, double, 2e-5)


@pytest.mark.parametrize("name", sampled([n for n in DIFFERENTIABLE if is_analytic(PRIMITIVES[n])]))
def test_complex_derivatives(name: str) -> None:
    """The derivative of a holomorphic op is a complex number, and cotangents are multiplied by it as it is."""
    p, rng = PRIMITIVES[name], rng_of(name + "i")
    xs = [x + 0.3j * rng.normal(size=x.shape) for x in smooth_points(p, rng, "float64")[1]]
    graph, _, _ = build(name, [Example(xs, lambda g, *xs: g.emit(name, xs).result, meaning(p))])
    ts = [rng.normal(size=x.shape) + 1j * rng.normal(size=x.shape) for x in xs]
    primal, moved = interpret(tangent(graph, range(len(xs))), [*xs, *ts])
    high, low = (meaning(p)(*(x + h * t for x, t in zip(xs, ts, strict=True))) for h in (STEP, -STEP))
    close(moved, (high - low) / (2 * STEP), 1e-7)
    w = rng.normal(size=primal.shape) + 1j * rng.normal(size=primal.shape)
    cts = interpret(adjoint(graph, range(len(xs))), [*xs, w])[1:]
    close(sum(np.sum(c * t) for c, t in zip(cts, ts, strict=True)), np.sum(w * moved), 1e-12)


@pytest.mark.parametrize("name", ["conjugate", "real", "imag"])
def test_parts_of_complex_numbers(name: str) -> None:
    """The pairing is the real part of the sum of ct * t."""
    rng = rng_of(name)
    x, t, w = (rng.normal(size=3) + 1j * rng.normal(size=3) for _ in range(3))
    graph, _, _ = build(name, [Example([x], lambda g, x: g.emit(name, [x]).result, meaning(PRIMITIVES[name]))])
    w = np.asarray(meaning(PRIMITIVES[name])(w))
    moved = interpret(tangent(graph, [0]), [x, t])[1]
    np.testing.assert_array_equal(moved, meaning(PRIMITIVES[name])(t))
    ct = interpret(adjoint(graph, [0]), [x, w])[1]
    close(np.sum(ct * t).real, np.sum(w * moved).real, 1e-13)


def test_a_float_result_without_derivative_says_why() -> None:
    for p in PRIMITIVES.values():
        assert p.derivative is None or isinstance(p.derivative, Partials | Linear | Rules | NoGradient)
        if isinstance(p.derivative, NoGradient):
            assert p.derivative.why
