"""Forward mode: a block becomes a graph that computes its yields and their tangents side by side.

In: a block and the arguments to differentiate by. Out: a graph of the same IR. Each op is copied and followed by the
code of its tangent; loops and branches carry the tangents of their active values beside the values. Nothing is saved
and nothing runs twice. Tangents that are zero are not built until something must be handed on.
"""

from __future__ import annotations

from collections.abc import Sequence

from jitgrad.errors import error
from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.activity import active_values
from jitgrad.graph.diff.cotangent import Cot, apply_partial
from jitgrad.graph.diff.factors import matters, may_be_steep_where_finite, partials_of
from jitgrad.graph.diff.frames import Step, run
from jitgrad.graph.diff.kinks import is_steep_norm, jvp_norm
from jitgrad.graph.diff.lists import LIST_OPS, jvp_list
from jitgrad.graph.diff.rules import is_jointly_linear
from jitgrad.graph.diff.steep import slopes_of
from jitgrad.graph.ir import Block, Graph, Op, Value, graph_of, substitute_attrs, substitute_type
from jitgrad.graph.ops.shape import broadcast_to, zeros
from jitgrad.graph.passes import prepare
from jitgrad.graph.passes.dce import dce
from jitgrad.graph.primitive import Linear, Masked, NoGradient, Partial, Partials, Rules
from jitgrad.graph.types import ArrayType

__all__ = ["tangent"]

# How many ops behind a root are asked whether they move.
_DEPTH = 6

# Ops that choose among their last two operands.
_CHOICES = frozenset({"fmax", "fmin", "maximum", "minimum", "select"})


def tangent(block: Block, wrt: Sequence[int], *, name: str = "tangent") -> Graph:
    """Return the graph that computes a block's yields and their derivative in a direction.

    Parameters
    ----------
    block : Block
        May use values of blocks around it: those are constants.
    wrt : sequence of int
        Positions of floating-point arguments.
    name : str
        Name of the graph.

    Returns
    -------
    Graph
        Arguments: the block's, then one tangent for each of `wrt`. Yields: the block's, then the tangent of each
        floating-point yield, as zeros where it depends on none of `wrt`.

    Raises
    ------
    DifferentiationError
        JG301 if the derivative passes through an op that has none.
    """
    inputs = [block.args[i] for i in wrt]
    for value in inputs:
        if not value.type.is_float:
            raise error("JG900", what=f"a derivative with respect to {value.type} was asked for")
    if any(map(may_be_steep_where_finite, block.walk())):
        # As in reverse mode: what is read as it was stored is a value, whose factors cancel.
        block, _ = graph_of(block, name)
        prepare(block)
        inputs = [block.args[i] for i in wrt]
    return _Tangent(block, inputs, name).graph


