"""Small helpers that the rooms for known callables share: sizes, axes, arguments that must be known.

In: abstract values. Out: dimensions, positions, dtypes. A run-time int that must be known is made so through
`Context.note_static`, which unrolls or guards. This room emits no arithmetic but that of dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.memory import Pick, load
from jitgrad.graph.types import Dim
from jitgrad.trace.abstract import External, IndexRange, ListRef, Record, Ref, Scalar, TaggedRef
from jitgrad.trace.algorithms.containers import Deque
from jitgrad.trace.algorithms.tuples import LongTuple
from jitgrad.trace.arrays import as_array, cast, dtype_of, is_numeric, kind, scalar_value, shape_of
from jitgrad.trace.attributes import opened
from jitgrad.trace.columns import content_of
from jitgrad.trace.context import Context
from jitgrad.trace.extents import least, product, surely, total, unify

__all__ = [
    "axes_argument", "axis_argument", "dim_argument", "dim_scalar", "is_list", "items_of", "known_argument",
    "normal_axes", "numeric", "one_or_items", "operand_of", "promoted", "refuse_empty", "refuse_without_items",
    "rehearse", "result_dtype", "same_dim", "shape_argument", "size_of", "static_dim", "static_int", "static_shape",
]  # fmt: skip


# --- ints that must be known


def static_int(ctx: Context, x: Any, why: str) -> int:
    """Return an int argument as a known int."""
    if isinstance(x, Ref | TaggedRef):
        x = Scalar(cast(ctx, as_array(ctx, x), np.int64), "int")
    if isinstance(x, Scalar):
        if x.value.array.dtype.kind not in "iub":
            name = x.kind if x.kind != "numpy" else f"numpy.{x.value.array.dtype.name}"
            raise TypeError(f"'{name}' object cannot be interpreted as an integer")
        return ctx.note_static(x, why)
    if not hasattr(x, "__index__"):
        if isinstance(x, Record) and x.cls is LongTuple:
            raise ctx.error("JG236", what=why)
        name = "list" if isinstance(x, ListRef) else type(x.thing if isinstance(x, External) else x).__name__
        raise TypeError(f"'{name}' object cannot be interpreted as an integer")
    return int(x.__index__())


def known_argument(ctx: Context, x: Any, why: str) -> Any:
    """Return an argument as a known Python object; ints, and tuples and lists of them, are made known."""
    if isinstance(x, Scalar):
        return ctx.note_static(x, why)
    if isinstance(x, ListRef | External) and is_list(ctx, x):
        x = items_of(ctx, x, why)
        return [known_argument(ctx, v, why) for v in x]
    if isinstance(x, tuple):
        return tuple(known_argument(ctx, v, why) for v in x)
    if isinstance(x, Ref | TaggedRef | External):
        raise ctx.error("JG236", what=why)
    return x


def is_list(ctx: Context, x: Any) -> bool:
    """Whether an argument is a list, a range or an array of numbers, or such a list read from outside."""
    if isinstance(x, Ref | TaggedRef):
        return len(shape_of(ctx, x)) > 0
    return isinstance(x, ListRef | range) or (isinstance(x, External) and isinstance(x.thing, list))


def one_or_items(ctx: Context, x: Any, why: str) -> tuple[Any, ...]:
    """Return the items of an argument such as axes or shifts, a tuple with just it where it is one."""
    return items_of(ctx, x, why) if isinstance(x, tuple) or is_list(ctx, x) else (x,)


def items_of(ctx: Context, x: Any, why: str) -> tuple[Any, ...]:
    """Return the items of a tuple, list or range that is an argument such as a shape."""
    if isinstance(x, External):
        x = opened(ctx, x)
    if isinstance(x, tuple):
        return x
    if isinstance(x, ListRef):
        found = content_of(ctx, x.cell)
        if not isinstance(found, tuple):
            raise ctx.error("JG221", what=f"{why}, given as a list that grew in a loop")
        return found
    if isinstance(x, range):
        return tuple(x)
    if isinstance(x, Ref | TaggedRef):
        value = as_array(ctx, x)
        count = static_dim(ctx, value.shape[0], why)
        return tuple(Scalar(load(ctx.g, value, [Pick(k)]), "numpy") for k in range(count))
    raise ctx.error("JG236", what=why)


# --- dimensions


def dim_scalar(ctx: Context, d: Dim) -> Any:
    """Return a dimension as the int that Python code sees."""
    return d if isinstance(d, int) else Scalar(d, "int", max(0, least(ctx, (1, d)) or 0), None)


def dim_argument(ctx: Context, x: Any) -> Dim:
    """Return an int argument as a dimension, which may stay known only at run time."""
    if isinstance(x, Ref | TaggedRef):
        x = Scalar(as_array(ctx, x), "numpy")
    if isinstance(x, Scalar):
        if x.value.array.dtype.kind not in "iu":
            name = x.kind if x.kind != "numpy" else f"numpy.{x.value.array.dtype.name}"
            raise TypeError(f"'{name}' object cannot be interpreted as an integer")
        value = cast(ctx, x.value, np.int64)
        if x.low is None or x.low < 0:
            inside = ctx.g.greater_equal(value, ctx.constant(0, np.int64))
            ctx.check(inside, ValueError, "negative dimensions are not allowed")
        return total(ctx, (1, value))
    known = static_int(ctx, x, "a size")
    if known < 0:
        raise ValueError("negative dimensions are not allowed")
    return known


def shape_argument(ctx: Context, x: Any) -> tuple[Dim, ...]:
    """Return a shape argument: an int, or a sequence of ints."""
    if isinstance(x, Record) and x.cls is LongTuple:
        raise ctx.error("JG236", what="the number of axes")
    if isinstance(x, tuple | ListRef | External | range) or (isinstance(x, Ref) and as_array(ctx, x).array.rank):
        shape = tuple(dim_argument(ctx, v) for v in items_of(ctx, x, "a shape"))
    else:
        shape = (dim_argument(ctx, x),)
    return shape


def refuse_empty(ctx: Context, size: Dim, name: str) -> None:
    """Refuse a call in which a function gets no elements, where what NumPy does then is not followed."""
    if size == 0:
        raise ctx.error("JG235", name=name, argument="an empty array")
    if not surely(ctx, 1, (1, size)):
        ctx.refuse_unless(ctx.g.greater(ctx.dim(size), 0), "JG235", size, name=name, argument="an empty array")


def static_dim(ctx: Context, d: Dim, why: str) -> int:
    """Return a dimension as a known int."""
    return d if isinstance(d, int) else ctx.note_static(Scalar(d, "int", 0, None), why)


def static_shape(ctx: Context, shape: Sequence[Dim], why: str) -> tuple[int, ...]:
    """Return a shape with every dimension known."""
    return tuple(static_dim(ctx, d, why) for d in shape)


def same_dim(
    ctx: Context,
    a: Dim,
    b: Dim,
    message: str,
    exception: type[BaseException] = ValueError,
    operands: Sequence[Value] | None = None,
) -> bool:
    """Whether two dimensions are equal; where that is known only at run time, a check makes sure.

    `message` is that of the exception, in which {0} and {1} stand for the two, or {k} for the k-th of `operands`.

    Raises
    ------
    Unified
        After such a check.
    """
    a, b = (d if isinstance(d, int) else ctx.canonical(d) for d in (a, b))
    if a is b or (isinstance(a, int) and isinstance(b, int)):
        return a == b
    given = [ctx.dim(a), ctx.dim(b)] if operands is None else operands
    unify(ctx, a, b, message, *given, exception=exception)
    raise AssertionError


def size_of(ctx: Context, shape: Sequence[Dim]) -> Dim:
    """Return the number of elements of a shape."""
    return product(ctx, shape)


# --- axes


def normal_axes(axes: Sequence[int], rank: int, name: str | None = None) -> tuple[int, ...]:
    """Return axes counted from 0, raising as NumPy for those out of range or repeated."""
    made = []
    for axis in axes:
        if not -rank <= axis < rank:
            raise np.exceptions.AxisError(axis, rank, name)
        made.append(axis % rank)
    if len(set(made)) != len(made):
        raise ValueError(f"repeated axis in `{name}` argument" if name else "duplicate value in 'axis'")
    return tuple(made)


def axis_argument(ctx: Context, axis: Any, rank: int) -> int:
    """Return an axis argument counted from 0."""
    return normal_axes([static_int(ctx, axis, "an axis")], rank)[0]


def axes_argument(ctx: Context, axis: Any, rank: int) -> tuple[int, ...]:
    """Return an axis argument of a reduction, None, an int or a tuple of ints, as sorted axes."""
    if axis is None:
        return tuple(range(rank))
    if isinstance(axis, tuple):
        axes = [static_int(ctx, a, "an axis") for a in axis]
    else:
        axes = [static_int(ctx, axis, "an axis")]
        if rank == 0 and axes[0] in (0, -1):
            return ()
    return tuple(sorted(normal_axes(axes, rank)))


# --- numbers and arrays


def numeric(ctx: Context, x: Any, *, by_elements: bool = False) -> Any:
    """Return an argument as a number or array: what NumPy's functions make of sequences, ranges and outside lists.

    Of a list without items NumPy does not know how many axes they would have: it is refused, unless all elements are
    alike to the function (`by_elements`).
    """
    if is_numeric(x):
        return x
    if isinstance(x, External):
        x = opened(ctx, x)
    if isinstance(x, range):
        return ctx.fresh(ctx.constant(np.array(x)))
    if isinstance(x, IndexRange):
        raise ctx.error("JG236", what="a range used as an array")
    if x is None or isinstance(x, str):
        raise ctx.error("JG210", what=f"{'None' if x is None else 'a str'} is used as an array")
    value = as_array(ctx, x)
    if not by_elements:
        refuse_without_items(ctx, value, x)
    return ctx.fresh(value)


def operand_of(ctx: Context, x: Any, axis: Any, keepdims: Any = False) -> Value:
    """Return the operand of a reduction along an axis, or of all elements."""
    return as_array(ctx, numeric(ctx, x, by_elements=axis is None and keepdims is False))


def refuse_without_items(ctx: Context, value: Value, x: Any) -> None:
    """Refuse what has been made of a list of arrays or lists in a call in which it has no items: one axis in NumPy."""
    is_listed = isinstance(x, ListRef) or (isinstance(x, Record) and x.cls in (Deque, LongTuple))
    if is_listed and value.array.rank > 1 and isinstance(value.shape[0], Value):
        ctx.refuse_unless(ctx.g.greater(value.shape[0], ctx.dim(0)), "JG251")


_WEAK = {"int": 0, "float": 0.0, "complex": 0j}


def result_dtype(ctx: Context, *xs: Any) -> np.dtype:
    """Return the dtype that NumPy promotes numbers and arrays to, Python numbers being weak."""
    return np.result_type(*(_WEAK.get(kind(x)) if kind(x) in _WEAK else dtype_of(ctx, x) for x in xs))


def promoted(ctx: Context, *xs: Any) -> list[Value]:
    """Return numbers and arrays as values of their common dtype."""
    dtype = result_dtype(ctx, *xs)
    return [scalar_value(ctx, x, dtype) for x in xs]


def rehearse(function: Callable[..., Any], values: Sequence[Value], *args: Any, **kwargs: Any) -> None:
    """Call a NumPy function on zeros of the same dtypes and shapes, so that it raises its own exception."""
    dummies = [np.broadcast_to(np.zeros((), v.array.dtype), v.shape) for v in values]  # type: ignore[arg-type]
    function(*dummies, *args, **kwargs)
