"""What each version-neutral instruction does to a frame: the straight-line part of the evaluator.

In: an instruction and the current frame. Out: changes of its variables, operand stack and the heap, with graph ops
emitted by the rooms for operators, subscripts and calls. Branches, loops and calls of Python code belong to the
evaluator; this room reaches them through the context only.
"""

from __future__ import annotations

import builtins
import importlib
import types
from collections.abc import Callable
from typing import Any

from jitgrad.graph.ir import Value
from jitgrad.trace.abstract import (
    UNBOUND,
    Cell,
    DictRef,
    External,
    Func,
    ListRef,
    Maybe,
    Poison,
    Record,
    Scalar,
    SliceOf,
)
from jitgrad.trace.arrays import as_array
from jitgrad.trace.bytecode import NULL, Instr
from jitgrad.trace.calls import attribute, is_known, opened, outside_of, set_attribute, super_attribute
from jitgrad.trace.comparisons import compare_op, contains_op, is_op
from jitgrad.trace.context import Context
from jitgrad.trace.frame import Frame
from jitgrad.trace.iteration import iterate, sequence_of
from jitgrad.trace.operators import binary_op, get_item_op, set_item_op, unary_op
from jitgrad.trace.subscripts import new_list, static_key
from jitgrad.trace.texts import format_value, join_texts

__all__ = ["STEPS", "Step", "append_to", "bound_value", "refuse_poison", "step", "truth_of"]

Step = Callable[[Context, Frame, Any], None]

STEPS: dict[str, Step] = {}


def _step(*names: str) -> Callable[[Step], Step]:
    def register(function: Step) -> Step:
        for name in names:
            STEPS[name] = function
        return function

    return register


def step(ctx: Context, frame: Frame, instr: Instr) -> None:
    """Evaluate one instruction that neither branches nor returns."""
    found = STEPS.get(instr.op)
    if found is None:
        raise ctx.error("JG203", what=f"the instruction {instr.op}{'' if instr.arg is None else f' {instr.arg}'}")
    found(ctx, frame, instr.arg)
    if frame.stack:
        refuse_poison(ctx, frame.stack[-1], instr.arg if isinstance(instr.arg, str) else "this value")


def refuse_poison(ctx: Context, value: Any, name: str) -> None:
    """Refuse a value that paths left in forms that cannot be one, or a container whose items they left so."""
    found = value
    if isinstance(value, ListRef | DictRef | Record):
        found = ctx.heap.get(value.cell)
    if isinstance(found, Poison):
        ctx.refuse(found, name)


# --- variables


def bound_value(ctx: Context, name: str, value: Any, free: bool = False) -> Any:
    """Return a variable's value for use, raising or checking where it may be unbound.

    Raises
    ------
    UnboundLocalError, NameError
        As Python, where it is surely unbound.
    UnsupportedError
        JG240 where two paths left values that cannot be one.
    """
    if value is UNBOUND:
        if free:
            raise NameError(
                f"cannot access free variable '{name}' where it is not associated with a value in enclosing scope"
            )
        raise UnboundLocalError(f"cannot access local variable '{name}' where it is not associated with a value")
    if isinstance(value, Maybe):
        message = f"cannot access local variable '{name}' where it is not associated with a value"
        ctx.check(value.flag, UnboundLocalError, message)
        return value.value
    if isinstance(value, Poison):
        ctx.refuse(value, name)
    return value


@_step("local")
def _local(ctx: Context, frame: Frame, name: str) -> None:
    value = bound_value(ctx, name, frame.locals.get(name, UNBOUND))
    if isinstance(frame.locals.get(name), Maybe):
        frame.locals[name] = value
    frame.push(value)


@_step("setlocal")
def _setlocal(ctx: Context, frame: Frame, name: str) -> None:
    value = frame.pop()
    if value is NULL or value is UNBOUND:
        frame.locals.pop(name, None)
    else:
        frame.locals[name] = value


@_step("dellocal")
def _dellocal(ctx: Context, frame: Frame, name: str) -> None:
    bound_value(ctx, name, frame.locals.get(name, UNBOUND))
    frame.locals.pop(name, None)


@_step("localclear")
def _localclear(ctx: Context, frame: Frame, name: str) -> None:
    frame.push(frame.locals.pop(name, NULL))


def _cell_of(frame: Frame, name: str) -> Cell:
    return frame.cells[name]


