"""LSTM over 100 steps, batch 16, hidden 64, differentiated by all weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import program_case

rng = np.random.default_rng(12)


def lstm(wx: np.ndarray, wh: np.ndarray, b: np.ndarray, wo: np.ndarray, xs: np.ndarray, ys: np.ndarray) -> float:
    n = wh.shape[0]
    h = np.zeros((xs.shape[1], n))
    c = np.zeros((xs.shape[1], n))
    loss = 0.0
    for t in range(len(xs)):
        z = xs[t] @ wx + h @ wh + b
        i = 1.0 / (1.0 + np.exp(-z[:, :n]))
        f = 1.0 / (1.0 + np.exp(-z[:, n : 2 * n]))
        o = 1.0 / (1.0 + np.exp(-z[:, 2 * n : 3 * n]))
        g = np.tanh(z[:, 3 * n :])
        c = f * c + i * g
        h = o * np.tanh(c)
        e = h @ wo - ys[t]
        loss += np.sum(e * e)
    return float(loss)


def lstm_autograd(anp: Any, wx: Any, wh: Any, b: Any, wo: Any, xs: Any, ys: Any) -> Any:
    n = wh.shape[0]
    h = np.zeros((xs.shape[1], n))
    c = np.zeros((xs.shape[1], n))
    loss = 0.0
    for t in range(len(xs)):
        z = anp.dot(xs[t], wx) + anp.dot(h, wh) + b
        i = 1.0 / (1.0 + anp.exp(-z[:, :n]))
        f = 1.0 / (1.0 + anp.exp(-z[:, n : 2 * n]))
        o = 1.0 / (1.0 + anp.exp(-z[:, 2 * n : 3 * n]))
        g = anp.tanh(z[:, 3 * n :])
        c = f * c + i * g
        h = o * anp.tanh(c)
        e = anp.dot(h, wo) - ys[t]
        loss = loss + anp.sum(e * e)
    return loss


def lstm_jax(wx: Any, wh: Any, b: Any, wo: Any, xs: Any, ys: Any) -> Any:
    import jax
    import jax.numpy as jnp

    n = wh.shape[0]
    zero = jnp.zeros((xs.shape[1], n))

    def step(carry: Any, zx: Any) -> Any:
        h, c = carry
        z = zx + h @ wh
        s = jax.nn.sigmoid(z[:, : 3 * n])
        c = s[:, n : 2 * n] * c + s[:, :n] * jnp.tanh(z[:, 3 * n :])
        h = s[:, 2 * n :] * jnp.tanh(c)
        return (h, c), h

    # What does not depend on the state is one product before the loop, and one after it.
    _, hs = jax.lax.scan(step, (zero, zero), xs @ wx + b)
    return jnp.sum((hs @ wo - ys) ** 2)


def lstm_by_hand(
    wx: np.ndarray, wh: np.ndarray, b: np.ndarray, wo: np.ndarray, xs: np.ndarray, ys: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    # Products are BLAS's; those that are not in the recurrence are done once for all steps.
    # Numba's exp is a call for each number, so that this one is written out: 2**k times a polynomial, which vectorises.
    def exp(v):  # type: ignore[no-untyped-def]
        v = min(max(v, -700.0), 700.0)
        i = np.int64(v * 1.4426950408889634)
        r = v - i * 0.6931471805599453
        p = 1.0 / 6227020800.0
        p = p * r + 1.0 / 479001600.0
        p = p * r + 1.0 / 39916800.0
        p = p * r + 1.0 / 3628800.0
        p = p * r + 1.0 / 362880.0
        p = p * r + 1.0 / 40320.0
        p = p * r + 1.0 / 5040.0
        p = p * r + 1.0 / 720.0
        p = p * r + 1.0 / 120.0
        p = p * r + 1.0 / 24.0
        p = p * r + 1.0 / 6.0
        p = p * r + 0.5
        p = p * r + 1.0
        p = p * r + 1.0
        return p * np.int64((i + 1023) << 52).view(np.float64)

    steps, batch, m = xs.shape
    n = wh.shape[0]
    k = wo.shape[1]
    flat = xs.reshape(steps * batch, m)
    zs = np.dot(flat, wx).reshape(steps, batch, 4 * n)
    hs = np.zeros((steps + 1, batch, n))
    cs = np.zeros((steps + 1, batch, n))
    tc = np.empty((steps, batch, n))
    z = np.empty((batch, 4 * n))
    for t in range(steps):
        np.dot(hs[t], wh, z)
        for r in range(batch):
            gates, zr, c, old, h, th = zs[t, r], z[r], cs[t + 1, r], cs[t, r], hs[t + 1, r], tc[t, r]
            for j in range(3 * n):
                gates[j] = 1.0 / (1.0 + exp(-(gates[j] + zr[j] + b[j])))
            for j in range(3 * n, 4 * n):
                gates[j] = 1.0 - 2.0 / (exp(2.0 * (gates[j] + zr[j] + b[j])) + 1.0)
            for j in range(n):
                c[j] = gates[n + j] * old[j] + gates[j] * gates[3 * n + j]
                th[j] = 1.0 - 2.0 / (exp(2.0 * c[j]) + 1.0)
                h[j] = gates[2 * n + j] * th[j]
    out = hs[1:].reshape(steps * batch, n)
    e = np.dot(out, wo)
    e -= ys.reshape(steps * batch, k)
    e *= 2.0
    gwo = np.dot(out.T, e)
    gh_out = np.dot(e, wo.T).reshape(steps, batch, n)
    gh = np.zeros((batch, n))
    gc = np.zeros((batch, n))
    wht = wh.T
    for t in range(steps - 1, -1, -1):
        for r in range(batch):
            gates, old, th, gout, ghr, gcr = zs[t, r], cs[t, r], tc[t, r], gh_out[t, r], gh[r], gc[r]
            for j in range(n):
                i, f, o, g = gates[j], gates[n + j], gates[2 * n + j], gates[3 * n + j]
                d = ghr[j] + gout[j]
                q = gcr[j] + d * o * (1.0 - th[j] * th[j])
                gates[j] = q * g * i * (1.0 - i)
                gates[n + j] = q * old[j] * f * (1.0 - f)
                gates[2 * n + j] = d * th[j] * o * (1.0 - o)
                gates[3 * n + j] = q * i * (1.0 - g * g)
                gcr[j] = q * f
        np.dot(zs[t], wht, gh)
    gz = zs.reshape(steps * batch, 4 * n)
    gwh = np.dot(hs[:steps].reshape(steps * batch, n).T, gz)
    gwx = np.dot(flat.T, gz)
    gb = np.zeros(4 * n)
    for r in range(steps * batch):
        for j in range(4 * n):
            gb[j] += gz[r, j]
    return gwx, gwh, gb, gwo


HIDDEN = 64

CASES = [
    program_case(
        "lstm_100x16x64",
        lstm,
        (
            0.2 * rng.standard_normal((32, 4 * HIDDEN)),
            0.1 * rng.standard_normal((HIDDEN, 4 * HIDDEN)),
            0.1 * rng.standard_normal(4 * HIDDEN),
            0.2 * rng.standard_normal((HIDDEN, 8)),
            rng.standard_normal((100, 16, 32)),
            rng.standard_normal((100, 16, 8)),
        ),
        argnums=(0, 1, 2, 3),
        jax=lstm_jax,
        autograd=lstm_autograd,
        by_hand=lstm_by_hand,
    )
]
