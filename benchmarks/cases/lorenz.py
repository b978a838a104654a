"""Lorenz system: RK4 with scalars, and with a state array and a helper, differentiated by state and parameters.

rho = 14 is not chaotic, so that gradients of a long run can be compared. Numba does not call a plain function from
compiled code, so that the version with a helper has one of its own for `njit`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cases import program_case

STEPS = 100_000


def lorenz(x: float, y: float, z: float, sigma: float, rho: float, beta: float, dt: float, steps: int) -> float:
    total = 0.0
    for _ in range(steps):
        ax = sigma * (y - x)
        ay = x * (rho - z) - y
        az = x * y - beta * z
        x1 = x + 0.5 * dt * ax
        y1 = y + 0.5 * dt * ay
        z1 = z + 0.5 * dt * az
        bx = sigma * (y1 - x1)
        by = x1 * (rho - z1) - y1
        bz = x1 * y1 - beta * z1
        x2 = x + 0.5 * dt * bx
        y2 = y + 0.5 * dt * by
        z2 = z + 0.5 * dt * bz
        cx = sigma * (y2 - x2)
        cy = x2 * (rho - z2) - y2
        cz = x2 * y2 - beta * z2
        x3 = x + dt * cx
        y3 = y + dt * cy
        z3 = z + dt * cz
        dx = sigma * (y3 - x3)
        dy = x3 * (rho - z3) - y3
        dz = x3 * y3 - beta * z3
        x = x + dt / 6.0 * (ax + 2.0 * bx + 2.0 * cx + dx)
        y = y + dt / 6.0 * (ay + 2.0 * by + 2.0 * cy + dy)
        z = z + dt / 6.0 * (az + 2.0 * bz + 2.0 * cz + dz)
        total += z * dt
    return total


def lorenz_jax(x: Any, y: Any, z: Any, sigma: Any, rho: Any, beta: Any, dt: Any, steps: int) -> Any:
    import jax

    def rhs(x: Any, y: Any, z: Any) -> Any:
        return sigma * (y - x), x * (rho - z) - y, x * y - beta * z

    def step(carry: Any, _: Any) -> Any:
        (x, y, z), total = carry
        a = rhs(x, y, z)
        b = rhs(x + 0.5 * dt * a[0], y + 0.5 * dt * a[1], z + 0.5 * dt * a[2])
        c = rhs(x + 0.5 * dt * b[0], y + 0.5 * dt * b[1], z + 0.5 * dt * b[2])
        d = rhs(x + dt * c[0], y + dt * c[1], z + dt * c[2])
        new = tuple(
            s + dt / 6.0 * (k + 2.0 * m + 2.0 * n + o) for s, k, m, n, o in zip((x, y, z), a, b, c, d, strict=True)
        )
        return (new, total + new[2] * dt), None

    # Only the states are kept; the stages are computed again.
    (_, total), _ = jax.lax.scan(jax.checkpoint(step, prevent_cse=False), ((x, y, z), 0.0), None, length=steps)
    return total


def rhs(s: np.ndarray, p: np.ndarray) -> np.ndarray:
    return np.array([p[0] * (s[1] - s[0]), s[0] * (p[1] - s[2]) - s[1], s[0] * s[1] - p[2] * s[2]])


def lorenz_array(s: np.ndarray, p: np.ndarray, dt: float, steps: int) -> float:
    total = 0.0
    for _ in range(steps):
        a = rhs(s, p)
        b = rhs(s + 0.5 * dt * a, p)
        c = rhs(s + 0.5 * dt * b, p)
        d = rhs(s + dt * c, p)
        s = s + dt / 6.0 * (a + 2.0 * b + 2.0 * c + d)
        total += s[2] * dt
    return float(total)


def lorenz_array_njit(s: np.ndarray, p: np.ndarray, dt: float, steps: int) -> float:
    def rhs(s, p):  # type: ignore[no-untyped-def]
        return np.array([p[0] * (s[1] - s[0]), s[0] * (p[1] - s[2]) - s[1], s[0] * s[1] - p[2] * s[2]])

    total = 0.0
    for _ in range(steps):
        a = rhs(s, p)
        b = rhs(s + 0.5 * dt * a, p)
        c = rhs(s + 0.5 * dt * b, p)
        d = rhs(s + dt * c, p)
        s = s + dt / 6.0 * (a + 2.0 * b + 2.0 * c + d)
        total += s[2] * dt
    return total


def lorenz_array_jax(s: Any, p: Any, dt: Any, steps: int) -> Any:
    # Scalars in the loop: XLA makes one kernel of a step, where small arrays would be many.
    return lorenz_jax(s[0], s[1], s[2], p[0], p[1], p[2], dt, steps)


def lorenz_by_hand(
    x: float, y: float, z: float, sigma: float, rho: float, beta: float, dt: float, steps: int
) -> tuple[float, float, float, float, float, float]:
    # Kept: the states. The stages are computed again going back, off the chain of cotangents.
    tape = np.empty((steps, 3))
    half = 0.5 * dt
    for t in range(steps):
        tape[t, 0] = x
        tape[t, 1] = y
        tape[t, 2] = z
        ax, ay, az = sigma * (y - x), x * (rho - z) - y, x * y - beta * z
        x1, y1, z1 = x + half * ax, y + half * ay, z + half * az
        bx, by, bz = sigma * (y1 - x1), x1 * (rho - z1) - y1, x1 * y1 - beta * z1
        x2, y2, z2 = x + half * bx, y + half * by, z + half * bz
        cx, cy, cz = sigma * (y2 - x2), x2 * (rho - z2) - y2, x2 * y2 - beta * z2
        x3, y3, z3 = x + dt * cx, y + dt * cy, z + dt * cz
        dx, dy, dz = sigma * (y3 - x3), x3 * (rho - z3) - y3, x3 * y3 - beta * z3
        x += dt / 6.0 * (ax + 2.0 * (bx + cx) + dx)
        y += dt / 6.0 * (ay + 2.0 * (by + cy) + dy)
        z += dt / 6.0 * (az + 2.0 * (bz + cz) + dz)
    gx, gy, gz = 0.0, 0.0, 0.0
    gs, gr, gb = 0.0, 0.0, 0.0
    sixth, third = dt / 6.0, dt / 3.0
    for t in range(steps - 1, -1, -1):
        gz += dt
        x, y, z = tape[t, 0], tape[t, 1], tape[t, 2]
        ax, ay, az = sigma * (y - x), x * (rho - z) - y, x * y - beta * z
        x1, y1, z1 = x + half * ax, y + half * ay, z + half * az
        bx, by, bz = sigma * (y1 - x1), x1 * (rho - z1) - y1, x1 * y1 - beta * z1
        x2, y2, z2 = x + half * bx, y + half * by, z + half * bz
        cx, cy, cz = sigma * (y2 - x2), x2 * (rho - z2) - y2, x2 * y2 - beta * z2
        x3, y3, z3 = x + dt * cx, y + dt * cy, z + dt * cz
        u, v, w = sixth * gx, sixth * gy, sixth * gz
        sx, sy, sz = (rho - z3) * v - sigma * u + y3 * w, sigma * u - v + x3 * w, -x3 * v - beta * w
        gs += (y3 - x3) * u
        gr += x3 * v
        gb -= z3 * w
        tx, ty, tz = sx, sy, sz
        u, v, w = third * gx + dt * sx, third * gy + dt * sy, third * gz + dt * sz
        sx, sy, sz = (rho - z2) * v - sigma * u + y2 * w, sigma * u - v + x2 * w, -x2 * v - beta * w
        gs += (y2 - x2) * u
        gr += x2 * v
        gb -= z2 * w
        tx, ty, tz = tx + sx, ty + sy, tz + sz
        u, v, w = third * gx + half * sx, third * gy + half * sy, third * gz + half * sz
        sx, sy, sz = (rho - z1) * v - sigma * u + y1 * w, sigma * u - v + x1 * w, -x1 * v - beta * w
        gs += (y1 - x1) * u
        gr += x1 * v
        gb -= z1 * w
        tx, ty, tz = tx + sx, ty + sy, tz + sz
        u, v, w = sixth * gx + half * sx, sixth * gy + half * sy, sixth * gz + half * sz
        gs += (y - x) * u
        gr += x * v
        gb -= z * w
        gx += tx + (rho - z) * v - sigma * u + y * w
        gy += ty + sigma * u - v + x * w
        gz += tz - x * v - beta * w
    return gx, gy, gz, gs, gr, gb


def lorenz_array_by_hand(s: np.ndarray, p: np.ndarray, dt: float, steps: int) -> tuple[np.ndarray, np.ndarray]:
    x, y, z = s[0], s[1], s[2]
    sigma, rho, beta = p[0], p[1], p[2]
    # Kept: the states. The stages are computed again going back, off the chain of cotangents.
    tape = np.empty((steps, 3))
    half = 0.5 * dt
    for t in range(steps):
        tape[t, 0] = x
        tape[t, 1] = y
        tape[t, 2] = z
        ax, ay, az = sigma * (y - x), x * (rho - z) - y, x * y - beta * z
        x1, y1, z1 = x + half * ax, y + half * ay, z + half * az
        bx, by, bz = sigma * (y1 - x1), x1 * (rho - z1) - y1, x1 * y1 - beta * z1
        x2, y2, z2 = x + half * bx, y + half * by, z + half * bz
        cx, cy, cz = sigma * (y2 - x2), x2 * (rho - z2) - y2, x2 * y2 - beta * z2
        x3, y3, z3 = x + dt * cx, y + dt * cy, z + dt * cz
        dx, dy, dz = sigma * (y3 - x3), x3 * (rho - z3) - y3, x3 * y3 - beta * z3
        x += dt / 6.0 * (ax + 2.0 * (bx + cx) + dx)
        y += dt / 6.0 * (ay + 2.0 * (by + cy) + dy)
        z += dt / 6.0 * (az + 2.0 * (bz + cz) + dz)
    gx, gy, gz = 0.0, 0.0, 0.0
    gs, gr, gb = 0.0, 0.0, 0.0
    sixth, third = dt / 6.0, dt / 3.0
    for t in range(steps - 1, -1, -1):
        gz += dt
        x, y, z = tape[t, 0], tape[t, 1], tape[t, 2]
        ax, ay, az = sigma * (y - x), x * (rho - z) - y, x * y - beta * z
        x1, y1, z1 = x + half * ax, y + half * ay, z + half * az
        bx, by, bz = sigma * (y1 - x1), x1 * (rho - z1) - y1, x1 * y1 - beta * z1
        x2, y2, z2 = x + half * bx, y + half * by, z + half * bz
        cx, cy, cz = sigma * (y2 - x2), x2 * (rho - z2) - y2, x2 * y2 - beta * z2
        x3, y3, z3 = x + dt * cx, y + dt * cy, z + dt * cz
        u, v, w = sixth * gx, sixth * gy, sixth * gz
        sx, sy, sz = (rho - z3) * v - sigma * u + y3 * w, sigma * u - v + x3 * w, -x3 * v - beta * w
        gs += (y3 - x3) * u
        gr += x3 * v
        gb -= z3 * w
        tx, ty, tz = sx, sy, sz
        u, v, w = third * gx + dt * sx, third * gy + dt * sy, third * gz + dt * sz
        sx, sy, sz = (rho - z2) * v - sigma * u + y2 * w, sigma * u - v + x2 * w, -x2 * v - beta * w
        gs += (y2 - x2) * u
        gr += x2 * v
        gb -= z2 * w
        tx, ty, tz = tx + sx, ty + sy, tz + sz
        u, v, w = third * gx + half * sx, third * gy + half * sy, third * gz + half * sz
        sx, sy, sz = (rho - z1) * v - sigma * u + y1 * w, sigma * u - v + x1 * w, -x1 * v - beta * w
        gs += (y1 - x1) * u
        gr += x1 * v
        gb -= z1 * w
        tx, ty, tz = tx + sx, ty + sy, tz + sz
        u, v, w = sixth * gx + half * sx, sixth * gy + half * sy, sixth * gz + half * sz
        gs += (y - x) * u
        gr += x * v
        gb -= z * w
        gx += tx + (rho - z) * v - sigma * u + y * w
        gy += ty + sigma * u - v + x * w
        gz += tz - x * v - beta * w
    return np.array([gx, gy, gz]), np.array([gs, gr, gb])


START = (1.0, 1.0, 1.0)
PARAMETERS = (10.0, 14.0, 8.0 / 3.0)

CASES = [
    program_case(
        "lorenz_scalars_1e5",
        lorenz,
        (*START, *PARAMETERS, 1e-3, STEPS),
        argnums=(0, 1, 2, 3, 4, 5),
        jax=lorenz_jax,
        by_hand=lorenz_by_hand,
    ),
    program_case(
        "lorenz_array_1e5",
        lorenz_array,
        (np.array(START), np.array(PARAMETERS), 1e-3, STEPS),
        argnums=(0, 1),
        jax=lorenz_array_jax,
        by_hand=lorenz_array_by_hand,
        njit=lorenz_array_njit,
    ),
]
