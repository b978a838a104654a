"""Derivatives of a bank of structured programs and of random ones, to third order, against the interpreter."""

from __future__ import annotations

import numpy as np
import pytest

from jitgrad.graph.interpret import interpret
from jitgrad.graph.verify import verify
from tests.graph.diff_bank import BANK
from tests.graph.diff_check import check_derivatives, forward, reverse
from tests.graph.fuzz_diff import check_seed, random_program
from tests.sampling import sampled

STEPS = {"r": reverse, "f": forward}


@pytest.mark.parametrize("derived", ["", "r", "f", "rr"])
@pytest.mark.parametrize("name", sampled(list(BANK), 3))
def test_bank(name: str, derived: str) -> None:
    """Both modes: of a program, of its adjoint (r/r, f/r), of its tangent (r/f, f/f), of r/r (r/r/r, f/r/r)."""
    rng = np.random.default_rng(1)
    graph, args = BANK[name]()
    args = [np.asarray(a) for a in args]
    for step in derived:
        graph, args = STEPS[step](graph, args, rng)
    verify(graph)
    before = [np.copy(a) for a in args]
    assert check_derivatives(graph, args, rng, numeric=len(derived) < 2) < 1e-13
    for a, b in zip(before, args, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", list(BANK))
def test_derivatives_are_valid_graphs(name: str) -> None:
    rng = np.random.default_rng(1)
    graph, args = BANK[name]()
    for step in (reverse, forward, reverse):
        graph, args = step(graph, args, rng)
        verify(graph)


@pytest.mark.parametrize("start", sampled(range(0, 100, 10), 3))
def test_random_programs(start: int) -> None:
    errors = [check_seed(seed) for seed in range(start, start + 10)]
    assert max(e for e in errors if e is not None) < 1e-12


def test_random_programs_are_what_they_are_for() -> None:
    names = [{op.name for op in random_program(seed).walk()} for seed in range(60)]
    for wanted in ("for", "while", "if", "store", "addto", "load", "select", "list_push", "list_set"):
        assert sum(wanted in found for found in names) >= 6, wanted


def test_zero_trips_and_one_agree_with_no_loop() -> None:
    graph, args = BANK["runtime_count"]()
    made, its_args = reverse(graph, args, np.random.default_rng(0))
    x, ct = float(its_args[1]), float(its_args[2])
    assert interpret(made, [np.int64(0), x, ct])[-1] == ct
    assert interpret(made, [np.int64(-3), x, ct])[-1] == ct
    assert interpret(made, [np.int64(1), x, ct])[-1] == pytest.approx(ct * (np.sin(x) + x * np.cos(x)))
