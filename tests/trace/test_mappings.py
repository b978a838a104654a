"""`collections.defaultdict`, and what a program takes for a mapping: values and exceptions are Python's."""

from __future__ import annotations

import collections
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.errors import UnsupportedError
from tests.trace.calling import assert_same, check, outcome

V = np.array([0.5, -1.0, 2.0, 0.25, 1.5, -0.75])


class Pair:
    """A mapping by its methods alone."""

    def __init__(self, x: Any) -> None:
        self.x = x

    def keys(self) -> list[str]:
        return ["p", "q"]

    def __getitem__(self, key: str) -> Any:
        return self.x if key == "p" else 2.0 * self.x


class NoMapping:
    def __init__(self, x: Any) -> None:
        self.x = x


def without(x: Any, key: str) -> Any:
    del x[key]
    return x


def taken(**given: Any) -> dict[str, Any]:
    return given


def sums(x: np.ndarray) -> Any:
    d: dict[int, Any] = defaultdict(float)
    for i, v in enumerate(x):
        d[i % 2] += v * v
    return d[0] * d[1] + len(d)


def lists(x: np.ndarray) -> Any:
    d: dict[int, list[Any]] = defaultdict(list)
    for i, v in enumerate(x):
        d[i % 3].append(v)
    return sum(sum(v) * (k + 1) for k, v in d.items()) + max(d) * x[0] + sum(d.keys()) * sum(d[2])


def arrays(x: np.ndarray) -> Any:
    d: defaultdict[str, Any] = defaultdict(lambda: np.zeros(2))
    for i in range(len(x)):
        d["ab"[i % 2]] += x[i] * np.arange(1.0, 3.0)
    other = d.copy()
    other["c"] = other["z"] + x[0]
    return dict(d)["a"].sum() * {**d}["b"][1] + len(other) * other["c"].sum() + ("z" in d)


def methods(x: np.ndarray) -> Any:
    d: defaultdict[str, Any] = defaultdict(int, a=1)
    d.update({"b": x[0]})
    total = d.setdefault("c", x[1]) * d.pop("a") + d.get("r", 3) + d.pop("none", 2)
    del d["c"]
    for value in d.values():
        total = total + value * len(d)
    d.clear()
    return total + isinstance(d, dict) + (type(d) is defaultdict) + (d.__class__ is defaultdict) + bool(d)


@pytest.mark.parametrize("function", [sums, lists, arrays, methods])
def test_programs(function: Callable[[np.ndarray], Any]) -> None:
    for x in (V, V[::-1].copy()):
        assert_same(jitgrad.jit(function)(x), function(x), 1e-14)
        h = 1e-6
        quotients = [(function(x + h * e) - function(x - h * e)) / (2 * h) for e in np.eye(len(x))]
        np.testing.assert_allclose(jitgrad.grad(function)(x), quotients, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: defaultdict(int) == {} and defaultdict(None, {1: x}) == defaultdict(int, {1: x}),
        lambda x: {**Pair(x)},
        lambda x: {"q": 1.0, **Pair(x)},
        lambda x: taken(**Pair(x)),
        lambda x: dict(Pair(x), z=1.0),
        lambda x: {"p": 0.0} | dict(Pair(x)),
    ],
)
def test_mappings(function: Callable[[float], Any]) -> None:
    assert_same(jitgrad.jit(function)(2.0), function(2.0), 0.0)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: defaultdict(None)["a"],
        lambda x: defaultdict(3),  # type: ignore[call-overload]
        lambda x: {**NoMapping(x)},  # type: ignore[dict-item]
        lambda x: dict(NoMapping(x)),  # type: ignore[call-overload]
        lambda x: without(NoMapping(x), "p"),
        lambda x: without(defaultdict(float, q=x), "p"),
    ],
)
def test_exceptions(function: Callable[[float], Any]) -> None:
    got, want = outcome(jitgrad.jit(function), (2.0,))[1], outcome(function, (2.0,))[1]
    assert isinstance(want, Exception)
    assert (type(got), str(got)) == (type(want), str(want))


def test_what_is_no_mapping_gives_no_arguments() -> None:
    def f(x: float) -> Any:
        return taken(**NoMapping(x))  # type: ignore[arg-type]

    for call in (f, jitgrad.jit(f)):
        with pytest.raises(TypeError, match=r"argument after \*\* must be a mapping, not NoMapping"):
            call(2.0)


def test_a_defaultdict_is_not_returned() -> None:
    with pytest.raises(jitgrad.UnsupportedError, match="JG225: a defaultdict"):
        jitgrad.jit(lambda x: defaultdict(float, a=x))(2.0)


