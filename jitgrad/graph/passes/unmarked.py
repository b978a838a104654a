"""Cotangents that are used in full, whatever the data, bear no marks.

Marked cotangents (`diff/marks.py`) hold -0.0 for what was not used, and each iteration of a reverse sweep looks for it.
Often it never comes: a loop begins with cotangents that are all used and hands on such, or the parts of a small array
have all been added to. What is never -0.0 is found for all values at once: at first everything is taken to be so, then
what cannot be is struck out until nothing changes, so that what a loop carries is so if its beginning is and if it
follows from itself. Of small arrays it is known element by element.

In: a graph after differentiation. Out: the same graph, which computes the same bits; it asks no more for marks that
are not there, nor adds 0.0 to what is never -0.0. Rounding is to the nearest: a sum is -0.0 only if all its terms are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, TypeAlias

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.index import slices
from jitgrad.graph.ops.shape import broadcast_to
from jitgrad.graph.passes.rewriting import Replacements, blocks_within
from jitgrad.graph.types import ArrayType

__all__ = ["drop_marks"]

# Of which elements something is so: of all (True), of none that is known (False), or one by one.
_Mask: TypeAlias = "bool | np.ndarray"
# Of floats: what is never -0.0; of a list, whether no item ever is. Of bools: what is always true, and what is never.
_Facts: TypeAlias = tuple[_Mask, ...]

# Elements of arrays that are looked at one by one.
_FEW = 64
_FACTS = {"f": 1, "b": 2}


def drop_marks(graph: Graph) -> bool:
    """Ask for no marks where there are none."""
    blocks = blocks_within(graph)
    if not any(op.name == "is_negative_zero" for block in blocks for op in block.ops):
        return False
    known = _Survey(blocks).known
    replaced = Replacements()
    changed = False
    for block in blocks:
        replaced.in_block(block)
        kept: list[Op] = []
        for op in block.ops:
            replaced.in_op(op)
            truth = _truth(op, known)
            if truth is not None:
                g = Builder(Block(), op.location)
                replaced.add(op.result, broadcast_to(g, g.constant(truth, np.bool_), op.result.shape))
                kept += g.block.ops
                changed = True
                continue
            if op.name in ("add", "addto"):
                changed |= _add_plainly(op, known)
            same = _less_zero(op, known) if op.name == "add" else None
            if same is not None:
                replaced.add(op.result, same)
                changed = True
                continue
            kept.append(op)
        block.ops = kept
        # Inner blocks come later: what they use from here is known by then.
    for block in blocks:
        block.yields = replaced.in_values(block.yields)
    return changed


def _truth(op: Op, known: dict[Value, _Facts]) -> bool | None:
    """Return what all elements of a bool are, if that is known and not said yet."""
    if len(op.results) != 1 or op.name not in _RULES or _splat(op.result) is not None:
        return None
    facts = known.get(op.result, ())
    return None if len(facts) != 2 or not any(x is True for x in facts) else facts[0] is True


def _less_zero(op: Op, known: dict[Value, _Facts]) -> Value | None:
    """Return x of `x + 0.0` that is never -0.0."""
    for x, zero in (op.operands, op.operands[::-1]):
        if _is_zero(zero) and x.type == op.result.type and known.get(x, (False,))[0] is True:
            return x
    return None


def _add_plainly(op: Op, known: dict[Value, _Facts]) -> bool:
    """Add x for `x + 0.0` to what is never -0.0; return whether that is news."""
    for total, k in ((op.operands[0], 1), (op.operands[1], 0))[: 1 if op.name == "addto" else 2]:
        made = op.operands[k].op
        if made is None or made.name != "add" or known.get(total, (False,))[0] is not True:
            continue
        for x, zero in (made.operands, made.operands[::-1]):
            if _is_zero(zero) and x.type == made.result.type and _splat(total) is None:
                op.operands[k] = x
                return True
    return False


def _is_zero(value: Value) -> bool:
    number = _splat(value)
    return number is not None and value.type.is_float and number == 0 and not np.signbit(number)


def _splat(value: Value) -> Any:
    op = value.op
    while op is not None and op.name in ("broadcast", "reshape"):
        op = op.operands[0].op
    if op is None or op.name != "constant" or np.ndim(op.attrs["value"]):
        return None
    return np.asarray(op.attrs["value"])[()]


class _Survey:
    """Finds the facts of all floats and bools in the blocks of a graph."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self.known: dict[Value, _Facts] = {}
        for block in blocks:
            for v in (*block.args, *(v for op in block.ops for v in op.results)):
                if count := _facts(v):
                    self.known[v] = (v.owner is not blocks[0],) * count
        work = [op for block in blocks for op in block.ops if any(v in self.known for v in op.results)]
        pending = True
        while pending:
            pending = False
            for op in work:
                pending |= self._regions(op) if op.regions else self._look(op)
            # What is known of nothing stays so.
            work = [op for op in work if op.regions or any(True in self._open(v) for v in op.results)]

    def _open(self, value: Value) -> list[bool]:
        return [x is not False for x in self.known.get(value, ())]

    def _look(self, op: Op) -> bool:
        """Strike out what does not follow from what an op is given; return whether that is news."""
        rule = _RULES.get(op.name)
        found = None if rule is None else rule(op, *map(self._of, op.operands))
        news = False
        for v in op.results:
            if v in self.known:
                news |= self._strike(v, found)
        return news

    def _of(self, value: Value) -> _Facts:
        return self.known.get(value, (False, False))

    def _regions(self, op: Op) -> bool:
        news = False
        for k, result in enumerate(op.results):
            if not _facts(result):
                continue
            ends = [self._of(region.yields[k]) for region in op.regions[-1 if op.name == "while" else 0 :]]
            if op.name == "if":
                found = _all(*ends)
            else:
                skip = 1 if op.name == "for" else 0
                found = _all(*ends, self._of(op.operands[k + skip]))
                for region in op.regions:
                    news |= self._strike(region.args[k + skip], found)
            news |= self._strike(result, found)
        return news

    def _strike(self, value: Value, found: _Facts | None) -> bool:
        before = self.known[value]
        if found is None or len(found) != len(before):
            found = (False,) * len(before)
        now = tuple(_settled(_both(x, y), value) for x, y in zip(before, found, strict=True))
        if all(map(_same, before, now)):
            return False
        self.known[value] = now
        return True


