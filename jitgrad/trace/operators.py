"""Operators on any abstract values: who decides what `x + y`, `x == y`, `x in y`, `x[k]` mean.

In: an operator and abstract values. Out: abstract values. Numbers and arrays go to `arrays`, subscripts of built-in
things to `subscripts`; containers and texts are handled here; objects of user classes decide by their own methods,
which are traced through the context, in Python's order (reflected methods included). In-place operators of arrays store
through the reference with NumPy's casting rule. This room knows no bytecode and no calling convention.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.trace import arrays
from jitgrad.trace.abstract import (
    Abstract,
    BoundMethod,
    Cell,
    DictRef,
    External,
    IndexRange,
    ListRef,
    Record,
    Ref,
    Scalar,
    TaggedRef,
)
from jitgrad.trace.arrays import (
    NUMPY_BINARY,
    PYTHON_BINARY,
    as_array,
    is_array,
    is_number,
    is_numeric,
    shape_of,
    truth,
    unary,
)
from jitgrad.trace.calls import METHODS, attribute, class_of, is_known, opened, outside_of
from jitgrad.trace.context import Context, kind_of_python
from jitgrad.trace.products import matrix_product
from jitgrad.trace.subscripts import get_item, new_list, set_item, static_key
from jitgrad.trace.texts import Formatted, Text, join_texts
from jitgrad.trace.ufuncs import store_result

__all__ = [
    "binary_op", "compare_op", "contains_op", "equal_objects", "get_item_op", "is_op", "set_item_op", "special_method",
    "unary_op",
]  # fmt: skip

_METHODS = {
    "+": "add", "-": "sub", "*": "mul", "/": "truediv", "//": "floordiv", "%": "mod", "**": "pow", "@": "matmul",
    "&": "and", "|": "or", "^": "xor", "<<": "lshift", ">>": "rshift",
}  # fmt: skip
_COMPARISONS = {"<": "__lt__", "<=": "__le__", "==": "__eq__", "!=": "__ne__", ">": "__gt__", ">=": "__ge__"}
_SWAPPED = {"<": ">", "<=": ">=", "==": "==", "!=": "!=", ">": "<", ">=": "<="}


def is_object(x: Any) -> bool:
    """Whether x is an object of a user's class, whose methods decide what operators mean."""
    if isinstance(x, Record):
        return True
    if isinstance(x, External):
        return not isinstance(x.thing, list | dict | set)
    return type(x) is not tuple and isinstance(x, tuple) and hasattr(type(x), "_fields")


def special_method(ctx: Context, x: Any, name: str) -> Any:
    """Return the bound special method of an object of a user's class, None where its class has none of its own."""
    cls = class_of(ctx, x)
    for base in cls.__mro__:
        if base in (object, tuple, list, dict):
            return None
        if name in vars(base):
            found = vars(base)[name]
            if found is None:
                return None
            if not callable(found):
                raise ctx.error("JG231", name=name, cls=cls.__name__)
            return attribute(ctx, x, name) if isinstance(x, Record | External) else BoundMethod(found, x)
    return None


def _opened(ctx: Context, x: Any) -> Any:
    return opened(ctx, x) if isinstance(x, External) and isinstance(x.thing, list | dict) else x


def _sequence(ctx: Context, x: Any) -> tuple[Any, ...] | None:
    """Return the items of a tuple or a list of known length, None for anything else."""
    if isinstance(x, tuple):
        return x
    if isinstance(x, ListRef) and not isinstance(ctx.heap[x.cell], Value):
        items: tuple[Any, ...] = ctx.heap[x.cell]
        return items
    return None


def type_name(ctx: Context, x: Any) -> str:
    """Return the name of a value's class as error messages write it."""
    cls = class_of(ctx, x)
    return f"numpy.{cls.__name__}" if cls.__module__ == "numpy" else cls.__name__


# --- binary operators


