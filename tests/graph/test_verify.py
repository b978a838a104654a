"""Each invariant of the verifier, broken once on purpose."""

from __future__ import annotations

import numpy as np
import pytest

from jitgrad.errors import InternalError
from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.parser import parse
from jitgrad.graph.primitive import PRIMITIVES, NoGradient, Primitive
from jitgrad.graph.types import BOOL, FLOAT64, INT64, ArrayType
from jitgrad.graph.verify import verify
from jitgrad.location import Location
from tests.graph.helpers import deep_graph
from tests.graph.random_graphs import random_graph


def refused(graph: Graph) -> str:
    with pytest.raises(InternalError) as caught:
        verify(graph)
    assert caught.value.code == "JG901"
    return str(caught.value)


@pytest.mark.parametrize("seed", range(20))
def test_random_graphs_are_well_formed(seed: int) -> None:
    verify(random_graph(seed, size=30, depth=3))


def test_deep_nests_need_no_recursion() -> None:
    verify(deep_graph(500))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        # 3: dominance
        ("%0 = sin %1 : float64[]\n %1 = cos %x : float64[]\n return %0", "uses %1, which is not defined before"),
        ("%0 = sin %0 : float64[]\n return %0", "uses %0, which is not defined before"),
        ("return %0\n", "%0 is not defined"),
        (
            "%0 = if %p : float64[]\n ^() {\n %1 = sin %x : float64[]\n yield %1\n }\n ^() {\n yield %x\n }\n"
            " %2 = cos %1 : float64[]\n return %0",
            "uses %1, which is not visible here: it was defined in a region that has ended",
        ),
        (
            "%0 = if %p : float64[]\n ^() {\n %1 = sin %x : float64[]\n yield %1\n }\n ^() {\n yield %1\n }\n"
            " return %0",
            "yields %1, which is not visible here",
        ),
        (
            "%0 = for %n, %x : float64[]\n ^(%k: int64[], %c: float64[]) {\n yield %c\n }\n return %c",
            "yields %c, which is not visible here",
        ),
        (
            "%0 = for %n, %x : float64[]\n ^(%k: int64[], %c: float64[]) {\n yield %0\n }\n return %0",
            "yields %0, which is not defined before",
        ),
        (
            "%0 = while %x : float64[]\n ^(%c: float64[]) {\n %b = less %c, %x : bool[]\n yield %b\n }\n"
            " ^(%d: float64[]) {\n %1 = select %b, %d, %x : float64[]\n yield %1\n }\n return %0",
            "uses %b, which is not visible here",
        ),
        # 4: run-time dimensions
        ("%0 = broadcast %x, %m {shape=(None,)} : float64[%m]\n %m = add %n, %n : int64[]\n return", "is not defined"),
        (
            "%0 = list_empty {type=list[float64[%m]]} : list[float64[%m]]\n %m = add %n, %n : int64[]\n return",
            "has a type sized by %m, which is not defined before",
        ),
        (
            "%0 = undef %x {shape=(None,), dtype=float64} : float64[%x]\n return",
            "has a type sized by %x, a float64[] and no int64 scalar",
        ),
        ("%0 = undef {shape=(-1,), dtype=float64} : float64[-1]\n return", "has a type with the dimension -1"),
        ("%0 = list_empty {type=list[float32[]]} : list[float64[]]\n return", "which is the type of no result"),
        # 5: type rules
        ("%0 = sin %x : float64[3]\n return %0", "has results (float64[3]), the type rule gives (float64[])"),
        ("%0 = sin %x : float32[]\n return %0", "has results (float32[]), the type rule gives (float64[])"),
        ("%0 = add %x, %n : float64[]\n return %0", "the type rule refuses: add takes"),
        ("%0 = transpose %x : float64[]\n return %0", "the type rule fails: KeyError: 'permutation'"),
        ("%0 = add %x : float64[]\n return %0", "the type rule "),
        ("check %x {exception=IndexError, message=''}\n return", "check takes a bool scalar"),
        (
            "%0 = if %p : float64[]\n ^() {\n yield %x\n }\n ^() {\n yield %n\n }\n return %0",
            "the type rule refuses: if:",
        ),
        (
            "%0 = if %x : float64[]\n ^() {\n yield %x\n }\n ^() {\n yield %x\n }\n return %0",
            "if takes a bool scalar, not float64[]",
        ),
        (
            "%0 = for %n, %x : float64[]\n ^(%k: int64[], %c: int64[]) {\n yield %x\n }\n return %0",
            "the type rule refuses: for: arguments",
        ),
        (
            "%0 = for %n, %x : float64[]\n ^(%k: int64[], %c: float64[]) {\n yield %k\n }\n return %0",
            "the type rule refuses: for: yields",
        ),
        (
            "%0 = while %x : float64[]\n ^(%c: float64[]) {\n yield %c\n }\n ^(%d: float64[]) {\n yield %d\n }\n"
            " return %0",
            "the condition of a while yields one bool scalar",
        ),
        # 6: regions
        ("%0 = if %p : float64[]\n ^() {\n yield %x\n }\n return %0", "has 1 regions instead of 2"),
        ("%0 = sin %x : float64[]\n ^() {\n yield\n }\n return %0", "has 1 regions instead of 0"),
        (
            "%0 = if %p : float64[]\n ^(%a: float64[]) {\n yield %a\n }\n ^() {\n yield %x\n }\n return %0",
            "the regions of an if have no arguments",
        ),
    ],
)  # fmt: skip
def test_texts_that_are_not_well_formed(body: str, message: str) -> None:
    text = "graph f(%x: float64[], %n: int64[], %p: bool[]) {\n " + body + "\n}"
    if "is not defined" in message and "which" not in message:
        with pytest.raises((ValueError, InternalError), match=message):
            verify(parse(text))
        return
    assert message in refused(parse(text))


