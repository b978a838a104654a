"""Which buffer each value lives in.

In: a scheduled graph. Out: a `Buffer` for every array and list that is stored, which ops write in place and which must
copy first, how the pointers of loop-carried arrays move, and the arena that all temporaries share.

The model is one-shot bufferisation with last uses: an op takes over the buffer of the array that it changes when that
memory may be written and no value in it is read later. A carried array keeps its buffer when the body hands it on
changed in place; when the body hands on another carried one, or an array that it makes afresh, pointers are exchanged
and nothing is copied. A nest writes what it makes over an array that it reads element by element, if nobody reads that
later: what a loop works with stays in the nearest cache. Reads come before the op that takes a buffer over because the
schedule has put them there.

This room knows no LLVM and no loop nest.
"""

from __future__ import annotations

from collections.abc import Sequence

from jitgrad.backend.buffers import Buffer, LoopPlan, Plan, Slot, allocate
from jitgrad.backend.lifetimes import Lifetimes
from jitgrad.backend.schedule import Schedule
from jitgrad.backend.steps import Step
from jitgrad.backend.structure import CONSUMERS, OF_ROUTINES, is_scalar, same_map
from jitgrad.graph.ir import Block, Op, Value
from jitgrad.graph.types import ArrayType, ListType

__all__ = ["bufferise"]


class _Moved(Exception):
    """A loop does not keep in place what it carries at a position, though it seemed so."""

    def __init__(self, op: Op, position: int) -> None:
        super().__init__()
        self.place = op, position


