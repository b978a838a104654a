"""Arrays that loops read and write by columns are kept turned, so that a column lies in one piece.

A program that walks over the last axis, `x[:, t] = f(x[:, t - 1])`, touches memory at a distance with every element: a
cache line for each number, and no vectors. Such an array is kept in memory with the axes that are picked first, from
its making to its last use: all versions of it, what loops and branches carry, and what is computed from it element by
element. Where something else makes or reads it, it is turned by an op that copies block by block (`relayout`); an array
that something else made is there both ways, and each reader takes the better one.

Turning pays if the accesses that it brings together cost more than the copies: elements are counted, by known trip
counts and sizes, and by a guess where they are known at run time only.

In: a graph in its final form but for this. Out: the same graph. Sums over all elements of a turned array are taken in
its order, so that their last digits may change. An array whose stores the caller sees stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.index import Entry, Pick, Span, index_of, split_index
from jitgrad.graph.passes.rewriting import blocks_within
from jitgrad.graph.types import INT64, ArrayType, Dim

__all__ = ["turn_arrays"]

# What it costs to touch an element: in a row, at a distance; to copy one to its turned place.
_NEAR, _FAR, _COPIED = 1.0, 5.0, 2.5
# The guess of a size or a trip count.
_UNKNOWN = 64
# Elements of the smallest array, and of the smallest gain, that are worth the code.
_LEAST = 256

_ACCESSES = frozenset({"load", "store", "addto"})


class _Use(NamedTuple):
    """An operand of an op, or a yield of the graph (`op` None), that wants the array as it was."""

    value: Value
    op: Op | None
    position: int
    times: float


class _Access(NamedTuple):
    """A load or store of a part, how often it runs, and which ints change with the innermost loop."""

    op: Op
    times: float
    moving: frozenset[Value]


@dataclass(eq=False)
class _Web:
    """Values that share a layout."""

    members: list[Value] = field(default_factory=list)
    accesses: list[_Access] = field(default_factory=list)
    uses: list[_Use] = field(default_factory=list)
    made: dict[Value, float] = field(default_factory=dict)  # made by something else, and how often
    fixed: bool = False


def turn_arrays(graph: Graph) -> bool:
    """Turn the arrays for which it pays."""
    if not any(op.name == "for" or op.name == "while" for op in graph.ops):
        return False
    beside = _Beside()
    turns = [_Turn(graph, web, k, beside) for web in _Survey(graph).webs() if (k := _best_split(web))]
    # First what other webs see of each, so that each finds the operands of its accesses as they will be.
    for turn in turns:
        turn.begin()
    for turn in turns:
        turn.finish()
    if turns:
        beside.place(graph)
    return bool(turns)


# --- which values share a layout


def _is_matrix(value: Value) -> bool:
    return isinstance(value.type, ArrayType) and value.type.rank > 1


class _Survey:
    """Finds the webs of a graph by joining values that must have one layout."""

    def __init__(self, graph: Graph) -> None:
        self.parent: dict[Value, Value] = {}
        self.accesses: list[tuple[Value, _Access]] = []
        self.uses: list[_Use] = []
        self.made: dict[Value, float] = {}
        self.fixed: list[Value] = []
        for arg in graph.args:
            self.made[arg] = 1.0
        self._block(graph, 1.0, frozenset())
        for k, v in enumerate(graph.yields):
            if _is_matrix(v):
                self.uses.append(_Use(v, None, k, 1.0))

    def webs(self) -> list[_Web]:
        """Return the webs in which parts of arrays are touched in loops, in the order of the program."""
        found: dict[Value, _Web] = {}
        for v, access in self.accesses:
            found.setdefault(self._root(v), _Web()).accesses.append(access)
        for v in list(self.parent):
            if (web := found.get(self._root(v))) is not None:
                web.members.append(v)
                if v in self.made:
                    web.made[v] = self.made[v]
        for use in self.uses:
            if (web := found.get(self._root(use.value))) is not None:
                web.uses.append(use)
        for v in self.fixed:
            if (web := found.get(self._root(v))) is not None:
                web.fixed = True
        return list(found.values())

    def _root(self, v: Value) -> Value:
        at = self.parent.setdefault(v, v)
        while at is not self.parent[at]:
            self.parent[at] = at = self.parent[self.parent[at]]
        return at

    def _join(self, x: Value, y: Value) -> None:
        self.parent[self._root(x)] = self._root(y)

    def _block(self, block: Block, times: float, moving: frozenset[Value]) -> None:
        moves = set(moving)
        for op in block.ops:
            if op.regions:
                self._regions(op, times, moves)
            else:
                self._op(op, times, moves)

    def _regions(self, op: Op, times: float, moving: set[Value]) -> None:
        skip = 1 if op.name == "for" else 0
        for region in op.regions:
            if op.name == "if":
                self._block(region, times, frozenset(moving))
            else:
                index = frozenset(region.args[:1]) if op.name == "for" else frozenset(region.args)
                self._block(region, times * _trips(op), index)
        for k, result in enumerate(op.results):
            if not _is_matrix(result):
                continue
            ends = [region.yields[k] for region in op.regions] if op.name == "if" else [op.regions[-1].yields[k]]
            if op.name != "if":
                ends += [op.operands[k + skip], *(region.args[k + skip] for region in op.regions)]
            for v in ends:
                self._join(v, result)

    def _op(self, op: Op, times: float, moving: set[Value]) -> None:
        if len(op.results) == 1 and op.results[0].type == INT64 and not moving.isdisjoint(op.operands):
            moving.add(op.results[0])
        matrices = [k for k, v in enumerate(op.operands) if _is_matrix(v)]
        if op.name in _ACCESSES and matrices[:1] == [0]:
            base = op.operands[0]
            self.accesses.append((base, _Access(op, times, frozenset(moving))))
            if op.name != "load":
                self._join(base, op.result)
                if op.attrs.get("visible"):
                    self.fixed.append(base)
            elif _is_matrix(op.result):
                self.made[op.result] = times
            matrices = matrices[1:]
        elif _is_neutral(op):
            for k in matrices:
                self._join(op.operands[k], op.results[0] if _is_matrix(op.results[0]) else op.operands[matrices[0]])
            return
        else:
            self.made.update((r, times) for r in op.results if _is_matrix(r))
        self.uses += [_Use(op.operands[k], op, k, times) for k in matrices]


def _trips(op: Op) -> float:
    count = op.operands[0].op if op.name == "for" else None
    return float(max(int(count.attrs["value"]), 1)) if count is not None and count.name == "constant" else _UNKNOWN


def _is_neutral(op: Op) -> bool:
    """Whether an op does the same to the elements of its operands wherever these lie, but for the order of a sum."""
    if op.name == "undef":
        return True
    if op.name == "broadcast":
        return not op.operands[0].shape
    if op.name == "constant":
        return True
    if op.primitive.scalar is not None:
        return all(not v.shape or v.shape == op.result.shape for v in op.operands)
    return op.name.startswith("reduce_") and len(op.attrs["axes"]) == op.operands[0].array.rank


# --- whether it pays


def _best_split(web: _Web) -> int:
    """Return before which axis to split the shape of a web's arrays, to put the second part first; 0 for not at all."""
    if web.fixed:
        return 0
    size = _size(web.members[0].shape)
    if size < _LEAST:
        return 0
    best, gain = 0, float(_LEAST)
    for split in {k for access in web.accesses for k in _splits(access)}:
        copies = sum(web.made.values()) * size * _COPIED
        copies += sum(
            u.times * size * (_COPIED if u.op is None else _FAR - _NEAR) for u in web.uses if u.value not in web.made
        )
        saved = sum(_cost(a, 0) - _least_cost(a, split, web) for a in web.accesses) - copies
        if saved > gain:
            best, gain = split, saved
    return best


