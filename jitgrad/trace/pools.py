"""Arrays that lists hold in several places, where the program stores into them: all lie in one list, the pool.

A list that grows can be the home of its arrays (`places.py`) as long as each is in one place of one list. Where that
is not so, and somebody stores into them, the trace begins again with a pool for their type: an array that becomes an
item of a list moves in, its names become views of the pool, and lists hold positions in it. So names and items are
what they are in Python, pointers: two of them are one array exactly where the positions are equal. The pool only
grows. In: arrays, lists, what the names are on several paths. Out: references.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from jitgrad.graph.ir import Value
from jitgrad.graph.types import ArrayType, ListType
from jitgrad.trace.abstract import Cell, Ref, TaggedRef
from jitgrad.trace.columns import pool_item
from jitgrad.trace.frame import State
from jitgrad.trace.inspection import reachable
from jitgrad.trace.obligations import Obligations, Restart
from jitgrad.trace.places import can_move, item_at, let_names_follow, pool_key, rewritten
from jitgrad.trace.storage import length_of

__all__ = ["at_home", "bring_home", "give_pools_up", "make_pools", "meet_in_pools", "needs_pools", "stay_in_pools"]


def make_pools(ctx: Any) -> None:
    """Make the pools that earlier traces have asked for: they are there from the beginning."""
    tagged = ctx.obligations.tagged
    for key in sorted((k for k in tagged if k[0] == ("pool",)), key=str):
        if (("no pool",), key[1]) not in tagged:
            cell = Cell("arrays")
            cell.arrays, cell.pool = cell, key[1]
            ctx.heap[cell], ctx.list_kinds[cell] = ctx.g.list_empty(type=ListType(key[1])), "array"
            ctx.pools[key[1]] = cell


def needs_pools(ctx: Any, cells: Iterable[Cell | None]) -> Restart | None:
    """Return what begins the trace again with pools for the arrays of those lists that hold some of the cells."""
    wanted = set(cells)
    found = set()
    for cell, held in ctx.heap.items():
        if (
            cell.arrays is not None
            and cell.arrays in wanted
            and isinstance(held, Value)
            and isinstance(held.type, ListType)
        ):
            found.add(held.type.element)
    keys = {pool_key(t) for t in found if t.rank and t.is_static} - ctx.obligations.tagged
    return Restart(keys, "arrays are in several places of lists") if keys else None


def give_pools_up(obligations: Obligations, pools: Iterable[ArrayType]) -> bool:
    """Do without the pools of a trace that was refused; whether there were any."""
    keys = {(("no pool",), element) for element in pools}
    obligations.tagged |= keys
    return bool(keys)


# --- moving in


def _moved_in(ctx: Any, pool: Cell, item: Ref) -> Ref:
    """Let an array move into a pool, and its names follow; return what it is now."""
    at = length_of(ctx, ctx.heap[pool])
    ctx.heap[pool] = ctx.g.list_push(ctx.heap[pool], ctx.heap[item.cell])
    let_names_follow(ctx, pool, item.cell, at)
    return item_at(ctx, pool, at)


def _pool_for(ctx: Any, v: Any) -> Cell | None:
    """Return the pool into which an array can move; None for others, and for what is in one."""
    if not isinstance(v, Ref) or v.view or not isinstance(held := ctx.heap.get(v.cell), Value):
        return None
    pool: Cell | None = ctx.pools.get(held.type) if isinstance(held.type, ArrayType) else None
    return pool if pool is not None and can_move(ctx, pool, v) else None


def at_home(ctx: Any, x: Any) -> Any:
    """Return what becomes an item of a list, with the arrays that it leads to moved into their pools."""
    if not ctx.pools:
        return x
    cells = reachable(ctx.heap, [x])
    held = [r for v in (x, *(ctx.heap.get(c) for c in cells)) for r in _refs(v)]
    for r in dict.fromkeys(held):
        pool = _pool_for(ctx, r)
        if pool is not None:
            now = _moved_in(ctx, pool, r)
            x = rewritten(x, r.cell, partial(_instead, now))
        elif not r.view and _type_of(ctx, r) in ctx.pools:
            # It may be one that had another name when a loop began.
            fresh = {(("all home",), _type_of(ctx, r))} - ctx.obligations.tagged
            if fresh:
                raise Restart(fresh, "all arrays of a type move into a pool before a loop")
    return _one_of_pool(ctx, x)


def _one_of_pool(ctx: Any, x: Any) -> Any:
    """Return one of several arrays of a pool as one at a position that data decide; so for items of tuples."""
    if isinstance(x, tuple):
        items = [_one_of_pool(ctx, v) for v in x]
        return x if all(a is b for a, b in zip(items, x, strict=True)) else _as_tuple(x, items)
    if not isinstance(x, TaggedRef) or len(pools := set(map(pool_item, x.choices))) > 1 or None in pools:
        return x
    places = [ctx.dim(r.view[0].entries[0][0]) for r in x.choices]  # type: ignore[union-attr]
    at = places[-1]
    for k, place in reversed(list(enumerate(places[:-1]))):
        at = ctx.g.select(ctx.g.equal(x.tag, ctx.dim(k)), place, at)
    return item_at(ctx, x.choices[0].cell, at)


def _as_tuple(like: tuple[Any, ...], items: list[Any]) -> Any:
    """Return items as a tuple of the class of another."""
    return tuple(items) if type(like) is tuple else type(like)(*items)


def _instead(now: Ref, _: Ref) -> Ref:
    return now


def _type_of(ctx: Any, r: Ref) -> Any:
    return getattr(ctx.heap.get(r.cell), "type", None)


def _refs(v: Any) -> Iterator[Ref]:
    if isinstance(v, Ref):
        yield v
    elif isinstance(v, TaggedRef):
        yield from v.choices
    elif isinstance(v, tuple):
        for item in v:
            yield from _refs(item)


# --- names that are in a pool on some paths


def _pairs(head: State, back: State) -> Iterator[tuple[Any, Any, Any]]:
    """Yield what names and the parts of cells are in two states, with what they are known by over restarts."""
    for name, v in head.locals.items():
        yield ("L", name), v, back.locals.get(name)
    for i, (v, w) in enumerate(zip(head.stack, back.stack, strict=False)):
        yield ("S", i), v, w
    for cell, v in head.heap.items():
        yield ("H", cell.name), v, back.heap.get(cell)


def _meeting(path: Any, v: Any, w: Any) -> Iterator[tuple[Any, Ref, Ref]]:
    if isinstance(v, Ref) and isinstance(w, Ref):
        yield path, v, w
    elif isinstance(v, tuple) and isinstance(w, tuple) and len(v) == len(w):
        for i, (a, b) in enumerate(zip(v, w, strict=True)):
            yield from _meeting((*path, i), a, b)


@contextmanager
def _from(ctx: Any, frame: Any, state: State) -> Iterator[None]:
    """Go on from a state, and keep in it what changes."""
    kept = ctx.state(frame)
    scope, frame.scope = frame.scope, len(ctx.scopes)
    ctx.enter(frame, state)
    try:
        yield
        state.locals, state.stack, state.heap = dict(frame.locals), list(frame.stack), dict(ctx.heap)
    finally:
        frame.scope = scope
        ctx.enter(frame, kept)


def bring_home(ctx: Any, loop: Any, frame: Any) -> None:
    """Let arrays move in before a loop that will have them in a pool after a trip."""
    if not ctx.pools:
        return
    now = ctx.state(frame)
    for path, v, _ in list(_pairs(now, now)):
        for place, r, _ in list(_meeting(path, v, v)):
            tagged = ctx.obligations.tagged
            wanted = (("home",), loop, place) in tagged or (("all home",), _type_of(ctx, r)) in tagged
            if wanted and (pool := _pool_for(ctx, r)) is not None:
                _moved_in(ctx, pool, r)


def stay_in_pools(ctx: Any, loop: Any, frame: Any, block: Any, head: State, back: State) -> None:
    """Let names that are in a pool at the head of a loop be so after a trip, and those that come to be at the head.

    Raises
    ------
    Restart
        For the second.
    """
    if not ctx.pools:
        return
    pools = set(ctx.pools.values())
    fresh = set()
    with ctx.inside(block), _from(ctx, frame, back):
        for path, v, w in list(_pairs(head, back)):
            for place, a, b in list(_meeting(path, v, w)):
                if pool_item(a) in pools and b.cell not in pools and (pool := _pool_for(ctx, b)) is not None:
                    _moved_in(ctx, pool, b)
                elif pool_item(b) in pools and a.cell not in pools and not a.view:
                    # Cells have no names that outlast a restart.
                    fresh.add((("home",), loop, place) if place[0] != "H" else (("all home",), _type_of(ctx, a)))
    fresh -= ctx.obligations.tagged
    if fresh:
        raise Restart(fresh, "an array moves into a pool in a loop")


def meet_in_pools(ctx: Any, frame: Any, blocks: Any, states: dict[int, State]) -> None:
    """Let names that are in a pool on one path be so on all, where branches meet."""
    if not ctx.pools or frame not in ctx.frames or len(states) < 2:
        return
    pools = set(ctx.pools.values())
    for k, state in states.items():
        for other in states.values():
            if other is state:
                continue
            with ctx.inside(blocks[k]), _from(ctx, frame, state):
                for path, v, w in list(_pairs(state, other)):
                    for _, a, b in list(_meeting(path, v, w)):
                        if pool_item(b) in pools and a.cell not in pools and (pool := _pool_for(ctx, a)) is not None:
                            _moved_in(ctx, pool, a)
