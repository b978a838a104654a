"""Functions of `operator`, `functools`, `copy`, `dataclasses`, `typing`, `time` and `random`.

In: abstract arguments. Out: abstract values. What reads a clock, a random generator or the environment is refused by
name: it is never a constant.
"""

from __future__ import annotations

import collections
import copy
import dataclasses
import functools
import operator
import random
import sys
import time
import types
import typing
from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.trace.abstract import BoundMethod, Cell, DictRef, External, ListRef, Record, Ref, TaggedRef
from jitgrad.trace.algorithms.containers import DefaultDict, Deque, Ordered
from jitgrad.trace.arrays import as_array
from jitgrad.trace.attributes import attribute, opened
from jitgrad.trace.builtins import new_dict, pairs_of
from jitgrad.trace.calls import HANDLERS, PURE, Native, class_of, handles, is_known, outside_of
from jitgrad.trace.columns import content_of, is_grown, leaves_of_list
from jitgrad.trace.comparisons import compare_op, contains_op, is_op
from jitgrad.trace.context import Context
from jitgrad.trace.grown_lists import copied_list
from jitgrad.trace.iteration import sequence_of
from jitgrad.trace.operators import binary_op, get_item_op, set_item_op, unary_op
from jitgrad.trace.python_numbers import truth_value
from jitgrad.trace.subscripts import new_list

__all__ = ["copied", "dispatcher", "random_method"]

# --- operator

_BINARY = {
    "add": "+", "sub": "-", "mul": "*", "truediv": "/", "floordiv": "//", "mod": "%", "pow": "**", "matmul": "@",
    "and_": "&", "or_": "|", "xor": "^", "lshift": "<<", "rshift": ">>",
}  # fmt: skip
_COMPARE = {"lt": "<", "le": "<=", "eq": "==", "ne": "!=", "gt": ">", "ge": ">="}


def _binary(symbol: str, inplace: bool) -> Callable[..., Any]:
    def call(ctx: Context, a: Any, b: Any, /) -> Any:
        return binary_op(ctx, symbol, a, b, inplace)

    return call


def _compare(symbol: str) -> Callable[..., Any]:
    def call(ctx: Context, a: Any, b: Any, /) -> Any:
        return compare_op(ctx, symbol, a, b)

    return call


def _unary(symbol: str) -> Callable[..., Any]:
    def call(ctx: Context, a: Any, /) -> Any:
        return unary_op(ctx, symbol, a)

    return call


for _name, _symbol in _BINARY.items():
    HANDLERS[getattr(operator, _name)] = _binary(_symbol, False)
    HANDLERS[getattr(operator, f"i{_name.rstrip('_')}")] = _binary(_symbol, True)
for _name, _symbol in _COMPARE.items():
    HANDLERS[getattr(operator, _name)] = _compare(_symbol)
for _name, _symbol in {"neg": "-", "pos": "+", "invert": "~"}.items():
    HANDLERS[getattr(operator, _name)] = _unary(_symbol)


@handles(operator.abs)
def _abs(ctx: Context, a: Any, /) -> Any:
    return ctx.call(abs, [a])


@handles(operator.truth)
def _truth(ctx: Context, a: Any, /) -> Any:
    return truth_value(ctx, a)


@handles(operator.not_)
def _not(ctx: Context, a: Any, /) -> Any:
    flag = truth_value(ctx, a)
    return not flag if isinstance(flag, bool) else compare_op(ctx, "==", flag, False)


@handles(operator.is_)
def _is(ctx: Context, a: Any, b: Any, /) -> Any:
    return is_op(ctx, a, b)


@handles(operator.contains)
def _contains(ctx: Context, a: Any, b: Any, /) -> Any:
    return contains_op(ctx, b, a)


@handles(operator.getitem)
def _getitem(ctx: Context, a: Any, b: Any, /) -> Any:
    return get_item_op(ctx, a, b)


@handles(operator.setitem)
def _setitem(ctx: Context, a: Any, b: Any, c: Any, /) -> None:
    set_item_op(ctx, a, b, c)


@handles(operator.index)
def _index(ctx: Context, a: Any, /) -> Any:
    return a.__index__() if is_known(a) else ctx.call(int, [a])


def _get_items(ctx: Context, keys: tuple[Any, ...], x: Any) -> Any:
    found = tuple(get_item_op(ctx, x, k) for k in keys)
    return found[0] if len(found) == 1 else found


def _get_attributes(ctx: Context, names: tuple[str, ...], x: Any) -> Any:
    found = []
    for name in names:
        value = x
        for part in name.split("."):
            value = attribute(ctx, value, part)
        found.append(value)
    return found[0] if len(found) == 1 else tuple(found)


def _call_method(ctx: Context, bound: Any, x: Any) -> Any:
    name, args, kwargs = bound
    return ctx.call(attribute(ctx, x, name), list(args), dict(kwargs))


