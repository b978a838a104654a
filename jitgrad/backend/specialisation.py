"""A compiled body and its entry, ready to be called.

In: a `CallForm`, the IR of the body, and what is to be raised at its error sites. Out: a `Specialisation`, which owns
the machine code, the table that the entry reads and the arena, and can be run from Python with leaves. `runtime` hangs
it into a callable, where calls that fit reach it without any Python. This room knows no graph and no signature.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from jitgrad.backend import capi
from jitgrad.backend.box import ON_ERROR
from jitgrad.backend.callsupport import address
from jitgrad.backend.engine import Code, compile_module
from jitgrad.backend.entry import emit_entry
from jitgrad.backend.form import CallForm
from jitgrad.backend.plain import is_plain, plain_table
from jitgrad.backend.pyrun import run_in_python
from jitgrad.errors import error

__all__ = ["Specialisation", "link"]

# Everything that tells functions of one form apart is in their tables, so that they share the code of their entries:
# text to a module that defines it.
_KEPT_ENTRIES = 128
_entries: dict[str, Code] = {}

# Lines of a body that runs so long that an entry of its own, some 12 ns faster a call, is not worth 3 ms of a compile.
_LONG = 300

_RUN = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.c_void_p)


class Specialisation:
    """Machine code for one form of call.

    Attributes
    ----------
    form : CallForm
    code : Code
        Gives assembly, IR and times.
    on_error : callable
    entry, table : int
        Addresses of the native entry and its table; 0 if calls take the Python path.
    """

    # An attribute, for a module's variables may be gone when the interpreter ends.
    _free = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(("PyMem_RawFree", ctypes.pythonapi))

    def __init__(
        self,
        form: CallForm,
        code: Code,
        on_error: Callable[..., Any],
        entries: tuple[int, int] | None = None,
        words: Any = None,
        kept: Sequence[Any] = (),
    ) -> None:
        self.form = form
        self.code = code
        self.on_error = on_error
        self._kept = kept
        self._words = words
        self.entry = self.table = 0
        if entries is not None:
            self.entry, run = entries
            self.table = ctypes.addressof(words)
            self._native = _RUN(run)

    @property
    def is_native(self) -> bool:
        """Whether `runtime.install` makes calls reach this without Python."""
        return self.entry != 0

    def run(self, leaves: tuple[Any, ...]) -> Any:
        """Run on the leaves of a call, hidden inputs last; facts are taken to hold.

        Arrays must be in the form's layout, aligned and in native byte order: the caller copies others.

        Raises
        ------
        TypeError
            If a leaf is not of the form.
        Exception
            What `on_error` raises.
        """
        if self.entry:
            return self._native(leaves, self.table)
        return run_in_python(self.form, self.code, self.on_error, leaves)

    def __del__(self) -> None:
        # The arena is nobody else's: calls in flight hold a reference to this object.
        words = getattr(self, "_words", None)
        if words is not None and words[0]:
            block, words[0] = words[0], 0
            self._free(block)


def link(
    form: CallForm,
    body: str,
    *,
    on_error: Callable[[int, tuple[int, ...]], Any],
    level: str = "full",
    externals: Mapping[str, int] | None = None,
    helpers: Mapping[str, str] | None = None,
) -> Specialisation:
    """Compile a body together with its entry.

    Parameters
    ----------
    form : CallForm
    body : str
        IR of a module that defines `@body`, and `@plan` if the form needs it (see `form`).
    on_error : callable
        Called with the number of an error site and its operands (int64 words); raises. It may be called in any thread.
    level : str
        Of optimisation, see `engine`.
    externals : mapping, optional
        Symbols of the body that are not of the process, such as `blas.symbols()`.
    helpers : mapping, optional
        Functions of the body that others may share, see `compile_module`.
    """
    _check(form)
    if not capi.native():
        return Specialisation(form, compile_module(body, level=level, externals=externals, helpers=helpers), on_error)
    if is_plain(form) and (level != "minimal" or body.count("\n") > _LONG):
        code = compile_module(body, level=level, externals=externals, helpers=helpers)
        words, kept = plain_table(form).filled({id(ON_ERROR): on_error}, lambda name: _found(name, code))
        return Specialisation(form, code, on_error, (address("jg_plain_entry"), address("jg_plain_run")), words, kept)
    text, table = emit_entry(form)
    if level == "minimal":
        entry = _entries.get(text)
        # The first of its form has both in one module, which costs a compile 3 ms less than two.
        code = compile_module(body if entry else f"{body}\n{text}", level=level, externals=externals, helpers=helpers)
        _keep(text, entry := entry or code)
    else:
        code = compile_module(body, level=level, externals=externals, helpers=helpers)
        entry = _beside_loops(text)
    words, kept = table.filled({id(ON_ERROR): on_error}, lambda name: _found(name, code))
    entries = entry.address("jg_entry"), entry.address("jg_run")
    return Specialisation(form, code, on_error, entries, words, [entry, *kept])


def _keep(text: str, entry: Code) -> None:
    """Keep the code of an entry for others of its form, as one of those used last."""
    _entries.pop(text, None)
    _entries[text] = entry
    for oldest in list(_entries)[:-_KEPT_ENTRIES]:
        _entries.pop(oldest, None)


@lru_cache(maxsize=_KEPT_ENTRIES)
def _beside_loops(text: str) -> Code:
    """Return an entry for what takes long: better code would save a call 5 ns, and takes 5 ms to make."""
    return compile_module(text, level="quick")


def _found(name: str, code: Code) -> int:
    """Return the address of a function that an entry calls."""
    return code.address(name) if name in ("body", "plan") else address(name)


def _check(form: CallForm) -> None:
    """Refuse what the words cannot carry."""
    for leaf in form.leaves:
        if leaf.dtype.kind not in "biufc" or (leaf.dtype.itemsize > 8 and leaf.dtype != np.complex128):
            raise error("JG900", what=f"a leaf of dtype {leaf.dtype} has no words")
    for name in form.keywords:
        if sys.intern(name) is not name:
            raise error("JG900", what=f"the keyword {name} of a form is not interned")
