"""Memory of large results: what is freed is kept for the next one.

The C library gives large blocks back to the system and gets them anew, zeroed page by page: a gradient of two arrays of
1e5 numbers waited four times as long for its memory as for its numbers. NumPy takes memory from a handler (NEP 49), and
keeps with each array whose it is. Ours hands out blocks at whole cache lines and keeps up to `KEPT_BLOCKS` that come
back, `KEPT_BYTES` in all, those that came last.

In: a table of words. Out: the IR of the handler's functions, and the capsule through which NumPy knows it. All of them
run under the GIL.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

from jitgrad.backend.calltext import Table, shared_text

__all__ = ["HANDLER", "KEPT_BLOCKS", "KEPT_BYTES", "LARGE", "SMALL_COUNT", "emit_handler", "fill_handler"]

# Smaller blocks are the C library's business; so many elements may be so large.
LARGE = 2**17
SMALL_COUNT = LARGE // 16
KEPT_BYTES = 2**27
KEPT_BLOCKS = 16

# Before a block stand the address of all that was allocated for it, and how much it holds.
_ROOM = 64 + 16

_FUNCTIONS = ("malloc", "calloc", "realloc", "free")


class _Handler(ctypes.Structure):
    """`PyDataMem_Handler`."""

    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", ctypes.c_void_p),
        *((name, ctypes.c_void_p) for name in _FUNCTIONS),
    )


_handler = _Handler(b"jitgrad", 1)


def _capsule() -> object:
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    made: object = new(ctypes.addressof(_handler), b"mem_handler", None)
    return made


HANDLER = _capsule()


def fill_handler(address: Callable[[str], int]) -> None:
    """Put the functions into the handler."""
    for name in _FUNCTIONS:
        setattr(_handler, name, address(f"jg_block_{name}"))


def emit_handler(table: Table) -> str:
    """Return the IR of the handler's functions."""
    text = _TEXT.replace("LARGE", str(LARGE)).replace("BLOCKS", str(KEPT_BLOCKS)).replace("BYTES", str(KEPT_BYTES))
    return "\n".join([_new(table), _drop(table), text])


def _new(table: Table) -> str:
    """Allocate a block; null if there is no memory."""
    t = shared_text(table)
    t.unless(t.emit(f"icmp ult i64 %size, {2**62}"), "none")
    whole = t.api("PyMem_RawMalloc", "ptr", f"i64 {t.emit(f'add i64 %size, {_ROOM}')}")
    t.not_null(whole, "none")
    number = t.emit(f"ptrtoint ptr {whole} to i64")
    line = t.emit(f"and i64 {t.emit(f'add i64 {number}, {_ROOM - 1}')}, -64")
    block = t.emit(f"inttoptr i64 {line} to ptr")
    t.store(f"ptr {whole}", block, -16)
    t.store("i64 %size", block, -8)
    t.do(f"ret ptr {block}")
    t.start("none")
    t.do("ret ptr null")
    return t.function("define internal ptr @jg_block_new(i64 %size)")


def _drop(table: Table) -> str:
    """Give a block back to the C library."""
    t = shared_text(table)
    t.api("PyMem_RawFree", "void", f"ptr {t.load('ptr', '%block', -16)}")
    t.do("ret void")
    return t.function("define internal void @jg_block_drop(ptr %block)")


