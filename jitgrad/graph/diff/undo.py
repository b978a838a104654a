"""Undoing stores: putting arrays back to earlier versions while the reverse program runs backwards.

In: regions of the primal. Out: which carried values of a loop can be restored (`restorable`), and the code that undoes
one op (`Undo.step`). A store is undone by storing what it overwrote, which the forward program saves; a push by a pop;
a sum with a constant integer by the difference, which is exact. A chain of such ops, loops and branches leads from what
a loop yields back to what it was given; positions may be permuted on the way (`u, v = v, u`). The newest version not
yet undone is the one at hand; so a load that the adjoint needs again is repeated, not saved.

Undoing keeps as many numbers as are stored, a tape as many as are loaded; `adjoint.py` builds both and compares.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from jitgrad.graph.diff.frames import Frame
from jitgrad.graph.diff.residuals import Residuals
from jitgrad.graph.ir import Block, Op, Value
from jitgrad.graph.types import INT64, ListType

__all__ = ["Undo", "restorable"]

_STORES = frozenset({"addto", "list_addto", "list_set", "scatter", "scatter_add", "store"})
_COUNTS = frozenset({"add", "subtract"})


def _step_of(op: Op) -> Value | None:
    """Return the constant that an int64 op adds to its first operand or subtracts from it."""
    if op.name not in _COUNTS or op.result.type != INT64:
        return None
    by = op.operands[1]
    return by if by.op is not None and by.op.name == "constant" else None


def _may_change(value: Value) -> bool:
    return isinstance(value.type, ListType) or value.array.rank > 0 or value.type == INT64


def restorable(op: Op, positions: Iterable[int], stores: bool) -> set[int]:
    """Return which carried positions of a loop can be restored, of those whose results are at hand.

    Parameters
    ----------
    op : Op
        A `for` or `while`.
    positions : iterable of int
    stores : bool
        Whether stores may be undone, at the price of saving what they overwrite.
    """
    body = op.regions[-1]
    args = body.args[1:] if op.name == "for" else body.args
    kept = {i for i in positions if _may_change(args[i])}
    while True:
        # The greatest set that is closed: restoring all it yields must give back all it was given.
        hand = {body.yields[i] for i in kept}
        _run_back(body, hand, stores)
        closed = {i for i in kept if args[i] in hand}
        if closed == kept:
            return kept
        kept = closed


def _run_back(block: Block, hand: set[Value], stores: bool) -> None:
    """Change `hand`, the versions at hand at the end of a block, to those at hand at its start."""
    for op in reversed(block.ops):
        found = [r for r in op.results if r in hand]
        if not found:
            continue
        if op.name == "if":
            arms = []
            for region in op.regions:
                inner = {y for y, r in zip(region.yields, op.results, strict=False) if r in hand}
                _run_back(region, inner, stores)
                arms.append(inner)
            hand.difference_update(found)
            hand.update(arms[0] & arms[1])
        elif op.regions:
            skip = 1 if op.name == "for" else 0
            inside = restorable(op, [r.index for r in found], stores)
            hand.difference_update(found)
            hand.update(op.operands[skip + i] for i in inside)
        elif op.name == "list_push" or (stores and op.name in _STORES) or _step_of(op) is not None:
            hand.discard(op.result)
            hand.add(op.operands[0])


class Undo:
    """Undoes single ops in reverse code.

    Parameters
    ----------
    residuals : Residuals

    Attributes
    ----------
    done : list of (Op, Value)
        For each store undone, the outermost op around it and the version that it brought back.
    """

    def __init__(self, residuals: Residuals) -> None:
        self.residuals = residuals
        self.done: list[tuple[Op, Value]] = []
        self._loads: dict[Block, dict[Any, Value]] = {}

    def step(self, frame: Frame, op: Op, stores: bool) -> None:
        """Undo an op without regions if its result is a version at hand in this frame."""
        if len(op.results) != 1 or op.result not in frame.memo:
            return
        after = frame.memo[op.result]
        before = op.operands[0] if op.operands else None
        if before is None or self.residuals.at_hand(frame, before) is not None:
            return
        g, get = self.residuals.g, self.residuals.get
        by = _step_of(op)
        if by is not None:
            inverse = g.subtract if op.name == "add" else g.add
            frame.memo[before] = inverse(after, get(frame, by))
        elif op.name == "list_push":
            last = g.subtract(g.list_length(after), g.constant(np.int64(1)))
            frame.memo.setdefault(op.operands[1], g.list_get(after, last))
            frame.memo[before] = g.list_pop(after)
            del frame.memo[op.result]
        elif stores and op.name in _STORES:
            where = [get(frame, v) for v in self._where(op)]
            value = op.operands[2 if op.name.startswith("list") else 1]
            wrote = op.name in ("store", "list_set")
            if wrote and value in self.residuals.nest.home and value not in frame.memo:
                # What the store wrote, while this version is at hand; dead code where nobody asks.
                frame.memo[value] = self._read(op, after, where)
            old = get(frame, self._overwritten(frame, op))
            frame.memo[before] = restored = self._write(op, after, old, where)
            self.done.append((self.residuals.nest.outermost(frame.forward), restored))
            del frame.memo[op.result]

    def _where(self, op: Op) -> list[Value]:
        return op.operands[1:2] if op.name.startswith("list") else op.operands[2:]

    def _read(self, op: Op, container: Value, where: list[Value]) -> Value:
        g = self.residuals.g
        if op.name.startswith("list"):
            return g.list_get(container, *where)
        if op.name.startswith("scatter"):
            return g.gather(container, *where)
        return g.load(container, *where, index=op.attrs["index"])

    def _write(self, op: Op, container: Value, old: Value, where: list[Value]) -> Value:
        g = self.residuals.g
        if op.name.startswith("list"):
            return g.list_set(container, *where, old)
        if op.name.startswith("scatter"):
            return g.scatter(container, old, *where)
        return g.store(container, old, *where, index=op.attrs["index"])

    def _overwritten(self, frame: Frame, op: Op) -> Value:
        """Return the primal value that a store overwrites: a load that the body has already, or one made for this."""
        container, where = op.operands[0], self._where(op)
        block = frame.forward
        if block not in self._loads:
            self._loads[block] = {
                _key(o.name, o.operands[0], o.attrs.get("index"), o.operands[1:]): o.result
                for o in frame.ops
                if o.name in ("gather", "list_get", "load")
            }
        name = "list_get" if op.name.startswith("list") else "gather" if op.name.startswith("scatter") else "load"
        key = _key(name, container, op.attrs.get("index"), where)
        found = self._loads[block].get(key)
        if found is None:
            attrs = {"index": op.attrs["index"]} if name == "load" else {}
            with self.residuals.nest.insert(block, op, False, op.location) as g:
                found = g.emit(name, [container, *where], attrs).result
            found.name = f"{container.name}.old" if container.name else "old"
        return found


def _key(name: str, container: Value, index: Any, where: list[Value]) -> Any:
    numbers = []
    for v in where:
        constant = v.op is not None and v.op.name == "constant" and not v.array.rank
        numbers.append(("constant", v.op.attrs["value"].item()) if constant and v.op is not None else v)
    return name, container, index, tuple(numbers)
