"""Attributes: of objects, classes, arrays, containers, and of things read from outside.

In: an abstract value and a name. Out: the abstract value of the attribute, bound as Python binds it; a guard or hidden
input where it is read from outside. Properties are called; what a class defines in Python is inlined later.
"""

from __future__ import annotations

import functools
import inspect
import types
from typing import Any

import numpy as np

from jitgrad.trace.abstract import (
    UNBOUND,
    Abstract,
    BoundMethod,
    Cell,
    DictRef,
    External,
    Func,
    ListRef,
    Record,
    Ref,
    Scalar,
    SliceOf,
    SuperOf,
    TaggedRef,
)
from jitgrad.trace.algorithms.containers import STANDS_FOR
from jitgrad.trace.arrays import describe
from jitgrad.trace.calls import (
    ATTRIBUTES,
    METHODS,
    Handler,
    Native,
    class_of,
    is_known,
    outside_of,
    super_attribute,
)
from jitgrad.trace.context import Context
from jitgrad.trace.guards import is_trusted

__all__ = ["attribute", "delete_attribute", "opened", "put_attribute", "set_attribute"]


def _kind(x: Any) -> str | None:
    if isinstance(x, Ref | TaggedRef | np.ndarray | np.generic) or (isinstance(x, Scalar) and x.kind == "numpy"):
        return "array"
    if isinstance(x, Scalar):
        return "scalar"
    if isinstance(x, ListRef):
        return "list"
    if isinstance(x, DictRef):
        return "dict"
    return None


def _found_on_class(ctx: Context, x: Any, cls: type, name: str) -> Any:
    """Return what the class gives for an attribute of the instance x, through its MRO."""
    for base in cls.__mro__:
        if name in vars(base):
            return _bound(ctx, x, cls, vars(base)[name], base, name)
    return UNBOUND


def _bound(ctx: Context, x: Any, cls: type, found: Any, owner: type, name: str) -> Any:
    outside = outside_of(ctx)
    if isinstance(found, property):
        if found.fget is None:
            raise AttributeError(f"property '{name}' of '{cls.__name__}' object has no getter")
        return ctx.call(found.fget, [x])
    if isinstance(found, staticmethod):
        return found.__func__
    if isinstance(found, classmethod):
        return BoundMethod(found.__func__, cls)
    if isinstance(found, types.FunctionType):
        if not is_trusted(owner):
            outside.guard(("object", owner, ("attr", name)), "is", found)
            outside.guard(("object", owner, ("attr", name), ("attr", "__code__")), "is", found.__code__)
        return BoundMethod(found, x)
    if type(found) is functools._lru_cache_wrapper:
        return BoundMethod(outside.read(found, ("object", owner, ("attr", name))), x)
    getter = _written(found, "__get__")
    if getter is not None:
        return ctx.call(getter, [outside.read(found, ("object", owner, ("attr", name))), x, cls])
    if isinstance(found, types.DynamicClassAttribute) and isinstance(x, External):
        return outside.read(getattr(x.thing, name), (*x.source, ("attr", name)))
    if outside.is_callable_object(found):
        outside.guard(("object", owner, ("attr", name)), "is", found)
        return BoundMethod(found, x)
    if type(found).__name__ == "cached_property":
        made = ctx.call(found.func, [x])
        if isinstance(x, Record):
            ctx.heap[x.cell] = (*ctx.heap[x.cell], (name, made))
        return made
    if isinstance(found, types.MemberDescriptorType):
        return UNBOUND
    if isinstance(found, types.WrapperDescriptorType | types.MethodDescriptorType):
        return BoundMethod(found, x)
    if hasattr(type(found), "__get__") and not callable(found):
        raise ctx.error("JG231", name=name, cls=cls.__name__)
    return outside.read(found, ("object", owner, ("attr", name)))


