"""`x[key]` and `x[key] = v`: views by basic indexing, gathers and scatters by integer arrays, masks, containers.

In: abstract values. Out: abstract values; a basic index of an array gives a view of the same cell. Out-of-range known
indices raise IndexError as NumPy does; run-time ones get a check with NumPy's message.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.errors import UnsupportedError
from jitgrad.graph.ir import Value
from jitgrad.graph.ops.shape import broadcast_to, move_axes, reshape_to
from jitgrad.graph.types import Dim
from jitgrad.trace.abstract import Box, Cell, DictRef, External, ListRef, OneOf, Record, Ref, Scalar, SliceOf, TaggedRef
from jitgrad.trace.arrays import (
    array_type,
    as_array,
    broadcast_dims,
    broadcast_value,
    cast,
    describe,
    dtype_of,
    is_array,
    kind,
    read,
    shape_of,
    write,
)
from jitgrad.trace.columns import content_of, is_grown
from jitgrad.trace.context import Context
from jitgrad.trace.grown_items import item_of_list, set_item_of_list
from jitgrad.trace.grown_lists import Forms, as_grown, form_of_list, grow, holds_arrays, part_of_list
from jitgrad.trace.inspection import cells_of
from jitgrad.trace.keys import (
    basic_box,
    box_view,
    expand_ellipsis,
    index_int,
    is_advanced,
    is_bool_index,
    key_items,
    view_of,
)
from jitgrad.trace.loop_signals import NeedUnroll
from jitgrad.trace.masks import true_positions
from jitgrad.trace.objects import type_name
from jitgrad.trace.pools import at_home
from jitgrad.trace.sizes import refuse_without_items, same_dim
from jitgrad.trace.texts import known_text
from jitgrad.trace.ways import MANY_WAYS

__all__ = [
    "add_at",
    "dict_key",
    "get_item",
    "items_assigned",
    "new_list",
    "normal_axis",
    "set_item",
    "static_key",
]


# Arrays among which data choose one: every store to it is traced for each.
_MANY_ARRAYS = 12


def normal_axis(axis: int, rank: int) -> int:
    """Return an axis counted from 0, raising NumPy's AxisError."""
    if not -rank <= axis < rank:
        raise np.exceptions.AxisError(axis, rank)
    return axis % rank


# --- arrays


def _array_get(ctx: Context, x: Any, key: Any) -> Any:
    items = key_items(ctx, key)
    shape = shape_of(ctx, x)
    if not any(is_advanced(ctx, k) for k in items):
        items = expand_ellipsis(ctx, items, len(shape))
        full = sum(k is not None for k in items) == len(shape) and not any(
            k is None or isinstance(k, slice | SliceOf) for k in items
        )
        if full and Ellipsis not in [k for k in key_items(ctx, key) if not isinstance(k, Scalar | Ref | TaggedRef)]:
            ref = box_view(ctx, x, items)
            return Scalar(read(ctx, ref), "numpy")
        return box_view(ctx, x, items)
    plan = _advanced(ctx, x, items)
    return ctx.fresh(plan.get(ctx))


class _Plan:
    """How an advanced index reads and writes: slice, move the indexed axes to the front, gather, move back."""

    def __init__(self, base: Any, box: Box, lead: list[int], indices: list[Value], at: int) -> None:
        self.base = base
        self.box = box
        self.lead = lead
        self.indices = indices
        self.at = at

    def _front(self, ctx: Context) -> tuple[Any, list[int]]:
        ref = view_of(ctx, self.base, self.box)
        rank = len(shape_of(ctx, ref))
        return ref, self.lead + [k for k in range(rank) if k not in self.lead]

    def get(self, ctx: Context) -> Value:
        ref, order = self._front(ctx)
        value = move_axes(ctx.g, read(ctx, ref), order)
        made: Value = ctx.g.gather(value, *self.indices)
        return move_axes(ctx.g, made, self._back(made.array.rank))

    def _back(self, rank: int) -> list[int]:
        """Return the permutation that puts the broadcast dimensions of the indices where NumPy has them."""
        count = max((v.array.rank for v in self.indices), default=0)
        rest = list(range(count, rank))
        return rest[: self.at] + list(range(count)) + rest[self.at :]

    def put(self, ctx: Context, v: Value, name: str) -> None:
        ref, order = self._front(ctx)
        value = move_axes(ctx.g, read(ctx, ref), order)
        count = max((i.array.rank for i in self.indices), default=0)
        lead = broadcast_dims(ctx, *(i.shape for i in self.indices))
        part = (*lead, *value.shape[len(self.lead) :])
        back = self._back(len(part))
        v = broadcast_value(ctx, v, tuple(part[k] for k in back))
        v = move_axes(ctx.g, v, [back.index(k) for k in range(len(part))])
        assert count == len(lead)
        made = ctx.g.emit(name, [value, v, *self.indices]).result
        write(ctx, ref, move_axes(ctx.g, made, [order.index(k) for k in range(len(order))]))


