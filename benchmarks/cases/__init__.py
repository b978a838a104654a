"""Cases: one program a file. A case has a `title` and `makers()`: name to a function that makes the call to time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Maker = Callable[[], Callable[[], Any]]


@dataclass
class Case:
    """A named case; `ways` maps "jitgrad", "jax", "numpy" (written by hand), "numba", "autograd" to makers."""

    title: str
    ways: dict[str, Maker]

    def makers(self) -> dict[str, Maker]:
        """Return the ways to compute the gradient; the first one is the reference."""
        return self.ways


def jitgrad_way(function: Callable[..., Any], args: tuple[Any, ...], argnums: Any = 0) -> Maker:
    """Return the maker that differentiates with jitgrad."""

    def make() -> Callable[[], Any]:
        import jitgrad

        g = jitgrad.grad(function, argnums=argnums)
        return lambda: g(*args)

    return make


def jax_way(function: Callable[..., Any], args: tuple[Any, ...], argnums: Any = 0) -> Maker:
    """Return the maker that differentiates `function(np, *args)` with JAX, waiting for the result."""

    def make() -> Callable[[], Any]:
        import jax
        import jax.numpy as jnp

        g = jax.jit(jax.grad(lambda *xs: function(jnp, *xs), argnums=argnums))
        given = jax.device_put(args)
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


def numba_way(function: Callable[..., Any], args: tuple[Any, ...]) -> Maker:
    """Return the maker that compiles a gradient written by hand with Numba."""

    def make() -> Callable[[], Any]:
        import numba

        g = numba.njit(function)
        return lambda: g(*args)

    return make
