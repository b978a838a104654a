"""Reverse mode: a block becomes a graph that runs it forwards and then propagates cotangents backwards.

In: a block and the arguments to differentiate by. Out: a graph of the same IR, so that every transform composes with
every other. The primal is copied first and with it every check and call; the reverse code follows it, and the copy is
extended on demand by whatever the reverse code needs saved (`residuals.py`).

How a region is reversed:

if      the same condition, the arms reversed; each arm starts from the cotangents that the branch found and hands on those
        that it changed.
for     a `for` over the same number of iterations, the last one first. It carries the cotangent of each active carried
        value, one accumulator for each captured value that it adds to (threaded through, never fresh), the arrays that
        it restores (`undo.py`) and the cursors of tapes.
while   the forward loop counts; its reverse is a `for`.

Cotangents that are zero are not built until something must be handed on. This room knows how cotangents flow through
regions; `cotangent.py`, `lists.py` and the declarations in `graph/ops` know the ops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from jitgrad.errors import error
from jitgrad.graph.builder import Builder
from jitgrad.graph.diff.activity import active_values, derivative_operands
from jitgrad.graph.diff.cotangent import Cot, add_cots, all_masks, apply_partial, down, full_mask
from jitgrad.graph.diff.frames import Frame, Nest, Step, run
from jitgrad.graph.diff.lists import LIST_OPS, add_lists, vjp_list, zero_list
from jitgrad.graph.diff.residuals import Residuals, Site
from jitgrad.graph.diff.rules import move_mask, run_rule
from jitgrad.graph.diff.undo import Undo, restorable
from jitgrad.graph.ir import Block, Graph, Op, Value, clone_block, substitute_type
from jitgrad.graph.ops.shape import broadcast_to, zeros
from jitgrad.graph.passes.dce import dce
from jitgrad.graph.primitive import Linear, Masked, NoGradient, Partial, Partials, Rules
from jitgrad.graph.types import BOOL, INT64, ArrayType, ListType

__all__ = ["adjoint"]


def adjoint(block: Block, wrt: Sequence[int], *, name: str = "adjoint", seeded: Sequence[int] | None = None) -> Graph:
    """Return the graph that computes a block's yields and the cotangents of some of its arguments.

    Parameters
    ----------
    block : Block
        May use values of blocks around it: those are constants.
    wrt : sequence of int
        Positions of floating-point arguments.
    name : str
        Name of the graph.
    seeded : sequence of int, optional
        Positions of the yields whose cotangents are given; by default of all floating-point yields.

    Returns
    -------
    Graph
        Arguments: the block's, then one cotangent for each of `seeded`. Yields: the block's, then the cotangent of each
        of `wrt`, as zeros where nothing depends on it.

    Raises
    ------
    DifferentiationError
        JG301 if the derivative passes through an op that has none.
    """
    choice = _Adjoint(block, wrt, name, seeded, None)
    if not choice.undone:
        return choice.graph
    # Undoing stores keeps what is overwritten, a tape what is loaded: keep, for each loop nest, the cheaper.
    tape = _Adjoint(block, wrt, name, seeded, frozenset())
    cheaper = frozenset(k for k in choice.undone if choice.costs.get(k, 0.0) <= tape.costs.get(k, 0.0))
    if cheaper == choice.undone:
        return choice.graph
    return tape.graph if not cheaper else _Adjoint(block, wrt, name, seeded, cheaper).graph


class _Adjoint:
    """One construction of an adjoint.

    Parameters
    ----------
    undo : frozenset of int, or None
        Positions of the ops of the block inside which stores are undone; None for all.

    Attributes
    ----------
    graph : Graph
    undone : frozenset of int
        Positions of the ops inside which a store was undone.
    costs : dict of int to float
        For each op with regions, the estimated bytes of residuals that survive in it.
    """

    def __init__(
        self, block: Block, wrt: Sequence[int], name: str, seeded: Sequence[int] | None, undo: frozenset[int] | None
    ) -> None:
        self.graph, yields = _copy(block, name)
        primal = list(self.graph.ops)
        self._undo = undo
        self._position = {op: k for k, op in enumerate(primal) if op.regions}
        if seeded is None:
            seeded = [k for k, y in enumerate(yields) if y.type.is_float]
        inputs = [self.graph.args[i] for i in wrt]
        for value in inputs + [yields[k] for k in seeded]:
            if not value.type.is_float:
                raise error("JG900", what=f"a derivative with respect to or of {value.type} was asked for")
        self.active = active_values(self.graph, inputs, [yields[k] for k in seeded])
        self.g = g = Builder(self.graph)
        self.nest = Nest(self.graph)
        self.residuals = Residuals(self.nest, g)
        self.undo = Undo(self.residuals)
        top = Frame(self.graph, None, self.graph)
        self.residuals.frames[self.graph] = top
        for k in seeded:
            y = yields[k]
            ct = self.graph.add_arg(y.type, f"{y.name}.ct" if y.name else "ct")
            if y in self.active:
                self.accumulate(top, y, Cot(ct))
        run(self.block(top))
        g.block, g.location = self.graph, None
        cts = []
        for arg in inputs:
            cot = top.cots.get(arg)
            cts.append(self.zeros_for(top, arg) if cot is None else cot.value)
        self.nest.finish()
        self.graph.yields = [*yields, *cts]
        # Tapes and restored arrays were built before it was known who reads them; this makes them free.
        dce(self.graph)
        self._measure()

    def _measure(self) -> None:
        self.costs: dict[int, float] = {}
        kept = {r for op in self._position for r in op.results}
        for site in self.residuals.sites:
            if site.final in kept:
                at = self._position[site.outermost]
                self.costs[at] = self.costs.get(at, 0.0) + site.cost
        living = set(self.graph.walk()) if self.undo.done else set()
        self.undone = frozenset(self._position[outer] for outer, undone in self.undo.done if undone.op in living)

    # --- cotangents

    def current(self, frame: Frame, value: Value) -> Cot | None:
        """Return the cotangent of a value so far; loops on the way to where it is known carry it from now on."""
        home = self.nest.home.get(value)
        path = []
        found: Cot | None = None
        for f in frame.outward():
            found = f.cots.get(value)
            if found is not None or f.forward is home or f.parent is None:
                break
            path.append(f)
        for f in reversed(path):
            if f.is_loop:
                assert f.parent is not None
                type = self.residuals.type_of(f.parent, value.type)
                masked = f.masked and isinstance(type, ArrayType) and (found is None or found.mask is not None)
                found = self._carry(f, value, type, masked, value.name)
                f.cots[value] = found
        return found

    def _carry(self, frame: Frame, key: Any, type: Any, masked: bool, name: str) -> Cot:
        arg = frame.block.add_arg(type, f"{name}.ct" if name else "")
        mask = frame.block.add_arg(type.with_dtype(BOOL.dtype)) if masked else None
        frame.carried.append((key, arg, mask))
        return Cot(arg, mask)

    def accumulate(self, frame: Frame, value: Value, cot: Cot) -> None:
        """Add to the cotangent of a primal value."""
        prior = self.current(frame, value)
        if prior is not None:
            if isinstance(value.type, ListType):
                cot = Cot(add_lists(self.g, prior.value, cot.value))
            else:
                cot = add_cots(self.g, prior, cot)
        frame.cots[value] = cot
        if value.name and not cot.value.name and cot.value.op is not None:
            cot.value.name = f"{value.name}.ct"

    def zeros_for(self, frame: Frame, value: Value) -> Value:
        """Return zeros of the type (of a list: and the length) of a primal value."""
        type = self.residuals.type_of(frame, value.type)
        if isinstance(type, ArrayType):
            return zeros(self.g, type)
        items = self.residuals.at_hand(frame, value)
        if items is not None:
            return self.g.list_zeros(items)
        with self.nest.insert_after(value) as g:
            length = g.list_length(value)
        return zero_list(self.g, type, self.residuals.get(frame, length))

    # --- the sweep

    def block(self, frame: Frame) -> Step:
        """Reverse the ops of a frame's region."""
        g, cots, nested = self.g, frame.cots, frame.parent is not None
        stores = nested and self._undoes(frame)
        for op in reversed(frame.ops):
            g.block, g.location = frame.block, op.location
            if op.regions:
                yield self._if(frame, op) if op.name == "if" else self._loop(frame, op)
                continue
            found = [cots.pop(r, None) for r in op.results]
            if any(c is not None for c in found):
                self._op(frame, op, found)
            if nested:
                self.undo.step(frame, op, stores)

    def _undoes(self, frame: Frame) -> bool:
        if self._undo is None:
            return True
        return self._position[self.nest.chain(frame.forward)[0][0]] in self._undo

    def _op(self, frame: Frame, op: Op, cots: list[Cot | None]) -> None:
        needed = [i for i in derivative_operands(op) if op.operands[i] in self.active]
        if not needed:
            return
        derivative = op.primitive.derivative
        if op.name in LIST_OPS:
            self._list(frame, op, cots[0], needed)
        elif isinstance(derivative, Partials):
            self._partials(frame, op, cots[0], needed, derivative)
        elif isinstance(derivative, Linear):
            self._linear(frame, op, cots[0], needed, derivative)
        elif isinstance(derivative, Rules):
            self._rules(frame, op, cots, needed, derivative)
        else:
            why = derivative.why if isinstance(derivative, NoGradient) else "it declares none"
            raise error("JG301", op.location, op=op.name, why=why)

    def _partials(self, frame: Frame, op: Op, cot: Cot | None, needed: list[int], derivative: Partials) -> None:
        assert cot is not None
        wanted = set(needed)

        def rule(g: Builder, o: Op) -> list[Any]:
            partials = derivative.rule(g, o.result, *o.operands)
            return [p if i in wanted else None for i, p in enumerate(partials)]

        g = self.g
        made = run_rule(self.residuals, frame, op, rule)
        partials: dict[Value, list[Value | Masked | Partial]] = {}
        for i in needed:
            partial, same = made[i], partials.setdefault(op.operands[i], [])
            if same and isinstance(partial, Value) and isinstance(same[-1], Value):
                same[-1] = g.add(same[-1], partial)  # x * x: one product with x + x
            else:
                same.append(partial)
        for operand, each in partials.items():
            shape = operand.shape if frame.parent is None else self.residuals.type_of(frame, operand.array).shape
            for partial in each:
                term = apply_partial(g, cot, partial)
                if term is not None:
                    self.accumulate(frame, operand, down(g, term, shape))

    def _linear(self, frame: Frame, op: Op, cot: Cot | None, needed: list[int], derivative: Linear) -> None:
        assert cot is not None
        if op.name in ("load", "gather"):
            self._read(frame, op, cot)
            return
        for i in reversed(needed):  # a store's value is read from the cotangent before that part is zeroed
            made = run_rule(self.residuals, frame, op, lambda g, o, i=i: [derivative.transpose(g, i, cot.value, o)])
            self.accumulate(frame, op.operands[i], Cot(made[0], self._moved(frame, op, i, cot.mask)))

    def _moved(self, frame: Frame, op: Op, i: int, mask: Value | None) -> Value | None:
        if mask is None or (not mask.shape and not op.result.shape):
            if mask is None or not op.operands[i].shape:
                return mask
        shape = self.residuals.type_of(frame, op.result.array)
        assert isinstance(shape, ArrayType)
        full = broadcast_to(self.g, mask, shape.shape)
        return run_rule(self.residuals, frame, op, lambda g, o: [move_mask(g, i, full, o)])[0]

    def _read(self, frame: Frame, op: Op, cot: Cot) -> None:
        """Add to the part of an array's cotangent that was read: in place, at the cost of the part."""
        g, base = self.g, op.operands[0]
        ints = [self.residuals.get(frame, v) for v in op.operands[1:]]
        name = "addto" if op.name == "load" else "scatter_add"
        prior = self.current(frame, base)
        mask = None
        if cot.mask is not None and (prior is None or prior.mask is not None):
            mask = self._moved(frame, op, 0, cot.mask)
            if mask is not None and prior is not None and prior.mask is not None:
                mask = g.logical_or(prior.mask, mask)
        total = self.zeros_for(frame, base) if prior is None else prior.value
        frame.cots[base] = Cot(g.emit(name, [total, cot.value, *ints], op.attrs).result, mask)
        if base.name:
            frame.cots[base].value.name = f"{base.name}.ct"

    def _rules(self, frame: Frame, op: Op, cots: list[Cot | None], needed: list[int], derivative: Rules) -> None:
        values = [None if c is None else c.value for c in cots]
        wanted = set(needed)

        def rule(g: Builder, o: Op) -> list[Any]:
            return [ct if i in wanted else None for i, ct in enumerate(derivative.vjp(g, o, values, wanted))]

        for i, ct in enumerate(run_rule(self.residuals, frame, op, rule)):
            if ct is not None:
                self.accumulate(frame, op.operands[i], Cot(ct))

    def _list(self, frame: Frame, op: Op, cot: Cot | None, needed: list[int]) -> None:
        assert cot is not None
        g = self.g

        def get(v: Value) -> Value:
            return self.residuals.get(frame, v)

        for i in reversed(needed):
            operand = op.operands[i]
            if op.name == "list_get":
                prior = self.current(frame, operand)
                total = self.zeros_for(frame, operand) if prior is None else prior.value
                frame.cots[operand] = Cot(g.list_addto(total, get(op.operands[1]), cot.value))
                continue
            made = vjp_list(g, op, cot.value, i, get, lambda v: self.zeros_for(frame, v))
            self.accumulate(frame, operand, Cot(made))

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
                    self.accumulate(arm, y, cot)
                if r in hand and y in self.nest.home:
                    arm.memo[y] = hand[r]  # whatever this arm yields is what came out
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
            masked = isinstance(key.type, ArrayType) and all_masks(found)
            for arm, ys, cot in zip(arms, yields, found, strict=True):
                g.block = arm.block
                ys.append(self.zeros_for(frame, key) if cot is None else cot.value)
                if masked:
                    ys.append(full_mask(g, cot, ys[-1].array))
            keep.append(("ct", key, masked))
        for site in dict.fromkeys(s for arm in arms for s in arm.cursors):
            assert isinstance(site, Site)
            before_cursor = self.residuals.cursor(frame, site, site.final)
            for arm, ys in zip(arms, yields, strict=True):
                ys.append(arm.cursors.get(site, before_cursor))
            keep.append(("cursor", site, False))
        first, second = arms
        for value in first.memo:
            if value in second.memo and self.residuals.at_hand(frame, value) is None:
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
            stores = self._undo is None or self._position[self._around(op, body)] in self._undo
            at_end = [i for i, r in enumerate(results) if hand(frame, r) is not None]
            slots = restorable(op, at_end, stores)
            same = {i for i in slots if yields[i] is args[i] and hand(frame, inits[i]) is not None}
            slots -= same
        if not flows and not slots:
            return
        count = self.residuals.get(frame, op.operands[0] if skip else self._count(op))
        inner = Frame(body, frame, Block(), count=count)
        self.residuals.frames[body] = inner
        inner.masked = all_masks(cots)
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
                cot = self._carry(inner, ("ct", i), type, inner.masked and isinstance(type, ArrayType), arg.name)
                if yields[i] in self.active:
                    self.accumulate(inner, yields[i], cot)
        yield self.block(inner)
        del self.residuals.frames[body]
        self._close(frame, inner, op, cots, results, args, inits, count)

    def _around(self, op: Op, body: Block) -> Op:
        return self.nest.chain(body)[0][0]

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
        for key, arg, mask in inner.carried:  # `inner.carried` does not grow any more
            before: Cot | None
            after: Cot | None
            if isinstance(key, tuple):
                kind, i = key
                if kind == "slot":
                    firsts.append(self.residuals.get(frame, results[i]))
                    nexts.append(inner.memo[args[i]])
                    continue
                before, after, like = cots[i], inner.cots.get(args[i]), args[i]
            elif isinstance(key, Site):
                firsts.append(self.residuals.cursor(frame, key, key.final))
                nexts.append(inner.cursors[key])
                continue
            else:
                before, after, like = self.current(frame, key), inner.cots[key], key
            g.block = frame.block
            # A list of cotangents has the length of the list that comes out, and of the one that goes in.
            end = results[key[1]] if isinstance(key, tuple) else like
            firsts.append(self.zeros_for(frame, end) if before is None else before.value)
            if mask is not None:
                firsts.append(full_mask(g, before, arg.array))
            g.block = inner.block
            nexts.append(self.zeros_for(inner, like) if after is None else after.value)
            if mask is not None:
                nexts.append(full_mask(g, after, arg.array))
        g.block = frame.block
        inner.block.yields = nexts
        made = g.emit("for", firsts, regions=[inner.block])
        for r in results:
            frame.memo.pop(r, None)
        rest = iter(made.results)
        entering: list[tuple[Value, Cot]] = []
        for key, _, mask in inner.carried:
            value = next(rest)
            if isinstance(key, Site):
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
                self.accumulate(frame, init, cot)


def _copy(block: Block, name: str) -> tuple[Graph, list[Value]]:
    graph = Graph(name)
    mapping: dict[Value, Value] = {}
    for arg in block.args:
        mapping[arg] = graph.add_arg(arg.type, arg.name)
    for arg in graph.args:
        arg.type = substitute_type(arg.type, mapping)
    return graph, clone_block(block, graph, mapping)