def binary_op(ctx: Context, op: str, x: Any, y: Any, inplace: bool = False) -> Any:
    """Return `x op y`; with `inplace`, what `x op= y` binds, arrays and lists being changed in place."""
    if is_numeric(x) and is_numeric(y):
        return _numeric(ctx, op, x, y, inplace)
    if is_object(x) or is_object(y):
        made = _by_methods(ctx, op, x, y, inplace)
        if made is not NotImplemented:
            return made
        if any(isinstance(v, Record | External) and is_object(v) for v in (x, y)):
            raise _unsupported_operands(ctx, op, x, y, inplace)
    x, y = _opened(ctx, x), _opened(ctx, y)
    if _is_array_like(x) or _is_array_like(y):
        return _numeric(ctx, op, _array_operand(ctx, x), _array_operand(ctx, y), inplace)
    made = _containers(ctx, op, x, y, inplace)
    if made is not NotImplemented:
        return made
    if is_known(x) and is_known(y):
        return PYTHON_BINARY[op](x, y)
    raise _unsupported_operands(ctx, op, x, y, inplace)


def _is_array_like(x: Any) -> bool:
    return is_array(x) or isinstance(x, np.ndarray | np.generic) or (isinstance(x, Scalar) and x.kind == "numpy")


def _array_operand(ctx: Context, x: Any) -> Any:
    if is_numeric(x):
        return x
    if isinstance(x, np.ndarray | tuple | ListRef):
        return ctx.fresh(as_array(ctx, x))
    raise ctx.error("JG216", name="an operator of an array", dtypes=type_name(ctx, x))


def _unsupported_operands(ctx: Context, op: str, x: Any, y: Any, inplace: bool) -> TypeError:
    shown = f"{op}=" if inplace else "** or pow()" if op == "**" else op
    return TypeError(f"unsupported operand type(s) for {shown}: '{type_name(ctx, x)}' and '{type_name(ctx, y)}'")


def _numeric(ctx: Context, op: str, x: Any, y: Any, inplace: bool) -> Any:
    if op == "@":
        if not is_array(x) or not is_array(y):
            if not _is_array_like(x) and not _is_array_like(y):
                raise _unsupported_operands(ctx, op, x, y, inplace)
            raise ValueError(
                "matmul: Input operand 1 does not have enough dimensions (has 0, gufunc core with signature "
                "(n?,k),(k,m?)->(n?,m?) requires 1)"
            )
        made = matrix_product(ctx, x, y)
        if not inplace:
            return made
        return store_result(ctx, "matmul", as_array(ctx, made), x)
    if inplace and is_array(x):
        made = arrays.binary(ctx, op, x, y)
        return store_result(ctx, NUMPY_BINARY[op].__name__, as_array(ctx, made), x)
    return arrays.binary(ctx, op, x, y)


def _by_methods(ctx: Context, op: str, x: Any, y: Any, inplace: bool) -> Any:
    """Return what the special methods of user classes give, NotImplemented where none applies."""
    name = _METHODS[op]
    if inplace and is_object(x):
        found = special_method(ctx, x, f"__i{name}__")
        if found is not None:
            made = ctx.call(found, [y])
            if made is not NotImplemented:
                return made
    forward: Callable[[], Any] = lambda: _try(ctx, x, f"__{name}__", y)  # noqa: E731
    reflected: Callable[[], Any] = lambda: _try(ctx, y, f"__r{name}__", x)  # noqa: E731
    cx, cy = class_of(ctx, x), class_of(ctx, y)
    tries = [forward, reflected] if cx is not cy else [forward]
    if cx is not cy and issubclass(cy, cx):
        tries.reverse()
    if is_array(x) and is_object(y) and not _defers(cy):
        raise ctx.error("JG216", name="an operator of an array", dtypes=cy.__name__)
    for attempt in tries:
        made = attempt()
        if made is not NotImplemented:
            return made
    return NotImplemented


def _defers(cls: type) -> bool:
    """Whether NumPy's arrays leave binary operators to a class."""
    return getattr(cls, "__array_ufunc__", ...) is None or getattr(cls, "__array_priority__", 0) > 0


