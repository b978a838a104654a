"""What a rule of `simplify` may ask and build.

A rule is `rule(r, op) -> Value | None`: the value to use instead of the op's only result, or None where it does not
apply. It may build new ops through `r.g`, which come before the op; it must not touch the op itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.equality import attr_key
from jitgrad.graph.ir import Op, Value
from jitgrad.graph.ops.shape import broadcast_to
from jitgrad.graph.types import Type

__all__ = ["Context", "Rule", "made_by"]


def made_by(value: Value, name: str) -> Op | None:
    """Return the op that made a value, if it is one of this primitive."""
    op = value.owner
    return op if isinstance(op, Op) and op.name == name else None


class Context:
    """Questions about values, and the builder for new ones.

    Attributes
    ----------
    g : Builder
        Appends before the op at hand, at its location.
    uses : dict of Value to int
        How often values were used when the pass began: a guide to what pays, never to what is right.
    written : set of Value
        Arrays and lists into whose storage something may be written: those that stores take, or that loops carry.
    sizes : set of Value
        Run-time dimensions of the graph's arguments, which are not negative.
    loops : dict of Value to Op
        The index of each `for` to the op, whose first operand is the trip count.
    order : dict of Value to int
        Numbers the indices in `loops`, outer loops first.
    lasts : dict of Value to object
        For indices of loops that are only thought of: the sum that is the last of them.
    sums : dict of Value to object
        What `ranges` found out about sums of integers.
    """

    def __init__(self, g: Builder) -> None:
        self.g = g
        self.uses: dict[Value, int] = {}
        self.written: set[Value] = set()
        self.sizes: set[Value] = set()
        self.loops: dict[Value, Op] = {}
        self.order: dict[Value, int] = {}
        self.lasts: dict[Value, Any] = {}
        self.sums: dict[Value, Any] = {}

    def literal(self, value: Value) -> np.ndarray | None:
        """Return the contents of a constant."""
        op = value.owner
        return np.asarray(op.attrs["value"]) if isinstance(op, Op) and op.name == "constant" else None

    def splat(self, value: Value) -> Any:
        """Return the number that every element of a value is: a scalar constant, or one broadcast."""
        op = value.owner
        while isinstance(op, Op) and op.name in ("broadcast", "reshape"):
            value = op.operands[0]
            op = value.owner
        if not isinstance(op, Op) or op.name != "constant":
            return None
        found: np.ndarray = op.attrs["value"]
        return found[()] if found.ndim == 0 else None

    def same_literal(self, x: Value, y: Value) -> bool:
        """Whether two values are constants of the same bits."""
        a, b = self.literal(x), self.literal(y)
        return a is not None and b is not None and attr_key(a) == attr_key(b)

    def fit(self, value: Value, type: Type) -> Value:
        """Return a value broadcast to the shape of a type, as the op that it replaces would have."""
        assert value.type == type or value.array.dtype == type.dtype  # type: ignore[union-attr]
        return broadcast_to(self.g, value, type.shape)  # type: ignore[union-attr]

    def once(self, value: Value) -> bool:
        """Whether nothing but the op at hand uses a value, so that the op that made it goes away with this use."""
        return self.uses.get(value, 0) <= 1


Rule: TypeAlias = Callable[[Context, Op], Value | None]
