"""What a transform is: a kind, the function it transforms, its parameters.

`api.py` makes these; the tracer applies them, at the top of a call and wherever a transformed function is called inside
a traced one. This room does nothing itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jitgrad.errors import error

__all__ = ["MAKERS", "Transform", "argument_positions", "transform_of"]

# The public functions that make transforms, and the kind each makes; the tracer knows them by this table.
MAKERS: dict[Any, str] = {}


@dataclass(frozen=True, slots=True)
class Transform:
    """A transform of a function.

    Attributes
    ----------
    kind : str
        "jit"     f itself.
        "grad"    the gradient of f by `argnums`, or `(gradient, aux)`.
        "value_and_grad"  `(value, gradient)`, or `((value, aux), gradient)`.
        "pull"    `pull(primals, cotangent)` gives the cotangents of all primals.
        "push"    `push(primals, tangents)` gives `(value, tangent)`, or `(value, tangent, aux)`.
    function : callable
    argnums : int, str, or tuple of these
    has_aux : bool
    """

    kind: str
    function: Callable[..., Any]
    argnums: Any = 0
    has_aux: bool = False


def transform_of(value: Any) -> Transform | None:
    """Return the transform that a callable made by jitgrad stands for, None for any other object."""
    found = getattr(type(value), "_jitgrad_transformed", False)
    if not found:
        return None
    made: Transform = value.transform
    return made


def argument_positions(transform: Transform, count: int, keywords: tuple[str, ...]) -> tuple[list[int | str], bool]:
    """Return which arguments of a call a gradient is taken by, and whether the caller wants one tree or a tuple.

    Parameters
    ----------
    transform : Transform
    count : int
        Number of positional arguments of the call.
    keywords : tuple of str
        Its keyword arguments.

    Returns
    -------
    list of int or str
        Positions, or names of arguments passed by keyword.
    bool
        Whether `argnums` was a single one.

    Raises
    ------
    ArgumentError
        JG101, JG102.
    """
    single = not isinstance(transform.argnums, tuple | list)
    wanted = [transform.argnums] if single else list(transform.argnums)
    name = getattr(transform.function, "__name__", type(transform.function).__name__)
    found: list[int | str] = []
    for item in wanted:
        if isinstance(item, bool) or not isinstance(item, int | str):
            raise error("JG101", argnums=repr(item), name=name, why="it is neither an int nor a name")
        if isinstance(item, str):
            found.append(_by_name(transform, item, name, count, keywords))
            continue
        at = item + count if item < 0 else item
        names = _parameters(transform, by_position=True)
        if count <= at < len(names) and names[at] in keywords:
            found.append(names[at])
            continue
        if not 0 <= at < count:
            why = f"the call has {count} positional argument{'s' if count != 1 else ''}"
            raise error("JG101", argnums=item, name=name, why=why)
        found.append(at)
    if len(set(found)) != len(found):
        raise error("JG101", argnums=repr(transform.argnums), name=name, why="it names an argument twice")
    return found, single


def _by_name(transform: Transform, wanted: str, name: str, count: int, keywords: tuple[str, ...]) -> int | str:
    if wanted in keywords:
        return wanted
    parameters = _parameters(transform)
    if wanted in parameters and parameters.index(wanted) < count:
        return parameters.index(wanted)
    known = ", ".join(parameters) or "unknown"
    why = "no argument of that name was passed" if wanted in parameters else f"its parameters are: {known}"
    raise error("JG101", argnums=repr(wanted), name=name, why=why)


def _parameters(transform: Transform, by_position: bool = False) -> list[str]:
    """Return the names of a function's parameters, or of those that have a position; none if they are unknown."""
    code = getattr(transform.function, "code", None)
    try:
        found = inspect.signature(transform.function).parameters
    except (TypeError, ValueError):
        # A function made inside a trace is known by its code object.
        if code is None:
            return []
        return list(code.co_varnames[: code.co_argcount + (0 if by_position else code.co_kwonlyargcount)])
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [name for name, p in found.items() if p.kind in kinds or not by_position]
