"""Types of graph values.

In: NumPy dtypes and dimensions. Out: `ArrayType` (a scalar is an array of rank 0) and `ListType`, spelled in print and
docs as `float64[n, m]` and `list[float64[3]]`. A dimension is a Python int, or the int64 graph value that holds it at
run time. This room knows neither Python kinds (weak scalars) nor memory layouts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np

if TYPE_CHECKING:
    from jitgrad.graph.ir import Value

__all__ = [
    "BOOL",
    "FLOAT64",
    "INT64",
    "TYPES",
    "ArrayType",
    "Dim",
    "GraphTypeError",
    "ListType",
    "Type",
    "broadcast_shapes",
    "str_shape",
]

Dim: TypeAlias = Union[int, "Value"]


class GraphTypeError(Exception):
    """An op was given operands that its type rule does not accept (a defect of whoever built it)."""


class ArrayType:
    """An array of a dtype and shape; rank 0 is a scalar. Never changed once made.

    Parameters
    ----------
    dtype : numpy.dtype
        Native byte order.
    shape : tuple of int or Value
        One entry a dimension; a Value is an int64 scalar of the graph.

    Attributes
    ----------
    run_time : tuple of Value
        The dimensions that are values of the graph. Most types have none, which walks over graphs see here.
    """

    __slots__ = ("dtype", "run_time", "shape")

    def __init__(self, dtype: np.dtype, shape: tuple[Dim, ...] = ()) -> None:
        self.dtype = dtype
        self.shape = shape
        self.run_time: tuple[Value, ...] = tuple([d for d in shape if not isinstance(d, int)]) if shape else ()

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        return isinstance(other, ArrayType) and self.shape == other.shape and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash((self.dtype, self.shape))

    def __repr__(self) -> str:
        return f"<{self}>"

    @property
    def rank(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether derivatives exist with respect to values of this type (real or complex floating point)."""
        return self.dtype.kind in "fc"

    @property
    def is_static(self) -> bool:
        """Whether every dimension is known."""
        return not self.run_time

    def with_shape(self, shape: tuple[Dim, ...]) -> ArrayType:
        """Return the type of the same dtype with another shape."""
        return ArrayType(self.dtype, shape)

    def with_dtype(self, dtype: np.dtype | type | str) -> ArrayType:
        """Return the type of the same shape with another dtype."""
        return ArrayType(np.dtype(dtype), self.shape)

    def __str__(self) -> str:
        dims = ", ".join(str(d) for d in self.shape)
        return f"{self.dtype.name}[{dims}]"


@dataclass(frozen=True, slots=True)
class ListType:
    """A growable list whose elements all have one type; serves users' lists and tapes alike."""

    element: ArrayType

    @property
    def run_time(self) -> tuple[Value, ...]:
        """The dimensions of the elements that are values of the graph."""
        return self.element.run_time

    @property
    def is_float(self) -> bool:
        """Whether the elements are differentiable."""
        return self.element.is_float

    def __str__(self) -> str:
        return f"list[{self.element}]"


Type: TypeAlias = ArrayType | ListType
# For `isinstance`, which takes a quarter of the time that it takes for a union.
TYPES = (ArrayType, ListType)

FLOAT64 = ArrayType(np.dtype(np.float64))
INT64 = ArrayType(np.dtype(np.int64))
BOOL = ArrayType(np.dtype(np.bool_))


def broadcast_shapes(*shapes: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """Return the shape that NumPy's broadcasting gives, where run-time dimensions equal only themselves.

    Raises
    ------
    GraphTypeError
        If two dimensions differ, or cannot be proved equal.
    """
    rank = max((len(s) for s in shapes), default=0)
    result: list[Dim] = []
    for axis in range(-rank, 0):
        found: Dim = 1
        for shape in shapes:
            if len(shape) < -axis:
                continue
            dim = shape[axis]
            if isinstance(dim, int) and dim == 1:
                continue
            if isinstance(found, int) and found == 1:
                found = dim
            elif found is not dim and found != dim:
                raise GraphTypeError(f"shapes {', '.join(map(str_shape, shapes))} do not broadcast")
        result.append(found)
    return tuple(result)


def str_shape(shape: tuple[Dim, ...]) -> str:
    """Return a shape as errors and the printer write it."""
    return "[" + ", ".join(str(d) for d in shape) + "]"
