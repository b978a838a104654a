"""What the tests of graphs share: comparing results bit by bit, looking for ops in a graph, building one from text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.interpret import interpret
from jitgrad.graph.ir import Block, Graph
from jitgrad.graph.parser import parse
from jitgrad.graph.printer import print_graph
from jitgrad.graph.types import BOOL, FLOAT64, INT64
from jitgrad.graph.verify import verify

__all__ = ["assert_ir", "bits", "deep_graph", "outcome", "read"]


def read(text: str) -> Graph:
    """Return the verified graph of a text; its lines may be indented as the test is."""
    graph = parse(text)
    verify(graph)
    return graph


def assert_ir(graph: Graph, has: Iterable[str] = (), lacks: Iterable[str] = ()) -> None:
    """Check that pieces of text occur, or do not occur, in a graph's print; a number before `*` counts: `2*sin`."""
    text = print_graph(graph)
    for piece in has:
        count, star, rest = piece.partition("*")
        if star and count.isdigit():
            assert text.count(rest) == int(count), f"{text.count(rest)} times {rest!r} in\n{text}"
        else:
            assert piece in text, f"no {piece!r} in\n{text}"
    for piece in lacks:
        assert piece not in text, f"{piece!r} in\n{text}"


def bits(value: Any) -> Any:
    """Return a result as something that compares bit by bit; the bits of a NaN are not specified and count as one."""
    if isinstance(value, list):
        return [bits(x) for x in value]
    array = np.asarray(value)
    if array.dtype.kind in "fc":
        parts = array.astype(array.dtype, copy=True, order="C").reshape(-1).view(array.real.dtype)
        parts[np.isnan(parts)] = np.nan
        return (array.dtype.str, array.shape, parts.tobytes())
    return (array.dtype.str, array.shape, array.tobytes())


def outcome(graph: Graph, args: Sequence[Any]) -> Any:
    """Return what a graph does with arguments: the bits of its results, or the exception that a check raises."""
    try:
        return bits(interpret(graph, args))
    except (IndexError, ValueError, ZeroDivisionError) as raised:
        return (type(raised), str(raised))


def deep_graph(depth: int) -> Graph:
    """Return a graph of `if` in `for` in `if` ..., nested `depth` deep around a sine."""
    graph = Graph("deep", [BOOL, INT64, FLOAT64], ["p", "n", "x"])
    p, n, x = graph.args
    inner = Block([INT64, FLOAT64])
    inner.yields = [Builder(inner).sin(inner.args[1])]
    for level in range(depth - 1):
        # From the inside out: each block holds one op around the block made before.
        block = graph if level == depth - 2 else Block([] if level % 2 == 0 else [INT64, FLOAT64])
        g = Builder(block)
        if level % 2:
            other = Block()
            other.yields = [x]
            block.yields = [g.emit("if", [p], regions=[inner, other]).result]
        else:
            block.yields = [g.emit("for", [n, x], regions=[inner]).result]
        inner = block
    return graph
