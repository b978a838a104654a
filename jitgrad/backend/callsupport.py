"""The code that all entries of a process share: emitted once, at the first need, and never freed.

Out: the address of each function by name (`address`, which also knows the C API). These are what entries call (errors,
the arena, copies), and the slots of the type in `runtime`: a vectorcall that tries up to four specialisations and then
calls `_slow_call`, allocation, deallocation, garbage collection, binding as a method.

An instance is laid out as the `OFFSETS` say: object head, vectorcall, `__dict__`, weak references, then four times a
chain link: entry, table, owner. Links are filled from the first; a link without entry ends the chain. The owner (a
Specialisation) is held by the link, and by the vectorcall while its entry runs: another thread, or Python code run by
an entry, may take it out of the chain meanwhile, and with the last reference goes the machine code.

The arena of a specialisation is word 0 of its table: taken by reading and zeroing it, which is atomic under the GIL. A
call that finds zero (another is under way) makes its own block; a block of more than 64 MB is not kept.
"""

from __future__ import annotations

import ctypes
import re
import threading
from typing import Any

from jitgrad.backend import capi
from jitgrad.backend.calltext import CallText, Table
from jitgrad.backend.capi import OB_TYPE
from jitgrad.backend.engine import compile_module

__all__ = ["ARENA_KEPT_BYTES", "ARENA_ROOM", "CHAIN", "INSTANCE_BYTES", "OFFSETS", "address"]

OFFSETS = {"vectorcall": 16, "dict": 24, "weakrefs": 32, "chain": 40}
CHAIN = 4
_LINK = 24
INSTANCE_BYTES = OFFSETS["chain"] + CHAIN * _LINK

ARENA_KEPT_BYTES = 64 * 2**20

# What a block has beyond the memory that it hands out: its size at the front, and room to align what follows to 64.
ARENA_ROOM = 128

_lock = threading.Lock()
_functions: dict[str, int] = {}
_kept: list[Any] = []


def address(name: str) -> int:
    """Return the address of a function of this module's code (`jg_...`) or of the C API."""
    if not name.startswith("jg_"):
        return capi.address(name)
    with _lock:
        if not _functions:
            _load()
        return _functions[name]


def _load() -> None:
    table = Table()
    text = _emit(table)
    words, kept = table.filled({}, capi.address)
    code = compile_module(f"@jg_words = global [{len(words)} x i64] zeroinitializer\n{text}", level="minimal")
    ctypes.memmove(code.address("jg_words"), words, ctypes.sizeof(words))
    found = {name: code.address(name) for name in re.findall(r"define \w+ @(jg_\w+)", text)}
    # The interpreter frees instances while it shuts down, when the engine would be gone.
    code.keep_for_ever()
    _kept.extend([code, *kept])
    _functions.update(found)


def _emit(table: Table) -> str:
    parts = (_call, _new, _traverse, _clear, _dealloc, _get, _install, _error, _take_arena, _give_arena)
    return "\n".join(part(table) for part in parts) + _COPY


def _text(table: Table) -> CallText:
    t = CallText(table)
    t.entry.append("  %table = getelementptr i8, ptr @jg_words, i64 0")
    return t


def _owner(link: int) -> int:
    return OFFSETS["chain"] + link * _LINK + 16


def _call(table: Table) -> str:
    """The vectorcall of an instance."""
    t = _text(table)
    count = t.emit(f"and i64 %nargsf, {2**63 - 1}")
    for link in range(CHAIN):
        at = OFFSETS["chain"] + link * _LINK
        entry = t.load("ptr", "%self", at)
        t.not_null(entry, "slow")
        words = t.load("ptr", "%self", at + 8)
        owner = t.load("ptr", "%self", at + 16)
        t.incref(owner)
        result = t.emit(f"call ptr {entry}(ptr %args, i64 {count}, ptr %kwnames, ptr {words})")
        t.decref(owner)
        answered, declined = t.fresh("answered"), t.fresh("declined")
        t.branch_if(t.emit(f"icmp ne ptr {result}, inttoptr (i64 1 to ptr)"), answered, declined)
        t.start(answered)
        t.do(f"ret ptr {result}")
        t.start(declined)
    t.branch("slow")
    t.start("slow")
    method = t.api("PyObject_GetAttr", "ptr", "ptr %self", f"ptr {t.object('_slow_call')}")
    t.not_null(method, "none")
    result = t.api("PyObject_Vectorcall", "ptr", f"ptr {method}", "ptr %args", "i64 %nargsf", "ptr %kwnames")
    t.decref(method)
    t.do(f"ret ptr {result}")
    t.start("none")
    t.do("ret ptr null")
    return t.function("define ptr @jg_call(ptr %self, ptr %args, i64 %nargsf, ptr %kwnames)")