@_step("mkcell")
def _mkcell(ctx: Context, frame: Frame, name: str) -> None:
    cell = Cell(name)
    frame.cells[name] = cell
    ctx.heap[cell] = frame.locals.pop(name, UNBOUND)


@_step("cell")
def _cell(ctx: Context, frame: Frame, name: str) -> None:
    cell = _cell_of(frame, name)
    value = bound_value(ctx, name, ctx.heap.get(cell, UNBOUND), free=name in frame.func.code.co_freevars)
    frame.push(value)


@_step("setcell")
def _setcell(ctx: Context, frame: Frame, name: str) -> None:
    cell = _cell_of(frame, name)
    if cell.name == "closure":
        raise ctx.error("JG224", name=name, where="a variable of an enclosing function that has returned")
    value = frame.pop()
    ctx.heap[cell] = UNBOUND if value is NULL else value


@_step("delcell")
def _delcell(ctx: Context, frame: Frame, name: str) -> None:
    ctx.heap[_cell_of(frame, name)] = UNBOUND


@_step("cellobj")
def _cellobj(ctx: Context, frame: Frame, name: str) -> None:
    frame.push(_cell_of(frame, name))


@_step("global")
def _global(ctx: Context, frame: Frame, name: str) -> None:
    names = frame.func.globals
    outside = outside_of(ctx)
    if name in names:
        frame.push(outside.read(names[name], ("global", names, name)))
        return
    if not hasattr(builtins, name):
        raise NameError(f"name '{name}' is not defined")
    outside.guard(("global", names, name), "absent", None)
    frame.push(getattr(builtins, name))


@_step("setglobal")
def _setglobal(ctx: Context, frame: Frame, name: str) -> None:
    raise ctx.error("JG224", name=name, where="a global variable")


# --- constants and stack


@_step("const")
def _const(ctx: Context, frame: Frame, value: Any) -> None:
    frame.push(value)


@_step("null")
def _null(ctx: Context, frame: Frame, arg: Any) -> None:
    frame.push(NULL)


@_step("pop")
def _pop(ctx: Context, frame: Frame, arg: Any) -> None:
    frame.pop()


@_step("dup")
def _dup(ctx: Context, frame: Frame, depth: int) -> None:
    frame.push(frame.stack[-depth])


@_step("swap")
def _swap(ctx: Context, frame: Frame, depth: int) -> None:
    stack = frame.stack
    stack[-1], stack[-depth] = stack[-depth], stack[-1]


@_step("nop", "generator_start")
def _nop(ctx: Context, frame: Frame, arg: Any) -> None:
    pass


# --- operators


@_step("binary")
def _binary(ctx: Context, frame: Frame, op: str) -> None:
    y, x = frame.pop(), frame.pop()
    frame.push(binary_op(ctx, op, x, y))


@_step("inplace")
def _inplace(ctx: Context, frame: Frame, op: str) -> None:
    y, x = frame.pop(), frame.pop()
    frame.push(binary_op(ctx, op, x, y, inplace=True))


@_step("unary")
def _unary(ctx: Context, frame: Frame, op: str) -> None:
    x = frame.pop()
    if op == "not":
        flag = truth_of(ctx, x)
        frame.push(not flag if isinstance(flag, bool) else Scalar(ctx.g.logical_not(flag.value), "bool"))
    else:
        frame.push(unary_op(ctx, op, x))


@_step("compare")
def _compare(ctx: Context, frame: Frame, op: str) -> None:
    y, x = frame.pop(), frame.pop()
    frame.push(compare_op(ctx, op, x, y))


@_step("is")
def _is(ctx: Context, frame: Frame, invert: bool) -> None:
    y, x = frame.pop(), frame.pop()
    found = is_op(ctx, x, y)
    if isinstance(found, bool):
        frame.push(found != bool(invert))
    else:
        frame.push(Scalar(ctx.g.logical_not(found.value), "bool") if invert else found)


@_step("in")
def _in(ctx: Context, frame: Frame, invert: bool) -> None:
    y, x = frame.pop(), frame.pop()
    found = contains_op(ctx, x, y)
    if isinstance(found, bool):
        frame.push(found != bool(invert))
    else:
        frame.push(Scalar(ctx.g.logical_not(found.value), "bool") if invert else found)


@_step("truth")
def _truth(ctx: Context, frame: Frame, arg: Any) -> None:
    frame.push(truth_of(ctx, frame.pop()))


def truth_of(ctx: Context, x: Any) -> Any:
    """Return `bool(x)`: a Python bool if known, else a bool Scalar."""
    return ctx.call(bool, [x])


