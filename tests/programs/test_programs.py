"""Every program of the bank: forward against Python, gradients against finite differences."""

from __future__ import annotations

import pytest

from tests.programs import bank_loops, bank_models, bank_short
from tests.programs.harness import PROGRAMS, Program, check_forward, check_gradient

assert bank_loops and bank_models and bank_short


@pytest.mark.parametrize("p", PROGRAMS, ids=lambda p: p.name)
def test_forward(p: Program) -> None:
    check_forward(p)


@pytest.mark.parametrize(
    ("p", "position"), [(p, k) for p in PROGRAMS for k in p.wrt], ids=lambda v: getattr(v, "name", str(v))
)
def test_gradient(p: Program, position: int) -> None:
    check_gradient(p, position)