def _try(ctx: Context, x: Any, name: str, y: Any) -> Any:
    if not is_object(x):
        return NotImplemented
    found = special_method(ctx, x, name)
    return NotImplemented if found is None else ctx.call(found, [y])


def _containers(ctx: Context, op: str, x: Any, y: Any, inplace: bool) -> Any:
    if isinstance(x, str | Text) and isinstance(y, str | Text) and op == "+":
        return join_texts(x, y)
    if isinstance(x, str) and op == "%" and not is_known(y):
        return Text((Formatted(y, None, x),))
    if op == "+" and isinstance(x, tuple) and isinstance(y, tuple):
        return (*x, *y)
    if op == "+" and isinstance(x, ListRef):
        return _list_plus(ctx, x, y, inplace)
    if op == "*":
        if is_number(x) and not is_number(y):
            x, y = y, x
        items = _sequence(ctx, x)
        if items is not None and is_number(y):
            times = static_key(ctx, y, "how often a sequence is repeated")
            if isinstance(x, tuple):
                return items * times
            if inplace:
                ctx.conflict(x.cell)
                ctx.heap[x.cell] = items * times
                return x
            return new_list(ctx, items * times)
        if isinstance(x, str | bytes) and isinstance(y, Scalar):
            return x * static_key(ctx, y, "how often a string is repeated")
    if op == "|" and isinstance(x, DictRef) and isinstance(y, DictRef):
        pairs = tuple((dict(ctx.heap[x.cell]) | dict(ctx.heap[y.cell])).items())
        if inplace:
            ctx.conflict(x.cell)
            ctx.heap[x.cell] = pairs
            return x
        made = DictRef(Cell("dict"))
        ctx.heap[made.cell] = pairs
        return made
    return NotImplemented


def _list_plus(ctx: Context, x: ListRef, y: Any, inplace: bool) -> Any:
    if inplace:
        ctx.call(attribute(ctx, x, "extend"), [y])
        return x
    mine, other = _sequence(ctx, x), _sequence(ctx, y)
    if not isinstance(y, ListRef):
        raise TypeError(f'can only concatenate list (not "{type_name(ctx, y)}") to list')
    if mine is None or other is None:
        raise ctx.error("JG221", what="+ of a list that grew in a loop")
    return new_list(ctx, (*mine, *other))


def unary_op(ctx: Context, op: str, x: Any) -> Any:
    """Return `-x`, `+x` or `~x`."""
    if isinstance(x, np.ndarray):
        x = ctx.fresh(as_array(ctx, x))
    if is_numeric(x):
        return unary(ctx, op, x)
    if is_object(x):
        found = special_method(ctx, x, {"-": "__neg__", "+": "__pos__", "~": "__invert__"}[op])
        if found is not None:
            return ctx.call(found, [])
    raise TypeError(f"bad operand type for unary {op}: '{type_name(ctx, x)}'")


# --- comparisons


def compare_op(ctx: Context, op: str, x: Any, y: Any) -> Any:
    """Return `x op y` for a comparison of any two values."""
    if is_numeric(x) and is_numeric(y):
        return arrays.compare(ctx, op, x, y)
    if is_object(x) or is_object(y):
        made = _compare_objects(ctx, op, x, y)
        if made is not NotImplemented:
            return made
    x, y = _opened(ctx, x), _opened(ctx, y)
    if _is_array_like(x) or _is_array_like(y):
        return _compare_array(ctx, op, x, y)
    a, b = _sequence(ctx, x), _sequence(ctx, y)
    if a is not None and b is not None and isinstance(x, tuple) == isinstance(y, tuple):
        return _compare_sequences(ctx, op, a, b)
    if isinstance(x, DictRef) and isinstance(y, DictRef) and op in ("==", "!="):
        return _negated(ctx, _equal_dicts(ctx, x, y), op == "!=")
    if isinstance(x, Text) or isinstance(y, Text):
        raise ctx.error("JG220", what="a comparison of a text with parts known only at run time")
    if is_known(x) and is_known(y):
        return PYTHON_BINARY[op](x, y)
    if op in ("==", "!="):
        same = is_op(ctx, x, y)
        return _negated(ctx, same if isinstance(same, bool) else False, op == "!=")
    raise _not_ordered(ctx, op, x, y)