def _new(table: Table) -> str:
    t = _text(table)
    made = t.api("PyType_GenericAlloc", "ptr", "ptr %type", "i64 0")
    t.not_null(made, "none")
    t.store("ptr @jg_call", made, OFFSETS["vectorcall"])
    t.do(f"ret ptr {made}")
    t.start("none")
    t.do("ret ptr null")
    return t.function("define ptr @jg_new(ptr %type, ptr %args, ptr %kwargs)")


def _members() -> list[int]:
    """Return the offsets of the references that an instance holds."""
    return [OFFSETS["dict"], *(_owner(link) for link in range(CHAIN))]


def _traverse(table: Table) -> str:
    t = _text(table)
    for at in (OB_TYPE, *_members()):
        member = t.load("ptr", "%self", at)
        visit, on = t.fresh("visit"), t.fresh("next")
        t.branch_if(t.equal("ptr", member, "null"), on, visit)
        t.start(visit)
        code = t.emit(f"call i32 %visit(ptr {member}, ptr %arg)")
        stop = t.fresh("stop")
        t.branch_if(t.equal("i32", code, 0), on, stop)
        t.start(stop)
        t.do(f"ret i32 {code}")
        t.start(on)
    t.do("ret i32 0")
    return t.function("define i32 @jg_traverse(ptr %self, ptr %visit, ptr %arg)")


def _clear(table: Table) -> str:
    t = _text(table)
    for link in range(CHAIN):
        # First of all, so that nothing run by what follows gets into an entry.
        t.store("ptr null", "%self", OFFSETS["chain"] + link * _LINK)
    for at in _members():
        member = t.load("ptr", "%self", at)
        t.store("ptr null", "%self", at)
        t.decref(member)
    t.do("ret i32 0")
    return t.function("define i32 @jg_clear(ptr %self)")


def _dealloc(table: Table) -> str:
    t = _text(table)
    t.api("PyObject_GC_UnTrack", "void", "ptr %self")
    t.api("PyObject_ClearWeakRefs", "void", "ptr %self")
    t.emit("call i32 @jg_clear(ptr %self)")
    cls = t.load("ptr", "%self", OB_TYPE)
    t.api("PyObject_GC_Del", "void", "ptr %self")
    t.decref(cls)
    t.do("ret void")
    return t.function("define void @jg_dealloc(ptr %self)")


def _get(table: Table) -> str:
    """`__get__`: the instance itself from a class, a bound method from an object."""
    t = _text(table)
    absent = t.equal("ptr", "%object", "null")
    absent = t.emit(f"or i1 {absent}, {t.equal('ptr', '%object', t.object(None))}")
    t.branch_if(absent, "itself", "bind")
    t.start("bind")
    t.do(f"ret ptr {t.api('PyMethod_New', 'ptr', 'ptr %self', 'ptr %object')}")
    t.start("itself")
    t.incref("%self")
    t.do("ret ptr %self")
    return t.function("define ptr @jg_get(ptr %self, ptr %object, ptr %type)")


