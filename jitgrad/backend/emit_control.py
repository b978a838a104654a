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
    text.branch_if(e.scalar(op.operands[0]).text, *labels)
    came: list[tuple[str, list[str]]] = []
    for arm, region in enumerate(op.regions):
        text.start(labels[arm])
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
    text.start(end)
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


class _Loop:
    """The carried state of one loop."""

    def __init__(self, e: Emitter, op: Op, inits: list[Value]) -> None:
        self.e = e
        self.plan: LoopPlan = e.plan.loops[op]
        self.inits = inits
        self.phis: dict[object, _Phi] = {}

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

    def _pointer(self, position: int) -> str:
        carried = self.plan.carried[position]
        assert carried is not None
        return self.e.pointers[carried]

    def write(self, place: int, before: str, after: str) -> None:
        """Insert the phis at the head of the loop."""
        self.e.text.lines[place] = "\n".join(
            f"  {p.register} = phi {p.type} [ {p.first}, %{before} ], [ {p.next}, %{after} ]"
            for p in self.phis.values()
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
    text, body = e.text, op.regions[0]
    trips = e.scalar(op.operands[0]).text
    loop = _Loop(e, op, op.operands[1:])
    loop.enter()
    loop.open()
    head, inside, end = text.fresh("for"), text.fresh("body"), text.fresh("end")
    before = text.label
    text.branch(head)
    text.start(head)
    place = len(text.lines)
    text.lines += ["", ""]
    index = f"%{text.fresh('k')}"
    text.branch_if(text.emit(f"icmp slt i64 {index}, {trips}"), inside, end)
    text.start(inside)
    e.handles[body.args[0]] = Handle(index, body.args[0].array.dtype)
    loop.arguments(body.args[1:])
    loop.use_spares()
    e.block(body)
    loop.close(body.yields)
    following = text.emit(f"add nuw nsw i64 {index}, 1")
    loop.write(place, before, text.label)
    text.lines[place + 1] = f"  {index} = phi i64 [ 0, %{before} ], [ {following}, %{text.label} ]"
    text.branch(head)
    text.start(end)
    loop.results(op)


@lowers("while")
def op_while(e: Emitter, op: Op) -> None:
    """Write a loop with a condition."""
    text = e.text
    cond, body = op.regions
    loop = _Loop(e, op, list(op.operands))
    loop.enter()
    loop.open()
    head, inside, end = text.fresh("while"), text.fresh("body"), text.fresh("end")
    before = text.label
    text.branch(head)
    text.start(head)
    place = len(text.lines)
    text.lines.append("")
    loop.arguments(cond.args)
    loop.arguments(body.args)
    loop.use_spares()
    e.block(cond)
    text.branch_if(e.scalar(cond.yields[0]).text, inside, end)
    text.start(inside)
    e.block(body)
    loop.close(body.yields)
    loop.write(place, before, text.label)
    text.branch(head)
    text.start(end)
    loop.results(op)


@lowers("check")
def op_check(e: Emitter, op: Op) -> None:
    """Leave through a site if the condition is false."""
    operands = [e.scalar(v) for v in op.operands[1:] if is_scalar(v)]
    site = Site(op.attrs["exception"], op.attrs["message"], tuple(x.dtype for x in operands), op.location)
    e.sites.append(site)
    e.fail_unless(e.scalar(op.operands[0]).text, len(e.sites) - 1, operands)