def _facts(value: Value) -> int:
    if isinstance(value.type, ArrayType):
        return _FACTS.get(value.type.dtype.kind, 0)
    return 1 if value.type.element.is_float else 0


def _both(x: _Mask, y: _Mask) -> _Mask:
    if x is False or y is False:
        return False
    return y if x is True else x if y is True else np.logical_and(x, y)


def _either(x: _Mask, y: _Mask) -> _Mask:
    if x is True or y is True:
        return True
    return y if x is False else x if y is False else np.logical_or(x, y)


def _all(first: _Facts, *rest: _Facts) -> _Facts:
    """Return what is so of each of some values."""
    for facts in rest:
        first = tuple(map(_both, first, facts))
    return first


def _settled(found: _Mask, value: Value) -> _Mask:
    if isinstance(found, bool):
        return found
    if found.all():
        return True
    return np.broadcast_to(found, _shape(value)) if _is_small(value) and found.any() else False


def _same(x: _Mask, y: _Mask) -> bool:
    return x is y or (isinstance(x, np.ndarray) and isinstance(y, np.ndarray) and bool((x == y).all()))


def _is_small(value: Value) -> bool:
    return value.array.is_static and prod(_shape(value)) <= _FEW


def _shape(value: Value) -> tuple[int, ...]:
    """The shape of an array of known sizes."""
    return tuple(d for d in value.shape if isinstance(d, int))


# --- rules: of an op and the facts of its operands, the facts of its result


def _constant(op: Op) -> _Facts:
    value = np.asarray(op.attrs["value"])
    return (value, ~value) if value.dtype.kind == "b" else (~(np.equal(value, 0) & np.signbit(value)),)


def _moved(op: Op, facts: _Facts, *rest: _Facts) -> _Facts:
    """Elements are moved, none is made: to known places, or all alike."""

    def move(x: _Mask) -> _Mask:
        if isinstance(x, bool):
            return x
        if len(op.operands) > 1 or op.primitive.evaluate is None:
            return bool(x.all())
        return np.asarray(op.primitive.evaluate(op.attrs, x))

    return tuple(map(move, facts))


def _placed(op: Op, facts: _Facts, values: _Facts, *rest: _Facts) -> _Facts:
    """`store` replaces, `addto` adds."""

    def place(a: _Mask, v: _Mask) -> _Mask:
        if len(op.operands) == 2 and _is_small(op.result):
            made = np.array(np.broadcast_to(a, _shape(op.result)))
            where = slices(op.attrs["index"], ())
            made[where] = made[where] | v if op.name == "addto" else v
            return made
        return a if op.name == "addto" else _both(bool(np.all(a)), bool(np.all(v)))

    # Truths are stored, not added.
    return tuple(map(place, facts, values)) if op.name == "store" or len(facts) == 1 else (False, False)


