"""Regions and checks: `if`, `for`, `while` as basic blocks, loop-carried scalars and pointers as phis.

In: an op with regions and the plan of its buffers. Out: LLVM blocks. An array that a loop carries keeps its address, or
its address is a phi where the body hands on another buffer; nothing is copied but what the plan says.
"""

from __future__ import annotations

from dataclasses import dataclass

from jitgrad.backend.buffers import Buffer, LoopPlan
from jitgrad.backend.emit import Emitter, Site, lowers
from jitgrad.backend.emit_lists import copy_list
from jitgrad.backend.emit_scalar import Handle
from jitgrad.backend.independence import are_independent
from jitgrad.backend.levels import is_of_elements, vectorises
from jitgrad.backend.structure import is_scalar
from jitgrad.backend.text import register_type
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.types import ListType

__all__: list[str] = []


@lowers("if")
def op_if(e: Emitter, op: Op) -> None:
    """Write both arms and join what they yield."""
    text = e.text
    labels = [text.fresh("then"), text.fresh("else")]
    end = text.fresh("join")
    known = text.known()
    text.branch_if(e.scalar(op.operands[0]).text, *labels)
    came: list[tuple[str, list[str]]] = []
    for arm, region in enumerate(op.regions):
        text.start(labels[arm], dict(known))
        e.block(region)
        values: list[str] = []
        for k, y in enumerate(region.yields):
            if is_scalar(y):
                values.append(e.scalar(y).text)
                continue
            buffer = e.plan.arm_copies.get((op, arm, k))
            if buffer is not None:
                _transfer(e, buffer, y)
            else:
                buffer = e.plan.place[y]
            values.append(e.pointer(buffer, y))
        came.append((text.label, values))
        text.branch(end)
    text.start(end, known)
    for k, r in enumerate(op.results):
        pairs = ", ".join(f"[ {values[k]}, %{label} ]" for label, values in came)
        if is_scalar(r):
            made = text.emit(f"phi {register_type(r.array.dtype)} {pairs}")
            e.handles[r] = Handle(made, r.array.dtype)
            continue
        place = e.plan.place[r]
        # Where both arms hand on a buffer that was itself chosen before, its address is known.
        same = all(e.plan.place.get(region.yields[k]) is place for region in op.regions)
        if place.kind == "chosen" and not same:
            e.pointers[place] = text.emit(f"phi ptr {pairs}")


def _transfer(e: Emitter, buffer: Buffer, value: Value) -> None:
    """Copy a value into a buffer of its own."""
    if isinstance(value.type, ListType):
        copy_list(e, e.pointer(buffer, value), value)
        return
    e.provide(buffer, value)
    if value.op is None or value.op.name != "undef":
        e.fill(e.view_in(buffer, value), value)


@dataclass(eq=False)
class _Phi:
    register: str
    type: str
    first: str
    next: str = ""


@dataclass(eq=False)
class _Chunk:
    """The loop around a loop that counts its work: see `pacing`.

    Attributes
    ----------
    label, again : str
        Its first block, and the one that goes back there.
    lines : list of str
        What the first block does besides carrying the state.
    from_head : bool
        Whether the loop within is left at its head, or at the end of its body.
    """

    label: str
    again: str
    lines: list[str]
    from_head: bool