def attribute(ctx: Context, x: Any, name: str) -> Any:
    """Return `x.name`.

    Raises
    ------
    AttributeError
        As Python.
    UnsupportedError
        JG232 where the attribute exists but has no meaning here yet.
    """
    if isinstance(x, Record):
        found = _found_on_class(ctx, x, x.cls, name) if _is_data_descriptor(x.cls, name) else UNBOUND
        if found is not UNBOUND:
            return found
        for key, value in ctx.heap[x.cell]:
            if key == name:
                return value
        if name == "__class__":
            return STANDS_FOR.get(x.cls, x.cls)
        if name == "__dict__" and x.cls.__dictoffset__:
            if any(_is_slot(x.cls, key) for key, _ in ctx.heap[x.cell]):
                raise ctx.error("JG232", name=name, what="an object with slots")
            return DictRef(x.cell)  # the same memory: what is stored there is an attribute
        found = _found_on_class(ctx, x, x.cls, name)
        if found is UNBOUND:
            getter = next((vars(b)["__getattr__"] for b in x.cls.__mro__ if "__getattr__" in vars(b)), None)
            if getter is not None:
                return ctx.call(getter, [x, name])
            if _is_slot(x.cls, name):
                object.__getattribute__(object.__new__(x.cls), name)  # raises, in Python's words
            real = STANDS_FOR.get(x.cls, x.cls)
            if hasattr(real, name):
                raise ctx.error("JG232", name=name, what=f"a {real.__name__}")
            raise AttributeError(f"'{real.__name__}' object has no attribute '{name}'")
        return found
    if isinstance(x, External):
        return _external_attribute(ctx, x, name)
    if isinstance(x, SuperOf):
        return super_attribute(ctx, x.cls, x.self, name)
    if isinstance(x, SliceOf) and name in ("start", "stop", "step"):
        return getattr(x, name)
    if isinstance(x, Scalar) and x.kind == "mixed" and name not in ("real", "imag"):
        raise ctx.error("JG244", what=f"the attribute {name}")
    kind = _kind(x)
    if kind == "array":
        if ("array", name) in ATTRIBUTES:
            return ATTRIBUTES["array", name](ctx, x)
        if ("array", name) in METHODS:
            return BoundMethod(Native(METHODS["array", name], name), x)
        if not hasattr(np.ndarray, name):
            raise AttributeError(f"'numpy.ndarray' object has no attribute '{name}'")
        raise ctx.error("JG232", name=name, what=describe(x))
    if kind is not None:
        if (kind, name) in METHODS:
            return BoundMethod(Native(METHODS[kind, name], name), x)
        if kind == "scalar" and name in ("real", "imag"):
            return ATTRIBUTES["array", name](ctx, x)
        cls = class_of(ctx, x)
        if not hasattr(cls, name):
            raise AttributeError(f"'{cls.__name__}' object has no attribute '{name}'")
        raise ctx.error("JG232", name=name, what=describe(x))
    if isinstance(x, Func | BoundMethod):
        if name == "__name__":
            return x.name if isinstance(x, Func) else attribute(ctx, x.function, name)
        if name == "__doc__" and isinstance(x, Func):
            empty = tuple(types.CellType() for _ in x.code.co_freevars)
            return types.FunctionType(x.code, {}, closure=empty).__doc__
        raise ctx.error("JG232", name=name, what="a function")
    if isinstance(x, Abstract):
        raise ctx.error("JG232", name=name, what=describe(x))
    if isinstance(x, types.ModuleType) and not is_trusted(x):
        return outside_of(ctx).read(getattr(x, name), ("global", vars(x), name))
    if isinstance(x, type) and not is_trusted(x):
        return _class_attribute(ctx, x, name)
    if isinstance(x, tuple) and not is_known(x) and type(x) is not tuple:
        found = vars(type(x)).get(name)
        if isinstance(found, types.FunctionType | property):
            return _bound(ctx, x, type(x), found, type(x), name)
    value = getattr(x, name)
    if isinstance(value, list | dict | set | np.ndarray):  # of a member of an Enum
        return outside_of(ctx).read(value, ("object", x, ("attr", name)))
    return value


def _is_data_descriptor(cls: type, name: str) -> bool:
    found = inspect.getattr_static(cls, name, None)
    return isinstance(found, property) or any(_written(found, n) is not None for n in ("__set__", "__delete__"))


def _is_slot(cls: type, name: str) -> bool:
    return isinstance(inspect.getattr_static(cls, name, None), types.MemberDescriptorType)


def _written(found: Any, name: str) -> types.FunctionType | None:
    """Return a method of the descriptor protocol that a user's class defines."""
    cls = type(found)
    method = None if is_trusted(cls) else inspect.getattr_static(cls, name, None)
    return method if isinstance(method, types.FunctionType) else None


def _class_attribute(ctx: Context, cls: type, name: str) -> Any:
    for base in cls.__mro__:
        if name in vars(base):
            found = vars(base)[name]
            if isinstance(found, classmethod):
                return BoundMethod(found.__func__, cls)
            if isinstance(found, staticmethod):
                return found.__func__
            if is_trusted(base):
                return getattr(cls, name)
            getter = _written(found, "__get__")
            if getter is not None:
                return ctx.call(getter, [outside_of(ctx).read(found, ("object", base, ("attr", name))), None, cls])
            return outside_of(ctx).read(found, ("object", base, ("attr", name)))
    return getattr(cls, name)


def _external_attribute(ctx: Context, x: External, name: str) -> Any:
    thing = x.thing
    source = (*x.source, ("attr", name))
    if isinstance(thing, types.MethodType):
        if name == "__self__":
            return outside_of(ctx).read(thing.__self__, source)
        return getattr(thing, name)
    if isinstance(thing, list | dict | set):
        # Before the class is asked: its own methods would store into a copy.
        return BoundMethod(Native(_external_method(name)), x)
    instance = getattr(thing, "__dict__", {})
    if _is_data_descriptor(type(thing), name) or name not in instance:
        found = _found_on_class(ctx, x, type(thing), name)
        if found is not UNBOUND:
            return found
    try:
        value = getattr(thing, name)
    except AttributeError:
        outside_of(ctx).guard(source, "absent", None)
        raise
    return outside_of(ctx).read(value, source)


