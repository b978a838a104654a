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

import jitgrad
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
    (lambda x: scipy.special.gammaln(x), (V.astype(np.float32),)),
    (lambda x: scipy.special.gammaln(x), (np.array([0, -2, 1, 2, 3]),)),
    (lambda x: scipy.special.gammaln(x) + scipy.special.psi(x), (2.5,)),
    (lambda x: (scipy.special.gamma(x), scipy.special.psi(x)), (np.array([-0.0, 0.0]),)),
    (lambda x: scipy.special.gamma(x), (np.array([0.0, -2.0, 180.0, np.inf, -np.inf, np.nan, 171.5]),)),
]

# Where each formula is taken, on both sides of each limit.
PLACES = np.concatenate([np.linspace(-6.05, 12.0, 331), [0.5, 1.5, 2.5, 8.0, 50.0, 150.0]])
PLACES = PLACES[np.abs(PLACES - np.round(PLACES)) > 1e-3]


@pytest.mark.parametrize("name", ["gammaln", "digamma", "gamma"])
def test_gamma_and_its_logarithm(name: str) -> None:
    function = getattr(scipy.special, name)
    np.testing.assert_allclose(jitgrad.jit(lambda x: function(x))(PLACES), function(PLACES), rtol=1e-11, atol=2e-14)


def test_derivatives_of_gamma_and_its_logarithm() -> None:
    special = scipy.special
    slopes = {
        "gammaln": special.digamma(PLACES),
        "digamma": special.polygamma(1, PLACES[PLACES > 0]),
        "gamma": special.gamma(PLACES) * special.digamma(PLACES),
    }
    for name, want in slopes.items():
        function = getattr(special, name)
        x = PLACES if len(want) == len(PLACES) else PLACES[PLACES > 0]
        gradient = jitgrad.grad(lambda x, f=function: f(x).sum())(x)
        np.testing.assert_allclose(gradient, want, rtol=1e-11, atol=1e-12)
        if name == "gammaln":
            second = jitgrad.grad(lambda x: jitgrad.grad(lambda x: special.gammaln(x).sum())(x).sum())(x[x > 0])
            np.testing.assert_allclose(second, special.polygamma(1, x[x > 0]), rtol=1e-9)


@pytest.mark.parametrize("k", range(len(ROWS)))
def test_call_form(k: int) -> None:
    check(*ROWS[k], rtol=1e-12)


def test_jitgrad_does_not_import_scipy() -> None:
    code = "import jitgrad, sys; assert not any(m.split('.')[0] == 'scipy' for m in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
