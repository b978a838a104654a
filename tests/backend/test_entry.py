"""The native entry and its Python twin: what fits, what is declined, results of every kind, errors, references, threads."""

from __future__ import annotations

import copyreg
import ctypes
import dataclasses
import gc
import pickle
import subprocess
import sys
import threading
import types
import weakref
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import pytest

from jitgrad.backend import capi
from jitgrad.backend.callhelpers import ARENA_KEPT_BYTES
from jitgrad.backend.form import (
    ArrayLeaf,
    ArrayResult,
    CallForm,
    CallResult,
    ChoiceResult,
    ConstantResult,
    DictResult,
    DictTree,
    HiddenInput,
    LateArrayResult,
    ListResult,
    ListTree,
    NumberResult,
    ObjectResult,
    ObjectTree,
    RepeatResult,
    SameResult,
    ScalarLeaf,
    StaticLeaf,
    TupleResult,
    TupleTree,
    ViewResult,
    result_leaves,
)
from jitgrad.backend.runtime import callable_type, install, is_native_type
from jitgrad.backend.specialisation import Specialisation, link
from jitgrad.errors import InternalError

F8, F4, I8, C16 = (np.dtype(t) for t in (np.float64, np.float32, np.int64, np.complex128))
FLOAT, INT = ScalarLeaf("float", F8), ScalarLeaf("int", I8)
FLOAT_RESULT = NumberResult("float", F8)

HEAD = "define i32 @body(ptr %in, ptr %out, ptr %arena, ptr %err) {\n"
NOTHING = HEAD + "  ret i32 0\n}\n"

# The gradient of x * x.
TWICE = HEAD + (
    "  %x = load double, ptr %in\n  %y = fmul double %x, 2.0\n  store double %y, ptr %out\n  ret i32 0\n}\n"
)

# out[i] = 2 * in[i] of 4 doubles.
TWICE_4 = HEAD + (
    "  %x = load ptr, ptr %in\n  %y = load ptr, ptr %out\n  %v = load <4 x double>, ptr %x, align 8\n"
    "  %w = fmul <4 x double> %v, splat (double 2.0)\n  store <4 x double> %w, ptr %y, align 8\n  ret i32 0\n}\n"
)


def copy_words(count: int) -> str:
    """Return a body that copies words of inputs to outputs."""
    lines = []
    for k in range(count):
        lines += [
            f"  %p{k} = getelementptr i64, ptr %in, i64 {k}",
            f"  %q{k} = getelementptr i64, ptr %out, i64 {k}",
            f"  %w{k} = load i64, ptr %p{k}",
            f"  store i64 %w{k}, ptr %q{k}",
        ]
    return HEAD + "\n".join(lines) + "\n  ret i32 0\n}\n"


def gather(leaves: int, offsets: list[int], types: list[str]) -> str:
    """Return a body that sums the numbers among its words (doubles, int64) into a double."""
    lines = ["  %s0 = fadd double 0.0, 0.0"]
    for k, (at, kind) in enumerate(zip(offsets, types, strict=True)):
        lines.append(f"  %p{k} = getelementptr i64, ptr %in, i64 {at}")
        if kind == "i64":
            lines += [f"  %i{k} = load i64, ptr %p{k}", f"  %x{k} = sitofp i64 %i{k} to double"]
        elif kind == "array":
            lines += [f"  %a{k} = load ptr, ptr %p{k}", f"  %x{k} = load double, ptr %a{k}"]
        else:
            lines.append(f"  %x{k} = load double, ptr %p{k}")
        lines.append(f"  %s{k + 1} = fadd double %s{k}, %x{k}")
    return HEAD + "\n".join(lines) + f"\n  store double %s{leaves}, ptr %out\n  ret i32 0\n}}\n"


def never(site: int, operands: tuple[int, ...]) -> Any:
    raise AssertionError((site, operands))


def made(form: CallForm, body: str, **more: Any) -> Specialisation:
    return link(form, body, **({"on_error": never, "level": "minimal"} | more))


