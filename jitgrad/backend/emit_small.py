"""Products of small matrices of known sizes, written out: no loops, a row of the result in a register.

In: strided views of two matrices and of their product. Out: instructions. A filter, a rotation or a step of a small
network multiplies matrices of two to eight rows again and again, each waiting for the last: what counts is how long one
takes, not how many there are. A row is a sum of rows of the second matrix, each times a number of the first; rows that
lie across memory are turned in registers. Rows are written as many at once as a register holds: what reads several of
them next need not wait until they are in memory.
"""

from __future__ import annotations

import numpy as np

from jitgrad.backend.emit_scalar import Arithmetic
from jitgrad.backend.loops import View
from jitgrad.backend.text import FunctionText, Sym, element_type

__all__ = ["flipped", "multiply_small"]

# The longest side, and the most products of registers, in loops and else: what runs once is soon compiled.
_LONGEST, _IN_LOOPS, _ONCE = 8, 64, 16


def flipped(view: View) -> View:
    """Return a matrix with its axes exchanged."""
    strides = (*view.strides[:-2], view.strides[-1], view.strides[-2])
    return View(view.pointer, view.offset, strides, view.dtype)


def multiply_small(
    arithmetic: Arithmetic, x: View, y: View, out: View, sizes: tuple[Sym, ...], vector_bytes: int
) -> bool:
    """Write the product of two small matrices; return whether they are such.

    Parameters
    ----------
    arithmetic : Arithmetic
    x, y, out : View
        Of shapes (m, k), (k, n) and (m, n).
    sizes : tuple of Sym
        m, n and k, behind those of batches.
    vector_bytes : int
        Of a register.
    """
    known = [s for s in sizes if isinstance(s, int)]
    if len(known) != 3 or len(sizes) != 3 or out.dtype.kind != "f":
        return False
    m, n, k = known
    if n == 1 or (out.strides[-1] != 1 and m > 1):
        # The product of the transposed ones is that of the two, transposed.
        x, y, out, (m, n) = flipped(y), flipped(x), flipped(out), (n, m)
    x_steps, y_steps, out_steps = (_known(v) for v in (x, y, out))
    if x_steps is None or y_steps is None or out_steps is None or (n > 1 and out_steps[1] != 1):
        return False
    width = max(vector_bytes // out.dtype.itemsize, 1)
    if not 0 < min(m, n, k) <= max(m, n, k) <= _LONGEST:
        return False
    if m * k * -(-n // width) > (_IN_LOOPS if arithmetic.text.in_loop else _ONCE):
        return False
    small = _Small(arithmetic, out.dtype, n)
    rows = small.rows(small.base(y), y_steps, k)
    made = small.product(small.base(x), x_steps, m, rows)
    small.write(small.base(out), out_steps, made, width)
    return True


def _known(view: View) -> tuple[int, int] | None:
    """Return the strides of a matrix if they are known."""
    down, along = view.strides
    return (down, along) if isinstance(down, int) and isinstance(along, int) else None


class _Small:
    """Writes rows of as many numbers each."""

    def __init__(self, arithmetic: Arithmetic, dtype: np.dtype, lanes: int) -> None:
        self.fma = arithmetic.library.fma
        self.text: FunctionText = arithmetic.text
        self.number = element_type(dtype)
        self.bytes = dtype.itemsize
        self.lanes = lanes

    def base(self, view: View) -> str:
        """Return the address of the first number of a matrix."""
        return self.text.address(view.pointer, self.number, view.offset)

    def product(self, base: str, steps: tuple[int, int], count: int, rows: list[str]) -> list[str]:
        """Return so many rows of the product of a matrix at an address with one whose rows are given."""
        made = []
        for i in range(count):
            total = "zeroinitializer"
            for j, row in enumerate(rows):
                factor = self._load(self._at(base, i * steps[0] + j * steps[1]), 1)
                total = self._multiply_add(self._shuffle(factor, 1, [0] * self.lanes), row, total)
            made.append(total)
        return made

    def write(self, base: str, steps: tuple[int, int], rows: list[str], width: int) -> None:
        """Write rows to memory."""
        most = width // self.lanes if width % self.lanes == 0 and steps[0] == self.lanes else 1
        i = 0
        while i < len(rows):
            together = min(most, 1 << (len(rows) - i).bit_length() - 1)
            made, lanes = self._joined(rows[i : i + together], self.lanes)
            self.text.do(f"store {self._type(lanes)} {made}, ptr {self._at(base, i * steps[0])}, align {self.bytes}")
            i += together

    def rows(self, base: str, steps: tuple[int, int], count: int) -> list[str]:
        """Return so many rows of a matrix at an address."""
        (down, along), lanes = steps, self.lanes
        if along == 1 or lanes == 1:
            return [self._load(self._at(base, i * down), lanes) for i in range(count)]
        if down == 1 or count == 1:
            if along == count:
                whole, all = self._load(base, lanes * count), lanes * count
            else:
                whole, all = self._joined([self._load(self._at(base, j * along), count) for j in range(lanes)], count)
            return [self._shuffle(whole, all, [j * count + i for j in range(lanes)]) for i in range(count)]
        return [self._collected([self._at(base, i * down + j * along) for j in range(lanes)]) for i in range(count)]

    def _type(self, lanes: int) -> str:
        return f"<{lanes} x {self.number}>"

    def _at(self, base: str, offset: int) -> str:
        return self.text.address(base, self.number, offset)

    def _load(self, pointer: str, lanes: int) -> str:
        return self.text.emit(f"load {self._type(lanes)}, ptr {pointer}, align {self.bytes}")

    def _shuffle(self, x: str, lanes: int, places: list[int]) -> str:
        of, mask = self._type(lanes), ", ".join(f"i32 {p}" for p in places)
        return self.text.emit(f"shufflevector {of} {x}, {of} poison, <{len(places)} x i32> <{mask}>")

    def _joined(self, parts: list[str], lanes: int) -> tuple[str, int]:
        """Return registers of as many numbers each as one, and how many it has: a power of two of them."""
        while len(parts) > 1:
            if len(parts) % 2:
                parts = [*parts, "poison"]
            of, mask = self._type(lanes), ", ".join(f"i32 {p}" for p in range(2 * lanes))
            parts = [
                self.text.emit(f"shufflevector {of} {a}, {of} {b}, <{2 * lanes} x i32> <{mask}>")
                for a, b in zip(parts[::2], parts[1::2], strict=True)
            ]
            lanes *= 2
        return parts[0], lanes

    def _collected(self, pointers: list[str]) -> str:
        """Return numbers from anywhere in a register."""
        of, made = self._type(len(pointers)), "poison"
        for j, pointer in enumerate(pointers):
            one = self.text.emit(f"load {self.number}, ptr {pointer}, align {self.bytes}")
            made = self.text.emit(f"insertelement {of} {made}, {self.number} {one}, i64 {j}")
        return made

    def _multiply_add(self, x: str, y: str, total: str) -> str:
        of = self._type(self.lanes)
        if not self.fma:
            return self.text.emit(f"fadd {of} {total}, " + self.text.emit(f"fmul {of} {x}, {y}"))
        symbol = f"@llvm.fma.v{self.lanes}f{8 * self.bytes}"
        self.text.declare(f"{of} {symbol}({of}, {of}, {of})")
        return self.text.emit(f"call {of} {symbol}({of} {x}, {of} {y}, {of} {total})")
