"""Growable lists: one type for users' homogeneous lists and for the tapes of reverse mode.

`list_push` and `list_pop` are each other's adjoints; `list_get` reads at a position, its adjoint `list_addto` adds
there. Positions are in range and not negative. Derivatives are written in `graph/diff`, which knows these ops by name.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.primitive import primitive
from jitgrad.graph.types import INT64, ArrayType, GraphTypeError, ListType, Type

__all__: list[str] = []


def _list(value: Value) -> ListType:
    if not isinstance(value.type, ListType):
        raise GraphTypeError(f"expected a list, not {value.type}")
    return value.type


def _push_rule(attrs: dict[str, Any], items: Value, v: Value) -> list[Type]:
    if _list(items).element != v.type:
        raise GraphTypeError(f"cannot push {v.type} on {items.type}")
    return [items.type]


def _get_rule(attrs: dict[str, Any], items: Value, position: Value) -> list[Type]:
    if position.type != INT64:
        raise GraphTypeError("a list position is an int64 scalar")
    return [_list(items).element]


def _set_rule(attrs: dict[str, Any], items: Value, position: Value, v: Value) -> list[Type]:
    _push_rule(attrs, items, v)
    _get_rule(attrs, items, position)
    return [items.type]


def _array_rule(attrs: dict[str, Any], items: Value, length: Value) -> list[Type]:
    element = _list(items).element
    return [element.with_shape((length, *element.shape))]


def _from_array_rule(attrs: dict[str, Any], a: Value) -> list[Type]:
    return [ListType(ArrayType(a.array.dtype, a.array.shape[1:]))]


def _set(attrs: dict[str, Any], items: list[Any], position: Any, v: Any) -> list[Any]:
    return [v if k == int(position) else x for k, x in enumerate(items)]


def _addto(attrs: dict[str, Any], items: list[Any], position: Any, v: Any) -> list[Any]:
    return [x + v if k == int(position) else x for k, x in enumerate(items)]


def _to_array(attrs: dict[str, Any], items: list[Any], length: Any) -> np.ndarray:
    return np.stack(items) if items else np.zeros((0, *attrs["element"]), attrs["dtype"])


list_empty = primitive(
    "list_empty", type_rule=lambda attrs: [attrs["type"]], evaluate=lambda attrs: [], derivative=None
)
list_push = primitive("list_push", type_rule=_push_rule, evaluate=lambda attrs, items, v: [*items, v], derivative=None)
list_pop = primitive(
    "list_pop",
    type_rule=lambda attrs, items: [_list(items)],
    evaluate=lambda attrs, items: items[:-1],
    derivative=None,
)
list_get = primitive(
    "list_get", type_rule=_get_rule, evaluate=lambda attrs, items, position: items[int(position)], derivative=None
)
list_set = primitive("list_set", type_rule=_set_rule, evaluate=_set, derivative=None)
list_addto = primitive("list_addto", type_rule=_set_rule, evaluate=_addto, derivative=None)
list_length = primitive(
    "list_length",
    type_rule=lambda attrs, items: [INT64] if _list(items) else [],
    evaluate=lambda attrs, items: np.int64(len(items)),
    derivative=None,
)
list_zeros = primitive(
    "list_zeros",
    type_rule=lambda attrs, items: [_list(items)],
    evaluate=lambda attrs, items: [np.zeros_like(x) for x in items],
    derivative=None,
)
list_to_array = primitive("list_to_array", type_rule=_array_rule, evaluate=_to_array, derivative=None)
list_from_array = primitive(
    "list_from_array", type_rule=_from_array_rule, evaluate=lambda attrs, a: list(a), derivative=None
)
