"""Reciprocals by the processor's estimates and Newton's steps, for whole registers of AVX-512.

In: floats in lanes. Out: their reciprocals, or those of their roots, to about two units in the last place; what is
zero, infinite or NaN is so exactly. An estimate is right to 14 bits, each step doubles them (M. Abramowitz, I. Stegun,
Handbook of Mathematical Functions, 3.9.5, for f(y) = 1 / y - x and 1 / y**2 - x).
"""

from __future__ import annotations

from jitgrad.backend.emit_scalar import Arithmetic, Handle
from jitgrad.backend.text import register_type, vector

__all__ = ["reciprocal"]

_REGISTER = 64  # bytes
_ZERO_OR_INFINITE = 0x264  # classes of llvm.is.fpclass


def reciprocal(b: Arithmetic, x: Handle, of_root: bool) -> Handle:
    """Return 1 / x, or 1 / sqrt(x), whose rounding is ours; one after the other where registers are not filled."""
    if b.estimates and x.width * x.dtype.itemsize % _REGISTER == 0 and not x.constant:
        return _estimated(b, x, of_root)
    return b.div(b.const(1, x.dtype), b.math("sqrt", x) if of_root else x)


def _estimated(b: Arithmetic, x: Handle, of_root: bool) -> Handle:
    first = _estimate(b, x, "rsqrt14" if of_root else "rcp14")
    one, half = b.const(1, x.dtype), b.const(0.5, x.dtype)
    found = first
    for _ in range(1 if x.dtype.itemsize == 4 else 2):
        near = b.mul(x, found) if of_root else x
        off = b.math("fma", b.neg(near), found, one)
        found = b.math("fma", b.mul(found, half) if of_root else found, off, found)
    of = vector(register_type(x.dtype), x.width)
    symbol = f"@llvm.is.fpclass.v{x.width}f{x.dtype.itemsize * 8}"
    b.text.declare(f"<{x.width} x i1> {symbol}({of}, i32)")
    ends = b.text.emit(f"call <{x.width} x i1> {symbol}({of} {first.text}, i32 {_ZERO_OR_INFINITE})")
    return Handle(
        b.text.emit(f"select <{x.width} x i1> {ends}, {of} {first.text}, {of} {found.text}"), x.dtype, x.width
    )


def _estimate(b: Arithmetic, x: Handle, name: str) -> Handle:
    """Return the processor's estimates, register by register."""
    element = register_type(x.dtype)
    lanes = _REGISTER // x.dtype.itemsize
    of, whole = f"<{lanes} x {element}>", f"<{x.width} x {element}>"
    symbol = f"@llvm.x86.avx512.{name}.p{element[0]}.512".replace("pf", "ps")
    b.text.declare(f"{of} {symbol}({of}, {of}, i{lanes})")
    parts = []
    for k in range(0, x.width, lanes):
        part = x.text
        if x.width > lanes:
            places = ", ".join(f"i32 {k + j}" for j in range(lanes))
            part = b.text.emit(f"shufflevector {whole} {x.text}, {whole} poison, <{lanes} x i32> <{places}>")
        parts.append(b.text.emit(f"call {of} {symbol}({of} {part}, {of} zeroinitializer, i{lanes} -1)"))
    width = lanes
    while len(parts) > 1:
        of = f"<{width} x {element}>"
        places = ", ".join(f"i32 {j}" for j in range(2 * width))
        parts = [
            b.text.emit(f"shufflevector {of} {one}, {of} {other}, <{2 * width} x i32> <{places}>")
            for one, other in zip(parts[::2], parts[1::2], strict=True)
        ]
        width *= 2
    return Handle(parts[0], x.dtype, x.width)
