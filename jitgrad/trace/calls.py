"""Calling things: binding arguments, handlers for known callables, classes, methods, attributes.

In: an abstract callable and arguments. Out: its abstract result. `HANDLERS` maps callables that are not inlined to
functions of the context that give their meaning; everything else that is written in Python is inlined by the evaluator.
A handler is written with the signature of what it implements, after the context:

    @handles(len)
    def _len(ctx: Context, x: Any) -> Any: ...

Methods of arrays and containers are in `METHODS`, keyed by kind ("array", "list", "dict", "scalar") and name.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.trace.abstract import (
    UNBOUND,
    Abstract,
    AnyOf,
    BoundMethod,
    Cell,
    DictRef,
    External,
    Func,
    IndexRange,
    ListRef,
    OneOf,
    Record,
    Ref,
    Scalar,
    SliceOf,
    SuperOf,
    TaggedRef,
    Text,
)
from jitgrad.trace.arrays import describe, dtype_of, shape_of
from jitgrad.trace.context import Context, kind_of_python
from jitgrad.trace.guards import Outside

__all__ = [
    "ATTRIBUTES",
    "CALLS",
    "HANDLERS",
    "ITEMS",
    "METHODS",
    "OWNERS",
    "PURE",
    "Handler",
    "Native",
    "attribute_of_array",
    "bind",
    "call_known",
    "class_of",
    "grown",
    "handles",
    "is_known",
    "method",
    "misuse",
    "numeric_summary",
    "outside_of",
    "parameter_names",
    "super_attribute",
    "to_func",
]

Handler = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Native(Abstract):
    """A handler as a callable value: `handler(ctx, *args, **kwargs)` gives its meaning."""

    handler: Handler
    name: str = ""


HANDLERS: dict[Any, Handler] = {}
METHODS: dict[tuple[str, str], Handler] = {}
ATTRIBUTES: dict[tuple[str, str], Handler] = {}
PURE: set[Any] = set()
# Methods of known objects that take or hold abstract values: `owner(ctx, self, name, args, kwargs)`, or NotImplemented.
OWNERS: dict[type, Handler] = {}
# Objects read from outside that are called or subscripted, by type: `handler(ctx, x, *args)`, `handler(ctx, key)`.
CALLS: dict[type, Handler] = {}
ITEMS: dict[type, Handler] = {}


def handles(*functions: Any) -> Callable[[Handler], Handler]:
    """Register the meaning of callables."""

    def register(handler: Handler) -> Handler:
        for function in functions:
            assert function not in HANDLERS, function
            HANDLERS[function] = handler
        return handler

    return register


def method(kind: str, *names: str) -> Callable[[Handler], Handler]:
    """Register the meaning of methods of a kind of value; the handler gets the context, the value, the arguments."""

    def register(handler: Handler) -> Handler:
        for name in names:
            METHODS[kind, name] = handler
        return handler

    return register


def attribute_of_array(*names: str) -> Callable[[Handler], Handler]:
    """Register the meaning of attributes of arrays and NumPy scalars; the handler gets the context and the value."""

    def register(handler: Handler) -> Handler:
        for name in names:
            ATTRIBUTES["array", name] = handler
        return handler

    return register


def is_known(x: Any) -> bool:
    """Whether a value is a known Python object all through."""
    if isinstance(x, tuple):
        return all(is_known(v) for v in x)
    if isinstance(x, slice):
        return is_known((x.start, x.stop, x.step))
    return not isinstance(x, Abstract)


# --- classes and attributes


def class_of(ctx: Context, x: Any) -> type:
    """Return `type(x)` of an abstract value."""
    if isinstance(x, Record):
        return x.cls
    if isinstance(x, External):
        return type(x.thing)
    if isinstance(x, Scalar):
        python = {"bool": bool, "int": int, "float": float, "complex": complex}
        return python.get(x.kind) or x.value.array.dtype.type
    if isinstance(x, AnyOf | OneOf):
        # Only asked where no operator or function could be done for each value that it may be.
        dtype_of(ctx, x)
    if isinstance(x, Ref | TaggedRef):
        return np.ndarray
    table = {ListRef: list, DictRef: dict, SliceOf: slice, IndexRange: range, Func: types.FunctionType, Text: str}
    found = table.get(type(x))
    if found is None and isinstance(x, BoundMethod):
        return types.MethodType
    return type(x) if found is None else found


def outside_of(ctx: Context) -> Outside:
    """Return the record of what the trace read from outside."""
    found: Outside = ctx.outside  # type: ignore[attr-defined]
    return found


def super_attribute(ctx: Context, cls: type, self: Any, name: str) -> Any:
    """Return `super(cls, self).name`."""
    of_class = isinstance(self, type) and issubclass(self, cls)
    own = self if of_class else class_of(ctx, self)
    chain = own.__mro__
    for base in chain[chain.index(cls) + 1 :]:
        if name in vars(base):
            found = vars(base)[name]
            if isinstance(found, staticmethod):
                return found.__func__
            if isinstance(found, classmethod):
                return BoundMethod(found.__func__, own)
            if isinstance(found, property):
                return ctx.call(found.fget, [self])
            return found if of_class or not callable(found) else BoundMethod(found, self)
    raise AttributeError(f"'super' object has no attribute '{name}'")


@handles(super)
def _super(ctx: Context, cls: Any = None, self: Any = None) -> SuperOf:
    if cls is None:
        frame = ctx.frames[-1]  # type: ignore[attr-defined]
        first = frame.func.code.co_varnames[0]
        cls = ctx.heap[frame.cells["__class__"]]
        self = ctx.heap[frame.cells[first]] if first in frame.cells else frame.locals[first]
    return SuperOf(cls, self)


# --- functions


def to_func(ctx: Context, function: types.FunctionType, source: Any = None) -> Func:
    """Return a Python function as an abstract one; defaults and closure cells are guarded reads."""
    outside = outside_of(ctx)
    at = source or ("object", function)
    defaults = tuple(
        outside.read(v, (*at, ("attr", "__defaults__"), ("item", k))) for k, v in enumerate(function.__defaults__ or ())
    )
    kwdefaults = tuple(
        (k, outside.read(v, (*at, ("attr", "__kwdefaults__"), ("item", k))))
        for k, v in (function.__kwdefaults__ or {}).items()
    )
    closure = tuple(_closure_cell(ctx, cell) for cell in function.__closure__ or ())
    return Func(function.__code__, function.__globals__, function.__qualname__, defaults, kwdefaults, closure)


def _closure_cell(ctx: Context, cell: types.CellType) -> Cell:
    cells: dict[int, tuple[types.CellType, Cell]] = ctx.closure_cells  # type: ignore[attr-defined]
    made = cells.setdefault(id(cell), (cell, Cell("closure")))[1]
    if made not in ctx.heap:
        try:
            content = cell.cell_contents
        except ValueError:
            ctx.heap[made] = UNBOUND
        else:
            ctx.heap[made] = outside_of(ctx).read(content, ("cell", cell))
    return made


def bind(ctx: Context, func: Func, args: Sequence[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a call by parameter name, as CPython binds them.

    Raises
    ------
    TypeError
        With CPython's messages.
    """
    code = func.code
    count = code.co_argcount
    names = code.co_varnames
    positional = names[:count]
    only = names[count : count + code.co_kwonlyargcount]
    extra = count + len(only)
    has_rest, has_keywords = bool(code.co_flags & inspect.CO_VARARGS), bool(code.co_flags & inspect.CO_VARKEYWORDS)
    bound: dict[str, Any] = dict(zip(positional, args, strict=False))
    short = func.name
    if has_rest:
        bound[names[extra]] = tuple(args[count:])
    rest: list[tuple[Any, Any]] = []
    for key, value in kwargs.items():
        if key in only or (key in positional[code.co_posonlyargcount :]):
            if key in bound:
                raise TypeError(f"{short}() got multiple values for argument '{key}'")
            bound[key] = value
        elif has_keywords:
            rest.append((key, value))
        else:
            named = ", ".join(name for name in positional[: code.co_posonlyargcount] if name in kwargs)
            if named:
                wrong = "some positional-only arguments passed as keyword arguments"
                raise TypeError(f"{short}() got {wrong}: '{named}'")
            raise TypeError(f"{short}() got an unexpected keyword argument '{key}'")
    if len(args) > count and not has_rest:
        raise TypeError(f"{short}() takes {_too_many(func, count, len(args), sum(key in only for key in kwargs))}")
    if has_keywords:
        cell = Cell("kwargs")
        ctx.heap[cell] = tuple(rest)
        bound[names[extra + has_rest]] = DictRef(cell)
    missing = []
    first_default = count - len(func.defaults)
    for k, name in enumerate(positional):
        if name not in bound:
            if k >= first_default:
                bound[name] = func.defaults[k - first_default]
            else:
                missing.append(name)
    if missing:
        raise TypeError(f"{short}() missing {_listed(missing, 'positional')}")
    defaults = dict(func.kwdefaults)
    missing = [name for name in only if name not in bound and name not in defaults]
    if missing:
        raise TypeError(f"{short}() missing {_listed(missing, 'keyword-only')}")
    return {**{name: defaults[name] for name in only if name not in bound}, **bound}


