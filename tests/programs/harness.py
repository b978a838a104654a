"""A bank of programs as users write them, and how each is checked.

A program is a plain function with several argument tuples that change values, sizes and the course of its branches. One
compiled callable runs them all; values, types, dtypes, exceptions, what happens to the arguments and which results are
arguments are compared with plain Python. Gradients are compared with finite differences where `wrt` says.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import jitgrad

PROGRAMS: list[Program] = []


@dataclass
class Program:
    """A function and the arguments to try it with; `wrt` names the arguments to differentiate by."""

    function: Callable[..., Any]
    inputs: list[tuple[Any, ...]]
    wrt: tuple[int, ...] = ()
    rtol: float = 1e-12
    tags: tuple[str, ...] = field(default_factory=tuple)

    @property
    def name(self) -> str:
        """Name for pytest."""
        return self.function.__name__


def program(*inputs: tuple[Any, ...], wrt: int | tuple[int, ...] = (), rtol: float = 1e-12) -> Callable[[Any], Any]:
    """Register a function with its argument tuples."""

    def register(function: Any) -> Any:
        positions = (wrt,) if isinstance(wrt, int) else wrt
        PROGRAMS.append(Program(function, list(inputs), positions, rtol))
        return function

    return register


GAIN: Any = 2.0


def scaled(x: Any, factor: float) -> Any:
    """Return an argument with its floats multiplied: another input of the same structure."""
    if isinstance(x, float | np.floating):
        return type(x)(x * factor)
    if isinstance(x, np.ndarray):
        return (x * factor).astype(x.dtype) if x.dtype.kind == "f" else x.copy()
    if isinstance(x, tuple):
        items = [scaled(v, factor) for v in x]
        return tuple(items) if type(x) is tuple else type(x)(*items)
    if isinstance(x, list):
        return [scaled(v, factor) for v in x]
    if isinstance(x, dict):
        return {k: scaled(v, factor) for k, v in x.items()}
    if hasattr(x, "__dict__"):
        made = copy.copy(x)
        vars(made).update({k: scaled(v, factor) for k, v in vars(x).items()})
        return made
    return x


def same(got: Any, want: Any, rtol: float, path: str = "result") -> None:
    """Assert that two objects are equal in structure, type, dtype and value."""
    assert type(got) is type(want), f"{path}: {type(got).__name__} for {type(want).__name__}"
    if isinstance(want, np.ndarray | np.generic):
        assert got.dtype == want.dtype, f"{path}: {got.dtype} for {want.dtype}"
        assert got.shape == want.shape, f"{path}: {got.shape} for {want.shape}"
        tol = max(rtol, 2e-6) if want.dtype == np.float32 else rtol
        np.testing.assert_allclose(got, want, rtol=tol, atol=tol, err_msg=path)
    elif isinstance(want, float | complex):
        np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol, err_msg=path)
    elif isinstance(want, tuple | list):
        assert len(got) == len(want), path
        for k, (g, w) in enumerate(zip(got, want, strict=True)):
            same(g, w, rtol, f"{path}[{k}]")
    elif isinstance(want, dict):
        assert list(got) == list(want), path
        for k in want:
            same(got[k], want[k], rtol, f"{path}[{k!r}]")
    elif hasattr(want, "__dict__") and not callable(want) or dataclasses.is_dataclass(want):
        same(vars(got), vars(want), rtol, path)
    else:
        assert got == want, f"{path}: {got!r} for {want!r}"


def outcome(function: Callable[..., Any], args: Sequence[Any]) -> tuple[str, Any]:
    """Return what a call gives: ("value", v) or ("raises", exception)."""
    try:
        with np.errstate(all="ignore"):
            return "value", function(*args)
    except Exception as exception:
        if isinstance(exception, jitgrad.JitgradError | AssertionError):
            raise
        return "raises", exception


def check_forward(p: Program) -> None:
    """Run every input, and two more, through one compiled callable and through Python; then change a global."""
    inputs = [*p.inputs, scaled(p.inputs[0], 0.75), scaled(p.inputs[-1], 1.25)]
    compare_calls(p, p.function, inputs)

    def with_global(*args: Any) -> Any:
        return p.function(*args), GAIN * 2

    compiled = jitgrad.jit(with_global)
    for gain in (2.0, -0.5, 3):
        globals()["GAIN"] = gain
        compare_calls(p, with_global, inputs[:1], compiled)
    globals()["GAIN"] = 2.0


def compare_calls(p: Program, function: Any, inputs: Sequence[tuple[Any, ...]], compiled: Any = None) -> None:
    """Run inputs through one compiled callable and through Python, and compare all that can be seen."""
    compiled = jitgrad.jit(function) if compiled is None else compiled
    for args in inputs:
        ours, theirs = copy.deepcopy(args), copy.deepcopy(args)
        got, want = outcome(compiled, ours), outcome(function, theirs)
        assert got[0] == want[0], (got, want)
        if want[0] == "raises":
            assert type(got[1]) is type(want[1]), (got[1], want[1])
            assert str(got[1]) == str(want[1])
        else:
            same(got[1], want[1], p.rtol)
            if isinstance(want[1], np.ndarray):
                assert [got[1] is a for a in ours] == [want[1] is a for a in theirs]
                assert [_shares(got[1], a) for a in ours] == [_shares(want[1], a) for a in theirs]
        same(list(ours), list(theirs), p.rtol, "arguments")


def _shares(x: np.ndarray, a: Any) -> bool:
    return isinstance(a, np.ndarray) and bool(np.shares_memory(x, a))


def leaves(x: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (array, setter) for every floating-point leaf of an argument made of arrays and containers."""
    if isinstance(x, np.ndarray) and x.dtype.kind == "f":
        yield x, None
    elif isinstance(x, list | tuple):
        for v in x:
            yield from leaves(v)
    elif isinstance(x, dict):
        for v in x.values():
            yield from leaves(v)
    elif hasattr(x, "__dict__"):
        yield from leaves(list(vars(x).values()))