# Kept blocks stand in a ring: where the next will stand is the oldest.
_TEXT = """
@jg_ring = internal global [BLOCKS x ptr] zeroinitializer
@jg_ring_next = internal global i64 0
@jg_ring_bytes = internal global i64 0

define internal ptr @jg_block_take(i64 %k) {
  %place = getelementptr ptr, ptr @jg_ring, i64 %k
  %block = load ptr, ptr %place
  %none = icmp eq ptr %block, null
  br i1 %none, label %end, label %some
some:
  %at = getelementptr i8, ptr %block, i64 -8
  %size = load i64, ptr %at
  store ptr null, ptr %place
  %bytes = load i64, ptr @jg_ring_bytes
  %less = sub i64 %bytes, %size
  store i64 %less, ptr @jg_ring_bytes
  br label %end
end:
  ret ptr %block
}

define ptr @jg_block_malloc(ptr %context, i64 %size) {
  %large = icmp uge i64 %size, LARGE
  br i1 %large, label %look, label %make
look:
  %k = phi i64 [ 0, %0 ], [ %next, %on ]
  %place = getelementptr ptr, ptr @jg_ring, i64 %k
  %block = load ptr, ptr %place
  %none = icmp eq ptr %block, null
  br i1 %none, label %on, label %some
some:
  %at = getelementptr i8, ptr %block, i64 -8
  %room = load i64, ptr %at
  %enough = icmp uge i64 %room, %size
  %quarter = lshr i64 %size, 2
  %most = add i64 %size, %quarter
  %not_too_much = icmp ule i64 %room, %most
  %fits = and i1 %enough, %not_too_much
  br i1 %fits, label %use, label %on
use:
  %taken = call ptr @jg_block_take(i64 %k)
  ret ptr %taken
on:
  %next = add i64 %k, 1
  %more = icmp ult i64 %next, BLOCKS
  br i1 %more, label %look, label %make
make:
  %made = call ptr @jg_block_new(i64 %size)
  ret ptr %made
}

define ptr @jg_block_calloc(ptr %context, i64 %count, i64 %each) {
  %size = mul i64 %count, %each
  %block = call ptr @jg_block_malloc(ptr %context, i64 %size)
  %none = icmp eq ptr %block, null
  br i1 %none, label %end, label %some
some:
  call void @llvm.memset.p0.i64(ptr %block, i8 0, i64 %size, i1 false)
  br label %end
end:
  ret ptr %block
}

define void @jg_block_free(ptr %context, ptr %block, i64 %size) {
  %none = icmp eq ptr %block, null
  br i1 %none, label %end, label %some
some:
  %at = getelementptr i8, ptr %block, i64 -8
  %room = load i64, ptr %at
  %small = icmp ult i64 %room, LARGE
  %huge = icmp ugt i64 %room, BYTES
  %neither = or i1 %small, %huge
  br i1 %neither, label %drop, label %keep
drop:
  call void @jg_block_drop(ptr %block)
  br label %end
keep:
  %here = load i64, ptr @jg_ring_next
  %wrapped = add i64 %here, 1
  %next = urem i64 %wrapped, BLOCKS
  store i64 %next, ptr @jg_ring_next
  call void @jg_block_forget(i64 %here)
  br label %oldest
oldest:
  %k = phi i64 [ %next, %keep ], [ %following, %forget ]
  %bytes = load i64, ptr @jg_ring_bytes
  %with = add i64 %bytes, %room
  %fits = icmp ule i64 %with, BYTES
  br i1 %fits, label %put, label %forget
forget:
  call void @jg_block_forget(i64 %k)
  %after = add i64 %k, 1
  %following = urem i64 %after, BLOCKS
  br label %oldest
put:
  %place = getelementptr ptr, ptr @jg_ring, i64 %here
  store ptr %block, ptr %place
  store i64 %with, ptr @jg_ring_bytes
  br label %end
end:
  ret void
}

define internal void @jg_block_forget(i64 %k) {
  %block = call ptr @jg_block_take(i64 %k)
  %none = icmp eq ptr %block, null
  br i1 %none, label %end, label %some
some:
  call void @jg_block_drop(ptr %block)
  br label %end
end:
  ret void
}

define ptr @jg_block_realloc(ptr %context, ptr %block, i64 %size) {
  %made = call ptr @jg_block_malloc(ptr %context, i64 %size)
  %failed = icmp eq ptr %made, null
  %fresh = icmp eq ptr %block, null
  %alone = or i1 %failed, %fresh
  br i1 %alone, label %end, label %some
some:
  %at = getelementptr i8, ptr %block, i64 -8
  %room = load i64, ptr %at
  %smaller = icmp ult i64 %room, %size
  %bytes = select i1 %smaller, i64 %room, i64 %size
  call void @llvm.memmove.p0.p0.i64(ptr %made, ptr %block, i64 %bytes, i1 false)
  call void @jg_block_free(ptr %context, ptr %block, i64 %room)
  br label %end
end:
  ret ptr %made
}
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
"""
