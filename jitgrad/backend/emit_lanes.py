"""Loads and stores of whole and partial vectors.

In: an address, a dtype, a number of lanes, and how many of them are real. Out: instructions. `lanes` is the width for a
whole vector, a smaller int for a tail of known size, or a register for a tail whose size is known at run time. Lanes
beyond a known tail repeat the first, so that no operation on them can do what no element does; beyond a run-time tail
they are zero.
"""

from __future__ import annotations

import numpy as np

from jitgrad.backend.emit_scalar import Arithmetic, Handle
from jitgrad.backend.text import FunctionText, Sym, element_type, register_type, vector

__all__ = ["Lanes"]

_INT64 = np.dtype(np.int64)
_BOOL = np.dtype(np.bool_)


class Lanes:
    """Vector memory operations."""

    def __init__(self, text: FunctionText, arithmetic: Arithmetic) -> None:
        self.text = text
        self.arithmetic = arithmetic

    def load(self, pointer: str, dtype: np.dtype, width: int, lanes: Sym) -> Handle:
        """Return consecutive elements."""
        element, size = element_type(dtype), dtype.itemsize
        text = self.text
        of = vector(element, width)
        if lanes == width:
            return self._boolean(text.emit(f"load {of}, ptr {pointer}, align {size}"), dtype, width)
        if isinstance(lanes, int) and not _in_pieces(lanes, size):
            part = text.emit(f"load {vector(element, lanes)}, ptr {pointer}, align {size}")
            return self._boolean(self._widen(part, element, lanes, width), dtype, width)
        if size >= 4:
            made = self._masked_load(pointer, element, width, size, self.mask(width, lanes))
            return self._boolean(made, dtype, width)
        slot = text.shared("tail", f"[{width} x {element}]")
        text.do(f"store {of} zeroinitializer, ptr {slot}")
        self._memcpy(slot, pointer, lanes, size)
        return self._boolean(text.emit(f"load {of}, ptr {slot}"), dtype, width)

    def _masked_load(self, pointer: str, element: str, width: int, size: int, mask: str) -> str:
        of, symbol = vector(element, width), f"@llvm.masked.load.{_suffix(element, width)}.p0"
        self.text.declare(f"{of} {symbol}(ptr, i32, <{width} x i1>, {of})")
        return self.text.emit(
            f"call {of} {symbol}(ptr {pointer}, i32 {size}, <{width} x i1> {mask}, {of} zeroinitializer)"
        )

    def _widen(self, part: str, element: str, lanes: int, width: int) -> str:
        if lanes == 1:
            return self.text.emit(
                f"shufflevector <{width} x {element}> "
                + self.text.emit(f"insertelement <{width} x {element}> poison, {element} {part}, i64 0")
                + f", <{width} x {element}> poison, <{width} x i32> zeroinitializer"
            )
        places = ", ".join(f"i32 {k if k < lanes else 0}" for k in range(width))
        of = f"<{lanes} x {element}>"
        return self.text.emit(f"shufflevector {of} {part}, {of} poison, <{width} x i32> <{places}>")

    def _memcpy(self, target: str, source: str, count: Sym, size: int) -> None:
        self.text.declare("void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
        bytes = self.text.mul(count, size)
        self.text.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 {bytes}, i1 false)")

    def move(self, target: str, source: str | None, bytes: int) -> None:
        """Copy memory, which may be the same, or make it zero."""
        if source is None:
            self.text.declare("void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
            self.text.do(f"call void @llvm.memset.p0.i64(ptr {target}, i8 0, i64 {bytes}, i1 false)")
        else:
            self.text.declare("void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)")
            self.text.do(f"call void @llvm.memmove.p0.p0.i64(ptr {target}, ptr {source}, i64 {bytes}, i1 false)")

    def store(self, pointer: str, x: Handle, width: int, lanes: Sym) -> None:
        """Write consecutive elements."""
        element, size = element_type(x.dtype), x.dtype.itemsize
        text = self.text
        of = vector(element, width)
        value = self._memory(x)
        if lanes == width:
            text.do(f"store {of} {value}, ptr {pointer}, align {size}")
        elif isinstance(lanes, int) and not _in_pieces(lanes, size):
            if lanes == 1:
                part = text.emit(f"extractelement {of} {value}, i64 0")
            else:
                places = ", ".join(f"i32 {k}" for k in range(lanes))
                part = text.emit(f"shufflevector {of} {value}, {of} poison, <{lanes} x i32> <{places}>")
            text.do(f"store {vector(element, lanes)} {part}, ptr {pointer}, align {size}")
        elif size >= 4:
            self._masked_store(pointer, value, element, width, size, self.mask(width, lanes))
        else:
            slot = text.shared("tail", f"[{width} x {element}]")
            text.do(f"store {of} {value}, ptr {slot}")
            self._memcpy(pointer, slot, lanes, size)

    def _masked_store(self, pointer: str, value: str, element: str, width: int, size: int, mask: str) -> None:
        of, symbol = vector(element, width), f"@llvm.masked.store.{_suffix(element, width)}.p0"
        self.text.declare(f"void {symbol}({of}, ptr, i32, <{width} x i1>)")
        self.text.do(f"call void {symbol}({of} {value}, ptr {pointer}, i32 {size}, <{width} x i1> {mask})")

    def fetch(self, pointer: str) -> None:
        """Ask for a line of memory that will be written; it need not exist."""
        self.text.declare("void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        self.text.do(f"call void @llvm.prefetch.p0(ptr {pointer}, i32 1, i32 3, i32 1)")

    def load_along(self, pointer: str, dtype: np.dtype, width: int, lanes: Sym, step: Sym) -> Handle:
        """Return one element, or some that are consecutive or a fixed step apart."""
        if width == 1 or step == 1:
            return self.load(pointer, dtype, width, lanes if width > 1 else 1)
        return self.load_strided(pointer, dtype, width, lanes, step)

    def load_strided(self, pointer: str, dtype: np.dtype, width: int, lanes: Sym, step: Sym) -> Handle:
        """Return elements a fixed step apart."""
        text, element = self.text, element_type(dtype)
        if step == -1 and (isinstance(lanes, int) or dtype.itemsize >= 4):
            return self._load_backwards(pointer, dtype, width, lanes)
        made, first = "poison", ""
        of = f"<{width} x {element}>"
        for k in range(width):
            if isinstance(lanes, int) and k >= lanes:
                # Repeat the first lane.
                one = first
            else:
                at: Sym = k
                if not isinstance(lanes, int) and k:
                    real = text.emit(f"icmp slt i64 {k}, {lanes}")
                    at = text.emit(f"select i1 {real}, i64 {k}, i64 0")
                where = text.address(pointer, element, text.mul(at, step))
                one = text.emit(f"load {element}, ptr {where}, align {dtype.itemsize}")
                if k == 0:
                    first = one
            made = text.emit(f"insertelement {of} {made}, {element} {one}, i64 {k}")
        return self._boolean(made, dtype, width)

    def load_where(self, pointer: str, dtype: np.dtype, width: int, lanes: Sym, step: Sym, where: Handle) -> Handle:
        """Return elements a fixed step apart, zero where a mask is false: there, memory is not touched."""
        text, element, size = self.text, element_type(dtype), dtype.itemsize
        if width == 1:
            nothing = text.alloca(element)
            text.entry.append(f"  store {element} zeroinitializer, ptr {nothing}")
            at = text.emit(f"select i1 {where.text}, ptr {pointer}, ptr {nothing}")
            return self._boolean(text.emit(f"load {element}, ptr {at}, align {size}"), dtype, 1)
        of = vector(element, width)
        mask = self.arithmetic.splat(where, width)
        if lanes != width:
            real = Handle(self.mask(width, lanes), _BOOL, width, isinstance(lanes, int))
            mask = self.arithmetic.logical("and", mask, real)
        if step == 1:
            return self._boolean(self._masked_load(pointer, element, width, size, mask.text), dtype, width)
        offsets = self.arithmetic.mul(self.numbers(width), Handle(str(step), _INT64, 1, isinstance(step, int)))
        places = text.emit(f"getelementptr {element}, ptr {pointer}, <{width} x i64> {offsets.text}")
        symbol = f"@llvm.masked.gather.{_suffix(element, width)}.v{width}p0"
        text.declare(f"{of} {symbol}(<{width} x ptr>, i32, <{width} x i1>, {of})")
        source = f"<{width} x ptr> {places}"
        made = text.emit(f"call {of} {symbol}({source}, i32 {size}, <{width} x i1> {mask.text}, {of} zeroinitializer)")
        return self._boolean(made, dtype, width)

    def _load_backwards(self, pointer: str, dtype: np.dtype, width: int, lanes: Sym) -> Handle:
        """Return elements that lie one before the other: one load, turned round."""
        text, element, size = self.text, element_type(dtype), dtype.itemsize
        straight = lanes if isinstance(lanes, int) else width
        of = vector(element, straight)
        lowest = text.address(pointer, element, 1 - straight)
        if isinstance(lanes, int):
            made = text.emit(f"load {of}, ptr {lowest}, align {size}")
            if lanes == 1:
                return self._boolean(self._widen(made, element, 1, width), dtype, width)
        else:
            made = self._masked_load(lowest, element, width, size, self._upper(width, lanes))
        places = ", ".join(f"i32 {straight - 1 - (k if k < straight else 0)}" for k in range(width))
        made = text.emit(f"shufflevector {of} {made}, {of} poison, <{width} x i32> <{places}>")
        return self._boolean(made, dtype, width)

    def store_strided(self, pointer: str, x: Handle, width: int, lanes: Sym, step: Sym) -> None:
        """Write elements a fixed step apart."""
        text, element = self.text, element_type(x.dtype)
        value, of = self._memory(x), f"<{width} x {element}>"
        if step == -1 and lanes != 1 and (isinstance(lanes, int) or x.dtype.itemsize >= 4):
            self._store_backwards(pointer, value, element, width, lanes, x.dtype.itemsize)
            return
        if isinstance(lanes, int):
            for k in range(lanes):
                one = text.emit(f"extractelement {of} {value}, i64 {k}")
                where = text.address(pointer, element, text.mul(k, step))
                text.do(f"store {element} {one}, ptr {where}, align {x.dtype.itemsize}")
            return
        offsets = self.arithmetic.mul(self.numbers(width), Handle(str(step), _INT64, 1, isinstance(step, int)))
        where = text.emit(f"getelementptr {element}, ptr {pointer}, <{width} x i64> {offsets.text}")
        symbol = f"@llvm.masked.scatter.{_suffix(element, width)}.v{width}p0"
        text.declare(f"void {symbol}({of}, <{width} x ptr>, i32, <{width} x i1>)")
        mask = self.mask(width, lanes)
        text.do(
            f"call void {symbol}({of} {value}, <{width} x ptr> {where}, i32 {x.dtype.itemsize}, <{width} x i1> {mask})"
        )

    def _store_backwards(self, pointer: str, value: str, element: str, width: int, lanes: Sym, size: int) -> None:
        """Write elements one before the other: turned round, by one store."""
        text, of = self.text, vector(element, width)
        real = lanes if isinstance(lanes, int) else width
        places = ", ".join(f"i32 {real - 1 - k}" for k in range(real))
        turned = text.emit(f"shufflevector {of} {value}, {of} poison, <{real} x i32> <{places}>")
        lowest = text.address(pointer, element, 1 - real)
        if isinstance(lanes, int):
            text.do(f"store {vector(element, real)} {turned}, ptr {lowest}, align {size}")
        else:
            self._masked_store(lowest, turned, element, width, size, self._upper(width, lanes))

    def gather(self, pointer: str, dtype: np.dtype, offsets: Handle, lanes: Sym) -> Handle:
        """Return the elements at offsets from a pointer, one a lane."""
        text, element, width = self.text, element_type(dtype), offsets.width
        if width == 1:
            where = text.address(pointer, element, offsets.text)
            return self._boolean(text.emit(f"load {element}, ptr {where}, align {dtype.itemsize}"), dtype, 1)
        made, of = "poison", f"<{width} x {element}>"
        if not isinstance(lanes, int):
            # Lanes beyond the tail read where the first does.
            first = text.emit(f"extractelement <{width} x i64> {offsets.text}, i64 0")
            mask = Handle(self.mask(width, lanes), _BOOL, width)
            offsets = self.arithmetic.select(mask, offsets, Handle(first, _INT64))
        for k in range(width):
            lane = k if not isinstance(lanes, int) or k < lanes else 0
            at = text.emit(f"extractelement <{width} x i64> {offsets.text}, i64 {lane}")
            where = text.address(pointer, element, at)
            one = text.emit(f"load {element}, ptr {where}, align {dtype.itemsize}")
            made = text.emit(f"insertelement {of} {made}, {element} {one}, i64 {k}")
        return self._boolean(made, dtype, width)

    # masks and small vectors

    def mask(self, width: int, lanes: Sym) -> str:
        """Return which lanes are real."""
        if isinstance(lanes, int):
            bits = ", ".join(f"i1 {'true' if k < lanes else 'false'}" for k in range(width))
            return f"<{bits}>" if width > 1 else ("true" if lanes else "false")
        bound = self.arithmetic.splat(Handle(lanes, _INT64), width)
        return self.text.emit(f"icmp slt <{width} x i64> {self.numbers(width).text}, {bound.text}")

    def _upper(self, width: int, lanes: str) -> str:
        """Return a mask of as many of the last lanes."""
        below = self.arithmetic.splat(Handle(self.text.emit(f"sub i64 {width}, {lanes}"), _INT64), width)
        return self.text.emit(f"icmp sge <{width} x i64> {self.numbers(width).text}, {below.text}")

    def numbers(self, width: int) -> Handle:
        """Return 0, 1, 2, ... as 64-bit integers."""
        if width == 1:
            return Handle("0", _INT64, 1, True)
        return Handle("<" + ", ".join(f"i64 {k}" for k in range(width)) + ">", _INT64, width)

    def element(self, x: Handle, lane: int) -> Handle:
        """Return one lane."""
        if x.width == 1:
            return x
        of = vector(register_type(x.dtype), x.width)
        return Handle(self.text.emit(f"extractelement {of} {x.text}, i64 {lane}"), x.dtype)

    def halves(self, x: Handle) -> tuple[Handle, Handle]:
        """Return the lower and the upper half of the lanes."""
        half = x.width // 2
        element = register_type(x.dtype)
        of = vector(element, x.width)
        if half == 1:
            return self.element(x, 0), self.element(x, 1)
        made = []
        for start in (0, half):
            places = ", ".join(f"i32 {start + k}" for k in range(half))
            text = self.text.emit(f"shufflevector {of} {x.text}, {of} poison, <{half} x i32> <{places}>")
            made.append(Handle(text, x.dtype, half))
        return made[0], made[1]

    def _boolean(self, text: str, dtype: np.dtype, width: int) -> Handle:
        if dtype.kind == "b":
            text = self.text.emit(f"icmp ne {vector('i8', width)} {text}, {'zeroinitializer' if width > 1 else '0'}")
        return Handle(text, dtype, width)

    def _memory(self, x: Handle) -> str:
        """Return the text of a handle as it is stored: bools are bytes, constants are splat."""
        if x.dtype.kind == "b":
            of = vector("i1", x.width)
            return self.text.emit(f"zext {of} {x.text} to {vector('i8', x.width)}")
        return x.text


def _in_pieces(lanes: int, size: int) -> bool:
    """Whether so many elements are no register or power-of-two part of one: to put them together takes instructions."""
    rest = lanes % (64 // size)
    return size >= 4 and rest & (rest - 1) != 0


def _suffix(element: str, width: int) -> str:
    return f"v{width}" + {"double": "f64", "float": "f32"}.get(element, element)