def _advanced(ctx: Context, x: Any, items: list[Any]) -> _Plan:
    shape = shape_of(ctx, x)
    items = _masks_located(ctx, expand_ellipsis(ctx, items, len(shape)), shape)
    if any(k is None for k in items):
        entries = [None if k is None else slice(None) for k in items]
        x = box_view(ctx, x, entries)
        items = [slice(None) if k is None else k for k in items]
        shape = shape_of(ctx, x)
    box = basic_box(ctx, [k if isinstance(k, slice | SliceOf) else slice(None) for k in items], shape)
    lead = [axis for axis, k in enumerate(items) if not isinstance(k, slice | SliceOf)]
    indices = [_index_array(ctx, items[axis], shape[axis], axis) for axis in lead]
    try:
        broadcast_dims(ctx, *(v.shape for v in indices))
    except ValueError:
        shapes = " ".join(str(v.shape).replace(", ", ",") for v in indices)
        raise IndexError(
            f"shape mismatch: indexing arrays could not be broadcast together with shapes {shapes} "
        ) from None
    adjacent = lead == list(range(lead[0], lead[-1] + 1))
    return _Plan(x, box, lead, indices, lead[0] if adjacent else 0)


def _masks_located(ctx: Context, items: list[Any], shape: Sequence[Dim]) -> list[Any]:
    """Return index items in which masks are replaced by the positions, one value an axis, where they are true."""
    made: list[Any] = []
    for item in items:
        if item is None or isinstance(item, slice | SliceOf) or not is_bool_index(ctx, item):
            made.append(item)
            continue
        mask = as_array(ctx, item)
        if not mask.array.rank:
            raise ctx.error("JG219", what="a bool used as an index")
        first = sum(k is not None for k in made)
        for k, (d, size) in enumerate(zip(mask.shape, shape[first:], strict=False)):
            message = (
                f"boolean index did not match indexed array along axis {first + k}; size of axis is {{1}} but size of "
                "corresponding boolean axis is {0}"
            )
            if not same_dim(ctx, d, size, message, IndexError):
                raise IndexError(message.format(d, size))
        made += true_positions(ctx, mask)
    return made


def _index_array(ctx: Context, item: Any, size: Dim, axis: int) -> Value:
    """Return an index array as int64 positions counted from 0, checked; graph values are such."""
    if isinstance(item, Value):
        return item
    value = as_array(ctx, item)
    if value.array.dtype.kind not in "iu":
        if value.array.is_static and 0 in value.shape:
            return cast(ctx, value, np.int64)
        raise IndexError("arrays used as indices must be of integer (or boolean) type")
    value = cast(ctx, value, np.int64)
    if value.array.rank == 0:
        made = index_int(ctx, item, size, axis)
        return ctx.constant(made, np.int64) if isinstance(made, int) else made
    g = ctx.g
    if value.op is not None and value.op.name == "constant" and isinstance(size, int):
        known = value.op.attrs["value"]
        bad = known[(known < -size) | (known >= size)]
        if bad.size:
            raise IndexError(f"index {bad.flat[0]} is out of bounds for axis {axis} with size {size}")
        return value if (known >= 0).all() else ctx.constant(np.where(known < 0, known + size, known))
    if value.op is not None and value.op.name == "iota" and isinstance(size, int) and isinstance(value.shape[0], int):
        if value.shape[0] <= size:
            return value
        raise IndexError(f"index {size} is out of bounds for axis {axis} with size {size}")
    n = ctx.dim(size)
    zero = ctx.constant(0, np.int64)
    where: Value = g.select(g.less(value, zero), g.add(value, n), value)
    outside = g.logical_or(g.less(where, zero), g.greater_equal(where, n))
    axes = tuple(range(where.array.rank))
    worst = g.reduce_max(g.select(outside, value, g.subtract(zero, n)), axes=axes) if 0 not in where.shape else zero
    inside = g.logical_not(g.reduce_or(outside, axes=axes))
    ctx.check(inside, IndexError, f"index {{0}} is out of bounds for axis {axis} with size {{1}}", worst, n)
    return where


