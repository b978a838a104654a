"""Small branches become selects: both sides run, and a select takes what the branch would have handed on.

Both sides together then cost about as much as one mispredicted branch (some 15 cycles), and scalar loops without
branches vectorise. None of the ops may raise, none is a division or a function. An element is read on a side only if
its place is surely in range, whichever side is taken; one that a side stores is stored always, on the other side with
what it holds.

In: an `if` whose regions have been simplified. Out: the values that take the place of its results, with their code.
"""

from __future__ import annotations

from jitgrad.graph.ir import Block, Op, Value
from jitgrad.graph.ops.index import index_of
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.places import is_element, place_of, same
from jitgrad.graph.types import ArrayType

__all__ = ["as_selects"]

# Ops of both sides and results of the `if`, at most.
_OPS = 8
_SELECTABLE = frozenset(
    {"constant", "add", "subtract", "multiply", "negative", "absolute", "maximum", "minimum", "less", "less_equal",
     "equal", "not_equal", "greater", "greater_equal", "logical_and", "logical_or", "logical_not", "select", "cast"}
)  # fmt: skip

# What each side stores into the array that a result is, None for nothing, and the array before.
_Stores = tuple[Op | None, Op | None, Value]


def as_selects(r: Context, op: Op) -> list[Value] | None:
    """Return values for the results of an `if`, None if it stays."""
    then, other = op.regions
    if len(then.ops) + len(other.ops) + len(op.results) > _OPS:
        return None
    if not all(_may_run_always(r, o, region) for region in op.regions for o in region.ops):
        return None
    plan: list[_Stores | None] = []
    for result, x, y in zip(op.results, then.yields, other.yields, strict=True):
        if not isinstance(result.type, ArrayType):
            return None
        stores = _stores(r, x, y, op) if result.type.shape else None
        if result.type.shape and stores is None:
            return None
        plan.append(stores)
    stored = [o for stores in plan if stores is not None for o in stores[:2] if o is not None]
    if len(stored) != sum(o.name == "store" for region in op.regions for o in region.ops):
        return None
    r.g.block.ops += [o for region in op.regions for o in region.ops if o.name != "store"]
    cond = op.operands[0]
    made: list[Value] = []
    for stores, x, y in zip(plan, then.yields, other.yields, strict=True):
        made.append(r.g.select(cond, x, y) if stores is None else _store_always(r, cond, stores))
    return made


def _may_run_always(r: Context, op: Op, region: Block) -> bool:
    if op.name in ("load", "store"):
        scalar = op.result if op.name == "load" else op.operands[1]
        base = op.operands[0]
        return not scalar.array.rank and base.op not in region.ops and is_element(r, index_of(op), base.shape)
    return op.name in _SELECTABLE and not op.results[0].array.rank


def _stores(r: Context, x: Value, y: Value, op: Op) -> _Stores | None:
    """Return what leads both sides from one array to two results, if that is one element at most."""
    found: list[tuple[Op | None, Value]] = []
    for value, region in zip((x, y), op.regions, strict=True):
        made = value.op
        if made is None or made not in region.ops:
            found.append((None, value))
        elif made.name == "store":
            found.append((made, made.operands[0]))
        else:
            return None
    (first, base), (second, before) = found
    if base is not before or (first is None and second is None):
        return None
    if first is not None and second is not None:
        a, b = (place_of(r, o) for o in (first, second))
        if not same(a, b):
            return None
    return first, second, base


def _store_always(r: Context, cond: Value, stores: _Stores) -> Value:
    first, second, base = stores
    like = first if first is not None else second
    assert like is not None
    place = like.operands[2:]
    kept: Value | None = None
    if first is None or second is None:
        kept = r.g.emit("load", [base, *place], {"index": like.attrs["index"]}).result
    x, y = (kept if o is None else o.operands[1] for o in (first, second))
    return r.g.emit("store", [base, r.g.select(cond, x, y), *place], dict(like.attrs)).result
