"""All known callables: importing this registers every handler.

`by_name` finds the meaning of callables of modules that may not be imported (SciPy), and refuses whole modules whose
functions depend on the world outside (random numbers, clocks).
"""

from __future__ import annotations

from typing import Any

from jitgrad.trace import builtins, operators, python_numbers, ufuncs

__all__ = ["by_name"]


def by_name(function: Any) -> Any:
    """Return the handler of a callable that is known by its module and name, None if there is none."""
    return None


__all__ += ["builtins", "operators", "python_numbers", "ufuncs"]
