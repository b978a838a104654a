"""Linear systems: calls of LAPACK, and of BLAS for triangular ones.

In: ops of linear systems. Out: calls that work in the memory of the result, which the operand is written to first.
LAPACK keeps matrices by columns: what lies by rows is to it the transposed matrix, as the ops take it
(`graph/ops/systems.py`). Integers that LAPACK reads and writes are of its width; ours have 64 bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from jitgrad.backend.blas import Routine, find
from jitgrad.backend.emit import Emitter, lowers
from jitgrad.backend.emit_matmul import PLAIN, ROW_MAJOR, TRANSPOSED, layout_of, operand_view
from jitgrad.backend.emit_scalar import Handle
from jitgrad.backend.text import Sym, element_type, literal
from jitgrad.errors import error
from jitgrad.graph.ir import Op

__all__ = ["is_to_be_had"]

_INT64 = np.dtype(np.int64)
# CBLAS.
_UPPER, _LOWER, _NON_UNIT, _UNIT, _RIGHT = 121, 122, 131, 132, 142


def is_to_be_had() -> bool:
    """Whether the routines for all dtypes are in the process."""
    kinds = ("geqrf", "getrf", "getrs", "orgqr", "potrf", "syevd", "trsm", "trsv")
    names = [letter + name for letter in "ds" for name in kinds]
    return all(find(name) is not None for name in names)


def _routine(op: Op, name: str) -> Routine:
    found = find(("d" if op.results[0].array.dtype == np.float64 else "s") + name)
    if found is None:
        raise error("JG900", what=f"{name} is not to be had")
    return found


def _call(e: Emitter, routine: Routine, letters: str, *addresses: str) -> None:
    """Call a Fortran routine, which takes all by reference: some letters, whose lengths come last, then the rest."""
    passed = [*(_character(e, letter) for letter in letters), *addresses]
    types = ", ".join(["ptr"] * len(passed) + ["i64"] * len(letters))
    e.text.declare(f"void @{routine.symbol}({types}) nounwind")
    e.text.externals[routine.symbol] = None
    values = ", ".join([*(f"ptr {x}" for x in passed), *["i64 1"] * len(letters)])
    e.text.do(f"call void @{routine.symbol}({values})")


def _character(e: Emitter, letter: str) -> str:
    name = f"@jg_letter_{letter}"
    line = f"{name} = private unnamed_addr constant i8 {ord(letter)}"
    if line not in e.text.globals:
        e.text.globals.append(line)
    return name


def _word(e: Emitter, routine: Routine, x: Sym) -> str:
    """Return the address of an integer as a routine takes it."""
    width = f"i{routine.integer_bits}"
    slot = e.text.alloca(width)
    e.text.do(f"store {width} {_narrow(e, routine, x)}, ptr {slot}")
    return slot


def _narrow(e: Emitter, routine: Routine, x: Sym) -> Sym:
    return x if isinstance(x, int) or routine.integer_bits == 64 else e.text.emit(f"trunc i64 {x} to i32")


def _widened(e: Emitter, routine: Routine, slot: str) -> str:
    """Return an integer that a routine has written."""
    found = e.text.emit(f"load i{routine.integer_bits}, ptr {slot}")
    return found if routine.integer_bits == 64 else e.text.emit(f"sext i32 {found} to i64")


@lowers("lu")
def op_lu(e: Emitter, op: Op) -> None:
    """Factorise a matrix."""
    (a,), (factors, pivots, sign, zero) = op.operands, op.results
    routine = _routine(op, "getrf")
    e.define(factors)
    e.define(pivots)
    view, into = e.view(factors), e.view(pivots)
    e.fill(view, a)
    n = e.size(a.shape[0])
    e.pace.array((n, n, n))
    place = into.pointer if routine.integer_bits == 64 else e.reserve(op, e.text.mul(n, 4))
    result = e.text.alloca(f"i{routine.integer_bits}")
    size, least = _word(e, routine, n), _word(e, routine, e.text.most(n, 1))
    _call(e, routine, "", size, size, view.pointer, least, place, result)
    e.handles[zero] = Handle(_widened(e, routine, result), _INT64)
    # A row that is exchanged with itself is none.
    odd = e.text.alloca("i64")
    e.text.do(f"store i64 0, ptr {odd}")

    def look(k: Sym) -> None:
        pivot = _widened(e, routine, e.text.address(place, f"i{routine.integer_bits}", k))
        if routine.integer_bits != 64:
            e.text.do(f"store i64 {pivot}, ptr {e.text.address(into.pointer, 'i64', k)}")
        other = e.text.emit(f"icmp ne i64 {pivot}, {e.text.add(k, 1)}")
        count = e.text.emit(f"load i64, ptr {odd}")
        more = e.text.emit(f"zext i1 {other} to i64")
        e.text.do(f"store i64 {e.text.emit(f'xor i64 {count}, {more}')}, ptr {odd}")

    e.text.counted(n, look)
    number, dtype = element_type(factors.array.dtype), factors.array.dtype
    turned = e.text.emit(f"icmp ne i64 {e.text.emit(f'load i64, ptr {odd}')}, 0")
    value = e.text.emit(f"select i1 {turned}, {number} {literal(-1, dtype)}, {number} {literal(1, dtype)}")
    e.handles[sign] = Handle(value, dtype)


@lowers("lu_solve")
def op_lu_solve(e: Emitter, op: Op) -> None:
    """Solve for the rows of a matrix by factors."""
    b = op.operands[3]
    routine = _routine(op, "getrs")
    e.define(op.result)
    view = e.view(op.result)
    e.fill(view, b)
    m, n = e.shape(b)
    e.pace.array((n, n, m))
    source, swaps = operand_view(e, op, 1), operand_view(e, op, 2)
    # Memory has no stride along an axis of one element.
    if layout_of(source, n, n)[0] != PLAIN or (swaps.strides[-1] != 1 and n not in (0, 1)):
        raise error("JG900", what="factors do not lie as LAPACK left them")
    lead = layout_of(source, n, n)[1]
    address = e.text.address(source.pointer, element_type(source.dtype), source.offset)
    place = e.text.address(swaps.pointer, "i64", swaps.offset)
    if routine.integer_bits != 64:
        place = _narrowed(e, op, place, n)
    size, least, ld, count = (_word(e, routine, x) for x in (n, e.text.most(n, 1), e.text.most(lead, 1), m))
    result = e.text.alloca(f"i{routine.integer_bits}")
    turned = "N" if op.attrs["transposed"] else "T"
    _call(e, routine, turned, size, count, address, ld, place, view.pointer, least, result)


def _narrowed(e: Emitter, op: Op, place: str, n: Sym) -> str:
    """Return pivots as a routine with 32-bit integers takes them."""
    made = e.reserve(op, e.text.mul(n, 4))

    def copy(k: Sym) -> None:
        pivot = e.text.emit(f"load i64, ptr {e.text.address(place, 'i64', k)}")
        e.text.do(f"store i32 {e.text.emit(f'trunc i64 {pivot} to i32')}, ptr {e.text.address(made, 'i32', k)}")

    e.text.counted(n, copy)
    return made


@lowers("log_det_change")
def op_log_det_change(e: Emitter, op: Op) -> None:
    """Give the zero that it is."""
    e.handles[op.result] = e.arithmetic.const(0, op.result.array.dtype)


@lowers("cholesky")
def op_cholesky(e: Emitter, op: Op) -> None:
    """Factorise a positive definite matrix, of which the lower triangle is read."""
    (a,), (factor, wrong) = op.operands, op.results
    routine = _routine(op, "potrf")
    e.define(factor)
    view = e.view(factor)
    e.fill(view, a)
    n = e.size(a.shape[0])
    e.pace.array((n, n, n))
    number = element_type(view.dtype)

    def clear(i: Sym) -> None:
        row = e.text.address(view.pointer, number, e.text.mul(i, n))
        zero = f"store {number} {literal(0, view.dtype)}"
        e.text.counted(n, lambda j: e.text.do(f"{zero}, ptr {e.text.address(row, number, j)}"), start=e.text.add(i, 1))

    e.text.counted(n, clear)
    result = e.text.alloca(f"i{routine.integer_bits}")
    size, least = _word(e, routine, n), _word(e, routine, e.text.most(n, 1))
    _call(e, routine, "U", size, view.pointer, least, result)
    e.handles[wrong] = Handle(_widened(e, routine, result), _INT64)


# Columns that LAPACK turns at once.
_BLOCK = 64


@lowers("lq")
def op_lq(e: Emitter, op: Op) -> None:
    """Make rows orthonormal."""
    (a,), (low, rows) = op.operands, op.results
    turn, gather = _routine(op, "geqrf"), _routine(op, "orgqr")
    e.define(low)
    e.define(rows)
    into, view = e.view(low), e.view(rows)
    e.fill(view, a)
    n, m = e.shape(a)
    e.pace.array((m, n, n))
    number, size = element_type(view.dtype), view.dtype.itemsize
    weights = e.reserve(op, e.text.mul(e.text.mul(n, _BLOCK + 1), size))
    work = e.text.address(weights, number, n)
    result = e.text.alloca(f"i{turn.integer_bits}")
    words = (m, n, e.text.most(m, 1), e.text.most(e.text.mul(n, _BLOCK), 1))
    rows_, columns, lead, room = (_word(e, turn, x) for x in words)
    rest = (view.pointer, lead, weights, work, room, result)
    _call(e, turn, "", rows_, columns, *rest)

    def copy(j: Sym) -> None:
        source = e.text.address(view.pointer, number, e.text.mul(j, m))
        target = e.text.address(into.pointer, number, e.text.mul(j, n))

        def element(i: Sym) -> None:
            found = e.text.emit(f"load {number}, ptr {e.text.address(source, number, i)}")
            kept = e.text.emit(f"icmp sle i64 {i}, {j}")
            value = e.text.emit(f"select i1 {kept}, {number} {found}, {number} {literal(0, view.dtype)}")
            e.text.do(f"store {number} {value}, ptr {e.text.address(target, number, i)}")

        e.text.counted(n, element)

    e.text.counted(n, copy)
    _call(e, gather, "", rows_, columns, columns, *rest)


@lowers("eigh")
def op_eigh(e: Emitter, op: Op) -> None:
    """Find the eigenvalues and eigenvectors of a symmetric matrix."""
    (a,), (values, rows, wrong) = op.operands, op.results
    routine = _routine(op, "syevd")
    e.define(values)
    e.define(rows)
    into, view = e.view(values), e.view(rows)
    e.fill(view, a)
    n, text = e.size(a.shape[0]), e.text
    e.pace.array((n, n, n, 10))
    # As its documentation says; each number has 8 bytes.
    floats = text.add(text.mul(n, text.add(text.mul(n, 2), 6)), 1)
    integers = text.add(text.mul(n, 5), 3)
    work = e.reserve(op, text.mul(text.add(floats, integers), 8))
    more = text.address(work, "i64", floats)
    result = text.alloca(f"i{routine.integer_bits}")
    size, least, room, places = (_word(e, routine, x) for x in (n, text.most(n, 1), floats, integers))
    letters = "VU" if op.attrs["lower"] else "VL"
    _call(e, routine, letters, size, view.pointer, least, into.pointer, work, room, more, places, result)
    e.handles[wrong] = Handle(_widened(e, routine, result), _INT64)


@lowers("triangular_solve")
def op_triangular_solve(e: Emitter, op: Op) -> None:
    """Solve for the rows of a matrix by a triangle."""
    _, b = op.operands
    e.define(op.result)
    view = e.view(op.result)
    e.fill(view, b)
    m, n = e.shape(b)
    e.pace.array((n, n, m))
    source = operand_view(e, op, 0)
    layout, lead = layout_of(source, n, n)
    address = e.text.address(source.pointer, element_type(source.dtype), source.offset)
    # As it lies by columns it is the other triangle, turned.
    lower = op.attrs["lower"] == (layout == PLAIN)
    turned = op.attrs["transposed"] == (layout == PLAIN)
    kind = [_LOWER if lower else _UPPER, _UNIT if op.attrs["unit"] else _NON_UNIT]
    single = m == 1
    routine = _routine(op, "trsv" if single else "trsm")
    words = [_narrow(e, routine, x) for x in (m, n, e.text.most(lead, 1), e.text.most(n, 1))]
    if not single:
        _trsm(e, routine, kind, TRANSPOSED if not turned else PLAIN, words, view.dtype, (address, view.pointer))
        return
    integer = f"i{routine.integer_bits}"
    e.text.declare(f"void @{routine.symbol}(i32, i32, i32, i32, {integer}, ptr, {integer}, ptr, {integer}) nounwind")
    e.text.externals[routine.symbol] = None
    e.text.do(
        f"call void @{routine.symbol}(i32 {ROW_MAJOR}, i32 {kind[0]}, i32 {TRANSPOSED if turned else PLAIN}, "
        f"i32 {kind[1]}, {integer} {words[1]}, ptr {address}, {integer} {words[2]}, ptr {view.pointer}, {integer} 1)"
    )


def _trsm(
    e: Emitter,
    routine: Routine,
    kind: Sequence[int],
    turned: int,
    words: Sequence[Sym],
    dtype: np.dtype,
    places: tuple[str, str],
) -> None:
    """Divide the rows of a matrix by a triangle."""
    integer, number = f"i{routine.integer_bits}", element_type(dtype)
    m, n, lead, least = words
    e.text.declare(
        f"void @{routine.symbol}(i32, i32, i32, i32, i32, {integer}, {integer}, {number}, ptr, {integer}, ptr, "
        f"{integer}) nounwind"
    )
    e.text.externals[routine.symbol] = None
    e.text.do(
        f"call void @{routine.symbol}(i32 {ROW_MAJOR}, i32 {_RIGHT}, i32 {kind[0]}, i32 {turned}, i32 {kind[1]}, "
        f"{integer} {m}, {integer} {n}, {number} {literal(1, dtype)}, ptr {places[0]}, {integer} {lead}, "
        f"ptr {places[1]}, {integer} {least})"
    )
