"""BLAS and LAPACK routines found in the process: called for real, hidden, and spelled as other builds spell them."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest
import scipy.linalg.cython_blas
import scipy.linalg.cython_lapack

from jitgrad.backend import blas
from jitgrad.backend.blas import Routine, find, hidden, symbols
from jitgrad.backend.engine import compile_module

ROW_MAJOR, NO_TRANSPOSE = 101, 111
REAL = {"d": (np.float64, ctypes.c_double), "s": (np.float32, ctypes.c_float)}


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with nothing found."""
    monkeypatch.setattr(blas, "_found", {})


def integer(routine: Routine) -> Any:
    return ctypes.c_int64 if routine.integer_bits == 64 else ctypes.c_int32


def need(name: str, *, fortran: bool = False) -> Routine:
    """Return a routine in the form that this installation has."""
    found = find(name, fortran=fortran)
    assert found is not None, "the wheels of NumPy carry OpenBLAS"
    return found


@pytest.mark.parametrize("kind", ["d", "s"])
def test_gemm_multiplies(kind: str) -> None:
    dtype, real = REAL[kind]
    routine = need(kind + "gemm")
    assert routine.convention == "cblas"
    i, p, order = integer(routine), ctypes.c_void_p, ctypes.c_int
    gemm = ctypes.CFUNCTYPE(None, order, order, order, i, i, i, real, p, i, p, i, real, p, i)(routine.address)
    rng = np.random.default_rng(1)
    a, b = rng.standard_normal((3, 4)).astype(dtype), rng.standard_normal((4, 5)).astype(dtype)
    c = np.full((3, 5), np.nan, dtype)
    gemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, 3, 5, 4, 1.0, a.ctypes.data, 4, b.ctypes.data, 5, 0.0, c.ctypes.data, 5)
    np.testing.assert_allclose(c, a @ b, rtol=1e-5 if kind == "s" else 1e-13)


@pytest.mark.parametrize("kind", ["d", "s"])
def test_gemv_and_dot(kind: str) -> None:
    dtype, real = REAL[kind]
    routine, dot = need(kind + "gemv"), need(kind + "dot")
    i, p, order = integer(routine), ctypes.c_void_p, ctypes.c_int
    rng = np.random.default_rng(2)
    a, x, y = rng.standard_normal((3, 4)).astype(dtype), rng.standard_normal(4).astype(dtype), np.zeros(3, dtype)
    gemv = ctypes.CFUNCTYPE(None, order, order, i, i, real, p, i, p, i, real, p, i)(routine.address)
    gemv(ROW_MAJOR, NO_TRANSPOSE, 3, 4, 1.0, a.ctypes.data, 4, x.ctypes.data, 1, 0.0, y.ctypes.data, 1)
    np.testing.assert_allclose(y, a @ x, rtol=1e-5 if kind == "s" else 1e-13)
    got = ctypes.CFUNCTYPE(real, i, p, i, p, i)(dot.address)(4, x.ctypes.data, 1, a.ctypes.data, 1)
    np.testing.assert_allclose(got, x @ a[0], rtol=1e-5 if kind == "s" else 1e-13)


def test_lapack_factorises() -> None:
    routine = need("dpotrf")
    assert routine.convention == "fortran"
    i = integer(routine)
    a = np.array([[4.0, 2.0], [2.0, 5.0]], order="F")
    lower, n, info = ctypes.c_char(b"L"), i(2), i(7)
    potrf = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 5, ctypes.c_size_t)(routine.address)
    address = ctypes.addressof
    potrf(address(lower), address(n), a.ctypes.data, address(n), address(info), 1)
    assert info.value == 0
    np.testing.assert_allclose(np.tril(a), [[2.0, 0.0], [1.0, 2.0]])


def test_every_routine_is_found_in_the_wheels() -> None:
    missing = [name for name in (*blas.BLAS, *blas.LAPACK) if find(name) is None]
    assert missing == []


def test_unknown_routines_are_refused() -> None:
    with pytest.raises(ValueError, match="dgem"):
        find("dgem")


def test_hidden_hides_and_restores() -> None:
    with hidden():
        assert find("dgemm") is None
        assert find("dgetrf") is None
        with hidden():
            assert find("ddot") is None
        assert find("dgemm") is None
    assert find("dgemm") is not None


def test_emitted_code_reaches_it_by_symbol() -> None:
    routine = need("ddot")
    word = f"i{routine.integer_bits}"
    code = compile_module(
        f"""
        declare double @{routine.symbol}({word}, ptr, {word}, ptr, {word})
        define double @norm2(ptr %x) {{
          %r = call double @{routine.symbol}({word} 3, ptr %x, {word} 1, ptr %x, {word} 1)
          ret double %r
        }}
        """,
        level="minimal",
        externals=symbols(),
    )
    x = np.array([1.0, 2.0, 3.0])
    assert ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_void_p)(code.address("norm2"))(x.ctypes.data) == 14.0


class Library:
    """A library with some symbols, all at addresses that nobody calls."""

    def __init__(self, *names: str) -> None:
        for number, name in enumerate(names):
            setattr(self, name, ctypes.c_void_p(0x1000 + number))


@pytest.mark.usefixtures("forget")
@pytest.mark.parametrize(
    ("symbol", "name", "convention", "bits"),
    [
        ("cblas_dgemm64_", "dgemm", "cblas", 64),
        ("cblas_dgemm$NEWLAPACK$ILP64", "dgemm", "cblas", 64),
        ("cblas_dgemm", "dgemm", "cblas", 32),
        ("dgetrf_64_", "dgetrf", "fortran", 64),
        ("dgetrf_", "dgetrf", "fortran", 32),
    ],
)
def test_other_spellings(monkeypatch: pytest.MonkeyPatch, symbol: str, name: str, convention: str, bits: int) -> None:
    monkeypatch.setattr(blas, "_libraries", lambda: [Library(), Library(symbol)])
    monkeypatch.setattr(blas, "_numpy_is_ilp64", lambda: False)
    assert find(name) == Routine(name, 0x1000, convention, bits)


@pytest.mark.usefixtures("forget")
def test_plain_names_are_not_trusted_in_a_build_with_long_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "_libraries", lambda: [Library("cblas_dgemm")])
    monkeypatch.setattr(blas, "_numpy_is_ilp64", lambda: True)
    assert find("dgemm") is None


@pytest.mark.usefixtures("forget")
def test_scipy_is_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas, "_libraries", list)
    assert "ddot" in scipy.linalg.cython_blas.__pyx_capi__
    assert "dgetrf" in scipy.linalg.cython_lapack.__pyx_capi__
    assert find("ddot") is None
    routine = find("ddot", fortran=True)
    assert routine is not None
    assert (routine.convention, routine.integer_bits) == ("fortran", 32)
    one, n = ctypes.c_int32(1), ctypes.c_int32(2)
    x = np.array([3.0, 4.0])
    dot = ctypes.CFUNCTYPE(ctypes.c_double, *[ctypes.c_void_p] * 5)(routine.address)
    addressof = ctypes.addressof
    assert dot(addressof(n), x.ctypes.data, addressof(one), x.ctypes.data, addressof(one)) == 25.0
    assert find("dgetrf") is not None
    monkeypatch.setattr(blas.sys, "modules", {})
    monkeypatch.setattr(blas, "_found", {})
    assert find("ddot", fortran=True) is None