def _least_cost(access: _Access, split: int, web: _Web) -> float:
    turned = _cost(access, split)
    return min(turned, _cost(access, 0)) if access.op.operands[0] in web.made else turned


def _splits(access: _Access) -> Iterator[int]:
    """Yield where the shape may be split so that what an access touches comes to lie together."""
    index = index_of(access.op)
    spans = [k for k, e in enumerate(index) if isinstance(e, Span)]
    if not spans:
        spans = [k for k, e in enumerate(index) if isinstance(e, Pick) and e.at in access.moving]
    if spans and spans[-1] < len(index) - 1:
        yield spans[-1] + 1


def _cost(access: _Access, split: int) -> float:
    """Return what an access to an array with its shape split costs.

    A part that has axes on both sides of the split meets arrays that lie the other way.
    """
    index = index_of(access.op)
    mixed = any(isinstance(e, Span) for e in index[:split]) and any(isinstance(e, Span) for e in index[split:])
    turned = index[split:] + index[:split]
    spans = [e for e in index if isinstance(e, Span)]
    last = turned[-1]
    near = (isinstance(last, Span) and not mixed) or (not spans and _stays_near(turned, access.moving))
    count = _size([e.length for e in spans])  # type: ignore[misc]
    return access.times * count * (_NEAR if near else _FAR)


def _stays_near(index: Sequence[Entry], moving: frozenset[Value]) -> bool:
    """Whether the elements that a loop touches one after another lie in a row, or are one and the same."""
    moved = [isinstance(e, Pick) and e.at in moving for e in index]
    return moved[-1] or not any(moved)


def _size(shape: Sequence[Dim]) -> float:
    return math.prod(d if isinstance(d, int) else _UNKNOWN for d in shape)


# --- turning


class _Beside:
    """New ops that belong beside others: they are put there at the end, when nothing looks at blocks any more."""

    def __init__(self) -> None:
        self.before: dict[Op, list[Op]] = {}
        self.after: dict[Op | Block, list[Op]] = {}

    def place(self, graph: Graph) -> None:
        """Put the new ops where they belong."""
        for block in blocks_within(graph):
            if block in self.after or any(op in self.before or op in self.after for op in block.ops):
                first = self.after.get(block, ())
                rest = (o for op in block.ops for o in (*self.before.get(op, ()), op, *self.after.get(op, ())))
                block.ops = [*first, *rest]


