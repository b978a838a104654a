"""Numbers and arrays: reading and writing references, operators, ufuncs, promotion.

In: abstract values. Out: abstract values, with graph ops emitted through the context. NumPy's meaning is followed
exactly: dtypes come from `ufunc.resolve_dtypes` with weak Python scalars, Python numbers keep Python's arithmetic and
its exceptions. This room knows no bytecode and no calling convention.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.memory import Pick, Span, load, store
from jitgrad.graph.ops.shape import broadcast_to, move_axes, reshape_to
from jitgrad.graph.primitive import PRIMITIVES
from jitgrad.graph.types import ArrayType, Dim, GraphTypeError, broadcast_shapes
from jitgrad.trace.abstract import Link, ListRef, Ref, Reshape, Scalar, TaggedRef
from jitgrad.trace.context import PYTHON_DTYPES, Context, kind_of_python

__all__ = [
    "UFUNCS", "apply_link", "as_array", "as_float", "as_int", "binary", "broadcast_dims", "cast", "common_dtype",
    "compare", "dtype_of", "is_array", "is_number", "is_numeric", "read", "scalar_value", "shape_of", "truth", "ufunc",
    "unary", "write",
]  # fmt: skip

_I64 = np.iinfo(np.int64)

# --- what a value is


def is_array(x: Any) -> bool:
    """Whether x is an array (of any rank, 0 included)."""
    return isinstance(x, Ref | TaggedRef)


def is_number(x: Any) -> bool:
    """Whether x is a number: known or not, Python's or NumPy's."""
    return isinstance(x, Scalar) or kind_of_python(x) is not None


def is_numeric(x: Any) -> bool:
    """Whether x is a number or an array."""
    return is_number(x) or is_array(x)


def kind(x: Any) -> str:
    """Return the kind of a number, or "array"."""
    if isinstance(x, Scalar):
        return x.kind
    found = kind_of_python(x)
    return "array" if found is None else found


def shape_of(ctx: Context, x: Any) -> tuple[Dim, ...]:
    """Return the shape of a number or array."""
    if isinstance(x, Ref):
        return x.view[-1].shape() if x.view else ctx.heap[x.cell].shape
    if isinstance(x, TaggedRef):
        return shape_of(ctx, x.choices[0])
    return ()


def dtype_of(ctx: Context, x: Any) -> np.dtype:
    """Return the dtype that x has as an array."""
    if isinstance(x, Ref):
        return ctx.heap[x.cell].array.dtype
    if isinstance(x, TaggedRef):
        return dtype_of(ctx, x.choices[0])
    if isinstance(x, Scalar):
        return x.value.array.dtype
    found = kind_of_python(x)
    if found is None:
        raise ctx.error("JG210", what=f"{describe(x)} is used as an array")
    return x.dtype if found == "numpy" else PYTHON_DTYPES[found]


def describe(x: Any) -> str:
    """Return what an error says of a value."""
    if isinstance(x, Scalar):
        return f"a {x.kind if x.kind != 'numpy' else x.value.array.dtype.name} scalar"
    if is_array(x):
        return "an array"
    return f"a {type(x).__name__}"


# --- references


def apply_link(ctx: Context, value: Value, link: Link) -> Value:
    """Return a value seen through one link of a view."""
    g = ctx.g
    if isinstance(link, Reshape):
        return reshape_to(g, value, link.to)
    part = load(g, value, link.entries)
    axes = [k for k in link.order if k is not None]
    part = move_axes(g, part, axes)
    return reshape_to(g, part, link.shape())


def _put_back(ctx: Context, base: Value, link: Link, part: Value) -> Value:
    """Return base with what one link sees replaced by part."""
    g = ctx.g
    if isinstance(link, Reshape):
        return reshape_to(g, part, base.shape)
    axes = [k for k in link.order if k is not None]
    kept = tuple(d for d, k in zip(part.shape, link.order, strict=True) if k is not None)
    part = reshape_to(g, part, kept)
    part = move_axes(g, part, [axes.index(k) for k in range(len(axes))])
    if link.is_identity(base.shape):
        return part
    return store(g, base, part, link.entries)


def read(ctx: Context, x: Any) -> Value:
    """Return the value that an array holds now."""
    if isinstance(x, TaggedRef):
        return _choose(ctx, x, [functools.partial(read, ctx, r) for r in x.choices])
    value = ctx.heap[x.cell]
    for link in x.view:
        value = apply_link(ctx, value, link)
    return value


def _choose(ctx: Context, x: TaggedRef, arms: Sequence[Callable[[], Value]], k: int = 0) -> Value:
    """Return what the arm of the tagged choice gives, computing only that arm."""
    if k == len(arms) - 1:
        return arms[k]()
    with ctx.g.region() as then:
        then.yields = [arms[k]()]
    with ctx.g.region() as other:
        other.yields = [_choose(ctx, x, arms, k + 1)]
    cond = ctx.g.equal(x.tag, ctx.constant(k, np.int64))
    return ctx.g.emit("if", [cond], {}, [then, other]).result


def write(ctx: Context, x: Any, value: Value) -> None:
    """Replace all that an array shows by a value of its dtype and shape."""
    if isinstance(x, TaggedRef):
        _write_tagged(ctx, x, value)
        return
    ctx.conflict(x.cell)
    ctx.heap[x.cell] = _updated(ctx, ctx.heap[x.cell], x.view, value)


def _updated(ctx: Context, base: Value, view: tuple[Link, ...], value: Value) -> Value:
    if not view:
        return value
    inner = value
    if len(view) > 1:
        inner = _updated(ctx, apply_link(ctx, base, view[0]), view[1:], value)
    return _put_back(ctx, base, view[0], inner)


def _write_tagged(ctx: Context, x: TaggedRef, value: Value) -> None:
    cells = list(dict.fromkeys(r.cell for r in x.choices))
    for cell in cells:
        ctx.conflict(cell)
    before = dict(ctx.heap)

    def arm(k: int) -> list[Value]:
        ref = x.choices[k]
        return [_updated(ctx, before[c], ref.view, value) if c is ref.cell else before[c] for c in cells]

    def chain(k: int) -> list[Value]:
        if k == len(x.choices) - 1:
            return arm(k)
        with ctx.g.region() as then:
            then.yields = arm(k)
        with ctx.g.region() as other:
            other.yields = chain(k + 1)
        cond = ctx.g.equal(x.tag, ctx.constant(k, np.int64))
        return ctx.g.emit("if", [cond], {}, [then, other]).results

    for cell, made in zip(cells, chain(0), strict=True):
        ctx.heap[cell] = made


# --- conversions


def scalar_value(ctx: Context, x: Any, dtype: np.dtype | type | None = None) -> Value:
    """Return a number as a rank-0 value, of its own dtype or of the one given."""
    if isinstance(x, Scalar):
        return x.value if dtype is None else cast(ctx, x.value, dtype)
    if is_array(x):
        value = read(ctx, x)
        return value if dtype is None else cast(ctx, value, dtype)
    own = dtype_of(ctx, x)
    return ctx.constant(x, own if dtype is None else dtype)


def cast(ctx: Context, value: Value, dtype: np.dtype | type) -> Value:
    """Return a value as another dtype, as `astype` does."""
    wanted = np.dtype(dtype)
    if value.array.dtype == wanted:
        return value
    op = value.op
    if op is not None and op.name == "constant" and op.attrs["value"].ndim == 0:
        with np.errstate(all="ignore"):
            return ctx.constant(op.attrs["value"].astype(wanted))
    return ctx.g.cast(value, dtype=wanted)


def as_array(ctx: Context, x: Any, dtype: np.dtype | type | None = None) -> Value:
    """Return what `np.asarray` makes of a number, an array, or nested lists and tuples of such."""
    if is_array(x):
        value = read(ctx, x)
    elif is_number(x):
        value = scalar_value(ctx, x)
    elif isinstance(x, np.ndarray):
        value = ctx.constant(x)
    elif isinstance(x, tuple | ListRef):
        items = x if isinstance(x, tuple) else ctx.heap[x.cell]
        if isinstance(items, Value):
            length = ctx.g.list_length(items)
            value = ctx.g.list_to_array(items, length)
        else:
            value = _stack(ctx, [as_array(ctx, item) for item in items], common_dtype(ctx, items))
    else:
        raise ctx.error("JG210", what=f"{describe(x)} is used as an array")
    return value if dtype is None else cast(ctx, value, dtype)


def _stack(ctx: Context, parts: list[Value], dtype: np.dtype) -> Value:
    if not parts:
        return ctx.constant(np.zeros((0,), np.float64))
    shape = parts[0].shape
    if any(p.shape != shape for p in parts):
        raise ctx.error("JG211", what="the items have different shapes")
    if all(p.op is not None and p.op.name == "constant" for p in parts):
        return ctx.constant(np.array([p.op.attrs["value"] for p in parts], dtype))  # type: ignore[union-attr]
    rows = [reshape_to(ctx.g, cast(ctx, p, dtype), (1, *shape)) for p in parts]
    return rows[0] if len(rows) == 1 else ctx.g.concatenate(*rows, axis=0)


def common_dtype(ctx: Context, xs: Any) -> np.dtype:
    """Return the dtype that `np.array` gives to a sequence of numbers, arrays and sequences of such."""
    found: list[Any] = []

    def visit(x: Any) -> None:
        if isinstance(x, ListRef):
            x = ctx.heap[x.cell]
        if isinstance(x, Value):
            found.append(x.type.element.dtype)  # type: ignore[union-attr]
        elif isinstance(x, tuple):
            for item in x:
                visit(item)
        else:
            found.append(dtype_of(ctx, x))

    visit(xs)
    return np.result_type(*found) if found else np.dtype(np.float64)


def as_float(ctx: Context, x: Any) -> Any:
    """Return what `float(x)` gives."""
    if kind_of_python(x) is not None:
        return float(x)
    value = _only_element(ctx, x)
    if value.array.dtype.kind == "c":
        if kind(x) == "complex":
            raise TypeError("float() argument must be a string or a real number, not 'complex'")
        raise ctx.error("JG212", what="float() of a complex number")
    return Scalar(cast(ctx, value, np.float64), "float")


def as_int(ctx: Context, x: Any) -> Any:
    """Return what `int(x)` gives."""
    if kind_of_python(x) is not None:
        return int(x)
    value = _only_element(ctx, x)
    if value.array.dtype.kind == "c":
        raise TypeError("int() argument must be a string, a bytes-like object or a real number, not 'complex'")
    if value.array.dtype.kind == "f":
        return float_to_int(ctx, cast(ctx, value, np.float64))
    return Scalar(cast(ctx, value, np.int64), "int", getattr(x, "low", None), getattr(x, "high", None))


def float_to_int(ctx: Context, value: Value) -> Scalar:
    """Return a float64 value truncated to a Python int, with Python's exceptions as checks."""
    g = ctx.g
    ctx.check(g.equal(value, value), ValueError, "cannot convert float NaN to integer")
    finite = g.not_equal(g.absolute(value), math.inf)
    ctx.check(finite, OverflowError, "cannot convert float infinity to integer")
    inside = g.logical_and(g.greater_equal(value, -(2.0**63)), g.less(value, 2.0**63))
    ctx.check(inside, OverflowError, "a Python int of more than 64 bits")
    return Scalar(cast(ctx, value, np.int64), "int")


