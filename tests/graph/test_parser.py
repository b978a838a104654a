"""Print, parse, compare: the round trip, for every kind of attribute and every random graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from jitgrad.graph.builder import Builder
from jitgrad.graph.equality import structurally_equal
from jitgrad.graph.ir import Graph
from jitgrad.graph.ops.index import Pick, Span
from jitgrad.graph.parser import ParseError, parse
from jitgrad.graph.printer import print_graph
from jitgrad.graph.types import BOOL, FLOAT64, INT64, ArrayType, ListType
from jitgrad.graph.verify import verify
from tests.graph.helpers import deep_graph
from tests.graph.random_graphs import random_graph


def assert_round_trip(graph: Graph, objects: dict[str, Any] | None = None) -> Graph:
    text = print_graph(graph)
    back = parse(text, objects)
    assert structurally_equal(graph, back), text
    assert print_graph(back) == text
    return back


@pytest.mark.parametrize("seed", range(60))
def test_random_graphs(seed: int) -> None:
    graph = random_graph(seed, size=5 + seed % 20, depth=1 + seed % 3, tame=seed % 4 == 0)
    verify(assert_round_trip(graph))


_NAN_BITS = np.array([0x7FF8000000000001, 0xFFF8000000000000, 0x7FF4000000000000], np.uint64).view(np.float64)


@pytest.mark.parametrize(
    "value",
    [
        *(np.array(x) for x in (True, False, 3, -3, 0.1, 1e300, 5e-324, -0.0, np.inf, -np.inf, np.nan)),
        *(np.array(x, np.float32) for x in (0.1, 1e-45, 3.4028235e38, -0.0, np.nan, 16777216.0)),
        *(np.array(x, np.float16) for x in (0.1, 65504.0, np.inf)),
        *(np.array(x, t) for t in ("int8", "uint8", "int16", "uint16", "int32", "uint32") for x in (0, 100)),
        np.array(2**63 - 1),
        np.array(-(2**63)),
        np.array(2**64 - 1, np.uint64),
        np.array(complex(-0.0, np.nan)),
        np.array(complex(np.inf, -0.0)),
        np.array(complex(1.5, -2e-9), np.complex64),
        np.array([[complex(0.0, -0.0), complex(-1.0, np.inf)]]),
        _NAN_BITS,
        np.array([0x7FC00001, 0xFFC00000], np.uint32).view(np.float32),
        np.arange(6.0).reshape(2, 3) / 3,
        np.zeros((0, 3)),
        np.zeros((2, 0), np.int32),
        np.array([True, False]),
        np.array([1, 2], np.int8),
    ],
    ids=lambda a: f"{a.dtype}-{str(a).replace(chr(10), '')}",
)
def test_constants_keep_their_bits(value: np.ndarray) -> None:
    graph = Graph("f")
    g = Builder(graph)
    graph.yields = [g.constant(value)]
    back = assert_round_trip(graph)
    read = back.ops[0].attrs["value"]
    assert (read.dtype, read.shape, read.tobytes()) == (value.dtype, value.shape, value.tobytes())


def test_random_float_bits() -> None:
    rng = np.random.default_rng(0)
    for unsigned, floating in ((np.uint16, np.float16), (np.uint32, np.float32), (np.uint64, np.float64)):
        raw = rng.integers(0, np.iinfo(unsigned).max, 400, dtype=unsigned, endpoint=True)
        graph = Graph("f")
        graph.yields = [Builder(graph).constant(raw.view(floating))]
        assert assert_round_trip(graph).ops[0].attrs["value"].tobytes() == raw.tobytes()


class _OwnError(Exception):
    pass


def _helper(x: np.ndarray) -> np.ndarray:
    return x


@pytest.mark.parametrize(
    "value",
    [
        None, True, 3, -1, 0.1, -0.0, float("nan"), float("inf"), complex(-0.0, float("nan")), 2j, "", "a'b\"c\n{}é",
        (), (1,), (1, None, -2), ((0, 1), "x"), (Pick(3), Pick(None), Pick(-1)), (Span(0, 1, None), Span(None, -1, 3)),
        np.dtype(np.int32), (np.dtype(bool),), IndexError, np.linalg.LinAlgError, np.array([1.0, -0.0], np.float32),
        np.float32(0.1), np.array(3), FLOAT64, ArrayType(np.dtype(np.int8), (2, 3)), ListType(FLOAT64), (FLOAT64, BOOL),
    ],
    ids=repr,
)  # fmt: skip
def test_attributes(value: Any) -> None:
    graph = Graph("f", [BOOL])
    Builder(graph).emit("check", [graph.args[0]], {"exception": ValueError, "message": "m", "other": value})
    read = assert_round_trip(graph).ops[0].attrs["other"]
    if isinstance(value, tuple):
        assert [type(x) for x in read] == [type(x) for x in value]


def test_objects_come_from_the_dict() -> None:
    graph = Graph("f", [BOOL, FLOAT64])
    g = Builder(graph)
    g.check(graph.args[0], exception=_OwnError, message="m")
    graph.yields = [g.call_back(graph.args[1], function=_helper, types=(FLOAT64,))]
    objects = {f"{x.__module__}.{x.__qualname__}": x for x in (_OwnError, _helper)}
    back = assert_round_trip(graph, objects)
    assert back.ops[0].attrs["exception"] is _OwnError
    assert back.ops[1].attrs["function"] is _helper
    with pytest.raises(ParseError, match="not among the objects"):
        parse(print_graph(graph))


def test_run_time_dimensions_in_types_and_attributes() -> None:
    graph = Graph("f", [INT64], ["n"])
    (n,) = graph.args
    graph.add_arg(FLOAT64.with_shape((n, 3)), "x")
    g = Builder(graph)
    empty = g.list_empty(type=ListType(FLOAT64.with_shape((n,))))
    graph.yields = [empty, g.broadcast(graph.args[1], n, shape=(None, 3))]
    back = assert_round_trip(graph)
    assert back.ops[0].attrs["type"].element.shape == (back.args[0],)
    verify(back)


def test_sizes_may_follow_the_arrays_that_they_size() -> None:
    graph = parse("graph f(%x: float64[%n], %n: int64[]) {\n return %x\n}")
    assert graph.args[0].shape == (graph.args[1],)
    verify(graph)
    assert_round_trip(graph)


def test_names() -> None:
    graph = Graph("Model.loss.<locals>.<lambda>", [FLOAT64] * 6, ["x", "x", "x.2", "w['a b']", "7", "größe"])
    graph.yields = list(graph.args)
    text = print_graph(graph)
    assert "(%x: float64[], %x.2: float64[], %x.2.2: float64[], %w__a_b__: float64[], %_7: float64[], %größe:" in text
    assert_round_trip(graph)
    odd = Graph("a name(")
    assert assert_round_trip(odd).name == "a name("


def test_deep_nests_need_no_recursion() -> None:
    graph = deep_graph(500)
    assert_round_trip(graph)
    verify(graph)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a graph"),
        ("grph f() {\n return\n}", "line 1: expected `graph`, not 'grph'"),
        ("graph f() {\n %0 = sine %x : float64[]\n return\n}", "line 2: there is no primitive 'sine'"),
        ("graph f() {\n %0 = sin %x : float64[]\n return %0\n}", "%x is not defined"),
        ("graph f(%x: float65[]) {\n return\n}", "line 1: there is no dtype 'float65'"),
        ("graph f(%x: float64[]) {\n %x = sin %x : float64[]\n return\n}", "line 2: %x is defined twice"),
        ("graph f(%x: float64[]) {\n %0 = sin %x\n return\n}", "line 2: expected 1 types"),
        ("graph f() {\n %0 = constant {value=[1, 2]} : int64[3]\n return\n}", "line 2: 2 numbers for"),
        ("graph f() {\n %0 = constant {value=1.5} : int64[]\n return\n}", "line 2: invalid literal"),
        ("graph f() {\n return\n", "expected `}`"),
        ("graph f() {\n}", "line 2: expected `return`, not"),
        ("graph f() {\n return\n return\n}", "line 3: expected `}`"),
        ("graph f() {\n ^() {\n yield\n }\n return\n}", "line 2: expected an op before its region"),
        ("graph f() {\n return ;\n}", "line 2: cannot read ';'"),
        ("graph f() {\n return 3\n}", "line 2: expected the end of the line, not '3'"),
        ("graph f() {\n return\n}\nmore", "line 4: expected the end of the text"),
    ],
)
def test_errors_name_the_line(text: str, message: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(text)
    assert message in str(caught.value)


def test_equality_is_of_bits_and_structure() -> None:
    def constant(value: Any) -> Graph:
        graph = Graph("f")
        graph.yields = [Builder(graph).constant(value)]
        return graph

    assert structurally_equal(constant(np.nan), constant(np.nan))
    assert not structurally_equal(constant(0.0), constant(-0.0))
    assert not structurally_equal(constant(1.0), constant(np.float32(1.0)))
    assert not structurally_equal(constant(1), constant(True))
    one = "graph f(%x: float64[], %y: float64[]) {\n %0 = subtract %x, %y : float64[]\n return %0\n}"
    assert structurally_equal(parse(one), parse(one.replace("%0", "%named")))
    assert not structurally_equal(parse(one), parse(one.replace("%x, %y :", "%y, %x :")))
    assert not structurally_equal(parse(one), parse(one.replace("return %0", "return %x")))
    assert not structurally_equal(parse(one), parse(one.replace("graph f", "graph g")))
