"""Addresses that move with the loops around them: what an iteration adds to them, and what stays.

In: the sums and products of 64-bit integers that a function computes, and the loops being written. Out: multiples of an
index as numbers that go up in each iteration, and what of an address need be computed only before the loop. LLVM's own
pass for this takes a quarter of all time that machine code takes. This room knows the syntax of three instructions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

__all__ = ["Counter", "Linear", "linear_of"]

Sym: TypeAlias = int | str

_NUMBERED = re.compile(r"%([a-z]+)(\d+)")
# Registers of the entry block, whenever they were named.
_OF_ENTRY = ("p", "slot")
# Terms beyond which a sum is a number like any other.
_MOST = 4


class Linear(NamedTuple):
    """The sum of a number and of multiples of registers."""

    number: int
    terms: dict[str, int]


def linear_of(instruction: str, known: Callable[[str], Linear]) -> Linear | None:
    """Return what an instruction computes of 64-bit integers, if it is linear; `known` gives that of its operands."""
    opcode, _, rest = instruction.partition(" i64 ")
    first, _, second = rest.partition(", ")
    if opcode not in ("add", "sub", "mul"):
        return None
    x, y = known(first), known(second)
    if opcode == "mul":
        if x.terms and y.terms:
            return None
        factor, y = (y.number, x) if x.terms else (x.number, y)
        return Linear(factor * y.number, {t: factor * f for t, f in y.terms.items()})
    sign = 1 if opcode == "add" else -1
    terms = dict(x.terms)
    for t, f in y.terms.items():
        terms[t] = terms.get(t, 0) + sign * f
    return Linear(x.number + sign * y.number, {t: f for t, f in terms.items() if f}) if len(terms) <= _MOST else None


@dataclass(eq=False)
class Counter:
    """A loop being written.

    Attributes
    ----------
    fresh : callable
        Gives a new name for a hint.
    depth : int
        How many loops are around it.
    mark : int
        The number of the last register that was named before it.
    start, step : Sym, int
        Of its index.
    before : list of str
        What is to be written before it.
    numbers : dict
        (base, factor) to the register that holds the base and this multiple of the index.
    """

    fresh: Callable[[str], str]
    depth: int
    mark: int
    start: Sym = 0
    step: int = 1
    before: list[str] = field(default_factory=list)
    numbers: dict[tuple[Sym, Sym], str] = field(default_factory=dict)
    _known: dict[str, str] = field(default_factory=dict)
    _own: set[str] = field(default_factory=set)

    def there(self, x: Sym) -> bool:
        """Whether a number is surely computed before the loop."""
        if isinstance(x, int) or x in self._own:
            return True
        name = _NUMBERED.fullmatch(x)
        if name is None:
            return "." not in x
        return name[1] in _OF_ENTRY or int(name[2]) <= self.mark

    def hoist(self, instruction: str) -> str:
        """Compute something before the loop."""
        name = self._known.get(instruction)
        if name is None:
            name = self._known[instruction] = f"%{self.fresh('h')}"
            self._own.add(name)
            self.before.append(f"  {name} = {instruction}")
        return name

    def number(self, base: Sym, factor: Sym) -> str:
        """Return the register of a base and a multiple of the index; both must be there."""
        key = base, factor
        if key not in self.numbers:
            self.numbers[key] = f"%{self.fresh('m')}"
        return self.numbers[key]

    def close(self) -> list[tuple[str, str, str, str]]:
        """Return of each number the register, what it is first, the register of the next, and how to compute it."""
        made = []
        for (base, factor), name in self.numbers.items():
            first, step = self._product(self.start, factor), self._product(self.step, factor)
            if base != 0:
                first = base if first == 0 else self.hoist(f"add i64 {base}, {first}")
            made.append((name, str(first), f"{name}.next", f"  {name}.next = add i64 {name}, {step}"))
        return made

    def _product(self, x: Sym, y: Sym) -> Sym:
        if isinstance(x, int) and isinstance(y, int):
            return x * y
        if x == 0 or y == 1:
            return x
        return y if x == 1 else self.hoist(f"mul i64 {x}, {y}")
