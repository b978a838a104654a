"""What a trace read from outside its arguments, and how to check at call time that it still holds.

In: objects found in globals, closure cells, defaults, attributes. Out: abstract values; a `Guard` for each fact that
was baked in, a `Hidden` input for each number or array that is read anew at every call. Nothing is guarded in NumPy,
math and SciPy: patching those is out of scope.
"""

from __future__ import annotations

import enum
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitgrad.graph.types import ArrayType
from jitgrad.pytree import ArraySpec, alike, spec_of
from jitgrad.trace.abstract import Cell, External, Ref, Scalar
from jitgrad.trace.context import PYTHON_DTYPES, Context, kind_of_python

__all__ = [
    "Guard",
    "Hidden",
    "Outside",
    "Source",
    "callable_constant",
    "holds",
    "is_constant",
    "is_trusted",
    "look_up",
    "source_text",
]

Source = tuple[Any, ...]
_TRUSTED = (
    "numpy",
    "math",
    "scipy",
    "builtins",
    "cmath",
    "operator",
    "functools",
    "dataclasses",
    "typing",
    "collections",
    "itertools",
)


@dataclass(frozen=True, slots=True)
class Guard:
    """A fact about the outside that the compiled code relies on.

    Attributes
    ----------
    source : tuple
        ("global", dict, name), ("cell", cell object), ("object", object), then steps ("attr", name), ("item", key).
    rule : str
        "is": the very object; "equal": type and value; "type": exact type; "length": of a container; "code": a
        function of the same code; "absent": the name is not there.
    expected : object
    """

    source: Source
    rule: str
    expected: Any

    def __str__(self) -> str:
        return f"{source_text(self.source)} {self.rule} {self.expected!r}"


@dataclass(frozen=True, slots=True)
class Hidden:
    """A number or array read from outside that is an argument of the compiled code."""

    source: Source
    kind: str
    type: ArrayType


_MISSING = object()


def look_up(source: Source) -> Any:
    """Return what a source leads to now; a private marker if it leads nowhere."""
    what: Any
    if source[0] == "global":
        what = source[1].get(source[2], _MISSING)
        steps = source[3:]
    elif source[0] == "cell":
        try:
            what = source[1].cell_contents
        except ValueError:
            what = _MISSING
        steps = source[2:]
    else:
        what = source[1]
        steps = source[2:]
    for step in steps:
        if what is _MISSING:
            return _MISSING
        try:
            what = getattr(what, step[1]) if step[0] == "attr" else what[step[1]]
        except (AttributeError, LookupError, TypeError):
            return _MISSING
    return what


def source_text(source: Source) -> str:
    """Return a source as a person would write it."""
    if source[0] == "global":
        text, steps = str(source[2]), source[3:]
    elif source[0] == "cell":
        text, steps = "closure variable", source[2:]
    else:
        text, steps = getattr(source[1], "__qualname__", type(source[1]).__name__), source[2:]
    for step in steps:
        text += f".{step[1]}" if step[0] == "attr" else f"[{step[1]!r}]"
    return text


def holds(guard: Guard) -> bool:
    """Whether a guard's fact is still true."""
    now = look_up(guard.source)
    if guard.rule == "absent":
        return now is _MISSING
    if now is _MISSING:
        return False
    if guard.rule == "is":
        return now is guard.expected
    if guard.rule == "equal":
        return alike(now, guard.expected)
    if guard.rule == "type":
        return type(now) is guard.expected
    if guard.rule == "code":
        return getattr(now, "__code__", None) is guard.expected
    return len(now) == guard.expected


def is_trusted(thing: Any) -> bool:
    """Whether a module or a function belongs to a library whose attributes are taken as constant."""
    name = thing.__name__ if isinstance(thing, types.ModuleType) else getattr(thing, "__module__", None) or ""
    return name.split(".")[0] in _TRUSTED


def is_constant(value: Any) -> bool:
    """Whether a value read from outside is baked in, guarded by type and equality."""
    if isinstance(value, tuple):
        return type(value) is tuple and all(is_constant(v) for v in value)
    simple = (bool, int, str, bytes, enum.Enum, np.dtype, slice, range, type(None), type(Ellipsis), frozenset)
    return isinstance(value, simple) and not isinstance(value, np.generic)


