"""Running a function through the tracer and the interpreter, and comparing with plain Python.

In: a function and arguments. Out: what the traced graph gives, with the arguments it stored into changed; or the
exception. No pass and no machine code takes part, so that what is tested is the meaning that the tracer gives. At the
end, the same for compiled functions and their derivatives.
"""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import jitgrad
from jitgrad.errors import JitgradError
from jitgrad.execute import Interpreted
from jitgrad.pytree import flatten
from jitgrad.trace.guards import look_up
from jitgrad.trace.tracer import trace
from jitgrad.transform import Transform


def traced_call(function: Callable[..., Any], *args: Any) -> Any:
    """Return what a function gives when it is traced and its graph is interpreted."""
    spec, leaves = flatten((args, {}))
    made = trace(Transform("jit", function), spec.children[0].children, {}, leaves)
    inputs = [leaves[k] for k in made.leaves] + [look_up(h.source) for h in made.hidden]
    return Interpreted(made).run(inputs, leaves)


def outcome(call: Callable[..., Any], args: Sequence[Any]) -> tuple[str, Any]:
    """Return ("value", v) or ("raises", exception)."""
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return "value", call(*args)
    except JitgradError:
        raise
    except Exception as exception:
        return "raises", exception


def assert_same(got: Any, want: Any, rtol: float, path: str = "result") -> None:
    """Assert equality of structure, type, dtype and value (NaN equals NaN, signs of zero differ)."""
    assert type(got) is type(want), f"{path}: {type(got).__name__} {got!r} for {type(want).__name__} {want!r}"
    if isinstance(want, np.ndarray | np.generic):
        assert got.dtype == want.dtype, f"{path}: {got.dtype} for {want.dtype}"
        assert got.shape == want.shape, f"{path}: {got.shape} for {want.shape}"
        tolerance = max(rtol, 1e-6) if want.dtype == np.float32 else rtol
        np.testing.assert_allclose(got, want, rtol=tolerance, atol=tolerance, err_msg=path)
    elif isinstance(want, float | complex):
        np.testing.assert_allclose(got, want, rtol=rtol, atol=0, err_msg=path)
        assert rtol or np.signbit(got) == np.signbit(want), f"{path}: {got!r} for {want!r}"
    elif isinstance(want, tuple | list):
        assert len(got) == len(want), f"{path}: {len(got)} items for {len(want)}"
        for k, (g, w) in enumerate(zip(got, want, strict=True)):
            assert_same(g, w, rtol, f"{path}[{k}]")
    elif isinstance(want, dict):
        assert list(got) == list(want), path
        for k in want:
            assert_same(got[k], want[k], rtol, f"{path}[{k!r}]")
    else:
        assert got == want, f"{path}: {got!r} for {want!r}"


def check(function: Callable[..., Any], args: Sequence[Any], rtol: float = 1e-13) -> None:
    """Assert that a traced call does what Python does: result, exception, stores into arguments."""
    mine, theirs = copy.deepcopy(args), copy.deepcopy(args)
    got = outcome(lambda *a: traced_call(function, *a), mine)
    want = outcome(function, theirs)
    if want[0] == "raises":
        assert got[0] == "raises", f"no exception, but {got[1]!r}, for {want[1]!r}"
        assert isinstance(want[1], type(got[1])) or isinstance(got[1], type(want[1])), f"{got[1]!r} for {want[1]!r}"
        assert str(got[1]) == str(want[1]), f"{got[1]!r} for {want[1]!r}"
        return
    if got[0] == "raises":
        raise AssertionError(f"raised {got[1]!r}") from got[1]
    assert_same(got[1], want[1], rtol)
    assert_same(list(mine), list(theirs), rtol, "arguments")


def check_row(function: Callable[..., Any], args: Sequence[Any]) -> None:
    """Check a function of a table, whose text an error then shows."""
    try:
        check(function, args)
    except Exception as found:
        found.add_note(inspect.getsource(function).strip().rstrip(",")[:100])
        raise


def check_compiled(function: Callable[..., Any], args: Sequence[Any], rtol: float) -> None:
    """Assert that a compiled call gives what Python gives, or raises the same exception."""
    got, want = outcome(jitgrad.jit(function), args), outcome(function, args)
    assert got[0] == want[0], (got, want)
    if want[0] == "value":
        assert_same(got[1], want[1], rtol)
        return
    assert type(got[1]) is type(want[1])
    # Newer versions of SciPy say this otherwise than older ones.
    assert str(got[1]) == str(want[1]) or "potrf" in str(want[1])


def check_derivatives(function: Callable[..., Any], x: np.ndarray, directions: int, rtol: float) -> None:
    """Assert that both modes give the slopes that differences show, for a weighted sum of all that a function gives."""

    def total(x: np.ndarray) -> Any:
        made = function(x)
        found = 0.0 * x.sum()
        for part in made if isinstance(made, tuple) else (made,):
            found = found + np.sum(np.cos(np.arange(np.size(part))).reshape(np.shape(part)) * part)
        return found

    gradient, forward = jitgrad.grad(total)(x), jitgrad.jit(lambda x, t: jitgrad.jvp(total, (x,), (t,))[1])
    for k in range(directions):
        t = np.random.default_rng(k).normal(size=x.shape)
        want = (total(x + 1e-6 * t) - total(x - 1e-6 * t)) / 2e-6
        np.testing.assert_allclose((gradient * t).sum(), want, rtol=rtol, atol=rtol)
        np.testing.assert_allclose(forward(x, t), (gradient * t).sum(), rtol=1e-8, atol=1e-9)
