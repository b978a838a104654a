"""From unboxed words to the result object, as IR: allocate, run the body, build what Python gets.

In: a `CallForm`. Out: the text of

    define internal ptr @jg_finish(ptr %in, ptr %kept, ptr %table)

which makes the arrays that the body fills, lends it the arena, runs it, turns an
error code into a call of `on_error`, and otherwise builds the result tree. `%kept` holds the input leaves that the
result refers to. Returns a new reference, or null with an exception set. `entry` writes its two callers.

References. Whatever has been made and not yet been given to its container stands in a slot of `%made`, null when it
has none; every failure goes to one place that gives back all slots.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.backend.callhelpers import ARENA_ALIGN, ARENA_STACK_BYTES, arena_in
from jitgrad.backend.calltext import CallText, Table
from jitgrad.backend.capi import ARRAY
from jitgrad.backend.form import (
    ArrayResult,
    CallForm,
    CallResult,
    ChoiceResult,
    ChoiceTag,
    ConstantResult,
    DictResult,
    LateArrayResult,
    ListResult,
    NumberResult,
    ObjectResult,
    RepeatResult,
    SameResult,
    SharedSize,
    TupleResult,
    ViewResult,
    result_leaves,
)

__all__ = ["ON_ERROR", "WORTH_OPTIMISING", "emit_finish"]

# Longer glue (in lines) is straight calls, which the optimisers cannot better, but would take most of a compile.
WORTH_OPTIMISING = 120


class _OnError:
    """Stands in the table for the specialisation's `on_error`, which is put there when it is linked."""


ON_ERROR = _OnError()


def emit_finish(form: CallForm, table: Table) -> str:
    """Return the IR of `jg_finish` and what it calls."""
    return _Finish(form, table).emit()


