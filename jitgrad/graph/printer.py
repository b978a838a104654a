"""Graphs as text that people read and `parser.py` reads back.

    graph loss(%x: float64[3, 2], %w: float64[2, 4]) {
      %0 = matmul %x, %w : float64[3, 4]
      %1 = reduce_sum %0 {axes=(0, 1)} : float64[]
      return %1
    }

Values without a name are numbered in order; names that occur twice get a suffix. Regions stand indented under their
op as `^(args) { ... yield ... }`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.types import ArrayType, ListType, Type

__all__ = ["print_graph"]


class _Names:
    def __init__(self) -> None:
        self.names: dict[Value, str] = {}
        self.taken: set[str] = set()
        self.count = 0

    def define(self, value: Value) -> str:
        name = value.name
        if name:
            base, k = name, 1
            while name in self.taken:
                k += 1
                name = f"{base}.{k}"
        else:
            name = str(self.count)
            self.count += 1
        self.taken.add(name)
        self.names[value] = "%" + name
        return self.names[value]

    def use(self, value: Value) -> str:
        return self.names.get(value, f"%?{value.name}")

    def type(self, t: Type) -> str:
        if isinstance(t, ListType):
            return f"list[{self.type(t.element)}]"
        dims = ", ".join(str(d) if isinstance(d, int) else self.use(d) for d in t.shape)
        return f"{t.dtype.name}[{dims}]"


def _attr(names: _Names, value: Any) -> str:
    if isinstance(value, np.ndarray):
        return repr(value.tolist()) if value.ndim else repr(value.item())
    if isinstance(value, np.dtype):
        return value.name
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, ArrayType | ListType):
        return names.type(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        inner = ":".join("_" if x is None else str(x) for x in value)
        return inner if len(value) > 1 else f"@{inner}"
    if isinstance(value, tuple):
        items = ", ".join(_attr(names, x) for x in value)
        return f"({items},)" if len(value) == 1 else f"({items})"
    return repr(value)


def _op(names: _Names, op: Op, indent: str, lines: list[str]) -> None:
    text = op.name
    if op.operands:
        text += " " + ", ".join(names.use(v) for v in op.operands)
    if op.attrs:
        text += " {" + ", ".join(f"{k}={_attr(names, v)}" for k, v in op.attrs.items()) + "}"
    types = ", ".join(names.type(r.type) for r in op.results)
    body: list[str] = []
    for region in op.regions:
        args = ", ".join(f"{names.define(a)}: {names.type(a.type)}" for a in region.args)
        body.append(f"{indent}^({args}) {{")
        _block(names, region, indent + "  ", "yield", body)
        body.append(f"{indent}}}")
    results = ", ".join(names.define(r) for r in op.results)
    lines.append(f"{indent}{results + ' = ' if results else ''}{text}{' : ' + types if types else ''}")
    lines.extend(body)


def _block(names: _Names, block: Block, indent: str, end: str, lines: list[str]) -> None:
    for op in block.ops:
        _op(names, op, indent, lines)
    lines.append(f"{indent}{end}{' ' if block.yields else ''}{', '.join(names.use(v) for v in block.yields)}")


def print_graph(graph: Graph) -> str:
    """Return the text of a graph."""
    names = _Names()
    args = []
    for arg in graph.args:
        args.append((names.define(arg), arg))
    head = ", ".join(f"{n}: {names.type(a.type)}" for n, a in args)
    lines = [f"graph {graph.name}({head}) {{"]
    _block(names, graph, "  ", "return", lines)
    lines.append("}")
    return "\n".join(lines)