def _not_ordered(ctx: Context, op: str, x: Any, y: Any) -> TypeError:
    return TypeError(f"'{op}' not supported between instances of '{type_name(ctx, x)}' and '{type_name(ctx, y)}'")


def _negated(ctx: Context, flag: Any, negate: bool) -> Any:
    if not negate:
        return flag
    return not flag if isinstance(flag, bool) else Scalar(ctx.g.logical_not(flag.value), "bool")


def _compare_array(ctx: Context, op: str, x: Any, y: Any) -> Any:
    strange = next((v for v in (x, y) if v is None or isinstance(v, str)), ...)
    if strange is not ...:
        if op not in ("==", "!="):
            raise _not_ordered(ctx, op, x, y)
        other = y if x is strange else x
        flat = np.bool_(op == "!=")
        if not is_array(other) or not shape_of(ctx, other):
            return flat
        return arrays.new_array(ctx, np.dtype(np.bool_), shape_of(ctx, other), flat)
    return arrays.compare(ctx, op, _array_operand(ctx, x), _array_operand(ctx, y))


def _compare_objects(ctx: Context, op: str, x: Any, y: Any) -> Any:
    cx, cy = class_of(ctx, x), class_of(ctx, y)
    tries = [(x, _COMPARISONS[op], y), (y, _COMPARISONS[_SWAPPED[op]], x)]
    if cx is not cy and issubclass(cy, cx):
        tries.reverse()
    for self, name, other in tries:
        made = _try(ctx, self, name, other)
        if made is not NotImplemented:
            return made
    if op == "!=":
        made = _compare_objects(ctx, "==", x, y)
        return made if made is NotImplemented else _negated(ctx, ctx.call(bool, [made]), True)
    return NotImplemented


def equal_objects(ctx: Context, x: Any, y: Any) -> Any:
    """Return `x is y or x == y` as containers compare their items: a bool, or a bool Scalar."""
    if isinstance(x, Scalar) and isinstance(y, Scalar) and x.value is y.value and x.kind == y.kind != "numpy":
        return True
    if is_array(x) and x == y:
        return True
    found = compare_op(ctx, "==", x, y)
    return found if isinstance(found, bool) else truth(ctx, found)


def both(ctx: Context, a: Any, b: Any) -> Any:
    """Return `a and b` of flags that are bools or bool Scalars."""
    if isinstance(a, bool):
        return b if a else False
    if isinstance(b, bool):
        return a if b else False
    return Scalar(ctx.g.logical_and(a.value, b.value), "bool")


def either(ctx: Context, a: Any, b: Any) -> Any:
    """Return `a or b` of flags that are bools or bool Scalars."""
    if isinstance(a, bool):
        return True if a else b
    if isinstance(b, bool):
        return True if b else a
    return Scalar(ctx.g.logical_or(a.value, b.value), "bool")


def _compare_sequences(ctx: Context, op: str, a: tuple[Any, ...], b: tuple[Any, ...]) -> Any:
    if op in ("==", "!="):
        flag: Any = len(a) == len(b)
        for x, y in zip(a, b, strict=False):
            if flag is False:
                break
            flag = both(ctx, flag, equal_objects(ctx, x, y))
        return _negated(ctx, flag, op == "!=")
    # Lexicographic order: the first items that differ decide, else the lengths.
    result: Any = PYTHON_BINARY[op](len(a), len(b))
    for x, y in reversed(list(zip(a, b, strict=False))):
        equal = equal_objects(ctx, x, y)
        if equal is True:
            continue
        decided = compare_op(ctx, op, x, y)
        decided = decided if isinstance(decided, bool) else truth(ctx, decided)
        result = (
            decided
            if equal is False
            else either(ctx, both(ctx, equal, result), both(ctx, _negated(ctx, equal, True), decided))
        )
    return result


