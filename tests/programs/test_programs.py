"""Every program of the bank, against Python, NumPy's interpreter and differences."""

from __future__ import annotations

import inspect

import pytest

from tests.programs import bank_classes, bank_finance, bank_loops, bank_models, bank_science, bank_short
from tests.programs.checks import check, check_rebound_global
from tests.programs.harness import PROGRAMS, Program

BANKS = (bank_classes, bank_finance, bank_loops, bank_models, bank_science, bank_short)
HERE = [p for p in PROGRAMS if p.function.__module__ in {bank.__name__ for bank in BANKS}]


@pytest.mark.parametrize("p", HERE, ids=lambda p: p.name)
def test_program(p: Program) -> None:
    check(p)


@pytest.mark.parametrize("p", HERE[::6], ids=lambda p: p.name)
def test_global_of_another_type(p: Program) -> None:
    check_rebound_global(p)


def test_the_bank_is_long() -> None:
    sources = [inspect.getsource(p.function) for p in HERE]
    lengths = [len(s[s.index("\ndef ") :].strip().splitlines()) for s in sources]
    assert len(HERE) >= 100
    assert 2 * sum(n >= 15 for n in lengths) >= len(HERE)
    assert all(len(p.inputs) >= 2 for p in HERE if p.wrt)
    assert len({p.name for p in HERE}) == len(HERE)