@callable_type
class Target:
    """Says what came the slow way."""

    def __init__(self, *specialisations: Specialisation) -> None:
        self.calls = 0
        for specialisation in specialisations:
            install(self, specialisation)

    def _slow_call(self, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return "slow", args, kwargs


def answers(form: CallForm, body: str, *args: Any, **kwargs: Any) -> Any:
    """Return the native answer to one call."""
    target = Target(made(form, body))
    got = target(*args, **kwargs)
    assert target.calls == 0, "declined"
    return got


def declines(form: CallForm, *args: Any, **kwargs: Any) -> bool:
    """Whether the native entry leaves a call to the slow path."""
    target = Target(made(form, NOTHING))
    target(*args, **kwargs)
    return target.calls == 1


@pytest.fixture(params=["native", "python"])
def path(request: pytest.FixtureRequest) -> Iterator[str]:
    """Build on either path."""
    with nullcontext() if request.param == "native" else capi.python_only():
        yield request.param


def test_this_interpreter_is_supported() -> None:
    assert capi.supported()
    assert capi.native()
    assert is_native_type(Target)


# --- numbers and arrays


def test_float(path: str) -> None:
    specialisation = made(CallForm((FLOAT,), FLOAT_RESULT), TWICE)
    assert specialisation.is_native == (path == "native")
    assert specialisation.run((3.0,)) == 6.0
    for wrong in ((3,), (np.float64(3.0),), (True,), (), (1.0, 2.0), [3.0], ("3",)):
        with pytest.raises(TypeError, match="leaves of a call"):
            specialisation.run(wrong)  # type: ignore[arg-type]


def test_float_call() -> None:
    form = CallForm((FLOAT,), FLOAT_RESULT)
    assert answers(form, TWICE, 3.0) == 6.0
    for wrong in (3, np.float64(3.0), True, None, "3", np.array(3.0)):
        assert declines(form, wrong)
    assert declines(form)
    assert declines(form, 1.0, 2.0)
    assert declines(form, x=1.0)


@pytest.mark.parametrize(
    ("leaf", "result", "values"),
    [
        (FLOAT, FLOAT_RESULT, [0.0, -0.0, 1.5, float("inf"), 5e-324]),
        (INT, NumberResult("int", I8), [0, -1, 2**63 - 1, -(2**63), 255, 257, 2**40]),
        (ScalarLeaf("bool", np.dtype(bool)), NumberResult("bool", np.dtype(bool)), [True, False]),
        (ScalarLeaf("complex", C16), NumberResult("complex", C16), [1 + 2j, complex(-0.0, float("inf"))]),
        *(
            (ScalarLeaf("numpy", np.dtype(t)), NumberResult("numpy", np.dtype(t)), [t(0), t(1), t(100)])
            for t in (
                np.float64, np.float32, np.float16, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16,
                np.uint32, np.uint64, np.bool_, np.complex64, np.complex128,
            )
        ),
        (ScalarLeaf("numpy", np.dtype(np.int8)), NumberResult("numpy", I8), [np.int8(-3)]),
        (ScalarLeaf("numpy", np.dtype(np.uint8)), NumberResult("numpy", I8), [np.uint8(253)]),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("path")
def test_numbers_go_in_and_out(leaf: ScalarLeaf, result: NumberResult, values: list[Any]) -> None:
    specialisation = made(CallForm((leaf,), result), copy_words(leaf.words))
    target = Target(specialisation)
    for value in values:
        found = [specialisation.run((value,))]
        if specialisation.is_native:
            found.append(target(value))
        for got in found:
            want = result.dtype.type(value) if result.kind == "numpy" else value
            assert type(got) is type(want)
            assert repr(got) == repr(want)
    assert target.calls == 0


def test_int_out_of_range_and_bool_are_declined() -> None:
    form = CallForm((INT,), NumberResult("int", I8))
    for wrong in (2**63, -(2**63) - 1, 2**200, True, np.int64(3), 3.0):
        assert declines(form, wrong)
        with pytest.raises(TypeError):
            made(form, NOTHING).run((wrong,))
        with capi.python_only(), pytest.raises(TypeError):
            made(form, NOTHING).run((wrong,))


def test_leaves_without_words_are_refused() -> None:
    with pytest.raises(InternalError, match="longdouble|float128"):
        made(CallForm((ScalarLeaf("numpy", np.dtype(np.longdouble)),), ConstantResult(None)), NOTHING)


@pytest.mark.usefixtures("path")
def test_array_result_is_fresh() -> None:
    specialisation = made(CallForm((ArrayLeaf(F8, (4,)),), ArrayResult(F8, (4,))), TWICE_4)
    x = np.arange(4.0)
    first, second = specialisation.run((x,)), specialisation.run((x,))
    assert first.tolist() == second.tolist() == [0, 2, 4, 6]
    assert first.flags.owndata and first.flags.writeable and first.base is None
    assert not np.shares_memory(first, second)
    assert first.dtype is F8


def test_array_call_and_what_is_declined() -> None:
    form = CallForm((ArrayLeaf(F8, (4,)),), ArrayResult(F8, (4,)))
    assert answers(form, TWICE_4, np.arange(4.0)).tolist() == [0, 2, 4, 6]
    unaligned = np.zeros(33, np.uint8)[1:].view(np.float64)
    wrong = [
        np.zeros(5), np.zeros(4, np.float32), np.zeros(4, np.int64), np.zeros((4, 1)), np.zeros(()), np.zeros(8)[::2],
        np.zeros(4, ">f8"), np.matrix(np.zeros(4)), np.ma.zeros(4), [0.0] * 4, 1.0, None, unaligned,
    ]  # fmt: skip
    for array in wrong:
        assert declines(form, array)
        with pytest.raises(TypeError):
            made(form, TWICE_4).run((array,))
        with capi.python_only(), pytest.raises(TypeError):
            made(form, TWICE_4).run((array,))


def test_arrays_that_were_pickled_fit() -> None:
    form = CallForm((ArrayLeaf(F8, (4,)),), ArrayResult(F8, (4,)))
    x = pickle.loads(pickle.dumps(np.arange(4.0)))
    assert answers(form, TWICE_4, x).tolist() == [0, 2, 4, 6]
    assert answers(form, TWICE_4, np.arange(4.0).astype(np.dtype("f8", metadata={"a": 1}))).tolist() == [0, 2, 4, 6]


def test_layouts() -> None:
    c, f = np.zeros((3, 4)), np.zeros((3, 4), order="F")
    strided, transposed = np.zeros((6, 4))[::2], np.zeros((6, 4))[::2].T
    cases = {
        ("C", (3, 4)): (c,),
        ("F", (3, 4)): (f,),
        ((8, 1), (3, 4)): (strided,),
        ((1, 8), (4, 3)): (transposed,),
        ("strided", (3, 4)): (c, f, strided),
        ("strided", (None, None)): (c, f, strided, transposed),
        ("C", (None, 4)): (c,),
        ("F", (3, None)): (f,),
    }
    for (layout, shape), fitting in cases.items():
        form = CallForm((ArrayLeaf(F8, shape, layout),), ConstantResult(1))
        for array in (c, f, strided, transposed):
            assert declines(form, array) == (not any(array is x for x in fitting)), (layout, shape, array.strides)
    odd = np.zeros((4, 12), np.uint8).view(np.float32)[:, :1]
    odd = np.lib.stride_tricks.as_strided(odd, (2, 1), (10, 4))
    assert declines(CallForm((ArrayLeaf(F4, (2, 1), "strided"),), ConstantResult(1)), odd)


def test_both_orders_fit_vectors_and_empty_arrays() -> None:
    for layout in ("C", "F"):
        assert not declines(CallForm((ArrayLeaf(F8, (None,), layout),), ConstantResult(1)), np.zeros(3))
        assert not declines(CallForm((ArrayLeaf(F8, (None,), layout),), ConstantResult(1)), np.zeros(0))
        assert not declines(CallForm((ArrayLeaf(F8, (), layout),), ConstantResult(1)), np.zeros(()))


def test_writeable() -> None:
    frozen = np.zeros(3)
    frozen.flags.writeable = False
    assert declines(CallForm((ArrayLeaf(F8, (3,), writeable=True),), ConstantResult(1)), frozen)
    assert not declines(CallForm((ArrayLeaf(F8, (3,)),), ConstantResult(1)), frozen)


@pytest.mark.usefixtures("path")
def test_sizes_and_strides_are_words() -> None:
    leaf = ArrayLeaf(F8, (None, 4, None), "strided")
    count = leaf.words
    form = CallForm((leaf,), TupleResult((NumberResult("int", I8),) * count))
    x = np.zeros((6, 4, 10))[::2, :, ::-5]
    assert made(form, copy_words(count)).run((x,)) == (x.ctypes.data, 3, 2, 80, 10, -5)


# --- trees


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclasses.dataclass
class Layer:
    w: Any
    b: Any


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    w: Any
    b: Any


class Mixed:
    __slots__ = ("__dict__", "a", "c")

    def __init__(self, a: Any, b: Any) -> None:
        self.a, self.b = a, b


TREES: list[tuple[Any, Any, list[Any]]] = [
    (TupleTree((FLOAT, INT)), (1.5, 2), [[1.5, 2], (1.5,), (1.5, 2, 3), (1.5, 2.0), Pair(1.5, 2), None]),
    (TupleTree((FLOAT, INT), Pair), Pair(1.5, 2), [(1.5, 2), Pair(1, 2)]),
    (ListTree((FLOAT, INT)), [1.5, 2], [(1.5, 2), [1.5], [1.5, 2, 3], [2, 1.5]]),
    (
        DictTree(("a", 7), (FLOAT, INT)),
        {"a": 1.5, 7: 2},
        [
            {"a": 1.5},
            {7: 2, "a": 1.5},
            {"a": 1.5, 8: 2},
            {"a": 1.5, 7: 2, "c": 3},
            {"b": 1.5, 7: 2},
            {"a": 1.5, 7.0: 2},
        ],
    ),
    (
        ObjectTree(Layer, ("w", "b"), (FLOAT, INT)),
        Layer(1.5, 2),
        [Layer(1.5, 2.0), Frozen(1.5, 2), (1.5, 2), type("Layer", (Layer,), {})(1.5, 2)],
    ),
    (ObjectTree(Frozen, ("w", "b"), (FLOAT, INT)), Frozen(1.5, 2), [Frozen(1, 2), Layer(1.5, 2)]),
    (ObjectTree(Mixed, ("a", "b"), (FLOAT, INT)), Mixed(1.5, 2), [Mixed(1, 2)]),
    (TupleTree((TupleTree(()), ListTree((DictTree(("k",), (FLOAT,)),)), INT)), ((), [{"k": 1.5}], 2), [((), [{}], 2)]),
    (TupleTree((FLOAT, StaticLeaf("tanh", "equal"), INT)), (1.5, "tanh", 2), [(1.5, "relu", 2), (1.5, None, 2)]),
]


@pytest.mark.parametrize(("tree", "value", "others"), TREES)
def test_trees(tree: Any, value: Any, others: list[Any]) -> None:
    form = CallForm((tree,), FLOAT_RESULT)
    assert answers(form, gather(2, [0, 1], ["double", "i64"]), value) == 3.5
    for other in others:
        assert declines(form, other), other


def test_object_with_other_attributes_is_declined() -> None:
    form = CallForm((ObjectTree(Layer, ("w", "b"), (FLOAT, INT)),), FLOAT_RESULT)
    more, fewer, renamed = Layer(1.5, 2), Layer(1.5, 2), Layer(1.5, 2)
    more.extra = 3.0  # type: ignore[attr-defined]
    del fewer.b
    del renamed.b
    renamed.c = 2  # type: ignore[attr-defined]
    for value in (more, fewer, renamed):
        assert declines(form, value)
    slots = CallForm((ObjectTree(Mixed, ("a", "b"), (FLOAT, INT)),), FLOAT_RESULT)
    set_too = Mixed(1.5, 2)
    set_too.c = 1  # type: ignore[misc]
    assert declines(slots, set_too)
    unset = Mixed(1.5, 2)
    del unset.a  # type: ignore[misc]
    assert declines(slots, unset)


def test_static_leaves() -> None:
    thing = object()
    cases: list[tuple[Any, str, list[Any], list[Any]]] = [
        (thing, "is", [thing], [object()]),
        (None, "equal", [None], [0, False]),
        (True, "equal", [True], [1, False, np.True_]),
        ("x" * 50, "equal", ["x" * 25 + "x" * 25, "".join(["x"] * 50)], ["y"]),
        (1000, "equal", [int("1000")], [1000.0, 1001, True]),
        (0.5, "equal", [float("0.5")], [0.25, np.float64(0.5)]),
        (0.0, "equal", [float("0")], [-0.0]),
        (float("nan"), "equal", [float("nan")], [1.0]),
        ((1, "a"), "equal", [(int("1"), "a")], [(1, "b"), [1, "a"]]),
        (np.dtype(np.float32), "equal", [np.dtype("f4")], [np.dtype("f8")]),
        (slice(1, 2), "equal", [slice(1, 2)], [slice(1, 3)]),
    ]
    for value, rule, fitting, others in cases:
        form = CallForm((StaticLeaf(value, rule),), ConstantResult(1))
        for x in fitting:
            assert not declines(form, x), (value, x)
        for x in others:
            assert declines(form, x), (value, x)


def test_comparing_may_fail_without_leaving_an_error() -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise RuntimeError("no")

        __hash__ = None  # type: ignore[assignment]

    assert declines(CallForm((StaticLeaf(Odd(), "equal"),), ConstantResult(1)), Odd())


def test_keywords() -> None:
    form = CallForm((FLOAT, FLOAT, INT), FLOAT_RESULT, keywords=("scale", "n"))
    body = gather(3, [0, 1, 2], ["double", "double", "i64"])
    assert answers(form, body, 1.0, scale=2.0, n=3) == 6.0
    arguments: dict[str, Any] = {"".join(["sca", "le"]): 2.0, "n": 3}
    assert Target(made(form, body))(1.0, **arguments) in (6.0, ("slow", (1.0,), arguments))
    for args, kwargs in (((1.0, 2.0, 3), {}), ((1.0,), {"n": 3, "scale": 2.0}), ((1.0,), {"scale": 2.0})):
        assert declines(form, *args, **kwargs)
    assert declines(CallForm((FLOAT,), FLOAT_RESULT), 1.0, scale=2.0)


def test_aliasing() -> None:
    leaf = ArrayLeaf(F8, (None,), "strided")
    apart = CallForm((leaf, leaf), ConstantResult(1), disjoint=((0, 1),))
    x = np.zeros(10)
    assert declines(apart, x, x)
    assert declines(apart, x[:6], x[5:])
    assert declines(apart, x[5::-1], x[5:])
    assert not declines(apart, x[:5], x[5:])
    assert not declines(apart, x[4::-1], x[5:])
    assert not declines(apart, x, np.zeros(10))
    same = CallForm((leaf, leaf), ConstantResult(1), identical=((0, 1),))
    assert not declines(same, x, x)
    assert declines(same, x, x[:])


# --- facts and hidden inputs


class Fact(NamedTuple):
    source: tuple[Any, ...]
    rule: str
    expected: Any = None


def watch(fact: Fact) -> Target:
    return Target(made(CallForm((FLOAT,), FLOAT_RESULT, facts=(fact,)), TWICE))


def holds(target: Target) -> bool:
    return bool(target(1.0) == 2.0)


def test_facts() -> None:
    space: dict[str, Any] = {}

    def helper() -> None: ...

    def other() -> None: ...

    space.update(f=helper, n=1000, text="a", module=types.SimpleNamespace(size=3, items=[1, 2]), box={"k": 1})
    cases: list[tuple[Fact, str, Any, Any]] = [
        (Fact(("global", space, "f"), "is", helper), "f", other, helper),
        (Fact(("global", space, "n"), "equal", 1000), "n", 1001, int("1000")),
        (Fact(("global", space, "n"), "equal", 1000), "n", 1000.0, int("1000")),
        (Fact(("global", space, "n"), "type", int), "n", 1.0, 7),
        (Fact(("global", space, "text"), "length", 1), "text", "ab", "c"),
        (Fact(("global", space, "f"), "code", helper.__code__), "f", other, helper),
        (Fact(("global", space, "f", ("attr", "__code__")), "is", helper.__code__), "f", other, helper),
    ]
    for fact, name, wrong, right in cases:
        target = watch(fact)
        for value, expected in ((right, True), (wrong, False), (right, True)):
            space[name] = value
            assert holds(target) == expected, fact
        del space[name]
        assert not holds(target)
        space[name] = right
        assert holds(target)


def test_facts_along_a_path() -> None:
    config = types.SimpleNamespace(layers=[types.SimpleNamespace(size=3)], table={"k": "v"})
    space = {"config": config}
    size = watch(Fact(("global", space, "config", ("attr", "layers"), ("item", 0), ("attr", "size")), "equal", 3))
    item = watch(Fact(("object", config, ("attr", "table"), ("item", "k")), "is", "v"))
    assert holds(size) and holds(item)
    config.layers[0].size = 4
    assert not holds(size)
    config.layers.clear()
    assert not holds(size)
    del config.layers
    assert not holds(size)
    config.table.clear()
    assert not holds(item)


def test_absent_and_cells() -> None:
    space: dict[str, Any] = {}
    absent = watch(Fact(("global", space, "len"), "absent"))
    assert holds(absent)
    space["len"] = 1
    assert not holds(absent)
    thing = types.SimpleNamespace()
    no_attribute = watch(Fact(("object", thing, ("attr", "x")), "absent"))
    assert holds(no_attribute)
    thing.x = 1
    assert not holds(no_attribute)
    cell = types.CellType(5)
    inside = watch(Fact(("cell", cell), "equal", 5))
    assert holds(inside)
    cell.cell_contents = 6
    assert not holds(inside)
    del cell.cell_contents
    assert not holds(inside)


def test_length_of_what_has_none_is_declined() -> None:
    space = {"n": 5}
    assert not holds(watch(Fact(("global", space, "n"), "length", 5)))


def test_hidden_inputs_are_read_at_every_call() -> None:
    space: dict[str, Any] = {"rate": 0.5, "w": np.array([3.0])}
    hidden = (
        HiddenInput(("global", space, "rate"), FLOAT),
        HiddenInput(("global", space, "w"), ArrayLeaf(F8, (1,))),
    )
    form = CallForm((FLOAT,), FLOAT_RESULT, hidden=hidden)
    specialisation = made(form, gather(3, [0, 1, 2], ["double", "double", "array"]))
    target = Target(specialisation)
    assert target(1.0) == 4.5
    space["rate"] = 1.5
    space["w"] = np.array([4.0])
    assert target(1.0) == 6.5
    assert specialisation.run((1.0, 2.0, np.array([5.0]))) == 8.0
    space["rate"] = 1
    assert target(1.0)[0] == "slow"
    del space["rate"]
    assert target(1.0)[0] == "slow"


def test_what_is_read_from_outside_is_held() -> None:
    """A property, run between reading an array and using it, drops the only other reference to it."""
    space: dict[str, Any] = {"w": np.full(1000, 7.0)}

    class Sly:
        @property
        def gone(self) -> float:
            space["w"] = None
            gc.collect()
            [np.zeros(1000) for _ in range(10)]
            return 1.0

    hidden = (
        HiddenInput(("global", space, "w"), ArrayLeaf(F8, (1000,))),
        HiddenInput(("object", Sly(), ("attr", "gone")), FLOAT),
    )
    form = CallForm((FLOAT,), FLOAT_RESULT, hidden=hidden)
    target = Target(made(form, gather(3, [0, 1, 2], ["double", "array", "double"])))
    assert target(1.0) == 9.0
    assert space["w"] is None

    values = [np.full(1000, 7.0), 0]

    class Sly2:
        @property
        def gone(self) -> float:
            values.clear()
            gc.collect()
            [np.zeros(1000) for _ in range(10)]
            return 1.0

    hidden = (HiddenInput(("object", Sly2(), ("attr", "gone")), FLOAT),)
    form = CallForm((ListTree((ArrayLeaf(F8, (1000,)), INT)),), FLOAT_RESULT, hidden=hidden)
    target = Target(made(form, gather(3, [0, 1, 2], ["array", "i64", "double"])))
    assert target(values) == 8.0


# --- results


def rebuilt(*children: Any) -> Any:
    return Pair(*children)


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (TupleResult((FLOAT_RESULT, NumberResult("int", I8))), (1.5, 2)),
        (ListResult((FLOAT_RESULT, NumberResult("int", I8))), [1.5, 2]),
        (DictResult(("b", "a"), (FLOAT_RESULT, NumberResult("int", I8))), {"b": 1.5, "a": 2}),
        (ObjectResult(Layer, ("w", "b"), (FLOAT_RESULT, NumberResult("int", I8))), Layer(1.5, 2)),
        (ObjectResult(Frozen, ("w", "b"), (FLOAT_RESULT, NumberResult("int", I8))), Frozen(1.5, 2)),
        (CallResult(rebuilt, (FLOAT_RESULT, NumberResult("int", I8))), Pair(1.5, 2)),
        (TupleResult(()), ()),
        (ListResult(()), []),
        (DictResult((), ()), {}),
        (CallResult(dict, ()), {}),
        (ConstantResult(None), None),
        (
            TupleResult((ListResult((FLOAT_RESULT,)), DictResult(("k",), (NumberResult("int", I8),)), TupleResult(()))),
            ([1.5], {"k": 2}, ()),
        ),
        (TupleResult((SameResult(1), ConstantResult("c"), FLOAT_RESULT)), (2, "c", 1.5)),
    ],
)
@pytest.mark.usefixtures("path")
def test_result_trees(result: Any, expected: Any) -> None:
    specialisation = made(
        CallForm((FLOAT, INT), result), copy_words(2) if result.__class__ != ConstantResult else NOTHING
    )
    for _ in range(3):
        got = specialisation.run((1.5, 2))
        assert type(got) is type(expected)
        assert got == expected


def test_containers_are_fresh() -> None:
    form = CallForm((), TupleResult((ListResult(()), DictResult((), ()))))
    specialisation = made(form, NOTHING)
    first, second = specialisation.run(()), specialisation.run(())
    assert first[0] is not second[0]
    assert first[1] is not second[1]
    assert gc.is_tracked(first[0])


@pytest.mark.usefixtures("path")
def test_array_results() -> None:
    result = TupleResult((ArrayResult(F8, (2, 3)), ArrayResult(F4, (2, 3), "F"), RepeatResult(0), ArrayResult(I8, ())))
    specialisation = made(CallForm((), result), NOTHING)
    a, b, again, c = specialisation.run(())
    assert a is again
    assert (a.shape, a.dtype, a.flags.c_contiguous) == ((2, 3), F8, True)
    assert (b.shape, b.dtype, b.flags.f_contiguous, b.flags.c_contiguous) == ((2, 3), F4, True, False)
    assert (c.shape, c.dtype) == ((), I8)


@pytest.mark.usefixtures("path")
def test_empty_arrays() -> None:
    specialisation = made(CallForm((ArrayLeaf(F8, (0, 3)),), ArrayResult(F8, (0, 3))), NOTHING)
    assert specialisation.run((np.zeros((0, 3)),)).shape == (0, 3)


@pytest.mark.usefixtures("path")
def test_run_time_sizes() -> None:
    plan = """
    define i32 @plan(ptr %in, ptr %sizes, ptr %err) {
      %p = getelementptr i64, ptr %in, i64 1
      %n = load i64, ptr %p
      %bytes = mul i64 %n, 8
      store i64 %bytes, ptr %sizes
      %q = getelementptr i64, ptr %sizes, i64 1
      store i64 %n, ptr %q
      %r = getelementptr i64, ptr %sizes, i64 2
      %m = add i64 %n, 1
      store i64 %m, ptr %r
      %bad = icmp eq i64 %n, 13
      store i64 %n, ptr %err
      %code = select i1 %bad, i32 5, i32 0
      ret i32 %code
    }
    """
    result = TupleResult((ArrayResult(F8, (None, 2)), ArrayResult(F8, (3,)), ArrayResult(F8, (4, None))))

    def fail(site: int, operands: tuple[int, ...]) -> Any:
        raise IndexError(site, operands)

    form = CallForm((ArrayLeaf(F8, (None,)),), result, arena_bytes=None, error_words=1)
    assert form.plan_words == 3
    specialisation = made(form, NOTHING + plan, on_error=fail)
    for n in (0, 1, 5, 1000):
        shapes = [x.shape for x in specialisation.run((np.zeros(n),))]
        assert shapes == [(n, 2), (3,), (4, n + 1)]
    with pytest.raises(IndexError) as caught:
        specialisation.run((np.zeros(13),))
    assert caught.value.args == (4, (13,))


@pytest.mark.usefixtures("path")
def test_late_arrays_are_copied_from_the_arena() -> None:
    body = (
        HEAD
        + """
      %n = load i64, ptr %in
      store ptr %arena, ptr %out
      %p = getelementptr i64, ptr %out, i64 1
      store i64 %n, ptr %p
      %any = icmp sgt i64 %n, 0
      br i1 %any, label %loop, label %done
    loop:
      %i = phi i64 [ 0, %0 ], [ %i1, %loop ]
      %q = getelementptr i32, ptr %arena, i64 %i
      %w = trunc i64 %i to i32
      store i32 %w, ptr %q
      %i1 = add i64 %i, 1
      %more = icmp slt i64 %i1, %n
      br i1 %more, label %loop, label %done
    done:
      ret i32 0
    }
    """
    )
    form = CallForm((INT,), LateArrayResult(np.dtype(np.int32), 1), arena_bytes=40000)
    specialisation = made(form, body)
    for n in (0, 1, 3, 1001):
        got = specialisation.run((n,))
        assert got.dtype == np.int32
        assert got.tolist() == list(range(n))
        assert got.flags.owndata


@pytest.mark.usefixtures("path")
def test_views() -> None:
    body = (
        HEAD
        + """
      %x = load ptr, ptr %in
      %y = getelementptr double, ptr %x, i64 4
      store ptr %y, ptr %out
      %p = getelementptr i64, ptr %out, i64 1
      store i64 2, ptr %p
      %q = getelementptr i64, ptr %out, i64 2
      store i64 -2, ptr %q
      ret i32 0
    }
    """
    )
    specialisation = made(CallForm((ArrayLeaf(F8, (6,)),), ViewResult(F8, 1, 0)), body)
    x = np.arange(6.0)
    got = specialisation.run((x,))
    assert got.tolist() == [4, 2]
    assert got.base is x
    got[0] = 9.0
    assert x[4] == 9.0
    x.flags.writeable = False
    assert not specialisation.run((x,)).flags.writeable
    del x
    gc.collect()
    assert got.tolist() == [9, 2]


@pytest.mark.usefixtures("path")
def test_choices() -> None:
    body = (
        HEAD
        + """
      %x = load ptr, ptr %out
      %tag = load i64, ptr %in
      store i64 %tag, ptr %out
      %p = getelementptr i64, ptr %out, i64 2
      store double 2.5, ptr %p
      %q = getelementptr i64, ptr %out, i64 3
      store i64 7, ptr %q
      ret i32 0
    }
    """
    )
    choice = ChoiceResult(
        (ArrayResult(F8, (3,)), FLOAT_RESULT, TupleResult((NumberResult("int", I8), ConstantResult(None))))
    )
    specialisation = made(CallForm((INT,), choice), body)
    assert specialisation.run((0,)).shape == (3,)
    assert specialisation.run((1,)) == 2.5
    assert specialisation.run((2,)) == (7, None)


def test_a_failing_callable_fails_the_call(path: str) -> None:
    def boom(*children: Any) -> Any:
        raise LookupError("boom")

    result = TupleResult(
        (ArrayResult(F8, (3,)), ListResult((CallResult(boom, (ArrayResult(F8, (2,)), FLOAT_RESULT)),)))
    )
    specialisation = made(CallForm((FLOAT,), result), NOTHING)
    with pytest.raises(LookupError, match="boom"):
        specialisation.run((1.0,))
    if path == "native":
        with pytest.raises(LookupError, match="boom"):
            Target(specialisation)(1.0)


class Picky:
    """An object whose attribute cannot be set."""

    __slots__ = ("a",)


def test_an_attribute_that_cannot_be_set_fails_the_call(path: str) -> None:
    result = ObjectResult(Picky, ("a", "b"), (ArrayResult(F8, (3,)), ArrayResult(F8, (3,))))
    with pytest.raises(AttributeError, match="b"):
        made(CallForm((), result), NOTHING).run(())
    assert path


# --- errors


FAILING = (
    HEAD
    + """
  %x = load i64, ptr %in
  store i64 %x, ptr %err
  %p = getelementptr i64, ptr %err, i64 1
  store i64 -1, ptr %p
  %code = trunc i64 %x to i32
  ret i32 %code
}
"""
)


def test_error_sites(path: str) -> None:
    def fail(site: int, operands: tuple[int, ...]) -> Any:
        if site == 98:
            return "replaced"
        raise IndexError(site, operands)

    result = TupleResult((ArrayResult(F8, (1000,)), ArrayResult(F8, (10,))))
    specialisation = made(CallForm((INT,), result, arena_bytes=10000, error_words=2), FAILING, on_error=fail)
    callables: list[Any] = [lambda x: specialisation.run((x,))]
    if path == "native":
        callables.append(Target(specialisation))
    for call in callables:
        for site in (1, 7, 1000):
            with pytest.raises(IndexError) as caught:
                call(site)
            assert caught.value.args == (site - 1, (site, -1))
        assert call(99) == "replaced"
        assert len(call(0)) == 2


def test_a_body_may_raise_by_itself() -> None:
    body = (
        "declare void @PyErr_SetNone(ptr)\n@PyExc_KeyError = external global ptr\n"
        + HEAD
        + """
      %kind = load ptr, ptr @PyExc_KeyError
      call void @PyErr_SetNone(ptr %kind)
      ret i32 -1
    }
    """
    )
    specialisation = made(CallForm((FLOAT,), ArrayResult(F8, (3,)), arena_bytes=10000), body)
    with pytest.raises(KeyError):
        Target(specialisation)(1.0)
    with pytest.raises(KeyError):
        specialisation.run((1.0,))


def test_out_of_memory_is_an_exception() -> None:
    plan = """
    define i32 @plan(ptr %in, ptr %sizes, ptr %err) {
      %n = load i64, ptr %in
      store i64 %n, ptr %sizes
      ret i32 0
    }
    """
    form = CallForm((INT,), ArrayResult(F8, (3,)), arena_bytes=None)
    specialisation = made(form, NOTHING + plan)
    for size in (2**62, -1, 2**61, -(2**63)):
        with pytest.raises(MemoryError):
            specialisation.run((size,))
    assert specialisation.run((100,)).shape == (3,)
    sized = made(CallForm((INT,), ArrayResult(F8, (None,))), NOTHING + plan)
    with pytest.raises((MemoryError, ValueError)):
        sized.run((2**61,))
    with pytest.raises(ValueError, match="negative"):
        sized.run((-5,))


# --- the arena, re-entry, threads


ARENA = (
    """
declare void @jg_test_reenter(i64)
"""
    + HEAD
    + """
  %x = load i64, ptr %in
  %a = ptrtoint ptr %arena to i64
  %low = and i64 %a, 63
  %last = getelementptr i8, ptr %arena, i64 19992
  store i64 %x, ptr %arena
  store i64 %x, ptr %last
  %deeper = icmp sgt i64 %x, 0
  br i1 %deeper, label %again, label %done
again:
  %y = sub i64 %x, 1
  call void @jg_test_reenter(i64 %y)
  br label %done
done:
  %v = load i64, ptr %arena
  %w = load i64, ptr %last
  %s = add i64 %v, %w
  %t = add i64 %s, %low
  store i64 %t, ptr %out
  ret i32 0
}
"""
)

reentered: list[Any] = []


@ctypes.PYFUNCTYPE(None, ctypes.c_int64)
def reenter(x: int) -> None:
    call, results = reentered[-1]
    results.append(call(x))


REENTER = {"jg_test_reenter": ctypes.cast(reenter, ctypes.c_void_p).value or 0}


def test_recursive_calls_have_arenas_of_their_own(path: str) -> None:
    form = CallForm((INT,), NumberResult("int", I8), arena_bytes=20000)
    specialisation = made(form, ARENA, externals=REENTER)
    target = Target(specialisation)
    call = target if path == "native" else lambda x: specialisation.run((x,))
    results: list[int] = []
    reentered.append((call, results))
    for _ in range(3):
        results.clear()
        assert call(5) == 10
        assert results == [0, 2, 4, 6, 8]
    reentered.pop()


def test_arena_is_kept_warm_and_large_ones_are_freed() -> None:
    small = made(CallForm((INT,), NumberResult("int", I8), arena_bytes=20000), ARENA, externals=REENTER)
    assert small._words[0] == 0
    small.run((0,))
    block = small._words[0]
    assert block != 0
    small.run((0,))
    assert small._words[0] == block
    large = made(CallForm((INT,), NumberResult("int", I8), arena_bytes=ARENA_KEPT_BYTES + 1), ARENA, externals=REENTER)
    large.run((0,))
    assert large._words[0] == 0


def test_threads() -> None:
    body = (
        HEAD
        + """
      %x = load i64, ptr %in
      br label %loop
    loop:
      %i = phi i64 [ 0, %0 ], [ %i1, %loop ]
      store volatile i64 %x, ptr %arena
      %v = load volatile i64, ptr %arena
      %i1 = add i64 %i, 1
      %same = icmp eq i64 %v, %x
      %go = icmp slt i64 %i1, 20000
      %on = and i1 %same, %go
      br i1 %on, label %loop, label %done
    done:
      store i64 %i1, ptr %out
      ret i32 0
    }
    """
    )
    form = CallForm((INT,), NumberResult("int", I8), arena_bytes=20000, release_gil=True)
    target = Target(made(form, body))
    found: list[int] = []

    def work(n: int) -> None:
        for _ in range(50):
            found.append(target(n))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [20000] * 200
    assert target.calls == 0


def test_long_bodies_let_other_threads_run() -> None:
    body = (
        """
    declare i32 @usleep(i32)
    """
        + HEAD
        + """
      %r = call i32 @usleep(i32 300000)
      ret i32 0
    }
    """
    )
    target = Target(made(CallForm((), ConstantResult(1), release_gil=True), body))
    seen = 0
    thread = threading.Thread(target=target)
    thread.start()
    while thread.is_alive():
        seen += 1
    assert seen > 100


def test_code_may_be_dropped_while_it_runs() -> None:
    """A call pushes its own specialisation out of the chain and drops the last reference that Python has."""
    target = Target()

    def drop() -> str:
        for _ in range(4):
            install(target, made(CallForm((), ConstantResult(2)), NOTHING))
        gc.collect()
        return "done"

    specialisation = made(CallForm((FLOAT,), TupleResult((CallResult(drop, ()), FLOAT_RESULT))), TWICE)
    gone = weakref.ref(specialisation)
    install(target, specialisation)
    del specialisation
    assert target(3.0) == ("done", 6.0)
    gc.collect()
    assert gone() is None
    assert target(3.0)[0] == "slow"
    assert target() == 2


# --- the callable type


def test_chain_keeps_four_newest_first() -> None:
    leaves = [FLOAT, INT, ScalarLeaf("bool", np.dtype(bool)), ScalarLeaf("complex", C16), ScalarLeaf("numpy", F8)]
    values = [1.0, 1, True, 1j, np.float64(1)]
    specialisations = [made(CallForm((leaf,), ConstantResult(k)), NOTHING) for k, leaf in enumerate(leaves)]
    target = Target(*specialisations)
    assert [target(v) for v in values[1:]] == [1, 2, 3, 4]
    assert target(values[0])[0] == "slow"
    install(target, specialisations[0])
    assert [target(v) for v in values if v != 1 or type(v) is not int] == [0, 2, 3, 4]
    assert target(1)[0] == "slow"
    for _ in range(3):
        install(target, specialisations[2])
    assert [target(v) for v in values if type(v) is not int] == [0, 2, 3, 4]
    assert target.calls == 2


def test_newest_wins() -> None:
    target = Target(*(made(CallForm((FLOAT,), ConstantResult(k)), NOTHING) for k in range(2)))
    assert target(1.0) == 1


def test_slow_path_gets_everything_and_may_fail() -> None:
    target = Target()
    assert target(1, *(2, 3), a=4, **{"b": 5}) == ("slow", (1, 2, 3), {"a": 4, "b": 5})

    @callable_type
    class Failing:
        def _slow_call(self, *args: Any, **kwargs: Any) -> Any:
            raise ZeroDivisionError(*args)

    with pytest.raises(ZeroDivisionError):
        Failing()(1)

    @callable_type
    class Nothing:
        pass

    with pytest.raises(AttributeError, match="_slow_call"):
        Nothing()()  # type: ignore[operator]


def test_instances_are_ordinary_objects() -> None:
    target = Target()
    target.note = [1]
    assert target.__dict__ == {"calls": 0, "note": [1]}
    target.__dict__ = {"calls": 5}
    assert target.calls == 5
    assert callable(target)
    assert repr(target).startswith("<")
    gone = weakref.ref(target)
    assert gone() is target
    del target
    assert gone() is None
    assert Target.__name__ == "Target"
    assert Target.__module__ == __name__
    assert Target.__doc__ == "Says what came the slow way."


def test_cycles_are_collected() -> None:
    target = Target(made(CallForm((FLOAT,), FLOAT_RESULT), TWICE))
    target.itself = target
    gone = weakref.ref(target)
    del target
    gc.collect()
    assert gone() is None
    # Through the chain: the constant of a specialisation leads back.
    target = Target()
    specialisation = made(CallForm((), ConstantResult(target)), NOTHING)
    install(target, specialisation)
    assert target() is target
    gone, gone_too = weakref.ref(target), weakref.ref(specialisation)
    del target, specialisation
    gc.collect()
    assert gone() is None
    assert gone_too() is None


def test_methods_bind() -> None:
    class Model:
        run = Target(made(CallForm((StaticLeaf(5, "equal"), FLOAT), FLOAT_RESULT), gather(1, [0], ["double"])))

    model = Model()
    assert model.run(3.0) == ("slow", (model, 3.0), {})
    assert isinstance(Model.run, Target)
    bound = model.run
    assert isinstance(bound, types.MethodType)
    assert bound(3.0) == ("slow", (model, 3.0), {})
    assert Model.run(5, 3.0) == 3.0


def test_subclasses_and_classes_with_call() -> None:
    class Sub(Target):
        __slots__ = ("more",)

        def _slow_call(self, *args: Any, **kwargs: Any) -> Any:
            return "sub"

    sub = Sub(made(CallForm((FLOAT,), FLOAT_RESULT), TWICE))
    sub.more = [sub]
    assert is_native_type(Sub)
    assert sub(3.0) == 6.0
    assert sub(3) == "sub"
    gone = weakref.ref(sub)
    del sub
    gc.collect()
    assert gone() is None


def test_python_path_of_the_type() -> None:
    with capi.python_only():

        @callable_type
        class Plain:
            def _slow_call(self, *args: Any, **kwargs: Any) -> Any:
                return args, kwargs

        assert not is_native_type(Plain)
        plain: Any = Plain()
        specialisation = made(CallForm((FLOAT,), FLOAT_RESULT), TWICE)
        install(plain, specialisation)
        assert plain(3.0, a=1) == ((3.0,), {"a": 1})
        holder: Any = type("Holder", (), {"run": plain})()
        assert holder.run(1) == ((holder, 1), {})
        assert specialisation.run((3.0,)) == 6.0
        # A native instance ignores what has no native entry.
        target = Target(specialisation)
        assert target(3.0)[0] == "slow"


def test_pickles_by_reduce() -> None:
    copyreg.pickle(Target, lambda t: (Target, ()))
    try:
        assert isinstance(pickle.loads(pickle.dumps(Target())), Target)
    finally:
        copyreg.dispatch_table.pop(Target)


def test_process_ends_cleanly_with_live_callables() -> None:
    script = """
import sys, numpy as np, gc
from jitgrad.backend.form import *
from jitgrad.backend.specialisation import link
from jitgrad.backend.runtime import callable_type, install
@callable_type
class T:
    def _slow_call(self, *a): return "slow"
body = "define i32 @body(ptr %in, ptr %out, ptr %arena, ptr %err) { ret i32 0 }"
s = link(CallForm((), ArrayResult(np.dtype(float), (3,)), arena_bytes=9999), body, on_error=print, level="minimal")
t = T(); install(t, s); t.me = t; t()
class Late:
    def __del__(self): print(t if t is None else t())
t.late = Late(); sys.keep = t; np.keep = T(); install(np.keep, s)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# --- references


def test_nothing_leaks() -> None:
    """Every object that goes in or is part of the table keeps its count over many calls, errors and refusals."""
    space: dict[str, Any] = {"w": np.full(3, 2.0), "rate": 1.5, "box": types.SimpleNamespace(x=[1.0])}

    def fail(site: int, operands: tuple[int, ...]) -> Any:
        raise IndexError

    def take(*children: Any) -> Any:
        return children

    facts = (
        Fact(("global", space, "box", ("attr", "x")), "length", 1),
        Fact(("global", space, "box", ("attr", "y")), "absent"),
        Fact(("global", space, "none"), "absent"),
        Fact(("global", space, "rate"), "type", float),
    )
    hidden = (
        HiddenInput(("global", space, "w"), ArrayLeaf(F8, (3,))),
        HiddenInput(("global", space, "box", ("attr", "x"), ("item", 0)), FLOAT),
    )
    arguments = (
        INT,
        ListTree((ArrayLeaf(F8, (3,)), FLOAT)),
        DictTree(("k",), (ArrayLeaf(F8, (3,)),)),
        ObjectTree(Layer, ("w", "b"), (ArrayLeaf(F8, (3,)), FLOAT)),
        ObjectTree(Frozen, ("w", "b"), (ArrayLeaf(F8, (3,)), FLOAT)),
        TupleTree((StaticLeaf("name", "equal"), ScalarLeaf("numpy", F4))),
    )
    result = TupleResult(
        (
            ArrayResult(F8, (3,)), RepeatResult(0), SameResult(1), SameResult(2),
            ListResult((ConstantResult(space), FLOAT_RESULT)), DictResult(("z",), (ArrayResult(F8, (2,)),)),
            ObjectResult(Layer, ("w", "b"), (ArrayResult(F8, (2,)), NumberResult("int", I8))),
            CallResult(take, (ArrayResult(F8, (2,)), NumberResult("numpy", F4))),
            ChoiceResult((ArrayResult(F8, (4,)), ArrayResult(F8, (5,)), ConstantResult(None))),
        )
    )  # fmt: skip
    body = (
        HEAD
        + """
      %x = load i64, ptr %in
      %tag = getelementptr i64, ptr %out, i64 7
      store i64 0, ptr %tag
      %code = trunc i64 %x to i32
      ret i32 %code
    }
    """
    )
    form = CallForm(arguments, result, facts=facts, hidden=hidden, arena_bytes=9000)
    tag_at = form.output_offsets[[type(r).__name__ for r in result_leaves(result)].index("ChoiceTag")]
    body = body.replace("i64 7", f"i64 {tag_at}")
    target = Target(made(form, body, on_error=fail))
    w, layer, frozen = np.zeros(3), Layer(np.zeros(3), 12.5), Frozen(np.zeros(3), 13.5)
    listed, table, name = [w, 1.25], {"k": w}, ("name", np.float32(3))
    good = (0, listed, table, layer, frozen, name)
    assert target(*good)[8].shape == (4,)
    bad = [
        (1, *good[1:]), (0, [w, 1], *good[2:]), (*good[:5], ("name", 3)), (*good[:4], Frozen(1, 2), name),
        (*good[:3], Layer(w, 3), frozen, name), good[:5],
    ]  # fmt: skip
    watched = [
        w, layer, layer.w, layer.b, frozen, frozen.w, frozen.b, listed, table, name, name[1], space, space["w"],
        space["box"], space["box"].x, Layer, Frozen, F8, F4, np.ndarray, target, take, fail, np.float32, listed[1],
    ]  # fmt: skip

    def round_trip() -> None:
        for _ in range(200):
            target(*good)
            for args in bad:
                try:
                    target(*args)
                except IndexError:
                    pass

    round_trip()
    gc.collect()
    before, blocks = [sys.getrefcount(x) for x in watched], sys.getallocatedblocks()
    round_trip()
    gc.collect()
    assert [sys.getrefcount(x) for x in watched] == before
    assert abs(sys.getallocatedblocks() - blocks) < 50


def test_specialisations_are_freed_with_their_memory() -> None:
    def build() -> None:
        form = CallForm((INT,), NumberResult("int", I8), arena_bytes=2**24)
        Target(made(form, ARENA, externals=REENTER))(0)

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1])

    for _ in range(3):
        build()
    gc.collect()
    before = resident()
    for _ in range(20):
        build()
    gc.collect()
    assert resident() - before < 20 * 2**24 // 4096 // 4
