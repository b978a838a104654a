"""Loop nests without a target: what each element costs to compute, and how the loops should run.

In: fused graph values and the index at which they are wanted. Out: `Node`s, an expression over loads, indices and
elementwise ops that depends on certain loop dimensions. `nesting` decides how the loops run.

Offsets and sizes are `Sym`s: Python ints, or registers of the target that are multiplied and added through `Sizes`.
This room names no type and no instruction of LLVM: another target may come.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np

from jitgrad.backend.structure import constant_number, is_scalar, unit_reshape
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.ops.memory import Pick, index_of
from jitgrad.graph.primitive import PRIMITIVES

__all__ = [
    "ADD", "MULTIPLY", "SELECT", "Access", "Coord", "Expressions", "Memory", "Node", "Output", "Sizes", "Sym", "View",
    "c_strides",
]  # fmt: skip

# Ops of nodes that no op of the graph stands for.
# AND and SELECT are those of arrays with margins, no others.
ADD, AND, MULTIPLY, SELECT = (
    Op(PRIMITIVES[name], [], {}, [], [], None) for name in ("add", "logical_and", "multiply", "select")
)
RECIPROCAL = Op(PRIMITIVES["reciprocal"], [], {"any_rounding": True}, [], [], None)
_BOOL = np.dtype(np.bool_)

Sym: TypeAlias = int | str


class Sizes(Protocol):
    """Arithmetic on sizes and offsets."""

    def add(self, x: Sym, y: Sym) -> Sym:
        """Return x + y."""

    def mul(self, x: Sym, y: Sym) -> Sym:
        """Return x * y."""


@dataclass(frozen=True, slots=True)
class View:
    """Memory of a stored value: a pointer, an offset and a stride an axis, in elements.

    `large` says whether all of the memory may be too much for the nearest cache.
    """

    pointer: str
    offset: Sym
    strides: tuple[Sym, ...]
    dtype: np.dtype
    large: bool = False


class Coord(NamedTuple):
    """The position offset + step * index of loop dimension `dim`; a fixed position if `dim` is None."""

    offset: Sym
    dim: int | None
    step: Sym


HERE = Coord(0, None, 0)


class Memory(Protocol):
    """What expressions ask the emitter for."""

    def view(self, value: Value) -> View:
        """Return the memory of a stored value, or of a strided view of one."""

    def size(self, dim: Any) -> Sym:
        """Return a dimension of a type."""

    def fused(self, value: Value) -> bool:
        """Whether a value is computed where it is used."""

    def reshaped_view(self, op: Op) -> View:
        """Return the memory of a reshape that moves nothing."""


@dataclass(eq=False, slots=True)
class Access:
    """An address that moves linearly with the loop dimensions."""

    pointer: str
    base: Sym
    steps: list[Sym]
    dtype: np.dtype
    large: bool = False


@dataclass(eq=False, slots=True)
class Node:
    """One subexpression.

    Attributes
    ----------
    kind : {'load', 'scalar', 'constant', 'index', 'inside', 'gather', 'apply'}
    dtype : numpy.dtype
    operands : list of Node
        Of a load, at most one: whether there is an element to be loaded.
    access : Access or None
        Of a load or gather.
    payload : object
        The scalar Value; the number; the Coord; a Coord that may be outside of a size, and the size; the strides of
        the gathered axes; the Op.
    dims : int
        Bit mask of the loop dimensions that it depends on, after merging.
    wide : bool
        Whether a user runs along the lanes while this does not.
    """

    kind: str
    dtype: np.dtype
    operands: list[Node] = field(default_factory=list)
    access: Access | None = None
    payload: Any = None
    dims: int = 0
    wide: bool = False


def c_strides(sizes: Sizes, shape: Sequence[Sym]) -> tuple[Sym, ...]:
    """Return the strides of an array in C order."""
    strides: list[Sym] = []
    size: Sym = 1
    for d in reversed(shape):
        strides.append(size)
        size = sizes.mul(size, max(d, 1) if isinstance(d, int) else d)
    return tuple(reversed(strides))


@dataclass(eq=False)
class Output:
    """Something a nest computes.

    Attributes
    ----------
    node : Node
        The element.
    access : Access or None
        Where it goes; None for a reduction to a scalar.
    reduction : str
        Name of the reducing primitive, '' for a plain write.
    in_memory : bool
        Whether each element is combined with what is there.
    result : Value or None
        The scalar that a full reduction defines.
    """

    node: Node
    access: Access | None
    reduction: str = ""
    result: Value | None = None
    in_memory: bool = False

    @property
    def in_registers(self) -> bool:
        """Whether it is reduced in the innermost loops."""
        return bool(self.reduction) and not self.in_memory


class Expressions:
    """Builds the nodes of one nest.

    Parameters
    ----------
    memory : Memory
    sizes : Sizes
    domain : sequence of Sym
        Sizes of the loop dimensions.
    roots : set of Value
        Values that this nest computes and that other expressions of it may use from registers.
    """

    def __init__(self, memory: Memory, sizes: Sizes, domain: Sequence[Sym], roots: set[Value] | None = None) -> None:
        self.memory = memory
        self.sizes = sizes
        self.domain = list(domain)
        self.roots = roots or set()
        self.nodes: list[Node] = []
        self._known: dict[tuple[Value, tuple[Coord, ...], Node | None], Node] = {}
        self._inside: dict[object, Node] = {}
        self._where: Node | None = None  # where what is built is wanted; None for everywhere
        self.reciprocals: dict[Node, Node] = {}
        self.identity = tuple(HERE if n == 1 else Coord(0, k, 1) for k, n in enumerate(self.domain))

    def _new(self, node: Node) -> Node:
        self.nodes.append(node)
        return node

    def access(self, view: View, coords: Sequence[Coord]) -> Access:
        """Return the address of the element of a view at a position."""
        base = view.offset
        steps: list[Sym] = [0] * len(self.domain)
        for stride, coord in zip(view.strides, coords, strict=True):
            base = self.sizes.add(base, self.sizes.mul(stride, coord.offset))
            if coord.dim is not None:
                steps[coord.dim] = self.sizes.add(steps[coord.dim], self.sizes.mul(stride, coord.step))
        return Access(view.pointer, base, steps, view.dtype, view.large)

    def load(self, view: View, coords: Sequence[Coord]) -> Node:
        """Return the element of a view at a position."""
        operands = [] if self._where is None else [self._where]
        return self._new(Node("load", view.dtype, operands, self.access(view, coords)))

    def number(self, value: Any, dtype: np.dtype) -> Node:
        """Return a constant."""
        return self._new(Node("constant", dtype, payload=value))

    def apply(self, op: Op, dtype: np.dtype, operands: list[Node]) -> Node:
        """Return an elementwise op of nodes."""
        return self._new(Node("apply", dtype, operands, payload=op))

    def reciprocal(self, x: Node, dtype: np.dtype) -> Node:
        """Return 1 / x, the same node for the same x."""
        if x not in self.reciprocals:
            self.reciprocals[x] = self.apply(RECIPROCAL, dtype, [x])
        return self.reciprocals[x]

    def node(self, value: Value, coords: tuple[Coord, ...]) -> Node:
        """Return the element of a value at a position."""
        key = (value, coords, self._where)
        found = self._known.get(key)
        if found is None:
            if is_scalar(value):
                found = self._scalar(value)
            elif self.memory.fused(value) or (value in self.roots and coords == self.identity):
                assert value.op is not None
                found = self.evaluate(value.op, coords)
            else:
                found = self.load(self.memory.view(value), coords)
            self._known[key] = found
        return found

    def _scalar(self, value: Value) -> Node:
        if value.op is not None and value.op.name == "constant":
            return self._new(Node("constant", value.array.dtype, payload=value.op.attrs["value"].flat[0]))
        return self._new(Node("scalar", value.array.dtype, payload=value))

    def evaluate(self, op: Op, coords: tuple[Coord, ...]) -> Node:
        """Return the element of the result of a fusable op, computed from its operands."""
        if op.primitive.scalar is not None:
            operands = [self.node(v, self._align(v, op.result, coords)) for v in op.operands]
            dtype = op.result.array.dtype
            if op.name == "divide" and op.attrs.get("any_rounding"):
                return self.apply(MULTIPLY, dtype, [operands[0], self.reciprocal(operands[1], dtype)])
            return self.apply(op, dtype, operands)
        match op.name:
            case "constant":
                return self._new(Node("constant", op.result.array.dtype, payload=constant_number(op)))
            case "broadcast":
                x = op.operands[0]
                return self.node(x, self._align(x, op.result, coords))
            case "transpose":
                below = [HERE] * len(coords)
                for k, p in enumerate(op.attrs["permutation"]):
                    below[p] = coords[k]
                return self.node(op.operands[0], tuple(below))
            case "reshape":
                x = op.operands[0]
                if unit_reshape(op):
                    rest = [c for c, d in zip(coords, op.result.shape, strict=True) if d != 1]
                    return self.node(x, tuple(HERE if d == 1 else rest.pop(0) for d in x.shape))
                return self.load(self.memory.reshaped_view(op), coords)
            case "load":
                return self.node(op.operands[0], self._part(op, coords))
            case "surround":
                return self._surround(op, coords)
            case "iota":
                return self._new(Node("index", op.result.array.dtype, payload=coords[0]))
            case "gather":
                return self._gather(op, coords)
        raise AssertionError(op)

    def _align(self, x: Value, result: Value, coords: tuple[Coord, ...]) -> tuple[Coord, ...]:
        """Return where a broadcast operand is read."""
        lead = len(coords) - len(x.shape)
        if not lead and x.shape == result.shape:
            return coords
        return tuple(
            HERE if isinstance(d, int) and d == 1 and result.shape[lead + k] != 1 else coords[lead + k]
            for k, d in enumerate(x.shape)
        )

    def _part(self, op: Op, coords: tuple[Coord, ...]) -> tuple[Coord, ...]:
        size, add, mul = self.memory.size, self.sizes.add, self.sizes.mul
        rest = list(coords)
        below: list[Coord] = []
        for entry in index_of(op):
            if isinstance(entry, Pick):
                below.append(Coord(size(entry.at), None, 0))
                continue
            c = rest.pop(0)
            step = size(entry.step)
            below.append(Coord(add(size(entry.start), mul(step, c.offset)), c.dim, mul(step, c.step)))
        return tuple(below)

    def _surround(self, op: Op, coords: tuple[Coord, ...]) -> Node:
        """Return an element of an array with margins; what is inside is not even loaded elsewhere."""
        x = op.operands[0]
        size = self.memory.size
        below = tuple(
            Coord(self.sizes.add(c.offset, -start), c.dim, c.step)
            for c, start in zip(coords, op.attrs["start"], strict=True)
        )
        outer = self._where
        for c, n, whole in zip(below, x.shape, op.result.shape, strict=True):
            if n != whole:
                self._where = self._both(self._where, self._is_inside(c, size(n)))
        where = self._where
        found = self.node(x, below)
        self._where = outer
        if where is outer:
            return found
        nothing = self._new(Node("constant", found.dtype, payload=found.dtype.type(-0.0)))
        assert where is not None
        return self.apply(SELECT, found.dtype, [where, found, nothing])

    def _is_inside(self, c: Coord, size: Sym) -> Node:
        key = (c, size)
        if key not in self._inside:
            self._inside[key] = self._new(Node("inside", _BOOL, payload=key))
        return self._inside[key]

    def _both(self, one: Node | None, other: Node) -> Node:
        if one is None or one is other:
            return other
        key = (one, other)
        if key not in self._inside:
            self._inside[key] = self.apply(AND, _BOOL, [one, other])
        return self._inside[key]

    def _gather(self, op: Op, coords: tuple[Coord, ...]) -> Node:
        base, *indices = op.operands
        view = self.memory.view(base)
        lead = len(coords) - (len(base.shape) - len(indices))
        shape = op.result.shape
        nodes = []
        for v in indices:
            skip = lead - len(v.shape)
            at = tuple(
                HERE if isinstance(d, int) and d == 1 and shape[skip + k] != 1 else coords[skip + k]
                for k, d in enumerate(v.shape)
            )
            nodes.append(self.node(v, at))
        fixed = [HERE] * len(indices) + list(coords[lead:])
        return self._new(
            Node("gather", view.dtype, nodes, self.access(view, fixed), payload=view.strides[: len(indices)])
        )
