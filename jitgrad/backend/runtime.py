"""The callable whose calls are answered by machine code.

In: a Python class that has `_slow_call`. Out: a type of the same name and attributes whose instances answer a call by
the specialisations that were installed, without a Python frame, and pass any other call to `_slow_call`. Where native
calls are not possible (see `capi`) the class itself comes back, with a `__call__` that calls `_slow_call`.

This room knows neither signatures nor compiling. `api` makes the type, the slow path installs.
"""

from __future__ import annotations

import ctypes
import types
from typing import Any, TypeVar

from jitgrad.backend import capi
from jitgrad.backend.callsupport import INSTANCE_BYTES, OFFSETS, address
from jitgrad.backend.specialisation import Specialisation

__all__ = ["callable_type", "install", "is_native_type"]

T = TypeVar("T")

# Numbers of slots and flags in CPython's stable ABI.
_SLOTS = {"tp_call": 50, "tp_clear": 51, "tp_dealloc": 52, "tp_descr_get": 54, "tp_new": 65, "tp_traverse": 71}
_TP_MEMBERS, _TP_GETSET = 72, 73
_BASETYPE, _HAVE_VECTORCALL, _HAVE_GC, _METHOD_DESCRIPTOR, _HAVE_VERSION_TAG = (1 << n for n in (10, 11, 14, 17, 18))
_READONLY, _PYSSIZET = 1, 19

# Attributes of a class that its native twin has of its own, or cannot take over.
_OWN = frozenset({"__dict__", "__weakref__", "__call__", "__get__", "__firstlineno__", "__static_attributes__"})

# The types made here, each with the memory that it was made from, which must stay.
_made: dict[type, tuple[Any, ...]] = {}


class _Slot(ctypes.Structure):
    _fields_ = (("slot", ctypes.c_int), ("value", ctypes.c_void_p))


class _Spec(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("basicsize", ctypes.c_int),
        ("itemsize", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("slots", ctypes.POINTER(_Slot)),
    )


class _Member(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("offset", ctypes.c_ssize_t),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


class _GetSet(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("get", ctypes.c_void_p),
        ("set", ctypes.c_void_p),
        ("doc", ctypes.c_char_p),
        ("closure", ctypes.c_void_p),
    )


def callable_type(cls: type[T]) -> type[T]:
    """Return a type like a class, whose instances call machine code (a class decorator).

    Parameters
    ----------
    cls : type
        Derives from object only, has no `__slots__`, does not use `super()`, and defines

            def _slow_call(self, *args, **kwargs): ...

        for calls that no installed specialisation answers. Its own `__call__` and `__get__` are not used: instances
        bind as methods like functions.

    Returns
    -------
    type
        Instances have a `__dict__`, weak references and take part in garbage collection. Subclasses work too, but on
        Python 3.11 their calls pass through `tp_call`, some 30 ns slower.
    """
    if not capi.native():
        return _python_type(cls)
    made = _native_type(f"{cls.__module__}.{cls.__qualname__}")
    for name, value in vars(cls).items():
        if name not in _OWN:
            setattr(made, name, value)
    return made


def is_native_type(cls: type) -> bool:
    """Whether a type was made by `callable_type` around machine code, or derives from one that was."""
    return any(base in _made for base in cls.__mro__)


def install(target: Any, specialisation: Specialisation) -> None:
    """Let calls of an instance try a specialisation first.

    Four are tried, the newest first; a fifth pushes the oldest out, which the slow path may install again. Nothing
    happens where either is not native.
    """
    if specialisation.is_native and is_native_type(type(target)):
        install_native = ctypes.PYFUNCTYPE(None, ctypes.py_object, ctypes.py_object, *[ctypes.c_void_p] * 2)
        install_native(address("jg_install"))(target, specialisation, specialisation.entry, specialisation.table)


def _native_type(name: str) -> Any:
    """Make a heap type with the layout of `callsupport`."""
    offsets = {"__vectorcalloffset__": "vectorcall", "__dictoffset__": "dict", "__weaklistoffset__": "weakrefs"}
    members = (_Member * (len(offsets) + 1))()
    for k, (key, place) in enumerate(offsets.items()):
        members[k] = _Member(key.encode(), _PYSSIZET, OFFSETS[place], _READONLY, None)
    getset = (_GetSet * 2)()
    getset[0] = _GetSet(b"__dict__", address("PyObject_GenericGetDict"), address("PyObject_GenericSetDict"), None, None)
    functions = {
        "tp_call": "PyVectorcall_Call",
        "tp_clear": "jg_clear",
        "tp_dealloc": "jg_dealloc",
        "tp_descr_get": "jg_get",
        "tp_new": "jg_new",
        "tp_traverse": "jg_traverse",
    }
    values = {_SLOTS[slot]: address(function) for slot, function in functions.items()}
    values |= {_TP_MEMBERS: ctypes.addressof(members), _TP_GETSET: ctypes.addressof(getset)}
    slots = (_Slot * (len(values) + 1))()
    for k, (number, value) in enumerate(values.items()):
        slots[k] = _Slot(number, value)
    flags = _BASETYPE | _HAVE_VECTORCALL | _HAVE_GC | _METHOD_DESCRIPTOR | _HAVE_VERSION_TAG
    spec = _Spec(name.encode(), INSTANCE_BYTES, 0, flags, slots)
    from_spec = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p)(("PyType_FromSpec", ctypes.pythonapi))
    made = from_spec(ctypes.addressof(spec))
    _made[made] = (spec, slots, members, getset)
    return made


def _python_type(cls: Any) -> Any:
    """Give a class the `__call__` and `__get__` that the native type has."""

    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        return self._slow_call(*args, **kwargs)

    def __get__(self: Any, instance: Any, owner: type | None = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    cls.__call__ = __call__
    cls.__get__ = __get__
    return cls
