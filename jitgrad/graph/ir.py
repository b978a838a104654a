"""The graph: values, ops, blocks.

SSA with nested regions. A `Block` has arguments, a list of ops, and the values it yields; a `Graph` is a named
outermost block; an op's regions are blocks which may use any value that dominates the op. Arrays have value semantics:
`store` makes a new array value. Only `Value` identity means anything; names are for printing. This room knows no
primitive by name, no derivative and no memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from jitgrad.graph.types import TYPES, ArrayType, Dim, ListType, Type
from jitgrad.location import Location

if TYPE_CHECKING:
    from jitgrad.graph.primitive import Primitive

__all__ = [
    "Block",
    "Graph",
    "Op",
    "Value",
    "clone_block",
    "copy_of",
    "graph_of",
    "substitute_attrs",
    "substitute_type",
    "take_apart",
]


class Value:
    """One SSA value: an op's result or a block's argument.

    Attributes
    ----------
    type : ArrayType or ListType
    owner : Op or Block
        Who defines it: the op whose result it is, or the block whose argument it is.
    index : int
        Position among the owner's results or arguments.
    name : str
        A hint for printing, may be empty.
    """

    __slots__ = ("__weakref__", "index", "name", "owner", "type")

    def __init__(self, type: Type, owner: Op | Block, index: int, name: str = "") -> None:
        self.type = type
        self.owner = owner
        self.index = index
        self.name = name

    @property
    def array(self) -> ArrayType:
        """The type, where it is known to be an array's."""
        assert isinstance(self.type, ArrayType), self.type
        return self.type

    @property
    def shape(self) -> tuple[Dim, ...]:
        """Dimensions of an array value."""
        assert isinstance(self.type, ArrayType), self.type
        return self.type.shape

    @property
    def op(self) -> Op | None:
        """The op that defines this value, None for a block argument."""
        owner = self.owner
        return owner if type(owner) is Op else None

    def __str__(self) -> str:
        return f"%{self.name or hex(id(self))[-5:]}"

    def __repr__(self) -> str:
        return f"<{self}: {self.type}>"


class Op:
    """One operation.

    Attributes
    ----------
    primitive : Primitive
    name : str
        Of the primitive; kept here too, for passes ask for little else.
    operands : list of Value
    attrs : dict of str to hashable
        Types among them are types of the results: what these are made of is all that an op needs beside its operands.
    regions : list of Block
    results : list of Value
    location : Location or None
        The user's line; None says aloud that a pass made the op with no source.
    settled : object
        For passes that run again and again: what one of them saw when it last found nothing to do here.
    """

    __slots__ = ("attrs", "location", "name", "operands", "primitive", "regions", "results", "settled")

    def __init__(
        self,
        primitive: Primitive,
        operands: Iterable[Value],
        attrs: Mapping[str, Any],
        regions: Iterable[Block],
        types: Iterable[Type],
        location: Location | None,
    ) -> None:
        self.primitive = primitive
        self.name = primitive.name
        self.operands = list(operands)
        self.attrs = dict(attrs)
        self.regions = list(regions)
        self.location = location
        self.results = [Value(t, self, i) for i, t in enumerate(types)]
        self.settled: Any = None

    def become(self, primitive: Primitive) -> None:
        """Make this an op of another primitive."""
        self.primitive = primitive
        self.name = primitive.name
        self.settled = None

    @property
    def result(self) -> Value:
        """The only result."""
        assert len(self.results) == 1, self
        return self.results[0]

    def __repr__(self) -> str:
        return f"<op {self.name}({', '.join(map(str, self.operands))})>"


class Block:
    """Arguments, ops in order, and the values handed on at the end."""

    __slots__ = ("args", "ops", "yields")

    def __init__(self, arg_types: Iterable[Type] = (), names: Iterable[str] = ()) -> None:
        self.args: list[Value] = []
        self.ops: list[Op] = []
        self.yields: list[Value] = []
        hints = list(names)
        for i, t in enumerate(arg_types):
            self.add_arg(t, hints[i] if i < len(hints) else "")

    def add_arg(self, type: Type, name: str = "") -> Value:
        """Append an argument and return it."""
        arg = Value(type, self, len(self.args), name)
        self.args.append(arg)
        return arg

    def remove_arg(self, position: int) -> None:
        """Drop an argument that nothing uses and renumber the rest."""
        del self.args[position]
        for i, arg in enumerate(self.args):
            arg.index = i

    def walk(self) -> Iterator[Op]:
        """Yield every op of this block and of the regions within, in order, outer before inner."""
        for op in self.ops:
            yield op
            for region in op.regions:
                yield from region.walk()

    def blocks(self) -> Iterator[Block]:
        """Yield this block and every region within."""
        yield self
        for op in self.ops:
            for region in op.regions:
                yield from region.blocks()

    def replace_uses(self, mapping: Mapping[Value, Value]) -> None:
        """Use `mapping[v]` wherever v is used in this block or within, dimensions in types included."""
        if not mapping:
            return

        def find(value: Value) -> Value:
            while value in mapping:
                value = mapping[value]
            return value

        for block in self.blocks():
            for arg in block.args:
                arg.type = substitute_type(arg.type, mapping)
            for op in block.ops:
                op.operands = [find(v) for v in op.operands]
                op.attrs = substitute_attrs(op.attrs, mapping)
                for result in op.results:
                    result.type = substitute_type(result.type, mapping)
            block.yields = [find(v) for v in block.yields]


