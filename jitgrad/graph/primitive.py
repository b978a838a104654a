"""What a primitive is, and the registry of all of them.

A primitive is declared once, in `graph/ops/`: its name, the NumPy callables it implements, its type rule, its meaning
in NumPy, its derivative, and (elementwise ones) its scalar lowering. Leaving the derivative out fails at import.

Before adding one, ask whether existing primitives compose to it. A worked example:

    expm1 = elementwise(
        "expm1", numpy=np.expm1, domain=(-3.0, 3.0),
        derivative=Partials(lambda g, out, x: (g.exp(x),)),
        scalar=lambda b, x: b.math("expm1", x),
    )

The derivative takes one of these forms:

`Partials`     elementwise: the partial of the result by each operand, as graph code; vjp and jvp both follow, with
               unbroadcasting and masks handled centrally. A partial may be the constants ONE, MINUS_ONE or ZERO.
`Linear`       linear in each operand that may be active: the jvp is the op on each tangent, summed; the vjp is the
               transpose given here.
`Rules`        an explicit vjp and jvp, both required; the vjp hands masks on.
`NoGradient`   a reason. Results that are not floating point need no other form.

This room knows no particular primitive, no evaluation order and no LLVM.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from jitgrad.graph.ir import Op, Value
from jitgrad.graph.types import ArrayType, GraphTypeError, Type, broadcast_shapes

if TYPE_CHECKING:
    from jitgrad.graph.builder import Builder

__all__ = [
    "MINUS_ONE",
    "ONE",
    "PRIMITIVES",
    "ZERO",
    "Cot",
    "Derivative",
    "Linear",
    "Masked",
    "NoGradient",
    "Partial",
    "Partials",
    "Primitive",
    "Rules",
    "ScalarBuilder",
    "always",
    "by_arrays",
    "elementwise",
    "primitive",
]


class Partial(Enum):
    """Partials known without graph code, so that products with them are never built."""

    ZERO = 0
    ONE = 1
    MINUS_ONE = -1


ZERO, ONE, MINUS_ONE = Partial.ZERO, Partial.ONE, Partial.MINUS_ONE


@dataclass(frozen=True, slots=True)
class Masked:
    """A partial that holds where `mask` does; elsewhere the operand was not chosen and its cotangent is an exact zero.

    `where`, `maximum` and their like use it: the mask travels on with the cotangent, so that an infinite or NaN partial
    further up cannot leak into the side that was not taken.

    Attributes
    ----------
    mask : Value or None
    partial : Value or Partial
    matters : Value or None
        Where the product with the partial may be other than a zero that moves: such a zero is one to infinite partials
        further up, but has a derivative (`where_used`).
    """

    mask: Value | None
    partial: Value | Partial = Partial.ONE
    matters: Value | None = None


class Cot(NamedTuple):
    """A cotangent: its value, and a bool array (of its shape, or a scalar) outside of which it is zero, or None.

    Where the mask is false the value *is* an exact zero: a rule that mixes elements may drop the mask, though not
    multiply those zeros by what may be infinite; one that moves or scales elements moves the mask with them.
    """

    value: Value
    mask: Value | None = None


@dataclass(frozen=True, slots=True)
class Partials:
    """`rule(g, out, *operands)` returns one partial an operand (a Value, a Masked, or ONE, MINUS_ONE, ZERO).

    `rule` is called with only what it names; partials of inactive operands are dead code and vanish.

    Attributes
    ----------
    steep : callable, optional
        Whether a partial of an op may be infinite, or none, at a point where its operands are finite. Cotangents that
        are zero because a program reads only a part of an array then carry masks on their way to it.
    finite : callable, optional
        Whether a partial of an op may be infinite where its result is finite; as a rule that of `steep` if it is
        `always`.
    """

    rule: Callable[..., tuple[Value | Partial | Masked, ...]]
    steep: Callable[[Op], bool] | None = None
    finite: Callable[[Op], bool] | None = None

    def __post_init__(self) -> None:
        if self.steep is always:
            object.__setattr__(self, "finite", always)


@dataclass(frozen=True, slots=True)
class Linear:
    """`transpose(g, i, ct, op)` returns the cotangent of operand i, given the cotangent of the only result.

    Attributes
    ----------
    operands : tuple of int, or None
        Positions that may be active; None means every floating-point operand. Multilinear is fine (matmul).
    moves : bool
        Whether the op only moves or copies elements (shape ops, slices): then a mask travels through the transpose
        as the cotangent does.
    """

    transpose: Callable[[Builder, int, Value, Op], Value]
    operands: tuple[int, ...] | None = None
    moves: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """Explicit rules.

    `vjp(g, op, cts, needed)` gets the results' cotangents (None where zero; masks have the result's shape) and the set
    of operand positions wanted, and returns one cotangent or None an operand. `jvp(g, op, tangents)` gets the operands'
    tangents (None where zero) and returns one tangent or None a result. Both may use `op.operands` and `op.results`:
    the caller sees to it that those values are at hand where the rule's code runs.
    """

    vjp: Callable[[Builder, Op, Sequence[Cot | None], set[int]], Sequence[Cot | None]]
    jvp: Callable[[Builder, Op, Sequence[Value | None]], Sequence[Value | None]]


@dataclass(frozen=True, slots=True)
class NoGradient:
    """There is no derivative, and why; an active operand is an error that cites it."""

    why: str


Derivative: TypeAlias = Partials | Linear | Rules | NoGradient


class ScalarBuilder(Protocol):
    """What an elementwise primitive's `scalar` lowering may ask for; the backend implements it.

    Handles are opaque; each has a dtype that the builder knows. Float arithmetic is IEEE; integer arithmetic wraps.

    Attributes
    ----------
    result : numpy.dtype
        Dtype of the result of the op being lowered.
    """

    result: np.dtype

    def dtype(self, x: Any) -> np.dtype:
        """Return the dtype of a handle."""

    def const(self, value: float | int | bool | complex, dtype: np.dtype) -> Any:
        """Return a constant."""

    def cast(self, x: Any, dtype: np.dtype) -> Any:
        """Return x converted as `ndarray.astype` does (undefined float to int conversions give some value)."""

    def add(self, x: Any, y: Any) -> Any:
        """Return x + y."""

    def sub(self, x: Any, y: Any) -> Any:
        """Return x - y."""

    def mul(self, x: Any, y: Any) -> Any:
        """Return x * y."""

    def div(self, x: Any, y: Any) -> Any:
        """Return x / y of floats."""

    def floordiv(self, x: Any, y: Any) -> Any:
        """Return x // y as NumPy (0 for an integer divided by zero)."""

    def mod(self, x: Any, y: Any) -> Any:
        """Return x % y as NumPy, with the sign of y."""

    def neg(self, x: Any) -> Any:
        """Return -x."""

    def compare(self, relation: str, x: Any, y: Any) -> Any:
        """Return a bool for one of < <= == != > >= (ordered, as IEEE; != is unordered)."""

    def is_negative_zero(self, x: Any) -> Any:
        """Return whether a float is -0.0."""

    def select(self, mask: Any, x: Any, y: Any) -> Any:
        """Return x where the bool mask holds, else y."""

    def logical(self, name: str, *xs: Any) -> Any:
        """Return and, or, xor, not of bools or bits of integers."""

    def shift(self, name: str, x: Any, y: Any) -> Any:
        """Return x shifted left or right by y as NumPy (y outside the width gives 0 or the sign)."""

    def math(self, name: str, *xs: Any) -> Any:
        """Return a function of the math library or an intrinsic: sqrt, fabs, floor, ceil, trunc, rint, copysign, ..."""


