"""LLVM IR as text: the module being written and the function within it.

In: instructions. Out: the lines of one function body, its allocas, and what the module declares and defines besides.
Integer arithmetic on sizes and offsets folds constants here (`add`, `mul`): a size is a Python int, or the name of the
i64 register that holds it. This room knows the syntax of LLVM; it knows no graph and no loop.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from jitgrad.backend.counters import Counter, Linear, linear_of

__all__ = ["LOOP_METADATA", "FunctionText", "Sym", "element_type", "literal", "register_type", "vector"]

Sym: TypeAlias = int | str

# Of loops that are as they should be. LLVM's vectoriser takes half of all time to find nothing in explicit vectors.
AS_IS = "!0"
LOOP_METADATA = [
    "!0 = distinct !{!0, !1, !2}",
    '!1 = !{!"llvm.loop.vectorize.enable", i1 false}',
    '!2 = !{!"llvm.loop.unroll.disable"}',
]

# By the character code of a dtype: its name is slow to ask for.
_MEMORY = {
    "d": "double", "f": "float", "?": "i8", "b": "i8", "B": "i8", "h": "i16", "H": "i16", "i": "i32", "I": "i32",
    "l": f"i{np.dtype('l').itemsize * 8}", "L": f"i{np.dtype('L').itemsize * 8}", "q": "i64", "Q": "i64",
}  # fmt: skip

# Instructions whose result is that of any other of the same text. Of what is written, some twentieth is repeated: each
# pass of LLVM would read it, and it is cheaper never to write it.
_PURE = frozenset(
    {"add", "and", "ashr", "bitcast", "extractelement", "extractvalue", "fadd", "fcmp", "fdiv", "fmul", "fneg", "fpext",
     "fptrunc", "fsub", "getelementptr", "icmp", "insertelement", "lshr", "mul", "or", "select", "sext", "shl",
     "shufflevector", "sitofp", "sub", "trunc", "uitofp", "xor", "zext"}
)  # fmt: skip


def element_type(dtype: np.dtype) -> str:
    """Return the LLVM type of one element in memory (bools are bytes)."""
    return _MEMORY[dtype.char]


def register_type(dtype: np.dtype) -> str:
    """Return the LLVM type of one element in a register (bools are single bits)."""
    return "i1" if dtype.kind == "b" else _MEMORY[dtype.char]


def vector(element: str, width: int) -> str:
    """Return the type of `width` lanes; one lane is a plain scalar."""
    return element if width == 1 else f"<{width} x {element}>"


def literal(value: float | int | bool, dtype: np.dtype) -> str:
    """Return a constant of a dtype."""
    if dtype.kind == "b":
        return "true" if value else "false"
    if dtype.kind == "f":
        # LLVM spells a float constant as the double that it converts to exactly.
        widened = float(value if dtype.itemsize == 8 else np.asarray(value, dtype=dtype))
        return f"0x{struct.unpack('<Q', struct.pack('<d', widened))[0]:016X}"
    return str(int(value if isinstance(value, int) else np.asarray(value).astype(dtype)))


class FunctionText:
    """One function being written, and what its module needs besides.

    Attributes
    ----------
    lines : list of str
        The body so far.
    entry : list of str
        Instructions of the entry block: allocas and what never changes.
    label : str
        Name of the basic block being written.
    declarations : dict
        Declarations of intrinsics and external functions.
    largest : dict of str to int
        The largest number that a register of an integer may hold, where it is known.
    globals, helpers : list of str
        Constants, and definitions of internal functions.
    shareable : dict of str to str
        Internal functions that stand alone, by names which say all about them: see `engine.compile_module`.
    metadata : list of str
        What loops of the function say of themselves.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.entry: list[str] = []
        self.label = "start"
        self.declarations: dict[str, None] = {}
        self.largest: dict[str, int] = {}
        self.globals: list[str] = []
        self.helpers: dict[str, str] = {}
        self.shareable: dict[str, str] = {}
        self.externals: dict[str, None] = {}
        self.metadata: list[str] = []
        self._count = 0
        self._shared: dict[tuple[object, str], str] = {}
        # The block that `_known` is of, and the registers of instructions that surely ran before.
        self._block: tuple[list[str], str] = (self.lines, self.label)
        self._known: dict[str, str] = {}
        # The loops being written; registers that are multiples of the index of one of them; what registers are sums of.
        self._loops: list[Counter] = []
        self._counting: dict[str, tuple[Counter, Sym]] = {}
        self._sums: dict[str, Linear] = {}

    def fresh(self, hint: str = "v") -> str:
        """Return a name that nothing else has, without its sigil."""
        self._count += 1
        return f"{hint}{self._count}"

    def emit(self, instruction: str) -> str:
        """Append an instruction and return the register of its result: that of an equal one that surely ran before."""
        known = self.known()
        name = known.get(instruction)
        if name is None:
            opcode = instruction.partition(" ")[0]
            sum = linear_of(instruction, self._linear) if opcode in ("add", "sub", "mul") else None
            name = self._number(instruction) if sum and self._loops else ""
            if not name:
                self._count += 1
                name = f"%v{self._count}"
                self.lines.append(f"  {name} = {instruction}")
            if sum:
                self._sums[name] = sum
            if opcode in _PURE:
                known[instruction] = name
        return name

    def known(self) -> dict[str, str]:
        """Return the instructions whose results are there, with their registers."""
        # A block may be left for another, written elsewhere, and gone on with: then nothing is known any more.
        if self._block[0] is not self.lines or self._block[1] != self.label:
            self._block, self._known = (self.lines, self.label), {}
        return self._known

    def do(self, instruction: str) -> None:
        """Append an instruction without a result."""
        self.lines.append(f"  {instruction}")

    def start(self, label: str, known: dict[str, str] | None = None) -> None:
        """Begin a basic block; `known` are instructions of blocks that surely ran before it (it gets more of them)."""
        self.lines.append(f"{label}:")
        self.label = label
        self._block, self._known = (self.lines, label), {} if known is None else known

    def branch(self, label: str, note: str = "") -> None:
        """End the block with a jump."""
        self.lines.append(f"  br label %{label}{note}")

    def branch_if(self, condition: str, then: str, other: str) -> None:
        """End the block with a choice."""
        self.lines.append(f"  br i1 {condition}, label %{then}, label %{other}")

    def parallel(self, first: int) -> str:
        """Say that iterations of a loop whose body begins at a line do not meet in memory; return what to jump with.

        All that the body does to memory is said to be part of that.
        """
        group, loop, property = (f"!{len(LOOP_METADATA) + len(self.metadata) + k}" for k in range(3))
        self.metadata += [
            f"{group} = distinct !{{}}",
            f"{loop} = distinct !{{{loop}, {property}}}",
            f'{property} = !{{!"llvm.loop.parallel_accesses", {group}}}',
        ]
        for k in range(first, len(self.lines)):
            line = self.lines[k]
            if line.startswith("  store ") or " = load " in line:
                self.lines[k] = f"{line}, !llvm.access.group {group}"
        return f", !llvm.loop {loop}"

    def opaque(self, number: str) -> str:
        """Return a 64-bit integer that LLVM knows nothing of."""
        return self.emit(f'call i64 asm "", "=r,0"(i64 {number})')

    def declare(self, text: str) -> None:
        """Declare a function once."""
        self.declarations[f"declare {text}"] = None

    def alloca(self, type: str, align: int = 0) -> str:
        """Reserve stack memory in the entry block and return its pointer."""
        name = f"%{self.fresh('slot')}"
        self.entry.append(f"  {name} = alloca {type}" + (f", align {align}" if align else ""))
        return name

    def counted(
        self,
        trips: Sym,
        body: Callable[[str], None],
        start: Sym = 0,
        step: int = 1,
        as_is: bool = False,
        meets: bool = False,
    ) -> None:
        """Write a loop over start, start + step, ... below `trips`; `body` gets the register of the index.

        `as_is` says that the loop is as wide as it should be: LLVM need not vectorise or unroll it. `meets` says that
        `trips` is reached in whole steps.
        """
        first = isinstance(trips, int) and isinstance(start, int)
        if first and start >= trips:  # type: ignore[operator]
            return
        head, end = self.fresh("loop"), self.fresh("done")
        some = "" if first else self.emit(f"icmp slt i64 {start}, {trips}")
        loop, entering = self.open(start, step), len(self.lines)
        self.lines.append("")
        if first:
            self.branch(head)
        else:
            self.branch_if(some, head, end)
        before, known = self.label, self.known()
        self.start(head, dict(known))
        index = self.index(loop, "i")
        place = len(self.lines)
        self.lines.append("")
        body(index)
        # The sum stays below the trip count's width: induction variables of ours may say nsw.
        following = self.emit(f"add nuw nsw i64 {index}, {step}")
        # Where the index meets its end, this form tells LLVM that it counts iterations exactly.
        exact = step == 1 or (first and (trips - start) % step == 0) or meets  # type: ignore[operator]
        again = self.emit(f"icmp {'ne' if exact else 'slt'} i64 {following}, {trips}")
        numbers = [(index, str(start), following, ""), *self.close(loop)]
        self.lines[entering] = "\n".join(loop.before)
        self.lines[place] = "\n".join(
            f"  {x} = phi i64 [ {at}, %{before} ], [ {after}, %{self.label} ]" for x, at, after, _ in numbers
        )
        self.branch_if(again, head, end)
        if as_is:
            self.lines[-1] += f", !llvm.loop {AS_IS}"
        self.start(end, known)

    def open(self, start: Sym = 0, step: int = 1) -> Counter:
        """Begin a loop over start, start + step, ...: what is named from here on may change in it."""
        self._loops.append(Counter(self.fresh, len(self._loops), self._count, start, step))
        return self._loops[-1]

    @property
    def in_loop(self) -> bool:
        """Whether what is written now is in a loop."""
        return bool(self._loops)

    def index(self, loop: Counter, hint: str) -> str:
        """Name the index of a loop."""
        name = f"%{self.fresh(hint)}"
        self._counting[name] = loop, 1
        return name

    def close(self, loop: Counter) -> list[tuple[str, str, str, str]]:
        """End the body of the innermost loop: write and return what it counts besides its index."""
        assert self._loops.pop() is loop
        made = loop.close()
        self.lines += [line for *_, line in made]
        return made

    def when(self, condition: str, body: Callable[[], None]) -> None:
        """Write code that runs only if a condition holds and defines nothing for later."""
        then, end = self.fresh("then"), self.fresh("end")
        known = self.known()
        self.branch_if(condition, then, end)
        self.start(then, dict(known))
        body()
        self.branch(end)
        self.start(end, known)

    def shared(self, key: object, type: str) -> str:
        """Return stack memory that nests use one after another: a body with many nests must not overflow the stack."""
        if (key, type) not in self._shared:
            self._shared[key, type] = self.alloca(type, 64)
        return self._shared[key, type]

    # sizes and offsets

    def add(self, x: Sym, y: Sym) -> Sym:
        """Return x + y of 64-bit integers."""
        if isinstance(x, int) and isinstance(y, int):
            return x + y
        if x == 0:
            return y
        return x if y == 0 else self.emit(f"add i64 {x}, {y}")

    def sub(self, x: Sym, y: Sym) -> Sym:
        """Return x - y of 64-bit integers."""
        if isinstance(x, int) and isinstance(y, int):
            return x - y
        return x if y == 0 else self.emit(f"sub i64 {x}, {y}")

    def least(self, x: Sym, y: Sym) -> Sym:
        """Return the smaller of two 64-bit integers."""
        return min(x, y) if isinstance(x, int) and isinstance(y, int) else self._extremum("smin", x, y)

    def most(self, x: Sym, y: Sym) -> Sym:
        """Return the larger of two 64-bit integers."""
        return max(x, y) if isinstance(x, int) and isinstance(y, int) else self._extremum("smax", x, y)

    def _extremum(self, name: str, x: Sym, y: Sym) -> str:
        self.declare(f"i64 @llvm.{name}.i64(i64, i64)")
        return self.emit(f"call i64 @llvm.{name}.i64(i64 {x}, i64 {y})")

    def shift_right(self, x: Sym, bits: int) -> Sym:
        """Return a 64-bit integer divided by a power of two, rounded down."""
        if isinstance(x, int) or not bits:
            return x >> bits if isinstance(x, int) else x
        return self.emit(f"ashr i64 {x}, {bits}")

    def mul(self, x: Sym, y: Sym) -> Sym:
        """Return x * y of 64-bit integers."""
        if isinstance(x, int) and isinstance(y, int):
            return x * y
        if x == 0 or y == 0:
            return 0
        if x == 1:
            return y
        if y == 1:
            return x
        return self._multiple(x, y) or self._multiple(y, x) or self.emit(f"mul i64 {x}, {y}")

    def _multiple(self, x: Sym, factor: Sym) -> str:
        """Return a multiple of the index of a loop, or of a multiple of it, as a number of the loop, or ""."""
        loop, before = self._counting.get(x, (None, 1)) if isinstance(x, str) else (None, 1)
        if loop is None or not loop.there(factor):
            return ""
        if before != 1:
            if isinstance(before, str) or isinstance(factor, str):
                return ""
            factor *= before
        name = loop.number(0, factor)
        self._counting[name] = loop, factor
        return name

    def _number(self, instruction: str) -> str:
        """Return a sum of the innermost loop's index and what is computed before it, as a number of the loop, or ""."""
        opcode, _, operands = instruction.partition(" i64 ")
        x, _, y = operands.partition(", ")
        if opcode == "add" and y in self._counting:
            x, y = y, x
        loop, factor = self._counting.get(x, (None, 1))
        good = opcode == "add" and y.startswith("%") and loop is self._loops[-1] and self._stays(y)
        return loop.number(y, factor) if loop and good else ""

    def _linear(self, x: str) -> Linear:
        """Return what a number is the sum of."""
        return self._sums.get(x) or (Linear(0, {x: 1}) if x.startswith("%") else Linear(int(x), {}))

    def address(self, pointer: str, element: str, offset: Sym) -> str:
        """Return the address of the element at an offset."""
        if offset == 0:
            return pointer
        sum = self._sums.get(offset) if self._loops and isinstance(offset, str) else None
        if sum is not None and self._loops[-1].there(pointer):
            number, terms = sum
            moving = {t: f for t, f in terms.items() if not self._stays(t)}
            if moving and (len(moving) < len(terms) or any(f != 1 and t in self._counting for t, f in terms.items())):
                return self._split(pointer, element, terms, moving, number)
        return self.emit(f"getelementptr {element}, ptr {pointer}, i64 {offset}")

    def _split(self, pointer: str, element: str, terms: dict[str, int], moving: dict[str, int], number: int) -> str:
        """Return an address of which the loop computes only what moves."""
        loop = self._loops[-1]
        for t, f in terms.items():
            if t not in moving:
                part = t if f == 1 else self._multiple(t, f) or loop.hoist(f"mul i64 {t}, {f}")
                pointer = loop.hoist(f"getelementptr {element}, ptr {pointer}, i64 {part}")
        offset: Sym = 0
        for t, f in moving.items():
            offset = self.add(offset, self.mul(t, f))
        pointer = self.emit(f"getelementptr {element}, ptr {pointer}, i64 {offset}")
        return pointer if not number else self.emit(f"getelementptr {element}, ptr {pointer}, i64 {number}")

    def _stays(self, x: str) -> bool:
        """Whether the innermost loop does not change a number, which is surely computed before it."""
        loop = self._loops[-1]
        outer = self._counting.get(x)
        return loop.there(x) or (outer is not None and outer[0].depth < loop.depth)
