"""Memory that cannot be had is a MemoryError at the user's line, and a call, however it ends, keeps nothing.

Nothing here exhausts the machine: a limit on single requests is put between CPython's raw allocator and its users, and
what is held is what `tracemalloc` counts of it.
"""

from __future__ import annotations

import ctypes
import gc
import signal
import traceback
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.backend import capi
from jitgrad.backend.callhelpers import ARENA_KEPT_BYTES
from jitgrad.backend.engine import compile_module

LIMIT = 2**20
_RAW = 0  # PYMEM_DOMAIN_RAW

# An allocator that refuses what is larger than @limit: native, for it is called without the GIL too.
_GUARD = """
@limit = global i64 0
@refused = global i64 0
@inner = global [5 x ptr] zeroinitializer
define i1 @large(i64 %size) {
  %limit = load i64, ptr @limit
  %yes = icmp ugt i64 %size, %limit
  %one = zext i1 %yes to i64
  atomicrmw add ptr @refused, i64 %one seq_cst
  ret i1 %yes
}
"""
_FUNCTIONS = {
    "malloc": ("ptr", "i64 %size", "%size"),
    "calloc": ("ptr", "i64 %count, i64 %each", ""),
    "realloc": ("ptr", "ptr %old, i64 %size", "%size"),
    "free": ("void", "ptr %old", ""),
}


def _guard_text() -> str:
    text = _GUARD
    for k, (name, (result, parameters, size)) in enumerate(_FUNCTIONS.items()):
        text += f"define {result} @{name}(ptr %unused, {parameters}) {{\n"
        if size:
            text += f"  %no = call i1 @large(i64 {size})\n  br i1 %no, label %refuse, label %go\n"
            text += "refuse:\n  ret ptr null\ngo:\n"
        text += "  %context = load ptr, ptr @inner\n"
        text += f"  %place = getelementptr ptr, ptr @inner, i64 {1 + k}\n  %function = load ptr, ptr %place\n"
        call = f"call {result} %function(ptr %context, {parameters})"
        text += f"  {call}\n  ret void\n}}\n" if result == "void" else f"  %got = {call}\n  ret ptr %got\n}}\n"
    return text


class _Allocator(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("context", *_FUNCTIONS)]


@pytest.fixture(scope="module")
def guard() -> Any:
    return compile_module(_guard_text(), level="quick")


@contextmanager
def limited(guard: Any, limit: int = LIMIT) -> Iterator[Callable[[], int]]:
    """Refuse single requests of more than `limit` bytes; yield what tells how many there were."""
    old = _Allocator()
    ctypes.pythonapi.PyMem_GetAllocator(_RAW, ctypes.byref(old))
    ctypes.memmove(guard.address("inner"), ctypes.byref(old), ctypes.sizeof(old))
    count = ctypes.c_int64.from_address(guard.address("refused"))
    count.value = 0
    ctypes.c_int64.from_address(guard.address("limit")).value = limit
    new = _Allocator(None, *(guard.address(name) for name in _FUNCTIONS))
    ctypes.pythonapi.PyMem_SetAllocator(_RAW, ctypes.byref(new))
    try:
        yield lambda: count.value
    finally:
        ctypes.pythonapi.PyMem_SetAllocator(_RAW, ctypes.byref(old))


# Each takes a float and a number of steps; with BIG it asks for more than LIMIT.

BIG = 200_000


def users_list(x, n):
    ys = []
    for i in range(n):
        ys.append(x * i)
    return ys[n - 1] * ys[0] + x


def tape(x, n):
    s, k = x, 0
    while k < n:
        s = np.sin(s) * x
        k += 1
    return s


def steps(x, n):
    b = np.cumsum(np.full(n, x))
    c = np.sort(np.sin(b))
    return (b * c).sum()


def fails_late(x, n, a, k):
    s, i = x, 0
    while i < n:
        s = np.sin(s) * a[k - n + i]  # IndexError at the end, with a tape
        i += 1
    return s


def for_ever(x):
    s = x
    while s > -2.0:
        s = np.sin(s) * x
    return s


@pytest.mark.parametrize("python_only", [False, True])
@pytest.mark.parametrize(
    ("transform", "f"), [(jitgrad.jit, users_list), (jitgrad.grad, users_list), (jitgrad.grad, tape)]
)
def test_a_list_that_cannot_grow(transform: Any, f: Callable[..., Any], python_only: bool, guard: Any) -> None:
    def run() -> None:
        compiled = transform(f)
        want = compiled(0.5, 10)
        with limited(guard) as refused:
            with pytest.raises(MemoryError) as found:
                compiled(0.5, BIG)
            assert refused() == 1
            assert compiled(0.5, 10) == want
        assert np.isfinite(compiled(0.5, BIG))
        lines = [e.lineno for e in traceback.extract_tb(found.value.__traceback__) if e.filename == __file__]
        first = f.__code__.co_firstlineno
        assert first < lines[-1] < first + 6  # type: ignore[operator]

    if python_only:
        with capi.python_only():
            run()
    else:
        run()


def test_an_arena_that_cannot_be_had(guard: Any) -> None:
    def f(a):
        b = a.copy()
        for i in range(1, len(b)):
            b[i] = b[i - 1] * b[i]
        return b.sum()

    a = np.ones(BIG)
    compiled = jitgrad.jit(f)
    assert compiled.stats()["compiled"] == 0
    with limited(guard) as refused:
        with pytest.raises(MemoryError):
            compiled(a)
        assert refused() >= 1
    assert compiled(a) == BIG


