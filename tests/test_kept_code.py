"""Machine code that is taken from a directory is that of the same text, level and LLVM, and finds what it needs."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import pytest

from jitgrad.backend import engine
from jitgrad.backend.engine import Code, compile_module, define_symbol
from jitgrad.errors import InternalError
from tests import kept_code

TEXT = """
declare double @jg_kept_outside(double)

define double @f(double %x) {
  %y = call double @jg_kept_outside(double %x)
  %r = fadd double %y, 1.0
  ret double %r
}
"""


@ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)
def outside(x: float) -> float:
    return 3.0 * x


def value(code: Code, x: float) -> float:
    return ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(code.address("f"))(x)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The texts that LLVM makes code of."""
    texts: list[str] = []

    def making(text: str, *rest: Any) -> Any:
        texts.append(text)
        return kept_code_made(text, *rest)

    kept_code_made = kept_code.MADE
    monkeypatch.setattr(kept_code, "MADE", making)
    monkeypatch.setattr(engine, "_made", making)
    kept_code.keep_code(tmp_path)
    define_symbol("jg_kept_outside", ctypes.cast(outside, ctypes.c_void_p).value or 0)
    return texts


def test_a_text_is_made_once(made: list[str]) -> None:
    first, second = compile_module(TEXT), compile_module(TEXT)
    assert value(first, 2.0) == value(second, 2.0) == 7.0
    assert made == [TEXT]


def test_another_text_level_or_version_is_made_anew(made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    other = TEXT.replace("1.0", "2.0")
    assert [value(compile_module(text), 2.0) for text in (TEXT, other)] == [7.0, 8.0]
    assert value(compile_module(TEXT, level="quick"), 2.0) == 7.0
    monkeypatch.setattr(kept_code.llvmlite, "__version__", "0")
    assert value(compile_module(TEXT), 2.0) == 7.0
    assert made == [TEXT, other, TEXT, TEXT]


def test_what_is_nowhere_to_be_found_is_not_loaded(made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    compile_module(TEXT)
    monkeypatch.setattr(engine, "_have", lambda name: name != "jg_kept_outside")
    with pytest.raises(InternalError, match="jg_kept_outside"):
        compile_module(TEXT)
