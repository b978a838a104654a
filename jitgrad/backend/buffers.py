"""What bufferisation decides: memory, the buffers in it, how loops carry them, and the arena they share.

In: nothing but types and times. Out: `Slot` (memory that the body provides), `Buffer` (where a value lives),
`LoopPlan`, `Plan`, and `allocate`, which gives slots their places in one arena. This room knows no LLVM.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import prod

from jitgrad.graph.ir import Op, Value
from jitgrad.graph.types import ArrayType, ListType

__all__ = ["Buffer", "LoopPlan", "Plan", "Slot", "allocate"]

ALIGNMENT = 64


@dataclass(eq=False)
class Slot:
    """Memory that the body itself provides.

    Attributes
    ----------
    array : ArrayType or ListType
        What it holds.
    start, end : int
        First and last place in the order of steps at which it is in use.
    offset : int
        Place in the arena, -1 if it is not there (a list, a run-time size, a result).
    out : int
        Number of the result whose memory this is, -1 for none.
    """

    array: ArrayType | ListType
    start: int
    end: int
    offset: int = -1
    out: int = -1

    @property
    def bytes(self) -> int | None:
        """Size, None if known only at run time or for a list."""
        if isinstance(self.array, ListType) or not self.array.is_static:
            return None
        return prod(self.array.shape) * self.array.dtype.itemsize  # type: ignore[arg-type]


@dataclass(eq=False)
class Buffer:
    """Where a value lives.

    Attributes
    ----------
    kind : {'argument', 'constant', 'slot', 'carried', 'chosen', 'result'}
        Memory of argument `index`; a constant; a slot; what a loop carries; what either arm of an `if` gave; what a
        loop that exchanges pointers gave.
    atoms : frozenset of int
        Two buffers may overlap if they share an atom.
    slots : frozenset of Slot
        What must stay allocated while the buffer is in use.
    writable : bool
    index : int
        Of an argument, and of what a loop carries in the memory of one that is not in C order.
    order : {'C', 'F'}
        Of a slot that is a result.
    """

    kind: str
    atoms: frozenset[int]
    slots: frozenset[Slot] = frozenset()
    writable: bool = True
    index: int = -1
    order: str = "C"

    @property
    def slot(self) -> Slot:
        """The slot of a buffer of kind 'slot'."""
        (slot,) = self.slots
        return slot


@dataclass(eq=False)
class LoopPlan:
    """How a loop carries its arrays and lists.

    Attributes
    ----------
    inits : list of Buffer or None
        Where each carried value starts; None for scalars.
    copied : set of int
        Positions whose start is filled by a copy, or by evaluating a fused value.
    carried : list of Buffer or None
    source : list of int or None
        Position whose pointer the body hands on; -1 for a fresh array.
    spares : dict of int to Buffer
        For a fresh position the buffer that the body writes.
    freed : dict of int to int
        For a fresh position the position whose pointer becomes the next spare.
    body_copies : set of int
        Fresh positions that the body's end must copy into the spare.
    """

    inits: list[Buffer | None]
    copied: set[int]
    carried: list[Buffer | None]
    source: list[int | None] = field(default_factory=list)
    spares: dict[int, Buffer] = field(default_factory=dict)
    freed: dict[int, int] = field(default_factory=dict)
    body_copies: set[int] = field(default_factory=set)

    def moves(self, position: int) -> bool:
        """Whether the pointer at a position changes from one iteration to the next."""
        return self.source[position] is not None and self.source[position] != position


@dataclass(eq=False)
class Plan:
    """The buffers of a graph.

    Attributes
    ----------
    place : dict of Value to Buffer
    copied : set of Op
        Ops that write into a fresh copy of their first operand.
    loops : dict of Op to LoopPlan
    arm_copies : dict of (Op, int, int) to Buffer
        Yields of an arm that must be copied: op, arm, position.
    scratch : dict of (Op, int) to Buffer
        Operands that must be copied before the op can read them.
    staged : dict of int to Buffer
        Yields to be copied aside before arguments are written.
    written_over : set of Op
        Ops of nests whose result lies over an array that the nest reads.
    arena_bytes : int
    notes : list of str
        Copies, with the place where they happen.
    """

    place: dict[Value, Buffer] = field(default_factory=dict)
    copied: set[Op] = field(default_factory=set)
    loops: dict[Op, LoopPlan] = field(default_factory=dict)
    arm_copies: dict[tuple[Op, int, int], Buffer] = field(default_factory=dict)
    scratch: dict[tuple[Op, int], Buffer] = field(default_factory=dict)
    staged: dict[int, Buffer] = field(default_factory=dict)
    slots: list[Slot] = field(default_factory=list)
    written_over: set[Op] = field(default_factory=set)
    arena_bytes: int = 0
    notes: list[str] = field(default_factory=list)


def _rounded(slot: Slot) -> int:
    return -(-max(slot.bytes or 1, 1) // ALIGNMENT) * ALIGNMENT


def allocate(slots: Iterable[Slot]) -> int:
    """Give every slot of known size a place in the arena and return its size: first fit, in order of first use."""
    top = 0
    active: list[Slot] = []
    for slot in sorted(slots, key=lambda s: s.start):
        if slot.bytes is None or slot.out >= 0:
            continue
        active = [s for s in active if s.end >= slot.start]
        offset = 0
        for other in sorted(active, key=lambda s: s.offset):
            if offset + _rounded(slot) <= other.offset:
                break
            offset = max(offset, other.offset + _rounded(other))
        slot.offset = offset
        active.append(slot)
        top = max(top, offset + _rounded(slot))
    return top
