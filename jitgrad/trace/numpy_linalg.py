"""`np.dot`, `np.einsum`, `np.linalg.norm` and their kin as callables; what `np.linalg` has more is refused by name.

In: abstract arrays and arguments. Out: NumPy scalars or new arrays. The products themselves are in `products.py`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from jitgrad.graph.ops.reduce import kept_shape
from jitgrad.graph.ops.shape import reshape_to
from jitgrad.trace import arrays, products, promotion
from jitgrad.trace.arrays import as_array, cast
from jitgrad.trace.calls import HANDLERS, handles, method
from jitgrad.trace.context import Context
from jitgrad.trace.iteration import sequence_of
from jitgrad.trace.numpy_reduce import reduce_value
from jitgrad.trace.sizes import known_argument, normal_axes, numeric, operand_of, refuse_empty, size_of, static_int
from jitgrad.trace.ufuncs import store_result

__all__ = ["norm"]


def _stored(ctx: Context, made: Any, out: Any, name: str) -> Any:
    return made if out is None else store_result(ctx, name, as_array(ctx, made), out)


@handles(np.dot)
@method("array", "dot")
def _dot(ctx: Context, a: Any, b: Any, out: Any = None) -> Any:
    return _stored(ctx, products.dot(ctx, a, b), out, "dot")


@handles(np.matmul)
def _matmul(ctx: Context, x1: Any, x2: Any, /, out: Any = None) -> Any:
    return _stored(ctx, products.matrix_product(ctx, x1, x2), out, "matmul")


@handles(np.vdot)
def _vdot(ctx: Context, a: Any, b: Any) -> Any:
    return products.vdot(ctx, a, b)


@handles(np.inner)
def _inner(ctx: Context, a: Any, b: Any) -> Any:
    return products.inner(ctx, a, b)


@handles(np.outer)
def _outer(ctx: Context, a: Any, b: Any, out: Any = None) -> Any:
    return _stored(ctx, products.outer(ctx, a, b), out, "outer")


@handles(np.tensordot)
def _tensordot(ctx: Context, a: Any, b: Any, axes: Any = 2) -> Any:
    return products.tensordot(ctx, a, b, axes)


@handles(np.einsum)
def _einsum(ctx: Context, *operands: Any, out: Any = None, optimize: Any = False, **kwargs: Any) -> Any:
    if kwargs:
        raise ctx.error("JG235", name="np.einsum", argument=next(iter(kwargs)))
    if not isinstance(operands[0], str):
        raise ctx.error("JG235", name="np.einsum", argument="subscripts as lists")
    return _stored(ctx, products.einsum(ctx, operands[0], operands[1:]), out, "einsum")


@handles(np.kron)
def _kron(ctx: Context, a: Any, b: Any) -> Any:
    x, y = as_array(ctx, numeric(ctx, a)), as_array(ctx, numeric(ctx, b))
    rank = max(x.array.rank, y.array.rank)
    g = ctx.g
    sx = (*(1 for _ in range(rank - x.array.rank)), *x.shape)
    sy = (*(1 for _ in range(rank - y.array.rank)), *y.shape)
    x = reshape_to(g, x, [d for k in sx for d in (k, 1)])
    y = reshape_to(g, y, [d for k in sy for d in (1, k)])
    made = as_array(ctx, promotion.ufunc(ctx, np.multiply, ctx.result(x), ctx.result(y)))
    return ctx.result(reshape_to(g, made, [size_of(ctx, pair) for pair in zip(sx, sy, strict=True)]))


@handles(np.cross)
def _cross(ctx: Context, a: Any, b: Any, axisa: Any = -1, axisb: Any = -1, axisc: Any = -1, axis: Any = None) -> Any:
    if any(k != -1 for k in (axisa, axisb, axisc)) or axis not in (None, -1):
        raise ctx.error("JG235", name="np.cross", argument="an axis that is not the last")
    x, y = numeric(ctx, a), numeric(ctx, b)
    if arrays.shape_of(ctx, x)[-1] != 3 or arrays.shape_of(ctx, y)[-1] != 3:
        raise ctx.error("JG235", name="np.cross", argument="vectors that have not 3 components")
    xs, ys = ([ctx.call(np.take, [v, k, -1]) for k in range(3)] for v in (x, y))
    rows = []
    for i, j in ((1, 2), (2, 0), (0, 1)):
        left = promotion.ufunc(ctx, np.multiply, xs[i], ys[j])
        right = promotion.ufunc(ctx, np.multiply, xs[j], ys[i])
        rows.append(promotion.ufunc(ctx, np.subtract, left, right))
    return ctx.call(np.stack, [tuple(rows), -1])


# --- norms


@handles(np.linalg.norm)
def norm(ctx: Context, x: Any, ord: Any = None, axis: Any = None, keepdims: Any = False) -> Any:
    """Return `np.linalg.norm(x, ord, axis)`; the derivative of the 2-norm at 0 is 0."""
    value = operand_of(ctx, x, axis if ord is None else 0, keepdims)
    if value.array.dtype.kind not in "fc":
        value = cast(ctx, value, np.float64)
    if value.array.dtype.kind == "c":
        raise ctx.error("JG216", name="np.linalg.norm", dtypes="complex")
    ord = known_argument(ctx, ord, "the order of a norm")
    rank = value.array.rank
    shape = value.shape
    if axis is None:
        axes = tuple(range(rank))
        if ord is None:
            return _finish(ctx, ctx.g.norm2(value, axes=axes) if rank else ctx.g.absolute(value), shape, axes, keepdims)
        if rank not in (1, 2):
            raise ValueError("Improper number of dimensions to norm.")
    else:
        given = axis if isinstance(axis, tuple) else (axis,)
        axes = normal_axes([static_int(ctx, a, "an axis") for a in given], rank)
    if len(axes) == 1:
        return _finish(ctx, _vector_norm(ctx, value, ord, axes), shape, axes, keepdims)
    if len(axes) != 2:
        raise ValueError("Improper number of dimensions to norm.")
    return _finish(ctx, _matrix_norm(ctx, value, ord, axes), shape, axes, keepdims)


def _finish(ctx: Context, value: Any, shape: Any, axes: Any, keepdims: Any) -> Any:
    return ctx.result(reshape_to(ctx.g, value, kept_shape(shape, axes)) if keepdims else value)


def _vector_norm(ctx: Context, value: Any, ord: Any, axes: tuple[int, ...]) -> Any:
    g = ctx.g
    if ord is None or ord == 2:
        return g.norm2(value, axes=axes)
    if isinstance(ord, str):
        raise ValueError(f"Invalid norm order '{ord}' for vectors")
    size = g.absolute(value)
    if ord in (math.inf, -math.inf):
        refuse_empty(ctx, size_of(ctx, [value.shape[k] for k in axes]), "np.linalg.norm")
    if ord == math.inf:
        return reduce_value(ctx, "reduce_max", size, axes)
    if ord == -math.inf:
        return reduce_value(ctx, "reduce_min", size, axes)
    if ord == 0:
        return reduce_value(ctx, "reduce_sum", cast(ctx, g.not_equal(value, 0.0), value.array.dtype), axes)
    if ord == 1:
        return reduce_value(ctx, "reduce_sum", size, axes)
    total = reduce_value(ctx, "reduce_sum", g.power(size, float(ord)), axes)
    return g.power(total, 1.0 / ord)


def _matrix_norm(ctx: Context, value: Any, ord: Any, axes: tuple[int, ...]) -> Any:
    g = ctx.g
    first, second = axes
    both = tuple(sorted(axes))
    if ord is None or ord in ("fro", "f"):
        return g.norm2(value, axes=both)
    if ord in (1, -1, math.inf, -math.inf):
        inner, outer = (first, second) if abs(ord) == 1 else (second, first)
        sums = reduce_value(ctx, "reduce_sum", g.absolute(value), (inner,))
        return reduce_value(ctx, "reduce_max" if ord > 0 else "reduce_min", sums, (outer - (inner < outer),))
    raise ctx.error("JG235", name="np.linalg.norm", argument=f"ord={ord!r} of a matrix")


@handles(np.linalg.matrix_power)
def _matrix_power(ctx: Context, a: Any, n: Any) -> Any:
    power = static_int(ctx, n, "the power of a matrix")
    x = numeric(ctx, a)
    if power < 0:
        x, power = ctx.call(np.linalg.inv, [x]), -power
    if power == 0:
        return ctx.call(np.eye, [arrays.shape_of(ctx, x)[-1]])
    made = None
    square = x
    while power:
        if power & 1:
            made = square if made is None else products.matrix_product(ctx, made, square)
        power >>= 1
        square = products.matrix_product(ctx, square, square) if power else square
    return made if made is not x else ctx.fresh(as_array(ctx, x))


@handles(np.linalg.multi_dot)
def _multi_dot(ctx: Context, arrays: Any, *, out: Any = None) -> Any:
    parts = sequence_of(ctx, arrays)
    if len(parts) < 2:
        raise ValueError("Expecting at least two arrays.")
    made = parts[0]
    for part in parts[1:]:
        made = products.dot(ctx, made, part)
    return _stored(ctx, made, out, "dot")


def _refused(name: str) -> Any:
    def refuse(ctx: Context, *args: Any, **kwargs: Any) -> Any:
        raise ctx.error("JG237", name=f"np.linalg.{name}", why="it is not supported yet")

    return refuse


for _name in (
    "svd", "svdvals", "eig", "eigvals",
    "pinv", "matrix_rank", "cond", "tensorsolve", "tensorinv",
):  # fmt: skip
    if hasattr(np.linalg, _name):
        HANDLERS[getattr(np.linalg, _name)] = _refused(_name)

if hasattr(np, "vecdot"):

    @handles(np.vecdot)
    def _vecdot(ctx: Context, x1: Any, x2: Any, /, *, axis: Any = -1) -> Any:
        made = as_array(ctx, promotion.ufunc(ctx, np.multiply, numeric(ctx, x1), numeric(ctx, x2)))
        at = normal_axes([static_int(ctx, axis, "an axis")], made.array.rank)
        return ctx.result(reduce_value(ctx, "reduce_sum", made, at))