def _scattered(op: Op, facts: _Facts, values: _Facts, *rest: _Facts) -> _Facts:
    if op.name == "scatter_add" and len(facts) == 2:
        return (False, False)
    return tuple(
        bool(np.all(a)) and (op.name == "scatter_add" or bool(np.all(v))) for a, v in zip(facts, values, strict=True)
    )


def _unread(op: Op, *dims: _Facts) -> _Facts:
    return (True,)


def _joined(op: Op, *parts: _Facts) -> _Facts | None:
    """Arrays one behind another; the last operand may be a size."""
    if not op.result.type.is_float:
        return None
    return (all(bool(np.all(x[0])) for v, x in zip(op.operands, parts, strict=True) if _facts(v)),)


def _item(op: Op, items: _Facts, *rest: _Facts) -> _Facts:
    """An item of a list, the list without it, or with something added to it."""
    return items


def _pushed(op: Op, items: _Facts, *rest: _Facts) -> _Facts:
    return (items[0] is True and bool(np.all(rest[-1][0])),)


def _selected(op: Op, mask: _Facts, x: _Facts, y: _Facts) -> _Facts:
    is_true, is_false = mask
    return tuple(
        _either(_both(a, b), _either(_both(is_true, a), _both(is_false, b))) for a, b in zip(x, y, strict=True)
    )


def _added(op: Op, x: _Facts, y: _Facts) -> _Facts | None:
    return (_either(x[0], y[0]),) if op.result.type.is_float else None


def _summed(op: Op, facts: _Facts) -> _Facts | None:
    """A sum is -0.0 only if all of its terms are; one of no terms is 0.0, or -0.0 of marked ones."""
    (*_, x) = facts
    if not op.result.type.is_float:
        return None
    return (_over(op, x, np.any) if _runs(op) else x is True and op.name == "reduce_sum",)


def _multiplied(op: Op, x: _Facts, y: _Facts) -> _Facts | None:
    return (True,) if op.operands[0] is op.operands[1] and op.result.type.is_float else None


def _always(op: Op, *operands: _Facts) -> _Facts:
    return (True,)


def _cast(op: Op, x: _Facts) -> _Facts | None:
    return (True,) if op.operands[0].array.dtype.kind in "biu" and op.result.type.is_float else None


def _asked(op: Op, x: _Facts) -> _Facts:
    return (False, x[0])


def _or(op: Op, x: _Facts, y: _Facts) -> _Facts:
    return (_either(x[0], y[0]), _both(x[1], y[1]))


def _and(op: Op, x: _Facts, y: _Facts) -> _Facts:
    return (_both(x[0], y[0]), _either(x[1], y[1]))


def _any(op: Op, x: _Facts) -> _Facts:
    return (_runs(op) and _over(op, x[0], np.any), _over(op, x[1], np.all))


def _every(op: Op, x: _Facts) -> _Facts:
    return (_over(op, x[0], np.all), _runs(op) and _over(op, x[1], np.any))


def _over(op: Op, x: _Mask, reduce: Callable[..., Any]) -> _Mask:
    return x if isinstance(x, bool) else np.asarray(reduce(x, axis=op.attrs["axes"]))


def _runs(op: Op) -> bool:
    """Whether a reduction is over some elements."""
    sizes = [op.operands[0].shape[k] for k in op.attrs["axes"]]
    return all(isinstance(d, int) and d > 0 for d in sizes)


_RULES: dict[str, Callable[..., _Facts | None]] = {
    "absolute": _always,
    "add": _added,
    "addto": _placed,
    "broadcast": _moved,
    "cast": _cast,
    "concatenate": _joined,
    "constant": _constant,
    "exp": _always,
    "gather": _moved,
    "is_negative_zero": _asked,
    "list_addto": _item,
    "list_empty": _unread,
    "list_get": _item,
    "list_pop": _item,
    "list_push": _pushed,
    "list_set": _pushed,
    "load": _moved,
    "logical_and": _and,
    "logical_not": lambda op, x: x[::-1],
    "logical_or": _or,
    "multiply": _multiplied,
    "reduce_and": _every,
    "reduce_marked": _summed,
    "reduce_or": _any,
    "reduce_sum": _summed,
    "relayout": _moved,
    "reshape": _moved,
    "scatter": _scattered,
    "scatter_add": _scattered,
    "select": _selected,
    "square": _always,
    "store": _placed,
    "transpose": _moved,
    "undef": _unread,
}
