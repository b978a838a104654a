"""Views of arrays that NumPy makes without copying: permuted axes, new and dropped axes, other shapes.

In: references. Out: references to the same cell, or a new array where NumPy has to copy. Whether a reshape is a view is
asked of NumPy itself, on an array of one byte an element with the strides that the view has. Where they are not known,
it is a copy, and a store into one of the two while the other is alive is refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.memory import Entry, Pick, Span
from jitgrad.graph.ops.shape import reshape_to
from jitgrad.graph.types import ArrayType, Dim, ListType
from jitgrad.trace.abstract import Box, Cell, Ref, Reshape, TaggedRef, whole
from jitgrad.trace.arrays import another, read, shape_of
from jitgrad.trace.context import Context
from jitgrad.trace.extents import quotient, surely
from jitgrad.trace.sizes import rehearse, same_dim, size_of, static_dim

__all__ = ["fitted", "is_contiguous", "laid_as", "memory_order", "permuted", "read_only", "reordered", "reshaped"]


def reordered(ctx: Context, x: Any, order: Sequence[int | None]) -> Any:
    """Return the view whose axis k is axis `order[k]` of x, None being a new axis; axes left out have length 1."""
    if isinstance(x, TaggedRef):
        return TaggedRef(x.tag, tuple(reordered(ctx, r, order) for r in x.choices))
    if x.view and isinstance(x.view[-1], Box):
        links, last = x.view[:-1], x.view[-1]
    else:
        links, last = x.view, whole(shape_of(ctx, x))
    entries: list[Entry] = list(last.entries)
    places = [k for k, e in enumerate(entries) if isinstance(e, Span)]
    for axis, kept in enumerate(last.order):
        if kept is not None and axis not in order:
            entries[places[kept]] = Pick(entries[places[kept]][0])
    left = [k for k, e in enumerate(entries) if isinstance(e, Span)]
    made: list[int | None] = []
    for k in order:
        kept = None if k is None else last.order[k]
        made.append(None if kept is None else left.index(places[kept]))
    box = Box(tuple(entries), tuple(made))
    inner = Ref(x.cell, links)
    return another(ctx, inner) if box.is_identity(shape_of(ctx, inner)) else Ref(x.cell, (*links, box))


def permuted(ctx: Context, x: Any, permutation: Sequence[int]) -> Any:
    """Return the view of an array with its axes permuted."""
    same = list(permutation) == list(range(len(permutation)))
    return another(ctx, x) if same else reordered(ctx, x, permutation)


def read_only(ctx: Context, x: Any, value: Value) -> Any:
    """Return an array that NumPy gives as a read-only view of x, and that is a copy here.

    The two must not drift apart: a store into x while the copy is alive is refused.
    """
    made = ctx.fresh(value)
    for ref in x.choices if isinstance(x, TaggedRef) else (x,):
        if isinstance(ref, Ref):
            ctx.share(made.cell, ref.cell)
    return made


def laid_as(ctx: Context, made: Ref, x: Any) -> Ref:
    """Return an array that stands for another: it is taken to lie in memory as that one does."""
    ctx.layouts[made.cell] = ctx.layouts[ctx.heap[made.cell]] = _lie(ctx, x)
    return made


def _lie(ctx: Context, x: Any) -> Any:
    """Return how an array lies in memory, see `Context.layouts`."""
    if isinstance(x, TaggedRef):
        found = {_lie(ctx, r) for r in x.choices}
        return found.pop() if len(found) == 1 else None
    if not isinstance(x, Ref):
        return "C" if isinstance(x, np.ndarray) and x.flags.c_contiguous else None
    if not x.view:
        return _layout(ctx, x.cell)
    if _surely_contiguous(ctx, x):
        return "C"
    dummy = _dummy(ctx, x)
    if dummy is None:
        return None
    return "C" if dummy.flags.c_contiguous else "F" if dummy.flags.f_contiguous else dummy.strides


def is_contiguous(ctx: Context, x: Ref) -> bool | None:
    """Whether a view shows consecutive elements in C order; None if that cannot be told."""
    if _surely_contiguous(ctx, x):
        return True
    dummy = _dummy(ctx, x)
    return None if dummy is None else bool(dummy.flags.c_contiguous)


def memory_order(ctx: Context, x: Any, order: str) -> str | None:
    """Return the order, C or F, that NumPy's orders A and K mean for an array; None if it is another or not known."""
    if isinstance(x, TaggedRef):
        found = {memory_order(ctx, r, order) for r in x.choices}
        return found.pop() if len(found) == 1 else None
    if len(shape_of(ctx, x)) < 2 or _surely_contiguous(ctx, x):
        return "C"
    if not x.view and _layout(ctx, x.cell) == "F":
        return "F"
    dummy = _dummy(ctx, x)
    if dummy is None:
        return None
    if order == "A":
        return "F" if dummy.flags.f_contiguous and not dummy.flags.c_contiguous else "C"
    steps = [abs(s) for s, d in zip(dummy.strides, dummy.shape, strict=True) if d > 1]
    return "C" if steps == sorted(steps, reverse=True) else "F" if steps == sorted(steps) else None