class _Tangent:
    def __init__(self, block: Block, inputs: list[Value], name: str) -> None:
        self.graph = graph = Graph(name)
        self.active = active_values(block, inputs, [y for y in block.yields if y.type.is_float])
        self.steep, _, self.factors = slopes_of(block, inputs, self.active, joint=True)
        self.map: dict[Value, Value] = {}
        self.tangents: dict[Value, Value] = {}  # of values of the source, in the names of the graph
        self.g = Builder(graph)
        for arg in block.args:
            self.map[arg] = graph.add_arg(arg.type, arg.name)
        for arg in graph.args:
            arg.type = substitute_type(arg.type, self.map)
        for v in inputs:
            t = graph.add_arg(self.map[v].type, _hint(v))
            if v in self.active:
                self.tangents[v] = t
        run(self.block(block, graph))
        yields = [self.map.get(y, y) for y in block.yields]
        self.g.block, self.g.location = graph, None
        graph.yields = yields + [self.tangent_of(y) for y in block.yields if y.type.is_float]
        dce(graph)

    def tangent_of(self, value: Value) -> Value:
        """Return the tangent of a value of the source, zeros where it has none."""
        found = self.tangents.get(value)
        if found is not None:
            return found
        mine = self.map.get(value, value)
        return zeros(self.g, mine.type) if isinstance(mine.type, ArrayType) else self.g.list_zeros(mine)

    def block(self, source: Block, target: Block) -> Step:
        """Copy the ops of a block with their tangents."""
        g, mapping = self.g, self.map
        for op in source.ops:
            g.block, g.location = target, op.location
            if op.regions:
                yield self.region(op, target)
                continue
            types = [substitute_type(r.type, mapping) for r in op.results]
            attrs = substitute_attrs(op.attrs, mapping) if op.attrs else op.attrs
            made = Op(op.primitive, [mapping.get(v, v) for v in op.operands], attrs, (), types, op.location)
            target.ops.append(made)
            for old, new in zip(op.results, made.results, strict=True):
                new.name = old.name
                mapping[old] = new
            tangents = [self.tangents.get(v) for v in op.operands]
            if any(t is not None for t in tangents) and any(r in self.active for r in op.results):
                for old, t in zip(op.results, self.op(op, made, tangents), strict=True):
                    if t is not None and old in self.active:
                        self.tangents[old] = t
                        if old.name and not t.name and t.op is not None:
                            t.name = _hint(old)

    def op(self, source: Op, op: Op, tangents: list[Value | None]) -> Sequence[Value | None]:
        """Return the tangents of the results of an op, a copy of `source`, given those of its operands."""
        g, derivative = self.g, op.primitive.derivative
        if op.name in LIST_OPS:
            return [jvp_list(g, op, tangents, op.operands)]
        if isinstance(derivative, Partials):
            return [self.partials(source, op, tangents, derivative)]
        if isinstance(derivative, Linear):
            return [self.linear(source, op, tangents, derivative)]
        if isinstance(derivative, Rules):
            if is_steep_norm(source, self.steep, self.factors.minima.whole) and tangents[0] is not None:
                return [jvp_norm(g, op, tangents[0])]
            return derivative.jvp(g, op, tangents)
        why = derivative.why if isinstance(derivative, NoGradient) else "it declares none"
        raise error("JG301", op.location, op=op.name, why=why)

    def partials(self, source: Op, op: Op, tangents: list[Value | None], derivative: Partials) -> Value | None:
        g, total = self.g, None
        for partial, t in zip(self._partials_of(source, op, derivative), tangents, strict=True):
            if t is None:
                continue
            if isinstance(partial, Value | Masked):
                # The product has the shape of the result if the partial does not; the tangent may be smaller.
                inner = partial.partial if isinstance(partial, Masked) else partial
                if isinstance(partial, Masked) or (isinstance(inner, Value) and inner.shape != op.result.shape):
                    t = broadcast_to(g, t, op.result.shape)
            made = apply_partial(g, Cot(t), partial)
            if made is None:
                continue
            term = made.value
            if total is None:
                total = term
            elif partial is Partial.MINUS_ONE:
                total = g.subtract(total, t)
            else:
                total = g.add(total, term)
        return None if total is None else broadcast_to(g, total, op.result.shape)

    def _partials_of(self, source: Op, op: Op, derivative: Partials) -> list[Value | Masked | Partial]:
        g = self.g
        partials = partials_of(g, derivative, source, op, self.factors)
        moves = self._moves_at(source.operands[0], _DEPTH) if source in self.factors.roots else None
        if moves is not None:
            # What does not move has a tangent of 0, whatever the slope.
            mask, slope = g.logical_or(moves, g.logical_not(g.isfinite(op.result))), partials[0]
            if isinstance(slope, Masked):
                matters = mask if slope.matters is None else g.logical_and(mask, slope.matters)
                partials[0] = Masked(slope.mask, slope.partial, matters)
            else:
                partials[0] = Masked(None, slope, mask)
        return partials

    def _moves_at(self, value: Value, depth: int) -> Value | None:
        """Return where a value moves, not just to first order, as its tangent shows; None if that cannot be told."""
        t, op = self.tangents.get(value), value.op
        if t is None or value in self.factors.affine:
            return self.g.constant(False) if t is None else self.g.not_equal(t, 0.0)
        if op is None or not depth:
            return None
        if op.name == "if":
            condition = self.map.get(op.operands[0], op.operands[0])
            # The tangent of what an arm computes is not to be had here.
            arms = [
                None if region.yields[value.index] in self.tangents else self.g.constant(False) for region in op.regions
            ]
            return self._either_moves((condition, self.g.logical_not(condition)), arms)
        if not op.primitive.is_elementwise:
            return None
        if op.name in _CHOICES:
            return self._chosen_moves(op, depth - 1)
        made = None
        for v in op.operands:
            if v not in self.tangents:
                continue
            moves = self._moves_at(v, depth - 1)
            if moves is None:
                return None
            made = moves if made is None else self.g.logical_or(made, moves)
        return made

    def _chosen_moves(self, op: Op, depth: int) -> Value | None:
        """Return where what is chosen among two moves; where both are equal, whether one of them does."""
        g, (x, y) = self.g, op.operands[-2:]
        a, b, c = (self.map.get(v, v) for v in (x, y, op.operands[0]))
        if op.name == "select":
            chosen = c, g.logical_not(c)
        else:
            larger = op.name in ("fmax", "maximum")
            chosen = (
                (g.greater_equal(a, b), g.greater_equal(b, a)) if larger else (g.less_equal(a, b), g.less_equal(b, a))
            )
        return self._either_moves(chosen, [self._moves_at(v, depth) for v in (x, y)])

    def _either_moves(self, chosen: Sequence[Value], moves: Sequence[Value | None]) -> Value | None:
        """Return where one that is chosen among two moves, or may; None if nothing can be told of either."""
        g = self.g
        if moves[0] is None and moves[1] is None:
            return None
        first, second = (c if m is None else g.logical_and(c, m) for c, m in zip(chosen, moves, strict=True))
        made: Value = g.logical_or(first, second)
        return made

    def linear(self, source: Op, op: Op, tangents: list[Value | None], derivative: Linear) -> Value | None:
        g = self.g
        positions = derivative.operands or tuple(i for i, v in enumerate(op.operands) if v.type.is_float)
        moving = [i for i in positions if tangents[i] is not None]
        if not moving:
            return None
        for i, j in self.factors.unused.get(source, {}).items():
            t = tangents[i]
            if t is not None:
                used = g.logical_or(matters(g, source, op, i, j), g.isfinite(t))
                tangents[i] = g.select(used, t, g.constant(0, t.array.dtype))
        joint = len(positions) == 1 or derivative.moves or is_jointly_linear(op)
        total = None
        for group in [moving] if joint else [[i] for i in moving]:
            operands = list(op.operands)
            for i in positions if joint else group:
                t = tangents[i]
                operands[i] = zeros(g, operands[i].type) if t is None else t
            made = g.emit(op.name, operands, op.attrs).result
            total = made if total is None else g.add(total, made)
        return total

    def region(self, op: Op, target: Block) -> Step:
        """Copy an op with regions; tangents of its active values follow the values."""
        g, mapping = self.g, self.map
        skip = 1 if op.name == "for" else 0
        moving = [i for i, r in enumerate(op.results) if self._moves(op, i, r, skip)]
        operands = [mapping.get(v, v) for v in op.operands]
        if op.name != "if":
            operands += [self.tangent_of(op.operands[skip + i]) for i in moving]
        regions = []
        for k, region in enumerate(op.regions):
            copy = Block()
            for arg in region.args:
                mapping[arg] = copy.add_arg(substitute_type(arg.type, mapping), arg.name)
            if op.name != "if":
                for i in moving:
                    arg = region.args[skip + i]
                    self.tangents[arg] = copy.add_arg(mapping[arg].type, _hint(arg))
            yield self.block(region, copy)
            g.block, g.location = copy, op.location
            copy.yields = [mapping.get(y, y) for y in region.yields]
            if op.name != "while" or k == 1:
                copy.yields += [self.tangent_of(region.yields[i]) for i in moving]
            regions.append(copy)
        g.block, g.location = target, op.location
        made = g.emit(op.name, operands, dict(op.attrs), regions)
        for old, new in zip(op.results, made.results, strict=False):
            new.name = old.name
            mapping[old] = new
        for i, t in zip(moving, made.results[len(op.results) :], strict=True):
            t.name = _hint(op.results[i])
            if op.results[i] in self.active:
                self.tangents[op.results[i]] = t

    def _moves(self, op: Op, i: int, result: Value, skip: int) -> bool:
        if result in self.active:
            return True
        return op.name != "if" and op.regions[-1].args[skip + i] in self.active


def _hint(value: Value) -> str:
    return f"{value.name}.t" if value.name else ""
