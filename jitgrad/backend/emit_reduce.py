"""The arithmetic of reductions: what combines two values, what changes nothing, and pairwise sums of partial sums.

In: the name of a reducing primitive and a dtype. Out: instructions, constants, and two helper functions for each type
of vector that is summed in blocks. This room knows no loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from jitgrad.backend.emit_lanes import Lanes
from jitgrad.backend.emit_scalar import Arithmetic, Handle
from jitgrad.backend.loops import Output
from jitgrad.backend.text import FunctionText, vector

__all__ = ["Accumulator", "cascade", "collapse", "combine", "identity"]


@dataclass(eq=False)
class Accumulator:
    """A partial result in memory: of which output, where it is, and where its partial sums go."""

    output: Output
    dtype: np.dtype
    slot: str
    stack: str = ""


def combine(b: Arithmetic, reduction: str, x: Handle, y: Handle) -> Handle:
    """Return two partial results as one."""
    match reduction:
        case "reduce_sum" | "reduce_marked" | "norm2":
            return b.add(x, y)
        case "reduce_prod":
            return b.mul(x, y)
        case "reduce_max":
            return b.extremum("max", x, y)
        case "reduce_min":
            return b.extremum("min", x, y)
        case "reduce_and":
            return b.logical("and", x, y)
        case "reduce_or":
            return b.logical("or", x, y)
    raise AssertionError(reduction)


def collapse(text: FunctionText, lanes: Lanes, reduction: str, x: Handle) -> Handle:
    """Return the lanes of a partial result as one."""
    if x.dtype.kind == "b" and x.width > 1 and reduction in ("reduce_and", "reduce_or"):
        # As one integer: to halve masks takes several instructions a step.
        bits = text.emit(f"bitcast <{x.width} x i1> {x.text} to i{x.width}")
        test = "eq" if reduction == "reduce_and" else "ne"
        return Handle(text.emit(f"icmp {test} i{x.width} {bits}, {-1 if test == 'eq' else 0}"), x.dtype)
    while x.width > 1:
        x = combine(lanes.arithmetic, reduction, *lanes.halves(x))
    return x


def identity(reduction: str, dtype: np.dtype) -> Any:
    """Return what changes nothing: the value of an empty reduction."""
    low = reduction == "reduce_max"
    match reduction:
        case "reduce_sum" | "norm2" | "reduce_or":
            return 0
        case "reduce_marked":
            return -0.0
        case "reduce_prod" | "reduce_and":
            return 1
    if dtype.kind == "f":
        return -np.inf if low else np.inf
    if dtype.kind == "b":
        return not low
    limits = np.iinfo(dtype)
    return limits.min if low else limits.max


def cascade(text: FunctionText, element: str, width: int) -> str:
    """Return the name of the helpers that add partial sums pairwise, and define them once.

    Sum number `count` is merged with as many predecessors as `count` has trailing ones, as a binary counter carries;
    the stack then holds one sum for each bit set in the number of sums pushed.
    """
    name = f"jg_cascade_{element}x{width}"
    if f"{name}_push" in text.shareable:
        return name
    of = vector(element, width)
    # From -0.0 on, which changes no sum: that of marked cotangents may be -0.0 itself.
    nothing = "-0.0" if width == 1 else f"splat ({element} -0.0)"
    text.shareable[f"{name}_push"] = f"""\
define internal fastcc void @{name}_push(ptr %stack, i64 %count, {of} %value) noinline nounwind {{
entry:
  br label %test
test:
  %level = phi i64 [ 0, %entry ], [ %up, %merge ]
  %bits = phi i64 [ %count, %entry ], [ %rest, %merge ]
  %sum = phi {of} [ %value, %entry ], [ %both, %merge ]
  %odd = trunc i64 %bits to i1
  %place = getelementptr {of}, ptr %stack, i64 %level
  br i1 %odd, label %merge, label %done
merge:
  %other = load {of}, ptr %place, align 64
  %both = fadd {of} %other, %sum
  %up = add i64 %level, 1
  %rest = lshr i64 %bits, 1
  br label %test
done:
  store {of} %sum, ptr %place, align 64
  ret void
}}"""
    text.shareable[f"{name}_total"] = f"""\
define internal fastcc {of} @{name}_total(ptr %stack, i64 %count) noinline nounwind {{
entry:
  br label %test
test:
  %level = phi i64 [ 0, %entry ], [ %up, %next ]
  %bits = phi i64 [ %count, %entry ], [ %rest, %next ]
  %sum = phi {of} [ {nothing}, %entry ], [ %sofar, %next ]
  %none = icmp eq i64 %bits, 0
  br i1 %none, label %done, label %look
look:
  %odd = trunc i64 %bits to i1
  br i1 %odd, label %merge, label %next
merge:
  %place = getelementptr {of}, ptr %stack, i64 %level
  %other = load {of}, ptr %place, align 64
  %both = fadd {of} %other, %sum
  br label %next
next:
  %sofar = phi {of} [ %sum, %look ], [ %both, %merge ]
  %up = add i64 %level, 1
  %rest = lshr i64 %bits, 1
  br label %test
done:
  ret {of} %sum
}}"""
    return name
