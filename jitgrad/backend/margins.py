"""Which vectors of a row lie inside of all arrays with margins that a nest adds up.

In: the expressions of a nest, which ask for each element whether it is inside (`loops`). Out: a range of vectors of
which no lane has to ask, and what must hold of the row for that. Knows no LLVM.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jitgrad.backend.loops import Node, Sym

__all__ = ["Inside", "inside_of"]


class Inside(NamedTuple):
    """The vectors inside of all arrays in rows of which all of `rows` hold.

    Attributes
    ----------
    first : int
        The first such vector.
    before : list of (Sym, int)
        Sizes and offsets: a vector with a lane k at which offset + k >= size is none, nor is any behind it.
    rows : list of Node
    """

    first: int
    before: list[tuple[Sym, int]]
    rows: list[Node]


def inside_of(nodes: Sequence[Node], lanes: int, width: int) -> Inside | None:
    """Return which vectors need not ask; None where none asks, or that is not known.

    Parameters
    ----------
    nodes : sequence of Node
    lanes : int
        The merged dimension that runs along vectors.
    width : int
        Lanes.
    """
    asking = [n for n in nodes if n.kind == "inside"]
    first = 0
    before: dict[tuple[Sym, int], None] = {}
    rows: list[Node] = []
    for n in asking:
        coord, size = n.payload
        if not n.dims >> lanes & 1:
            rows.append(n)
        elif coord.step == 1 and isinstance(coord.offset, int):
            first = max(first, -(coord.offset // width))
            before[size, coord.offset] = None
        else:
            return None
    return Inside(first, list(before), rows) if asking else None
