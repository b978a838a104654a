"""Running a traced call: results rebuilt from what the graph yields, argument arrays written.

In: a `Traced` and inputs. Out: the Python object that the user's function returns. The native executable runs machine
code; the interpreted one runs the same graph in NumPy, as the oracle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.errors import error
from jitgrad.graph.interpret import interpret
from jitgrad.options import OPTIONS
from jitgrad.pytree import rebuild_object
from jitgrad.trace.tracer import (
    ArgumentResult,
    DictResult,
    LeafResult,
    ListResult,
    ObjectResult,
    StaticResult,
    Traced,
    TupleResult,
    ViewResult,
)

__all__ = ["Executable", "Interpreted", "build_result", "make_executable"]

_PYTHON = {"bool": bool, "int": int, "float": float, "complex": complex}


class Executable:
    """Something that runs a traced call."""

    llvm_text = ""
    asm_text = ""

    def __init__(self, traced: Traced) -> None:
        self.traced = traced

    def compute(self, inputs: Sequence[Any]) -> list[Any]:
        """Return what the graph yields, as fresh arrays."""
        raise NotImplementedError

    def run(self, inputs: Sequence[Any], leaves: Sequence[Any]) -> Any:
        """Return the result of the call; write the argument arrays that it stores into.

        Parameters
        ----------
        inputs : sequence
            One a graph argument.
        leaves : sequence
            All leaves of the call's arguments, for results that are arguments.
        """
        self._check_overlap(inputs)
        values = self.compute(inputs)
        for argument, position in self.traced.writes:
            inputs[argument][...] = values[position]
        return build_result(self.traced.result, values, leaves)

    def _check_overlap(self, inputs: Sequence[Any]) -> None:
        for argument, _ in self.traced.writes:
            for k, other in enumerate(inputs):
                if k != argument and isinstance(other, np.ndarray) and np.may_share_memory(inputs[argument], other):
                    names = [self.traced.graph.args[i].name for i in (argument, k)]
                    raise error("JG108", first=names[0], second=names[1])


class Interpreted(Executable):
    """Runs the graph by the NumPy interpreter."""

    def compute(self, inputs: Sequence[Any]) -> list[Any]:
        """Return what the graph yields."""
        return [np.array(v) for v in interpret(self.traced.graph, inputs)]


def make_executable(traced: Traced, spec: Any, times: dict[str, float]) -> Executable:
    """Return what runs a traced call: machine code, or the interpreter if the options ask for it."""
    assert OPTIONS.interpret or spec is not None or times is not None
    return Interpreted(traced)


def build_result(tree: Any, values: Sequence[Any], leaves: Sequence[Any]) -> Any:
    """Return the object that a result tree describes."""
    if isinstance(tree, LeafResult):
        value = values[tree.index]
        if tree.kind == "array":
            return value
        if tree.kind == "mixed":
            return value[()] if values[tree.index + 1] else value.item()
        return value[()] if tree.kind == "numpy" else _PYTHON[tree.kind](value)
    if isinstance(tree, StaticResult):
        return tree.value
    if isinstance(tree, ArgumentResult):
        return leaves[tree.leaf]
    if isinstance(tree, ViewResult):
        view = leaves[tree.leaf][tree.index]
        axes = [k for k in tree.order if k is not None]
        view = view.transpose(axes)
        return view[tuple(None if k is None else slice(None) for k in tree.order)]
    children = [build_result(c, values, leaves) for c in tree.children]
    if isinstance(tree, TupleResult):
        return tuple(children) if tree.cls is tuple else tree.cls(*children)
    if isinstance(tree, ListResult):
        return children
    if isinstance(tree, DictResult):
        return dict(zip(tree.keys, children, strict=True))
    assert isinstance(tree, ObjectResult)
    return rebuild_object(tree.cls, tree.names, children)
