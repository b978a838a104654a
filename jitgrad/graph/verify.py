"""What holds of every graph between two stages, checked.

The invariants:

 1. An op's primitive is the registered one of its name.
 2. Every block, op and value occurs once; a value's `owner` and `index` say where.
 3. An operand is defined before its use by an op or argument that dominates: earlier in the block, or in a block around
    it. Nothing leaks out of a region. The same holds of what blocks yield.
 4. A run-time dimension in a type is an int64 scalar that dominates the value of that type (arguments of the outermost
    block may size each other in any order).
 5. The primitive's type rule accepts the operands, attributes and regions, and returns the types of the results.
 6. `if` and `while` have two regions, `for` has one, other ops none; a region of an `if` has no arguments.
 7. Attributes are named by strings and made of what the printer can write and the parser can read.
 8. Locations are `Location` or None.

In: a graph. Out: nothing, or an InternalError that shows the graph with each error under its op. Costs one type rule an
op; tests run it after every stage. This room does not know what any primitive means.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from jitgrad.errors import error
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.primitive import PRIMITIVES
from jitgrad.graph.printer import Names, print_graph
from jitgrad.graph.types import INT64, ArrayType, GraphTypeError, ListType, Type
from jitgrad.location import Location

__all__ = ["verify"]

_REGIONS = {"if": 2, "for": 1, "while": 2}
_PLAIN = (bool, int, float, complex, str, np.dtype, np.ndarray, np.generic, ArrayType, ListType)
_SHOWN_LINES = 60


def verify(graph: Graph) -> None:
    """Check the invariants at the top of this file.

    Raises
    ------
    InternalError
        JG901, with the graph printed and the errors under the ops that break a rule.
    """
    found = _Verifier(graph)
    found.run()
    if not found.errors:
        return
    first = next(iter(found.errors))
    location = first.location if isinstance(first, Op) and isinstance(first.location, Location) else None
    what = next(iter(found.errors.values()))[0]
    where = f"op `{first.name}`" if isinstance(first, Op) else "a block"
    text = _excerpt(print_graph(graph, found.errors, found.names))
    raise error("JG901", location, graph=graph.name, where=where, why=what, text=text)


def _excerpt(text: str) -> str:
    """Return the lines around the first error of a long text."""
    lines = text.splitlines()
    if len(lines) <= _SHOWN_LINES:
        return text
    at = next((i for i, line in enumerate(lines) if line.lstrip().startswith("# ^")), 0)
    start = max(0, at - _SHOWN_LINES // 2)
    shown = lines[start : start + _SHOWN_LINES]
    return "\n".join([f"... {start} lines", *shown, f"... {len(lines) - start - len(shown)} lines"])


class _Verifier:
    """One walk of a graph in order, with the set of values that dominate the current place."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.errors: dict[Op | Block, list[str]] = {}
        self.visible: set[Value] = set()
        self.defined: set[Value] = set()
        self.seen: set[Op | Block] = set()
        self.names = Names()

    def report(self, at: Op | Block, what: str) -> None:
        """Remember an error; it is printed under the op, or under the last line of the block."""
        self.errors.setdefault(at, []).append(f"error: {what}")

    def name(self, value: Value) -> str:
        """Return the name by which the printed graph calls a value."""
        return self.printed().use(value)

    def types(self, types: Iterable[Type]) -> str:
        """Return types as the printed graph writes them."""
        return "(" + ", ".join(map(self.printed().type, types)) + ")"

    def printed(self) -> Names:
        """Return the names of the whole graph, which are made when the first error needs them."""
        if not self.names.names:
            print_graph(self.graph, names=self.names)
        return self.names

    def run(self) -> None:
        """Check the graph; iterative, since regions may nest some hundred deep."""
        self.enter(self.graph)
        # (block, position of the next op, values to forget when the block ends)
        stack: list[tuple[Block, int, list[Value]]] = [(self.graph, 0, [])]
        pending: dict[Op, list[Block]] = {}
        while stack:
            block, at, scope = stack.pop()
            if at == len(block.ops):
                self.used(block, block.yields, "yields")
                self.visible.difference_update(scope, block.args)
                continue
            op = block.ops[at]
            if op not in pending:
                if op in self.seen:
                    self.report(op, "the op stands in the graph twice")
                    stack.append((block, at + 1, scope))
                    continue
                self.seen.add(op)
                self.before(op)
                pending[op] = list(reversed(op.regions))
            if pending[op]:
                region = pending[op].pop()
                stack.append((block, at, scope))
                if region in self.seen:
                    self.report(op, "a region belongs to two ops")
                    continue
                self.enter(region)
                stack.append((region, 0, []))
                continue
            del pending[op]
            self.after(op)
            for i, result in enumerate(op.results):
                self.define(op, op, i, result)
                scope.append(result)
            stack.append((block, at + 1, scope))

    def enter(self, block: Block) -> None:
        """Begin a block: its arguments become visible."""
        self.seen.add(block)
        outermost = block is self.graph
        for i, arg in enumerate(block.args):
            if not outermost:
                self.dims(block, arg.type)
            self.define(block, block, i, arg)
        if outermost:
            for arg in block.args:
                self.dims(block, arg.type)

    def define(self, at: Op | Block, owner: Op | Block, index: int, value: Value) -> None:
        """Make a value visible."""
        if value in self.defined:
            self.report(at, f"{self.name(value)} is defined twice")
        if value.owner is not owner or value.index != index:
            says = f"number {value.index} of {'an op' if isinstance(value.owner, Op) else 'a block'}"
            self.report(at, f"{self.name(value)} is number {index} here, but says that it is {says}")
        self.defined.add(value)
        self.visible.add(value)

    def used(self, at: Op | Block, values: Iterable[Value], verb: str) -> None:
        """Check that values dominate a use."""
        for value in values:
            if not isinstance(value, Value):
                self.report(at, f"{verb} {value!r}, which is no value")
            elif value not in self.visible:
                ended = value in self.defined
                why = (
                    "is not visible here: it was defined in a region that has ended"
                    if ended
                    else "is not defined before"
                )
                self.report(at, f"{verb} {self.name(value)}, which {why}")

    def dims(self, at: Op | Block, type: Type) -> None:
        """Check the run-time dimensions of a type."""
        shape = type.shape if isinstance(type, ArrayType) else type.element.shape
        for d in shape:
            if isinstance(d, Value):
                self.used(at, (d,), "has a type sized by")
                if d.type != INT64:
                    self.report(at, f"has a type sized by {self.name(d)}, a {d.type} and no int64 scalar")
            elif not isinstance(d, int) or d < 0:
                self.report(at, f"has a type with the dimension {d!r}")

    def before(self, op: Op) -> None:
        """Check what does not depend on the op's regions."""
        if PRIMITIVES.get(op.name) is not op.primitive:
            self.report(op, f"`{op.name}` is not the registered primitive of that name")
        self.used(op, op.operands, "uses")
        if len(op.regions) != _REGIONS.get(op.name, 0):
            self.report(op, f"has {len(op.regions)} regions instead of {_REGIONS.get(op.name, 0)}")
        for key, value in op.attrs.items():
            if not isinstance(key, str):
                self.report(op, f"has an attribute named {key!r}")
            self.attribute(op, str(key), value)
        if op.location is not None and not isinstance(op.location, Location):
            self.report(op, f"has the location {op.location!r}")

    def attribute(self, op: Op, key: str, value: Any) -> None:
        """Check that an attribute can be printed and compared."""
        if isinstance(value, tuple):
            for x in value:
                self.attribute(op, key, x)
        elif isinstance(value, ArrayType | ListType):
            self.dims(op, value)
            if all(value != r.type for r in op.results):
                self.report(op, f"has the attribute {key} = {self.types([value])}, which is the type of no result")
        elif not (value is None or isinstance(value, _PLAIN) or callable(value)):
            self.report(op, f"has the attribute {key} = {value!r}, which is of no kind that an attribute may be")

    def after(self, op: Op) -> None:
        """Run the type rule, once the regions are known to be sound."""
        for result in op.results:
            self.dims(op, result.type)
        if len(op.regions) != _REGIONS.get(op.name, 0) or not all(isinstance(v, Value) for v in op.operands):
            return
        attrs = op.attrs | {"regions": op.regions} if op.regions else op.attrs
        try:
            types = op.primitive.type_rule(attrs, *op.operands)
        except GraphTypeError as refused:
            self.report(op, f"the type rule refuses: {refused}")
        except Exception as failed:
            # A rule may fail in any way on operands that it was never meant to see.
            self.report(op, f"the type rule fails: {type(failed).__name__}: {failed}")
        else:
            found = [r.type for r in op.results]
            if types != found:
                self.report(op, f"has results {self.types(found)}, the type rule gives {self.types(types)}")
