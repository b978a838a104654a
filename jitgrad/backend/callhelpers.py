"""What entries call: the shared functions that check and make arrays, report errors and manage the arena.

In: a table of their own (the words of the module). Out: their IR. They exist so that the text of one specialisation
stays short: an array leaf inline costs a compile 5 ms, as a call none.

The arena of a specialisation is word 0 of its table: taken by reading and zeroing it, which is atomic under the GIL. A
call that finds zero (another is under way) makes its own block; a block of more than 64 MB is not kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.backend.blocks import HANDLER, SMALL_COUNT, emit_handler
from jitgrad.backend.calltext import CallText, Table, shared_text
from jitgrad.backend.capi import ARRAY, DESCR, OB_TYPE
from jitgrad.backend.form import ArrayLeaf

__all__ = [
    "ARENA_ALIGN",
    "ARENA_KEPT_BYTES",
    "ARENA_ROOM",
    "ARENA_STACK_BYTES",
    "Loop",
    "arena_in",
    "array_facts",
    "emit_helpers",
]

ARENA_KEPT_BYTES = 64 * 2**20

# A smaller arena is on the stack.
ARENA_STACK_BYTES = 4096

# What a block has beyond the memory that it hands out: its size at the front, and room to align what follows.
ARENA_ROOM = 128
ARENA_ALIGN = 64

_CONTIGUOUS, _EXACT, _STRIDED = 0, 1, 2
_ANY = -(2**63)  # in place of a stride that may be any


def array_facts(leaf: ArrayLeaf) -> list[Any]:
    """Return what `jg_array` compares an array with: words for `Table.run`."""
    size = leaf.dtype.itemsize
    flags = 0x100 | (0x400 if leaf.writeable else 0)
    mode, strides = _EXACT, []
    if leaf.layout in ("C", "F"):
        mode = _CONTIGUOUS
        flags |= 1 if leaf.layout == "C" else 2
    elif leaf.layout == "strided":
        mode = _STRIDED
    else:
        strides = [s * size if isinstance(s, int) else _ANY for s in leaf.layout]
    dims = [n if isinstance(n, int) else -1 for n in leaf.shape]
    head = [(np.ndarray,), (leaf.dtype,), leaf.dtype.num, len(dims), flags, mode, size.bit_length() - 1]
    return [*head, *dims, *strides]


def emit_helpers(table: Table) -> str:
    """Return the IR of all of them."""
    parts = (_array, _new_array, _drop, _error, _take_arena, _give_arena, _poll, _rejoin)
    return "\n".join(part(table) for part in parts) + emit_handler(table) + _COPY


def arena_in(t: CallText, block: str) -> str:
    """Return where the memory that a block hands out begins."""
    place = t.emit(f"ptrtoint ptr {block} to i64")
    place = t.emit(f"and i64 {t.emit(f'add i64 {place}, {ARENA_ROOM - 1}')}, {-ARENA_ALIGN}")
    return t.emit(f"inttoptr i64 {place} to ptr")


class Loop:
    """A loop over 0 .. count - 1, as a context: `k` is its index."""

    def __init__(self, t: CallText, count: str) -> None:
        self.t, self.count = t, count
        self.index = t.alloca("i64")
        self.head, self.body, self.done = t.fresh("head"), t.fresh("body"), t.fresh("done")

    def __enter__(self) -> str:
        t = self.t
        t.store("i64 0", self.index)
        t.branch(self.head)
        t.start(self.head)
        k = t.load("i64", self.index)
        t.branch_if(t.emit(f"icmp slt i64 {k}, {self.count}"), self.body, self.done)
        t.start(self.body)
        return k

    def __exit__(self, *exception: object) -> None:
        t = self.t
        k = t.load("i64", self.index)
        t.store(f"i64 {t.emit(f'add i64 {k}, 1')}", self.index)
        t.branch(self.head)
        t.start(self.done)


def _word(t: CallText, pointer: str, index: str) -> str:
    return t.load("i64", t.emit(f"getelementptr i64, ptr {pointer}, i64 {index}"))


def _array(table: Table) -> str:
    """Whether an object is an array of some facts; if so, store its words."""
    t = shared_text(table)
    t.unless(t.equal("ptr", t.load("ptr", "%object", OB_TYPE), t.load("ptr", "%facts")), "no")
    # NumPy's own descriptor of the dtype, or (arrays that were pickled have others) one like it.
    descr = t.load("ptr", "%object", ARRAY["descr"])
    t.branch_if(t.equal("ptr", descr, t.load("ptr", "%facts", 8)), "dtype", "like")
    t.start("like")
    order = t.load("i8", descr, DESCR["byteorder"])
    native = t.emit(f"or i1 {t.equal('i8', order, ord('='))}, {t.equal('i8', order, ord('|'))}")
    number = t.emit(f"sext i32 {t.load('i32', descr, DESCR['type_num'])} to i64")
    t.branch_if(t.all([t.equal("i64", number, t.load("i64", "%facts", 16)), native]), "dtype", "no")
    t.start("dtype")
    rank = t.emit(f"sext i32 {t.load('i32', '%object', ARRAY['nd'])} to i64")
    needed = t.load("i64", "%facts", 32)
    flags = t.emit(f"zext i32 {t.load('i32', '%object', ARRAY['flags'])} to i64")
    flags = t.equal("i64", t.emit(f"and i64 {flags}, {needed}"), needed)
    t.unless(t.all([flags, t.equal("i64", rank, t.load("i64", "%facts", 24))]), "no")
    dims, steps = (t.load("ptr", "%object", ARRAY[name]) for name in ("dimensions", "strides"))
    wanted_dims = t.at("%facts", 56)
    wanted_steps = t.emit(f"getelementptr i64, ptr {wanted_dims}, i64 {rank}")
    t.store(f"ptr {t.load('ptr', '%object', ARRAY['data'])}", "%words")
    out = t.alloca("ptr")
    t.store(f"ptr {t.at('%words', 8)}", out)
    with Loop(t, rank) as k:
        dim, wanted = _word(t, dims, k), _word(t, wanted_dims, k)
        free, fixed, on = t.fresh("free"), t.fresh("fixed"), t.fresh("next")
        t.branch_if(t.equal("i64", wanted, -1), free, fixed)
        t.start(free)
        _push(t, out, dim)
        t.branch(on)
        t.start(fixed)
        t.branch_if(t.equal("i64", dim, wanted), on, "no")
        t.start(on)
    mode = t.load("i64", "%facts", 40)
    shift = t.load("i64", "%facts", 48)
    t.do(f"switch i64 {mode}, label %yes [ i64 {_EXACT}, label %exact i64 {_STRIDED}, label %strided ]")
    t.start("exact")
    with Loop(t, rank) as k:
        wanted, free, fixed, on = _word(t, wanted_steps, k), t.fresh("free"), t.fresh("fixed"), t.fresh("next")
        t.branch_if(t.equal("i64", wanted, _ANY), free, fixed)
        t.start(free)
        _push_step(t, out, _word(t, steps, k), shift)
        t.branch(on)
        t.start(fixed)
        t.branch_if(t.equal("i64", _word(t, steps, k), wanted), on, "no")
        t.start(on)
    t.branch("yes")
    t.start("strided")
    with Loop(t, rank) as k:
        _push_step(t, out, _word(t, steps, k), shift)
    t.branch("yes")
    t.start("yes")
    t.do("ret i1 true")
    t.start("no")
    t.do("ret i1 false")
    return t.function("define i1 @jg_array(ptr %object, ptr %facts, ptr %words)")


def _push(t: CallText, out: str, value: str) -> None:
    """Store a word where a pointer points and move it on."""
    place = t.load("ptr", out)
    t.store(f"i64 {value}", place)
    t.store(f"ptr {t.at(place, 8)}", out)


def _push_step(t: CallText, out: str, step: str, shift: str) -> None:
    """Push a stride in elements, if it is one of whole elements."""
    elements = t.emit(f"ashr i64 {step}, {shift}")
    t.unless(t.equal("i64", t.emit(f"shl i64 {elements}, {shift}"), step), "no")
    _push(t, out, elements)


def _new_array(table: Table) -> str:
    """Return a new array by its facts (type, dtype, rank, order, dimensions), -1 standing for the next of `%sizes`.

    The memory of one that may be large comes from our handler (`blocks`).
    """
    t = shared_text(table)
    rank = t.load("i64", "%facts", 16)
    shape = t.alloca("[64 x i64]")  # NumPy's greatest rank
    out, count = t.alloca("ptr"), t.alloca("i64")
    t.store("ptr %sizes", out)
    t.store("i64 1", count)
    with Loop(t, rank) as k:
        dim = _word(t, t.at("%facts", 32), k)
        place = t.emit(f"getelementptr i64, ptr {shape}, i64 {k}")
        free, fixed, on = t.fresh("free"), t.fresh("fixed"), t.fresh("next")
        t.branch_if(t.equal("i64", dim, -1), free, fixed)
        t.start(free)
        size = t.load("ptr", out)
        t.store(f"i64 {t.load('i64', size)}", place)
        t.store(f"ptr {t.at(size, 8)}", out)
        t.branch(on)
        t.start(fixed)
        t.store(f"i64 {dim}", place)
        t.branch(on)
        t.start(on)
        before, dim = t.load("i64", count), t.load("i64", place)
        t.store(f"i64 {t.emit(f'mul i64 {before}, {dim}')}", count)
    descr = t.load("ptr", "%facts", 8)
    t.incref(descr)  # which the call below steals
    cls = t.load("ptr", "%facts")
    ints = [t.emit(f"trunc i64 {value} to i32") for value in (rank, t.load("i64", "%facts", 24))]
    given = (
        "PyArray_NewFromDescr", "ptr", f"ptr {cls}", f"ptr {descr}", f"i32 {ints[0]}", f"ptr {shape}", "ptr null",
        "ptr null", f"i32 {ints[1]}", "ptr null",
    )  # fmt: skip
    t.branch_if(t.emit(f"icmp ult i64 {t.load('i64', count)}, {SMALL_COUNT}"), "small", "large")
    t.start("small")
    t.do(f"ret ptr {t.api(*given)}")
    t.start("large")
    before = t.api("PyDataMem_SetHandler", "ptr", f"ptr {t.object(HANDLER)}")
    t.not_null(before, "failed")
    array = t.api(*given)
    # What goes wrong is told when the handler of before is in its place again.
    told = [t.alloca("ptr") for _ in range(3)]
    t.api("PyErr_Fetch", "void", *(f"ptr {place}" for place in told))
    t.decref(t.api("PyDataMem_SetHandler", "ptr", f"ptr {before}"))
    t.decref(before)
    t.api("PyErr_Restore", "void", *(f"ptr {t.load('ptr', place)}" for place in told))
    t.do(f"ret ptr {array}")
    t.start("failed")
    t.do("ret ptr null")
    return t.function("define ptr @jg_new_array(ptr %facts, ptr %sizes)")


def _drop(table: Table) -> str:
    """Give back the references in some slots, and empty them."""
    t = shared_text(table)
    with Loop(t, "%count") as k:
        place = t.emit(f"getelementptr ptr, ptr %slots, i64 {k}")
        pointer = t.load("ptr", place)
        t.store("ptr null", place)
        t.decref(pointer)
    t.do("ret void")
    return t.function("define void @jg_drop(ptr %slots, i64 %count)")


def _error(table: Table) -> str:
    """Turn an error code of a body into what `on_error` makes of it; null for an exception that is set already.

    What a poll was stopped by is set too, and handed to `on_error`, which raises it at the user's line.
    """
    t = shared_text(table)
    pending = t.alloca("[3 x ptr]")
    for part in range(3):
        t.store("ptr null", pending, 8 * part)
    t.unless(t.emit("icmp sgt i32 %code, 0"), "set")
    t.branch_if(t.equal("ptr", t.api("PyErr_Occurred", "ptr"), "null"), "take", "stopped")
    t.start("stopped")
    parts = [f"ptr {t.at(pending, 8 * part)}" for part in range(3)]
    t.api("PyErr_Fetch", "void", *parts)
    t.api("PyErr_NormalizeException", "void", *parts)
    kind, value, trace = (t.load("ptr", pending, 8 * part) for part in range(3))
    t.decref(kind)
    t.branch_if(t.equal("ptr", trace, "null"), "take", "traced")
    t.start("traced")
    t.api("PyException_SetTraceback", "i32", f"ptr {value}", f"ptr {trace}")
    t.decref(trace)
    t.branch("take")
    t.start("take")
    operands = t.api("PyTuple_New", "ptr", "i64 %count")
    t.not_null(operands, "set")
    with Loop(t, "%count") as k:
        value = t.api("PyLong_FromLongLong", "ptr", f"i64 {_word(t, '%err', k)}")
        t.not_null(value, "drop")
        code = t.api("PyTuple_SetItem", "i32", f"ptr {operands}", f"i64 {k}", f"ptr {value}")
        t.unless(t.equal("i32", code, 0), "drop")
    site = t.emit(f"sext i32 {t.emit('sub i32 %code, 1')} to i64")
    number = t.api("PyLong_FromLongLong", "ptr", f"i64 {site}")
    t.not_null(number, "drop")
    place = t.alloca("[3 x ptr]")
    t.store(f"ptr {number}", place)
    t.store(f"ptr {operands}", place, 8)
    exception = t.load("ptr", pending, 8)
    t.store(f"ptr {exception}", place, 16)
    given = t.emit(f"select i1 {t.equal('ptr', exception, 'null')}, i64 2, i64 3")
    result = t.api("PyObject_Vectorcall", "ptr", "ptr %on_error", f"ptr {place}", f"i64 {given}", "ptr null")
    t.decref(exception)
    t.decref(number)
    t.decref(operands)
    t.do(f"ret ptr {result}")
    t.start("drop")
    t.decref(operands)
    t.branch("set")
    t.start("set")
    t.do("ret ptr null")
    return t.function("define ptr @jg_error(i32 %code, ptr %err, i64 %count, ptr %on_error)", cold=True)


def _take_arena(table: Table) -> str:
    t = shared_text(table)
    block = t.load("ptr", "%words")
    t.store("ptr null", "%words")
    t.branch_if(t.equal("ptr", block, "null"), "make", "look")
    t.start("look")
    t.branch_if(t.emit(f"icmp uge i64 {t.load('i64', block)}, %size"), "use", "small")
    t.start("use")
    t.do(f"ret ptr {block}")
    t.start("small")
    t.api("PyMem_RawFree", "void", f"ptr {block}")
    t.branch("make")
    t.start("make")
    # A size that is negative or that no machine has is out of memory.
    t.unless(t.emit(f"icmp ult i64 %size, {2**62}"), "none")
    made = t.api("PyMem_RawMalloc", "ptr", f"i64 {t.emit(f'add i64 %size, {ARENA_ROOM}')}")
    t.not_null(made, "none")
    t.store("i64 %size", made)
    t.do(f"ret ptr {made}")
    t.start("none")
    t.do(f"ret ptr {t.api('PyErr_NoMemory', 'ptr')}")
    return t.function("define ptr @jg_take_arena(i64 %size, ptr %words)", cold=True)


def _give_arena(table: Table) -> str:
    """Keep a block for the next call, or a larger one if that is wanted; free those that are too large to be kept."""
    t = shared_text(table)
    size = t.load("i64", "%block")
    t.unless(t.emit(f"icmp ule i64 {size}, {ARENA_KEPT_BYTES}"), "free")
    t.unless(t.equal("ptr", t.load("ptr", "%words"), "null"), "free")
    more = t.emit(f"icmp ugt i64 %wanted, {size}")
    kept = t.emit(f"icmp ule i64 %wanted, {ARENA_KEPT_BYTES}")
    t.branch_if(t.emit(f"and i1 {more}, {kept}"), "grow", "keep")
    t.start("keep")
    t.store("ptr %block", "%words")
    t.do("ret void")
    t.start("grow")
    larger = t.api("PyMem_RawMalloc", "ptr", f"i64 {t.emit(f'add i64 %wanted, {ARENA_ROOM}')}")
    t.unless(t.emit(f"icmp ne ptr {larger}, null"), "keep")
    t.store("i64 %wanted", larger)
    t.store(f"ptr {larger}", "%words")
    t.branch("free")
    t.start("free")
    t.api("PyMem_RawFree", "void", "ptr %block")
    t.do("ret void")
    return t.function("define void @jg_give_arena(ptr %block, ptr %words, i64 %wanted)", cold=True)


def _poll(table: Table) -> str:
    """Run the handlers of signals and give up the GIL; true, with the GIL, if one of them raised."""
    t = shared_text(table)
    _take_gil(t)
    t.unless(t.equal("i32", t.api("PyErr_CheckSignals", "i32"), 0), "stop")
    t.store(f"ptr {t.api('PyEval_SaveThread', 'ptr')}", "%state")
    t.do("ret i1 false")
    t.start("stop")
    t.do("ret i1 true")
    return t.function("define i1 @jg_poll(ptr %state)", cold=True)


def _rejoin(table: Table) -> str:
    """Take the GIL again if it was given up."""
    t = shared_text(table)
    _take_gil(t)
    t.do("ret void")
    return t.function("define void @jg_rejoin(ptr %state)", cold=True)


def _take_gil(t: CallText) -> None:
    thread = t.load("ptr", "%state")
    t.branch_if(t.equal("ptr", thread, "null"), "held", "free")
    t.start("free")
    t.store("ptr null", "%state")
    t.api("PyEval_RestoreThread", "void", f"ptr {thread}")
    t.branch("held")
    t.start("held")


_COPY = """
define void @jg_copy(ptr %to, ptr %from, i64 %size) {
  call void @llvm.memmove.p0.p0.i64(ptr %to, ptr %from, i64 %size, i1 false)
  ret void
}
declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)
"""
