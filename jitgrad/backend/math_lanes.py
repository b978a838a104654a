"""A small writer of LLVM IR for arithmetic on lanes: Python expressions in, instruction text out.

In: the dtype and width of a function, and Python operators on `Lanes` values (`r * r + 1.0`). Out: the lines of a
branch-free LLVM function body. Every float here is a double, whatever the dtype of the function: float32 operands are
widened at the entry and rounded once at the exit, so one set of routines serves both and float32 needs no compensated
arithmetic (`Writer.single` tells a routine that shorter polynomials do). A width of 1 is written with scalar types.

This room knows the instructions of LLVM and error-free transformations; it knows no elementary function. It is used by
`math_exp`, `math_log`, `math_trig`, `math_special` and `scalar_math`.

No fast-math flag is ever written. A `fma` is only ever asked for where the routine is correct with and without it.

The transformations are Dekker's, Knuth's and Veltkamp's (Muller et al., Handbook of Floating-Point Arithmetic, chapter
4).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["INFINITY", "NAN", "SIGN_MASK", "Lanes", "Pair", "Writer", "bits_of"]

INFINITY = float("inf")
NAN = float("nan")

# 1.5 * 2**52: adding it to a double below 2**51 in magnitude rounds it to an integer, which then stands in the low
# bits of the sum (two's complement).
ROUNDER = 6755399441055744.0

# Veltkamp's constant for splitting 53 bits into 26 + 27.
SPLITTER = 134217729.0

ABSOLUTE_MASK = 0x7FFF_FFFF_FFFF_FFFF
SIGN_MASK = -0x8000_0000_0000_0000


def bits_of(value: float) -> int:
    """Return the 64 bits of a double as a signed integer."""
    return int(struct.unpack("<q", struct.pack("<d", value))[0])


@dataclass(frozen=True, slots=True, eq=False)
class Lanes:
    """A value of the function being written: doubles ('f'), 64-bit integers ('i') or truth values ('b').

    Comparisons are the ordered ones: false where an operand is NaN.
    """

    writer: Writer
    text: str
    kind: str

    def __add__(self, other: Lanes | float) -> Lanes:
        return self.writer.binary("fadd" if self.kind == "f" else "add", self, other)

    def __radd__(self, other: float) -> Lanes:
        return self + other

    def __sub__(self, other: Lanes | float) -> Lanes:
        return self.writer.binary("fsub" if self.kind == "f" else "sub", self, other)

    def __rsub__(self, other: float) -> Lanes:
        return self.writer.constant(other, self.kind) - self

    def __mul__(self, other: Lanes | float) -> Lanes:
        return self.writer.binary("fmul", self, other)

    def __rmul__(self, other: float) -> Lanes:
        return self * other

    def __truediv__(self, other: Lanes | float) -> Lanes:
        return self.writer.binary("fdiv", self, other)

    def __rtruediv__(self, other: float) -> Lanes:
        return self.writer.constant(other, self.kind) / self

    def __neg__(self) -> Lanes:
        return self.writer.emit(f"fneg {self.writer.types['f']} {self.text}", "f")

    def __and__(self, other: Lanes | int) -> Lanes:
        return self.writer.binary("and", self, other)

    def __or__(self, other: Lanes | int) -> Lanes:
        return self.writer.binary("or", self, other)

    def __xor__(self, other: Lanes | int) -> Lanes:
        return self.writer.binary("xor", self, other)

    def __invert__(self) -> Lanes:
        return self.writer.binary("xor", self, 1 if self.kind == "b" else -1)

    def __lshift__(self, count: int) -> Lanes:
        return self.writer.binary("shl", self, count)

    def __rshift__(self, count: int) -> Lanes:
        """Shift right, filling with zeros: AVX2 has no arithmetic shift of 64-bit lanes."""
        return self.writer.binary("lshr", self, count)

    def __lt__(self, other: Lanes | float) -> Lanes:
        return self.writer.compare("olt", "slt", self, other)

    def __le__(self, other: Lanes | float) -> Lanes:
        return self.writer.compare("ole", "sle", self, other)

    def __gt__(self, other: Lanes | float) -> Lanes:
        return self.writer.compare("ogt", "sgt", self, other)

    def __ge__(self, other: Lanes | float) -> Lanes:
        return self.writer.compare("oge", "sge", self, other)

    def equals(self, other: Lanes | float) -> Lanes:
        """Compare for equality."""
        return self.writer.compare("oeq", "eq", self, other)

    def is_nan(self) -> Lanes:
        """Tell where a double is NaN."""
        return self.writer.compare("uno", "ne", self, self)

    def bits(self) -> Lanes:
        """Return the bits of doubles as integers."""
        types = self.writer.types
        return self.writer.emit(f"bitcast {types['f']} {self.text} to {types['i']}", "i")

    def double(self) -> Lanes:
        """Return the doubles that have these bits."""
        types = self.writer.types
        return self.writer.emit(f"bitcast {types['i']} {self.text} to {types['f']}", "f")

    def magnitude(self) -> Lanes:
        """Return the absolute value."""
        return (self.bits() & ABSOLUTE_MASK).double()

    def sign_bit(self) -> Lanes:
        """Return an integer that holds the sign bit only."""
        return self.bits() & SIGN_MASK

    def with_sign(self, sign: Lanes) -> Lanes:
        """Flip the sign where the integer `sign` has its top bit set (its other bits are clear)."""
        return (self.bits() ^ sign).double()


# A number as an unevaluated sum: the first is the rounded value, the second is what the rounding lost.
Pair = tuple[Lanes, Lanes]


class Writer:
    """Writes the body of one function.

    Parameters
    ----------
    dtype : {'float64', 'float32'}
        Of the function's operands and result.
    width : int
        Lanes of the operands; 1 means scalar types.
    fma : bool
        The host has fused multiply-add instructions.
    """

    def __init__(self, dtype: str, width: int, fma: bool) -> None:
        self.width = width
        self.single = dtype == "float32"
        self.has_fma = fma
        self.lines: list[str] = []
        self.needed: set[str] = set()  # declarations, constants and functions that the module must have
        self._names = 0
        element = {"f": "double", "i": "i64", "b": "i1", "s": "float"}
        self.types = {k: t if width == 1 else f"<{width} x {t}>" for k, t in element.items()}
        self.outer_type = self.types["s" if self.single else "f"]

    # Plain instructions

    def name(self) -> str:
        """Return a fresh value name."""
        self._names += 1
        return f"%v{self._names}"

    def emit(self, instruction: str, kind: str) -> Lanes:
        """Append an instruction and return its result."""
        result = self.name()
        self.lines.append(f"  {result} = {instruction}")
        return Lanes(self, result, kind)

    def constant(self, value: float, kind: str = "f") -> Lanes:
        """Return the same constant in every lane."""
        if kind == "f":
            text = f"0x{bits_of(float(value)) & 0xFFFF_FFFF_FFFF_FFFF:016X}"
        elif kind == "b":
            text = "true" if value else "false"
        else:
            text = str(int(value))
        if self.width > 1:
            element = {"f": "double", "i": "i64", "b": "i1"}[kind]
            text = f"splat ({element} {text})"
        return Lanes(self, text, kind)

    def lift(self, value: Lanes | float, kind: str) -> Lanes:
        """Return `value` itself, or the constant."""
        return value if isinstance(value, Lanes) else self.constant(value, kind)

    def binary(self, opcode: str, left: Lanes, right: Lanes | float) -> Lanes:
        """Append an instruction of two operands of one type."""
        right = self.lift(right, left.kind)
        return self.emit(f"{opcode} {self.types[left.kind]} {left.text}, {right.text}", left.kind)

    def compare(self, of_floats: str, of_integers: str, left: Lanes, right: Lanes | float) -> Lanes:
        """Append a comparison."""
        right = self.lift(right, left.kind)
        opcode = f"fcmp {of_floats}" if left.kind == "f" else f"icmp {of_integers}"
        return self.emit(f"{opcode} {self.types[left.kind]} {left.text}, {right.text}", "b")

    def select(self, condition: Lanes, yes: Lanes | float, no: Lanes | float) -> Lanes:
        """Choose lane by lane; two plain numbers are doubles."""
        kind = yes.kind if isinstance(yes, Lanes) else no.kind if isinstance(no, Lanes) else "f"
        first, second = self.lift(yes, kind), self.lift(no, kind)
        of, at = self.types[kind], self.types["b"]
        return self.emit(f"select {at} {condition.text}, {of} {first.text}, {of} {second.text}", kind)

    def sqrt(self, x: Lanes) -> Lanes:
        """Return the correctly rounded square root."""
        return self._intrinsic("sqrt", x)

    def floor(self, x: Lanes) -> Lanes:
        """Return the largest integer that is not above x."""
        return self._intrinsic("floor", x)

    def at_least(self, x: Lanes, low: float) -> Lanes:
        """Return max(x, low), NaN where x is NaN (one instruction on x86)."""
        low_lanes = self.constant(low)
        return self.select(low_lanes > x, low_lanes, x)

    def at_most(self, x: Lanes, high: float) -> Lanes:
        """Return min(x, high), NaN where x is NaN."""
        high_lanes = self.constant(high)
        return self.select(high_lanes < x, high_lanes, x)

    def _intrinsic(self, intrinsic: str, *operands: Lanes) -> Lanes:
        of = self.types["f"]
        suffix = "f64" if self.width == 1 else f"v{self.width}f64"
        symbol = f"@llvm.{intrinsic}.{suffix}"
        self.needed.add(f"declare {of} {symbol}({', '.join([of] * len(operands))})")
        return self.emit(f"call {of} {symbol}({', '.join(f'{of} {o.text}' for o in operands)})", "f")

    # Arithmetic made of them

    def multiply_add(self, a: Lanes | float, b: Lanes | float, c: Lanes | float) -> Lanes:
        """Return a * b + c, fused where the host can; for use where either rounding is good enough."""
        if self.has_fma:
            return self._intrinsic("fma", self.lift(a, "f"), self.lift(b, "f"), self.lift(c, "f"))
        return self.lift(a, "f") * b + c

    def nearest(self, x: Lanes) -> tuple[Lanes, Lanes]:
        """Round |x| < 2**51 to an integer: as double, and as bits whose low 51 are the integer in two's complement."""
        return self.nearest_multiple(x, 1.0)

    def nearest_multiple(self, x: Lanes, factor: float, offset: float = 0.0) -> tuple[Lanes, Lanes]:
        """Round x * factor + offset as `nearest` does; `offset` is an integer that only the bits keep."""
        shifted = self.multiply_add(x, factor, ROUNDER + offset) if factor != 1.0 else x + (ROUNDER + offset)
        return shifted - (ROUNDER + offset), shifted.bits()

    def power_of_two(self, low_bits: Lanes, bias: int = 0) -> Lanes:
        """Return 2**(k + bias) for an integer k in the low bits, |k + bias| <= 1022."""
        return ((low_bits << 52) + ((1023 + bias) << 52)).double()

    def polynomial(self, x: Lanes, coefficients: Sequence[float]) -> Lanes:
        """Evaluate, lowest coefficient first, as even and odd part side by side.

        Horner's scheme has the fewest operations but one long chain; Estrin's has the shortest chain but needs more
        registers than AVX2 has. Two chains measured best for exp, log, sin and tanh.
        """
        if len(coefficients) < 4:
            return self.horner(x, coefficients)
        square = x * x
        even, odd = self.horner(square, coefficients[0::2]), self.horner(square, coefficients[1::2])
        return self.multiply_add(odd, x, even)

    def horner(self, x: Lanes, coefficients: Sequence[float]) -> Lanes:
        """Evaluate by Horner's scheme, lowest coefficient first."""
        total: Lanes | float = coefficients[-1]
        for coefficient in reversed(coefficients[:-1]):
            total = self.multiply_add(total, x, coefficient)
        return self.lift(total, "f")

    # Error-free transformations

    def fast_two_sum(self, a: Lanes, b: Lanes) -> Pair:
        """Return a + b exactly as a pair, where |a| >= |b| or the sum is exact."""
        total = a + b
        return total, b - (total - a)

    def two_sum(self, a: Lanes, b: Lanes) -> Pair:
        """Return a + b exactly as a pair."""
        total = a + b
        of_b = total - a
        return total, (a - (total - of_b)) + (b - of_b)

    def two_product(self, a: Lanes, b: Lanes) -> Pair:
        """Return a * b exactly as a pair (magnitudes between 2**-450 and 2**450)."""
        product = a * b
        if self.has_fma:
            return product, self._intrinsic("fma", a, b, -product)
        a_high, a_low = self.split(a)
        b_high, b_low = self.split(b)
        return product, ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low

    def split(self, a: Lanes) -> Pair:
        """Split into two halves of at most 26 bits whose products are exact."""
        scaled = a * SPLITTER
        high = scaled - (scaled - a)
        return high, a - high