class _Bufferiser:
    def __init__(
        self, schedule: Schedule, result_orders: Sequence[str], writes: dict[int, int], moved: set[tuple[Op, int]]
    ) -> None:
        self.schedule = schedule
        self.moved = moved
        self.orders = result_orders
        self.writes = writes
        self.plan = Plan()
        self.times = Lifetimes(schedule)
        self.values: dict[int, list[Value]] = {}
        self.alive: dict[int, list[Value]] = {}  # those of them that may be read yet
        self.siblings: list[tuple[int, int]] = []
        self.taken: set[Value] = set()
        self.depth = 0
        self.count = 0

    # buffers

    def _atom(self) -> int:
        self.count += 1
        return self.count

    def _fresh(self, array: ArrayType | ListType, when: int) -> Buffer:
        slot = Slot(array, when, when)
        self.plan.slots.append(slot)
        return Buffer("slot", frozenset({self._atom()}), frozenset({slot}))

    def _put(self, value: Value, buffer: Buffer) -> None:
        self.plan.place[value] = buffer
        for atom in buffer.atoms:
            self.values.setdefault(atom, []).append(value)
            self.alive.setdefault(atom, []).append(value)

    def _free_after(self, value: Value, when: int) -> bool:
        """Whether nothing in the memory of a value is read after a moment; moments are asked for in order."""
        for atom in self.plan.place[value].atoms:
            alive = self.alive[atom] = [v for v in self.alive[atom] if self.times.last_use(v) > when]
            for v in alive:
                later = [u for u in self.times.uses.get(v, ()) if u > when]
                # Reads in the other arm of an `if` around this place never follow it, unless a loop repeats them.
                outside = [u for u in later if not any(first <= u <= end for first, end in self.siblings)]
                if outside or self.times.repeated(v, when):
                    return False
        return True

    def _can_take(self, value: Value, when: int) -> bool:
        if value in self.schedule.fused:
            return False
        buffer = self.plan.place[value]
        return buffer.writable and self._free_after(value, when)

    # the walk

    def run(self) -> Plan:
        graph = self.schedule.graph
        rooted = {_chain_root(graph.yields[k]): i for i, k in self.writes.items()}
        for i, arg in enumerate(graph.args):
            if not is_scalar(arg):
                own = rooted.get(arg) == i
                self._put(arg, Buffer("argument", frozenset({self._atom()}), writable=own, index=i))
        self._block(graph)
        self._bind_results()
        self._lifetimes()
        self.plan.arena_bytes = allocate(self.plan.slots)
        return self.plan

    def _constant(self, value: Value) -> None:
        if value not in self.plan.place and value.op is not None and value.op.name == "constant":
            self._put(value, Buffer("constant", frozenset({self._atom()}), writable=False))

    def _block(self, block: Block) -> None:
        # A constant with equal elements may be stored by a nest as any other value.
        computed = {op for step in self.schedule.steps[block] for op in step.ops}
        for op in block.ops:
            if op.name != "constant" or op in computed:
                continue
            if not is_scalar(op.result) and op.result not in self.schedule.fused:
                self.times.defined.setdefault(op.result, self.times.span[block][0])
                self._constant(op.result)
        for step in self.schedule.steps[block]:
            when = self.times.at[step]
            for op in step.ops:
                if op.name in OF_ROUTINES:
                    self._scratch(op, when)
                if op.name in CONSUMERS and not is_scalar(op.result):
                    self._consumer(op, when)
                elif op.name == "if":
                    self._if(op)
                elif op.name in ("for", "while"):
                    self._loop(op, when)
                else:
                    for r in op.results:
                        if not is_scalar(r) and r not in self.plan.place:
                            self._put(r, self._over(step, op, when) or self._fresh(r.type, when))

    def _note(self, text: str, op: Op) -> None:
        where = "loop: " if self.depth else ""
        self.plan.notes.append(f"{where}copy {text} ({op.name} at {op.location})")

    def _consumer(self, op: Op, when: int) -> None:
        base = op.operands[0]
        # An array whose own elements are moved within it is read while it is written.
        if base not in op.operands[1:] and self._can_take(base, when):
            self.taken.add(base)
            self._put(op.result, self.plan.place[base])
            return
        self.plan.copied.add(op)
        self._put(op.result, self._fresh(op.result.type, when))
        if base not in self.schedule.fused and not _is_empty(base):
            self._note(f"{base.type}", op)

    def _over(self, step: Step, op: Op, when: int) -> Buffer | None:
        """Return the memory of an array that a nest reads element by element, and nobody later, for its result."""
        if step.kind != "nest" or step.axes is not None or op.result in self.schedule.graph.yields:
            return None
        for v in self._straight(step):
            buffer = self.plan.place[v]
            # What the caller sees holds what his program stored, whenever an exception comes.
            seen = buffer.kind == "carried" and (self.writes or not buffer.slots)
            if seen or v.type != op.result.type or buffer.kind not in ("slot", "carried"):
                continue
            if v not in self.schedule.graph.yields and self._plain(buffer) and self._can_take(v, when):
                self.taken.add(v)
                self.plan.written_over.add(op)
                return buffer
        return None

    def _straight(self, step: Step) -> list[Value]:
        """Return the stored arrays of which a nest reads element i for its own element i, and no other."""
        straight: dict[Value, bool] = {}
        roots = set(step.ops)
        stack = [(v, same_map(op, v)) for op in step.ops for v in op.operands]
        seen: set[tuple[Value, bool]] = set()
        while stack:
            v, own = stack.pop()
            if is_scalar(v) or (v, own) in seen or (own and v.op in roots):
                continue
            seen.add((v, own))
            if v in self.schedule.fused:
                assert v.op is not None
                stack += [(u, own and same_map(v.op, u)) for u in v.op.operands]
            else:
                straight[v] = straight.get(v, True) and own
        return [v for v, own in straight.items() if own]

    def _if(self, op: Op) -> None:
        spans = [self.times.span[r] for r in op.regions]
        for arm, region in enumerate(op.regions):
            self.siblings.append(spans[1 - arm])
            self._block(region)
            self.siblings.pop()
        for k, r in enumerate(op.results):
            if is_scalar(r):
                continue
            same = self._same([region.yields[k] for region in op.regions], op in self.schedule.visible)
            if same is not None:
                self._put(r, same)
                continue
            found = [self._handed_on(region.yields[k]) for region in op.regions]
            both: list[Buffer] = []
            for arm, region in enumerate(op.regions):
                buffer = found[arm]
                if buffer is None:
                    y = region.yields[k]
                    # Filled while what other yields are copied from is still read.
                    buffer = self._fresh(r.type, self.times.at[self.schedule.steps[region][-1]])
                    self.plan.arm_copies[op, arm, k] = buffer
                    self._note(f"{y.type} at the end of an arm", op)
                both.append(buffer)
            one, other = both
            writable = one.writable and other.writable
            self._put(r, Buffer("chosen", one.atoms | other.atoms, one.slots | other.slots, writable))

    def _same(self, values: Sequence[Value], visible: bool) -> Buffer | None:
        """Return the memory that all of some values lie in, in whatever order, None if it is not one.

        What the caller sees stays in its memory beside an arm that hands on nothing: it has raised an exception.
        """
        one, other = (None if v in self.schedule.fused else self.plan.place.get(v) for v in values)
        for v, buffer in zip(values, (other, one), strict=True):
            if visible and _is_empty(v) and buffer is not None and buffer.kind in ("argument", "carried"):
                return buffer
        return one if one is other else None

    def _scratch(self, op: Op, when: int) -> None:
        """Give memory to operands that BLAS and LAPACK cannot read as they lie."""
        for i in OF_ROUTINES[op.name]:
            v = op.operands[i]
            stored = v not in self.schedule.fused and self._plain(self.plan.place[v])
            if not stored and not self.schedule.views.blas_ready(v):
                self.plan.scratch[op, i] = self._fresh(v.type, when)
                self._note(f"{v.type} for BLAS", op)

    def _handed_on(self, value: Value) -> Buffer | None:
        """Return the buffer of a value that an arm may hand on as it lies: in memory, in C order."""
        buffer = self.plan.place.get(value)
        if value in self.schedule.fused or buffer is None or not self._plain(buffer):
            return None
        return buffer

    def _plain(self, buffer: Buffer) -> bool:
        """Whether a buffer is in C order."""
        return buffer.index < 0 or self.schedule.layout(self.schedule.graph.args[buffer.index]) is None

    def _stays(self, op: Op, position: int) -> bool:
        """Whether a loop that the caller sees changes what it carries at a position in place, in whatever order."""
        if op not in self.schedule.visible or (op, position) in self.moved:
            return False
        body = op.regions[-1]
        return _chain_root(body.yields[position]) is body.args[position + (op.name == "for")]

    def _loop(self, op: Op, when: int) -> None:
        inits = op.operands[1:] if op.name == "for" else op.operands
        skip = 1 if op.name == "for" else 0
        body = op.regions[-1]
        loop = LoopPlan([None] * len(inits), set(), [None] * len(inits))
        self.plan.loops[op] = loop
        used: set[int] = set()
        # An array that starts in several places: what the caller sees has its memory.
        for k in sorted(range(len(inits)), key=lambda k: not self._stays(op, k)):
            v = inits[k]
            if is_scalar(v):
                continue
            found = self.plan.place.get(v)
            straight = found is not None and not found.atoms & used
            if (
                straight
                and found is not None
                and (self._plain(found) or self._stays(op, k))
                and self._can_take(v, when)
            ):
                buffer = found
                self.taken.add(v)
            else:
                buffer = self._fresh(v.type, when)
                loop.copied.add(k)
                if v not in self.schedule.fused and not _is_empty(v):
                    self._note(f"{v.type} before a loop", op)
            used |= buffer.atoms
            loop.inits[k] = buffer
            index = -1 if self._plain(buffer) else buffer.index
            loop.carried[k] = Buffer("carried", frozenset({self._atom()}), buffer.slots, index=index)
        for region in op.regions:
            for k, carried in enumerate(loop.carried):
                if carried is not None:
                    self._put(region.args[k + skip], carried)
        self.depth += 1
        for region in op.regions:
            self._block(region)
        self._hand_on(op, loop, body)
        self.depth -= 1
        for k, r in enumerate(op.results):
            init = loop.inits[k]
            if init is None:
                continue
            if not loop.moves(k):
                self._put(r, init)
                continue
            self._put(r, Buffer("result", frozenset({self._atom()}), self._path_slots(loop, k)))

    def _path_slots(self, loop: LoopPlan, position: int) -> frozenset[Slot]:
        """Return every slot that a moving pointer may come to."""
        slots: set[Slot] = set()
        for k, source in enumerate(loop.source):
            if source is None or not loop.moves(k):
                continue
            init = loop.inits[k]
            assert init is not None
            slots |= init.slots
            if k in loop.spares:
                slots |= loop.spares[k].slots
        return frozenset(slots)

    def _hand_on(self, op: Op, loop: LoopPlan, body: Block) -> None:
        """Decide where the pointer of each carried array comes from after an iteration."""
        claimed: set[int] = set()
        loop.source = [None] * len(body.yields)
        waiting: list[int] = []
        for k, y in enumerate(body.yields):
            if loop.carried[k] is None:
                continue
            carried = loop.carried[k]
            if self.plan.place.get(y) is carried:
                loop.source[k] = k
                claimed.add(k)
            elif carried is not None and not self._plain(carried):
                raise _Moved(op, k)
            else:
                waiting.append(k)
        fresh: list[int] = []
        for k in waiting:
            buffer = self.plan.place.get(body.yields[k])
            other = next((q for q, c in enumerate(loop.carried) if c is not None and c is buffer), None)
            if other is not None and other not in claimed:
                loop.source[k] = other
                claimed.add(other)
            else:
                loop.source[k] = -1
                fresh.append(k)
        given: set[int] = set()
        for k in fresh:
            y = body.yields[k]
            buffer = self.plan.place.get(y)
            first, end = self.times.span[body]
            local = buffer is not None and buffer.kind == "slot" and first < buffer.slot.start <= end
            if buffer is None or y in self.schedule.fused or not local or buffer.atoms & given:
                buffer = self._fresh(y.type, end)
                loop.body_copies.add(k)
                self._note(f"{y.type} at the end of an iteration", op)
            given |= buffer.atoms
            loop.spares[k] = buffer
            # Follow the pointers: whoever nobody claims at the end of the path is free.
            last, found = k, True
            while found:
                found = False
                for q, source in enumerate(loop.source):
                    if source == last and q != last:
                        last, found = q, True
                        break
            loop.freed[k] = last

    # results and memory

    def _bind_results(self) -> None:
        """Let results be computed in the memory that is handed back."""
        graph = self.schedule.graph
        for step in self.schedule.steps[graph]:
            if step.kind != "result":
                continue
            k = step.position
            value = graph.yields[k]
            buffer = self.plan.place[value]
            if buffer.kind != "slot" or buffer.slot.out >= 0 or isinstance(buffer.slot.array, ListType):
                continue
            (atom,) = buffer.atoms
            others = [v for v in self.values[atom] if self.times.defined[v] > self.times.defined[value]]
            if value in self.taken or others or self._is_spare(buffer):
                continue
            if self.orders[k] == "F":
                alone = self.values[atom] == [value] and len(self.times.uses[value]) == 1
                made_by_nest = value.op is not None and self._is_nest_root(value.op)
                if not (alone and made_by_nest) and value.array.rank > 1:
                    continue
                buffer.order = "F" if value.array.rank > 1 else "C"
            buffer.slot.out = k
        sources = {k: i for i, k in self.writes.items()}
        for k, i in sources.items():
            value = graph.yields[k]
            if is_scalar(value):
                continue
            buffer = self.plan.place[value]
            if buffer.kind == "argument" and buffer.index != i and buffer.index in self.writes:
                # From the last step on, while the other results are still read.
                staged = self._fresh(value.type, self.times.at[self.schedule.steps[graph][-1]])
                staged.slot.end = self.times.clock
                self.plan.staged[k] = staged

    def _is_nest_root(self, op: Op) -> bool:
        graph = self.schedule.graph
        return any(s.kind == "nest" and op in s.ops for s in self.schedule.steps[graph])

    def _is_spare(self, buffer: Buffer) -> bool:
        return any(
            buffer.slots & self._path_slots(loop, k)
            for loop in self.plan.loops.values()
            for k in range(len(loop.source))
            if loop.moves(k)
        )

    def _lifetimes(self) -> None:
        for value, buffer in self.plan.place.items():
            last = max(self.times.last_use(value), self.times.defined[value])
            for slot in buffer.slots:
                slot.start = min(slot.start, self.times.defined[value])
                slot.end = max(slot.end, last)
        for op, loop in self.plan.loops.items():
            first = min(self.times.span[r][0] for r in op.regions)
            end = max(self.times.span[r][1] for r in op.regions) + 1
            held = [b for b in (*loop.inits, *loop.spares.values()) if b is not None]
            for buffer in held:
                for slot in buffer.slots:
                    slot.start = min(slot.start, first)
                    slot.end = max(slot.end, end)
        # A slot used inside a loop by a value from outside lives as long as the loop repeats: `Lifetimes` saw to it.


