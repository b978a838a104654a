"""Product of a sparse matrix (CSR, 100,000 values) and a vector as loops, by the values and the vector."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import program_case

rng = np.random.default_rng(17)

ROWS = 2000
COUNTS = rng.multinomial(100_000, np.full(ROWS, 1.0 / ROWS))


def csr(data: np.ndarray, x: np.ndarray, indices: np.ndarray, indptr: np.ndarray) -> float:
    n = len(indptr) - 1
    y = np.zeros(n)
    for i in range(n):
        s = 0.0
        for k in range(indptr[i], indptr[i + 1]):
            s += data[k] * x[indices[k]]
        y[i] = s
    return float(np.sum(y * y))


def csr_jax(data: Any, x: Any, indices: Any, indptr: Any) -> Any:
    import jax
    import jax.numpy as jnp

    # The row of each value is known beforehand, as in JAX's own sparse matrices.
    rows = np.repeat(np.arange(ROWS), COUNTS)
    products = data * x.at[indices].get(mode="promise_in_bounds")
    y = jax.ops.segment_sum(products, rows, ROWS, indices_are_sorted=True, mode="promise_in_bounds")
    return jnp.sum(y * y)


def csr_by_hand(
    data: np.ndarray, x: np.ndarray, indices: np.ndarray, indptr: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    # A row at a time there and back, so that its values are still in the cache.
    gdata = np.empty(len(data))
    gx = np.zeros(len(x))
    places = indices.view(np.uint64)
    for i in range(len(indptr) - 1):
        low, high = indptr[i], indptr[i + 1]
        v, p, gv = data[low:high], places[low:high], gdata[low:high]
        s = 0.0
        for k in range(high - low):
            s += v[k] * x[p[k]]
        s *= 2.0
        for k in range(high - low):
            gv[k] = s * x[p[k]]
        for k in range(high - low):
            gx[p[k]] += s * v[k]
    return gdata, gx


CASES = [
    program_case(
        "csr_1e5",
        csr,
        (
            rng.standard_normal(100_000),
            rng.standard_normal(ROWS),
            rng.integers(0, ROWS, 100_000),
            np.concatenate([[0], np.cumsum(COUNTS)]),
        ),
        argnums=(0, 1),
        jax=csr_jax,
        by_hand=csr_by_hand,
    )
]
