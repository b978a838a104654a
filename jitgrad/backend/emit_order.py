"""Ops of order and place: sorting, arguments of extrema, where a mask is true.

In: the op and its buffers. Out: LLVM text: calls of NumPy's own kernels for each line along the axis, in a line of
memory of its own where the axis has gaps; where there are none, and for sorts that must be stable, code of our own.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from jitgrad.backend import kernels
from jitgrad.backend.emit import Emitter, lowers
from jitgrad.backend.emit_scalar import Handle
from jitgrad.backend.emit_structured import address_of, over
from jitgrad.backend.loops import View
from jitgrad.backend.sorting import sorter
from jitgrad.backend.structure import SHORT, is_scalar
from jitgrad.backend.text import Sym, element_type, register_type
from jitgrad.graph.ir import Op

__all__: list[str] = []

_INT64 = np.dtype(np.int64)


@lowers("positions")
def op_positions(e: Emitter, op: Op) -> None:
    """Write down where a mask is true, in order; there are as many places as the result has elements.

    Each place is written, and counts or is written over: a branch would be taken wrongly at every second of some masks.
    """
    mask = op.operands[0]
    e.define(op.result)
    view = e.view(op.result)
    (room,) = e.shape(op.result)
    count, beyond = e.text.alloca("i64"), e.text.alloca("i64")
    e.text.do(f"store i64 0, ptr {count}")

    def look(i: str) -> None:
        true = e.text.emit(f"zext i1 {e.element(mask, [i]).text} to i64")
        k = e.text.emit(f"load i64, ptr {count}")
        some = e.text.emit(f"icmp slt i64 {k}, {room}")
        target = e.text.emit(f"select i1 {some}, ptr {address_of(e, view, [k])}, ptr {beyond}")
        e.lanes.store(target, Handle(i, _INT64), 1, 1)
        e.text.do(f"store i64 {e.text.emit(f'add i64 {k}, {true}')}, ptr {count}")

    e.text.counted(e.shape(mask)[0], look)


@lowers("argmax", "argmin")
def op_argument(e: Emitter, op: Op) -> None:
    """Find the first extremum along an axis; a NaN is one, as in NumPy."""
    (x,) = op.operands
    axis = op.attrs["axis"]
    shape = e.shape(x)
    length = shape[axis]
    if not is_scalar(op.result):
        e.define(op.result)
    symbol = None if isinstance(length, int) and length <= SHORT else kernels.find(op.name, x.array.dtype)
    place = e.text.alloca("i64")
    find = _found_one_by_one(e, op, place) if symbol is None else _found_by_kernel(e, op, place, symbol)

    def one(at: list[Sym]) -> None:
        find(at)
        found = Handle(e.text.emit(f"load i64, ptr {place}"), _INT64)
        if is_scalar(op.result):
            e.handles[op.result] = found
        else:
            e.lanes.store(address_of(e, e.view(op.result), at), found, 1, 1)

    e.pace.array(shape, 2)
    over(e, shape[:axis] + shape[axis + 1 :], one)


def _found_by_kernel(e: Emitter, op: Op, place: str, symbol: str) -> Callable[[list[Sym]], None]:
    """Return what has NumPy find the place in a line."""
    (x,) = op.operands
    axis = op.attrs["axis"]
    source, length = e.view(x), e.shape(x)[axis]
    _declare(e, symbol, "ptr, i64, ptr, ptr")
    line = _Line(e, op, source, axis, length)

    def find(at: list[Sym]) -> None:
        data = line.at([*at[:axis], 0, *at[axis:]])
        e.text.emit(f"call i32 @{symbol}(ptr {data}, i64 {length}, ptr {place}, ptr null)")

    return find


def _found_one_by_one(e: Emitter, op: Op, place: str) -> Callable[[list[Sym]], None]:
    """Return what looks at the elements of a line one after another."""
    (x,) = op.operands
    axis = op.attrs["axis"]
    relation = ">" if op.name == "argmax" else "<"
    dtype, kind = x.array.dtype, register_type(x.array.dtype)
    best = e.text.alloca(kind)

    def find(at: list[Sym]) -> None:
        first = e.element(x, [*at[:axis], 0, *at[axis:]])
        e.text.do(f"store {kind} {first.text}, ptr {best}")
        e.text.do(f"store i64 0, ptr {place}")

        def look(i: str) -> None:
            new = e.element(x, [*at[:axis], i, *at[axis:]])
            old = Handle(e.text.emit(f"load {kind}, ptr {best}"), dtype)
            better = e.arithmetic.compare(relation, new, old)
            if dtype.kind == "f":
                new_nan = e.arithmetic.compare("!=", new, new)
                old_real = e.arithmetic.compare("==", old, old)
                better = e.arithmetic.logical("and", e.arithmetic.logical("or", better, new_nan), old_real)
            value = e.arithmetic.select(better, new, old)
            e.text.do(f"store {kind} {value.text}, ptr {best}")
            before = Handle(e.text.emit(f"load i64, ptr {place}"), _INT64)
            now = e.arithmetic.select(better, Handle(i, _INT64), before)
            e.text.do(f"store i64 {now.text}, ptr {place}")

        e.text.counted(e.shape(x)[axis], look, start=1)

    return find


@lowers("sort", "argsort")
def op_sort(e: Emitter, op: Op) -> None:
    """Sort along an axis, NaN last."""
    dtype = op.operands[0].array.dtype
    e.define(op.result)
    stable = op.name == "argsort" and op.attrs["stable"]
    symbol = None if stable else kernels.find(op.name, dtype)
    if symbol is None:
        _sort_positions(e, op)
    elif op.name == "sort":
        _sort_by_kernel(e, op, symbol)
    else:
        _argsort_by_kernel(e, op, symbol)


def _sort_by_kernel(e: Emitter, op: Op, symbol: str) -> None:
    """Have NumPy sort lines in the memory of the result."""
    (x,) = op.operands
    axis = op.attrs["axis"]
    shape, view = e.shape(x), e.view(op.result)
    length = shape[axis]
    _declare(e, symbol, "ptr, i64, ptr")
    e.fill(view, x)
    line = _Line(e, op, view, axis, length)

    def one(at: list[Sym]) -> None:
        place = [*at[:axis], 0, *at[axis:]]
        data = line.at(place)
        e.text.emit(f"call i32 @{symbol}(ptr {data}, i64 {length}, ptr null)")
        line.bring(place)

    e.pace.array(shape, 8)
    over(e, shape[:axis] + shape[axis + 1 :], one)


def _argsort_by_kernel(e: Emitter, op: Op, symbol: str) -> None:
    """Have NumPy sort positions in the memory of the result."""
    (x,) = op.operands
    axis = op.attrs["axis"]
    shape, view = e.shape(x), e.view(op.result)
    length = shape[axis]
    _declare(e, symbol, "ptr, ptr, i64, ptr")
    data = _Line(e, op, e.view(x), axis, length)
    order = _Line(e, op.result, view, axis, length)

    def one(at: list[Sym]) -> None:
        place = [*at[:axis], 0, *at[axis:]]
        numbers, positions = data.at(place), order.at(place, copied=False)
        e.text.counted(length, lambda i: e.text.do(f"store i64 {i}, ptr {e.text.address(positions, 'i64', i)}"))
        e.text.emit(f"call i32 @{symbol}(ptr {numbers}, ptr {positions}, i64 {length}, ptr null)")
        order.bring(place)

    e.pace.array(shape, 16)
    over(e, shape[:axis] + shape[axis + 1 :], one)


def _declare(e: Emitter, symbol: str, types: str) -> None:
    e.text.declare(f"i32 @{symbol}({types}) nounwind")
    e.text.externals[symbol] = None


class _Line:
    """The elements along an axis without gaps: where they are, or in memory of their own.

    Parameters
    ----------
    e : Emitter
    key : hashable
        Names the memory.
    view : View
    axis : int
    length : Sym
    """

    def __init__(self, e: Emitter, key: object, view: View, axis: int, length: Sym) -> None:
        self.e, self.view, self.axis, self.length = e, view, axis, length
        self.own: str | None = None
        if view.strides[axis] != 1:
            self.own = e.reserve(key, e.text.mul(length, view.dtype.itemsize))

    def at(self, place: list[Sym], copied: bool = True) -> str:
        """Return the address of the line that begins at a place."""
        first = address_of(self.e, self.view, place)
        if self.own is None:
            return first
        if copied:
            self._move(first, self.view.strides[self.axis], self.own, 1)
        return self.own

    def bring(self, place: list[Sym]) -> None:
        """Put the line back where it begins."""
        if self.own is not None:
            self._move(self.own, 1, address_of(self.e, self.view, place), self.view.strides[self.axis])

    def _move(self, source: str, step: Sym, target: str, to: Sym) -> None:
        e, dtype = self.e, self.view.dtype
        element = element_type(dtype)

        def one(i: str) -> None:
            found = e.lanes.load(e.text.address(source, element, e.text.mul(i, step)), dtype, 1, 1)
            e.lanes.store(e.text.address(target, element, e.text.mul(i, to)), found, 1, 1)

        e.text.counted(self.length, one)


def _sort_positions(e: Emitter, op: Op) -> None:
    """Sort positions by merging, stably, and write them down or what lies there."""
    (x,) = op.operands
    axis = op.attrs["axis"]
    shape = e.shape(x)
    view, source = e.view(op.result), e.view(x)
    name = _sorter(e, x.array.dtype)
    length = shape[axis]
    work = e.reserve(op.result, e.text.mul(length, 16))

    def one(at: list[Sym]) -> None:
        place = [*at[:axis], 0, *at[axis:]]
        first = address_of(e, source, place)
        stride = source.strides[axis]
        e.text.do(f"call void @{name}(ptr {first}, i64 {stride}, i64 {length}, ptr {work})")

        def put(i: str) -> None:
            where = e.text.emit(f"load i64, ptr {e.text.address(work, 'i64', i)}")
            target = address_of(e, view, [*at[:axis], i, *at[axis:]])
            if op.name == "argsort":
                e.lanes.store(target, Handle(where, _INT64), 1, 1)
                return
            found = e.text.address(first, element_type(source.dtype), e.text.mul(where, stride))
            e.lanes.store(target, e.lanes.load(found, source.dtype, 1, 1), 1, 1)

        e.text.counted(length, put)

    e.pace.array(shape, 64)
    over(e, shape[:axis] + shape[axis + 1 :], one)


def _sorter(e: Emitter, dtype: np.dtype) -> str:
    """Return the name of the helper that sorts positions by what lies there, and define it once."""
    name = f"jg_argsort_{dtype.name}"
    if name not in e.text.helpers:
        e.text.helpers[name] = sorter(name, dtype)
        e.text.declare("i64 @llvm.smin.i64(i64, i64)")
        e.text.declare("void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    return name
