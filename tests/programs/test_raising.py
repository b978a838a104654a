"""Both derivative modes raise what Python raises, at its line, for every program of the bank."""

from __future__ import annotations

import copy
from typing import Any

import pytest

import jitgrad
from jitgrad.api import Transformed
from jitgrad.transform import Transform
from tests.programs import test_programs, test_textbook  # they import all banks
from tests.programs.checks import count_of
from tests.programs.harness import PROGRAMS, Args, Program, floats, last_line, outcome, same, scaled
from tests.test_second_order import weighted

assert test_programs and test_textbook


def failing() -> list[Program]:
    return [p for p in PROGRAMS if any(outcome(p.function, copy.deepcopy(a))[0] == "raises" for a in p.inputs)]


@pytest.mark.parametrize("p", failing(), ids=lambda p: p.name)
def test_exceptions_of_derivatives(p: Program) -> None:
    """Type, message and line, in both modes; the arguments are left alone."""

    def scalar(*args: Any) -> Any:
        return weighted(p.function(*args))

    for args in p.inputs:
        kind, want = outcome(p.function, copy.deepcopy(args))
        if kind == "value" or next(floats(list(args)), None) is None:
            continue
        calls: list[tuple[Any, Args]] = []
        given = copy.deepcopy(args)
        push = Transformed(Transform("push", p.function))
        calls.append((push, (given, tuple(scaled(a, 0.0) for a in args))))
        if p.wrt:
            calls.append((jitgrad.grad(scalar, argnums=p.wrt), given))
        for function, passed in calls:
            found, got = outcome(function, passed)
            assert found == "raises" and type(got) is type(want), (function, got, want)
            assert str(got) == str(want)
            assert last_line(got) == last_line(want)
            same(list(given), list(args), 0.0, "arguments")


def test_many_programs_count_trips() -> None:
    assert sum(count_of(p) is not None for p in PROGRAMS) >= 40
