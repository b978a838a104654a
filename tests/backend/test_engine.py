"""IR text to loaded code: levels, lifetime, symbols, errors."""

from __future__ import annotations

import ctypes
import gc
import math
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import jitgrad
from jitgrad.backend import engine
from jitgrad.backend.engine import LEVELS, compile_module, define_on_demand, define_symbol, host, load_object
from jitgrad.errors import InternalError
from tests import kept_code

SQUARE = """
define double @square(double %x) {
  %slot = alloca double
  store double %x, ptr %slot
  %y = load double, ptr %slot
  %r = fmul double %y, %y
  ret double %r
}
"""

SUM = """
define void @scale(ptr noalias %x, ptr noalias %y, i64 %n) {
entry:
  %any = icmp sgt i64 %n, 0
  br i1 %any, label %loop, label %done
loop:
  %i = phi i64 [ 0, %entry ], [ %next, %loop ]
  %p = getelementptr double, ptr %x, i64 %i
  %v = load double, ptr %p
  %w = fmul double %v, 3.0
  %q = getelementptr double, ptr %y, i64 %i
  store double %w, ptr %q
  %next = add nsw nuw i64 %i, 1
  %more = icmp slt i64 %next, %n
  br i1 %more, label %loop, label %done
done:
  ret void
}
"""


@pytest.fixture(autouse=True)
def everything_is_made_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_made", kept_code.MADE)


def call(address: int, x: float) -> float:
    return ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(address)(x)


@pytest.mark.parametrize("level", LEVELS)
def test_compiles_and_times(level: str) -> None:
    code = compile_module(SQUARE, level=level)
    assert call(code.address("square"), 3.0) == 9.0
    assert code.timing.total_ms >= code.timing.codegen_ms > 0
    assert code.timing.parse_ms > 0
    assert code.timing.optimise_ms > 0
    assert ("alloca" in code.optimised_ir()) == (level == "quick")
    assert "square" in code.assembly()
    assert code.ir() == SQUARE


def test_full_vectorises_scalar_loops_and_minimal_does_not() -> None:
    full = compile_module(SUM, level="full")
    assert " x double>" in full.optimised_ir()
    assert " x double>" not in compile_module(SUM, level="minimal").optimised_ir()
    x, y = np.arange(37.0), np.zeros(37)
    prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
    prototype(full.address("scale"))(x.ctypes.data, y.ctypes.data, 37)
    assert (y == 3 * x).all()


def test_code_lives_as_long_as_its_object() -> None:
    kept = [compile_module(SQUARE, level="minimal") for _ in range(5)]
    addresses = {c.address("square") for c in kept}
    assert len(addresses) == 5
    del kept[1:]
    gc.collect()
    assert call(kept[0].address("square"), 4.0) == 16.0


def test_object_code_is_the_same_in_another_process_and_loads_again() -> None:
    script = (
        "import sys, hashlib; from jitgrad.backend.engine import compile_module;"
        "print(hashlib.sha256(compile_module(sys.stdin.read(), level='full').object_code()).hexdigest())"
    )
    text = (
        SQUARE
        + "declare double @cbrt(double)\ndefine double @root(double %x) {\n"
        + ("  %r = call double @cbrt(double %x)\n  ret double %r\n}\n")
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script], input=text, capture_output=True, text=True, check=True, env={**os.environ}
        ).stdout
        for _ in range(2)
    }
    assert len(digests) == 1
    loaded = load_object(compile_module(text, level="full").object_code())
    assert call(loaded.address("square"), 5.0) == 25.0
    assert call(loaded.address("root"), 27.0) == math.cbrt(27.0)
    with pytest.raises(InternalError, match="no IR"):
        loaded.assembly()


def test_externals_are_found_by_name_in_our_table_and_in_the_process() -> None:
    @ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)
    def twice(x: float) -> float:
        return 2 * x

    address = ctypes.cast(twice, ctypes.c_void_p).value
    assert address is not None
    text = """
    declare double @jg_test_twice(double)
    declare double @cos(double)
    define double @f(double %x) {
      %a = call double @jg_test_twice(double %x)
      %b = call double @cos(double %a)
      ret double %b
    }
    """
    code = compile_module(text, externals={"jg_test_twice": address})
    assert call(code.address("f"), 0.25) == np.cos(0.5)
    define_symbol("jg_test_twice", address)
    with pytest.raises(InternalError, match="defined twice"):
        define_symbol("jg_test_twice", address + 1)
    with pytest.raises(InternalError, match="cannot be defined"):
        define_symbol("cos", address)


