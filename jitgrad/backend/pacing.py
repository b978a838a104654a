"""Long bodies: they answer Ctrl-C, and let other threads of Python run.

Work is counted in estimated nanoseconds. What a body does is paid from a budget; where the budget is spent, `jg_poll`
(see `callhelpers`) runs the handlers of signals and gives up the GIL, which is held again at the exit. So a short call
never touches the GIL, and a long one is neither deaf nor in the way.

Costs that are known when compiling are summed up (`owe`) and paid at the end of an iteration, or at once where they are
large; costs of run-time sizes are paid where they arise. A loop whose iteration has a known cost is not burdened at
all: it runs in chunks of `CHUNK` nanoseconds (`emit_control`), so that LLVM optimises the loop within as if there were
no poll.

In: the emitter. Out: LLVM text. This room knows no graph; nobody's memory is read or written by a poll.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from jitgrad.backend.callsupport import address
from jitgrad.backend.engine import define_late
from jitgrad.backend.loops import Node
from jitgrad.backend.steps import EXPENSIVE
from jitgrad.backend.text import FunctionText, Sym

__all__ = ["Pace", "declare_runtime"]

# Estimated nanoseconds: between two polls, before the first one, and of one chunk of a loop.
POLL_EVERY = 10_000_000
FIRST_POLL = 1_000_000
CHUNK = 1_000_000

# Known costs that are paid at once outside of loops: a poll is a dozen instructions that each take time to compile.
LARGE = FIRST_POLL // 2

# What emitted code calls in this process.
RUNTIME = {
    # True if an exception is set; the GIL is held then, and given up otherwise: its owner is kept in the state.
    "jg_poll": "i1 @jg_poll(ptr nocapture) cold nounwind memory(argmem: readwrite, inaccessiblemem: readwrite)",
    "jg_rejoin": "void @jg_rejoin(ptr nocapture) nounwind",
    "jg_malloc": "noalias ptr @jg_malloc(i64) nounwind memory(inaccessiblemem: readwrite)",
    "jg_realloc": "ptr @jg_realloc(ptr, i64) nounwind memory(argmem: readwrite, inaccessiblemem: readwrite)",
    "jg_free": "void @jg_free(ptr nocapture) nounwind memory(argmem: readwrite, inaccessiblemem: readwrite)",
}
_API = {"jg_malloc": "PyMem_RawMalloc", "jg_realloc": "PyMem_RawRealloc", "jg_free": "PyMem_RawFree"}

for _name in RUNTIME:
    define_late(_name, partial(address, _API.get(_name, _name)))


def declare_runtime(text: FunctionText, *names: str) -> None:
    """Declare functions of the process for emitted code."""
    for name in names:
        text.declare(RUNTIME[name])


@dataclass(slots=True)
class _Iteration:
    """What one iteration of a loop costs, or the straight code of the body."""

    owed: int = 0
    steady: bool = True

    @property
    def chunk(self) -> int:
        """How many iterations are a chunk; 0 if each must be paid for, since its cost is not known or large."""
        self.owed = max(self.owed, 1)
        return CHUNK // self.owed if self.steady and 2 * self.owed <= CHUNK else 0

    def at_once(self, trips: Sym, most: int | None) -> int:
        """Return how many iterations to pay for after a loop of at most `most`, or 0 if the loop needs chunks."""
        if isinstance(trips, int):
            return trips if trips <= self.chunk else 0
        # What is paid for and not done makes polls too frequent, so that it must be little.
        return most if most is not None and most <= self.chunk // 10 else 0


class Pace:
    """The account of one body.

    Parameters
    ----------
    text : FunctionText
    leave : callable
        `leave(stopped)` leaves the body if a register is true, with the exception that is set.
    """

    def __init__(self, text: FunctionText, leave: Callable[[str], None]) -> None:
        self.text = text
        self.leave = leave
        self.within: list[_Iteration] = [_Iteration()]
        self._budget = ""
        self.state = ""

    # --- costs

    def owe(self, cost: int) -> None:
        """Enter a known cost."""
        here = self.within[-1]
        here.owed += cost
        if len(self.within) == 1 and here.owed >= LARGE:
            self.settle()

    def nest(self, domain: Sequence[Sym], nodes: Sequence[Node]) -> None:
        """Enter the cost of a loop nest, before it runs."""
        self.array(domain, 1 + sum(_weight(n) for n in nodes) // 8)

    def array(self, shape: Sequence[Sym], each: int = 1) -> None:
        """Enter the cost of work on every position of a shape, before it is done."""
        known = most = each
        sizes = [n for n in shape if isinstance(n, str)]
        for n in shape:
            known *= n if isinstance(n, int) else 1
            most *= n if isinstance(n, int) else self.text.largest.get(n, CHUNK)
        if sizes and most <= CHUNK // 10:
            self.owe(most)
            return
        if not sizes:
            self.owe(known)
            return
        total: Sym = known
        for n in sizes:
            total = self.text.mul(total, n)
        self.pay(total)
        if len(self.within) == 1:
            self.poll_if_spent()

    # --- paying

    @contextmanager
    def iteration(self) -> Iterator[_Iteration]:
        """Count the cost of what is written within: the body of a loop."""
        inner = _Iteration()
        self.within.append(inner)
        try:
            yield inner
        finally:
            self.within.pop()

    def pay(self, cost: Sym) -> None:
        """Take a cost off the budget; what surrounds it has no known cost from here on."""
        self.within[-1].steady = False
        budget = self._place()
        left = self.text.emit(f"sub i64 {self.text.emit(f'load i64, ptr {budget}')}, {cost}")
        self.text.do(f"store i64 {left}, ptr {budget}")

    def settle(self) -> None:
        """Pay what is owed, and poll if the budget is spent."""
        here = self.within[-1]
        if here.owed:
            self.pay(here.owed)
            here.owed = 0
        self.poll_if_spent()

    def poll_if_spent(self) -> None:
        """Poll where the budget is spent."""
        text, budget = self.text, self._place()
        poll, on = text.fresh("poll"), text.fresh("on")
        spent = text.emit(f"icmp slt i64 {text.emit(f'load i64, ptr {budget}')}, 0")
        known = text.known()
        text.branch_if(spent, poll, on)
        text.start(poll)
        text.do(f"store i64 {POLL_EVERY}, ptr {budget}")
        stopped = text.emit(f"call i1 @jg_poll(ptr {self.state})")
        self.leave(stopped)
        text.branch(on)
        text.start(on, known)

    def at_exit(self) -> list[str]:
        """Return what the exit of the body begins with."""
        if not self.state:
            return []
        return [
            f"  %thread = load ptr, ptr {self.state}",
            "  %held = icmp eq ptr %thread, null",
            "  br i1 %held, label %leave, label %rejoin",
            "rejoin:",
            f"  call void @jg_rejoin(ptr {self.state})",
            "  br label %leave",
            "leave:",
        ]

    def _place(self) -> str:
        if not self._budget:
            text = self.text
            declare_runtime(text, "jg_poll", "jg_rejoin")
            self._budget, self.state = text.alloca("i64"), text.alloca("ptr")
            text.entry.append(f"  store i64 {FIRST_POLL}, ptr {self._budget}")
            text.entry.append(f"  store ptr null, ptr {self.state}")
        return self._budget


def _weight(node: Node) -> int:
    if node.kind == "apply":
        return 16 if node.payload.name in EXPENSIVE else 1
    return 2 if node.kind in ("load", "gather") else 0
