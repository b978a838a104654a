"""Programs of the bank whose value is known: `@known(args, value)` above `@program`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["KNOWN", "Known", "known"]


@dataclass(frozen=True)
class Known:
    """A value that a program must give for some arguments.

    Attributes
    ----------
    function : callable
    args : tuple
    value : object
    rtol : float
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    value: Any
    rtol: float


KNOWN: list[Known] = []


def known(args: tuple[Any, ...], value: Any, rtol: float = 1e-9) -> Callable[[Any], Any]:
    """State what a program must return for some arguments."""

    def state(function: Any) -> Any:
        KNOWN.append(Known(function, args, value, rtol))
        return function

    return state