class Outside:
    """All that one trace read from outside.

    Attributes
    ----------
    guards : list of Guard
    hidden : list of (Hidden, Value)
        In the order of the graph's arguments that they became.
    is_callable_object : callable
        Tells the transforms' own callables, which are constants here.
    late : dict of Cell to (array, Source)
        Arrays first read in a branch or loop, which what is around it does not hold. To be stored to, they must be read
        before.
    """

    def __init__(self, ctx: Context, is_callable_object: Callable[[Any], bool]) -> None:
        self.ctx = ctx
        self.guards: list[Guard] = []
        self.hidden: list[tuple[Hidden, Any]] = []
        self.is_callable_object = is_callable_object
        self._seen: dict[Any, Any] = {}
        self._arrays: dict[int, Cell] = {}
        self.late: dict[Cell, tuple[np.ndarray, Source]] = {}

    def guard(self, source: Source, rule: str, expected: Any) -> None:
        """Record a fact once."""
        key = (self._key(source), rule)
        if key not in self._seen:
            self._seen[key] = expected
            self.guards.append(Guard(source, rule, expected))

    @staticmethod
    def _key(source: Source) -> Any:
        return (source[0], id(source[1]), *source[2:])

    def bind_array(self, array: np.ndarray, cell: Cell) -> None:
        """Note that an array of the arguments lives in a cell, so that reading it from outside gives the same one."""
        self._arrays[id(array)] = cell

    def read(self, value: Any, source: Source) -> Any:
        """Return the abstract value of an object found at a source, guarding what is baked in."""
        kind = kind_of_python(value)
        if kind in ("float", "complex", "numpy"):
            return self._hidden_scalar(value, kind, source)
        if type(value) is np.ndarray:
            return self._hidden_array(value, source)
        if is_constant(value):
            self.guard(source, "equal", value)
            return value
        if hasattr(type(value), "n_sequence_fields"):
            # Made in C, such as `sys.version_info`: it cannot be made again of its items.
            self.guard(source, "is", value)
            return value
        if isinstance(value, tuple):
            self.guard(source, "type", type(value))
            self.guard(source, "length", len(value))
            items = [self.read(v, (*source, ("item", k))) for k, v in enumerate(value)]
            return tuple(items) if type(value) is tuple else type(value)(*items)
        if isinstance(value, types.FunctionType):
            self.guard(source, "is", value)
            if not is_trusted(value):
                self.guard((*source, ("attr", "__code__")), "is", value.__code__)
            return value
        if isinstance(value, type | types.ModuleType | types.BuiltinFunctionType | np.ufunc) or callable_constant(
            value
        ):
            self.guard(source, "is", value)
            return value
        if self.is_callable_object(value):
            self.guard(source, "is", value)
            return value
        if isinstance(value, types.MethodType):
            self.guard(source, "type", type(value))
            return External(value, source)
        if isinstance(value, np.ndarray):
            raise self.ctx.error("JG230", name=type(value).__name__)
        self.guard(source, "type", type(value))
        return External(value, source)

    def _hidden_scalar(self, value: Any, kind: str, source: Source) -> Scalar:
        key = self._key(source)
        if key not in self._seen:
            dtype = value.dtype if kind == "numpy" else PYTHON_DTYPES[kind]
            made = ArrayType(np.dtype(dtype), ())
            arg = self.ctx.graph.add_arg(made, str(source[-1] if isinstance(source[-1], str) else "h"))
            self.hidden.append((Hidden(source, kind, made), arg))
            self._seen[key] = Scalar(arg, kind)
        found = self._seen[key]
        assert isinstance(found, Scalar)
        return found

    def _hidden_array(self, value: np.ndarray, source: Source) -> Ref:
        if id(value) in self._arrays:
            self.guard(source, "is", value)
            return self._at_hand(self._arrays[id(value)])
        key = self._key(source)
        if key not in self._seen:
            if value.dtype.kind not in "biufc":
                raise self.ctx.error("JG216", name="an array", dtypes=str(value.dtype))
            made = ArrayType(value.dtype, value.shape)
            name = str(source[-1] if isinstance(source[-1], str) else "h")
            arg = self.ctx.graph.add_arg(made, name)
            self.hidden.append((Hidden(source, "array", made), arg))
            cell = Cell(name, argument=-1)
            self._seen[key] = Ref(cell)
            self._arrays[id(value)] = cell
            self.initial[cell] = arg
            self.ctx.heap[cell] = arg
            spec = spec_of(value)
            assert isinstance(spec, ArraySpec)
            self.ctx.layouts[cell] = self.ctx.layouts[arg] = None if spec.layout == "copied" else spec.layout
            self.ctx.show(cell, arg, value)
            if len(self.ctx.scopes) > 1:
                self.late[cell] = value, source
        return self._at_hand(self._seen[key].cell)

    def _at_hand(self, cell: Cell) -> Ref:
        """Return a hidden array, which a branch or loop that first reads it finds as it was at entry."""
        if cell not in self.ctx.heap:
            self.ctx.heap[cell] = self.initial[cell]
        return Ref(cell)

    @property
    def initial(self) -> dict[Cell, Any]:
        """What each hidden array's cell holds at entry; a branch that first reads it finds it here."""
        return self._seen.setdefault("initial", {})


def callable_constant(value: Any) -> bool:
    """Whether a value is a built-in callable that stands for itself."""
    builtin = (
        types.BuiltinMethodType,
        types.MethodDescriptorType,
        types.WrapperDescriptorType,
        type(len),
        type(np.sum),
    )
    return isinstance(value, builtin) or type(value).__name__ in ("_ArrayFunctionDispatcher", "ufunc")