# NumPy 2.4 ended the conversion of arrays of rank > 0 and size 1 to Python numbers.
_ONLY_RANK_0 = np.lib.NumpyVersion(np.__version__) >= "2.4.0"


def _only_element(ctx: Context, x: Any) -> Value:
    value = as_array(ctx, x)
    if value.array.rank:
        if _ONLY_RANK_0:
            raise TypeError("only 0-dimensional arrays can be converted to Python scalars")
        if math.prod(d if isinstance(d, int) else 0 for d in value.shape) != 1:
            raise TypeError("only length-1 arrays can be converted to Python scalars")
        value = reshape_to(ctx.g, value, ())
    return value


# --- truth


def truth(ctx: Context, x: Any) -> Any:
    """Return `bool(x)` of a number or array: a Python bool if known, else a bool Scalar."""
    if kind_of_python(x) is not None:
        return bool(x)
    value = as_array(ctx, x)
    if value.array.rank:
        if math.prod(d if isinstance(d, int) else 0 for d in value.shape) != 1:
            raise ValueError(
                "The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()"
            )
        value = reshape_to(ctx.g, value, ())
    if value.array.dtype != np.bool_:
        value = ctx.g.not_equal(value, ctx.constant(0, value.array.dtype))
    return Scalar(value, "bool")


