"""Matrix products: BLAS through the symbols that are in the process, or loops for small sizes.

In: a `matmul` op whose operands are strided views. Out: a call of gemm (gemv where one side is a vector) that takes a
transposed operand as it lies, once for each batch; products of small known sizes, of integers, and those for which no
BLAS is to be had become a loop nest that sums over the inner dimension. A `matmul_into` writes where it is told to, or
adds to what is there, which costs BLAS nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from jitgrad.backend.blas import Routine, find
from jitgrad.backend.emit import Emitter, lowers
from jitgrad.backend.emit_small import flipped, multiply_small
from jitgrad.backend.loops import HERE, MULTIPLY, Coord, Expressions, Node, Output, View
from jitgrad.backend.text import Sym, element_type, literal
from jitgrad.graph.ir import Op

__all__ = ["PLAIN", "ROW_MAJOR", "TRANSPOSED", "blas_for", "is_small", "layout_of", "operand_view"]

SMALL = 8 * 8 * 8  # products below this many multiplications are loops of our own
ROW_MAJOR, PLAIN, TRANSPOSED = 101, 111, 112


def is_small(count: Sym) -> bool:
    """Whether a product of so many multiplications is a loop nest."""
    return isinstance(count, int) and count <= SMALL


def blas_for(dtype: np.dtype) -> tuple[Routine, Routine] | None:
    """Return gemm and gemv for a dtype, None if they are not to be had."""
    letter = {"float64": "d", "float32": "s"}.get(dtype.name)
    gemm = find(f"{letter}gemm") if letter else None
    gemv = find(f"{letter}gemv") if gemm else None
    return None if gemm is None or gemv is None else (gemm, gemv)


@lowers("matmul")
def op_matmul(e: Emitter, op: Op) -> None:
    """Write a matrix product."""
    x, y = (operand_view(e, op, i) for i in range(2))
    e.define(op.result)
    out = e.view(op.result)
    shape = e.shape(op.result)
    m, n, k = shape[-2], shape[-1], e.size(op.operands[0].shape[-1])
    count = e.text.mul(e.text.mul(m, n), k)
    routines = None if is_small(count) or k == 0 else blas_for(op.result.array.dtype)
    if routines is None:
        _loops(e, op, x, y, out)
        return
    e.pace.array((*shape, k))

    def one(a: str, b: str, c: str) -> None:
        _product(e, routines, (x, a), (y, b), (out, c), (m, n, k), (1, 0))

    if isinstance(count, int):
        _batches(e, op, (x, y, out), one)
        return
    # Sizes may be 0, which BLAS takes for errors or for nothing to do.
    own, large, done = (e.text.fresh(name) for name in ("own", "large", "done"))
    e.text.branch_if(e.text.emit(f"icmp sle i64 {count}, {SMALL}"), own, large)
    e.text.start(own)
    _loops(e, op, x, y, out)
    e.text.branch(done)
    e.text.start(large)
    _batches(e, op, (x, y, out), one)
    e.text.branch(done)
    e.text.start(done)


@lowers("matmul_into")
def op_matmul_into(e: Emitter, op: Op) -> None:
    """Write a product into a part of an array, or add it to what is there."""
    (m, k), n = e.shape(op.operands[1]), e.size(op.operands[2].shape[1])
    routines = blas_for(op.result.array.dtype)
    if routines is None:
        _loops_into(e, op, (m, k, n))
        return
    x, y = (operand_view(e, op, i) for i in (1, 2))
    e.pace.array((m, n, k))
    built = Expressions(e, e.text, (m, n))
    place = built.access(e.owned(op), e.part(op, built, built.identity))
    out = View(place.pointer, place.base, tuple(place.steps), place.dtype)
    scale = (-1 if op.attrs["negative"] else 1, 1 if op.attrs["onto"] else 0)

    def product() -> None:
        a, b, c = (e.text.address(v.pointer, element_type(v.dtype), v.offset) for v in (x, y, out))
        _product(e, routines, (x, a), (y, b), (out, c), (m, n, k), scale)

    count = e.text.mul(e.text.mul(m, n), k)
    if isinstance(count, int):
        product()
        return
    # Where sizes may be 0, products are only added: then there is nothing to do.
    some, done = (e.text.fresh(name) for name in ("some", "done"))
    e.text.branch_if(e.text.emit(f"icmp sgt i64 {count}, 0"), some, done)
    e.text.start(some)
    product()
    e.text.branch(done)
    e.text.start(done)


def operand_view(e: Emitter, op: Op, i: int) -> View:
    """Return an operand of an op in memory that BLAS can read."""
    value = op.operands[i]
    buffer = e.plan.scratch.get((op, i))
    if buffer is None:
        return e.view(value)
    e.provide(buffer, value)
    view = e.view_in(buffer, value)
    e.fill(view, value)
    return view


def _step(view: View, axis: int) -> Sym:
    """Return the stride of a vector among the last two axes."""
    stride = view.strides[-2:][axis]
    return stride if stride != 0 else 1


def _batches(e: Emitter, op: Op, views: Sequence[View], one: Callable[[str, str, str], None]) -> None:
    """Call `one` with the addresses of each pair of matrices and their product."""
    lead = e.shape(op.result)[:-2]
    ranks = [len(v.strides) - 2 for v in views]
    shapes = [v.shape for v in (*op.operands, op.result)]

    def level(axis: int, offsets: list[Sym]) -> None:
        if axis == len(lead):
            one(*(e.text.address(v.pointer, element_type(v.dtype), o) for v, o in zip(views, offsets, strict=True)))
            return

        def body(i: Sym) -> None:
            inner = []
            for v, dims, rank, offset in zip(views, shapes, ranks, offsets, strict=True):
                at = axis - (len(lead) - rank)
                stride = v.strides[at] if at >= 0 and dims[at] != 1 else 0
                inner.append(e.text.add(offset, e.text.mul(i, stride)))
            level(axis + 1, inner)

        if lead[axis] == 1:
            body(0)
        else:
            e.text.counted(lead[axis], body)

    level(0, [v.offset for v in views])


def layout_of(view: View, rows: Sym, columns: Sym) -> tuple[int, Sym]:
    """Return how a matrix lies (PLAIN or TRANSPOSED) and its leading dimension."""
    down, along = view.strides[-2:]
    if along == 1 or columns == 1:
        if rows == 1 or down == 0:
            return PLAIN, columns if columns != 0 else 1
        if along == 1 or down != 1:
            return PLAIN, down
    if columns == 1 or along == 0:
        return TRANSPOSED, rows if rows != 0 else 1
    return TRANSPOSED, along


def _product(
    e: Emitter,
    routines: tuple[Routine, Routine],
    x: tuple[View, str],
    y: tuple[View, str],
    out: tuple[View, str],
    sizes: tuple[Sym, Sym, Sym],
    scale: tuple[int, int],
) -> None:
    """Call BLAS for one pair of matrices: `out = scale[0] * x @ y + scale[1] * out`."""
    (gemm, gemv), (m, n, k) = routines, sizes
    if n == 1:
        _gemv(e, gemv, (*x, m, k), (y[1], _step(y[0], 0)), (out[1], _step(out[0], 0)), scale)
    elif m == 1:
        _gemv(e, gemv, (flipped(y[0]), y[1], n, k), (x[1], _step(x[0], 1)), (out[1], _step(out[0], 1)), scale)
    else:
        _gemm(e, gemm, (*x, m, k), (*y, k, n), out, sizes, scale)


def _gemm(
    e: Emitter,
    routine: Routine,
    x: tuple[View, str, Sym, Sym],
    y: tuple[View, str, Sym, Sym],
    out: tuple[View, str],
    sizes: tuple[Sym, Sym, Sym],
    scale: tuple[int, int],
) -> None:
    m, n, k = sizes
    trans_x, ld_x = layout_of(x[0], x[2], x[3])
    trans_y, ld_y = layout_of(y[0], y[2], y[3])
    _, ld_out = layout_of(out[0], m, n)
    number = element_type(out[0].dtype)
    alpha, beta = (literal(v, out[0].dtype) for v in scale)
    integer = f"i{routine.integer_bits}"
    words = [_int(e, routine, v) for v in (m, n, k, ld_x, ld_y, ld_out)]
    rows, columns, inner, lx, ly, lo = words
    e.text.declare(
        f"void @{routine.symbol}(i32, i32, i32, {integer}, {integer}, {integer}, {number}, ptr, {integer}, "
        f"ptr, {integer}, {number}, ptr, {integer}) nounwind"
    )
    e.text.externals[routine.symbol] = None
    e.text.do(
        f"call void @{routine.symbol}(i32 {ROW_MAJOR}, i32 {trans_x}, i32 {trans_y}, {integer} {rows}, "
        f"{integer} {columns}, {integer} {inner}, {number} {alpha}, ptr {x[1]}, {integer} {lx}, ptr {y[1]}, "
        f"{integer} {ly}, {number} {beta}, ptr {out[1]}, {integer} {lo})"
    )


def _gemv(
    e: Emitter,
    routine: Routine,
    matrix: tuple[View, str, Sym, Sym],
    x: tuple[str, Sym],
    out: tuple[str, Sym],
    scale: tuple[int, int],
) -> None:
    view, pointer, rows, columns = matrix
    trans, ld = layout_of(view, rows, columns)
    if trans == TRANSPOSED:
        rows, columns = columns, rows
    number = element_type(view.dtype)
    alpha, beta = (literal(v, view.dtype) for v in scale)
    integer = f"i{routine.integer_bits}"
    m, n, lead, step_x, step_out = (_int(e, routine, v) for v in (rows, columns, ld, x[1], out[1]))
    e.text.declare(
        f"void @{routine.symbol}(i32, i32, {integer}, {integer}, {number}, ptr, {integer}, ptr, {integer}, "
        f"{number}, ptr, {integer}) nounwind"
    )
    e.text.externals[routine.symbol] = None
    e.text.do(
        f"call void @{routine.symbol}(i32 {ROW_MAJOR}, i32 {trans}, {integer} {m}, {integer} {n}, {number} {alpha}, "
        f"ptr {pointer}, {integer} {lead}, ptr {x[0]}, {integer} {step_x}, {number} {beta}, ptr {out[0]}, "
        f"{integer} {step_out})"
    )


def _int(e: Emitter, routine: Routine, x: Sym) -> Sym:
    """Return a size as the routine takes integers; arrays that large do not meet 32-bit BLAS."""
    if isinstance(x, int) or routine.integer_bits == 64:
        return x
    return e.text.emit(f"trunc i64 {x} to i32")


def _loops(e: Emitter, op: Op, x: View, y: View, out: View) -> None:
    """Write the product as a nest over rows, columns and the inner dimension, which is summed."""
    shape = e.shape(op.result)
    inner = e.size(op.operands[0].shape[-1])
    if multiply_small(e.arithmetic, x, y, out, (*shape, inner), e.vector_bytes):
        e.pace.array((*shape, inner))
        return
    built = Expressions(e, e.text, [*shape, inner])
    *lead, row, column, k = built.identity

    def load(view: View, last: tuple[Coord, Coord], like: int) -> Node:
        rank = len(view.strides) - 2
        dims = op.operands[like].shape
        batch = [HERE if d == 1 else c for d, c in zip(dims[:rank], lead[len(lead) - rank :], strict=True)]
        return built.load(view, (*batch, *last))

    product = built.apply(MULTIPLY, out.dtype, [load(x, (row, k), 0), load(y, (k, column), 1)])
    access = built.access(out, (*lead, row, column))
    reduction = "reduce_or" if out.dtype.kind == "b" else "reduce_sum"
    e.finish_nest(built, [Output(product, access, reduction)], (len(shape),))


def _loops_into(e: Emitter, op: Op, sizes: tuple[Sym, Sym, Sym]) -> None:
    """Write a product into memory as a nest that adds row after row."""
    view = e.owned(op)
    if not op.attrs["onto"]:
        built = Expressions(e, e.text, (sizes[0], sizes[2]))
        nothing = built.number(0, view.dtype)
        e.finish_nest(built, [Output(nothing, built.access(view, e.part(op, built, built.identity)))])
    built = Expressions(e, e.text, sizes)
    row, k, column = built.identity
    terms = [built.node(op.operands[1], (row, k)), built.node(op.operands[2], (k, column))]
    node = built.apply(MULTIPLY, view.dtype, terms)
    if op.attrs["negative"]:
        node = built.apply(MULTIPLY, view.dtype, [node, built.number(-1, view.dtype)])
    access = built.access(view, e.part(op, built, (row, column)))
    e.finish_nest(built, [Output(node, access, "reduce_sum", in_memory=True)])
