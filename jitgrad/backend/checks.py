"""Checks of objects in the entry: is it this one, is it like this one, is it still what was read from outside.

In: a function of the entry being written and what to expect. Out: IR that goes on if all is as expected, else leaves
for the label `no` (declined) or `clear` (the same, with an error to be cleared). References that must last until the
end of the call are held here. This room knows no leaves and no trees: `entry` does.
"""

from __future__ import annotations

import enum
from typing import Any

import numpy as np

from jitgrad.backend.calltext import CallText
from jitgrad.backend.capi import OB_VALUE
from jitgrad.backend.form import CallForm

__all__ = ["Checks", "is_by_identity"]

# Single objects, and those whose == takes different numbers for equal (0.0 and -0.0, 1 and True).
_ONLY_ITSELF = (bool, enum.Enum, type(...), complex, frozenset, np.inexact)


class Checks:
    """A function that declines what it does not know.

    Attributes
    ----------
    t : CallText
    held_capacity : int
        How many references the function may come to hold.
    cleared : bool
        Whether the label `clear` is used.
    """

    def __init__(self, form: CallForm, t: CallText) -> None:
        self.form = form
        self.t = t
        self.known: dict[Any, str] = {}
        self.uses = self._count_uses()
        self.held_capacity = 0
        self.held_count = t.alloca("i64")
        self.cleared = False

    # --- references held

    def _hold(self, pointer: str, take: bool) -> None:
        """Hold a reference until the call ends; `take` one, or keep the one that was given."""
        t = self.t
        if take:
            t.incref(pointer)
        self.held_capacity += 1
        count = t.load("i64", self.held_count)
        t.do(f"store ptr {pointer}, ptr {t.emit(f'getelementptr ptr, ptr %held, i64 {count}')}")
        t.store(f"i64 {t.emit(f'add i64 {count}, 1')}", self.held_count)

    def _release(self) -> None:
        if not self.held_capacity:
            return
        t = self.t
        head, body, done = t.fresh("give"), t.fresh("each"), t.fresh("given")
        t.branch(head)
        t.start(head)
        count = t.load("i64", self.held_count)
        t.branch_if(t.equal("i64", count, 0), done, body)
        t.start(body)
        last = t.emit(f"sub i64 {count}, 1")
        t.store(f"i64 {last}", self.held_count)
        t.decref(t.load("ptr", t.emit(f"getelementptr ptr, ptr %held, i64 {last}")))
        t.branch(head)
        t.start(done)

    def _or_clear(self, pointer: str) -> None:
        """Decline, without the error that was set, if a pointer is null."""
        self.cleared = True
        self.t.not_null(pointer, "clear")

    # --- objects

    def _same(self, pointer: str, value: Any, rule: str) -> None:
        """Decline unless a pointer is an object, or under the rule "equal" one of the same type and value.

        Tuples and slices are compared item by item, for (1, 2) == (True, 2.0). What has no cheap sound comparison must
        be the very object: then Python compares.
        """
        t = self.t
        is_it = t.equal("ptr", pointer, t.object(value))
        if is_by_identity(value, rule):
            t.unless(is_it, "no")
            return
        on, other, like = t.fresh("same"), t.fresh("other"), t.fresh("like")
        t.branch_if(is_it, on, other)
        t.start(other)
        t.branch_if(t.type_is(pointer, type(value)), like, "no")
        t.start(like)
        if isinstance(value, tuple | slice):
            self._same_items(pointer, value)
            t.branch(on)
            t.start(on)
            return
        if isinstance(value, float):
            # By bits: 0.0 == -0.0, and a NaN does not equal itself.
            same = t.equal("i64", t.load("i64", pointer, OB_VALUE), t.load("i64", t.object(value), OB_VALUE))
        else:
            got = t.api("PyObject_RichCompareBool", "i32", f"ptr {pointer}", f"ptr {t.object(value)}", "i32 2")
            self.cleared = True
            same, sound = t.equal("i32", got, 1), t.fresh("sound")
            t.branch_if(t.emit(f"icmp slt i32 {got}, 0"), "clear", sound)
            t.start(sound)
        t.branch_if(same, on, "no")
        t.start(on)

    def _same_items(self, pointer: str, value: Any) -> None:
        """Compare a tuple or slice, whose type is right, with another."""
        t = self.t
        if isinstance(value, slice):
            for name in ("start", "stop", "step"):
                item = t.api("PyObject_GetAttr", "ptr", f"ptr {pointer}", f"ptr {t.object(name)}")
                self._or_clear(item)
                self._hold(item, False)
                self._same(item, getattr(value, name), "equal")
            return
        t.unless(t.equal("i64", t.api("PyTuple_Size", "i64", f"ptr {pointer}"), len(value)), "no")
        for k, expected in enumerate(value):
            item = t.api("PyTuple_GetItem", "ptr", f"ptr {pointer}", f"i64 {k}")
            self._or_clear(item)
            self._same(item, expected, "equal")

    # --- the outside

    def _count_uses(self) -> dict[Any, int]:
        """Count how often each source is needed, as a whole or on the way to another."""
        uses: dict[Any, int] = {}
        sources = [f.source for f in self.form.facts] + [h.source for h in self.form.hidden]
        for source in sources:
            for end in range(_root(source), len(source) + 1):
                key = _key(source[:end])
                uses[key] = uses.get(key, 0) + 1
        return uses

    def _find(self, source: tuple[Any, ...], needed: bool = False) -> str:
        """Return what a source leads to now; decline if it leads nowhere. `needed`: it must outlive Python code."""
        key = _key(source)
        if key in self.known:
            return self.known[key]
        found, owned = self._step(source)
        self._or_clear(found)
        if owned:
            self._hold(found, False)
        elif source[0] != "object" and (needed or self.uses[key] > 1):
            self._hold(found, True)
        self.known[key] = found
        return found

    def _step(self, source: tuple[Any, ...]) -> tuple[str, bool]:
        """Emit the last look-up of a source: a pointer, null if nothing is there, and whether it is a new reference."""
        t = self.t
        if len(source) == _root(source):
            root = t.object(source[1])
            if source[0] == "global":
                return t.api("PyDict_GetItemWithError", "ptr", f"ptr {root}", f"ptr {t.object(source[2])}"), False
            if source[0] == "cell":
                return t.api("PyCell_Get", "ptr", f"ptr {root}"), True
            return root, False
        parent = self._find(source[:-1], True)
        how, name = source[-1]
        api = "PyObject_GetAttr" if how == "attr" else "PyObject_GetItem"
        return t.api(api, "ptr", f"ptr {parent}", f"ptr {t.object(name)}"), True

    def _fact(self, fact: Any) -> None:
        t = self.t
        if fact.rule == "absent":
            self._absent(fact.source)
            return
        needed = fact.rule in ("equal", "length", "code")
        found = self._find(fact.source, needed)
        if fact.rule in ("is", "equal"):
            self._same(found, fact.expected, fact.rule)
        elif fact.rule == "type":
            t.unless(t.type_is(found, fact.expected), "no")
        elif fact.rule == "code":
            code = t.api("PyObject_GetAttr", "ptr", f"ptr {found}", f"ptr {t.object('__code__')}")
            self._or_clear(code)
            self._hold(code, False)
            t.unless(t.equal("ptr", code, t.object(fact.expected)), "no")
        else:
            assert fact.rule == "length"
            length = t.api("PyObject_Size", "i64", f"ptr {found}")
            self.cleared = True
            sound = t.fresh("sound")
            t.branch_if(t.emit(f"icmp slt i64 {length}, 0"), "clear", sound)
            t.start(sound)
            t.unless(t.equal("i64", length, fact.expected), "no")

    def _absent(self, source: tuple[Any, ...]) -> None:
        t = self.t
        found, owned = self._step(source)
        there, on = t.fresh("there"), t.fresh("absent")
        t.branch_if(t.equal("ptr", found, "null"), on, there)
        t.start(there)
        if owned:
            t.decref(found)
        t.branch("no")
        t.start(on)
        t.api("PyErr_Clear", "void")


def is_by_identity(value: Any, rule: str) -> bool:
    """Whether only the very object passes under a rule."""
    only_itself = value is None or (isinstance(value, _ONLY_ITSELF) and not isinstance(value, float))
    return rule == "is" or (rule == "equal" and only_itself)


def _root(source: tuple[Any, ...]) -> int:
    """Return how many items of a source stand for its root."""
    return 3 if source[0] == "global" else 2


def _key(source: tuple[Any, ...]) -> Any:
    return (source[0], id(source[1]), *source[2:])