# --- ufuncs


def _primitives_by_ufunc() -> dict[Any, str]:
    return {f: p.name for p in PRIMITIVES.values() for f in p.numpy if p.is_elementwise}


UFUNCS: dict[Any, str] = _primitives_by_ufunc()


def broadcast_dims(ctx: Context, *shapes: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """Return the broadcast of shapes, raising as NumPy does where they do not fit."""
    try:
        return broadcast_shapes(*shapes)
    except GraphTypeError:
        if all(isinstance(d, int) for s in shapes for d in s):
            texts = " ".join(str(s).replace(", ", ",") for s in shapes)
            raise ValueError(f"operands could not be broadcast together with shapes {texts} ") from None
        for shape in shapes:
            for d in shape:
                if not isinstance(d, int):
                    ctx.note_static(Scalar(d, "int"), "a size that must be known to broadcast")
        raise ctx.error("JG214", shapes=" and ".join(map(str, shapes))) from None


def resolve(ctx: Context, function: np.ufunc, xs: Sequence[Any], dtype: Any = None) -> tuple[np.dtype, ...]:
    """Return the dtypes of the loop that NumPy chooses, results last; `dtype` asks for a loop with this result."""
    weak = {"int": int, "float": float, "complex": complex}
    kinds = [kind(x) for x in xs]
    if "mixed" in kinds:
        ways = [[Scalar(x.value, k) if kind(x) == "mixed" else x for x in xs] for k in ("numpy", _python_kind(xs))]
        found, other = (resolve(ctx, function, way, dtype) for way in ways)
        if found != other and not all(k in (*_ORDER, "mixed") for k in kinds):
            raise ctx.error("JG244", what=f"np.{function.__name__} of a number and an array of {other[0]}")
        return found
    if all(k in weak or k == "bool" for k in kinds):
        spec: list[Any] = [dtype_of(ctx, x) for x in xs]
    else:
        spec = [weak.get(k) or dtype_of(ctx, x) for k, x in zip(kinds, xs, strict=True)]
    if (
        function in _COMPARISONS
        and "int" in kinds
        and all(d.kind in "iub" and d != np.uint64 for d in _dtypes(ctx, xs))
    ):
        # A Python int need not fit the dtype that it is compared with.
        return np.dtype(np.int64), np.dtype(np.int64), np.dtype(np.bool_)
    results = (None,) * function.nout
    if dtype is None:
        found = function.resolve_dtypes((*spec, *results))
    else:
        signature = (None,) * function.nin + (np.dtype(dtype),) * function.nout
        found = function.resolve_dtypes((*spec, *results), signature=signature)
    for k, x, chosen in zip(kinds, xs, found, strict=False):
        if k == "int" and chosen.kind in "iu" and not isinstance(x, Scalar) and not _fits(x, chosen):
            raise OverflowError(f"Python integer {x} out of bounds for {chosen.name}")
    return found


_COMPARISONS = (np.less, np.less_equal, np.equal, np.not_equal, np.greater, np.greater_equal)


def _dtypes(ctx: Context, xs: Sequence[Any]) -> list[np.dtype]:
    return [dtype_of(ctx, x) for x in xs]


def _check_weak_ints(ctx: Context, xs: Sequence[Any], dtypes: Sequence[np.dtype]) -> None:
    """Check that Python ints known only at run time fit the dtype that NumPy gives them."""
    for x, dtype in zip(xs, dtypes, strict=False):
        if kind(x) != "int" or not isinstance(x, Scalar) or dtype.kind not in "iu" or dtype == np.int64:
            continue
        info = np.iinfo(dtype)
        low, high = _bounds(x)
        if low < info.min or high > info.max:
            g = ctx.g
            inside = g.greater_equal(x.value, ctx.constant(info.min, np.int64))
            if info.max < _I64.max:
                inside = g.logical_and(inside, g.less_equal(x.value, ctx.constant(info.max, np.int64)))
            ctx.check(inside, OverflowError, f"Python integer {{0}} out of bounds for {dtype.name}", x.value)


def _check_exponents(ctx: Context, exponents: Value) -> None:
    """NumPy does not raise integers to negative powers."""
    message = "Integers to negative integer powers are not allowed."
    op = exponents.op
    if op is not None and op.name == "constant":
        if (op.attrs["value"] < 0).any():
            raise ValueError(message)
        return
    if exponents.array.dtype.kind == "i":
        g = ctx.g
        fine = g.greater_equal(exponents, ctx.constant(0, exponents.array.dtype))
        if exponents.array.rank:
            fine = g.reduce_and(fine, axes=tuple(range(exponents.array.rank)))
        ctx.check(fine, ValueError, message)


def _fits(x: int, dtype: np.dtype) -> bool:
    info = np.iinfo(dtype)
    return bool(info.min <= x <= info.max)


COMPOSITES: dict[np.ufunc, Callable[..., Any]] = {}


def ufunc(ctx: Context, function: np.ufunc, *xs: Any, dtype: Any = None) -> Any:
    """Return what a NumPy ufunc gives for numbers, arrays and sequences.

    Parameters
    ----------
    function : ufunc
        One that a primitive implements (`UFUNCS`) or that is composed of others (`COMPOSITES`).
    dtype : dtype, optional
        As the argument of the ufunc: the dtype of the result decides the loop.

    Raises
    ------
    UnsupportedError
        JG215 for a ufunc that no primitive implements.
    TypeError, ValueError
        As NumPy: no loop for these dtypes, shapes that do not broadcast.
    """
    operands = [x if is_numeric(x) else ctx.fresh(as_array(ctx, x)) for x in xs]
    if all(kind_of_python(x) is not None for x in operands):
        with np.errstate(all="ignore"):
            return function(*operands, dtype=dtype)
    if function not in UFUNCS:
        if function not in COMPOSITES or dtype is not None:
            raise ctx.error("JG215", name=f"np.{function.__name__}")
        return COMPOSITES[function](ctx, *operands)
    dtypes = resolve(ctx, function, operands, dtype)
    if any(d.kind not in "biufc" for d in dtypes):
        raise ctx.error("JG216", name=f"np.{function.__name__}", dtypes=", ".join(map(str, dtypes)))
    _check_weak_ints(ctx, operands, dtypes)
    values = [scalar_value(ctx, x, d) for x, d in zip(operands, dtypes, strict=False)]
    if function is np.power and dtypes[-1].kind in "iu":
        _check_exponents(ctx, values[1])
    broadcast_dims(ctx, *(v.shape for v in values))
    return ctx.result(ctx.g.emit(UFUNCS[function], values).result)


# --- operators

NUMPY_BINARY: dict[str, np.ufunc] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.true_divide, "//": np.floor_divide, "%": np.remainder,
    "**": np.power, "&": np.bitwise_and, "|": np.bitwise_or, "^": np.bitwise_xor, "<<": np.left_shift,
    ">>": np.right_shift, "<": np.less, "<=": np.less_equal, "==": np.equal, "!=": np.not_equal, ">": np.greater,
    ">=": np.greater_equal,
}  # fmt: skip
PYTHON_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "//": operator.floordiv,
    "%": operator.mod, "**": operator.pow, "&": operator.and_, "|": operator.or_, "^": operator.xor,
    "<<": operator.lshift, ">>": operator.rshift, "<": operator.lt, "<=": operator.le, "==": operator.eq,
    "!=": operator.ne, ">": operator.gt, ">=": operator.ge, "@": operator.matmul,
}  # fmt: skip
_PYTHON_UNARY: dict[str, Callable[[Any], Any]] = {"-": operator.neg, "+": operator.pos, "~": operator.invert}
_NUMPY_UNARY: dict[str, np.ufunc] = {"-": np.negative, "+": np.positive, "~": np.invert}
_ORDER = ["bool", "int", "float", "complex"]


