"""Instructions that build and call: containers, unpacking, iterators, calls, functions, imports, texts, `with`.

In: an instruction and the current frame, as in `instructions.py`, whose table these enter when this room is imported.
"""

from __future__ import annotations

import importlib
import types
from typing import Any

from jitgrad.graph.ir import Value
from jitgrad.trace.abstract import Cell, Columns, DictRef, Func, ListRef, Poison
from jitgrad.trace.algorithms import iterators
from jitgrad.trace.algorithms.containers import Set
from jitgrad.trace.algorithms.tuples import column
from jitgrad.trace.arrays import kind
from jitgrad.trace.attributes import attribute
from jitgrad.trace.builtins import mapping_of
from jitgrad.trace.bytecode import NULL
from jitgrad.trace.calls import Native
from jitgrad.trace.columns import is_grown
from jitgrad.trace.context import PACKED, Context
from jitgrad.trace.frame import Frame
from jitgrad.trace.generators import GENERATOR, refuse_items, unroll_around
from jitgrad.trace.grown_items import append_item
from jitgrad.trace.instructions import step_of
from jitgrad.trace.iteration import iterate, sequence_of
from jitgrad.trace.objects import type_name
from jitgrad.trace.subscripts import dict_key, new_list
from jitgrad.trace.texts import format_value, join_texts

__all__: list[str] = []


# --- building


@step_of("build")
def _build(ctx: Context, frame: Frame, arg: tuple[str, int]) -> None:
    kind, count = arg
    if kind == "tuple":
        frame.push(tuple(frame.pop_many(count)))
    elif kind == "list":
        frame.push(new_list(ctx, frame.pop_many(count)))
    elif kind == "set":
        frame.push(ctx.call(Set, [tuple(frame.pop_many(count))]))
    elif kind == "map":
        flat = frame.pop_many(2 * count)
        frame.push(_new_dict(ctx, [(flat[2 * k], flat[2 * k + 1]) for k in range(count)]))
    elif kind == "constmap":
        keys = frame.pop()
        frame.push(_new_dict(ctx, list(zip(keys, frame.pop_many(count), strict=True))))
    else:
        parts = frame.pop_many(count)
        frame.push(join_texts(*parts))


def _new_dict(ctx: Context, pairs: list[tuple[Any, Any]]) -> DictRef:
    made = DictRef(Cell("dict"))
    ctx.heap[made.cell] = tuple({dict_key(ctx, k): v for k, v in pairs}.items())
    return made


@step_of("accum")
def _accum(ctx: Context, frame: Frame, arg: tuple[str, int]) -> None:
    kind, depth = arg
    if kind == "map_add":
        value, key = frame.pop(), frame.pop()
        target = frame.stack[-depth]
        pairs = dict(ctx.heap[target.cell])
        pairs[dict_key(ctx, key)] = value
        ctx.heap[target.cell] = tuple(pairs.items())
        return
    value = frame.pop()
    target = frame.stack[-depth]
    if kind == "list_append":
        _append(ctx, target.cell, value)
    elif kind == "list_extend":
        ctx.heap[target.cell] = (*ctx.heap[target.cell], *sequence_of(ctx, value))
    elif kind in ("set_add", "set_update"):
        if kind == "set_update" and isinstance(value, frozenset) and len(value) <= 4:
            # What is written in braces: few items lie as if they were added one by one, if they do not meet.
            ordered = tuple(set(value))
            value = ordered if tuple(set(ordered)) == ordered else value
        ctx.call(attribute(ctx, target, "add" if kind == "set_add" else "update"), [value])
    else:
        added = mapping_of(ctx, value)
        if added is None:
            cls = type_name(ctx, value)
            merging = f"argument after ** must be a mapping, not {cls}"
            raise TypeError(merging if kind == "dict_merge" else f"'{cls}' object is not a mapping")
        pairs = dict(ctx.heap[target.cell])
        if kind == "dict_merge" and (twice := set(pairs) & set(added)):
            raise TypeError(f"got multiple values for keyword argument '{twice.pop()}'")
        ctx.heap[target.cell] = tuple((pairs | added).items())


def _append(ctx: Context, cell: Cell, value: Any) -> None:
    """Append to a list that is made here."""
    held = ctx.heap[cell]
    if isinstance(held, Poison):
        refuse_items(ctx, held, cell.name or "a list")
    of = ctx.list_kinds.get(cell)
    if isinstance(held, Value) and cell.name == GENERATOR and of not in PACKED and kind(value) != of:
        # One list has no items of two kinds.
        unroll_around(ctx, "the number of trips of a loop in which a generator yields Python's numbers and NumPy's")
    append_item(ctx, cell, value)


@step_of("totuple")
def _totuple(ctx: Context, frame: Frame, arg: Any) -> None:
    frame.push(tuple(sequence_of(ctx, frame.pop())))


@step_of("unpack")
def _unpack(ctx: Context, frame: Frame, count: int) -> None:
    items = sequence_of(ctx, frame.pop())
    if len(items) != count:
        few = len(items) < count
        raise ValueError(
            f"not enough values to unpack (expected {count}, got {len(items)})"
            if few
            else f"too many values to unpack (expected {count})"
        )
    for item in reversed(items):
        frame.push(item)


@step_of("unpackex")
def _unpackex(ctx: Context, frame: Frame, arg: tuple[int, int]) -> None:
    before, after = arg
    items = list(sequence_of(ctx, frame.pop()))
    if len(items) < before + after:
        raise ValueError(f"not enough values to unpack (expected at least {before + after}, got {len(items)})")
    end = len(items) - after
    for item in reversed([*items[:before], new_list(ctx, items[before:end]), *items[end:]]):
        frame.push(item)


