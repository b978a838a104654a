"""A scheduled, bufferised graph as the body of one LLVM function.

In: the schedule and the buffers. Out: LLVM text, the sites at which it can fail, the symbols it needs. `Emitter` holds
what every theme needs: registers of scalars, pointers of buffers, views of values. The themes are rooms of their own:
`emit_nest` (loop nests), `emit_control` (regions, checks), `emit_structured` (stores, scans, scatter), `emit_order`,
`emit_lists`. Each enters its ops in the table `LOWERS` through `@lowers(name)`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitgrad.backend.buffers import Buffer, Plan, Slot
from jitgrad.backend.emit_lanes import Lanes
from jitgrad.backend.emit_nest import emit_nest, evaluate_scalar
from jitgrad.backend.emit_reduce import identity
from jitgrad.backend.emit_scalar import Arithmetic, Handle
from jitgrad.backend.joint_stores import join_stores
from jitgrad.backend.loops import ADD, MULTIPLY, Coord, Expressions, Node, Output, View, c_strides
from jitgrad.backend.nesting import plan_nest
from jitgrad.backend.pacing import Pace, declare_runtime
from jitgrad.backend.reciprocals import share_reciprocals
from jitgrad.backend.reserve import PRODUCT, declare_memory
from jitgrad.backend.scalar_math import MathLibrary
from jitgrad.backend.schedule import Schedule
from jitgrad.backend.steps import EXPENSIVE, Step, reduced_axes
from jitgrad.backend.streams import is_large
from jitgrad.backend.structure import fusable, is_scalar
from jitgrad.backend.text import FunctionText, Sym, element_type, literal
from jitgrad.errors import error
from jitgrad.graph.ir import Block, Op, Value
from jitgrad.graph.types import Dim, ListType
from jitgrad.location import Location

__all__ = ["LOWERS", "Emitter", "Site", "add_nodes", "lowers"]

LOWERS: dict[str, Callable[[Emitter, Op], None]] = {}

_INT64 = np.dtype(np.int64)


def lowers(*names: str) -> Callable[[Callable[[Emitter, Op], None]], Callable[[Emitter, Op], None]]:
    """Enter a function in the table of structured lowerings."""

    def enter(function: Callable[[Emitter, Op], None]) -> Callable[[Emitter, Op], None]:
        for name in names:
            assert name not in LOWERS, name
            LOWERS[name] = function
        return function

    return enter


@dataclass(frozen=True, slots=True)
class Site:
    """A place where the body can fail: return code 1 + its number.

    Attributes
    ----------
    exception : type
    message : str
        Format string over the operands.
    dtypes : tuple of numpy.dtype
        Of the operands, stored in the words of `%err` in order.
    location : Location or None
    arguments : tuple or None
        Of the exception, if there are others than the message: see `exception_arguments`.
    """

    exception: type[BaseException]
    message: str
    dtypes: tuple[np.dtype, ...]
    location: Location | None
    arguments: tuple[Any, ...] | None = None


def _no_memory(location: Location | None) -> Site:
    return Site(MemoryError, "out of memory", (), location)


class Emitter:
    """Writes one body."""

    def __init__(
        self,
        schedule: Schedule,
        plan: Plan,
        strides: Callable[[Value], Sequence[Dim] | str | None],
        result_orders: Sequence[str],
        vector_bytes: int,
        fma: bool,
        estimates: bool,
        early: Collection[int] = (),
    ) -> None:
        self.schedule = schedule
        self.result_orders = result_orders
        self.early = early  # results of a run-time size whose memory is there at entry
        self.plan = plan
        self.strides = strides
        self.vector_bytes = vector_bytes
        self.text = FunctionText()
        self.library = MathLibrary(fma)
        self.arithmetic = Arithmetic(self.text, self.library, estimates)
        self.lanes = Lanes(self.text, self.arithmetic)
        self.handles: dict[Value, Handle] = {}
        self.pointers: dict[Buffer, str] = {}
        self.together: dict[Op, list[Op]] = {}  # for the first op of a nest, the stores that it takes with it
        self.lent: set[Buffer] = set()  # buffers of a loop body whose pointer the loop hands round
        self.reserves: dict[Hashable, str] = {}
        self.grows = False  # whether memory of run-time sizes is taken from the arena
        self.headers: dict[Slot, str] = {}
        self.sites: list[Site] = []
        self.failures: list[str] = []
        self.notes: list[str] = []
        self.location: Location | None = None  # of what is being written, or what came before
        self.pace = Pace(self.text, self.leave_stopped)
        self.outside: dict[int, str] = {}  # addresses of arguments of rank 0

    # what expressions ask for (`loops.Memory`)

    def fused(self, value: Value) -> bool:
        """Whether a value is computed where it is used."""
        return value in self.schedule.fused

    def size(self, dim: Any) -> Sym:
        """Return a dimension or a position."""
        if isinstance(dim, int):
            return dim
        handle = self.scalar(dim)
        if handle.constant:
            return int(handle.text)
        most = self.schedule.most(dim)
        if most is not None:
            self.text.largest[handle.text] = most
        return handle.text

    def shape(self, value: Value) -> list[Sym]:
        """Return the sizes of an array value."""
        return [self.size(d) for d in value.shape]

    def view(self, value: Value) -> View:
        """Return the memory of a stored value, or of a strided view of one."""
        if value in self.schedule.fused:
            built = Expressions(self, self.text, self.shape(value))
            node = built.node(value, built.identity)
            assert node.access is not None and node.kind == "load", value
            return View(node.access.pointer, node.access.base, tuple(node.access.steps), node.dtype)
        buffer = self.plan.place[value]
        layout = self.strides(self.schedule.graph.args[buffer.index]) if buffer.index >= 0 else None
        shape = self.shape(value)
        if layout is not None and layout != "F":
            strides: tuple[Sym, ...] = tuple(self.size(s) for s in layout)
        elif layout == "F" or buffer.order == "F":
            strides = c_strides(self.text, shape[::-1])[::-1]
        else:
            strides = c_strides(self.text, shape)
        return View(self.pointer(buffer, value), 0, strides, value.array.dtype, is_large(value, self.schedule.most))

    def reshaped_view(self, op: Op) -> View:
        """Return the memory of a reshape that moves nothing."""
        base = op.operands[0]
        while base in self.schedule.fused:
            assert base.op is not None and base.op.name == "reshape"
            base = base.op.operands[0]
        pointer = self.pointer(self.plan.place[base], base)
        return View(pointer, 0, c_strides(self.text, self.shape(op.result)), op.result.array.dtype)

    # scalars

    def scalar(self, value: Value) -> Handle:
        """Return the register or constant of a scalar value."""
        found = self.handles.get(value)
        if found is None:
            assert value.op is not None and value.op.name == "constant", value
            found = self.arithmetic.const(value.op.attrs["value"].flat[0], value.array.dtype)
        return found

    def element(self, value: Value, coords: Sequence[Sym]) -> Handle:
        """Write the element of a value at a position and return it."""
        built = Expressions(self, self.text, ())
        goal = built.node(value, tuple(Coord(c, None, 0) for c in coords))
        return evaluate_scalar(self.text, self.arithmetic, built.nodes, goal, self.scalar)

    # buffers

    def pointer(self, buffer: Buffer, value: Value | None = None) -> str:
        """Return the address of a buffer."""
        found = self.pointers.get(buffer)
        if found is not None:
            return found
        entry, fresh = self.text.entry, self.text.fresh
        name = f"%{fresh('p')}"
        if buffer.kind == "argument":
            entry.append(f"  {name}w = getelementptr i64, ptr %in, i64 {buffer.index}")
            entry.append(f"  {name} = load ptr, ptr {name}w")
        elif buffer.kind == "constant":
            assert value is not None and value.op is not None
            name = self._global(value.op.attrs["value"])
        elif buffer.kind == "slot" and buffer.slot.out >= 0 and self._is_early(buffer.slot):
            entry.append(f"  {name}w = getelementptr i64, ptr %out, i64 {buffer.slot.out}")
            entry.append(f"  {name} = load ptr, ptr {name}w")
        elif buffer.kind == "slot" and isinstance(buffer.slot.array, ListType):
            name = self.header(buffer.slot)
        elif buffer.kind == "slot" and buffer.slot.offset >= 0:
            entry.append(f"  {name} = getelementptr i8, ptr %arena, i64 {buffer.slot.offset}")
        else:
            raise AssertionError(f"no address for a buffer of kind {buffer.kind}")
        self.pointers[buffer] = name
        return name

    def header(self, slot: Slot) -> str:
        """Return the header of a list: data, length, capacity; empty at entry, freed at exit."""
        if slot not in self.headers:
            declare_runtime(self.text, "jg_free")
            name = self.text.alloca("{ ptr, i64, i64 }")
            self.text.entry.append(f"  store {{ ptr, i64, i64 }} zeroinitializer, ptr {name}")
            self.headers[slot] = name
        return self.headers[slot]

    def _global(self, value: np.ndarray) -> str:
        name = f"@{self.text.fresh('constant')}"
        element = element_type(value.dtype)
        flat = np.ascontiguousarray(value).reshape(-1)
        if value.dtype.kind == "b":
            flat = flat.astype(np.uint8)
        items = ", ".join(f"{element} {literal(x, flat.dtype)}" for x in flat)
        kind = f"[{flat.size} x {element}]"
        body = f"[{items}]" if flat.size else "zeroinitializer"
        self.text.globals.append(f"{name} = private unnamed_addr constant {kind} {body}, align 64")
        return name

    def define(self, value: Value) -> None:
        """Make sure that the buffer of a value exists; memory of a run-time size is had here, if not from another."""
        if value.op in self.plan.written_over:
            return
        self.provide(self.plan.place[value], value)

    def provide(self, buffer: Buffer, like: Value) -> None:
        """Make sure that a buffer exists that is to hold a value of some type."""
        if buffer.kind != "slot" or buffer in self.lent:
            return
        if isinstance(buffer.slot.array, ListType) or self._is_early(buffer.slot):
            return
        self.pointers[buffer] = self._reserve_for(like, buffer.slot, buffer.slot.out)

    def _is_early(self, slot: Slot) -> bool:
        """Whether memory of some size is there at entry."""
        return slot.bytes is not None or slot.out in self.early

    def _reserve_for(self, like: Value, key: Hashable, out: int) -> str:
        """Return memory for a value of a run-time size; that of a result is given to the caller."""
        size: Sym = like.array.dtype.itemsize
        for d in self.shape(like):
            # A product that is too large must not come out small.
            if isinstance(size, int) and isinstance(d, int):
                size = size * d
            else:
                size = self.text.emit(f"call i64 @jg_product(i64 {size}, i64 {d})")
        self.text.helpers.setdefault("jg_product", PRODUCT)
        if out < 0:
            return self.reserve(key, size)
        got = self.reserve(("result", out), size)
        self.text.do(f"store ptr {got}, ptr {self.text.address('%out', 'i64', out)}")
        return got

    def reserve(self, key: Hashable, bytes: Sym) -> str:
        """Return memory of a run-time size: what `key` had before if that is enough; given back at the exit."""
        if key not in self.reserves:
            name = self.text.alloca("{ ptr, i64 }")
            self.text.entry.append(f"  store {{ ptr, i64 }} zeroinitializer, ptr {name}")
            self.reserves[key] = name
        if isinstance(key, tuple):
            # It is given away, and freed by its address.
            declare_memory(self.text, "jg_own")
            declare_runtime(self.text, "jg_free")
            got = self.text.emit(f"call ptr @jg_own(ptr {self.reserves[key]}, i64 {bytes})")
        else:
            self._use_arena()
            slot = self.reserves[key]
            got = self.text.emit(f"call ptr @jg_reserve(ptr {slot}, i64 {bytes}, ptr %arena, i64 %room, ptr %top)")
        self.fail_unless(self.text.emit(f"icmp ne ptr {got}, null"), self.memory_site())
        return got

    def _use_arena(self) -> None:
        """Let what the arena has beyond the buffers of known size be lent, from %top on."""
        if self.grows:
            return
        self.grows = True
        declare_memory(self.text, "jg_release", "jg_reserve")
        self.text.entry += [
            "  %room.at = getelementptr i8, ptr %arena, i64 -16",
            "  %room = load i64, ptr %room.at",
            "  %top = alloca i64",
            f"  store i64 {-(-self.plan.arena_bytes // 64) * 64}, ptr %top",
        ]

    # failing

    def memory_site(self) -> int:
        """Return the site at which memory cannot be had for what is being written."""
        found = next((k for k, s in enumerate(self.sites) if s == _no_memory(self.location)), -1)
        if found < 0:
            found = len(self.sites)
            self.sites.append(_no_memory(self.location))
        return found

    def fail_unless(self, condition: str, site: int, operands: Sequence[Handle] = ()) -> None:
        """Leave the body through a site unless a condition holds."""
        fine, bad = self.text.fresh("fine"), self.text.fresh("bad")
        known = self.text.known()
        self.text.branch_if(condition, fine, bad)
        held, self.text.lines = self.text.lines, []
        self.text.start(bad)
        for k, x in enumerate(operands):
            word = self.text.address("%err", "i64", k)
            self.store_word(word, x)
        self.text.do(f"store i32 {1 + site}, ptr %code")
        self.text.branch("exit")
        self.failures += self.text.lines
        self.text.lines = held
        self.text.start(fine, known)

    def leave_stopped(self, stopped: str) -> None:
        """Leave the body if a poll was stopped by an exception, whose site is then the first operand."""
        number = len(self.sites)
        self.sites.append(Site(KeyboardInterrupt, "", (_INT64,), self.location))
        going = self.text.emit(f"xor i1 {stopped}, true")
        self.fail_unless(going, number, [self.arithmetic.const(number, _INT64)])

    def store_word(self, word: str, x: Handle) -> None:
        """Write a scalar into an 8-byte word: a float by its bits, an integer sign-extended, a bool as 0 or 1."""
        if x.dtype.kind in "biu":
            x = self.arithmetic.cast(x, _INT64)
        self.text.do(f"store {element_type(x.dtype)} {x.text}, ptr {word}")

    def load_word(self, word: str, dtype: np.dtype) -> Handle:
        """Read a scalar from its word."""
        return self.lanes.load(word, dtype, 1, 1)

    # blocks

    def block(self, block: Block) -> None:
        """Write every step of a block."""
        steps, groups = join_stores(self.schedule, self.plan, self.schedule.steps[block])
        self.together |= groups
        written = {op for ops in groups.values() for op in ops}
        for step in steps:
            if step.kind == "nest":
                self.nest(step)
            elif step.kind == "op" and step.ops[0] not in written:
                self.op(step.ops[0])
            elif step.kind == "result":
                self.result(block, step.position)

    def op(self, op: Op) -> None:
        """Write a single op."""
        self.location = op.location or self.location
        if not op.regions:
            self.pace.owe(16 if op.name in EXPENSIVE else 1)
        if op.primitive.scalar is not None:
            given = [self.scalar(v) for v in op.operands]
            self.handles[op.result] = self.arithmetic.elementwise(op, op.result.array.dtype, given)
        elif fusable(op):
            built = Expressions(self, self.text, ())
            goal = built.evaluate(op, ())
            self.handles[op.result] = evaluate_scalar(self.text, self.arithmetic, built.nodes, goal, self.scalar)
        elif op.name in LOWERS:
            LOWERS[op.name](self, op)
        else:
            raise error("JG250", op.location, what=f"the operation {op.name!r}")

    def nest(self, step: Step) -> None:
        """Write a loop nest with all its outputs."""
        self.location = step.ops[0].location or self.location
        domain = [self.size(d) for d in step.domain]
        roots = {op.result for op in step.ops if reduced_axes(op) is None and op.name != "reshape"}
        for op in step.ops:
            if not is_scalar(op.result):
                self.define(op.result)
        built = Expressions(self, self.text, domain, roots)
        outputs: list[Output] = []
        for op in step.ops:
            axes = reduced_axes(op)
            if axes is not None:
                node = built.node(op.operands[0], built.identity)
                if op.name == "norm2":
                    node = built.apply(MULTIPLY, node.dtype, [node, node])
                if is_scalar(op.result):
                    outputs.append(Output(node, None, op.name, op.result))
                    continue
                kept = [c for k, c in enumerate(built.identity) if k not in axes]
                place = built.access(self.view(op.result), kept)
                outputs.append(Output(node, place, op.name, in_memory=axes != step.axes))
                if axes != step.axes:
                    self.clear(op)
            elif op.name == "reshape":
                node = built.node(op.operands[0], built.identity)
                pointer = self.pointer(self.plan.place[op.result])
                large = is_large(op.result, self.schedule.most)
                view = View(pointer, 0, c_strides(self.text, domain), op.result.array.dtype, large)
                outputs.append(Output(node, built.access(view, built.identity)))
            else:
                node = built.node(op.result, built.identity)
                outputs.append(Output(node, built.access(self.view(op.result), built.identity)))
        outputs += [self.stored(op, built) for op in self.together.get(step.ops[0], ())]
        self.finish_nest(built, outputs, step.axes or ())

    def finish_nest(self, built: Expressions, outputs: Sequence[Output], reduced: Sequence[int] = ()) -> None:
        """Plan the loops of built expressions and write them."""
        targets = [o.access for o in outputs if o.access is not None]
        share_reciprocals(built, [o.node for o in outputs], self.arithmetic.estimates)
        self.pace.nest(built.domain, built.nodes)
        summed = {
            k for o in outputs if o.in_memory and o.access is not None for k, s in enumerate(o.access.steps) if s == 0
        }
        shape = plan_nest(self.text, built, targets, reduced, self.vector_bytes, [o.node for o in outputs], summed)
        self.handles |= emit_nest(self.text, self.arithmetic, shape, built.nodes, outputs, self.scalar)

    def clear(self, op: Op) -> None:
        """Write what an empty reduction gives."""
        built = Expressions(self, self.text, self.shape(op.result))
        view = self.view(op.result)
        node = built.number(identity(op.name, view.dtype), view.dtype)
        self.finish_nest(built, [Output(node, built.access(view, built.identity))])

    def fill(self, view: View, value: Value) -> None:
        """Write a value, evaluated or copied, into memory of its shape."""
        built = Expressions(self, self.text, self.shape(value))
        node = built.node(value, built.identity)
        self.finish_nest(built, [Output(node, built.access(view, built.identity))])

    def copy(self, target: View, source: View, shape: Sequence[Sym]) -> None:
        """Copy memory of a shape."""
        built = Expressions(self, self.text, shape)
        node = built.load(source, built.identity)
        self.finish_nest(built, [Output(node, built.access(target, built.identity))])

    def view_in(self, buffer: Buffer, like: Value) -> View:
        """Return memory in C order, of the type of a value, in a buffer."""
        strides = c_strides(self.text, self.shape(like))
        return View(self.pointer(buffer, like), 0, strides, like.array.dtype, is_large(like, self.schedule.most))

    def result(self, block: Block, position: int) -> None:
        """Copy a result to the memory that is handed back, unless it is there already."""
        value = block.yields[position]
        buffer = self.plan.place[value]
        if buffer.kind == "slot" and buffer.slot.out == position:
            return
        if value.array.is_static or position in self.early:
            name = f"%{self.text.fresh('p')}"
            self.text.entry.append(f"  {name}w = getelementptr i64, ptr %out, i64 {position}")
            self.text.entry.append(f"  {name} = load ptr, ptr {name}w")
        else:
            name = self._reserve_for(value, None, position)
        shape = self.shape(value)
        if self.result_orders[position] == "F":
            strides = c_strides(self.text, shape[::-1])[::-1]
        else:
            strides = c_strides(self.text, shape)
        self.fill(View(name, 0, strides, value.array.dtype, is_large(value, self.schedule.most)), value)

    def part(self, op: Op, built: Expressions, coords: Sequence[Coord]) -> tuple[Coord, ...]:
        """Return where the elements at some coordinates of the part that a store names lie in the array."""
        return built._part(op, tuple(coords))

    def owned(self, op: Op) -> View:
        """Return the memory that a store may change, filled with the old contents."""
        copied = op in self.plan.copied
        if copied:
            self.define(op.result)
        view = self.view(op.result)
        base = op.operands[0]
        if copied and not (base.op is not None and base.op.name == "undef"):
            self.fill(view, base)
        return view

    def stored(self, op: Op, built: Expressions) -> Output:
        """Return what a store or addto writes of an element of its value."""
        view = self.owned(op)
        coords = self.part(op, built, built.identity if op.operands[1].shape else ())
        node = built.node(op.operands[1], built.identity)
        if op.name == "addto":
            node = add_nodes(built, view.dtype, built.load(view, coords), node)
        return Output(node, built.access(view, coords))


def add_nodes(built: Expressions, dtype: np.dtype, x: Node, y: Node) -> Node:
    """Return the sum of two nodes."""
    return built.apply(ADD, dtype, [x, y])
