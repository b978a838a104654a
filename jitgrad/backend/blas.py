"""The BLAS and LAPACK that are already in the process, by address.

In: the name of a routine, such as "dgemm" or "dgetrf". Out: a `Routine`: its address, how it takes its arguments (CBLAS
by value, Fortran by reference) and the width of its integers; None if it is not to be had, upon which the caller calls
back to NumPy. Nothing is loaded: first come the libraries that NumPy's own extension modules are linked with (the
symbols of OpenBLAS as the wheels spell them, then the usual spellings, so that conda, Debian and Accelerate builds
work), next SciPy's `cython_blas` and `cython_lapack` if SciPy is imported already.

This room knows no LLVM and calls none of the routines. The emitter calls it; `symbols()` gives what the engine needs.
"""

from __future__ import annotations

import ctypes
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["BLAS", "LAPACK", "Routine", "find", "hidden", "symbols"]

# What the emitter may ask for: in d, s, z and c variants, or as spelled.
_BLAS_FAMILIES = ("gemm", "gemv", "scal", "axpy", "trsm", "trsv", "syrk", "symm")
_LAPACK_FAMILIES = ("getrf", "getrs", "gesv", "potrf", "potrs", "geqrf", "gesdd", "gelsd", "geev")
BLAS = (
    *(t + n for n in _BLAS_FAMILIES for t in "dszc"),
    "ddot", "sdot", "dger", "sger", "dnrm2", "snrm2", "dasum", "sasum",
)  # fmt: skip
LAPACK = (
    *(t + n for n in _LAPACK_FAMILIES for t in "dszc"),
    "dsyevd", "ssyevd", "zheevd", "cheevd", "dorgqr", "sorgqr",
)  # fmt: skip

# Spellings of symbols, with the width of their integers in bits. The order is of preference.
_CBLAS_SPELLINGS = (
    ("scipy_cblas_{}64_", 64), ("cblas_{}64_", 64), ("cblas_{}64__", 64), ("cblas_{}_64", 64),
    ("cblas_{}$NEWLAPACK$ILP64", 64), ("scipy_cblas_{}", 32), ("cblas_{}$NEWLAPACK", 32), ("cblas_{}", 32),
)  # fmt: skip
_FORTRAN_SPELLINGS = (
    ("scipy_{}_64_", 64), ("{}_64_", 64), ("{}64_", 64), ("{}_64__", 64), ("{}$NEWLAPACK$ILP64", 64),
    ("scipy_{}_", 32), ("{}$NEWLAPACK", 32), ("{}_", 32), ("{}", 32),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Routine:
    """A routine in the process.

    Attributes
    ----------
    name : str
        As it was asked for.
    address : int
    convention : str
        "cblas": CBLAS arguments, real scalars by value, complex ones by reference; no complex dot product. "fortran":
        every argument by reference, column-major, and at the end the length (size_t 1) of each character argument,
        which compiled Fortran may look at.
    integer_bits : int
        32 or 64, of every integer argument.
    symbol : str
        The name under which emitted code calls it; `symbols` defines it.
    """

    name: str
    address: int
    convention: str
    integer_bits: int

    @property
    def symbol(self) -> str:
        """Its name in emitted code, which says the form of the call too: cached object code cannot mistake it."""
        return f"jg_{self.convention}{self.integer_bits}_{self.name}"


_lock = threading.Lock()
_found: dict[tuple[str, bool], Routine | None] = {}
_hidden = False


def find(name: str, *, fortran: bool = False) -> Routine | None:
    """Return a routine of BLAS or LAPACK, or None.

    Parameters
    ----------
    name : str
        Such as "dgemm", "zgemm", "ddot", "dgetrf"; a member of `BLAS` or `LAPACK`.
    fortran : bool
        Look for the Fortran form of what CBLAS has, which is to be had from SciPy too. LAPACK is always Fortran.
    """
    if name not in BLAS and name not in LAPACK:
        raise ValueError(f"{name} is not a routine that is looked for")
    if _hidden:
        return None
    key = (name, fortran or name in LAPACK)
    with _lock:
        if _found.get(key) is None:
            _found[key] = _search(*key)
        return _found[key]


def symbols() -> dict[str, int]:
    """Return symbol and address of every routine that `find` has found so far."""
    with _lock:
        return {r.symbol: r.address for r in _found.values() if r is not None}


@contextmanager
def hidden() -> Iterator[None]:
    """Find nothing within: for testing the way through call-backs."""
    global _hidden
    before, _hidden = _hidden, True
    try:
        yield
    finally:
        _hidden = before


def _search(name: str, fortran: bool) -> Routine | None:
    spellings = _FORTRAN_SPELLINGS if fortran else _CBLAS_SPELLINGS
    convention = "fortran" if fortran else "cblas"
    for library in _libraries():
        for spelling, bits in spellings:
            address = _address(library, spelling.format(name))
            if address and _safe_width(bits, spelling):
                return Routine(name, address, convention, bits)
    return _from_scipy(name) if fortran else None


def _libraries() -> list[ctypes.CDLL]:
    """Open NumPy's extension modules again, which gives their own symbols and those of what they are linked with."""
    found = []
    for name in ("numpy._core._multiarray_umath", "numpy.linalg._umath_linalg"):
        path = getattr(sys.modules.get(name), "__file__", None)
        if path:
            try:
                found.append(ctypes.CDLL(path))
            except OSError:  # a build that has its extension modules elsewhere (frozen): nothing to be found there
                continue
    return found


def _address(library: ctypes.CDLL, symbol: str) -> int:
    try:
        return ctypes.cast(getattr(library, symbol), ctypes.c_void_p).value or 0
    except AttributeError:
        return 0


def _safe_width(bits: int, spelling: str) -> bool:
    """Whether a spelling without any mark may be taken to have 32-bit integers.

    A BLAS with 64-bit integers and plain names (`USE_BLAS_ILP64` without a suffix) would read past our integers; NumPy
    says in its configuration which it was built with.
    """
    return bits == 64 or not _numpy_is_ilp64()


def _numpy_is_ilp64() -> bool:
    try:
        config: Any = np.show_config(mode="dicts")
        blas = config["Build Dependencies"]["blas"]
    except (KeyError, TypeError, AttributeError):
        return False
    text = f"{blas.get('openblas configuration', '')} {blas.get('name', '')}"
    return "USE64BITINT" in text or "ilp64" in text.lower() or "64_" in text


def _from_scipy(name: str) -> Routine | None:
    """Take a routine from SciPy's capsules; their signature says the width of an integer."""
    which = "scipy.linalg.cython_blas" if name in BLAS else "scipy.linalg.cython_lapack"
    module = sys.modules.get(which)
    capsule = getattr(module, "__pyx_capi__", {}).get(name)
    if capsule is None:
        return None
    get_name = ctypes.pythonapi.PyCapsule_GetName
    get_name.restype, get_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    get_pointer = ctypes.pythonapi.PyCapsule_GetPointer
    get_pointer.restype, get_pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    signature = get_name(capsule)
    if not re.search(rb"\bint \*", signature):
        return None
    return Routine(name, get_pointer(capsule, signature), "fortran", 32)