def binary(ctx: Context, op: str, x: Any, y: Any) -> Any:
    """Return `x op y` of two numbers or arrays, for every operator but `@`."""
    known = kind_of_python(x) is not None and kind_of_python(y) is not None
    if known:
        with np.errstate(all="ignore"):
            return PYTHON_BINARY[op](x, y)
    kinds = (kind(x), kind(y))
    if all(k in _ORDER for k in kinds):
        return _python_binary(ctx, op, x, y)
    if all(k in _ORDER or k == "mixed" for k in kinds):
        return _mixed_binary(ctx, op, x, y)
    if op == "**" and kind(y) in ("int", "float") and not isinstance(y, Scalar):
        fast = _fast_power(ctx, x, y)
        if fast is not None:
            return fast
    return ufunc(ctx, NUMPY_BINARY[op], x, y)


def _fast_power(ctx: Context, x: Any, y: float) -> Any:
    """Return x ** y where NumPy's own operator takes a shortcut (square, sqrt, reciprocal), else None."""
    dtype = dtype_of(ctx, x)
    if y == 2 and dtype.kind != "b":
        return ufunc(ctx, np.multiply, x, x)
    if dtype.kind == "f" and is_array(x):
        if y == 0.5:
            return ufunc(ctx, np.sqrt, x)
        if y == 1:
            return ufunc(ctx, np.positive, x)
        if y == -1:
            return ufunc(ctx, np.reciprocal, x)
    return None


