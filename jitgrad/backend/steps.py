"""Steps: what runs together, and what is costly to run twice.

In: ops. Out: the record that scheduling fills and that bufferisation and emission read. Knows no LLVM.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from jitgrad.graph.ir import Op
from jitgrad.graph.types import Dim

__all__ = ["EXPENSIVE", "Step", "agree", "reduced_axes"]

EXPENSIVE = frozenset({
    "exp", "log", "sin", "cos", "tan", "tanh", "power", "pow", "divide", "sqrt", "gather", "mod", "floor_divide",
    "expm1", "log1p", "exp2", "log2", "log10", "arctan", "arctan2", "arcsin", "arccos", "sinh", "cosh", "arcsinh",
    "arccosh", "arctanh", "erf", "erfc", "hypot", "cbrt", "remainder", "fmod", "logaddexp",
})  # fmt: skip


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
        Axes of the domain that the reductions of a nest drop; None if it only writes.
    key, last : int
        Place in the user's order: of the first of `ops`, and of the last.
    succ : set of Step
        Steps that must come later.
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
    last: int = 0
    position: int = -1
    reads: int = 0
    after: int = 0


def reduced_axes(op: Op) -> tuple[int, ...] | None:
    """Return the axes that a reduction drops, None for other ops."""
    return op.attrs["axes"] if op.name.startswith("reduce_") or op.name == "norm2" else None


def agree(one: tuple[int, ...] | None, other: tuple[int, ...] | None, domain: Sequence[Dim]) -> bool:
    """Whether two outputs, each with the axes that it drops, can share loops: those that are reduced run inside."""
    if one == other:
        return True
    if one is not None and other is not None:
        return False
    axes = one if one is not None else other
    assert axes is not None
    # Writing while summing down the columns would walk memory across the rows.
    return len(domain) - 1 in axes
