"""`raise`: exceptions of the program.

In: the operands of the statement. Out: no way on; the exception, raised now or by a check that fails at run time.
"""

from __future__ import annotations

from typing import Any

from jitgrad.trace.abstract import Record
from jitgrad.trace.frame import Outcome
from jitgrad.trace.texts import message_of

__all__ = ["do_raise"]


def do_raise(ctx: Any, args: list[Any]) -> Outcome:
    """Raise the user's exception: now if it is certain, else where the check fails at run time."""
    if not args:
        raise ctx.error("JG203", what="a bare `raise`")
    found = args[0]
    if isinstance(found, type) and issubclass(found, BaseException):
        found = found()
    if isinstance(found, Record):
        raise ctx.error("JG227", name=found.cls.__name__)
    if not isinstance(found, BaseException):
        raise TypeError("exceptions must derive from BaseException")
    message, operands, arguments = message_of(ctx, found)
    # These would be taken for the tracer's own.
    if ctx.depth == 0 and not operands and not isinstance(found, AssertionError | RecursionError):
        raise found
    ctx.fail(type(found), message, *operands, arguments=arguments)
    return Outcome({})
