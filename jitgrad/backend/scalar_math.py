"""Elementary functions for emitted code: the helpers that one LLVM module needs, as text.

In: the name of a function of NumPy, a dtype, a number of lanes and operand names. Out: the text of a call, and at the
end the definitions of every helper that was called, ready to be appended to the module. The helpers are branch-free
vector code of our own (`math_exp`, `math_log`, `math_trig`, `math_special`), accurate to 2 units in the last place of
the true value, with the same bits at every width. Position independent. External symbols are the
reduction of huge operands (`math_huge`, which the engine compiles on demand), and floor, which pow uses, on a host that
has no instruction for it.

Reachable by user values and guarded here: sin, cos and tan of huge operands leave the range of the fast reduction and
take a branch (`math_huge`); no float is ever converted to an integer by an instruction, so no conversion is undefined.

This room refuses to know: loops, buffers, the graph, derivatives, and which host the code will run on, except for the
`fma` that it is told. The emitter (`emit`) calls it.
"""

from __future__ import annotations

from collections.abc import Callable

from jitgrad.backend import math_exp, math_log, math_special, math_trig
from jitgrad.backend.math_lanes import Lanes, Writer

__all__ = ["SUPPORTED", "MathLibrary"]

ROUTINES: dict[str, Callable[..., Lanes]] = {
    "arccos": math_trig.arccos,
    "arccosh": math_log.arccosh,
    "arcsin": math_trig.arcsin,
    "arcsinh": math_log.arcsinh,
    "arctan": math_trig.arctan,
    "arctan2": math_trig.arctan2,
    "arctanh": math_log.arctanh,
    "cbrt": math_special.cbrt,
    "cos": math_trig.cos,
    "cosh": math_exp.cosh,
    "erf": math_special.erf,
    "erfc": math_special.erfc,
    "exp": math_exp.exp,
    "exp2": math_exp.exp2,
    "expm1": math_exp.expm1,
    "hypot": math_special.hypot,
    "log": math_log.log,
    "log10": math_log.log10,
    "log1p": math_log.log1p,
    "log2": math_log.log2,
    "pow": math_log.power,
    "sin": math_trig.sin,
    "sinh": math_exp.sinh,
    "tan": math_trig.tan,
    "tanh": math_exp.tanh,
}

# Two results of one operand, which a caller may ask for in place of two calls.
PAIRS: dict[str, Callable[[Writer, Lanes], tuple[Lanes, Lanes]]] = {"sincos": math_trig.both}

BINARY = frozenset({"arctan2", "hypot", "pow"})

SUPPORTED: frozenset[str] = frozenset(ROUTINES)

DTYPES = {"float64": "f64", "float32": "f32"}

# Helpers may be merged, hoisted and dropped.
PURE = "nounwind willreturn memory(none)"


class MathLibrary:
    """Collects the helper functions that one LLVM module needs.

    A helper is a function of the module and not marked for inlining: a call with operands and result in vector
    registers measured as fast as the inlined body (both 10 ns for a chain of five exps), and five uses of tanh compile
    in 16 ms instead of 31. A pass pipeline is free to inline them.

    Parameters
    ----------
    fma : bool
        The target has fused multiply-add. Without it products and sums are written apart, for `llvm.fma` would then
        become a slow call of the C library; results stay within the same bounds but may differ in the last place.

    Examples
    --------
    >>> library = MathLibrary()
    >>> library.call("exp", "float64", 8, "%x")
    'call fastcc <8 x double> @jg_exp_f64x8(<8 x double> %x)'
    """

    def __init__(self, fma: bool = False) -> None:
        self.fma = fma
        self._needed: dict[tuple[str, str, int], int] = {}

    def call(self, name: str, dtype: str, width: int, *operands: str) -> str:
        """Return the right-hand side of a call and remember that its helper is needed.

        Parameters
        ----------
        name : str
            A member of `SUPPORTED`; or of `PAIRS`, for a struct of two results.
        dtype : {'float64', 'float32'}
            Of the operands and the result.
        width : int
            Number of lanes; 1 means operands of scalar type.
        *operands : str
            LLVM values, such as `%x`.
        """
        if (name not in SUPPORTED and name not in PAIRS) or dtype not in DTYPES or width < 1:
            raise ValueError(f"no helper for {name} of {width} lanes of {dtype}")
        if len(operands) != 1 + (name in BINARY):
            raise ValueError(f"{name} takes {1 + (name in BINARY)} operands, not {len(operands)}")
        key = name, dtype, width
        self._needed[key] = self._needed.get(key, 0) + 1
        of = Writer(dtype, width, self.fma).outer_type
        arguments = ", ".join(f"{of} {operand}" for operand in operands)
        result = f"{{ {of}, {of} }}" if name in PAIRS else of
        return f"call fastcc {result} {_symbol(name, dtype, width)}({arguments})"

    def withdraw(self, name: str, dtype: str, width: int) -> None:
        """Forget a call whose text was thrown away."""
        self._needed[name, dtype, width] -= 1

    def helpers(self) -> tuple[list[str], dict[str, str]]:
        """Return what the helpers called so far declare, and the definition of each by its name, in a stable order."""
        functions: dict[str, str] = {}
        needed: set[str] = set()
        for name, dtype, width in sorted(key for key, calls in self._needed.items() if calls):
            w = Writer(dtype, width, self.fma)
            functions[_symbol(name, dtype, width)[1:]] = _define(w, name, dtype)
            needed |= w.needed
        return sorted(needed), functions

    def definitions(self) -> str:
        """Return the helpers called so far and what they declare."""
        needed, functions = self.helpers()
        return "\n".join([*needed, *functions.values(), ""])


def _symbol(name: str, dtype: str, width: int) -> str:
    return f"@jg_{name}_{DTYPES[dtype]}x{width}"


def _define(w: Writer, name: str, dtype: str) -> str:
    """Write the whole function."""
    parameters = [f"%a{i}" for i in range(1 + (name in BINARY))]
    operands = [Lanes(w, parameter, "f") for parameter in parameters]
    if w.single:
        operands = [w.emit(f"fpext {w.outer_type} {o.text} to {w.types['f']}", "f") for o in operands]
    results: tuple[Lanes, ...] = PAIRS[name](w, *operands) if name in PAIRS else (ROUTINES[name](w, *operands),)
    if w.single:
        results = tuple(w.emit(f"fptrunc {w.types['f']} {r.text} to {w.outer_type}", "f") for r in results)
    of, value = w.outer_type, results[0].text
    if name in PAIRS:
        pair = f"{{ {of}, {of} }}"
        value = w.emit(f"insertvalue {pair} poison, {of} {value}, 0", "f").text
        value = w.emit(f"insertvalue {pair} {value}, {of} {results[1].text}, 1", "f").text
        of = pair
    signature = ", ".join(f"{w.outer_type} {parameter}" for parameter in parameters)
    head = f"define internal fastcc {of} {_symbol(name, dtype, w.width)}({signature}) {PURE} {{"
    return "\n".join([head, "entry:", *w.lines, f"  ret {of} {value}", "}"])
