"""Ops that are neither elementwise nor reductions: stores, concatenation, scatter, scans.

In: the op and its buffers. Out: LLVM text. A store is a nest whose output is part of a buffer; what is stored is
computed in that nest. A scatter looks at one element after another, so that of repeated indices the last wins and sums
accumulate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from jitgrad.backend.emit import Emitter, add_nodes, lowers
from jitgrad.backend.emit_nest import emit_nest
from jitgrad.backend.emit_scalar import Handle
from jitgrad.backend.loops import Coord, Expressions, Output, View
from jitgrad.backend.nesting import plan_nest
from jitgrad.backend.structure import is_scalar
from jitgrad.backend.text import Sym, element_type, literal, register_type
from jitgrad.graph.ir import Op

__all__ = ["address_of", "over"]

_INT64 = np.dtype(np.int64)
# Of the squares in which an array is turned: two lines of a cache are 16 doubles.
_SIDE = 16
# The most numbers that are put together at once.
_AT_ONCE = 16


def over(e: Emitter, shape: Sequence[Sym], body: Callable[[list[Sym]], None]) -> None:
    """Write plain loops over every position of a shape."""

    def level(axis: int, at: list[Sym]) -> None:
        if axis == len(shape):
            body(at)
        elif shape[axis] == 1:
            level(axis + 1, [*at, 0])
        else:
            e.text.counted(shape[axis], lambda i: level(axis + 1, [*at, i]))

    level(0, [])


def address_of(e: Emitter, view: View, at: Sequence[Sym]) -> str:
    """Return the address of an element."""
    offset = view.offset
    for stride, i in zip(view.strides, at, strict=True):
        offset = e.text.add(offset, e.text.mul(stride, i))
    return e.text.address(view.pointer, element_type(view.dtype), offset)


@lowers("undef")
def op_undef(e: Emitter, op: Op) -> None:
    """Provide memory without contents."""
    if is_scalar(op.result):
        e.handles[op.result] = e.arithmetic.const(0, op.result.array.dtype)
    else:
        e.define(op.result)


@lowers("commit")
def op_commit(e: Emitter, op: Op) -> None:
    """Put values into the memory of arguments, unless they were computed there."""
    for value, index in zip(op.operands, op.attrs["arguments"], strict=True):
        if is_scalar(value):
            e.lanes.store(e.outside[index], e.scalar(value), 1, 1)
        elif (place := e.plan.place[value]).kind != "argument" or place.index != index:
            e.fill(e.view(e.schedule.graph.args[index]), value)


@lowers("store", "addto")
def op_store(e: Emitter, op: Op) -> None:
    """Write or accumulate a part, and those of stores that share the nest."""
    base, v = op.operands[:2]
    if is_scalar(base):
        new = e.scalar(v)
        e.handles[op.result] = new if op.name == "store" else e.arithmetic.add(e.scalar(base), new)
        return
    built = Expressions(e, e.text, e.shape(v))
    outputs = [e.stored(each, built) for each in (op, *e.together.get(op, ()))]
    e.finish_nest(built, outputs)


@lowers("concatenate")
def op_concatenate(e: Emitter, op: Op) -> None:
    """Compute each part in its place."""
    e.define(op.result)
    view = e.view(op.result)
    numbers = view.dtype.kind == "f" and view.strides == (1,) and all(v.shape == (1,) for v in op.operands)
    if numbers and 1 < len(op.operands) <= _AT_ONCE:
        _row_of_numbers(e, op, view)
        return
    axis = op.attrs["axis"]
    start: Sym = 0
    for v in op.operands:
        if is_scalar(v):
            continue  # the size of the result
        built = Expressions(e, e.text, e.shape(v))
        coords = list(built.identity)
        here = coords[axis]
        coords[axis] = Coord(e.text.add(start, here.offset), here.dim, here.step)
        node = built.node(v, built.identity)
        e.finish_nest(built, [Output(node, built.access(view, coords))])
        start = e.text.add(start, e.size(v.shape[axis]))


def _row_of_numbers(e: Emitter, op: Op, view: View) -> None:
    """Write numbers at once: who reads them together need not wait until each is in memory."""
    number = element_type(view.dtype)
    of, row = f"<{len(op.operands)} x {number}>", "poison"
    for k, v in enumerate(op.operands):
        row = e.text.emit(f"insertelement {of} {row}, {number} {e.element(v, (0,)).text}, i64 {k}")
    place = e.text.address(view.pointer, number, view.offset)
    e.text.do(f"store {of} {row}, ptr {place}, align {view.dtype.itemsize}")


def _left(e: Emitter, size: Sym, start: Sym) -> Sym:
    """Return the side of a square that starts somewhere in an axis."""
    whole = isinstance(size, int) and size % _SIDE == 0
    return _SIDE if whole else e.text.least(_SIDE, e.text.sub(size, start))


@lowers("relayout")
def op_relayout(e: Emitter, op: Op) -> None:
    """Copy an array to another order of its axes, square by square: all lines of a square stay in the cache."""
    (x,) = op.operands
    e.define(op.result)
    view = e.view(op.result)
    shape = e.shape(x)
    split = op.attrs["split"]
    row, column = split - 1, len(shape) - 1  # the axis that is last in the result, and that which is last in x

    def square(at: list[Sym], i0: str, j0: str) -> None:
        text = e.text
        sizes = [_left(e, shape[axis], k) for k, axis in ((i0, row), (j0, column))]
        built = Expressions(e, text, sizes)
        coords = _fixed(at)
        coords[row], coords[column] = Coord(i0, 0, 1), Coord(j0, 1, 1)
        node = built.node(x, tuple(coords))
        access = built.access(view, [*coords[split:], *coords[:split]])
        nest = plan_nest(text, built, [access], (), 1, [node])  # one by one: elements of x lie apart
        emit_nest(text, e.arithmetic, nest, built.nodes, [Output(node, access)], e.scalar)

    def squares(at: list[Sym]) -> None:
        at = [*at]
        e.text.counted(
            shape[row],
            lambda i0: e.text.counted(shape[column], lambda j0: square(at, i0, j0), step=_SIDE),
            step=_SIDE,
        )

    e.pace.array(shape, 2)
    over(e, [1 if k in (row, column) else d for k, d in enumerate(shape)], squares)


@lowers("scatter", "scatter_add")
def op_scatter(e: Emitter, op: Op) -> None:
    """Write or accumulate elements, or the parts that belong to them, at computed positions, in order."""
    view = e.owned(op)
    _, v, *indices = op.operands
    lead = len(v.shape) - (len(view.strides) - len(indices))
    shape = e.shape(v)

    def body(at: list[Sym]) -> None:
        where: list[Sym] = []
        for index in indices:
            skip = lead - len(index.shape)
            coords = [0 if d == 1 else at[skip + k] for k, d in enumerate(index.shape)]
            place = e.element(index, coords)
            where.append(int(place.text) if place.constant else place.text)
        built = Expressions(e, e.text, shape[lead:])
        node = built.node(v, (*_fixed(at), *built.identity))
        target = (*_fixed(where), *built.identity)
        if op.name == "scatter_add":
            node = add_nodes(built, view.dtype, built.load(view, target), node)
        access = built.access(view, target)
        nest = plan_nest(e.text, built, [access], (), e.vector_bytes, [node])
        emit_nest(e.text, e.arithmetic, nest, built.nodes, [Output(node, access)], e.scalar)

    e.pace.array(shape, 2)
    over(e, shape[:lead], body)


def _fixed(at: Sequence[Sym]) -> list[Coord]:
    return [Coord(k, None, 0) for k in at]


@lowers("cumsum", "cumprod")
def op_scan(e: Emitter, op: Op) -> None:
    """Add or multiply up along an axis, one after another as NumPy does."""
    (x,) = op.operands
    axis = op.attrs["axis"]
    shape = e.shape(x)
    e.define(op.result)
    view = e.view(op.result)
    dtype, kind = view.dtype, register_type(view.dtype)
    total = e.text.alloca(kind)
    combine = e.arithmetic.add if op.name == "cumsum" else e.arithmetic.mul

    def one(at: list[Sym]) -> None:
        e.text.do(f"store {kind} {literal(0 if op.name == 'cumsum' else 1, dtype)}, ptr {total}")

        def step(i: str | int) -> None:
            place = [*at[:axis], i, *at[axis:]]
            new = e.element(x, place)
            if i != 0:
                new = combine(Handle(e.text.emit(f"load {kind}, ptr {total}"), dtype), new)
            e.text.do(f"store {kind} {new.text}, ptr {total}")
            e.lanes.store(address_of(e, view, place), new, 1, 1)

        if isinstance(shape[axis], int) and shape[axis] == 0:
            return
        if isinstance(shape[axis], int):
            step(0)
            e.text.counted(shape[axis], step, start=1)
        else:
            e.text.counted(shape[axis], step)

    e.pace.array(shape, 2)
    over(e, shape[:axis] + shape[axis + 1 :], one)
