"""Every error that jitgrad raises, in one table.

In: a code, the values that its text names, and a location. Out: an exception whose text says what is wrong, where, and
what to do. Run-time errors of the user's own program (an IndexError, a ZeroDivisionError) are not here: those are
raised as Python and NumPy raise them.

    JitgradError
    ├── UnsupportedError      the program uses something that cannot be compiled (also NotImplementedError)
    ├── DifferentiationError  the program compiles, its derivative is not defined (also TypeError)
    ├── ArgumentError         a transform was called wrongly (also TypeError)
    └── InternalError         a defect of jitgrad (also RuntimeError)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jitgrad.location import Location

__all__ = [
    "TABLE",
    "ArgumentError",
    "DifferentiationError",
    "InternalError",
    "JitgradError",
    "RecompileWarning",
    "UnsupportedError",
    "error",
]


class JitgradError(Exception):
    """Base of all errors of jitgrad itself; `code` is its row in the table."""

    code: str = ""
    location: Location | None = None


class UnsupportedError(JitgradError, NotImplementedError):
    """The program uses something that jitgrad cannot compile."""


class DifferentiationError(JitgradError, TypeError):
    """The program has no derivative of the kind asked for."""


class ArgumentError(JitgradError, TypeError):
    """A transform was called with arguments that it cannot take."""


class InternalError(JitgradError, RuntimeError):
    """A defect of jitgrad; please report it with the text and the attached graph."""


class RecompileWarning(UserWarning):
    """A function is compiled again and again; the text names the reason."""


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of error: its class, what happened, and what to do about it."""

    kind: type[JitgradError]
    what: str
    do: str


TABLE: dict[str, Row] = {
    # JG1xx: calls of the transforms
    # JG2xx: programs that cannot be compiled
    # JG3xx: derivatives
    "JG301": Row(
        DifferentiationError,
        "`{op}` has no derivative: {why}",
        "keep it off the path from the inputs to the result, or differentiate by other arguments",
    ),
    # JG9xx: defects of jitgrad
    "JG900": Row(InternalError, "jitgrad broke one of its own rules: {what}", "report this text and the program"),
}


def error(code: str, location: Location | None = None, **fields: Any) -> JitgradError:
    """Return the exception for a row of the table, ready to be raised.

    Parameters
    ----------
    code : str
        Key of `TABLE`.
    location : Location, optional
        The user's line; its source, caret and inlining chain become part of the text.
    **fields
        Values for the braces in the row's texts.
    """
    row = TABLE[code]
    parts = [f"{code}: {row.what.format(**fields)}"]
    if location is not None:
        parts.append(location.render())
    parts.append(f"  do: {row.do.format(**fields)}")
    made = row.kind("\n".join(parts))
    made.code = code
    made.location = location
    return made
