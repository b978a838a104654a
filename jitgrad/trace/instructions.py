"""What each version-neutral instruction does to a frame: the straight-line part of the evaluator.

In: an instruction and the current frame. Out: changes of its variables, operand stack and the heap, with graph ops
emitted by the rooms for operators, subscripts and calls. Branches, loops and calls of Python code belong to the
evaluator; this room reaches them through the context only.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from jitgrad.trace.abstract import (
    UNBOUND,
    Cell,
    Columns,
    DictRef,
    ListRef,
    Maybe,
    OneOf,
    Poison,
    Record,
    Ref,
    Scalar,
    SliceOf,
)
from jitgrad.trace.attributes import attribute, delete_attribute, set_attribute
from jitgrad.trace.bytecode import NULL, Instr, effect
from jitgrad.trace.calls import is_known, outside_of, super_attribute
from jitgrad.trace.columns import is_grown
from jitgrad.trace.comparisons import compare_op, contains_op, is_op
from jitgrad.trace.containers import take_out
from jitgrad.trace.context import Context
from jitgrad.trace.frame import Frame
from jitgrad.trace.inspection import cells_of
from jitgrad.trace.objects import is_object, special_method, type_name
from jitgrad.trace.operators import binary_op, get_item_op, set_item_op, unary_op
from jitgrad.trace.subscripts import dict_key, static_key
from jitgrad.trace.ways import one_within, which_hold

__all__ = ["STEPS", "Step", "bound_value", "refuse_poison", "step", "step_of", "truth_of"]

Step = Callable[[Context, Frame, Any], None]

STEPS: dict[str, Step] = {}


def step_of(*names: str) -> Callable[[Step], Step]:
    """Register what instructions of these names do."""

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
    if instr.op in _PLAIN:
        found(ctx, frame, instr.arg)
        _refuse_made(ctx, frame, instr)
        return
    used = _used(instr)
    x = one_within(frame.stack[-used:]) if used else None
    if x is not None:
        flag = _verdict(ctx, frame, instr, x)
        if flag is None:
            ctx.each_way(frame, x, partial(_step_known, ctx, frame, instr))
        else:
            frame.pop_many(used)
            frame.push(flag)
        return
    ctx.with_sizes_known(partial(found, ctx, frame, instr.arg), frame)
    _refuse_made(ctx, frame, instr)


def _refuse_made(ctx: Context, frame: Frame, instr: Instr) -> None:
    """Refuse what an instruction has made, if it cannot be used; not what lies below what is stored: `x, y = f()`."""
    if frame.stack and instr.op not in _STORES:
        refuse_poison(ctx, frame.stack[-1], instr.arg if isinstance(instr.arg, str) else "this value")


def _step_known(ctx: Context, frame: Frame, instr: Instr) -> None:
    for v in frame.stack[-_used(instr) :]:
        refuse_poison(ctx, v, "this value")
    step(ctx, frame, instr)


# The most frequent instructions: they look at nothing that data or sizes decide.
_PLAIN = frozenset({"const", "local", "null", "pop", "setlocal"})
# Instructions that move values about without looking at them.
_MOVES = ("setlocal", "setcell", "setglobal", "pop", "yield", "makefn", "fnattr", "import")
_STORES = ("setlocal", "setcell")
_ANSWERS = ("is", "compare", "in", "truth")


def _used(instr: Instr) -> int:
    """Return how many values on top of the stack an instruction looks at."""
    op, arg = instr.op, instr.arg
    if op in _MOVES or (op == "build" and arg[0] in ("tuple", "list", "map", "constmap")):
        return 0
    if op == "accum":
        return 0 if arg[0] == "list_append" else 2 if arg[0] == "map_add" else 1
    if op in ("importfrom", "get_len", "match_sequence", "match_mapping", "setattr"):
        # What `setattr` stores, below the object, only moves.
        return 1
    if op == "match_keys":
        return 2
    found = effect(op, arg)
    return 0 if found is None else found[0]


def _verdict(ctx: Context, frame: Frame, instr: Instr, x: OneOf) -> Any:
    """Return what a test gives where the choices alone decide it, as `x is None` and `mode == "a"`; else None."""
    given = frame.stack[-_used(instr) :]
    if instr.op not in _ANSWERS or any(type(v) is tuple for v in given):
        return None
    others = [v for v in given if v is not x]
    if instr.op != "is" and not all(map(is_known, (*others, *x.choices))):
        return None
    if instr.op == "is" and not any(v is None for v in others):
        return None
    found = []
    for choice in x.choices:
        hand = replace(frame, locals={}, stack=[choice if v is x else v for v in given])
        STEPS[instr.op](ctx, hand, instr.arg)
        found.append(hand.stack[-1])
    return which_hold(ctx, x, found) if all(isinstance(v, bool) for v in found) else None


def refuse_poison(ctx: Context, value: Any, name: str) -> None:
    """Refuse a value that paths left in forms that cannot be one, or a container whose items they left so."""
    found = value
    if isinstance(value, ListRef | DictRef | Record | Ref):
        found = ctx.heap.get(value.cell)
    while isinstance(found, Columns):
        # A part that could not be joined is refused with the whole.
        parts = [ctx.heap.get(cell) for cell in cells_of(found)]
        found = next((p for p in parts if isinstance(p, Poison | Columns)), None)
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


@step_of("local")
def _local(ctx: Context, frame: Frame, name: str) -> None:
    value = bound_value(ctx, name, frame.locals.get(name, UNBOUND))
    if isinstance(frame.locals.get(name), Maybe):
        frame.locals[name] = value
    frame.push(value)


@step_of("setlocal")
def _setlocal(ctx: Context, frame: Frame, name: str) -> None:
    value = frame.pop()
    if value is NULL or value is UNBOUND:
        frame.locals.pop(name, None)
    else:
        frame.locals[name] = value


@step_of("dellocal")
def _dellocal(ctx: Context, frame: Frame, name: str) -> None:
    bound_value(ctx, name, frame.locals.get(name, UNBOUND))
    frame.locals.pop(name, None)


@step_of("localclear")
def _localclear(ctx: Context, frame: Frame, name: str) -> None:
    frame.push(frame.locals.pop(name, NULL))


def _cell_of(frame: Frame, name: str) -> Cell:
    return frame.cells[name]


@step_of("mkcell")
def _mkcell(ctx: Context, frame: Frame, name: str) -> None:
    cell = Cell(name)
    frame.cells[name] = cell
    ctx.heap[cell] = frame.locals.pop(name, UNBOUND)


@step_of("cell")
def _cell(ctx: Context, frame: Frame, name: str) -> None:
    cell = _cell_of(frame, name)
    value = bound_value(ctx, name, ctx.heap.get(cell, UNBOUND), free=name in frame.func.code.co_freevars)
    frame.push(value)


@step_of("setcell")
def _setcell(ctx: Context, frame: Frame, name: str) -> None:
    cell = _cell_of(frame, name)
    if cell.name == "closure":
        raise ctx.error("JG224", name=name, where="a variable of an enclosing function that has returned")
    value = frame.pop()
    ctx.heap[cell] = UNBOUND if value is NULL else value


@step_of("delcell")
def _delcell(ctx: Context, frame: Frame, name: str) -> None:
    ctx.heap[_cell_of(frame, name)] = UNBOUND


@step_of("cellobj")
def _cellobj(ctx: Context, frame: Frame, name: str) -> None:
    frame.push(_cell_of(frame, name))


@step_of("global")
def _global(ctx: Context, frame: Frame, name: str) -> None:
    names = frame.func.globals
    if frame.func.is_ours:
        frame.push(names[name] if name in names else getattr(builtins, name))
        return
    outside = outside_of(ctx)
    if name in names:
        frame.push(outside.read(names[name], ("global", names, name)))
        return
    if not hasattr(builtins, name):
        raise NameError(f"name '{name}' is not defined")
    outside.guard(("global", names, name), "absent", None)
    frame.push(getattr(builtins, name))


@step_of("setglobal")
def _setglobal(ctx: Context, frame: Frame, name: str) -> None:
    raise ctx.error("JG224", name=name, where="a global variable")


# --- constants and stack


@step_of("const")
def _const(ctx: Context, frame: Frame, value: Any) -> None:
    frame.push(value)


@step_of("null")
def _null(ctx: Context, frame: Frame, arg: Any) -> None:
    frame.push(NULL)


@step_of("pop")
def _pop(ctx: Context, frame: Frame, arg: Any) -> None:
    frame.pop()


@step_of("dup")
def _dup(ctx: Context, frame: Frame, depth: int) -> None:
    frame.push(frame.stack[-depth])


@step_of("swap")
def _swap(ctx: Context, frame: Frame, depth: int) -> None:
    stack = frame.stack
    stack[-1], stack[-depth] = stack[-depth], stack[-1]


@step_of("nop", "generator_start")
def _nop(ctx: Context, frame: Frame, arg: Any) -> None:
    pass


# --- operators


@step_of("binary")
def _binary(ctx: Context, frame: Frame, op: str) -> None:
    y, x = frame.pop(), frame.pop()
    frame.push(binary_op(ctx, op, x, y))


@step_of("inplace")
def _inplace(ctx: Context, frame: Frame, op: str) -> None:
    y, x = frame.pop(), frame.pop()
    frame.push(binary_op(ctx, op, x, y, inplace=True))


@step_of("unary")
def _unary(ctx: Context, frame: Frame, op: str) -> None:
    x = frame.pop()
    if op == "not":
        flag = truth_of(ctx, x)
        frame.push(not flag if isinstance(flag, bool) else Scalar(ctx.g.logical_not(flag.value), "bool"))
    else:
        frame.push(unary_op(ctx, op, x))


@step_of("compare")
def _compare(ctx: Context, frame: Frame, op: str) -> None:
    y, x = frame.pop(), frame.pop()
    frame.push(compare_op(ctx, op, x, y))


@step_of("is")
def _is(ctx: Context, frame: Frame, invert: bool) -> None:
    y, x = frame.pop(), frame.pop()
    found = is_op(ctx, x, y)
    if isinstance(found, bool):
        frame.push(found != bool(invert))
    else:
        frame.push(Scalar(ctx.g.logical_not(found.value), "bool") if invert else found)


@step_of("in")
def _in(ctx: Context, frame: Frame, invert: bool) -> None:
    y, x = frame.pop(), frame.pop()
    found = contains_op(ctx, x, y)
    if isinstance(found, bool):
        frame.push(found != bool(invert))
    else:
        frame.push(Scalar(ctx.g.logical_not(found.value), "bool") if invert else found)


@step_of("truth")
def _truth(ctx: Context, frame: Frame, arg: Any) -> None:
    frame.push(truth_of(ctx, frame.pop()))


def truth_of(ctx: Context, x: Any) -> Any:
    """Return `bool(x)`: a Python bool if known, else a bool Scalar."""
    return ctx.call(bool, [x])


# --- subscripts and attributes


@step_of("getitem")
def _getitem(ctx: Context, frame: Frame, arg: Any) -> None:
    key, x = frame.pop(), frame.pop()
    frame.push(get_item_op(ctx, x, key))


@step_of("setitem")
def _setitem(ctx: Context, frame: Frame, arg: Any) -> None:
    key, x, value = frame.pop(), frame.pop(), frame.pop()
    set_item_op(ctx, x, key, value)


@step_of("delitem")
def _delitem(ctx: Context, frame: Frame, arg: Any) -> None:
    key, x = frame.pop(), frame.pop()
    if is_object(x):
        found = special_method(ctx, x, "__delitem__")
        if found is None:
            raise TypeError(f"'{type_name(ctx, x)}' object does not support item deletion")
        ctx.call(found, [key])
        return
    grown = is_grown(ctx, x)
    if grown and isinstance(key, Scalar | int):
        outside = "list assignment index out of range"
        take_out(ctx, x, key, outside, outside)
        return
    if not isinstance(x, ListRef | DictRef) or grown:
        raise ctx.error("JG220", what="del of an item")
    if isinstance(x, ListRef):
        key = static_key(ctx, key, "the index of del")
        items = list(ctx.heap[x.cell])
        del items[key]
        ctx.heap[x.cell] = tuple(items)
    else:
        pairs = dict(ctx.heap[x.cell])
        del pairs[dict_key(ctx, key)]
        ctx.heap[x.cell] = tuple(pairs.items())


@step_of("slice")
def _slice(ctx: Context, frame: Frame, count: int) -> None:
    parts = frame.pop_many(count)
    parts += [None] * (3 - len(parts))
    frame.push(slice(*parts) if is_known(tuple(parts)) else SliceOf(*parts))


@step_of("attr")
def _attr(ctx: Context, frame: Frame, name: str) -> None:
    frame.push(attribute(ctx, frame.pop(), name))


@step_of("method")
def _method(ctx: Context, frame: Frame, name: str) -> None:
    found = attribute(ctx, frame.pop(), name)
    frame.push(found)
    frame.push(NULL)


@step_of("superattr")
def _superattr(ctx: Context, frame: Frame, name: str) -> None:
    self, cls, _ = frame.pop(), frame.pop(), frame.pop()
    frame.push(super_attribute(ctx, cls, self, name))


@step_of("delattr")
def _delattr(ctx: Context, frame: Frame, name: str) -> None:
    delete_attribute(ctx, frame.pop(), name)


@step_of("setattr")
def _setattr(ctx: Context, frame: Frame, name: str) -> None:
    x, value = frame.pop(), frame.pop()
    set_attribute(ctx, x, name, value)
