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
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from jitgrad.trace.abstract import (
    BoundMethod,
    Cell,
    Columns,
    DictRef,
    Func,
    IterRows,
    IterSequence,
    ListRef,
    Read,
    Record,
    Watched,
)
from jitgrad.trace.calls import bind
from jitgrad.trace.context import Context
from jitgrad.trace.inspection import cells_of, reachable
from jitgrad.trace.iteration import Once, iterate, once
from jitgrad.trace.storage import is_same

__all__ = ["generator", "items_of", "reads_of"]


def generator(ctx: Context, func: Func, args: Sequence[Any], kwargs: dict[str, Any]) -> Record:
    """Return what a call of a generator function gives: nothing of it runs yet."""
    bind(ctx, func, args, kwargs)  # raises what Python raises
    return once(ctx, (func, tuple(args), tuple(kwargs.items())))


def items_of(ctx: Context, func: Func, args: tuple[Any, ...], kwargs: tuple[tuple[str, Any], ...]) -> Any:
    """Return an iterator over what a generator yields, which runs to its end now."""
    before = dict(ctx.heap)
    read = _read(ctx, func, (*args, *(v for _, v in kwargs)))
    made = iterate(ctx, ctx.run_generator(func, args, dict(kwargs)))
    changed = {c for c, v in before.items() if not is_same(ctx.heap.get(c), v)}
    yielded = made.items if isinstance(made, IterSequence) else ()
    seen = reachable(ctx.heap, [*ctx.live_values(), *yielded])
    watched = tuple(Watched(Read(c), ctx.heap[c]) for c in read if c in ctx.heap)
    acts = not changed.isdisjoint(seen)
    if isinstance(made, IterSequence):
        return replace(made, watched=watched, live=False, acts=acts)
    return replace(made, watched=watched, acts=acts)


def reads_of(ctx: Context, function: Any) -> tuple[Watched, ...]:
    """Return what is to be watched for items that a function has computed before they are asked for."""
    args: tuple[Any, ...] = ()
    while isinstance(function, BoundMethod):
        function, args = function.function, (*args, function.self)
    if not isinstance(function, Func):
        return ()
    return tuple(Watched(Read(c), ctx.heap[c]) for c in _read(ctx, function, args) if c in ctx.heap)


def _read(ctx: Context, func: Func, args: tuple[Any, ...]) -> list[Cell]:
    """Return the cells that a function may read: its variables from outside, arguments, attributes that it names."""
    found: dict[Cell, None] = dict.fromkeys(func.closure)
    named = _named(ctx, func, args)
    todo: list[Any] = [*args, *(ctx.heap[c] for c in func.closure if c in ctx.heap)]
    seen: set[Cell] = set()
    while todo:
        x = todo.pop()
        if isinstance(x, Record):
            if x.cell not in seen:
                seen.add(x.cell)
                pairs = ctx.heap.get(x.cell, ())
                # What a loop goes over is watched by its iterator.
                todo += [v for k, v in pairs if named(k) or (x.cls is Once and not isinstance(v, tuple))]
        elif isinstance(x, IterSequence):
            todo += [w.container for w in x.watched if not isinstance(w.container, Read)]
        elif isinstance(x, IterRows):
            todo += x.over
        elif isinstance(x, Columns):
            todo += x.lists if x.rows is None else (*x.lists, x.rows)
        elif isinstance(x, tuple):
            todo += x
        else:
            if isinstance(x, Func):
                todo += [ctx.heap[c] for c in x.closure if c in ctx.heap and c not in found]
            for cell in cells_of(x):
                found[cell] = None
                if isinstance(x, ListRef | DictRef) and cell not in seen:
                    seen.add(cell)
                    todo.append(ctx.heap.get(cell, ()))
    return list(found)


def _named(ctx: Context, func: Func, args: tuple[Any, ...]) -> Callable[[str], bool]:
    """Return whether a function, or one that it may call, names an attribute."""
    around = reachable(ctx.heap, (func, args))
    held = [part for cell in around for part in _parts(ctx.heap.get(cell))]
    classes = {x.cls for x in (*_parts(args), *held) if isinstance(x, Record)}
    todo = [(f.code, f.globals) for f in (func, *_parts(args), *held) if isinstance(f, Func)]
    found: set[str] = set()
    while todo:
        code, scope = todo.pop()
        todo += [(inner, scope) for inner in code.co_consts if isinstance(inner, types.CodeType)]
        for name in set(code.co_names) - found:
            found.add(name)
            for f in (scope.get(name), *(inspect.getattr_static(cls, name, None) for cls in classes)):
                f = f.fget if isinstance(f, property) else getattr(f, "__func__", f)
                if isinstance(f, types.FunctionType):
                    todo.append((f.__code__, f.__globals__))
    if found & {"__dict__", "getattr", "vars"}:
        return lambda name: True
    return found.__contains__


def _parts(x: Any) -> list[Any]:
    return [p for v in x for p in _parts(v)] if isinstance(x, tuple) else [x]
