"""Numbers and arrays: reading and writing references, operators, ufuncs, promotion.

In: abstract values. Out: the same, with graph ops emitted through the context. NumPy's meaning is followed exactly:
dtypes come from `ufunc.resolve_dtypes` with weak Python scalars. This room knows no bytecode.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.memory import Pick, Span, load, store
from jitgrad.graph.ops.shape import broadcast_to, reshape_to
from jitgrad.graph.types import ArrayType, Dim, GraphTypeError, broadcast_shapes
from jitgrad.trace.abstract import AnyOf, Columns, DictRef, Link, ListRef, OneOf, Record, Ref, Scalar, TaggedRef, whole
from jitgrad.trace.algorithms.containers import Deque
from jitgrad.trace.context import PACKED, PYTHON_DTYPES, Context, kind_of_python
from jitgrad.trace.extents import canonical_shape, renamed, shapes_text, unify
from jitgrad.trace.identity import followers, spread
from jitgrad.trace.inspection import cells_of, pool_of
from jitgrad.trace.storage import all_items, as_sequence, base_shape, held_type, length_of, put_back, seen

__all__ = [
    "another", "array_type", "as_array", "as_float", "as_int", "boxed", "broadcast_dims", "broadcast_value", "cast",
    "common_dtype", "describe", "dtype_of", "float_to_int", "is_array", "is_number", "is_numeric", "kind", "new_array",
    "read", "refuse_to_grow", "scalar_value", "shape_of", "truth", "write",
]  # fmt: skip

_I64 = np.iinfo(np.int64)
_WRITERS = frozenset({"store", "addto", "scatter", "scatter_add"})


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
    return kind_of_python(x) or "array"


def shape_of(ctx: Context, x: Any) -> tuple[Dim, ...]:
    """Return the shape of a number or array."""
    if isinstance(x, Ref):
        return canonical_shape(ctx, x.view[-1].shape() if x.view else base_shape(ctx.heap[x.cell]))
    if isinstance(x, TaggedRef):
        return shape_of(ctx, x.choices[0])
    return ()


def dtype_of(ctx: Context, x: Any) -> np.dtype:
    """Return the dtype that x has as an array."""
    if isinstance(x, Ref):
        return held_type(ctx.heap[x.cell]).dtype
    if isinstance(x, TaggedRef):
        return dtype_of(ctx, x.choices[0])
    if isinstance(x, Scalar):
        return x.value.array.dtype
    if isinstance(x, AnyOf):
        raise _undecided(ctx, x)
    if isinstance(x, OneOf):
        raise ctx.error("JG240", name="this value", why=f"it is {describe(x)}, as data decide")
    found = kind_of_python(x)
    if found is None:
        raise ctx.error("JG210", what=f"{describe(x)} is used as an array")
    return x.dtype if found == "numpy" else PYTHON_DTYPES[found]


def _undecided(ctx: Context, x: AnyOf | ListRef, names: Sequence[str] = ()) -> Exception:
    """Return the error for a number, or a list of numbers, whose type must be known, and depends on data."""
    if isinstance(x, AnyOf):
        names = [kind(c) if kind(c) != "numpy" else str(dtype_of(ctx, c)) for c in x.choices[:2]]
    made = ctx.error("JG239", first=names[0], second=names[1])
    made.undecided = x
    return made


def describe(x: Any) -> str:
    """Return what an error says of a value."""
    if isinstance(x, AnyOf | OneOf):
        different = dict.fromkeys(describe(c) for c in x.choices)
        return " or ".join(different) if len(different) > 1 else f"{next(iter(different))} or another"
    if x is None:
        return "None"
    noun = {ListRef: "list", DictRef: "dict"}.get(type(x), "array" if is_array(x) else type(x).__name__)
    if isinstance(x, Scalar):
        noun = f"{x.kind if x.kind != 'numpy' else x.value.array.dtype.name} scalar"
    elif isinstance(x, Record):
        noun = x.cls.__name__
    return f"{'an' if noun[0] in 'aeioAEIO' else 'a'} {noun}"


# --- references


def another(ctx: Context, x: Any) -> Any:
    """Return a view of all of an array: another object than the array, for those who see arguments."""
    if not isinstance(x, Ref) or x.view or not ctx.observe_arguments:
        return x
    return Ref(x.cell, (whole(shape_of(ctx, x)),))


def boxed(ctx: Context, x: Ref) -> Ref:
    """Return the same view of an array; a whole one as a view by basic indexing."""
    return x if x.view else Ref(x.cell, (whole(shape_of(ctx, x)),))


def read(ctx: Context, x: Any, shape: tuple[Dim, ...] | None = None) -> Value:
    """Return the value that an array holds now, of a shape that is known to be its own, if one is given."""
    if isinstance(x, TaggedRef):
        return _choose(ctx, x, shape)
    base = ctx.heap[x.cell]
    if x.view and held_type(base).dtype == np.bool_:
        # A mask that is read again is still the same mask.
        value = ctx.shared(("read", base, x.view), lambda: seen(ctx, base, x.view))
    else:
        value = seen(ctx, base, x.view)
    return renamed(ctx, value, canonical_shape(ctx, value.shape) if shape is None else shape)


def _choose(ctx: Context, x: TaggedRef, shape: tuple[Dim, ...] | None, k: int = 0) -> Value:
    """Return the value of the tagged choice, reading only that."""
    if k == len(x.choices) - 1:
        return read(ctx, x.choices[k], shape)
    with ctx.g.region() as then:
        then.yields = [read(ctx, x.choices[k], shape)]
    with ctx.g.region() as other:
        other.yields = [_choose(ctx, x, shape, k + 1)]
    cond = ctx.g.equal(x.tag, ctx.constant(k, np.int64))
    return ctx.g.emit("if", [cond], {}, [then, other]).result


def write(ctx: Context, x: Any, value: Value, what: str = "assignment destination") -> None:
    """Replace all that an array shows by a value of its dtype and shape; `what` is its name in NumPy's errors."""
    target = spread(ctx, x)
    if isinstance(target, TaggedRef):
        _write_tagged(ctx, target, value, what)
    else:
        if target.cell in ctx.read_only:
            ctx.refused_stores.add(target.cell)
            raise ValueError(f"{what} is read-only")
        ctx.conflict(target.cell)
        ctx.heap[target.cell] = _stored(ctx, target, ctx.heap[target.cell], value)
    for cell in followers(ctx, cells_of(target), cells_of(x)):
        # What it may be names its sizes in other ways.
        ctx.heap[cell] = read(ctx, spread(ctx, Ref(cell)), shape_of(ctx, Ref(cell)))


