"""The least and the largest number that an integer scalar of a graph may be, while its body is written.

In: what loops say of their indices, in the order in which they are written. Out: bounds that hold whenever a value is
computed, None where they are not known. They save code: a loop that cannot run long is not cut into chunks (`pacing`),
a sum of few terms has no cascade (`emit_nest`). Nothing that is right depends on them. Sums that might leave int64 have
no bounds: they wrap.
"""

from __future__ import annotations

from jitgrad.graph.ir import Value
from jitgrad.graph.types import INT64

__all__ = ["Bounds"]

_LIMIT = 2**62
_DEPTH = 6

_Range = tuple[int, int] | None


class Bounds:
    """What is known of integers."""

    def __init__(self) -> None:
        self._known: dict[Value, _Range] = {}

    def most(self, value: Value) -> int | None:
        """Return the largest number that a size or a trip count may be."""
        found = self._of(value, _DEPTH)
        return None if found is None else max(found[1], 0)

    def note_index(self, index: Value, trips: int | None) -> None:
        """Enter the index of a loop that runs so often at most."""
        self._known[index] = None if trips is None else (0, max(trips - 1, 0))

    def _of(self, value: Value, depth: int) -> _Range:
        if value not in self._known:
            found = self._computed(value, depth)
            if found is None and depth < _DEPTH:
                return None  # not remembered: asked for itself, it may be known
            self._known[value] = found
        return self._known[value]

    def _computed(self, value: Value, depth: int) -> _Range:
        op = value.op
        if op is None or value.type != INT64 or depth == 0:
            return None
        if op.name == "constant":
            number = int(op.attrs["value"])
            return number, number
        if op.name not in ("add", "subtract", "multiply", "minimum", "maximum"):
            return None
        x, y = (self._of(v, depth - 1) for v in op.operands)
        if x is None or y is None:
            return None
        match op.name:
            case "add":
                low, high = x[0] + y[0], x[1] + y[1]
            case "subtract":
                low, high = x[0] - y[1], x[1] - y[0]
            case "multiply":
                corners = [a * b for a in x for b in y]
                low, high = min(corners), max(corners)
            case "minimum":
                low, high = min(x[0], y[0]), min(x[1], y[1])
            case _:
                low, high = max(x[0], y[0]), max(x[1], y[1])
        return (low, high) if max(-low, high) < _LIMIT else None
