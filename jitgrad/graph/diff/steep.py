"""Which cotangents need a mask because a program uses only a part of an array.

In: a block and its active values. Out: two sets, and the factors that tell exact zeros from others (`factors.py`). A
value is steep if it was computed from one whose slope may be infinite (`Partials.steep`): a cotangent that is an exact
zero must say so on its way there, lest it be multiplied by infinity. Of the steep ones, those are parted whose
cotangent may be zero in places: what is read in parts, or stored over, or multiplied by what may be 0, and all that
flows there. Both sets are empty for programs without such slopes, which pay nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from jitgrad.graph.diff.activity import edges_within, reach, region_edges
from jitgrad.graph.diff.factors import Factors, factors_of
from jitgrad.graph.diff.signs import is_tame
from jitgrad.graph.ir import Block, Value
from jitgrad.graph.primitive import Partials
from jitgrad.graph.types import ListType

__all__ = ["Slopes", "slopes_of"]

# Ops that use a part of their first operand.
_PARTS = frozenset({"gather", "list_get", "list_pop", "list_set", "load", "scatter", "store"})

# Ops that put a part into their first operand.
_STORES = frozenset({"addto", "list_addto", "list_pop", "list_push", "list_set", "scatter_add", "store"})


class Slopes(NamedTuple):
    """What is known of infinite slopes.

    Attributes
    ----------
    steep, parted : set of Value
    factors : Factors
    """

    steep: set[Value]
    parted: set[Value]
    factors: Factors

    def renamed(self, mapping: Mapping[Value, Value]) -> Slopes:
        """Return what is known of a copy of a block, given what became of its values."""
        steep, parted = ({mapping.get(v, v) for v in values} for values in (self.steep, self.parted))
        return Slopes(steep, parted, self.factors.renamed(mapping))


def slopes_of(block: Block, inputs: Sequence[Value], active: set[Value], *, joint: bool = False) -> Slopes:
    """Return the steep values among the active ones, those of them that are parted, and the factors on the way."""
    ops = list(block.walk())
    factors = factors_of(block, ops, inputs, active, joint=joint)
    roots: list[Value] = []
    parts: list[Value] = []
    nested = False
    for op in ops:
        derivative = op.primitive.derivative
        if isinstance(derivative, Partials):
            if op in factors.roots or (
                derivative.steep is not None
                and op.result in active
                and derivative.steep(op)
                and not is_tame(op)
                and op not in factors.minima.whole
            ):
                roots.append(op.result)
        elif op.regions:
            nested = True
        elif op.primitive.name in _PARTS and op.operands[0] in active:
            parts.append(op.operands[0])
    if not roots or not (parts or nested):
        return Slopes(set(), set(), factors)
    after, before = edges_within(block)
    steep = reach(after, roots) & active
    parts_or_factors = [*parts, *(op.operands[i] for op, at in factors.unused.items() for i in at)]
    used = reach(before, parts_or_factors) & steep
    parted = {v for v in used.intersection((*parts, *_crossing(block))) if _has_parts(v)}
    if parted:
        _close(block, active, parted)
    return Slopes(steep, parted, factors)


def _crossing(block: Block) -> Iterator[Value]:
    """Yield values that are used in a region inside of their own, or that regions hand on."""
    for inner in block.blocks():
        if inner is block:
            continue
        own = {*inner.args, *(r for op in inner.ops for r in op.results)}
        yield from inner.args
        for op in inner.ops:
            yield from (v for v in op.operands if v not in own)
            if op.regions:
                yield from op.results


def _close(block: Block, active: set[Value], parted: set[Value]) -> None:
    """Add what shares a cotangent with a parted value: what loops and branches hand on, what parts are stored to."""
    links: dict[Value, list[Value]] = {}
    for op in block.walk():
        pairs: Iterable[tuple[Value, Value]] = ()
        if op.regions:
            pairs = region_edges(op)
        elif op.primitive.name in _STORES:
            pairs = [(op.operands[0], op.result)]
        for x, y in pairs:
            if x in active or y in active:
                links.setdefault(x, []).append(y)
                links.setdefault(y, []).append(x)
    parted |= reach(links, [v for v in parted if v in links])


def _has_parts(value: Value) -> bool:
    type = value.type
    if isinstance(type, ListType):
        return type.element.dtype.kind == "f"
    return bool(type.shape) and type.dtype.kind == "f"
