"""The transforms that users call: `grad`, `value_and_grad`, `jit`, `vjp`, `jvp`.

Each returns a `Transformed`: a callable that compiles the function for each kind of call it sees and keeps what it
compiled. This room binds arguments and documents them; it knows no graph.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, overload

import numpy as np

from jitgrad.backend.runtime import callable_type, install
from jitgrad.cache import Cache
from jitgrad.errors import JitgradError, error, raised_at
from jitgrad.options import OPTIONS
from jitgrad.pytree import flatten, unflatten
from jitgrad.transform import MAKERS, Transform

__all__ = ["Transformed", "grad", "jit", "jvp", "value_and_grad", "vjp"]


@callable_type
class Transformed:
    """A function under a transform; call it as the function itself.

    Calls of a kind that was compiled go straight to machine code; others come to `_slow_call`.

    Attributes
    ----------
    transform : Transform
    """

    _jitgrad_transformed = True

    def __init__(self, transform: Transform) -> None:
        self.transform = transform
        self.cache = Cache(transform)
        functools.update_wrapper(self, transform.function, updated=())

    def _slow_call(self, *args: Any, **kwargs: Any) -> Any:
        """Answer a call that no installed machine code does: find or compile what does, and install it."""
        try:
            found, leaves = self.cache.find_for(args, kwargs)
            # The entry has no check that an array is still read-only.
            if found.executable.native is not None and not found.traced.read_only:
                install(self, found.executable.native)
            try:
                return found.run(leaves)
            except Exception:
                self.cache.raised(args, kwargs)
                raise
        except JitgradError as refused:
            if OPTIONS.debug:
                raise
            raise refused.with_traceback(None) from None
        except Exception as exception:
            entry = raised_at(exception)
            if entry is not None and not OPTIONS.debug:
                exception.__traceback__ = entry.tb_next
            raise

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function under its transform."""
        return self._slow_call(*args, **kwargs)

    def __repr__(self) -> str:
        name = getattr(self.transform.function, "__qualname__", repr(self.transform.function))
        return f"<jitgrad.{self.transform.kind} of {name}>"

    def __reduce__(self) -> Any:
        return Transformed, (self.transform,)

    # --- windows into it

    def graph(self, *args: Any, **kwargs: Any) -> str:
        """Return the graph of the function for these arguments, before any derivative, as text."""
        plain = Transform("jit", self.transform.function)
        return str(Cache(plain).find(args, kwargs).graph_text)

    def adjoint(self, *args: Any, **kwargs: Any) -> str:
        """Return the graph that computes the derivative (for `jit`: the gradient by the first argument), as text."""
        t = self.transform
        cache = Cache(Transform("grad", t.function)) if t.kind == "jit" else self.cache
        return str(cache.find(args, kwargs).graph_text)

    def llvm(self, *args: Any, **kwargs: Any) -> str:
        """Return the LLVM IR that the call compiles to."""
        return self.cache.find(args, kwargs).llvm_text

    def asm(self, *args: Any, **kwargs: Any) -> str:
        """Return the machine code that the call compiles to, as assembly."""
        return self.cache.find(args, kwargs).asm_text

    def stats(self) -> dict[str, Any]:
        """Return what was compiled: one entry a signature with its reason and the milliseconds of each stage."""
        return self.cache.stats()


def _decorate(kind: str, function: Callable[..., Any] | None, argnums: Any, has_aux: bool) -> Any:
    if function is None:
        return lambda f: _decorate(kind, f, argnums, has_aux)
    if not callable(function):
        raise error("JG107", kind=kind, what=type(function).__name__)
    return Transformed(Transform(kind, function, argnums, has_aux))


@overload
def jit(function: Callable[..., Any]) -> Transformed: ...
@overload
def jit(function: None = None) -> Callable[[Callable[..., Any]], Transformed]: ...
def jit(function: Callable[..., Any] | None = None) -> Any:
    """Compile a function.

    Parameters
    ----------
    function : callable
        Plain Python and NumPy. Its arguments and results are numbers, arrays, and trees of these.

    Returns
    -------
    Transformed
        Called like `function`; returns what it returns, and mutates array arguments exactly where it does.

    Raises
    ------
    UnsupportedError
        At the first call of a kind, with the line, if the function uses something that cannot be compiled.

    Examples
    --------
    >>> import numpy as np, jitgrad
    >>> jitgrad.jit(lambda x: (x * x).sum())(np.arange(4.0))
    np.float64(14.0)
    """
    return _decorate("jit", function, 0, False)


def grad(function: Callable[..., Any] | None = None, argnums: Any = 0, has_aux: bool = False) -> Any:
    """Return the function that computes the gradient of a scalar function.

    Parameters
    ----------
    function : callable
        Returns a float (Python's, NumPy's, or an array of rank 0).
    argnums : int, str, or tuple of these
        The arguments by which to differentiate, by position or by name.
    has_aux : bool
        Whether `function` returns `(value, aux)`; then the gradient function returns `(gradient, aux)`.

    Returns
    -------
    Transformed
        Called like `function`; returns the gradient, in the type of the argument: a float for a float, an array of the
        same dtype for an array, the same dataclass for a dataclass, with leaves that are not floating point carried
        through. For a tuple of `argnums`, a tuple. The caller's arrays are never changed.

    Raises
    ------
    DifferentiationError
        JG111 for an integer argument, JG112 for one without a float, JG114 for a result that is no float scalar.
    ArgumentError
        JG101 for a wrong `argnums`.
    UnsupportedError
        With the line, if the function uses something that cannot be compiled.

    Examples
    --------
    >>> jitgrad.grad(lambda x: x * x)(3.0)
    6.0
    """
    return _decorate("grad", function, argnums, has_aux)


