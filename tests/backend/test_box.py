"""Results of every kind and every way to fail, on the native path and in Python."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

from jitgrad.backend.form import (
    ArrayLeaf,
    ArrayResult,
    CallForm,
    CallResult,
    ChoiceResult,
    ConstantResult,
    DictResult,
    LateArrayResult,
    ListResult,
    NumberResult,
    ObjectResult,
    RepeatResult,
    SameResult,
    TupleResult,
    ViewResult,
)
from tests.backend.calls import (
    F4,
    F8,
    FLOAT,
    FLOAT_RESULT,
    HEAD,
    I8,
    INT,
    NOTHING,
    Frozen,
    Layer,
    Pair,
    Target,
    copy_words,
    made,
)

pytestmark = pytest.mark.usefixtures("entries")

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
