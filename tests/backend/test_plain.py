"""The one entry of plain forms: which forms it takes, what it declines, what it makes, what it holds."""

from __future__ import annotations

import sys
import types
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from jitgrad.backend.form import (
    ArrayLeaf,
    ArrayResult,
    CallForm,
    ConstantResult,
    HiddenInput,
    ListResult,
    NumberResult,
    ScalarLeaf,
    SharedSize,
    StaticLeaf,
    TupleResult,
    TupleTree,
)
from jitgrad.backend.plain import is_plain
from jitgrad.backend.specialisation import Specialisation
from tests.backend.calls import (
    F4,
    F8,
    FLOAT,
    FLOAT_RESULT,
    HEAD,
    I8,
    INT,
    NOTHING,
    TWICE,
    Fact,
    Target,
    copy_words,
    declines,
    made,
)

pytestmark = pytest.mark.usefixtures("entries")

VECTOR, MATRIX = ArrayLeaf(F8, (3,), "C"), ArrayLeaf(F8, (None, 2), "strided")
NUMPY = ScalarLeaf("numpy", F8)
INT_RESULT, NUMPY_RESULT = NumberResult("int", I8), NumberResult("numpy", F4)
RAISES = HEAD + "  store i64 7, ptr %err\n  ret i32 3\n}\n"
NAMES: dict[str, Any] = {"np": np, "f": lambda x: x}


def fact(rule: str, expected: Any, *source: Any) -> Fact:
    return Fact(("global", NAMES, *source), rule, expected)


@pytest.mark.parametrize(
    ("form", "plain"),
    [
        (CallForm((), FLOAT_RESULT), True),
        (CallForm((FLOAT, INT, NUMPY, VECTOR, MATRIX), ArrayResult(F8, (3,), "F")), True),
        (CallForm((FLOAT,), TupleResult((FLOAT_RESULT, INT_RESULT, NUMPY_RESULT, ArrayResult(F8, ())))), True),
        (CallForm((FLOAT,), TupleResult(()), arena_bytes=10**6, arena_grows=True), True),
        (CallForm((FLOAT,), FLOAT_RESULT, facts=(fact("is", np, "np"), fact("absent", None, "len"))), True),
        (CallForm((FLOAT,), FLOAT_RESULT, facts=(fact("is", 1, "f", ("attr", "__code__")),)), True),
        (CallForm((FLOAT,), FLOAT_RESULT, facts=(fact("equal", 2.0, "f"),)), False),
        (CallForm((FLOAT,), FLOAT_RESULT, facts=(fact("equal", True, "f"),)), True),
        (CallForm((FLOAT,), FLOAT_RESULT, facts=(fact("length", 2, "f"),)), False),
        (CallForm((FLOAT,), FLOAT_RESULT, facts=(fact("is", 2, "f", ("item", 0)),)), False),
        (CallForm((FLOAT,), FLOAT_RESULT, facts=(fact("is", 2, "f", ("attr", "a"), ("attr", "b")),)), False),
        (CallForm((FLOAT,), FLOAT_RESULT, facts=(Fact(("cell", types.CellType(1)), "is", 1),)), False),
        (CallForm((FLOAT,), FLOAT_RESULT, keywords=("x",)), False),
        (CallForm((FLOAT,), FLOAT_RESULT, hidden=(HiddenInput(("global", NAMES, "f"), FLOAT),)), True),
        (CallForm((FLOAT,), FLOAT_RESULT, hidden=(HiddenInput(("global", NAMES, "f"), VECTOR),)), False),
        (CallForm((FLOAT,), FLOAT_RESULT, hidden=(HiddenInput(("global", NAMES, "f", ("attr", "a")), FLOAT),)), False),
        (CallForm((FLOAT,), FLOAT_RESULT, hidden=(HiddenInput(("cell", types.CellType(1.0)), FLOAT),)), False),
        (CallForm((VECTOR, VECTOR), FLOAT_RESULT, disjoint=((0, 1),)), False),
        (CallForm((VECTOR, VECTOR), FLOAT_RESULT, identical=((0, 1),)), False),
        (CallForm((ArrayLeaf(F8, (SharedSize(0, None),), "C"),), FLOAT_RESULT), False),
        (CallForm((ArrayLeaf(F8, (3,), (SharedSize(0, None),)),), FLOAT_RESULT), False),
        (CallForm((StaticLeaf(1),), FLOAT_RESULT), False),
        (CallForm((TupleTree((FLOAT,)),), FLOAT_RESULT), False),
        (CallForm((ScalarLeaf("bool", np.dtype(bool)),), FLOAT_RESULT), False),
        (CallForm((ScalarLeaf("numpy", F4),), FLOAT_RESULT), False),
        (CallForm((FLOAT,), ConstantResult(1)), False),
        (CallForm((FLOAT,), ListResult((FLOAT_RESULT,))), False),
        (CallForm((FLOAT,), TupleResult((FLOAT_RESULT, TupleResult((FLOAT_RESULT,))))), False),
        (CallForm((FLOAT,), ArrayResult(F8, (None,))), False),
        (CallForm((FLOAT,), FLOAT_RESULT, arena_bytes=None), False),
        (CallForm((FLOAT,), TupleResult((FLOAT_RESULT,) * 65)), False),
        (CallForm((FLOAT,) * 65, FLOAT_RESULT), False),
        (CallForm((FLOAT,) * 64, FLOAT_RESULT, hidden=(HiddenInput(("global", NAMES, "f"), FLOAT),)), False),
        (CallForm((FLOAT,), FLOAT_RESULT, error_words=65), False),
    ],
)
def test_plain_forms(form: CallForm, plain: bool, entries: str) -> None:
    assert is_plain(form) == plain


