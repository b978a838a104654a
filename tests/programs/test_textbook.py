"""The banks of textbook algorithms, stores, sizes and control flow: known values, and every check of the harness."""

from __future__ import annotations

import copy
import types
from typing import Any

import numpy as np
import pytest

import jitgrad
from tests.programs import (
    bank_aliases,
    bank_choices,
    bank_control,
    bank_numerics,
    bank_records,
    bank_sizes,
    bank_states,
    bank_stores,
    bank_textbook,
)
from tests.programs.checks import check
from tests.programs.harness import PROGRAMS, Program
from tests.programs.known import KNOWN, Known

BANKS: list[types.ModuleType] = [
    bank_aliases,
    bank_choices,
    bank_control,
    bank_numerics,
    bank_records,
    bank_sizes,
    bank_states,
    bank_stores,
    bank_textbook,
]
HERE = [p for p in PROGRAMS if p.function.__module__ in {bank.__name__ for bank in BANKS}]


def parts(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


@pytest.mark.parametrize("k", KNOWN, ids=lambda k: k.function.__name__)
def test_known_value(k: Known) -> None:
    """Python gives the value that the textbook states, and so does the compiled program."""
    for function in (k.function, jitgrad.jit(k.function)):
        for got, want in zip(parts(function(*copy.deepcopy(k.args))), parts(k.value), strict=True):
            np.testing.assert_allclose(got, want, rtol=k.rtol, atol=k.rtol)


@pytest.mark.parametrize("p", HERE, ids=lambda p: p.name)
def test_program(p: Program) -> None:
    check(p)


def test_the_banks_are_long() -> None:
    assert len({k.function for k in KNOWN}) >= 24
    assert len(PROGRAMS) >= 160 or len(HERE) >= 60
    assert all(len(p.inputs) >= 3 for p in HERE)
    assert all(len(bank.__doc__ or "") > 0 for bank in BANKS)