class Graph(Block):
    """The outermost block of a function, with its name."""

    __slots__ = ("name",)

    def __init__(self, name: str, arg_types: Iterable[Type] = (), names: Iterable[str] = ()) -> None:
        super().__init__(arg_types, names)
        self.name = name


def substitute_type(type: Type, mapping: Mapping[Value, Value]) -> Type:
    """Return the type with run-time dimensions replaced as `mapping` says."""
    if not type.run_time or mapping.keys().isdisjoint(type.run_time):
        return type
    if isinstance(type, ListType):
        element = substitute_type(type.element, mapping)
        assert isinstance(element, ArrayType)
        return ListType(element)
    shape: list[Dim] = []
    for d in type.shape:
        while not isinstance(d, int) and d in mapping:
            d = mapping[d]
        shape.append(d)
    return type.with_shape(tuple(shape))


def substitute_attrs(attrs: dict[str, Any], mapping: Mapping[Value, Value]) -> dict[str, Any]:
    """Return attributes with run-time dimensions of the types among them replaced; the same dict if nothing changes."""
    made = attrs
    for key, value in attrs.items():
        if isinstance(value, TYPES):
            new: Any = substitute_type(value, mapping)
        elif isinstance(value, tuple) and any(isinstance(x, TYPES) for x in value):
            new = tuple([substitute_type(x, mapping) if isinstance(x, TYPES) else x for x in value])
        else:
            continue
        if new is not value:
            made = made | {key: new}
    return made


def clone_block(source: Block, target: Block, mapping: dict[Value, Value]) -> list[Value]:
    """Append copies of the source's ops to the target.

    Parameters
    ----------
    source : Block
        Its arguments must be keys of `mapping` already, as must be whatever it uses from outside and is to be renamed.
    target : Block
    mapping : dict
        Old value to new; extended by every value defined within.

    Returns
    -------
    list of Value
        What the source yields, in the target's names.
    """
    for op in source.ops:
        regions = []
        for region in op.regions:
            copy = Block()
            for arg in region.args:
                mapping[arg] = copy.add_arg(substitute_type(arg.type, mapping), arg.name)
            copy.yields = clone_block(region, copy, mapping)
            regions.append(copy)
        new = Op(
            op.primitive,
            [mapping.get(v, v) for v in op.operands],
            substitute_attrs(op.attrs, mapping) if op.attrs else op.attrs,
            regions,
            [substitute_type(r.type, mapping) for r in op.results],
            op.location,
        )
        for old, made in zip(op.results, new.results, strict=True):
            made.name = old.name
            mapping[old] = made
        target.ops.append(new)
    return [mapping.get(v, v) for v in source.yields]


def copy_of(op: Op, mapping: Mapping[Value, Value]) -> Op:
    """Return the copy of an op that has results, given what became of its values."""
    made = mapping[op.results[0]].op
    assert made is not None
    return made


def take_apart(block: Block) -> None:
    """Let go of what is in a block that nobody asks for anything any more.

    Values and what defines them know each other, so that only a search for garbage would find them.
    """
    for inner in list(block.blocks()):
        for arg in inner.args:
            del arg.owner
        for op in inner.ops:
            for result in op.results:
                del result.owner
        inner.args, inner.ops, inner.yields = [], [], []


def graph_of(block: Block, name: str) -> tuple[Graph, dict[Value, Value]]:
    """Return a graph that is a copy of a block, and what became of the block's values."""
    graph = Graph(name)
    mapping: dict[Value, Value] = {}
    for arg in block.args:
        mapping[arg] = graph.add_arg(arg.type, arg.name)
    for arg in graph.args:
        arg.type = substitute_type(arg.type, mapping)
    graph.yields = clone_block(block, graph, mapping)
    return graph, mapping
