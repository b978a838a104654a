"""The collector while something is compiled, and afterwards."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator

import pytest

import jitgrad
from jitgrad.collection import RARE, rare_collections


@pytest.fixture(autouse=True)
def thresholds() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)


def test_a_compile_is_not_interrupted_by_collections_and_leaves_the_collector_as_it_was() -> None:
    phases: list[str] = []
    steps = "".join(f"    a = a * b + {k}.25\n    b = b - 0.125 * a\n" for k in range(30))
    scope: dict = {}
    exec(f"def f(x):\n    a, b = x, 0.5 * x\n{steps}    return a + b\n", scope)

    def seen(phase: str, _: dict) -> None:
        phases.append(phase)

    gradient = jitgrad.grad(scope["f"])
    gc.collect()
    gc.callbacks.append(seen)
    try:
        gradient(0.7)
    finally:
        gc.callbacks.remove(seen)
    # One for what the compile left, after it.
    assert phases.count("start") <= 3
    assert gc.get_threshold() == (700, 10, 10)


def test_the_last_of_several_compiles_puts_the_thresholds_back() -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with rare_collections():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with rare_collections():
        assert gc.get_threshold() == (RARE, 10, 10)
        thread.start()
        inside.wait()
    assert gc.get_threshold() == (RARE, 10, 10)
    leave.set()
    thread.join()
    assert gc.get_threshold() == (700, 10, 10)


def test_an_error_puts_the_thresholds_back() -> None:
    with pytest.raises(KeyError), rare_collections():
        raise KeyError
    assert gc.get_threshold() == (700, 10, 10)


@pytest.mark.parametrize("own", [(0, 10, 10), (RARE + 1, 10, 10)])
def test_a_collector_that_is_off_or_rarer_stays_so(own: tuple[int, int, int]) -> None:
    gc.set_threshold(*own)
    with rare_collections():
        assert gc.get_threshold() == own
    assert gc.get_threshold() == own


def test_thresholds_that_are_set_meanwhile_stay() -> None:
    with rare_collections():
        gc.set_threshold(5000, 10, 10)
    assert gc.get_threshold() == (5000, 10, 10)
