"""When values are read: the steps of all blocks in one order of time.

In: a schedule. Out: `Lifetimes`: the time of every step, when each stored value is defined and read, and until when it
must stay, loops that repeat a read included. This room knows no buffer.
"""

from __future__ import annotations

from collections.abc import Iterable

from jitgrad.backend.schedule import Schedule
from jitgrad.backend.steps import Step
from jitgrad.backend.structure import is_scalar
from jitgrad.graph.ir import Block, Value

__all__ = ["Lifetimes"]


class Lifetimes:
    """Times of a scheduled graph.

    Attributes
    ----------
    at : dict of Step to int
    span : dict of Block to (int, int)
        First and last moment of a block.
    uses : dict of Value to list of int
        When a stored value is read, directly or through fused ones.
    defined : dict of Value to int
    clock : int
        A moment after everything.
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.at: dict[Step, int] = {}
        self.span: dict[Block, tuple[int, int]] = {}
        self.uses: dict[Value, list[int]] = {}
        self.defined: dict[Value, int] = {}
        self.clock = 0
        self._last: dict[Value, int] = {}
        self._leaf: dict[Value, tuple[Value, ...]] = {}
        self._loop_spans: list[tuple[int, int]] = []
        self._number(schedule.graph)

    def _number(self, block: Block) -> None:
        """Give every step its place in time and note where each stored value is read."""
        self.clock += 1
        first = self.clock
        for arg in block.args:
            self.defined[arg] = first
        for step in self.schedule.steps[block]:
            self.clock += 1
            now = self.at[step] = self.clock
            reads: Iterable[Value] = [v for op in step.ops for v in op.operands]
            if step.kind == "result":
                reads = [block.yields[step.position]]
            elif step.kind == "end":
                reads = block.yields
            for v in reads:
                for leaf in self._leaves(v):
                    self.uses.setdefault(leaf, []).append(now)
            for op in step.ops:
                for region in op.regions:
                    self._number(region)
                if op.name in ("for", "while"):
                    # Inner loops come first in this list.
                    self._loop_spans.append((now, self.clock))
                if op.regions:
                    self.clock += 1
                for r in op.results:
                    self.defined[r] = self.clock
        self.clock += 1
        self.span[block] = (first, self.clock)

    def _leaves(self, value: Value) -> tuple[Value, ...]:
        """Return the stored values that evaluating a value reads."""
        if is_scalar(value):
            return ()
        known = self._leaf.get(value)
        if known is None:
            if value in self.schedule.fused:
                assert value.op is not None
                known = tuple({leaf: None for v in value.op.operands for leaf in self._leaves(v)})
            else:
                known = (value,)
            self._leaf[value] = known
        return known

    def last_use(self, value: Value) -> int:
        """Return when a value is read for the last time; a loop around the read may repeat it until its end."""
        known = self._last.get(value)
        if known is not None:
            return known
        last = max(self.uses.get(value, ()), default=0)
        defined = self.defined[value]
        for first, end in self._loop_spans:
            if first < last <= end and not first < defined <= end:
                last = end
        self._last[value] = last
        return last

    def repeated(self, value: Value, when: int) -> bool:
        """Whether a loop that does not define a value runs through this moment and reads the value."""
        defined = self.defined[value]
        return any(
            first < when <= end
            and not first < defined <= end
            and any(first < u <= end for u in self.uses.get(value, ()))
            for first, end in self._loop_spans
        )
