"""What fits the native entry and its Python twin, and what is declined: numbers, arrays, trees, keywords, overlap."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.backend import capi
from jitgrad.backend.entry import emit_entry
from jitgrad.backend.form import (
    ArrayLeaf,
    ArrayResult,
    CallForm,
    ConstantResult,
    DictTree,
    ListTree,
    NumberResult,
    ObjectTree,
    ScalarLeaf,
    SharedSize,
    StaticLeaf,
    TupleResult,
    TupleTree,
)
from jitgrad.backend.runtime import is_native_type
from jitgrad.errors import InternalError
from jitgrad.trace.guards import Guard
from tests.backend.calls import (
    C16,
    F4,
    F8,
    FLOAT,
    FLOAT_RESULT,
    I8,
    INT,
    NOTHING,
    TWICE,
    TWICE_4,
    Frozen,
    Layer,
    Mixed,
    Pair,
    Target,
    answers,
    copy_words,
    declines,
    gather,
    made,
)

pytestmark = pytest.mark.usefixtures("entries")


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
    with pytest.raises(InternalError, match=r"longdouble|float128"):
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


class Sub(np.ndarray):
    """A subclass, whose operators may mean anything."""


def test_array_call_and_what_is_declined() -> None:
    form = CallForm((ArrayLeaf(F8, (4,)),), ArrayResult(F8, (4,)))
    assert answers(form, TWICE_4, np.arange(4.0)).tolist() == [0, 2, 4, 6]
    unaligned = np.zeros(33, np.uint8)[1:].view(np.float64)
    wrong = [
        np.zeros(5), np.zeros(4, np.float32), np.zeros(4, np.int64), np.zeros((4, 1)), np.zeros(()), np.zeros(8)[::2],
        np.zeros(4, ">f8"), np.zeros(4).view(Sub), np.ma.zeros(4), [0.0] * 4, 1.0, None, unaligned,
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


@pytest.mark.usefixtures("path")
def test_shared_sizes_are_words_after_those_of_the_leaves() -> None:
    n, m = SharedSize(0, 2), SharedSize(1)
    leaves = (ArrayLeaf(F8, (n, None, m), "strided"), ArrayLeaf(F8, (m, 3, n)))
    result = TupleResult((NumberResult("int", I8),) * 8)
    form = CallForm(leaves, result)
    x, y = np.zeros((4, 5, 6))[::2], np.zeros((6, 3, 2))
    run = made(form, copy_words(8)).run
    assert run((x, y)) == (x.ctypes.data, 5, 60, 6, 1, y.ctypes.data, 2, 6)
    for wrong in (np.zeros((5, 3, 2)), np.zeros((6, 3, 3)), np.zeros((6, 4, 2))):
        with pytest.raises(TypeError):
            run((x, wrong))
    with pytest.raises(TypeError):
        run((np.zeros((1, 5, 6)), np.zeros((6, 3, 1))))
    fresh = CallForm(leaves, ArrayResult(F8, (m, 7, n), "F"))
    found = made(fresh, NOTHING).run((x, y))
    assert found.shape == (6, 7, 2) and found.flags.f_contiguous


def test_shared_sizes_are_checked_by_the_entry() -> None:
    n = SharedSize(0, 2)
    form = CallForm((ArrayLeaf(F8, (n, n)), ListTree((ArrayLeaf(F8, (n,)),))), ConstantResult(1))
    assert not declines(form, np.zeros((3, 3)), [np.zeros(3)])
    for shape, size in (((3, 4), 3), ((3, 3), 4), ((1, 1), 1), ((0, 0), 0)):
        assert declines(form, np.zeros(shape), [np.zeros(size)])


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
        ((1, "a"), "equal", [(int("1"), "a")], [(1, "b"), [1, "a"], (True, "a"), (1.0, "a"), (1,)]),
        ((1, (0.0, None)), "equal", [(1, (float("0"), None))], [(1, (-0.0, None)), (1, (0.0,)), (1, 0.0)]),
        (1j, "equal", [], [complex(0, 1), 1.0]),
        (np.dtype(np.float32), "equal", [np.dtype("f4")], [np.dtype("f8")]),
        (slice(1, 2), "equal", [slice(1, 2)], [slice(1, 3), slice(1.0, 2), slice(True, 2), slice(1, 2, 1)]),
        (slice(None, 2000), "equal", [slice(None, int("2000"))], [slice(0, 2000), slice(None, 2000.0)]),
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


# --- entries that functions share


def test_entries_for_other_ranks_and_sizes_are_one_text() -> None:
    def text(shape: tuple[int, ...], arena: int) -> str:
        leaf = ArrayLeaf(F8, shape, "C")
        return emit_entry(CallForm((leaf, leaf), ArrayResult(F8, shape), arena_bytes=arena))[0]

    assert text((5,), 10_000) == text((2, 3, 4), 999_936)
    assert text((5,), 10_000) != text((5,), 0)


def test_what_is_read_from_outside_comes_in_one_order() -> None:
    def form(name: str, other: str) -> CallForm:
        names = {"module": np, "factor": 2.0}
        facts = {
            "module": Guard(("global", names, "module"), "is", np),
            "factor": Guard(("global", names, "factor"), "equal", 2.0),
            "sum": Guard(("global", names, "sum"), "absent", None),
        }
        return CallForm((FLOAT,), FLOAT_RESULT, facts=(facts[name], facts["sum"], facts[other]))

    assert emit_entry(form("module", "factor"))[0] == emit_entry(form("factor", "module"))[0]


def test_functions_with_one_entry_check_and_size_their_own_arrays() -> None:
    def loops(x: np.ndarray) -> np.ndarray:
        y = x.copy()
        for _ in range(3):
            y = y * x + y.sum()
        return y

    one, other = jitgrad.jit(loops), jitgrad.jit(lambda x: loops(x))
    x, y = np.arange(3.0), np.arange(8.0).reshape(2, 4)
    for compiled, given in ((one, x), (other, y), (one, x + 1.0), (other, y - 1.0), (one, y), (other, x)):
        np.testing.assert_allclose(compiled(given), loops(given), rtol=1e-12)