def compare(ctx: Context, op: str, x: Any, y: Any) -> Any:
    """Return `x op y` for a comparison of numbers or arrays."""
    return binary(ctx, op, x, y)


def unary(ctx: Context, op: str, x: Any) -> Any:
    """Return `-x`, `+x` or `~x` of a number or array."""
    if kind_of_python(x) is not None:
        return _PYTHON_UNARY[op](x)
    if kind(x) == "mixed" and dtype_of(ctx, x).kind == "f":
        return x if op == "+" else Scalar(ctx.g.negative(x.value), "mixed", is_numpy=x.is_numpy)
    if kind(x) in _ORDER:
        if op == "+" and x.kind != "bool":
            return x
        if op == "-":
            if x.kind in ("int", "bool"):
                return _python_binary(ctx, "-", 0, x)
            return Scalar(ctx.g.negative(x.value), x.kind)
        return Scalar(ctx.g.invert(scalar_value(ctx, x, np.int64)), "int")
    return ufunc(ctx, _NUMPY_UNARY[op], x)


def _python_binary(ctx: Context, op: str, x: Any, y: Any) -> Any:
    """Python's own arithmetic on its numbers, with its exceptions as checks."""
    g = ctx.g
    common = max(kind(x), kind(y), key=_ORDER.index)
    if op in ("<", "<=", "==", "!=", ">", ">="):
        dtype = PYTHON_DTYPES[common if common != "bool" else "int"]
        names = {
            "<": "less",
            "<=": "less_equal",
            "==": "equal",
            "!=": "not_equal",
            ">": "greater",
            ">=": "greater_equal",
        }
        known = _compare_bounds(op, x, y) if common in ("int", "bool") else None
        if known is not None:
            return known
        return Scalar(g.emit(names[op], [scalar_value(ctx, x, dtype), scalar_value(ctx, y, dtype)]).result, "bool")
    if op in ("&", "|", "^") and common == "bool":
        name = {"&": "logical_and", "|": "logical_or", "^": "not_equal"}[op]
        return Scalar(g.emit(name, [scalar_value(ctx, x), scalar_value(ctx, y)]).result, "bool")
    if common == "bool":
        common = "int"
    if op == "/" and common == "int":
        common = "float"
    if common == "int" and op == "**" and (isinstance(y, Scalar) or y < 0):
        if isinstance(y, Scalar):
            raise ctx.error("JG217", what="an int raised to a power known only at run time may be an int or a float")
        common = "float"
    dtype = PYTHON_DTYPES[common]
    a, b = scalar_value(ctx, x, dtype), scalar_value(ctx, y, dtype)
    if common == "complex":
        complex_names = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "**": "power"}
        if op not in complex_names:
            raise ctx.error("JG217", what=f"complex {op}")
        return Scalar(g.emit(complex_names[op], [a, b]).result, "complex")
    if op in ("/", "//", "%"):
        known_nonzero = not isinstance(y, Scalar) and y != 0
        if not known_nonzero:
            message = {
                "/": "division by zero" if common == "int" else "float division by zero",
                "//": "integer division or modulo by zero" if common == "int" else "float floor division by zero",
                "%": "integer modulo by zero" if common == "int" else "float modulo",
            }[op]
            ctx.check(g.not_equal(b, ctx.constant(0, dtype)), ZeroDivisionError, message)
    if common == "int":
        return _python_int(ctx, op, x, y, a, b)
    if op == "**":
        return _python_power(ctx, x, y, a, b)
    names = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide", "//": "floor_divide", "%": "remainder"}
    return Scalar(g.emit(names[op], [a, b]).result, "float")


