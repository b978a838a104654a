"""Generators: functions that yield, and generator expressions.

In: a function and its arguments, when a generator is made; later, when somebody asks for its items, the iterator over
them. A generator runs to its end when the first item is asked for, where Python runs it between the items. That is the
same for what takes all items at once. For a loop it is if neither changes what the other sees: what the generator reads
by its arguments and its variables from outside is watched, and a generator that changes what can be seen elsewhere
makes an iterator that `acts`, which only what takes all items accepts.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jitgrad.trace.abstract import (
    BoundMethod,
    Cell,
    DictRef,
    Func,
    IterRows,
    IterSequence,
    ListRef,
    Poison,
    Read,
    Record,
    Watched,
)
from jitgrad.trace.calls import bind
from jitgrad.trace.context import Context
from jitgrad.trace.inspection import cells_of, reachable
from jitgrad.trace.iteration import Once, iterate, once
from jitgrad.trace.storage import is_same

__all__ = ["generator", "items_of"]

# Methods that nobody calls who has an object.
_MAKING = ("__init__", "__new__", "__post_init__")


def generator(ctx: Context, func: Func, args: Sequence[Any], kwargs: dict[str, Any]) -> Record:
    """Return what a call of a generator function gives: nothing of it runs yet."""
    bind(ctx, func, args, kwargs)  # raises what Python raises
    return once(ctx, (func, tuple(args), tuple(kwargs.items())))


def items_of(ctx: Context, func: Func, args: tuple[Any, ...], kwargs: tuple[tuple[str, Any], ...]) -> Any:
    """Return an iterator over what a generator yields, which runs to its end now."""
    before = dict(ctx.heap)
    read = _read(ctx, func, (*args, *(v for _, v in kwargs)))
    yielded = ctx.run_generator(func, args, dict(kwargs))
    if isinstance(ctx.heap[yielded.cell], Poison):
        ctx.refuse(ctx.heap[yielded.cell], f"what {func.name} yields")
    made = iterate(ctx, yielded)
    changed = {c for c, v in before.items() if not is_same(ctx.heap.get(c), v)}
    items = made.items if isinstance(made, IterSequence) else ()
    seen = reachable(ctx.heap, [*ctx.live_values(), *items])
    outside = [Read(c) for c in ctx.heap if c.argument == -1]
    watched = tuple(Watched(r, ctx.heap[r.cell]) for r in (*read, *outside) if r.cell in ctx.heap)
    acts = not changed.isdisjoint(seen)
    if isinstance(made, IterSequence):
        return replace(made, watched=watched, live=False, acts=acts)
    return replace(made, watched=watched, acts=acts)


def _read(ctx: Context, func: Func, args: tuple[Any, ...]) -> list[Read]:
    """Return what a function may read: its variables from outside, arguments, attributes that it names."""
    found: dict[Read, None] = dict.fromkeys(Read(c) for c in func.closure)
    names = _named(ctx, func, args)
    todo: list[Any] = [*args, *(ctx.heap[c] for c in func.closure if c in ctx.heap)]
    seen: set[Cell] = set()
    while todo:
        x = todo.pop()
        if isinstance(x, Read):
            found[x] = None
        elif isinstance(x, Record):
            if x.cell not in seen:
                seen.add(x.cell)
                # What a loop goes over is watched by its iterator.
                wanted = frozenset({"rest"}) if x.cls is Once else names
                pairs = ctx.heap.get(x.cell, ())
                todo += [v for k, v in pairs if wanted is None or k in wanted]
                if x.cls is not Once:
                    found[Read(x.cell, wanted)] = None
        elif isinstance(x, IterSequence):
            todo += [*(w.container for w in x.watched), *x.items]
        elif isinstance(x, IterRows):
            todo += [*x.over, *(w.container for w in x.watched)]
        elif isinstance(x, BoundMethod):
            todo += [x.self, x.function]
        elif isinstance(x, tuple):
            todo += x
        else:
            if isinstance(x, Func):
                todo += [ctx.heap[c] for c in x.closure if c in ctx.heap and Read(c) not in found]
            for cell in cells_of(x):
                found[Read(cell)] = None
                if isinstance(x, ListRef | DictRef) and cell not in seen:
                    seen.add(cell)
                    todo.append(ctx.heap.get(cell, ()))
    return list(found)


def _named(ctx: Context, func: Func, args: tuple[Any, ...]) -> frozenset[str] | None:
    """Return the attributes that a function, or one that it may call, names; None: it may read any."""
    around = reachable(ctx.heap, (func, args))
    held = [part for cell in around for part in _parts(ctx.heap.get(cell))]
    classes = {x.cls for x in (*_parts(args), *held) if isinstance(x, Record)}
    todo = [(f.code, f.globals) for f in (func, *_parts(args), *held) if isinstance(f, Func)]
    # What operators, calls and loops call has no name in the code.
    special = [f for cls in classes for k, f in _methods(cls) if k.startswith("__") and k not in _MAKING]
    todo += [(f.__code__, f.__globals__) for f in special]
    found: set[str] = set()
    while todo:
        code, scope = todo.pop()
        todo += [(inner, scope) for inner in code.co_consts if isinstance(inner, types.CodeType)]
        for name in set(code.co_names) - found:
            found.add(name)
            for f in (scope.get(name), *(inspect.getattr_static(cls, name, None) for cls in classes)):
                f = f.fget if isinstance(f, property) else getattr(f, "__func__", f)
                made = [g for _, g in _methods(f)] if isinstance(f, type) else [f]
                todo += [(g.__code__, g.__globals__) for g in made if isinstance(g, types.FunctionType)]
    return None if found & {"__dict__", "getattr", "vars"} else frozenset(found)


def _methods(cls: type) -> list[tuple[str, types.FunctionType]]:
    return [pair for base in cls.__mro__ for pair in vars(base).items() if isinstance(pair[1], types.FunctionType)]


def _parts(x: Any) -> list[Any]:
    if isinstance(x, BoundMethod):
        return [*_parts(x.self), *_parts(x.function)]
    return [p for v in x for p in _parts(v)] if isinstance(x, tuple) else [x]
