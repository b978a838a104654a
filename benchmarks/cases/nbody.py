"""Gravity with softening: leapfrog steps of 32 bodies, with loops over the pairs and with broadcasting."""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import program_case

rng = np.random.default_rng(11)


def nbody_loops(pos: np.ndarray, vel: np.ndarray, mass: np.ndarray, dt: float, eps: float, steps: int) -> float:
    n = len(mass)
    p = pos.copy()
    v = vel.copy()
    for _ in range(steps):
        p += 0.5 * dt * v
        for i in range(n):
            ax = 0.0
            ay = 0.0
            az = 0.0
            for j in range(n):
                dx = p[j, 0] - p[i, 0]
                dy = p[j, 1] - p[i, 1]
                dz = p[j, 2] - p[i, 2]
                r2 = dx * dx + dy * dy + dz * dz + eps
                w = mass[j] / (r2 * np.sqrt(r2))
                ax += w * dx
                ay += w * dy
                az += w * dz
            v[i, 0] += dt * ax
            v[i, 1] += dt * ay
            v[i, 2] += dt * az
        p += 0.5 * dt * v
    return float(np.sum(p * p) + np.sum(v * v))


def nbody_arrays(pos: np.ndarray, vel: np.ndarray, mass: np.ndarray, dt: float, eps: float, steps: int) -> float:
    p = pos
    v = vel
    for _ in range(steps):
        p = p + 0.5 * dt * v
        d = p[None, :, :] - p[:, None, :]
        r2 = np.sum(d * d, axis=2) + eps
        w = mass / (r2 * np.sqrt(r2))
        v = v + dt * np.sum(w[:, :, None] * d, axis=1)
        p = p + 0.5 * dt * v
    return float(np.sum(p * p) + np.sum(v * v))


def nbody_autograd(anp: Any, pos: Any, vel: Any, mass: Any, dt: float, eps: float, steps: int) -> Any:
    p = pos
    v = vel
    for _ in range(steps):
        p = p + 0.5 * dt * v
        d = p[None, :, :] - p[:, None, :]
        r2 = anp.sum(d * d, axis=2) + eps
        w = mass / (r2 * anp.sqrt(r2))
        v = v + dt * anp.sum(w[:, :, None] * d, axis=1)
        p = p + 0.5 * dt * v
    return anp.sum(p * p) + anp.sum(v * v)


def nbody_jax(pos: Any, vel: Any, mass: Any, dt: Any, eps: Any, steps: int) -> Any:
    import jax
    import jax.numpy as jnp

    def step(carry: Any, _: Any) -> Any:
        # Coordinates first, so that the bodies are contiguous.
        p, v = carry
        p = p + 0.5 * dt * v
        d = p[:, None, :] - p[:, :, None]
        r2 = jnp.sum(d * d, axis=0) + eps
        w = mass * jax.lax.rsqrt(r2) / r2
        v = v + dt * jnp.sum(w * d, axis=2)
        return (p + 0.5 * dt * v, v), None

    (p, v), _ = jax.lax.scan(jax.checkpoint(step, prevent_cse=False), (pos.T, vel.T), None, length=steps)
    return jnp.sum(p * p) + jnp.sum(v * v)


def nbody_by_hand(
    pos: np.ndarray, vel: np.ndarray, mass: np.ndarray, dt: float, eps: float, steps: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    # Kept: positions, and 1 / r of each pair. All sums run over the second body of a pair, contiguous coordinates.
    n = len(mass)
    tape_p = np.empty((steps, 3, n))
    tape_r = np.empty((steps, n, n))
    p = pos.T.copy()
    v = vel.T.copy()
    half = 0.5 * dt
    for t in range(steps):
        x, y, z = tape_p[t, 0], tape_p[t, 1], tape_p[t, 2]
        for i in range(n):
            x[i] = p[0, i] + half * v[0, i]
            y[i] = p[1, i] + half * v[1, i]
            z[i] = p[2, i] + half * v[2, i]
        for i in range(n):
            xi, yi, zi = x[i], y[i], z[i]
            row = tape_r[t, i]
            ax, ay, az = 0.0, 0.0, 0.0
            for j in range(n):
                dx, dy, dz = x[j] - xi, y[j] - yi, z[j] - zi
                r = 1.0 / np.sqrt(dx * dx + dy * dy + dz * dz + eps)
                row[j] = r
                w = mass[j] * r * r * r
                ax += w * dx
                ay += w * dy
                az += w * dz
            v[0, i] += dt * ax
            v[1, i] += dt * ay
            v[2, i] += dt * az
        for i in range(n):
            p[0, i] = x[i] + half * v[0, i]
            p[1, i] = y[i] + half * v[1, i]
            p[2, i] = z[i] + half * v[2, i]
    gp = 2.0 * p
    gv = 2.0 * v
    gm = np.zeros(n)
    a = np.empty((3, n))
    a0, a1, a2 = a[0], a[1], a[2]
    for t in range(steps - 1, -1, -1):
        x, y, z = tape_p[t, 0], tape_p[t, 1], tape_p[t, 2]
        for k in range(3):
            for i in range(n):
                gv[k, i] += half * gp[k, i]
                a[k, i] = dt * gv[k, i]
        for i in range(n):
            xi, yi, zi = x[i], y[i], z[i]
            bx, by, bz, mi = a0[i], a1[i], a2[i], mass[i]
            row = tape_r[t, i]
            gx, gy, gz, g = 0.0, 0.0, 0.0, 0.0
            for j in range(n):
                # Both halves of a pair at once: the pulls of j on i and of i on j have one distance.
                dx, dy, dz = x[j] - xi, y[j] - yi, z[j] - zi
                r = row[j]
                r2 = r * r
                w = r2 * r
                ux, uy, uz = mi * a0[j] - mass[j] * bx, mi * a1[j] - mass[j] * by, mi * a2[j] - mass[j] * bz
                s = 3.0 * r2 * (ux * dx + uy * dy + uz * dz)
                gx += w * (ux - s * dx)
                gy += w * (uy - s * dy)
                gz += w * (uz - s * dz)
                g += w * (a0[j] * dx + a1[j] * dy + a2[j] * dz)
            gp[0, i] += gx
            gp[1, i] += gy
            gp[2, i] += gz
            gm[i] -= g
        for k in range(3):
            for i in range(n):
                gv[k, i] += half * gp[k, i]
    return gp.T, gv.T, gm


ARGS = (rng.standard_normal((32, 3)), 0.3 * rng.standard_normal((32, 3)), rng.uniform(0.01, 0.05, 32), 0.01, 0.05, 100)

CASES = [
    program_case("nbody_loops_32x100", nbody_loops, ARGS, argnums=(0, 1, 2), jax=nbody_jax, by_hand=nbody_by_hand),
    program_case(
        "nbody_arrays_32x100",
        nbody_arrays,
        ARGS,
        argnums=(0, 1, 2),
        jax=nbody_jax,
        autograd=nbody_autograd,
        by_hand=nbody_by_hand,
    ),
]
