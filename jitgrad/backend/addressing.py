"""Which values are strided views of memory, and how that memory lies.

In: values, the strides of arguments. Out: answers on which scheduling and bufferisation build: whether a reshape moves
nothing, whether a matrix product can read an operand as it lies. This room decides no order and knows no LLVM.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jitgrad.backend.structure import fusable, is_scalar, unit_reshape
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.types import Dim

__all__ = ["Addressing"]

_VIEWS = frozenset({"load", "transpose", "reshape"})


class Addressing:
    """Facts about views.

    Attributes
    ----------
    layout : callable
        What `lower` knows of the strides of an argument of the graph that does not lie in C order; None for any other
        value.
    fused : set of Value
        Values that are never stored; grows while the graph is scheduled.
    odd : set of Value
        Versions of an argument that is not in C order and is to be changed: in its memory, or in a copy.
    """

    def __init__(self, layout: Callable[[Value], Sequence[int | str | None] | None], odd: set[Value]) -> None:
        self.layout = layout
        self.fused: set[Value] = set()
        self.odd = odd

    def c_order(self, value: Value) -> bool:
        """Whether a value certainly lies in memory in C order, so that any reshape of it is a view."""
        op = value.op
        if value in self.odd:
            return False
        if op is None:
            return self.layout(value) is None
        if op.name == "reshape":
            return self.c_order(op.operands[0]) if not self.is_root_reshape(op) else True
        return not fusable(op)

    def is_root_reshape(self, op: Op) -> bool:
        """Whether a reshape moves elements: then it is computed by a nest over its operand."""
        return not unit_reshape(op) and not self.c_order(op.operands[0])

    def addressing(self, value: Value) -> bool:
        """Whether a value is a strided view of memory."""
        op = value.op
        while op is not None and fusable(op):
            if op.name == "reshape" and not unit_reshape(op):
                return self.c_order(op.operands[0])
            if op.name not in ("load", "transpose", "reshape") or is_scalar(op.operands[0]):
                return False
            op = op.operands[0].op
        return True

    def base(self, value: Value) -> Value:
        """Return what a chain of strided views looks at."""
        op = value.op
        while op is not None and op.name in _VIEWS and not self._moves(op) and not is_scalar(op.operands[0]):
            value = op.operands[0]
            op = value.op
        return value

    def _moves(self, op: Op) -> bool:
        return op.name == "reshape" and not unit_reshape(op)

    def blas_ready(self, value: Value) -> bool:
        """Whether BLAS can read a matrix as it lies once its base is stored, or a vector lies in one piece."""
        base = self.base(value)
        if base in self.fused and not (base.op is not None and self._moves(base.op)):
            return False
        if self._is_odd(base):
            return False
        strides = self._strides(value)[-2:]
        if len(strides) == 1:
            return strides[0] == 1
        rows, columns = value.shape[-2:]
        plain = (strides[1] == 1 or columns == 1) and strides[0] not in (None, 0)
        return plain or ((strides[0] == 1 or rows == 1) and strides[1] not in (None, 0))

    def _is_odd(self, value: Value) -> bool:
        """Whether a value looks at memory whose layout is not settled yet."""
        while value not in self.odd:
            op = value.op
            if op is None or op.name not in _VIEWS or self._own_buffer(op):
                return False
            value = op.operands[0]
        return True

    def _strides(self, value: Value) -> list[int | str | None]:
        """Return the strides of a view: a number, 'size' for a product of run-time sizes, None where unknown."""
        op = value.op
        if op is not None and op.name in _VIEWS and not self._moves(op) and not is_scalar(op.operands[0]):
            below = self._strides(op.operands[0])
            if op.name == "transpose":
                return [below[p] for p in op.attrs["permutation"]]
            if op.name == "load":
                made: list[int | str | None] = []
                for entry, stride in zip(op.attrs["index"], below, strict=True):
                    if hasattr(entry, "step"):
                        whole = isinstance(stride, int) and isinstance(entry.step, int) and entry.step > 0
                        made.append(stride * entry.step if whole else stride if entry.step == 1 else None)
                return made
            rest = [s for s, d in zip(below, op.operands[0].shape, strict=True) if d != 1]
            # A dimension of one may claim any stride; 1 never disturbs.
            return [1 if d == 1 else rest.pop(0) for d in op.result.shape]
        layout = self.layout(value)
        if layout is not None:
            return list(layout) if _is_apart(layout, value.shape) else [None for _ in layout]
        strides: list[int | str | None] = []
        size: int | str = 1
        for d in reversed(value.shape):
            strides.append(size)
            size = size * max(d, 1) if isinstance(d, int) and isinstance(size, int) else "size"
        return strides[::-1]

    def _own_buffer(self, op: Op) -> bool:
        return op.name == "reshape" and self.is_root_reshape(op)


def _is_apart(strides: Sequence[int | str | None], shape: Sequence[Dim]) -> bool:
    """Whether strides are those of an array that runs forwards and whose rows do not overlap, as BLAS has them."""
    axes = [(s, d) for s, d in zip(strides, shape, strict=True) if d != 1]
    if any(s == "size" for s, _ in axes):
        return True  # the order of Fortran
    room: int | None = 1
    for stride, d in sorted(((s, d) for s, d in axes if isinstance(s, int)), key=lambda axis: axis[0]):
        if room is None or stride < room:
            return False
        room = stride * d if isinstance(d, int) else None
    return all(isinstance(s, int) for s, _ in axes)
