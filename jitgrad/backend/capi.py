"""Where the C interfaces of CPython and NumPy are in this process, and whether native calls may rely on them.

In: the name of an API function. Out: its address. `supported()` says whether emitted code may call in and out of Python
here: a build with the GIL and without debugging fields, 64-bit pointers, and the few structure fields that emitted code
reads (`PyObject.ob_type`, `PyFloatObject.ob_fval`, the documented head of `PyArrayObject` and `PyArray_Descr`) found
where they are expected, which is tried on real objects. Where it says no, and where `python_only()` is in force (or the
environment variable JITGRAD_PYTHON_ENTRY is set), calls take the path of `pyrun`.

This room emits nothing.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import numpy as np

__all__ = ["ARRAY", "DESCR", "OB_TYPE", "OB_VALUE", "address", "native", "python_only", "supported"]

# Offsets of the fields that emitted code reads, in bytes.
OB_TYPE = 8
OB_VALUE = 16  # ob_fval of a float, and of np.float64, which is one
ARRAY = {"data": 16, "nd": 24, "dimensions": 32, "strides": 40, "descr": 56, "flags": 64}
DESCR = {"byteorder": 26, "type_num": 28}

# Places in NumPy's table of API functions (fixed for ever by its ABI).
_NUMPY = {
    "PyArray_Scalar": 60, "PyArray_ScalarAsCtype": 62, "PyArray_NewFromDescr": 94, "PyArray_SetBaseObject": 282,
    "PyDataMem_SetHandler": 304, "_PyDataType_GetArrFuncs": 365,
}  # fmt: skip

_forced = bool(os.environ.get("JITGRAD_PYTHON_ENTRY"))


def address(name: str) -> int:
    """Return the address of a function of the C API of CPython or NumPy.

    Raises
    ------
    AttributeError
        If there is none of this name.
    """
    if name in _NUMPY:
        return int(_numpy_table()[_NUMPY[name]])
    found = ctypes.cast(getattr(ctypes.pythonapi, name), ctypes.c_void_p).value
    assert found is not None
    return found


@lru_cache(maxsize=1)
def _numpy_table() -> Any:
    capsule = sys.modules["numpy._core._multiarray_umath"]._ARRAY_API
    get_pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    return (ctypes.c_void_p * 366).from_address(get_pointer(capsule, None))


def native() -> bool:
    """Whether calls are to go through emitted code, now."""
    return not _forced and supported()


@contextmanager
def python_only() -> Iterator[None]:
    """Make everything that is built within take the Python path."""
    global _forced
    before, _forced = _forced, True
    try:
        yield
    finally:
        _forced = before


@lru_cache(maxsize=1)
def supported() -> bool:
    """Whether this interpreter and this NumPy are as emitted code expects them."""
    return (
        sys.implementation.name == "cpython"
        and struct.calcsize("P") == 8
        and sys.byteorder == "little"
        and not sysconfig.get_config_var("Py_GIL_DISABLED")
        and not hasattr(sys, "gettotalrefcount")
        and _fields_are_in_place()
    )


def _fields_are_in_place() -> bool:
    """Read the fields of real objects and compare them with what Python says of the same objects."""
    value = 1234.5678
    array = np.zeros((3, 5, 7), dtype=np.float32)[:, ::2, 1:]
    word, int32 = ctypes.c_int64, ctypes.c_int32

    def read(kind: Any, at: int) -> Any:
        return kind.from_address(at).value

    for number in (value, np.float64(value)):
        at = id(number)
        if read(word, at + OB_TYPE) != id(type(number)) or read(ctypes.c_double, at + OB_VALUE) != value:
            return False
    at = id(array)
    dims, steps = read(word, at + ARRAY["dimensions"]), read(word, at + ARRAY["strides"])
    flags = (array.flags.c_contiguous, array.flags.f_contiguous, array.flags.aligned, array.flags.writeable)
    found = read(int32, at + ARRAY["flags"])
    swapped = np.dtype(np.float32).newbyteorder(">")
    return (
        read(word, at + OB_TYPE) == id(np.ndarray)
        and read(word, at + ARRAY["data"]) == array.ctypes.data
        and read(int32, at + ARRAY["nd"]) == 3
        and tuple(read(word, dims + 8 * k) for k in range(3)) == array.shape
        and tuple(read(word, steps + 8 * k) for k in range(3)) == array.strides
        and read(word, at + ARRAY["descr"]) == id(array.dtype)
        and tuple(bool(found & bit) for bit in (1, 2, 0x100, 0x400)) == flags
        and bool(read(int32, id(np.zeros(2)) + ARRAY["flags"]) & 1)
        and read(int32, id(array.dtype) + DESCR["type_num"]) == array.dtype.num
        and read(ctypes.c_char, id(swapped) + DESCR["byteorder"]) == b">"
        and read(ctypes.c_char, id(array.dtype) + DESCR["byteorder"]) == b"="
    )