def _array_set(ctx: Context, x: Any, key: Any, v: Any) -> None:
    dtype = dtype_of(ctx, x)
    value = _assigned(ctx, v, dtype)
    items = key_items(ctx, key)
    if any(is_bool_index(ctx, k) for k in items):
        _mask_set(ctx, x, items, value)
        return
    if not any(is_advanced(ctx, k) for k in items):
        items = expand_ellipsis(ctx, items, len(shape_of(ctx, x)))
        target = box_view(ctx, x, items)
        if isinstance(v, Ref | TaggedRef) and v == target and ctx.read_only.isdisjoint(cells_of(target)):
            # The second half of `x[key] += y`: the view itself is put where it is.
            return
        shape = shape_of(ctx, target)
        while value.array.rank > len(shape) and value.shape[0] == 1:
            value = reshape_to(ctx.g, value, value.shape[1:])
        write(ctx, target, broadcast_value(ctx, value, shape))
        return
    _advanced(ctx, x, items).put(ctx, value, "scatter")


def _assigned(ctx: Context, v: Any, dtype: np.dtype) -> Value:
    if kind(v) == "complex" and dtype.kind != "c":
        raise TypeError("float() argument must be a string or a real number, not 'complex'")
    value = as_array(ctx, v, dtype)
    refuse_without_items(ctx, value, v)
    return value


def _mask_set(ctx: Context, x: Any, items: list[Any], value: Value) -> None:
    shape = shape_of(ctx, x)
    items = expand_ellipsis(ctx, items, len(shape))
    # One mask of the leading axes, the others whole: a choice of elements, no matter how many it takes.
    mask = as_array(ctx, items[0]) if all(isinstance(k, slice) and k == slice(None) for k in items[1:]) else None
    if mask is None or not mask.array.rank or value.array.rank > len(shape) - mask.array.rank:
        _advanced(ctx, x, items).put(ctx, value, "scatter")
        return
    _masks_located(ctx, items, shape)
    full = reshape_to(ctx.g, mask, mask.shape + (1,) * (len(shape) - mask.array.rank))
    old = read(ctx, x)
    new = broadcast_value(ctx, value, shape)
    write(ctx, x, ctx.g.select(broadcast_to(ctx.g, full, shape), new, old))


def add_at(ctx: Context, x: Any, key: Any, v: Any) -> None:
    """Do `np.add.at(x, key, v)`: repeated indices accumulate."""
    value = _assigned(ctx, v, dtype_of(ctx, x))
    items = key_items(ctx, key)
    if not any(is_advanced(ctx, k) for k in items):
        old = _array_get(ctx, x, key)
        _array_set(ctx, x, key, ctx.result(ctx.g.add(as_array(ctx, old), value)))
        return
    _advanced(ctx, x, items).put(ctx, value, "scatter_add")


# --- containers


def static_key(ctx: Context, key: Any, what: str) -> Any:
    """Return a key as a known Python object, unrolling or guarding where it is a run-time int."""
    if isinstance(key, Scalar):
        return ctx.note_static(key, what)
    if isinstance(key, SliceOf):
        return slice(*(static_key(ctx, p, what) for p in (key.start, key.stop, key.step)))
    return known_text(ctx, key, what)


def dict_key(ctx: Context, key: Any) -> Any:
    """Return a key of a dict as a known Python object, unrolling or guarding where it holds run-time ints.

    Raises
    ------
    TypeError
        As Python, for what cannot be a key.
    UnsupportedError
        JG237 for objects whose class says itself which are equal.
    """
    if isinstance(key, tuple):
        parts = [dict_key(ctx, part) for part in key]
        return tuple(parts) if type(key) is tuple else tuple.__new__(type(key), parts)
    if isinstance(key, ListRef | DictRef | Ref | TaggedRef):
        raise TypeError(f"unhashable type: '{type_name(ctx, key)}'")
    if isinstance(key, Record):
        own = {name: getattr(key.cls, name) for name in ("__eq__", "__hash__")}
        if own["__hash__"] is None:
            raise TypeError(f"unhashable type: '{key.cls.__name__}'")
        if any(found is not getattr(object, name) for name, found in own.items()):
            why = "a key of a dict whose class has its own __eq__ or __hash__"
            raise ctx.error("JG237", name=key.cls.__name__, why=why)
    return static_key(ctx, key, "the key of a dict or an item of a set")