def _external_method(name: str) -> Handler:
    def run(ctx: Context, x: External, *args: Any, **kwargs: Any) -> Any:
        copy = opened(ctx, x)
        kind = "list" if isinstance(copy, ListRef) else "dict"
        if name in ("append", "extend", "insert", "pop", "clear", "remove", "update", "setdefault", "sort", "reverse"):
            raise ctx.error("JG222", what=f"{name} on a {kind} read from outside the function")
        if (kind, name) not in METHODS:
            raise ctx.error("JG232", name=name, what=f"a {kind}")
        return METHODS[kind, name](ctx, copy, *args, **kwargs)

    return run


def opened(ctx: Context, x: External) -> Any:
    """Return an outside list or dict as an abstract one, its items guarded or hidden inputs."""
    outside = outside_of(ctx)
    cell = Cell(type(x.thing).__name__)
    if isinstance(x.thing, list):
        outside.guard(x.source, "length", len(x.thing))
        ctx.heap[cell] = tuple(outside.read(v, (*x.source, ("item", k))) for k, v in enumerate(x.thing))
        return ListRef(cell)
    if isinstance(x.thing, dict):
        outside.guard(x.source, "length", len(x.thing))
        ctx.heap[cell] = tuple((k, outside.read(v, (*x.source, ("item", k)))) for k, v in x.thing.items())
        return DictRef(cell)
    raise ctx.error("JG233", what=f"a {type(x.thing).__name__} read from outside the function")


def set_attribute(ctx: Context, x: Any, name: str, value: Any) -> None:
    """Do `x.name = value` on an object made or received by the trace."""
    if not isinstance(x, Record):
        if isinstance(x, External):
            raise ctx.error(
                "JG222", what=f"a store into attribute {name!r} of an object read from outside the function"
            )
        raise ctx.error("JG234", name=name, what=describe(x))
    found = inspect.getattr_static(x.cls, name, None)
    if isinstance(found, property):
        if found.fset is None:
            raise AttributeError(f"property '{name}' of '{x.cls.__name__}' object has no setter")
        ctx.call(found.fset, [x, value])
        return
    if _is_data_descriptor(x.cls, name):
        _by_descriptor(ctx, x, name, "__set__", value)
        return
    setter = next((vars(b)["__setattr__"] for b in x.cls.__mro__ if "__setattr__" in vars(b)), None)
    if isinstance(setter, types.FunctionType):
        ctx.call(setter, [x, name, value])
        return
    put_attribute(ctx, x, name, value)


def put_attribute(ctx: Context, x: Record, name: str, value: Any) -> None:
    """Do `object.__setattr__(x, name, value)`."""
    if not x.cls.__dictoffset__ and not _is_slot(x.cls, name):
        object.__setattr__(object.__new__(x.cls), name, None)  # raises, in Python's words
    ctx.conflict(x.cell)
    pairs = dict(ctx.heap[x.cell])
    pairs[name] = value
    ctx.heap[x.cell] = tuple(pairs.items())


def delete_attribute(ctx: Context, x: Any, name: str) -> None:
    """Do `del x.name` on an object made or received by the trace."""
    if not isinstance(x, Record):
        raise ctx.error("JG234", name=name, what=describe(x))
    found = inspect.getattr_static(x.cls, name, None)
    if isinstance(found, property):
        if found.fdel is None:
            raise AttributeError(f"property '{name}' of '{x.cls.__name__}' object has no deleter")
        ctx.call(found.fdel, [x])
        return
    if _is_data_descriptor(x.cls, name):
        _by_descriptor(ctx, x, name, "__delete__")
        return
    deleter = inspect.getattr_static(x.cls, "__delattr__", None)
    if isinstance(deleter, types.FunctionType):
        ctx.call(deleter, [x, name])
        return
    pairs = dict(ctx.heap[x.cell])
    if name not in pairs:
        raise AttributeError(f"'{x.cls.__name__}' object has no attribute '{name}'")
    ctx.conflict(x.cell)
    del pairs[name]
    ctx.heap[x.cell] = tuple(pairs.items())


def _by_descriptor(ctx: Context, x: Record, name: str, method: str, *args: Any) -> None:
    """Let a descriptor of a user's class set or delete an attribute."""
    owner = next(base for base in x.cls.__mro__ if name in vars(base))
    found = vars(owner)[name]
    written = _written(found, method)
    if written is None:
        raise AttributeError(method)
    ctx.call(written, [outside_of(ctx).read(found, ("object", owner, ("attr", name))), x, *args])