@dataclass(eq=False)
class Primitive:
    """One operation of the graph; see the module docstring.

    Attributes
    ----------
    name : str
    type_rule : callable
        `type_rule(attrs, *operands) -> list[Type]`; operands are Values, so that run-time dimensions can be named in
        result types. Raises GraphTypeError.
    evaluate : callable or None
        `evaluate(attrs, *arrays)` in NumPy, returning the result (or a tuple of results). None for ops with regions.
    derivative : Partials, Linear, Rules or NoGradient, or None for structured ops, which `graph/diff` knows by name.
    numpy : tuple of callables
        The NumPy functions whose elementwise meaning this is; the front end maps them here.
    scalar : callable or None
        `scalar(b, *handles)`: elementwise lowering through a ScalarBuilder.
    effects : frozenset of str
        Of "may_raise", "io", "rng"; empty is pure.
    domain : tuple of float
        Interval of operands on which tests draw values.
    """

    name: str
    type_rule: Callable[..., list[Type]]
    evaluate: Callable[..., Any] | None
    derivative: Derivative | None
    numpy: tuple[Callable[..., Any], ...] = ()
    scalar: Callable[..., Any] | None = None
    effects: frozenset[str] = field(default_factory=frozenset)
    domain: tuple[float, float] = (-2.0, 2.0)

    @property
    def is_elementwise(self) -> bool:
        """Whether the op maps element to element with NumPy's broadcasting."""
        return self.scalar is not None

    @property
    def is_pure(self) -> bool:
        """Whether the op may be dropped, repeated or moved."""
        return not self.effects

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


