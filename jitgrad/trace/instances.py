"""How objects of a user's classes come to be: `C(...)`, `__new__`, `__init__`, the call of a metaclass.

In: a class and abstract arguments. Out: a `Record` whose `__init__` has run, or what `__new__` gives instead, and the
errors that Python raises. Classes that keep their value where only C sees it, as those derived from `float`, are
refused by name.
"""

from __future__ import annotations

import enum
import inspect
import types
from collections.abc import Sequence
from typing import Any

from jitgrad.trace.abstract import Cell, Record
from jitgrad.trace.calls import call_known, class_of, handles
from jitgrad.trace.context import Context
from jitgrad.trace.guards import is_trusted
from jitgrad.trace.objects import type_name
from jitgrad.trace.sizes import known_argument

__all__ = ["instantiate"]


def instantiate(ctx: Context, cls: type, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Return `cls(*args, **kwargs)`.

    Raises
    ------
    TypeError
        As Python: arguments that nobody takes, an abstract class, an `__init__` that returns something.
    UnsupportedError
        JG237 for a class whose objects are more than their attributes.
    """
    if isinstance(cls, enum.EnumMeta):
        return cls(*(known_argument(ctx, arg, f"the value of a member of {cls.__name__}") for arg in args), **kwargs)
    call = _found(type(cls), "__call__")[1]
    if isinstance(call, types.FunctionType):
        return ctx.call(call, [cls, *args], kwargs)
    return _made(ctx, cls, args, kwargs)


def _found(cls: type, name: str) -> tuple[type, Any]:
    """Return what a class or the nearest of its bases defines by a name, and which does."""
    return next((base, vars(base)[name]) for base in cls.__mro__ if name in vars(base))


@handles(type.__call__)
def _type_call(ctx: Context, cls: type, *args: Any, **kwargs: Any) -> Any:
    return _made(ctx, cls, args, kwargs)


def _made(ctx: Context, cls: type, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Do `type.__call__(cls, *args, **kwargs)`."""
    if issubclass(cls, BaseException):
        return cls(*args, **kwargs)
    owner, new = _found(cls, "__new__")
    if is_trusted(cls) or (owner is cls and isinstance(new, types.BuiltinFunctionType)):
        return call_known(ctx, cls, args, kwargs)
    if issubclass(cls, tuple) and hasattr(owner, "_fields"):
        return cls(*args, **kwargs)
    init = _found(cls, "__init__")[1]
    if isinstance(new, staticmethod):
        made = ctx.call(new.__func__, [cls, *args], kwargs)
        if not issubclass(class_of(ctx, made), cls):
            return made
    else:
        if owner is not object:
            raise ctx.error("JG237", name=cls.__name__, why=f"a class derived from {owner.__name__}")
        if (args or kwargs) and init is object.__init__:
            raise TypeError(f"{cls.__name__}() takes no arguments")
        made = ctx.call(new, [cls])
    if isinstance(init, types.FunctionType):
        given = ctx.call(init, [made, *args], kwargs)
        if given is not None:
            raise TypeError(f"__init__() should return None, not '{type_name(ctx, given)}'")
    return made


@handles(object.__new__)
def _object_new(ctx: Context, cls: type, *args: Any, **kwargs: Any) -> Record:
    if (args or kwargs) and _found(cls, "__new__")[0] is not object:
        raise TypeError("object.__new__() takes exactly one argument (the type to instantiate)")
    if inspect.isabstract(cls):
        object.__new__(cls)  # raises, with the names of what is missing
    made = Record(Cell(cls.__name__), cls)
    ctx.heap[made.cell] = ()
    return made


@handles(object.__init__)
def _object_init(ctx: Context, x: Any, *args: Any, **kwargs: Any) -> None:
    if (args or kwargs) and _found(class_of(ctx, x), "__init__")[0] is not object:
        raise TypeError("object.__init__() takes exactly one argument (the instance to initialize)")