def _stored(ctx: Context, x: Ref, base: Value, value: Value) -> Value:
    """Return what the cell of a reference holds once all that it shows is replaced.

    What the caller sees is an op of its own, even where all is replaced: a check that fails later finds it done.
    """
    made = _updated(ctx, base, x.view, value)
    if x.cell not in ctx.visible or made is base:
        return made
    if not base.array.rank:
        # A number is no memory: it is put there at once.
        ctx.g.emit("commit", [made], {"arguments": (ctx.visible[x.cell].index,)})
        return made
    op = made.op
    if op is None or op.name not in _WRITERS or op.operands[0] is not base or op is not ctx.g.block.ops[-1]:
        made = store(ctx.g, base, made, [Span(0, 1, d) for d in base.shape])
        op = made.op
    assert op is not None
    op.attrs["visible"] = True
    return made


def _updated(ctx: Context, base: Value, view: tuple[Link, ...], value: Value) -> Value:
    if not view:
        return renamed(ctx, value, base.shape)
    inner = value
    if len(view) > 1:
        inner = _updated(ctx, seen(ctx, base, view[:1]), view[1:], value)
    return put_back(ctx, base, view[0], inner)


def _write_tagged(ctx: Context, x: TaggedRef, value: Value, what: str) -> None:
    cells = list(dict.fromkeys(r.cell for r in x.choices))
    for cell in cells:
        ctx.conflict(cell)
    before = dict(ctx.heap)

    def arm(k: int) -> list[Value]:
        ref = x.choices[k]
        if ref.cell in ctx.read_only:
            ctx.refused_stores.add(ref.cell)
            ctx.fail(ValueError, f"{what} is read-only")
            return [before[c] for c in cells]
        return [_stored(ctx, ref, before[c], value) if c is ref.cell else before[c] for c in cells]

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
    if isinstance(x, AnyOf):
        if dtype is None:
            raise _undecided(ctx, x)
        made = scalar_value(ctx, x.choices[-1], dtype)
        for flag, choice in zip(x.flags, x.choices, strict=False):
            made = ctx.g.select(flag, scalar_value(ctx, choice, dtype), made)
        return made
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
    x = as_sequence(ctx, x)
    if is_array(x):
        value = read(ctx, x)
    elif is_number(x) or isinstance(x, AnyOf):
        value = scalar_value(ctx, x, dtype if isinstance(x, AnyOf) else None)
    elif isinstance(x, np.ndarray):
        value = ctx.constant(x)
    elif isinstance(x, ListRef) and not isinstance(ctx.heap[x.cell], tuple):
        value = _listed(ctx, x, dtype)
    elif isinstance(x, tuple | ListRef):
        items = [as_sequence(ctx, v) for v in (x if isinstance(x, tuple) else ctx.heap[x.cell])]
        common = common_dtype(ctx, tuple(items))
        value = _stack(ctx, [as_array(ctx, v, common if isinstance(v, AnyOf) else None) for v in items], common)
    elif isinstance(x, Record) and x.cls is Deque:
        return as_array(ctx, ctx.call(getattr, [x, "_items"]), dtype)
    else:
        raise ctx.error("JG210", what=f"{describe(x)} is used as an array")
    return value if dtype is None else cast(ctx, value, dtype)


