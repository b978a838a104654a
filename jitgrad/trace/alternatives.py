"""Numbers that may be of several types, as data decide: how they are joined, carried and taken apart.

In: numbers, `AnyOf` among them. Out: their types, the graph values that carry a number of a type, and the number that
such values are. A type is a tuple of alternatives, each a kind and a dtype. What an operator makes of such a number is
not known here: it is done once for each alternative (`Context.by_choice`).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from jitgrad.graph.ir import Value
from jitgrad.graph.ops.memory import Span, load
from jitgrad.graph.ops.shape import broadcast_to, reshape_to
from jitgrad.graph.types import BOOL, ArrayType
from jitgrad.trace.abstract import AnyOf, Cell, OneOf, Scalar
from jitgrad.trace.arrays import array_type, as_array, describe, dtype_of, is_array, is_number, kind, scalar_value
from jitgrad.trace.context import PACKED, Context, kind_of_python
from jitgrad.trace.obligations import Restart
from jitgrad.trace.python_arithmetic import mixed_dtype, numpy_flag

__all__ = [
    "NumberPart", "NumberType", "apart", "as_item", "chosen", "convertible", "given_part", "is_any_number", "item_form",
    "joined_bounds", "joined_form", "joined_type", "narrowed", "number_of", "number_parts", "number_type",
    "packed_item", "repacked", "repacked_as", "single_choices", "wants_packing",
]  # fmt: skip

NumberType: TypeAlias = tuple[tuple[str, np.dtype], ...]


@dataclass(frozen=True, slots=True)
class NumberPart:
    """One of the graph values that carry a number: "value", "numpy" or "flag" of an alternative."""

    role: str
    at: int
    type: ArrayType


def is_any_number(x: Any) -> bool:
    """Whether x is a number, of one type or of several."""
    return isinstance(x, AnyOf) or is_number(x)


def _choices(x: Any) -> tuple[Any, ...]:
    return x.choices if isinstance(x, AnyOf) else (x,)


def apart(x: Any) -> Any:
    """Return a number of the kind "mixed" as one that is NumPy's or Python's; anything else as it is."""
    if not isinstance(x, Scalar) or x.is_numpy is None:
        return x
    name = "bool" if x.value.array.dtype == np.bool_ else "float"
    return AnyOf((x.is_numpy,), (Scalar(x.value, "numpy"), Scalar(x.value, name)))


def number_type(ctx: Context, x: Any) -> NumberType:
    """Return the type of a number."""
    return tuple((kind(c), dtype_of(ctx, c)) for c in _choices(x))


def joined_type(types: Iterable[NumberType]) -> NumberType:
    """Return the type of a number that has one of several types, as data decide.

    Python's and NumPy's numbers of one dtype are one alternative, of the kind "mixed", where there is such a kind.
    """
    found = list(dict.fromkeys(t for alternatives in types for t in alternatives))
    for dtype in dict.fromkeys(d for _, d in found):
        alike = [t for t in found if t[1] == dtype]
        if len(alike) > 1 and mixed_dtype(alike) is not None:
            found[found.index(alike[0])] = ("mixed", dtype)
            found = list(dict.fromkeys(t for t in found if t not in alike or t[0] == "mixed"))
    return tuple(found)


def number_parts(t: NumberType) -> list[NumberPart]:
    """Return the parts of a number of a type, in a fixed order."""
    parts = [NumberPart("value", k, ArrayType(dtype)) for k, (_, dtype) in enumerate(t)]
    parts += [NumberPart("numpy", k, BOOL) for k, (name, _) in enumerate(t) if name == "mixed"]
    return parts + [NumberPart("flag", k, BOOL) for k in range(len(t) - 1)]


def number_of(t: NumberType, values: Sequence[Value], low: int | None = None, high: int | None = None) -> Any:
    """Return the number that the values of its parts carry; the bounds are those of an int."""
    held: dict[tuple[str, int], Value] = {}
    for part, value in zip(number_parts(t), values, strict=True):
        held[part.role, part.at] = value
    choices = tuple(
        Scalar(held["value", k], name, is_numpy=held.get(("numpy", k)))
        if name != "int"
        else Scalar(held["value", k], name, low, high)
        for k, (name, _) in enumerate(t)
    )
    return choices[0] if len(t) == 1 else AnyOf(tuple(held["flag", k] for k in range(len(t) - 1)), choices)


def _stands_for(ctx: Context, choice: Any, wanted: tuple[str, np.dtype]) -> bool:
    """Whether a number of one type is of an alternative."""
    name, dtype = wanted
    if kind(choice) == name:
        return dtype_of(ctx, choice) == dtype
    return name == "mixed" and dtype_of(ctx, choice) == dtype and kind(choice) in ("bool", "float", "numpy")


def given_part(ctx: Context, x: Any, t: NumberType, part: NumberPart) -> Value | None:
    """Return a part of a number x as one of type t, which holds its own; None where x is never that alternative."""
    choices = _choices(x)
    at = next((i for i, c in enumerate(choices) if _stands_for(ctx, c, t[part.at])), None)
    if part.role == "flag":
        return ctx.constant(False, np.bool_) if at is None else _flag(ctx, x, at)
    if at is None:
        return None
    if part.role == "numpy":
        return numpy_flag(ctx, choices[at])
    return scalar_value(ctx, choices[at], t[part.at][1])


def _flag(ctx: Context, x: Any, at: int) -> Value:
    """Return whether a number is its choice `at`, as a bool value."""
    if not isinstance(x, AnyOf):
        return ctx.constant(True, np.bool_)
    if at < len(x.flags):
        return x.flags[at]
    found = x.flags[0]
    for flag in x.flags[1:]:
        found = ctx.g.logical_or(found, flag)
    made: Value = ctx.g.logical_not(found)
    return made


def chosen(ctx: Context, cond: Value, x: Any, y: Any) -> Any:
    """Return the number `x if cond else y`; what only one of them can be stays as it is."""
    g = ctx.g
    t = joined_type([number_type(ctx, x), number_type(ctx, y)])
    made: list[Value] = []
    for part in number_parts(t):
        a, b = given_part(ctx, x, t, part), given_part(ctx, y, t, part)
        if part.role == "flag" and not isinstance(x, AnyOf) and not isinstance(y, AnyOf):
            # Two alternatives, one each: that of x comes first.
            made.append(cond)
        elif a is None or b is None:
            only = b if a is None else a
            assert only is not None
            made.append(only)
        else:
            made.append(a if a is b else g.select(cond, a, b))
    found = number_of(t, made, *joined_bounds([c for v in (x, y) for c in _choices(v) if kind(c) == "int"]))
    if not isinstance(found, AnyOf):
        return found
    choices = []
    for k, choice in enumerate(found.choices):
        own = [c for v in (x, y) for c in _choices(v) if _stands_for(ctx, c, t[k])]
        choices.append(own[0] if len(own) == 1 and t[k][0] != "mixed" else choice)
    return AnyOf(found.flags, tuple(choices))


def joined_bounds(values: Sequence[Any]) -> tuple[int | None, int | None]:
    """Return bounds of a Python int that is one of several."""
    lows = [v.low if isinstance(v, Scalar) else v for v in values]
    highs = [v.high if isinstance(v, Scalar) else v for v in values]
    known = [b for b in (*lows, *highs) if type(b) is int]
    if not values or len(known) < 2 * len(values):
        return None, None
    return min(known), max(known)


def narrowed(ctx: Context, x: Any, t: NumberType) -> Any:
    """Return a number that surely has a type of one alternative as such; as it is where t has several."""
    if len(t) > 1 or not isinstance(x, AnyOf | Scalar):
        return x
    name, dtype = t[0]
    for choice in _choices(x):
        if (kind(choice), dtype_of(ctx, choice)) == t[0]:
            return choice
        if kind(choice) == "mixed" and name != "mixed" and dtype_of(ctx, choice) == dtype:
            return Scalar(choice.value, name)
    return x


def single_choices(ctx: Context, x: Any) -> Iterator[tuple[Value | None, str, Value]]:
    """Yield (whether it is this one, kind, value) for all types that a number can have; the last has no flag."""
    for at, choice in enumerate(_choices(x)):
        flag = None if at == len(_choices(x)) - 1 else _flag(ctx, x, at)
        value = scalar_value(ctx, choice)
        if not isinstance(choice, Scalar) or choice.is_numpy is None:
            yield flag, kind(choice), value
            continue
        is_numpy = choice.is_numpy if flag is None else ctx.g.logical_and(flag, choice.is_numpy)
        yield is_numpy, "numpy", value
        yield flag, "bool" if value.array.dtype == np.bool_ else "float", value


# --- items of lists that grow

_PACKED_ITEM = ArrayType(np.dtype(np.float64), (2,))
# Of no list of ints, so that one path's places are never taken for another's numbers.
_OBJECT_ITEM = ArrayType(np.dtype(np.int64), (1,))
_EXACT = 2**53


def item_form(ctx: Context, x: Any) -> tuple[str, ArrayType] | None:
    """Return the kind and the type that items like x have in a list that grows, None where there are none."""
    if is_array(x):
        return "array", array_type(ctx, x)
    if not is_any_number(x):
        return ("object", _OBJECT_ITEM) if all(map(_is_plain_object, _ways(x))) else None
    if isinstance(x, AnyOf) or kind(x) == "mixed":
        kinds = [name for name in ("either", "number") if _packs(ctx, x, name)]
        return (kinds[0], _PACKED_ITEM) if kinds else None
    return kind(x), array_type(ctx, x)


def _ways(x: Any) -> tuple[Any, ...]:
    return x.choices if isinstance(x, OneOf) else (x,)


def _is_plain_object(x: Any) -> bool:
    """Whether x is a known thing of which a list that grows has the place in a table."""
    return x is None or isinstance(x, str | bytes | enum.Enum)


def _object_item(ctx: Context, x: Any) -> Value:
    """Return the place of a known thing in the table, of one of several that of the one which it is."""
    places = [ctx.place_of(choice) for choice in _ways(x)]
    made = ctx.constant(places[-1], np.int64)
    for flag, place in reversed(list(zip(getattr(x, "flags", ()), places, strict=False))):
        made = ctx.g.select(flag, ctx.constant(place, np.int64), made)
    return reshape_to(ctx.g, made, (1,))


def joined_form(
    ctx: Any, items: Sequence[Any], *forms: tuple[str, ArrayType] | None, cell: Cell | None = None
) -> tuple[str, ArrayType] | None:
    """Return the form of the items of a list, others of which have forms; None where they have not one."""
    found = {*forms, *(item_form(ctx, x) for x in items)}
    wanted = [] if cell is None else [n for n in PACKED if (("packed", n), cell.site) in ctx.obligations.tagged]
    if len(found) == 1 and not (wanted and is_any_number(next(iter(items), None))):
        return found.pop()
    for name in wanted[-1:] or PACKED:
        alike = all(form is not None and (name, form[0]) in _PACKING and _is_double(form) for form in forms)
        if alike and all(_packs(ctx, x, name) for x in items):
            return name, _PACKED_ITEM
    return found.pop() if len(found) == 1 else None


def wants_packing(ctx: Any, cell: Cell, before: tuple[str, ArrayType], item: Any) -> Restart | None:
    """Return what begins the trace again with a list of numbers of several kinds, for one that is to hold another."""
    for name in PACKED:
        fits = ((name, before[0]) in _PACKING and _is_double(before)) or (name, before[0]) == ("number", "int")
        key = (("packed", name), cell.site)
        if cell.site is not None and fits and _packs(ctx, item, name):
            return None if key in ctx.obligations.tagged else Restart({key}, "a list holds numbers of several kinds")
    return None


# Packed kinds, each with those of lists that can become one.
_PACKING = {(name, of) for name in PACKED for of in (name, "either", "float", "numpy")}


def _is_double(form: tuple[str, ArrayType]) -> bool:
    return form[1] == (_PACKED_ITEM if form[0] in PACKED else ArrayType(np.dtype(np.float64)))


def repacked(ctx: Context, items: Value, before: str, after: str) -> Value:
    """Return a list of numbers of one kind as one of a packed kind, or of the same kind as it is."""
    if before == after or before in PACKED:
        # The places of the kinds are the same in all that are packed.
        return items
    g = ctx.g
    count = g.list_length(items)
    numbers = g.list_to_array(items, count)
    codes = broadcast_to(g, ctx.constant(float(PACKED[after].index(before)), np.float64), numbers.shape)
    parts = [reshape_to(g, v, (numbers.shape[0], 1)) for v in (numbers, codes)]
    made: Value = g.list_from_array(g.concatenate(*parts, axis=1))
    return made


def repacked_as(ctx: Context, numbers: Value, items: Value) -> Value:
    """Return numbers as an array of what a list of a packed kind holds, each of the kind of that list's item."""
    g = ctx.g
    count = numbers.shape[0]
    packed = g.list_to_array(items, ctx.dim(count))
    codes = load(g, packed, [Span(0, 1, packed.shape[0]), Span(1, 1, 1)])
    made: Value = g.concatenate(reshape_to(g, numbers, (count, 1)), reshape_to(g, codes, (count, 1)), axis=1)
    return made


