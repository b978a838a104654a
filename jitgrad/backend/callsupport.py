"""The code that all entries of a process share: emitted once, at the first need, and never freed.

Out: the address of each function by name (`address`, which also knows the C API). These are what entries call
(`callhelpers`), and the slots of the type in `runtime`, emitted here: a vectorcall that tries up to four
specialisations and then calls `_slow_call`, allocation, deallocation, garbage collection, binding as a method.

An instance is laid out as the `OFFSETS` say: object head, vectorcall, `__dict__`, weak references, then four times a
chain link: entry, table, owner. Links are filled from the first; a link without entry ends the chain. The owner (a
Specialisation) is held by the link, and by the vectorcall while its entry runs: another thread, or Python code run by
an entry, may take it out of the chain meanwhile, and with the last reference goes the machine code.
"""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Callable
from typing import Any

from jitgrad.backend import capi
from jitgrad.backend.blocks import fill_handler
from jitgrad.backend.callhelpers import emit_helpers
from jitgrad.backend.calltext import Table, shared_text
from jitgrad.backend.capi import OB_TYPE
from jitgrad.backend.engine import compile_module
from jitgrad.backend.plain import emit_plain_entry

__all__ = ["CHAIN", "INSTANCE_BYTES", "OFFSETS", "address"]

OFFSETS = {"vectorcall": 16, "dict": 24, "weakrefs": 32, "chain": 40}
CHAIN = 4
_LINK = 24
INSTANCE_BYTES = OFFSETS["chain"] + CHAIN * _LINK

_SLOTS = frozenset({"jg_call", "jg_new", "jg_traverse", "jg_clear", "jg_dealloc", "jg_get", "jg_install"})

_lock = threading.Lock()
_functions: dict[str, int] = {}
_kept: list[Any] = []


def address(name: str) -> int:
    """Return the address of a function of this module's code (`jg_...`) or of the C API."""
    if not name.startswith("jg_"):
        return capi.address(name)
    with _lock:
        if name not in _functions:
            # The slots are needed at import, the helpers at the first compile: some 15 ms each.
            _load(_emit_slots if name in _SLOTS else _emit_helpers)
        return _functions[name]


def _load(emit: Callable[[Table], str]) -> None:
    table = Table()
    text = emit(table)
    words, kept = table.filled({}, capi.address)
    # The slots are run at every call, and compiled where nobody waits for a first one.
    level = "minimal" if emit is _emit_slots else "quick"
    code = compile_module(f"@jg_words = global [{len(words)} x i64] zeroinitializer\n{text}", level=level)
    ctypes.memmove(code.address("jg_words"), words, ctypes.sizeof(words))
    found = {name: code.address(name) for name in re.findall(r"define \w+ @(jg_\w+)", text)}
    # The interpreter frees instances while it shuts down, when the engine would be gone.
    code.keep_for_ever()
    _kept.extend([code, *kept])
    _functions.update(found)
    if emit is _emit_helpers:
        fill_handler(found.__getitem__)


def _emit_helpers(table: Table) -> str:
    return emit_helpers(table) + emit_plain_entry(table)


def _emit_slots(table: Table) -> str:
    return "\n".join(part(table) for part in (_call, _new, _traverse, _clear, _dealloc, _get, _install))


def _owner(link: int) -> int:
    return OFFSETS["chain"] + link * _LINK + 16


def _call(table: Table) -> str:
    """The vectorcall of an instance."""
    t = shared_text(table)
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
    t = shared_text(table)
    made = t.api("PyType_GenericAlloc", "ptr", "ptr %type", "i64 0")
    t.not_null(made, "none")
    t.store("ptr @jg_call", made, OFFSETS["vectorcall"])
    t.do(f"ret ptr {made}")
    t.start("none")
    t.do("ret ptr null")
    return t.function("define ptr @jg_new(ptr %type, ptr %args, ptr %kwargs)", cold=True)


def _members() -> list[int]:
    """Return the offsets of the references that an instance holds."""
    return [OFFSETS["dict"], *(_owner(link) for link in range(CHAIN))]


def _traverse(table: Table) -> str:
    t = shared_text(table)
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
    return t.function("define i32 @jg_traverse(ptr %self, ptr %visit, ptr %arg)", cold=True)


def _clear(table: Table) -> str:
    t = shared_text(table)
    for link in range(CHAIN):
        # First of all, so that nothing run by what follows gets into an entry.
        t.store("ptr null", "%self", OFFSETS["chain"] + link * _LINK)
    for at in _members():
        member = t.load("ptr", "%self", at)
        t.store("ptr null", "%self", at)
        t.decref(member)
    t.do("ret i32 0")
    return t.function("define i32 @jg_clear(ptr %self)", cold=True)


def _dealloc(table: Table) -> str:
    t = shared_text(table)
    t.api("PyObject_GC_UnTrack", "void", "ptr %self")
    t.api("PyObject_ClearWeakRefs", "void", "ptr %self")
    t.emit("call i32 @jg_clear(ptr %self)")
    cls = t.load("ptr", "%self", OB_TYPE)
    t.api("PyObject_GC_Del", "void", "ptr %self")
    t.decref(cls)
    t.do("ret void")
    return t.function("define void @jg_dealloc(ptr %self)", cold=True)


def _get(table: Table) -> str:
    """`__get__`: the instance itself from a class, a bound method from an object."""
    t = shared_text(table)
    absent = t.equal("ptr", "%object", "null")
    absent = t.emit(f"or i1 {absent}, {t.equal('ptr', '%object', t.object(None))}")
    t.branch_if(absent, "itself", "bind")
    t.start("bind")
    t.do(f"ret ptr {t.api('PyMethod_New', 'ptr', 'ptr %self', 'ptr %object')}")
    t.start("itself")
    t.incref("%self")
    t.do("ret ptr %self")
    return t.function("define ptr @jg_get(ptr %self, ptr %object, ptr %type)", cold=True)


def _install(table: Table) -> str:
    """Put a link at the front of the chain, where it was in it already too; the last one falls out if it is full."""
    t = shared_text(table)
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
    return t.function("define void @jg_install(ptr %self, ptr %owner, ptr %entry, ptr %words)", cold=True)