def test_externals_on_demand_are_compiled_once_when_needed() -> None:
    asked: list[str] = []

    def emit() -> str:
        asked.append("once")
        return "\n".join(
            f"define double @jg_test_{name}(double %x) {{ %y = fmul double %x, {by}  ret double %y }}"
            for name, by in (("thrice", "3.0"), ("fourfold", "4.0"))
        )

    define_on_demand(["jg_test_thrice", "jg_test_fourfold"], emit)
    assert not asked
    for name, want in (("thrice", 1.5), ("fourfold", 2.0), ("thrice", 1.5)):
        text = f"declare double @jg_test_{name}(double)  define double @f(double %x) {{ "
        text += f"%y = call double @jg_test_{name}(double %x)  ret double %y }}"
        code = compile_module(text, level="minimal")
        assert call(code.address("f"), 0.5) == want
    assert asked == ["once"]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("define double @f() { ret float 1.0 }", "not valid"),
        ("define double @f() {\n  %x = fadd double %x, 1.0\n  ret double %x\n}", "not valid"),
        ("declare void @jg_nowhere()\ndefine void @f() {\n  call void @jg_nowhere()\n  ret void\n}", "nowhere"),
        ("@jg_nothing = external global i64\ndefine ptr @f() {\n  ret ptr @jg_nothing\n}", "nowhere"),
    ],
)
def test_bad_modules_raise(text: str, match: str) -> None:
    with pytest.raises(InternalError, match=match):
        compile_module(text)


def test_unknown_names_raise() -> None:
    with pytest.raises(InternalError, match="does not define cube"):
        compile_module(SQUARE).address("cube")
    with pytest.raises(InternalError, match="no level"):
        compile_module(SQUARE, level="O9")


def test_threads_may_compile_at_once() -> None:
    found: list[float] = []

    def work() -> None:
        for _ in range(5):
            code = compile_module(SQUARE, level="minimal")
            found.append(call(code.address("square"), 3.0))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [9.0] * 20


def test_host_names_its_features() -> None:
    assert host().triple
    assert host().cpu
    assert "+" in host().features or "-" in host().features


def test_features_that_go_without_saying_make_no_other_code(monkeypatch: pytest.MonkeyPatch) -> None:
    text = """
define void @sum(ptr %x, ptr %y, i64 %n) {
  %a = load <16 x double>, ptr %x, align 8
  %b = load <16 x double>, ptr %y, align 8
  %c = fmul contract <16 x double> %a, %b
  %d = fadd contract <16 x double> %c, %a
  %m = fcmp olt <16 x double> %d, zeroinitializer
  %s = select <16 x i1> %m, <16 x double> %d, <16 x double> %b
  store <16 x double> %s, ptr %y, align 8
  %z = call i64 @llvm.ctlz.i64(i64 %n, i1 false)
  %p = call i64 @llvm.ctpop.i64(i64 %z)
  store i64 %p, ptr %x
  ret void
}
declare i64 @llvm.ctlz.i64(i64, i1)
declare i64 @llvm.ctpop.i64(i64)
"""
    few = engine._named_features()
    lacking = [f for f in host().features.split(",") if f.startswith("-")]
    assert set(lacking) <= set(few.split(","))  # what the processor's name promises and this one does not have
    made = compile_module(text).object_code()
    monkeypatch.setattr(engine, "_named_features", lambda: host().features)
    assert compile_module(text).object_code() == made


HELPER = """\
define internal fastcc double @jg_thrice(double %a0) nounwind willreturn memory(none) {
entry:
  %r = fmul double %a0, 3.0
  ret double %r
}"""


def _caller(name: str) -> str:
    return f"""
define double @{name}(double %x) {{
  %y = call fastcc double @jg_thrice(double %x)
  ret double %y
}}
{HELPER}
"""


def test_helpers_are_compiled_once_and_last(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    parsed = engine._parsed
    monkeypatch.setattr(engine, "_parsed", lambda ir, level: (texts.append(ir), parsed(ir, level))[1])
    codes = [
        compile_module(_caller(name), level=level, helpers={"jg_thrice": HELPER})
        for name, level in (("f", "minimal"), ("g", "loops"), ("h", "full"))
    ]
    assert "define fastcc double @jg_thrice" in texts[0]
    assert "declare fastcc double @jg_thrice" in texts[1]
    assert "define internal fastcc double @jg_thrice" in texts[2]  # LLVM's vectorisers see what it does
    # Whoever asks is shown a whole module, and what is stored needs nothing of this process.
    assert all(HELPER in code.ir() for code in codes)
    loaded = load_object(codes[1].object_code())
    first = codes.pop(0)
    assert call(first.address("f"), 2.0) == 6.0
    del first
    gc.collect()
    for code, name in zip((*codes, loaded), ("g", "h", "g"), strict=True):
        assert call(code.address(name), 2.0) == 6.0


def test_what_other_programs_have_called_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    parsed = engine._parsed
    monkeypatch.setattr(engine, "_parsed", lambda ir, level: (texts.append(ir), parsed(ir, level))[1])
    x = np.linspace(-1.0, 1.0, 5000)
    for _ in range(2):
        texts.clear()
        total = jitgrad.jit(lambda a: np.sum(np.exp(a) * a))
        assert total(x) == pytest.approx(np.sum(np.exp(x) * x), rel=1e-13)
    body = next(t for t in texts if "@body" in t)
    for name in ("jg_exp_", "jg_cascade_"):
        lines = [line for line in body.split("\n") if f"@{name}" in line and "call" not in line]
        assert lines, name
        assert all(line.startswith("declare ") for line in lines), name
