"""Values that have no common form on the paths that lead to them: what they may be, and which of it they are.

In: abstract values, `OneOf` among them. Out: their choices, the flags that say which it is, and what sort each choice
is of: values of one sort are joined by value, others stay choices of a `OneOf`. How a program goes on with a `OneOf`
is not known here: `Branches.each_way` traces what uses it once for each choice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.memory import Pick, Span, load
from jitgrad.trace.abstract import Abstract, Cell, ListRef, OneOf, Ref, Scalar, TaggedRef
from jitgrad.trace.alternatives import is_any_number
from jitgrad.trace.arrays import array_type
from jitgrad.trace.context import PACKED, Context
from jitgrad.trace.frame import State
from jitgrad.trace.inspection import same

__all__ = [
    "MANY_WAYS", "choices_of", "each_choice", "flag_of", "narrow", "narrowed", "occurs", "one_within",
    "packed_ways", "put", "sort_of", "way_of", "which_hold",
]  # fmt: skip


# Choices of one variable: what uses it is traced for each.
MANY_WAYS = 8


def choices_of(x: Any) -> tuple[Any, ...]:
    """Return the values that a value may be."""
    return x.choices if isinstance(x, OneOf) else (x,)


def flag_of(ctx: Context, x: Any, at: int | None) -> Value:
    """Return whether a value is its choice `at`, as a bool value; None is no choice of it."""
    if at is None or not isinstance(x, OneOf):
        return ctx.constant(at is not None, np.bool_)
    return x.flags[at] if at < len(x.flags) else _negated(ctx, _any(ctx, x.flags))


def which_hold(ctx: Context, x: OneOf, verdicts: Sequence[bool]) -> Any:
    """Return a bool of which each choice's is known: a Python bool, or a bool Scalar."""
    if len(set(verdicts)) == 1:
        return verdicts[0]
    # The last choice has no flag of its own: what holds there is what does not hold for the others.
    last = verdicts[-1]
    found = _any(ctx, [flag for flag, v in zip(x.flags, verdicts, strict=False) if v != last])
    return Scalar(_negated(ctx, found) if last else found, "bool")


def _any(ctx: Context, flags: Sequence[Value]) -> Value:
    found = flags[0]
    for flag in flags[1:]:
        found = ctx.g.logical_or(found, flag)
    return found


def _negated(ctx: Context, flag: Value) -> Value:
    made: Value = ctx.g.logical_not(flag)
    return made


def each_choice(ctx: Context, x: Any, compute: Callable[[Any], Value]) -> Value:
    """Return what is computed from a value, for one of several that of the choice which it is."""
    if not isinstance(x, OneOf):
        return compute(x)
    with ctx.g.region() as then:
        then.yields = [compute(x.choices[0])]
    with ctx.g.region() as other:
        other.yields = [each_choice(ctx, narrowed(x, 0, False), compute)]
    made: Value = ctx.g.emit("if", [x.flags[0]], {}, [then, other]).result
    return made


def packed_ways(ctx: Context, x: ListRef) -> OneOf:
    """Return a list of ints and floats, as data decide, as a list of floats or one of ints.

    So `np.array` makes arrays of them: one float, or no item, makes floats of all.
    """
    g, items = ctx.g, ctx.heap[x.cell]
    packed = g.list_to_array(items, g.list_length(items))
    value, code = (load(g, packed, [Span(0, 1, packed.shape[0]), Pick(k)]) for k in range(2))
    kinds = PACKED[ctx.list_kinds[x.cell]]
    others = g.reduce_or(g.not_equal(code, float(kinds.index("int"))), axes=(0,))
    made = []
    for name, numbers in (("float", value), ("int", g.cast(value, dtype=np.int64))):
        cell = Cell(x.cell.name)
        ctx.heap[cell], ctx.list_kinds[cell] = g.list_from_array(numbers), name
        made.append(ListRef(cell))
    return OneOf((g.logical_or(others, g.equal(packed.shape[0], 0)),), tuple(made))


# --- sorts


def sort_of(ctx: Context, x: Any) -> Any:
    """Return what values must have in common to be joined by value: equal sorts; None for what is never joined."""
    if is_any_number(x):
        return "number"
    if isinstance(x, Ref | TaggedRef):
        return "array", array_type(ctx, x)
    if isinstance(x, tuple):
        return "tuple", type(x), len(x)
    return None if isinstance(x, Abstract) else ("known", _Known(x))


class _Known:
    """A known object, equal to another if both are surely one."""

    __slots__ = ("thing",)

    def __init__(self, thing: Any) -> None:
        self.thing = thing

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Known) and same(self.thing, other.thing)

    def __hash__(self) -> int:
        return hash(type(self.thing))


def way_of(ctx: Context, x: Any, sort: Any) -> int | None:
    """Return the position of the choice of a sort among those of x, None where it is never of that sort."""
    return next((k for k, c in enumerate(choices_of(x)) if sort_of(ctx, c) == sort), None)


# --- places


def one_within(values: Sequence[Any]) -> OneOf | None:
    """Return a value among some, or an item of a tuple among them, of which data decide what it is."""
    for v in values:
        if isinstance(v, OneOf):
            return v
        if type(v) is tuple and (found := one_within(v)) is not None:
            return found
    return None


def occurs(x: Any, v: Any) -> bool:
    """Whether a value is another, or an item of a tuple that is."""
    return v is x or (type(v) is tuple and any(occurs(x, i) for i in v))


def put(v: Any, x: Any, by: Any) -> Any:
    """Return a value, or a tuple, with what is known of x in its place."""
    if v is x:
        return by
    if type(v) is tuple:
        made = tuple(put(i, x, by) for i in v)
        return made if any(a is not b for a, b in zip(made, v, strict=True)) else v
    return v


def _put_everywhere(state: State, x: OneOf, by: Any) -> None:
    for name, v in state.locals.items():
        state.locals[name] = put(v, x, by)
    state.stack[:] = [put(v, x, by) for v in state.stack]
    for cell, v in state.heap.items():
        if isinstance(v, OneOf | tuple):
            state.heap[cell] = put(v, x, by)


def narrow(state: State, cond: Value, holds: bool) -> None:
    """Use in a state that a condition holds, or does not: values of which it says what they are, are that."""
    while cond.op is not None and cond.op.name == "logical_not":
        cond, holds = cond.op.operands[0], not holds
    found: dict[int, OneOf] = {}

    def look(v: Any) -> None:
        if isinstance(v, OneOf) and cond in v.flags:
            found[id(v)] = v
        elif type(v) is tuple:
            for i in v:
                look(i)

    for part in (*state.locals.values(), *state.stack, *state.heap.values()):
        look(part)
    for x in found.values():
        _put_everywhere(state, x, narrowed(x, x.flags.index(cond), holds))


def narrowed(x: OneOf, k: int, holds: bool) -> Any:
    """Return a value that surely is its choice k, or surely is not."""
    if holds:
        return x.choices[k]
    flags, choices = (*x.flags[:k], *x.flags[k + 1 :]), (*x.choices[:k], *x.choices[k + 1 :])
    return choices[0] if len(choices) == 1 else replace(x, flags=flags, choices=choices)