def _packs(ctx: Context, x: Any, name: str) -> bool:
    """Whether a number can be an item of a list of a packed kind: as its value and the place of its own kind."""
    if not is_any_number(x):
        return False
    for choice in _choices(apart(x) if not isinstance(x, AnyOf) else x):
        if kind(choice) == "int" and name == "number":
            low, high = (choice.low, choice.high) if isinstance(choice, Scalar) else (choice, choice)
            if low is None or high is None or low < -_EXACT or high > _EXACT:
                return False
        elif kind(choice) not in ("float", "numpy", "mixed") or dtype_of(ctx, choice) != np.float64:
            return False
    return True


def as_item(ctx: Context, x: Any, name: str, element: ArrayType) -> Value | None:
    """Return what a list that grows holds for an item, None where x is not of the list's kind."""
    if name in PACKED:
        return _pack(ctx, x) if _packs(ctx, x, name) else None
    form = item_form(ctx, x)
    if form is None or form[0] in PACKED or (form[0] == "object") != (name == "object"):
        return None
    return _object_item(ctx, x) if name == "object" else as_array(ctx, x, element.dtype)


def packed_item(ctx: Context, cell: Cell, x: Any) -> Value:
    """Return what a list of a packed kind, or of known things, holds for an item.

    Raises
    ------
    UnsupportedError
        JG221.
    """
    name = ctx.list_kinds[cell]
    made = as_item(ctx, x, name, _PACKED_ITEM)
    if made is None:
        of = f"{' and '.join(PACKED[name])} numbers" if name in PACKED else "texts, None and the like"
        raise ctx.error("JG221", what=f"appending {describe(x)} to a list of {of}")
    return made


def _pack(ctx: Context, x: Any) -> Value:
    g, f64 = ctx.g, np.dtype(np.float64)
    code: Value | None = None
    for flag, name, _ in reversed(list(single_choices(ctx, x))):
        own = ctx.constant(PACKED["number"].index(name), f64)
        code = own if code is None else g.select(flag, own, code)
    assert code is not None
    parts = [g.reshape(v, shape=(1,)) for v in (scalar_value(ctx, x, f64), code)]
    made: Value = g.concatenate(*parts, axis=0)
    return made


# Python's numbers, each of which can stand as the next.
_ORDER = ["bool", "int", "float", "complex"]


def convertible(entry: Any, before: tuple[str, Any], after: tuple[str, Any]) -> bool:
    """Whether a number at entry can stand as the type of later trips without another value."""
    if before[0] not in _ORDER:
        return False
    if after[0] in _ORDER and _ORDER.index(after[0]) < _ORDER.index(before[0]):
        return False
    if after[0] == "mixed":
        return False
    if kind_of_python(entry) is not None:
        with np.errstate(all="ignore"):
            # Beside an array Python's number would be rounded to its type.
            return bool(np.asarray(entry).astype(after[1]).item() == entry)
    return before[1].kind in "bi" and after[1] == np.float64
