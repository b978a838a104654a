"""Small arrays become scalars: the state of an oscillator, a point in space.

    s = np.array([x, y, z]); v = s + dt * rhs(s)

An array of up to four elements whose places are all known numbers lives in registers, element by element, where loops
make or carry it. Nothing is loaded or stored then, and what is saved for the way back is chosen element by element.
(Outside of loops that would only make code longer.)

In: a graph. Out: the same graph, which computes the same bits. Only arrays with which nothing else is done than
arithmetic on elements and moving them; those that come from memory are read, those that go there are written, element
by element. Stores that the caller sees are left alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.index import Entry, Pick, Span, index_of, load, split_index
from jitgrad.graph.passes.rewriting import Replacements, blocks_within
from jitgrad.graph.primitive import PRIMITIVES
from jitgrad.graph.types import ArrayType, Dim

__all__ = ["small_arrays_to_scalars"]

_ELEMENTS = 4
_DEPTH = 40
# Elements of the result are elements of the operands.
_MOVES = frozenset({"broadcast", "concatenate", "reshape", "transpose"})


def small_arrays_to_scalars(graph: Graph) -> bool:
    """Replace small arrays by their elements where that is possible everywhere."""
    found = _Candidates(graph)
    if not found.values:
        return False
    _Split(found).graph(graph)
    return True


def _is_small(value: Value) -> bool:
    type = value.type
    if not isinstance(type, ArrayType) or not type.shape or not type.is_static:
        return False
    return 1 <= math.prod(type.shape) <= _ELEMENTS  # type: ignore[arg-type]


def _is_known(op: Op) -> bool:
    """Whether a load, store or addto names known places."""
    return len(op.operands) == (1 if op.name == "load" else 2)


class _Candidates:
    """Small arrays that can be replaced: the largest set that is closed.

    Attributes
    ----------
    values : set of Value
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.values: set[Value] = set()
        self.uses: dict[Value, list[tuple[Op, int]]] = {}
        linked: list[list[Value]] = []
        blocks: list[tuple[Block, int]] = [(graph, 0)]
        self.deep = False
        bodies: set[Block] = set()
        for block, depth in blocks:
            self.deep |= depth > _DEPTH
            for op in block.ops:
                for k, v in enumerate(op.operands):
                    self.uses.setdefault(v, []).append((op, k))
                self.values.update(filter(_is_small, op.results))
                skip = 1 if op.name == "for" else 0
                for region in op.regions:
                    blocks.append((region, depth + 1))
                    split = region is op.regions[-1] or op.name == "if"
                    for k, v in enumerate(region.yields if split else ()):
                        # A yield is spread where its result is.
                        self.uses.setdefault(v, []).append((op, -1 - k))
                    self.values.update(filter(_is_small, region.args))
                    if op.name != "if":
                        bodies.add(region)
                if op.regions and op.name != "if":
                    linked += [[r, *(b.args[k + skip] for b in op.regions)] for k, r in enumerate(op.results)]
        if self.deep or not bodies:
            self.values = set()
        self._seen = self._callers()
        self._close(linked)
        self._keep_loops(linked, {b for body in bodies for b in blocks_within(body)})

    def _keep_loops(self, linked: list[list[Value]], inside: set[Block]) -> None:
        """Forget those that have nothing to do with values of a loop."""
        near = {v: group for group in linked for v in group}
        homes = {r: b for b in inside for op in b.ops for r in op.results} | {a: b for b in inside for a in b.args}
        pending = [v for v in self.values if v in homes]
        kept: set[Value] = set()
        while pending:
            v = pending.pop()
            if v in self.values and v not in kept:
                kept.add(v)
                pending += [*self._around(v), *near.get(v, ())]
        self.values = kept

    def _close(self, linked: list[list[Value]]) -> None:
        groups = {v: group for group in linked for v in group}
        pending = list(self.values)
        while pending:
            v = pending.pop()
            if v not in self.values or self._fits(v):
                continue
            # Whatever a loop calls it, and what it is made to or made from in place, stays an array too.
            for w in groups.get(v, [v]):
                self.values.discard(w)
                pending += self._around(w)

    def _callers(self) -> set[Value]:
        """Return the versions of the caller's arrays from the stores on that the caller sees.

        Were one of them read element by element, nothing would need the stores.
        """
        found: set[Value] = set()
        pending = [v for v in self.uses if v.op is not None and v.op.attrs.get("visible")]
        while pending:
            v = pending.pop()
            if v in found:
                continue
            found.add(v)
            for op, k in self.uses.get(v, ()):
                if op.regions:
                    position = -1 - k if k < 0 else k - (op.name == "for")
                    pending += [r for r in op.results[position : position + 1] if position >= 0]
                    if op.name != "if" and position >= 0:
                        pending += [b.args[position + (op.name == "for")] for b in op.regions]
                elif op.name in ("store", "addto") and k == 0:
                    pending.append(op.result)
        return found

    def _around(self, v: Value) -> list[Value]:
        near = list(v.op.operands) if v.op is not None else []
        for op, _ in self.uses.get(v, ()):
            near += op.results
        for block in v.op.regions if v.op is not None else ():
            near += block.yields
        return [w for w in near if w in self.values]

    def _fits(self, v: Value) -> bool:
        op = v.op
        if v in self._seen or (op is not None and not op.regions and not self._makes(op)):
            return False
        return all(self._takes(user, k) for user, k in self.uses.get(v, ()))

    def _makes(self, op: Op) -> bool:
        """Whether the elements of an op's result can be had one by one."""
        if op.name in ("store", "addto"):
            return _is_known(op) and op.operands[0] in self.values and not op.attrs.get("visible")
        if op.name in ("load", "constant", "undef"):
            return op.name != "load" or not _is_small(op.operands[0]) or _is_known(op)
        return (op.name in _MOVES or op.primitive.is_elementwise) and all(
            not v.shape or _is_small(v) for v in op.operands
        )

    def _takes(self, op: Op, k: int) -> bool:
        """Whether an op can do with the elements of an operand."""
        if op.regions:
            position = -1 - k if k < 0 else k - (op.name == "for")
            return op.results[position] in self.values
        if op.name == "load":
            return k == 0 and _is_known(op) and (not op.result.shape or op.result in self.values)
        if op.name in ("store", "addto"):
            # What is written into an array in memory is written element by element; asking here whether it is one would
            # make the set hang on the order in which it is found.
            return k == 1 or (k == 0 and op.result in self.values)
        if op.name == "reduce_sum":
            return not op.result.shape
        if op.name == "reshape" and not op.result.shape:
            return True
        # What has no result, as `commit`, looks at memory.
        return len(op.results) == 1 and op.result in self.values and (op.name in _MOVES or op.primitive.is_elementwise)


