"""What a loop that cannot be carried as it stands says: its first trip must be peeled, or it must unroll."""

from __future__ import annotations

from typing import Any

__all__ = ["LoopSignal", "NeedPeel", "NeedUnroll", "NeverRepeats", "NotThisForm"]


class LoopSignal(Exception):
    """Control of the tracer itself, never an exception of the user's program."""


class NeedUnroll(LoopSignal):
    """The index of a loop is needed as a known Python object."""

    def __init__(self, key: Any, why: str) -> None:
        super().__init__(why)
        self.key = key
        self.why = why


class NeedPeel(LoopSignal):
    """A carried variable has another type after the first trip."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(why)
        self.name = name
        self.why = why


class NeverRepeats(LoopSignal):
    """No trip of the loop leads to another one."""


class NotThisForm(LoopSignal):
    """The loop has not the form that was tried."""
