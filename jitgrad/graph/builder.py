"""Building graphs: one object that appends ops to a block.

In: operands, attributes, a current location. Out: ops, type-checked by their primitive's rule as they are made.
`g.add(x, y)` emits the primitive of that name and returns its result. Python numbers among the operands become
constants of their neighbours' dtype. This room knows no particular primitive beyond `constant` and the region ops.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from jitgrad.graph.ir import Block, Op, Value
from jitgrad.graph.primitive import PRIMITIVES
from jitgrad.graph.types import GraphTypeError, Type
from jitgrad.location import Location

__all__ = ["Builder"]


class Builder:
    """Appends ops to `block`, marked with `location`.

    `g.NAME(*operands, **attrs)` emits primitive NAME and returns its result, or the list of its results if it has
    not exactly one.
    """

    def __init__(self, block: Block, location: Location | None = None) -> None:
        self.block = block
        self.location = location

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name not in PRIMITIVES:
            raise GraphTypeError(f"no primitive {name!r}")

        def emit(*operands: Value | float | int, **attrs: Any) -> Any:
            results = self.emit(name, operands, attrs).results
            return results[0] if len(results) == 1 else results

        self.__dict__[name] = emit  # the next look-up finds it without this method
        return emit

    def emit(
        self,
        name: str,
        operands: Sequence[Any] = (),
        attrs: dict[str, Any] | None = None,
        regions: Sequence[Block] = (),
    ) -> Op:
        """Append an op and return it; Python numbers become constants of the first array operand's dtype."""
        attrs = attrs or {}
        values = list(operands)
        for i, v in enumerate(values):
            if not isinstance(v, Value):
                like = next((x for x in operands if isinstance(x, Value)), None)
                values[i] = self.constant(v, None if like is None else like.array.dtype)
        primitive = PRIMITIVES[name]
        types = primitive.type_rule(attrs | {"regions": list(regions)} if regions else attrs, *values)
        op = Op(primitive, values, attrs, regions, types, self.location)
        self.block.ops.append(op)
        return op

    def constant(self, value: Any, dtype: np.dtype | type | None = None) -> Value:
        """Emit a constant scalar or small array."""
        array = np.asarray(value, dtype=dtype)
        op = Op(
            PRIMITIVES["constant"],
            [],
            {"value": array},
            [],
            PRIMITIVES["constant"].type_rule({"value": array}),
            self.location,
        )
        self.block.ops.append(op)
        return op.result

    @contextmanager
    def region(self, types: Sequence[Type] = (), names: Sequence[str] = ()) -> Iterator[Block]:
        """Enter a new block: ops go there until the `with` ends. Set its `yields` before using it."""
        block = Block(types, names)
        outer, self.block = self.block, block
        try:
            yield block
        finally:
            self.block = outer

    @contextmanager
    def at(self, location: Location | None) -> Iterator[None]:
        """Mark ops with a location until the `with` ends."""
        outer, self.location = self.location, location
        try:
            yield
        finally:
            self.location = outer
