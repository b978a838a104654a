"""Cases: one program or a few a file, each with its ways to be computed.

In: plain NumPy programs, the same as an expert writes them for JAX, and gradients written by hand. Out: `Case` objects,
whose makers give calls without arguments. Nothing here checks or times.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Maker = Callable[[], Callable[[], Any]]

# Ways that compute the program itself; all others compute its gradient.
PRIMALS = ("python", "jit", "njit")


@dataclass
class Case:
    """One program with its arguments.

    Parameters
    ----------
    title : str
    ways : dict of str to Maker
        Of the gradient: "jitgrad", "jax", "autograd", "numpy" (by hand), "numba" (by hand), "limit" (the fastest by
        hand), "jax_loops". Of the program itself: "jit" (ours), "njit" (Numba), "python" (plain NumPy, not timed).
    tolerance : float
        Largest difference between two ways, relative to the largest element.
    """

    title: str
    ways: dict[str, Maker]
    tolerance: float = 1e-8


def program_case(
    title: str,
    function: Callable[..., Any],
    args: tuple[Any, ...],
    *,
    argnums: Any = 0,
    jax: Callable[..., Any] | None = None,
    autograd: Callable[..., Any] | None = None,
    by_hand: Callable[..., Any],
    limit: Callable[..., Any] | None = None,
    njit: Callable[..., Any] | None = None,
    jax_loops: Callable[..., Any] | None = None,
    tolerance: float = 1e-8,
) -> Case:
    """Return the case of a program with all its ways.

    Parameters
    ----------
    title : str
    function : callable
        The plain NumPy program, that Numba compiles too unless `njit` is given; returns a float.
    args : tuple
    argnums : int or tuple of int
        What it is differentiated by.
    jax : callable, optional
        `jax(*args)`, as an expert writes it: with `lax.scan`, `fori_loop` or `while_loop`; ints of `args` are static.
        Imports JAX itself.
    autograd : callable, optional
        `autograd(anp, *args)`; where the program stores into arrays there is none.
    by_hand : callable
        The adjoint of the program with plain loops, for Numba: takes `args`, returns an array, or a tuple of them in
        the order of `argnums`. Compiled as the program is: sums keep their order.
    limit : callable, optional
        The fastest gradient that could be written, by whatever algorithm; by default `by_hand`. Its sums may be
        reassociated and its products fused.
    njit : callable, optional
        The program as Numba compiles it, where it cannot compile `function`.
    jax_loops : callable, optional
        For JAX with the loops of the program, element by element, where an expert works on rows instead.
    tolerance : float
    """
    ways = {
        "jitgrad": jitgrad_way(function, args, argnums),
        "numba": numba_way(by_hand, args),
        "limit": numba_way(limit or by_hand, args, fast=True),
        "jit": jit_way(function, args),
        "njit": numba_way(njit or function, args),
        "python": lambda: lambda: function(*args),
    }
    for name, given in (("jax", jax), ("jax_loops", jax_loops)):
        if given is not None:
            ways[name] = jax_way(lambda _, *xs, given=given: given(*xs), args, argnums)
    if autograd is not None:
        ways["autograd"] = autograd_way(autograd, args, argnums)
    return Case(title, ways, tolerance)


def jitgrad_way(function: Callable[..., Any], args: tuple[Any, ...], argnums: Any = 0) -> Maker:
    """Return the maker that differentiates with jitgrad."""

    def make() -> Callable[[], Any]:
        import jitgrad

        g = jitgrad.grad(function, argnums=argnums)
        return lambda: g(*args)

    return make


def jit_way(function: Callable[..., Any], args: tuple[Any, ...]) -> Maker:
    """Return the maker that compiles the program itself with jitgrad."""

    def make() -> Callable[[], Any]:
        import jitgrad

        f = jitgrad.jit(function)
        return lambda: f(*args)

    return make


def jax_way(function: Callable[..., Any], args: tuple[Any, ...], argnums: Any = 0) -> Maker:
    """Return the maker that differentiates `function(np, *args)` with JAX, ints static, waiting for the result."""

    def make() -> Callable[[], Any]:
        import jax
        import jax.numpy as jnp

        static = tuple(k for k, a in enumerate(args) if type(a) is int)
        g = jax.jit(jax.grad(lambda *xs: function(jnp, *xs), argnums=argnums), static_argnums=static)
        given = [a if k in static else jax.device_put(a) for k, a in enumerate(args)]
        return lambda: jax.block_until_ready(g(*given))

    return make


def autograd_way(function: Callable[..., Any], args: tuple[Any, ...], argnum: Any = 0) -> Maker:
    """Return the maker that differentiates `function(np, *args)` with autograd."""

    def make() -> Callable[[], Any]:
        import autograd
        import autograd.numpy as anp

        g = autograd.grad(lambda *xs: function(anp, *xs), argnum)
        return lambda: g(*args)

    return make


def numba_way(function: Callable[..., Any], args: tuple[Any, ...], *, fast: bool = False) -> Maker:
    """Return the maker that compiles a function with Numba, divisions unchecked; `fast` lets it vectorise sums."""

    def make() -> Callable[[], Any]:
        import numba

        g = numba.njit(error_model="numpy", fastmath={"reassoc", "contract"} if fast else False)(function)
        return lambda: g(*args)

    return make
