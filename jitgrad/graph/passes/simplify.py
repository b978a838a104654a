"""Algebraic simplification, constant folding and control flow that is decided.

The laws:

 1. Exact. No rule changes a bit of any result, NaN-ness and the sign of zero included (the payload of a NaN is not
    specified). What raises keeps raising, in the same order.
 2. A rule keeps the type of what it replaces.
 3. One direction: each rule lowers (ops, signs inside products, casts, steps of a chain) in this order, so that no two
    rules undo each other and the pass ends.
 4. Never worse code: a rule that would leave the old op alive beside the new one asks first whether it is used once,
    and none makes an array be read after its storage may have been overwritten.

In: a graph. Out: the same graph after one sweep in order, in which every operand is simplified before its use. Dead ops
stay for `dce`. The rules of plain ops are in `rules/`; here are the sweep, folding, `check`, `if`, `for` and `while`.

The passes run until nothing changes, and most ops have found their form long before. An op is passed over that is as it
was when no rule applied to it, if all that it uses is so as well, however far back: rules see no more of a graph.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.ir import Block, Graph, Op, Value
from jitgrad.graph.passes.rewriting import (
    FREEDOMS,
    Replacements,
    blocks_within,
    drop_positions,
    may_act,
)
from jitgrad.graph.passes.rules import arithmetic, choice, memory, ranges, shapes
from jitgrad.graph.passes.rules.context import Context, Rule, made_by
from jitgrad.graph.passes.rules.selects import as_selects
from jitgrad.graph.passes.survey import note_survey, survey
from jitgrad.graph.types import INT64, ArrayType

__all__ = ["simplify", "simplify_integers"]

_TABLES = (arithmetic.RULES, choice.RULES, memory.RULES, shapes.RULES, ranges.RULES)
# Of one primitive, the rules in the order of the tables.
RULES: dict[str, list[Rule]] = {}
for _table in _TABLES:
    for _name, _rule in _table.items():
        RULES.setdefault(_name, []).append(_rule)

# The same without those that look at int64 numbers only.
_OF_OTHERS = {name: [rule for rule in rules if rule not in ranges.OF_INTEGERS] for name, rules in RULES.items()}

# Results up to this many elements are computed here instead of at run time; they must be kept as text and data.
_FOLDED_SIZE = 64
_FOLDED_MOVES = frozenset({"load", "reshape", "transpose", "concatenate"})
# A rule's result is simplified again at once, at most this often; the rest is for the next sweep.
_AGAIN = 8
_MOVES = frozenset({"load", "store"})


def simplify(graph: Graph) -> bool:
    """Apply the rules in one sweep; linear in the number of ops."""
    return _Sweep(graph).run()


def simplify_integers(graph: Graph) -> bool:
    """Apply only the rules that no derivative depends on: of integers and bools, and of what is read and stored."""
    return _Sweep(graph, integers_only=True).run()


class _Frame:
    """Ops still to visit, and what to do after the last of them.

    Attributes
    ----------
    target : Block
        Where the ops go.
    source : Block or None
        The block they come from, whose yields are to be replaced; None for the frame that ends a structured op.
    ends : Op or None
        The op with regions, all walked, that is to be closed.
    inlines : Op or None
        The op whose results the source's yields stand for.
    since : int
        How many ops were not as before when `ends` was opened.
    """

    __slots__ = ("at", "ends", "inlines", "ops", "since", "source", "target")

    def __init__(
        self,
        target: Block,
        source: Block | None,
        ends: Op | None = None,
        inlines: Op | None = None,
        since: int = 0,
    ) -> None:
        self.target = target
        self.since = since
        self.source = source
        self.ops: list[Op] = source.ops if source is not None else []
        self.at = 0
        self.ends = ends
        self.inlines = inlines


class _Sweep:
    def __init__(self, graph: Graph, integers_only: bool = False) -> None:
        self.graph = graph
        self.integers_only = integers_only
        self.replaced = Replacements()
        self.changed = False
        self.r = Context(Builder(graph))
        survey(graph, self.r)
        self.stack: list[_Frame] = []
        # Values that are as they were in the sweep before, and how many ops have not been so.
        self.stable: set[Value] = set(graph.args)
        self.unsettled = 0

    def run(self) -> bool:
        self.enter(self.graph)
        while self.stack:
            frame = self.stack[-1]
            if frame.at < len(frame.ops):
                op = frame.ops[frame.at]
                frame.at += 1
                self.replaced.in_op(op)
                self.r.g.block = frame.target
                if op.regions:
                    self.open(op, frame)
                else:
                    self.plain(op, frame.target)
                continue
            self.stack.pop()
            if frame.source is not None:
                frame.source.yields = self.replaced.in_values(frame.source.yields)
            if frame.inlines is not None and frame.source is not None:
                for result, value in zip(frame.inlines.results, frame.source.yields, strict=True):
                    self.replace(result, value)
            if frame.ends is not None:
                self.close(frame.ends, frame.target)
                self.settle(frame.ends, frame.since)
        if not self.integers_only:
            note_survey(self.graph, self.r)
        return self.changed

    def enter(self, block: Block) -> None:
        """Walk a block in place."""
        self.replaced.in_block(block)
        frame = _Frame(block, block)
        block.ops = []
        self.stack.append(frame)

    def replace(self, old: Value, new: Value) -> None:
        """Let a value stand for another, also in what is known of uses."""
        new = self.replaced.find(new)
        self.replaced.add(old, new)
        r = self.r
        r.uses[new] = r.uses.get(new, 0) + r.uses.get(old, 0)
        if old in r.written:
            r.written.add(new)
        self.changed = True
        self.unsettled += 1

    def seen(self, op: Op) -> list[Any]:
        """Return all that rules see of an op, but for what made its operands."""
        uses, written = self.r.uses, self.r.written
        flags = len(op.attrs)
        for v in op.operands:
            # Whether what is used goes away with this use is asked of what an op with operands made.
            made = v.op
            shared = made is not None and bool(made.operands) and uses.get(v, 0) > 1
            flags = 4 * flags + 2 * shared + (v in written)
        found: list[Any] = [op.name, flags, *op.operands]
        for v in op.results:
            found.append(v.type)
        for region in op.regions:
            found += region.yields
        return found

    def is_settled(self, op: Op) -> bool:
        """Whether an op and all that comes before it are as they were when no rule applied."""
        stable, settled = self.stable, op.settled
        if settled is None or not stable.issuperset(op.operands) or settled[0] != self.seen(op):
            return False
        return all(stable.issuperset(v.type.run_time) for v in (*op.operands, *op.results) if v.type.run_time)

    def note(self, op: Op) -> None:
        """Note that no rule applies to an op, which was not settled."""
        self.unsettled += 1
        op.settled = (self.seen(op), self.r.sums.get(op.results[0]) if op.results else None)

    def settle(self, op: Op, since: int) -> None:
        """Note what has been seen of an op with regions, before which so many ops were not settled."""
        if self.unsettled == since and self.is_settled(op):
            self.stable.update(op.results)
        else:
            self.note(op)

    # --- ops without regions

    def plain(self, op: Op, target: Block) -> None:
        if op.name == "check":
            literal = self.r.literal(op.operands[0])
            if literal is not None and literal:
                self.changed = True
            else:
                target.ops.append(op)
            return
        results = op.results
        if self.integers_only:
            if len(results) != 1 or (results[0].type.is_float and op.name not in _MOVES):
                target.ops.append(op)
                return
        elif self.is_settled(op):
            target.ops.append(op)
            self.stable.update(results)
            if op.settled[1] is not None:
                self.r.sums[results[0]] = op.settled[1]
            return
        elif len(results) != 1:
            target.ops.append(op)
            self.note(op)
            return
        old = results[0]
        self.r.g.location = op.location
        for _ in range(_AGAIN):
            before = len(target.ops)
            value = self.simplified(op)
            if value is None:
                if not self.integers_only:
                    self.note(op)
                break
            value = self.replaced.find(value)
            made = value.owner
            if len(target.ops) == before or made is not target.ops[-1] or made.name == "constant":
                self.replace(old, value)
                return
            if op.attrs and made.name in ("add", "subtract", "divide"):
                made.attrs.update(dict.fromkeys(FREEDOMS.intersection(op.attrs), True))
            # The rule made a new op: it takes the place of the old one, and may be simplified in its turn.
            target.ops.pop()
            op = made
        target.ops.append(op)
        if op.results[0] is not old:
            self.replace(old, op.results[0])

    def simplified(self, op: Op) -> Value | None:
        for rule in (RULES if op.results[0].type == INT64 else _OF_OTHERS).get(op.name, ()):
            value = rule(self.r, op)
            if value is not None:
                return value
        # Most ops have an operand first that is no constant: nothing is to be folded.
        owner = op.operands[0].owner if op.operands else None
        return self.folded(op) if isinstance(owner, Op) and owner.name == "constant" else None

    def folded(self, op: Op) -> Value | None:
        """Return the constant that an op on constants gives."""
        if not (op.primitive.is_elementwise or op.primitive.name in _FOLDED_MOVES):
            return None
        for v in op.operands:
            owner = v.owner
            if not isinstance(owner, Op) or owner.primitive.name != "constant":
                return None
        type = op.results[0].type
        assert isinstance(type, ArrayType) and op.primitive.evaluate is not None
        if not type.is_static or math.prod(type.shape) > _FOLDED_SIZE:  # type: ignore[arg-type]
            return None
        with np.errstate(all="ignore"):
            try:
                value = np.asarray(op.primitive.evaluate(op.attrs, *(self.r.literal(v) for v in op.operands)))
            except (ArithmeticError, IndexError, ValueError):
                # An op that a failing check guards: it is never run.
                return None
        if value.dtype != type.dtype or value.shape != type.shape:
            return None
        return self.r.g.constant(value.copy(), value.dtype)

    # --- ops with regions, before their regions are walked

    def open(self, op: Op, frame: _Frame) -> None:
        self.r.g.location = op.location
        if op.name == "if":
            if self.open_if(op, frame.target):
                return
        elif op.name == "for":
            if self.open_for(op, frame.target):
                return
            self.drop_constant_positions(op, 1)
        else:
            self.drop_constant_positions(op, 0)
        self.stack.append(_Frame(frame.target, None, ends=op, since=self.unsettled))
        for region in reversed(op.regions):
            self.enter(region)
        args = [arg for region in op.regions for arg in region.args]
        if op.name == "for" and op.operands[0] not in self.stable:
            # What is known of the index comes from the number of iterations.
            args = args[1:]
        self.stable.update(args)

    def inline(self, op: Op, region: Block, target: Block) -> None:
        """Put the ops of a region where its op stood."""
        self.changed = True
        self.stack.append(_Frame(target, region, inlines=op))

    def open_if(self, op: Op, target: Block) -> bool:
        cond = op.operands[0]
        literal = self.r.literal(cond)
        if literal is not None:
            self.inline(op, op.regions[0 if literal else 1], target)
            return True
        negated = made_by(cond, "logical_not")
        if negated is not None and negated.operands[0].array.dtype == np.bool_:
            op.operands[0] = negated.operands[0]
            op.regions.reverse()
            self.changed = True
        return False

    def open_for(self, op: Op, target: Block) -> bool:
        literal = self.r.literal(op.operands[0])
        if literal is None or literal > 1:
            return False
        inits = op.operands[1:]
        if literal < 1:
            for result, init in zip(op.results, inits, strict=True):
                self.replace(result, init)
            self.changed = True
            return True
        body = op.regions[0]
        zero = self.r.g.constant(0, np.int64)
        for arg, value in zip(body.args, (zero, *inits), strict=True):
            self.replace(arg, value)
        self.inline(op, body, target)
        return True

    def drop_constant_positions(self, op: Op, skip: int) -> None:
        """Take out carried values that every iteration hands on unchanged.

        Where nothing was there before the loop, also those that are one value from outside after each iteration.
        """
        body = op.regions[-1]
        dead = set()
        for i, (result, given) in enumerate(zip(op.results, body.yields, strict=True)):
            arg, init = body.args[i + skip], op.operands[i + skip]
            value = self.replaced.find(given)
            if given is arg or value is init:
                value = init
            elif init.op is None or init.op.name != "undef" or not _is_outside(value, op):
                continue
            dead.add(i)
            self.replace(result, value)
            for region in op.regions:
                self.replace(region.args[i + skip], value)
        if dead:
            drop_positions(op, dead)

    # --- ops with regions, afterwards

    def close(self, op: Op, target: Block) -> None:
        self.r.g.block = target
        self.r.g.location = op.location
        if op.name == "if" and op.results:
            self.merge_equal_results(op)
            made = as_selects(self.r, op) if op.results and not self.integers_only else None
            if made is not None:
                for result, value in zip(op.results, made, strict=True):
                    self.replace(result, value)
                return
        elif op.name == "while":
            literal = self.r.literal(op.regions[0].yields[0])
            if literal is not None and not literal and not may_act(op.regions[0]):
                for result, init in zip(op.results, op.operands, strict=True):
                    self.replace(result, init)
                self.changed = True
                return
        target.ops.append(op)

    def merge_equal_results(self, op: Op) -> None:
        """Replace results that both arms give alike; a value that both see comes from outside."""
        then, other = op.regions
        dead = set()
        for i, (x, y) in enumerate(zip(then.yields, other.yields, strict=True)):
            if x is y:
                self.replace(op.results[i], x)
                dead.add(i)
            elif self.r.same_literal(x, y):
                self.replace(op.results[i], self.r.g.constant(self.r.literal(x), x.array.dtype))
                dead.add(i)
        if dead:
            drop_positions(op, dead)


def _is_outside(value: Value, op: Op) -> bool:
    """Whether a value that is known in the regions of an op is made outside of them."""
    blocks = {b for region in op.regions for b in blocks_within(region)}
    if value.op is None:
        return value.owner not in blocks
    return not any(value.op is o for b in blocks for o in b.ops)
