"""Memory of large results: at whole cache lines, the result's own, and used again once it is freed."""

from __future__ import annotations

import gc
import pickle
import sys
import threading
from typing import Any

import numpy as np
import pytest
from numpy._core.multiarray import get_handler_name  # type: ignore[attr-defined]

import jitgrad
from jitgrad.backend import blocks

LARGE = blocks.LARGE // 8


def both(x: np.ndarray) -> Any:
    return x + 1.0, x * 2.0


compiled = jitgrad.jit(both)


def address(x: np.ndarray) -> int:
    return int(x.ctypes.data)


@pytest.mark.parametrize("n", [LARGE // 4, LARGE - 1, LARGE, LARGE * 3, LARGE * 40])
def test_results_are_ordinary_arrays(n: int) -> None:
    x = np.arange(float(n))
    for made, want in zip(compiled(x), both(x), strict=True):
        np.testing.assert_array_equal(made, want)
        assert made.flags.owndata and made.flags.writeable and made.flags.aligned and made.base is None
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(made)), want)
        made.resize(2 * n, refcheck=False)
        np.testing.assert_array_equal(made[:n], want)
        assert not made[n:].any()
        made.resize(n // 2, refcheck=False)
        np.testing.assert_array_equal(made, want[: n // 2])


def test_large_ones_are_ours_and_small_ones_numpys() -> None:
    large, _ = compiled(np.ones(LARGE * 2))
    small, _ = compiled(np.ones(LARGE // 4))
    assert get_handler_name(large) == "jitgrad"
    assert address(large) % 64 == 0
    assert get_handler_name(small) == get_handler_name(np.ones(3)) == get_handler_name() == "default_allocator"


def test_what_is_freed_is_used_again() -> None:
    x = np.ones(LARGE * 5)
    first = {address(y) for y in compiled(x)}
    for _ in range(5):
        assert {address(y) for y in compiled(x)} == first
    held = compiled(x)
    more = compiled(x)
    assert not {address(y) for y in held} & {address(y) for y in more}
    np.testing.assert_array_equal(held[0], x + 1.0)


def test_a_block_serves_what_is_a_little_smaller_only() -> None:
    n = LARGE * 7
    at = {address(y) for y in compiled(np.ones(n))}
    assert {address(y) for y in compiled(np.ones(n - n // 8))} <= at
    assert not {address(y) for y in compiled(np.ones(n // 2))} & at
    assert not {address(y) for y in compiled(np.ones(n + 1))} & at


def resident() -> int:
    """Return how much memory the process has, in bytes."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


def test_no_more_is_kept_than_is_said() -> None:
    x = np.ones(blocks.KEPT_BYTES // 8 // 4)
    compiled(x)
    gc.collect()
    before = resident()
    held = [compiled(x) for _ in range(8)]  # four times what may be kept
    assert resident() > before + 3 * blocks.KEPT_BYTES
    del held
    assert resident() < before + 1.5 * blocks.KEPT_BYTES
    huge = np.ones(blocks.KEPT_BYTES // 8 + 1)
    between = resident()
    compiled(huge)
    assert resident() < between + blocks.KEPT_BYTES / 2


def test_many_blocks_that_are_freed_at_once() -> None:
    rng = np.random.default_rng(0)
    held: list[tuple[np.ndarray, float]] = []
    for k in range(300):
        n = int(rng.integers(LARGE // 2, LARGE * 3))
        a, b = compiled(np.full(n, float(k)))
        held += [(a, k + 1.0), (b, 2.0 * k)]
        for _ in range(int(rng.integers(0, 5))):
            array, want = held.pop(int(rng.integers(len(held)))) if held else (np.zeros(1), 0.0)
            assert array[0] == array[-1] == want
    for array, want in held:
        assert np.all(array == want)


def test_references_are_given_back() -> None:
    x = np.ones(LARGE * 2)
    compiled(x)
    before = sys.getrefcount(blocks.HANDLER)
    for _ in range(100):
        compiled(x)
    assert sys.getrefcount(blocks.HANDLER) <= before + 2  # the context may hold one


def test_threads() -> None:
    wrong: list[int] = []

    def run(k: int) -> None:
        for n in range(60):
            x = np.full(LARGE + 1000 * (n % 7), float(k))
            a, b = compiled(x)
            if not (np.all(a == k + 1.0) and np.all(b == 2.0 * k)):
                wrong.append(k)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_no_memory_is_a_memory_error() -> None:
    def f(n: int) -> Any:
        return np.zeros(n), np.ones(n)

    with pytest.raises(MemoryError):
        jitgrad.jit(f)(2**46)
    assert get_handler_name() == "default_allocator"
    np.testing.assert_array_equal(compiled(np.ones(LARGE))[0], np.full(LARGE, 2.0))
