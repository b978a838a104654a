"""Long bodies answer signals with the user's line, give up the GIL and are re-entrant; loops are as fast as before."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import jitgrad
from jitgrad.backend import capi, pacing
from jitgrad.backend.engine import compile_module

FOREVER = 10**13
SOON = 0.05  # seconds until the signal
LATE = 2.0  # seconds after which an answer is too late: the machine may be busy


class Stop(Exception):
    """What the handler raises."""


def stop(*_: Any) -> None:
    raise Stop("now")


@pytest.fixture
def alarm() -> Iterator[Callable[[Any], None]]:
    """Return what arms a signal whose handler is given."""
    before = signal.getsignal(signal.SIGALRM)

    def arm(handler: Any) -> None:
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, SOON)

    yield arm
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    signal.signal(signal.SIGALRM, before)


# Each is called with two arguments that last for ever; the line of the loop that is stopped is marked.


def counted(x, n):
    s = 0.0
    for i in range(n):  # here
        s = s * x + i
    return s


def conditional(x, n):
    s = 0.0
    while s <= n:  # here
        s = s * x + 1.0
    return s


def nested(x, n):
    s = 0.0
    for i in range(n):
        for j in range(i):  # here
            s = s * x + j
    return s


def empty_inside(x, n):
    s = 0.0
    for i in range(n):  # here
        for j in range(-i):
            s = s + j
        s = s * x
    return s


def over_arrays(x, n):
    u = np.full(1000, x)
    for _ in range(n):  # here
        u[1:-1] = u[1:-1] + 0.1 * (u[2:] - 2.0 * u[1:-1] + u[:-2])
    return u.sum()


def products(x, n):
    a = np.full((60, 60), x)
    for _ in range(n):  # here
        a = a @ a * 1e-3
    return a.sum()


def inner(s, x):
    while s > 1.0:  # here
        s = s + x
    return s


def in_a_helper(x, n):
    return inner(n * 1.0, x)


LOOPS = [counted, conditional, nested, empty_inside, over_arrays, products, in_a_helper]


def line_of(f: Callable[..., Any]) -> int:
    with open(__file__) as source:
        lines = source.read().split("\n")
    f = inner if f is in_a_helper else f
    first = f.__code__.co_firstlineno
    return next(k for k in range(first, first + 9) if "# here" in lines[k - 1])


def interrupted(call: Callable[[], Any], exception: type[BaseException]) -> BaseException:
    start = time.perf_counter()
    with pytest.raises(exception) as found:
        call()
    assert time.perf_counter() - start < SOON + LATE
    return found.value


@pytest.mark.parametrize("f", LOOPS, ids=lambda f: f.__name__)
def test_a_loop_is_stopped_within_its_lines(f: Callable[..., Any], alarm: Callable[[Any], None]) -> None:
    compiled = jitgrad.jit(f)
    compiled(0.5, 1)
    alarm(signal.default_int_handler)
    found = interrupted(lambda: compiled(0.5, FOREVER), KeyboardInterrupt)
    lines = [e.lineno for e in traceback.extract_tb(found.__traceback__) if e.filename == __file__]
    assert 0 <= lines[-1] - line_of(f) <= 3
    assert compiled(0.5, 1) == pytest.approx(f(0.5, 1))


@pytest.mark.parametrize("f", [conditional, over_arrays], ids=lambda f: f.__name__)
def test_a_gradient_is_stopped(f: Callable[..., Any], alarm: Callable[[Any], None]) -> None:
    compiled = jitgrad.grad(f)
    compiled(0.5, 1)
    alarm(stop)
    found = interrupted(lambda: compiled(0.5, FOREVER), Stop)
    names = [e.name for e in traceback.extract_tb(found.__traceback__) if e.filename == __file__]
    assert names[-2:] == [f.__name__, "stop"]


def test_stores_made_so_far_stay(alarm: Callable[[Any], None]) -> None:
    def f(a, n):
        for i in range(n):
            a[0] += 1.0
            a[1 + i % 3] = i

    a = np.zeros(4)
    compiled = jitgrad.jit(f)
    compiled(a.copy(), 1)
    alarm(stop)
    interrupted(lambda: compiled(a, FOREVER), Stop)
    last = a[1:].max()
    assert a[0] == last + 1.0 > 1000.0 and sorted(a[1:]) == [last - 2.0, last - 1.0, last]


def test_a_handler_that_returns_does_not_stop(alarm: Callable[[Any], None]) -> None:
    compiled = jitgrad.jit(counted)
    compiled(0.5, 1)
    heard = []
    # The handler runs within the call, and calls the same code.
    alarm(lambda *_: heard.append(compiled(0.5, 10)))
    got = compiled(0.5, 10**8)
    assert heard == [counted(0.5, 10)]
    assert got == pytest.approx(2.0 * 10**8, rel=1e-6)


def test_calls_without_native_entry(alarm: Callable[[Any], None]) -> None:
    with capi.python_only():
        compiled = jitgrad.jit(counted)
        compiled(0.5, 1)
        alarm(signal.default_int_handler)
        found = interrupted(lambda: compiled(0.5, FOREVER), KeyboardInterrupt)
    lines = [e.lineno for e in traceback.extract_tb(found.__traceback__) if e.filename == __file__]
    assert 0 <= lines[-1] - line_of(counted) <= 1


def test_ctrl_c() -> None:
    program = (
        # A shell's background jobs ignore Ctrl-C, and what they start inherits that.
        "import jitgrad, signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def f(x):\n"
        "    while x > 0.0:\n"
        "        x = x + 1.0\n"
        "    return x\n"
        "g = jitgrad.jit(f)\n"
        "g(-1.0)\n"
        "print('ready', flush=True)\n"
        "g(1.0)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        time.sleep(SOON)
        child.send_signal(signal.SIGINT)
        try:
            _, errors = child.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            child.kill()
            raise
    assert child.returncode == -signal.SIGINT
    assert errors.decode().rstrip().endswith("KeyboardInterrupt")
    assert "line 3, in f" in errors.decode()


# --- threads


def busy(a, n):
    b = a * 1.5
    for _ in range(n):
        b = np.sin(b) + a
    return b.sum()


def test_python_runs_beside_a_long_loop() -> None:
    compiled = jitgrad.jit(counted)
    compiled(0.5, 1)
    ended = threading.Event()

    def work() -> None:
        compiled(0.5, 10**8)
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    turns = 0
    while not ended.is_set():
        turns += 1
    thread.join()
    # With the GIL held there are no turns but for those while the thread starts: fewer than in 10 ms.
    assert turns > 10_000


def test_two_threads_in_one_callable() -> None:
    """Each has its own arena and its own results; both at once, and right."""
    compiled = jitgrad.value_and_grad(busy)
    inputs = [np.linspace(0.0, k + 1.0, 1000) for k in range(4)]
    want = [compiled(a, 300) for a in inputs]
    got: list[Any] = [None] * 4
    barrier = threading.Barrier(4)

    def work(k: int) -> None:
        barrier.wait()
        got[k] = [compiled(inputs[k], 300) for _ in range(3)]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(4):
        for value, gradient in got[k]:
            assert value == want[k][0]
            assert np.array_equal(gradient, want[k][1])


def test_what_a_call_reads_outlives_it() -> None:
    """Arrays of a mutable container, and of a global, that another thread drops while the loop runs."""
    held = {"a": np.full(1000, 0.5)}
    compiled = jitgrad.jit(lambda d, n: busy(d["a"], n) + OUTSIDE[0])
    want = compiled(held, 20_000)
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(compiled(held, 20_000)))
    thread.start()
    time.sleep(0.01)
    globals()["OUTSIDE"] = np.full(1000, 3.0)
    held["a"] = np.zeros(1000)
    # Memory of the same size is likely to be that of what was dropped.
    for _ in range(100):
        np.full(1000, 7.0)
    thread.join()
    assert got in ([want], [want + 2.0])


OUTSIDE = np.full(1000, 1.0)


# --- chunks


def exchanged(x, n):
    u, v = np.full(5, x), np.zeros(5)
    for i in range(n):
        v[1:] = u[:-1] * 0.5
        v[0] = x + i
        u, v = v, u
    return u.sum() + u[3]


def searched(x, n):
    s, k = x, 0
    while True:
        s = np.sin(s) + x
        k += 1
        if k == n or s > 100.0:
            break
    return s * k


def kept(x, n):
    ys = []
    for i in range(n):
        ys.append(i * x + np.cos(i * x))
        for _ in range(i % 3):
            x = x * 0.99
    return ys[n - 1] + ys[n // 2]


@pytest.mark.parametrize("f", [exchanged, searched, kept], ids=lambda f: f.__name__)
@pytest.mark.parametrize("chunk", [1, 60, 100])
def test_a_loop_in_chunks_is_the_same_loop(f: Callable[..., Any], chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    want = [jitgrad.value_and_grad(f)(0.7, n) for n in (1, 2, 50)]
    monkeypatch.setattr(pacing, "CHUNK", chunk)
    monkeypatch.setattr(pacing, "FIRST_POLL", 100)
    monkeypatch.setattr(pacing, "POLL_EVERY", 300)
    compiled = jitgrad.value_and_grad(f)
    assert [compiled(0.7, n) for n in (1, 2, 50)] == want
    assert "jg_poll" in compiled.llvm(0.7, 50)
    assert want[2][0] == pytest.approx(f(0.7, 50))


# --- cost


@pytest.mark.parametrize("size", [7, 1000])
def test_loops_are_optimised_as_before(size: int) -> None:
    def f(a, b):
        for i in range(len(a)):
            b[i] = 2.0 * a[i] + 1.0

    a = np.ones(size)
    ir = jitgrad.jit(f).llvm(a, a.copy())
    assert "jg_poll" not in ir  # few trips, known when compiling

    def g(n, m):
        s = m
        for i in range(n):
            s = s ^ (i & m)
        return s

    compiled = jitgrad.jit(g)
    compiled(10, 3)
    body = compiled.llvm(10, 3)
    assert "jg_poll" in body
    optimised = compile_module(body).optimised_ir()
    assert re.search(r"xor <\d+ x i64>", optimised)
