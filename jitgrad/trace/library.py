"""All known callables: importing this registers every handler.

`by_name` finds the meaning of callables that cannot be registered when jitgrad is imported: those of SciPy, which is
not imported for it, and methods of random generators, which are refused whatever object they belong to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jitgrad.trace import (
    builtins,
    cached_calls,
    containers,
    grown_order,
    itertools_calls,
    math_calls,
    numpy_calls,
    numpy_create,
    numpy_diagonal,
    numpy_join,
    numpy_linalg,
    numpy_math,
    numpy_move,
    numpy_order,
    numpy_programs,
    numpy_reduce,
    numpy_select,
    numpy_shape,
    numpy_systems,
    operators,
    pausing,
    python_folds,
    python_iterators,
    python_numbers,
    stdlib_calls,
    ufuncs,
)
from jitgrad.trace.calls import HANDLERS
from jitgrad.trace.scipy_calls import scipy_handler
from jitgrad.trace.stdlib_calls import dispatcher, random_method

__all__ = ["ROOMS", "by_name", "known_names"]

# The rooms that register handlers.
ROOMS = (
    builtins,
    cached_calls,
    containers,
    grown_order,
    itertools_calls,
    math_calls,
    numpy_calls,
    numpy_create,
    numpy_diagonal,
    numpy_join,
    numpy_linalg,
    numpy_math,
    numpy_move,
    numpy_order,
    numpy_programs,
    numpy_reduce,
    numpy_select,
    numpy_shape,
    numpy_systems,
    operators,
    pausing,
    python_folds,
    python_iterators,
    python_numbers,
    stdlib_calls,
    ufuncs,
)


def by_name(function: Any) -> Callable[..., Any] | None:
    """Return the handler of a callable that is not in `HANDLERS`, None if there is none."""
    found: Callable[..., Any] | None = scipy_handler(function) or random_method(function) or dispatcher(function)
    return found


def known_names() -> list[str]:
    """Return the names of all callables that have a meaning here or are refused by name."""
    names = []
    for function in HANDLERS:
        module = getattr(function, "__module__", None) or type(getattr(function, "__self__", None)).__name__
        names.append(f"{module}.{getattr(function, '__qualname__', None) or getattr(function, '__name__', function)}")
    return sorted(set(names))
