"""NumPy's functions and methods that change shapes without computing: `reshape`, `transpose`, `ravel`, `squeeze`, ...

In: abstract arrays and arguments. Out: views where NumPy gives views, else new arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.graph.ops.shape import broadcast_to
from jitgrad.graph.types import Dim, GraphTypeError, broadcast_shapes
from jitgrad.trace.abstract import Ref, TaggedRef
from jitgrad.trace.arrays import as_array, broadcast_dims, is_array, shape_of
from jitgrad.trace.calls import attribute_of_array, handles, method
from jitgrad.trace.context import Context
from jitgrad.trace.extents import surely
from jitgrad.trace.sizes import (
    axis_argument,
    dim_scalar,
    items_of,
    normal_axes,
    numeric,
    one_or_items,
    shape_argument,
    size_of,
    static_int,
)
from jitgrad.trace.views import memory_order, permuted, read_only, reordered, reshaped

__all__ = ["array_of", "expand_dims", "flatten", "moved", "ravel", "reshape", "squeeze", "swapaxes", "transpose"]


def array_of(ctx: Context, x: Any, *, by_elements: bool = False) -> Any:
    """Return an argument as an array (a new one of rank 0 for a number); `by_elements` as of `numeric`."""
    x = numeric(ctx, x, by_elements=by_elements)
    return x if is_array(x) else ctx.fresh(as_array(ctx, x))


def _shape_of_reshape(ctx: Context, shape: Any) -> tuple[Dim, ...]:
    """Return the shape argument of a reshape, in which -1 is allowed."""
    parts = items_of(ctx, shape, "a shape") if not isinstance(shape, int) and not _is_scalar(shape) else (shape,)
    return tuple(
        -1 if not _is_scalar(p) and static_int(ctx, p, "a size") == -1 else shape_argument(ctx, p)[0] for p in parts
    )


def _is_scalar(x: Any) -> bool:
    return hasattr(x, "kind") and hasattr(x, "value")


def _c_order(ctx: Context, name: str, order: str, x: Any) -> str:
    if order not in ("C", "F", "A", "K"):
        raise ValueError(f"order must be one of 'C', 'F', 'A', or 'K' (got '{order}')")
    found = memory_order(ctx, x, order) if order in ("A", "K") else order
    if found is None:
        raise ctx.error("JG235", name=f"np.{name}", argument=f"order={order!r}")
    return "F" if found == "F" and len(shape_of(ctx, x)) > 1 else "C"


@handles(np.reshape)
def reshape(ctx: Context, a: Any, /, shape: Any = None, order: str = "C", *, copy: Any = None) -> Any:
    """Return `np.reshape(a, shape)`."""
    x = array_of(ctx, a, by_elements=True)
    wanted = _shape_of_reshape(ctx, shape)
    if order == "K":
        raise ValueError("order 'K' is not permitted for reshaping")
    if _c_order(ctx, "reshape", order, x) == "F":
        made = reshaped(ctx, transpose(ctx, x), wanted[::-1])
        return transpose(ctx, made)
    made = reshaped(ctx, x, wanted)
    return ctx.fresh(as_array(ctx, made)) if copy else made


@method("array", "reshape")
def _reshape_method(ctx: Context, x: Any, *shape: Any, order: str = "C", copy: Any = None) -> Any:
    return reshape(ctx, x, shape[0] if len(shape) == 1 else shape, order, copy=copy)


@handles(np.ravel)
@method("array", "ravel")
def ravel(ctx: Context, a: Any, order: str = "C") -> Any:
    """Return `np.ravel(a)`: a view of consecutive elements, else a copy."""
    x = array_of(ctx, a, by_elements=True)
    if _c_order(ctx, "ravel", order, x) == "F":
        x = transpose(ctx, x)
    return reshaped(ctx, x, (-1,), copy_strided=True)


@method("array", "flatten")
def flatten(ctx: Context, x: Any, order: str = "C") -> Any:
    """Return `x.flatten()`: always a copy."""
    return ctx.fresh(as_array(ctx, ravel(ctx, x, order)))


@handles(np.transpose)
def transpose(ctx: Context, a: Any, axes: Any = None) -> Any:
    """Return `np.transpose(a, axes)`."""
    x = array_of(ctx, a)
    rank = len(shape_of(ctx, x))
    if axes is None:
        return permuted(ctx, x, tuple(reversed(range(rank))))
    given = [static_int(ctx, k, "an axis") for k in items_of(ctx, axes, "the axes of a transpose")]
    if len(given) != rank:
        raise ValueError("axes don't match array")
    return permuted(ctx, x, normal_axes(given, rank, None) if len(set(given)) == rank else _repeated())


def _repeated() -> tuple[int, ...]:
    raise ValueError("repeated axis in transpose")


if hasattr(np, "permute_dims") and np.permute_dims is not np.transpose:
    handles(np.permute_dims)(transpose)


@method("array", "transpose")
def _transpose_method(ctx: Context, x: Any, *axes: Any) -> Any:
    if not axes or axes == (None,):
        return transpose(ctx, x)
    return transpose(ctx, x, axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes)


@attribute_of_array("T")
def _t(ctx: Context, x: Any) -> Any:
    return transpose(ctx, x)


@attribute_of_array("mT")
def _mt(ctx: Context, x: Any) -> Any:
    rank = len(shape_of(ctx, array_of(ctx, x)))
    if rank < 2:
        raise ValueError("matrix transpose with ndim < 2 is undefined")
    return swapaxes(ctx, x, -1, -2)


@handles(np.matrix_transpose)
def _matrix_transpose(ctx: Context, x: Any, /) -> Any:
    return _mt(ctx, array_of(ctx, x))


@handles(np.swapaxes)
@method("array", "swapaxes")
def swapaxes(ctx: Context, a: Any, axis1: Any, axis2: Any) -> Any:
    """Return `np.swapaxes(a, axis1, axis2)`."""
    x = array_of(ctx, a)
    order = list(range(len(shape_of(ctx, x))))
    i, j = axis_argument(ctx, axis1, len(order)), axis_argument(ctx, axis2, len(order))
    order[i], order[j] = order[j], order[i]
    return permuted(ctx, x, order)


def _axis_list(ctx: Context, axis: Any, rank: int, name: str) -> list[int]:
    axes = [static_int(ctx, a, "an axis") for a in one_or_items(ctx, axis, "axes")]
    return list(normal_axes(axes, rank, name))


@handles(np.moveaxis)
def moved(ctx: Context, a: Any, source: Any, destination: Any) -> Any:
    """Return `np.moveaxis(a, source, destination)`."""
    x = array_of(ctx, a)
    rank = len(shape_of(ctx, x))
    sources = _axis_list(ctx, source, rank, "source")
    targets = _axis_list(ctx, destination, rank, "destination")
    if len(sources) != len(targets):
        raise ValueError("`source` and `destination` arguments must have the same number of elements")
    order = [k for k in range(rank) if k not in sources]
    for target, axis in sorted(zip(targets, sources, strict=True)):
        order.insert(target, axis)
    return permuted(ctx, x, order)


@handles(np.rollaxis)
def _rollaxis(ctx: Context, a: Any, axis: Any, start: Any = 0) -> Any:
    x = array_of(ctx, a)
    rank = len(shape_of(ctx, x))
    at = axis_argument(ctx, axis, rank)
    to = static_int(ctx, start, "an axis")
    to += rank if to < 0 else 0
    if not 0 <= to < rank + 1:
        raise np.exceptions.AxisError(f"'start' arg requires {-rank} <= start < {rank + 1}, but {to} was passed in")
    return moved(ctx, x, at, to - 1 if at < to else to)


@handles(np.squeeze)
@method("array", "squeeze")
def squeeze(ctx: Context, a: Any, axis: Any = None) -> Any:
    """Return `np.squeeze(a, axis)`."""
    x = array_of(ctx, a)
    shape = shape_of(ctx, x)
    if axis is None:
        drop = [k for k, d in enumerate(shape) if d == 1]
        for d in shape:
            if not isinstance(d, int) and not surely(ctx, 2, (1, d)):
                what = "np.squeeze of a size computed by the program that turned out to be 1"
                ctx.refuse_unless(ctx.g.not_equal(d, 1), "JG218", d, what=what)
    else:
        drop = _axis_list(ctx, axis, len(shape), "axis") if shape else []
        message = "cannot select an axis to squeeze out which has size not equal to one"
        for d in (shape[k] for k in drop):
            if isinstance(d, int) and d != 1:
                raise ValueError(message)
            if not isinstance(d, int):
                ctx.check(ctx.g.equal(d, 1), ValueError, message)
    return reordered(ctx, x, [k for k in range(len(shape)) if k not in drop])


@handles(np.expand_dims)
def expand_dims(ctx: Context, a: Any, axis: Any) -> Any:
    """Return `np.expand_dims(a, axis)`."""
    x = array_of(ctx, a)
    axes = one_or_items(ctx, axis, "axes")
    rank = len(shape_of(ctx, x)) + len(axes)
    places = normal_axes([static_int(ctx, k, "an axis") for k in axes], rank)
    rest = iter(range(rank - len(axes)))
    return reordered(ctx, x, [None if k in places else next(rest) for k in range(rank)])


def _at_least(ctx: Context, rank: int, arys: Sequence[Any], name: str) -> Any:
    made = []
    for a in arys:
        x = array_of(ctx, a)
        own = len(shape_of(ctx, x))
        if own >= rank:
            made.append(x)
        elif rank == 3 and own > 0:
            made.append(reordered(ctx, x, [None, 0, None] if own == 1 else [0, 1, None]))
        else:
            made.append(reordered(ctx, x, [*(None for _ in range(rank - own)), *range(own)]))
    return made[0] if len(made) == 1 else tuple(made)


@handles(np.atleast_1d)
def _atleast_1d(ctx: Context, *arys: Any) -> Any:
    return _at_least(ctx, 1, arys, "atleast_1d")


@handles(np.atleast_2d)
def _atleast_2d(ctx: Context, *arys: Any) -> Any:
    return _at_least(ctx, 2, arys, "atleast_2d")


@handles(np.atleast_3d)
def _atleast_3d(ctx: Context, *arys: Any) -> Any:
    return _at_least(ctx, 3, arys, "atleast_3d")


# --- broadcasting


@handles(np.broadcast_to)
def _broadcast_to(ctx: Context, array: Any, shape: Any, subok: bool = False) -> Any:
    x = numeric(ctx, array)
    value = as_array(ctx, x)
    wanted = shape_argument(ctx, shape)
    try:
        fits = broadcast_shapes(value.shape, wanted) == wanted
    except GraphTypeError:
        fits = broadcast_dims(ctx, value.shape, wanted) == wanted if not value.array.is_static else False
    if not fits:
        texts = [str(tuple(s)).replace(", ", ",") for s in (value.shape, wanted)]
        raise ValueError(
            "operands could not be broadcast together with remapped shapes [original->remapped]: "
            f"{texts[0]}  and requested shape {texts[1]}"
        )
    return read_only(ctx, x, broadcast_to(ctx.g, value, wanted))


@handles(np.broadcast_arrays)
def _broadcast_arrays(ctx: Context, *args: Any, subok: bool = False) -> Any:
    xs = [array_of(ctx, a) for a in args]
    shape = broadcast_dims(ctx, *(shape_of(ctx, x) for x in xs))
    return tuple(
        x if shape_of(ctx, x) == shape else read_only(ctx, x, broadcast_to(ctx.g, as_array(ctx, x), shape)) for x in xs
    )


@handles(np.broadcast_shapes)
def _broadcast_shapes(ctx: Context, *shapes: Any) -> Any:
    dims = [shape_argument(ctx, s) for s in shapes]
    return tuple(dim_scalar(ctx, d) for d in broadcast_dims(ctx, *dims))


# --- what an array is


@attribute_of_array("shape")
def _shape(ctx: Context, x: Any) -> Any:
    return tuple(dim_scalar(ctx, d) for d in shape_of(ctx, x if not isinstance(x, np.ndarray) else array_of(ctx, x)))


@attribute_of_array("ndim")
def _ndim(ctx: Context, x: Any) -> int:
    return len(_shape(ctx, x))


@attribute_of_array("size")
def _size(ctx: Context, x: Any) -> Any:
    return dim_scalar(ctx, size_of(ctx, shape_of(ctx, x if not isinstance(x, np.ndarray) else array_of(ctx, x))))


@handles(np.shape)
def _np_shape(ctx: Context, a: Any) -> Any:
    return _shape(ctx, numeric(ctx, a))


@handles(np.ndim)
def _np_ndim(ctx: Context, a: Any) -> int:
    return _ndim(ctx, numeric(ctx, a))


@handles(np.size)
def _np_size(ctx: Context, a: Any, axis: Any = None) -> Any:
    x = numeric(ctx, a, by_elements=axis is None)
    if axis is None:
        return _size(ctx, x)
    return _shape(ctx, x)[axis_argument(ctx, axis, _ndim(ctx, x))]


@handles(np.ndarray.__len__)
def _length(ctx: Context, x: Any) -> Any:
    return _shape(ctx, x)[0]


@attribute_of_array("flat")
def _flat(ctx: Context, x: Any) -> Any:
    made = reshaped(ctx, array_of(ctx, x), (-1,), in_memory=False)
    shares = isinstance(x, Ref) and isinstance(made, Ref) and made.cell is x.cell
    if not shares and isinstance(x, Ref | TaggedRef):
        raise ctx.error("JG232", name="flat", what="a view whose elements are not consecutive")
    return made
