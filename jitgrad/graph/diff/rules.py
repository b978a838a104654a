"""Running declared derivatives in reverse code.

In: a frame, an op of the primal, and a rule as declared in `graph/ops`. Out: the values that the rule returned, with
its code in the frame's block. In a nested region the primal's operands and results are not at hand: the rule runs on
stand-ins of the same types, its dead ops are dropped, comparisons may move to the forward program (`predicates.py`),
what takes long and is computed there anyway is taken from there, and only the stand-ins that are still used are made
available.
So a rule may name what it likes and costs only what it needs. This room knows no primitive by name but for masks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.cut import is_dear
from jitgrad.graph.diff.frames import Frame
from jitgrad.graph.diff.predicates import compare_forwards
from jitgrad.graph.diff.residuals import Residuals
from jitgrad.graph.ir import Block, Op, Value, substitute_attrs, substitute_type
from jitgrad.graph.ops.shape import broadcast_to, reshape_to, unbroadcast, zeros
from jitgrad.graph.primitive import Cot, Linear, Masked, Partial
from jitgrad.graph.types import BOOL, INT64, ArrayType

__all__ = ["is_jointly_linear", "mix_mask", "move_mask", "run_rule"]

_MASK_MOVERS = frozenset({"addto", "scatter_add", "store"})


def run_rule(residuals: Residuals, frame: Frame, op: Op, rule: Callable[[Builder, Op], Sequence[Any]]) -> list[Any]:
    """Return what `rule(g, op)` returns, its values available in the frame's code.

    Parameters
    ----------
    residuals : Residuals
    frame : Frame
    op : Op
    rule : callable
        Returns Values, Masked, Partial, Cot or None; what is not wanted should be None, so that its code goes.
    """
    g = residuals.g
    if frame.parent is None:
        start = len(frame.block.ops)
        made = list(rule(g, op))
        if len(frame.block.ops) > start:
            frame.block.ops[start:] = _used(frame.block.ops[start:], made)
        return made
    stand_ins: dict[Value, Value] = {}
    shadow = Op(op.primitive, (), op.attrs, (), (), op.location)
    g.block = Block()
    try:
        for v in op.operands:
            shadow.operands.append(_stand_in(residuals, frame, v, shadow, stand_ins))
        for v in op.results:
            shadow.results.append(_stand_in(residuals, frame, v, shadow, stand_ins))
        made = list(rule(g, shadow))
        ops = _used(g.block.ops, made)
    finally:
        g.block = frame.block
    primal = dict(zip((*shadow.operands, *shadow.results), (*op.operands, *op.results), strict=True))
    mapping = _done_forwards(residuals.dear(frame.forward), ops, primal)
    mapping |= compare_forwards(residuals, frame, op, ops, [v for x in made for v in _values(x)], primal)
    if mapping:
        mapping = {v: residuals.get(frame, forward) for v, forward in mapping.items()}
        made = [_renamed(x, mapping) for x in made]
        for o in ops:
            o.operands = [mapping.get(v, v) for v in o.operands]
        ops = _used(ops, made)
        mapping = {}
    for value in _operands(ops, made):
        if value in stand_ins and value not in mapping:
            mapping[value] = residuals.get(frame, stand_ins[value])
    if mapping:
        for o in ops:
            o.operands = [mapping.get(v, v) for v in o.operands]
            o.attrs = substitute_attrs(o.attrs, mapping)
            for r in o.results:
                r.type = substitute_type(r.type, mapping)
    frame.block.ops.extend(ops)
    return [_renamed(x, mapping) for x in made]


def _done_forwards(
    dear: dict[tuple[str, tuple[Value, ...]], Op], ops: list[Op], primal: dict[Value, Value]
) -> dict[Value, Value]:
    """Return the dear numbers of a rule's code that the primal computes too: the cosine beside a sine."""
    found = {}
    for op in ops:
        if op.primitive.is_elementwise and is_dear(op) and all(v in primal for v in op.operands):
            known = dear.get((op.name, tuple(primal[v] for v in op.operands)))
            if known is not None and known.attrs == op.attrs:
                found[op.result] = known.result
    return found


def _stand_in(residuals: Residuals, frame: Frame, value: Value, shadow: Op, stand_ins: dict[Value, Value]) -> Value:
    found = residuals.at_hand(frame, value)
    if found is not None:
        return found
    if value.type == INT64:  # it may be the dimension of a type, and types must name the value that is meant
        return residuals.get(frame, value)
    if value.op is not None and value.op.name == "constant" and not value.shape:
        return residuals.g.constant(value.op.attrs["value"])  # rules ask what number it is
    made = Value(residuals.type_of(frame, value.type), shadow, value.index, value.name)
    stand_ins[made] = value
    return made


def _values(x: Any) -> list[Value]:
    if isinstance(x, Value):
        return [x]
    if isinstance(x, Masked):
        return [v for v in (x.mask, x.partial, x.matters) if isinstance(v, Value)]
    if isinstance(x, Cot):
        return [v for v in x if v is not None]
    return []


