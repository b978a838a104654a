"""Elementwise arithmetic on one lane or many: the `ScalarBuilder` that primitives lower themselves through.

In: handles (an LLVM operand with its dtype and number of lanes). Out: instructions. A handle of one lane meets a vector
by being splat.

Undefined behaviour of LLVM that a user's value could reach, and what guards it here: float to integer conversion (range
select first), integer division by zero and INT_MIN // -1 (divisor select), shifts beyond the width (select). No nsw or
nuw is ever written, and no fast-math flag where the graph does not say that its rounding or order is ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jitgrad.backend.scalar_math import SUPPORTED, MathLibrary
from jitgrad.backend.text import FunctionText, literal, register_type, vector
from jitgrad.graph.ir import Graph, Op, Value

__all__ = ["Arithmetic", "Handle"]


@dataclass(frozen=True, slots=True)
class Handle:
    """An LLVM operand: a register or a constant.

    Attributes
    ----------
    text : str
        The operand; for a constant that of one lane.
    dtype : numpy.dtype
    width : int
        Lanes.
    constant : bool
        Whether `text` is a literal.
    """

    text: str
    dtype: np.dtype
    width: int = 1
    constant: bool = False


_BOOL = np.dtype(np.bool_)
_INT32, _INT64 = np.dtype(np.int32), np.dtype(np.int64)
_FLOAT_RELATION = {"<": "olt", "<=": "ole", "==": "oeq", "!=": "une", ">": "ogt", ">=": "oge"}
_SIGNED = {"<": "slt", "<=": "sle", "==": "eq", "!=": "ne", ">": "sgt", ">=": "sge"}
_UNSIGNED = {"<": "ult", "<=": "ule", "==": "eq", "!=": "ne", ">": "ugt", ">=": "uge"}
_INTRINSICS = {"sqrt": 1, "fabs": 1, "floor": 1, "ceil": 1, "trunc": 1, "rint": 1, "copysign": 2, "fma": 3}

# What makes a pair of the math library together with a function.
_PARTNER = {"sin": "cos", "cos": "sin"}


class Arithmetic:
    """Writes elementwise instructions; implements the protocol `ScalarBuilder`."""

    def __init__(self, text: FunctionText, library: MathLibrary, estimates: bool = False) -> None:
        self.text = text
        self.library = library
        self.estimates = estimates  # whether the processor estimates reciprocals (`estimates`)
        self.result: np.dtype = _BOOL
        self._splats: dict[str, Handle] = {}
        # Of the block `_block`: what was called, and the factors of products that may be rounded with a sum.
        self._calls: dict[tuple[str, ...], tuple[str, int]] = {}
        self._products: dict[str, tuple[Handle, Handle]] = {}
        self._block: tuple[list[str], str] = (text.lines, text.label)

    # handles

    def dtype(self, x: Handle) -> np.dtype:
        """Return the dtype of a handle."""
        return x.dtype

    def const(self, value: Any, dtype: np.dtype) -> Handle:
        """Return a constant."""
        return Handle(literal(value, np.dtype(dtype)), np.dtype(dtype), 1, True)

    def splat(self, x: Handle, width: int) -> Handle:
        """Return x in every lane."""
        if x.width == width:
            return x
        assert x.width == 1
        kind = register_type(x.dtype)
        if x.constant:
            return Handle(f"splat ({kind} {x.text})", x.dtype, width, True)
        one = self.text.emit(f"insertelement <{width} x {kind}> poison, {kind} {x.text}, i64 0")
        made = self.text.emit(
            f"shufflevector <{width} x {kind}> {one}, <{width} x {kind}> poison, <{width} x i32> zeroinitializer"
        )
        return Handle(made, x.dtype, width)

    def _level(self, *xs: Handle) -> tuple[Handle, ...]:
        width = max(x.width for x in xs)
        return tuple(self.splat(x, width) for x in xs)

    def _type(self, x: Handle) -> str:
        return vector(register_type(x.dtype), x.width)

    def _binary(self, opcode: str, x: Handle, y: Handle) -> Handle:
        x, y = self._level(x, y)
        return Handle(self.text.emit(f"{opcode} {self._type(x)} {x.text}, {y.text}"), x.dtype, x.width)

    def _call(self, name: str, *xs: Handle) -> Handle:
        xs = self._level(*xs)
        of = self._type(xs[0])
        element = register_type(xs[0].dtype)
        suffix = {"double": "f64", "float": "f32"}.get(element, element)
        symbol = f"@llvm.{name}.{suffix if xs[0].width == 1 else f'v{xs[0].width}{suffix}'}"
        self.text.declare(f"{of} {symbol}({', '.join([of] * len(xs))})")
        made = self.text.emit(f"call {of} {symbol}({', '.join(f'{of} {x.text}' for x in xs)})")
        return Handle(made, xs[0].dtype, xs[0].width)

    # arithmetic

    def add(self, x: Handle, y: Handle) -> Handle:
        """Return x + y (bools: or)."""
        return self._binary({"f": "fadd", "b": "or"}.get(x.dtype.kind, "add"), x, y)

    def elementwise(self, op: Op, dtype: np.dtype, given: Sequence[Handle]) -> Handle:
        """Return the result of an elementwise op, with the freedoms that its attributes give."""
        if op.attrs.get("any_order"):
            return self._binary(f"f{op.name[:3]} reassoc", *given)
        if op.attrs.get("any_rounding"):
            x, y = given
            if op.name == "power":
                n = self._factors(y)
                return self._product(x, n) if n else self.math("pow", x, y)
            if op.name == "divide":
                # LLVM shares the reciprocal, or hoists it.
                return self.div(x, y) if x.constant else self.mul(x, self.div(self.const(1, dtype), y))
            made = self._binary("fmul contract", x, y)
            if self.library.fma:
                self._this_block()
                self._products[made.text] = x, y
            return made
        if op.name in ("add", "subtract") and dtype.kind == "f":
            return self._sum(op, given)
        self.result = dtype
        assert op.primitive.scalar is not None
        result: Handle = op.primitive.scalar(self, *given)
        return result

    def _sum(self, op: Op, given: Sequence[Handle]) -> Handle:
        """Return a sum or difference of floats, rounded once with a product in it that may be, where that pays.

        What a loop hands on as a multiple of what it was waits for that product alone: the two are one instruction,
        although the product may be used again. What a loop adds up waits for a sum less long than for both. Of all
        others LLVM knows best: a product that is used more than once it computes once.
        """
        self._this_block()
        for k, v in enumerate(op.operands):
            factors = self._products.get(given[k].text)
            if factors and v.op is not None and any(_handed_on(x) is op.results[0] for x in v.op.operands):
                x, y = factors
                rest = given[1 - k]
                if op.name == "subtract":
                    x, rest = (x, self.neg(rest)) if k == 0 else (self.neg(x), rest)
                return self.math("fma", x, y, rest)
        alone = any(v.op is None and not v.shape for v in op.operands)
        return self._binary(f"f{op.name[:3]}{'' if alone else ' contract'}", *given)

    def _this_block(self) -> None:
        """Forget what was written in another block than the current one: it need not dominate."""
        if self._block[0] is not self.text.lines or self._block[1] != self.text.label:
            self._block = (self.text.lines, self.text.label)
            self._calls = {}
            self._products = {}

    def sub(self, x: Handle, y: Handle) -> Handle:
        """Return x - y."""
        return self._binary({"f": "fsub", "b": "xor"}.get(x.dtype.kind, "sub"), x, y)

    def mul(self, x: Handle, y: Handle) -> Handle:
        """Return x * y (bools: and)."""
        return self._binary({"f": "fmul", "b": "and"}.get(x.dtype.kind, "mul"), x, y)

    def div(self, x: Handle, y: Handle) -> Handle:
        """Return x / y of floats."""
        return self._binary("fdiv", x, y)

    def neg(self, x: Handle) -> Handle:
        """Return -x."""
        if x.dtype.kind == "f":
            return Handle(self.text.emit(f"fneg {self._type(x)} {self._operand(x)}"), x.dtype, x.width)
        return self.sub(self.const(0, x.dtype), x)

    def _operand(self, x: Handle) -> str:
        return x.text

    def _safe_divisor(self, x: Handle, y: Handle) -> tuple[Handle, Handle]:
        """Return the divisor with 0 (and -1 where signed) made 1, and where it was 0."""
        zero = self.compare("==", y, self.const(0, y.dtype))
        safe = self.select(zero, self.const(1, y.dtype), y)
        if y.dtype.kind == "i":
            minus = self.compare("==", y, self.const(-1, y.dtype))
            safe = self.select(minus, self.const(1, y.dtype), safe)
        return safe, zero

    def floordiv(self, x: Handle, y: Handle) -> Handle:
        """Return x // y as NumPy (0 for an integer divided by zero)."""
        kind = x.dtype.kind
        if kind == "f":
            return self._float_divmod(x, y)[0]
        x, y = self._level(x, y)
        safe, zero = self._safe_divisor(x, y)
        nothing = self.const(0, x.dtype)
        if kind in "ub":
            return self.select(zero, nothing, self._binary("udiv", x, safe))
        quotient = self._binary("sdiv", x, safe)
        remainder = self.sub(x, self.mul(quotient, safe))
        odd = self.logical(
            "and",
            self.compare("!=", remainder, nothing),
            self.compare("<", self.logical("xor", remainder, safe), nothing),
        )
        quotient = self.select(odd, self.sub(quotient, self.const(1, x.dtype)), quotient)
        minus = self.compare("==", y, self.const(-1, y.dtype))
        quotient = self.select(minus, self.neg(x), quotient)
        return self.select(zero, nothing, quotient)

    def mod(self, x: Handle, y: Handle) -> Handle:
        """Return x % y as NumPy, with the sign of y."""
        kind = x.dtype.kind
        if kind == "f":
            return self._float_divmod(x, y)[1]
        x, y = self._level(x, y)
        safe, zero = self._safe_divisor(x, y)
        nothing = self.const(0, x.dtype)
        if kind in "ub":
            return self.select(zero, nothing, self._binary("urem", x, safe))
        remainder = self._binary("srem", x, safe)
        odd = self.logical(
            "and",
            self.compare("!=", remainder, nothing),
            self.compare("<", self.logical("xor", remainder, safe), nothing),
        )
        remainder = self.select(odd, self.add(remainder, safe), remainder)
        minus = self.compare("==", y, self.const(-1, y.dtype))
        return self.select(self.logical("or", zero, minus), nothing, remainder)

    def _float_divmod(self, x: Handle, y: Handle) -> tuple[Handle, Handle]:
        """Return quotient and remainder exactly as NumPy's npy_divmod."""
        zero, one = self.const(0.0, x.dtype), self.const(1.0, x.dtype)
        x, y = self._level(x, y)
        remainder = self._binary("frem", x, y)
        quotient = self.div(self.sub(x, remainder), y)
        nonzero = self.compare("!=", remainder, zero)
        crossed = self.logical("xor", self.compare("<", y, zero), self.compare("<", remainder, zero))
        adjust = self.logical("and", nonzero, crossed)
        moved = self.select(adjust, self.add(remainder, y), remainder)
        moved = self.select(nonzero, moved, self._call("copysign", zero, y))
        quotient = self.select(adjust, self.sub(quotient, one), quotient)
        floor = self._call("floor", quotient)
        up = self.compare(">", self.sub(quotient, floor), self.const(0.5, x.dtype))
        whole = self.select(up, self.add(floor, one), floor)
        whole = self.select(self.compare("!=", quotient, zero), whole, self._call("copysign", zero, self.div(x, y)))
        by_zero = self.compare("==", y, zero)
        return self.select(by_zero, self.div(x, y), whole), self.select(by_zero, remainder, moved)

    def compare(self, relation: str, x: Handle, y: Handle) -> Handle:
        """Return a bool for one of < <= == != > >=."""
        x, y = self._level(x, y)
        if x.dtype.kind == "f":
            opcode = f"fcmp {_FLOAT_RELATION[relation]}"
        else:
            opcode = f"icmp {(_SIGNED if x.dtype.kind == 'i' else _UNSIGNED)[relation]}"
        return Handle(self.text.emit(f"{opcode} {self._type(x)} {x.text}, {y.text}"), _BOOL, x.width)

    def select(self, mask: Handle, x: Handle, y: Handle) -> Handle:
        """Return x where the bool mask holds, else y."""
        mask, x, y = self._level(mask, x, y)
        of, at = self._type(x), self._type(mask)
        return Handle(self.text.emit(f"select {at} {mask.text}, {of} {x.text}, {of} {y.text}"), x.dtype, x.width)

    def logical(self, name: str, *xs: Handle) -> Handle:
        """Return and, or, xor, not: of truth values for bools, of bits for integers."""
        if name == "not":
            (x,) = xs
            return self._binary("xor", x, Handle("true" if x.dtype.kind == "b" else "-1", x.dtype, 1, True))
        x, y = xs
        return self._binary(name, x, y)

    def shift(self, name: str, x: Handle, y: Handle) -> Handle:
        """Return x shifted left or right by y as NumPy (y outside the width gives 0 or the sign)."""
        bits = x.dtype.itemsize * 8
        x, y = self._level(x, y)
        unsigned = Handle(y.text, np.dtype(f"uint{bits}"), y.width, y.constant)
        inside = self.compare("<", unsigned, self.const(bits, unsigned.dtype))
        if name == "right" and x.dtype.kind == "i":
            return self._binary("ashr", x, self.select(inside, y, self.const(bits - 1, y.dtype)))
        count = self.select(inside, y, self.const(0, y.dtype))
        return self.select(inside, self._binary("shl" if name == "left" else "lshr", x, count), self.const(0, x.dtype))

    def is_negative_zero(self, x: Handle) -> Handle:
        """Return whether a float is -0.0."""
        element, of, bools = register_type(x.dtype), self._type(x), vector("i1", x.width)
        suffix = {"double": "f64", "float": "f32"}[element]
        symbol = f"@llvm.is.fpclass.{suffix if x.width == 1 else f'v{x.width}{suffix}'}"
        self.text.declare(f"{bools} {symbol}({of}, i32)")
        made = self.text.emit(f"call {bools} {symbol}({of} {x.text}, i32 32)")  # the bit of negative zeros
        return Handle(made, _BOOL, x.width)

    def math(self, name: str, *xs: Handle) -> Handle:
        """Return a function of the math library or an intrinsic."""
        if name in _INTRINSICS:
            return self._call(name, *xs)
        if name in ("abs", "absolute"):
            return self._call("fabs", *xs)
        if name in ("maximum", "minimum"):
            return self.extremum(name[:3], *xs)
        if name not in SUPPORTED:
            raise ValueError(f"no function {name!r} in the math library")
        if name == "pow" and (n := self._factors(xs[1])) in (2, 3):
            return self._product(xs[0], n)  # as near as the library is, and overflows where the power does
        xs = self._level(*xs)
        width = xs[0].width
        kind = "float64" if xs[0].dtype.itemsize == 8 else "float32"
        return Handle(self._library_call(name, kind, width, [x.text for x in xs]), xs[0].dtype, width)

    def _factors(self, exponent: Handle) -> int:
        """Return how many factors a power is the product of; 0 if they are many, or not known."""
        counts = (n for n in range(2, 10) if exponent.text == literal(n, exponent.dtype))
        return next(counts, 0) if exponent.constant else 0

    def _product(self, x: Handle, n: int) -> Handle:
        half = x if n < 4 else self._product(x, n // 2)
        square = self.mul(half, half)
        return self.mul(square, x) if n % 2 else square

    def _library_call(self, name: str, kind: str, width: int, operands: list[str]) -> str:
        """Write a call, or return the register of the same call in this basic block.

        The sine and the cosine of one operand, of which a derivative of either has both, become one call.
        """
        self._this_block()
        rest = (kind, str(width), *operands)
        if (name, *rest) in self._calls:
            return self._calls[name, *rest][0]
        other = _PARTNER.get(name, "")
        before, place = self._calls.get((other, *rest), ("", len(self.text.lines)))
        if not before:
            made = self.text.emit(self.library.call(name, kind, width, *operands))
        else:
            # The call that is there already becomes that of the pair, in its place.
            self.library.withdraw(other, kind, width)
            pair, made = f"%{self.text.fresh('pair')}", f"%{self.text.fresh('v')}"
            of = vector("double" if kind == "float64" else "float", width)
            parts = {name: made, other: before}
            lines = [f"  {pair} = {self.library.call('sincos', kind, width, *operands)}"]
            for k, which in enumerate(("sin", "cos")):
                lines.append(f"  {parts[which]} = extractvalue {{ {of}, {of} }} {pair}, {k}")
            self.text.lines[place] = "\n".join(lines)
        self._calls[name, *rest] = made, place
        return made

    def extremum(self, name: str, x: Handle, y: Handle) -> Handle:
        """Return the larger ('max') or smaller ('min') as NumPy: a NaN wins."""
        relation = ">" if name == "max" else "<"
        if x.dtype.kind == "b":
            return self._binary("or" if name == "max" else "and", x, y)
        x, y = self._level(x, y)
        chosen = self.select(self.compare(relation, x, y), x, y)
        if x.dtype.kind != "f":
            return chosen
        nan = Handle(self.text.emit(f"fcmp uno {self._type(x)} {x.text}, {x.text}"), _BOOL, x.width)
        return self.select(nan, x, chosen)

    # conversions

    def cast(self, x: Handle, dtype: np.dtype) -> Handle:
        """Return x converted as `ndarray.astype` does on x86 where C leaves it open."""
        dtype = np.dtype(dtype)
        if x.dtype == dtype:
            return x
        source, target = x.dtype.kind, dtype.kind
        if target == "b":
            return self.compare("!=", x, self.const(0, x.dtype))
        if source == "f" and target == "f":
            return self._convert("fpext" if dtype.itemsize > x.dtype.itemsize else "fptrunc", x, dtype)
        if source == "f":
            return self._to_integer(x, dtype)
        if target == "f":
            return self._convert("sitofp" if source == "i" else "uitofp", x, dtype)
        if source == "b":
            return self._convert("zext", x, dtype)
        if dtype.itemsize == x.dtype.itemsize:
            return Handle(x.text, dtype, x.width, x.constant)
        if dtype.itemsize < x.dtype.itemsize:
            return self._convert("trunc", x, dtype)
        return self._convert("sext" if source == "i" else "zext", x, dtype)

    def _convert(self, opcode: str, x: Handle, dtype: np.dtype) -> Handle:
        to = vector(register_type(dtype), x.width)
        text = f"splat ({register_type(x.dtype)} {x.text})" if x.constant and x.width > 1 else x.text
        return Handle(self.text.emit(f"{opcode} {self._type(x)} {text} to {to}"), dtype, x.width)

    def _to_integer(self, x: Handle, dtype: np.dtype) -> Handle:
        if dtype.itemsize < 4 or dtype == _INT32:
            wide = self._ranged(x, _INT32)
        elif dtype.kind == "u" and dtype.itemsize == 8:
            half = self.const(2.0**63, x.dtype)
            high = self.compare(">=", x, half)
            low = self._ranged(self.select(high, self.sub(x, half), x), _INT64)
            return self.cast(self.select(high, self.logical("xor", low, self.const(-(2**63), _INT64)), low), dtype)
        else:
            wide = self._ranged(x, _INT64)
        return self.cast(wide, dtype)

    def _ranged(self, x: Handle, dtype: np.dtype) -> Handle:
        """Convert where the value fits; elsewhere give the smallest integer, as the instruction of x86 does."""
        bits = dtype.itemsize * 8
        # float32 cannot hold -2**31 - 1 either, so one comparison serves both float dtypes for int32.
        low = -(2.0 ** (bits - 1)) - (1.0 if bits == 32 and x.dtype.itemsize == 8 else 0.0)
        above = self.compare(">" if low < -(2.0 ** (bits - 1)) else ">=", x, self.const(low, x.dtype))
        inside = self.logical("and", above, self.compare("<", x, self.const(2.0 ** (bits - 1), x.dtype)))
        safe = self.select(inside, x, self.const(0.0, x.dtype))
        made = self._convert("fptosi", safe, dtype)
        return self.select(inside, made, self.const(-(2 ** (bits - 1)), dtype))


def _handed_on(value: Value) -> Value | None:
    """Return what a loop hands on in place of one of its body's arguments."""
    body = value.owner
    if isinstance(body, Op | Graph):
        return None
    k = value.index - len(body.args) + len(body.yields)
    return body.yields[k] if k >= 0 else None
