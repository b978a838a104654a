"""Examples of elementwise primitives, made from what the declarations say: dtypes x shapes x memory orders.

The meaning is NumPy's (SciPy's where NumPy has none), looked up by name and not through the declaration.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy.special

from jitgrad.graph.primitive import Partials, Primitive
from tests.graph.registry_base import Example

__all__ = ["arity", "examples", "loops", "meaning", "smooth_points"]

DTYPES = [
    np.dtype(d)
    for d in (
        *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
        *("float32", "float64", "complex64", "complex128"),
    )
]
MEANINGS: dict[str, Callable[..., Any]] = {
    "select": np.where,
    "where_used": np.where,
    "clip": np.clip,
    "expit": lambda x: scipy.special.expit(x),
    "erf": lambda x: scipy.special.erf(x),
    "erfc": lambda x: scipy.special.erfc(x),
    "is_negative_zero": lambda x: np.logical_and(np.equal(x, 0), np.copysign(1, x) < 0),
}
ARITIES = {"select": 3, "where_used": 3, "clip": 3, "expit": 1, "erf": 1, "erfc": 1, "is_negative_zero": 1}
SHAPES: dict[int, list[tuple[tuple[int, ...], ...]]] = {
    1: [((),), ((0,),), ((1,),), ((7,),), ((3, 4),), ((2, 3, 2),)],
    2: [
        ((), ()),
        ((0,), (0,)),
        ((0,), (1,)),
        ((7,), (7,)),
        ((), (3,)),
        ((4,), (1,)),
        ((3, 4), (4,)),
        ((3, 1), (1, 4)),
        ((2, 3, 2), (3, 1)),
    ],
    3: [((), (), ()), ((7,), (7,), ()), ((0,), (1,), ()), ((3, 1), (4,), (3, 4)), ((2,), (3, 1), (2, 3, 2))],
}
SPECIALS = [0.0, -0.0, 1.0, -1.0, 0.5, math.inf, -math.inf, math.nan, 1e-310, -3.75, 1e30, 2.5, -2.5]


def meaning(p: Primitive) -> Callable[..., Any]:
    """Return the function of NumPy or SciPy that has the primitive's name."""
    found: Callable[..., Any] = MEANINGS.get(p.name) or getattr(np, p.name)
    return found


def arity(p: Primitive) -> int:
    """Return the number of operands."""
    function = meaning(p)
    return function.nin if isinstance(function, np.ufunc) else ARITIES[p.name]


def loops(p: Primitive) -> list[tuple[tuple[np.dtype, ...], np.dtype]]:
    """Return operand dtypes of every loop that NumPy has (for other functions: equal dtypes), and the result's."""
    function, n = meaning(p), arity(p)
    if not isinstance(function, np.ufunc):
        if p.name == "select":
            return [((DTYPES[0], d, d), d) for d in DTYPES]
        kinds = "biuf" if p.name == "clip" else "f"
        made = DTYPES[0] if p.name == "is_negative_zero" else None
        return [((d,) * n, made or d) for d in DTYPES if d.kind in kinds]
    found = []
    for dtypes in itertools.product(DTYPES, repeat=n):
        try:
            resolved = function.resolve_dtypes((*dtypes, None))
        except TypeError:
            continue
        if tuple(resolved[:-1]) == dtypes:
            found.append((dtypes, resolved[-1]))
    return found


def _numbers(p: Primitive, dtype: np.dtype, position: int, shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    size = math.prod(shape)
    if dtype.kind == "b":
        return np.asarray(rng.random(shape) < 0.5)
    if dtype.kind == "c":
        return np.asarray(rng.normal(size=shape) + 1j * rng.normal(size=shape), dtype)
    if dtype.kind == "f":
        low, high = p.domain
        numbers = rng.uniform(low, high, size)
        specials = rng.choice(SPECIALS, size)
        return np.where(rng.random(size) < 0.4, specials, numbers).reshape(shape).astype(dtype)
    info = np.iinfo(dtype)
    edges = [0, 1, 2, 3, 5, 7, 63, 64, info.max, info.max - 1]
    if dtype.kind == "i":
        edges += [-1, -2, -3, -7, info.min, info.min + 1]
    chosen = [e for e in edges if info.min <= e <= info.max]
    if p.name == "reciprocal":  # 1 / 0 is whatever the conversion of inf gives
        chosen.remove(0)
    if p.name == "power" and position == 1:
        chosen = [e for e in chosen if e >= 0]
    return np.array([chosen[k] for k in rng.integers(0, len(chosen), size)], dtype=dtype).reshape(shape)


def _layout(x: np.ndarray, k: int) -> np.ndarray:
    """Return the same numbers in another memory order."""
    if x.ndim == 0 or k % 3 == 0:
        return x
    if k % 3 == 1:
        return np.asfortranarray(x) if x.ndim > 1 else x[::-1].copy()[::-1]
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    return wide[..., ::2]


def examples(p: Primitive, rng: np.random.Generator) -> list[Example]:
    """Return examples over all loops at some shapes, and over all shapes at some loops."""
    function, n = meaning(p), arity(p)
    made: list[Example] = []
    for k, (dtypes, _) in enumerate(loops(p)):
        if not accepts(p, dtypes):
            continue
        everywhere = dtypes[-1].name in ("float64", "int64") and len(set(dtypes[-2:])) == 1
        for j, shapes in enumerate(SHAPES[n] if everywhere else [SHAPES[n][3 % len(SHAPES[n])]]):
            xs = [
                _layout(_numbers(p, d, i, s, rng), i + j + k)
                for i, (d, s) in enumerate(zip(dtypes, shapes, strict=True))
            ]
            made.append(Example(xs, lambda g, *xs: g.emit(p.name, xs).result, function))
    return made


def accepts(p: Primitive, dtypes: Sequence[np.dtype]) -> bool:
    """Return whether the primitive takes a loop: those of complex numbers that have no derivative are left out."""
    return not (p.name in ("absolute", "sign", "maximum", "minimum", "fmax", "fmin") and dtypes[0].kind == "c")


def smooth_points(p: Primitive, rng: np.random.Generator, dtype: str) -> list[list[np.ndarray]]:
    """Return operands in the domain, of some shapes that broadcast, where finite differences are meaningful."""
    assert isinstance(p.derivative, Partials)
    low, high = p.domain
    shapes: dict[int, list[tuple[tuple[int, ...], ...]]] = {
        1: [((),), ((3,),), ((0,),), ((2, 2),)],
        2: [((), ()), ((3,), (3,)), ((2, 3), (3,)), ((2, 1), (1, 2)), ((), (2,)), ((0,), (1,))],
        3: [((3,), (3,), (3,)), ((2, 1), (), (2, 2))],
    }
    made = []
    for each in shapes[arity(p)]:
        xs = [np.asarray(rng.uniform(low, high, s), dtype) for s in each]
        if p.name == "select":
            xs[0] = np.asarray(xs[0] > 0.0)
        made.append(xs)
    return made
