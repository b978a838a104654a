"""Elementary functions for emitted code: the helpers that one LLVM module needs, as text.

In: the name of a function of NumPy, a dtype, a number of lanes and operand names. Out: the text of a call, and at the
end the definitions of every helper that was called, ready to be appended to the module. The helpers are branch-free
vector code of our own (`math_exp`, `math_log`, `math_trig`, `math_special`), accurate to 2 units in the last place of
the true value. Position independent: no tables, and the only external symbols are sin, cos and tan of the C library.

Reachable by user values and guarded here: sines of huge arguments leave the range of the fast reduction (libm's result
is taken for those lanes); no float is ever converted to an integer by an instruction, so no conversion is undefined.

This room refuses to know: loops, buffers, the graph, derivatives, and which host the code will run on, except for the
`fma` that it is told. The emitter (`emit`) calls it.
"""

from __future__ import annotations

from collections.abc import Callable

from jitgrad.backend import math_exp, math_log, math_special, math_trig
from jitgrad.backend.math_lanes import Lanes, Writer

__all__ = ["SUPPORTED", "MathLibrary"]

OWN: dict[str, Callable[..., Lanes]] = {
    "arccos": math_trig.arccos,
    "arccosh": math_log.arccosh,
    "arcsin": math_trig.arcsin,
    "arcsinh": math_log.arcsinh,
    "arctan": math_trig.arctan,
    "arctan2": math_trig.arctan2,
    "arctanh": math_log.arctanh,
    "cbrt": math_special.cbrt,
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
    "sinh": math_exp.sinh,
    "tanh": math_exp.tanh,
}

# Good up to math_trig.HUGE; beyond it a lane takes the result of the C library's function of the same name.
REDUCED: dict[str, Callable[[Writer, Lanes], Lanes]] = {
    "cos": math_trig.cos,
    "sin": math_trig.sin,
    "tan": math_trig.tan,
}

BINARY = frozenset({"arctan2", "hypot", "pow"})

SUPPORTED: frozenset[str] = frozenset(OWN) | frozenset(REDUCED)

DTYPES = {"float64": "f64", "float32": "f32"}


class MathLibrary:
    """Collects the helper functions that one LLVM module needs.

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
        self._fma = fma
        self._needed: dict[tuple[str, str, int], None] = {}

    def call(self, name: str, dtype: str, width: int, *operands: str) -> str:
        """Return the right-hand side of a call and remember that its helper is needed.

        Parameters
        ----------
        name : str
            A member of `SUPPORTED`.
        dtype : {'float64', 'float32'}
            Of the operands and the result.
        width : int
            Number of lanes; 1 means operands of scalar type.
        *operands : str
            LLVM values, such as `%x`.
        """
        if name not in SUPPORTED or dtype not in DTYPES or width < 1:
            raise ValueError(f"no helper for {name} of {width} lanes of {dtype}")
        if len(operands) != 1 + (name in BINARY):
            raise ValueError(f"{name} takes {1 + (name in BINARY)} operands, not {len(operands)}")
        self._needed[name, dtype, width] = None
        of = Writer(dtype, width, self._fma).outer_type
        arguments = ", ".join(f"{of} {operand}" for operand in operands)
        return f"call fastcc {of} {_symbol(name, dtype, width)}({arguments})"

    def definitions(self) -> str:
        """Return the helpers called so far and what they declare, in a stable order."""
        functions: list[str] = []
        declarations: set[str] = set()
        for name, dtype, width in sorted(self._needed):
            w = Writer(dtype, width, self._fma)
            functions.append(_define(w, name, dtype))
            declarations |= w.declarations
        return "\n".join([*sorted(declarations), *functions, ""])


def _symbol(name: str, dtype: str, width: int) -> str:
    return f"@jg_{name}_{DTYPES[dtype]}x{width}"


def _define(w: Writer, name: str, dtype: str) -> str:
    """Write the whole function."""
    parameters = [f"%a{i}" for i in range(1 + (name in BINARY))]
    operands = [Lanes(w, parameter, "f") for parameter in parameters]
    if w.single:
        operands = [w.emit(f"fpext {w.outer_type} {o.text} to {w.types['f']}", "f") for o in operands]
    result = OWN[name](w, *operands) if name in OWN else _with_libm_beyond(w, name, operands[0])
    if w.single:
        result = w.emit(f"fptrunc {w.types['f']} {result.text} to {w.outer_type}", "f")
    signature = ", ".join(f"{w.outer_type} {parameter}" for parameter in parameters)
    return "\n".join(
        [
            f"define internal fastcc {w.outer_type} {_symbol(name, dtype, w.width)}({signature}) nounwind {{",
            "entry:",
            *w.lines,
            f"  ret {w.outer_type} {result.text}",
            "}",
        ]
    )


def _libm(w: Writer, symbol: str, x: Lanes) -> Lanes:
    """Call the C library for each lane."""
    # errno is nobody's business here, so the call is as pure as the function it stands for.
    w.declarations.add(f"declare double @{symbol}(double) nounwind willreturn memory(none)")
    of = w.types["f"]
    if w.width == 1:
        return w.emit(f"call double @{symbol}(double {x.text})", "f")
    total = Lanes(w, "poison", "f")
    for lane in range(w.width):
        element = w.emit(f"extractelement {of} {x.text}, i64 {lane}", "f")
        one = w.emit(f"call double @{symbol}(double {element.text})", "f")
        total = w.emit(f"insertelement {of} {total.text}, double {one.text}, i64 {lane}", "f")
    return total


def _with_libm_beyond(w: Writer, name: str, x: Lanes) -> Lanes:
    """Write the fast routine, and a rarely taken branch that asks the C library for the lanes beyond its range."""
    of, at = w.types["f"], w.types["b"]
    fast = REDUCED[name](w, x)
    huge = x.magnitude() > math_trig.HUGE
    if w.width > 1:
        symbol = f"@llvm.vector.reduce.or.v{w.width}i1"
        w.declarations.add(f"declare i1 {symbol}({at})")
        any_huge = w.emit(f"call i1 {symbol}({at} {huge.text})", "b")
    else:
        any_huge = huge
    w.lines += [f"  br i1 {any_huge.text}, label %slow, label %done", "slow:"]
    # A lane's result must not depend on its neighbours: only the huge ones take libm's.
    slow = w.select(huge, _libm(w, name, x), fast)
    w.lines += ["  br label %done", "done:"]
    return w.emit(f"phi {of} [ {fast.text}, %entry ], [ {slow.text}, %slow ]", "f")
