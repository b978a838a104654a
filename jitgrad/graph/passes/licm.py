"""Loop-invariant code motion: what every iteration would compute alike is computed once, before the loop.

In: a graph. Out: the same graph, in which pure ops whose operands come from outside a loop stand before it. A loop may
run no iteration, so moving an op out may cost what the program never asked for (a search that succeeds at once inside a
hot loop). Three classes decide:

cheap      constants, scalar arithmetic and functions, views and fills (`reshape`, `transpose`, `broadcast`, `iota`,
           reads plainly in range), arithmetic on a few elements: some nanoseconds, possible with any operands. They
           always move, out of arms of ifs too if that leads out of a loop.
costly     what touches each element of an array, products, inner loops. They move out of a loop known to run, and out
           of a `for` with a run-time trip count n into `if n > 0`. Never out of an arm, nor out of the body of a
           `while`, whose first test would have to be made twice.
guarded    reads at run-time positions, stores and the like: their index may be in range only because a check before
           them passed. They move out of a loop known to run, if nothing before them in it can raise. (A scalar read is
           no reason for an `if`: LLVM hoists it.)

Ops that may raise, or do input and output, never move, nor do ops that make storage of their own. An op leaves
several loops at once, but only one through an `if n > 0`; the next sweep sees that `if`.
"""

from __future__ import annotations

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.index import Pick, index_of
from jitgrad.graph.passes.rewriting import KEPT_EFFECTS
from jitgrad.graph.primitive import PRIMITIVES
from jitgrad.graph.types import ArrayType, Type

__all__ = ["licm", "licm_integers"]

_CHEAP, _COSTLY, _GUARDED, _PINNED = range(4)
_VIEWS = frozenset({"constant", "reshape", "transpose", "broadcast", "iota"})
_STORAGE = frozenset({"undef", "list_empty", "list_zeros", "list_push", "list_pop", "list_set", "list_addto"})
_GUARDED_OPS = frozenset(
    {"load", "store", "addto", "gather", "scatter", "scatter_add", "list_get", "list_to_array", "list_from_array"}
)
_FEW_ELEMENTS = 16


class _Guard:
    """An `if n > 0` before a loop, which computes what its iterations share."""

    def __init__(self, cond: Value, op: Op) -> None:
        self.op = Op(PRIMITIVES["if"], [cond], {}, [Block(), Block()], [], op.location)
        self.inside: dict[Value, Value] = {}

    def fits(self, op: Op) -> bool:
        """Whether an op may join: what it needs from in here, it needs as operands only."""
        return not op.regions and not any(d in self.inside for r in op.results for d in r.type.run_time)

    def add(self, op: Op) -> None:
        """Take an op in; its results become those of the `if`, so that their uses need no change."""
        then, other = self.op.regions
        op.operands = [self.inside.get(v, v) for v in op.operands]
        g = Builder(other, op.location)
        given = op.results
        op.results = [Value(v.type, op, i) for i, v in enumerate(given)]
        for value, fresh in zip(given, op.results, strict=True):
            value.owner, value.index = self.op, len(self.op.results)
            self.op.results.append(value)
            self.inside[value] = fresh
            then.yields.append(fresh)
            other.yields.append(_nothing(g, value.type))
        then.ops.append(op)


def _nothing(g: Builder, type: Type) -> Value:
    if not isinstance(type, ArrayType):
        return g.list_empty(type=type)
    dims = [d for d in type.shape if not isinstance(d, int)]
    shape = tuple(d if isinstance(d, int) else None for d in type.shape)
    return g.undef(*dims, shape=shape, dtype=type.dtype)


class _Frame:
    """A block on the way.

    Attributes
    ----------
    runs : bool
        Whether the block runs at least once each time its op is reached.
    acts : bool
        Whether something that may raise was met in it so far.
    used : int
        Bit d is set if the block, or what is within, uses a value defined at depth d.
    open, rest : Op or None, list of Block
        The op whose regions are being walked, and those to come.
    inner_used, inner_acts, inner_pinned
        The same as above for the regions of the open op.
    guard : _Guard or None
        The `if n > 0` last put before the op that this block belongs to.
    """

    __slots__ = (
        "acts", "at", "block", "guard", "inner_acts", "inner_pinned", "inner_used", "open", "ops", "owner", "pinned",
        "rest", "runs", "used",
    )  # fmt: skip

    def __init__(self, block: Block, owner: Op | None) -> None:
        self.block = block
        self.ops, block.ops = block.ops, []
        self.owner = owner
        self.at = 0
        self.runs = _runs(block, owner)
        self.acts = self.pinned = self.inner_acts = self.inner_pinned = False
        self.used = self.inner_used = 0
        self.open: Op | None = None
        self.rest: list[Block] = []
        self.guard: _Guard | None = None


def _runs(block: Block, owner: Op | None) -> bool:
    if owner is None or owner.name == "while":
        return owner is None or block is owner.regions[0]
    count = owner.operands[0].op if owner.name == "for" else None
    return count is not None and count.name == "constant" and bool(count.attrs["value"] >= 1)


def licm(graph: Graph) -> bool:
    """Move invariant ops out of loops; linear in the number of ops, times the number of regions they leave."""
    if not any(op.regions for op in graph.ops):
        return False
    return _Motion().run(graph)


def licm_integers(graph: Graph) -> bool:
    """Move cheap arithmetic of integers only, which no derivative depends on."""
    return _Motion(integers_only=True).run(graph)


