"""Kalman filter: 4 states, 2 observations, 200 steps; the log likelihood by the matrices of the model."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import program_case

rng = np.random.default_rng(13)


def kalman(f: np.ndarray, q: np.ndarray, h: np.ndarray, r: np.ndarray, ys: np.ndarray) -> float:
    m = np.zeros(4)
    p = np.eye(4)
    loss = 0.0
    for t in range(len(ys)):
        m = f @ m
        p = f @ p @ f.T + q
        e = ys[t] - h @ m
        s = h @ p @ h.T + r
        det = s[0, 0] * s[1, 1] - s[0, 1] * s[1, 0]
        inv = np.array([[s[1, 1], -s[0, 1]], [-s[1, 0], s[0, 0]]]) / det
        k = p @ h.T @ inv
        m = m + k @ e
        p = p - k @ h @ p
        loss += 0.5 * (np.log(det) + e @ inv @ e)
    return float(loss)


def kalman_autograd(anp: Any, f: Any, q: Any, h: Any, r: Any, ys: Any) -> Any:
    m = np.zeros(4)
    p = np.eye(4)
    loss = 0.0
    for t in range(len(ys)):
        m = anp.dot(f, m)
        p = anp.dot(anp.dot(f, p), f.T) + q
        e = ys[t] - anp.dot(h, m)
        s = anp.dot(anp.dot(h, p), h.T) + r
        det = s[0, 0] * s[1, 1] - s[0, 1] * s[1, 0]
        inv = anp.array([[s[1, 1], -s[0, 1]], [-s[1, 0], s[0, 0]]]) / det
        k = anp.dot(anp.dot(p, h.T), inv)
        m = m + anp.dot(k, e)
        p = p - anp.dot(anp.dot(k, h), p)
        loss = loss + 0.5 * (anp.log(det) + anp.dot(anp.dot(e, inv), e))
    return loss


def kalman_jax(f: Any, q: Any, h: Any, r: Any, ys: Any) -> Any:
    import jax
    import jax.numpy as jnp

    def step(carry: Any, y: Any) -> Any:
        m, p, loss = carry
        m = f @ m
        p = f @ p @ f.T + q
        e = y - h @ m
        hp = h @ p
        s = hp @ h.T + r
        det = s[0, 0] * s[1, 1] - s[0, 1] * s[1, 0]
        inv = jnp.array([[s[1, 1], -s[0, 1]], [-s[1, 0], s[0, 0]]]) / det
        k = p @ h.T @ inv
        return (m + k @ e, p - k @ hp, loss + 0.5 * (jnp.log(det) + e @ inv @ e)), None

    (_, _, loss), _ = jax.lax.scan(step, (jnp.zeros(4), jnp.eye(4), 0.0), ys)
    return loss


def kalman_by_hand(
    f: np.ndarray, q: np.ndarray, h: np.ndarray, r: np.ndarray, ys: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    # Covariances are symmetric, which saves products. Kept: the states, and what a step computes of them. A row at a
    # time, held in scalars, so that four lanes do it.
    def row(v0, v1, v2, v3, m):  # type: ignore[no-untyped-def]
        return (
            v0 * m[0, 0] + v1 * m[1, 0] + v2 * m[2, 0] + v3 * m[3, 0],
            v0 * m[0, 1] + v1 * m[1, 1] + v2 * m[2, 1] + v3 * m[3, 1],
            v0 * m[0, 2] + v1 * m[1, 2] + v2 * m[2, 2] + v3 * m[3, 2],
            v0 * m[0, 3] + v1 * m[1, 3] + v2 * m[2, 3] + v3 * m[3, 3],
        )

    def dot(v, w):  # type: ignore[no-untyped-def]
        return v[0] * w[0] + v[1] * w[1] + v[2] * w[2] + v[3] * w[3]

    steps = len(ys)
    tape_m = np.zeros((steps + 1, 4))
    tape_p = np.zeros((steps + 1, 4, 4))
    tape_n = np.empty((steps, 4, 4))
    tape_d = np.empty((steps, 2, 4))
    tape_k = np.empty((steps, 2, 4))
    tape_i = np.empty((steps, 2, 2))
    tape_e = np.empty((steps, 2))
    tape_x = np.empty((steps, 4))
    ft = f.T.copy()
    for a in range(4):
        tape_p[0, a, a] = 1.0
    for t in range(steps):
        p, pred, d, k, inv, x = tape_p[t], tape_n[t], tape_d[t], tape_k[t], tape_i[t], tape_x[t]
        new_m, new_p = tape_m[t + 1], tape_p[t + 1]
        for a in range(4):
            x[a] = dot(f[a], tape_m[t])
            w0, w1, w2, w3 = row(f[a, 0], f[a, 1], f[a, 2], f[a, 3], p)
            w0, w1, w2, w3 = row(w0, w1, w2, w3, ft)
            w0, w1, w2, w3 = w0 + q[a, 0], w1 + q[a, 1], w2 + q[a, 2], w3 + q[a, 3]
            pred[a, 0], pred[a, 1], pred[a, 2], pred[a, 3] = w0, w1, w2, w3
        for a in range(2):
            d[a, 0], d[a, 1], d[a, 2], d[a, 3] = row(h[a, 0], h[a, 1], h[a, 2], h[a, 3], pred)
        e0, e1 = ys[t, 0] - dot(h[0], x), ys[t, 1] - dot(h[1], x)
        s00, s01 = r[0, 0] + dot(h[0], d[0]), r[0, 1] + dot(h[0], d[1])
        s10, s11 = r[1, 0] + dot(h[1], d[0]), r[1, 1] + dot(h[1], d[1])
        over = 1.0 / (s00 * s11 - s01 * s10)
        i00, i01, i10, i11 = s11 * over, -s01 * over, -s10 * over, s00 * over
        inv[0, 0], inv[0, 1], inv[1, 0], inv[1, 1] = i00, i01, i10, i11
        tape_e[t, 0], tape_e[t, 1] = e0, e1
        for a in range(4):
            k0, k1 = d[0, a] * i00 + d[1, a] * i10, d[0, a] * i01 + d[1, a] * i11
            k[0, a], k[1, a] = k0, k1
            new_m[a] = x[a] + k0 * e0 + k1 * e1
            w0, w1 = pred[a, 0] - k0 * d[0, 0] - k1 * d[1, 0], pred[a, 1] - k0 * d[0, 1] - k1 * d[1, 1]
            w2, w3 = pred[a, 2] - k0 * d[0, 2] - k1 * d[1, 2], pred[a, 3] - k0 * d[0, 3] - k1 * d[1, 3]
            new_p[a, 0], new_p[a, 1], new_p[a, 2], new_p[a, 3] = w0, w1, w2, w3
    gf = np.zeros((4, 4))
    gq = np.zeros((4, 4))
    gh = np.zeros((2, 4))
    gr = np.zeros((2, 2))
    gm = np.zeros(4)
    gp = np.zeros((4, 4))
    gn = np.empty((4, 4))
    u = np.empty((4, 4))
    gk = np.empty((2, 4))
    gd = np.empty((2, 4))
    gc = np.empty((2, 4))
    for t in range(steps - 1, -1, -1):
        m, p, pred, d, k, inv, x = tape_m[t], tape_p[t], tape_n[t], tape_d[t], tape_k[t], tape_i[t], tape_x[t]
        e0, e1 = tape_e[t, 0], tape_e[t, 1]
        i00, i01, i10, i11 = inv[0, 0], inv[0, 1], inv[1, 0], inv[1, 1]
        for a in range(4):
            g0, g1 = gm[a] * e0 - dot(gp[a], d[0]), gm[a] * e1 - dot(gp[a], d[1])
            gk[0, a], gk[1, a] = g0, g1
            gc[0, a], gc[1, a] = g0 * i00 + g1 * i01, g0 * i10 + g1 * i11
        for a in range(2):
            gd[a, 0], gd[a, 1], gd[a, 2], gd[a, 3] = row(-k[a, 0], -k[a, 1], -k[a, 2], -k[a, 3], gp)
        ge0 = dot(k[0], gm) + i00 * e0 + 0.5 * (i01 + i10) * e1
        ge1 = dot(k[1], gm) + i11 * e1 + 0.5 * (i01 + i10) * e0
        g00, g01 = dot(d[0], gk[0]) + 0.5 * e0 * e0, dot(d[0], gk[1]) + 0.5 * e0 * e1
        g10, g11 = dot(d[1], gk[0]) + 0.5 * e1 * e0, dot(d[1], gk[1]) + 0.5 * e1 * e1
        # Of the inverse: minus inv.T @ g @ inv.T; of half the logarithm of the determinant: inv.T / 2.
        u00, u01, u10, u11 = i00 * g00 + i10 * g10, i00 * g01 + i10 * g11, i01 * g00 + i11 * g10, i01 * g01 + i11 * g11
        s00, s01 = 0.5 * i00 - u00 * i00 - u01 * i01, 0.5 * i10 - u00 * i10 - u01 * i11
        s10, s11 = 0.5 * i01 - u10 * i00 - u11 * i01, 0.5 * i11 - u10 * i10 - u11 * i11
        gr[0, 0] += s00
        gr[0, 1] += s01
        gr[1, 0] += s10
        gr[1, 1] += s11
        for a in range(4):
            gc[0, a] += s00 * h[0, a] + s10 * h[1, a]
            gc[1, a] += s01 * h[0, a] + s11 * h[1, a]
        for a in range(4):
            h0, h1, c0, c1 = h[0, a], h[1, a], gc[0, a], gc[1, a]
            w0 = gp[a, 0] + h0 * gd[0, 0] + h1 * gd[1, 0] + c0 * h[0, 0] + c1 * h[1, 0]
            w1 = gp[a, 1] + h0 * gd[0, 1] + h1 * gd[1, 1] + c0 * h[0, 1] + c1 * h[1, 1]
            w2 = gp[a, 2] + h0 * gd[0, 2] + h1 * gd[1, 2] + c0 * h[0, 2] + c1 * h[1, 2]
            w3 = gp[a, 3] + h0 * gd[0, 3] + h1 * gd[1, 3] + c0 * h[0, 3] + c1 * h[1, 3]
            gn[a, 0], gn[a, 1], gn[a, 2], gn[a, 3] = w0, w1, w2, w3
            u[a, 0], u[a, 1], u[a, 2], u[a, 3] = row(w0, w1, w2, w3, f)
            gm[a] -= h0 * ge0 + h1 * ge1
        for a in range(2):
            ge, sa, sb = (ge0, s00, s01) if a == 0 else (ge1, s10, s11)
            w0, w1, w2, w3 = row(
                gc[a, 0] + gd[a, 0], gc[a, 1] + gd[a, 1], gc[a, 2] + gd[a, 2], gc[a, 3] + gd[a, 3], pred
            )
            gh[a, 0] += w0 - ge * x[0] + sa * d[0, 0] + sb * d[1, 0]
            gh[a, 1] += w1 - ge * x[1] + sa * d[0, 1] + sb * d[1, 1]
            gh[a, 2] += w2 - ge * x[2] + sa * d[0, 2] + sb * d[1, 2]
            gh[a, 3] += w3 - ge * x[3] + sa * d[0, 3] + sb * d[1, 3]
        # pred = f p f.T + q: of f it is (gn + gn.T) f p.
        for a in range(4):
            w0, w1, w2, w3 = row(gn[0, a], gn[1, a], gn[2, a], gn[3, a], f)
            w0, w1, w2, w3 = row(w0 + u[a, 0], w1 + u[a, 1], w2 + u[a, 2], w3 + u[a, 3], p)
            v0, v1, v2, v3 = row(ft[a, 0], ft[a, 1], ft[a, 2], ft[a, 3], u)
            gp[a, 0], gp[a, 1], gp[a, 2], gp[a, 3] = v0, v1, v2, v3
            g = gm[a]
            for j in range(4):
                gq[a, j] += gn[a, j]
            gf[a, 0] += w0 + g * m[0]
            gf[a, 1] += w1 + g * m[1]
            gf[a, 2] += w2 + g * m[2]
            gf[a, 3] += w3 + g * m[3]
        gm[0], gm[1], gm[2], gm[3] = row(gm[0], gm[1], gm[2], gm[3], f)
    return gf, gq, gh, gr


def model() -> tuple[np.ndarray, ...]:
    """Return two coordinates with velocities, and noisy observations of the coordinates."""
    f = np.eye(4)
    f[0, 2] = f[1, 3] = 0.1
    h = np.array([[1.0, 0.1, 0.0, 0.0], [0.0, 1.0, 0.1, 0.0]])
    return f, 0.01 * np.eye(4), h, 0.2 * np.eye(2), np.cumsum(0.1 * rng.standard_normal((200, 2)), axis=0)


CASES = [
    program_case(
        "kalman_4x200",
        kalman,
        model(),
        argnums=(0, 1, 2, 3),
        jax=kalman_jax,
        autograd=kalman_autograd,
        by_hand=kalman_by_hand,
    )
]