class _Turn:
    """The rewriting of one web.

    Parameters
    ----------
    graph : Graph
    web : _Web
    split : int
        The axes from here on come first.
    beside : _Beside
    """

    def __init__(self, graph: Graph, web: _Web, split: int, beside: _Beside) -> None:
        self.graph = graph
        self.web = web
        self.split = split
        self.beside = beside
        self.rank = web.members[0].array.rank
        self.turned: dict[Value, Value] = {}

    def begin(self) -> None:
        """Turn the values, and let those who want them as they were look at them so."""
        for v in self.web.members:
            if v in self.web.made:
                self._copy(v)
            else:
                self._retype(v)
                self.turned[v] = v
        for use in self.web.uses:
            if use.op is not None and use.value not in self.web.made:
                use.op.operands[use.position] = self._as_it_was(use.value, use.op)

    def finish(self) -> None:
        """Rewrite all that takes the turned values."""
        accesses = {a.op: a for a in self.web.accesses}
        elsewhere = {(u.op, u.position) for u in self.web.uses}
        for block in blocks_within(self.graph):
            for op in block.ops:
                if op in accesses:
                    self._access(accesses[op])
                else:
                    for k, v in enumerate(op.operands):
                        if v in self.turned and (op, k) not in elsewhere:
                            op.operands[k] = self.turned[v]
            if block is not self.graph:
                block.yields = [self.turned.get(v, v) for v in block.yields]
        for use in self.web.uses:
            if use.op is None and use.value not in self.web.made:
                back = Builder(self.graph).relayout(use.value, split=self.rank - self.split)
                self.graph.yields[use.position] = back

    def _rotated(self, entries: Sequence[Entry]) -> tuple[Entry, ...]:
        return (*entries[self.split :], *entries[: self.split])

    def _copy(self, v: Value) -> None:
        """Make the turned copy of a value that something else makes."""
        made = Block()
        g = Builder(made, v.op.location if v.op is not None else None)
        self.turned[v] = g.relayout(v, split=self.split)
        self.beside.after.setdefault(v.owner, []).extend(made.ops)

    def _retype(self, v: Value) -> None:
        """Let a value have the turned shape, and the op that makes it out of nothing make that."""
        shape = v.shape
        turned = (*shape[self.split :], *shape[: self.split])
        v.type = v.array.with_shape(turned)
        op = v.op
        if op is None:
            return
        if op.name in ("undef", "broadcast"):
            first = 0 if op.name == "undef" else 1
            op.attrs = {**op.attrs, "shape": tuple(d if isinstance(d, int) else None for d in turned)}
            op.operands[first:] = [d for d in turned if not isinstance(d, int)]
        elif op.name == "constant":
            axes = (*range(self.split, self.rank), *range(self.split))
            op.attrs = {**op.attrs, "value": np.ascontiguousarray(np.transpose(op.attrs["value"], axes))}

    def _access(self, access: _Access) -> None:
        """Let a load or store name the same part of the turned array."""
        op = access.op
        base = op.operands[0]
        if base in self.web.made and op.name == "load" and _cost(access, 0) <= _cost(access, self.split):
            return
        index = index_of(op)
        attr, ints = split_index(self._rotated(index))
        front = sum(isinstance(e, Span) for e in index[: self.split])
        back = sum(isinstance(e, Span) for e in index[self.split :])
        mixed = front and back
        if op.name == "load":
            op.operands = [self.turned[base], *ints]
            if mixed:
                self._turn_back(op, front, back)
        else:
            value = op.operands[1]
            if mixed:
                g = Builder(Block(), op.location)
                value = g.transpose(value, permutation=(*range(front, front + back), *range(front)))
                self.beside.before.setdefault(op, []).extend(g.block.ops)
            op.operands = [self.turned[base], value, *ints]
        op.attrs = {**op.attrs, "index": attr}

    def _as_it_was(self, v: Value, user: Op) -> Value:
        """Return a turned value with its axes in the program's order, for one user: a way to look at it, no copy."""
        g = Builder(Block(), user.location)
        back = self.rank - self.split
        made: Value = g.transpose(v, permutation=(*range(back, self.rank), *range(back)))
        self.beside.before.setdefault(user, []).extend(g.block.ops)
        return made

    def _turn_back(self, op: Op, front: int, back: int) -> None:
        """Give the part that an op loads its axes in the program's order."""
        old = op.result
        shape = (*old.shape[front:], *old.shape[:front])
        part = Value(old.array.with_shape(shape), op, 0)
        op.results = [part]
        g = Builder(Block(), op.location)
        seen = g.transpose(part, permutation=(*range(back, front + back), *range(back)))
        assert seen.op is not None
        seen.op.results = [old]
        old.owner = seen.op
        # Before a turned copy of the part, if there is one.
        self.beside.after[op] = [*g.block.ops, *self.beside.after.get(op, ())]