class _Motion:
    def __init__(self, integers_only: bool = False) -> None:
        self.integers_only = integers_only
        self.depth: dict[Value, int] = {}
        self.frames: list[_Frame] = []
        self.changed = False

    def run(self, graph: Graph) -> bool:
        self.enter(graph, None)
        while self.frames:
            frame = self.frames[-1]
            if frame.open is not None:
                if frame.rest:
                    self.enter(frame.rest.pop(), frame.open)
                    continue
                op, frame.open = frame.open, None
                kind = _PINNED if frame.inner_acts or frame.inner_pinned else _GUARDED
                self.place(op, frame.inner_used, kind)
                frame.acts |= frame.inner_acts
            elif frame.at < len(frame.ops):
                op = frame.ops[frame.at]
                frame.at += 1
                used = self.used_by(op)
                if op.regions:
                    frame.open = op
                    frame.rest = op.regions[::-1]
                    frame.inner_used = used
                    frame.inner_acts = frame.inner_pinned = False
                    continue
                top = len(self.frames) - 1
                if used.bit_length() > top:
                    # Most ops use something of the block that they are in, and stay whatever they are.
                    frame.block.ops.append(op)
                    frame.used |= used
                    for result in op.results:
                        self.depth[result] = top
                else:
                    self.place(op, used, _class_of(op))
                effects = op.primitive.effects
                if effects:
                    frame.acts |= bool(effects & KEPT_EFFECTS)
                    frame.pinned = True
            else:
                self.leave(frame)
        return self.changed

    def enter(self, block: Block, owner: Op | None) -> None:
        frame = _Frame(block, owner)
        at = len(self.frames)
        self.frames.append(frame)
        for arg in block.args:
            self.depth[arg] = at
            for d in arg.type.run_time:
                frame.used |= 1 << self.depth.get(d, at)

    def leave(self, frame: _Frame) -> None:
        for v in frame.block.yields:
            frame.used |= 1 << self.depth.get(v, 0)
        self.frames.pop()
        if self.frames:
            parent = self.frames[-1]
            parent.inner_used |= frame.used & ((1 << len(self.frames)) - 1)
            parent.inner_acts |= frame.acts
            parent.inner_pinned |= frame.pinned

    def used_by(self, op: Op) -> int:
        """Return the depths that an op's operands and types come from, as bits."""
        depth = self.depth
        used = 0
        for v in op.operands:
            used |= 1 << depth.get(v, 0)  # a block may use values of blocks around it
        for result in op.results:
            for d in result.type.run_time:
                used |= 1 << depth.get(d, 0)
        return used

    def place(self, op: Op, used: int, kind: int) -> None:
        """Append an op where it belongs, and note the depth of its results."""
        if self.integers_only and (kind != _CHEAP or any(r.type.is_float for r in op.results)):
            kind = _PINNED
        at = target = len(self.frames) - 1
        lowest = max(used.bit_length() - 1, 0)
        guarded_by: _Frame | None = None
        while at > lowest and kind != _PINNED and guarded_by is None:
            frame = self.frames[at]
            assert frame.owner is not None
            is_loop = frame.owner.name != "if"
            if kind != _CHEAP and ((kind == _GUARDED and frame.acts) or not frame.runs):
                if frame.owner.name != "for" or frame.acts or (kind == _GUARDED and not op.regions):
                    break
                guarded_by = frame
            at -= 1
            if is_loop:
                target = at
        if guarded_by is not None:
            self.put_under_guard(op, guarded_by, target)
        else:
            self.frames[target].block.ops.append(op)
        self.changed |= target < len(self.frames) - 1
        self.frames[target].used |= used
        for result in op.results if guarded_by is None else self.frames[target].block.ops[-1].results:
            self.depth[result] = target

    def put_under_guard(self, op: Op, loop: _Frame, target: int) -> None:
        """Move an op into the `if n > 0` before a loop."""
        block = self.frames[target].block
        guard = loop.guard
        if guard is None or not block.ops or block.ops[-1] is not guard.op or not guard.fits(op):
            assert loop.owner is not None
            count = loop.owner.operands[0]
            g = Builder(block, op.location)
            zero = g.constant(0, np.int64)
            cond = g.greater(count, zero)
            self.depth[zero] = self.depth[cond] = target
            guard = loop.guard = _Guard(cond, op)
            block.ops.append(guard.op)
            self.frames[target].used |= 1 << self.depth[count]
        guard.add(op)


def _class_of(op: Op) -> int:
    name = op.name
    if op.primitive.effects or name in _STORAGE:
        return _PINNED
    if name == "load" and _plainly_in_range(op):
        return _CHEAP
    if name in _GUARDED_OPS:
        return _GUARDED
    if name in _VIEWS or (all(_few(v.type) for v in (*op.results, *op.operands))):
        return _CHEAP
    return _COSTLY


def _few(type: Type) -> bool:
    if not isinstance(type, ArrayType):
        return False
    if not type.shape:
        return True
    size = 1
    for d in type.shape:
        if not isinstance(d, int):
            return False
        size *= d
    return size <= _FEW_ELEMENTS


def _plainly_in_range(op: Op) -> bool:
    for e, d in zip(index_of(op), op.operands[0].shape, strict=True):
        if isinstance(e, Pick):
            if not isinstance(e.at, int) or not isinstance(d, int) or not 0 <= e.at < d:
                return False
        elif not (e.start == 0 and e.step == 1 and (e.length is d or e.length == d)):
            if not all(isinstance(x, int) for x in (*e, d)):
                return False
            last = e.start + e.step * (e.length - 1)  # type: ignore[operator]
            if e.length and not (0 <= e.start < d and 0 <= last < d):  # type: ignore[operator]
                return False
    return True
