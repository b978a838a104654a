"""Stores that follow one another, or a nest, and run over the same shape become one nest.

In: the steps of a block and the buffers. Out: the steps with what lies between such stores moved before them, and for
the op that leads each group the stores that it takes with it. A reverse sweep adds the same cotangents to several
arrays, and a tape is written beside the array that it is about: what they share is read and computed once.

A nest writes element by element what came store after store, so no store may read what an earlier one wrote, nor write
what an earlier one has still to read at another element: buffers may overlap if they share an atom (`buffers.py`). What
a store changes in place was alive before the group began, for no array is made between; so its memory is not what
another has done with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from jitgrad.backend.buffers import Plan
from jitgrad.backend.schedule import Schedule
from jitgrad.backend.steps import EXPENSIVE, Step
from jitgrad.backend.structure import fusable, is_scalar, same_map
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.ops.index import Span
from jitgrad.graph.types import Dim

__all__ = ["join_stores"]

_MOST = 6  # stores in one nest
_WEIGHT = 40  # ops computed in one nest: beyond, registers run out


def join_stores(schedule: Schedule, plan: Plan, steps: Sequence[Step]) -> tuple[list[Step], dict[Op, list[Op]]]:
    """Return the steps in an order that has joint stores side by side, and the stores that an op takes with it.

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
    waiting: list[Step] = []  # the steps of the group, behind the scalars between them

    def close() -> None:
        ordered.extend(waiting)
        waiting.clear()
        if group.stores:
            groups[group.leader] = group.stores

    for step in steps:
        op = step.ops[0] if step.kind == "op" else None
        if waiting and (group.lets_by(step) if op is None else _is_pure_scalar(op)):
            ordered.append(step)
            continue
        joins = op is not None and _may_join(op, schedule, plan)
        if op is not None and joins and waiting and group.add(op):
            waiting.append(step)
            continue
        close()
        group = _Group(schedule, plan)
        if (op is not None and joins and group.add(op)) or (_may_lead(step) and group.lead(step)):
            waiting.append(step)
        else:
            ordered.append(step)
    close()
    return ordered, groups


def _may_lead(step: Step) -> bool:
    """Whether a nest only writes elements of its own domain."""
    return step.kind == "nest" and step.axes is None and all(op.name != "reshape" for op in step.ops)


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
    leader : Op
        The first op of the nest.
    stores : list of Op
        Those behind the leader.
    """

    def __init__(self, schedule: Schedule, plan: Plan) -> None:
        self.leader: Op
        self.stores: list[Op] = []
        self._shape: tuple[Dim, ...] | None = None
        self._roots: set[Value] = set()
        self._schedule = schedule
        self._plan = plan
        self._written: set[int] = set()
        # What is read, each with the part that is read element by element; None if it is read in another way.
        self._read: list[tuple[frozenset[int], object]] = []
        self._weight = 0

    def lead(self, step: Step) -> bool:
        """Begin with a nest; return whether it can take stores with it."""
        self._roots = {op.result for op in step.ops}
        for op in step.ops:
            for v in op.operands:
                self._note(self._reads(v, same_map(op, v)))
            self._written |= self._plan.place[op.result].atoms
        self.leader, self._shape = step.ops[0], step.domain
        return self._weight <= _WEIGHT

    def add(self, op: Op) -> bool:
        """Take a store in if the nest can do it as well; return whether it can."""
        target, value = op.operands[:2]
        atoms = self._plan.place[target].atoms
        read = list(self._reads(value, True))
        if op.name == "addto":
            read.append((atoms, _part(op), 1))
        weight = 1 + sum(ops for *_, ops in read)
        if weight + self._weight > _WEIGHT:
            return False
        if self._shape is not None:
            if len(self.stores) == _MOST - 1 or value.shape != self._shape or atoms & self._written:
                return False
            if any(of & self._written for of, *_ in read):
                return False
            # Without a read in common nothing is won.
            if value not in self._roots and not any(of & known for of, *_ in read for known, _ in self._read):
                return False
            part = _part(op)
            if any(of & atoms and where != part for of, where in self._read):
                return False
            self.stores.append(op)
        else:
            self.leader, self._shape = op, value.shape
        self._written |= atoms
        self._note(read)
        return True

    def lets_by(self, step: Step) -> bool:
        """Whether a nest that is no part of this may as well run before it: neither touches what the other writes.

        It writes over arrays that were alive before: a new one may lie where something was that this still reads.
        """
        if step.kind != "nest" or len(self.stores) == _MOST - 1 or not self._plan.written_over.issuperset(step.ops):
            return False
        written = frozenset[int]().union(*(self._plan.place[op.result].atoms for op in step.ops))
        if written & self._written or any(written & of for of, _ in self._read):
            return False
        reads = (of for op in step.ops for v in op.operands for of, *_ in self._reads(v, False))
        return not any(of & self._written for of in reads)

    def _note(self, read: Iterable[tuple[frozenset[int], object, int]]) -> None:
        for atoms, part, ops in read:
            self._weight += ops
            if atoms:
                self._read.append((atoms, part))

    def _reads(self, value: Value, straight: bool) -> Iterator[tuple[frozenset[int], object, int]]:
        """Yield what the elements of a value take: the atoms, the part, and how many ops that is.

        `straight` says that element i of the nest takes element i.
        """
        stack = [(value, straight)]
        seen: set[tuple[Value, bool]] = set()
        while stack:
            v, straight = stack.pop()
            if is_scalar(v) or (v, straight) in seen or (straight and v in self._roots):
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
