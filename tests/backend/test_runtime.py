"""The callable type: its chain, its slow path, and that its instances are ordinary objects."""

from __future__ import annotations

import copyreg
import gc
import pickle
import subprocess
import sys
import types
import weakref
from typing import Any

import numpy as np
import pytest

from jitgrad.backend import capi
from jitgrad.backend.form import (
    CallForm,
    ConstantResult,
    ScalarLeaf,
    StaticLeaf,
)
from jitgrad.backend.runtime import callable_type, install, is_native_type
from tests.backend.calls import (
    C16,
    F8,
    FLOAT,
    FLOAT_RESULT,
    INT,
    NOTHING,
    TWICE,
    Target,
    gather,
    made,
)

pytestmark = pytest.mark.usefixtures("entries")

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
    assert target(1, *(2, 3), a=4, b=5) == ("slow", (1, 2, 3), {"a": 4, "b": 5})

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
    assert Target.__module__ == "tests.backend.calls"
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
