"""Rules of `load`, `store`, `addto` and of lists: what was written is read back without the array between.

A walk along a chain of stores is bounded, so that long chains stay linear.

No rule makes an array or list be read later than before once something may have been written into its storage: the
write could not happen in place any more. That is why a load is moved to an older version of an array only if it finds
a value there, and a part of a part becomes one load only of arrays that are never written.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jitgrad.graph.ir import Op, Value
from jitgrad.graph.ops.index import Entry, Pick, Span, flip, index_of, load, store
from jitgrad.graph.ops.shape import broadcast_to
from jitgrad.graph.passes.rules.arithmetic import affine
from jitgrad.graph.passes.rules.context import Context, Rule, made_by
from jitgrad.graph.passes.rules.places import apart, place_of, same, turned
from jitgrad.graph.passes.rules.shapes import scalar_within

__all__ = ["RULES"]

_CHAIN = 16


def _load(r: Context, op: Op) -> Value | None:
    a = op.operands[0]
    result = op.results[0]
    index = place_of(r, op)
    if _is_whole(index, a):
        return a
    found = _forwarded(r, a, index, result)
    if found is not None:
        return found
    # Constants among the operands move into the attribute, where other rules see them.
    return None if same(index, index_of(op)) else load(r.g, a, index)


def _is_whole(index: Sequence[Entry], a: Value) -> bool:
    return all(
        isinstance(e, Span) and e.start == 0 and e.step == 1 and (e.length is d or e.length == d)
        for e, d in zip(index, a.shape, strict=True)
    )


def _forwarded(r: Context, a: Value, index: tuple[Entry, ...], result: Value) -> Value | None:
    """Return what a load gives, found further back than in the array that it names."""
    newest = a
    for _ in range(_CHAIN):
        op = a.op
        if op is None or op.name not in ("store", "addto"):
            break
        written = place_of(r, op)
        axes = turned(r, written, index) if op.name == "store" else None
        if axes is not None:
            return _flipped(r, op.operands[1], axes) if op.operands[1].type == result.type else None
        if not apart(r, written, index):
            break
        a = op.operands[0]
    scalar = scalar_within(a)
    if scalar is not None:
        return broadcast_to(r.g, scalar, result.shape)
    op = a.op
    if op is not None and op.name == "load" and a is newest and op.operands[0] not in r.written:
        composed = _compose(place_of(r, op), index)
        if composed is not None:
            return load(r.g, op.operands[0], composed)
    if op is not None and op.name == "iota" and len(index) == 1 and isinstance(index[0], Pick):
        at = index[0].at
        at = at if isinstance(at, Value) else r.g.constant(at, np.int64)
        return at if at.type == result.type else r.g.cast(at, dtype=result.array.dtype)
    return None


def _flipped(r: Context, v: Value, axes: Sequence[int]) -> Value:
    for axis in axes:
        v = flip(r.g, v, axis)
    return v


def _compose(inner: Sequence[Entry], outer: Sequence[Entry]) -> list[Entry] | None:
    """Return the index of a part of a part, where no run-time arithmetic is needed for it."""
    rest = iter(outer)
    made: list[Entry] = []
    for e in inner:
        if isinstance(e, Pick):
            made.append(e)
            continue
        f = next(rest)
        if e.start == 0 and e.step == 1:
            made.append(f)
        elif not isinstance(e.start, int) or not isinstance(e.step, int):
            return None
        elif isinstance(f, Pick) and isinstance(f.at, int):
            made.append(Pick(e.start + e.step * f.at))
        elif isinstance(f, Span) and isinstance(f.start, int) and isinstance(f.step, int):
            made.append(Span(e.start + e.step * f.start, e.step * f.step, f.length))
        else:
            return None
    return made


def _store(r: Context, op: Op) -> Value | None:
    a, v = op.operands[:2]
    index = place_of(r, op)
    visible = {"visible": True} if op.attrs.get("visible") else {}
    if op.name == "store":
        if v.type == a.type and _is_whole(index, a) and (v is a or not visible):
            return v
        if _holds(r, a, index, v):
            return a
        shorter = None if visible else _without_last(r, a, index)
        if shorter is not None:
            return store(r.g, shorter, v, index)
    elif not visible and v.type == a.type and _is_whole(index, a):
        return r.g.add(a, v)
    elif not visible:
        # What is added to a part that was just stored is stored with it; added to zeros, it is what the part holds.
        before = made_by(a, "store")
        place = None if before is None or before.attrs.get("visible") or not r.once(a) else place_of(r, before)
        axes = None if place is None else turned(r, place, index)
        if before is not None and place is not None and axes is not None:
            kept = before.operands[1]
            if _is_zero(r, kept):
                return store(r.g, before.operands[0], v, index)
            if kept.type == v.type:
                # Memory is walked forwards where either of the two did.
                if _backwards(place) > _backwards(index):
                    kept, place = _flipped(r, kept, axes), index
                else:
                    v = _flipped(r, v, axes)
                return store(r.g, before.operands[0], r.g.add(kept, v), place)
        elif a.op is not None and a.op.name in ("store", "addto"):
            held = _written(r, a, index)
            if held is not None and _is_zero(r, held):
                return store(r.g, a, v, index)
    if not same(index, index_of(op)):
        attrs, ints = _split(index)
        return r.g.emit(op.name, [a, v, *ints], {"index": attrs} | visible).result
    return None


def _backwards(index: Sequence[Entry]) -> int:
    return sum(isinstance(e, Span) and isinstance(e.step, int) and e.step < 0 for e in index)


def _is_zero(r: Context, held: Value) -> bool:
    number = scalar_within(held) if held.shape else held
    return number is not None and r.literal(number) == 0


def _written(r: Context, a: Value, index: tuple[Entry, ...]) -> Value | None:
    """Return what a part of an array was last filled with, past writes to other parts."""
    *_, last = _writes(r, a, index)
    return last.operands[1] if last is not None and _fills(r, last, index) else None


def _holds(r: Context, a: Value, index: tuple[Entry, ...], v: Value) -> bool:
    """Whether a part of an array is v already: it was stored there, or loaded from there."""
    *others, last = _writes(r, a, index)
    if last is not None and _fills(r, last, index):
        return last.operands[1] is v
    part = made_by(v, "load")
    if part is None or not same(place_of(r, part), index):
        return False
    return part.operands[0] is a or any(op is not None and part.operands[0] is op.operands[0] for op in others)


def _without_last(r: Context, a: Value, index: tuple[Entry, ...]) -> Value | None:
    """Return an array without the last store to a part, which nothing reads; None if there is none."""
    *others, last = _writes(r, a, index)
    writes = [op for op in others if op is not None]
    if last is None or not _fills(r, last, index) or last.attrs.get("visible"):
        return None
    if not all(r.once(op.result) for op in (*writes, last)):
        return None
    made = last.operands[0]
    for op in reversed(writes):
        made = r.g.emit(op.name, [made, *op.operands[1:]], op.attrs).result
    return made


def _fills(r: Context, op: Op, index: tuple[Entry, ...]) -> bool:
    return op.name == "store" and same(place_of(r, op), index)


def _writes(r: Context, a: Value, index: tuple[Entry, ...]) -> list[Op | None]:
    """Return the writes that an array has seen, newest first: those to other parts, and the one before, if any."""
    found: list[Op | None] = []
    for _ in range(_CHAIN):
        op = a.op
        if op is None or op.name not in ("store", "addto"):
            break
        found.append(op)
        if not apart(r, place_of(r, op), index):
            return found
        a = op.operands[0]
    return [*found, None]


def _split(index: Sequence[Entry]) -> tuple[tuple[Entry, ...], list[Value]]:
    attrs = tuple(type(e)(*(None if isinstance(x, Value) else x for x in e)) for e in index)
    return attrs, [x for e in index for x in e if isinstance(x, Value)]


# --- lists


def _pop(r: Context, op: Op) -> Value | None:
    push = made_by(op.operands[0], "list_push")
    return push.operands[0] if push is not None and r.once(op.operands[0]) else None


def _length(r: Context, op: Op) -> Value | None:
    items = op.operands[0].op
    if items is None:
        return None
    if items.name == "list_empty":
        return r.g.constant(0, np.int64)
    return r.g.list_length(items.operands[0]) if items.name == "list_zeros" else None


def _get(r: Context, op: Op) -> Value | None:
    items, at = op.operands
    written = items.op
    if written is None:
        return None
    if written.name == "list_set" and written.operands[1] is at:
        return written.operands[2]
    if written.name == "list_push":
        length = made_by(at, "list_length")
        if length is not None and length.operands[0] is written.operands[0]:
            return written.operands[1]
        base, offset, steps = affine(r, at)
        length = made_by(base, "list_length")
        if steps and offset == -1 and length is not None and length.operands[0] is items:
            return written.operands[1]
    return None


RULES: dict[str, Rule] = {
    "addto": _store,
    "list_get": _get,
    "list_length": _length,
    "list_pop": _pop,
    "load": _load,
    "store": _store,
}
