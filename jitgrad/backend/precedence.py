"""Which steps of a block must come before which, and an order of them that is kept while edges are added.

In: steps, one after another, and edges between them. Out: whether a path leads from one to another. Every step has a
place, and every edge leads to a higher one; where a new edge does not, the steps between its ends that hang together
with them change places (Pearce and Kelly's way to keep a topological order). So most questions are answered by a look
at two places, and the others by a search between them: in a program of thousands of ops without a loop a search among
all steps, made for each op, takes most of a compile.

This room knows nothing of what steps do.
"""

from __future__ import annotations

from collections.abc import Iterable

from jitgrad.backend.steps import Step

__all__ = ["Precedence"]

MAX_VISITS = 4000  # steps looked at to prove that there is no path


class Precedence:
    """The edges between the steps of a block; its last step is there from the beginning.

    Parameters
    ----------
    end : Step
        Comes after all others.
    """

    def __init__(self, end: Step) -> None:
        self.end = end
        self.first = end.place = 0

    def add(self, step: Step) -> None:
        """Take in a step, before all others."""
        self.first -= 1
        step.place = self.first

    def edge(self, before: Step, after: Step) -> None:
        """Note that one step must come before another, from which no path leads to it."""
        if after not in before.succ:
            before.succ.add(after)
            after.pred.add(before)
            if before.place > after.place:
                self._reorder(before, after)

    def reaches(self, start: Iterable[Step], goal: Step) -> bool:
        """Whether a path leads from one of the steps to the goal; yes where that cannot be told quickly."""
        if goal is self.end:
            return True
        place = goal.place
        stack = [step for step in start if step.place <= place]
        seen = set(stack)
        while stack:
            step = stack.pop()
            if step is goal:
                return True
            for after in step.succ:
                if after.place <= place and after not in seen:
                    seen.add(after)
                    stack.append(after)
            if len(seen) > MAX_VISITS:
                return True
        return False

    def _reorder(self, before: Step, after: Step) -> None:
        """Give the steps on the way to one step, and on the way from another, places in this order."""
        low, high = after.place, before.place
        forward, backward = [after], [before]
        seen = {after}
        for step in forward:
            more = [s for s in step.succ if s.place <= high and s not in seen]
            seen.update(more)
            forward += more
        assert before not in seen, "the edges of a block make a cycle"
        seen = {before}
        for step in backward:
            more = [s for s in step.pred if s.place >= low and s not in seen]
            seen.update(more)
            backward += more
        moved = sorted(backward, key=_place) + sorted(forward, key=_place)
        for step, place in zip(moved, sorted(map(_place, moved)), strict=True):
            step.place = place


def _place(step: Step) -> int:
    return step.place