def _install(table: Table) -> str:
    """Put a link at the front of the chain, where it was in it already too; the last one falls out if it is full."""
    t = _text(table)
    for link in range(CHAIN):
        on = t.fresh("next")
        t.branch_if(t.equal("ptr", t.load("ptr", "%self", _owner(link)), "%owner"), f"shift{link}", on)
        t.start(on)
    dropped = t.load("ptr", "%self", _owner(CHAIN - 1))
    t.incref("%owner")
    t.branch("move")
    for link in range(CHAIN):
        t.start(f"shift{link}")
        t.branch("move")
    t.start("move")
    # How far to shift, and what falls out, by where we came from.
    sources = ", ".join([f"[ {link}, %shift{link} ]" for link in range(CHAIN)] + [f"[ {CHAIN - 1}, %{on} ]"])
    outs = ", ".join([f"[ null, %shift{link} ]" for link in range(CHAIN)] + [f"[ {dropped}, %{on} ]"])
    last = t.emit(f"phi i64 {sources}")
    out = t.emit(f"phi ptr {outs}")
    for link in range(CHAIN - 1, 0, -1):
        shift, skip = t.fresh("shift_"), t.fresh("skip")
        t.branch_if(t.emit(f"icmp uge i64 {last}, {link}"), shift, skip)
        t.start(shift)
        for word in range(3):
            at = OFFSETS["chain"] + link * _LINK + 8 * word
            t.store(f"ptr {t.load('ptr', '%self', at - _LINK)}", "%self", at)
        t.branch(skip)
        t.start(skip)
    for word, value in enumerate(("%entry", "%words", "%owner")):
        t.store(f"ptr {value}", "%self", OFFSETS["chain"] + 8 * word)
    t.decref(out)
    t.do("ret void")
    return t.function("define void @jg_install(ptr %self, ptr %owner, ptr %entry, ptr %words)")


def _error(table: Table) -> str:
    """Turn an error code of a body into what `on_error` makes of it; null for an exception that is set already."""
    t = _text(table)
    t.unless(t.emit("icmp sgt i32 %code, 0"), "set")
    operands = t.api("PyTuple_New", "ptr", "i64 %count")
    t.not_null(operands, "set")
    index = t.alloca("i64")
    t.store("i64 0", index)
    t.branch("each")
    t.start("each")
    k = t.load("i64", index)
    t.branch_if(t.emit(f"icmp slt i64 {k}, %count"), "fill", "filled")
    t.start("fill")
    word = t.load("i64", t.emit(f"getelementptr i64, ptr %err, i64 {k}"))
    value = t.api("PyLong_FromLongLong", "ptr", f"i64 {word}")
    t.not_null(value, "drop")
    code = t.api("PyTuple_SetItem", "i32", f"ptr {operands}", f"i64 {k}", f"ptr {value}")
    t.unless(t.equal("i32", code, 0), "drop")
    t.store(f"i64 {t.emit(f'add i64 {k}, 1')}", index)
    t.branch("each")
    t.start("filled")
    site = t.emit(f"sext i32 {t.emit('sub i32 %code, 1')} to i64")
    number = t.api("PyLong_FromLongLong", "ptr", f"i64 {site}")
    t.not_null(number, "drop")
    place = t.alloca("[2 x ptr]")
    t.store(f"ptr {number}", place)
    t.store(f"ptr {operands}", place, 8)
    result = t.api("PyObject_Vectorcall", "ptr", "ptr %on_error", f"ptr {place}", "i64 2", "ptr null")
    t.decref(number)
    t.decref(operands)
    t.do(f"ret ptr {result}")
    t.start("drop")
    t.decref(operands)
    t.branch("set")
    t.start("set")
    t.do("ret ptr null")
    return t.function("define ptr @jg_error(i32 %code, ptr %err, i64 %count, ptr %on_error)")


def _take_arena(table: Table) -> str:
    t = _text(table)
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
    return t.function("define ptr @jg_take_arena(i64 %size, ptr %words)")


def _give_arena(table: Table) -> str:
    t = _text(table)
    t.unless(t.emit(f"icmp ule i64 {t.load('i64', '%block')}, {ARENA_KEPT_BYTES}"), "free")
    t.unless(t.equal("ptr", t.load("ptr", "%words"), "null"), "free")
    t.store("ptr %block", "%words")
    t.do("ret void")
    t.start("free")
    t.api("PyMem_RawFree", "void", "ptr %block")
    t.do("ret void")
    return t.function("define void @jg_give_arena(ptr %block, ptr %words)")


_COPY = """
define void @jg_copy(ptr %to, ptr %from, i64 %size) {
  call void @llvm.memmove.p0.p0.i64(ptr %to, ptr %from, i64 %size, i1 false)
  ret void
}
declare void @llvm.memmove.p0.p0.i64(ptr, ptr, i64, i1)
"""
