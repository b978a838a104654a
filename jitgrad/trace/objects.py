"""What a value is to operators: an object whose class decides by its methods, a container, or NumPy's.

In: abstract values. Out: their special methods as callables, their items, the names of their types. This room knows no
operator.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.trace.abstract import (
    BoundMethod,
    External,
    ListRef,
    Record,
    Scalar,
    Text,
)
from jitgrad.trace.algorithms.containers import STANDS_FOR
from jitgrad.trace.arrays import is_array, is_number, is_numeric, kind
from jitgrad.trace.attributes import attribute, opened
from jitgrad.trace.calls import class_of
from jitgrad.trace.columns import is_grown
from jitgrad.trace.context import Context
from jitgrad.trace.sizes import numeric
from jitgrad.trace.storage import as_sequence

__all__ = [
    "array_operand", "as_plain_numbers", "is_array_like", "is_object", "opened_container", "seen_by",
    "sequence_items", "special_method", "try_method", "type_name",
]  # fmt: skip


def is_object(x: Any) -> bool:
    """Whether x is an object of a user's class, whose methods decide what operators mean."""
    if isinstance(x, Record):
        return True
    if isinstance(x, External):
        return not isinstance(x.thing, list | dict | set)
    return type(x) is not tuple and isinstance(x, tuple) and hasattr(type(x), "_fields")


def as_plain_numbers(ctx: Context, name: str, x: Any, y: Any) -> tuple[Any, Any]:
    """Return operands, known numbers of classes that derive from int or float as plain ones: members of an IntEnum.

    Beside NumPy's numbers they are such, since NumPy takes only Python's own for weak ones.

    Raises
    ------
    UnsupportedError
        JG203 if the class has the operator called `name` for itself.
    """

    def plain(v: Any, other: Any) -> Any:
        if not isinstance(v, int | float) or is_number(v):
            return v
        base = int if isinstance(v, int) else float
        for method in (f"__{name}__", f"__r{name}__"):
            if getattr(type(v), method, None) is not getattr(base, method, None):
                raise ctx.error("JG203", what=f"{method} of {type(v).__name__}")
        return np.asarray(base(v))[()] if kind(other) in ("array", "numpy") else base(v)

    return plain(x, y), plain(y, x)


def special_method(ctx: Context, x: Any, name: str) -> Any:
    """Return the bound special method of an object of a user's class, None where its class has none of its own."""
    cls = class_of(ctx, x)
    for base in cls.__mro__:
        if base is object and cls in STANDS_FOR and name not in ("__ne__", "__hash__"):
            real = STANDS_FOR[cls]
            if getattr(real, name, None) is not getattr(object, name, None):
                raise ctx.error("JG232", name=name, what=f"a {real.__name__}")
        if base in (object, tuple, list, dict):
            return None
        if name in vars(base):
            found = vars(base)[name]
            if found is None:
                return None
            if not callable(found):
                raise ctx.error("JG231", name=name, cls=cls.__name__)
            return attribute(ctx, x, name) if isinstance(x, Record | External) else BoundMethod(found, x)
    return None


def opened_container(ctx: Context, x: Any) -> Any:
    """Return a list or dict read from outside as an abstract one; anything else as it is."""
    return opened(ctx, x) if isinstance(x, External) and isinstance(x.thing, list | dict) else x


def sequence_items(ctx: Context, x: Any) -> tuple[Any, ...] | None:
    """Return the items of a tuple or a list of known length, None for anything else."""
    if isinstance(x, tuple):
        return x
    if isinstance(x, ListRef) and not is_grown(ctx, x):
        items: tuple[Any, ...] = ctx.heap[x.cell]
        return items
    return None


def type_name(ctx: Context, x: Any) -> str:
    """Return the name of a value's class as error messages write it.

    Raises
    ------
    UnsupportedError
        JG236 for a text that is not known: what cannot be done with it here can be done in Python.
    """
    if isinstance(x, Text):
        raise ctx.error("JG236", what="a text")
    cls = class_of(ctx, x)
    cls = STANDS_FOR.get(cls, cls)
    return f"numpy.{cls.__name__}" if cls.__module__ == "numpy" else cls.__name__


def try_method(ctx: Context, x: Any, name: str, y: Any) -> Any:
    """Return what a special method of an object gives, NotImplemented where its class has none."""
    if not is_object(x):
        return NotImplemented
    found = special_method(ctx, x, name)
    return NotImplemented if found is None else ctx.call(found, [y])


def seen_by(ctx: Context, y: Any, x: Any) -> Any:
    """Return what a reflected method of an object gets for the left operand: NumPy hands on Python's numbers.

    Raises
    ------
    UnsupportedError
        JG216 where NumPy would ask the method element by element, or take the object for a sequence.
    """
    cls = class_of(ctx, y)
    if not is_object(y) or not is_array_like(x) or _defers(cls):
        return x
    if not isinstance(x, Scalar | np.generic) or (hasattr(cls, "__len__") and hasattr(cls, "__getitem__")):
        raise ctx.error("JG216", name="an operator of an array", dtypes=cls.__name__)
    kind = x.value.array.dtype.kind if isinstance(x, Scalar) else x.dtype.kind
    return ctx.call({"b": bool, "i": int, "u": int, "c": complex}.get(kind, float), [x])


def _defers(cls: type) -> bool:
    """Whether NumPy's arrays and numbers leave operators to a class."""
    return getattr(cls, "__array_ufunc__", ...) is None or getattr(cls, "__array_priority__", 0) > 0


def is_array_like(x: Any) -> bool:
    """Whether NumPy decides what operators of x mean."""
    return is_array(x) or isinstance(x, np.ndarray | np.generic) or (isinstance(x, Scalar) and x.kind == "numpy")


def array_operand(ctx: Context, x: Any) -> Any:
    """Return an operand of an array as a number or array."""
    x = as_sequence(ctx, x)
    if is_numeric(x):
        return x
    if isinstance(x, np.ndarray | tuple | ListRef):
        return numeric(ctx, x)
    raise ctx.error("JG216", name="an operator of an array", dtypes=type_name(ctx, x))
