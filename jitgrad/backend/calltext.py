"""Writing the IR that talks to Python: objects and API functions by way of a table of words.

In: API names and Python objects. Out: IR in which they appear as loads from the table that the function gets as its
argument `%table`, so that the text holds no address; and the `Table` that is to be filled in for a process. `entry` and
`box` write with it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

from jitgrad.backend.capi import OB_TYPE
from jitgrad.backend.text import FunctionText

__all__ = ["CallText", "Table", "shared_text"]


class Table:
    """The words that an entry reads: addresses of API functions and objects, and the warm arena.

    Attributes
    ----------
    items : list
        A str is a function of the C API or of `callsupport`; a tuple of one is an object; an int is itself; a list is a
        pointer to words of that kind. Word 0 is the place of the arena.

    Places hang on the order of what is asked for, not on how long it is: the texts of entries for arrays of other
    ranks and sizes are the same, and compiled once.
    """

    def __init__(self) -> None:
        self.items: list[Any] = [0]
        self._places: dict[Any, int] = {}

    def api(self, name: str) -> int:
        """Return the place of an API function."""
        return self._place(("api", name), name)

    def object(self, value: Any) -> int:
        """Return the place of an object."""
        return self._place(("object", id(value)), (value,))

    def run(self, values: Sequence[Any]) -> int:
        """Return the place of a pointer to words that follow each other: ints, and objects as tuples of one."""
        self.items.append(list(values))
        return len(self.items) - 1

    def number(self, value: int) -> int:
        """Return the place of a number that others of the form may have another of."""
        self.items.append(value)
        return len(self.items) - 1

    def _place(self, key: Any, item: Any) -> int:
        if key not in self._places:
            self._places[key] = len(self.items)
            self.items.append(item)
        return self._places[key]

    def filled(self, instead: dict[int, Any], address: Callable[[str], int]) -> tuple[Any, list[Any]]:
        """Return the words for this process, and the objects that must outlive them.

        Parameters
        ----------
        instead : dict of int to object
            Objects to put in place of those of an id, which stood for them.
        address : callable
            Finds an API function by name.
        """
        kept: list[Any] = []
        return self._words(self.items, instead, address, kept), kept

    def _words(
        self, items: list[Any], instead: dict[int, Any], address: Callable[[str], int], kept: list[Any]
    ) -> ctypes.Array[ctypes.c_uint64]:
        words = (ctypes.c_uint64 * len(items))()
        for k, item in enumerate(items):
            if isinstance(item, str):
                words[k] = address(item)
            elif isinstance(item, int):
                words[k] = item & (2**64 - 1)
            elif isinstance(item, list):
                kept.append(self._words(item, instead, address, kept))
                words[k] = ctypes.addressof(kept[-1])
            else:
                value = instead.get(id(item[0]), item[0])
                words[k] = id(value)
                kept.append(value)
        return words


class CallText(FunctionText):
    """A function being written that has a table.

    Parameters
    ----------
    table : Table
    """

    def __init__(self, table: Table) -> None:
        super().__init__()
        self.table = table

    def word(self, place: int) -> str:
        """Load a word of the table as a pointer."""
        return self.load("ptr", "%table", 8 * place)

    def object(self, value: Any) -> str:
        """Return a register that holds an object; the reference is borrowed."""
        return self.word(self.table.object(value))

    def api(self, name: str, result: str, *arguments: str) -> str:
        """Call an API function; arguments are typed operands such as `ptr %x`. Returns the result's register."""
        function = self.word(self.table.api(name))
        text = f"call {result} {function}({', '.join(arguments)})"
        if result == "void":
            self.do(text)
            return ""
        return self.emit(text)

    def at(self, pointer: str, offset: int) -> str:
        """Return a pointer moved by bytes."""
        return pointer if offset == 0 else self.emit(f"getelementptr i8, ptr {pointer}, i64 {offset}")

    def load(self, type: str, pointer: str, offset: int = 0) -> str:
        """Load from a pointer moved by bytes."""
        return self.emit(f"load {type}, ptr {self.at(pointer, offset)}, align {_alignment(type)}")

    def store(self, operand: str, pointer: str, offset: int = 0) -> None:
        """Store a typed operand at a pointer moved by bytes."""
        self.do(f"store {operand}, ptr {self.at(pointer, offset)}, align {_alignment(operand.split()[0])}")

    def equal(self, type: str, x: str, y: str | int) -> str:
        """Compare two integers or pointers."""
        return self.emit(f"icmp eq {type} {x}, {y}")

    def run(self, values: Sequence[Any]) -> str:
        """Return a pointer to words, see `Table.run`."""
        return self.word(self.table.run(values))

    def type_is(self, pointer: str, cls: type) -> str:
        """Compare the exact type of an object."""
        return self.equal("ptr", self.load("ptr", pointer, OB_TYPE), self.object(cls))

    def all(self, conditions: list[str]) -> str:
        """Return the conjunction of conditions."""
        found = conditions[0]
        for condition in conditions[1:]:
            found = self.emit(f"and i1 {found}, {condition}")
        return found

    def unless(self, condition: str, label: str) -> None:
        """Leave for a label unless a condition holds."""
        on = self.fresh("ok")
        self.branch_if(condition, on, label)
        self.start(on)

    def not_null(self, pointer: str, label: str) -> None:
        """Leave for a label if a pointer is null."""
        self.unless(self.emit(f"icmp ne ptr {pointer}, null"), label)

    def incref(self, pointer: str) -> None:
        """Take a reference."""
        self.api("Py_IncRef", "void", f"ptr {pointer}")

    def decref(self, pointer: str) -> None:
        """Give a reference back; null is allowed."""
        self.api("Py_DecRef", "void", f"ptr {pointer}")

    def function(self, head: str, *, cold: bool = False) -> str:
        """Return the whole function as text; a cold one is not worth the time of LLVM's optimisers."""
        head += " noinline optnone" if cold else ""
        return "\n".join([f"{head} {{", "start:", *self.entry, *self.lines, "}", ""])


def shared_text(table: Table) -> CallText:
    """Return a function to be written whose table is the words of the module."""
    t = CallText(table)
    t.entry.append("  %table = getelementptr i8, ptr @jg_words, i64 0")
    return t


def _alignment(type: str) -> int:
    return {"i8": 1, "i16": 2, "i32": 4, "float": 4}.get(type, 8)
