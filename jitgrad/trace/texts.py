"""Texts with parts that are known only at run time: f-strings, `str`, `repr`, `format`, `%`.

In: abstract values. Out: a `str` where every part is known, else a `Text`. Such texts serve messages of exceptions;
they are never computed with. This room knows no bytecode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jitgrad.trace.abstract import Abstract, AnyOf
from jitgrad.trace.arrays import describe
from jitgrad.trace.calls import is_known
from jitgrad.trace.context import Context

__all__ = ["Formatted", "Text", "format_value", "join_texts"]


@dataclass(frozen=True, slots=True)
class Formatted(Abstract):
    """One replacement field: a value, its conversion ("s", "r", "a" or None) and its format specification."""

    value: Any
    conversion: str | None = None
    spec: Any = ""


@dataclass(frozen=True, slots=True)
class Text(Abstract):
    """A string of known pieces and `Formatted` ones."""

    parts: tuple[Any, ...]


def format_value(ctx: Context, x: Any, conversion: str | None = None, spec: Any = "") -> Any:
    """Return `format(x, spec)` after a conversion: a str, or a `Text` where x is known only at run time."""
    if isinstance(x, AnyOf):
        raise ctx.error("JG240", name="a number in a text", why=f"it is {describe(x)}, as data decide")
    if isinstance(x, Text) and spec == "" and conversion in (None, "s"):
        return x
    if is_known(x) and isinstance(spec, str):
        conversions: dict[str | None, Callable[[Any], str]] = {"s": str, "r": repr, "a": ascii}
        converted = conversions[conversion](x) if conversion else x
        return format(converted, spec)
    return Text((Formatted(x, conversion, spec),))


def join_texts(*parts: Any) -> Any:
    """Return the concatenation of strings and texts."""
    flat: list[Any] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, Text) else (part,))
    return "".join(flat) if all(isinstance(p, str) for p in flat) else Text(tuple(flat))