PRIMITIVES: dict[str, Primitive] = {}


def primitive(
    name: str,
    *,
    type_rule: Callable[..., list[Type]],
    evaluate: Callable[..., Any] | None,
    derivative: Derivative | None,
    numpy: tuple[Callable[..., Any], ...] = (),
    scalar: Callable[..., Any] | None = None,
    effects: frozenset[str] = frozenset(),
    domain: tuple[float, float] = (-2.0, 2.0),
) -> Primitive:
    """Declare a primitive and return it; a name can be declared once."""
    assert name not in PRIMITIVES, name
    made = Primitive(name, type_rule, evaluate, derivative, numpy, scalar, effects, domain)
    PRIMITIVES[name] = made
    return made


def always(op: Op) -> bool:
    """Return True: `steep` of ops that are finite where their partials are not, such as sqrt at 0."""
    return True


def by_arrays(op: Op) -> bool:
    """Return whether an op works on whole arrays: `steep` of ops that are infinite where their partials are.

    Element by element, programs that divide by zero or take its logarithm do so behind a test of their own.
    """
    return bool(op.result.shape)


def elementwise(
    name: str,
    *,
    numpy: np.ufunc | tuple[Callable[..., Any], ...],
    derivative: Derivative,
    scalar: Callable[..., Any],
    domain: tuple[float, float] = (-2.0, 2.0),
    result: Callable[..., np.dtype] | None = None,
    evaluate: Callable[..., Any] | None = None,
    kinds: str = "biufc",
) -> Primitive:
    """Declare an elementwise primitive.

    Parameters
    ----------
    name : str
    numpy : ufunc, or tuple of callables whose first is the meaning
    derivative, scalar, domain
        As in `Primitive`.
    result : callable, optional
        `result(*dtypes) -> dtype` where the meaning is not a ufunc. A ufunc's own `resolve_dtypes` decides otherwise:
        operands must already have the dtypes of one of its loops, since casts are ops of their own.
    evaluate : callable, optional
        `evaluate(*arrays)`; by default the first of `numpy`.
    kinds : str
        Kinds of dtypes (`numpy.dtype.kind`) that operands may have, where the ufunc has loops for more.
    """
    callables = numpy if isinstance(numpy, tuple) else (numpy,)
    meaning = evaluate or callables[0]

    @cache
    def result_dtype(dtypes: tuple[np.dtype, ...]) -> np.dtype:
        if any(d.kind not in kinds for d in dtypes):
            raise GraphTypeError(f"{name} does not take {', '.join(map(str, dtypes))}")
        if result is not None:
            return result(*dtypes)
        ufunc = callables[0]
        assert isinstance(ufunc, np.ufunc)
        try:
            resolved = ufunc.resolve_dtypes((*dtypes, None))
        except (TypeError, ValueError) as failure:
            raise GraphTypeError(f"{name} does not take {', '.join(map(str, dtypes))}") from failure
        if tuple(resolved[:-1]) != dtypes:
            raise GraphTypeError(f"{name} takes {resolved[:-1]}, not {dtypes}")
        return resolved[-1]

    def type_rule(attrs: dict[str, Any], *operands: Value) -> list[Type]:
        types = [v.array for v in operands]
        dtype = result_dtype(tuple([t.dtype for t in types]))
        first = types[0]
        for t in types:
            if t.shape != first.shape:
                return [ArrayType(dtype, broadcast_shapes(*[t.shape for t in types]))]
        return [first if first.dtype is dtype else ArrayType(dtype, first.shape)]

    return primitive(
        name,
        type_rule=type_rule,
        evaluate=lambda attrs, *xs: meaning(*xs),
        derivative=derivative,
        numpy=callables,
        scalar=scalar,
        domain=domain,
    )
