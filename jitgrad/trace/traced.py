"""What a trace comes to: the graph, what its arguments are, the facts to guard, how to rebuild the result.

In: what the tracer found. Out: plain data for the pipeline and for what runs the call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jitgrad.graph.ir import Graph
from jitgrad.pytree import Size, Step
from jitgrad.trace.guards import Guard, Hidden
from jitgrad.trace.results import ResultTree

__all__ = ["Traced"]


@dataclass(slots=True)
class Traced:
    """A traced call.

    Attributes
    ----------
    graph : Graph
        Arguments: the numeric leaves of the call's arguments that are not static, in order, then the hidden inputs,
        then the run-time sizes and strides.
    leaves : list of int
        For each of the first graph arguments, which leaf of the call it is.
    statics : dict of int to object
        Leaves that were made known, with the value compiled in.
    hidden : list of Hidden
    guards : list of Guard
    result : ResultTree
    writes : list of (int, int)
        (graph argument, yield): argument arrays that get new contents.
    notes : list of str
        Why the trace was begun again, for `stats()`.
    orders : dict of int to int
        Yields that are gradients, and the leaf of the call by which: they get its memory order.
    arrays_of_rank_0 : set of int
        Yields that are arrays although a number would have their type.
    read_only : set of int
        Graph arguments to which the program stores, and for which these are not writeable: that raises.
    sizes : dict of Size or Step to (int, int)
        In the order of the graph's arguments that they are; (graph argument, axis) is a place where each stands.
    """

    graph: Graph
    leaves: list[int]
    statics: dict[int, Any]
    hidden: list[Hidden]
    guards: list[Guard]
    result: ResultTree
    writes: list[tuple[int, int]]
    notes: list[str] = field(default_factory=list)
    orders: dict[int, int] = field(default_factory=dict)
    arrays_of_rank_0: set[int] = field(default_factory=set)
    read_only: set[int] = field(default_factory=set)
    sizes: dict[Size | Step, tuple[int, int]] = field(default_factory=dict)

    def with_sizes(self, inputs: Sequence[Any]) -> list[Any]:
        """Return leaves and hidden inputs with the sizes that are graph arguments of their own."""
        made = list(inputs)
        for size, (argument, axis) in self.sizes.items():
            x = inputs[argument]
            made.append(np.int64(x.shape[axis] if isinstance(size, Size) else x.strides[axis] // x.itemsize))
        return made