def get_item(ctx: Context, x: Any, key: Any) -> Any:
    """Return `x[key]` for arrays and built-in containers.

    Raises
    ------
    IndexError, KeyError, TypeError
        As Python and NumPy.
    """
    if isinstance(x, Ref | TaggedRef):
        return _array_get(ctx, x, key)
    if isinstance(x, ListRef):
        if is_grown(ctx, x):
            return _grown_get(ctx, x.cell, key)
        items = ctx.heap[x.cell]
        try:
            key = static_key(ctx, key, "the index of a list")
        except (UnsupportedError, NeedUnroll) as refused:
            # Data decide, or a loop of many trips.
            found = _item_at_run_time(ctx, items, key, refused, "list index out of range")
            if found is None:
                raise
            return found
        if isinstance(key, slice):
            return new_list(ctx, items[key])
        if not hasattr(key, "__index__"):
            raise TypeError(f"list indices must be integers or slices, not {type(key).__name__}")
        if not -len(items) <= key.__index__() < len(items):
            raise IndexError("list index out of range")
        return items[key]
    if isinstance(x, DictRef):
        return dict(ctx.heap[x.cell])[dict_key(ctx, key)]
    if isinstance(x, tuple | str | range | list | dict | bytes):
        try:
            return x[static_key(ctx, key, f"the index of a {type(x).__name__}")]
        except (UnsupportedError, NeedUnroll) as refused:
            plain = type(x) is tuple and not isinstance(key, SliceOf)
            found = _item_at_run_time(ctx, tuple(x), key, refused, "tuple index out of range") if plain else None
            if found is None:
                raise
            return found
    if isinstance(x, np.ndarray | np.generic):
        return _array_get(ctx, ctx.fresh(as_array(ctx, x)), key)
    if isinstance(x, type):
        return x[key]  # type: ignore[index]
    if isinstance(x, Scalar):
        raise (
            TypeError(f"'{x.kind}' object is not subscriptable")
            if x.kind != "numpy"
            else IndexError("invalid index to scalar variable.")
        )
    raise ctx.error("JG220", what=f"subscripting {describe(x)}")


def _form_if_grown(ctx: Context, items: Any, refused: Exception) -> Any:
    """Return the form of items known one by one in a list that is indexed at run time, None if it should be known.

    What is taken out of arrays, lists and objects would be copies: those are choices rather.
    """
    if isinstance(refused, NeedUnroll) and not ctx.indexes_at_run_time(refused.key):
        return None
    form = form_of_list(ctx, items)
    return None if isinstance(form, Forms) and holds_arrays(form) else form


def _item_at_run_time(ctx: Context, items: tuple[Any, ...], key: Any, refused: Exception, message: str) -> Any:
    """Return an item, of some known one by one, at an index that is not known; None where it should be known."""
    arrays = all(isinstance(v, Ref) for v in items) and len({array_type(ctx, v) for v in items}) == 1
    if isinstance(refused, UnsupportedError) and isinstance(key, Scalar) and arrays and len(items) <= _MANY_ARRAYS:
        return TaggedRef(_known_position(ctx, len(items), key, message), items)
    form = _form_if_grown(ctx, items, refused)
    if form is not None:
        return _grown_get(ctx, as_grown(ctx, items, form).cell, key)
    if isinstance(refused, UnsupportedError) and isinstance(key, Scalar) and 1 < len(items) <= MANY_WAYS:
        at = ctx.dim(index_int(ctx, key, len(items), 0, message))
        return OneOf(tuple(ctx.g.equal(at, ctx.dim(k)) for k in range(len(items) - 1)), items)
    return None


def _known_position(ctx: Context, count: int, key: Scalar, message: str) -> Value:
    """Return a position in items known one by one, checked: one value for one index."""
    return ctx.shared(("position", key.value, count), lambda: ctx.dim(index_int(ctx, key, count, 0, message)))


