"""The ops that are not holomorphic: conjugate, real and imaginary parts.

In: an array of any dtype. Out: the declarations. Cotangents follow the convention of df = Re(sum g * dz) for a real f,
so that the cotangent of a holomorphic op is multiplied by its derivative without a conjugate. `absolute` of a complex
number is composed: the hypot of its parts, which has the convention at 0.

This room refuses to know lowering of complex numbers: of real ones the three are trivial, others the backend refuses.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.primitive import Linear, ScalarBuilder, primitive
from jitgrad.graph.types import Type

__all__: list[str] = []


def _part_rule(attrs: dict[str, Any], x: Value) -> list[Type]:
    return [x.array.with_dtype(np.zeros(0, x.array.dtype).real.dtype)]


def _conjugate(b: ScalarBuilder, x: Any) -> Any:
    return b.math("conjugate", x) if b.dtype(x).kind == "c" else x


def _real(b: ScalarBuilder, x: Any) -> Any:
    return b.math("real", x) if b.dtype(x).kind == "c" else x


def _imag(b: ScalarBuilder, x: Any) -> Any:
    return b.math("imag", x) if b.dtype(x).kind == "c" else b.const(0, b.dtype(x))


def _transpose_imag(g: Builder, i: int, ct: Value, op: Op) -> Value:
    dtype = op.operands[0].array.dtype
    factor = -1j if dtype.kind == "c" else 0.0
    made: Value = g.multiply(g.cast(ct, dtype=dtype), g.constant(factor, dtype))
    return made


conjugate = primitive(
    "conjugate",
    type_rule=lambda attrs, x: [x.array],
    evaluate=lambda attrs, x: np.conjugate(x) if np.asarray(x).dtype.kind == "c" else np.asarray(x),
    derivative=Linear(lambda g, i, ct, op: g.conjugate(ct)),
    numpy=(np.conjugate,),
    scalar=_conjugate,
)
real = primitive(
    "real",
    type_rule=_part_rule,
    evaluate=lambda attrs, x: np.real(x),
    derivative=Linear(lambda g, i, ct, op: g.cast(ct, dtype=op.operands[0].array.dtype), moves=True),
    numpy=(np.real,),
    scalar=_real,
)
imag = primitive(
    "imag",
    type_rule=_part_rule,
    evaluate=lambda attrs, x: np.imag(x),
    derivative=Linear(_transpose_imag),
    numpy=(np.imag,),
    scalar=_imag,
)
