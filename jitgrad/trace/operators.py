"""Operators on any abstract values: who decides what `x + y`, `x == y`, `x in y`, `x[k]` mean.

In: an operator and abstract values. Out: abstract values. Numbers and arrays go to `arrays`, subscripts of built-in
things to `subscripts`; containers and texts are handled here; objects of user classes decide by their own methods,
which are traced through the context, in Python's order (reflected methods included). In-place operators of arrays store
through the reference with NumPy's casting rule. This room knows no bytecode and no calling convention.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from jitgrad.trace import arithmetic
from jitgrad.trace.abstract import (
    AnyOf,
    Cell,
    DictRef,
    External,
    ListRef,
    OneOf,
    Record,
    Scalar,
    Text,
)
from jitgrad.trace.arithmetic import NUMPY_BINARY, PYTHON_BINARY, unary
from jitgrad.trace.arrays import (
    as_array,
    broadcast_dims,
    dtype_of,
    is_array,
    is_number,
    is_numeric,
    kind,
    scalar_value,
    shape_of,
)
from jitgrad.trace.attributes import attribute, opened
from jitgrad.trace.calls import ITEMS, METHODS, class_of, is_known, outside_of
from jitgrad.trace.comparisons import COMPARISON_METHODS, compare_op, contains_op
from jitgrad.trace.context import Context
from jitgrad.trace.grown_lists import joined_lists
from jitgrad.trace.objects import (
    array_operand,
    as_plain_numbers,
    is_array_like,
    is_object,
    opened_container,
    seen_by,
    sequence_items,
    special_method,
    try_method,
    type_name,
)
from jitgrad.trace.products import matrix_product
from jitgrad.trace.subscripts import dict_key, get_item, new_list, set_item, static_key
from jitgrad.trace.texts import join_texts, percent
from jitgrad.trace.ufuncs import store_result

__all__ = ["binary_op", "get_item_op", "set_item_op", "unary_op"]

_METHODS = {
    "+": "add", "-": "sub", "*": "mul", "/": "truediv", "//": "floordiv", "%": "mod", "**": "pow", "@": "matmul",
    "&": "and", "|": "or", "^": "xor", "<<": "lshift", ">>": "rshift",
}  # fmt: skip
# --- binary operators


def binary_op(ctx: Context, op: str, x: Any, y: Any, inplace: bool = False) -> Any:
    """Return `x op y`; with `inplace`, what `x op= y` binds, arrays and lists being changed in place."""
    if isinstance(x, AnyOf | OneOf) or isinstance(y, AnyOf | OneOf):
        return ctx.by_choice(partial(binary_op, ctx, op, inplace=inplace), x, y)
    if is_numeric(x) or is_numeric(y):
        x, y = as_plain_numbers(ctx, _METHODS[op], x, y)
        if is_numeric(x) and is_numeric(y):
            return _numeric(ctx, op, x, y, inplace)
    if is_object(x) or is_object(y):
        made = _by_methods(ctx, op, x, y, inplace)
        if made is not NotImplemented:
            return made
        if any(isinstance(v, Record | External) and is_object(v) for v in (x, y)):
            raise _unsupported_operands(ctx, op, x, y, inplace)
    x, y = opened_container(ctx, x), opened_container(ctx, y)
    if op == "*":
        x, y = _repeats(ctx, x, y), _repeats(ctx, y, x)
    if isinstance(x, str) and op == "%" and not is_known(y):
        return percent(ctx, x, y)
    if is_array_like(x) or is_array_like(y):
        if (x is None or y is None) and op != "@":
            # NumPy meets None where it comes to the elements.
            a, b = (None if v is None else dtype_of(ctx, array_operand(ctx, v)).type(0).item() for v in (x, y))
            raise _unsupported_operands(ctx, op, a, b, False)
        return _numeric(ctx, op, array_operand(ctx, x), array_operand(ctx, y), inplace)
    made = _containers(ctx, op, x, y, inplace)
    if made is not NotImplemented:
        return made
    if is_known(x) and is_known(y):
        return PYTHON_BINARY[op](x, y)
    raise _unsupported_operands(ctx, op, x, y, inplace)


def _repeats(ctx: Context, x: Any, y: Any) -> Any:
    """Return a factor of a list or tuple y: a NumPy scalar repeats it as a Python int does, and must be whole.

    Raises
    ------
    TypeError
        As NumPy, for a scalar that is not.
    """
    if not isinstance(y, tuple | ListRef) or is_array(x) or not is_number(x) or kind(x) != "numpy":
        return x
    dtype = dtype_of(ctx, x)
    if dtype.kind not in "iu":
        raise TypeError(f"can't multiply sequence by non-int of type 'numpy.{dtype.type.__name__}'")
    return Scalar(scalar_value(ctx, x, np.int64), "int") if isinstance(x, Scalar) else int(x)


def _unsupported_operands(ctx: Context, op: str, x: Any, y: Any, inplace: bool) -> TypeError:
    for cls in (str, tuple, list):
        if op == "+" and class_of(ctx, x) is cls and not (cls is list and inplace):
            return TypeError(f'can only concatenate {cls.__name__} (not "{type_name(ctx, y)}") to {cls.__name__}')
    shown = f"{op}=" if inplace else "** or pow()" if op == "**" else op
    return TypeError(f"unsupported operand type(s) for {shown}: '{type_name(ctx, x)}' and '{type_name(ctx, y)}'")


def _numeric(ctx: Context, op: str, x: Any, y: Any, inplace: bool) -> Any:
    if op == "@":
        if not is_array(x) or not is_array(y):
            if not is_array_like(x) and not is_array_like(y):
                raise _unsupported_operands(ctx, op, x, y, inplace)
            raise ValueError(
                "matmul: Input operand 1 does not have enough dimensions (has 0, gufunc core with signature "
                "(n?,k),(k,m?)->(n?,m?) requires 1)"
            )
        made = matrix_product(ctx, x, y)
        if not inplace:
            return made
        return store_result(ctx, "matmul", as_array(ctx, made), x)
    if inplace and is_array(x):
        if is_array(y):
            # NumPy's error names the array that is written to as well.
            broadcast_dims(ctx, shape_of(ctx, x), shape_of(ctx, y), shape_of(ctx, x))
        made = arithmetic.binary(ctx, op, x, y)
        return store_result(ctx, NUMPY_BINARY[op].__name__, as_array(ctx, made), x)
    return arithmetic.binary(ctx, op, x, y)


def _by_methods(ctx: Context, op: str, x: Any, y: Any, inplace: bool) -> Any:
    """Return what the special methods of user classes give, NotImplemented where none applies."""
    name = _METHODS[op]
    if inplace and is_object(x):
        found = special_method(ctx, x, f"__i{name}__")
        if found is not None:
            made = ctx.call(found, [y])
            if made is not NotImplemented:
                return made
    forward: Callable[[], Any] = lambda: try_method(ctx, x, f"__{name}__", y)  # noqa: E731
    reflected: Callable[[], Any] = lambda: try_method(ctx, y, f"__r{name}__", seen_by(ctx, y, x))  # noqa: E731
    cx, cy = class_of(ctx, x), class_of(ctx, y)
    tries = [forward, reflected] if cx is not cy else [forward]
    if cx is not cy and issubclass(cy, cx):
        tries.reverse()
    for attempt in tries:
        made = attempt()
        if made is not NotImplemented:
            return made
    return NotImplemented


def _containers(ctx: Context, op: str, x: Any, y: Any, inplace: bool) -> Any:
    if isinstance(x, str | Text) and isinstance(y, str | Text) and op == "+":
        return join_texts(x, y)
    if op == "+" and isinstance(x, tuple) and isinstance(y, tuple):
        return (*x, *y)
    if op == "+" and isinstance(x, ListRef):
        return _list_plus(ctx, x, y, inplace)
    if op == "*":
        if is_number(x) and not is_number(y):
            x, y = y, x
        items = sequence_items(ctx, x)
        if (items is not None or isinstance(x, str | bytes)) and kind(y) == "float":
            raise TypeError("can't multiply sequence by non-int of type 'float'")
        if items is not None and is_number(y):
            times = static_key(ctx, y, "how often a sequence is repeated")
            if isinstance(x, tuple):
                return items * times
            if inplace:
                ctx.conflict(x.cell)
                ctx.heap[x.cell] = items * times
                return x
            return new_list(ctx, items * times)
        if isinstance(x, str | bytes) and isinstance(y, Scalar):
            return x * static_key(ctx, y, "how often a string is repeated")
    if op == "|" and isinstance(x, DictRef) and isinstance(y, DictRef):
        pairs = tuple((dict(ctx.heap[x.cell]) | dict(ctx.heap[y.cell])).items())
        if inplace:
            ctx.conflict(x.cell)
            ctx.heap[x.cell] = pairs
            return x
        made = DictRef(Cell("dict"))
        ctx.heap[made.cell] = pairs
        return made
    return NotImplemented


def _list_plus(ctx: Context, x: ListRef, y: Any, inplace: bool) -> Any:
    if inplace:
        ctx.call(attribute(ctx, x, "extend"), [y])
        return x
    mine, other = sequence_items(ctx, x), sequence_items(ctx, y)
    if not isinstance(y, ListRef):
        raise TypeError(f'can only concatenate list (not "{type_name(ctx, y)}") to list')
    if mine is None or other is None:
        made = joined_lists(ctx, x.cell, y.cell)
        if made is not None:
            return made
        raise ctx.error("JG221", what="+ of a list that grew in a loop")
    return new_list(ctx, (*mine, *other))


def unary_op(ctx: Context, op: str, x: Any) -> Any:
    """Return `-x`, `+x` or `~x`."""
    if isinstance(x, AnyOf | OneOf):
        return ctx.by_choice(partial(unary_op, ctx, op), x)
    if isinstance(x, np.ndarray):
        x = ctx.fresh(as_array(ctx, x))
    if is_numeric(x):
        return unary(ctx, op, x)
    if is_object(x):
        found = special_method(ctx, x, {"-": "__neg__", "+": "__pos__", "~": "__invert__"}[op])
        if found is not None:
            return ctx.call(found, [])
    raise TypeError(f"bad operand type for unary {op}: '{type_name(ctx, x)}'")


# --- subscripts


def get_item_op(ctx: Context, x: Any, key: Any) -> Any:
    """Return `x[key]` of any value."""
    if type(key) is tuple:
        return ctx.by_choice(lambda *parts: _get_item(ctx, x, parts), *key)
    return ctx.by_choice(partial(_get_item, ctx, x), key)


def _get_item(ctx: Context, x: Any, key: Any) -> Any:
    if isinstance(x, External) and isinstance(x.thing, list | dict):
        return _external_item(ctx, x, key)
    if isinstance(x, Record | External):
        found = special_method(ctx, x, "__getitem__")
        if found is None:
            raise TypeError(f"'{type_name(ctx, x)}' object is not subscriptable")
        return ctx.call(found, [key])
    if type(x) in ITEMS:
        return ITEMS[type(x)](ctx, key)
    return get_item(ctx, x, key)


def _external_item(ctx: Context, x: External, key: Any) -> Any:
    """Return an item of a list or dict read from outside: only that item is guarded or a hidden input."""
    key = static_key(ctx, key, "the index of a list") if isinstance(x.thing, list) else dict_key(ctx, key)
    if isinstance(key, slice):
        return get_item(ctx, opened(ctx, x), key)
    found = x.thing[key]
    if isinstance(x.thing, list) and key < 0:
        outside_of(ctx).guard(x.source, "length", len(x.thing))
        key += len(x.thing)
    return outside_of(ctx).read(found, (*x.source, ("item", key)))


def set_item_op(ctx: Context, x: Any, key: Any, value: Any) -> None:
    """Do `x[key] = value` for any value."""
    if type(key) is tuple:
        ctx.by_choice(lambda *parts: _set_item(ctx, x, parts, value), *key)
    else:
        ctx.by_choice(lambda part: _set_item(ctx, x, part, value), key)


def _set_item(ctx: Context, x: Any, key: Any, value: Any) -> None:
    if isinstance(x, Record | External):
        found = special_method(ctx, x, "__setitem__")
        if found is not None:
            ctx.call(found, [key, value])
            return
        if isinstance(x, Record):
            raise TypeError(f"'{type_name(ctx, x)}' object does not support item assignment")
    set_item(ctx, x, key, value)


# --- the operators as methods: x.__add__(y), super().__setitem__(k, v)


def _as_method(function: Callable[..., Any], *first: Any) -> Callable[..., Any]:
    def call(ctx: Context, x: Any, *args: Any) -> Any:
        return function(ctx, *first, x, *args)

    return call


def _reflected(op: str) -> Callable[..., Any]:
    def call(ctx: Context, x: Any, y: Any) -> Any:
        return binary_op(ctx, op, y, x)

    return call


def _inplace(op: str) -> Callable[..., Any]:
    def call(ctx: Context, x: Any, y: Any) -> Any:
        return binary_op(ctx, op, x, y, True)

    return call


def _register_methods(*kinds: str) -> None:
    for of in kinds:
        for op, name in _METHODS.items():
            METHODS[of, f"__{name}__"] = _as_method(binary_op, op)
            METHODS[of, f"__r{name}__"] = _reflected(op)
            METHODS[of, f"__i{name}__"] = _inplace(op)
        for op, name in COMPARISON_METHODS.items():
            METHODS[of, name] = _as_method(compare_op, op)
        for op, name in {"-": "__neg__", "+": "__pos__", "~": "__invert__"}.items():
            METHODS[of, name] = _as_method(unary_op, op)
        METHODS[of, "__getitem__"] = get_item_op
        METHODS[of, "__setitem__"] = set_item_op
        METHODS[of, "__contains__"] = _as_method(lambda ctx, x, y: contains_op(ctx, y, x))
        for name, function in (
            ("__len__", len),
            ("__abs__", abs),
            ("__float__", float),
            ("__int__", int),
            ("__bool__", bool),
        ):
            METHODS[of, name] = _by_builtin(function)


def _by_builtin(function: Any) -> Callable[..., Any]:
    def call(ctx: Context, x: Any, *args: Any) -> Any:
        return ctx.call(function, [x, *args])

    return call


_register_methods("array", "scalar", "list", "dict")
