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

from jitgrad.graph.ir import Block, Value
from jitgrad.graph.primitive import NoGradient, primitive
from jitgrad.graph.types import BOOL, INT64, ArrayType, GraphTypeError, Type

__all__ = ["exception_arguments"]


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise GraphTypeError(what)


def _types(values: list[Value]) -> list[Type]:
    return [v.type for v in values]


def _if_rule(attrs: dict[str, Any], cond: Value) -> list[Type]:
    then, other = attrs["regions"]
    _require(cond.type == BOOL, f"if takes a bool scalar, not {cond.type}")
    _require(not then.args and not other.args, "the regions of an if have no arguments")
    _require(_types(then.yields) == _types(other.yields), f"if: {_types(then.yields)} against {_types(other.yields)}")
    return _types(then.yields)


def _carried(region: Block, inits: tuple[Value, ...], skip: int, what: str) -> None:
    types = _types(region.args)[skip:]
    _require(types == _types(list(inits)), f"{what}: arguments {types} against initial {_types(list(inits))}")


def _for_rule(attrs: dict[str, Any], n: Value, *inits: Value) -> list[Type]:
    (body,) = attrs["regions"]
    _require(n.type == INT64, f"for takes an int64 trip count, not {n.type}")
    _require(bool(body.args) and body.args[0].type == INT64, "the first argument of a for body is its int64 index")
    _carried(body, inits, 1, "for")
    _require(
        _types(body.yields) == _types(list(inits)), f"for: yields {_types(body.yields)} against {_types(list(inits))}"
    )
    return _types(list(inits))


def _while_rule(attrs: dict[str, Any], *inits: Value) -> list[Type]:
    cond, body = attrs["regions"]
    _carried(cond, inits, 0, "while condition")
    _carried(body, inits, 0, "while body")
    _require(_types(cond.yields) == [BOOL], "the condition of a while yields one bool scalar")
    _require(
        _types(body.yields) == _types(list(inits)), f"while: yields {_types(body.yields)} against {_types(list(inits))}"
    )
    return _types(list(inits))


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
    _require(cond.type == BOOL, f"check takes a bool scalar, not {cond.type}")
    _require({"exception", "message"} <= set(attrs), "check needs exception and message")
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
