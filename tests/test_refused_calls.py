"""Calls that are refused, defects of ours, and what all errors have in common (`test_errors` has the programs)."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad import ArgumentError, DifferentiationError, InternalError, JitgradError, UnsupportedError
from jitgrad.backend.engine import compile_module
from jitgrad.errors import TABLE, error
from jitgrad.graph.ir import Graph
from jitgrad.graph.types import FLOAT64
from jitgrad.graph.verify import verify
from jitgrad.location import Location
from tests.test_errors import MASKED, random_number, sections

X = np.array([1.0, 2.0, 3.0])


# --- JG1xx: calls


def square(x):
    return (x * x).sum()


def pair(x):
    return x, x


def store(x, y):
    x[0] = y[1]
    return x


LOOP: list[Any] = []
LOOP.append(LOOP)

CALLS: list[tuple[str, type[JitgradError], Callable[[], Any], str]] = [
    ("JG101", ArgumentError, lambda: jitgrad.grad(square, argnums=1)(X), "1 positional argument"),
    ("JG101", ArgumentError, lambda: jitgrad.grad(square, argnums="z")(X), "its parameters are: x"),
    ("JG101", ArgumentError, lambda: jitgrad.grad(square, argnums=1.5)(X), "neither an int nor a name"),
    ("JG101", ArgumentError, lambda: jitgrad.grad(store, argnums=(0, 0))(X, X), "twice"),
    ("JG103", ArgumentError, lambda: jitgrad.jit(square)(LOOP), "list"),
    ("JG104", ArgumentError, lambda: jitgrad.jit(square)(np.array(["a"])), "<U1"),
    ("JG104", ArgumentError, lambda: jitgrad.jit(square)(MASKED), "MaskedArray"),
    ("JG104", ArgumentError, lambda: jitgrad.jit(square)(2**63), "64 bits"),
    ("JG105", ArgumentError, lambda: jitgrad.grad(square, has_aux=True)(X), "square"),
    ("JG105", ArgumentError, lambda: jitgrad.vjp(square, X, has_aux=True), "square"),
    ("JG106", ArgumentError, lambda: jitgrad.vjp(square, X)[1](X), "square"),
    ("JG106", ArgumentError, lambda: jitgrad.vjp(pair, X)[1](X), "pair"),
    ("JG106", ArgumentError, lambda: jitgrad.jvp(square, (X,), (X, X)), "square"),
    ("JG106", ArgumentError, lambda: jitgrad.jvp(square, (X,), (X[:2],)), "square"),
    ("JG107", ArgumentError, lambda: jitgrad.grad(X), "ndarray"),
    ("JG108", ArgumentError, lambda: jitgrad.jit(store)(*[X.copy()] * 2), "x"),
    ("JG111", DifferentiationError, lambda: jitgrad.grad(lambda n: n * 1.0)(3), "int"),
    ("JG111", DifferentiationError, lambda: jitgrad.grad(square)(np.arange(3)), "int64[3]"),
    ("JG112", DifferentiationError, lambda: jitgrad.grad(lambda t: 1.0)((1, 2)), "tuple"),
    ("JG114", DifferentiationError, lambda: jitgrad.grad(lambda x: x * x)(X), "float64[3]"),
    ("JG114", DifferentiationError, lambda: jitgrad.grad(pair)(X), "pair"),
    ("JG115", DifferentiationError, lambda: jitgrad.grad(lambda z: z.real)(1j), "complex"),
]


@pytest.mark.parametrize(("code", "kind", "call", "named"), CALLS, ids=[f"{c[0]}-{k}" for k, c in enumerate(CALLS)])
def test_refused_calls(code: str, kind: type[JitgradError], call: Callable[[], Any], named: str) -> None:
    """The class and the code are right, and the text names what is wrong."""
    with pytest.raises(kind) as caught:
        call()
    text = str(caught.value)
    assert caught.value.code == code, text
    what, where, _ = sections(text)
    assert named in what
    assert len(text.split("\n")) <= 8
    assert (caught.value.location is None) == (where == [])


# --- JG9xx: defects


def test_invalid_code_is_a_defect() -> None:
    with pytest.raises(InternalError, match=r"JG900: .*not valid"):
        compile_module("define void @jg_f() { nonsense }")


def test_an_invalid_graph_is_a_defect() -> None:
    graph, other = Graph("f", [FLOAT64]), Graph("g", [FLOAT64])
    graph.yields = list(other.args)
    with pytest.raises(InternalError, match="JG901: the graph `f`"):
        verify(graph)


def test_a_code_that_is_not_in_the_table_is_a_defect() -> None:
    unknown = "JG" + "000"
    assert f"no error is called {unknown}" in str(error(unknown, what="this"))


# --- what all errors have in common


def test_classes_are_builtin_ones_too() -> None:
    assert issubclass(UnsupportedError, NotImplementedError)
    assert issubclass(DifferentiationError, TypeError)
    assert issubclass(ArgumentError, TypeError)
    assert issubclass(InternalError, RuntimeError)


@pytest.mark.parametrize("code", TABLE)
def test_rows_say_what_and_what_to_do(code: str) -> None:
    row = TABLE[code]
    assert row.do
    assert not row.what.endswith(".") and not row.do.endswith(".")
    assert max(len(row.what), len(row.do)) <= 120


def helper(x):
    return np.spacing(x)


def outer(x):
    return helper(x) + 1.0


def test_inlined_calls_are_named() -> None:
    with pytest.raises(UnsupportedError) as caught:
        jitgrad.jit(lambda x: outer(x))(X)
    where = sections(str(caught.value))[1][0]
    first = helper.__code__.co_firstlineno
    assert f"{__file__}:{first + 1} in helper, inlined from {__file__}:{first + 5} in outer, inlined from " in where
    location = caught.value.location
    assert location is not None
    assert [place.function.rsplit(".", 1)[-1] for place in location.chain()] == ["helper", "outer", "<lambda>"]


def test_a_long_chain_is_cut() -> None:
    place = Location(__file__, 1, function="f0")
    for k in range(1, 10):
        place = Location(__file__, 1, function=f"f{k}", inlined_at=place)
    text = str(error("JG238", place))
    assert text.count("inlined from") == 3
    assert len(text.split("\n")) <= 8


def test_text_before_the_caret_may_be_wide() -> None:
    """Columns are counted in bytes by CPython and in characters by readers."""

    def f(ξ):
        return ξ * np.spacing(ξ)

    with pytest.raises(UnsupportedError) as caught:
        jitgrad.jit(f)(X)
    source, caret = sections(str(caught.value))[1][1:3]
    assert source[caret.index("^") : len(caret)] == "np.spacing(ξ)"


def test_functions_without_source_have_no_caret() -> None:
    scope: dict[str, Any] = {"np": np}
    builtins.exec("def f(x):\n    return np.spacing(x)\n", scope)
    with pytest.raises(UnsupportedError) as caught:
        jitgrad.jit(scope["f"])(X)
    assert sections(str(caught.value))[1] == ["  <string>:2 in f"]


@pytest.mark.parametrize("transform", [jitgrad.jit, jitgrad.grad, jitgrad.value_and_grad])
def test_every_transform_refuses_alike(transform: Callable[..., Any]) -> None:
    with pytest.raises(UnsupportedError, match="JG237"):
        transform(random_number)(1.0)


def spacing_or_double(x: Any) -> Any:
    return np.spacing(x) if isinstance(x, int) else x * 2.0


def test_a_refused_call_leaves_nothing_behind() -> None:
    """After an error the same callable serves calls that can be compiled."""
    f = jitgrad.jit(spacing_or_double)
    with pytest.raises(UnsupportedError):
        f(3)
    assert f(3.0) == 6.0
    with pytest.raises(UnsupportedError):
        f(3)
