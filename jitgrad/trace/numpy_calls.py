"""NumPy's scalar types, dtypes and settings as callables.

In: abstract arguments. Out: NumPy scalars, arrays, known objects. Facts of types are computed while tracing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.trace import numpy_shape
from jitgrad.trace.abstract import Scalar
from jitgrad.trace.arrays import as_array, cast, dtype_of, is_array, is_numeric
from jitgrad.trace.calls import HANDLERS, PURE, Native, attribute_of_array, handles
from jitgrad.trace.context import Context, kind_of_python
from jitgrad.trace.operators import binary_op
from jitgrad.trace.sizes import known_argument, numeric

__all__: list[str] = []

PURE.update([np.dtype, np.finfo, np.iinfo, np.promote_types, np.issubdtype, np.min_scalar_type, np.isdtype])

# --- types


@attribute_of_array("dtype")
def _dtype(ctx: Context, x: Any) -> np.dtype:
    return x.dtype if isinstance(x, np.ndarray) else dtype_of(ctx, x)


@attribute_of_array("itemsize")
def _itemsize(ctx: Context, x: Any) -> int:
    return _dtype(ctx, x).itemsize


@attribute_of_array("nbytes")
def _nbytes(ctx: Context, x: Any) -> Any:
    return binary_op(ctx, "*", ctx.call(np.size, [x]), _itemsize(ctx, x))


def _scalar_type(cls: type) -> Any:
    def make(ctx: Context, x: Any = 0, *rest: Any) -> Any:
        if rest:
            raise ctx.error("JG235", name=f"np.{cls.__name__}", argument="more than one")
        if kind_of_python(x) is not None or isinstance(x, str | bytes) or x is None:
            with np.errstate(all="ignore"):
                return cls(x)
        value = cast(ctx, as_array(ctx, numeric(ctx, x)), np.dtype(cls))
        return Scalar(value, "numpy") if not value.array.rank else ctx.fresh(value)

    return make


for _cls in {np.dtype(c).type for c in "?bhilqBHILQfdFD"} | {np.float16}:
    HANDLERS[_cls] = _scalar_type(_cls)


@handles(np.result_type)
def _result_type(ctx: Context, *args: Any) -> np.dtype:
    weak = {"int": 0, "float": 0.0, "complex": 0j}
    found = []
    for x in args:
        if is_numeric(x):
            name = x.kind if isinstance(x, Scalar) else type(x).__name__
            found.append(weak[name] if name in weak else dtype_of(ctx, x))
        else:
            found.append(known_argument(ctx, x, "a dtype"))
    return np.result_type(*found)


@handles(np.can_cast)
def _can_cast(ctx: Context, from_: Any, to: Any, casting: str = "safe") -> bool:
    source = dtype_of(ctx, from_) if is_array(from_) or isinstance(from_, Scalar | np.generic) else from_
    return bool(np.can_cast(source, to, casting))  # type: ignore[arg-type]


@handles(np.isscalar)
def _isscalar(ctx: Context, element: Any) -> bool:
    return isinstance(element, Scalar) or (not is_array(element) and bool(np.isscalar(element)))


@handles(np.iterable)
def _iterable(ctx: Context, y: Any) -> bool:
    return bool(numpy_shape.array_of(ctx, y)) if is_array(y) else not is_numeric(y) and hasattr(y, "__iter__")


# --- settings


class _Settings:
    """What `with np.errstate(...)` enters: nothing, since no floating-point error is reported."""

    __enter__ = Native(lambda ctx: None)
    __exit__ = Native(lambda ctx, *args: None)


@handles(np.errstate)
def _errstate(ctx: Context, **kwargs: Any) -> Any:
    for name, value in kwargs.items():
        if value in ("raise", "call", "log", "print"):
            raise ctx.error("JG235", name="np.errstate", argument=f"{name}={value!r}")
    return _Settings()


@handles(np.printoptions)
def _printoptions(ctx: Context, *args: Any, **kwargs: Any) -> Any:
    return _Settings()


@handles(np.seterr)
def _seterr(ctx: Context, **kwargs: Any) -> Any:
    raise ctx.error("JG237", name="np.seterr", why="it changes a setting of the whole program; use `with np.errstate`")


@handles(np.may_share_memory, np.shares_memory)
def _shares(ctx: Context, a: Any, b: Any, max_work: Any = None) -> Any:
    raise ctx.error("JG237", name="np.shares_memory", why="compiled code does not know where arrays lie")