_GET_ITEMS, _GET_ATTRIBUTES, _CALL_METHOD = Native(_get_items), Native(_get_attributes), Native(_call_method)


@handles(operator.itemgetter)
def _itemgetter(ctx: Context, *keys: Any) -> Any:
    return BoundMethod(_GET_ITEMS, keys)


@handles(operator.attrgetter)
def _attrgetter(ctx: Context, *names: Any) -> Any:
    return BoundMethod(_GET_ATTRIBUTES, names)


@handles(operator.methodcaller)
def _methodcaller(ctx: Context, name: str, /, *args: Any, **kwargs: Any) -> Any:
    return BoundMethod(_CALL_METHOD, (name, args, tuple(kwargs.items())))


# --- functools


def _run_partial(ctx: Context, bound: Any, *args: Any, **kwargs: Any) -> Any:
    function, first, named = bound
    return ctx.call(function, [*first, *args], dict(named) | kwargs)


_PARTIAL = Native(_run_partial)


@handles(functools.partial)
def _partial(ctx: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
    # The arguments are the bound object, so that the arrays among them are seen by whoever asks what is alive.
    return BoundMethod(_PARTIAL, (function, args, tuple(kwargs.items())))


@handles(functools.reduce)
def _reduce(ctx: Context, function: Any, iterable: Any, *initial: Any) -> Any:
    items = [*initial, *sequence_of(ctx, iterable)]
    if not items:
        raise TypeError("reduce() of empty iterable with no initial value")
    made = items[0]
    for item in items[1:]:
        made = ctx.call(function, [made, item])
    return made


_DISPATCHES = functools.singledispatch(len).__code__  # type: ignore[attr-defined]


def dispatcher(function: Any) -> Callable[..., Any] | None:
    """Return the meaning of a function under `functools.singledispatch`, None for others."""
    if getattr(function, "__code__", None) is not _DISPATCHES:
        return None

    def call(ctx: Context, *args: Any, **kwargs: Any) -> Any:
        if not args:
            raise TypeError(f"{function.__name__} requires at least 1 positional argument")
        chosen = function.dispatch(class_of(ctx, args[0]))
        outside_of(ctx).guard(("object", function, ("attr", "registry")), "length", len(function.registry))
        for cls, own in function.registry.items():
            outside_of(ctx).guard(("object", function, ("attr", "registry"), ("item", cls)), "is", own)
        return ctx.call(chosen, list(args), kwargs)

    return call


# --- copies


def copied(ctx: Context, x: Any, deep: bool, memo: dict[Any, Any] | None = None) -> Any:
    """Return a copy of an abstract value; what is inside is copied too where `deep`, once: what is shared stays so."""
    memo = {} if memo is None else memo
    if isinstance(x, External):
        x = opened(ctx, x)
    if not isinstance(x, Ref | TaggedRef | ListRef | DictRef | Record):
        if not isinstance(x, tuple) or not deep:
            return x
        items = tuple(copied(ctx, v, True, memo) for v in x)
        return items if type(x) is tuple else type(x)(*items)
    # Two views of one array are two objects.
    key = id(x) if isinstance(x, TaggedRef) or (isinstance(x, Ref) and x.view) else x.cell
    if key not in memo:
        _copy_into(ctx, x, deep, memo, key)
    return memo[key]


def _copy_into(ctx: Context, x: Any, deep: bool, memo: dict[Any, Any], key: Any) -> None:
    """Copy an array, a list, a dict or an object; it is in the memo before what is inside is copied."""

    def inner(v: Any) -> Any:
        return copied(ctx, v, True, memo) if deep else v

    if isinstance(x, Ref | TaggedRef):
        memo[key] = ctx.fresh(as_array(ctx, x))
        return
    content = content_of(ctx, x.cell) if isinstance(x, ListRef) else ctx.heap[x.cell]
    if not isinstance(content, tuple):
        made = memo[key] = copied_list(ctx, x.cell)
        if deep:
            for leaf in (made, *leaves_of_list(ctx, made)):
                leaf.cell.arrays = None
        return
    if isinstance(x, ListRef):
        memo[key] = new_list(ctx, [])
    else:
        memo[key] = new_dict(ctx, {}) if isinstance(x, DictRef) else Record(Cell(x.cls.__name__), x.cls)
    items = tuple(inner(v) if isinstance(x, ListRef) else (v[0], inner(v[1])) for v in content)
    ctx.heap[memo[key].cell] = items


@handles(copy.copy)
def _copy(ctx: Context, x: Any) -> Any:
    return copied(ctx, x, False)


@handles(copy.deepcopy)
def _deepcopy(ctx: Context, x: Any, memo: Any = None) -> Any:
    return copied(ctx, x, True)


# --- dataclasses, collections, typing


@handles(dataclasses.fields)
def _fields(ctx: Context, x: Any) -> Any:
    return dataclasses.fields(x if isinstance(x, type) else class_of(ctx, x))


@handles(dataclasses.is_dataclass)
def _is_dataclass(ctx: Context, x: Any) -> bool:
    return dataclasses.is_dataclass(x if isinstance(x, type) else class_of(ctx, x))


@handles(dataclasses.replace)
def _replace(ctx: Context, obj: Any, /, **changes: Any) -> Any:
    cls = class_of(ctx, obj)
    for field in dataclasses.fields(cls):
        if not field.init:
            if field.name in changes:
                raise ValueError(
                    f"field {field.name} is declared with init=False, it cannot be specified with replace()"
                )
            continue
        if field.name not in changes:
            changes[field.name] = attribute(ctx, obj, field.name)
    return ctx.call(cls, [], changes)


@handles(dataclasses.asdict)
def _asdict(ctx: Context, obj: Any) -> Any:
    return new_dict(ctx, {f.name: _plain(ctx, attribute(ctx, obj, f.name)) for f in _fields(ctx, obj)})


@handles(dataclasses.astuple)
def _astuple(ctx: Context, obj: Any) -> Any:
    return tuple(attribute(ctx, obj, f.name) for f in _fields(ctx, obj))


def _plain(ctx: Context, x: Any) -> Any:
    if isinstance(x, Record) and dataclasses.is_dataclass(x.cls):
        return _asdict(ctx, x)
    if isinstance(x, ListRef) and not is_grown(ctx, x):
        return new_list(ctx, [_plain(ctx, v) for v in ctx.heap[x.cell]])
    if isinstance(x, tuple):
        return tuple(_plain(ctx, v) for v in x)
    return copied(ctx, x, True)


@handles(tuple.__new__)
def _tuple_new(ctx: Context, cls: type, iterable: Any = ()) -> Any:
    items = sequence_of(ctx, iterable)
    if cls is tuple:
        return items
    if not issubclass(cls, tuple) or not hasattr(cls, "_fields"):
        raise ctx.error("JG237", name=f"{cls.__name__}", why="a subclass of tuple that is not a NamedTuple")
    return tuple.__new__(cls, items)


@handles(typing.cast)
def _cast(ctx: Context, typ: Any, val: Any) -> Any:
    return val


@handles(collections.OrderedDict)
def _ordered(ctx: Context, *args: Any, **kwargs: Any) -> Any:
    return ctx.call(Ordered, list(args), kwargs)


@handles(types.SimpleNamespace)
def _namespace(ctx: Context, *mapping: Any, **kwargs: Any) -> Record:
    if len(mapping) > (sys.version_info >= (3, 13)):
        types.SimpleNamespace(*mapping)  # raises, in Python's words
    made = Record(Cell("namespace"), types.SimpleNamespace)
    pairs = pairs_of(ctx, *mapping) if mapping else {}
    ctx.heap[made.cell] = tuple((pairs | kwargs).items())
    return made


PURE.update([dataclasses.field, typing.get_type_hints])

# --- the world outside


def _outside(name: str, what: str) -> Callable[..., Any]:
    def refuse(ctx: Context, *args: Any, **kwargs: Any) -> Any:
        raise ctx.error("JG237", name=name, why=f"{what} is never a constant; pass the number as an argument")

    return refuse


for _name in ("time", "perf_counter", "monotonic", "process_time", "sleep", "time_ns", "perf_counter_ns"):
    HANDLERS[getattr(time, _name)] = _outside(f"time.{_name}", "a clock")
for _name in (
    "random",
    "uniform",
    "gauss",
    "normalvariate",
    "randint",
    "choice",
    "shuffle",
    "seed",
    "randrange",
    "sample",
):
    HANDLERS[getattr(random, _name)] = _outside(f"random.{_name}", "a random number")
for _name in dir(np.random):
    _function = getattr(np.random, _name)
    if (
        callable(_function)
        and not _name.startswith("_")
        and _function.__hash__ is not None
        and _function not in HANDLERS
    ):
        HANDLERS[_function] = _outside(f"np.random.{_name}", "a random number")


def random_method(function: Any) -> Any:
    """Return the refusal of a method of one of NumPy's random generators, None for anything else."""
    self = getattr(function, "__self__", None)
    if isinstance(self, np.random.Generator | np.random.RandomState | random.Random):
        return _outside(f"{type(self).__name__}.{function.__name__}", "a random number")
    return None


@handles(collections.deque)
def _deque(ctx: Context, iterable: Any = (), maxlen: Any = None) -> Any:
    return ctx.call(Deque, [iterable, maxlen])


@handles(collections.defaultdict)
def _defaultdict(ctx: Context, *args: Any, **kwargs: Any) -> Any:
    return ctx.call(DefaultDict, list(args), kwargs)
