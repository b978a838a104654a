"""What comparisons decide is kept as bools, not as the numbers that were compared.

In: the code of a derivative's rule, before its values are made available. Where a rule needs numbers of the primal for
nothing but comparisons, as that of `minimum` does, the comparisons are made in the forward program and the bools are
saved, if they are fewer bytes than the numbers. Numbers that the rule needs as well, or that are at hand, cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from jitgrad.graph.diff.frames import Frame
from jitgrad.graph.diff.residuals import Residuals
from jitgrad.graph.diff.tapes import bytes_of
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.types import BOOL, ArrayType

__all__ = ["compare_forwards"]


def compare_forwards(
    residuals: Residuals, frame: Frame, at: Op, ops: list[Op], made: Iterable[Value], primal: dict[Value, Value]
) -> dict[Value, Value]:
    """Make the comparisons of a rule's code in the forward program where that saves bytes.

    Parameters
    ----------
    residuals : Residuals
    frame : Frame
    at : Op
        The op of the primal whose rule it is.
    ops : list of Op
        The rule's code.
    made : iterable of Value
        What it returns.
    primal : dict of Value to Value
        What stands for operands and results of `at` in the code, and the values meant.

    Returns
    -------
    dict of Value to Value
        For bools of the code, the values of the primal that equal them.
    """
    found = set(made)
    if not any(_is_bool(op) for op in ops):
        return {}
    known = _known(ops, primal)
    inner, roots, direct = _split(ops, found, known)
    if not roots:
        return {}
    needed = {primal[v] for op in inner for v in op.operands if v in primal}
    free = _leaves(residuals, frame, {primal[v] for v in direct if v in primal})
    saved = _leaves(residuals, frame, needed) - free
    numbers = sum(bytes_of(v.type, ()) for v in saved)
    if sum(bytes_of(r.type, ()) for r in roots) >= numbers:
        return {}
    mapping = dict(primal)
    with residuals.nest.insert(frame.forward, at, True, at.location) as g:
        for op in ops:
            if op in inner:
                again = g.emit(op.name, [mapping[v] for v in op.operands], op.attrs)
                mapping[op.result] = again.result
    kept = {r: mapping[r] for r in roots}
    residuals.kept.update(kept.values())
    return kept


def _is_bool(op: Op) -> bool:
    return op.primitive.is_elementwise and isinstance(op.result.type, ArrayType) and op.result.type.dtype == BOOL.dtype


def _known(ops: list[Op], primal: dict[Value, Value]) -> set[Op]:
    """Return the ops that compute from values of the primal alone."""
    known: set[Op] = set()
    values = set(primal)
    for op in ops:
        plain = op.name == "constant" or op.primitive.is_elementwise
        if plain and len(op.results) == 1 and all(v in values for v in op.operands):
            known.add(op)
            values.add(op.result)
    return known


def _split(ops: list[Op], made: set[Value], known: set[Op]) -> tuple[set[Op], list[Value], set[Value]]:
    """Return the ops that serve comparisons alone, the bools that others see, and what the others use."""
    outside = set(made)
    inside: set[Value] = set()
    inner: set[Op] = set()
    roots: list[Value] = []
    for op in reversed(ops):
        shared = any(r in outside for r in op.results)
        if op in known and (_is_bool(op) or (not shared and op.result in inside)):
            inner.add(op)
            inside.update(op.operands)
            if shared:
                roots.append(op.result)
        elif op in known and op.name == "constant" and op.result in inside:
            inner.add(op)
        else:
            outside.update(op.operands)
    for root in list(roots):
        # A bool of bools that are kept anyway is computed again from them.
        maker = root.op
        if maker is not None and maker.operands and all(v in roots for v in maker.operands):
            inner.discard(maker)
            roots.remove(root)
    return inner, roots, outside


def _leaves(residuals: Residuals, frame: Frame, values: set[Value]) -> set[Value]:
    """Return what would be saved for the sake of some values."""
    plan = residuals.plan
    found = set()
    for v in values:
        if residuals.at_hand(frame, v) is not None or v in plan.again:
            continue
        leaf = residuals.leaf(frame, v)
        if leaf is not None and leaf not in plan.saved and residuals.at_hand(frame, leaf) is None:
            found.add(leaf)
    return found
