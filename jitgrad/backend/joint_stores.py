"""Stores that follow one another and run over the same part's shape become one nest.

In: the steps of a block and the buffers. Out: the steps with what lies between such stores moved before them, and for
the first store of each group all of them. A reverse sweep adds the same cotangents to several arrays, and a tape is
written beside the array that it is about: what they share is read and computed once.

A nest writes element by element what came store after store, so no store may read what an earlier one wrote, nor write
what an earlier one has still to read at another element: buffers may overlap if they share an atom (`buffers.py`). What
a store changes in place was alive before the group began, for no array is made between; so its memory is not what
another has done with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from jitgrad.backend.buffers import Plan
from jitgrad.backend.schedule import Schedule
from jitgrad.backend.steps import EXPENSIVE, Step
from jitgrad.backend.structure import fusable, is_scalar, same_map
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.ops.index import Span

__all__ = ["join_stores"]

_MOST = 6  # stores in one nest
_WEIGHT = 40  # ops computed in one nest: beyond, registers run out


def join_stores(schedule: Schedule, plan: Plan, steps: Sequence[Step]) -> tuple[list[Step], dict[Op, list[Op]]]:
    """Return the steps in an order that has joint stores side by side, and the groups.

    Parameters
    ----------
    schedule : Schedule
    plan : Plan
    steps : sequence of Step
        Of one block.
    """
    ordered: list[Step] = []
    groups: dict[Op, list[Op]] = {}
    group = _Group(schedule, plan)
    waiting: list[Step] = []  # the stores of the group, behind the scalars between them
    for step in steps:
        op = step.ops[0] if step.kind == "op" else None
        if op is not None and waiting and _is_pure_scalar(op):
            ordered.append(step)
            continue
        if op is not None and _may_join(op, schedule, plan):
            if group.add(op):
                waiting.append(step)
                continue
            ordered += _close(group, waiting, groups)
            group, waiting = _Group(schedule, plan), []
            if group.add(op):
                waiting.append(step)
                continue
        ordered += _close(group, waiting, groups)
        group, waiting = _Group(schedule, plan), []
        ordered.append(step)
    ordered += _close(group, waiting, groups)
    return ordered, groups


def _close(group: _Group, waiting: list[Step], groups: dict[Op, list[Op]]) -> list[Step]:
    if len(group.ops) > 1:
        groups[group.ops[0]] = group.ops
    return waiting


def _is_pure_scalar(op: Op) -> bool:
    return fusable(op) and all(is_scalar(v) for v in (*op.operands, *op.results))


def _may_join(op: Op, schedule: Schedule, plan: Plan) -> bool:
    """Whether an op changes in place a part that lies in memory as it is walked."""
    if op.name not in ("addto", "store") or op in plan.copied or op in schedule.visible or is_scalar(op.operands[0]):
        return False
    index = op.attrs["index"]
    return bool(op.operands[1].shape) and isinstance(index[-1], Span) and index[-1].step == 1


class _Group:
    """Stores that one nest can do.

    Parameters
    ----------
    schedule : Schedule
    plan : Plan

    Attributes
    ----------
    ops : list of Op
    """

    def __init__(self, schedule: Schedule, plan: Plan) -> None:
        self.ops: list[Op] = []
        self._schedule = schedule
        self._plan = plan
        self._written: set[int] = set()
        # What is read, each with the part that is read element by element; None if it is read in another way.
        self._read: list[tuple[frozenset[int], object]] = []
        self._weight = 0

    def add(self, op: Op) -> bool:
        """Take a store in if the nest can do it as well; return whether it can."""
        reads, weight = [], 1
        for atoms, part, ops in self._reads(op):
            weight += ops
            if atoms:
                reads.append((atoms, part))
        if weight > _WEIGHT:
            return False
        target = self._plan.place[op.operands[0]].atoms
        if self.ops:
            if len(self.ops) == _MOST or op.operands[1].shape != self.ops[0].operands[1].shape:
                return False
            if self._weight + weight > _WEIGHT or target & self._written:
                return False
            if any(atoms & self._written for atoms, _ in reads):
                return False
            # Without a read in common nothing is won.
            if not any(atoms & known for atoms, _ in reads for known, _ in self._read):
                return False
            part = _part(op)
            if any(atoms & target and where != part for atoms, where in self._read):
                return False
        self.ops.append(op)
        self._written |= target
        self._read += reads
        self._weight += weight
        return True

    def _reads(self, op: Op) -> Iterator[tuple[frozenset[int], object, int]]:
        """Yield what a store reads: the atoms, the part, and how many ops that takes."""
        if op.name == "addto":
            yield self._plan.place[op.operands[0]].atoms, _part(op), 1
        stack = [(op.operands[1], True)]
        seen: set[tuple[Value, bool]] = set()
        while stack:
            v, straight = stack.pop()
            if is_scalar(v) or (v, straight) in seen:
                continue
            seen.add((v, straight))
            if v not in self._schedule.fused:
                yield self._plan.place[v].atoms, None, 0
                continue
            maker = v.op
            assert maker is not None
            if maker.name in EXPENSIVE or maker.name in ("gather", "transpose"):
                yield frozenset(), None, _WEIGHT  # a nest of its own: by its own order, with its own registers
            yield frozenset(), None, 1
            base = maker.operands[0] if maker.operands else None
            if maker.name == "load" and base is not None and base not in self._schedule.fused:
                if not is_scalar(base):
                    yield self._plan.place[base].atoms, _part(maker) if straight else None, 0
                continue
            stack += [(o, straight and same_map(maker, o)) for o in maker.operands]


def _part(op: Op) -> object:
    """Return which part a load, a store or an addto is about: equal for equal parts of arrays of one shape."""
    base, rest = op.operands[0], op.operands[1:] if op.name == "load" else op.operands[2:]
    return base.shape, op.attrs["index"], tuple(rest)