def one_op() -> tuple[Graph, Op]:
    graph = Graph("f", [FLOAT64], ["x"])
    graph.yields = [Builder(graph).sin(graph.args[0])]
    return graph, graph.ops[0]


def test_unregistered_primitive() -> None:
    graph, op = one_op()
    op.primitive = Primitive("sin", PRIMITIVES["sin"].type_rule, None, NoGradient("a double"))
    assert "`sin` is not the registered primitive of that name" in refused(graph)


def test_an_op_twice() -> None:
    graph, op = one_op()
    graph.ops.append(op)
    assert "the op stands in the graph twice" in refused(graph)


def test_a_region_twice() -> None:
    graph = Graph("f", [BOOL], ["p"])
    arm = Block()
    Builder(graph).emit("if", [graph.args[0]], regions=[arm, arm])
    assert "a region belongs to two ops" in refused(graph)


def test_a_value_twice() -> None:
    graph, op = one_op()
    op.results.append(op.results[0])
    assert "is defined twice" in refused(graph)


def test_owner_and_index() -> None:
    graph, op = one_op()
    op.results[0].index = 1
    assert "is number 0 here, but says that it is number 1" in refused(graph)
    graph, op = one_op()
    op.results[0].owner = graph
    assert "is number 0 here, but says" in refused(graph)
    graph = Graph("f", [FLOAT64, FLOAT64])
    graph.args.reverse()
    assert "is number 0 here, but says that it is number 1" in refused(graph)


def test_operands_are_values() -> None:
    graph, op = one_op()
    op.operands[0] = 3  # type: ignore[call-overload]
    assert "uses 3, which is no value" in refused(graph)


def test_attributes() -> None:
    graph, op = one_op()
    op.attrs["odd"] = ({"a": 1},)
    assert "has the attribute odd = {'a': 1}, which is of no kind that an attribute may be" in refused(graph)
    graph, op = one_op()
    op.attrs[3] = 1  # type: ignore[index]
    assert "has an attribute named 3" in refused(graph)


def test_locations() -> None:
    graph, op = one_op()
    op.location = "line 3"  # type: ignore[assignment]
    assert "has the location 'line 3'" in refused(graph)


def test_arguments_sized_by_what_is_no_argument() -> None:
    graph = Graph("f", [ArrayType(np.dtype(float), (Value(INT64, Block(), 0, "n"),))])
    assert "has a type sized by %?n, which is not defined before" in refused(graph)


def test_the_error_shows_graph_and_source() -> None:
    graph = Graph("loss", [FLOAT64], ["x"])
    g = Builder(graph, Location(__file__, 12, 12, 0, 4, "loss"))
    y = g.sin(graph.args[0])
    graph.yields = [g.cos(y)]
    y.type = INT64
    text = refused(graph)
    assert "JG901: the graph `loss` is not well formed, at op `sin`: error: has results (int64[])" in text
    lines = text.splitlines()
    at = next(i for i, line in enumerate(lines) if line == "  %0 = sin %x : int64[]")
    assert lines[at + 1] == "  # ^ error: has results (int64[]), the type rule gives (float64[])"
    assert lines[at + 2] == "  %1 = cos %0 : float64[]"
    assert lines[at + 3].startswith("  # ^ error: the type rule ")
    assert f"{__file__}:12 in loss" in text


def test_long_graphs_are_shown_in_part() -> None:
    graph = Graph("f", [FLOAT64], ["x"])
    g = Builder(graph)
    x = graph.args[0]
    for _ in range(500):
        x = g.sin(x)
    graph.yields = [x]
    graph.ops[300].results[0].index = 7
    text = refused(graph)
    assert "... 272 lines" in text
    assert "%300 = sin %299" in text
    assert len(text.splitlines()) < 80
