"""What `match` statements ask: whether a value is a sequence, a mapping or of a class, and what its parts are.

In: the value on top of the stack. Out: bools, and tuples of parts or None, as CPython's instructions leave them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from jitgrad.trace.abstract import DictRef, External
from jitgrad.trace.attributes import attribute, opened
from jitgrad.trace.calls import class_of
from jitgrad.trace.context import Context
from jitgrad.trace.frame import Frame
from jitgrad.trace.instructions import step_of

__all__: list[str] = []

# CPython's flag of classes of which a pattern's only position is the value itself: int, float, list, ...
_MATCH_SELF = 1 << 22
_NO_CLASS = f"called match pattern must be a {'class' if sys.version_info >= (3, 12) else 'type'}"


def _is_of(ctx: Context, x: Any, classes: Any) -> Any:
    return ctx.call(isinstance, [x, classes])


@step_of("get_len")
def _get_len(ctx: Context, frame: Frame, arg: Any) -> None:
    frame.push(ctx.call(len, [frame.stack[-1]]))


@step_of("match_sequence")
def _match_sequence(ctx: Context, frame: Frame, arg: Any) -> None:
    cls = class_of(ctx, frame.stack[-1])
    frame.push(issubclass(cls, Sequence) and not issubclass(cls, str | bytes | bytearray))


@step_of("match_mapping")
def _match_mapping(ctx: Context, frame: Frame, arg: Any) -> None:
    frame.push(issubclass(class_of(ctx, frame.stack[-1]), Mapping))


@step_of("match_keys")
def _match_keys(ctx: Context, frame: Frame, arg: Any) -> None:
    subject, keys = frame.stack[-2:]
    if isinstance(subject, External):
        subject = opened(ctx, subject)
    if not isinstance(subject, DictRef):
        raise ctx.error("JG203", what="a mapping pattern for what is no dict")
    items = dict(ctx.heap[subject.cell])
    frame.push(tuple(items[k] for k in keys) if all(k in items for k in keys) else None)


@step_of("match_class")
def _match_class(ctx: Context, frame: Frame, count: int) -> None:
    subject, cls, names = frame.pop_many(3)
    if not isinstance(cls, type):
        raise TypeError(_NO_CLASS)
    is_one = _is_of(ctx, subject, cls)
    if not isinstance(is_one, bool):
        raise ctx.error("JG203", what=f"a pattern of {cls.__name__} for what data decide")
    frame.push(_parts(ctx, subject, cls, count, names) if is_one else None)


def _parts(ctx: Context, subject: Any, cls: type, count: int, names: tuple[str, ...]) -> tuple[Any, ...] | None:
    """Return what the patterns of a class pattern are matched with, None if an attribute is missing."""
    names_of = getattr(cls, "__match_args__", None)
    itself = names_of is None and bool(cls.__flags__ & _MATCH_SELF)
    allowed = ("",) if itself else names_of or ()
    if count > len(allowed):
        n = len(allowed)
        plural = "" if n == 1 else "s"
        raise TypeError(f"{cls.__name__}() accepts {n} positional sub-pattern{plural} ({count} given)")
    parts = [subject] if itself and count else []
    wanted = (*(() if itself else allowed[:count]), *names)
    for k, name in enumerate(wanted):
        if name in wanted[:k]:
            raise TypeError(f"{cls.__name__}() got multiple sub-patterns for attribute {name!r}")
    try:
        parts += [attribute(ctx, subject, name) for name in wanted]
    except AttributeError:
        return None
    return tuple(parts)