def _too_many(func: Func, count: int, given: int, keywords: int) -> str:
    """Return how many arguments a function takes and a call gives, as CPython says it."""
    least = count - len(func.defaults)
    takes = f"from {least} to {count}" if func.defaults else f"{count}"
    was = f"{given} {'were' if given != 1 or keywords else 'was'} given"
    if keywords:
        extra = f"(and {_counted(keywords, 'keyword-only argument')})"
        was = f"{_counted(given, 'positional argument')} {extra} were given"
    return f"{takes} positional argument{'s' if count != 1 or func.defaults else ''} but {was}"


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}{'s' if n != 1 else ''}"


def _listed(names: list[str], kind: str) -> str:
    """Return the names of missing arguments, as CPython lists them."""
    quoted = [f"'{name}'" for name in names]
    last = f"{',' if len(quoted) > 2 else ''} and {quoted[-1]}" if len(quoted) > 1 else quoted[0]
    return f"{_counted(len(names), f'required {kind} argument')}: {', '.join(quoted[:-1])}{last}"


def call_known(ctx: Context, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Run an allow-listed pure callable on known objects, or refuse."""
    owned = OWNERS.get(type(getattr(function, "__self__", None)))
    if owned is not None:
        made = owned(ctx, function.__self__, function.__name__, tuple(args), kwargs)
        if made is not NotImplemented:
            return made
    if all(is_known(a) for a in args) and all(is_known(v) for v in kwargs.values()):
        self = getattr(function, "__self__", None)
        owner = self if isinstance(self, type) else type(self)
        pure_method = owner in (
            str,
            tuple,
            int,
            float,
            complex,
            bytes,
            range,
            bool,
            type(None),
            np.dtype,
            slice,
            frozenset,
        )
        if self is not None and not isinstance(self, types.ModuleType) and pure_method:
            return function(*args, **kwargs)
        if function in PURE or (isinstance(function, type) and issubclass(function, BaseException)):
            return function(*args, **kwargs)
    if isinstance(function, type) and issubclass(function, BaseException):
        return function(*args)
    name = getattr(function, "__qualname__", None) or getattr(function, "__name__", None) or type(function).__name__
    module = getattr(function, "__module__", None)
    raise ctx.error("JG223", name=f"{module}.{name}" if module and module != "builtins" else name)


def misuse(
    ctx: Context, wrong: TypeError, function: Any, handler: Handler, args: Sequence[Any], kwargs: dict[str, Any]
) -> BaseException:
    """Return what to raise for a TypeError of a handler: one of its own arguments speaks of the function it stands for.

    That is JG235 for an argument that the function takes and the handler does not.
    """
    inner, _, rest = str(wrong).partition("() ")
    if inner != handler.__qualname__:
        return wrong
    name = function.name if isinstance(function, Native) else getattr(function, "__name__", "")
    try:
        given = inspect.signature(function).bind(*args, **kwargs).arguments
    except TypeError as own:
        if not isinstance(function, Native):
            rest = str(own)
    except ValueError:
        pass
    else:
        taken = inspect.signature(handler).parameters
        left = next((k for k in given if k not in taken), None)
        if left is not None:
            return ctx.error("JG235", name=name or inner, argument=left)
    return TypeError(f"{name or inner}() {rest}")


def numeric_summary(ctx: Context, x: Any) -> str:
    """Return dtype and shape of a value for error texts."""
    if isinstance(x, Ref | TaggedRef | Scalar) or kind_of_python(x) is not None:
        return f"{dtype_of(ctx, x)}{list(shape_of(ctx, x))}"
    return describe(x)


def grown(ctx: Context, x: ListRef) -> Value | None:
    """Return the growable list that a list is, None for a list of known length."""
    items = ctx.heap[x.cell]
    return items if isinstance(items, Value) else None


def parameter_names(function: Any, count: int) -> list[str]:
    """Return what to call the positional arguments of a function."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = next((p.name for p in parameters if p.kind == p.VAR_POSITIONAL), "arg")
    return [names[k] if k < len(names) else f"{rest}{k - len(names)}" for k in range(count)]