def _surely_contiguous(ctx: Context, x: Ref, in_memory: bool = True) -> bool:
    if not x.view:
        return not in_memory or _layout(ctx, x.cell) == "C"
    last = x.view[-1]
    inner = Ref(x.cell, x.view[:-1])
    if not _surely_contiguous(ctx, inner, in_memory):
        return False
    if isinstance(last, Reshape):
        return True
    kept = [k for k in last.order if k is not None]
    if kept != list(range(len(kept))):
        return False
    begun = False
    for entry, d in zip(last.entries, shape_of(ctx, inner), strict=True):
        if isinstance(entry, Pick):
            if begun and d != 1:
                return False
            continue
        start, step, length = entry
        full = start == 0 and (length is d or length == d)
        if (step != 1 and length != 1) or (begun and not full):
            return False
        begun = begun or length != 1
    return True


def _layout(ctx: Context, cell: Cell) -> Any:
    """Return how a cell's own array lies in memory: as an argument does, for others in C order or None, unknown.

    What is computed element by element from arrays in another order is in that order, more or less.
    """
    if cell in ctx.layouts:
        return ctx.layouts[cell]
    if isinstance(held := ctx.heap.get(cell), Value) and isinstance(held.type, ListType):
        return "C" if held.type.element.rank < 2 else None
    todo = [ctx.heap.get(cell)]
    seen: dict[Cell | Value, str] = {}
    while todo:
        v = todo.pop()
        if not isinstance(v, Value) or v in seen or not isinstance(v.type, ArrayType) or v.array.rank < 2:
            continue
        if v in ctx.layouts:
            if ctx.layouts[v] != "C":
                return None
            continue
        if v.op is not None and v.op.name == "transpose":
            return None
        seen[v] = "C"
        if v.op is not None and v.op.name not in ("matmul", "reshape"):
            todo += v.op.operands
    ctx.layouts |= seen
    return "C"


def reshaped(ctx: Context, x: Any, shape: Sequence[Dim], copy_strided: bool = False, in_memory: bool = True) -> Any:
    """Return an array with another shape: a view where NumPy gives one, else a copy.

    Parameters
    ----------
    x : Ref or TaggedRef
    shape : sequence of int or Value
        One entry may be -1.
    copy_strided : bool
        Whether anything but consecutive elements is copied, as `ravel` does.
    in_memory : bool
        Whether it counts how the array lies in memory; for `flat` it does not.

    Raises
    ------
    ValueError
        As NumPy.
    """
    old = shape_of(ctx, x)
    new = fitted(ctx, x, shape)
    if isinstance(x, TaggedRef):
        made = [reshaped(ctx, r, new, copy_strided, in_memory) for r in x.choices]
        shared = all(m.cell is r.cell for m, r in zip(made, x.choices, strict=True))
        return TaggedRef(x.tag, tuple(made)) if shared else read_only(ctx, x, reshape_to(ctx.g, read(ctx, x), new))
    if copy_strided:
        shares = is_contiguous(ctx, x)
        if shares is not True:
            value = reshape_to(ctx.g, read(ctx, x), new)
            return ctx.fresh(value) if shares is False else read_only(ctx, x, value)
    if old == new:
        return another(ctx, x)
    kept = [k for k, d in enumerate(old) if d != 1]
    if [old[k] for k in kept] == [d for d in new if d != 1]:
        rest = iter(kept)
        return reordered(ctx, x, [None if d == 1 else next(rest) for d in new])
    shares = _surely_contiguous(ctx, x, in_memory) or _numpy_shares(ctx, x, new)
    if shares:
        if x.view and isinstance(x.view[-1], Reshape):
            return reshaped(ctx, Ref(x.cell, x.view[:-1]), new, in_memory=in_memory)
        return Ref(x.cell, (*x.view, Reshape(tuple(new))))
    value = reshape_to(ctx.g, read(ctx, x), new)
    return ctx.fresh(value) if shares is False else read_only(ctx, x, value)


def fitted(ctx: Context, x: Any, shape: Sequence[Dim]) -> tuple[Dim, ...]:
    """Return a shape for an array with its -1 filled in, checked against the array's size."""
    old = shape_of(ctx, x)
    made = list(shape)
    free = [k for k, d in enumerate(made) if isinstance(d, int) and d < 0]
    if len(free) > 1:
        raise ValueError("can only specify one unknown dimension")
    if free:
        found = _quotient(ctx, old, [d for k, d in enumerate(made) if k != free[0]], _misfit(shape))
        if found is not None:
            made[free[0]] = found
            return tuple(made)
    else:
        text, values = _misfit(shape)
        sizes = size_of(ctx, old), size_of(ctx, made)
        if tuple(old) == tuple(made) or same_dim(ctx, *sizes, text, operands=[ctx.dim(sizes[0]), *values]):
            return tuple(made)
    known = [d if isinstance(d, int) else static_dim(ctx, d, "a size in a reshape") for d in shape]
    rehearse(lambda dummy: np.reshape(dummy, known), [read(ctx, x)])
    raise ValueError(f"cannot reshape an array into shape {tuple(known)}")