# --- subscripts and attributes


@_step("getitem")
def _getitem(ctx: Context, frame: Frame, arg: Any) -> None:
    key, x = frame.pop(), frame.pop()
    frame.push(get_item_op(ctx, x, key))


@_step("setitem")
def _setitem(ctx: Context, frame: Frame, arg: Any) -> None:
    key, x, value = frame.pop(), frame.pop(), frame.pop()
    set_item_op(ctx, x, key, value)


@_step("delitem")
def _delitem(ctx: Context, frame: Frame, arg: Any) -> None:
    key, x = frame.pop(), frame.pop()
    if not isinstance(x, ListRef | DictRef) or isinstance(ctx.heap[x.cell], Value):
        raise ctx.error("JG220", what="del of an item")
    key = static_key(ctx, key, "the key of del")
    if isinstance(x, ListRef):
        items = list(ctx.heap[x.cell])
        del items[key]
        ctx.heap[x.cell] = tuple(items)
    else:
        pairs = dict(ctx.heap[x.cell])
        del pairs[key]
        ctx.heap[x.cell] = tuple(pairs.items())


@_step("slice")
def _slice(ctx: Context, frame: Frame, count: int) -> None:
    parts = frame.pop_many(count)
    parts += [None] * (3 - len(parts))
    frame.push(slice(*parts) if is_known(tuple(parts)) else SliceOf(*parts))


@_step("attr")
def _attr(ctx: Context, frame: Frame, name: str) -> None:
    frame.push(attribute(ctx, frame.pop(), name))


@_step("method")
def _method(ctx: Context, frame: Frame, name: str) -> None:
    found = attribute(ctx, frame.pop(), name)
    frame.push(found)
    frame.push(NULL)


@_step("superattr")
def _superattr(ctx: Context, frame: Frame, name: str) -> None:
    self, cls, _ = frame.pop(), frame.pop(), frame.pop()
    frame.push(super_attribute(ctx, cls, self, name))


@_step("setattr")
def _setattr(ctx: Context, frame: Frame, name: str) -> None:
    x, value = frame.pop(), frame.pop()
    set_attribute(ctx, x, name, value)


# --- building


@_step("build")
def _build(ctx: Context, frame: Frame, arg: tuple[str, int]) -> None:
    kind, count = arg
    if kind == "tuple":
        frame.push(tuple(frame.pop_many(count)))
    elif kind == "list":
        frame.push(new_list(ctx, frame.pop_many(count)))
    elif kind == "set":
        items = frame.pop_many(count)
        if not is_known(tuple(items)):
            raise ctx.error("JG203", what="a set of values known only at run time")
        frame.push(frozenset(items))
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
    ctx.heap[made.cell] = tuple({static_key(ctx, k, "the key of a dict"): v for k, v in pairs}.items())
    return made


@_step("accum")
def _accum(ctx: Context, frame: Frame, arg: tuple[str, int]) -> None:
    kind, depth = arg
    if kind == "map_add":
        value, key = frame.pop(), frame.pop()
        target = frame.stack[-depth]
        pairs = dict(ctx.heap[target.cell])
        pairs[static_key(ctx, key, "the key of a dict")] = value
        ctx.heap[target.cell] = tuple(pairs.items())
        return
    value = frame.pop()
    target = frame.stack[-depth]
    if kind == "list_append":
        append_to(ctx, target.cell, value)
    elif kind == "list_extend":
        ctx.heap[target.cell] = (*ctx.heap[target.cell], *sequence_of(ctx, value))
    elif kind in ("set_add", "set_update"):
        items = (value,) if kind == "set_add" else sequence_of(ctx, value)
        if not is_known(tuple(items)):
            raise ctx.error("JG203", what="a set of values known only at run time")
        frame.stack[-depth] = target | frozenset(items)
    else:
        source = opened(ctx, value) if isinstance(value, External) else value
        added = dict(ctx.heap[source.cell])
        pairs = dict(ctx.heap[target.cell])
        if kind == "dict_merge" and (twice := set(pairs) & set(added)):
            raise TypeError(f"got multiple values for keyword argument '{twice.pop()}'")
        ctx.heap[target.cell] = tuple((pairs | added).items())


