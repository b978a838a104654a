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
    # Kept: the state before each step, and what is predicted. All matrices are small: loops of constant length.
    steps = len(ys)
    tape_m = np.zeros((steps + 1, 4))
    tape_p = np.zeros((steps + 1, 4, 4))
    tape_n = np.empty((steps, 4, 4))
    tape_k = np.empty((steps, 4, 2))
    tape_i = np.empty((steps, 2, 2))
    tape_e = np.empty((steps, 2))
    tape_x = np.empty((steps, 4))
    work = np.empty((4, 4))
    c = np.empty((4, 2))
    s = np.empty((2, 2))
    for a in range(4):
        tape_p[0, a, a] = 1.0
    for t in range(steps):
        m, p, pred, k, inv, e, x = tape_m[t], tape_p[t], tape_n[t], tape_k[t], tape_i[t], tape_e[t], tape_x[t]
        for a in range(4):
            x[a] = f[a, 0] * m[0] + f[a, 1] * m[1] + f[a, 2] * m[2] + f[a, 3] * m[3]
            for b in range(4):
                work[a, b] = f[a, 0] * p[0, b] + f[a, 1] * p[1, b] + f[a, 2] * p[2, b] + f[a, 3] * p[3, b]
        for a in range(4):
            for b in range(4):
                pred[a, b] = q[a, b] + (
                    work[a, 0] * f[b, 0] + work[a, 1] * f[b, 1] + work[a, 2] * f[b, 2] + work[a, 3] * f[b, 3]
                )
        for a in range(2):
            e[a] = ys[t, a] - (h[a, 0] * x[0] + h[a, 1] * x[1] + h[a, 2] * x[2] + h[a, 3] * x[3])
        for a in range(4):
            for b in range(2):
                c[a, b] = pred[a, 0] * h[b, 0] + pred[a, 1] * h[b, 1] + pred[a, 2] * h[b, 2] + pred[a, 3] * h[b, 3]
        for a in range(2):
            for b in range(2):
                s[a, b] = r[a, b] + h[a, 0] * c[0, b] + h[a, 1] * c[1, b] + h[a, 2] * c[2, b] + h[a, 3] * c[3, b]
        over = 1.0 / (s[0, 0] * s[1, 1] - s[0, 1] * s[1, 0])
        inv[0, 0], inv[0, 1], inv[1, 0], inv[1, 1] = s[1, 1] * over, -s[0, 1] * over, -s[1, 0] * over, s[0, 0] * over
        for a in range(4):
            for b in range(2):
                k[a, b] = c[a, 0] * inv[0, b] + c[a, 1] * inv[1, b]
            tape_m[t + 1, a] = x[a] + k[a, 0] * e[0] + k[a, 1] * e[1]
        for b in range(4):
            d0 = h[0, 0] * pred[0, b] + h[0, 1] * pred[1, b] + h[0, 2] * pred[2, b] + h[0, 3] * pred[3, b]
            d1 = h[1, 0] * pred[0, b] + h[1, 1] * pred[1, b] + h[1, 2] * pred[2, b] + h[1, 3] * pred[3, b]
            for a in range(4):
                tape_p[t + 1, a, b] = pred[a, b] - k[a, 0] * d0 - k[a, 1] * d1
    gf = np.zeros((4, 4))
    gq = np.zeros((4, 4))
    gh = np.zeros((2, 4))
    gr = np.zeros((2, 2))
    gm = np.zeros(4)
    gp = np.zeros((4, 4))
    gn = np.empty((4, 4))
    gk = np.empty((4, 2))
    gd = np.empty((2, 4))
    d = np.empty((2, 4))
    gi = np.empty((2, 2))
    gs = np.empty((2, 2))
    gc = np.empty((4, 2))
    ge = np.empty(2)
    u = np.empty((2, 2))
    for t in range(steps - 1, -1, -1):
        m, p, pred, k, inv, e, x = tape_m[t], tape_p[t], tape_n[t], tape_k[t], tape_i[t], tape_e[t], tape_x[t]
        for a in range(2):
            for b in range(4):
                d[a, b] = h[a, 0] * pred[0, b] + h[a, 1] * pred[1, b] + h[a, 2] * pred[2, b] + h[a, 3] * pred[3, b]
        for a in range(4):
            for b in range(2):
                c[a, b] = pred[a, 0] * h[b, 0] + pred[a, 1] * h[b, 1] + pred[a, 2] * h[b, 2] + pred[a, 3] * h[b, 3]
                gk[a, b] = gm[a] * e[b] - (
                    gp[a, 0] * d[b, 0] + gp[a, 1] * d[b, 1] + gp[a, 2] * d[b, 2] + gp[a, 3] * d[b, 3]
                )
        for a in range(2):
            for b in range(4):
                gd[a, b] = -(k[0, a] * gp[0, b] + k[1, a] * gp[1, b] + k[2, a] * gp[2, b] + k[3, a] * gp[3, b])
            ge[a] = k[0, a] * gm[0] + k[1, a] * gm[1] + k[2, a] * gm[2] + k[3, a] * gm[3]
            ge[a] += 0.5 * ((inv[a, 0] + inv[0, a]) * e[0] + (inv[a, 1] + inv[1, a]) * e[1])
            for b in range(2):
                gi[a, b] = c[0, a] * gk[0, b] + c[1, a] * gk[1, b] + c[2, a] * gk[2, b] + c[3, a] * gk[3, b]
                gi[a, b] += 0.5 * e[a] * e[b]
        for a in range(4):
            for b in range(2):
                gc[a, b] = gk[a, 0] * inv[b, 0] + gk[a, 1] * inv[b, 1]
        # Of the inverse: minus inv.T @ gi @ inv.T; of half the logarithm of the determinant: inv.T / 2.
        for a in range(2):
            for b in range(2):
                u[a, b] = inv[0, a] * gi[0, b] + inv[1, a] * gi[1, b]
        for a in range(2):
            for b in range(2):
                gs[a, b] = 0.5 * inv[b, a] - u[a, 0] * inv[b, 0] - u[a, 1] * inv[b, 1]
                gr[a, b] += gs[a, b]
        for a in range(4):
            for b in range(2):
                gc[a, b] += h[0, a] * gs[0, b] + h[1, a] * gs[1, b]
        for a in range(4):
            gm[a] -= h[0, a] * ge[0] + h[1, a] * ge[1]
            for b in range(4):
                gn[a, b] = gp[a, b] + h[0, a] * gd[0, b] + h[1, a] * gd[1, b]
                gn[a, b] += gc[a, 0] * h[0, b] + gc[a, 1] * h[1, b]
                gq[a, b] += gn[a, b]
        for a in range(2):
            for b in range(4):
                g = -ge[a] * x[b]
                for j in range(4):
                    g += gd[a, j] * pred[b, j] + gc[j, a] * pred[j, b]
                gh[a, b] += g + gs[a, 0] * c[b, 0] + gs[a, 1] * c[b, 1]
        # pred = f p f.T + q: of f both ways, gn.T f p and gn f p.T
        for a in range(4):
            for b in range(4):
                work[a, b] = gn[0, a] * f[0, b] + gn[1, a] * f[1, b] + gn[2, a] * f[2, b] + gn[3, a] * f[3, b]
        for a in range(4):
            for b in range(4):
                g = gm[a] * m[b]
                for j in range(4):
                    g += work[a, j] * p[j, b]
                gf[a, b] += g
        for a in range(4):
            for b in range(4):
                gp[a, b] = work[0, a] * f[0, b] + work[1, a] * f[1, b] + work[2, a] * f[2, b] + work[3, a] * f[3, b]
        for a in range(4):
            for b in range(4):
                work[a, b] = gn[a, 0] * f[0, b] + gn[a, 1] * f[1, b] + gn[a, 2] * f[2, b] + gn[a, 3] * f[3, b]
        for a in range(4):
            for b in range(4):
                g = 0.0
                for j in range(4):
                    g += work[a, j] * p[b, j]
                gf[a, b] += g
        g0 = f[0, 0] * gm[0] + f[1, 0] * gm[1] + f[2, 0] * gm[2] + f[3, 0] * gm[3]
        g1 = f[0, 1] * gm[0] + f[1, 1] * gm[1] + f[2, 1] * gm[2] + f[3, 1] * gm[3]
        g2 = f[0, 2] * gm[0] + f[1, 2] * gm[1] + f[2, 2] * gm[2] + f[3, 2] * gm[3]
        g3 = f[0, 3] * gm[0] + f[1, 3] * gm[1] + f[2, 3] * gm[2] + f[3, 3] * gm[3]
        gm[0], gm[1], gm[2], gm[3] = g0, g1, g2, g3
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
