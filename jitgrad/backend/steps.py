"""Steps: what runs together, in which order, and what is costly to run twice.

In: ops. Out: the record that scheduling fills and that bufferisation and emission read. Knows no LLVM.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

from jitgrad.graph.ir import Op
from jitgrad.graph.types import Dim

__all__ = ["EXPENSIVE", "Step", "in_order", "reduced_axes", "shared_axes"]

EXPENSIVE = frozenset({
    "exp", "log", "sin", "cos", "tan", "tanh", "power", "pow", "divide", "sqrt", "gather", "mod", "floor_divide",
    "expm1", "log1p", "exp2", "log2", "log10", "arctan", "arctan2", "arcsin", "arccos", "sinh", "cosh", "arcsinh",
    "arccosh", "arctanh", "erf", "erfc", "hypot", "cbrt", "remainder", "fmod", "logaddexp",
})  # fmt: skip


# Elements of the shortest row of results that is kept in memory: a shorter one is soon read again.
_ROW = 16


@dataclass(eq=False)
class Step:
    """Ops that run together.

    Attributes
    ----------
    kind : {'nest', 'op', 'result', 'end'}
        A loop nest that computes `ops`; a single op; a result to be copied out; the yields of the block.
    ops : list of Op
    domain : tuple of Dim
        Iterations of a nest.
    axes : tuple of int, or None
        Axes of the domain that the innermost loops of a nest reduce; None if they only write. Reductions of other
        axes are kept in memory.
    key : int
        Place in the user's order, of the first of `ops`.
    succ, pred : set of Step
        Steps that must come later, and earlier.
    place : int
        In an order that agrees with all of these, see `precedence`.
    position : int
        Number of the yield of a 'result'.
    reads, after : int
        Bit masks over versions of arrays that some op consumes: those that the step may read, and those whose
        consumer it depends on.
    """

    kind: str
    ops: list[Op]
    domain: tuple[Dim, ...] = ()
    axes: tuple[int, ...] | None = None
    key: int = 0
    succ: set[Step] = field(default_factory=set)
    pred: set[Step] = field(default_factory=set)
    place: int = 0
    position: int = -1
    reads: int = 0
    after: int = 0


def reduced_axes(op: Op) -> tuple[int, ...] | None:
    """Return the axes that a reduction drops, None for other ops."""
    return op.attrs["axes"] if op.name.startswith("reduce_") or op.name == "norm2" else None


def shared_axes(nest: Step, op: Op) -> tuple[tuple[int, ...] | None] | None:
    """Return the axes that the innermost loops of a nest reduce if an op joins it, in a tuple; None if it cannot.

    Sums along the rows are kept in registers. Beside them, or beside arrays that are written, sums down the columns are
    kept in memory, where each row adds to them: walking down the columns would touch memory across the rows.
    """
    axes, last = reduced_axes(op), len(nest.domain) - 1
    mine = nest.axes
    if axes == mine:
        return (mine,)
    if axes is None:
        assert mine is not None
        return (mine,) if last in mine else (None,) if _into_memory(nest.ops) else None
    if last in axes:
        if mine is None or (last not in mine and _into_memory(nest.ops)):
            return (axes,)
        return None
    return (mine,) if (mine is None or last in mine) and _into_memory([op]) else None


def _into_memory(ops: Sequence[Op]) -> bool:
    """Whether partial results may be kept in memory: elements of an array whose rows are long enough."""
    for op in ops:
        shape = op.result.shape
        row = shape[-1] if shape else 1
        if op.name not in ("reduce_marked", "reduce_sum", "reduce_or") or (isinstance(row, int) and row < _ROW):
            return False
    return True


def in_order(steps: Sequence[Step], end: Step) -> list[Step]:
    """Sort the steps of a block, the end last: the user's order where the edges leave a choice."""
    waiting: dict[Step, int] = dict.fromkeys(steps, 0)
    for step in steps:
        if step is not end:
            step.succ.add(end)
        for after in step.succ:
            waiting[after] += 1
    heap = [(s.key, i, s) for i, s in enumerate(steps) if waiting[s] == 0]
    number = {s: i for i, s in enumerate(steps)}
    heapq.heapify(heap)
    ordered: list[Step] = []
    while heap:
        _, _, step = heapq.heappop(heap)
        ordered.append(step)
        for after in step.succ:
            waiting[after] -= 1
            if not waiting[after]:
                heapq.heappush(heap, (after.key, number[after], after))
    assert len(ordered) == len(steps), "the edges of a block make a cycle"
    return ordered