@step_of("iter")
def _iter(ctx: Context, frame: Frame, arg: Any) -> None:
    frame.push(iterate(ctx, frame.pop()))


# --- calls and functions


@step_of("call")
def _call(ctx: Context, frame: Frame, arg: tuple[int, tuple[str, ...]]) -> None:
    count, names = arg
    args = frame.pop_many(count)
    hi, lo = frame.pop(), frame.pop()
    if lo is NULL:
        callee = hi
    elif hi is NULL:
        callee = lo
    else:
        callee, args = lo, [hi, *args]
    split = len(args) - len(names)
    frame.push(ctx.call(callee, args[:split], dict(zip(names, args[split:], strict=True))))


@step_of("callkw")
def _callkw(ctx: Context, frame: Frame, count: int) -> None:
    names = frame.pop()
    _call(ctx, frame, (count, names))


@step_of("convert")
def _convert(ctx: Context, frame: Frame, conversion: str | None) -> None:
    frame.push(format_value(ctx, frame.pop(), conversion, ""))


@step_of("callex")
def _callex(ctx: Context, frame: Frame, has_kwargs: bool) -> None:
    kwargs: Any = frame.pop() if has_kwargs else NULL
    given = frame.pop()
    hi, lo = frame.pop(), frame.pop()
    callee = hi if lo is NULL else lo
    if callee is zip and _only_strict(ctx, kwargs) and (columns := _columns_of(ctx, given)) is not None:
        frame.push(ctx.call(iter, [columns]))
        return
    args = sequence_of(ctx, given)
    pairs: dict[str, Any] = {}
    if kwargs is not NULL:
        pairs = mapping_of(ctx, kwargs) or {}
    frame.push(ctx.call(callee, list(args), pairs))


def _only_strict(ctx: Context, kwargs: Any) -> bool:
    """Whether there are no keywords, or only the one that does not matter where all are of one length."""
    found = {} if kwargs is NULL else mapping_of(ctx, kwargs)
    return found is not None and set(found) <= {"strict"}


def _columns_of(ctx: Context, x: Any) -> tuple[Any, ...] | None:
    """Return what `zip(*x)` gives for a list that grows, of items of a known length; None for other arguments."""
    if not isinstance(x, ListRef) or not is_grown(ctx, x):
        return None
    held = ctx.heap[x.cell]
    if isinstance(held, Columns):
        count = len(held.lists) if held.cls in (tuple, list) and held.rows is None else None
    else:
        count = held.type.element.shape[0] if held.type.element.rank and ctx.list_kinds.get(x.cell) == "array" else None
    if not isinstance(count, int):
        return None
    length = ctx.call(len, [x])
    ctx.refuse_unless(ctx.g.greater(length.value, ctx.dim(0)), "JG252")
    return tuple(ctx.call(column, [x, k]) for k in range(count))


@step_of("makefn")
def _makefn(ctx: Context, frame: Frame, arg: Any) -> None:
    code = frame.pop()
    assert isinstance(code, types.CodeType)
    frame.push(Func(code, frame.func.globals, code.co_qualname))


@step_of("fnattr")
def _fnattr(ctx: Context, frame: Frame, name: str) -> None:
    func, value = frame.pop(), frame.pop()
    assert isinstance(func, Func)
    fields = {"defaults": func.defaults, "kwdefaults": func.kwdefaults, "closure": func.closure}
    if name == "kwdefaults":
        value = ctx.heap[value.cell]
    if name in fields:
        fields[name] = value
    frame.push(Func(func.code, func.globals, func.name, **fields))


@step_of("import")
def _import(ctx: Context, frame: Frame, name: str) -> None:
    fromlist, level = frame.pop(), frame.pop()
    package = frame.func.globals.get("__package__") or ""
    module = importlib.import_module("." * level + name if level else name, package or None)
    frame.push(module if fromlist else importlib.import_module(name.split(".")[0]))


@step_of("importfrom")
def _importfrom(ctx: Context, frame: Frame, name: str) -> None:
    frame.push(attribute(ctx, frame.stack[-1], name))


# --- texts, with


@step_of("format")
def _format(ctx: Context, frame: Frame, arg: tuple[str | None, bool]) -> None:
    conversion, has_spec = arg
    spec = frame.pop() if has_spec else ""
    frame.push(format_value(ctx, frame.pop(), conversion, spec))


@step_of("with_enter")
def _with_enter(ctx: Context, frame: Frame, arg: Any) -> None:
    manager = frame.pop()
    leave = attribute(ctx, manager, "__exit__")
    frame.watched = frame.watched or not isinstance(leave, Native)
    frame.push(leave)
    frame.push(ctx.call(attribute(ctx, manager, "__enter__"), []))


@step_of("yield")
def _yield(ctx: Context, frame: Frame, arg: Any) -> None:
    value = frame.pop()
    if frame.part is not None:
        frame.part.pause(ctx, frame, value)
    if frame.yielded is None:
        raise ctx.error("JG203", what="a `yield` here")
    _append(ctx, frame.yielded, value)
    frame.push(None)


@step_of("yield_all")
def _yield_all(ctx: Context, frame: Frame, arg: Any) -> None:
    items, made = frame.pop(), frame.yielded
    if made is None or frame.part is not None:
        raise ctx.error("JG203", what="a `yield from` here")
    put = Native(lambda ctx, item: _append(ctx, made, item))
    ctx.call(iterators.put_each, [put, items])
    frame.push(None)


@step_of("unsupported")
def _unsupported(ctx: Context, frame: Frame, name: str) -> None:
    raise ctx.error("JG203", what=name)