def value_and_grad(function: Callable[..., Any] | None = None, argnums: Any = 0, has_aux: bool = False) -> Any:
    """Return the function that computes a scalar function and its gradient together.

    Parameters and errors are those of `grad`.

    Returns
    -------
    Transformed
        Returns `(value, gradient)`, or `((value, aux), gradient)` with `has_aux`.
    """
    return _decorate("value_and_grad", function, argnums, has_aux)


class _Cotangents:
    """The pull-back of one call of `vjp`: it owns copies of the primals."""

    def __init__(self, pull: Transformed, primals: tuple[Any, ...]) -> None:
        self._pull = pull
        self._primals = primals

    def __call__(self, ct: Any) -> tuple[Any, ...]:
        """Return the cotangents of the primals, one each, given that of the result."""
        found: tuple[Any, ...] = self._pull(self._primals, ct)
        return found


_MADE: dict[tuple[str, int, bool], tuple[Any, Transformed]] = {}


def _shared(kind: str, function: Callable[..., Any], has_aux: bool) -> Transformed:
    """Return the transform of a function, made once as long as the function lives in the table of the last 256."""
    key = (kind, id(function), has_aux)
    found = _MADE.get(key)
    if found is None or found[0] is not function:
        if len(_MADE) >= 256:
            _MADE.pop(next(iter(_MADE)))
        found = (function, Transformed(Transform(kind, function, 0, has_aux)))
        _MADE[key] = found
    return found[1]


def vjp(function: Callable[..., Any], *primals: Any, has_aux: bool = False) -> Any:
    """Compute a function and return it with its pull-back.

    Parameters
    ----------
    function : callable
        Called as `function(*primals)`.
    *primals
        Numbers, arrays, trees.
    has_aux : bool
        Whether `function` returns `(value, aux)`.

    Returns
    -------
    value
        What `function` returns.
    pullback : callable
        `pullback(ct)` returns a tuple with the cotangent of each primal; `ct` has the structure of `value`. It keeps
        copies of the primals, so that later changes of the caller's arrays do not matter.
    aux
        With `has_aux`.

    Raises
    ------
    ArgumentError
        JG106 from `pullback` if `ct` does not fit.
    """
    spec, leaves = flatten(tuple(primals))
    owned = [_copied(leaf) for leaf in leaves]
    held = unflatten(spec, iter(owned))
    given = unflatten(spec, iter([_copied(leaf) for leaf in leaves]))
    value = _shared("jit", function, False)(*given)
    pullback = _Cotangents(_shared("pull", function, has_aux), held)
    if has_aux:
        if not isinstance(value, tuple) or len(value) != 2:
            raise error("JG105", name=getattr(function, "__name__", "function"), what=type(value).__name__)
        return value[0], pullback, value[1]
    return value, pullback


def _copied(leaf: Any) -> Any:
    """Return a leaf of its own; an array keeps what decides which reshapes share memory with it.

    That is the order and direction of its axes, whether its elements lie in a row, and which axes continue one another.
    How wide gaps are does not matter: the column of a large matrix becomes a small array.
    """
    if not isinstance(leaf, np.ndarray) or leaf.flags.forc or not leaf.size:
        return leaf.copy(order="K") if isinstance(leaf, np.ndarray) else leaf
    strides = [0] * leaf.ndim
    continued = free = leaf.itemsize  # the stride that would continue the axes so far: there, and in the copy
    for axis in sorted(range(leaf.ndim), key=lambda k: abs(leaf.strides[k])):
        size, stride = leaf.shape[axis], leaf.strides[axis]
        if size > 1 and stride:
            width = free if abs(stride) == continued else free + leaf.itemsize
            strides[axis] = width if stride > 0 else -width
            continued, free = abs(stride) * size, width * size
    ways = [s * (n - 1) for s, n in zip(strides, leaf.shape, strict=True)]
    low, high = sum(min(w, 0) for w in ways), sum(max(w, 0) for w in ways)
    made: np.ndarray = np.ndarray(leaf.shape, leaf.dtype, np.zeros(high - low + leaf.itemsize, np.uint8), -low, strides)
    made[...] = leaf
    return made


def jvp(function: Callable[..., Any], primals: Any, tangents: Any, has_aux: bool = False) -> Any:
    """Compute a function and its derivative in a direction.

    Parameters
    ----------
    function : callable
    primals, tangents : tuple or list
        As many as `function` takes; each tangent has the structure of its primal.
    has_aux : bool
        Whether `function` returns `(value, aux)`.

    Returns
    -------
    value, tangent
        And `aux` with `has_aux`.

    Raises
    ------
    ArgumentError
        JG106 if the tangents do not fit the primals; JG109 if either are no tuple or list.
    """
    for what, given in (("primals", primals), ("tangents", tangents)):
        if not isinstance(given, tuple | list):
            raise error("JG109", what=what, kind=type(given).__name__)
    return _shared("push", function, has_aux)(tuple(primals), tuple(tangents))


MAKERS.update({jit: "jit", grad: "grad", value_and_grad: "value_and_grad", vjp: "vjp", jvp: "jvp"})