class _Loop:
    """The carried state of one loop."""

    def __init__(self, e: Emitter, op: Op, inits: list[Value]) -> None:
        self.e = e
        self.plan: LoopPlan = e.plan.loops[op]
        self.inits = inits
        self.phis: dict[object, _Phi] = {}
        self.before = self.label = ""
        self.way = 0
        self.first: list[str] = []

    def enter(self) -> None:
        """Fill the buffers with which the loop starts."""
        e, plan = self.e, self.plan
        for k, v in enumerate(self.inits):
            buffer = plan.inits[k]
            if buffer is not None and k in plan.copied:
                _transfer(e, buffer, v)
        for k, spare in plan.spares.items():
            if not isinstance(self.inits[k].type, ListType):
                e.provide(spare, self.inits[k])

    def open(self) -> None:
        """Name the registers that change from one iteration to the next."""
        e, plan, fresh = self.e, self.plan, self.e.text.fresh
        for k, v in enumerate(self.inits):
            if is_scalar(v):
                kind = register_type(v.array.dtype)
                self.phis["scalar", k] = _Phi(f"%{fresh('c')}", kind, e.scalar(v).text)
                continue
            init, carried = plan.inits[k], plan.carried[k]
            assert init is not None and carried is not None
            start = e.pointer(init, v)
            if plan.moves(k):
                self.phis["pointer", k] = _Phi(f"%{fresh('c')}", "ptr", start)
                e.pointers[carried] = self.phis["pointer", k].register
            else:
                e.pointers[carried] = start
        for k, spare in plan.spares.items():
            self.phis["spare", k] = _Phi(f"%{fresh('c')}", "ptr", e.pointer(spare, self.inits[k]))

    def arguments(self, args: list[Value]) -> None:
        """Give the registers to the arguments of a region."""
        for k, arg in enumerate(args):
            if is_scalar(arg):
                self.e.handles[arg] = Handle(self.phis["scalar", k].register, arg.array.dtype)

    def use_spares(self) -> None:
        """From here on the fresh arrays of the body are written where the spare pointers say."""
        for k, spare in self.plan.spares.items():
            self.e.pointers[spare] = self.phis["spare", k].register
            self.e.lent.add(spare)

    def close(self, yields: list[Value]) -> None:
        """Note what the next iteration gets."""
        e, plan = self.e, self.plan
        for k in plan.body_copies:
            buffer = plan.spares[k]
            if isinstance(yields[k].type, ListType):
                copy_list(e, e.pointers[buffer], yields[k])
            else:
                e.fill(e.view_in(buffer, yields[k]), yields[k])
        for k, y in enumerate(yields):
            if is_scalar(y):
                self.phis["scalar", k].next = e.scalar(y).text
            elif plan.moves(k):
                source = plan.source[k]
                assert source is not None
                self.phis["pointer", k].next = self._pointer(source) if source >= 0 else self.phis["spare", k].register
        for k in plan.spares:
            self.phis["spare", k].next = self._pointer(plan.freed[k])

    def counts(self, numbers: list[tuple[str, str, str, str]], first: list[str]) -> None:
        """Note what each iteration counts besides the index, and what is computed before the loop."""
        for register, start, following, _ in numbers:
            self.phis["number", register] = _Phi(register, "i64", start, following)
        self.first = first

    def _pointer(self, position: int) -> str:
        carried = self.plan.carried[position]
        assert carried is not None
        return self.e.pointers[carried]

    def head(self) -> None:
        """Go on to the head of the loop; its phis, and how it is reached, are written by `finish`."""
        text = self.e.text
        self.before, self.label = text.label, text.fresh("loop")
        self.way = len(text.lines)
        text.lines.append("")
        text.start(self.label)
        text.lines.append("")

    def finish(self, after: str, chunk: _Chunk | None = None) -> None:
        """Write the head of the loop, whose body ends in a block; with chunks, the loop around it too."""
        lines, phis = self.e.text.lines, self.phis.values()
        entering = chunk.label if chunk else self.before
        way = [*self.first, f"  br label %{entering if chunk else self.label}"]
        if chunk:
            way += [f"{chunk.label}:"]
            way += [
                f"  {p.register}.c = phi {p.type} [ {p.first}, %{self.before} ], "
                f"[ {p.register if chunk.from_head else p.next}, %{chunk.again} ]"
                for p in phis
            ]
            way += [*chunk.lines, f"  br label %{self.label}"]
        lines[self.way] = "\n".join(way)
        lines[self.way + 2] = "\n".join(
            f"  {p.register} = phi {p.type} [ {p.register + '.c' if chunk else p.first}, %{entering} ], "
            f"[ {p.next}, %{after} ]"
            for p in phis
        )

    def results(self, op: Op) -> None:
        """Define the results by the state at the exit."""
        for k, r in enumerate(op.results):
            if is_scalar(r):
                self.e.handles[r] = Handle(self.phis["scalar", k].register, r.array.dtype)
            elif self.plan.moves(k):
                self.e.pointers[self.e.plan.place[r]] = self.phis["pointer", k].register


