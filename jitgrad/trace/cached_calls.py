"""Functions under `functools.cache` and `lru_cache`: called anew, where nobody can tell that from a cached result.

That is so if a call changes nothing, if nobody stores into what it has read or returned, and if equal arguments are
alike: Python takes the result of 1 for that of 1.0. A call with the same known arguments is not traced twice, so that
a recursion takes as many steps as with the cache.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from jitgrad.trace.abstract import BoundMethod, Cell, DictRef, External, Func, ListRef, Record, Ref, TaggedRef
from jitgrad.trace.calls import CALLS, Native, handles, outside_of, to_func
from jitgrad.trace.context import Context
from jitgrad.trace.generators import what_it_reads
from jitgrad.trace.inspection import reachable, same
from jitgrad.trace.iteration import Held, Once
from jitgrad.trace.objects import type_name
from jitgrad.trace.obligations import Restart
from jitgrad.trace.storage import is_same

__all__ = ["make_memory"]

_KEY = ("cache",), None


def make_memory(ctx: Any) -> None:
    """Make the cell that stands for all that caches hold, if an earlier trace has met one: it is there throughout."""
    if _KEY in ctx.obligations.tagged:
        ctx.memory = Cell("a cache")
        ctx.heap[ctx.memory] = ()


def _require_hashable(ctx: Context, x: Any) -> None:
    """Raise what Python raises for an argument without a hash; of objects, only those equal to themselves alone do."""
    cls = x.cls if isinstance(x, Record) else type(getattr(x, "thing", None))
    if isinstance(x, Ref | TaggedRef | ListRef | DictRef) or cls.__hash__ is None:
        raise TypeError(f"unhashable type: '{type_name(ctx, x)}'")
    if isinstance(x, Record) and cls.__hash__ is not object.__hash__:
        raise ctx.error("JG237", name="a cached function", why=f"it compares {cls.__name__}s by their own `__eq__`")
    for v in x if isinstance(x, tuple) else ():
        _require_hashable(ctx, v)


def _called(ctx: Any, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Return what a cached function gives."""
    given = (tuple(args), tuple(kwargs.items()))
    _require_hashable(ctx, given)
    if ctx.memory is None:
        raise Restart({_KEY}, "a function has a cache")
    key = ("cached", function, given)
    try:
        hash(key)
    except TypeError:
        return _checked(ctx, function, args, kwargs)
    then, made = ctx.shared(key, lambda: (given, _checked(ctx, function, args, kwargs)))
    if not same(then, given):
        raise _refused(ctx, function, "it is called with arguments that are equal and not alike, as 1 and 1.0 are")
    if any(c not in ctx.heap for c in reachable(ctx.heap, [made])):
        return _checked(ctx, function, args, kwargs)
    return made


def _checked(ctx: Any, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Call a function that changes nothing; what it reads and returns must stay as it is from now on."""
    before = dict(ctx.heap)
    made = ctx.call(function, args, kwargs)
    if any(not is_same(ctx.heap.get(c, v), v) for c, v in before.items()):
        raise _refused(ctx, function, "a call changes what others see, which Python does in the first one only")
    if isinstance(made, Record) and made.cls in (Held, Once):
        raise _refused(ctx, function, "it returns an iterator")
    func = function if isinstance(function, Func) else to_func(ctx, function)
    read = [r.cell for r in what_it_reads(ctx, func, (*args, *kwargs.values()))]
    read += [c for c in ctx.heap if c.argument == -1]
    for cell in reachable(ctx.heap, [made]) + read:
        ctx.obligations.relate(ctx.memory, cell, [])
    return made


def _refused(ctx: Context, function: Any, why: str) -> Exception:
    name = function.name if isinstance(function, Func) else function.__qualname__
    found: Exception = ctx.error("JG237", name=f"the cached function {name}", why=why)
    return found


def _call_outside(ctx: Context, x: External, *args: Any, **kwargs: Any) -> Any:
    inner = outside_of(ctx).read(x.thing.__wrapped__, (*x.source, ("attr", "__wrapped__")))
    return _called(ctx, inner, args, kwargs)


CALLS[functools._lru_cache_wrapper] = _call_outside


# --- caches made inside


def _call_inside(ctx: Context, bound: tuple[Any], *args: Any, **kwargs: Any) -> Any:
    return _called(ctx, bound[0], args, kwargs)


_CACHED = Native(_call_inside)


@handles(functools.cache)
def _cache(ctx: Context, function: Any, /) -> Any:
    return BoundMethod(_CACHED, (function,))


@handles(functools.lru_cache)
def _lru_cache(ctx: Context, maxsize: Any = 128, typed: Any = False) -> Any:
    if callable(maxsize) or isinstance(maxsize, Func):
        return _cache(ctx, maxsize)
    return Native(_cache)
