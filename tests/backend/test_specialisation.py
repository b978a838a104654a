"""The arena, recursion, threads, lifetimes and references of compiled calls."""

from __future__ import annotations

import gc
import sys
import threading
import types
import weakref
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

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
    result_leaves,
)
from jitgrad.backend.runtime import install
from tests.backend.calls import (
    ARENA,
    F4,
    F8,
    FLOAT,
    FLOAT_RESULT,
    HEAD,
    I8,
    INT,
    NOTHING,
    REENTER,
    TWICE,
    Fact,
    Frozen,
    Layer,
    Target,
    made,
    reentered,
)

pytestmark = pytest.mark.usefixtures("entries")


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


POLL = """
    declare i1 @jg_poll(ptr)
    declare void @jg_rejoin(ptr)
"""


def test_threads() -> None:
    body = (
        POLL
        + HEAD
        + """
      %x = load i64, ptr %in
      %state = alloca ptr
      store ptr null, ptr %state
      %stopped = call i1 @jg_poll(ptr %state)
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
      call void @jg_rejoin(ptr %state)
      ret i32 0
    }
    """
    )
    form = CallForm((INT,), NumberResult("int", I8), arena_bytes=20000)
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
        + POLL
        + HEAD
        + """
      %state = alloca ptr
      store ptr null, ptr %state
      %stopped = call i1 @jg_poll(ptr %state)
      %r = call i32 @usleep(i32 300000)
      call void @jg_rejoin(ptr %state)
      ret i32 0
    }
    """
    )
    target = Target(made(CallForm((), ConstantResult(1)), body))
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
                with suppress(IndexError):
                    target(*args)

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


def test_functions_of_one_form_share_the_code_of_their_entry() -> None:
    tripled = TWICE.replace("double %x, 2.0", "double %x, 3.0")
    for level in ("minimal", "loops"):
        form = CallForm((FLOAT,), FLOAT_RESULT)
        two, three = made(form, TWICE, level=level), made(form, tripled, level=level)
        assert two.entry == three.entry
        assert two.table != three.table
        assert (two.run((2.0,)), three.run((2.0,))) == (4.0, 6.0)
        # The first of a form owns no more of it than the others.
        del two
        gc.collect()
        assert three.run((5.0,)) == 15.0