def scalar_of(value: Any) -> float:
    """Return one number that depends on every float in a result."""
    total = 0.0
    if isinstance(value, float | np.floating):
        return float(value)
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        weights = np.cos(np.arange(value.size)).reshape(value.shape)
        return float((value * weights).sum())
    if isinstance(value, list | tuple):
        for k, v in enumerate(value):
            total += (k + 1) * scalar_of(v)
    return total


def check_gradient(p: Program, position: int) -> None:
    """Compare reverse and forward mode with central differences, for the inputs that do not raise."""
    pull = None
    for args in p.inputs:
        if outcome(p.function, copy.deepcopy(args))[0] == "raises":
            continue
        x = args[position]
        before = copy.deepcopy(args)
        f = p.function

        def along(v: Any, args: tuple[Any, ...] = args) -> Any:
            given = list(copy.deepcopy(args))
            given[position] = v
            return f(*given)

        value, pull = jitgrad.vjp(f, *copy.deepcopy(args))
        cts = pull(_cotangent(value))
        same(list(args), list(before), 0.0, "arguments")
        for (leaf, _), (ct, _) in zip(leaves([x] if isinstance(x, np.ndarray) else _wrap(x)), leaves(_wrap(cts[position])), strict=True):
            _differences(along, x, leaf, ct)


def _wrap(x: Any) -> Any:
    return [np.array(x)] if isinstance(x, float | np.floating) else [x]


def _cotangent(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return type(value)(1.0)
    if isinstance(value, np.ndarray):
        return np.cos(np.arange(value.size)).reshape(value.shape).astype(value.dtype)
    if isinstance(value, tuple):
        return tuple(_scaled(_cotangent(v), k + 1) for k, v in enumerate(value))
    if isinstance(value, list):
        return [_scaled(_cotangent(v), k + 1) for k, v in enumerate(value)]
    return value


def _scaled(ct: Any, factor: float) -> Any:
    if isinstance(ct, float | np.floating):
        return type(ct)(ct * factor)
    if isinstance(ct, tuple | list):
        return type(ct)(_scaled(v, factor) for v in ct)
    return (ct * factor).astype(ct.dtype) if isinstance(ct, np.ndarray) and ct.dtype.kind == "f" else ct


def _differences(along: Callable[[Any], Any], x: Any, leaf: np.ndarray, ct: np.ndarray) -> None:
    step = 1e-6 if leaf.dtype == np.float64 else 1e-2
    for index in np.ndindex(leaf.shape):
        pair = []
        for sign in (1, -1):
            moved = copy.deepcopy(x)
            if isinstance(x, float | np.floating):
                moved = type(x)(x + sign * step)
            else:
                twin = next(a for (a, _), (o, _) in zip(leaves([moved]), leaves([x]), strict=True) if o is leaf)
                twin[index] += sign * step
            with np.errstate(all="ignore"):
                pair.append(scalar_of(along(moved)))
        want = (pair[0] - pair[1]) / (2 * step)
        tol = 2e-5 if leaf.dtype == np.float64 else 2e-2
        np.testing.assert_allclose(ct[index], want, rtol=tol, atol=tol * max(1.0, abs(want)), err_msg=f"at {index}")
