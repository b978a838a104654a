"""The graph in NumPy: the oracle of every later stage.

In: a graph and argument arrays. Out: its results, computed op by op with each primitive's `evaluate`. Never writes into
an argument. A failed `check` raises the exception that its attributes name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.control import exception_arguments
from jitgrad.graph.types import ArrayType

__all__ = ["interpret"]


def interpret(graph: Graph, args: Sequence[Any], memory: Sequence[Any] | None = None) -> list[Any]:
    """Return the results of a graph.

    Parameters
    ----------
    graph : Graph
    args : sequence of array_like
        One an argument; lists for arguments of a list type.
    memory : sequence, optional
        Of the same arguments, what visible stores write into; without it they write nowhere.

    Raises
    ------
    Exception
        What the user's program raises: the exception of the first `check` that fails.
    """
    env = _Environment(memory)
    for k, value in enumerate(args):
        env.show(value, k)
    with np.errstate(all="ignore"):
        return _run(graph, args, env)


class _Environment(dict[Value, Any]):
    """What values are; and which arrays, by identity, are versions of which argument that the caller sees."""

    def __init__(self, memory: Sequence[Any] | None) -> None:
        self.memory = memory
        self.versions: dict[int, tuple[int, Any]] = {}

    def show(self, version: Any, argument: int) -> None:
        """Put a version of an argument into its memory."""
        if self.memory is not None and isinstance(self.memory[argument], np.ndarray):
            self.versions[id(version)] = argument, version  # held, so that no other array gets its identity
            if version is not self.memory[argument]:
                self.memory[argument][...] = version


def _run(block: Block, args: Sequence[Any], env: _Environment) -> list[Any]:
    for arg, value in zip(block.args, args, strict=True):
        env[arg] = np.asarray(value) if isinstance(arg.type, ArrayType) else value
    for op in block.ops:
        results = _HANDLERS.get(op.name, _evaluate)(op, [env[v] for v in op.operands], env)
        for result, value in zip(op.results, results, strict=True):
            if isinstance(result.type, ArrayType):
                value = np.asarray(value)
                if value.dtype != result.type.dtype or value.ndim != result.type.rank:
                    raise TypeError(f"{op.name} gave {value.dtype}{list(value.shape)}, not {result.type}")
            env[result] = value
    return [env[v] for v in block.yields]


def _evaluate(op: Op, operands: list[Any], env: _Environment) -> Sequence[Any]:
    assert op.primitive.evaluate is not None, op
    attrs = op.attrs
    if op.name == "list_to_array":
        element = op.result.array
        attrs = attrs | {"element": tuple(int(env[d]) if not isinstance(d, int) else d for d in element.shape[1:])}
        attrs["dtype"] = element.dtype
    made = op.primitive.evaluate(attrs, *operands)
    if attrs.get("visible") and id(operands[0]) in env.versions:
        env.show(made, env.versions[id(operands[0])][0])
    return made if len(op.results) != 1 else (made,)


def _commit(op: Op, operands: list[Any], env: _Environment) -> Sequence[Any]:
    for value, argument in zip(operands, op.attrs["arguments"], strict=True):
        env.show(value, argument)
    return ()


def _if(op: Op, operands: list[Any], env: _Environment) -> Sequence[Any]:
    then, other = op.regions
    return _run(then if operands[0] else other, (), env)


def _for(op: Op, operands: list[Any], env: _Environment) -> Sequence[Any]:
    count, *carried = operands
    for k in range(int(count)):
        carried = _run(op.regions[0], [np.int64(k), *carried], env)
    return carried


def _while(op: Op, operands: list[Any], env: _Environment) -> Sequence[Any]:
    cond, body = op.regions
    carried: Sequence[Any] = operands
    while _run(cond, carried, env)[0]:
        carried = _run(body, carried, env)
    return carried


def _check(op: Op, operands: list[Any], env: _Environment) -> Sequence[Any]:
    cond, *rest = operands
    if not cond:
        raise op.attrs["exception"](*exception_arguments(op.attrs["message"], op.attrs.get("arguments"), rest))
    return ()


_HANDLERS = {"if": _if, "for": _for, "while": _while, "check": _check, "commit": _commit}
