"""Rules of `load`, `store`, `addto` and of lists: what was written is read back without the array between.

Two positions are known to be apart if they are different numbers, or the same value plus different numbers. A walk
along a chain of stores is bounded, so that long chains stay linear.

No rule makes an array or list be read later than before once something may have been written into its storage: the
write could not happen in place any more. That is why a load is moved to an older version of an array only if it finds
a value there, and a part of a part becomes one load only of arrays that are never written.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.graph.ir import Op, Value
from jitgrad.graph.ops.index import Entry, Pick, Span, index_of, load, store
from jitgrad.graph.ops.shape import broadcast_to
from jitgrad.graph.passes.rules.arithmetic import affine
from jitgrad.graph.passes.rules.context import Context, Rule, made_by
from jitgrad.graph.passes.rules.shapes import scalar_within

__all__ = ["RULES"]

_CHAIN = 16


def _known(r: Context, index: Sequence[Entry]) -> tuple[Entry, ...]:
    """Return an index with constants among its numbers put in, except lengths: those make the type."""

    def number(x: Any) -> Any:
        literal = r.literal(x) if isinstance(x, Value) else None
        return x if literal is None else int(literal)

    return tuple(
        Pick(number(e.at)) if isinstance(e, Pick) else Span(number(e.start), number(e.step), e.length) for e in index
    )


def _same(a: Sequence[Entry], b: Sequence[Entry]) -> bool:
    return len(a) == len(b) and all(
        type(x) is type(y) and all(p is q or (isinstance(p, int) and p == q) for p, q in zip(x, y, strict=True))
        for x, y in zip(a, b, strict=True)
    )


def _apart(r: Context, a: Sequence[Entry], b: Sequence[Entry]) -> bool:
    """Whether two indices of one array are known to name no common element."""
    return any(
        (isinstance(x, Pick) and isinstance(y, Pick) and _different(r, x.at, y.at))
        or (isinstance(x, Span) and isinstance(y, Pick) and _outside(y.at, x))
        or (isinstance(x, Pick) and isinstance(y, Span) and _outside(x.at, y))
        or (isinstance(x, Span) and isinstance(y, Span) and _separate(x, y))
        for x, y in zip(a, b, strict=True)
    )


def _different(r: Context, x: Any, y: Any) -> bool:
    if isinstance(x, int) and isinstance(y, int):
        return x != y
    if isinstance(x, Value) and isinstance(y, Value):
        (p, i, _), (q, j, _) = affine(r, x), affine(r, y)
        return p is q and (i - j) % 2**64 != 0
    return False


def _range(span: Span) -> range | None:
    if not all(isinstance(x, int) for x in span) or span.step == 0:
        return None
    start, step, length = span
    return range(start, start + step * length, step)  # type: ignore[arg-type, operator]


def _outside(at: Any, span: Span) -> bool:
    positions = _range(span)
    return positions is not None and isinstance(at, int) and at not in positions


def _separate(a: Span, b: Span) -> bool:
    p, q = _range(a), _range(b)
    if p is None or q is None:
        return False
    if not p or not q:
        return True
    low, high = max(min(p), min(q)), min(max(p), max(q))
    return low > high


def _load(r: Context, op: Op) -> Value | None:
    a = op.operands[0]
    result = op.results[0]
    given = index_of(op)
    index = _known(r, given)
    if _is_whole(index, a):
        return a
    found = _forwarded(r, a, index, result)
    if found is not None:
        return found
    # Constants among the operands move into the attribute, where other rules see them.
    return None if _same(index, given) else load(r.g, a, index)


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
        written = _known(r, index_of(op))
        if op.name == "store" and _same(written, index):
            return op.operands[1] if op.operands[1].type == result.type else None
        if not _apart(r, written, index):
            break
        a = op.operands[0]
    scalar = scalar_within(a)
    if scalar is not None:
        return broadcast_to(r.g, scalar, result.shape)
    op = a.op
    if op is not None and op.name == "load" and a is newest and op.operands[0] not in r.written:
        composed = _compose(_known(r, index_of(op)), index)
        if composed is not None:
            return load(r.g, op.operands[0], composed)
    if op is not None and op.name == "iota" and len(index) == 1 and isinstance(index[0], Pick):
        at = index[0].at
        at = at if isinstance(at, Value) else r.g.constant(at, np.int64)
        return at if at.type == result.type else r.g.cast(at, dtype=result.array.dtype)
    return None


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
    given = index_of(op)
    index = _known(r, given)
    visible = {"visible": True} if op.attrs.get("visible") else {}
    if op.name == "store":
        if v.type == a.type and _is_whole(index, a) and not visible:
            return v
        part = made_by(v, "load")
        if part is not None and part.operands[0] is a and _same(_known(r, index_of(part)), index):
            return a
        before = made_by(a, "store")
        if before is not None and before.operands[1] is v and _same(_known(r, index_of(before)), index):
            return a
        if before is not None and not visible and r.once(a) and _same(_known(r, index_of(before)), index):
            return store(r.g, before.operands[0], v, index)
    elif not visible:
        # What is added to a part that was just filled with zeros is what the part holds.
        before = made_by(a, "store")
        if before is not None and r.once(a) and _same(_known(r, index_of(before)), index):
            held = before.operands[1]
            number = scalar_within(held) if held.shape else held
            if number is not None and r.literal(number) == 0:
                return store(r.g, before.operands[0], v, index)
    if not _same(index, given):
        attrs, ints = _split(index)
        return r.g.emit(op.name, [a, v, *ints], {"index": attrs} | visible).result
    return None


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
