"""Comparisons, `in` and `is` of any abstract values.

In: abstract values. Out: bools where they are known, else bool Scalars, or arrays where NumPy compares element by
element. Containers compare item by item, objects of user classes by their own methods, reflected ones included.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from jitgrad.errors import UnsupportedError
from jitgrad.trace import arithmetic, arrays
from jitgrad.trace.abstract import (
    Abstract,
    AnyOf,
    DictRef,
    External,
    IndexRange,
    ListRef,
    OneOf,
    Record,
    Ref,
    Scalar,
    TaggedRef,
    Text,
)
from jitgrad.trace.algorithms import counting, ordering
from jitgrad.trace.arithmetic import PYTHON_BINARY
from jitgrad.trace.arrays import as_array, is_array, is_number, is_numeric, shape_of, truth
from jitgrad.trace.calls import class_of, is_known
from jitgrad.trace.columns import is_grown, leaves_of_list
from jitgrad.trace.context import PACKED, Context, kind_of_python
from jitgrad.trace.loop_signals import NeedUnroll
from jitgrad.trace.objects import (
    array_operand,
    as_plain_numbers,
    is_array_like,
    is_object,
    opened_container,
    seen_by,
    sequence_items,
    special_method,
    try_method,
    type_name,
)
from jitgrad.trace.places import has_places, same_item
from jitgrad.trace.subscripts import dict_key

__all__ = [
    "COMPARISON_METHODS",
    "both",
    "compare_op",
    "contains_op",
    "either",
    "equal_objects",
    "is_no_nan",
    "is_op",
    "negated",
]

COMPARISON_METHODS = {"<": "__lt__", "<=": "__le__", "==": "__eq__", "!=": "__ne__", ">": "__gt__", ">=": "__ge__"}
_SWAPPED = {"<": ">", "<=": ">=", "==": "==", "!=": "!=", ">": "<", ">=": "<="}


def compare_op(ctx: Context, op: str, x: Any, y: Any) -> Any:
    """Return `x op y` for a comparison of any two values."""
    if isinstance(x, AnyOf | OneOf) or isinstance(y, AnyOf | OneOf):
        return ctx.by_choice(partial(compare_op, ctx, op), x, y)
    if is_numeric(x) or is_numeric(y):
        x, y = as_plain_numbers(ctx, COMPARISON_METHODS[op].strip("_"), x, y)
        if is_numeric(x) and is_numeric(y):
            return arithmetic.compare(ctx, op, x, y)
    if is_object(x) or is_object(y):
        made = _compare_objects(ctx, op, x, y)
        if made is not NotImplemented:
            return made
    x, y = opened_container(ctx, x), opened_container(ctx, y)
    if is_array_like(x) or is_array_like(y):
        return _compare_array(ctx, op, x, y)
    a, b = sequence_items(ctx, x), sequence_items(ctx, y)
    if a is not None and b is not None and isinstance(x, tuple) == isinstance(y, tuple):
        return _compare_sequences(ctx, op, a, b)
    if isinstance(x, ListRef) and isinstance(y, ListRef) and x.cell is not y.cell:
        if op not in ("==", "!=") or (() not in (a, b) and any(not _kinds_of(ctx, v) <= _EXACT for v in (x, y))):
            raise ctx.error("JG220", what="a comparison of lists that grew in a loop")
        return negated(ctx, ctx.call(ordering.equal, [x, y]), op == "!=")
    if isinstance(x, DictRef) and isinstance(y, DictRef) and op in ("==", "!="):
        return negated(ctx, _equal_dicts(ctx, x, y), op == "!=")
    if isinstance(x, Text) or isinstance(y, Text):
        raise ctx.error("JG220", what="a comparison of a text with parts known only at run time")
    if is_known(x) and is_known(y):
        return PYTHON_BINARY[op](x, y)
    if op in ("==", "!="):
        same = is_op(ctx, x, y)
        return negated(ctx, same if isinstance(same, bool) else False, op == "!=")
    raise _not_ordered(ctx, op, x, y)


def _not_ordered(ctx: Context, op: str, x: Any, y: Any) -> TypeError:
    return TypeError(f"'{op}' not supported between instances of '{type_name(ctx, x)}' and '{type_name(ctx, y)}'")


def negated(ctx: Context, flag: Any, negate: bool) -> Any:
    """Return `flag != negate` of a bool or bool Scalar."""
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
    return arithmetic.compare(ctx, op, array_operand(ctx, x), array_operand(ctx, y))


def _compare_objects(ctx: Context, op: str, x: Any, y: Any) -> Any:
    cx, cy = class_of(ctx, x), class_of(ctx, y)
    tries = [(x, COMPARISON_METHODS[op], y), (y, COMPARISON_METHODS[_SWAPPED[op]], x)]
    if cx is not cy and issubclass(cy, cx):
        tries.reverse()
    for self, name, other in tries:
        made = try_method(ctx, self, name, seen_by(ctx, y, x) if other is x else other)
        if made is not NotImplemented:
            return made
    if op == "!=":
        made = _compare_objects(ctx, "==", x, y)
        return made if made is NotImplemented else negated(ctx, ctx.call(bool, [made]), True)
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
        return negated(ctx, flag, op == "!=")
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
            else either(ctx, both(ctx, equal, result), both(ctx, negated(ctx, equal, True), decided))
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
    y = opened_container(ctx, y)
    if is_object(y):
        found = special_method(ctx, y, "__contains__")
        if found is not None:
            return ctx.call(bool, [ctx.call(found, [x])])
    if is_array(y) or isinstance(y, np.ndarray):
        equal = compare_op(ctx, "==", y, x)
        value = as_array(ctx, equal)
        return Scalar(ctx.g.reduce_or(value, axes=tuple(range(value.array.rank))), "bool")
    if isinstance(y, DictRef):
        key = dict_key(ctx, x)
        return any(k == key for k, _ in ctx.heap[y.cell])
    if (isinstance(y, range | IndexRange) and isinstance(x, Scalar)) or isinstance(y, IndexRange):
        return _in_range(ctx, x, y)
    kinds = _kinds_of(ctx, y)
    if kinds and (kinds <= _EXACT or (kinds <= {*_EXACT, *_FLOATS} and is_no_nan(ctx, x))):
        return ctx.call(ordering.contains, [y, x])
    items = sequence_items(ctx, y)
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


_EXACT = frozenset({"int", "bool", "object"})
_FLOATS = frozenset({"float", "numpy", *PACKED})


def _kinds_of(ctx: Context, x: Any) -> set[str]:
    """Return of which kinds the items of a list that grows are, or their parts."""
    if not is_grown(ctx, x):
        return set()
    return {ctx.list_kinds.get(leaf.cell, "array") for leaf in leaves_of_list(ctx, x) if is_grown(ctx, leaf)}


def is_no_nan(ctx: Context, x: Any) -> bool:
    """Whether x is surely equal to itself, so that it does not matter which object it is; a NaN is refused, then."""
    if isinstance(x, tuple):
        return all(is_no_nan(ctx, v) for v in x)
    if isinstance(x, Scalar):
        if x.value.array.dtype.kind == "f":
            why = "whether it is the very object that a list holds is not known"
            ctx.refuse_unless(ctx.g.equal(x.value, x.value), "JG237", name="looking for a NaN", why=why)
        return True
    return x is None or isinstance(x, str | bytes) or (kind_of_python(x) is not None and bool(x == x))


def _in_range(ctx: Context, x: Any, y: Any) -> Any:
    step = y.step
    if isinstance(step, Scalar):
        try:
            step = ctx.note_static(step, "the step of a range")
        except (NeedUnroll, UnsupportedError):
            return ctx.call(counting.in_range, [x, y.start, y.stop, y.step])
    low, high = ("<=", "<") if step > 0 else (">=", ">")
    inside = both(ctx, compare_op(ctx, low, y.start, x), compare_op(ctx, high, x, y.stop))
    if abs(step) == 1 and arrays.kind(x) in ("int", "bool"):
        return inside
    offset = arithmetic.binary(ctx, "%", arithmetic.binary(ctx, "-", x, y.start), step)
    return both(ctx, inside, ctx.call(bool, [compare_op(ctx, "==", offset, 0)]))


def is_op(ctx: Context, x: Any, y: Any) -> Any:
    """Return `x is y`: a bool, or a bool Scalar for a run-time bool against True or False."""
    if isinstance(x, AnyOf | OneOf) or isinstance(y, AnyOf | OneOf):
        return ctx.by_choice(partial(is_op, ctx), x, y)
    if isinstance(x, bool) and isinstance(y, Scalar):
        x, y = y, x
    if isinstance(x, Scalar) and x.kind == "bool" and isinstance(y, bool):
        return x if y else Scalar(ctx.g.logical_not(x.value), "bool")
    if isinstance(x, External) and isinstance(y, External):
        return x.thing is y.thing
    if isinstance(x, Scalar) and isinstance(y, Scalar):
        return x.value is y.value and x.kind == y.kind
    if is_array(x) and is_array(y):
        return _one_array(ctx, x, y)
    if isinstance(x, ListRef | DictRef | Record) and type(x) is type(y) and x.cell is not y.cell:
        ctx.tell_apart(x.cell, y.cell)
    if isinstance(x, Abstract) or isinstance(y, Abstract):
        return type(x) is type(y) and bool(x == y)
    if isinstance(x, tuple) and isinstance(y, tuple) and not (is_known(x) and is_known(y)):
        return len(x) == len(y) and all(is_op(ctx, a, b) is True for a, b in zip(x, y, strict=True))
    if kind_of_python(x) is not None and kind_of_python(y) is not None:
        return type(x) is type(y) and bool(x == y)
    return x is y


def _one_array(ctx: Context, x: Any, y: Any) -> Any:
    """Return whether two arrays are one object."""
    if x == y:
        return True
    found: Any = False
    for i, a in enumerate(x.choices if isinstance(x, TaggedRef) else (x,)):
        for j, b in enumerate(y.choices if isinstance(y, TaggedRef) else (y,)):
            same = _one_reference(ctx, a, b)
            for z, k in ((x, i), (y, j)):
                if same is not False and isinstance(z, TaggedRef):
                    same = both(ctx, same, Scalar(ctx.g.equal(z.tag, ctx.constant(k, np.int64)), "bool"))
            found = either(ctx, found, same)
    return found


def _one_reference(ctx: Context, a: Ref, b: Ref) -> Any:
    if a.cell is not b.cell:
        ctx.tell_apart(a.cell, b.cell)
        return False
    if a != b and (a in ctx.unsure or b in ctx.unsure):
        raise ctx.error("JG236", what="whether two names are one object")
    return same_item(ctx, a, b) if has_places(a.cell) else a == b
