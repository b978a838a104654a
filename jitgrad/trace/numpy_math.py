"""NumPy's functions composed of others: `isclose`, `nan_to_num`, `sinc`, `trapezoid`, `polyval`, `interp`, ...

In: abstract arrays and arguments. Out: NumPy scalars or new arrays. Each is written with the meaning of NumPy's own
functions, not with primitives, so that dtypes follow.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from jitgrad.errors import TABLE, UnsupportedError
from jitgrad.graph.ir import Value
from jitgrad.graph.ops.memory import Span, load
from jitgrad.graph.ops.shape import reshape_to
from jitgrad.trace import arithmetic, arrays, promotion
from jitgrad.trace.abstract import Scalar
from jitgrad.trace.algorithms import elements, grids
from jitgrad.trace.arrays import as_array, cast, dtype_of, is_array, shape_of
from jitgrad.trace.calls import attribute_of_array, handles, is_known, method
from jitgrad.trace.context import Context, kind_of_python
from jitgrad.trace.extents import surely, total
from jitgrad.trace.iteration import sequence_of
from jitgrad.trace.numpy_join import joined_values
from jitgrad.trace.numpy_move import take_positions
from jitgrad.trace.numpy_order import positions_in
from jitgrad.trace.numpy_select import where_of
from jitgrad.trace.sizes import (
    axis_argument,
    dim_scalar,
    known_argument,
    numeric,
    promoted,
    same_dim,
    size_of,
    static_dim,
    static_int,
)
from jitgrad.trace.subscripts import get_item
from jitgrad.trace.ufuncs import store_result

__all__ = ["rounded"]


def _u(ctx: Context, function: np.ufunc, *xs: Any) -> Any:
    return promotion.ufunc(ctx, function, *xs)


# --- rounding


@handles(np.round, *([np.around] if np.around is not np.round else []))
@method("array", "round")
def rounded(ctx: Context, a: Any, decimals: Any = 0, out: Any = None) -> Any:
    """Return `np.round(a, decimals)`: scaled by a power of ten, rounded half to even, and scaled back."""
    x = numeric(ctx, a)
    digits = static_int(ctx, decimals, "the decimals of np.round")
    dtype = dtype_of(ctx, x)
    if dtype.kind in "iu" and digits >= 0:
        made = ctx.result(as_array(ctx, x))
    elif dtype.kind not in "f":
        raise ctx.error("JG216", name="np.round", dtypes=str(dtype))
    elif digits == 0:
        made = _u(ctx, np.rint, x)
    else:
        scale = dtype.type(10.0 ** abs(digits))
        up, down = (np.multiply, np.divide) if digits > 0 else (np.divide, np.multiply)
        made = _u(ctx, down, _u(ctx, np.rint, _u(ctx, up, x, scale)), scale)
    return made if out is None else store_result(ctx, "round", as_array(ctx, made), out)


@handles(np.fix)
def _fix(ctx: Context, x: Any, out: Any = None) -> Any:
    made = _u(ctx, np.trunc, numeric(ctx, x))
    return made if out is None else store_result(ctx, "fix", as_array(ctx, made), out)


# --- NaN and closeness


@handles(np.nan_to_num)
def _nan_to_num(ctx: Context, x: Any, copy: Any = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Any:
    made = numeric(ctx, x)
    dtype = dtype_of(ctx, made)
    if dtype.kind not in "f":
        return ctx.result(as_array(ctx, made))
    info = np.finfo(dtype)
    value = as_array(ctx, made)
    g = ctx.g
    high, low = (
        as_array(ctx, d if v is None else v, dtype) for v, d in ((posinf, float(info.max)), (neginf, float(info.min)))
    )
    result = g.select(g.isnan(value), as_array(ctx, nan, dtype), value)
    result = g.select(g.equal(value, math.inf), high, result)
    result = g.select(g.equal(value, -math.inf), low, result)
    if copy is False and is_array(made):
        return store_result(ctx, "nan_to_num", result, made)
    return ctx.result(result)


@handles(np.isclose)
def _isclose(ctx: Context, a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: Any = False) -> Any:
    x, y = numeric(ctx, a), numeric(ctx, b)
    if dtype_of(ctx, y).kind not in "fc":
        y = ctx.result(cast(ctx, as_array(ctx, y), np.result_type(dtype_of(ctx, y), 1.0)))
    gap = _u(ctx, np.absolute, _u(ctx, np.subtract, x, y))
    limit = _u(ctx, np.add, numeric(ctx, atol), _u(ctx, np.multiply, numeric(ctx, rtol), _u(ctx, np.absolute, y)))
    near = _u(ctx, np.logical_and, _u(ctx, np.less_equal, gap, limit), _u(ctx, np.isfinite, y))
    made = _u(ctx, np.logical_or, near, _u(ctx, np.equal, x, y))
    if equal_nan:
        made = _u(ctx, np.logical_or, made, _u(ctx, np.logical_and, _u(ctx, np.isnan, x), _u(ctx, np.isnan, y)))
    return made


@handles(np.allclose)
def _allclose(ctx: Context, a: Any, b: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: Any = False) -> Any:
    return ctx.call(bool, [ctx.call(np.all, [_isclose(ctx, a, b, rtol, atol, equal_nan)])])


@handles(np.array_equal)
def _array_equal(ctx: Context, a1: Any, a2: Any, equal_nan: Any = False) -> Any:
    arrays = [as_array(ctx, numeric(ctx, a)) for a in (a1, a2)]
    return ctx.call(elements.array_equal, [*map(ctx.fresh, arrays), equal_nan])


# --- parts of complex numbers


def _part(ctx: Context, x: Any, name: str) -> Any:
    value = as_array(ctx, x)
    return ctx.g.emit(name, [value]).result if value.array.dtype.kind == "c" else None


@attribute_of_array("real")
def _real(ctx: Context, x: Any) -> Any:
    if kind_of_python(x) is not None:
        return x.real
    made = _part(ctx, x, "real")
    if isinstance(x, Scalar):
        kind = {"bool": "int", "complex": "float"}.get(x.kind, x.kind)
        return Scalar(cast(ctx, x.value, np.int64) if x.kind == "bool" else x.value if made is None else made, kind)
    return x if made is None else ctx.result(made)


@attribute_of_array("imag")
def _imag(ctx: Context, x: Any) -> Any:
    if kind_of_python(x) is not None:
        return x.imag
    made = _part(ctx, x, "imag")
    if isinstance(x, Scalar) and made is None:
        return {"int": 0, "bool": 0, "float": 0.0}.get(x.kind, dtype_of(ctx, x).type(0))
    if made is None:
        return arrays.new_array(ctx, dtype_of(ctx, x), shape_of(ctx, x), 0)
    return Scalar(made, "float") if isinstance(x, Scalar) and x.kind == "complex" else ctx.result(made)


@handles(np.real)
def _np_real(ctx: Context, val: Any) -> Any:
    return _real(ctx, numeric(ctx, val))


@handles(np.imag)
def _np_imag(ctx: Context, val: Any) -> Any:
    return _imag(ctx, numeric(ctx, val))


@method("array", "conj", "conjugate")
def _conj(ctx: Context, x: Any) -> Any:
    return _u(ctx, np.conjugate, x)


@handles(np.angle)
def _angle(ctx: Context, z: Any, deg: Any = False) -> Any:
    x = numeric(ctx, z)
    made = _u(ctx, np.arctan2, _imag(ctx, x), _real(ctx, x))
    return _u(ctx, np.multiply, made, 180 / math.pi) if deg else made


@handles(np.isreal)
def _isreal(ctx: Context, x: Any) -> Any:
    return _u(ctx, np.equal, _np_imag(ctx, x), 0)


@handles(np.iscomplexobj)
def _iscomplexobj(ctx: Context, x: Any) -> bool:
    return dtype_of(ctx, numeric(ctx, x)).kind == "c"


@handles(np.isrealobj)
def _isrealobj(ctx: Context, x: Any) -> bool:
    return dtype_of(ctx, numeric(ctx, x)).kind != "c"


@handles(np.isposinf)
def _isposinf(ctx: Context, x: Any, out: Any = None) -> Any:
    return _u(ctx, np.equal, numeric(ctx, x), math.inf)


@handles(np.isneginf)
def _isneginf(ctx: Context, x: Any, out: Any = None) -> Any:
    return _u(ctx, np.equal, numeric(ctx, x), -math.inf)


# --- functions


@handles(np.sinc)
def _sinc(ctx: Context, x: Any) -> Any:
    made = numeric(ctx, x)
    y = _u(ctx, np.multiply, math.pi, made)
    # About 0 a series: of the quotient the derivatives cancel there, and at 0 it has none.
    near = _u(ctx, np.less, _u(ctx, np.abs, y), 0.1)
    inside, outside = where_of(ctx, near, y, 0.0), where_of(ctx, near, 1.0, y)
    square = _u(ctx, np.multiply, inside, inside)
    series: Any = 1.0
    for divisor in (72.0, 42.0, 20.0, 6.0):
        series = _u(ctx, np.subtract, 1.0, _u(ctx, np.multiply, _u(ctx, np.divide, square, divisor), series))
    value = where_of(ctx, near, series, _u(ctx, np.divide, _u(ctx, np.sin, outside), outside))
    dtype = dtype_of(ctx, y)
    return ctx.result(cast(ctx, as_array(ctx, value), dtype))


@handles(np.polyval)
def _polyval(ctx: Context, p: Any, x: Any) -> Any:
    at = numeric(ctx, x)
    y = ctx.call(np.zeros_like, [at])
    y = y if shape_of(ctx, y) else ctx.result(as_array(ctx, y))
    for c in sequence_of(ctx, numeric(ctx, p)):
        y = _u(ctx, np.add, _u(ctx, np.multiply, y, at), c)
    return y


@handles(np.vander)
def _vander(ctx: Context, x: Any, N: Any = None, increasing: Any = False) -> Any:
    value = as_array(ctx, numeric(ctx, x))
    if value.array.rank != 1:
        raise ValueError("x must be a one-dimensional array or sequence.")
    count = (
        static_dim(ctx, value.shape[0], "the size of np.vander")
        if N is None
        else static_int(ctx, N, "the size of np.vander")
    )
    dtype = np.promote_types(value.array.dtype, int)
    column = ctx.fresh(cast(ctx, value, dtype))
    if count == 0:
        return ctx.call(np.zeros, [(dim_scalar(ctx, value.shape[0]), 0), dtype])
    columns = [ctx.call(np.ones_like, [column])]
    for _ in range(count - 1):
        columns.append(_u(ctx, np.multiply, columns[-1], column))
    return ctx.call(np.stack, [tuple(columns if increasing else columns[::-1]), 1])


def _trapezoid(ctx: Context, y: Any, x: Any = None, dx: Any = 1.0, axis: Any = -1) -> Any:
    value = numeric(ctx, y)
    rank = len(shape_of(ctx, value))
    at = axis_argument(ctx, axis, rank)
    step = numeric(ctx, dx)
    if x is not None:
        step = ctx.call(np.diff, [x] if len(shape_of(ctx, numeric(ctx, x))) == 1 else [x, 1, at])
        if len(shape_of(ctx, step)) == 1 and rank > 1:
            value_shape = [1] * rank
            value_shape[at] = -1
            step = ctx.call(np.reshape, [step, tuple(value_shape)])
    full = [slice(None)] * rank
    high = get_item(ctx, value, (*full[:at], slice(1, None), *full[at + 1 :]))
    low = get_item(ctx, value, (*full[:at], slice(None, -1), *full[at + 1 :]))
    area = _u(ctx, np.divide, _u(ctx, np.multiply, step, _u(ctx, np.add, high, low)), 2.0)
    return ctx.call(np.sum, [area, at])


# NumPy 2.0 renamed it; the type checker knows one name only.
handles(vars(np).get("trapezoid") or vars(np)["trapz"])(_trapezoid)


@handles(np.gradient)
def _gradient(ctx: Context, f: Any, *varargs: Any, axis: Any = None, edge_order: Any = 1) -> Any:
    order = known_argument(ctx, edge_order, "edge_order")
    if order > 2:
        raise ValueError("'edge_order' greater than 2 not supported")
    value = numeric(ctx, f)
    if dtype_of(ctx, value).kind not in "fc":
        value = ctx.fresh(cast(ctx, as_array(ctx, value), np.float64))
    rank = len(shape_of(ctx, value))
    axes = tuple(range(rank)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    steps = list(varargs) or [1.0]
    if len(steps) == 1 and not shape_of(ctx, numeric(ctx, steps[0])):
        steps = steps * len(axes)
    if len(steps) != len(axes):
        raise TypeError("invalid number of arguments")
    made = [
        _gradient_axis(ctx, value, axis_argument(ctx, k, rank), numeric(ctx, h), order)
        for k, h in zip(axes, steps, strict=True)
    ]
    return made[0] if len(axes) == 1 else tuple(made)


def _require(ctx: Context, size: Any, least: int, exception: type[Exception], message: str) -> None:
    """Raise if a size is less than it must be, when it is called where it is not known before."""
    if isinstance(size, int) and size < least:
        raise exception(message)
    if not surely(ctx, least, (1, size)):
        ctx.check(ctx.g.greater_equal(size, least), exception, message)


def _gradient_axis(ctx: Context, x: Any, at: int, step: Any, order: int) -> Any:
    size, points = shape_of(ctx, x)[at], shape_of(ctx, step)
    if len(points) > 1:
        raise ValueError("distances must be either scalars or 1d")
    wrong = "when 1d, distances must match the length of the corresponding dimension"
    if points and not same_dim(ctx, points[0], size, wrong):
        raise ValueError(wrong)
    small = (
        "Shape of array too small to calculate a numerical gradient, at least (edge_order + 1) elements are required."
    )
    _require(ctx, size, 2 if points else 0, IndexError, "index 0 is out of bounds for axis 0 with size 0")
    _require(ctx, size, order + 1, ValueError, small)
    if points or order == 2:
        turned = ctx.call(np.moveaxis, [x, at, 0])
        if points and dtype_of(ctx, step).kind in "iu":
            step = ctx.fresh(cast(ctx, as_array(ctx, step), np.float64))
        if points:
            made = ctx.call(grids.uneven_slopes, [turned, step, order])
        else:
            made = ctx.call(grids.even_slopes, [turned, step])
        return ctx.call(np.moveaxis, [made, 0, at])
    full = [slice(None)] * len(shape_of(ctx, x))

    def part(start: Any, stop: Any) -> Any:
        return get_item(ctx, x, (*full[:at], slice(start, stop), *full[at + 1 :]))

    def slope(high: Any, low: Any, width: Any) -> Any:
        return _u(ctx, np.divide, _u(ctx, np.subtract, high, low), width)

    parts = [slope(part(1, 2), part(0, 1), step)]
    if size != 2:
        parts.append(slope(part(2, None), part(None, -2), arithmetic.binary(ctx, "*", 2.0, step)))
    parts.append(slope(part(-1, None), part(-2, -1), step))
    return ctx.call(np.concatenate, [tuple(parts), at])


@handles(np.interp)
def _interp(ctx: Context, x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    if period is not None:
        return _interp(ctx, *_one_period(ctx, x, xp, fp, period))
    at, xs, ys = (as_array(ctx, numeric(ctx, v), np.float64) for v in (x, xp, fp))
    message = "fp and xp are not of the same length."
    if xs.array.rank != 1 or ys.array.rank != 1 or not same_dim(ctx, xs.shape[0], ys.shape[0], message):
        raise ValueError(message)
    n = xs.shape[0]
    g = ctx.g
    _require(ctx, n, 1, ValueError, "array of sample points is empty")
    several = surely(ctx, 2, (1, n))
    final = [n - 1] if isinstance(n, int) else g.reshape(g.subtract(n, 1), shape=(1,))
    shape = at.shape
    flat = reshape_to(g, at, (size_of(ctx, shape),))
    low = take_positions(ctx, ys, [0], 0) if left is None else reshape_to(g, as_array(ctx, left, np.float64), (1,))
    high = take_positions(ctx, ys, final, 0) if right is None else reshape_to(g, as_array(ctx, right, np.float64), (1,))
    if n == 1:
        made = g.select(g.less(flat, xs), low, g.select(g.greater(flat, xs), high, ys))
        return ctx.result(reshape_to(g, made, shape))
    points = ctx.fresh(xs)
    rising = _u(ctx, np.less_equal, get_item(ctx, points, slice(None, -1)), get_item(ctx, points, slice(1, None)))
    row = TABLE["JG246"]
    # What NumPy gives otherwise depends on how it searches.
    ctx.check(as_array(ctx, ctx.call(np.all, [rising])), UnsupportedError, f"JG246: {row.what}\n{row.do}")
    place = g.subtract(positions_in(ctx, xs, flat, "right"), 1)
    place = g.maximum(g.minimum(place, n - 2 if isinstance(n, int) else g.subtract(n, 2)), 0)
    x0, y0 = take_positions(ctx, xs, place, 0), take_positions(ctx, ys, place, 0)
    after = g.add(place, 1)
    if not several:
        # Of a single point, as data decide, none of what is computed here is chosen.
        after = g.minimum(after, g.subtract(n, 1))
    x1, y1 = take_positions(ctx, xs, after, 0), take_positions(ctx, ys, after, 0)
    slope = g.divide(g.subtract(y1, y0), g.subtract(x1, x0))
    made = g.add(g.multiply(slope, g.subtract(flat, x0)), y0)
    last, first = take_positions(ctx, xs, final, 0), take_positions(ctx, xs, [0], 0)
    end = take_positions(ctx, ys, final, 0)
    made = g.select(g.equal(flat, last), end, made)
    made = g.select(g.greater(flat, last), high, g.select(g.less(flat, first), low, made))
    made = g.select(g.isnan(flat), flat if several else g.select(g.equal(n, 1), end, flat), made)
    return ctx.result(reshape_to(g, made, shape))


def _one_period(ctx: Context, x: Any, xp: Any, fp: Any, period: Any) -> tuple[Any, Any, Any]:
    """Return the arguments of `np.interp` without a period: all in one, the points sorted, one more at each end."""
    if is_known(period) and period == 0:
        raise ValueError("period must be a non-zero value")
    width = _u(ctx, np.absolute, period)
    x, xp, fp = (ctx.fresh(as_array(ctx, numeric(ctx, v), np.float64)) for v in (x, xp, fp))
    if len(shape_of(ctx, xp)) != 1 or len(shape_of(ctx, fp)) != 1:
        raise ValueError("Data points must be 1-D sequences")
    x, xp = (_u(ctx, np.remainder, v, width) for v in (x, xp))
    order = ctx.call(np.argsort, [xp])
    xp, fp = (get_item(ctx, v, order) for v in (xp, fp))
    (first, last), (low, high) = ((get_item(ctx, v, slice(1)), get_item(ctx, v, slice(-1, None))) for v in (xp, fp))
    ends = _u(ctx, np.subtract, last, width), _u(ctx, np.add, first, width)
    return x, ctx.call(np.concatenate, [(ends[0], xp, ends[1])]), ctx.call(np.concatenate, [(high, fp, low)])


# --- convolution


# Sums of so many terms, or fewer, are written out.
_UNROLLED = 16


def _windows(ctx: Context, a: Value, v: Value, mode: str) -> Value:
    """Return sums of a, padded by zeros, against v at every place of a mode; the size of v is known."""
    (m,) = v.shape
    assert isinstance(m, int)
    pads = {"full": (m - 1, m - 1), "same": ((m - 1) - (m - 1) // 2, (m - 1) // 2), "valid": (0, 0)}
    if mode not in pads:
        raise ValueError(f"mode must be one of 'valid', 'same', or 'full' (got {mode!r})")
    zero = ctx.constant(0, a.array.dtype)
    parts = [ctx.g.broadcast(zero, shape=(count,)) for count in pads[mode]]
    a = joined_values(ctx, [p for p in (parts[0], a, parts[1]) if p.shape != (0,)], 0)
    count = total(ctx, (1, a.shape[0]), (1, 1 - m))
    if m > _UNROLLED:
        return as_array(ctx, ctx.call(grids.windows, [ctx.fresh(a), ctx.fresh(v)]))
    made: Any = None
    for k in range(m):
        part = ctx.fresh(load(ctx.g, a, [Span(k, 1, count)]))
        product = _u(ctx, np.multiply, part, get_item(ctx, ctx.fresh(v), k))
        made = product if made is None else _u(ctx, np.add, made, product)
    return as_array(ctx, made)


def _long_and_short(ctx: Context, name: str, x: Value, w: Value) -> tuple[Value, Value, bool]:
    """Return two values by their sizes, that of the second known, and whether they were exchanged."""
    for long, short in ((x, w), (w, x)):
        m = short.shape[0]
        if isinstance(m, int) and surely(ctx, m, (1, long.shape[0])):
            return long, short, short is x
    n, m = (static_dim(ctx, v.shape[0], f"a size of {name}") for v in (x, w))
    return (x, w, False) if n >= m else (w, x, True)


@handles(np.convolve)
def _convolve(ctx: Context, a: Any, v: Any, mode: str = "full") -> Any:
    x, w = promoted(ctx, numeric(ctx, a), numeric(ctx, v))
    x, w = (reshape_to(ctx.g, p, (1,)) if not p.array.rank else p for p in (x, w))
    for part, name in ((x, "a"), (w, "v")):
        _require(ctx, part.shape[0], 1, ValueError, f"{name} cannot be empty")
    if mode == "full" and isinstance(x.shape[0], int) != isinstance(w.shape[0], int):
        x, w = (x, w) if isinstance(w.shape[0], int) else (w, x)  # here it is the same which one is longer
    else:
        x, w, _ = _long_and_short(ctx, "np.convolve", x, w)
    return ctx.fresh(_windows(ctx, x, _reversed(ctx, w), mode))


@handles(np.correlate)
def _correlate(ctx: Context, a: Any, v: Any, mode: str = "valid") -> Any:
    x, w, exchanged = _long_and_short(ctx, "np.correlate", *promoted(ctx, numeric(ctx, a), numeric(ctx, v)))
    if w.shape[0] == 0:
        raise ValueError(f"{'first' if exchanged else 'second'} array argument cannot be empty")
    made = _windows(ctx, x, w, mode)
    return ctx.fresh(_reversed(ctx, made) if exchanged else made)


def _reversed(ctx: Context, value: Value) -> Value:
    (n,) = value.shape
    return load(ctx.g, value, [Span(total(ctx, (1, n), (1, -1)), -1, n)])


@handles(np.cov)
def _cov(ctx: Context, m: Any, y: Any = None, rowvar: Any = True, bias: Any = False, ddof: Any = None) -> Any:
    def rows(x: Any, single: int | None) -> Value:
        value = as_array(ctx, numeric(ctx, x), np.float64)
        rank = value.array.rank
        if rank > 2:
            raise ValueError(f"{'m' if single is None else 'y'} has more than 2 dimensions")
        if rank < 2:
            value = reshape_to(ctx.g, value, (1, *(value.shape or (1,))))
        # NumPy turns a first argument of rank 1 never, and a second one whose first axis is 1 neither.
        turned = rank == 2 if single is None else value.shape[0] != single
        return ctx.g.transpose(value, permutation=(1, 0)) if turned and not rowvar else value

    value = rows(m, None)
    if value.shape[0] == 0:
        return ctx.fresh(ctx.constant(np.empty((0, 0))))
    if y is not None:
        value = as_array(ctx, ctx.call(np.concatenate, [(ctx.fresh(value), ctx.fresh(rows(y, 1)))]))
    n = value.shape[1]
    less = known_argument(ctx, ddof, "ddof") if ddof is not None else (0 if bias else 1)
    x = ctx.fresh(value)
    mean = ctx.call(np.mean, [x, 1], {"keepdims": True})
    gap = _u(ctx, np.subtract, x, mean)
    product = ctx.call(np.dot, [gap, ctx.call(np.transpose, [gap])])
    if isinstance(n, int):
        with np.errstate(divide="ignore"):
            scale = np.float64(1.0) / max(n - less, 0)
    else:
        count = ctx.result(cast(ctx, n, np.float64))
        scale = _u(ctx, np.divide, 1.0, _u(ctx, np.maximum, _u(ctx, np.subtract, count, less), 0.0))
    made = as_array(ctx, _u(ctx, np.multiply, product, scale))
    # An array of rank 0, not a number, of one variable.
    return ctx.fresh(reshape_to(ctx.g, made, ()) if made.shape == (1, 1) else made)
