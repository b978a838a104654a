"""The native entry of one specialisation, as IR: is this call of the form that was compiled, and if so, what is in it.

In: a `CallForm` (see `form`, which says what words the entry and the body exchange). Out: the text of two functions
that find the body in their table, and that table of words.

    define ptr @jg_entry(ptr %args, i64 %nargs, ptr %kwnames, ptr %table)
    define ptr @jg_run(ptr %leaves, ptr %table)

`jg_entry` answers a vectorcall: it compares types, dtypes, ranks, sizes, layouts and facts by pointers and integers,
and returns the pointer 1 if anything differs (no error set, nothing held), else what `box` makes of the body's results,
or null with an exception. `jg_run` takes the leaves as a tuple, checks each (a wrong one must never be read) and raises
TypeError if one does not fit. Both are called with the GIL.

How the rooms fit together:

    spec = link(form, body_ir, on_error=raise_it, level="minimal")     # jitgrad.backend.specialisation
    spec.run((3.0,))                     # leaves in order, hidden inputs last: from the Python slow path
    install(transformed, spec)           # jitgrad.backend.runtime: newest first; four are tried, then `_slow_call`

    @callable_type                       # jitgrad.backend.runtime
    class Transformed:
        def __init__(self, ...): ...
        def _slow_call(self, *args, **kwargs): ...

Safety. What is read from a mutable container, an attribute or the outside is held by a reference until the call ends
(`held`), for anything that runs Python code may drop it there. Whatever may set an error clears it and declines.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.backend.box import WORTH_OPTIMISING, emit_finish
from jitgrad.backend.callhelpers import array_facts
from jitgrad.backend.calltext import CallText, Table
from jitgrad.backend.capi import ARRAY, OB_VALUE
from jitgrad.backend.checks import Checks
from jitgrad.backend.form import (
    MISFIT,
    ArrayLeaf,
    CallForm,
    DictTree,
    ListTree,
    ObjectTree,
    SameResult,
    ScalarLeaf,
    SharedSize,
    StaticLeaf,
    TupleTree,
    ViewResult,
    result_leaves,
)

__all__ = ["emit_entry"]

_PYTHON = {"float": float, "int": int, "bool": bool, "complex": complex}
_INTEGER = {1: "i8", 2: "i16", 4: "i32", 8: "i64"}


def emit_entry(form: CallForm) -> tuple[str, Table]:
    """Return the IR of `jg_entry` and `jg_run` for a form, and their table."""
    table = Table()
    text = emit_finish(form, table)
    text += _Entry(form, table).emit_entry()
    text += _Entry(form, table).emit_run()
    return text, table


class _Entry(Checks):
    """One of the two functions being written."""

    def __init__(self, form: CallForm, table: Table) -> None:
        super().__init__(form, CallText(table))
        self.offsets = form.input_offsets
        self.leaf = 0
        self.leaves: list[str] = []
        self.words = self.t.alloca(f"[{max(self.offsets[-1] + form.sizes, 1)} x i64]", 16)
        self.known_sizes: set[int] = set()
        self.kept = self.t.alloca(f"[{max(len(form.leaves), 1)} x ptr]")
        self.returned = {r.leaf for r in result_leaves(form.result) if isinstance(r, SameResult | ViewResult)}

    # --- the two functions

    def emit_entry(self) -> str:
        """Return the text of `jg_entry`."""
        t, form = self.t, self.form
        t.store("i64 0", self.held_count)
        positional = len(form.arguments) - len(form.keywords)
        t.unless(t.equal("i64", "%nargs", positional), "no")
        self._keywords()
        for k, argument in enumerate(form.arguments):
            self._walk(argument, t.load("ptr", "%args", 8 * k), True)
        # In an order of their own, what others lead through first: functions that ask for the same share their entry.
        for fact in sorted(form.facts, key=lambda f: (len(f.source), f.source[0], f.rule)):
            self._fact(fact)
        for hidden in form.hidden:
            needed = isinstance(hidden.leaf, ArrayLeaf) or self.leaf in self.returned
            self._walk(hidden.leaf, self._find(hidden.source, needed), True)
        # Once all leaves are known, those that were read from outside too.
        self._pairs()
        result = self._finish()
        self._release()
        t.do(f"ret ptr {result}")
        if self.cleared:
            t.start("clear")
            t.api("PyErr_Clear", "void")
            t.branch("no")
        t.start("no")
        self._release()
        t.do("ret ptr inttoptr (i64 1 to ptr)")
        head = "define ptr @jg_entry(ptr %args, i64 %nargs, ptr %kwnames, ptr %table)"
        return self._text(head, len(t.lines) > WORTH_OPTIMISING)

    def emit_run(self) -> str:
        """Return the text of `jg_run`."""
        t, form = self.t, self.form
        leaves = form.leaves
        t.unless(t.type_is("%leaves", tuple), "no")
        t.unless(t.equal("i64", t.api("PyTuple_Size", "i64", "ptr %leaves"), len(leaves)), "no")
        for k, leaf in enumerate(leaves):
            item = t.api("PyTuple_GetItem", "ptr", "ptr %leaves", f"i64 {k}")
            t.not_null(item, "no")
            self._walk(leaf, item, True)
        t.do(f"ret ptr {self._finish()}")
        t.start("no")
        t.api("PyErr_SetObject", "void", f"ptr {t.object(TypeError)}", f"ptr {t.object(MISFIT)}")
        t.do("ret ptr null")
        # Rarely called, so not worth the time of the optimiser.
        return self._text("define ptr @jg_run(ptr %leaves, ptr %table)", True)

    def _text(self, head: str, cold: bool) -> str:
        if self.held_capacity:
            self.t.entry.append(f"  %held = alloca [{self.held_capacity} x ptr]")
        return self.t.function(head, cold=cold)

    def _finish(self) -> str:
        for k in self.returned:
            self.t.store(f"ptr {self.leaves[k]}", self.kept, 8 * k)
        return self.t.emit(f"call ptr @jg_finish(ptr {self.words}, ptr {self.kept}, ptr %table)")

    def _keywords(self) -> None:
        t, names = self.t, self.form.keywords
        if not names:
            t.unless(t.equal("ptr", "%kwnames", "null"), "no")
            return
        t.not_null("%kwnames", "no")
        t.unless(t.equal("i64", t.api("PyTuple_Size", "i64", "ptr %kwnames"), len(names)), "no")
        for k, name in enumerate(names):
            # Names in calls are interned, and so is what `link` puts into the form.
            found = t.api("PyTuple_GetItem", "ptr", "ptr %kwnames", f"i64 {k}")
            t.unless(t.equal("ptr", found, t.object(name)), "no")

    # --- arguments

    def _walk(self, tree: Any, pointer: str, owned: bool) -> None:
        """Check an object against its description; `owned` if it cannot go away during the call."""
        # The value of a number is read at once, so that its object is not needed afterwards.
        fleeting = isinstance(tree, ScalarLeaf) and self.leaf not in self.returned
        if not owned and not fleeting and not isinstance(tree, StaticLeaf):
            self._hold(pointer, True)
        if isinstance(tree, ArrayLeaf | ScalarLeaf):
            self.leaves.append(pointer)
            at = 8 * self.offsets[self.leaf]
            self.leaf += 1
            if isinstance(tree, ArrayLeaf):
                self._array(tree, pointer, at)
            else:
                self._scalar(tree, pointer, at)
        elif isinstance(tree, StaticLeaf):
            self._same(pointer, tree.value, tree.rule)
        elif isinstance(tree, TupleTree):
            self._sequence("PyTuple", tree.cls, tree.children, pointer, True)
        elif isinstance(tree, ListTree):
            self._sequence("PyList", list, tree.children, pointer, False)
        elif isinstance(tree, DictTree):
            self._dict(tree, pointer)
        else:
            assert isinstance(tree, ObjectTree)
            self._object(tree, pointer)

    def _sequence(self, api: str, cls: type, children: tuple[Any, ...], pointer: str, owned: bool) -> None:
        t = self.t
        t.unless(t.type_is(pointer, cls), "no")
        t.unless(t.equal("i64", t.api(f"{api}_Size", "i64", f"ptr {pointer}"), len(children)), "no")
        for k, child in enumerate(children):
            item = t.api(f"{api}_GetItem", "ptr", f"ptr {pointer}", f"i64 {k}")
            self._or_clear(item)
            self._walk(child, item, owned)

    def _dict(self, tree: DictTree, pointer: str) -> None:
        t = self.t
        t.unless(t.type_is(pointer, dict), "no")
        t.unless(t.equal("i64", t.api("PyDict_Size", "i64", f"ptr {pointer}"), len(tree.keys)), "no")
        if not tree.keys:
            return
        place, key, value = t.alloca("i64"), t.alloca("ptr"), t.alloca("ptr")
        t.store("i64 0", place)
        for expected, child in zip(tree.keys, tree.children, strict=True):
            more = t.api("PyDict_Next", "i32", f"ptr {pointer}", f"ptr {place}", f"ptr {key}", f"ptr {value}")
            t.unless(t.emit(f"icmp ne i32 {more}, 0"), "no")
            # Keys of built-in types compare without running anybody's code; others must be the very objects.
            rule = "equal" if type(expected) in (str, int, bool, bytes) else "is"
            item = t.load("ptr", value)
            self._same(t.load("ptr", key), expected, rule)
            self._walk(child, item, False)

    def _object(self, tree: ObjectTree, pointer: str) -> None:
        t = self.t
        t.unless(t.type_is(pointer, tree.cls), "no")
        slots = _slots_of(tree.cls)
        in_dict = [name for name in tree.names if name not in slots]
        members = ""
        if _has_dict(tree.cls):
            members = t.api("PyObject_GenericGetDict", "ptr", f"ptr {pointer}", "ptr null")
            self._or_clear(members)
            self._hold(members, False)
            t.unless(t.equal("i64", t.api("PyDict_Size", "i64", f"ptr {members}"), len(in_dict)), "no")
        for name in slots:
            if name not in tree.names:
                self._unset(pointer, name)
        for name, child in zip(tree.names, tree.children, strict=True):
            if name in slots:
                item = t.api("PyObject_GenericGetAttr", "ptr", f"ptr {pointer}", f"ptr {t.object(name)}")
                self._or_clear(item)
                self._hold(item, False)
                self._walk(child, item, True)
            else:
                item = t.api("PyDict_GetItemWithError", "ptr", f"ptr {members}", f"ptr {t.object(name)}")
                self._or_clear(item)
                self._walk(child, item, False)

    def _unset(self, pointer: str, name: str) -> None:
        """Decline if a slot is set."""
        t = self.t
        found = t.api("PyObject_GenericGetAttr", "ptr", f"ptr {pointer}", f"ptr {t.object(name)}")
        there, on = t.fresh("set"), t.fresh("unset")
        t.branch_if(t.equal("ptr", found, "null"), on, there)
        t.start(there)
        t.decref(found)
        t.branch("no")
        t.start(on)
        t.api("PyErr_Clear", "void")

    # --- leaves

    def _array(self, leaf: ArrayLeaf, pointer: str, at: int) -> None:
        # One shared function reads the facts: it costs the call a few nanoseconds, and each compile 5 ms less.
        t = self.t
        shared = any(isinstance(n, SharedSize) for n in (*leaf.shape, *leaf.layout))
        free = sum(not isinstance(n, int) for n in leaf.shape)
        facts = t.run(array_facts(leaf))
        place = t.alloca(f"[{1 + free + len(leaf.shape)} x i64]") if shared else t.at(self.words, at)
        fits = t.api("jg_array", "i1", f"ptr {pointer}", f"ptr {facts}", f"ptr {place}")
        t.unless(fits, "no")
        if shared:
            self._shared_sizes(leaf, place, at)

    def _shared_sizes(self, leaf: ArrayLeaf, found: str, at: int) -> None:
        """Put the words of an array, some of which are shared sizes, where they belong."""
        t = self.t
        t.store(f"i64 {t.load('i64', found)}", self.words, at)
        strides = leaf.layout if isinstance(leaf.layout, tuple) else [None] * (leaf.words - 1 - leaf.shape.count(None))
        given = [n for n in (*leaf.shape, *strides) if not isinstance(n, int)]
        own = 1
        for read, n in enumerate(given, 1):
            size = t.load("i64", found, 8 * read)
            if n is None:
                t.store(f"i64 {size}", self.words, at + 8 * own)
                own += 1
                continue
            word = 8 * (self.offsets[-1] + n.number)
            if n.number in self.known_sizes:
                t.unless(t.equal("i64", size, t.load("i64", self.words, word)), "no")
                continue
            self.known_sizes.add(n.number)
            if n.least is not None:
                t.unless(t.emit(f"icmp sge i64 {size}, {n.least}"), "no")
            t.store(f"i64 {size}", self.words, word)

    def _scalar(self, leaf: ScalarLeaf, pointer: str, at: int) -> None:
        t = self.t
        if leaf.kind == "bool":
            true = t.equal("ptr", pointer, t.object(True))
            false = t.equal("ptr", pointer, t.object(False))
            t.unless(t.emit(f"or i1 {true}, {false}"), "no")
            t.store(f"i64 {t.emit(f'zext i1 {true} to i64')}", self.words, at)
            return
        cls = leaf.dtype.type if leaf.kind == "numpy" else _PYTHON[leaf.kind]
        t.unless(t.type_is(pointer, cls), "no")
        if cls in (float, np.float64):
            t.store(f"i64 {t.load('i64', pointer, OB_VALUE)}", self.words, at)
        elif cls is int:
            overflow = t.alloca("i32")
            t.store("i32 0", overflow)
            value = t.api("PyLong_AsLongLongAndOverflow", "i64", f"ptr {pointer}", f"ptr {overflow}")
            t.unless(t.equal("i32", t.load("i32", overflow), 0), "no")
            t.store(f"i64 {value}", self.words, at)
        elif cls is complex:
            for k, part in enumerate(("Real", "Imag")):
                value = t.api(f"PyComplex_{part}AsDouble", "double", f"ptr {pointer}")
                t.store(f"double {value}", self.words, at + 8 * k)
        else:
            self._numpy_scalar(leaf.dtype, pointer, at)

    def _numpy_scalar(self, dtype: np.dtype, pointer: str, at: int) -> None:
        t = self.t
        t.store("i64 0", self.words, at)
        t.api("PyArray_ScalarAsCtype", "void", f"ptr {pointer}", f"ptr {t.at(self.words, at)}")
        if dtype.kind == "i" and dtype.itemsize < 8:
            narrow = t.load(_INTEGER[dtype.itemsize], self.words, at)
            t.store(f"i64 {t.emit(f'sext {_INTEGER[dtype.itemsize]} {narrow} to i64')}", self.words, at)

    def _pairs(self) -> None:
        t = self.t
        for i, j in self.form.identical:
            t.unless(t.equal("ptr", self.leaves[i], self.leaves[j]), "no")
        for i, j in self.form.disjoint:
            low_i, high_i = self._extent(i)
            low_j, high_j = self._extent(j)
            apart = t.emit(f"icmp ule i64 {high_i}, {low_j}")
            apart = t.emit(f"or i1 {apart}, {t.emit(f'icmp ule i64 {high_j}, {low_i}')}")
            t.unless(apart, "no")

    def _extent(self, leaf: int) -> tuple[str, str]:
        """Return the first byte of an array and the one after its last."""
        t, form = self.t, self.form.leaves[leaf]
        assert isinstance(form, ArrayLeaf)
        low = t.load("i64", self.leaves[leaf], ARRAY["data"])
        high = t.emit(f"add i64 {low}, {form.dtype.itemsize}")
        if form.shape:
            dims = t.load("ptr", self.leaves[leaf], ARRAY["dimensions"])
            steps = t.load("ptr", self.leaves[leaf], ARRAY["strides"])
            for k in range(len(form.shape)):
                last = t.emit(f"sub i64 {t.load('i64', dims, 8 * k)}, 1")
                reach = t.emit(f"mul i64 {last}, {t.load('i64', steps, 8 * k)}")
                back = t.emit(f"icmp slt i64 {reach}, 0")
                low = t.emit(f"add i64 {low}, {t.emit(f'select i1 {back}, i64 {reach}, i64 0')}")
                high = t.emit(f"add i64 {high}, {t.emit(f'select i1 {back}, i64 0, i64 {reach}')}")
        return low, high


def _slots_of(cls: type) -> list[str]:
    """Return the names of the slots of a class and its bases."""
    found: list[str] = []
    for base in cls.__mro__:
        slots = base.__dict__.get("__slots__", ())
        names = [slots] if isinstance(slots, str) else list(slots)
        found += [s for s in names if s not in ("__dict__", "__weakref__") and s not in found]
    return found


def _has_dict(cls: type) -> bool:
    """Whether instances of a class have a `__dict__`."""
    return any("__dict__" in base.__dict__ for base in cls.__mro__)