@lowers("for")
def op_for(e: Emitter, op: Op) -> None:
    """Write a counted loop."""
    text, pace, body = e.text, e.pace, op.regions[0]
    trips = e.size(op.operands[0])
    most = e.schedule.most(op.operands[0])
    limit = trips
    if isinstance(trips, str) and most is not None and is_of_elements(body):
        # Of a loop over scalars that it knows to be short, LLVM makes worse code, and takes longer to do so.
        limit = text.opaque(trips)
    loop = _Loop(e, op, op.operands[1:])
    loop.enter()
    counter = text.open()
    loop.open()
    inside, end, index = text.fresh("body"), text.fresh("end"), text.index(counter, "k")
    known = text.known()
    loop.head()
    counting = len(text.lines)
    text.lines.append("")
    text.start(inside, dict(known))
    begin = len(text.lines)
    e.handles[body.args[0]] = Handle(index, body.args[0].array.dtype)
    loop.arguments(body.args[1:])
    loop.use_spares()
    with pace.iteration() as work:
        e.block(body)
        loop.close(body.yields)
        e.location = op.location or e.location
        size = work.chunk
        if not size:
            pace.settle()
    following = text.emit(f"add nuw nsw i64 {index}, 1")
    loop.counts(text.close(counter), counter.before)
    after = text.label
    alone = vectorises(op) and are_independent(e.schedule, e.plan, op)
    text.branch(loop.label, text.parallel(begin) if alone and size else "")
    few = work.at_once(trips, most)
    if not size or few:
        loop.finish(after)
        first, done = f"[ 0, %{loop.before} ]", end
    else:
        chunk, again, done = text.fresh("chunk"), text.fresh("again"), text.fresh("drained")
        limit = f"{index}.limit"
        text.start(done)
        # The loop within was left at its head, with the index at the limit.
        pace.pay(text.mul(text.emit(f"sub i64 {index}, {index}.c"), work.owed))
        text.branch_if(text.emit(f"icmp slt i64 {index}, {trips}"), again, end)
        text.start(again)
        pace.poll_if_spent()
        lines = [
            f"  {index}.c = phi i64 [ 0, %{loop.before} ], [ {index}.n, %{text.label} ]",
            f"  {index}.left = sub i64 {trips}, {index}.c",
            f"  {index}.last = icmp slt i64 {index}.left, {size}",
            f"  {index}.some = select i1 {index}.last, i64 {index}.left, i64 {size}",
            f"  {limit} = add nsw i64 {index}.c, {index}.some",
        ]
        text.do(f"{index}.n = add nuw nsw i64 {index}.c, {size}")
        loop.finish(after, _Chunk(chunk, text.label, lines, from_head=True))
        text.branch(chunk)
        first = f"[ {index}.c, %{chunk} ]"
    text.lines[counting] = "\n".join(
        (
            f"  {index} = phi i64 {first}, [ {following}, %{after} ]",
            f"  {index}.more = icmp slt i64 {index}, {limit}",
            f"  br i1 {index}.more, label %{inside}, label %{done}",
        )
    )
    text.start(end, known)
    loop.results(op)
    pace.owe(work.owed * few)


@lowers("while")
def op_while(e: Emitter, op: Op) -> None:
    """Write a loop with a condition."""
    text, pace = e.text, e.pace
    cond, body = op.regions
    loop = _Loop(e, op, list(op.operands))
    loop.enter()
    loop.open()
    inside, end, count = text.fresh("body"), text.fresh("end"), f"%{text.fresh('k')}"
    loop.head()
    counting = len(text.lines)
    text.lines.append("")
    loop.arguments(cond.args)
    loop.arguments(body.args)
    loop.use_spares()
    with pace.iteration() as work:
        e.block(cond)
        text.branch_if(e.scalar(cond.yields[0]).text, inside, end)
        text.start(inside)
        e.block(body)
        loop.close(body.yields)
        e.location = op.location or e.location
        size = work.chunk
        if not size:
            pace.settle()
    after = text.label
    if not size:
        text.branch(loop.label)
        loop.finish(after)
        text.start(end)
    else:
        chunk, drained = text.fresh("chunk"), text.fresh("drained")
        following = text.emit(f"add nuw nsw i64 {count}, 1")
        text.lines[counting] = f"  {count} = phi i64 [ 0, %{chunk} ], [ {following}, %{after} ]"
        text.branch_if(text.emit(f"icmp eq i64 {following}, {size}"), drained, loop.label)
        text.start(drained)
        pace.pay(size * work.owed)
        pace.poll_if_spent()
        loop.finish(after, _Chunk(chunk, text.label, [], from_head=False))
        text.branch(chunk)
        text.start(end)
        pace.pay(text.mul(count, work.owed))
    loop.results(op)


@lowers("check")
def op_check(e: Emitter, op: Op) -> None:
    """Leave through a site if the condition is false."""
    operands = [e.scalar(v) for v in op.operands[1:] if is_scalar(v)]
    dtypes = tuple(x.dtype for x in operands)
    site = Site(op.attrs["exception"], op.attrs["message"], dtypes, op.location, op.attrs.get("arguments"))
    e.sites.append(site)
    e.fail_unless(e.scalar(op.operands[0]).text, len(e.sites) - 1, operands)