def mixed_dtype(kinds: Iterable[tuple[str, np.dtype]]) -> np.dtype | None:
    """Return the dtype of a number that is Python's on some paths and NumPy's on others; None if there is none.

    Python's and NumPy's bools and 64-bit floats have the same values; where they behave otherwise (division by zero,
    promotion with narrower arrays) the operators below look at which it is.
    """
    found = set(kinds)
    dtypes = {d for _, d in found}
    names = {n for n, _ in found}
    if len(dtypes) != 1 or not names <= {"bool", "float", "numpy", "mixed"}:
        return None
    (dtype,) = dtypes
    if dtype not in (np.float64, np.bool_) or names in ({"bool"}, {"float"}, {"numpy"}):
        return None
    return dtype


def numpy_flag(ctx: Context, x: Any) -> Value:
    """Return, as a bool value, whether a number is NumPy's."""
    if isinstance(x, Scalar) and x.is_numpy is not None:
        return x.is_numpy
    return ctx.constant(kind(x) == "numpy", np.bool_)


def _python_kind(xs: Sequence[Any]) -> str:
    return "bool" if any(kind(x) == "mixed" and x.value.array.dtype == np.bool_ for x in xs) else "float"


def _mixed_binary(ctx: Context, op: str, x: Any, y: Any) -> Any:
    """Arithmetic of numbers that may be Python's or NumPy's: equal values, but for what Python refuses."""
    g = ctx.g
    flags = [numpy_flag(ctx, v) for v in (x, y) if kind(v) == "mixed"]
    flag: Value = flags[0] if len(flags) == 1 else g.logical_or(*flags)
    dtypes = {dtype_of(ctx, v).kind for v in (x, y)}
    names = {"<": "less", "<=": "less_equal", "==": "equal", "!=": "not_equal", ">": "greater", ">=": "greater_equal"}
    if op in names and "c" not in dtypes:
        values = [scalar_value(ctx, v, np.float64) for v in (x, y)]
        return Scalar(g.emit(names[op], values).result, "mixed", is_numpy=flag)
    if op in ("&", "|", "^") and dtypes == {"b"}:
        name = {"&": "logical_and", "|": "logical_or", "^": "not_equal"}[op]
        return Scalar(g.emit(name, [scalar_value(ctx, x), scalar_value(ctx, y)]).result, "mixed", is_numpy=flag)
    if not dtypes <= {"f", "i", "b"} or any(kind(v) == "mixed" and dtype_of(ctx, v) == np.bool_ for v in (x, y)):
        raise ctx.error("JG244", what=f"the operator {op}")
    a, b = scalar_value(ctx, x, np.float64), scalar_value(ctx, y, np.float64)
    if op in ("/", "//", "%"):
        if isinstance(y, Scalar) or y == 0:
            text = {"/": "float division by zero", "//": "float floor division by zero", "%": "float modulo"}[op]
            ctx.check(g.logical_or(flag, g.not_equal(b, 0.0)), ZeroDivisionError, text)
        name = {"/": "divide", "//": "floor_divide", "%": "remainder"}[op]
    elif op == "**":
        if not isinstance(y, Scalar) and y == 2:
            return Scalar(g.multiply(a, a), "mixed", is_numpy=flag)
        zero = g.logical_and(g.equal(a, 0.0), g.less(b, 0.0))
        text = "0.0 cannot be raised to a negative power"
        ctx.check(g.logical_or(flag, g.logical_not(zero)), ZeroDivisionError, text)
        odd = g.logical_and(g.less(a, 0.0), g.not_equal(g.floor(b), b))
        text = "a negative number to a fractional power is complex in Python"
        ctx.check(g.logical_or(flag, g.logical_not(odd)), NotImplementedError, text)
        name = "power"
    else:
        name = {"+": "add", "-": "subtract", "*": "multiply"}[op]
    return Scalar(g.emit(name, [a, b]).result, "mixed", is_numpy=flag)


