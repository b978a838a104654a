"""Frames and states: what a function's variables and operand stack hold at a point of the trace.

A `State` can be left and come back to: tracing an arm of a branch starts from a copy. `Outcome` says where a piece of
code can go and with which state; if it can go to several places, a selector says at run time which.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from jitgrad.graph.ir import Block, Value
from jitgrad.location import Location
from jitgrad.trace.abstract import Cell, Func
from jitgrad.trace.regions import CodeTree

__all__ = ["Frame", "Outcome", "State", "Target", "looking_at"]

Target = Hashable


@dataclass(slots=True)
class State:
    """Variables, operand stack and heap at one point."""

    locals: dict[str, Any]
    stack: list[Any]
    heap: dict[Cell, Any]

    def copy(self) -> State:
        """Return a state that can be changed alone."""
        return State(dict(self.locals), list(self.stack), dict(self.heap))


@dataclass(slots=True)
class Outcome:
    """Where a piece of code can go.

    Attributes
    ----------
    states : dict of target to State
        In a fixed order; empty if every path raises.
    selector : Value or None
        int64 position of the target taken, where there are several.
    """

    states: dict[Target, State]
    selector: Value | None = None


@dataclass(slots=True)
class Frame:
    """One call being traced.

    Attributes
    ----------
    tree : CodeTree
    func : Func
    locals, stack
        The current state's; the heap is the context's.
    cells : dict of str to Cell
        Variables shared with closures.
    place : tuple
        Block and instruction being evaluated, for liveness.
    caller : Location or None
        The call through which this frame was entered.
    yielded : Cell or None
        The list into which a generator's values go.
    path : tuple
        Names this call among all of the trace, stably over restarts.
    scope : int
        How many scopes surround the region of it that is being traced: what is changed in its variables from within
        more of them would be seen on other paths too.
    watched : bool
        Whether it has entered a context manager whose exit is the user's code.
    part : Part or None
        For a generator that runs up to a `yield`, or from there on (`pausing.py`).
    """

    tree: CodeTree
    func: Func
    locals: dict[str, Any]
    stack: list[Any]
    cells: dict[str, Cell]
    caller: Location | None
    place: tuple[int, int] = (0, 0)
    yielded: Cell | None = None
    path: tuple[Any, ...] = ()
    calls: int = 0
    roots: list[Any] = field(default_factory=list)
    loops: list[Block] = field(default_factory=list)
    scope: int = 0
    watched: bool = False
    part: Any = None

    def sees_exceptions(self) -> bool:
        """Whether the program does something, where it stands now, if there is an exception."""
        kind = self.tree.protection(*self.place)
        return kind in ("except", "effects") or (kind == "with" and self.watched)

    def push(self, value: Any) -> None:
        """Put a value on the operand stack."""
        self.stack.append(value)

    def pop(self) -> Any:
        """Take the top of the operand stack."""
        return self.stack.pop()

    def pop_many(self, count: int) -> list[Any]:
        """Take the top values, the deepest first."""
        if not count:
            return []
        taken = self.stack[-count:]
        del self.stack[-count:]
        return taken


@contextmanager
def looking_at(ev: Any, heap: dict[Cell, Any]) -> Iterator[None]:
    """See arrays as another state's heap has them."""
    kept = ev.heap
    ev.heap = heap
    try:
        yield
    finally:
        ev.heap = kept
