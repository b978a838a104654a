"""Factors that are 0, against slopes that are infinite.

In: a block, the values to differentiate by and the active ones. Out: the products in which a factor that is 0 makes the
other one unused, so that its cotangent or tangent is an exact zero, which carries a mask (`cotangent.py`), and not
0 * infinity. Only products that an infinite slope meets are named: other programs pay nothing.

A 0 is no proof by itself: sqrt(x) * sqrt(x) has slope 1 at 0, where both factors are 0. It is one where the factor w
moves no faster than its inputs, w(x + h) = O(h), and the other factor s is continuous: w(x + h) s(x + h) is then
w'(x) s(x) h + o(h), so that s adds nothing. So w must not depend on a slope that may be infinite, nor on a jump; s must
be finite. If w depends on none of the arguments that s depends on, w stays 0 as they move, and whatever is made of w s,
also by sqrt, stays what it is. That holds for one argument at a time, which is what reverse mode asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.activity import edges_within, reach
from jitgrad.graph.diff.cancellation import constant_of
from jitgrad.graph.diff.kinks import is_norm
from jitgrad.graph.diff.minima import JUMPS, NO_MINIMA, Minima, is_inside, minima_of
from jitgrad.graph.diff.signs import is_tame
from jitgrad.graph.ir import Block, Op, Value, copy_of
from jitgrad.graph.ops.shape import broadcast_to, reshape_to, unbroadcast
from jitgrad.graph.primitive import Linear, Masked, NoGradient, Partial, Partials

__all__ = ["NO_FACTORS", "Factors", "factors_of", "matters", "may_be_steep_where_finite", "partials_of"]

# Ops that are 0 where an operand is, and by which of the others they are linear (divide: whose slope is 0 there too).
_PRODUCTS: dict[str, dict[int, int]] = {"divide": {1: 0}, "matmul": {0: 1, 1: 0}, "multiply": {0: 1, 1: 0}}


@dataclass(frozen=True)
class Factors:
    """What is known of factors.

    Attributes
    ----------
    unused : dict of Op to dict of int to int
        For operands of products, the operand that makes them unused where it is 0.
    roots : set of Op
        Active ops whose slope may be infinite where they are finite.
    affine : set of Value
        Values that are affine functions of the inputs: their tangent is 0 only where they do not move at all.
    minima : Minima
        Ops whose slope would be infinite where they are at a minimum.
    bare : set of Op
        Lengths of what is infinitely steep: the square of the length of sqrt(x) is x, and has no kink.
    """

    unused: dict[Op, dict[int, int]] = field(default_factory=dict)
    roots: set[Op] = field(default_factory=set)
    affine: set[Value] = field(default_factory=set)
    minima: Minima = NO_MINIMA
    bare: set[Op] = field(default_factory=set)

    def renamed(self, mapping: Mapping[Value, Value]) -> Factors:
        """Return what is known of a copy of a block, given what became of its values."""
        if self is NO_FACTORS:
            return self

        def copies(ops: Iterable[Op]) -> set[Op]:
            return {copy_of(op, mapping) for op in ops}

        return Factors(
            {copy_of(op, mapping): at for op, at in self.unused.items()},
            copies(self.roots),
            {mapping.get(v, v) for v in self.affine},
            Minima(
                {copy_of(op, mapping): at for op, at in self.minima.borders.items()},
                copies(self.minima.whole),
                copies(self.minima.gentle),
            ),
            copies(self.bare),
        )


NO_FACTORS = Factors()


def factors_of(
    block: Block, ops: Sequence[Op], inputs: Sequence[Value], active: set[Value], *, joint: bool = False
) -> Factors:
    """Return what is known of the factors of a block.

    Parameters
    ----------
    block : Block
    ops : sequence of Op
        All that the block walks over.
    inputs : sequence of Value
    active : set of Value
    joint : bool
        Whether all inputs move at once, as in forward mode.
    """
    candidates = [
        op
        for op in ops
        if isinstance(op.primitive.derivative, Partials)
        and op.primitive.derivative.finite is not None
        and may_be_steep_where_finite(op)
        and op.result in active
    ]
    if not candidates:
        return NO_FACTORS
    after, before = edges_within(block)
    edges = _dependences(block)
    moving = reach(edges, inputs)
    minima = minima_of(ops, candidates, edges, moving, active)
    roots, steep = _without_norms([op for op in candidates if op not in minima.whole], after, moving)
    if not roots:
        return Factors(minima=minima)
    moved = (op for op in ops if not (op.regions or moving.isdisjoint(op.operands) or op in minima.gentle))
    rapid = [op for op in moved if _is_rapid(op, moving)]
    rough = reach(edges, [r for op in rapid for r in op.results])
    bends = [r for op in ops if not op.regions and _bends(op, moving) for r in op.results]
    bare = {op for op in ops if op.name == "hypot" and not steep.isdisjoint(op.operands)}
    found = Factors(roots=roots, affine=moving - reach(edges, bends), minima=minima, bare=bare)
    met = steep if joint else steep | reach(before, [v for op in roots for v in op.operands])
    sources = _Sources(edges, inputs, joint)
    for op in ops:
        for i, j in _PRODUCTS.get(op.primitive.name, {}).items():
            x, w = op.operands[i], op.operands[j]
            if x not in met or x not in active or constant_of(w):
                continue
            if (x in steep and w not in rough) or w not in moving or sources.are_apart(x, w):
                found.unused.setdefault(op, {})[i] = j
    return found


class _Sources:
    """On which inputs values depend; found when first asked for."""

    def __init__(self, edges: dict[Value, list[Value]], inputs: Sequence[Value], joint: bool) -> None:
        self._edges = edges
        self._inputs = [] if joint or len(inputs) < 2 else inputs
        self._of: dict[Value, int] | None = None

    def are_apart(self, x: Value, y: Value) -> bool:
        """Return whether no input is behind both of two values."""
        if not self._inputs:
            return False
        if self._of is None:
            self._of = self._found()
        return not self._of.get(x, 0) & self._of.get(y, 0)

    def _found(self) -> dict[Value, int]:
        of = {v: 1 << k for k, v in enumerate(self._inputs)}
        pending = list(self._inputs)
        while pending:
            value = pending.pop()
            bits = of[value]
            for target in self._edges.get(value, ()):
                before = of.get(target, 0)
                if bits & ~before:
                    of[target] = before | bits
                    pending.append(target)
        return of


def _without_norms(ops: list[Op], edges: dict[Value, list[Value]], moving: set[Value]) -> tuple[set[Op], set[Value]]:
    """Return those of some ops that are no norms, norms of what they reach included, and all that they reach."""
    found = {op for op in ops if not is_norm(op, moving)}
    while True:
        reached = reach(edges, [r for op in found for r in op.results])
        more = {op for op in ops if op not in found and op.operands[0] in reached}
        if not more:
            return found, reached
        found |= more


def may_be_steep_where_finite(op: Op) -> bool:
    """Return whether the slope of an op may be infinite where its result is finite."""
    derivative = op.primitive.derivative
    if not isinstance(derivative, Partials) or derivative.finite is None or not derivative.finite(op):
        return False
    return not is_tame(op)


def _is_rapid(op: Op, moving: set[Value]) -> bool:
    """Return whether an op of moving operands may move faster than they do."""
    derivative, name = op.primitive.derivative, op.primitive.name
    if name in JUMPS or isinstance(derivative, NoGradient):
        return True
    if any(not r.type.is_float for r in op.results):
        return any(v in moving and v.type.is_float for v in op.operands)
    if not isinstance(derivative, Partials) or derivative.steep is None:
        return False
    if name == "divide" and op.operands[1] not in moving:
        return False
    if name == "power":
        number = constant_of(op.operands[1])
        if number is not None and (number == 0 or number >= 1):
            return False
    return not is_tame(op)


def _bends(op: Op, moving: set[Value]) -> bool:
    """Return whether an op without regions is not affine in its moving operands."""
    moved = [i for i, v in enumerate(op.operands) if v in moving]
    if not moved:
        return False
    name = op.primitive.name
    if name in ("add", "subtract", "negative") or not op.primitive.is_pure:
        return False
    if name in ("multiply", "matmul"):
        return len(moved) > 1
    if name == "divide":
        return moved != [0]
    if name in ("select", "where_used"):
        return 0 in moved
    derivative = op.primitive.derivative
    if not isinstance(derivative, Linear) or any(not op.operands[i].type.is_float for i in moved):
        return True
    return not all(r.type.is_float for r in op.results)


def _dependences(block: Block) -> dict[Value, list[Value]]:
    """Return, for each value, those that depend on it in any way, by what it decides as well."""
    after: dict[Value, list[Value]] = {}
    for op in block.walk():
        for source, targets in _flows(op):
            after.setdefault(source, []).extend(targets)
    return after


def _flows(op: Op) -> Iterator[tuple[Value, list[Value]]]:
    results = list(op.results)
    if not op.regions:
        for v in op.operands:
            yield v, results
        return
    if op.name == "if":
        yield op.operands[0], results
        for region in op.regions:
            for y, r in zip(region.yields, results, strict=False):
                yield y, [r]
        return
    skip = 1 if op.name == "for" else 0
    if skip:
        yield op.operands[0], results
    else:
        yield op.regions[0].yields[0], [*results, *op.regions[1].args]
    body = op.regions[-1]
    for k, result in enumerate(results):
        into = [region.args[skip + k] for region in op.regions]
        yield op.operands[skip + k], [*into, result]
        yield body.yields[k], [*into, result]


def matters(g: Builder, op: Op, made: Op, i: int, j: int) -> Value:
    """Return where operand i of a product may be used: where operand j is not 0, or the product is no number.

    Parameters
    ----------
    op : Op
        Of the primal.
    made : Op
        The same op as it is called where the code goes.
    """
    factor, other = made.operands[j], made.operands[i]
    used = g.not_equal(factor, 0.0)
    if op.primitive.name == "matmul":
        return _of_matmul(g, used, other, i)
    if op.primitive.name == "divide":
        # Also where 0 is divided by 0, or by no number.
        whole: Value = g.logical_or(used, g.logical_not(g.isfinite(made.result)))
        return whole
    made_mask: Value = g.logical_or(used, g.logical_not(g.isfinite(other)))
    return made_mask


def _of_matmul(g: Builder, used: Value, other: Value, i: int) -> Value:
    """Return the mask of operand i of a matrix product: where the other has anything that meets it."""
    rank = used.array.rank
    axis = rank - 1 - i  # columns of the first operand meet rows of the second
    kept, wide = list(used.shape), list(used.shape)
    kept[axis] = 1
    met = reshape_to(g, g.reduce_or(used, axes=(axis,)), kept)
    if i == 0:
        met = g.transpose(met, permutation=(*range(rank - 2), rank - 1, rank - 2))
        wide[-2:] = other.shape[-2], used.shape[-2]
    else:
        met = g.transpose(met, permutation=(*range(rank - 2), rank - 1, rank - 2))
        wide[-2:] = used.shape[-1], other.shape[-1]
    met = unbroadcast(g, broadcast_to(g, met, wide), other.shape, "reduce_or")
    made: Value = g.logical_or(met, g.logical_not(g.isfinite(other)))
    return made


def partials_of(g: Builder, derivative: Partials, op: Op, made: Op, factors: Factors) -> list[Value | Masked | Partial]:
    """Return the partials of an op.

    Parameters
    ----------
    g : Builder
    derivative : Partials
    op : Op
        Of the primal.
    made : Op
        The same op as it is called where the code goes.
    factors : Factors
        Of the primal.
    """
    partials = list(derivative.rule(g, made.result, *made.operands))
    if op in factors.bare:
        partials = [p.partial if isinstance(p, Masked) else p for p in partials]
    borders = factors.minima.borders.get(op)
    if borders:
        inside, slope = is_inside(g, made, borders), partials[0]
        if isinstance(slope, Masked):
            partials[0] = Masked(g.logical_and(inside, slope.mask), slope.partial)
        else:
            partials[0] = Masked(inside, slope)
    for i, j in factors.unused.get(op, {}).items():
        partial = partials[i]
        assert isinstance(partial, Value)
        partials[i] = Masked(None, partial, matters(g, op, made, i, j))
    return partials