def ordered(x: float) -> Any:
    made = collections.OrderedDict
    d = made(a=x, b=1.0)
    d.move_to_end("a")
    order = list(d), list(reversed(d)), d.popitem(last=False), d.popitem(), len(d)
    same = (
        made(a=x, b=1.0) == made(b=1.0, a=x),
        made(a=x, b=1.0) != made(b=1.0, a=x),
        made(a=x, b=1.0) == made(a=x, b=1.0),
        made(a=x, b=2) == {"b": 2, "a": x},
        collections.defaultdict(float, a=x) == made(a=x),
        collections.defaultdict(float, a=x) == collections.defaultdict(int, a=x),
    )
    d["c"] = x
    return order, same, isinstance(d, dict), type(d) is made, d["c"], {**d}, dict(d), made(d)["c"]


def test_ordered_dicts() -> None:
    check(ordered, (1.5,))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: collections.OrderedDict(a=x) | {"b": 1},
        lambda x: collections.defaultdict(float, a=x).popitem(),
        lambda x: {1, 2}.symmetric_difference_update({x}),
        lambda x: collections.deque([x]) < collections.deque([1.0]),
        lambda x: collections.deque([x]) * 2,
    ],
)
def test_what_a_container_has_and_its_program_lacks_is_refused(function: Callable[[float], Any]) -> None:
    with pytest.raises(jitgrad.UnsupportedError, match="JG232"):
        jitgrad.jit(function)(1.5)


class Fields:
    pass


def by_texts(x: float, n: int) -> Any:
    d = {"w0": x, "w1": 2 * x, f"v{n}": 3 * x}
    fields = Fields()
    setattr(fields, f"f{n}", x)
    found = d[f"w{n}"], f"w{n}" in d, d.get("w" + str(n)), len(d), d["v1"] if n == 1 else d["v0"]
    return found, getattr(fields, f"f{n}"), hasattr(fields, f"f{n}"), hasattr(fields, f"g{n}"), isinstance(str(n), str)


def test_texts_as_keys_and_names() -> None:
    for n in (0, 1):
        check(by_texts, (1.5, n))


@pytest.mark.parametrize(
    "function",
    [lambda x: {"1.5": 2.0}[f"{x}"], lambda x: f"{x}" in {"1.5": 2.0}, lambda x: len(f"{x}"), lambda x: [*f"{x}"]],
)
def test_texts_that_show_what_is_known_at_run_time(function: Callable[[float], Any]) -> None:
    with pytest.raises(jitgrad.UnsupportedError, match="JG236"):
        jitgrad.jit(function)(1.5)


class _Held:
    def __init__(self, x: Any) -> None:
        self.x = x


def _other_key(a: Any, c: Any) -> Any:
    d = {"x": a[0]}
    if c > 0.0:
        d["y"] = d.pop("x")
    return d.get("x", 5.0) + 2.0 * d.get("y", 7.0)


def _other_order(a: Any, c: Any) -> Any:
    d = {"x": a[0], "y": a[1]}
    if c > 0.0:
        d["x"] = d.pop("x")
    return d["x"] - 2.0 * d["y"]


def _other_attribute(a: Any, c: Any) -> Any:
    o = _Held(a[0])
    if c > 0.0:
        o.y = o.x  # type: ignore[attr-defined]
        del o.x
    return o.x if hasattr(o, "x") else -o.y  # type: ignore[attr-defined]


def _other_group(a: Any, c: Any) -> Any:
    d: Any = collections.defaultdict(float)
    if c > 0.0:
        d["up"] += a[0]
    else:
        d["down"] += a[1]
    return d["up"] - 3.0 * d["down"]


@pytest.mark.parametrize("function", [_other_key, _other_order, _other_attribute, _other_group])
def test_other_keys_on_each_path_are_right_or_refused(function: Callable[..., Any]) -> None:
    a = np.array([0.5, 2.0])
    try:
        got = [jitgrad.jit(function)(a, c) for c in (1.0, -1.0)]
    except UnsupportedError as refused:
        assert refused.code == "JG240"
        return
    assert got == [function(a, c) for c in (1.0, -1.0)]


def test_keys_and_attributes_that_change_in_a_loop() -> None:
    def keys(a: Any, n: int) -> Any:
        d = {"x": a[0]}
        for i in range(n):
            d["y"] = (d.pop("x", 0.0) + d.pop("y", 0.0)) * a[i]
        return next(iter(d)), d.get("x", 5.0) + 2.0 * d.get("y", 7.0)

    def attributes(a: Any, n: int) -> Any:
        o = _Held(a[0])
        for i in range(n):
            if hasattr(o, "x"):
                o.y = o.x  # type: ignore[attr-defined]
                del o.x
            else:
                o.x = o.y * a[i]  # type: ignore[attr-defined]
                del o.y  # type: ignore[attr-defined]
        return o.x if hasattr(o, "x") else -o.y  # type: ignore[attr-defined]

    a = np.array([0.5, 2.0, 3.0])
    for f in (keys, attributes):
        compiled = jitgrad.jit(f)
        for n in range(4):
            assert compiled(a, n) == f(a, n)
