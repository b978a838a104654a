"""Where in the user's source something stands.

In: positions read from code objects. Out: `Location`, which every graph op and every error carries, and its rendering
as source line, caret and chain of inlined calls. This room knows nothing of bytecode, graphs or errors.
"""

from __future__ import annotations

import linecache
from dataclasses import dataclass

__all__ = ["Location"]


@dataclass(frozen=True, slots=True)
class Location:
    """A span of source text and the call chain through which it was inlined.

    Parameters
    ----------
    file : str
        File name as the code object gives it.
    line, end_line : int
        First and last line, counted from 1; 0 where unknown.
    column, end_column : int or None
        Span on those lines, in UTF-8 bytes counted from 0 as CPython does; None where unknown.
    function : str
        Qualified name of the function that contains the span.
    inlined_at : Location or None
        The call in the caller through which this function was entered.
    """

    file: str
    line: int
    end_line: int = 0
    column: int | None = None
    end_column: int | None = None
    function: str = ""
    inlined_at: Location | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    def called_from(self, caller: Location | None) -> Location:
        """Return this location as reached through a call at `caller`."""
        if caller is self.inlined_at:
            return self
        return Location(self.file, self.line, self.end_line, self.column, self.end_column, self.function, caller)

    def chain(self) -> list[Location]:
        """Return this location and the calls that led to it, innermost first."""
        found: list[Location] = []
        at: Location | None = self
        while at is not None:
            found.append(at)
            at = at.inlined_at
        return found

    def render(self) -> str:
        """Return the place, its source line and a caret, as errors print them."""
        where = f"  {self.file}:{self.line} in {self.function}"
        for caller in self.chain()[1:4]:
            where += f", inlined from {caller.file}:{caller.line} in {caller.function}"
        source = linecache.getline(self.file, self.line).rstrip("\n")
        if not source.strip():
            return where
        text = source.strip()
        lines = [where, f"      {text}"]
        if self.column is not None and self.end_column is not None:
            raw = source.encode()
            start = len(raw[: self.column].decode(errors="replace"))
            stop = len(raw[: self.end_column].decode(errors="replace"))
            if self.end_line not in (0, self.line):
                stop = len(source)
            indent = len(source) - len(source.lstrip())
            width = max(stop - start, 1)
            lines.append(" " * (6 + max(start - indent, 0)) + "^" * width)
        return "\n".join(lines)