def append_to(ctx: Context, cell: Cell, value: Any) -> None:
    """Append to a list: of known length, or one that grows in a loop."""
    items = ctx.heap[cell]
    if isinstance(items, Value):
        element = items.type.element  # type: ignore[union-attr]
        made = as_array(ctx, value)
        if made.type != element:
            raise ctx.error("JG221", what=f"appending {made.type} to a list of {element}")
        ctx.heap[cell] = ctx.g.list_push(items, made)
    else:
        ctx.heap[cell] = (*items, value)


@_step("totuple")
def _totuple(ctx: Context, frame: Frame, arg: Any) -> None:
    frame.push(tuple(sequence_of(ctx, frame.pop())))


@_step("unpack")
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


@_step("unpackex")
def _unpackex(ctx: Context, frame: Frame, arg: tuple[int, int]) -> None:
    before, after = arg
    items = list(sequence_of(ctx, frame.pop()))
    if len(items) < before + after:
        raise ValueError(f"not enough values to unpack (expected at least {before + after}, got {len(items)})")
    end = len(items) - after
    for item in reversed([*items[:before], new_list(ctx, items[before:end]), *items[end:]]):
        frame.push(item)


@_step("iter")
def _iter(ctx: Context, frame: Frame, arg: Any) -> None:
    frame.push(iterate(ctx, frame.pop()))


# --- calls and functions


@_step("call")
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


@_step("callkw")
def _callkw(ctx: Context, frame: Frame, count: int) -> None:
    names = frame.pop()
    _call(ctx, frame, (count, names))


@_step("convert")
def _convert(ctx: Context, frame: Frame, conversion: str | None) -> None:
    frame.push(format_value(ctx, frame.pop(), conversion, ""))


@_step("callex")
def _callex(ctx: Context, frame: Frame, has_kwargs: bool) -> None:
    kwargs: Any = frame.pop() if has_kwargs else NULL
    args = sequence_of(ctx, frame.pop())
    hi, lo = frame.pop(), frame.pop()
    callee = hi if lo is NULL else lo
    pairs: dict[str, Any] = {}
    if kwargs is not NULL:
        source = opened(ctx, kwargs) if isinstance(kwargs, External) else kwargs
        pairs = dict(ctx.heap[source.cell])
    frame.push(ctx.call(callee, list(args), pairs))


@_step("makefn")
def _makefn(ctx: Context, frame: Frame, arg: Any) -> None:
    code = frame.pop()
    assert isinstance(code, types.CodeType)
    frame.push(Func(code, frame.func.globals, code.co_qualname))


@_step("fnattr")
def _fnattr(ctx: Context, frame: Frame, name: str) -> None:
    func, value = frame.pop(), frame.pop()
    assert isinstance(func, Func)
    fields = {"defaults": func.defaults, "kwdefaults": func.kwdefaults, "closure": func.closure}
    if name == "kwdefaults":
        value = ctx.heap[value.cell]
    if name in fields:
        fields[name] = value
    frame.push(Func(func.code, func.globals, func.name, **fields))


@_step("import")
def _import(ctx: Context, frame: Frame, name: str) -> None:
    fromlist, level = frame.pop(), frame.pop()
    package = frame.func.globals.get("__package__") or ""
    module = importlib.import_module("." * level + name if level else name, package or None)
    frame.push(module if fromlist else importlib.import_module(name.split(".")[0]))


@_step("importfrom")
def _importfrom(ctx: Context, frame: Frame, name: str) -> None:
    frame.push(attribute(ctx, frame.stack[-1], name))


# --- texts, with, match


@_step("format")
def _format(ctx: Context, frame: Frame, arg: tuple[str | None, bool]) -> None:
    conversion, has_spec = arg
    spec = frame.pop() if has_spec else ""
    frame.push(format_value(ctx, frame.pop(), conversion, spec))


@_step("with_enter")
def _with_enter(ctx: Context, frame: Frame, arg: Any) -> None:
    manager = frame.pop()
    frame.push(attribute(ctx, manager, "__exit__"))
    frame.push(ctx.call(attribute(ctx, manager, "__enter__"), []))


@_step("get_len")
def _get_len(ctx: Context, frame: Frame, arg: Any) -> None:
    frame.push(ctx.call(len, [frame.stack[-1]]))


@_step("yield")
def _yield(ctx: Context, frame: Frame, arg: Any) -> None:
    value = frame.pop()
    if frame.yielded is None:
        raise ctx.error("JG203", what="a `yield` here")
    append_to(ctx, frame.yielded, value)
    frame.push(None)


@_step("unsupported")
def _unsupported(ctx: Context, frame: Frame, name: str) -> None:
    raise ctx.error("JG203", what=name)