def _stored_at_run_time(
    ctx: Context, items: tuple[Any, ...], key: Any, v: Any, refused: Exception
) -> tuple[Any, ...] | None:
    """Return the items of a list of arrays known one by one after a store of one at an index that is not known."""
    if isinstance(refused, NeedUnroll) or not isinstance(key, Scalar) or not all(map(is_array, (*items, v))):
        return None
    own = [r.choices if isinstance(r, TaggedRef) else (r,) for r in (v, *items)]
    if len({array_type(ctx, r) for r in (v, *items)}) > 1 or max(map(len, own[1:])) + len(own[0]) > _MANY_ARRAYS:
        return None
    g = ctx.g
    at = _known_position(ctx, len(items), key, "list assignment index out of range")
    if isinstance(v, TaggedRef) and v.tag is at and v.choices == items:
        return items
    made = []
    tags = [r.tag if isinstance(r, TaggedRef) else ctx.dim(0) for r in (v, *items)]
    for k, (choices, tag) in enumerate(zip(own[1:], tags[1:], strict=True)):
        behind = g.add(tag, ctx.dim(len(own[0])))
        made.append(TaggedRef(g.select(g.equal(at, ctx.dim(k)), tags[0], behind), (*own[0], *choices)))
    return tuple(made)


def items_assigned(ctx: Context, v: Any) -> tuple[Any, ...]:
    """Return the items that are stored into a slice of a list."""
    if isinstance(v, ListRef):
        v = content_of(ctx, v.cell)
    if not isinstance(v, tuple):
        raise ctx.error("JG221", what=f"a store of {describe(v)} into a slice of a list")
    return v


def new_list(ctx: Context, items: Sequence[Any]) -> ListRef:
    """Return a new list."""
    made = ListRef(Cell("list"))
    made.cell.site = ctx.site()
    made.cell.columns = []
    ctx.heap[made.cell] = at_home(ctx, tuple(items))
    return made


def _grown_get(ctx: Context, cell: Cell, key: Any) -> Any:
    if isinstance(key, slice | SliceOf):
        return part_of_list(ctx, cell, key)
    return item_of_list(ctx, cell, key)


def _grown_set(ctx: Context, cell: Cell, key: Any, v: Any) -> None:
    if isinstance(key, slice | SliceOf):
        raise ctx.error("JG221", what="a store into a slice of a list that grew in a loop")
    set_item_of_list(ctx, cell, key, v)


def set_item(ctx: Context, x: Any, key: Any, v: Any) -> None:
    """Do `x[key] = v` for arrays and built-in containers."""
    if isinstance(x, Ref | TaggedRef):
        _array_set(ctx, x, key, v)
        return
    if isinstance(x, ListRef):
        v = at_home(ctx, v)
        if is_grown(ctx, x):
            _grown_set(ctx, x.cell, key, v)
            return
        items = ctx.heap[x.cell]
        changed = list(items)
        try:
            key = static_key(ctx, key, "the index of a list")
        except (UnsupportedError, NeedUnroll) as refused:
            stored = _stored_at_run_time(ctx, items, key, v, refused)
            if stored is not None:
                ctx.conflict(x.cell)
                ctx.heap[x.cell] = stored
                return
            form = None if isinstance(key, SliceOf) else _form_if_grown(ctx, items, refused)
            if form is None or holds_arrays(form):
                raise
            ctx.conflict(x.cell)
            grow(ctx, x.cell, form)
            set_item_of_list(ctx, x.cell, key, v)
            return
        changed[key] = items_assigned(ctx, v) if isinstance(key, slice) else v
        ctx.conflict(x.cell)
        ctx.heap[x.cell] = tuple(changed)
        return
    if isinstance(x, DictRef):
        key = dict_key(ctx, key)
        pairs = dict(ctx.heap[x.cell])
        pairs[key] = v
        ctx.conflict(x.cell)
        ctx.heap[x.cell] = tuple(pairs.items())
        return
    if isinstance(x, tuple | str | range):
        raise TypeError(f"'{type(x).__name__}' object does not support item assignment")
    if isinstance(x, External):
        raise ctx.error("JG222", what="a store into an object read from outside the function")
    raise ctx.error("JG220", what=f"a store into an item of {describe(x)}")