def test_leaves() -> None:
    form = CallForm((FLOAT, INT, VECTOR, NUMPY), FLOAT_RESULT)
    x = np.zeros(3)
    assert not declines(form, 1.0, -(2**63), x, np.float64(1.0))
    assert declines(form, 1.0, 1, x)
    assert declines(form, 1.0, 1, x, np.float64(1.0), 1)
    assert declines(form, 1.0, 1, x, np.float64(1.0), y=1)
    assert declines(form, 1, 1, x, np.float64(1.0))
    assert declines(form, np.float64(1.0), 1, x, np.float64(1.0))
    assert declines(form, 1.0, True, x, np.float64(1.0))
    assert declines(form, 1.0, 2**63, x, np.float64(1.0))
    assert declines(form, 1.0, 1, np.zeros(4), np.float64(1.0))
    assert declines(form, 1.0, 1, np.zeros(6)[::2], np.float64(1.0))
    assert declines(form, 1.0, 1, x, 1.0)
    strided = CallForm((MATRIX,), FLOAT_RESULT)
    assert not declines(strided, np.zeros((2, 5)).T[::2][:, ::-1])
    assert declines(strided, np.zeros((2, 5)))


def test_words_of_leaves_and_results() -> None:
    results = (ArrayResult(F8, (2, 3), "F"), FLOAT_RESULT, INT_RESULT, NumberResult("numpy", I8), FLOAT_RESULT)
    # The word of the array is where its elements are; the body leaves it alone.
    lines = copy_words(5).replace("store i64 %w0, ptr %q0", "store i64 0, ptr %err")
    target = Target(made(CallForm((VECTOR, FLOAT, INT, INT, NUMPY), TupleResult(results)), lines))
    array, *numbers = target(np.ones(3), 2.5, -3, 2**63 - 1, np.float64(-0.0))
    assert (array.shape, array.flags.f_contiguous, array.dtype) == ((2, 3), True, F8)
    assert [type(x) for x in numbers] == [float, int, np.int64, float]
    assert str(numbers) == str([2.5, -3, np.int64(2**63 - 1), -0.0])
    assert target.calls == 0


def test_one_result_or_a_tuple_of_one() -> None:
    assert Target(made(CallForm((FLOAT,), FLOAT_RESULT), TWICE))(1.5) == 3.0
    assert Target(made(CallForm((FLOAT,), TupleResult((FLOAT_RESULT,))), TWICE))(1.5) == (3.0,)
    assert Target(made(CallForm((FLOAT,), TupleResult(())), NOTHING))(1.5) == ()


def test_names_and_what_they_mean() -> None:
    class Raising:
        @property
        def name(self) -> Any:
            raise ValueError("asked")

    names: dict[str, Any] = {"np": np}
    function = types.SimpleNamespace(name=np)
    facts = (
        Fact(("global", names, "np"), "is", np),
        Fact(("global", names, "len"), "absent"),
        Fact(("global", names, "f", ("attr", "name")), "is", np),
    )
    form = CallForm((FLOAT,), FLOAT_RESULT, facts=facts)
    assert declines(form, 1.0)
    names["f"] = function
    assert not declines(form, 1.0)
    before = [sys.getrefcount(x) for x in (np, function, names)]
    target = Target(made(form, TWICE))
    for _ in range(200):
        assert target(1.0) == 2.0
    del target
    assert [sys.getrefcount(x) for x in (np, function, names)] == before
    for name, value in (("np", 1), ("len", len), ("f", 1), ("f", Raising()), ("f", types.SimpleNamespace(name=1))):
        kept = names.copy()
        names[name] = value
        assert declines(form, 1.0)
        names.clear()
        names.update(kept)
    assert not declines(form, 1.0)