_ELEMENT = "setting an array element with a sequence."
_INHOMOGENEOUS = _ELEMENT + " The requested array has an inhomogeneous shape after {} dimensions."


def _listed(ctx: Context, x: ListRef, dtype: np.dtype | type | None, count: Value | None = None) -> Value:
    """Return what NumPy makes of a list that grows, whose length may be known by another name."""
    items = ctx.heap[x.cell]
    if (pool := pool_of(items)) is not None:
        rows = ctx.g.gather(all_items(ctx, ctx.heap[pool]), _listed(ctx, items.lists[0], None, count))
        return cast(ctx, rows, dtype or rows.array.dtype)
    if isinstance(items, Columns):
        columns: list[Value] = []
        for part in items.lists if issubclass(items.cls, tuple | list) and items.rows is None else ():
            columns.append(_listed(ctx, part, dtype, ctx.dim(columns[0].shape[0]) if columns else count))
        if len({c.shape[1:] for c in columns}) != 1:
            raise ctx.error("JG211", what=f"the items are {items.cls.__name__}s of different shapes")
        common, shape = np.result_type(*(c.array.dtype for c in columns)), columns[0].shape
        columns = [reshape_to(ctx.g, cast(ctx, c, common), (shape[0], 1, *shape[1:])) for c in columns]
        return columns[0] if len(columns) == 1 else ctx.g.concatenate(*columns, axis=1)
    value = ctx.g.list_to_array(items, length_of(ctx, items) if count is None else count)
    if (name := ctx.list_kinds.get(x.cell, "")) == "object":
        raise ctx.error("JG210", what="a list of texts or other things is used as an array")
    packed = PACKED.get(name, ())
    if "int" in packed and dtype is None:
        raise _undecided(ctx, x, ["int", "float"])
    value = load(ctx.g, value, [Span(0, 1, value.shape[0]), Pick(0)]) if packed else value
    return renamed(ctx, value, canonical_shape(ctx, value.shape))


def _stack(ctx: Context, parts: list[Value], dtype: np.dtype) -> Value:
    if not parts:
        return ctx.constant(np.zeros((0,), np.float64))
    shape = parts[0].shape
    if any(p.array.rank != len(shape) for p in parts):
        raise ctx.error("JG211", what="the items have different shapes")
    for p in parts[1:]:
        for k, (d, e) in enumerate(zip(canonical_shape(ctx, shape), canonical_shape(ctx, p.shape), strict=True)):
            if d is not e and d != e:
                if isinstance(d, int) and isinstance(e, int):
                    raise ctx.error("JG211", what="the items have different shapes")
                unify(ctx, d, e, _INHOMOGENEOUS.format(k + 1))
    if all(p.op is not None and p.op.name == "constant" for p in parts):
        return ctx.constant(np.array([p.op.attrs["value"] for p in parts], dtype))  # type: ignore[union-attr]
    rows = [reshape_to(ctx.g, cast(ctx, p, dtype), (1, *shape)) for p in parts]
    return rows[0] if len(rows) == 1 else ctx.g.concatenate(*rows, axis=0)