class _Split:
    def __init__(self, found: _Candidates) -> None:
        self.chosen = found.values
        self.elements: dict[Value, list[Value]] = {}
        self.replaced = Replacements()
        self.g = Builder(found.graph)

    def graph(self, graph: Graph) -> None:
        """Rewrite a graph."""
        self.block(graph)
        self.g.block, self.g.location = graph, None
        graph.yields = [self.whole(y) if y in self.chosen else y for y in self.replaced.in_values(graph.yields)]

    def block(self, block: Block) -> None:
        ops, block.ops = block.ops, []
        for op in ops:
            self.g.block, self.g.location = block, op.location
            self.replaced.in_op(op)
            if op.regions:
                self.region(op, block)
            else:
                self.op(op, block)

    # --- elements

    def of(self, value: Value) -> list[Value]:
        """Return the elements of a value, in C order; those of an array in memory are read here."""
        if value in self.elements:
            return self.elements[value]
        if not value.shape:
            return [value]
        return [load(self.g, value, [Pick(int(i)) for i in at]) for at in np.ndindex(*_shape(value))]

    def whole(self, value: Value) -> Value:
        """Return the array again."""
        g = self.g
        parts = [g.reshape(e, shape=(1,)) for e in self.elements[value]]
        flat = g.concatenate(*parts, axis=0) if len(parts) > 1 else parts[0]
        return flat if value.shape == flat.shape else g.reshape(flat, shape=value.shape)

    def op(self, op: Op, block: Block) -> None:
        """Rewrite an op without regions."""
        g = self.g
        if op.results and op.results[0] in self.chosen:
            self.elements[op.result] = self.made(op)
        elif op.name in ("store", "addto") and op.operands[1] in self.chosen:
            self.replaced.add(op.result, self.written(op))
        elif op.name in ("load", "reshape", "reduce_sum") and op.operands[0] in self.chosen:
            elements = self.of(op.operands[0])
            if op.name == "reduce_sum":
                total = elements[0]
                if total.type.is_float:
                    total = g.add(total, g.constant(0.0, total.array.dtype))  # a sum of -0.0 is 0.0
                for e in elements[1:]:
                    total = g.add(total, e)
                self.replaced.add(op.result, total)
            else:
                (k,) = self.numbered(op, [op.operands[0]]).ravel()
                self.replaced.add(op.result, elements[k])
        else:
            block.ops.append(op)

    def numbered(self, op: Op, operands: Sequence[Value]) -> np.ndarray:
        """Return which elements of its operands, counted through, an op that only moves them gives."""
        given, first = [], 0
        for v in operands:
            size = _size(v)
            given.append(np.arange(first, first + size).reshape(_shape(v)))
            first += size
        assert op.primitive.evaluate is not None
        return np.asarray(op.primitive.evaluate(op.attrs, *given))

    def made(self, op: Op) -> list[Value]:
        """Return the elements of the result of an op."""
        g = self.g
        type = op.result.array
        if op.name == "constant":
            return [g.constant(x, type.dtype) for x in op.attrs["value"].ravel()]
        if op.name == "undef":
            return [g.constant(0, type.dtype)] * _size(op.result)
        if op.name == "load" and op.operands[0] not in self.chosen:
            return [load(g, op.operands[0], place) for place in self.places(op)]
        elements = [e for v in op.operands for e in self.of(v)]
        if op.name == "addto":
            before = self.of(op.operands[0])
            changed = list(before)
            added = self.of(op.operands[1])
            base = np.arange(len(before)).reshape(_shape(op.operands[0]))
            where = PRIMITIVES["load"].evaluate({"index": op.attrs["index"]}, base)  # type: ignore[misc]
            for k, e in zip(np.asarray(where).ravel(), added, strict=True):
                changed[k] = g.add(changed[k], e)
            return changed
        if op.name in (*_MOVES, "load", "store"):
            return [elements[k] for k in self.numbered(op, op.operands).ravel()]
        return self.applied(op, type)

    def applied(self, op: Op, type: ArrayType) -> list[Value]:
        """Return what an elementwise op gives for each element."""
        columns = []
        for v in op.operands:
            numbers = np.arange(_size(v)).reshape(_shape(v))
            elements = self.of(v)
            columns.append([elements[k] for k in np.broadcast_to(numbers, _shape(op.result)).ravel()])
        made = []
        for operands in zip(*columns, strict=True):
            new = Op(op.primitive, operands, op.attrs, (), [ArrayType(type.dtype)], op.location)
            self.g.block.ops.append(new)
            made.append(new.result)
        return made

    def places(self, op: Op) -> list[list[Entry]]:
        """Return the place of each element of the part that a load, store or addto names."""
        index = index_of(op)
        lengths = [1 if isinstance(e, Pick) else e.length for e in index]
        found = []
        for at in np.ndindex(*lengths):  # type: ignore[arg-type]
            place: list[Entry] = []
            for e, k in zip(index, at, strict=True):
                place.append(e if isinstance(e, Pick) else Pick(self.position(e, k)))
            found.append(place)
        return found

    def position(self, e: Span, k: int) -> Dim:
        """Return the position of the k-th element of a span, whose start and step may be known only at run time."""
        if isinstance(e.step, int):
            offset: Dim = e.step * k
        else:
            offset = self.g.multiply(e.step, k) if k else 0
        if isinstance(offset, int) and isinstance(e.start, int):
            return e.start + offset
        assert e.start is not None
        if isinstance(offset, int) and not offset:
            return e.start
        made: Value = self.g.add(e.start, offset)
        return made

    def written(self, op: Op) -> Value:
        """Return an array in memory with elements written into it, or added."""
        total = op.operands[0]
        keep = {k: v for k, v in op.attrs.items() if k != "index"}
        for place, e in zip(self.places(op), self.of(op.operands[1]), strict=True):
            attr, ints = split_index(place)
            total = self.g.emit(op.name, [total, e, *ints], {"index": attr} | keep).result
        return total

    # --- regions

    def region(self, op: Op, block: Block) -> None:
        skip = 1 if op.name == "for" else 0
        for region in op.regions:
            self.replaced.in_block(region)
        if op.name != "if":
            op.operands[skip:] = self.spread(op.operands[skip:], [r in self.chosen for r in op.results])
            for region in op.regions:
                self.split_args(region, skip)
        split = [r in self.chosen for r in op.results]
        for k, region in enumerate(op.regions):
            self.block(region)
            self.g.block, self.g.location = region, op.location
            region.yields = self.replaced.in_values(region.yields)
            if not (op.name == "while" and k == 0):
                region.yields = self.spread(region.yields, split)
        self.g.block = block
        results, op.results = op.results, []
        for r, is_split in zip(results, split, strict=True):
            if not is_split:
                r.index = len(op.results)
                op.results.append(r)
                continue
            parts = [Value(ArrayType(r.array.dtype), op, len(op.results) + k, r.name) for k in range(_size(r))]
            op.results += parts
            self.elements[r] = parts
        block.ops.append(op)

    def spread(self, values: list[Value], split: list[bool]) -> list[Value]:
        return [e for v, s in zip(values, split, strict=True) for e in (self.of(v) if s else [v])]

    def split_args(self, region: Block, skip: int) -> None:
        args, region.args = region.args, []
        for k, arg in enumerate(args):
            if k < skip or arg not in self.chosen:
                arg.index = len(region.args)
                region.args.append(arg)
                continue
            type = ArrayType(arg.array.dtype)
            self.elements[arg] = [region.add_arg(type, arg.name) for _ in range(_size(arg))]


def _shape(value: Value) -> tuple[int, ...]:
    assert value.array.is_static
    return tuple(int(d) for d in value.shape)  # type: ignore[arg-type]


def _size(value: Value) -> int:
    return math.prod(_shape(value))