def _misfit(shape: Sequence[Dim]) -> tuple[str, list[Value]]:
    """Return NumPy's message for a shape that an array has not the size for, and the numbers in it."""
    parts: list[str] = []
    values: list[Value] = []
    for d in shape:
        if isinstance(d, int) and d < 0:
            parts += ["newaxis"] if parts else []
            continue
        parts.append(str(d) if isinstance(d, int) else f"{{{len(values) + 1}}}")
        values += [] if isinstance(d, int) else [d]
    only = "," if len(shape) == 1 else ""
    return f"cannot reshape array of size {{0}} into shape ({','.join(parts)}{only})", values


def _quotient(ctx: Context, old: Sequence[Dim], rest: Sequence[Dim], misfit: tuple[str, list[Value]]) -> Dim | None:
    """Return the size of one shape over that of another, None where there is none."""
    # Run-time dimensions that stand in both shapes cancel.
    top, bottom = list(old), []
    for d in rest:
        hit = next((k for k, t in enumerate(top) if t is d and not isinstance(d, int)), None)
        if hit is None:
            bottom.append(d)
        else:
            del top[hit]
    if all(isinstance(d, int) for d in top):
        bottom = [static_dim(ctx, d, "a size in a reshape") for d in bottom]
    above, below = size_of(ctx, top), size_of(ctx, bottom)
    if isinstance(below, int):
        left = [d for d in top if not isinstance(d, int)]
        known = math.prod(d for d in top if isinstance(d, int))
        if below and known % below == 0:
            return size_of(ctx, [known // below, *left])
        if below == 0 or not left:
            return None
    g = ctx.g
    message, values = misfit
    size = ctx.dim(size_of(ctx, old))
    if not surely(ctx, 1, (1, below)):
        ctx.check(g.not_equal(ctx.dim(below), 0), ValueError, message, size, *values)
    made = quotient(ctx, above, below)
    exact = g.equal(g.multiply(ctx.dim(made), ctx.dim(below)), ctx.dim(above))
    ctx.check(exact, ValueError, message, size, *values)
    return made


def _numpy_shares(ctx: Context, x: Ref, new: Sequence[Dim]) -> bool | None:
    """Whether NumPy reshapes a view without copying; None if that hangs on what is not known."""
    dummy = _dummy(ctx, x)
    if dummy is None or not all(isinstance(d, int) for d in new):
        return None
    return bool(np.may_share_memory(dummy.reshape(new), dummy)) if dummy.size else True  # type: ignore[arg-type]


def _dummy(ctx: Context, x: Ref) -> np.ndarray | None:
    """Return an array of bytes with the strides of a view, None if they are not known."""
    base, layout = shape_of(ctx, Ref(x.cell)), _layout(ctx, x.cell)
    if layout is None or not all(isinstance(d, int) for d in base):
        return None
    dummy = _empty(tuple(d for d in base if isinstance(d, int)), layout)
    for link in x.view:
        if isinstance(link, Reshape):
            if not all(isinstance(d, int) for d in link.to):
                return None
            dummy = dummy.reshape(link.to)  # type: ignore[arg-type]
            continue
        index: list[Any] = []
        for e in link.entries:
            if isinstance(e, Pick):
                index.append(0)
                continue
            _, step, length = e
            if not isinstance(step, int) or not isinstance(length, int):
                return None
            # Where the view begins does not matter, only its strides.
            index.append(slice(0, step * length, step) if step > 0 else slice(None, None, step))
        part = dummy[tuple(index)]
        lengths = [e.length for e in link.entries if isinstance(e, Span)]
        part = part[tuple(slice(0, n) for n in lengths)]
        axes = [k for k in link.order if k is not None]
        part = part.transpose(axes)
        dummy = part[tuple(None if k is None else slice(None) for k in link.order)]
    return dummy


def _empty(shape: tuple[int, ...], layout: Any) -> np.ndarray:
    """Return an array of bytes in C or F order, or with other strides."""
    if isinstance(layout, str):
        return np.empty(shape, np.int8, order="F" if layout == "F" else "C")
    ends = [s * max(d - 1, 0) for s, d in zip(layout, shape, strict=True)]
    first = -sum(e for e in ends if e < 0)
    memory = np.empty(first + sum(e for e in ends if e > 0) + 1, np.int8)
    return np.lib.stride_tricks.as_strided(memory[first:], shape, layout)
