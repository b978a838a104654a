"""Examples of regions, shape ops, matrix products and lists."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Value
from jitgrad.graph.ops.index import Pick, Span, store
from jitgrad.graph.ops.linalg import matmul_into
from jitgrad.graph.ops.shape import broadcast_to, reshape_to, surround_by
from jitgrad.graph.types import INT64, ArrayType, ListType
from tests.graph.registry_base import DTYPES, FLOATS, Example, draw, layouts

__all__ = ["CONTROL", "LINALG", "LISTS", "SHAPE"]

# --- control


def _if(g: Builder, cond: Value, x: Value) -> Value:
    with g.region() as then:
        then.yields = [g.multiply(x, x)]
    with g.region() as other:
        other.yields = [g.negative(x)]
    made: Value = g.emit("if", [cond], regions=[then, other]).result
    return made


def _for(g: Builder, n: Value, x: Value) -> Value:
    with g.region([INT64, x.type]) as body:
        k, y = body.args
        body.yields = [g.multiply(g.add(y, g.cast(k, dtype=np.dtype(np.float64))), 0.5)]
    made: Value = g.emit("for", [n, x], regions=[body]).result
    return made


def _for_meaning(n: Any, x: Any) -> Any:
    for k in range(int(n)):
        x = (x + k) * 0.5
    return x


def _while(g: Builder, x: Value) -> Value:
    with g.region([x.type]) as cond:
        cond.yields = [g.less(cond.args[0], 10.0)]
    with g.region([x.type]) as body:
        body.yields = [g.multiply(g.add(body.args[0], 1.0), 1.5)]
    made: Value = g.emit("while", [x], regions=[cond, body]).result
    return made


def _while_meaning(x: Any) -> Any:
    while x < 10.0:
        x = (x + 1.0) * 1.5
    return x


def _check(g: Builder, cond: Value, x: Value) -> Value:
    g.emit("check", [cond, x], {"exception": ValueError, "message": "bad {}"})
    return x


def _commit(g: Builder, x: Value) -> Value:
    g.emit("commit", [x], {"arguments": (0,)})
    return x


CONTROL = {
    "if": [Example([np.array(c), np.array(1.5)], _if, lambda c, x: x * x if c else -x) for c in (True, False)],
    "for": [Example([np.array(n), np.array(1.5)], _for, _for_meaning) for n in (0, 1, 4)],
    "while": [Example([np.array(x)], _while, _while_meaning) for x in (0.25, 11.0)],
    "check": [Example([np.array(True), np.array(1.5)], _check, lambda cond, x: x)],
    "commit": [Example([draw("float64", 3)], _commit, lambda x: x, smooth=False)],
    "constant": [
        Example([], lambda g, c=c: g.constant(c), lambda c=c: c)
        for c in (np.array(2.5), np.array(True), np.array(3), draw("float32", 2, 3), draw("int8", 0))
    ],
    "call_back": [
        Example(
            [draw("float64", 3)],
            lambda g, x: g.call_back(x, function=np.flip, types=(x.type,)),
            lambda x: x[::-1],
            smooth=False,
        )
    ],
}

# --- shape


def _broadcast_runtime(g: Builder, n: Value, x: Value) -> Value:
    return broadcast_to(g, x, (n, 3))


def _concatenate_runtime(g: Builder, n: Value, a: Value, b: Value) -> Value:
    return g.concatenate(a, b, n, axis=0, shape=(None,))


def _concatenated(n: Any, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.concatenate([a, b])


def _reshape_runtime(g: Builder, n: Value, x: Value) -> Value:
    return reshape_to(g, x, (n, 2))


def _surrounded(x: np.ndarray, start: tuple[int, ...], shape: tuple[int, ...]) -> np.ndarray:
    made = np.full(shape, -0.0, x.dtype)
    made[tuple(slice(s, s + n) for s, n in zip(start, x.shape, strict=True))] = x
    return made


def _rotation(rank: int, split: int) -> tuple[int, ...]:
    return (*range(split, rank), *range(split))


def _iota(dtype: str) -> Callable[..., Value]:
    return lambda g, n: g.iota(n, dtype=np.dtype(dtype), shape=(None,))


def _undef(g: Builder, x: Value) -> Value:
    return store(g, g.undef(dtype=x.array.dtype, shape=(3,)), x, [Span(0, 1, 3)])


def _pairs() -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return [((), ()), ((), (3,)), ((1,), (4,)), ((3,), (2, 3)), ((2, 1), (2, 3)), ((1, 3, 1), (2, 3, 4)), ((1,), (0,))]


SHAPE = {
    "broadcast": [
        Example([draw(d, *a)], lambda g, x, b=b: g.broadcast(x, shape=b), lambda x, b=b: np.broadcast_to(x, b))
        for d in DTYPES
        for a, b in _pairs()
    ]
    + [
        Example([np.array(n), draw("float64", 3)], _broadcast_runtime, lambda n, x: np.broadcast_to(x, (int(n), 3)))
        for n in (0, 1, 2)
    ],
    "reshape": [
        Example([x], lambda g, x, s=s: g.reshape(x, shape=s), lambda x, s=s: np.reshape(x, s))
        for d in DTYPES
        for x, s in [
            (draw(d, 2, 3), (6,)),
            (np.asfortranarray(draw(d, 2, 3)), (3, 2)),
            (draw(d, 3, 2).T, (6, 1)),
            (draw(d, 1), ()),
            (draw(d, 0, 3), (2, 0)),
        ]
    ]
    + [Example([np.array(3), draw("float64", 6)], _reshape_runtime, lambda n, x: x.reshape(int(n), 2))],
    "transpose": [
        Example([x], lambda g, x, p=p: g.transpose(x, permutation=p), lambda x, p=p: np.transpose(x, p))
        for d in DTYPES
        for x in layouts(d)
        for p in list(itertools.permutations(range(x.ndim)))[-2:]
    ],
    "relayout": [
        Example([x], lambda g, x, k=k: g.relayout(x, split=k), lambda x, k=k: np.transpose(x, _rotation(x.ndim, k)))
        for d in DTYPES
        for x in [draw(d, 3, 2), draw(d, 17, 35), draw(d, 3, 2).T, draw(d, 2, 18, 3), draw(d, 0, 3)]
        for k in range(1, x.ndim)
    ],
    "surround": [
        Example([x], partial(surround_by, start=at, shape=shape), partial(_surrounded, start=at, shape=shape))
        for d in ("float64", "float32")
        for x, at, shape in [
            (draw(d, 3), (1,), (5,)),
            (draw(d, 3), (0,), (3,)),
            (draw(d, 2, 3), (1, 0), (4, 5)),
            (np.asfortranarray(draw(d, 2, 3)), (0, 2), (2, 5)),
            (draw(d, 0, 3), (1, 1), (2, 4)),
        ]
    ],
    "concatenate": [
        Example(xs, lambda g, *xs, k=k: g.concatenate(*xs, axis=k), lambda *xs, k=k: np.concatenate(xs, axis=k))
        for d in DTYPES
        for xs, k in [
            ([draw(d, 2), draw(d, 3)[::-1]], 0),
            ([draw(d, 2, 3), draw(d, 2, 1), draw(d, 2, 0)], 1),
            ([draw(d, 1, 2)], 0),
        ]
    ]
    + [Example([np.array(5), draw("float64", 2), draw("float64", 3)], _concatenate_runtime, _concatenated)],
    "iota": [
        Example([np.array(n)], _iota(d), lambda n, d=d: np.arange(n, dtype=d), smooth=False)
        for d in ("int64", "int32", "float64")
        for n in (0, 1, 5)
    ],
    "undef": [Example([draw(d, 3)], _undef, lambda x: x) for d in DTYPES],
}

# --- matrix products


def _into(g: Builder, a: Value, x: Value, y: Value, k: Value, onto: bool, negative: bool) -> Value:
    place = [Pick(k), Span(1, 1, x.shape[0]), Span(k, 1, y.shape[1])]
    return matmul_into(g, a, x, y, place, onto, negative)


def _product_into(a: np.ndarray, x: np.ndarray, y: np.ndarray, k: np.ndarray, onto: bool, negative: bool) -> np.ndarray:
    made = a.copy()
    part = made[int(k), 1 : 1 + len(x), int(k) : int(k) + y.shape[1]]
    part[...] = (part if onto else 0) + (-1 if negative else 1) * (x @ y)
    return made


LINALG = {
    "matmul": [
        Example([draw(d, *a), draw(d, *b)], lambda g, x, y: g.matmul(x, y), np.matmul)
        for d in FLOATS
        for a, b in [
            ((2, 3), (3, 4)),
            ((1, 3), (3, 1)),
            ((2, 0), (0, 3)),
            ((0, 2), (2, 3)),
            ((5, 2, 3), (3, 2)),
            ((2, 3), (5, 3, 2)),
            ((2, 1, 2, 3), (3, 3, 2)),
        ]
    ]
    + [
        Example(
            [draw("float64", 3, 2).T, np.asfortranarray(draw("float64", 3, 4))],
            lambda g, x, y: g.matmul(x, y),
            np.matmul,
        )
    ],
    "matmul_into": [
        Example(
            [draw(d, 4, 7, 9), turned(draw(d, *a)), turned(draw(d, *b)), np.array(2)],
            partial(_into, onto=onto, negative=negative),
            partial(_product_into, onto=onto, negative=negative),
            smooth=False,
        )
        for d in ("float64", "float32")
        for a, b in [((5, 3), (3, 4)), ((1, 3), (3, 4)), ((5, 3), (3, 1)), ((5, 1), (1, 4))]
        for onto in (False, True)
        for negative in (False, True)
        for turned in (np.asarray, np.asfortranarray)
    ],
}

# --- lists


def _to_array(g: Builder, items: Value, length: Any = 3) -> Value:
    """Return an array of a list, of a size that is known so that a cotangent can be an argument."""
    made = g.list_to_array(items, g.list_length(items))
    return reshape_to(g, made, (length, *made.shape[1:]))


def _list_empty(g: Builder, x: Value) -> Value:
    items = g.list_empty(type=ListType(ArrayType(x.array.dtype, x.shape)))
    return _to_array(g, g.list_push(g.list_push(items, x), g.multiply(x, x)), 2)


def _at(g: Builder, k: int) -> Value:
    return g.constant(np.int64(k))


def _list_set(name: str) -> Callable[..., Value]:
    def build(g: Builder, a: Value, v: Value) -> Value:
        items = g.list_from_array(a)
        return _to_array(g, g.emit(name, [items, _at(g, 1), v]).result)

    return build


def _changed(a: np.ndarray, v: np.ndarray, add: bool) -> np.ndarray:
    a = a.copy()
    a[1] = a[1] + v if add else v
    return a


def _lists(d: str) -> dict[str, list[Example]]:
    a, v = draw(d, 3, 2), draw(d, 2)
    return {
        "list_empty": [
            Example([v], _list_empty, lambda x: np.stack([x, x * x])),
            Example(
                [],
                lambda g: _to_array(g, g.list_empty(type=ListType(ArrayType(np.dtype(d), (2,)))), 0),
                lambda: np.zeros((0, 2), d),
            ),
        ],
        "list_push": [
            Example(
                [a, v],
                lambda g, a, v: _to_array(g, g.list_push(g.list_from_array(a), v), 4),
                lambda a, v: np.concatenate([a, v[None]]),
            )
        ],
        "list_pop": [
            Example([a], lambda g, a: _to_array(g, g.list_pop(g.list_from_array(a)), 2), lambda a: a[:-1]),
        ],
        "list_get": [
            Example([a], lambda g, a: g.list_get(g.list_from_array(a), _at(g, 2)), lambda a: a[2]),
            Example([v], lambda g, v: g.list_get(g.list_from_array(v), _at(g, 0)), lambda v: v[0]),
        ],
        "list_set": [Example([a, v], _list_set("list_set"), lambda a, v: _changed(a, v, False))],
        "list_addto": [Example([a, v], _list_set("list_addto"), lambda a, v: _changed(a, v, True))],
        "list_length": [Example([a], lambda g, a: g.list_length(g.list_from_array(a)), lambda a: np.int64(len(a)))],
        "list_zeros": [Example([a], lambda g, a: _to_array(g, g.list_zeros(g.list_from_array(a))), np.zeros_like)],
        "list_to_array": [Example([a], lambda g, a: _to_array(g, g.list_from_array(a)), lambda a: a)],
        "list_from_array": [
            Example([x], lambda g, x: _to_array(g, g.list_from_array(x), x.shape[0]), lambda x: x)
            for x in (draw(d, 3), draw(d, 0), draw(d, 4, 3)[::2], np.asfortranarray(draw(d, 2, 3)))
        ],
    }


LISTS = {name: [e for d in ("float64", "float32", "int64") for e in _lists(d)[name]] for name in _lists("float64")}