def test_numbers_from_outside() -> None:
    names: dict[str, Any] = {"step": 0.5, "count": 3}
    hidden = tuple(HiddenInput(("global", names, name), leaf) for name, leaf in (("step", FLOAT), ("count", INT)))
    target = Target(
        made(CallForm((FLOAT, INT), TupleResult((FLOAT_RESULT, INT_RESULT) * 2), hidden=hidden), copy_words(4))
    )
    before = [sys.getrefcount(x) for x in (*names.values(), names)]
    for _ in range(200):
        assert target(1.5, 2) == (1.5, 2, 0.5, 3)
    assert [sys.getrefcount(x) for x in (*names.values(), names)] == before
    names["step"] = -0.25
    assert target(1.5, 2) == (1.5, 2, -0.25, 3)
    assert target.calls == 0
    for other in (1, np.float64(1.0), None):
        names["step"] = other
        assert target(1.5, 2)[0] == "slow"
    del names["step"]
    assert target(1.5, 2)[0] == "slow"
    names["step"] = 1.0
    assert target(1.5, 2) == (1.5, 2, 1.0, 3)
    assert target(1.5)[0] == target(1.5, 2, 1.0)[0] == target(1.5, 2, 1.0, 3)[0] == "slow"


def test_an_error_of_the_body_gives_back_what_was_made() -> None:
    def on_error(site: int, operands: tuple[int, ...]) -> Any:
        raise KeyError(site, operands[0])

    results = TupleResult((FLOAT_RESULT, *[ArrayResult(F8, (100,))] * 3))
    target = Target(made(CallForm((VECTOR,), results, arena_bytes=10_000, arena_grows=True), RAISES, on_error=on_error))
    x = np.zeros(3)
    _same_blocks(target, KeyError, x)
    with pytest.raises(KeyError, match=r"2, 7"):
        target(x)


def test_an_array_that_no_memory_has_room_for() -> None:
    for results in ((FLOAT_RESULT, ArrayResult(F8, (5,)), ArrayResult(F8, (2**56,))), (ArrayResult(F8, (2**56,)),)):
        target = Target(made(CallForm((FLOAT,), TupleResult(results)), NOTHING))
        _same_blocks(target, MemoryError, 1.0)
    target = Target(made(CallForm((FLOAT,), TupleResult((ArrayResult(F8, (5,)),)), arena_bytes=2**61), NOTHING))
    _same_blocks(target, MemoryError, 1.0)


def _same_blocks(target: Any, exception: type[Exception], *args: Any) -> None:
    """Check that calls that fail leave no objects behind."""

    def fail(times: int) -> int:
        for _ in range(times):
            with suppress(exception):
                target(*args)
        return sys.getallocatedblocks()

    with pytest.raises(exception):
        target(*args)
    before = fail(10)
    assert fail(200) - before < 100


def test_results_belong_to_the_caller_alone() -> None:
    results = TupleResult((ArrayResult(F8, (3,)), INT_RESULT))
    target = Target(made(CallForm((VECTOR, INT), results), HEAD + "  ret i32 0\n}\n"))
    x = np.zeros(3)
    array, _ = target(x, 1)
    assert sys.getrefcount(array) == 2  # the name and the argument of the question
    before = sys.getrefcount(x), sys.getrefcount(F8)
    for _ in range(100):
        target(x, 1)
    assert (sys.getrefcount(x), sys.getrefcount(F8)) == before


def test_run_takes_leaves_of_the_form_only() -> None:
    spec: Specialisation = made(CallForm((FLOAT, INT), FLOAT_RESULT), TWICE)
    assert spec.run((2.0, 1)) == 4.0
    for leaves in ((2.0,), (2.0, 1, 1), (2, 1), (2.0, 2**63), [2.0, 1]):
        with pytest.raises(TypeError, match="not of the form"):
            spec.run(leaves)  # type: ignore[arg-type]