def _python_power(ctx: Context, x: Any, y: Any, a: Value, b: Value) -> Any:
    g = ctx.g
    if not isinstance(y, Scalar):
        if y == 2:
            return Scalar(g.multiply(a, a), "float")
        if y < 0:
            ctx.check(g.not_equal(a, 0.0), ZeroDivisionError, "0.0 cannot be raised to a negative power")
        if float(y) != math.floor(y):
            message = "a negative number to a fractional power is complex in Python"
            ctx.check(g.logical_not(g.less(a, 0.0)), NotImplementedError, message)
    else:
        zero = g.logical_and(g.equal(a, 0.0), g.less(b, 0.0))
        ctx.check(g.logical_not(zero), ZeroDivisionError, "0.0 cannot be raised to a negative power")
        odd = g.logical_and(g.less(a, 0.0), g.not_equal(g.floor(b), b))
        message = "a negative number to a fractional power is complex in Python"
        ctx.check(g.logical_not(odd), NotImplementedError, message)
    return Scalar(g.power(a, b), "float")


def _bounds(x: Any) -> tuple[int, int]:
    if isinstance(x, Scalar):
        if x.kind == "bool":
            return 0, 1
        low = _I64.min if x.low is None else x.low
        return low, _I64.max if x.high is None else x.high
    return int(x), int(x)


def _compare_bounds(op: str, x: Any, y: Any) -> bool | None:
    (a, b), (c, d) = _bounds(x), _bounds(y)
    if op in (">", ">="):
        return _compare_bounds({">": "<", ">=": "<="}[op], y, x)
    if op == "<":
        return True if b < c else False if a >= d else None
    if op == "<=":
        return True if b <= c else False if a > d else None
    if op == "==":
        return False if b < c or d < a else None
    return True if b < c or d < a else None