def _equal_dicts(ctx: Context, x: DictRef, y: DictRef) -> Any:
    a, b = dict(ctx.heap[x.cell]), dict(ctx.heap[y.cell])
    flag: Any = a.keys() == b.keys()
    for key in a:
        if flag is False:
            break
        flag = both(ctx, flag, equal_objects(ctx, a[key], b[key]))
    return flag


def contains_op(ctx: Context, x: Any, y: Any) -> Any:
    """Return `x in y`: a bool, or a bool Scalar."""
    y = _opened(ctx, y)
    if is_object(y):
        found = special_method(ctx, y, "__contains__")
        if found is not None:
            return ctx.call(bool, [ctx.call(found, [x])])
    if is_array(y) or isinstance(y, np.ndarray):
        equal = compare_op(ctx, "==", y, x)
        value = as_array(ctx, equal)
        return Scalar(ctx.g.reduce_or(value, axes=tuple(range(value.array.rank))), "bool")
    if isinstance(y, DictRef):
        key = static_key(ctx, x, "the key of a dict")
        return any(k == key for k, _ in ctx.heap[y.cell])
    if (isinstance(y, range | IndexRange) and isinstance(x, Scalar)) or isinstance(y, IndexRange):
        return _in_range(ctx, x, y)
    items = _sequence(ctx, y)
    if items is None and isinstance(y, frozenset):
        items = tuple(y)
    if items is not None:
        flag: Any = False
        for item in items:
            if flag is True:
                break
            flag = either(ctx, flag, equal_objects(ctx, item, x))
        return flag
    if is_known(x) and is_known(y):
        return x in y
    if is_number(y) or y is None:
        raise TypeError(f"argument of type '{type_name(ctx, y)}' is not iterable")
    raise ctx.error("JG220", what=f"`in` of a {type_name(ctx, y)}")


def _in_range(ctx: Context, x: Any, y: Any) -> Any:
    step = y.step
    if isinstance(step, Scalar):
        step = ctx.note_static(step, "the step of a range")
    low, high = ("<=", "<") if step > 0 else (">=", ">")
    inside = both(ctx, compare_op(ctx, low, y.start, x), compare_op(ctx, high, x, y.stop))
    if abs(step) == 1 and arrays.kind(x) in ("int", "bool"):
        return inside
    offset = binary_op(ctx, "%", binary_op(ctx, "-", x, y.start), step)
    return both(ctx, inside, ctx.call(bool, [compare_op(ctx, "==", offset, 0)]))


def is_op(ctx: Context, x: Any, y: Any) -> Any:
    """Return `x is y`: a bool, or a bool Scalar for a run-time bool against True or False."""
    if isinstance(x, bool) and isinstance(y, Scalar):
        x, y = y, x
    if isinstance(x, Scalar) and x.kind == "bool" and isinstance(y, bool):
        return x if y else Scalar(ctx.g.logical_not(x.value), "bool")
    if isinstance(x, External) and isinstance(y, External):
        return x.thing is y.thing
    if isinstance(x, Scalar) and isinstance(y, Scalar):
        return x.value is y.value and x.kind == y.kind
    if isinstance(x, Ref) and isinstance(y, TaggedRef):
        x, y = y, x
    if isinstance(x, TaggedRef) and isinstance(y, Ref):
        flag: Any = False
        for k, choice in enumerate(x.choices):
            if choice == y:
                flag = either(ctx, flag, Scalar(ctx.g.equal(x.tag, ctx.constant(k, np.int64)), "bool"))
        return flag
    if isinstance(x, Abstract) or isinstance(y, Abstract):
        return type(x) is type(y) and bool(x == y)
    if isinstance(x, tuple) and isinstance(y, tuple) and not (is_known(x) and is_known(y)):
        return len(x) == len(y) and all(is_op(ctx, a, b) is True for a, b in zip(x, y, strict=True))
    if kind_of_python(x) is not None and kind_of_python(y) is not None:
        return type(x) is type(y) and bool(x == y)
    return x is y


