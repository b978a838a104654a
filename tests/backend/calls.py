"""What the tests of calls share: small bodies, a callable that counts slow calls, trees, facts."""

from __future__ import annotations

import ctypes
import dataclasses
from typing import Any, NamedTuple

import numpy as np

from jitgrad.backend.form import (
    CallForm,
    NumberResult,
    ScalarLeaf,
)
from jitgrad.backend.runtime import callable_type, install
from jitgrad.backend.specialisation import Specialisation, link

F8, F4, I8, C16 = (np.dtype(t) for t in (np.float64, np.float32, np.int64, np.complex128))
FLOAT, INT = ScalarLeaf("float", F8), ScalarLeaf("int", I8)
FLOAT_RESULT = NumberResult("float", F8)

HEAD = "define i32 @body(ptr %in, ptr %out, ptr %arena, ptr %err) {\n"
NOTHING = HEAD + "  ret i32 0\n}\n"

# The gradient of x * x.
TWICE = HEAD + (
    "  %x = load double, ptr %in\n  %y = fmul double %x, 2.0\n  store double %y, ptr %out\n  ret i32 0\n}\n"
)

# out[i] = 2 * in[i] of 4 doubles.
TWICE_4 = HEAD + (
    "  %x = load ptr, ptr %in\n  %y = load ptr, ptr %out\n  %v = load <4 x double>, ptr %x, align 8\n"
    "  %w = fmul <4 x double> %v, splat (double 2.0)\n  store <4 x double> %w, ptr %y, align 8\n  ret i32 0\n}\n"
)


def copy_words(count: int) -> str:
    """Return a body that copies words of inputs to outputs."""
    lines = []
    for k in range(count):
        lines += [
            f"  %p{k} = getelementptr i64, ptr %in, i64 {k}",
            f"  %q{k} = getelementptr i64, ptr %out, i64 {k}",
            f"  %w{k} = load i64, ptr %p{k}",
            f"  store i64 %w{k}, ptr %q{k}",
        ]
    return HEAD + "\n".join(lines) + "\n  ret i32 0\n}\n"


def gather(leaves: int, offsets: list[int], types: list[str]) -> str:
    """Return a body that sums the numbers among its words (doubles, int64) into a double."""
    lines = ["  %s0 = fadd double 0.0, 0.0"]
    for k, (at, kind) in enumerate(zip(offsets, types, strict=True)):
        lines.append(f"  %p{k} = getelementptr i64, ptr %in, i64 {at}")
        if kind == "i64":
            lines += [f"  %i{k} = load i64, ptr %p{k}", f"  %x{k} = sitofp i64 %i{k} to double"]
        elif kind == "array":
            lines += [f"  %a{k} = load ptr, ptr %p{k}", f"  %x{k} = load double, ptr %a{k}"]
        else:
            lines.append(f"  %x{k} = load double, ptr %p{k}")
        lines.append(f"  %s{k + 1} = fadd double %s{k}, %x{k}")
    return HEAD + "\n".join(lines) + f"\n  store double %s{leaves}, ptr %out\n  ret i32 0\n}}\n"


def never(site: int, operands: tuple[int, ...]) -> Any:
    raise AssertionError((site, operands))


def made(form: CallForm, body: str, **more: Any) -> Specialisation:
    return link(form, body, **({"on_error": never, "level": "minimal"} | more))


@callable_type
class Target:
    """Says what came the slow way."""

    def __init__(self, *specialisations: Specialisation) -> None:
        self.calls = 0
        for specialisation in specialisations:
            install(self, specialisation)

    def _slow_call(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return "slow", args, kwargs


def answers(form: CallForm, body: str, *args: Any, **kwargs: Any) -> Any:
    """Return the native answer to one call."""
    target = Target(made(form, body))
    got = target(*args, **kwargs)
    assert target.calls == 0, "declined"
    return got


def declines(form: CallForm, *args: Any, **kwargs: Any) -> bool:
    """Whether the native entry leaves a call to the slow path."""
    target = Target(made(form, NOTHING))
    target(*args, **kwargs)
    return target.calls == 1


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass
class Layer:
    w: Any
    b: Any


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    w: Any
    b: Any


class Mixed:
    __slots__ = ("__dict__", "a", "c")

    def __init__(self, a: Any, b: Any) -> None:
        self.a, self.b = a, b


class Fact(NamedTuple):
    source: tuple[Any, ...]
    rule: str
    expected: Any = None


ARENA = (
    """
declare void @jg_test_reenter(i64)
"""
    + HEAD
    + """
  %x = load i64, ptr %in
  %a = ptrtoint ptr %arena to i64
  %low = and i64 %a, 63
  %last = getelementptr i8, ptr %arena, i64 19992
  store i64 %x, ptr %arena
  store i64 %x, ptr %last
  %deeper = icmp sgt i64 %x, 0
  br i1 %deeper, label %again, label %done
again:
  %y = sub i64 %x, 1
  call void @jg_test_reenter(i64 %y)
  br label %done
done:
  %v = load i64, ptr %arena
  %w = load i64, ptr %last
  %s = add i64 %v, %w
  %t = add i64 %s, %low
  store i64 %t, ptr %out
  ret i32 0
}
"""
)

reentered: list[Any] = []


@ctypes.PYFUNCTYPE(None, ctypes.c_int64)
def reenter(x: int) -> None:
    call, results = reentered[-1]
    results.append(call(x))


REENTER = {"jg_test_reenter": ctypes.cast(reenter, ctypes.c_void_p).value or 0}