def common_dtype(ctx: Context, xs: Any) -> np.dtype:
    """Return the dtype that `np.array` gives to a sequence of numbers, arrays and sequences of such."""
    found: list[Any] = []
    undecided: list[AnyOf] = []

    def visit(x: Any) -> None:
        x = as_sequence(ctx, x)
        if isinstance(x, ListRef):
            x = ctx.heap[x.cell]
        if isinstance(x, Value):
            found.append(x.type.element.dtype)  # type: ignore[union-attr]
        elif isinstance(x, tuple):
            for item in x:
                visit(item)
        elif isinstance(x, AnyOf):
            undecided.append(x)
        else:
            found.append(dtype_of(ctx, x))

    visit(xs)
    ways = {np.result_type(*found)} if found else set()
    for x in undecided:
        own = {dtype_of(ctx, c) for c in x.choices}
        ways = {np.promote_types(a, b) for a in ways for b in own} if ways else own
    if len(ways) > 1:
        raise _undecided(ctx, undecided[0])
    return ways.pop() if ways else np.dtype(np.float64)


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
    ctx.check(g.not_equal(g.absolute(value), math.inf), OverflowError, "cannot convert float infinity to integer")
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
_AMBIGUOUS = "The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()"
_NO_TRUTH = "The truth value of an empty array is ambiguous. Use `array.size > 0` to check that an array is not empty."


def truth(ctx: Context, x: Any) -> Any:
    """Return `bool(x)` of a number or array: a Python bool if known, else a bool Scalar."""
    if kind_of_python(x) is not None:
        return bool(x)
    value = as_array(ctx, x)
    if value.array.rank:
        if value.array.is_static and math.prod(value.shape) != 1:  # type: ignore[arg-type]
            raise ValueError(_AMBIGUOUS)
        if not value.array.is_static:
            size = functools.reduce(ctx.g.multiply, map(ctx.dim, value.shape))
            ctx.check(ctx.g.less(size, ctx.dim(2)), ValueError, _AMBIGUOUS)
            ctx.check(ctx.g.greater(size, ctx.dim(0)), ValueError, _NO_TRUTH)
            value = load(ctx.g, value, [Pick(0)] * value.array.rank)
        else:
            value = reshape_to(ctx.g, value, ())
    if value.array.dtype != np.bool_:
        value = ctx.g.not_equal(value, ctx.constant(0, value.array.dtype))
    return Scalar(value, "bool")


def broadcast_dims(ctx: Context, *shapes: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """Return the broadcast of shapes, raising as NumPy does where they do not fit.

    Raises
    ------
    Unified
        After a check that sizes known only at run time fit.
    """
    try:
        return broadcast_shapes(*shapes)
    except GraphTypeError:
        texts, sizes = shapes_text(shapes)
        message = f"operands could not be broadcast together with shapes {' '.join(texts)} "
        _unify_shapes(ctx, shapes, message, sizes)
        raise ValueError(message) from None


def _unify_shapes(ctx: Context, shapes: Sequence[Sequence[Dim]], message: str, sizes: Sequence[Value]) -> None:
    """Make two dimensions one that must be one for shapes to fit; do nothing where all is known."""
    for axis in range(-max((len(s) for s in shapes), default=0), 0):
        dims = [s[axis] for s in shapes if len(s) >= -axis and not (isinstance(s[axis], int) and s[axis] == 1)]
        for d in dims[1:]:
            if d is not dims[0] and not (isinstance(d, int) and isinstance(dims[0], int)):
                unify(ctx, dims[0], d, message, *sizes, broadcast=True)


def broadcast_value(ctx: Context, value: Value, shape: tuple[Dim, ...]) -> Value:
    """Return a value broadcast to a shape, raising as an assignment in NumPy does."""
    try:
        fits = broadcast_shapes(value.shape, shape) == shape
    except GraphTypeError:
        fits = False
    if not fits:
        (source, target), sizes = shapes_text([value.shape, shape])
        message = f"could not broadcast input array from shape {source} into shape {target}"
        if value.array.rank <= len(shape):
            _unify_shapes(ctx, [value.shape, shape], message, sizes)
        refuse_to_grow(ctx, value.shape, shape, message, sizes)
    return broadcast_to(ctx.g, value, shape)


def refuse_to_grow(
    ctx: Context, source: Sequence[Dim], target: Sequence[Dim], message: str, sizes: Sequence[Value]
) -> NoReturn:
    """Raise for what does not fit into a smaller array, unless its sizes may turn out to be 1 where that has 1."""
    for d, size in zip(reversed(source), reversed(target), strict=False):
        if size == 1 and not isinstance(d, int):
            unify(ctx, d, 1, message, *sizes)
    raise ValueError(message)


def new_array(ctx: Context, dtype: np.dtype, shape: tuple[Dim, ...], fill: Any = 0) -> Ref:
    """Return a new array filled with one number."""
    return ctx.fresh(broadcast_to(ctx.g, scalar_value(ctx, fill, dtype), shape))


def array_type(ctx: Context, x: Any) -> ArrayType:
    """Return the type of a number or array."""
    return ArrayType(dtype_of(ctx, x), shape_of(ctx, x))
