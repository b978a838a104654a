"""Regions, checks, constants and call-backs: the ops that `graph/diff` and the backend know by name.

`if(cond)`            regions then, else without arguments; results are what the taken one yields.
`for(n, *inits)`      region (k, *carried) yields the next carried; runs for k = 0 .. n-1; results are the last carried.
`while(*inits)`       regions cond(*carried) -> bool and body(*carried) -> next; results are the last carried.
`check(cond, *xs)`    leaves the program through an error if cond is false; attrs `exception` and `message` (a format
                      string over xs) say which.
`commit(*xs)`         puts arrays into the memory of the graph's `arguments`, in program order, for the caller to see.
`call_back(*xs)`      calls the Python object `function` with arrays; attr `types` are the result types.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.primitive import NoGradient, primitive
from jitgrad.graph.types import BOOL, INT64, ArrayType, GraphTypeError, Type

__all__ = ["exception_arguments"]


def _require_alike(given: list[Value], wanted: Sequence[Value], what: str) -> None:
    """Raise, with the types of both, unless they are the same. (A text of types takes long: it is made only then.)"""
    if [v.type for v in given] != [v.type for v in wanted]:
        raise GraphTypeError(
            f"{what}: {', '.join(str(v.type) for v in given)} against {', '.join(str(v.type) for v in wanted)}"
        )


def _require_type(value: Value, type: Type, what: str) -> None:
    if value.type != type:
        raise GraphTypeError(f"{what}, not {value.type}")


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise GraphTypeError(what)


def _if_rule(attrs: dict[str, Any], cond: Value) -> list[Type]:
    then, other = attrs["regions"]
    _require_type(cond, BOOL, "if takes a bool scalar")
    _require(not then.args and not other.args, "the regions of an if have no arguments")
    _require_alike(then.yields, other.yields, "if: yields")
    return [v.type for v in then.yields]


def _for_rule(attrs: dict[str, Any], n: Value, *inits: Value) -> list[Type]:
    (body,) = attrs["regions"]
    _require_type(n, INT64, "for takes an int64 trip count")
    _require(bool(body.args) and body.args[0].type == INT64, "the first argument of a for body is its int64 index")
    _require_alike(body.args[1:], inits, "for: arguments")
    _require_alike(body.yields, inits, "for: yields")
    return [v.type for v in inits]


def _while_rule(attrs: dict[str, Any], *inits: Value) -> list[Type]:
    cond, body = attrs["regions"]
    _require_alike(cond.args, inits, "while: arguments of the condition")
    _require_alike(body.args, inits, "while: arguments of the body")
    _require([v.type for v in cond.yields] == [BOOL], "the condition of a while yields one bool scalar")
    _require_alike(body.yields, inits, "while: yields")
    return [v.type for v in inits]


def exception_arguments(message: str, arguments: tuple[Any, ...] | None, numbers: Sequence[Any]) -> tuple[Any, ...]:
    """Return what the exception of a failed check is made with.

    Parameters
    ----------
    message : str
        Format string over the numbers: `{0}` is the first as Python's, `{n0}` as NumPy's.
    arguments : tuple or None
        The attribute `arguments` of a check; each is a format string, a known value in a tuple of its own, a pair
        (whether it is NumPy's, position among the numbers), or a triple whose last holds the items of a tuple. None
        stands for the message alone.
    numbers : sequence of numpy.generic
        The operands of the check behind the condition.
    """
    python = [x.item() if isinstance(x, np.ndarray | np.generic) and not x.ndim else x for x in numbers]
    numpy = {f"n{k}": x[()] for k, x in enumerate(numbers)}
    if arguments is None:
        return (message.format(*python, **numpy),)
    made: list[Any] = []
    for given in arguments:
        if isinstance(given, str):
            made.append(given.format(*python, **numpy))
        elif len(given) == 1:
            made.append(given[0])
        elif len(given) == 3:
            made.append(exception_arguments(message, given[2], numbers))
        else:
            of_numpy, k = given
            made.append(numbers[k][()] if of_numpy else python[k])
    return tuple(made)


def _check_rule(attrs: dict[str, Any], cond: Value, *operands: Value) -> list[Type]:
    _require_type(cond, BOOL, "check takes a bool scalar")
    _require("exception" in attrs and "message" in attrs, "check needs exception and message")
    return []


def _commit_rule(attrs: dict[str, Any], *values: Value) -> list[Type]:
    _require(len(attrs["arguments"]) == len(values), "commit takes one value an argument")
    return []


def _constant_rule(attrs: dict[str, Any]) -> list[Type]:
    value: np.ndarray = attrs["value"]
    return [ArrayType(value.dtype, value.shape)]


if_ = primitive("if", type_rule=_if_rule, evaluate=None, derivative=None)
for_ = primitive("for", type_rule=_for_rule, evaluate=None, derivative=None)
while_ = primitive("while", type_rule=_while_rule, evaluate=None, derivative=None)
check = primitive("check", type_rule=_check_rule, evaluate=None, derivative=None, effects=frozenset({"may_raise"}))
commit = primitive(
    "commit",
    type_rule=_commit_rule,
    evaluate=None,
    derivative=NoGradient("what the caller sees is no result"),
    effects=frozenset({"io"}),
)
constant = primitive(
    "constant", type_rule=_constant_rule, evaluate=lambda attrs: attrs["value"], derivative=NoGradient("a constant")
)
call_back = primitive(
    "call_back",
    type_rule=lambda attrs, *operands: list(attrs["types"]),
    evaluate=lambda attrs, *xs: attrs["function"](*xs),
    derivative=NoGradient("a call-back into Python has no derivative of its own"),
    effects=frozenset({"io"}),
)
