"""Which ops run together, and in which order.

In: the blocks of a graph. Out: for each block an ordered list of `Step`s: loop nests with several outputs, single ops,
and for each value whether it is *fused*: computed where it is used, never stored.

The blocks are walked backwards, so that when an op is met all its consumers are placed. A value used by one nest is
fused into it; used by several it is recomputed there if that is cheap, else stored by a nest of its own, which joins
another of the same domain where no path between the two forbids it. Edges also say: every read of a version of an array
before the op that takes over its buffer; checks and visible effects in the user's order; a read at a run-time position
not before the check that guards it. The order is the user's wherever these edges leave a choice.

This room knows no buffer and no LLVM.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jitgrad.backend.addressing import Addressing
from jitgrad.backend.precedence import Precedence
from jitgrad.backend.steps import EXPENSIVE, Step, in_order, reduced_axes, shared_axes
from jitgrad.backend.structure import (
    CONSUMERS,
    OF_ROUTINES,
    SHORT,
    Captures,
    consumed,
    dims_of,
    dynamic,
    extent,
    fusable,
    is_scalar,
    overlaps,
    same_map,
    touches,
)
from jitgrad.backend.wanted import Wanted
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.ops.index import index_of
from jitgrad.graph.passes.rules.context import Context
from jitgrad.graph.passes.rules.places import apart
from jitgrad.graph.passes.rules.ranges import range_of
from jitgrad.graph.passes.survey import surveyed
from jitgrad.graph.types import ArrayType, Dim, ListType

__all__ = ["Schedule"]

MAX_ROOTS = 8  # outputs of one nest: beyond, registers run out
MAX_DEPTH = 48  # chain of fused ops: bounds recursion and the size of a nest
MAX_COPIES = 3  # nests in which a cheap value may be computed again
CHEAP = 6  # ops that may be computed again
LARGE = 2**31 - 1  # a size that may be so large is as good as one of which nothing is known


class Schedule:
    """The plan of a graph.

    Parameters
    ----------
    graph : Graph
    strides : callable
        Strides of an argument of the graph that does not lie in C order; None for any other value.
    visible : set of Op
        Stores into memory that the caller sees.
    written : set of int
        Yields that go back into the memory of an argument.

    Attributes
    ----------
    steps : dict of Block to list of Step
    fused : set of Value
        Values that are never stored.
    views : Addressing
    """

    def __init__(
        self,
        graph: Graph,
        strides: Callable[[Value], Sequence[int | str | None] | None],
        visible: set[Op],
        written: set[int],
    ) -> None:
        self.graph = graph
        self.layout = strides
        self.visible = visible
        self.written = written
        unusual = any(strides(a) is not None for a in graph.args)
        seen = {v for op in visible for v in (*op.results, *(a for region in op.regions for a in region.args))}
        self.views = Addressing(strides, seen if unusual else set())
        self.fused = self.views.fused
        self.captures = Captures(graph)
        self._known: Context | None = None
        self.steps: dict[Block, list[Step]] = {}
        pending: list[Block] = [graph]
        while pending:
            block = pending.pop()
            self.steps[block] = _BlockPlan(self, block).run()
            pending += [r for s in self.steps[block] for op in s.ops for r in op.regions]

    @property
    def known(self) -> Context:
        """What is known of the graph's values."""
        if self._known is None:
            self._known = surveyed(self.graph)
        return self._known

    def most(self, value: Value) -> int | None:
        """Return the largest number that a size or a trip count may be, None if that is not known to be small.

        This saves code: a loop that cannot run long is not cut into chunks (`pacing`), a sum of few terms has no
        cascade (`emit_nest`). Nothing that is right depends on it.
        """
        most = range_of(self.known, value)[1]
        return max(most, 0) if most < LARGE else None

    def apart(self, one: Op, other: Op) -> bool:
        """Whether two ops on one array are known to touch no element in common."""
        return apart(self.known, index_of(one), index_of(other))


