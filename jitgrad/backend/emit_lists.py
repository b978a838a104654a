"""Growable lists: users' lists and the tapes of reverse mode.

A list is a header { data, length, capacity } on the stack of the body; elements lie one after another in memory that
`realloc` grows by doubling. In: list ops with their buffers. Out: LLVM text; every header is freed at the exit. Where
the plan says that an op must not write in place, the list is copied first.
"""

from __future__ import annotations

from jitgrad.backend.emit import Emitter, add_nodes, lowers
from jitgrad.backend.emit_scalar import Handle
from jitgrad.backend.loops import Expressions, Output, View, c_strides
from jitgrad.backend.reserve import declare_memory
from jitgrad.backend.structure import is_scalar
from jitgrad.backend.text import Sym, element_type
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.types import INT64, ArrayType, ListType

__all__ = ["copy_list"]


def _element(value: Value) -> ArrayType:
    assert isinstance(value.type, ListType)
    return value.type.element


def _shape(e: Emitter, items: Value) -> list[Sym]:
    return [e.size(d) for d in _element(items).shape]


def _count(e: Emitter, items: Value) -> Sym:
    """Return the numbers in one element."""
    total: Sym = 1
    for d in _shape(e, items):
        total = e.text.mul(total, d)
    return total


def _bytes(e: Emitter, items: Value) -> Sym:
    return e.text.mul(_count(e, items), _element(items).dtype.itemsize)


def _header(e: Emitter, items: Value) -> str:
    return e.pointer(e.plan.place[items], items)


def _length_place(e: Emitter, header: str) -> str:
    return e.text.emit(f"getelementptr i8, ptr {header}, i64 8")


def _length(e: Emitter, header: str) -> str:
    return e.text.emit(f"load i64, ptr {_length_place(e, header)}")


def _data(e: Emitter, header: str) -> str:
    return e.text.emit(f"load ptr, ptr {header}")


def _reserve(e: Emitter, header: str, count: Sym, bytes: Sym) -> None:
    """Make room for so many elements."""
    declare_memory(e.text, "jg_grow")
    fine = e.text.emit(f"call i1 @jg_grow(ptr {header}, i64 {count}, i64 {bytes})")
    e.fail_unless(fine, e.memory_site())


def _place(e: Emitter, items: Value, header: str, position: Sym) -> View:
    """Return the memory of the element at a position."""
    shape = _shape(e, items)
    offset = e.text.mul(position, _count(e, items))
    dtype = _element(items).dtype
    pointer = e.text.address(_data(e, header), element_type(dtype), offset)
    return View(pointer, 0, c_strides(e.text, shape), dtype)


def copy_list(e: Emitter, target: str, source: Value) -> None:
    """Make the list at a header a copy of another."""
    if source.op is not None and source.op.name == "list_empty":
        e.text.do(f"store i64 0, ptr {_length_place(e, target)}")
        return
    header = _header(e, source)
    length = _length(e, header)
    bytes = _bytes(e, source)
    _reserve(e, target, length, bytes)
    e.text.declare("void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    total = e.text.mul(length, bytes)
    to, at = _data(e, target), _data(e, header)
    e.text.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {to}, ptr {at}, i64 {total}, i1 false)")
    e.text.do(f"store i64 {length}, ptr {_length_place(e, target)}")


def _own(e: Emitter, op: Op) -> str:
    """Return the header that an op may change."""
    header = _header(e, op.result)
    if op in e.plan.copied:
        copy_list(e, header, op.operands[0])
    return header


def _write(e: Emitter, view: View, value: Value, add: bool = False) -> None:
    built = Expressions(e, e.text, e.shape(value))
    node = built.node(value, built.identity)
    if add:
        node = add_nodes(built, view.dtype, built.load(view, built.identity), node)
    e.finish_nest(built, [Output(node, built.access(view, built.identity))])


@lowers("list_empty")
def op_empty(e: Emitter, op: Op) -> None:
    """Start an empty list; in a loop its memory is used again."""
    header = _header(e, op.result)
    e.text.do(f"store i64 0, ptr {_length_place(e, header)}")


