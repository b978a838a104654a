"""Loop nests as LLVM text: explicit vectors, a tail of the exact width, reductions in partial accumulators.

In: a planned nest with its outputs. Out: instructions. A value that does not move with a loop is computed outside it.
Float sums are blocked: a lane adds at most `BLOCK` terms before its partial sum goes to a cascade that adds partial
sums pairwise, so that the error bound is that of pairwise summation and the result depends on nothing but the sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from jitgrad.backend.emit_lanes import Lanes
from jitgrad.backend.emit_reduce import Accumulator, cascade, collapse, combine, identity
from jitgrad.backend.emit_scalar import Arithmetic, Handle
from jitgrad.backend.estimates import reciprocal
from jitgrad.backend.loops import SELECT, Access, Coord, Node, Output
from jitgrad.backend.margins import Inside, inside_of
from jitgrad.backend.nesting import NestShape
from jitgrad.backend.streams import lines_ahead
from jitgrad.backend.tails import moves, runs_apart, tail_width
from jitgrad.backend.text import FunctionText, Sym, element_type, literal, register_type, vector
from jitgrad.graph.ir import Value

__all__ = ["emit_nest", "evaluate_scalar"]

BLOCK = 32  # terms that one lane adds in a row
LEVELS = 48  # partial sums of 2**48 blocks

_INT64 = np.dtype(np.int64)
_UINT64 = np.dtype(np.uint64)


class _Nest:
    def __init__(
        self,
        text: FunctionText,
        arithmetic: Arithmetic,
        shape: NestShape,
        nodes: Sequence[Node],
        outputs: Sequence[Output],
        scalars: Callable[[Value], Handle],
    ) -> None:
        self.text = text
        self.arithmetic = arithmetic
        self.lanes = Lanes(text, arithmetic)
        self.shape = shape
        self.outputs = outputs
        self.scalars = scalars
        self.results: dict[Value, Handle] = {}
        self.splats: dict[Node, Handle] = {}
        self.level = {dim: k + 1 for k, dim in enumerate(shape.order)}
        self.by_level: list[list[Node]] = [[] for _ in range(len(shape.order) + 1)]
        for n in nodes:
            self.by_level[max((self.level[d] for d in shape.order if n.dims >> d & 1), default=0)].append(n)
        self.reads = [n.access for n in nodes if n.access is not None]
        self.accumulators: list[Accumulator] = []
        self.pushed = self.terms = ""
        self.count: Sym = shape.width  # real lanes
        self.all_inside = False  # whether all lanes lie inside of arrays with margins

    # the loops

    def run(self) -> dict[Value, Handle]:
        env: dict[Node, Handle] = {}
        pointers = self.first()
        moved = moves(self.shape, self.outputs)
        if moved is not None:
            target, source, bytes = moved
            self.lanes.move(self._place(target, pointers), self._place(source, pointers) if source else None, bytes)
            return self.results
        self._evaluate(0, env, pointers, {})
        if any(o.in_registers for o in self.outputs) and self.shape.kept == 0:
            self._reduce(0, env, pointers, {})
        else:
            self._loop(1, env, pointers, {})
        return self.results

    def first(self) -> dict[Access, str]:
        """Return the addresses that the loops start from, but for constants.

        A constant is part of the address in an instruction: what differs by constants is one address until then.
        """
        bases = [(a, 0 if isinstance(a.base, int) else a.base) for a in self._accesses()]
        return {a: self.text.address(a.pointer, element_type(a.dtype), base) for a, base in bases}

    def _place(self, access: Access, pointers: dict[Access, str], further: int = 0) -> str:
        """Return the address of the elements that are worked on, or of some behind them."""
        ahead = (access.base if isinstance(access.base, int) else 0) + further
        return self.text.address(pointers[access], element_type(access.dtype), ahead)

    def _accesses(self) -> list[Access]:
        found = [n.access for level in self.by_level for n in level if n.access is not None]
        return found + [o.access for o in self.outputs if o.access is not None]

    def _loop(self, level: int, env: dict[Node, Handle], pointers: dict[Access, str], at: dict[int, Sym]) -> None:
        """Write the loops from a level inwards."""
        if level > len(self.shape.order):
            self._innermost(env, pointers)
            return
        dim = self.shape.order[level - 1]
        size = self.shape.sizes[dim]
        if dim != self.shape.lanes:
            if self._blocked(level):
                self._blocks(size, lambda i: self._inside(level, env, pointers, at, dim, i))
            else:
                self._counted(size, lambda i: self._inside(level, env, pointers, at, dim, i))
            return
        width = self.shape.width
        rest: Sym = size % width if isinstance(size, int) else 0
        if not isinstance(size, int) and width > 1:
            rest = self.text.emit(f"and i64 {size}, {width - 1}")
        whole = self.text.sub(size, rest)

        def body(i: Sym) -> None:
            self._inside(level, env, pointers, at, dim, i)

        inside = None
        if level == len(self.shape.order) and not self.accumulators:
            inside = inside_of([n for nodes in self.by_level for n in nodes], dim, width)
        if self._blocked(level) or inside is not None:
            shift = width.bit_length() - 1
            full = whole >> shift if isinstance(whole, int) else self.text.emit(f"lshr exact i64 {whole}, {shift}")
            if inside is None:
                self._blocks(full, lambda i: body(self.text.mul(i, width)))
            else:
                self._inside_first(inside, full, lambda i: body(self.text.mul(i, width)), env)
        elif whole == width:
            body(0)
        elif whole != 0:
            self.text.counted(whole, body, step=width, as_is=True, meets=True)
        if rest == 0:
            return

        def tail() -> None:
            self.count = rest
            self.shape.width = width if self.accumulators else tail_width(rest, width, self.by_level)
            self._inside(level, env, pointers, at, dim, whole)
            if self._blocked(level):
                self._count(1)
            self.count = self.shape.width = width

        if isinstance(rest, int):
            tail()
        elif not self.accumulators and runs_apart(self.shape, level, self.by_level, self.outputs):
            # Lanes of a run-time tail that lie apart take a test each: they are shorter one by one.
            self.count = self.shape.width = 1
            self.text.counted(size, body, start=whole, as_is=True)
            self.count = self.shape.width = width
        else:
            self.text.when(self.text.emit(f"icmp ne i64 {rest}, 0"), tail)

    def _inside_first(self, inside: Inside, full: Sym, body: Callable[[Sym], None], env: dict[Node, Handle]) -> None:
        """Write the vectors that lie inside of all arrays with margins, then the others, which ask element by element.

        The order is ours: there are no sums, and what is read is not written.
        """
        text = self.text
        first: Sym = inside.first
        end = full
        for size, offset in inside.before:
            end = text.least(end, text.shift_right(text.sub(size, offset), self.shape.width.bit_length() - 1))
        end = text.most(end, first)
        if inside.rows:
            rows = env[inside.rows[0]]
            for n in inside.rows[1:]:
                rows = self.arithmetic.logical("and", rows, env[n])
            first = text.emit(f"select i1 {rows.text}, i64 {first}, i64 0")
            end = text.emit(f"select i1 {rows.text}, i64 {end}, i64 0")
        self.all_inside = True
        text.counted(end, body, start=first, as_is=True)
        self.all_inside = False
        done = text.sub(end, first)

        def other(i: Sym) -> None:
            behind = text.emit(f"icmp sge i64 {i}, {first}")
            body(text.add(i, text.emit(f"select i1 {behind}, i64 {done}, i64 0")))

        text.counted(text.sub(full, done), other, as_is=True)

    def _counted(self, trips: Sym, body: Callable[[Sym], None]) -> None:
        if trips == 1:
            body(0)
        elif trips != 0:
            self.text.counted(trips, body, as_is=True)

    def _inside(
        self,
        level: int,
        env: dict[Node, Handle],
        pointers: dict[Access, str],
        at: dict[int, Sym],
        dim: int,
        index: Sym,
    ) -> None:
        """Write the body of the loop at a level."""
        at = at | {dim: index}
        pointers = dict(pointers)
        for access in self._accesses():
            step = access.steps[dim]
            if step != 0:
                offset = self.text.mul(index, step)
                pointers[access] = self.text.address(pointers[access], element_type(access.dtype), offset)
        env = dict(env)
        self._evaluate(level, env, pointers, at)
        if level == self.shape.kept and any(o.in_registers for o in self.outputs):
            self._reduce(level, env, pointers, at)
        else:
            self._loop(level + 1, env, pointers, at)

    def _innermost(self, env: dict[Node, Handle], pointers: dict[Access, str]) -> None:
        for o in self.outputs:
            if not o.in_registers:
                assert o.access is not None
                x = self._wide(env[o.node])
                if o.in_memory:
                    x = combine(self.arithmetic, o.reduction, self._wide(self._load(o.access, pointers)), x)
                else:
                    self._fetch(o.access, pointers)
                self._store(o.access, pointers, x)
        for a in self.accumulators:
            self._accumulate(a, env)

    def _wide(self, x: Handle) -> Handle:
        return self.arithmetic.splat(x, self.shape.width) if x.width != self.shape.width else x

    def _load(self, access: Access, pointers: dict[Access, str]) -> Handle:
        """Return what lies where an element goes."""
        lanes, width = self.shape.lanes, self.shape.width
        pointer = self._place(access, pointers)
        step = 0 if lanes is None else access.steps[lanes]
        return self.lanes.load_along(pointer, access.dtype, width if step != 0 else 1, self.count, step)

    def _store(self, access: Access, pointers: dict[Access, str], x: Handle) -> None:
        lanes = self.shape.lanes
        width = self.shape.width
        pointer = self._place(access, pointers)
        if lanes is None or access.steps[lanes] == 0:
            one = self.lanes.element(x, 0) if x.width > 1 else x
            self.lanes.store(pointer, one, 1, 1)
        elif access.steps[lanes] == 1 or width == 1:
            self.lanes.store(pointer, x, width, self.count)
        else:
            self.lanes.store_strided(pointer, x, width, self.count, access.steps[lanes])

    def _fetch(self, access: Access, pointers: dict[Access, str]) -> None:
        """Ask for memory that later vectors are stored in."""
        lanes, width = self.shape.lanes, self.shape.width
        if lanes is not None and self.count == width:
            for k in lines_ahead(access, lanes, width, self.reads):
                self.lanes.fetch(self._place(access, pointers, k))

    # expressions

    def _evaluate(self, level: int, env: dict[Node, Handle], pointers: dict[Access, str], at: dict[int, Sym]) -> None:
        for n in self.by_level[level]:
            made = env[n] = self._node(n, env, pointers, at)
            if n.wide and made.width == 1 and not made.constant and self.shape.width > 1:
                # Splat where the scalar is made, not in the loop inside.
                self.splats[n] = self.arithmetic.splat(made, self.shape.width)

    def _node(self, n: Node, env: dict[Node, Handle], pointers: dict[Access, str], at: dict[int, Sym]) -> Handle:
        lanes = self.shape.lanes
        moving = lanes is not None and bool(n.dims >> lanes & 1)
        width = self.shape.width if moving else 1
        count: Sym = self.count if moving else 1
        match n.kind:
            case "constant":
                return self.arithmetic.const(n.payload, n.dtype)
            case "scalar":
                return self.scalars(n.payload)
            case "load":
                assert n.access is not None
                step = 0 if lanes is None else n.access.steps[lanes]
                pointer = self._place(n.access, pointers)
                if n.operands and not self.all_inside:
                    where = self._operand(n.operands[0], env, width)
                    return self.lanes.load_where(pointer, n.dtype, width, count, step, where)
                return self.lanes.load_along(pointer, n.dtype, width, count, step)
            case "index":
                return self._position(n, n.payload, n.dtype, width, at)
            case "inside":
                if self.all_inside:
                    return self.arithmetic.const(True, n.dtype)
                coord, size = n.payload
                # As unsigned numbers, those before the first are beyond the last.
                x = self._position(n, coord, _INT64, width, at)
                place = Handle(x.text, _UINT64, x.width, x.constant)
                return self.arithmetic.compare("<", place, Handle(str(size), _UINT64, 1, isinstance(size, int)))
            case "gather":
                return self._gather(n, env, pointers, width, count)
        operands = [self._operand(o, env, width) for o in n.operands]
        if self.all_inside and n.payload is SELECT:
            return operands[1]
        if n.payload.name == "reciprocal" and n.payload.attrs:
            return reciprocal(self.arithmetic, operands[0], "of_root" in n.payload.attrs)
        return self.arithmetic.elementwise(n.payload, n.dtype, operands)

    def _operand(self, n: Node, env: dict[Node, Handle], width: int) -> Handle:
        """Return a node's value, splat where that has been done already."""
        x = env[n]
        splat = self.splats.get(n) if width > 1 and x.width == 1 else None
        return splat if splat is not None and splat.width == width else x

    def _position(self, n: Node, coord: Coord, dtype: np.dtype, width: int, at: dict[int, Sym]) -> Handle:
        if coord.dim is None:
            return self._integer(coord.offset, dtype)
        dim = next(d for d in self.shape.order if n.dims >> d & 1)
        start = self.text.add(coord.offset, self.text.mul(coord.step, at[dim]))
        first = Handle(str(start), _INT64, 1, isinstance(start, int))
        if width > 1:
            step = Handle(str(coord.step), _INT64, 1, isinstance(coord.step, int))
            first = self.arithmetic.add(first, self.arithmetic.mul(self.lanes.numbers(width), step))
        return self.arithmetic.cast(first, dtype)

    def _integer(self, x: Sym, dtype: np.dtype) -> Handle:
        if isinstance(x, int):
            return self.arithmetic.const(x, dtype)
        return self.arithmetic.cast(Handle(x, _INT64), dtype)

    def _gather(self, n: Node, env: dict[Node, Handle], pointers: dict[Access, str], width: int, count: Sym) -> Handle:
        assert n.access is not None
        step = 0 if self.shape.lanes is None else n.access.steps[self.shape.lanes]
        total: Handle | None = None
        for o, stride in zip(n.operands, n.payload, strict=True):
            index = env[o]
            factor = Handle(str(stride), _INT64, 1, isinstance(stride, int))
            part = index if stride == 1 else self.arithmetic.mul(index, factor)
            total = part if total is None else self.arithmetic.add(total, part)
        assert total is not None
        if width > 1 and total.width == 1:
            # The same row for all lanes: they lie as its elements do.
            row = self.text.address(self._place(n.access, pointers), element_type(n.dtype), total.text)
            return self.lanes.load_along(row, n.dtype, width, count, step)
        if width > 1 and step != 0:
            factor = Handle(str(step), _INT64, 1, isinstance(step, int))
            total = self.arithmetic.add(total, self.arithmetic.mul(self.lanes.numbers(width), factor))
        if total.constant and width > 1:
            total = Handle(total.text, total.dtype, width)
        return self.lanes.gather(self._place(n.access, pointers), n.dtype, total, count)

    # reductions

    def _reduce(self, level: int, env: dict[Node, Handle], pointers: dict[Access, str], at: dict[int, Sym]) -> None:
        """Write the reduced loops of one kept element, or of one vector of them."""
        outer = self.accumulators
        self.accumulators = []
        for o in self.outputs:
            if o.in_registers:
                dtype = o.node.dtype
                of = vector(register_type(dtype), self.shape.width)
                self.accumulators.append(Accumulator(o, dtype, self.text.alloca(of)))
        blocked = self._blocked(len(self.shape.order))
        if blocked:
            self.pushed, self.terms = self.text.alloca("i64"), self.text.alloca("i64")
            self.text.do(f"store i64 0, ptr {self.pushed}")
            self.text.do(f"store i64 0, ptr {self.terms}")
            for k, a in enumerate(self.accumulators):
                if self._cascades(a):
                    of = vector(register_type(a.dtype), self.shape.width)
                    a.stack = self.text.shared(f"stack {k}", f"[{LEVELS} x {of}]")
        for a in self.accumulators:
            self._reset(a)
        self._loop(level + 1, env, pointers, at)
        for a in self.accumulators:
            total = self._finish(a)
            if a.output.reduction == "norm2":
                total = self.arithmetic.math("sqrt", total)
            if a.output.access is not None:
                self._store(a.output.access, pointers, total)
            if a.output.result is not None:
                self.results[a.output.result] = total
        self.accumulators = outer

    def _cascades(self, a: Accumulator) -> bool:
        return a.output.reduction in ("reduce_marked", "reduce_sum", "norm2") and a.dtype.kind == "f"

    def _blocked(self, level: int) -> bool:
        """Whether the loop at a level adds too many floats in a row for one accumulator a lane."""
        if level != len(self.shape.order) or self.shape.kept == len(self.shape.order):
            return False
        if not any(self._cascades(a) for a in self.accumulators):
            return False
        total = 1
        for dim in self.shape.order[self.shape.kept :]:
            size = self.shape.sizes[dim]
            if not isinstance(size, int):
                if size not in self.text.largest:
                    return True
                size = self.text.largest[size]
            total *= -(-size // self.shape.width) if dim == self.shape.lanes else size
        return total > BLOCK

    def _blocks(self, trips: Sym, body: Callable[[Sym], None]) -> None:
        """Write a loop in blocks; where enough terms have come together, the partial sums go to the cascade."""
        text = self.text

        def block(start: Sym) -> None:
            before = text.emit(f"load i64, ptr {self.terms}")
            text.when(text.emit(f"icmp sge i64 {before}, {BLOCK}"), self._push)
            past = text.add(start, BLOCK)
            stop = past if isinstance(trips, int) and trips % BLOCK == 0 else text.least(past, trips)
            text.counted(stop, body, start=start, as_is=self.shape.width > 1)
            self._count(text.sub(stop, start))

        text.counted(trips, block, step=BLOCK, as_is=self.shape.width > 1)

    def _count(self, more: Sym) -> None:
        """Note how many terms the accumulators have taken."""
        before = self.text.emit(f"load i64, ptr {self.terms}")
        self.text.do(f"store i64 {self.text.add(before, more)}, ptr {self.terms}")

    def _push(self) -> None:
        """Hand the partial sums to the cascade and start new ones."""
        text = self.text
        count = text.emit(f"load i64, ptr {self.pushed}")
        for a in self.accumulators:
            if a.stack:
                of = vector(register_type(a.dtype), self.shape.width)
                value = text.emit(f"load {of}, ptr {a.slot}")
                name = cascade(text, register_type(a.dtype), self.shape.width)
                text.do(f"call fastcc void @{name}_push(ptr {a.stack}, i64 {count}, {of} {value})")
                self._reset(a)
        following = text.emit(f"add i64 {count}, 1")
        text.do(f"store i64 {following}, ptr {self.pushed}")
        text.do(f"store i64 0, ptr {self.terms}")

    def _identity(self, a: Accumulator) -> str:
        return literal(identity(a.output.reduction, a.dtype), a.dtype)

    def _reset(self, a: Accumulator) -> None:
        kind = register_type(a.dtype)
        of = vector(kind, self.shape.width)
        value = self._identity(a)
        text = value if self.shape.width == 1 else f"splat ({kind} {value})"
        self.text.do(f"store {of} {text}, ptr {a.slot}")

    def _accumulate(self, a: Accumulator, env: dict[Node, Handle]) -> None:
        x = self._wide(env[a.output.node])
        width = self.shape.width
        lanes = self.shape.lanes
        along = lanes is not None and lanes in self.shape.order[self.shape.kept :]
        if along and self.count != width:
            mask = Handle(self.lanes.mask(width, self.count), np.dtype(np.bool_), width)
            neutral = Handle(self._identity(a), a.dtype, 1, True)
            x = self.arithmetic.select(mask, x, neutral)
        of = vector(register_type(a.dtype), width)
        before = Handle(self.text.emit(f"load {of}, ptr {a.slot}"), a.dtype, width)
        after = combine(self.arithmetic, a.output.reduction, before, x)
        self.text.do(f"store {of} {after.text}, ptr {a.slot}")

    def _finish(self, a: Accumulator) -> Handle:
        width = self.shape.width
        of = vector(register_type(a.dtype), width)
        if a.stack:
            count = self.text.emit(f"load i64, ptr {self.pushed}")

            def add_pushed() -> None:
                name = cascade(self.text, register_type(a.dtype), width)
                earlier = self.text.emit(f"call fastcc {of} @{name}_total(ptr {a.stack}, i64 {count})")
                last = self.text.emit(f"load {of}, ptr {a.slot}")
                self.text.do(f"store {of} {self.text.emit(f'fadd {of} {earlier}, {last}')}, ptr {a.slot}")

            self.text.when(self.text.emit(f"icmp ne i64 {count}, 0"), add_pushed)
        total = Handle(self.text.emit(f"load {of}, ptr {a.slot}"), a.dtype, width)
        lanes = self.shape.lanes
        if lanes is not None and lanes in self.shape.order[self.shape.kept :]:
            total = collapse(self.text, self.lanes, a.output.reduction, total)
        return total


def emit_nest(
    text: FunctionText,
    arithmetic: Arithmetic,
    shape: NestShape,
    nodes: Sequence[Node],
    outputs: Sequence[Output],
    scalars: Callable[[Value], Handle],
) -> dict[Value, Handle]:
    """Write a nest and return the scalars that its full reductions define."""
    return _Nest(text, arithmetic, shape, nodes, outputs, scalars).run()


def evaluate_scalar(
    text: FunctionText, arithmetic: Arithmetic, nodes: Sequence[Node], goal: Node, scalars: Callable[[Value], Handle]
) -> Handle:
    """Write one element at a fixed position and return it."""
    nest = _Nest(text, arithmetic, NestShape([], [], 0, None, 1), nodes, [], scalars)
    env: dict[Node, Handle] = {}
    nest._evaluate(0, env, nest.first(), {})
    return env[goal]
