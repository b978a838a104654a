"""Ops along one axis that keep its size: cumulative sums and products, sorting. Attr `axis` is not negative.

In: an array. Out: the declarations and `take_along`, which reorders an axis. The result has the operand's dtype.
Sorting puts NaN last and is stable, so that of equal elements the derivative of `sort` goes to those that `argsort`
names.

`cumprod` has exact derivatives where factors are 0, to second order (to third with at most one of them).

This room knows no algorithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.ops.index import flip
from jitgrad.graph.ops.shape import join_shape, reshape_to, split_shape, zeros, zeros_like
from jitgrad.graph.primitive import Cot, Linear, NoGradient, Rules, primitive
from jitgrad.graph.types import BOOL, INT64, Dim, GraphTypeError, Type

__all__ = ["take_along"]


def _scan_rule(attrs: dict[str, Any], x: Value) -> list[Type]:
    if not 0 <= attrs["axis"] < x.array.rank:
        raise GraphTypeError(f"no axis {attrs['axis']} of {x.type}")
    return [x.array]


# --- sums


def _from_the_end(g: Builder, x: Value, axis: int) -> Value:
    """Return the sums of each element and all after it."""
    return flip(g, g.cumsum(flip(g, x, axis), axis=axis), axis)


cumsum = primitive(
    "cumsum",
    type_rule=_scan_rule,
    evaluate=lambda attrs, x: np.cumsum(x, axis=attrs["axis"], dtype=np.asarray(x).dtype),
    derivative=Linear(lambda g, i, ct, op: _from_the_end(g, ct, op.attrs["axis"])),
)

# --- products
#
# With P the products, the derivative of P[k] by x[i], i <= k, is the product of the others. Where x[i] is not 0 that is
# P[k] / x[i]. Where x[i] is the first 0 of its row it is Q[k], the products with that 0 made 1; likewise for the second
# 0, whose Q is 0 because of the first but has a derivative. Beyond the second all is 0 to second order.


def _at_zeros(g: Builder, op: Op) -> tuple[Value, list[tuple[Value, Value]]]:
    """Return x with zeros made 1, and for the first and the second zero of each row: where it is, and Q."""
    (x,) = op.operands
    axis, dtype = op.attrs["axis"], x.array.dtype
    one = g.constant(1, dtype)
    zero = g.equal(x, 0.0)
    rank = g.cumsum(g.cast(zero, dtype=dtype), axis=axis)
    found = []
    for k in (1.0, 2.0):
        here = g.logical_and(zero, g.equal(rank, k))
        found.append((here, g.cumprod(g.select(here, one, x), axis=axis)))
    return g.select(zero, one, x), found


def _vjp_cumprod(g: Builder, op: Op, cts: Sequence[Cot | None], needed: set[int]) -> list[Cot | None]:
    (cot,), (out,) = cts, op.results
    if cot is None:
        return [None]
    axis, (ct, mask) = op.attrs["axis"], cot

    def after(products: Value) -> Value:
        """Return the sums over each element and all after it; what is masked is 0 however large its product is."""
        terms = g.multiply(ct, products)
        return _from_the_end(
            g, terms if mask is None else g.where_used(mask, terms, g.constant(0, ct.array.dtype)), axis
        )

    safe, zeros = _at_zeros(g, op)
    made = g.divide(after(out), safe)
    for here, products in zeros:
        made = g.select(here, after(products), made)
    return [Cot(made)]


def _jvp_cumprod(g: Builder, op: Op, tangents: Sequence[Value | None]) -> list[Value | None]:
    (t,), (x,), (out,) = tangents, op.operands, op.results
    if t is None:
        return [None]
    axis = op.attrs["axis"]
    nothing = g.constant(0, x.array.dtype)
    safe, zeros = _at_zeros(g, op)
    part = g.select(g.equal(x, 0.0), nothing, g.divide(t, safe))
    made = g.multiply(out, g.cumsum(part, axis=axis))
    for here, products in zeros:
        made = g.add(made, g.multiply(products, g.cumsum(g.select(here, t, nothing), axis=axis)))
    return [made]


cumprod = primitive(
    "cumprod",
    type_rule=_scan_rule,
    evaluate=lambda attrs, x: np.cumprod(x, axis=attrs["axis"], dtype=np.asarray(x).dtype),
    derivative=Rules(_vjp_cumprod, _jvp_cumprod),
)

# --- sorting


def _positions(g: Builder, order: Value, axis: int) -> list[Value]:
    """Return the indices with which gather or scatter reorders an axis as `order` says."""
    made: list[Value] = []
    for k, d in enumerate(order.shape):
        if k == axis:
            made.append(order)
            continue
        attr, dims = split_shape((d,))
        shape: list[Dim] = [1] * order.array.rank
        shape[k] = d
        made.append(reshape_to(g, g.iota(*dims, dtype=np.dtype(np.int64), shape=attr), shape))
    return made


def take_along(g: Builder, x: Value, order: Value, axis: int) -> Value:
    """Return x with an axis reordered as int64 positions of the same rank say, as `np.take_along_axis`."""
    made: Value = g.gather(x, *_positions(g, order, axis))
    return made


def _vjp_sort(g: Builder, op: Op, cts: Sequence[Cot | None], needed: set[int]) -> list[Cot | None]:
    (cot,), (x,) = cts, op.operands
    if cot is None:
        return [None]
    axis = op.attrs["axis"]
    where = _positions(g, g.argsort(x, axis=axis, stable=False), axis)
    made = g.scatter_add(zeros_like(g, x), cot.value, *where)
    if cot.mask is None:
        return [Cot(made)]
    return [Cot(made, g.scatter(zeros(g, x.array.with_dtype(BOOL.dtype)), cot.mask, *where))]


def _jvp_sort(g: Builder, op: Op, tangents: Sequence[Value | None]) -> list[Value | None]:
    (t,), (x,) = tangents, op.operands
    if t is None:
        return [None]
    axis = op.attrs["axis"]
    return [take_along(g, t, g.argsort(x, axis=axis, stable=False), axis)]


sort = primitive(
    "sort",
    type_rule=_scan_rule,
    evaluate=lambda attrs, x: np.sort(x, axis=attrs["axis"]),
    derivative=Rules(_vjp_sort, _jvp_sort),
)
argsort = primitive(
    "argsort",
    type_rule=lambda attrs, x: [t.with_dtype(np.int64) for t in _scan_rule(attrs, x)],  # type: ignore[union-attr]
    evaluate=lambda attrs, x: np.argsort(x, axis=attrs["axis"], stable=attrs["stable"]),
    derivative=NoGradient("an integer result"),
)


# --- selection


def _positions_rule(attrs: dict[str, Any], mask: Value, *dims: Value) -> list[Type]:
    (size,) = join_shape(attrs["shape"], dims)
    if mask.array.rank != 1 or mask.array.dtype != np.bool_:
        raise GraphTypeError(f"positions takes a bool array of rank 1, not {mask.type}")
    return [INT64.with_shape((size,))]


positions = primitive(
    "positions",
    type_rule=_positions_rule,
    evaluate=lambda attrs, mask, *dims: np.flatnonzero(mask),
    derivative=NoGradient("an integer result"),
)
