"""How regions are reversed.

In: a frame, an op with regions, the cotangents of its results. Out: a branch or a loop of reverse code in the frame.

if      the same condition, the arms reversed; each arm starts from the cotangents that the branch found, and hands on
        those that it changed.
for     a `for` over the same number of iterations, the last one first. It carries the cotangent of each active carried
        value, one accumulator for each captured value that it adds to (threaded through, never fresh), the arrays that
        it restores (`undo.py`) and the cursors of tapes.
while   the forward loop counts; its reverse is a `for`.

This room knows how cotangents flow through regions, not through ops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.cancellation import constant_of
from jitgrad.graph.diff.cotangent import Cot, all_masks, joined_mask, mask_of
from jitgrad.graph.diff.cut import NO_PLAN, Plan
from jitgrad.graph.diff.frames import Frame, Nest, Step
from jitgrad.graph.diff.reverse_ops import ReverseOps
from jitgrad.graph.diff.steep import Slopes
from jitgrad.graph.diff.tapes import Cursor
from jitgrad.graph.diff.undo import Undo, restorable
from jitgrad.graph.ir import Block, Op, Value
from jitgrad.graph.ops.shape import reshape_to
from jitgrad.graph.types import INT64, ArrayType, ListType

__all__ = ["Reverse"]


class Reverse(ReverseOps):
    """Reverses the ops of a region, those with regions included.

    Parameters
    ----------
    g, nest, active, slopes
        As in `ReverseOps`.
    undoes : callable
        Whether stores inside an op at the outermost level are undone, where that is possible.
    plan : Plan
        What to save.
    """

    def __init__(
        self,
        g: Builder,
        nest: Nest,
        active: set[Value],
        slopes: Slopes,
        undoes: Callable[[Op], bool],
        plan: Plan = NO_PLAN,
    ) -> None:
        super().__init__(g, nest, active, slopes, plan)
        self.undo = Undo(self.residuals)
        self._undoes = undoes

    def block(self, frame: Frame) -> Step:
        """Reverse the ops of a frame's region."""
        g, cots, nested = self.g, frame.cots, frame.parent is not None
        stores = nested and self._undoes(self.nest.outermost(frame.forward))
        for op in reversed(frame.ops):
            g.block, g.location = frame.block, op.location
            if op.regions:
                yield self._if(frame, op) if op.name == "if" else self._loop(frame, op)
                continue
            found = [cots.pop(r, None) for r in op.results]
            if found != [None] and any(c is not None for c in found):
                self.op(frame, op, found)
            if nested:
                self.undo.step(frame, op, stores)

    # --- regions

    def _if(self, frame: Frame, op: Op) -> Step:
        g, hand = self.g, frame.memo
        results = list(op.results)
        cots = [frame.cots.pop(r, None) for r in results]
        if all(c is None for c in cots) and not any(r in hand for r in results):
            return
        cond = self.residuals.get(frame, op.operands[0])
        arms = []
        for region in op.regions:
            arm = Frame(region, frame, Block())
            arms.append(arm)
            self.residuals.frames[region] = arm
            g.block = arm.block
            for y, r, cot in zip(region.yields, results, cots, strict=False):
                if cot is not None and y in self.active:
                    self.accumulate(arm, y, cot, marked=r in self.parted)
                found = self.residuals.at_hand(frame, r)
                if found is not None and y in self.nest.home:
                    arm.memo[y] = found  # whatever this arm yields is what came out
            yield self.block(arm)
            del self.residuals.frames[region]
        yields, keep = self._join(frame, arms)
        for r in results:
            hand.pop(r, None)
        if not yields[0]:
            return
        g.block, g.location = frame.block, op.location
        for arm, ys in zip(arms, yields, strict=True):
            arm.block.yields = ys
        made = g.emit("if", [cond], regions=[arm.block for arm in arms])
        at = 0
        for kind, key, masked in keep:
            value = made.results[at]
            at += 1
            if kind == "ct":
                frame.cots[key] = Cot(value, made.results[at] if masked else None)
                at += masked
            else:
                (frame.cursors if kind == "cursor" else frame.memo)[key] = value

    def _join(self, frame: Frame, arms: list[Frame]) -> tuple[list[list[Value]], list[tuple[str, Any, bool]]]:
        """Return what the arms of a reverse branch yield, and what each result is."""
        g = self.g
        yields: list[list[Value]] = [[], []]
        keep: list[tuple[str, Any, bool]] = []
        for key in dict.fromkeys(k for arm in arms for k in arm.cots):
            before = self.current(frame, key)
            found = [arm.cots.get(key, before) for arm in arms]
            type = self.residuals.type_of(frame, key.type)
            mask = joined_mask(found, type) if isinstance(type, ArrayType) and key not in self.parted else None
            for arm, ys, cot in zip(arms, yields, found, strict=True):
                g.block = arm.block
                value = self.zeros_for(frame, key) if cot is None else cot.value
                if isinstance(type, ArrayType) and value.type != type:
                    # An arm that made sizes available for itself knows them by names of its own.
                    value = reshape_to(g, value, type.shape)
                ys.append(value)
                if mask is not None:
                    ys.append(mask_of(g, cot, mask))
            keep.append(("ct", key, mask is not None))
        for cursor in dict.fromkeys(c for arm in arms for c in arm.cursors):
            before_cursor = self.residuals.cursor(frame, cursor)
            for arm, ys in zip(arms, yields, strict=True):
                ys.append(arm.cursors.get(cursor, before_cursor))
            keep.append(("cursor", cursor, False))
        first, second = arms
        for value in first.memo:
            alike = value in second.memo and first.memo[value].type == second.memo[value].type
            if alike and self.residuals.at_hand(frame, value) is None:
                yields[0].append(first.memo[value])
                yields[1].append(second.memo[value])
                keep.append(("memo", value, False))
        return yields, keep

    def _loop(self, frame: Frame, op: Op) -> Step:
        g, hand = self.g, self.residuals.at_hand
        skip = 1 if op.name == "for" else 0
        body, results = op.regions[-1], list(op.results)
        args, inits, yields = body.args[skip:], op.operands[skip:], list(body.yields)
        cots = [frame.cots.pop(r, None) for r in results]
        flows = any(c is not None for c in cots)
        slots: set[int] = set()
        if flows or frame.parent is not None:
            stores = self._undoes(self.nest.outermost(body))
            at_end = [i for i, r in enumerate(results) if hand(frame, r) is not None]
            slots = restorable(op, at_end, stores)
            same = {i for i in slots if yields[i] is args[i] and hand(frame, inits[i]) is not None}
            slots -= same
        if not flows and not slots:
            return
        count = self.residuals.get(frame, op.operands[0] if skip else self._count(op))
        inner = Frame(body, frame, Block(), count=count)
        self.residuals.frames[body] = inner
        if all_masks(cots):
            inner.masked = (
                "array" if any(c is not None and c.mask is not None and c.mask.shape for c in cots) else "one"
            )
        trips = constant_of(count)
        inner.sure = bool(trips) and not any(inside.regions for inside in body.ops)
        for i, (arg, y) in enumerate(zip(args, yields, strict=True)):
            found = hand(frame, inits[i]) if y is arg else None
            if found is not None:
                inner.memo[arg] = found
        g.block = inner.block
        for i in sorted(slots):
            restored = inner.block.add_arg(self.residuals.type_of(frame, results[i].type), args[i].name)
            inner.carried.append((("slot", i), restored, None))
            inner.memo[yields[i]] = restored
        for i, arg in enumerate(args):
            if flows and (arg in self.active or cots[i] is not None):
                type = self.residuals.type_of(frame, arg.type)
                cot = self.carry(
                    inner, ("ct", i), type, self.carried_mask(inner, [arg, results[i]], type, cots[i]), arg.name
                )
                if yields[i] in self.active:
                    self.accumulate(inner, yields[i], cot, marked=arg in self.parted)
        yield self.block(inner)
        for key, _, _ in list(inner.carried):
            if isinstance(key, tuple) and key[0] == "ct" and isinstance(args[key[1]].type, ListType):
                # Zeros are as many as the list has items, which may have to be kept: before the loop is closed.
                g.block = inner.block
                if inner.cots.get(args[key[1]]) is None:
                    inner.cots[args[key[1]]] = Cot(self.zeros_for(inner, args[key[1]]))
        del self.residuals.frames[body]
        self._close(frame, inner, op, cots, results, args, inits, count)

    def _count(self, op: Op) -> Value:
        """Make a `while` count its iterations and return the count."""
        outer = self.nest.enclosing[op.regions[1]][1]
        with self.nest.insert(outer, op, False, op.location) as g:
            op.operands.append(g.constant(np.int64(0)))
        count = [self.nest.add_arg(region, INT64) for region in op.regions][1]
        with self.nest.insert(op.regions[1], None, True, op.location) as g:
            op.regions[1].yields.append(g.add(count, g.constant(np.int64(1))))
        made = self.nest.add_result(op, INT64)
        made.name = "count"
        return made

    def _close(
        self,
        frame: Frame,
        inner: Frame,
        op: Op,
        cots: list[Cot | None],
        results: list[Value],
        args: list[Value],
        inits: list[Value],
        count: Value,
    ) -> None:
        """Emit the reverse loop whose body is done, and take over its results."""
        g = self.g
        g.location = op.location
        firsts: list[Value] = [count]
        nexts: list[Value] = []
        for key, _, mask in inner.carried:  # `inner.carried` does not grow any more
            before: Cot | None
            after: Cot | None
            if isinstance(key, tuple):
                kind, i = key
                if kind == "slot":
                    firsts.append(self.residuals.get(frame, results[i]))
                    nexts.append(inner.memo[args[i]])
                    continue
                before, after, like = cots[i], inner.cots.get(args[i]), args[i]
            elif isinstance(key, Cursor):
                firsts.append(self.residuals.cursor(frame, key))
                nexts.append(inner.cursors[key])
                continue
            else:
                before, after, like = self.current(frame, key), inner.cots[key], key
            g.block = frame.block
            # A list of cotangents has the length of the list that comes out, and of the one that goes in.
            end = results[key[1]] if isinstance(key, tuple) else like
            firsts.append(self.zeros_for(frame, end) if before is None else before.value)
            if mask is not None:
                firsts.append(mask_of(g, before, mask.shape))
            g.block = inner.block
            nexts.append(self.zeros_for(inner, like) if after is None else after.value)
            if mask is not None:
                nexts.append(mask_of(g, after, mask.shape))
        g.block = frame.block
        inner.block.yields = nexts
        made = g.emit("for", firsts, regions=[inner.block])
        for r in results:
            frame.memo.pop(r, None)
        rest = iter(made.results)
        entering: list[tuple[Value, Cot]] = []
        for key, _, mask in inner.carried:
            value = next(rest)
            if isinstance(key, Cursor):
                frame.cursors[key] = value
            elif isinstance(key, Value):
                frame.cots[key] = Cot(value, None if mask is None else next(rest))
            elif key[0] == "slot":
                if self.residuals.at_hand(frame, inits[key[1]]) is None:
                    frame.memo[inits[key[1]]] = value
            else:
                entering.append((inits[key[1]], Cot(value, None if mask is None else next(rest))))
        for init, cot in entering:  # only now: an initial value may be captured as well, and its accumulator came back
            if init in self.active:
                self.accumulate(frame, init, cot, marked=init in self.parted)