@lowers("list_push")
def op_push(e: Emitter, op: Op) -> None:
    """Append an element, computed in place."""
    header = _own(e, op)
    items = op.result
    length = _length(e, header)
    bytes = _bytes(e, items)
    place = e.text.emit(f"getelementptr i8, ptr {header}, i64 16")
    capacity = e.text.emit(f"load i64, ptr {place}")
    full = e.text.emit(f"icmp sge i64 {length}, {capacity}")
    more = e.text.emit(f"add i64 {length}, 1")
    e.text.when(full, lambda: _reserve(e, header, more, bytes))
    _write(e, _place(e, items, header, length), op.operands[1])
    e.text.do(f"store i64 {more}, ptr {_length_place(e, header)}")


@lowers("list_pop")
def op_pop(e: Emitter, op: Op) -> None:
    """Drop the last element."""
    header = _own(e, op)
    length = _length(e, header)
    e.text.do(f"store i64 {e.text.emit(f'sub i64 {length}, 1')}, ptr {_length_place(e, header)}")


@lowers("list_get")
def op_get(e: Emitter, op: Op) -> None:
    """Read an element: into a register, or a copy, for the list may move."""
    items, position = op.operands
    view = _place(e, items, _header(e, items), e.size(position))
    if is_scalar(op.result):
        e.handles[op.result] = e.lanes.load(view.pointer, view.dtype, 1, 1)
        return
    e.define(op.result)
    built = Expressions(e, e.text, e.shape(op.result))
    node = built.load(view, built.identity)
    e.finish_nest(built, [Output(node, built.access(e.view(op.result), built.identity))])


@lowers("list_set", "list_addto")
def op_set(e: Emitter, op: Op) -> None:
    """Replace an element or add to it."""
    header = _own(e, op)
    view = _place(e, op.result, header, e.size(op.operands[1]))
    _write(e, view, op.operands[2], add=op.name == "list_addto")


@lowers("list_length")
def op_length(e: Emitter, op: Op) -> None:
    """Read the length."""
    e.handles[op.result] = Handle(_length(e, _header(e, op.operands[0])), INT64.dtype)


@lowers("list_zeros")
def op_zeros(e: Emitter, op: Op) -> None:
    """Make a list of zeros as long as another."""
    header = _header(e, op.result)
    length = _length(e, _header(e, op.operands[0]))
    bytes = _bytes(e, op.result)
    _reserve(e, header, length, bytes)
    e.text.declare("void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
    total = e.text.mul(length, bytes)
    e.text.do(f"call void @llvm.memset.p0.i64(ptr {_data(e, header)}, i8 0, i64 {total}, i1 false)")
    e.text.do(f"store i64 {length}, ptr {_length_place(e, header)}")


def _copy_block(e: Emitter, target: str, source: str, bytes: Sym) -> None:
    e.text.declare("void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
    e.text.do(f"call void @llvm.memcpy.p0.p0.i64(ptr {target}, ptr {source}, i64 {bytes}, i1 false)")


@lowers("list_to_array")
def op_to_array(e: Emitter, op: Op) -> None:
    """Copy the elements into an array."""
    items = op.operands[0]
    e.define(op.result)
    bytes = e.text.mul(e.size(op.operands[1]), _bytes(e, items))
    _copy_block(e, e.view(op.result).pointer, _data(e, _header(e, items)), bytes)


@lowers("list_from_array")
def op_from_array(e: Emitter, op: Op) -> None:
    """Make a list of the rows of an array."""
    array = op.operands[0]
    header = _header(e, op.result)
    length = e.size(array.shape[0])
    _reserve(e, header, length, _bytes(e, op.result))
    view = View(_data(e, header), 0, c_strides(e.text, e.shape(array)), array.array.dtype)
    e.fill(view, array)
    e.text.do(f"store i64 {length}, ptr {_length_place(e, header)}")
