"""Every program of the bank, against Python, NumPy's interpreter and differences."""

from __future__ import annotations

import inspect

import pytest

from tests.programs import bank_classes, bank_finance, bank_loops, bank_models, bank_science, bank_short
from tests.programs.harness import PROGRAMS, Program, check, check_rebound_global

assert bank_classes and bank_finance and bank_loops and bank_models and bank_science and bank_short


@pytest.mark.parametrize("p", PROGRAMS, ids=lambda p: p.name)
def test_program(p: Program) -> None:
    check(p)


@pytest.mark.parametrize("p", PROGRAMS[::6], ids=lambda p: p.name)
def test_rebound_global(p: Program) -> None:
    check_rebound_global(p)


def test_the_bank_is_long() -> None:
    sources = [inspect.getsource(p.function) for p in PROGRAMS]
    lengths = [len(s[s.index("\ndef ") :].strip().splitlines()) for s in sources]
    assert len(PROGRAMS) >= 100
    assert 2 * sum(n >= 15 for n in lengths) >= len(PROGRAMS)
    assert all(len(p.inputs) >= 2 for p in PROGRAMS if p.wrt)
    assert len({p.name for p in PROGRAMS}) == len(PROGRAMS)
