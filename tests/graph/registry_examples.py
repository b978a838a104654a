"""Examples of every primitive that is not elementwise: operands, how the op is built, and what it means in NumPy.

The meaning is written here a second time, independently of the declaration. `EXAMPLES` maps a primitive to its
examples; the walk in `test_registry.py` fails for a primitive that has none.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Value
from jitgrad.graph.ops.index import Pick, Span, add_to, load, store
from jitgrad.graph.ops.shape import broadcast_to, reshape_to
from jitgrad.graph.types import INT64, ArrayType, ListType

__all__ = ["EXAMPLES", "Example"]


class Example(NamedTuple):
    """One use of a primitive.

    Attributes
    ----------
    operands : list of ndarray
        Arguments of the graph.
    build : callable
        `build(g, *args) -> Value or list of Value`, the results of the graph.
    meaning : callable
        `meaning(*operands)` in NumPy: one array or a tuple.
    smooth : bool
        Whether the derivative can be had from finite differences.
    """

    operands: Sequence[Any]
    build: Callable[..., Any]
    meaning: Callable[..., Any]
    smooth: bool = True


DTYPES = ["bool", "int8", "int64", "uint8", "uint64", "float32", "float64"]
FLOATS = ["float32", "float64"]
RNG = np.random.default_rng(7)


def draw(dtype: str, *shape: int) -> np.ndarray:
    """Return numbers that are distinct where the dtype allows, of both signs where it has them."""
    size = int(np.prod(shape))
    if dtype == "bool":
        return np.asarray(RNG.random(shape) < 0.5)
    if dtype.startswith("complex"):
        return np.asarray(RNG.normal(size=shape) + 1j * RNG.normal(size=shape), dtype)
    numbers = RNG.permutation(np.arange(size) - (size // 3 if dtype[0] != "u" else 0)).reshape(shape)
    return np.asarray(numbers if dtype[0] in "iu" else numbers * 0.37 + 0.11, dtype)


def layouts(dtype: str) -> list[np.ndarray]:
    """Return arrays of many shapes and memory orders."""
    return [
        draw(dtype),
        draw(dtype, 0),
        draw(dtype, 1),
        draw(dtype, 5),
        draw(dtype, 10)[::2],
        draw(dtype, 5)[::-1],
        draw(dtype, 3, 4),
        np.asfortranarray(draw(dtype, 3, 4)),
        draw(dtype, 4, 6)[1:, ::3],
        draw(dtype, 2, 0),
        draw(dtype, 1, 3),
        draw(dtype, 2, 3, 4),
        draw(dtype, 4, 3, 2).T,
    ]


def all_axes(rank: int) -> list[tuple[int, ...]]:
    return [axes for k in range(rank + 1) for axes in itertools.combinations(range(rank), k)]


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


CONTROL = {
    "if": [Example([np.array(c), np.array(1.5)], _if, lambda c, x: x * x if c else -x) for c in (True, False)],
    "for": [Example([np.array(n), np.array(1.5)], _for, _for_meaning) for n in (0, 1, 4)],
    "while": [Example([np.array(x)], _while, _while_meaning) for x in (0.25, 11.0)],
    "check": [Example([np.array(True), np.array(1.5)], _check, lambda cond, x: x)],
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


def _reshape_runtime(g: Builder, n: Value, x: Value) -> Value:
    return reshape_to(g, x, (n, 2))


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
    "concatenate": [
        Example(xs, lambda g, *xs, k=k: g.concatenate(*xs, axis=k), lambda *xs, k=k: np.concatenate(xs, axis=k))
        for d in DTYPES
        for xs, k in [
            ([draw(d, 2), draw(d, 3)[::-1]], 0),
            ([draw(d, 2, 3), draw(d, 2, 1), draw(d, 2, 0)], 1),
            ([draw(d, 1, 2)], 0),
        ]
    ],
    "iota": [
        Example([np.array(n)], _iota(d), lambda n, d=d: np.arange(n, dtype=d), smooth=False)
        for d in ("int64", "int32", "float64")
        for n in (0, 1, 5)
    ],
    "undef": [Example([draw(d, 3)], _undef, lambda x: x) for d in DTYPES],
}

# --- matrix products

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

# --- memory

_PARTS: list[tuple[tuple[int, ...], list[Any], tuple[Any, ...]]] = [
    ((), [], ()),
    ((5,), [Pick(3)], (3,)),
    ((5,), [Span(1, 1, 3)], (slice(1, 4),)),
    ((5,), [Span(4, -2, 3)], (slice(4, None, -2),)),
    ((5,), [Span(4, -1, 0)], (slice(0, 0),)),
    ((3, 4), [Pick(1), Span(0, 2, 2)], (1, slice(0, 4, 2))),
    ((3, 4), [Span(0, 1, 3), Pick(2)], (slice(None), 2)),
    ((3, 4), [Span(2, -1, 3), Span(3, -1, 4)], (slice(None, None, -1), slice(None, None, -1))),
    ((2, 3, 4), [Span(0, 1, 2), Pick(0), Span(1, 1, 2)], (slice(None), 0, slice(1, 3))),
]


def _replaced(a: np.ndarray, v: np.ndarray, where: Any, add: bool) -> np.ndarray:
    a = a.copy()
    if add:
        np.add.at(a, where, v)
    else:
        a[where] = v
    return a


def _put(build: Callable[..., Value], add: bool) -> list[Example]:
    return [
        Example(
            [draw(d, *shape), draw(d, *shape)[where]],
            lambda g, a, v, index=index: build(g, a, v, index),
            lambda a, v, where=where: _replaced(a, v, where, add),
        )
        for d in ("int64", *FLOATS)
        for shape, index, where in _PARTS
    ]


def _load_runtime(g: Builder, a: Value, i: Value, n: Value) -> Value:
    return load(g, a, [Pick(i), Span(0, 1, n)])


_GATHERS: list[tuple[tuple[int, ...], list[Any]]] = [
    ((5,), [[3, 0, 0, 4]]),
    ((5,), [2]),
    ((5,), [[[1, 2], [3, 1]]]),
    ((3, 4), [[2, 0, 2]]),
    ((3, 4), [[0, 2], [3, 1]]),
    ((3, 4), [[[0], [2]], [3, 1, 1]]),
    ((3, 4), [np.zeros(0, np.int64)]),
]


def _indices(raw: list[Any]) -> list[np.ndarray]:
    return [np.asarray(i, dtype=np.int64) for i in raw]


def _scatters(name: str, add: bool) -> list[Example]:
    made = []
    for d in ("int64", *FLOATS):
        for shape, raw in _GATHERS:
            indices = _indices(raw)
            v = draw(d, *draw(d, *shape)[tuple(indices)].shape)
            made.append(
                Example(
                    [draw(d, *shape), v, *indices],
                    lambda g, a, v, *i: g.emit(name, [a, v, *i]).result,
                    lambda a, v, *i: _replaced(a, v, i, add),
                )
            )
    return made


MEMORY = {
    "load": [
        Example([x], lambda g, a, i=index: load(g, a, i), lambda a, w=where: a[w])
        for d in DTYPES
        for shape, index, where in _PARTS[1:]
        for x in (draw(d, *shape), np.asfortranarray(draw(d, *shape)))
    ]
    + [
        Example([draw("float64", 3, 4), np.array(i), np.array(n)], _load_runtime, lambda a, i, n: a[int(i), : int(n)])
        for i, n in [(0, 4), (2, 1), (1, 0)]
    ],
    "store": _put(store, False),
    "addto": _put(add_to, True),
    "gather": [
        Example([draw(d, *shape), *_indices(raw)], lambda g, a, *i: g.gather(a, *i), lambda a, *i: a[i])
        for d in DTYPES
        for shape, raw in _GATHERS
    ],
    "scatter": _scatters("scatter", False),
    "scatter_add": _scatters("scatter_add", True),
}

# --- reductions and scans


def _reductions(name: str, function: Callable[..., Any], dtypes: Sequence[str], empty: bool) -> list[Example]:
    return [
        Example(
            [x],
            lambda g, x, axes=axes: g.emit(name, [x], {"axes": axes}).result,
            lambda x, axes=axes: function(x, axes),
        )
        for d in dtypes
        for x in layouts(d)
        for axes in all_axes(x.ndim)[-3:]
        if empty or x.size
    ]


def _extremum(function: Callable[..., Any]) -> list[Example]:
    name = {np.max: "reduce_max", np.min: "reduce_min"}[function]
    made = _reductions(name, lambda x, axes: function(x, axis=axes), DTYPES, False)
    nan = np.array([[1.0, np.nan, 3.0], [np.nan, 0.0, np.nan], [2.0, 2.5, 1.5]])
    for x in (nan, nan.T, nan.astype(np.float32), np.array([1.0, -np.inf, np.inf]), np.array([-0.0, 0.0])):
        made.append(
            Example(
                [x],
                lambda g, x: g.emit(name, [x], {"axes": (x.array.rank - 1,)}).result,
                lambda x: function(x, axis=-1),
                smooth=False,
            )
        )
    return made


def _args(function: Callable[..., Any]) -> list[Example]:
    nan = np.array([[1.0, np.nan, 3.0, np.nan], [2.0, 2.0, 2.0, 2.0]])
    arrays = [x for d in DTYPES for x in layouts(d) if x.size and x.ndim] + [nan, nan.astype(np.float32)]
    return [
        Example(
            [x],
            lambda g, x, k=k: g.emit(function.__name__, [x], {"axis": k}).result,
            lambda x, k=k: function(x, axis=k),
        )
        for x in arrays
        for k in range(x.ndim)
    ]


def _scans(name: str, function: Callable[..., Any], dtypes: Sequence[str]) -> list[Example]:
    return [
        Example([x], lambda g, x, k=k: g.emit(name, [x], {"axis": k}).result, lambda x, k=k: function(x, axis=k))
        for d in dtypes
        for x in layouts(d)
        for k in range(x.ndim)
    ]


def _along(name: str, x: np.ndarray, axis: int, meaning: Callable[..., Any], smooth: bool = True) -> Example:
    return Example([x], lambda g, x: g.emit(name, [x], {"axis": axis}).result, meaning, smooth)


def _runtime_scan(name: str, function: Callable[..., Any], size: int) -> Example:
    """A scan of as many elements as an operand says."""

    def build(g: Builder, x: Value, n: Value) -> Value:
        part = load(g, x, [Span(0, 1, n)])
        made: Value = g.reduce_sum(g.multiply(part, g.emit(name, [part], {"axis": 0}).result), axes=(0,))
        return made

    return Example(
        [draw("float64", 5), np.array(size)], build, lambda x, n: np.sum(x[: int(n)] * function(x[: int(n)]))
    )


_ZEROS = np.array([[2.0, 0.0, 3.0, 4.0], [0.0, 2.0, 0.0, 3.0], [1.5, 2.5, 0.5, 3.0]])
_TIED = np.array([2.0, 1.0, 2.0, np.nan, -1.0, 1.0, -np.inf, np.inf])

REDUCE = {
    "reduce_sum": [
        *_reductions("reduce_sum", lambda x, axes: np.sum(x, axis=axes, dtype=x.dtype), [*DTYPES, "complex128"], True),
    ],
    "reduce_prod": [
        *_reductions("reduce_prod", lambda x, axes: np.prod(x, axis=axes, dtype=x.dtype), DTYPES, True),
        Example([_ZEROS], lambda g, x: g.reduce_prod(x, axes=(1,)), lambda x: np.prod(x, axis=1)),
    ],
    "reduce_max": _extremum(np.max),
    "reduce_min": _extremum(np.min),
    "reduce_and": _reductions("reduce_and", lambda x, axes: np.all(x, axis=axes), ["bool"], True),
    "reduce_or": _reductions("reduce_or", lambda x, axes: np.any(x, axis=axes), ["bool"], True),
    "norm2": [
        e._replace(smooth=bool(e.operands[0].size and np.all(e.meaning(*e.operands))))
        for e in _reductions("norm2", lambda x, axes: np.sqrt(np.sum(x**2, axis=axes)), FLOATS, True)
    ],
    "argmax": _args(np.argmax),
    "argmin": _args(np.argmin),
    "cumsum": [
        *_scans("cumsum", lambda x, axis: np.cumsum(x, axis=axis, dtype=x.dtype), DTYPES),
        *(_runtime_scan("cumsum", np.cumsum, n) for n in (0, 1, 4)),
    ],
    "cumprod": [
        *_scans("cumprod", lambda x, axis: np.cumprod(x, axis=axis, dtype=x.dtype), DTYPES),
        _along("cumprod", _ZEROS, 1, lambda x: np.cumprod(x, axis=1)),
        _along("cumprod", _ZEROS, 0, lambda x: np.cumprod(x, axis=0)),
    ],
    "sort": [
        *_scans("sort", lambda x, axis: np.sort(x, axis=axis), DTYPES),
        _along("sort", _TIED, 0, np.sort, smooth=False),
        _runtime_scan("sort", np.sort, 4),
    ],
    "argsort": [
        *_scans("argsort", lambda x, axis: np.argsort(x, axis=axis, kind="stable"), DTYPES),
        _along("argsort", _TIED, 0, lambda x: np.argsort(x, kind="stable")),
    ],
}

# --- elementwise ops that are no ufuncs

_SPECIAL = np.array([0.0, -0.0, 1.5, -2.5, 100.0, 0.4])


def _parts(name: str, function: Callable[..., Any]) -> list[Example]:
    return [
        Example([x], lambda g, x: g.emit(name, [x]).result, function, smooth=d[0] == "f")
        for d in ("int64", "float32", "float64", "complex64", "complex128")
        for x in (draw(d, 2, 3), draw(d), draw(d, 0))
    ]


CONVERSIONS = {
    "cast": [
        Example([x], lambda g, x, t=t: g.cast(x, dtype=np.dtype(t)), lambda x, t=t: x.astype(t))
        for d in DTYPES
        for t in [*DTYPES, "complex128"]
        for x in (draw(d, 7), draw(d))
    ]
    + [
        Example([_SPECIAL], lambda g, x, t=t: g.cast(x, dtype=np.dtype(t)), lambda x, t=t: x.astype(t))
        for t in ("bool", "int64", "int8", "float32")
    ]
    + [Example([draw("complex128", 3)], lambda g, x: g.cast(x, dtype=np.dtype("float64")), np.real, smooth=False)],
    "conjugate": _parts("conjugate", np.conjugate),
    "real": _parts("real", np.real),
    "imag": _parts("imag", np.imag),
}

EXAMPLES: dict[str, list[Example]] = {
    **CONTROL, **SHAPE, **LINALG, **LISTS, **MEMORY, **REDUCE, **CONVERSIONS,
}  # fmt: skip
