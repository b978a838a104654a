"""All known callables: importing this registers every handler.

`by_name` finds the meaning of callables that cannot be registered when jitgrad is imported: those of SciPy, which is
not imported for it, and methods of random generators, which are refused whatever object they belong to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jitgrad.trace import containers, math_calls, numpy_calls
from jitgrad.trace.calls import HANDLERS
from jitgrad.trace.scipy_calls import scipy_handler
from jitgrad.trace.stdlib_calls import random_method

__all__ = ["HANDLERS", "by_name", "containers", "math_calls", "numpy_calls"]


def by_name(function: Any) -> Callable[..., Any] | None:
    """Return the handler of a callable that is not in `HANDLERS`, None if there is none."""
    found: Callable[..., Any] | None = scipy_handler(function) or random_method(function)
    return found
