"""The bank of users' programs, against Python, NumPy's interpreter and differences."""

from __future__ import annotations

import pytest

from tests.programs import bank_users
from tests.programs.checks import check
from tests.programs.harness import PROGRAMS, Program

HERE = [p for p in PROGRAMS if p.function.__module__ == bank_users.__name__]


@pytest.mark.parametrize("p", HERE, ids=lambda p: p.name)
def test_program(p: Program) -> None:
    check(p)
