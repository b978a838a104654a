"""Functions of `scipy.special`, known by identity without importing SciPy in jitgrad."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special
from scipy.special import expit, logsumexp, xlogy

from tests.trace.calling import check

V = np.array([0.3, -1.2, 2.5, 0.7, -0.4])
P = np.array([0.3, 0.0, 0.5, 1.0, 0.9])
M = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]])

ROWS: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (lambda x: scipy.special.erf(x), (V,)),
    (lambda x: scipy.special.erfc(x), (V,)),
    (lambda x: expit(x), (V,)),
    (lambda x: expit(x), (V.astype(np.float32),)),
    (lambda x: expit(x), (0.5,)),
    (lambda x: scipy.special.ndtr(x), (V,)),
    (lambda x: scipy.special.logit(x), (P,)),
    (lambda x: scipy.special.log_expit(x), (V,)),
    (lambda x: scipy.special.entr(x), (P,)),
    (lambda x, y: xlogy(x, y), (P, P)),
    (lambda x, y: xlogy(x, y), (np.zeros(4), np.array([0.5, -1.0, np.inf, np.nan]))),
    (lambda x, y: scipy.special.xlog1py(x, y), (P, P)),
    (lambda x: logsumexp(x), (V,)),
    (lambda x: logsumexp(x, axis=1), (M,)),
    (lambda x: logsumexp(x, axis=0, keepdims=True), (M,)),
    (lambda x: logsumexp(x, b=[1.0, 2.0, 0.5], axis=1), (M,)),
    (lambda x: scipy.special.softmax(x), (V,)),
    (lambda x: scipy.special.softmax(x, axis=1), (M,)),
    (lambda x: scipy.special.log_softmax(x, axis=0), (M,)),
    (lambda x: scipy.special.expm1(x) + scipy.special.cbrt(x), (V,)),
]


@pytest.mark.parametrize("k", range(len(ROWS)))
def test_call_form(k: int) -> None:
    check(*ROWS[k], rtol=1e-12)


def test_jitgrad_does_not_import_scipy() -> None:
    code = "import jitgrad, sys; assert not any(m.split('.')[0] == 'scipy' for m in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
