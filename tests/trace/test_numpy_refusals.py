"""Calls of NumPy that are refused, by name."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import pytest

from jitgrad import jit
from jitgrad.errors import UnsupportedError
from tests.trace.calling import check, traced_call
from tests.trace.operands import M, S, V, W

REFUSED = [
    (lambda x: zlib.crc32(b"3") * x, (0.5,), "JG223", "zlib.crc32 has no meaning here"),
    (lambda x: abs(x * 1j), (0.5,), "JG216", "abs of complex"),
    (lambda x: np.random.rand(3) + x, (0.5,), "JG237", "np.random.rand"),
    (lambda x: np.unique(x, axis=0), (V,), "JG235", "np.unique"),
    (lambda x: np.linalg.svd(x), (S,), "JG237", "np.linalg.svd"),
    (lambda x: np.linalg.inv(x * 1j), (S,), "JG216", "np.linalg.inv"),
    (lambda x: np.quantile(x, 0.5, method="lower"), (V,), "JG235", "method"),
    (lambda x: np.add(x, 1, casting="unsafe"), (V,), "JG235", "casting"),
    (lambda x: np.add(x, 1, where=x > 0), (V,), "JG235", "where"),
    (lambda x: np.pad(x, 1, mode="mean"), (V,), "JG235", "mode"),
    (lambda x: np.seterr(all="ignore"), (V,), "JG237", "np.seterr"),
    (lambda x: np.errstate(all="raise"), (V,), "JG235", "raise"),
    (lambda x: np.linalg.norm(x, "nuc"), (M,), "JG235", "ord"),
    (lambda x: np.arange(x), (np.float32(3.5),), "JG236", "np.arange"),
    (lambda x: np.frexp(x), (V,), "JG215", "np.frexp"),
    (lambda x: np.shares_memory(x, x), (V,), "JG237", "np.shares_memory"),
    (lambda x: np.array([[x, x], [x]]), (0.5,), "JG211", "different shapes"),
    (lambda x: x.tobytes(), (V,), "JG232", "tobytes"),
    (lambda x: x[x[0] > 0], (V,), "JG219", "bool"),
]


@pytest.mark.parametrize("row", REFUSED, ids=[r[3] for r in REFUSED])
def test_what_is_refused_is_named(row: Any) -> None:
    function, args, code, words = row
    with pytest.raises(UnsupportedError, match=words) as found:
        traced_call(function, *args)
    assert found.value.code == code


def test_points_that_do_not_increase_are_refused() -> None:
    for points in (V, np.array([1.0, np.nan, 2.0, 3.0, 4.0])):
        with pytest.raises(UnsupportedError, match=r"(?s)JG246.*np\.interp\(x, points"):
            jit(lambda x, points: np.interp(x, points, W))(0.5, points)


def test_a_store_behind_a_read_only_view_is_refused() -> None:
    def f(x: Any) -> Any:
        y = np.broadcast_to(x, (2, 5))
        x[0] = 7.0
        return y.sum()

    def g(x: Any) -> Any:
        y = np.diagonal(x).sum()
        x[0, 0] = 7.0
        return y + x[0, 0]

    with pytest.raises(UnsupportedError, match="JG241"):
        traced_call(f, V)
    check(g, (S.copy(),))
