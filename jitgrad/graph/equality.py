"""When two attributes, and two graphs, are the same.

In: attributes and graphs. Out: keys that are equal exactly where the meaning is: numbers by their bits (0.0 is not
-0.0, a NaN equals itself), dtypes however they are spelled. Names and locations are not compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jitgrad.graph.ir import Graph, Op, Value
from jitgrad.graph.types import ArrayType, ListType, Type

__all__ = ["attr_key", "attrs_key", "structurally_equal"]


_NUMPY = (np.ndarray, np.generic)


def _same(value: Value) -> Any:
    return value


def attr_key(value: Any, dim: Callable[[Value], Any] = _same) -> Any:
    """Return a hashable key of an attribute; `dim` names the run-time dimensions of types within."""
    kind = type(value)
    if kind is int or kind is str or value is None:
        return value
    if kind is tuple:
        return (kind, tuple([attr_key(x, dim) for x in value]))
    if isinstance(value, _NUMPY):
        array = np.asarray(value)
        return ("array", array.dtype.str, array.shape, array.tobytes())
    if isinstance(value, (float, complex)):
        return (kind, np.asarray(value).tobytes())
    if isinstance(value, tuple):
        return (kind, tuple([attr_key(x, dim) for x in value]))
    if isinstance(value, ArrayType):
        return ("type", value.dtype, tuple([d if isinstance(d, int) else dim(d) for d in value.shape]))
    if isinstance(value, ListType):
        return ("list", attr_key(value.element, dim))
    return (kind, value)


def attrs_key(attrs: Mapping[str, Any], dim: Callable[[Value], Any] = _same) -> Any:
    """Return a hashable key of an op's attributes."""
    if not attrs:
        return ()
    items = attrs.items() if len(attrs) == 1 else sorted(attrs.items())
    return tuple([(k, np.dtype(v) if k == "dtype" else attr_key(v, dim)) for k, v in items])


def structurally_equal(a: Graph, b: Graph) -> bool:
    """Whether two graphs have the same ops in the same order, with the same types and attributes."""
    number: dict[Value, int] = {}

    def define(x: Value, y: Value) -> None:
        number[x] = number[y] = len(number)

    def dim(v: Value) -> Any:
        return ("dim", number.get(v, v))

    def same(xs: list[Value], ys: list[Value]) -> bool:
        return [number.get(v, v) for v in xs] == [number.get(v, v) for v in ys]

    def types(values: list[Value]) -> list[Type]:
        return [attr_key(v.type, dim) for v in values]

    def heads_equal(p: Op, q: Op) -> bool:
        return (
            p.primitive is q.primitive
            and same(p.operands, q.operands)
            and attrs_key(p.attrs, dim) == attrs_key(q.attrs, dim)
            and types(p.results) == types(q.results)
            and len(p.regions) == len(q.regions)
        )

    if a.name != b.name:
        return False
    # A block is entered where its op stands, so definitions are numbered before their uses.
    work: list[tuple[str, Any, Any]] = [("block", a, b)]
    while work:
        kind, x, y = work.pop()
        if kind == "block":
            if len(x.args) != len(y.args) or len(x.ops) != len(y.ops) or len(x.yields) != len(y.yields):
                return False
            for p, q in zip(x.args, y.args, strict=True):
                define(p, q)
            if types(x.args) != types(y.args):
                return False
            work.append(("end", x, y))
            work += [("op", p, q) for p, q in zip(reversed(x.ops), reversed(y.ops), strict=True)]
        elif kind == "end":
            if not same(x.yields, y.yields):
                return False
        else:
            if not heads_equal(x, y):
                return False
            for p, q in zip(x.results, y.results, strict=True):
                define(p, q)
            work += [("block", p, q) for p, q in zip(reversed(x.regions), reversed(y.regions), strict=True)]
    return True
