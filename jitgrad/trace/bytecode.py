"""Code objects to version-neutral instructions; with `opcodes.py`, the only room that knows CPython's versions.

In: a code object. Out: `Instr`, `Mark` (a jump target) and `Guard` (the handler in charge from here on) in textual
order, with meanings that are the same for every version. This room refuses to know flow and values; `blocks.py` alone
calls `decode`. An opcode that is not in the tables of `opcodes.py` becomes `unsupported`, which is an error only where
it is reached. Nothing here matches patterns of instructions, for these change in patch releases. On a Python newer than
the tables `PYTHON_PROVISIONAL` is true.

The instructions, as (pops → pushes); x is the argument:

    local x, cell x, cellobj x, global x, const x, null    0→1   cellobj: the cell itself; null: the marker NULL
    localclear x                       0→1   the variable's value, or NULL; unbinds it
    setlocal x, setcell x, setglobal x 1→0   setlocal of NULL unbinds
    dellocal x, delcell x, mkcell x    0→0   mkcell: a new cell that holds the variable x, if that is bound
    attr x 1→1, method x 1→2           method: the bound attribute, then NULL above it
    superattr x 3→1, setattr x 2→0 (value, object), delattr x 1→0
    binary x, inplace x, compare x, is invert, in invert, getitem   2→1;   setitem 3→0 (value, object, key); delitem 2→0
    unary x, truth, totuple, iter, convert x    1→1;   slice n   n→1;   format (conversion, has_spec)   1 or 2→1
    pop 1→0, dup n 0→1 (n = 1 is the top), swap n (the top with the n-th), nop
    build (kind, n)                    tuple, list, set, string: n→1; map: 2n→1; constmap: n values, tuple of keys →1
    accum (kind, depth)                list_append, list_extend, set_add, set_update, dict_update, dict_merge 1→0;
                                       map_add 2→0 (key, value); depth counts after these pops
    unpack n 1→n, unpackex (before, after)   the first item ends on top
    call (n, names)                    n+2→1: the arguments, then two slots `hi` (the upper) and `lo`: if one is NULL
                                       the other is the callee, else `lo` is, and `hi` is its first argument
    callkw n                           the same below a tuple of names
    callex has_kwargs                  [mapping or NULL], sequence, then the two slots →1
    makefn 1→1 (code), fnattr x 2→1    value below the function: defaults, kwdefaults, annotations, closure, annotate
    import x 2→1 (level, names), importfrom x 0→1
    with_enter 1→2                     its exit function, then what entering gave
    match_sequence, match_mapping, get_len 0→1; match_keys 0→1 (object, keys stay); match_class n 3→1 (object, class,
                                       names; a tuple or None)
    yield 1→1                          what is sent in is None
    yield_all 1→1                      `yield from`, as a whole
    unsupported x                      an error when reached; x names the construct
    jump mark; branch (kind, mark) 1→0, taken if the value is true, false, none, notnone; return 1→0; raise n n→0
    for mark                           next: pushes the value; exhausted: pops the iterator and jumps
"""

from __future__ import annotations

import types
from dataclasses import dataclass
from typing import Any

from bytecode import Bytecode, Label, TryBegin, TryEnd
from bytecode import Instr as LibraryInstr

from jitgrad.location import Location
from jitgrad.trace.opcodes import PYTHON_PROVISIONAL, lower_opcode

__all__ = ["NULL", "PYTHON_PROVISIONAL", "Guard", "Instr", "Mark", "Null", "decode", "effect", "lower_opcode"]


class Null:
    """The marker that CPython pushes beside a callee."""

    def __repr__(self) -> str:
        return "NULL"


NULL = Null()


