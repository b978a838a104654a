"""Texts with parts that are known only at run time: f-strings, `str`, `repr`, `format`, `%`.

In: abstract values. Out: a `str` where every part is known, else a `Text`. Such texts serve messages of exceptions;
they are never computed with. This room knows no bytecode.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.trace.abstract import AnyOf, Formatted, Scalar, Text
from jitgrad.trace.arrays import describe
from jitgrad.trace.calls import is_known
from jitgrad.trace.context import Context

__all__ = ["format_value", "join_texts", "known_text", "message_of", "percent"]


def format_value(ctx: Context, x: Any, conversion: str | None = None, spec: Any = "") -> Any:
    """Return `format(x, spec)` after a conversion: a str, or a `Text` where x is known only at run time."""
    if isinstance(x, AnyOf):
        raise ctx.error("JG240", name="a number in a text", why=f"it is {describe(x)}, as data decide")
    if isinstance(x, Text) and spec == "" and conversion in (None, "s"):
        return x
    if isinstance(x, Text) and conversion is None and len(x.parts) == 1:
        (part,) = x.parts
        if isinstance(part, Formatted) and part.conversion and part.spec == "":
            return Text((replace(part, spec=spec),))  # `{x!r:>4}`, which newer bytecode does in two steps
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


def known_text(ctx: Context, text: Any, why: str) -> Any:
    """Return a text as a str, unrolling or guarding where it shows run-time ints; anything else as it is.

    Raises
    ------
    UnsupportedError
        JG236 if it shows anything else that is not known.
    """
    if not isinstance(text, Text):
        return text
    parts: list[Any] = []
    for part in text.parts:
        if isinstance(part, Formatted):
            value = part.value
            if not isinstance(value, Scalar) or value.kind != "int":
                raise ctx.error("JG236", what=why)
            part = format_value(ctx, ctx.note_static(value, why), part.conversion, part.spec)
        parts.append(part)
    made = join_texts(*parts)
    if not isinstance(made, str):
        raise ctx.error("JG236", what=why)
    return made


# A field of the `%` operator: key, flags, width, precision, letter.
_FIELD = re.compile(r"%(?:\((\w+)\))?([#0\- +]*)(\d*)(?:\.(\d*))?[hlL]?([diouxXeEfFgGrs%])")


def percent(ctx: Context, text: str, given: Any) -> Any:
    """Return `text % given`, of numbers that are known at run time only too."""
    rest = iter(given if isinstance(given, tuple) else (given,))
    parts: list[Any] = []
    end = 0
    for found in _FIELD.finditer(text):
        key, flags, width, precision, letter = found.groups()
        parts.append(text[end : found.start()])
        end = found.end()
        if letter == "%":
            parts.append("%")
            continue
        value = next(rest, None) if key is None else None
        if value is None or "#" in flags:
            return Text((Formatted(given, None, text),))
        if is_known(value):
            parts.append(found.group() % value)
            continue
        spec = ("<" if "-" in flags else ">" if letter in "rs" else "") + ("+" if "+" in flags else "")
        spec += " " if " " in flags and "+" not in flags else ""
        spec += ("0" if "0" in flags and "-" not in flags and letter not in "rs" else "") + width
        spec += f".{precision or 0}" if precision is not None else ""
        if letter in "rs":
            parts.append(format_value(ctx, value, letter, "" if spec == ">" else spec))
        elif not isinstance(value, Scalar):
            return Text((Formatted(given, None, text),))
        elif letter in "di" and value.value.array.dtype.kind == "f":
            whole = Scalar(ctx.g.cast(value.value, dtype=np.dtype(np.int64)), "int")
            parts.append(format_value(ctx, whole, None, spec + "d"))
        else:
            parts.append(format_value(ctx, value, None, spec + ("d" if letter == "i" else letter)))
    return join_texts(*parts, text[end:])


def message_of(ctx: Context, found: BaseException) -> tuple[str, list[Value], tuple[Any, ...] | None]:
    """Return what `str` shows of an exception, the numbers in it that are known at run time only, and its arguments.

    The arguments are as the attribute `arguments` of a check has them; None if the text is the only one.
    """
    operands: list[Value] = []
    several = len(found.args) > 1
    shown = []
    for arg in found.args:
        _plain_or_known(ctx, arg)
        quote = "'" if several and isinstance(arg, Text) else ""
        shown.append(quote + _shown(arg, operands, "!r" if several and not quote else "") + quote)
    message = f"({', '.join(shown)})" if several else "".join(shown)
    if not several and found.args and isinstance(found.args[0], str | Text):
        return message, operands, None
    return message, operands, tuple(_argument(arg, operands) for arg in found.args)


def _shown(arg: Any, operands: list[Value], conversion: str) -> str:
    """Return what a text shows of a value, as a format string over the operands, which are added to."""
    parts: list[str] = []
    for part in arg.parts if isinstance(arg, Text) else (arg,):
        shown = conversion
        if isinstance(part, Formatted):
            shown = f"!{part.conversion}" if part.conversion else ""
            shown += f":{part.spec}" if isinstance(part.spec, str) and part.spec else ""
            part = part.value
        if isinstance(part, Scalar):
            parts.append(f"{{{'n' if part.kind == 'numpy' else ''}{len(operands)}{shown}}}")
            operands.append(part.value)
        elif not is_known(part):
            parts.append(f"<{describe(part)}>")
        else:
            text = repr(part) if shown else str(part)
            parts.append(text.replace("{", "{{").replace("}", "}}"))
    return "".join(parts)


def _argument(arg: Any, operands: list[Value]) -> Any:
    """Return an argument of an exception as a check has it."""
    if isinstance(arg, Scalar):
        operands.append(arg.value)
        return arg.kind == "numpy", len(operands) - 1
    if type(arg) is tuple:
        return None, None, tuple(_argument(x, operands) for x in arg)
    if isinstance(arg, str | int | float | np.generic | None):
        return (arg,)
    return _shown(arg, operands, "")


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
