"""Graphs as text that people read and `parser.py` reads back.

    graph loss(%x: float64[3, 2], %w: float64[2, 4]) {
      %0 = matmul %x, %w : float64[3, 4]
      %1 = reduce_sum %0 {axes=(0, 1)} : float64[]
      return %1
    }

Values without a name are numbered in order; names that occur twice get a suffix. Regions stand indented under their
op as `^(args) { ... yield ... }`. Of an index, `@3` is a Pick and `0:1:3` a Span, `_` standing for an operand. An array
prints as nested lists, after its type except in `constant`, whose result has it. A function prints as `&module.name`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.literals import class_text, number_text
from jitgrad.graph.types import ArrayType, ListType, Type

__all__ = ["Names", "print_graph"]

_ODD = re.compile(r"[^\w.]")


class Names:
    """Printed names of values, one each; a value not met yet prints as `%?hint`."""

    def __init__(self) -> None:
        self.names: dict[Value, str] = {}
        self.taken: set[str] = set()
        self.counts: dict[str, int] = {}
        self.count = 0

    def define(self, value: Value) -> str:
        """Return the name of a value that the text defines here."""
        if value in self.names:
            return self.names[value]
        name = value.name
        if name:
            base = _ODD.sub("_", name)
            if base[0].isdigit():
                base = "_" + base
            name, k = base, self.counts.get(base, 1)
            while name in self.taken:
                k += 1
                name = f"{base}.{k}"
            self.counts[base] = k
        else:
            name = str(self.count)
            self.count += 1
        self.taken.add(name)
        self.names[value] = "%" + name
        return self.names[value]

    def use(self, value: Value) -> str:
        """Return the name of a value that the text uses here."""
        return self.names.get(value) or f"%?{_ODD.sub('_', getattr(value, 'name', repr(value)))}"

    def type(self, t: Type) -> str:
        """Return a type as it prints."""
        if isinstance(t, ListType):
            return f"list[{self.type(t.element)}]"
        dims = ", ".join(str(d) if isinstance(d, int) else self.use(d) for d in t.shape)
        return f"{t.dtype.name}[{dims}]"

    def arguments(self, block: Block) -> str:
        """Return the arguments of a block with their types."""
        # All names first: a dimension may be an argument further right.
        defined = [self.define(a) for a in block.args]
        return ", ".join(f"{n}: {self.type(a.type)}" for n, a in zip(defined, block.args, strict=True))


def _array_text(value: np.ndarray) -> str:
    if value.ndim == 0:
        return number_text(value[()])
    return "[" + ", ".join(_array_text(np.asarray(x)) for x in value) + "]"


def _attr(names: Names, key: str, value: Any) -> str:
    if key == "dtype":
        return np.dtype(value).name
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        return f"{names.type(ArrayType(array.dtype, array.shape))}({_array_text(array)})"
    if isinstance(value, bool | int | float | complex):
        return number_text(value)
    if value is None or isinstance(value, str):
        return repr(value)
    if isinstance(value, np.dtype):
        return value.name
    if isinstance(value, ArrayType | ListType):
        return names.type(value)
    if isinstance(value, tuple):
        if hasattr(value, "_fields"):
            inner = ":".join("_" if x is None else str(x) for x in value)
            return inner if len(value) > 1 else f"@{inner}"
        items = ", ".join([_attr(names, "", x) for x in value])
        return f"({items},)" if len(value) == 1 else f"({items})"
    return class_text(value) if isinstance(value, type) else f"&{class_text(value)}"


def _op(names: Names, op: Op) -> str:
    text = op.name
    if op.operands:
        text += " " + ", ".join([names.use(v) for v in op.operands])
    if op.name == "constant" and set(op.attrs) == {"value"}:
        text += f" {{value={_array_text(np.asarray(op.attrs['value']))}}}"
    elif op.attrs:
        text += " {" + ", ".join([k if v is True else f"{k}={_attr(names, k, v)}" for k, v in op.attrs.items()]) + "}"
    types = ", ".join([names.type(r.type) for r in op.results])
    results = ", ".join([names.define(r) for r in op.results])
    return f"{results + ' = ' if results else ''}{text}{' : ' + types if types else ''}"


def print_graph(
    graph: Graph, notes: Mapping[Op | Block, Sequence[str]] | None = None, names: Names | None = None
) -> str:
    """Return the text of a graph.

    Parameters
    ----------
    graph : Graph
    notes : mapping, optional
        Remarks to print, as comments, under an op or under the last line of a block.
    names : Names, optional
        Names given before, by which values are called; extended by all that the graph defines.
    """
    notes = notes or {}
    names = names or Names()
    name = graph.name if re.fullmatch(r"[\w.<>]+", graph.name) else repr(graph.name)
    lines = [f"graph {name}({names.arguments(graph)}) {{"]
    # A stack of what is still to print, last first: lines, ops, and blocks with their opening already out.
    work: list[tuple[str, Any, str]] = [("", "}", ""), ("return", graph, "  ")]
    while work:
        kind, item, indent = work.pop()
        if kind == "":
            lines.append(item)
        elif kind == "op":
            for region in reversed(item.regions):
                work += (("", f"{indent}}}", ""), ("yield", region, indent + "  "), ("open", region, indent))
            # Region arguments are numbered after the op's results, which stand above them.
            lines.append(indent + _op(names, item))
            lines += [f"{indent}# ^ {note}" for note in notes.get(item, ())]
        elif kind == "open":
            lines.append(f"{indent}^({names.arguments(item)}) {{")
        elif kind == "end":
            end, block = item
            lines.append(f"{indent}{end}{' ' if block.yields else ''}{', '.join(names.use(v) for v in block.yields)}")
            lines += [f"{indent}# ^ {note}" for note in notes.get(block, ())]
        else:
            work.append(("end", (kind, item), indent))
            work += [("op", op, indent) for op in reversed(item.ops)]
    return "\n".join(lines)