def test_memory_of_a_size_known_at_run_time(guard: Any) -> None:
    compiled = jitgrad.jit(steps)
    want = compiled(0.5, 10)
    with limited(guard) as refused:
        with pytest.raises(MemoryError) as found:
            compiled(0.5, BIG)
        assert refused() >= 1
        assert compiled(0.5, 10) == want
    lines = [e.lineno for e in traceback.extract_tb(found.value.__traceback__) if e.filename == __file__]
    assert steps.__code__.co_firstlineno < lines[-1] < steps.__code__.co_firstlineno + 5  # type: ignore[operator]


def test_a_result_that_cannot_be_had() -> None:
    compiled = jitgrad.jit(lambda x, n: np.full(n, x) * 2.0)
    assert list(compiled(1.0, 2)) == [2.0, 2.0]
    for n in (2**59, 2**61):
        with pytest.raises((MemoryError, ValueError)):
            compiled(1.0, n)
    assert list(compiled(1.0, 2)) == [2.0, 2.0]


@pytest.mark.parametrize("n", [2**45, 2**58, 2**60, 2**61, 2**62])
def test_a_size_that_no_machine_has(n: int, guard: Any) -> None:
    compiled = jitgrad.jit(steps)
    compiled(0.5, 10)
    with limited(guard), pytest.raises(MemoryError):
        compiled(0.5, n)
    two = jitgrad.jit(lambda x, n, m: np.cumsum(np.full((n, m), x), axis=1).sum())
    assert two(1.0, 2, 3) == 12.0
    with limited(guard), pytest.raises(MemoryError):
        two(1.0, n, 2**62 // n * 2)


def of_computed_size(x, n):
    return np.cumsum(np.full(n, x)), np.full(n, x)


@pytest.mark.parametrize("python_only", [False, True])
def test_results_of_computed_size(python_only: bool, guard: Any) -> None:
    with capi.python_only() if python_only else nullcontext():
        compiled = jitgrad.jit(of_computed_size)
        assert [list(a) for a in compiled(1.0, 3)] == [[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]]
        with limited(guard), pytest.raises(MemoryError):
            compiled(1.0, BIG)
        assert len(compiled(1.0, BIG)[0]) == BIG


# --- nothing is kept


def kept_bytes(call: Callable[[], Any]) -> int:
    """Return the bytes that some calls leave behind, once the first have warmed what is kept on purpose."""
    tracemalloc.start(1)
    try:
        for _ in range(3):
            call()
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(20):
            call()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def raising(exception: type[BaseException], call: Callable[[], Any]) -> Callable[[], None]:
    def run() -> None:
        with pytest.raises(exception):
            call()

    return run


N = 20_000  # numbers kept: 160 kB a call


def test_tracemalloc_counts_tapes() -> None:
    compiled = jitgrad.grad(tape)
    compiled(0.5, 3)
    tracemalloc.start()
    try:
        compiled(0.5, N)
        assert tracemalloc.get_traced_memory()[1] > 8 * N
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("transform", [jitgrad.jit, jitgrad.grad, jitgrad.value_and_grad])
@pytest.mark.parametrize("f", [users_list, tape, steps])
def test_calls_keep_nothing(f: Callable[..., Any], transform: Any) -> None:
    compiled = transform(f)
    compiled(0.5, N)
    assert kept_bytes(lambda: compiled(0.5, N)) < 8 * N


@pytest.mark.parametrize("python_only", [False, True])
def test_results_are_let_go(python_only: bool) -> None:
    with capi.python_only() if python_only else nullcontext():
        compiled = jitgrad.jit(of_computed_size)
        compiled(0.5, N)
        assert kept_bytes(lambda: compiled(0.5, N)) < 8 * N


@pytest.mark.parametrize("transform", [jitgrad.jit, jitgrad.grad])
def test_calls_that_raise_keep_nothing(transform: Any) -> None:
    compiled, a = transform(fails_late), np.ones(N)
    compiled(0.5, N, a, N)
    call = raising(IndexError, lambda: compiled(0.5, N, a, N + 1))
    assert kept_bytes(call) < 8 * N


def test_calls_without_memory_keep_nothing(guard: Any) -> None:
    compiled = jitgrad.grad(tape)
    compiled(0.5, N)

    def call() -> None:
        with pytest.raises(MemoryError):
            compiled(0.5, BIG)

    tracemalloc.start(1)
    try:
        with limited(guard):
            call()
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(10):
                call()
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] - before < 8 * N
    finally:
        tracemalloc.stop()


def test_interrupted_calls_keep_nothing() -> None:
    compiled = jitgrad.grad(for_ever)
    with suppress(ZeroDivisionError):
        compiled(-3.0)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)

    def call() -> None:
        with pytest.raises(KeyboardInterrupt):
            # In here, for on a busy machine the alarm may come before the call.
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            compiled(0.5)

    tracemalloc.start(1)
    try:
        call()
        gc.collect()
        held = tracemalloc.get_traced_memory()[0]
        for _ in range(5):
            call()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - held < 2**16
    finally:
        tracemalloc.stop()
        signal.signal(signal.SIGALRM, before)


def test_large_arenas_are_not_kept_and_go_with_their_code() -> None:
    def f(a):
        b = a.copy()
        for i in range(1, len(b)):
            b[i] = 0.5 * b[i - 1] + b[i]
        return b[-1]

    tracemalloc.start(1)
    try:
        sizes = {}
        for n in (10_000, ARENA_KEPT_BYTES // 8 + 1000):
            a = np.ones(n)
            compiled = jitgrad.jit(f)
            before = tracemalloc.get_traced_memory()[0]
            compiled(a)
            sizes[n] = tracemalloc.get_traced_memory()[0] - before
            del compiled
            gc.collect()
        small, large = sizes.values()
        assert small < 2**22 and large < 2**22
    finally:
        tracemalloc.stop()
