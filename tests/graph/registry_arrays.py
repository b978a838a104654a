"""Examples of ops that read and write parts of arrays, go along axes, or convert."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Value
from jitgrad.graph.ops.index import Pick, Span, add_to, load, store
from tests.graph.registry_base import DTYPES, FLOATS, Example, draw, layouts

__all__ = ["CONVERSIONS", "MEMORY", "REDUCE"]


def all_axes(rank: int) -> list[tuple[int, ...]]:
    return [axes for k in range(rank + 1) for axes in itertools.combinations(range(rank), k)]


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


def _scans(name: str, function: Callable[..., Any], dtypes: Sequence[str], **attrs: Any) -> list[Example]:
    return [
        Example(
            [x], lambda g, x, k=k: g.emit(name, [x], {"axis": k, **attrs}).result, lambda x, k=k: function(x, axis=k)
        )
        for d in dtypes
        for x in layouts(d)
        for k in range(x.ndim)
    ]


def _along(
    name: str, x: np.ndarray, axis: int, meaning: Callable[..., Any], smooth: bool = True, **attrs: Any
) -> Example:
    return Example([x], lambda g, x: g.emit(name, [x], {"axis": axis, **attrs}).result, meaning, smooth)


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
    "reduce_marked": [
        *_reductions("reduce_marked", lambda x, axes: np.sum(x, axis=axes, dtype=x.dtype), FLOATS, True),
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
        *_scans("argsort", lambda x, axis: np.argsort(x, axis=axis, kind="stable"), DTYPES, stable=True),
        *_scans("argsort", lambda x, axis: np.argsort(x, axis=axis), DTYPES, stable=False),
        _along("argsort", _TIED, 0, lambda x: np.argsort(x, kind="stable"), stable=True),
    ],
    "positions": [
        Example(
            [np.array(mask, bool), np.array(sum(mask))],
            lambda g, m, n: g.positions(m, n, shape=(None,)),
            lambda m, n: np.flatnonzero(m),
            smooth=False,
        )
        for mask in ([], [0], [1], [1, 0, 0, 1, 1, 0])
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
    # The zeros are products with a factor that is 0 and may move.
    "where_used": [
        Example(
            [w, x],
            lambda g, w, x: g.where_used(g.not_equal(w, 0.0), g.multiply(w, x), g.constant(0, w.array.dtype)),
            np.multiply,
        )
        for d in FLOATS
        for w, x in [(np.array([0.0, 2.0, 0.0], d), draw(d, 3)), (np.zeros((), d), draw(d))]
    ],
    "conjugate": _parts("conjugate", np.conjugate),
    "real": _parts("real", np.real),
    "imag": _parts("imag", np.imag),
}
