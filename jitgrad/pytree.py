"""Arguments and results as trees, by inspection.

In: any Python object. Out: a `Spec`, hashable, which says what it is down to dtypes, shapes and layouts, and its leaves
in order: arrays and numbers. Tuples, NamedTuples, lists, dicts, dataclasses and plain objects whose attributes hold
numbers or arrays are trees; everything else is static (compared by value) or opaque (compared by identity). Objects are
rebuilt without running their `__init__`. This room knows neither graphs nor compiled code.
"""

from __future__ import annotations

import enum
import struct
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from jitgrad.errors import error

__all__ = [
    "ArraySpec", "DictSpec", "ListSpec", "NumberSpec", "ObjectSpec", "OpaqueSpec", "Size", "Spec", "StaticSpec", "Step",
    "TupleSpec", "alike", "attributes_of", "flatten", "is_leaf", "leaves_of", "rebuild_object", "spec_of", "unflatten",
    "with_arrays",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Size:
    """A size that is known only at run time: one number wherever it stands in a call, of at least `least`."""

    number: int
    least: int = 2

    def __str__(self) -> str:
        return _SIZE_NAMES[self.number] if self.number < len(_SIZE_NAMES) else f"n{self.number}"


@dataclass(frozen=True, slots=True)
class Step:
    """A stride that is known only at run time, neither 0 nor 1 nor -1."""

    number: int

    def __str__(self) -> str:
        return f"s{self.number}"


@dataclass(frozen=True, slots=True)
class ArraySpec:
    """An ndarray leaf; `layout` is "C", "F" or a tuple of strides in elements.

    An array in another order that machine code cannot read as it lies is "copied", in C order.
    The spec of an object has known sizes and strides; one made to stand for many may have a `Size` or `Step` where they
    differ.
    """

    dtype: np.dtype
    shape: tuple[int | Size, ...]
    layout: Any = "C"


@dataclass(frozen=True, slots=True)
class NumberSpec:
    """A number leaf; `kind` is "bool", "int", "float", "complex" (Python's) or "numpy"."""

    kind: str
    dtype: np.dtype


@dataclass(frozen=True, slots=True)
class StaticSpec:
    """Something that decides the program: compared by type and value."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StaticSpec) and alike(self.value, other.value)

    def __hash__(self) -> int:
        return hash((type(self.value), self.value))


@dataclass(frozen=True, slots=True, eq=False)
class OpaqueSpec:
    """Anything else: a function, a class, an object without numbers; compared by identity."""

    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OpaqueSpec) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


@dataclass(frozen=True, slots=True)
class TupleSpec:
    """A tuple or NamedTuple."""

    cls: type
    children: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ListSpec:
    """A list."""

    children: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class DictSpec:
    """A dict, in its order."""

    keys: tuple[Any, ...]
    children: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    """An instance of a class, with the attributes it has."""

    cls: type
    names: tuple[str, ...]
    children: tuple[Any, ...]


Spec: TypeAlias = ArraySpec | NumberSpec | StaticSpec | OpaqueSpec | TupleSpec | ListSpec | DictSpec | ObjectSpec

_SIZE_NAMES = "nmpqrstuvw"
_NUMBERS: dict[type, str] = {bool: "bool", int: "int", float: "float", complex: "complex"}
_STATIC = (str, bytes, enum.Enum, np.dtype, slice, range, type(None), type(Ellipsis), frozenset)
_OPAQUE = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, type, np.ufunc)
_PYTHON_DTYPES = {
    "bool": np.dtype(np.bool_),
    "int": np.dtype(np.int64),
    "float": np.dtype(np.float64),
    "complex": np.dtype(np.complex128),
}


def alike(a: Any, b: Any) -> bool:
    """Whether two constants are the same to a program: equal in type and value all through, floats by their bits."""
    if type(a) is not type(b):
        return False
    if isinstance(a, tuple):
        return len(a) == len(b) and all(alike(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, slice):
        return alike((a.start, a.stop, a.step), (b.start, b.stop, b.step))
    if isinstance(a, frozenset):
        return len(a) == len(b) and all(any(alike(x, y) for y in b) for x in a)
    if isinstance(a, float):
        return struct.pack("d", a) == struct.pack("d", b)
    return bool(a == b)


def is_leaf(spec: Any) -> bool:
    """Whether a spec is an array's or a number's."""
    return isinstance(spec, ArraySpec | NumberSpec)


def attributes_of(value: Any) -> dict[str, Any] | None:
    """Return the instance attributes of an object (dict and slots), None if it can have none."""
    found: dict[str, Any] = {}
    names = getattr(value, "__dict__", None)
    slots = [s for c in type(value).__mro__ for s in _slots(c)]
    if names is None and not slots:
        return None
    for name in slots:
        if hasattr(value, name):
            found[name] = getattr(value, name)
    found.update(names or {})
    return found


def _slots(cls: type) -> Sequence[str]:
    slots = cls.__dict__.get("__slots__", ())
    return [s for s in ([slots] if isinstance(slots, str) else slots) if s not in ("__dict__", "__weakref__")]


def flatten(value: Any) -> tuple[Spec, list[Any]]:
    """Return the spec of an object and its leaves in order.

    Raises
    ------
    ArgumentError
        JG103 for an object that contains itself, JG104 for an array that cannot be a leaf.
    """
    leaves: list[Any] = []
    return _flatten(value, leaves, []), leaves


def spec_of(value: Any) -> Spec:
    """Return the spec of an object."""
    return flatten(value)[0]


def _flatten(value: Any, leaves: list[Any], above: list[int]) -> Spec:
    cls = type(value)
    if cls is np.ndarray:
        leaves.append(value)
        return _array_spec(value)
    if cls in _NUMBERS:
        if cls is int and not -(2**63) <= value < 2**63:
            raise error("JG104", what=f"an int of more than 64 bits ({value})")
        leaves.append(value)
        return NumberSpec(_NUMBERS[cls], _PYTHON_DTYPES[_NUMBERS[cls]])
    if isinstance(value, np.generic) and value.dtype.kind in "biufc":
        leaves.append(value)
        return NumberSpec("numpy", value.dtype)
    if isinstance(value, np.memmap):
        leaves.append(value)
        return _array_spec(value)
    if isinstance(value, np.ndarray):
        raise error("JG104", what=f"a {cls.__module__}.{cls.__qualname__}")
    if isinstance(value, _STATIC):
        return StaticSpec(value)
    if isinstance(value, _OPAQUE) or getattr(cls, "_jitgrad_transformed", False):
        return OpaqueSpec(value)
    if id(value) in above:
        raise error("JG103", what=cls.__name__)
    above.append(id(value))
    try:
        return _flatten_container(value, cls, leaves, above)
    finally:
        above.pop()


def _flatten_container(value: Any, cls: type, leaves: list[Any], above: list[int]) -> Spec:
    if isinstance(value, tuple):
        return TupleSpec(cls, tuple(_flatten(v, leaves, above) for v in value))
    if cls is list:
        return ListSpec(tuple(_flatten(v, leaves, above) for v in value))
    if isinstance(value, dict):
        return DictSpec(tuple(value), tuple(_flatten(v, leaves, above) for v in value.values()))
    attributes = attributes_of(value)
    if attributes is None:
        return OpaqueSpec(value)
    children = tuple(_flatten(v, leaves, above) for v in attributes.values())
    return ObjectSpec(cls, tuple(attributes), children)


def _array_spec(value: np.ndarray) -> ArraySpec:
    if value.dtype.kind not in "biufc" or value.dtype.itemsize > 16:
        raise error("JG104", what=f"an array of dtype {value.dtype}")
    flags = value.flags
    dtype = value.dtype if value.dtype.isnative else value.dtype.newbyteorder("=")
    size = value.dtype.itemsize
    if flags.c_contiguous:
        return ArraySpec(dtype, value.shape, "C")
    if not value.dtype.isnative or not flags.aligned or any(s % size for s in value.strides):
        return ArraySpec(dtype, value.shape, "copied")
    if flags.f_contiguous:
        return ArraySpec(dtype, value.shape, "F")
    return ArraySpec(dtype, value.shape, tuple(s // size for s in value.strides))


def rebuild_object(cls: type, names: Sequence[str], values: Sequence[Any]) -> Any:
    """Return an object of a class with these attributes; neither `__init__` nor `__setattr__` runs."""
    new: Any = cls.__new__
    made = new(cls)
    for name, value in zip(names, values, strict=True):
        object.__setattr__(made, name, value)
    return made


def unflatten(spec: Any, leaves: Iterator[Any]) -> Any:
    """Return the object of a spec, taking its leaves in order; the inverse of `flatten`."""
    if is_leaf(spec):
        return next(leaves)
    if isinstance(spec, StaticSpec | OpaqueSpec):
        return spec.value
    if isinstance(spec, TupleSpec):
        items = [unflatten(c, leaves) for c in spec.children]
        return tuple(items) if spec.cls is tuple else spec.cls(*items)
    if isinstance(spec, ListSpec):
        return [unflatten(c, leaves) for c in spec.children]
    if isinstance(spec, DictSpec):
        return {k: unflatten(c, leaves) for k, c in zip(spec.keys, spec.children, strict=True)}
    assert isinstance(spec, ObjectSpec)
    return rebuild_object(spec.cls, spec.names, [unflatten(c, leaves) for c in spec.children])


def leaves_of(spec: Any) -> list[Any]:
    """Return the leaf specs of a spec in order."""
    if is_leaf(spec):
        return [spec]
    return [leaf for child in getattr(spec, "children", ()) for leaf in leaves_of(child)]


def with_arrays(spec: Any, arrays: Iterator[tuple[tuple[int | Size, ...], Any]]) -> Any:
    """Return a spec with other shapes and layouts of its arrays, in order."""
    if isinstance(spec, ArraySpec):
        shape, layout = next(arrays)
        return replace(spec, shape=shape, layout=layout)
    children = getattr(spec, "children", None)
    return spec if children is None else replace(spec, children=tuple(with_arrays(c, arrays) for c in children))
