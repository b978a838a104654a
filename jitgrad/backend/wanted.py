"""At how many coordinates of a nest the elements of a value are wanted.

In: ops as scheduling places them, users before what they use. Out: what should be stored, since it would be computed
too often for one element of the nest, or where it must not be. A stencil of a computed array wants each element of it
several times.
"""

from __future__ import annotations

from jitgrad.backend.steps import EXPENSIVE, reduced_axes
from jitgrad.backend.structure import is_scalar
from jitgrad.graph.ir import Op, Value

__all__ = ["Wanted"]

# Coordinates that are told apart; ops that may be computed again for an element.
_MOST, _AGAIN = 8, 16


class Wanted:
    """What the users of values want."""

    def __init__(self) -> None:
        self._at: dict[Value, set[object]] = {}
        self._inside: set[Value] = set()

    def by_step(self, op: Op, step: object) -> None:
        """Note what an op wants that runs in a step."""
        self._note(op, {step})

    def by_fused(self, op: Op) -> None:
        """Note what an op wants that is computed where it is used."""
        self._note(op, self._at.get(op.result, set()))
        if op.name == "surround" or op.result in self._inside:
            self._inside.update(op.operands)

    def _note(self, op: Op, places: set[object]) -> None:
        for u in op.operands:
            if not is_scalar(u):
                known = self._at.setdefault(u, set())
                if len(known) <= _MOST:
                    known |= {_beyond(op, u, p) for p in places}

    def stored(self, op: Op, weight: int) -> bool:
        """Whether an op should be stored, since its elements would be computed too often, or where they must not be.

        Parameters
        ----------
        op : Op
        weight : int
            How many ops make an element.
        """
        if op.name == "gather" and op.result in self._inside:
            return True  # outside, an index is no index
        again = len(self._at.get(op.result, ())) - 1
        return again > 0 and (op.name in EXPENSIVE or again * weight > _AGAIN)


def _beyond(op: Op, operand: Value, place: object) -> object:
    """Return at which coordinates an op wants the elements of an operand, for its own at some place."""
    if op.primitive.scalar is not None:
        # Broadcast by whichever op, it is read in one way.
        return place if operand.shape == op.result.shape else ("broadcast", place)
    return place if reduced_axes(op) is not None else (op, place)