def _operands(ops: list[Op], made: list[Any]) -> list[Value]:
    return [v for op in ops for v in op.operands] + [v for x in made for v in _values(x)]


def _used(ops: list[Op], made: list[Any]) -> list[Op]:
    """Return the ops on which what was made depends."""
    if not ops:
        return ops
    needed = {v for x in made for v in _values(x)}
    kept = []
    for op in reversed(ops):
        if any(r in needed for r in op.results) or not op.primitive.is_pure:
            kept.append(op)
            needed.update(op.operands)
            for region in op.regions:
                for inner in region.walk():
                    needed.update(inner.operands)
                for block in region.blocks():
                    needed.update(block.yields)
    kept.reverse()
    return kept


def _renamed(x: Any, mapping: dict[Value, Value]) -> Any:
    if isinstance(x, Value):
        return mapping.get(x, x)
    if isinstance(x, Masked):
        partial = x.partial if isinstance(x.partial, Partial) else mapping.get(x.partial, x.partial)
        mask, matters = (None if v is None else mapping.get(v, v) for v in (x.mask, x.matters))
        return Masked(mask, partial, matters)
    if isinstance(x, Cot):
        return Cot(mapping.get(x.value, x.value), None if x.mask is None else mapping.get(x.mask, x.mask))
    return x


def move_mask(g: Builder, i: int, mask: Value, op: Op) -> Value | None:
    """Return the mask of the cotangent of operand i, given the mask of the result's cotangent; None if it is lost.

    The transpose of an op that moves elements moves masks as well: it runs on an op of the same shapes whose
    floating-point values are bools. A sum of bools is an or.
    """
    derivative = op.primitive.derivative
    if not isinstance(derivative, Linear):
        return None
    if op.primitive.is_elementwise:  # cast, real, conjugate: element to element
        return mask
    if not (derivative.moves or op.name in _MASK_MOVERS):
        return None
    shadow = Op(op.primitive, (), op.attrs, (), (), op.location)
    shadow.operands = [_as_bool(v, shadow) for v in op.operands]
    shadow.results = [_as_bool(v, shadow) for v in op.results]
    start = len(g.block.ops)
    made = derivative.transpose(g, i, mask, shadow)
    ops = g.block.ops[start:]
    del g.block.ops[start:]
    for o in ops:
        if o.name in ("reduce_sum", "addto") and o.result.array.dtype == BOOL.dtype:
            # addto here adds to fresh zeros
            name, operands = ("reduce_or", o.operands) if o.name == "reduce_sum" else ("store", o.operands)
            again = g.emit(name, operands, o.attrs)
        elif o.name == "scatter_add":
            numbers = [g.cast(v, dtype="float64") if k < 2 else v for k, v in enumerate(o.operands)]
            total = g.emit(o.name, numbers, o.attrs).result
            again = g.emit("greater", [total, g.constant(0.0)])
        else:
            g.block.ops.append(o)
            continue
        for later in ops:
            later.operands = [again.result if v is o.result else v for v in later.operands]
        if made is o.result:
            made = again.result
    return made


def mix_mask(g: Builder, i: int, mask: Value, op: Op) -> Value | None:
    """Return the mask of the cotangent of operand i of an op that sums elements: what reaches none of the result used.

    None if nothing is known of the op.
    """
    operand = op.operands[i]
    if op.name == "cumsum":
        assert isinstance(op.primitive.derivative, Linear)
        counts = op.primitive.derivative.transpose(g, i, g.cast(mask, dtype="float64"), op)
        made: Value = g.greater(counts, 0.0)
        return made
    if op.name != "matmul":
        return None
    rank = mask.array.rank
    axis = rank - 1 - i  # rows of the first operand reach rows, columns of the second columns
    used = g.reduce_or(mask, axes=(axis,))
    kept = list(mask.shape)
    kept[axis] = 1
    wide = list(mask.shape)
    wide[axis] = operand.shape[axis - rank]
    return unbroadcast(g, broadcast_to(g, reshape_to(g, used, kept), wide), operand.shape, "reduce_or")


def _as_bool(value: Value, owner: Op) -> Value:
    if not isinstance(value.type, ArrayType) or not value.type.is_float:
        return value
    return Value(value.type.with_dtype(BOOL.dtype), owner, value.index, value.name)


def is_jointly_linear(op: Op) -> bool:
    """Return whether a `Linear` op is linear in its active operands together, as store is, not in each, as matmul is.

    Told from its transpose: that of a product uses the other factor.
    """
    derivative = op.primitive.derivative
    assert isinstance(derivative, Linear)
    scratch = Builder(Block(), op.location)
    operands = [v for v in op.operands if v.type.is_float]
    ct = zeros(scratch, op.result.type)
    for i in range(len(op.operands)) if derivative.operands is None else derivative.operands:
        if op.operands[i].type.is_float:
            derivative.transpose(scratch, i, ct, op)
    return not any(v in operands for o in scratch.block.ops for v in o.operands)