def _python_int(ctx: Context, op: str, x: Any, y: Any, a: Value, b: Value) -> Any:
    g = ctx.g
    (la, ha), (lb, hb) = _bounds(x), _bounds(y)
    if op in ("&", "|", "^", "<<", ">>"):
        names = {"&": "bitwise_and", "|": "bitwise_or", "^": "bitwise_xor", "<<": "left_shift", ">>": "right_shift"}
        if op == "<<":
            raise ctx.error("JG217", what="a left shift of an int known only at run time")
        return Scalar(g.emit(names[op], [a, b]).result, "int")
    if op in ("//", "%"):
        if op == "%":
            bounds = (0, hb - 1) if lb > 0 else (lb + 1, 0) if hb < 0 else (None, None)
            return Scalar(g.remainder(a, b), "int", *bounds)
        limits = (
            (min(la, -ha), max(ha, -la))
            if lb <= 0
            else (min(la, 0) if la < 0 else la // hb, ha // lb if ha >= 0 else 0)
        )
        return Scalar(g.floor_divide(a, b), "int", *(limits if _I64.min < limits[0] else (None, None)))
    if op == "**":
        result = ctx.constant(1, np.int64)
        bounds = (0, 0)
        exact = max(abs(la), abs(ha)) ** int(y)
        if exact > _I64.max:
            limit = int(_I64.max ** (1.0 / int(y)))
            inside = g.logical_and(
                g.greater_equal(a, ctx.constant(-limit, np.int64)), g.less_equal(a, ctx.constant(limit, np.int64))
            )
            ctx.check(inside, OverflowError, "a Python int of more than 64 bits")
        for _ in range(int(y)):
            result = g.multiply(result, a)
        bounds = (0 if int(y) % 2 == 0 else -exact, exact)
        return Scalar(result, "int", *(bounds if exact <= _I64.max else (None, None)))
    corners = {
        "+": (la + lb, ha + hb),
        "-": (la - hb, ha - lb),
        "*": (min(la * lb, la * hb, ha * lb, ha * hb), max(la * lb, la * hb, ha * lb, ha * hb)),
    }[op]
    made: Value = g.emit({"+": "add", "-": "subtract", "*": "multiply"}[op], [a, b]).result
    if corners[0] < _I64.min or corners[1] > _I64.max:
        _check_overflow(ctx, op, a, b, made)
    return Scalar(made, "int", max(corners[0], int(_I64.min)), min(corners[1], int(_I64.max)))


def _check_overflow(ctx: Context, op: str, a: Value, b: Value, made: Value) -> None:
    """A Python int does not wrap: refuse, with the line, what needs more than 64 bits."""
    g = ctx.g
    zero = ctx.constant(0, np.int64)
    if op == "+":
        bad = g.less(g.bitwise_and(g.bitwise_xor(a, made), g.bitwise_xor(b, made)), zero)
    elif op == "-":
        bad = g.less(g.bitwise_and(g.bitwise_xor(a, b), g.bitwise_xor(a, made)), zero)
    else:
        # The float product is within 2**-52 of the true one, so it tells overflow from the wrapped product.
        near = g.multiply(g.cast(a, dtype=np.float64), g.cast(b, dtype=np.float64))
        bad = g.greater_equal(g.absolute(g.subtract(near, g.cast(made, dtype=np.float64))), 2.0**62)
    ctx.check(g.logical_not(bad), OverflowError, "a Python int of more than 64 bits")


def broadcast_value(ctx: Context, value: Value, shape: tuple[Dim, ...]) -> Value:
    """Return a value broadcast to a shape, raising as an assignment in NumPy does."""
    try:
        fits = broadcast_shapes(value.shape, shape) == shape
    except GraphTypeError:
        fits = False
    if not fits:
        source, target = (str(s).replace(", ", ",") for s in (value.shape, shape))
        raise ValueError(f"could not broadcast input array from shape {source} into shape {target}")
    return broadcast_to(ctx.g, value, shape)


def new_array(ctx: Context, dtype: np.dtype, shape: tuple[Dim, ...], fill: Any = 0) -> Ref:
    """Return a new array filled with one number."""
    value = scalar_value(ctx, fill, dtype)
    return ctx.fresh(broadcast_to(ctx.g, value, shape))


def array_type(ctx: Context, x: Any) -> ArrayType:
    """Return the type of a number or array."""
    return ArrayType(dtype_of(ctx, x), shape_of(ctx, x))


__all__ += [
    "COMPOSITES", "NUMPY_BINARY", "PYTHON_BINARY", "Pick", "Span", "array_type", "broadcast_value", "describe",
    "float_to_int", "kind", "mixed_dtype", "new_array", "numpy_flag", "resolve",
]  # fmt: skip
