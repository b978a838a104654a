"""Which of the caller's arrays a reference is, where branches and trips of loops decide.

A merge by value makes a new cell; the caller, who sees the result, must still get its own array where Python returns
it. Such a cell names the references to arguments that it may be, its options, and a cell that holds which of them it
is at run time. In: references. Out: their options, and the graph value that says which. Where nobody sees arguments
(under derivatives) there are no options, and nothing is carried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.trace.abstract import Cell, Ref, Scalar, TaggedRef
from jitgrad.trace.context import Context
from jitgrad.trace.inspection import reachable, values_in

__all__ = [
    "UNKNOWN", "explained", "followers", "identify", "joined_options", "known_option", "may_be_new", "option_of",
    "options_of", "spread",
]  # fmt: skip

# A view of an argument that cannot be named outside of where it was made.
UNKNOWN = Ref(Cell("unknown"))
_MANY = 8


def options_of(ctx: Context, x: Any, outside: Callable[[Value], bool] = lambda _: True) -> tuple[Ref, ...]:
    """Return the references to arguments that an array may be, `outside` saying which values still exist elsewhere."""
    if not ctx.observe_arguments:
        return ()
    if isinstance(x, TaggedRef):
        return joined_options(options_of(ctx, r, outside) for r in x.choices)
    found: tuple[Ref, ...] = (x,)
    if not _is_argument(x):
        found = tuple(o if o is UNKNOWN else Ref(o.cell, (*o.view, *x.view)) for o in x.cell.options)
    return tuple(o if all(map(outside, values_in(o))) else UNKNOWN for o in found)


def joined_options(options: Iterable[tuple[Ref, ...]]) -> tuple[Ref, ...]:
    """Return the options of an array that is one of several, as data decide."""
    found = tuple(dict.fromkeys(o for own in options for o in own))
    return (UNKNOWN,) if UNKNOWN in found or len(found) > _MANY else found


def _is_argument(x: Ref) -> bool:
    return x.cell.argument is not None and x.cell.argument >= 0


def may_be_new(x: Any) -> bool:
    """Whether an array may be none of the caller's."""
    own = x.choices if isinstance(x, TaggedRef) else (x,)
    return not all(_is_argument(r) or r.cell.sure for r in own)


def known_option(ctx: Context, x: Any, options: tuple[Ref, ...]) -> int | None:
    """Return the position among options of what an array surely is, their number if it is new; None if data decide."""
    if isinstance(x, TaggedRef):
        return None
    own = options_of(ctx, x)
    if not own or (x.cell.which is None and not _is_argument(x)):
        return len(options)
    if _is_argument(x):
        return _position(own[0], options)
    assert x.cell.which is not None
    which = ctx.heap[x.cell.which]
    if not isinstance(which, int):
        return None
    return _position(own[which], options) if which < len(own) else len(options)


def _position(option: Ref, options: tuple[Ref, ...]) -> int:
    return options.index(option if option in options else UNKNOWN)


def option_of(ctx: Context, x: Any, options: tuple[Ref, ...]) -> Value:
    """Return, as an int64 value, the position among options of what an array is, their number if it is new."""
    g = ctx.g
    known = known_option(ctx, x, options)
    if known is not None:
        return ctx.constant(known, np.int64)
    if isinstance(x, TaggedRef):
        made = option_of(ctx, x.choices[-1], options)
        for k, r in reversed(list(enumerate(x.choices[:-1]))):
            made = g.select(g.equal(x.tag, ctx.constant(k, np.int64)), option_of(ctx, r, options), made)
        return made
    own = options_of(ctx, x)
    which: Value = ctx.heap[x.cell.which].value
    if own == options:
        return which
    places = [_position(o, options) for o in own] + [len(options)] * (not x.cell.sure)
    made = ctx.constant(places[-1], np.int64)
    for k, place in reversed(list(enumerate(places[:-1]))):
        made = g.select(g.equal(which, ctx.constant(k, np.int64)), ctx.constant(place, np.int64), made)
    return made


def identify(cell: Cell, options: tuple[Ref, ...], which: Any, sure: bool) -> dict[Cell, Any]:
    """Note what the array of a merge may be, and whether it surely is that; return what the heap holds for it."""
    cell.options, cell.sure = options, sure and bool(options)
    if not options:
        cell.which = None
        return {}
    if cell.which is None:
        cell.which = Cell("which")
    return {cell.which: Scalar(which, "int") if isinstance(which, Value) else which}


# --- stores


def explained(a: Cell, b: Cell) -> bool:
    """Whether two cells can only be one array where the one is an option of the other."""
    return any(
        argument.argument is not None and argument.argument >= 0 and merged.which is not None and _names_all(merged)
        for argument, merged in ((a, b), (b, a))
    )


def _names_all(cell: Cell) -> bool:
    return cell.which is not None and not cell.any_length and UNKNOWN not in cell.options


def spread(ctx: Context, x: Ref | TaggedRef) -> Ref | TaggedRef:
    """Return an array as a choice of all that it may be: the caller's arrays, then what it was if it may be new."""
    own = x.choices if isinstance(x, TaggedRef) else (x,)
    if not any(_names_all(r.cell) for r in own):
        return x
    choices: list[Ref] = []
    tags: list[Any] = []
    for r in own:
        which = 0
        if _names_all(r.cell):
            which = ctx.heap[r.cell.which] if r.cell.which is not None else 0
            choices += options_of(ctx, r)
        start = len(choices) - (len(r.cell.options) if _names_all(r.cell) else 0)
        if not (r.cell.sure and _names_all(r.cell)):
            choices.append(r)
        tags.append(which + start if isinstance(which, int) else _plus(ctx, which.value, start))
    if not isinstance(x, TaggedRef):
        return choices[tags[0]] if isinstance(tags[0], int) else TaggedRef(tags[0], tuple(choices))
    made = ctx.dim(tags[-1])
    for k, tag in reversed(list(enumerate(tags[:-1]))):
        made = ctx.g.select(ctx.g.equal(x.tag, ctx.constant(k, np.int64)), ctx.dim(tag), made)
    return TaggedRef(made, tuple(choices))


def _plus(ctx: Context, value: Value, number: int) -> Value:
    made: Value = ctx.g.add(value, ctx.constant(number, np.int64)) if number else value
    return made


def followers(ctx: Context, stored: Sequence[Cell], named: Sequence[Cell]) -> list[Cell]:
    """Return the merged arrays that may be one of some arrays just stored to, and can still be used.

    Parameters
    ----------
    stored : sequence of Cell
    named : sequence of Cell
        What the store was written to: an operator in place still hands that on.
    """
    found = [c for c in ctx.heap if _names_all(c) and any(o.cell in stored for o in c.options)]
    if not found:
        return []
    alive = {*reachable(ctx.heap, ctx.live_values()), *named}
    return [c for c in found if c in alive]
