"""NumPy's own sorts and searches of the numbers of one type, by address.

In: the name of a kernel and a dtype. Out: the symbol under which emitted code calls it; None if it is not to be had,
upon which the caller emits code of its own. NumPy keeps them in a table for each dtype (`PyArray_ArrFuncs`, of fixed
layout); they take plain memory without gaps, know nothing of Python and use the vectors that the processor has. Each is
tried on a few numbers before it is named.

This room knows no LLVM. The emitter calls what it gives; `symbols()` gives what the engine needs.
"""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import numpy as np

from jitgrad.backend.capi import address, supported

__all__ = ["find", "symbols"]

# Places in the table of functions of a dtype.
_PLACES = {"argmax": 26, "sort": 33, "argsort": 36, "argmin": 46}
_TRIED = np.array([3, 1, 2, 0, 1])

_lock = threading.Lock()
_found: dict[str, int] = {}


def find(name: str, dtype: np.dtype) -> str | None:
    """Return the symbol of a kernel, or None.

    Parameters
    ----------
    name : {'sort', 'argsort', 'argmax', 'argmin'}
        `int sort(data, n, NULL)` sorts in place; `int argsort(data, order, n, NULL)` the positions that it is given in
        `order`, neither of them stably; `int argmax(data, n, place, NULL)` writes the first place of the largest, or of
        a NaN, for n > 0.
    dtype : numpy.dtype
    """
    symbol = f"jg_numpy_{name}_{dtype.name}"
    with _lock:
        if symbol not in _found:
            _found[symbol] = _search(name, dtype)
        return symbol if _found[symbol] else None


def symbols() -> dict[str, int]:
    """Return symbol and address of every kernel that `find` has found so far."""
    with _lock:
        return {symbol: at for symbol, at in _found.items() if at}


def _search(name: str, dtype: np.dtype) -> int:
    if not supported() or dtype.kind not in "biuf" or not dtype.isnative:
        return 0
    table_of = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object)(address("_PyDataType_GetArrFuncs"))
    table = table_of(dtype)
    if not table:
        return 0
    at = ctypes.c_void_p.from_address(table + 8 * _PLACES[name]).value
    return at if at and _works(name, at, dtype) else 0


def _works(name: str, at: int, dtype: np.dtype) -> bool:
    """Try a kernel."""
    data = _TRIED.astype(dtype)
    n, pointer, size = len(data), ctypes.c_void_p, ctypes.c_ssize_t
    where = np.arange(n)
    want: Any = getattr(np, name)(data)
    if name == "sort":
        ctypes.CFUNCTYPE(ctypes.c_int, pointer, size, pointer)(at)(data.ctypes.data, n, None)
        return bool(np.array_equal(data, want))
    if name == "argsort":
        argsort = ctypes.CFUNCTYPE(ctypes.c_int, pointer, pointer, size, pointer)(at)
        argsort(data.ctypes.data, where.ctypes.data, n, None)
        return bool(np.array_equal(where, want))
    search = ctypes.CFUNCTYPE(ctypes.c_int, pointer, size, pointer, pointer)(at)
    search(data.ctypes.data, n, where.ctypes.data, None)
    return bool(where[0] == want)