class _Finish:
    """The function being written."""

    def __init__(self, form: CallForm, table: Table) -> None:
        self.form = form
        self.t = CallText(table)
        self.results = result_leaves(form.result)
        self.offsets = form.output_offsets
        self.out = self.t.alloca(f"[{max(self.offsets[-1], 1)} x i64]", 16)
        self.err = self.t.alloca(f"[{max(form.error_words, 1)} x i64]")
        self.sizes = self.t.alloca(f"[{max(form.plan_words, 1)} x i64]")
        self.slots = 0
        self.array_slots: dict[int, int] = {}
        self.repeat_slots: dict[int, list[int]] = {}
        self.chosen: dict[int, str] = {}
        self.leaf = 0
        # Places of the words that point to memory which the body leaves to us.
        self.owned = [
            8 * self.offsets[k] for k, r in enumerate(self.results) if isinstance(r, LateArrayResult) and r.owned
        ]
        self.uses_arena = form.arena_bytes is None or form.arena_grows or form.arena_bytes > ARENA_STACK_BYTES
        self.block = self.t.alloca("ptr") if self.uses_arena else ""
        self.arena = self.t.alloca("ptr") if form.arena_grows else ""

    def emit(self) -> str:
        """Return the text."""
        t, form = self.t, self.form
        if form.plan_words:
            # Before anything is held: an error here has nothing to give back.
            code = t.api("plan", "i32", "ptr %in", f"ptr {self.sizes}", f"ptr {self.err}")
            self._check(code, False)
        self._allocate()
        arena = self._take_arena()
        code = t.api("body", "i32", "ptr %in", f"ptr {self.out}", f"ptr {arena}", f"ptr {self.err}")
        self._check(code, True)
        self._copy_late()
        self._give_arena_back()
        result = self._box(form.result)
        if any(isinstance(r, ChoiceTag) for r in self.results):
            self._give_slots_back()
        t.do(f"ret ptr {result}")
        if self.slots:
            t.start("fail")
            self._give_slots_back()
            t.do("ret ptr null")
        if self.owned:
            t.start("fail_with_owned")
            for place in self.owned:
                t.api("PyMem_RawFree", "void", f"ptr {t.load('ptr', self.out, place)}")
            t.branch("fail_in_arena" if self.uses_arena else "fail")
        if self.uses_arena:
            t.start("fail_in_arena")
            self._give_arena_back()
            t.branch("fail") if self.slots else t.do("ret ptr null")
        if self.slots:
            t.entry.append(f"  %made = alloca [{self.slots} x ptr]")
        for k in range(self.slots):
            t.entry.append(f"  %made{k} = getelementptr ptr, ptr %made, i64 {k}")
            t.entry.append(f"  store ptr null, ptr %made{k}")
        head = "define internal ptr @jg_finish(ptr %in, ptr %kept, ptr %table)"
        return t.function(head, cold=len(t.lines) > WORTH_OPTIMISING)

    # --- slots

    def _slot(self) -> int:
        self.slots += 1
        return self.slots - 1

    def _give_slots_back(self) -> None:
        if self.slots:
            self.t.api("jg_drop", "void", "ptr %made", f"i64 {self.slots}")

    def _failing(self, pointer: str) -> str:
        """Leave for the failure unless a new reference was made; return it."""
        if not self.slots:
            # Nothing to give back: null is what the caller gets.
            on, out = self.t.fresh("ok"), self.t.fresh("null")
            self.t.branch_if(self.t.equal("ptr", pointer, "null"), out, on)
            self.t.start(out)
            self.t.do("ret ptr null")
            self.t.start(on)
        else:
            self.t.not_null(pointer, "fail")
        return pointer

    def _check(self, code: str, running: bool) -> None:
        """Handle what a body or plan returned."""
        t = self.t
        bad, on = t.fresh("bad"), t.fresh("good")
        t.branch_if(t.equal("i32", code, 0), on, bad)
        t.start(bad)
        if running:
            self._give_arena_back()
            self._give_slots_back()
        count, function = self.form.error_words, t.object(ON_ERROR)
        result = t.api("jg_error", "ptr", f"i32 {code}", f"ptr {self.err}", f"i64 {count}", f"ptr {function}")
        t.do(f"ret ptr {result}")
        t.start(on)

    # --- before the body

    def _allocate(self) -> None:
        """Make the arrays whose size is known, and the further references that repeats of them will be."""
        t = self.t
        place = 8 * (self.form.arena_bytes is None)
        for k, result in enumerate(self.results):
            if not isinstance(result, ArrayResult):
                continue
            sizes = t.at(self.sizes, place)
            if any(isinstance(n, SharedSize) for n in result.shape):
                sizes = self._gathered(result, place)
            place += 8 * result.shape.count(None)
            slot = self.array_slots[k] = self._slot()
            array = self._new_array(result.dtype, result.shape, result.order, sizes, slot, "fail")
            self._repeat(k, array)
            t.store(f"ptr {t.load('ptr', array, ARRAY['data'])}", self.out, 8 * self.offsets[k])

    def _gathered(self, result: ArrayResult, place: int) -> str:
        """Return where the run-time sizes of an array follow each other, those from the arguments among them."""
        t, at = self.t, 8 * self.form.input_offsets[-1]
        free = [n for n in result.shape if not isinstance(n, int)]
        sizes = t.alloca(f"[{len(free)} x i64]")
        for k, n in enumerate(free):
            if n is None:
                size = t.load("i64", self.sizes, place)
                place += 8
            else:
                size = t.load("i64", "%in", at + 8 * n.number)
            t.store(f"i64 {size}", sizes, 8 * k)
        return sizes

    def _repeat(self, k: int, array: str) -> None:
        """Hold the further references that repeats of a result will be."""
        for result in self.results:
            if isinstance(result, RepeatResult) and result.leaf == k:
                slot = self._slot()
                self.t.incref(array)
                self.t.store(f"ptr {array}", "%made", 8 * slot)
                self.repeat_slots.setdefault(k, []).append(slot)

    def _new_array(
        self, dtype: np.dtype, shape: tuple[int | SharedSize | None, ...], order: str, sizes: str, slot: int, label: str
    ) -> str:
        """Make an array, whose run-time sizes follow each other at `sizes`, and put it into a slot."""
        t = self.t
        dims = [n if isinstance(n, int) else -1 for n in shape]
        facts = t.run([(np.ndarray,), (dtype,), len(dims), 2 if order == "F" else 0, *dims])
        array = t.api("jg_new_array", "ptr", f"ptr {facts}", f"ptr {sizes}")
        t.not_null(array, label)
        t.store(f"ptr {array}", "%made", 8 * slot)
        return array

    def _take_arena(self) -> str:
        t, needed = self.t, self.form.arena_bytes
        if not self.uses_arena:
            return t.alloca(f"[{needed} x i8]", ARENA_ALIGN) if needed else "null"
        amount = t.load("i64", self.sizes) if needed is None else t.load("i64", "%table", 8 * t.table.number(needed))
        block = self._failing(t.api("jg_take_arena", "ptr", f"i64 {amount}", "ptr %table"))
        t.store(f"ptr {block}", self.block)
        # A block begins with its size and has room to be aligned.
        arena = arena_in(t, block)
        if self.form.arena_grows:
            t.store(f"i64 {t.load('i64', block)}", arena, -16)
            t.store("i64 0", arena, -8)
            t.store(f"ptr {arena}", self.arena)
        return arena

    def _give_arena_back(self) -> None:
        if not self.uses_arena:
            return
        t = self.t
        block = t.load("ptr", self.block)
        wanted = t.load("i64", t.load("ptr", self.arena), -8) if self.form.arena_grows else "0"
        t.api("jg_give_arena", "void", f"ptr {block}", "ptr %table", f"i64 {wanted}")

    # --- after the body

    def _copy_late(self) -> None:
        """Make the arrays whose size the body found out, while the arena still lives."""
        t = self.t
        label = "fail_with_owned" if self.owned else "fail_in_arena" if self.uses_arena else "fail"
        for k, result in enumerate(self.results):
            if not isinstance(result, LateArrayResult):
                continue
            at = 8 * self.offsets[k]
            slot = self.array_slots[k] = self._slot()
            sizes = t.at(self.out, at + 8)
            array = self._new_array(result.dtype, (None,) * result.rank, result.order, sizes, slot, label)
            size = str(result.dtype.itemsize)
            for axis in range(result.rank):
                size = t.emit(f"mul i64 {size}, {t.load('i64', sizes, 8 * axis)}")
            source = t.load("ptr", self.out, at)
            t.api("jg_copy", "void", f"ptr {t.load('ptr', array, ARRAY['data'])}", f"ptr {source}", f"i64 {size}")
            if result.owned:
                t.api("PyMem_RawFree", "void", f"ptr {source}")
                t.store("ptr null", self.out, at)
            self._repeat(k, array)

    def _box(self, tree: Any) -> str:
        """Return a register with a new reference to what a result tree describes."""
        t = self.t
        if isinstance(tree, TupleResult):
            return self._box_sequence("PyTuple", tree.children)
        if isinstance(tree, ListResult):
            return self._box_sequence("PyList", tree.children)
        if isinstance(tree, DictResult):
            made = self._failing(t.api("PyDict_New", "ptr"))
            return self._fill(made, "PyDict_SetItem", tree.keys, tree.children)
        if isinstance(tree, ObjectResult):
            place = t.alloca("ptr")
            t.store(f"ptr {t.object(tree.cls)}", place)
            made = self._vectorcall(t.object(tree.cls.__new__), place, 1)
            return self._fill(made, "PyObject_GenericSetAttr", tree.names, tree.children)
        if isinstance(tree, CallResult):
            return self._box_call(tree)
        if isinstance(tree, ChoiceResult):
            return self._box_choice(tree)
        k = self.leaf
        self.leaf += 1
        if isinstance(tree, ArrayResult | LateArrayResult):
            return self._from_slot(self.array_slots[k])
        if isinstance(tree, RepeatResult):
            if tree.leaf not in self.chosen:
                return self._from_slot(self.repeat_slots[tree.leaf].pop())
            found = t.load("ptr", self.chosen[tree.leaf])
            t.incref(found)
            return found
        if isinstance(tree, NumberResult):
            return self._box_number(tree, 8 * self.offsets[k])
        if isinstance(tree, ViewResult):
            return self._box_view(tree, 8 * self.offsets[k])
        if isinstance(tree, SameResult):
            found = t.load("ptr", "%kept", 8 * tree.leaf)
        else:
            assert isinstance(tree, ConstantResult)
            found = t.object(tree.value)
        t.incref(found)
        return found

    def _from_slot(self, slot: int) -> str:
        found = self.t.load("ptr", "%made", 8 * slot)
        self.t.store("ptr null", "%made", 8 * slot)
        return found

    def _box_sequence(self, api: str, children: tuple[Any, ...]) -> str:
        t = self.t
        made = self._failing(t.api(f"{api}_New", "ptr", f"i64 {len(children)}"))
        if not children:
            return made
        slot = self._slot()
        t.store(f"ptr {made}", "%made", 8 * slot)
        for k, child in enumerate(children):
            item = self._box(child)
            code = t.api(f"{api}_SetItem", "i32", f"ptr {made}", f"i64 {k}", f"ptr {item}")  # takes the reference
            t.unless(t.equal("i32", code, 0), "fail")
        return self._from_slot(slot)

    def _fill(self, made: str, api: str, names: tuple[Any, ...], children: tuple[Any, ...]) -> str:
        """Put children into a dict or an object."""
        t = self.t
        if not children:
            return made
        slot = self._slot()
        t.store(f"ptr {made}", "%made", 8 * slot)
        for name, child in zip(names, children, strict=True):
            item = self._box(child)
            code = t.api(api, "i32", f"ptr {made}", f"ptr {t.object(name)}", f"ptr {item}")
            t.decref(item)
            t.unless(t.equal("i32", code, 0), "fail")
        return self._from_slot(slot)

    def _box_call(self, tree: CallResult) -> str:
        t, count = self.t, len(tree.children)
        place = t.alloca(f"[{max(count, 1)} x ptr]")
        slots = []
        for k, child in enumerate(tree.children):
            item = self._box(child)
            slots.append(self._slot())
            t.store(f"ptr {item}", "%made", 8 * slots[-1])
            t.store(f"ptr {item}", place, 8 * k)
        return self._vectorcall(t.object(tree.function), place, count, slots)

    def _vectorcall(self, function: str, place: str, count: int, slots: list[int] | None = None) -> str:
        """Call a Python callable, then give back the arguments, which stand in slots."""
        t = self.t
        result = t.api("PyObject_Vectorcall", "ptr", f"ptr {function}", f"ptr {place}", f"i64 {count}", "ptr null")
        for slot in slots or ():
            t.decref(self._from_slot(slot))
        return self._failing(result)

    def _box_choice(self, tree: ChoiceResult) -> str:
        t = self.t
        tag = t.load("i64", self.out, 8 * self.offsets[self.leaf])
        place, done = t.alloca("ptr"), t.fresh("chosen")
        self.chosen[self.leaf] = place
        self.leaf += 1
        labels = [t.fresh("choice") for _ in tree.children]
        arms = " ".join(f"i64 {k}, label %{label}" for k, label in enumerate(labels))
        t.do(f"switch i64 {tag}, label %{labels[0]} [ {arms} ]")
        for label, child in zip(labels, tree.children, strict=True):
            t.start(label)
            t.store(f"ptr {self._box(child)}", place)
            t.branch(done)
        t.start(done)
        return t.load("ptr", place)

    def _box_number(self, tree: NumberResult, at: int) -> str:
        t = self.t
        if tree.kind == "numpy":
            place = t.at(self.out, at)
            return self._failing(
                t.api("PyArray_Scalar", "ptr", f"ptr {place}", f"ptr {t.object(tree.dtype)}", "ptr null")
            )
        if tree.kind == "float":
            return self._failing(t.api("PyFloat_FromDouble", "ptr", f"double {t.load('double', self.out, at)}"))
        if tree.kind == "int":
            return self._failing(t.api("PyLong_FromLongLong", "ptr", f"i64 {t.load('i64', self.out, at)}"))
        if tree.kind == "bool":
            # All of the word counts, so that a body may write a byte or a word.
            low = t.emit(f"and i64 {t.load('i64', self.out, at)}, 255")
            true = t.emit(f"icmp ne i64 {low}, 0")
            found = t.emit(f"select i1 {true}, ptr {t.object(True)}, ptr {t.object(False)}")
            t.incref(found)
            return found
        assert tree.kind == "complex"
        parts = [f"double {t.load('double', self.out, at + 8 * k)}" for k in range(2)]
        return self._failing(t.api("PyComplex_FromDoubles", "ptr", *parts))

    def _box_view(self, tree: ViewResult, at: int) -> str:
        t = self.t
        base = t.load("ptr", "%kept", 8 * tree.leaf)
        steps = t.alloca(f"[{max(tree.rank, 1)} x i64]")
        for k in range(tree.rank):
            step = t.load("i64", self.out, at + 8 * (1 + tree.rank + k))
            t.store(f"i64 {t.emit(f'mul i64 {step}, {tree.dtype.itemsize}')}", steps, 8 * k)
        descr = t.object(tree.dtype)
        t.incref(descr)
        writeable = t.emit(f"and i32 {t.load('i32', base, ARRAY['flags'])}, {0x400}")
        view = t.api(
            "PyArray_NewFromDescr", "ptr", f"ptr {t.object(np.ndarray)}", f"ptr {descr}", f"i32 {tree.rank}",
            f"ptr {t.at(self.out, at + 8)}", f"ptr {steps}", f"ptr {t.load('ptr', self.out, at)}", f"i32 {writeable}",
            "ptr null",
        )  # fmt: skip
        slot = self._slot()
        t.not_null(view, "fail")
        t.store(f"ptr {view}", "%made", 8 * slot)
        t.incref(base)  # which the call below takes, whatever comes of it
        code = t.api("PyArray_SetBaseObject", "i32", f"ptr {view}", f"ptr {base}")
        t.unless(t.equal("i32", code, 0), "fail")
        return self._from_slot(slot)
