"""Texts with parts that are known only at run time: f-strings, `str`, `repr`, `format`, `%`.

In: abstract values. Out: a `str` where every part is known, else a `Text`. Such texts serve messages of exceptions;
they are never computed with. This room knows no bytecode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jitgrad.graph.ir import Value
from jitgrad.trace.abstract import Abstract, AnyOf, Scalar
from jitgrad.trace.arrays import describe, is_numeric
from jitgrad.trace.calls import is_known
from jitgrad.trace.context import Context

__all__ = ["Formatted", "Text", "format_value", "join_texts", "message_of"]


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
    if isinstance(x, tuple) and type(x) is tuple and spec == "" and conversion != "a":
        items = [y for v in x for y in (", ", format_value(ctx, v, "r"))]
        return join_texts("(", *items[1:], ",)" if len(x) == 1 else ")")
    return Text((Formatted(x, conversion, spec),))


def join_texts(*parts: Any) -> Any:
    """Return the concatenation of strings and texts."""
    flat: list[Any] = []
    for part in parts:
        flat.extend(part.parts if isinstance(part, Text) else (part,))
    return "".join(flat) if all(isinstance(p, str) for p in flat) else Text(tuple(flat))


def message_of(ctx: Context, found: BaseException) -> tuple[str, list[Value]]:
    """Return what `str` shows of an exception, and the numbers in it that are known at run time only."""
    operands: list[Value] = []
    parts: list[str] = []
    several = len(found.args) > 1
    for k, arg in enumerate(found.args):
        _plain_or_known(ctx, arg)
        quote = "'" if several and isinstance(arg, Text) else ""
        parts.append(("(" if several and not k else ", " if k else "") + quote)
        for part in arg.parts if isinstance(arg, Text) else (arg,):
            shown = "!r" if several and not quote else ""
            if isinstance(part, Formatted):
                shown = f"!{part.conversion}" if part.conversion else ""
                shown += f":{part.spec}" if isinstance(part.spec, str) and part.spec else ""
                part = part.value
            if isinstance(part, Scalar):
                parts.append(f"{{{len(operands)}{shown}}}")
                operands.append(part.value)
            elif isinstance(part, Abstract) or (is_numeric(part) and not is_known(part)):
                parts.append(f"<{describe(part)}>")
            else:
                text = repr(part) if shown else str(part)
                parts.append(text.replace("{", "{{").replace("}", "}}"))
        parts.append(quote + (")" if several and k == len(found.args) - 1 else ""))
    return "".join(parts), operands


def _plain_or_known(ctx: Context, arg: Any) -> None:
    """Make the sizes of arguments known that an argument of an exception shows otherwise than as a field of a text."""
    todo = [arg]
    while todo:
        x = todo.pop()
        if isinstance(x, Text):
            # What `%` formats, and what is no number, is not written into the text.
            fields = [part for part in x.parts if isinstance(part, Formatted)]
            todo.extend(f.value for f in fields if "%" in str(f.spec) or not isinstance(f.value, Scalar))
        elif isinstance(x, tuple):
            todo.extend(x)
        elif isinstance(x, Scalar):
            ctx.know_sizes("an exception shows it", x.value)