class _BlockPlan:
    """Plans one block; see the module docstring."""

    def __init__(self, schedule: Schedule, block: Block) -> None:
        self.schedule = schedule
        self.block = block
        self.end = Step("end", [], key=len(block.ops))
        self.steps: list[Step] = [self.end]
        self.order = Precedence(self.end)
        self.readers: dict[Value, dict[Step, bool]] = {}
        self.consumer: dict[Value, Step] = {}
        self.forced: set[Value] = set()
        self.nests: dict[tuple[Dim, ...], list[Step]] = {}
        self.local = {r for op in block.ops for r in op.results}
        self.depth: dict[Value, int] = {}
        self.bits: dict[Value, int] = {}
        self.reads: dict[Value, int] = {}
        self.op_reads: dict[Op, int] = {}
        self.after: dict[Op, int] = {}
        self.weight: dict[Value, int] = {}
        self.wanted = Wanted()
        self.effect: Step | None = None
        self.guarded: set[Step] = set()

    def run(self) -> list[Step]:
        self._measure()
        top = self.block is self.schedule.graph
        for position, v in enumerate(self.block.yields):
            if is_scalar(v):
                self._read(v, self.end, False)
            elif top and isinstance(v.type, ArrayType) and position not in self.schedule.written:
                # Its own step, so that it can come before a store that takes the buffer over.
                step = self._step("result", [], len(self.block.ops), position=position)
                self.order.edge(step, self.end)
                self.forced.add(v)
                self._read(v, step, False)
            else:
                self.forced.add(v)
                self._read(v, self.end, False)
        for key in range(len(self.block.ops) - 1, -1, -1):
            self._place(self.block.ops[key], key)
        return in_order(self.steps, self.end)

    def _measure(self) -> None:
        """Find how long a chain of fusable ops each value ends, and which versions of arrays it reads and follows."""
        bits = self.bits
        takes: dict[Op, int] = {}
        for op in self.block.ops:
            for v in consumed(op, self.schedule.captures):
                if not is_scalar(v):
                    bits.setdefault(v, 1 << len(bits))
        for op in self.block.ops:
            takes[op] = sum({bits[v] for v in consumed(op, self.schedule.captures) if v in bits})
        for op in self.block.ops:
            inputs = [*op.operands, *self.schedule.captures.of(op)] if op.regions else op.operands
            reads = after = 0
            for v in inputs:
                reads |= self.reads.get(v, 0) | bits.get(v, 0)
                if v.op is not None:
                    after |= self.after.get(v.op, 0)
            self.op_reads[op] = reads
            self.after[op] = after | takes[op]
            if fusable(op):
                for r in op.results:
                    self.reads[r] = reads if not is_scalar(r) else 0
        for op in self.block.ops:
            if not fusable(op) or is_scalar(op.result):
                continue
            depth = 1 + max((self.depth.get(v, 0) for v in op.operands), default=0)
            weight = 1 + sum(self.weight.get(v, 0) for v in op.operands)
            if depth > MAX_DEPTH or weight > 4000:
                self.forced.add(op.result)
                depth, weight = 0, 0
            self.depth[op.result] = depth
            self.weight[op.result] = weight

    # edges

    def _step(self, kind: str, ops: list[Op], key: int, position: int = -1) -> Step:
        step = Step(kind, ops, key=key, position=position)
        self.order.add(step)
        for op in ops:
            step.reads |= self.op_reads[op]
            step.after |= self.after[op]
        self.steps.append(step)
        return step

    def _read(self, value: Value, step: Step, identity: bool) -> None:
        """Note that a step reads a value, directly or through fused ones."""
        if value not in self.local and value in self.schedule.fused and not is_scalar(value):
            # A view that an outer block leaves to its users: what is read is what it views.
            assert value.op is not None
            for operand in value.op.operands:
                self._read(operand, step, False)
            return
        found = self.readers.setdefault(value, {})
        found[step] = found.get(step, True) and identity
        taker = self.consumer.get(value)
        if taker is not None and taker is not step and not self.order.reaches([taker], step):
            self.order.edge(step, taker)

    def _read_all(self, op: Op, step: Step, identity: bool = False) -> None:
        for v in op.operands:
            self._read(v, step, identity and same_map(op, v))
        for v in (*op.operands, *op.results):
            for d in dims_of(v):
                self._read(d, step, False)

    # placing

    def _place(self, op: Op, key: int) -> None:
        effects = op in self.schedule.captures.effects or op in self.schedule.visible
        if not effects and not any(r in self.readers for r in op.results):
            return
        if fusable(op) and not effects:
            if is_scalar(op.result) and op.name != "constant":
                step = self._step("op", [op], key)
                self._link(op, step, key)
                self._read_all(op, step)
                for v in op.operands:
                    self._keep_base(op, v)
                if dynamic(op):
                    self.guarded.add(step)
                return
            if self._stays_fused(op):
                self._fuse(op)
                return
            self._root(op, key)
            return
        if op.name == "constant":
            return
        if reduced_axes(op) is not None:
            self._root(op, key)
            return
        step = self._step("op", [op], key)
        self._link(op, step, key)
        self.wanted.by_step(op, step)
        if effects:
            for guarded in self.guarded:
                self.order.edge(step, guarded)
            if self.effect is not None:
                self.order.edge(step, self.effect)
            self.effect = step
            self.guarded = set()
        if dynamic(op):
            self.guarded.add(step)
        for v in consumed(op, self.schedule.captures):
            self._consume(v, step)
        self._read_all(op, step, identity=False)
        if op.regions:
            for v in self.schedule.captures.of(op):
                if not is_scalar(v) and v in self.local and not (self._lends(v) and self._fits(v, op)):
                    self.forced.add(v)
                self._read(v, step, False)
        for position, v in enumerate(op.operands):
            if self._needs_memory(op, position, v):
                self.forced.add(v)

    def _link(self, op: Op, step: Step, key: int) -> None:
        """Add the edges from an op to what reads its results."""
        for r in op.results:
            for reader in self.readers.get(r, ()):
                if reader is not step:
                    self.order.edge(step, reader)

    def _lends(self, v: Value) -> bool:
        """Whether regions may evaluate a value of this block themselves: views and fills cost nothing."""
        op = v.op
        if op is None or not fusable(op):
            return True
        if op.name in ("broadcast", "constant", "iota"):
            return all(is_scalar(x) for x in op.operands)
        return self.schedule.views.addressing(v)

    def _fits(self, v: Value, op: Op) -> bool:
        """Whether regions use a value only where it need not be memory."""
        if self.schedule.views.addressing(v):
            return True
        inside = (inner for region in op.regions for inner in region.walk())
        return not any(inner.name in ("gather", "sort", "argsort") and inner.operands[0] is v for inner in inside)

    def _keep_base(self, op: Op, v: Value) -> None:
        if op.name == "gather" and v is op.operands[0] and not self.schedule.views.addressing(v):
            self.forced.add(v)

    def _needs_memory(self, op: Op, position: int, v: Value) -> bool:
        if is_scalar(v) or isinstance(v.type, ListType):
            return False
        if op.name in CONSUMERS and position == 0:
            return v in self.local and not self._lends(v)  # in the nest of what else it is made with
        if position in OF_ROUTINES.get(op.name, ()):
            if op.name == "matmul_into" and touches(v, op.operands[0], self.forced):
                return True
            if not self.schedule.views.blas_ready(v):
                return True
            base = self.schedule.views.base(v)
            moves = base.op is not None and fusable(base.op) and not self.schedule.views.addressing(base)
            if moves and base in self.local:
                self.forced.add(base)
            return False
        if op.name == "commit":
            return True
        if op.name in ("argmax", "argmin"):
            length = v.shape[op.attrs["axis"]]
            return not (isinstance(length, int) and length <= SHORT) and not self.schedule.views.addressing(v)
        if op.name in ("sort", "argsort", "call_back"):
            return not self.schedule.views.addressing(v)
        if op.name in ("scatter", "scatter_add") and position > 0:
            return touches(v, op.operands[0], self.forced)
        if op.name in ("store", "addto") and position == 1:
            return overlaps(op, v, self.schedule.apart)
        return False

    def _consume(self, v: Value, step: Step) -> None:
        """Let a step take over the buffer of a value, after all its readers, where that makes no cycle."""
        if v in self.consumer or is_scalar(v):
            return
        later = [r for r in self.readers.get(v, ()) if r is not step]
        if any(self.order.reaches([step], r) for r in later):
            return
        self.consumer[v] = step
        for r in later:
            self.order.edge(r, step)

    # fusing

    def _stays_fused(self, op: Op) -> bool:
        v = op.result
        if v in self.forced:
            return False
        if op.name == "constant" or not op.operands:
            return True
        if op.name == "reshape" and self.schedule.views.is_root_reshape(op):
            return False
        if self.wanted.stored(op, self.weight.get(v, 0)) and not self._lends(v):
            return False
        readers = self.readers[v]
        reads = self.reads.get(v, 0)
        gone = 0  # versions of arrays that are taken over before a reader runs
        for r in readers:
            if reads & r.after:
                gone |= reads & r.after & ~self._own(r)
        if gone and not self._store_smaller(op, gone):
            return False
        for u in op.operands:
            taker = self.consumer.get(u)
            if taker is not None and any(r is not taker and self.order.reaches([taker], r) for r in readers):
                return False
        if self._lends(v):
            return True
        if any(r.kind == "op" and r.ops[0].regions for r in readers):
            return False
        if len(readers) <= 1:
            (reader,) = readers
            # Structured loops may look at an element many times.
            return not (reader.kind == "op" and reader.ops[0].name in ("sort", "argsort"))
        if op.name == "broadcast" or op.name in ("load", "transpose", "reshape"):
            return True
        return op.name not in EXPENSIVE and len(readers) <= MAX_COPIES and self.weight.get(v, 0) <= CHEAP

    def _store_smaller(self, op: Op, gone: int) -> bool:
        """Have smaller values stored through which alone an op reads some versions; return whether there are such.

        Of `a - outer(c, b)` that is c: storing it costs less than storing the product.
        """
        found: list[Value] = []
        stack, seen = [op], {op}
        while stack:
            for u in stack.pop().operands:
                if u in self.forced or u in found or not (self.reads.get(u, 0) | self.bits.get(u, 0)) & gone:
                    continue
                if self.bits.get(u, 0) & gone or u.op is None or u not in self.local:
                    return False
                if extent(u) < extent(op.result) and u.op.primitive.scalar is not None:
                    found.append(u)
                elif u.op not in seen:
                    seen.add(u.op)
                    stack.append(u.op)
        self.forced.update(found)
        return True

    def _own(self, step: Step) -> int:
        """Return the versions that a step itself consumes: reading those is no conflict."""
        mask = 0
        for op in step.ops:
            inherited = 0
            for v in op.operands:
                inherited |= self.after.get(v.op, 0) if v.op is not None else 0
            mask |= self.after[op] & ~inherited
        return mask

    def _fuse(self, op: Op) -> None:
        v = op.result
        self.schedule.fused.add(v)
        self.wanted.by_fused(op)
        moves = dynamic(op)
        for step, identity in list(self.readers[v].items()):
            self._read_all(op, step, identity)
            if moves:
                self.guarded.add(step)
        for u in op.operands:
            self._keep_base(op, u)

    def _root(self, op: Op, key: int) -> None:
        """Place an op that is stored: in a nest that exists, or in one of its own."""
        axes = reduced_axes(op)
        whole = axes is not None or op.name == "reshape"
        domain = op.operands[0].shape if whole else op.result.shape
        step = self._find_nest(op, domain)
        if step is None:
            step = self._step("nest", [op], key)
            step.domain, step.axes = domain, axes
            self.nests.setdefault(domain, []).append(step)
        else:
            step.ops.insert(0, op)
            step.reads |= self.op_reads[op]
            step.after |= self.after[op]
            step.key = min(step.key, key)
        self._link(op, step, key)
        self.wanted.by_step(op, step)
        for v in op.operands:
            straight = v.shape == domain if whole else same_map(op, v)
            self._read(v, step, straight)
            self._keep_base(op, v)
        for v in (*op.operands, *op.results):
            for d in dims_of(v):
                self._read(d, step, False)
        if dynamic(op):
            self.guarded.add(step)

    def _find_nest(self, op: Op, domain: tuple[Dim, ...]) -> Step | None:
        """Return a nest that an op can join, with the axes that it then reduces."""
        readers = self.readers[op.result]
        near = [r for r in readers if r.kind == "nest" and r.domain == domain]
        far = [r for r in self.nests.get(domain, [])[-4:] if r not in near]
        for nest in (*near, *far):
            if len(nest.ops) >= MAX_ROOTS or (op.name == "reshape" and nest.domain != op.result.shape):
                continue
            shared = shared_axes(nest, op)
            if shared is None:
                continue
            if nest in readers and (reduced_axes(op) is not None or op.result.shape != domain or not readers[nest]):
                continue
            if any(r is not nest and self.order.reaches([r], nest) for r in readers):
                continue
            if self.op_reads[op] & nest.after or nest.reads & self.after[op]:
                continue
            takers = [self.consumer[u] for u in op.operands if u in self.consumer]
            if any(self.order.reaches([t], nest) for t in takers):
                continue
            (nest.axes,) = shared
            return nest
        return None