@dataclass(frozen=True, slots=True)
class Instr:
    """One instruction.

    Attributes
    ----------
    op : str
        Its meaning, such as "local", "binary", "call", "branch", "for", "return".
    arg : object
        Decoded: a name, an operator, a count, a `Mark` for jumps.
    location : Location
        Where it stands in the source.
    exact : bool
        False for the second half of a fused pair, which has the position of the first.
    """

    op: str
    arg: Any
    location: Location
    exact: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A jump target."""


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """From here on, exceptions go to this handler; to none if that is None."""

    handler: Mark | None


_NET: dict[str, tuple[int, int]] = {
    **dict.fromkeys(["local", "cell", "cellobj", "global", "const", "null", "localclear", "dup"], (0, 1)),
    **dict.fromkeys(["importfrom", "get_len", "match_keys", "match_mapping", "match_sequence"], (0, 1)),
    **dict.fromkeys(["setlocal", "setcell", "setglobal", "pop", "delattr", "branch", "return"], (1, 0)),
    **dict.fromkeys(["dellocal", "delcell", "mkcell", "nop", "swap", "jump"], (0, 0)),
    **dict.fromkeys(["attr", "unary", "truth", "totuple", "iter", "convert", "makefn", "yield", "yield_all"], (1, 1)),
    **dict.fromkeys(["binary", "inplace", "compare", "is", "in", "getitem", "fnattr", "import"], (2, 1)),
    **dict.fromkeys(["setattr", "delitem"], (2, 0)),
    **dict.fromkeys(["superattr", "match_class"], (3, 1)),
    **dict.fromkeys(["method", "with_enter"], (1, 2)),
    "setitem": (3, 0),
}


def effect(op: str, arg: Any) -> tuple[int, int] | None:
    """Return how many values an instruction pops and pushes; None if it is unsupported.

    A `for` is not here: it pushes one value on its first way and pops one on its second.
    """
    if op in _NET:
        return _NET[op]
    if op == "slice":
        return arg, 1
    if op == "build":
        kind, n = arg
        return {"map": 2 * n, "constmap": n + 1}.get(kind, n), 1
    if op == "accum":
        return (2 if arg[0] == "map_add" else 1), 0
    if op == "unpack":
        return 1, arg
    if op == "unpackex":
        return 1, sum(arg) + 1
    if op == "call":
        return arg[0] + 2, 1
    if op == "callkw":
        return arg + 3, 1
    if op == "callex":
        return 3 + arg, 1
    if op == "format":
        return 1 + arg[1], 1
    if op == "raise":
        return arg, 0
    return None


class _Slots:
    """What the slots of variables hold at a point of the text: plain values, or cells.

    From 3.13 on, one opcode loads both. A variable of an inlined comprehension may have the name of a cell of the
    function, or be a cell of its own where the function's variable is none: until it is restored, the name means the
    inner one. An inner cell beside an outer one gets a name of its own.
    """

    def __init__(self, code: types.CodeType) -> None:
        self.shared = {*code.co_cellvars, *code.co_freevars}
        self.cells = {name: name for name in code.co_freevars}
        self.saved: dict[str, list[tuple[Location, str | None]]] = {}

    def resolve(self, op: str, name: str, at: Location) -> tuple[str, str]:
        """Return the instruction, with what its name means here."""
        if name not in self.shared:
            return op, name
        if op == "local" and name in self.cells:
            return "cellobj", self.cells[name]
        if op in ("cell", "setcell", "delcell", "cellobj"):
            return op, self.cells.get(name, name)
        if op == "mkcell":
            outer = [cell for _, cell in self.saved.get(name, []) if cell is not None]
            self.cells[name] = name + "'" * len(outer)
            return op, self.cells[name]
        if op == "localclear":
            if at.column is None:
                return (
                    "unsupported",
                    f"`{name}`, a variable of a comprehension and of a closure, without column numbers",
                )
            self.saved.setdefault(name, []).append((at, self.cells.pop(name, None)))
        elif op == "setlocal" and self.saved.get(name) and self.saved[name][-1][0] == at:
            _, outer_cell = self.saved[name].pop()
            self.cells.pop(name, None)
            if outer_cell is not None:
                self.cells[name] = outer_cell
        return op, name


_VARIABLES = ("local", "localclear", "setlocal", "cell", "setcell", "delcell", "cellobj", "mkcell")


def decode(code: types.CodeType) -> list[Instr | Mark | Guard]:
    """Return the instructions of a code object, with marks where jumps lead.

    Exception handlers are left in: they are unreachable in normal flow.
    """
    marks: dict[Label, Mark] = {}
    made: list[Instr | Mark | Guard] = []
    kwnames: tuple[str, ...] = ()
    slots = _Slots(code)
    file, function = code.co_filename, code.co_qualname
    at = Location(file, code.co_firstlineno, 0, None, None, function)

    behind: set[Mark] = set()  # where `yield from` has a value
    used = False
    for item in Bytecode.from_code(code):
        if isinstance(item, Label):
            made.append(marks.setdefault(item, Mark()))
            used = used or made[-1] in behind
            continue
        if isinstance(item, TryBegin):
            assert isinstance(item.target, Label)
            made.append(Guard(marks.setdefault(item.target, Mark())))
            continue
        if isinstance(item, TryEnd):
            made.append(Guard(None))
            continue
        if not isinstance(item, LibraryInstr):
            continue
        where = item.location
        if where is not None and where.lineno is not None:
            at = Location(file, where.lineno, where.end_lineno or 0, where.col_offset, where.end_col_offset, function)
        arg: Any = item.arg
        if isinstance(arg, Label):
            arg = marks.setdefault(arg, Mark())
            if item.name == "SEND":
                behind.add(arg)
        if used and item.name != "END_SEND":
            used = False
            if item.name != "POP_TOP":
                made.append(Instr("unsupported", "the value of a `yield from`", at))
        exact = True
        for op, value in lower_opcode(item.name, arg):
            if op == "kwnames":
                kwnames = value
                continue
            if op == "call":
                value, kwnames = (value, kwnames), ()
            elif op in _VARIABLES and slots.shared:
                op, value = slots.resolve(op, value, at)
            made.append(Instr(op, value, at, exact))
            exact = not isinstance(arg, tuple) or op not in ("local", "setlocal")
    return made
