"""Addresses in loops: what is counted, what is computed before the loop."""

from __future__ import annotations

import numpy as np
import pytest

import jitgrad
from jitgrad.backend.counters import Linear, linear_of
from jitgrad.backend.text import FunctionText


def _of(x: str) -> Linear:
    return Linear(0, {x: 1}) if x.startswith("%") else Linear(int(x), {})


@pytest.mark.parametrize(
    ("instruction", "want"),
    [
        ("add i64 %a, 3", Linear(3, {"%a": 1})),
        ("sub i64 3, %a", Linear(3, {"%a": -1})),
        ("sub i64 %a, %a", Linear(0, {})),
        ("mul i64 %a, -4", Linear(0, {"%a": -4})),
        ("mul i64 %a, %b", None),
        ("add i32 %a, %b", None),
        ("add nuw nsw i64 %a, 1", None),
    ],
)
def test_sums_are_read(instruction: str, want: Linear | None) -> None:
    assert linear_of(instruction, _of) == want


def test_loops_compute_only_what_moves() -> None:
    text = FunctionText()
    outer = text.emit("load i64, ptr %in")
    places: list[str] = []

    def body(i: str) -> None:
        offset = text.add(text.mul(outer, 60), text.sub(7, text.mul(i, 5)))
        places.append(text.address("%arena", "double", offset))

    text.counted(10, body, start=1)
    lines = "\n".join(text.lines).split("\n")
    inside = lines[lines.index(next(x for x in lines if x.startswith("loop"))) :]
    (number,) = {x.split()[0] for x in inside if " phi " in x and x.split()[0].startswith("%m") and "[ -5," in x}
    assert f"  {number}.next = add i64 {number}, -5" in inside
    # The product with what stays is an address before the loop; the 7 is part of the address in an instruction.
    assert any(x.startswith(f"  {places[0]} = getelementptr") and x.endswith("i64 7") for x in inside)
    assert any("%h" in x and "getelementptr double, ptr %arena" in x for x in lines[: len(lines) - len(inside)])


def test_a_sum_with_the_index_is_counted_where_it_is_needed() -> None:
    text = FunctionText()
    start = text.emit("load i64, ptr %in")
    sums: list[str] = []
    text.counted(10, lambda i: sums.append(text.emit(f"add i64 {i}, {start}")))
    assert sums[0].startswith("%m")
    assert any(f"{sums[0]} = phi i64 [ {start}," in line for line in text.lines)


def test_numbers_of_an_outer_loop_stay_in_the_inner() -> None:
    text = FunctionText()
    found: list[str] = []

    def inner(i: str, j: str) -> None:
        found.append(text.address("%arena", "double", text.add(text.mul(i, 60), j)))

    text.counted(5, lambda i: text.counted(9, lambda j: inner(i, j)))
    (line,) = [x for x in "\n".join(text.lines).split("\n") if x.startswith(f"  {found[0]} = ")]
    assert line.startswith(f"  {found[0]} = getelementptr double, ptr %h")


def _walk(a: np.ndarray, m: int, step: int) -> float:
    total = 0.0
    for i in range(m):
        for j in range(len(a) - 1, i, -step):
            k = 0
            while k < 2:
                total += a[j, m - 1 - i] * a[i + k, (j + i) % m] + a[j - i, i]
                k += 1
            if j > 2:
                for q in range(i, j):
                    a[q, i] += 0.5 * a[q - i, j - q] * a[j - 1, (m - 1) - q % m]
    return total + float(np.sum(a[::2, 1:-1] * a[1::2, ::-1][:, 1:-1]))


_JITTED = jitgrad.jit(_walk)


@pytest.mark.parametrize("shape", [(6, 6), (8, 8), (10, 10), (14, 14)])  # the third and later have run-time sizes
def test_addresses_are_those_of_the_program(shape: tuple[int, int]) -> None:
    for step in (1, 2, 3):
        a = np.random.default_rng(1).standard_normal(shape)
        b = a.copy()
        assert _JITTED(a, shape[1], step) == pytest.approx(_walk(b, shape[1], step), rel=1e-12)
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize("rows", [5, 16, 33])
@pytest.mark.parametrize("columns", [7, 32])
def test_turned_arrays(rows: int, columns: int) -> None:
    a = np.random.default_rng(2).standard_normal((3, rows, columns))

    def f(a: np.ndarray) -> np.ndarray:
        turned = a.transpose(0, 2, 1).copy()
        for i in range(1, turned.shape[1]):
            turned[:, i] += 0.5 * turned[:, i - 1]
        return turned

    np.testing.assert_allclose(jitgrad.jit(f)(a), f(a), rtol=1e-12)
