"""Common subexpressions: one op for equal ops, where one dominates the other.

In: a graph. Out: the same graph, in which the later of two equal pure ops gives way to the earlier one, in the same
block or a block around it. Ops are equal if primitive, operands and attributes are: constants by their bits, operands
of `add`, `multiply` and their like in either order (only where IEEE arithmetic commutes to the bit; of two NaNs the
payload is not specified). A check that a dominating check of the same value makes redundant goes too, and where an op
asks what is known inside an arm of an `if`, the answer becomes a constant.

Not merged: ops that stand for storage of their own (`undef`, empty lists and what grows them), since two lists that
both grow would have to be copied; `if`, `for` and `while` as wholes; ops with effects.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from jitgrad.graph.equality import attrs_key
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.passes.rewriting import FREEDOMS, Replacements
from jitgrad.graph.primitive import PRIMITIVES
from jitgrad.graph.types import BOOL

__all__ = ["cse"]

# Complex products are left out: whether a kernel contracts decides if their order shows. So are maximum and minimum,
# which differ on zeros of two signs.
_COMMUTES = frozenset(
    {"add", "multiply", "equal", "not_equal", "logical_and", "logical_or", "logical_xor", "bitwise_and", "bitwise_or",
     "bitwise_xor"}
)  # fmt: skip
_STORAGE = frozenset({"undef", "list_empty", "list_zeros", "list_push", "list_pop", "list_set", "list_addto"})
_ASKS = frozenset({"if", "check", "select"})


class _Frame:
    """A block on the way: its old ops, the place among them, and what to forget when it ends."""

    __slots__ = ("at", "block", "fact", "facts", "keys", "ops")

    def __init__(self, block: Block, fact: tuple[Value, bool] | None) -> None:
        self.block = block
        self.ops = block.ops
        self.at = 0
        self.fact = fact
        self.keys: list[Any] = []
        self.facts: list[Value] = []


def cse(graph: Graph) -> bool:
    """Merge equal ops; linear in the number of ops."""
    return _Numbering().run(graph)


class _Numbering:
    """The ops that dominate the current place, by key, and the bools known there."""

    def __init__(self) -> None:
        self.table: dict[Any, Op] = {}
        self.known: dict[Value, bool] = {}
        self.replaced = Replacements()
        self.order: dict[Value, int] = {}
        self.changed = False

    def run(self, graph: Graph) -> bool:
        stack = [_Frame(graph, None)]
        while stack:
            frame = stack[-1]
            if frame.at == 0:
                self.enter(frame)
            into = self.advance(frame)
            if into is not None:
                # The arms of an `if` know its condition; pushed last first, so that they are walked in order.
                cond = into.operands[0] if into.name == "if" else None
                for truth, region in reversed(list(zip((True, False), into.regions, strict=False))):
                    stack.append(_Frame(region, None if cond is None else (cond, truth)))
                continue
            stack.pop()
            block = frame.block
            block.yields = self.replaced.in_values(block.yields)
            for key in frame.keys:
                del self.table[key]
            for value in frame.facts:
                del self.known[value]
        return self.changed

    def enter(self, frame: _Frame) -> None:
        """Begin a block."""
        block = frame.block
        self.replaced.in_block(block)
        block.ops = []
        if frame.fact is not None:
            self.learn(frame, *frame.fact)

    def learn(self, frame: _Frame, value: Value, truth: bool) -> None:
        """Note what a bool is from here to the end of the block."""
        if value not in self.known:
            self.known[value] = truth
            frame.facts.append(value)

    def advance(self, frame: _Frame) -> Op | None:
        """Go on in a block until an op with regions, or to the end."""
        ops, kept, table, order = frame.ops, frame.block.ops, self.table, self.order
        replaced = self.replaced
        while frame.at < len(ops):
            op = ops[frame.at]
            frame.at += 1
            if replaced.mapping:
                replaced.in_op(op)
            primitive = op.primitive
            name = primitive.name
            if name in _ASKS and op.operands[0] in self.known:
                self.answer(op, kept)
            if op.regions:
                kept.append(op)
                return op
            if name == "check":
                cond = op.operands[0]
                if self.known.get(cond):
                    self.changed = True
                    continue
                kept.append(op)
                self.learn(frame, cond, True)
                continue
            if primitive.effects or name in _STORAGE:
                kept.append(op)
                continue
            operands: Any = tuple(op.operands)
            if len(operands) == 2 and name in _COMMUTES and not _is_complex(op):
                x, y = operands
                # Numbers in order of meeting: the identity of objects would make the result differ between runs.
                if order.setdefault(x, len(order)) > order.setdefault(y, len(order)):
                    operands = (y, x)
            key = (name, operands, attrs_key(op.attrs) if FREEDOMS.isdisjoint(op.attrs) else ())
            earlier = table.get(key)
            if earlier is not None and _types(earlier) == _types(op):
                for freedom in FREEDOMS.intersection(earlier.attrs).difference(op.attrs):
                    del earlier.attrs[freedom]
                for old, new in zip(op.results, earlier.results, strict=True):
                    self.replaced.add(old, new)
                self.changed = True
                continue
            if earlier is None:
                table[key] = op
                frame.keys.append(key)
            kept.append(op)
        return None

    def answer(self, op: Op, kept: list[Op]) -> None:
        """Put a constant where an op asks for a bool that is known; `simplify` draws the consequences."""
        if op.name == "check":
            return
        truth = np.array(self.known[op.operands[0]])
        constant = Op(PRIMITIVES["constant"], [], {"value": truth}, [], [BOOL], op.location)
        kept.append(constant)
        op.operands[0] = constant.result
        self.changed = True


def _types(op: Op) -> list[Any]:
    return [r.type for r in op.results]


def _is_complex(op: Op) -> bool:
    return op.name == "multiply" and op.results[0].array.dtype.kind == "c"