def _is_empty(value: Value) -> bool:
    """Whether a value has no contents worth copying."""
    return value.op is not None and value.op.name in ("undef", "list_empty")


def _chain_root(value: Value) -> Value | None:
    """Return the value whose memory a chain of stores ends in, None where paths differ."""
    while value.op is not None:
        op = value.op
        if op.name in CONSUMERS:
            value = op.operands[0]
        elif op.name == "for":
            value = op.operands[1 + value.index]
        elif op.name == "while":
            value = op.operands[value.index]
        elif op.name == "if":
            ends = [r.yields[value.index] for r in op.regions]
            roots = {_chain_root(end) for end in ends if not _is_empty(end)}
            if len(roots) != 1:
                return None
            (root,) = roots
            return root
        else:
            return None
    return value


def bufferise(schedule: Schedule, result_orders: Sequence[str], writes: dict[int, int]) -> Plan:
    """Return the buffers of a scheduled graph.

    Parameters
    ----------
    schedule : Schedule
    result_orders : sequence of {'C', 'F'}
        Memory order of each result.
    writes : dict of int to int
        Argument to the yield that must end up in its memory.
    """
    moved: set[tuple[Op, int]] = set()
    while True:
        try:
            return _Bufferiser(schedule, result_orders, writes, moved).run()
        except _Moved as found:
            moved.add(found.place)