# --- subscripts


def get_item_op(ctx: Context, x: Any, key: Any) -> Any:
    """Return `x[key]` of any value."""
    if isinstance(x, External) and isinstance(x.thing, list | dict):
        return _external_item(ctx, x, key)
    if isinstance(x, Record | External):
        found = special_method(ctx, x, "__getitem__")
        if found is None:
            raise TypeError(f"'{type_name(ctx, x)}' object is not subscriptable")
        return ctx.call(found, [key])
    return get_item(ctx, x, key)


def _external_item(ctx: Context, x: External, key: Any) -> Any:
    """Return an item of a list or dict read from outside: only that item is guarded or a hidden input."""
    key = static_key(ctx, key, "the index of a list" if isinstance(x.thing, list) else "the key of a dict")
    if isinstance(key, slice):
        return get_item(ctx, opened(ctx, x), key)
    found = x.thing[key]
    if isinstance(x.thing, list) and key < 0:
        outside_of(ctx).guard(x.source, "length", len(x.thing))
        key += len(x.thing)
    return outside_of(ctx).read(found, (*x.source, ("item", key)))


def set_item_op(ctx: Context, x: Any, key: Any, value: Any) -> None:
    """Do `x[key] = value` for any value."""
    if isinstance(x, Record | External):
        found = special_method(ctx, x, "__setitem__")
        if found is not None:
            ctx.call(found, [key, value])
            return
        if isinstance(x, Record):
            raise TypeError(f"'{type_name(ctx, x)}' object does not support item assignment")
    set_item(ctx, x, key, value)


__all__ += ["both", "either", "is_object", "type_name"]


# --- the operators as methods: x.__add__(y), super().__setitem__(k, v)


def _as_method(function: Callable[..., Any], *first: Any) -> Callable[..., Any]:
    def call(ctx: Context, x: Any, *args: Any) -> Any:
        return function(ctx, *first, x, *args)

    return call


def _reflected(op: str) -> Callable[..., Any]:
    def call(ctx: Context, x: Any, y: Any) -> Any:
        return binary_op(ctx, op, y, x)

    return call


def _inplace(op: str) -> Callable[..., Any]:
    def call(ctx: Context, x: Any, y: Any) -> Any:
        return binary_op(ctx, op, x, y, True)

    return call


def _register_methods(*kinds: str) -> None:
    for kind in kinds:
        for op, name in _METHODS.items():
            METHODS[kind, f"__{name}__"] = _as_method(binary_op, op)
            METHODS[kind, f"__r{name}__"] = _reflected(op)
            METHODS[kind, f"__i{name}__"] = _inplace(op)
        for op, name in _COMPARISONS.items():
            METHODS[kind, name] = _as_method(compare_op, op)
        for op, name in {"-": "__neg__", "+": "__pos__", "~": "__invert__"}.items():
            METHODS[kind, name] = _as_method(unary_op, op)
        METHODS[kind, "__getitem__"] = get_item_op
        METHODS[kind, "__setitem__"] = set_item_op
        METHODS[kind, "__contains__"] = _as_method(lambda ctx, x, y: contains_op(ctx, y, x))
        for name, function in (
            ("__len__", len),
            ("__abs__", abs),
            ("__float__", float),
            ("__int__", int),
            ("__bool__", bool),
        ):
            METHODS[kind, name] = _by_builtin(function)


def _by_builtin(function: Any) -> Callable[..., Any]:
    def call(ctx: Context, x: Any, *args: Any) -> Any:
        return ctx.call(function, [x, *args])

    return call


_register_methods("array", "scalar", "list", "dict")
